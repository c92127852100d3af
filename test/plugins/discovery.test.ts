/** Targets that come and go: real gateways, real backends, and engines that say what the test wants. */
import t from 'tap'
import Fastify from 'fastify'
import { serverOptions } from '../../lib/server-options.ts'
import reverseproxy, { successorOf } from '../../plugins/reverseproxy.ts'
import { buildGateway, httpUpstream, METHODS, rawClient, startGateway, waitFor, wsBackend, wsClient } from '../helper.ts'
import { engine, memoryLog, QUICK } from '../helper/discovery.ts'
import { askTimes } from '../helper/counts.ts'
import type { RequestRecord } from '../../lib/types.ts'
import type { Engine } from '../helper/discovery.ts'
import type { Configure, GatewayOptions, TestLike } from '../helper.ts'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, InjectOptions } from 'fastify'

/** A backend that answers with its name. */
async function named (t: TestLike, name: string) {
  return await httpUpstream(t, (_request, response) => { response.end(name) })
}

/** The backend `up` follows an engine. */
const following = (from: Engine, discovery: object = {}, backend: object = {}, rest: object = {}): GatewayOptions =>
  ({ ...rest, backends: { up: { ...backend, discovery: { provider: from.provider, ...QUICK, ...discovery } } } }) as GatewayOptions

async function ask (app: FastifyInstance, options: InjectOptions | string = '/x'): Promise<string> {
  const { statusCode, body } = await app.inject(options)
  return statusCode === 200 ? body : `${statusCode} ${(JSON.parse(body) as { code: string }).code}`
}

const targetsOf = (app: FastifyInstance, name = 'up') => app.reverseproxy.backends.get(name)!.targets.map(({ url }) => url)
const has = (app: FastifyInstance, count: number) => waitFor(() => targetsOf(app).length === count)

// ---- what a provider tells

t.test('an entry with a name that no target has is a fault that is logged and shown, and the last good list stays', async t => {
  const up = await named(t, 'a')
  const from = engine()
  const log = memoryLog()
  from.tell([up.url])
  const { app } = await startGateway(t, following(from), undefined, log.server)
  from.tell([{ url: 'http://127.0.0.1:1', wieght: 5 }])
  const fault = 'entry 1 of the list: wieght: is nothing that a target has; did you mean "weight"? (got 5)'
  t.ok(await waitFor(() => app.reverseproxy.discovery.status('up')[0]!.fault === fault))
  t.match(log.lines.filter(({ err }) => err !== undefined), [{ msg: 'discovery failed: the last good targets stay in service', err: { message: fault } }])
  t.equal(await ask(app), 'a')
  from.tell([up.url])
  t.ok(await waitFor(() => app.reverseproxy.discovery.status('up')[0]!.fault === undefined))
})

// ---- the first list

t.test('the start waits for the first list of each backend, for all at the same time', async t => {
  const up = await named(t, 'a')
  const engines = [engine(), engine(), engine()]
  const backends = Object.fromEntries(engines.map(({ provider }, index) => [`b${index}`, { discovery: { provider, bootTimeout: '8s' } }]))
  const app = await buildGateway({ backends } as GatewayOptions, () => {})
  t.teardown(() => app.close())
  let isReady = false
  const ready = app.ready().then(() => { isReady = true })
  t.ok(await waitFor(() => engines.every(({ asked }) => asked === 1)), 'all are asked')
  engines[0]!.tell([up.url])
  engines[1]!.tell([up.url])
  t.notOk(await waitFor(() => isReady, 30))
  engines[2]!.tell([up.url])
  await ready
  t.same(app.reverseproxy.discovery.status().map(({ backend, targets }) => [backend, targets]), [['b0', 1], ['b1', 1], ['b2', 1]])
})

t.test('without a first list it starts all the same, and answers 503 until there is one', async t => {
  const up = await named(t, 'a')
  const from = engine()
  const log = memoryLog()
  const { app } = await startGateway(t, following(from, { bootTimeout: 20 }), undefined, log.server)
  t.equal(await ask(app), '503 RP_ERR_NO_TARGET')
  t.match(log.ofDiscovery[0], /no targets yet/)
  from.tell([up.url])
  t.ok(await has(app, 1))
  t.equal(await ask(app), 'a')
})

