import fc from 'fast-check'
import t from 'tap'
import {
  JsonProblem, append, arrayOf, byteLength, elements, equalsValue, isTruthy, jsonOf, kindOf, lookup, object, objectOf, parseJson, scalarText, textOf, toPayload, toValue, withEntry
} from '../../../lib/combine/index.ts'
import type { Json } from '../../../lib/combine/index.ts'

const json = (text: string): Json => parseJson(Buffer.from(text), 100)
const found = (text: string, ...path: Array<string | number>): string | undefined => {
  const value = lookup(json(text), path)
  return value === undefined ? undefined : textOf(value)
}

t.test('a value keeps its bytes', async t => {
  const text = '{"n":12345678901234567890.10, "n":1E400 ,"s":"\\u0061\\/é","o":{ "a":1,"a":2 }}'
  t.equal(textOf(json(` ${text}\n`)), text)
  t.equal(String(toPayload(json(`\ufeff${text}`))), text)
  t.equal(found(text, 'o'), '{ "a":1,"a":2 }')
  t.equal(found(text, 'n'), '1E400')
})

t.test('a kind is known by the first byte', async t => {
  t.same(['{}', '[]', '""', '0', '-1', 'true', 'false', 'null'].map(text => kindOf(json(text))), ['object', 'array', 'string', 'number', 'number', 'boolean', 'boolean', 'null'])
  t.equal(kindOf(objectOf([])), 'object')
  t.equal(kindOf(arrayOf([])), 'array')
})

t.test('a lookup finds inner values, of duplicates the last', async t => {
  const text = ' { "a" : { "b" : [ 10 , {"c":"]"} ] } , "d":1,"d":2, "\\u0065":3, "é":4, "":5, "1":6 } '
  t.equal(found(text, 'a', 'b', 0), '10')
  t.equal(found(text, 'a', 'b', '1', 'c'), '"]"')
  t.equal(found(text, 'a', 'b'), '[ 10 , {"c":"]"} ]')
  t.equal(found(text, 'd'), '2')
  t.equal(found(text, 'e'), '3')
  t.equal(found(text, 'é'), '4')
  t.equal(found(text, ''), '5')
  t.equal(found(text, 1), '6')
  t.equal(found('7'), '7')
})

t.test('a lookup finds nothing where there is nothing of the value itself', async t => {
  for (const path of [['b'], ['toString'], ['__proto__'], ['constructor'], ['a', 'b'], ['l', 2], ['l', -1], ['l', 0.5], ['l', 'length'], ['l', '00'], ['l', '-0'], ['s', 0], ['s', 'length'], ['n', 'x'], ['a', 'b', 'c']]) {
    t.equal(found('{"a":1,"l":[1,2],"s":"text","n":null}', ...path), undefined, path.join())
  }
  t.equal(found('{"__proto__":{"a":1}}', '__proto__', 'a'), '1')
})

t.test('a lookup goes through composed values', async t => {
  const value = withEntry(objectOf([['a', arrayOf([json('1'), objectOf([['b', json('[2]')]])])]]), 'list', append([json('[1]'), json('[]'), json('[2,3]')]))
  const text = (...path: Array<string | number>) => {
    const inner = lookup(value, path)
    return inner && textOf(inner)
  }
  t.equal(text('a', 1, 'b', 0), '2')
  t.equal(text('list', 2), '3')
  t.equal(text('list', 3), undefined)
  t.equal(text('b'), undefined)
})

t.test('elements are the values of an array', async t => {
  t.same(elements(json('[ 1 , [2,3], "]", {"a":"[" } ,-1.5e3 ]')).map(textOf), ['1', '[2,3]', '"]"', '{"a":"[" }', '-1.5e3'])
  t.same(elements(json('[ ]')), [])
  t.same(elements(json('{"a":[1]}')), [])
  t.same(elements(append([json('[1]'), arrayOf([json('2')]), json('[3, 4]')])).map(textOf), ['1', '2', '3', '4'])
})

