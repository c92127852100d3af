/** The line that each request has in the log. */
import t from 'tap'
import { SpanKind } from '@opentelemetry/api'
import { Writable } from 'node:stream'
import { askHttp2, closedPort, get, httpUpstream, rawClient, rawRequest, rawUpstream, RESET, respond, startGateway, startHttp2Gateway, wait, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, TestLike } from '../helper.ts'
import { startTraces } from '../helper/traces.ts'

const OK = respond(200, {}, 'hi')

type Line = Readonly<Record<string, unknown>> & { readonly level: number, readonly msg: string, readonly ms: Readonly<Record<string, number>> }

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const

interface SetUp {
  readonly scripts?: readonly Script[]
  readonly log?: GatewayOptions['log']
  readonly backend?: Readonly<Record<string, unknown>>
  readonly gateway?: Readonly<Record<string, unknown>>
  readonly configure?: Configure
  readonly level?: string
}

/** Keeps what a logger writes. */
function createLog () {
  const raw: string[] = []
  const stream = new Writable({ write (chunk, _encoding, done) { raw.push(String(chunk)); done() } })
  const lines = (): Line[] => raw.map(text => JSON.parse(text) as Line)
  const requests = (): Line[] => lines().filter(({ msg }) => msg === 'request')
  return {
    raw,
    stream,
    lines,
    requests,
    /** The latest of so many. */
    async until (count = 1): Promise<Line> {
      await waitFor(() => requests().length >= count)
      return requests()[count - 1]!
    }
  }
}

async function setUp (t: TestLike, { scripts = [OK], log = { requests: 'info' }, backend, gateway, configure, level = 'trace' }: SetUp = {}) {
  const ups: RawUpstream[] = []
  for (const script of scripts) ups.push(await rawUpstream(t, script))
  const written = createLog()
  const options = { log, ...gateway, backends: { up: { targets: ups.map(({ url }) => url), circuitBreaker: false, ...backend } } }
  const started = await startGateway(t, options as GatewayOptions, configure, { logger: { level, stream: written.stream }, disableRequestLogging: true })
  return { ...started, ...written, ups }
}

// ---- what it says

t.test('a request has one line with all there is to know', async t => {
  const { url, until, requests, ups } = await setUp(t, { backend: { circuitBreaker: {}, balancer: 'least-connections' } })
  await fetch(`${url}/a/b?c=SECRET`, { headers: { authorization: 'SECRET' } })
  const { time, pid, hostname, reqId, ms, ...line } = await until()
  t.strictSame(line, {
    level: LEVELS.info,
    route: '/*',
    backend: 'up',
    target: ups[0]!.url,
    balancer: 'least-connections',
    breaker: 'closed',
    health: 'healthy',
    method: 'GET',
    path: '/a/b',
    status: 200,
    outcome: 'ok',
    attempts: 1,
    retries: 0,
    bytes: 2,
    msg: 'request'
  })
  t.match(reqId, /^\S+$/)
  t.same(Object.keys(ms), ['total', 'connect', 'firstByte'])
  t.ok(ms['connect']! >= 0 && ms['connect']! <= ms['firstByte']! && ms['firstByte']! <= ms['total']! + 0.1, JSON.stringify(ms))
  t.equal(requests().length, 1)
})

t.test('without the option there is no line, and nothing is measured', async t => {
  const records: unknown[] = []
  const { url, requests } = await setUp(t, { log: {}, configure: app => { app.get('/', { proxy: 'up', onResponse: async ({ reverseproxy }) => { records.push(reverseproxy!.attempts[0]!.connect) } }, app.reverseproxy.handler) } })
  await fetch(url)
  t.ok(await waitFor(() => records.length === 1))
  t.strictSame([requests(), records], [[], [undefined]])
})

t.test('the line has the level it was given, and none where nobody would see it', async t => {
  const { url, until } = await setUp(t, { log: { requests: 'debug' } })
  await fetch(url)
  t.equal((await until()).level, LEVELS.debug)
  const quiet = await setUp(t, { log: { requests: 'debug' }, level: 'info', configure: app => { app.addHook('onResponse', async request => { request.log.info('done') }); app.get('/', { proxy: 'up' }, app.reverseproxy.handler) } })
  await fetch(quiet.url)
  t.ok(await waitFor(() => quiet.lines().some(({ msg }) => msg === 'done')))
  t.same(quiet.requests(), [])
})

