/** Probes: whether the gateway lives, whether it should get requests, and that nothing else comes of the question. */
import t from 'tap'
import type { Test } from 'tap'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import swagger from '@fastify/swagger'
import reverseproxy from '../../index.ts'
import { startGateway as serve } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import { get, httpUpstream, proxyAll, rawRequest, startGateway, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, TestLike } from '../helper.ts'

/** Takes no connections. */
const DEAD = 'http://127.0.0.1:1'
const LONG = '10m'
const NO_BACKEND = 'no backend has a usable target'

/** Answers 200, or 503 once it is `ill`. */
async function up (t: TestLike) {
  const self = { url: '', ill: false, hits: 0 }
  const { url } = await httpUpstream(t, (_request, response) => {
    self.hits++
    response.writeHead(self.ill ? 503 : 200).end('up')
  })
  self.url = url
  return self
}

async function gateway (t: Test, options: object, configure: Configure = () => {}): Promise<FastifyInstance> {
  return (await startGateway(t, { probes: true, ...options } as GatewayOptions, configure)).app
}

async function ready (app: FastifyInstance) {
  const answer = await app.inject('/health/ready')
  const body = answer.json<{ status: string, reasons?: string[] }>()
  if (answer.statusCode !== (body.status === 'ready' ? 200 : 503)) throw new Error(`${answer.statusCode}: ${answer.body}`)
  return body
}

const READY = { status: 'ready', reasons: undefined }
const notReady = (...reasons: string[]) => ({ status: 'not-ready', reasons })

/** A check under way when it fell ill may have found it well. */
async function check (app: FastifyInstance, name: string, well: boolean): Promise<void> {
  for (let times = 0; times < 10; times++) if (await app.reverseproxy.health.check(name) === well) return
  throw new Error(`${name} is not found ${well ? 'well' : 'ill'}`)
}

/** The first failure counts; then it is not asked for long. */
const CHECKED = { path: '/', interval: LONG, fall: 1, rise: 1 }

// ---- what they say

t.test('both answer JSON that nobody keeps, to HEAD as well', async t => {
  const app = await gateway(t, { backends: { up: (await up(t)).url } })
  for (const [url, said] of [['/health/live', { status: 'ok' }], ['/health/ready', { status: 'ready' }]] as const) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200, url)
    t.same(answer.json(), said, url)
    t.match(answer.headers, { 'cache-control': 'no-store', 'content-type': /^application\/json/ }, url)
    const head = await app.inject({ method: 'HEAD', url })
    t.match({ status: head.statusCode, body: head.body, cache: head.headers['cache-control'] }, { status: 200, body: '', cache: 'no-store' }, url)
  }
})

t.test('a gateway that is not ready says why with 503, and lives', async t => {
  const app = await gateway(t, { backends: { up: { targets: [{ url: DEAD, active: false }] } } })
  const answer = await app.inject('/health/ready')
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.same(answer.json(), notReady(NO_BACKEND))
  t.equal((await app.inject({ method: 'HEAD', url: '/health/ready' })).statusCode, 503)
  t.equal((await app.inject('/health/live')).statusCode, 200)
})

t.test('without the option there are no routes, but readiness is known', async t => {
  const app = await gateway(t, { backends: { up: { targets: [{ url: DEAD, active: false }] } }, probes: false })
  t.equal((await app.inject('/health/live')).statusCode, 404)
  t.equal((await app.inject('/health/ready')).statusCode, 404)
  t.same(app.reverseproxy.readiness(), { ready: false, reasons: [NO_BACKEND] })
})

t.test('their paths may be others, and each may be left out', async t => {
  const app = await gateway(t, { backends: { up: DEAD }, probes: { live: '/alive', ready: false } })
  t.equal((await app.inject('/alive')).statusCode, 200)
  t.equal((await app.inject('/health/ready')).statusCode, 404)
})

t.test('the app\'s OpenAPI document does not show them', async t => {
  let document: { paths?: object } = {}
  await gateway(t, { backends: { up: DEAD } }, async app => {
    await app.register(swagger, { openapi: { info: { title: 'app', version: '1' } } })
    app.get('/own', async () => 'own')
    app.addHook('onReady', async () => { document = app.swagger() })
  })
  t.same(Object.keys(document.paths!), ['/own'])
})

// ---- which backends

