/** Circuits as they are shown. */
import type { BreakerStats } from '../circuit-breaker/index.ts'

/** With the time of day in place of that of a clock that only the process has. */
export interface ShownBreakerStats extends Omit<BreakerStats, 'openedAt'> {
  /** When it last opened, ISO 8601; null: never. */
  readonly openedAt: string | null
}

export interface Clocks {
  /** Milliseconds that never go backwards. */
  now (): number
  /** ms since 1970. */
  wall (): number
}

export function shownStats ({ openedAt, ...stats }: BreakerStats, { now, wall }: Clocks): ShownBreakerStats {
  return { ...stats, openedAt: openedAt === undefined ? null : new Date(wall() - (now() - openedAt)).toISOString() }
}
