/**
 * Bodies that are traps for those who parse: they come through byte for byte, and never touch a prototype. And what of
 * a part's message must not reach the client.
 */
import t from 'tap'
import { get, rawClient, rawRequest, rawUpstream, requestBytes, respond } from '../helper.ts'
import { ask, jsonAnswer, startComposites } from '../helper-composite-faults.ts'
import type { Script, TestLike } from '../helper.ts'
import type { CompositeOptions } from '../helper-composite-faults.ts'

t.jobs = 2

// ---- bytes

const values: ReadonlyArray<readonly [name: string, value: string]> = [
  ['an integer beyond 2^53', '12345678901234567890123'],
  ['2^53 + 1', '9007199254740993'],
  ['1e400', '1e400'],
  ['-0', '-0'],
  ['0.10', '0.10'],
  ['1E+2', '1E+2'],
  ['many digits', '3.14159265358979323846264338327950288'],
  ['escapes', '"\\u0041\\/\\b\\u2028\\ud83d\\ude00"'],
  ['a lone surrogate', '"\\ud800"'],
  ['a text in UTF-8', '"é😀"'],
  ['white space', '{ "x" : [ 1 ,\t2 ] ,\n "y" : { } }'],
  ['duplicate keys within', '{"x":1,"x":2}'],
  ['an escaped key', '{"\\u0078":1}'],
  ['__proto__ within', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'],
  ['an empty key', '{"":1}'],
  ['numbers as keys', '{"2":1,"1":2}']
]

async function bytesGateway (t: TestLike, scripts: Readonly<Record<string, Script>>, routes: Readonly<Record<string, CompositeOptions>>) {
  const backends: Record<string, string> = {}
  for (const [name, script] of Object.entries(scripts)) backends[name] = (await rawUpstream(t, script)).url
  return await startComposites(t, backends, routes)
}

const parts = { a: { backend: 'a', path: '/' }, b: { backend: 'b', path: '/' } } as const
const rawBody = async (port: number, path: string): Promise<string> => (await rawRequest(port, get(path))).response.body.toString()

for (const [name, value] of values) {
  t.test(`${name} survives`, async t => {
    const { port } = await bytesGateway(t, {
      a: jsonAnswer(Buffer.from(`{"a":${value}}`)), b: jsonAnswer(Buffer.from(`{"b":${value}}`)), c: jsonAnswer(Buffer.from(`[${value}]`)), d: jsonAnswer(Buffer.from(value))
    }, {
      '/merge': { parts, strategy: 'merge' },
      '/deep': { parts, strategy: 'merge', conflict: 'deep' },
      '/object': { parts },
      '/append': { strategy: 'append', parts: { c: { backend: 'c', path: '/' }, e: { backend: 'c', path: '/' } } },
      '/value': { parts: { d: { backend: 'd', path: '/' } } },
      '/select': { parts, strategy: 'select' },
      '/sequential': { parts, strategy: 'sequential' },
      '/fallback': { parts: { a: { backend: 'a', path: '/', fallback: 1 }, b: parts.b } },
      '/meta': { parts: { a: parts.a }, strategy: 'merge', meta: true },
      '/pick': { parts: { a: { ...parts.a, pick: ['a'] } } },
      '/rename': { parts: { a: { ...parts.a, rename: { a: 'z' } } } },
      '/target': { parts: { a: { ...parts.a, target: 'a' } } }
    })
    t.equal(await rawBody(port, '/merge'), `{"a":${value},"b":${value}}`)
    t.equal(await rawBody(port, '/deep'), `{"a":${value},"b":${value}}`)
    t.equal(await rawBody(port, '/object'), `{"a":{"a":${value}},"b":{"b":${value}}}`)
    t.equal(await rawBody(port, '/append'), `[${value},${value}]`)
    t.equal(await rawBody(port, '/value'), `{"d":${value}}`)
    t.equal(await rawBody(port, '/select'), `{"a":${value}}`)
    t.equal(await rawBody(port, '/sequential'), `{"b":${value}}`)
    t.equal(await rawBody(port, '/fallback'), `{"a":{"a":${value}},"b":{"b":${value}}}`)
    t.ok((await rawBody(port, '/meta')).startsWith(`{"a":${value},"_meta":`))
    t.equal(await rawBody(port, '/pick'), `{"a":{"a":${value}}}`)
    t.equal(await rawBody(port, '/rename'), `{"a":{"z":${value}}}`)
    t.equal(await rawBody(port, '/target'), `{"a":${value}}`)
    t.equal(({} as { polluted?: unknown }).polluted, undefined)
  })
}

t.test('keys named like what objects inherit never pollute, whatever is done with them', async t => {
  const trap = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1,"hasOwnProperty":2,"ok":{"__proto__":{"polluted":1}}}'
  const keys = Object.getOwnPropertyNames(Object.prototype)
  const seen: unknown[] = []
  const one = { backend: 'a', path: '/' } as const
  const { url, port } = await bytesGateway(t, { a: jsonAnswer(trap), b: jsonAnswer('{"__proto__":{"polluted":2},"b":1}'), refuse: respond(500) }, {
    '/merge': { parts, strategy: 'merge' },
    '/deep': { parts, strategy: 'merge', conflict: 'deep' },
    '/first': { parts, strategy: 'merge', conflict: 'first' },
    '/omit': { parts: { a: { ...one, omit: ['ok'] } } },
    '/pick': { parts: { a: { ...one, pick: ['ok'] } } },
    '/rename': { parts: { a: { ...one, rename: { ok: 'fine' } } } },
    '/meta': { parts, strategy: 'merge', meta: true },
    '/transform': { parts, transform: ({ a, b }) => { seen.push(Object.getPrototypeOf(a.body), a.body.polluted); return { ...a.body, ...b.body, both: Object.assign({}, a.body, b.body) } } },
    '/template': { parts: { a: one, b: { ...parts.b, query: { x: '{a.body.constructor.name}', y: '{a.body.toString}' }, onMissing: 'skip' } } },
    '/missing': { parts: { b: parts.b, a: { ...one, query: { x: '{b.body.toString.name}' }, onMissing: 'skip' } } },
    '/schema': { parts: { a: { ...one, schema: { type: 'object', additionalProperties: true } } } }
  })
  t.equal(await rawBody(port, '/deep'), '{"__proto__":{"polluted":2},"constructor":{"prototype":{"polluted":1}},"toString":1,"hasOwnProperty":2,"ok":{"__proto__":{"polluted":1}},"b":1}')
  for (const path of ['/merge', '/deep', '/first', '/omit', '/pick', '/rename', '/meta', '/transform', '/template', '/missing', '/schema']) {
    const answer = await ask(url + path)
    t.equal(answer.status, 200, path)
    JSON.parse(answer.text)
    t.equal(({} as { polluted?: unknown }).polluted, undefined, path)
    t.equal(({} as { toString: unknown }).toString, Object.prototype.toString, path)
    t.same(Object.getOwnPropertyNames(Object.prototype), keys, path)
  }
  t.same(seen, [Object.prototype, undefined])
  t.same(JSON.parse((await ask(`${url}/missing`)).text), { b: JSON.parse('{"__proto__":{"polluted":2},"b":1}') }, 'a reference does not see what is inherited')
  t.equal(await rawBody(port, '/merge'), await rawBody(port, '/merge'), 'and later requests are clean')
})

