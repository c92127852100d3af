/** How WebSockets end when the gateway or a target does, and when one end dies. */
import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { FIN, wsFrame, handshake, rawClient, rawUpstream, seededBytes, startGateway, startPair, switching, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, WsBackend } from '../helper.ts'

const route = (websocket: object | boolean = true): Configure => app => {
  app.get('/ws/*', { proxy: { backend: 'up', websocket } }, app.reverseproxy.handler)
}
const GOING_AWAY = wsFrame(8, Buffer.of(3, 233))

async function start (t: Test, websocket: object | boolean = true, options: object = {}) {
  const backend: WsBackend = await wsBackend(t)
  const gateway = await startGateway(t, { backends: { up: backend.url }, ...options } as GatewayOptions, route(websocket))
  return { ...gateway, backend, ws: `${gateway.url}/ws/` }
}

for (const [name, websocket] of [['tunnelled', true], ['relayed', { onMessage () {} }]] as const) {
  t.test(`app.close() closes both ends with 1001, and does not wait longer than they need, ${name}`, async (t) => {
    const { ws, app, backend } = await start(t, websocket)
    const clients = await Promise.all(Array.from({ length: 20 }, () => wsClient(t, ws)))
    const startedAt = performance.now()
    await app.close()
    t.ok(performance.now() - startedAt < 2000)
    for (const client of clients) t.same(await client.closed(), [1001, ''])
    t.ok(await waitFor(() => backend.closes.length === 20))
    t.ok(backend.closes.every(([code]) => code === 1001))
  })

  t.test(`ends that do not answer are cut after shutdown.timeout, ${name}`, async (t) => {
    const { port, app, upstream } = await startPair(t, [switching()], { configure: route(websocket), gateway: { shutdown: { timeout: 200 } } })
    const client = await rawClient(t, port)
    client.send(handshake('/ws/'))
    t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
    const startedAt = performance.now()
    await app.close()
    const took = performance.now() - startedAt
    t.ok(took >= 190 && took < 1500, `${took} ms`)
    t.ok(client.raw.includes(GOING_AWAY))
    t.ok(await upstream.dropped())
  })
}

t.test('shutdown.delay comes first: WebSockets live on and new ones may come', async (t) => {
  const { ws, app } = await start(t, true, { shutdown: { delay: 300 } })
  const client = await wsClient(t, ws)
  const closed = app.reverseproxy.shutdown()
  await sleep(100)
  t.equal(client.close, undefined)
  client.socket.send('still here')
  t.equal(await client.message(0), 'still here')
  const late = await wsClient(t, ws)
  await closed
  t.same([await client.closed(), await late.closed()], [[1001, ''], [1001, '']])
})

t.test('a close frame of ours comes between frames, never within one', async (t) => {
  const { port, app, upstream } = await startPair(t, [switching()], { configure: route(), gateway: { shutdown: { timeout: 2000 } } })
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
  const [up] = upstream.sockets
  const seen: Buffer[] = []
  up!.on('data', piece => { seen.push(piece) })
  const [fromBackend, fromClient] = [wsFrame(2, seededBytes(50_000)), wsFrame(2, seededBytes(50_000), { mask: true })]
  up!.write(fromBackend.subarray(0, 20_000))
  client.send(fromClient.subarray(0, 20_000))
  t.ok(await waitFor(() => Buffer.concat(seen).length >= 20_000))
  const closed = app.close()
  await sleep(50)
  t.notOk(client.raw.includes(GOING_AWAY))
  up!.write(Buffer.concat([fromBackend.subarray(20_000), wsFrame(1, 'never')]))
  client.send(Buffer.concat([fromClient.subarray(20_000), wsFrame(1, 'never', { mask: true })]))
  const body = (): Buffer => client.raw.subarray(client.raw.indexOf('\r\n\r\n') + 4)
  t.ok(await waitFor(() => body().length >= fromBackend.length + 4 && Buffer.concat(seen).length >= fromClient.length + 8))
  t.ok(body().equals(Buffer.concat([fromBackend, GOING_AWAY])))
  t.ok(Buffer.concat(seen).subarray(0, fromClient.length).equals(fromClient))
  t.equal(Buffer.concat(seen).length, fromClient.length + 8, 'and one masked close frame')
  // both answer, and both are let go
  client.send(wsFrame(8, Buffer.of(3, 233), { mask: true }))
  up!.write(GOING_AWAY)
  await closed
  t.ok(client.ended)
})

