/** What the gateway counts, and what a scrape shows of it. */
import t from 'tap'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { askHttp2, httpUpstream, rawRequest, startGateway, startHttp2Gateway, startPair, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import { valuesOf } from '../lib/metrics/scene.ts'

const METRICS = { defaultMetrics: false } as const
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'

async function scrape (url: string, name: string): Promise<Record<string, number>> {
  const response = await fetch(`${url}/metrics`)
  if (response.status !== 200) throw new Error(`${response.status}`)
  return valuesOf(await response.text(), `reverseproxy_${name}`)
}

/** The value of a metric when it has come to be; else what it is after a while. */
async function scrapeUntil (url: string, name: string, isThere: (values: Record<string, number>) => boolean): Promise<Record<string, number>> {
  let values: Record<string, number> = {}
  for (let tries = 0; tries < 200; tries++) {
    values = await scrape(url, name)
    if (isThere(values)) break
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return values
}

const sum = (values: Record<string, number>): number => Object.values(values).reduce((one, other) => one + other, 0)

t.test('without the option nothing is counted, and programs are told so', async t => {
  const { app, url } = await startPair(t, OK)
  t.equal(await (await fetch(`${url}/metrics`)).text(), 'hi', 'the path is the backend\'s')
  t.equal(app.reverseproxy.metrics.registry, undefined)
  t.throws(() => app.reverseproxy.metrics.snapshot(), /there are no metrics: set the option "metrics"/)
  t.throws(() => { app.reverseproxy.metrics.reset() }, /there are no metrics/)
  app.reverseproxy.metrics.reloadFailed()
})

t.test('the path is not shadowed by a default backend, and is of its type', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end('backend') })
  const { url } = await startGateway(t, { backends: { up: upstream.url }, defaultBackend: 'up', metrics: true }, () => {})
  const response = await fetch(`${url}/metrics`)
  t.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  t.match(await response.text(), /^reverseproxy_build_info\{version="\d/m)
  t.equal((await fetch(`${url}/metrics`, { method: 'HEAD' })).status, 200)
  t.equal(await (await fetch(`${url}/metrics/x`)).text(), 'backend')
})

t.test('requests are counted by the name of their route, with all that refuse them', async t => {
  const upstream = await httpUpstream(t, (request, response) => { response.writeHead(Number(request.headers['x-status'] ?? 200)).end() })
  const { url } = await startGateway(t, {
    backends: { up: upstream.url },
    metrics: METRICS,
    routes: [{ name: 'by-header', path: '/r', headers: { 'x-a': '1' }, proxy: 'up' }, { name: 'plain', path: '/r', proxy: 'up' }]
  }, app => {
    app.get('/coded/:id', { proxy: 'up', config: { name: 'coded' } }, app.reverseproxy.handler)
    app.get('/guarded', { proxy: 'up', onRequest: async (_request, reply) => reply.code(401).send() }, app.reverseproxy.handler)
    app.get('/own', async () => 'mine')
  })
  await fetch(`${url}/r`, { headers: { 'x-a': '1' } })
  await fetch(`${url}/r`, { headers: { 'x-status': '503' } })
  await fetch(`${url}/r`, { method: 'POST', body: 'x' })
  await fetch(`${url}/coded/7?token=secret`)
  await fetch(`${url}/coded/8`, { method: 'HEAD' })
  await fetch(`${url}/guarded`)
  await fetch(`${url}/own`)
  await fetch(`${url}/nowhere`)
  t.same(await scrape(url, 'requests_total'), {
    'route=by-header,method=GET,code=200': 1,
    'route=plain,method=GET,code=503': 1,
    'route=plain,method=POST,code=200': 1,
    'route=coded,method=GET,code=200': 1,
    'route=coded,method=HEAD,code=200': 1,
    'route=/guarded,method=GET,code=401': 1
  })
  t.same(await scrape(url, 'request_duration_seconds_count'), { 'route=by-header,class=2xx': 1, 'route=plain,class=2xx': 1, 'route=plain,class=5xx': 1, 'route=coded,class=2xx': 2, 'route=/guarded,class=4xx': 1 })
  t.same(await scrape(url, 'requests_in_flight'), { '': 0 })
})

t.test('allRoutes counts those of the app, and what has no route as none', async t => {
  const { url } = await startPair(t, OK, {
    gateway: { metrics: { ...METRICS, allRoutes: true }, admin: true },
    configure: app => {
      app.get('/own/:id', async () => 'mine')
      app.get('/proxied', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  for (const path of ['/own/1', '/own/2', '/proxied', '/a', '/b', '/_gateway', '/_gateway/status', '/_gateway/nothing', '/health/ready']) await fetch(url + path)
  const values = await scrape(url, 'requests_total')
  t.has(values, { 'route=/own/:id,method=GET,code=200': 2, 'route=/proxied,method=GET,code=200': 1, 'route=none,method=GET,code=404': 2 })
  t.notMatch(Object.keys(values).join('\n'), /_gateway|health/, 'the gateway itself is not counted')
})

t.test('where the admin interface has a port of its own, its prefix is a path of the app like others', async t => {
  const { url } = await startPair(t, OK, {
    gateway: { metrics: { ...METRICS, allRoutes: true }, admin: { port: 0 } },
    configure: app => { app.get('/_gateway/mine', async () => 'mine') }
  })
  await fetch(`${url}/_gateway/mine`)
  t.same(await scrape(url, 'requests_total'), { 'route=/_gateway/mine,method=GET,code=200': 1 })
})

t.test('a handler that forwards by itself is counted as its route', async t => {
  const { url } = await startPair(t, OK, {
    gateway: { metrics: METRICS },
    configure: app => { app.get('/me/:id', async (_request, reply) => reply.proxy('up')) }
  })
  await fetch(`${url}/me/1`)
  t.same(await scrape(url, 'requests_total'), { 'route=/me/:id,method=GET,code=200': 1 })
  t.same(await scrape(url, 'requests_in_flight'), { '': 0 })
})

t.test('a client that goes away is a 499, wherever its request is', async t => {
  let held = 0
  const { url, app } = await startPair(t, ({ request }) => {
    held++
    // headers only, or nothing at all
    return request.target === '/begun' ? 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg' : undefined
  }, {
    gateway: { metrics: METRICS },
    configure: app => {
      app.get('/waits', { proxy: 'up' }, app.reverseproxy.handler)
      app.get('/begun', { proxy: 'up' }, app.reverseproxy.handler)
      app.get('/handler', async (_request, reply) => reply.proxy('up'))
    }
  })
  for (const path of ['/waits', '/begun', '/handler']) {
    const before = held
    const stop = new AbortController()
    const answer = fetch(url + path, { signal: stop.signal }).then(response => response.text())
    t.ok(await waitFor(() => held > before))
    if (path !== '/handler') t.ok(await waitFor(() => app.reverseproxy.metrics.snapshot().requests.inFlight === 1))
    stop.abort()
    await t.rejects(answer)
  }
  const values = await scrapeUntil(url, 'requests_total', values => sum(values) === 3)
  t.same(values, { 'route=/waits,method=GET,code=499': 1, 'route=/begun,method=GET,code=499': 1, 'route=/handler,method=GET,code=499': 1 })
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 3, aborted: 3, failures: 0, success: 0, inFlight: 0 })
  t.same(await scrape(url, 'answers_cut_total'), { 'route=/waits': 0, 'route=/begun': 0, 'route=/handler': 0 })
})

t.test('an answer that the backend breaks off is cut, and a failure', async t => {
  const { url, app } = await startPair(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg')
    setTimeout(() => { socket.resetAndDestroy() }, 20)
  }, { gateway: { metrics: METRICS } })
  await t.rejects(fetch(`${url}/x`).then(response => response.text()))
  t.same(await scrapeUntil(url, 'answers_cut_total', values => sum(values) > 0), { 'route=/*': 1 })
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 1, failures: 1, aborted: 0 })
})

