/**
 * How long to wait before a retry: exponential, with full jitter.
 */
import type { RetryConfig } from '../resilience/types.ts'

/**
 * The wait before a retry, ms: uniform in [0, c), where c is `initial * factor ** (retry - 1)` but at most `max`.
 *
 * Full jitter, because calls that failed together must not come back together: of the ways compared it makes the
 * fewest tries in all (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 * A wait may come out near 0; what keeps retries from being too many is the budget.
 *
 * @param retry 1: before the second try; any size
 * @param random uniform in [0, 1)
 */
export function backoffOf (retry: number, config: RetryConfig['backoff'], random: () => number): number {
  const { initial, max, factor } = config
  // 0 times an overflown power would be NaN
  if (initial === 0) return 0
  return random() * Math.min(max, initial * factor ** (retry - 1), Number.MAX_SAFE_INTEGER)
}
