/** TLS to backends: who is trusted, what is shown, and what the log says when it does not come about. */
import t from 'tap'
import { createSecureServer } from 'node:http2'
import type { SecureServerOptions } from 'node:http2'
import { createServer } from 'node:https'
import type { ServerOptions } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import {
  AUTHORITY, CERTIFICATE, CERTIFICATE_KEY, closedPort, EXPIRED, httpUpstream, rawRequest, requestBytes, SIGNED, SIGNED_CLIENT, SIGNED_OTHER, startGateway, virtualClock, waitFor
} from '../helper.ts'
import { createConnectFailures, explainConnectFailure } from '../../lib/connect/failure.ts'
import { ConnectError } from '../../lib/errors.ts'
import type { TestLike } from '../helper.ts'

const SELF_SIGNED = { cert: CERTIFICATE, key: CERTIFICATE_KEY }

interface Peer { readonly servername: string | false, readonly client: string | undefined, readonly protocol: string | null }

/** An https server that answers with what it knows of its peer. */
async function secureUpstream (t: TestLike, options: ServerOptions) {
  const sockets = new Set<Socket>()
  const server = createServer(options, (request, response) => {
    const socket = request.socket as TLSSocket & { servername?: string | false }
    const client = socket.getPeerCertificate().subject as { CN?: string } | undefined
    response.end(JSON.stringify({ servername: socket.servername ?? false, client: client?.CN, protocol: socket.getProtocol() } satisfies Peer))
  })
  server.on('tlsClientError', () => {}).on('secureConnection', socket => sockets.add(socket))
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { port } = server.address() as AddressInfo
  return { port, url: `https://127.0.0.1:${port}`, named: `https://localhost:${port}`, sockets }
}

async function http2Upstream (t: TestLike, options: SecureServerOptions) {
  const server = createSecureServer(options, (_request, response) => { response.end() })
  server.on('tlsClientError', () => {})
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** A gateway without breakers, and what it logs from `warn` on. */
async function startLogging (t: TestLike, backend: Record<string, unknown>) {
  const lines: Array<Record<string, unknown>> = []
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: backend } } as never, undefined, {
    logger: { level: 'warn', stream: { write (line: string) { lines.push(JSON.parse(line)) } } }
  })
  return { ...gateway, lines, warnings: () => lines.filter(({ level, code }) => level === 40 && code !== undefined) }
}

t.test('what is wrong with a certificate is a 502 for the client, and one line in the log', async t => {
  const cases: Array<[name: string, server: ServerOptions, tls: Record<string, unknown>, code: string, reason: RegExp]> = [
    ['self-signed', SELF_SIGNED, {}, 'DEPTH_ZERO_SELF_SIGNED_CERT', /self-signed/],
    ['of an unknown authority', SIGNED, {}, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', /authority of its certificate is not known/],
    ['of an authority that is not the one', SIGNED, { ca: CERTIFICATE }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', /authority of its certificate is not known/],
    ['expired', EXPIRED, { ca: AUTHORITY }, 'CERT_HAS_EXPIRED', /has expired/],
    ['for another host', SIGNED_OTHER, { ca: AUTHORITY }, 'ERR_TLS_CERT_ALTNAME_INVALID', /for other names .*127\.0\.0\.1.*/],
    ['for another name than the one that was asked for', SIGNED, { ca: AUTHORITY, servername: 'orders.internal' }, 'ERR_TLS_CERT_ALTNAME_INVALID', /for other names .*orders\.internal/],
    ['with an older version of TLS than is allowed', { ...SIGNED, maxVersion: 'TLSv1.2' }, { ca: AUTHORITY, minVersion: 'TLSv1.3' }, '', /version of TLS/]
  ]
  for (const [name, server, tls, code, reason] of cases) {
    await t.test(name, async t => {
      const upstream = await secureUpstream(t, server)
      const { url, lines, warnings } = await startLogging(t, { url: upstream.url, tls })
      for (let i = 0; i < 3; i++) {
        const answer = await fetch(url)
        t.equal(answer.status, 502)
        t.same(await answer.json(), { statusCode: 502, code: 'RP_ERR_CONNECT', error: 'Bad Gateway', message: 'The backend could not be reached' })
      }
      const [line, ...others] = warnings()
      t.same(others, [], 'once')
      t.match(line, { backend: 'up', target: upstream.url, reason, msg: /a target could not be reached: / })
      if (code !== '') t.equal(line!['code'], code)
      t.notMatch(JSON.stringify(lines), /PRIVATE KEY|BEGIN CERTIFICATE/)
    })
  }
})

t.test('a missing client certificate is a failure to connect, in every version of TLS and HTTP', async t => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const http2 of [false, true]) {
      await t.test(`${maxVersion}, ${http2 ? 'HTTP/2' : 'HTTP/1.1'}`, async t => {
        const options = { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: true, maxVersion }
        const upstream = await (http2 ? http2Upstream(t, options) : secureUpstream(t, options))
        const { url, warnings, lines } = await startLogging(t, { url: upstream.url, tls: { ca: AUTHORITY }, http2 })
        for (let i = 0; i < 2; i++) {
          const answer = await fetch(url, { method: 'POST', body: 'x' })
          t.same([answer.status, (await answer.json() as { code: string }).code], [502, 'RP_ERR_CONNECT'])
        }
        t.match(warnings(), [{ reason: /certificate of the gateway/, code: /^ERR_SSL_/ }])
        t.equal(warnings().length, 1)
        t.notMatch(JSON.stringify(lines), /PRIVATE KEY/)
      })
    }
  }
})

