/** Random schedules with several calls under way, beside a plain model of the rules. */
import t from 'tap'
import fc from 'fast-check'
import type { BreakerState, Ticket } from '../../../lib/circuit-breaker/index.ts'
import type { BreakerConfig } from '../../../lib/resilience/types.ts'
import type { Outcome } from '../../../lib/types.ts'
import { breakerConfig, scene } from './scene.ts'

type Step =
  | { readonly do: 'enter' | 'open' | 'close' }
  | { readonly do: 'record', readonly which: number, readonly outcome: Outcome }
  | { readonly do: 'release', readonly which: number }
  | { readonly do: 'advance', readonly ms: number }

interface ModelCall { readonly era: number, readonly trial: boolean, readonly since: number, over: boolean }

/** Keeps every call and every outcome of an era, and works all else out from them whenever asked. */
function createModel (config: BreakerConfig) {
  const { resetTimeout, halfOpenTrials } = config
  const failures = new Set<Outcome>(config.outcomes)
  let time = 0
  let era = 0
  let openUntil: number | undefined
  let history: Array<{ at: number, failed: boolean }> = []
  let trialSuccesses = 0
  const calls: ModelCall[] = []
  const events: Array<[BreakerState, number]> = []

  const state = (): BreakerState => openUntil === undefined ? 'closed' : time < openUntil ? 'open' : 'half-open'
  const holding = (): ModelCall[] => calls.filter(call => call.trial && call.era === era && !call.over && time < call.since + resetTimeout)
  const admits = (): boolean => state() === 'closed' || (state() === 'half-open' && holding().length < halfOpenTrials)

  function retryAfter (): number {
    if (admits()) return 0
    return state() === 'open' ? openUntil! - time : Math.min(...holding().map(call => call.since + resetTimeout - time))
  }

  function open (): void {
    if (state() === 'open') return
    era++
    openUntil = time + resetTimeout
    trialSuccesses = 0
    events.push(['open', time])
  }

  function close (): void {
    if (state() === 'closed') return
    era++
    openUntil = undefined
    history = []
    events.push(['closed', time])
  }

  function mustOpen (): boolean {
    const row = history.length - 1 - history.findLastIndex(one => !one.failed)
    if (config.failureThreshold !== undefined && row >= config.failureThreshold) return true
    if (config.errorThresholdPercentage === undefined) return false
    const tenth = config.rollingWindow / 10
    const recent = history.filter(({ at }) => Math.floor(at / tenth) > Math.floor(time / tenth) - 10)
    const failed = recent.filter(one => one.failed).length
    return recent.length >= config.volumeThreshold && failed / recent.length >= config.errorThresholdPercentage / 100
  }

  return {
    state,
    admits,
    retryAfter,
    events,
    open,
    close,
    enter (): ModelCall | undefined {
      if (!admits()) return undefined
      const call = { era, trial: state() === 'half-open', since: time, over: false }
      calls.push(call)
      return call
    },
    record (call: ModelCall, outcome: Outcome): void {
      if (call.era !== era || (call.trial && call.over)) return
      call.over = true
      if (outcome === 'aborted' || outcome === 'rejected') return
      const failed = failures.has(outcome)
      if (call.trial) {
        if (failed) return open()
        if (++trialSuccesses === halfOpenTrials) close()
      } else {
        history.push({ at: time, failed })
        if (failed && mustOpen()) open()
      }
    },
    release (call: ModelCall): void { call.over = true },
    advance (ms: number): void {
      const before = state()
      time += ms
      if (before === 'open' && state() === 'half-open') events.push(['half-open', openUntil!])
    }
  }
}

const outcomes: fc.Arbitrary<Outcome> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Outcome>('reset') },
  { weight: 4, arbitrary: fc.constant<Outcome>('ok') },
  { weight: 2, arbitrary: fc.constantFrom<Outcome>('client-error', 'server-error', 'timeout', 'aborted', 'rejected') }
)

const configs = fc.record({
  failureThreshold: fc.constantFrom(undefined, 1, 2, 3, 5),
  errorThresholdPercentage: fc.constantFrom(undefined, 20, 50, 80, 100),
  volumeThreshold: fc.integer({ min: 1, max: 6 }),
  rollingWindow: fc.constantFrom(50, 200, 1000),
  resetTimeout: fc.constantFrom(20, 100, 300),
  halfOpenTrials: fc.integer({ min: 1, max: 4 })
})

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Step>({ do: 'enter' }) },
  // `which` counts back from the newest call: mostly young ones, some from long ago
  { weight: 8, arbitrary: fc.record({ do: fc.constant('record' as const), which: fc.oneof(fc.nat(4), fc.nat(40)), outcome: outcomes }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.oneof(fc.nat(4), fc.nat(40)) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.oneof(fc.nat(30), fc.constantFrom(19, 20, 99, 100, 300), fc.nat(500)) }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'open' }, { do: 'close' }) }
)

t.test('any schedule takes the same way as the model', async t => {
  const seen = { opened: 0, reopened: 0, closedByTrial: 0, refusedTrial: 0, late: 0 }

  fc.assert(fc.property(configs, fc.array(steps, { minLength: 40, maxLength: 150 }), (changes, schedule) => {
    const { breaker, clock, changes: told } = scene(changes)
    const model = createModel(breakerConfig(changes))
    const calls: Array<{ ticket: Ticket, call: ModelCall, recorded: boolean }> = []
    const way: string[] = []

    for (const step of schedule) {
      way.push(`${clock.now()} ${JSON.stringify(step)}`)
      const before = model.state()
      if (step.do === 'enter') {
        const [ticket, call] = [breaker.enter(), model.enter()]
        if ((ticket === undefined) !== (call === undefined) || ticket?.trial !== call?.trial) throw new Error(`another answer at the door:\n${way.join('\n')}`)
        if (ticket !== undefined && call !== undefined) calls.push({ ticket, call, recorded: false })
        else if (before === 'half-open') seen.refusedTrial++
      } else if (step.do === 'record') {
        const one = calls.at(-1 - step.which)
        // Once a call, as the contract says.
        if (one === undefined || one.recorded) continue
        one.recorded = true
        const eventsBefore = model.events.length
        breaker.record(one.ticket, step.outcome)
        model.record(one.call, step.outcome)
        if (model.events.length === eventsBefore) {
          if (before !== 'closed' && !one.call.trial) seen.late++
        } else if (before === 'half-open') seen[model.state() === 'closed' ? 'closedByTrial' : 'reopened']++
        else seen.opened++
      } else if (step.do === 'release') {
        const one = calls.at(-1 - step.which)
        if (one === undefined) continue
        // A closed round's call that is released may still be recorded in the house's own flow: only trials have a place.
        breaker.release(one.ticket)
        model.release(one.call)
      } else if (step.do === 'advance') {
        clock.advance(step.ms)
        model.advance(step.ms)
      } else {
        breaker[step.do]()
        model[step.do]()
      }
      const got = [breaker.state, breaker.admits, breaker.retryAfter, told]
      const wanted = [model.state(), model.admits(), model.retryAfter(), model.events]
      if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(got)}\ninstead of\n${JSON.stringify(wanted)}\nafter\n${way.join('\n')}`)
    }

    breaker.shutdown()
    if (clock.pending > 0) throw new Error(`timers are left after\n${way.join('\n')}`)
  }), { seed: 20_26, numRuns: 1000 })

  for (const [what, times] of Object.entries(seen)) t.ok(times >= 50, `the schedules came by: ${what} (${times})`)
})
