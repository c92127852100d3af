/** What another configuration would change: planChanges, changedRoutes, and the text of a plan. */
import t from 'tap'
import fc from 'fast-check'
import { parseConfigText } from '../../lib/config-file.ts'
import { parseOptions, type GatewayOptions } from '../../lib/options/index.ts'
import { changedRoutes, isEmptyPlan, planChanges, type Configuration, type Plan } from '../../lib/plan/index.ts'
import { planText } from '../../lib/plan/text.ts'
import { AUTHORITY, CERTIFICATE, CERTIFICATE_KEY, SIGNED } from '../helper/certificate.ts'

const yaml = (text: string): Configuration => parseConfigText(text, { path: 'gateway.yaml', env: {} })
const file = (options: unknown): Configuration => yaml(JSON.stringify(options))
const code = (gateway: GatewayOptions): Configuration => ({ server: file({}).server, gateway, config: parseOptions(gateway) })
const plan = (before: unknown, after: unknown): Plan => planChanges(file(before), file(after))

const A = 'http://127.0.0.1:4001'
const B = 'http://127.0.0.1:4002'
const C = 'http://127.0.0.1:4003'

// ---- the server

const server = (before: object, after: object) => plan({ server: before }, { server: after }).server

t.test('server: where it listens and what Node makes it of need a restart', async t => {
  t.same(server({ host: '127.0.0.1', port: 80, requestTimeout: '1500ms', maxHeaderSize: '8kb' }, { host: '::', port: 81, requestTimeout: 90_000, keepAliveTimeout: '5s', maxHeaderSize: '16kb' }), [
    { path: 'server.host', from: '127.0.0.1', to: '::', how: 'restart' },
    { path: 'server.port', from: 80, to: 81, how: 'restart' },
    { path: 'server.requestTimeout', from: '1500ms', to: '90s', how: 'restart' },
    { path: 'server.keepAliveTimeout', from: undefined, to: '5s', how: 'restart' },
    { path: 'server.maxHeaderSize', from: 8192, to: 16384, how: 'restart' }
  ])
})

t.test('server: what is the new instance of Fastify\'s own is live', async t => {
  t.same(server({ logger: 'info' }, { trustProxy: ['10.0.0.0/8'], logger: 'debug' }), [
    { path: 'server.trustProxy', from: false, to: ['10.0.0.0/8'], how: 'live' },
    { path: 'server.logger.level', from: 'info', to: 'debug', how: 'live' }
  ])
})

t.test('server: a certificate is live, and neither it nor its key is shown', async t => {
  const changes = server({ https: { cert: CERTIFICATE, key: CERTIFICATE_KEY } }, { https: { cert: SIGNED.cert, key: SIGNED.key, minVersion: 'TLSv1.3' } })
  t.same(changes, [
    { path: 'server.https.cert', from: '(changed)', to: '(changed)', how: 'live' },
    { path: 'server.https.key', from: '(changed)', to: '(changed)', how: 'live' },
    { path: 'server.https.minVersion', from: undefined, to: 'TLSv1.3', how: 'live' }
  ])
})

t.test('server: TLS, HTTP/2 and certificates of clients go on and off with a restart', async t => {
  const https = { cert: CERTIFICATE, key: CERTIFICATE_KEY }
  t.same(server({}, { https }), [{ path: 'server.https', from: false, to: true, how: 'restart' }])
  t.same(server({ https }, { https, http2: true }), [{ path: 'server.http2', from: false, to: true, how: 'restart' }])
  t.same(server({ https }, { https: { ...https, ca: AUTHORITY } }), [
    { path: 'server.https.ca', from: undefined, to: ['(changed)'], how: 'live' },
    { path: 'server.https.requestCert', from: false, to: true, how: 'restart' }
  ])
  t.same(server({ https: { ...https, ca: AUTHORITY } }, { https: { ...https, ca: [AUTHORITY, CERTIFICATE] } }).map(({ how }) => how), ['live'])
})

// ---- the gateway

