/** Parts with forEach: which values, how many calls at a time, in which order, and what becomes of failures. */
import t from 'tap'
import { HOLD, json, sleep, startComposite, status, waitFor } from '../helper.ts'
import type { Answers, Asked, TestLike } from '../helper.ts'
import type { PartOptions } from '../../lib/options/index.ts'

type PartStates = Record<string, [string, string | undefined]>
const states = (value: unknown): PartStates =>
  Object.fromEntries((value as { _meta: { parts: Array<{ name: string, state: string, code?: string }> } })._meta.parts.map(({ name, state, code }) => [name, [state, code]]))

/** A list at backend a, and a part `each` at backend b that answers `{ of: <target> }`. */
async function setUp (t: TestLike, list: unknown, each: Partial<PartOptions>, answer: (one: Asked) => unknown = ({ target }) => ({ of: target }), more: object = {}) {
  const answers: Answers = { a: list, b: answer }
  return await startComposite(t, { meta: true, parts: { list: { backend: 'a', path: '/list' }, each: { backend: 'b', path: '/{item}', forEach: '{list.body}', ...each } }, ...more }, { answers })
}

const eachOf = (value: unknown): unknown => (value as { each?: unknown }).each
const targets = (asked: readonly Asked[]): string[] => asked.filter(({ backend }) => backend === 'b').map(({ target }) => target)

t.test('one call for each value, the results in order', async t => {
  const { ask, asked } = await setUp(t, [3, 'b/c', true], {})
  const { value, headers } = await ask()
  t.same(eachOf(value), [{ of: '/3' }, { of: '/b%2Fc' }, { of: '/true' }])
  t.same(targets(asked).sort(), ['/3', '/b%2Fc', '/true'])
  t.equal(headers.get('x-composite-complete'), 'true')
})

t.test('a value that comes several times is asked for once, and stands once', async t => {
  const { ask, asked } = await setUp(t, json('[2, 1, 2, "2", 1]'), {})
  t.same(eachOf((await ask()).value), [{ of: '/2' }, { of: '/1' }, { of: '/2' }])
  t.equal(targets(asked).length, 3, '2 and "2" are two values')
})

t.test('the order is that of the list, whoever answers first', async t => {
  const { ask, asked, until } = await setUp(t, [1, 2, 3, 4], {}, () => HOLD)
  const told = ask()
  await until(5)
  for (const one of asked.filter(({ backend }) => backend === 'b').reverse()) {
    one.answer(one.target)
    await sleep(3)
  }
  t.same(eachOf((await told).value), ['/1', '/2', '/3', '/4'])
})

t.test('never more calls at a time than concurrency, and always that many while there are values', async t => {
  for (const [concurrency, expected] of [[2, 2], [undefined, 8], [1, 1]] as const) {
    const running: Array<{ answer (body: number): void }> = []
    let left = 12
    let most = 0
    const { ask } = await setUp(t, Array.from({ length: 12 }, (_, index) => index), { forEach: { in: '{list.body}', ...(concurrency === undefined ? undefined : { concurrency }) } }, one => {
      most = Math.max(most, running.push(one))
      // with all that may be here, a moment for those that should not be
      if (running.length === Math.min(expected, left)) {
        setTimeout(() => {
          left -= running.length
          for (const held of running.splice(0)) held.answer(1)
        }, 20)
      }
      return HOLD
    })
    t.equal((eachOf((await ask()).value) as unknown[]).length, 12)
    t.equal(most, expected)
  }
})

t.test('an empty list makes no call, and is an empty list', async t => {
  const { ask, asked } = await setUp(t, [], {})
  const { value } = await ask()
  t.same([eachOf(value), states(value)['each']], [[], ['ok', undefined]])
  t.equal(asked.length, 1)
})

