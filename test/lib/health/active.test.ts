/** The rules of active health, one by one, and random schedules beside a plain model. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { createActiveCheck } from '../../../lib/health/index.ts'
import type { ProbeResult } from '../../../lib/health/index.ts'
import type { HealthConfig } from '../../../lib/resilience/types.ts'
import { seededRandom } from '../../helper/time.ts'
import { clocks, healthConfig } from './scene.ts'

const GOOD: ProbeResult = { ok: true, status: 200, duration: 1 }
const BAD: ProbeResult = { ok: false, status: 500, duration: 1 }

/** A check whose probes are answered by hand. */
function scene (config: Partial<HealthConfig> = {}, random = () => 0.5) {
  const { time, clock } = clocks()
  const probes: Array<{ at: number, done: (result: ProbeResult) => void, cancelled: boolean }> = []
  const changes: boolean[] = []
  const facts = { lastSuccess: -Infinity, onChange: (_healthy: boolean) => {} }
  const check = createActiveCheck(healthConfig(config), {
    clock,
    random,
    probe (done) {
      const probe = { at: time.now(), done, cancelled: false }
      probes.push(probe)
      return { cancel () { probe.cancelled = true } }
    },
    lastSuccess: () => facts.lastSuccess,
    onChange (healthy) { changes.push(healthy); facts.onChange(healthy) }
  })
  const answer = (result: ProbeResult) => probes.at(-1)!.done(result)
  /** Answers the running probe, then waits for the next one. */
  const round = (result: ProbeResult) => { answer(result); time.advance(100) }
  return { time, check, probes, changes, facts, answer, round }
}

t.test('the state before the first result is the initial one', async t => {
  t.equal(scene().check.healthy, true)
  t.equal(scene({ initial: 'unhealthy' }).check.healthy, false)
})

t.test('the first probe comes at once, and once', async t => {
  const { check, probes } = scene()
  t.equal(probes.length, 0)
  check.start()
  check.start()
  t.equal(probes.length, 1)
})

t.test('the first failure makes a target unhealthy at once', async t => {
  const { check, changes, answer } = scene()
  check.start()
  answer(BAD)
  t.equal(check.healthy, false)
  t.strictSame(changes, [false])
})

t.test('the first success makes a target healthy at once', async t => {
  const { check, changes, answer } = scene({ initial: 'unhealthy' })
  check.start()
  answer(GOOD)
  t.equal(check.healthy, true)
  t.strictSame(changes, [true])
})

t.test('a result that agrees with the state is no change', async t => {
  const { check, changes, round } = scene()
  check.start()
  round(GOOD)
  round(GOOD)
  t.strictSame(changes, [])
})

t.test('a healthy target falls after `fall` failures in a row', async t => {
  const { check, changes, round } = scene({ fall: 3 })
  check.start()
  for (const result of [GOOD, BAD, BAD, GOOD, BAD, BAD]) round(result)
  t.equal(check.healthy, true)
  round(BAD)
  t.equal(check.healthy, false)
  t.strictSame(changes, [false])
})

t.test('an unhealthy target rises after `rise` successes in a row', async t => {
  const { check, changes, round } = scene({ rise: 2 })
  check.start()
  for (const result of [BAD, GOOD, BAD, GOOD]) round(result)
  t.equal(check.healthy, false)
  round(GOOD)
  t.equal(check.healthy, true)
  t.strictSame(changes, [false, true])
})

t.test('the next probe comes an interval after the end of the last', async t => {
  const { time, check, probes, answer } = scene({ timeout: 1000 })
  check.start()
  time.advance(500)
  t.equal(probes.length, 1)
  answer(GOOD)
  time.advance(99)
  t.equal(probes.length, 1)
  time.advance(1)
  t.equal(probes.length, 2)
})

t.test('an unhealthy target is asked at its own interval', async t => {
  const { time, check, probes, answer } = scene({ unhealthyInterval: 30 })
  check.start()
  answer(BAD)
  time.advance(29)
  t.equal(probes.length, 1)
  time.advance(1)
  t.equal(probes.length, 2)
})

