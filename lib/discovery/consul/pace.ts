/** A token bucket: a few turns at once, then one at a time. */
import type { ProviderTools } from '../types.ts'

/**
 * `burst` turns may be taken at once; each comes back after `every` ms. What is returned resolves when it is the caller's turn, and
 * rejects with the signal's reason. For one caller at a time.
 */
export function createPace ({ now, sleep }: Pick<ProviderTools, 'now' | 'sleep'>, burst: number, every: number): (signal: AbortSignal) => Promise<void> {
  let turns = burst
  let since = now()

  function refill (): void {
    const at = now()
    turns = Math.min(burst, turns + (at - since) / every)
    since = at
  }

  return async function takeTurn (signal) {
    refill()
    if (turns < 1) {
      await sleep((1 - turns) * every, signal)
      refill()
    }
    // a timer may be early by a little
    turns = Math.max(0, turns - 1)
  }
}
