/**
 * The whole gateway: from what a user may write to what the house works with. Everything here has been checked.
 */
import type { GatewayConfig, HeaderRules, ViaConfig } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import { resolveAdmin } from './resolve-admin.ts'
import { BUILT_IN_DEFAULTS, resolveBackend, resolveHeaderRules, resolveShared, type BackendDefaults } from './resolve-backend.ts'
import { resolveLimits } from './resolve-limits.ts'
import { resolveMetrics } from './resolve-metrics.ts'
import { resolveLog, resolveTracing } from './resolve-observing.ts'
import { resolveProbes } from './resolve-probes.ts'
import { resolveRoute } from './resolve-route.ts'
import { resolveTenancy } from './resolve-tenancy.ts'
import { resolveTrafficDump } from './resolve-traffic-dump.ts'
import type { Origin } from './rules.ts'
import type { GatewayOptions } from './schema/gateway.ts'
import { milliseconds } from './units.ts'

/** The parsed options, with what backends added later start from. */
export interface ParsedOptions extends GatewayConfig {
  readonly backendDefaults: BackendDefaults
}

type HeadersOption = NonNullable<GatewayOptions['headers']>

export function resolveGateway (options: GatewayOptions, origin: Origin): ParsedOptions {
  const { headers = {} } = options
  const backendDefaults = resolveShared(options, BUILT_IN_DEFAULTS, origin)
  const { request, response } = resolveHeaderRules(headers)
  const rules: HeaderRules = { request: { forward: DEFAULTS.forward, ...request }, response }
  const admin = resolveAdmin(options.admin)
  const level = { defaults: backendDefaults, headers: rules }
  return {
    backendDefaults,
    backends: record(options.backends ?? {}, (backend, name) => resolveBackend(backend, level, origin, name)),
    defaultBackend: options.defaultBackend,
    headers: rules,
    forwarded: { ...DEFAULTS.forwarded, ...headers.forwarded },
    via: resolveVia(headers.via),
    requestIdHeader: headers.requestId === false ? undefined : headers.requestId ?? DEFAULTS.requestId,
    deadlineHeader: options.deadlineHeader === false ? undefined : options.deadlineHeader?.toLowerCase(),
    shutdown: {
      delay: milliseconds(options.shutdown?.delay ?? DEFAULTS.shutdown.delay),
      timeout: milliseconds(options.shutdown?.timeout ?? DEFAULTS.shutdown.timeout)
    },
    limits: resolveLimits(options.limits),
    tenancy: options.tenancy === undefined ? undefined : resolveTenancy(options.tenancy, origin),
    metrics: resolveMetrics(options.metrics, admin !== undefined),
    admin,
    probes: resolveProbes(options.probes, admin !== undefined),
    tracing: resolveTracing(options.tracing),
    log: resolveLog(options.log),
    trafficDump: resolveTrafficDump(options.trafficDump, origin),
    routes: (options.routes ?? []).map(resolveRoute),
    balancers: record(options.balancers ?? {}, balancer => balancer),
    strategies: record(options.strategies ?? {}, strategy => strategy),
    random: options.random ?? Math.random
  }
}

/** Without a prototype, so that a name like `constructor` finds nothing but what was put there. */
function record<From, To> (from: Record<string, From>, make: (value: From, name: string) => To): Record<string, To> {
  const made = Object.create(null) as Record<string, To>
  for (const [name, value] of Object.entries(from)) made[name] = make(value, name)
  return made
}

function resolveVia (via: HeadersOption['via']): ViaConfig | undefined {
  if (via === false) return undefined
  return { ...DEFAULTS.via, ...(typeof via === 'string' ? { name: via } : via) }
}