const NO_LIST: Array<[what: string, list: unknown, state: string, code: string]> = [
  ['null', json('null'), 'skipped', 'RP_ERR_PART_INPUT'], ['nothing', json(''), 'skipped', 'RP_ERR_PART_INPUT'],
  ['an object', { a: 1 }, 'failed', 'RP_ERR_PART_INPUT'], ['a text', 'abc', 'failed', 'RP_ERR_PART_INPUT'], ['a number', 5, 'failed', 'RP_ERR_PART_INPUT']
]
for (const [what, list, state, code] of NO_LIST) {
  t.test(`${what} in place of the list: ${state}`, async t => {
    const { ask } = await setUp(t, list, {})
    const { value, status: http } = await ask()
    t.equal(http, 200)
    t.same(states(value)['each'], [state, code])
  })
}

t.test('a value that is null or fits no path is a missing one, and costs its own call only', async t => {
  const { ask } = await setUp(t, [1, null, 2], {})
  const { value } = await ask()
  t.same(eachOf(value), [{ of: '/1' }, null, { of: '/2' }])
  t.equal(states(value)['each']?.[0], 'partial')
  const dots = await setUp(t, [1, '..'], {})
  t.same(eachOf((await dots.ask()).value), [{ of: '/1' }, null])
})

t.test('more values than max fail the part before a call is made', async t => {
  const { ask, asked } = await setUp(t, [1, 2, 3, 1], { forEach: { in: '{list.body}', max: 3 } })
  t.equal(states((await ask()).value)['each']?.[0], 'ok', 'different values count')
  const over = await setUp(t, [1, 2, 3, 4], { forEach: { in: '{list.body}', max: 3 } })
  t.same(states((await over.ask()).value)['each'], ['failed', 'RP_ERR_PART_CALLS'])
  t.equal(over.asked.length, 1)
  t.equal(asked.length, 4)
  const initial = await setUp(t, Array.from({ length: 101 }, (_, index) => index), {}, undefined, { maxCalls: 1000 })
  t.same(states((await initial.ask()).value)['each'], ['failed', 'RP_ERR_PART_CALLS'], '100 unless told')
})

t.test('maxCalls counts every call of the request, and ends it', async t => {
  const { ask, asked } = await setUp(t, [1, 2, 3, 4], {}, undefined, { maxCalls: 4 })
  const { status: http, value } = await ask()
  t.same([http, (value as { code: string }).code], [502, 'RP_ERR_PART_CALLS'])
  t.ok(asked.length <= 4)
  const enough = await setUp(t, [1, 2, 3, 4], {}, undefined, { maxCalls: 5 })
  t.equal((await enough.ask()).status, 200)
})

t.test('item objects are read by path, and come through query, headers and body with their types', async t => {
  const list = json('[{"id":12345678901234567890,"tags":["x","y"]},{"id":2.50,"tags":[]}]')
  const { ask, asked } = await setUp(t, list, { method: 'POST', path: '/{item.id}', query: { tag: '{item.tags}' }, headers: { set: { 'x-id': '{item.id}' } }, body: { whole: '{item}', id: '{item.id}', c: ':id' } })
  t.equal((await ask()).status, 200)
  const made = asked.filter(({ backend }) => backend === 'b').map(({ target, headers, body }) => [target, headers['x-id'], body.toString()])
  t.same(made.sort(), [
    ['/12345678901234567890?tag=x&tag=y', '12345678901234567890', '{"whole":{"id":12345678901234567890,"tags":["x","y"]},"id":12345678901234567890,"c":"7"}'],
    ['/2.50', '2.50', '{"whole":{"id":2.50,"tags":[]},"id":2.50,"c":"7"}']
  ])
})

t.test('functions see the item beside the needed parts', async t => {
  const seen: unknown[] = []
  const { ask, asked } = await setUp(t, [{ id: 1 }, { id: 2 }], { path: parts => { seen.push(Object.keys(parts)); return `/${parts.item.id}` }, query: parts => ({ n: parts.list.body.length, id: parts.item.id }) })
  t.equal((await ask()).status, 200)
  t.same(targets(asked).sort(), ['/1?n=2&id=1', '/2?n=2&id=2'])
  t.same(seen, [['list', 'item'], ['list', 'item']])
})

