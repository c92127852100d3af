/**
 * Finds the tracer and opens spans.
 *
 * While no SDK is registered there is nothing but the question whether there is one now.
 */
import type { Context, Exception, Span, SpanOptions } from '@opentelemetry/api'
import type { Clock } from '../deadlines.ts'
import type { RequestRecord } from '../types.ts'
import type { Api } from './load.ts'
import type { TracingConfig } from './types.ts'

export interface TracingTools {
  readonly api: Api
  readonly config: TracingConfig
  /** Of the package, for the name of the tracer. */
  readonly version: string
  readonly clock: Pick<Clock, 'now'>
  tenantOf (record: RequestRecord): string | undefined
}

/** A span, and the context that its children begin in. */
export interface Opened { readonly span: Span, readonly context: Context }

export interface Opener {
  /** Whether an SDK listens. */
  readonly ready: boolean
  /** Begins a span. Not before `ready`. `startedAt`: clock time, where it was not now. */
  open (name: string, options: SpanOptions, parent: Context, startedAt?: number): Opened
}

/** A request that is traced. A class, as there is one per request. Its context is kept here: timers and queues would lose it. */
export class RequestTrace {
  /** Attempts of calls that are no part's. Writer: lib/tracing/calls.ts */
  attempts = 0
  /** Parts that have begun, by name. Writer: lib/tracing/calls.ts */
  parts: Map<string, Opened> | undefined = undefined
  /** What is answered, where it is an error of the gateway or the app. Writer: lib/tracing/requests.ts */
  failure: Error | undefined = undefined

  /** `span` undefined: a request of the app's own, whose span is the app's. */
  constructor (readonly context: Context, readonly span: Span | undefined) {}
}

const TRACER = 'fastify-reverseproxy'

type Tracer = ReturnType<Api['trace']['getTracer']>

export function createOpener ({ api: { trace }, version, clock }: Pick<TracingTools, 'api' | 'version' | 'clock'>): Opener {
  let tracer: Tracer | undefined

  function find (): Tracer | undefined {
    const provider = trace.getTracerProvider()
    return 'getDelegateTracer' in provider ? (provider as InstanceType<Api['ProxyTracerProvider']>).getDelegateTracer(TRACER, version) : provider.getTracer(TRACER, version)
  }

  return {
    get ready () { return (tracer ??= find()) !== undefined },
    open (name, options, parent, startedAt) {
      const span = tracer!.startSpan(name, startedAt === undefined ? options : { ...options, startTime: Date.now() - (clock.now() - startedAt) }, parent)
      return { span, context: trace.setSpan(parent, span) }
    }
  }
}

/**
 * All packages of OpenTelemetry know this: within it, an instrumented client makes no span of its own, and writes no headers besides
 * ours. Source: `suppressTracing` of @opentelemetry/core.
 */
export function suppressTracing (api: Api, context: Context): Context {
  return context.setValue(api.createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING'), true)
}

/** Few values only: the error's code, else its name. */
export function typeOf (error: Error): string {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : error.name
}

/** Our own errors have texts of few values; what others say may hold anything. Never a stack, nor a cause. */
export function exceptionOf (error: Error): Exception {
  const code = typeOf(error)
  return { code, name: error.name, message: code.startsWith('RP_ERR_') ? error.message : '' }
}