t.test('a target that is drained, removed or taken out by an update takes leave of its WebSockets', async (t) => {
  const stay = await wsBackend(t)
  const leavers: WsBackend[] = []
  for (let i = 0; i < 3; i++) leavers.push(await wsBackend(t))
  const { url, app } = await startGateway(t, { backends: { up: { targets: [stay.url, ...leavers.map(({ url }) => url)] } } }, route())
  const clients = await Promise.all(Array.from({ length: 8 }, () => wsClient(t, `${url}/ws/`)))
  const { backends } = app.reverseproxy
  await backends.drain('up', leavers[0]!.url)
  await backends.removeTarget('up', leavers[1]!.url)
  backends.update('up', { targets: [stay.url] })
  t.ok(await waitFor(() => clients.filter(({ close }) => close !== undefined).length === 6))
  t.ok(clients.every(({ close }) => close === undefined || close[0] === 1001))
  for (const { closes } of leavers) t.same(closes.map(([code]) => code), [1001, 1001])
  t.equal(stay.sockets.size, 2, 'the others stay')
  backends.update('up', { targets: [{ url: stay.url, weight: 3 }] })
  await sleep(50)
  t.equal(stay.sockets.size, 2, 'an update that keeps the target keeps them')
})

t.test('a client that half-closes ends it; what was under way arrives', async (t) => {
  const { port, upstream } = await startPair(t, [switching()], { configure: route() })
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
  const seen: Buffer[] = []
  upstream.sockets[0]!.on('data', piece => { seen.push(piece) })
  client.send([wsFrame(2, seededBytes(300_000), { mask: true }), FIN])
  t.ok(await upstream.dropped())
  t.equal(Buffer.concat(seen).length, 300_014)
  upstream.sockets[0]!.write(wsFrame(1, 'last words'))
  t.ok(await waitFor(() => client.raw.includes('last words')), 'and the other way for a moment')
  t.ok(await client.closes(2000), 'a second later it is over')
})

t.test('a backend that goes without a word: the client has all that it said', async (t) => {
  const bytes = seededBytes(1_000_000)
  const { port, app } = await startPair(t, [switching(), wsFrame(2, bytes), FIN], { configure: route() })
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await client.closes())
  t.ok(client.raw.subarray(-bytes.length).equals(bytes))
  client.destroy()
  t.ok(await waitFor(() => app.reverseproxy.websockets.size === 0))
})

t.test('a hundred resets from either side in the middle of messages leave nothing behind', async (t) => {
  const upstream = await rawUpstream(t, ({ socket, nth }) => {
    if (nth % 2 === 0) setTimeout(() => { socket.resetAndDestroy() }, 30)
    return [switching(), wsFrame(2, seededBytes(200_000)).subarray(0, 150_000)]
  })
  const { port, app } = await startGateway(t, { circuitBreaker: false, backends: { up: upstream.url } }, route())
  await Promise.all(Array.from({ length: 100 }, async () => {
    const client = await rawClient(t, port)
    client.send([handshake('/ws/'), wsFrame(2, seededBytes(100_000), { mask: true }).subarray(0, 50_000)])
    await sleep(60)
    client.resetAndDestroy()
  }))
  t.ok(await waitFor(() => app.reverseproxy.websockets.size === 0 && app.reverseproxy.backends.get('up')!.targets[0]!.inflight === 0, 8000))
})

t.test('an upgrade on a connection that is open while the gateway closes is refused', async (t) => {
  const { port, app } = await start(t, { origins: ['x'] })
  const client = await rawClient(t, port)
  await client.exchange(handshake('/ws/'))
  t.equal(client.responses[0]!.status, 403)
  await app.close()
  t.ok(client.closed)
})

t.test('when the gateway has closed, nothing of it is connected to a backend', async (t) => {
  const upstream = await rawUpstream(t, [switching()])
  const { port, app } = await startGateway(t, { backends: { up: upstream.url } }, route())
  const client = await rawClient(t, port)
  client.send(handshake('/ws/'))
  t.ok(await waitFor(() => client.raw.includes('\r\n\r\n')))
  client.resetAndDestroy()
  await app.close()
  t.ok(await upstream.dropped(undefined, 200))
})
