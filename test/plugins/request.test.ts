/** Calls of the app's own: `reverseproxy.request()`. */
import t from 'tap'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { buildGateway, closedPort, echoUpstream, echoUpstreams, http2Upstream, httpUpstream, rawUpstream, respond, waitFor } from '../helper.ts'
import type { Echo, GatewayOptions } from '../helper.ts'

/** A gateway without a route and without a port. */
async function start (t: Test, options: GatewayOptions): Promise<FastifyInstance> {
  const app = await buildGateway(options, () => {})
  t.teardown(() => app.close())
  await app.ready()
  return app
}

async function rejection (promise: Promise<unknown>): Promise<{ code?: string, statusCode?: number, cause?: unknown }> {
  return await promise.then(() => ({ code: 'it did not reject' }), (error: object) => error)
}

// ---------------------------------------------------------------- what goes out

t.test('without more it is a GET of /', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  const answer = await reverseproxy.request('a')
  t.equal(answer.status, 200)
  t.match(await answer.json(), { name: 'a', method: 'GET', url: '/' })
  t.equal(answer.headers['content-type'], 'application/json')
  t.equal(answer.headers['connection'], undefined)
  t.equal(answer.backend, 'a')
  t.equal(answer.target, url)
  t.match(answer.attempts, [{ target: url, outcome: 'ok', status: 200 }])
  t.same(seen.map(({ headers }) => Object.keys(headers).sort()), [['connection', 'host', 'via']], 'nobody is forwarded')
})

t.test('nobody is forwarded, whatever the options say of forwarded headers', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, {
    backends: { a: { url, host: 'preserve' } },
    headers: { requestId: 'x-id', forwarded: { for: 'append', proto: 'set', host: 'set', port: 'set', prefix: 'set', realIp: 'set', rfc7239: 'append' } }
  })
  await (await reverseproxy.request('a')).dump()
  t.same(Object.keys(seen[0]!.headers).sort(), ['connection', 'host', 'via'])
  t.equal(seen[0]!.headers.host, new URL(url).host, 'there is no host to preserve')
  await (await reverseproxy.request('a', { requestId: 'job-7' })).dump()
  t.equal(seen[1]!.headers['x-id'], 'job-7')
})

t.test('paths and queries', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: `${url}/base` } })
  await reverseproxy.request('a', { path: '/x?y=1', query: { a: 'b c', list: [1, true, undefined], none: undefined } })
  await reverseproxy.request('a', { path: '/x', query: '?q=1' })
  await reverseproxy.request('a', { path: '/x', query: new URLSearchParams({ p: '%' }) })
  t.same(seen.map(({ url }) => url), ['/base/x?y=1&a=b+c&list=1&list=true', '/base/x?q=1', '/base/x?p=%25'])
})

t.test('headers: the rules of the backend, and then those of the call', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: { url, headers: { request: { forward: ['accept'], set: { 'x-key': 'secret', 'x-kind': 'all' } } } } } })
  await reverseproxy.request('a', { headers: { 'X-Kind': 'mine', 'x-list': ['1', 2], 'x-none': undefined, authorization: 'Basic x' } })
  t.match(seen[0]!.headers, { 'x-key': 'secret', 'x-kind': 'mine', 'x-list': '1, 2', authorization: 'Basic x', 'x-none': undefined })
  await reverseproxy.request('a', { headers: new Headers({ 'x-kind': 'other' }) })
  t.match(seen[1]!.headers, { 'x-kind': 'other' })
})

t.test('bodies', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  const ask = async (body: Parameters<typeof reverseproxy.request>[1] extends infer I ? NonNullable<I> extends { body?: infer B } ? B : never : never, headers = {}): Promise<Echo> =>
    await (await reverseproxy.request('a', { method: 'POST', body, headers })).json() as Echo
  t.match(await ask('text'), { body: 'text', headers: { 'content-length': '4', 'content-type': undefined } })
  t.match(await ask('<a/>', { 'content-type': 'text/xml' }), { body: '<a/>', headers: { 'content-type': 'text/xml' } })
  t.match(await ask(Buffer.from('bytes')), { body: 'bytes' })
  t.match(await ask(new Uint8Array([65, 66]).subarray(1)), { body: 'B' })
  t.match(await ask({ a: [1] }), { body: '{"a":[1]}', headers: { 'content-type': 'application/json' } })
  t.match(await ask([1], { 'content-type': 'application/problem+json' }), { body: '[1]', headers: { 'content-type': 'application/problem+json' } })
  t.match(await ask(new URLSearchParams({ a: 'b' })), { body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } })
  t.match(await ask(Readable.from([Buffer.from('a'), Buffer.from('b')], { objectMode: false })), { body: 'ab', headers: { 'transfer-encoding': 'chunked', 'content-length': undefined } })
  t.match(await ask(new Blob(['web']).stream() as never), { body: 'web' })
  t.match(await ask(null), { body: '' })
  t.equal(seen.length, 10)
})

