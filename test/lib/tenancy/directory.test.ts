/** What `load` gave, kept: one load at a time, not for longer than its time, and the last good answer while the store is down. */
import t, { type Test } from 'tap'
import { scene, settled, tenantOf } from './directory-scene.ts'

const DOWN = new Error('down')

/** A scene in which `acme` has been loaded. */
async function loaded (...args: Parameters<typeof scene>): Promise<ReturnType<typeof scene>> {
  const made = scene(...args)
  const first = made.get()
  await made.last().answer(tenantOf('v1'))
  await first
  return made
}

/** Rejects with a 503 whose cause says `why`. */
async function unavailable (t: Test, promise: unknown, why: string): Promise<void> {
  t.type(promise, Promise)
  await t.rejects(promise as Promise<unknown>, { code: 'RP_ERR_TENANT_LOAD', statusCode: 503, message: 'The tenant could not be looked up', cause: { message: why } })
}

// ---- what is kept

t.test('the first request waits, those after it have the answer at once', async t => {
  const { get, last, asked } = scene()
  const first = get()
  await last().answer(tenantOf('v1'))
  t.equal(await first, 'v1')
  t.equal(get(), 'v1')
  t.equal(asked.length, 1)
})

t.test('a tenant that is refused is an answer like others', async t => {
  const { get, last } = scene()
  const first = get()
  await last().answer(false)
  t.equal(await first, 'acme refused')
  t.equal(get(), 'acme refused')
})

t.test('requests that come together share one load', async t => {
  const { get, last, asked } = scene()
  const waiting = Array.from({ length: 100 }, () => get())
  t.equal(asked.length, 1)
  await last().answer(tenantOf('v1'))
  t.same(new Set(await Promise.all(waiting)), new Set(['v1']))
})

t.test('different ids are loaded beside each other', async t => {
  const { get, asked } = scene()
  const waiting = [get('a'), get('b'), get('__proto__'), get('constructor')]
  t.same(asked.map(({ id }) => id), ['a', 'b', '__proto__', 'constructor'])
  await Promise.all(asked.map(one => one.answer(tenantOf(`of ${one.id}`))))
  t.same(await Promise.all(waiting), ['of a', 'of b', 'of __proto__', 'of constructor'])
})

t.test('an answer past its ttl is not used while the next one is on its way', async t => {
  const { get, last, clock, asked } = await loaded()
  clock.advance(59_999)
  t.equal(get(), 'v1')
  clock.advance(1)
  const second = get()
  t.type(second, Promise)
  t.equal(asked.length, 2)
  await last().answer(false)
  t.equal(await second, 'acme refused')
})

t.test('that there is no tenant is kept for negativeTtl', async t => {
  for (const nothing of [undefined, null]) {
    const { get, last, clock, asked } = scene()
    const first = get()
    await last().answer(nothing)
    t.equal(await first, undefined)
    clock.advance(9_999)
    t.equal(get(), undefined)
    t.equal(asked.length, 1)
    clock.advance(1)
    const second = get()
    t.equal(asked.length, 2)
    await last().answer(tenantOf('new'))
    t.equal(await second, 'new')
    clock.advance(59_999)
    t.equal(get(), 'new')
  }
})

t.test('a tenant that is gone is gone', async t => {
  const { get, last, clock, directory } = await loaded()
  clock.advance(60_000)
  const second = get()
  await last().answer(undefined)
  t.equal(await second, undefined)
  t.equal(get(), undefined)
  t.equal(directory.size, 1)
})

t.test('a load that answers at once needs no promise', async t => {
  const { get, atOnce } = scene()
  atOnce.answer = () => tenantOf('v1')
  t.equal(get(), 'v1')
  atOnce.answer = () => undefined
  t.equal(get('nobody'), undefined)
  atOnce.answer = () => { throw DOWN }
  await unavailable(t, get('third'), 'down')
})

t.test('what has a then is waited for, promise or not', async t => {
  const { get, atOnce } = scene()
  atOnce.answer = () => ({ then: (resolve: (options: unknown) => void) => { resolve(tenantOf('v1')) } }) as never
  t.equal(await get(), 'v1')
})

