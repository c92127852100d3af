/**
 * Composite routes as a tenant has them: parts that are others, gone or new, what holds for all parts, and every part with the
 * tenant's own backend.
 */
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { ask, echoUpstreams, startGateway } from '../helper.ts'
import type { Configure, Echo, GatewayOptions, Told } from '../helper.ts'

const noRoutes: Configure = () => {}

type Parts = Readonly<Record<string, Echo>>

const partsOf = ({ value }: Told): Parts => value as Parts
/** `{ a: 'users /a' }`: who answered which part, and what it was asked. */
const summary = (told: Told) => Object.fromEntries(Object.entries(partsOf(told)).map(([name, { name: backend, url }]) => [name, `${backend} ${url}`]))

/** Backends users, orders and own, a composite in the options and what a tenant says. */
async function world (t: Test, composite: unknown, acme: Record<string, unknown>, { gateway = {}, configure = noRoutes, route = {} }: { gateway?: Record<string, unknown>, configure?: Configure, route?: Record<string, unknown> } = {}) {
  const up = await echoUpstreams(t, 'users', 'orders', 'own')
  const { backends = {}, ...rest } = acme
  const { app, url } = await startGateway(t, {
    ...gateway,
    backends: { users: up.users.url, orders: up.orders.url },
    tenancy: { tenants: { acme: { backends: withUrls(backends, up.own.url), ...rest }, globex: {} } },
    routes: [{ name: 'c', path: '/c/:id', composite, ...route }]
  } as GatewayOptions, configure)
  const asked = (path: string, tenant?: string, init: RequestInit = {}) => ask(url + path, { ...init, headers: { ...init.headers, ...tenant === undefined ? {} : { 'x-tenant-id': tenant } } })
  return { up, app, ask: asked }
}

/** `OWN` stands for the URL of the tenant's own backend. */
function withUrls (value: unknown, url: string): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('OWN', url))
}

const TWO = { parts: { user: { backend: 'users', path: '/users/:id' }, orders: { backend: 'orders', path: '/orders/:id' } } }
const COMMON = { user: 'users /users/7', orders: 'orders /orders/7' }

t.test('every part goes to the tenant\'s own backend where it has one, and names the tenant to it', async t => {
  const { ask, up } = await world(t, TWO, { backends: { users: 'OWN' } })
  const own = await ask('/c/7', 'acme')
  t.same(summary(own), { user: 'own /users/7', orders: 'orders /orders/7' })
  for (const { headers } of Object.values(partsOf(own))) t.equal(headers['x-tenant-id'], 'acme')
  t.equal(up.users.seen.length, 0)
  for (const tenant of ['globex', 'stranger', undefined]) {
    const common = await ask('/c/7', tenant)
    t.same(summary(common), COMMON, String(tenant))
    for (const { headers } of Object.values(partsOf(common))) t.equal(headers['x-tenant-id'], tenant)
  }
})

t.test('parts are changed key by key, taken away and added', async t => {
  const composite = { parts: { ...TWO.parts, third: { backend: 'orders', path: '/third', query: { a: 1 }, headers: { set: { 'x-part': 'third', 'x-kept': 'yes' } } } } }
  const { ask } = await world(t, composite, {
    backends: { billing: 'OWN' },
    routes: {
      c: {
        composite: {
          parts: {
            user: { backend: 'billing' },
            orders: false,
            third: { path: '/other', headers: { set: { 'X-Part': 'acme' } } },
            bills: { backend: 'billing', path: '/bills/:id' }
          }
        }
      }
    }
  })
  const own = await ask('/c/7', 'acme')
  t.same(summary(own), { user: 'own /users/7', third: 'orders /other?a=1', bills: 'own /bills/7' })
  t.has(partsOf(own)['third']!.headers, { 'x-part': 'acme', 'x-kept': 'yes' })
  t.equal(own.headers.get('x-composite-complete'), 'true')
  const common = await ask('/c/7', 'globex')
  t.same(summary(common), { ...COMMON, third: 'orders /third?a=1' })
  t.has(partsOf(common)['third']!.headers, { 'x-part': 'third' })
})

