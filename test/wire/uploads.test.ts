/**
 * Uploads: streamed, whatever their size and framing, also where hooks of the application watch or change them on their way.
 */
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'
import t from 'tap'
import reverseproxy, { serverOptions } from '../../index.ts'
import { chunk, forkGateway, httpUpstream, lastChunk, proxyAll, rawClient, rawRequest, requestBytes, respond, rssGrowth, seededBytes, sleep, startGateway, startPair, waitFor } from '../helper.ts'
import type { Configure, TestLike } from '../helper.ts'
import { checkHealthy, OK } from './checks.ts'

const MB = 1024 * 1024
const PIECE = seededBytes(MB)

const sha = (...pieces: Buffer[]) => {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

/** A backend that answers with how much came, and its hash. `each` is awaited after each piece. */
async function hashing (t: TestLike, each?: () => Promise<void>) {
  const seen: IncomingMessage[] = []
  const upstream = await httpUpstream(t, async (request, response) => {
    seen.push(request)
    const hash = createHash('sha256')
    let size = 0
    try {
      for await (const piece of request) {
        hash.update(piece as Buffer)
        size += (piece as Buffer).length
        await each?.()
      }
      response.end(JSON.stringify({ size, sha: hash.digest('hex'), length: request.headers['content-length'] ?? null, coding: request.headers['transfer-encoding'] ?? null, type: request.headers['content-type'] ?? null }))
    } catch {
      // the client has gone
    }
  })
  return { ...upstream, seen }
}

interface Told { readonly status: number, readonly body: string }

/** Sends the pieces with backpressure; `length` undefined is chunked. */
async function upload (port: number, pieces: Iterable<Buffer>, length: number | undefined, headers: Readonly<Record<string, string>> = {}, method = 'POST'): Promise<Told> {
  const request = httpRequest({ port, host: '127.0.0.1', method, path: '/files', headers: { ...headers, ...(length === undefined ? undefined : { 'content-length': length }) } })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  await pipeline(Readable.from(pieces), request)
  const [response] = await answered
  return { status: response.statusCode!, body: await text(response) }
}

const BOUNDARY = 'multipart/form-data; boundary=----b'
const BEFORE = Buffer.from('------b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n------b\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\nContent-Type: application/octet-stream\r\n\r\n')
const AFTER = Buffer.from('\r\n------b--\r\n')
const FORM = [BEFORE, ...Array.from({ length: 256 }, () => PIECE), AFTER]
const FORM_SIZE = BEFORE.length + 256 * MB + AFTER.length

t.test('256 MB as a form, with a length and in chunks: every byte, and no memory for it', async t => {
  const up = await hashing(t)
  const gateway = await forkGateway(t, { backends: { up: up.url } })
  const wanted = sha(...FORM)
  // V8 of Node 22 and later collects only after 64 MB of buffers: there it has to before each look at what is held
  const isLazy = Number(process.versions.node.split('.')[0]) >= 22
  await upload(gateway.port, FORM.slice(0, 11), undefined)
  await gateway.rss(true)
  for (const length of [FORM_SIZE, undefined]) {
    let told: Told | undefined
    const growth = await rssGrowth(async () => { told = await upload(gateway.port, FORM, length, { 'content-type': BOUNDARY }) }, async () => await gateway.rss(isLazy))
    t.same(JSON.parse(told!.body), { size: FORM_SIZE, sha: wanted, length: length === undefined ? null : String(length), coding: length === undefined ? 'chunked' : null, type: BOUNDARY })
    t.ok(growth < 64 * MB, 'memory', { growth })
  }
})

t.test('a backend that takes its time slows the client down, and gets everything', async t => {
  let held: (() => void) | undefined
  const up = await hashing(t, async () => { if (held === undefined) await new Promise<void>(resolve => { held = resolve }) })
  const { port } = await startGateway(t, { backends: { up: { targets: [up.url], timeout: { headers: '20s' } } } })
  const pieces = Array.from({ length: 60 }, () => PIECE)
  let taken = 0
  const counted = function * () { for (const piece of pieces) { taken++; yield piece } }
  for (const length of [60 * MB, undefined]) {
    held = undefined
    taken = 0
    const uploading = upload(port, counted(), length)
    await waitFor(() => held !== undefined)
    let before = -1
    while (before !== taken) {
      before = taken
      await sleep(150)
    }
    t.ok(taken < 40, 'the client is held up', { taken })
    held!()
    t.equal((JSON.parse((await uploading).body) as { sha: string }).sha, sha(...pieces))
  }
})

t.test('HTTP/2: an upload without a length', async t => {
  const up = await hashing(t)
  const { http: _http, clientErrorHandler: _handler, ...options } = serverOptions
  const app = Fastify({ ...options, http2: true } as never) as unknown as FastifyInstance
  app.addHook('preParsing', (_request, _reply, payload, done) => { payload.on('data', () => {}); done(null, payload) })
  await app.register(reverseproxy, { backends: { up: up.url } })
  await proxyAll()(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { session.destroy(); await app.close() })
  const stream = session.request({ ':method': 'POST', ':path': '/files', 'content-type': BOUNDARY })
  const pieces = [BEFORE, PIECE, PIECE, PIECE, AFTER]
  const answer = text(stream)
  await pipeline(Readable.from(pieces), stream)
  t.match(JSON.parse(await answer), { size: BEFORE.length + 3 * MB + AFTER.length, sha: sha(...pieces), coding: 'chunked' })
})

// ---------------------------------------------------------------- hooks that watch

const BODIES: Array<[string, Buffer]> = [['small', Buffer.from('hello')], ['large', Buffer.concat([PIECE, PIECE, PIECE])]]

/** Some time passes before the body is asked for. */
const later: Configure = app => { app.addHook('preHandler', async () => { await sleep(20) }) }

t.test('a preParsing hook that watches the body sees all of it, and so does the backend', async t => {
  for (const [when, between] of [['at once', () => {}], ['after other hooks', later]] as Array<[string, Configure]>) {
    const up = await hashing(t)
    let watched = 0
    const { port } = await startGateway(t, { backends: { up: up.url } }, async app => {
      app.addHook('preParsing', (_request, _reply, payload, done) => { payload.on('data', (piece: Buffer) => { watched += piece.length }); done(null, payload) })
      await between(app)
      await proxyAll()(app)
    })
    for (const [name, body] of BODIES) {
      for (const length of [body.length, undefined]) {
        watched = 0
        const told = await upload(port, [body], length)
        t.match(JSON.parse(told.body), { size: body.length, sha: sha(body) }, `${when}, ${name}, ${length}`)
        t.equal(watched, body.length)
      }
    }
  }
})

t.test('a body of which a hook has taken a part is never passed on as the whole', async t => {
  const { port, upstream } = await startPair(t, OK, {
    configure: async app => {
      app.addHook('preParsing', async (_request, _reply, payload) => {
        payload.on('data', () => {})
        await sleep(20)
        return payload
      })
      await proxyAll()(app)
    }
  })
  const result = await rawRequest(port, [requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } }), chunk('one'), { wait: 60 }, chunk('two'), lastChunk()])
  t.equal(result.status, 500)
  t.match(result.response.text, /"code":"RP_ERR_INVALID_CALL"/)
  t.equal(upstream.bytes, 0)
})

