/** Random interleavings of requests, answers, failures and time, beside a plain model of the rules. */
import t from 'tap'
import fc from 'fast-check'
import { CACHE, scene, settled, tenantOf } from './directory-scene.ts'
import type { TenantCacheConfig } from '../../../lib/tenancy/index.ts'

const PAUSE = 1_000
const IDS = ['a', 'b', '__proto__']

type Answer = 'tenant' | 'refused' | 'nothing' | 'bad' | 'error'

type Step =
  | { readonly do: 'get', readonly id: string, readonly atOnce: Answer | undefined }
  | { readonly do: 'settle', readonly which: number, readonly answer: Answer }
  | { readonly do: 'advance', readonly ms: number }
  | { readonly do: 'forget', readonly id: string }
  | { readonly do: 'clear' }

const answer = fc.constantFrom<Answer>('tenant', 'refused', 'nothing', 'bad', 'error')
const id = fc.constantFrom(...IDS)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('get' as const), id, atOnce: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: answer }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('settle' as const), which: fc.nat(5), answer }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.oneof(fc.constantFrom(1, 400, 999, 1_000, 2_000, 3_999, 5_000, 10_000), fc.integer({ min: 1, max: 12_000 })) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), id }) },
  { weight: 1, arbitrary: fc.constant({ do: 'clear' as const }) }
)
const caches = fc.record({
  ttl: fc.constantFrom(0, 1_500, 4_000, 60_000),
  negativeTtl: fc.constantFrom(0, 500, 3_000),
  staleIfError: fc.constantFrom(0, 5_000, 3_600_000),
  timeout: fc.constantFrom(2_000, 5_000)
})

interface ModelLoad { readonly id: string, readonly number: number, readonly begunAt: number, over: boolean, unwanted: boolean, settled: boolean, readonly waiting: Delivery[] }
interface Kept { readonly at: number, readonly number: number, readonly value: string | undefined }
/** What one request was given. */
interface Delivery { readonly id: string, given: { value: string | undefined } | 'rejected' | undefined }

/** Keeps all that has happened and works out from it what must come next. */
function createModel (cache: TenantCacheConfig) {
  const loads: ModelLoad[] = []
  const kept = new Map<string, Kept>()
  const failing = new Map<string, number>()
  const told: string[] = []
  let time = 1_000
  let forgottenUpTo = 0

  const ttlOf = ({ value }: Kept) => value === undefined ? cache.negativeTtl : cache.ttl
  const isFresh = (one: Kept | undefined) => one !== undefined && time < one.at + ttlOf(one)
  const isGood = (one: Kept | undefined) => one !== undefined && time < one.at + ttlOf(one) + cache.staleIfError
  const running = (id: string) => loads.find(load => load.id === id && !load.over && !load.unwanted)

  function failed (load: ModelLoad, why: string): void {
    load.over = true
    const good = load.unwanted || !isGood(kept.get(load.id)) ? undefined : kept.get(load.id)
    for (const delivery of load.waiting) delivery.given = good === undefined ? 'rejected' : { value: good.value }
    if (load.unwanted) return
    if (!failing.has(load.id)) told.push(`${load.id} ${why}`)
    failing.set(load.id, time)
  }

  function arrived (load: ModelLoad, value: string | undefined): void {
    const isLate = load.over
    const isWanted = isLate ? load.number > forgottenUpTo && load.number > (kept.get(load.id)?.number ?? 0) : !load.unwanted
    load.over = true
    if (isWanted) kept.set(load.id, { at: Math.min(time, load.begunAt + cache.timeout), number: load.number, value })
    if (isLate) return
    for (const delivery of load.waiting) delivery.given = { value }
    if (isWanted && failing.delete(load.id)) told.push(`${load.id} recovered`)
  }

  return {
    loads,
    kept,
    told,
    running,
    get time () { return time },
    /** What a request must be given, and whether a load must begin. */
    get (id: string): { give: Delivery['given'] | 'wait', begins: boolean } {
      const one = kept.get(id)
      if (isFresh(one)) return { give: { value: one!.value }, begins: false }
      const failedAt = failing.get(id)
      const begins = running(id) === undefined
      if (failedAt === undefined) return { give: 'wait', begins }
      const good = isGood(one) ? { value: one!.value } : undefined
      if (time < failedAt + PAUSE) return { give: good ?? 'rejected', begins: false }
      const isExcused = time < failedAt + Math.max(cache.ttl, PAUSE + cache.timeout)
      return { give: good !== undefined && isExcused ? good : 'wait', begins }
    },
    begin (id: string): ModelLoad {
      const load: ModelLoad = { id, number: loads.length + 1, begunAt: time, over: false, unwanted: false, settled: false, waiting: [] }
      loads.push(load)
      return load
    },
    settle (load: ModelLoad, answer: Answer, value: string): void {
      load.settled = true
      if (answer === 'error' || answer === 'bad') {
        if (!load.over) failed(load, answer === 'bad' ? 'cannot be parsed' : 'down')
      } else arrived(load, answer === 'nothing' ? undefined : answer === 'refused' ? `${load.id} refused` : value)
    },
    advance (ms: number): void {
      const until = time + ms
      for (const load of loads) {
        if (load.over || load.begunAt + cache.timeout > until) continue
        time = load.begunAt + cache.timeout
        failed(load, `tenancy.load took longer than ${cache.timeout} ms`)
      }
      time = until
    },
    forget (ids: readonly string[]): void {
      for (const id of ids) {
        kept.delete(id)
        failing.delete(id)
        const load = running(id)
        if (load !== undefined) load.unwanted = true
      }
      forgottenUpTo = loads.length
    }
  }
}

