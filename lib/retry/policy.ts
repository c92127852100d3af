/**
 * Whether a failed try is followed by another, and after how long. Decisions on plain data; counting the tries,
 * asking the budget and waiting are the caller's.
 */
import type { RetryConfig } from '../resilience/types.ts'
import type { Outcome } from '../types.ts'
import { backoffOf } from './backoff.ts'

/** The idempotent methods (RFC 9110 section 9.2.2): PUT, DELETE and the safe ones. */
export const DEFAULT_RETRY_METHODS: readonly string[] = Object.freeze(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** Statuses by which a gateway or an overloaded server says that another try may do better. */
export const DEFAULT_RETRY_STATUSES: readonly number[] = Object.freeze([502, 503, 504])

/** What may come out better with another target. */
export const DEFAULT_RETRY_OUTCOMES: readonly Outcome[] = Object.freeze<Outcome[]>(['connect-error', 'reset', 'timeout', 'bad-response'])

/** What is known of a try that is over. */
export interface Tried {
  /** See {@link isRepeatable}. */
  readonly repeatable: boolean
  readonly outcome: Outcome
  /** Of its answer; undefined: none arrived. */
  readonly status: number | undefined
  /** Whether anything of the request may have reached the target. */
  readonly sent: boolean
}

/**
 * Whether doing the request twice is as good as once: its method is one of the configured ones, or the client gave it
 * an idempotency key, by which the backend knows the second from the first.
 *
 * @param method as on the wire: methods are case-sensitive (RFC 9110 section 9.1)
 * @param headers lower-case names; a key that is empty, also in its quotes, or there more than once is none
 */
export function isRepeatable (method: string, headers: Readonly<Record<string, unknown>>, config: RetryConfig): boolean {
  if (config.methods.includes(method)) return true
  if (config.idempotencyKey === undefined) return false
  const key = headers[config.idempotencyKey]
  return typeof key === 'string' && !isEmptyKey(key.trim())
}

/** Nothing, or the structured string of nothing (RFC 9651 section 3.3.3). */
function isEmptyKey (key: string): boolean {
  return key === '' || key === '""'
}

/**
 * Whether a try's failure is worth another.
 *
 * | the try | is tried again when |
 * |---|---|
 * | was aborted by the client, or never left (`rejected`) | never |
 * | was answered | repeatable, and its status or outcome is listed: a backend that answers may have done the work |
 * | failed without an answer | its outcome is listed, and it is repeatable or nothing of it was sent |
 *
 * `connect-error` means that nothing was sent, whatever `sent` says.
 */
export function verdict (tried: Tried, config: RetryConfig): 'again' | 'give-up' {
  return deservesAnother(tried, config) ? 'again' : 'give-up'
}

function deservesAnother ({ repeatable, outcome, status, sent }: Tried, config: RetryConfig): boolean {
  if (outcome === 'aborted' || outcome === 'rejected') return false
  const listed = config.outcomes.includes(outcome)
  if (status !== undefined) return repeatable && (listed || config.statuses.includes(status))
  return listed && (repeatable || !sent || outcome === 'connect-error')
}

/**
 * How long to wait before the next try, ms; undefined: give up, and let the client have the answer with the
 * `Retry-After` it came with. That is when the backend asks for more patience than `maxRetryAfter`, or when the wait
 * would leave nothing of the call's time.
 *
 * A `Retry-After` stands in place of the backoff, also where it is shorter.
 *
 * @param retry 1: before the second try
 * @param retryAfter what the answer's `Retry-After` says (`parseRetryAfter`), ms; undefined: nothing
 * @param left what is left of the call's time, ms; Infinity: no limit
 * @param random uniform in [0, 1)
 */
export function waitOf (
  retry: number,
  retryAfter: number | undefined,
  left: number,
  config: RetryConfig,
  random: () => number
): number | undefined {
  if (retryAfter !== undefined && retryAfter > config.maxRetryAfter) return undefined
  const wait = retryAfter ?? backoffOf(retry, config.backoff, random)
  return wait < left ? wait : undefined
}