t.test('a part that others need cannot be taken away alone', async t => {
  const composite = { parts: { user: { backend: 'users', path: '/users/:id' }, boss: { backend: 'users', path: '/users/{user.body.name}' } } }
  t.match(await bootProblems(composite, { parts: { user: false } }), [{ path: /^tenancy\.tenants\.acme\.routes\.c\.composite\.parts\.boss/ }])
  const { ask } = await world(t, composite, { routes: { c: { composite: { parts: { user: false, boss: { path: '/boss' } } } } } })
  t.same(summary(await ask('/c/7', 'acme')), { boss: 'users /boss' })
  t.same(summary(await ask('/c/7')), { user: 'users /users/7', boss: 'users /users/users' })
})

t.test('the strategy, the transform and what holds for all parts are the tenant\'s where it says so', async t => {
  const { ask } = await world(t, { ...TWO, meta: false, headers: { response: { set: { 'x-answer': 'common', 'x-kept': 'common' } } } }, {
    routes: { c: { composite: { strategy: 'merge', meta: true, headers: { response: { set: { 'x-answer': 'acme' } } } } } }
  })
  const own = await ask('/c/7', 'acme')
  t.has(own.value, { name: 'orders', url: '/orders/7', _meta: {} }, 'merged: the last part wins')
  t.equal(own.headers.get('x-answer'), 'acme')
  t.equal(own.headers.get('x-kept'), 'common')
  const common = await ask('/c/7')
  t.same(summary(common), COMMON)
  t.equal(common.headers.get('x-answer'), 'common')
})

t.test('in code a tenant has a transform, a condition or a path of its own', async t => {
  const up = await echoUpstreams(t, 'users')
  const { url } = await startGateway(t, {
    backends: { users: up.users.url },
    tenancy: {
      tenants: {
        acme: {
          routes: {
            '/c/:id': {
              composite: {
                parts: { two: { when: () => false }, one: { path: ((_parts: unknown, request: { params: { id: string } }) => `/own/${request.params.id}`) as never } },
                transform: (parts: Record<string, { body?: { url: string } } | undefined>) => ({ one: parts['one']?.body?.url, two: parts['two']?.body?.url ?? null })
              }
            }
          }
        }
      }
    }
  } as GatewayOptions, app => {
    app.get('/c/:id', { composite: { parts: { one: { backend: 'users', path: '/one' }, two: { backend: 'users', path: '/two' } } } }, app.reverseproxy.handler)
  })
  t.same((await ask(`${url}/c/7`, { headers: { 'x-tenant-id': 'acme' } })).value, { one: '/own/7', two: null })
  t.same(summary(await ask(`${url}/c/7`)), { one: 'users /one', two: 'users /two' })
})

t.test('a short form: other backends, one less, or parts in its place', async t => {
  const { ask, app } = await world(t, { backends: ['users', 'orders'], strategy: 'object' }, { backends: { billing: 'OWN' } })
  const { tenants } = app.reverseproxy
  const backends = { billing: (await ownOf(app)) }
  t.same(summary(await ask('/c/7', 'acme')), { users: 'users /c/7', orders: 'orders /c/7' })
  tenants.set('acme', { backends, routes: { c: { composite: { backends: ['users', 'billing'] } } } })
  t.same(summary(await ask('/c/7', 'acme')), { users: 'users /c/7', billing: 'own /c/7' })
  tenants.set('acme', { backends, routes: { c: { composite: { parts: { orders: false } } } } })
  t.same(summary(await ask('/c/7', 'acme')), { users: 'users /c/7' })
  tenants.set('acme', { backends, routes: { c: { composite: { strategy: 'merge', parts: { orders: false } } } } })
  t.has((await ask('/c/7', 'acme')).value, { name: 'users' })
  tenants.set('acme', { backends, routes: { c: { composite: { parts: { bills: { backend: 'billing', path: '/bills' } } } } } })
  t.same(summary(await ask('/c/7', 'acme')), { bills: 'own /bills' })
  t.same(summary(await ask('/c/7')), { users: 'users /c/7', orders: 'orders /c/7' })

  async function ownOf (app: FastifyInstance): Promise<string> {
    const other = await echoUpstreams(t, 'own')
    t.ok(app)
    return other.own.url
  }
})

