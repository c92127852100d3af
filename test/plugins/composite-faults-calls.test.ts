/** Faults where a part is more than one call, waits for a connection, or is combined by a function that goes wrong. */
import { gzipSync } from 'node:zlib'
import { Readable } from 'node:stream'
import t from 'tap'
import { RESET, chunk, framingLines, get, lastChunk, rawRequest, rawUpstream, respond, sleep, waitFor } from '../helper.ts'
import { ask, jsonAnswer, startComposites, withoutMeta } from '../helper-composite-faults.ts'
import type { RawUpstream, Script, TestLike } from '../helper.ts'
import type { CompositeOptions, Logged, PartOptions } from '../helper-composite-faults.ts'

t.jobs = 2

/** One backend that answers by path, and one that is well. */
async function setUp (t: TestLike, answers: Readonly<Record<string, Script>>, routes: Readonly<Record<string, CompositeOptions>>, backend: Readonly<Record<string, unknown>> = {}, target: Readonly<Record<string, unknown>> = {}): Promise<Logged & { up: RawUpstream }> {
  const up = await rawUpstream(t, exchange => {
    const script = answers[exchange.request.target.slice(1)] ?? jsonAnswer(`{"is":"${exchange.request.target.slice(1)}"}`)
    return typeof script === 'function' ? script(exchange) : script
  })
  return { ...await startComposites(t, { up: { targets: [{ url: up.url, ...target }], ...backend }, other: (await rawUpstream(t, jsonAnswer('{"other":1}'))).url }, routes), up }
}

const each = (items: readonly unknown[], more: PartOptions = {}, concurrency = 2): PartOptions => ({ backend: 'up', path: '/{item}', timeout: 300, forEach: { in: () => items, concurrency }, ...more })
const other = { backend: 'other', path: '/' } as const

const itemFaults: ReadonlyArray<readonly [name: string, script: Script, code: string]> = [
  ['500', respond(500), 'RP_ERR_PART_STATUS'], ['404', respond(404, [], 'no'), 'RP_ERR_PART_STATUS'], ['a reset', RESET, 'RP_ERR_RESET'], ['silence', [], 'RP_ERR_TIMEOUT'],
  ['HTML', respond(200, [], '<html>'), 'RP_ERR_PART_NOT_JSON'], ['a large body', jsonAnswer(`"${'x'.repeat(2_000_000)}"`), 'RP_ERR_PART_TOO_LARGE'], ['packed nonsense', jsonAnswer('x', [['Content-Encoding', 'gzip']]), 'RP_ERR_PART_ENCODING']
]

for (const [name, script, code] of itemFaults) {
  t.test(`${name} for one value of forEach: null in its place, the rest in order, not complete`, async t => {
    const { url, log, inflight } = await setUp(t, { bad: script }, {
      '/optional': { parts: { list: each(['a', 'bad', 'c']), other }, meta: true },
      '/required': { parts: { list: each(['a', 'bad', 'c'], { required: true }), other } },
      '/fallback': { parts: { list: each(['bad'], { fallback: [] }), other }, meta: true },
      '/join': { parts: { list: each([{ id: 'a' }, { id: 'bad' }], { forEach: { in: () => [{ id: 'a' }, { id: 'bad' }], join: { on: 'id', as: 'of' } } }) } }
    })
    const optional = await ask(`${url}/optional`)
    t.same([optional.status, optional.headers.get('x-composite-complete'), optional.headers.get('cache-control')], [200, 'false', 'no-store'])
    t.same(withoutMeta(optional.text).body, { list: [{ is: 'a' }, null, { is: 'c' }], other: { other: 1 } })
    t.match(withoutMeta(optional.text).meta.parts[0], { name: 'list', state: 'partial', code })
    t.same(log.partsOf('/optional').map(({ parts }) => parts!.map(({ name, state }) => [name, state])), [[['list', 'partial']]])
    const required = await ask(`${url}/required`)
    t.ok(required.status === (code === 'RP_ERR_TIMEOUT' ? 504 : 502) || (name === '404' && required.status === 404), `required: ${required.status}`)
    const fallback = await ask(`${url}/fallback`)
    t.same(withoutMeta(fallback.text).body, { list: [], other: { other: 1 } })
    t.match(withoutMeta(fallback.text).meta.parts[0], { state: 'fallback', code })
    t.same(JSON.parse((await ask(`${url}/join`)).text), { list: [{ id: 'a', of: { is: 'a' } }, { id: 'bad', of: null }] })
    t.ok(await waitFor(() => inflight() === 0))
  })
}

t.test('after the first failure of a required part with forEach no more calls begin', async t => {
  const { url, up } = await setUp(t, { bad: respond(500) }, { '/': { parts: { list: each(['bad', 'b', 'c', 'd', 'e'], { required: true }, 1) } } })
  t.equal((await ask(`${url}/`)).status, 502)
  await sleep(20)
  t.same(up.requests.map(({ target }) => target), ['/bad'])
})

