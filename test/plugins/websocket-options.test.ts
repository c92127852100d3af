/** The options of `websocket`: who may open one, how large, how silent, and the hooks. */
import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { wsFrame, handshake, rawClient, seededBytes, startGateway, startPair, switching, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, WsBackend } from '../helper.ts'
import type { WebSocketConnection, WebSocketEnd, WebSocketMessage } from '../../lib/websocket/types.ts'

const route = (websocket: object | boolean): Configure => app => {
  app.get('/ws/*', { proxy: { backend: 'up', websocket } }, app.reverseproxy.handler)
}

async function start (t: Test, websocket: object | boolean, onSocket?: Parameters<typeof wsBackend>[1], options: Parameters<typeof wsBackend>[2] = {}) {
  const backend: WsBackend = await wsBackend(t, onSocket, options)
  const gateway = await startGateway(t, { backends: { up: backend.url }, shutdown: { timeout: 1000 } } as GatewayOptions, route(websocket))
  return { ...gateway, backend, ws: `${gateway.url}/ws/` }
}

// ---------------------------------------------------------------- origins

t.test('only allowed origins open a WebSocket', async (t) => {
  const { ws, port, backend } = await start(t, { origins: ['https://app.example.com', '*.example.org'] })
  for (const origin of ['https://app.example.com', 'http://a.b.example.org']) await t.resolves(wsClient(t, ws, [], { origin }), origin)
  for (const origin of ['http://app.example.com', 'https://example.org', 'https://evil.com', 'null']) await t.rejects(wsClient(t, ws, [], { origin }), { message: 'refused with 403' }, origin)
  await t.rejects(wsClient(t, ws), { message: 'refused with 403' }, 'no Origin')
  const client = await rawClient(t, port)
  const response = await client.exchange(handshake('/ws/', {}, [['Origin', 'https://app.example.com'], ['Origin', 'https://evil.com']]))
  t.equal(response.status, 403, 'two of them')
  t.match(JSON.parse(response.text), { code: 'RP_ERR_ORIGIN' })
  t.equal(backend.requests.length, 2)
})

t.test('websocket: false is none', async (t) => {
  const { ws, app } = await start(t, false)
  await t.rejects(wsClient(t, ws), { message: 'refused with 200' })
  t.equal(app.server.listenerCount('upgrade'), 0)
})

// ---------------------------------------------------------------- silence

t.test('an idle WebSocket is closed with 1001 at both ends', async (t) => {
  const { ws, backend } = await start(t, { idleTimeout: 150 })
  const client = await wsClient(t, ws)
  for (let i = 0; i < 5; i++) {
    await sleep(60)
    client.socket.send('x')
  }
  t.equal(client.close, undefined, 'not while it is in use')
  t.same(await client.closed(1000), [1001, 'idle timeout'])
  t.ok(await waitFor(() => backend.closes.length === 1))
  t.same(backend.closes, [[1001, 'idle timeout']])
})

t.test('one way is use enough', async (t) => {
  const { ws } = await start(t, { idleTimeout: 150 }, socket => {
    const timer = setInterval(() => { socket.ping() }, 50)
    socket.on('close', () => { clearInterval(timer) })
  })
  const client = await wsClient(t, ws)
  await sleep(400)
  t.equal(client.close, undefined)
})

// ---------------------------------------------------------------- size

