/**
 * The messages of a WebSocket, read whole and written anew (ws does both), for a hook that may change or drop them. Pings
 * and pongs pass as well: none is answered here.
 */
import * as ws from 'ws'
import { isCloseCode } from './frames.ts'
import { other, Pair } from './pair.ts'
import type { Writable } from 'node:stream'
import type { PairOptions } from './pair.ts'
import type { Replaced, Side } from './types.ts'

/** What reads and writes frames within ws; it exports both, and its types leave them out. */
interface Engine {
  readonly Receiver: new (options: { isServer: boolean, maxPayload: number, binaryType: 'nodebuffer' }) => Writable
  readonly Sender: new (socket: Writable) => Writer
}

interface Writer {
  send (data: string | Uint8Array, options: { binary: boolean, fin: boolean, mask: boolean, compress: boolean }): void
  ping (data: Buffer, mask: boolean): void
  pong (data: Buffer, mask: boolean): void
  close (code: number | undefined, reason: string, mask: boolean): void
}

const { Receiver, Sender } = ws as unknown as Engine

/** Where no limit is set, ws cannot count further. */
const MOST = 2 ** 31 - 1

export interface RelayOptions extends PairOptions {
  onMessage (data: string | Buffer, from: Side): Replaced | Promise<Replaced>
  /** The hook has thrown; both ends are closed with 1011. */
  onError (error: unknown): void
}

type Happening =
  | { readonly kind: 'message', readonly data: Buffer, readonly binary: boolean }
  | { readonly kind: 'ping' | 'pong', readonly data: Buffer }
  | { readonly kind: 'close', readonly code: number, readonly reason: string }

export class Relay extends Pair {
  readonly #ends: Readonly<Record<Side, End>>

  constructor (readonly tools: RelayOptions) {
    super(tools)
    this.#ends = { client: new End(new Sender(tools.client)), backend: new End(new Sender(tools.backend)) }
  }

