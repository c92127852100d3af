/** The balancer of a backend at run time: `reverseproxy.balancer`. */
import t from 'tap'
import { echoUpstreams, startGateway, proxyAll } from '../helper.ts'
import type { Balancer } from '../../index.ts'

/** Who answers so many requests, one after the other. */
async function count (url: string, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (let i = 0; i < times; i++) {
    const { name } = await (await fetch(url)).json() as { name: string }
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

t.test('get says what holds, set changes it with the next choice', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { app: { reverseproxy }, url } = await startGateway(t, { backends: { up: [a.url, b.url] }, balancers: { last: () => ({ pick: targets => targets.at(-1) }) } }, proxyAll())
  t.equal(reverseproxy.balancer.get('up'), 'round-robin')
  t.same(await count(url, 4), { a: 2, b: 2 })
  reverseproxy.balancer.set('up', 'last')
  t.equal(reverseproxy.balancer.get('up'), 'last')
  t.same(await count(url, 4), { b: 4 })
  reverseproxy.balancer.set('up', { type: 'hash', key: 'path' })
  t.same(reverseproxy.balancer.get('up'), { type: 'hash', key: 'path' })
  t.equal(Object.keys(await count(url, 4)).length, 1)
})

t.test('a balancer that is none changes nothing', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { app: { reverseproxy } } = await startGateway(t, { backends: { up: [a.url, b.url] } })
  t.throws(() => { reverseproxy.balancer.set('up', 'fastest') }, { code: 'RP_ERR_OPTIONS' })
  t.throws(() => { reverseproxy.balancer.set('up', 7 as never) }, { code: 'RP_ERR_OPTIONS' })
  t.throws(() => { reverseproxy.balancer.set('down', 'random') }, RangeError)
  t.throws(() => reverseproxy.balancer.get('down'), RangeError)
  t.equal(reverseproxy.balancer.get('up'), 'round-robin')
})

t.test('targets, weights and other options stay as they have become', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { app: { reverseproxy } } = await startGateway(t, { backends: { up: { targets: [a.url], pool: { connections: 7 } } } })
  reverseproxy.backends.addTarget('up', { url: b.url, weight: 3 })
  reverseproxy.balancer.set('up', 'random')
  t.match(reverseproxy.backends.get('up'), { balancer: 'random', targets: [{ url: a.url }, { url: b.url, weight: 3 }] })
  t.equal(reverseproxy.pools.options('up').connections, 7)
})

t.test('what tenants have of the backend follows; what they say themselves stays', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const first: Balancer = { pick: targets => targets[0] }
  const { app: { reverseproxy }, url } = await startGateway(t, {
    backends: { up: [a.url, b.url] },
    balancers: { first: () => first, last: () => ({ pick: targets => targets.at(-1) }) },
    tenancy: { sources: [{ query: 'tenant' }], tenants: { acme: { backends: { up: { timeout: '3s' } } }, own: { backends: { up: { balancer: 'last' } } } } } as never
  })
  const of = (tenant: string): Promise<Record<string, number>> => count(`${url}/?tenant=${tenant}`, 2)
  t.same([await of('acme'), await of('own')], [{ a: 1, b: 1 }, { b: 2 }])
  reverseproxy.balancer.set('up', 'first')
  t.same([await of('acme'), await of('own')], [{ a: 2 }, { b: 2 }])
})
