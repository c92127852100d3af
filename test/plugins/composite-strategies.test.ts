/** How parts become one answer: the strategies, shaping within them, strategies of the user's own, and transform. */
import t from 'tap'
import { Readable } from 'node:stream'
import { BREAK, HOLD, json, sleep, startComposite, status, waitFor, Whole } from '../helper.ts'
import type { Answers, Asked, TestLike } from '../helper.ts'
import type { CompositeOptions } from '../../lib/options/index.ts'

type PartStates = Record<string, [string, string | undefined]>
const states = (value: unknown): PartStates =>
  Object.fromEntries((value as { _meta: { parts: Array<{ name: string, state: string, code?: string }> } })._meta.parts.map(({ name, state, code }) => [name, [state, code]]))

/** The text of the answer to parts a, b, c … with these answers. */
async function answerOf (t: TestLike, composite: CompositeOptions, ...answers: unknown[]) {
  const table: Answers = Object.fromEntries(answers.map((answer, index) => ['abcdef'[index]!, answer]))
  const { ask } = await startComposite(t, composite, { answers: table })
  return await ask()
}

const AB = ['a', 'b']

// ---- merge

t.test('merge: of keys that several parts have the last wins, at the place of the first', async t => {
  t.equal((await answerOf(t, { backends: AB }, { x: 1, y: { p: 1 }, z: 0 }, { y: { q: 2 }, x: 2, w: 3 })).text, '{"x":2,"y":{"q":2},"z":0,"w":3}')
})

t.test('merge: conflict first, deep and error', async t => {
  const [one, two] = [{ x: 1, y: { p: 1, r: [1] } }, { y: { q: 2, r: [2], p: 3 }, x: 2, w: 3 }]
  t.equal((await answerOf(t, { backends: AB, conflict: 'first' }, one, two)).text, '{"x":1,"y":{"p":1,"r":[1]},"w":3}')
  t.equal((await answerOf(t, { backends: AB, conflict: 'deep' }, one, two)).text, '{"x":2,"y":{"p":3,"r":[2],"q":2},"w":3}')
  const error = await answerOf(t, { backends: AB, conflict: 'error' }, one, two)
  t.equal(error.status, 502)
  t.same(error.value, { statusCode: 502, code: 'RP_ERR_CONFLICT', error: 'Bad Gateway', message: 'Parts of the answer contradict each other' })
  t.equal((await answerOf(t, { backends: AB, conflict: 'error' }, { x: 1 }, { y: 2 })).text, '{"x":1,"y":2}')
})

for (const conflict of ['last', 'first', 'deep', 'error'] as const) {
  t.test(`merge, conflict ${conflict}: the answer does not depend on who answers first`, async t => {
    const texts = new Set<string>()
    for (const order of ['abc', 'cba', 'bca']) {
      const { ask, until, to } = await startComposite(t, { backends: ['a', 'b', 'c'], conflict }, { answers: { a: HOLD, b: HOLD, c: HOLD } })
      const told = ask()
      await until(3)
      for (const name of order) {
        to(name).answer({ k: name, deep: { [name]: 1, k: name } })
        await sleep(8)
      }
      const { text, status: code } = await told
      texts.add(`${code} ${text}`)
    }
    t.equal(texts.size, 1, [...texts].join('\n'))
  })
}

t.test('merge keeps digits, escapes and keys that occur twice', async t => {
  const { text } = await answerOf(t, { backends: AB }, json('{"big":123456789012345678901234567890,"f":1.10,"t":"\\u00e9\\/"}'), json('{"n":-0,"e":1E400}'))
  t.equal(text, '{"big":123456789012345678901234567890,"f":1.10,"t":"\\u00e9\\/","n":-0,"e":1E400}')
})

t.test('merge: __proto__ and constructor are keys like any other, and nothing is polluted', async t => {
  const { text } = await answerOf(t, { backends: AB, conflict: 'deep' }, json('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'), json('{"__proto__":{"more":2},"x":1}'))
  t.match(text, /"polluted":1/)
  t.equal(({} as { polluted?: number }).polluted, undefined)
})

