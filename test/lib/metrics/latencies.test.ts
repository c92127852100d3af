/** Percentiles in bounded memory, against exact ones. */
import t from 'tap'
import fc from 'fast-check'
import { Latencies } from '../../../lib/metrics/latencies.ts'
import { seededRandom } from '../../helper.ts'

/** Nearest rank. */
function exact (values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!
}

function of (values: readonly number[]): Latencies {
  const latencies = new Latencies()
  for (const value of values) latencies.record(value)
  return latencies
}

/** 1/32, and what rounding to whole microseconds does. */
const tolerance = (value: number) => value / 32 + 0.001

const SHARES = [0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1]

t.test('percentiles of seeded latencies with a long tail are within 3.2 %', async t => {
  const random = seededRandom(7)
  const values = Array.from({ length: 20_000 }, () => Math.exp(Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random()) * 1.5 + 2))
  const latencies = of(values)
  for (const share of SHARES) {
    const wanted = exact(values, share)
    t.ok(Math.abs(latencies.quantile(share) - wanted) <= tolerance(wanted), `p${share * 100}: ${latencies.quantile(share)} for ${wanted}`)
  }
  t.ok(Math.abs(latencies.average - values.reduce((one, other) => one + other, 0) / values.length) < 1e-6, 'the average is exact')
})

t.test('property: whatever was recorded, percentiles are within 1/32 or 1 µs', async () => {
  const ms = fc.oneof(fc.double({ min: 0, max: 2_000_000, noNaN: true }), fc.double({ min: 0, max: 5, noNaN: true }), fc.constantFrom(0, 0.001, 0.031, 0.032, 0.033, 1, 1000))
  fc.assert(fc.property(fc.array(ms, { minLength: 1, maxLength: 200 }), fc.constantFrom(...SHARES), (values, share) => {
    const wanted = exact(values, share)
    return Math.abs(of(values).quantile(share) - wanted) <= tolerance(wanted)
  }))
})

t.test('property: what two have together is what one would have that had recorded all', async () => {
  const list = fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { maxLength: 50 })
  fc.assert(fc.property(list, list, (one, other) => {
    const together = of(one)
    together.add(of(other))
    const all = of([...one, ...other])
    return together.count === all.count && Math.abs(together.sum - all.sum) < 1e-6 && SHARES.every(share => together.quantile(share) === all.quantile(share))
  }))
})

t.test('longer than 35 minutes is told apart by the longest only', async t => {
  const latencies = of([5_000_000, 7_000_000])
  t.equal(latencies.quantile(1), 5_000_000, 'never below the shortest')
  t.equal(latencies.average, 6_000_000)
})

t.test('without anything recorded, and after a reset, all is 0', async t => {
  const latencies = of([])
  t.same([latencies.quantile(0.5), latencies.average, latencies.count], [0, 0, 0])
  latencies.record(3)
  latencies.reset()
  t.same([latencies.quantile(0.5), latencies.average, latencies.count], [0, 0, 0])
  latencies.record(8)
  t.equal(latencies.quantile(0.5), 8)
})
