/**
 * Event streams and other long answers: nothing is kept back, nothing is cut by a clock that is not meant for them, and both
 * ends hear of it when the other one goes.
 *
 * Most tests go in step: the backend writes its next event when the client has the one before. What is kept back anywhere
 * stops them, and no time has to be measured.
 */
import compress from '@fastify/compress'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import fc from 'fast-check'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { PassThrough, Transform } from 'node:stream'
import type { Readable } from 'node:stream'
import t from 'tap'
import type { Test } from 'tap'
import { constants as zlib, gunzipSync } from 'node:zlib'
import reverseproxy, { serverOptions } from '../../index.ts'
import { EventEdge } from '../../lib/forward/event-stream.ts'
import { chunk, get, httpUpstream, lastChunk, proxyAll, rawClient, requestBytes, RESET, rssGrowth, sleep, startGateway, startPair, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, RawClient, TestLike } from '../helper.ts'

/** What an EventSource says. */
const ASKING = { Accept: 'text/event-stream', 'Cache-Control': 'no-cache' }
const EVENTS = 'text/event-stream'

interface Opened {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** A backend that sends headers, and what the test writes. */
async function source (t: TestLike, type = EVENTS, headers: Readonly<Record<string, string>> = {}) {
  const opened: Opened[] = []
  const upstream = await httpUpstream(t, (request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': type, ...headers }).flushHeaders()
    opened.push({ request, response })
  })
  return {
    ...upstream,
    opened,
    /** The nth that was opened. */
    async nth (n = 0): Promise<Opened> {
      await waitFor(() => opened.length > n)
      return opened[n]!
    }
  }
}

const event = (n: number) => `id: ${n}\ndata: ${n}\n\n`

/** The client has the headers before there is an event, and each event before there is the next. */
async function inStep (t: Test, client: RawClient, { response }: Opened, name: string): Promise<void> {
  t.ok(await waitFor(() => client.responses.length === 1), `${name}: the headers come alone`)
  let sent = ''
  for (let n = 1; n <= 4; n++) {
    response.write(event(n))
    sent += event(n)
    t.ok(await waitFor(() => client.responses[0]?.text === sent), `${name}: event ${n} comes at once`)
  }
}

async function open (t: TestLike, port: number, bytes: Buffer = get('/events', ASKING)): Promise<RawClient> {
  const client = await rawClient(t, port)
  await client.send(bytes)
  return client
}

// ---------------------------------------------------------------- nothing is kept back

const route = (more: Readonly<Record<string, unknown>> = {}): Configure => app => {
  app.route({ method: ['GET', 'POST'], url: '/*', proxy: { backend: 'up', ...more }, handler: app.reverseproxy.handler })
}

const upperCase = () => new Transform({ transform (piece: Buffer, _encoding, done) { done(null, piece.toString().toUpperCase()) } })

t.test('headers come alone and each event at once, through everything that is ours', async t => {
  const backend = { retry: { attempts: 3, perTryTimeout: '2s' }, concurrency: { max: 10, queue: 10 } }
  const variants: Array<[string, Partial<GatewayOptions>, Configure, Readonly<Record<string, unknown>>?]> = [
    ['a plain route', {}, proxyAll()],
    ['retries, hedging, a breaker, limits', {}, proxyAll(), { ...backend, retry: { attempts: 3, hedge: 50 } }],
    ['a tenant', { tenancy: { header: 'x-tenant-id', tenants: { acme: {} } } }, proxyAll(), backend],
    ['a modifyResponse that leaves the body', {}, route({ modifyResponse: async (draft: { headers: Headers }) => { await sleep(5); draft.headers.set('x-a', '1') } })],
    ['a modifyResponse that sends the body through a stream', {}, route({ modifyResponse (draft: { body: unknown }) { draft.body = (draft.body as Readable).pipe(new PassThrough()) } })],
    ['reply.proxy()', {}, app => { app.get('/*', async (_request, reply) => reply.proxy('up')) }],
    ['a route of the options', { routes: [{ name: 'all', path: '/*', proxy: { backend: 'up' } }] }, () => {}],
    ['an onSend hook that sends the body through a stream', {}, app => {
      app.addHook('onSend', async (_request, _reply, payload) => (payload as Readable).pipe(new PassThrough()))
      return proxyAll()(app)
    }]
  ]
  for (const [name, options, configure, more] of variants) {
    const up = await source(t)
    const { port } = await startGateway(t, { ...options, backends: { up: { targets: [up.url], ...more } } } as GatewayOptions, configure)
    const client = await open(t, port, get('/events', { ...ASKING, 'X-Tenant-Id': 'acme' }))
    await inStep(t, client, await up.nth(), name)
    ;(await up.nth()).response.end()
    t.ok((await client.response(0)).complete, `${name}: a clean end is a clean end`)
  }
})

t.test('a stream that a hook makes of the events keeps the step', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: up.url } }, route({ modifyResponse (draft: { body: unknown }) { draft.body = (draft.body as Readable).pipe(upperCase()) } }))
  const client = await open(t, port)
  const { response } = await up.nth()
  response.write('data: a\n\n')
  t.ok(await waitFor(() => client.responses[0]?.text === 'DATA: A\n\n'))
})