t.test('a full form becomes a short one', async t => {
  const { ask } = await world(t, TWO, { routes: { c: { composite: { backends: ['users'], strategy: 'object' } } } })
  t.same(summary(await ask('/c/7', 'acme')), { users: 'users /c/7' })
  t.same(summary(await ask('/c/7')), COMMON)
})

t.test('a composite that is false is a 404, one that is off is there for who switches it on', async t => {
  const { ask } = await world(t, TWO, { routes: { c: false, off: { composite: { parts: { orders: false } } }, beta: { enabled: true, composite: { parts: { orders: false } } } } }, {
    configure (app) {
      app.get('/beta/:id', { composite: TWO, config: { name: 'beta' }, tenancy: { enabled: false } }, app.reverseproxy.handler)
      app.get('/off/:id', { composite: TWO, config: { name: 'off' }, tenancy: { enabled: false } }, app.reverseproxy.handler)
    }
  })
  t.equal((await ask('/c/7', 'acme')).status, 404)
  t.equal((await ask('/c/7', 'acme', { method: 'HEAD' })).status, 404)
  t.equal((await ask('/c/7', 'globex')).status, 200)
  t.same(summary(await ask('/beta/7', 'acme')), { user: 'users /users/7' })
  for (const tenant of ['globex', undefined]) t.equal((await ask('/beta/7', tenant)).status, 404)
  t.equal((await ask('/off/7', 'acme')).status, 404, 'to change it is not to switch it on')
})

t.test('a backend that the tenant does not have is a part that failed', async t => {
  const { ask } = await world(t, { parts: { user: { backend: 'users', path: '/u', required: true }, orders: { backend: 'orders', path: '/o' } } }, { backends: { orders: false } })
  const partial = await ask('/c/7', 'acme')
  t.equal(partial.status, 200)
  t.equal(partial.headers.get('x-composite-complete'), 'false')
  t.same(Object.keys(partsOf(partial)), ['user'])
  t.equal((await ask('/c/7')).headers.get('x-composite-complete'), 'true')
  const required = await world(t, TWO, { backends: { users: false, orders: false } })
  t.ok([502, 503].includes((await required.ask('/c/7', 'acme')).status), 'nothing usable')
})

t.test('HEAD gives the head of the tenant\'s own answer', async t => {
  const { ask, up } = await world(t, TWO, { backends: { users: 'OWN' }, headers: { response: { set: { 'x-plan': 'gold' } } } })
  const answer = await ask('/c/7', 'acme', { method: 'HEAD' })
  t.equal(answer.status, 200)
  t.equal(answer.text, '')
  t.equal(answer.headers.get('x-plan'), 'gold')
  t.match(up.own.seen, [{ method: 'GET', url: '/users/7' }])
})

t.test('a body limit of a tenant for a composite may be larger or smaller', async t => {
  const { ask, app } = await world(t, { bodyLimit: 200, parts: { only: { backend: 'users', path: '/x', body: 'client', maxBytes: '8mb', required: true } }, maxBytes: '16mb' }, { limits: { body: 50 } }, { route: { methods: ['POST'] } })
  const post = async (size: number, tenant?: string, type = 'application/octet-stream') => (await ask('/c/7', tenant, { method: 'POST', body: type === 'application/json' ? JSON.stringify('x'.repeat(size - 2)) : 'x'.repeat(size), headers: { 'content-type': type } })).status
  for (const tenant of ['acme', undefined]) t.same([await post(200, tenant), await post(201, tenant)], [200, 413], 'the route is narrower than limits')
  app.reverseproxy.tenants.set('acme', { routes: { c: { composite: { bodyLimit: 100 } } } })
  t.same([await post(100, 'acme'), await post(101, 'acme')], [200, 413])
  app.reverseproxy.tenants.set('acme', { routes: { c: { composite: { bodyLimit: '2mb' } } } })
  for (const type of ['application/octet-stream', 'application/json']) {
    t.same([await post(1_500_000, 'acme', type), await post(2 * 1024 * 1024 + 1, 'acme', type)], [200, 413], type)
    t.same([await post(200, undefined, type), await post(201, undefined, type)], [200, 413], `${type}, for others`)
  }
})

