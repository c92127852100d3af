/**
 * Options of tenancy: whose request it is, and what a tenant has of its own. What the words mean stands in `lib/tenancy/types.ts`.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { LoadTenant, ResolveTenant, TenantSource } from '../../tenancy/types.ts'
import { DEFAULTS } from '../defaults.ts'
import { fullBackendSchema, sharedBackendProperties, targetSchema } from './backend.ts'
import { compositeSchema, partSchema } from './composite.ts'
import { headerRulesSchema } from './headers.ts'
import { limitsSchema } from './limits.ts'
import { fullProxySchema } from './proxy.ts'
import { tenantHooks } from './route-tenancy.ts'
import { duration, fn, object, regexp, text, words } from './values.ts'

const { tenancy: initial } = DEFAULTS
const off = Type.Literal(false)

// ---- who it is

const sourceSchema = object({
  header: Type.Optional(text('tenantHeader', { description: 'A request header.' })),
  host: Type.Optional(text('tenantHost', { description: 'The host, with {tenant} for the part that is the id: {tenant}.example.com' })),
  param: Type.Optional(text('fieldName', { description: 'A parameter of the route\'s path.' })),
  query: Type.Optional(text('fieldName', { description: 'A query parameter.' })),
  claim: Type.Optional(Type.Union([text('fieldPath'), Type.Array(text('fieldName'), { minItems: 1 })], {
    rule: 'must be the name of a claim, a path such as "app.org", or a list of the names that lead to it',
    description: 'A claim of request.user: its name, a path such as app.org, or a list of names where they have dots.'
  })),
  from: Type.Optional(fn<NonNullable<Extract<TenantSource, { kind: 'claim' }>['from']>>({ description: 'Code only, beside claim: gives the claims of a request in place of request.user.' })),
  resolve: Type.Optional(fn<ResolveTenant>({ description: 'Code only: gives the id of a request, or undefined; may be async.' }))
}, { exactlyOne: ['header', 'host', 'param', 'query', 'claim', 'resolve'], hints: { cookie: 'read it in resolve', jwt: 'did you mean "claim"?', subdomain: 'did you mean "host"?', path: 'did you mean "param"?' } })
export type TenantSourceOption = Static<typeof sourceSchema>

const sourceRule = 'must be { header }, { host }, { param }, { query } or { claim }, in code also { resolve } or a function'

// ---- what a tenant has

const tenantTargets = Type.Array(targetSchema, { minItems: 1, description: 'Targets of its own, in place of those that everybody has.' })
const { url, targets, ...backendProperties } = fullBackendSchema.properties

const tenantBackendSchema = Type.Union([
  targetSchema.anyOf[0],
  tenantTargets,
  object({ url, targets: Type.Optional(tenantTargets), ...backendProperties }),
  off
], {
  rule: 'must be a URL, a list of targets, an object, or false',
  description: 'A backend over what everybody has under this name: a URL or a list of targets of its own, an object merged key by key, or false: this tenant has none.'
})
export type TenantBackendOption = Static<typeof tenantBackendSchema>

const { parts, ...compositeProperties } = compositeSchema.properties

const routeOverrideSchema = object({
  enabled: Type.Optional(Type.Boolean({ description: 'Whether this tenant has the route; false is a 404.' })),
  proxy: Type.Optional(Type.Union([text('backendName'), object(fullProxySchema.properties)], {
    rule: 'must be the name of a backend or an object',
    description: 'Over the route\'s proxy, key by key. A text is the name of the backend.'
  })),
  composite: Type.Optional(object({
    ...compositeProperties,
    parts: Type.Optional(Type.Record(Type.String(), Type.Union([partSchema, off], { rule: 'must be an object, or false' }), {
      names: 'partName',
      description: 'Parts by name, each over the route\'s part, key by key; false takes one away.'
    }))
  }, { description: 'Over the route\'s composite, key by key.' }))
}, { hints: { path: 'a tenant cannot move a route', methods: 'a tenant cannot change the methods of a route', backend: 'the backend is named in proxy' } })

export const tenantSchema = object({
  backends: Type.Optional(Type.Record(Type.String(), tenantBackendSchema, { names: 'backendName', description: 'Backends by name, over those that everybody has. Names that nobody else has are allowed.' })),
  defaultBackend: Type.Optional(text('backendName', { description: 'Backend of routes that name none. Default: the gateway\'s.' })),
  routes: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Boolean(), routeOverrideSchema], { rule: 'must be true, false, or { enabled, proxy, composite }' }), {
    description: 'Routes by name: true and false switch one on and off for this tenant; an object changes it.'
  })),
  headers: Type.Optional(headerRulesSchema),
  limits: Type.Optional(limitsSchema),
  metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Facts about the tenant for hooks and handlers: plan, region.' })),
  ...sharedBackendProperties
}, {
  hints: {
    backend: 'did you mean "backends"?',
    targets: 'targets belong to a backend: backends: { name: { targets } }',
    url: 'a URL belongs to a backend: backends: { name: url }',
    enabled: 'false in place of the object refuses the tenant'
  },
  description: 'What a tenant has of its own.'
})
export type TenantOptions = Static<typeof tenantSchema>

export const tenantOrOffSchema = Type.Union([tenantSchema, off], { rule: 'must be an object, or false', description: 'A tenant: what it has of its own, or false: it is refused.' })

// ---- the whole

const time = (minimum: 0 | 1, initial: string, description: string) => Type.Optional(duration({ minimum, default: initial, description }))
const count = (minimum: 0 | 1, initial: number, description: string) => Type.Optional(Type.Integer({ minimum, default: initial, description }))

export const tenancySchema = object({
  header: Type.Optional(text('tenantHeader', { description: 'Header that the id is in: short for sources with this one. Default: x-tenant-id.' })),
  sources: Type.Optional(Type.Union([sourceSchema, fn<ResolveTenant>(), Type.Array(Type.Union([sourceSchema, fn<ResolveTenant>()], { rule: sourceRule }), { minItems: 1 })], {
    rule: `${sourceRule}; or a list of those`,
    description: 'Where the id is looked for, one or a list in order. In code also a function.'
  })),
  required: Type.Optional(Type.Boolean({ default: initial.required, description: 'Whether a request without a tenant is refused (400).' })),
  unknown: Type.Optional(words(['default', 'reject'], { default: initial.unknown, description: 'Tenants that nobody knows: "default" treats them as everybody, "reject" refuses them (403).' })),
  forwardAs: Type.Optional(Type.Union([text('tenantHeader'), off], {
    rule: 'must be a header name or false',
    description: 'Header that tells the backend the id; false for none. What the client sent under it never goes on. Default: the first header among the sources, else x-tenant-id.'
  })),
  maxLength: count(1, initial.maxLength, 'Longest id, in characters; a longer one is a 400.'),
  pattern: Type.Optional(Type.Union([text('regex'), regexp()], {
    rule: 'must be a regular expression as a text, in code also a RegExp',
    description: 'What an id looks like: a regular expression that the whole of it must match; another id is a 400. Default: letters, digits, ".", "_" and "-", beginning with a letter or digit.'
  })),
  hook: Type.Optional(words(['onRequest', 'preValidation', 'preHandler'], { description: 'When it is looked for. Default: onRequest; preHandler where a claim of request.user is a source.' })),
  isolation: Type.Optional(words(['state', 'pool'], { default: initial.isolation, description: 'What each tenant has of its own: "state" its breakers, passive health, budgets and limits; "pool" connections, too.' })),
  cache: Type.Optional(object({
    ttl: time(0, initial.cache.ttl, 'How long what load gave counts as fresh.'),
    negativeTtl: time(0, initial.cache.negativeTtl, 'How long it counts that there is no such tenant.'),
    staleIfError: time(0, initial.cache.staleIfError, 'How long past ttl it is used when load fails.'),
    timeout: time(1, initial.cache.timeout, 'Longest time that load may take.'),
    max: count(1, initial.cache.max, 'Most tenants that are remembered; the least recently used goes first.')
  }, { description: 'How long what load gave is kept.' })),
  scopes: Type.Optional(object({
    max: count(1, initial.scopes.max, 'Most tenants with breakers, counters and connections of their own at once; the least recently used goes first.'),
    idle: time(1, initial.scopes.idle, 'How long those of a tenant without requests are kept.')
  }, { description: 'What tenants have of their own at run time.' })),
  labels: count(0, initial.labels, 'Most tenants with a label of their own in metrics; the others are "other".'),
  hashIds: Type.Optional(Type.Union([Type.Boolean(), text('filled', { secret: true })], {
    default: initial.hashIds,
    secret: true,
    rule: 'must be true, false, or a text that is mixed in',
    description: 'Whether logs, metrics, traces and dumps show a hash in place of the id; a text is mixed in (HMAC).'
  })),
  tenants: Type.Optional(Type.Record(Type.String(), tenantOrOffSchema, { description: 'The tenants by id; false refuses one.' })),
  load: Type.Optional(fn<LoadTenant>({ description: 'Code only: gives the options of a tenant that is not among tenants; undefined: there is none; false: it is refused. May be async.' })),
  ...tenantHooks
}, {
  hints: { source: 'did you mean "sources"?', resolve: 'it is one of the sources', host: 'it is one of the sources: sources: { host }', claim: 'it is one of the sources: sources: { claim }', ttl: 'did you mean "cache.ttl"?' },
  description: 'Whose request it is, and what holds for that tenant.'
})
export type TenancyOptions = Static<typeof tenancySchema>
