/** Many tenants: what they cost while nobody asks, and what is left of them. */
import { createServer } from 'node:net'
import t from 'tap'
import { sleep } from '../helper.ts'
import { tenantGateway, tenantUpstream, until } from './tenancy-upstream.ts'
import type { FastifyInstance } from 'fastify'

/** Backends that tenants have of their own, as `scope/name`. */
function owned (app: FastifyInstance): string[] {
  return app.reverseproxy.registry.all().filter(({ scope }) => scope !== '').map(({ scope, name }) => `${scope}/${name}`).sort()
}

t.test('hundreds of tenants leave nothing behind when the gateway closes', async t => {
  const up = await tenantUpstream(t)
  const sockets: number[] = []
  // answers nothing: checks and calls that would go on
  const silent = createServer(socket => { sockets.push(1); socket.on('error', () => {}) })
  await new Promise<void>(resolve => { silent.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { silent.close() })
  const health = { path: '/health', interval: 20, timeout: '1m' }
  const { port } = silent.address() as { port: number }
  const ids = Array.from({ length: 300 }, (_, n) => `t${n}`)
  const tenants = Object.fromEntries(ids.map((id, n) => [id, n % 3 === 0 ? { pool: { connections: 2 } } : n % 3 === 1 ? { backends: { up: { url: up.url, health: n < 60 ? { ...health, path: '/x' } : false }, dead: { url: `http://127.0.0.1:${port}`, health } } } : {}]))
  const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, outlier: true, slowStart: { window: '1m' }, circuitBreaker: { failureThreshold: 1, resetTimeout: '1h' }, tenancy: { tenants } })
  for (const id of ids) if (Number(id.slice(1)) % 2 === 0) up.failing.add(id)
  for (let at = 0; at < ids.length; at += 20) await Promise.all(ids.slice(at, at + 20).map(id => ask(id)))
  t.equal(owned(app).length, 300)
  t.equal(app.reverseproxy.breakers.list().filter(({ state }) => state === 'open').length, 150)
  app.server.closeAllConnections()
  const before = performance.now()
  await app.close()
  t.ok(performance.now() - before < 4_000, 'promptly')
  await until('every connection is closed', () => up.open() === 0)
  const checks = up.checks()
  await sleep(60)
  t.equal(up.checks(), checks)
  t.ok(app.reverseproxy.registry.all().every(({ targets }) => targets.every(({ dispatcher, breaker }) => breaker === undefined && (dispatcher === undefined || (dispatcher as unknown as { destroyed: boolean }).destroyed))))
})

t.test('a hundred thousand known tenants', async t => {
  const up = await tenantUpstream(t)
  const tenants = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`tenant-${n}`, n % 2 === 0 ? { metadata: { n } } : { backends: { up: { timeout: '9s' } } }]))
  globalThis.gc?.()
  const [before, heap] = [performance.now(), process.memoryUsage().heapUsed]
  const { app, ask } = await tenantGateway(t, { backends: { up: up.url }, tenancy: { tenants } })
  const boot = performance.now() - before
  globalThis.gc?.()
  const known = (process.memoryUsage().heapUsed - heap) / 100_000
  t.ok(boot < 60_000, `boot: ${Math.round(boot)} ms, heap: ${Math.round(known)} bytes a tenant`)
  t.comment(`boot: ${Math.round(boot)} ms; heap per known tenant: ${Math.round(known)} bytes`)
  t.same(owned(app), [])
  for (const n of [0, 1, 99_998, 99_999]) t.equal(await ask(`tenant-${n}`), '200 up')
  t.equal(owned(app).length, 4)
  t.equal(app.reverseproxy.tenants.list().length, 100_000)
  t.equal(app.reverseproxy.tenants.get('tenant-0')!.active, true)
  t.equal(app.reverseproxy.tenants.get('tenant-2')!.active, false)
})