const MISMATCH: Array<[onMismatch: 'fail' | 'wrap' | 'skip' | undefined, text: string, state: [string, string | undefined], complete: string]> = [
  [undefined, '{"a":1}', ['failed', 'RP_ERR_PART_MISMATCH'], 'false'],
  ['fail', '{"a":1}', ['failed', 'RP_ERR_PART_MISMATCH'], 'false'],
  ['wrap', '{"a":1,"b":[1,2]}', ['ok', undefined], 'true'],
  ['skip', '{"a":1}', ['empty', undefined], 'true']
]
for (const [onMismatch, text, state, complete] of MISMATCH) {
  t.test(`merge: a part that is no object, onMismatch ${onMismatch ?? 'by default'}`, async t => {
    const options = { backends: AB, ...(onMismatch === undefined ? undefined : { onMismatch }) }
    const plain = await answerOf(t, options, { a: 1 }, [1, 2])
    t.same([plain.text, plain.headers.get('x-composite-complete')], [text, complete])
    t.same(states((await answerOf(t, { ...options, meta: true }, { a: 1 }, [1, 2])).value)['b'], state)
  })
}

t.test('merge: texts, numbers and false are no objects either, and null adds nothing', async t => {
  t.equal((await answerOf(t, { backends: ['a', 'b', 'c', 'd', 'e'], onMismatch: 'wrap' }, 'x', 5, false, json('null'), {})).text, '{"a":"x","b":5,"c":false}')
})

t.test('merge of nothing is an empty object', async t => {
  t.equal((await answerOf(t, { backends: AB }, {}, json(' { } '))).text, '{}')
  t.equal((await answerOf(t, { backends: AB }, json(''), json('null'))).text, '{}')
})

// ---- object

t.test('object: parts by name in order of declaration, byte for byte', async t => {
  const composite: CompositeOptions = { parts: { z: { backend: 'a' }, 'odd-name': { backend: 'b' }, $: { backend: 'c' }, n: { backend: 'd' } } }
  t.equal((await answerOf(t, composite, json('{ "n" : 1.0 }'), [1], 'x', json('null'))).text, '{"z":{ "n" : 1.0 },"odd-name":[1],"$":"x","n":null}')
})

t.test('object in the short form', async t => {
  t.equal((await answerOf(t, { backends: AB, strategy: 'object' })).text, '{"a":{"a":1},"b":{"b":1}}')
})

t.test('object: a failed part is not there, a part without a body is null', async t => {
  t.equal((await answerOf(t, { parts: { x: { backend: 'a' }, y: { backend: 'b' }, z: { backend: 'c' } } }, status(500), json(''), 1)).text, '{"y":null,"z":1}')
})

// ---- append

t.test('append: the lists behind each other, in order of declaration', async t => {
  t.equal((await answerOf(t, { backends: ['a', 'b', 'c', 'd'], strategy: 'append' }, json('[1.0, {"n":12345678901234567890}]'), [], ['x'], json('[ ]'))).text.replace(/\s/g, ''), '[1.0,{"n":12345678901234567890},"x"]')
  t.equal((await answerOf(t, { backends: AB, strategy: 'append' }, [], [])).text, '[]')
})

t.test('append: a part that is no list fails, is wrapped, or skipped', async t => {
  const append = (onMismatch?: 'fail' | 'wrap' | 'skip') => ({ backends: ['a', 'b', 'c'], strategy: 'append', ...(onMismatch === undefined ? undefined : { onMismatch }) })
  const answers = [[1], { o: 1 }, 'x']
  const failed = await answerOf(t, append(), ...answers)
  t.same([failed.text, failed.headers.get('x-composite-complete')], ['[1]', 'false'])
  const wrapped = await answerOf(t, append('wrap'), ...answers)
  t.same([wrapped.text, wrapped.headers.get('x-composite-complete')], ['[1,{"o":1},"x"]', 'true'])
  const skipped = await answerOf(t, append('skip'), ...answers)
  t.same([skipped.text, skipped.headers.get('x-composite-complete')], ['[1]', 'true'])
  t.equal((await answerOf(t, append('wrap'), [1], json('null'), json(''))).text, '[1]', 'null adds nothing')
})

