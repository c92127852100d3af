/** How long a file is written to, in the words of the library that rotates them. */

const DAY = 86_400_000

/** `1h`: parts of a minute, an hour or a day, or whole days. undefined: it is none of these. */
export function intervalWord (ms: number): string | undefined {
  if (ms > 0 && ms % DAY === 0) return `${ms / DAY}d`
  for (const [unit, size, whole] of [['h', 3_600_000, DAY], ['m', 60_000, 3_600_000], ['s', 1_000, 60_000]] as const) {
    if (ms >= size && ms % size === 0 && whole % ms === 0) return `${ms / size}${unit}`
  }
  return undefined
}