t.test('jitter moves a probe both ways, by its share of the interval', async t => {
  for (const [lot, wait] of [[0, 90], [0.5, 100], [1, 110]] as const) {
    const { time, check, probes, answer } = scene({ jitter: 0.1 }, () => lot)
    check.start()
    answer(GOOD)
    time.advance(wait - 0.01)
    t.equal(probes.length, 1)
    time.advance(0.02)
    t.equal(probes.length, 2)
  }
})

t.test('jitter does not carry the longest interval beyond what a timer can wait', async t => {
  const { time, check, probes, answer } = scene({ interval: 2 ** 31 - 1, jitter: 1 }, () => 0.99)
  check.start()
  answer(GOOD)
  time.advance(2 ** 31 - 1)
  t.equal(probes.length, 2)
})

t.test('a probe that takes too long is cancelled and has failed', async t => {
  const { time, check, probes } = scene({ timeout: 20 })
  check.start()
  time.advance(19)
  t.equal(probes[0]!.cancelled, false)
  time.advance(1)
  t.equal(probes[0]!.cancelled, true)
  t.equal(check.healthy, false)
  t.strictSame(check.status, { last: { ok: false, error: 'timeout', duration: 20 }, lastAt: 20, successes: 0, failures: 1, checks: 1, skipped: 0 })
})

t.test('a result after the timeout changes nothing', async t => {
  const { time, check, probes, changes } = scene()
  check.start()
  time.advance(20)
  const before = check.status
  probes[0]!.done(GOOD)
  t.strictSame(check.status, before)
  t.strictSame(changes, [false])
  t.equal(time.pending, 1)
})

t.test('a second result of one probe changes nothing', async t => {
  const { time, check, probes } = scene()
  check.start()
  probes[0]!.done(GOOD)
  probes[0]!.done(BAD)
  t.equal(check.status.checks, 1)
  t.equal(check.healthy, true)
  t.equal(time.pending, 1)
})

t.test('a probe that answers while it is cancelled for its time has still failed', async t => {
  const { time, clock } = clocks()
  const check = createActiveCheck(healthConfig(), {
    clock,
    random: () => 0.5,
    probe: done => ({ cancel () { done(GOOD) } }),
    onChange () {}
  })
  check.start()
  time.advance(20)
  t.equal(check.healthy, false)
  t.equal(check.status.checks, 1)
})

t.test('a probe that times out is cancelled before the change is told', async t => {
  const { time, check, probes, facts } = scene()
  facts.onChange = () => {
    t.equal(probes[0]!.cancelled, true)
    check.checkNow()
  }
  check.start()
  time.advance(20)
  t.equal(probes.length, 2)
})

t.test('a probe function that throws has failed, and the next one comes', async t => {
  const { time, clock } = clocks()
  let probes = 0
  const check = createActiveCheck(healthConfig(), {
    clock,
    random: () => 0.5,
    probe () { probes++; throw new Error('no such host') },
    onChange () {}
  })
  check.start()
  t.equal(check.healthy, false)
  t.strictSame(check.status.last, { ok: false, error: 'no such host', duration: 0 })
  time.advance(100)
  t.equal(probes, 2)
})

t.test('a probe may answer before it returns', async t => {
  const { time, clock } = clocks()
  const check = createActiveCheck(healthConfig(), { clock, random: () => 0.5, probe (done) { done(BAD); return { cancel: () => t.fail('cancelled') } }, onChange () {} })
  check.start()
  t.equal(check.healthy, false)
  t.equal(await check.checkNow(), false)
  time.advance(100)
  t.equal(check.status.checks, 3)
})

t.test('what onChange throws inside a probe that answers at once is not taken for a failed probe', async t => {
  const { clock } = clocks()
  const check = createActiveCheck(healthConfig(), {
    clock,
    random: () => 0.5,
    probe (done) { done(BAD); return { cancel () {} } },
    onChange () { throw new Error('mine') }
  })
  t.throws(() => check.start(), { message: 'mine' })
  t.equal(check.status.checks, 1)
})

t.test('checkNow joins a running probe', async t => {
  const { check, probes, answer } = scene()
  check.start()
  const both = Promise.all([check.checkNow(), check.checkNow()])
  t.equal(probes.length, 1)
  answer(BAD)
  t.strictSame(await both, [false, false])
})

