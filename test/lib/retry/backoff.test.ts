/** Waits between tries: their bounds and how they are spread. */
import t from 'tap'
import fc from 'fast-check'
import { backoffOf } from '../../../lib/retry/backoff.ts'
import { seededRandom } from '../../helper/time.ts'

const config = { initial: 25, max: 250, factor: 2 }
/** The largest number below 1. */
const ALMOST_ONE = 1 - Number.EPSILON / 2

t.test('the longest wait doubles from the initial one up to the maximum', async t => {
  const longest = [1, 2, 3, 4, 5, 6, 7].map(retry => Math.round(backoffOf(retry, config, () => ALMOST_ONE)))
  t.strictSame(longest, [25, 50, 100, 200, 250, 250, 250])
})

t.test('the factor is the configured one', async t => {
  t.strictSame([1, 2, 3].map(retry => backoffOf(retry, { initial: 8, max: 1000, factor: 3 }, () => 0.5)), [4, 12, 36])
  t.strictSame([1, 2, 9].map(retry => backoffOf(retry, { initial: 8, max: 1000, factor: 1 }, () => 0.5)), [4, 4, 4])
})

t.test('the shortest wait is none at all', async t => {
  for (const retry of [1, 2, 10, 1e6]) t.equal(backoffOf(retry, config, () => 0), 0)
})

t.test('a maximum below the initial wait holds from the start', async t => {
  t.equal(backoffOf(1, { initial: 100, max: 10, factor: 2 }, () => 0.5), 5)
})

t.test('a number of retries beyond all powers is the maximum', async t => {
  for (const retry of [1024, 1025, 2000, 1e9, Number.MAX_SAFE_INTEGER, Infinity]) t.equal(backoffOf(retry, config, () => 0.5), 125, `${retry}`)
})

t.test('no initial wait is none for ever', async t => {
  for (const retry of [1, 2, 5000, Infinity]) t.equal(backoffOf(retry, { initial: 0, max: 250, factor: 2 }, () => 0.5), 0, `${retry}`)
})

t.test('without a maximum the wait is a number all the same', async t => {
  for (const random of [() => 0, () => 0.5, () => ALMOST_ONE]) {
    const wait = backoffOf(5000, { initial: 25, max: Infinity, factor: 2 }, random)
    t.ok(Number.isFinite(wait) && wait >= 0, `${wait}`)
  }
})

t.test('chance is asked once a wait', async t => {
  let asked = 0
  backoffOf(3, config, () => { asked += 1; return 0.5 })
  t.equal(asked, 1)
})

t.test('a wait is never below 0 nor above its ceiling, whatever the configuration', async t => {
  const some = fc.record({ initial: fc.integer({ min: 0, max: 1e6 }), max: fc.integer({ min: 0, max: 1e9 }), factor: fc.constantFrom(1, 1.1, 1.5, 2, 3, 10, 100) })
  const retry = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 2 ** 31 }))
  const lot = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  t.doesNotThrow(() => fc.assert(fc.property(some, retry, lot, (config, retry, lot) => {
    // by multiplying, up to where the ceiling no longer moves
    let ceiling = config.initial
    for (let turn = 1; turn < retry && config.factor > 1 && ceiling > 0 && ceiling < config.max; turn++) ceiling *= config.factor
    ceiling = Math.min(config.max, ceiling)
    const wait = backoffOf(retry, config, () => lot)
    return wait >= 0 && wait <= config.max && Math.abs(wait - lot * ceiling) <= ceiling * 1e-9
  }), { seed: 3, numRuns: 2000 }))
})

t.test('the longest wait never shrinks from one retry to the next', async t => {
  const some = fc.record({ initial: fc.integer({ min: 0, max: 5000 }), max: fc.integer({ min: 0, max: 60_000 }), factor: fc.double({ min: 1, max: 10, noNaN: true }) })
  t.doesNotThrow(() => fc.assert(fc.property(some, fc.integer({ min: 1, max: 3000 }), (config, retry) =>
    backoffOf(retry, config, () => 0.5) <= backoffOf(retry + 1, config, () => 0.5)
  ), { seed: 4, numRuns: 500 }))
})

t.test('waits are spread evenly from 0 to the ceiling', async t => {
  const random = seededRandom(42)
  for (const [retry, ceiling] of [[1, 25], [3, 100], [50, 250]] as const) {
    const shares = new Array<number>(10).fill(0)
    let sum = 0
    for (let draw = 0; draw < 20_000; draw++) {
      const wait = backoffOf(retry, config, random)
      sum += wait
      shares[Math.floor(wait / ceiling * 10)]! += 1
    }
    // five standard deviations: 2000 ± 212 a tenth
    for (const [tenth, count] of shares.entries()) t.ok(Math.abs(count - 2000) < 212, `retry ${retry}, tenth ${tenth}: ${count}`)
    t.ok(Math.abs(sum / 20_000 / ceiling - 0.5) < 0.0102, `retry ${retry}: mean ${sum / 20_000}`)
  }
})
