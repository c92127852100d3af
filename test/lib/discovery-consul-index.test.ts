/** The Consul provider and Consul's index: when it asks, with what, and how often. And that the double does what Consul does. */
import t from 'tap'
import { createConsul } from '../../lib/discovery/consul.ts'
import { consulConfig, fastTools, follow, startConsul } from '../helper/consul.ts'
import { waitFor } from '../helper/time.ts'
import type { Test } from 'tap'
import type { ConsulDiscoveryConfig } from '../../lib/discovery/types.ts'
import type { ConsulOptions } from '../helper/consul.ts'

const NEVER = new AbortController().signal

async function setUp (t: Test, said: Partial<ConsulDiscoveryConfig> = {}, options: ConsulOptions = {}) {
  const consul = await startConsul(t, options)
  const tools = fastTools()
  const provider = createConsul(consulConfig({ address: consul.address, ...said }), tools)
  await consul.register({ service: 'web', id: 'a', address: '10.0.0.1', port: 80 })
  return { consul, tools, provider, isHeld: () => consul.questions.at(-1)?.held === true, index: () => consul.questions.at(-1)?.query.get('index') ?? null }
}

t.test('resolve asks without waiting', async t => {
  const { consul, provider } = await setUp(t)
  await provider.resolve(NEVER)
  t.equal(consul.questions.length, 1)
  t.equal(consul.questions[0]?.query.get('index'), null)
  t.equal(consul.questions[0]?.query.get('wait'), null)
})

t.test('watch begins with the index that resolve has seen, and yields nothing that resolve has told', async t => {
  const { consul, provider, isHeld, index } = await setUp(t)
  t.equal((await provider.resolve(NEVER)).length, 1)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(index(), '11')
  await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
  t.ok(await waitFor(() => follower.lists.length > 0))
  t.same(follower.urls, ['http://10.0.0.1', 'http://10.0.0.2'])
  t.equal(follower.lists.length, 1)
})

t.test('watch without a resolve before it asks once without waiting', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(follower.lists.length, 1)
  t.same(consul.questions.map(({ query }) => query.get('index')), [null, '11'])
})

t.test('the wait is said in milliseconds', async t => {
  const { consul, provider, isHeld } = await setUp(t, { wait: 90_000 })
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(consul.questions.at(-1)?.query.get('wait'), '90000ms')
})

t.test('an index that grows without a change is used, and nothing is yielded', async t => {
  const { consul, provider, isHeld, index } = await setUp(t)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  consul.touch('web')
  t.ok(await waitFor(() => index() === '12' && isHeld()))
  t.equal(follower.lists.length, 1)
})

t.test('a question that ends with the same index is asked again at once', async t => {
  const { consul, tools, provider, isHeld } = await setUp(t)
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  consul.wakeAll()
  t.ok(await waitFor(() => consul.questions.length === 3 && isHeld()))
  t.same(consul.questions.map(({ query }) => query.get('index')), [null, '11', '11'])
  t.equal(follower.lists.length, 1)
  t.same(tools.slept, [])
})

t.test('an index that goes backwards is reset: the list is taken, and the next question is not held', async t => {
  const { consul, provider, isHeld, index } = await setUp(t)
  const snapshot = consul.snapshot()
  await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
  const follower = follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(follower.urls.length, 2)
  consul.restore(snapshot)
  t.ok(await waitFor(() => consul.questions.length === 4 && isHeld()))
  t.same(follower.urls, ['http://10.0.0.1'])
  t.same(consul.questions.map(({ query }) => query.get('index')), [null, '12', null, '11'])
  await consul.register({ service: 'web', id: 'c', address: '10.0.0.3', port: 80 })
  t.ok(await waitFor(() => follower.urls.length === 2), 'what comes after it is heard of')
  t.ok(await waitFor(() => index() === '12'))
})

t.test('an index that goes backwards while nobody watches is no index to wait with', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  const snapshot = consul.snapshot()
  await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
  await provider.resolve(NEVER)
  consul.restore(snapshot)
  await provider.resolve(NEVER)
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.same(consul.questions.map(({ query }) => query.get('index')), [null, null, null, '11'])
})

