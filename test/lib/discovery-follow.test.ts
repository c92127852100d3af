/** How lists are followed: by a clock that only moves when told, through everything that a provider may do wrong. */
import t from 'tap'
import { createFollower } from '../../lib/discovery/follow.ts'
import { seededRandom, virtualClock, waitFor } from '../helper.ts'
import type { Clock } from '../../lib/deadlines.ts'
import type { FollowerOptions } from '../../lib/discovery/follow.ts'
import type { DiscoveredTarget, DiscoveryProvider } from '../../lib/discovery/types.ts'

const list = (...names: string[]): DiscoveredTarget[] => names.map(name => ({ url: `http://${name}` }))
const urls = (lists: readonly DiscoveredTarget[]) => lists.map(({ url }) => url.slice(7))

/** Turns of the event loop until nothing is left to do that needs no time. */
const settle = async (turns = 5): Promise<void> => {
  for (let turn = 0; turn < turns; turn++) await new Promise(resolve => { setImmediate(resolve) })
}

/** A watch that yields what the test says. */
function fed () {
  const waiting: Array<(step: IteratorResult<DiscoveredTarget[]>) => void> = []
  const failing: Array<(error: Error) => void> = []
  let opened = 0
  let returned = 0
  const iterator = {
    next: () => new Promise<IteratorResult<DiscoveredTarget[]>>((resolve, reject) => { waiting.push(resolve); failing.push(reject) }),
    return: () => { returned++; return Promise.resolve({ done: true as const, value: undefined }) }
  }
  const last = <T>(all: T[]): T => all.at(-1)!
  return {
    watch: () => { opened++; return { [Symbol.asyncIterator]: () => iterator } },
    say (value: unknown) { last(waiting)({ done: false, value: value as DiscoveredTarget[] }) },
    end () { last(waiting)({ done: true, value: undefined }) },
    fail (text = 'broken') { last(failing)(new Error(text)) },
    get opened () { return opened },
    get returned () { return returned }
  }
}

interface Told { readonly lists: string[][], readonly log: string[] }

function scene (provider: Partial<Record<keyof DiscoveryProvider, unknown>>, options: Partial<FollowerOptions['config']> & Partial<Pick<FollowerOptions, 'open' | 'random'>> = {}) {
  const clock = virtualClock()
  const { open = () => provider as unknown as DiscoveryProvider, random = () => 0.5, ...config } = options
  const told: Told = { lists: [], log: [] }
  const follower = createFollower({
    open,
    config: { bootTimeout: 10_000, onEmpty: 'keep', interval: 30_000, backoff: { initial: 500, max: 30_000 }, ...config },
    sink: {
      onList (list) {
        if (list.length > 0 && list.every(({ url }) => typeof url !== 'string')) throw new Error('garbage')
        told.lists.push(urls(list))
      },
      onFault ({ message }) { told.log.push(message) },
      onRecovered () { told.log.push('recovered') }
    },
    clock: clock as unknown as Clock,
    random,
    soon: setImmediate,
    date: () => 1000 + clock.now()
  })
  /** Lets time go by in steps, so that what follows from it happens in between. */
  const pass = async (ms: number, step = ms): Promise<void> => {
    for (let left = ms; left > 0; left -= step) {
      clock.advance(Math.min(step, left))
      await settle()
    }
  }
  return { clock, follower, pass, ...told }
}

let unhandled = 0
process.on('unhandledRejection', () => { unhandled++ })

t.test('a provider without watch is asked every interval', async t => {
  let asked = 0
  const { follower, lists, pass } = scene({ resolve: async () => list(`t${asked++}`) })
  follower.start()
  await settle()
  t.same(lists, [['t0']])
  await pass(29_999)
  t.equal(asked, 1)
  await pass(1)
  t.same(lists, [['t0'], ['t1']])
  t.same(follower.status, { lists: 2, lastSuccess: 31_000, fault: undefined })
  follower.stop()
})

