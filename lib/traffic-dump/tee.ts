/**
 * Copies of bodies as they pass, of at most so many bytes. What is watched is the client's message and the answer to it: whoever
 * reads the one or writes the other is the same to it, and nothing waits.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

type Encoding = BufferEncoding | null | undefined

/** A class, as there are two per sampled request. */
export class Tee {
  truncated = false
  size = 0
  #chunks: Buffer[] = []

  constructor (readonly limit: number) {}

  add (chunk: unknown, encoding?: unknown): void {
    if (this.truncated || chunk === null || chunk === undefined || typeof chunk === 'function') return
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

  bytes (): Buffer {
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
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

/** Every byte of the body that is written. */
export function watchResponse (response: ServerResponse, tee: Tee): void {
  const { write, end } = response
  // HTTP/2 ends with a write of its own
  let ending = false
  response.write = function writeSeen (this: ServerResponse, ...given: [unknown, Encoding]): boolean {
    if (!ending) tee.add(given[0], given[1])
    return Reflect.apply(write, this, given) as boolean
  } as typeof write
  response.end = function endSeen (this: ServerResponse, ...given: [unknown, Encoding]): ServerResponse {
    if (!ending) tee.add(given[0], given[1])
    ending = true
    return Reflect.apply(end, this, given) as ServerResponse
  } as typeof end
}