for (const [name, more] of [['tunnelled', {}], ['relayed', { onMessage () {} }]] as const) {
  t.test(`a message over maxPayload closes with 1009, ${name}`, async (t) => {
    const { ws, backend } = await start(t, { maxPayload: 1000, ...more })
    const client = await wsClient(t, ws)
    client.socket.send('x'.repeat(1000))
    t.equal((await client.message(0)).length, 1000)
    client.socket.send('x'.repeat(1001))
    t.same(await client.closed(), [1009, 'message too big'])
    t.ok(await waitFor(() => backend.closes.length === 1))
    t.equal(backend.closes[0]![0], 1009)
    t.equal(client.messages.length, 1)
  })

  t.test(`fragments count together, ${name}`, async (t) => {
    const { ws } = await start(t, { maxPayload: '1kb', ...more })
    const client = await wsClient(t, ws)
    for (let i = 0; i < 10; i++) client.socket.send('x'.repeat(100), { fin: i === 9 })
    t.equal((await client.message(0)).length, 1000)
    for (let i = 0; i < 11; i++) client.socket.send('x'.repeat(100), { fin: false })
    t.same(await client.closed(), [1009, 'message too big'])
  })

  t.test(`a backend's message over maxPayload, ${name}`, async (t) => {
    const { ws, backend } = await start(t, { maxPayload: 1000, ...more }, socket => { socket.send('small'); socket.send('x'.repeat(100_000)) })
    const client = await wsClient(t, ws)
    t.same(await client.closed(), [1009, 'message too big'])
    t.same(client.messages, ['small'])
    t.ok(await waitFor(() => backend.closes.length === 1))
  })
}

// ---------------------------------------------------------------- compression

t.test('permessage-deflate passes, and is not offered where it is off', async (t) => {
  const deflate = { perMessageDeflate: { threshold: 0 } }
  const text = 'abc'.repeat(1000)
  for (const [websocket, extensions] of [[true, 'permessage-deflate'], [{ compression: 'off' }, ''], [{ maxPayload: 5000 }, ''], [{ onMessage () {} }, '']] as const) {
    const { ws, backend } = await start(t, websocket, undefined, deflate)
    const client = await wsClient(t, ws, [], deflate)
    t.equal(client.socket.extensions, extensions, JSON.stringify(websocket))
    t.equal(backend.requests[0]!.headers['sec-websocket-extensions'] === undefined, extensions === '')
    client.socket.send(text)
    t.equal(await client.message(0), text)
  }
})

// ---------------------------------------------------------------- hooks

t.test('onOpen and onClose tell what was', async (t) => {
  const opened: WebSocketConnection[] = []
  const ended: WebSocketEnd[] = []
  const urls: string[] = []
  const { ws, backend } = await start(t, {
    onOpen (connection: WebSocketConnection, request: { url: string }) { opened.push(connection); urls.push(request.url) },
    onClose (end: WebSocketEnd, request: { url: string }) { ended.push(end); urls.push(request.url) }
  })
  const client = await wsClient(t, `${ws}a`, ['chat'])
  t.match(opened, [{ target: backend.url, protocol: 'chat' }])
  client.socket.send('12345')
  await client.message(0)
  client.socket.close(4000, 'done')
  await client.closed()
  t.ok(await waitFor(() => ended.length === 1))
  t.match(ended, [{ code: 4000, reason: 'done', by: 'client', fromClient: 6 + 5 + 6 + 6, fromBackend: 2 + 5 + 2 + 6, duration: Number }])
  const second = await wsClient(t, `${ws}b`)
  for (const socket of backend.sockets) socket.close(4001)
  await second.closed()
  const third = await wsClient(t, `${ws}b`)
  for (const socket of backend.sockets) socket.terminate()
  await third.closed()
  const fourth = await wsClient(t, `${ws}b`)
  fourth.socket.terminate()
  t.ok(await waitFor(() => ended.length === 4))
  t.match(ended.slice(1), [{ code: 4001, reason: '', by: 'backend' }, { code: 1006, by: 'backend' }, { code: 1006, by: 'client' }])
  t.same(urls.slice(0, 2), ['/ws/a', '/ws/a'])
})

