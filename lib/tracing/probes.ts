/** Spans of health checks. */
import { addressOf, probeAttributes } from './attributes.ts'
import { suppressTracing } from './tracer.ts'
import type { Span } from '@opentelemetry/api'
import type { ProbeResult } from '../health/index.ts'
import type { Probe } from '../health/probe.ts'
import type { HealthConfig } from '../resilience/types.ts'
import type { Backend, Target } from '../types.ts'
import type { Opener, TracingTools } from './tracer.ts'

/** What is asked, and whom. */
export interface Probed {
  readonly config: HealthConfig
  readonly target: Target
  readonly backend: Backend
}

/** Asks as `ask` does. */
export type TraceProbe = (ask: Probe['ask'], done: (result: ProbeResult) => void, probed: Probed) => { cancel (): void }

/** A trace of its own for each: nobody has asked for it. */
export function createProbeSpans ({ api, config: { propagate } }: TracingTools, opener: Opener): TraceProbe {
  const { context: contexts, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode } = api

  function end (span: Span, { status, ok }: Pick<ProbeResult, 'status' | 'ok'>, type: string): void {
    if (span.isRecording()) {
      if (status !== undefined) span.setAttribute('http.response.status_code', status)
      if (!ok) {
        span.setAttribute('error.type', status === undefined ? type : String(status))
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
    }
    span.end()
  }

  return function traceProbe (ask, done, { config, target, backend }) {
    if (!opener.ready) return ask(done)
    const { span, context } = opener.open(`${config.method} health check`, { kind: SpanKind.CLIENT, attributes: probeAttributes(config, target, backend, addressOf(target)) }, ROOT_CONTEXT)
    const headers: Record<string, string> = {}
    if (propagate) propagation.inject(context, headers)
    const asked = contexts.with(suppressTracing(api, context), () => ask(result => {
      end(span, result, 'connect-error')
      done(result)
    }, headers))
    return {
      // whoever cancels it has waited long enough
      cancel () {
        end(span, { ok: false }, 'timeout')
        asked.cancel()
      }
    }
  }
}