  protected override listen (side: Side, early: readonly Buffer[]): void {
    const socket = this.options[side]
    const end = this.#ends[side]
    const receiver = new Receiver({ isServer: side === 'client', maxPayload: Math.min(this.options.maxPayload, MOST), binaryType: 'nodebuffer' })
    receiver.on('message', (data: Buffer, binary: boolean) => { this.#happened(side, { kind: 'message', data, binary }) })
    receiver.on('ping', (data: Buffer) => { this.#happened(side, { kind: 'ping', data }) })
    receiver.on('pong', (data: Buffer) => { this.#happened(side, { kind: 'pong', data }) })
    receiver.on('conclude', (code: number, reason: Buffer) => { this.#happened(side, { kind: 'close', code, reason: reason.toString() }) })
    receiver.on('error', (error: Error & { code?: string }) => { this.#broken(side, error) })
    const read = (chunk: Buffer): void => {
      this.bytes[side] += chunk.length
      this.touch()
      if (!end.deaf && !receiver.write(chunk)) {
        end.full = true
        socket.pause()
      }
    }
    receiver.on('drain', () => { end.full = false; this.#flow(side) })
    socket.on('data', read)
    this.options[other(side)].on('drain', () => { this.#flow(side) })
    for (const chunk of early) read(chunk)
    this.#flow(side)
  }

  protected override farewell (code: number, reason: string): void {
    for (const side of ['client', 'backend'] as const) this.#sayClose(side, code, reason)
  }

  protected override drop (side: Side): void {
    this.#ends[side].deaf = true
    this.options[side].resume()
  }

  /** One thing after the other, also where a hook takes its time. */
  #happened (side: Side, happening: Happening): void {
    const end = this.#ends[side]
    if (end.deaf) return
    if (end.waiting !== undefined) {
      end.waiting.push(happening)
      return
    }
    const wait = this.#pass(side, happening)
    if (wait === undefined) return
    end.waiting = []
    this.options[side].pause()
    wait.then(() => {
      const waiting = end.waiting!
      end.waiting = undefined
      // what comes of these may wait again: the rest stays behind it, in order
      for (const next of waiting) this.#happened(side, next)
      this.#flow(side)
    })
  }

  /** A promise that never rejects, where the hook has given one. */
  #pass (side: Side, happening: Happening): Promise<void> | undefined {
    const to = this.#ends[other(side)]
    const mask = side === 'client'
    switch (happening.kind) {
      case 'message': return this.#ask(side, happening.data, happening.binary)
      case 'close':
        this.endsWith(happening.code, happening.reason, side)
        this.#ends[side].deaf = true
        this.#ends[side].closed = true
        this.#sayClose(other(side), happening.code === 1005 ? undefined : happening.code, happening.reason)
        this.#part(side)
        return undefined
      default:
        if (!to.told) to.sender[happening.kind](happening.data, mask)
        this.#flow(side)
        return undefined
    }
  }

  #ask (side: Side, bytes: Buffer, binary: boolean): Promise<void> | undefined {
    const data = binary ? bytes : bytes.toString()
    let replaced: Replaced | Promise<Replaced>
    try {
      replaced = this.tools.onMessage(data, side)
    } catch (error) {
      this.#failed(error)
      return undefined
    }
    if (!isPromise(replaced)) {
      this.#send(side, bytes, binary, replaced)
      return undefined
    }
    return Promise.resolve(replaced).then(value => { this.#send(side, bytes, binary, value) }, (error: unknown) => { this.#failed(error) })
  }

  #send (side: Side, bytes: Buffer, binary: boolean, replaced: Replaced): void {
    const to = this.#ends[other(side)]
    if (replaced === false || to.told || this.options[other(side)].destroyed) return
    const options = { fin: true, mask: side === 'client', compress: false }
    if (replaced === undefined) to.sender.send(bytes, { ...options, binary })
    else if (typeof replaced === 'string' || replaced instanceof Uint8Array) to.sender.send(replaced, { ...options, binary: typeof replaced !== 'string' })
    else this.#failed(new TypeError('onMessage must return undefined, false, a text or bytes'))
    this.#flow(side)
  }

  #failed (error: unknown): void {
    this.tools.onError(error)
    this.close(1011, '')
  }

  /** What came is no WebSocket frame, or too much. */
  #broken (side: Side, { code = '' }: { code?: string }): void {
    const end = this.#ends[side]
    end.deaf = true
    end.closed = true
    this.options[side].resume()
    const status = code.endsWith('_LENGTH') && !code.includes('CONTROL') ? 1009 : code === 'WS_ERR_INVALID_UTF8' ? 1007 : 1002
    this.close(status, status === 1009 ? 'message too big' : '')
    this.#part(side)
  }

  #sayClose (side: Side, code: number | undefined, reason: string): void {
    const end = this.#ends[side]
    if (end.told || this.options[side].destroyed) return
    end.told = true
    end.sender.close(code !== undefined && isCloseCode(code) ? code : undefined, reason, side === 'backend')
    this.#part(side)
  }

  /** All is said between the gateway and this side; the client's is the one that we close first (RFC 6455 section 7.1.1). */
  #part (side: Side): void {
    const end = this.#ends[side]
    if (end.told && end.closed && (side === 'client' || this.closing)) this.options[side].end()
  }

  /** A side is read while the other one takes it, and no hook is busy with it. */
  #flow (side: Side): void {
    const end = this.#ends[side]
    if (end.deaf || (end.waiting === undefined && !end.full && !this.options[other(side)].writableNeedDrain)) this.options[side].resume()
    else this.options[side].pause()
  }
}

function isPromise (value: Replaced | Promise<Replaced>): value is Promise<Replaced> {
  return typeof (value as Partial<Promise<Replaced>> | undefined)?.then === 'function'
}

/** One end of it. */
class End {
  /** Nothing is compressed, so nothing waits in it. */
  constructor (readonly sender: Writer) {}

  /** It has been sent a close frame. */
  told = false
  /** It has sent one, or nothing more that makes sense. */
  closed = false
  /** What it sends is not listened to any more. */
  deaf = false
  /** Its receiver has enough for now. */
  full = false
  /** What has come while a hook is busy. */
  waiting: Happening[] | undefined = undefined
}
