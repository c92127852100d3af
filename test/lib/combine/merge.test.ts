import fc from 'fast-check'
import t from 'tap'
import { ConflictProblem, arrayOf, createShape, jsonOf, lookup, merge, objectOf, parseJson, textOf, toPayload, withEntry } from '../../../lib/combine/index.ts'
import type { MergeInput } from '../../../lib/combine/index.ts'
import type { Conflict } from '../../../lib/composite/types.ts'

const names = ['first', 'second', 'third', 'fourth']
const inputs = (...texts: string[]): MergeInput[] => texts.map((text, index) => ({ name: names[index]!, json: parseJson(Buffer.from(text), 100) }))
const merged = (conflict: Conflict, ...texts: string[]): string => textOf(merge(inputs(...texts), conflict))

t.test('parts without a common key are put behind each other, byte for byte', async t => {
  for (const conflict of ['last', 'first', 'deep', 'error'] as const) {
    t.equal(merged(conflict, ' { "a" : 1e400 }', '{}', '{"b":"\\u0061",  "c":[ ]}', '{ }'), '{"a" : 1e400,"b":"\\u0061",  "c":[ ]}')
  }
  t.equal(merged('last'), '{}')
  t.equal(merged('last', '{}', '{ }'), '{}')
})

t.test('big integers keep every digit', async t => {
  t.equal(merged('last', '{"a":9007199254740993}', '{"b":0.1000000000000000055511151231257827}'), '{"a":9007199254740993,"b":0.1000000000000000055511151231257827}')
})

t.test('last: the last value stands where the key first was', async t => {
  t.equal(merged('last', '{"a":1,"b":2,"c":3}', '{"d":4,"b":5}', '{"b":6,"e":7}'), '{"a":1,"b":6,"c":3,"d":4,"e":7}')
  t.equal(merged('last', '{"a":1}', '{"a":{"x": 1}}'), '{"a":{"x": 1}}')
})

t.test('first: the first value stays', async t => {
  t.equal(merged('first', '{"a":1,"b":2,"c":3}', '{"d":4,"b":5}', '{"d":6,"e":7}'), '{"a":1,"b":2,"c":3,"d":4,"e":7}')
})

t.test('deep: objects are merged, anything else is replaced', async t => {
  t.equal(merged('deep', '{"a":{"x":1,"y":{"z":[1]}},"b":[1]}', '{"a":{"y":{"z":[2],"w": 0}},"b":[2]}'), '{"a":{"x":1,"y":{"z":[2],"w": 0}},"b":[2]}')
  t.equal(merged('deep', '{"a":{"x":1}}', '{"a":5}', '{"a":{"y":2}}'), '{"a":{"y":2}}')
  t.equal(merged('deep', '{"a":1}', '{"a":{"x":1}}', '{"a":{"y":2}}'), '{"a":{"x":1,"y":2}}')
  t.equal(merged('deep', '{"a":{"x":1}}', '{"a":null}'), '{"a":null}')
})

t.test('error: the key and both parts are named', async t => {
  t.throws(() => merged('error', '{"a":1}', '{"b":1}', '{"c":1,"b":2}'), new ConflictProblem('b', 'second', 'third'))
  t.throws(() => merged('error', '{"é\\n":1}', '{"\\u00e9\\u000a":1}'), new ConflictProblem('é\n', 'first', 'second'))
  t.equal(merged('error', '{"a":1,"a":2}', '{"b":1,"b":1}'), '{"a":1,"a":2,"b":1,"b":1}')
})

t.test('keys are the same when they are after decoding', async t => {
  t.equal(merged('last', '{"a":1,"x":0}', '{"\\u0061":2}'), '{"a":2,"x":0}')
  t.equal(merged('last', '{"\\u0061":1}', '{"a":2}'), '{"\\u0061":2}')
  t.equal(merged('last', '{"é":1}', '{"\\u00E9":2}'), '{"é":2}')
  t.equal(merged('last', '{"\\/":1}', '{"/":2}'), '{"\\/":2}')
  t.equal(merged('last', '{"\\ud800":1}', '{"\ufffd":2}', '{"\\uD800":3}', '{"\\\\ud800":4}'), '{"\\ud800":3,"\ufffd":2,"\\\\ud800":4}')
  t.equal(merged('last', '{"a":1}', '{"A":2}', '{"a ":3}', '{"":4}'), '{"a":1,"A":2,"a ":3,"":4}')
})

t.test('of a key that is twice in one part and nowhere else both entries survive', async t => {
  for (const conflict of ['last', 'first', 'deep'] as const) {
    t.equal(merged(conflict, '{"a":1,"a":2,"b":3}', '{"b":4,"c":5,"c":6}'), `{"a":1,"a":2,"b":${conflict === 'first' ? 3 : 4},"c":5,"c":6}`)
  }
})

t.test('of duplicates that other parts have too one entry remains, the last', async t => {
  t.equal(merged('last', '{"a":1,"a":2,"b":0}', '{"a":3,"a":4}'), '{"a":4,"b":0}')
  t.equal(merged('first', '{"a":1,"b":0,"a":2}', '{"a":3,"a":4}'), '{"a":2,"b":0}')
  t.equal(merged('deep', '{"a":1,"a":{"x":1}}', '{"a":3,"a":{"y":2}}'), '{"a":{"x":1,"y":2}}')
})

