/**
 * Connections to a target that may speak HTTP/2: what the first handshake agrees to (ALPN) decides, or it is known before (`h2c`).
 * Where it comes to HTTP/1.1, undici's pool does the work, and does it for upgrades in any case.
 */
import { connect as connectHttp2 } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Dispatcher, errors } from 'undici'
import type { buildConnector, Pool } from 'undici'
import type { PoolNumbers } from '../pools.ts'
import { Http2Call } from './stream.ts'
import type { Http2CallTools, Http2Line } from './stream.ts'

export interface Http2PoolOptions {
  /** Scheme and authority of the target. */
  readonly origin: string
  readonly connect: buildConnector.connector
  /** Whether the target speaks HTTP/2 without being asked. */
  readonly priorKnowledge: boolean
  /** Most connections. */
  readonly connections: number
  /** How long a connection without requests is kept, ms. */
  readonly keepAliveTimeout: number
  /** From the connection to the target's first words, ms; 0: no limit. */
  readonly connectTimeout: number
  readonly maxHeaderSize: number
  /** A pool of HTTP/1.1; it may begin with this connection. */
  plain (spare: Socket | undefined): Dispatcher
}

interface Session extends Http2Line {
  streams: number
  /** Most streams at once, as the target says. */
  limit: number
  /** Nothing new goes out on it. */
  retired: boolean
}

/** Streams that a connection is believed to take before there is one. */
const LIKELY_LIMIT = 100

export class Http2Pool extends Dispatcher {
  readonly #options: Http2PoolOptions
  readonly #url: URL
  #sessions: Session[] = []
  #waiting: Http2Call[] = []
  #connecting = 0
  #plain: Dispatcher | undefined = undefined
  /** Whether the target has agreed to nothing newer than HTTP/1.1. */
  #isPlain = false
  #end: 'closing' | 'destroyed' | undefined = undefined
  #onIdle: (() => void) | undefined = undefined
  #closed: Promise<void> | undefined = undefined

  constructor (options: Http2PoolOptions) {
    super()
    this.#options = options
    this.#url = new URL(options.origin)
  }

  override dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.#isPlain || (options.upgrade != null && options.upgrade !== false)) return this.#http1().dispatch(options, handler)
    const { protocol, host } = this.#url
    const line = { method: options.method, path: options.path, scheme: protocol.slice(0, -1), authority: host }
    const call = new Http2Call(options, handler, { line, maxHeaderSize: this.#options.maxHeaderSize, again: this.#again })
    if (this.#end !== undefined) call.fail(this.#end === 'closing' ? new errors.ClientClosedError() : new errors.ClientDestroyedError())
    else this.#place(call)
    return true
  }

  /** As those of undici's pools: a stream is a request that runs. Connections that only finish what they have are still open. */
  get stats (): PoolNumbers {
    const running = this.#sessions.reduce((sum, { streams }) => sum + streams, 0)
    const queued = this.#waiting.length
    const own = { connected: this.#sessions.length, free: this.#sessions.filter(({ streams }) => streams === 0).length, pending: queued, queued, running, size: running + queued }
    const plain = (this.#plain as Pool | undefined)?.stats
    if (plain === undefined) return own
    return {
      connected: own.connected + plain.connected,
      free: own.free + plain.free,
      pending: own.pending + plain.pending,
      queued: queued + plain.queued,
      running: running + plain.running,
      size: own.size + plain.size
    }
  }

  override close (callback?: () => void): Promise<void> & void {
    this.#end ??= 'closing'
    this.#closed ??= new Promise<void>(resolve => {
      this.#onIdle = resolve
      this.#checkIdle()
    }).then(async () => {
      for (const { http2 } of this.#sessions) http2.close()
      await this.#plain?.close()
    })
    if (callback !== undefined) this.#closed.then(callback, callback)
    return this.#closed as Promise<void> & void
  }

  override destroy (reason?: Error | null | (() => void), callback?: () => void): Promise<void> & void {
    const error = reason instanceof Error ? reason : new errors.ClientDestroyedError()
    const done = typeof reason === 'function' ? reason : callback
    this.#end = 'destroyed'
    this.#failWaiting(error)
    for (const { http2 } of this.#sessions) http2.destroy(error)
    this.#onIdle?.()
    const destroyed = Promise.resolve(this.#plain?.destroy(error)).then(() => {})
    if (done !== undefined) destroyed.then(done, done)
    return destroyed as Promise<void> & void
  }

  // ---- inside

  readonly #again: Http2CallTools['again'] = call => {
    if (this.#end === 'destroyed') call.fail(new errors.ClientDestroyedError())
    else this.#place(call)
  }

  #place (call: Http2Call): void {
    const session = this.#sessions.find(({ retired, streams, limit }) => !retired && streams < limit)
    if (session !== undefined) {
      this.#send(session, call)
      return
    }
    this.#waiting.push(call)
    const { connections } = this.#options
    const open = this.#sessions.filter(({ retired }) => !retired).length
    if (open + this.#connecting < connections && this.#waiting.length > this.#connecting * LIKELY_LIMIT) this.#open()
  }

  #send (session: Session, call: Http2Call): void {
    if (session.streams++ === 0) session.http2.ref()
    if (!call.send(session)) session.left(false)
  }

  #left (session: Session, silent: boolean): void {
    if (--session.streams === 0) session.http2.unref()
    // others would wait for it as long
    if (silent) this.#retire(session)
    if (silent && session.streams === 0) session.http2.destroy()
    this.#next()
    this.#checkIdle()
  }

  #next (): void {
    while (this.#waiting.length > 0 && this.#end !== 'destroyed') {
      const session = this.#sessions.find(({ retired, streams, limit }) => !retired && streams < limit)
      if (session === undefined) {
        if (this.#connecting === 0 && this.#sessions.every(({ retired }) => retired)) this.#open()
        return
      }
      this.#send(session, this.#waiting.shift()!)
    }
  }

  #open (): void {
    const { protocol, hostname, host, port } = this.#url
    this.#connecting++
    this.#options.connect({ protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }, (...[error, socket]) => {
      if (error !== null) {
        this.#connecting--
        this.#failWaiting(error)
      } else if (this.#end === 'destroyed') {
        this.#connecting--
        socket.destroy()
      } else if (this.#options.priorKnowledge || (socket as TLSSocket).alpnProtocol === 'h2') {
        this.#greet(socket)
      } else {
        this.#connecting--
        this.#turnPlain(socket)
      }
    })
  }

