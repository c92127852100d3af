/**
 * What a gateway takes for its server: it gets what happens on the real ones while it is the one that is on, and knows what
 * of that still runs when it no longer is.
 */
import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { shareConnections } from '../../lib/connections.ts'
import type { Listener } from './listener.ts'

/** Settings of a server that are those of the real ones. */
const SETTINGS = ['keepAliveTimeout', 'keepAliveTimeoutBuffer', 'maxHeadersCount', 'maxHeaderSize', 'requestTimeout', 'headersTimeout', 'timeout', 'maxRequestsPerSocket'] as const

export class Stage extends EventEmitter {
  readonly #listener: Listener
  /** Requests and upgraded connections that have not ended. */
  #running = 0
  #idle: (() => void) | undefined = undefined
  #ending = false
  readonly #held = new WeakSet<Socket>()
  readonly #leave = (): void => {
    this.#running--
    this.#rest()
  }

  constructor (listener: Listener) {
    super()
    this.#listener = listener
    const { servers } = listener
    for (const name of SETTINGS) {
      Object.defineProperty(this, name, {
        get: () => Reflect.get(servers[0]!, name) as unknown,
        set (value: unknown) { for (const server of servers) Reflect.set(server, name, value) }
      })
    }
    // HTTP/2 servers have none of these, and who asks looks for them
    for (const name of ['closeIdleConnections', 'closeAllConnections'] as const) {
      if (typeof servers[0]![name] !== 'function') continue
      const own = servers.map(server => server[name].bind(server))
      Object.defineProperty(this, name, {
        // an earlier gateway that ends has no say in the connections of the one that is on
        get: () => () => { if (this.listening) for (const close of own) close() },
        set (close: () => void) { for (const server of servers) server[name] = close }
      })
    }
    shareConnections(this, listener.connections)
  }

  get listening (): boolean {
    return this.#listener.listening && (this.#listener.isOn(this) || this.#ending)
  }

  address (): AddressInfo | string | null {
    return this.#listener.servers[0]!.address()
  }

  /** The real ones listen already: for Fastify, which wants to be told. */
  listen (_options: unknown, listening?: () => void): this {
    if (listening !== undefined) this.once('listening', listening)
    process.nextTick(() => { this.play('listening') })
    return this
  }

  /** Of the stage that is on: the real ones. Of an earlier one: waits for what runs on it. */
  close (done: () => void = () => {}): this {
    const closed = () => {
      this.play('close')
      done()
    }
    if (this.#listener.isOn(this)) this.#listener.close(closed)
    else this.onIdle(closed)
    return this
  }

  /** The process ends: an earlier gateway ends as the one that is on does. */
  end (): void {
    this.#ending = true
  }

  /** Once, when nothing runs here: perhaps now. */
  onIdle (idle: () => void): void {
    const before = this.#idle
    this.#idle = before === undefined ? idle : () => { before(); idle() }
    this.#rest()
  }

  /** What plugins emit on their server happens on the real one. */
  override emit (event: string | symbol, ...args: unknown[]): boolean {
    return event === 'newListener' || event === 'removeListener' ? super.emit(event, ...args) : this.#listener.servers[0]!.emit(event as string, ...args)
  }

  /** Something has happened on a real server. */
  play (event: string | symbol, ...args: unknown[]): void {
    if (event === 'request') this.#follow(args[1] as ServerResponse)
    else if (event === 'upgrade') this.#hold(args[1] as Socket)
    super.emit(event, ...args)
  }

  /** A socket may ask again and again for protocols that nobody speaks. */
  #hold (socket: Socket): void {
    if (this.#held.has(socket)) return
    this.#held.add(socket)
    this.#follow(socket)
  }

  #follow (running: ServerResponse | Socket): void {
    this.#running++
    running.once('close', this.#leave)
  }

  #rest (): void {
    if (this.#running > 0 || this.#idle === undefined) return
    const idle = this.#idle
    this.#idle = undefined
    idle()
  }
}
