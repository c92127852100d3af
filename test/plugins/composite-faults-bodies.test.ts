/** A part that answers 200 with a body that is no use: no JSON, packed, nested, in another charset, or a trap. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { respond } from '../helper.ts'
import { JSON_TYPE, ask, checkFault, checkHealed, jsonAnswer, startFaulty, withoutMeta } from '../helper-composite-faults.ts'
import type { Script } from '../helper.ts'
import type { FaultOptions } from '../helper-composite-faults.ts'

t.jobs = 2

const NOT_JSON = 'RP_ERR_PART_NOT_JSON'
const packed = (coding: string, body: Buffer): Buffer => jsonAnswer(body, [['Content-Encoding', coding]])
const cut = (body: Buffer): Buffer => body.subarray(0, body.length - 12)
const flipped = (body: Buffer): Buffer => {
  const broken = Buffer.from(body)
  for (let at = 12; at < broken.length - 8; at += 3) broken[at]! ^= 0xff
  return broken
}

// ---- what fails the part

const texts: ReadonlyArray<readonly [name: string, body: string | Buffer]> = [
  ['HTML', '<!doctype html><title>Login</title>'],
  ['truncated', '{"a":[1,2'],
  ['a string without an end', '{"a":"x'],
  ['trailing garbage', '{"a":1}}'],
  ['two values', '{"a":1}{"b":2}'],
  ['one value a line', '{"a":1}\n{"b":2}\n'],
  ['a NUL at the end', '{"a":1}\0'],
  ['a NUL in a text', '{"a":"\0"}'],
  ['NaN', '{"a":NaN}'],
  ['Infinity', '{"a":-Infinity}'],
  ['undefined', 'undefined'],
  ['single quotes', "{'a':1}"],
  ['no quotes', '{a:1}'],
  ['a trailing comma', '{"a":1,}'],
  ['a trailing comma in a list', '{"a":[1,]}'],
  ['two commas', '{"a":1,,"b":2}'],
  ['no comma', '{"a":1 "b":2}'],
  ['a leading zero', '{"a":01}'],
  ['a plus', '{"a":+1}'],
  ['a number without its fraction', '{"a":1.}'],
  ['a number without its exponent', '{"a":1e}'],
  ['a hexadecimal number', '{"a":0x10}'],
  ['a comment', '{"a":1/* one */}'],
  ['a line break in a text', '{"a":"x\ny"}'],
  ['a bad escape', '{"a":"\\x41"}'],
  ['a bad \\u escape', '{"a":"\\u12g4"}'],
  ['True', '{"a":True}'],
  ['tru', '{"a":tru}'],
  ['JSONP', 'callback({"a":1})'],
  ['a guard against hijacking', ')]}\',\n{"a":1}'],
  ['brackets that do not match', '{"a":[1}]'],
  ['a comma alone', ','],
  ['two byte order marks', Buffer.from('\ufeff\ufeff{"a":1}')],
  ['a form feed', '\f{"a":1}'],
  ['a no-break space', Buffer.from('\u00a0{"a":1}')],
  ['UTF-8 cut in the middle of a character', Buffer.from('7b2261223a22c3227d', 'hex')],
  ['overlong UTF-8', Buffer.from('7b2261223a22c0af227d', 'hex')],
  ['a surrogate in UTF-8', Buffer.from('7b2261223a22eda080227d', 'hex')],
  ['Latin-1 that says nothing of it', Buffer.from('{"a":"\xe9"}', 'latin1')],
  ['gzip that says nothing of it', gzipSync('{"a":1}')],
  ['long white space', ' '.repeat(100) + 'x']
]

for (const [name, body] of texts) {
  t.test(`a body with ${name} is not JSON`, async t => {
    await checkFault(t, await startFaulty(t, jsonAnswer(body)), { code: NOT_JSON, status: 200 })
  })
}