t.test('the list may come from a function', async t => {
  const { ask } = await setUp(t, [5, 1], { forEach: (parts, request) => [...parts.list.body, Number((request.params as { id: string }).id)], needs: ['list'] })
  t.same(eachOf((await ask()).value), [{ of: '/5' }, { of: '/1' }, { of: '/7' }])
})

for (const [what, forEach, state] of [['throws', () => { throw new Error('mine') }, 'failed'], ['gives no list', () => 5, 'failed'], ['gives nothing', () => undefined, 'skipped'], ['gives null', () => null, 'skipped'], ['gives what is no JSON', () => [1n], 'failed'], ['is async', async () => [1], 'failed']] as Array<[string, () => unknown, string]>) {
  t.test(`a forEach function that ${what}: ${state}`, async t => {
    const { ask } = await setUp(t, [], { forEach })
    const { value, status: http } = await ask()
    t.equal(http, 200)
    t.same(states(value)['each'], [state, 'RP_ERR_PART_INPUT'])
  })
}

t.test('the list may come from the client: body, query, repeated or single', async t => {
  const body = await startComposite(t, { parts: { each: { backend: 'b', method: 'GET', path: '/{item}', forEach: '{request.body.ids}' } } }, { method: 'POST', answers: { b: (one: Asked) => one.target } })
  t.same((await body.ask('/c/7', { method: 'POST', body: '{"ids":[12345678901234567890,2]}', headers: { 'content-type': 'application/json' } })).value, { each: ['/12345678901234567890', '/2'] })
  const query = await startComposite(t, { meta: true, parts: { other: { backend: 'a' }, each: { backend: 'b', path: '/{item}', forEach: '{request.query.id}' } } }, { answers: { b: (one: Asked) => one.target } })
  t.same(eachOf((await query.ask('/c/7?id=3&id=4&id=3')).value), ['/3', '/4'])
  t.equal(states((await query.ask('/c/7')).value)['each']?.[0], 'skipped')
})

// ---- batch

t.test('batch: true asks once for all values', async t => {
  const { ask, asked } = await setUp(t, [3, 1, 3, 2], { path: '/users', query: { ids: '{items}' }, forEach: { in: '{list.body}', batch: true } }, () => [{ id: 1 }, { id: 2 }])
  const { value } = await ask()
  t.same(targets(asked), ['/users?ids=3&ids=1&ids=2'])
  t.same(eachOf(value), [{ id: 1 }, { id: 2 }], 'the answer is the part')
})

t.test('batch: n asks for so many values a call, and the lists become one, in order', async t => {
  const { ask, asked, until } = await setUp(t, [1, 2, 3, 4, 5], { method: 'POST', path: '/users', body: { ids: '{items}', first: '{items[0]}' }, forEach: { in: '{list.body}', batch: 2 } }, () => HOLD)
  const told = ask()
  await until(4)
  for (const one of asked.filter(({ backend }) => backend === 'b').reverse()) one.answer((JSON.parse(one.body.toString()) as { ids: number[] }).ids.map(id => ({ id })))
  t.same(eachOf((await told).value), [1, 2, 3, 4, 5].map(id => ({ id })))
  t.same(asked.filter(({ backend }) => backend === 'b').map(({ body }) => body.toString()).sort(), ['{"ids":[1,2],"first":1}', '{"ids":[3,4],"first":3}', '{"ids":[5],"first":5}'])
})

t.test('a list in a path of a batch is written with commas', async t => {
  const { ask, asked } = await setUp(t, ['a', 'b c'], { path: '/users/{items}', forEach: { in: '{list.body}', batch: true } })
  await ask()
  t.same(targets(asked), ['/users/a,b%20c'])
})

t.test('functions of a batch see items', async t => {
  const { ask, asked } = await setUp(t, [1, 2], { path: parts => `/${parts.items.join('+')}`, forEach: { in: '{list.body}', batch: true } })
  await ask()
  t.same(targets(asked), ['/1+2'])
})

