/**
 * Follows a provider: its lists one after the other, through everything that it may do wrong. What is told of last stays until
 * something better comes.
 *
 * In rounds: `resolve`, then what `watch` yields until it ends, else a pause. After a round that failed, or whose watch ended,
 * there is a wait with exponential backoff and full jitter.
 */
import { entryOf } from './entry.ts'
import type { Clock } from '../deadlines.ts'
import type { DiscoveredTarget, DiscoveryConfig, DiscoveryProvider } from './types.ts'

/** Most entries of a list. */
export const MAX_ENTRIES = 10_000

/** Entries and lists that are taken from a watch before other work of the process has its turn, and the pause then, ms. */
const BURST = 1_000
const BREATH = 10

/** What a follower tells. */
export interface FollowerSink {
  /** A list that may be used: a copy, empty only with `onEmpty: 'clear'`. What it throws is a fault of the list. */
  onList (list: readonly DiscoveredTarget[]): void
  /** The first fault after all was well. */
  onFault (error: Error): void
  /** All is well again. */
  onRecovered (): void
}

export interface FollowerOptions {
  /** Asked when it is first needed, and again while it fails. */
  readonly open: () => DiscoveryProvider | Promise<DiscoveryProvider>
  readonly config: Pick<DiscoveryConfig, 'bootTimeout' | 'onEmpty' | 'interval' | 'backoff'>
  readonly sink: FollowerSink
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Calls back when the event loop has come round: `setImmediate`. */
  readonly soon: (callback: () => void) => unknown
  /** Milliseconds since 1970. */
  readonly date: () => number
}

export interface FollowerStatus {
  /** Lists that were taken. */
  readonly lists: number
  /** When the last one was taken, ms since 1970. */
  readonly lastSuccess: number | undefined
  /** What is wrong now; undefined: nothing. */
  readonly fault: string | undefined
}

export interface Follower {
  start (): void
  /** Final: nothing is told after it. */
  stop (): void
  /** Begins a new round now. Resolves when the provider has answered: true if its list could be taken. */
  refresh (): Promise<boolean>
  readonly status: FollowerStatus
}

/** From one start of the rounds to the next, or to the end. */
interface Session {
  over: boolean
  /** Ends what is waited for now. */
  fail: ((reason: unknown) => void) | undefined
  /** Of the round. */
  abort: AbortController
  /** The newest list of the watch that has not been told yet. */
  pending: readonly DiscoveredTarget[] | undefined
  /** Whether it will be. */
  scheduled: boolean
  /** Taken from the watch since other work had its turn. */
  spent: number
  /** Whether the first answer is there, and who waits for it. */
  answered: boolean
  readonly answer: Promise<boolean>
  readonly answering: (isGood: boolean) => void
}

/** Where a fault comes from; what comes from a watch is not over because `resolve` works. */
type Source = 'resolve' | 'watch' | 'empty'