t.test('checkNow probes at once between two probes, and the next comes an interval later', async t => {
  const { time, check, probes, round, answer } = scene()
  check.start()
  answer(GOOD)
  time.advance(50)
  const checked = check.checkNow()
  t.equal(probes.length, 2)
  round(GOOD)
  t.equal(await checked, true)
  t.strictSame(probes.map(({ at }) => at), [0, 50, 150])
})

t.test('checkNow says the state, not the result', async t => {
  const { check, round, answer } = scene()
  check.start()
  round(BAD)
  const checked = check.checkNow()
  answer(GOOD)
  t.equal(await checked, false, 'one success of two')
})

t.test('checkNow of a stopped check says the state and asks nobody', async t => {
  const { check, probes } = scene()
  t.equal(await check.checkNow(), true)
  t.equal(probes.length, 0)
})

t.test('stop cancels the running probe and every timer, and ends the waiting', async t => {
  const { time, check, probes } = scene()
  check.start()
  const checked = check.checkNow()
  check.stop()
  t.equal(await checked, true)
  t.equal(probes[0]!.cancelled, true)
  t.equal(time.pending, 0)
  probes[0]!.done(BAD)
  t.equal(check.healthy, true)
  t.equal(check.status.checks, 0)
  t.equal(time.pending, 0)
})

t.test('stop between two probes leaves no timer', async t => {
  const { time, check, answer } = scene()
  check.start()
  answer(GOOD)
  check.stop()
  check.stop()
  t.equal(time.pending, 0)
})

t.test('stop inside the probe function cancels that probe', async t => {
  const { time, clock } = clocks()
  let cancelled = 0
  const check = createActiveCheck(healthConfig(), { clock, random: () => 0.5, probe () { check.stop(); return { cancel () { cancelled++ } } }, onChange () {} })
  check.start()
  t.equal(cancelled, 1)
  t.equal(time.pending, 0)
})

t.test('onChange may stop the check', async t => {
  const { time, check, facts, answer } = scene()
  facts.onChange = () => check.stop()
  check.start()
  answer(BAD)
  t.equal(time.pending, 0)
})

t.test('start after stop keeps the state, and its first result decides at once', async t => {
  const { check, probes, changes, round, answer } = scene()
  check.start()
  round(BAD)
  check.stop()
  check.start()
  t.equal(check.healthy, false)
  t.equal(check.status.failures, 0)
  t.equal(probes.length, 3)
  answer(GOOD)
  t.equal(check.healthy, true)
  t.strictSame(changes, [false, true])
})

t.test('the result of a probe from before a stop does not count after the next start', async t => {
  const { check, probes } = scene()
  check.start()
  check.stop()
  check.start()
  probes[0]!.done(BAD)
  t.equal(check.healthy, true)
  t.equal(check.status.checks, 0)
})

t.test('a recent success of real traffic spares a healthy target the probe', async t => {
  const { time, check, probes, facts, answer } = scene({ skipIfRecent: true })
  check.start()
  answer(GOOD)
  time.advance(50)
  facts.lastSuccess = 50
  time.advance(50)
  t.equal(probes.length, 1)
  t.strictSame(check.status, { last: GOOD, lastAt: 0, successes: 2, failures: 0, checks: 1, skipped: 1 })
  time.advance(100)
  t.equal(probes.length, 2, 'too old by then')
})

t.test('a success exactly an interval ago is not recent', async t => {
  const { time, check, probes, facts, answer } = scene({ skipIfRecent: true })
  check.start()
  facts.lastSuccess = 0
  answer(GOOD)
  time.advance(100)
  t.equal(probes.length, 2)
})

t.test('a spared probe breaks a row of failures', async t => {
  const { time, check, facts, round } = scene({ skipIfRecent: true, fall: 2 })
  check.start()
  round(GOOD)
  facts.lastSuccess = 150
  round(BAD)
  facts.lastSuccess = -Infinity
  time.advance(100)
  round(BAD)
  t.equal(check.healthy, true)
  t.equal(check.status.failures, 1)
})