t.test('batch with an empty list makes no call and is an empty list', async t => {
  const { ask, asked } = await setUp(t, [], { path: '/users', forEach: { in: '{list.body}', batch: true } })
  t.same(eachOf((await ask()).value), [])
  t.equal(asked.length, 1)
})

t.test('a batch that fails leaves the others', async t => {
  const { ask } = await setUp(t, [1, 2, 3, 4], { path: '/users', query: { ids: '{items}' }, forEach: { in: '{list.body}', batch: 2 } }, ({ target }) => target.includes('ids=1') ? status(500) : [{ id: 3 }, { id: 4 }])
  const { value } = await ask()
  t.same([eachOf(value), states(value)['each']], [[{ id: 3 }, { id: 4 }], ['partial', 'RP_ERR_PART_STATUS']])
})

// ---- join

const ORDERS = json('[{"n":1,"authorId":7},{"n":2,"authorId":8},{"n":3,"authorId":7},{"n":4},{"n":5,"authorId":null},"odd"]')

t.test('join puts each result into the entry that it was asked for', async t => {
  const { ask, asked } = await setUp(t, ORDERS, { path: '/{item}', forEach: { in: '{list.body}', join: { on: 'authorId', as: 'author' } } }, ({ target }) => ({ name: target }))
  t.same(eachOf((await ask()).value), [
    { n: 1, authorId: 7, author: { name: '/7' } }, { n: 2, authorId: 8, author: { name: '/8' } }, { n: 3, authorId: 7, author: { name: '/7' } },
    { n: 4, author: null }, { n: 5, authorId: null, author: null }, 'odd'
  ])
  t.same(targets(asked).sort(), ['/7', '/8'], 'each value once')
})

t.test('join keeps the entries as they were sent, digits and all', async t => {
  const { ask } = await setUp(t, json('[{"big":12345678901234567890,"x":1.0,"id":1}]'), { path: '/{item}', forEach: { in: '{list.body}', join: { on: 'id', as: 'of' } } }, () => json('{"d":1.50}'))
  t.match((await ask()).text, '"each":[{"big":12345678901234567890,"x":1.0,"id":1,"of":{"d":1.50}}]')
})

t.test('join may reach into the entry, and replace a property', async t => {
  const { ask } = await setUp(t, [{ author: { id: 7 } }, { author: { id: 8 }, n: 1 }], { path: '/{item}', forEach: { in: '{list.body}', join: { on: 'author.id', as: 'author' } } }, ({ target }) => target)
  t.same(eachOf((await ask()).value), [{ author: '/7' }, { author: '/8', n: 1 }])
})

t.test('a join\'s failures are null, and said', async t => {
  const { ask } = await setUp(t, ORDERS, { forEach: { in: '{list.body}', join: { on: 'authorId', as: 'author' } } }, ({ target }) => target === '/8' ? status(404) : 1)
  const { value, headers } = await ask()
  t.same((eachOf(value) as Array<{ author?: unknown }>).map(entry => entry.author), [1, null, 1, null, null, undefined])
  t.same(states(value)['each'], ['partial', 'RP_ERR_PART_STATUS'])
  t.equal(headers.get('x-composite-complete'), 'false')
})

t.test('join with a batched answer finds results by key', async t => {
  const forEach = { in: '{list.body}', batch: true, join: { on: 'authorId', as: 'author' } }
  const byId = await setUp(t, ORDERS, { path: '/', query: { ids: '{items}' }, forEach }, () => [{ id: '8', name: 'eight' }, { id: 7, name: 'seven' }, { id: 9 }])
  t.same((eachOf((await byId.ask()).value) as Array<{ author?: { name: string } | null }>).map(entry => entry.author?.name), ['seven', 'eight', 'seven', undefined, undefined, undefined])
  const byKey = await setUp(t, ORDERS, { path: '/', forEach: { ...forEach, batch: 1, join: { ...forEach.join, key: 'meta.uid' } } }, () => [{ meta: { uid: 7 }, name: 's' }, { meta: { uid: 8 }, name: 'e' }])
  t.same((eachOf((await byKey.ask()).value) as Array<{ author?: { name: string } | null }>).map(entry => entry.author?.name), ['s', 'e', 's', undefined, undefined, undefined])
})

