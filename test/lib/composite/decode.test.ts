/** Content codings and charsets of a part's body: right, wrong, cut off, and far too large. */
import t, { type Test } from 'tap'
import zlib from 'node:zlib'
import { decode, needsDecoding } from '../../../lib/composite/decode.ts'

type Headers = Record<string, string | string[]>

const text = JSON.stringify({ items: Array.from({ length: 200 }, (_, id) => ({ id, name: `name ${id} äöü €` })) })
const plain = Buffer.from(text)
const MB = 1_048_576

const packed: Record<string, Buffer> = {
  gzip: zlib.gzipSync(plain),
  'x-gzip': zlib.gzipSync(plain),
  GZip: zlib.gzipSync(plain),
  deflate: zlib.deflateSync(plain),
  br: zlib.brotliCompressSync(plain)
}

async function decoded (body: Buffer, headers: Headers, maxBytes = MB): Promise<string> {
  return (await decode(body, headers, maxBytes)).toString()
}

async function refused (t: Test, body: Buffer, headers: Headers, cause: RegExp): Promise<void> {
  await t.rejects(decode(body, headers, MB), { code: 'RP_ERR_PART_ENCODING', statusCode: 502, message: 'A part of the answer could not be decoded', cause: { message: cause } })
}

async function tooLarge (t: Test, body: Buffer, headers: Headers, maxBytes: number): Promise<void> {
  await t.rejects(decode(body, headers, maxBytes), { code: 'RP_ERR_PART_TOO_LARGE', statusCode: 502, message: 'A part of the answer is too large' })
}

const typed = (type: string): Headers => ({ 'content-type': type })
const coded = (coding: string | string[]): Headers => ({ 'content-encoding': coding })

// ---- what needs it

t.test('most answers need no decoding', async t => {
  const idle: Headers[] = [
    {}, typed('application/json'), typed('application/json; charset=utf-8'), typed('application/json;charset=UTF-8'), typed('text/plain; charset="utf-8"'),
    typed('text/plain; charset=utf8'), typed('text/plain; charset=us-ascii'), typed('text/plain; charset=ASCII'), typed('text/plain; charset='), typed('text/plain; charset=""'),
    typed('application/octet-stream; charset=binary'), typed('text/plain; boundary="; charset=latin1"'), typed('text/plain; charset'), typed(''),
    typed('text/plain; charset=utf-8; charset=latin1'), typed('text/plain; xcharset=latin1'), typed('charset=latin1'),
    coded(''), coded('identity'), coded('Identity'), coded(' identity , identity'), coded(['identity', ''])
  ]
  for (const headers of idle) {
    t.equal(needsDecoding(headers), false, JSON.stringify(headers))
    t.equal(await decode(plain, headers, MB), plain, 'the same buffer')
  }
})

t.test('a coding or a charset needs decoding, known or not', async t => {
  const needing: Headers[] = [
    coded('gzip'), coded('br'), coded('unknown'), coded('identity, GZIP'), coded(['identity', 'br']),
    typed('text/plain; charset=iso-8859-1'), typed('text/plain;CHARSET="UTF-16LE"'), typed('text/plain; a="x;y"; charset=windows-1252; b=c'), typed('text/plain; charset = latin1'),
    typed('text/plain; charset=klingon'), { 'content-type': ['text/plain; charset=latin1'] }
  ]
  for (const headers of needing) t.equal(needsDecoding(headers), true, JSON.stringify(headers))
})

// ---- content codings

for (const [coding, body] of Object.entries(packed)) {
  t.test(`${coding} is undone`, async t => {
    t.equal(await decoded(body, coded(coding)), text)
    t.equal(await decoded(body, { ...coded(` ${coding}`), 'content-type': 'application/json; charset=utf-8' }), text)
    t.equal(await decoded(body, coded(coding), plain.length), text, 'at the limit')
  })

  t.test(`${coding} over the limit is refused`, async t => {
    await tooLarge(t, body, coded(coding), plain.length - 1)
    await tooLarge(t, body, coded(coding), 1)
    await tooLarge(t, body, coded(coding), 0)
  })

  t.test(`${coding} cut off is refused`, async t => {
    for (const length of [1, 2, 10, body.length >> 1, body.length - 1]) await refused(t, body.subarray(0, length), coded(coding), /^corrupt or incomplete/)
  })

  t.test(`${coding} that is not is refused`, async t => {
    await refused(t, plain, coded(coding), /^corrupt or incomplete/)
    await refused(t, Buffer.from('<html>'), coded(coding), /^corrupt or incomplete/)
  })
}

t.test('corrupt data is refused', async t => {
  for (const coding of ['gzip', 'deflate']) {
    const body = Buffer.from(packed[coding]!)
    body[body.length - 5]! ^= 0xff
    await refused(t, body, coded(coding), /^corrupt or incomplete/)
  }
})

