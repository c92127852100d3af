/** The end of a gateway in this process: what is announced, what finishes, what is cut, what is left. */
import t from 'tap'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { ServerResponse } from 'node:http'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { buildGateway, CERTIFICATE, CERTIFICATE_KEY, get, httpUpstream, post, proxyAll, rawClient, rawRequest, seededBytes, sleep, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, TestLike } from '../helper.ts'

/** Node says each of its warnings once in a process. */
const warnings: string[] = []
process.on('warning', ({ message }) => { warnings.push(message) })

const BIG = seededBytes(6 * 1024 * 1024)

interface Held {
  readonly url: string
  readonly response: ServerResponse
}

/** Answers by path; what begins with `/hold` waits until the test answers it, `/begun` has sent a part of its body. */
async function backend (t: TestLike) {
  const held: Held[] = []
  let hits = 0
  const upstream = await httpUpstream(t, (request, response) => {
    hits++
    const url = request.url ?? ''
    request.on('error', () => {})
    if (url.startsWith('/hold')) held.push({ url, response })
    else if (url.startsWith('/begun')) {
      response.write('begun,')
      held.push({ url, response })
    } else if (url.startsWith('/big')) response.end(BIG)
    else if (url.startsWith('/events')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      held.push({ url, response })
    } else if (url.startsWith('/status/')) response.writeHead(Number(url.slice(8, 11))).end('status')
    else if (url.startsWith('/upload')) {
      let size = 0
      request.on('data', (piece: Buffer) => { size += piece.length }).on('end', () => { response.end(`got ${size}`) })
    } else response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
  })
  return {
    ...upstream,
    held,
    get hits () { return hits },
    async holds (n: number) {
      if (!await waitFor(() => held.length >= n, 5000)) throw new Error(`the backend holds ${held.length} requests, not ${n}`)
    },
    release () { for (const { response } of held.splice(0)) response.end('end') }
  }
}

interface Scene {
  readonly app: FastifyInstance
  readonly port: number
}

async function listen (t: TestLike, app: FastifyInstance, host = '127.0.0.1'): Promise<Scene> {
  t.teardown(async () => {
    (app.server as Partial<typeof app.server>).closeAllConnections?.()
    await app.close()
  })
  await app.listen({ port: 0, host })
  return { app, port: (app.server.address() as AddressInfo).port }
}

async function gateway (t: TestLike, options: GatewayOptions, configure: Configure = proxyAll(), server?: Parameters<typeof buildGateway>[2]): Promise<Scene> {
  return await listen(t, await buildGateway(options, configure, server))
}

/** Without `serverOptions`. */
async function bareGateway (t: TestLike, options: GatewayOptions): Promise<Scene> {
  const app = Fastify()
  await app.register(reverseproxy, options)
  await proxyAll()(app)
  return await listen(t, app)
}

/** Rejects when a promise takes too long, so that nothing hangs. */
async function within<T> (ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => { reject(new Error(`not within ${ms} ms`)) }, ms) })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

async function isRefused (port: number, host = '127.0.0.1'): Promise<boolean> {
  const socket = connect(port, host)
  return await new Promise(resolve => {
    socket.once('connect', () => { socket.destroy(); resolve(false) })
    socket.once('error', () => { resolve(true) })
  })
}

t.test('during shutdown.delay requests and new connections are served and told to close; afterwards there are none', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { delay: 400, timeout: '5s' } })
  const kept = await rawClient(t, port)
  t.equal((await kept.exchange(get('/before'))).header('connection'), 'keep-alive')
  t.equal(app.reverseproxy.closing, false)
  const closed = app.close()
  t.ok(await waitFor(() => app.reverseproxy.closing, 100), 'readiness is false at once')
  const old = await kept.exchange(get('/on-an-old-connection'))
  t.match({ status: old.status, connection: old.header('connection') }, { status: 200, connection: 'close' })
  t.ok(await kept.closes(2000), 'the connection ends with its answer')
  const fresh = await rawRequest(port, get('/on-a-new-connection'))
  t.match({ status: fresh.status, connection: fresh.response.header('connection') }, { status: 200, connection: 'close' })
  await within(5000, closed)
  t.ok(await isRefused(port))
})

t.test('the delay is waited for', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { delay: 300 } })
  const since = performance.now()
  const closed = app.close()
  await sleep(150)
  t.notOk(await isRefused(port))
  await within(5000, closed)
  t.ok(performance.now() - since >= 290)
})