for (const [what, value] of [['of 0', '0'], ['that is missing', undefined], ['that is no number', 'soon'], ['below 0', '-5']] as const) {
  t.test(`an index ${what} is never sent: it is asked every 15 seconds instead`, async t => {
    const { consul, tools, provider } = await setUp(t)
    consul.twist.headers['X-Consul-Index'] = value
    const follower = follow(t, provider)
    t.ok(await waitFor(() => consul.questions.length >= 4))
    await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80 })
    t.ok(await waitFor(() => follower.urls.length === 2), 'changes are seen')
    await follower.stop()
    t.ok(consul.questions.every(({ query }) => !query.has('index')))
    t.ok(tools.slept.length >= consul.questions.length - 1)
    t.same([...new Set(tools.slept)], [15_000])
  })
}

t.test('once there is an index again it waits again', async t => {
  const { consul, provider, isHeld } = await setUp(t)
  consul.twist.headers['X-Consul-Index'] = '0'
  follow(t, provider)
  t.ok(await waitFor(() => consul.questions.length >= 3))
  consul.twist.headers = {}
  t.ok(await waitFor(isHeld))
})

t.test('an index larger than a number can hold comes back digit by digit', async t => {
  const { consul, provider, isHeld, index } = await setUp(t)
  consul.twist.headers['X-Consul-Index'] = '18446744073709551615'
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.equal(index(), '18446744073709551615')
})

t.test('answers that come at once again and again are asked for five times, then once a second', async t => {
  const { consul, tools, provider } = await setUp(t)
  consul.twist.entries = entries => {
    // written to again before the next question comes: that one is not held
    consul.touch('web')
    return entries
  }
  const follower = follow(t, provider)
  t.ok(await waitFor(() => tools.slept.length >= 3 || consul.questions.length > 100))
  await follower.stop()
  t.same([...new Set(tools.slept)], [1000])
  t.ok(consul.questions.length <= 5 + tools.slept.length + 1, `${consul.questions.length} questions, ${tools.slept.length} pauses`)
})

t.test('turns come back with time', async t => {
  const { consul, tools, provider, isHeld } = await setUp(t)
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  for (let round = 0; round < 20; round++) {
    const before = consul.questions.length
    // a second has passed while it was held
    await tools.sleep(1000, NEVER)
    consul.touch('web')
    t.ok(await waitFor(() => consul.questions.length > before && isHeld()))
  }
  t.equal(tools.slept.length, 20, 'no pause but those of the test')
})

t.test('all parameters are said in the query', async t => {
  const { consul, provider } = await setUp(t, { datacenter: 'dc 2', tags: ['v2', 'a&b'], namespace: 'team', partition: 'part', token: undefined, consistency: 'stale' })
  await provider.resolve(NEVER)
  const query = consul.questions[0]!.query
  t.equal(query.get('dc'), 'dc 2')
  t.same(query.getAll('tag'), ['v2', 'a&b'])
  t.equal(query.get('ns'), 'team')
  t.equal(query.get('partition'), 'part')
  t.equal(query.get('passing'), 'true')
  t.ok(query.has('stale'))
  t.notOk(query.has('consistent'))
})

t.test('what is not wanted is not said', async t => {
  const { consul, provider } = await setUp(t, { passing: false })
  await provider.resolve(NEVER)
  t.equal(consul.questions[0]?.url, '/v1/health/service/web')
})

t.test('consistent reads are asked for', async t => {
  const { consul, provider } = await setUp(t, { consistency: 'consistent' })
  await provider.resolve(NEVER)
  t.ok(consul.questions[0]?.query.has('consistent'))
  t.notOk(consul.questions[0]?.query.has('stale'))
})

t.test('the token goes into its header and nowhere else', async t => {
  const { consul, provider, isHeld } = await setUp(t, { token: 's3cret' }, { tokens: { s3cret: 'read' } })
  t.equal((await provider.resolve(NEVER)).length, 1)
  follow(t, provider)
  t.ok(await waitFor(isHeld))
  t.ok(consul.questions.every(({ token, url }) => token === 's3cret' && !url.includes('s3cret')))
})

