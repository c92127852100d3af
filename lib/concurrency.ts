/**
 * Places for the calls of one backend, and a bounded queue of those that wait for one.
 *
 * Calls come in groups: one a tenant, and one of everybody else. While nobody waits any group may take all places. Else a
 * place that becomes free goes to the waiting group that holds the fewest (max-min fairness: Bertsekas and Gallager, Data
 * Networks, 1992, section 6.5.2); groups that hold the same take turns, as calls that came long ago are no reason to be
 * served twice before others are served once. In a full queue the group that waits with the most calls gives way (McKenney,
 * Stochastic Fairness Queueing, 1990). Within a group: first come, first served.
 */
import { createHeap } from './heap.ts'
import type { Heap } from './heap.ts'
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
  /** It has to go, in favour of a group that waits with fewer; called once, and neither after `leave` nor before or after `admit`. */
  drop (): void
}

/** What the calls of one tenant have of it. */
export interface SlotGroup {
  /** Calls that have a place. */
  readonly taken: number
  /** Calls that wait for one. */
  readonly waiting: number
}

/** `fairShare` is true by default. */
export type SlotLimits = Pick<ConcurrencyConfig, 'max' | 'queue'> & Partial<Pick<ConcurrencyConfig, 'fairShare'>>

export interface Slots {
  /** Calls that have a place. */
  readonly taken: number
  /** Calls that wait for one. */
  readonly waiting: number
  /**
   * A place, if one is free and nobody waits who may have it.
   * `group`: whose call it is; undefined: everybody's, a group like any other. `max`: most places of this group at once,
   * from now on; default Infinity.
   */
  take (group?: string, max?: number): Slot | undefined
  /**
   * Joins the queue, for who got nothing from `take`; false when it is full. Who is in it already must not join again.
   * `queue`: most calls of this group that wait; default Infinity.
   */
  join (waiting: Waiting, group?: string, max?: number, queue?: number): boolean
  /** Leaves the queue. */
  leave (waiting: Waiting): void
  /** New limits, from now on; those that have a place or wait keep what they have. */
  limit (limits: SlotLimits): void
  /** How a group stands now; undefined: it has no call. Not to be kept. */
  group (name?: string): SlotGroup | undefined
}

/** Someone in the queue, between the one before and the one after of the same group. */
class Entry {
  before: Entry | undefined = undefined
  after: Entry | undefined = undefined

  constructor (readonly waiting: Waiting, readonly group: Group, readonly number: number) {}
}

/** Lives as long as it has a call. */
class Group implements SlotGroup {
  taken = 0
  waiting = 0
  /** Its place in the round: given when it begins to wait, and anew with each turn it has. */
  since = 0
  first: Entry | undefined = undefined
  last: Entry | undefined = undefined
  /** Where it stands among those whose turn may come, and among all that wait; -1: nowhere. */
  turnAt = -1
  lengthAt = -1
  /** The next one that is out of use. */
  next: Group | undefined = undefined

  constructor (public name: string | undefined, public max: number) {}
}

class Place implements Slot {
  #group: Group | undefined
  readonly #giveBack: (group: Group) => void

  constructor (group: Group, giveBack: (group: Group) => void) {
    this.#group = group
    this.#giveBack = giveBack
  }

  free (): void {
    const group = this.#group
    if (group === undefined) return
    this.#group = undefined
    this.#giveBack(group)
  }
}

