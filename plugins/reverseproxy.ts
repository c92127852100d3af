/**
 * The suite: checks the options and registers the rooms, in order. No logic of its own.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { parseOptions } from '../lib/options/index.ts'
import { checkServer } from '../lib/server-options.ts'
import backends from './backends.ts'
import circuitBreaker from './circuit-breaker.ts'
import composite from './composite.ts'
import concurrency from './concurrency.ts'
import core from './core.ts'
import forward from './forward.ts'
import headers from './headers.ts'
import health from './health.ts'
import redirects from './redirects.ts'
import retry from './retry.ts'
import routes from './routes.ts'
import shutdown from './shutdown.ts'
import tenancy from './tenancy.ts'
import websocket from './websocket.ts'
import type { GatewayOptions } from '../lib/options/index.ts'

/**
 * An API gateway for Fastify: `await app.register(reverseproxy, { backends: { users: 'http://127.0.0.1:4001' } })`.
 * Options: see {@link GatewayOptions}. @throws OptionsError (`RP_ERR_OPTIONS`) with every wrong option at once.
 */
const reverseproxy: FastifyPluginAsync<GatewayOptions> = async function reverseproxy (fastify, options) {
  const config = parseOptions(options)
  checkServer(fastify)
  await fastify.register(core, { config })
  await fastify.register(backends)
  await fastify.register(forward)
  await fastify.register(headers)
  await fastify.register(redirects)
  await fastify.register(retry)
  await fastify.register(concurrency)
  await fastify.register(circuitBreaker)
  await fastify.register(health)
  await fastify.register(shutdown)
  await fastify.register(websocket)
  await fastify.register(tenancy)
  await fastify.register(composite)
  await fastify.register(routes)
}

export default fp(reverseproxy, { name: 'reverseproxy', fastify: '5.x' })
