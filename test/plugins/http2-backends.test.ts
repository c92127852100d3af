/** Backends that speak HTTP/2: what is agreed on, how requests share connections, and that nothing cut off looks complete. */
import t from 'tap'
import { createHash } from 'node:crypto'
import { createSecureServer } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import {
  askHttp2, AUTHORITY, END_STREAM, frameUpstream, get, http2Data, http2Goaway, http2Head, http2Reset, http2Upstream, httpUpstream, post, rawClient, rawRequest, requestBytes, seededBytes, SIGNED,
  sleep, startGateway, startHttp2Gateway, waitFor
} from '../helper.ts'
import { socketFolder } from '../helper/socket-folder.ts'
import type { GatewayOptions, TestLike } from '../helper.ts'

const gatewayTo = (t: TestLike, backend: Readonly<Record<string, unknown>>, more: object = {}) =>
  startGateway(t, { circuitBreaker: false, ...more, backends: { up: backend } } as unknown as GatewayOptions)

/** Answers with what it got. */
function echo (stream: ServerHttp2Stream, headers: object): void {
  const chunks: Buffer[] = []
  stream.on('data', (piece: Buffer) => chunks.push(piece))
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/json' })
    stream.end(JSON.stringify({ ...headers, body: Buffer.concat(chunks).toString() }))
  })
}

t.test('what is agreed on', async t => {
  t.test('HTTP/2 where the target takes it: many requests on one connection', async t => {
    const waiting: ServerHttp2Stream[] = []
    const up = await http2Upstream(t, stream => {
      waiting.push(stream)
      if (waiting.length === 20) for (const one of waiting) { one.respond({ ':status': 200 }); one.end('2') }
    })
    const { url } = await gatewayTo(t, up.backend)
    const answers = await Promise.all(Array.from({ length: 20 }, async () => await (await fetch(url)).text()))
    t.ok(answers.every(text => text === '2'))
    t.equal(up.sessions.length, 1)
  })

  t.test('HTTP/1.1 where it does not: the first connection is used, and then the pool', async t => {
    const server = createHttpsServer(SIGNED, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (piece: Buffer) => chunks.push(piece)).on('end', () => response.end(`${request.httpVersion} ${Buffer.concat(chunks).length}`))
    })
    let connections = 0
    server.on('secureConnection', () => { connections++ })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => { server.closeAllConnections(); server.close() })
    const { port } = await gatewayTo(t, { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: true, tls: { ca: AUTHORITY } })
    t.equal((await rawRequest(port, get('/'))).response.text, '1.1 0')
    t.equal((await rawRequest(port, post('/', 'hello'))).response.text, '1.1 5')
    t.equal((await rawRequest(port, post('/', ['x', 'y'.repeat(100_000)]))).status, 200)
    t.equal(connections, 1)
    t.same(await Promise.all([1, 2, 3].map(async () => (await rawRequest(port, get('/'))).response.text)), ['1.1 0', '1.1 0', '1.1 0'])
  })

  t.test('h2c: http targets without being asked, unix sockets with a base path', async t => {
    const path = join(socketFolder(t), 's')
    for (const options of [{ h2c: true }, { h2c: true, path }]) {
      const up = await http2Upstream(t, echo, options)
      const base = options.path === undefined ? '/base' : ':/base'
      const { url } = await gatewayTo(t, { ...up.backend, url: `${String(up.backend['url'])}${base}` })
      t.match(await (await fetch(`${url}/x?y`, { method: 'POST', body: 'hello' })).json(), { ':path': '/base/x?y', ':scheme': 'http', body: 'hello', 'content-length': '5' })
    }
  })

  t.test('h2c to a target that speaks HTTP/1.1 only is a failure to connect', async t => {
    const up = await httpUpstream(t, (_request, response) => response.end('1'))
    const { url } = await gatewayTo(t, { url: up.url, http2: 'h2c' })
    const answer = await fetch(url)
    t.same([answer.status, (await answer.json() as { code: string }).code], [502, 'RP_ERR_CONNECT'])
  })

  t.test('true with an http target is HTTP/1.1', async t => {
    const up = await httpUpstream(t, (request, response) => response.end(request.httpVersion))
    const { url } = await gatewayTo(t, { url: up.url, http2: true })
    t.equal(await (await fetch(url)).text(), '1.1')
  })

  t.test('a target that greets with silence is a 504 after the time for connecting', async t => {
    const server = createTcpServer(socket => { socket.on('error', () => {}).resume() })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => { server.close() })
    const { url } = await gatewayTo(t, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: 'h2c', timeout: { connect: 200 } })
    t.equal((await fetch(url)).status, 504)
  })

  t.test('a target that has fallen back to HTTP/1.1 after a restart is reached', async t => {
    const up = await http2Upstream(t, echo)
    const { url } = await gatewayTo(t, up.backend)
    t.equal((await fetch(url)).status, 200)
    const { port } = up.server.address() as AddressInfo
    for (const session of up.sessions) session.destroy()
    await new Promise(resolve => { up.server.close(resolve) })
    const server = createHttpsServer(SIGNED, (_request, response) => { response.end('older') })
    await new Promise<void>(resolve => { server.listen(port, '127.0.0.1', resolve) })
    t.teardown(() => { server.closeAllConnections(); server.close() })
    t.ok(await waitFor(() => up.sessions[0]!.destroyed))
    t.equal(await (await fetch(url)).text(), 'older')
  })
})

