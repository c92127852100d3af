/**
 * The connections of a server: those that are open, with what had been read from them when they came, and HTTP/2 sessions.
 *
 * A server whose gateway is exchanged while it runs keeps them itself: the gateway that ends it has not seen them come.
 */
import type { EventEmitter } from 'node:events'
import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'

const kConnections = Symbol.for('reverseproxy.connections')

export interface Connections {
  /** Every connection, and the bytes read from it before it could carry a request. */
  readonly sockets: ReadonlyMap<Socket, number>
  readonly sessions: ReadonlySet<ServerHttp2Session>
}

/** Those of a server from now on, or those that somebody follows already. */
export function connectionsOf (server: EventEmitter & { [kConnections]?: Connections }): Connections {
  server[kConnections] ??= follow(server)
  return server[kConnections]
}

/** `server` stands for others, whose connections these are. */
export function shareConnections (server: EventEmitter & { [kConnections]?: Connections }, connections: Connections): void {
  server[kConnections] = connections
}

/** `followed` takes up the connections of several servers. */
export function follow (server: EventEmitter, followed: { readonly sockets: Map<Socket, number>, readonly sessions: Set<ServerHttp2Session> } = { sockets: new Map(), sessions: new Set() }): Connections {
  const { sockets, sessions } = followed
  function forget (this: Socket): void {
    sockets.delete(this)
  }
  function track (socket: Socket): void {
    sockets.set(socket, socket.bytesRead)
    socket.once('close', forget)
  }
  server.on('connection', track).on('secureConnection', track)
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  return followed
}