t.test('or refuses to, and says for which backend and why', async t => {
  const from = engine([])
  from.become('rejects')
  const app = await buildGateway(following(from, { bootTimeout: 30, onBootTimeout: 'refuse' }))
  t.teardown(() => app.close())
  await t.rejects(Promise.resolve(app.ready()), { code: 'RP_ERR_DISCOVERY', message: /backend up has no targets: engine: down/ })
  const { asked } = from
  t.notOk(await waitFor(() => from.asked > asked, 60), 'nobody is followed any more')
})

t.test('it does not wait longer than Fastify would', async t => {
  const { app } = await startGateway(t, following(engine(), { bootTimeout: '1h' }), undefined, { pluginTimeout: 200 })
  t.equal(app.reverseproxy.discovery.status('up')[0]!.targets, 0)
})

t.test('an empty first list is none', async t => {
  const app = await buildGateway(following(engine([]), { bootTimeout: 20, onBootTimeout: 'refuse' }))
  t.teardown(() => app.close())
  await t.rejects(Promise.resolve(app.ready()), { message: /the list is empty/ })
})

// ---- lists

t.test('onEmpty: keep leaves the last targets in service, clear leaves none', async t => {
  const up = await named(t, 'a')
  for (const onEmpty of ['keep', 'clear'] as const) {
    const from = engine([up.url])
    const { app } = await startGateway(t, following(from, { onEmpty }))
    from.tell([])
    if (onEmpty === 'clear') {
      t.ok(await has(app, 0))
      t.equal(await ask(app), '503 RP_ERR_NO_TARGET')
    } else {
      t.ok(await waitFor(() => app.reverseproxy.discovery.status('up')[0]!.fault !== undefined))
      t.equal(await ask(app), 'a')
    }
    from.tell([`${up.url}/again`])
    t.ok(await waitFor(() => targetsOf(app)[0] === `${up.url}/again`))
  }
})

t.test('weights are followed, zones are facts', async t => {
  const [a, b] = [await named(t, 'a'), await named(t, 'b')]
  const from = engine([{ url: a.url, zone: 'x' }, { url: b.url, weight: 0 }])
  const { app, url } = await startGateway(t, following(from, {}, { balancer: 'weighted-round-robin' }))
  t.same(await askTimes(url, 8), { a: 8 })
  t.match(app.reverseproxy.backends.get('up')!.targets[0], { metadata: { zone: 'x' } })
  from.tell([{ url: a.url, weight: 1, zone: 'x' }, { url: b.url, weight: 3 }])
  t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets[1]!.weight === 3))
  t.same(await askTimes(url, 8), { a: 2, b: 6 })
})

t.test('a provider without watch is asked every interval', async t => {
  const up = await named(t, 'a')
  const from = engine([up.url], { watches: false })
  const { app } = await startGateway(t, following(from, { interval: 10 }))
  from.tell([up.url, `${up.url}/two`])
  t.ok(await has(app, 2))
  t.ok(from.asked >= 2)
})

t.test('static targets are there from the start', async t => {
  const up = await named(t, 'a')
  const { app } = await startGateway(t, { backends: { up: { discovery: { static: [up.url, { url: `${up.url}/two`, weight: 2, zone: 'b' }] } } } })
  t.equal(await ask(app), 'a')
  t.match(app.reverseproxy.backends.get('up')!.targets, [{ weight: 1 }, { weight: 2, metadata: { zone: 'b' } }])
  t.match(app.reverseproxy.discovery.status('up'), [{ scope: '', backend: 'up', source: 'static', targets: 2, lists: 1, fault: undefined }])
})

