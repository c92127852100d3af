/**
 * The end without losses. Stage: preClose. Writes: `reverseproxy.closing`.
 *
 * First the gateway says that it is on its way down, and still takes requests for `shutdown.delay`: load balancers have
 * time to notice, and connections end with their answers (`Connection: close`). Then no new connections; what runs may
 * finish within `shutdown.timeout`; what is left then is cut. Event streams whose readers come back end with their next event.
 *
 * Connections fall idle with their last answer, and are closed then. Two things Node would do are kept from it: a connection
 * that never carried a request would stay open, and one whose answer a slow reader has yet to take in full would be closed.
 */
import fp from 'fastify-plugin'
import { constants } from 'node:http2'
import { connectionsOf } from '../lib/connections.ts'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Server } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'

declare module './core.ts' {
  interface ReverseProxy {
    /**
     * `app.close()` with the whole of `shutdown.delay` before it, also where Fastify's own `return503OnClosing` is on (it answers
     * 503 from the moment `app.close()` is called; `serverOptions` switch it off, and then `app.close()` does all of it).
     */
    shutdown (): Promise<void>
  }
}

/** How long a connection may be idle while the gateway closes, ms: time for a request that is on its way already. */
const IDLE_TIME = 50

/** What servers have in part only: HTTP/2 ones lack the one, older versions of Node the other. */
type AnyServer = Partial<Pick<Server, 'closeIdleConnections' | 'keepAliveTimeout'> & { keepAliveTimeoutBuffer: number }>

const shutdown: FastifyPluginAsync = async function shutdown (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { shutdown: { delay, timeout } } } = reverseproxy
  let announced: Promise<void> | undefined
  let ending = false

  const { sockets: connections, sessions } = connectionsOf(fastify.server)
  fastify.server.on('session', (session: ServerHttp2Session) => {
    // its connection was accepted at the last moment
    if (ending) session.close()
  })

  /** Says that the end is near, and waits until everyone has had the time to hear it. */
  function announce (): Promise<void> {
    reverseproxy.closing = true
    announced ??= delay > 0 && fastify.server.listening ? new Promise(resolve => { clock.setTimeout(resolve, delay) }) : Promise.resolve()
    return announced
  }

  // answers are told by who delivers them; errors may come from anywhere
  fastify.addHook('onError', function sayClose (request: FastifyRequest, reply: FastifyReply, _error: Error, said: () => void) {
    if (reverseproxy.closing && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    said()
  })

  fastify.addHook('preClose', async function beginClosing () {
    await announce()
    if (!fastify.server.listening) return
    ending = true
    // GOAWAY: streams under way finish, new ones do not begin
    for (const session of sessions) session.close()
    // they would never finish; their readers come back, and find another copy of the gateway
    reverseproxy.eventStreams.end()
    closeWhenIdle(fastify.server as AnyServer, connections)
    const end = clock.setTimeout(() => {
      fastify.log.warn(`requests were still running ${timeout} ms after the gateway began to close: they are cut`)
      // with no error it would look like a clean end
      for (const session of sessions) session.destroy(new Error('the gateway has closed'), constants.NGHTTP2_CANCEL)
      // theirs have a moment to say so
      setImmediate(() => { for (const socket of connections.keys()) socket.destroy() })
    }, timeout)
    fastify.server.once('close', () => { clock.clearTimeout(end) })
  })

  reverseproxy.shutdown = async () => {
    await announce()
    await fastify.close()
  }
}

/** The server closes idle connections as it closes; those that fall idle later by their keep-alive time. */
function closeWhenIdle (server: AnyServer, connections: ReadonlyMap<Socket, number>): void {
  server.keepAliveTimeout = IDLE_TIME
  server.keepAliveTimeoutBuffer = 0
  // Node takes a connection without a byte for one whose request is just arriving
  for (const [socket, before] of connections) if (socket.bytesRead === before) socket.destroy()
  const { closeIdleConnections } = server
  if (closeIdleConnections === undefined) return
  // and an answer for sent when its socket has it, though a slow reader may not
  server.closeIdleConnections = function closeThoseWithNothingLeft () {
    const sending = [...connections.keys()].filter(({ writableLength }) => writableLength > 0)
    for (const socket of sending) socket.destroy = () => socket
    closeIdleConnections.call(server)
    for (const socket of sending) delete (socket as Partial<Socket>).destroy
  }
}

export default fp(shutdown, { name: 'reverseproxy-shutdown', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-forward'] })
