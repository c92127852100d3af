/**
 * What can be read when it is asked for, and costs nothing before. While one gateway takes the place of another both are
 * there: loads are those of both, states those of the newer.
 */
import { TENANTS } from './catalogue.ts'
import type { Backend, Target } from '../types.ts'
import type { MetricName } from './catalogue.ts'
import type { Reader, Sample, Source } from './types.ts'

const STATES = { closed: 0, 'half-open': 1, open: 2 } as const

/** As undici's pools and our own tell of themselves. */
export interface PoolStats {
  /** Connections that are open. */
  readonly connected: number
  /** Those of them on which nothing is under way. */
  readonly free: number
  /** Requests that wait for one, or for their turn on one: undici counts the first kind as both. */
  readonly pending: number
  readonly queued: number
}

type GaugeName = 'breaker_state' | 'tenant_breakers' | 'target_healthy' | 'target_weight' | 'target_inflight' | 'queue_depth' | 'slots_in_use' |
  'pool_connections' | 'pool_pending_requests' | 'websockets_open' | 'event_streams_open' | 'discovery_targets' | 'discovery_fault' | 'build_info'

/** `sources`: oldest first. */
export function createGauges (sources: readonly Source[], version: string): Readonly<Record<GaugeName & MetricName, Reader>> {
  const newest = (): Source | undefined => sources.at(-1)
  const allBackends = (): Backend[] => sources.flatMap(({ registry }) => registry.all())
  const shared = (): Backend[] => newest()?.registry.all().filter(({ scope }) => scope === '') ?? []
  const perTarget = (value: (target: Target, backend: Backend) => number | undefined): Sample[] => shared().flatMap(backend => backend.targets.flatMap(target => {
    const found = value(target, backend)
    return found === undefined ? [] : [{ labels: { backend: backend.name, target: target.id }, value: found }]
  }))
  const total = (value: (source: Source) => number): Sample[] => [{ labels: {}, value: sources.reduce((sum, source) => sum + value(source), 0) }]

  /** By backend; two gateways may have the same slots. */
  function slots (key: 'taken' | 'waiting'): Sample[] {
    const sums = new Sums('backend')
    const seen = new Set<object>()
    for (const { name, slots } of allBackends()) {
      if (slots === undefined || seen.has(slots)) continue
      seen.add(slots)
      sums.add(slots[key], name)
    }
    return sums.samples()
  }

  function inflight (): Sample[] {
    const sums = new Sums('backend', 'target')
    const seen = new Set<Target>()
    for (const { name, scope, targets } of allBackends()) {
      for (const target of targets) {
        // a tenant's view of a target has no load of its own
        if (target.of !== undefined || seen.has(target)) continue
        seen.add(target)
        sums.add(target.inflight, name, scope === '' ? target.id : TENANTS)
      }
    }
    return sums.samples()
  }

  function tenantBreakers (): Sample[] {
    const sums = new Sums('backend', 'state')
    for (const { name, scope, targets } of allBackends()) {
      if (scope !== '') for (const { breaker } of targets) if (breaker !== undefined) sums.add(1, name, breaker.state)
    }
    return sums.samples()
  }

  /** Targets share pools, and so may gateways. */
  function pools (labels: readonly string[], add: (sums: Sums, origin: string, stats: PoolStats) => void): Sample[] {
    const sums = new Sums(...labels)
    const seen = new Set<object>()
    for (const { scope, targets } of allBackends()) {
      for (const { dispatcher, id, origin, of } of targets) {
        const { stats } = (dispatcher ?? {}) as { stats?: PoolStats }
        if (stats === undefined || seen.has(dispatcher!)) continue
        seen.add(dispatcher!)
        add(sums, scope !== '' && of === undefined ? TENANTS : id.startsWith('unix:') ? id : origin, stats)
      }
    }
    return sums.samples()
  }

  return {
    breaker_state: () => perTarget(({ breaker }, { config }) => config.resilience.circuitBreaker === undefined ? undefined : STATES[breaker?.state ?? 'closed']),
    tenant_breakers: tenantBreakers,
    target_healthy: () => shared().flatMap(({ name }) => newest()!.health(name).map(({ target, healthy }) => ({ labels: { backend: name, target }, value: Number(healthy) }))),
    target_weight: () => perTarget(({ state, weight }) => state === 'active' ? weight : 0),
    target_inflight: inflight,
    queue_depth: () => slots('waiting'),
    slots_in_use: () => slots('taken'),
    pool_connections: () => pools(['origin', 'state'], (sums, origin, { connected, free }) => {
      sums.add(connected - free, origin, 'busy')
      sums.add(free, origin, 'idle')
    }),
    pool_pending_requests: () => pools(['origin'], (sums, origin, { pending, queued }) => { sums.add(Math.max(pending, queued), origin) }),
    websockets_open: () => total(source => source.websockets()),
    event_streams_open: () => total(source => source.eventStreams()),
    discovery_targets: () => newest()?.discovery().map(({ backend, targets }) => ({ labels: { backend }, value: targets })) ?? [],
    discovery_fault: () => newest()?.discovery().map(({ backend, fault }) => ({ labels: { backend }, value: Number(fault) })) ?? [],
    build_info: () => [{ labels: { version }, value: 1 }]
  }
}

/** Sums by labels; few, and only when somebody asks. */
class Sums {
  readonly #sums = new Map<string, { readonly labels: Record<string, string>, value: number }>()
  readonly #names: readonly string[]

  constructor (...names: string[]) {
    this.#names = names
  }

  add (value: number, ...labels: string[]): void {
    const key = JSON.stringify(labels)
    let sum = this.#sums.get(key)
    if (sum === undefined) this.#sums.set(key, sum = { labels: Object.fromEntries(this.#names.map((name, index) => [name, labels[index]!])), value: 0 })
    sum.value += value
  }

  samples (): Sample[] {
    return [...this.#sums.values()]
  }
}
