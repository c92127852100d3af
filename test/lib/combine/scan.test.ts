import fc from 'fast-check'
import t from 'tap'
import { JsonProblem, parseJson, textOf } from '../../../lib/combine/index.ts'

function problem (bytes: string | Buffer, maxDepth = 100): JsonProblem | undefined {
  try {
    parseJson(Buffer.from(bytes), maxDepth)
  } catch (error) {
    if (error instanceof JsonProblem) return error
    throw error
  }
  return undefined
}

/** What JSON.parse says of the bytes, once they are UTF-8. */
function isJson (bytes: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return true
  } catch {
    return false
  }
}

const good = [
  '[]', '{}', '[ ]', '{ }', ' [] ', '\t\r\n {}\n', '0', '-0', '1', '-1', '10', '1.5', '-1.5', '0.0', '0e0', '0E0', '1e5', '1E5', '1e+5', '1e-5', '1.25e10', '-0.0e-0', '1e400',
  '123456789012345678901234567890', 'true', 'false', 'null', ' true ', '""', '"a"', '" "', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\uD800"', '"\\uDC00\\uD800"',
  '"\\uD83D\\uDE00"', '"\\uaBcD"', '"\u007f"', '"\u0080"', '"\u2028\u2029"', '"é"', '"😀"', '"\uffff"', '"\ufeff"', '[1]', '[1,2]', '[ 1 , 2 ]', '[[],[[]],{}]', '[null,true,false]',
  '{"a":1}', '{"a":1,"b":2}', '{ "a" : 1 , "b" : 2 }', '{"":0}', '{"a":1,"a":2}', '{"a":{"a":{"a":{}}}}', '{"a":[{"b":[{"c":[]}]}]}', '{"\\u0061":1}', '{"__proto__":1}', '[1\n]',
  '[\t1]', '{"é":"ü"}', '\ufeff{}', '\ufeff 1', '[0,0.1,-0]', '["]"]', '["}"]', '{"}":"{"}', '["\\\\"]', '["\\\\\\""]', '[{},[]]'
]

const bad = [
  '', ' ', '\n', '[', ']', '{', '}', '[}', '{]', '[1', '[1,', '[1,]', '[,]', '[,1]', '[1,,2]', '[1 2]', '[1;2]', '{"a"}', '{"a":}', '{"a" 1}', '{"a":1,}', '{,}', '{,"a":1}', '{"a":1,,"b":2}',
  '{"a":1 "b":2}', '{a:1}', "{'a':1}", "['a']", '{1:1}', '{null:1}', '{"a":1', '{"a":', '{"a"', '{"a', '{"', '{"a"::1}', '{"a",1}', '[1]]', '{}}', '{}{}', '[][]', '1 2', '1,', ',', ':', 'true false',
  '[1]x', '{}x', '"a"x', '01', '-01', '00', '-', '+1', '.5', '1.', '1.e5', '-.5', '1e', '1e+', '1E-', '1e5.5', '1ee5', '0x1', '1_000', '1.2.3', '--1', '1-', '1+1', 'NaN', 'Infinity', '-Infinity',
  'tru', 'True', 'TRUE', 'truee', 'fals', 'falsee', 'nul', 'nulll', 'nil', 'undefined', 't', 'f', 'n', '"', '"a', '"\\', '"\\"', '"\\x"', '"\\a"', '"\\\'"', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"',
  '"\\u123g"', '"\\U1234"', '"\\u 123"', '"\\0"', '"\\\n"', '"\n"', '"\t"', '"\r"', '"\0"', '"\u0001"', '"\u001f"', '\0', '1\0', '[]\0', '[\0]', '{}\u00a0', '\u00a0{}', '\u2028[]', '\f[]',
  '\v[]', '[1\f]', '\ufeff', '\ufeff\ufeff{}', ' \ufeff{}', '{}\ufeff', '/**/1', '1//', '[1]#', '<a/>', 'a', '"a""b"', '[“a”]', '{"a":"b"]', '["a":1]', '[1}', '{"a":1]', '[[1]', '[[]', '{"a":{}'
]

t.test('what the grammar allows is accepted', async t => {
  t.same(good.filter(text => problem(text) !== undefined), [])
})

t.test('what the grammar does not allow is refused', async t => {
  t.same(bad.filter(text => problem(text)?.reason !== 'syntax'), [])
})

t.test('the lists are right: JSON.parse agrees', async t => {
  t.same(good.filter(text => !isJson(Buffer.from(text))), [])
  t.same(bad.filter(text => isJson(Buffer.from(text))), [])
})

t.test('bytes that are no UTF-8 are refused, wherever they are', async t => {
  const sequences = [[0xff], [0x80], [0xc0, 0x80], [0xc1, 0xbf], [0xc3], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x80, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]]
  for (const bytes of sequences) {
    const body = Buffer.concat([Buffer.from('["a\u00e9'), Buffer.from(bytes), Buffer.from('"]')])
    t.match(problem(body), { reason: 'utf8', offset: 5 }, bytes.join())
  }
})

