/**
 * WIRE-CONTRACT, Bodies: the same bytes both ways, whatever they say they are, in one framing.
 */
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { FIN, METHODS, chunk, chunked, framingLines, get, lastChunk, post, rawClient, rawRequest, requestBytes, respond, seededBytes, seededRandom, startPair, wait } from '../helper.ts'
import type { HeaderLine, Script, Step } from '../helper.ts'
import { OK, checkAlive, checkHealthy, forwarded } from './checks.ts'

const SIZES = [0, 1, 2, 511, 1023, 1024, 1025, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000, 1_048_576]

/** Cuts bytes at places that are the same for the same seed. */
function cut (bytes: Buffer, seed: number, largest: number): Buffer[] {
  const random = seededRandom(seed)
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * largest)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

t.test('a request body arrives byte for byte, in one framing', async t => {
  const pair = await startPair(t, OK)
  const client = await rawClient(t, pair.port)
  for (const size of SIZES) {
    const body = seededBytes(size, size)
    const forms: Array<[string, Step[]]> = [
      ['with a length', [post('/', body)]],
      ['in chunks', [post('/', cut(body, size, 40_000))]],
      ['with a length, in pieces', cut(post('/', body), 7, 50_000)],
      ['in chunks, in pieces', cut(post('/', cut(body, size, 9_000)), 11, 50_000)]
    ]
    for (const [form, steps] of forms) {
      await client.send(steps, ['POST'])
      const response = await client.response(client.responses.length === 0 ? 0 : pair.upstream.requests.length)
      const label = `${size} bytes ${form}`
      t.equal(response.status, 200, `${label}: answered`)
      t.ok(pair.upstream.last.body.equals(body), `${label}: equal`)
      t.ok(framingLines(pair.upstream.last.headers).length <= 1, `${label}: one framing header`)
      t.ok(size === 0 || framingLines(pair.upstream.last.headers).length === 1, `${label}: framed`)
    }
  }
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read everything')
})

t.test('a body with a length keeps its length', async t => {
  const pair = await startPair(t, OK)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS']) {
    for (const size of [1, 1000, 100_000]) {
      const request = await forwarded(t, pair, [`${method} ${size}`, requestBytes(method, '/', { body: Buffer.alloc(size, 120) })])
      t.strictSame(framingLines(request?.headers ?? []).map(([name, value]) => [name.toLowerCase(), value]), [['content-length', String(size)]], `${method} of ${size} bytes`)
    }
  }
})

t.test('every method may carry a body', async t => {
  const pair = await startPair(t, ({ request }) => respond(200, {}, request.method === 'HEAD' ? null : request.body))
  for (const method of METHODS.filter(name => name !== 'HEAD')) {
    for (const body of ['hello', ['hel', 'lo'], Buffer.from([0, 255, 13, 10, 13, 10]), '']) {
      const client = await rawClient(t, pair.port)
      const response = await client.exchange(requestBytes(method, '/', { body }))
      const text = typeof body === 'string' ? body : Buffer.isBuffer(body) ? body.toString('latin1') : body.join('')
      t.strictSame([pair.upstream.last.method, pair.upstream.last.body.toString('latin1'), response.text], [method, text, text], `${method} ${JSON.stringify(body)}: there and back`)
      await checkAlive(t, client, method)
    }
  }
})