t.test('events that answer a POST, while it is still being sent', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: up.url } })
  const client = await rawClient(t, port)
  await client.send([requestBytes('POST', '/chat', { headers: { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' } }), chunk('{"stream":')], ['POST'])
  const { request, response } = await up.nth()
  let body = ''
  request.on('data', (piece: Buffer) => { body += piece.toString() })
  t.ok(await waitFor(() => client.responses.length === 1), 'the headers do not wait for the body')
  response.write(event(1))
  t.ok(await waitFor(() => client.responses[0]?.text === event(1)))
  client.socket.write(chunk('true}'))
  t.ok(await waitFor(() => body.endsWith('true}')), 'what comes later still reaches the backend')
  client.socket.write(lastChunk())
  await waitFor(() => request.complete)
  response.end('data: [DONE]\n\n')
  t.equal((await client.response(0)).text, `${event(1)}data: [DONE]\n\n`)
})

t.test('lines of JSON, and an answer that drips for a long time', async t => {
  for (const type of ['application/x-ndjson', 'application/json', 'text/plain']) {
    const up = await source(t, type)
    const { port } = await startGateway(t, { backends: { up: up.url } })
    await inStep(t, await open(t, port, get('/')), await up.nth(), type)
  }
})

t.test('bytes and headers are as the backend sent them', async t => {
  const pieces = ['\ufeff: hello\n\n', ':\n\n', ': keep-alive\r\n\r\n', 'retry: 100\r\r', 'data: caf\u00e9 \u{1f600}\n', 'data\n\nid\n\n', 'data:  \n\n'].map(piece => Buffer.from(piece))
  // within a character
  const sent = [...pieces.slice(0, 4), pieces[4]!.subarray(0, 10), pieces[4]!.subarray(10), ...pieces.slice(5)]
  const headers = { 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no', 'content-type': 'text/event-stream; charset=utf-8' }
  const up = await source(t, headers['content-type'], headers)
  const { port } = await startGateway(t, { backends: { up: up.url } })
  const client = await open(t, port, get('/events', { ...ASKING, 'Last-Event-ID': 'caf\u00e9-42', 'Accept-Encoding': 'gzip' }))
  const { request, response } = await up.nth()
  t.same([request.headers['last-event-id'], request.headers.accept, request.headers['accept-encoding']], ['caf\u00e9-42', EVENTS, 'gzip'])
  for (const piece of sent) response.write(piece)
  response.end()
  const answer = await client.response(0)
  t.same(answer.body, Buffer.concat(pieces))
  for (const [name, value] of Object.entries(headers)) t.equal(answer.header(name), value)
})

// ---------------------------------------------------------------- compression

t.test('@fastify/compress leaves event streams alone', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: up.url } }, async app => { await app.register(compress); await proxyAll()(app) })
  const client = await open(t, port, get('/events', { ...ASKING, 'Accept-Encoding': 'gzip, br' }))
  await inStep(t, client, await up.nth(), 'compress')
  t.equal(client.responses[0]!.header('content-encoding'), undefined)
})

t.test('@fastify/compress told to pack them keeps the step where it flushes', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: up.url } }, async app => {
    await app.register(compress, { customTypes: /event-stream/, zlibOptions: { flush: zlib.Z_SYNC_FLUSH } })
    await proxyAll()(app)
  })
  const client = await open(t, port, get('/events', { ...ASKING, 'Accept-Encoding': 'gzip' }))
  const { response } = await up.nth()
  t.ok(await waitFor(() => client.responses.length === 1), 'the headers come alone')
  for (let n = 1; n <= 3; n++) {
    const before = client.responses[0]!.body.length
    response.write(event(n))
    t.ok(await waitFor(() => client.responses[0]!.body.length > before), `event ${n}`)
  }
  response.end()
  t.equal(gunzipSync((await client.response(0)).body).toString(), event(1) + event(2) + event(3))
})

