/** Backends behind an HTTP proxy: everything goes through it, and what it refuses is told apart from what the backend does. */
import t from 'tap'
import { createServer as createHttpsServer } from 'node:https'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { AUTHORITY, closedPort, get, http2Upstream, httpProxy, httpUpstream, post, rawRequest, SIGNED, startGateway, waitFor } from '../helper.ts'
import { socketFolder } from '../helper/socket-folder.ts'
import type { TestLike } from '../helper.ts'

async function startLogging (t: TestLike, backend: Record<string, unknown>) {
  const lines: Array<Record<string, unknown>> = []
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: backend } } as never, undefined, {
    logger: { level: 'debug', stream: { write (line: string) { lines.push(JSON.parse(line)) } } }
  })
  return { ...gateway, lines, warnings: () => lines.filter(({ level, code }) => level === 40 && code !== undefined) }
}

async function secureUpstream (t: TestLike) {
  const server = createHttpsServer(SIGNED, (request, response) => { response.end(`${request.httpVersion} ${request.headers.host} ${request.url}`) })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return (server.address() as AddressInfo).port
}

t.test('http targets: a tunnel, so that the proxy is told where and nothing else', async t => {
  const up = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (piece: Buffer) => chunks.push(piece)).on('end', () => {
      response.end(JSON.stringify({ host: request.headers.host, url: request.url, cookies: request.rawHeaders.filter(text => text === 'one' || text === 'two'), authorization: request.headers['proxy-authorization'], body: Buffer.concat(chunks).length }))
    })
  })
  const proxy = await httpProxy(t)
  const { port } = await startLogging(t, { url: `${up.url}/base`, httpProxy: proxy.url })
  const { response } = await rawRequest(port, post('/x?y', 'x'.repeat(100_000), { 'X-A': 'one', 'x-a': 'two' }))
  t.same(JSON.parse(response.text), { host: `127.0.0.1:${up.port}`, url: '/base/x?y', cookies: ['one', 'two'], body: 100_000 })
  t.equal((await rawRequest(port, get('/'))).status, 200)
  t.same(proxy.asked, [{ authority: `127.0.0.1:${up.port}`, authorization: undefined }], 'and the tunnel is kept')
  t.same(proxy.others, [])
})

t.test('https targets: the certificate is that of the target, and checked', async t => {
  const port = await secureUpstream(t)
  const proxy = await httpProxy(t, { to: port })
  const trusting = await startLogging(t, { url: 'https://backend.test', tls: { ca: AUTHORITY }, httpProxy: { url: proxy.url } })
  t.equal(await (await fetch(`${trusting.url}/x`)).text(), '1.1 backend.test /x')
  t.same(proxy.asked, [{ authority: 'backend.test:443', authorization: undefined }])
  const other = await startLogging(t, { url: 'https://orders.internal', tls: { ca: AUTHORITY }, httpProxy: proxy.url })
  t.equal((await fetch(other.url)).status, 502)
  t.match(other.warnings(), [{ code: 'ERR_TLS_CERT_ALTNAME_INVALID', target: 'https://orders.internal' }])
})

t.test('HTTP/2 through the tunnel', async t => {
  for (const h2c of [false, true]) {
    const up = await http2Upstream(t, stream => { stream.respond({ ':status': 200 }); stream.end('two') }, { h2c })
    const proxy = await httpProxy(t)
    const { url } = await startLogging(t, { ...up.backend, httpProxy: proxy.url })
    t.equal(await (await fetch(url)).text(), 'two')
    t.equal(proxy.asked.length, 1)
  }
})

t.test('credentials are shown to the proxy, and to nobody else', async t => {
  const up = await httpUpstream(t, (request, response) => { response.end(JSON.stringify(request.headers)) })
  const wanted = `Basic ${Buffer.from('me:s3cr:et').toString('base64')}`
  const proxy = await httpProxy(t, { answer: shown => shown === wanted ? undefined : 407 })
  const right = await startLogging(t, { url: up.url, httpProxy: { url: proxy.url, username: 'me', password: 's3cr:et' } })
  const answer = await fetch(right.url)
  t.equal(answer.status, 200)
  t.notOk('proxy-authorization' in (await answer.json() as object))
  const wrong = await startLogging(t, { url: up.url, httpProxy: { url: proxy.url, username: 'me', password: 'wrong-s3cret' } })
  const refused = await fetch(wrong.url)
  t.equal(refused.status, 502, 'a 407 of the proxy is not the client\'s business')
  t.notOk(refused.headers.has('proxy-authenticate'))
  t.match(await refused.json(), { code: 'RP_ERR_CONNECT', message: 'The backend could not be reached' })
  t.match(wrong.warnings(), [{ code: 'ERR_HTTP_PROXY', reason: /wants other credentials \(407\)/ }])
  t.notMatch(JSON.stringify([right.lines, wrong.lines]), /s3cr|Basic|wrong-/)
})

