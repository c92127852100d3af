/** What a right configuration becomes. */
import t from 'tap'
import { parseBackend, parseOptions, parseProxy, parseTarget, parseTargetPatch, splitTargetUrl } from '../../../lib/options/index.ts'
import type { Target } from '../../../lib/types.ts'
import type { GatewayOptions } from '../../../lib/options/index.ts'
import { problemsOf } from './problems.ts'

const POOL = { connections: 128, keepAliveTimeout: 4_000, keepAliveMaxTimeout: 600_000, maxHeaderSize: 16_384 }
const TIMEOUT = { connect: 5_000, headers: 30_000, idle: 30_000, total: 0 }
/** What the example's gateway says of headers. */
const COMMON = { request: { forward: '*', set: {}, append: {}, remove: [], rename: {} }, response: {} }
const NO_HEADERS = { request: {}, response: {} }
/** What nobody speaks of; `resilience.test.ts` has the rest. */
const RESILIENCE = parseOptions({}).backendDefaults.resilience
const PEM = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'

/** The part of the design's example (section 4) that the gateway has today. */
const DESIGN: GatewayOptions = {
  backends: {
    users: 'http://127.0.0.1:4001',
    orders: {
      targets: ['http://127.0.0.1:4002', { url: 'http://127.0.0.1:4003/base', weight: 2, maxConnections: 50, metadata: { zone: 'a' } }],
      balancer: 'weighted-round-robin',
      pool: { connections: 64, keepAliveTimeout: '60s' },
      tls: { servername: 'orders.internal', rejectUnauthorized: true },
      http2: false,
      host: 'upstream',
      timeout: { connect: '5s', headers: '10s', idle: '30s', total: '30s' },
      headers: { request: { set: { 'x-source': 'gateway' }, remove: ['x-debug'] }, response: { remove: ['server', 'x-powered-by'] } },
      redirects: { follow: 5 }
    }
  },
  defaultBackend: 'users',
  headers: {
    request: { forward: '*', set: {}, append: {}, remove: [], rename: {} },
    forwarded: { for: 'append', port: 'set' },
    via: 'gateway'
  },
  routes: [
    { name: 'orders', path: '/api/orders/*', methods: ['GET', 'POST'], proxy: { backend: 'orders', rewrite: { addPrefix: '/v1', stripPrefix: '/api' } } },
    { name: 'by-host', path: '/*', host: ['users.example.com', '*.Example.com'], headers: { 'X-Api-Version': 'v2' }, proxy: 'users' },
    { name: 'tpl', path: '/u/:id', proxy: { rewrite: [{ template: '/api/users/:id' }], timeout: '2s' } }
  ]
}

t.test('the design example becomes backends with every default filled in', async (t) => {
  const { backends, defaultBackend, backendDefaults } = parseOptions(DESIGN)
  t.equal(defaultBackend, 'users')
  t.same(backends['users'], {
    targets: [{ url: 'http://127.0.0.1:4001', weight: 1, maxConnections: Infinity, active: true, metadata: {}, health: undefined }],
    balancer: 'round-robin',
    pool: POOL,
    tls: { rejectUnauthorized: true },
    http2: false,
    host: 'upstream',
    timeout: TIMEOUT,
    headers: NO_HEADERS,
    redirects: 'pass',
    resilience: RESILIENCE,
    metadata: {},
    common: COMMON,
    said: { targets: ['http://127.0.0.1:4001'] }
  })
  t.same(backends['orders'], {
    targets: [
      { url: 'http://127.0.0.1:4002', weight: 1, maxConnections: Infinity, active: true, metadata: {}, health: undefined },
      { url: 'http://127.0.0.1:4003/base', weight: 2, maxConnections: 50, active: true, metadata: { zone: 'a' }, health: undefined }
    ],
    balancer: 'weighted-round-robin',
    pool: { ...POOL, connections: 64, keepAliveTimeout: 60_000 },
    tls: { servername: 'orders.internal', rejectUnauthorized: true },
    http2: false,
    host: 'upstream',
    timeout: { connect: 5_000, headers: 10_000, idle: 30_000, total: 30_000 },
    headers: { request: { set: { 'x-source': 'gateway' }, remove: ['x-debug'] }, response: { remove: ['server', 'x-powered-by'] } },
    redirects: { follow: 5 },
    resilience: RESILIENCE,
    metadata: {},
    common: COMMON,
    said: DESIGN.backends!['orders']
  })
  t.same(backendDefaults.timeout, TIMEOUT)
})

