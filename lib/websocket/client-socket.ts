/**
 * The client's end of an upgrade. Node has let go of the socket: nobody reads it, and no answer on it closes it.
 * This keeps it until a WebSocket is open on it, or until it has had its refusal.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../deadlines.ts'

/** Most bytes that a client may send ahead of the answer to its handshake; then it is paused. */
const MOST_EARLY = 65_536
/** How long a client may take to close once it has its refusal, ms. */
const PARTING_TIME = 1_000

const kUpgrade = Symbol.for('reverseproxy.upgrade')

type Upgraded = IncomingMessage & { [kUpgrade]?: ClientSocket }

/** The socket that came with a request for another protocol; undefined for every other request. */
export function clientSocketOf (raw: IncomingMessage): ClientSocket | undefined {
  return (raw as Upgraded)[kUpgrade]
}

/** Keeps it with its request. */
export function keepClientSocket (raw: IncomingMessage, socket: Socket, head: Buffer, clock: Pick<Clock, 'setTimeout'>): void {
  (raw as Upgraded)[kUpgrade] = new ClientSocket(socket, head, clock)
}

export class ClientSocket {
  readonly #early: Buffer[] = []
  #size = 0
  #holding = false
  #response: ServerResponse | undefined = undefined
  /** The answer opens a WebSocket; its owner ends the socket. */
  opening = false
  /** Bytes that had been written when the request came. */
  readonly written: number

  constructor (readonly socket: Socket, head: Buffer, readonly clock: Pick<Clock, 'setTimeout'>) {
    this.written = socket.bytesWritten
    if (head.length > 0) this.#keep(head)
    // Node's own listener is gone, too
    socket.on('error', () => { socket.destroy() })
  }

  /** Keeps what the client sends ahead, and notices when it goes. */
  hold (): void {
    if (this.#holding) return
    this.#holding = true
    this.socket.on('data', this.#keep).on('end', this.#leave)
    if (this.#size >= MOST_EARLY) this.socket.pause()
  }

  /** Sees to it that an answer on this socket reaches the client, and is the last. */
  answerWith (response: ServerResponse): void {
    if (this.#response !== undefined) return
    this.#response = response
    response.shouldKeepAlive = false
    this.socket.on('drain', this.#drain)
    response.once('finish', () => { if (!this.opening) this.part() })
  }

  /** What the client has sent ahead; from now on the socket is the caller's, paused. */
  take (): Buffer[] {
    const { socket } = this
    socket.pause()
    socket.off('data', this.#keep).off('end', this.#leave).off('drain', this.#drain)
    this.#response?.detachSocket(socket)
    return this.#early.splice(0)
  }

  readonly #keep = (chunk: Buffer): void => {
    this.#early.push(chunk)
    this.#size += chunk.length
    if (this.#holding && this.#size >= MOST_EARLY) this.socket.pause()
  }

  /** A client that half-closes before it has its WebSocket does not want it any more. */
  readonly #leave = (): void => { this.socket.destroy() }

  /** A Node server would tell its response. */
  readonly #drain = (): void => { this.#response!.emit('drain') }

  /** The client has had its answer. */
  part (): void {
    const { socket } = this
    socket.off('data', this.#keep).off('end', this.#leave)
    this.#early.length = 0
    // closing with something unread would be a reset, and could cost the client its answer
    socket.end()
    socket.resume()
    this.clock.setTimeout(() => { socket.destroy() }, PARTING_TIME)
  }
}
