/** The retry budget on a virtual clock, also beside a plain model of an exact sliding window. */
import t from 'tap'
import fc from 'fast-check'
import { createBudget } from '../../../lib/retry/budget.ts'
import type { Budget } from '../../../lib/retry/budget.ts'
import { virtualClock } from '../../helper/time.ts'

function scene (config: { ratio?: number, min?: number, window?: number } = {}, start = 0) {
  const clock = virtualClock(start)
  return { clock, budget: createBudget({ ratio: 0.2, min: 0, window: 10_000, ...config }, clock) }
}

function calls (budget: Budget, count: number): void {
  for (let call = 0; call < count; call++) budget.call()
}

/** How many of so many retries may begin. */
function taken (budget: Budget, wanted = 1000): number {
  let count = 0
  for (let wish = 0; wish < wanted; wish++) if (budget.take()) count += 1
  return count
}

t.test('retries are the share of the calls, in whole ones', async t => {
  for (const [ratio, made, expected] of [
    [0.2, 0, 0], [0.2, 4, 0], [0.2, 5, 1], [0.2, 9, 1], [0.2, 10, 2], [0.2, 1000, 200], [0.1, 10, 1], [0.5, 3, 1], [1, 7, 7], [2, 7, 14], [0, 1000, 0]
  ] as const) {
    const { budget } = scene({ ratio })
    calls(budget, made)
    t.equal(taken(budget), expected, `${ratio} of ${made}`)
  }
})

t.test('the minimum is a floor, not an addition', async t => {
  for (const [made, expected] of [[0, 3], [5, 3], [15, 3], [20, 4], [100, 20]] as const) {
    const { budget } = scene({ min: 3 })
    calls(budget, made)
    t.equal(taken(budget), expected, `${made} calls`)
  }
})

t.test('a budget of nothing refuses all', async t => {
  const { budget } = scene({ ratio: 0, min: 0 })
  calls(budget, 100)
  t.notOk(budget.take())
})

t.test('calls made later allow more retries', async t => {
  const { budget } = scene()
  calls(budget, 5)
  t.strictSame([budget.take(), budget.take()], [true, false])
  calls(budget, 5)
  t.strictSame([budget.take(), budget.take()], [true, false])
})

t.test('calls are forgotten when the window has passed', async t => {
  for (const [ms, expected] of [[0, 20], [8999, 20], [10_000, 0], [60_000, 0], [1e9, 0]] as const) {
    const { budget, clock } = scene()
    calls(budget, 100)
    clock.advance(ms)
    t.equal(taken(budget), expected, `after ${ms} ms`)
  }
})

t.test('retries are held against the budget for a whole window, and for no more than a tenth longer', async t => {
  for (const [ms, expected] of [[1, 0], [9000, 0], [9999, 0], [11_000, 3], [1e9, 3]] as const) {
    // whatever the place of the first retries within their bucket
    for (const start of [0, 1, 500, 999]) {
      const { budget, clock } = scene({ min: 3 }, start)
      t.equal(taken(budget), 3)
      clock.advance(ms)
      t.equal(taken(budget), expected, `${ms} ms after ${start}`)
    }
  }
})

t.test('buckets run out one by one', async t => {
  const { budget, clock } = scene({ ratio: 1 })
  for (let second = 0; second < 10; second++) {
    calls(budget, 10)
    clock.advance(1000)
  }
  const seen: number[] = []
  for (let second = 0; second < 11; second++) {
    seen.push(budget.stats().calls)
    clock.advance(1000)
  }
  t.strictSame(seen, [90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0])
})

t.test('a refused retry costs nothing', async t => {
  const { budget } = scene({ min: 1 })
  t.ok(budget.take())
  for (let wish = 0; wish < 50; wish++) budget.take()
  t.equal(budget.stats().retries, 1)
  calls(budget, 10)
  t.ok(budget.take())
})

t.test('the stats say what is in the window', async t => {
  const { budget, clock } = scene({ min: 3 })
  t.strictSame(budget.stats(), { calls: 0, retries: 0, allowed: 3, refused: 0 })
  calls(budget, 27)
  taken(budget, 8)
  t.strictSame(budget.stats(), { calls: 27, retries: 5, allowed: 5, refused: 3 })
  clock.advance(20_000)
  t.strictSame(budget.stats(), { calls: 0, retries: 0, allowed: 3, refused: 3 })
})

