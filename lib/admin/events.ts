/**
 * What happens, as server-sent events (WHATWG HTML, section 9.2): first what is known, then everything as it comes. What all are
 * told is worked out once, and only while somebody listens.
 */
import { pipeline, Readable, type Writable } from 'node:stream'
import type { Recent, RecentEvent, RecentHistory } from '../recent/types.ts'
import type { AdminEventName, AdminStatus, BackendStatus } from './types.ts'

/** Streams at once. */
const MOST = 32

/** Between two looks at the gateway, ms. */
const PAUSE = 1_000

/** Who has more than so many bytes before them does not read. */
const LARGEST_PILE = 1_048_576

/** Who has not taken in the end by then does not read, either, ms. */
const GRACE = 2_000

export interface EventsTools {
  look (): { readonly status: AdminStatus, readonly backends: readonly BackendStatus[] }
  recent (): Recent | undefined
  readonly clock: { setTimeout (callback: () => void, ms: number): NodeJS.Timeout, clearTimeout (timer: NodeJS.Timeout): void }
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

const NOTHING: RecentHistory = Object.freeze({ interval: PAUSE, points: [], transitions: [], samples: [] })

export function createEvents ({ look, recent, clock, onError }: EventsTools): Events {
  const streams = new Map<Readable, Writable>()
  let over = false
  let timer: NodeJS.Timeout | undefined
  let unsubscribe = (): void => {}

  function tell (text: string): void {
    for (const stream of streams.keys()) {
      if (stream.readableLength > LARGEST_PILE) stream.destroy()
      else stream.push(text)
    }
  }

  function tick (): void {
    timer = clock.setTimeout(tick, PAUSE)
    try {
      tell(looked())
    } catch (error) {
      onError(error)
    }
  }

  function looked (): string {
    const { status, backends } = look()
    return eventOf('status', status) + eventOf('backends', backends)
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
  }

  function leave (stream: Readable): void {
    if (streams.delete(stream) && streams.size === 0) rest()
  }

  return {
    get size () { return streams.size },
    get isFull () { return over || streams.size >= MOST },
    open (output) {
      const stream = new Readable({ read () {} })
      stream.push(`retry: 1000\n\n${looked()}${eventOf('history', recent()?.history() ?? NOTHING)}`)
      if (streams.size === 0) begin()
      streams.set(stream, output)
      // who goes away in the middle is no fault
      pipeline(stream, output, () => { leave(stream) })
    },
    end () {
      over = true
      const outputs = [...streams.values()]
      for (const stream of streams.keys()) stream.push(null)
      streams.clear()
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
