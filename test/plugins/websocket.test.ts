/** WebSockets through the gateway: what passes, what the backend sees, how they end. */
import t, { type Test } from 'tap'
import { wsFrame, get, handshake, httpUpstream, rawClient, seededBytes, startGateway, startPair, switching, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, WsBackend } from '../helper.ts'

const route = (proxy: object = {}): Configure => app => {
  app.get('/ws/*', { proxy: { backend: 'up', websocket: true, ...proxy } }, app.reverseproxy.handler)
}

async function startSocketPair (t: Test, { onSocket, proxy, gateway }: { onSocket?: Parameters<typeof wsBackend>[1], proxy?: object, gateway?: Partial<GatewayOptions> } = {}) {
  const backend: WsBackend = await wsBackend(t, onSocket)
  const started = await startGateway(t, { backends: { up: backend.url }, ...gateway } as GatewayOptions, route(proxy))
  return { ...started, backend }
}

t.test('text and binary messages pass both ways as they are', async (t) => {
  const { url } = await startSocketPair(t)
  const client = await wsClient(t, `${url}/ws/a`)
  const bytes = seededBytes(100_000)
  client.socket.send('héllo')
  client.socket.send(bytes)
  client.socket.send('')
  t.equal(await client.message(0), 'héllo')
  t.ok(bytes.equals(await client.message(1) as Buffer))
  t.equal(await client.message(2), '')
})

t.test('the backend gets path, query, cookies, Origin, Authorization and all subprotocols', async (t) => {
  const { url, backend } = await startSocketPair(t, { proxy: { rewrite: { stripPrefix: '/ws' } } })
  const client = await wsClient(t, `${url}/ws/room/1?a=%2F&b`, ['one', 'two'], { headers: { cookie: 'a=b', authorization: 'Bearer x' }, origin: 'https://app.example' })
  const [request] = backend.requests
  t.equal(request!.url, '/room/1?a=%2F&b')
  t.has(request!.headers, {
    cookie: 'a=b',
    authorization: 'Bearer x',
    origin: 'https://app.example',
    'sec-websocket-protocol': 'one, two',
    'sec-websocket-version': '13',
    connection: 'upgrade',
    upgrade: 'websocket',
    'x-forwarded-proto': 'http',
    via: '1.1 fastify-reverseproxy'
  })
  t.equal(client.socket.protocol, 'one', 'the choice of the backend')
})

t.test('frames, fragments, pings and pongs pass byte for byte, early ones too', async (t) => {
  const { port, upstream } = await startPair(t, [switching(), wsFrame(9, 'ping')], { configure: route() })
  const client = await rawClient(t, port)
  const early = Buffer.concat([wsFrame(1, 'a', { fin: false, mask: true }), wsFrame(9, 'in between', { mask: true })])
  const late = Buffer.concat([wsFrame(0, 'b', { mask: true }), wsFrame(2, seededBytes(70_000), { mask: true })])
  client.send([Buffer.concat([handshake('/ws/'), early])])
  t.ok(await waitFor(() => client.raw.includes(wsFrame(9, 'ping'))))
  client.send(late)
  const seen: Buffer[] = []
  upstream.sockets[0]!.on('data', piece => { seen.push(piece) })
  await waitFor(() => upstream.bytes >= upstream.last.head.length + 4 + early.length + late.length)
  await waitFor(() => Buffer.concat(seen).length >= late.length)
  t.ok(Buffer.concat(seen).subarray(-late.length).equals(late))
})

t.test('a close code and its reason pass both ways', async (t) => {
  const { url, backend } = await startSocketPair(t, { onSocket (socket) { socket.on('message', () => { socket.close(4001, 'enough') }) } })
  const one = await wsClient(t, `${url}/ws/`)
  one.socket.send('x')
  t.same(await one.closed(), [4001, 'enough'])
  const two = await wsClient(t, `${url}/ws/`)
  two.socket.close(3000, 'bye')
  t.same(await two.closed(), [3000, 'bye'])
  t.ok(await waitFor(() => backend.closes.length === 2))
  t.same(backend.closes, [[4001, 'enough'], [3000, 'bye']])
})

t.test('a refused upgrade reaches the client with status, headers and body', async (t) => {
  const { port, upstream } = await startPair(t, 'HTTP/1.1 403 No Entry\r\nContent-Length: 5\r\nX-Why: you\r\n\r\nsorry', { configure: route() })
  const client = await rawClient(t, port)
  const response = await client.exchange(handshake('/ws/'))
  t.equal(response.startLine, 'HTTP/1.1 403 No Entry')
  t.equal(response.header('x-why'), 'you')
  t.equal(response.text, 'sorry')
  t.ok(await client.closes(), 'nothing else comes on this connection')
  t.equal(upstream.requests.length, 1)
})

