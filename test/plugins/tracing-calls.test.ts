/** Spans of attempts and parts where there are several, of WebSockets, of calls of the app's own and of health checks. */
import t from 'tap'
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { hrTimeToMilliseconds, isTracingSuppressed } from '@opentelemetry/core'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { channel } from 'node:diagnostics_channel'
import { get, rawRequest, rawUpstream, RESET, respond, startGateway, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, TestLike } from '../helper.ts'
import { startTraces, traceparentOf } from '../helper/traces.ts'

const traces = startTraces()
t.beforeEach(() => { traces.reset() })

const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId
const attempts = (): ReadableSpan[] => traces.spans().filter(({ kind }) => kind === SpanKind.CLIENT)
const request = (): ReadableSpan | undefined => traces.spans().find(({ kind }) => kind === SpanKind.SERVER)
const part = (name: string): ReadableSpan | undefined => traces.named(`part ${name}`)[0]

interface SetUp {
  readonly scripts: readonly Script[]
  readonly backend?: Readonly<Record<string, unknown>>
  readonly gateway?: Readonly<Record<string, unknown>>
  readonly configure?: Configure
}

async function setUp (t: TestLike, { scripts, backend, gateway, configure }: SetUp) {
  const ups: RawUpstream[] = []
  for (const script of scripts) ups.push(await rawUpstream(t, script))
  const options = { tracing: true, ...gateway, backends: { up: { targets: ups.map(({ url }) => url), circuitBreaker: false, ...backend } } }
  return { ...await startGateway(t, options as GatewayOptions, configure), ups }
}

const RETRY = { retry: { attempts: 3, budget: false, backoff: { initial: 1, max: 2 } } } as const

// ---- attempts

t.test('each try has a span of its own, says which one it is, and tells its backend so', async t => {
  const { url, ups } = await setUp(t, { scripts: [RESET, respond(503), respond(200)].map(step => step === RESET ? () => [RESET] : step) as Script[], backend: RETRY })
  t.equal((await fetch(url)).status, 200)
  await traces.until(4)
  const spans = attempts()
  t.strictSame(spans.map(({ attributes }) => [attributes['reverseproxy.target'], attributes['http.request.resend_count'], attributes['error.type']]), [
    [ups[0]!.url, undefined, 'reset'], [ups[1]!.url, 1, '503'], [ups[2]!.url, 2, undefined]
  ])
  t.same(ups.map(({ last }) => last.all('traceparent')), spans.map(span => [traceparentOf(span)]))
  t.same(spans.map(parentOf), spans.map(() => idOf(request())))
  t.match(request(), { attributes: { 'reverseproxy.attempts': 3, 'reverseproxy.outcome': 'ok' }, status: { code: SpanStatusCode.UNSET } })
})

t.test('a hedged try that came too late has not failed', async t => {
  const { url } = await setUp(t, { scripts: [() => {}, respond(200)], backend: { retry: { hedge: 20, budget: false } } })
  t.equal((await fetch(url)).status, 200)
  await traces.until(3)
  t.strictSame(attempts().map(({ attributes, status }) => [attributes['reverseproxy.outcome'], status.code]).sort(), [['aborted', SpanStatusCode.UNSET], ['ok', SpanStatusCode.UNSET]])
  t.equal(request()?.attributes['reverseproxy.outcome'], 'ok')
})

t.test('a redirect that is followed is sent again', async t => {
  const { url } = await setUp(t, { scripts: [({ request: { target } }) => target === '/a' ? respond(302, { location: '/b' }) : respond(200)], backend: { redirects: 'follow' } })
  await fetch(`${url}/a`)
  await traces.until(3)
  t.strictSame(attempts().map(({ attributes }) => [new URL(String(attributes['url.full'])).pathname, attributes['http.request.resend_count'], attributes['http.response.status_code']]), [['/a', undefined, 302], ['/b', 1, 200]])
})

t.test('what never leaves has no attempt', async t => {
  const { app, url } = await setUp(t, { scripts: [respond(200)], backend: { circuitBreaker: {} } })
  app.reverseproxy.breakers.open('up')
  t.equal((await fetch(url)).status, 503)
  await traces.until(1)
  t.same(attempts(), [])
  t.match(request(), { attributes: { 'error.type': 'RP_ERR_CIRCUIT_OPEN', 'reverseproxy.outcome': 'rejected' }, status: { code: SpanStatusCode.ERROR } })
})