t.test('an entry is replaced where it stands, or comes last', async t => {
  const set = (text: string, key: string) => textOf(withEntry(json(text), key, json('0')))
  t.equal(set('{ "a": 1 , "b":2}', 'c'), '{"a": 1 , "b":2,"c":0}')
  t.equal(set('{"a":1,"b":2,"c":3}', 'b'), '{"a":1,"b":0,"c":3}')
  t.equal(set('{"a":1,"b":2,"\\u0061":3}', 'a'), '{"a":0,"b":2}')
  t.equal(set('{}', 'a"\n\ud800'), '{"a\\"\\n\\ud800":0}')
  t.equal(set('{ }', '__proto__'), '{"__proto__":0}')
})

t.test('an object of parts has their names, escaped', async t => {
  t.equal(textOf(object([{ name: 'a', json: json(' 1 ') }, { name: '"é"', json: json('{"x": 2}') }])), '{"a":1,"\\"é\\"":{"x": 2}}')
  t.equal(textOf(object([])), '{}')
})

t.test('arrays are put behind each other without a stray comma', async t => {
  const all = (...texts: string[]) => textOf(append(texts.map(json)))
  t.equal(all('[ 1, 2 ]', '[]', '[ ]', '[3]'), '[1, 2,3]')
  t.equal(all('[]', '[\n]'), '[]')
  t.equal(all(), '[]')
  t.equal(all('[]', '["a"]'), '["a"]')
  t.equal(textOf(append([arrayOf([]), arrayOf([json('1')]), append([json('[2]')])])), '[1,2]')
})

t.test('appending is what flattening the parsed arrays is', async () => {
  fc.assert(fc.property(fc.array(fc.array(fc.jsonValue(), { maxLength: 4 }), { maxLength: 5 }), fc.constantFrom(0, 1), (arrays, space) => {
    const parts = arrays.map(array => json(JSON.stringify(array, null, space)))
    return JSON.stringify(JSON.parse(textOf(append(parts)))) === JSON.stringify(arrays.flat()) && elements(append(parts)).length === arrays.flat().length
  }), { seed: 11, numRuns: 300 })
})

t.test('a short answer of pure ASCII is a text, any other a buffer', async t => {
  t.equal(toPayload(json('{"a":1}')), '{"a":1}')
  t.type(toPayload(json('{"a":"é"}')), Buffer)
  t.type(toPayload(json(`"${'x'.repeat(20_000)}"`)), Buffer)
  t.type(toPayload(json(`"${'x'.repeat(16_382)}"`)), 'string')
  t.type(toPayload(json(`"${'x'.repeat(16_383)}"`)), Buffer)
  t.equal(toPayload(objectOf([['a', objectOf([['b', json('1')]])]])), '{"a":{"b":1}}')
  t.type(toPayload(objectOf([['é', json('1')]])), Buffer)
  t.equal(toPayload(lookup(json('{"a":"é","b":[1]}'), ['b'])!), '[1]')
})

t.test('text, payload and length of any composition agree', async () => {
  const leaf = fc.json({ noUnicodeString: false }).map(text => jsonOf(JSON.parse(text)))
  const { tree } = fc.letrec<{ tree: Json }>(tie => ({
    tree: fc.oneof({ depthSize: 'small' }, leaf,
      fc.array(tie('tree'), { maxLength: 4 }).map(arrayOf),
      fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), tie('tree')), { maxLength: 4 }).map(objectOf))
  }))
  fc.assert(fc.property(tree, value => {
    const text = textOf(value)
    JSON.parse(text)
    return String(toPayload(value)) === text && byteLength(value) === Buffer.byteLength(text)
  }), { seed: 12, numRuns: 500 })
})

