/** Follows targets that traffic has ejected: the end of an ejection is a matter of the clock, and nobody tells of it. */
import type { Fate, HealthState } from '../health/index.ts'
import type { BreakerName } from '../resilience/types.ts'

/** Most that are followed at once. */
const MOST = 200

export interface Ejections {
  follow (target: BreakerName, fate: Fate): void
  /** Tells of those whose ejection has ended. */
  check (): void
}

export function createEjections (tell: (target: BreakerName, to: HealthState) => void): Ejections {
  let followed: Array<{ readonly target: BreakerName, readonly fate: Fate }> = []
  return {
    follow (target, fate) {
      if (followed.length < MOST) followed.push({ target, fate })
    },
    check () {
      if (followed.length === 0) return
      const before = followed
      followed = []
      for (const one of before) {
        const state = one.fate()
        if (state === 'ejected') followed.push(one)
        else if (state !== undefined) tell(one.target, state)
      }
    }
  }
}
