/** The words of what happened lately, as types. Data only: it can be sent as JSON. No behaviour here. */
import type { BreakerState } from '../circuit-breaker/index.ts'
import type { Outcome } from '../types.ts'

/** What ended within one interval. */
export interface Interval {
  /** Requests (of a backend: attempts that left) that ended. */
  readonly count: number
  /** Of them: answers of 500 and more, and answers broken off; of a backend: what counts against a target. */
  readonly failures: number
  /** Milliseconds; 0 where nothing ended. */
  readonly p50: number
  readonly p95: number
}

/** One interval of {@link RecentHistory.interval}. */
export interface Point {
  /** When it ended, ms since 1970. */
  readonly at: number
  /** Requests of clients. */
  readonly requests: Interval & { readonly inFlight: number }
  /** By name; those without an attempt in it are left out. Tenants' are part of everybody's of that name. */
  readonly backends: Readonly<Record<string, Interval>>
}

/** Something has changed its state. */
export interface Transition {
  /** Ascending from 1 within a process. */
  readonly id: number
  /** ms since 1970 */
  readonly at: number
  readonly kind: 'breaker' | 'health' | 'target'
  /** The tenant's id, `''` for everybody. */
  readonly scope: string
  readonly backend: string
  readonly target: string
  /** `breaker`: closed, open, half-open; `health`: healthy, unhealthy, ejected; `target`: active, inactive, draining, added, removed. */
  readonly to: BreakerState | 'healthy' | 'unhealthy' | 'ejected' | 'active' | 'inactive' | 'draining' | 'added' | 'removed'
}

/** A request that was looked at closely: where its time went. Times are ms from its beginning. */
export interface Sample {
  /** Ascending from 1 within a process. */
  readonly id: number
  /** When it began, ms since 1970. */
  readonly at: number
  readonly requestId: string
  readonly method: string
  /** Path and query with secrets taken out, at most 200 characters. */
  readonly url: string
  readonly route: string
  /** As logs show it; null: nobody in particular. */
  readonly tenant: string | null
  readonly status: number
  readonly outcome: Outcome
  readonly duration: number
  /** ms that its calls have waited for a place. */
  readonly queued: number
  /** Of a composite, in order of declaration; else empty. */
  readonly parts: readonly SamplePart[]
  /** In order; those of parts name theirs. At most 100. */
  readonly attempts: readonly SampleAttempt[]
}

export interface SamplePart {
  readonly name: string
  /** As composites know them: ok, failed, fallback, partial, skipped, empty. */
  readonly state: string
  readonly status: number | null
  /** ms from the beginning of the request; null: it did not begin. */
  readonly start: number | null
  readonly duration: number
}

export interface SampleAttempt {
  readonly backend: string
  readonly target: string
  readonly part: string | null
  readonly start: number
  /** To the answer's headers, or to the failure; null: it has not ended. */
  readonly duration: number | null
  readonly outcome: Outcome | null
  readonly status: number | null
}

export interface RecentHistory {
  /** ms of one point. */
  readonly interval: number
  /** Oldest first, at most five minutes. */
  readonly points: readonly Point[]
  /** Oldest first, at most 200. */
  readonly transitions: readonly Transition[]
  /** Oldest first, at most 50. */
  readonly samples: readonly Sample[]
}

/** `kind` is also the name of the server-sent event. */
export type RecentEvent =
  | { readonly kind: 'point', readonly point: Point }
  | { readonly kind: 'transition', readonly transition: Transition }
  | { readonly kind: 'sample', readonly sample: Sample }

/** The slot `reverseproxy.recent`; undefined while the admin interface is off. */
export interface Recent {
  history (): RecentHistory
  /** From now on `listener` is told, until the returned function is called. What it throws is logged and goes no further. */
  subscribe (listener: (event: RecentEvent) => void): () => void
}