t.test('join with a batched answer that is an object finds results by its keys', async t => {
  const { ask } = await setUp(t, ORDERS, { path: '/', forEach: { in: '{list.body}', batch: true, join: { on: 'authorId', as: 'author' } } }, () => ({ 7: 'seven', 8: 'eight' }))
  t.same((eachOf((await ask()).value) as Array<{ author?: string | null }>).map(entry => entry.author), ['seven', 'eight', 'seven', null, null, undefined])
})

// ---- failures

t.test('some calls failed: null in their places, partial, incomplete', async t => {
  const { ask } = await setUp(t, [1, 2, 3], {}, ({ target }) => target === '/2' ? status(500) : target)
  const { status: http, value, headers } = await ask()
  t.same([http, eachOf(value), states(value)['each'], headers.get('x-composite-complete'), headers.get('cache-control')], [200, ['/1', null, '/3'], ['partial', 'RP_ERR_PART_STATUS'], 'false', 'no-store'])
})

t.test('all calls failed: the part failed, or has its fallback', async t => {
  const { ask } = await setUp(t, [1, 2], {}, () => status(500))
  t.same(states((await ask()).value)['each'], ['failed', 'RP_ERR_PART_STATUS'])
  const fallback = await setUp(t, [1, 2], { fallback: [] }, () => status(500))
  const { value } = await fallback.ask()
  t.same([eachOf(value), states(value)['each']], [[], ['fallback', 'RP_ERR_PART_STATUS']])
})

t.test('required: one failed call fails the answer at once, the others are given up and no more begin', async t => {
  const { ask, asked, until } = await setUp(t, [1, 2, 3, 4, 5, 6], { required: true, forEach: { in: '{list.body}', concurrency: 2 } }, () => HOLD, { timeout: '2s' })
  const told = ask()
  await until(3)
  asked.find(({ target }) => target === '/1')?.answer(status(500))
  t.equal(await Promise.race([told.then(({ status }) => status), sleep(800).then(() => 'still waiting')]), 502)
  t.ok(asked.length <= 4, `${asked.length} calls`)
  t.ok(await waitFor(() => asked.every(({ answered, dropped }) => answered || dropped), 500))
})

t.test('required with 4xx of a call: the answer is an error of the gateway or that refusal, not a success', async t => {
  const { ask } = await setUp(t, [1, 2], { required: true }, ({ target }) => target === '/2' ? status(404, { no: 2 }) : 1)
  const { status: http } = await ask()
  t.ok(http === 404 || http === 502, String(http))
})

t.test('when the request is doomed, no further calls of a forEach begin', async t => {
  const { ask, asked, until, to } = await startComposite(t, {
    parts: { list: { backend: 'a' }, each: { backend: 'b', path: '/{item}', forEach: { in: '{list.body}', concurrency: 1 } }, must: { backend: 'c', required: true } }
  }, { answers: { a: [1, 2, 3], b: HOLD, c: HOLD } })
  const told = ask()
  await until(3)
  to('c').answer(status(500))
  t.equal((await told).status, 502)
  t.ok(await waitFor(() => to('b').dropped))
  await sleep(20)
  t.equal(asked.length, 3)
})

t.test('each result is shaped, and group takes the list', async t => {
  const { ask } = await setUp(t, [1, 2], { target: 'data', pick: ['x'], rename: { x: 'y' }, group: 'all' }, ({ target }) => ({ data: { x: target, z: 1 } }))
  t.same(eachOf((await ask()).value), { all: [{ y: '/1' }, { y: '/2' }] })
})

