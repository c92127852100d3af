/** Gathering without a network: who is called when, what is cancelled, and that it ends once. */
import t from 'tap'
import { Gathering } from '../../../lib/composite/gather.ts'
import { createCompositePlan } from '../../../lib/composite/plan.ts'
import { ResetError } from '../../../lib/errors.ts'
import { parseComposite } from '../../../lib/options/index.ts'
import type { CompositeOptions } from '../../../lib/options/index.ts'
import type { GatherTools } from '../../../lib/composite/gather.ts'
import type { Answer, Call } from '../../../lib/types.ts'

interface Sent { readonly call: Call, readonly name: string, readonly cancelled: boolean, answer (body: string, status?: number): Promise<void>, fail (error?: Error): Promise<void> }

/** Everything that promises have to do is done. */
const settled = async (): Promise<void> => { for (let i = 0; i < 10; i++) await Promise.resolve() }

function gather (options: CompositeOptions, { params = { id: '7' }, timeouts = { connect: 0, headers: 0, idle: 0, total: 0 }, deadline = Infinity } = {}) {
  const sent: Sent[] = []
  let ended = 0
  let time = 1000
  const request = { params, query: {}, headers: {}, raw: { method: 'GET', url: '/c/7', headers: {} } }
  const tools = {
    lookup: (plan: { config: { backend: string } }) => ({ backend: { name: plan.config.backend }, settings: { timeouts, policies: {}, bodyLimit: 1000 } }),
    now: () => time,
    send (call: Call) {
      return new Promise<Answer>((resolve, reject) => {
        let cancelled = false
        const attempt = { cancel (reason: Error) { cancelled = true; reject(reason) } }
        call.owner?.started(attempt)
        sent.push({
          call,
          name: call.owner?.name ?? '',
          get cancelled () { return cancelled },
          async answer (body, status = 200) {
            call.owner?.ended(attempt)
            const bytes = Buffer.from(body)
            resolve({ status, headers: {}, plain: true, discard () {}, collect (_max: number, done: (error: undefined, bytes: Buffer) => void) { done(undefined, bytes) } } as unknown as Answer)
            await settled()
          },
          async fail (error = new ResetError()) {
            call.owner?.ended(attempt)
            reject(error)
            await settled()
          }
        })
      })
    },
    onGathered () { ended++ }
  } as unknown as GatherTools
  const plan = createCompositePlan(parseComposite(options, 'composite', { routePath: '/c/:id' }), 'test', { strategies: new Map(), validator: () => () => undefined })
  const gathering = new Gathering(plan, request as never, {} as never, { tenant: '', attempts: [] } as never, deadline, undefined, tools)
  return {
    gathering,
    sent,
    get ended () { return ended },
    to: (name: string) => sent.findLast(one => one.name === name)!,
    names: () => sent.map(({ name }) => name).join(''),
    states: () => gathering.parts.map(({ state }) => state).join(),
    pass (ms: number) { time += ms }
  }
}

t.test('parts begin in order of declaration, in the same turn, and it ends once', async t => {
  const run = gather({ parts: { a: { backend: 'x' }, b: { backend: 'x' }, c: { backend: 'x', needs: ['a'] } } })
  run.gathering.start()
  t.equal(run.names(), 'ab')
  await run.to('b').answer('{}')
  await run.to('a').answer('{}')
  t.equal(run.names(), 'abc')
  t.equal(run.ended, 0)
  await run.to('c').answer('{}')
  t.equal(run.ended, 1)
  t.equal(run.states(), 'ok,ok,ok')
})

t.test('parts that are all skipped end at once', async t => {
  const run = gather({ parts: { a: { backend: 'x', when: '{request.query.q}' }, b: { backend: 'x', needs: ['a'] } } })
  run.gathering.start()
  t.same([run.ended, run.states(), run.sent.length], [1, 'skipped,skipped', 0])
})

