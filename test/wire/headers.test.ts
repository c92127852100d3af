/**
 * WIRE-CONTRACT, Headers: what never crosses, what always does, what we add, what we refuse to say.
 */
import t from 'tap'
import type { Test } from 'tap'
import { buildGateway, chunk, chunked, get, lastChunk, post, rawClient, rawRequest, requestBytes, respond, startGateway, startPair, valuesOf, waitFor } from '../helper.ts'
import type { GatewayOptions, HeaderLine, Pair, RawResponse } from '../helper.ts'
import { OK, checkAlive, checkErrorBody, checkHealthy, forwarded, pick, seen } from './checks.ts'

/** The answer to a GET, after the upstream's script. */
async function answered (pair: Pair, headers: readonly HeaderLine[] = []): Promise<RawResponse> {
  return (await rawRequest(pair.port, get('/', headers))).response
}

// ---------------------------------------------------------------- hop by hop

t.test('hop-by-hop fields of the client never reach the upstream', async t => {
  const pair = await startPair(t, OK)
  const hops: HeaderLine[] = [
    ['Keep-Alive', 'timeout=5'], ['keep-alive', 'timeout=5, max=100'], ['KEEP-ALIVE', '300'], ['Keep-Alive', ''], ['Proxy-Authorization', 'Basic YTpi'], ['Proxy-Authenticate', 'Basic'], ['Proxy-Connection', 'keep-alive'], ['Proxy-Authentication-Info', 'x'], ['PROXY-Status', 'x'], ['Proxy-Anything', 'x'],
    ['TE', 'gzip'], ['TE', 'deflate;q=0.5'], ['te', ''], ['Trailer', 'X-T'], ['Upgrade', 'h2c'], ['Upgrade', 'HTTP/3.0'], ['upgrade', 'foo/2'], ['HTTP2-Settings', 'AAMAAABkAAQAAP__'], ['http2-settings', '']
  ]
  for (const [name, value] of hops) {
    for (const connection of [[], [['Connection', name]], [['Connection', `keep-alive, ${name.toLowerCase()}`]]] as HeaderLine[][]) {
      for (const headers of [[[name, value], ...connection], [...connection, [name, value]]] as HeaderLine[][]) {
        const label = `${name}: ${value}${connection.length > 0 ? `, Connection: ${connection[0]?.[1] ?? ''}` : ''}`
        const request = await forwarded(t, pair, [label, get('/', headers)])
        t.strictSame(request?.all(name), [], `${label}: does not arrive`)
      }
    }
  }
})

t.test('of TE only trailers may cross', async t => {
  const pair = await startPair(t, OK)
  for (const value of ['trailers', 'gzip, trailers', 'trailers, deflate;q=0.5', 'Trailers', 'gzip;q=1.0, trailers;q=0.5', 'compress']) {
    const request = await forwarded(t, pair, [value, get('/', { TE: value, Connection: 'TE' })])
    t.ok(['', 'trailers'].includes((request?.all('te') ?? []).join().toLowerCase()), `${value}: nothing but trailers`, { found: request?.all('te') })
  }
})

t.test('what Connection names never crosses, however it is written', async t => {
  const pair = await startPair(t, OK)
  const spellings: HeaderLine[][] = [
    [['Connection', 'X-Hop']], [['connection', 'x-hop']], [['CONNECTION', 'X-HOP']], [['Connection', 'keep-alive, X-Hop']], [['Connection', 'X-Hop,keep-alive']], [['Connection', ' , ,X-Hop, ']], [['Connection', 'keep-alive\t,\tX-Hop\t']],
    [['Connection', 'keep-alive'], ['Connection', 'X-Hop']], [['Connection', 'X-Hop'], ['X-A', 'b'], ['connection', 'keep-alive']], [['Connection', 'X-Other, X-Hop']], [['Connection', 'X-Hop, close']]
  ]
  for (const connection of spellings) {
    const label = connection.map(line => line.join(': ')).join(' | ')
    for (const headers of [[['X-Hop', '1'], ['X-Stay', '2'], ...connection], [...connection, ['x-hop', '1'], ['X-HOP', '3'], ['X-Stay', '2']]] as HeaderLine[][]) {
      const request = await forwarded(t, pair, [label, get('/', headers)])
      t.strictSame(request?.all('x-hop'), [], `${label}: X-Hop stays behind`)
      t.strictSame(request?.all('x-stay'), ['2'], `${label}: X-Stay goes on`)
      t.notMatch(request?.all('connection').join(), /x-hop|x-other|x-stay/i, `${label}: the client's Connection stays behind`)
    }
  }
})