t.test('headers', async t => {
  t.test('the request\'s: pseudo headers, Host, cookies; nothing of the connection', async t => {
    const up = await http2Upstream(t, echo)
    const { port } = await gatewayTo(t, up.backend)
    const { response } = await rawRequest(port, get('/a?b', { Connection: 'keep-alive, X-Gone', 'Keep-Alive': 'timeout=5', 'X-Gone': '1', TE: 'trailers, gzip', Cookie: 'a=1', 'X-Twice': '1', 'x-twice': '2', 'Proxy-Connection': 'x' }))
    const seen = JSON.parse(response.text) as Record<string, string>
    t.match(seen, { ':method': 'GET', ':path': '/a?b', ':scheme': 'https', ':authority': String(up.backend['url']).slice(8), cookie: 'a=1', 'x-twice': '1, 2', te: 'trailers' })
    for (const name of ['host', 'connection', 'keep-alive', 'proxy-connection', 'x-gone', 'upgrade', 'transfer-encoding']) t.notOk(name in seen, name)
  })

  t.test('Host is kept where it is to be', async t => {
    const up = await http2Upstream(t, echo)
    const { port } = await gatewayTo(t, { ...up.backend, host: 'preserve' })
    t.match(JSON.parse((await rawRequest(port, requestBytes('GET', '/', { host: 'shop.example' }))).response.text), { ':authority': 'shop.example' })
  })

  t.test('the answer\'s: several cookies, Latin-1, no pseudo headers', async t => {
    const up = await http2Upstream(t, stream => {
      stream.respond({ ':status': 201, 'set-cookie': ['a=1', 'b=2'], 'x-plain': '1' })
      stream.end('made')
    })
    const { port } = await gatewayTo(t, up.backend)
    const { response } = await rawRequest(port, get('/'))
    t.same([response.status, response.text, response.all('set-cookie'), response.header('x-plain')], [201, 'made', ['a=1', 'b=2'], '1'])
    t.notMatch(response.head, /^:/m)
    const raw = await frameUpstream(t, (socket, stream) => { socket.write(Buffer.concat([http2Head(stream, { 'x-latin': 'caf\xe9' }), http2Data(stream, 'x', END_STREAM)])) })
    t.equal((await rawRequest((await gatewayTo(t, raw.backend)).port, get('/'))).response.header('x-latin'), 'caf\xe9')
  })

  t.test('too many of them are a 502', async t => {
    const up = await http2Upstream(t, stream => { stream.respond({ ':status': 200, 'x-long': 'x'.repeat(20_000) }); stream.end('x') })
    const { url } = await gatewayTo(t, up.backend)
    t.equal((await fetch(url)).status, 502)
    const wide = await gatewayTo(t, { ...up.backend, pool: { maxHeaderSize: '32kb' } })
    t.equal((await rawRequest(wide.port, get('/'))).status, 200)
  })
})

