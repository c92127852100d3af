/** WebSockets of the gateway beside others on the same server: those of @fastify/websocket and plain listeners. */
import t, { type Test } from 'tap'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyPluginAsync, RouteShorthandOptions } from 'fastify'
import type { WebSocket } from 'ws'
import { WebSocketServer } from 'ws'
import reverseproxy, { serverOptions } from '../../index.ts'
import { get, handshake, rawClient, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { WsBackend } from '../helper.ts'

// its types would change those of all tests
const fastifyWebsocket = createRequire(import.meta.url)('@fastify/websocket') as FastifyPluginAsync

type Register = (app: FastifyInstance, backend: WsBackend) => Promise<unknown> | void

const theirs: Register = async app => {
  await app.register(fastifyWebsocket)
  const local = (socket: WebSocket): void => { socket.on('message', (data: Buffer) => { socket.send(`local ${data.toString()}`) }) }
  app.get('/ws/local', { websocket: true } as RouteShorthandOptions, local as unknown as () => void)
}
const gateway: Register = async (app, backend) => {
  await app.register(reverseproxy, { backends: { up: backend.url, none: 'http://127.0.0.1:1' }, routes: [{ path: '/file/*', proxy: { backend: 'up', websocket: true } }] })
  app.get('/ws/*', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
  app.get('/none', { proxy: { backend: 'none', websocket: true } }, app.reverseproxy.handler)
  app.get('/ws/http', async () => 'http')
}

async function start (t: Test, ...steps: Register[]) {
  const backend = await wsBackend(t)
  const app = Fastify({ ...serverOptions })
  for (const step of steps) await step(app as FastifyInstance, backend)
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { app, backend, port, url: `http://127.0.0.1:${port}` }
}

async function talk (t: Test, url: string): Promise<string> {
  const client = await wsClient(t, url)
  client.socket.send('hello')
  const answer = String(await client.message(0))
  client.socket.close()
  await client.closed()
  return answer
}

for (const [order, steps] of [['after', [theirs, gateway]], ['before', [gateway, theirs]]] as const) {
  t.test(`the gateway registered ${order} @fastify/websocket`, async (t) => {
    const { url, port, backend, app } = await start(t, ...steps)

    await t.test('each route has its own handler, 100 times over', async (t) => {
      for (let i = 0; i < 100; i++) {
        const answers = await Promise.all([talk(t, `${url}/ws/local`), talk(t, `${url}/ws/other`), talk(t, `${url}/file/x`), fetch(`${url}/ws/http`).then(response => response.text())])
        if (JSON.stringify(answers) !== '["local hello","hello","hello","http"]') t.fail(JSON.stringify(answers))
      }
      t.equal(backend.requests.length, 200)
    })

    await t.test('plain requests of such routes', async (t) => {
      t.equal(await (await fetch(`${url}/ws/other`)).text(), 'plain GET /ws/other')
      t.equal((await app.inject('/ws/other')).payload, 'plain GET /ws/other')
    })

    await t.test('refusals, ours and the backend\'s', async (t) => {
      const client = await rawClient(t, port)
      t.equal((await client.exchange(handshake('/ws/x', { 'Sec-WebSocket-Key': 'short' }))).status, 400)
      t.ok(await client.closes())
      const other = await rawClient(t, port)
      t.equal((await other.exchange(handshake('/none'))).status, 502)
      t.ok(await other.closes())
    })

    await t.test('an upgrade after requests on the same connection', async (t) => {
      for (const path of ['/ws/local', '/ws/other']) {
        const client = await rawClient(t, port)
        t.equal((await client.exchange(get('/ws/http'))).text, 'http')
        client.send(handshake(path))
        t.ok(await waitFor(() => client.raw.includes('101 Switching Protocols')), path)
      }
    })

    await t.test('an upgrade right behind a request waits for its turn', async (t) => {
      const client = await rawClient(t, port)
      client.send(Buffer.concat([get('/ws/http'), handshake('/ws/other')]), ['GET', 'GET'])
      t.equal((await client.response(0)).text, 'http')
      t.ok(await waitFor(() => client.raw.includes('101 Switching Protocols')))
    })
  })
}

t.test('an upgrade right behind a request waits for its turn, where we are alone', async (t) => {
  const { port } = await start(t, gateway)
  const client = await rawClient(t, port)
  client.send(Buffer.concat([get('/ws/other'), get('/ws/http'), handshake('/ws/other')]), ['GET', 'GET', 'GET'])
  t.equal((await client.response(0)).text, 'plain GET /ws/other')
  t.equal((await client.response(1)).text, 'http')
  t.ok(await waitFor(() => client.raw.includes('101 Switching Protocols')))
})

t.test('a WebSocket server of the app\'s own on another path', async (t) => {
  const { url, app } = await start(t, gateway, app => {
    const wss = new WebSocketServer({ noServer: true })
    app.server.on('upgrade', (request, socket, head) => {
      if (request.url === '/own') wss.handleUpgrade(request, socket, head, ws => { ws.send('own') })
    })
    app.addHook('preClose', async () => { for (const ws of wss.clients) ws.terminate() })
  })
  t.equal(await (await wsClient(t, `${url}/own`)).message(0), 'own')
  t.equal(await talk(t, `${url}/ws/x`), 'hello')
  t.ok(app)
})

t.test('two gateways on one server', async (t) => {
  const other = await wsBackend(t, socket => { socket.send('other') })
  const { url, app } = await start(t, (app, backend) => {
    for (const [prefix, { url }] of [['/a', backend], ['/b', other]] as const) {
      app.register(async scope => {
        await scope.register(reverseproxy, { backends: { up: url } })
        scope.get('/ws', { proxy: { backend: 'up', websocket: true } }, scope.reverseproxy.handler)
      }, { prefix })
    }
  })
  t.equal(app.server.listenerCount('upgrade'), 2, 'one that keeps, one that routes')
  t.equal(await talk(t, `${url}/a/ws`), 'hello')
  t.equal(await (await wsClient(t, `${url}/b/ws`)).message(0), 'other')
})