t.test('a composite in code lets a tenant have a larger body than everybody', async t => {
  const up = await echoUpstreams(t, 'users')
  const { url } = await startGateway(t, {
    backends: { users: up.users.url },
    tenancy: { tenants: { acme: { routes: { '/c': { composite: { bodyLimit: '100kb' } } } } } }
  }, app => {
    app.post('/c', { composite: { bodyLimit: '1kb', parts: { only: { backend: 'users', path: '/x', body: 'client', maxBytes: '8mb', required: true } }, maxBytes: '16mb' } }, app.reverseproxy.handler)
  })
  for (const type of ['application/octet-stream', 'application/json', 'text/plain']) {
    const post = async (size: number, tenant: string) => (await ask(`${url}/c`, { method: 'POST', body: JSON.stringify('x'.repeat(size - 2)), headers: { 'content-type': type, 'x-tenant-id': tenant } })).status
    t.same([await post(1024, 'globex'), await post(1025, 'globex')], [200, 413], `${type}: everybody`)
    t.same([await post(100 * 1024, 'acme'), await post(100 * 1024 + 1, 'acme')], [200, 413], `${type}: the tenant`)
  }
})

t.test('a tenant may have a part that passes the client\'s body on where the others have none', async t => {
  const up = await echoUpstreams(t, 'users')
  const composite = { parts: { one: { backend: 'users', path: '/one' } } }
  const tenancy = { tenants: { acme: { routes: Object.fromEntries(['file', 'code'].map(name => [name, { composite: { parts: { two: { backend: 'users', path: '/two', method: 'POST', body: 'client' } } } }])) } } }
  const { url } = await startGateway(t, { backends: { users: up.users.url }, tenancy, routes: [{ name: 'file', path: '/file', methods: 'POST', composite }] } as GatewayOptions, app => {
    app.post('/code', { composite, config: { name: 'code' } }, app.reverseproxy.handler)
  })
  for (const path of ['/file', '/code']) {
    for (const type of ['application/json', 'application/octet-stream', 'text/plain']) {
      const post = (tenant: string) => ask(url + path, { method: 'POST', body: '{ "a":  1 }', headers: { 'content-type': type, 'x-tenant-id': tenant } })
      const own = await post('acme')
      t.match(own.value, { one: { url: '/one', body: '' }, two: { url: '/two', body: '{ "a":  1 }', headers: { 'content-type': type } } }, `${path} ${type}`)
      t.match((await post('globex')).value, { one: { url: '/one', body: '' }, two: undefined }, `${path} ${type}, for others`)
    }
  }
})

t.test('reply.composite() uses the backends of the tenant', async t => {
  const options = { parts: { user: { backend: 'users', path: '/users/7' }, orders: { backend: 'orders', path: '/orders/7' } } }
  const { ask } = await world(t, TWO, { backends: { users: 'OWN' }, headers: { response: { set: { 'x-plan': 'gold' } } } }, {
    configure (app) { app.get('/hand', (_request, reply) => reply.composite(options)) }
  })
  const own = await ask('/hand', 'acme')
  t.same(summary(own), { user: 'own /users/7', orders: 'orders /orders/7' })
  t.equal(own.headers.get('x-plan'), 'gold')
  t.same(summary(await ask('/hand')), COMMON)
})

t.test('retries, fallbacks and the circuit of a part are those of the tenant', async t => {
  const composite = { parts: { only: { backend: 'users', path: '/status/503', fallback: { from: 'common' } } } }
  const { ask, up, app } = await world(t, composite, {
    routes: { c: { composite: { parts: { only: { retry: { attempts: 3, budget: false, backoff: { initial: 1, max: 1 } }, fallback: { from: 'acme' } } } } } }
  })
  t.same((await ask('/c/7', 'acme')).value, { only: { from: 'acme' } })
  t.equal(up.users.seen.length, 3)
  t.same((await ask('/c/7')).value, { only: { from: 'common' } })
  t.equal(up.users.seen.length, 4)
  await ask('/c/7', 'acme')
  t.equal(app.reverseproxy.breakers.get('users', undefined, 'acme')?.state, 'open')
  t.equal(app.reverseproxy.breakers.get('users')?.state, 'closed')
})