t.test('the design example becomes header policy and routes', async (t) => {
  const { headers, forwarded, via, requestIdHeader, limits, routes } = parseOptions(DESIGN)
  t.same(headers.request, { forward: '*', set: {}, append: {}, remove: [], rename: {} })
  t.same(forwarded, { for: 'append', proto: 'set', host: 'set', port: 'set', prefix: 'off', realIp: 'off', rfc7239: 'off' })
  t.same(via, { name: 'gateway', maxHops: 3 })
  t.equal(requestIdHeader, 'x-request-id')
  t.same(limits, { headerCount: 1000, target: 16_384, body: Infinity })
  t.same(routes.map(({ name, path, methods }) => [name, path, methods]), [
    ['orders', '/api/orders/*', ['GET', 'POST']], ['by-host', '/*', undefined], ['tpl', '/u/:id', undefined]
  ])
  t.same(routes[0]?.proxy?.rewrite, [{ kind: 'stripPrefix', prefix: '/api' }, { kind: 'addPrefix', prefix: '/v1' }])
  t.same(routes[1]?.match, {
    hosts: [{ kind: 'exact', value: 'users.example.com' }, { kind: 'wildcard', suffix: '.example.com' }],
    headers: [['x-api-version', { kind: 'exact', value: 'v2' }]],
    query: []
  })
  t.equal(routes[1]?.proxy?.backend, 'users')
  t.equal(routes[2]?.proxy?.backend, undefined)
  t.same(routes[2]?.proxy?.timeout, { total: 2_000 })
})

t.test('no options at all are an empty gateway with defaults', async (t) => {
  const config = parseOptions({})
  t.same(Object.keys(config.backends), [])
  t.equal(config.headers.request.forward, '*')
  t.same(config.via, { name: 'fastify-reverseproxy', maxHops: 3 })
  t.equal(config.random, Math.random)
})

t.test('via and the request id can be switched off and named', async (t) => {
  const off = parseOptions({ headers: { via: false, requestId: false } })
  t.equal(off.via, undefined)
  t.equal(off.requestIdHeader, undefined)
  const named = parseOptions({ headers: { via: { maxHops: 1 }, requestId: 'X-Trace' } })
  t.same(named.via, { name: 'fastify-reverseproxy', maxHops: 1 })
  t.equal(named.requestIdHeader, 'X-Trace')
})

t.test('a backend takes from the gateway what it does not say, option by option', async (t) => {
  const { backends } = parseOptions({
    timeout: { idle: '7s', total: 1500 },
    pool: { connections: 8, connectTimeout: '1s', maxHeaderSize: '32kb' },
    tls: { ca: PEM, rejectUnauthorized: false },
    host: 'preserve',
    redirects: 'follow',
    balancer: 'random',
    backends: { a: 'http://a', b: { url: 'http://b', timeout: '9s', pool: { connections: 2 }, tls: { rejectUnauthorized: true }, host: 'b.example', redirects: 'pass', balancer: 'ip-hash' } }
  })
  t.same(backends['a']?.timeout, { connect: 1_000, headers: 30_000, idle: 7_000, total: 1_500 })
  t.same(backends['a']?.pool, { ...POOL, connections: 8, maxHeaderSize: 32_768 })
  t.match(backends['a'], { tls: { ca: PEM, rejectUnauthorized: false }, host: 'preserve', redirects: { follow: 10 }, balancer: 'random' })
  t.same(backends['b']?.timeout, { connect: 1_000, headers: 30_000, idle: 7_000, total: 9_000 })
  t.equal(backends['b']?.pool.connections, 2)
  t.match(backends['b'], { tls: { ca: PEM, rejectUnauthorized: true }, host: 'b.example', redirects: 'pass', balancer: 'ip-hash' })
})

t.test('an inactive backend has inactive targets, except where one says otherwise', async (t) => {
  const { targets } = parseBackend({ active: false, targets: ['http://a', { url: 'http://b', active: true }] }, {}, 'backend')
  t.same(targets.map(({ active }) => active), [false, true])
})

t.test('a backend that comes later starts from the defaults of the gateway', async (t) => {
  const config = parseOptions({ timeout: '3s', balancers: { mine: () => ({ pick: (targets: readonly Target[]) => targets[0] }) } })
  const backend = parseBackend({ url: 'http://a', balancer: 'mine' }, config, 'backends.a')
  t.equal(backend.timeout.total, 3_000)
  t.equal(backend.balancer, 'mine')
})

t.test('rewriting steps of one object come in the documented order, those of a list in its own', async (t) => {
  const all = parseProxy({ rewrite: { query: { set: { limit: 5 }, remove: ['x'] }, addPrefix: '/c', regex: { pattern: '^/a', replacement: '/b' }, replacePrefix: { from: '/a', to: '/b' }, stripPrefix: '/s' } }, 'proxy')
  t.same(all.rewrite.map(({ kind }) => kind), ['stripPrefix', 'replacePrefix', 'regex', 'addPrefix', 'query'])
  t.same(all.rewrite[4], { kind: 'query', set: { limit: '5' }, remove: ['x'] })
  const chain = parseProxy({ rewrite: [{ addPrefix: '/a' }, { stripPrefix: '/a' }] }, 'proxy')
  t.same(chain.rewrite.map(({ kind }) => kind), ['addPrefix', 'stripPrefix'])
})