t.test('failures have a level of their own', async t => {
  const { url, until } = await setUp(t, { scripts: [({ nth }) => respond([200, 404, 503][nth]!)], log: { requests: 'debug', failures: 'error' } })
  for (let i = 0; i < 3; i++) await fetch(url)
  await until(3)
  t.same([(await until(1)).level, (await until(2)).level, (await until(3)).level], [LEVELS.debug, LEVELS.debug, LEVELS.error])
})

t.test('failures alone may have lines', async t => {
  const { url, until, requests } = await setUp(t, { scripts: [({ nth }) => respond(nth === 0 ? 200 : 500)], log: { failures: 'warn' } })
  await fetch(url)
  await fetch(url)
  t.match(await until(), { level: LEVELS.warn, status: 500, outcome: 'server-error' })
  t.equal(requests().length, 1)
})

t.test('slow: only those that took long, and failures', async t => {
  const { url, until, requests } = await setUp(t, { scripts: [({ nth }) => respond(nth === 0 ? 200 : 500)], log: { requests: 'info', slow: '1h' } })
  await fetch(url)
  await fetch(url)
  t.equal((await until()).status, 500)
  t.equal(requests().length, 1)
  const all = await setUp(t, { log: { requests: 'info', slow: 0.001 } })
  await fetch(all.url)
  t.equal((await all.until()).status, 200)
})

t.test('of the query names are shown, or what may be; of the client the address where it is asked for', async t => {
  const { url, until } = await setUp(t, { log: { requests: 'info', query: ['page'], clientAddress: true } })
  await fetch(`${url}/?page=2&token=SECRET`)
  t.match(await until(), { path: '/', query: 'page=2&token=REDACTED', client: '127.0.0.1' })
})

t.test('routes have their names, tenants are called as logs call them', async t => {
  const { url, until } = await setUp(t, {
    gateway: { tenancy: { tenants: { acme: {} }, hashIds: true }, routes: [{ name: 'declared', path: '/declared', proxy: 'up' }] },
    configure: app => { app.get('/named', { proxy: 'up', config: { name: 'mine' } }, app.reverseproxy.handler) }
  })
  await fetch(`${url}/declared`, { headers: { 'x-tenant-id': 'acme' } })
  await fetch(`${url}/named`)
  const [first, second] = [await until(1), await until(2)]
  t.equal(first['route'], 'declared')
  t.type(first['tenant'], 'string')
  t.not(first['tenant'], 'acme')
  t.match(second, { route: 'mine', tenant: undefined })
})

t.test('several tries are listed', async t => {
  const { url, until, ups } = await setUp(t, { scripts: [() => [RESET], OK], backend: { retry: { attempts: 2, budget: false, backoff: { initial: 1, max: 2 } } } })
  await fetch(url)
  const line = await until()
  t.match(line, {
    status: 200,
    outcome: 'ok',
    target: ups[1]!.url,
    attempts: 2,
    retries: 1,
    tries: [{ target: ups[0]!.url, outcome: 'reset', ms: Number }, { target: ups[1]!.url, outcome: 'ok', status: 200, ms: Number }]
  })
})

t.test('a hedged try that came too late is not the one that counts', async t => {
  const { url, until, ups } = await setUp(t, { scripts: [() => {}, OK], backend: { retry: { hedge: 20, budget: false } } })
  await fetch(url)
  t.match(await until(), { outcome: 'ok', target: ups[1]!.url, attempts: 2 })
})

t.test('time in the queue is told apart', async t => {
  const { url, until, requests } = await setUp(t, { scripts: [() => [wait(30), OK]], backend: { concurrency: { max: 1, queue: 5, queueTimeout: '5s' } } })
  await Promise.all([1, 2].map(async () => await (await fetch(url)).text()))
  await until(2)
  const [first, second] = requests()
  t.equal(first?.ms['queue'], undefined)
  t.ok(second!.ms['queue']! > 0 && second!.ms['queue']! <= second!.ms['total']!, JSON.stringify(second?.ms))
})