t.test('a problem says at which byte', async t => {
  t.match(problem('[1,]'), { reason: 'syntax', offset: 3, message: 'No valid JSON at byte 3' })
  t.match(problem('{"é":x}'), { offset: 6 })
  t.match(problem('{"a":1'), { offset: 6 })
  t.match(problem('\ufeff01'), { offset: 4 })
  t.match(problem('["\\u12x4"]'), { offset: 6 })
})

t.test('depth is limited, objects and arrays alike', async t => {
  t.equal(problem('['.repeat(100) + ']'.repeat(100)), undefined)
  t.match(problem('['.repeat(101) + ']'.repeat(101)), { reason: 'depth', offset: 100 })
  t.match(problem('{"a":'.repeat(101) + '1' + '}'.repeat(101)), { reason: 'depth' })
  t.equal(problem('[]', 1), undefined)
  t.match(problem('[{}]', 1), { reason: 'depth', offset: 1 })
  t.match(problem('[]', 0), { reason: 'depth' })
  t.equal(problem('1', 0), undefined)
})

t.test('a hundred thousand brackets are refused at once, whatever the limit', async t => {
  const started = performance.now()
  for (const text of ['['.repeat(100_000), '{"a":'.repeat(100_000), '['.repeat(2_000_000), '[{"a":'.repeat(400_000)]) {
    t.equal(problem(text)?.reason, 'depth')
    t.equal(problem(text, Infinity)?.reason, 'depth')
  }
  t.ok(performance.now() - started < 2000)
})

t.test('a short body after a long one does not see its bytes', async t => {
  problem(JSON.stringify('x'.repeat(5000)))
  t.equal(problem('"x')?.offset, 2)
  problem('11111111')
  t.equal(textOf(parseJson(Buffer.from('1'), 1)), '1')
})

const pad = ' '.repeat(1024 * 1024)

t.test('a body of more than a megabyte follows the same grammar', async t => {
  const padded = (text: string) => text.startsWith('\ufeff') ? text + pad : pad + text
  const some = (_: string, index: number) => index % 4 === 0
  t.same(good.filter(some).filter(text => problem(padded(text)) !== undefined), [])
  t.same(bad.filter(some).filter(text => problem(padded(text))?.reason !== 'syntax'), [])
})

t.test('a body of more than a megabyte has depth, UTF-8 and offsets too', async t => {
  t.match(problem(pad + '["]", [[]]]', 2), { reason: 'depth', offset: pad.length + 7 })
  t.equal(problem(pad + '["\\"[[[["]', 1), undefined)
  t.match(problem(Buffer.concat([Buffer.from(pad), Buffer.from([0x22, 0xff, 0x22])])), { reason: 'utf8', offset: pad.length + 1 })
  const { offset } = problem(`${pad}["é","a" x]`) ?? {}
  t.ok(offset === -1 || offset === pad.length + 10, 'its place is known, or said to be not')
  t.equal(textOf(parseJson(Buffer.from(` ${pad}{"a": 1} `), 9)), '{"a": 1}')
})

t.test('random JSON is accepted and keeps its text', async () => {
  fc.assert(fc.property(fc.json({ noUnicodeString: false }), fc.constantFrom(undefined, 1, '\t'), (json, space) => {
    const text = JSON.stringify(JSON.parse(json), null, space)
    return textOf(parseJson(Buffer.from(`\n ${text} `), 1000)) === text
  }), { seed: 5, numRuns: 1000 })
})

t.test('JSON with random edits is accepted exactly when JSON.parse accepts it', async t => {
  const byte = fc.oneof(fc.constantFrom(...Buffer.from('{}[]",:\\u0123456789eE+-.truefalsn \t\n\r\0')), fc.integer({ min: 0, max: 255 }))
  const edit = fc.record({ at: fc.nat(), remove: fc.nat(2), insert: fc.array(byte, { maxLength: 2 }) })
  let accepted = 0
  const check = (json: string, edits: Array<{ at: number, remove: number, insert: number[] }>): boolean => {
    const bytes = [...Buffer.from(json)]
    for (const { at, remove, insert } of edits) bytes.splice(at % (bytes.length + 1), remove, ...insert)
    const body = Buffer.from(bytes)
    const ok = problem(body, 1000) === undefined
    if (ok) accepted++
    return ok === isJson(body)
  }
  fc.assert(fc.property(fc.json({ noUnicodeString: false }), fc.array(edit, { minLength: 1, maxLength: 3 }), check), { seed: 6, numRuns: 5000 })
  fc.assert(fc.property(fc.constantFrom(...good, ...bad), fc.array(edit, { minLength: 1, maxLength: 2 }), check), { seed: 7, numRuns: 5000 })
  t.ok(accepted > 300, `${accepted} of them were accepted`)
})

t.test('random tokens are accepted exactly when JSON.parse accepts them', async t => {
  const token = fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"\\n"', '1', '-0.5e1', 'true', 'null', ' ', '\n', '{"a":', '"b":', '[]', '{}')
  let accepted = 0
  fc.assert(fc.property(fc.array(token, { maxLength: 8 }), tokens => {
    const ok = problem(tokens.join('')) === undefined
    if (ok) accepted++
    return ok === isJson(Buffer.from(tokens.join('')))
  }), { seed: 8, numRuns: 10_000 })
  t.ok(accepted > 100, `${accepted} of them were accepted`)
})
