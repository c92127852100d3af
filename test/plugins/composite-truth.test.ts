/** What the client is told about an answer: complete or not, which parts, its status, and the headers of the parts. */
import t from 'tap'
import { BREAK, HOLD, get, json, rawRequest, requestBytes, startComposite, status, Whole } from '../helper.ts'
import type { Answers, TestLike } from '../helper.ts'
import type { CompositeOptions } from '../../lib/options/index.ts'

interface Meta { complete: boolean, parts: Array<{ name: string, state: string, status?: number, code?: string, ms: number }> }
const metaOf = (value: unknown): Meta => (value as { _meta: Meta })._meta

async function answerOf (t: TestLike, composite: CompositeOptions, answers: Answers = {}) {
  return await (await startComposite(t, composite, { answers })).ask()
}

const AB = ['a', 'b']

// ---- complete, or not

t.test('a complete answer says so, and is not kept from caches', async t => {
  const { status: code, headers } = await answerOf(t, { backends: AB })
  t.same([code, headers.get('x-composite-complete'), headers.get('cache-control')], [200, 'true', null])
})

t.test('an incomplete answer says so, and no cache may keep it', async t => {
  const { status: code, headers, value } = await answerOf(t, { backends: AB }, { a: status(200, { a: 1 }, { 'cache-control': 'public, max-age=60' }), b: status(500) })
  t.same([code, headers.get('x-composite-complete'), headers.get('cache-control'), value], [200, 'false', 'no-store', { a: 1 }])
})

t.test('no-store has the last word over configured edits', async t => {
  const { headers } = await answerOf(t, { backends: AB, headers: { response: { set: { 'cache-control': 'public, max-age=60' } } } }, { b: status(500) })
  t.equal(headers.get('cache-control'), 'no-store')
})

t.test('partialStatus: 206 where something is lacking, 200 where nothing is', async t => {
  t.equal((await answerOf(t, { backends: AB, partialStatus: 206 }, { b: BREAK })).status, 206)
  t.equal((await answerOf(t, { backends: AB, partialStatus: 206 })).status, 200)
  t.equal((await answerOf(t, { parts: { x: { backend: 'a', fallback: 1 } }, partialStatus: 206 }, { a: BREAK })).status, 206)
  t.equal((await answerOf(t, { parts: { x: { backend: 'a' }, y: { backend: 'b', when: '{request.query.q}' } }, partialStatus: 206 })).status, 200, 'a skipped part is not lacking')
})

t.test('_meta tells of every part: state, status, code, time', async t => {
  const { value } = await answerOf(t, {
    meta: true,
    parts: {
      ok: { backend: 'a' },
      failed: { backend: 'b' },
      fallback: { backend: 'c', fallback: 1 },
      skipped: { backend: 'a', when: '{request.query.q}' },
      empty: { backend: 'd', onEmpty: 'skip' },
      partial: { backend: 'e', path: '/{item}', forEach: () => [1, 2] },
      refused: { backend: 'f' }
    }
  }, { b: BREAK, c: status(503), d: json('null'), e: ({ target }: { target: string }) => target === '/1' ? 1 : status(500), f: status(404) })
  const { complete, parts } = metaOf(value)
  t.equal(complete, false)
  t.same(parts.map(({ ms, ...rest }) => rest), [
    { name: 'ok', state: 'ok', status: 200 },
    { name: 'failed', state: 'failed', code: 'RP_ERR_RESET' },
    { name: 'fallback', state: 'fallback', status: 503, code: 'RP_ERR_PART_STATUS' },
    { name: 'skipped', state: 'skipped' },
    { name: 'empty', state: 'empty', status: 200 },
    { name: 'partial', state: 'partial', status: 200, code: 'RP_ERR_PART_STATUS' },
    { name: 'refused', state: 'failed', status: 404, code: 'RP_ERR_PART_STATUS' }
  ])
  for (const { name, ms } of parts) t.ok(typeof ms === 'number' && ms >= 0 && ms < 5000, `${name}: ${ms}`)
  t.ok(parts[3]!.ms < 100, 'nobody waited for it')
})

t.test('_meta replaces a key of that name that a part has', async t => {
  for (const conflict of ['last', 'first', 'deep', 'error'] as const) {
    const { value, text } = await answerOf(t, { backends: AB, meta: true, conflict }, { a: { _meta: 'mine', x: 1 } })
    t.equal(metaOf(value).complete, true)
    t.equal(text.match(/_meta/g)?.length, 1)
  }
})