t.test('a WebSocket is its handshake', async t => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, { backends: { up: backend.url }, tracing: true, routes: [{ path: '/live', proxy: { backend: 'up', websocket: true } }] })
  const client = await wsClient(t, `${url.replace('http', 'ws')}/live`)
  const [attempt, request] = await traces.until(2)
  t.equal(attempt?.attributes['http.response.status_code'], 101)
  t.match(request, { name: 'GET /live', attributes: { 'http.response.status_code': 101, 'reverseproxy.outcome': 'ok' } })
  t.equal(parentOf(attempt), idOf(request))
  client.socket.terminate()
})

t.test('calls of the app\'s own belong to the span that the app has active', async t => {
  const { app, ups } = await setUp(t, { scripts: [respond(503), respond(200)], backend: RETRY })
  const mine = trace.getTracer('test').startSpan('mine', {}, ROOT_CONTEXT)
  const answer = await context.with(trace.setSpan(ROOT_CONTEXT, mine), async () => await app.reverseproxy.request('up', { path: '/warm-up' }))
  t.equal(answer.status, 200)
  await traces.until(2)
  t.same(traces.spans().map(span => [span.kind, parentOf(span)]), [[SpanKind.CLIENT, idOf(mine as unknown as ReadableSpan)], [SpanKind.CLIENT, idOf(mine as unknown as ReadableSpan)]])
  t.same(ups.map(({ last }) => last.header('traceparent')), attempts().map(traceparentOf))
})

t.test('an attempt that has waited for a place is still the request\'s', async t => {
  const { url } = await setUp(t, { scripts: [respond(200)], backend: { concurrency: { max: 1, queue: 5 } } })
  await Promise.all([1, 2, 3].map(async () => await (await fetch(url)).text()))
  await traces.until(6)
  const requests = traces.spans().filter(({ kind }) => kind === SpanKind.SERVER).map(idOf)
  t.same(attempts().map(parentOf).sort(), requests.sort())
})

// ---- parts

const PARTS = {
  composite: {
    parts: {
      user: { backend: 'up', path: '/user' },
      orders: { backend: 'up', path: '/orders', forEach: { in: '{user.body.ids}' }, needs: ['user'] },
      broken: { backend: 'up', path: '/broken' },
      never: { backend: 'up', path: '/never', needs: ['user'], when: { value: '{user.body.nothing}', exists: true } },
      spare: { backend: 'up', path: '/broken', fallback: { none: true } }
    }
  }
} as const

t.test('each part of a composite is a span between the request and its attempts', async t => {
  const json = (value: unknown) => respond(200, { 'content-type': 'application/json' }, JSON.stringify(value))
  const { url, ups } = await setUp(t, {
    scripts: [({ request: { target } }) => target === '/user' ? json({ ids: [1, 2] }) : target === '/broken' ? respond(500) : json({ target })],
    gateway: { routes: [{ name: 'page', path: '/page', ...PARTS }] }
  })
  t.equal((await fetch(`${url}/page`)).status, 200)
  await traces.until(11)
  t.equal(traces.spans().length, 11)
  t.same(['user', 'orders', 'broken', 'never', 'spare'].map(name => [part(name)?.kind, parentOf(part(name))]), new Array(5).fill([SpanKind.INTERNAL, idOf(request())]))
  const of = (name: string) => attempts().filter(span => parentOf(span) === idOf(part(name)))
  t.same(['user', 'orders', 'broken', 'never', 'spare'].map(name => of(name).length), [1, 2, 1, 0, 1])
  t.strictSame([...new Set(of('orders').map(({ attributes }) => attributes['http.request.resend_count']))], [undefined], 'calls of one part are not sent again')
  t.equal(of('user')[0]?.attributes['reverseproxy.part'], 'user')
  t.match(part('user'), { attributes: { 'reverseproxy.part.state': 'ok', 'http.response.status_code': 200, 'reverseproxy.attempts': 1 }, status: { code: SpanStatusCode.UNSET } })
  t.match(part('broken'), { attributes: { 'reverseproxy.part.state': 'failed', 'error.type': '500' }, status: { code: SpanStatusCode.ERROR }, events: [{ attributes: { 'exception.type': 'RP_ERR_PART_STATUS' } }] })
  t.match(part('never'), { attributes: { 'reverseproxy.part.state': 'skipped' }, status: { code: SpanStatusCode.UNSET } })
  t.match(part('spare'), { attributes: { 'reverseproxy.part.state': 'fallback' }, status: { code: SpanStatusCode.UNSET } })
  t.match(request(), { name: 'GET /page', attributes: { 'reverseproxy.route': 'page', 'reverseproxy.outcome': 'ok' }, status: { code: SpanStatusCode.UNSET } })
  t.same(ups[0]!.requests.map(sent => sent.header('traceparent')).sort(), attempts().map(traceparentOf).sort())
})

