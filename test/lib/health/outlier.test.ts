/** The rules of passive health, one by one, and random schedules beside a plain model. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { createOutlierGroup } from '../../../lib/health/index.ts'
import type { OutlierGroup, Tracker } from '../../../lib/health/index.ts'
import type { OutlierConfig } from '../../../lib/resilience/types.ts'
import type { Outcome } from '../../../lib/types.ts'
import { clocks, outlierConfig } from './scene.ts'

const FAILURES: readonly Outcome[] = ['server-error', 'connect-error', 'reset', 'timeout', 'bad-response']

function scene (config: Partial<OutlierConfig> = {}, targets = 4, start = 0) {
  const { time, clock } = clocks(start)
  const group = createOutlierGroup(outlierConfig(config), clock)
  const trackers = Array.from({ length: targets }, (_, i) => group.track(`t${i}`))
  return { time, group, trackers, first: trackers[0]! }
}

/** Fails until the target is out; whether it is. */
function breakDown (group: OutlierGroup, tracker: Tracker, times = 3): boolean {
  let gone = false
  for (let i = 0; i < times; i++) gone = group.record(tracker, 'server-error') || gone
  return gone
}

// ---------------------------------------------------------------- one target

t.test('so many failures in a row, of whatever listed kind, want an ejection', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: 5 }), clocks().clock).track('one')
  t.strictSame(FAILURES.map(outcome => one.record(outcome)), [false, false, false, false, true])
})

t.test('the reason holds until a success or a reset', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: 1 }), clocks().clock).track('one')
  t.equal(one.record('reset'), true)
  t.equal(one.record('reset'), true)
  t.equal(one.record('ok'), false)
  one.record('reset')
  const two = createOutlierGroup(outlierConfig({ consecutive: 2 }), clocks().clock).track('one')
  two.record('reset')
  two.reset()
  t.equal(two.record('reset'), false)
})

for (const outcome of ['ok', 'client-error'] as const) {
  t.test(`${outcome} breaks the row`, async t => {
    const one = createOutlierGroup(outlierConfig({ consecutive: 2 }), clocks().clock).track('one')
    t.strictSame((['timeout', outcome, 'timeout', 'timeout'] as const).map(each => one.record(each)), [false, false, false, true])
  })
}

for (const outcome of ['aborted', 'rejected'] as const) {
  t.test(`${outcome} does not count, not even when listed`, async t => {
    const one = createOutlierGroup(outlierConfig({ consecutive: 2, failureRate: 60, minVolume: 3, outcomes: ['timeout', outcome] }), clocks().clock).track('one')
    t.strictSame([outcome, outcome, outcome].map(each => one.record(each)), [false, false, false])
    one.record('timeout')
    one.record(outcome)
    t.equal(one.record('timeout'), true, 'nor does it break a row')
  })
}

t.test('a failure that is not listed counts as a success', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: 2, outcomes: ['connect-error'] }), clocks().clock).track('one')
  t.strictSame((['connect-error', 'server-error', 'connect-error'] as const).map(each => one.record(each)), [false, false, false])
})

t.test('a listed client error is a failure', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: 2, outcomes: ['client-error'] }), clocks().clock).track('one')
  one.record('client-error')
  t.equal(one.record('client-error'), true)
})

t.test('without a number the row does not matter', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: undefined }), clocks().clock).track('one')
  for (let i = 0; i < 100; i++) t.equal(one.record('timeout'), false)
})

t.test('the share of failures counts from the fewest outcomes on, and at the limit', async t => {
  const one = createOutlierGroup(outlierConfig({ consecutive: undefined, failureRate: 50, minVolume: 4 }), clocks().clock).track('one')
  t.strictSame((['timeout', 'ok', 'timeout'] as const).map(each => one.record(each)), [false, false, false])
  t.equal(one.record('ok'), true, '2 of 4')
  t.equal(one.record('ok'), false, '2 of 5')
})

t.test('what is older than the window no longer counts', async t => {
  const { time, clock } = clocks(123456)
  const one = createOutlierGroup(outlierConfig({ consecutive: undefined, failureRate: 50, minVolume: 3, window: 1000 }), clock).track('one')
  one.record('timeout')
  one.record('timeout')
  time.advance(1000)
  t.equal(one.record('timeout'), false)
  time.advance(800)
  t.equal(one.record('timeout'), false, 'two')
  t.equal(one.record('timeout'), true, 'three')
  time.advance(1e7)
  t.equal(one.record('timeout'), false)
})

// ---------------------------------------------------------------- a group

