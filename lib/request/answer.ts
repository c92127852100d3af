/** What a call of the app's own came back with, and its body: an app that forgets it must not hold a connection for ever. */
import { pipeline, Readable, Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'
import { AnswerTooLargeError, BadResponseError, TimeoutError } from '../errors.ts'
import { isHopByHop } from '../headers/names.ts'
import type { Deadlines, Expirable } from '../deadlines.ts'
import type { Answer, Attempt } from '../types.ts'
import type { OwnAnswer } from './types.ts'

/** What `dump` reads at most, and for how long, ms. */
const DUMPED = 65_536
const DUMP_TIME = 1_000

export interface AnswerContext {
  readonly attempts: readonly Attempt[]
  readonly backend: string
  /** Longest time in which nobody reads, ms; 0: no limit. */
  readonly idle: number
  readonly maxBytes: number
  readonly deadlines: Deadlines
  /** Nothing of the exchange is left. */
  onEnd (): void
}

export function createOwnAnswer (answer: Answer, { attempts, backend, idle, maxBytes, deadlines, onEnd }: AnswerContext): OwnAnswer {
  const { status, headers, target, body: found } = answer
  const body = found === null || Buffer.isBuffer(found)
    ? Readable.from(found === null ? [] : [found], { objectMode: false })
    : new OwnBody(found, idle, deadlines, onEnd)
  if (!(body instanceof OwnBody)) onEnd()
  let taken = false

  async function bytes (): Promise<Buffer> {
    if (taken || body.readableDidRead) throw new TypeError('the body of this answer was read already')
    taken = true
    const chunks: Buffer[] = []
    let size = 0
    // what is thrown within destroys the body
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBytes) throw new AnswerTooLargeError()
      chunks.push(chunk)
    }
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
  }

  return {
    status,
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !isHopByHop(name))),
    body,
    attempts,
    backend,
    target: target?.id,
    bytes,
    text: async () => (await bytes()).toString(),
    async json () {
      const text = (await bytes()).toString()
      try {
        return JSON.parse(text) as unknown
      } catch (cause) {
        throw new BadResponseError({ cause })
      }
    },
    dump: () => dump(body, deadlines)
  }
}

/** A body that is still arriving; it ends with a TimeoutError when nobody reads it. */
class OwnBody extends Transform implements Expirable {
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined

  constructor (source: NodeJS.ReadableStream, readonly idle: number, readonly deadlines: Deadlines, readonly onEnd: () => void) {
    super()
    // one that breaks while nobody reads it is no reason to end the process
    this.on('error', () => {})
    this.#wait()
    pipeline(source, this, () => {})
  }

  /** Only called while there is room: while somebody reads. */
  override _transform (chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#wait()
    done(null, chunk)
  }

  override _flush (done: TransformCallback): void {
    this.deadlines.disarm(this)
    this.onEnd()
    done()
  }

  override _destroy (error: Error | null, done: (error?: Error | null) => void): void {
    this.deadlines.disarm(this)
    this.onEnd()
    done(error)
  }

  expire (): void {
    this.destroy(new TimeoutError())
  }

  #wait (): void {
    if (this.idle > 0) this.deadlines.arm(this, this.idle)
  }
}

function dump (body: Readable, deadlines: Deadlines): Promise<void> {
  if (body.closed) return Promise.resolve()
  return new Promise(resolve => {
    let size = 0
    const late: Expirable = { expiresAt: 0, before: undefined, after: undefined, list: undefined, expire () { body.destroy() } }
    deadlines.arm(late, DUMP_TIME)
    body.once('close', () => {
      deadlines.disarm(late)
      resolve()
    })
    body.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > DUMPED) body.destroy()
    })
    body.resume()
  })
}
