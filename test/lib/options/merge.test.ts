/** What is said later over what was said before. */
import t from 'tap'
import fc from 'fast-check'
import { Type } from '@sinclair/typebox'
import { foldEdits } from '../../../lib/headers/edits.ts'
import { mergeBackend, mergeComposite, mergeOptions, mergeProxy } from '../../../lib/options/merge.ts'
import { foldLevels } from '../../../lib/options/merge-headers.ts'
import type { HeaderEdits } from '../../../lib/types.ts'

// ---- every kind of value

t.test('objects are merged key by key, all the way down', async t => {
  t.strictSame(mergeOptions<object>({ a: 1, b: { c: 2, d: { e: 3 } } }, { b: { d: { f: 4 } }, g: 5 }), { a: 1, b: { c: 2, d: { e: 3, f: 4 } }, g: 5 })
})

t.test('everything that is no object takes the place of what was there', async t => {
  class Own { a = 1 }
  const [fn, pattern, bytes, own, schema] = [() => {}, /a/, Buffer.from('a'), new Own(), Type.Object({ a: Type.String() })]
  for (const value of ['text', 0, true, false, null, [1], [], fn, pattern, bytes, own, schema]) {
    t.equal(mergeOptions<Record<string, unknown>>({ a: { b: 1 }, c: 2 }, { a: value })['a'], value)
    t.equal(mergeOptions<Record<string, unknown>>({ a: 'before', c: 2 }, { a: value })['a'], value)
    t.strictSame(mergeOptions<Record<string, unknown>>({ a: value }, { a: { b: 1 } })['a'], { b: 1 }, 'and an object takes theirs')
  }
})

t.test('lists are replaced, not joined', async t => {
  t.strictSame(mergeOptions<object>({ a: [{ b: 1 }, { b: 2 }] }, { a: [{ c: 3 }] }), { a: [{ c: 3 }] })
})

t.test('undefined says nothing', async t => {
  t.strictSame(mergeOptions<object>({ a: 1, b: { c: 2 } }, { a: undefined, b: { c: undefined }, d: undefined }), { a: 1, b: { c: 2 } })
  t.strictSame(mergeOptions({ a: 1 }, undefined), { a: 1 })
})

t.test('a key of an object\'s prototype is a key like any other', async t => {
  const merged = mergeOptions<Record<string, unknown>>({}, { constructor: { a: 1 }, toString: 'x' })
  t.equal(JSON.stringify(merged), '{"constructor":{"a":1},"toString":"x"}')
})

