/**
 * The client's body on its way to a backend: one Buffer when all of it is here already, else a stream.
 *
 * The stream is a thin view of the incoming message, because undici destroys the body it was given (and takes
 * `socket` off an IncomingMessage), and the client's connection must outlive a failed attempt.
 */
import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { AbortedError, BodyTooLargeError, InvalidCallError } from '../errors.ts'
import { broken, isTorn, payloadOf } from './payload.ts'
import type { BodyPlan } from '../types.ts'

/** Bodies up to this size wait one tick, so that one that came with its headers leaves with them as well. */
const SMALL_BODY = 65_536

const NONE: BodyPlan = { kind: 'none' }
const CHUNKED: BodyPlan = { kind: 'chunked' }
const DECODED: BodyPlan = { kind: 'chunked', decoded: true }

/** Looks at the framing headers only; a body that a hook has put on `request.body` replaces the client's. */
export function planBody (request: FastifyRequest, limit: number): BodyPlan {
  if (request.body !== undefined) {
    if (request.body !== null && request.body !== request.raw) return parsedBody(request) ?? valueBody(request.body, isParsedJson(request))
    if (request.body === request.raw) return framedBody(request, limit)
    // what Fastify's parser made of a JSON `null`, or a hook's way to say "no body"
    return isParsedJson(request) ? valueBody(null) : NONE
  }
  return framedBody(request, limit)
}

/** Fastify's parser has read the client's JSON: a text in `request.body` is a JSON string then, not a document. */
function isParsedJson (request: FastifyRequest): boolean {
  return request.raw.readableDidRead && /[/+]json\b/i.test(request.raw.headers['content-type'] ?? '')
}

/** What a parser of the application has made of a form: back into one. undefined: it was none. */
function parsedBody ({ body, raw }: FastifyRequest): BodyPlan | undefined {
  if (typeof body !== 'object' || body === null || Buffer.isBuffer(body) || ArrayBuffer.isView(body) || !raw.readableDidRead) return undefined
  const type = raw.headers['content-type'] ?? ''
  // @fastify/multipart with attachFieldsToBody
  if (/^multipart\//i.test(type)) throw new InvalidCallError({ cause: new Error('the multipart body was parsed; give the call a body, or let no parser read it') })
  if (!/^application\/x-www-form-urlencoded\b/i.test(type) || body instanceof URLSearchParams) return undefined
  const form = new URLSearchParams()
  for (const [name, values] of Object.entries(body)) {
    for (const value of [values].flat() as unknown[]) {
      if (typeof value === 'object') throw new InvalidCallError({ cause: new Error(`the form was parsed into more than texts (${JSON.stringify(name)}); give the call a body`) })
      form.append(name, String(value))
    }
  }
  return valueBody(form)
}

function framedBody (request: FastifyRequest, limit: number): BodyPlan {
  // most requests have no body, and for them Node need not make its header object
  if (request.raw.httpVersionMajor === 1 && !hasFraming(request.raw.rawHeaders)) return NONE
  const headers = request.raw.headers
  const length = headers['content-length']
  if (length !== undefined) {
    const size = Number(length)
    if (size === 0) return NONE
    if (size > limit) throw new BodyTooLargeError()
    return unread(request, payloadOf(request) === request.raw ? { kind: 'sized', length: size } : CHUNKED)
  }
  if (headers['transfer-encoding'] !== undefined) return unread(request, CHUNKED)
  // an HTTP/2 message may have a body without saying how long
  if (request.raw.httpVersionMajor === 2 && (request.raw as unknown as { stream: { endAfterHeaders?: boolean } }).stream.endAfterHeaders === false) return CHUNKED
  return NONE
}

/** A hook that has read the body must put one in its place, or the backend would get a part of it. */
function unread (request: FastifyRequest, plan: BodyPlan): BodyPlan {
  const payload = payloadOf(request)
  if (payload.readableEnded || payload.readableDidRead) throw new InvalidCallError({ cause: new Error('the body was read by a hook or parser, which left nothing in request.body') })
  // one that watches it has set it going
  if (payload.readableFlowing === true) payload.pause()
  // a stream that says how much it was before is one that has undone a Content-Encoding
  return payload !== request.raw && 'receivedEncodedLength' in payload ? DECODED : plan
}

/** Whether a Content-Length or Transfer-Encoding field is among them. */
function hasFraming (raw: readonly string[]): boolean {
  for (let i = 0; i < raw.length; i += 2) {
    const { length } = raw[i]!
    if ((length === 14 || length === 17) && FRAMING.has(raw[i]!.toLowerCase())) return true
  }
  return false
}

const FRAMING = new Set(['content-length', 'transfer-encoding'])

/** A body of the gateway's own. @throws InvalidCallError for a stream: it could not be replayed or measured */
export function valueBody (body: unknown, parsedJson = false): BodyPlan {
  if (parsedJson && typeof body === 'string') return { kind: 'value', value: Buffer.from(JSON.stringify(body)), contentType: undefined }
  if (typeof (body as { pipe?: unknown } | null)?.pipe === 'function') throw new InvalidCallError({ cause: new Error('the body is a stream; give a text, bytes or a value') })
  if (body instanceof URLSearchParams) return { kind: 'value', value: Buffer.from(body.toString()), contentType: 'application/x-www-form-urlencoded' }
  if (Buffer.isBuffer(body)) return { kind: 'value', value: body, contentType: undefined }
  if (ArrayBuffer.isView(body)) return { kind: 'value', value: Buffer.from(body.buffer, body.byteOffset, body.byteLength), contentType: undefined }
  if (typeof body === 'string') return { kind: 'value', value: Buffer.from(body), contentType: undefined }
  return { kind: 'value', value: Buffer.from(jsonOf(body)), contentType: 'application/json' }
}

function jsonOf (body: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(body)
  } catch (error) {
    throw new InvalidCallError({ cause: error as Error })
  }
  if (json === undefined) throw new InvalidCallError({ cause: new Error(`a ${typeof body} is no body`) })
  return json
}

