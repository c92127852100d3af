/**
 * Tracing: spans of OpenTelemetry for requests, parts, attempts and health checks.
 *
 * Stage: a hook where a request begins, onError, the end of its answer or its connection, and the innermost layer,
 * around each attempt. Reads: the request's record, the call, the parts. Writes: `call.headers`, those of the trace.
 * Without the option there are no hooks and no layer, and the package is not loaded.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { createEndings } from '../lib/endings.ts'
import { explainingOf } from '../lib/explain/mark.ts'
import { packageVersion } from '../lib/package-version.ts'
import { forwardingName, markForwarding } from '../lib/routes/forwarding.ts'
import { createCallSpans } from '../lib/tracing/calls.ts'
import { loadApi } from '../lib/tracing/load.ts'
import { createProbeSpans } from '../lib/tracing/probes.ts'
import { createRequestSpans } from '../lib/tracing/requests.ts'
import { createOpener, RequestTrace } from '../lib/tracing/tracer.ts'
import type { TraceProbe } from '../lib/tracing/probes.ts'
import type { TracingTools } from '../lib/tracing/tracer.ts'
import type { TraceIds } from '../lib/tracing/types.ts'
import type { Call, Layer } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Ids of a request's span, if it has one that is valid. Owner: plugins/tracing.ts */
    traceOf: (request: FastifyRequest) => TraceIds | undefined
    /** Takes the place of asking a target how it is; undefined: nobody wants to see that. Owner: plugins/tracing.ts */
    traceProbe: TraceProbe | undefined
  }
}

const kTrace = Symbol('reverseproxy.trace')

type Traced = FastifyRequest & { [kTrace]?: RequestTrace | undefined }

const tracing: FastifyPluginAsync = async function tracing (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { tracing: config } } = reverseproxy
  reverseproxy.traceOf = () => undefined
  reverseproxy.traceProbe = undefined
  if (config === undefined) return
  const api = await loadApi()
  fastify.decorateRequest(kTrace, undefined)
  trace(fastify, { api, config, version: packageVersion(), clock, tenantOf: record => reverseproxy.tenantInLogs(record) })
}

function trace (fastify: FastifyInstance, tools: TracingTools): void {
  const { reverseproxy } = fastify
  const { api, config } = tools
  const opener = createOpener(tools)
  const requests = createRequestSpans(tools, opener)
  const calls = createCallSpans(tools, opener)
  const endings = createEndings<RequestTrace>((trace, request, reply, finished) => { requests.end(trace, request, reply, finished) })

  fastify.addHook('onRoute', function findForwarding (route) { markForwarding(route, reverseproxy.handler) })

  fastify.addHook('onRequest', function beginSpan (request, reply, done) {
    const nameOf = opener.ready && explainingOf(request.raw) === undefined ? forwardingName(request) : undefined
    if (nameOf === undefined) {
      done()
      return
    }
    const trace = (request as Traced)[kTrace] = requests.begin(request, nameOf(request))
    endings.begin(request, reply, trace)
    // hooks and handlers of the app find the span
    api.context.with(trace.context, done)
  })
  fastify.addHook('onError', function noteError (request, _reply, error, done) {
    const trace = (request as Traced)[kTrace]
    if (trace !== undefined) requests.failed(trace, error)
    done()
  })

  /** That of a request whose handler is the app's own begins with its first attempt. */
  function traceOf ({ request, reply, record }: Pick<Call, 'request' | 'reply' | 'record'>): RequestTrace {
    const begun = (request as Traced)[kTrace]
    if (begun !== undefined) return begun
    // a call of the app's own has no request of a client's: it belongs to what the app has active
    const own = reply.from === undefined
    const trace = (request as Traced)[kTrace] = own ? new RequestTrace(api.context.active(), undefined) : requests.begin(request, record.route, record.startedAt)
    if (!own) endings.begin(request, reply, trace)
    return trace
  }

  const layer: Layer = next => function traceAttempt (call) {
    const { target } = call
    return target === undefined || !opener.ready ? next(call) : calls.attempt(traceOf(call), call, target, next)
  }
  reverseproxy.layer('trace', layer)

  fastify.addHook('onReady', function watchParts (ready) {
    reverseproxy.gatherings?.push(gathering => { if (opener.ready) calls.gathered(traceOf(gathering), gathering.parts) })
    ready()
  })

  if (config.probes) reverseproxy.traceProbe = createProbeSpans(tools, opener)
  reverseproxy.traceOf = function idsOf (request) {
    const context = (request as Traced)[kTrace]?.span?.spanContext()
    return context !== undefined && api.isSpanContextValid(context) ? context : undefined
  }
}

export default fp(tracing, { name: 'reverseproxy-tracing', fastify: '5.x', dependencies: ['reverseproxy-core'] })
