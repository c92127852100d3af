/** Answers that no backend gave: what a fallback says, in the shape of an answer. */
import { Readable } from 'node:stream'
import { InvalidCallError } from './errors.ts'
import { BEYOND_ASCII, isHeaderValue, isToken } from './headers/names.ts'
import type { Answer } from './types.ts'

interface Made {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: Buffer | undefined
}

class MadeAnswer implements Answer {
  readonly status: number
  readonly statusMessage = ''
  readonly plain: boolean
  readonly target = undefined
  headers: Record<string, string | string[]>
  body: Answer['body']

  constructor ({ status, headers, body }: Made) {
    this.status = status
    this.body = body === undefined || body.length === 0 ? null : body
    // also for HEAD, which is answered without the body
    this.headers = this.body === null ? { ...headers } : { ...headers, 'content-length': String(body!.length) }
    this.plain = !Object.values(headers).flat().some(value => BEYOND_ASCII.test(value))
  }

  stream (): NodeJS.ReadableStream {
    return Readable.from(Buffer.isBuffer(this.body) ? [this.body] : [])
  }

  collect (_limit: number, done: (error: Error | undefined, body: Buffer | null) => void): void {
    done(undefined, Buffer.isBuffer(this.body) ? this.body : null)
  }

  discard (): void {}
}

export function answerOf (made: Made): Answer {
  return new MadeAnswer(made)
}

const KEYS = new Set(['statusCode', 'headers', 'body'])

/** What a function gave: `{ statusCode?, headers?, body? }`, or a body alone. @throws InvalidCallError */
export function madeAnswer (made: unknown): Answer {
  const { statusCode = 200, headers, body } = isReply(made) ? made : { body: made }
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) throw invalid(`the status ${JSON.stringify(statusCode)}`)
  if (headers !== undefined && !isPlainObject(headers)) throw invalid('headers that are no object')
  const own: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers ?? {})) {
    const lower = name.toLowerCase()
    // the length is that of the body, whatever it is said to be
    if (value === undefined || lower === 'content-length') continue
    const values = [value].flat().map(String)
    if (!isToken(name) || !values.every(isHeaderValue)) throw invalid(`the header ${JSON.stringify(name)}`)
    if (values.length > 0) own[lower] = values.length === 1 ? values[0]! : values
  }
  const [bytes, type] = bytesOf(body)
  return new MadeAnswer({ status: statusCode, headers: type === undefined || own['content-type'] !== undefined ? own : { ...own, 'content-type': type }, body: bytes })
}

function isReply (made: unknown): made is { statusCode?: number, headers?: unknown, body?: unknown } {
  return typeof made === 'object' && made !== null && ('statusCode' in made || 'body' in made) && Object.keys(made).every(key => KEYS.has(key))
}

function isPlainObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Streams and the like: their inner life is nobody's business. */
function isStream (body: object): boolean {
  return 'pipe' in body || 'getReader' in body || Symbol.asyncIterator in body
}

function bytesOf (body: unknown): [bytes: Buffer | undefined, type: string | undefined] {
  if (body === undefined || body === null) return [undefined, undefined]
  if (typeof body === 'string') return [Buffer.from(body), 'text/plain; charset=utf-8']
  if (ArrayBuffer.isView(body)) return [Buffer.from(body.buffer, body.byteOffset, body.byteLength), 'application/octet-stream']
  if (typeof body === 'object' && isStream(body)) throw invalid('a stream')
  let text: string | undefined
  try {
    text = JSON.stringify(body)
  } catch {
    // circular or a BigInt
  }
  if (text === undefined) throw invalid('the body')
  return [Buffer.from(text), 'application/json; charset=utf-8']
}

function invalid (what: string): Error {
  return new InvalidCallError({ cause: new Error(`a fallback gave ${what}, which cannot be sent`) })
}
