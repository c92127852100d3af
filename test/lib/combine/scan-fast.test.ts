/**
 * The fast scan against the scan byte by byte, which scan.test.ts holds against JSON.parse: on bodies whose value is an object
 * or an array both accept the same, with the same marks.
 */
import { isAscii, isUtf8 } from 'node:buffer'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { JsonProblem } from '../../../lib/combine/index.ts'
import { longest, scanBytes } from '../../../lib/combine/scan-bytes.ts'
import { scanFast } from '../../../lib/combine/scan-fast.ts'
import { scan } from '../../../lib/combine/scan.ts'

function outcome<T extends object> (scan: () => T): T | Pick<JsonProblem, 'reason' | 'offset'> {
  try {
    return scan()
  } catch (error) {
    if (error instanceof JsonProblem) return { reason: error.reason, offset: error.offset }
    throw error
  }
}

let accepted = 0

/** undefined: as it has to be. */
function difference (body: Buffer, maxDepth = 100): string | undefined {
  const places = outcome(() => scanBytes(body, maxDepth))
  const valid = 'start' in places
  if (valid) accepted++
  const isContainer = /^(\xef\xbb\xbf)?[ \t\n\r]*[[{]/.test(body.toString('latin1'))
  const expected = valid ? { ...places, ascii: isAscii(isContainer ? body.subarray(places.start, places.end) : body) } : places
  const text = (found: object | undefined): string => `${JSON.stringify(found)} of ${JSON.stringify(body.toString('latin1'))}`
  const fast = text(scanFast!(body, maxDepth))
  if (fast !== text(valid && isContainer ? expected : undefined)) return `fast: ${fast}, not ${JSON.stringify(expected)}`
  const whole = outcome(() => scan(body, maxDepth))
  if (!isUtf8(body)) return 'reason' in whole && whole.reason === 'utf8' ? undefined : `scan: ${text(whole)}, not utf8`
  return text(whole) === text(expected) ? undefined : `scan: ${text(whole)}, not ${JSON.stringify(expected)}`
}

const differences = (texts: Iterable<string>, maxDepth?: number): string[] => [...texts].flatMap(text => difference(Buffer.from(text), maxDepth) ?? [])

/** All rows of up to `most` of the tokens. */
function * rows (tokens: string[], most: number): Generator<string> {
  yield ''
  if (most > 0) for (const row of rows(tokens, most - 1)) for (const token of tokens) yield row + token
}

const same = (body: Buffer, maxDepth?: number): void => {
  const text = difference(body, maxDepth)
  if (text !== undefined) throw new Error(text)
}

const json = fc.tuple(
  fc.json({ noUnicodeString: false, maxDepth: 6 }),
  fc.constantFrom(undefined, 1, '\t', '\r\n    '),
  fc.constantFrom('', ' ', '\ufeff', '\n'.repeat(61), ' '.repeat(64), ' '.repeat(150))
).map(([text, space, before]) => Buffer.from(`${before}${JSON.stringify([JSON.parse(text), { text: JSON.parse(text), 'é\n': [] }], null, space)}`))

const byte = fc.oneof(fc.constantFrom(...Buffer.from('{}[]",:\\u0123456789eE+-.truefalsn \t\n\r\0')), fc.integer({ min: 0, max: 255 }))
const edit = fc.record({ at: fc.nat(), remove: fc.nat(2), insert: fc.array(byte, { maxLength: 2 }) })

const document = Buffer.from(JSON.stringify({
  id: 1234567, 'k\\"\u00e9y': '\u00e9😀\ud800\\ \n"', price: -12.50e-7, big: 1e21, flags: [true, false, null], list: [{ a: 0 }, {}, [], [[{}]], ''], long: 'x'.repeat(200), spaced: ' , : { ', last: { end: [1, 2] }
}, null, 1).replace('1e+21', '1E+21 ').replace('é', '\\u00E9'))

t.test('the fast scan is there', async t => {
  t.equal(typeof scanFast, 'function')
  t.strictSame(scanFast!(Buffer.from(' { "a" : [1] ,"b":{}}\n'), 2), { start: 1, end: 21, marks: [3, 6, 9, 12, 14, 17, 18, 20], ascii: true })
  t.strictSame(scanFast!(Buffer.from('[{"a":1}]'), 2), { start: 0, end: 9, marks: undefined, ascii: true })
  t.strictSame(scanFast!(Buffer.from('{ }'), 1), { start: 0, end: 3, marks: [], ascii: true })
  t.equal(scanFast!(Buffer.from('"a"'), 1), undefined)
  t.equal(scanFast!(Buffer.alloc(0), 1), undefined)
})

t.test('random JSON', async t => {
  accepted = 0
  fc.assert(fc.property(json, fc.constantFrom(2, 4, 100), (body, maxDepth) => same(body, maxDepth)), { seed: 11, numRuns: 2000 })
  t.ok(accepted > 1000, `${accepted} of them are valid`)
})

t.test('random JSON with random edits', async t => {
  accepted = 0
  fc.assert(fc.property(json, fc.array(edit, { minLength: 1, maxLength: 3 }), (body, edits) => {
    const bytes = [...body]
    for (const { at, remove, insert } of edits) bytes.splice(at % (bytes.length + 1), remove, ...insert)
    same(Buffer.from(bytes))
  }), { seed: 12, numRuns: 10_000 })
  t.ok(accepted > 500, `${accepted} of them are valid`)
})

t.test('short rows of tokens, at the border of two blocks too', async t => {
  const brackets = ['{', '}', '[', ']', ',', ':', '"a"', '1', ' ']
  accepted = 0
  t.same(differences(rows(brackets, 4)), [])
  for (const blanks of [0, 60]) {
    const pad = ' '.repeat(blanks)
    t.same(differences([...rows(brackets, 4)].map(row => `[${pad}${row}`)), [])
    t.same(differences([...rows(['{', '}', ',', ':', '"a"', '1'], 5)].map(row => `{${pad}${row}}`)), [])
    t.same(differences([...rows(['0', '1', '-', '+', '.', 'e', 'E'], 4)].map(row => `[${pad}${row}]`)), [])
    t.same(differences([...rows(['-', '0', '.', '1', 'e+'], 5)].map(row => `[${pad}${row}]`)), [])
    t.same(differences([...rows(['true', 'false', 'null', 'e', ',', ' ', '1', '"'], 4)].map(row => `[${pad}${row}]`)), [])
    t.same(differences([...rows(['\\', '"', 'u', '00', 'n', ','], 5)].map(row => `["${pad}${row}"]`)), [])
  }
  t.ok(accepted > 1000, `${accepted} of them are valid`)
})

t.test('every length of a document and every place of a wrong byte', async t => {
  t.equal(difference(document), undefined)
  for (let length = 0; length < document.length; length++) t.equal(difference(document.subarray(0, length)), undefined)
  for (let at = 0; at < document.length; at++) {
    for (const byte of [0, 0x0a, 0x1f, 0x20, 0x22, 0x2c, 0x2d, 0x30, 0x3a, 0x5b, 0x5c, 0x5d, 0x65, 0x75, 0x7b, 0x7d, 0x80, 0xff]) {
      const changed = Buffer.from(document)
      changed[at] = byte
      const inserted = Buffer.concat([document.subarray(0, at), Buffer.from([byte]), document.subarray(at)])
      const text = difference(changed) ?? difference(inserted)
      if (text !== undefined) t.fail(text)
    }
  }
})

t.test('every token at every place of a block', async t => {
  const values = ['"\\"', '"\\\\"', '"\\\\\\""', '"\\u00e9\\ud800"', '"\\u12x4"', '"\\x"', '"\u001f"', '"\u007f"', '"é😀"', '-0.25E-07', '-', '01', '1.', '1.e1', '123456789012345678901234567890.5e+300', 'true', 'false', 'null', 'truE', 'nulll', '{}', '[ ]', '{"a" : {}}', '[1 2]', '{"a" 1}', '1,', ',1', '"a":1']
  for (let length = 0; length <= 200; length++) {
    const texts = values.flatMap(value => [`[${' '.repeat(length)}${value}]`, `["${'x'.repeat(length)}",${value},0]`, `{"${'x'.repeat(length)}":${value}}`, `[${value}${' '.repeat(length)}]`])
    const wrong = differences([...texts, `"${'x'.repeat(length)}"`, `["${'\\\\'.repeat(length)}"]`, `["${'\\'.repeat(length)}"]`, `[${'1'.repeat(length)}]`, `[1.${'1'.repeat(length)}e1]`, `[1e${'1'.repeat(length)}.]`, `[${'a'.repeat(length)}]`])
    if (wrong.length > 0) t.same(wrong, [])
  }
})

t.test('a body is read where it is in its buffer', async t => {
  for (let at = 0; at < 20; at++) {
    const buffer = Buffer.alloc(document.length + 40, '}')
    document.copy(buffer, at)
    t.equal(difference(buffer.subarray(at, at + document.length)), undefined)
  }
})

t.test('nesting around the limit', async t => {
  for (const maxDepth of [1, 2, 63, 64, 65, 100, 999, 1000]) {
    for (const depth of [maxDepth - 1, maxDepth, maxDepth + 1, maxDepth + 70]) {
      const texts = ['[', '{"a":', '[{"a":', ' [ '].map(open => open.repeat(depth))
      const closed = texts.map(text => text + '1' + [...text].reverse().join('').replace(/[^[{]/g, '').replaceAll('[', ']').replaceAll('{', '}'))
      t.same(differences([...texts, ...closed, ...closed.map(text => `[0,${text}]`), ...closed.map(text => text.slice(0, -1)), ...closed.map(text => `${text}]`)], maxDepth), [])
    }
  }
  t.equal(scanFast!(Buffer.from('['.repeat(100_000)), 1000), undefined)
  t.strictSame(scanFast!(Buffer.from('[]'.repeat(100_000)), 1000), undefined)
})

t.test('the longest bodies, and the most entries', async t => {
  const entries = `{${'"":0,'.repeat(Math.floor((longest - 7) / 5))}"":0}`
  t.equal(scanFast!(Buffer.from(entries), 1)?.marks?.length, (Math.floor((longest - 7) / 5) + 1) * 4)
  t.equal(difference(Buffer.from(entries)), undefined)
  t.equal(difference(Buffer.from(`[${' '.repeat(longest - 2)}]`)), undefined)
  t.equal(difference(Buffer.from(`["${'x'.repeat(longest - 4)}"]`)), undefined)
  t.equal(difference(Buffer.from('{,'.repeat(longest / 2))), undefined)
  t.equal(difference(Buffer.from(`{${':'.repeat(longest - 1)}`)), undefined)
})

t.test('nothing of a body is left for the next', async t => {
  for (const text of ['[1', '{"a":"', '["\\', '[[[[', '{"a":1,', '[tru', '[1.5e']) {
    scanFast!(Buffer.from(`{"a":[${'1,'.repeat(500)}{"b":"x"}]}`), 9)
    t.equal(difference(Buffer.from(text)), undefined)
    t.equal(difference(Buffer.from('{"a":1}')), undefined)
  }
})

t.test('without WebAssembly the scan is byte by byte', async t => {
  const code = `
    import { scan } from '${new URL('../../../lib/combine/scan.ts', import.meta.url)}'
    import { scanFast } from '${new URL('../../../lib/combine/scan-fast.ts', import.meta.url)}'
    let problem
    try { scan(Buffer.from('{"a":1,}'), 9) } catch (error) { problem = error.message }
    console.log(JSON.stringify([typeof scanFast, scan(Buffer.from(' {"a":[1]} '), 9), problem]))
  `
  const { stdout } = await promisify(execFile)(process.execPath, ['--jitless', '--import=tsx', '--input-type=module', '--eval', code])
  t.strictSame(JSON.parse(stdout), ['undefined', { start: 1, end: 10, marks: [2, 5, 6, 9], ascii: true }, 'No valid JSON at byte 7'])
})
