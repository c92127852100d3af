/** Whose places a call takes, and which limits hold for it: the layer alone, between backends that share one another's places. */
import t from 'tap'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { EventEmitter } from 'node:events'
import { createDeadlines } from '../../lib/deadlines.ts'
import concurrency from '../../plugins/concurrency.ts'
import { virtualClock } from '../helper/time.ts'
import type { Clock } from '../../lib/deadlines.ts'
import type { ConcurrencyConfig } from '../../lib/resilience/types.ts'
import type { Answer, Backend, Call, Layer } from '../../lib/types.ts'
import type { TestLike } from '../helper/time.ts'

type Limits = Partial<ConcurrencyConfig>
type Changeable = { -readonly [K in keyof Backend]: Backend[K] }

const SHARED = { max: 4, queue: 10, queueTimeout: 1_000, fairShare: true }

/** Lets promises settle. */
const settled = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

/** The layer in front of a backend that keeps every call until the test ends it. */
async function limiter (t: TestLike) {
  const clock = virtualClock()
  const deadlines = createDeadlines(clock as unknown as Clock)
  const app = Fastify()
  t.teardown(() => app.close())
  let layer: Layer | undefined
  let changed: ((backend: Backend) => void) | undefined
  const core = {
    clock,
    deadlines,
    registry: { watch (watcher: (backend: Backend) => void) { changed = watcher } },
    layer (_name: string, given: Layer) { layer = given }
  }
  await app.register(fp(async app => { app.decorate('reverseproxy', core as never) }, { name: 'reverseproxy-core' }))
  await app.register(fp(async () => {}, { name: 'reverseproxy-backends' }))
  await app.register(concurrency)
  const running = new Map<string, Call>()
  const order: string[] = []
  const send = layer!(call => {
    running.set(call.path, call)
    order.push(call.path)
    return new Promise<Answer>(() => {})
  })
  const outcomes = new Map<string, string>()
  const clients = new Map<string, EventEmitter>()
  return {
    clock,
    order,
    /** Code of the error by name; nothing while it waits or runs. */
    outcomes,
    update (backend: Backend, limits: Limits | undefined): void {
      (backend as { config: unknown }).config = configOf(limits)
      changed!(backend)
    },
    /** Calls with these names, one after the other. */
    async come (backend: Backend, names: string, deadline = Infinity): Promise<void> {
      for (const path of names.split(' ')) {
        const socket = new EventEmitter()
        clients.set(path, socket)
        const call = { backend, path, deadline, request: { raw: { socket, aborted: false } }, record: {}, slot: undefined } as unknown as Call
        send(call).catch((error: { code: string }) => { outcomes.set(path, error.code) })
      }
      await settled()
    },
    async end (names: string): Promise<void> {
      for (const name of names.split(' ')) running.get(name)!.slot!.free()
      await settled()
    },
    async abort (name: string): Promise<void> {
      clients.get(name)!.emit('close')
      await settled()
    },
    async advance (ms: number): Promise<void> {
      clock.advance(ms)
      await settled()
    },
    /** Those that got through since the last time. */
    next: (): string => order.splice(0).join(' ')
  }
}

function configOf (limits: Limits | undefined): Backend['config'] {
  return { resilience: { concurrency: limits && { ...SHARED, ...limits } } } as Backend['config']
}

function backendOf (limits: Limits | undefined, scope = '', shares?: Backend): Changeable {
  return { name: 'up', scope, config: configOf(limits), slots: undefined, shares } as unknown as Changeable
}

/** A tenant's view of a backend that says nothing of its own. */
function viewOf (shares: Backend, scope: string, limits?: Limits): Changeable {
  const view = backendOf(limits, scope, shares)
  if (limits === undefined) view.config = shares.config
  return view
}

t.test('tenants that share targets share places', async t => {
  const { come, next } = await limiter(t)
  const up = backendOf({ max: 3 })
  await come(viewOf(up, 'a'), 'a1')
  await come(viewOf(up, 'b'), 'b1')
  await come(up, 'x1 x2')
  t.equal(next(), 'a1 b1 x1')
  t.equal(up.slots?.taken, 3)
  t.equal(up.slots?.waiting, 1)
})

t.test('a place that becomes free goes to the tenant that holds the fewest', async t => {
  const { come, end, next } = await limiter(t)
  const up = backendOf({ max: 3 })
  const [a, b] = [viewOf(up, 'a'), viewOf(up, 'b')]
  await come(a, 'a1 a2 a3 a4 a5')
  await come(b, 'b1')
  await come(up, 'x1')
  next()
  await end('a1 a2')
  t.equal(next(), 'b1 x1')
  await end('a3')
  t.equal(next(), 'a4')
})

t.test('without fair shares it goes to who came first', async t => {
  const { come, end, next } = await limiter(t)
  const up = backendOf({ max: 2, fairShare: false })
  const [a, b] = [viewOf(up, 'a'), viewOf(up, 'b')]
  await come(a, 'a1 a2 a3')
  await come(b, 'b1')
  next()
  await end('a1 a2')
  t.equal(next(), 'a3 b1')
})