t.test('requests of HTTP/2 are counted like others', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end('hi') })
  const { open, app } = await startHttp2Gateway(t, { backends: { up: upstream.url }, metrics: METRICS } as GatewayOptions)
  const session = open()
  await askHttp2(session, { ':path': '/x' })
  t.ok(await waitFor(() => app.reverseproxy.metrics.snapshot().requests.total === 1))
  t.has(app.reverseproxy.metrics.snapshot().requests, { success: 1, aborted: 0, inFlight: 0 })
  const stream = session.request({ ':path': '/y' })
  stream.on('error', () => {})
  stream.close(8)
  await once(stream, 'close')
  t.ok(await waitFor(() => app.reverseproxy.metrics.snapshot().requests.inFlight === 0))
})

t.test('a request that is only explained is not counted', async t => {
  const { app } = await startPair(t, OK, { gateway: { metrics: { ...METRICS, allRoutes: true } } })
  await app.reverseproxy.explain({ url: '/x' })
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 0, inFlight: 0 })
})

t.test('calls that no client has asked for are tries, and no requests', async t => {
  const { app } = await startPair(t, OK, { gateway: { metrics: METRICS } })
  const answer = await app.reverseproxy.request('up', { path: '/x' })
  t.equal(answer.status, 200)
  t.has(app.reverseproxy.metrics.snapshot(), { requests: { total: 0, inFlight: 0 }, backends: { up: { attempts: 1, success: 1 } } })
})