t.test('a required part that does not fit fails the answer', async t => {
  const { status: code, value } = await answerOf(t, { strategy: 'append', parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } }, { o: 1 }, [1])
  t.same([code, (value as { code: string }).code], [502, 'RP_ERR_PART_MISMATCH'])
})

// ---- select

t.test('select: the first success in order, its status, type and body', async t => {
  const { ask, calls } = await startComposite(t, { backends: ['a', 'b', 'c'], strategy: 'select' }, { answers: { a: status(503), b: new Whole(201, { 'content-type': 'application/vnd.x+json' }, '{ "b" : 1.0 }') } })
  const told = await ask()
  t.same([told.status, told.text, told.headers.get('content-type')], [201, '{ "b" : 1.0 }', 'application/vnd.x+json; charset=utf-8'])
  t.same(calls, ['a /c/7', 'b /c/7'], 'c is not asked')
})

t.test('select: an answer that is another part\'s than the first is not complete', async t => {
  const other = await answerOf(t, { backends: AB, strategy: 'select' }, status(500), { b: 1 })
  t.equal(other.headers.get('x-composite-complete'), 'false')
  const first = await answerOf(t, { backends: AB, strategy: 'select' })
  t.equal(first.headers.get('x-composite-complete'), 'true')
})

t.test('select: nothing succeeds', async t => {
  const refused = await answerOf(t, { backends: AB, strategy: 'select' }, status(404, { first: 1 }), status(403, { second: 1 }))
  t.same([refused.status, refused.text], [404, '{"first":1}'])
  const mixed = await answerOf(t, { backends: AB, strategy: 'select' }, status(404), BREAK)
  t.same([mixed.status, (mixed.value as { code: string }).code], [502, 'RP_ERR_NOTHING_USABLE'])
})

t.test('select: a fallback is a success', async t => {
  t.equal((await answerOf(t, { strategy: 'select', parts: { x: { backend: 'a', fallback: { f: 1 } }, y: { backend: 'b' } } }, status(500))).text, '{"f":1}')
})

t.test('select: a part that is skipped goes by', async t => {
  t.equal((await answerOf(t, { strategy: 'select', parts: { x: { backend: 'a', when: '{request.query.go}' }, y: { backend: 'b' } } })).text, '{"b":1}')
})

t.test('select with race: all at once, the first success wins, the others are cancelled', async t => {
  const { ask, until, to } = await startComposite(t, { backends: ['a', 'b', 'c'], strategy: 'select', race: true }, { answers: { a: HOLD, b: HOLD, c: HOLD } })
  const told = ask()
  t.ok(await until(3))
  to('a').answer(status(500))
  await sleep(20)
  to('c').answer({ c: 1 })
  t.equal((await told).text, '{"c":1}')
  t.ok(await waitFor(() => to('b').dropped))
})

t.test('select with race: when all fail, the first declared refusal is the answer', async t => {
  const { ask, until, to } = await startComposite(t, { backends: AB, strategy: 'select', race: true }, { answers: { a: HOLD, b: HOLD } })
  const told = ask()
  await until(2)
  to('b').answer(status(409, { b: 1 }))
  await sleep(10)
  to('a').answer(status(404, { a: 1 }))
  t.equal((await told).text, '{"a":1}')
})

t.test('select and sequential shape what they answer with', async t => {
  for (const strategy of ['select', 'sequential']) t.equal((await answerOf(t, { strategy, parts: { x: { backend: 'a', target: 'data', pick: ['n'], rename: { n: 'm' }, omit: ['z'], group: 'g' } } }, { data: { n: 1, o: 2 } })).text, '{"g":{"m":1}}')
})