t.test('a watch goes on where resolve has begun', async t => {
  const feed = fed()
  let asked = 0
  const { follower, lists, pass } = scene({ async resolve () { asked++; return list('a') }, watch: feed.watch })
  follower.start()
  await settle()
  feed.say(list('a', 'b'))
  await settle()
  feed.say(list('b'))
  await settle()
  await pass(100_000, 10_000)
  t.same(lists, [['a'], ['a', 'b'], ['b']])
  t.equal(asked, 1)
  follower.stop()
})

t.test('waits double up to the longest, each a random part of it, and begin anew after a success', async t => {
  const times: number[] = []
  let isWell = false
  const random = seededRandom(7)
  const draws: number[] = []
  const { clock, follower, pass } = scene({
    resolve () {
      times.push(clock.now())
      return isWell ? Promise.resolve(list('a')) : Promise.reject(new Error('down'))
    }
  }, { backoff: { initial: 100, max: 1000 }, interval: 5000, random () { const draw = random(); draws.push(draw); return draw } })
  follower.start()
  await settle()
  await pass(4000, 1)
  const waits = times.slice(1).map((time, index) => time - times[index]!)
  const most = [100, 200, 400, 800, 1000, 1000]
  for (const [index, limit] of most.entries()) t.ok(Math.abs(waits[index]! - draws[index]! * limit) <= 2, `wait ${index}: ${waits[index]} of ${limit}`)
  isWell = true
  await pass(1000, 5)
  isWell = false
  const good = times.length
  const failures = draws.length
  await pass(5500, 5)
  t.ok(Math.abs(times[good + 1]! - times[good]! - draws[failures]! * 100) <= 6, 'from the first again')
  follower.stop()
})

t.test('a fault is told once, and once when it is over', async t => {
  let isWell = true
  const { follower, lists, log, pass } = scene({ resolve: async () => { if (!isWell) throw new Error('down'); return list('a') } }, { interval: 100, backoff: { initial: 10, max: 10 } })
  follower.start()
  await settle()
  for (let round = 0; round < 3; round++) {
    isWell = false
    await pass(1000, 10)
    t.equal(follower.status.fault, 'down')
    isWell = true
    await pass(1000, 10)
    t.equal(follower.status.fault, undefined)
  }
  t.same(log, ['down', 'recovered', 'down', 'recovered', 'down', 'recovered'])
  t.ok(lists.every(([name]) => name === 'a'))
  follower.stop()
})

t.test('a watch that always breaks is one fault, although resolve works in between', async t => {
  let asked = 0
  const { follower, log, pass } = scene({
    async resolve () { asked++; return list('a') },

    async * watch () { throw new Error('no watch') }
  }, { backoff: { initial: 10, max: 100 } })
  follower.start()
  await settle()
  await pass(10_000, 50)
  t.ok(asked > 20, `${asked} rounds`)
  t.same(log, ['no watch'])
  follower.stop()
})

t.test('it is over when the watch stands', async t => {
  const feed = fed()
  const { follower, log, pass } = scene({ resolve: async () => list('a'), watch: feed.watch })
  follower.start()
  await settle()
  feed.fail()
  await settle()
  t.equal(feed.opened, 1)
  t.equal(feed.returned, 1, 'it was closed')
  await pass(250)
  t.equal(feed.opened, 2)
  t.same(log, ['broken'])
  await pass(1000)
  t.same(log, ['broken', 'recovered'])
  follower.stop()
})

t.test('or when it tells something', async t => {
  const feed = fed()
  const { follower, log, lists, pass } = scene({ resolve: async () => list('a'), watch: feed.watch })
  follower.start()
  await settle()
  feed.fail()
  await settle()
  await pass(250)
  feed.say(list('b'))
  await settle()
  t.same(log, ['broken', 'recovered'])
  t.same(lists.at(-1), ['b'])
  follower.stop()
})

t.test('a watch that ends is no fault, and does not spin', async t => {
  let opened = 0

  const { follower, log, pass } = scene({ resolve: async () => list('a'), async * watch () { opened++ } }, { backoff: { initial: 100, max: 1000 } })
  follower.start()
  await settle(50)
  t.equal(opened, 1)
  await pass(10_000, 10)
  t.ok(opened > 10 && opened < 40, `${opened} times in 10 s`)
  t.same(log, [])
  follower.stop()
})

