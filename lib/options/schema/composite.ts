/**
 * The `composite` option of a route: several calls, one answer.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { Combine, PartFunction } from '../../composite/types.ts'
import type { ProxyErrorHandler } from '../../types.ts'
import { BUILT_IN_STRATEGIES, DEFAULTS } from '../defaults.ts'
import { redirectsSchema, routeTimeoutSchema } from './backend.ts'
import { compositeHeaderLevels } from './headers.ts'
import { routeResilienceProperties } from './resilience.ts'
import { bytes, duration, fn, json, object, size, text, words } from './values.ts'

const { composite: initial } = DEFAULTS
const { part: initialPart } = initial

// ---- what a composite may say for all of its parts

const inherited = {
  onEmpty: Type.Optional(words(['allow', 'skip', 'fail'], {
    default: initial.onEmpty,
    description: 'A part without a body, or with JSON null: "allow" takes null, "skip" leaves the part out, "fail" fails it.'
  })),
  nonJson: Type.Optional(words(['fail', 'text', 'base64', 'skip', 'keep'], {
    default: initial.nonJson,
    description: 'A body that is not JSON: "fail" fails the part, "text" and "base64" take it as a text, "skip" leaves the part out.'
  })),
  onMissing: Type.Optional(words(['skip', 'fail'], {
    description: 'A value that a template asks for is null or missing, or a needed part has no body: "skip" leaves the part out, "fail" fails it. Default: fail for a required part, else skip.'
  })),
  redirects: Type.Optional(Type.Union(redirectsSchema.anyOf, {
    ...redirectsSchema,
    default: initial.redirects,
    description: `Redirects of the backend: "follow" follows up to ${DEFAULTS.follow}, { follow: n } up to n; with "pass" a redirect fails the part.`
  })),
  ...routeResilienceProperties
}

// ---- a part

const scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean()], { rule: 'must be a text, a number, true or false' })

const querySchema = Type.Union([
  words(['client']),
  Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Array(scalar)], {
    rule: 'must be a text, a number, true or false, or a list of those'
  })),
  fn<PartFunction<Readonly<Record<string, unknown>>>>()
], {
  rule: 'must be "client", an object of parameters, or in code a function',
  description: 'Query: "client" for the client\'s, or parameters with values, in which a whole :name and {…} stand for values; a list repeats the parameter. In code also a function. Default: none; in the short form "client".'
})

const partHeadersSchema = object({
  set: Type.Optional(Type.Record(Type.String(), Type.Union([text('headerValue'), fn<PartFunction<string | undefined>>()], {
    rule: 'must be a text (numbers need quotes), or in code a function of the parts and the request'
  }), { names: 'editableHeader', description: 'Names with the value they get, in which a whole :name and {…} stand for values. In code also a function; undefined from it leaves the header out.' })),
  remove: Type.Optional(Type.Array(text('editableHeader'), { description: 'Names of the client\'s headers that do not go to this part.' }))
}, {
  hints: {
    request: 'a part says "set" and "remove" here; the rest stands in the composite\'s headers.request',
    response: 'the answer\'s headers are changed by the composite\'s headers.response'
  },
  description: 'Header changes of this part\'s request, after those of the composite.'
})

const bodySchema = Type.Union([words(['client']), json(), fn<PartFunction<unknown>>(), bytes()], {
  rule: 'must be "client" or JSON data, in code also a function or a Buffer',
  description: 'Body: "client" for the client\'s, or any JSON value, in whose texts a whole :name and {…} stand for values. In code also a function or a Buffer. Default: none; in the short form "client".'
})

const conditionSchema = object({
  value: text('filled', { description: 'The value to compare: "{user.body.plan}".' }),
  equals: Type.Optional(json({ description: 'The value is this.' })),
  not: Type.Optional(json({ description: 'The value is not this.' })),
  in: Type.Optional(Type.Array(json(), { minItems: 1, description: 'The value is one of these.' })),
  exists: Type.Optional(Type.Boolean({ description: 'Whether there is a value, and it is not null.' }))
}, { exactlyOne: ['equals', 'not', 'in', 'exists'] })
export type ConditionOption = Static<typeof conditionSchema>

const whenRule = 'must be a text such as "{user.body.premium}", { value } with one of equals, not, in, exists'
const whenSchema = Type.Union([
  text('filled'),
  conditionSchema,
  Type.Array(Type.Union([text('filled'), conditionSchema], { rule: whenRule.replace('"}", {', '"}" or {') }), { minItems: 1 }),
  fn<PartFunction<unknown>>()
], {
  rule: `${whenRule}, a list of those, or in code a function`,
  description: 'Condition; without it the part is skipped. "{user.body.premium}" holds for anything but null, false, 0 and an empty text; an object compares; of a list all must hold. In code also a function.'
})

const listRule = 'must be a text such as "{user.body.ids}", or in code a function'
const list = [text('filled'), fn<PartFunction<unknown>>()] as const

export const fullForEachSchema = object({
  in: Type.Union([...list], { rule: listRule, description: 'The list: "{user.body.ids}"; in code also a function that returns one.' }),
  concurrency: Type.Optional(Type.Integer({ minimum: 1, default: initialPart.forEach.concurrency, description: 'Most calls at the same time.' })),
  max: Type.Optional(Type.Integer({ minimum: 1, default: initialPart.forEach.max, description: 'Most different values; more fail the part.' })),
  batch: Type.Optional(Type.Union([Type.Boolean(), Type.Integer({ minimum: 1 })], {
    default: initialPart.forEach.batch,
    rule: 'must be true, false or a whole number of 1 or more',
    description: 'Values per call: false for one, a number, or true for all in one call. {items} are the values of a call.'
  })),
  join: Type.Optional(object({
    on: text('fieldPath', { description: 'Where in an entry of the list its value stands.' }),
    as: text('fieldPath', { description: 'Where in the entry its result is put.' }),
    key: Type.Optional(text('fieldPath', { default: initialPart.forEach.key, description: 'With batch: where in a result the value stands that it belongs to.' }))
  }, { description: 'Puts each result into the entry of the list that it was called for.' }))
})

const forEachSchema = Type.Union([...list, fullForEachSchema], {
  rule: 'must be a text such as "{user.body.ids}", { in, … }, or in code a function',
  description: 'One call for each different value of a list; the part is the list of their results, in the list\'s order. The value is {item}.'
})

const fields = (description: string) => Type.Optional(Type.Array(text('fieldPath'), { minItems: 1, description }))

export const partSchema = object({
  backend: Type.Optional(text('backendName', { description: 'Name of the backend. Default: defaultBackend.' })),
  path: Type.Optional(Type.Union([text('partPath'), fn<PartFunction<string>>()], {
    rule: 'must be a path such as "/api/users/:id", or in code a function',
    description: 'Path, in which :name and {…} each become one encoded segment; it may have a query. In code also a function. Default: the incoming path.'
  })),
  method: Type.Optional(text('method', { description: 'Method. Default: the incoming one in the short form and for a part with a body (GET for HEAD), else GET.' })),
  query: Type.Optional(querySchema),
  headers: Type.Optional(partHeadersSchema),
  body: Type.Optional(bodySchema),
  timeout: Type.Optional(Type.Union(routeTimeoutSchema.anyOf, {
    ...routeTimeoutSchema,
    description: 'Time limits of this part: one duration is the total time, or { headers, idle, total }. Default: those of the backend.'
  })),
  required: Type.Optional(Type.Boolean({ default: initialPart.required, description: 'Whether its failure fails the whole answer; the other parts are cancelled then.' })),
  fallback: Type.Optional(json({ description: 'Any JSON value that takes the place of the part\'s body when it failed.' })),
  needs: Type.Optional(Type.Array(text('filled'), { description: 'Parts that come first. Those named in templates are needed without saying so; functions see only needed parts.' })),
  when: Type.Optional(whenSchema),
  forEach: Type.Optional(forEachSchema),
  ...inherited,
  schema: Type.Optional(Type.Unsafe<object>(Type.Object({}, { additionalProperties: true, description: 'TypeBox or JSON Schema of the body as the backend answers; a mismatch fails the part.' }))),
  target: Type.Optional(text('fieldPath', { description: 'Takes this inner value in place of the body: data.items' })),
  pick: fields('Keeps these properties only: id, address.city'),
  omit: fields('Leaves these properties out.'),
  rename: Type.Optional(Type.Record(Type.String(), text('fieldPath'), { names: 'fieldPath', description: 'Properties with the name they go on under.' })),
  group: Type.Optional(text('fieldName', { description: 'Puts the body under this key.' })),
  maxBytes: Type.Optional(size({ minimum: 1, description: 'Largest body of this part. Default: maxPartBytes.' }))
}, {
  hints: {
    url: 'did you mean "path"?',
    methods: 'did you mean "method"?',
    backends: 'a part has one "backend"',
    default: 'did you mean "fallback"?',
    if: 'did you mean "when"?',
    rewrite: 'a part says its "path"',
    transform: 'it stands beside "parts"',
    host: 'a part uses what its backend says',
    maxPartBytes: 'did you mean "maxBytes"?'
  }
})
export type PartOptions = Static<typeof partSchema>

// ---- the whole

const partOrWord = <const W extends readonly string[]>(values: W, initialWord: W[number], description: string) =>
  Type.Optional(Type.Unsafe<W[number] | (string & {})>(text('filled', { default: initialWord, examples: [...values], description })))

const compositeHeadersSchema = object({
  from: Type.Optional(text('filled', { description: 'Part whose other response headers the answer takes, but never those about its body or its connection. Default: none.' })),
  setCookie: partOrWord(['all', 'none'], initial.headers.setCookie, 'Whose Set-Cookie headers the answer has: "all", "none" or those of a part.'),
  cacheControl: partOrWord(['strictest', 'none'], initial.headers.cacheControl, 'Cache-Control: the "strictest" of all parts, "none" or that of a part.'),
  vary: partOrWord(['union', 'none'], initial.headers.vary, 'Vary: the "union" of all parts, "none" or that of a part.'),
  serverTiming: Type.Optional(Type.Boolean({ default: initial.headers.serverTiming, description: 'Server-Timing with one entry a part.' })),
  ...compositeHeaderLevels
}, { description: 'Headers of the answer, and of the requests of all parts.' })

export const compositeSchema = object({
  backends: Type.Optional(Type.Array(text('backendName'), { minItems: 1, description: 'Short form: one part for each of these backends, named like it; each gets the incoming method, path, query and body.' })),
  parts: Type.Optional(Type.Record(Type.String(), partSchema, { names: 'partName', minProperties: 1, description: 'Full form: the parts by name.' })),
  strategy: Type.Optional(Type.Unsafe<typeof BUILT_IN_STRATEGIES[number] | (string & {})>(text('filled', {
    examples: [...BUILT_IN_STRATEGIES],
    description: 'How the parts become one answer: merge (the properties of all), object (one property a part), append (one list), select (the first that succeeds), sequential (one after the other, the last one\'s), or one of your own (strategies). Default: merge in the short form, object with parts.'
  }))),
  conflict: Type.Optional(words(['last', 'first', 'deep', 'error'], { default: initial.conflict, description: 'For merge: which part wins where several have the same property, by order of declaration; "deep" merges objects, "error" fails.' })),
  race: Type.Optional(Type.Boolean({ default: initial.race, description: 'For select: all parts at once, the first success wins and the others are cancelled; else one after the other.' })),
  onMismatch: Type.Optional(words(['fail', 'wrap', 'skip'], { default: initial.onMismatch, description: 'For merge and append: a part that is no object (no list): "fail" fails it, "wrap" puts it under its name (into a list of one), "skip" leaves it out.' })),
  transform: Type.Optional(fn<Combine>({ description: 'Code only: makes the answer out of the parts and the request.' })),
  timeout: Type.Optional(duration({ default: initial.timeout, description: 'The whole of it; 0 switches it off.' })),
  meta: Type.Optional(Type.Boolean({ default: initial.meta, description: 'Adds _meta { complete, parts: [{ name, state, status, code, ms }] } to an answer that is an object.' })),
  partialStatus: Type.Optional(Type.Union([Type.Literal(200), Type.Literal(206)], { default: initial.partialStatus, rule: 'must be 200 or 206', description: 'Status of an answer that is not complete: 200 or 206.' })),
  maxPartBytes: Type.Optional(size({ minimum: 1, default: initial.maxPartBytes, description: 'Largest body of a part, decompressed.' })),
  maxBytes: Type.Optional(size({ minimum: 1, default: initial.maxBytes, description: 'Largest size of all bodies together, decompressed.' })),
  maxDepth: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: initial.maxDepth, description: 'Deepest nesting of a part\'s JSON.' })),
  maxCalls: Type.Optional(Type.Integer({ minimum: 1, default: initial.maxCalls, description: 'Most calls for one request; forEach makes many.' })),
  bodyLimit: Type.Optional(size({ description: 'Largest request body, when a part uses it; more is a 413. Default: limits.body.' })),
  ...inherited,
  headers: Type.Optional(compositeHeadersSchema),
  errorHandler: Type.Optional(fn<ProxyErrorHandler>({ description: 'Code only: answers when there is nothing to answer with; without an answer of its own the error takes its way.' }))
}, {
  exactlyOne: ['backends', 'parts'],
  hints: {
    required: 'it is an option of a part',
    fallback: 'it is an option of a part',
    path: 'it is an option of a part',
    modifyResponse: 'use transform, and headers.response'
  },
  description: 'Several calls, one answer: a list of backends in the short form, or parts in full.'
})
export type CompositeOptions = Static<typeof compositeSchema>
