/**
 * The line that each request has in the log.
 */
import { Type, type Static } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { shownQuery } from './tracing.ts'
import { duration, object, words } from './values.ts'

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const

const level = (description: string, initial?: false) => Type.Optional(Type.Union([words(LEVELS), Type.Literal(false)], {
  ...initial === undefined ? undefined : { default: initial },
  rule: `must be false, or one of ${LEVELS.join(', ')}`,
  description
}))

export const logSchema = object({
  requests: level('Level of the line that each request has; false for no such lines.', DEFAULTS.log.requests),
  failures: level('Level of the line of requests that have failed: 5xx, and answers that were broken off; false for none. Default: that of the others.'),
  slow: Type.Optional(duration({ default: DEFAULTS.log.slow, description: 'Only requests that took this long or longer have a line, besides those that have failed.' })),
  query: shownQuery('lines'),
  clientAddress: Type.Optional(Type.Boolean({ default: DEFAULTS.log.clientAddress, description: 'Whether lines have the address of the client.' }))
}, {
  hints: { level: 'did you mean "requests"?', request: 'did you mean "requests"?', errors: 'did you mean "failures"?', slowRequests: 'did you mean "slow"?', redact: 'lines have no headers and no bodies; redact of Fastify\'s logger takes out the rest' },
  description: 'The line that each request has in the log.'
})
export type LogOptions = Static<typeof logSchema>