t.test('an ejected target is out until the clock says so, without a timer', async t => {
  const { time, group, first } = scene()
  t.equal(breakDown(group, first, 2), false)
  t.equal(group.isEjected(first), false)
  t.equal(group.record(first, 'timeout'), true)
  t.equal(group.isEjected(first), true)
  t.equal(group.ejectedUntil(first), 100)
  t.equal(group.nextReturn, 100)
  t.equal(group.ejected, 1)
  t.equal(time.pending, 0)
  time.advance(99)
  t.equal(group.isEjected(first), true)
  time.advance(1)
  t.equal(group.ejected, 0)
  t.equal(group.isEjected(first), false)
  t.equal(group.ejectedUntil(first), -Infinity)
  t.equal(group.nextReturn, Infinity)
})

t.test('slow start learns when a target came back, however late it asks', async t => {
  const { time, group, first } = scene()
  t.equal(group.returnedAt(first), -Infinity)
  breakDown(group, first)
  t.equal(group.returnedAt(first), -Infinity)
  time.advance(5000)
  t.equal(group.returnedAt(first), 100)
})

t.test('outcomes of a target that is out do not count', async t => {
  const { time, group, first } = scene()
  breakDown(group, first)
  t.equal(breakDown(group, first, 10), false)
  time.advance(100)
  t.equal(group.record(first, 'timeout'), false)
})

t.test('a returned target begins with empty counters', async t => {
  const { time, group, first } = scene({ failureRate: 50, minVolume: 4 })
  for (const outcome of ['ok', 'timeout', 'ok'] as const) group.record(first, outcome)
  t.equal(group.record(first, 'timeout'), true)
  time.advance(100)
  t.equal(breakDown(group, first, 2), false, 'neither by row nor by rate')
  t.equal(group.record(first, 'timeout'), true)
})

t.test('the n-th ejection in a row lasts n times as long, up to the most', async t => {
  const { time, group, first } = scene({ maxEjection: 350 })
  const lasted = [1, 2, 3, 4, 5].map(() => {
    const from = time.now()
    breakDown(group, first)
    const until = group.ejectedUntil(first)
    time.advance(until - from)
    return until - from
  })
  t.strictSame(lasted, [100, 200, 300, 350, 350])
})

t.test('each base ejection spent in makes the next one shorter by one', async t => {
  const { time, group, first } = scene()
  for (const ms of [100, 200, 300]) { breakDown(group, first); time.advance(ms) }
  time.advance(199)
  breakDown(group, first)
  t.equal(group.ejectedUntil(first) - time.now(), 300, 'one off, one on')
  time.advance(300 + 100000)
  breakDown(group, first)
  t.equal(group.ejectedUntil(first) - time.now(), 100)
})

t.test('ejections at the maximum do not lengthen the way back', async t => {
  const { time, group, first } = scene({ maxEjection: 200 })
  for (let i = 0; i < 20; i++) { breakDown(group, first); time.advance(group.ejectedUntil(first) - time.now()) }
  time.advance(200)
  breakDown(group, first)
  t.equal(group.ejectedUntil(first) - time.now(), 100)
})

t.test('a maximum below the base holds', async t => {
  const { group, first } = scene({ baseEjection: 100, maxEjection: 30 })
  breakDown(group, first)
  t.equal(group.ejectedUntil(first), 30)
})

t.test('no more than the percentage are out, rounded down', async t => {
  const { group, trackers } = scene({ maxEjectedPercent: 50 }, 5)
  t.strictSame(trackers.map(each => breakDown(group, each)), [true, true, false, false, false])
  t.equal(group.ejected, 2)
})

t.test('one target may always be out', async t => {
  const { group, trackers } = scene({ maxEjectedPercent: 10 }, 2)
  t.strictSame(trackers.map(each => breakDown(group, each)), [true, false])
})

t.test('the only target stays, unless 100 percent may go', async t => {
  t.equal(breakDown(...onlyOne(99)), false)
  t.equal(breakDown(...onlyOne(100)), true)
  function onlyOne (maxEjectedPercent: number): [OutlierGroup, Tracker] {
    const { group, first } = scene({ maxEjectedPercent }, 1)
    return [group, first]
  }
})

t.test('a target that might not go goes at its next failure once there is room', async t => {
  const { time, group, trackers } = scene({}, 2)
  breakDown(group, trackers[0]!)
  t.equal(breakDown(group, trackers[1]!, 10), false)
  time.advance(100)
  t.equal(group.record(trackers[1]!, 'timeout'), true)
})

t.test('the same key is the same tracker', async t => {
  const { group, first } = scene()
  t.equal(group.track('t0'), first)
  t.equal(group.size, 4)
})

t.test('a forgotten target leaves its place to others, and its late outcomes count no more', async t => {
  const { group, trackers, first } = scene({}, 4)
  breakDown(group, first)
  breakDown(group, trackers[1]!)
  group.track('new')
  group.forget(first)
  t.equal(group.isEjected(first), false)
  t.equal(group.ejected, 1)
  t.equal(group.size, 4)
  t.equal(breakDown(group, first, 10), false)
  t.equal(breakDown(group, trackers[2]!), true)
})