t.test('select and sequential may answer with a list, a text, null or nothing', async t => {
  for (const strategy of ['select', 'sequential']) {
    const tell = async (answer: unknown) => { const { status, text } = await answerOf(t, { backends: ['a'], strategy }, answer); return [status, text] }
    t.same(await tell([1, 2]), [200, '[1,2]'])
    t.same(await tell('x'), [200, '"x"'])
    t.same(await tell(json('null')), [200, 'null'])
    t.same(await tell(json('')), [204, ''])
    t.same(await tell(status(201, 5)), [201, '5'])
  }
})

// ---- sequential

t.test('sequential: the last answer that there is', async t => {
  t.equal((await answerOf(t, { backends: ['a', 'b', 'c'], strategy: 'sequential' })).text, '{"c":1}')
  const last = await answerOf(t, { backends: ['a', 'b', 'c'], strategy: 'sequential' }, { a: 1 }, { b: 1 }, status(500))
  t.same([last.text, last.headers.get('x-composite-complete')], ['{"b":1}', 'false'])
})

t.test('sequential: a required part that fails ends it', async t => {
  const { ask, calls } = await startComposite(t, { strategy: 'sequential', parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } }, { answers: { a: status(422, { why: 1 }) } })
  const told = await ask()
  t.same([told.status, told.text], [422, '{"why":1}'])
  t.same(calls, ['a /c/7'], 'nothing is written after a failed step')
})

// ---- shaping

const BODY = { data: { items: [{ id: 1, address: { city: 'x', zip: 2 }, secret: 's' }, { id: 2, address: null }], total: 2 } }
const SHAPES: Array<[what: string, shape: object, result: unknown]> = [
  ['target', { target: 'data.total' }, 2], ['target of an element', { target: 'data.items.1.id' }, 2], ['a missing target', { target: 'data.none' }, null],
  ['pick', { target: 'data', pick: ['items.id', 'total'] }, { items: [{ id: 1 }, { id: 2 }], total: 2 }],
  ['pick below', { target: 'data.items', pick: ['address.city'] }, [{ address: { city: 'x' } }, { address: null }]],
  ['omit', { omit: ['data.items.secret', 'data.items.address', 'data.total'] }, { data: { items: [{ id: 1 }, { id: 2 }] } }],
  ['rename', { target: 'data', omit: ['items'], rename: { total: 'count' } }, { count: 2 }],
  ['pick sees names before rename', { target: 'data', pick: ['total'], rename: { total: 'count' } }, { count: 2 }],
  ['omit sees names before rename', { target: 'data', pick: ['total'], omit: ['count'], rename: { total: 'count' } }, { count: 2 }],
  ['group', { target: 'data.total', group: 'n' }, { n: 2 }],
  ['all of them', { target: 'data', pick: ['items', 'total'], omit: ['items.address', 'items.secret'], rename: { total: 'n' }, group: 'g' }, { g: { items: [{ id: 1 }, { id: 2 }], n: 2 } }]
]
for (const [what, shape, result] of SHAPES) {
  t.test(`shaping: ${what}`, async t => {
    t.same((await answerOf(t, { parts: { x: { backend: 'a', ...shape } } }, BODY)).value, { x: result })
  })
}

t.test('shaping comes before merge and append', async t => {
  t.equal((await answerOf(t, { strategy: 'merge', parts: { x: { backend: 'a', group: 'k' }, y: { backend: 'b', target: 'd' }, z: { backend: 'c', rename: { c: 'k2' } } } }, [1], { d: { e: 1 } })).text, '{"k":[1],"e":1,"k2":1}')
  t.equal((await answerOf(t, { strategy: 'append', parts: { x: { backend: 'a', target: 'items' }, y: { backend: 'b', pick: ['n'] } } }, { items: [1] }, [{ n: 1, m: 2 }])).text, '[1,{"n":1}]')
})