t.test('__proto__ goes nowhere', async t => {
  const merged = mergeOptions<Record<string, unknown>>({ a: {} }, JSON.parse('{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}'))
  t.equal(merged['polluted'], undefined)
  t.equal((merged['a'] as Record<string, unknown>)['polluted'], undefined)
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

// ---- short forms

t.test('an object over a short form keeps what that said', async t => {
  t.strictSame(mergeBackend({ timeout: '5s' }, { timeout: { headers: '1s' } }), { timeout: { total: '5s', headers: '1s' } })
  t.strictSame(mergeBackend({ retry: 3 }, { retry: { statuses: [503] } }), { retry: { attempts: 3, statuses: [503] } })
  t.strictSame(mergeBackend({ retry: { hedge: '1s' } }, { retry: { hedge: { after: '2s' } } }), { retry: { hedge: { after: '2s' } } })
  t.strictSame(mergeBackend({ health: '/up' }, { health: { interval: '1s' } }), { health: { path: '/up', interval: '1s' } })
  t.strictSame(mergeBackend({ slowStart: '5s' }, { slowStart: { initial: 0.5 } }), { slowStart: { window: '5s', initial: 0.5 } })
  t.strictSame(mergeBackend({ concurrency: 5 }, { concurrency: { queue: 2 } }), { concurrency: { max: 5, queue: 2 } })
  t.strictSame(mergeProxy('users', { timeout: '1s' }), { backend: 'users', timeout: { total: '1s' } })
  t.strictSame(mergeComposite({ parts: { a: { forEach: '{b.body}' } } }, { parts: { a: { forEach: { max: 5 } } } }), { parts: { a: { forEach: { in: '{b.body}', max: 5 } } } })
})

t.test('a short form over an object is the one option it is short for', async t => {
  t.strictSame(mergeBackend({ timeout: { headers: '1s', total: '5s' } }, { timeout: '2s' }), { timeout: { headers: '1s', total: '2s' } })
  t.strictSame(mergeBackend({ timeout: { headers: '1s' } }, { timeout: 0 }), { timeout: { headers: '1s', total: 0 } })
  t.strictSame(mergeBackend({ retry: { statuses: [503] } }, { retry: 4 }), { retry: { statuses: [503], attempts: 4 } })
  t.strictSame(mergeBackend({ health: { path: '/a', rise: 1 } }, { health: '/b' }), { health: { path: '/b', rise: 1 } })
  t.strictSame(mergeProxy({ backend: 'users', rewrite: { stripPrefix: '/a' } }, 'orders'), { backend: 'orders', rewrite: { stripPrefix: '/a' } })
  t.strictSame(mergeProxy(undefined, 'orders'), { backend: 'orders' })
})

t.test('false switches off, and an object over false stands for itself', async t => {
  t.strictSame(mergeBackend({ circuitBreaker: { failureThreshold: 3 } }, { circuitBreaker: false }), { circuitBreaker: false })
  t.strictSame(mergeBackend({ circuitBreaker: false }, { circuitBreaker: { failureThreshold: 3 } }), { circuitBreaker: { failureThreshold: 3 } })
  t.strictSame(mergeBackend({ retry: { budget: false } }, { retry: { budget: { min: 1 } } }), { retry: { budget: { min: 1 } } })
})

t.test('true switches on what is there', async t => {
  t.strictSame(mergeBackend({ circuitBreaker: { failureThreshold: 3 } }, { circuitBreaker: true }), { circuitBreaker: { failureThreshold: 3 } })
  t.strictSame(mergeBackend({ circuitBreaker: false }, { circuitBreaker: true }), { circuitBreaker: {} })
  t.strictSame(mergeBackend({ outlier: true }, { outlier: { consecutive: 1 } }), { outlier: { consecutive: 1 } })
  t.strictSame(mergeBackend({ metadata: { a: { b: 1 } } }, { metadata: { a: true } }), { metadata: { a: true } }, 'but it is a value elsewhere')
})

// ---- units and whole values

t.test('targets are one unit: url and targets take each other\'s place', async t => {
  t.strictSame(mergeBackend({ url: 'http://a', retry: 2 }, { targets: ['http://b', 'http://c'] }), { retry: 2, targets: ['http://b', 'http://c'] })
  t.strictSame(mergeBackend({ targets: ['http://a', 'http://b'] }, { url: 'http://c' }), { url: 'http://c' })
  t.strictSame(mergeBackend({ targets: [{ url: 'http://a', weight: 2 }] }, { retry: 2 }), { targets: [{ url: 'http://a', weight: 2 }], retry: { attempts: 2 } })
})

t.test('a URL or a list over a backend replaces its targets only', async t => {
  t.strictSame(mergeBackend({ url: 'http://a', retry: 2 }, 'http://b'), { retry: 2, targets: ['http://b'] })
  t.strictSame(mergeBackend({ targets: ['http://a'], retry: 2 }, ['http://b', { url: 'http://c' }]), { retry: 2, targets: ['http://b', { url: 'http://c' }] })
  t.strictSame(mergeBackend(undefined, 'http://b'), { targets: ['http://b'] }, 'or is all there is')
})

t.test('an object that is one value is replaced as a whole', async t => {
  t.strictSame(mergeBackend({ balancer: { type: 'hash', key: { header: 'a' } } }, { balancer: { type: 'hash', key: { cookie: 'b' } } }), { balancer: { type: 'hash', key: { cookie: 'b' } } })
  t.strictSame(mergeBackend({ redirects: { follow: 3 } }, { redirects: 'pass' }), { redirects: 'pass' })
  t.strictSame(mergeBackend({ circuitBreaker: { fallback: { statusCode: 200, body: 'a' } } }, { circuitBreaker: { fallback: { backend: 'b' } } }), { circuitBreaker: { fallback: { backend: 'b' } } })
  t.strictSame(mergeBackend({ health: { path: '/', expectedBody: { regex: 'a' } } }, { health: { expectedBody: 'b' } }), { health: { path: '/', expectedBody: 'b' } })
  t.strictSame(mergeProxy({ rewrite: { stripPrefix: '/a', addPrefix: '/b' } }, { rewrite: { stripPrefix: '/c' } }), { rewrite: { stripPrefix: '/c' } })
  const part = (options: object) => ({ parts: { a: options } })
  for (const name of ['body', 'fallback', 'schema', 'when'] as const) {
    t.strictSame(mergeComposite(part({ [name]: { a: 1 } }), part({ [name]: { b: 2 } })), part({ [name]: { b: 2 } }), name)
  }
  t.strictSame(mergeComposite(part({ query: { a: 1, b: 2 } }), part({ query: { b: 3 } })), part({ query: { a: 1, b: 3 } }), 'the parameters of a query are options')
})

t.test('pool.connectTimeout and timeout.connect take each other\'s place: they are one option', async t => {
  t.strictSame(mergeBackend({ pool: { connectTimeout: '5s', connections: 3 } }, { timeout: { connect: '1s' } }), { pool: { connections: 3 }, timeout: { connect: '1s' } })
  t.strictSame(mergeBackend({ timeout: { connect: '5s', idle: 1 } }, { pool: { connectTimeout: '1s' } }), { timeout: { idle: 1 }, pool: { connectTimeout: '1s' } })
  t.strictSame(mergeBackend({ timeout: { connect: '5s' } }, { timeout: '1s' }), { timeout: { connect: '5s', total: '1s' } })
})

// ---- composites

const said = { strategy: 'object', parts: { user: { backend: 'users', path: '/u', headers: { set: { 'X-A': '1', 'x-b': '2' }, remove: ['cookie'] } }, orders: { backend: 'orders' } } }

t.test('parts are merged by name, false takes one away, and others may come', async t => {
  t.strictSame(mergeComposite(said, { parts: { user: { timeout: '1s' }, orders: false, boss: { backend: 'users' } } }), {
    strategy: 'object',
    parts: { user: { ...said.parts.user, timeout: { total: '1s' } }, boss: { backend: 'users' } }
  })
})

t.test('backends and parts of a composite are one unit', async t => {
  t.strictSame(mergeComposite(said, { backends: ['users'] }), { strategy: 'object', backends: ['users'] })
  t.strictSame(mergeComposite({ backends: ['users', 'orders'], meta: true }, { parts: { one: { backend: 'users' } } }), { meta: true, parts: { one: { backend: 'users' } } })
  t.strictSame(mergeComposite({ backends: ['users', 'orders'] }, { timeout: '1s' }), { backends: ['users', 'orders'], timeout: '1s' })
})

t.test('false takes a backend out of the short form', async t => {
  t.strictSame(mergeComposite({ backends: ['users', 'orders'] }, { meta: true, parts: { orders: false } }), { backends: ['users'], meta: true })
})

t.test('headers of a part: what is said later of a name takes the place of what was said', async t => {
  const merged = mergeComposite(said, { parts: { user: { headers: { set: { 'x-a': '3', Cookie: 'own' }, remove: ['X-B'] } } } })
  t.strictSame((merged['parts'] as typeof said.parts).user.headers, { set: { 'x-a': '3', Cookie: 'own' }, remove: ['X-B'] })
})

// ---- headers

t.test('header changes of two levels are what they would do one after the other', async t => {
  const fold = (one: object, two: object) => foldLevels(one as never, two as never)
  t.strictSame(fold({ set: { 'X-A': '1', 'x-b': '2' } }, { set: { 'x-a': '3' } }), { set: { 'x-a': '3', 'x-b': '2' } })
  t.strictSame(fold({ set: { 'x-a': '1' } }, { remove: ['X-A'] }), { remove: ['x-a'] })
  t.strictSame(fold({ remove: ['x-a'] }, { set: { 'x-a': '1' } }), { set: { 'x-a': '1' } })
  t.strictSame(fold({ append: { 'x-a': '1' } }, { append: { 'x-a': '2' } }), { append: { 'x-a': ['1', '2'] } })
  t.strictSame(fold({ append: { 'x-a': ['1', '2'] } }, { append: { 'x-a': ['3'] } }), { append: { 'x-a': ['1', '2', '3'] } })
  t.strictSame(fold({ set: { 'x-a': '1' } }, { append: { 'x-a': '2' } }), { remove: ['x-a'], append: { 'x-a': ['1', '2'] } })
  t.strictSame(fold({ set: { 'x-a': '1' } }, { rename: { 'x-a': 'x-b' } }), { remove: ['x-a'], append: { 'x-b': '1' } })
  t.strictSame(fold({ rename: { 'x-a': 'x-b' } }, { set: { 'x-b': '1' } }), { remove: ['x-a'], set: { 'x-b': '1' } })
  t.strictSame(fold({ set: { 'x-b': '1' } }, { rename: { 'x-a': 'x-b' } }), { remove: ['x-b'], rename: { 'x-a': 'x-b' }, append: { 'x-b': '1' } })
  t.strictSame(fold({ forward: ['x-a'], remove: [] }, { forward: ['x-b'] }), { forward: ['x-b'] })
  t.strictSame(fold({ forward: ['x-a'] }, { set: {} }), { forward: ['x-a'] })
})

t.test('header names of health checks have no case', async t => {
  t.strictSame(mergeBackend({ health: { path: '/', headers: { 'X-A': '1', 'x-b': '2' } } }, { health: { headers: { 'x-a': '3' } } }), { health: { path: '/', headers: { 'x-b': '2', 'x-a': '3' } } })
})

const NAMES = ['a', 'b', 'c', 'D', 'd'] as const
const name = fc.constantFrom(...NAMES)
const text = fc.constantFrom('1', '2', '3')
const edits = (renames: boolean): fc.Arbitrary<HeaderEdits> => fc.record({
  remove: fc.uniqueArray(name),
  ...(renames ? { rename: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('c', 'd')) } : undefined),
  set: fc.dictionary(name, text),
  append: fc.dictionary(name, fc.oneof(text, fc.array(text, { minLength: 1 })))
}, { requiredKeys: [] })

const plain = (levels: HeaderEdits[]) => [...foldEdits(levels)].filter(([, { drop, renamedTo, values }]) => drop || renamedTo !== undefined || values.length > 0).sort()

t.test('property: two levels and what they fold into are the same after any level', async t => {
  fc.assert(fc.property(edits(false), edits(false), edits(false), (before, one, two) => {
    t.strictSame(plain([before, foldLevels({ ...one }, { ...two }) as HeaderEdits]), plain([before, one, two]))
  }), { numRuns: 500 })
})

t.test('property: the same with names that are renamed, where nothing comes before', async t => {
  fc.assert(fc.property(edits(true), edits(true), (one, two) => {
    t.strictSame(plain([foldLevels({ ...one }, { ...two }) as HeaderEdits]), plain([one, two]))
  }), { numRuns: 500 })
})

// ---- properties of the merge

/** Records all the way down: names in capitals hold records, others hold values, so that the kinds never meet. */
const values = fc.dictionary(fc.constantFrom('a', 'b', 'toString'), fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer()), fc.constant(undefined)), { maxKeys: 3 })
const tree = fc.letrec<{ tree: Record<string, unknown> }>(tie => ({
  tree: fc.oneof({ maxDepth: 4 }, values, fc.tuple(fc.dictionary(fc.constantFrom('A', 'B', 'constructor'), tie('tree'), { maxKeys: 2 }), values).map(([records, values]) => ({ ...records, ...values })))
})).tree