t.test('naming our own fields or the framing in Connection removes nothing', async t => {
  const pair = await startPair(t, OK, { backend: { headers: { request: { set: { 'X-Source': 'gateway' } } } } })
  const names = ['X-Forwarded-For', 'x-forwarded-host', 'X-Forwarded-Proto', 'Via', 'X-Request-Id', 'X-Source', 'Host', 'Content-Length', 'Transfer-Encoding', 'Content-Type', 'Authorization', 'X-Forwarded-For, Via, X-Source, Host, Content-Length', 'close, x-forwarded-for', 'keep-alive, connection']
  const plain = await forwarded(t, pair, ['plain', post('/', 'hello', { Authorization: 'a', 'Content-Type': 'a/b' })])
  const ours = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'via', 'x-source', 'host']
  for (const name of ours) t.equal(plain?.all(name).length, 1, `${name} is there without any trick`)
  for (const named of names) {
    for (const body of ['hello', ['hel', 'lo']]) {
      const request = await forwarded(t, pair, [named, post('/', body, [['Connection', named], ['Authorization', 'a'], ['Content-Type', 'a/b']])])
      for (const name of ours) t.strictSame(request?.all(name), plain?.all(name), `Connection: ${named}: ${name} as without it`)
      t.equal(request?.body.toString(), 'hello', `Connection: ${named}: the body is framed`)
    }
  }
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read everything')
})

t.test('hop-by-hop fields of the upstream never reach the client', async t => {
  const pair = await startPair(t, OK)
  const hops: HeaderLine[] = [
    ['Keep-Alive', 'timeout=987'], ['Proxy-Authenticate', 'Basic'], ['Proxy-Authentication-Info', 'x'], ['Proxy-Connection', 'close'], ['proxy-status', 'x'], ['Proxy-Support', 'x'], ['TE', 'trailers'], ['Trailer', 'X-T'], ['Upgrade', 'h2c'], ['upgrade', 'websocket'], ['HTTP2-Settings', 'x']
  ]
  for (const [name, value] of hops) {
    for (const [kind, build] of [['length', (lines: HeaderLine[]) => respond(200, lines, 'ok')], ['chunked', (lines: HeaderLine[]) => chunked(200, lines, ['ok'])]] as const) {
      pair.upstream.answer(build([[name, value], ['X-Stay', '1']]))
      const response = await answered(pair)
      t.notOk(response.all(name).includes(value), `${name} (${kind}): does not arrive`)
      t.strictSame([response.text, response.header('x-stay')], ['ok', '1'], `${name} (${kind}): the rest does`)
    }
  }
})

t.test('what the upstream names in Connection never reaches the client', async t => {
  const pair = await startPair(t, OK)
  const spellings: HeaderLine[][] = [[['Connection', 'X-Hop']], [['connection', 'keep-alive, x-hop']], [['Connection', 'close, X-HOP']], [['Connection', 'keep-alive'], ['Connection', ',x-hop ,']]]
  for (const connection of spellings) {
    const label = connection.map(line => line.join(': ')).join(' | ')
    pair.upstream.answer(respond(200, [['X-Hop', '1'], ...connection, ['x-hop', '2'], ['X-Stay', '3']], 'ok'))
    const response = await answered(pair)
    t.strictSame([response.all('x-hop'), response.all('x-stay'), response.text], [[], ['3'], 'ok'], label)
    t.notMatch(response.all('connection').join(), /hop/i, `${label}: not named either`)
  }
  for (const named of ['Content-Length', 'Content-Type', 'Set-Cookie']) {
    pair.upstream.answer(respond(200, [['Connection', named], ['Content-Type', 'a/b']], 'ok'))
    const response = await answered(pair)
    t.strictSame([response.status, response.complete, response.text], [200, true, 'ok'], `Connection: ${named}: the answer is still framed`)
  }
})

