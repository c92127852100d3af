/** What happens now and then: parts of composites, changes of breakers, reloads. */
import { TENANTS } from './catalogue.ts'
import type { BreakerState } from '../circuit-breaker/index.ts'
import type { BreakerName } from '../resilience/types.ts'
import type { Reader } from './types.ts'

export interface EventMeters {
  part (route: string, part: string, state: string): void
  breaker (name: BreakerName, state: BreakerState): void
  /** `at`: Unix time in ms. The first configuration is loaded, too, but not reloaded. */
  loaded (at: number, again: boolean): void
  loadFailed (): void
  /** Forgets breakers of backends and targets that are nowhere any more. */
  prune (isKnown: (backend: string, target?: string) => boolean): void
  readonly readers: Readonly<Record<'composite_parts_total' | 'breaker_transitions_total' | 'reloads_total' | 'reload_last_success_timestamp_seconds', Reader>>
}

export function createEventMeters (): EventMeters {
  const parts = new Counts('route', 'part', 'state')
  const breakers = new Counts('backend', 'target', 'state')
  const reloads = { success: 0, failure: 0 }
  let loadedAt = 0
  return {
    part (route, part, state) { parts.count(route, part, state) },
    breaker ({ scope, backend, target }, state) { breakers.count(backend, scope === '' ? target : TENANTS, state) },
    loaded (at, again) {
      loadedAt = at
      if (again) reloads.success++
    },
    loadFailed () { reloads.failure++ },
    prune (isKnown) { breakers.keep((backend, target) => target === TENANTS ? isKnown(backend) : isKnown(backend, target)) },
    readers: {
      composite_parts_total: () => parts.samples(),
      breaker_transitions_total: () => breakers.samples(),
      reloads_total: () => Object.entries(reloads).map(([result, value]) => ({ labels: { result }, value })),
      reload_last_success_timestamp_seconds: () => [{ labels: {}, value: loadedAt / 1000 }]
    }
  }
}

/** Counts by three labels. A class for its nested maps, which need no text that joins the labels. */
class Counts {
  readonly #counts = new Map<string, Map<string, Map<string, number>>>()
  readonly #labels: readonly [string, string, string]

  constructor (...labels: [string, string, string]) {
    this.#labels = labels
  }

  count (first: string, second: string, third: string): void {
    let inner = this.#counts.get(first)
    if (inner === undefined) this.#counts.set(first, inner = new Map())
    let counts = inner.get(second)
    if (counts === undefined) inner.set(second, counts = new Map())
    counts.set(third, (counts.get(third) ?? 0) + 1)
  }

  keep (wanted: (first: string, second: string) => boolean): void {
    for (const [first, inner] of this.#counts) for (const second of inner.keys()) if (!wanted(first, second)) inner.delete(second)
  }

  samples (): ReturnType<Reader> {
    const [one, two, three] = this.#labels
    return [...this.#counts].flatMap(([first, inner]) => [...inner].flatMap(([second, counts]) =>
      [...counts].map(([third, value]) => ({ labels: { [one]: first, [two]: second, [three]: third }, value }))))
  }
}