t.test('what was yielded right before the end is not lost', async t => {
  const { follower, lists } = scene({ resolve: async () => list('a'), async * watch () { yield list('b'); yield list('c') } })
  follower.start()
  await settle()
  t.same(lists, [['a'], ['c']])
  follower.stop()
})

const GARBAGE: ReadonlyArray<readonly [string, unknown]> = [
  ['nothing', undefined], ['null', null], ['a number', 5], ['a text', 'http://a'], ['an object', { targets: [] }], ['an iterable', new Set(list('a'))],
  ['a function', () => list('a')], ['wrong entries only', [null, 5, {}]], ['a list without end', new Array(2 ** 32 - 1)], ['too many', Array.from({ length: 10_001 }, () => ({ url: 'http://a' }))],
  ['an entry that throws', [{ get url () { throw new Error('boom') } }]],
  ['a list that throws', new Proxy([], { get () { throw new Error('boom') } })]
]

t.test('garbage from resolve is a fault, and the last good list stays', async t => {
  for (const [name, garbage] of GARBAGE) {
    let answer: unknown = list('a')
    const { follower, lists, log, pass } = scene({ resolve: async () => answer }, { interval: 100, backoff: { initial: 10, max: 10 } })
    follower.start()
    await settle()
    answer = garbage
    await pass(1000, 50)
    t.same(lists, [['a']], name)
    t.equal(log.length, 1, `${name}: ${log.join()}`)
    answer = list('b')
    await pass(100, 10)
    t.same(lists[1], ['b'], name)
    t.equal(log[1], 'recovered', name)
    follower.stop()
  }
})

t.test('garbage from a watch begins it anew, with a resolve before it', async t => {
  for (const [name, garbage] of GARBAGE) {
    const feed = fed()
    let asked = 0
    const { follower, lists, log, pass } = scene({ async resolve () { asked++; return list('a') }, watch: feed.watch })
    follower.start()
    await settle()
    feed.say(garbage)
    await settle()
    t.same(lists, [['a']], name)
    t.equal(log.length, 1, name)
    await pass(250)
    t.equal(feed.opened, 2, name)
    t.equal(asked, 2, name)
    follower.stop()
  }
})

t.test('watches that are none are faults', async t => {
  for (const watch of [() => undefined, () => 5, () => [list('a')], () => { throw new Error('at once') }, () => ({ [Symbol.asyncIterator]: () => ({}) }), () => ({ [Symbol.asyncIterator]: () => ({ next: () => 5 }) }), () => ({ [Symbol.asyncIterator]: () => ({ next () { throw new Error('next') } }) })]) {
    const { follower, lists, log, pass } = scene({ resolve: async () => list('a'), watch })
    follower.start()
    await settle()
    await pass(5000, 100)
    t.equal(log.length, 1, String(log))
    t.ok(lists.length > 2, 'resolve goes on')
    follower.stop()
  }
})

t.test('what throws at once, rejects with nothing, or is no promise', async t => {
  const answers: Array<() => unknown> = [
    () => { throw new Error('at once') },
    // eslint-disable-next-line prefer-promise-reject-errors
    () => Promise.reject(),
    // eslint-disable-next-line prefer-promise-reject-errors
    () => Promise.reject(null),
    () => ({ then () { throw new Error('then') } }),
    () => ({ get then () { throw new Error('get') } }),
    () => list('a')
  ]
  let round = 0
  const { follower, lists, log, pass } = scene({ resolve: () => answers[Math.min(round++, answers.length - 1)]!() }, { backoff: { initial: 10, max: 10 } })
  follower.start()
  await settle()
  await pass(100, 5)
  t.same(lists, [['a']])
  t.equal(log.length, 2)
  follower.stop()
})

t.test('a provider that cannot be had is asked for again', async t => {
  let opened = 0
  const { follower, lists, log, pass } = scene({}, { open: async () => { if (opened++ < 2) throw new Error('no such package'); return { resolve: async () => list('a') } }, backoff: { initial: 10, max: 10 } })
  follower.start()
  await settle()
  await pass(30, 5)
  t.same(log, ['no such package', 'recovered'])
  t.same(lists, [['a']])
  follower.stop()
})