t.test('a cancelled part ends when its call does, and its followers never begin', async t => {
  const run = gather({ parts: { a: { backend: 'x' }, b: { backend: 'x', required: true }, c: { backend: 'x', needs: ['a'] } } })
  run.gathering.start()
  await run.to('b').fail()
  await settled()
  t.same([run.names(), run.to('a').cancelled, run.ended], ['ab', true, 1])
  t.equal(run.gathering.culprit?.name, 'b')
})

t.test('only what may still decide goes on', async t => {
  const run = gather({ parts: { a: { backend: 'x', required: true, needs: ['d'] }, b: { backend: 'x', required: true }, c: { backend: 'x' }, d: { backend: 'x' }, e: { backend: 'x', required: true } } })
  run.gathering.start()
  await run.to('b').fail()
  t.same(['c', 'd', 'e'].map(name => run.to(name).cancelled), [true, false, true])
  await run.to('d').answer('{}')
  await run.to('a').answer('{}', 404)
  t.same([run.ended, run.gathering.culprit?.name], [1, 'a'])
})

t.test('select ends with the first success, race or not', async t => {
  const race = gather({ strategy: 'select', race: true, parts: { a: { backend: 'x' }, b: { backend: 'x' } } })
  race.gathering.start()
  await race.to('b').answer('{}')
  await settled()
  t.same([race.gathering.winner?.name, race.to('a').cancelled, race.ended], ['b', true, 1])
  const order = gather({ strategy: 'select', parts: { a: { backend: 'x' }, b: { backend: 'x' }, c: { backend: 'x' } } })
  order.gathering.start()
  await order.to('a').fail()
  await order.to('b').answer('{}')
  t.same([order.gathering.winner?.name, order.names(), order.ended], ['b', 'ab', 1])
})

t.test('a part\'s deadline is the earlier one of its own and the whole\'s', async t => {
  const timeouts = { connect: 0, headers: 0, idle: 0, total: 500 }
  const own = gather({ parts: { a: { backend: 'x' } } }, { timeouts, deadline: 2000 })
  own.gathering.start()
  t.equal(own.to('a').call.deadline, 1500)
  const whole = gather({ parts: { a: { backend: 'x' } } }, { timeouts, deadline: 1200 })
  whole.gathering.start()
  t.equal(whole.to('a').call.deadline, 1200)
})

t.test('duration is the time from a part\'s start to its end, not from the request\'s', async t => {
  const run = gather({ parts: { a: { backend: 'x' }, b: { backend: 'x', needs: ['a'] } } })
  run.gathering.start()
  run.pass(30)
  await run.to('a').answer('{}')
  run.pass(12)
  await run.to('b').answer('{}')
  t.same(run.gathering.parts.map(({ duration, attempts }) => [duration, attempts]), [[30, 1], [12, 1]])
})

t.test('forEach keeps its concurrency, and its results in order', async t => {
  const run = gather({ parts: { a: { backend: 'x' }, e: { backend: 'x', path: '/{item}', forEach: { in: '{a.body}', concurrency: 2 } } } })
  run.gathering.start()
  await run.to('a').answer('[1,2,3]')
  t.same(run.sent.map(({ call }) => call.path), ['/c/7', '/1', '/2'])
  await run.sent[2]!.answer('"two"')
  t.same(run.sent.map(({ call }) => call.path), ['/c/7', '/1', '/2', '/3'])
  await run.sent[3]!.answer('"three"')
  await run.sent[1]!.answer('"one"')
  t.equal(run.ended, 1)
  t.equal(run.gathering.parts[1]?.attempts, 3)
})

t.test('forEach of many values that are all missing does not grow the stack', async t => {
  const run = gather({ maxCalls: 100_000, parts: { a: { backend: 'x' }, e: { backend: 'x', path: '/{item.none}', forEach: { in: '{a.body}', max: 20_000 } } } })
  run.gathering.start()
  await run.to('a').answer(JSON.stringify(Array.from({ length: 20_000 }, (_, index) => index)))
  t.same([run.ended, run.states()], [1, 'ok,skipped'])
})
