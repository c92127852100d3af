/**
 * Two sockets, client and backend, and the bytes of a WebSocket between them. Frames pass as they are: nothing is
 * answered, merged or split here, so that fragments, pings and extensions are the business of the two ends.
 *
 * Only where frames begin is known (frames.ts), which is what a close frame of the gateway's own needs.
 */
import { closeFrame, FrameScanner } from './frames.ts'
import type { Duplex } from 'node:stream'
import type { Deadlines, Expirable } from '../deadlines.ts'
import type { Close } from './frames.ts'
import type { Side, WebSocketEnd } from './types.ts'

/** How long an end may take to go once the other one has gone, ms: a client to read what was sent, a backend to notice. */
const LINGER_TIME = { client: 5_000, backend: 1_000 } as const

export interface TunnelOptions {
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

/** An open WebSocket that can be told to close. */
export interface Bridge {
  /** Says goodbye to both ends, who have their time to answer it. */
  close (code: number, reason: string): void
  /** Cuts both. */
  destroy (): void
}

export class Tunnel implements Bridge, Expirable {
  // links of the deadline wheel
  expiresAt = 0
  before: Expirable | undefined = undefined
  after: Expirable | undefined = undefined
  list: Expirable['list'] = undefined

  readonly #options: TunnelOptions
  readonly #startedAt: number
  readonly #fromClient: Direction
  readonly #fromBackend: Direction
  /** Why it ends, and who has begun it. */
  #end: (Close & { readonly by: WebSocketEnd['by'] }) | undefined = undefined
  /** Close frames of ours are on their way. */
  #closing = false
  /** No more time than what is armed. */
  #hurrying = false
  #open = 2

  constructor (options: TunnelOptions) {
    this.#options = options
    this.#startedAt = options.now()
    this.#fromClient = new Direction(this, 'client', options.client, options.backend, options.maxPayload)
    this.#fromBackend = new Direction(this, 'backend', options.backend, options.client, options.maxPayload)
  }

