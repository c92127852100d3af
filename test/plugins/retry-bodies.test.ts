/** Retries of requests with a body: kept and sent again byte for byte, or not kept and then sent once. */
import t from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import reverseproxy, { serverOptions } from '../../index.ts'
import { chunk, closedPort, lastChunk, rawClient, rawRequest, rawUpstream, requestBytes, RESET, respond, seededBytes, sleep, startGateway, wait, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, Step, TestLike } from '../helper.ts'
import type { RequestRecord } from '../../lib/types.ts'

const LIMIT = 1000
const QUICK = { replayLimit: LIMIT, backoff: { initial: 1, max: 2 }, budget: false } as const

interface SetUp {
  readonly script?: Script
  readonly at?: 'complete' | 'head'
  readonly retry?: Readonly<Record<string, unknown>>
  /** In place of the one target. */
  readonly targets?: readonly string[]
  readonly backend?: Readonly<Record<string, unknown>>
  readonly gateway?: Readonly<Record<string, unknown>>
  readonly configure?: Configure
}

/** The first request is met with a 503, the others with what they have sent. */
const busyOnce: Script = ({ nth, request }) => nth === 0 ? respond(503, {}, 'busy') : respond(200, {}, request.body)

async function setUp (t: TestLike, { script = busyOnce, at = 'complete', retry, targets, backend, gateway, configure }: SetUp = {}) {
  const up = await rawUpstream(t, script, { at })
  const requests: FastifyRequest[] = []
  const options = { ...gateway, backends: { up: { targets: [...targets ?? [], up.url], circuitBreaker: false, retry: { ...QUICK, ...retry }, ...backend } } }
  const started = await startGateway(t, options as GatewayOptions, async app => {
    app.addHook('onRequest', async request => { requests.push(request) })
    if (configure !== undefined) await configure(app)
    else app.route({ method: ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  })
  return { ...started, up, record: (): RequestRecord => requests[0]!.reverseproxy!, bodies: () => up.requests.map(({ body }) => body) }
}

/** Cut into pieces of these sizes, the last one again and again. */
function pieces (body: Buffer, ...sizes: number[]): Buffer[] {
  const cut: Buffer[] = []
  for (let at = 0, nth = 0; at < body.length; nth++) {
    const size = sizes[Math.min(nth, sizes.length - 1)]!
    cut.push(body.subarray(at, at + size))
    at += size
  }
  return cut
}

/** The head of a request whose body is sent piece by piece. */
function head (method: string, length: number | undefined, headers: Record<string, string> = {}): Buffer {
  return requestBytes(method, '/x', { headers: { ...headers, ...(length === undefined ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(length) }) } })
}

/** The ways a body of HTTP/1.1 comes in. */
const WAYS: Record<string, (method: string, body: Buffer) => Step[]> = {
  'sized, at once': (method, body) => [requestBytes(method, '/x', { body })],
  'sized, after its head': (method, body) => [head(method, body.length), wait(15), body],
  'sized, in pieces': (method, body) => [head(method, body.length), ...pieces(body, 1, Math.ceil(body.length / 3)).flatMap(piece => [wait(5), piece])],
  'chunked, at once': (method, body) => [requestBytes(method, '/x', { body: pieces(body, 7, 300) })],
  'chunked, in pieces': (method, body) => [head(method, undefined), ...pieces(body, 1, Math.ceil(body.length / 3)).flatMap(piece => [wait(5), chunk(piece)]), wait(5), lastChunk()],
  'chunked, its end apart': (method, body) => [head(method, undefined), chunk(body), wait(15), lastChunk()]
}

for (const [what, way] of Object.entries(WAYS)) {
  t.test(`${what}: sent again byte for byte up to the limit`, async t => {
    for (const size of [0, 1, 500, LIMIT - 1, LIMIT]) {
      const body = seededBytes(size, size + 1)
      const { port, up, bodies } = await setUp(t)
      const { response } = await rawRequest(port, way('PUT', body))
      t.same([response.status, response.body], [200, body], `${size} bytes`)
      t.same(bodies(), [body, body], `${size} bytes`)
      t.same(up.malformed, [])
    }
  })

  t.test(`${what}: one byte above the limit it is sent once, whole`, async t => {
    for (const size of [LIMIT + 1, LIMIT + 500, 200_000]) {
      const body = seededBytes(size, size)
      const { port, up, bodies } = await setUp(t)
      const { response } = await rawRequest(port, way('PUT', body))
      t.same([response.status, response.text], [503, 'busy'], `${size} bytes`)
      await sleep(10)
      t.equal(up.requests.length, 1, `${size} bytes`)
      t.ok(bodies()[0]!.equals(body), `${size} bytes`)
      const well = await rawRequest(port, way('PUT', body))
      t.ok(well.response.body.equals(body), `${size} bytes, echoed`)
      t.same(up.malformed, [])
    }
  })

  t.test(`${what}: a POST is sent again where the connection was refused`, async t => {
    const body = seededBytes(900)
    const { port, up } = await setUp(t, { targets: [`http://127.0.0.1:${await closedPort()}`], script: ({ request }) => respond(201, {}, request.body) })
    for (let i = 0; i < 3; i++) {
      const { response } = await rawRequest(port, way('POST', body))
      t.same([response.status, response.body], [201, body])
    }
    t.equal(up.requests.length, 3)
  })

  t.test(`${what}: a POST is not sent again after a reset`, async t => {
    for (const at of ['complete', 'head'] as const) {
      const { port, up } = await setUp(t, { script: ({ nth }) => nth === 0 ? RESET : respond(200), at })
      t.equal((await rawRequest(port, way('POST', seededBytes(900)))).status, 502)
      await sleep(10)
      t.equal(up.requests.length, 1)
    }
  })
}

t.test('every try frames the body in the same way, and no field speaks of another', async t => {
  for (const body of [seededBytes(300), pieces(seededBytes(300), 100), Buffer.alloc(0), []]) {
    const { port, up } = await setUp(t)
    await rawRequest(port, requestBytes('PUT', '/x', { headers: { 'Content-Type': 'application/octet-stream', 'Content-Encoding': 'x-odd' }, body }))
    t.equal(up.requests.length, 2)
    for (const request of up.requests) {
      const size = Array.isArray(body) ? Buffer.concat(body).length : body.length
      t.same(request.all('content-length'), [String(size)])
      t.same(request.all('transfer-encoding'), [])
      t.same([request.all('content-type'), request.all('content-encoding')], [['application/octet-stream'], ['x-odd']])
    }
  }
})

t.test('a body that is sent again after a reset while it was on its way', async t => {
  const body = seededBytes(60_000)
  const { port, up } = await setUp(t, { script: ({ nth, request }) => nth === 0 ? RESET : respond(200, {}, request.body), at: 'head', retry: { replayLimit: 100_000 } })
  up.answer(({ nth, socket }) => {
    if (nth === 0) return RESET
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    return undefined
  }, 'head')
  const { response } = await rawRequest(port, [head('PUT', body.length), ...pieces(body, 20_000)])
  t.same([response.status, response.text], [200, 'ok'])
  t.ok(await waitFor(() => up.requests[1]?.complete === true))
  t.ok(up.requests[1]!.body.equals(body))
})

t.test('DELETE with a body is sent again with it', async t => {
  const { port, bodies } = await setUp(t)
  t.equal((await rawRequest(port, requestBytes('DELETE', '/x', { body: 'which' }))).status, 200)
  t.same(bodies().map(String), ['which', 'which'])
})

t.test('a replayLimit of 0 keeps nothing', async t => {
  const { port, up } = await setUp(t, { retry: { replayLimit: 0 } })
  const { response } = await rawRequest(port, requestBytes('PUT', '/x', { body: 'x' }))
  t.same([response.status, up.requests.map(({ body }) => body.toString())], [503, ['x']])
})

t.test('a body of 50 KB is kept by default', async t => {
  const body = seededBytes(50_000)
  const up = await rawUpstream(t, busyOnce)
  const { port } = await startGateway(t, { backends: { up: { targets: [up.url], retry: 2 } } })
  const { response } = await rawRequest(port, requestBytes('PUT', '/x', { body }))
  t.equal(response.status, 200)
  t.ok(response.body.equals(body))
})

t.test('many at once do not get each other\'s bodies', async t => {
  const seen = new Set<string>()
  const { port } = await setUp(t, {
    retry: { replayLimit: 100_000, attempts: 3 },
    script ({ request }) {
      const id = request.body.subarray(0, 8).toString('hex')
      if (seen.has(id)) return respond(200, {}, request.body)
      seen.add(id)
      return respond(503)
    }
  })
  const answers = await Promise.all(Array.from({ length: 40 }, async (_, index) => {
    const body = seededBytes(1 + index * 997, index + 1)
    const { response } = await rawRequest(port, index % 2 === 0 ? requestBytes('PUT', '/x', { body }) : [head('PUT', undefined), ...pieces(body, 5000).flatMap(piece => [chunk(piece), wait(1)]), lastChunk()])
    return response.status === 200 && response.body.equals(body)
  }))
  t.ok(answers.every(same => same))
})

t.test('the next request of the connection is read from where the body has ended', async t => {
  for (const body of [seededBytes(LIMIT), pieces(seededBytes(LIMIT), 100), seededBytes(LIMIT + 1), pieces(seededBytes(LIMIT + 1), 100)]) {
    const { port, up } = await setUp(t)
    const { responses } = await rawRequest(port, [requestBytes('PUT', '/one', { body }), requestBytes('GET', '/two')], { responses: 2, methods: ['PUT', 'GET'] })
    t.equal(responses.length, 2)
    t.ok(responses.every(({ complete }) => complete))
    const others = up.requests.filter(({ target }) => target === '/two')
    t.ok(others.length >= 1 && others.every(({ method, size }) => method === 'GET' && size === 0))
    t.same(up.malformed, [])
  }
})

// ---- limits and parsers

t.test('a body above bodyLimit is a 413 however much might be kept', async t => {
  const { port, up } = await setUp(t, { retry: { replayLimit: 10_000 }, gateway: { limits: { body: 500 } } })
  for (const body of [seededBytes(501), pieces(seededBytes(501), 100)]) {
    t.equal((await rawRequest(port, requestBytes('PUT', '/x', { body }))).status, 413)
    t.ok(up.requests.every(({ complete }) => !complete), 'none has arrived whole')
  }
  up.answer(({ request }) => respond(200, {}, request.body))
  for (const body of [seededBytes(500), pieces(seededBytes(500), 100)]) t.equal((await rawRequest(port, requestBytes('PUT', '/x', { body }))).status, 200)
})

t.test('a body that Fastify has parsed is sent again as it was sent first', async t => {
  const { port, up } = await setUp(t, { configure: app => { app.put('/x', (_request, reply) => reply.proxy('up')) } })
  const { response } = await rawRequest(port, requestBytes('PUT', '/x', { headers: { 'Content-Type': 'application/json' }, body: '{"a":[1,2,{"b":"é"}]}' }))
  t.equal(response.status, 200)
  t.same(up.requests.map(({ body }) => JSON.parse(body.toString('utf8')) as unknown), [1, 2].map(() => JSON.parse(Buffer.from('{"a":[1,2,{"b":"é"}]}', 'latin1').toString()) as unknown))
  t.same(up.requests[1]!.head, up.requests[0]!.head)
})

t.test('a parsed body has no limit: it is here anyway', async t => {
  const { port, up } = await setUp(t, { retry: { replayLimit: 10 }, configure: app => { app.put('/x', (_request, reply) => reply.proxy('up')) } })
  t.equal((await rawRequest(port, requestBytes('PUT', '/x', { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ long: 'x'.repeat(500) }) }))).status, 200)
  t.equal(up.requests.length, 2)
})