t.test('what is under way finishes, whatever it comes to, and says Connection: close', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, {
    backends: { up: { targets: [up.url], timeout: { headers: 700 } } },
    routes: [
      { name: 'composite', path: '/composite', composite: { strategy: 'object', parts: { a: { backend: 'up', path: '/hold/json' } } } },
      { name: 'failing', path: '/failing', composite: { strategy: 'object', parts: { a: { backend: 'up', path: '/hold/reset', required: true } } } },
      { name: 'refusing', path: '/refusing', composite: { strategy: 'object', parts: { a: { backend: 'up', path: '/hold/404', required: true } } } }
    ]
  } as GatewayOptions)
  const asked = { '/hold/200': 200, '/hold/404': 404, '/hold/500': 500, '/hold/reset': 502, '/hold/never': 504, '/composite': 200, '/failing': 502, '/refusing': 404 }
  const clients = await Promise.all(Object.keys(asked).map(async path => {
    const client = await rawClient(t, port)
    client.send(get(path))
    return { path, client }
  }))
  await up.holds(clients.length)
  const closed = app.close()
  await sleep(100)
  t.ok(await isRefused(port), 'no new connections')
  for (const { url, response } of up.held) {
    if (url === '/hold/reset') response.destroy()
    else if (url === '/hold/json') response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    else if (url !== '/hold/never') response.writeHead(Number(url.slice(6))).end('end')
  }
  for (const { path, client } of clients) {
    const answer = await client.response(0)
    t.match({ status: answer.status, complete: answer.complete }, { status: asked[path as keyof typeof asked], complete: true }, path)
    t.equal(answer.header('connection'), 'close', path)
    t.ok(await client.closes(3000), `${path}: the connection is closed`)
  }
  await within(5000, closed)
})

t.test('an answer that has begun is completed, and its connection closed soon after', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url } })
  const client = await rawClient(t, port)
  client.send(get('/begun'))
  await up.holds(1)
  await waitFor(() => client.responses[0]?.text === 'begun,')
  const closed = app.close()
  await sleep(150)
  up.release()
  const answer = await client.response(0)
  t.match({ text: answer.text, complete: answer.complete }, { text: 'begun,end', complete: true })
  await within(4000, closed)
  t.ok(client.closed)
})

t.test('a slow reader gets the whole of an answer that is under way', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { timeout: '8s' } })
  const clients = await Promise.all(Array.from({ length: 8 }, () => rawClient(t, port)))
  for (const client of clients) client.send(get('/big'))
  await waitFor(() => clients.every(({ responses }) => responses.length === 1))
  const closed = app.close()
  // little by little, so that the end of the body waits in the gateway for a while
  for (const { socket } of clients) {
    const pace = async () => {
      while (!socket.destroyed && !socket.readableEnded) {
        socket.pause()
        await sleep(20)
        socket.resume()
        await sleep(2)
      }
    }
    pace()
  }
  const answers = await Promise.all(clients.map(client => client.response(0, { ms: 8000 })))
  t.same(answers.map(({ complete }) => complete), clients.map(() => true))
  t.ok(answers.every(({ body }) => body.equals(BIG)), 'byte for byte')
  await within(9000, closed)
})

t.test('the last bytes of a small answer are not lost to a reader that has paused', async t => {
  const up = await backend(t)
  // as many bytes as the gateway still holds when the backend has long been done
  const size = 5_000_000
  const body = seededBytes(size)
  const { app, port } = await gateway(t, { backends: { up: up.url } }, app => {
    app.get('/own', (_request, reply) => reply.send(body))
  })
  const client = await rawClient(t, port)
  client.socket.pause()
  client.send(get('/own'))
  await sleep(200)
  const closed = app.close()
  await sleep(300)
  client.socket.resume()
  const answer = await client.response(0)
  t.equal(answer.body.length, size)
  t.ok(answer.complete)
  await within(5000, closed)
})

t.test('an upload that is under way is finished and answered', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url } })
  const client = await rawClient(t, port)
  client.send('POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345')
  await waitFor(() => up.hits === 1)
  const closed = app.close()
  await sleep(150)
  client.socket.write('67890')
  const answer = await client.response(0)
  t.match({ status: answer.status, text: answer.text, connection: answer.header('connection') }, { status: 200, text: 'got 10', connection: 'close' })
  await within(4000, closed)
})