t.test('the content type changes nothing about a body', async t => {
  const pair = await startPair(t, ({ request }) => respond(200, request.all('content-type').map((value): HeaderLine => ['Content-Type', value]), request.body))
  const types = [undefined, '', 'application/json', 'application/json; charset=utf-8', 'application/json ; charset=utf-8', 'application/json;charset', 'application/json ; charset', 'APPLICATION/JSON', 'application/JSON;a="b;c"', 'application/vnd.x+json', 'text/plain', 'text/plain; charset=latin1', 'text/html; charset=utf-16', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'multipart/form-data', 'application/octet-stream', 'application/grpc', ';;;', '/', 'a', 'a/b/c', ' ', 'a/b;', 'caf\xe9/x', 'application/json, text/plain', '*/*', 'text/event-stream']
  const bodies = ['{"a": 1,\r\n  "b":2.0, "a":1e400 }', '{broken', '{"__proto__":{"x":1},"constructor":{"prototype":1}}', '123456789012345678901', '\xef\xbb\xbf{}', 'a=b&a=c&%zz=+', '--x\r\n\r\nbroken', '\x00\xff\xfe', ' ', 'null', '']
  for (const type of types) {
    for (const body of bodies) {
      const label = `${String(type)} ${JSON.stringify(body)}`
      const before = pair.upstream.requests.length
      const { response } = await rawRequest(pair.port, post('/', body, type === undefined ? [] : [['Content-Type', type]]))
      const request = pair.upstream.requests[before]
      t.equal(request?.body.toString('latin1'), body, `${label}: arrives`)
      t.equal(response.text, body, `${label}: and comes back`)
      t.strictSame(request?.all('content-type'), type === undefined ? [] : [type.trim()], `${label}: with its type`)
      t.strictSame(response.all('content-type'), type === undefined ? [] : [type.trim()], `${label}: and comes back with it`)
    }
  }
})

t.test('an answer\'s body arrives byte for byte, in one framing', async t => {
  const pair = await startPair(t, OK)
  const client = await rawClient(t, pair.port)
  let n = 0
  for (const size of SIZES) {
    const body = seededBytes(size, size + 1)
    const forms: Array<[string, Script]> = [
      ['with a length', respond(200, {}, body)],
      ['in chunks', chunked(200, {}, cut(body, size, 40_000))],
      ['until the end', [respond(200, {}, null), body, FIN]],
      ['with a length, in pieces', cut(respond(200, {}, body), 5, 60_000)],
      ['in chunks, in pieces', cut(chunked(200, {}, cut(body, size, 9_000)), 13, 60_000)],
      ['head and body apart', [respond(200, { 'Content-Length': String(size) }, null), wait(5), body]]
    ]
    for (const [form, script] of forms) {
      pair.upstream.answer(script)
      await client.send(get('/'))
      const response = await client.response(n++)
      const label = `${size} bytes ${form}`
      t.strictSame([response.status, response.complete], [200, true], `${label}: whole`)
      t.ok(response.body.equals(body), `${label}: equal`)
      t.equal(framingLines(response.headers).length, 1, `${label}: one framing header`)
      if (form.startsWith('with a length')) t.equal(response.header('content-length'), String(size), `${label}: the length is kept`)
    }
  }
  await checkAlive(t, client)
})

t.test('the upstream\'s chunking may take every legal form', async t => {
  const pair = await startPair(t, OK)
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
  const variants: Array<[string, string]> = [
    ['extensions', '5;a=b\r\nhello\r\n0;x\r\n\r\n'], ['quoted extensions', '5;a="b;c"\r\nhello\r\n0\r\n\r\n'], ['upper case', 'A\r\n0123456789\r\n0\r\n\r\n'], ['leading zeros', '00005\r\nhello\r\n0000\r\n\r\n'], ['single bytes', [...'hello'].map(letter => `1\r\n${letter}\r\n`).join('') + '0\r\n\r\n'], ['nothing', '0\r\n\r\n'], ['line ends within', '4\r\n\r\n\r\n\r\n0\r\n\r\n'], ['what looks like the end', '5\r\n0\r\n\r\n\r\n0\r\n\r\n']
  ]
  for (const [name, body] of variants) {
    pair.upstream.answer(head + body)
    const client = await rawClient(t, pair.port)
    const response = await client.exchange(get('/'))
    const expected = ({ 'upper case': '0123456789', nothing: '', 'line ends within': '\r\n\r\n', 'what looks like the end': '0\r\n\r\n' } as Record<string, string>)[name] ?? 'hello'
    t.strictSame([response.status, response.text, response.complete], [200, expected, true], name)
    await checkAlive(t, client, name).catch(() => { t.fail(`${name}: the client connection broke`) })
  }
})

