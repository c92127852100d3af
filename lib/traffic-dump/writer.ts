/**
 * Lines on their way to a file. They wait in a queue of at most so many bytes; what finds no room is dropped and counted. A disk that
 * is slow, full or gone costs lines and nothing else.
 */
import { Batch } from './batch.ts'
import type { Clock } from '../deadlines.ts'
import type { DumpStats, Entry } from './types.ts'

/** Most bytes that are handed over at once. */
const BATCH = 262_144
/** So many bytes of entries become lines in one go, and of those that wait at least such a share; then others have their turn. */
const TURN = 32_768
const SHARE = 1 / 4
const FIRST_PAUSE = 1_000
const LONGEST_PAUSE = 60_000

/** Where lines go. */
export interface Sink {
  readonly file: string | undefined
  /** `done` is called once. After an error the sink is not used any more. */
  write (bytes: Buffer, done: (error?: Error | null) => void): void
  /** All has been written. */
  close (done: () => void): void
  destroy (): void
}

export interface WriterTools {
  open (): Sink
  /** Most bytes that wait. */
  readonly limit: number
  readonly clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>
  /** After what is under way now: `setImmediate`. */
  defer (work: () => void): void
  /** Entries of so many ms are written together, or 256 KB of them: a write costs more than a line. Default 0. */
  readonly gather?: number
  /** The first failure of several. */
  onTrouble (error: Error): void
  /** Lines are written again. */
  onRecovery (): void
}

export interface Writer {
  /** Keeps it until it is written, unless there is no room. */
  add (entry: Entry): void
  /**
   * Somebody has seen that nothing can be written, and tells of it: `onTrouble` will not once more, `onRecovery` will when it can be.
   * False: it has been told.
   */
  expectTrouble (): boolean
  stats (): DumpStats
  /** Writes what waits, for at most `ms`. Resolves in any case. */
  close (ms: number): Promise<void>
}

