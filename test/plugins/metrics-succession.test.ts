/** A gateway that takes the place of another one in the same process goes on counting where that one was. */
import t from 'tap'
import { join } from 'node:path'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import { successorOf } from '../../plugins/reverseproxy.ts'
import { buildGateway, httpUpstream, proxyAll, waitFor } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import { valuesOf } from '../lib/metrics/scene.ts'

const METRICS = { defaultMetrics: false } as const

async function first (options: GatewayOptions): Promise<FastifyInstance> {
  const app = await buildGateway(options)
  await app.ready()
  return app
}

/** Ready, but not yet in the other's place. */
async function next (before: FastifyInstance, options: GatewayOptions): Promise<FastifyInstance> {
  const app = Fastify()
  try {
    await app.register(successorOf(() => before.reverseproxy), options)
    await proxyAll()(app)
    await app.ready()
  } catch (error) {
    await app.close()
    throw error
  }
  return app
}

async function read (app: FastifyInstance, name: string): Promise<Record<string, number>> {
  return valuesOf((await app.inject('/metrics')).body, `reverseproxy_${name}`)
}

t.test('counters go on, requests that end in the old gateway count, and reloads are counted', async t => {
  const held: Array<() => void> = []
  const upstream = await httpUpstream(t, (request, response) => {
    if (request.url === '/held') held.push(() => { response.end() })
    else response.end()
  })
  const options = { backends: { up: upstream.url }, metrics: METRICS }
  const old = await first(options)
  await old.inject('/x')
  const late = old.inject('/held')
  t.ok(await waitFor(() => held.length === 1))
  const app = await next(old, options)
  t.teardown(() => app.close())
  t.same(await read(old, 'reloads_total'), { 'result=success': 0, 'result=failure': 0 })
  app.reverseproxy.succeed()
  await app.inject('/x')
  t.same(await read(app, 'requests_total'), { 'route=/*,method=GET,code=200': 2 })
  t.same(await read(app, 'requests_in_flight'), { '': 1 })
  t.same(await read(app, 'target_inflight'), { [`backend=up,target=${upstream.url}`]: 1 }, 'once, whoever has the target')
  held[0]!()
  await late
  await old.close()
  t.same(await read(app, 'requests_total'), { 'route=/*,method=GET,code=200': 3 })
  t.same(await read(app, 'upstream_attempts_total'), { [`backend=up,target=${upstream.url},outcome=ok`]: 3 })
  t.same(await read(app, 'requests_in_flight'), { '': 0 })
  t.same(await read(app, 'reloads_total'), { 'result=success': 1, 'result=failure': 0 })
  t.has(app.reverseproxy.metrics.snapshot().requests, { total: 3, inFlight: 0 })
})

t.test('a change that is refused is counted, and the gateway that stays is untouched', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end() })
  const options = { backends: { up: upstream.url }, metrics: METRICS }
  const app = await first(options)
  t.teardown(() => app.close())
  await app.inject('/x')
  await t.rejects(next(app, { ...options, backends: {} }))
  // this one was ready, and is then not wanted
  await (await next(app, options)).close()
  app.reverseproxy.metrics.reloadFailed()
  t.same(await read(app, 'reloads_total'), { 'result=success': 0, 'result=failure': 1 })
  t.same(await read(app, 'requests_total'), { 'route=/*,method=GET,code=200': 1 })
  t.same(await read(app, 'target_weight'), { [`backend=up,target=${upstream.url}`]: 1 })
})

t.test('targets that are gone with the old gateway are gone from the metrics', async t => {
  const [one, other] = await Promise.all([httpUpstream(t, (_request, response) => { response.end() }), httpUpstream(t, (_request, response) => { response.end() })])
  const old = await first({ backends: { up: one.url }, metrics: METRICS })
  await old.inject('/x')
  const app = await next(old, { backends: { up: other.url }, metrics: METRICS })
  t.teardown(() => app.close())
  app.reverseproxy.succeed()
  await app.inject('/x')
  await old.close()
  t.same(await read(app, 'upstream_attempts_total'), { [`backend=up,target=${other.url},outcome=ok`]: 1 })
  t.same(await read(app, 'target_weight'), { [`backend=up,target=${other.url}`]: 1 })
})

t.test('a registry of the user\'s serves the successor, too, also under another prefix', async t => {
  const registry = new Registry()
  const options = { backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, registry } }
  const old = await first(options)
  await old.inject('/x')
  const app = await next(old, options)
  app.reverseproxy.succeed()
  await old.close()
  t.same(valuesOf(await registry.metrics(), 'reverseproxy_requests_total'), { 'route=/*,method=GET,code=502': 1 })
  const other = await next(app, { ...options, metrics: { ...METRICS, registry, prefix: 'other_' } })
  other.reverseproxy.succeed()
  await app.close()
  await other.inject('/x')
  const text = await registry.metrics()
  t.same(valuesOf(text, 'other_requests_total'), { 'route=/*,method=GET,code=502': 1 })
  t.notMatch(text, /reverseproxy_/)
  await other.close()
  t.equal((await registry.metrics()).trim(), '', 'nothing of ours stays')
})

