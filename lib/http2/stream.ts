/**
 * One request on one stream of an HTTP/2 connection, as undici's dispatch handlers know requests.
 *
 * undici has a client of its own for HTTP/2. It takes an answer whose stream or connection breaks in the middle for complete, drops
 * what a paused reader has yet to get when trailers come, has no early hints, and a GOAWAY ends what runs. So we have this one.
 */
import { constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { errors } from 'undici'
import type { Dispatcher } from 'undici'
import { answerFields, requestFields, withoutPseudo } from './fields.ts'
import type { RequestLine } from './fields.ts'

const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM } = constants

/** As much of a stream as a body must have: `lib/forward/request-body.ts`, or a Readable. */
interface BodyStream {
  on (event: string, listener: (...args: never[]) => void): unknown
  pause (): unknown
  resume (): unknown
  destroy (): unknown
}

export interface Http2CallTools {
  readonly line: RequestLine
  readonly maxHeaderSize: number
  /** The server has not looked at the request: it may go out on another connection. Only for requests that can be sent twice. */
  again (call: Http2Call): void
}

/** The connection that it is sent on. */
export interface Http2Line {
  readonly http2: ClientHttp2Session
  /** Pieces of answers that have come, of whichever stream. */
  heard: number
  /** A call is over. `silent`: it took too long, and nothing at all has come on the connection since it was last heard of. */
  left (silent: boolean): void
}

export class Http2Call implements Dispatcher.DispatchController {
  paused = false
  reason: Error | null = null
  /** How often it has been sent. */
  tries = 0
  #stream: ClientHttp2Stream | undefined = undefined
  /** Cancels the stream while its body is on the way. */
  #upload: AbortController | undefined = undefined
  #over = false
  #answered = false
  #on: Http2Line | undefined = undefined
  /** What had been heard on the connection when this call last was. */
  #heard = 0
  #raw: readonly string[] = []
  #trailers: IncomingHttpHeaders = {}
  /** Whether the end that was read is one that the server has sent. */
  #complete = false

  constructor (
    readonly options: Dispatcher.DispatchOptions,
    readonly handler: Dispatcher.DispatchHandler,
    readonly tools: Http2CallTools
  ) {}