t.test('lines of JSON wait in @fastify/compress where it packs their type, and not on a route with compress: false', async t => {
  const up = await source(t, 'application/stream+json')
  const { port } = await startGateway(t, { backends: { up: up.url } }, async app => {
    await app.register(compress)
    app.get('/kept', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/free', { proxy: 'up', compress: false }, app.reverseproxy.handler)
  })
  await inStep(t, await open(t, port, get('/free', { 'Accept-Encoding': 'gzip' })), await up.nth(), 'compress: false')
  const kept = await open(t, port, get('/kept', { 'Accept-Encoding': 'gzip' }))
  const { response } = await up.nth(1)
  await waitFor(() => kept.responses.length === 1)
  response.write(event(1))
  await sleep(100)
  t.ok(kept.responses[0]!.body.length <= 10, 'as the documentation warns: no more than the head of gzip')
  response.end()
  t.equal(gunzipSync((await kept.response(0)).body).toString(), event(1))
})

t.test('a backend that breaks is no clean end behind @fastify/compress either', async t => {
  const up = await source(t, 'application/json')
  const { port } = await startGateway(t, { backends: { up: up.url } }, async app => { await app.register(compress); await proxyAll()(app) })
  const client = await open(t, port, get('/', { 'Accept-Encoding': 'gzip' }))
  const { response } = await up.nth()
  response.write('[1,')
  await sleep(30)
  response.destroy()
  t.ok(await client.closes())
  t.equal(client.responses.length, 1)
  t.notOk(client.responses[0]!.complete)
})

// ---------------------------------------------------------------- time

t.test('the idle time holds for event streams, and total and perTryTimeout do not', async t => {
  await Promise.all([EVENTS, 'text/event-stream; charset=utf-8', 'Text/Event-Stream', 'text/event-stream ;charset=utf-8'].map(async type => {
    const up = await source(t, type)
    const { port } = await startGateway(t, { backends: { up: { targets: [up.url], timeout: { total: 250, idle: 5000 }, retry: { attempts: 2, perTryTimeout: 200 } } } })
    const client = await open(t, port)
    const { response } = await up.nth()
    await sleep(400)
    response.end(event(1))
    t.match(await client.response(0), { text: event(1), complete: true }, type)
  }))
})

t.test('total holds for everything else that is long', async t => {
  for (const type of ['application/x-ndjson', 'text/event-stream-of-something']) {
    const up = await source(t, type)
    const { port } = await startGateway(t, { backends: { up: { targets: [up.url], timeout: { total: 250 } } } })
    const client = await open(t, port)
    t.ok(await client.closes(3000))
    t.notOk(client.responses[0]?.complete, type)
  }
})

t.test('comments are no silence; silence cuts the stream, and the backend hears of it', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: { targets: [up.url], timeout: { idle: 500 } } } })
  const client = await open(t, port)
  const { request, response } = await up.nth()
  const gone = once(request.socket, 'close')
  const since = performance.now()
  for (let n = 0; n < 6; n++) {
    await sleep(120)
    response.write(':\n\n')
  }
  t.equal(client.closed, false, 'open for longer than the idle time')
  t.ok(await client.closes(4000))
  t.ok(performance.now() - since > 1100)
  t.notOk(client.responses[0]!.complete)
  await gone
})

