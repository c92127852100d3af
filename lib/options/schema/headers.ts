/**
 * Options about headers: the edits of every level (global, backend, route) and what only the global level has.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { HeaderValue } from '../../types.ts'
import { DEFAULTS } from '../defaults.ts'
import { fn, object, text, words } from './values.ts'

const value = Type.Union([
  text('headerValue'),
  fn<Exclude<HeaderValue, string>>()
], { rule: 'must be a text (numbers need quotes), or in code a function of the request' })

const values = (description: string) => Type.Optional(Type.Record(Type.String(), value, { names: 'editableHeader', description }))

const valueOrList = Type.Union([...value.anyOf, Type.Array(value, { minItems: 1 })], {
  rule: 'must be a text (numbers need quotes), in code also a function of the request, or a list of those'
})

/** Edits of headers in one direction. Applied in this order: remove, rename, set, append. */
const edits = {
  set: values('Header names with the value they get, whatever was there. In code a function of the request may stand for the value; undefined from it leaves the header out.'),
  append: Type.Optional(Type.Record(Type.String(), valueOrList, { names: 'editableHeader', description: 'Header names with a value that is added beside what is there, as a field line of its own; a list adds several.' })),
  remove: Type.Optional(Type.Array(text('editableHeader'), { description: 'Names of headers that do not cross.' })),
  rename: Type.Optional(Type.Record(Type.String(), text('editableHeader'), { names: 'editableHeader', description: 'Names of headers with the name they go on under.' }))
}

export const requestHeadersSchema = object({
  forward: Type.Optional(Type.Union([
    words(['*']),
    Type.Array(text('editableHeader'))
  ], {
    default: DEFAULTS.forward,
    rule: 'must be "*" or a list of header names',
    description: 'Which of the client\'s headers go to the backend: all ("*") or the listed ones. What the gateway sets itself goes out in any case. A later level replaces the list.'
  })),
  ...edits
}, { description: 'What changes on the way to the backend.' })

const levels = {
  request: Type.Optional(requestHeadersSchema),
  response: Type.Optional(object(edits, { description: 'What changes on the way to the client.' }))
}

/** `headers.request` and `headers.response` of a composite. */
export const compositeHeaderLevels = {
  request: Type.Optional(Type.Object(requestHeadersSchema.properties, { ...requestHeadersSchema, description: 'What changes on the way to the backend of every part; a part\'s own `headers` come after.' })),
  response: Type.Optional(object(edits, { description: 'What changes in the answer.' }))
}

const globalOnly = {
  forwarded: 'is not an option here: forwarded headers are set globally (headers.forwarded)',
  via: 'Via is set globally (headers.via)',
  requestId: 'the request id\'s header is set globally (headers.requestId)'
}

/** `headers` of a backend or a route. */
export const headerRulesSchema = object(levels, {
  hints: globalOnly,
  description: 'Header changes; they come after the global ones, a route\'s after its backend\'s. Later wins.'
})
export type HeaderRulesOption = Static<typeof headerRulesSchema>

const mode = (header: string, initial: string) => Type.Optional(words(['set', 'append', 'remove', 'off'], {
  default: initial,
  description: `${header}: "set" replaces what the client sent, "append" adds to it when the peer is trusted (Fastify's trustProxy), "remove" drops it, "off" leaves it as it came from a trusted peer.`
}))

export const forwardedSchema = object({
  for: mode('X-Forwarded-For', DEFAULTS.forwarded.for),
  proto: mode('X-Forwarded-Proto', DEFAULTS.forwarded.proto),
  host: mode('X-Forwarded-Host', DEFAULTS.forwarded.host),
  port: mode('X-Forwarded-Port', DEFAULTS.forwarded.port),
  prefix: mode('X-Forwarded-Prefix', DEFAULTS.forwarded.prefix),
  realIp: mode('X-Real-IP', DEFAULTS.forwarded.realIp),
  rfc7239: mode('Forwarded (RFC 7239)', DEFAULTS.forwarded.rfc7239)
}, { description: 'Headers that tell the backend who asked. From a peer that is not trusted they never go on as they came.' })

const viaName = text('viaName', {
  default: DEFAULTS.via.name,
  description: 'The gateway\'s name in Via (RFC 9110 section 7.6.3). Give gateways that call each other different names.'
})

export const viaSchema = Type.Union([
  viaName,
  Type.Literal(false),
  object({
    name: Type.Optional(viaName),
    maxHops: Type.Optional(Type.Integer({
      minimum: 0,
      default: DEFAULTS.via.maxHops,
      description: 'How often the gateway\'s own name may already stand in a request\'s Via; more is a loop and answered 508.'
    }))
  })
], {
  default: DEFAULTS.via.name,
  rule: 'must be a name, { name, maxHops } or false',
  description: 'The Via header and the loop stop: a name, { name, maxHops }, or false for neither.'
})

/** `headers` of the whole gateway. */
export const globalHeadersSchema = object({
  ...levels,
  forwarded: Type.Optional(forwardedSchema),
  via: Type.Optional(viaSchema),
  requestId: Type.Optional(Type.Union([text('editableHeader'), Type.Literal(false)], {
    default: DEFAULTS.requestId,
    rule: 'must be a header name or false',
    description: 'Header that carries Fastify\'s request.id to the backend; false for none.'
  }))
}, { description: 'Header policy of the whole gateway; a backend\'s and then a route\'s `headers` come after it.' })