t.test('an answer that never comes is given up, and its signal aborts', async t => {
  const signals: AbortSignal[] = []
  const { follower, log, pass } = scene({ resolve (signal: AbortSignal) { signals.push(signal); return new Promise(() => {}) } }, { interval: 20_000 })
  follower.start()
  await settle()
  await pass(19_999)
  t.equal(signals[0]!.aborted, false)
  await pass(1)
  t.equal(signals[0]!.aborted, true)
  t.same(log, ['no answer within 20000 ms'])
  await pass(250)
  t.equal(signals.length, 2)
  follower.stop()
})

t.test('an empty list is kept away, told once, and no reason to wait', async t => {
  let answer = list('a')
  const { follower, lists, log, pass } = scene({ resolve: async () => answer }, { interval: 100 })
  follower.start()
  await settle()
  answer = []
  await pass(300, 100)
  t.same(lists, [['a']])
  t.same(log, ['the list is empty'])
  t.equal(follower.status.fault, 'the list is empty')
  answer = list('b')
  await pass(100)
  t.same(lists, [['a'], ['b']])
  t.same(log, ['the list is empty', 'recovered'])
  follower.stop()
})

t.test('an empty list of a watch is kept away too, and the watch goes on', async t => {
  const feed = fed()
  const { follower, lists, log, pass } = scene({ resolve: async () => list('a'), watch: feed.watch })
  follower.start()
  await settle()
  feed.say([])
  await settle()
  await pass(60_000, 1000)
  t.same(log, ['the list is empty'], 'that the watch stands does not fill the list')
  feed.say(list('b'))
  await settle()
  t.same(lists, [['a'], ['b']])
  t.same(log, ['the list is empty', 'recovered'])
  t.equal(feed.opened, 1)
  follower.stop()
})

t.test('with clear an empty list is a list', async t => {
  const { follower, lists, log } = scene({ resolve: async () => [] }, { onEmpty: 'clear' })
  follower.start()
  await settle()
  t.same(lists, [[]])
  t.same(log, [])
  follower.stop()
})

t.test('a list that is changed later stays as it was told', async t => {
  const mine = list('a')
  const feed = fed()
  const { follower, lists } = scene({ resolve: async () => mine, watch: feed.watch })
  follower.start()
  await settle()
  mine.push(...list('b'))
  feed.say(mine)
  // it has been taken from the watch, but is not told before the next turn
  for (let i = 0; i < 20; i++) await Promise.resolve()
  t.equal(lists.length, 1)
  mine.length = 0
  await settle()
  t.same(lists, [['a'], ['a', 'b']])
  follower.stop()
})

t.test('of many lists at once only the newest of a turn is told', async t => {
  let told = 0
  const { follower, lists, pass } = scene({ resolve: async () => list('first'), async * watch () { for (; told < 100_000; told++) yield list(`t${told}`); await new Promise(() => {}) } })
  follower.start()
  await settle()
  await pass(5000, 10)
  t.equal(told, 100_000)
  t.same(lists.at(-1), ['t99999'])
  t.ok(lists.length < 1000, `${lists.length} lists`)
  follower.stop()
})

t.test('an endless watch without a pause leaves the others their turn, and can be stopped', async t => {
  let yielded = 0
  const { follower, lists } = scene({ resolve: async () => list('a'), async * watch () { for (;;) yield list(`t${yielded++}`) } })
  follower.start()
  await settle(20)
  t.ok(yielded >= 100 && yielded <= 2000, `${yielded} lists, and a breath`)
  follower.stop()
  const before = lists.length
  const pulled = yielded
  await settle(20)
  t.equal(lists.length, before)
  t.ok(yielded - pulled <= 1)
})

t.test('large lists have their breath sooner', async t => {
  let yielded = 0
  const large = Array.from({ length: 5000 }, (_, index) => ({ url: `http://t${index}` }))
  const { follower } = scene({ resolve: async () => large, async * watch () { for (;;) { yielded++; yield large } } })
  follower.start()
  await settle(20)
  t.ok(yielded < 10, `${yielded} lists`)
  follower.stop()
})

