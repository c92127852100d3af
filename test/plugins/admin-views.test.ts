/** What the admin interface shows of a gateway at work, and the document that describes it. */
import t from 'tap'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import swagger from '@fastify/swagger'
import type { BackendStatus, AdminStatus, RouteStatus } from '../../lib/admin/types.ts'
import { pageOf } from '../../lib/admin/tenants.ts'
import { buildGateway, closedPort, httpUpstream, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'

async function start (t: Test, options: GatewayOptions, configure: Configure = () => {}): Promise<FastifyInstance> {
  const app = await buildGateway({ admin: true, ...options } as GatewayOptions, configure)
  t.teardown(() => app.close())
  await app.ready()
  return app
}

async function read<Value> (app: FastifyInstance, path: string): Promise<Value> {
  const response = await app.inject(`/_gateway${path}`)
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${response.body}`)
  return response.json<Value>()
}

const backendOf = async (app: FastifyInstance, name = 'up'): Promise<BackendStatus> => await read(app, `/backends/${name}`)

const A = 'http://127.0.0.1:4001'
const B = 'http://127.0.0.1:4002'

t.test('the gateway as a whole', async t => {
  const { url } = await httpUpstream(t, (request, response) => { response.writeHead(request.url === '/bad' ? 500 : 200).end() })
  const app = await start(t, { backends: { up: url, other: [A, { url: B, weight: 0 }] }, defaultBackend: 'up' })
  await app.inject('/x')
  await app.inject('/bad')
  const status = await read<AdminStatus>(app, '/status')
  t.match(status, {
    version: /^\d+\.\d+\.\d+/,
    node: process.version,
    pid: process.pid,
    worker: null,
    state: 'serving',
    ready: true,
    notReady: [],
    requests: { total: 2, success: 1, failures: 1, aborted: 0, inFlight: 0 },
    websockets: 0,
    eventStreams: 0,
    backends: { total: 2, usable: 2 },
    targets: { total: 3, usable: 2 },
    trafficDump: null
  })
  t.ok(status.requests.p50 > 0)
  t.ok(Date.parse(status.startedAt) <= Date.parse(status.since) && Date.parse(status.since) <= Date.now())
})

t.test('what the admin interface itself is asked is no request of the gateway', async t => {
  const app = await start(t, { backends: { up: A }, log: { requests: 'info' }, tenancy: { required: true } } as GatewayOptions)
  await read(app, '/backends')
  t.equal((await read<AdminStatus>(app, '/status')).requests.total, 0)
})

t.test('a backend and its targets: what was counted, and where', async t => {
  const { url } = await httpUpstream(t, (request, response) => { response.writeHead(request.url === '/bad' ? 500 : 200).end() })
  const app = await start(t, {
    backends: { up: { targets: [{ url, maxConnections: 9, metadata: { zone: 'a', token: 'secret' } }], balancer: 'least-connections', concurrency: { max: 7 } } }, defaultBackend: 'up'
  })
  for (const path of ['/a', '/b', '/bad']) await app.inject(path)
  const up = await backendOf(app)
  t.match(up, {
    name: 'up',
    state: 'ok',
    isDefault: true,
    balancer: 'least-connections',
    attempts: 3,
    failures: 1,
    retries: 0,
    rejected: 0,
    concurrency: { max: 7, taken: 0, waiting: 0 },
    discovery: null
  })
  t.ok(up.latency.p95 > 0)
  t.match(up.targets, [{
    url,
    state: 'active',
    weight: 1,
    maxConnections: 9,
    metadata: { zone: 'a', token: '[redacted]' },
    inflight: 0,
    started: 3,
    excluded: null,
    health: { healthy: true, reason: null, ejectedFor: null, check: null },
    breaker: { state: 'closed', retryAfter: 0, stats: { consecutive: 1, openedAt: null, opened: 0 } },
    attempts: 3,
    failures: 1
  }])
  t.ok(up.targets[0]!.pool!.connected >= 1)
  t.same((await read<{ backends: BackendStatus[] }>(app, '/backends')).backends.map(({ name }) => name), ['up'])
})

t.test('a backend may be called as what every object has', async t => {
  const app = await start(t, { backends: { constructor: [A], toString: [B] } } as unknown as GatewayOptions)
  for (const name of ['constructor', 'toString']) t.match(await backendOf(app, name), { name, attempts: 0, latency: { p50: 0 }, targets: [{ attempts: 0 }] })
  t.match(await read(app, '/status'), { backends: { total: 2, usable: 2 } })
})

t.test('why each target gets no requests', async t => {
  const urls = [1, 2, 3, 4, 5, 6].map(port => `http://127.0.0.1:${port}`)
  const [open, drained, light, off, full, good] = urls as [string, string, string, string, string, string]
  const app = await start(t, { backends: { up: [open, drained, { url: light, weight: 0 }, { url: off, active: false }, { url: full, maxConnections: 3 }, good] } })
  app.reverseproxy.breakers.open('up', open)
  app.reverseproxy.backends.drain('up', drained)
  app.reverseproxy.registry.existingTarget(app.reverseproxy.registry.existing('up'), full).inflight = 3
  const up = await backendOf(app)
  t.equal(up.state, 'degraded')
  t.same(Object.fromEntries(up.targets.map(({ url, excluded }) => [url, excluded])), {
    [open]: 'circuit-open: a trial in 30 s', [drained]: 'draining', [light]: 'weight 0', [off]: 'inactive', [full]: 'limit: 3 of 3', [good]: null
  })
  t.match(up.targets[0]!.breaker, { state: 'open', stats: { opened: 1 } })
  const ago = (date: string | null): number => Date.now() - Date.parse(date ?? '')
  t.ok(ago(up.targets[0]!.breaker!.stats.openedAt) >= -1 && ago(up.targets[0]!.breaker!.stats.openedAt) < 30_000, 'the time of day')
  const { breakers } = await read<{ breakers: Array<{ stats: { openedAt: string | null } }> }>(app, '/breakers')
  t.ok(ago(breakers[0]!.stats.openedAt) >= -1 && ago(breakers[0]!.stats.openedAt) < 30_000)
  t.ok(up.targets[0]!.breaker!.retryAfter > 29_000)
  const { calls } = await app.reverseproxy.explain({ url: '/none' })
  t.same(calls, [])
  app.reverseproxy.registry.existingTarget(app.reverseproxy.registry.existing('up'), full).inflight = 0
})

