/**
 * Raw clients: exact bytes out, and the answers as they really came (1xx apart, trailers, whether the end was clean).
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { createParser, play, responseFraming, statusOf, valueOf, valuesOf } from './messages.ts'
import type { Framing, Head, HeaderLine, Step } from './messages.ts'
import { waitFor } from './time.ts'
import type { TestLike } from './time.ts'

/** An answer as it came off the wire. Grows until `complete`. */
export interface RawResponse {
  readonly status: number
  readonly startLine: string
  /** Start line and header lines, byte for byte (Latin-1). */
  readonly head: string
  readonly headers: readonly HeaderLine[]
  /** First value of a field. */
  header (name: string): string | undefined
  /** All values of a field, in order. */
  all (name: string): string[]
  readonly framing: Framing
  readonly body: Buffer
  /** The body as Latin-1 text. */
  readonly text: string
  readonly trailers: readonly HeaderLine[]
  /** The end of the message has come: its length, its last chunk, or a FIN where that is the end. */
  readonly complete: boolean
  /** 1xx heads that came before it. */
  readonly informational: readonly Head[]
  /** `performance.now()` when its head was read. */
  readonly headAt: number
  /** When each piece of the body came, and its size. */
  readonly pieces: ReadonlyArray<{ readonly at: number, readonly size: number }>
}

export interface WaitOptions {
  /** Longest wait, ms. Default 5,000. */
  readonly ms?: number
}

/** One raw connection to a server. */
export interface RawClient {
  readonly socket: Socket
  /** Everything received, byte for byte. */
  readonly raw: Buffer
  /** Answers whose head has arrived, in order. */
  readonly responses: readonly RawResponse[]
  /** 1xx heads in order, those before an answer that has not come yet included. */
  readonly informational: readonly Head[]
  /** The server sent FIN. */
  readonly ended: boolean
  /** The connection ended with an error (a reset). */
  readonly reset: boolean
  /** The connection is over for reading, one way or the other. */
  readonly closed: boolean
  /** What made the answer unreadable, if anything did. */
  readonly malformed: string | undefined
  /** Sends the steps. `methods` names the requests in them when it is not just the one whose method stands first. */
  send (steps: Step | readonly Step[], methods?: readonly string[]): Promise<void>
  /** Waits until answer n (from 0) is complete or the connection is over; throws when there is no such answer by then. */
  response (n: number, options?: WaitOptions): Promise<RawResponse>
  /** Sends one request and waits for its answer. */
  exchange (steps: Step | readonly Step[], options?: WaitOptions): Promise<RawResponse>
  /** Waits until the server has closed the connection. */
  closes (ms?: number): Promise<boolean>
  /** Goes away without a word: FIN, and a reset for what still comes. */
  destroy (): void
  /** Goes away with a reset. */
  resetAndDestroy (): void
}

/** Opens a {@link RawClient}; the test's teardown closes it. */
export async function rawClient (t: TestLike, port: number): Promise<RawClient> {
  const client = await openClient(port)
  t.teardown(() => { client.destroy() })
  return client
}

export interface RawRequestOptions extends WaitOptions {
  /** Answers to wait for. Default 1. */
  readonly responses?: number
  /** Wait until the server closes instead. Default false. */
  readonly untilClose?: boolean
  /** Methods of the requests, for more than one. */
  readonly methods?: readonly string[]
}

/** What a {@link rawRequest} came to. */
export interface RawResult {
  readonly responses: readonly RawResponse[]
  /** The first answer; throws when there is none. */
  readonly response: RawResponse
  /** Status of the first answer, 0 when there is none. */
  readonly status: number
  readonly informational: readonly Head[]
  readonly raw: Buffer
  readonly ended: boolean
  readonly reset: boolean
  readonly closed: boolean
  /** Ms from the first byte sent to the first received; undefined when none came. */
  readonly firstByteAfter: number | undefined
  /** Ms from the first byte sent to the return of this call. */
  readonly elapsed: number
}