for (const [name, more] of [['tunnelled', {}], ['relayed', { onMessage () {} }]] as const) {
  t.test(`onOpen may keep the connection and close it, at once or later, ${name}`, async (t) => {
    let kept: WebSocketConnection | undefined
    const { ws, url, backend } = await start(t, { onOpen (connection: WebSocketConnection, request: { url: string }) { if (request.url.endsWith('no')) connection.close(4003, 'no'); else kept = connection }, ...more })
    t.same(await (await wsClient(t, `${url}/ws/no`)).closed(), [4003, 'no'])
    const client = await wsClient(t, ws)
    t.throws(() => { kept!.close(1006) }, RangeError)
    t.throws(() => { kept!.close(1000, 'x'.repeat(124)) }, RangeError)
    kept!.close()
    kept!.close(4444)
    t.same(await client.closed(), [1000, ''])
    t.ok(await waitFor(() => backend.closes.length === 2))
    t.same(backend.closes, [[4003, 'no'], [1000, '']])
  })

  t.test(`an onOpen that fails closes with 1011, an onClose that fails is logged, ${name}`, async (t) => {
    const boom = (): void => { throw new Error('boom') }
    const reject = async (): Promise<void> => { throw new Error('boom') }
    for (const onOpen of [boom, reject]) {
      const { ws } = await start(t, { onOpen, onClose: onOpen, ...more })
      t.same(await (await wsClient(t, ws)).closed(), [1011, ''])
    }
  })
}

t.test('onMessage changes, drops and replaces messages of both ends', async (t) => {
  const seen: Array<readonly [from: string, data: string | Buffer]> = []
  const bytes = seededBytes(2000)
  const { ws } = await start(t, {
    onMessage ({ data, from }: WebSocketMessage) {
      seen.push([from, data])
      if (data === 'drop') return false
      if (data === 'swap') return Buffer.from('bytes')
      if (typeof data === 'string' && from === 'client') return data.toUpperCase()
      return typeof data === 'string' ? `${data}!` : undefined
    }
  })
  const client = await wsClient(t, ws)
  for (const message of ['héllo', 'drop', bytes, 'swap', '']) client.socket.send(message)
  t.equal(await client.message(0), 'HÉLLO!')
  t.ok(bytes.equals(await client.message(1) as Buffer))
  t.ok(Buffer.from('bytes').equals(await client.message(2) as Buffer))
  t.equal(await client.message(3), '!')
  t.equal(seen.filter(([from]) => from === 'client').length, 5)
  t.same(seen[0], ['client', 'héllo'])
})

t.test('an onMessage that takes its time keeps the order, pings and the close included', async (t) => {
  const order: string[] = []
  const { ws } = await start(t, {
    async onMessage ({ data, from }: WebSocketMessage) {
      await sleep(from === 'client' && Number(data) % 2 === 0 ? 20 : 1)
      return `${String(data)}.`
    }
  }, socket => {
    socket.on('message', data => { order.push(String(data)) })
    socket.on('ping', () => { order.push('ping') })
    socket.on('close', (code: number) => { order.push(String(code)) })
  })
  const client = await wsClient(t, ws)
  for (let i = 0; i < 10; i++) client.socket.send(String(i))
  client.socket.ping()
  client.socket.send('last')
  client.socket.close(4000)
  t.same(await client.closed(), [4000, ''])
  t.same(order, [...Array.from({ length: 10 }, (_, i) => `${i}.`), 'ping', 'last.', '4000'])
})

t.test('an onMessage that throws, rejects or returns nonsense closes with 1011', async (t) => {
  for (const onMessage of [() => { throw new Error('boom') }, async () => { throw new Error('boom') }, () => 5]) {
    const { ws, backend } = await start(t, { onMessage })
    const client = await wsClient(t, ws)
    client.socket.send('x')
    t.same(await client.closed(), [1011, ''])
    t.ok(await waitFor(() => backend.closes.length === 1))
  }
})

t.test('pings and pongs pass a relay and are answered once', async (t) => {
  const { port, upstream } = await startPair(t, [switching(), wsFrame(9, 'from backend')], { configure: route({ onMessage () {} }), gateway: { shutdown: { timeout: 100 } } })
  const client = await rawClient(t, port)
  client.send(Buffer.concat([handshake('/ws/'), wsFrame(9, 'from client', { mask: true })]))
  t.ok(await waitFor(() => client.raw.includes(wsFrame(9, 'from backend'))))
  const seen: Buffer[] = []
  upstream.sockets[0]!.on('data', piece => { seen.push(piece) })
  client.send(wsFrame(10, 'from backend', { mask: true }))
  t.ok(await waitFor(() => Buffer.concat(seen).length >= 18))
  await sleep(50)
  t.equal(Buffer.concat(seen).at(-18), 0x8a, 'a pong')
  const after = client.raw.subarray(client.raw.indexOf('\r\n\r\n') + 4)
  t.ok(after.equals(wsFrame(9, 'from backend')), 'and no pong of ours')
})

