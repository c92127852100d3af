/**
 * The Consul provider: what it does with a Consul that works. The first part runs against the double, against the double through
 * an agent's HTTP API, and against a real agent where CONSUL_HTTP_ADDR says one (with CONSUL_HTTP_TOKEN for its token).
 */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { createConsul } from '../../lib/discovery/consul.ts'
import { agentControl, consulConfig, fastTools, follow, startConsul } from '../helper/consul.ts'
import { waitFor } from '../helper/time.ts'
import type { Test } from 'tap'
import type { ConsulControl, ConsulInstance } from '../helper/consul.ts'
import type { ConsulDiscoveryConfig } from '../../lib/discovery/types.ts'

const NEVER = new AbortController().signal
const real = process.env['CONSUL_HTTP_ADDR']

const controls: Record<string, (t: Test) => Promise<ConsulControl>> = {
  double: t => startConsul(t),
  'double over HTTP': async t => agentControl((await startConsul(t)).address),
  ...(real === undefined ? undefined : { agent: async () => agentControl(real, process.env['CONSUL_HTTP_TOKEN']) })
}

for (const [name, open] of Object.entries(controls)) {
  t.test(name, async t => {
    /** A service of the test's own, so that tests share an agent. */
    async function setUp (t: Test, said: Partial<ConsulDiscoveryConfig> = {}) {
      const control = await open(t)
      const service = `test-${randomUUID()}`
      const ids = new Set<string>()
      t.teardown(async () => { for (const id of ids) await control.deregister(id).catch(() => {}) })
      const tools = fastTools()
      const provider = createConsul(consulConfig({ address: control.address, token: control.token, service, ...said }), tools)
      const register = async (id: string, more: Omit<ConsulInstance, 'service' | 'id'>) => {
        ids.add(`${service}-${id}`)
        await control.register({ service, id: `${service}-${id}`, ...more })
        return `${service}-${id}`
      }
      return { control, service, tools, provider, register }
    }

    t.test('an instance that is registered is a target, with what is known of it', async t => {
      const { control, provider, register } = await setUp(t)
      const id = await register('a', { address: '10.0.0.1', port: 8080, tags: ['v2', 'primary'], meta: { version: '7', zone: 'eu-1' } })
      const { name, datacenter } = await control.node()
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      t.match(follower.last, [{ url: 'http://10.0.0.1:8080', weight: 1, zone: 'eu-1', metadata: { version: '7', zone: 'eu-1', id, node: name, datacenter, tags: ['v2', 'primary'] } }])
    })

    t.test('a service that nobody has registered is an empty list, and its first instance arrives', async t => {
      const { provider, register } = await setUp(t)
      t.same(await provider.resolve(NEVER), [])
      const follower = follow(t, provider)
      await register('a', { address: '10.0.0.1', port: 80 })
      t.ok(await waitFor(() => follower.urls.length === 1))
      t.same(follower.urls, ['http://10.0.0.1'])
    })

    t.test('instances come and go while it waits', async t => {
      const { control, provider, register } = await setUp(t)
      const follower = follow(t, provider)
      const a = await register('a', { address: '10.0.0.1', port: 8080 })
      t.ok(await waitFor(() => follower.urls.length === 1), 'one')
      await register('b', { address: '10.0.0.2', port: 8080 })
      t.ok(await waitFor(() => follower.urls.length === 2), 'two')
      await control.deregister(a)
      t.ok(await waitFor(() => follower.urls.length === 1), 'one left')
      t.same(follower.urls, ['http://10.0.0.2:8080'])
    })

    t.test('the last instance goes, and the list is empty', async t => {
      const { control, provider, register } = await setUp(t)
      const a = await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      await control.deregister(a)
      t.ok(await waitFor(() => follower.last?.length === 0))
    })

    t.test('an instance whose check is not passing is left out, and comes back', async t => {
      const { control, provider, register } = await setUp(t)
      const a = await register('a', { address: '10.0.0.1', port: 8080 })
      await register('b', { address: '10.0.0.2', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 2), 'both')
      await control.check(a, 'warning')
      t.ok(await waitFor(() => follower.urls.length === 1), 'not with a warning')
      await control.check(a, 'passing')
      t.ok(await waitFor(() => follower.urls.length === 2), 'back')
      await control.check(a, 'critical')
      t.ok(await waitFor(() => follower.urls.length === 1), 'not when critical')
    })

    t.test('without `passing` a warning is used with its own weight, and a critical instance is not', async t => {
      const { control, provider, register } = await setUp(t, { passing: false })
      const a = await register('a', { address: '10.0.0.1', port: 8080, weights: { Passing: 10, Warning: 2 } })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.last?.[0]?.weight === 10), 'passing')
      await control.check(a, 'warning')
      t.ok(await waitFor(() => follower.last?.[0]?.weight === 2), 'warning')
      await control.check(a, 'critical')
      t.ok(await waitFor(() => follower.last?.length === 0), 'critical')
    })

    for (const passing of [true, false]) {
      t.test(`an instance in maintenance is left out (passing: ${passing})`, async t => {
        const { control, provider, register } = await setUp(t, { passing })
        const a = await register('a', { address: '10.0.0.1', port: 8080 })
        await register('b', { address: '10.0.0.2', port: 8080 })
        const follower = follow(t, provider)
        t.ok(await waitFor(() => follower.urls.length === 2), 'both')
        await control.maintenance(a, true)
        t.ok(await waitFor(() => follower.urls.length === 1), 'one')
        t.same(follower.urls, ['http://10.0.0.2:8080'])
        await control.maintenance(a, false)
        t.ok(await waitFor(() => follower.urls.length === 2), 'back')
      })
    }

    t.test('a node in maintenance takes its instances with it', async t => {
      const { control, provider, register } = await setUp(t, { passing: false })
      t.teardown(() => control.nodeMaintenance(false))
      await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1), 'there')
      await control.nodeMaintenance(true)
      t.ok(await waitFor(() => follower.last?.length === 0), 'gone')
      await control.nodeMaintenance(false)
      t.ok(await waitFor(() => follower.urls.length === 1), 'back')
    })

    t.test('all tags must be there, whatever their case', async t => {
      const { provider, register } = await setUp(t, { tags: ['v2', 'Primary'] })
      await register('a', { address: '10.0.0.1', port: 8080, tags: ['v2'] })
      await register('b', { address: '10.0.0.2', port: 8080, tags: ['V2', 'primary', 'more'] })
      await register('c', { address: '10.0.0.3', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length > 0))
      t.same(follower.urls, ['http://10.0.0.2:8080'])
    })

    t.test('an instance without an address is at that of its node', async t => {
      const { control, provider, register } = await setUp(t)
      await register('a', { port: 8080 })
      const { address } = await control.node()
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length > 0))
      t.same(follower.urls, [`http://${address}:8080`])
    })

    t.test('a change of weight, metadata or tags is a new list', async t => {
      const { provider, register } = await setUp(t)
      await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      await register('a', { address: '10.0.0.1', port: 8080, weights: { Passing: 5, Warning: 1 } })
      t.ok(await waitFor(() => follower.last?.[0]?.weight === 5), 'weight')
      await register('a', { address: '10.0.0.1', port: 8080, meta: { version: '2' } })
      t.ok(await waitFor(() => follower.last?.[0]?.metadata?.['version'] === '2'), 'metadata')
      await register('a', { address: '10.0.0.1', port: 8080, tags: ['new'] })
      t.ok(await waitFor(() => (follower.last?.[0]?.metadata?.['tags'] as string[]).includes('new')), 'tags')
    })

    t.test('a write that changes nothing is no new list', async t => {
      const { provider, register } = await setUp(t)
      await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      const before = follower.lists.length
      await register('a', { address: '10.0.0.1', port: 8080, enableTagOverride: true })
      await register('b', { address: '10.0.0.2', port: 8080 })
      t.ok(await waitFor(() => follower.urls.length === 2))
      t.equal(follower.lists.length, before + 1)
    })

    t.test('a wait that is over without news is begun again', async t => {
      const { tools, provider, register } = await setUp(t, { wait: 30 })
      await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      // a round that waits for its turn is one more that has passed
      const rounds = tools.slept.length + 5
      t.ok(await waitFor(() => tools.slept.length >= rounds), 'it goes on asking')
      t.equal(follower.lists.filter(list => list.length === 1).length, 1)
      await register('b', { address: '10.0.0.2', port: 8080 })
      t.ok(await waitFor(() => follower.urls.length === 2))
    })

    t.test('an index that is not there yet is waited for, and the real one is taken after it', async t => {
      const { control, service, provider, register } = await setUp(t)
      await register('a', { address: '10.0.0.1', port: 8080 })
      const follower = follow(t, provider)
      t.ok(await waitFor(() => follower.urls.length === 1))
      const response = await fetch(`${control.address}/v1/health/service/${service}?index=999999999&wait=50ms`, { headers: control.token === undefined ? {} : { 'x-consul-token': control.token } })
      t.equal(response.status, 200)
      t.ok(Number(response.headers.get('x-consul-index')) < 999999999)
      t.equal((await response.json() as unknown[]).length, 1)
    })

    t.test('the name of a service may hold anything', async t => {
      const { control } = await setUp(t)
      const service = `test ${randomUUID()} ä&?#%2F`
      const id = randomUUID()
      t.teardown(() => control.deregister(id).catch(() => {}))
      await control.register({ service, id, address: '10.0.0.1', port: 8080 })
      const follower = follow(t, createConsul(consulConfig({ address: control.address, token: control.token, service }), fastTools()))
      t.ok(await waitFor(() => follower.urls.length === 1))
    })
  })
}
