/**
 * Spans of OpenTelemetry: what they are made for, and what they show.
 */
import { Type, type Static } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { object, text } from './values.ts'

const { tracing: initial } = DEFAULTS

const switched = (value: boolean, description: string) => Type.Optional(Type.Boolean({ default: value, description }))

/** What of a query is shown. */
export function shownQuery (what: string) {
  return Type.Optional(Type.Union([Type.Boolean(), Type.Array(text('filled'), { minItems: 1 })], {
    default: false,
    rule: 'must be true, false, or a list of parameters whose values may be shown',
    description: `What ${what} show of the query: false for nothing, true for the names of its parameters, a list of names for the values of these as well.`
  }))
}

export const fullTracingSchema = object({
  propagate: switched(initial.propagate, 'Whether backends are told of the trace: traceparent, tracestate and what else the propagator of the app writes.'),
  publicEndpoint: switched(initial.publicEndpoint, 'Whether clients are strangers: a trace of theirs is linked to, and not gone on with.'),
  probes: switched(initial.probes, 'Whether health checks have spans, too.'),
  query: shownQuery('spans'),
  clientAddress: switched(initial.clientAddress, 'Whether spans have the address of the client.')
}, {
  hints: { enabled: 'use tracing: true or false', sampler: 'it is an option of the SDK', sampleRate: 'it is an option of the SDK: a sampler', exporter: 'it is an option of the SDK', serviceName: 'it is an option of the SDK: a resource' },
  description: 'Spans of OpenTelemetry. Needs the package @opentelemetry/api.'
})

export const tracingSchema = Type.Union([Type.Boolean(), fullTracingSchema], {
  default: false,
  rule: 'must be true, false, or an object such as { probes: true }',
  description: 'Spans of OpenTelemetry: true, false, or an object. Needs the package @opentelemetry/api.'
})
export type TracingOptions = Static<typeof tracingSchema>
