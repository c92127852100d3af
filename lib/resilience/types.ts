/**
 * Options of circuit breakers, retries, health and limits: parsed, defaulted, frozen. Durations in ms.
 */
import type { FastifyRequest } from 'fastify'
import type { Outcome } from '../types.ts'

/** What the breaker's hooks and `breakers.list()` call a breaker by. */
export interface BreakerName {
  /** The tenant; `''`: everybody. */
  readonly scope: string
  readonly backend: string
  readonly target: string
}

export interface BreakerConfig {
  /** Consecutive failures that open it. Default 5; undefined when only the percentage decides. */
  readonly failureThreshold: number | undefined
  /** Share of failures (1–100) within `rollingWindow` that opens it; undefined: off. */
  readonly errorThresholdPercentage: number | undefined
  /** Fewest outcomes within the window for the share to count. Default 10. */
  readonly volumeThreshold: number
  /** Default 10 s. */
  readonly rollingWindow: number
  /** From opening to the first trial. Default 30 s. */
  readonly resetTimeout: number
  /** Calls let through at once while half-open, and successes needed to close. Default 1. */
  readonly halfOpenTrials: number
  /** Outcomes that count as failures. Default: server-error, connect-error, reset, timeout, bad-response. */
  readonly outcomes: readonly Outcome[]
  readonly onOpen: ((breaker: BreakerName) => void) | undefined
  readonly onClose: ((breaker: BreakerName) => void) | undefined
  readonly onHalfOpen: ((breaker: BreakerName) => void) | undefined
  readonly fallback: Fallback | undefined
}

/** What answers when every circuit of a call's backend is open. */
export type Fallback =
  | { readonly kind: 'answer', readonly status: number, readonly headers: Readonly<Record<string, string>>, readonly body: Buffer | undefined }
  | { readonly kind: 'backend', readonly backend: string }
  | { readonly kind: 'function', readonly make: FallbackFunction }

/** Gives `{ statusCode?, headers?, body? }`, or undefined for the 503 after all. */
export type FallbackFunction = (request: FastifyRequest, error: Error) => unknown

export interface RetryConfig {
  /** Tries in all, the first included. Default 1: none. */
  readonly attempts: number
  /** Default GET, HEAD, OPTIONS, PUT, DELETE, TRACE. Others are only tried again when nothing was sent, or with an idempotency key. */
  readonly methods: readonly string[]
  /** Statuses that are tried again. Default 502, 503, 504. */
  readonly statuses: readonly number[]
  /** Outcomes that are tried again whatever the status. Default connect-error, reset, timeout, bad-response. */
  readonly outcomes: readonly Outcome[]
  /** For the head of one try's answer, ms; undefined: only the call's own limits. */
  readonly perTryTimeout: number | undefined
  readonly backoff: { readonly initial: number, readonly max: number, readonly factor: number }
  /** Longest `Retry-After` that is waited for; a longer one is passed on. Default 5 s. */
  readonly maxRetryAfter: number
  /** Largest request body that is kept for another try, bytes. Default 64 KiB. */
  readonly replayLimit: number
  /** Header that makes a call safe to repeat whatever its method (draft-ietf-httpapi-idempotency-key-header); lower case; undefined: none. */
  readonly idempotencyKey: string | undefined
  readonly budget: RetryBudgetConfig | undefined
  readonly hedge: { readonly after: number } | undefined
}

/** Retries may be at most `ratio` of the calls of the last `window`, and `min` whatever their number. */
export interface RetryBudgetConfig {
  readonly ratio: number
  readonly min: number
  /** Default 10 s. */
  readonly window: number
}

export interface HealthConfig {
  readonly path: string
  /** Default GET. */
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  /** Between two checks of a target, ± `jitter`. Default 10 s. */
  readonly interval: number
  /** While it is unhealthy. Default: `interval`. */
  readonly unhealthyInterval: number
  /** Share of the interval that is left to chance, 0–1. Default 0.1. */
  readonly jitter: number
  /** Default 2 s. */
  readonly timeout: number
  /** Inclusive ranges. Default 200–299. */
  readonly expectedStatus: ReadonlyArray<readonly [from: number, to: number]>
  /** Text that the body must contain, or an expression it must match; undefined: whatever it is. */
  readonly expectedBody: string | RegExp | undefined
  /** Successes in a row that make a target healthy. Default 2. */
  readonly rise: number
  /** Failures in a row that make it unhealthy. Default 3. */
  readonly fall: number
  /** Before the first check has ended. Default healthy. */
  readonly initial: 'healthy' | 'unhealthy'
  /** No check while real traffic succeeded within the last interval. Default false. */
  readonly skipIfRecent: boolean
  readonly onChange: ((target: { readonly backend: string, readonly target: string }, healthy: boolean) => void) | undefined
}

export interface OutlierConfig {
  /** Outcomes in a row that eject a target. Default 5; undefined: off. */
  readonly consecutive: number | undefined
  /** Share of failures (1–100) within `window`; undefined: off. */
  readonly failureRate: number | undefined
  /** Fewest outcomes within the window for the rate to count. Default 20. */
  readonly minVolume: number
  /** Default 30 s. */
  readonly window: number
  /** First ejection; the n-th in a row takes n times as long. Default 30 s. */
  readonly baseEjection: number
  /** Default 5 min. */
  readonly maxEjection: number
  /** Most targets of a backend out at once, in percent; one may always be. Default 50. */
  readonly maxEjectedPercent: number
  /** Default server-error, connect-error, reset, timeout, bad-response. */
  readonly outcomes: readonly Outcome[]
}

/** A new or returned target gets its full share only after `window`. */
export interface SlowStartConfig {
  readonly window: number
  /** Share it begins with, 0–1. Default 0.1. */
  readonly initial: number
}

/** When fewer than `threshold` percent of the targets are healthy: refuse (503), or use all of them. */
export interface PanicConfig {
  readonly threshold: number
  readonly mode: '503' | 'all'
}

export interface ConcurrencyConfig {
  /** Most calls of the backend at once; Infinity: no limit. */
  readonly max: number
  /** Most calls waiting. Default 0. */
  readonly queue: number
  /** Longest wait. Default 1 s. */
  readonly queueTimeout: number
  /** Who holds the fewest places is next, tenant by tenant; false: who came first. Default true. */
  readonly fairShare: boolean
}

/** What of this a backend has; the gateway and a route may say it too. */
export interface ResilienceConfig {
  /** undefined: switched off. */
  readonly circuitBreaker: BreakerConfig | undefined
  readonly retry: RetryConfig
  readonly health: HealthConfig | undefined
  readonly outlier: OutlierConfig | undefined
  readonly slowStart: SlowStartConfig | undefined
  readonly panic: PanicConfig | undefined
  readonly concurrency: ConcurrencyConfig | undefined
}