t.test('options of the gateway are shown down to what has been written', async t => {
  const { global } = plan({ limits: { body: '1mb' }, shutdown: { timeout: '5s' } }, { limits: { body: '2mb', headerCount: 50 }, headers: { via: 'edge' } })
  t.same(global, [
    { path: 'limits.body', from: '1mb', to: '2mb' },
    { path: 'limits.headerCount', from: undefined, to: 50 },
    { path: 'shutdown.timeout', from: '5s', to: undefined },
    { path: 'headers.via.name', from: undefined, to: 'edge' }
  ])
})

t.test('a default of the gateway changes the backends that do not say otherwise', async t => {
  const backends = { a: A, b: { url: B, timeout: '3s' } }
  const { global, backends: { changed, unchanged } } = plan({ backends, timeout: '10s' }, { backends, timeout: '5s' })
  t.same(global, [{ path: 'timeout.total', from: '10s', to: '5s' }])
  t.match(changed, [{ name: 'a', options: [{ path: 'timeout.total', from: '10s', to: '5s' }], targets: { kept: 1 } }])
  t.equal(changed.length, 1)
  t.equal(unchanged, 1)
})

t.test('headers of the gateway are told once, not for every backend', async t => {
  const { global, backends } = plan({ backends: { a: A } }, { backends: { a: A }, headers: { request: { set: { 'x-a': '1' } } } })
  t.same(global, [{ path: 'headers.request.set.x-a', from: undefined, to: '1' }])
  t.match(backends, { changed: [], unchanged: 1 })
})

// ---- what is the same

t.test('what is only written in another way does not change', async t => {
  const before = yaml(`
    server: { port: 8080, requestTimeout: 30s }
    backends:
      a: ${A}
      b: { targets: [${B}, ${C}], timeout: 5s, retry: 2, health: /up }
    timeout: 30s
    headers: { via: edge }
    routes:
      - { path: /a, methods: GET, proxy: a }
      - { name: b, path: /b, host: b.example, proxy: { backend: b, timeout: 1s, bodyLimit: 1kb, websocket: true } }`)
  const after = yaml(`
    routes:
      - { name: b, path: /b, host: [b.example], proxy: { websocket: {}, bodyLimit: 1024, timeout: { total: 1000 }, backend: b } }
      - { path: /a, methods: [GET], proxy: { backend: a } }
    headers: { via: { name: edge } }
    timeout: { total: 30000 }
    backends:
      b: { retry: { attempts: 2 }, health: { path: /up }, timeout: { total: 5000 }, targets: [{ url: "${B}", weight: 1 }, ${C}] }
      a: { url: "${A}" }
    server: { requestTimeout: 30000, port: 8080, host: 127.0.0.1 }`)
  const changes = planChanges(before, after)
  t.same(changes, {
    server: [],
    global: [],
    backends: { added: [], removed: [], changed: [], unchanged: 2 },
    routes: { added: [], removed: [], changed: [], unchanged: 2 },
    tenants: { added: [], removed: [], changed: [], unchanged: 0 },
    effects: []
  })
})

t.test('a default that is said changes something only where tenants could have said otherwise', async t => {
  const [before, after] = [{ backends: { a: { url: A } } }, { backends: { a: { url: A, host: 'upstream' } } }]
  t.ok(isEmptyPlan(plan(before, after)))
  const tenancy = { tenants: { acme: { host: 'preserve' } } }
  t.match(plan({ ...before, tenancy }, { ...after, tenancy }).backends.changed, [{ name: 'a', options: [{ path: 'host', to: 'upstream' }] }])
})

// ---- backends

const backend = (before: unknown, after: unknown) => plan({ backends: { a: before } }, { backends: { a: after } }).backends.changed[0]

t.test('backends come and go', async t => {
  t.match(plan({ backends: { a: A, b: B } }, { backends: { b: B, c: C } }).backends, { added: ['c'], removed: ['a'], changed: [], unchanged: 1 })
})

