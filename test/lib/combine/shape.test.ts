import fc from 'fast-check'
import t from 'tap'
import { createShape, elements, lookup, parseJson, textOf } from '../../../lib/combine/index.ts'
import type { ShapeConfig } from '../../../lib/composite/types.ts'

const nothing: ShapeConfig = { target: undefined, pick: undefined, omit: undefined, rename: undefined, group: undefined }

function shaped (config: Partial<ShapeConfig>, text: string): string | undefined {
  const result = createShape({ ...nothing, ...config })!(parseJson(Buffer.from(text), 100))
  return result && textOf(result)
}

const person = '{"id": 12345678901234567890,"name":"\\u0041nn","address":{"city":"Rome", "zip":null},"tags":[{"k":"a","v":1},{"k":"b","v":2},3]}'

t.test('a shape that does nothing is none', async t => {
  t.equal(createShape(nothing), undefined)
  t.equal(createShape({ ...nothing, omit: [], rename: {} }), undefined)
})

t.test('target is an inner value', async t => {
  t.equal(shaped({ target: 'address' }, person), '{"city":"Rome", "zip":null}')
  t.equal(shaped({ target: 'tags.1.v' }, person), '2')
  t.equal(shaped({ target: 'address.zip' }, person), 'null')
})

t.test('a target that is missing leaves nothing', async t => {
  t.equal(shaped({ target: 'address.street', group: 'x' }, person), undefined)
  t.equal(shaped({ target: 'name.length' }, person), undefined)
  t.equal(shaped({ target: 'a' }, '[]'), undefined)
})

t.test('pick keeps the paths, in the order of the document', async t => {
  t.equal(shaped({ pick: ['name', 'id'] }, person), '{"id": 12345678901234567890,"name":"\\u0041nn"}')
  t.equal(shaped({ pick: ['address.city'] }, person), '{"address":{"city":"Rome"}}')
  t.equal(shaped({ pick: ['address.city', 'address'] }, person), '{"address":{"city":"Rome", "zip":null}}')
  t.equal(shaped({ pick: ['nope', 'address.nope'] }, person), '{"address":{}}')
  t.equal(shaped({ pick: [] }, person), '{}')
})

t.test('omit drops the paths', async t => {
  t.equal(shaped({ omit: ['id', 'tags', 'address.zip', 'nope.x'] }, person), '{"name":"\\u0041nn","address":{"city":"Rome"}}')
})

t.test('an array stands for each of its elements', async t => {
  t.equal(shaped({ pick: ['tags.k'] }, person), '{"tags":[{"k":"a"},{"k":"b"},3]}')
  t.equal(shaped({ omit: ['k'] }, '[{"k":1,"l":2},[{"k":3}],4,{"l": 5}]'), '[{"l":2},[{}],4,{"l": 5}]')
  t.equal(shaped({ rename: { k: 'K' } }, '[{"k":1}]'), '[{"K":1}]')
  t.equal(shaped({ pick: ['a'] }, '[]'), '[]')
})

t.test('rename changes the key in its place', async t => {
  t.equal(shaped({ rename: { name: 'called', 'address.city': 'town', 'tags.k': 'key' } }, '{"name":1,"address":{"zip":0,"city":"Rome"},"tags":[{"k":1}]}'),
    '{"called":1,"address":{"zip":0,"town":"Rome"},"tags":[{"key":1}]}')
  t.equal(shaped({ rename: { address: 'home', 'address.city': 'town' } }, '{"address":{"city":1}}'), '{"home":{"town":1}}')
  t.equal(shaped({ rename: { a: 'x"y' } }, '{"a":1}'), '{"x\\"y":1}')
  t.equal(shaped({ rename: { a: 'b', b: 'a' } }, '{"a":1,"b":2}'), '{"b":1,"a":2}')
})

t.test('what is renamed replaces what had the name', async t => {
  t.equal(shaped({ rename: { a: 'b' } }, '{"b":1,"a":2,"c":3}'), '{"b":2,"c":3}')
  t.equal(shaped({ rename: { a: 'b' } }, '{"a":2,"\\u0062":1}'), '{"b":2}')
  t.equal(shaped({ rename: { a: 'c', b: 'c' } }, '{"a":1,"b":2}'), '{"c":2}')
  t.equal(shaped({ rename: { a: 'b' } }, '{"a":1,"a":2}'), '{"b":2}')
  t.equal(shaped({ rename: { a: 'a' } }, '{"a": 1}'), '{"a": 1}')
})

t.test('group puts the value under a key', async t => {
  t.equal(shaped({ group: 'user' }, ' [1 ] '), '{"user":[1 ]}')
  t.equal(shaped({ group: '"' }, '1'), '{"\\"":1}')
})

t.test('the order is target, pick, omit, rename, group', async t => {
  t.equal(shaped({ group: 'g', rename: { a: 'b' }, omit: ['a.y'], pick: ['a'], target: 't' }, '{"t":{"a":{"x":1,"y":2},"b":3},"u":0}'), '{"g":{"b":{"x":1}}}')
})

