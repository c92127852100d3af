/** The hooks of tenancy: who is called, in which order, with what, and what their headers do to calls. */
import t from 'tap'
import type { Test } from 'tap'
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyRequest, InjectOptions } from 'fastify'
import { rawClient, rawUpstream, respond, startGateway, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script } from '../helper.ts'
import type { OnTenant, Tenant, TenantHeaders } from '../../lib/tenancy/types.ts'

type TenancyOptions = NonNullable<GatewayOptions['tenancy']>

interface Scene {
  readonly app: FastifyInstance
  readonly port: number
  readonly upstream: RawUpstream
  /** Status, and the code of a refusal. */
  ask (request?: string | InjectOptions): Promise<string>
  /** What the backend got of these headers, in its order, `name: value` with names in lower case. */
  sent (request: string | InjectOptions, ...names: string[]): Promise<string[]>
}

const OK = respond(200, { 'Content-Type': 'application/json' }, '{"ok":true}')
const ACME = { 'x-tenant-id': 'acme' }

/** A gateway over one backend, `up`. */
async function setUp (t: Test, tenancy: TenancyOptions, configure: Configure = WAYS, options: Partial<GatewayOptions> = {}, script: Script = OK): Promise<Scene> {
  const upstream = await rawUpstream(t, script)
  const { app, port } = await startGateway(t, { backends: { up: upstream.url }, circuitBreaker: false, tenancy, ...options }, configure)
  async function ask (request: string | InjectOptions = '/plain'): Promise<string> {
    const before = upstream.requests.length
    const { statusCode, body } = await app.inject(typeof request === 'string' ? { url: request, headers: ACME } : request)
    if (statusCode === 200) return upstream.requests.length > before ? '200' : `200 ${body}`
    const { code = '' } = (body.startsWith('{') ? JSON.parse(body) : {}) as { code?: string }
    return `${statusCode} ${code}`.trim()
  }
  return {
    app,
    port,
    upstream,
    ask,
    async sent (request, ...names) {
      const before = upstream.requests.length
      const answer = await ask(request)
      if (answer !== '200') throw new Error(answer)
      return linesOf(upstream, before, names)
    }
  }
}

function linesOf ({ requests }: RawUpstream, nth: number, names: readonly string[]): string[] {
  return requests[nth]!.headers.filter(([name]) => names.includes(name.toLowerCase())).map(([name, value]) => `${name.toLowerCase()}: ${value}`)
}

/** Every kind of route that makes calls. */
const WAYS: Configure = app => {
  app.route({ method: ['GET', 'POST'], url: '/plain', proxy: 'up', handler: app.reverseproxy.handler })
  app.get('/parts', { composite: { parts: { a: { backend: 'up', path: '/a' }, b: { backend: 'up', path: '/b' } } } }, app.reverseproxy.handler)
  app.get('/own', async (_request, reply) => await reply.proxy('up'))
  app.get('/own-parts', async (_request, reply) => await reply.composite(PARTS))
  app.get('/own-early', { tenancy: true }, async (_request, reply) => await reply.proxy('up'))
}
const PARTS = { backends: ['up'] }
const URLS = ['/plain', '/parts', '/own', '/own-parts', '/own-early', '/declared']
const DECLARED: Partial<GatewayOptions> = { routes: [{ name: 'declared', path: '/declared', methods: ['GET'], proxy: { backend: 'up' } }] }

const THROWN: Array<[string, () => unknown, string]> = [
  ['an error with a status', () => Object.assign(new Error('no'), { statusCode: 402 }), '402'],
  ['an error with a status and a code', () => Object.assign(new Error('no'), { statusCode: 429, code: 'E_SLOW' }), '429 E_SLOW'],
  ['an error', () => new Error('no'), '500'],
  ['a text', () => 'no', '500 RP_ERR_INVALID_CALL'],
  ['a number', () => 418, '500 RP_ERR_INVALID_CALL'],
  ['null', () => null, '500 RP_ERR_INVALID_CALL'],
  ['nothing', () => undefined, '500 RP_ERR_INVALID_CALL'],
  ['false', () => false, '500 RP_ERR_INVALID_CALL'],
  ['an object', () => ({ statusCode: 200, body: 'x' }), '500 RP_ERR_INVALID_CALL'],
  ['a symbol', () => Symbol('no'), '500 RP_ERR_INVALID_CALL']
]

// ---------------------------------------------------------------- who is called, with what