t.test('a request whose head arrives in two halves, before and after the close, is answered', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url } })
  const client = await rawClient(t, port)
  client.send('GET /halves HTTP/1.1\r\nHost: a\r\nX-H')
  await sleep(100)
  const closed = app.close()
  await sleep(150)
  client.socket.write('alf: 1\r\n\r\n')
  const answer = await client.response(0)
  t.match({ status: answer.status, connection: answer.header('connection') }, { status: 200, connection: 'close' })
  await within(4000, closed)
})

t.test('idle connections do not hold up the end', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { timeout: '60s' } })
  const used = await rawClient(t, port)
  await used.exchange(get('/'))
  const unused = await rawClient(t, port)
  await within(4000, app.close())
  t.ok(await used.closes())
  t.ok(await unused.closes())
})

t.test('shutdown.timeout cuts what hangs: no answer, half an answer, an event stream, half a request', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { timeout: 400 } })
  const clients = await Promise.all(['/hold', '/begun', '/events'].map(async path => {
    const client = await rawClient(t, port)
    client.send(get(path))
    return client
  }))
  const half = await rawClient(t, port)
  half.send('POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345')
  await up.holds(3)
  await waitFor(() => up.hits === 4 && clients.slice(1).every(({ responses }) => responses.length === 1))
  const since = performance.now()
  await within(5000, app.close())
  t.ok(performance.now() - since >= 390, 'not before its time')
  for (const client of [...clients, half]) t.ok(await client.closes(1000))
  t.notOk(clients[1]!.responses[0]!.complete, 'half an answer does not look like a whole one')
  t.notOk(clients[2]!.responses[0]!.complete)
})

t.test('an event stream goes on during the delay and until the timeout', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { delay: 200, timeout: 600 } })
  const client = await rawClient(t, port)
  client.send(get('/events'))
  await up.holds(1)
  const closed = app.close()
  await sleep(400)
  up.held[0]!.response.write('data: 2\n\n')
  t.ok(await waitFor(() => client.responses[0]?.text === 'data: 1\n\ndata: 2\n\n', 350))
  await within(5000, closed)
  t.ok(await client.closes())
})

t.test('close() and shutdown() may be called several times, in any order', async t => {
  const up = await backend(t)
  for (const order of [['close', 'close'], ['shutdown', 'shutdown'], ['shutdown', 'close'], ['close', 'shutdown']] as const) {
    const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { delay: 150 } })
    const client = await rawClient(t, port)
    client.send(get('/hold'))
    await up.holds(1)
    const ends = order.map(how => how === 'close' ? app.close() : app.reverseproxy.shutdown())
    await sleep(50)
    t.equal((await rawRequest(port, get('/'))).status, 200, `${order.join(', ')}: the delay holds`)
    up.release()
    t.equal((await client.response(0)).status, 200, order.join(', '))
    await within(5000, Promise.all(ends))
    await within(1000, app.reverseproxy.shutdown())
  }
})

t.test('shutdown() grants the delay where Fastify was made without serverOptions', async t => {
  const up = await backend(t)
  const { app, port } = await bareGateway(t, { backends: { up: up.url }, shutdown: { delay: 300 } })
  const waiting = await rawClient(t, port)
  waiting.send(get('/hold'))
  await up.holds(1)
  const closed = app.reverseproxy.shutdown()
  t.equal(app.reverseproxy.closing, true)
  const { status, response } = await rawRequest(port, get('/'))
  t.match({ status, connection: response.header('connection') }, { status: 200, connection: 'close' })
  await sleep(350)
  up.release()
  const answer = await waiting.response(0)
  t.match({ status: answer.status, connection: answer.header('connection') }, { status: 200, connection: 'close' })
  await within(5000, closed)
  t.ok(await isRefused(port))
})

t.test('without serverOptions app.close() answers 503 from the beginning and finishes what runs', async t => {
  const up = await backend(t)
  const { app, port } = await bareGateway(t, { backends: { up: up.url }, shutdown: { delay: 200 } })
  const waiting = await rawClient(t, port)
  waiting.send(get('/hold'))
  await up.holds(1)
  const closed = app.close()
  await sleep(50)
  t.equal((await rawRequest(port, get('/'))).status, 503)
  up.release()
  t.equal((await waiting.response(0)).status, 200)
  await within(5000, closed)
})

t.test('errors of the gateway during shutdown() say Connection: close as well', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url }, shutdown: { delay: 500 } })
  const client = await rawClient(t, port)
  client.send(get('/hold'))
  await up.holds(1)
  const closed = app.reverseproxy.shutdown()
  up.held.shift()!.response.destroy()
  const answer = await client.response(0)
  t.match({ status: answer.status, connection: answer.header('connection') }, { status: 502, connection: 'close' })
  await within(5000, closed)
})