t.test('a call that has waited in vain has waited all the same', async t => {
  const { url, until, ups } = await setUp(t, { scripts: [() => {}], backend: { concurrency: { max: 1, queue: 5, queueTimeout: 20 }, timeout: { total: 2000 } } })
  const held = fetch(url).catch(() => {})
  t.ok(await waitFor(() => ups[0]!.requests.length === 1))
  t.equal((await fetch(url)).status, 503)
  const line = await until()
  t.match(line, { status: 503, outcome: 'rejected', attempts: 0 })
  t.ok(line.ms['queue']! >= 15, JSON.stringify(line.ms))
  await held
})

t.test('the state of breaker and health is that of the target', async t => {
  const { app, url, until } = await setUp(t, { scripts: [respond(500)], backend: { circuitBreaker: { failureThreshold: 1 }, outlier: { consecutive: 1, maxEjectedPercent: 100 } } })
  await fetch(url)
  t.match(await until(), { outcome: 'server-error', breaker: 'open', health: 'ejected' })
  t.equal(app.reverseproxy.breakers.get('up')?.state, 'open')
  t.equal((await fetch(url)).status, 503)
  t.match(await until(2), { status: 503, outcome: 'rejected', attempts: 0, backend: 'up', target: undefined, breaker: undefined })
})

t.test('a composite has its parts', async t => {
  const { url, until, ups } = await setUp(t, {
    scripts: [({ request: { target } }) => target === '/a' ? respond(200, { 'content-type': 'application/json' }, '{}') : respond(500)],
    gateway: { routes: [{ name: 'page', path: '/page', composite: { parts: { a: { backend: 'up', path: '/a' }, b: { backend: 'up', path: '/b', fallback: {} } } } }] }
  })
  await fetch(`${url}/page`)
  const line = await until()
  t.match(line, {
    route: 'page',
    status: 200,
    outcome: 'ok',
    attempts: 2,
    parts: [
      { name: 'a', state: 'ok', backend: 'up', target: ups[0]!.url, status: 200, outcome: 'ok', attempts: 1, ms: Number },
      { name: 'b', state: 'fallback', backend: 'up', status: 500, outcome: 'server-error', attempts: 1, ms: Number }
    ]
  })
  t.same(['backend', 'target', 'tries'].filter(name => name in line), [], 'parts have theirs')
})

// ---- whatever the end

t.test('a backend that cannot be reached', async t => {
  const port = await closedPort()
  const { url, until } = await setUp(t, { gateway: { log: { requests: 'info' } }, backend: { targets: [`http://127.0.0.1:${port}`] } })
  await fetch(url)
  const line = await until()
  t.match(line, { status: 502, outcome: 'connect-error', target: `http://127.0.0.1:${port}` })
  t.same(Object.keys(line.ms), ['total'])
})

t.test('a client that goes away is aborted, and there is no status', async t => {
  const { port, until, requests, ups } = await setUp(t, { scripts: [() => {}] })
  const client = await rawClient(t, port)
  await client.send(get('/'))
  await waitFor(() => ups[0]!.requests.length === 1)
  client.destroy()
  t.match(await until(), { status: 499, outcome: 'aborted', attempts: 1 })
  t.equal(requests().length, 1)
})

t.test('a client that goes away within its answer is aborted as well', async t => {
  const { port, until } = await setUp(t, { scripts: [['HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n', 'x'.repeat(1000)]] })
  const client = await rawClient(t, port)
  await client.send(get('/'))
  await waitFor(() => client.raw.length > 100)
  client.destroy()
  t.match(await until(), { status: 499, outcome: 'aborted' })
})

t.test('an answer that the backend breaks off is a failure, with the status that the client has seen', async t => {
  const { port, until } = await setUp(t, { scripts: [['HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n', 'x'.repeat(70_000), RESET]], log: { requests: 'info', failures: 'warn' } })
  await rawRequest(port, get('/'))
  t.match(await until(), { level: LEVELS.warn, status: 200, outcome: 'reset' })
})

t.test('a WebSocket has its line with the handshake', async t => {
  const backend = await wsBackend(t)
  const { stream, until, requests } = createLog()
  const { url } = await startGateway(t, { backends: { up: backend.url }, log: { requests: 'info' }, routes: [{ path: '/live', proxy: { backend: 'up', websocket: true } }] }, () => {}, { logger: { stream }, disableRequestLogging: true })
  const client = await wsClient(t, `${url.replace('http', 'ws')}/live`)
  t.match(await until(), { route: '/live', status: 101, outcome: 'ok', attempts: 1 })
  client.socket.terminate()
  t.equal(requests().length, 1)
})

