/** Tracing that is off, or on while nobody listens: no package, no SDK, and headers that pass as they are. */
import t from 'tap'
import { context, propagation, trace } from '@opentelemetry/api'
import { loadApi } from '../../lib/tracing/load.ts'
import { get, rawRequest, respond, startPair } from '../helper.ts'
import { startTraces } from '../helper/traces.ts'

const OK = respond(200, {}, 'hi')

/** Well-formed, malformed, empty, twice. */
const CLIENTS: ReadonlyArray<ReadonlyArray<readonly [string, string]>> = [
  [['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'], ['tracestate', 'rojo=00f067aa0ba902b7']],
  [['TraceParent', '00-xyz-01'], ['TRACESTATE', ',,=']],
  [['traceparent', ''], ['baggage', 'a=%zz']],
  [['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'], ['traceparent', 'ff-1-1-00'], ['tracestate', 'a=1'], ['tracestate', 'b=2']],
  []
]

for (const [name, gateway] of [['off', {}], ['on, without an SDK', { tracing: true }]] as const) {
  t.test(`${name}: the trace headers of clients pass as they are, the malformed ones, too`, async t => {
    const { port, upstream } = await startPair(t, OK, { gateway })
    for (const headers of CLIENTS) {
      t.equal((await rawRequest(port, get('/', headers))).status, 200)
      t.same(upstream.last.headers.filter(([name]) => /^(?:trace|baggage)/i.test(name)), headers)
    }
  })
}

t.test('on, without an SDK: failures, composites and health checks work as ever', async t => {
  const { url, app, upstream } = await startPair(t, respond(500), {
    gateway: { tracing: { probes: true }, routes: [{ path: '/page', composite: { parts: { one: { backend: 'up', path: '/' } } } }] },
    backend: { health: { path: '/health', interval: '1h' } }
  })
  t.equal((await fetch(`${url}/page`)).status, 502)
  t.equal(await app.reverseproxy.health.check('up'), false)
  t.same(upstream.requests.map(request => request.header('traceparent')), upstream.requests.map(() => undefined))
})

t.test('an SDK that comes when the gateway already runs is found', async t => {
  const { url, upstream } = await startPair(t, OK, { gateway: { tracing: true } })
  await fetch(url)
  const traces = startTraces()
  t.teardown(() => {
    for (const api of [trace, context, propagation]) api.disable()
  })
  await fetch(url)
  t.equal((await traces.until(2)).length, 2)
  t.strictSame(upstream.requests.map(request => request.header('traceparent') === undefined), [true, false])
})

t.test('without a context manager the spans are the children of each other all the same', async t => {
  const traces = startTraces()
  context.disable()
  t.teardown(() => {
    for (const api of [trace, propagation]) api.disable()
  })
  const { url } = await startPair(t, ({ nth }) => respond(nth === 0 ? 503 : 200), { gateway: { tracing: true }, backend: { retry: { attempts: 2, budget: false, backoff: { initial: 1, max: 2 } } } })
  await fetch(url)
  const spans = await traces.until(3)
  const request = spans.at(-1)!.spanContext()
  t.same(spans.map(({ parentSpanContext }) => parentSpanContext?.spanId), [request.spanId, request.spanId, undefined])
})

t.test('without the package the gateway does not start, and says what is missing', async t => {
  for (const code of ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND']) {
    const missing = async () => { throw Object.assign(new Error('Cannot find package'), { code }) }
    await t.rejects(loadApi(missing), { code: 'RP_ERR_OPTIONS', message: /tracing.*needs the package "@opentelemetry\/api": npm install @opentelemetry\/api/s })
  }
})

t.test('a package that is broken says so itself', async t => {
  await t.rejects(loadApi(async () => { throw new SyntaxError('broken') }), /broken/)
})