const others: ReadonlyArray<readonly [name: string, script: Script, code: string, options?: FaultOptions]> = [
  ['HTML that says so', respond(200, [['Content-Type', 'text/html; charset=utf-8']], '<!doctype html>'), NOT_JSON],
  ['an image', respond(200, [['Content-Type', 'image/png']], Buffer.from('89504e470d0a1a0a', 'hex')), NOT_JSON],
  ['an unknown coding', packed('snappy', Buffer.from('{"a":1}')), 'RP_ERR_PART_ENCODING'],
  ['gzip that is none', packed('gzip', Buffer.from('{"a":1}')), 'RP_ERR_PART_ENCODING'],
  ['corrupt gzip', packed('gzip', flipped(gzipSync(JSON.stringify({ a: 'abcdefghij'.repeat(100) })))), 'RP_ERR_PART_ENCODING'],
  ['gzip cut short', packed('gzip', cut(gzipSync('{"a":"abcdefghijklmnopqrstuvwxyz"}'))), 'RP_ERR_PART_ENCODING'],
  ['gzip with a wrong checksum', packed('gzip', Buffer.concat([gzipSync('{"a":1}').subarray(0, -8), Buffer.alloc(8)])), 'RP_ERR_PART_ENCODING'],
  ['corrupt br', packed('br', Buffer.from('ffffffffff', 'hex')), 'RP_ERR_PART_ENCODING'],
  ['br cut short', packed('br', cut(brotliCompressSync('{"a":"abcdefghijklmnopqrstuvwxyz"}'))), 'RP_ERR_PART_ENCODING'],
  ['four codings', packed('gzip, gzip, gzip, gzip', [1, 2, 3, 4].reduce<Buffer>(body => gzipSync(body), Buffer.from('{}'))), 'RP_ERR_PART_ENCODING'],
  ['a gzip bomb', packed('gzip', gzipSync(Buffer.alloc(50_000_000, 0x20))), 'RP_ERR_PART_TOO_LARGE'],
  ['a br bomb', packed('br', brotliCompressSync(Buffer.alloc(20_000_000, 0x20), { params: { 1: 1 } })), 'RP_ERR_PART_TOO_LARGE'],
  ['a bomb in a bomb', packed('gzip, gzip', gzipSync(gzipSync(Buffer.alloc(50_000_000, 0x20)))), 'RP_ERR_PART_TOO_LARGE'],
  ['an unknown charset', respond(200, [['Content-Type', 'application/json; charset=klingon']], '{"a":1}'), 'RP_ERR_PART_ENCODING'],
  ['UTF-16 cut in the middle of a character', respond(200, [['Content-Type', 'application/json; charset=utf-16le']], Buffer.concat([Buffer.from('{"a":1}', 'utf16le'), Buffer.from([0x20])])), 'RP_ERR_PART_ENCODING'],
  ['101 levels', jsonAnswer('{"a":'.repeat(101) + '1' + '}'.repeat(101)), 'RP_ERR_PART_DEPTH'],
  ['100,000 levels of lists', jsonAnswer('{"a":' + '['.repeat(100_000) + ']'.repeat(100_000) + '}'), 'RP_ERR_PART_DEPTH'],
  ['100,000 levels of objects', jsonAnswer('{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000)), 'RP_ERR_PART_DEPTH'],
  ['100,000 levels that nobody closes', jsonAnswer('['.repeat(100_000)), 'RP_ERR_PART_DEPTH'],
  ['100,000 levels in a body beyond a megabyte', jsonAnswer('['.repeat(100_000) + ' '.repeat(1_500_000)), 'RP_ERR_PART_DEPTH', { part: { maxBytes: '4mb' } }]
]

for (const [name, script, code, options] of others) {
  t.test(`a body with ${name} fails the part`, async t => {
    await checkFault(t, await startFaulty(t, script, options), { code, status: 200 })
  })
}

t.test('a part that is no object cannot be merged', async t => {
  for (const body of ['[1]', '"text"', '7', 'true']) {
    const gateway = await startFaulty(t, jsonAnswer(body))
    const answer = await ask(`${gateway.url}/merge/optional`)
    t.match(withoutMeta(answer.text).meta.parts[0], { state: 'failed', code: 'RP_ERR_PART_MISMATCH', status: 200 }, body)
    t.same([answer.headers.get('x-composite-complete'), answer.headers.get('cache-control')], ['false', 'no-store'], body)
    t.match(JSON.parse((await ask(`${gateway.url}/merge/required`)).text), { statusCode: 502, code: 'RP_ERR_PART_MISMATCH' }, body)
    t.same(withoutMeta((await ask(`${gateway.url}/object/optional`)).text).body, { bad: JSON.parse(body), good: { good: 1 } }, body)
    await checkHealed(t, gateway)
  }
})

// ---- what does not

const fine: ReadonlyArray<readonly [name: string, script: Script, body: unknown, options?: FaultOptions]> = [
  ['gzip though identity was asked for', packed('gzip', gzipSync('{"a":1}')), { a: 1 }],
  ['x-gzip', packed('x-gzip', gzipSync('{"a":1}')), { a: 1 }],
  ['br', packed('BR', brotliCompressSync('{"a":1}')), { a: 1 }],
  ['deflate', packed('deflate', deflateSync('{"a":1}')), { a: 1 }],
  ['bare deflate', packed('deflate', deflateRawSync('{"a":1}')), { a: 1 }],
  ['two codings', packed('gzip, br', brotliCompressSync(gzipSync('{"a":1}'))), { a: 1 }],
  ['identity', packed('identity', Buffer.from('{"a":1}')), { a: 1 }],
  ['an empty body in gzip', packed('gzip', Buffer.alloc(0)), null],
  ['a byte order mark', jsonAnswer(Buffer.from('\ufeff{"a":1}')), { a: 1 }],
  ['Latin-1 that says so', respond(200, [['Content-Type', 'application/json; charset=iso-8859-1']], Buffer.from('{"a":"\xe9"}', 'latin1')), { a: 'é' }],
  ['UTF-16 that says so', respond(200, [['Content-Type', 'application/json; charset="UTF-16LE"']], Buffer.from('{"a":"é😀"}', 'utf16le')), { a: 'é😀' }],
  ['100 levels', jsonAnswer('{"a":' + '['.repeat(99) + ']'.repeat(99) + '}'), JSON.parse('{"a":' + '['.repeat(99) + ']'.repeat(99) + '}')],
  ['HTML as text', respond(200, [['Content-Type', 'text/html']], '<b>"x"</b>'), '<b>"x"</b>', { part: { nonJson: 'text' } }],
  ['bytes in base64', respond(200, [], Buffer.from([0xff, 0, 1])), '/wAB', { part: { nonJson: 'base64' } }]
]

for (const [name, script, body, options] of fine) {
  t.test(`a body with ${name} is read`, async t => {
    const gateway = await startFaulty(t, script, options)
    const answer = await ask(`${gateway.url}/object/required`)
    t.same([answer.status, answer.headers.get('x-composite-complete'), answer.headers.get('content-encoding')], [200, 'true', null])
    t.same(withoutMeta(answer.text).body, { bad: body, good: { good: 1 } })
    t.equal(gateway.bad.last.header('accept-encoding'), 'identity')
    await checkHealed(t, gateway)
  })
}

t.test('with nonJson: skip what is not JSON is left out, and the answer is complete', async t => {
  const gateway = await startFaulty(t, respond(200, [['Content-Type', 'text/html']], '<b>'), { part: { nonJson: 'skip' } })
  for (const role of ['optional', 'required']) {
    const answer = await ask(`${gateway.url}/object/${role}`)
    t.same([answer.headers.get('x-composite-complete'), withoutMeta(answer.text).body], ['true', { good: { good: 1 } }])
  }
})

t.test('nonJson does not excuse what cannot be decoded, is too deep or too large', async t => {
  for (const nonJson of ['text', 'base64', 'skip'] as const) {
    const gateway = await startFaulty(t, packed('gzip', Buffer.from('nonsense')), { part: { nonJson, maxBytes: 10_000 } })
    for (const [script, code] of [
      [packed('gzip', Buffer.from('nonsense')), 'RP_ERR_PART_ENCODING'],
      [jsonAnswer('['.repeat(200) + ']'.repeat(200)), 'RP_ERR_PART_DEPTH'],
      [respond(200, [...JSON_TYPE], 'x'.repeat(10_001)), 'RP_ERR_PART_TOO_LARGE']
    ] as const) {
      gateway.bad.answer(script)
      t.match(withoutMeta((await ask(`${gateway.url}/object/optional`)).text).meta.parts[0], { state: 'failed', code, status: 200 }, nonJson)
    }
  }
})