// ---------------------------------------------------------------- connections

t.test('the upstream closing its connection does not close the client\'s', async t => {
  const variants: Array<[string, Parameters<Pair['upstream']['answer']>[0]]> = [
    ['with a length', [respond(200, { Connection: 'close' }, 'ok'), { act: 'fin' }]],
    ['in chunks', [chunked(200, { Connection: 'close' }, ['ok']), { act: 'fin' }]],
    ['until the end', [respond(200, { Connection: 'close' }, null), 'ok', { act: 'fin' }]],
    ['in other case', [respond(200, { connection: 'CLOSE' }, 'ok'), { act: 'fin' }]],
    ['without keeping its word', respond(200, { Connection: 'close' }, 'ok')],
    ['without a word', [respond(200, {}, 'ok'), { act: 'fin' }]],
    ['as HTTP/1.0', ['HTTP/1.0 200 OK\r\n\r\nok', { act: 'fin' }]],
    ['as HTTP/1.0 with a length', ['HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', { act: 'fin' }]]
  ]
  const pair = await startPair(t, OK)
  const client = await rawClient(t, pair.port)
  for (const [name, script] of variants) {
    pair.upstream.answer(script)
    for (let n = 0; n < 3; n++) {
      const response = await client.exchange(get('/'))
      t.strictSame([response.status, response.text, response.complete], [200, 'ok', true], `${name}: answer ${n}`)
      t.notMatch(response.all('connection').join(), /close/i, `${name}: the client is not told to close`)
    }
  }
  t.notOk(client.closed, 'one client connection served them all')
})

t.test('a client that asks for it is closed promptly', async t => {
  const pair = await startPair(t, OK)
  const variants: Array<[string, Buffer]> = [
    ['close', get('/', { Connection: 'close' })], ['CLOSE', get('/', { Connection: 'CLOSE' })], ['in a list', get('/', { Connection: 'x-a, close' })], ['on a second line', get('/', [['Connection', 'x-a'], ['Connection', 'close']])],
    ['with a body', post('/', 'hi', { Connection: 'close' })], ['HTTP/1.0', requestBytes('GET', '/', { version: '1.0' })], ['HEAD', requestBytes('HEAD', '/', { headers: { Connection: 'close' } })]
  ]
  for (const [kind, script] of [['length', OK], ['chunked', chunked(200, {}, ['o', 'k'])], ['204', respond(204, {}, null)]] as const) {
    pair.upstream.answer(script)
    for (const [name, bytes] of variants) {
      if (name === 'HEAD' && kind !== '204') continue
      const result = await rawRequest(pair.port, bytes, { untilClose: true, ms: 3000 })
      t.ok(result.response.complete, `${name}, ${kind}: a whole answer`)
      t.ok(result.ended && result.elapsed < 1000, `${name}, ${kind}: then the end, promptly`, { elapsed: result.elapsed })
    }
  }
})

t.test('an HTTP/1.0 client never gets chunks', async t => {
  const pair = await startPair(t, OK)
  for (const [kind, script] of [['chunked', chunked(200, {}, ['hello ', 'world'])], ['length', respond(200, {}, 'hello world')], ['until the end', [respond(200, {}, null), 'hello world', { act: 'fin' }]], ['chunked with trailers', chunked(200, { Trailer: 'X-T' }, ['hello world'], { 'X-T': '1' })]] as Array<[string, Parameters<Pair['upstream']['answer']>[0]]>) {
    pair.upstream.answer(script)
    for (const headers of [{}, { Connection: 'keep-alive' }, { TE: 'trailers' }, { Connection: 'close' }]) {
      const result = await rawRequest(pair.port, requestBytes('GET', '/', { version: '1.0', headers }), { ms: 3000 })
      const label = `${kind} ${JSON.stringify(headers)}`
      t.strictSame(result.response.all('transfer-encoding'), [], `${label}: no transfer coding`)
      t.strictSame([result.response.text, result.response.complete], ['hello world', true], `${label}: the plain body`)
    }
  }
})

// ---------------------------------------------------------------- forwarded fields, Via

