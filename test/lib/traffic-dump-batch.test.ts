import t from 'tap'
import fc from 'fast-check'
import { Batch } from '../../lib/traffic-dump/batch.ts'

const lines = fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.string({ unit: 'binary', maxLength: 60 }), fc.constantFrom('', 'ü'.repeat(32), '€'.repeat(21), 'x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65))), { minLength: 1, maxLength: 12 })

t.test('whatever fits is there as UTF-8, line by line; the line that finds no room is the last one', async () => {
  fc.assert(fc.property(fc.array(lines, { minLength: 1, maxLength: 4 }), batches => {
    const batch = new Batch(64)
    for (const all of batches) {
      const added: string[] = []
      for (const line of all) {
        if (batch.full) break
        batch.add(line)
        added.push(line)
      }
      const text = added.map(line => `${line}\n`).join('')
      if (!batch.bytes().equals(Buffer.from(text))) throw new Error(`${JSON.stringify(added)} became ${JSON.stringify(batch.bytes().toString())}`)
      if (batch.length !== Buffer.byteLength(text)) throw new Error(`${batch.length} bytes of ${Buffer.byteLength(text)}`)
      if (batch.full !== (Buffer.byteLength(text) > 64)) throw new Error(`${Buffer.byteLength(text)} bytes: ${batch.full ? '' : 'not '}full`)
      batch.empty()
      if (batch.length !== 0 || batch.full || batch.bytes().length !== 0) throw new Error('not empty')
    }
  }), { numRuns: 2_000 })
})

t.test('the memory is the same for each batch', async t => {
  const batch = new Batch(64)
  batch.add('one')
  const { buffer } = batch.bytes()
  batch.empty()
  batch.add('two')
  t.equal(batch.bytes().buffer, buffer)
})

t.test('before the first line there are no bytes', async t => {
  t.equal(new Batch(64).bytes().length, 0)
})
