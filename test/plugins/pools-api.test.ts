/** Connections at run time: `reverseproxy.pools`. */
import t from 'tap'
import { buildGateway, echoUpstream, http2Upstream, httpUpstream, waitFor } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { GatewayOptions } from '../helper.ts'
import type { ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'

/** A gateway without a route and without a port. */
async function start (t: Test, options: GatewayOptions): Promise<FastifyInstance> {
  const app = await buildGateway(options, () => {})
  t.teardown(() => app.close())
  await app.ready()
  return app
}

t.test('options says what holds', async t => {
  const { reverseproxy } = await start(t, { backends: { a: { targets: ['http://127.0.0.1:1'], pool: { connections: 7 } } }, pool: { keepAliveTimeout: '7s' } })
  t.match(reverseproxy.pools.options('a'), { connections: 7, keepAliveTimeout: 7_000 })
  t.throws(() => reverseproxy.pools.options('b'), RangeError)
})

t.test('stats counts connections and requests', async t => {
  const held: ServerResponse[] = []
  const { url } = await httpUpstream(t, (_request, response) => { held.push(response) })
  const { reverseproxy } = await start(t, { backends: { a: { targets: [url], pool: { connections: 2 } }, b: { targets: [`${url}/base`], pool: { connections: 2 } }, c: url } })
  t.same(reverseproxy.pools.stats(), [], 'a pool is made with the first call')
  const calls = ['a', 'a', 'b'].map(name => reverseproxy.request(name))
  t.ok(await waitFor(() => held.length === 2 && reverseproxy.pools.stats('a')[0]?.running === 2))
  t.match(reverseproxy.pools.stats(), [{ origin: url, tenant: undefined, backends: ['a', 'b'], targets: [url, `${url}/base`], connected: 2, free: 0, running: 2, queued: 1, size: 3 }])
  t.match(reverseproxy.pools.stats('b'), [{ backends: ['b'], running: 2 }], 'they share it')
  t.same(reverseproxy.pools.stats('c'), [])
  held.splice(0).forEach(response => { response.end() })
  t.ok(await waitFor(() => held.length === 1))
  held[0]!.end()
  for (const answer of await Promise.all(calls)) await answer.dump()
  t.ok(await waitFor(() => reverseproxy.pools.stats('a')[0]?.size === 0))
  t.match(reverseproxy.pools.stats('a'), [{ connected: 2, running: 0, queued: 0 }])
  t.throws(() => reverseproxy.pools.stats('d'), RangeError)
})

t.test('a connection that waits for a request is free', async t => {
  const { url } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url } })
  await (await reverseproxy.request('a')).text()
  t.ok(await waitFor(() => reverseproxy.pools.stats('a')[0]?.free === 1))
  t.match(reverseproxy.pools.stats('a'), [{ connected: 1, free: 1, size: 0 }])
})

t.test('stats of HTTP/2: streams are requests', async t => {
  const held: ServerHttp2Stream[] = []
  const { backend } = await http2Upstream(t, stream => { held.push(stream) }, { h2c: true, settings: { maxConcurrentStreams: 2 } })
  const { reverseproxy } = await start(t, { backends: { a: { ...backend, pool: { connections: 1 } } } } as GatewayOptions)
  const calls = [1, 2, 3].map(() => reverseproxy.request('a'))
  t.ok(await waitFor(() => held.length === 2))
  t.match(reverseproxy.pools.stats(), [{ connected: 1, free: 0, pending: 0, queued: 1, running: 2, size: 3 }])
  const end = (stream: ServerHttp2Stream): void => { stream.respond({ ':status': 200 }); stream.end() }
  held.splice(0).forEach(end)
  t.ok(await waitFor(() => held.length === 1))
  held.forEach(end)
  for (const answer of await Promise.all(calls)) await answer.dump()
  t.ok(await waitFor(() => reverseproxy.pools.stats()[0]?.running === 0))
  t.match(reverseproxy.pools.stats(), [{ connected: 1, free: 1, queued: 0, size: 0 }])
})

t.test('configure: new calls take new connections, and those under way finish', async t => {
  const held: ServerResponse[] = []
  const { url } = await httpUpstream(t, (_request, response) => { held.push(response) })
  const { reverseproxy } = await start(t, { backends: { a: { targets: [{ url, weight: 2 }], pool: { connections: 1 } } } })
  const before = reverseproxy.request('a')
  t.ok(await waitFor(() => held.length === 1))
  reverseproxy.pools.configure('a', { connections: 3 })
  t.match(reverseproxy.pools.options('a'), { connections: 3 })
  const after = reverseproxy.request('a')
  t.ok(await waitFor(() => held.length === 2), 'it does not wait for the one connection of before')
  held.forEach(response => { response.end('whole') })
  t.same(await Promise.all([before, after].map(async call => (await call).text())), ['whole', 'whole'])
  t.match(reverseproxy.backends.get('a')?.targets, [{ weight: 2 }])
  t.throws(() => { reverseproxy.pools.configure('a', { connections: -1 }) }, { code: 'RP_ERR_OPTIONS' })
})

t.test('tenants: what they share is everybody\'s, what is theirs is named', async t => {
  const { url } = await echoUpstream(t, 'a')
  const { reverseproxy } = await start(t, { backends: { a: url }, tenancy: { header: 'x-tenant-id', tenants: { shares: {}, own: { backends: { a: { pool: { connections: 3 } } } } } } as never })
  for (const tenant of ['shares', 'own']) await (await reverseproxy.request('a', { tenant })).dump()
  t.same(reverseproxy.pools.stats('a').map(({ tenant }) => tenant), [undefined, 'own'])
  reverseproxy.pools.configure('a', { connections: 9 })
  await (await reverseproxy.request('a', { tenant: 'shares' })).dump()
  t.ok(await waitFor(() => reverseproxy.pools.stats('a').some(({ tenant }) => tenant === undefined)))
})
