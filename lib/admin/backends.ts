/** Backends and their targets as they are now. */
import { exclusions } from '../explain/call.ts'
import { shownStats } from './breakers.ts'
import type { CheckStatus } from '../health/index.ts'
import type { PoolView } from '../pools.ts'
import type { AttemptNumbers, BackendNumbers, LatencyNumbers, MetricsSnapshot } from '../metrics/types.ts'
import type { Backend, Target } from '../types.ts'
import type { Gateway } from './gateway.ts'
import type { Mask } from './mask.ts'
import type { BackendStatus, TargetStatus } from './types.ts'

const NO_LATENCY: LatencyNumbers = Object.freeze({ averageMs: 0, p50: 0, p90: 0, p95: 0, p99: 0 })

export interface BackendViews {
  /** Everybody's, in order of declaration. `numbers`: what has been counted. */
  all (numbers: MetricsSnapshot): BackendStatus[]
  /** undefined: there is none of that name. */
  one (name: string): BackendStatus | undefined
}

/** `wall`: ms since 1970. */
export function createBackendViews (gateway: Gateway, mask: Mask, wall: () => number): BackendViews {
  const { clock, config, gates, registry } = gateway
  const clocks = { now: clock.now, wall }

  function viewOf (backend: Backend, numbers: BackendNumbers | undefined, discovered: ReadonlyMap<string, BackendStatus['discovery']>): BackendStatus {
    const { name, slots, targets, usable, config: { balancer, resilience: { concurrency } } } = backend
    const excluded = exclusions(backend, gates)
    const health = new Map(gateway.health.status(name).map(view => [view.target, view]))
    const pools = new Map(registry.pools.stats([backend]).flatMap(pool => pool.targets.map(url => [url, pool] as const)))
    const fit = usable.filter(target => !excluded.has(target)).length
    return {
      name,
      state: fit === 0 ? 'down' : fit < usable.length ? 'degraded' : 'ok',
      isDefault: name === config.defaultBackend,
      balancer: typeof balancer === 'string' ? balancer : balancer.type,
      attempts: numbers?.attempts ?? 0,
      failures: numbers?.failures ?? 0,
      retries: numbers?.retries ?? 0,
      rejected: numbers?.rejected ?? 0,
      latency: latencyOf(numbers),
      concurrency: concurrency === undefined ? null : { max: concurrency.max, taken: slots?.taken ?? 0, waiting: slots?.waiting ?? 0 },
      discovery: discovered.get(name) ?? null,
      targets: targets.map(target => targetOf(target, { excluded: excluded.get(target), health: health.get(target.id), pool: pools.get(target.id), numbers: numbers && of(numbers.targets, target.id) }))
    }
  }

  interface Known {
    readonly excluded: string | undefined
    readonly health: ReturnType<Gateway['health']['status']>[number] | undefined
    readonly pool: PoolView | undefined
    readonly numbers: AttemptNumbers | undefined
  }

  function targetOf (target: Target, { excluded, health, pool, numbers }: Known): TargetStatus {
    const { id, state, weight, maxConnections, metadata, inflight, started, breaker } = target
    return {
      url: id,
      state,
      weight,
      maxConnections: maxConnections === Infinity ? null : maxConnections,
      metadata: mask.metadata(metadata),
      inflight,
      started,
      excluded: excluded ?? null,
      health: {
        healthy: health?.healthy ?? true,
        reason: health?.reason ?? null,
        ejectedFor: health?.ejectedFor === undefined ? null : Math.round(health.ejectedFor),
        check: checkOf(health?.check)
      },
      breaker: breaker === undefined ? null : { state: breaker.state, retryAfter: Math.round(breaker.retryAfter), stats: shownStats(breaker.stats, clocks) },
      pool: pool === undefined ? null : { connected: pool.connected, free: pool.free, pending: pool.pending, queued: pool.queued, running: pool.running },
      attempts: numbers?.attempts ?? 0,
      failures: numbers?.failures ?? 0,
      latency: latencyOf(numbers)
    }
  }

  function checkOf (check: CheckStatus | undefined): TargetStatus['health']['check'] {
    if (check === undefined) return null
    const { last, lastAt, checks, failures } = check
    const detail = last?.error ?? (last?.status === undefined ? undefined : String(last.status))
    return {
      ok: last?.ok ?? null,
      detail: detail === undefined ? null : mask.text(detail),
      agoMs: lastAt === undefined ? null : Math.max(0, Math.round(clock.now() - lastAt)),
      checks,
      failures
    }
  }

  /** By the name of the backend. */
  function discoveries (): Map<string, BackendStatus['discovery']> {
    return new Map(gateway.discovery.status().filter(({ scope }) => scope === '').map(({ backend, source, lists, lastSuccess, fault }) => [backend, {
      source,
      lists,
      lastSuccess: lastSuccess === undefined ? null : new Date(lastSuccess).toISOString(),
      fault: fault === undefined ? null : mask.text(fault)
    }]))
  }

  return {
    all (numbers) {
      const discovered = discoveries()
      return registry.all().filter(({ scope }) => scope === '').map(backend => viewOf(backend, of(numbers.backends, backend.name), discovered))
    },
    one (name) {
      const backend = registry.resolve(name)
      return backend && viewOf(backend, of(gateway.metrics.snapshot().backends, name), discoveries())
    }
  }
}

/** A backend may well be called `constructor`. */
function of<Value> (values: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined
}

function latencyOf (numbers: LatencyNumbers | undefined): LatencyNumbers {
  if (numbers === undefined) return NO_LATENCY
  const { averageMs, p50, p90, p95, p99 } = numbers
  return { averageMs, p50, p90, p95, p99 }
}
