/**
 * WebSocket peers: backends and clients that speak it (`ws`), and handshakes byte for byte.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import type { ClientOptions, ServerOptions } from 'ws'
import { requestBytes } from './messages.ts'
import type { HeaderInput, HeaderLine } from './messages.ts'
import { waitFor } from './time.ts'
import type { TestLike } from './time.ts'

/** The key of RFC 6455, section 1.3, and what it must be answered with. */
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** `Sec-WebSocket-Accept` for a key. */
export function acceptFor (key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

const HANDSHAKE: readonly HeaderLine[] = [
  ['Connection', 'Upgrade'], ['Upgrade', 'websocket'], ['Sec-WebSocket-Version', '13'], ['Sec-WebSocket-Key', KEY]
]

/** A client's handshake. `changes` replaces headers by name; undefined takes one out. */
export function handshake (target: string, changes: Readonly<Record<string, string | undefined>> = {}, more: HeaderInput = []): Buffer {
  const changed = Object.entries(changes)
  const lines: HeaderLine[] = HANDSHAKE.filter(([name]) => !changed.some(([other]) => other.toLowerCase() === name.toLowerCase()))
  for (const [name, value] of changed) if (value !== undefined) lines.push([name, value])
  return requestBytes('GET', target, { headers: [...lines, ...(Array.isArray(more) ? more as HeaderLine[] : Object.entries(more))] })
}

/** A backend's 101. */
export function switching (changes: Readonly<Record<string, string | undefined>> = {}): string {
  const headers: Record<string, string | undefined> = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Accept': ACCEPT, ...changes }
  return `HTTP/1.1 101 Switching Protocols\r\n${Object.entries(headers).flatMap(([name, value]) => value === undefined ? [] : [`${name}: ${value}\r\n`]).join('')}\r\n`
}

/** One frame. Without `mask` as a server sends it. */
export function wsFrame (opcode: number, payload: string | Buffer = '', { fin = true, mask = false, rsv1 = false } = {}): Buffer {
  const bytes = Buffer.from(payload)
  const { length } = bytes
  const size = length < 126 ? Buffer.of(length) : length < 65_536 ? Buffer.of(126, length >> 8, length & 255) : Buffer.concat([Buffer.of(127, 0, 0, 0, 0), be32(length)])
  if (mask) size[0]! |= 128
  const key = Buffer.of(1, 2, 3, 4)
  return Buffer.concat([
    Buffer.of((fin ? 128 : 0) | (rsv1 ? 64 : 0) | opcode), size,
    ...(mask ? [key, bytes.map((byte, index) => byte ^ key[index & 3]!)] : [bytes])
  ])
}

function be32 (value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export interface WsBackend {
  readonly port: number
  readonly url: string
  readonly server: Server
  readonly wss: WebSocketServer
  /** Handshakes in order. */
  readonly requests: IncomingMessage[]
  /** Open now. */
  readonly sockets: Set<WebSocket>
  /** Close codes and reasons, in the order of closing. */
  readonly closes: Array<readonly [code: number, reason: string]>
}

/** A backend that echoes every message; the test's teardown ends it. */
export async function wsBackend (t: TestLike, onSocket: (socket: WebSocket, request: IncomingMessage) => void = echo, options: ServerOptions = {}): Promise<WsBackend> {
  const server = options.server === undefined ? createServer((request, response) => { response.end(`plain ${request.method} ${request.url}`) }) : options.server as Server
  const wss = new WebSocketServer({ noServer: true, ...options, server: undefined } as ServerOptions)
  const requests: IncomingMessage[] = []
  const sockets = new Set<WebSocket>()
  const closes: Array<readonly [number, string]> = []
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    requests.push(request)
    wss.handleUpgrade(request, socket, head, ws => {
      sockets.add(ws)
      ws.on('error', () => {})
      ws.on('close', (code, reason) => {
        sockets.delete(ws)
        closes.push([code, reason.toString()])
      })
      onSocket(ws, request)
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => {
    for (const socket of sockets) socket.terminate()
    server.closeAllConnections()
    await new Promise(resolve => { server.close(resolve) })
  })
  const { port } = server.address() as AddressInfo
  return { port, url: `http://127.0.0.1:${port}`, server, wss, requests, sockets, closes }
}

export function echo (socket: WebSocket): void {
  socket.on('message', (data, binary) => { socket.send(data, { binary }) })
}

export interface WsClient {
  readonly socket: WebSocket
  /** Texts as strings, binary messages as bytes. */
  readonly messages: Array<string | Buffer>
  /** Once it is closed. */
  readonly close: readonly [code: number, reason: string] | undefined
  /** Waits for message n (from 0). */
  message (n: number, ms?: number): Promise<string | Buffer>
  /** Waits until it is closed. */
  closed (ms?: number): Promise<readonly [code: number, reason: string]>
}

/** An open client; rejects with the status of a refusal. */
export async function wsClient (t: TestLike, url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<WsClient> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, { perMessageDeflate: false, ...options })
  t.teardown(() => { socket.terminate() })
  const messages: Array<string | Buffer> = []
  let close: readonly [number, string] | undefined
  socket.on('error', () => {})
  socket.on('message', (data, binary) => { messages.push(binary ? data as Buffer : (data as Buffer).toString()) })
  socket.on('close', (code, reason) => { close = [code, reason.toString()] })
  await Promise.race([
    once(socket, 'open'),
    once(socket, 'unexpected-response').then(([, response]) => { throw Object.assign(new Error(`refused with ${(response as IncomingMessage).statusCode}`), { response }) }),
    once(socket, 'close').then(([code]) => { throw new Error(`closed with ${code}`) })
  ])
  return {
    socket,
    messages,
    get close () { return close },
    async message (n, ms) {
      if (!await waitFor(() => messages.length > n || close !== undefined, ms) || messages.length <= n) throw new Error(`no message ${n}: ${messages.length} have come, ${close === undefined ? 'open' : `closed with ${close[0]}`}`)
      return messages[n]!
    },
    async closed (ms) {
      if (!await waitFor(() => close !== undefined, ms)) throw new Error('it is still open')
      return close!
    }
  }
}