/** What a store that is asked at once does. */
function storeAnswer (answer: Answer, value: string) {
  if (answer === 'error') throw new Error('down')
  return answer === 'nothing' ? undefined : answer === 'refused' ? false : tenantOf(answer === 'bad' ? 'bad' : value)
}

async function run (options: Partial<TenantCacheConfig>, steps: readonly Step[]): Promise<void> {
  const cache = { ...CACHE, ...options }
  const { directory, get, asked, clock, told, atOnce } = scene(cache)
  const model = createModel(cache)
  const pairs: Array<{ real: Delivery, expected: Delivery }> = []

  function request (id: string, instant: Answer | undefined): void {
    const expected = model.get(id)
    const before = asked.length
    const load = expected.begins ? model.begin(id) : model.running(id)
    const value = `v${model.loads.length}`
    atOnce.answer = instant === undefined ? undefined : () => storeAnswer(instant, value)
    const given = get(id)
    atOnce.answer = undefined
    if (asked.length - before !== Number(expected.begins)) throw new Error(`${asked.length - before} loads began, not ${Number(expected.begins)}`)
    const real: Delivery = { id, given: undefined }
    const wanted: Delivery = { id, given: expected.give === 'wait' ? undefined : expected.give }
    const isInstant = expected.begins && instant !== undefined
    if (given instanceof Promise) {
      if (expected.give !== 'wait' && expected.give !== 'rejected') throw new Error('a promise for what is known')
      given.then(value => { real.given = { value } }, (error: { code?: string }) => { real.given = error.code === 'RP_ERR_TENANT_LOAD' ? 'rejected' : undefined })
    } else {
      if (expected.give === 'rejected' || (expected.give === 'wait' && !isInstant)) throw new Error('something at once where nothing is known')
      real.given = { value: given }
    }
    if (expected.give === 'wait' || isInstant) load!.waiting.push(wanted)
    if (isInstant) model.settle(load!, instant, value)
    pairs.push({ real, expected: wanted })
  }

  async function take (step: Step): Promise<void> {
    switch (step.do) {
      case 'get': return request(step.id, step.atOnce)
      case 'settle': {
        const open = model.loads.filter(load => !load.settled)
        const load = open[step.which % Math.max(1, open.length)]
        if (load === undefined) return
        const call = asked[load.number - 1]!
        if (call.id !== load.id || call.at !== load.begunAt) throw new Error('not the load it should be')
        const value = `v${load.number}`
        model.settle(load, step.answer, value)
        return step.answer === 'error' ? call.fail(new Error('down')) : call.answer(storeAnswer(step.answer, value))
      }
      case 'advance':
        clock.advance(step.ms)
        return model.advance(step.ms)
      case 'forget':
        directory.forget(step.id)
        return model.forget([step.id])
      case 'clear':
        directory.clear()
        return model.forget(IDS)
    }
  }

  function compare (): void {
    const differ = pairs.find(({ real, expected }) => JSON.stringify(real) !== JSON.stringify(expected))
    if (differ !== undefined) throw new Error(`given ${JSON.stringify(differ.real)}, not ${JSON.stringify(differ.expected)}`)
    if (JSON.stringify(told) !== JSON.stringify(model.told)) throw new Error(`told ${JSON.stringify(told)}, not ${JSON.stringify(model.told)}`)
  }

  for (const step of steps) {
    await take(step)
    await settled()
    compare()
  }
  await take({ do: 'advance', ms: cache.timeout })
  await settled()
  compare()
  if (pairs.some(({ real }) => real.given === undefined)) throw new Error('somebody waits for ever')
  if (clock.pending > 0) throw new Error('a timer is left')
}