const frozen = (value: unknown): string => JSON.stringify(value, (_key, item: unknown) => item === undefined ? 'undefined' : item)

t.test('property: nothing over what was said leaves it', async t => {
  fc.assert(fc.property(fc.object(), said => { t.strictSame(mergeOptions(said, {}), said) }))
})

t.test('property: what is said over nothing is what is left', async t => {
  fc.assert(fc.property(tree, over => { t.equal(JSON.stringify(mergeOptions({}, over)), JSON.stringify(over)) }))
})

t.test('property: it does not matter which two of three levels are merged first', async t => {
  fc.assert(fc.property(tree, tree, tree, (a, b, c) => {
    t.same(mergeOptions(mergeOptions(a, b), c), mergeOptions(a, mergeOptions(b, c)))
  }))
})

t.test('property: neither side is changed', async t => {
  fc.assert(fc.property(fc.object(), fc.object(), (said, over) => {
    const before = [frozen(said), frozen(over)]
    mergeOptions(said, over)
    t.same([frozen(said), frozen(over)], before)
  }))
})

t.test('frozen options can be merged', async t => {
  const base = Object.freeze({ timeout: Object.freeze({ total: 1 }), pool: Object.freeze({ connectTimeout: 2 }) })
  t.strictSame(mergeBackend(base, Object.freeze({ timeout: Object.freeze({ connect: 3 }) })), { timeout: { total: 1, connect: 3 }, pool: {} })
})