t.test('hooks get the request and the tenant, once a request, on every kind of route', async t => {
  const log: Array<[string, Tenant, string | undefined]> = []
  const { ask } = await setUp(t, {
    tenants: { acme: { metadata: { plan: 'gold' } } },
    onTenant: (request, tenant) => { log.push([`onTenant ${request.url}`, tenant, request.reverseproxy?.tenant]) },
    headers: (tenant, request) => { log.push([`headers ${request.url}`, tenant, request.reverseproxy?.tenant]) }
  }, WAYS, DECLARED)
  for (const url of URLS) {
    log.length = 0
    t.equal(await ask(url), '200', url)
    t.strictSame(log.map(([name, tenant, seen]) => [name, { ...tenant }, seen]), [
      [`onTenant ${url}`, { id: 'acme', known: true, metadata: { plan: 'gold' } }, 'acme'],
      [`headers ${url}`, { id: 'acme', known: true, metadata: { plan: 'gold' } }, 'acme']
    ], url)
    log.length = 0
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'zeta' } }), '200', url)
    t.strictSame(log.map(([name, tenant, seen]) => [name, { ...tenant }, seen]), [
      [`onTenant ${url}`, { id: 'zeta', known: false, metadata: {} }, 'zeta'],
      [`headers ${url}`, { id: 'zeta', known: false, metadata: {} }, 'zeta']
    ], `${url}: one that nobody knows`)
  }
})

t.test('nobody, and who is refused, runs no hooks; nor does a route without tenancy', async t => {
  const { ask } = await setUp(t, { tenants: { acme: {}, off: false }, unknown: 'reject', onTenant () { throw new Error('called') }, headers () { throw new Error('called') } }, async app => {
    await WAYS(app)
    app.get('/off', { proxy: 'up', tenancy: false }, app.reverseproxy.handler)
    app.get('/gone', { proxy: 'up', tenancy: { enabled: false } }, app.reverseproxy.handler)
  }, DECLARED)
  for (const url of URLS) {
    t.equal(await ask({ url }), '200', url)
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'off' } }), '403 RP_ERR_TENANT_REFUSED', url)
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'zeta' } }), '403 RP_ERR_TENANT_UNKNOWN', url)
    t.equal(await ask(url), '500', `${url}: but a tenant does`)
  }
  t.equal(await ask('/off'), '200')
  t.equal(await ask('/gone'), '404', 'a route that is not there has no hooks')
})

t.test('what a tenant is told cannot be changed for the next request', async t => {
  const seen: unknown[] = []
  const { ask } = await setUp(t, {
    tenants: { acme: { metadata: { plan: 'gold' } } },
    onTenant (_request, tenant) {
      seen.push([tenant.id, tenant.metadata['plan']])
      try {
        (tenant as { id: string }).id = 'evil'
      } catch {}
      try {
        (tenant.metadata as Record<string, unknown>)['plan'] = 'evil'
      } catch {}
    }
  })
  t.equal(await ask(), '200')
  t.equal(await ask(), '200')
  t.strictSame(seen, [['acme', 'gold'], ['acme', 'gold']])
})

// ---------------------------------------------------------------- refusing

t.test('what a hook throws is the answer, whatever it is, sync or async, and no call is made', async t => {
  let thrown: unknown
  const sync = (): never => { throw thrown }
  const later = async (): Promise<never> => { await Promise.resolve(); throw thrown }
  for (const [kind, tenancy] of [['onTenant', { onTenant: sync }], ['async onTenant', { onTenant: later }], ['headers', { headers: sync }], ['async headers', { headers: later }]] as Array<[string, TenancyOptions]>) {
    const { ask, upstream } = await setUp(t, tenancy, WAYS, DECLARED)
    for (const [label, make, answer] of THROWN) {
      for (const url of URLS) {
        thrown = make()
        t.equal(await ask(url), answer, `${kind}: ${url}: ${label}`)
      }
    }
    t.equal(upstream.requests.length, 0, kind)
    t.equal(await ask({ url: '/plain' }), '200', `${kind}: the gateway goes on`)
  }
})

t.test('what a hook throws says nothing of the inside when it has no status', async t => {
  const { app } = await setUp(t, { onTenant () { throw 'secret 10.0.0.1' } }) // eslint-disable-line no-throw-literal
  for (const url of URLS.slice(0, -1)) t.notMatch((await app.inject({ url, headers: ACME })).body, /secret|10\.0/, url)
})

t.test('one that refuses is the last', async t => {
  const log: string[] = []
  const { ask } = await setUp(t, {
    onTenant: [() => { log.push('1') }, async () => { log.push('2'); throw Object.assign(new Error('no'), { statusCode: 402 }) }, () => { log.push('3') }],
    headers: () => { log.push('headers') }
  })
  t.equal(await ask(), '402')
  t.strictSame(log, ['1', '2'])
})