t.test('_meta goes into an object that transform makes, and into nothing else', async t => {
  const transform = (made: unknown) => ({ meta: true, parts: { x: { backend: 'a' } }, transform: () => made })
  t.equal(metaOf((await answerOf(t, transform({ a: 1 }))).value).complete, true)
  t.equal((await answerOf(t, transform([1]))).text, '[1]')
  t.equal((await answerOf(t, transform('x'))).text, 'x')
})

t.test('without meta there is none', async t => {
  t.equal((await answerOf(t, { backends: AB })).text, '{"a":1,"b":1}')
})

// ---- status by what happened

const NOTHING: Array<[what: string, a: unknown, b: unknown, status: number, code: string | undefined]> = [
  ['two refusals', status(404, { first: 1 }), status(403), 404, undefined], ['a refusal and a failure', status(404), status(500), 502, 'RP_ERR_NOTHING_USABLE'],
  ['two failures', status(500), BREAK, 502, 'RP_ERR_NOTHING_USABLE'], ['what is no JSON', json('<p>'), json('{'), 502, 'RP_ERR_NOTHING_USABLE']
]
for (const [what, a, b, code, error] of NOTHING) {
  t.test(`nothing usable: ${what}`, async t => {
    const told = await answerOf(t, { backends: AB }, { a, b })
    t.same([told.status, (told.value as { code?: string }).code], [code, error])
    if (error === undefined) t.equal(told.text, '{"first":1}')
  })
}

t.test('nothing usable, and a part was too slow: 504', async t => {
  const { status: code, value } = await answerOf(t, { parts: { x: { backend: 'a', timeout: '50ms' }, y: { backend: 'b' } } }, { a: HOLD, b: status(500) })
  t.same([code, (value as { code: string }).code], [504, 'RP_ERR_TIMEOUT'])
})

t.test('a refusal passes through with status, body and its own headers, but none of the hop', async t => {
  const { port } = await startComposite(t, { backends: AB, headers: { from: 'a' } }, { answers: { a: new Whole(422, { 'content-type': 'application/problem+json', 'x-why': 'w', 'set-cookie': ['a=1', 'b=2'], 'www-authenticate': 'Basic', etag: '"e"' }, '{ "title" : 1 }'), b: status(422) } })
  const { response } = await rawRequest(port, get('/c/7'))
  t.same([response.status, response.text, response.header('content-type'), response.header('x-why'), response.header('www-authenticate'), response.header('etag')], [422, '{ "title" : 1 }', 'application/problem+json', 'w', 'Basic', '"e"'])
  t.same(response.all('set-cookie'), ['a=1', 'b=2'])
  t.equal(response.header('x-composite-complete'), 'false')
  t.equal(response.header('transfer-encoding'), undefined)
})

t.test('a refusal without a body passes through without one', async t => {
  const { status: code, text, headers } = await answerOf(t, { parts: { x: { backend: 'a', required: true } } }, { a: new Whole(401, { 'www-authenticate': 'Bearer' }, '') })
  t.same([code, text, headers.get('www-authenticate')], [401, '', 'Bearer'])
})

t.test('response edits of the gateway and the composite hold for a refusal as well', async t => {
  const { ask } = await startComposite(t, { parts: { x: { backend: 'a', required: true } }, headers: { response: { set: { 'x-composite': '2' } } } }, {
    answers: { a: status(404, {}, { 'x-secret': 's' }) }, gateway: { headers: { response: { remove: ['x-secret'], set: { 'x-all': '1' } } } }
  })
  const { headers } = await ask()
  t.same([headers.get('x-secret'), headers.get('x-all'), headers.get('x-composite')], [null, '1', '2'])
})

// ---- empty

