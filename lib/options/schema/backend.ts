/**
 * Options of backends and their targets.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { HashKey } from '../../types.ts'
import { BUILT_IN_BALANCERS, DEFAULTS } from '../defaults.ts'
import { discoverySchema } from './discovery.ts'
import { headerRulesSchema } from './headers.ts'
import { resilienceProperties, targetHealthSchema } from './resilience.ts'
import { tlsSchema } from './tls.ts'
import { duration, fn, object, size, text, words } from './values.ts'

// ---- settings that the gateway may also set for all backends

const times = {
  headers: Type.Optional(duration({ default: DEFAULTS.timeout.headers, description: 'From the request sent to the headers of the answer; 0 switches it off.' })),
  idle: Type.Optional(duration({ default: DEFAULTS.timeout.idle, description: 'Longest silence within the body of the answer; 0 switches it off.' })),
  total: Type.Optional(duration({ default: DEFAULTS.timeout.total, description: 'The whole call, event streams excepted; 0 switches it off.' }))
}
const connect = Type.Optional(duration({ default: DEFAULTS.timeout.connect, description: 'TCP and TLS handshake with the target; 0 switches it off.' }))
const timeRule = 'must be a duration such as "5s" (the total time), or an object with headers, idle, total'

/** `timeout` of the gateway or a backend. */
export const timeoutSchema = Type.Union([duration(), object({ connect, ...times })], {
  rule: timeRule.replace('headers,', 'connect, headers,'),
  description: 'Time limits: one duration is the total time, or { connect, headers, idle, total }.'
})

/** `timeout` of a route. */
export const routeTimeoutSchema = Type.Union([
  duration(),
  object(times, { hints: { connect: 'connections are shared by routes: set timeout.connect on the backend' } })
], { rule: timeRule, description: 'Time limits of this route: one duration is the total time, or { headers, idle, total }.' })

export const poolSchema = object({
  connections: Type.Optional(Type.Integer({ minimum: 1, default: DEFAULTS.pool.connections, description: 'Most connections to one origin; targets of the same origin with the same connection options share them.' })),
  keepAliveTimeout: Type.Optional(duration({ minimum: 1, default: DEFAULTS.pool.keepAliveTimeout, description: 'How long an idle connection is kept when the target gives no hint.' })),
  keepAliveMaxTimeout: Type.Optional(duration({ minimum: 1, default: DEFAULTS.pool.keepAliveMaxTimeout, description: 'Upper bound for the target\'s own Keep-Alive hint.' })),
  connectTimeout: Type.Optional(duration({ default: DEFAULTS.timeout.connect, description: 'Another name for timeout.connect.' })),
  maxHeaderSize: Type.Optional(size({ minimum: 1, default: DEFAULTS.pool.maxHeaderSize, description: 'Largest header block of an answer.' }))
}, { description: 'Connections to the targets.' })

const proxyUrl = text('httpProxyUrl', { secret: true, description: 'http://host:port' })

export const httpProxySchema = Type.Union([
  proxyUrl,
  object({
    url: proxyUrl,
    username: Type.Optional(text('filled', { secret: true, description: 'For Basic authentication.' })),
    password: Type.Optional(text('filled', { secret: true, description: 'For Basic authentication.' }))
  }, { together: ['username', 'password'] }),
  Type.Literal(false)
], {
  secret: true,
  rule: 'must be http://host:port, { url, username, password } or false',
  description: 'HTTP proxy that the connections to the targets go through (CONNECT): its URL, an object, or false.'
})

export const hostSchema = Type.Unsafe<'upstream' | 'preserve' | (string & {})>(text('hostOption', {
  default: DEFAULTS.host,
  description: 'Host the backend sees: "upstream" is the target\'s own, "preserve" the client\'s, anything else is sent as it stands.'
}))

export const redirectsSchema = Type.Union([
  words(['pass', 'follow']),
  object({ follow: Type.Integer({ minimum: 1, maximum: 100, description: 'Most redirects to follow.' }) })
], {
  default: DEFAULTS.redirects,
  rule: 'must be "pass", "follow" or { follow: a number }',
  description: `What happens to a redirect of the backend: "pass" hands it to the client, "follow" follows up to ${DEFAULTS.follow}, { follow: n } up to n.`
})

