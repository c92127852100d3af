/** Backends as processes that are killed, restarted and drained under load. */
import t from 'tap'
import { sleep, startGateway } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import { startTarget } from './children.ts'
import { count, createAgent, createTally, pace, shoot } from './load.ts'

const RATE = 200

t.test('targets that are killed and come back cost no idempotent request', async t => {
  const targets = await Promise.all(Array.from({ length: 4 }, () => startTarget(t)))
  const { url, app } = await startGateway(t, {
    backends: {
      up: {
        targets: targets.map(({ url }) => url),
        retry: { attempts: 4, backoff: { initial: 10, max: 100 } },
        circuitBreaker: { resetTimeout: 200 },
        outlier: { baseEjection: 200 }
      }
    }
  } as GatewayOptions)
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  const tally = createTally()
  let kills = 0
  let over = false
  const load = pace(RATE, () => over, async nth => {
    const [method, body] = nth % 4 === 0 ? ['PUT', 'x'.repeat(2000)] : nth % 4 === 1 ? ['DELETE', undefined] : ['GET', undefined]
    count(tally, await shoot(agent, `${url}/${nth}`, { method: method!, ...(body === undefined ? undefined : { body }) }))
  })
  await sleep(500)
  for (let round = 0; round < 5; round++) {
    const target = targets[round % targets.length]!
    await target.kill()
    kills++
    await sleep(150)
    await target.restart()
    await sleep(250)
  }
  over = true
  await load
  t.comment(`${tally.total} requests, ${kills} kills, failed: ${JSON.stringify(tally.bad)}`)
  t.ok(tally.total > 200, 'there was load')
  t.same(tally.bad, {}, 'none failed')
  t.same(app.reverseproxy.backends.get('up')!.targets.map(({ inflight }) => inflight), [0, 0, 0, 0])
})

t.test('two of four targets killed at once cost no idempotent request', async t => {
  const targets = await Promise.all(Array.from({ length: 4 }, () => startTarget(t)))
  const { url } = await startGateway(t, {
    backends: { up: { targets: targets.map(({ url }) => url), retry: { attempts: 4, backoff: { initial: 10, max: 100 } }, circuitBreaker: { resetTimeout: 200 } } }
  } as GatewayOptions)
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  const tally = createTally()
  let over = false
  const load = pace(RATE, () => over, async nth => { count(tally, await shoot(agent, `${url}/${nth}`)) })
  await sleep(500)
  await Promise.all([targets[0]!.kill(), targets[2]!.kill()])
  await sleep(800)
  await Promise.all([targets[0]!.restart(), targets[2]!.restart()])
  await sleep(500)
  over = true
  await load
  t.comment(`${tally.total} requests, failed: ${JSON.stringify(tally.bad)}`)
  t.same(tally.bad, {})
})

t.test('a target that is drained before it is killed costs nothing at all, without retries and whatever the method', async t => {
  const targets = await Promise.all(Array.from({ length: 3 }, () => startTarget(t)))
  const { url, app } = await startGateway(t, { backends: { up: { targets: targets.map(({ url }) => url) } } } as GatewayOptions)
  const { backends } = app.reverseproxy
  const agent = createAgent()
  t.teardown(() => { agent.destroy() })
  const tally = createTally()
  let over = false
  const load = pace(RATE, () => over, async nth => {
    count(tally, await shoot(agent, `${url}/${nth}`, nth % 2 === 0 ? {} : { method: 'POST', body: 'x'.repeat(1000) }))
  })
  await sleep(300)
  for (let round = 0; round < 4; round++) {
    const target = targets[round % targets.length]!
    if (round < 2) await backends.drain('up', target.url)
    else await backends.removeTarget('up', target.url)
    await target.kill()
    await sleep(50)
    await target.restart()
    if (round < 2) backends.updateTarget('up', target.url, { active: true })
    else backends.addTarget('up', target.url)
    await sleep(150)
  }
  over = true
  await load
  t.comment(`${tally.total} requests, 4 drains, failed: ${JSON.stringify(tally.bad)}`)
  t.ok(tally.total > 100, 'there was load')
  t.same(tally.bad, {}, 'none failed')
})