t.test('targets come, drain, change and stay', async t => {
  t.same(backend([A, { url: B, weight: 2, metadata: { zone: 'a' } }], [{ url: B, weight: 3, metadata: { zone: 'b' } }, C]), {
    name: 'a',
    options: [],
    targets: {
      added: [C],
      removed: [A],
      changed: [{ url: B, options: [{ path: 'weight', from: 2, to: 3 }, { path: 'metadata.zone', from: 'a', to: 'b' }] }],
      kept: 0
    },
    poolsKept: true
  })
  t.match(backend([A, B], [A, B, C]), { targets: { kept: 2 }, poolsKept: true })
})

t.test('a target is known by its URL in normal form', async t => {
  t.equal(backend(['http://LOCALHOST:80/'], ['http://localhost']), undefined)
})

t.test('connections are kept unless options that live in them differ', async t => {
  t.match(backend({ url: A, retry: 2, timeout: '1s' }, { url: A, retry: 3, timeout: '2s' }), { poolsKept: true })
  for (const options of [{ pool: { connections: 5 } }, { tls: { servername: 'a' } }, { http2: true }, { timeout: { connect: '1s' } }, { httpProxy: 'http://proxy' }]) {
    t.match(backend({ url: A }, { url: A, ...options }), { poolsKept: false }, JSON.stringify(options))
  }
})

t.test('what is false is shown as it is', async t => {
  t.match(backend({ url: A, circuitBreaker: { failureThreshold: 2 } }, { url: A, circuitBreaker: false }), { options: [{ path: 'circuitBreaker', from: { failureThreshold: 2 }, to: false }] })
  t.match(backend({ url: A }, { url: A, outlier: true }), { options: [{ path: 'outlier', to: true }] })
})

// ---- routes

const route = (before: object[], after: object[], options: object = { backends: { a: A, b: B } }) => plan({ ...options, routes: before }, { ...options, routes: after }).routes

t.test('a route is known by its name', async t => {
  t.same(route(
    [{ name: 'x', path: '/x', proxy: 'a' }, { name: 'gone', path: '/gone', proxy: 'a' }, { path: '/same', proxy: 'a' }],
    [{ path: '/same', proxy: 'a' }, { name: 'x', path: '/y', proxy: { backend: 'b', timeout: '1s' } }, { name: 'new', path: '/gone', proxy: 'a' }]
  ), {
    added: [{ name: 'new', path: '/gone' }],
    removed: [{ name: 'gone', path: '/gone' }],
    changed: [{ name: 'x', path: '/y', options: [{ path: 'path', from: '/x', to: '/y' }, { path: 'proxy.backend', from: 'a', to: 'b' }, { path: 'proxy.timeout.total', from: undefined, to: '1s' }] }],
    unchanged: 1
  })
})

t.test('routes without a name that share a path are told apart by what they say', async t => {
  const [get, post, put] = [{ path: '/x', methods: 'GET', proxy: 'a' }, { path: '/x', methods: 'POST', proxy: 'a' }, { path: '/x', methods: 'PUT', proxy: 'a' }]
  t.match(route([get, post], [post, get]), { changed: [], unchanged: 2 })
  t.match(route([get, post], [{ ...post, proxy: 'b' }, get]), { changed: [{ name: '/x', options: [{ path: 'proxy.backend', from: 'a', to: 'b' }] }], unchanged: 1, added: [], removed: [] })
  t.match(route([get], [put, get]), { added: [{ name: '/x', path: '/x' }], changed: [], removed: [], unchanged: 1 })
  t.match(route([get, put], [get]), { added: [], changed: [], removed: [{ name: '/x', path: '/x' }], unchanged: 1 })
})

t.test('every condition of a route is part of it', async t => {
  const plain = { name: 'x', path: '/x', proxy: 'a' }
  for (const [key, value] of Object.entries({ methods: ['GET'], host: 'a.example', headers: { 'x-v': '1' }, query: { v: { exists: true } } })) {
    t.match(route([plain], [{ ...plain, [key]: value }]).changed, [{ name: 'x', options: [{ path: new RegExp(`^${key}`) }] }], key)
  }
})

