import t from 'tap'
import { candidates, isPanic } from '../../../lib/health/index.ts'

t.test('panic is below the threshold, not at it', async t => {
  t.equal(isPanic(5, 10, { threshold: 50 }), false)
  t.equal(isPanic(4, 10, { threshold: 50 }), true)
  t.equal(isPanic(9, 10, { threshold: 100 }), true)
  t.equal(isPanic(10, 10, { threshold: 100 }), false)
})

t.test('a threshold of 0 never panics', async t => {
  t.equal(isPanic(0, 10, { threshold: 0 }), false)
})

t.test('without targets there is no panic', async t => {
  t.equal(isPanic(0, 0, { threshold: 50 }), false)
})

t.test('in panic all targets are used, or none, as the mode says', async t => {
  t.equal(candidates(1, 10, { threshold: 50, mode: 'all' }), 'all')
  t.equal(candidates(1, 10, { threshold: 50, mode: '503' }), 'none')
})

t.test('outside of panic the healthy targets are used', async t => {
  t.equal(candidates(5, 10, { threshold: 50, mode: 'all' }), 'healthy')
  t.equal(candidates(5, 10, { threshold: 50, mode: '503' }), 'healthy')
  t.equal(candidates(1, 10, undefined), 'healthy')
})

t.test('without a healthy target and without panic there is none to use', async t => {
  t.equal(candidates(0, 10, undefined), 'none')
  t.equal(candidates(0, 10, { threshold: 0, mode: 'all' }), 'none')
  t.equal(candidates(0, 0, { threshold: 50, mode: 'all' }), 'none')
})
