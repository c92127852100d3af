/**
 * Requests of clients in numbers of our own. What a request costs is some lookups by text and no allocation: prom-client would
 * put together and hash a text of all labels for each.
 */
import { CLIENT_GONE } from '../request-outcome.ts'
import { Durations } from './durations.ts'
import { Latencies } from './latencies.ts'
import { numbersOf } from './numbers.ts'
import type { Reader, RequestNumbers, Sample } from './types.ts'

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const OTHER = 'other'
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

export interface EndedRequest {
  readonly route: string
  readonly method: string
  /** Status of the answer, or {@link CLIENT_GONE}. */
  readonly code: number
  /** Label of the tenant, `''` for nobody in particular; undefined: not counted by tenant. */
  readonly tenant: string | undefined
  readonly ms: number
  /** The backend broke off its answer after the headers had been sent. */
  readonly cut: boolean
}

export interface RequestMeters {
  /** So many tenants may have a label of their own, or as many as was said before; the others are `other`. */
  expectTenants (labels: number): void
  begin (): void
  end (request: EndedRequest): void
  numbers (): RequestNumbers
  reset (): void
  readonly readers: Readonly<Record<'requests_total' | 'request_duration_seconds' | 'requests_in_flight' | 'answers_cut_total' | 'tenant_requests_total', Reader>>
}

class Count { value = 0 }

class RouteMeter {
  cut = 0
  readonly methods = new Map<string, Map<number, Count>>()
  readonly durations: Array<Durations | undefined> = CLASSES.map(() => undefined)
}

export function createRequestMeters (bounds: readonly number[]): RequestMeters {
  const routes = new Map<string, RouteMeter>()
  const byTenant = new Map<string, Float64Array>()
  const latencies = new Latencies()
  let inFlight = 0
  let mostTenants = 0
  let totals = { total: 0, failures: 0, aborted: 0 }

  function count ({ methods }: RouteMeter, method: string, code: number): void {
    let codes = methods.get(method)
    if (codes === undefined) methods.set(method, codes = new Map())
    let counted = codes.get(code)
    if (counted === undefined) codes.set(code, counted = new Count())
    counted.value++
  }

  function countTenant (tenant: string, classIndex: number): void {
    let counts = byTenant.get(tenant)
    if (counts === undefined) {
      // nobody and `other` have room besides
      const label = tenant === '' || tenant === OTHER || byTenant.size < mostTenants + 2 ? tenant : OTHER
      counts = byTenant.get(label)
      if (counts === undefined) byTenant.set(label, counts = new Float64Array(CLASSES.length))
    }
    counts[classIndex]!++
  }

  return {
    expectTenants (labels) { mostTenants = Math.max(mostTenants, labels) },
    begin () { inFlight++ },
    end ({ route, method, code, tenant, ms, cut }) {
      inFlight--
      let meter = routes.get(route)
      if (meter === undefined) routes.set(route, meter = new RouteMeter())
      count(meter, METHODS.has(method) ? method : OTHER, code)
      const classIndex = Math.min(CLASSES.length, Math.max(1, Math.floor(code / 100))) - 1
      const durations = meter.durations[classIndex] ??= new Durations(bounds)
      durations.observe(ms / 1000)
      if (tenant !== undefined) countTenant(tenant, classIndex)
      totals.total++
      if (cut) meter.cut++
      if (code === CLIENT_GONE) totals.aborted++
      else {
        if (cut || code >= 500) totals.failures++
        latencies.record(ms)
      }
    },
    numbers () {
      const { total, failures, aborted } = totals
      return { total, success: total - failures - aborted, failures, aborted, inFlight, ...numbersOf(latencies) }
    },
    reset () {
      totals = { total: 0, failures: 0, aborted: 0 }
      latencies.reset()
    },
    readers: {
      requests_total: () => [...routes].flatMap(([route, { methods }]) => [...methods].flatMap(([method, codes]) =>
        [...codes].map(([code, { value }]): Sample => ({ labels: { route, method, code }, value })))),
      request_duration_seconds: name => [...routes].flatMap(([route, { durations }]) =>
        CLASSES.flatMap((label, index) => durations[index]?.samples(name, { route, class: label }) ?? [])),
      requests_in_flight: () => [{ labels: {}, value: inFlight }],
      answers_cut_total: () => [...routes].map(([route, { cut }]) => ({ labels: { route }, value: cut })),
      tenant_requests_total: () => [...byTenant].flatMap(([tenant, counts]) =>
        CLASSES.flatMap((label, index) => counts[index] === 0 ? [] : [{ labels: { tenant, class: label }, value: counts[index]! }]))
    }
  }
}