t.test('a route without a backend changes with the default one', async t => {
  const routes = [{ path: '/x', proxy: {} }, { path: '/y', proxy: 'a' }, { path: '/z', composite: { parts: { one: {}, two: { backend: 'b' } } } }]
  const backends = { a: A, b: B }
  t.same(plan({ backends, routes, defaultBackend: 'a' }, { backends, routes, defaultBackend: 'b' }).routes.changed, [
    { name: '/x', path: '/x', options: [{ path: 'proxy.backend', from: 'a', to: 'b' }] },
    { name: '/z', path: '/z', options: [{ path: 'composite.parts.one.backend', from: 'a', to: 'b' }] }
  ])
})

t.test('the order of parts counts, for later ones win', async t => {
  const composite = (...parts: string[]) => [{ name: 'x', path: '/x', composite: { strategy: 'merge', parts: Object.fromEntries(parts.map(name => [name, { backend: name }])) } }]
  t.same(route(composite('a', 'b'), composite('b', 'a')).changed, [{ name: 'x', path: '/x', options: [{ path: 'composite.parts', from: ['a', 'b'], to: ['b', 'a'] }] }])
})

t.test('functions are compared by identity', async t => {
  const [one, other] = [() => 'x', () => 'x']
  const gateway = (set: () => string, onOpen: () => void): GatewayOptions => ({
    backends: { a: { url: A, circuitBreaker: { onOpen } } },
    routes: [{ name: 'x', path: '/x', proxy: { backend: 'a', headers: { request: { set: { 'x-a': set } } }, modifyRequest: onOpen } }],
    strategies: { own: onOpen as never }
  })
  t.ok(isEmptyPlan(planChanges(code(gateway(one, one)), code(gateway(one, one)))))
  const changes = planChanges(code(gateway(one, one)), code(gateway(other, other)))
  const option = { from: '(function)', to: '(function)' }
  t.match(changes.global, [{ path: 'strategies.own', ...option }])
  t.match(changes.backends.changed, [{ options: [{ path: 'circuitBreaker.onOpen', ...option }] }])
  t.match(changes.routes.changed, [{ options: [{ path: 'proxy.headers.request.set.x-a', ...option }, { path: 'proxy.modifyRequest', ...option }] }])
})

// ---- which routes' connections end

const changed = (before: object, after: object) => [...changedRoutes(file({ backends: { a: A, b: B }, ...before }).config, file({ backends: { a: A, b: B }, ...after }).config)]

t.test('changedRoutes: those that are gone and those that differ, not those that come', async t => {
  const x = { name: 'x', path: '/x', proxy: 'a' }
  t.same(changed({ routes: [x, { path: '/y', proxy: 'a' }, { path: '/z', proxy: 'a' }] }, { routes: [{ ...x, proxy: { backend: 'a', timeout: '1s' } }, { path: '/z', proxy: { backend: 'a' } }, { path: '/new', proxy: 'a' }] }), ['x', '/y'])
})

t.test('changedRoutes: one of those that share a name is enough, one more is not', async t => {
  const [get, post] = [{ path: '/x', methods: 'GET', proxy: 'a' }, { path: '/x', methods: 'POST', proxy: 'a' }]
  t.same(changed({ routes: [get, post] }, { routes: [get] }), ['/x'])
  t.same(changed({ routes: [get] }, { routes: [post, get] }), [])
})

t.test('changedRoutes: what a backend or the gateway says is not the route\'s', async t => {
  const routes = [{ path: '/x', proxy: 'a' }]
  t.same(changed({ routes }, { routes, backends: { a: { url: B, timeout: '1s' } }, timeout: '3s', limits: { body: 5 } }), [])
})

t.test('changedRoutes: the default backend\'s requests are called default', async t => {
  const routes = [{ path: '/x', proxy: {} }, { path: '/y', proxy: 'a' }]
  t.same(changed({ routes, defaultBackend: 'a' }, { routes, defaultBackend: 'b' }), ['/x', 'default'])
  t.same(changed({}, { defaultBackend: 'a' }), [])
})

// ---- tenants

