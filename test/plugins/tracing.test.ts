/** Spans of requests and of what they are made of, with OpenTelemetry's real SDK. */
import t from 'tap'
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { isTracingSuppressed, suppressTracing } from '@opentelemetry/core'
import { channel } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { askHttp2, closedPort, get, httpUpstream, rawClient, rawRequest, rawUpstream, RESET, respond, startGateway, startHttp2Gateway, startPair, waitFor } from '../helper.ts'
import { startTraces, traceparentOf } from '../helper/traces.ts'

const OK = respond(200, {}, 'hi')
const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'
const CLIENT = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE' }
const TRACING = { gateway: { tracing: true } } as const

const traces = startTraces()
t.beforeEach(() => { traces.reset() })

const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId
const ofKind = (kind: SpanKind): ReadableSpan[] => traces.spans().filter(span => span.kind === kind)

// ---- parentage and propagation

t.test('a request is a span of the client\'s trace, its attempt a child, and the backend is told of that one', async t => {
  const { url, upstream } = await startPair(t, OK, TRACING)
  await fetch(`${url}/a/b`, { headers: CLIENT })
  const [attempt, request] = await traces.until(2)
  t.same([request?.kind, request?.name, request?.spanContext().traceId, parentOf(request)], [SpanKind.SERVER, 'GET /*', TRACE, PARENT])
  t.same([attempt?.kind, attempt?.name, attempt?.spanContext().traceId, parentOf(attempt)], [SpanKind.CLIENT, 'GET', TRACE, idOf(request)])
  t.same(upstream.last.all('traceparent'), [traceparentOf(attempt!)])
  t.same(upstream.last.all('tracestate'), [CLIENT.tracestate])
  t.equal(request?.instrumentationScope.name, 'fastify-reverseproxy')
  t.match(request?.instrumentationScope.version, /^\d+\.\d+\.\d+/)
})

t.test('without a trace of the client\'s a new one begins, also where its header is malformed or there twice', async t => {
  const { port, upstream } = await startPair(t, OK, TRACING)
  for (const headers of [[], [['traceparent', '00-xyz']], [['traceparent', CLIENT.traceparent], ['traceparent', CLIENT.traceparent]]] as Array<Array<[string, string]>>) {
    traces.reset()
    await rawRequest(port, get('/', headers))
    const [attempt, request] = await traces.until(2)
    t.equal(parentOf(request), undefined)
    t.not(request?.spanContext().traceId, TRACE)
    t.same(upstream.last.all('traceparent'), [traceparentOf(attempt!)])
  }
})