t.test('a reader that takes its time is no silence', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: { targets: [up.url], timeout: { idle: 300 } } } })
  const client = await rawClient(t, port)
  client.socket.pause()
  await client.send(get('/events', ASKING))
  const { response } = await up.nth()
  const one = `data: ${'x'.repeat(200_000)}\n\n`
  let count = 0
  // as fast as it is taken
  const fill = () => { do count++; while (response.write(one)) }
  response.on('drain', fill)
  fill()
  await sleep(900)
  t.ok(count * one.length < 40_000_000, 'what waits has a bound', { count })
  t.notOk(response.destroyed, 'nothing was cut')
  response.off('drain', fill)
  client.socket.resume()
  response.end()
  t.equal((await client.response(0, { ms: 15_000 })).body.length, count * one.length)
})

// ---------------------------------------------------------------- nothing twice

t.test('headers are an answer: no second try and no hedge, however long the first event takes and whatever becomes of it', async t => {
  const one = await source(t)
  const other = await source(t)
  const { port } = await startGateway(t, { backends: { up: { targets: [one.url, other.url], balancer: 'round-robin', retry: { attempts: 3, hedge: 60, backoff: { initial: 1, max: 2 }, budget: false } } } })
  const client = await open(t, port)
  await waitFor(() => client.responses.length === 1)
  await sleep(200)
  const all = [...one.opened, ...other.opened]
  t.equal(all.length, 1, 'no hedge')
  all[0]!.response.destroy()
  t.ok(await client.closes())
  await sleep(50)
  t.equal(one.opened.length + other.opened.length, 1, 'no second try')
  t.equal(client.responses.length, 1)
  t.notOk(client.responses[0]!.complete)
})

// ---------------------------------------------------------------- one side goes

t.test('a client that goes between two events ends the backend\'s stream at once', async t => {
  const up = await source(t)
  const { port, app } = await startGateway(t, { backends: { up: up.url } })
  for (const leave of ['destroy', 'resetAndDestroy'] as const) {
    const client = await open(t, port)
    const { request, response } = await up.nth(up.opened.length)
    response.write(event(1))
    await waitFor(() => client.responses[0]?.text === event(1))
    const gone = once(request.socket, 'close')
    const since = performance.now()
    client[leave]()
    await gone
    t.ok(performance.now() - since < 1000, leave)
  }
  t.ok(await waitFor(() => app.reverseproxy.eventStreams.size === 0), 'nothing is kept of them')
})

t.test('a backend that goes ends the client\'s stream, and not cleanly', async t => {
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
  for (const how of ['reset', 'fin'] as const) {
    const { port } = await startPair(t, [head, chunk(event(1)), { wait: 30 }, how === 'reset' ? RESET : { act: 'destroy' }])
    const client = await open(t, port)
    t.ok(await client.closes(), how)
    t.equal(client.responses[0]?.text, event(1), `${how}: the client has what the backend sent`)
    t.notOk(client.responses[0]?.complete, how)
  }
})