t.test('after the first failure of a required part with forEach its other calls are cancelled', async t => {
  const { url, up } = await setUp(t, { bad: [{ wait: 30 }, respond(500)], slow: [] }, { '/': { parts: { list: each(['bad', 'slow'], { required: true, timeout: 3_000 }) } } })
  const answer = await ask(`${url}/`)
  t.equal(answer.status, 502)
  t.ok(answer.ms < 1_500, `at once (${Math.round(answer.ms)})`)
  t.ok(await up.dropped(up.requests.filter(({ target }) => target === '/slow')))
})

t.test('a loser of a race that has many calls to make does not spoil the answer', async t => {
  const { url, up } = await setUp(t, { slow: [] }, {
    '/': { strategy: 'select', race: true, maxCalls: 5, parts: { list: each(['slow', ...'abcdefghij'], { timeout: 3_000 }, 1), other } }
  })
  const answer = await ask(`${url}/`)
  t.same([answer.status, answer.text], [200, '{"other":1}'])
  await sleep(20)
  t.ok(up.requests.length <= 1)
})

t.test('more calls than maxCalls fail the answer, and more values than max their part', async t => {
  const { url, inflight } = await setUp(t, {}, {
    '/calls': { maxCalls: 3, parts: { list: each([1, 2, 3, 4]), other } },
    '/max': { parts: { list: { ...each([]), forEach: { in: () => [1, 2, 3], max: 2 } }, other } }
  })
  t.match(JSON.parse((await ask(`${url}/calls`)).text), { statusCode: 502, code: 'RP_ERR_PART_CALLS' })
  t.same(JSON.parse((await ask(`${url}/max`)).text), { other: { other: 1 } })
  t.ok(await waitFor(() => inflight() === 0))
})

// ---- waiting for a connection

const ONE = { pool: { connections: 1 } }

t.test('a part that waits for a connection has its own deadline, and the next one gets the connection', async t => {
  const { url, inflight } = await setUp(t, { slow: [] }, {
    '/waits': { parts: { slow: { backend: 'up', path: '/slow', timeout: 500 }, queued: { backend: 'up', path: '/queued', timeout: 150 }, later: { backend: 'up', path: '/later', timeout: 5_000 } }, meta: true }
  }, ONE)
  const answer = await ask(`${url}/waits`)
  const { body, meta } = withoutMeta(answer.text)
  t.same(body, { later: { is: 'later' } })
  t.same(meta.parts.map(({ state, code }) => [state, code]), [['failed', 'RP_ERR_TIMEOUT'], ['failed', 'RP_ERR_TIMEOUT'], ['ok', undefined]])
  t.ok(meta.parts[1]!.ms < 450, 'it does not wait for the one before it')
  t.ok(await waitFor(() => inflight() === 0))
})

t.test('a part that still waits for a connection when a required one fails is never sent', async t => {
  const { url, up, inflight } = await setUp(t, { slow: [] }, {
    '/': { parts: { need: { backend: 'up', path: '/slow', timeout: 200, required: true }, queued: { backend: 'up', path: '/queued', method: 'POST', body: { a: 1 } } } }
  }, ONE)
  t.equal((await ask(`${url}/`)).status, 504)
  t.ok(await waitFor(() => inflight() === 0))
  await sleep(50)
  t.same(up.requests.map(({ target }) => target), ['/slow'])
})

t.test('one target at its limit of connections: the part is refused, not the answer', async t => {
  const { url } = await setUp(t, { slow: [{ wait: 100 }, jsonAnswer('{}')] }, {
    '/': { parts: { slow: { backend: 'up', path: '/slow' }, over: { backend: 'up', path: '/over' } }, meta: true },
    '/required': { parts: { slow: { backend: 'up', path: '/slow' }, over: { backend: 'up', path: '/over', required: true } } }
  }, {}, { maxConnections: 1 })
  const { meta } = withoutMeta((await ask(`${url}/`)).text)
  t.same(meta.parts.map(({ state, code }) => [state, code]), [['ok', undefined], ['failed', 'RP_ERR_CONNECTION_LIMIT']])
  t.equal((await ask(`${url}/required`)).status, 503)
})

// ---- functions that go wrong

const cases: ReadonlyArray<readonly [name: string, transform: NonNullable<CompositeOptions['transform']>]> = [
  ['throws', () => { throw new Error('secret 10.0.0.1') }],
  ['rejects', async () => { throw new Error('secret 10.0.0.1') }],
  ['throws no error', () => { throw 'secret 10.0.0.1' }], // eslint-disable-line no-throw-literal
  ['rejects with nothing', () => Promise.reject(undefined)], // eslint-disable-line prefer-promise-reject-errors
  ['returns nothing', () => undefined],
  ['returns a function', () => () => 1],
  ['returns a BigInt', () => ({ a: 1n })],
  ['returns a circle', () => { const a: { a?: unknown } = {}; a.a = a; return a }],
  ['returns a header with a line break', () => ({ statusCode: 200, headers: { 'x-a': 'a\r\nSet-Cookie: evil=1' }, body: {} })],
  ['returns a header name with a space', () => ({ statusCode: 200, headers: { 'x a': '1' }, body: {} })]
]

