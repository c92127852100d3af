/** What happened lately, from real requests to points, transitions and samples. */
import t from 'tap'
import type { Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { parseOptions } from '../../lib/options/index.ts'
import backends from '../../plugins/backends.ts'
import circuitBreaker from '../../plugins/circuit-breaker.ts'
import core from '../../plugins/core.ts'
import forward from '../../plugins/forward.ts'
import headers from '../../plugins/headers.ts'
import health from '../../plugins/health.ts'
import recent from '../../plugins/recent.ts'
import type { Clock } from '../../lib/deadlines.ts'
import type { RecentEvent, RecentHistory, Sample } from '../../lib/recent/types.ts'
import { closedPort, get, httpUpstream, rawClient, rawUpstream, RESET, respond, startGateway, virtualClock, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, Script, TestLike } from '../helper.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const OK = respond(200, {}, 'hi')

interface SetUp {
  readonly scripts?: readonly Script[]
  readonly backend?: Readonly<Record<string, unknown>>
  readonly gateway?: Readonly<Record<string, unknown>>
  readonly configure?: Configure
}

async function setUp (t: TestLike, { scripts = [OK], backend, gateway, configure }: SetUp = {}) {
  const ups = await Promise.all(scripts.map(script => rawUpstream(t, script)))
  const options = { admin: true, ...gateway, backends: { up: { targets: ups.map(({ url }) => url), circuitBreaker: false, ...backend } } }
  const started = await startGateway(t, options as GatewayOptions, configure)
  return { ...started, ups, ...readerOf(started.app) }
}

function readerOf (app: FastifyInstance) {
  const read = (): RecentHistory => app.reverseproxy.recent!.history()
  return {
    read,
    /** The samples, once there are so many. */
    async samples (count = 1): Promise<readonly Sample[]> {
      await waitFor(() => read().samples.length >= count)
      return read().samples
    },
    /** Transitions of a kind as text, once there are so many. */
    async changes (kind: string, count: number): Promise<string[]> {
      const list = () => read().transitions.filter(transition => transition.kind === kind)
      await waitFor(() => list().length >= count)
      return list().map(({ scope, backend, target, to }) => `${scope}|${backend}|${target}|${to}`)
    },
    /** Numbers of all points, once so many requests have ended. */
    async numbers (requests: number) {
      await waitFor(() => numbersOf(read()).requests >= requests, 5_000)
      return numbersOf(read())
    }
  }
}

function numbersOf ({ points }: RecentHistory) {
  const sum = (numbers: readonly number[]): number => numbers.reduce((one, other) => one + other, 0)
  const up = points.flatMap(point => point.backends['up'] ?? [])
  return {
    requests: sum(points.map(point => point.requests.count)),
    failures: sum(points.map(point => point.requests.failures)),
    inFlight: points.at(-1)?.requests.inFlight,
    attempts: sum(up.map(({ count }) => count)),
    attemptFailures: sum(up.map(({ failures }) => failures))
  }
}

// ---- whether it is there

t.test('without admin there is nothing', async t => {
  const { app, url } = await startGateway(t, { backends: { up: (await httpUpstream(t, (_request, response) => { response.end() })).url } })
  await fetch(url)
  t.equal(app.reverseproxy.recent, undefined)
})

t.test('points follow the clock of the gateway, and its timer ends with it', async t => {
  const clock = virtualClock()
  const app = Fastify()
  await app.register(core, { config: parseOptions({ backends: { up: 'http://127.0.0.1:1' }, admin: true }), clock: clock as unknown as Clock })
  for (const room of [backends, forward, headers, circuitBreaker, health, recent]) await app.register(room)
  await app.ready()
  const events: RecentEvent[] = []
  app.reverseproxy.recent!.subscribe(event => { events.push(event) })
  clock.advance(999)
  t.same(events, [])
  clock.advance(60_001)
  t.equal(events.length, 61)
  t.ok(events.every(({ kind }) => kind === 'point'))
  await app.close()
  t.equal(clock.pending, 0)
  clock.advance(10_000)
  t.equal(events.length, 61)
})

// ---- numbers

t.test('requests and attempts are counted, and failures of either', async t => {
  const { url, numbers } = await setUp(t, {
    scripts: [({ nth }) => nth === 0 ? respond(503) : OK],
    backend: { retry: { attempts: 2, backoff: { initial: 1, max: 1 } } },
    configure: app => {
      app.get('/own', async () => 'own')
      app.get('/*', { proxy: 'up' }, app.reverseproxy.handler)
      app.get('/dead', { proxy: 'dead' }, app.reverseproxy.handler)
      app.reverseproxy.backends.add('dead', { url: 'http://127.0.0.1:1', circuitBreaker: false })
    }
  })
  for (const path of ['/retried', '/plain', '/dead', '/own']) await (await fetch(url + path)).text()
  t.same(await numbers(3), { requests: 3, failures: 1, inFlight: 0, attempts: 3, attemptFailures: 1 })
})

t.test('who goes away is counted, and is no failure', async t => {
  const { port, numbers, samples, ups } = await setUp(t, { scripts: [() => {}] })
  const client = await rawClient(t, port)
  await client.send(get('/slow'))
  t.ok(await waitFor(() => ups[0]!.requests.length === 1))
  await client.send(RESET)
  t.match(await samples(), [{ status: 499, outcome: 'aborted', attempts: [{ outcome: 'aborted', status: null }] }])
  t.match(await numbers(1), { requests: 1, failures: 0, inFlight: 0, attempts: 1, attemptFailures: 0 })
})

t.test('an answer that is broken off is a failure', async t => {
  const { url, numbers, samples } = await setUp(t, { scripts: [[respond(200, { 'content-length': '10' }, null), 'half', RESET]] })
  await t.rejects(fetch(url).then(async response => await response.text()))
  t.match(await samples(), [{ status: 200, outcome: 'reset' }])
  t.match(await numbers(1), { requests: 1, failures: 1 })
})

t.test('a WebSocket ends with its handshake, as it does in metrics', async t => {
  const backend = await wsBackend(t)
  const { app, url } = await startGateway(t, { admin: true, backends: { up: backend.url }, routes: [{ path: '/live', proxy: { backend: 'up', websocket: true } }] }, () => {})
  const { samples, numbers } = readerOf(app)
  const client = await wsClient(t, `${url.replace('http', 'ws')}/live`)
  t.match(await samples(), [{ route: '/live', status: 101, outcome: 'ok', attempts: [{ backend: 'up', status: 101 }] }])
  t.match(await numbers(1), { requests: 1, failures: 0, inFlight: 0 })
  client.socket.terminate()
})

t.test('what a handler of the app forwards counts from its beginning, calls of the app\'s own are attempts only', async t => {
  const { app, url, numbers, samples } = await setUp(t, { configure: app => { app.get('/hand', { config: { name: 'by-hand' } as object }, async (_request, reply) => reply.proxy('up')) } })
  await (await fetch(`${url}/hand`)).text()
  await (await app.reverseproxy.request('up', { path: '/warm-up' })).text()
  t.equal((await samples()).length, 1)
  t.match(await numbers(1), { requests: 1, attempts: 2 })
  t.match(await samples(), [{ status: 200, attempts: [{ backend: 'up' }] }])
})

t.test('what is only explained is not counted', async t => {
  const { app, url, numbers } = await setUp(t)
  await app.reverseproxy.explain({ method: 'GET', url: '/x' })
  await (await fetch(url)).text()
  t.match(await numbers(1), { requests: 1, inFlight: 0 })
})

t.test('what is refused by a hook of the app counts', async t => {
  const { url, numbers } = await setUp(t, { configure: app => { app.get('/*', { proxy: 'up', preHandler: async (_request, reply) => reply.code(401).send() }, app.reverseproxy.handler) } })
  await (await fetch(url)).text()
  t.match(await numbers(1), { requests: 1, failures: 0, attempts: 0 })
})

// ---- samples

t.test('a sample has where the time of a request went, with every attempt', async t => {
  const { url, samples, ups } = await setUp(t, { scripts: [respond(503), OK], backend: { balancer: 'round-robin', retry: { attempts: 2, backoff: { initial: 1, max: 1 } } } })
  const before = Date.now()
  await (await fetch(`${url}/a?b=c`)).text()
  const [sample] = await samples()
  const { at, duration, requestId, attempts, ...rest } = sample!
  t.strictSame(rest, { id: 1, method: 'GET', url: '/a?b=c', route: '/*', tenant: null, status: 200, outcome: 'ok', queued: 0, parts: [] })
  t.ok(at >= before - 2 && at <= Date.now() && Number.isInteger(at), String(at - before))
  t.match(requestId, /\S/)
  t.strictSame(attempts.map(({ start, duration, ...attempt }) => attempt), [
    { backend: 'up', target: ups[0]!.url, part: null, outcome: 'server-error', status: 503 },
    { backend: 'up', target: ups[1]!.url, part: null, outcome: 'ok', status: 200 }
  ])
  t.ok(attempts[0]!.start + attempts[0]!.duration! <= attempts[1]!.start + 0.2 && attempts[1]!.start + attempts[1]!.duration! <= duration + 0.2, JSON.stringify(sample))
})

t.test('a target that cannot be reached', async t => {
  const port = await closedPort()
  const { app, url } = await startGateway(t, { admin: true, backends: { up: `http://127.0.0.1:${port}` } }, app => { app.get('/*', { proxy: 'up' }, app.reverseproxy.handler) })
  await (await fetch(url)).text()
  t.match(await readerOf(app).samples(), [{ status: 502, outcome: 'connect-error', attempts: [{ backend: 'up', target: `http://127.0.0.1:${port}`, outcome: 'connect-error', status: null }] }])
})

t.test('a composite is a waterfall: parts in order, and who needs another one begins after it', async t => {
  const json: Script = ({ request: { target } }) => target === '/fails' ? respond(500) : respond(200, JSON_TYPE, '{"id":7}')
  const [users, orders] = await Promise.all([rawUpstream(t, json), rawUpstream(t, json)])
  const { app, url } = await startGateway(t, {
    admin: true,
    circuitBreaker: false,
    backends: { users: users.url, orders: orders.url },
    routes: [{
      name: 'page',
      path: '/page',
      composite: {
        parts: {
          boss: { backend: 'users', path: '/boss/{user.body.id}' },
          user: { backend: 'users', path: '/user' },
          orders: { backend: 'orders', path: '/orders' },
          fails: { backend: 'orders', path: '/fails', fallback: {} },
          never: { backend: 'orders', path: '/never', needs: ['user'], when: [{ value: '{user.body.none}', exists: true }] }
        }
      }
    }]
  } as GatewayOptions, () => {})
  await (await fetch(`${url}/page`)).text()
  const [sample] = await readerOf(app).samples()
  t.match(sample, { route: 'page', url: '/page', status: 200, outcome: 'ok' })
  t.strictSame(sample!.parts.map(({ name, state, status }) => ({ name, state, status })), [
    { name: 'boss', state: 'ok', status: 200 },
    { name: 'user', state: 'ok', status: 200 },
    { name: 'orders', state: 'ok', status: 200 },
    { name: 'fails', state: 'fallback', status: 500 },
    { name: 'never', state: 'skipped', status: null }
  ])
  const part = (wanted: string) => sample!.parts.find(({ name }) => name === wanted)!
  t.ok(part('user').start! + part('user').duration <= part('boss').start! + 0.2, JSON.stringify(sample!.parts))
  t.ok(sample!.parts.every(({ start, duration }) => start === null || (start >= 0 && start + duration <= sample!.duration + 0.2)))
  t.strictSame([part('never').start, part('never').duration], [null, 0])
  t.same(sample!.attempts.map(({ part, backend, target }) => `${part} ${backend} ${target === orders.url ? 'orders' : 'users'}`).sort(),
    ['boss users users', 'fails orders orders', 'orders orders orders', 'user users users'])
  for (const { part: name, start } of sample!.attempts) t.ok(start >= part(name!).start! - 0.2, name!)
})

t.test('of many requests at once a few are looked at, and failures beside them', async t => {
  const { app, read } = await setUp(t, { scripts: [({ request: { target } }) => respond(target === '/fails' ? 500 : 200)] })
  // within one interval
  await new Promise<void>(resolve => {
    const end = app.reverseproxy.recent!.subscribe(({ kind }) => {
      if (kind !== 'point') return
      end()
      resolve()
    })
  })
  const { points: { length } } = read()
  await Promise.all(Array.from({ length: 20 }, (_, index) => app.inject(index < 10 ? '/x' : '/fails')))
  // on a machine that is too slow for that there may be more
  const intervals = read().points.length - length + 1
  const failed = read().samples.filter(({ status }) => status === 500).length
  t.ok(failed >= 5 && failed <= 5 * intervals, `${failed} failures in ${intervals}`)
  const fine = read().samples.length - failed
  t.ok(fine >= 4 && fine <= 4 * intervals, `${fine} others in ${intervals}`)
})

t.test('no secret of a URL is in a sample, and its length is bounded', async t => {
  const { app, samples } = await setUp(t, { gateway: { trafficDump: { directory: t.testdir(), sampleRate: 0, redact: { query: ['pin'], replaceDefaults: true } } } })
  await app.inject(`/x?token=SECRET1&pin=SECRET2&a=1&q=Bearer%20SECRETSECRET3&long=${'x'.repeat(1_000)}`)
  await app.inject('/x?access_token=SECRET4')
  const list = await samples(2)
  t.notMatch(JSON.stringify(list), /SECRET/)
  t.match(list[0]!.url, /^\/x\?token=.*&a=1&/)
  t.equal(list[0]!.url.length, 200)
})

t.test('tenants are called as logs call them', async t => {
  const { app, samples } = await setUp(t, { gateway: { tenancy: { hashIds: true, tenants: { acme: {} } } } })
  await app.inject({ url: '/x', headers: { 'x-tenant-id': 'acme' } })
  const [{ tenant }] = await samples() as [Sample]
  t.ok(tenant !== null && tenant !== 'acme', String(tenant))
})

// ---- transitions

t.test('breakers that open and close', async t => {
  const { url, app, changes, ups } = await setUp(t, { scripts: [respond(500)], backend: { circuitBreaker: { failureThreshold: 2 } } })
  await (await fetch(url)).text()
  await (await fetch(url)).text()
  app.reverseproxy.breakers.close('up')
  t.same(await changes('breaker', 2), [`|up|${ups[0]!.url}|open`, `|up|${ups[0]!.url}|closed`])
})

t.test('checks that change', async t => {
  let fine = false
  const upstream = await httpUpstream(t, (_request, response) => {
    response.statusCode = fine ? 200 : 500
    response.end()
  })
  const { app } = await startGateway(t, { admin: true, backends: { up: { url: upstream.url, health: { path: '/health', interval: '20ms', rise: 1, fall: 1 } } } })
  const { changes } = readerOf(app)
  t.same(await changes('health', 1), [`|up|${upstream.url}|unhealthy`])
  fine = true
  t.same((await changes('health', 2)).slice(1), [`|up|${upstream.url}|healthy`])
})

t.test('targets that traffic ejects, and that return', async t => {
  const { url, changes, ups } = await setUp(t, { scripts: [respond(500), OK], backend: { outlier: { consecutive: 1, baseEjection: '50ms' } } })
  for (let i = 0; i < 2; i++) await (await fetch(url)).text()
  const list = await changes('health', 2)
  t.same(list.slice(0, 2), [`|up|${ups[0]!.url}|ejected`, `|up|${ups[0]!.url}|healthy`])
})

t.test('targets that come, drain and go', async t => {
  const { app, changes, ups } = await setUp(t)
  const api = app.reverseproxy.backends
  t.same(await changes('target', 0), [], 'those of the options are no news')
  api.addTarget('up', 'http://127.0.0.1:2')
  await api.drain('up', 'http://127.0.0.1:2')
  api.updateTarget('up', 'http://127.0.0.1:2', { active: true })
  await api.removeTarget('up', 'http://127.0.0.1:2')
  api.add('other', 'http://127.0.0.1:3')
  await api.remove('other')
  t.same(await changes('target', 6), [
    '|up|http://127.0.0.1:2|added', '|up|http://127.0.0.1:2|draining', '|up|http://127.0.0.1:2|active', '|up|http://127.0.0.1:2|removed',
    '|other|http://127.0.0.1:3|added', '|other|http://127.0.0.1:3|removed'
  ])
  t.ok(ups.length)
})

// ---- listeners

t.test('a listener that throws is logged once, and requests are not affected', async (t: Test) => {
  const errors: unknown[] = []
  const { app } = await setUp(t)
  app.log.error = (line: unknown) => { errors.push(line) }
  const kinds: string[] = []
  app.reverseproxy.recent!.subscribe(() => { throw new Error('mine') })
  app.reverseproxy.recent!.subscribe(({ kind }) => { kinds.push(kind) })
  t.equal((await app.inject('/x')).statusCode, 200)
  t.equal((await app.inject('/x')).statusCode, 200)
  t.ok(await waitFor(() => kinds.filter(kind => kind === 'sample').length === 2))
  t.match(errors, [{ err: { message: 'mine' } }])
  t.equal(errors.length, 1)
})
