/** How a tenant is called in metrics and logs. */
import t from 'tap'
import fc from 'fast-check'
import { createHash, createHmac } from 'node:crypto'
import { createLabels, createLogId } from '../../../lib/tenancy/index.ts'

t.test('the first ids get a label of their own and keep it, all later ones are other', async t => {
  const labelOf = createLabels(2)
  t.same(['a', 'b', 'c', 'a', 'c', 'b'].map(labelOf), ['a', 'b', 'other', 'a', 'other', 'b'])
})

t.test('without room for labels all are other', async t => {
  t.equal(createLabels(0)('a'), 'other')
})

t.test('a tenant who is called other is told from the rest, and from one who is called as its label is', async t => {
  const labelOf = createLabels(3)
  t.same(['other', 'other_', 'others', 'x'].map(labelOf), ['other_', 'other__', 'others', 'other'])
})

t.test('names of Object.prototype are ids like others', async t => {
  const labelOf = createLabels(3)
  t.same(['__proto__', 'constructor', 'toString', 'hasOwnProperty'].map(labelOf), ['__proto__', 'constructor', 'toString', 'other'])
})

t.test('there are at most max labels and other, and no two ids share a label of their own', async () => {
  const ids = fc.oneof(fc.string(), fc.constantFrom('other', 'other_', 'other__', 'others', '__proto__'))
  fc.assert(fc.property(fc.nat(6), fc.array(ids, { maxLength: 40 }), (max, asked) => {
    const labelOf = createLabels(max)
    const owners = new Map<string, string>()
    for (const id of asked) {
      const label = labelOf(id)
      if (label === 'other') continue
      if ((owners.get(label) ?? id) !== id) return false
      owners.set(label, id)
    }
    return owners.size <= max && new Set(asked).size - owners.size === new Set(asked.filter(id => labelOf(id) === 'other')).size
  }))
})

t.test('logs show the id, its SHA-256 or its HMAC', async t => {
  t.equal(createLogId(false)('acme'), 'acme')
  t.equal(createLogId(true)('acme'), createHash('sha256').update('acme').digest('hex').slice(0, 16))
  t.equal(createLogId('salt')('acme'), createHmac('sha256', 'salt').update('acme').digest('hex').slice(0, 16))
  t.match(createLogId(true)('acme'), /^[0-9a-f]{16}$/)
  t.equal(createLogId('')('acme'), createHmac('sha256', '').update('acme').digest('hex').slice(0, 16), 'an empty text is a text')
})
