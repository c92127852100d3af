/**
 * Calls of the app's own: `reverseproxy.request()`. Stage: before the layers, as a handler is. Reads: the configuration.
 * Writes: the call and its record.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { AbortedError, NoTargetError } from '../lib/errors.ts'
import { replacePayload } from '../lib/forward/payload.ts'
import { createRecord } from '../lib/record.ts'
import { createOwnAnswer } from '../lib/request/answer.ts'
import { createOwnCall, createOwnPlans, readAsked, ROUTE } from '../lib/request/call.ts'
import { createSource } from '../lib/request/source.ts'
import type { Asked } from '../lib/request/call.ts'
import type { OwnAnswer, OwnRequest } from '../lib/request/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /**
     * A call that no client has asked for, through the same layers: `await app.reverseproxy.request('orders', { path: '/warm-up' })`.
     * Resolves with any status. Rejects with the errors of the suite (`code`, `statusCode`): AbortedError when `signal` or a stream
     * that is the body has ended it, with its reason as `cause`. Owner: plugins/request.ts
     */
    request: (backend: string, init?: OwnRequest) => Promise<OwnAnswer>
  }
}

const request: FastifyPluginAsync = async function request (fastify) {
  const { reverseproxy } = fastify
  const { clock, deadlines, registry } = reverseproxy
  const planFor = createOwnPlans(name => registry.isKnown(name))
  let closed = false

  reverseproxy.request = async function ask (backend, init = {}) {
    const asked = readAsked(init)
    const { signal } = init
    const { stream } = asked.body
    const source = createSource({ method: asked.method, url: asked.path, headers: textsOf(asked.edits), id: init.requestId, server: fastify, log: fastify.log })
    const end = (): void => {
      signal?.removeEventListener('abort', source.leave)
      // what was not sent of it nobody wants any more
      if (stream?.readableEnded === false) stream.destroy()
    }
    if (stream !== undefined) replacePayload(source.request, stream)
    if (signal?.aborted === true) source.leave()
    else signal?.addEventListener('abort', source.leave)
    const record = createRecord(ROUTE, clock.now(), source.request, source.reply.raw)
    source.request.reverseproxy = record
    record.identified = true
    record.backend = backend
    try {
      if (closed) throw new NoTargetError({ cause: new Error('the gateway has closed') })
      if (init.tenant !== undefined) await reverseproxy.become(init.tenant, source.request, record)
      const call = createOwnCall(asked, source, record, reverseproxy.lookup(planFor(backend, asked.retry), record.scope), clock.now())
      const answer = await reverseproxy.send(call)
      return createOwnAnswer(answer, { attempts: record.attempts, backend: record.backend, idle: call.timeouts.idle, maxBytes: asked.maxBytes, deadlines, onEnd: end })
    } catch (error) {
      const { errored } = stream ?? {}
      end()
      if (signal?.aborted === true && error instanceof AbortedError) throw new AbortedError({ cause: signal.reason })
      if (errored != null && (error as { cause?: unknown }).cause === errored) throw new AbortedError({ cause: errored })
      throw error
    }
  }

  fastify.addHook('onClose', function refuseCalls (_fastify, done) {
    closed = true
    done()
  })
}

/** As an incoming request has them, for balancers and functions of the options that read some. */
function textsOf (edits: Asked['edits']): Record<string, string> {
  return Object.fromEntries(Object.entries(edits).map(([name, value]) => [name, typeof value === 'string' ? value : value.join(', ')]))
}

export default fp(request, { name: 'reverseproxy-request', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-headers', 'reverseproxy-forward', 'reverseproxy-tenancy'] })