t.test('tenants come, go and change by what they say themselves', async t => {
  const tenants = ([before, after]: readonly object[]) => plan({ backends: { a: A }, tenancy: { tenants: before } }, { backends: { a: A }, tenancy: { tenants: after } }).tenants
  t.same(tenants([
    { same: { backends: { a: B } }, gone: {}, acme: { timeout: '1s', backends: { a: B } }, refused: {} },
    { same: { backends: { a: { url: B } } }, come: {}, acme: { timeout: '2s', backends: { a: [B, C] } }, refused: false }
  ]), {
    added: ['come'],
    removed: ['gone'],
    changed: [
      { name: 'acme', options: [{ path: 'timeout.total', from: '1s', to: '2s' }, { path: 'backends.a.targets', from: [B], to: [B, C] }] },
      { name: 'refused', options: [{ path: '', from: {}, to: false }] }
    ],
    unchanged: 1
  })
})

t.test('who a tenant is, is an option of the gateway', async t => {
  const { global, tenants } = plan({}, { tenancy: { header: 'x-org', tenants: { acme: {} } } })
  t.same(global, [{ path: 'tenancy.header', from: undefined, to: 'x-org' }])
  t.same(tenants.added, ['acme'])
  t.same(plan({}, { tenancy: {} }).global, [{ path: 'tenancy', from: undefined, to: {} }])
})

// ---- what is never shown

t.test('secrets are never shown, wherever they stand', async t => {
  const config = (mark: string) => ({
    backends: {
      a: {
        targets: [{ url: A, metadata: { apiToken: `${mark}-1` }, health: { path: '/up', headers: { authorization: `${mark}-2` } } }],
        httpProxy: { url: 'http://proxy', username: `${mark}-3`, password: `${mark}-4` },
        tls: { cert: `${CERTIFICATE}${mark}-5`, key: `-----BEGIN PRIVATE KEY-----${mark}-6` },
        health: { path: `/up?token=${mark}-7` },
        circuitBreaker: { fallback: { statusCode: 200, headers: { 'set-cookie': `${mark}-8` } } }
      }
    },
    headers: { request: { set: { Authorization: `${mark}-9`, 'x-api-key': `${mark}-10` }, append: { cookie: [`${mark}-11`] } } },
    routes: [
      { name: 'x', path: '/x', headers: { 'x-api-key': { exact: `${mark}-12` } }, proxy: { backend: 'a', headers: { request: { set: { 'x-session': `${mark}-13` } } }, rewrite: { query: { set: { token: `${mark}-14` } } } } },
      { name: 'y', path: '/y', composite: { parts: { one: { backend: 'a', headers: { set: { cookie: `${mark}-15` } }, query: { secret: `${mark}-16` }, body: { password: `${mark}-17` } } } } }
    ],
    tenancy: { hashIds: `${mark}-18`, tenants: { acme: { metadata: { secret: `${mark}-19` }, backends: { a: { tls: { cert: CERTIFICATE, key: `-----BEGIN PRIVATE KEY-----${mark}-20` }, headers: { request: { set: { 'x-auth': `${mark}-21` } } } } } } } }
  })
  const bare = { backends: { a: { targets: [A] } }, routes: [{ name: 'x', path: '/x', proxy: 'a' }, { name: 'y', path: '/y', composite: { parts: { one: { backend: 'a' } } } }], tenancy: { tenants: { acme: {} } } }
  for (const [before, after] of [[config('hidden'), config('HIDDEN')], [bare, config('hidden')], [config('hidden'), bare], [{}, config('hidden')]]) {
    const changes = plan(before, after)
    t.notMatch(JSON.stringify(changes), /hidden-/i)
    t.notMatch(planText(changes), /hidden-/i)
  }
  const changes = plan(config('hidden'), config('HIDDEN'))
  t.same(changes.backends.changed[0]!.options.map(({ path }) => path), ['httpProxy.username', 'httpProxy.password', 'tls.cert', 'tls.key', 'health.path', 'circuitBreaker.fallback.headers.set-cookie'])
  t.match(planText(changes), /~ headers\.request\.set\.Authorization: \(changed\)\n/)
})

