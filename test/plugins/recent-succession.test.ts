/** A gateway that takes the place of another one goes on with what happened lately. */
import t from 'tap'
import type { Test } from 'tap'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { join } from 'node:path'
import { startGateway } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import type { RecentEvent, RecentHistory } from '../../lib/recent/types.ts'
import { httpUpstream, sleep, waitFor } from '../helper.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const ADMIN = 'admin: true\n'

/** A gateway of a text, which `become` replaces. */
async function serving (t: Test, first: string) {
  let text = first
  const gateway = await startGateway(async () => parseConfigText(`server: { host: 127.0.0.1, port: 0, logger: silent }\n${text}`, { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await gateway.close() })
  return {
    gateway,
    ask: async (path: string): Promise<string> => await (await fetch(`http://127.0.0.1:${gateway.port}${path}`)).text(),
    read: (): RecentHistory => gateway.app.reverseproxy.recent!.history(),
    async become (next: string): Promise<void> {
      text = next
      const { outcome } = await gateway.reload() as { outcome: string }
      t.equal(outcome, 'applied')
    }
  }
}

function count ({ points }: RecentHistory): number {
  return points.reduce((sum, { requests }) => sum + requests.count, 0)
}

t.test('points, transitions, samples and ids go on, and a request that the old one ends counts', async t => {
  const held: Array<() => void> = []
  const up = await httpUpstream(t, (request, response) => {
    if (request.url === '/held') held.push(() => { response.end('held') })
    else response.end('ok')
  })
  const config = (path: string): string => `${ADMIN}backends: { up: ${up.url} }\nroutes: [{ path: /held, proxy: up }, { path: ${path}, proxy: up }]\n`
  const { gateway, ask, become, read } = await serving(t, config('/a'))
  await ask('/a')
  gateway.app.reverseproxy.breakers.open('up')
  gateway.app.reverseproxy.breakers.close('up')
  const late = ask('/held')
  t.ok(await waitFor(() => held.length === 1 && count(read()) === 1))
  const before = read()
  await become(config('/b'))
  t.same(read().samples, before.samples)
  t.same(read().transitions, before.transitions)
  await ask('/b')
  gateway.app.reverseproxy.breakers.open('up')
  t.ok(await waitFor(() => count(read()) === 2, 5_000), 'points go on')
  t.equal(read().points.at(-1)!.requests.inFlight, 1)
  t.same(read().points.slice(0, before.points.length), before.points)
  held[0]!()
  t.equal(await late, 'held')
  t.ok(await waitFor(() => count(read()) === 3, 5_000), 'the old one has ended it')
  t.equal(read().points.at(-1)!.requests.inFlight, 0)
  t.same(read().samples.map(({ id, route }) => [id, route]), [[1, '/a'], [2, '/b'], [3, '/held']])
  t.same(read().transitions.map(({ id, to }) => [id, to]), [[1, 'open'], [2, 'closed'], [3, 'open']])
  const { points } = read()
  t.ok(points.every(({ at }, index) => index === 0 || Math.abs(at - points[index - 1]!.at - 1_000) < 100), 'one each second, whoever makes them')
})

t.test('another configuration\'s targets are told, those that stay are not', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end() })
  const { become, read } = await serving(t, `${ADMIN}backends: { up: ${up.url}, gone: 'http://127.0.0.1:2' }\n`)
  await become(`${ADMIN}backends: { up: ['${up.url}', 'http://127.0.0.1:3'], new: 'http://127.0.0.1:4' }\n`)
  t.same(read().transitions.map(({ kind, backend, target, to }) => `${kind} ${backend} ${target} ${to}`).sort(), [
    'target gone http://127.0.0.1:2 removed', 'target new http://127.0.0.1:4 added', 'target up http://127.0.0.1:3 added'
  ])
})

t.test('checks that live on tell the new gateway, once', async t => {
  let fine = true
  const up = await httpUpstream(t, (_request, response) => {
    response.statusCode = fine ? 200 : 500
    response.end()
  })
  const config = (path: string): string => `${ADMIN}backends: { up: { url: ${up.url}, health: { path: /health, interval: 20ms, rise: 1, fall: 1 } } }\nroutes: [{ path: ${path}, proxy: up }]\n`
  const { become, read } = await serving(t, config('/a'))
  await become(config('/b'))
  fine = false
  t.ok(await waitFor(() => read().transitions.length > 0))
  t.match(read().transitions, [{ kind: 'health', backend: 'up', to: 'unhealthy' }])
  t.equal(read().transitions.length, 1)
})

t.test('it may be switched on and off', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end() })
  const config = `backends: { up: ${up.url} }\nroutes: [{ path: /a, proxy: up }]\n`
  const { gateway, ask, become, read } = await serving(t, config)
  t.equal(gateway.app.reverseproxy.recent, undefined)
  await become(ADMIN + config)
  await ask('/a')
  t.ok(await waitFor(() => count(read()) === 1, 5_000))
  t.same(read().transitions, [], 'what was there is no news')
  await become(config)
  t.equal(gateway.app.reverseproxy.recent, undefined)
  await become(ADMIN + config)
  t.same(read(), { interval: 1_000, points: [], transitions: [], samples: [] })
})

t.test('listeners of the old gateway are told until it has closed, and nothing of it is kept', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end() })
  const config = (round: number): string => `${ADMIN}backends: { up: { url: ${up.url}, outlier: { consecutive: 1 }, health: { path: /, interval: 1s } } }\nroutes: [{ path: /x${round}, proxy: up }]\n`
  const { gateway, ask, become, read } = await serving(t, config(0))
  const refs: Array<WeakRef<object>> = []
  let events: RecentEvent[] = []
  for (let round = 1; round <= 10; round++) {
    const { reverseproxy } = gateway.app
    refs.push(new WeakRef(reverseproxy))
    reverseproxy.recent!.subscribe(event => { if (reverseproxy.recent !== undefined) events.push(event) })
    reverseproxy.breakers.open('up')
    reverseproxy.breakers.close('up')
    await ask(`/x${round - 1}`)
    t.ok(events.some(({ kind }) => kind === 'transition'))
    await become(config(round))
    events = []
  }
  let alive = Infinity
  for (let i = 0; i < 100 && alive > 2; i++) {
    await sleep(20)
    collect()
    alive = refs.filter(ref => ref.deref() !== undefined).length
  }
  t.ok(alive <= 2, 'those before are gone', { alive })
  t.equal(read().transitions.length, 20)
})