t.test('behind a modifyResponse that pipes the body, too; and a client that goes', async t => {
  const up = await source(t)
  const { port } = await startGateway(t, { backends: { up: up.url } }, route({ modifyResponse (draft: { body: unknown }) { draft.body = (draft.body as Readable).pipe(upperCase()) } }))
  const client = await open(t, port)
  const { response } = await up.nth()
  response.write('data: a\n\n')
  await waitFor(() => client.responses[0]?.text === 'DATA: A\n\n')
  response.destroy()
  t.ok(await client.closes())
  t.notOk(client.responses[0]!.complete)
  const leaving = await open(t, port)
  const gone = once((await up.nth(1)).request.socket, 'close')
  await waitFor(() => leaving.responses.length === 1)
  leaving.destroy()
  await gone
})

// ---------------------------------------------------------------- the gateway goes

t.test('shutdown ends the streams of clients that come back, after the event that is under way', async t => {
  const up = await source(t)
  const { app, port } = await startGateway(t, { backends: { up: up.url }, shutdown: { delay: 150, timeout: '20s' } })
  const waiting = await open(t, port)
  const within = await open(t, port)
  const compact = await open(t, port, get('/events', { Accept: 'text/html, Text/Event-Stream;q=0.9' }))
  await waitFor(() => up.opened.length === 3)
  const [first, second, third] = up.opened
  first!.response.write(event(1))
  second!.response.write('id: 1\ndata: half')
  third!.response.write('data: 1\r\n\r')
  for (const client of [waiting, within, compact]) await waitFor(() => (client.responses[0]?.body.length ?? 0) > 0)
  const closing = app.close()
  await sleep(50)
  first!.response.write(event(2))
  t.ok(await waitFor(() => waiting.responses[0]?.text === event(1) + event(2), 2000), 'during the delay it goes on')
  t.ok(await waitFor(() => waiting.responses[0]?.complete === true), 'then it ends, cleanly')
  t.ok(await waiting.closes(), 'with its connection')
  t.notOk(within.responses[0]!.complete, 'half an event is waited for')
  second!.response.write('\ndata: whole\n\ndata: of another stream\n\n')
  t.match(await within.response(0), { text: 'id: 1\ndata: half\ndata: whole\n\n', complete: true }, 'and nothing after it')
  t.ok((await compact.response(0)).complete, 'other ends of lines')
  const since = performance.now()
  await closing
  t.ok(performance.now() - since < 5000, 'the timeout is not waited for')
})

t.test('what shutdown may not end cleanly goes on until the timeout, and is cut', async t => {
  const packed = await source(t, EVENTS, { 'content-encoding': 'gzip' })
  const up = await source(t)
  const { app, port } = await startGateway(t, { backends: { up: up.url, packed: packed.url }, shutdown: { timeout: 400 } }, app => {
    app.get('/packed', { proxy: 'packed' }, app.reverseproxy.handler)
    return proxyAll()(app)
  })
  const clients = [
    await open(t, port, requestBytes('POST', '/chat', { headers: ASKING, body: '{}' })),
    await open(t, port, get('/events')),
    await open(t, port, get('/packed', ASKING)),
    await open(t, port)
  ]
  for (const client of clients) await waitFor(() => client.responses.length === 1)
  // the last one never ends its event
  up.opened[2]!.response.write('data: half')
  await waitFor(() => clients[3]!.responses[0]!.text === 'data: half')
  const closing = app.close()
  await sleep(100)
  up.opened[0]!.response.write(event(1))
  t.ok(await waitFor(() => clients[0]!.responses[0]!.text === event(1), 250), 'the answer to a POST goes on')
  await closing
  for (const [n, client] of clients.entries()) {
    t.ok(await client.closes(), `${n}`)
    t.notOk(client.responses[0]!.complete, `${n}: no clean end`)
  }
})