export function createSlots (limits: SlotLimits): Slots {
  let { max, queue, fairShare = true } = limits
  let taken = 0
  /** Counts those that join and turns that are had: who has the smaller number has waited longer. */
  let count = 0
  const entries = new Map<Waiting, Entry>()
  const common = new Group(undefined, Infinity)
  const groups = new Map<string, Group>()
  // tenants that make one call at a time come and go with each; never more than had calls at once
  let unused: Group | undefined
  /** The groups that wait and are below their own limit. Whenever a place is free, there are none. */
  const turn = createHeap<Group>(
    (a, b) => {
      if (!fairShare) return a.first!.number < b.first!.number
      return a.taken === b.taken ? a.since < b.since : a.taken < b.taken
    },
    (group, at) => { group.turnAt = at }
  )
  /** All groups that wait: who gives way in a full queue. */
  const longest = createHeap<Group>(givesWay, (group, at) => { group.lengthAt = at })

  function open (name: string | undefined, most: number): Group {
    if (name === undefined) return common
    let group = unused
    if (group === undefined) group = new Group(name, most)
    else {
      unused = group.next
      group.next = undefined
      group.name = name
      group.max = most
    }
    groups.set(name, group)
    return group
  }

  /** The group as it is, with this limit of its own from now on; undefined: it has no call. */
  function known (name: string | undefined, most: number): Group | undefined {
    const group = name === undefined ? common : groups.get(name)
    if (group === undefined || group.max === most) return group
    group.max = most
    if (group.waiting === 0) return group
    settle(group)
    admit()
    // who was let in may have been the last of it, and gone
    return name === undefined ? common : groups.get(name)
  }

  /** Puts a group where it belongs after its calls have changed. */
  function settle (group: Group): void {
    const waits = group.waiting > 0
    rank(turn, group, group.turnAt, waits && group.taken < group.max)
    rank(longest, group, group.lengthAt, waits)
    if (waits || group.taken > 0 || group === common) return
    groups.delete(group.name!)
    group.next = unused
    unused = group
  }

  function place (group: Group): Slot {
    taken++
    group.taken++
    return new Place(group, giveBack)
  }

  function giveBack (group: Group): void {
    taken--
    group.taken--
    if (group.waiting > 0 || (group.taken === 0 && group !== common)) settle(group)
    if (entries.size > 0) admit()
  }

  function admit (): void {
    while (taken < max) {
      const group = turn.first
      if (group === undefined) return
      const { waiting } = detach(group.first!)
      group.since = count++
      const slot = place(group)
      settle(group)
      waiting.admit(slot)
    }
  }

  function attach (entry: Entry): void {
    const { group, waiting } = entry
    entries.set(waiting, entry)
    entry.before = group.last
    if (group.last === undefined) {
      group.first = entry
      group.since = entry.number
    } else group.last.after = entry
    group.last = entry
    group.waiting++
  }

  function detach (entry: Entry): Entry {
    const { group, before, after } = entry
    entries.delete(entry.waiting)
    if (before === undefined) group.first = after
    else before.after = after
    if (after === undefined) group.last = before
    else after.before = before
    group.waiting--
    return entry
  }

  /** Who leaves a full queue for a newcomer of this group, if anyone. */
  function surplus (group: SlotGroup | undefined): Entry | undefined {
    const largest = longest.first
    if (!fairShare || queue === 0 || largest === undefined) return undefined
    const more = largest.waiting - (group?.waiting ?? 0)
    // groups one apart only change sides: they would go on throwing each other out, did not one of them hold less
    return more > 1 || (more === 1 && largest.taken > (group?.taken ?? 0)) ? largest.last : undefined
  }

  return {
    get taken () { return taken },
    get waiting () { return entries.size },
    take (name, most = Infinity) {
      const group = known(name, most)
      if (taken >= max || (entries.size > 0 && turn.size > 0) || (group !== undefined && group.taken >= most)) return undefined
      return place(group ?? open(name, most))
    },
    join (waiting, name, most = Infinity, line = Infinity) {
      const group = known(name, most)
      if ((group?.waiting ?? 0) >= line) return false
      const loser = entries.size >= queue ? surplus(group) : undefined
      if (entries.size >= queue && loser === undefined) return false
      const entry = new Entry(waiting, group ?? open(name, most), count++)
      attach(entry)
      settle(entry.group)
      if (loser !== undefined) {
        settle(detach(loser).group)
        loser.waiting.drop()
      }
      return true
    },
    leave (waiting) {
      const entry = entries.get(waiting)
      if (entry !== undefined) settle(detach(entry).group)
    },
    limit (next) {
      ({ max, queue, fairShare = true } = next)
      turn.reorder()
      admit()
    },
    group (name) {
      const group = name === undefined ? common : groups.get(name)
      return group !== undefined && (group.taken > 0 || group.waiting > 0) ? group : undefined
    }
  }
}

/** The group with more calls waiting; of two alike the one that holds more places, then the one whose newest came last. */
function givesWay (a: Group, b: Group): boolean {
  if (a.waiting !== b.waiting) return a.waiting > b.waiting
  if (a.taken !== b.taken) return a.taken > b.taken
  return a.last!.number > b.last!.number
}

function rank (heap: Heap<Group>, group: Group, at: number, within: boolean): void {
  if (at < 0) {
    if (within) heap.add(group)
  } else if (within) heap.update(at)
  else heap.remove(at)
}