t.test('a body that the handler gives is sent again', async t => {
  const { port, up } = await setUp(t, { configure: app => { app.get('/x', (_request, reply) => reply.proxy('up', { method: 'PUT', body: { a: 1 } })) } })
  t.equal((await rawRequest(port, requestBytes('GET', '/x'))).status, 200)
  t.same(up.requests.map(({ method, body }) => `${method} ${body.toString()}`), ['PUT {"a":1}', 'PUT {"a":1}'])
})

// ---- Expect: 100-continue

t.test('a client that asks first gets its 100 and its answer', async t => {
  for (const [script, status] of [[({ request }) => respond(200, {}, request.body), 200], [busyOnce, undefined]] as Array<[Script, number | undefined]>) {
    const { port, up } = await setUp(t, { script })
    const client = await rawClient(t, port)
    client.send([head('PUT', 500, { Expect: '100-continue' })])
    t.ok(await waitFor(() => client.informational.length === 1))
    client.socket.write(seededBytes(500))
    const response = await client.response(0)
    if (status !== undefined) t.equal(response.status, status)
    else t.ok(response.status === 200 || response.status === 503)
    for (const { body } of up.requests) t.ok(body.equals(seededBytes(500)))
  }
})

t.test('a client that asks first is not told to go on until a backend takes the body', async t => {
  const { port } = await setUp(t, { targets: [], script: RESET, backend: { targets: [`http://127.0.0.1:${await closedPort()}`] } })
  const client = await rawClient(t, port)
  client.send([head('PUT', 500, { Expect: '100-continue' })])
  const response = await client.response(0)
  t.same([response.status, client.informational.length], [502, 0])
})