t.test('a stream that opens while the gateway closes ends at once', async t => {
  const holding: ServerResponse[] = []
  const up = await httpUpstream(t, (_request, response) => { holding.push(response) })
  const { app, port } = await startGateway(t, { backends: { up: up.url }, shutdown: { timeout: '20s' } })
  const client = await open(t, port)
  await waitFor(() => holding.length === 1)
  const closing = app.close()
  await sleep(50)
  holding[0]!.writeHead(200, { 'content-type': EVENTS }).flushHeaders()
  t.match(await client.response(0), { status: 200, text: '', complete: true })
  await closing
})

t.test('draining a target ends its streams: their readers find another one', async t => {
  const one = await source(t)
  const other = await source(t)
  const { app, port } = await startGateway(t, { backends: { up: { targets: [one.url, other.url], balancer: 'round-robin' } } })
  const clients = [await open(t, port), await open(t, port)]
  await waitFor(() => one.opened.length === 1 && other.opened.length === 1)
  for (const client of clients) await waitFor(() => client.responses.length === 1)
  const gone = once(one.opened[0]!.request.socket, 'close')
  await app.reverseproxy.backends.drain('up', one.url)
  await gone
  t.ok(await waitFor(() => clients.some(({ responses }) => responses[0]!.complete)))
  t.equal(clients.filter(({ responses }) => responses[0]!.complete).length, 1, 'only those of that target')
  const ended = clients.find(({ responses }) => responses[0]!.complete)!
  await ended.send(get('/events', { ...ASKING, 'Last-Event-ID': '1' }))
  t.ok(await waitFor(() => other.opened.length === 2), 'on the same connection')
})

const separators = fc.constantFrom('\n\n', '\r\n\r\n', '\r\r', '\n\r\n', '\r\n\n')
const lines = fc.array(fc.constantFrom('data: x', ':', 'id', 'data:\u00e9'), { minLength: 1, maxLength: 3 })

t.test('property: an event\'s end is found, wherever the pieces are cut', async t => {
  fc.assert(fc.property(lines, separators, fc.constantFrom('\n', '\r\n', '\r'), fc.string({ maxLength: 5 }), fc.nat(), (head, separator, end, tail, seed) => {
    const whole = head.join(end) + separator
    const bytes = Buffer.from(whole + tail)
    const cut = 1 + seed % (Buffer.byteLength(whole) - separator.length)
    const edge = new EventEdge()
    edge.pass(bytes.subarray(0, cut))
    if (edge.between) return false
    const rest = edge.restIn(bytes.subarray(cut))
    if (rest === undefined) return false
    // a CR that ends it may or may not take an LF of what follows with it
    const found = cut + rest
    return found === Buffer.byteLength(whole) || (separator.endsWith('\r') && tail.startsWith('\n') && found === Buffer.byteLength(whole) + 1)
  }))
  const fresh = new EventEdge()
  t.ok(fresh.between, 'before the first byte')
  fresh.pass(Buffer.from('data: 1\n'))
  t.notOk(fresh.between)
  fresh.pass(Buffer.from('\n'))
  t.ok(fresh.between)
})

// ---------------------------------------------------------------- HTTP/2