t.test('after stop nothing is told, and what waits is aborted', async t => {
  const feed = fed()
  let signal: AbortSignal | undefined
  const { clock, follower, lists, log } = scene({ resolve: async (given: AbortSignal) => { signal = given; return list('a') }, watch: feed.watch })
  follower.start()
  await settle()
  feed.say(list('b'))
  follower.stop()
  follower.stop()
  await settle()
  t.same(lists, [['a']])
  t.equal(signal!.aborted, true)
  t.equal(feed.returned, 1)
  t.equal(clock.pending, 0, 'no timer is left')
  feed.fail('late')
  await settle()
  t.same(log, [])
  follower.start()
  t.equal(await follower.refresh(), false)
  await settle()
  t.same(lists, [['a']])
})

t.test('an answer after stop is nobody\'s, whether it comes, fails or never does', async t => {
  for (const answer of ['resolve', 'reject', 'never'] as const) {
    let settleIt = (): void => {}
    const { clock, follower, lists, log } = scene({
      resolve: () => new Promise((resolve, reject) => {
        settleIt = () => { if (answer === 'resolve') resolve(list('a')); else if (answer === 'reject') reject(new Error('late')) }
      })
    })
    follower.start()
    await settle()
    const asked = follower.refresh()
    follower.stop()
    t.equal(await asked, false)
    settleIt()
    await settle()
    t.same([lists, log, clock.pending], [[], [], 0], answer)
  }
})

t.test('to be stopped by its own list', async t => {
  const clock = virtualClock()
  const feed = fed()
  const lists: unknown[] = []
  const follower = createFollower({
    open: () => ({ resolve: async () => list('a'), watch: feed.watch }) as unknown as DiscoveryProvider,
    config: { bootTimeout: 1, onEmpty: 'keep', interval: 1, backoff: { initial: 1, max: 1 } },
    sink: { onList (list) { lists.push(list); follower.stop() }, onFault () {}, onRecovered () {} },
    clock: clock as unknown as Clock,
    random: () => 0.5,
    soon: setImmediate,
    date: () => 0
  })
  follower.start()
  await settle()
  t.equal(lists.length, 1)
  t.equal(clock.pending, 0)
})

t.test('refresh asks at once, in the middle of a wait or a watch', async t => {
  let answer: 'good' | 'bad' = 'bad'
  let asked = 0
  const feed = fed()
  const { follower, lists, log } = scene({ async resolve () { asked++; if (answer === 'bad') throw new Error('down'); return list(`t${asked}`) }, watch: feed.watch })
  follower.start()
  await settle()
  t.equal(await follower.refresh(), false)
  answer = 'good'
  const [one, other] = await Promise.all([follower.refresh(), follower.refresh()])
  t.same([one, other, asked], [true, true, 3], 'two at once are one question')
  t.equal(await follower.refresh(), true)
  await settle()
  t.same(lists, [['t3'], ['t4']])
  t.same(log, ['down', 'recovered'])
  t.equal(feed.returned, 1, 'the watch before was closed')
  follower.stop()
})

t.test('news that fail bring nothing down', async t => {
  const clock = virtualClock()
  let asked = 0
  const follower = createFollower({
    open: () => ({ async resolve () { if (asked++ % 2 === 0) throw new Error('down'); return list('a') } }),
    config: { bootTimeout: 1, onEmpty: 'keep', interval: 10, backoff: { initial: 10, max: 10 } },
    sink: { onList () {}, onFault () { throw new Error('log') }, onRecovered () { throw new Error('log') } },
    clock: clock as unknown as Clock,
    random: () => 0.5,
    soon: setImmediate,
    date: () => 0
  })
  follower.start()
  for (let turn = 0; turn < 20; turn++) { clock.advance(10); await settle() }
  t.ok(asked > 10)
  follower.stop()
})

t.test('none of it was an unhandled rejection', async t => {
  await waitFor(() => false, 20)
  t.equal(unhandled, 0)
})
