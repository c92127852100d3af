/**
 * The bytes of a WebSocket, passed on as they are. Nothing is answered, merged or split here, so that fragments, pings and
 * extensions are the business of the two ends.
 *
 * Only where frames begin is known (frames.ts), which is what a close frame of the gateway's own needs.
 */
import { closeFrame, FrameScanner } from './frames.ts'
import { other, Pair } from './pair.ts'
import type { Duplex } from 'node:stream'
import type { PairOptions } from './pair.ts'
import type { Side } from './types.ts'

export class Tunnel extends Pair {
  readonly #from: Readonly<Record<Side, Direction>>

  constructor (options: PairOptions) {
    super(options)
    const { client, backend, maxPayload } = options
    this.#from = { client: new Direction(this, 'client', client, backend, maxPayload), backend: new Direction(this, 'backend', backend, client, maxPayload) }
  }

  protected override listen (side: Side, early: readonly Buffer[]): void {
    this.#from[side].start(early)
  }

  protected override farewell (code: number, reason: string): void {
    this.#from.client.sayClose(code, reason)
    this.#from.backend.sayClose(code, reason)
  }

  protected override drop (side: Side): void {
    this.#from[side].drop()
  }

  // ---- what the directions tell

  came (side: Side, bytes: number): void {
    this.bytes[side] += bytes
    this.touch()
  }

  /** A side has sent its close frame. */
  closed ({ side, scanner }: Direction): void {
    const { code, reason } = scanner.closed!
    this.endsWith(code, reason, side)
    this.#part(side)
  }

  /** The other side has been sent our close frame. */
  bowed ({ side }: Direction): void {
    this.#part(other(side))
  }

  tooLarge ({ side }: Direction): void {
    this.close(1009, 'message too big')
    this.#part(side)
  }

  /** Between the gateway and this side all is said. */
  #part (side: Side): void {
    const { scanner, from } = this.#from[side]
    const back = this.#from[other(side)]
    if (this.closing && (scanner.closed !== undefined || scanner.tooLarge) && (back.cut || back.scanner.closed !== undefined)) from.end()
  }
}

/** What one side sends on its way to the other. */
class Direction {
  readonly scanner: FrameScanner
  /** Nothing more goes to the other side. */
  cut = false
  /** What to say as soon as a frame has ended. */
  #farewell: Buffer | undefined = undefined

  constructor (readonly tunnel: Tunnel, readonly side: Side, readonly from: Duplex, readonly to: Duplex, maxPayload: number) {
    this.scanner = new FrameScanner(maxPayload)
  }

  start (early: readonly Buffer[]): void {
    this.from.on('data', this.#onData)
    this.to.on('drain', this.#onDrain)
    for (const chunk of early) this.#onData(chunk)
    if (!this.to.writableNeedDrain) this.from.resume()
  }

  /** The last that the other side gets from here is this close frame. */
  sayClose (code: number, reason: string): void {
    // the side's own close frame has gone through
    if (this.cut || this.scanner.closed !== undefined) return
    this.#farewell = closeFrame(code, reason, this.side === 'client')
    if (this.scanner.between || this.scanner.tooLarge) this.#bow()
  }

  drop (): void {
    this.cut = true
    this.from.resume()
  }

  #bow (): void {
    this.to.write(this.#farewell!)
    this.cut = true
    // the answer to the other close frame is still to come
    this.from.resume()
    this.tunnel.bowed(this)
  }

  readonly #onData = (chunk: Buffer): void => {
    const { scanner, to } = this
    this.tunnel.came(this.side, chunk.length)
    if (scanner.closed !== undefined || scanner.tooLarge) return
    if (this.#farewell !== undefined && !this.cut) {
      this.#last(chunk)
      return
    }
    const passing = scanner.scan(chunk)
    if (!this.cut && passing.length > 0 && !to.write(passing)) this.from.pause()
    if (scanner.closed !== undefined) this.tunnel.closed(this)
    else if (scanner.tooLarge && !this.cut) this.tunnel.tooLarge(this)
  }

  /** The rest of the frame that had begun when we were told to close; then our own. */
  #last (chunk: Buffer): void {
    const rest = Math.min(this.scanner.left, chunk.length)
    this.to.write(chunk.subarray(0, rest))
    this.scanner.scan(chunk)
    if (rest < chunk.length || this.scanner.between) this.#bow()
    if (this.scanner.closed !== undefined) this.tunnel.closed(this)
  }

  readonly #onDrain = (): void => { this.from.resume() }
}
