/** The rules of a circuit breaker, one by one, on a virtual clock. */
import t from 'tap'
import type { BreakerState } from '../../../lib/circuit-breaker/index.ts'
import type { Outcome } from '../../../lib/types.ts'
import { byShare, name, scene, times } from './scene.ts'

// ---------------------------------------------------------------- closed → open

t.test('a new breaker is closed and admits', async t => {
  const { breaker } = scene()
  t.equal(breaker.state, 'closed')
  t.equal(breaker.admits, true)
  t.equal(breaker.retryAfter, 0)
  t.same(breaker.stats, { consecutive: 0, window: undefined, openedAt: undefined, opened: 0 })
})

t.test('as many failures in a row as configured open it', async t => {
  const { breaker, calls } = scene()
  calls('reset', 'timeout')
  t.equal(breaker.state, 'closed')
  calls('server-error')
  t.equal(breaker.state, 'open')
  t.equal(breaker.admits, false)
  t.equal(breaker.enter(), undefined)
})

t.test('a success in between starts the row again', async t => {
  for (const success of ['ok', 'client-error'] as const) {
    const { breaker, calls } = scene()
    calls(...times(2, 'reset'), success, ...times(2, 'reset'))
    t.equal(breaker.state, 'closed', success)
    calls('reset')
    t.equal(breaker.state, 'open', success)
  }
})

t.test('aborted and rejected calls neither count nor start the row again, even if configured', async t => {
  for (const nothing of ['aborted', 'rejected'] as const) {
    const { breaker, calls } = scene({ outcomes: ['reset', 'aborted', 'rejected'] })
    calls(...times(9, nothing), 'reset', 'reset', ...times(9, nothing))
    t.equal(breaker.state, 'closed', nothing)
    calls('reset')
    t.equal(breaker.state, 'open', nothing)
  }
})

t.test('each configured outcome is a failure, each other one a success', async t => {
  const all: Outcome[] = ['ok', 'client-error', 'server-error', 'connect-error', 'reset', 'timeout', 'bad-response']
  for (const outcome of all) {
    const { breaker, calls } = scene({ failureThreshold: 1, outcomes: ['client-error', 'timeout'] })
    calls(outcome)
    t.equal(breaker.state, outcome === 'client-error' || outcome === 'timeout' ? 'open' : 'closed', outcome)
  }
})

t.test('without thresholds it opens by hand only', async t => {
  const { breaker, calls } = scene({ failureThreshold: undefined })
  calls(...times(1000, 'reset'))
  t.equal(breaker.state, 'closed')
  breaker.open()
  t.equal(breaker.state, 'open')
})

t.test('calls of a closed round share one frozen ticket', async t => {
  const { breaker } = scene()
  const ticket = breaker.enter()
  t.ok(Object.isFrozen(ticket))
  t.equal(breaker.enter(), ticket)
  t.match(ticket, { round: 0, trial: false })
  t.equal(ticket?.breaker, breaker)
})

t.test('opening and closing each begin a round', async t => {
  const { breaker, clock, calls, enter } = scene()
  calls(...times(3, 'reset'))
  clock.advance(1000)
  t.match(enter(), { round: 1, trial: true })
  breaker.close()
  t.match(enter(), { round: 2, trial: false })
})

// ---------------------------------------------------------------- the share of failures

t.test('the share of failures opens it, whatever the order', async t => {
  const { breaker, calls } = scene(byShare)
  calls('reset', 'ok', 'ok')
  t.equal(breaker.state, 'closed')
  calls('reset')
  t.equal(breaker.state, 'open')
})

t.test('a share below the threshold does not open it', async t => {
  const { breaker, calls } = scene(byShare)
  calls('ok', 'ok', 'reset', 'ok', 'reset')
  t.equal(breaker.state, 'closed')
})

t.test('the share does not count before there is volume', async t => {
  const { breaker, calls } = scene(byShare)
  calls(...times(3, 'reset'))
  t.equal(breaker.state, 'closed')
  calls('reset')
  t.equal(breaker.state, 'open')
})