t.test('shaping keeps the digits of what it leaves', async t => {
  t.equal((await answerOf(t, { parts: { x: { backend: 'a', pick: ['id', 'f'], rename: { f: 'g' } } } }, json('{"id":12345678901234567890,"f":1.10,"o":1}'))).text, '{"x":{"id":12345678901234567890,"g":1.10}}')
})

// ---- strategies of the user's own

t.test('strategies of the options and of composite.strategy()', async t => {
  const strategies = { count: (parts: object) => ({ parts: Object.keys(parts).length }) }
  const one = await startComposite(t, { backends: AB, strategy: 'count' }, { gateway: { strategies } })
  t.same((await one.ask()).value, { parts: 2 })
  const two = await startComposite(t, { backends: AB, strategy: 'names' }, { configure: app => { app.reverseproxy.composite.strategy('names', async (parts, request) => ({ names: Object.keys(parts), url: request.url })) } })
  t.same((await two.ask()).value, { names: AB, url: '/c/7' })
})

t.test('a strategy of the user\'s sees shaped bodies, of lists and objects alike, and may use meta', async t => {
  const strategies = { both: (parts: Record<string, { body: unknown }>) => ({ x: parts['x']?.body, y: parts['y']?.body }) }
  const { ask } = await startComposite(t, { strategy: 'both', meta: true, parts: { x: { backend: 'a', pick: ['n'] }, y: { backend: 'b' } } }, { gateway: { strategies }, answers: { a: { n: 1, m: 2 }, b: [1] } })
  t.match((await ask()).value, { x: { n: 1 }, y: [1], _meta: { complete: true } })
})

// ---- transform

async function transformed (t: TestLike, transform: NonNullable<CompositeOptions['transform']>, answers: Answers = {}, more: Partial<CompositeOptions> = {}) {
  const { ask } = await startComposite(t, { parts: { x: { backend: 'a' }, y: { backend: 'b' } }, transform, ...more } as CompositeOptions, { answers })
  return await ask()
}

const JSON_TYPE = 'application/json; charset=utf-8'
const RETURNS: Array<[what: string, made: () => unknown, status: number, type: string | null, text: string]> = [
  ['an object', () => ({ a: 1 }), 200, JSON_TYPE, '{"a":1}'], ['a list', () => [1, 'x'], 200, JSON_TYPE, '[1,"x"]'], ['a number', () => 5, 200, JSON_TYPE, '5'], ['a boolean', () => false, 200, JSON_TYPE, 'false'],
  ['a text', () => 'höllo', 200, 'text/plain; charset=utf-8', 'höllo'], ['an empty text', () => '', 200, 'text/plain; charset=utf-8', ''], ['null', () => null, 200, null, ''],
  ['a Buffer', () => Buffer.from('bytes'), 200, 'application/octet-stream', 'bytes'], ['a typed array', () => new Uint8Array([97, 98]), 200, 'application/octet-stream', 'ab'],
  ['a stream', () => Readable.from(['one ', 'two']), 200, 'application/octet-stream', 'one two'],
  ['a date', () => new Date(0), 200, JSON_TYPE, '"1970-01-01T00:00:00.000Z"'], ['a value with toJSON', () => ({ toJSON: () => ({ j: 1 }) }), 200, JSON_TYPE, '{"j":1}'],
  ['a reply with a body', () => ({ statusCode: 201, headers: { Location: '/x', 'X-Two': ['a', 'b'] }, body: { a: 1 } }), 201, JSON_TYPE, '{"a":1}'],
  ['a reply with a type', () => ({ statusCode: 200, headers: { 'Content-Type': 'text/html' }, body: '<p>' }), 200, 'text/html', '<p>'],
  ['a reply with a JSON body of another type', () => ({ statusCode: 200, headers: { 'content-type': 'application/vnd.x+json' }, body: { a: 1 } }), 200, 'application/vnd.x+json', '{"a":1}'],
  ['a reply with a Buffer', () => ({ statusCode: 200, headers: { 'content-type': 'image/png' }, body: Buffer.from('png') }), 200, 'image/png', 'png'],
  ['a reply with a stream', () => ({ statusCode: 203, body: Readable.from(['s']) }), 203, 'application/octet-stream', 's'],
  ['a reply without a body', () => ({ statusCode: 204 }), 204, null, ''], ['a refusal', () => ({ statusCode: 404, body: { no: 1 } }), 404, JSON_TYPE, '{"no":1}'],
  ['an object that only looks like a reply', () => ({ statusCode: 200, name: 'x' }), 200, JSON_TYPE, '{"statusCode":200,"name":"x"}'],
  ['an object whose statusCode is no status', () => ({ statusCode: 'ok' }), 200, JSON_TYPE, '{"statusCode":"ok"}']
]
for (const [what, made, code, type, text] of RETURNS) {
  for (const kind of ['sync', 'async']) {
    t.test(`transform (${kind}) may return ${what}`, async t => {
      const told = await transformed(t, () => kind === 'sync' ? made() : sleep(2).then(made))
      t.same([told.status, told.headers.get('content-type'), told.text], [code, type, text])
    })
  }
}