// ---------------------------------------------------------------- hooks that change

const upperCase = () => new Transform({ transform (piece: Buffer, _encoding, done) { done(null, Buffer.from(piece.toString('latin1').toUpperCase(), 'latin1')) } })

/** Every body goes through a stream of a hook's. */
const changing = (make: () => Transform, between: Configure = () => {}): Configure => async app => {
  app.addHook('preParsing', (_request, _reply, payload, done) => { done(null, payload.pipe(make())) })
  await between(app)
  await proxyAll()(app)
}

t.test('the stream that a preParsing hook puts in the body\'s place is what the backend gets', async t => {
  for (const between of [() => {}, later]) {
    const up = await hashing(t)
    const { port } = await startGateway(t, { backends: { up: up.url } }, changing(upperCase, between))
    for (const [name, body] of BODIES) {
      const wanted = Buffer.from(body.toString('latin1').toUpperCase(), 'latin1')
      for (const length of [body.length, undefined]) {
        const told = await upload(port, [body], length)
        t.match(JSON.parse(told.body), { size: wanted.length, sha: sha(wanted), length: null, coding: 'chunked' }, `${name}, ${length}`)
      }
    }
  }
})

t.test('a request without a body gets none from such a hook', async t => {
  const { port, upstream } = await startPair(t, OK, { configure: changing(upperCase) })
  for (const method of ['DELETE', 'GET', 'POST']) {
    t.equal((await rawRequest(port, requestBytes(method, '/', method === 'POST' ? { headers: { 'Content-Length': '0' } } : {}))).status, 200, method)
    t.equal(upstream.last.header('transfer-encoding'), undefined, method)
    t.ok(upstream.last.complete)
  }
})