t.test('a target that comes again after it was forgotten begins anew', async t => {
  const { group, first } = scene()
  breakDown(group, first)
  group.forget(first)
  const again = group.track('t0')
  t.not(again, first)
  t.equal(group.isEjected(again), false)
  group.forget(first)
  t.equal(group.size, 4, 'forgetting the old one again leaves the new one')
})

t.test('when too many of the rest are out, those that would return first return at once', async t => {
  const { time, group, trackers } = scene({ maxEjectedPercent: 50 }, 4)
  breakDown(group, trackers[1]!)
  time.advance(10)
  breakDown(group, trackers[0]!)
  time.advance(10)
  group.forget(trackers[2]!)
  t.strictSame(trackers.map(group.isEjected), [true, false, false, false])
  t.equal(group.returnedAt(trackers[1]!), 20)
  t.equal(group.nextReturn, 110)
  group.forget(trackers[3]!)
  group.forget(trackers[1]!)
  t.equal(group.ejected, 0, 'the only target is in')
})

// ---------------------------------------------------------------- beside a model

type Step =
  | { readonly do: 'record', readonly who: number, readonly outcomes: readonly Outcome[] }
  | { readonly do: 'advance', readonly ms: number }
  /** Until the next target returns. */
  | { readonly do: 'await' }
  | { readonly do: 'track', readonly who: number }
  | { readonly do: 'forget', readonly who: number }

/** Keeps every outcome and every ejection of a target and works all out of these lists. */
interface ModelTarget {
  outcomes: Array<{ at: number, outcome: Outcome }>
  ejections: Array<{ from: number, until: number, level: number }>
}

function createModel (config: OutlierConfig) {
  const targets = new Map<number, ModelTarget>()
  const isOut = (target: ModelTarget, now: number): boolean => target.ejections.some(({ from, until }) => from <= now && now < until)
  const out = (now: number): ModelTarget[] => [...targets.values()].filter(target => isOut(target, now))
  const mayBeOut = (): number => {
    let most = 0
    while ((most + 1) * 100 <= targets.size * config.maxEjectedPercent) most++
    return most === 0 && targets.size > 1 ? 1 : most
  }

  function isOutlier ({ outcomes }: ModelTarget, now: number): boolean {
    const counted = outcomes.filter(({ outcome }) => outcome !== 'aborted' && outcome !== 'rejected')
    const { consecutive, failureRate, window } = config
    const bad = ({ outcome }: { outcome: Outcome }) => config.outcomes.includes(outcome)
    if (consecutive !== undefined && counted.length >= consecutive && counted.slice(-consecutive).every(bad)) return true
    if (failureRate === undefined) return false
    const tenth = (at: number) => Math.floor(at * 10 / window)
    const recent = counted.filter(({ at }) => tenth(at) > tenth(now) - 10)
    return recent.length >= config.minVolume && recent.filter(bad).length / recent.length >= failureRate / 100
  }

  function levelNow ({ ejections }: ModelTarget, now: number): number {
    const last = ejections.at(-1)
    if (last === undefined) return 0
    let { level } = last
    for (let at = last.until + config.baseEjection; at <= now && level > 0; at += config.baseEjection) level--
    return level
  }

  return {
    targets,
    out,
    mayBeOut,
    nextReturn: (now: number) => Math.min(...out(now).map(({ ejections }) => ejections.at(-1)!.until), now + 1000),
    isOut: (who: number, now: number) => isOut(targets.get(who)!, now),
    record (who: number, outcome: Outcome, now: number): boolean {
      const target = targets.get(who)!
      if (isOut(target, now)) return false
      target.outcomes.push({ at: now, outcome })
      const counts = outcome !== 'aborted' && outcome !== 'rejected'
      if (!counts || !isOutlier(target, now) || out(now).length + 1 > mayBeOut()) return false
      const before = levelNow(target, now)
      const level = before * config.baseEjection >= config.maxEjection ? before : before + 1
      target.ejections.push({ from: now, until: now + Math.min(level * config.baseEjection, config.maxEjection), level })
      target.outcomes = []
      return true
    },
    forget (who: number, now: number): void {
      targets.delete(who)
      const left = out(now).sort((a, b) => a.ejections.at(-1)!.until - b.ejections.at(-1)!.until)
      for (const target of left.slice(0, Math.max(0, left.length - mayBeOut()))) target.ejections.at(-1)!.until = now
    }
  }
}

