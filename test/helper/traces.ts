/** OpenTelemetry's real SDK with spans that stay in memory. Once per process: what it registers is global. */
import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { ReadableSpan, Sampler, SpanProcessor } from '@opentelemetry/sdk-trace-base'
import { waitFor } from './time.ts'

export interface Traces {
  /** Ended spans, in order of their ends. */
  spans (): ReadableSpan[]
  /** Those with this name. */
  named (name: string): ReadableSpan[]
  /** Spans that have begun. */
  readonly started: number
  /** Waits until so many spans have ended. */
  until (count: number): Promise<ReadableSpan[]>
  /** Forgets them. */
  reset (): void
}

/** Registers provider, context manager and propagators. */
export function startTraces (sampler?: Sampler): Traces {
  const exporter = new InMemorySpanExporter()
  let started = 0
  const counter: SpanProcessor = { onStart () { started++ }, onEnd () {}, async forceFlush () {}, async shutdown () {} }
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [counter, new SimpleSpanProcessor(exporter)], ...sampler === undefined ? undefined : { sampler } }))
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }))
  const spans = () => exporter.getFinishedSpans()
  return {
    spans,
    get started () { return started },
    named: name => spans().filter(span => span.name === name),
    async until (count) {
      await waitFor(() => spans().length >= count)
      return spans()
    },
    reset () {
      exporter.reset()
      started = 0
    }
  }
}

/** As the header has it. */
export function traceparentOf (span: ReadableSpan): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-0${traceFlags}`
}