t.test('what is no WebSocket frame closes a relay with 1002, a broken text with 1007', async (t) => {
  for (const [bytes, code] of [[wsFrame(1, 'unmasked'), 1002], [wsFrame(3, 'x', { mask: true }), 1002], [wsFrame(1, Buffer.of(0xff), { mask: true }), 1007], [wsFrame(1, 'x', { mask: true, rsv1: true }), 1002]] as const) {
    const { port } = await startPair(t, [switching()], { configure: route({ onMessage () {} }), gateway: { shutdown: { timeout: 100 } } })
    const client = await rawClient(t, port)
    client.send(Buffer.concat([handshake('/ws/'), bytes]))
    const close = wsFrame(8, Buffer.of(code >> 8, code & 255))
    t.ok(await waitFor(() => client.raw.includes(close)), String(code))
    t.ok(await client.closes())
  }
})

t.test('a relay without maxPayload has a limit all the same', async (t) => {
  const { ws } = await start(t, { onMessage () {} })
  const client = await wsClient(t, ws)
  client.socket.send(Buffer.alloc(1_048_576))
  t.equal((await client.message(0)).length, 1_048_576)
  client.socket.send(Buffer.alloc(1_048_577))
  t.same(await client.closed(), [1009, 'message too big'])
})

// ---------------------------------------------------------------- others who have a say

t.test('hooks may answer something else in place of a 101', async (t) => {
  const backend = await wsBackend(t)
  for (const [name, hook, status] of [
    ['another status', async (_request: unknown, reply: { code (status: number): unknown }, payload: unknown) => { reply.code(418); return payload }, 418],
    ['an error', async () => { throw new Error('boom') }, 500]
  ] as const) {
    const { url, app } = await startGateway(t, { backends: { up: backend.url } }, app => {
      app.addHook('onSend', hook as never)
      return route(true)(app)
    })
    await t.rejects(wsClient(t, `${url}/ws/`), { message: `refused with ${status}` }, name)
    t.ok(await waitFor(() => backend.sockets.size === 0), 'the backend is let go')
    t.equal(app.reverseproxy.backends.get('up')!.targets[0]!.inflight, 0)
  }
})

t.test('onResponse and the log see the handshake as one request', async (t) => {
  const backend = await wsBackend(t)
  const statuses: number[] = []
  const { url } = await startGateway(t, { backends: { up: backend.url } }, app => {
    app.addHook('onResponse', async (request, reply) => { statuses.push(reply.statusCode, request.reverseproxy!.attempts.length) })
    return route(true)(app)
  })
  await wsClient(t, `${url}/ws/`)
  t.same(statuses, [101, 1])
})

t.test('a tenant may be without WebSockets, or have options of its own', async (t) => {
  const backend = await wsBackend(t)
  const { url } = await startGateway(t, {
    backends: { up: backend.url },
    tenancy: { tenants: { plain: { routes: { ws: { proxy: { websocket: false } } } }, strict: { routes: { ws: { proxy: { websocket: { origins: ['a.example'] } } } } } } },
    routes: [{ name: 'ws', path: '/ws', proxy: { backend: 'up', websocket: true } }]
  } as GatewayOptions, () => {})
  const as = (tenant: string, origin?: string) => wsClient(t, `${url}/ws`, [], { headers: { 'x-tenant-id': tenant }, ...origin === undefined ? {} : { origin } })
  await t.resolves(as('other'))
  await t.rejects(as('plain'), { message: 'refused with 200' })
  await t.rejects(as('strict'), { message: 'refused with 403' })
  await t.resolves(as('strict', 'https://a.example'))
  t.equal(backend.requests.length, 2)
})
