/** Many deadlines on few timers, on a virtual clock. */
import t from 'tap'
import fc from 'fast-check'
import { createDeadlines } from '../../lib/deadlines.ts'
import type { Clock, Expirable } from '../../lib/deadlines.ts'

/** A clock whose timers fire when `advance` passes them; it counts those that are set. */
function fakeClock () {
  let time = 0
  let id = 0
  const timers = new Map<number, { at: number, callback: () => void }>()
  const clock: Clock = {
    now: () => time,
    setTimeout (callback, ms) { timers.set(++id, { at: time + ms, callback }); return id as unknown as NodeJS.Timeout },
    clearTimeout (timer) { timers.delete(timer as unknown as number) }
  }
  function advance (ms: number): void {
    const end = time + ms
    for (;;) {
      const [next] = [...timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])
      if (next === undefined) break
      timers.delete(next[0])
      time = Math.max(time, next[1].at)
      next[1].callback()
    }
    time = end
  }
  return { clock, advance, pending: () => timers.size }
}

function entry (expire: () => void): Expirable {
  return { expire, expiresAt: 0, before: undefined, after: undefined, list: undefined }
}

t.test('an entry expires once, after its time', async t => {
  const { clock, advance } = fakeClock()
  const deadlines = createDeadlines(clock)
  let expired = 0
  deadlines.arm(entry(() => expired++), 100)
  advance(99)
  t.equal(expired, 0)
  advance(1)
  t.equal(expired, 1)
  advance(1000)
  t.equal(expired, 1)
})

t.test('a disarmed entry never expires, and its timer goes with the last of its kind', async t => {
  const { clock, advance, pending } = fakeClock()
  const deadlines = createDeadlines(clock)
  const one = entry(() => t.fail('expired'))
  deadlines.arm(one, 100)
  deadlines.disarm(one)
  deadlines.disarm(one)
  advance(200)
  t.equal(pending(), 0)
})

t.test('a thousand entries of one duration share a timer', async t => {
  const { clock, advance, pending } = fakeClock()
  const deadlines = createDeadlines(clock)
  let expired = 0
  for (let i = 0; i < 1000; i++) deadlines.arm(entry(() => expired++), 50)
  t.equal(pending(), 1)
  advance(50)
  t.equal(expired, 1000)
})

t.test('arming again moves the entry', async t => {
  const { clock, advance } = fakeClock()
  const deadlines = createDeadlines(clock)
  let expired = 0
  const one = entry(() => expired++)
  deadlines.arm(one, 100)
  advance(80)
  deadlines.arm(one, 100)
  advance(80)
  t.equal(expired, 0)
  advance(20)
  t.equal(expired, 1)
})

t.test('an entry may arm itself or disarm another while it expires', async t => {
  const { clock, advance } = fakeClock()
  const deadlines = createDeadlines(clock)
  let again = 0
  const other = entry(() => t.fail('was disarmed'))
  const one: Expirable = entry(() => { deadlines.disarm(other); if (++again < 3) deadlines.arm(one, 10) })
  deadlines.arm(one, 10)
  deadlines.arm(other, 10)
  advance(100)
  t.equal(again, 3)
})

t.test('close forgets everything', async t => {
  const { clock, advance, pending } = fakeClock()
  const deadlines = createDeadlines(clock)
  for (const ms of [10, 20, 30]) deadlines.arm(entry(() => t.fail('expired')), ms)
  deadlines.close()
  advance(100)
  t.equal(pending(), 0)
})

t.test('any sequence of arm, disarm and time does what a plain model does', async t => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('arm' as const), who: fc.nat(4), ms: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ do: fc.constant('disarm' as const), who: fc.nat(4) }),
    fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 30 }) })
  )
  t.doesNotThrow(() => fc.assert(fc.property(fc.array(step, { maxLength: 60 }), steps => {
    const { clock, advance } = fakeClock()
    const deadlines = createDeadlines(clock)
    const fired: string[] = []
    const expected: string[] = []
    const due = new Map<number, number>()
    let time = 0
    const entries = Array.from({ length: 5 }, (_, who) => entry(() => fired.push(`${who}`)))
    for (const action of steps) {
      if (action.do === 'arm') { deadlines.arm(entries[action.who]!, action.ms); due.set(action.who, time + action.ms) }
      if (action.do === 'disarm') { deadlines.disarm(entries[action.who]!); due.delete(action.who) }
      if (action.do === 'advance') {
        advance(action.ms)
        time += action.ms
        for (const [who, at] of [...due]) if (at <= time) { expected.push(`${who}`); due.delete(who) }
      }
    }
    return [...fired].sort().join() === [...expected].sort().join()
  }), { seed: 7, numRuns: 500 }))
})