t.test('it is in the words of an explanation', async t => {
  const app = await start(t, { backends: { up: [A, B] }, defaultBackend: 'up' })
  app.reverseproxy.breakers.open('up', A)
  const { calls: [call] } = await app.reverseproxy.explain({ url: '/x' })
  t.same((await backendOf(app)).targets.map(({ excluded }) => excluded), call!.targets.map(({ excluded }) => excluded ?? null))
})

t.test('a check that fails, and one that does not', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const dead = `http://127.0.0.1:${await closedPort()}`
  const app = await start(t, { backends: { up: { targets: [url, dead], health: { path: '/health', interval: '1h' } } }, probes: { required: ['up'] } } as GatewayOptions)
  t.ok(await waitFor(() => app.reverseproxy.health.status('up').every(({ check }) => check!.checks > 0)))
  const up = await backendOf(app)
  t.match(up.targets[0]!.health, { healthy: true, reason: null, check: { ok: true, detail: '200', checks: 1, failures: 0 } })
  t.match(up.targets[1]!.health, { healthy: false, reason: 'unhealthy', check: { ok: false, detail: String, checks: 1, failures: 1 } })
  t.ok(up.targets[0]!.health.check!.agoMs! >= 0)
  t.same(up.targets.map(({ excluded }) => excluded), [null, 'unhealthy'])
  t.equal(up.state, 'degraded')
})

t.test('an ejected target, and how long it stays out', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.writeHead(500).end() })
  const app = await start(t, { backends: { up: { targets: [url], circuitBreaker: false, outlier: { consecutive: 2, baseEjection: '1m', maxEjectedPercent: 100 } } }, defaultBackend: 'up' })
  await app.inject('/1')
  await app.inject('/2')
  const up = await backendOf(app)
  t.equal(up.state, 'down')
  const [{ health, excluded }] = up.targets as [BackendStatus['targets'][number]]
  t.match(health, { healthy: false, reason: 'ejected' })
  t.ok(health.ejectedFor! > 50_000 && health.ejectedFor! <= 60_000)
  t.equal(excluded, 'ejected')
  t.match(await read(app, '/status'), { backends: { total: 1, usable: 0 }, targets: { total: 1, usable: 0 } })
})