t.test('a client that asks first reaches the target that is there', async t => {
  const { port, up } = await setUp(t, { targets: [`http://127.0.0.1:${await closedPort()}`], script: ({ request }) => respond(200, {}, request.body) })
  for (let i = 0; i < 3; i++) {
    const client = await rawClient(t, port)
    client.send([head('POST', 500, { Expect: '100-continue' })])
    t.ok(await waitFor(() => client.informational.length === 1))
    client.socket.write(seededBytes(500))
    t.equal((await client.response(0)).status, 200)
  }
  t.equal(up.requests.length, 3)
})

// ---- HTTP/2

async function overHttp2 (t: TestLike, retry: Record<string, unknown>, script: Script = busyOnce) {
  const up: RawUpstream = await rawUpstream(t, script)
  const { http: _http, clientErrorHandler: _handler, ...options } = serverOptions
  const app = Fastify({ ...options, http2: true } as never) as unknown as FastifyInstance
  const records: FastifyRequest[] = []
  app.addHook('onRequest', async request => { records.push(request) })
  await app.register(reverseproxy, { backends: { up: { targets: [up.url], circuitBreaker: false, retry: { ...QUICK, ...retry } } } } as GatewayOptions)
  app.route({ method: ['PUT', 'POST'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  session.on('error', () => {})
  t.teardown(async () => { session.destroy(); await app.close() })
  return { up, app, session, records }
}

for (const sized of [true, false]) {
  t.test(`over HTTP/2, ${sized ? 'with' : 'without'} its length: kept up to the limit, sent once beyond it`, async t => {
    for (const size of [0, 1, LIMIT, LIMIT + 1, 100_000]) {
      const { session, up } = await overHttp2(t, {})
      const body = seededBytes(size, size + 1)
      const stream = session.request({ ':path': '/x', ':method': 'PUT', ...(sized ? { 'content-length': size } : undefined) })
      const answer = new Promise<{ status: unknown, body: Buffer }>(resolve => {
        const received: Buffer[] = []
        let status: unknown
        stream.on('response', headers => { status = headers[':status'] })
        stream.on('data', (piece: Buffer) => received.push(piece))
        stream.on('error', () => {})
        stream.on('close', () => { resolve({ status, body: Buffer.concat(received) }) })
      })
      for (const piece of pieces(body, 1, 400)) stream.write(piece)
      stream.end()
      const { status, body: echoed } = await answer
      t.equal(status, size > LIMIT ? 503 : 200, `${size} bytes`)
      t.equal(up.requests.length, size > LIMIT ? 1 : 2, `${size} bytes`)
      for (const request of up.requests) t.ok(request.body.equals(body), `${size} bytes`)
      if (size <= LIMIT) t.ok(echoed.equals(body))
    }
  })
}

for (const [what, size] of [['is kept', 100], ['is on its way', 5000]] as const) {
  t.test(`over HTTP/2, a stream that is torn down while its body ${what} is no whole body for anybody, and the session lives on`, async t => {
    for (const leave of ['stream', 'session'] as const) {
      const { app, session, up, records } = await overHttp2(t, {})
      const other = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
      other.on('error', () => {})
      const stream = other.request({ ':path': '/x', ':method': 'PUT' })
      stream.on('error', () => {})
      stream.write(seededBytes(size))
      t.ok(await waitFor(() => records.length === 1 && (size < LIMIT || (up.requests.length === 1 && up.requests[0]!.size === size))))
      await sleep(20)
      if (leave === 'stream') stream.destroy()
      else other.destroy()
      t.ok(await waitFor(() => records[0]!.reverseproxy?.aborted === true))
      other.destroy()
      await sleep(50)
      t.equal(up.requests.length, size < LIMIT ? 0 : 1)
      t.ok(up.requests.every(({ complete }) => !complete))
      up.answer(respond(200))
      const next = session.request({ ':path': '/next', ':method': 'PUT' })
      next.end('whole')
      next.resume()
      const status = await new Promise(resolve => { next.on('response', headers => { resolve(headers[':status']) }) })
      t.same([status, up.last.body.toString()], [200, 'whole'])
    }
  })
}

// ---- clients that are slow, or leave

t.test('a client that leaves while its body is kept reaches nobody', async t => {
  for (const way of [head('PUT', 500), head('PUT', undefined)]) {
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const { port, up, record, app } = await setUp(t)
      const client = await rawClient(t, port)
      client.send([way])
      client.socket.write('5\r\nabcde\r\n')
      await sleep(30)
      client[leave]()
      t.ok(await waitFor(() => record().aborted), leave)
      t.same([up.requests.length, record().attempts.length], [0, 0])
      t.ok(await waitFor(() => app.reverseproxy.registry.existing('up').targets.every(({ inflight }) => inflight === 0)))
    }
  }
})

t.test('a client that ends in the middle of its body reaches nobody', async t => {
  const { port, up } = await setUp(t)
  const client = await rawClient(t, port)
  client.send([head('PUT', 500), 'abcde'])
  await sleep(30)
  client.socket.end()
  t.ok(await client.closes())
  t.equal(up.requests.length, 0)
})

t.test('a client that leaves while its body is sent for the second time ends that', async t => {
  const { port, up, record } = await setUp(t, { script: ({ nth }) => nth === 0 ? respond(503) : undefined, retry: { attempts: 5 } })
  const client = await rawClient(t, port)
  client.send(requestBytes('PUT', '/x', { body: 'kept' }))
  t.ok(await waitFor(() => up.requests.length === 2))
  client.destroy()
  t.ok(await up.dropped())
  t.equal(record().aborted, true)
  await sleep(50)
  t.equal(up.requests.length, 2)
})

t.test('a slow upload is kept and sent again', async t => {
  const body = seededBytes(100)
  for (const length of [100, undefined]) {
    const { port, bodies } = await setUp(t)
    const { response } = await rawRequest(port, [head('PUT', length), ...pieces(body, 20).flatMap(piece => [wait(40), length === undefined ? chunk(piece) : piece]), ...(length === undefined ? [lastChunk()] : [])])
    t.equal(response.status, 200)
    t.same(bodies(), [body, body])
  }
})

t.test('an upload that never ends is a 504 when the call\'s time is over', async t => {
  for (const length of [100, undefined]) {
    const { port, up } = await setUp(t, { backend: { timeout: { total: 200 } } })
    const { status, elapsed } = await rawRequest(port, [head('PUT', length), length === undefined ? chunk('some') : 'some'])
    t.equal(status, 504)
    t.ok(elapsed < 5000, `${elapsed} ms`)
    t.equal(up.requests.length, 0)
  }
})

t.test('the time of the upload is time of the call', async t => {
  const { port, up } = await setUp(t, { script: () => {}, backend: { timeout: { total: 1000 } } })
  const { status, elapsed } = await rawRequest(port, [head('PUT', 8), 'some', wait(200), 'more'])
  t.equal(status, 504)
  t.ok(elapsed >= 900 && elapsed < 5000, `${elapsed} ms`)
  t.equal(up.requests.length, 1)
})

t.test('what is too long to be kept streams: its first bytes arrive before its last', async t => {
  for (const length of [50_000, undefined]) {
    const { port, up } = await setUp(t, { script: respond(200) })
    const client = await rawClient(t, port)
    const frame = (piece: Buffer): Buffer => length === undefined ? chunk(piece) : piece
    client.send([head('PUT', length), frame(seededBytes(25_000))])
    t.ok(await waitFor(() => up.requests.length === 1 && up.requests[0]!.size === 25_000))
    client.socket.write(frame(seededBytes(25_000, 2)))
    if (length === undefined) client.socket.write(lastChunk())
    t.equal((await client.response(0)).status, 200)
    t.ok(up.requests[0]!.body.equals(Buffer.concat([seededBytes(25_000), seededBytes(25_000, 2)])))
  }
})

t.test('an answer that overtakes a long upload is the client\'s, and the upload is not sent again', async t => {
  const { port, up } = await setUp(t, { script: () => ['HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig'], at: 'head' })
  const client = await rawClient(t, port)
  client.send([head('PUT', 100_000), seededBytes(50_000)])
  t.equal((await client.response(0)).status, 413)
  t.equal(up.requests.length, 1)
})