t.test('a composite of two routes with one path is changed by its name', async t => {
  const up = await echoUpstreams(t, 'users', 'orders')
  const { url } = await startGateway(t, {
    backends: { users: up.users.url, orders: up.orders.url },
    tenancy: { tenants: { acme: { routes: { plain: { proxy: { backend: 'orders' } }, both: { composite: { parts: { two: false } } } } } } },
    routes: [
      { name: 'plain', path: '/x', methods: 'GET', proxy: { backend: 'users' } },
      { name: 'both', path: '/x', headers: { 'x-both': '1' }, composite: { parts: { one: { backend: 'users', path: '/one' }, two: { backend: 'users', path: '/two' } } } }
    ]
  } as GatewayOptions, noRoutes)
  const get = (headers: Record<string, string>) => ask(`${url}/x`, { headers })
  t.has((await get({ 'x-tenant-id': 'acme' })).value, { name: 'orders', url: '/x' })
  t.same(summary(await get({ 'x-tenant-id': 'acme', 'x-both': '1' })), { one: 'users /one' })
  t.same(summary(await get({ 'x-both': '1' })), { one: 'users /one', two: 'users /two' })
})

// ---- what is wrong

/** Problems of a tenant's change of the composite. */
async function bootProblems (composite: unknown, change: unknown, declare: 'options' | 'code' = 'options'): Promise<Array<{ path: string, rule: string, value?: unknown }>> {
  const app = Fastify({ ...serverOptions }) as FastifyInstance
  const routes = declare === 'options' ? [{ name: 'c', path: '/c/:id', composite }] : []
  try {
    await app.register(reverseproxy, {
      backends: { users: 'http://127.0.0.1:1', orders: 'http://127.0.0.1:2' },
      tenancy: { tenants: { acme: { routes: { c: { composite: change } } } } },
      routes
    } as GatewayOptions)
    if (declare === 'code') app.get('/c/:id', { composite: composite as never, config: { name: 'c' } }, app.reverseproxy.handler)
    await app.ready()
  } catch (error) {
    const { code, problems } = error as { code: string, problems: Array<{ path: string, rule: string, value?: unknown }> }
    if (code !== 'RP_ERR_OPTIONS') throw error
    return problems
  } finally {
    await app.close()
  }
  throw new Error(`it has started: ${JSON.stringify(change)}`)
}

const WRONG: ReadonlyArray<readonly [what: string, change: unknown, path: RegExp, rule: RegExp]> = [
  ['a part that is not there is taken away', { parts: { order: false } }, /\.parts\.order$/, /user, orders/],
  ['a new part without a path', { parts: { bills: { pathh: '/x' } } }, /\.parts\.bills/, /./],
  ['a part with a backend that nobody has', { parts: { bills: { backend: 'billing', path: '/x' } } }, /\.parts\.bills\.backend$/, /users, orders/],
  ['a path with a parameter that the route does not have', { parts: { user: { path: '/users/:name' } } }, /\.parts\.user\.path$/, /./],
  ['a reference to a part that is not there', { parts: { user: { path: '/users/{boss.body.id}' } } }, /\.parts\.user\.path$/, /./],
  ['a strategy that is none', { strategy: 'blend' }, /\.strategy$/, /merge/],
  ['an option that is none', { timeOut: '1s' }, /\.timeOut$/, /./],
  ['no part left', { parts: { user: false, orders: false } }, /\.parts/, /./],
  ['both forms', { backends: ['users'], parts: { user: { path: '/x' } } }, /composite/, /./]
]

for (const declare of ['options', 'code'] as const) {
  for (const [what, change, path, rule] of WRONG) {
    t.test(`refused at boot, a route in ${declare}: ${what}`, async t => {
      const problems = await bootProblems(TWO, change, declare)
      t.ok(problems.length > 0)
      t.match(problems[0], { path, rule })
      for (const problem of problems) t.match(problem.path, /^tenancy\.tenants\.acme\.routes\.c\.composite/)
    })
  }
}
