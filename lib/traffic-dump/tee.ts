/**
 * Copies of bodies as they pass, of at most so many bytes. What is watched is the client's message and the answer to it: whoever
 * reads the one or writes the other is the same to it, and nothing waits.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DumpedBody } from './line.ts'

const kWatched = Symbol('reverseproxy.watched')

/** What `write` and `end` of a response are given. */
type Given = [chunk: unknown, encoding: BufferEncoding | null | undefined]

/** What stands behind `write` and `end` of a response that is watched. */
class Watched {
  /** HTTP/2 ends with a write of its own. */
  ending = false

  constructor (readonly tee: Tee, readonly write: ServerResponse['write'], readonly end: ServerResponse['end']) {}

  see ([chunk, encoding]: Given): void {
    if (!this.ending) this.tee.add(chunk, encoding)
  }
}

const EMPTY = Buffer.alloc(0)

/** The body so far. */
export class Tee implements DumpedBody {
  truncated = false
  size = 0
  #chunks: Buffer[] = []
  #ended = false

  constructor (readonly limit: number) {}

  add (chunk: unknown, encoding?: unknown): void {
    if (this.truncated || this.#ended || chunk === null || chunk === undefined || typeof chunk === 'function') return
    const room = this.limit - this.size
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk.length > room + 1 ? chunk.slice(0, room + 1) : chunk, (typeof encoding === 'string' ? encoding : 'utf8') as BufferEncoding) : chunk as Buffer
    if (bytes.length === 0) return
    this.truncated = bytes.length > room
    const kept = this.truncated ? bytes.subarray(0, room) : bytes
    if (kept.length === 0) return
    this.size += kept.length
    // a short piece would keep all that was read with it
    this.#chunks.push(kept.buffer.byteLength > 2 * kept.length ? Buffer.from(kept) : Buffer.from(kept.buffer, kept.byteOffset, kept.length))
  }

  /** What comes later, such as the rest of a body that was answered early, is not kept. */
  end (): this {
    this.#ended = true
    return this
  }

  get bytes (): Buffer {
    if (this.#chunks.length === 0) return EMPTY
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }
}

/** Every byte of the body that anybody reads, in order. */
export function watchRequest (message: IncomingMessage, tee: Tee): void {
  const { emit } = message
  message.emit = function emitSeen (this: IncomingMessage, ...event: [string | symbol, ...unknown[]]): boolean {
    if (event[0] === 'data') tee.add(event[1])
    return Reflect.apply(emit, this, event) as boolean
  } as typeof emit
}

/** Every byte of the body that is written. The functions are the same for all responses: to make and call new ones takes longer than what they do. */
export function watchResponse (response: ServerResponse & { [kWatched]?: Watched }, tee: Tee): void {
  response[kWatched] = new Watched(tee, response.write, response.end)
  response.write = writeSeen as ServerResponse['write']
  response.end = endSeen as ServerResponse['end']
}

function writeSeen (this: ServerResponse & { [kWatched]: Watched }, ...given: Given): boolean {
  const watched = this[kWatched]
  watched.see(given)
  return Reflect.apply(watched.write, this, given) as boolean
}

function endSeen (this: ServerResponse & { [kWatched]: Watched }, ...given: Given): ServerResponse {
  const watched = this[kWatched]
  watched.see(given)
  watched.ending = true
  return Reflect.apply(watched.end, this, given) as ServerResponse
}
