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
    const response = destination as unknown as Partial<ServerResponse>
    if (this.readableLength === 0 && response.headersSent === false) response.flushHeaders?.()
    return destination
  }
}