t.test('a success never opens it, though it may complete the volume', async t => {
  const { breaker, calls } = scene(byShare)
  calls('reset', 'reset', 'reset', 'ok')
  t.equal(breaker.state, 'closed')
  calls('reset')
  t.equal(breaker.state, 'open')
})

t.test('aborted and rejected calls are no volume', async t => {
  const { breaker, calls } = scene(byShare)
  calls(...times(3, 'reset'), 'aborted', 'rejected')
  t.equal(breaker.state, 'closed')
  t.same(breaker.stats.window, { failures: 3, total: 3 })
})

t.test('failures that have left the window do not count', async t => {
  const { breaker, clock, calls } = scene(byShare)
  calls(...times(3, 'reset'))
  clock.advance(10_000)
  calls(...times(3, 'reset'))
  t.equal(breaker.state, 'closed')
  t.same(breaker.stats.window, { failures: 3, total: 3 })
})

t.test('either threshold opens it', async t => {
  const both = { failureThreshold: 3, errorThresholdPercentage: 50, volumeThreshold: 6 }
  const row = scene(both)
  row.calls(...times(3, 'reset'))
  t.equal(row.breaker.state, 'open', 'by the row')
  const share = scene(both)
  share.calls('reset', 'ok', 'reset', 'ok', 'ok', 'reset')
  t.equal(share.breaker.state, 'open', 'by the share')
})

t.test('a hundred percent can be reached', async t => {
  const { breaker, calls } = scene({ ...byShare, errorThresholdPercentage: 100 })
  calls(...times(4, 'reset'))
  t.equal(breaker.state, 'open')
})

// ---------------------------------------------------------------- open → half-open

t.test('it is open for the reset timeout, and half-open on time', async t => {
  const { breaker, clock, calls, changes } = scene()
  clock.advance(70)
  calls(...times(3, 'reset'))
  clock.advance(999)
  t.equal(breaker.state, 'open')
  clock.advance(1)
  t.equal(breaker.state, 'half-open')
  t.equal(breaker.admits, true)
  clock.advance(5000)
  t.same(changes, [['open', 70], ['half-open', 1070]])
})

t.test('it says how long there is to wait', async t => {
  const { breaker, clock, calls, enter } = scene()
  calls(...times(3, 'reset'))
  t.equal(breaker.retryAfter, 1000)
  clock.advance(400)
  t.equal(breaker.retryAfter, 600)
  clock.advance(600)
  t.equal(breaker.retryAfter, 0)
  enter()
  clock.advance(300)
  t.equal(breaker.retryAfter, 700, 'until the place of the trial is free at the latest')
})

t.test('while it does not admit there is something to wait for, be the timer late or not', async t => {
  const late = { now: () => time, setTimeout: () => 0 as unknown as NodeJS.Timeout, clearTimeout () {} }
  let time = 0
  const { breaker } = scene({}, { clock: late })
  breaker.open()
  time = 5000
  t.equal(breaker.admits, false)
  t.equal(breaker.retryAfter, 1)
})

t.test('a reset timeout longer than any timer does not end at once', async t => {
  const { breaker, clock } = scene({ resetTimeout: Infinity })
  breaker.open()
  clock.advance(2 ** 31 - 2)
  t.equal(breaker.state, 'open')
  clock.advance(1)
  t.equal(breaker.state, 'half-open')
})

// ---------------------------------------------------------------- half-open

function halfOpen (changes: Parameters<typeof scene>[0] = {}): ReturnType<typeof scene> {
  const here = scene(changes)
  here.breaker.open()
  here.clock.advance(1000)
  return here
}

t.test('no more trials than configured are under way', async t => {
  const { breaker, enter } = halfOpen({ halfOpenTrials: 2 })
  const first = enter()
  t.equal(breaker.admits, true)
  const second = enter()
  t.not(first, second)
  t.equal(first.trial, true)
  t.equal(breaker.admits, false)
  t.equal(breaker.enter(), undefined)
})

t.test('looking whether it admits takes no place', async t => {
  const { breaker } = halfOpen()
  for (let i = 0; i < 10; i++) t.equal(breaker.admits, true)
  t.ok(breaker.enter())
})