t.test('injected requests are counted, too', async t => {
  const { app } = await startPair(t, OK, { gateway: { metrics: METRICS } })
  t.equal((await app.inject('/x')).statusCode, 200)
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 1, success: 1, aborted: 0 })
})

t.test('attempts by outcome, retries, and what never left', async t => {
  let nth = 0
  const { url, upstream } = await startPair(t, () => nth++ === 0 ? 'HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n' : OK, {
    gateway: { metrics: METRICS },
    backend: { retry: { attempts: 2, backoff: { initial: 0, max: 0 } }, weight: undefined }
  })
  await fetch(`${url}/x`)
  const target = `backend=up,target=${upstream.url}`
  t.same(await scrape(url, 'upstream_attempts_total'), { [`${target},outcome=server-error`]: 1, [`${target},outcome=ok`]: 1 })
  t.same(await scrape(url, 'retries_total'), { 'backend=up': 1 })
  t.same(await scrape(url, 'upstream_attempt_duration_seconds_count'), { 'backend=up': 2 })
  t.same(await scrape(url, 'rejected_total'), {})
})

t.test('tries that never left, by reason', async t => {
  const { url, app, upstream } = await startPair(t, OK, { gateway: { metrics: METRICS }, breakers: true })
  app.reverseproxy.breakers.open('up')
  await fetch(`${url}/x`)
  app.reverseproxy.breakers.close('up')
  app.reverseproxy.backends.updateTarget('up', upstream.url, { active: false })
  await fetch(`${url}/x`)
  await fetch(`${url}/x`)
  t.same(await scrape(url, 'rejected_total'), { 'backend=up,reason=circuit-open': 1, 'backend=up,reason=no-target': 2 })
  t.same(await scrape(url, 'upstream_attempts_total'), {})
  t.same(await scrape(url, 'target_weight'), { [`backend=up,target=${upstream.url}`]: 0 })
  t.has(app.reverseproxy.metrics.snapshot().backends['up'], { attempts: 0, rejected: 3 })
})

t.test('breakers: state and changes', async t => {
  const { url, app, upstream } = await startPair(t, OK, { gateway: { metrics: METRICS }, breakers: true })
  const target = `backend=up,target=${upstream.url}`
  t.same(await scrape(url, 'breaker_state'), { [target]: 0 })
  app.reverseproxy.breakers.open('up')
  t.same(await scrape(url, 'breaker_state'), { [target]: 2 })
  app.reverseproxy.breakers.close('up')
  t.same(await scrape(url, 'breaker_transitions_total'), { [`${target},state=open`]: 1, [`${target},state=closed`]: 1 })
})

t.test('load: in flight, places, queue, connections', async t => {
  const waiting: Array<() => void> = []
  const upstream = await httpUpstream(t, (_request, response) => { waiting.push(() => { response.end() }) })
  const { url } = await startGateway(t, { backends: { up: { url: upstream.url, concurrency: { max: 1, queue: 5, queueTimeout: '1m' } } }, metrics: METRICS })
  const answers = [fetch(`${url}/1`), fetch(`${url}/2`), fetch(`${url}/3`)]
  t.same(await scrapeUntil(url, 'queue_depth', values => sum(values) === 2), { 'backend=up': 2 })
  t.same(await scrape(url, 'slots_in_use'), { 'backend=up': 1 })
  t.same(await scrape(url, 'target_inflight'), { [`backend=up,target=${upstream.url}`]: 1 })
  t.same(await scrape(url, 'requests_in_flight'), { '': 3 })
  t.same(await scrapeUntil(url, 'pool_connections', values => sum(values) === 1), { [`origin=${upstream.url},state=busy`]: 1, [`origin=${upstream.url},state=idle`]: 0 })
  t.same(await scrape(url, 'pool_pending_requests'), { [`origin=${upstream.url}`]: 0 })
  const done = Promise.all(answers)
  for (let left = 3; left > 0; left--) {
    t.ok(await waitFor(() => waiting.length > 0))
    waiting.shift()!()
  }
  await done
  t.same(await scrapeUntil(url, 'requests_in_flight', values => sum(values) === 0), { '': 0 })
  t.same(await scrape(url, 'slots_in_use'), { 'backend=up': 0 })
})