t.test('followers see the list of the bodies as the backends sent them', async t => {
  const { ask, to } = await startComposite(t, {
    parts: { list: { backend: 'a' }, each: { backend: 'b', path: '/{item}', forEach: '{list.body}', pick: ['x'] }, last: { backend: 'c', path: '/{each.body[1].z}', query: { n: '{each.body[0].x}' } } }
  }, { answers: { a: [1, 2], b: (one: Asked) => ({ x: 1, z: one.target.slice(1) }) } })
  t.equal((await ask()).status, 200)
  t.equal(to('c').target, '/2?n=1')
})

t.test('a forEach may run over the results of another', async t => {
  const { ask, calls } = await startComposite(t, {
    parts: { list: { backend: 'a', path: '/' }, each: { backend: 'b', path: '/{item}', forEach: '{list.body}' }, more: { backend: 'c', path: '/{item.ref}', forEach: '{each.body}' } }
  }, { answers: { a: [1, 2], b: (one: Asked) => ({ ref: `r${one.target.slice(1)}` }), c: (one: Asked) => one.target } })
  t.same(((await ask()).value as { more: unknown }).more, ['/r1', '/r2'])
  t.equal(calls.length, 5)
})

t.test('a schema holds for each call\'s body', async t => {
  const { ask } = await setUp(t, [1, 2], { schema: { type: 'object', properties: { of: { const: '/1' } } } })
  const { value } = await ask()
  t.same([eachOf(value), states(value)['each']], [[{ of: '/1' }, null], ['partial', 'RP_ERR_PART_SCHEMA']])
})

t.test('in merge a list of results needs a group or a policy; in append it is a list', async t => {
  const parts = (each: Partial<PartOptions> = {}) => ({ list: { backend: 'a', group: 'list' }, each: { backend: 'b', path: '/{item}', forEach: '{list.body}', ...each } })
  const answers: Answers = { a: [1, 2], b: (one: Asked) => one.target }
  t.same((await (await startComposite(t, { strategy: 'merge', parts: parts({ group: 'each' }) }, { answers })).ask()).value, { list: [1, 2], each: ['/1', '/2'] })
  t.same((await (await startComposite(t, { strategy: 'merge', onMismatch: 'wrap', parts: parts() }, { answers })).ask()).value, { list: [1, 2], each: ['/1', '/2'] })
  const append = { list: { backend: 'a' }, each: { backend: 'b', path: '/{item}', forEach: '{list.body}' } }
  t.same((await (await startComposite(t, { strategy: 'append', parts: append }, { answers })).ask()).value, [1, 2, '/1', '/2'])
})

t.test('attempts of all calls are counted, and headers are those of a call that was answered', async t => {
  let seen: { attempts: number, status: number, headers: Record<string, string> } | undefined
  const { ask } = await startComposite(t, {
    parts: { each: { backend: 'b', path: '/{item}', forEach: () => [1, 2, 3] } }, transform: parts => { seen = parts.each; return { attempts: parts.each.attempts, status: parts.each.status, h: parts.each.headers['x-h'], state: parts.each.state } }
  }, { answers: { b: (one: Asked) => one.target === '/1' ? status(500) : status(200, 1, { 'x-h': one.target }) } })
  t.same((await ask()).value, { attempts: 3, status: 200, h: '/2', state: 'partial' })
  t.ok(seen)
})

t.test('required: of several failed calls the first of the list decides, whichever fails first', async t => {
  const codes: unknown[] = []
  for (const order of [['/1', '/2'], ['/2', '/1']]) {
    const { ask, asked, until } = await setUp(t, [1, 2], { required: true }, () => HOLD)
    const told = ask()
    await until(3)
    for (const target of order) {
      asked.find(one => one.target === target)?.answer(target === '/1' ? json('no json') : status(500))
      await sleep(20)
    }
    codes.push(((await told).value as { code: string }).code)
  }
  t.same(codes, ['RP_ERR_PART_NOT_JSON', 'RP_ERR_PART_NOT_JSON'])
})