t.test('a call that gives way in a full queue is refused as one that finds it full, and its wait is over', async t => {
  const { come, end, outcomes, next, clock, advance } = await limiter(t)
  const up = backendOf({ max: 1, queue: 2 })
  const [a, b] = [viewOf(up, 'a'), viewOf(up, 'b')]
  await come(a, 'a1 a2 a3')
  await come(b, 'b1')
  t.same([...outcomes], [['a3', 'RP_ERR_CONNECTION_LIMIT']])
  await come(a, 'a4')
  t.equal(outcomes.get('a4'), 'RP_ERR_CONNECTION_LIMIT')
  next()
  await end('a1')
  await end('a2')
  t.equal(next(), 'a2 b1')
  await advance(5_000)
  t.equal(clock.pending, 0)
  t.equal(outcomes.size, 2)
})

t.test('a client that goes after its call gave way changes nothing', async t => {
  const { come, abort, outcomes } = await limiter(t)
  const up = backendOf({ max: 1, queue: 1 })
  await come(viewOf(up, 'a'), 'a1 a2')
  await come(viewOf(up, 'b'), 'b1')
  await abort('a2')
  t.same([...outcomes], [['a2', 'RP_ERR_CONNECTION_LIMIT']])
  t.equal(up.slots?.waiting, 1)
})

t.test('a stricter limit of a tenant holds within the shared one, and keeps nobody else waiting', async t => {
  const { come, end, next } = await limiter(t)
  const up = backendOf({ max: 4 })
  const [a, b] = [viewOf(up, 'a', { max: 1 }), viewOf(up, 'b')]
  await come(a, 'a1 a2')
  await come(b, 'b1 b2 b3')
  t.equal(next(), 'a1 b1 b2 b3')
  await end('b1')
  t.equal(next(), '')
  await end('a1')
  t.equal(next(), 'a2')
})

t.test('a tenant that may have more than all has no more than all', async t => {
  const { come, next } = await limiter(t)
  const up = backendOf({ max: 2 })
  await come(viewOf(up, 'a', { max: 100 }), 'a1 a2 a3')
  t.equal(next(), 'a1 a2')
})

t.test('a queue of a tenant\'s own holds within the shared one', async t => {
  const { come, outcomes } = await limiter(t)
  const up = backendOf({ max: 1, queue: 10 })
  await come(viewOf(up, 'a', { max: 1, queue: 1 }), 'a1 a2 a3')
  t.same([...outcomes], [['a3', 'RP_ERR_CONNECTION_LIMIT']])
  await come(viewOf(up, 'b', { max: 1, queue: 100 }), Array.from({ length: 10 }, (_, n) => `b${n}`).join(' '))
  t.equal(up.slots?.waiting, 10, 'and never makes it longer')
})

t.test('a queueTimeout of a tenant\'s own holds for its calls', async t => {
  const { come, outcomes, advance } = await limiter(t)
  const up = backendOf({ max: 1, queueTimeout: 1_000 })
  await come(up, 'x1 x2')
  await come(viewOf(up, 'a', { queueTimeout: 200 }), 'a1')
  await come(viewOf(up, 'b', { queueTimeout: 3_000 }), 'b1')
  await advance(200)
  t.same([...outcomes.keys()], ['a1'])
  await advance(800)
  t.same([...outcomes.keys()], ['a1', 'x2'])
  await advance(2_000)
  t.same([...outcomes.keys()], ['a1', 'x2', 'b1'])
  t.same([...outcomes.values()], Array(3).fill('RP_ERR_CONNECTION_LIMIT'))
})

t.test('a limit that only a tenant has gives it places of its own', async t => {
  const { come, next, outcomes } = await limiter(t)
  const up = backendOf(undefined)
  const a = viewOf(up, 'a', { max: 1, queue: 0 })
  await come(a, 'a1 a2')
  await come(up, 'x1 x2')
  await come(viewOf(up, 'b'), 'b1')
  t.equal(next(), 'a1 x1 x2 b1')
  t.same([...outcomes.keys()], ['a2'])
  t.equal(a.slots?.taken, 1)
  t.equal(up.slots, undefined)
})

t.test('a tenant whose limit is switched off takes no places', async t => {
  const { come, next } = await limiter(t)
  const up = backendOf({ max: 1 })
  const a = backendOf(undefined, 'a', up)
  await come(up, 'x1')
  await come(a, 'a1 a2')
  t.equal(next(), 'x1 a1 a2')
  t.equal(up.slots?.taken, 1)
})

t.test('a tenant with targets of its own has places of its own', async t => {
  const { come, next } = await limiter(t)
  const up = backendOf({ max: 1 })
  const a = backendOf({ max: 1 }, 'a')
  await come(up, 'x1 x2')
  await come(a, 'a1 a2')
  t.equal(next(), 'x1 a1')
})

t.test('a tenant\'s limit that changes holds from its next call on, also for those that run', async t => {
  const { come, end, next, update } = await limiter(t)
  const up = backendOf({ max: 4 })
  const a = viewOf(up, 'a', { max: 1 })
  await come(a, 'a1 a2 a3')
  update(a, { max: 3 })
  await come(a, 'a4')
  t.equal(next(), 'a1 a2 a3')
  update(a, { max: 1 })
  await come(a, 'a5')
  await end('a1 a2')
  t.equal(next(), '')
  await end('a3')
  t.equal(next(), 'a4')
})

t.test('a shared limit that changes lets in those that wait, whoever they are', async t => {
  const { come, next, update } = await limiter(t)
  const up = backendOf({ max: 1 })
  await come(viewOf(up, 'a'), 'a1 a2 a3')
  await come(viewOf(up, 'b'), 'b1')
  next()
  update(up, { max: 3 })
  t.equal(up.slots?.taken, 3)
  await settled()
  t.equal(next(), 'b1 a2')
})