t.test('encoded bodies are not touched', async t => {
  const packed = gzipSync(Buffer.from('{"hello":"world"}'.repeat(50)))
  const pair = await startPair(t, OK)
  for (const encoding of ['gzip', 'br', 'deflate', 'zstd', 'gzip, br', 'identity', 'x-unknown']) {
    for (const body of [packed, packed.subarray(0, 20), Buffer.from('not packed at all'), seededBytes(3000)]) {
      for (const [kind, answer] of [['length', respond(200, { 'Content-Encoding': encoding, 'Content-Type': 'application/json' }, body)], ['chunked', chunked(200, { 'Content-Encoding': encoding }, [body])]] as const) {
        pair.upstream.answer(answer)
        const { response } = await rawRequest(pair.port, post('/', body, { 'Content-Encoding': encoding, 'Content-Type': 'application/json', 'Accept-Encoding': 'gzip' }))
        t.ok(response.body.equals(body) && response.complete, `${encoding}, ${kind}: the answer as it was`)
        t.strictSame(response.all('content-encoding'), [encoding], `${encoding}, ${kind}: and its name`)
        t.ok(pair.upstream.last.body.equals(body), `${encoding}: the request as it was`)
        t.strictSame([pair.upstream.last.all('content-encoding'), pair.upstream.last.all('accept-encoding')], [[encoding], ['gzip']], `${encoding}: and its names`)
      }
    }
  }
})

t.test('ranges and partial answers pass through', async t => {
  const pair = await startPair(t, OK)
  const variants: Array<[string, number, HeaderLine[], string]> = [
    ['bytes=0-4', 206, [['Content-Range', 'bytes 0-4/100'], ['Accept-Ranges', 'bytes']], 'hello'],
    ['bytes=-5', 206, [['Content-Range', 'bytes 95-99/*']], 'world'],
    ['bytes=0-1,5-6', 206, [['Content-Type', 'multipart/byteranges; boundary=x']], '--x\r\nContent-Range: bytes 0-1/9\r\n\r\nhe\r\n--x--\r\n'],
    ['bytes=500-', 416, [['Content-Range', 'bytes */100']], ''],
    ['items=1-2', 200, [], 'all of it'],
    ['nonsense', 200, [['Accept-Ranges', 'none']], 'all of it']
  ]
  for (const [range, status, headers, body] of variants) {
    for (const answer of [respond(status, headers, body), chunked(status, headers, [body])]) {
      pair.upstream.answer(answer)
      const { response } = await rawRequest(pair.port, get('/', { Range: range, 'If-Range': '"x"' }))
      t.strictSame([response.status, response.text, response.complete], [status, body, true], `${range}: the answer`)
      for (const [name, value] of headers) t.strictSame(response.all(name), [value], `${range}: ${name}`)
      t.strictSame([pair.upstream.last.all('range'), pair.upstream.last.all('if-range')], [[range], ['"x"']], `${range}: the question`)
    }
  }
})

t.test('both bodies stream at once', async t => {
  // an upstream that answers every piece as it comes: full duplex over one exchange
  const pair = await startPair(t, async ({ socket, request, play }) => {
    await play('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    let told = 0
    const echo = (): void => {
      if (request.size > told) {
        const news = request.body.subarray(told)
        told = request.size
        socket.write(chunk(news))
      }
      if (request.complete) socket.write(lastChunk())
    }
    echo()
    socket.on('data', echo)
  }, { at: 'head' })
  const client = await rawClient(t, pair.port)
  await client.send(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk('first').toString()}`)
  for (const word of [' second', ' third']) {
    const before = client.raw.length
    const ok = await new Promise<boolean>(resolve => {
      setTimeout(() => { resolve(false) }, 2000).unref()
      const timer = setInterval(() => { if ((client.responses[0]?.text.length ?? 0) >= 5) { clearInterval(timer); resolve(true) } }, 3)
      timer.unref()
    })
    t.ok(ok, `the answer comes while the request is still sent (${before} bytes)`)
    await client.send(chunk(word), [])
  }
  await client.send(lastChunk(), [])
  const response = await client.response(0)
  t.strictSame([response.status, response.text, response.complete], [200, 'first second third', true], 'all of it, in order')
  await checkHealthy(t, { port: pair.port }).catch(() => { t.fail('the gateway is fine afterwards') })
})
