/**
 * What a gateway takes for its server: it gets what happens on the real ones while it is the one that is on, and knows what
 * of that still runs when it no longer is.
 */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
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
  /** Answers to pipelined requests, by their connection: one whose turn never comes does not close. */
  readonly #queued = new WeakMap<Socket, Set<ServerResponse>>()
  readonly #cut: (this: Socket) => void
  readonly #leave = (): void => {
    this.#running--
    this.#rest()
  }

  constructor (listener: Listener) {
    super()
    this.#listener = listener
    const { servers } = listener
    const stage = this
    this.#cut = function () { for (const response of stage.#queued.get(this) ?? []) stage.#part(response, this) }
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
    if (event === 'newListener' || event === 'removeListener') return super.emit(event, ...args)
    const heard = this.#listener.servers[0]!.emit(event as string, ...args)
    // a wish for another protocol that is ignored: the connection has been given back, for requests of whoever is on
    if (event === 'connection' || event === 'secureConnection') this.#release(args[0] as Socket)
    return heard
  }

  /** Something has happened on a real server. */
  play (event: string | symbol, ...args: unknown[]): void {
    if (event === 'request') this.#take(args[0] as IncomingMessage, args[1] as ServerResponse)
    else if (event === 'upgrade') this.#hold(args[1] as Socket)
    super.emit(event, ...args)
  }

  /** A socket may ask again and again for protocols that nobody speaks. */
  #hold (socket: Socket): void {
    if (this.#held.has(socket)) return
    this.#held.add(socket)
    this.#follow(socket)
  }

  #release (socket: Socket): void {
    if (!this.#held.delete(socket)) return
    socket.off('close', this.#leave)
    this.#leave()
  }

  #take ({ httpVersionMajor, socket }: IncomingMessage, response: ServerResponse): void {
    if (httpVersionMajor > 1 || response.socket !== null) {
      this.#follow(response)
      return
    }
    const queued = this.#queued.get(socket) ?? new Set()
    if (queued.size === 0) socket.on('close', this.#cut)
    this.#queued.set(socket, queued.add(response))
    this.#running++
    response.once('close', () => { this.#part(response, socket) })
  }

  #part (response: ServerResponse, socket: Socket): void {
    const queued = this.#queued.get(socket)!
    if (!queued.delete(response)) return
    if (queued.size === 0) socket.off('close', this.#cut)
    this.#leave()
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