t.test('a ttl of 0 asks each time, and requests that come together still share', async t => {
  const { get, last, asked } = await loaded({ ttl: 0 })
  const waiting = [get(), get()]
  t.equal(asked.length, 2)
  await last().answer(tenantOf('v2'))
  t.same(await Promise.all(waiting), ['v2', 'v2'])
})

// ---- failures

t.test('without anything good a failed load is a 503, and the store is left alone for a second', async t => {
  const { get, last, clock, asked } = scene()
  const waiting = [get(), get()]
  await last().fail(DOWN)
  for (const one of waiting) await unavailable(t, one, 'down')
  clock.advance(999)
  await unavailable(t, get(), 'down')
  t.equal(asked.length, 1)
  clock.advance(1)
  const second = get()
  t.equal(asked.length, 2)
  await last().answer(tenantOf('v1'))
  t.equal(await second, 'v1')
})

t.test('when a load fails the last good answer is used, by those who waited as well', async t => {
  const { get, last, clock } = await loaded()
  clock.advance(60_000)
  const waiting = [get(), get()]
  await last().fail(DOWN)
  t.same(await Promise.all(waiting), ['v1', 'v1'])
  t.equal(get(), 'v1')
})

t.test('while the store is down it is asked once a second, and nobody waits for it', async t => {
  const { get, last, clock, asked, told } = await loaded()
  clock.advance(60_000)
  const first = get()
  await last().fail(DOWN)
  await first
  for (let second = 1; second <= 30; second++) {
    for (let at = 0; at < 10; at++) {
      t.equal(get(), 'v1')
      clock.advance(100)
    }
    t.equal(asked.length, second + 1)
    t.equal(get(), 'v1')
    await last().fail(DOWN)
  }
  t.same(told, ['acme down'], 'told once')
})

t.test('while the store hangs, nobody waits for it after the first', async t => {
  const { get, clock, asked } = await loaded({ ttl: 1_000 })
  clock.advance(1_000)
  const first = get()
  clock.advance(5_000)
  t.equal(await first, 'v1')
  for (let at = 0; at < 100; at++) {
    t.equal(get(), 'v1')
    clock.advance(250)
    await settled()
  }
  t.ok(asked.length < 10, `${asked.length} loads in 25 seconds`)
})

t.test('when the store is back its answer is used from the next request on, and it is told', async t => {
  const { get, last, clock, told } = await loaded()
  clock.advance(60_000)
  const first = get()
  await last().fail(DOWN)
  await first
  clock.advance(1_000)
  t.equal(get(), 'v1')
  await last().answer(false)
  t.equal(get(), 'acme refused')
  t.same(told, ['acme down', 'acme recovered'])
})

t.test('a store that is back and answers at once is believed at once', async t => {
  const { get, last, clock, atOnce } = await loaded()
  clock.advance(60_000)
  const first = get()
  await last().fail(DOWN)
  await first
  clock.advance(1_000)
  atOnce.answer = () => false
  t.equal(get(), 'acme refused')
})

t.test('a failure of long ago excuses no old answer', async t => {
  const { get, last, clock } = await loaded()
  clock.advance(60_000)
  const first = get()
  await last().fail(DOWN)
  await first
  clock.advance(60_000)
  const second = get()
  t.type(second, Promise)
  await last().answer(false)
  t.equal(await second, 'acme refused')
})

t.test('an answer is good until staleIfError past its ttl', async t => {
  const { get, last, clock } = await loaded({ staleIfError: 10_000 })
  clock.advance(69_999)
  const first = get()
  await last().fail(DOWN)
  t.equal(await first, 'v1')
  t.equal(get(), 'v1')
  clock.advance(1)
  await unavailable(t, get(), 'down')
})

t.test('that there was no tenant is a good answer, too', async t => {
  const { get, last, clock } = scene()
  const first = get()
  await last().answer(undefined)
  await first
  clock.advance(10_000)
  const second = get()
  await last().fail(DOWN)
  t.equal(await second, undefined)
})

