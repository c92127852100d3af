/**
 * Metrics: what is counted, and where it is shown.
 *
 * Stage: a hook where a request begins, the end of its answer or its connection, a layer around each attempt,
 * an observer of outcomes. Reads: the request's record, outcomes, and at a scrape the state of the other rooms. Writes
 * nothing that others read. Without the option there are no hooks and no layer.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Registry } from 'prom-client'
import { createMetering, createMetricsServer } from '../lib/metrics/index.ts'
import { createRequests } from '../lib/metrics/tracking.ts'
import { packageVersion } from '../lib/package-version.ts'
import { markForwarding } from '../lib/routes/forwarding.ts'
import type { DiscoverySample, Metering, MetricsConfig, MetricsServer, MetricsSnapshot, Source } from '../lib/metrics/index.ts'
import type { Layer } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Numbers of what happens. Owner: plugins/metrics.ts */
    metrics: MetricsApi
    /** What is handed on to a gateway that takes the place of this one; undefined: nothing is counted. Owner: plugins/metrics.ts */
    metering: HandedOn | undefined
  }
}

export interface MetricsApi {
  /** prom-client's; metrics of your own may be in it, too. undefined: metrics are off. */
  readonly registry: Registry | undefined
  /** Port of the server of its own; undefined: there is none, or it does not listen. */
  readonly port: number | undefined
  /** What was counted since the start or the last `reset()`, as numbers. @throws Error while metrics are off */
  snapshot (): MetricsSnapshot
  /** Snapshots begin anew; counters of Prometheus go on. @throws Error while metrics are off */
  reset (): void
  /** A new configuration was refused and this one stays. Nothing while metrics are off. */
  reloadFailed (): void
}

type Gateway = FastifyInstance['reverseproxy']

interface HandedOn {
  readonly metering: Metering
  /** Who closes it is whose it is: the gateway that has been handed it last. */
  server: MetricsServer | undefined
}

const metrics: FastifyPluginAsync = async function metrics (fastify) {
  const { reverseproxy } = fastify
  const { config: { metrics: config, tenancy }, previous } = reverseproxy
  if (config === undefined) {
    reverseproxy.metering = undefined
    reverseproxy.metrics = { registry: undefined, port: undefined, snapshot: off, reset: off, reloadFailed () {} }
    reverseproxy.successions.push(closeTheirs)
    return
  }
  const before = previous?.metering
  const goesOn = before?.metering.fits(config) === true
  const metering = goesOn ? before.metering : createMetering(config, { version: packageVersion(), now: Date.now })
  const own: HandedOn = { metering, server: undefined }
  const source = sourceOf(reverseproxy)

  function start (before: HandedOn | undefined): void {
    if (!goesOn) metering.register(before?.metering)
    if (config?.defaultMetrics === true) metering.addProcess()
    metering.requests.expectTenants(tenancy?.labels ?? 0)
    metering.enter(source)
    metering.events.loaded(Date.now(), before !== undefined)
  }

  if (previous === undefined) start(undefined)
  else {
    // now, and not when it is too late to refuse the change
    if (!goesOn) metering.check(before?.metering)
    reverseproxy.successions.push(({ metering: handed }) => { start(handed) })
  }
  fastify.addHook('onClose', function leave (_fastify, left) {
    metering.leave(source)
    left()
  })

  reverseproxy.metering = own
  reverseproxy.metrics = {
    registry: metering.registry,
    get port () { return own.server?.address?.port },
    snapshot: () => metering.snapshot(),
    reset () { metering.reset() },
    reloadFailed () { metering.events.loadFailed() }
  }
  count(fastify, config, metering)
  if (config.path !== undefined) {
    if (config.port === undefined) showAsRoute(fastify, config.path, metering.registry)
    else showOnServer(fastify, config, own)
  }
  reverseproxy.successions.push(closeTheirs)
}

// ---- counting

