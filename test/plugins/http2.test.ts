/** An HTTP/2 server in front of HTTP/1.1 backends. */
import t from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { connect, constants } from 'node:http2'
import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import reverseproxy, { serverOptions } from '../../index.ts'
import { chunked, rawUpstream, RESET, wait } from '../helper.ts'
import type { Script, TestLike } from '../helper.ts'

async function setUp (t: TestLike, script: Script) {
  const upstream = await rawUpstream(t, script)
  const { http: _http, clientErrorHandler: _handler, ...options } = serverOptions
  const app = Fastify({ ...options, http2: true } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, { backends: { up: upstream.url } })
  app.route({ method: ['GET', 'POST'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { session.destroy(); await app.close() })
  return { upstream, app, session }
}

function ask (session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string) {
  return new Promise<{ status: unknown, body: string, reset: number, trailers: IncomingHttpHeaders }>(resolve => {
    const stream = session.request({ ':path': '/x', ...headers }, { endStream: body === undefined })
    if (body !== undefined) stream.end(body)
    let status: unknown
    let text = ''
    let trailers: IncomingHttpHeaders = {}
    stream.on('response', answer => { status = answer[':status'] })
    stream.on('trailers', fields => { trailers = fields })
    stream.on('data', (piece: Buffer) => { text += piece.toString() })
    stream.on('error', () => {})
    stream.on('close', () => { resolve({ status, body: text, reset: stream.rstCode, trailers }) })
  })
}

t.test('requests and bodies cross, cookies as one field, no pseudo headers', async t => {
  const { session, upstream } = await setUp(t, chunked(200, { 'X-A': '1' }, ['hello']))
  t.match(await ask(session, { ':method': 'POST', cookie: ['a=1', 'b=2'], 'x-b': 'c' }, 'body'), { status: 200, body: 'hello', reset: 0 })
  const request = upstream.requests[0]!
  t.equal(request.body.toString(), 'body')
  t.same(request.headers.filter(([name]) => name.toLowerCase() === 'cookie').map(([, value]) => value), ['a=1; b=2'])
  t.notOk(request.headers.some(([name]) => name.startsWith(':')))
})

t.test('trailers reach a client that takes them', async t => {
  const { session } = await setUp(t, chunked(200, {}, ['hello'], { 'X-T': 'v' }))
  const answer = await ask(session, { te: 'trailers' })
  t.equal(answer.body, 'hello')
  t.equal(answer.trailers['x-t'], 'v')
})

t.test('a backend that breaks in the body is an error for the client, never a clean end', async t => {
  const { session } = await setUp(t, ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', wait(50), RESET])
  const answer = await ask(session, {})
  t.equal(answer.reset, constants.NGHTTP2_INTERNAL_ERROR)
})

t.test('closing ends idle sessions', async t => {
  const { session, app } = await setUp(t, chunked(200, {}, ['hello']))
  await ask(session, {})
  await app.close()
  t.ok(session.closed || session.destroyed)
})