const outcomes = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...FAILURES) },
  { weight: 3, arbitrary: fc.constantFrom<Outcome>('ok', 'client-error') },
  { weight: 1, arbitrary: fc.constantFrom<Outcome>('aborted', 'rejected') }
)
const who = fc.oneof(fc.constant(0), fc.nat(6))
const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('record' as const), who, outcomes: fc.array(outcomes, { minLength: 2, maxLength: 8, size: 'max' }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.oneof(fc.nat(60), fc.nat(600)) }) },
  { weight: 3, arbitrary: fc.constant({ do: 'await' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('track' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), who }) }
), { maxLength: 120, size: 'max' })
const configs: fc.Arbitrary<OutlierConfig> = fc.record({
  consecutive: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined, freq: 3 }),
  failureRate: fc.option(fc.constantFrom(25, 50, 75, 100), { nil: undefined, freq: 2 }),
  minVolume: fc.integer({ min: 1, max: 8 }),
  window: fc.constantFrom(100, 200, 500),
  baseEjection: fc.integer({ min: 10, max: 80 }),
  maxEjection: fc.integer({ min: 5, max: 300 }),
  maxEjectedPercent: fc.constantFrom(0, 10, 34, 50, 75, 100),
  outcomes: fc.subarray([...FAILURES, 'aborted' as const], { minLength: 3 })
}).map(config => outlierConfig(config))

t.test('any schedule of outcomes, time, new and forgotten targets goes as a plain model says', async t => {
  let ejections = 0
  fc.assert(fc.property(configs, fc.integer({ min: 1, max: 6 }), fc.nat(1000), steps, (config, count, start, steps) => {
    const { time, clock } = clocks(start)
    const group = createOutlierGroup(config, clock)
    const model = createModel(config)
    const trackers = new Map<number, Tracker>()
    const track = (who: number): void => {
      trackers.set(who, group.track(`t${who}`))
      if (!model.targets.has(who)) model.targets.set(who, { outcomes: [], ejections: [] })
    }
    for (let i = 0; i < count; i++) track(i)
    for (const step of steps) {
      if (step.do === 'advance') time.advance(step.ms)
      else if (step.do === 'await') time.advance(model.nextReturn(time.now()) - time.now())
      else if (step.do === 'track') track(step.who)
      else {
        const tracker = trackers.get(step.who)
        if (tracker === undefined) continue
        if (step.do === 'forget') {
          // ends at one time may go in either order
          const ends = [...model.targets.values()].map(({ ejections }) => ejections.at(-1)?.until).filter(until => until !== undefined && until > time.now())
          if (new Set(ends).size < ends.length) continue
          group.forget(tracker)
          trackers.delete(step.who)
          model.forget(step.who, time.now())
        } else {
          for (const outcome of step.outcomes) {
            const gone = group.record(tracker, outcome)
            if (gone) ejections++
            assert.equal(gone, model.record(step.who, outcome, time.now()))
          }
        }
      }
      const now = time.now()
      // asked in turns, so that some ends are seen late
      if (step.do !== 'record') {
        assert.equal(group.ejected, model.out(now).length)
        for (const [who, tracker] of trackers) {
          const last = model.targets.get(who)!.ejections.at(-1)
          const isOut = model.isOut(who, now)
          assert.equal(group.isEjected(tracker), isOut)
          assert.equal(group.ejectedUntil(tracker), isOut ? last!.until : -Infinity)
          assert.equal(group.returnedAt(tracker), isOut ? -Infinity : last?.until ?? -Infinity)
        }
        assert.equal(group.nextReturn, Math.min(Infinity, ...model.out(now).map(({ ejections }) => ejections.at(-1)!.until)))
      }
    }
  }), { seed: 9, numRuns: 300 })
  t.ok(ejections > 1000, `${ejections} ejections`)
})

t.test('never are more out than the percentage or the one that always may, and every ejection ends', async t => {
  t.doesNotThrow(() => fc.assert(fc.property(configs, steps, (config, steps) => {
    const { time, group, trackers } = scene(config, 7, 77)
    const known = new Set(trackers)
    for (const step of steps) {
      const key = 'who' in step ? `t${step.who}` : ''
      if (step.do === 'advance') time.advance(step.ms)
      if (step.do === 'await' && group.ejected > 0) time.advance(group.nextReturn - time.now())
      if (step.do === 'track') known.add(group.track(key))
      for (const tracker of known) {
        if (tracker.key !== key) continue
        if (step.do === 'record') for (const outcome of step.outcomes) group.record(tracker, outcome)
        if (step.do === 'forget') { group.forget(tracker); known.delete(tracker) }
      }
      const out = [...known].filter(group.isEjected).length
      if (out !== group.ejected) return false
      if (out * 100 > known.size * config.maxEjectedPercent && !(out === 1 && known.size > 1)) return false
    }
    time.advance(config.maxEjection)
    return [...known].every(tracker => !group.isEjected(tracker)) && group.ejected === 0
  }), { seed: 13, numRuns: 300 }))
})
