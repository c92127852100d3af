/**
 * One attempt: a request to one target and its answer, as undici's dispatch handler.
 *
 * undici's parser calls everything it finds in one read of the socket before any promise continues. So when the
 * answer's promise settles at the headers, its reader finds a small body complete, and sends it as one Buffer;
 * only what is still under way becomes a stream. Nothing waits for that, and nothing is buffered to get it.
 */
import { constants } from 'node:http2'
import type { Http2ServerResponse } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { Answer, Attempt, Call, Cancelable, Target } from '../types.ts'
import { AbortedError, BadResponseError, PartTooLargeError, TimeoutError } from '../errors.ts'
import { outcomeOfError, outcomeOfStatus, translateError } from '../outcomes.ts'
import { fixEncoding } from '../headers/response.ts'
import { isEmpty } from '../is-empty.ts'
import { answerProblem } from '../websocket/handshake.ts'
import { AnswerBody } from './answer-body.ts'
import { isGone, unwatch } from './connection.ts'
import { comesBack, EventEdge, isEventStream } from './event-stream.ts'
import { passEarlyHints, passTrailers } from './side-messages.ts'
import type { Watcher } from './connection.ts'
import type { Deadlines, Expirable } from '../deadlines.ts'
import type { BackendConnection } from '../websocket/types.ts'

/** Unread bytes after which the backend is paused, and the most that is read only to be thrown away. */
const HIGH_WATER = 65_536
/** How long a discarded answer may take to end before its connection is given up, ms. */
const DISCARD_TIME = 1_000

export interface ExchangeTools {
  readonly deadlines: Deadlines
  now (): number
  /** Whether it is noted how long it took to get a connection. */
  readonly timed: boolean
  /** Called once, when the attempt's outcome is known: at the answer's headers, or at the failure before them. */
  onOutcome (exchange: Exchange): void
  /** Called once, when nothing of the exchange is left: the target's slot is free again. */
  onDone (exchange: Exchange): void
  /** Called once, when the answer turns out to be events for a client that comes back when they end (see `endEvents`). */
  onEvents (exchange: Exchange): void
  /** The parser of a connection can no longer be trusted; undici does not say which one it was. */
  onPoisoned (exchange: Exchange): void
}

/** `waiting` for a connection, `sent`, `answered` (headers are here), `done`. */
type Phase = 'waiting' | 'sent' | 'answered' | 'done'

export class Exchange implements Answer, Cancelable, Watcher, Expirable, Dispatcher.DispatchHandler {
  // the answer
  status = 0
  statusMessage = ''
  headers: Record<string, string | string[]> = {}
  trailers: Record<string, string | string[]> | undefined = undefined
  plain = true
  connection: BackendConnection | undefined = undefined

  // links of the deadline wheel
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined

  /** reply-from's callback, set when it hands the request over; tells it that the headers are here. */
  onAnswer: ((error: null, answer: { statusCode: number, headers: Record<string, never>, body: Exchange }) => void) | undefined = undefined
  resolve: (answer: Answer) => void = nothing
  reject: (error: Error) => void = nothing

  #phase: Phase = 'waiting'
  #controller: Dispatcher.DispatchController | undefined = undefined
  #failure: Error | undefined = undefined
  #ended = false
  #discarding = false
  #chunks: Buffer[] = []
  #buffered = 0
  #stream: AnswerBody | undefined = undefined
  #replaced: Answer['body'] | undefined = undefined
  #collector: Collector | undefined = undefined
  #edge: EventEdge | undefined = undefined
  #ending = false

  constructor (
    readonly call: Call,
    readonly target: Target,
    readonly attempt: Attempt,
    /** What is left of the call's total time, ms; Infinity when there is no such limit. */
    public remaining: number,
    /** Whether the request's body is a stream. */
    readonly streams: boolean,
    readonly tools: ExchangeTools
  ) {}

  /** Begins to wait for a connection: for at most the time that connecting and answering may take together. */
  begin (): void {
    const { timeouts: { connect, headers }, patience } = this.call
    const longest = connect > 0 && headers > 0 ? connect + headers : Infinity
    const limit = Math.min(longest, coarse(this.remaining), patience > 0 ? patience : Infinity)
    if (limit !== Infinity) this.tools.deadlines.arm(this, limit)
  }