t.test('a reply\'s headers are the answer\'s, and have the last word', async t => {
  const told = await transformed(t, () => ({ statusCode: 200, headers: { 'X-One': '1', 'set-cookie': ['a=1', 'b=2'], 'cache-control': 'max-age=5', vary: 'x-mine' }, body: 1 }), { a: status(200, 1, { 'cache-control': 'no-cache', vary: 'accept' }) })
  t.same([told.headers.get('x-one'), told.headers.get('cache-control'), told.headers.get('vary')], ['1', 'max-age=5', 'x-mine'])
  t.match(told.headers.getSetCookie(), ['a=1', 'b=2'])
})

const circle: { self?: unknown } = {}
circle.self = circle
const BAD: Array<[what: string, made: () => unknown]> = [
  ['returns nothing', () => undefined], ['throws', () => { throw new Error('my secret') }], ['throws no error', () => { const thrown: unknown = 'a text'; throw thrown }],
  ['rejects', async () => { throw new Error('my secret') }], ['returns a BigInt', () => 1n], ['returns a BigInt within', () => ({ n: 1n })], ['returns a circle', () => circle], ['returns a function', () => () => 1], ['returns a symbol', () => Symbol('x')],
  ['sets a header that cannot be sent', () => ({ statusCode: 200, headers: { 'x-a': 'a\r\nb: c' }, body: 1 })], ['sets a name that cannot be sent', () => ({ statusCode: 200, headers: { 'bad name': 'x' }, body: 1 })]
]
for (const [what, made] of BAD) {
  t.test(`transform that ${what}: 500 RP_ERR_COMBINE, and nothing of it for the client`, async t => {
    const told = await transformed(t, made, { a: status(200, {}, { 'set-cookie': 'a=1', 'cache-control': 'public, max-age=60' }) })
    t.equal(told.status, 500)
    t.same(told.value, { statusCode: 500, code: 'RP_ERR_COMBINE', error: 'Internal Server Error', message: 'The gateway could not put the answer together' })
    t.same([told.headers.getSetCookie(), told.headers.get('cache-control')], [[], null], 'nor the headers of the parts')
  })
}

t.test('transform has no say about the framing of the answer', async t => {
  for (const headers of [{ 'content-length': '3' }, { 'Transfer-Encoding': 'chunked' }, { connection: 'x-a', 'x-a': '1' }, { 'keep-alive': 'timeout=99' }]) {
    const told = await transformed(t, () => ({ statusCode: 200, headers: headers as Record<string, string>, body: 'longer' }))
    t.same([told.status, told.text, told.headers.get('content-length'), told.headers.get('transfer-encoding')], [200, 'longer', '6', null], Object.keys(headers).join())
  }
})

