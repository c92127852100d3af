/**
 * The admin interface: what the gateway does, and what operators do to it, as JSON and as a page.
 *
 * Stage: routes of its own, of the app or of a server beside it; onRoute, to know the routes that forward. Reads: what the rooms
 * know. Writes: what it is told to, through the rooms. Without the option there are neither routes nor hooks.
 */
import cluster from 'node:cluster'
import Fastify, { LogController } from 'fastify'
import fp from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { AddressInfo } from 'node:net'
import { createAccess, createAdmin, createAdminServer, declareAdmin, describeAdmin, isLoopbackOnly, whyNobody } from '../lib/admin/index.ts'
import { packageVersion } from '../lib/package-version.ts'
import { serverOptions } from '../lib/server-options.ts'
import type { Address, Admin, AdminServer, Deed, Events } from '../lib/admin/index.ts'
import type { AdminConfig } from '../lib/admin/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Where the admin interface is. Owner: plugins/admin.ts */
    admin: AdminApi
    /** What a gateway that takes the place of this one ends or takes over; undefined: there is none. Owner: plugins/admin.ts */
    adminParts: HandedOn | undefined
  }
}

export interface AdminApi {
  /** Of the server of its own; undefined: there is none, or it does not listen. */
  readonly address: AddressInfo | undefined
  /** Told of every action that somebody asks this process for. Writer: who runs several processes. */
  relay: ((deed: Deed) => void) | undefined
  /** Does here what was done in another process. */
  repeat (deed: Deed): void
}

interface HandedOn {
  readonly events: Pick<Events, 'end' | 'size'>
  /** Who closes it is whose it is: the gateway that has been handed it last. */
  server: AdminServer | undefined
}

type Gateway = FastifyInstance['reverseproxy']

const DOCUMENT = 'reverseproxyAdminDocument'

const admin: FastifyPluginAsync = async function admin (fastify) {
  const { reverseproxy } = fastify
  const { config: { admin: config } } = reverseproxy
  reverseproxy.adminParts = undefined
  const api: AdminApi = reverseproxy.admin = { get address () { return reverseproxy.adminParts?.server?.address }, relay: undefined, repeat () {} }
  if (config === undefined) {
    reverseproxy.successions.push(endTheirs)
    return
  }
  const made = createAdmin({ gateway: reverseproxy, facts: factsOfProcess(), log: fastify.log, relay (deed) { api.relay?.(deed) }, wall: Date.now })
  api.repeat = made.actions.repeat
  const own: HandedOn = reverseproxy.adminParts = { events: made.events, server: undefined }
  fastify.addHook('onRoute', function noticeRoute (route) { made.routes.notice(route, reverseproxy.handler) })
  if (config.port === undefined) await showInApp(fastify, config, made)
  else showOnServer(fastify, config, made, own)
  // after that of the shutdown: who watches sees the gateway drain
  fastify.addHook('preClose', function endEvents (ended) {
    made.events.end()
    ended()
  })
  reverseproxy.successions.push(endTheirs)
}

/** Its readers come back to this one. A server that is not gone on with: its port may be wanted again. */
function endTheirs ({ adminParts: handed }: Gateway): void {
  if (handed === undefined) return
  handed.events.end()
  handed.server?.close()
  handed.server = undefined
}

function factsOfProcess () {
  return {
    version: packageVersion(),
    node: process.version,
    pid: process.pid,
    worker: cluster.worker?.id ?? null,
    startedAt: new Date(Date.now() - process.uptime() * 1_000).toISOString()
  }
}

// ---- where it is

async function showInApp (fastify: FastifyInstance, config: AdminConfig, made: Admin): Promise<void> {
  await fastify.register(async function adminRoutes (scope) {
    await declare(scope, config, made, () => fastify.addresses())
  })
  fastify.addHook('onListen', function warnOfListening (warned) {
    warn(fastify.log, config, fastify.addresses())
    warned()
  })
}

/** A gateway that takes the place of another one goes on with its server, if that listens where this one wants to. */
function showOnServer (fastify: FastifyInstance, config: AdminConfig, made: Admin, own: HandedOn): void {
  const { reverseproxy } = fastify
  const { clock, config: { shutdown } } = reverseproxy
  const { host, port } = config as AdminConfig & { port: number }
  const inner: FastifyInstance = Fastify({
    loggerInstance: fastify.log,
    logController: new LogController({ disableRequestLogging: true }),
    // names of backends may be long
    routerOptions: serverOptions.routerOptions
  })
  inner.register(async function adminRoutes (scope) {
    await declare(scope, config, made, () => own.server?.address ?? [])
  })
  const answer = (...args: Parameters<AdminServer['answer']>): void => { inner.routing(...args) }
  const { server: theirs } = reverseproxy.previous?.adminParts ?? {}
  const goesOn = theirs !== undefined && theirs.host === host && theirs.port === port

  fastify.addHook('onReady', async function listen () {
    await inner.ready()
    if (goesOn) return
    const server = createAdminServer({ host, port }, answer)
    await server.listen()
    own.server = server
    const { address, family, port: found } = server.address!
    fastify.log.info(`the admin interface is at http://${family === 'IPv6' ? `[${address}]` : address}:${found}${config.prefix}`)
    warn(fastify.log, config, [server.address!])
  })
  if (goesOn) {
    reverseproxy.successions.push(({ adminParts: handed }) => {
      own.server = handed!.server
      own.server!.answer = answer
      handed!.server = undefined
    })
  }
  fastify.addHook('onClose', async function closeServer () {
    const { server } = own
    const timer = clock.setTimeout(() => { server?.cut() }, shutdown.timeout)
    await server?.close()
    clock.clearTimeout(timer)
    await inner.close()
  })
}

async function declare (scope: FastifyInstance, config: AdminConfig, made: Admin, addresses: () => Address | readonly Address[]): Promise<void> {
  const { default: swagger } = await import('@fastify/swagger')
  await scope.register(swagger, describeAdmin({ version: packageVersion(), token: config.token !== undefined }, DOCUMENT) as object)
  const access = createAccess({ token: config.token, guarded: config.preHandler.length > 0, addresses: () => [addresses()].flat() })
  const document = scope.getDecorator<() => unknown>(DOCUMENT)
  declareAdmin(scope, { admin: made, config, access, document })
}

function warn (log: FastifyBaseLogger, config: AdminConfig, addresses: readonly Address[]): void {
  const why = whyNobody(config, isLoopbackOnly(addresses))
  if (why !== undefined) log.warn(why)
}

export default fp(admin, {
  name: 'reverseproxy-admin',
  fastify: '5.x',
  dependencies: [
    'reverseproxy-core', 'reverseproxy-traffic-dump', 'reverseproxy-backends', 'reverseproxy-forward', 'reverseproxy-circuit-breaker', 'reverseproxy-health',
    'reverseproxy-discovery', 'reverseproxy-shutdown', 'reverseproxy-websocket', 'reverseproxy-explain', 'reverseproxy-metrics', 'reverseproxy-tenancy'
  ]
})