t.test('options that cannot be parsed are a failed load', async t => {
  const { get, last, clock, told } = await loaded()
  clock.advance(60_000)
  const second = get()
  await last().answer(tenantOf('bad'))
  t.equal(await second, 'v1')
  t.same(told, ['acme cannot be parsed'])
  const other = get('other')
  await last().answer(tenantOf('bad'))
  await unavailable(t, other, 'cannot be parsed')
})

t.test('what is thrown need not be an error', async t => {
  for (const thrown of [undefined, null, 'down', { statusCode: 404 }]) {
    const { get, last, told } = scene()
    const first = get()
    await last().fail(thrown)
    await unavailable(t, first, 'tenancy.load threw what is no error')
    t.same(told, ['acme tenancy.load threw what is no error'])
  }
})

t.test('outages are told once per id', async t => {
  const { get, last, clock, told } = scene()
  for (const id of ['a', 'b', 'a', 'b']) {
    const one = get(id)
    await last().fail(new Error(`${id} is down`))
    await t.rejects(async () => one)
    clock.advance(1_000)
  }
  const one = get('a')
  await last().answer(undefined)
  await one
  t.same(told, ['a a is down', 'b b is down', 'a recovered'])
})

t.test('a load beside which nobody waits may fail', async t => {
  // node would end the process for a rejection that nobody handles
  const { get, last, clock } = await loaded({ staleIfError: 61_500 })
  clock.advance(60_000)
  const first = get()
  await last().fail(DOWN)
  await first
  clock.advance(59_000)
  t.equal(get(), 'v1', 'asked beside')
  clock.advance(5_000)
  await last().fail(DOWN)
  await settled()
})

// ---- time

t.test('a load that takes too long has failed', async t => {
  const { get, clock, told } = scene()
  const first = get()
  clock.advance(4_999)
  t.same(told, [])
  clock.advance(1)
  await unavailable(t, first, 'tenancy.load took longer than 5000 ms')
  t.same(told, ['acme tenancy.load took longer than 5000 ms'])
})

t.test('what comes late is kept, as old as if it had just come in time', async t => {
  const { get, last, clock, asked, told } = scene()
  const first = get()
  clock.advance(5_000)
  await t.rejects(async () => first)
  clock.advance(500)
  await last().answer(tenantOf('late'))
  t.equal(get(), 'late')
  clock.advance(59_499)
  t.equal(get(), 'late')
  t.equal(asked.length, 1)
  clock.advance(1)
  t.type(get(), Promise)
  t.same(told, ['acme tenancy.load took longer than 5000 ms'], 'the store is still too slow')
})

t.test('what comes late is not kept when a later load has answered', async t => {
  const { get, last, clock, asked } = scene()
  const first = get()
  clock.advance(5_000)
  await t.rejects(async () => first)
  clock.advance(1_000)
  const second = get()
  await last().answer(false)
  t.equal(await second, 'acme refused')
  await asked[0]!.answer(tenantOf('late'))
  t.equal(get(), 'acme refused')
})

t.test('what comes late does not answer for the load that is under way', async t => {
  const { get, last, clock, asked } = scene()
  const first = get()
  clock.advance(5_000)
  await t.rejects(async () => first)
  clock.advance(1_000)
  const second = get()
  await asked[0]!.answer(tenantOf('late'))
  t.equal(get(), 'late')
  await last().answer(tenantOf('v2'))
  t.equal(await second, 'v2')
  t.equal(get(), 'v2')
})

t.test('what fails late has failed already', async t => {
  const { get, last, clock, told } = scene()
  const first = get()
  clock.advance(5_000)
  await t.rejects(async () => first)
  await last().fail(DOWN)
  t.equal(told.length, 1)
})

t.test('no timer outlives the loads', async t => {
  const { get, last, clock, armed } = await loaded()
  t.equal(armed.size, 0)
  clock.advance(60_000)
  const second = get()
  await last().fail(DOWN)
  await second
  t.equal(armed.size, 0)
  clock.advance(5_000)
  t.equal(clock.pending, 0)
})

