/**
 * The end without losses. Stage: preClose. Writes: `reverseproxy.closing`.
 *
 * Fastify closes idle connections once, when closing begins. Those of requests that still run would stay open until
 * their keep-alive time is over, and the server with them: their answers say `Connection: close`, and those
 * whose headers were out before are closed when they fall idle.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import type { Server } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'

/** How often connections that have become idle are looked for, ms. */
const SWEEP = 50

const shutdown: FastifyPluginAsync = async function shutdown (fastify) {
  const { reverseproxy } = fastify

  const sessions = new Set<ServerHttp2Session>()
  fastify.server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })

  fastify.addHook('preClose', async function beginClosing () {
    reverseproxy.closing = true
    // GOAWAY: streams under way finish, new ones do not begin
    for (const session of sessions) session.close()
    const server = fastify.server as Partial<Server>
    if (server.listening !== true || server.closeIdleConnections === undefined) return
    const sweep = setInterval(() => { server.closeIdleConnections?.() }, SWEEP).unref()
    server.once?.('close', () => { clearInterval(sweep) })
  })
}

export default fp(shutdown, { name: 'reverseproxy-shutdown', fastify: '5.x', dependencies: ['reverseproxy-core'] })
