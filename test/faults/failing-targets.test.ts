/** Some targets fail, or all of them: what the clients see, and what the backends have to bear. */
import t from 'tap'
import { httpUpstream, seededRandom, sleep, startGateway } from '../helper.ts'
import type { GatewayOptions, TestLike } from '../helper.ts'
import { count, createAgent, createTally, hammer, shoot } from './load.ts'
import type { Tally } from './load.ts'

type Fault = '500' | 'reset' | 'refused' | 'slow'
const FAULTS: readonly Fault[] = ['500', 'reset', 'refused', 'slow']

interface Sick {
  readonly url: string
  /** Requests that have reached it; refused connections count as well. */
  readonly hits: number
  /** Fails from now on with faults drawn by chance, or always with this one. */
  fail (fault?: Fault): void
  heal (): void
}

/**
 * A target that fails when told to. A refusal is a connection that is reset before a byte was read: a reset to the gateway if
 * it was quick enough to send something, else a failed connection.
 */
async function sickTarget (t: TestLike, random: () => number): Promise<Sick> {
  let failing = false
  let fixed: Fault | undefined
  let hits = 0
  const draw = () => fixed ?? FAULTS[Math.floor(random() * FAULTS.length)]!
  const { server, url } = await httpUpstream(t, (request, response) => {
    hits++
    const fault = failing ? draw() : undefined
    if (fault === undefined) response.end('good')
    else if (fault === '500') response.writeHead(500).end('bad')
    else if (fault === 'slow') setTimeout(() => { response.end('late') }, 2_000).unref()
    else request.socket.resetAndDestroy()
  })
  server.on('connection', socket => {
    if (!failing || draw() !== 'refused') return
    hits++
    socket.resetAndDestroy()
  })
  return {
    url,
    get hits () { return hits },
    fail (fault) {
      failing = true
      fixed = fault
    },
    heal () { failing = false }
  }
}

/** What a careful user would write: one try more than there are targets that may fail. */
const CAREFUL = {
  retry: { attempts: 4, statuses: [500, 502, 503, 504], perTryTimeout: 500, backoff: { initial: 5, max: 50 } },
  outlier: { consecutive: 5, baseEjection: 2_000, maxEjectedPercent: 50 }
}

async function scene (t: TestLike, options: object) {
  const random = seededRandom(4)
  const targets = await Promise.all(Array.from({ length: 10 }, () => sickTarget(t, random)))
  const gateway = await startGateway(t, { backends: { up: { targets: targets.map(({ url }) => url), ...options } }, random: seededRandom(5) } as GatewayOptions)
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  return {
    ...gateway,
    targets,
    random,
    hits: () => targets.reduce((sum, { hits }) => sum + hits, 0),
    async load (total: number, tally: Tally, before?: (nth: number) => void) {
      await hammer(total, 30, async nth => {
        before?.(nth)
        count(tally, await shoot(agent, `${gateway.url}/${nth}`))
      })
    }
  }
}

function share ({ good, total }: Tally): number {
  return good / total
}

for (const [name, requests, options] of [
  ['with breakers', 3_000, CAREFUL],
  ['without breakers, by passive health alone', 1_500, { ...CAREFUL, circuitBreaker: false }]
] as const) {
  t.test(`three of ten targets begin to fail under load: 99.9 % of GETs succeed, at most 1.2 hits each; ${name}`, async t => {
    const { targets, load, hits } = await scene(t, options)
    await load(300, createTally())
    const [tally, before] = [createTally(), hits()]
    for (const target of targets.slice(0, 3)) target.fail()
    await load(requests, tally)
    const perRequest = (hits() - before) / tally.total
    t.comment(`${(100 * share(tally)).toFixed(2)} % of ${tally.total} succeeded, ${perRequest.toFixed(3)} hits each, failed: ${JSON.stringify(tally.bad)}`)
    t.equal(tally.total, requests)
    t.ok(share(tally) >= 0.999, 'success')
    t.ok(perRequest <= 1.2, 'hits')
  })
}