export function createFollower (options: FollowerOptions): Follower {
  const { config: { bootTimeout, onEmpty, interval, backoff }, sink, clock } = options
  let provider: DiscoveryProvider | undefined
  let session: Session | undefined
  let stopped = false
  /** Rounds without success, for the next wait. */
  let failures = 0
  let fault: { readonly message: string, readonly source: Source } | undefined
  let lists = 0
  let lastSuccess: number | undefined

  /** Slow answers are answers, but nobody waits for ever for one that never comes. */
  const patience = Math.max(bootTimeout, interval)

  // ---- what is told

  function complain (error: unknown, source: Source): void {
    const told = error instanceof Error ? error : new Error(`the provider failed with ${describe(error)}`)
    const isNew = fault === undefined
    fault = { message: told.message, source: fault?.source === 'watch' ? 'watch' : source }
    if (isNew) tell(() => { sink.onFault(told) })
  }

  function recover (...sources: readonly Source[]): void {
    if (fault === undefined || !sources.includes(fault.source)) return
    fault = undefined
    tell(() => { sink.onRecovered() })
  }

  /** Whether the list is what there is now. */
  function take (list: readonly DiscoveredTarget[]): boolean {
    if (list.length === 0 && onEmpty === 'keep') {
      complain(new Error('the list is empty'), 'empty')
      return false
    }
    sink.onList(list)
    lists++
    lastSuccess = options.date()
    return true
  }

  // ---- a watch: only the newest list of a turn of the event loop is told

  function receive (session: Session, list: unknown): void {
    session.pending = copied(list)
    session.spent += 1 + session.pending.length
    if (session.scheduled) return
    session.scheduled = true
    options.soon(() => {
      session.scheduled = false
      session.spent = 0
      try {
        flush(session)
      } catch (error) {
        session.fail?.(error)
      }
    })
  }

  function flush (session: Session): void {
    const list = session.pending
    session.pending = undefined
    if (list === undefined || session.over) return
    take(list)
    failures = 0
    recover('resolve', 'watch', ...(list.length > 0 || onEmpty === 'clear' ? ['empty' as const] : []))
  }

  /** Until it ends or fails. */
  async function watch (session: Session, lists: AsyncIterable<unknown>): Promise<void> {
    const iterator = iteratorOf(lists)
    let isDone = false
    // a watch that stands is as good as one that tells something
    const stands = clock.setTimeout(() => { failures = 0; recover('resolve', 'watch') }, ceiling())
    try {
      for (;;) {
        const step = await hold(session, () => iterator.next())
        if (typeof step !== 'object' || step === null) throw new TypeError('the watch gave no iterator result')
        if (step.done === true) {
          isDone = true
          break
        }
        receive(session, step.value)
        if (session.spent >= BURST) await pause(session, BREATH)
      }
      flush(session)
    } catch (error) {
      if (!session.over) flush(session)
      throw error
    } finally {
      clock.clearTimeout(stands)
      if (!isDone) quietly(() => iterator.return?.())
    }
  }

  // ---- rounds

  /** Returns how long to wait for the next one, ms. */
  async function round (session: Session): Promise<number> {
    let source: Source = 'resolve'
    session.abort = new AbortController()
    const { signal } = session.abort
    try {
      const asked = provider ??= await hold(session, options.open, patience)
      const list = copied(await hold(session, () => asked.resolve(signal), patience))
      answer(session, take(list))
      recover('resolve', ...(list.length > 0 || onEmpty === 'clear' ? ['empty' as const] : []))
      if (asked.watch === undefined) {
        failures = 0
        recover('watch')
        return interval
      }
      source = 'watch'
      await watch(session, asked.watch(signal))
    } catch (error) {
      if (session.over) return 0
      complain(error, source)
    } finally {
      answer(session, false)
      quietly(() => { session.abort.abort() })
    }
    failures++
    return options.random() * ceiling(-1)
  }

  /** Longest wait after the failures so far. */
  function ceiling (fewer = 0): number {
    return Math.min(backoff.max, backoff.initial * 2 ** Math.min(Math.max(failures + fewer, 0), 30))
  }

  async function run (session: Session): Promise<void> {
    while (!session.over) {
      try {
        await pause(session, await round(session))
      } catch (error) {
        // what fails here is the end of the session
        if (!session.over) complain(error, 'resolve')
      }
    }
  }

  // ---- waiting

  /** What the provider makes of it, unless the session ends or `patience` is over first. */
  async function hold<T> (session: Session, work: () => T | PromiseLike<T>, patience = Infinity): Promise<Awaited<T>> {
    if (session.over) throw ENDED
    const late = patience === Infinity ? undefined : clock.setTimeout(() => session.fail?.(new Error(`no answer within ${patience} ms`)), patience)
    try {
      return await new Promise<Awaited<T>>((resolve, reject) => {
        session.fail = reject
        // also where it throws at once
        new Promise<T>(_resolve => { _resolve(work()) }).then(resolve as (value: T) => void, reject)
      })
    } finally {
      if (late !== undefined) clock.clearTimeout(late)
    }
  }

  async function pause (session: Session, ms: number): Promise<void> {
    if (session.over) throw ENDED
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        session.fail = reject
        timer = clock.setTimeout(resolve, ms)
      })
    } finally {
      if (timer !== undefined) clock.clearTimeout(timer)
    }
  }

  // ---- sessions

  function begin (): Session {
    let answering: (isGood: boolean) => void = () => {}
    const answer = new Promise<boolean>(resolve => { answering = resolve })
    const begun: Session = { over: false, fail: undefined, abort: new AbortController(), pending: undefined, scheduled: false, spent: 0, answered: false, answer, answering }
    session = begun
    run(begun).catch(() => {})
    return begun
  }

  function end (ending: Session): void {
    ending.over = true
    ending.pending = undefined
    answer(ending, false)
    ending.fail?.(ENDED)
    quietly(() => { ending.abort.abort() })
  }

  return {
    start () {
      if (!stopped && session === undefined) begin()
    },
    stop () {
      stopped = true
      if (session !== undefined && !session.over) end(session)
    },
    refresh () {
      if (stopped) return Promise.resolve(false)
      // who asks twice in a moment gets the same answer
      if (session?.answered === false) return session.answer
      if (session !== undefined) end(session)
      return begin().answer
    },
    get status () { return { lists, lastSuccess, fault: fault?.message } }
  }
}

const ENDED = new Error('it is no longer followed')

function answer (session: Session, isGood: boolean): void {
  session.answered = true
  session.answering(isGood)
}

/** What is told of must not bring the follower down. */
function tell (what: () => void): void {
  try {
    what()
  } catch {
    // a log that fails has nobody to tell it to
  }
}

/** Does what nobody waits for; neither its failure nor its rejection matters. */
function quietly (work: () => unknown): void {
  new Promise(resolve => { resolve(work()) }).catch(() => {})
}

/** The provider may go on with its own. @throws Error for what is no list, or a list that is too long */
function copied (list: unknown): readonly DiscoveredTarget[] {
  if (!Array.isArray(list)) throw new TypeError(`the provider gave ${describe(list)} in place of a list`)
  if (list.length > MAX_ENTRIES) throw new RangeError(`the list has ${list.length} entries: more than ${MAX_ENTRIES}`)
  return Array.from(list as unknown[], entryOf)
}

function iteratorOf (lists: AsyncIterable<unknown>): AsyncIterator<unknown> {
  const iterator = (lists as AsyncIterable<unknown> | undefined)?.[Symbol.asyncIterator]?.()
  if (typeof iterator?.next !== 'function') throw new TypeError('watch gave nothing that can be iterated (an async generator does)')
  return iterator
}

function describe (value: unknown): string {
  if (value === undefined || value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  return typeof value === 'string' ? 'a text' : `a value of type ${typeof value}`
}