t.test('every form of a condition is understood', async (t) => {
  const [route] = parseOptions({
    backends: { a: 'http://a' },
    routes: [{
      path: '/',
      host: [/^a/, { regex: '^b' }, '/^c$/', '[::1]'],
      headers: { a: 'x', b: /y/g, c: { prefix: 'z' }, d: { exists: false }, e: { not: 'n' }, f: { not: { regex: 'm' } } },
      query: { q: { exact: '1' } },
      proxy: 'a'
    }]
  }).routes
  t.same(route?.match.hosts.map(host => host.kind === 'wildcard' ? '' : String(host.value)), ['/^a/i', '/^b/i', '/^c$/i', '[::1]'])
  t.same(route?.match.headers.map(([, match]) => match), [
    { kind: 'exact', value: 'x' },
    { kind: 'regex', value: /y/g },
    { kind: 'prefix', value: 'z' },
    { kind: 'exists', value: false },
    { kind: 'not', value: { kind: 'exact', value: 'n' } },
    { kind: 'not', value: { kind: 'regex', value: /m/ } }
  ])
  t.same(route?.match.query, [['q', { kind: 'exact', value: '1' }]])
  t.equal(route?.name, '/')
})

t.test('durations and sizes are numbers or texts', async (t) => {
  const { backends, limits } = parseOptions({ backends: { a: { url: 'http://a', timeout: { connect: 250, headers: '0.5ms', idle: 0, total: '2 minutes' } } }, limits: { target: 100, body: '1.5mb' } })
  t.same(backends['a']?.timeout, { connect: 250, headers: 1, idle: 0, total: 120_000 })
  t.match(limits, { target: 100, body: 1_572_864 })
})

t.test('URLs of targets come in one normal form', async (t) => {
  t.equal(parseTarget('HTTP://LocalHost:80/base/', 'target').url, 'http://localhost/base')
  t.equal(parseTarget('unix:///run/app.sock:/base/', 'target').url, 'unix:///run/app.sock:/base')
  t.same(splitTargetUrl('https://[::1]:8443/a/b'), { url: 'https://[::1]:8443/a/b', origin: 'https://[::1]:8443', basePath: '/a/b', socketPath: undefined })
  t.same(splitTargetUrl('unix:///run/app.sock'), { url: 'unix:///run/app.sock', origin: 'http://localhost', basePath: '', socketPath: '/run/app.sock' })
  const longest = `/${'r'.repeat(106)}`
  t.match(splitTargetUrl(`unix://${longest}:/base`), { socketPath: longest, basePath: '/base' })
})

t.test('a patch of a target holds only what was said', async (t) => {
  t.same(parseTargetPatch({ weight: 0 }, 'target'), { weight: 0 })
  t.match(problemsOf(() => parseTargetPatch({ url: 'http://b' }, 'target')), [{ path: 'target.url' }])
})

t.test('certificates may be bytes in code', async (t) => {
  const { tls } = parseBackend({ url: 'https://a', tls: { ca: [Buffer.from(PEM), PEM], cert: PEM, key: Buffer.from(PEM) } }, {}, 'backend')
  t.same(tls, { ca: [PEM, PEM], cert: PEM, key: PEM, rejectUnauthorized: true })
})

t.test('functions arrive as they are', async (t) => {
  const modifyRequest = () => {}
  const value = () => 'x'
  const key = () => 'k'
  const random = () => 0.5
  const config = parseOptions({ random, headers: { request: { set: { 'x-a': value } } }, backends: { a: { url: 'http://a', balancer: { type: 'hash', key } } }, routes: [{ path: '/', proxy: { backend: 'a', modifyRequest } }] })
  t.equal(config.routes[0]?.proxy?.modifyRequest, modifyRequest)
  t.equal(config.headers.request.set?.['x-a'], value)
  t.same(config.backends['a']?.balancer, { type: 'hash', key })
  t.equal(config.random, random)
})

t.test('a balancer of one\'s own gets options of its own', async (t) => {
  const mine = () => ({ pick: () => undefined })
  const { backends } = parseOptions({ balancers: { mine }, backends: { a: { url: 'http://a', balancer: { type: 'mine', key: 5, zones: ['a'] } } } })
  t.same(backends['a']?.balancer, { type: 'mine', key: 5, zones: ['a'] })
})

t.test('names of Object.prototype are names like any other', async (t) => {
  const { backends } = parseOptions({ backends: { constructor: 'http://a' }, routes: [{ path: '/', proxy: 'constructor' }] })
  t.same(Object.keys(backends), ['constructor'])
  t.equal(backends['toString'], undefined)
  t.match(problemsOf(() => parseOptions({ routes: [{ path: '/', proxy: 'toString' }] })), [{ path: 'routes[0].proxy', value: 'toString' }])
})

t.test('paths in Fastify\'s syntax pass', async (t) => {
  for (const path of ['/', '/*', '/api*', '/a/:id', '/a/:x-:y', '/a/:file(^\\d+).png', '/a/:id?', '/a::b', '/a/:at(^\\d{2})h:min(^\\d{2})m', '/a/:id/*']) {
    t.equal(parseOptions({ backends: { a: 'http://a' }, routes: [{ path, proxy: 'a' }] }).routes[0]?.path, path)
  }
})