/** One connection, some bytes, what came back. Never throws on what the server does; closes the connection at the end. */
export async function rawRequest (port: number, steps: Step | readonly Step[], options: RawRequestOptions = {}): Promise<RawResult> {
  const { responses = 1, untilClose = false, ms = 5000 } = options
  const client = await openClient(port)
  const startedAt = performance.now()
  client.send(steps, options.methods)
  await waitFor(() => client.closed || (!untilClose && client.responses.length >= responses && client.responses[responses - 1]?.complete === true), ms)
  const { informational, raw, ended, reset, closed, firstByteAt } = client
  const seen = [...client.responses]
  client.destroy()
  return {
    responses: seen,
    get response () {
      const first = seen[0]
      if (first === undefined) throw new Error(`no answer; ${closed ? 'closed' : 'still open'}; received ${JSON.stringify(raw.toString('latin1').slice(0, 200))}`)
      return first
    },
    status: seen[0]?.status ?? 0,
    informational: [...informational],
    raw,
    ended,
    reset,
    closed,
    firstByteAfter: firstByteAt === undefined ? undefined : firstByteAt - startedAt,
    elapsed: performance.now() - startedAt
  }
}

type OpenClient = RawClient & { readonly firstByteAt: number | undefined }

async function openClient (port: number): Promise<OpenClient> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  const raw: Buffer[] = []
  const responses: RawResponse[] = []
  const informational: Head[] = []
  const methods: string[] = []
  let taken = 0
  let firstByteAt: number | undefined
  let ended = false
  let reset = false
  let malformed: string | undefined
  let current: ResponseWriter | undefined

  const parser = createParser({
    head (head) {
      const status = statusOf(head)
      if (status < 200 && status !== 101) {
        informational.push(head)
        return 'again'
      }
      const framing = status === 101 ? 'close' : responseFraming(head, methods.shift() ?? 'GET')
      current = createResponse(head, framing, informational.slice(taken))
      taken = informational.length
      responses.push(current.response)
      return framing
    },
    data (piece) { current?.add(piece) },
    end (trailers) { current?.finish(trailers) }
  })

  socket.on('data', piece => {
    firstByteAt ??= performance.now()
    raw.push(piece)
    if (malformed !== undefined) return
    try {
      parser.push(piece)
    } catch (error) {
      malformed = String(error)
    }
  })
  socket.on('end', () => {
    ended = true
    if (malformed === undefined) parser.finish()
  })
  socket.on('error', () => { reset = true })

  const isOver = (): boolean => ended || reset || socket.closed

  const client: OpenClient = {
    socket,
    responses,
    informational,
    get firstByteAt () { return firstByteAt },
    get raw () { return Buffer.concat(raw) },
    get ended () { return ended },
    get reset () { return reset },
    get closed () { return isOver() },
    get malformed () { return malformed },
    async send (steps, names = [methodOf(steps)]) {
      methods.push(...names)
      await play(socket, steps)
    },
    async response (n, { ms = 5000 } = {}) {
      await waitFor(() => responses[n]?.complete === true || isOver(), ms)
      const response = responses[n]
      if (response === undefined) {
        throw new Error(`no answer ${n}: the connection is ${reset ? 'reset' : ended ? 'ended' : 'open'}; received ${JSON.stringify(client.raw.toString('latin1').slice(-300))}${malformed === undefined ? '' : `; ${malformed}`}`)
      }
      return response
    },
    async exchange (steps, options) {
      const n = responses.length
      client.send(steps)
      return await client.response(n, options)
    },
    async closes (ms) { return await waitFor(isOver, ms) },
    destroy () { socket.destroy() },
    resetAndDestroy () { socket.resetAndDestroy() }
  }
  return client
}

interface ResponseWriter {
  readonly response: RawResponse
  add (piece: Buffer): void
  finish (trailers: readonly HeaderLine[]): void
}

function createResponse (head: Head, framing: Framing, informational: readonly Head[]): ResponseWriter {
  const bodies: Buffer[] = []
  const pieces: Array<{ at: number, size: number }> = []
  let complete = false
  let trailers: readonly HeaderLine[] = []
  const response: RawResponse = {
    status: statusOf(head),
    startLine: head.startLine,
    head: head.raw,
    headers: head.headers,
    header: name => valueOf(head.headers, name),
    all: name => valuesOf(head.headers, name),
    framing,
    informational,
    headAt: performance.now(),
    pieces,
    get body () { return Buffer.concat(bodies) },
    get text () { return Buffer.concat(bodies).toString('latin1') },
    get trailers () { return trailers },
    get complete () { return complete }
  }
  return {
    response,
    add (piece) {
      bodies.push(piece)
      pieces.push({ at: performance.now(), size: piece.length })
    },
    finish (found) {
      trailers = found
      complete = true
    }
  }
}

function methodOf (steps: Step | readonly Step[]): string {
  const first = Array.isArray(steps) ? steps[0] : steps
  const text = typeof first === 'string' ? first : Buffer.isBuffer(first) ? first.toString('latin1', 0, 20) : ''
  return text.split(' ', 1)[0] ?? 'GET'
}
