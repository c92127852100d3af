/**
 * What would become of a request: which route, tenant, backend and target, and why not another one. Stage: a request of its own,
 * which takes the way of all requests up to the moment where a backend would be asked. Reads: what the rooms know. Writes: nothing.
 *
 * Hooks of the app (onRequest, preHandler …) run as for a client, since they may say who the user is; the app's own handlers do
 * not. No answer is ever finished, so that nothing that counts answers counts this one.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { BadRequestError } from '../lib/errors.ts'
import { explainCall } from '../lib/explain/call.ts'
import { explainingOf, mark } from '../lib/explain/mark.ts'
import { explainPart } from '../lib/explain/part.ts'
import { makeRequest, methodProblem, pathNote, Unsent } from '../lib/explain/request.ts'
import { kPlace } from '../lib/routes/declare.ts'
import type { CallExplanation, Explanation, RequestLike } from '../lib/explain/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /**
     * What would become of such a request now: `await app.reverseproxy.explain({ url: '/api/orders/7' })`. No backend is asked, and no
     * counter, circuit or turn of a balancer moves. @throws BadRequestError for a method that Node does not know. Owner: plugins/explain.ts
     */
    explain: (request?: RequestLike) => Promise<Explanation>
    /** For hooks that are not to act on requests that are only explained (rate limits, audit logs). Owner: plugins/explain.ts */
    isExplained: (request: FastifyRequest) => boolean
  }
}

const explain: FastifyPluginAsync = async function explain (fastify) {
  const { reverseproxy } = fastify
  const { gates } = reverseproxy

  reverseproxy.isExplained = ({ raw }) => explainingOf(raw) !== undefined

  reverseproxy.explain = async function explainRequest (like = {}) {
    await fastify.ready()
    const { method = 'GET', url = '/' } = like
    const problem = methodProblem(method, fastify.supportedMethods)
    if (problem !== undefined) throw new BadRequestError(problem)
    const note = pathNote(url)
    return await new Promise<Explanation>(resolve => {
      const raw = makeRequest(like)

      function tell (explanation: Explanation): void {
        // timers of Fastify's own end with the request
        raw.emit('close')
        resolve(note === undefined ? explanation : { ...explanation, note })
      }

      function reached (kind: 'proxy' | 'composite' | 'other', request: FastifyRequest, calls: readonly CallExplanation[]): void {
        const { reverseproxy: record, routeOptions: { config, url = null } } = request
        tell({ route: { name: record?.route ?? (config as { name?: string }).name ?? url, path: url, kind }, tenant: tenantOf(request), calls })
      }

      mark(raw, {
        proxy (request, call) { reached('proxy', request, [explainCall(call, gates)]) },
        composite (request, gathering) { reached('composite', request, gathering.parts.map(part => explainPart(gathering, part, gates))) },
        other (request) { reached('other', request, []) }
      })
      fastify.routing(raw, new Unsent(raw, answered => { tell({ route: { name: null, path: null, kind: 'none' }, tenant: null, calls: [], answered }) }))
    })
  }

  fastify.addHook('onRoute', function stopBeforeHandler (route: RouteOptions) {
    const forwards = route.handler === (reverseproxy.handler as unknown) || kPlace in (route.config ?? {})
    // copied, not extended: the user's array may serve other routes too
    if (!forwards) route.onRequest = [stopHere, route.onRequest ?? []].flat() as NonNullable<RouteOptions['onRequest']>
  })
}

function stopHere (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const explaining = explainingOf(request.raw)
  if (explaining === undefined) {
    done()
    return
  }
  reply.hijack()
  explaining.other(request)
}

function tenantOf ({ reverseproxy: record }: FastifyRequest): Explanation['tenant'] {
  return record?.tenant === undefined ? null : { id: record.tenant, known: record.scope !== undefined }
}

export default fp(explain, { name: 'reverseproxy-explain', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
