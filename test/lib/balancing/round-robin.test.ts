import fc from 'fast-check'
import t from 'tap'
import { createRoundRobin, createWeightedRoundRobin } from '../../../lib/balancing/round-robin.ts'
import { anyCall, counts, picks, targets } from './scene.ts'

t.test('round robin takes the targets in turn and starts again', async t => {
  t.equal(picks(createRoundRobin(), targets(1, 1, 1), 7), 'abcabca')
})

t.test('round robin does not look at weights', async t => {
  t.strictSame(counts(createRoundRobin(), targets(5, 1), 10), { a: 5, b: 5 })
})

t.test('round robin keeps its place when a target joins', async t => {
  const three = targets(1, 1, 1)
  const balancer = createRoundRobin()
  t.equal(picks(balancer, three.slice(0, 2), 1), 'a')
  t.equal(picks(balancer, three, 3), 'bca')
})

t.test('round robin keeps its place when a target is left out for one call', async t => {
  const all = targets(1, 1, 1)
  const balancer = createRoundRobin()
  t.equal(picks(balancer, all, 1), 'a')
  t.equal(picks(balancer, all.filter(({ id }) => id !== 'b'), 1), 'c')
  t.equal(picks(balancer, all, 3), 'abc')
})

t.test('round robin shares what a missing target leaves evenly when each call has an array of its own', async t => {
  const all = targets(1, 1, 1)
  const balancer = createRoundRobin()
  let seen = picks(balancer, all, 1)
  for (let i = 0; i < 6; i++) seen += picks(balancer, all.filter(({ id }) => id !== 'b'), 1)
  t.equal(seen, 'acacaca')
})

t.test('round robin goes on with targets it has never seen', async t => {
  const balancer = createRoundRobin()
  picks(balancer, targets(1, 1), 1)
  t.equal(picks(balancer, targets(1, 1), 2), 'ab')
})

t.test('weighted round robin spreads 5, 1, 1 as nginx does', async t => {
  t.equal(picks(createWeightedRoundRobin(), targets(5, 1, 1), 14), 'aabacaaaabacaa')
})

t.test('weighted round robin gives exact shares in every cycle', async () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 }), (weights) => {
    const all = targets(...weights)
    const balancer = createWeightedRoundRobin()
    const cycle = weights.reduce((sum, weight) => sum + weight)
    for (let round = 0; round < 3; round++) {
      const seen = counts(balancer, all, cycle)
      for (const { id, weight } of all) if (weights.some(w => w !== weights[0]) && seen[id] !== weight) return false
    }
    return true
  }), { seed: 1, numRuns: 200 })
})

t.test('weighted round robin never runs further ahead of a share than one pick', async t => {
  const all = targets(7, 3, 2, 1)
  const balancer = createWeightedRoundRobin()
  const seen = new Map(all.map(one => [one, 0]))
  for (let i = 1; i <= 130; i++) {
    const picked = balancer.pick(all, anyCall)!
    seen.set(picked, seen.get(picked)! + 1)
    for (const [one, count] of seen) {
      if (Math.abs(count - i * one.weight / 13) > 1) t.fail(`${one.id} after ${i} picks: ${count}`)
    }
  }
})

t.test('weighted round robin takes fractional weights', async t => {
  t.strictSame(counts(createWeightedRoundRobin(), targets(2.5, 1.5), 8), { a: 5, b: 3 })
})

t.test('weighted round robin takes equal weights in plain turns', async t => {
  t.equal(picks(createWeightedRoundRobin(), targets(3, 3, 3), 6), 'abcabc')
})

t.test('weighted round robin with equal weights keeps its place when a target is left out for one call', async t => {
  const all = targets(2, 2, 2)
  const balancer = createWeightedRoundRobin()
  t.equal(picks(balancer, all, 1), 'a')
  t.equal(picks(balancer, all.slice(1), 1), 'b')
  t.equal(picks(balancer, all, 2), 'ca')
})

t.test('weighted round robin keeps its shares when each call leaves out another target', async t => {
  const all = targets(4, 2, 2)
  const balancer = createWeightedRoundRobin()
  const seen: Record<string, number> = { a: 0, b: 0, c: 0 }
  for (let i = 0; i < 800; i++) {
    const out = all[i % 3]
    const id = balancer.pick(i % 2 === 0 ? all : all.filter(one => one !== out), anyCall)!.id
    seen[id] = seen[id]! + 1
  }
  t.ok(Math.abs(seen['b']! - seen['c']!) <= 3, `${seen['b']} and ${seen['c']}`)
  t.ok(seen['a']! > seen['b']! * 1.5)
})

t.test('weighted round robin gives exact shares among the rest while one target is left out', async t => {
  const all = targets(5, 2, 1)
  const balancer = createWeightedRoundRobin()
  picks(balancer, all, 8)
  let seen = ''
  for (let i = 0; i < 9; i++) seen += picks(balancer, all.slice(1), 1)
  t.equal(seen.replaceAll('c', '').length, 6)
})

t.test('weighted round robin goes on in phase when weights change', async t => {
  const all = targets(2, 1)
  const balancer = createWeightedRoundRobin()
  t.equal(picks(balancer, all, 1), 'a')
  all[0]!.weight = 200
  all[1]!.weight = 100
  const again = [...all]
  t.equal(picks(balancer, again, 5), 'baaba')
})

t.test('weighted round robin does not starve a target when weights become smaller', async t => {
  const all = targets(1000, 1)
  const balancer = createWeightedRoundRobin()
  picks(balancer, all, 500)
  all[0]!.weight = 1
  all[1]!.weight = 2
  t.strictSame(counts(balancer, [...all], 30).a, 10)
})

t.test('weighted round robin takes a changed membership for lasting once it has met it twice', async t => {
  const all = targets(3, 2, 1)
  const balancer = createWeightedRoundRobin()
  picks(balancer, all, 6)
  const two = all.slice(0, 2)
  t.strictSame(counts(balancer, two, 10), { a: 6, b: 4 })
  t.strictSame(counts(balancer, all, 6), { a: 3, b: 2, c: 1 })
})