t.test('what cannot be asked for is refused before anything goes out', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  const refused: unknown[] = [
    { method: 'CONNECT' }, { path: 'x' }, { path: '/ä' }, { query: { a: {} } }, { url: '/x' }, { retry: true }, { signal: {} }, { timeout: 'soon' }, { tenant: '' }, { tenant: 'acme' },
    { headers: { connection: 'close' } }, { headers: { 'content-length': '3' } }, { headers: { 'x-a': 'a\nb' } }, { headers: { 'a b': '1' } }, { maxBytes: 'many' },
    { body: new Map() }, { body: 7 }, { body: new Blob(['a']) }, { body: Readable.from([{ a: 1 }]) }
  ]
  for (const init of refused) t.match(await rejection(reverseproxy.request('a', init as never)), { code: 'RP_ERR_INVALID_CALL', statusCode: 500 }, JSON.stringify(init))
  t.match(await rejection(reverseproxy.request('a', { path: '/a/../../b' })), { code: 'RP_ERR_BAD_PATH' })
  t.match(await rejection(reverseproxy.request('b')), { code: 'RP_ERR_UNKNOWN_BACKEND' })
  t.equal(seen.length, 0)
})

// ---------------------------------------------------------------- what comes back

t.test('a status of any kind is an answer', async t => {
  const { url } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  for (const status of [204, 302, 404, 500]) {
    const answer = await reverseproxy.request('a', { path: `/status/${status}` })
    t.equal(answer.status, status)
    await answer.dump()
  }
})

t.test('failures are the errors of the suite', async t => {
  const silent = await rawUpstream(t, () => {})
  const { reverseproxy } = await start(t, { backends: { gone: `http://127.0.0.1:${await closedPort()}`, silent: silent.url, empty: { targets: [] } }, circuitBreaker: false })
  t.match(await rejection(reverseproxy.request('gone')), { code: 'RP_ERR_CONNECT', statusCode: 502 })
  t.match(await rejection(reverseproxy.request('silent', { timeout: 30 })), { code: 'RP_ERR_TIMEOUT', statusCode: 504 })
  t.match(await rejection(reverseproxy.request('silent', { timeout: { headers: '20ms' } })), { code: 'RP_ERR_TIMEOUT', statusCode: 504 })
  t.match(await rejection(reverseproxy.request('empty')), { code: 'RP_ERR_NO_TARGET', statusCode: 503 })
})

t.test('text, json and bytes read at most maxBytes, and once', async t => {
  const { url } = await httpUpstream(t, (request, response) => { response.end(request.url === '/json' ? '{"a":"é"}' : request.url === '/bad' ? '{' : 'x'.repeat(100_000)) })
  const { reverseproxy } = await start(t, { backends: { a: url } })
  t.same(await (await reverseproxy.request('a', { path: '/json' })).json(), { a: 'é' })
  t.equal(await (await reverseproxy.request('a', { path: '/json' })).text(), '{"a":"é"}')
  t.same(await (await reverseproxy.request('a', { path: '/json' })).bytes(), Buffer.from('{"a":"é"}'))
  t.match(await rejection((await reverseproxy.request('a', { path: '/bad' })).json()), { code: 'RP_ERR_BAD_RESPONSE' })
  t.equal((await (await reverseproxy.request('a')).bytes()).length, 100_000)
  t.match(await rejection((await reverseproxy.request('a', { maxBytes: '64kb' })).text()), { code: 'RP_ERR_ANSWER_TOO_LARGE', statusCode: 502 })
  const read = await reverseproxy.request('a')
  await read.text()
  await t.rejects(read.text(), TypeError)
  t.ok(await waitFor(() => reverseproxy.pools.stats('a').every(({ running }) => running === 0)))
})