t.test('a refusal of a megabyte arrives in full', async (t) => {
  const body = seededBytes(1_000_000)
  const { port } = await startPair(t, [`HTTP/1.1 500 Oops\r\nContent-Length: ${body.length}\r\n\r\n`, body], { configure: route() })
  const client = await rawClient(t, port)
  const response = await client.exchange(handshake('/ws/'))
  t.ok(response.complete)
  t.ok(response.body.equals(body))
})

t.test('a GET without Upgrade is a request like any other', async (t) => {
  const { url, app } = await startSocketPair(t)
  t.equal(await (await fetch(`${url}/ws/x?y`)).text(), 'plain GET /ws/x?y')
  t.equal((await app.inject({ url: '/ws/x', headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' } })).payload, 'plain GET /ws/x')
})

t.test('a backend that dies takes the client\'s socket with it', async (t) => {
  const { url, backend } = await startSocketPair(t)
  const client = await wsClient(t, `${url}/ws/`)
  for (const socket of backend.sockets) (socket as unknown as { _socket: { resetAndDestroy (): void } })._socket.resetAndDestroy()
  t.same(await client.closed(), [1006, ''])
})

t.test('a client that dies takes the backend\'s socket with it', async (t) => {
  const { url, backend } = await startSocketPair(t)
  const client = await wsClient(t, `${url}/ws/`)
  ;(client.socket as unknown as { _socket: { resetAndDestroy (): void } })._socket.resetAndDestroy()
  t.ok(await waitFor(() => backend.closes.length === 1, 1000))
  t.same(backend.closes, [[1006, '']])
})

t.test('an open WebSocket counts at its target until it is closed', async (t) => {
  const { url, app } = await startSocketPair(t)
  const inflight = () => app.reverseproxy.backends.get('up')!.targets[0]!.inflight
  const client = await wsClient(t, `${url}/ws/`)
  t.equal(inflight(), 1)
  t.equal(app.reverseproxy.websockets.size, 1)
  client.socket.close()
  t.ok(await waitFor(() => inflight() === 0))
  t.equal(app.reverseproxy.websockets.size, 0)
})

t.test('least-connections spreads open WebSockets', async (t) => {
  const backends = [await wsBackend(t), await wsBackend(t), await wsBackend(t)]
  const { url } = await startGateway(t, { backends: { up: { targets: backends.map(({ url }) => url), balancer: 'least-connections' } } }, route())
  for (let i = 0; i < 9; i++) await wsClient(t, `${url}/ws/`)
  t.same(backends.map(({ sockets }) => sockets.size), [3, 3, 3])
})

t.test('maxConnections of a target limits its WebSockets', async (t) => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, { backends: { up: { targets: [{ url: backend.url, maxConnections: 2 }] } } }, route())
  const first = await wsClient(t, `${url}/ws/`)
  await wsClient(t, `${url}/ws/`)
  await t.rejects(wsClient(t, `${url}/ws/`), { message: 'refused with 503' })
  first.socket.close()
  await first.closed()
  t.ok(await waitFor(() => backend.sockets.size === 1))
  await t.resolves(wsClient(t, `${url}/ws/`))
})

t.test('the circuit breaker counts handshakes that fail, not those that succeed', async (t) => {
  const { url, app, upstream } = await startPair(t, 'HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n', { breakers: true, backend: { circuitBreaker: { failureThreshold: 3 } }, configure: route() })
  for (let i = 0; i < 3; i++) await t.rejects(wsClient(t, `${url}/ws/`), { message: 'refused with 500' })
  t.equal(app.reverseproxy.breakers.get('up')!.state, 'open')
  await t.rejects(wsClient(t, `${url}/ws/`), { message: 'refused with 503' })
  t.equal(upstream.requests.length, 3)
  const good = await startSocketPair(t, { gateway: { circuitBreaker: { failureThreshold: 1 } } })
  await wsClient(t, `${good.url}/ws/`)
  t.equal(good.app.reverseproxy.breakers.get('up')!.stats.consecutive, 0)
})

t.test('a refused handshake is tried again elsewhere where retries are on', async (t) => {
  const backend = await wsBackend(t)
  const bad = await httpUpstream(t, (_request, response) => { response.writeHead(503).end() })
  const { url } = await startGateway(t, { backends: { up: { targets: [bad.url, backend.url], retry: { attempts: 2, budget: false } } } }, route())
  for (let i = 0; i < 4; i++) await t.resolves(wsClient(t, `${url}/ws/`))
})

t.test('hooks run before an upgrade, and may refuse it', async (t) => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, { backends: { up: backend.url } }, app => {
    app.addHook('onRequest', async (request, reply) => { if (request.headers.authorization === undefined) return reply.code(401).send({ who: 'are you' }) })
    app.addHook('preHandler', async (_request, reply) => { reply.header('x-hook', 'ran') })
    return route()(app)
  })
  await t.rejects(wsClient(t, `${url}/ws/`), { message: 'refused with 401' })
  t.equal(backend.requests.length, 0)
  const client = await rawClient(t, Number(new URL(url).port))
  client.send(handshake('/ws/', {}, { Authorization: 'x' }))
  t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
  t.match(client.raw.toString('latin1'), /^HTTP\/1\.1 101 Switching Protocols\r\n(?:.*\r\n)*x-hook: ran\r\n/)
})

