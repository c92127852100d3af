/**
 * The gateway: what `gateway.yaml` says, and what needs code.
 */
import underPressure from '@fastify/under-pressure'
import Fastify, { LogController } from 'fastify'
import type { FastifyInstance } from 'fastify'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import reverseproxy from '../index.ts'
import { loadConfigFile } from '../lib/config-file.ts'

const FILE = fileURLToPath(new URL('gateway.yaml', import.meta.url))
const PAGE = new URL('live.html', import.meta.url)
/** The page has all it needs in itself, and talks to nobody but the gateway. */
const PAGE_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export interface Gateway {
  readonly app: FastifyInstance
  /** Where the file wants it to listen. */
  readonly address: { readonly host: string, readonly port: number }
}

/** Makes the gateway without listening. `env` fills in the `${…}` of the file. */
export async function buildGateway (env: NodeJS.ProcessEnv = process.env): Promise<Gateway> {
  const { server: { host, port, fastify }, gateway } = await loadConfigFile(FILE, env)
  // The gateway has one line for each request, in place of Fastify's two.
  const app = Fastify({ ...fastify, logController: new LogController({ disableRequestLogging: true }) })
  // When the gateway itself has too much to do, it says so (503) instead of getting slower and slower.
  await app.register(underPressure, { maxEventLoopDelay: 1_000, maxEventLoopUtilization: 0.98, retryAfter: 5 })
  await app.register(reverseproxy, gateway)

  // Forwarding from inside a handler: whose data it is decides where the request goes.
  app.get('/api/me', async (request, reply) => {
    const user = request.headers['x-user-id']
    if (typeof user !== 'string') return reply.code(401).send({ message: 'who are you? Send x-user-id' })
    return reply.proxy('users', { path: `/users/${encodeURIComponent(user)}`, headers: { 'x-user-id': undefined } })
  })

  // A route with its own changes: what the backend gets, and what the client gets.
  app.get('/api/cached/products', {
    proxy: {
      backend: 'products',
      rewrite: { stripPrefix: '/api/cached' },
      modifyRequest (draft) {
        draft.headers.set('accept-language', 'en')
      },
      modifyResponse (draft) {
        if (draft.status === 200) draft.headers.set('cache-control', 'public, max-age=60')
      }
    }
  }, app.reverseproxy.handler)

  // A page of the gateway's own, which shows WebSockets and events.
  const page = await readFile(PAGE)
  app.get('/live', async (_request, reply) => {
    reply.headers({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache', 'content-security-policy': PAGE_POLICY })
    return page
  })

  return { app, address: { host, port } }
}
