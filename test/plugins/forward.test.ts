/** Forwarding by option: timeouts, TLS, HTTP/2, unix sockets, pools, the end of a gateway. */
import t from 'tap'
import { createServer as createHttps } from 'node:https'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { CERTIFICATE, CERTIFICATE_KEY, get, httpUpstream, rawRequest, respond, startGateway, startPair, wait, waitFor } from '../helper.ts'
import { socketFolder } from '../helper/socket-folder.ts'

const certificates = { ca: CERTIFICATE, cert: CERTIFICATE, key: CERTIFICATE_KEY }

t.test('each timeout has its own clock', async t => {
  t.test('headers: a silent backend is a 504', async t => {
    const { url } = await startPair(t, [wait(5000)], { backend: { timeout: { headers: 150 } } })
    const begun = performance.now()
    const answer = await fetch(url)
    t.equal(answer.status, 504)
    t.match(await answer.json(), { code: 'RP_ERR_TIMEOUT' })
    t.ok(performance.now() - begun < 2500)
  })
  t.test('total, as one duration, for a backend or a route: a 504', async t => {
    const { url } = await startPair(t, [wait(5000)], { backend: { timeout: '150ms' } })
    t.equal((await fetch(url)).status, 504)
    const route = await startPair(t, [wait(5000)], { configure: app => { app.get('/*', { proxy: { backend: 'up', timeout: 150 } }, app.reverseproxy.handler) } })
    t.equal((await fetch(route.url)).status, 504)
  })
  t.test('global timeouts are every backend\'s default, and a backend\'s own comes first', async t => {
    const slow = await startPair(t, [wait(5000)], { gateway: { timeout: { headers: 100 } } })
    t.equal((await fetch(slow.url)).status, 504)
    const own = await startPair(t, [wait(300), respond(200, [], 'ok')], { gateway: { timeout: { total: 100 } }, backend: { timeout: { total: 3000 } } })
    t.equal((await fetch(own.url)).status, 200)
  })
  t.test('total cuts an answer that drips for longer', async t => {
    const { port } = await startPair(t, ['HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nab', wait(400), 'cd', wait(3000)], { backend: { timeout: 250 } })
    const result = await rawRequest(port, get('/'))
    t.equal(result.responses[0]?.status, 200)
    t.equal(result.responses[0]?.complete, false)
  })
  t.test('total leaves an event stream alone', async t => {
    const { port } = await startPair(t, ['HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n', wait(500), 'data: 2\n\n'], { backend: { timeout: 200 } })
    const result = await rawRequest(port, get('/'))
    t.equal(result.responses[0]?.body.toString(), 'data: 1\n\ndata: 2\n\n')
  })
  t.test('idle cuts an answer that has gone silent', async t => {
    const { port } = await startPair(t, ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab', wait(5000)], { backend: { timeout: { idle: 200 } } })
    const begun = performance.now()
    const result = await rawRequest(port, get('/'))
    t.equal(result.responses[0]?.complete, false)
    t.ok(performance.now() - begun < 3000)
  })
  t.test('a request that waits for a free connection is bounded, too', async t => {
    const { url } = await startPair(t, [wait(1500), respond(200, [], 'late')], { backend: { pool: { connections: 1 }, timeout: { total: 400 } } })
    const statuses = await Promise.all([fetch(url), fetch(url), fetch(url)].map(async answer => (await answer).status))
    t.same(statuses, [504, 504, 504])
  })
})

t.test('reply.proxy() may set the timeouts of one call', async t => {
  const { url } = await startPair(t, [wait(3000)], { configure: app => { app.get('/*', async (_request, reply) => reply.proxy('up', { timeout: { total: 100 } })) } })
  t.equal((await fetch(url)).status, 504)
})

t.test('TLS backends', async t => {
  const server = createHttps({ cert: certificates.cert, key: certificates.key, ca: certificates.ca, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    response.end(JSON.stringify({ authorized: (request.socket as unknown as { authorized: boolean }).authorized }))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const target = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const status = async (tls: object | undefined): Promise<[number, unknown]> => {
    const { url } = await startGateway(t, { backends: { up: { targets: [target], ...(tls === undefined ? undefined : { tls }) } } })
    const answer = await fetch(url)
    return [answer.status, await answer.json()]
  }
  t.match(await status(undefined), [502, { code: 'RP_ERR_CONNECT' }], 'an unknown authority is refused by default')
  t.same(await status({ ca: certificates.ca }), [200, { authorized: false }], 'a private CA is trusted when given')
  t.same(await status({ rejectUnauthorized: false }), [200, { authorized: false }], 'verification can be switched off')
  t.same(await status({ ca: certificates.ca, cert: certificates.cert, key: certificates.key }), [200, { authorized: true }], 'a client certificate is shown')
  t.match(await status({ ca: certificates.ca, servername: 'other.example' }), [502, { code: 'RP_ERR_CONNECT' }], 'the name that is asked for must be the certificate\'s')
  t.same(await status({ ca: certificates.ca, servername: 'localhost' }), [200, { authorized: false }])
})

t.test('HTTP/2 to a backend, when it offers it', async t => {
  const server = createSecureServer({ cert: certificates.cert, key: certificates.key, allowHTTP1: true }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => { response.setHeader('x-a', '1'); response.end(`${request.httpVersion} ${request.method} ${Buffer.concat(chunks).toString()}`) })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const target = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const two = await startGateway(t, { backends: { up: { targets: [target], http2: true, tls: { ca: certificates.ca } } } })
  const answer = await fetch(two.url, { method: 'POST', body: 'hello' })
  t.equal(answer.headers.get('x-a'), '1')
  t.equal(await answer.text(), '2.0 POST hello')
  t.equal(await (await fetch(two.url)).text(), '2.0 GET ')
  for (const size of [65_536, 65_537, 1_000_000]) {
    const upload = await fetch(two.url, { method: 'POST', body: new ReadableStream({ start (controller) { controller.enqueue(Buffer.alloc(size, 'x')); controller.close() } }), duplex: 'half' } as RequestInit)
    t.equal((await upload.text()).length, 'x'.repeat(size).length + '2.0 POST '.length)
  }
  const one = await startGateway(t, { backends: { up: { targets: [target], tls: { ca: certificates.ca } } } })
  t.equal(await (await fetch(one.url)).text(), '1.1 GET ')
  await two.app.close()
  server.close()
})

t.test('unix sockets, with a base path', async t => {
  const path = join(socketFolder(t), 'up.sock')
  const server = createServer((request, response) => { response.end(`${request.headers.host} ${request.url}`) })
  await new Promise<void>(resolve => { server.listen(path, resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { url } = await startGateway(t, { backends: { up: `unix://${path}:/base` } })
  t.equal(await (await fetch(`${url}/x`)).text(), 'localhost /base/x')
})

t.test('a pool keeps to its number of connections', async t => {
  const open = new Set<unknown>()
  let most = 0
  const upstream = await httpUpstream(t, (_request, response) => { setTimeout(() => response.end('ok'), 20) })
  upstream.server.on('connection', socket => { open.add(socket); most = Math.max(most, open.size); socket.on('close', () => open.delete(socket)) })
  const { url } = await startGateway(t, { backends: { up: { targets: [upstream.url], pool: { connections: 3 } } } })
  const answers = await Promise.all(Array.from({ length: 12 }, async () => (await fetch(url)).status))
  t.ok(answers.every(status => status === 200))
  t.equal(most, 3)
})

t.test('idle connections are closed after keepAliveTimeout', async t => {
  let closed = false
  const upstream = await httpUpstream(t, (_request, response) => { response.setHeader('keep-alive', ''); response.end('ok') })
  upstream.server.keepAliveTimeout = 0
  upstream.server.on('connection', socket => socket.on('close', () => { closed = true }))
  const { url } = await startGateway(t, { backends: { up: { targets: [upstream.url], pool: { keepAliveTimeout: 200 } } } })
  t.equal(await (await fetch(url)).text(), 'ok')
  t.ok(await waitFor(() => closed, 3000))
})

t.test('an answer\'s header block beyond maxHeaderSize is a 502', async t => {
  const { url } = await startPair(t, respond(200, { 'x-big': 'x'.repeat(3000) }, 'ok'), { backend: { pool: { maxHeaderSize: '2kb' } } })
  t.equal((await fetch(url)).status, 502)
})

t.test('closing lets running requests finish, and then nothing is left open', async t => {
  let open = 0
  const upstream = await httpUpstream(t, (_request, response) => { setTimeout(() => response.end('done'), 200) })
  upstream.server.on('connection', socket => { open++; socket.on('close', () => open--) })
  const { app, url } = await startGateway(t, { backends: { up: upstream.url } })
  const running = Promise.all(Array.from({ length: 20 }, async () => await (await fetch(url)).text()))
  t.ok(await waitFor(() => open === 20))
  const closing = app.close()
  t.same(new Set(await running), new Set(['done']))
  await closing
  t.ok(await waitFor(() => open === 0))
})