t.test('the answer to the handshake is as strict as the request', async (t) => {
  const { port } = await startPair(t, [switching({ 'Sec-WebSocket-Protocol': 'two', Connection: 'Upgrade, X-Internal', 'X-Internal': 'a', 'Keep-Alive': 'timeout=5', 'X-Kept': 'b' })], { configure: route() })
  const client = await rawClient(t, port)
  client.send(handshake('/ws/', { 'Sec-WebSocket-Protocol': 'one, two' }))
  t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
  const head = client.raw.toString('latin1')
  t.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
  t.match(head, /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/)
  t.match(head, /\r\nsec-websocket-protocol: two\r\n/)
  t.match(head, /\r\nconnection: Upgrade\r\nupgrade: websocket\r\n/)
  t.match(head, /\r\nx-kept: b\r\n/)
  t.notMatch(head, /x-internal|keep-alive|content-length|transfer-encoding|content-type/i)
})

t.test('routes of the options forward WebSockets, too', async (t) => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, {
    backends: { up: backend.url, none: 'http://127.0.0.1:1' },
    routes: [
      { path: '/live/*', proxy: { backend: 'up', websocket: true } },
      { path: '/live/*', headers: { 'x-none': '1' }, proxy: 'none' }
    ]
  }, () => {})
  const client = await wsClient(t, `${url}/live/x`)
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
  t.equal(backend.requests[0]!.url, '/live/x')
  await t.rejects(wsClient(t, `${url}/live/x`, [], { headers: { 'x-none': '1' } }), { message: 'refused with 502' })
})

t.test('reply.proxy() in a handler opens a WebSocket as well', async (t) => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, { backends: { up: backend.url } }, app => {
    app.get('/own', { proxy: { backend: 'up', websocket: true } }, async (_request, reply) => reply.proxy(undefined, { path: '/elsewhere' }))
    app.get('/wrong', { proxy: { backend: 'up', websocket: true } }, async (_request, reply) => reply.proxy('up', { body: { a: 1 } }))
  })
  const client = await wsClient(t, `${url}/own`)
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
  t.equal(backend.requests[0]!.url, '/elsewhere')
  await t.rejects(wsClient(t, `${url}/wrong`), { message: 'refused with 500' })
})

t.test('on a route without websocket an upgrade is ignored', async (t) => {
  const backend = await wsBackend(t)
  const { url, port } = await startGateway(t, { backends: { up: backend.url } }, app => {
    app.get('/plain', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/local', async () => 'local')
    return route()(app)
  })
  for (const [path, status, body] of [['/plain', 200, 'plain GET /plain'], ['/local', 200, 'local'], ['/none', 404, /not found/]] as const) {
    const client = await rawClient(t, port)
    const response = await client.exchange(handshake(path))
    t.equal(response.status, status)
    t.match(response.text, body)
    t.ok(await client.closes(), 'it was the last answer')
  }
  t.equal((await fetch(`${url}/local`)).status, 200)
})

t.test('a wish for another protocol is ignored, body and following requests included', async (t) => {
  const backend = await wsBackend(t)
  const { port } = await startGateway(t, { backends: { up: backend.url } }, app => {
    app.post('/post', async ({ body }) => body)
    return route()(app)
  })
  const client = await rawClient(t, port)
  const h2c = 'Connection: keep-alive, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'
  client.send([`POST /post HTTP/1.1\r\nHost: a\r\n${h2c}Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}`, get('/ws/x')], ['POST', 'GET'])
  t.equal((await client.response(0)).text, '{"a":1}')
  t.equal((await client.response(1)).text, 'plain GET /ws/x')
})

t.test('a server without WebSocket routes does not listen for upgrades', async (t) => {
  const { app } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' } })
  t.equal(app.server.listenerCount('upgrade'), 0)
})
