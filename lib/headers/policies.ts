/** The header policies of one route towards one backend, from the three levels that speak of headers. */
import { compileRequestPolicy } from './request.ts'
import { compileResponsePolicy } from './response.ts'
import type { RequestPolicy } from './request.ts'
import type { ResponsePolicy } from './response.ts'
import type { BackendConfig, GatewayConfig, ProxyConfig } from '../types.ts'

export interface HeaderPolicies {
  readonly request: RequestPolicy
  readonly response: ResponsePolicy
}

/** Where a route remembers its policies towards the backend it was last sent to. */
export interface PolicySlot {
  backend: BackendConfig | undefined
  policies: HeaderPolicies | undefined
}

/** Looks policies up, and compiles them when a route meets a backend for the first time. */
export type FindPolicies = (slot: PolicySlot, plan: ProxyConfig, backend: BackendConfig) => HeaderPolicies

/**
 * Routes and backends with the same rules share one set of tables: a thousand routes would otherwise keep a
 * thousand of them, all cold when their turn comes.
 */
export function createPolicies (config: GatewayConfig): FindPolicies {
  const shared = new Map<string, HeaderPolicies>()
  const functions = new Map<unknown, number>()

  function idOf (value: unknown): number {
    let id = functions.get(value)
    if (id === undefined) functions.set(value, id = functions.size)
    return id
  }

  function keyOf (plan: ProxyConfig, backend: BackendConfig): string {
    return JSON.stringify([plan.headers, backend.headers, plan.host ?? backend.host, strippedPrefix(plan)],
      (_name, value: unknown) => typeof value === 'function' ? { function: idOf(value) } : value)
  }

  return function findPolicies (slot, plan, backend) {
    if (slot.backend === backend && slot.policies !== undefined) return slot.policies
    const key = keyOf(plan, backend)
    let policies = shared.get(key)
    if (policies === undefined) shared.set(key, policies = compilePolicies(config, plan, backend))
    slot.backend = backend
    slot.policies = policies
    return policies
  }
}

function strippedPrefix (plan: ProxyConfig): string | undefined {
  return plan.rewrite.find(step => step.kind === 'stripPrefix')?.prefix
}

function compilePolicies (config: GatewayConfig, plan: ProxyConfig, backend: BackendConfig): HeaderPolicies {
  const levels = [config.headers, backend.headers, plan.headers]
  return {
    request: compileRequestPolicy({
      levels: levels.map(level => level.request),
      forwarded: config.forwarded,
      prefix: strippedPrefix(plan),
      via: config.via,
      requestIdHeader: config.requestIdHeader?.toLowerCase(),
      host: plan.host ?? backend.host,
      limits: config.limits
    }),
    response: compileResponsePolicy(levels.map(level => level.response))
  }
}
