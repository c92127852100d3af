/** Two copies of the gateway, exchanged one after the other under load. */
import t from 'tap'
import { sleep } from '../helper.ts'
import { startChild } from './children.ts'
import { gate } from './gate.ts'
import { count, createAgent, createTally, shoot } from './load.ts'

t.test('a rolling restart of two copies loses nothing', async t => {
  const up = await gate(t)
  up.open()
  const options = { gateway: { backends: { up: up.url }, shutdown: { delay: 800, timeout: '10s' } } }
  const [spare, ...copies] = await Promise.all([startChild(t, options), startChild(t, options), startChild(t, options)])
  const joining = [spare]
  /** What a client knows: which copies take requests. It asks nobody, it listens to Connection: close. */
  const usable = new Set(copies)
  const tally = createTally()
  const over = new AbortController()
  const clients = Promise.all(Array.from({ length: 8 }, async (_, client) => {
    const agent = createAgent()
    for (let nth = client; !over.signal.aborted; nth++) {
      const copy = [...usable][nth % usable.size]!
      const shot = await shoot(agent, `${copy.url}/up/${nth}`)
      if (shot.connection === 'close') usable.delete(copy)
      count(tally, shot)
      await sleep(10)
    }
    agent.destroy()
  }))
  const codes: Array<number | null> = []
  for (const old of copies) {
    await sleep(300)
    codes.push((await old.end('close')).code)
    t.notOk(usable.has(old), 'the clients have noticed')
    for (const fresh of joining.splice(0)) usable.add(fresh)
  }
  await sleep(300)
  over.abort()
  await clients
  t.comment(`${tally.total} requests during two restarts, lost or failed: ${JSON.stringify(tally.bad)}`)
  t.same(codes, [0, 0])
  t.ok(tally.total > 100, 'there was load')
  t.same(tally.bad, {})
})