t.test('a part is sent again with a number, and its span lasts as long as it', async t => {
  let asked = 0
  const { url } = await setUp(t, {
    scripts: [() => asked++ === 0 ? respond(503) : respond(200, { 'content-type': 'application/json' }, '{}')],
    backend: RETRY,
    gateway: { routes: [{ path: '/page', composite: { parts: { one: { backend: 'up', path: '/' } } } }] }
  })
  t.equal((await fetch(`${url}/page`)).status, 200)
  await traces.until(4)
  t.strictSame(attempts().map(({ attributes }) => attributes['http.request.resend_count']), [undefined, 1])
  t.equal(part('one')?.attributes['reverseproxy.attempts'], 2)
  // the SDK ends a span whose start it was given at a whole millisecond
  const lead = hrTimeToMilliseconds(attempts()[1]!.endTime) - hrTimeToMilliseconds(part('one')!.endTime)
  t.ok(lead <= 1, `${lead} ms before its last attempt`)
})

t.test('a composite that fails is an error of the request, too', async t => {
  const { url } = await setUp(t, { scripts: [respond(500)], gateway: { routes: [{ path: '/page', composite: { parts: { one: { backend: 'up', path: '/', required: true } } } }] } })
  t.equal((await fetch(`${url}/page`)).status, 502)
  await traces.until(3)
  t.match(request(), { attributes: { 'http.response.status_code': 502, 'reverseproxy.outcome': 'server-error' }, status: { code: SpanStatusCode.ERROR } })
})

// ---- health checks

const HEALTH = { health: { path: '/health?key=SECRET', interval: '1h' } } as const

t.test('health checks have no spans unless asked for', async t => {
  const { ups } = await setUp(t, { scripts: [respond(200)], backend: HEALTH })
  t.ok(await waitFor(() => ups[0]!.requests.length === 1))
  t.same([traces.spans(), ups[0]!.last.header('traceparent')], [[], undefined])
})

t.test('each health check is a trace of its own', async t => {
  const seen: boolean[] = []
  const note = (): void => { seen.push(isTracingSuppressed(context.active())) }
  channel('undici:request:create').subscribe(note)
  t.teardown(() => { channel('undici:request:create').unsubscribe(note) })
  const { app, ups } = await setUp(t, { scripts: [({ nth }) => respond(nth === 0 ? 200 : 500)], backend: HEALTH, gateway: { tracing: { probes: true } } })
  const [first] = await traces.until(1)
  t.strictSame(first?.attributes, {
    'http.request.method': 'GET',
    'url.full': `${ups[0]!.url}/health`,
    'url.scheme': 'http',
    'server.address': '127.0.0.1',
    'server.port': ups[0]!.port,
    'reverseproxy.backend': 'up',
    'reverseproxy.target': ups[0]!.url,
    'reverseproxy.probe': true,
    'http.response.status_code': 200
  })
  t.same([first?.name, first?.kind, parentOf(first)], ['GET health check', SpanKind.CLIENT, undefined])
  t.equal(ups[0]!.last.header('traceparent'), traceparentOf(first!))
  t.equal(seen[0], true)
  await app.reverseproxy.health.check('up')
  const second = (await traces.until(2))[1]
  t.match(second, { attributes: { 'error.type': '500' }, status: { code: SpanStatusCode.ERROR } })
  t.not(second?.spanContext().traceId, first?.spanContext().traceId)
})

t.test('a health check that takes too long ends with its time', async t => {
  await setUp(t, { scripts: [() => {}], backend: { health: { path: '/health', interval: '1h', timeout: 30 } }, gateway: { tracing: { probes: true, propagate: false } } })
  const [probe] = await traces.until(1)
  t.match(probe, { attributes: { 'error.type': 'timeout' }, status: { code: SpanStatusCode.ERROR } })
})

t.test('a health check without an answer is a connect error', async t => {
  await setUp(t, { scripts: [() => [RESET]], backend: { health: { path: '/health', interval: '1h' } }, gateway: { tracing: { probes: true } } })
  const [probe] = await traces.until(1)
  t.match(probe, { attributes: { 'error.type': 'connect-error' }, status: { code: SpanStatusCode.ERROR } })
})

t.test('a request whose line is malformed is nobody\'s span', async t => {
  const { port } = await setUp(t, { scripts: [respond(200)] })
  t.equal((await rawRequest(port, Buffer.concat([get('/').subarray(0, 4), Buffer.from('\0 HTTP/1.1\r\n\r\n')]))).status, 400)
  t.same(traces.spans(), [])
})