t.test('a recent success does not spare an unhealthy target', async t => {
  const { time, check, probes, facts, round } = scene({ skipIfRecent: true })
  check.start()
  facts.lastSuccess = time.now() + 50
  round(BAD)
  t.equal(probes.length, 2)
})

t.test('a recent success spares nothing when it is not asked for', async t => {
  const { check, probes, facts } = scene()
  facts.lastSuccess = 0
  check.start()
  t.equal(probes.length, 1)
})

t.test('a recent success may stand for the first probe', async t => {
  const { check, probes, facts, round } = scene({ skipIfRecent: true })
  facts.lastSuccess = 0
  check.start()
  t.equal(probes.length, 0)
  const checked = check.checkNow()
  t.equal(probes.length, 1, 'checkNow is never spared')
  round(BAD)
  t.equal(await checked, true, 'the first result was the spared one')
})

// ---------------------------------------------------------------- beside a model

/** What a probe will do: answer at once, after a while, not at all, or throw. */
type Plan = { readonly kind: 'answer', readonly ok: boolean, readonly after: number } | { readonly kind: 'silent' } | { readonly kind: 'throw' }
type Action = { readonly do: 'start' | 'stop' | 'checkNow' | 'traffic' } | { readonly do: 'advance', readonly ms: number }

interface Schedule {
  readonly config: HealthConfig
  readonly plans: readonly Plan[]
  readonly actions: readonly Action[]
}

/** What happened, in order, and the state after each action. */
interface Story { readonly events: string[], readonly states: string[] }

const SEED = 11

function planOf (schedule: Schedule, nth: number): Plan {
  return schedule.plans[nth % schedule.plans.length]!
}

async function play (schedule: Schedule): Promise<Story> {
  const { time, clock } = clocks()
  const story: Story = { events: [], states: [] }
  let asked = 0
  let running = 0
  let traffic = -Infinity
  const check = createActiveCheck(schedule.config, {
    clock,
    random: seededRandom(SEED),
    probe (done) {
      const nth = asked++
      const plan = planOf(schedule, nth)
      story.events.push(`${time.now()} probe ${nth}`)
      if (plan.kind === 'throw') throw new Error('thrown')
      if (++running > 1) story.events.push('overlap')
      const end = (): void => { running = Math.max(0, running - 1) }
      let over = false
      const finish = (ok: boolean): void => {
        if (!over) { over = true; end() }
        done({ ok, duration: 0 })
      }
      if (plan.kind === 'answer' && plan.after === 0) finish(plan.ok)
      // a cancelled probe still answers, late: it must change nothing
      else if (plan.kind === 'answer') time.setTimeout(() => finish(plan.ok), plan.after)
      return { cancel () { story.events.push(`${time.now()} cancel ${nth}`); over = true; end() } }
    },
    lastSuccess: () => traffic,
    onChange (healthy) { story.events.push(`${time.now()} ${healthy}`) }
  })
  const waits: Array<Promise<boolean>> = []
  for (const action of schedule.actions) {
    if (action.do === 'start') check.start()
    if (action.do === 'stop') check.stop()
    if (action.do === 'checkNow') waits.push(check.checkNow())
    if (action.do === 'traffic') traffic = time.now()
    if (action.do === 'advance') time.advance(action.ms)
    const { successes, failures, checks, skipped, lastAt } = check.status
    story.states.push([check.healthy, successes, failures, checks, skipped, lastAt].join())
  }
  check.stop()
  await Promise.all(waits)
  return story
}