t.test('a request of HTTP/2 has its line', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end('hi') })
  const seen: unknown[] = []
  const gateway = await startHttp2Gateway(t, { backends: { up: upstream.url }, log: { requests: 'info' } }, {
    configure: app => {
      app.get('/x', { proxy: 'up', onRequest: async request => { request.log = { ...request.log, info: (line: unknown) => { seen.push(line) } } as never } }, app.reverseproxy.handler)
    }
  })
  t.equal((await askHttp2(gateway.open())).status, 200)
  t.ok(await waitFor(() => seen.length === 1))
  t.match(seen, [{ route: '/x', status: 200, outcome: 'ok', method: 'GET', path: '/x' }])
})

t.test('what is refused by a hook of the app has a line', async t => {
  const { url, until } = await setUp(t, { configure: app => { app.get('/', { proxy: 'up', onRequest: async (_request, reply) => reply.code(401).send() }, app.reverseproxy.handler) } })
  await fetch(url)
  t.match(await until(), { route: '/', status: 401, outcome: 'rejected', attempts: 0 })
})

t.test('lines are for requests that the gateway forwards: also by hand, and for no others', async t => {
  const { app, url, until, requests } = await setUp(t, {
    gateway: { metrics: true },
    configure: app => {
      app.get('/own', async () => 'mine')
      app.get('/by-hand', async (_request, reply) => reply.proxy('up'))
    }
  })
  await app.reverseproxy.request('up')
  for (const path of ['/own', '/metrics', '/nowhere', '/by-hand']) await (await fetch(url + path)).text()
  t.match(await until(), { route: '/by-hand', status: 200, backend: 'up', ms: { total: Number, firstByte: Number } })
  t.equal(requests().length, 1)
})

t.test('a call of the app\'s own that is given up has no line', async t => {
  const { app, url, ups, until, requests } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? undefined : OK] })
  const controller = new AbortController()
  const call = app.reverseproxy.request('up', { signal: controller.signal })
  t.ok(await waitFor(() => ups[0]!.requests.length === 1))
  controller.abort()
  await t.rejects(call, { code: 'RP_ERR_ABORTED' })
  await fetch(url)
  t.equal((await until()).status, 200)
  t.equal(requests().length, 1)
})

t.test('what is only explained has no line, whatever its answer would be', async t => {
  const { app, url, until, requests } = await setUp(t, { gateway: { tenancy: { required: true, tenants: { acme: {} } } } })
  t.match(await app.reverseproxy.explain({ url: '/x' }), { answered: { statusCode: 400 } })
  await fetch(url)
  t.match(await until(), { status: 400, outcome: 'rejected' })
  t.equal(requests().length, 1)
})

// ---- what it does not say

t.test('no secret of a client or backend is in any line', async t => {
  const { port, raw, until } = await setUp(t, { scripts: [() => respond(200, { 'set-cookie': 'id=SECRET', 'x-token': 'SECRET' }, 'SECRET')], log: { requests: 'info', query: true } })
  await rawRequest(port, get('/?token=SECRET&SECRET&a=b=SECRET', [['Authorization', 'Bearer SECRET'], ['Cookie', 'a=SECRET'], ['X-Api-Key', 'SECRET']]))
  await until()
  t.notMatch(raw.join(''), /SECRET/)
})

t.test('a line is one line, however long and strange the path', async t => {
  const { port, raw, until } = await setUp(t)
  await rawRequest(port, get(`/%0a%1b[31m\u{85}"${'x'.repeat(6000)}`.replace('\u{85}', '')))
  const line = await until()
  t.ok(String(line['path']).length <= 1025)
  t.ok(raw.every(text => text.indexOf('\n') === text.length - 1))
})

// ---- with the others

t.test('with tracing the line has the ids of the span', async t => {
  const traces = startTraces()
  const { url, until } = await setUp(t, { gateway: { tracing: true } })
  await fetch(url)
  const line = await until()
  const [, request] = await traces.until(2)
  t.equal(request?.kind, SpanKind.SERVER)
  t.same([line['traceId'], line['spanId']], [request?.spanContext().traceId, request?.spanContext().spanId])
})
