/**
 * HTTP/2 for tests: servers of Node's, a server that writes its frames by hand, gateways that listen for HTTP/2, and a client
 * that tells how each stream ended.
 */
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { connect, createSecureServer, createServer as createHttp2Server } from 'node:http2'
import type { ClientHttp2Session, ClientSessionOptions, Http2Server, IncomingHttpHeaders, OutgoingHttpHeaders, SecureClientSessionOptions, ServerHttp2Session, ServerHttp2Stream, Settings } from 'node:http2'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import reverseproxy, { serverOptions } from '../../index.ts'
import { AUTHORITY, SIGNED } from './certificate.ts'
import { proxyAll } from './gateway.ts'
import type { Configure, GatewayOptions } from './gateway.ts'
import type { TestLike } from './time.ts'

// ---- servers

export type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

export interface Http2UpstreamOptions {
  /** Cleartext, with prior knowledge. Default: TLS with {@link SIGNED}. */
  readonly h2c?: boolean
  readonly settings?: Settings
  /** A unix socket in place of a port. */
  readonly path?: string
}

/** Backend options that reach a server of {@link http2Upstream}. */
export interface Http2Upstream {
  readonly server: Http2Server
  readonly backend: Readonly<Record<string, unknown>>
  /** Sessions ever opened, in order. */
  readonly sessions: ServerHttp2Session[]
}

export async function http2Upstream (t: TestLike, onStream: OnStream, { h2c = false, settings = {}, path }: Http2UpstreamOptions = {}): Promise<Http2Upstream> {
  const server = h2c ? createHttp2Server({ settings }) : createSecureServer({ ...SIGNED, settings })
  const sessions: ServerHttp2Session[] = []
  server.on('session', session => {
    sessions.push(session)
    session.on('error', () => {})
  })
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {})
    onStream(stream, headers)
  })
  await new Promise<void>(resolve => { if (path === undefined) server.listen(0, '127.0.0.1', resolve); else server.listen(path, resolve) })
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const target = path === undefined ? `${h2c ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix://${path}`
  return { server, sessions, backend: { url: target, http2: h2c ? 'h2c' : true, tls: { ca: AUTHORITY } } }
}

// ---- frames by hand

/** A frame (RFC 9113 section 4.1). */
export function http2Frame (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function number (value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Flag of the last frame of a message. */
export const END_STREAM = 1

/** `:status: 200`, and other fields as they are (HPACK literals). */
export function http2Head (stream: number, fields: Readonly<Record<string, string>> = {}): Buffer {
  const literals = Object.entries(fields).map(([name, value]) => Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value, 'latin1')]))
  return http2Frame(1, 4, stream, Buffer.concat([Buffer.from([0x88]), ...literals]))
}
export const http2Data = (stream: number, text: string, flags = 0): Buffer => http2Frame(0, flags, stream, Buffer.from(text))
export const http2Reset = (stream: number, code: number): Buffer => http2Frame(3, 0, stream, number(code))
export const http2Goaway = (lastStream: number, code: number): Buffer => http2Frame(7, 0, 0, Buffer.concat([number(lastStream), number(code)]))

export interface FrameUpstream {
  /** Options of a backend that reaches it. */
  readonly backend: Readonly<Record<string, unknown>>
  /** Connections ever opened. */
  readonly connections: Socket[]
  /** RST_STREAM frames that came in: their codes. */
  readonly resets: number[]
  /** Streams that the client has ended, in order. */
  readonly ended: number[]
}

/** An h2c server that greets and then does what it is told for each request whose headers arrive. */
export async function frameUpstream (t: TestLike, onRequest: (socket: Socket, stream: number, connection: number) => void): Promise<FrameUpstream> {
  const connections: Socket[] = []
  const resets: number[] = []
  const ended: number[] = []
  const server = createServer(socket => {
    const connection = connections.push(socket) - 1
    let rest = Buffer.alloc(0)
    let greeted = false
    socket.setNoDelay(true).on('error', () => {})
    socket.write(http2Frame(4, 0, 0))
    socket.on('data', piece => {
      rest = Buffer.concat([rest, piece])
      if (!greeted && rest.length >= 24) {
        greeted = true
        rest = rest.subarray(24)
      }
      if (!greeted) return
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const size = rest.readUIntBE(0, 3)
        const [type, flags, stream] = [rest[3]!, rest[4]!, rest.readUInt32BE(5)]
        if (type === 4 && (flags & 1) === 0) socket.write(http2Frame(4, 1, 0))
        if (type <= 1 && (flags & END_STREAM) !== 0) ended.push(stream)
        if (type === 1) onRequest(socket, stream, connection)
        if (type === 3) resets.push(rest.readUInt32BE(9))
        rest = rest.subarray(9 + size)
      }
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  return { backend: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: 'h2c' }, connections, resets, ended }
}

// ---- gateways and clients

export interface Http2Gateway {
  readonly app: FastifyInstance
  readonly port: number
  /** Opens a connection; the teardown closes it. */
  open (options?: SecureClientSessionOptions & ClientSessionOptions): ClientHttp2Session
}

/** A gateway that listens for HTTP/2, with or without TLS (and then for HTTP/1.1 too). */
export async function startHttp2Gateway (t: TestLike, options: GatewayOptions, { secure = false, configure = proxyAll() }: { secure?: boolean, configure?: Configure } = {}): Promise<Http2Gateway> {
  const { http, clientErrorHandler, ...rest } = serverOptions
  const app = Fastify({ ...rest, http2: true, ...(secure ? { https: { ...http, ...SIGNED, allowHTTP1: true } } : undefined) } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, { circuitBreaker: false, ...options })
  await configure(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const sessions: ClientHttp2Session[] = []
  t.teardown(async () => {
    for (const session of sessions) session.destroy()
    await app.close()
  })
  return {
    app,
    port,
    open (options = {}) {
      const session = connect(`${secure ? 'https' : 'http'}://localhost:${port}`, { lookup: (_name, _options, done) => { (done as (...args: unknown[]) => void)(null, [{ address: '127.0.0.1', family: 4 }]) }, ca: AUTHORITY, ...options } as SecureClientSessionOptions)
      session.on('error', () => {})
      sessions.push(session)
      return session
    }
  }
}

export interface Http2Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
  readonly trailers: IncomingHttpHeaders
  readonly hints: IncomingHttpHeaders[]
  /** Code that the stream was reset with; 0: it ended well. */
  readonly reset: number
}

/** Sends one request and waits for the end of its stream. A list of pieces is sent one by one, without a length. */
export async function askHttp2 (session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body?: string | Buffer | readonly string[]): Promise<Http2Answer> {
  return await new Promise(resolve => {
    const stream = session.request({ ':path': '/x', ...headers }, { endStream: body === undefined })
    const chunks: Buffer[] = []
    const hints: IncomingHttpHeaders[] = []
    let answer: IncomingHttpHeaders = {}
    let trailers: IncomingHttpHeaders = {}
    stream.on('headers', fields => { hints.push(fields) })
    stream.on('response', fields => { answer = fields })
    stream.on('trailers', fields => { trailers = fields })
    stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
    stream.on('error', () => {})
    stream.on('close', () => {
      const bytes = Buffer.concat(chunks)
      resolve({ status: answer[':status'] as unknown as number | undefined, headers: answer, body: bytes, text: bytes.toString(), trailers, hints, reset: stream.rstCode })
    })
    if (typeof body === 'string' || Buffer.isBuffer(body)) stream.end(body)
    else if (body !== undefined) {
      for (const piece of body) stream.write(piece)
      stream.end()
    }
  })
}