t.test('a gateway that does not listen closes without the delay', async t => {
  const up = await backend(t)
  for (const ready of [false, true]) {
    const app = await buildGateway({ backends: { up: { targets: [up.url], health: { path: '/health', interval: 50 } } }, shutdown: { delay: '20s', timeout: '20s' } })
    if (ready) await app.ready()
    await within(3000, app.close())
    t.pass(ready ? 'ready' : 'not ready')
  }
})

t.test('an injected call that waits for another try is answered, or fails, when the gateway closes', async t => {
  const up = await backend(t)
  const app = await buildGateway({ backends: { up: { targets: [up.url], retry: { attempts: 2, backoff: { initial: '20s', max: '20s' } } } }, shutdown: { timeout: 300 }, random: () => 0.99 } as GatewayOptions)
  await app.ready()
  const injected = app.inject('/status/503')
  await waitFor(() => up.hits === 1)
  await sleep(50)
  await within(5000, app.close())
  const answered = await Promise.race([injected.then(({ statusCode }) => statusCode), sleep(1000)])
  t.ok(answered === 502 || answered === 503, 'answered')
})

t.test('calls that wait in the queue or for another try are answered after the close has begun', async t => {
  const up = await backend(t)
  let failures = 2
  const flaky = await httpUpstream(t, (_request, response) => { response.writeHead(failures-- > 0 ? 503 : 200).end('at last') })
  const { app, port } = await gateway(t, {
    backends: {
      up: { targets: [up.url], concurrency: { max: 2, queue: 10, queueTimeout: '5s' } },
      flaky: { targets: [flaky.url], retry: { attempts: 3, backoff: { initial: 400, max: 400 } } }
    },
    random: () => 0.99
  } as GatewayOptions, app => {
    app.get('/flaky', { proxy: 'flaky' }, app.reverseproxy.handler)
    proxyAll()(app)
  })
  const clients = await Promise.all(Array.from({ length: 8 }, () => rawClient(t, port)))
  for (const client of clients) client.send(get('/hold'))
  const retrying = await rawClient(t, port)
  retrying.send(get('/flaky'))
  await up.holds(2)
  await waitFor(() => failures === 1)
  const closed = app.close()
  const releasing = setInterval(up.release, 20)
  t.teardown(() => { clearInterval(releasing) })
  for (const client of [...clients, retrying]) {
    const answer = await client.response(0)
    t.match({ status: answer.status, connection: answer.header('connection') }, { status: 200, connection: 'close' })
  }
  clearInterval(releasing)
  await within(5000, closed)
})

t.test('health checks go on during the delay, and end with the gateway', async t => {
  let healthy = false
  let checks = 0
  const up = await httpUpstream(t, (request, response) => {
    if (request.url === '/health') checks++
    response.writeHead(request.url !== '/health' || healthy ? 200 : 500).end()
  })
  const { app, port } = await gateway(t, { backends: { up: { targets: [up.url], health: { path: '/health', interval: 30, rise: 1, fall: 1 } } }, shutdown: { delay: 600 } })
  await waitFor(() => app.reverseproxy.health.status('up')[0]?.healthy === false)
  const closed = app.close()
  healthy = true
  t.ok(await waitFor(() => app.reverseproxy.health.status('up')[0]?.healthy === true, 500), 'a target that comes back is noticed')
  t.equal((await rawRequest(port, get('/'))).status, 200)
  await within(5000, closed)
  const after = checks
  await sleep(150)
  t.equal(checks, after)
})

t.test('two requests on one connection, sent at once, are both answered', async t => {
  const up = await backend(t)
  const { app, port } = await gateway(t, { backends: { up: up.url } })
  const client = await rawClient(t, port)
  client.send([get('/begun/1'), get('/ok/2')], ['GET', 'GET'])
  await up.holds(1)
  await waitFor(() => up.hits === 2)
  const closed = app.close()
  await sleep(120)
  up.release()
  t.equal((await client.response(0)).status, 200)
  t.equal((await client.response(1)).status, 200)
  t.ok(client.responses[1]?.complete)
  await within(4000, closed)
})

// ---------------------------------------------------------------- HTTP/2