for (const [name, transform] of cases) {
  t.test(`a transform that ${name} is a 500 without a word about it, and nothing of the parts stays in it`, async t => {
    const { port, url } = await setUp(t, { a: jsonAnswer('{"a":1}', [['Set-Cookie', 'a=1'], ['Cache-Control', 'max-age=600'], ['X-From', 'a']]) }, {
      '/': { parts: { a: { backend: 'up', path: '/a' } }, transform, headers: { from: 'a' } },
      '/well': { parts: { a: { backend: 'up', path: '/a' } } }
    })
    const { response } = await rawRequest(port, get('/'))
    t.equal(response.status, 500)
    t.match(JSON.parse(response.text), { statusCode: 500, code: 'RP_ERR_COMBINE' })
    t.notMatch(response.text, /secret|10\.0\.0\.1/)
    t.same(['set-cookie', 'cache-control', 'x-from'].map(name => response.header(name)), [undefined, undefined, undefined])
    t.equal((await ask(`${url}/well`)).status, 200)
  })
}

t.test('a transform may hand on the headers of a part: what is of its connection and its body stays behind', async t => {
  const up = await rawUpstream(t, Buffer.concat([
    Buffer.from('HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-From: a\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=99\r\nProxy-Authenticate: Basic\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n'),
    chunk(gzipSync('{"a":1}')), lastChunk()
  ]))
  const { port } = await startComposites(t, { up: up.url }, {
    '/': { parts: { a: { backend: 'up', path: '/a' } }, transform: ({ a }) => ({ statusCode: a.status, headers: a.headers, body: a.body }) },
    '/framing': { parts: { a: { backend: 'up', path: '/a' } }, transform: () => ({ statusCode: 200, headers: { 'Content-Length': '3', 'Transfer-Encoding': 'chunked', Connection: 'upgrade', Upgrade: 'x' }, body: { a: 1 } }) }
  })
  for (const path of ['/', '/framing']) {
    const { response } = await rawRequest(port, get(path))
    t.same([response.status, response.text], [path === '/' ? 201 : 200, '{"a":1}'], path)
    t.equal(framingLines(response.headers).length, 1, `${path}: framed once`)
    t.same(['content-encoding', 'x-hop', 'proxy-authenticate', 'upgrade'].filter(name => response.header(name) !== undefined), [], path)
    t.notMatch(response.header('connection') ?? '', /x-hop|upgrade/, path)
  }
})

t.test('a stream from transform that breaks cuts the answer', async t => {
  const { port, url } = await setUp(t, {}, {
    '/': { parts: { other }, transform: () => Readable.from((async function * () { yield 'some'; await sleep(10); throw new Error('broken') })()) },
    '/well': { parts: { other } }
  })
  const { responses } = await rawRequest(port, get('/'), { untilClose: true, ms: 3_000 })
  t.not(responses[0]?.complete, true, 'never a clean end')
  t.equal((await ask(`${url}/well`)).status, 200)
})

t.test('functions of a part that throw fail the part', async t => {
  const oops = (): never => { throw new Error('secret 10.0.0.1') }
  const { url } = await setUp(t, {}, Object.fromEntries(Object.entries<PartOptions>({
    path: { path: oops },
    query: { path: '/a', query: oops },
    body: { path: '/a', method: 'POST', body: oops },
    when: { path: '/a', when: oops },
    header: { path: '/a', headers: { set: { 'x-a': oops } } },
    each: { path: '/{item}', forEach: oops },
    crlf: { path: '/a', headers: { set: { 'x-a': () => 'a\r\nb: c' } } },
    climbs: { path: () => '/../x' },
    promise: { path: (async () => '/a') as unknown as () => string },
    list: { path: '/{item}', forEach: () => 'no list' as unknown }
  }).flatMap(([name, part]) => [
    [`/${name}`, { meta: true, parts: { bad: { backend: 'up', ...part }, other } }], [`/${name}/required`, { parts: { bad: { backend: 'up', ...part, required: true }, other } }]
  ])))
  for (const name of ['path', 'query', 'body', 'when', 'header', 'each', 'crlf', 'climbs', 'promise', 'list']) {
    const answer = await ask(`${url}/${name}`)
    const { body, meta } = withoutMeta(answer.text)
    t.same([answer.status, body, answer.headers.get('x-composite-complete')], [200, { other: { other: 1 } }, 'false'], name)
    t.match(meta.parts[0], { state: 'failed', code: 'RP_ERR_PART_INPUT' }, name)
    const required = await ask(`${url}/${name}/required`)
    t.match([required.status, JSON.parse(required.text)], [502, { code: 'RP_ERR_PART_INPUT' }], name)
    t.notMatch(required.text, /secret/)
  }
})