t.test('deflate without its wrapper is undone', async t => {
  for (const level of [0, 1, 9]) {
    t.equal(await decoded(zlib.deflateRawSync(plain, { level }), coded('deflate')), text)
    t.equal(await decoded(zlib.deflateSync(plain, { level }), coded('deflate')), text)
  }
  t.equal(await decoded(zlib.deflateRawSync('1'), coded('deflate')), '1')
  t.equal(await decoded(zlib.deflateRawSync(''), coded('deflate')), '')
})

t.test('gzip of several members is one text', async t => {
  t.equal(await decoded(Buffer.concat([zlib.gzipSync('[1,'), zlib.gzipSync('2]')]), coded('gzip')), '[1,2]')
})

t.test('gzip of nothing is nothing, and so is nothing itself', async t => {
  t.equal(await decoded(zlib.gzipSync(''), coded('gzip'), 0), '')
  for (const headers of [coded('gzip'), coded('br, gzip'), coded('unknown'), typed('text/plain; charset=utf-16le')]) t.equal(await decoded(Buffer.alloc(0), headers), '')
})

t.test('several codings in a row are undone from the last', async t => {
  const two = zlib.brotliCompressSync(zlib.gzipSync(plain))
  const three = zlib.deflateSync(two)
  t.equal(await decoded(two, coded('gzip, br')), text)
  t.equal(await decoded(two, coded(['gzip', 'br'])), text)
  t.equal(await decoded(two, coded('gzip, identity, br')), text)
  t.equal(await decoded(three, coded('gzip,br,deflate')), text)
  await refused(t, two, coded('br, gzip'), /^corrupt or incomplete gzip data$/)
})

t.test('short data in several codings is not over the limit for the wrapping', async t => {
  const body = zlib.gzipSync(zlib.gzipSync(zlib.gzipSync('1')))
  t.equal(await decoded(body, coded('gzip, gzip, gzip'), 1), '1')
})

t.test('more than three codings are refused', async t => {
  const body = zlib.gzipSync(zlib.gzipSync(zlib.gzipSync(packed.gzip!)))
  await refused(t, body, coded('gzip, gzip, gzip, gzip'), /^more than 3 content codings$/)
})

t.test('an unknown coding is refused by name', async t => {
  await refused(t, plain, coded('compress'), /^unknown content coding "compress"$/)
  await refused(t, packed.gzip!, coded('utf-8, gzip'), /^unknown content coding "utf-8"$/)
  await refused(t, plain, coded('constructor'), /^unknown content coding "constructor"$/)
  await refused(t, plain, coded('x'.repeat(5_000)), /^unknown content coding "x{80}"$/)
})

t.test('zstd is undone where Node can', async t => {
  const { zstdCompressSync } = zlib as { zstdCompressSync?: (data: Buffer) => Buffer }
  if (zstdCompressSync === undefined) return refused(t, Buffer.from('28b52ffd', 'hex'), coded('zstd'), /^unknown content coding "zstd"$/)
  const body = zstdCompressSync(plain)
  t.equal(await decoded(body, coded('zstd')), text)
  await tooLarge(t, body, coded('zstd'), plain.length - 1)
  await tooLarge(t, zstdCompressSync(Buffer.alloc(64 * MB)), coded('zstd'), MB)
  await refused(t, body.subarray(0, -4), coded('zstd'), /^corrupt or incomplete/)
  // a frame of one raw byte with a window of 16 MB
  await refused(t, Buffer.from('28b52ffd0070090000' + '61', 'hex'), coded('zstd'), /^corrupt or incomplete/)
  t.equal(await decoded(Buffer.from('28b52ffd0068090000' + '61', 'hex'), coded('zstd')), 'a', 'a window of 8 MB')
})

const zeros = Buffer.alloc(64 * MB)
const bombs: Record<string, Buffer> = {
  gzip: zlib.gzipSync(zeros),
  deflate: zlib.deflateSync(zeros),
  br: zlib.brotliCompressSync(zeros, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })
}

t.test('a bomb is refused long before it is whole', async t => {
  for (const [coding, bomb] of Object.entries(bombs)) {
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    const watch = setInterval(() => { most = Math.max(most, process.memoryUsage().arrayBuffers - before) }, 1)
    await tooLarge(t, bomb, coded(coding), MB)
    clearInterval(watch)
    t.ok(most < 16 * MB, `${coding}: ${bomb.length} bytes made ${most}`)
  }
})

t.test('a bomb within a coding is refused', async t => {
  await tooLarge(t, zlib.gzipSync(bombs.br!), coded('br, gzip'), MB)
  await tooLarge(t, zlib.brotliCompressSync(bombs.gzip!), coded('gzip, br'), MB)
  await tooLarge(t, bombs.gzip!, coded('gzip, gzip'), MB)
})