t.test('bodies', async t => {
  t.test('large ones are the same both ways', async t => {
    const up = await http2Upstream(t, stream => {
      const hash = createHash('sha256')
      stream.on('data', piece => hash.update(piece as Buffer)).on('end', () => {
        stream.respond({ ':status': 200, 'x-hash': hash.digest('hex') })
        stream.end(bytes)
      })
    })
    const bytes = seededBytes(3_000_000)
    const { port } = await gatewayTo(t, up.backend)
    const hash = createHash('sha256').update(bytes).digest('hex')
    for (const request of [post('/', bytes), post('/', Array.from({ length: 30 }, (_, i) => bytes.subarray(i * 100_000, (i + 1) * 100_000)) as never)]) {
      const { response } = await rawRequest(port, request)
      t.equal(response.header('x-hash'), hash)
      t.ok(response.body.equals(bytes))
    }
  })

  t.test('HEAD, 204, 304 with a length, an empty answer; the client\'s connection stays usable', async t => {
    const up = await http2Upstream(t, (stream, headers) => {
      const status = Number(String(headers[':path']).slice(1))
      stream.respond({ ':status': status, ...(headers[':method'] === 'HEAD' || status === 304 ? { 'content-length': 5 } : {}) }, { endStream: true })
    })
    const { port } = await gatewayTo(t, up.backend)
    const client = await rawClient(t, port)
    for (const [method, status] of [['HEAD', 200], ['GET', 204], ['GET', 304], ['GET', 200], ['GET', 200]] as const) {
      const response = await client.exchange(requestBytes(method, `/${status}`))
      t.same([response.status, response.text, response.complete], [status, '', true], `${method} ${status}`)
    }
  })

  t.test('a POST without a body says so, a GET may have one', async t => {
    const up = await http2Upstream(t, echo)
    const { url, port } = await gatewayTo(t, up.backend)
    t.match(await (await fetch(url, { method: 'POST' })).json(), { 'content-length': '0', body: '' })
    t.match(JSON.parse((await rawRequest(port, requestBytes('GET', '/', { body: 'hello' }))).response.text), { ':method': 'GET', body: 'hello' })
  })

  t.test('an answer that overtakes the upload reaches the client, and ends the upload', async t => {
    const up = await http2Upstream(t, stream => { stream.respond({ ':status': 413 }); stream.end('too much') })
    const { port } = await gatewayTo(t, up.backend)
    const client = await rawClient(t, port)
    client.send(requestBytes('POST', '/', { headers: { 'Content-Length': '1000000' } }).toString() + 'x'.repeat(1_000))
    const response = await client.response(0)
    t.same([response.status, response.text], [413, 'too much'])
  })

  t.test('a slow reader loses nothing, not even where trailers follow', async t => {
    const bytes = seededBytes(2_000_000)
    const up = await http2Upstream(t, stream => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => { stream.sendTrailers({ 'x-end': 'yes' }) })
      stream.end(bytes)
    })
    const { port } = await gatewayTo(t, up.backend)
    const client = await rawClient(t, port)
    client.socket.pause()
    client.send(get('/', { TE: 'trailers', Connection: 'TE' }))
    await sleep(200)
    client.socket.resume()
    const response = await client.response(0)
    t.ok(response.complete)
    t.ok(response.body.equals(bytes))
    t.same(response.trailers, [['x-end', 'yes']])
  })
})