t.test('where the healthy ones are too few nobody is chosen from, and it says so', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const dead = `http://127.0.0.1:${await closedPort()}`
  const app = await start(t, { backends: { up: { targets: [url, dead], health: { path: '/', interval: '1h' }, panic: { threshold: 90, mode: '503' } } }, defaultBackend: 'up' } as GatewayOptions)
  t.ok(await waitFor(() => app.reverseproxy.health.status('up').every(({ check }) => check!.checks > 0)))
  t.match(await backendOf(app), { state: 'down', targets: [{ excluded: 'panic' }, { excluded: 'unhealthy' }] })
  t.match((await app.reverseproxy.explain({ url: '/' })).calls[0]!.targets, [{ excluded: 'panic' }, { excluded: 'unhealthy' }])
})

t.test('a backend whose targets are discovered', async t => {
  const folder = t.testdir({ 'targets.json': JSON.stringify([{ url: A }]) })
  const found = await start(t, { backends: { up: { discovery: { file: { path: `${folder}/targets.json` } } } } } as GatewayOptions)
  const { discovery } = await backendOf(found)
  t.match(discovery, { source: 'file', lists: 1, fault: null })
  t.ok(Math.abs(Date.parse(discovery!.lastSuccess!) - Date.now()) < 60_000)
})

t.test('routes of the options, of the app, composites, and the default backend', async t => {
  const app = await start(t, {
    backends: { a: A, b: B },
    defaultBackend: 'a',
    routes: [
      { name: 'beta', path: '/x', methods: ['GET'], headers: { 'x-beta': '1' }, proxy: { backend: 'b' } },
      { name: 'plain', path: '/x', methods: ['GET'], proxy: { backend: 'a', websocket: true } },
      { name: 'hosts', path: '/y', host: ['one.example.com', '*.two.example.com'], composite: { parts: { first: { backend: 'a', required: true }, second: { backend: 'b' } } } }
    ]
  } as GatewayOptions, app => {
    app.get('/own', { proxy: 'a' }, app.reverseproxy.handler)
    app.post('/mine', { proxy: { backend: 'b' }, config: { name: 'mine' } }, (_request, reply) => reply.proxy())
    app.get('/both', { composite: { backends: ['a', 'b'] } }, app.reverseproxy.handler)
    app.get('/none', async () => 'not ours')
  })
  const { routes } = await read<{ routes: RouteStatus[] }>(app, '/routes')
  const route = (name: string): RouteStatus | undefined => routes.find(found => found.name === name)
  t.same(routes.map(({ name }) => name), ['beta', 'plain', 'hosts', '/own', 'mine', '/both', 'default'])
  t.match(route('beta'), { path: '/x', methods: ['GET'], kind: 'proxy', backend: 'b', hosts: [], websocket: false })
  t.match(route('plain'), { path: '/x', backend: 'a', websocket: true })
  t.match(route('hosts'), { kind: 'composite', backend: null, hosts: ['one.example.com', '*.two.example.com'], parts: [{ name: 'first', backend: 'a', required: true }, { name: 'second', backend: 'b', required: false }] })
  t.match(route('/own'), { methods: ['GET', 'HEAD'], kind: 'proxy', backend: 'a' })
  t.match(route('mine'), { methods: ['POST'], kind: 'handler', backend: 'b', path: '/mine' })
  t.match(route('/both'), { kind: 'composite', parts: [{ name: 'a' }, { name: 'b' }] })
  t.match(route('default'), { path: '/*', backend: 'a' })
})

t.test('circuits of everybody and of tenants, those that are not closed first', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const app = await start(t, { backends: { up: [url, A] }, defaultBackend: 'up', tenancy: { tenants: { acme: {} } } })
  await app.inject('/x')
  await app.inject({ url: '/x', headers: { 'x-tenant-id': 'acme' } })
  app.reverseproxy.breakers.open('up', A)
  const { breakers, total } = await read<{ breakers: Array<{ scope: string, target: string, state: string }>, total: number }>(app, '/breakers')
  t.match(breakers[0], { scope: '', target: A, state: 'open' })
  t.equal(total, breakers.length)
  t.ok(breakers.some(({ scope, state }) => scope === 'acme' && state === 'closed'))
  t.equal((await read<{ breakers: unknown[] }>(app, '/breakers?limit=1')).breakers.length, 1)
})

