/**
 * How long to wait before a worker that has ended is replaced: not at all after a long life; longer and longer, with jitter,
 * where one after the other ends soon.
 */

/** ms. */
const INITIAL = 100
const MAX = 30_000
/** Who has served so long does not end because of how it began, ms. */
const LONG_LIFE = 30_000

/**
 * `served`: how long the one that ended has, ms; undefined: it never did. `deaths`: how many before it have ended early, one
 * after the other. Returns the wait in ms, between half of `INITIAL * 2 ** deaths` and all of it, and the deaths with this one.
 */
export function waitBefore (served: number | undefined, deaths: number, random: () => number): { readonly wait: number, readonly deaths: number } {
  if (served !== undefined && served >= LONG_LIFE) return { wait: 0, deaths: 0 }
  const most = Math.min(MAX, INITIAL * 2 ** Math.min(deaths, 30))
  return { wait: most / 2 + random() * most / 2, deaths: deaths + 1 }
}
