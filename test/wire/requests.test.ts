/**
 * WIRE-CONTRACT, Requests: what is malformed or ambiguous is refused before the upstream sees a byte; limits; bodies
 * never become requests; twins; Expect.
 */
import t from 'tap'
import { chunk, get, lastChunk, post, rawClient, rawRequest, requestBytes, respond, sleep, startPair, wait, waitFor } from '../helper.ts'
import type { HeaderLine } from '../helper.ts'
import { OK, checkAlive, checkAllRefused, checkHalvesDropped, checkHealthy, checkRefused, forwarded, pick, seen } from './checks.ts'
import type { Variant } from './checks.ts'

const HOST = 'Host: gateway.example\r\n'
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: gateway.example\r\n\r\n'

/** A POST whose header lines are written out. */
function raw (lines: string, body = '', start = 'POST /x HTTP/1.1'): string {
  return `${start}\r\n${HOST}${lines}\r\n${body}`
}

// ---------------------------------------------------------------- framing

t.test('malformed or ambiguous lengths are refused', async t => {
  const pair = await startPair(t, OK)
  const values = ['+5', '-5', '5.0', '0x5', '5 5', '5,5', '5, 5', '5;', '1e1', 'five', '', ' ', '5a', '\xb5', '99999999999999999999999', '18446744073709551621']
  await checkAllRefused(t, pair, [
    ...values.map((value): Variant => [`Content-Length: ${JSON.stringify(value)}`, raw(`Content-Length: ${value}\r\n`, 'hello')]),
    ['two different lengths', raw('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello')],
    ['two equal lengths', raw('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')],
    ['two lengths far apart, other case', raw('Content-Length: 5\r\nX-A: b\r\ncontent-LENGTH: 0\r\n', 'hello')],
    ['both headers, length first', raw('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['both headers, coding first', raw('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n')],
    ['both headers, length 0', raw('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['both headers on a GET', raw('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`, 'GET / HTTP/1.1')],
    ['both headers, unknown coding', raw('Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n', 'hello')]
  ], [400, 501])
})

t.test('any transfer coding but plain chunked is refused', async t => {
  const pair = await startPair(t, OK)
  const codings = ['gzip, chunked', 'chunked, gzip', 'chunked, chunked', 'identity', 'gzip', 'xchunked', 'chunkedx', 'chunked;q=1', '"chunked"', 'chun ked', 'identity, chunked', 'deflate', ', chunked', 'chunked,', '\x0bchunked', 'chunked\x0b', 'trailers', '', 'chunked\xa0', 'cow']
  await checkAllRefused(t, pair, [
    ...codings.map((coding): Variant => [`Transfer-Encoding: ${JSON.stringify(coding)}`, raw(`Transfer-Encoding: ${coding}\r\n`, '5\r\nhello\r\n0\r\n\r\n')]),
    ['repeated coding', raw('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['gzip then chunked on two lines', raw('Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['chunked then identity on two lines', raw('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', '0\r\n\r\n')],
    ['a coding on HTTP/1.0', raw('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n', 'POST /x HTTP/1.0')],
    ['space before the colon', raw('Transfer-Encoding : chunked\r\n', '0\r\n\r\n')],
    ['on a GET', raw('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n', 'GET /x HTTP/1.1')]
  ], [400, 501])
})

t.test('bad chunks at the start of a body are refused and nothing is forwarded', async t => {
  const pair = await startPair(t, OK)
  await checkHealthy(t, pair)                    // a warm upstream connection, which makes forwarding too early easy
  const sizes = ['0x5', '-5', '+5', ' 5', 'G', '', '5_0', 'fffffffffffffffff', '10000000000000005', '5\t\x00', '\x005', '5\xa0', '5,', "5'", '5.0']
  await checkAllRefused(t, pair, [
    ...sizes.map((size): Variant => [`chunk size ${JSON.stringify(size)}`, raw('Transfer-Encoding: chunked\r\n', `${size}\r\nhello\r\n0\r\n\r\n`)]),
    ['chunk size ended by a bare LF', raw('Transfer-Encoding: chunked\r\n', '5\nhello\r\n0\r\n\r\n')],
    ['chunk size ended by a bare CR', raw('Transfer-Encoding: chunked\r\n', '5\rhello\r\n0\r\n\r\n')],
    ['bare LF within a chunk extension', raw('Transfer-Encoding: chunked\r\n', '5;a\nb\r\nhello\r\n0\r\n\r\n')],
    ['bare CR within a chunk extension', raw('Transfer-Encoding: chunked\r\n', '5;a\rb\r\nhello\r\n0\r\n\r\n')],
    ['NUL within a chunk extension', raw('Transfer-Encoding: chunked\r\n', '5;a\x00b\r\nhello\r\n0\r\n\r\n')]
  ], [400, 413])
})

t.test('bad chunks further on end the client connection and the upstream gets no complete request', async t => {
  const pair = await startPair(t, OK)
  const bodies: Array<[string, string]> = [
    ['a chunk longer than its size', '5\r\nhelloX\r\n0\r\n\r\n'],
    ['a chunk without its line end', '5\r\nhello0\r\n\r\n'],
    ['a chunk ended by a bare LF', '5\r\nhello\n0\r\n\r\n'],
    ['a chunk ended by a bare CR', '5\r\nhello\r0\r\n\r\n'],
    ['a bad second size', '5\r\nhello\r\nzz\r\n0\r\n\r\n'],
    ['a negative second size', '5\r\nhello\r\n-1\r\n0\r\n\r\n'],
    ['a huge second size', '5\r\nhello\r\nfffffffffffffffff\r\nx'],
    ['a trailer without a colon', '5\r\nhello\r\n0\r\nnocolon\r\n\r\n'],
    ['a trailer with a bad name', '5\r\nhello\r\n0\r\nbad name: x\r\n\r\n'],
    ['a trailer with NUL', '5\r\nhello\r\n0\r\nx: a\x00b\r\n\r\n'],
    ['a trailer with a bare CR', '5\r\nhello\r\n0\r\nx: a\rb\r\n\r\n']
  ]
  for (const [name, body] of bodies) {
    for (const split of [false, true]) {
      const before = pair.upstream.requests.length
      const head = raw('Transfer-Encoding: chunked\r\n')
      const result = await rawRequest(pair.port, split ? [head + body.slice(0, 10), wait(15), body.slice(10)] : head + body, { untilClose: true, ms: 2500 })
      const label = `${name}${split ? ', in two pieces' : ''}`
      t.ok(result.closed, `${label}: the connection closes`)
      t.ok(result.status === 0 || (result.status >= 400 && result.status < 500), `${label}: no success`, { found: result.status })
      t.notOk(pair.upstream.requests.slice(before).some(request => request.complete), `${label}: never a complete request`)
    }
  }
  await checkHalvesDropped(t, pair, 'the half requests')
  await checkHealthy(t, pair)
})

t.test('malformed header blocks are refused', async t => {
  const pair = await startPair(t, OK)
  const lines = [
    'X-Folded: a\r\n b\r\n', 'X-Folded: a\r\n\tb\r\n', 'X-Folded:\r\n b\r\n', ' X-First: folded\r\n',
    'X-Cr: a\rb\r\n', 'X-Cr: a\r\r\n', 'X-Lf: a\nb\r\n', 'X-Lf: a\nX-Smuggled: b\r\n', 'X-Lf: a\n',
    'X-Nul: a\x00b\r\n', 'X-Nul\x00: a\r\n', 'X-Ctl: a\x01b\r\n', 'X-Ctl: a\x7fb\r\n', 'X-Esc: \x1b[0m\r\n',
    'X-Space : a\r\n', 'X-Tab\t: a\r\n', ' : a\r\n', ': a\r\n', 'No-Colon\r\n', 'X Y: a\r\n',
    'X(: a\r\n', 'X@Y: a\r\n', 'X[Y]: a\r\n', 'X{: a\r\n', 'X"Y: a\r\n', 'X,Y: a\r\n', 'X/Y: a\r\n', 'X;Y: a\r\n', 'X=Y: a\r\n', 'X?Y: a\r\n', 'X\\Y: a\r\n', 'X\xe9: a\r\n', 'Content-Length\x0b: 5\r\n',
    'Content-Length : 5\r\n', 'Content-Length\n: 5\r\n', '\x00\r\n'
  ]
  await checkAllRefused(t, pair, lines.map((line): Variant => [JSON.stringify(line), raw(line, '', 'GET /x HTTP/1.1')]), [400])
})

t.test('lines ended by a bare LF are refused', async t => {
  const pair = await startPair(t, OK)
  await checkAllRefused(t, pair, [
    ['the whole head', 'GET /x HTTP/1.1\nHost: gateway.example\n\n'],
    ['the request line', 'GET /x HTTP/1.1\nHost: gateway.example\r\n\r\n'],
    ['the last header line', 'GET /x HTTP/1.1\r\nHost: gateway.example\n\r\n'],
    ['the empty line', 'GET /x HTTP/1.1\r\nHost: gateway.example\r\n\n'],
    ['a line that hides a length', `POST /x HTTP/1.1\r\n${HOST}X: a\nContent-Length: 50\r\n\r\n${SMUGGLED}`]
  ], [400, 505])            // Node takes "HTTP/1.1\n" for a version
})

t.test('malformed request lines and unknown versions are refused', async t => {
  const pair = await startPair(t, OK)
  const line = (start: string): Variant => [JSON.stringify(start), `${start}\r\n${HOST}\r\n`]
  await checkAllRefused(t, pair, [
    'G@T / HTTP/1.1', 'get / HTTP/1.1', 'GeT / HTTP/1.1', 'BREW / HTTP/1.1', 'G\x00T / HTTP/1.1', 'GET', 'GET /', 'GET / HTTP', 'GET / HTTP/', 'GET / HTTP/1', 'GET / HTTP/1.', 'GET / HTTP/x.y',
    'GET / HTTP/1.1 x', 'GET / HTTP/1.10', 'GET / HTTP/01.1', 'GET / http/1.1', 'GET / HTTPS/1.1', 'GET / ICY/1.1', 'GET  HTTP/1.1', 'GET /a b HTTP/1.1', 'GET /a\tb HTTP/1.1', 'GET /a\x00b HTTP/1.1', 'GET\t/ HTTP/1.1', ' GET / HTTP/1.1',
    'GET / HTTP/2.0', 'GET / HTTP/3.0', 'GET / HTTP/0.9', 'GET / HTTP/1.2', 'GET / HTTP/9.9', 'GET / HTTP/1.1\rX', 'GET x HTTP/1.1', 'GET ?a HTTP/1.1', 'GET HTTP/1.1', 'HTTP/1.1 200 OK', '\x16\x03\x01\x02\x00\x01'
  ].map(line).concat([
    ['HTTP/0.9', 'GET /\r\n\r\n'],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['garbage', 'hello world\r\n\r\n']
  ]), [400, 501, 505])
})

t.test('legal variants of framing are not refused', async t => {
  const pair = await startPair(t, OK)
  const variants: Array<[string, string, string]> = [
    ['chunked in other case', raw('Transfer-Encoding: Chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'), 'hello'],
    ['white space before chunked', raw('Transfer-Encoding: \t chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'), 'hello'],
    ['no white space', raw('Transfer-Encoding:chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'), 'hello'],
    ['chunk extensions', raw('Transfer-Encoding: chunked\r\n', '5;a=b;c="d"\r\nhello\r\n0;z\r\n\r\n'), 'hello'],
    ['hexadecimal sizes, leading zeros', raw('Transfer-Encoding: chunked\r\n', '000A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n'), '01234567890123456789'],
    ['trailers', raw('Transfer-Encoding: chunked\r\nTrailer: X-T\r\n', '5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n'), 'hello'],
    ['an empty chunked body', raw('Transfer-Encoding: chunked\r\n', '0\r\n\r\n'), ''],
    ['length with leading zeros', raw('Content-Length: 0005\r\n', 'hello'), 'hello'],
    ['length 0', raw('Content-Length: 0\r\n'), ''],
    ['an empty line before the request', '\r\n' + raw('Content-Length: 5\r\n', 'hello'), 'hello'],
    ['a POST without any body', raw(''), '']
  ]
  for (const [name, bytes, body] of variants) {
    const request = await forwarded(t, pair, [name, bytes])
    t.equal(request?.body.toString('latin1'), body, `${name}: the body arrives`)
    t.strictSame(pair.upstream.malformed, [], `${name}: the upstream can read it`)
  }
})

// ---------------------------------------------------------------- host, targets

t.test('a missing, repeated or malformed Host is refused', async t => {
  const pair = await startPair(t, OK)
  const values = ['a b', 'a/b', 'a,b', 'a@b', 'user:pw@a', 'a:port', 'a:80:80', 'a:99999', 'a:-1', '[::1', '::1', '[::1]x', '[g::1]', 'a?b', 'a#b', 'a\\b', 'a%', 'a%00', 'http://a', '\xe9', 'a"b', '<a>', '', ':80', 'a, a']
  const hosted = (lines: string): string => `GET /x HTTP/1.1\r\n${lines}\r\n`
  await checkAllRefused(t, pair, [
    ['missing', hosted('')],
    ['missing on a POST', 'POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi'],
    ['twice the same', hosted('Host: a.example\r\nHost: a.example\r\n')],
    ['two different', hosted('Host: a.example\r\nHost: b.example\r\n')],
    ['two in other case, apart', hosted('host: a.example\r\nX: y\r\nHOST: b.example\r\n')],
    ['second one empty', hosted('Host: a.example\r\nHost:\r\n')],
    ['two on HTTP/1.0', 'GET /x HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n\r\n'],
    ['two with an absolute target', 'GET http://c.example/x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n'],
    ['missing with an absolute target', 'GET http://c.example/x HTTP/1.1\r\n\r\n'],
    ...values.map((value): Variant => [JSON.stringify(value), hosted(`Host: ${value}\r\n`)])
  ], [400], { closes: false })
})

t.test('every legal Host is served', async t => {
  const pair = await startPair(t, OK, { backend: { host: 'preserve' } })
  for (const value of ['a.example', 'A.Example', 'a.example:8080', '127.0.0.1', '127.0.0.1:1', '[::1]', '[::1]:8080', 'a_b.example', 'xn--bcher-kva.example', 'localhost', 'a.example.', 'a-b', '1']) {
    const request = await forwarded(t, pair, [`Host: ${value}`, requestBytes('GET', '/', { host: value })])
    t.strictSame(request?.all('host'), [value], `Host: ${value} is preserved`)
  }
  await forwarded(t, pair, ['HTTP/1.0 without Host', 'GET / HTTP/1.0\r\n\r\n'])
})

t.test('the authority of an absolute target wins over Host', async t => {
  const pair = await startPair(t, OK, { backend: { host: 'preserve' } })
  const variants: Array<[target: string, host: string, path: string]> = [
    ['http://other.example/path?x=1', 'other.example', '/path?x=1'],
    ['http://other.example:8080/', 'other.example:8080', '/'],
    ['http://other.example', 'other.example', '/'],
    ['http://other.example?x=1', 'other.example', '/?x=1'],
    ['HTTP://other.example/a', 'other.example', '/a'],
    ['http://[::1]:81/a', '[::1]:81', '/a'],
    ['http://other.example//a//b', 'other.example', '//a//b'],
    ['http://other.example/a?u=http://third.example/', 'other.example', '/a?u=http://third.example/'],
    ['http://other.example/http://third.example/', 'other.example', '/http://third.example/']
  ]
  for (const [target, host, path] of variants) {
    const request = await forwarded(t, pair, [target, get(target)])
    t.equal(request?.target, path, `${target}: only the path goes on`)
    t.strictSame(request?.all('host'), [host], `${target}: its authority is the host`)
    t.equal(request?.header('x-forwarded-host'), host, `${target}: and the forwarded host`)
  }
})

t.test('malformed absolute targets are refused', async t => {
  const pair = await startPair(t, OK)
  const targets = ['http:///x', 'http://', 'http://user@other.example/', 'http://user:pw@other.example/', 'http://other.example:port/', 'http://other.example:99999/', 'http://a b/', 'http://[::1/', 'http://other.example/#f', 'http://other.example/../x', 'http://other.example\\x', 'ftp://other.example/', 'file:///etc/passwd', 'http:/x', 'http:x', 'javascript:alert(1)', 'gateway.example:80', 'gateway.example/x']
  await checkAllRefused(t, pair, targets.map((target): Variant => [target, get(target)]), [400, 404, 421], { closes: false })
})

t.test('CONNECT, authority targets and TRACE are refused', async t => {
  const pair = await startPair(t, OK)
  const refusals = [400, 403, 404, 405, 501]
  await checkAllRefused(t, pair, [
    ['CONNECT', requestBytes('CONNECT', 'gateway.example:80')],
    ['CONNECT to the upstream', requestBytes('CONNECT', `127.0.0.1:${pair.upstream.port}`)],
    ['CONNECT and bytes for the tunnel', [requestBytes('CONNECT', `127.0.0.1:${pair.upstream.port}`), get('/')]],
    ['CONNECT /', requestBytes('CONNECT', '/')],
    ['CONNECT with a URI', requestBytes('CONNECT', `http://127.0.0.1:${pair.upstream.port}/`)]
  ], refusals)
  await checkAllRefused(t, pair, [
    ['GET with an authority', get('gateway.example:80')],
    ['POST with an authority', post('127.0.0.1:80', 'hi')],
    ['TRACE', requestBytes('TRACE', '/')],
    ['TRACE with Max-Forwards', requestBytes('TRACE', '/', { headers: { 'Max-Forwards': '0' } })],
    ['TRACE with a body', requestBytes('TRACE', '/', { body: 'hi' })],
    ['TRACE *', requestBytes('TRACE', '*')],
    ['GET *', requestBytes('GET', '*')]
  ], refusals, { closes: false })
})

t.test('OPTIONS * is never a server error', async t => {
  const pair = await startPair(t, OK)
  for (const headers of [{}, { 'Max-Forwards': '0' }, { 'Max-Forwards': '3' }, { Connection: 'close' }]) {
    const { status } = await rawRequest(pair.port, requestBytes('OPTIONS', '*', { headers }))
    t.ok(status >= 200 && status < 500, `OPTIONS * with ${JSON.stringify(headers)}`, { found: status })
  }
})

t.test('Max-Forwards is honoured on OPTIONS and left alone elsewhere', async t => {
  const pair = await startPair(t, OK)
  const before = pair.upstream.bytes
  const client = await rawClient(t, pair.port)
  const response = await client.exchange(requestBytes('OPTIONS', '/x', { headers: { 'Max-Forwards': '0' } }))
  t.ok([200, 204].includes(response.status), 'at 0 the gateway answers itself', { found: response.status })
  t.equal(pair.upstream.bytes, before, 'at 0 the upstream sees nothing')
  await checkAlive(t, client, 'after Max-Forwards: 0')
  for (const [sent, arrives] of [['1', '0'], ['5', '4'], ['10', '9'], ['1000', '999']] as const) {
    const request = await forwarded(t, pair, [`OPTIONS with ${sent}`, requestBytes('OPTIONS', '/x', { headers: { 'Max-Forwards': sent } })])
    t.strictSame(request?.all('max-forwards'), [arrives], `OPTIONS: ${sent} becomes ${arrives}`)
  }
  const request = await forwarded(t, pair, ['GET with 0', get('/x', { 'Max-Forwards': '0' })])
  t.strictSame(request?.all('max-forwards'), ['0'], 'GET: unchanged')
})

// ---------------------------------------------------------------- limits

t.test('a header block over the limit is a 431', async t => {
  const pair = await startPair(t, OK)
  await checkAllRefused(t, pair, [
    ['one long value', get('/', { 'X-Long': 'a'.repeat(300_000) })],
    ['one long name', get('/', { ['X-' + 'a'.repeat(300_000)]: '1' })],
    ['many lines', get('/', Array.from({ length: 900 }, (_, n): HeaderLine => [`X-${n}`, 'a'.repeat(300)]))],
    ['without an end', 'GET / HTTP/1.1\r\nHost: a\r\nX: ' + 'a'.repeat(300_000)]
  ], [431])
})

t.test('the number of header fields is limited and never silently cut', async t => {
  for (const limit of [undefined, 20]) {
    const count = limit ?? 1000
    const pair = await startPair(t, OK, { gateway: limit === undefined ? {} : { limits: { headerCount: limit } } })
    // Host is one of them
    const lines = (n: number): HeaderLine[] => Array.from({ length: n - 1 }, (_, at): HeaderLine => [`x${at}`, String(at)])
    for (const n of [count - 1, count]) {
      const sent = lines(n)
      const request = await forwarded(t, pair, [`${n} of ${count}`, get('/', sent)])
      t.strictSame(pick(request?.headers ?? [], new Set(sent.map(([name]) => name))), sent, `${n} of ${count}: every line arrives`)
    }
    const tooMany = count === 20 ? [21, 22, 100, 1500, 2500] : [1001, 1002, 2000, 2001, 2500]
    for (const n of tooMany) await checkRefused(t, pair, [`${n} of ${count}`, get('/', lines(n))], [431], { closes: false })
    // the last line, past what Node keeps by default, must not go unseen
    await checkRefused(t, pair, [`a length behind ${count} lines`, get('/', [...lines(count + 1200), ['Authorization', 'a'], ['Authorization', 'b']])], [431, 400], { closes: false })
    await checkHealthy(t, pair)
  }
})

t.test('a target over the limit is a 414 or 431', async t => {
  const small = await startPair(t, OK, { gateway: { limits: { target: '1kb' } } })
  for (const [name, target] of [['path', '/' + 'a'.repeat(1023)], ['query', '/?' + 'a'.repeat(1022)]] as const) {
    const request = await forwarded(t, small, [`${name} of exactly 1 KB`, get(target)])
    t.equal(request?.target, target, `${name} of exactly 1 KB: unchanged`)
  }
  await checkAllRefused(t, small, [
    ['path of 1 KB + 1', get('/' + 'a'.repeat(1024))],
    ['query of 1 KB + 1', get('/?' + 'a'.repeat(1023))],
    ['20 KB', get('/' + 'a'.repeat(20_000))],
    ['100 KB', get('/' + 'a'.repeat(100_000))]
  ], [414, 431], { closes: false })
  const normal = await startPair(t, OK)
  const target = '/' + 'a'.repeat(8000)
  t.equal((await forwarded(t, normal, ['8 KB by default', get(target)]))?.target, target, '8 KB pass by default')
  await checkAllRefused(t, normal, [['17 KB by default', get('/' + 'a'.repeat(17_000))], ['300 KB by default', get('/' + 'a'.repeat(300_000))]], [414, 431], { closes: false })
})

t.test('a body over the limit is a 413 before the upstream sees anything', async t => {
  const pair = await startPair(t, OK, { gateway: { limits: { body: '1kb' } } })
  for (const size of [0, 1, 1023, 1024]) {
    const request = await forwarded(t, pair, [`${size} bytes`, post('/', Buffer.alloc(size, 97))])
    t.equal(request?.size, size, `${size} bytes: all arrive`)
  }
  t.equal((await forwarded(t, pair, ['1024 bytes in chunks', post('/', ['a'.repeat(1000), 'a'.repeat(24)])]))?.size, 1024, '1024 bytes in chunks: all arrive')
  await checkAllRefused(t, pair, [
    ['1025 bytes', post('/', Buffer.alloc(1025))],
    ['1 MB', post('/', Buffer.alloc(1_000_000))],
    ['only the head', requestBytes('POST', '/', { headers: { 'Content-Length': '5000000000' } })],
    ['a PUT', requestBytes('PUT', '/', { body: Buffer.alloc(2000) })],
    ['a DELETE', requestBytes('DELETE', '/', { body: Buffer.alloc(2000) })],
    ['a GET', requestBytes('GET', '/', { body: Buffer.alloc(2000) })]
  ], [413], { closes: false })
})

t.test('a body without length over the limit is a 413 and the upstream gets no complete request', async t => {
  const pair = await startPair(t, OK, { gateway: { limits: { body: '1kb' } } })
  const long = ['a'.repeat(600), 'a'.repeat(600), 'a'.repeat(600)]
  const variants: Array<[string, Parameters<typeof rawRequest>[1]]> = [
    ['at once', post('/', long)],
    ['piece by piece', [raw('Transfer-Encoding: chunked\r\n'), ...long.flatMap(piece => [chunk(piece), wait(15)]), lastChunk()]],
    ['never ending', [raw('Transfer-Encoding: chunked\r\n'), chunk('a'.repeat(600)), wait(15), chunk('a'.repeat(600))]]
  ]
  for (const [name, steps] of variants) {
    const before = pair.upstream.requests.length
    const result = await rawRequest(pair.port, steps, { ms: 3000 })
    t.equal(result.status, 413, `${name}: 413`)
    await checkHalvesDropped(t, pair, name)
    t.notOk(pair.upstream.requests.slice(before).some(request => request.complete), `${name}: no complete request`)
    await checkHealthy(t, pair)
  }
})

// ---------------------------------------------------------------- bodies are not requests, pipelining

t.test('a body never becomes a second request', async t => {
  const pair = await startPair(t, OK)
  const variants: Variant[] = [
    ...['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS'].map((method): Variant => [`${method} with a length`, requestBytes(method, '/a', { body: SMUGGLED })]),
    ...['POST', 'DELETE', 'GET'].map((method): Variant => [`${method} in chunks`, requestBytes(method, '/a', { body: [SMUGGLED, SMUGGLED] })]),
    ['split in the body', [raw(`Content-Length: ${SMUGGLED.length}\r\n`), wait(10), SMUGGLED]],
    ['split in the head', ['POST /a HT', wait(10), `TP/1.1\r\n${HOST}Content-Length: ${SMUGGLED.length}\r\n\r`, wait(10), `\n${SMUGGLED}`]],
    ['HTTP/1.0', requestBytes('POST', '/a', { version: '1.0', body: SMUGGLED })]
  ]
  for (const variant of variants) {
    const request = await forwarded(t, pair, variant)
    t.ok(request?.body.toString('latin1').startsWith(SMUGGLED), `${variant[0]}: it arrives as a body`)
    t.strictSame(pair.upstream.malformed, [], `${variant[0]}: the upstream can read it`)
  }
  t.notOk(pair.upstream.requests.some(request => request.target === '/smuggled'), 'no smuggled request')
})

t.test('a HEAD with a body is framed right', async t => {
  const pair = await startPair(t, ({ request }) => request.method === 'HEAD' ? respond(200, { 'Content-Length': '10' }, null) : OK)
  const client = await rawClient(t, pair.port)
  t.equal((await client.exchange(requestBytes('HEAD', '/a', { body: SMUGGLED }))).status, 200, 'answered')
  await checkAlive(t, client)
  t.notOk(pair.upstream.requests.some(request => request.target === '/smuggled'), 'no smuggled request')
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read it')
})

t.test('the body of a refused request never becomes a request', async t => {
  const pair = await startPair(t, OK, { gateway: { limits: { body: 40 } } })
  const variants: Variant[] = [
    ['413', post('/', SMUGGLED)],
    ['417', post('/', SMUGGLED, { Expect: 'magic' })],
    ['a climbing path', post('/../x', SMUGGLED)],
    ['a repeated field', post('/', SMUGGLED, [['Authorization', 'a'], ['Authorization', 'b']])],
    ['a bad host', requestBytes('POST', '/', { host: 'a b', body: SMUGGLED })],
    ['TRACE', requestBytes('TRACE', '/', { body: SMUGGLED })],
    ['413 in chunks', post('/', [SMUGGLED, SMUGGLED])],
    ['501', raw('Transfer-Encoding: gzip, chunked\r\n', SMUGGLED)]
  ]
  for (const [name, bytes] of variants) {
    const result = await rawRequest(pair.port, bytes, { responses: 2, ms: 150 })
    t.ok(result.status >= 400, `${name}: refused`)
    t.equal(result.responses.length, 1, `${name}: one answer`)
  }
  t.notOk(pair.upstream.requests.some(request => request.target === '/smuggled'), 'no smuggled request')
  await checkHealthy(t, pair)
})

t.test('an upstream connection whose request body was not finished is never reused', async t => {
  // the upstream answers at once and keeps the connection; the client breaks off within the body
  const pair = await startPair(t, respond(200, {}, 'early'), { at: 'head' })
  for (const body of [`Content-Length: 1000\r\n\r\n${SMUGGLED}`, `Transfer-Encoding: chunked\r\n\r\n50\r\n${SMUGGLED}`]) {
    const client = await rawClient(t, pair.port)
    await client.send(`POST /a HTTP/1.1\r\n${HOST}${body}`)
    await seen(pair, pair.upstream.requests.length)
    await sleep(30)
    client.resetAndDestroy()
    await sleep(20)
    pair.upstream.answer(OK)
    await checkHealthy(t, pair)
    pair.upstream.answer(respond(200, {}, 'early'), 'head')
  }
  t.notOk(pair.upstream.requests.some(request => request.target === '/smuggled'), 'no smuggled request')
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read everything')
})

t.test('pipelined requests are answered in order', async t => {
  // the first take longest, so that an unordered gateway would turn them round
  const pair = await startPair(t, async ({ request }) => {
    const n = Number(request.target.slice(1))
    return [wait(Math.max(0, 60 - n * 10)), respond(200, {}, `answer ${n}${request.body.toString('latin1')}`)]
  })
  const numbers = Array.from({ length: 12 }, (_, n) => n)
  const variants: Array<[string, (n: number) => Buffer, (n: number) => string]> = [
    ['GET', n => get(`/${n}`), n => `answer ${n}`],
    ['POST', n => post(`/${n}`, `-${n}`), n => `answer ${n}-${n}`],
    ['POST in chunks', n => post(`/${n}`, ['-', String(n)]), n => `answer ${n}-${n}`],
    ['mixed', n => n % 2 === 0 ? get(`/${n}`) : post(`/${n}`, '!'), n => `answer ${n}${n % 2 === 0 ? '' : '!'}`]
  ]
  for (const [name, build, expected] of variants) {
    const result = await rawRequest(pair.port, Buffer.concat(numbers.map(build)), { responses: numbers.length, methods: numbers.map(n => n % 2 === 0 ? 'GET' : 'POST') })
    t.strictSame(result.responses.map(response => response.text), numbers.map(expected), `${name}: in order`)
  }
  const bytes = Buffer.concat(numbers.map(n => post(`/${n}`, `-${n}`)))
  const split = Array.from({ length: Math.ceil(bytes.length / 97) }, (_, n) => bytes.subarray(n * 97, n * 97 + 97)).flatMap(piece => [piece, wait(1)])
  const result = await rawRequest(pair.port, split, { responses: numbers.length, methods: numbers.map(() => 'POST') })
  t.strictSame(result.responses.map(response => response.text), numbers.map(n => `answer ${n}-${n}`), 'in small pieces: in order')
})

t.test('a refusal within a pipeline comes in its turn', async t => {
  const pair = await startPair(t, [wait(20), respond(200, {}, 'ok')])
  const result = await rawRequest(pair.port, Buffer.concat([get('/1'), get('/../2')]), { responses: 2, methods: ['GET', 'GET'], ms: 2000 })
  t.strictSame(result.responses.map(response => response.status), [200, 400], 'in order')
})

// ---------------------------------------------------------------- twins, repeated fields

t.test('a field that looks like a trusted one never reaches the upstream', async t => {
  const pair = await startPair(t, OK)
  const trusted = ['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port', 'X-Forwarded-Prefix', 'X-Real-IP', 'X-Request-Id', 'Content-Length', 'Transfer-Encoding']
  const twins = trusted.flatMap(name => [
    name.replaceAll('-', '_'),
    name.replace('-', '_'),
    name.replaceAll('-', '_').toUpperCase(),
    name.toLowerCase().replaceAll('-', '.'),
    name.replace(/-(\w+)$/, '.$1')
  ])
  for (const twin of new Set(twins)) {
    const before = pair.upstream.requests.length
    const { status } = await rawRequest(pair.port, post('/', 'hi', { [twin]: '6.6.6.6' }))
    t.ok(status === 200 || status === 400, `${twin}: dropped or refused`, { found: status })
    const request = pair.upstream.requests[before]
    t.strictSame(request?.headers.filter(([, value]) => value.includes('6.6.6.6')) ?? [], [], `${twin}: does not arrive`)
  }
  for (const name of trusted.slice(0, 5)) {
    for (const spelt of [name.toUpperCase(), name.toLowerCase(), name.replace(/.$/, last => last.toUpperCase())]) {
      const request = await forwarded(t, pair, [spelt, get('/', { [spelt]: '6.6.6.6' })])
      t.strictSame(request?.headers.filter(([, value]) => value.includes('6.6.6.6')), [], `${spelt}: its case does not save it`)
    }
  }
})

t.test('fields that decide and may stand only once are refused when repeated', async t => {
  const pair = await startPair(t, OK)
  await checkAllRefused(t, pair, ['Authorization', 'Content-Type'].flatMap((name): Variant[] => [
    [`${name} twice the same`, post('/', 'hi', [[name, 'a/b'], [name, 'a/b']])],
    [`${name} twice`, post('/', 'hi', [[name, 'a/b'], [name, 'c/d']])],
    [`${name} in two cases, apart`, post('/', 'hi', [[name.toLowerCase(), 'a/b'], ['X-A', '1'], [name.toUpperCase(), 'c/d']])],
    [`${name} three times on a GET`, get('/', [[name, 'a'], [name, ''], [name, 'c']])]
  ]), [400], { closes: false })
  const request = await forwarded(t, pair, ['once', post('/', 'hi', [['Authorization', 'Basic YTpi'], ['Content-Type', 'a/b']])])
  t.strictSame([request?.all('authorization'), request?.all('content-type')], [['Basic YTpi'], ['a/b']], 'once each: unchanged')
})

// ---------------------------------------------------------------- Expect

t.test('Expect: 100-continue gets its 100, the body goes on, the field does not', async t => {
  const pair = await startPair(t, OK)
  for (const value of ['100-continue', '100-Continue', '100-CONTINUE']) {
    for (const body of ['hello', ['hel', 'lo']]) {
      const client = await rawClient(t, pair.port)
      const bytes = post('/', body, { Expect: value })
      const headEnd = bytes.indexOf('\r\n\r\n') + 4
      await client.send(bytes.subarray(0, headEnd))
      t.ok(await waitFor(() => client.informational.length > 0), `${value}: the client is told to go on`)
      t.match(client.informational[0]?.startLine, /^HTTP\/1\.1 100 /, `${value}: with a 100`)
      const before = pair.upstream.requests.length
      await client.send(bytes.subarray(headEnd), [])
      const response = await client.response(0)
      t.equal(response.status, 200, `${value}: answered`)
      t.equal(client.informational.length, 1, `${value}: one 100 only`)
      t.ok(pair.upstream.requests.length >= before, `${value}: forwarded`)
      t.equal(pair.upstream.last.body.toString(), 'hello', `${value}: the body arrives`)
      t.strictSame(pair.upstream.last.all('expect'), [], `${value}: the upstream is not asked again`)
      await checkAlive(t, client, value)
    }
  }
  t.equal((await forwarded(t, pair, ['not waiting for it', post('/', 'hello', { Expect: '100-continue' })]))?.body.toString(), 'hello', 'a client that does not wait is served')
})

t.test('a refusal before the body stops the upload', async t => {
  const pair = await startPair(t, OK, { gateway: { limits: { body: '1kb' } } })
  const expecting = (target: string, lines: HeaderLine[] = [], length = 1000): Buffer => requestBytes('POST', target, { headers: [['Expect', '100-continue'], ['Content-Length', String(length)], ...lines] })
  for (const [name, bytes, status] of [
    ['too large', expecting('/', [], 1_000_000), 413],
    ['a climbing path', expecting('/../x'), 400],
    ['a repeated field', expecting('/', [['Authorization', 'a'], ['Authorization', 'b']]), 400]
  ] as const) {
    const result = await checkRefused(t, pair, [name, bytes], [status], { closes: false })
    t.equal(result.informational.length, 0, `${name}: no 100`)
  }
  await checkHealthy(t, pair)
})

t.test('other expectations are a 417', async t => {
  const pair = await startPair(t, OK)
  await checkAllRefused(t, pair, ['magic', '200-ok', '100-continue, magic', '100-continuex', 'x=100-continue', '"100-continue"', '100'].map((value): Variant => [value, post('/', 'hello', { Expect: value })]), [417], { closes: false })
})

t.test('an HTTP/1.0 client never gets a 100', async t => {
  const pair = await startPair(t, OK)
  const result = await rawRequest(pair.port, requestBytes('POST', '/', { version: '1.0', headers: { Expect: '100-continue' }, body: 'hello' }))
  t.ok(result.status === 200 || result.status === 417, 'served or refused')
  t.equal(result.informational.length, 0, 'no 1xx')
})
