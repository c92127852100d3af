/**
 * What a server does with requests that ask for another protocol: they go through Fastify's routing like all others.
 *
 * A server with a listener for upgrades gives it all of them, so it must answer all of them: also those for routes that
 * know nothing of WebSockets, and those for protocols that nobody here speaks, whose wish is to be ignored (RFC 9110
 * section 7.8). Other listeners may be there, such as that of @fastify/websocket, which gives every upgrade to Fastify as well. Each
 * request is given to Fastify once.
 */
import { ServerResponse } from 'node:http'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../deadlines.ts'
import { connectionTokens } from '../headers/names.ts'
import { clientSocketOf, keepClientSocket } from './client-socket.ts'
import { asksForWebSocket } from './handshake.ts'

const kInstalled = Symbol.for('reverseproxy.upgrades')

/** What Node keeps of the answer that a socket is in use for. */
type AnsweringSocket = Socket & { _httpMessage?: ServerResponse | null, encrypted?: boolean }

export interface ListenerTools {
  /** Fastify's way to a route. */
  readonly route: RequestListener
  readonly clock: Pick<Clock, 'setTimeout'>
}

/** Once per server, however many gateways it has. Call it when all others have added their listeners. */
export function listenForUpgrades (server: Server & { [kInstalled]?: boolean }, { route, clock }: ListenerTools): void {
  if (server[kInstalled] === true) return
  server[kInstalled] = true

  // first: whoever routes the request, its socket is known by then
  server.prependListener('upgrade', function keepSocket (raw: IncomingMessage, socket: AnsweringSocket, head: Buffer) {
    keepClientSocket(raw, socket, head, clock)
  })

  // last: whoever wanted it has it by now
  server.on('upgrade', function routeUpgrade (raw: IncomingMessage, socket: AnsweringSocket, head: Buffer) {
    const earlier = socket._httpMessage ?? undefined
    if (earlier !== undefined) {
      // that of this request: somebody else has routed it
      if (earlier.req !== raw) earlier.once('close', () => { waitForTurn(raw, socket, head) })
    } else if (socket.bytesWritten === clientSocketOf(raw)!.written && !socket.writableEnded) {
      begin(raw, socket, head)
    }
  })

  /** Requests before it on the connection are still being answered. */
  function waitForTurn (raw: IncomingMessage, socket: AnsweringSocket, head: Buffer): void {
    const earlier = socket._httpMessage ?? undefined
    if (earlier === undefined) begin(raw, socket, head)
    else earlier.once('close', () => { waitForTurn(raw, socket, head) })
  }

  function begin (raw: IncomingMessage, socket: AnsweringSocket, head: Buffer): void {
    if (socket.destroyed || socket.writableEnded) return
    if (!asksForWebSocket(raw)) {
      ignoreUpgrade(server, raw, socket, head)
      return
    }
    const response = new ServerResponse(raw)
    response.assignSocket(socket)
    clientSocketOf(raw)!.answerWith(response)
    route(raw, response)
  }
}

/** The same request once more, without the wish: it may have a body, and others may come after it. */
function ignoreUpgrade (server: Server, raw: IncomingMessage, socket: AnsweringSocket, head: Buffer): void {
  const lines: string[] = []
  for (let i = 0; i < raw.rawHeaders.length; i += 2) {
    const name = raw.rawHeaders[i]!
    const value = raw.rawHeaders[i + 1]!
    switch (name.toLowerCase()) {
      case 'upgrade':
      case 'http2-settings': break
      case 'connection': lines.push(`${name}: ${connectionTokens(value).filter(token => token !== 'upgrade' && token !== 'http2-settings').join(', ')}`); break
      default: lines.push(`${name}: ${value}`)
    }
  }
  if (head.length > 0) socket.unshift(head)
  socket.unshift(Buffer.from(`${raw.method} ${raw.url} HTTP/${raw.httpVersion}\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
  server.emit(socket.encrypted === true ? 'secureConnection' : 'connection', socket)
}
