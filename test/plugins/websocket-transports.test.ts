/** WebSockets over TLS on both sides, unix sockets, and beside HTTP/2. */
import t from 'tap'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import type { FastifyServerOptions } from 'fastify'
import { WebSocketServer } from 'ws'
import { CERTIFICATE, CERTIFICATE_KEY, echo, startGateway, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'

const route: Configure = app => {
  app.get('/ws/*', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
}
const tls = { cert: CERTIFICATE, key: CERTIFICATE_KEY }

t.test('a wss backend is verified as an https one is', async (t) => {
  const backend = await wsBackend(t, echo, { server: createHttps(tls) as never })
  const url = `https://localhost:${backend.port}`
  const trusted = await startGateway(t, { backends: { up: { url, tls: { ca: CERTIFICATE } } } } as GatewayOptions, route)
  const client = await wsClient(t, `${trusted.url}/ws/`)
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
  for (const up of [{ url }, { url: `https://127.0.0.2:${backend.port}`, tls: { ca: CERTIFICATE } }]) {
    const gateway = await startGateway(t, { backends: { up } } as GatewayOptions, route)
    await t.rejects(wsClient(t, `${gateway.url}/ws/`), { message: 'refused with 502' })
  }
  t.equal(backend.requests.length, 1)
})

t.test('a gateway that listens with TLS', async (t) => {
  const backend = await wsBackend(t)
  const { port } = await startGateway(t, { backends: { up: backend.url } }, route, { https: tls } as FastifyServerOptions)
  const client = await wsClient(t, `https://localhost:${port}/ws/`, [], { ca: CERTIFICATE })
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
  t.equal(backend.requests[0]!.headers['x-forwarded-proto'], 'https')
  client.socket.close(4000)
  t.same(await client.closed(), [4000, ''])
})

t.test('a backend on a unix socket', async (t) => {
  const path = join(tmpdir(), `ws-${process.pid}.sock`)
  const server = createServer()
  const wss = new WebSocketServer({ server })
  wss.on('connection', echo)
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => { for (const socket of wss.clients) socket.terminate(); server.close() })
  const { url } = await startGateway(t, { backends: { up: `unix://${path}` } }, route)
  const client = await wsClient(t, `${url}/ws/`)
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
})

t.test('a backend with http2: true is asked over HTTP/1.1', async (t) => {
  const server = createSecureServer({ ...tls, allowHTTP1: true }, (request, response) => { response.end(request.httpVersion) })
  const wss = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => { wss.handleUpgrade(request as never, socket, head, echo) })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { for (const socket of wss.clients) socket.terminate(); server.close() })
  const { port } = server.address() as AddressInfo
  const { url, app } = await startGateway(t, { backends: { up: { url: `https://localhost:${port}`, http2: true, tls: { ca: CERTIFICATE } } } }, route)
  t.equal(await (await fetch(`${url}/ws/x`)).text(), '2.0')
  const client = await wsClient(t, `${url}/ws/`)
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
  await app.reverseproxy.backends.drain('up')
  t.same(await client.closed(), [1001, ''])
})

t.test('an HTTP/2 client that asks for a WebSocket (RFC 8441) gets a clear no', async (t) => {
  const backend = await wsBackend(t)
  const { port } = await startGateway(t, { backends: { up: backend.url } }, route, { http2: true } as FastifyServerOptions)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => { session.destroy() })
  const stream = session.request({ ':method': 'CONNECT', ':authority': 'a' })
  stream.on('error', () => {})
  const [headers] = await once(stream, 'response') as [Record<string, number>]
  t.equal(headers[':status'], 501)
  const get = session.request({ ':path': '/ws/x' })
  const [plain] = await once(get, 'response') as [Record<string, number>]
  t.equal(plain[':status'], 200)
  t.ok(await waitFor(() => backend.requests.length === 0))
})

t.test('an HTTP/1.1 client of an HTTP/2 server opens one', async (t) => {
  const backend = await wsBackend(t)
  const { port } = await startGateway(t, { backends: { up: backend.url } }, route, { http2: true, https: { ...tls, allowHTTP1: true } } as FastifyServerOptions)
  const client = await wsClient(t, `https://localhost:${port}/ws/`, [], { ca: CERTIFICATE })
  client.socket.send('x')
  t.equal(await client.message(0), 'x')
})
