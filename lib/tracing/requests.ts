/** Spans of requests. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isCut, outcomeOfRequest } from '../request-outcome.ts'
import { endAttributes, requestAttributes, spanName } from './attributes.ts'
import { exceptionOf, RequestTrace, typeOf } from './tracer.ts'
import type { Context, Link } from '@opentelemetry/api'
import type { Opener, TracingTools } from './tracer.ts'

export interface RequestSpans {
  /** `route`: its name; undefined: it is not known yet. `startedAt`: clock time, where it was not now. */
  begin (request: FastifyRequest, route: string | undefined, startedAt?: number): RequestTrace
  /** `error` is about to be answered. */
  failed (trace: RequestTrace, error: Error): void
  end (trace: RequestTrace, request: FastifyRequest, reply: FastifyReply, finished: boolean): void
}

interface Parent {
  readonly context: Context
  readonly links: Link[]
  /** Another instrumentation has a span for this request, and has read its headers. */
  readonly instrumented: boolean
}

export function createRequestSpans ({ api, config, tenantOf }: TracingTools, { open }: Opener): RequestSpans {
  const { context, propagation, trace, SpanKind, SpanStatusCode } = api

  function parentOf (request: FastifyRequest): Parent {
    const active = context.active()
    const around = trace.getSpanContext(active)
    if (around !== undefined && api.isSpanContextValid(around)) return { context: active, links: [], instrumented: true }
    const extracted = propagation.extract(active, request.raw.headers)
    const theirs = trace.getSpanContext(extracted)
    if (!config.publicEndpoint || theirs === undefined) return { context: extracted, links: [], instrumented: false }
    return { context: trace.deleteSpan(extracted), links: [{ context: theirs }], instrumented: false }
  }

  return {
    begin (request, route, startedAt) {
      const { context, links, instrumented } = parentOf(request)
      const attributes = requestAttributes(request, config)
      if (route !== undefined) attributes['reverseproxy.route'] = route
      const opened = open(spanName(attributes), { kind: instrumented ? SpanKind.INTERNAL : SpanKind.SERVER, attributes, links }, context, startedAt)
      return new RequestTrace(opened.context, opened.span)
    },
    failed (trace, error) {
      if (((error as { statusCode?: number }).statusCode ?? 500) < 500) return
      trace.failure = error
      if (trace.span?.isRecording() === true) trace.span.recordException(exceptionOf(error))
    },
    end ({ span, failure }, request, reply, finished) {
      if (span === undefined) return
      if (span.isRecording()) {
        const { reverseproxy: record } = request
        const { statusCode: status, headersSent } = reply.raw
        const ended = { status, headersSent, finished }
        const outcome = outcomeOfRequest(record, ended)
        span.setAttributes(endAttributes(record, ended, outcome, record === undefined ? undefined : tenantOf(record)))
        const cut = isCut(record, ended)
        if (cut || (finished && status >= 500)) {
          span.setAttribute('error.type', cut ? outcome : failure === undefined ? String(status) : typeOf(failure))
          span.setStatus({ code: SpanStatusCode.ERROR })
        }
      }
      span.end()
    }
  }
}