t.test('trailers, early hints, gRPC', async t => {
  t.test('trailers reach those who take them, and only them', async t => {
    const up = await http2Upstream(t, stream => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => { stream.sendTrailers({ 'x-sum': 'abc', host: 'x' }) })
      stream.end('hello')
    })
    const one = await gatewayTo(t, up.backend)
    const taking = (await rawRequest(one.port, get('/', { TE: 'trailers', Connection: 'TE' }))).response
    t.same([taking.text, taking.trailers], ['hello', [['x-sum', 'abc']]])
    const other = (await rawRequest(one.port, get('/'))).response
    t.same([other.text, other.trailers, other.complete], ['hello', [], true])
    const two = await startHttp2Gateway(t, { backends: { up: up.backend } } as never)
    const answer = await askHttp2(two.open(), { te: 'trailers' })
    t.equal(answer.text, 'hello')
    t.match(answer.trailers, { 'x-sum': 'abc' })
    t.notOk('host' in answer.trailers)
  })

  t.test('103 Early Hints, from and to either version', async t => {
    const hint = { link: '</style.css>; rel=preload; as=style' }
    const newer = await http2Upstream(t, stream => {
      stream.additionalHeaders({ ':status': 103, ...hint })
      stream.respond({ ':status': 200 })
      stream.end('page')
    })
    const older = await httpUpstream(t, (_request, response) => { response.writeEarlyHints(hint, () => { response.end('page') }) })
    for (const [name, backend] of [['HTTP/2', newer.backend], ['HTTP/1.1', { url: older.url }]] as const) {
      const one = await gatewayTo(t, backend)
      const result = await rawRequest(one.port, get('/'))
      t.match(result.informational, [{ startLine: 'HTTP/1.1 103 Early Hints', headers: [[/^link$/i, hint.link]] }], `${name} to HTTP/1.1`)
      t.equal(result.response.text, 'page')
      const two = await startHttp2Gateway(t, { backends: { up: backend } } as never)
      const answer = await askHttp2(two.open())
      t.match(answer.hints, [{ ':status': 103, ...hint }], `${name} to HTTP/2`)
      t.equal(answer.text, 'page')
    }
  })

  t.test('gRPC: messages go both ways while the call runs, and the status comes as a trailer', async t => {
    const up = await http2Upstream(t, (stream, headers) => {
      if (headers['x-fail'] !== undefined) {
        // no message: all of it in the headers
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true })
        return
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'x-te': headers.te }, { waitForTrailers: true })
      stream.on('wantTrailers', () => { stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'done' }) })
      stream.on('data', (piece: Buffer) => { stream.write(`<${piece.toString()}>`) }).on('end', () => { stream.end() })
    })
    const { open } = await startHttp2Gateway(t, { backends: { up: up.backend } } as never, { secure: true })
    const session = open()
    const grpc = { ':method': 'POST', ':path': '/shop.Orders/Watch', 'content-type': 'application/grpc', te: 'trailers' }
    const stream = session.request(grpc)
    const seen: string[] = []
    let trailers: object = {}
    let headers: object = {}
    stream.on('response', fields => { headers = fields }).on('data', piece => { seen.push(String(piece)) }).on('trailers', fields => { trailers = fields })
    for (const message of ['one', 'two', 'three']) {
      stream.write(message)
      t.ok(await waitFor(() => seen.at(-1) === `<${message}>`), `${message} comes back while the call is open`)
    }
    stream.end()
    await new Promise(resolve => { stream.on('close', resolve) })
    t.match(headers, { ':status': 200, 'content-type': 'application/grpc', 'x-te': 'trailers' })
    t.match(trailers, { 'grpc-status': '0', 'grpc-message': 'done' })
    const failed = await askHttp2(session, { ...grpc, 'x-fail': '1' }, '')
    t.match(failed, { status: 200, reset: 0, headers: { 'grpc-status': '5' } })
  })
})

t.test('what breaks in the middle never looks complete', async t => {
  const breaks: Array<[name: string, act: Parameters<typeof frameUpstream>[1]]> = [
    ['a reset with NO_ERROR', (socket, stream) => socket.write(http2Reset(stream, 0))],
    ['a reset with INTERNAL_ERROR', (socket, stream) => socket.write(http2Reset(stream, 2))],
    ['a reset with CANCEL', (socket, stream) => socket.write(http2Reset(stream, 8))],
    ['the end of the connection', socket => socket.end()],
    ['a reset of the connection', socket => socket.resetAndDestroy()],
    ['a GOAWAY with an error', (socket, stream) => { socket.write(http2Goaway(stream, 2)) }],
    ['what is no frame, and then nothing', socket => { socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')) }]
  ]
  for (const [name, act] of breaks) {
    await t.test(name, async t => {
      const up = await frameUpstream(t, (socket, stream, connection) => {
        socket.write(http2Head(stream))
        socket.write(http2Data(stream, 'part'))
        setTimeout(() => { act(socket, stream, connection) }, 20)
      })
      const backend = { ...up.backend, timeout: { headers: 300, idle: 300 } }
      const one = await gatewayTo(t, backend)
      const { response, closed } = await rawRequest(one.port, get('/'), { untilClose: true })
      t.same([response.status, response.text, response.complete, closed], [200, 'part', false, true])
      const two = await startHttp2Gateway(t, { backends: { up: backend } } as never)
      const answer = await askHttp2(two.open())
      t.same([answer.status, answer.text], [200, 'part'])
      t.not(answer.reset, 0)
    })
    await t.test(`${name}, before the answer: an error, and the next request is served`, async t => {
      let broken = false
      const up = await frameUpstream(t, (socket, stream, connection) => {
        if (broken) socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'well', END_STREAM)]))
        else {
          broken = true
          act(socket, stream, connection)
        }
      })
      const { url } = await gatewayTo(t, { ...up.backend, timeout: { headers: 300 } })
      // whoever is silent is waited for, unless Node has noticed what it was (it does from version 24 on)
      t.match(String((await fetch(url)).status), name.endsWith('nothing') ? /50[24]/ : '502')
      t.equal(await (await fetch(url)).text(), 'well')
    })
  }

  t.test('a length that is not kept', async t => {
    const up = await http2Upstream(t, stream => {
      stream.respond({ ':status': 200, 'content-length': 10 })
      stream.end('short')
    })
    const { port } = await gatewayTo(t, up.backend)
    const { response } = await rawRequest(port, get('/'), { untilClose: true })
    t.notOk(response.complete)
  })
})