export function createWriter ({ open, limit, clock, defer, gather = 0, onTrouble, onRecovery }: WriterTools): Writer {
  const queue: Entry[] = []
  let waiting = 0
  /** Bytes of those that are no lines yet. */
  let fresh = 0
  /** Some of them are about to become lines, while more are gathered. */
  let making = false
  /** Lines that are taken from the queue, and then written. */
  let batch = new Batch(BATCH)
  /** Of which entries: their number, and about how many bytes they keep. */
  let taken = { entries: 0, size: 0 }
  /** Entries that are being written. */
  let underWay = 0
  const counts = { written: 0, dropped: 0, failed: 0 }
  let state: 'idle' | 'gathering' | 'turn' | 'writing' | 'paused' | 'closed' = 'idle'
  let sink: Sink | undefined
  let pause = FIRST_PAUSE
  let timer: NodeJS.Timeout | undefined
  /** It has been told. */
  let troubled = false
  /** The last write may have left a part of a line. */
  let torn = false
  let closing: (() => void) | undefined

  function add (entry: Entry): void {
    if (state === 'closed' || waiting + entry.size > limit) {
      counts.dropped++
      return
    }
    waiting += entry.size
    fresh += entry.size
    queue.push(entry)
    if (state === 'idle') goOn()
    else if (state === 'gathering') hurry()
  }

  /** There may be enough by now to go on with. */
  function hurry (): void {
    if (waiting >= BATCH) beginNow()
    else if (fresh >= TURN && !making) {
      making = true
      defer(make)
    }
  }

  /** Entries hold many small objects: those that wait long are copied by the garbage collector, and gone from the processor's caches. */
  function make (): void {
    making = false
    if (state !== 'gathering') return
    takeSome()
    if (batch.full) beginNow()
  }

  /** With what waits, if anything does. */
  function goOn (): void {
    if (queue.length === 0) rest()
    else if (gather === 0 || waiting >= BATCH || closing !== undefined) begin()
    else {
      state = 'gathering'
      timer = clock.setTimeout(begin, gather)
    }
  }

  function begin (): void {
    state = 'turn'
    defer(turn)
  }

  /** Without the rest of a gathering or a pause. */
  function beginNow (): void {
    if (timer !== undefined) clock.clearTimeout(timer)
    begin()
  }

  function turn (): void {
    if (state !== 'turn') return
    takeSome()
    if (queue.length > 0 && !batch.full) defer(turn)
    else write()
  }

  function takeSome (): void {
    // under load there is one turn for all that has come since the last: an equal part each time would be too little some day
    const enough = Math.max(TURN, fresh * SHARE)
    let bytes = 0
    let count = 0
    while (count < queue.length && bytes < enough && !batch.full) {
      const entry = queue[count++]!
      bytes += entry.size
      take(entry)
    }
    queue.splice(0, count)
    fresh -= bytes
  }

  function take (entry: Entry): void {
    taken.size += entry.size
    try {
      const line = entry.line()
      // what trouble has cut off ends here
      if (torn && batch.length === 0) batch.add('')
      batch.add(line)
      taken.entries++
    } catch (error) {
      counts.failed++
      trouble(error as Error)
    }
  }

  function write (): void {
    const { size } = taken
    underWay = taken.entries
    taken = { entries: 0, size: 0 }
    state = 'writing'
    let settled = false
    const done = (error?: Error | null): void => {
      if (settled) return
      settled = true
      waiting -= size
      // none of them, if it has been given up meanwhile
      const entries = underWay
      underWay = 0
      if (error != null) failed(error, entries)
      else succeeded(entries)
    }
    if (underWay === 0) {
      done()
      return
    }
    try {
      sink ??= open()
      sink.write(batch.bytes(), done)
    } catch (error) {
      done(error as Error)
    }
  }

  function succeeded (entries: number): void {
    counts.written += entries
    if (state === 'closed') return
    batch.empty()
    if (entries > 0) {
      pause = FIRST_PAUSE
      if (troubled) onRecovery()
      troubled = torn = false
    }
    goOn()
  }

  function failed (error: Error, entries: number): void {
    counts.failed += entries
    torn = true
    sink?.destroy()
    sink = undefined
    // whoever has failed may still read what it was given
    batch = new Batch(BATCH)
    if (state === 'closed') return
    trouble(error)
    if (closing !== undefined) {
      giveUp()
      return
    }
    state = 'paused'
    timer = clock.setTimeout(goOn, pause)
    pause = Math.min(2 * pause, LONGEST_PAUSE)
  }

  function trouble (error: Error): void {
    if (!troubled) onTrouble(error)
    troubled = true
  }

  function rest (): void {
    state = 'idle'
    if (closing === undefined) return
    state = 'closed'
    if (sink === undefined) closing()
    else sink.close(closing)
  }

  /** What has not been written by now never will be. */
  function giveUp (): void {
    state = 'closed'
    counts.failed += queue.length + taken.entries + underWay
    queue.length = fresh = taken.entries = underWay = 0
    sink?.destroy()
    closing?.()
  }

  return {
    add,
    expectTrouble () {
      const news = !troubled && state !== 'closed'
      if (news) troubled = true
      return news
    },
    stats: () => ({ ...counts, queued: queue.length + taken.entries + underWay, file: sink?.file }),
    close (ms) {
      return new Promise(resolve => {
        if (state === 'closed') {
          resolve()
          return
        }
        const late = clock.setTimeout(giveUp, ms)
        // nothing else may keep the process until then
        ;(late as Partial<NodeJS.Timeout>).ref?.()
        closing = () => {
          clock.clearTimeout(late)
          closing = undefined
          resolve()
        }
        if (state === 'idle') rest()
        // it is told soon enough that there is trouble
        else if (state === 'gathering' || state === 'paused') beginNow()
      })
    }
  }
}