t.test('a backend may be called token: names are no secrets', async t => {
  const tenancy = (timeout: string) => ({ backends: { token: A }, tenancy: { tenants: { secret: { backends: { token: { timeout } } } } } })
  t.same(plan(tenancy('1s'), tenancy('2s')).tenants.changed, [{ name: 'secret', options: [{ path: 'backends.token.timeout.total', from: '1s', to: '2s' }] }])
})

t.test('long values are shortened in the text only', async t => {
  const value = 'x'.repeat(500)
  const changes = plan({ backends: { a: A } }, { backends: { a: { url: A, headers: { request: { set: { 'x-a': value } } } } } })
  t.match(changes.backends.changed, [{ options: [{ to: value }] }])
  t.ok(planText(changes).split('\n').every(line => line.length < 200))
})

t.test('of long values that begin alike the text shows where they part', async t => {
  const targets = (last: string) => ({ backends: { a: A }, tenancy: { tenants: { acme: { backends: { a: [A, B, C, last] } } } } })
  const text = planText(plan(targets('http://127.0.0.1:5001'), targets('http://127.0.0.1:6001')))
  t.match(text, /5001.* -> .*6001/)
  t.ok(text.split('\n').every(line => line.length < 200))
})

t.test('the token of an engine that is asked for targets is not shown, what else has changed of it is', async t => {
  const consul = (token: string, service: string) => ({ backends: { a: { discovery: { consul: { address: 'http://127.0.0.1:8500', service, token } } } } })
  const { backends, effects } = plan(consul('hidden-1', 'orders'), consul('hidden-2', 'carts'))
  t.same(backends.changed.map(({ options }) => options), [[
    { path: 'discovery.consul.service', from: 'orders', to: 'carts' },
    { path: 'discovery.consul.token', from: '(changed)', to: '(changed)' }
  ]])
  t.match(effects, [/^Backend a, targets that its discovery does not give/])
})

// ---- open connections

t.test('effects: nothing is said of nothing', async t => {
  t.same(plan({ backends: { a: A } }, { backends: { a: A } }).effects, [])
})

t.test('effects: what only comes closes nothing', async t => {
  t.same(plan({}, { backends: { a: A }, routes: [{ path: '/x', proxy: 'a' }] }).effects, ['Requests under way finish; all WebSockets and event streams stay open.'])
})

t.test('effects: changed routes, drained targets, other connections, tenants and the default backend', async t => {
  const before = {
    server: { port: 1 },
    defaultBackend: 'a',
    backends: { a: [A, B], b: { url: B }, c: C },
    routes: [{ name: 'live', path: '/live', proxy: { backend: 'a', websocket: true } }, { name: 'both', path: '/both', composite: { backends: ['a', 'b'] } }],
    tenancy: { tenants: { acme: { backends: { a: C } } } }
  }
  const after = {
    ...before,
    server: { port: 2 },
    defaultBackend: 'b',
    backends: { a: [B], b: { url: B, http2: true } },
    routes: [],
    tenancy: { tenants: {} }
  }
  const end = 'WebSockets close with 1001, event streams end between two events'
  t.same(plan(before, after).effects, [
    'server.port: not before a restart.',
    `Routes live, (default): ${end}.`,
    `Backend c: no new requests; ${end}.`,
    `Backend a, target ${A}: no new requests; ${end}.`,
    `Backend b: all its connections are made anew; on the old ones ${end}.`,
    'Tenant acme: connections to targets that nobody else has are closed when their last request has ended.',
    'Requests under way finish; all other WebSockets and event streams stay open.'
  ])
})

// ---- the text

