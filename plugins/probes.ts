/**
 * Probes: where load balancers and orchestrators ask whether the gateway lives, and whether it is ready.
 *
 * Stage: routes of their own, which nothing of the gateway acts on: they are not forwarded, counted, logged or anybody's. Reads:
 * backends, their health and circuits, `closing`. Writes nothing that others read. Without the option there are no routes.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { createReadiness } from '../lib/probes/readiness.ts'
import type { Readiness } from '../lib/probes/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /**
     * Whether the gateway should get requests now, and why not. Not while it closes, from the first moment of `shutdown.delay` on; not
     * without the backends of `probes.required`, or without them when no backend can be used. Owner: plugins/probes.ts
     */
    readiness: () => Readiness
  }
}

const LIVE = JSON.stringify({ status: 'ok' })
const READY = JSON.stringify({ status: 'ready' })

const probes: FastifyPluginAsync = async function probes (fastify) {
  const { reverseproxy } = fastify
  const { config, registry, health } = reverseproxy
  const readiness = reverseproxy.readiness = createReadiness({
    config,
    registry,
    health: (target, backend) => health.reason(target, backend),
    isClosing: () => reverseproxy.closing
  })

  function answer (request: FastifyRequest, reply: FastifyReply, status: number, body: string): FastifyReply {
    // a probe's connection must not be what the end waits for
    if (reverseproxy.closing && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    return reply.code(status).header('cache-control', 'no-store').type('application/json; charset=utf-8').send(body)
  }

  function tellLive (request: FastifyRequest, reply: FastifyReply): FastifyReply {
    return answer(request, reply, 200, LIVE)
  }

  function tellReady (request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { ready, reasons } = readiness()
    return ready ? answer(request, reply, 200, READY) : answer(request, reply, 503, JSON.stringify({ status: 'not-ready', reasons }))
  }

  // rate limits of the app are for its clients
  const options = { logLevel: 'warn', exposeHeadRoute: true, schema: { hide: true } as object, config: { rateLimit: false } as object } as const
  const { live, ready } = config.probes ?? {}
  if (live !== undefined) fastify.get(live, options, tellLive)
  if (ready !== undefined) fastify.get(ready, options, tellReady)
}

export default fp(probes, { name: 'reverseproxy-probes', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-health'] })