t.test('tenants come in pages, by id', async t => {
  const tenants = Object.fromEntries(Array.from({ length: 250 }, (_, index) => [`t${String(index * 7919 % 250).padStart(3, '0')}`, index === 3 ? false : { metadata: { plan: 'gold', apiKey: 'secret' } }]))
  const app = await start(t, { backends: { up: A }, tenancy: { tenants } } as GatewayOptions)
  const ids: string[] = []
  for (let after: string | null = ''; after !== null;) {
    const page: { tenants: Array<{ id: string }>, total: number, next: string | null } = await read(app, `/tenants?limit=60&after=${after}`)
    t.equal(page.total, 250)
    ids.push(...page.tenants.map(({ id }) => id))
    after = page.next
  }
  t.same(ids, Object.keys(tenants).sort())
  const first = await read<{ tenants: unknown[], next: string }>(app, '/tenants')
  t.equal(first.tenants.length, 100)
  t.equal(first.next, 't099')
  t.match(first.tenants[0], { id: 't000', served: true, source: 'options', active: false, metadata: { plan: 'gold', apiKey: '[redacted]' } })
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'more=1']) t.equal((await app.inject(`/_gateway/tenants?${query}`)).statusCode, 400, query)
})

t.test('a page of very many tenants is the right one, whatever their order', t => {
  const all = Array.from({ length: 20_000 }, (_, index) => ({ id: `t${19_999 - index}`, served: true, source: 'load' as const, active: false, metadata: {} }))
  const sorted = all.map(({ id }) => id).sort()
  const page = pageOf(all, 100, sorted[5_000]!)
  t.same(page.tenants.map(({ id }) => id), sorted.slice(5_001, 5_101))
  t.equal(page.next, sorted[5_100])
  t.equal(pageOf(all, 100, sorted.at(-1)!).next, null)
  t.same(pageOf([], 5), { tenants: [], total: 0, next: null })
  t.end()
})

t.test('without tenancy there are none', async t => {
  t.same(await read(await start(t, { backends: { up: A } }), '/tenants'), { tenants: [], total: 0, next: null })
})

t.test('an explanation, by query and by body', async t => {
  const app = await start(t, {
    backends: { a: A, b: B },
    routes: [{ name: 'v2', path: '/x', headers: { 'x-version': '2' }, proxy: { backend: 'b' } }, { name: 'v1', path: '/x', proxy: { backend: 'a' } }]
  })
  const expected = await app.reverseproxy.explain({ url: '/x?a=b', headers: { 'x-version': '2' } })
  t.equal(expected.route.name, 'v2')
  t.same(await read(app, `/explain?url=${encodeURIComponent('/x?a=b')}&header=${encodeURIComponent('X-Version: 2')}&header=accept:*/*`), expected)
  const posted = await app.inject({ method: 'POST', url: '/_gateway/explain', payload: { url: '/x?a=b', headers: { 'x-version': ['2'] } } })
  t.same(posted.json(), expected)
  t.match(await read(app, '/explain?method=delete&url=/x'), { calls: [] }, 'the method counts')
  for (const query of ['url=x', 'url=http://a/', 'method=G ET', 'header=x', 'header=a b:c', 'header=a:b%0ac', 'other=1']) t.equal((await app.inject(`/_gateway/explain?${query}`)).statusCode, 400, query)
})

t.test('an explanation takes nothing over from who asks for it', async t => {
  const seen: unknown[] = []
  const app = await start(t, { backends: { a: A }, defaultBackend: 'a', admin: { token: 't0k3n' } }, app => {
    app.addHook('onRequest', async request => { if (app.reverseproxy.isExplained(request)) seen.push(request.headers) })
  })
  await app.inject({ url: '/_gateway/explain?url=/x&header=accept:text/html', headers: { authorization: 'Bearer t0k3n', cookie: 'a=b' } })
  t.same(seen, [{ host: 'localhost', accept: 'text/html' }])
})