t.test('health of targets', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.writeHead(500).end() })
  const { url, app } = await startGateway(t, { backends: { up: { url: upstream.url, health: { path: '/', fall: 1, interval: '1h' } } }, metrics: METRICS })
  await app.reverseproxy.health.check('up')
  t.same(await scrape(url, 'target_healthy'), { [`backend=up,target=${upstream.url}`]: 0 })
})

t.test('parts of composites by what became of them', async t => {
  const upstream = await httpUpstream(t, (request, response) => {
    response.writeHead(request.url === '/bad' ? 500 : 200, { 'content-type': 'application/json' }).end('{}')
  })
  const { url } = await startGateway(t, {
    backends: { up: upstream.url },
    metrics: METRICS,
    routes: [{ name: 'page', path: '/page', composite: { parts: { a: { backend: 'up', path: '/a' }, b: { backend: 'up', path: '/bad', fallback: {} }, c: { backend: 'up', path: '/bad' } } } }]
  }, () => {})
  t.equal((await fetch(`${url}/page`)).status, 200)
  t.same(await scrape(url, 'composite_parts_total'), { 'route=page,part=a,state=ok': 1, 'route=page,part=b,state=fallback': 1, 'route=page,part=c,state=failed': 1 })
  t.same(await scrape(url, 'requests_total'), { 'route=page,method=GET,code=200': 1 })
})

t.test('tenants: a bounded number of labels, nobody, and ids that nobody knows', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end() })
  const { url } = await startGateway(t, { backends: { up: upstream.url }, metrics: METRICS, tenancy: { labels: 1, tenants: { a: {}, b: {} } } })
  for (const id of ['a', 'b', 'made-up', undefined]) await fetch(`${url}/x`, id === undefined ? {} : { headers: { 'x-tenant-id': id } })
  t.same(await scrape(url, 'tenant_requests_total'), { 'tenant=a,class=2xx': 1, 'tenant=other,class=2xx': 2, 'tenant=,class=2xx': 1 })
  t.same(await scrape(url, 'tenant_breakers'), { 'backend=up,state=closed': 2 })
  t.notMatch(await (await fetch(`${url}/metrics`)).text(), /made-up/)
})

t.test('targets of a tenant\'s own share a label', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end() })
  const own = await httpUpstream(t, (_request, response) => { response.end() })
  const { url } = await startGateway(t, { backends: { up: upstream.url }, metrics: METRICS, tenancy: { tenants: { a: { backends: { up: own.url } } } } })
  await fetch(`${url}/x`, { headers: { 'x-tenant-id': 'a' } })
  t.same(await scrape(url, 'upstream_attempts_total'), { 'backend=up,target=tenants,outcome=ok': 1 })
  t.same(Object.keys(await scrape(url, 'pool_connections')), ['origin=tenants,state=busy', 'origin=tenants,state=idle'])
  t.notMatch(await (await fetch(`${url}/metrics`)).text(), new RegExp(own.url))
})

t.test('what is gone is forgotten: targets and backends', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end() })
  const other = await httpUpstream(t, (_request, response) => { response.end() })
  const { url, app } = await startGateway(t, { backends: { up: [upstream.url, other.url], late: upstream.url }, metrics: METRICS }, app => {
    app.get('/up', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/late', async (_request, reply) => reply.proxy('late'))
  })
  for (const path of ['/up', '/up', '/late']) await fetch(url + path)
  t.equal(Object.keys(await scrape(url, 'upstream_attempts_total')).length, 3)
  await app.reverseproxy.backends.removeTarget('up', other.url)
  await app.reverseproxy.backends.remove('late')
  t.same(await scrape(url, 'upstream_attempts_total'), { [`backend=up,target=${upstream.url},outcome=ok`]: 1 })
  t.same(Object.keys(app.reverseproxy.metrics.snapshot().backends), ['up'])
})

t.test('no secret of a request is in a scrape', async t => {
  const { url } = await startPair(t, OK, { gateway: { metrics: METRICS, tenancy: { tenants: {} } } })
  const secret = 'S3CR3T'
  await fetch(`${url}/${secret}?token=${secret}`, { method: 'POST', body: secret, headers: { authorization: secret, cookie: secret, 'x-tenant-id': secret, 'x-request-id': secret, 'user-agent': secret } })
  await rawRequest(Number(new URL(url).port), `${secret} /${secret} HTTP/1.1\r\nhost: ${secret}\r\nconnection: close\r\n\r\n`)
  t.notMatch(await (await fetch(`${url}/metrics`)).text(), new RegExp(secret))
})

