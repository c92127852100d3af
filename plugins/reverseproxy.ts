/**
 * The suite: checks the options and registers the rooms, in order. No logic of its own.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { parseOptions } from '../lib/options/index.ts'
import { checkServer } from '../lib/server-options.ts'
import admin from './admin.ts'
import backends from './backends.ts'
import circuitBreaker from './circuit-breaker.ts'
import composite from './composite.ts'
import concurrency from './concurrency.ts'
import core from './core.ts'
import explain from './explain.ts'
import discovery from './discovery.ts'
import forward from './forward.ts'
import headers from './headers.ts'
import health from './health.ts'
import metrics from './metrics.ts'
import probes from './probes.ts'
import recent from './recent.ts'
import redirects from './redirects.ts'
import request from './request.ts'
import requestLog from './request-log.ts'
import retry from './retry.ts'
import routes from './routes.ts'
import shutdown from './shutdown.ts'
import tenancy from './tenancy.ts'
import tracing from './tracing.ts'
import trafficDump from './traffic-dump.ts'
import websocket from './websocket.ts'
import type { ReverseProxy } from './core.ts'
import type { GatewayOptions } from '../lib/options/index.ts'

/**
 * An API gateway for Fastify: `await app.register(reverseproxy, { backends: { users: 'http://127.0.0.1:4001' } })`.
 * Options: see {@link GatewayOptions}. @throws OptionsError (`RP_ERR_OPTIONS`) with every wrong option at once.
 */
const reverseproxy: FastifyPluginAsync<GatewayOptions> = async function reverseproxy (fastify, options) {
  await registerRooms(fastify, options)
}

async function registerRooms (fastify: FastifyInstance, options: GatewayOptions, previous?: () => ReverseProxy | undefined): Promise<void> {
  const config = parseOptions(options)
  checkServer(fastify)
  await fastify.register(core, { config, previous })
  await fastify.register(tracing)
  await fastify.register(requestLog)
  await fastify.register(trafficDump)
  await fastify.register(backends)
  await fastify.register(forward)
  await fastify.register(headers)
  await fastify.register(redirects)
  await fastify.register(retry)
  await fastify.register(concurrency)
  await fastify.register(circuitBreaker)
  await fastify.register(health)
  await fastify.register(discovery)
  await fastify.register(shutdown)
  await fastify.register(websocket)
  await fastify.register(explain)
  await fastify.register(probes)
  await fastify.register(metrics)
  await fastify.register(recent)
  await fastify.register(tenancy)
  await fastify.register(composite)
  await fastify.register(request)
  await fastify.register(admin)
  await fastify.register(routes)
}

/**
 * The same for an instance that is to take the place of another gateway in this process: when both are ready,
 * `app.reverseproxy.succeed()` takes over the state of what has not changed.
 */
export function successorOf (previous: () => ReverseProxy | undefined): FastifyPluginAsync<GatewayOptions> {
  return fp<GatewayOptions>(async (fastify, options) => { await registerRooms(fastify, options, previous) }, META) as FastifyPluginAsync<GatewayOptions>
}

const META = { name: 'reverseproxy', fastify: '5.x' }

const plugin: FastifyPluginAsync<GatewayOptions> = fp(reverseproxy, META)
export default plugin
