/** The body of a call of the app's own. */
import { PassThrough, pipeline, Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { InvalidCallError } from '../errors.ts'
import { valueBody } from '../forward/request-body.ts'
import type { BodyPlan } from '../types.ts'

export interface OwnBodyPlan {
  readonly plan: BodyPlan
  /** Where the bytes are read from; undefined: they are in the plan. */
  readonly stream: Readable | undefined
}

const NONE: OwnBodyPlan = { plan: { kind: 'none' }, stream: undefined }

/** @throws InvalidCallError for what is no body */
export function planOwnBody (body: unknown): OwnBodyPlan {
  if (body === undefined || body === null) return NONE
  const stream = streamOf(body)
  if (stream !== undefined) return { plan: { kind: 'chunked' }, stream: pipeline(checked(stream), new Upload(), () => {}) }
  const value = body instanceof ArrayBuffer ? Buffer.from(body) : body
  if (typeof value !== 'string' && !ArrayBuffer.isView(value) && !(value instanceof URLSearchParams) && !isJson(value)) {
    throw invalid(`the body is ${Object.prototype.toString.call(value)}; give a text, bytes, a form, a stream, or a plain object or list for JSON`)
  }
  return { plan: valueBody(value), stream: undefined }
}

/** The app's stream on its way. What nobody takes is not read: only a client's upload has to be read to its end. */
class Upload extends PassThrough {
  override resume (): this {
    return this.listenerCount('data') === 0 ? this.pause() : super.resume()
  }
}

function streamOf (body: unknown): Readable | undefined {
  if (body instanceof Readable) return body
  if (typeof (body as { getReader?: unknown }).getReader === 'function') return Readable.fromWeb(body as ReadableStream)
  if (typeof (body as { pipe?: unknown }).pipe === 'function') return new Readable().wrap(body as NodeJS.ReadableStream)
  return undefined
}

function checked (stream: Readable): Readable {
  if (stream.readableObjectMode) throw invalid('the body is a stream of objects; give a stream of bytes')
  if (stream.destroyed || stream.readableDidRead) throw invalid('the body is a stream that was read already')
  return stream
}

/** Other objects would come to `{}` and the like, which nobody has meant. */
function isJson (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

function invalid (what: string): Error {
  return new InvalidCallError({ cause: new Error(what) })
}