t.test('the app\'s error handlers see what hooks throw', async t => {
  const { app } = await setUp(t, { onTenant () { throw Object.assign(new Error('no'), { statusCode: 402, code: 'E_PAY' }) } }, async app => {
    app.setErrorHandler((error: Error & { code?: string, statusCode?: number }, _request, reply) => { reply.code(error.statusCode ?? 500).send({ mine: error.code }) })
    await WAYS(app)
  })
  for (const url of URLS.slice(0, -1)) {
    const response = await app.inject({ url, headers: ACME })
    t.strictSame([response.statusCode, response.json()], [402, { mine: 'E_PAY' }], url)
  }
})

// ---------------------------------------------------------------- order and encapsulation

/** Hooks of both kinds that log their name. */
function logging (log: string[]) {
  const onTenant = (name: string, isAsync = false): OnTenant => isAsync ? async () => { await new Promise(resolve => { setImmediate(resolve) }); log.push(name) } : () => { log.push(name) }
  const headers = (name: string, isAsync = false): TenantHeaders => isAsync ? async () => { await new Promise(resolve => { setImmediate(resolve) }); log.push(`${name}!`) } : () => { log.push(`${name}!`) }
  return { onTenant, headers }
}

t.test('hooks run in order: the gateway\'s, those of the plugins from the outside in, the route\'s; headers after onTenant', async t => {
  const log: string[] = []
  const { onTenant, headers } = logging(log)
  const route = { onTenant: [onTenant('route 1', true), onTenant('route 2')], headers: [headers('route 1'), headers('route 2', true)] }
  const { ask } = await setUp(t, { onTenant: [onTenant('gateway 1', true), onTenant('gateway 2')], headers: [headers('gateway 1'), headers('gateway 2', true)] }, async app => {
    app.addTenantHook('headers', headers('app', true))
    app.addTenantHook('onTenant', onTenant('app', true))
    await app.register(async outer => {
      outer.addTenantHook('onTenant', onTenant('outer', true))
      outer.addTenantHook('headers', headers('outer'))
      await outer.register(async inner => {
        inner.addTenantHook('onTenant', onTenant('inner 1', true))
        inner.get('/plain', { proxy: 'up', tenancy: route }, inner.reverseproxy.handler)
        inner.get('/parts', { composite: PARTS, tenancy: route }, inner.reverseproxy.handler)
        inner.get('/own', { tenancy: route }, async (_request, reply) => await reply.proxy('up'))
        // as with Fastify's own: those that come after a route count for it as well
        inner.addTenantHook('onTenant', onTenant('inner 2'))
        inner.addTenantHook('headers', headers('inner'))
      })
    })
  })
  for (const url of ['/plain', '/parts', '/own']) {
    log.length = 0
    t.equal(await ask(url), '200', url)
    t.strictSame(log, ['gateway 1', 'gateway 2', 'app', 'outer', 'inner 1', 'inner 2', 'route 1', 'route 2', 'gateway 1!', 'gateway 2!', 'app!', 'outer!', 'inner!', 'route 1!', 'route 2!'], url)
  }
})

t.test('a plugin\'s hooks are for its own routes and those inside of it, not for its siblings or those around it', async t => {
  const log: string[] = []
  const { onTenant, headers } = logging(log)
  const routes = (app: FastifyInstance, prefix: string): void => {
    app.get(`${prefix}/plain`, { proxy: 'up' }, app.reverseproxy.handler)
    app.get(`${prefix}/parts`, { composite: PARTS }, app.reverseproxy.handler)
    app.get(`${prefix}/own`, async (_request, reply) => await reply.proxy('up'))
  }
  const { ask } = await setUp(t, {}, async app => {
    app.addTenantHook('onTenant', onTenant('app'))
    routes(app, '')
    await app.register(async one => {
      one.addTenantHook('onTenant', onTenant('one'))
      one.addTenantHook('headers', headers('one'))
      routes(one, '/one')
      await one.register(async inner => {
        inner.addTenantHook('onTenant', onTenant('inner'))
        routes(inner, '/inner')
      })
      await one.register(fp(async same => { same.addTenantHook('onTenant', onTenant('same')) }))
    })
    await app.register(async two => {
      two.addTenantHook('onTenant', onTenant('two'))
      routes(two, '/two')
    })
    // what is added later is not for plugins that are there already, as with Fastify's own hooks
    app.addTenantHook('onTenant', onTenant('late'))
  })
  for (const [prefix, names] of [['', ['app', 'late']], ['/one', ['app', 'one', 'same', 'one!']], ['/inner', ['app', 'one', 'inner', 'one!']], ['/two', ['app', 'two']]] as const) {
    for (const kind of ['/plain', '/parts', '/own']) {
      log.length = 0
      t.equal(await ask(prefix + kind), '200')
      t.strictSame(log, names, prefix + kind)
    }
  }
})