  /** The target's settings come first: they say how many streams it takes, and that it speaks HTTP/2 at all. */
  #greet (socket: Socket): void {
    const { origin, connectTimeout, keepAliveTimeout, maxHeaderSize } = this.#options
    const http2 = connectHttp2(origin, { createConnection: () => socket, settings: { enablePush: false, maxHeaderListSize: maxHeaderSize } })
    let session: Session | undefined
    let failure: Error | undefined
    http2.setTimeout(connectTimeout)
    http2.on('timeout', () => {
      if (session === undefined) http2.destroy(new errors.ConnectTimeoutError())
      else if (session.streams === 0) this.#retire(session)
    })
    http2.on('error', error => { failure = error })
    http2.on('goaway', () => { if (session !== undefined) session.retired = true })
    http2.on('remoteSettings', ({ maxConcurrentStreams = LIKELY_LIMIT }) => {
      if (session !== undefined) {
        session.limit = maxConcurrentStreams
        this.#next()
        return
      }
      this.#connecting--
      const made: Session = { http2, streams: 0, heard: 0, limit: maxConcurrentStreams, retired: false, left: silent => { this.#left(made, silent) } }
      this.#sessions.push(session = made)
      this.#isPlain = false
      http2.setTimeout(keepAliveTimeout)
      http2.unref()
      this.#next()
    })
    http2.once('close', () => {
      if (session === undefined) {
        this.#connecting--
        this.#failWaiting(failure ?? new errors.SocketError('the target closed the connection instead of speaking HTTP/2'))
        return
      }
      session.retired = true
      this.#sessions = this.#sessions.filter(one => one !== session)
      this.#next()
    })
  }

  #retire (session: Session): void {
    session.retired = true
    // streams that run may finish
    session.http2.close()
  }

  #turnPlain (socket: Socket): void {
    this.#isPlain = true
    const plain = this.#http1(socket)
    for (const call of this.#waiting.splice(0)) plain.dispatch(call.options, call.handler)
    this.#checkIdle()
  }

  #http1 (spare?: Socket): Dispatcher {
    if (this.#plain === undefined) this.#plain = this.#options.plain(spare)
    else spare?.destroy()
    return this.#plain
  }

  #failWaiting (error: Error): void {
    for (const call of this.#waiting.splice(0)) call.fail(error)
    this.#checkIdle()
  }

  #checkIdle (): void {
    if (this.#onIdle !== undefined && this.#waiting.length === 0 && this.#sessions.every(({ streams }) => streams === 0)) this.#onIdle()
  }
}