  /** Begins; may end at once when a socket has gone meanwhile. */
  start (): this {
    const { client, backend, early } = this.#options
    this.touch()
    this.#fromClient.start(early)
    this.#fromBackend.start([])
    if (client.destroyed) this.gone(this.#fromClient)
    if (backend.destroyed) this.gone(this.#fromBackend)
    return this
  }

  close (code: number, reason: string): void {
    if (this.#hurrying) return
    this.#end ??= { code, reason, by: 'gateway' }
    this.#closing = true
    this.#hurry(this.#options.closeTime)
    this.#fromClient.sayClose(code, reason)
    this.#fromBackend.sayClose(code, reason)
  }

  destroy (): void {
    this.#options.client.destroy()
    this.#options.backend.destroy()
  }

  expire (): void {
    if (this.#hurrying) this.destroy()
    else this.close(1001, 'idle timeout')
  }

  // ---- what the directions tell

  /** Something has come. */
  touch (): void {
    const { idleTimeout, deadlines } = this.#options
    if (idleTimeout > 0 && !this.#hurrying) deadlines.arm(this, idleTimeout)
  }

  /** A side has sent its close frame. */
  closing (direction: Direction): void {
    this.#end ??= { ...direction.scanner.closed!, by: direction.side }
    this.#part(direction)
  }

  /** A side has been sent our close frame. */
  bowed (direction: Direction): void {
    this.#part(this.#opposite(direction))
  }

  tooLarge (direction: Direction): void {
    this.close(1009, 'message too big')
    this.#part(direction)
  }

  /** A side will send no more. */
  ended (direction: Direction): void {
    this.#end ??= { code: 1006, reason: '', by: direction.side }
    direction.to.end()
    this.#hurry(LINGER_TIME[this.#opposite(direction).side])
  }

  /** A side's socket is closed. */
  gone (direction: Direction): void {
    if (!direction.leave()) return
    if (direction.side === 'backend') this.#options.onBackendGone()
    this.#end ??= { code: 1006, reason: '', by: direction.side }
    const { to } = direction
    if (!to.destroyed) {
      // what it was sent arrives, what it still sends has nowhere to go
      to.end()
      this.#opposite(direction).drop()
      this.#hurry(LINGER_TIME[this.#opposite(direction).side])
    }
    if (--this.#open === 0) this.#finish()
  }

  // ---- inside

  #opposite (direction: Direction): Direction {
    return direction === this.#fromClient ? this.#fromBackend : this.#fromClient
  }

  /** Between the gateway and this side all is said: the server closes first (RFC 6455 section 7.1.1), and so do we. */
  #part (direction: Direction): void {
    const { scanner, from } = direction
    const back = this.#opposite(direction)
    if (this.#closing && (scanner.closed !== undefined || scanner.tooLarge) && (back.cut || back.scanner.closed !== undefined)) from.end()
  }

  /** Within this time it is over. */
  #hurry (ms: number): void {
    const { deadlines, now } = this.#options
    if (this.#hurrying && this.expiresAt <= now() + ms) return
    this.#hurrying = true
    deadlines.arm(this, ms)
  }

  #finish (): void {
    this.#options.deadlines.disarm(this)
    this.#options.onEnd({
      code: this.#end!.code,
      reason: this.#end!.reason,
      by: this.#end!.by,
      duration: this.#options.now() - this.#startedAt,
      fromClient: this.#fromClient.bytes,
      fromBackend: this.#fromBackend.bytes
    })
  }
}

/** The bytes of one side on their way to the other. */
class Direction {
  readonly scanner: FrameScanner
  bytes = 0
  /** A close frame of ours was the last that the other side gets. */
  cut = false
  /** What to say as soon as a frame has ended. */
  #farewell: Buffer | undefined = undefined
  #left = false

  constructor (readonly tunnel: Tunnel, readonly side: Side, readonly from: Duplex, readonly to: Duplex, maxPayload: number) {
    this.scanner = new FrameScanner(maxPayload)
  }

  start (early: readonly Buffer[]): void {
    const { from, to } = this
    from.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
    to.on('drain', this.#onDrain)
    for (const chunk of early) this.#onData(chunk)
    if (!to.writableNeedDrain) from.resume()
  }

  /** The last that the other side gets from here is this close frame. */
  sayClose (code: number, reason: string): void {
    if (this.cut || this.scanner.closed !== undefined) {
      // its own close frame has gone through; the answer is under way
      return
    }
    this.#farewell = closeFrame(code, reason, this.side === 'client')
    if (this.scanner.between || this.scanner.tooLarge) this.#bow()
  }

  /** The other side is gone. */
  drop (): void {
    this.cut = true
    this.from.resume()
  }

  /** False: it has left before. */
  leave (): boolean {
    if (this.#left) return false
    this.#left = true
    return true
  }

  #bow (): void {
    this.to.write(this.#farewell!)
    this.cut = true
    // the answer to the other close frame is still to come
    this.from.resume()
    this.tunnel.bowed(this)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.bytes += chunk.length
    this.tunnel.touch()
    const { scanner } = this
    if (scanner.closed !== undefined || scanner.tooLarge) return
    if (this.#farewell !== undefined && !this.cut) {
      this.#last(chunk)
      return
    }
    const passing = scanner.scan(chunk)
    if (!this.cut && passing.length > 0 && !this.to.write(passing)) this.from.pause()
    if (scanner.closed !== undefined) this.tunnel.closing(this)
    else if (scanner.tooLarge && !this.cut) this.tunnel.tooLarge(this)
  }

  /** The rest of the frame that had begun when we were told to close; then our own. */
  #last (chunk: Buffer): void {
    const rest = Math.min(this.scanner.left, chunk.length)
    this.to.write(chunk.subarray(0, rest))
    this.scanner.scan(chunk)
    if (rest < chunk.length || this.scanner.between) this.#bow()
    if (this.scanner.closed !== undefined) this.tunnel.closing(this)
  }

  readonly #onDrain = (): void => { this.from.resume() }
  readonly #onEnd = (): void => { this.tunnel.ended(this) }
  readonly #onClose = (): void => { this.tunnel.gone(this) }
}