/** `key` of the hash balancer. Held against the option by `../cross-check.ts`: a balancer of the user's may have a `key` of its own. */
export const hashKeySchema = Type.Union([
  words(['ip', 'path']),
  object({
    header: Type.Optional(text('headerName', { description: 'Value of a request header.' })),
    cookie: Type.Optional(text('headerName', { description: 'Value of a cookie.' })),
    query: Type.Optional(text('filled', { description: 'Value of a query parameter.' }))
  }, { exactlyOne: ['header', 'cookie', 'query'] }),
  fn<Extract<HashKey, (...args: never) => unknown>>()
], {
  rule: 'must be "ip", "path", { header }, { cookie }, { query }, or in code a function',
  description: 'For "hash": what the target is chosen by. Requests without it are spread.'
})

const withoutOptions = BUILT_IN_BALANCERS.filter(name => name !== 'hash')

export const balancerSchema = Type.Union([
  Type.Unsafe<typeof BUILT_IN_BALANCERS[number] | (string & {})>(text('filled', { examples: withoutOptions })),
  Type.Unsafe<{ type: 'hash', key: HashKey } | { type: string, [option: string]: unknown }>(Type.Object({
    type: text('filled', { description: 'Name of the balancer.' })
  }, { additionalProperties: true }))
], {
  default: DEFAULTS.balancer,
  rule: 'must be the name of a balancer, or { type, … }',
  description: `How a target is chosen: ${withoutOptions.join(', ')}, { type: hash, key } with a key of ip, path, { header }, { cookie }, { query } or in code a function, or one of your own (balancers), which gets the whole object.`
})

/** What the gateway may say for all backends. */
export const sharedBackendProperties = {
  balancer: Type.Optional(balancerSchema),
  pool: Type.Optional(poolSchema),
  tls: Type.Optional(tlsSchema),
  host: Type.Optional(hostSchema),
  timeout: Type.Optional(timeoutSchema),
  redirects: Type.Optional(redirectsSchema),
  ...resilienceProperties
}

// ---- targets

const metadata = (of: string) => Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: `Facts about the ${of} for balancers and hooks: zone, version, labels.` }))

const targetSettings = {
  weight: Type.Optional(Type.Number({ minimum: 0, default: DEFAULTS.target.weight, description: 'Share of the traffic relative to the other targets; 0 receives nothing.' })),
  maxConnections: Type.Optional(Type.Integer({ minimum: 1, description: 'Most requests in flight at once; the next target is taken when it is full, 503 when all are. Default: no limit.' })),
  active: Type.Optional(Type.Boolean({ default: DEFAULTS.target.active, description: 'Whether it takes requests.' })),
  metadata: metadata('target')
}

const targetUrl = text('targetUrl', {
  description: 'http://host:port, https://host:port or unix:///path/to.sock (with a base path: unix:///path/to.sock:/base). A path is put before every request path.'
})

export const targetSchema = Type.Union([
  targetUrl,
  object({ url: targetUrl, ...targetSettings, health: Type.Optional(targetHealthSchema) })
], { rule: 'must be a URL or { url, weight, … }', description: 'One URL of a backend.' })
export type TargetOption = Static<typeof targetSchema>

/** What may change on a target that runs. */
export const targetPatchSchema = object(targetSettings, {
  hints: {
    url: 'a target keeps its URL: add another one and drain this one',
    health: 'a target keeps its checks: update the backend'
  }
})
export type TargetPatchOption = Static<typeof targetPatchSchema>

// ---- backends

const targets = Type.Array(targetSchema, { minItems: 1, description: 'The backend\'s URLs.' })

export const fullBackendSchema = object({
  url: Type.Optional(targetUrl),
  targets: Type.Optional(Type.Array(targetSchema, { description: 'The backend\'s URLs; an empty list where only tenants have some.' })),
  discovery: Type.Optional(discoverySchema),
  ...sharedBackendProperties,
  http2: Type.Optional(Type.Union([Type.Boolean(), Type.Literal('h2c')], {
    default: DEFAULTS.http2,
    rule: 'must be true, false or "h2c"',
    description: 'HTTP/2 with https targets that agree to it (ALPN). "h2c": with http and unix targets too, which must speak it without being asked.'
  })),
  httpProxy: Type.Optional(httpProxySchema),
  headers: Type.Optional(headerRulesSchema),
  active: Type.Optional(Type.Boolean({ default: DEFAULTS.target.active, description: 'Whether its targets take requests; a target\'s own `active` wins.' })),
  metadata: metadata('backend')
}, { exactlyOne: ['url', 'targets', 'discovery'] })
export type FullBackendOption = Static<typeof fullBackendSchema>

export const backendSchema = Type.Union([targetUrl, targets, fullBackendSchema], {
  rule: 'must be a URL, a list of targets, or an object with url, targets or discovery',
  description: 'A backend: one URL, a list of targets, or in full.'
})
export type BackendOptions = Static<typeof backendSchema>
