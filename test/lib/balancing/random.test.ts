import t from 'tap'
import { createRandom, createWeightedRandom } from '../../../lib/balancing/random.ts'
import { indexAt, perArray, prefixSums } from '../../../lib/balancing/tables.ts'
import { counts, picks, seeded, targets } from './scene.ts'

t.test('random gives every target the same share', async t => {
  const seen = counts(createRandom({ random: seeded() }), targets(1, 9, 1, 1), 8000)
  for (const id of ['a', 'b', 'c', 'd']) t.ok(Math.abs(seen[id]! - 2000) < 150, `${id}: ${seen[id]}`)
})

t.test('weighted random gives shares in proportion to the weights', async t => {
  const seen = counts(createWeightedRandom({ random: seeded() }), targets(3, 1), 8000)
  t.ok(Math.abs(seen['a']! - 6000) < 150, `a: ${seen['a']}`)
})

t.test('weighted random takes both ends of the line', async t => {
  t.equal(picks(createWeightedRandom({ random: () => 0 }), targets(1, 2, 3), 1), 'a')
  t.equal(picks(createWeightedRandom({ random: () => 1 - Number.EPSILON / 2 }), targets(1, 2, 3), 1), 'c')
})

t.test('weighted random follows a new array of targets', async t => {
  const all = targets(1, 1)
  const balancer = createWeightedRandom({ random: () => 0.6 })
  t.equal(picks(balancer, all, 1), 'b')
  all[0]!.weight = 9
  t.equal(picks(balancer, [...all], 1), 'a')
})

t.test('the index of a point is that of the first sum above it', async t => {
  const sums = prefixSums(targets(1, 2, 3))
  t.strictSame([...sums], [1, 3, 6])
  t.strictSame([0, 0.9, 1, 2.9, 3, 5.9].map(point => indexAt(sums, point)), [0, 0, 1, 1, 2, 2])
})

t.test('a table is built once for each of the last two arrays', async t => {
  let built = 0
  const tableOf = perArray(() => ++built)
  const [lasting, short, other] = [targets(1), targets(1), targets(1)]
  t.strictSame([lasting, short, lasting, short, lasting].map(tableOf), [1, 2, 1, 2, 1])
  t.equal(tableOf(other), 3)
  t.equal(tableOf(lasting), 1)
  t.equal(tableOf(short), 4)
})
