/**
 * Places for the calls of one backend, and a bounded queue of those that wait for one: first come, first served.
 */
import type { ConcurrencyConfig } from './resilience/types.ts'

/** A place that is taken. */
export interface Slot {
  /** Gives it back; once is enough, and more does no harm. */
  free (): void
}

/** Someone in the queue. */
export interface Waiting {
  /** Its turn has come; called once, and not after `leave`. */
  admit (slot: Slot): void
}

export interface Slots {
  /** Calls that have a place. */
  readonly taken: number
  /** Calls that wait for one. */
  readonly waiting: number
  /** A place, if one is free and nobody waits for it. */
  take (): Slot | undefined
  /** Joins the queue; false when it is full. */
  join (waiting: Waiting): boolean
  /** Leaves the queue. */
  leave (waiting: Waiting): void
  /** New limits, from now on; those that have a place or wait keep what they have. */
  limit (config: Pick<ConcurrencyConfig, 'max' | 'queue'>): void
}

export function createSlots (config: Pick<ConcurrencyConfig, 'max' | 'queue'>): Slots {
  let { max, queue } = config
  let taken = 0
  // a set keeps the order, and lets anyone go from the middle
  const waiters = new Set<Waiting>()

  function place (): Slot {
    taken++
    let mine = true
    return {
      free () {
        if (!mine) return
        mine = false
        taken--
        admit()
      }
    }
  }

  function admit (): void {
    for (const waiting of waiters) {
      if (taken >= max) return
      waiters.delete(waiting)
      waiting.admit(place())
    }
  }

  return {
    get taken () { return taken },
    get waiting () { return waiters.size },
    take: () => taken < max && waiters.size === 0 ? place() : undefined,
    join (waiting) {
      if (waiters.size >= queue) return false
      waiters.add(waiting)
      return true
    },
    leave (waiting) { waiters.delete(waiting) },
    limit (next) {
      max = next.max
      queue = next.queue
      admit()
    }
  }
}