async function http2Gateway (t: TestLike, options: GatewayOptions, secure = false): Promise<Scene & { open (): Promise<ClientHttp2Session> }> {
  const { http: _http, clientErrorHandler: _handler, ...fastifyOptions } = serverOptions
  const https = { key: CERTIFICATE_KEY, cert: CERTIFICATE, allowHTTP1: true }
  const app = Fastify({ ...fastifyOptions, http2: true, ...(secure ? { https } : undefined) } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, options)
  await proxyAll()(app)
  const scene = await listen(t, app)
  return {
    ...scene,
    async open () {
      const session = connectHttp2(`${secure ? 'https' : 'http'}://127.0.0.1:${scene.port}`, secure ? { ca: CERTIFICATE, servername: 'localhost' } : {})
      session.on('error', () => {})
      t.teardown(() => { session.destroy() })
      await once(session, 'connect')
      return session
    }
  }
}

function ask (session: ClientHttp2Session, path: string): Promise<{ status: unknown, body: string, clean: boolean }> {
  return new Promise(resolve => {
    const stream = session.request({ ':path': path })
    let status: unknown
    let body = ''
    let ended = false
    stream.on('response', headers => { status = headers[':status'] })
    stream.on('data', (piece: Buffer) => { body += piece.toString() })
    stream.on('end', () => { ended = true })
    stream.on('error', () => {})
    stream.on('close', () => { resolve({ status, body, clean: ended && stream.rstCode === 0 }) })
  })
}

for (const secure of [false, true]) {
  const name = secure ? 'HTTP/2 over TLS' : 'HTTP/2'

  t.test(`${name}: streams under way finish, the session is told to go`, async t => {
    const up = await backend(t)
    const { app, open } = await http2Gateway(t, { backends: { up: up.url }, shutdown: { delay: 150 } }, secure)
    const session = await open()
    let told = false
    session.on('goaway', () => { told = true })
    const answers = Array.from({ length: 50 }, (_, n) => ask(session, n % 2 === 0 ? '/hold' : '/begun'))
    await up.holds(50)
    const closed = app.close()
    t.equal((await ask(session, '/during')).status, 200, 'the delay holds')
    await sleep(300)
    up.release()
    for (const answer of await Promise.all(answers)) t.match(answer, { status: 200, clean: true })
    await within(5000, closed)
    t.ok(await waitFor(() => session.closed || session.destroyed))
    t.ok(told, 'GOAWAY')
  })

  t.test(`${name}: shutdown.timeout cuts what hangs`, async t => {
    const up = await backend(t)
    const { app, open } = await http2Gateway(t, { backends: { up: up.url }, shutdown: { timeout: 300 } }, secure)
    const session = await open()
    const answers = [ask(session, '/hold'), ask(session, '/begun'), ask(session, '/events')]
    await up.holds(3)
    await within(4000, app.close())
    for (const { clean } of await within(2000, Promise.all(answers))) t.notOk(clean)
  })

  t.test(`${name}: idle sessions do not hold up the end`, async t => {
    const up = await backend(t)
    const { app, open } = await http2Gateway(t, { backends: { up: up.url }, shutdown: { timeout: '60s' } }, secure)
    await open()
    await ask(await open(), '/')
    await within(4000, app.close())
  })
}

t.test('HTTP/1.1 on a server of both versions: requests finish, what hangs is cut', async t => {
  const up = await backend(t)
  const { app, port } = await http2Gateway(t, { backends: { up: up.url }, shutdown: { timeout: 600 } }, true)
  const { connect: connectTls } = await import('node:tls')
  const open = async (path: string) => {
    const socket = connectTls({ port, host: '127.0.0.1', ca: CERTIFICATE, servername: 'localhost', ALPNProtocols: ['http/1.1'] })
    let received = ''
    socket.on('data', (piece: Buffer) => { received += piece.toString('latin1') })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    socket.write(post(path, '12345'))
    t.teardown(() => { socket.destroy() })
    return { get received () { return received }, socket }
  }
  const finishing = await open('/hold/1')
  const hanging = await open('/hold/2')
  await up.holds(2)
  const closed = app.close()
  await sleep(100)
  up.held.find(({ url }) => url === '/hold/1')!.response.end('whole')
  t.ok(await waitFor(() => finishing.received.endsWith('whole')))
  t.match(finishing.received, /connection: close/i)
  await within(4000, closed)
  t.ok(await waitFor(() => hanging.socket.destroyed))
})

t.test('HTTP/2: Node had nothing to warn about', async t => {
  await sleep(20)
  t.same(warnings, [])
})
