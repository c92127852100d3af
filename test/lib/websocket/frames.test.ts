/** Following frames: where they end, whatever the pieces they come in. */
import t from 'tap'
import fc from 'fast-check'
import { closeFrame, FrameScanner, isCloseCode } from '../../../lib/websocket/frames.ts'
import { wsFrame } from '../../helper.ts'

const anyFrame = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  size: fc.oneof(fc.integer({ min: 0, max: 130 }), fc.integer({ min: 65_500, max: 65_600 })),
  mask: fc.boolean()
}).map(({ opcode, size, mask }) => wsFrame(opcode, Buffer.alloc(opcode > 8 ? Math.min(size, 125) : size, 0x88), { mask }))

t.test('what goes in comes out, however it is cut, and the end of every frame is known', async () => {
  fc.assert(fc.property(fc.array(anyFrame, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 }), (frames, cuts) => {
    const all = Buffer.concat(frames)
    const ends = new Set([0])
    for (const { length } of frames) ends.add([...ends].at(-1)! + length)
    const scanner = new FrameScanner(Infinity)
    const out: Buffer[] = []
    let passed = 0
    for (let at = 0, i = 0; at < all.length; i++) {
      const size = cuts[i % cuts.length]!
      const piece = scanner.scan(all.subarray(at, at + size))
      out.push(piece)
      passed += piece.length
      at += size
      if (scanner.between !== ends.has(passed)) throw new Error(`between is ${scanner.between} after ${passed} bytes`)
    }
    return Buffer.concat(out).equals(all) && scanner.between && scanner.closed === undefined
  }), { numRuns: 500 })
})

t.test('one byte at a time', async (t) => {
  const all = Buffer.concat([wsFrame(1, 'abc', { mask: true }), wsFrame(2, Buffer.alloc(300)), wsFrame(8, Buffer.from([3, 232, 0x62, 0x79, 0x65]), { mask: true })])
  const scanner = new FrameScanner(Infinity)
  const out = Buffer.concat([...all].map(byte => scanner.scan(Buffer.of(byte))))
  t.ok(out.equals(all))
  t.same(scanner.closed, { code: 1000, reason: 'bye' })
})

t.test('a close frame is read, and is the last', async (t) => {
  for (const masked of [true, false]) {
    const scanner = new FrameScanner(Infinity)
    const close = closeFrame(4001, 'enough', masked)
    const piece = Buffer.concat([wsFrame(1, 'x', { mask: masked }), close, wsFrame(1, 'never')])
    t.equal(scanner.scan(piece).length, piece.length - wsFrame(1, 'never').length)
    t.same(scanner.closed, { code: 4001, reason: 'enough' })
  }
  const empty = new FrameScanner(Infinity)
  empty.scan(wsFrame(8))
  t.same(empty.closed, { code: 1005, reason: '' })
})

t.test('a reason that is too long is cut', async (t) => {
  t.equal(closeFrame(1000, 'x'.repeat(200), false).length, 127)
})

t.test('a message over the limit stops before its frame', async (t) => {
  const scanner = new FrameScanner(10)
  const good = Buffer.concat([wsFrame(1, '0123456789'), wsFrame(9, Buffer.alloc(100)), wsFrame(2, '01234', { fin: false }), wsFrame(0, '56789')])
  t.ok(scanner.scan(good).equals(good))
  t.notOk(scanner.tooLarge)
  t.equal(scanner.scan(Buffer.concat([wsFrame(1, 'a', { fin: false }), wsFrame(0, '0123456789')])).length, 3)
  t.ok(scanner.tooLarge)
  const long = new FrameScanner(2 ** 40)
  long.scan(Buffer.of(0x82, 127, 0, 0, 1, 0, 0, 0, 0, 1))
  t.ok(long.tooLarge, 'lengths of 64 bits')
})

t.test('codes that may be sent', async (t) => {
  const good = [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999]
  const bad = [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, NaN]
  t.same([...good, ...bad].filter(isCloseCode), good)
})