t.test('a body is a stream with backpressure', async t => {
  let sent = 0
  const { url } = await httpUpstream(t, (_request, response) => {
    const push = (): void => {
      while (sent < 300) {
        sent++
        if (!response.write(Buffer.alloc(65_536))) {
          response.once('drain', push)
          return
        }
      }
      response.end()
    }
    push()
  })
  const { reverseproxy } = await start(t, { backends: { a: url } })
  const { body } = await reverseproxy.request('a')
  const [first] = await once(body, 'data') as [Buffer]
  body.pause()
  let before = -1
  t.ok(await waitFor(() => {
    const stands = sent === before
    before = sent
    return stands
  }))
  t.ok(sent < 300, 'the backend waits for the reader')
  let size = first.length
  for await (const chunk of body) size += (chunk as Buffer).length
  t.equal(size, 300 * 65_536)
})

t.test('a body that nobody reads gives its connection free after the idle time', async t => {
  const upstream = await rawUpstream(t, () => Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n'), Buffer.alloc(1_000_000)]))
  const { reverseproxy } = await start(t, { backends: { a: { url: upstream.url, timeout: { idle: 50 } } } })
  const answer = await reverseproxy.request('a')
  t.ok(await waitFor(() => upstream.closedAt[0] !== undefined))
  t.match(await rejection(answer.text()), { code: 'RP_ERR_TIMEOUT' })
})

t.test('dump keeps the connection of a short body and closes that of a long one', async t => {
  let closed = false
  const { url } = await httpUpstream(t, (request, response) => {
    if (request.url === '/short') {
      response.write('a')
      setImmediate(() => { response.end('b') })
    } else {
      response.writeHead(200, { 'content-length': '100000000' }).write(Buffer.alloc(1_000_000))
      response.once('close', () => { closed = true })
    }
  })
  const { reverseproxy } = await start(t, { backends: { a: url } })
  await (await reverseproxy.request('a', { path: '/short' })).dump()
  t.match(reverseproxy.pools.stats('a'), [{ connected: 1, running: 0 }])
  await (await reverseproxy.request('a', { path: '/long' })).dump()
  t.ok(await waitFor(() => closed))
})

t.test('a reader that goes away ends the exchange', async t => {
  const upstream = await rawUpstream(t, () => Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc'))
  const { reverseproxy } = await start(t, { backends: { a: upstream.url } })
  const { body } = await reverseproxy.request('a')
  body.destroy()
  t.ok(await waitFor(() => upstream.closedAt[0] !== undefined))
})

// ---------------------------------------------------------------- ending it

t.test('the signal ends a call that waits for its answer', async t => {
  const upstream = await rawUpstream(t, () => {})
  const { reverseproxy } = await start(t, { backends: { a: upstream.url } })
  const controller = new AbortController()
  const call = rejection(reverseproxy.request('a', { signal: controller.signal }))
  t.ok(await waitFor(() => upstream.requests.length === 1))
  controller.abort(new Error('the job was stopped'))
  t.match(await call, { code: 'RP_ERR_ABORTED', cause: { message: 'the job was stopped' } })
  t.ok(await waitFor(() => upstream.closedAt[0] !== undefined))
  t.match(reverseproxy.backends.get('a')?.targets, [{ inflight: 0 }])
})

t.test('the signal ends an answer under way, and asks nobody when it was there before', async t => {
  const upstream = await rawUpstream(t, () => Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc'))
  const { reverseproxy } = await start(t, { backends: { a: upstream.url } })
  const controller = new AbortController()
  const answer = await reverseproxy.request('a', { signal: controller.signal })
  const text = rejection(answer.text())
  controller.abort()
  t.match(await text, { code: 'RP_ERR_ABORTED' })
  t.match(await rejection(reverseproxy.request('a', { signal: controller.signal })), { code: 'RP_ERR_ABORTED' })
  t.equal(upstream.requests.length, 1)
})

t.test('a signal that outlives its calls keeps nothing of them', async t => {
  const { url } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  const { signal } = new AbortController()
  const listening = new Set<unknown>()
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = function (this: AbortSignal, name: string, listener: never) { listening.add(listener); addEventListener.call(this, name, listener) } as never
  signal.removeEventListener = function (this: AbortSignal, name: string, listener: never) { listening.delete(listener); removeEventListener.call(this, name, listener) } as never
  await (await reverseproxy.request('a', { signal })).text()
  await rejection(reverseproxy.request('none', { signal }))
  t.equal(listening.size, 0)
})

t.test('a stream that breaks ends the call, and does not count against the target', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: { url, circuitBreaker: { failureThreshold: 1 } } } })
  const body = new Readable({ read () { this.push('abc'); this.destroy(new Error('the disk has gone')) } })
  t.match(await rejection(reverseproxy.request('a', { method: 'PUT', body })), { code: 'RP_ERR_ABORTED', cause: { message: 'the disk has gone' } })
  t.equal(reverseproxy.breakers.get('a')?.state, 'closed')
  t.equal(seen.length, 0)
})

