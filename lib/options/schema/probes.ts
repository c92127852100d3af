/**
 * Probes: where load balancers and orchestrators ask whether the gateway lives, and whether it is ready.
 */
import { Type, type Static } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { object, text } from './values.ts'

const { probes: initial } = DEFAULTS

const place = (path: string, description: string) => Type.Optional(Type.Union([text('fixedPath'), Type.Literal(false)], {
  default: path,
  rule: 'must be a path that begins with "/", or false',
  description
}))

export const fullProbesSchema = object({
  live: place(initial.live, 'Where it says that the process can answer; false for nowhere.'),
  ready: place(initial.ready, 'Where it says whether it should get requests; false for nowhere.'),
  required: Type.Optional(Type.Array(text('filled'), {
    minItems: 1,
    description: 'Backends that must be usable for it to be ready. Default: one of all is enough.'
  }))
}, {
  hints: {
    liveness: 'did you mean "live"?',
    livenessPath: 'did you mean "live"?',
    readiness: 'did you mean "ready"?',
    readinessPath: 'did you mean "ready"?',
    backends: 'did you mean "required"?',
    enabled: 'use probes: true or false'
  },
  description: 'Where it says whether it lives and whether it is ready.'
})

export const probesSchema = Type.Union([Type.Boolean(), fullProbesSchema], {
  rule: 'must be true, false, or an object such as { ready: "/health/ready" }',
  description: 'Probes for load balancers and orchestrators: true, false, or an object. Default: true where admin is on, else false.'
})
export type ProbesOptions = Static<typeof probesSchema>