t.test('as many successes as trials close it', async t => {
  const { breaker, calls } = halfOpen({ halfOpenTrials: 3 })
  calls('ok', 'client-error')
  t.equal(breaker.state, 'half-open')
  calls('ok')
  t.equal(breaker.state, 'closed')
  t.equal(breaker.admits, true)
})

t.test('a failing trial opens it again for the full reset timeout', async t => {
  const { breaker, clock, calls, changes } = halfOpen({ halfOpenTrials: 2 })
  clock.advance(500)
  calls('ok', 'timeout')
  t.equal(breaker.state, 'open')
  t.equal(breaker.retryAfter, 1000)
  clock.advance(999)
  t.equal(breaker.state, 'open')
  clock.advance(1)
  t.same(changes, [['open', 0], ['half-open', 1000], ['open', 1500], ['half-open', 2500]])
})

t.test('successes of an earlier half-open state do not count in the next', async t => {
  const { breaker, clock, calls } = halfOpen({ halfOpenTrials: 2 })
  calls('ok', 'reset')
  clock.advance(1000)
  calls('ok')
  t.equal(breaker.state, 'half-open')
  calls('ok')
  t.equal(breaker.state, 'closed')
})

t.test('after closing, the counters begin at zero', async t => {
  const { breaker, clock, calls } = scene({ errorThresholdPercentage: 50, volumeThreshold: 4 })
  calls(...times(3, 'reset'))
  clock.advance(1000)
  calls('ok')
  calls('reset', 'reset')
  t.equal(breaker.state, 'closed')
  t.same(breaker.stats, { consecutive: 2, window: { failures: 2, total: 2 }, openedAt: 0, opened: 1 })
})

t.test('an aborted or rejected trial frees its place and decides nothing', async t => {
  for (const nothing of ['aborted', 'rejected'] as const) {
    const { breaker, enter } = halfOpen()
    breaker.record(enter(), nothing)
    t.equal(breaker.state, 'half-open', nothing)
    t.equal(breaker.admits, true, nothing)
  }
})

t.test('a released trial frees its place, once', async t => {
  const { breaker, enter } = halfOpen({ halfOpenTrials: 2 })
  const first = enter()
  enter()
  breaker.release(first)
  t.equal(breaker.admits, true)
  enter()
  breaker.release(first)
  t.equal(breaker.admits, false, 'the place of another one')
})

t.test('release after record changes nothing', async t => {
  const { breaker, enter } = halfOpen({ halfOpenTrials: 2 })
  const first = enter()
  breaker.record(first, 'ok')
  const [second, third] = [enter(), enter()]
  breaker.release(first)
  t.equal(breaker.admits, false)
  breaker.release(second)
  breaker.record(third, 'ok')
  t.equal(breaker.state, 'closed')
})

t.test('a trial decides once', async t => {
  const { breaker, enter } = halfOpen({ halfOpenTrials: 2 })
  const ticket = enter()
  breaker.record(ticket, 'ok')
  breaker.record(ticket, 'ok')
  t.equal(breaker.state, 'half-open')
  breaker.record(ticket, 'reset')
  t.equal(breaker.state, 'half-open')
})

t.test('record after release changes nothing', async t => {
  const { breaker, enter } = halfOpen()
  const ticket = enter()
  breaker.release(ticket)
  breaker.record(ticket, 'reset')
  t.equal(breaker.state, 'half-open')
})

t.test('a trial without a result gives its place up after the reset timeout', async t => {
  const { breaker, clock, enter } = halfOpen()
  enter()
  clock.advance(999)
  t.equal(breaker.admits, false)
  clock.advance(1)
  t.equal(breaker.admits, true)
  t.equal(breaker.retryAfter, 0)
  enter()
  t.equal(breaker.admits, false, 'the new one holds the place')
})

t.test('only what has had its time gives its place up', async t => {
  const { breaker, clock, enter } = halfOpen({ halfOpenTrials: 2 })
  enter()
  clock.advance(600)
  enter()
  clock.advance(400)
  enter()
  t.equal(breaker.admits, false)
  clock.advance(600)
  t.equal(breaker.admits, true)
})

