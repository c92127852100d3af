/**
 * Many deadlines, few timers. Calls that wait equally long expire in the order in which they began, so one list
 * and one timer per distinct duration serve them all: arming and disarming are two pointer writes.
 */

/** Something that may run out of time. The links belong to the wheel. */
export interface Expirable {
  /** Called once, from a timer, when the time is over. Must not throw. */
  expire (): void
  /** Called instead when the deadlines end before its time. */
  forget? (): void
  expiresAt: number
  before: Expirable | undefined
  after: Expirable | undefined
  list: DeadlineList | undefined
}

interface DeadlineList {
  readonly duration: number
  first: Expirable | undefined
  last: Expirable | undefined
  timer: NodeJS.Timeout | undefined
}

export interface Deadlines {
  /** `ms` after now, `entry.expire()` is called; an entry that is armed already is moved. */
  arm (entry: Expirable, ms: number): void
  disarm (entry: Expirable): void
  /** Forgets everything and clears all timers. */
  close (): void
}

/** The clock and the timers a test may replace. */
export interface Clock {
  /** Milliseconds that never go backwards. */
  now (): number
  setTimeout (callback: () => void, ms: number): NodeJS.Timeout
  clearTimeout (timer: NodeJS.Timeout): void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms).unref(),
  clearTimeout: timer => clearTimeout(timer)
}

export function createDeadlines (clock: Clock = systemClock): Deadlines {
  const lists = new Map<number, DeadlineList>()

  function arm (entry: Expirable, ms: number): void {
    if (entry.list !== undefined) disarm(entry)
    const duration = Math.max(1, Math.ceil(ms))
    let list = lists.get(duration)
    if (list === undefined) {
      list = { duration, first: undefined, last: undefined, timer: undefined }
      lists.set(duration, list)
    }
    entry.expiresAt = clock.now() + duration
    entry.list = list
    entry.before = list.last
    entry.after = undefined
    if (list.last === undefined) list.first = entry
    else list.last.after = entry
    list.last = entry
    // A timer that is set already fires no later than this entry needs: it re-arms itself for what is first then.
    list.timer ??= clock.setTimeout(() => sweep(list), duration)
  }

  function sweep (list: DeadlineList): void {
    list.timer = undefined
    const now = clock.now()
    let entry = list.first
    // Half a millisecond of grace: a timer may fire a hair before performance.now() says so.
    while (entry !== undefined && entry.expiresAt <= now + 0.5) {
      disarm(entry)
      entry.expire()
      entry = list.first
    }
    if (entry !== undefined) list.timer ??= clock.setTimeout(() => sweep(list), Math.max(1, entry.expiresAt - now))
    else if (list.timer === undefined) lists.delete(list.duration)
  }

  function close (): void {
    for (const list of lists.values()) {
      if (list.timer !== undefined) clock.clearTimeout(list.timer)
      while (list.first !== undefined) {
        const { first } = list
        disarm(first)
        first.forget?.()
      }
    }
    lists.clear()
  }

  return { arm, disarm, close }
}

function disarm (entry: Expirable): void {
  const list = entry.list
  if (list === undefined) return
  if (entry.before === undefined) list.first = entry.after
  else entry.before.after = entry.after
  if (entry.after === undefined) list.last = entry.before
  else entry.after.before = entry.before
  entry.before = entry.after = entry.list = undefined
}