t.test('a provider may be an instance with state of its own', async t => {
  const up = await named(t, 'a')
  class Mine {
    asked = 0
    #url = up.url
    async resolve () { this.asked++; return [{ url: this.#url }] }
  }
  for (const provider of [new Mine(), { asked: 0, async resolve () { this.asked++; return [{ url: up.url }] } }]) {
    const { app } = await startGateway(t, { backends: { up: { discovery: { provider } } } })
    t.equal(await ask(app), 'a')
    t.equal(provider.asked, 1, 'it is not a copy that is asked')
  }
})

t.test('nothing happens when a list is the same', async t => {
  const up = await named(t, 'a')
  const from = engine([up.url, `${up.url}/two`])
  const { app } = await startGateway(t, following(from))
  const backend = app.reverseproxy.registry.resolve('up')!
  const { usable, targets } = backend
  from.tell([`${up.url}/two`, up.url])
  t.ok(await waitFor(() => app.reverseproxy.discovery.status('up')[0]!.lists === 2))
  t.equal(backend.usable, usable)
  t.equal(backend.targets, targets)
})

t.test('targets that stay keep pool, circuit, health, counters and what was made of them', async t => {
  const [a, b, c] = [await named(t, 'a'), await named(t, 'b'), await named(t, 'c')]
  const from = engine([a.url, b.url])
  const { app, url } = await startGateway(t, following(from, {}, { health: { path: '/', interval: '1h' }, outlier: true }))
  await askTimes(url, 4)
  app.reverseproxy.breakers.open('up', a.url)
  app.reverseproxy.backends.updateTarget('up', b.url, { weight: 5 })
  const before = app.reverseproxy.registry.resolve('up')!.targets
  const state = before.map(({ dispatcher, breaker, health, started, weight }) => ({ dispatcher, breaker, health, started, weight }))
  t.ok(state.every(({ dispatcher, breaker, health }) => dispatcher !== undefined && breaker !== undefined && health !== undefined))
  from.tell([c.url, b.url, a.url])
  t.ok(await has(app, 3))
  const after = app.reverseproxy.registry.resolve('up')!.targets
  for (const [index, target] of before.entries()) {
    t.equal(after[index], target)
    for (const key of ['dispatcher', 'breaker', 'health', 'started', 'weight'] as const) t.equal(target[key], state[index]![key], key)
  }
  await app.reverseproxy.backends.drain('up', b.url)
  from.tell([b.url, a.url])
  t.ok(await has(app, 2))
  t.equal(app.reverseproxy.backends.get('up')!.targets[1]!.state, 'draining')
})

t.test('those that go finish what runs and have nothing new, and their WebSockets are closed with 1001', async t => {
  const held: ServerResponse[] = []
  const leaver = await httpUpstream(t, (_request, response) => { held.push(response) })
  const socket = await wsBackend(t)
  const stays = await named(t, 'b')
  const from = engine([leaver.url])
  const configure: Configure = app => {
    app.route({ method: METHODS, url: '/*', proxy: { backend: 'up' }, handler: app.reverseproxy.handler })
    app.get('/ws', { proxy: { backend: 'up', websocket: true } }, app.reverseproxy.handler)
  }
  const { app, url } = await startGateway(t, following(from), configure)
  const running = ask(app)
  t.ok(await waitFor(() => held.length === 1))
  from.tell([socket.url])
  t.ok(await waitFor(() => targetsOf(app)[0] === socket.url))
  const client = await wsClient(t, `${url}/ws`)
  from.tell([stays.url])
  t.same((await client.closed())[0], 1001)
  t.equal(await ask(app), 'b')
  held[0]!.end('finished')
  t.equal(await running, 'finished')
})

t.test('wrong entries are left out and warned of once; duplicates count once', async t => {
  const up = await named(t, 'a')
  const from = engine([up.url, 'ftp://x', `${up.url}/`])
  const log = memoryLog()
  const { app } = await startGateway(t, following(from), undefined, log.server)
  t.same(targetsOf(app), [up.url])
  await app.reverseproxy.discovery.refresh('up')
  t.equal(log.ofDiscovery.length, 2)
})

// ---- at run time

t.test('calls of a backend that comes later wait for its first list', async t => {
  const up = await named(t, 'a')
  const { app } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' } })
  const from = engine()
  await app.reverseproxy.backends.remove('up')
  app.reverseproxy.backends.add('up', { discovery: { provider: from.provider } })
  const answers = Promise.all([ask(app), ask(app)])
  t.ok(await waitFor(() => from.asked === 1))
  from.tell([up.url])
  t.same(await answers, ['a', 'a'])
})

t.test('for bootTimeout, for the time of the call, or until the client goes', async t => {
  const records: RequestRecord[] = []
  const { app, port } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' } }, app => {
    app.addHook('preHandler', async request => { setImmediate(() => { records.push(request.reverseproxy!) }) })
    app.get('/x', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    app.get('/short', { proxy: { backend: 'up', timeout: { total: 20 } } }, app.reverseproxy.handler)
  })
  await app.reverseproxy.backends.remove('up')
  app.reverseproxy.backends.add('up', { discovery: { provider: engine().provider, bootTimeout: 40 } })
  t.equal(await ask(app), '503 RP_ERR_NO_TARGET')
  t.equal(await ask(app), '503 RP_ERR_NO_TARGET', 'and then nobody waits any more')
  app.reverseproxy.backends.update('up', { discovery: { provider: engine().provider, bootTimeout: '1h' } })
  t.equal(await ask(app, '/short'), '504 RP_ERR_TIMEOUT')
  const client = await rawClient(t, port)
  await client.send('GET /x HTTP/1.1\r\nHost: x\r\n\r\n')
  t.ok(await waitFor(() => records.length === 4))
  client.socket.destroy()
  t.ok(await waitFor(() => records[3]!.aborted))
})

t.test('another discovery takes the place of the one before, also for calls that wait', async t => {
  const up = await named(t, 'a')
  const before = engine()
  const { app } = await startGateway(t, following(before, { bootTimeout: 0 }))
  app.reverseproxy.backends.update('up', { discovery: { provider: before.provider, bootTimeout: '1h' } })
  const waiting = ask(app)
  t.ok(await waitFor(() => before.asked === 2))
  const after = engine([up.url])
  app.reverseproxy.backends.update('up', { discovery: { provider: after.provider } })
  t.equal(await waiting, 'a')
  before.tell(['http://127.0.0.1:1'])
  await waitFor(() => false, 20)
  t.same(targetsOf(app), [up.url])
  app.reverseproxy.backends.update('up', { discovery: { provider: after.provider }, timeout: '3s' })
  t.same([targetsOf(app), after.asked], [[up.url], 1], 'other options are no reason to ask again')
})

t.test('a backend that goes, or has a URL instead, is no longer followed', async t => {
  const up = await named(t, 'a')
  const from = engine([up.url])
  const { app } = await startGateway(t, following(from))
  t.ok(await waitFor(() => from.watching === 1))
  app.reverseproxy.backends.update('up', `${up.url}/fixed`)
  t.ok(await waitFor(() => from.watching === 0))
  t.same(app.reverseproxy.discovery.status(), [])
  app.reverseproxy.backends.update('up', { discovery: { provider: from.provider } })
  t.ok(await waitFor(() => from.watching === 1))
  await app.reverseproxy.backends.remove('up')
  t.ok(await waitFor(() => from.watching === 0))
})

t.test('status and refresh', async t => {
  const up = await named(t, 'a')
  const from = engine([up.url], { watches: false })
  const { app } = await startGateway(t, following(from, { interval: '1h', backoff: { initial: '1h', max: '1h' } }))
  const { discovery } = app.reverseproxy
  t.match(discovery.status(), [{ scope: '', backend: 'up', source: 'provider', targets: 1, lists: 1, fault: undefined, lastSuccess: Number }])
  t.ok(Math.abs(discovery.status('up')[0]!.lastSuccess! - Date.now()) < 60_000)
  from.become('rejects')
  t.equal(await discovery.refresh('up'), false)
  t.match(discovery.status('up'), [{ fault: 'engine: down', lists: 1, targets: 1 }])
  from.tell([up.url, `${up.url}/two`])
  t.equal(await discovery.refresh(), true)
  t.match(discovery.status('up'), [{ fault: undefined, lists: 2, targets: 2 }])
  t.throws(() => discovery.status('nobody'), RangeError)
  await t.rejects(discovery.refresh('nobody'), RangeError)
})

t.test('close ends what waits and what is followed', async t => {
  const from = engine()
  const app = await buildGateway(following(from, { bootTimeout: 0 }))
  await app.ready()
  t.equal(from.asked, 1)
  await app.close()
  from.tell(['http://127.0.0.1:1'])
  await waitFor(() => false, 20)
  t.same(targetsOf(app), [])
})

// ---- tenants

t.test('a tenant may have a discovery of its own, and shares that of all otherwise', async t => {
  const [all, own] = [await named(t, 'all'), await named(t, 'own')]
  const [ofAll, ofAcme] = [engine([all.url]), engine()]
  const { app } = await startGateway(t, following(ofAll, {}, {}, { tenancy: { tenants: { acme: { backends: { up: { discovery: { provider: ofAcme.provider } } } }, globex: { timeout: '3s' } } } }))
  const as = (tenant: string) => ask(app, { url: '/x', headers: { 'x-tenant-id': tenant } })
  t.equal(await as('globex'), 'all')
  t.equal(ofAcme.asked, 0, 'not before it is needed')
  const waiting = as('acme')
  t.ok(await waitFor(() => ofAcme.asked === 1))
  ofAcme.tell([own.url])
  t.equal(await waiting, 'own')
  t.same(app.reverseproxy.discovery.status('up').map(({ scope, targets }) => [scope, targets]), [['', 1], ['acme', 1]])
  ofAll.tell([all.url, `${all.url}/two`])
  t.ok(await has(app, 2))
  t.equal(await as('acme'), 'own', 'what changes for all does not take the tenant\'s targets')
  t.equal(ofAcme.asked, 1)
  app.reverseproxy.tenants.set('acme', { backends: { up: { discovery: { provider: ofAcme.provider }, timeout: '2s' } } })
  t.equal(await as('acme'), 'own')
  t.equal(ofAcme.asked, 1, 'other options are no reason to ask again')
  app.reverseproxy.tenants.set('acme', {})
  t.equal(await as('acme'), 'all')
  t.ok(await waitFor(() => ofAcme.watching === 0))
})

t.test('a tenant\'s calls wait for the first list of all, too', async t => {
  const up = await named(t, 'a')
  const from = engine()
  const { app } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, tenancy: { tenants: { acme: { timeout: '5s' } } } })
  await app.reverseproxy.backends.remove('up')
  app.reverseproxy.backends.add('up', { discovery: { provider: from.provider } })
  const waiting = ask(app, { url: '/x', headers: { 'x-tenant-id': 'acme' } })
  t.ok(await waitFor(() => from.asked === 1))
  from.tell([up.url])
  t.equal(await waiting, 'a')
})

