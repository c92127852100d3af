/**
 * Limits of requests, of the gateway and of a tenant.
 */
import { Type } from '@sinclair/typebox'
import { DEFAULTS } from '../defaults.ts'
import { object, size } from './values.ts'

export const limitsSchema = object({
  headerCount: Type.Optional(Type.Integer({ minimum: 1, default: DEFAULTS.limits.headerCount, description: 'Most header fields of a request; more is a 431.' })),
  target: Type.Optional(size({ minimum: 1, default: DEFAULTS.limits.target, description: 'Longest request target; longer is a 414.' })),
  body: Type.Optional(size({ description: 'Largest request body; larger is a 413. Default: no limit.' }))
}, { description: 'Limits of requests.' })
