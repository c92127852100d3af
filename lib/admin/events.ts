/**
 * What happens, as server-sent events (WHATWG HTML, section 9.2): first what is known, then everything as it comes. What all are
 * told is worked out once, and only while somebody listens.
 */
import { pipeline, Readable, type Writable } from 'node:stream'
import type { Recent, RecentEvent, RecentHistory } from '../recent/types.ts'
import type { AdminEventName, AdminStatus, BackendStatus } from './types.ts'

/** Streams at once. */
const MOST = 32

/** Between two looks at the gateway, ms; */
const PAUSE = 1_000
/** or so many times as long as a look takes, where there are thousands of targets. */
const SHARE = 20

/** Who has more than so many bytes before them is told nothing new until they have read that. */
const LARGEST_PILE = 65_536

/** And who has not done so for so many looks does not read. */
const PATIENCE = 30

/** Who has not taken in the end by then does not read, either, ms. */
const GRACE = 2_000

export interface EventsTools {
  look (): { readonly status: AdminStatus, readonly backends: readonly BackendStatus[] }
  recent (): Recent | undefined
  readonly clock: { now (): number, setTimeout (callback: () => void, ms: number): NodeJS.Timeout, clearTimeout (timer: NodeJS.Timeout): void }
  onError (error: unknown): void
}

export interface Events {
  readonly size: number
  /** Whether there may be another one. */
  readonly isFull: boolean
  /** Everything goes there from now on, until it is closed. */
  open (output: Writable): void
  /** Ends all, for good. */
  end (): void
}

interface Reader {
  readonly stream: Readable
  readonly output: Writable
  /** Looks that were missed, one after the other; of the changes since the first of them nothing is known. */
  missed: number
}

const NOTHING: RecentHistory = Object.freeze({ interval: PAUSE, points: [], transitions: [], samples: [] })

export function createEvents (tools: EventsTools): Events {
  const { recent, clock, onError } = tools
  const readers = new Set<Reader>()
  let latest: { readonly at: number, readonly bytes: Buffer } | undefined
  let over = false
  let timer: NodeJS.Timeout | undefined
  let unsubscribe = (): void => {}

  function tell (text: string): void {
    for (const reader of readers) {
      if (reader.missed === 0 && !fallsBehind(reader)) reader.stream.push(text)
    }
  }

  function tick (): void {
    let took = 0
    try {
      const begun = clock.now()
      const bytes = look()
      for (const reader of readers) show(reader, bytes)
      took = clock.now() - begun
    } catch (error) {
      onError(error)
    }
    timer = clock.setTimeout(tick, Math.max(PAUSE, SHARE * took))
  }

  function show (reader: Reader, bytes: Buffer): void {
    if (fallsBehind(reader)) {
      if (++reader.missed > PATIENCE) reader.stream.destroy()
      return
    }
    reader.stream.push(bytes)
    if (reader.missed > 0) reader.stream.push(past())
    reader.missed = 0
  }

  /** Those that miss a change between two looks are behind from then on. */
  function fallsBehind (reader: Reader): boolean {
    const behind = reader.stream.readableLength > LARGEST_PILE
    if (behind && reader.missed === 0) reader.missed = 1
    return behind
  }

  function past (): string {
    return eventOf('history', recent()?.history() ?? NOTHING)
  }

  /** The same bytes for all, also for those who come just after: all come back at once when a gateway takes the place of another. */
  function look (): Buffer {
    const { status, backends } = tools.look()
    const bytes = Buffer.from(eventOf('status', status) + eventOf('backends', backends))
    latest = { at: clock.now(), bytes }
    return bytes
  }

  function recentLook (): Buffer {
    return latest !== undefined && clock.now() - latest.at < PAUSE ? latest.bytes : look()
  }

  function begin (): void {
    timer = clock.setTimeout(tick, PAUSE)
    unsubscribe = recent()?.subscribe(event => { tell(eventOf(event.kind, dataOf(event))) }) ?? unsubscribe
  }

  function rest (): void {
    if (timer !== undefined) clock.clearTimeout(timer)
    timer = undefined
    unsubscribe()
    unsubscribe = () => {}
    latest = undefined
  }

  function leave (reader: Reader): void {
    if (readers.delete(reader) && readers.size === 0) rest()
  }

  return {
    get size () { return readers.size },
    get isFull () { return over || readers.size >= MOST },
    open (output) {
      const stream = new Readable({ read () {} })
      stream.push('retry: 1000\n\n')
      stream.push(recentLook())
      stream.push(past())
      if (readers.size === 0) begin()
      const reader: Reader = { stream, output, missed: 0 }
      readers.add(reader)
      // who goes away in the middle is no fault
      pipeline(stream, output, () => { leave(reader) })
    },
    end () {
      over = true
      const outputs = [...readers].map(({ output }) => output)
      for (const { stream } of readers) stream.push(null)
      readers.clear()
      rest()
      if (outputs.length > 0) clock.setTimeout(() => { for (const output of outputs) output.destroy() }, GRACE)
    }
  }
}

function eventOf (name: AdminEventName, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

function dataOf (event: RecentEvent): unknown {
  switch (event.kind) {
    case 'point': return event.point
    case 'transition': return event.transition
    case 'sample': return event.sample
  }
}