t.test('duplicate keys of a part survive in object, and count as one key in merge', async t => {
  const { port } = await bytesGateway(t, { a: jsonAnswer('{"x":1,"x":2}'), b: jsonAnswer('{"y":3,"y":4}') }, { '/object': { parts }, '/merge': { parts, strategy: 'merge' } })
  t.equal(await rawBody(port, '/object'), '{"a":{"x":1,"x":2},"b":{"y":3,"y":4}}')
  t.same(JSON.parse(await rawBody(port, '/merge')), { x: 2, y: 4 })
})

t.test('a key that is written with escapes is the same key', async t => {
  const { port } = await bytesGateway(t, { a: jsonAnswer('{"\\u0078":1}'), b: jsonAnswer('{"x":2}') }, {
    '/last': { parts, strategy: 'merge' }, '/first': { parts, strategy: 'merge', conflict: 'first' }, '/error': { parts, strategy: 'merge', conflict: 'error' }
  })
  t.same(JSON.parse(await rawBody(port, '/last')), { x: 2 })
  t.same(JSON.parse(await rawBody(port, '/first')), { x: 1 })
  t.match(JSON.parse(await rawBody(port, '/error')), { statusCode: 502, code: 'RP_ERR_CONFLICT' })
})

// ---- messages

const NOISY = [
  ['Content-Type', 'application/json'], ['Connection', 'keep-alive, X-Hop'], ['X-Hop', '1'], ['Keep-Alive', 'timeout=99'], ['Proxy-Authenticate', 'Basic'], ['Proxy-Connection', 'keep-alive'],
  ['Upgrade', 'h2c'], ['TE', 'trailers'], ['Trailer', 'X-T'], ['ETag', '"1"'], ['Last-Modified', 'Mon, 01 Jan 2024 00:00:00 GMT'], ['Accept-Ranges', 'bytes'], ['Content-MD5', 'x'],
  ['Digest', 'sha-256=x'], ['Content-Digest', 'sha-256=:x:'], ['Content-Range', 'bytes 0-1/2'], ['Content-Language', 'de'], ['Content-Location', '/x'], ['Content-Disposition', 'attachment'],
  ['Date', 'Mon, 01 Jan 2024 00:00:00 GMT'], ['X-Composite-Complete', 'maybe'], ['X-Other', 'kept']
] as const
const NEVER = ['x-hop', 'keep-alive', 'proxy-authenticate', 'proxy-connection', 'upgrade', 'te', 'trailer', 'etag', 'last-modified', 'accept-ranges', 'content-md5', 'digest', 'content-digest', 'content-range', 'content-language', 'content-location', 'content-disposition', 'transfer-encoding', 'content-encoding']