t.test('pick, omit and rename leave scalars as they are', async t => {
  for (const text of ['1', '"a"', 'null', 'true']) t.equal(shaped({ pick: ['a'], omit: ['a'], rename: { a: 'b' } }, text), text)
  t.equal(shaped({ pick: ['a.b'] }, '{"a":null,"c":1}'), '{"a":null}')
})

t.test('of keys that are there twice pick keeps the last, others are not touched', async t => {
  t.equal(shaped({ pick: ['a', 'b'] }, '{"a":1,"b":2,"a":3,"c":4}'), '{"a":3,"b":2}')
  t.equal(shaped({ omit: ['b'] }, '{"a":1,"b":2,"a":3}'), '{"a":1,"a":3}')
})

t.test('keys with escapes are found', async t => {
  t.equal(shaped({ pick: ['a'] }, '{"\\u0061":1,"b":2}'), '{"\\u0061":1}')
  t.equal(shaped({ omit: ['é'] }, '{"\\u00e9":1,"é":2,"b":3}'), '{"b":3}')
})

t.test('keys of the prototype are keys like others', async t => {
  t.equal(shaped({ pick: ['__proto__.a'] }, '{"__proto__":{"a":1,"b":2},"c":3}'), '{"__proto__":{"a":1}}')
  t.equal(shaped({ omit: ['constructor'] }, '{"constructor":1,"c":3}'), '{"c":3}')
})

t.test('what changes nothing gives the very value back', async t => {
  const json = parseJson(Buffer.from(person), 100)
  t.equal(createShape({ ...nothing, pick: ['id', 'name', 'address', 'tags'], omit: ['x', 'tags.z'], rename: { y: 'z' } })!(json), json)
  const shape = createShape({ ...nothing, omit: ['tags.v'] })!
  t.equal(textOf(elements(lookup(shape(json)!, ['tags'])!)[2]!), '3')
})

type Plain = { [key: string]: unknown }
const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value)

function pickAt (value: unknown, paths: string[][]): unknown {
  if (Array.isArray(value)) return value.map(item => pickAt(item, paths))
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).flatMap(([key, inner]) => {
    const here = paths.filter(path => path[0] === key)
    if (here.length === 0) return []
    return [[key, here.some(path => path.length === 1) ? inner : pickAt(inner, here.map(path => path.slice(1)))]]
  }))
}

function omitAt (value: unknown, paths: string[][]): unknown {
  if (Array.isArray(value)) return value.map(item => omitAt(item, paths))
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).flatMap(([key, inner]) => {
    const here = paths.filter(path => path[0] === key)
    return here.some(path => path.length === 1) ? [] : [[key, omitAt(inner, here.map(path => path.slice(1)))]]
  }))
}

function renameAt (value: unknown, names: Array<readonly [path: string[], to: string]>): unknown {
  if (Array.isArray(value)) return value.map(item => renameAt(item, names))
  if (!isPlain(value)) return value
  const moved = Object.entries(value).map(([key, inner]) => {
    const here = names.filter(([path]) => path[0] === key)
    const to = here.find(([path]) => path.length === 1)?.[1] ?? key
    return { key, to, inner: renameAt(inner, here.map(([path, to]) => [path.slice(1), to] as const)) }
  })
  const kept = moved.filter(({ key, to }, index) => {
    const last = moved.findLastIndex(other => other.to === to && other.key !== other.to)
    return last === -1 ? key === to : last === index
  })
  return Object.fromEntries(kept.map(({ to, inner }) => [to, inner]))
}

const key = fc.constantFrom('a', 'b', 'c', 'd', 'é')
const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof({ depthSize: 'medium' }, fc.constantFrom<unknown>(null, 1, 'x"]}'), fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(key, tie('value'), { maxKeys: 4 }))
}))
const path = fc.array(key, { minLength: 1, maxLength: 3 })

t.test('a shape does on bytes what it would do on values', async () => {
  fc.assert(fc.property(value, fc.array(path, { minLength: 1, maxLength: 4 }), fc.array(fc.tuple(path, key), { maxLength: 3 }), fc.constantFrom(0, 1), (value, paths, renames, space) => {
    const text = JSON.stringify(value, null, space)
    const dotted = paths.map(path => path.join('.'))
    const rename = Object.fromEntries(renames.map(([path, to]) => [path.join('.'), to]))
    const names = Object.entries(rename).map(([path, to]) => [path.split('.'), to] as const)
    const same = (config: Partial<ShapeConfig>, expected: unknown) => JSON.stringify(JSON.parse(shaped(config, text)!)) === JSON.stringify(expected)
    return same({ pick: dotted }, pickAt(value, paths)) && same({ omit: dotted }, omitAt(value, paths)) && same({ rename, group: 'g' }, { g: renameAt(value, names) })
  }), { seed: 31, numRuns: 1500 })
})