t.test('a client certificate of the wrong authority is a 502', async t => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    // Node's server does not say why it hangs up
    const upstream = await secureUpstream(t, { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: true, maxVersion })
    const { url } = await startLogging(t, { url: upstream.url, tls: { ca: AUTHORITY, ...SELF_SIGNED } })
    t.equal((await fetch(url)).status, 502)
  }
})

t.test('a private authority, a client certificate, the name of SNI', async t => {
  const upstream = await secureUpstream(t, { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: true })
  const tls = { ca: AUTHORITY, ...SIGNED_CLIENT }
  const seen = async (backend: Record<string, unknown>) => await (await fetch((await startLogging(t, { tls, ...backend })).url)).json() as Peer
  t.match(await seen({ url: upstream.url }), { client: 'client', servername: false }, 'an address has no place in SNI')
  t.match(await seen({ url: upstream.named }), { client: 'client', servername: 'localhost' })
  t.match(await seen({ url: upstream.url, tls: { ...tls, servername: 'backend.test' } }), { servername: 'backend.test' })
  t.match(await seen({ url: upstream.url, tls: { ...tls, ca: [CERTIFICATE, Buffer.from(AUTHORITY)] } }), { client: 'client' })
  t.match(await seen({ url: upstream.url, http2: true }), { client: 'client' }, 'the same where HTTP/2 was offered')
})

t.test('versions of TLS', async t => {
  const upstream = await secureUpstream(t, SIGNED)
  const old = await secureUpstream(t, { ...SIGNED, maxVersion: 'TLSv1.2' })
  const protocol = async (url: string, tls: object) => {
    const answer = await fetch((await startLogging(t, { url, tls: { ca: AUTHORITY, ...tls } })).url)
    return answer.status === 200 ? (await answer.json() as Peer).protocol : answer.status
  }
  t.equal(await protocol(upstream.url, { minVersion: 'TLSv1.3' }), 'TLSv1.3')
  t.equal(await protocol(old.url, { minVersion: 'TLSv1.2' }), 'TLSv1.2')
  t.equal(await protocol(old.url, { minVersion: 'TLSv1.3' }), 502)
})

t.test('the client\'s Host decides neither whose certificate is asked for nor who is trusted', async t => {
  const upstream = await secureUpstream(t, SIGNED)
  for (const [target, servername] of [[upstream.named, 'localhost'], [upstream.url, false]] as const) {
    for (const http2 of [false, true]) {
      const { port } = await startLogging(t, { url: target, tls: { ca: AUTHORITY }, host: 'preserve', http2 })
      upstream.sockets.clear()
      for (const host of ['shop.example', 'other.test', 'localhost', 'x']) {
        const { response } = await rawRequest(port, requestBytes('GET', '/', { host }))
        t.same([response.status, (JSON.parse(response.text) as Peer).servername], [200, servername], host)
      }
      t.equal(upstream.sockets.size, 1, 'and connections stay')
    }
  }
  const { port } = await startLogging(t, { url: upstream.url, tls: { ca: AUTHORITY, servername: 'backend.test' }, host: 'preserve' })
  t.match(JSON.parse((await rawRequest(port, requestBytes('GET', '/', { host: 'shop.example' }))).response.text), { servername: 'backend.test' })
})