t.test('the document shows every route with its answers, and every answer is as it says', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const app = await start(t, { backends: { up: { targets: [url, A], health: { path: '/', interval: '1h' }, concurrency: { max: 2 } } }, defaultBackend: 'up', tenancy: { tenants: { acme: { metadata: { a: 1 } } } } } as GatewayOptions, app => {
    app.get('/own', { proxy: 'up' }, app.reverseproxy.handler)
  })
  for (const path of ['/x', '/y']) await app.inject(path)
  interface Operation { responses: Record<string, { content?: Record<string, { schema: object }> }>, requestBody?: { content: object } }
  const document = await read<{ openapi: string, info: { version: string }, paths: Record<string, Record<string, Operation>>, security?: unknown }>(app, '/openapi.json')
  t.match(document.openapi, /^3\.1/)
  t.same(Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`)).sort(), [
    'get /_gateway', 'get /_gateway/backends', 'get /_gateway/backends/{backend}', 'get /_gateway/breakers', 'get /_gateway/config', 'get /_gateway/events',
    'get /_gateway/explain', 'get /_gateway/openapi.json', 'get /_gateway/recent', 'get /_gateway/routes', 'get /_gateway/status', 'get /_gateway/tenants',
    'post /_gateway/backends/{backend}/breaker/close', 'post /_gateway/backends/{backend}/breaker/open', 'post /_gateway/backends/{backend}/check',
    'post /_gateway/backends/{backend}/drain', 'post /_gateway/backends/{backend}/undrain', 'post /_gateway/explain'
  ])
  const ajv = new Ajv({ strict: false })
  addFormats.default(ajv)
  function holds (method: string, path: string, status: string, value: unknown): void {
    const { content } = document.paths[path]![method]!.responses[status]!
    const check = ajv.compile(content!['application/json']!.schema)
    t.ok(check(value), `${method} ${path} ${status}: ${JSON.stringify(check.errors)}`)
  }
  for (const [path, { get }] of Object.entries(document.paths)) {
    if (get === undefined || get.responses['200']!.content!['application/json'] === undefined) continue
    holds('get', path, '200', await read(app, path.replace('/_gateway', '').replace('{backend}', 'up')))
  }
  const bodies: Record<string, object> = { drain: { target: A }, undrain: { target: A }, check: {}, open: { target: A }, close: {}, explain: { url: '/x' } }
  for (const [path, { post }] of Object.entries(document.paths)) {
    if (post === undefined) continue
    t.ok(post.requestBody, path)
    const answer = await app.inject({ method: 'POST', url: path.replace('{backend}', 'up'), payload: bodies[path.split('/').at(-1)!]! })
    holds('post', path, String(answer.statusCode), answer.json())
  }
  holds('get', '/_gateway/backends/{backend}', '4XX', (await app.inject('/_gateway/backends/none')).json())
  t.equal(document.security, undefined)
})

t.test("the app's own document shows nothing of it, and both are there", async t => {
  const outer = await buildOuter(t)
  t.same(Object.keys(outer.swagger().paths!), ['/mine'])
  const { paths, security } = (await outer.inject({ url: '/_gateway/openapi.json', headers: { authorization: 'Bearer x' } })).json<{ paths: object, security: unknown }>()
  t.notOk('/mine' in paths)
  t.same(security, [{ token: [] }])
})

async function buildOuter (t: Test): Promise<FastifyInstance & { swagger (): { paths?: object } }> {
  const { default: Fastify } = await import('fastify')
  const { default: reverseproxy } = await import('../../index.ts')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, { openapi: { info: { title: 'mine', version: '1' } } })
  await app.register(reverseproxy, { backends: { up: A }, admin: { token: 'x' } })
  app.get('/mine', async () => 'x')
  await app.ready()
  return app as unknown as FastifyInstance & { swagger (): { paths?: object } }
}

t.test('two gateways in one app have one each', async t => {
  const { default: Fastify } = await import('fastify')
  const { default: reverseproxy } = await import('../../plugins/reverseproxy.ts')
  const app = Fastify()
  t.teardown(() => app.close())
  for (const name of ['one', 'two']) {
    await app.register(async scope => { await scope.register(reverseproxy, { backends: { [name]: A }, admin: true }) }, { prefix: `/${name}` })
  }
  await app.ready()
  for (const name of ['one', 'two']) t.match((await app.inject(`/${name}/_gateway/backends`)).json(), { backends: [{ name }] })
  t.equal((await app.inject('/one/_gateway/')).headers.location, '/one/_gateway')
})

t.test('without the option there is nothing', async t => {
  const app = await buildGateway({ backends: { up: A } }, () => {})
  t.teardown(() => app.close())
  t.equal((await app.inject('/_gateway/status')).statusCode, 404)
  t.equal(app.reverseproxy.admin.address, undefined)
})
