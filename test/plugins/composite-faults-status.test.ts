/** A part that answers, but not with a success: statuses, redirects, and which of them reach the client. */
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { get, rawRequest, rawUpstream, respond, wait } from '../helper.ts'
import { ROLES, STRATEGIES, ask, checkFault, checkHealed, jsonAnswer, startComposites, startFaulty, withoutMeta } from '../helper-composite-faults.ts'
import type { Script } from '../helper.ts'
import type { Expected, PartOptions } from '../helper-composite-faults.ts'

t.jobs = 2

const failed = (status: number): Expected => ({ code: 'RP_ERR_PART_STATUS', status })

const cases: ReadonlyArray<readonly [name: string, script: Script, expected: Expected]> = [
  ...[500, 502, 503, 504, 599].map(status => [`status ${status}`, respond(status, [['Content-Type', 'application/json'], ['Retry-After', '7']], '{"secret":"of the backend"}'), failed(status)] as const),
  ['status 500 without a length', ['HTTP/1.1 500 Oops\r\n\r\n{"a":1}', { act: 'fin' }], failed(500)],
  ['status 500 with a body that never ends', async ({ play }) => { await play('HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n'); for (let i = 0; i < 1_000; i++) await play(['400\r\n' + 'x'.repeat(1024) + '\r\n', wait(1)]) }, failed(500)],
  ['a 304 that nobody asked for', respond(304, [['ETag', '"1"']], null), failed(304)],
  ['a 300 without a place', respond(300, [], '{"a":1}'), failed(300)],
  ['a 302 without a place', respond(302, [], '{"a":1}'), failed(302)],
  ['a 302 to a host that is not configured', respond(302, [['Location', 'http://elsewhere.invalid/x']], '{"a":1}'), failed(302)],
  ['a 302 to no address', respond(302, [['Location', 'http://[bad']], '{"a":1}'), failed(302)],
  ['a 302 to another scheme', respond(302, [['Location', 'file:///etc/passwd']], '{"a":1}'), failed(302)],
  ['a 302 to two places', respond(302, [['Location', '/a'], ['Location', '/b']], '{"a":1}'), failed(302)],
  ['a redirect to itself', respond(302, [['Location', '/bad']], '{"a":1}'), { code: 'RP_ERR_TOO_MANY_REDIRECTS' }]
]

for (const [name, script, expected] of cases) {
  t.test(name, async t => {
    const gateway = await startFaulty(t, script)
    await checkFault(t, gateway, expected)
  })
}

t.test('a redirect is followed ten times and not once more', async t => {
  const gateway = await startFaulty(t, [])
  let hops = 10
  gateway.bad.answer(({ request }) => {
    const hop = Number(/\/hop(\d+)/.exec(request.target)?.[1] ?? 0)
    return hop < hops ? respond(302, [['Location', `/hop${hop + 1}`]], 'moved') : jsonAnswer(`{"hops":${hop}}`)
  })
  t.same(withoutMeta((await ask(`${gateway.url}/merge/optional`)).text).body, { hops: 10, good: 1 })
  hops = 11
  const answer = await ask(`${gateway.url}/merge/optional`)
  t.same(withoutMeta(answer.text).meta.parts[0]?.code, 'RP_ERR_TOO_MANY_REDIRECTS')
  await checkHealed(t, gateway)
})

t.test('a redirect with a body that never ends is followed all the same', async t => {
  const gateway = await startFaulty(t, ({ request, play }) => request.target === '/there'
    ? jsonAnswer('{"there":1}')
    : play(['HTTP/1.1 302 Found\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n']))
  const answer = await ask(`${gateway.url}/merge/optional`)
  t.same(withoutMeta(answer.text).body, { there: 1, good: 1 })
  t.ok(answer.ms < 900, 'without waiting for its end')
  await checkHealed(t, gateway)
})

t.test('a redirect to another configured backend is followed without what belongs to the first', async t => {
  const other = await rawUpstream(t, jsonAnswer('{"other":1}'))
  const gateway = await startFaulty(t, respond(307, [['Location', `${other.url}/there?x=1`]]), { backends: { other: other.url } })
  const answer = await ask(`${gateway.url}/merge/optional`, { headers: { authorization: 'Bearer x', cookie: 'a=1' } })
  t.same(withoutMeta(answer.text).body, { other: 1, good: 1 })
  t.same([other.last.target, other.last.header('authorization'), other.last.header('cookie')], ['/there?x=1', undefined, undefined])
})

