/** What happened lately: points, rings, listeners. */
import t from 'tap'
import fc from 'fast-check'
import { createHistory } from '../../lib/recent/history.ts'
import type { History } from '../../lib/recent/history.ts'
import type { RecentEvent, Sample } from '../../lib/recent/types.ts'
import { virtualClock } from '../helper.ts'

const EPOCH = 1_700_000_000_000
const SAMPLE: Omit<Sample, 'id'> = { at: EPOCH, requestId: '', method: 'GET', url: '/', route: '/', tenant: null, status: 200, outcome: 'ok', duration: 1, queued: 0, parts: [], attempts: [] }
const CHANGE = { kind: 'breaker', scope: '', backend: 'up', target: 'http://a', to: 'open' } as const

const everybody = (): boolean => true

/** A history with a timer as its gateway has. */
function setUp (isKnown: (backend: string) => boolean = everybody) {
  const clock = virtualClock()
  const history = createHistory({ now: clock.now, wall: () => EPOCH + clock.now() })
  function wait (): void {
    clock.setTimeout(() => {
      history.tick(isKnown)
      wait()
    }, history.wait)
  }
  history.start()
  wait()
  return { clock, history }
}

function request (history: History, ms = 5, failed = false): void {
  history.begin()
  history.end(ms, failed)
}

t.test('there is a point each second, also where nothing happens', async t => {
  const { clock, history } = setUp()
  clock.advance(3_500)
  const { interval, points } = history.read()
  t.equal(interval, 1_000)
  t.strictSame(points, [1, 2, 3].map(second => ({ at: EPOCH + second * 1_000, requests: { count: 0, failures: 0, p50: 0, p95: 0, inFlight: 0 }, backends: {} })))
})

t.test('a point has what ended in it, and what runs at its end', async t => {
  const { clock, history } = setUp()
  for (const ms of [10, 20, 30]) request(history, ms, ms === 30)
  history.begin()
  history.attempt('users', 8, false)
  history.attempt('users', 12, true)
  history.attempt('__proto__', 1, false)
  clock.advance(1_000)
  history.end(700, false)
  clock.advance(1_000)
  const [first, second] = history.read().points
  t.match(first, { requests: { count: 3, failures: 1, inFlight: 1 }, backends: { users: { count: 2, failures: 1 } } })
  t.ok(Math.abs(first!.requests.p50 - 20) < 1 && Math.abs(first!.requests.p95 - 30) < 1.5, JSON.stringify(first))
  t.same(Object.keys(first!.backends).sort(), ['__proto__', 'users'])
  t.match(second, { requests: { count: 1, failures: 0, inFlight: 0 }, backends: {} })
  t.ok(Math.abs(second!.requests.p95 - 700) < 25, 'nothing of the first is left in it')
  t.same(second!.backends, {})
})

t.test('who went away is counted, but its duration says nothing', async t => {
  const { clock, history } = setUp()
  request(history, 10)
  history.begin()
  history.end(undefined, false)
  clock.advance(1_000)
  const { count, failures, p95 } = history.read().points[0]!.requests
  t.same([count, failures], [2, 0])
  t.ok(Math.abs(p95 - 10) < 0.5, String(p95))
})

t.test('a timer that comes late leaves no hole, and points stay at their times', async t => {
  const clock = virtualClock()
  const history = createHistory({ now: clock.now, wall: () => EPOCH + clock.now() })
  history.start()
  request(history)
  clock.advance(4_250)
  history.tick(everybody)
  t.same(history.read().points.map(({ at, requests: { count } }) => [at - EPOCH, count]), [[1_000, 1], [2_000, 0], [3_000, 0], [4_000, 0]])
  t.equal(history.wait, 750)
  clock.advance(10_000_000)
  request(history)
  history.tick(everybody)
  const { points } = history.read()
  t.equal(points.length, 300, 'a long standstill is no more than is kept')
  t.equal(points.reduce((sum, { requests }) => sum + requests.count, 0), 1)
  t.ok(points.at(-1)!.at > EPOCH + clock.now() - 1_000)
})

t.test('before it has been started there are no points, and what ended is in the first one', async t => {
  const clock = virtualClock()
  const history = createHistory({ now: clock.now, wall: () => EPOCH + clock.now() })
  request(history)
  clock.advance(5_000)
  history.tick(everybody)
  t.same(history.read().points, [])
  history.start()
  history.start()
  clock.advance(1_000)
  history.tick(everybody)
  t.match(history.read().points, [{ at: EPOCH + 6_000, requests: { count: 1 } }])
})

