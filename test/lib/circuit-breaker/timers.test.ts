/** Timers and memory of many breakers. The timers of the process are watched too, for opossum has its own. */
import t from 'tap'
import { createHook } from 'node:async_hooks'
import { createBreaker } from '../../../lib/circuit-breaker/index.ts'
import type { Breaker } from '../../../lib/circuit-breaker/index.ts'
import { systemClock } from '../../../lib/deadlines.ts'
import { virtualClock } from '../../helper/time.ts'
import { asClock, breakerConfig, byShare, name, times } from './scene.ts'

/** Which of the process' timers were made in `work`, and which of those are gone. */
function watchTimers () {
  const made = new Map<number, NodeJS.Timeout>()
  const gone = new Set<number>()
  let watching = false
  const hook = createHook({
    init (id, type, _trigger, resource) { if (watching && type === 'Timeout') made.set(id, resource as NodeJS.Timeout) },
    destroy (id) { gone.add(id) }
  }).enable()
  return {
    during<T> (work: () => T): T {
      watching = true
      try { return work() } finally { watching = false }
    },
    made: () => [...made.values()],
    async left () {
      // `destroy` is told later.
      for (let i = 0; i < 3; i++) await new Promise(setImmediate)
      return [...made.keys()].filter(id => !gone.has(id)).length
    },
    stop () { hook.disable() }
  }
}

function fail (breaker: Breaker, count: number): void {
  for (const outcome of times(count, 'reset')) {
    const ticket = breaker.enter()
    if (ticket !== undefined) breaker.record(ticket, outcome)
  }
}

t.test('ten thousand closed breakers make no timers, though some calls fail', async t => {
  const watched = watchTimers()
  t.teardown(watched.stop)
  const clock = virtualClock()
  watched.during(() => {
    const config = breakerConfig({ ...byShare, failureThreshold: 3 })
    for (let i = 0; i < 10_000; i++) {
      const breaker = createBreaker(name, config, { clock: asClock(clock) })
      fail(breaker, 2)
      breaker.record(breaker.enter()!, 'ok')
    }
  })
  t.equal(watched.made().length, 0)
  t.equal(clock.pending, 0)
})

t.test('an open breaker has timers that keep no process alive, and none after shutdown', async t => {
  const watched = watchTimers()
  t.teardown(watched.stop)
  const breaker = createBreaker(name, breakerConfig(), { clock: systemClock })
  watched.during(() => fail(breaker, 3))
  t.equal(breaker.state, 'open')
  t.ok(watched.made().length >= 1)
  t.ok(watched.made().every(timer => !timer.hasRef()))
  t.ok(await watched.left() >= 1)
  breaker.shutdown()
  t.equal(await watched.left(), 0)
})

t.test('opossum has one timer while open, and none that repeat', async t => {
  const watched = watchTimers()
  t.teardown(watched.stop)
  const clock = virtualClock()
  const breaker = createBreaker(name, breakerConfig(), { clock: asClock(clock) })
  watched.during(() => breaker.open())
  t.equal(await watched.left(), 1)
  watched.during(() => clock.advance(1000))
  t.equal(breaker.state, 'half-open')
  t.equal(await watched.left(), 0)
})

t.test('real time does not open the door: only the clock does', async t => {
  const clock = virtualClock()
  const breaker = createBreaker(name, breakerConfig({ resetTimeout: 5 }), { clock: asClock(clock) })
  breaker.open()
  await new Promise(resolve => setTimeout(resolve, 15))
  t.equal(breaker.state, 'open')
  clock.advance(5)
  t.equal(breaker.state, 'half-open')
})

t.test('in no state are timers left after shutdown or closing', async t => {
  const watched = watchTimers()
  t.teardown(watched.stop)
  const clock = virtualClock()
  const ways: Record<string, (breaker: Breaker) => void> = {
    open: breaker => fail(breaker, 3),
    'half-open': breaker => { fail(breaker, 3); clock.advance(1000) },
    'half-open with a trial': breaker => { fail(breaker, 3); clock.advance(1000); breaker.enter() },
    'open again': breaker => { fail(breaker, 3); clock.advance(1000); fail(breaker, 1) },
    'open again by hand': breaker => { fail(breaker, 3); clock.advance(1000); breaker.open() },
    'closed and open again': breaker => { fail(breaker, 3); breaker.close(); breaker.open() },
    'closed by a trial': breaker => { fail(breaker, 3); clock.advance(1000); breaker.record(breaker.enter()!, 'ok') }
  }
  for (const [way, go] of Object.entries(ways)) {
    for (const end of ['shutdown', 'close'] as const) {
      const breaker = createBreaker(name, breakerConfig(), { clock: asClock(clock) })
      watched.during(() => {
        go(breaker)
        breaker[end]()
      })
      t.equal(await watched.left(), 0, `${way}, then ${end}: the process'`)
      t.equal(clock.pending, 0, `${way}, then ${end}: the clock's`)
    }
  }
  t.ok(watched.made().length > 0, 'opossum has made some')
})

t.test('on the real clock it is half-open in time', async t => {
  let halfOpen: (value: unknown) => void = () => {}
  const noticed = new Promise(resolve => { halfOpen = resolve })
  const breaker = createBreaker(name, breakerConfig({ resetTimeout: 20, onHalfOpen: () => halfOpen(undefined) }), { clock: systemClock })
  // The breaker's own timer does not keep the process alive.
  const guard = setTimeout(() => halfOpen(undefined), 5000)
  breaker.open()
  await noticed
  clearTimeout(guard)
  t.equal(breaker.state, 'half-open')
  breaker.shutdown()
})