t.test('with redirects: pass a redirect fails the part and is not followed', async t => {
  const gateway = await startFaulty(t, respond(302, [['Location', '/there']]), { part: { redirects: 'pass' } })
  await checkFault(t, gateway, { ...failed(302), heals: false })
  t.ok(gateway.bad.requests.every(({ target }) => target === '/bad'))
})

t.test('the time of a part holds for all of its redirects together', async t => {
  const gateway = await startFaulty(t, [wait(60), respond(302, [['Location', '/bad']])], { part: { timeout: 200 } })
  await checkFault(t, gateway, { code: 'RP_ERR_TIMEOUT', required: [504, 'RP_ERR_TIMEOUT'] })
})

// ---- answers that are none of a part's faults

const fine: ReadonlyArray<readonly [name: string, script: Script, body: unknown]> = [
  ['204', respond(204, [], null), null],
  ['205', respond(205, [], ''), null],
  ['200 without a body', respond(200, [['Content-Type', 'application/json']], ''), null],
  ['200 with white space only', jsonAnswer(' \r\n\t '), null],
  ['200 with null', jsonAnswer('null'), null],
  ['201', respond(201, [['Content-Type', 'application/json']], '{"id":7}'), { id: 7 }],
  ['a body that ends with its connection', ['HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"id":7}', { act: 'fin' }], { id: 7 }],
  ['HTTP/1.0', ['HTTP/1.0 200 OK\r\n\r\n{"id":7}', { act: 'fin' }], { id: 7 }],
  ['no content type', respond(200, [], '{"id":7}'), { id: 7 }],
  ['another content type', respond(200, [['Content-Type', 'text/plain']], '{"id":7}'), { id: 7 }],
  ['100 and 103 first', Buffer.concat([Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n'), jsonAnswer('{"id":7}')]), { id: 7 }]
]

for (const [name, script, body] of fine) {
  t.test(`${name} is a success`, async t => {
    const gateway = await startFaulty(t, script)
    for (const strategy of STRATEGIES) {
      for (const role of ROLES) {
        const answer = await ask(`${gateway.url}/${strategy}/${role}`)
        t.equal(answer.status, 200, `${strategy} ${role}`)
        t.equal(answer.headers.get('x-composite-complete'), 'true', `${strategy} ${role}`)
        t.equal(answer.headers.get('cache-control'), null, `${strategy} ${role}`)
        const good = role === 'alone' ? {} : strategy === 'merge' ? { good: 1 } : { good: { good: 1 } }
        t.same(withoutMeta(answer.text).body, strategy === 'merge' ? { ...(body as object | null), ...good } : { bad: body, ...good }, `${strategy} ${role}`)
      }
    }
    t.same(gateway.log.lines, [], 'nothing in the log')
    await checkHealed(t, gateway)
  })
}

for (const [name, script] of fine.slice(0, 5)) {
  t.test(`${name} with onEmpty: skip leaves the part out, and the answer is complete`, async t => {
    const gateway = await startFaulty(t, script, { part: { onEmpty: 'skip' } })
    for (const role of ['optional', 'required', 'fallback'] as const) {
      const answer = await ask(`${gateway.url}/object/${role}`)
      t.equal(answer.headers.get('x-composite-complete'), 'true')
      const { body, meta } = withoutMeta(answer.text)
      t.same(body, { good: { good: 1 } })
      t.equal(meta.parts[0]?.state, 'empty')
    }
    t.same(withoutMeta((await ask(`${gateway.url}/object/alone`)).text).body, {})
  })

  t.test(`${name} with onEmpty: fail fails the part`, async t => {
    const status = name === '204' ? 204 : name === '205' ? 205 : 200
    await checkFault(t, await startFaulty(t, script, { part: { onEmpty: 'fail' } }), { code: 'RP_ERR_PART_EMPTY', status })
  })
}

// ---- refusals

for (const status of [400, 401, 403, 404, 409, 410, 412, 416, 429, 451]) {
  t.test(`a ${status} of an optional part leaves it out, that of a required or only part is the answer`, async t => {
    const gateway = await startFaulty(t, respond(status, [['Content-Type', 'application/json'], ['Retry-After', '7']], '{"no":true}'))
    for (const strategy of STRATEGIES) {
      const optional = await ask(`${gateway.url}/${strategy}/optional`)
      t.equal(optional.status, 200)
      t.equal(optional.headers.get('x-composite-complete'), 'false')
      t.equal(optional.headers.get('cache-control'), 'no-store')
      t.equal(optional.headers.get('retry-after'), null)
      t.match(withoutMeta(optional.text).meta.parts[0], { state: 'failed', status, code: 'RP_ERR_PART_STATUS' })
      const fallback = await ask(`${gateway.url}/${strategy}/fallback`)
      t.match(withoutMeta(fallback.text).meta.parts[0], { state: 'fallback', status, code: 'RP_ERR_PART_STATUS' })
      for (const role of ['required', 'alone']) {
        const answer = await ask(`${gateway.url}/${strategy}/${role}`)
        t.same([answer.status, answer.text, answer.headers.get('retry-after'), answer.headers.get('content-type')], [status, '{"no":true}', '7', 'application/json'], `${strategy} ${role}`)
        t.equal(answer.headers.get('x-composite-complete'), 'false', `${strategy} ${role}`)
      }
    }
    for (const path of ['/merge/optional', '/merge/required', '/merge/alone', '/merge/fallback']) t.equal(gateway.log.partsOf(path).length, 1, path)
    t.same(gateway.log.errors(), [])
    await checkHealed(t, gateway)
  })
}

t.test('a refusal goes through byte for byte with its headers, hop-by-hop ones excepted', async t => {
  const body = Buffer.from('{ "why" : 1e400, "x": 12345678901234567890, \xff }', 'latin1')
  const gateway = await startFaulty(t, respond(422, [
    ['Content-Type', 'application/problem+json'], ['X-Reason', 'because'], ['WWW-Authenticate', 'Bearer realm="a"'], ['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'],
    ['Cache-Control', 'max-age=60'], ['Connection', 'keep-alive, x-hop'], ['X-Hop', '1'], ['Keep-Alive', 'timeout=5'], ['Proxy-Authenticate', 'Basic'], ['ETag', '"7"']
  ], body))
  const { response } = await rawRequest(gateway.port, get('/object/required'))
  t.equal(response.status, 422)
  t.same(response.body, body)
  t.same(response.all('set-cookie'), ['a=1', 'b=2'])
  t.same(['content-type', 'x-reason', 'www-authenticate', 'cache-control', 'etag'].map(name => response.header(name)), ['application/problem+json', 'because', 'Bearer realm="a"', 'max-age=60', '"7"'])
  t.same(['x-hop', 'proxy-authenticate'].map(name => response.header(name)), [undefined, undefined])
  t.not(response.header('keep-alive'), 'timeout=5')
  t.equal(response.all('content-length').length + response.all('transfer-encoding').length, 1, 'framed once')
})

t.test('a refusal that came packed goes through packed', async t => {
  const packed = gzipSync('{"no":1}')
  const gateway = await startFaulty(t, respond(403, [['Content-Type', 'application/json'], ['Content-Encoding', 'gzip']], packed))
  const { response } = await rawRequest(gateway.port, get('/object/required'))
  t.same([response.status, response.header('content-encoding'), response.body], [403, 'gzip', packed])
})

t.test('a refusal without a body, and one in chunks with trailers', async t => {
  const gateway = await startFaulty(t, respond(404, [], ''))
  const empty = await rawRequest(gateway.port, get('/object/required'))
  t.same([empty.response.status, empty.response.text, empty.response.header('content-length')], [404, '', '0'])
  gateway.bad.answer('HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nno\r\n0\r\nX-T: 1\r\n\r\n')
  const { response } = await rawRequest(gateway.port, get('/object/required'))
  t.same([response.status, response.text, response.trailers, response.header('trailer')], [404, 'no', [], undefined])
  await checkHealed(t, gateway)
})

t.test('a refusal whose body is too large, breaks off or is too slow is no answer for the client', async t => {
  const gateway = await startFaulty(t, respond(404, [], 'x'.repeat(5_000)), { part: { maxBytes: 1_000, timeout: 250 } })
  await checkFault(t, gateway, { code: 'RP_ERR_PART_TOO_LARGE', status: 404, heals: false })
  gateway.log.lines.length = 0
  gateway.bad.answer(['HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno', { act: 'fin' }])
  await checkFault(t, gateway, { code: 'RP_ERR_RESET', status: 404, heals: false })
  gateway.log.lines.length = 0
  gateway.bad.answer('HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno')
  await checkFault(t, gateway, { code: 'RP_ERR_TIMEOUT', status: 404, required: [504, 'RP_ERR_TIMEOUT'] })
})

// ---- several parts

/** Backends a, b, c with these scripts, asked by one composite. */
async function several (t: Parameters<typeof startFaulty>[0], scripts: Readonly<Record<string, Script>>, parts: Readonly<Record<string, PartOptions>> = {}) {
  const names = Object.keys(scripts)
  const upstreams = await Promise.all(names.map(name => rawUpstream(t, scripts[name]!)))
  const backends = Object.fromEntries(names.map((name, index) => [name, upstreams[index]!.url]))
  const composite = { strategy: 'object', parts: Object.fromEntries(names.map(name => [name, { backend: name, path: `/${name}`, timeout: 5_000, ...parts[name] }])) } as const
  return { ...await startComposites(t, backends, { '/': composite }), upstreams }
}

const json = (status: number, name: string): Script => respond(status, [['Content-Type', 'application/json'], ['X-From', name]], `{"from":"${name}"}`)

t.test('where every part refuses, the first declared answer is the client\'s, whoever was quick', async t => {
  const { url } = await several(t, { a: [wait(80), json(404, 'a') as Buffer], b: json(401, 'b'), c: json(500 - 1, 'c') })
  const answer = await ask(`${url}/`)
  t.same([answer.status, answer.text, answer.headers.get('x-from'), answer.headers.get('x-composite-complete')], [404, '{"from":"a"}', 'a', 'false'])
})

t.test('refusals with another failure among them are a 502, with a timeout among them a 504', async t => {
  const mixed = await ask(`${(await several(t, { a: json(404, 'a'), b: json(500, 'b') })).url}/`)
  t.match([mixed.status, JSON.parse(mixed.text)], [502, { code: 'RP_ERR_NOTHING_USABLE' }])
  const slow = await ask(`${(await several(t, { a: json(404, 'a'), b: json(500, 'b'), c: [] }, { c: { timeout: 200 } })).url}/`)
  t.match([slow.status, JSON.parse(slow.text)], [504, { code: 'RP_ERR_TIMEOUT' }])
})

t.test('the first required part in order of declaration decides, whoever failed first', async t => {
  const required = { required: true }
  const { url } = await several(t, { a: json(200, 'a'), b: [wait(80), json(409, 'b') as Buffer], c: json(500, 'c') }, { b: required, c: required })
  for (let i = 0; i < 3; i++) {
    const answer = await ask(`${url}/`)
    t.same([answer.status, answer.text], [409, '{"from":"b"}'])
  }
})

t.test('a required part without a target is a 503', async t => {
  const { app, url } = await several(t, { a: json(200, 'a'), b: json(200, 'b') }, { b: { required: true } })
  await app.reverseproxy.backends.drain('b')
  const answer = await ask(`${url}/`)
  t.match([answer.status, JSON.parse(answer.text)], [503, { code: 'RP_ERR_NO_TARGET' }])
})

t.test('an optional part without a target leaves the rest', async t => {
  const { app, url } = await several(t, { a: json(200, 'a'), b: json(200, 'b') })
  await app.reverseproxy.backends.drain('b')
  const answer = await ask(`${url}/`)
  t.same([answer.status, JSON.parse(answer.text), answer.headers.get('x-composite-complete')], [200, { a: { from: 'a' } }, 'false'])
})

t.test('partialStatus: 206 for what is not complete, 200 for what is', async t => {
  const gateway = await startFaulty(t, respond(500, []), { composite: { partialStatus: 206 } })
  for (const role of ['optional', 'fallback']) {
    const answer = await ask(`${gateway.url}/object/${role}`)
    t.same([answer.status, answer.headers.get('x-composite-complete'), answer.headers.get('cache-control')], [206, 'false', 'no-store'])
  }
  gateway.bad.answer(jsonAnswer('{}'))
  t.equal((await ask(`${gateway.url}/object/optional`)).status, 200)
})