const SPOOFED: HeaderLine[] = [['X-Forwarded-For', '6.6.6.6'], ['X-Forwarded-Proto', 'spoofed'], ['X-Forwarded-Host', 'spoofed.example'], ['X-Forwarded-Port', '666'], ['X-Forwarded-Prefix', '/spoofed'], ['Forwarded', 'for=6.6.6.6;host=spoofed.example'], ['X-Real-IP', '6.6.6.6']]

t.test('forwarded fields of an untrusted peer are replaced', async t => {
  const pair = await startPair(t, OK)
  for (const headers of [SPOOFED, [...SPOOFED, ...SPOOFED], SPOOFED.map(([name, value]): HeaderLine => [name.toUpperCase(), value]), SPOOFED.map(([name]): HeaderLine => [name, ''])]) {
    const request = await forwarded(t, pair, ['spoofed', get('/', headers)])
    t.strictSame(request?.all('x-forwarded-for'), ['127.0.0.1'], 'X-Forwarded-For is the peer')
    t.strictSame(request?.all('x-forwarded-proto'), ['http'], 'X-Forwarded-Proto is ours')
    t.strictSame(request?.all('x-forwarded-host'), ['gateway.example'], 'X-Forwarded-Host is the host')
    t.notMatch(request?.head, /6\.6\.6\.6|spoofed|666/, 'nothing of the client\'s arrives')
  }
})

t.test('every forwarded field can be set, and is replaced then too', async t => {
  const pair = await startPair(t, OK, { gateway: { headers: { forwarded: { for: 'append', proto: 'set', host: 'set', port: 'set', prefix: 'set', realIp: 'set', rfc7239: 'append' } } } as PairGateway })
  const request = await forwarded(t, pair, ['all of them', get('/', SPOOFED)])
  t.notMatch(request?.head, /6\.6\.6\.6|spoofed|666/, 'nothing of the client\'s arrives')
  t.strictSame(request?.all('x-real-ip'), ['127.0.0.1'], 'X-Real-IP')
  // the port of the Host the client named, or the one it really came to: both are in use
  t.ok(['80', String(pair.port)].includes(request?.all('x-forwarded-port').join() ?? ''), 'X-Forwarded-Port', { found: request?.all('x-forwarded-port') })
  t.match(request?.header('forwarded'), /for="?127\.0\.0\.1"?/i, 'Forwarded: for')
  t.match(request?.header('forwarded'), /proto=http/i, 'Forwarded: proto')
  t.match(request?.header('forwarded'), /host="?gateway\.example"?/i, 'Forwarded: host')
})

t.test('forwarded fields of a trusted peer are appended to', async t => {
  const pair = await startPair(t, OK, { server: { trustProxy: true }, gateway: { headers: { forwarded: { rfc7239: 'append' } } } as PairGateway })
  const request = await forwarded(t, pair, ['trusted', get('/', [['X-Forwarded-For', '1.1.1.1'], ['X-Forwarded-For', '2.2.2.2, 3.3.3.3'], ['Forwarded', 'for=1.1.1.1;proto=https']])])
  t.equal(request?.all('x-forwarded-for').join(', ').replaceAll(/,\s*/g, ','), '1.1.1.1,2.2.2.2,3.3.3.3,127.0.0.1', 'X-Forwarded-For grows at its end')
  t.match(request?.all('forwarded').join(', '), /^for=1\.1\.1\.1;proto=https, ?.*127\.0\.0\.1/i, 'Forwarded grows at its end')
  const alone = await forwarded(t, pair, ['none sent', get('/')])
  t.strictSame(alone?.all('x-forwarded-for'), ['127.0.0.1'], 'alone it is the peer')
})

t.test('Via carries our name behind the client\'s', async t => {
  const pair = await startPair(t, OK, { gateway: { headers: { via: { name: 'edge', maxHops: 3 } } } as PairGateway })
  t.strictSame((await forwarded(t, pair, ['none', get('/')]))?.all('via'), ['1.1 edge'], 'alone')
  for (const sent of [[['Via', '1.0 fred']], [['Via', '1.0 fred, 1.1 p.example (Apache)']], [['via', '1.0 fred'], ['VIA', '2 joe']], [['Via', '1.1 edges, 1.1 edg, 1.1 x-edge, 1.1 edge.example']], [['Via', '1.1 a (edge, edge)']]] as HeaderLine[][]) {
    const request = await forwarded(t, pair, [JSON.stringify(sent), get('/', sent)])
    const expected = [...sent.map(([, value]) => value), '1.1 edge'].join(',').replaceAll(' ', '')
    t.equal(request?.all('via').join(',').replaceAll(' ', ''), expected, `${JSON.stringify(sent)}: ours at the end`)
  }
})