t.test('routes of the options have the hooks of the gateway, of where it was registered, and their own', async t => {
  const log: string[] = []
  const { onTenant, headers } = logging(log)
  const { ask } = await setUp(t, { onTenant: onTenant('gateway') }, async app => {
    app.addTenantHook('onTenant', onTenant('app'))
    await app.register(async plugin => { plugin.addTenantHook('onTenant', onTenant('plugin')) })
  }, {
    defaultBackend: 'up',
    routes: [
      { name: 'a', path: '/a', methods: ['GET'], headers: { 'x-kind': 'other' }, proxy: { backend: 'up' }, tenancy: { onTenant: onTenant('other') } },
      { name: 'b', path: '/a', methods: ['GET'], proxy: { backend: 'up' }, tenancy: { onTenant: onTenant('a'), headers: headers('a') } },
      { name: 'c', path: '/c', composite: PARTS, tenancy: { onTenant: [onTenant('c')] } }
    ]
  })
  for (const [request, names] of [
    [{ url: '/a', headers: ACME }, ['gateway', 'app', 'a', 'a!']],
    [{ url: '/a', headers: { ...ACME, 'x-kind': 'other' } }, ['gateway', 'app', 'other']],
    [{ url: '/c', headers: ACME }, ['gateway', 'app', 'c']],
    [{ url: '/elsewhere', headers: ACME }, ['gateway', 'app']]
  ] as const) {
    log.length = 0
    t.equal(await ask(request), '200')
    t.strictSame(log, names, request.url)
  }
})

t.test('a hook that cannot be one, or comes too late, is refused', async t => {
  const { app } = await setUp(t, {}, app => {
    t.throws(() => { app.addTenantHook('onRequest' as never, () => {}) }, /onRequest/)
    t.throws(() => { app.addTenantHook('__proto__' as never, () => {}) }, /__proto__/)
    for (const hook of [undefined, null, 'x', {}, []]) t.throws(() => { app.addTenantHook('headers', hook as never) }, /function/)
  })
  t.throws(() => { app.addTenantHook('onTenant', () => {}) }, /ready/)
  t.throws(() => { app.addTenantHook('headers', () => ({})) }, /ready/)
})

// ---------------------------------------------------------------- headers

t.test('headers set what was not there, replace what was in whatever case, and remove', async t => {
  const { sent } = await setUp(t, {
    headers: () => ({ 'X-New': 'new', 'x-client': 'ours', Cookie: undefined, AUTHORIZATION: undefined, 'user-agent': 'gateway', 'x-empty': '', 'x-latin': 'é', accept: undefined, 'x-nobody': undefined })
  }, WAYS, DECLARED)
  const headers = { ...ACME, 'X-CLIENT': 'theirs', cookie: 'a=1', authorization: 'Basic x', 'User-Agent': 'client', Accept: '*/*', 'x-kept': 'kept' }
  for (const url of URLS) {
    t.strictSame((await sent({ url, headers }, 'x-new', 'x-client', 'cookie', 'authorization', 'user-agent', 'x-empty', 'x-latin', 'accept', 'x-nobody', 'x-kept')).sort(),
      ['user-agent: gateway', 'x-client: ours', 'x-empty: ', 'x-kept: kept', 'x-latin: é', 'x-new: new'], url)
  }
})

t.test('a header that the client sent several times is replaced or removed as a whole', async t => {
  const { upstream, port } = await setUp(t, { headers: () => ({ 'x-many': 'one', 'x-more': undefined }) })
  const client = await rawClient(t, port)
  const { status } = await client.exchange('GET /plain HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\nX-Many: 1\r\nX-More: 1\r\nx-many: 2\r\nX-MORE: 2\r\n\r\n')
  t.equal(status, 200)
  t.strictSame(linesOf(upstream, 0, ['x-many', 'x-more']), ['x-many: one'])
})

t.test('cookies may be replaced', async t => {
  const { sent } = await setUp(t, { headers: tenant => ({ cookie: `tenant=${tenant.id}; plan=gold` }) })
  t.strictSame(await sent({ url: '/plain', headers: { ...ACME, cookie: 'a=1; b=2' } }, 'cookie'), ['cookie: tenant=acme; plan=gold'])
})