t.test('each fault by itself: 99.9 % of GETs succeed, at most 1.2 hits each', async t => {
  for (const fault of FAULTS) {
    const { targets, load, hits } = await scene(t, CAREFUL)
    await load(200, createTally())
    const [tally, before] = [createTally(), hits()]
    for (const target of targets.slice(0, 3)) target.fail(fault)
    await load(300, tally)
    const perRequest = (hits() - before) / tally.total
    t.comment(`${fault}: ${(100 * share(tally)).toFixed(2)} % succeeded, ${perRequest.toFixed(3)} hits each, failed: ${JSON.stringify(tally.bad)}`)
    t.ok(share(tally) >= 0.999, `${fault}: success`)
    t.ok(perRequest <= 1.2, `${fault}: hits`)
  }
})

t.test('another three of ten fail every now and then: 99.9 % of GETs succeed, at most 1.2 hits each', async t => {
  const { targets, load, hits, random } = await scene(t, { ...CAREFUL, outlier: { ...CAREFUL.outlier, baseEjection: 300 }, circuitBreaker: { resetTimeout: 300 } })
  await load(300, createTally())
  const [tally, before] = [createTally(), hits()]
  await load(1_500, tally, nth => {
    if (nth % 500 !== 0) return
    for (const target of targets) target.heal()
    const drawn = [...targets].sort(() => random() - 0.5)
    for (const target of drawn.slice(0, 3)) target.fail()
  })
  const perRequest = (hits() - before) / tally.total
  t.comment(`${(100 * share(tally)).toFixed(2)} % of ${tally.total} succeeded, ${perRequest.toFixed(3)} hits each, failed: ${JSON.stringify(tally.bad)}`)
  t.ok(share(tally) >= 0.999, 'success')
  t.ok(perRequest <= 1.2, 'hits')
})

t.test('with all targets down an open breaker lets hardly anything through but its trials', async t => {
  const resetTimeout = 250
  const { targets, url, hits, app } = await scene(t, { retry: { attempts: 3, statuses: [500], backoff: { initial: 1, max: 2 } }, circuitBreaker: { failureThreshold: 5, resetTimeout } })
  for (const target of targets) target.fail('500')
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  const tally = createTally()
  const over = new AbortController()
  const isOpen = () => app.reverseproxy.breakers.list().filter(({ state }) => state !== 'closed').length === targets.length
  const load = Promise.all(Array.from({ length: 20 }, async () => {
    while (!over.signal.aborted) {
      count(tally, await shoot(agent, url))
      await sleep(1)
    }
  }))
  for (let tries = 0; tries < 1000 && !isOpen(); tries++) await sleep(3)
  const opening = hits()
  // what was under way at the opening is no trial
  await sleep(50)
  const [before, asked, since] = [hits(), tally.total, performance.now()]
  await sleep(2_000)
  const [during, requests, elapsed] = [hits() - before, tally.total - asked, performance.now() - since]
  over.abort()
  await load
  const trials = targets.length * (Math.ceil(elapsed / resetTimeout) + 1)
  t.comment(`${opening} hits to open ten breakers; then ${during} hits of ${requests} requests in ${Math.round(elapsed)} ms, at most ${trials} trials; ${JSON.stringify(tally.bad)}`)
  t.ok(opening <= targets.length * (5 + 20), 'breakers open in time')
  t.ok(requests > 2 * trials, 'there was load')
  t.ok(during <= trials, 'trials only')
  t.ok(during >= targets.length, 'but trials there are')
  t.equal(tally.good, 0)

  for (const target of targets) target.heal()
  const healed = createTally()
  for (let tries = 0; tries < 300 && healed.good < 50; tries++) {
    count(healed, await shoot(agent, url))
    await sleep(10)
  }
  t.ok(healed.good >= 50, 'and it recovers')
})