t.test('whatever happens, everybody is given what the rules say, by as many loads as they say', async () => {
  await fc.assert(fc.asyncProperty(caches, fc.array(step, { maxLength: 80, size: 'max' }), run), { numRuns: 300, seed: 5 })
})

// ---- the promises to an operator, held against what was delivered and not against the model

/** A load as the store sees it. */
interface Call { readonly id: string, readonly begunAt: number, answered: { at: number, ok: boolean, value: string | undefined } | undefined }

async function watch (options: Partial<TenantCacheConfig>, steps: readonly Step[]): Promise<void> {
  const cache = { ...CACHE, ...options }
  const { get, asked, clock } = scene(cache)
  const calls: Call[] = []
  const faults: Error[] = []

  /** When it failed, if it did. */
  function failedAt ({ begunAt, answered }: Call): number | undefined {
    if (answered !== undefined && answered.at < begunAt + cache.timeout) return answered.ok ? undefined : answered.at
    return clock.now() < begunAt + cache.timeout ? undefined : begunAt + cache.timeout
  }

  function inspect (id: string, value: string | undefined): void {
    const same = calls.filter(call => call.id === id && call.answered?.ok === true && call.answered.value === value)
    // what came late counts from when it was given up
    const from = Math.max(...same.map(({ begunAt, answered }) => Math.min(answered!.at, begunAt + cache.timeout)))
    const hasFailedSince = calls.some(call => call.id === id && (failedAt(call) ?? -Infinity) >= from)
    const ttl = value === undefined ? cache.negativeTtl : cache.ttl
    const bound = ttl + (hasFailedSince ? cache.staleIfError : 0)
    const age = clock.now() - from
    if (!(age <= bound)) faults.push(new Error(`${value} is ${age} ms old, and the bound is ${bound}`))
  }

  function request (id: string): void {
    const isUnderWay = calls.some(call => call.id === id && call.answered === undefined && failedAt(call) === undefined)
    const given = get(id)
    if (asked.length > calls.length) {
      if (isUnderWay) faults.push(new Error('two loads of one id at once'))
      calls.push({ id, begunAt: clock.now(), answered: undefined })
    }
    if (given instanceof Promise) given.then(value => inspect(id, value), () => {})
    else inspect(id, given)
  }

  async function settle (which: number, answer: Answer): Promise<void> {
    const open = calls.filter(({ answered }) => answered === undefined)
    const call = open[which % Math.max(1, open.length)]
    if (call === undefined) return
    const at = calls.indexOf(call)
    const value = answer === 'nothing' ? undefined : answer === 'refused' ? `${call.id} refused` : `v${at}`
    call.answered = { at: clock.now(), ok: answer !== 'error' && answer !== 'bad', value }
    await (answer === 'error' ? asked[at]!.fail(new Error('down')) : asked[at]!.answer(storeAnswer(answer, `v${at}`)))
  }

  /** Stops where a load is given up, so that what is delivered there is looked at in time. */
  async function advance (ms: number): Promise<void> {
    const until = clock.now() + ms
    while (clock.now() < until) {
      const ends = calls.map(({ begunAt }) => begunAt + cache.timeout).filter(at => at > clock.now())
      clock.advance(Math.min(until, ...ends) - clock.now())
      await settled()
    }
  }

  for (const step of steps) {
    if (step.do === 'advance') await advance(step.ms)
    else if (step.do === 'get') request(step.id)
    else if (step.do === 'settle') await settle(step.which, step.answer)
    await settled()
    if (faults[0] !== undefined) throw faults[0]
  }
}

t.test('never two loads of one id at once, never an answer past its ttl without a failure, never past staleIfError', async () => {
  const plain = step.filter(one => one.do !== 'forget' && one.do !== 'clear').map(one => one.do === 'get' ? { ...one, atOnce: undefined } : one)
  await fc.assert(fc.asyncProperty(caches, fc.array(plain, { maxLength: 80, size: 'max' }), watch), { numRuns: 200, seed: 6 })
})