t.test('other buckets in the same registry begin anew', async t => {
  const registry = new Registry()
  const old = await first({ backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, registry } })
  const app = await next(old, { backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, registry, buckets: [1] } })
  t.teardown(() => app.close())
  app.reverseproxy.succeed()
  await old.close()
  await app.inject('/x')
  t.same(Object.keys(valuesOf(await registry.metrics(), 'reverseproxy_request_duration_seconds_bucket')), ['route=/*,class=5xx,le=1', 'route=/*,class=5xx,le=+Inf'])
})

t.test('metrics that are switched on or off by the change', async t => {
  const options = { backends: { up: 'http://127.0.0.1:1' } }
  const old = await first(options)
  const on = await next(old, { ...options, metrics: METRICS })
  on.reverseproxy.succeed()
  await old.close()
  await on.inject('/x')
  t.same(await read(on, 'requests_total'), { 'route=/*,method=GET,code=502': 1 })
  const off = await next(on, options)
  t.teardown(() => off.close())
  off.reverseproxy.succeed()
  await on.close()
  t.throws(() => off.reverseproxy.metrics.snapshot(), /there are no metrics/)
})

t.test('a server of its own goes on listening, and shows the new gateway', async t => {
  const options = { backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, port: 0 } }
  const old = await first(options)
  const { port } = old.reverseproxy.metrics
  const app = await next(old, { ...options, metrics: { ...options.metrics, prefix: 'new_' } })
  t.equal(app.reverseproxy.metrics.port, undefined, 'until it has taken over')
  app.reverseproxy.succeed()
  await old.close()
  t.equal(app.reverseproxy.metrics.port, port)
  t.match(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), /^new_build_info/m)
  await app.close()
  await t.rejects(fetch(`http://127.0.0.1:${port}/metrics`))
})

t.test('a successor that is not wanted leaves the server to the other', async t => {
  const options = { backends: { up: 'http://127.0.0.1:1' }, metrics: { ...METRICS, port: 0 } }
  const old = await first(options)
  t.teardown(() => old.close())
  await (await next(old, options)).close()
  t.equal((await fetch(`http://127.0.0.1:${old.reverseproxy.metrics.port}/metrics`)).status, 200)
})

t.test('tenants that come with the new gateway have labels', async t => {
  const options = { backends: { up: 'http://127.0.0.1:1' }, metrics: METRICS }
  const old = await first(options)
  const app = await next(old, { ...options, tenancy: { tenants: { a: {} } } })
  t.teardown(() => app.close())
  app.reverseproxy.succeed()
  await old.close()
  await app.inject({ url: '/x', headers: { 'x-tenant-id': 'a' } })
  t.same(await read(app, 'tenant_requests_total'), { 'tenant=a,class=5xx': 1 })
})

t.test('a registry where the names are taken refuses the change, not the moment of taking over', async t => {
  const registry = new Registry()
  const backends = { up: 'http://127.0.0.1:1' }
  const neighbour = await first({ backends, metrics: { ...METRICS, registry } })
  const old = await first({ backends, metrics: METRICS })
  t.teardown(() => Promise.all([neighbour.close(), old.close()]))
  await t.rejects(next(old, { backends, metrics: { ...METRICS, registry } }), { code: 'RP_ERR_OPTIONS' })
  t.match(await registry.metrics(), /^reverseproxy_build_info/m, 'the other\'s are still there')
})

t.test('lines of the traffic dump go on, in the same folder and in another one', async t => {
  const folder = t.testdir()
  const options = (name: string): GatewayOptions => ({ backends: { up: 'http://127.0.0.1:1' }, metrics: METRICS, trafficDump: { directory: join(folder, name), sampleRate: 1 } })
  const written = async (app: FastifyInstance, count: number): Promise<void> => {
    t.ok(await waitFor(() => app.reverseproxy.trafficDump.stats().queued === 0))
    t.same(await read(app, 'traffic_dump_lines_total'), { 'result=written': count, 'result=dropped': 0, 'result=failed': 0 })
    t.same(await read(app, 'traffic_dump_queued_lines'), { '': 0 })
  }
  let app = await first(options('a'))
  t.teardown(() => app.close())
  await app.inject('/x')
  await written(app, 1)
  for (const [index, name] of ['a', 'b', 'b'].entries()) {
    const after = await next(app, options(name))
    after.reverseproxy.succeed()
    await app.close()
    app = after
    await app.inject('/x')
    await written(app, index + 2)
  }
})

t.test('without a traffic dump there is nothing of its lines', async t => {
  const app = await first({ backends: { up: 'http://127.0.0.1:1' }, metrics: METRICS })
  t.teardown(() => app.close())
  t.same(await read(app, 'traffic_dump_lines_total'), {})
  t.same(await read(app, 'traffic_dump_queued_lines'), {})
})
