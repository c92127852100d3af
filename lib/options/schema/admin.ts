/**
 * The admin interface: where it is, and who may come in.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { preHandlerHookHandler } from 'fastify'
import { DEFAULTS } from '../defaults.ts'
import { fn, object, text } from './values.ts'

const { admin: initial } = DEFAULTS

export const fullAdminSchema = object({
  prefix: Type.Optional(text('adminPrefix', { default: initial.prefix, description: 'Path that it begins with: the status page is there, everything else below it.' })),
  token: Type.Optional(text('bearerToken', { secret: true, description: 'Who shows it as Authorization: Bearer may come in. Default: none; without preHandler either, it answers only where nobody else can come (loopback).' })),
  port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535, description: 'Port of a server of its own; 0 takes a free one. Default: its routes are routes of the app.' })),
  host: Type.Optional(text('listenHost', { default: initial.host, description: 'Address of that server.' })),
  preHandler: Type.Optional(Type.Union([fn<preHandlerHookHandler>(), Type.Array(fn<preHandlerHookHandler>(), { minItems: 1 })], {
    rule: 'must be a hook (a function) or a list of hooks; they can be set in code only',
    code: 'function',
    description: 'Code only: preHandler hooks of the app\'s own that let requests in, or answer them.'
  }))
}, {
  hints: {
    path: 'did you mean "prefix"?',
    enabled: 'use admin: true or false',
    password: 'did you mean "token"?',
    secret: 'did you mean "token"?',
    bearer: 'did you mean "token"?',
    auth: 'did you mean "token" or "preHandler"?',
    address: 'did you mean "host"?'
  },
  description: 'The admin interface and its status page.'
})

export const adminSchema = Type.Union([Type.Boolean(), fullAdminSchema], {
  default: false,
  rule: 'must be true, false, or an object such as { prefix, token }',
  description: 'The admin interface and its status page: true, false, or an object. It counts requests even where metrics are off.'
})
export type AdminOptions = Static<typeof adminSchema>