t.test('certificates are renewed by an update, for new connections; what runs goes on', async t => {
  const upstream = await secureUpstream(t, { ...SIGNED, ca: AUTHORITY, requestCert: true, rejectUnauthorized: false })
  const { url, app } = await startLogging(t, { url: upstream.url, tls: { ca: AUTHORITY } })
  const client = async () => (await (await fetch(url)).json() as Partial<Peer>).client
  t.equal(await client(), undefined)
  t.equal(upstream.sockets.size, 1)
  app.reverseproxy.backends.update('up', { url: upstream.url, tls: { ca: AUTHORITY, ...SIGNED_CLIENT } })
  t.equal(await client(), 'client')
  t.equal(upstream.sockets.size, 2)
  app.reverseproxy.backends.update('up', { url: upstream.url, tls: { ca: AUTHORITY, ...SIGNED_CLIENT } })
  await client()
  t.equal(upstream.sockets.size, 2, 'the same again changes nothing')
  t.ok(await waitFor(() => [...upstream.sockets].filter(({ destroyed }) => !destroyed).length === 1), 'the old connection is closed')
})

t.test('a server that says who it is only after the update is reached then', async t => {
  const upstream = await secureUpstream(t, SIGNED)
  const { url, app } = await startLogging(t, { url: upstream.url })
  t.equal((await fetch(url)).status, 502)
  app.reverseproxy.backends.update('up', { url: upstream.url, tls: { ca: AUTHORITY } })
  t.equal((await fetch(url)).status, 200)
})

t.test('other reasons are told as well', async t => {
  const plain = await httpUpstream(t, (_request, response) => response.end('plain'))
  const mute = createTcpServer(socket => { socket.on('error', () => {}).once('data', () => socket.resetAndDestroy()) })
  await new Promise<void>(resolve => { mute.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { mute.close() })
  for (const [url, reason] of [
    [`https://127.0.0.1:${plain.port}`, /does not speak TLS/],
    [`https://127.0.0.1:${(mute.address() as AddressInfo).port}`, /closed the connection during the handshake|disconnected before secure/],
    [`http://127.0.0.1:${await closedPort()}`, /refused the connection/],
    ['http://nowhere.invalid', /could not be resolved/],
    ['unix:///nowhere/at/all.sock', /no such socket/]
  ] as const) {
    const gateway = await startLogging(t, { url })
    const answer = await fetch(gateway.url)
    t.same([answer.status, (await answer.json() as { code: string }).code], [502, 'RP_ERR_CONNECT'], url)
    t.match(gateway.warnings(), [{ target: url, reason }])
  }
})

t.test('the log says the same once a minute, with the number of times in between', async t => {
  const clock = virtualClock()
  const lines: unknown[] = []
  const failures = createConnectFailures(clock, ({ target, code, times }) => lines.push([target, code, times]))
  const error = (code: string) => new ConnectError({ cause: Object.assign(new Error('x'), { code }) })
  for (let i = 0; i < 5; i++) failures.tell('up', 'a', error('CERT_HAS_EXPIRED'))
  failures.tell('up', 'a', error('ECONNREFUSED'))
  failures.tell('up', 'b', error('CERT_HAS_EXPIRED'))
  clock.advance(59_999)
  failures.tell('up', 'a', error('CERT_HAS_EXPIRED'))
  t.same(lines.splice(0), [['a', 'CERT_HAS_EXPIRED', 1], ['a', 'ECONNREFUSED', 1], ['b', 'CERT_HAS_EXPIRED', 1]])
  clock.advance(1)
  failures.tell('up', 'a', error('CERT_HAS_EXPIRED'))
  t.same(lines, [['a', 'CERT_HAS_EXPIRED', 6]])
})

t.test('the reason is that of the innermost cause, of several addresses the first', async t => {
  const refused = Object.assign(new Error('connect ECONNREFUSED ::1:1'), { code: 'ECONNREFUSED' })
  t.match(explainConnectFailure(new ConnectError({ cause: new AggregateError([refused, new Error('other')]) })), { code: 'ECONNREFUSED', reason: /refused/ })
  t.match(explainConnectFailure(new Error('strange')), { code: 'Error', reason: 'strange' })
})