/** No timers and no callbacks: from the time of one event to the next, the state worked out from all results since the start. */
function tell ({ config, plans, actions }: Schedule): Story {
  const story: Story = { events: [], states: [] }
  const random = seededRandom(SEED)
  let now = 0
  let asked = 0
  let traffic = -Infinity
  let before = config.initial === 'healthy'
  let results: boolean[] = []
  let probe: { nth: number, endsAt: number, ok: boolean, late: boolean } | undefined
  let next = Infinity
  let on = false
  let [checks, skipped] = [0, 0]
  let lastAt: number | undefined

  const row = (ok: boolean, upTo = results.length): number => {
    let length = 0
    while (length < upTo && results[upTo - 1 - length] === ok) length++
    return length
  }
  const state = (): boolean => {
    let healthy = before
    for (let i = 1; i <= results.length; i++) {
      const ok = results[i - 1]!
      if (i === 1 || row(ok, i) >= (ok ? config.rise : config.fall)) healthy = ok
    }
    return healthy
  }
  const add = (ok: boolean): void => {
    const was = state()
    results.push(ok)
    const is = state()
    next = now + Math.max(1, (is ? config.interval : config.unhealthyInterval) * (1 - config.jitter + 2 * config.jitter * random()))
    if (was !== is) story.events.push(`${now} ${is}`)
  }
  const end = (ok: boolean): void => {
    probe = undefined
    checks++
    lastAt = now
    add(ok)
  }
  const ask = (): void => {
    next = Infinity
    const nth = asked++
    const plan = plans[nth % plans.length]!
    story.events.push(`${now} probe ${nth}`)
    if (plan.kind === 'throw') return end(false)
    if (plan.kind === 'answer' && plan.after === 0) return end(plan.ok)
    const late = plan.kind === 'silent' || plan.after >= config.timeout
    probe = { nth, endsAt: now + (late ? config.timeout : plan.after), ok: !late && plan.ok, late }
  }
  const due = (): void => {
    if (!(config.skipIfRecent && state() && now - traffic < config.interval)) return ask()
    skipped++
    add(true)
  }
  const pass = (ms: number): void => {
    const until = now + ms
    for (;;) {
      const at = Math.min(probe?.endsAt ?? Infinity, next)
      if (at > until) break
      now = at
      if (probe === undefined) { due(); continue }
      if (probe.late) story.events.push(`${now} cancel ${probe.nth}`)
      end(probe.ok)
    }
    now = until
  }
  for (const action of actions) {
    if (action.do === 'traffic') traffic = now
    if (action.do === 'advance') pass(action.ms)
    if (action.do === 'checkNow' && on && probe === undefined) ask()
    if (action.do === 'start' && !on) {
      before = state()
      results = []
      on = true
      due()
    }
    if (action.do === 'stop') {
      if (probe !== undefined) story.events.push(`${now} cancel ${probe.nth}`)
      probe = undefined
      next = Infinity
      on = false
    }
    story.states.push([state(), row(true), row(false), checks, skipped, lastAt].join())
  }
  if (probe !== undefined) story.events.push(`${now} cancel ${probe.nth}`)
  return story
}

const schedules: fc.Arbitrary<Schedule> = fc.record({
  config: fc.record({
    interval: fc.integer({ min: 1, max: 60 }),
    unhealthyInterval: fc.integer({ min: 1, max: 60 }),
    jitter: fc.constantFrom(0, 0.25, 1),
    timeout: fc.integer({ min: 1, max: 30 }),
    rise: fc.integer({ min: 1, max: 3 }),
    fall: fc.integer({ min: 1, max: 3 }),
    initial: fc.constantFrom('healthy' as const, 'unhealthy' as const),
    skipIfRecent: fc.boolean()
  }).map(config => healthConfig(config)),
  plans: fc.array(fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('answer' as const), ok: fc.boolean(), after: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'silent' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'throw' as const }) }
  ), { minLength: 1, maxLength: 20, size: 'max' }),
  actions: fc.array(fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(80) }) },
    { weight: 2, arbitrary: fc.constant({ do: 'start' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'stop' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'checkNow' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'traffic' as const }) }
  ), { maxLength: 60, size: 'max' }).map(actions => [{ do: 'start' as const }, ...actions])
})

t.test('any schedule of probes, starts, stops and checkNow goes as a plain model says', async t => {
  let events = 0
  await fc.assert(fc.asyncProperty(schedules, async schedule => {
    const played = await play(schedule)
    const told = tell(schedule)
    events += told.events.length
    assert.equal(rounded(played.events), rounded(told.events))
    assert.equal(rounded(played.states), rounded(told.states))
  }), { seed: 5, numRuns: 300 })
  t.ok(events > 3000, `${events} events`)
})

/** Times to a millionth: the model adds in another order. */
function rounded (lines: readonly string[]): string {
  return lines.map(line => line.replace(/\d+\.\d+/g, number => Number(number).toFixed(6).replace(/\.?0+$/, ''))).join('\n')
}
