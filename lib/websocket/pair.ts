/**
 * The two sockets of a WebSocket, client and backend: when they end, and what that means for the other one. What passes
 * between them is the business of those who extend this (tunnel.ts, relay.ts).
 */
import type { Duplex } from 'node:stream'
import type { Deadlines, Expirable } from '../deadlines.ts'
import type { Close } from './frames.ts'
import type { Side, WebSocketEnd } from './types.ts'

/** How long an end may take to go once the other one has gone, ms: a client to read what was sent, a backend to notice. */
const LINGER_TIME = { client: 5_000, backend: 1_000 } as const

export interface PairOptions {
  readonly client: Duplex
  readonly backend: Duplex
  /** What the client has sent already. */
  readonly early: readonly Buffer[]
  readonly deadlines: Deadlines
  now (): number
  /** ms; 0: none. */
  readonly idleTimeout: number
  /** Largest message, bytes. */
  readonly maxPayload: number
  /** How long the ends may take to answer a close frame, ms. */
  readonly closeTime: number
  /** Called once, when the backend's socket is gone. */
  onBackendGone (): void
  /** Called once, when both sockets are gone. */
  onEnd (end: WebSocketEnd): void
}

export function other (side: Side): Side {
  return side === 'client' ? 'backend' : 'client'
}

export abstract class Pair implements Expirable {
  // links of the deadline wheel
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined

  /** Bytes that have come from them. */
  readonly bytes = { client: 0, backend: 0 }
  /** Close frames of ours are on their way. */
  protected closing = false
  readonly #startedAt: number
  /** Why it ends, and who has begun it. */
  #end: (Close & { readonly by: WebSocketEnd['by'] }) | undefined = undefined
  /** It has to be over when the deadline comes. */
  #hurrying = false
  readonly #gone = { client: false, backend: false }
  #started = false
  /** What was to be closed before it had begun. */
  #asked: Close | undefined = undefined

  constructor (protected readonly options: PairOptions) {
    this.#startedAt = options.now()
  }

  /** Begins to pass on what comes from a side, `early` first. */
  protected abstract listen (side: Side, early: readonly Buffer[]): void
  /** Says goodbye to those ends that have not been told. */
  protected abstract farewell (code: number, reason: string): void
  /** What a side still sends has nowhere to go; it is read all the same, to see its end. */
  protected abstract drop (side: Side): void

  /** May end at once, when a socket has gone meanwhile. */
  start (): this {
    this.#started = true
    this.touch()
    for (const side of ['client', 'backend'] as const) {
      this.options[side].on('end', () => { this.#ended(side) }).on('close', () => { this.#left(side) })
    }
    this.listen('client', this.options.early)
    this.listen('backend', [])
    for (const side of ['client', 'backend'] as const) if (this.options[side].destroyed) this.#left(side)
    if (this.#asked !== undefined) this.close(this.#asked.code, this.#asked.reason)
    return this
  }

  /** Says goodbye to both ends, who have their time to answer. */
  close (code: number, reason: string): void {
    if (!this.#started) this.#asked ??= { code, reason }
    if (this.#hurrying || !this.#started) return
    this.closing = true
    this.endsWith(code, reason, 'gateway')
    this.hurry(this.options.closeTime)
    this.farewell(code, reason)
  }

  /** Cuts both. */
  destroy (): void {
    this.options.client.destroy()
    this.options.backend.destroy()
  }

  expire (): void {
    if (this.#hurrying) this.destroy()
    else this.close(1001, 'idle timeout')
  }

  /** The gateway has closed: nobody will look after them. */
  forget (): void {
    this.destroy()
  }

  /** Something has come. */
  protected touch (): void {
    const { idleTimeout, deadlines } = this.options
    if (idleTimeout > 0 && !this.#hurrying) deadlines.arm(this, idleTimeout)
  }

  /** The first reason counts. */
  protected endsWith (code: number, reason: string, by: WebSocketEnd['by']): void {
    this.#end ??= { code, reason, by }
  }

  /** Within this time it is over. */
  protected hurry (ms: number): void {
    const { deadlines, now } = this.options
    if (this.#hurrying && this.expiresAt <= now() + ms) return
    this.#hurrying = true
    deadlines.arm(this, ms)
  }

  /** A side will send no more. A WebSocket that ends without a close frame is broken, and so is the other half of it. */
  #ended (side: Side): void {
    this.endsWith(1006, '', side)
    this.options[other(side)].end()
    this.hurry(LINGER_TIME[other(side)])
  }

  /** A side's socket is closed. */
  #left (side: Side): void {
    if (this.#gone[side]) return
    this.#gone[side] = true
    this.endsWith(1006, '', side)
    if (side === 'backend') this.options.onBackendGone()
    const peer = this.options[other(side)]
    if (!peer.destroyed) {
      // what it was sent arrives
      peer.end()
      this.drop(other(side))
      this.hurry(LINGER_TIME[other(side)])
    }
    if (this.#gone[other(side)]) this.#finish()
  }

  #finish (): void {
    this.options.deadlines.disarm(this)
    this.options.onEnd({ ...this.#end!, duration: this.options.now() - this.#startedAt, fromClient: this.bytes.client, fromBackend: this.bytes.backend })
  }
}