t.test('the name of the service is percent-encoded', async t => {
  const { consul, provider } = await setUp(t, { service: 'a/b c?d#e' })
  await provider.resolve(NEVER)
  t.match(consul.questions[0]?.url, /^\/v1\/health\/service\/a%2Fb%20c%3Fd%23e\?/)
})

t.test('tags are checked here too, for a Consul that looks at the first only', async t => {
  const { consul, provider } = await setUp(t, { tags: ['v2', 'primary'] })
  consul.twist.oneTagOnly = true
  await consul.register({ service: 'web', id: 'b', address: '10.0.0.2', port: 80, tags: ['v2'] })
  await consul.register({ service: 'web', id: 'c', address: '10.0.0.3', port: 80, tags: ['v2', 'PRIMARY'] })
  t.same((await provider.resolve(NEVER)).map(({ url }) => url), ['http://10.0.0.3'])
})

t.test('two providers do not know of each other', async t => {
  const { consul, provider } = await setUp(t)
  await consul.register({ service: 'api', id: 'z', address: '10.0.0.9', port: 80 })
  const other = createConsul(consulConfig({ address: consul.address, service: 'api' }), fastTools())
  await provider.resolve(NEVER)
  const follower = follow(t, other)
  t.ok(await waitFor(() => follower.lists.length === 1))
  t.same(follower.urls, ['http://10.0.0.9'])
})

// ---------------------------------------------------------------- the double

t.test('the double holds a question as long as it says, and up to a sixteenth longer', async t => {
  const consul = await startConsul(t, { jitter: () => 0.999 })
  const begin = performance.now()
  const response = await fetch(`${consul.address}/v1/health/service/web?index=1&wait=160ms`)
  t.ok(performance.now() - begin > 165)
  t.equal(response.headers.get('x-consul-index'), '1')
})

t.test('the double refuses what Consul refuses', async t => {
  const consul = await startConsul(t)
  for (const [path, status, text] of [
    ['service/web?wait=soon', 400, 'Invalid wait time'],
    ['service/web?index=x', 400, 'Invalid index'],
    ['service/web?stale&consistent', 400, 'Cannot specify ?stale with ?consistent, conflicting semantics.'],
    ['service/web?passing=maybe', 400, 'Invalid value for ?passing'],
    ['service/', 400, 'Missing service name'],
    ['servces/web', 404, 'Invalid URL path: not a recognized HTTP API endpoint\n']
  ] as const) {
    const response = await fetch(`${consul.address}/v1/health/${path}`)
    t.equal(response.status, status, path)
    t.equal(await response.text(), text)
  }
})

t.test('the double wakes a question for its own service only', async t => {
  const consul = await startConsul(t)
  await consul.register({ service: 'web', id: 'a', port: 80 })
  const answered = fetch(`${consul.address}/v1/health/service/web?index=11&wait=10m`)
  t.ok(await waitFor(() => consul.questions[0]?.held === true))
  await consul.register({ service: 'api', id: 'b', port: 80 })
  await consul.deregister('b')
  await consul.register({ service: 'web', id: 'c', port: 80 })
  const response = await answered
  t.equal(response.headers.get('x-consul-index'), '14')
  t.equal((await response.json() as unknown[]).length, 2)
})

t.test('the double does not wake a question for a service that is not there when another one goes', async t => {
  const consul = await startConsul(t)
  await consul.register({ service: 'api', id: 'b', port: 80 })
  const answered = fetch(`${consul.address}/v1/health/service/web?index=1&wait=10m`)
  t.ok(await waitFor(() => consul.questions[0]?.held === true))
  await consul.deregister('b')
  t.equal(consul.questions[0]?.held, true)
  await consul.register({ service: 'web', id: 'a', port: 80 })
  t.equal((await (await answered).json() as unknown[]).length, 1)
})