t.test('our own name in Via too often is a 508', async t => {
  const pair = await startPair(t, OK, { gateway: { headers: { via: { name: 'edge', maxHops: 3 } } } as PairGateway })
  const times = (n: number, text = '1.1 edge'): string => Array.from({ length: n }, () => text).join(', ')
  for (const sent of [[['Via', times(3)]], [['Via', '1.1 edge'], ['Via', times(2)]], [['Via', times(9, '1.1 other')]], [['Via', `${times(3)}, ${times(5, '1.0 else')}`]]] as HeaderLine[][]) await forwarded(t, pair, [`${sent.length} lines, within`, get('/', sent)])
  const before = pair.upstream.bytes
  for (const sent of [[['Via', times(4)]], [['Via', times(40)]], [['Via', times(2)], ['Via', times(2)]], [['via', '1.1 edge'], ['X-A', ''], ['Via', times(3)]], [['Via', times(4, '1.1   edge')]], [['Via', times(4, '1.1 edge (comment)')]], [['Via', times(4, 'HTTP/1.1 edge')]], [['Via', times(4, '1.0 edge')]], [['Via', times(4, '1.1 other, 1.1 edge')]], [['Via', times(4).replaceAll(', ', ' ,\t')]]] as HeaderLine[][]) {
    const result = await rawRequest(pair.port, get('/', sent))
    checkErrorBody(t, result.response, 508, JSON.stringify(sent).slice(0, 70))
  }
  t.equal(pair.upstream.bytes, before, 'the upstream sees none of them')
})

t.test('a gateway pointed at itself stops after a few hops', async t => {
  const pair = await startPair(t, OK)
  let count = 0
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: pair.upstream.url, self: 'http://127.0.0.1:1' } } as GatewayOptions, app => {
    app.addHook('onRequest', async () => { count += 1 })
    app.get('/*', { proxy: { backend: 'self' } }, app.reverseproxy.handler)
    app.get('/healthy', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
  })
  const backends = gateway.app.reverseproxy.backends
  backends.update('self', { targets: [gateway.url] })
  const result = await rawRequest(gateway.port, get('/loop'), { ms: 5000 })
  t.equal(result.status, 508, 'the loop is seen')
  t.ok(count <= 6, 'after a few hops', { count })
  await checkHealthy(t, gateway)
})

// ---------------------------------------------------------------- everything else crosses

/** Fields nobody on the way has any business with. */
const ODD: HeaderLine[] = [
  ['Accept', 'text/html'], ['X-A', '1'], ['X-B', '1'], ['x-a', '2'], ['Accept', 'a/b;q=0.1'], ['X-Empty', ''], ['Cookie', 'a=b; c=d'], ['X-A', '1'], ['X-Latin', 'caf\xe9 \xff\x80'], ['X-Comma', 'a, b,, c'], ['X-Quoted', '"a\\"b, c"'], ['X-Empty', ''], ['X-Tab', 'a\tb'], ['X-Spaces', 'a   b'],
  ['Authorization', 'Bearer a.b.c=='], ['Origin', 'null'], ['Referer', 'http://a.example/?b'], ['If-None-Match', 'W/"x", "y"'], ['If-None-Match', '*'], ['Range', 'bytes=0-1,5-'], ['Cache-Control', 'no-cache'], ['Cache-Control', 'max-age=0'], ['Accept-Encoding', 'gzip, br'], ['Accept-Language', 'de'], ['X-Long', 'y'.repeat(4000)], ['Date', 'Tue, 15 Nov 1994 08:12:31 GMT'], ['DNT', '1'], ['Priority', 'u=1'], ['Sec-Fetch-Mode', 'cors'], ['X-Utf8', Buffer.from('äö€').toString('latin1')], ['__proto__', 'p'], ['constructor', 'c'], ['toString', 's'], ['X-B', ''], ['0', 'zero'], ['!#$%&\'*+-.^`|~', 'token'], ['X-Last', 'z']
]