const EMPTY: Array<[onEmpty: 'allow' | 'skip' | 'fail' | undefined, text: string, state: string, complete: string]> = [
  [undefined, '{"x":null,"y":{"b":1}}', 'ok', 'true'], ['allow', '{"x":null,"y":{"b":1}}', 'ok', 'true'], ['skip', '{"y":{"b":1}}', 'empty', 'true'], ['fail', '{"y":{"b":1}}', 'failed', 'false']
]
for (const [onEmpty, text, state, complete] of EMPTY) {
  for (const [what, answer] of [['null', json('null')], ['no body', json('')], ['white space', json(' \n')], ['204', new Whole(204, {}, '')]] as const) {
    t.test(`onEmpty ${onEmpty ?? 'by default'}: ${what}`, async t => {
      const own = onEmpty === undefined ? {} : { onEmpty }
      const told = await answerOf(t, { parts: { x: { backend: 'a', ...own }, y: { backend: 'b' } } }, { a: answer })
      t.same([told.text, told.headers.get('x-composite-complete')], [text, complete])
      const { value } = await answerOf(t, { meta: true, ...own, parts: { x: { backend: 'a' }, y: { backend: 'b' } } }, { a: answer })
      t.equal(metaOf(value).parts[0]?.state, state, 'said for all parts')
    })
  }
}

t.test('an empty object, list or text is not empty', async t => {
  for (const value of [{}, [], '', 0, false]) t.same((await answerOf(t, { parts: { x: { backend: 'a', onEmpty: 'fail' } } }, { a: value })).value, { x: value })
})

t.test('a target that is missing is empty too', async t => {
  const parts = (onEmpty: 'allow' | 'skip' | 'fail'): CompositeOptions => ({ parts: { x: { backend: 'a', target: 'none', onEmpty }, y: { backend: 'b' } } })
  t.equal((await answerOf(t, parts('allow'))).text, '{"x":null,"y":{"b":1}}')
  t.equal((await answerOf(t, parts('skip'))).text, '{"y":{"b":1}}')
  t.equal((await answerOf(t, parts('fail'))).headers.get('x-composite-complete'), 'false')
})

t.test('required and onEmpty: fail: an empty part fails the answer', async t => {
  const { status: code, value } = await answerOf(t, { parts: { x: { backend: 'a', required: true, onEmpty: 'fail' } } }, { a: json('null') })
  t.same([code, (value as { code: string }).code], [502, 'RP_ERR_PART_EMPTY'])
})

// ---- headers of the parts

const HEADERS: Answers = {
  a: status(200, { a: 1 }, { 'set-cookie': ['a=1', 'b=2'], 'cache-control': 'public, max-age=60', vary: 'Accept', 'x-a': '1', etag: '"a"', 'last-modified': 'Sat, 21 Nov 2026 12:00:00 GMT', 'content-language': 'de', 'x-shared': 'a', age: '5' }),
  b: status(200, { b: 1 }, { 'set-cookie': 'c=3', 'cache-control': 'private, max-age=30', vary: 'accept, Cookie', 'x-b': '1', etag: '"b"', 'x-shared': 'b' })
}
const told = async (t: TestLike, headers: CompositeOptions['headers'] = {}, answers = HEADERS) => (await rawRequest((await startComposite(t, { backends: AB, headers }, { answers })).port, get('/c/7'))).response

t.test('by default: all cookies, the strictest Cache-Control, the union of Vary, and nothing else', async t => {
  const response = await told(t)
  t.same(response.all('set-cookie'), ['a=1', 'b=2', 'c=3'])
  t.same([response.header('cache-control'), response.header('vary')], ['private, max-age=30', 'Accept, Cookie'])
  for (const name of ['x-a', 'x-b', 'x-shared', 'etag', 'last-modified', 'content-language', 'age', 'server-timing']) t.equal(response.header(name), undefined, name)
  t.same(response.all('content-length'), ['13'])
  t.same(response.all('content-type'), ['application/json; charset=utf-8'])
})

t.test('a failed part has no say about headers', async t => {
  const response = await told(t, { from: 'b' }, { ...HEADERS, b: status(500, {}, { 'set-cookie': 'c=3', vary: 'Cookie', 'x-b': '1' }) })
  t.same([response.all('set-cookie'), response.header('vary'), response.header('x-b'), response.header('cache-control')], [['a=1', 'b=2'], 'Accept', undefined, 'no-store'])
})

t.test('each family may come from one part, or from none', async t => {
  const one = await told(t, { setCookie: 'b', cacheControl: 'a', vary: 'b' })
  t.same([one.all('set-cookie'), one.header('cache-control'), one.header('vary')], [['c=3'], 'public, max-age=60', 'accept, Cookie'])
  const none = await told(t, { setCookie: 'none', cacheControl: 'none', vary: 'none' })
  t.same([none.all('set-cookie'), none.header('cache-control'), none.header('vary')], [[], undefined, undefined])
})