t.test('connections', async t => {
  t.test('a GOAWAY ends no call that runs, and the next goes out on another connection', async t => {
    const up = await frameUpstream(t, (socket, stream, connection) => {
      socket.write(Buffer.concat([http2Head(stream), http2Data(stream, `${connection}`), http2Goaway(stream, 0)]))
      setTimeout(() => { socket.write(http2Data(stream, 'end', END_STREAM)) }, 50)
    })
    const { url } = await gatewayTo(t, up.backend)
    const first = await fetch(url)
    t.equal(await (await fetch(url)).text(), '1end')
    t.equal(await first.text(), '0end')
    t.equal(up.connections.length, 2)
  })

  t.test('what a GOAWAY leaves out is asked again, on another connection', async t => {
    const up = await frameUpstream(t, (socket, stream, connection) => {
      if (connection === 0) socket.write(http2Goaway(0, 0))
      else socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'well', END_STREAM)]))
    })
    const { url } = await gatewayTo(t, up.backend)
    t.equal(await (await fetch(url, { method: 'POST', body: 'small' })).text(), 'well')
  })

  t.test('a refused stream is asked again, but not for ever', async t => {
    let refusals = 0
    const up = await frameUpstream(t, (socket, stream) => {
      if (refusals++ < 1) socket.write(http2Reset(stream, 7))
      else socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'well', END_STREAM)]))
    })
    const { url } = await gatewayTo(t, up.backend)
    t.equal(await (await fetch(url)).text(), 'well')
    refusals = -100
    t.equal((await fetch(url)).status, 502)
    t.equal(refusals, -97)
  })

  t.test('a client that goes away cancels its stream; others go on, on the same connection', async t => {
    const up = await frameUpstream(t, (socket, stream) => {
      if (stream > 1) socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'well', END_STREAM)]))
      else socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'part')]))
    })
    const { url } = await gatewayTo(t, up.backend)
    const gone = new AbortController()
    await fetch(url, { signal: gone.signal })
    gone.abort()
    t.ok(await waitFor(() => up.resets.length === 1))
    t.same(up.resets, [8])
    t.equal(await (await fetch(url)).text(), 'well')
    t.equal(up.connections.length, 1)
  })

  t.test('an upload that breaks, or is overtaken by its answer, never looks complete', async t => {
    let answer = false
    const up = await frameUpstream(t, (socket, stream) => { if (answer) socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'enough', END_STREAM)])) })
    const { port } = await gatewayTo(t, up.backend)
    const client = await rawClient(t, port)
    client.send(['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', '4\r\npart\r\n'])
    t.ok(await waitFor(() => up.connections.length === 1))
    await sleep(50)
    client.resetAndDestroy()
    t.ok(await waitFor(() => up.resets.length === 1))
    const two = await startHttp2Gateway(t, { backends: { up: up.backend } } as never)
    const stream = two.open().request({ ':method': 'POST', ':path': '/' })
    stream.on('error', () => {}).write('part')
    await sleep(50)
    stream.destroy()
    t.ok(await waitFor(() => up.resets.length === 2))
    answer = true
    const other = await rawClient(t, port)
    other.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart')
    t.equal((await other.response(0)).text, 'enough')
    t.ok(await waitFor(() => up.resets.length === 3))
    t.same([up.ended, up.resets], [[], [8, 8, 8]])
  })

  t.test('one that has fallen silent is left after the first timeout', async t => {
    const up = await frameUpstream(t, (socket, stream, connection) => {
      if (connection > 0) socket.write(Buffer.concat([http2Head(stream), http2Data(stream, 'well', END_STREAM)]))
    })
    const { url } = await gatewayTo(t, { ...up.backend, timeout: { headers: 150 } })
    t.equal((await fetch(url)).status, 504)
    t.equal(await (await fetch(url)).text(), 'well')
    t.equal((await fetch(url, { method: 'POST', body: new ReadableStream({ start (controller) { controller.enqueue(Buffer.from('x')); controller.close() } }), duplex: 'half' } as RequestInit)).status, 200)
  })

  t.test('an upload that is through is given its time for an answer, and no more', async t => {
    const up = await http2Upstream(t, stream => { stream.resume() })
    const { url } = await gatewayTo(t, { ...up.backend, timeout: { headers: 150 } })
    const answer = await fetch(url, { method: 'POST', body: new ReadableStream({ start (controller) { controller.enqueue(Buffer.alloc(100_000)); controller.close() } }), duplex: 'half' } as RequestInit)
    t.equal(answer.status, 504)
  })

  t.test('so is a backend that takes no more of it', async t => {
    const up = await http2Upstream(t, stream => { stream.pause() })
    const { url } = await gatewayTo(t, { ...up.backend, timeout: { headers: 150 } })
    const answer = await fetch(url, { method: 'POST', body: new ReadableStream({ start (controller) { for (let i = 0; i < 20; i++) controller.enqueue(Buffer.alloc(100_000)) } }), duplex: 'half' } as RequestInit)
    t.equal(answer.status, 504)
  })

  t.test('no more streams than the target takes, no more connections than the pool has', async t => {
    let most = 0
    let running = 0
    const up = await http2Upstream(t, stream => {
      most = Math.max(most, ++running)
      setTimeout(() => { running--; stream.respond({ ':status': 200 }); stream.end('ok') }, 20)
    }, { settings: { maxConcurrentStreams: 2 } })
    const { url } = await gatewayTo(t, { ...up.backend, pool: { connections: 2 } })
    t.same(await Promise.all(Array.from({ length: 12 }, async () => await (await fetch(url)).text())), Array.from({ length: 12 }, () => 'ok'))
    t.ok(most <= 4, `${most} at once`)
    t.ok(up.sessions.length <= 2)
  })

  t.test('idle ones are closed after keepAliveTimeout', async t => {
    const up = await http2Upstream(t, echo)
    const { url } = await gatewayTo(t, { ...up.backend, pool: { keepAliveTimeout: 100 } })
    await (await fetch(url)).text()
    t.ok(await waitFor(() => up.sessions[0]!.destroyed))
    t.equal((await fetch(url)).status, 200)
  })

  t.test('an update finishes what runs on the old ones and closes them', async t => {
    const streams: ServerHttp2Stream[] = []
    const up = await http2Upstream(t, stream => {
      streams.push(stream)
      stream.respond({ ':status': 200 })
      stream.write('a')
      if (streams.length > 1) stream.end('b')
    })
    const { url, app } = await gatewayTo(t, up.backend)
    const first = await fetch(url)
    app.reverseproxy.backends.update('up', { ...up.backend, pool: { connections: 5 } })
    t.equal(await (await fetch(url)).text(), 'ab')
    t.equal(up.sessions.length, 2)
    streams[0]!.end('c')
    t.equal(await first.text(), 'ac')
    t.ok(await waitFor(() => up.sessions[0]!.destroyed))
  })

  t.test('closing the gateway waits for what runs and leaves no connection', async t => {
    const up = await http2Upstream(t, stream => { setTimeout(() => { stream.respond({ ':status': 200 }); stream.end('late') }, 100) })
    const { url, app } = await gatewayTo(t, up.backend)
    const answer = fetch(url)
    t.ok(await waitFor(() => up.sessions.length === 1))
    await sleep(20)
    await app.close()
    t.equal(await (await answer).text(), 'late')
    t.ok(await waitFor(() => up.sessions[0]!.destroyed))
  })
})

t.test('a WebSocket goes over HTTP/1.1 to the same target', async t => {
  const server = createSecureServer({ ...SIGNED, allowHTTP1: true }, (request, response) => { response.end(request.httpVersion) })
  server.on('upgrade', (_request: unknown, socket: Socket) => {
    socket.on('error', () => {}).end('HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX-Version: 1.1\r\n\r\nnever')
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const backends = { up: { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: true, tls: { ca: AUTHORITY } } }
  const { port } = await startGateway(t, { backends } as never, app => {
    app.get('/*', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
  })
  t.equal((await rawRequest(port, get('/'))).response.text, '2.0')
  const { response } = await rawRequest(port, get('/', { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }))
  t.same([response.status, response.header('x-version'), response.text], [403, '1.1', 'never'])
})
