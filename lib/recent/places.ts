/** Which requests are looked at closely: a few of each second, by no chance. */

/** Those that have not failed, in a second. */
const ORDINARY = 5
/** Of them, for composites only: they are rare, and have more to show. */
const FOR_COMPOSITES = 1
const FAILURES = 5

export interface Places {
  /** Whether there is a place for it; it has it then. */
  take (composite: boolean, failed: boolean): boolean
  /** A new second. */
  clear (): void
}

/** First come, first served. Failures have places of their own, so that neither keeps the other out. */
export function createPlaces (): Places {
  let plain = 0
  let composites = 0
  let failures = 0
  return {
    take (composite, failed) {
      if (failed) return failures < FAILURES && ++failures > 0
      if (plain + Math.max(composites, composite ? 0 : FOR_COMPOSITES) >= ORDINARY) return false
      if (composite) composites++
      else plain++
      return true
    },
    clear () { plain = composites = failures = 0 }
  }
}