t.test('one backend that is down takes no gateway out, all of them do', async t => {
  const [a, b] = [await up(t), await up(t)]
  const app = await gateway(t, { backends: { a: a.url, b: b.url }, health: CHECKED })
  a.ill = true
  await check(app, 'a', false)
  t.match(await ready(app), READY)
  b.ill = true
  await check(app, 'b', false)
  t.match(await ready(app), notReady(NO_BACKEND))
  b.ill = false
  await check(app, 'b', true)
  t.match(await ready(app), READY)
})

t.test('each required backend must be usable, and no other', async t => {
  const [a, b, c] = [await up(t), await up(t), await up(t)]
  const app = await gateway(t, { backends: { a: a.url, b: b.url, c: c.url }, health: CHECKED, probes: { required: ['a', 'b'] } })
  c.ill = true
  await check(app, 'c', false)
  t.match(await ready(app), READY)
  a.ill = b.ill = true
  await Promise.all(['a', 'b'].map(name => check(app, name, false)))
  t.match(await ready(app), notReady('backend a: no usable target', 'backend b: no usable target'))
  a.ill = false
  await check(app, 'a', true)
  t.match(await ready(app), notReady('backend b: no usable target'))
})

t.test('one target of several is enough', async t => {
  const [a, b] = [await up(t), await up(t)]
  const app = await gateway(t, { backends: { up: [a.url, b.url] }, health: CHECKED, probes: { required: ['up'] } })
  a.ill = true
  await check(app, 'up', false)
  t.match(await ready(app), READY)
})

t.test('targets that are drained, inactive or without weight are none', async t => {
  const app = await gateway(t, { backends: { up: [{ url: DEAD }, { url: 'http://127.0.0.1:2', weight: 0 }, { url: 'http://127.0.0.1:3', active: false }] } })
  t.match(await ready(app), READY)
  await app.reverseproxy.backends.drain('up', DEAD)
  t.match(await ready(app), notReady(NO_BACKEND))
  app.reverseproxy.backends.updateTarget('up', DEAD, { active: true })
  t.match(await ready(app), READY)
})

t.test('backends come and go at run time', async t => {
  const app = await gateway(t, { backends: { a: { targets: [{ url: DEAD, active: false }] } } })
  t.match(await ready(app), notReady(NO_BACKEND))
  app.reverseproxy.backends.add('b', DEAD)
  t.match(await ready(app), READY)
  await app.reverseproxy.backends.remove('b')
  t.match(await ready(app), notReady(NO_BACKEND))
})

t.test('a required backend that was removed is missed', async t => {
  const app = await gateway(t, { backends: { a: DEAD, b: DEAD }, probes: { required: ['a'] } })
  await app.reverseproxy.backends.remove('a')
  t.match(await ready(app), notReady('backend a: it is gone'))
})

t.test('a gateway without backends, or with those of tenants only, is ready', async t => {
  t.match(await ready(await gateway(t, {})), READY)
  const tenancy = { header: 'x-tenant', tenants: { acme: { backends: { a: DEAD } } } }
  t.match(await ready(await gateway(t, { backends: { a: { targets: [] } }, tenancy })), READY)
  t.match(await ready(await gateway(t, { backends: { a: { targets: [] }, b: { targets: [{ url: DEAD, active: false }] } }, tenancy })), notReady(NO_BACKEND), 'everybody has one')
})

t.test('what a tenant has of its own says nothing of the gateway', async t => {
  const own = await up(t)
  const app = await gateway(t, {
    backends: { a: DEAD },
    tenancy: { header: 'x-tenant', tenants: { acme: { backends: { a: own.url } } } },
    circuitBreaker: { failureThreshold: 1, resetTimeout: LONG }
  }, proxyAll('a'))
  t.equal((await app.inject({ url: '/', headers: { 'x-tenant': 'acme' } })).statusCode, 200)
  app.reverseproxy.breakers.open('a', undefined, 'acme')
  t.match(await ready(app), READY)
  app.reverseproxy.breakers.open('a')
  t.match(await ready(app), notReady(NO_BACKEND))
})

// ---- what usable means

t.test('a circuit that is open is in the way, a half-open one is not', async t => {
  const upstream = await up(t)
  const app = await gateway(t, { backends: { up: { targets: [upstream.url], circuitBreaker: { resetTimeout: LONG } } } })
  app.reverseproxy.breakers.open('up')
  t.match(await ready(app), notReady(NO_BACKEND))
  app.reverseproxy.breakers.configure('up', { resetTimeout: 1 })
  t.ok(await waitFor(() => app.reverseproxy.breakers.get('up')?.state === 'half-open'))
  t.match(await ready(app), READY)
})

