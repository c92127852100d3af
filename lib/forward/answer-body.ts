/**
 * An answer's body that is still arriving. Backpressure runs through it in both directions: a full buffer pauses
 * the backend's socket, and a reader that goes away ends the exchange.
 */
import { Readable } from 'node:stream'
import type { ServerResponse } from 'node:http'

/** What feeds the body. */
export interface BodySource {
  resume (): void
  /** The reader is done with it before its end. */
  abandon (): void
}

export class AnswerBody extends Readable {
  readonly #source: BodySource

  constructor (source: BodySource) {
    super({ highWaterMark: 65_536 })
    this.#source = source
    // A body that breaks while nobody reads it is no reason to end the process.
    this.on('error', () => {})
  }

  override _read (): void {
    this.#source.resume()
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.abandon()
    callback(error)
  }

  /** Headers go to the client as soon as the backend has sent its own, not with the first byte of the body. */
  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    super.pipe(destination, options)
    if (this.readableLength === 0) sendHead(destination as unknown as ServerResponse)
    return destination
  }
}

const NOTHING = Buffer.alloc(0)

/** Sends the headers, if that has not been done: with Node's `flushHeaders` those of HTTP/1.1 would leave as UTF-8, not as Latin-1. */
export function sendHead (response: ServerResponse): void {
  if (response.headersSent !== false || response.destroyed) return
  if (response.req?.httpVersionMajor === 1) response.write(NOTHING)
  else response.flushHeaders?.()
}