function count (fastify: FastifyInstance, config: MetricsConfig, { requests, attempts, events }: Metering): void {
  const { reverseproxy } = fastify
  const { begin, adopt } = createRequests({ requests, now: () => reverseproxy.clock.now(), tenants: config.tenants && reverseproxy.config.tenancy !== undefined })

  fastify.addHook('onRoute', function countRequests (route: RouteOptions) {
    const { name = route.url } = (route.config ?? {}) as { name?: string }
    const label = markForwarding(route, reverseproxy.handler) ?? (config.allRoutes && !isAdmin(route.url) ? () => name : undefined)
    if (label === undefined) return
    // the first one, so that refusals of the others are counted; copied, not extended: the user's array may serve other routes too
    route.onRequest = [(request: FastifyRequest, reply: FastifyReply, done: () => void) => { begin(request, reply, label); done() }, route.onRequest ?? []].flat() as NonNullable<RouteOptions['onRequest']>
  })
  /** Who looks at the gateway is no part of what is looked at. */
  function isAdmin (url: string): boolean {
    const { admin } = reverseproxy.config
    return admin !== undefined && admin.port === undefined && (url === admin.prefix || url.startsWith(`${admin.prefix}/`))
  }

  if (config.allRoutes) {
    fastify.addHook('onRequest', function countUnknown (request, reply, done) {
      if (request.is404) begin(request, reply, () => 'none')
      done()
    })
  }

  const layer: Layer = next => function countRejected (call) {
    const answer = next(call)
    // nearly all have left by now, and a promise of their own would be the dearest part of counting them
    if (call.attempt !== undefined) return answer
    // beside it: who waits for the answer does not wait for this
    answer.catch((error: unknown) => { if (call.attempt === undefined) attempts.rejected(call.backend.name, error) })
    return answer
  }
  reverseproxy.layer('count', layer)
  reverseproxy.observers.push(function countAttempt (attempt, call, target) {
    attempts.left(attempt, call, target)
    // a handler of the app's own has forwarded it
    adopt(call.request, call.reply)
  })
  reverseproxy.breakerChanges.push((name, state) => { events.breaker(name, state) })
  fastify.addHook('onReady', function watchParts (ready) {
    reverseproxy.gatherings.push(({ plan, parts }) => {
      for (const { name, state } of parts) events.part(plan.name, name, state ?? 'failed')
    })
    ready()
  })
  reverseproxy.registry.watch(({ scope }, gone) => { if (scope === '' && gone.length > 0) reverseproxy.metering!.metering.prune() })
}

// ---- showing

function showAsRoute (fastify: FastifyInstance, path: string, registry: Registry): void {
  fastify.get(path, { logLevel: 'warn', exposeHeadRoute: true, schema: { hide: true } as object }, async function showMetrics (_request, reply) {
    reply.type(registry.contentType)
    return await registry.metrics()
  })
}

/** A gateway that takes the place of another one goes on with its server, if that listens where this one wants to. */
function showOnServer (fastify: FastifyInstance, config: MetricsConfig, own: HandedOn): void {
  const { reverseproxy } = fastify
  const { path, port, host } = config as MetricsConfig & { path: string, port: number }
  const { server: theirs } = reverseproxy.previous?.metering ?? {}
  if (theirs !== undefined && theirs.host === host && theirs.port === port) {
    reverseproxy.successions.push(({ metering: handed }) => {
      own.server = theirs
      theirs.path = path
      theirs.registry = own.metering.registry
      handed!.server = undefined
    })
  } else {
    fastify.addHook('onReady', async function listen () {
      const server = createMetricsServer({ host, port, path }, own.metering.registry)
      await server.listen()
      own.server = server
      fastify.log.info(`metrics are at http://${host}:${server.address!.port}${path}`)
    })
  }
  fastify.addHook('onClose', async function closeServer () {
    await own.server?.close()
  })
}

/** A server that is not gone on with: its port may be wanted again before the last request of its gateway has ended. */
function closeTheirs ({ metering: handed }: Gateway): void {
  if (handed?.server === undefined) return
  handed.server.close()
  handed.server = undefined
}

function sourceOf (reverseproxy: Gateway): Source {
  return {
    registry: reverseproxy.registry,
    health: backend => reverseproxy.health.status(backend),
    websockets: () => reverseproxy.websockets.size,
    eventStreams: () => reverseproxy.eventStreams.size,
    discovery: () => discovered(reverseproxy),
    dump: () => (reverseproxy as Partial<Gateway>).dumping?.writer
  }
}

/** Of a room that need not be there; what tenants have of their own is not shown. */
function discovered (reverseproxy: Partial<Pick<Gateway, 'discovery'>>): DiscoverySample[] {
  return reverseproxy.discovery?.status().filter(({ scope }) => scope === '').map(({ backend, targets, fault }) => ({ backend, targets, fault: fault !== undefined })) ?? []
}

function off (): never {
  throw new Error('there are no metrics: set the option "metrics" of the gateway')
}

export default fp(metrics, {
  name: 'reverseproxy-metrics',
  fastify: '5.x',
  dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward', 'reverseproxy-circuit-breaker', 'reverseproxy-health', 'reverseproxy-websocket']
})