t.test('targets that traffic has thrown out are in the way', async t => {
  const [a, b] = [await up(t), await up(t)]
  const outlier = { consecutive: 1, baseEjection: LONG, maxEjection: LONG, maxEjectedPercent: 100 }
  const app = await gateway(t, { backends: { up: [a.url, b.url] }, circuitBreaker: false, outlier }, proxyAll())
  a.ill = b.ill = true
  await app.inject('/')
  t.match(await ready(app), READY, 'one of them')
  await app.inject('/')
  t.match(await ready(app), notReady(NO_BACKEND))
})

t.test('a limit that is reached is not', async t => {
  let release: (() => void) | undefined
  const { url } = await httpUpstream(t, (_request, response) => { release = () => { response.end() } })
  const app = await gateway(t, { backends: { up: { targets: [{ url, maxConnections: 1 }], concurrency: 1 } } }, proxyAll())
  const held = app.inject('/').then(({ statusCode }) => statusCode)
  t.ok(await waitFor(() => release !== undefined))
  t.match(await ready(app), READY)
  release!()
  t.equal(await held, 200)
})

t.test('in a panic the sick count as they are used', async t => {
  const upstream = await up(t)
  upstream.ill = true
  for (const [panic, said] of [[false, notReady(NO_BACKEND)], [{ mode: 'all' }, READY], [{ mode: '503' }, notReady(NO_BACKEND)]] as const) {
    const app = await gateway(t, { backends: { up: upstream.url }, health: CHECKED, panic, circuitBreaker: {} }, proxyAll())
    await check(app, 'up', false)
    t.match(await ready(app), said, JSON.stringify(panic))
    if (panic === false || panic.mode !== 'all') continue
    app.reverseproxy.breakers.open('up')
    t.match(await ready(app), notReady(NO_BACKEND), 'a panic does not close circuits')
  }
})

t.test('before the first check a target is what health.initial says', async t => {
  const upstream = await up(t)
  const app = await gateway(t, { backends: { up: upstream.url }, health: { ...CHECKED, initial: 'unhealthy' } })
  t.ok(await waitFor(() => app.reverseproxy.readiness().ready), 'the first check has found it well')
  t.ok(upstream.hits > 0)
})

t.test('a backend whose targets are not known yet is not usable', async t => {
  const seen: { tell?: () => void } = {}
  const list = new Promise<Array<{ url: string }>>(resolve => { seen.tell = () => { resolve([{ url: DEAD }]) } })
  const app = await gateway(t, { backends: { a: DEAD, up: { discovery: { provider: { resolve: async () => await list }, bootTimeout: 1 } } }, probes: { required: ['up'] } })
  t.match(await ready(app), notReady('backend up: no usable target'))
  seen.tell!()
  t.ok(await waitFor(() => app.reverseproxy.readiness().ready))
})

// ---- nothing else comes of it

t.test('the probes win over routes that take everything, and no backend is asked', async t => {
  const upstream = await up(t)
  const all = [{ defaultBackend: 'up' }, { routes: [{ path: '/*', proxy: 'up' }] }, { routes: [{ path: '/:one/*', host: 'localhost', proxy: 'up' }, { path: '/*', proxy: 'up' }] }]
  for (const options of all) {
    upstream.hits = 0
    const app = await gateway(t, { backends: { up: upstream.url }, ...options })
    for (const url of ['/health/live', '/health/ready']) {
      for (const method of ['GET', 'HEAD'] as const) t.match((await app.inject({ method, url })).headers, { 'cache-control': 'no-store' }, `${method} ${url}`)
    }
    t.equal(upstream.hits, 0)
    t.equal((await app.inject('/health/other')).body, 'up')
  }
})

t.test('they are nobody\'s requests: no tenant, no limit of the gateway, no number, no line, no dump', async t => {
  const lines: string[] = []
  const directory = t.testdir({})
  const { app } = await startGateway(t, {
    backends: { up: (await up(t)).url },
    probes: true,
    tenancy: { header: 'x-tenant', required: true },
    limits: { headerCount: 1 },
    metrics: { allRoutes: true, defaultMetrics: false },
    log: { requests: 'warn' },
    trafficDump: { directory, sampleRate: 1 }
  }, proxyAll(), { logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } } })
  lines.length = 0
  const seen: Array<FastifyRequest['reverseproxy']> = []
  app.reverseproxy.observers.push((_attempt, { record }) => { seen.push(record) })
  const headers = { 'x-one': '1', 'x-two': '2' }
  for (const url of ['/health/live', '/health/ready']) t.equal((await app.inject({ url, headers })).statusCode, 200, url)
  t.equal((await app.inject({ url: '/', headers: { ...headers, 'x-tenant': 'acme' } })).statusCode, 431, 'the limit is on')
  t.same(app.reverseproxy.metrics.snapshot().requests.total, 1, 'that of the other')
  t.equal(lines.filter(line => line.includes('/health/')).length, 0)
  t.equal(app.reverseproxy.trafficDump.stats().written + app.reverseproxy.trafficDump.stats().queued, 1)
  t.same(seen, [])
})