t.test('what a client has decided not to sample is not, and the backend is told so', async t => {
  const { url, upstream } = await startPair(t, OK, TRACING)
  await fetch(url, { headers: { traceparent: `00-${TRACE}-${PARENT}-00` } })
  t.match(upstream.last.header('traceparent'), new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`))
  await fetch(url)
  t.equal((await traces.until(2)).length, 2, 'those of the second request only')
})

t.test('baggage goes on', async t => {
  const { url, upstream } = await startPair(t, OK, TRACING)
  await fetch(url, { headers: { baggage: 'user=1,plan=gold' } })
  t.same(upstream.last.all('baggage'), ['user=1,plan=gold'])
})

t.test('all other headers of the client are sent as they came', async t => {
  const { port, upstream } = await startPair(t, OK, { gateway: { tracing: true, headers: { via: false, requestId: false, forwarded: { for: 'off', proto: 'off', host: 'off' } } } })
  await rawRequest(port, get('/', [['X-One', '1'], ['TraceParent', CLIENT.traceparent], ['x-Two', '2']]))
  t.same(upstream.last.headers.map(([name]) => name).filter(name => /^(?:x-|trace)/i.test(name)), ['X-One', 'x-Two', 'traceparent'])
})

t.test('propagate: false leaves the client\'s headers alone', async t => {
  const { url, upstream } = await startPair(t, OK, { gateway: { tracing: { propagate: false } } })
  await fetch(url, { headers: CLIENT })
  t.equal(upstream.last.header('traceparent'), CLIENT.traceparent)
  t.equal((await traces.until(2)).length, 2)
})

t.test('header rules for traceparent come first: nothing is told to who must not know', async t => {
  const { url, upstream } = await startPair(t, OK, { ...TRACING, backend: { headers: { request: { remove: ['TraceParent', 'tracestate', 'baggage'] } } } })
  await fetch(url, { headers: { ...CLIENT, baggage: 'a=1' } })
  t.same(['traceparent', 'tracestate', 'baggage'].flatMap(name => upstream.last.all(name)), [])
})

t.test('publicEndpoint: a stranger\'s trace is linked to', async t => {
  const { url, upstream } = await startPair(t, OK, { gateway: { tracing: { publicEndpoint: true } } })
  await fetch(url, { headers: CLIENT })
  const [attempt, request] = await traces.until(2)
  t.equal(parentOf(request), undefined)
  t.not(request?.spanContext().traceId, TRACE)
  t.match(request?.links, [{ context: { traceId: TRACE, spanId: PARENT } }])
  t.equal(upstream.last.header('traceparent'), traceparentOf(attempt!))
})

t.test('in an app that is instrumented the request\'s span is a child of the one there is', async t => {
  const tracer = trace.getTracer('test')
  const upstream = await rawUpstream(t, OK)
  const { url } = await startGateway(t, { backends: { up: upstream.url }, tracing: true }, app => {
    app.get('/', { proxy: 'up' }, app.reverseproxy.handler)
  }, {
    serverFactory (handler) {
      return createServer((request, response) => {
        const span = tracer.startSpan('theirs', { kind: SpanKind.SERVER }, ROOT_CONTEXT)
        response.on('finish', () => { span.end() })
        context.with(trace.setSpan(ROOT_CONTEXT, span), () => { handler(request, response) })
      })
    }
  })
  await fetch(url, { headers: CLIENT })
  await traces.until(3)
  const [theirs] = traces.named('theirs')
  const [ours] = traces.named('GET /')
  t.same([ours?.kind, parentOf(ours)], [SpanKind.INTERNAL, idOf(theirs)])
  t.equal(parentOf(traces.named('GET')[0]), idOf(ours))
})

t.test('hooks and handlers of the app find the span', async t => {
  const seen: Array<string | undefined> = []
  const upstream = await rawUpstream(t, OK)
  const note = async () => { seen.push(trace.getActiveSpan()?.spanContext().spanId) }
  const { url } = await startGateway(t, { backends: { up: upstream.url }, tracing: true }, app => {
    app.addHook('onRequest', note)
    app.post('/', { proxy: 'up', preHandler: note }, app.reverseproxy.handler)
  })
  await fetch(url, { method: 'POST', body: 'x' })
  await traces.until(2)
  const id = idOf(traces.named('POST /')[0])
  t.same(seen, [id, id])
})

t.test('clients that are instrumented themselves are kept still while an attempt is made', async t => {
  const seen: boolean[] = []
  const note = (): void => { seen.push(isTracingSuppressed(context.active())) }
  channel('undici:request:create').subscribe(note)
  t.teardown(() => { channel('undici:request:create').unsubscribe(note) })
  const { port } = await startPair(t, OK, { gateway: { tracing: true } })
  await rawRequest(port, get('/'))
  t.same(seen, [true])
})

t.test('where the app has switched tracing off for a request there are no spans', async t => {
  const { app } = await startPair(t, OK, TRACING)
  await context.with(suppressTracing(ROOT_CONTEXT), async () => await app.inject('/'))
  t.same(traces.spans(), [])
})

// ---- which requests

t.test('there are spans of requests that the gateway forwards, and of no others', async t => {
  const upstream = await rawUpstream(t, OK)
  const { url } = await startGateway(t, { backends: { up: upstream.url }, tracing: true, metrics: true, routes: [{ name: 'declared', path: '/declared', proxy: 'up' }] }, app => {
    app.get('/own', async () => 'mine')
    app.get('/by-hand', async (_request, reply) => reply.proxy('up', { path: '/x' }))
  })
  for (const path of ['/metrics', '/own', '/nowhere', '/declared', '/by-hand']) await (await fetch(url + path)).text()
  await traces.until(4)
  t.same(traces.spans().map(({ name }) => name), ['GET', 'GET /declared', 'GET', 'GET /by-hand'])
  const [byHand] = traces.named('GET /by-hand')
  t.equal(parentOf(traces.named('GET')[1]), idOf(byHand))
  t.equal(byHand?.kind, SpanKind.SERVER)
  t.equal(traces.named('GET /declared')[0]?.attributes['reverseproxy.route'], 'declared')
})

t.test('a request that is refused before it leaves has a span, without an error of the server\'s', async t => {
  const { url } = await startPair(t, OK, { gateway: { tracing: true, tenancy: { required: true, tenants: {} } } })
  t.equal((await fetch(url)).status, 400)
  const [request, ...others] = await traces.until(1)
  t.same(others, [])
  t.match(request?.attributes, { 'http.response.status_code': 400, 'reverseproxy.outcome': 'rejected', 'reverseproxy.attempts': 0 })
  t.equal(request?.status.code, SpanStatusCode.UNSET)
})

t.test('explaining leaves no spans', async t => {
  const { app } = await startPair(t, OK, { gateway: { tracing: true, tenancy: { required: true, tenants: { acme: {} } } } })
  await app.reverseproxy.explain({ url: '/x', headers: { 'x-tenant-id': 'acme' } })
  t.match(await app.reverseproxy.explain({ url: '/x' }), { answered: { statusCode: 400 } })
  t.equal(traces.started, 0)
})

// ---- what they say

t.test('spans of requests have what the conventions ask for, and no more', async t => {
  const { port } = await startPair(t, OK, { ...TRACING, configure: app => { app.get('/users/:id', { proxy: 'up', config: { name: 'users' } }, app.reverseproxy.handler) } })
  await rawRequest(port, get('/users/7?token=SECRET', [['User-Agent', `curl/8 ${'x'.repeat(400)}`], ['Authorization', 'Bearer SECRET'], ['Cookie', 'a=SECRET']]))
  await traces.until(2)
  const [request] = traces.named('GET /users/:id')
  t.strictSame(request?.attributes, {
    'url.path': '/users/7',
    'url.scheme': 'http',
    'network.protocol.version': '1.1',
    'http.request.method': 'GET',
    'http.route': '/users/:id',
    'server.address': 'gateway.example',
    'user_agent.original': `curl/8 ${'x'.repeat(249)}`,
    'reverseproxy.route': 'users',
    'reverseproxy.outcome': 'ok',
    'http.response.status_code': 200,
    'reverseproxy.attempts': 1,
    'reverseproxy.backend': 'up'
  })
  t.notMatch(JSON.stringify(traces.spans().map(({ attributes, events, links, status }) => ({ attributes, events, links, status }))), /SECRET/)
})

t.test('spans of attempts have what the conventions ask for, and no more', async t => {
  const { url, upstream } = await startPair(t, respond(404), { ...TRACING, backend: {}, configure: app => { app.post('/x/*', { proxy: { backend: 'up', rewrite: { stripPrefix: '/x' } } }, app.reverseproxy.handler) } })
  await fetch(`${url}/x/y?token=SECRET`, { method: 'POST', body: 'x' })
  await traces.until(2)
  const [attempt] = traces.named('POST')
  t.strictSame(attempt?.attributes, {
    'url.full': `${upstream.url}/y`,
    'url.scheme': 'http',
    'server.address': '127.0.0.1',
    'server.port': upstream.port,
    'reverseproxy.backend': 'up',
    'reverseproxy.target': upstream.url,
    'reverseproxy.route': '/x/*',
    'http.request.method': 'POST',
    'reverseproxy.outcome': 'client-error',
    'http.response.status_code': 404,
    'error.type': '404'
  })
  t.equal(attempt?.status.code, SpanStatusCode.ERROR, 'for a client a 404 is an error')
  const [request] = traces.named('POST /x/*')
  t.same([request?.status.code, request?.attributes['error.type']], [SpanStatusCode.UNSET, undefined], 'for a server it is none')
})

t.test('of the query names are shown, or what may be', async t => {
  const { url } = await startPair(t, OK, { gateway: { tracing: { query: ['page'] } } })
  await fetch(`${url}/?page=2&token=SECRET`)
  const [attempt, request] = await traces.until(2)
  t.equal(request?.attributes['url.query'], 'page=2&token=REDACTED')
  t.match(attempt?.attributes['url.full'], /\/\?page=2&token=REDACTED$/)
})

t.test('addresses of clients are shown where they are asked for', async t => {
  const { url } = await startPair(t, OK, { gateway: { tracing: { clientAddress: true } } })
  await fetch(url)
  t.equal((await traces.until(2))[1]?.attributes['client.address'], '127.0.0.1')
})

t.test('the port that the client has asked for is shown, and HTTP/2 is called 2', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end() })
  const gateway = await startHttp2Gateway(t, { backends: { up: upstream.url }, tracing: true })
  await askHttp2(gateway.open())
  await traces.until(2)
  const [request] = ofKind(SpanKind.SERVER)
  t.match(request?.attributes, { 'network.protocol.version': '2', 'server.port': gateway.port })
})

t.test('methods that nobody knows make no names of spans', async t => {
  const upstream = await rawUpstream(t, OK)
  const { port } = await startGateway(t, { backends: { up: upstream.url }, tracing: true }, app => {
    app.addHttpMethod('MERGE', { hasBody: true })
    app.route({ method: 'MERGE', url: '/', proxy: 'up', handler: app.reverseproxy.handler })
  })
  await rawRequest(port, 'MERGE / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await traces.until(2)
  const [request] = traces.named('HTTP /')
  t.match(request?.attributes, { 'http.request.method': '_OTHER', 'http.request.method_original': 'MERGE' })
  t.equal(traces.named('HTTP').length, 1)
})

t.test('tenants are called as logs call them', async t => {
  const { url } = await startPair(t, OK, { gateway: { tracing: true, tenancy: { tenants: { acme: {} }, hashIds: true } } })
  await fetch(url, { headers: { 'x-tenant-id': 'acme' } })
  const tenant = (await traces.until(2))[1]?.attributes['reverseproxy.tenant']
  t.type(tenant, 'string')
  t.not(tenant, 'acme')
})

t.test('a target that is a socket of this machine has no port', async t => {
  const { addressOf } = await import('../../lib/tracing/attributes.ts')
  t.same(addressOf({ id: 'unix:///run/a.sock:/base', origin: 'http://localhost' }), { host: '/run/a.sock', port: undefined })
  t.same(addressOf({ id: 'https://a.example', origin: 'https://a.example' }), { host: 'a.example', port: 443 })
  t.same(addressOf({ id: 'http://[::1]/x', origin: 'http://[::1]' }), { host: '[::1]', port: 80 })
})

// ---- failures

t.test('a backend that cannot be reached is an error of both spans, told without a secret', async t => {
  const port = await closedPort()
  const { url } = await startGateway(t, { backends: { up: `http://127.0.0.1:${port}` }, tracing: true })
  t.equal((await fetch(`${url}/x?token=SECRET`)).status, 502)
  const [attempt, request] = await traces.until(2)
  t.match(attempt?.attributes, { 'error.type': 'connect-error', 'reverseproxy.outcome': 'connect-error', 'reverseproxy.cause': 'ECONNREFUSED' })
  t.match(request?.attributes, { 'error.type': 'RP_ERR_CONNECT', 'http.response.status_code': 502, 'reverseproxy.outcome': 'connect-error' })
  for (const span of [attempt, request]) {
    t.equal(span?.status.code, SpanStatusCode.ERROR)
    t.match(span?.events, [{ name: 'exception', attributes: { 'exception.type': 'RP_ERR_CONNECT', 'exception.message': 'The backend could not be reached' } }])
    t.equal(span?.events[0]?.attributes?.['exception.stacktrace'], undefined)
    t.notMatch(JSON.stringify([span?.attributes, span?.events]), /SECRET/)
  }
})

t.test('what errors of the app say stays out of the spans', async t => {
  const { url } = await startPair(t, OK, { ...TRACING, configure: app => { app.get('/', { proxy: 'up', preHandler: async () => { throw new TypeError('the password is SECRET') } }, app.reverseproxy.handler) } })
  t.equal((await fetch(url)).status, 500)
  const [request] = await traces.until(1)
  t.match(request, { attributes: { 'error.type': 'TypeError' }, events: [{ attributes: { 'exception.type': 'TypeError' } }] })
  t.notMatch(JSON.stringify(request?.events), /SECRET/)
})

t.test('a backend\'s own 5xx is an error of both, without an exception', async t => {
  const { url } = await startPair(t, respond(503), TRACING)
  await fetch(url)
  for (const span of await traces.until(2)) t.match(span, { attributes: { 'error.type': '503' }, status: { code: SpanStatusCode.ERROR }, events: [] })
})

t.test('an answer that breaks off is an error of the request', async t => {
  const { port } = await startPair(t, ['HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n', 'x'.repeat(70_000), RESET], TRACING)
  await rawRequest(port, get('/'))
  await traces.until(2)
  const [request] = ofKind(SpanKind.SERVER)
  t.match(request?.attributes, { 'error.type': 'reset', 'reverseproxy.outcome': 'reset', 'http.response.status_code': 200 })
  t.equal(request?.status.code, SpanStatusCode.ERROR)
})

t.test('a client that goes away is no error', async t => {
  const { port, upstream } = await startPair(t, () => {}, TRACING)
  const client = await rawClient(t, port)
  await client.send(get('/'))
  await waitFor(() => upstream.requests.length === 1)
  client.destroy()
  const spans = await traces.until(2)
  t.equal(spans.length, 2)
  for (const span of spans) {
    t.match(span.attributes, { 'reverseproxy.outcome': 'aborted' })
    t.equal(span.status.code, SpanStatusCode.UNSET)
    t.same(span.events, [])
  }
  t.equal(ofKind(SpanKind.SERVER)[0]?.attributes['http.response.status_code'], undefined)
})