t.test('transform may refuse with a status of its own', async t => {
  for (const error of [Object.assign(new Error('not yours'), { statusCode: 403 }), Object.assign(new Error('not yours'), { statusCode: 403, code: 'MY_CODE' })]) {
    const told = await transformed(t, () => { throw error })
    t.equal(told.status, 403)
    t.match(told.value, { message: 'not yours', statusCode: 403 })
  }
})

t.test('transform sees of each part all that is known', async t => {
  let seen: Record<string, Record<string, unknown>> = {}
  const { ask } = await startComposite(t, {
    parts: {
      ok: { backend: 'a', pick: ['n'] }, bad: { backend: 'b' }, gone: { backend: 'c' }, spare: { backend: 'd', nonJson: 'fail', fallback: { f: 1 } }, unasked: { backend: 'e', when: '{request.query.go}' }, refused: { backend: 'f' }
    },
    transform: (parts, request) => {
      seen = Object.fromEntries(Object.entries(parts as Record<string, Record<string, unknown>>).map(([name, part]) => [name, Object.fromEntries(['name', 'state', 'status', 'outcome', 'attempts', 'body', 'headers', 'error', 'duration'].map(key => [key, part[key]]))]))
      return request.url
    }
  }, { answers: { a: status(201, { n: 1, m: 2 }, { 'X-Up': 'u', 'set-cookie': ['a=1', 'b=2'] }), b: status(500, { why: 1 }), c: BREAK, d: json('<p>'), f: status(404, { no: 1 }) } })
  t.equal((await ask()).text, '/c/7')
  t.match(seen['ok'], { name: 'ok', state: 'ok', status: 201, outcome: 'ok', attempts: 1, body: { n: 1 }, headers: { 'x-up': 'u', 'set-cookie': ['a=1', 'b=2'], 'content-type': 'application/json' }, error: undefined })
  t.notOk(Object.hasOwn(seen['ok']?.['body'] as object, 'm'), 'shaped')
  t.match(seen['bad'], { state: 'failed', status: 500, outcome: 'server-error', attempts: 1, body: undefined, error: { code: 'RP_ERR_PART_STATUS' } })
  t.match(seen['gone'], { state: 'failed', status: undefined, outcome: 'reset', attempts: 1, body: undefined, headers: {}, error: { code: 'RP_ERR_RESET' } })
  t.match(seen['spare'], { state: 'fallback', status: 200, body: { f: 1 }, error: { code: 'RP_ERR_PART_NOT_JSON' } })
  t.match(seen['unasked'], { state: 'skipped', status: undefined, outcome: undefined, attempts: 0, body: undefined, error: undefined })
  t.match(seen['refused'], { state: 'failed', status: 404, outcome: 'client-error', body: undefined, error: { code: 'RP_ERR_PART_STATUS' } })
  for (const [name, { duration }] of Object.entries(seen)) t.ok(typeof duration === 'number' && duration >= 0 && duration < 5000, name)
})

t.test('a body is parsed when it is first read, once, and only then', async t => {
  const parse = JSON.parse
  t.teardown(() => { JSON.parse = parse })
  const marker = 'm'.repeat(30)
  let parsed = 0
  const count = (name: string) => transformed(t, parts => {
    JSON.parse = (text: string, ...rest: []) => { if (typeof text === 'string' && text.includes(marker)) parsed++; return parse(text, ...rest) }
    const first = parts[name]?.body
    const same = parts[name]?.body === first
    JSON.parse = parse
    return { same }
  }, { a: { marker }, b: { b: 1 } })
  t.same((await count('none')).value, { same: true })
  t.equal(parsed, 0)
  t.same((await count('x')).value, { same: true })
  t.equal(parsed, 1)
})