/** Whether it pays to wait a tick for the rest of a small body. */
export function worthWaiting (plan: BodyPlan, raw: IncomingMessage): boolean {
  return plan.kind === 'sized' && plan.length <= SMALL_BODY && raw.readableLength < plan.length && raw.headers.expect === undefined
}

/** The body to hand to undici. Call it once per attempt that sends the client's own body. */
export function openBody (plan: BodyPlan, request: FastifyRequest, limit: number): Buffer | RequestBody | null {
  switch (plan.kind) {
    case 'none': return null
    case 'value': return plan.value
    case 'sized':
      if (plan.length <= SMALL_BODY && request.raw.readableLength >= plan.length) {
        const whole = request.raw.read(plan.length) as Buffer | null
        if (whole !== null) return whole
      }
      return new RequestBody(request.raw, limit)
    case 'chunked': return new RequestBody(payloadOf(request), limit)
  }
}

/**
 * Just enough of a Readable for undici and `lib/http2`: data, end, error, pause, resume, destroy. Reading begins when undici
 * resumes it, which is also when a waiting client gets its 100 (lib/forward/expect.ts).
 */
export class RequestBody extends EventEmitter {
  readonly #raw: Readable & { aborted?: boolean }
  readonly #limit: number
  #received = 0
  #attached = false
  destroyed = false

  constructor (raw: Readable, limit: number) {
    super()
    this.#raw = raw
    this.#limit = limit
  }

  /** undici takes what has a `pipe` for a stream, and never calls it. */
  pipe (): never {
    throw new Error('a request body is read by undici only')
  }

  resume (): this {
    if (this.destroyed) return this
    if (!this.#attached) this.#attach()
    this.#raw.resume()
    return this
  }

  pause (): this {
    this.#raw.pause()
    return this
  }

  destroy (): this {
    if (this.destroyed) return this
    this.destroyed = true
    if (this.#attached) this.#detach()
    return this
  }

  #attach (): void {
    this.#attached = true
    if (this.#raw.readableEnded) {
      queueMicrotask(this.#onEnd)
      return
    }
    if (this.#raw.destroyed) {
      queueMicrotask(this.#onGone)
      return
    }
    this.#raw.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onGone)
  }

  #detach (): void {
    // `error` stays: a hook's stream may break while the rest is dropped
    this.#raw.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onGone)
    // What is left of an upload that nobody wants any more is read and dropped (see lib/forward/linger.ts).
    this.#raw.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received += chunk.length
    if (this.#received > this.#limit) this.emit('error', new BodyTooLargeError())
    else this.emit('data', chunk)
  }

  readonly #onEnd = (): void => {
    if (this.destroyed) return
    this.#raw.off('close', this.#onGone)
    if (isTorn(this.#raw)) this.emit('error', new AbortedError())
    else this.emit('end')
  }

  readonly #onError = (error?: Error): void => {
    if (!this.destroyed) this.emit('error', broken(this.#raw, error))
  }

  readonly #onGone = (): void => {
    if (!this.#raw.readableEnded) this.#onError()
  }
}
