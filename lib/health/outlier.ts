/**
 * Passive health: targets whose real answers are bad are ejected for a while.
 *
 * Each copy of the gateway sees its own network, so nothing of this is shared. Ejections end by the clock alone: whoever
 * asks after the end finds the target back, and no timer runs.
 *
 * Source of the rules: Envoy, outlier detection.
 */
import type { Clock } from '../deadlines.ts'
import type { OutlierConfig } from '../resilience/types.ts'
import type { Outcome } from '../types.ts'

/** The window of the failure rate forgets a tenth of itself at a time. */
const SLOTS = 10

/** The results of one target. */
export interface Outlier {
  /**
   * Counts an outcome; whether the target is to be ejected now, which stays true with every counted outcome until
   * `reset` while the reason holds. `aborted` and `rejected` never count, even when listed in `outcomes`;
   * whatever else is not listed is a success.
   */
  record (outcome: Outcome): boolean
  /** Forgets all outcomes. */
  reset (): void
}

/** What the trackers of a backend have in common. */
interface Rules {
  readonly clock: Clock
  /** Infinity: off. */
  readonly consecutive: number
  readonly failureRate: number | undefined
  readonly minVolume: number
  readonly slotLength: number
  readonly failed: Readonly<Record<Outcome, boolean | undefined>>
}

function rulesOf (config: OutlierConfig, clock: Clock): Rules {
  const failed: Record<Outcome, boolean | undefined> = {
    ok: false,
    'client-error': false,
    'server-error': false,
    'connect-error': false,
    reset: false,
    timeout: false,
    'bad-response': false,
    aborted: undefined,
    rejected: undefined
  }
  for (const outcome of config.outcomes) {
    if (failed[outcome] !== undefined) failed[outcome] = true
  }
  const { consecutive, failureRate, minVolume, window } = config
  return { clock, consecutive: consecutive ?? Infinity, failureRate, minVolume, slotLength: Math.max(1, window) / SLOTS, failed }
}

/** A target of a group; a class because there is one per target and `record` runs once per attempt. */
class Tracker implements Outlier {
  readonly key: string
  /** Whether an ejection has begun and nobody has yet seen its end. Writer: the group */
  out = false
  /** Clock time when the last ejection ends or ended; -Infinity before the first. Writer: the group */
  until = -Infinity
  /** How many base ejections the last one was worth. Writer: the group */
  ejections = 0
  /** False once forgotten. Writer: the group */
  tracked = true
  private readonly rules: Rules
  /** Failures in a row. */
  private streak = 0
  private total = 0
  private failed = 0
  /** Number of the newest slot, counted from the clock's zero. */
  private slot = 0
  /** Two counts a slot: all outcomes, failures. */
  private readonly slots: Uint32Array | undefined

  constructor (key: string, rules: Rules) {
    this.key = key
    this.rules = rules
    this.slots = rules.failureRate === undefined ? undefined : new Uint32Array(2 * SLOTS)
  }

  record (outcome: Outcome): boolean {
    const { rules } = this
    const failed = rules.failed[outcome]
    if (failed === undefined) return false
    this.streak = failed ? this.streak + 1 : 0
    const tooMany = this.slots !== undefined && this.recordRate(this.slots, failed)
    return tooMany || this.streak >= rules.consecutive
  }

  reset (): void {
    this.streak = this.total = this.failed = 0
    this.slots?.fill(0)
  }

  private recordRate (slots: Uint32Array, failed: boolean): boolean {
    const { clock, slotLength, minVolume, failureRate } = this.rules
    this.rotate(slots, Math.floor(clock.now() / slotLength))
    const at = 2 * (this.slot % SLOTS)
    slots[at]! += 1
    this.total += 1
    if (failed) {
      slots[at + 1]! += 1
      this.failed += 1
    }
    return this.total >= minVolume && this.failed * 100 >= failureRate! * this.total
  }

  private rotate (slots: Uint32Array, slot: number): void {
    const passed = Math.min(SLOTS, slot - this.slot)
    for (let i = 1; i <= passed; i++) {
      const at = 2 * ((this.slot + i) % SLOTS)
      this.total -= slots[at]!
      this.failed -= slots[at + 1]!
      slots[at] = slots[at + 1] = 0
    }
    this.slot = slot
  }
}

export type { Tracker }