t.test('a tenant may have a URL where all have discovery', async t => {
  const [all, own] = [await named(t, 'all'), await named(t, 'own')]
  const { app } = await startGateway(t, following(engine([all.url]), {}, {}, { tenancy: { tenants: { acme: { backends: { up: own.url } } } } }))
  t.equal(await ask(app, { url: '/x', headers: { 'x-tenant-id': 'acme' } }), 'own')
  t.equal(await ask(app), 'all')
})

// ---- one gateway after the other

t.test('a gateway that takes the place of another takes over what it follows', async t => {
  const [up, gone, changed, added] = [await named(t, 'up'), await named(t, 'gone'), await named(t, 'changed'), await named(t, 'added')]
  const engines = { up: engine([up.url]), late: engine(), gone: engine([gone.url]), changed: engine([changed.url]), added: engine([added.url]) }
  const discovery = (name: keyof typeof engines, more: object = {}) => ({ discovery: { provider: engines[name].provider, bootTimeout: 20, ...QUICK, ...more } })
  const logs = [memoryLog(), memoryLog()]
  const start = async (index: 0 | 1, backends: object, previous?: FastifyInstance) => {
    const app = Fastify({ ...serverOptions, ...logs[index]!.server }) as FastifyInstance
    t.teardown(() => app.close())
    await app.register(previous === undefined ? reverseproxy : successorOf(() => previous.reverseproxy), { backends } as GatewayOptions)
    for (const name of Object.keys(backends)) app.get(`/${name}`, { proxy: { backend: name } }, app.reverseproxy.handler)
    await app.ready()
    return app
  }
  const before = await start(0, { up: discovery('up'), late: discovery('late', { bootTimeout: 500, interval: '1h' }), gone: discovery('gone'), changed: discovery('changed') })
  const after = await start(1, { up: discovery('up'), late: discovery('late', { bootTimeout: 500, interval: '1h' }), changed: discovery('changed', { interval: 21 }), added: discovery('added') }, before)
  t.same([engines.up.asked, engines.late.asked], [1, 1], 'what has not changed is not asked again, nor waited for')
  t.same([engines.changed.asked, engines.added.asked], [2, 1], 'what is new is there before the change')
  after.reverseproxy.succeed()
  t.same(after.reverseproxy.discovery.status().map(({ backend, targets }) => [backend, targets]).sort(), [['added', 1], ['changed', 1], ['late', 0], ['up', 1]])
  t.same(before.reverseproxy.discovery.status(), [])
  t.ok(await waitFor(() => engines.gone.watching === 0 && engines.changed.watching === 1), 'nobody follows for the gateway before')
  const late = ask(after, '/late')
  await before.close()
  engines.late.tell([up.url])
  t.equal(await late, 'up')
  t.equal(engines.late.asked, 1)
  for (const name of ['up', 'changed', 'added']) t.equal(await ask(after, `/${name}`), name)
  engines.up.tell([added.url])
  t.ok(await waitFor(() => targetsOf(after)[0] === added.url))
  const lines = logs.map(({ ofDiscovery }) => ofDiscovery.length)
  engines.up.become('rejects')
  t.ok(await waitFor(() => logs[1]!.ofDiscovery.length > lines[1]!), 'the log is that of the gateway now')
  t.equal(logs[0]!.ofDiscovery.length, lines[0])
})