t.test('the text has a block for each kind, and a summary', async t => {
  const text = planText(plan(
    { server: { port: 80 }, limits: { body: 5 }, backends: { a: [A, { url: B, weight: 2 }], gone: C }, routes: [{ path: '/x', proxy: 'a' }], tenancy: { tenants: { one: {}, two: {} } } },
    { server: { port: 81 }, backends: { a: { targets: [C, { url: B, weight: 3 }], http2: true }, come: C }, routes: [{ name: 'y', path: '/x', proxy: 'a' }], tenancy: { tenants: { one: false, two: {} } } }
  ))
  t.equal(text, `server:
  ~ server.port: 80 -> 81  (needs a restart)

gateway:
  - limits.body: 5

backends:
  + come
  - gone
  ~ a
    + http2: true
    + ${C}
    - ${A}  (drains)
    ~ ${B}
      ~ weight: 2 -> 3
    all connections are closed and made anew

routes:
  + y (/x)
  - /x

tenants:
  ~ one
    ~ {} -> false

open connections:
  server.port: not before a restart.
  Route /x: WebSockets close with 1001, event streams end between two events.
  Backend gone: no new requests; WebSockets close with 1001, event streams end between two events.
  Backend a: all its connections are made anew; on the old ones WebSockets close with 1001, event streams end between two events.
  Tenant one: connections to targets that nobody else has are closed when their last request has ended.
  Requests under way finish; all other WebSockets and event streams stay open.

Plan: 2 to add, 2 to change, 2 to remove, 2 options of the gateway; 1 unchanged.
`)
})

// ---- properties

/** Options with values that each mean something else, whatever stands beside them; undefined: not said. */
const SHARED = {
  balancer: [undefined, 'random', { type: 'hash', key: 'ip' }, { type: 'hash', key: { header: 'x-a' } }],
  pool: [undefined, { connections: 5 }, { connections: 6, keepAliveTimeout: '7s' }],
  tls: [undefined, { servername: 'a' }, { servername: 'b' }, { rejectUnauthorized: false }],
  host: [undefined, 'preserve', 'a.example'],
  timeout: [undefined, '5s', { headers: 1 }, { connect: '1s', total: 3 }],
  redirects: [undefined, 'follow', { follow: 3 }],
  circuitBreaker: [undefined, false, { failureThreshold: 3, fallback: { statusCode: 204 } }, { failureThreshold: 4 }],
  retry: [undefined, 3, { attempts: 2, backoff: { initial: 1 } }, { attempts: 2, hedge: '1s' }],
  health: [undefined, '/up', { path: '/a', headers: { 'x-a': 'b' } }, { path: '/a', expectedBody: { regex: 'a' } }],
  outlier: [undefined, true, { consecutive: 2 }],
  slowStart: [undefined, '1s', { window: 1, initial: 0.5 }],
  panic: [undefined, { threshold: 20 }, { mode: '503' }],
  concurrency: [undefined, 5, { max: 5, queue: 1 }]
}
const EDITS = [undefined, { request: { set: { 'x-a': '1' } } }, { request: { set: { 'x-a': '2' }, remove: ['x-b'] } }, { response: { append: { 'x-a': ['1', '2'] } } }]
const LEVELS: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  server: {
    host: [undefined, '10.0.0.1', '::1'],
    port: [undefined, 1, 2],
    trustProxy: [undefined, true, '10.0.0.1'],
    maxHeaderSize: [undefined, '9kb', 5],
    requestTimeout: [undefined, '1s', 7],
    keepAliveTimeout: [undefined, '1s', 7],
    logger: [undefined, false, 'debug', { level: 'warn' }]
  },
  gateway: {
    ...SHARED,
    defaultBackend: [undefined, 'a', 'b'],
    headers: [...EDITS, { via: 'edge' }, { via: false }, { requestId: false }, { forwarded: { port: 'set' } }],
    limits: [undefined, { body: '3mb' }, { body: 5, target: 100 }],
    shutdown: [undefined, { delay: '1s' }, { timeout: '7s' }],
    deadlineHeader: [undefined, 'x-left', 'x-time']
  },
  backend: { ...SHARED, http2: [undefined, true, 'h2c'], httpProxy: [undefined, 'http://proxy'], headers: EDITS, active: [undefined, false], metadata: [undefined, { a: 1 }, { a: { b: 2 } }] },
  route: {
    methods: [undefined, ['GET'], ['GET', 'POST']],
    host: [undefined, 'a.example', ['b.example', '*.c.example']],
    headers: [undefined, { 'x-v': '1' }, { 'x-v': { not: '1' } }],
    query: [undefined, { v: '1' }, { v: { exists: true } }]
  },
  proxy: {
    backend: ['a', 'b'],
    rewrite: [undefined, { stripPrefix: '/x' }, [{ stripPrefix: '/x' }, { addPrefix: '/y' }]],
    headers: EDITS,
    timeout: [undefined, '5s', { headers: 1 }],
    redirects: [undefined, 'follow', 'pass'],
    host: [undefined, 'preserve', 'upstream'],
    bodyLimit: [undefined, '1kb', 5],
    circuitBreaker: [undefined, false, { fallback: { statusCode: 204 } }],
    retry: [undefined, 3, false, { attempts: 2 }],
    websocket: [undefined, true, { idleTimeout: '7s' }]
  },
  tenant: { ...SHARED, headers: EDITS, limits: [undefined, { body: 5 }], metadata: [undefined, { plan: 'gold' }, { plan: 'free' }], defaultBackend: [undefined, 'a', 'b'] }
}

