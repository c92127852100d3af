/** What an engine may do wrong: the last good targets stay in service, it is said once, and it is over by itself. */
import t from 'tap'
import { httpUpstream, startGateway, waitFor } from '../helper.ts'
import { engine, memoryLog, QUICK } from '../helper/discovery.ts'
import type { Engine } from '../helper/discovery.ts'
import type { GatewayOptions, TestLike } from '../helper.ts'

async function scene (t: TestLike, from: Engine, discovery: object = {}) {
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  from.tell([up.url])
  const log = memoryLog()
  const { app } = await startGateway(t, { backends: { up: { discovery: { provider: from.provider, ...QUICK, ...discovery } } } } as GatewayOptions, undefined, log.server)
  return {
    app,
    up,
    /** What was said of it as a whole. */
    said: () => log.ofDiscovery.filter(line => !line.includes('an entry is left out')),
    ask: async () => (await app.inject('/x')).statusCode,
    status: () => app.reverseproxy.discovery.status('up')[0]!
  }
}

const FAILED = 'discovery failed: the last good targets stay in service'
const WELL = 'discovery works again'

/** Each makes a well engine sick. */
const FAULTS: Record<string, (from: Engine) => void> = {
  'that is down': from => { from.become('rejects') },
  'that throws': from => { from.become('throws') },
  'that tells nothing': from => { from.tell(undefined) },
  'that tells a text': from => { from.tell('<html>502 Bad Gateway</html>') },
  'that tells an object': from => { from.tell({ error: 'no leader' }) },
  'that tells wrong entries only': from => { from.tell([{ url: 'nonsense' }, null, 5, { address: '10.0.0.1' }]) },
  'that tells of far too many': from => { from.tell(Array.from({ length: 20_000 }, (_, index) => `http://10.0.0.1:${index % 60_000 + 1}`)) },
  'that tells a list that throws': from => { from.tell([{ get url () { throw new Error('boom') } }]) },
  'that tells of none': from => { from.tell([]) }
}

for (const watches of [true, false]) {
  for (const [name, sicken] of Object.entries(FAULTS)) {
    t.test(`an engine ${name}, ${watches ? 'watched' : 'asked'}`, async t => {
      const from = engine([], { watches })
      const { ask, said, status, up } = await scene(t, from)
      const { asked } = from
      sicken(from)
      t.ok(await waitFor(() => status().fault !== undefined), 'it is noticed')
      // an empty list is an answer: a watch goes on
      if (name !== 'that tells of none') t.ok(await waitFor(() => from.asked > asked + 3), 'it is asked again')
      for (let i = 0; i < 5; i++) t.equal(await ask(), 200)
      t.equal(status().targets, 1)
      t.same(said(), [FAILED])
      from.tell([up.url])
      t.ok(await waitFor(() => status().fault === undefined), 'it is over')
      t.same(said(), [FAILED, WELL])
      t.equal(await ask(), 200)
    })
  }
}

t.test('an engine that is down at the start, and comes up', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('ok') })
  const from = engine([])
  from.become('rejects')
  const log = memoryLog()
  const { app } = await startGateway(t, { backends: { up: { discovery: { provider: from.provider, ...QUICK, bootTimeout: 30 } } } } as GatewayOptions, undefined, log.server)
  t.equal((await app.inject('/x')).statusCode, 503)
  from.tell([up.url])
  t.ok(await waitFor(() => app.reverseproxy.discovery.status('up')[0]!.targets === 1))
  t.equal((await app.inject('/x')).statusCode, 200)
  t.ok(await waitFor(() => log.ofDiscovery.length === 3))
  t.same(log.ofDiscovery.map(line => line.slice(0, 20)), ['discovery failed: th', 'discovery: no target', 'discovery works agai'])
})

t.test('an engine that does not answer any more', async t => {
  const from = engine([], { watches: false })
  const { ask, said, status, up } = await scene(t, from, { bootTimeout: 30 })
  from.become('silent')
  t.ok(await waitFor(() => status().fault !== undefined))
  t.match(status().fault, /no answer within 30 ms/)
  t.equal(await ask(), 200)
  from.tell([up.url])
  t.ok(await waitFor(() => status().fault === undefined))
  t.same(said(), [FAILED, WELL])
})

t.test('an engine that flaps takes no target out of service', async t => {
  const from = engine([])
  const { ask, said, status, up } = await scene(t, from)
  const over = new AbortController()
  const answers = new Set<number>()
  const asking = (async () => { while (!over.signal.aborted) answers.add(await ask()) })()
  for (let round = 0; round < 20; round++) {
    const { asked } = from
    from.become('rejects')
    t.ok(await waitFor(() => from.asked > asked))
    from.tell([])
    await new Promise(resolve => { setImmediate(resolve) })
    from.tell([up.url])
  }
  t.ok(await waitFor(() => status().fault === undefined))
  over.abort()
  await asking
  t.same([...answers], [200])
  const lines = said()
  t.ok(lines.every((line, index) => line === (index % 2 === 0 ? FAILED : WELL)), 'one line for each time, in turns')
})
