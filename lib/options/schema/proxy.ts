/**
 * The `proxy` option of a route, and the routes of the options or the file.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { ModifyRequest, ModifyResponse, ProxyErrorHandler } from '../../types.ts'
import { hostSchema, redirectsSchema, routeTimeoutSchema } from './backend.ts'
import { compositeSchema } from './composite.ts'
import { headerRulesSchema } from './headers.ts'
import { routeResilienceProperties } from './resilience.ts'
import { websocketSchema } from './websocket.ts'
import { routeTenancySchema } from './route-tenancy.ts'
import { fn, object, regexp, size, text } from './values.ts'

// ---- rewriting

const patternRule = 'must be a regular expression as a text, in code also a RegExp'
const pattern = (description: string) => Type.Union([text('regex'), regexp()], { rule: patternRule, description })

const scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean()], { rule: 'must be a text, a number, true or false' })

export const rewriteStepSchema = object({
  stripPrefix: Type.Optional(text('prefix', { description: 'Takes this prefix away, on a segment boundary; paths without it stay as they are.' })),
  replacePrefix: Type.Optional(object({
    from: text('prefix', { description: 'The prefix to take away.' }),
    to: text('prefix', { description: 'What comes in its place.' })
  }, { description: 'Puts one prefix in the place of another, on a segment boundary.' })),
  regex: Type.Optional(object({
    pattern: pattern('Regular expression over the path.'),
    replacement: text('replacement', { description: 'What matches is replaced by this; $1, $2 … and $<name> are its groups.' })
  }, { description: 'Replaces what a regular expression matches.' })),
  template: Type.Optional(text('template', { description: 'A new path with the parameters of the route\'s path put in, each as one encoded segment: /api/users/:id' })),
  addPrefix: Type.Optional(text('prefix', { description: 'Puts this prefix before the path.' })),
  query: Type.Optional(object({
    set: Type.Optional(Type.Record(Type.String(), scalar, { description: 'Query parameters with the value they get, whatever was there.' })),
    remove: Type.Optional(Type.Array(Type.String(), { description: 'Names of query parameters to take away.' }))
  }, { description: 'Changes of the query.' }))
}, { description: 'Changes of the path. Several in one object apply in this order: stripPrefix, replacePrefix, regex, template, addPrefix, query.' })

export const rewriteSchema = Type.Union([rewriteStepSchema, Type.Array(rewriteStepSchema)], {
  rule: 'must be an object such as { stripPrefix: "/api" }, or a list of those',
  description: 'Changes of the path and query, as one object or a list applied in order. The query stays as it is unless asked.'
})
export type RewriteOption = Static<typeof rewriteSchema>

// ---- proxy

const backendOnly = Object.fromEntries(['health', 'outlier', 'slowStart', 'panic', 'concurrency'].map(name => [name, 'it is an option of backends']))

export const fullProxySchema = object({
  backend: Type.Optional(text('backendName', { description: 'Name of the backend. Default: defaultBackend.' })),
  rewrite: Type.Optional(rewriteSchema),
  headers: Type.Optional(headerRulesSchema),
  timeout: Type.Optional(routeTimeoutSchema),
  redirects: Type.Optional(redirectsSchema),
  host: Type.Optional(hostSchema),
  bodyLimit: Type.Optional(size({ description: 'Largest request body; more is a 413. Default: limits.body.' })),
  ...routeResilienceProperties,
  websocket: Type.Optional(websocketSchema),
  modifyRequest: Type.Optional(fn<ModifyRequest>({ description: 'Code only: changes the request before it leaves.' })),
  modifyResponse: Type.Optional(fn<ModifyResponse>({ description: 'Code only: changes the answer before it goes to the client.' })),
  errorHandler: Type.Optional(fn<ProxyErrorHandler>({ description: 'Code only: answers when the backend could not; without an answer of its own the error takes its way.' }))
}, { hints: backendOnly })

export const proxySchema = Type.Union([text('backendName'), fullProxySchema], {
  rule: 'must be the name of a backend or an object',
  description: 'Where the route\'s requests go and what changes on the way. A text is the name of the backend.'
})
export type ProxyOptions = Static<typeof proxySchema>
export type FullProxyOption = Static<typeof fullProxySchema>

// ---- routes

const comparisons = {
  exact: Type.Optional(Type.String({ description: 'The value is this.' })),
  prefix: Type.Optional(Type.String({ description: 'The value starts with this.' })),
  regex: Type.Optional(pattern('The value matches this.'))
}
const exists = Type.Optional(Type.Boolean({ description: 'Whether it is there at all.' }))
const matcherRule = 'must be a text (numbers need quotes), or an object with one of exact, prefix, regex, exists, not'

export const matcherSchema = Type.Union([
  Type.String(),
  regexp(),
  object({
    ...comparisons,
    exists,
    not: Type.Optional(Type.Union([
      Type.String(),
      regexp(),
      object({ ...comparisons, exists }, { exactlyOne: ['exact', 'prefix', 'regex', 'exists'] })
    ], { rule: 'must be a text, or an object with one of exact, prefix, regex, exists', description: 'The comparison fails.' }))
  }, { exactlyOne: ['exact', 'prefix', 'regex', 'exists', 'not'] })
], { rule: matcherRule })
export type MatcherOption = Static<typeof matcherSchema>

const hostForm = Type.Union([
  text('hostMatch'),
  regexp(),
  object({ regex: pattern('The host matches this, in any case.') })
], { rule: 'must be a host name, "*.example.com", "/expression/" or { regex }' })
export type HostMatchOption = Static<typeof hostForm>

export const routeSchema = object({
  name: Type.Optional(text('filled', { description: 'Name for logs and metrics. Default: the path.' })),
  path: text('routePath', { description: 'Path in Fastify\'s syntax: /users/:id, /api/*' }),
  methods: Type.Optional(Type.Union([text('method'), Type.Array(text('method'), { minItems: 1 })], {
    rule: 'must be a method or a list of methods',
    description: 'HTTP methods. Default: every method the gateway forwards; GET and HEAD with composite.'
  })),
  host: Type.Optional(Type.Union([...hostForm.anyOf, Type.Array(hostForm, { minItems: 1 })], {
    rule: 'must be a host name, "*.example.com", "/expression/", { regex }, or a list of those',
    description: 'Hosts the route is for, the port left aside: a name, *.example.com (any depth below), an expression, or a list. Default: every host.'
  })),
  headers: Type.Optional(Type.Record(Type.String(), matcherSchema, { names: 'headerName', description: 'Conditions on request headers; all must hold. A text must be equal.' })),
  query: Type.Optional(Type.Record(Type.String(), matcherSchema, { description: 'Conditions on query parameters; all must hold. A text must be equal.' })),
  proxy: Type.Optional(proxySchema),
  composite: Type.Optional(compositeSchema),
  tenancy: Type.Optional(routeTenancySchema)
}, { exactlyOne: ['proxy', 'composite'], hints: { method: 'did you mean "methods"?', url: 'did you mean "path"?', backend: 'the backend is named in proxy' } })
export type RouteOption = Static<typeof routeSchema>
