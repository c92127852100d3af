/** The header policies of one route towards one backend, from the three levels that speak of headers. */
import { compileRequestPolicy } from './request.ts'
import { compileResponsePolicy } from './response.ts'
import type { RequestPolicy } from './request.ts'
import type { ResponsePolicy } from './response.ts'
import type { BackendConfig, GatewayConfig, LimitsConfig, ProxyConfig } from '../types.ts'

export interface HeaderPolicies {
  readonly request: RequestPolicy
  readonly response: ResponsePolicy
  /** Names, lower case, that the request edits set: they may be secrets between gateway and backend. */
  readonly added: readonly string[]
}

function strippedPrefix (plan: ProxyConfig): string | undefined {
  return plan.rewrite.find(step => step.kind === 'stripPrefix')?.prefix
}

/** Compiles them; equal ones are shared by lib/routes/settings.ts. */
export function compilePolicies (config: GatewayConfig, plan: ProxyConfig, backend: BackendConfig, limits: LimitsConfig): HeaderPolicies {
  const levels = [backend.common, backend.headers, plan.headers]
  const { forwardAs } = config.tenancy ?? {}
  return {
    request: compileRequestPolicy({
      levels: levels.map(level => level.request),
      forwarded: config.forwarded,
      prefix: strippedPrefix(plan),
      via: config.via,
      requestIdHeader: config.requestIdHeader?.toLowerCase(),
      host: plan.host ?? backend.host,
      tenancy: config.tenancy,
      limits
    }),
    response: compileResponsePolicy(levels.map(level => level.response)),
    added: [...forwardAs === undefined ? [] : [forwardAs], ...levels.flatMap(({ request: { set = {}, append = {} } }) => [...Object.keys(set), ...Object.keys(append)]).map(name => name.toLowerCase())]
  }
}