t.test('a stream that breaks is the client\'s fault: 400, the backend gets no end of it, its circuit stays closed', async t => {
  const breaking = () => new Transform({ transform (_piece, _encoding, done) { done(new Error('secret: no key')) } })
  const { app, port, upstream } = await startPair(t, OK, { breakers: true, backend: { circuitBreaker: { failureThreshold: 1 } }, configure: changing(breaking) })
  const result = await rawRequest(port, requestBytes('POST', '/', { body: ['hello', 'you'] }))
  t.equal(result.status, 400)
  t.notMatch(result.response.text, /secret/)
  t.notOk(upstream.requests.some(({ complete }) => complete))
  await checkHealthy(t, { port })
  t.notOk(app.reverseproxy.breakers.list().some(({ state }) => state !== 'closed'))
})

t.test('a limit holds for what comes out of it', async t => {
  const growing = () => new Transform({ transform (piece: Buffer, _encoding, done) { done(null, Buffer.alloc(piece.length * 1000, piece)) } })
  const up = await hashing(t)
  const { port } = await startGateway(t, { backends: { up: up.url }, limits: { body: 50_000 } }, changing(growing))
  t.equal((await upload(port, [Buffer.from('x'.repeat(10))], undefined)).status, 200)
  const result = await rawRequest(port, requestBytes('POST', '/', { body: ['x'.repeat(100)] }))
  t.equal(result.status, 413)
})

t.test('an answer overtakes such an upload, and a client that leaves ends it', async t => {
  const pair = await startPair(t, respond(413, {}, 'too much'), { at: 'head', configure: changing(upperCase) })
  const client = await rawClient(t, pair.port)
  await client.send([requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } }), chunk(PIECE)], ['POST'])
  t.match(await client.response(0), { status: 413, text: 'too much', complete: true })
  client.destroy()
  pair.upstream.answer([])
  const leaving = await rawClient(t, pair.port)
  await leaving.send([requestBytes('POST', '/', { headers: { 'Transfer-Encoding': 'chunked' } }), chunk(PIECE)], ['POST'])
  t.ok(await waitFor(() => pair.upstream.requests.length === 2 && pair.upstream.last.size > 0))
  leaving.resetAndDestroy()
  t.ok(await pair.upstream.dropped([pair.upstream.last], 1000), 'within a second')
  t.notOk(pair.upstream.last.complete)
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})

t.test('what comes out of it is kept for another try', async t => {
  const { port, upstream } = await startPair(t, ({ nth }) => nth === 0 ? respond(503) : OK, { backend: { retry: { attempts: 2, backoff: { initial: 1, max: 2 } } }, configure: changing(upperCase) })
  const result = await rawRequest(port, requestBytes('PUT', '/', { body: 'hello' }))
  t.equal(result.status, 200)
  t.same(upstream.requests.map(({ body }) => body.toString()), ['HELLO', 'HELLO'])
})

t.test('a watched body is kept for another try, too', async t => {
  const { port, upstream } = await startPair(t, ({ nth }) => nth === 0 ? respond(503) : OK, {
    backend: { retry: { attempts: 2, backoff: { initial: 1, max: 2 } } },
    configure: async app => {
      app.addHook('preParsing', (_request, _reply, payload, done) => { payload.on('data', () => {}); done(null, payload) })
      await proxyAll()(app)
    }
  })
  for (const body of ['hello', ['hel', 'lo']]) {
    upstream.requests.length = 0
    t.equal((await rawRequest(port, requestBytes('PUT', '/', { body }))).status, 200)
    t.same(upstream.requests.map(({ body }) => body.toString()), ['hello', 'hello'])
  }
})
