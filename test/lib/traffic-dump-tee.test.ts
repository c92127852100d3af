/** Copies of bodies as they pass. */
import t from 'tap'
import fc from 'fast-check'
import { Tee } from '../../lib/traffic-dump/tee.ts'

t.test('the first bytes, as many as there may be, whatever the pieces', async () => {
  fc.assert(fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 8 }).map(bytes => Buffer.from(bytes)), fc.string({ maxLength: 8 }))), fc.integer({ min: 1, max: 40 }), (pieces, limit) => {
    const tee = new Tee(limit)
    for (const piece of pieces) tee.add(piece)
    const all = Buffer.concat(pieces.map(piece => Buffer.from(piece as string)))
    if (!tee.bytes.equals(all.subarray(0, limit)) || tee.truncated !== (all.length > limit)) throw new Error(`${tee.bytes.toString('hex')} of ${all.toString('hex')}`)
  }))
})

t.test('what comes after the end is not kept, and asked for again it is the same', async t => {
  const tee = new Tee(10)
  tee.add('ab')
  tee.add(Buffer.from('cd'))
  t.equal(tee.end().bytes.toString(), 'abcd')
  tee.add('ef')
  tee.add('0123456789')
  t.equal(tee.bytes.toString(), 'abcd')
  t.equal(tee.bytes, tee.bytes)
  t.notOk(tee.truncated)
})