t.test('what is left of a stream is destroyed when the call is over', async t => {
  const upstream = await rawUpstream(t, () => respond(413), { at: 'head' })
  const { reverseproxy } = await start(t, { backends: { a: upstream.url, gone: `http://127.0.0.1:${await closedPort()}` } })
  const endless = (): Readable => new Readable({ read () { this.push(Buffer.alloc(1000)) } })
  const refused = endless()
  const { status } = await reverseproxy.request('a', { method: 'POST', body: refused })
  t.equal(status, 413)
  t.ok(await waitFor(() => refused.destroyed))
  const unsent = endless()
  await rejection(reverseproxy.request('gone', { method: 'POST', body: unsent }))
  t.ok(await waitFor(() => unsent.destroyed))
})

t.test('after app.close() it rejects', async t => {
  const { url } = await echoUpstream(t, 'a')
  const app = await start(t, { backends: { a: url } })
  await (await app.reverseproxy.request('a')).dump()
  await app.close()
  t.match(await rejection(app.reverseproxy.request('a')), { code: 'RP_ERR_NO_TARGET', statusCode: 503 })
})

// ---------------------------------------------------------------- through the same layers

t.test('it is balanced, by the headers of the call where the balancer asks for one', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { reverseproxy } = await start(t, { backends: { turns: [a.url, b.url], hashed: { targets: [a.url, b.url], balancer: { type: 'hash', key: { header: 'x-user' } } } } })
  for (let i = 0; i < 4; i++) await (await reverseproxy.request('turns')).dump()
  t.same([a.seen.length, b.seen.length], [2, 2])
  const names = new Set<unknown>()
  for (let i = 0; i < 4; i++) names.add((await (await reverseproxy.request('hashed', { headers: { 'x-user': 'u7' } })).json() as Echo).name)
  t.equal(names.size, 1)
})

t.test('it is tried again as a request would be, unless it says no', async t => {
  const { url } = await echoUpstream(t, 'a')
  const backend = { targets: [`http://127.0.0.1:${await closedPort()}`, url], retry: { attempts: 2, backoff: { initial: 1, max: 1 } } }
  const { reverseproxy } = await start(t, { backends: { a: backend }, circuitBreaker: false })
  const answer = await reverseproxy.request('a')
  t.match(answer.attempts, [{ outcome: 'connect-error' }, { outcome: 'ok' }])
  await reverseproxy.request('a')
  t.match(await rejection(Promise.all([1, 2].map(() => reverseproxy.request('a', { retry: false })))), { code: 'RP_ERR_CONNECT' })
})

t.test('idempotent says whether it may be sent twice', async t => {
  let count = 0
  const { url } = await httpUpstream(t, (_request, response) => { response.writeHead(count++ % 2 === 0 ? 503 : 200).end() })
  const { reverseproxy } = await start(t, { backends: { a: { url, retry: { attempts: 2, backoff: { initial: 1, max: 1 } } } } })
  t.equal((await reverseproxy.request('a', { method: 'POST', idempotent: true })).status, 200)
  t.equal((await reverseproxy.request('a', { method: 'POST' })).status, 503)
  count = 0
  t.equal((await reverseproxy.request('a', { idempotent: false })).status, 503)
})

t.test('its failures open the circuit, and an open one refuses it', async t => {
  const { url, seen } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: { url, circuitBreaker: { failureThreshold: 1 } } } })
  await reverseproxy.request('a', { path: '/status/500' })
  t.match(await rejection(reverseproxy.request('a')), { code: 'RP_ERR_CIRCUIT_OPEN', statusCode: 503 })
  t.equal(seen.length, 1)
})