  /** Why it failed, as the suite's error. */
  get failure (): Error | undefined {
    return this.#failure
  }

  // ---- undici's side

  onRequestStart (controller: Dispatcher.DispatchController): void {
    // Thrown here, the failure costs this request only; `abort` would cost a healthy connection too.
    if (this.#failure !== undefined) throw this.#failure
    this.#controller = controller
    this.#phase = 'sent'
    this.attempt.sent = true
    if (this.tools.timed) this.attempt.connect = this.tools.now() - this.attempt.startedAt
    // undici keeps the clock while a stream is sent: it knows when the upload is through
    const { timeouts: { headers }, patience } = this.call
    // one try's own limit began with the connecting
    if (patience > 0) this.#arm(Math.max(1, Math.min(headers > 0 && !this.streams ? headers : Infinity, patience - (this.tools.now() - this.attempt.startedAt))))
    else this.#arm(this.streams ? 0 : headers)
  }

  onResponseStart (controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[]>, statusMessage?: string): void {
    if (status < 200) {
      // one that does not say what it switches to
      if (status === 101) controller.abort(new BadResponseError())
      if (status === 103 && this.call.owner === undefined) passEarlyHints(headers, this.call)
      return
    }
    if (status > 599) {
      controller.abort(new BadResponseError())
      return
    }
    this.#answered(status, statusMessage ?? '', fixEncoding(headers, controller.rawHeaders), headers)
    // Event streams end by silence or by a peer, never by the clock; a part that is one never ends at all.
    if (this.call.owner === undefined && isEventStream(headers['content-type'])) this.remaining = Infinity
    this.#arm(this.call.timeouts.idle)
    this.onAnswer?.(null, { statusCode: status, headers: {}, body: this })
    if (comesBack(this.call, this)) {
      this.#edge = new EventEdge()
      this.tools.onEvents(this)
    }
  }

  /** The backend has switched protocols: what comes now is no HTTP. */
  onRequestUpgrade (controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[]>, socket: Duplex): void {
    // undici has taken its own listeners off
    socket.on('error', nothing)
    const { upgrade } = this.call
    const problem = upgrade === undefined ? 'it switched protocols unasked' : answerProblem(headers, upgrade)
    if (problem !== undefined || this.#failure !== undefined) {
      socket.destroy()
      this.#fail(this.#failure ?? new BadResponseError({ cause: new Error(`bad WebSocket handshake: ${problem}`) }))
      return
    }
    this.connection = {
      socket,
      take: () => { unwatch(this.call.request, this) },
      release: () => { this.#finish() }
    }
    this.tools.deadlines.disarm(this)
    this.#answered(status, '', fixEncoding(headers, controller.rawHeaders), headers)
    this.resolve(this)
  }

  onResponseData (controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#edge !== undefined && !this.#discarding) {
      const rest = this.#ending ? this.#edge.restIn(chunk) : undefined
      this.#edge.pass(chunk)
      if (rest !== undefined) {
        this.#data(controller, chunk.subarray(0, rest))
        this.#endHere()
        return
      }
    }
    this.#data(controller, chunk)
  }

  #data (controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#discarding) {
      this.#buffered += chunk.length
      if (this.#buffered > HIGH_WATER) controller.abort(new AbortedError())
    } else if (this.#stream !== undefined) {
      if (this.#stream.push(chunk)) this.#arm(this.call.timeouts.idle)
      else this.#pause(controller)
    } else {
      this.#chunks.push(chunk)
      this.#buffered += chunk.length
      if (this.#collector !== undefined) this.#collected(this.#collector)
      else if (this.#buffered >= HIGH_WATER) this.#pause(controller)
    }
  }

  onResponseEnd (_controller: Dispatcher.DispatchController, trailers: Record<string, string | string[]>): void {
    this.#ended = true
    if (!isEmpty(trailers)) {
      this.trailers = trailers
      // undici's parser takes framing out of trailers for the framing of the next answer
      if (trailers['transfer-encoding'] !== undefined || trailers['content-length'] !== undefined) this.tools.onPoisoned(this)
    }
    this.#end()
  }

  onResponseError (_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    // A 304 may tell the length of the body it does not have (RFC 9110 section 8.6); undici takes that for a lie.
    if (this.status === 304 && (error as { code?: string }).code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') {
      this.#end()
      return
    }
    // over HTTP/2 the request's body ends before the stream that it came on
    if (this.#failure === undefined && error instanceof AbortedError && isGone(this.call.request)) (this.call.record as { aborted: boolean }).aborted = true
    this.#fail(translateError(this.#failure ?? error, this.#phase !== 'waiting'))
  }

  // ---- the other sides

  clientGone (): void {
    (this.call.record as { aborted: boolean }).aborted = true
    this.cancel(new AbortedError())
  }

  expire (): void {
    this.cancel(this.#discarding ? new AbortedError() : new TimeoutError())
  }

  /** Ends the exchange wherever it stands; the backend's connection is closed if the request was on it. */
  cancel (reason: Error): void {
    if (this.#phase === 'done') return
    this.#failure ??= reason
    this.connection?.socket.destroy()
    if (this.#controller !== undefined) this.#controller.abort(reason)
    // still in the pool's queue: undici drops it when its turn comes (onRequestStart throws)
    this.#fail(reason)
  }

  /** Ends a stream of events after the one that is under way, as if the backend had: its reader asks again, elsewhere. */
  endEvents (): void {
    this.#ending = true
    if (this.#edge?.between === true) this.#endHere()
  }

  #endHere (): void {
    if (this.#phase === 'done' || this.#discarding) return
    this.#ended = true
    if (this.#stream !== undefined) this.#endStream(this.#stream)
    // the outcome was told with the headers; what is left is to let the backend go
    this.#discarding = true
    this.cancel(new AbortedError())
  }

  // ---- the reader's side

  /** The whole body if it is here, a stream if it is not, null if there is none. Take it once. */
  get body (): Answer['body'] {
    if (this.#replaced !== undefined) return this.#replaced
    // trailers need the chunked framing of a stream
    if (this.#ended && this.#stream === undefined && (this.#failure === undefined || this.#ending) && this.trailers === undefined) {
      return this.#chunks.length === 1 ? this.#chunks[0] ?? null : this.#chunks.length === 0 ? null : Buffer.concat(this.#chunks)
    }
    return this.stream()
  }

  set body (body: Answer['body']) {
    if (this.#replaced === undefined) this.discard()
    this.#replaced = body
  }

  /** The body as a stream, whether or not it is complete. */
  stream (): AnswerBody {
    if (this.#stream !== undefined) return this.#stream
    const stream = this.#stream = new AnswerBody(this)
    // a hook may have put something else in its place; the connection must not wait for a reader that never comes
    this.call.reply.raw.once('close', () => { this.abandon() })
    for (const chunk of this.#chunks) stream.push(chunk)
    this.#chunks = []
    if (this.#ended) this.#endStream(stream)
    else if (this.#failure !== undefined) breakSoon(stream, this.#failure, this.call)
    return stream
  }

  collect (limit: number, done: Collector['done']): void {
    const collector = this.#collector = { limit, done }
    if (this.#failure !== undefined) this.#settle(this.#failure)
    else if (this.#buffered > limit || Number(this.headers['content-length']) > limit) this.#refuse()
    else if (this.#ended) this.#settle(undefined)
    else if (this.#controller?.paused === true) this.#collected(collector)
  }

  /** Nobody will read it: what is left is read and dropped if it is short, else its connection is closed. */
  discard (): void {
    this.#discarding = true
    this.#chunks = []
    if (this.#phase === 'done') return
    if (this.connection !== undefined) {
      this.cancel(new AbortedError())
      return
    }
    // it is no call any more: the next try, or whoever is redirected, must not wait for what nobody reads
    this.call.slot?.free()
    this.tools.deadlines.arm(this, DISCARD_TIME)
    this.#controller?.resume()
  }

  resume (): void {
    if (this.#controller?.paused !== true) return
    this.#arm(this.call.timeouts.idle)
    this.#controller.resume()
  }

  abandon (): void {
    if (this.#phase === 'done') return
    const { raw } = this.call.reply
    if (raw.destroyed && !raw.writableFinished) this.clientGone()
    else this.cancel(new AbortedError())
  }

  // ---- inside

  #answered (status: number, statusMessage: string, headers: Record<string, string | string[]>, asRead: object): void {
    this.#phase = 'answered'
    this.status = status
    this.statusMessage = statusMessage
    this.headers = headers
    this.plain = headers === asRead
    this.attempt.status = status
    this.attempt.outcome = outcomeOfStatus(status)
    this.attempt.duration = this.tools.now() - this.attempt.startedAt
    this.tools.onOutcome(this)
  }

  #collected ({ limit }: Collector): void {
    if (this.#buffered > limit) this.#refuse()
    else this.resume()
    if (this.#phase !== 'done') this.#arm(this.call.timeouts.idle)
  }

  /** The backend answered, only more than is wanted: that is not an outcome of its own. */
  #refuse (): void {
    this.#discarding = true
    this.#chunks = []
    this.cancel(new PartTooLargeError())
    this.#settle(new PartTooLargeError())
  }

  #settle (error: Error | undefined): void {
    const { done } = this.#collector ?? {}
    if (done === undefined) return
    this.#collector = undefined
    if (error !== undefined) done(error, null)
    else done(undefined, this.#chunks.length === 1 ? this.#chunks[0]! : this.#chunks.length === 0 ? null : Buffer.concat(this.#chunks))
  }

  /** The backend is not silent while nobody listens to it: only the total time goes on. */
  #pause (controller: Dispatcher.DispatchController): void {
    this.#arm(0)
    controller.pause()
  }

  /** Expires after `silence` ms (0: never), or when the call's total time is over. */
  #arm (silence: number): void {
    const { deadlines, now } = this.tools
    const limit = silence > 0 ? silence : Infinity
    const left = this.remaining === Infinity ? limit : Math.min(limit, Math.max(1, coarse(this.remaining - (now() - this.attempt.startedAt))))
    if (left === Infinity) deadlines.disarm(this)
    else deadlines.arm(this, left)
  }

  #end (): void {
    this.#ended = true
    this.#finish()
    this.#settle(undefined)
    if (this.#stream !== undefined) this.#endStream(this.#stream)
  }

  #endStream (stream: AnswerBody): void {
    if (this.trailers !== undefined) passTrailers(this.trailers, this.call)
    stream.push(null)
  }

  #fail (error: Error): void {
    if (this.#phase === 'done') return
    this.#failure ??= error
    // what was answered and then not wanted was answered all the same
    if (!this.#discarding) this.attempt.outcome = outcomeOfError(error)
    this.attempt.duration ??= this.tools.now() - this.attempt.startedAt
    if (this.status === 0) this.tools.onOutcome(this)
    this.#finish()
    // without effect once the answer's headers have settled the promise
    this.reject(error)
    this.#settle(error)
    if (this.#stream !== undefined && !this.#ended) breakSoon(this.#stream, error, this.call)
  }

  #finish (): void {
    if (this.#phase === 'done') return
    this.#phase = 'done'
    this.tools.deadlines.disarm(this)
    unwatch(this.call.request, this)
    this.tools.onDone(this)
  }
}

interface Collector {
  readonly limit: number
  done (error: Error | undefined, body: Buffer | null): void
}

/**
 * What is left of a call's time is another number for each call, and each number would have a list and a timer of its
 * own in the deadlines: beyond a second a tenth more or less makes no difference.
 */
function coarse (ms: number): number {
  return ms > 1_000 ? Math.ceil(ms / 100) * 100 : ms
}

function nothing (): void {}

/** After what has arrived was read, so that the client gets as far as the backend got. */
function breakSoon (stream: AnswerBody, error: Error, { request, reply }: Call): void {
  setImmediate(() => {
    // Node would reset an HTTP/2 stream with NO_ERROR, which reads as a clean end
    if (request.raw.httpVersionMajor === 2) (reply.raw as unknown as Http2ServerResponse).stream?.close(constants.NGHTTP2_INTERNAL_ERROR)
    // To an HTTP/1.0 client the end of the connection is the end of the body: only a reset says that it is not.
    if (request.raw.httpVersion === '1.0') request.raw.socket.resetAndDestroy()
    stream.destroy(error)
  })
}