t.test('what transform reads is harmless: no __proto__', async t => {
  const told = await transformed(t, parts => ({ polluted: Object.assign({}, parts.x.body).polluted ?? null, proto: Object.getPrototypeOf(parts.x.body) === Object.prototype }), { a: json('{"__proto__":{"polluted":1}}') })
  t.same(told.value, { polluted: null, proto: true })
})

t.test('transform may use a Buffer where a part is binary', async t => {
  const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 255])
  const told = await transformed(t, parts => ({ buffer: Buffer.isBuffer(parts.x.body), hex: parts.x.body?.toString('hex') }), { a: new Whole(200, { 'content-type': 'image/png' }, png) })
  t.same(told.value, { buffer: true, hex: png.toString('hex') })
})

t.test('nonJson says what else a body that is no JSON may be', async t => {
  const bytes = Buffer.from([0xff, 0xfe, 0])
  const composite: CompositeOptions = { meta: true, nonJson: 'base64', parts: { text: { backend: 'a', nonJson: 'text' }, base64: { backend: 'b' }, skip: { backend: 'a', nonJson: 'skip' }, fail: { backend: 'a', nonJson: 'fail' } } }
  const { value } = await answerOf(t, composite, new Whole(200, { 'content-type': 'text/html' }, '<p>ä'), new Whole(200, {}, bytes))
  t.match(value, { text: '<p>ä', base64: bytes.toString('base64') })
  t.same(states(value), { text: ['ok', undefined], base64: ['ok', undefined], skip: ['empty', undefined], fail: ['failed', 'RP_ERR_PART_NOT_JSON'] })
})

t.test('transform sees lists and objects whatever the strategy', async t => {
  t.same((await transformed(t, parts => [parts.x.body, parts.y.body, parts.x.state], { a: [1], b: 'x' }, { strategy: 'merge' })).value, [[1], 'x', 'ok'])
})

t.test('transform is not asked when a required part failed or nothing is usable', async t => {
  let asked = 0
  const transform = () => { asked++; return 1 }
  t.equal((await transformed(t, transform, { a: status(500) }, { parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } })).status, 502)
  t.equal((await transformed(t, transform, { a: status(500), b: BREAK })).status, 502)
  t.equal(asked, 0)
})

t.test('transform with parts that were all skipped makes the answer', async t => {
  t.same((await transformed(t, parts => ({ state: parts.x.state }), {}, { parts: { x: { backend: 'a', when: '{request.query.go}' } } })).value, { state: 'skipped' })
})

t.test('a status of 206 for partial answers also holds for a transformed one', async t => {
  const told = await transformed(t, () => ({ a: 1 }), { a: status(500) }, { partialStatus: 206 })
  t.same([told.status, told.headers.get('x-composite-complete'), told.headers.get('cache-control')], [206, 'false', 'no-store'])
})

t.test('a stream that fails halfway ends the connection, not the server', async t => {
  const { ask, url } = await startComposite(t, {
    parts: { x: { backend: 'a' } },
    transform: () => Readable.from((async function * () { yield 'x'.repeat(100_000); throw new Error('mine') })())
  })
  await t.rejects(ask())
  t.equal((await fetch(`${url}/none`)).status, 404)
})

t.test('with select, transform sees who was chosen', async t => {
  const told = await answerOf(t, { strategy: 'select', backends: AB, transform: parts => ({ a: parts.a.state, b: parts.b.state, body: parts.b.body }) }, status(500), { b: 2 })
  t.same(told.value, { a: 'failed', b: 'ok', body: { b: 2 } })
})

t.test('the answer of a custom strategy with statusCode ends like transform\'s', async t => {
  const { ask } = await startComposite(t, { backends: AB, strategy: 'mine' }, { gateway: { strategies: { mine: () => ({ statusCode: 418, body: 'tea' }) } }, answers: { a: (one: Asked) => one.target } })
  const told = await ask()
  t.same([told.status, told.text], [418, 'tea'])
})