t.test('with a port there is a server of its own, for one path, on the loopback', async t => {
  const { url, app } = await startPair(t, OK, { gateway: { metrics: { ...METRICS, port: 0, path: '/m' } } })
  t.equal(await (await fetch(`${url}/m`)).text(), 'hi', 'the app has no such route')
  const own = `http://127.0.0.1:${app.reverseproxy.metrics.port}`
  t.match(await (await fetch(`${own}/m?x=1`)).text(), /^reverseproxy_requests_total\{route="\/\*",method="GET",code="200"\} 1$/m)
  t.equal((await fetch(`${own}/`)).status, 404)
  const refused = await fetch(`${own}/m`, { method: 'POST', body: 'x' })
  t.equal(refused.status, 405)
  t.equal(refused.headers.get('allow'), 'GET, HEAD')
  await app.close()
  t.equal(app.reverseproxy.metrics.port, undefined)
  await t.rejects(fetch(`${own}/m`))
})

t.test('a port that is taken refuses to start', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo
  await t.rejects(startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, port } }), { code: 'EADDRINUSE' })
})

t.test('a scrape that fails is a 500 of that server, and no more', async t => {
  const { app } = await startPair(t, OK, { gateway: { metrics: { ...METRICS, port: 0 } } })
  app.reverseproxy.metrics.registry!.metrics = () => Promise.reject(new Error('no'))
  t.equal((await fetch(`http://127.0.0.1:${app.reverseproxy.metrics.port}/metrics`)).status, 500)
})

t.test('prefix, buckets, tenants and the metrics of the process are as the options say', async t => {
  const { url } = await startPair(t, OK, { gateway: { metrics: { prefix: 'gw_', buckets: [0.5, 1], tenants: false }, tenancy: {} } })
  await fetch(`${url}/x`)
  const text = await (await fetch(`${url}/metrics`)).text()
  t.same(Object.keys(valuesOf(text, 'gw_request_duration_seconds_bucket')), ['route=/*,class=2xx,le=0.5', 'route=/*,class=2xx,le=1', 'route=/*,class=2xx,le=+Inf'])
  t.same(valuesOf(text, 'gw_tenant_requests_total'), {})
  t.match(text, /^process_cpu_user_seconds_total /m)
  t.notMatch(text, /^reverseproxy_/m)
})

t.test('path: false is for programs only', async t => {
  const { url, app } = await startPair(t, OK, { gateway: { metrics: { ...METRICS, path: false } } })
  t.equal(await (await fetch(`${url}/metrics`)).text(), 'hi')
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 1, success: 1 })
})

t.test('a snapshot has numbers of backends and targets, and reset begins anew', async t => {
  const { url, app, upstream } = await startPair(t, OK, { gateway: { metrics: METRICS } })
  await fetch(`${url}/x`)
  await fetch(`${url}/x`)
  const { since, backends } = app.reverseproxy.metrics.snapshot()
  t.ok(since instanceof Date)
  const numbers = { attempts: 2, success: 2, failures: 0, byOutcome: { ok: 2, timeout: 0 } }
  t.has(backends['up'], { ...numbers, retries: 0, rejected: 0, targets: { [upstream.url]: numbers } })
  t.ok(backends['up']!.averageMs > 0 && backends['up']!.p99 >= backends['up']!.p50)
  app.reverseproxy.metrics.reset()
  t.has(app.reverseproxy.metrics.snapshot().backends['up'], { attempts: 0, averageMs: 0, byOutcome: { ok: 0 } })
  t.equal(sum(await scrape(url, 'upstream_attempts_total')), 2)
})

t.test('event streams that are open', async t => {
  const { url } = await startPair(t, 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n', { gateway: { metrics: METRICS } })
  const stop = new AbortController()
  const response = await fetch(`${url}/events`, { signal: stop.signal, headers: { accept: 'text/event-stream' } })
  t.same(await scrape(url, 'event_streams_open'), { '': 1 })
  stop.abort()
  await t.rejects(response.text())
  t.same(await scrapeUntil(url, 'event_streams_open', values => sum(values) === 0), { '': 0 })
})

t.test('WebSockets that are open; their requests end with the handshake', async t => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, { backends: { up: backend.url }, metrics: METRICS }, app => {
    app.get('/live', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
  })
  const client = await wsClient(t, `${url.replace('http', 'ws')}/live`)
  t.same(await scrapeUntil(url, 'websockets_open', values => sum(values) === 1), { '': 1 })
  t.same(await scrapeUntil(url, 'requests_in_flight', values => sum(values) === 0), { '': 0 })
  t.same(await scrape(url, 'requests_total'), { 'route=/live,method=GET,code=101': 1 })
  client.socket.close()
  t.same(await scrapeUntil(url, 'websockets_open', values => sum(values) === 0), { '': 0 })
})