t.test('keys of the prototype are data and reach no prototype', async t => {
  t.equal(merged('last', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":1},"toString":1}'), '{"__proto__":{"a":1},"constructor":{"prototype":1},"toString":1}')
  t.equal(merged('deep', '{"__proto__":{"a":1}}', '{"__proto__":{"polluted":2}}'), '{"__proto__":{"a":1,"polluted":2}}')
  t.equal(Reflect.get({}, 'polluted'), undefined)
  t.equal(Reflect.get({}, 'a'), undefined)
})

t.test('thousands of keys, alike ones too, are merged', async t => {
  const part = (prefix: string, count: number) => JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, index])))
  for (const count of [600, 3000, 20_000]) {
    const texts = [part('a', count), part('b', count), part('c', count)]
    t.equal(merged('last', ...texts), texts.join('').replaceAll('}{', ','))
    t.equal(merged('last', texts[0]!, texts[0]!), texts[0])
    t.equal(merged('first', texts[0]!, texts[1]!, texts[0]!), (texts[0]! + texts[1]!).replaceAll('}{', ','))
  }
})

t.test('composed parts are merged as well', async t => {
  const picked = createShape({ target: undefined, pick: ['a', 'b.c'], omit: undefined, rename: undefined, group: undefined })!
  const parts = inputs('{"a":1,"b":{"c":2,"d":3},"e":4}', '{"b":{"x": 5},"f":6}')
  const shaped = [{ name: 'first', json: picked(parts[0]!.json)! }, parts[1]!]
  t.equal(textOf(merge(shaped, 'deep')), '{"a":1,"b":{"c":2,"x": 5},"f":6}')
  t.equal(textOf(merge(shaped, 'last')), '{"a":1,"b":{"x": 5},"f":6}')
  const both = merge(parts, 'deep')
  t.equal(textOf(merge([{ name: 'x', json: both }, { name: 'y', json: objectOf([['f', arrayOf([])], ['g', jsonOf(1)]]) }], 'last')), '{"a":1,"b":{"c":2,"d":3,"x": 5},"e":4,"f":[],"g":1}')
  t.equal(textOf(withEntry(both, '_meta', jsonOf({}))), '{"a":1,"b":{"c":2,"d":3,"x": 5},"e":4,"f":6,"_meta":{}}')
  t.equal(textOf(lookup(both, ['b', 'x'])!), '5')
})

t.test('thousands of conflicts of composed parts take no time', async t => {
  const text = JSON.stringify(Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`k${index}`, index])))
  const renamed = createShape({ target: undefined, pick: undefined, omit: undefined, rename: { k0: 'x' }, group: undefined })!
  const parts = inputs(text, text).map(({ name, json }) => ({ name, json: renamed(json)! }))
  const started = performance.now()
  t.equal(textOf(merge(parts, 'deep')), text.replace('"k0"', '"x"'))
  t.ok(performance.now() - started < 2000)
})

type Plain = { [key: string]: unknown }

/** Without prototypes, as `__proto__` is a key like any other. */
function parsed (text: string): Plain {
  return JSON.parse(text, (_, value) => typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.assign(Object.create(null), withProto(value)) : value)
}

function withProto (value: object): object {
  return Object.defineProperties(Object.create(null), Object.getOwnPropertyDescriptors(value))
}

function isPlain (value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function reference (conflict: 'last' | 'first' | 'deep', a: Plain, b: Plain): Plain {
  const out = Object.assign(Object.create(null), a)
  for (const [key, value] of Object.entries(b)) {
    const known = out[key]
    if (!(key in out) || conflict === 'last') out[key] = value
    else if (conflict === 'deep') out[key] = isPlain(known) && isPlain(value) ? reference('deep', known, value) : value
  }
  return out
}

const key = fc.constantFrom('a', 'b', 'c', 'id', 'é', '', 'a"b', '__proto__', 'constructor', 'k1', 'k2', 'k3')
const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof({ depthSize: 'small' }, fc.constantFrom<unknown>(null, 1, 'x', true, [], [{ a: 1 }]), fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: false }))
}))
const part = fc.tuple(fc.dictionary(key, value, { maxKeys: 6, noNullPrototype: false }), fc.constantFrom(0, 2), fc.boolean()).map(([object, space, escape]) => {
  const text = JSON.stringify(object, null, space)
  return escape ? text.replaceAll('"a"', '"\\u0061"') : text
})

t.test('merging is what assigning the parsed parts is, in the order of first appearance', async () => {
  fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), fc.constantFrom('last' as const, 'first' as const, 'deep' as const), (texts, conflict) => {
    const expected = texts.map(parsed).reduce((a, b) => reference(conflict, a, b), Object.create(null))
    const result = merged(conflict, ...texts)
    return JSON.stringify(parsed(result)) === JSON.stringify(expected) && merged(conflict, ...texts) === result && String(toPayload(merge(inputs(...texts), conflict))) === result
  }), { seed: 21, numRuns: 2000 })
})

t.test('merging throws exactly when two parts have a key', async () => {
  fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), texts => {
    const keys = texts.flatMap(text => Object.keys(parsed(text)))
    const clash = new Set(keys).size < keys.length
    try {
      merged('error', ...texts)
      return !clash
    } catch (error) {
      return clash && error instanceof ConflictProblem && Object.hasOwn(parsed(texts[names.indexOf(error.first)]!), error.key) && Object.hasOwn(parsed(texts[names.indexOf(error.second)]!), error.key)
    }
  }), { seed: 22, numRuns: 500 })
})