t.test('a backend slower than the reset timeout can close the circuit', async t => {
  const { breaker, clock, enter } = halfOpen()
  const slow = enter()
  clock.advance(1500)
  enter()
  breaker.record(slow, 'ok')
  t.equal(breaker.state, 'closed')
})

// ---------------------------------------------------------------- older rounds

t.test('late failures of calls that went in before it opened change nothing', async t => {
  const { breaker, clock, calls, enter, changes } = scene()
  const old = enter()
  calls(...times(3, 'reset'))
  breaker.record(old, 'reset')
  clock.advance(1000)
  breaker.record(old, 'reset')
  t.equal(breaker.state, 'half-open')
  calls('ok')
  for (let i = 0; i < 3; i++) breaker.record(old, 'reset')
  t.equal(breaker.state, 'closed')
  t.same(changes.map(([state]) => state), ['open', 'half-open', 'closed'])
})

t.test('late successes of calls that went in before it opened do not close it', async t => {
  const { breaker, clock, calls, enter } = scene()
  const old = enter()
  calls(...times(3, 'reset'))
  breaker.record(old, 'ok')
  t.equal(breaker.state, 'open')
  clock.advance(1000)
  breaker.record(old, 'ok')
  t.equal(breaker.state, 'half-open')
})

t.test('a late success does not interrupt the row of a new round', async t => {
  const { breaker, calls, enter } = scene()
  const old = enter()
  breaker.open()
  breaker.close()
  calls('reset', 'reset')
  breaker.record(old, 'ok')
  calls('reset')
  t.equal(breaker.state, 'open')
})

t.test('a trial of an earlier half-open state changes nothing', async t => {
  const { breaker, clock, enter } = halfOpen({ halfOpenTrials: 2 })
  const [old, failing] = [enter(), enter()]
  breaker.record(failing, 'reset')
  breaker.release(old)
  breaker.record(old, 'ok')
  t.equal(breaker.state, 'open')
  clock.advance(1000)
  breaker.record(old, 'reset')
  t.equal(breaker.state, 'half-open')
})

t.test('a trial that ends after closing by hand changes nothing', async t => {
  const { breaker, calls, enter } = halfOpen({ failureThreshold: 2 })
  const trial = enter()
  breaker.close()
  calls('reset')
  breaker.record(trial, 'reset')
  t.equal(breaker.state, 'closed')
  breaker.release(trial)
  t.equal(breaker.stats.consecutive, 1)
})

t.test('the ticket of another breaker changes nothing', async t => {
  const [one, other] = [halfOpen(), halfOpen()]
  one.breaker.record(other.enter(), 'ok')
  t.equal(one.breaker.state, 'half-open')
})

// ---------------------------------------------------------------- by hand

t.test('opened by hand, it is half-open after the reset timeout', async t => {
  const { breaker, clock, changes } = scene()
  breaker.open()
  clock.advance(1000)
  t.same(changes, [['open', 0], ['half-open', 1000]])
})

t.test('opening an open breaker does not prolong it', async t => {
  const { breaker, clock, changes } = scene()
  breaker.open()
  clock.advance(600)
  breaker.open()
  clock.advance(400)
  t.same(changes, [['open', 0], ['half-open', 1000]])
  t.equal(breaker.stats.opened, 1)
})

t.test('opened by hand while half-open, it waits the full reset timeout', async t => {
  const { breaker, clock, enter, changes } = halfOpen()
  const trial = enter()
  clock.advance(300)
  breaker.open()
  breaker.record(trial, 'ok')
  clock.advance(999)
  t.equal(breaker.state, 'open')
  clock.advance(1)
  t.same(changes, [['open', 0], ['half-open', 1000], ['open', 1300], ['half-open', 2300]])
})

t.test('closed by hand, it stays closed', async t => {
  const { breaker, clock, calls, changes } = scene()
  calls(...times(3, 'reset'))
  clock.advance(10)
  breaker.close()
  t.equal(breaker.admits, true)
  t.equal(clock.pending, 0)
  clock.advance(10_000)
  t.same(changes, [['open', 0], ['closed', 10]])
})

