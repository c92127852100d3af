/** Spans of attempts, and of the parts of composites that they are made for. */
import { outcomeOfError, outcomeOfStatus } from '../outcomes.ts'
import { addressOf, attemptAttributes, partAttributes, spanName } from './attributes.ts'
import { createPropagation } from './propagation.ts'
import { exceptionOf, suppressTracing, typeOf } from './tracer.ts'
import type { Span } from '@opentelemetry/api'
import type { Part } from '../composite/part.ts'
import type { Answer, Call, CallOwner, Outcome, Send, Target } from '../types.ts'
import type { Address } from './attributes.ts'
import type { Opened, Opener, RequestTrace, TracingTools } from './tracer.ts'

export interface CallSpans {
  /** One attempt, from here to the headers of its answer. Writes `call.headers`. */
  attempt (within: RequestTrace, call: Call, target: Target, next: Send): Promise<Answer>
  /** All parts are over. */
  gathered (within: RequestTrace, parts: readonly Part[]): void
}

export function createCallSpans ({ api, config }: TracingTools, { open }: Opener): CallSpans {
  const { context: contexts, SpanKind, SpanStatusCode } = api
  const propagation = createPropagation(api)
  const addresses = new WeakMap<Target, Address>()

  function addressFor (target: Target): Address {
    let address = addresses.get(target)
    if (address === undefined) addresses.set(target, address = addressOf(target))
    return address
  }

  function partOf ({ name, startedAt }: CallOwner, within: RequestTrace): Opened {
    const parts = within.parts ??= new Map<string, Opened>()
    let part = parts.get(name)
    if (part === undefined) parts.set(name, part = open(`part ${name}`, { kind: SpanKind.INTERNAL, attributes: { 'reverseproxy.part': name } }, within.context, startedAt))
    return part
  }

  function fail (span: Span, type: string, error: Error | undefined): void {
    span.setAttribute('error.type', type)
    span.setStatus({ code: SpanStatusCode.ERROR })
    if (error !== undefined) span.recordException(exceptionOf(error))
  }

  /** What we have ended ourselves has not failed. */
  function close (span: Span, outcome: Outcome, status: number | undefined, error: Error | undefined): void {
    if (span.isRecording()) {
      span.setAttribute('reverseproxy.outcome', outcome)
      if (status !== undefined) span.setAttribute('http.response.status_code', status)
      const { code } = (error?.cause ?? {}) as { code?: unknown }
      if (typeof code === 'string') span.setAttribute('reverseproxy.cause', code)
      if (outcome !== 'ok' && outcome !== 'aborted') fail(span, status === undefined ? outcome : String(status), error)
    }
    span.end()
  }

  return {
    attempt (within, call, target, next) {
      const { owner } = call
      const parent = owner === undefined ? within.context : partOf(owner, within).context
      const resent = owner === undefined ? within.attempts++ : call.tried?.length ?? 0
      const attributes = attemptAttributes(call, target, addressFor(target), resent, config)
      const { span, context } = open(spanName(attributes), { kind: SpanKind.CLIENT, attributes }, parent)
      if (config.propagate) call.headers = propagation.headersOf(call, context)
      return contexts.with(suppressTracing(api, context), next, undefined, call).then(
        answer => {
          close(span, outcomeOfStatus(answer.status), answer.status, undefined)
          return answer
        },
        (error: Error) => {
          close(span, outcomeOfError(error), undefined, error)
          throw error
        }
      )
    },
    gathered (within, parts) {
      for (const part of parts) {
        const { span } = partOf(part, within)
        if (span.isRecording()) {
          const { state, status, error } = part
          span.setAttributes(partAttributes(part))
          if (state === 'failed') fail(span, status === undefined || status < 400 ? error === undefined ? 'failed' : typeOf(error) : String(status), error)
        }
        span.end()
      }
      within.parts = undefined
    }
  }
}