t.test('stats count nothing themselves', async t => {
  const { budget } = scene()
  calls(budget, 5)
  t.strictSame(budget.stats(), budget.stats())
  t.ok(budget.take())
})

t.test('a caller that knows the time saves reading the clock', async t => {
  let read = 0
  const clock = virtualClock()
  const budget = createBudget({ ratio: 1, min: 0, window: 1000 }, { now: () => { read += 1; return clock.now() } })
  read = 0
  budget.call(0)
  clock.advance(500)
  budget.call(500)
  t.equal(read, 0)
  t.equal(budget.stats().calls, 2)
  clock.advance(700)
  t.equal(budget.stats().calls, 1, 'the calls lie in the buckets of their times')
})

t.test('a time that is past already counts as the present', async t => {
  const { budget, clock } = scene({ ratio: 1, window: 1000 }, 5000)
  budget.call(4000)
  budget.call(0)
  t.equal(budget.stats().calls, 2)
  clock.advance(899)
  t.equal(budget.stats().calls, 2)
})

t.test('budgets side by side know nothing of each other', async t => {
  const one = scene({ min: 1 }).budget
  const other = scene({ min: 1 }).budget
  t.ok(one.take())
  t.ok(other.take())
  t.notOk(one.take())
})

t.test('no timers', async t => {
  const { budget, clock } = scene()
  calls(budget, 10)
  budget.take()
  t.equal(clock.pending, 0)
})

/**
 * The exact model: moments of calls and retries, windows half open. Compares tenths in whole numbers.
 */
function createModel (window: number) {
  const called: number[] = []
  const retried: number[] = []
  const within = (moments: readonly number[], now: number, tenths: number): number => moments.filter(at => (now - at) * 10 < tenths * window).length
  return { called, retried, callsWithin: (now: number, tenths: number) => within(called, now, tenths), retriesWithin: (now: number, tenths: number) => within(retried, now, tenths) }
}

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('call' as const), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('take' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), tenths: fc.double({ min: 0, max: 4, noNaN: true }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('advance' as const), tenths: fc.double({ min: 0, max: 40, noNaN: true }) }) }
)
const schedule = fc.record({
  ratio: fc.constantFrom(0, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 1.5),
  min: fc.integer({ min: 0, max: 4 }),
  // also windows that ten does not divide
  window: fc.constantFrom(10, 13, 100, 997, 1000, 10_000),
  start: fc.nat(100_000),
  steps: fc.array(step, { maxLength: 80 })
})

t.test('over any schedule, no window holds more retries than an exact one would allow, and none is refused beyond the granularity', async t => {
  let granted = 0
  let refused = 0
  t.doesNotThrow(() => fc.assert(fc.property(schedule, ({ ratio, min, window, start, steps }) => {
    const { budget, clock } = scene({ ratio, min, window }, start)
    const model = createModel(window)
    for (const action of steps) {
      if (action.do === 'advance') clock.advance(Math.round(action.tenths * window / 10))
      else if (action.do === 'call') {
        for (let call = 0; call < action.count; call++) { budget.call(); model.called.push(clock.now()) }
      } else {
        for (let wish = 0; wish < action.count; wish++) {
          const now = clock.now()
          if (budget.take()) {
            granted += 1
            model.retried.push(now)
            const [retries, calls] = [model.retriesWithin(now, 10), model.callsWithin(now, 10)]
            if (retries > Math.max(min, ratio * calls)) throw new Error(`${retries} retries for ${calls} calls at ${now}`)
          } else {
            refused += 1
            const [retries, calls] = [model.retriesWithin(now, 11), model.callsWithin(now, 9)]
            if (retries + 1 <= Math.max(min, ratio * calls)) throw new Error(`refused after ${retries} retries for ${calls} calls at ${now}`)
          }
        }
      }
    }
  }), { seed: 11, numRuns: 2000 }))
  // the property says nothing when hardly anything happens
  t.ok(granted > 2000 && refused > 2000, `${granted} granted, ${refused} refused`)
})

t.test('a steady stream of failing calls is multiplied by no more than the ratio', async t => {
  const { budget, clock } = scene({ ratio: 0.2, min: 3, window: 10_000 })
  let retries = 0
  for (let call = 0; call < 10_000; call++) {
    budget.call()
    if (budget.take()) retries += 1
    clock.advance(10)
  }
  t.ok(retries <= 2000 && retries >= 1600, `${retries}`)
})