/** The targets of a backend, of which only so many may be out at once. */
export interface OutlierGroup {
  /** The tracker of a target, made on first use. When targets are exchanged, track the new ones before forgetting the old. */
  track (targetKey: string): Tracker
  /**
   * Removes a target; its late outcomes no longer count. When too large a part of the rest is out now, those that would
   * return first return at once.
   */
  forget (tracker: Tracker): void
  /** Counts an outcome; true when it has ejected the target. Outcomes of a target that is out do not count. */
  record (tracker: Tracker, outcome: Outcome): boolean
  /** Reads no clock while the target is in. */
  isEjected (tracker: Tracker): boolean
  /** Clock time when its ejection ends; -Infinity when it is in. */
  ejectedUntil (tracker: Tracker): number
  /** Clock time when its last ejection ended; -Infinity when it is out or never was. For slow start. */
  returnedAt (tracker: Tracker): number
  /** How many are out now. */
  readonly ejected: number
  /** How many are tracked. */
  readonly size: number
  /** Clock time when the next target returns; Infinity when none is out. Until then only `record` and `forget` change who is out. */
  readonly nextReturn: number
}

/**
 * Ejects targets of one backend.
 *
 * A target is ejected on `consecutive` failures in a row, or when at least `failureRate` percent of at least `minVolume`
 * outcomes within `window` failed (a sliding window that moves in tenths, so it covers 90 to 100 % of its length).
 *
 * At most `maxEjectedPercent` of the targets are out, rounded down; but one may always be, unless it is the only target
 * (which goes out at 100 % alone). Envoy rounds the other way and lets the limit be passed by one. A target that may
 * not go is asked again at its next outcome.
 *
 * Ejection n in a row lasts n × `baseEjection`, at most `maxEjection`. n goes down by one for each `baseEjection` spent
 * in, and no longer rises once the maximum is reached, so that the way back is not longer than it need be.
 * A returned target begins with empty counters.
 */
export function createOutlierGroup (config: OutlierConfig, clock: Clock): OutlierGroup {
  const { maxEjection, maxEjectedPercent } = config
  // it is divided by
  const baseEjection = Math.max(1, config.baseEjection)
  const rules = rulesOf(config, clock)
  const trackers = new Map<string, Tracker>()
  /** Most that may be out. */
  let limit = 0
  let ejected = 0
  let nextReturn = Infinity

  function track (key: string): Tracker {
    let tracker = trackers.get(key)
    if (tracker === undefined) {
      tracker = new Tracker(key, rules)
      trackers.set(key, tracker)
      resize()
    }
    return tracker
  }

  function forget (tracker: Tracker): void {
    if (!tracker.tracked) return
    tracker.tracked = tracker.out = false
    trackers.delete(tracker.key)
    resize()
    if (ejected === 0) return
    const now = clock.now()
    recount(now)
    while (ejected > limit) {
      for (const other of trackers.values()) {
        if (!other.out || other.until !== nextReturn) continue
        other.until = now
        break
      }
      recount(now)
    }
  }

  function resize (): void {
    const { size } = trackers
    limit = Math.max(size > 1 ? 1 : 0, Math.floor(size * maxEjectedPercent / 100))
  }

  function record (tracker: Tracker, outcome: Outcome): boolean {
    if (isEjected(tracker)) return false
    return tracker.record(outcome) && eject(tracker)
  }

  function eject (tracker: Tracker): boolean {
    const now = clock.now()
    settle(now)
    if (ejected >= limit || !tracker.tracked) return false
    const forgiven = Math.floor((now - tracker.until) / baseEjection)
    tracker.ejections = Math.max(0, tracker.ejections - forgiven)
    if (tracker.ejections * baseEjection < maxEjection) tracker.ejections++
    tracker.until = now + Math.min(tracker.ejections * baseEjection, maxEjection)
    tracker.out = true
    tracker.reset()
    ejected++
    nextReturn = Math.min(nextReturn, tracker.until)
    return true
  }

  /** Brings back whoever is due. Costs a comparison while nobody is. */
  function settle (now: number): void {
    if (now >= nextReturn) recount(now)
  }

  function recount (now: number): void {
    ejected = 0
    nextReturn = Infinity
    for (const tracker of trackers.values()) {
      if (!tracker.out) continue
      if (tracker.until <= now) {
        tracker.out = false
        continue
      }
      ejected++
      nextReturn = Math.min(nextReturn, tracker.until)
    }
  }

  function isEjected (tracker: Tracker): boolean {
    if (!tracker.out) return false
    settle(clock.now())
    return tracker.out
  }

  return {
    track,
    forget,
    record,
    isEjected,
    ejectedUntil: tracker => isEjected(tracker) ? tracker.until : -Infinity,
    returnedAt: tracker => isEjected(tracker) ? -Infinity : tracker.until,
    get ejected () {
      if (ejected > 0) settle(clock.now())
      return ejected
    },
    get size () { return trackers.size },
    get nextReturn () { return nextReturn }
  }
}