t.test('when the gateway closes, those who wait are answered', async t => {
  const { get, deadlines, told } = scene()
  const first = get()
  deadlines.close()
  await unavailable(t, first, 'the gateway has closed')
  t.same(told, [])
})

// ---- forgetting

t.test('what is forgotten is asked for anew', async t => {
  const { get, last, directory } = await loaded()
  directory.forget('acme')
  t.equal(directory.size, 0)
  const second = get()
  await last().answer(tenantOf('v2'))
  t.equal(await second, 'v2')
})

t.test('what was read before it was forgotten is not kept, and only those who waited get it', async t => {
  for (const forget of ['forget', 'clear'] as const) {
    const { get, directory, asked } = scene()
    const first = get()
    directory[forget]('acme')
    const second = get()
    t.equal(asked.length, 2)
    await asked[1]!.answer(false)
    await asked[0]!.answer(tenantOf('old'))
    t.equal(await first, 'old')
    t.equal(await second, 'acme refused')
    t.equal(get(), 'acme refused')
  }
})

t.test('what was read before it was forgotten and comes late is not kept either', async t => {
  for (const forget of ['forget', 'clear'] as const) {
    const { get, directory, asked, clock } = scene()
    const first = get()
    clock.advance(5_000)
    await t.rejects(async () => first)
    directory[forget]('acme')
    await asked[0]!.answer(tenantOf('old'))
    t.equal(directory.size, 0)
    t.type(get(), Promise)
  }
})

t.test('a load that was forgotten and fails says so to those who waited, and to nobody else', async t => {
  const { get, directory, asked, told } = await loaded({ ttl: 0 })
  const first = get()
  directory.forget('acme')
  await asked[1]!.fail(DOWN)
  await unavailable(t, first, 'down')
  t.same(told, [])
  t.equal(directory.size, 0)
})

t.test('what was forgotten and comes does not end the load that came after', async t => {
  const { get, directory, asked } = scene()
  get()
  directory.forget('acme')
  const second = get()
  await asked[0]!.answer(tenantOf('old'))
  const third = get()
  t.equal(asked.length, 2)
  await asked[1]!.answer(tenantOf('v2'))
  t.same(await Promise.all([second, third]), ['v2', 'v2'])
})

t.test('forgetting one id leaves the others', async t => {
  const { get, directory, last } = await loaded()
  const other = get('other')
  directory.forget('acme')
  await last().answer(tenantOf('o1'))
  t.equal(await other, 'o1')
  t.equal(get('other'), 'o1')
})

// ---- size

t.test('the least recently used goes first', async t => {
  const { get, atOnce, directory, asked } = scene({ max: 3 })
  atOnce.answer = () => tenantOf('v')
  for (const id of ['a', 'b', 'c', 'a', 'd']) get(id)
  t.equal(directory.size, 3)
  asked.length = 0
  for (const id of ['a', 'c', 'd']) get(id)
  t.equal(asked.length, 0)
  get('b')
  t.equal(asked.length, 1)
})

t.test('ids that somebody makes up push out no tenant, and are bounded, whether the store answers or not', async t => {
  const { get, atOnce, directory, asked } = scene({ max: 10 })
  atOnce.answer = () => tenantOf('v')
  for (let n = 0; n < 10; n++) get(`tenant-${n}`)
  atOnce.answer = () => undefined
  for (let n = 0; n < 1_000; n++) get(`nobody-${n}`)
  atOnce.answer = () => { throw DOWN }
  for (let n = 0; n < 1_000; n++) await t.rejects(async () => get(`unlucky-${n}`))
  t.equal(directory.size, 20)
  asked.length = 0
  for (let n = 0; n < 10; n++) t.equal(get(`tenant-${n}`), 'v')
  t.equal(asked.length, 0)
})

t.test('loads under way push out nothing', async t => {
  const { get, directory, asked } = await loaded({ max: 2 })
  for (let n = 0; n < 100; n++) get(`other-${n}`)
  t.equal(get(), 'v1')
  t.equal(directory.size, 1)
  await Promise.all(asked.map(one => one.answer(undefined)))
  t.equal(directory.size, 3)
})