t.test('property: whatever ended is in one point, and there are never more than there is room for', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('request' as const), ms: fc.option(fc.integer({ min: 0, max: 10_000 }), { nil: undefined }), failed: fc.boolean() }),
    fc.record({ kind: fc.constant('attempt' as const), backend: fc.constantFrom('a', 'b', 'c'), failed: fc.boolean() }),
    fc.record({ kind: fc.constant('begin' as const) }),
    fc.record({ kind: fc.constant('change' as const), times: fc.integer({ min: 1, max: 150 }) }),
    fc.record({ kind: fc.constant('sample' as const), times: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 4_000 }) })
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), steps => {
    const { clock, history } = setUp()
    const ended = { requests: 0, failures: 0, running: 0, attempts: 0, attemptFailures: 0, changes: 0, samples: 0 }
    for (const step of steps) {
      if (step.kind === 'wait') clock.advance(step.ms)
      else if (step.kind === 'begin') {
        history.begin()
        ended.running++
      } else if (step.kind === 'request') {
        history.begin()
        history.end(step.ms, step.failed)
        ended.requests++
        if (step.failed) ended.failures++
      } else if (step.kind === 'attempt') {
        history.attempt(step.backend, 1, step.failed)
        ended.attempts++
        if (step.failed) ended.attemptFailures++
      } else if (step.kind === 'change') {
        for (let i = 0; i < step.times; i++) history.transition(CHANGE)
        ended.changes += step.times
      } else {
        for (let i = 0; i < step.times; i++) history.sample(SAMPLE)
        ended.samples += step.times
      }
    }
    clock.advance(1_000)
    const { points, transitions, samples } = history.read()
    const sum = (numbers: readonly number[]): number => numbers.reduce((one, other) => one + other, 0)
    const backends = points.flatMap(point => Object.values(point.backends))
    return points.length <= 300 &&
      sum(points.map(({ requests }) => requests.count)) === ended.requests &&
      sum(points.map(({ requests }) => requests.failures)) === ended.failures &&
      points.at(-1)!.requests.inFlight === ended.running &&
      sum(backends.map(({ count }) => count)) === ended.attempts &&
      sum(backends.map(({ failures }) => failures)) === ended.attemptFailures &&
      points.every((point, index) => index === 0 || point.at - points[index - 1]!.at === 1_000) &&
      transitions.length === Math.min(200, ended.changes) && (transitions.at(-1)?.id ?? 0) === ended.changes &&
      samples.length === Math.min(50, ended.samples) && (samples.at(-1)?.id ?? 0) === ended.samples &&
      transitions.every(({ id }, index) => index === 0 || id === transitions[index - 1]!.id + 1)
  }), { numRuns: 200 })
})

t.test('five minutes are kept, the oldest go first', async t => {
  const { clock, history } = setUp()
  clock.advance(1_000_000)
  const { points } = history.read()
  t.equal(points.length, 300)
  t.same([points[0]!.at - EPOCH, points.at(-1)!.at - EPOCH], [701_000, 1_000_000])
})

t.test('a point has at most 200 backends; those without work make room', async t => {
  const { clock, history } = setUp()
  for (let i = 0; i < 250; i++) history.attempt(`early-${i}`, 1, false)
  clock.advance(1_000)
  t.equal(Object.keys(history.read().points[0]!.backends).length, 200)
  // full, and nothing to do: from the next one on there is room
  clock.advance(1_000)
  for (let i = 0; i < 250; i++) history.attempt(`late-${i}`, 1, false)
  clock.advance(1_000)
  const names = Object.keys(history.read().points[2]!.backends)
  t.same([names.length, names.every(name => name.startsWith('late'))], [200, true])
})

t.test('backends that are gone make room, those that rest stay', async t => {
  const asked: string[] = []
  const { clock, history } = setUp(name => {
    asked.push(name)
    return name === 'rests'
  })
  history.attempt('rests', 1, false)
  history.attempt('gone', 1, false)
  clock.advance(1_000)
  t.same(Object.keys(history.read().points[0]!.backends), ['rests', 'gone'], 'what it did is told')
  clock.advance(2_000)
  t.same(asked, ['rests', 'gone', 'rests'])
})

t.test('10,000 transitions at once: the last 200 are kept', async t => {
  const { history } = setUp()
  for (let i = 0; i < 10_000; i++) history.transition({ ...CHANGE, target: `http://${i}` })
  const { transitions } = history.read()
  t.same([transitions.length, transitions[0], transitions.at(-1)!.id], [200, { ...CHANGE, target: 'http://9800', id: 9_801, at: EPOCH }, 10_000])
})

t.test('what was read does not change afterwards', async t => {
  const { clock, history } = setUp()
  history.transition(CHANGE)
  clock.advance(1_000)
  const read = history.read()
  const copy = structuredClone(read)
  history.transition(CHANGE)
  request(history)
  clock.advance(400_000)
  t.strictSame(read, copy)
})

t.test('listeners are told at once, of everything, until they end it', async t => {
  const { clock, history } = setUp()
  const events: RecentEvent[] = []
  const end = history.listeners.add(event => { events.push(event) }, () => {})
  history.transition(CHANGE)
  t.match(events, [{ kind: 'transition', transition: { ...CHANGE, id: 1 } }])
  history.sample(SAMPLE)
  clock.advance(1_000)
  t.same(events.map(({ kind }) => kind), ['transition', 'sample', 'point'])
  const { points, transitions, samples } = history.read()
  t.strictSame(events, [{ kind: 'transition', transition: transitions[0] }, { kind: 'sample', sample: samples[0] }, { kind: 'point', point: points[0] }])
  end()
  end()
  history.transition(CHANGE)
  t.equal(events.length, 3)
  t.equal(history.listeners.size, 0)
})

t.test('a listener that throws or rejects is complained of once, and the others are told', async t => {
  const { history } = setUp()
  const complaints: unknown[] = []
  let told = 0
  history.listeners.add(() => { throw new Error('thrown') }, error => { complaints.push((error as Error).message) })
  history.listeners.add(async () => { throw new Error('rejected') }, error => { complaints.push((error as Error).message) })
  history.listeners.add(() => { told++ }, () => {})
  for (let i = 0; i < 3; i++) history.transition(CHANGE)
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(told, 3)
  t.same(complaints.sort(), ['rejected', 'thrown'])
})

t.test('listeners may come and go while they are told', async t => {
  const { history } = setUp()
  const told: string[] = []
  let endSecond = (): void => {}
  history.listeners.add(() => {
    told.push('first')
    endSecond()
    history.listeners.add(() => { told.push('late') }, () => {})
  }, () => {})
  endSecond = history.listeners.add(() => { told.push('second') }, () => {})
  history.transition(CHANGE)
  t.same(told, ['first'])
})
