/** HTTP/2 clients in front of HTTP/1.1 backends, with TLS and without. */
import t from 'tap'
import { request as httpsRequest } from 'node:https'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { askHttp2, AUTHORITY, chunked, httpUpstream, rawUpstream, respond, seededBytes, sleep, startHttp2Gateway, waitFor } from '../helper.ts'
import type { Script, TestLike } from '../helper.ts'

async function setUp (t: TestLike, script: Script, secure: boolean, at: 'head' | 'complete' = 'complete') {
  const upstream = await rawUpstream(t, script, { at })
  return { upstream, ...await startHttp2Gateway(t, { backends: { up: upstream.url } }, { secure }) }
}

for (const secure of [false, true]) {
  t.test(secure ? 'https, with HTTP/1.1 beside it' : 'h2c', async t => {
    t.test('pseudo headers become a request line and Host; the answer has nothing of its connection', async t => {
      const { open, upstream, port } = await setUp(t, chunked(200, { Connection: 'close, X-Gone', 'Keep-Alive': 'timeout=3', 'X-Gone': '1', 'X-Kept': '1', 'Proxy-Connection': 'x', Upgrade: 'h2c' }, ['hello']), secure)
      const answer = await askHttp2(open(), { ':path': '/a?b=%2F', 'x-b': 'c', te: 'trailers', cookie: ['a=1', 'b=2'] })
      t.match(answer, { status: 200, text: 'hello', reset: 0, headers: { 'x-kept': '1' } })
      for (const name of ['connection', 'keep-alive', 'x-gone', 'proxy-connection', 'upgrade', 'transfer-encoding']) t.notOk(name in answer.headers, name)
      const { last } = upstream
      t.equal(last.head.split('\r\n')[0], 'GET /a?b=%2F HTTP/1.1')
      t.same([last.all('host'), last.all('cookie'), last.all('x-forwarded-host'), last.all('x-forwarded-proto')], [[`127.0.0.1:${upstream.port}`], ['a=1; b=2'], [`localhost:${port}`], [secure ? 'https' : 'http']])
      t.match(last.header('via'), /^2\.0 /)
      t.notOk(last.headers.some(([name]) => name.startsWith(':')))
    })

    t.test('HEAD, 204 and 304 have no body', async t => {
      const { open, upstream } = await setUp(t, '', secure)
      const session = open()
      for (const [method, answer, status] of [
        ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 200],
        ['GET', 'HTTP/1.1 204 No Content\r\n\r\n', 204],
        ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n', 304],
        ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200]
      ] as const) {
        upstream.answer(answer)
        t.match(await askHttp2(session, { ':method': method }), { status, text: '', reset: 0 }, `${method} ${status}`)
      }
    })

    t.test('uploads with a length, without one, and empty', async t => {
      const { open, upstream } = await setUp(t, respond(200, {}, 'ok'), secure)
      const session = open()
      const bytes = seededBytes(500_000)
      t.equal((await askHttp2(session, { ':method': 'POST', 'content-length': bytes.length }, bytes)).text, 'ok')
      t.ok(upstream.last.body.equals(bytes))
      t.same([upstream.last.all('content-length'), upstream.last.all('transfer-encoding')], [[String(bytes.length)], []])
      t.equal((await askHttp2(session, { ':method': 'PUT' }, ['one', 'two'])).text, 'ok')
      t.same([upstream.last.body.toString(), upstream.last.all('content-length'), upstream.last.all('transfer-encoding')], ['onetwo', [], ['chunked']])
      t.equal((await askHttp2(session, { ':method': 'POST' })).text, 'ok')
      t.same([upstream.last.body.length, upstream.last.all('transfer-encoding')], [0, []])
    })

    t.test('large answers are the same, for many streams of one connection', async t => {
      const bytes = seededBytes(300_000)
      const { open } = await setUp(t, respond(200, {}, bytes), secure)
      const session = open()
      const answers = await Promise.all(Array.from({ length: 10 }, () => askHttp2(session)))
      t.ok(answers.every(({ body, reset }) => body.equals(bytes) && reset === 0))
    })

    t.test('trailers for those who ask for them', async t => {
      const { open } = await setUp(t, chunked(200, {}, ['hello'], { 'X-T': 'v', Host: 'x' }), secure)
      const session = open()
      const asked = await askHttp2(session, { te: 'trailers' })
      t.equal(asked.text, 'hello')
      t.match(asked.trailers, { 'x-t': 'v' })
      t.same(Object.keys(asked.trailers), ['x-t'])
      const other = await askHttp2(session)
      t.match(other, { text: 'hello', reset: 0 })
      t.same(Object.keys(other.trailers), [])
    })

    t.test('a client that resets its stream ends the call at the backend within a second; its other streams go on', async t => {
      const { open, upstream } = await setUp(t, ({ request }) => request.target === '/x' ? 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart' : respond(200, {}, 'well'), secure)
      const session = open()
      const stream = session.request({ ':path': '/x' })
      stream.on('error', () => {})
      await once(stream, 'data')
      stream.close(8)
      t.ok(await upstream.dropped(undefined, 1_000))
      t.equal((await askHttp2(session, { ':path': '/y' })).text, 'well')
    })

    t.test('a client that resets in the middle of its upload does the same, and the upload never looks complete', async t => {
      for (const code of [undefined, new Error('torn')]) {
        const { open, upstream } = await setUp(t, [], secure, 'head')
        const stream = open().request({ ':path': '/x', ':method': 'POST' })
        stream.on('error', () => {})
        stream.write('part')
        t.ok(await waitFor(() => upstream.requests[0]?.size === 4))
        // `close` would end the upload properly before
        stream.destroy(code)
        t.ok(await upstream.dropped(undefined, 1_000))
        t.equal(upstream.last.complete, false)
      }
    })

    t.test('nor is what was torn kept for another try', async t => {
      const upstream = await rawUpstream(t, respond(200, {}, 'ok'))
      const { open } = await startHttp2Gateway(t, { backends: { up: upstream.url }, retry: { attempts: 2, methods: ['POST'] } } as never, { secure })
      const session = open()
      const stream = session.request({ ':path': '/x', ':method': 'POST' })
      stream.on('error', () => {})
      stream.write('part')
      await sleep(50)
      stream.destroy()
      t.equal((await askHttp2(session, { ':method': 'POST' }, 'whole')).text, 'ok')
      await sleep(50)
      t.same(upstream.requests.map(({ body }) => body.toString()), ['whole'])
    })

    t.test('a connection that goes away ends all its calls', async t => {
      const { open, upstream } = await setUp(t, [], secure)
      const session = open()
      for (let i = 0; i < 5; i++) session.request({ ':path': '/x' }).on('error', () => {})
      t.ok(await waitFor(() => upstream.requests.length === 5))
      session.destroy()
      t.ok(await upstream.dropped(undefined, 1_000))
    })

    t.test('an answer that overtakes the upload', async t => {
      const { open } = await setUp(t, respond(413, {}, 'too much'), secure, 'head')
      const stream = open().request({ ':path': '/x', ':method': 'POST' })
      stream.on('error', () => {}).write('x'.repeat(1_000))
      const [headers] = await once(stream, 'response') as [Record<string, unknown>]
      t.equal(headers[':status'], 413)
      let text = ''
      for await (const piece of stream) text += String(piece)
      t.equal(text, 'too much')
    })

    t.test('errors of ours are answers like all others', async t => {
      const { open } = await startHttp2Gateway(t, { backends: { up: 'http://127.0.0.1:1' } }, { secure })
      const answer = await askHttp2(open())
      t.equal(answer.status, 502)
      t.match(JSON.parse(answer.text), { code: 'RP_ERR_CONNECT' })
    })

    t.test('GOAWAY at the end: what runs is finished', async t => {
      const up = await httpUpstream(t, (_request, response) => { setTimeout(() => response.end('late'), 100) })
      const { open, app } = await startHttp2Gateway(t, { backends: { up: up.url } }, { secure })
      const session = open()
      const said = once(session, 'goaway')
      const answer = askHttp2(session)
      await new Promise(resolve => { up.server.once('request', resolve) })
      const closed = app.close()
      t.equal((await said)[0], 0)
      t.match(await answer, { text: 'late', reset: 0 })
      await closed
    })
  })
}

t.test('HTTP/1.1 clients on the same port', async t => {
  const { port, upstream } = await setUp(t, chunked(200, { 'X-A': '1' }, ['hello']), true)
  const asking = httpsRequest({ port, host: '127.0.0.1', servername: 'localhost', ca: AUTHORITY, method: 'POST', path: '/x', agent: false })
  asking.end('body')
  const [response] = await once(asking, 'response') as [IncomingMessage]
  let text = ''
  for await (const piece of response) text += String(piece)
  t.same([response.httpVersion, response.headers['x-a'], text, upstream.last.body.toString()], ['1.1', '1', 'hello', 'body'])
  t.match(upstream.last.header('via'), /^1\.1 /)
})