t.test('headers about a part\'s connection or body never reach the client, with headers.from neither', async t => {
  const { port } = await bytesGateway(t, { a: respond(200, NOISY, '{"a":1}'), b: respond(200, NOISY, '{"b":1}') }, {
    '/none': { parts },
    '/from': { parts, headers: { from: 'a' } },
    '/merge': { parts, strategy: 'merge', headers: { from: 'b' } },
    '/select': { parts, strategy: 'select', headers: { from: 'a' } },
    '/sequential': { parts, strategy: 'sequential' }
  })
  for (const path of ['/none', '/from', '/merge', '/select', '/sequential']) {
    const { response } = await rawRequest(port, get(path))
    t.equal(response.status, 200)
    // Node says keep-alive by itself
    t.same(NEVER.filter(name => response.header(name) !== undefined && !(name === 'keep-alive' && response.header(name) !== 'timeout=99')), [], path)
    t.same(response.all('content-length'), [String(response.body.length)], path)
    t.same(response.all('x-composite-complete'), ['true'], path)
    t.same(response.all('content-type'), ['application/json; charset=utf-8'], path)
    t.not(response.header('date'), 'Mon, 01 Jan 2024 00:00:00 GMT', path)
    t.equal(response.header('x-other'), path === '/none' || path === '/sequential' ? undefined : 'kept', path)
    t.notMatch(response.header('connection') ?? '', /x-hop/i, path)
  }
})

