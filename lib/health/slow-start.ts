/**
 * Slow start: a target that is new or has come back gets its share of the traffic little by little.
 *
 * Source: Envoy, slow start mode. There the ramp begins at 0 with a floor; here it begins at `initial`.
 */
import type { SlowStartConfig } from '../resilience/types.ts'

/**
 * Share of its normal traffic a target gets, `initial` to 1, on a straight line over `window`.
 * @param since clock time when it joined or came back; -Infinity: long ago, so 1. A time to come counts as now
 * @param now of the same clock
 */
export function shareOf (since: number, now: number, { window, initial }: SlowStartConfig): number {
  const age = now - since
  if (age >= window) return 1
  return age > 0 ? initial + (1 - initial) * (age / window) : initial
}

/** Draws whether a chosen target with this share takes the call. A full share draws no lot. */
export function admits (share: number, random: () => number): boolean {
  return share >= 1 || random() < share
}