t.test('a value for functions has no key that reaches a prototype', async t => {
  const value = toValue(json('{"__proto__":{"a":1},"b":[{"\\u005f_proto__":2,"c":3}],"constructor":{"prototype":{"x":1}},"d":{"constructor":"plain"}}'))
  t.same(value, { b: [{ c: 3 }], d: { constructor: 'plain' } })
  t.notOk(Object.hasOwn(Object(value), '__proto__'))
  t.notOk(Object.hasOwn(Object(value), 'constructor'))
  t.equal(toValue(json('"\ufeffx"')), '\ufeffx')
  t.equal(toValue(json('null')), null)
})

t.test('a scalar has a text, as it was sent', async t => {
  const texts = ['"a\\n\\u00e9\\ud83d\\ude00é"', '""', '12345678901234567890', '-0.10E+5', 'true', 'false', 'null', '[]', '{}']
  t.same(texts.map(text => scalarText(json(text))), ['a\n\u00e9😀é', '', '12345678901234567890', '-0.10E+5', 'true', 'false', undefined, undefined, undefined])
  t.equal(scalarText(arrayOf([])), undefined)
})

t.test('null, false, any zero and the empty text are not truthy', async t => {
  t.same(['null', 'false', '0', '-0', '0.0', '0e5', '-0.00E-7', '""'].filter(text => isTruthy(json(text))), [])
  t.same(['true', '1', '-1', '0.1', '1e-5', '10', '"0"', '" "', '"false"', '[]', '{}'].filter(text => !isTruthy(json(text))), [])
  t.ok(isTruthy(objectOf([])))
})

t.test('a value equals what JSON.parse would give', async t => {
  const same: Array<[string, unknown]> = [
    ['1.0', 1], ['-0', 0], ['"\\u0061"', 'a'], ['"é"', 'é'], ['null', null], ['true', true], ['[1,[2]]', [1, [2]]], ['{"a":1,"b":[]}', { b: [], a: 1 }], ['{"a":1,"a":2}', { a: 2 }],
    ['{"__proto__":1}', JSON.parse('{"__proto__":1}')]
  ]
  t.same(same.filter(([text, value]) => !equalsValue(json(text), value)), [])
  const different: Array<[string, unknown]> = [
    ['1', '1'], ['"1"', 1], ['null', undefined], ['null', false], ['[]', {}], ['{}', []], ['{}', null], ['[1]', [1, 2]], ['{"a":1}', { a: 1, b: 2 }], ['{"a":1}', { b: 1 }],
    ['{"a":null}', { b: null }], ['"a"', 'ab'], ['"ab"', 'a'], ['{"__proto__":{}}', {}], ['{}', JSON.parse('{"__proto__":{}}')]
  ]
  t.same(different.filter(([text, value]) => equalsValue(json(text), value)), [])
  t.ok(equalsValue(objectOf([['a', arrayOf([json('1')])]]), { a: [1] }))
})

t.test('JSON is made of a value, unless there is none', async t => {
  t.equal(textOf(jsonOf({ a: [1, undefined, new Date(0)], b: undefined })), '{"a":[1,null,"1970-01-01T00:00:00.000Z"]}')
  for (const value of [undefined, () => 1, Symbol('x'), { toJSON: () => undefined }, 1n]) t.throws(() => jsonOf(value), TypeError)
  t.throws(() => jsonOf([[[]]], 2), new JsonProblem('depth', 2))
})

t.test('any value is found by its path', async () => {
  fc.assert(fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.array(fc.jsonValue(), { maxLength: 3 }), { maxKeys: 5 }), fc.constantFrom(0, 2), (value, space) => {
    const whole = json(JSON.stringify(value, null, space))
    return Object.entries(value).every(([key, list]) => list.every((inner, index) => {
      const at = lookup(whole, [key, index])
      return at !== undefined && JSON.stringify(JSON.parse(textOf(at))) === JSON.stringify(inner) && equalsValue(at, JSON.parse(JSON.stringify(inner)))
    }))
  }), { seed: 13, numRuns: 300 })
})