t.test('limits of @fastify/rate-limit leave them out', async t => {
  let limited: unknown
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.addHook('onRoute', ({ url, config }) => { if (url === '/health/ready') limited = (config as { rateLimit?: unknown }).rateLimit })
  await app.register(reverseproxy, { probes: true })
  t.equal(limited, false)
})

t.test('to explain they are routes of the app\'s own', async t => {
  const app = await gateway(t, { backends: { up: DEAD }, defaultBackend: 'up' })
  t.match(await app.reverseproxy.explain({ url: '/health/ready' }), { route: { path: '/health/ready', kind: 'other' }, calls: [] })
})

t.test('they are below the prefix of the scope that the gateway is registered in', async t => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(async scope => { await scope.register(reverseproxy, { probes: true }) }, { prefix: '/inner' })
  t.equal((await app.inject('/inner/health/live')).statusCode, 200)
  t.equal((await app.inject('/health/live')).statusCode, 404)
})

// ---- the end, and one gateway after the other

t.test('during shutdown.delay it lives, is not ready, and serves', async t => {
  const upstream = await up(t)
  const { app, port } = await startGateway(t, { backends: { up: upstream.url }, probes: true, shutdown: { delay: '1s' } })
  const ask = async (url: string) => {
    const { response } = await rawRequest(port, get(url))
    return { status: response.status, text: response.text, connection: response.header('connection') }
  }
  t.match(await ask('/health/ready'), { status: 200, connection: 'keep-alive' })
  const closed = app.close()
  t.ok(await waitFor(() => app.reverseproxy.closing))
  t.match(await ask('/health/ready'), { status: 503, text: JSON.stringify(notReady('draining')), connection: 'close' })
  t.match(await ask('/health/live'), { status: 200, text: '{"status":"ok"}', connection: 'close' })
  t.match(await ask('/served'), { status: 200, text: 'up' })
  await closed
})

t.test('reverseproxy.shutdown() says so from its first moment on, also where Fastify answers 503 while it closes', async t => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(reverseproxy, { backends: { up: DEAD }, probes: { required: ['up'] }, shutdown: { delay: '1s' } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const over = app.reverseproxy.shutdown()
  t.same(app.reverseproxy.readiness(), { ready: false, reasons: ['draining'] }, 'at once')
  t.match((await rawRequest(port, get('/health/ready'))).response, { status: 503, text: JSON.stringify(notReady('draining')) })
  t.equal((await rawRequest(port, get('/health/live'))).response.status, 200)
  await over
})

t.test('draining comes before what else is wrong', async t => {
  const app = await gateway(t, { backends: { up: { targets: [{ url: DEAD, active: false }] } }, probes: { required: ['up'] } })
  await app.close()
  t.same(app.reverseproxy.readiness(), { ready: false, reasons: ['draining', 'backend up: no usable target'] })
})

t.test('a gateway that takes another\'s place answers for itself', async t => {
  const [a, b] = [await up(t), await up(t)]
  const file = (...lines: string[]) => ['server: { port: 0, logger: silent }', ...lines].join('\n')
  const health = `health: ${JSON.stringify(CHECKED)}`
  let text = file('probes: { required: [a] }', health, `backends: { a: ${a.url} }`)
  const running = await serve(async () => parseConfigText(text, { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await running.close() })
  const ask = async (url: string) => (await rawRequest(running.port, get(url))).response
  a.ill = true
  await check(running.app, 'a', false)
  t.equal((await ask('/health/ready')).status, 503)
  const before = running.app
  text = file('probes: { ready: /ready, required: [b] }', health, `backends: { a: ${a.url}, b: ${b.url} }`)
  t.match(await running.reload(), { outcome: 'applied' })
  t.match(await ask('/ready'), { status: 200 })
  t.equal((await ask('/health/ready')).status, 404)
  text = file('probes: true', health, `backends: { a: ${a.url} }`)
  t.match(await running.reload(), { outcome: 'applied' })
  t.match(await ask('/health/ready'), { status: 503, text: JSON.stringify(notReady(NO_BACKEND)) }, 'what was known of the target is known here')
  t.ok(before !== running.app)
})