t.test('everything else of a request crosses unchanged, in order and number', async t => {
  const pair = await startPair(t, OK)
  // twins of trusted names may be dropped or refused, so names with _ or . get no test here
  const sent = ODD.filter(([name]) => !/[_.]/.test(name))
  const names = new Set(sent.map(([name]) => name.toLowerCase()))
  const expected = pick(sent, names)
  for (const [label, bytes] of [['GET', get('/', sent)], ['POST', post('/', 'hi', sent)], ['chunks', post('/', ['hi'], sent)], ['reversed', get('/', [...sent].reverse())]] as const) {
    const request = await forwarded(t, pair, [label, bytes])
    t.strictSame(pick(request?.headers ?? [], names), label === 'reversed' ? [...expected].reverse() : expected, `${label}: as sent`)
  }
  const request = await forwarded(t, pair, ['several Cookie lines', get('/', [['Cookie', 'a=1'], ['X-Y', 'z'], ['Cookie', 'b=2']])])
  t.match(request?.all('cookie').join('; '), /^a=1; b=2$/, 'several Cookie lines: all of them')
})

t.test('nothing is invented', async t => {
  const pair = await startPair(t, OK)
  for (const bytes of [get('/'), post('/', 'hi'), requestBytes('GET', '/', { version: '1.0' })]) {
    const request = await forwarded(t, pair, ['bare', bytes])
    const extra = request?.headers.map(([name]) => name.toLowerCase()).filter(name => !['host', 'connection', 'content-length', 'via', 'x-request-id', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'].includes(name))
    t.strictSame(extra, [], 'no User-Agent, no Accept, nothing')
    for (const name of ['host', 'via', 'x-forwarded-for']) t.equal(request?.all(name).length, 1, `${name} once`)
  }
})

t.test('everything else of an answer crosses unchanged', async t => {
  const sent: HeaderLine[] = [
    ['Server', 'thing/1'], ['Date', 'Tue, 15 Nov 1994 08:12:31 GMT'], ['X-Powered-By', 'magic'], ['Set-Cookie', 'a=b; Path=/'], ['Set-Cookie', 'c=d; Expires=Wed, 09 Jun 2027 10:18:14 GMT'], ['set-cookie', ''], ['Set-Cookie', 'a=b; Path=/'], ['X-Empty', ''], ['X-Latin', 'caf\xe9 \xff\x80'], ['Link', '</a>; rel=preload'], ['Link', '</b>; rel=preload'], ['Vary', 'a'], ['Vary', 'b'], ['WWW-Authenticate', 'Basic realm="a, b"'], ['WWW-Authenticate', 'Bearer'], ['ETag', 'W/"x"'], ['Cache-Control', 'no-store'], ['Cache-Control', 'private'], ['Content-Type', 'weird'], ['Content-Encoding', 'x-odd'], ['Content-Language', 'de, en'], ['X-Comma', 'a, b,, c'], ['X-Tab', 'a\tb'], ['X-Long', 'y'.repeat(4000)], ['X-Utf8', Buffer.from('äö€').toString('latin1')], ['Access-Control-Allow-Origin', '*'], ['Alt-Svc', 'h3=":443"'], ['Retry-After', '5'], ['__proto__', 'p'], ['constructor', 'c'], ['X_Under', 'u'], ['X.Dot', 'd'], ['X-Repeat', '1'], ['X-Repeat', '1'], ['X-Repeat', '']
  ]
  const names = new Set(sent.map(([name]) => name.toLowerCase()))
  const pair = await startPair(t, OK)
  for (const [kind, build] of [['length', respond(200, sent, 'ok')], ['chunked', chunked(200, sent, ['ok'])], ['404', respond(404, sent, 'ok')], ['503', respond(503, sent, 'ok')], ['large', respond(200, sent, 'ok'.repeat(100_000))], ['bare 200', respond(200, sent, '')]] as Array<[string, Buffer]>) {
    pair.upstream.answer(build)
    const { headers } = await answered(pair)
    // between different names order means nothing (RFC 9110 section 5.3), and Node groups by name
    for (const name of names) t.strictSame(valuesOf(headers, name), valuesOf(sent, name), `${kind}: ${name}`)
  }
})

t.test('every final status crosses', async t => {
  const pair = await startPair(t, OK)
  const client = await rawClient(t, pair.port)
  for (const status of [200, 201, 202, 203, 206, 207, 226, 299, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 415, 416, 417, 418, 421, 422, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 599]) {
    pair.upstream.answer(respond(status, { Location: 'http://other.example/', 'X-Body': 'own' }, `status ${status}`))
    const response = await client.exchange(get('/'))
    t.strictSame([response.status, response.text, response.header('location')], [status, `status ${status}`, 'http://other.example/'], `${status}: verbatim`)
  }
  t.notOk(client.closed, 'on one client connection')
})

// ---------------------------------------------------------------- what options and hooks may not do

type PairGateway = Omit<GatewayOptions, 'backends'>

t.test('a hook or option that yields CR, LF or NUL makes a coded 500 and no byte leaves', async t => {
  const bad = ['a\r\nX-Injected: b', 'a\nb', 'a\rb', 'a\x00b', '\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n', '\n', 'a\r\n']
  let value = 'fine'
  let reached = 0
  const pair = await startPair(t, OK, {
    configure: app => {
      const handler = app.reverseproxy.handler
      app.post('/set', { proxy: { backend: 'up', headers: { request: { set: { 'x-a': () => value } } } } }, handler)
      app.post('/append', { proxy: { backend: 'up', headers: { request: { append: { 'x-a': () => value } } } } }, handler)
      app.post('/draft', { proxy: { backend: 'up', modifyRequest: draft => { draft.headers.set('x-a', value) } } }, handler)
      app.post('/draft-append', { proxy: { backend: 'up', modifyRequest: async draft => { draft.headers.append('x-a', value) } } }, handler)
      app.post('/draft-name', { proxy: { backend: 'up', modifyRequest: draft => { draft.headers.set(value === 'fine' ? 'x-a' : `x-a${value}`, 'fine') } } }, handler)
      app.get('/reply', async (_request, reply) => reply.proxy('up', { headers: { 'x-a': value } }))
      app.get('/healthy', { proxy: { backend: 'up' } }, handler)
      app.post('/answer-set', { proxy: { backend: 'up', headers: { response: { set: { 'x-a': () => value } } } } }, handler)
      app.post('/answer-draft', { proxy: { backend: 'up', modifyResponse: draft => { draft.headers.set('x-a', value) } } }, handler)
      app.addHook('onResponse', async () => { reached += 1 })
    }
  })
  const ask = (path: string): Buffer => path === '/reply' ? get(path) : post(path, 'hi')
  for (const path of ['/set', '/append', '/draft', '/draft-append', '/draft-name', '/reply']) {
    value = 'fine'
    t.equal((await forwarded(t, pair, [path, ask(path)]))?.header('x-a'), 'fine', `${path}: a good value arrives`)
    for (const text of bad) {
      value = text
      const before = pair.upstream.bytes
      const result = await rawRequest(pair.port, ask(path))
      checkErrorBody(t, result.response, 500, `${path}: ${JSON.stringify(text)}`)
      t.equal(pair.upstream.bytes, before, `${path}: ${JSON.stringify(text)}: nothing left`)
    }
  }
  for (const path of ['/answer-set', '/answer-draft']) {
    value = 'fine'
    t.equal((await rawRequest(pair.port, post(path, 'hi'))).response.header('x-a'), 'fine', `${path}: a good value arrives`)
    for (const text of bad) {
      value = text
      const result = await rawRequest(pair.port, post(path, 'hi'))
      checkErrorBody(t, result.response, 500, `${path}: ${JSON.stringify(text)}`)
      t.notMatch(result.raw.toString('latin1'), /X-Injected|smuggled/, `${path}: ${JSON.stringify(text)}: not injected`)
    }
  }
  t.ok(reached > 0, 'the requests ended normally for hooks')
  await checkHealthy(t, pair)
})

async function refusesToStart (t: Test, name: string, options: unknown): Promise<void> {
  try {
    const app = await buildGateway(options as GatewayOptions, () => {})
    await app.ready()
    await app.close()
    t.fail(`${name}: refused at boot`)
  } catch (error) {
    t.match((error as { code?: string }).code, /^RP_ERR_/, `${name}: refused at boot with a code`)
  }
}

t.test('framing and hop-by-hop names in options are refused at boot', async t => {
  const names = ['Content-Length', 'transfer-encoding', 'Connection', 'Keep-Alive', 'TE', 'Trailer', 'Upgrade', 'Proxy-Connection', 'Proxy-Authenticate', 'HTTP2-Settings', 'HOST\n', 'a b', '', 'x:y', 'caf\xe9']
  for (const name of names) {
    for (const edit of ['set', 'append']) {
      for (const side of ['request', 'response']) {
        await refusesToStart(t, `${side}.${edit} ${JSON.stringify(name)}`, { backends: { up: 'http://127.0.0.1:1' }, headers: { [side]: { [edit]: { [name]: 'x' } } } })
      }
    }
  }
  for (const name of ['Content-Length', 'Transfer-Encoding', 'Connection', 'Upgrade']) {
    await refusesToStart(t, `of a backend: ${name}`, { backends: { up: { targets: ['http://127.0.0.1:1'], headers: { request: { set: { [name]: 'x' } } } } } })
    await refusesToStart(t, `renamed to ${name}`, { backends: { up: 'http://127.0.0.1:1' }, headers: { request: { rename: { 'x-a': name } } } })
  }
  for (const value of ['a\r\nb', 'a\nb', 'a\x00b']) await refusesToStart(t, `value ${JSON.stringify(value)}`, { backends: { up: 'http://127.0.0.1:1' }, headers: { request: { set: { 'x-a': value } } } })
})

t.test('framing names a hook sets do not break the framing', async t => {
  const lines: HeaderLine[] = [['Content-Length', '500'], ['Transfer-Encoding', 'chunked'], ['Connection', 'x-a'], ['Upgrade', 'h2c'], ['Keep-Alive', 'timeout=1'], ['TE', 'gzip'], ['Expect', '100-continue']]
  let line: HeaderLine = ['x-a', 'b']
  const pair = await startPair(t, OK, {
    configure: app => {
      app.post('/*', { proxy: { backend: 'up', modifyRequest: draft => { draft.headers.set(line[0], line[1]) } } }, app.reverseproxy.handler)
      app.get('/healthy', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    }
  })
  for (const next of lines) {
    line = next
    const before = pair.upstream.requests.length
    const { status } = await rawRequest(pair.port, post('/', 'hi'), { ms: 3000 })
    const label = next.join(': ')
    t.ok(status === 500 || status === 200, `${label}: ignored or a 500`, { found: status })
    for (const request of pair.upstream.requests.slice(before)) t.strictSame([request.body.toString(), request.complete], ['hi', true], `${label}: what is sent is whole`)
  }
  t.strictSame(pair.upstream.malformed, [], 'the upstream can read everything')
  await checkHealthy(t, pair)
})

t.test('a slow trickle of header bytes is put together', async t => {
  const pair = await startPair(t, OK)
  const client = await rawClient(t, pair.port)
  const bytes = post('/slow', ['hi'], ODD.filter(([name]) => /^X-[AB]/.test(name)))
  await client.send(Array.from(bytes, byte => Buffer.from([byte])), ['POST'])
  t.equal((await client.response(0)).status, 200, 'answered')
  t.equal(pair.upstream.last.body.toString(), 'hi', 'whole')
  pair.upstream.answer(async ({ play }) => { for (const byte of Buffer.concat([respond(200, { 'Transfer-Encoding': 'chunked', 'X-A': 'b' }, null), chunk('hello'), lastChunk()])) await play(Buffer.from([byte])) })
  const response = await client.exchange(get('/slow'))
  t.strictSame([response.text, response.header('x-a'), response.complete], ['hello', 'b', true], 'and back')
  await checkAlive(t, client)
  t.ok(await seen(pair, 3), 'all forwarded')
  t.ok(await waitFor(() => pair.upstream.malformed.length === 0), 'readable')
})