type Choices = Readonly<Record<string, Readonly<Record<string, number>>>>

/** A value for each option of each level, by its index. */
const choices: fc.Arbitrary<Choices> = fc.record(Object.fromEntries(Object.entries(LEVELS).map(([level, options]) =>
  [level, fc.record(Object.fromEntries(Object.entries(options).map(([name, values]) => [name, fc.nat(values.length - 1)])))])))
/** One option, and how far to go on in its values. */
const places = fc.constantFrom(...Object.entries(LEVELS).flatMap(([level, options]) => Object.entries(options).map(([name, values]) => ({ level, name, count: values.length }))))

function build (chosen: Choices): Configuration {
  const level = (of: string) => Object.fromEntries(Object.entries(LEVELS[of]!).flatMap(([name, values]) => {
    const value = values[chosen[of]![name]!]
    return value === undefined ? [] : [[name, value]]
  }))
  return file({
    ...level('gateway'),
    server: level('server'),
    backends: { a: { targets: [A, { url: B, weight: 2 }], ...level('backend') }, b: C },
    routes: [{ name: 'x', path: '/x', ...level('route'), proxy: level('proxy') }],
    tenancy: { tenants: { acme: level('tenant') } }
  })
}

t.test('property: a configuration changes nothing of itself', async t => {
  fc.assert(fc.property(choices, chosen => {
    const changes = planChanges(build(chosen), build(chosen))
    t.ok(isEmptyPlan(changes))
    t.same(changes.effects, [])
  }), { numRuns: 60 })
})

t.test('property: every option that changes shows up, and where it stands', async t => {
  fc.assert(fc.property(choices, places, fc.nat(10), (chosen, { level, name, count }, step) => {
    const was = chosen[level]![name]!
    const changes = planChanges(build(chosen), build({ ...chosen, [level]: { ...chosen[level], [name]: (was + 1 + step % (count - 1)) % count } }))
    const found = {
      server: changes.server,
      gateway: changes.global,
      backend: changes.backends.changed.find(({ name }) => name === 'a')?.options,
      route: changes.routes.changed[0]?.options,
      proxy: changes.routes.changed[0]?.options,
      tenant: changes.tenants.changed[0]?.options
    }[level]!
    const prefix = { server: 'server.', proxy: 'proxy.' }[level] ?? ''
    const shown = (found ?? []).filter(({ path }) => path === prefix + name || path.startsWith(`${prefix}${name}.`))
    t.not(shown.length, 0, `${level} ${name}`)
    // nothing else of the level has changed
    t.same(shown, found)
  }), { numRuns: 200 })
})

t.test('property: there and back is the same with signs exchanged', async t => {
  fc.assert(fc.property(choices, choices, (one, other) => {
    const [there, back] = [planChanges(build(one), build(other)), planChanges(build(other), build(one))]
    const paths = ({ server, global, routes, tenants }: Plan) => [server, global, ...routes.changed.map(({ options }) => options), ...tenants.changed.map(({ options }) => options)].flat().map(({ path }) => path).sort()
    t.same(paths(there), paths(back))
    t.doesNotThrow(() => JSON.stringify(there) + planText(there))
  }), { numRuns: 60 })
})