t.test('early hints and trailers of a part reach nobody', async t => {
  const messy = Buffer.from('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: hint=1\r\n\r\n' +
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n7\r\n{"a":1}\r\n0\r\nX-T: 1\r\nSet-Cookie: late=1\r\n\r\n')
  const { port } = await bytesGateway(t, { a: messy, b: jsonAnswer('{"b":1}') }, { '/merge': { parts, strategy: 'merge' }, '/select': { parts, strategy: 'select' } })
  for (const path of ['/merge', '/select']) {
    const client = await rawClient(t, port)
    const response = await client.exchange(get(path, { TE: 'trailers' }))
    t.equal(response.text, path === '/merge' ? '{"a":1,"b":1}' : '{"a":1}')
    t.same([client.informational, response.trailers, response.header('trailer'), response.header('link'), response.header('set-cookie')], [[], [], undefined, undefined, undefined], path)
    t.equal((await client.exchange(get(path))).status, 200, 'and the connection is usable')
  }
})

t.test('framing in the trailers of a part spoils neither this answer nor the next', async t => {
  const withTrailer = (trailer: string): string => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n${trailer}\r\n\r\n`
  const { port } = await bytesGateway(t, { a: withTrailer('Transfer-Encoding: chunked'), b: jsonAnswer('{"b":1}'), c: withTrailer('Content-Length: 3') }, {
    '/': { parts, strategy: 'merge' }, '/refused': { parts: { c: { backend: 'c', path: '/' }, b: parts.b }, strategy: 'merge' }
  })
  for (let i = 0; i < 5; i++) {
    t.equal(await rawBody(port, '/'), '{"a":1,"b":1}')
    // what the parser takes for a lie fails the part, and only that
    t.equal(await rawBody(port, '/refused'), '{"b":1}')
  }
})

t.test('HEAD gives the head of what GET gives', async t => {
  const { port } = await bytesGateway(t, { a: jsonAnswer('{"a":1}'), b: respond(500) }, { '/': { parts } })
  const client = await rawClient(t, port)
  const head = await client.exchange(requestBytes('HEAD', '/'))
  t.same([head.status, head.header('content-length'), head.header('x-composite-complete'), head.header('cache-control'), head.text], [200, '13', 'false', 'no-store', ''])
  t.equal((await client.exchange(get('/'))).text, '{"a":{"a":1}}')
})

t.test('odd headers of a part do no harm', async t => {
  const odd = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n__proto__: x\r\nconstructor: y\r\nSet-Cookie: a=\xe9\r\nX-Latin: \xe9\r\nVary: \r\nCache-Control: \r\nContent-Length: 7\r\n\r\n{"a":1}'
  const { port } = await bytesGateway(t, { a: odd, b: jsonAnswer('{"b":1}') }, { '/': { parts, strategy: 'merge', headers: { from: 'a' } } })
  const { response } = await rawRequest(port, get('/'))
  t.same([response.status, response.text, response.header('set-cookie'), response.header('x-latin')], [200, '{"a":1,"b":1}', 'a=\xe9', '\xe9'])
})

t.test('the client\'s conditions and ranges do not go to the parts', async t => {
  const a = await rawUpstream(t, jsonAnswer('{"a":1}'))
  const { port } = await startComposites(t, { a: a.url }, { '/': { parts: { a: { backend: 'a', path: '/' } } }, '/short': { backends: ['a'] } })
  for (const path of ['/', '/short']) {
    const { response } = await rawRequest(port, get(path, { Range: 'bytes=0-1', 'If-None-Match': '"1"', 'If-Modified-Since': 'x', 'If-Range': '"1"', 'Accept-Encoding': 'gzip, br', TE: 'trailers' }))
    t.equal(response.status, 200)
    t.same(['range', 'if-none-match', 'if-modified-since', 'if-range'].filter(name => a.last.header(name) !== undefined), [], path)
    t.equal(a.last.header('accept-encoding'), 'identity', path)
  }
})