  get aborted (): boolean { return this.reason !== null }
  get rawHeaders (): string[] { return withoutPseudo(this.#raw) }

  /** Sends it. false: it takes no stream. */
  send (on: Http2Line): boolean {
    this.tries++
    try {
      this.handler.onRequestStart?.(this, {})
    } catch (error) {
      this.fail(error as Error)
    }
    if (this.#over) return false
    const { body = null, headers = [] } = this.options
    let stream: ClientHttp2Stream
    try {
      const fields = requestFields(this.tools.line, headers as string[])
      if (Buffer.isBuffer(body)) fields['content-length'] = body.length
      else if (body === null && takesBody(this.tools.line.method)) fields['content-length'] = 0
      if (body !== null && !Buffer.isBuffer(body)) this.#upload = new AbortController()
      stream = on.http2.request(fields, { endStream: body === null, ...(this.#upload === undefined ? undefined : { signal: this.#upload.signal }) })
    } catch (error) {
      this.fail(new errors.InvalidArgumentError((error as Error).message))
      return false
    }
    this.#on = on
    this.#stream = stream
    this.#heard = on.heard
    this.#watchEnd(stream)
    stream
      .on('headers', (fields: IncomingHttpHeaders) => { if (!this.#over) this.#start(fields) })
      .on('response', (fields: IncomingHttpHeaders, _flags: number, raw?: string[]) => { this.#onResponse(fields, raw) })
      .on('data', (chunk: Buffer) => {
        this.#heard = ++on.heard
        if (!this.#over) this.handler.onResponseData?.(this, chunk)
      })
      .on('trailers', (fields: IncomingHttpHeaders) => { this.#trailers = fields })
      .on('end', () => { this.#onEnd() })
      .on('error', (error: Error) => { this.#onBroken(stream, error) })
      .on('close', () => { this.#onBroken(stream, undefined) })
    this.#write(stream, body as Buffer | BodyStream | null)
    return true
  }

  abort (reason: Error): void {
    if (this.#over) return
    this.reason = reason
    this.#cancel()
    this.fail(reason)
  }

  pause (): void {
    this.paused = true
    this.#stream?.pause()
  }

  resume (): void {
    this.paused = false
    this.#stream?.resume()
  }

  /** Ends it; nothing of it is told any more. */
  fail (error: Error): void {
    if (this.#over) return
    this.#over = true
    this.#dropBody()
    this.#leave(isTimeout(error) && this.#on?.heard === this.#heard)
    this.handler.onResponseError?.(this, error)
  }

  // ---- inside

  /** `close` would send the end of an upload before the reset, and a part of it would look like the whole. */
  #cancel (): void {
    const stream = this.#stream
    if (stream === undefined) return
    if (this.#upload !== undefined && !stream.writableEnded) this.#upload.abort()
    else {
      stream.close(NGHTTP2_CANCEL)
      // what is read and dropped lets the stream end
      stream.resume()
    }
  }

  #leave (silent: boolean): void {
    const on = this.#on
    this.#on = undefined
    on?.left(silent)
  }

  #start (fields: IncomingHttpHeaders): void {
    try {
      this.handler.onResponseStart?.(this, Number(fields[':status']), answerFields(fields) as never, '')
    } catch (error) {
      this.abort(error as Error)
    }
  }

  #onResponse (fields: IncomingHttpHeaders, raw: readonly string[] | undefined): void {
    if (this.#over) return
    this.#answered = true
    this.#heard = ++this.#on!.heard
    this.#stream!.setTimeout(0)
    // older versions of Node have no list
    this.#raw = raw ?? Object.entries(fields).flatMap(([name, value]) => [value].flat().flatMap(one => [name, String(one)]))
    if (sizeOf(this.#raw) > this.tools.maxHeaderSize) {
      this.abort(new errors.HeadersOverflowError())
      return
    }
    if (this.#stream!.endAfterHeaders) this.#complete = true
    this.#start(fields)
  }

  /**
   * Node ends the reading of a stream that is reset, or whose connection breaks, as it ends one that is complete. Only the moment
   * differs: a stream that the server has ended is still open then.
   */
  #watchEnd (stream: ClientHttp2Stream): void {
    const { push } = stream
    stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null && !stream.closed) this.#complete = true
      return push.call(stream, chunk, encoding)
    }
  }

  #onEnd (): void {
    if (this.#over) return
    // what tells it as broken comes after it
    if (!this.#complete || !this.#answered) return
    this.#over = true
    const stream = this.#stream!
    if (!stream.writableEnded) {
      // an answer that overtakes the upload: the rest of it is of no use (RFC 9113 section 8.1)
      this.#dropBody()
      this.#cancel()
    }
    this.#leave(false)
    this.handler.onResponseEnd?.(this, answerFields(this.#trailers) as never)
  }

  #onBroken (stream: ClientHttp2Stream, error: Error | undefined): void {
    // an earlier try says no more
    if (this.#over || stream !== this.#stream) return
    const { rstCode = NGHTTP2_CANCEL } = stream
    if (rstCode === NGHTTP2_REFUSED_STREAM && !this.#answered && this.tries < 3 && isReplayable(this.options.body)) {
      this.#stream = undefined
      this.#leave(false)
      this.tools.again(this)
      return
    }
    this.fail(error ?? new errors.SocketError(`HTTP/2 stream closed with code ${rstCode} before it was complete`))
  }

  #write (stream: ClientHttp2Stream, body: Buffer | BodyStream | null): void {
    // of an upload: how long the server may take nothing of it, and how long to answer when it is through
    const patience = this.options.headersTimeout ?? 0
    const wait = (ms: number): void => { if (patience > 0 && !this.#answered) stream.setTimeout(ms) }
    stream.on('timeout', () => { if (!this.#answered) this.abort(new errors.HeadersTimeoutError()) })
    stream.once('finish', () => { wait(patience) })
    if (body === null) return
    if (Buffer.isBuffer(body)) {
      stream.end(body)
      return
    }
    body.on('data', (chunk: Buffer) => {
      if (this.#over || stream.write(chunk)) return
      body.pause()
      wait(patience)
    })
    body.on('end', () => { stream.end() })
    body.on('error', (error: Error) => { this.abort(error) })
    stream.on('drain', () => {
      wait(0)
      body.resume()
    })
    body.resume()
  }

  #dropBody (): void {
    const body = this.options.body as Buffer | BodyStream | null | undefined
    if (body != null && !Buffer.isBuffer(body)) body.destroy()
  }
}

function sizeOf (raw: readonly string[]): number {
  let size = 0
  for (const text of raw) size += text.length
  return size
}

function isTimeout (error: Error): boolean {
  const { code } = error as { code?: string }
  return code === 'RP_ERR_TIMEOUT' || code === 'UND_ERR_HEADERS_TIMEOUT'
}

function takesBody (method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}

function isReplayable (body: Dispatcher.DispatchOptions['body']): boolean {
  return body == null || Buffer.isBuffer(body)
}