t.test('names that all objects have are names like others', async t => {
  const { sent } = await setUp(t, { headers: () => ({ constructor: 'a', toString: 'b', hasOwnProperty: 'c', valueOf: undefined } as never) })
  t.strictSame((await sent('/plain', 'constructor', 'tostring', 'hasownproperty', 'valueof')).sort(), ['constructor: a', 'hasownproperty: c', 'tostring: b'])
})

t.test('what is inherited is no header', async t => {
  const made = Object.assign(Object.create({ 'x-inherited': '1' }) as Record<string, string>, { 'x-own': '1' })
  const { sent } = await setUp(t, { headers: () => made })
  t.strictSame(await sent('/plain', 'x-inherited', 'x-own'), ['x-own: 1'])
})

t.test('a later hook goes before an earlier one, however it writes the name', async t => {
  const { sent } = await setUp(t, { headers: [() => ({ 'X-Plan': '1', 'X-A': '1', 'x-b': undefined }), () => ({ 'x-plan': '2', 'x-a': undefined, 'X-B': '2' }), async () => ({ 'X-Plan': '3' })] }, app => {
    app.get('/plain', { proxy: 'up', tenancy: { headers: () => ({ 'X-PLAN': undefined, 'x-c': 'route' }) } }, app.reverseproxy.handler)
    app.get('/other', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/again', { proxy: 'up', tenancy: { headers: [() => ({ 'x-plan': undefined }), () => ({ 'x-PLAN': '4' }), () => ({ 'x-plan': '5' })] } }, app.reverseproxy.handler)
  })
  const names = ['x-plan', 'x-a', 'x-b', 'x-c']
  const client = { 'x-plan': 'client', 'x-a': 'client', 'x-b': 'client' }
  for (const headers of [ACME, { ...ACME, ...client }]) {
    t.strictSame((await sent({ url: '/other', headers }, ...names)).sort(), ['x-b: 2', 'x-plan: 3'])
    t.strictSame((await sent({ url: '/plain', headers }, ...names)).sort(), ['x-b: 2', 'x-c: route'])
    t.strictSame((await sent({ url: '/again', headers }, ...names)).sort(), ['x-b: 2', 'x-plan: 5'])
  }
})

t.test('headers come over those of the options, and under those of reply.proxy() and modifyRequest', async t => {
  const { sent } = await setUp(t, {
    tenants: { acme: { headers: { request: { set: { 'x-1': 'tenant', 'x-2': 'tenant' }, append: { 'x-3': 'tenant' } } } } },
    headers: () => ({ 'x-2': 'hook', 'x-3': undefined, 'x-4': 'hook', 'x-5': 'hook' })
  }, app => {
    app.get('/own', async (_request, reply) => await reply.proxy('up', { headers: { 'X-4': 'call', 'x-5': undefined } }))
    app.get('/modified', {
      proxy: {
        backend: 'up',
        headers: { request: { set: { 'x-2': 'route', 'x-5': 'route' } } },
        modifyRequest (draft) {
          draft.headers.set('x-4', `${draft.headers.get('X-4')} and modifyRequest`)
          draft.headers.set('x-seen', String(draft.headers.get('x-tenant-id')))
        }
      }
    }, app.reverseproxy.handler)
  })
  const names = ['x-1', 'x-2', 'x-3', 'x-4', 'x-5', 'x-seen']
  t.strictSame((await sent('/own', ...names)).sort(), ['x-1: tenant', 'x-2: hook', 'x-4: call'])
  t.strictSame((await sent('/modified', ...names)).sort(), ['x-1: tenant', 'x-2: hook', 'x-4: hook and modifyRequest', 'x-5: hook', 'x-seen: acme'])
})

t.test('the header of the tenant may be changed and removed as any other', async t => {
  const { sent } = await setUp(t, { headers: (_tenant, request) => ({ 'X-Tenant-ID': (request.query as { as?: string }).as }) })
  t.strictSame(await sent('/plain?as=4711', 'x-tenant-id'), ['x-tenant-id: 4711'])
  t.strictSame(await sent('/plain', 'x-tenant-id'), [])
})

t.test('one request\'s headers are not the next one\'s', async t => {
  const shared: Record<string, string> = Object.freeze({ 'x-shared': '1' }) as Record<string, string>
  const { sent } = await setUp(t, { headers: [() => shared, tenant => ({ [`x-of-${tenant.id}`]: '1' })] })
  for (const id of ['acme', 'zeta', 'acme']) {
    t.strictSame((await sent({ url: '/plain', headers: { 'x-tenant-id': id } }, 'x-shared', 'x-of-acme', 'x-of-zeta')).sort(), [`x-of-${id}: 1`, 'x-shared: 1'])
  }
  t.strictSame(await sent({ url: '/plain' }, 'x-shared', 'x-of-acme', 'x-of-zeta'), [])
})

t.test('nothing from a hook is nothing to change', async t => {
  let given: unknown
  const { ask } = await setUp(t, { headers: [() => given as never, async () => given as never] })
  for (given of [undefined, null, {}]) t.equal(await ask(), '200', String(given))
})

t.test('what no header can be is a coded 500 before a byte leaves, and the next request is served', async t => {
  let given: unknown
  const { ask, upstream } = await setUp(t, { headers: () => given as never }, WAYS, DECLARED)
  const names = ['', ' ', 'a b', 'a:b', 'a\r\nb', 'a\n', 'a\0', 'é', 'x-ü', '(x)', 'x"', '[x]', '\u20ac']
  const values = ['a\r\nX-Evil: 1', 'a\nb', 'a\rb', 'a\0b', '\u20ac', '\x7f', '\x07', 42, null, true, {}, [], ['a', 'b'], Symbol('a'), () => 'a', Buffer.from('a'), new Date(0), Promise.resolve('a')]
  const cases: Array<[string, unknown]> = [
    ...names.map((name): [string, unknown] => [JSON.stringify(name), { [name]: 'a' }]),
    ...values.map((value): [string, unknown] => [`value ${typeof value === 'string' ? JSON.stringify(value) : Object.prototype.toString.call(value)}`, { 'x-a': value }]),
    ['__proto__', JSON.parse('{ "__proto__": "evil" }')],
    ['a text', 'x-a: 1'], ['a number', 42], ['true', true], ['a function', () => ({})], ['a symbol', Symbol('x')],
    ['a list', ['x-a', '1']], ['a map', new Map([['x-a', '1']])], ['fetch headers', new Headers({ 'x-a': '1' })]
  ]
  for (const [label, value] of cases) {
    for (const url of ['/plain', '/own', '/declared']) {
      given = value
      t.match(await ask(url), /^500 RP_ERR_INVALID_(?:HEADER|CALL)$/, `${label}: ${url}`)
    }
    for (const url of ['/parts', '/own-parts']) {
      given = value
      t.match(await ask(url), /^50[02] RP_ERR_/, `${label}: ${url}`)
    }
  }
  t.equal(upstream.requests.length, 0)
  given = undefined
  for (const url of URLS) t.equal(await ask(url), '200')
  t.equal(({} as { evil?: unknown }).evil, undefined)
})

t.test('framing and hop-by-hop headers cannot be set', async t => {
  let name = ''
  const { ask, upstream } = await setUp(t, { headers: () => ({ [name]: name.toLowerCase() === 'content-length' ? '5' : 'chunked' }) })
  for (name of ['content-length', 'Content-Length', 'transfer-encoding', 'Transfer-Encoding', 'connection', 'Keep-Alive', 'proxy-connection', 'Proxy-Authorization', 'upgrade', 'te', 'trailer', 'http2-settings', 'expect', 'Expect']) {
    t.match(await ask(), /^500 RP_ERR_INVALID_HEADER$/, name)
    t.match(await ask({ method: 'POST', url: '/plain', headers: ACME, payload: 'hello' }), /^500 RP_ERR_INVALID_HEADER$/, `${name}, with a body`)
  }
  t.equal(upstream.requests.length, 0)
  t.strictSame(upstream.malformed, [])
})

t.test('removing framing removes nothing', async t => {
  const { port, upstream } = await setUp(t, { headers: () => ({ 'content-length': undefined, 'Transfer-Encoding': undefined, connection: undefined, host: undefined, te: undefined }) })
  const client = await rawClient(t, port)
  for (const framing of ['Content-Length: 5\r\n\r\nhello', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n']) {
    t.equal((await client.exchange(`POST /plain HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n${framing}`)).status, 200)
    const { last } = upstream
    t.equal(last.body.toString(), 'hello')
    t.equal([...last.all('content-length'), ...last.all('transfer-encoding')].length, 1)
    t.equal(last.all('host').length, 1)
  }
  t.strictSame(upstream.malformed, [])
})

t.test('a Host from a hook is the one Host that the backend gets', async t => {
  for (const host of ['upstream', 'preserve', 'fixed.example']) {
    const { sent } = await setUp(t, { headers: tenant => ({ Host: `${tenant.id}.internal` }) }, WAYS, { host })
    t.strictSame(await sent('/plain', 'host'), ['host: acme.internal'], host)
  }
})

// ---------------------------------------------------------------- on every call

t.test('every part of a composite, and every value of a forEach, has the headers; the hook runs once', async t => {
  let ran = 0
  const { upstream, app } = await setUp(t, { headers: async tenant => { ran++; return { 'x-of': tenant.id, cookie: undefined } } }, app => {
    app.get('/parts', {
      composite: {
        parts: {
          list: { backend: 'up', path: '/list' },
          each: { backend: 'up', needs: ['list'], forEach: '{list.body.items}', path: '/item/{item}' },
          after: { backend: 'up', needs: ['list'], path: '/after' }
        }
      }
    } as never, app.reverseproxy.handler)
  }, {}, respond(200, { 'Content-Type': 'application/json' }, '{"items":[1,2,3]}'))
  const { statusCode } = await app.inject({ url: '/parts', headers: { ...ACME, cookie: 'a=1' } })
  t.equal(statusCode, 200)
  t.equal(ran, 1)
  t.ok(upstream.requests.length >= 3)
  for (const [n, { target }] of upstream.requests.entries()) t.strictSame(linesOf(upstream, n, ['x-of', 'cookie', 'x-tenant-id']).sort(), ['x-of: acme', 'x-tenant-id: acme'], target)
})

t.test('every attempt has the headers; the hook runs once', async t => {
  let ran = 0
  const { upstream, ask } = await setUp(t, { headers: () => { ran++; return { 'x-of': 'acme', cookie: undefined } } }, WAYS, { retry: { attempts: 3, statuses: [503], backoff: { initial: 1, max: 2 }, budget: false } } as never, ({ nth }) => nth % 3 === 2 ? OK : respond(503, {}, 'no'))
  for (const url of ['/plain', '/own', '/own-parts']) {
    upstream.requests.length = ran = 0
    t.equal(await ask({ url, headers: { ...ACME, cookie: 'a=1' } }), '200', url)
    t.equal(ran, 1, url)
    t.equal(upstream.requests.length, 3, url)
    for (let n = 0; n < 3; n++) t.strictSame(linesOf(upstream, n, ['x-of', 'cookie', 'x-tenant-id']).sort(), ['x-of: acme', 'x-tenant-id: acme'], `${url}: attempt ${n}`)
  }
})

t.test('several calls of one handler have them, after one run of the hooks', async t => {
  let ran = 0
  const { upstream, app } = await setUp(t, { headers: () => { ran++; return { 'x-of': 'acme' } } }, app => {
    app.reverseproxy.backends.add('down', 'http://127.0.0.1:1')
    app.setErrorHandler(async (_error, _request, reply) => await reply.code(200).proxy('up'))
    app.get('/x', async (_request, reply) => await reply.proxy('down'))
  })
  t.equal((await app.inject({ url: '/x', headers: ACME })).statusCode, 200)
  t.strictSame([ran, linesOf(upstream, 0, ['x-of'])], [1, ['x-of: acme']])
})

t.test('a redirect to the same origin keeps the headers, one to another drops them', async t => {
  for (const forwardAs of ['x-tenant-id', 'x-customer']) {
    const other = await rawUpstream(t, OK)
    const { upstream, ask } = await setUp(t, { forwardAs, headers: () => ({ 'X-Secret': 'of acme', 'x-client': 'ours' }) }, app => {
      app.reverseproxy.backends.add('other', other.url)
      app.get('/*', { proxy: { backend: 'up', redirects: 'follow' } }, app.reverseproxy.handler)
      app.get('/parts', { composite: { parts: { a: { backend: 'up', path: '/away' }, b: { backend: 'up', path: '/near' } } } }, app.reverseproxy.handler)
    }, {}, ({ request }) => request.target === '/away' ? respond(302, { Location: `${other.url}/there` }) : request.target === '/near' ? respond(302, { Location: '/here' }) : OK)
    const names = ['x-secret', 'x-client', forwardAs]
    const request = (url: string): InjectOptions => ({ url, headers: { ...ACME, 'X-Client': 'theirs', 'x-kept': '1' } })
    for (const url of ['/near', '/away', '/parts']) {
      upstream.requests.length = other.requests.length = 0
      await ask(request(url))
      for (const [n, { target }] of upstream.requests.entries()) t.strictSame(linesOf(upstream, n, names).sort(), [`${forwardAs}: acme`, 'x-client: ours', 'x-secret: of acme'].sort(), `${url}: ${target}`)
      if (url !== '/away') t.ok(upstream.requests.some(({ target }) => target === '/here'), url)
      t.equal(other.requests.length, url === '/near' ? 0 : 1, url)
      for (const [n] of other.requests.entries()) {
        t.strictSame(linesOf(other, n, names), [], `${url}: elsewhere`)
        t.strictSame(linesOf(other, n, ['x-kept']), ['x-kept: 1'], `${url}: elsewhere`)
      }
    }
  }
})

t.test('a WebSocket\'s handshake has the headers, and hooks may refuse it', async t => {
  const ws = await wsBackend(t, socket => { socket.send('hello') })
  const { port } = await setUp(t, {
    async onTenant (_request, tenant) { if (tenant.id === 'poor') throw Object.assign(new Error('pay'), { statusCode: 402 }) },
    headers: async tenant => ({ 'x-of': tenant.id, cookie: undefined })
  }, app => {
    app.reverseproxy.backends.add('ws', ws.url)
    app.get('/ws', { proxy: { backend: 'ws', websocket: true } }, app.reverseproxy.handler)
  })
  const client = await wsClient(t, `http://127.0.0.1:${port}/ws`, [], { headers: { ...ACME, cookie: 'a=1' } })
  t.equal(await client.message(0), 'hello')
  t.match(ws.requests[0]!.headers, { 'x-of': 'acme', 'x-tenant-id': 'acme', cookie: undefined })
  await t.rejects(wsClient(t, `http://127.0.0.1:${port}/ws`, [], { headers: { 'x-tenant-id': 'poor' } }), /402/)
  t.equal(ws.requests.length, 1)
})

// ---------------------------------------------------------------- what others see

t.test('hooks and handlers after it see the tenant', async t => {
  const log: Array<string | undefined> = []
  const see = async ({ reverseproxy }: FastifyRequest): Promise<void> => { log.push(reverseproxy?.tenant) }
  const { ask } = await setUp(t, { onTenant: async () => { await Promise.resolve() } }, app => {
    app.addHook('preHandler', see)
    app.addHook('onSend', async request => { await see(request) })
    app.addHook('onResponse', see)
    app.get('/plain', { proxy: 'up', preValidation: see }, app.reverseproxy.handler)
    app.get('/parts', { composite: PARTS, preValidation: see }, app.reverseproxy.handler)
    app.get('/own', { tenancy: true, preValidation: see }, async (request, reply) => { await see(request); return await reply.proxy('up') })
  })
  for (const [url, times] of [['/plain', 4], ['/parts', 4], ['/own', 5]] as const) {
    log.length = 0
    t.equal(await ask(url), '200')
    t.ok(await waitFor(() => log.length === times), url)
    t.strictSame(log, new Array(times).fill('acme'), url)
  }
})

t.test('a client that goes away while a hook runs costs the backend nothing', async t => {
  const waiting: Array<() => void> = []
  const hook = (): Promise<void> => new Promise(resolve => { waiting.push(resolve) })
  for (const tenancy of [{ onTenant: hook }, { headers: hook }]) {
    const { port, upstream, app, ask } = await setUp(t, tenancy)
    let open = 0
    app.server.on('connection', socket => {
      open++
      socket.on('close', () => { open-- })
    })
    for (const url of ['/plain', '/own', '/parts', '/own-parts']) {
      const before = waiting.length
      const client = await rawClient(t, port)
      client.send(`GET ${url} HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n\r\n`)
      t.ok(await waitFor(() => waiting.length === before + 1), url)
      client.destroy()
    }
    t.ok(await waitFor(() => open === 0), 'the gateway has seen them go')
    for (const go of waiting.splice(0)) go()
    t.equal(await ask({ url: '/plain' }), '200')
    t.equal(upstream.requests.length, 1, 'nothing of them reaches the upstream')
  }
})

t.test('a body waits for hooks, and none of it is lost', async t => {
  const { port, upstream } = await setUp(t, { onTenant: () => new Promise(resolve => { setTimeout(resolve, 30) }), headers: async () => ({ 'x-of': 'acme' }) })
  const client = await rawClient(t, port)
  const body = 'abcdefgh'.repeat(40_000)
  t.equal((await client.exchange(`POST /plain HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\nContent-Length: ${body.length}\r\n\r\n${body}`)).status, 200)
  t.equal(upstream.last.body.toString(), body)
  t.strictSame(linesOf(upstream, 0, ['x-of', 'x-tenant-id']).sort(), ['x-of: acme', 'x-tenant-id: acme'])
})
