import t from 'tap'
import { createLeastConnections, createPowerOfTwo } from '../../../lib/balancing/least-loaded.ts'
import { anyCall, counts, picks, seeded, targets } from './scene.ts'

t.test('least connections takes the target with the fewest in flight', async t => {
  const all = targets(1, 1, 1)
  all[0]!.inflight = 2
  all[1]!.inflight = 1
  all[2]!.inflight = 3
  t.equal(picks(createLeastConnections(), all, 3), 'bbb')
})

t.test('least connections lets idle targets take turns', async t => {
  t.equal(picks(createLeastConnections(), targets(1, 1, 1), 6), 'abcabc')
})

t.test('least connections lets equally busy targets take turns', async t => {
  const all = targets(1, 1, 1)
  for (const one of all) one.inflight = 4
  all[1]!.inflight = 5
  t.equal(picks(createLeastConnections(), all, 4), 'acac')
})

t.test('least connections fills the targets in proportion to their weights', async t => {
  const all = targets(3, 1, 2)
  const balancer = createLeastConnections()
  for (let i = 0; i < 60; i++) balancer.pick(all, anyCall)!.inflight++
  t.strictSame(all.map(({ inflight }) => inflight), [30, 10, 20])
})

t.test('least connections copes with a shorter array than before', async t => {
  const all = targets(1, 1, 1)
  const balancer = createLeastConnections()
  picks(balancer, all, 2)
  t.equal(picks(balancer, all.slice(0, 2), 2), 'ab')
})

t.test('power of two takes the less loaded one of the two it draws', async t => {
  const all = targets(1, 1)
  all[0]!.inflight = 1
  t.equal(picks(createPowerOfTwo({ random: seeded() }), all, 20), 'b'.repeat(20))
})

t.test('power of two never draws the same target twice', async t => {
  const all = targets(1, 1, 1)
  all[2]!.inflight = 9
  // Were the busy one drawn twice, it would be taken.
  t.equal(counts(createPowerOfTwo({ random: seeded() }), all, 2000)['c'], undefined)
})

t.test('power of two compares load relative to weight', async t => {
  const all = targets(4, 1)
  all[0]!.inflight = 3
  all[1]!.inflight = 1
  t.equal(picks(createPowerOfTwo({ random: seeded() }), all, 10), 'a'.repeat(10))
})

t.test('power of two gives idle targets shares in proportion to their weights', async t => {
  const seen = counts(createPowerOfTwo({ random: seeded() }), targets(3, 1), 4000)
  t.ok(Math.abs(seen['a']! - 3000) < 120, `a: ${seen['a']}`)
})

t.test('power of two keeps a hundred targets close together', async t => {
  const all = targets(...Array.from({ length: 100 }, () => 1))
  const balancer = createPowerOfTwo({ random: seeded() })
  for (let i = 0; i < 10_000; i++) balancer.pick(all, anyCall)!.inflight++
  const loads = all.map(({ inflight }) => inflight)
  t.ok(Math.max(...loads) - Math.min(...loads) < 15, `${Math.min(...loads)} to ${Math.max(...loads)}`)
})

t.test('power of two takes the only target there is', async t => {
  t.equal(picks(createPowerOfTwo({ random: seeded() }), targets(1), 2), 'aa')
})

t.test('power of two stays within the targets at the ends of the line', async t => {
  for (const random of [() => 0, () => 1 - Number.EPSILON / 2]) {
    t.match(picks(createPowerOfTwo({ random }), targets(0.1, 0.2, 0.7), 3), /^[abc]{3}$/)
  }
})