t.test('closing a closed breaker changes nothing', async t => {
  const { breaker, calls, changes } = scene()
  calls('reset', 'reset')
  breaker.close()
  t.equal(breaker.stats.consecutive, 2)
  t.same(changes, [])
})

// ---------------------------------------------------------------- hooks

t.test('the hooks of the user are called with the name, after the change', async t => {
  const told: unknown[] = []
  const note = (what: string) => (breaker: unknown): void => { told.push([what, breaker, here.breaker.state]) }
  const here = scene({ onOpen: note('onOpen'), onHalfOpen: note('onHalfOpen'), onClose: note('onClose') })
  here.calls(...times(3, 'reset'))
  here.clock.advance(1000)
  here.calls('ok')
  t.same(told, [['onOpen', name, 'open'], ['onHalfOpen', name, 'half-open'], ['onClose', name, 'closed']])
})

t.test('a hook that throws or rejects harms nobody, and is reported', async t => {
  const errors: unknown[] = []
  const fail = (): never => { throw new Error('hook') }
  const { breaker, clock, calls } = scene(
    { onOpen: fail, onHalfOpen: async () => fail(), onClose: fail },
    { onHookError: (error, breaker) => errors.push([(error as Error).message, breaker.name]) }
  )
  calls(...times(3, 'reset'))
  clock.advance(1000)
  calls('ok')
  t.equal(breaker.state, 'closed')
  await new Promise(setImmediate)
  t.same(errors, [['hook', name], ['hook', name], ['hook', name]])
})

t.test('a hook that throws needs nobody to hear of it', async t => {
  const { breaker, clock } = scene({ onOpen () { throw new Error('hook') }, async onHalfOpen () { throw new Error('hook') } })
  breaker.open()
  clock.advance(1000)
  await new Promise(setImmediate)
  t.equal(breaker.state, 'half-open')
})

t.test('a hook may close what opened and open what closed', async t => {
  const states: BreakerState[] = []
  const here = scene(
    { onOpen: () => { if (states.length < 2) here.breaker.close() }, onClose: () => here.breaker.open() },
    { onChange: (_breaker, state) => { states.push(state) } }
  )
  here.calls(...times(3, 'reset'))
  t.same(states, ['open', 'closed', 'open'])
  t.equal(here.breaker.state, 'open')
  t.equal(here.clock.pending, 1)
})

// ---------------------------------------------------------------- statistics, shutdown

t.test('the statistics tell what happened', async t => {
  const { breaker, clock, calls } = scene({ ...byShare, failureThreshold: 2 })
  calls('ok', 'reset')
  t.same(breaker.stats, { consecutive: 1, window: { failures: 1, total: 2 }, openedAt: undefined, opened: 0 })
  clock.advance(500)
  calls('reset')
  t.same(breaker.stats, { consecutive: 2, window: { failures: 2, total: 3 }, openedAt: 500, opened: 1 })
  clock.advance(1000)
  calls('reset')
  t.same(breaker.stats, { consecutive: 3, window: { failures: 2, total: 3 }, openedAt: 1500, opened: 2 })
  clock.advance(20_000)
  t.same(breaker.stats.window, { failures: 0, total: 0 })
})

t.test('after shutdown it admits everything, never opens and tells nothing', async t => {
  for (const begin of ['closed', 'open', 'half-open'] as const) {
    const here = begin === 'half-open' ? halfOpen() : scene()
    if (begin === 'open') here.breaker.open()
    const trial = begin === 'half-open' ? here.enter() : undefined
    const before = [...here.changes]
    here.breaker.shutdown()
    here.breaker.shutdown()
    if (trial !== undefined) here.breaker.record(trial, 'reset')
    here.calls(...times(10, 'reset'))
    here.breaker.open()
    here.clock.advance(5000)
    t.equal(here.breaker.state, 'closed', begin)
    t.equal(here.breaker.admits, true, begin)
    t.same(here.changes, before, begin)
    t.equal(here.clock.pending, 0, begin)
  }
})
