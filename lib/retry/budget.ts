/**
 * The retry budget of a backend: retries are a share of the recent calls, so that they cannot multiply the load on a
 * backend that is failing because of its load.
 *
 * A retry is allowed when, itself included, at most `max(min, ratio * calls)` retries fall into the window. Only whole
 * retries count: 0.2 of 4 calls is none. So do Envoy (`retry_budget`: the larger of `budget_percent` and
 * `min_retry_concurrency`, rounded down, though of what is active rather than of a window) and Finagle (`RetryBudget`:
 * a retry takes a whole token out of a bucket whose tokens expire after a `ttl`). In Finagle and linkerd the minimum
 * comes on top of the share; here, as in Envoy, it is a floor, so that the ratio is what a busy backend sees.
 *
 * The window slides in buckets of a tenth of it. To stay on the safe side calls are counted over the last 0.9 to 1
 * window, retries over the last 1 to 1.1: never more retries than an exact window would allow, and a refusal at most
 * a tenth of a window early or late.
 */
import type { Clock } from '../deadlines.ts'
import type { RetryBudgetConfig } from '../resilience/types.ts'

/** What a budget has seen lately, for views and metrics. */
export interface BudgetStats {
  /** First tries within the window. */
  readonly calls: number
  /** Retries and hedges within the window. */
  readonly retries: number
  /** How many retries the window may hold in all. */
  readonly allowed: number
  /** Retries and hedges refused since the budget was made. */
  readonly refused: number
}

/** See {@link createBudget}. */
export interface Budget {
  /**
   * A first try begins. Costs a comparison and an increment.
   * @param now the clock's time, for a caller that has just read it; a time that is past already counts as the present
   */
  call (now?: number): void
  /** A retry or a hedge wants to begin: whether it may. One that may is counted. */
  take (): boolean
  stats (): BudgetStats
}

/** Buckets a window is cut into. */
const BUCKETS = 10
/** One more, so that the slots reach back a whole window however young the newest one is. */
const SLOTS = BUCKETS + 1

/** Makes an empty budget. It reads the clock and sets no timers. */
export function createBudget (config: RetryBudgetConfig, clock: Pick<Clock, 'now'>): Budget {
  const { ratio, min, window } = config
  const calls: number[] = new Array<number>(SLOTS).fill(0)
  const retries: number[] = new Array<number>(SLOTS).fill(0)
  /** Number of the newest bucket since the clock's zero, and when the next one begins. */
  let bucket = bucketAt(clock.now())
  let turnsAt = startOf(bucket + 1)
  /** Its slot. */
  let slot = 0
  let refused = 0

  function bucketAt (now: number): number {
    return Math.floor(now * BUCKETS / window)
  }

  function startOf (bucket: number): number {
    return bucket * window / BUCKETS
  }

  function turn (now: number): void {
    const next = bucketAt(now)
    for (let empty = Math.min(next - bucket, SLOTS); empty > 0; empty--) {
      slot = (slot + 1) % SLOTS
      calls[slot] = 0
      retries[slot] = 0
    }
    bucket = next
    turnsAt = startOf(next + 1)
  }

  function callsInWindow (): number {
    // without the oldest slot: it may lie outside the window
    return sum(calls) - calls[(slot + 1) % SLOTS]!
  }

  function allowedNow (): number {
    return Math.floor(Math.max(min, ratio * callsInWindow()))
  }

  return {
    call (now = clock.now()) {
      if (now >= turnsAt) turn(now)
      calls[slot]! += 1
    },

    take () {
      const now = clock.now()
      if (now >= turnsAt) turn(now)
      if (sum(retries) >= allowedNow()) {
        refused += 1
        return false
      }
      retries[slot]! += 1
      return true
    },

    stats () {
      const now = clock.now()
      if (now >= turnsAt) turn(now)
      return { calls: callsInWindow(), retries: sum(retries), allowed: allowedNow(), refused }
    }
  }
}

function sum (counts: readonly number[]): number {
  let total = 0
  for (let slot = 0; slot < SLOTS; slot++) total += counts[slot]!
  return total
}
