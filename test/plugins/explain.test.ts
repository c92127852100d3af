/** What would become of a request: `reverseproxy.explain()`. */
import t from 'tap'
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { buildGateway, echoUpstreams, rawUpstream, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'

async function start (t: Test, options: GatewayOptions, configure: Configure = () => {}): Promise<FastifyInstance> {
  const app = await buildGateway(options, configure)
  t.teardown(() => app.close())
  await app.ready()
  return app
}

const A = 'http://127.0.0.1:4001'
const B = 'http://127.0.0.1:4002'

t.test('route, backend, path after rewriting, settings and target', async t => {
  const { reverseproxy } = await start(t, {
    backends: { orders: { targets: [{ url: A, weight: 2 }], timeout: '5s', retry: { attempts: 3 }, concurrency: { max: 7 } } },
    routes: [{ name: 'orders', path: '/api/orders/*', proxy: { backend: 'orders', rewrite: { stripPrefix: '/api' } } }]
  })
  t.same(await reverseproxy.explain({ url: '/api/orders/7?a=b' }), {
    route: { name: 'orders', path: '/api/orders/*', kind: 'proxy' },
    tenant: null,
    calls: [{
      backend: 'orders',
      method: 'GET',
      path: '/orders/7?a=b',
      settings: { timeouts: { connect: 5000, headers: 30000, idle: 30000, total: 5000 }, attempts: 3, circuitBreaker: true, concurrency: { max: 7, taken: 0, waiting: 0 } },
      balancer: 'round-robin',
      targets: [{ url: A, state: 'active', weight: 2, inflight: 0, chosen: true }],
      chosen: A
    }]
  })
})

t.test('the conditions of routes hold: method, host and headers', async t => {
  const { reverseproxy } = await start(t, {
    backends: { a: A, b: B },
    routes: [
      { name: 'v2', path: '/x', headers: { 'x-version': '2' }, proxy: { backend: 'b' } },
      { name: 'v1', path: '/x', methods: ['GET'], proxy: { backend: 'a' } },
      { name: 'host', path: '/x', host: 'b.example.com', proxy: { backend: 'b' } }
    ]
  })
  const routeOf = async (like: Parameters<typeof reverseproxy.explain>[0]): Promise<string | null> => (await reverseproxy.explain(like)).route.name
  t.equal(await routeOf({ url: '/x' }), 'v1')
  t.equal(await routeOf({ url: '/x', headers: { 'X-Version': '2' } }), 'v2')
  t.equal(await routeOf({ url: '/x', headers: { host: 'b.example.com' } }), 'host')
  t.equal(await routeOf({ url: '/x', method: 'post' }), null)
})

t.test('without a route it is a 404', async t => {
  const { reverseproxy } = await start(t, { backends: { a: A } })
  t.match(await reverseproxy.explain({ url: '/nowhere' }), { route: { name: null, path: null, kind: 'none' }, calls: [], answered: { statusCode: 404 } })
})

t.test('a method that nobody can send is an error that names the methods', async t => {
  const { reverseproxy } = await start(t, { backends: { a: A }, routes: [{ path: '/x', proxy: 'a' }] })
  for (const method of ['FOO', 'get it', '']) {
    await t.rejects(reverseproxy.explain({ url: '/x', method }), { code: 'RP_ERR_BAD_REQUEST', statusCode: 400, message: new RegExp(`the method must be one of GET, HEAD, .*\\(got "${method}"\\)$`) })
  }
  t.match(await reverseproxy.explain({ url: '/x', method: 'PROPFIND' }), { answered: { statusCode: 404 } }, 'a client can send this one')
})

t.test('the path of a route is explained as it stands, with a note', async t => {
  const { reverseproxy } = await start(t, { backends: { a: A }, routes: [{ path: '/users/:id/*', proxy: 'a' }] })
  t.match(await reverseproxy.explain({ url: '/users/:id/*?a=/:b' }), { route: { kind: 'proxy' }, calls: [{ path: '/users/:id/*?a=/:b' }], note: '":id" is taken as it stands: this wants the path of a request, such as /users/7/7, not that of a route' })
  t.match(await reverseproxy.explain({ url: '/other/*' }), { answered: { statusCode: 404 }, note: /^"\*" is taken as it stands: .* such as \/other\/7,/ })
  for (const url of ['/users/7/x', '/users/7:batch/x', '/users/1/:8080', '/users/7/a*b', '/users/7/x?path=/:id']) t.notHas(await reverseproxy.explain({ url }), { note: /./ }, url)
})

t.test('why each other target was excluded', async t => {
  const urls = [1, 2, 3, 4, 5, 6].map(port => `http://127.0.0.1:${port}`)
  const [inactive, draining, light, open, full, good] = urls as [string, string, string, string, string, string]
  const { reverseproxy } = await start(t, {
    backends: { a: { targets: [{ url: inactive, active: false }, draining, { url: light, weight: 0 }, open, { url: full, maxConnections: 3 }, good], circuitBreaker: { resetTimeout: '30s' } } },
    defaultBackend: 'a'
  })
  reverseproxy.backends.drain('a', draining)
  reverseproxy.breakers.open('a', open)
  const target = reverseproxy.registry.resolve('a')!.targets.find(({ id }) => id === full)!
  target.inflight = 3
  const { calls: [call] } = await reverseproxy.explain()
  t.same(call?.targets.map(({ excluded }) => excluded), ['inactive', 'draining', 'weight 0', 'circuit-open: a trial in 30 s', 'limit: 3 of 3', undefined])
  t.equal(call?.chosen, good)
  target.inflight = 0
})

t.test('health: what is sick is excluded', async t => {
  const { a, b } = await echoUpstreams(t, 'a', 'b')
  const { reverseproxy } = await start(t, { backends: { a: { targets: [a.url, { url: b.url, health: { path: '/status/500', fall: 1, interval: 20 } }] } }, defaultBackend: 'a' })
  t.ok(await waitFor(() => reverseproxy.health.status('a').some(({ healthy }) => !healthy)))
  t.match((await reverseproxy.explain()).calls, [{ chosen: a.url, targets: [{ chosen: true }, { excluded: 'unhealthy' }] }])
})

t.test('where nobody may be asked the error is what a client would get', async t => {
  const { reverseproxy } = await start(t, { backends: { a: A, empty: { targets: [] } } }, app => {
    app.get('/open', { proxy: 'a' }, app.reverseproxy.handler)
    app.get('/empty', { proxy: 'empty' }, app.reverseproxy.handler)
  })
  reverseproxy.breakers.open('a')
  t.match((await reverseproxy.explain({ url: '/open' })).calls, [{ chosen: null, error: { statusCode: 503, code: 'RP_ERR_CIRCUIT_OPEN' } }])
  t.match((await reverseproxy.explain({ url: '/empty' })).calls, [{ chosen: null, targets: [], error: { statusCode: 503, code: 'RP_ERR_NO_TARGET' } }])
})

for (const balancer of ['round-robin', 'weighted-round-robin', 'least-connections', { type: 'hash', key: { header: 'x-user' } }]) {
  t.test(`what is foreseen is what comes, and nothing moves: ${JSON.stringify(balancer)}`, async t => {
    const { a, b, c } = await echoUpstreams(t, 'a', 'b', 'c')
    const app = await start(t, { backends: { a: { targets: [a.url, { url: b.url, weight: 3 }, { url: c.url, weight: 2 }], balancer } } as never, defaultBackend: 'a' })
    const { reverseproxy } = app
    const urls: Record<string, string> = { a: a.url, b: b.url, c: c.url }
    for (let i = 0; i < 15; i++) {
      // one target left out now and then: what is chosen among the others is foreseen, too
      if (i === 7) reverseproxy.breakers.open('a', b.url)
      if (i === 11) reverseproxy.backends.updateTarget('a', c.url, { weight: 5 })
      const like = { url: '/', headers: { 'x-user': `user ${i}` } }
      const [first, second] = await Promise.all([reverseproxy.explain(like), reverseproxy.explain(like)])
      t.same(first, second)
      const { name } = (await app.inject(like)).json<{ name: string }>()
      t.equal(first.calls[0]?.chosen, urls[name])
    }
  })
}

t.test('where chance decides none of several is named', async t => {
  const { reverseproxy } = await start(t, { backends: { a: { targets: [A, B], balancer: 'random' } }, defaultBackend: 'a' })
  t.match((await reverseproxy.explain()).calls, [{ balancer: 'random', chosen: null, error: undefined, targets: [{ chosen: false, excluded: undefined }, { chosen: false, excluded: undefined }] }])
  reverseproxy.breakers.open('a', A)
  t.match((await reverseproxy.explain()).calls, [{ chosen: B }])
})

t.test('no backend gets a byte, and nothing is counted', async t => {
  const upstream = await rawUpstream(t, () => {})
  const responses: string[] = []
  const { reverseproxy } = await start(t, { backends: { a: upstream.url } }, app => {
    app.addHook('onResponse', async request => { responses.push(request.url) })
    app.route({ method: ['GET', 'POST'], url: '/a', proxy: 'a', handler: app.reverseproxy.handler })
    app.get('/both', { composite: { backends: ['a'] } }, app.reverseproxy.handler)
  })
  for (const like of [{ url: '/a' }, { url: '/a', method: 'POST', headers: { 'content-length': '3' } }, { url: '/both' }, { url: '/none' }]) await reverseproxy.explain(like)
  t.equal(upstream.connections, 0)
  t.match(reverseproxy.backends.get('a')?.targets, [{ inflight: 0, started: 0 }])
  t.same(reverseproxy.pools.stats(), [])
  t.same(reverseproxy.breakers.list(), [])
  t.same(responses, [])
})

// ---------------------------------------------------------------- the app's own

t.test('handlers of the app do not run', async t => {
  let runs = 0
  const { reverseproxy } = await start(t, { backends: { a: A }, defaultBackend: 'a' }, app => {
    app.get('/own', { config: { name: 'mine' } }, async () => { runs++ })
    app.post('/proxied', { proxy: 'a' }, async (_request, reply) => { runs++; return reply.proxy() })
    app.register(async inner => { inner.get('/inner', async () => { runs++ }) })
  })
  t.match(await reverseproxy.explain({ url: '/own' }), { route: { name: 'mine', path: '/own', kind: 'other' }, calls: [] })
  t.match(await reverseproxy.explain({ url: '/proxied', method: 'POST' }), { route: { path: '/proxied', kind: 'other' } })
  t.match(await reverseproxy.explain({ url: '/inner' }), { route: { path: '/inner', kind: 'other' } })
  t.equal(runs, 0)
})

t.test('hooks of the app run, and can tell', async t => {
  const told: boolean[] = []
  const app = await start(t, { backends: { a: A }, defaultBackend: 'a' }, app => {
    app.addHook('onRequest', async (request, reply) => {
      told.push(app.reverseproxy.isExplained(request))
      if (request.headers.authorization === undefined) return await reply.code(401).send({ code: 'NO_USER', message: 'who are you?' })
    })
  })
  t.same((await app.reverseproxy.explain()).answered, { statusCode: 401, code: 'NO_USER', message: 'who are you?' })
  t.match(await app.reverseproxy.explain({ headers: { authorization: 'x' } }), { route: { kind: 'proxy' }, answered: undefined })
  await app.inject('/')
  t.same(told, [true, true, false])
})

t.test('no header of a client makes a request one that is explained', async t => {
  const { a } = await echoUpstreams(t, 'a')
  const app = await start(t, { backends: { a: a.url }, defaultBackend: 'a' })
  t.equal((await app.inject({ url: '/', headers: { 'reverseproxy.explaining': '1', explain: '1' } })).statusCode, 200)
})

// ---------------------------------------------------------------- tenants

t.test('the tenant, and what it has of its own', async t => {
  const { reverseproxy } = await start(t, {
    backends: { a: A },
    defaultBackend: 'a',
    tenancy: { header: 'x-tenant-id', required: true, tenants: { acme: { backends: { a: B } } } }
  })
  t.match(await reverseproxy.explain({ headers: { 'x-tenant-id': 'acme' } }), { tenant: { id: 'acme', known: true }, calls: [{ chosen: B }] })
  t.match(await reverseproxy.explain({ headers: { 'x-tenant-id': 'other' } }), { tenant: { id: 'other', known: false }, calls: [{ chosen: A }] })
  t.match(await reverseproxy.explain(), { tenant: null, calls: [], answered: { statusCode: 400, code: 'RP_ERR_TENANT_MISSING' } })
  t.match(await reverseproxy.explain({ headers: { 'x-tenant-id': ['acme', 'other'] } }), { answered: { statusCode: 400, code: 'RP_ERR_TENANT_INVALID' } })
})

// ---------------------------------------------------------------- composites

t.test('each part of a composite: static ones as they are, others as they are written', async t => {
  const { reverseproxy } = await start(t, {
    backends: { users: A, orders: { targets: [B] } },
    routes: [{
      name: 'dashboard',
      path: '/dashboard/:id',
      composite: {
        parts: {
          user: { backend: 'users', path: '/api/users/:id' },
          orders: { backend: 'orders', path: '/orders', query: { user: ':id', limit: 5 } },
          boss: { backend: 'users', path: '/api/users/{user.body.bossId}' }
        }
      }
    }]
  })
  t.match(await reverseproxy.explain({ url: '/dashboard/7' }), {
    route: { name: 'dashboard', path: '/dashboard/:id', kind: 'composite' },
    calls: [
      { part: 'user', backend: 'users', method: 'GET', path: '/api/users/7', chosen: A, needs: undefined },
      { part: 'orders', backend: 'orders', path: '/orders?user=7&limit=5', chosen: B },
      { part: 'boss', needs: ['user'], backend: 'users', path: '/api/users/{user.body.bossId}', chosen: A }
    ]
  })
})

t.test('a part that cannot be asked for says why', async t => {
  const { reverseproxy } = await start(t, { backends: { a: A, b: B }, routes: [{ path: '/x', composite: { backends: ['a', 'b'] } }] })
  reverseproxy.breakers.open('b')
  t.match((await reverseproxy.explain({ url: '/x' })).calls, [{ part: 'a', chosen: A }, { part: 'b', chosen: null, error: { code: 'RP_ERR_CIRCUIT_OPEN' } }])
  await reverseproxy.backends.remove('b')
  t.match((await reverseproxy.explain({ url: '/x' })).calls, [{ part: 'a', chosen: A }, { part: 'b', backend: 'b', chosen: null, error: { statusCode: 500, code: 'RP_ERR_UNKNOWN_BACKEND' } }])
})
