import fc from 'fast-check'
import t from 'tap'
import { admits, shareOf } from '../../../lib/health/index.ts'
import { seededRandom } from '../../helper/time.ts'

const config = { window: 1000, initial: 0.25 }

t.test('a share rises from the initial one to 1 on a straight line', async t => {
  t.equal(shareOf(500, 500, config), 0.25)
  t.equal(shareOf(500, 1000, config), 0.625)
  t.equal(shareOf(500, 1500, config), 1)
  t.equal(shareOf(500, 9999, config), 1)
})

t.test('a target that has always been there has its full share', async t => {
  t.equal(shareOf(-Infinity, 0, config), 1)
})

t.test('a target that is yet to come begins at the initial share', async t => {
  t.equal(shareOf(500, 400, config), 0.25)
})

t.test('without a window the share is full at once', async t => {
  t.equal(shareOf(500, 500, { window: 0, initial: 0.2 }), 1)
})

t.test('a share never falls with time and stays between initial and 1', async t => {
  const time = fc.double({ min: -1e9, max: 1e9, noNaN: true })
  t.doesNotThrow(() => fc.assert(fc.property(time, time, time, fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 1e6 }), (since, a, b, initial, window) => {
    const earlier = shareOf(since, Math.min(a, b), { window, initial })
    const later = shareOf(since, Math.max(a, b), { window, initial })
    return initial <= earlier && earlier <= later + 1e-12 && later <= 1 + 1e-12
  }), { seed: 3, numRuns: 500 }))
})

t.test('a full share is admitted without a lot', async t => {
  t.equal(admits(1, () => t.fail('drawn') as never), true)
})

t.test('no share is never admitted', async t => {
  t.equal(admits(0, () => 0), false)
})

t.test('a share is admitted as often as it says', async t => {
  const random = seededRandom(1)
  let admitted = 0
  for (let i = 0; i < 10000; i++) if (admits(0.3, random)) admitted++
  t.ok(admitted > 2850 && admitted < 3150, `${admitted} of 10000`)
})