t.test('a proxy that refuses, is not there, hangs up or is silent', async t => {
  const up = await httpUpstream(t, (_request, response) => response.end('never'))
  const hangingUp = createServer().on('connect', (_request, socket) => { socket.destroy() })
  await new Promise<void>(resolve => { hangingUp.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { hangingUp.close() })
  const silent = await httpProxy(t, { answer: () => 'silent' })
  for (const [url, status, reason] of [
    [(await httpProxy(t, { answer: () => 403 })).url, 502, /refused to connect \(403\)/],
    [(await httpProxy(t, { answer: () => 200 + 300 })).url, 502, /refused to connect \(500\)/],
    [`http://127.0.0.1:${await closedPort()}`, 502, /could not be reached \(ECONNREFUSED\)/],
    [`http://127.0.0.1:${(hangingUp.address() as AddressInfo).port}`, 502, /could not be reached \(ECONNRESET\)/],
    [silent.url, 504, undefined]
  ] as const) {
    const gateway = await startLogging(t, { url: up.url, httpProxy: url, timeout: { connect: 200 } })
    t.equal((await fetch(gateway.url)).status, status, url)
    t.equal((await fetch(gateway.url)).status, status)
    t.match(gateway.warnings(), reason === undefined ? [] : [{ reason, target: up.url }])
    t.notMatch(JSON.stringify(gateway.lines), /secret/)
  }
})

t.test('a target that the proxy cannot reach is a 502, and is reached when it is there', async t => {
  const port = await closedPort()
  const proxy = await httpProxy(t)
  const { url } = await startLogging(t, { url: `http://127.0.0.1:${port}`, httpProxy: proxy.url })
  t.equal((await fetch(url)).status, 502)
  const server = createServer((_request, response) => { response.end('here') })
  await new Promise<void>(resolve => { server.listen(port, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  t.equal(await (await fetch(url)).text(), 'here')
})

t.test('the pool keeps to its limit, and leaves no tunnel open', async t => {
  const up = await httpUpstream(t, (_request, response) => { setTimeout(() => response.end('ok'), 20) })
  const proxy = await httpProxy(t)
  const { url, app } = await startLogging(t, { url: up.url, httpProxy: proxy.url, pool: { connections: 2 } })
  t.ok((await Promise.all(Array.from({ length: 10 }, async () => (await fetch(url)).status))).every(status => status === 200))
  t.equal(proxy.asked.length, 2)
  app.reverseproxy.backends.update('up', up.url)
  t.equal((await fetch(url)).status, 200)
  t.equal(proxy.asked.length, 2, 'without the option there is no proxy')
  t.ok(await waitFor(() => proxy.open === 0))
})

t.test('backends with and without a proxy share no connections; health checks go through it', async t => {
  const up = await httpUpstream(t, (_request, response) => response.end('ok'))
  const proxy = await httpProxy(t)
  const { url } = await startGateway(t, {
    backends: {
      up: up.url,
      behind: { url: up.url, httpProxy: proxy.url, health: { path: '/health', interval: '1m' } }
    }
  } as never, app => {
    app.get('/up', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/behind', { proxy: 'behind' }, app.reverseproxy.handler)
  })
  t.ok(await waitFor(() => proxy.asked.length === 1), 'the check')
  await fetch(`${url}/up`)
  t.equal(proxy.asked.length, 1)
  await fetch(`${url}/behind`)
  t.equal(proxy.asked.length, 2)
})

t.test('a unix socket needs none', async t => {
  const path = join(socketFolder(t), 's')
  const server = createServer((request, response) => { response.end(request.url) })
  await new Promise<void>(resolve => { server.listen(path, resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const proxy = await httpProxy(t, { answer: () => 403 })
  const { url } = await startLogging(t, { url: `unix://${path}:/base`, httpProxy: proxy.url })
  t.equal(await (await fetch(`${url}/x`)).text(), '/base/x')
  t.same(proxy.asked, [])
})