t.test('a fallback answers it', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { reverseproxy } = await start(t, {
    backends: {
      a: { url: a.url, circuitBreaker: { fallback: { backend: 'b' } } },
      b: b.url,
      c: { url: a.url, circuitBreaker: { fallback: (request, error) => ({ statusCode: 203, body: { url: request.url, code: (error as { code?: string }).code } }) } }
    }
  })
  reverseproxy.breakers.open('a')
  reverseproxy.breakers.open('c')
  const other = await reverseproxy.request('a', { path: '/x' })
  t.match(await other.json(), { name: 'b', url: '/x', headers: { 'x-forwarded-for': undefined } })
  t.equal(other.backend, 'b')
  const made = await reverseproxy.request('c', { path: '/y' })
  t.equal(made.status, 203)
  t.equal(made.target, undefined)
  t.same(await made.json(), { url: '/y', code: 'RP_ERR_CIRCUIT_OPEN' })
})

t.test('redirects are followed where the backend says so', async t => {
  const { url } = await httpUpstream(t, (request, response) => {
    if (request.url === '/from') response.writeHead(302, { location: '/to' }).end()
    else response.end(request.url)
  })
  const { reverseproxy } = await start(t, { backends: { pass: url, follow: { url, redirects: 'follow' } } })
  t.equal((await reverseproxy.request('pass', { path: '/from' })).status, 302)
  t.equal(await (await reverseproxy.request('follow', { path: '/from' })).text(), '/to')
})

t.test('it takes a place among the calls of the backend until its body has ended', async t => {
  const upstream = await rawUpstream(t, () => Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc'))
  const { reverseproxy } = await start(t, { backends: { a: { url: upstream.url, concurrency: { max: 1 } } } })
  const first = await reverseproxy.request('a')
  t.match(await rejection(reverseproxy.request('a')), { code: 'RP_ERR_CONNECTION_LIMIT' })
  first.body.destroy()
  t.ok(await waitFor(() => reverseproxy.backends.get('a')!.targets[0]!.inflight === 0))
  const second = await reverseproxy.request('a')
  t.equal(second.status, 200)
  second.body.destroy()
})

t.test('over HTTP/2 as well', async t => {
  const { backend } = await http2Upstream(t, (stream, headers) => {
    stream.respond({ ':status': 200 })
    stream.end(`${String(headers[':method'])} ${String(headers[':path'])}`)
  }, { h2c: true })
  const { reverseproxy } = await start(t, { backends: { a: backend } } as GatewayOptions)
  t.equal(await (await reverseproxy.request('a', { method: 'POST', path: '/x', body: Readable.from(['a'], { objectMode: false }) })).text(), 'POST /x')
})

// ---------------------------------------------------------------- tenants

t.test('a call of a tenant goes to its backends, with its options and its id', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const asked: string[] = []
  const { reverseproxy } = await start(t, {
    backends: { users: a.url },
    tenancy: {
      header: 'x-tenant-id',
      forwardAs: 'x-tenant',
      unknown: 'reject',
      onTenant: () => { asked.push('onTenant') },
      headers: (tenant: { id: string }) => ({ 'x-plan': `plan of ${tenant.id}` }),
      tenants: { acme: { backends: { users: b.url } }, plain: {}, off: false }
    }
  })
  t.match(await (await reverseproxy.request('users', { tenant: 'acme' })).json(), { name: 'b', headers: { 'x-tenant': 'acme', 'x-plan': 'plan of acme' } })
  t.match(await (await reverseproxy.request('users', { tenant: 'plain' })).json(), { name: 'a', headers: { 'x-tenant': 'plain' } })
  t.match(await (await reverseproxy.request('users')).json(), { name: 'a', headers: { 'x-tenant': undefined, 'x-plan': undefined } })
  t.match(await rejection(reverseproxy.request('users', { tenant: 'nobody' })), { code: 'RP_ERR_TENANT_UNKNOWN', statusCode: 403 })
  t.match(await rejection(reverseproxy.request('users', { tenant: 'off' })), { code: 'RP_ERR_TENANT_REFUSED', statusCode: 403 })
  t.same(asked, [], 'hooks that let clients in are not asked')
})

t.test('an answer with many connections at once leaves none behind', async t => {
  const server = createServer((_request, response) => { response.end('x'.repeat(200_000)) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { reverseproxy } = await start(t, { backends: { a: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, pool: { connections: 5 } } } })
  const sizes = await Promise.all(Array.from({ length: 40 }, async () => (await (await reverseproxy.request('a')).text()).length))
  t.same(new Set(sizes), new Set([200_000]))
  t.match(reverseproxy.backends.get('a')?.targets, [{ inflight: 0, started: 40 }])
})