async function http2 (t: TestLike, options: GatewayOptions): Promise<{ app: FastifyInstance, session: ClientHttp2Session }> {
  const { http: _http, clientErrorHandler: _handler, ...rest } = serverOptions
  const app = Fastify({ ...rest, http2: true } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, options)
  await proxyAll()(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  session.on('error', () => {})
  t.teardown(async () => { session.destroy(); await app.close() })
  return { app, session }
}

function ask (session: ClientHttp2Session, headers: OutgoingHttpHeaders) {
  const stream: ClientHttp2Stream = session.request({ ':path': '/events', ...headers })
  const seen = { stream, status: 0, text: '', ended: false, closed: false }
  stream.on('response', head => { seen.status = Number(head[':status']) })
  stream.on('data', (piece: Buffer) => { seen.text += piece.toString() })
  stream.on('end', () => { seen.ended = true })
  stream.on('error', () => {})
  stream.on('close', () => { seen.closed = true })
  return seen
}

t.test('HTTP/2: in step, and both ends hear of the other\'s end', async t => {
  const up = await source(t)
  const { app, session } = await http2(t, { backends: { up: up.url }, shutdown: { timeout: '20s' } })
  const seen = ask(session, { accept: EVENTS, 'last-event-id': '7' })
  const { request, response } = await up.nth()
  t.equal(request.headers['last-event-id'], '7')
  t.ok(await waitFor(() => seen.status === 200), 'the headers come alone')
  let sent = ''
  for (let n = 1; n <= 4; n++) {
    response.write(event(n))
    sent += event(n)
    t.ok(await waitFor(() => seen.text === sent), `event ${n}`)
  }
  const gone = once(request.socket, 'close')
  seen.stream.close(constants.NGHTTP2_CANCEL)
  await gone
  const broken = ask(session, { accept: EVENTS })
  await waitFor(() => broken.status === 200)
  up.opened[1]!.response.destroy()
  t.ok(await waitFor(() => broken.closed))
  t.equal(broken.stream.rstCode, constants.NGHTTP2_INTERNAL_ERROR, 'no clean end')
  const last = ask(session, { accept: EVENTS })
  await waitFor(() => last.status === 200)
  const closing = app.close()
  t.ok(await waitFor(() => last.closed))
  t.same([last.ended, last.stream.rstCode], [true, constants.NGHTTP2_NO_ERROR], 'shutdown ends it cleanly')
  await closing
})

// ---------------------------------------------------------------- many

/** A client that takes no more than it must: a thousand of them are for the gateway, not for the test. */
interface Lean { readonly socket: Socket, text: string }

async function openLean (t: TestLike, port: number): Promise<Lean> {
  const socket = connect(port, '127.0.0.1')
  const lean = { socket, text: '' }
  socket.on('data', (piece: Buffer) => { lean.text += piece.toString() }).on('error', () => {})
  t.teardown(() => { socket.destroy() })
  await once(socket, 'connect')
  socket.write(get('/events', ASKING))
  return lean
}

t.test('1,000 event streams at once: each event to each, in order, within a bound of memory; nothing is left of them', async t => {
  const COUNT = 1000
  const ROUNDS = 10
  const up = await source(t)
  const gateway = await startGateway(t, { backends: { up: { targets: [up.url], pool: { connections: COUNT + 1 } } } })
  const lean: Lean[] = []
  const growth = await rssGrowth(async () => {
    for (let n = 0; n < COUNT; n += 100) {
      lean.push(...await Promise.all(Array.from({ length: 100 }, async () => await openLean(t, gateway.port))))
    }
    t.ok(await waitFor(() => up.opened.length === COUNT && lean.every(({ text }) => text.includes('\r\n\r\n')), 10_000), 'all are open')
    for (let n = 1; n <= ROUNDS; n++) for (const { response } of up.opened) response.write(event(n))
    t.ok(await waitFor(() => lean.every(({ text }) => text.includes(event(ROUNDS))), 10_000), 'all have everything')
  })
  t.ok(growth < 300_000_000, 'memory, that of clients and backend included', { growth })
  t.comment(`${Math.round(growth / COUNT / 1024)} KiB each`)
  const ids = Array.from({ length: ROUNDS }, (_, n) => `id: ${n + 1}`)
  t.equal(lean.filter(({ text }) => text.match(/^id: \d+$/gm)?.join() === ids.join()).length, COUNT, 'in order')
  for (const { socket } of lean) socket.destroy()
  t.ok(await waitFor(() => up.opened.every(({ request }) => request.socket.destroyed), 5000), 'the backend is left by all')
  const next = await rawClient(t, gateway.port)
  await next.send(get('/events', ASKING))
  t.ok(await waitFor(() => next.responses.length === 1))
})