t.test('decoding leaves the event loop alone', async t => {
  let turns = 0
  const count = (): void => { turns++; next = setImmediate(count) }
  let next = setImmediate(count)
  await decode(zlib.gzipSync(Buffer.alloc(8 * MB, text)), coded('gzip'), 16 * MB)
  clearImmediate(next)
  t.ok(turns > 10, `${turns} turns`)
})

t.test('an unlimited answer is decoded', async t => {
  t.equal(await decoded(packed.gzip!, coded('gzip'), Infinity), text)
  t.equal(await decoded(packed.gzip!, coded('gzip'), Number.MAX_SAFE_INTEGER), text)
})

// ---- charsets

t.test('ISO-8859-1 and windows-1252 are read as browsers read them', async t => {
  for (const charset of ['iso-8859-1', 'ISO-8859-1', 'latin1', 'windows-1252', 'cp1252', '"windows-1252"']) {
    t.equal(await decoded(Buffer.from('{"a":"é ÿ £"}', 'latin1'), typed(`application/json; charset=${charset}`)), '{"a":"é ÿ £"}', charset)
    t.equal(await decoded(Buffer.from([0x80, 0x92, 0x9f, 0x81]), typed(`text/plain; charset=${charset}`)), '€’Ÿ\x81', charset)
  }
})

t.test('every byte of windows-1252 has its character', async t => {
  const all = await decoded(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), typed('text/plain; charset=windows-1252'))
  t.equal(all.length, 256)
  t.equal(new Set(all).size, 256)
  t.equal(all.slice(0x80, 0xa0), '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178')
})

t.test('UTF-16 is read with and without its mark', async t => {
  const little = Buffer.from('{"a":"é€😀"}', 'utf16le')
  const big = Buffer.from(little).swap16()
  const marked = Buffer.concat([Buffer.from([0xff, 0xfe]), little])
  const cases: Array<[string, Buffer]> = [
    ['utf-16le', little], ['utf-16le', marked], ['UTF-16', little], ['utf-16', marked], ['utf-16be', big],
    ['utf-16be', Buffer.from(marked).swap16()], ['utf-16', Buffer.from(marked).swap16()], ['utf-16be', marked], ['utf-16le', Buffer.from('\ufeff{"a":"é€😀"}')]
  ]
  for (const [charset, body] of cases) t.equal(await decoded(body, typed(`application/json; charset=${charset}`)), '{"a":"é€😀"}', charset)
})

t.test('other charsets are read', async t => {
  t.equal(await decoded(Buffer.from([0x93, 0xfa, 0x96, 0x7b]), typed('text/plain; charset=Shift_JIS')), '日本')
  t.equal(await decoded(Buffer.from([0xcf, 0xf0, 0xe8]), typed('text/plain; charset=windows-1251')), 'При')
  t.equal(await decoded(Buffer.from([0xa4]), typed('text/plain; charset=iso-8859-15')), '€')
  t.equal(await decoded(Buffer.from([0xc4, 0xe3]), typed('text/plain; charset=gbk')), '你')
})

t.test('bytes that the charset does not have are refused', async t => {
  await refused(t, Buffer.from([0x41]), typed('text/plain; charset=utf-16le'), /^bytes that are not "utf-16le"$/)
  await refused(t, Buffer.from([0x00, 0xd8, 0x41, 0x00]), typed('text/plain; charset=utf-16le'), /^bytes that are not "utf-16le"$/)
  await refused(t, Buffer.from([0x81]), typed('text/plain; charset=shift_jis'), /^bytes that are not "shift_jis"$/)
})

t.test('an unknown charset is refused by name', async t => {
  for (const charset of ['klingon', 'utf-7', 'utf-32', 'constructor']) await refused(t, plain, typed(`text/plain; charset=${charset}`), new RegExp(`^unknown charset "${charset}"$`))
})

t.test('a coding and a charset are both undone', async t => {
  const body = zlib.gzipSync(Buffer.from('["é"]', 'latin1'))
  t.equal(await decoded(body, { 'content-encoding': 'gzip', 'content-type': 'application/json; charset=iso-8859-1' }), '["é"]')
})

t.test('the limit is for the text in UTF-8, too', async t => {
  const body = Buffer.from([0xe9, 0xe9])
  t.equal(await decoded(body, typed('text/plain; charset=latin1'), 4), 'éé')
  await tooLarge(t, body, typed('text/plain; charset=latin1'), 3)
  await tooLarge(t, body, typed('text/plain; charset=latin1'), 1)
})

t.test('a long header of a backend costs no time', async t => {
  const started = performance.now()
  needsDecoding(typed('a' + ';x="'.repeat(4_000)))
  needsDecoding(typed('a' + '; '.repeat(8_000)))
  needsDecoding(typed(`a;charset=${' '.repeat(16_000)}x`))
  needsDecoding(coded(','.repeat(16_000)))
  t.ok(performance.now() - started < 100)
})