t.test('headers.from takes the others of a part, never those about its body', async t => {
  const response = await told(t, { from: 'a' })
  t.same([response.header('x-a'), response.header('x-shared'), response.header('x-b')], ['1', 'a', undefined])
  for (const name of ['etag', 'last-modified', 'content-language']) t.equal(response.header(name), undefined, name)
  t.same(response.all('content-length'), ['13'])
})

t.test('headers of the hop never come through', async t => {
  const { port } = await startComposite(t, { backends: ['a'], headers: { from: 'a' } }, { answers: { a: status(200, {}, { connection: 'x-hop', 'x-hop': '1', 'keep-alive': 'timeout=99', 'proxy-authenticate': 'Basic', 'x-stay': '1' }) } })
  const { response } = await rawRequest(port, get('/c/7'))
  t.same([response.header('x-hop'), response.header('proxy-authenticate'), response.header('x-stay')], [undefined, undefined, '1'])
  t.notMatch(response.header('keep-alive') ?? '', /99/)
})

t.test('a part that is skipped takes no time, however long others took before', async t => {
  const durations: Record<string, number> = {}
  const { ask } = await startComposite(t, {
    parts: { x: { backend: 'a' }, y: { backend: 'b', path: '/{x.body.none}' } },
    transform: (parts: Record<string, { state: string, duration: number }>) => {
      for (const [name, { state, duration }] of Object.entries(parts)) durations[`${name} ${state}`] = duration
      return {}
    }
  })
  await ask()
  t.ok(durations['x ok']! > 0, JSON.stringify(durations))
  t.equal(durations['y skipped'], 0)
})

t.test('Server-Timing has one entry for each part', async t => {
  const { ask } = await startComposite(t, { parts: { x: { backend: 'a' }, y: { backend: 'b' }, z: { backend: 'c', when: '{request.query.q}' } }, headers: { serverTiming: true } }, { answers: { b: status(500) } })
  t.match((await ask()).headers.get('server-timing'), /^x;dur=[\d.]+, y;dur=[\d.]+;desc="failed", z;dur=0;desc="skipped"$/)
})

t.test('response edits of the gateway and then of the composite', async t => {
  const { ask } = await startComposite(t, { backends: AB, headers: { from: 'a', response: { set: { 'x-all': 'composite', 'x-new': 'n' }, append: { vary: 'x-mine' }, remove: ['set-cookie'], rename: { 'x-a': 'x-renamed' } } } }, {
    answers: HEADERS, gateway: { headers: { response: { set: { 'x-all': 'gateway' }, remove: ['x-shared'] } } }
  })
  const { headers } = await ask()
  t.same([headers.get('x-all'), headers.get('x-new'), headers.get('x-renamed'), headers.get('x-a'), headers.get('x-shared')], ['composite', 'n', '1', null, null])
  t.same(headers.getSetCookie(), [])
  t.match(headers.get('vary'), /Accept, Cookie.*x-mine/)
})

t.test('headers that hooks have set before stay', async t => {
  const { ask } = await startComposite(t, { backends: AB }, { answers: HEADERS, configure: app => { app.addHook('onRequest', async (_request, reply) => { reply.header('x-hook', '1'); reply.header('set-cookie', 'hook=1') }) } })
  const { headers } = await ask()
  t.equal(headers.get('x-hook'), '1')
  t.match(headers.getSetCookie().sort(), ['a=1', 'b=2', 'c=3', 'hook=1'])
})

t.test('an error says nothing of the parts: no cookies, no cache rules, no address', async t => {
  const { ask, port } = await startComposite(t, { conflict: 'error', backends: AB, headers: { from: 'a' } }, { answers: { a: status(200, { k: 1 }, { 'set-cookie': 'a=1', 'cache-control': 'public, max-age=60', 'x-a': '1' }), b: { k: 2 } } })
  const { status: code, headers, text } = await ask()
  t.same([code, headers.getSetCookie(), headers.get('cache-control'), headers.get('x-a')], [502, [], null, null])
  t.notMatch(text, /127\.0\.0\.1/)
  const head = await rawRequest(port, requestBytes('HEAD', '/c/7'))
  t.same([head.status, head.response.body.length], [502, 0])
})
