/** The rolling window beside a plain list of what was counted. */
import t from 'tap'
import fc from 'fast-check'
import { RollingWindow } from '../../../lib/circuit-breaker/window.ts'

const seen = (window: RollingWindow): [number, number] => [window.failures, window.total]

t.test('what was counted leaves bucket by bucket', async t => {
  const window = new RollingWindow(1000, 0)
  window.add(true, 0)
  window.add(false, 99)
  window.add(true, 100)
  window.turn(999)
  t.same(seen(window), [2, 3])
  window.turn(1000)
  t.same(seen(window), [1, 1])
  window.turn(1100)
  t.same(seen(window), [0, 0])
})

t.test('after a long silence nothing is left', async t => {
  const window = new RollingWindow(1000, 0)
  for (let at = 0; at < 1000; at += 50) window.add(true, at)
  window.add(false, 1e12)
  t.same(seen(window), [0, 1])
})

t.test('a clock that steps back loses nothing', async t => {
  const window = new RollingWindow(1000, 5000)
  window.add(true, 5000)
  window.add(true, 4000)
  window.turn(0)
  t.same(seen(window), [2, 2])
})

t.test('a window of no length still counts', async t => {
  const window = new RollingWindow(0, 7)
  window.add(true, 7)
  t.same(seen(window), [1, 1])
  window.add(false, 8)
  t.same(seen(window), [0, 1])
})

t.test('at any time it holds the running bucket and the nine before it', async () => {
  const step = fc.record({ after: fc.oneof(fc.nat(30), fc.nat(500), fc.nat(5000)), failed: fc.boolean() })
  fc.assert(fc.property(fc.constantFrom(10, 100, 777, 1000), fc.nat(10_000), fc.array(step, { maxLength: 60 }), (length, start, steps) => {
    const window = new RollingWindow(length, start)
    const all: Array<{ at: number, failed: boolean }> = []
    let now = start
    for (const { after, failed } of steps) {
      now += after
      window.add(failed, now)
      all.push({ at: now, failed })
      const bucket = (at: number): number => Math.floor(at / (length / 10))
      const inside = all.filter(({ at }) => bucket(at) > bucket(now) - 10)
      if (window.total !== inside.length || window.failures !== inside.filter(one => one.failed).length) return false
    }
    return true
  }), { seed: 11, numRuns: 200 })
})
