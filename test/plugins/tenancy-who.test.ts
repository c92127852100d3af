/** Whose request it is, through the whole gateway: sources, refusals, when it is found out, and on which routes. */
import t from 'tap'
import type { Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions, InjectOptions } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { buildGateway, httpUpstream } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'

type TenancyOptions = NonNullable<GatewayOptions['tenancy']>

/** What a backend was asked. */
interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string | undefined>
  readonly rawHeaders: string[]
}

interface Scene {
  readonly app: FastifyInstance
  readonly seen: Seen[]
  /** Status, and the tenant that the backend was told (`-`: none), or the code of the refusal. */
  ask (request: string | InjectOptions): Promise<string>
}

/** A gateway over one backend, `up`, which writes down what it is asked; without `configure` everything goes to it. */
async function setUp (t: Test, tenancy: TenancyOptions, configure: Configure = everything, options: Partial<GatewayOptions> = {}, server: FastifyServerOptions = {}): Promise<Scene> {
  const seen: Seen[] = []
  const { url } = await httpUpstream(t, (request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request
    seen.push({ method, url, headers: headers as Seen['headers'], rawHeaders })
    request.resume()
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ tenant: headers['x-tenant-id'] ?? '-' }))
  })
  const app = await buildGateway({ backends: { up: url }, tenancy, ...options }, configure, server)
  t.teardown(() => app.close())
  await app.ready()
  async function ask (request: string | InjectOptions): Promise<string> {
    const before = seen.length
    const { statusCode, body } = await app.inject(request)
    if (statusCode === 200) return seen.length > before ? `200 ${seen[before]!.headers['x-tenant-id'] ?? '-'}` : `200 ${body}`
    t.equal(seen.length, before, 'what is refused does not reach the backend')
    const { code = '', message = '' } = (body.startsWith('{') ? JSON.parse(body) : {}) as { code?: string, message?: string }
    t.notMatch(message, /evil|acme/, 'no message repeats an id')
    return `${statusCode} ${code}`.trim()
  }
  return { app, seen, ask }
}

function everything (app: FastifyInstance): void {
  app.get('/x', { proxy: 'up' }, app.reverseproxy.handler)
  app.get('/of/:tenant/x', { proxy: 'up' }, app.reverseproxy.handler)
}

const INVALID = '400 RP_ERR_TENANT_INVALID'
const MISSING = '400 RP_ERR_TENANT_MISSING'
const UNKNOWN = '403 RP_ERR_TENANT_UNKNOWN'
const REFUSED = '403 RP_ERR_TENANT_REFUSED'
const ACME = { 'x-tenant-id': 'acme' }

// ---------------------------------------------------------------- several sources

t.test('sources that name different tenants are a 400, whichever comes first', async t => {
  const sources: TenancyOptions['sources'] = [{ host: '{tenant}.example.com' }, { header: 'x-tenant-id' }, { query: 'tenant' }, { param: 'tenant' }]
  for (const list of [sources, [...sources].reverse()]) {
    const { ask } = await setUp(t, { sources: list })
    for (const [url, host, header, answer] of [
      ['/x', 'acme.example.com', 'acme', '200 acme'],
      ['/x?tenant=acme', 'acme.example.com', 'acme', '200 acme'],
      ['/of/acme/x?tenant=acme', 'ACME.example.com:80', 'acme', '200 acme'],
      ['/of/acme/x', 'example.com', undefined, '200 acme'],
      ['/x', 'acme.example.com', 'evil', INVALID],
      ['/x?tenant=evil', 'acme.example.com', undefined, INVALID],
      ['/x?tenant=evil', 'example.com', 'acme', INVALID],
      ['/of/evil/x', 'example.com', 'acme', INVALID],
      ['/of/acme/x?tenant=acme', 'evil.example.com', 'acme', INVALID],
      ['/x', 'acme.example.com', 'Acme', INVALID],
      // one that is no id is none of them
      ['/x', 'acme.example.com', 'evil,evil', INVALID],
      ['/x?tenant=', 'acme.example.com', undefined, INVALID],
      ['/x?tenant=acme&tenant=acme', 'acme.example.com', undefined, INVALID],
      ['/of/%20/x', 'acme.example.com', undefined, INVALID],
      ['/x', 'example.com', undefined, '200 -']
    ] as const) t.equal(await ask({ url, headers: { host, ...header === undefined ? undefined : { 'x-tenant-id': header } } }), answer, `${url} ${host} ${header}`)
  }
})

t.test('what differs is named by its place', async t => {
  const { app } = await setUp(t, { sources: [{ host: '{tenant}.example.com' }, { header: 'x-tenant-id' }] })
  const { message } = (await app.inject({ url: '/x', headers: { host: 'evil.example.com', ...ACME } })).json<{ message: string }>()
  t.match(message, /host \{tenant\}\.example\.com/)
  t.match(message, /header x-tenant-id/)
})

t.test('functions are asked in their order, and only where nothing before them knew', async t => {
  const asked: string[] = []
  const fn = (name: string, isAsync: boolean) => (request: FastifyRequest): string | undefined | Promise<string | undefined> => {
    asked.push(name)
    const id = (request.query as Record<string, string | undefined>)[name]
    return isAsync ? Promise.resolve(id) : id
  }
  for (const isAsync of [false, true]) {
    const { ask } = await setUp(t, { sources: [fn('a', isAsync), { header: 'x-tenant-id' }, { resolve: fn('b', !isAsync) }, fn('c', isAsync), { param: 'tenant' }] })
    for (const [url, headers, answer, order] of [
      ['/x?a=acme', {}, '200 acme', ['a']],
      ['/x?a=acme', ACME, '200 acme', ['a']],
      ['/x?a=evil', ACME, INVALID, ['a']],
      ['/x', ACME, '200 acme', ['a']],
      ['/x?b=evil', ACME, '200 acme', ['a']],
      ['/x?b=acme', {}, '200 acme', ['a', 'b']],
      ['/x?c=acme', {}, '200 acme', ['a', 'b', 'c']],
      ['/of/acme/x', {}, '200 acme', ['a', 'b', 'c']],
      ['/of/acme/x?b=acme', {}, '200 acme', ['a', 'b']],
      ['/of/evil/x?c=acme', {}, INVALID, ['a', 'b', 'c']],
      ['/of/evil/x?a=acme', {}, INVALID, ['a']],
      ['/of/acme/x', { 'x-tenant-id': 'evil' }, INVALID, []],
      ['/x', { 'x-tenant-id': '' }, INVALID, []],
      ['/x?a=evil,evil', {}, INVALID, ['a']],
      ['/x', {}, '200 -', ['a', 'b', 'c']]
    ] as const) {
      asked.length = 0
      t.equal(await ask({ url, headers }), answer, `${url} ${JSON.stringify(headers)}`)
      t.strictSame(asked, order, `${url} ${JSON.stringify(headers)}`)
    }
  }
})

t.test('required: a 400 that says where it was looked for', async t => {
  const { ask, app } = await setUp(t, { required: true, sources: [{ header: 'x-org' }, { host: '{tenant}.example.com' }, { query: 'tenant' }, { param: 'tenant' }, () => undefined] })
  t.equal(await ask('/x'), MISSING)
  const body = (await app.inject('/x')).json<Record<string, unknown>>()
  t.strictSame(Object.keys(body).sort(), ['code', 'error', 'message', 'statusCode'])
  for (const place of [/header x-org/, /host \{tenant\}\.example\.com/, /query tenant/, /param tenant/, /function/]) t.match(body['message'], place)
  t.equal(await ask({ url: '/x', headers: { 'x-org': 'acme' } }), '200 -', 'told in x-org')
  t.equal(await ask({ url: '/x', headers: { 'x-org': '' } }), INVALID, 'an empty one is not a missing one')
})

t.test('a claim that is needed is named', async t => {
  const { app } = await setUp(t, { required: true, sources: { claim: 'app.org' } })
  t.match((await app.inject('/x')).json<{ message: string }>().message, /claim app\.org/)
})

// ---------------------------------------------------------------- functions that fail

/** What a function may throw, and what must come of it. */
const THROWN: Array<[string, () => unknown, string]> = [
  ['an error with a status', () => Object.assign(new Error('no'), { statusCode: 401 }), '401'],
  ['an error with a status and a code', () => Object.assign(new Error('no'), { statusCode: 429, code: 'E_SLOW' }), '429 E_SLOW'],
  ['an error', () => new Error('no'), '500'],
  ['a text', () => 'no', '500'],
  ['a number', () => 418, '500'],
  ['null', () => null, '500'],
  ['nothing', () => undefined, '500'],
  ['an object', () => ({ some: 'thing' }), '500'],
  ['a symbol', () => Symbol('no'), '500']
]

/** Every way of asking whose request it is. */
const WAYS: Configure = app => {
  app.get('/plain', { proxy: 'up' }, app.reverseproxy.handler)
  app.get('/parts', { composite: { backends: ['up'] } }, app.reverseproxy.handler)
  app.get('/own', async (_request, reply) => await reply.proxy('up'))
  app.get('/own-parts', async (_request, reply) => await reply.composite({ backends: ['up'] }))
  app.get('/own-early', { tenancy: true }, async (_request, reply) => await reply.proxy('up'))
}
const URLS = ['/plain', '/parts', '/own', '/own-parts', '/own-early', '/declared']
const DECLARED: Partial<GatewayOptions> = { routes: [{ name: 'declared', path: '/declared', methods: ['GET'], proxy: { backend: 'up' } }] }

t.test('what a function throws is the answer, whatever it is and wherever the route', async t => {
  let thrown: unknown
  for (const [kind, resolve] of [
    ['sync', () => { throw thrown }],
    ['async', async () => { await Promise.resolve(); throw thrown }]
  ] as Array<[string, () => string | Promise<string>]>) {
    const { ask, app } = await setUp(t, { sources: resolve }, WAYS, DECLARED)
    for (const [label, make, answer] of THROWN) {
      for (const url of URLS) {
        thrown = make()
        const found = await ask(url)
        t.ok(answer === '500' ? /^500 ?(?:RP_ERR_INVALID_CALL)?$/.test(found) : found === answer, `${url}: ${label}, ${kind}`, { found })
        if (answer === '500') t.match((await app.inject(url)).body, /"statusCode":500/, `${url}: ${label}, ${kind}: in Fastify's shape`)
      }
    }
  }
})

t.test('what a function gives that is no text is a fault of the set-up', async t => {
  let given: unknown
  for (const sources of [() => given as string, async () => given as string]) {
    const { ask } = await setUp(t, { sources }, WAYS, DECLARED)
    for (const url of URLS) {
      for (given of [42, true, {}, [], Symbol('acme'), () => 'acme']) t.match(await ask(url), /^500 RP_ERR_INVALID_CALL$/, `${url}: ${typeof given}`)
      for (given of [undefined, null]) t.equal(await ask(url), '200 -', `${url}: ${String(given)}`)
      for (given of ['', 'evil evil', 'evil\r\nx: y', '__proto__', 'e'.repeat(65)]) t.equal(await ask(url), INVALID, `${url}: ${JSON.stringify(given)}`)
      given = 'acme'
      t.equal(await ask(url), '200 acme', url)
    }
  }
})

// ---------------------------------------------------------------- who is known

t.test('unknown: default serves as everybody is served, reject is a 403', async t => {
  const tenants = { acme: {}, evil: false as const }
  for (const [unknown, answer] of [[undefined, '200 zeta'], ['default', '200 zeta'], ['reject', UNKNOWN]] as const) {
    const { ask } = await setUp(t, { tenants, ...unknown === undefined ? undefined : { unknown } }, WAYS, DECLARED)
    for (const url of URLS) {
      t.equal(await ask({ url, headers: { 'x-tenant-id': 'zeta' } }), answer, `${url}: unknown`)
      t.equal(await ask({ url, headers: ACME }), '200 acme', `${url}: known`)
      t.equal(await ask({ url, headers: { 'x-tenant-id': 'evil' } }), REFUSED, `${url}: false`)
      t.equal(await ask(url), '200 -', `${url}: none`)
    }
  }
})

t.test('a tenant that is set to false is refused from the next request on, and served again once it is set anew', async t => {
  const { app, ask } = await setUp(t, { tenants: { acme: {} }, unknown: 'reject' })
  const request = { url: '/x', headers: ACME }
  t.equal(await ask(request), '200 acme')
  app.reverseproxy.tenants.set('acme', false)
  t.equal(await ask(request), REFUSED)
  app.reverseproxy.tenants.set('acme', {})
  t.equal(await ask(request), '200 acme')
  await app.reverseproxy.tenants.remove('acme')
  t.equal(await ask(request), UNKNOWN)
})

t.test('forwardAs names the header that tells the backend, false sends none', async t => {
  for (const [forwardAs, name] of [['X-Customer', 'x-customer'], ['x-tenant-id', 'x-tenant-id'], [false, undefined]] as const) {
    const { app, seen } = await setUp(t, { forwardAs }, WAYS, DECLARED)
    for (const url of URLS) {
      seen.length = 0
      t.equal((await app.inject({ url, headers: { ...ACME, 'x-kept': 'acme' } })).statusCode, 200)
      const { rawHeaders } = seen[0]!
      const told = rawHeaders.filter((value, at) => at % 2 === 1 && value === 'acme' && rawHeaders[at - 1]!.toLowerCase() !== 'x-kept').length
      t.equal(told, name === undefined ? 0 : 1, `${url}: told ${told} times`)
      if (name !== undefined) t.equal(seen[0]!.headers[name], 'acme', url)
    }
  }
})

t.test('a route of code may no more send or fake the tenant header than the options may', async t => {
  for (const request of [{ set: { 'X-Tenant-Id': 'evil' } }, { append: { 'x-tenant-id': 'evil' } }, { rename: { 'x-mine': 'x-tenant-id' } }, { rename: { 'x-tenant-id': 'x-theirs' } }]) {
    await t.rejects(setUp(t, {}, app => { app.get('/x', { proxy: { backend: 'up', headers: { request } } }, app.reverseproxy.handler) }), /tenan/, JSON.stringify(request))
    await t.rejects(setUp(t, {}, undefined, { routes: [{ path: '/y', proxy: { backend: 'up', headers: { request } } }] }), /tenan/, `in the options: ${JSON.stringify(request)}`)
  }
  await t.rejects(setUp(t, {}, app => { app.get('/x', { composite: { parts: { a: { backend: 'up', path: '/', headers: { set: { 'x-tenant-id': 'evil' } } } } } }, app.reverseproxy.handler) }), /tenan/)
})

t.test('what removes the tenant header takes it from a backend that is not to know', async t => {
  const { app, seen } = await setUp(t, {}, app => {
    app.get('/x', { proxy: { backend: 'up', headers: { request: { remove: ['X-Tenant-Id'] } } } }, app.reverseproxy.handler)
  })
  t.equal((await app.inject({ url: '/x', headers: ACME })).statusCode, 200)
  t.equal(seen[0]!.headers['x-tenant-id'], undefined)
})

// ---------------------------------------------------------------- the option of a route

t.test('tenancy: false is nobody\'s in particular, whatever the client says', async t => {
  const { ask, app } = await setUp(t, { required: true, unknown: 'reject', tenants: { off: false } }, app => {
    app.get('/plain', { proxy: 'up', tenancy: false }, app.reverseproxy.handler)
    app.get('/parts', { composite: { backends: ['up'] }, tenancy: false }, app.reverseproxy.handler)
    app.get('/own', { tenancy: false }, async (request, reply) => {
      if (request.reverseproxy?.tenant !== undefined) throw new Error('there is a tenant')
      return await reply.proxy('up')
    })
    app.get('/own-parts', { tenancy: false }, async (_request, reply) => await reply.composite({ backends: ['up'] }))
  }, { routes: [{ path: '/declared', methods: ['GET'], proxy: { backend: 'up' }, tenancy: false }] })
  for (const url of ['/plain', '/parts', '/own', '/own-parts', '/declared']) {
    for (const headers of [{}, { 'x-tenant-id': 'off' }, { 'x-tenant-id': 'evil evil' }, { 'x-tenant-id': 'zeta' }]) t.equal(await ask({ url, headers }), '200 -', `${url} ${JSON.stringify(headers)}`)
  }
  t.equal((await app.inject('/nowhere')).statusCode, 404)
})

t.test('tenancy: true finds it out before a handler of the app\'s own runs', async t => {
  const { app } = await setUp(t, { tenants: { acme: { metadata: { plan: 'gold' } }, off: false } }, app => {
    app.get('/who', { tenancy: true }, async ({ reverseproxy }) => ({ tenant: reverseproxy?.tenant ?? null, plan: reverseproxy?.scope?.tenant.metadata['plan'] ?? null }))
    app.get('/none', async ({ reverseproxy }) => ({ tenant: reverseproxy?.tenant ?? null }))
    app.get('/must', { tenancy: { required: true } }, async ({ reverseproxy }) => ({ tenant: reverseproxy?.tenant }))
  })
  const ask = async (url: string, id?: string): Promise<unknown> => (await app.inject({ url, headers: id === undefined ? {} : { 'x-tenant-id': id } })).json()
  t.strictSame(await ask('/who', 'acme'), { tenant: 'acme', plan: 'gold' })
  t.strictSame(await ask('/who', 'zeta'), { tenant: 'zeta', plan: null })
  t.strictSame(await ask('/who'), { tenant: null, plan: null })
  t.match(await ask('/who', 'off'), { statusCode: 403, code: 'RP_ERR_TENANT_REFUSED' })
  t.match(await ask('/who', 'evil evil'), { statusCode: 400, code: 'RP_ERR_TENANT_INVALID' })
  t.strictSame(await ask('/must', 'acme'), { tenant: 'acme' })
  t.match(await ask('/must'), { statusCode: 400, code: 'RP_ERR_TENANT_MISSING' })
  t.strictSame(await ask('/none', 'evil evil'), { tenant: null }, 'a route that says nothing and forwards nothing is left alone')
})

t.test('required of a route goes before that of the gateway', async t => {
  for (const required of [true, false]) {
    const { ask } = await setUp(t, { required }, app => {
      app.get('/must', { proxy: 'up', tenancy: { required: true } }, app.reverseproxy.handler)
      app.get('/may', { proxy: 'up', tenancy: { required: false } }, app.reverseproxy.handler)
      app.get('/as', { proxy: 'up', tenancy: {} }, app.reverseproxy.handler)
      app.get('/true', { proxy: 'up', tenancy: true }, app.reverseproxy.handler)
      app.get('/parts', { composite: { backends: ['up'] }, tenancy: { required: true } }, app.reverseproxy.handler)
    }, { routes: [{ path: '/declared', methods: ['GET'], proxy: { backend: 'up' }, tenancy: { required: true } }, { path: '/declared-parts', composite: { backends: ['up'] }, tenancy: { required: false } }] })
    const asGateway = required ? MISSING : '200 -'
    for (const [url, answer] of [['/must', MISSING], ['/may', '200 -'], ['/as', asGateway], ['/true', asGateway], ['/parts', MISSING], ['/declared', MISSING], ['/declared-parts', '200 -']] as const) {
      t.equal(await ask(url), answer, `${required}: ${url}`)
      t.equal(await ask({ url, headers: ACME }), '200 acme', `${required}: ${url}`)
    }
  }
})

t.test('enabled: false is a 404 like any other, but for tenants that switch it on', async t => {
  const routes = { constructor: true, beta: true, '/off': true, '/own': true, declared: true }
  const { ask, app } = await setUp(t, { tenants: { acme: { routes } } }, async app => {
    app.get('/off', { proxy: 'up', tenancy: { enabled: false } }, app.reverseproxy.handler)
    app.get('/named', { proxy: 'up', tenancy: { enabled: false }, config: { name: 'beta' } }, app.reverseproxy.handler)
    app.get('/constructor', { proxy: 'up', tenancy: { enabled: false }, config: { name: 'constructor' } }, app.reverseproxy.handler)
    app.get('/own', { tenancy: { enabled: false } }, async (_request, reply) => await reply.proxy('up'))
  }, { routes: [{ name: 'declared', path: '/declared', methods: ['GET'], proxy: { backend: 'up' }, tenancy: { enabled: false } }] })
  for (const url of ['/off', '/named', '/constructor', '/own', '/declared']) {
    t.equal(await ask({ url, headers: ACME }), '200 acme', url)
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'zeta' } }), '404', url)
    t.equal(await ask(url), '404', url)
    t.strictSame((await app.inject(url)).json(), { message: `Route GET:${url} not found`, error: 'Not Found', statusCode: 404 }, `${url}: as Fastify says it`)
  }
})

t.test('a tenant that has switched a path off has none of its routes, not even those that call reply.proxy()', async t => {
  const { ask, app } = await setUp(t, { tenants: { acme: { routes: { '/x': false } } } }, app => {
    app.post('/x', { proxy: 'up' }, app.reverseproxy.handler)
    app.get('/x', async (_request, reply) => await reply.proxy('up'))
  })
  for (const method of ['GET', 'POST'] as const) {
    t.equal(await ask({ method, url: '/x', headers: { 'x-tenant-id': 'zeta' } }), '200 zeta', method)
    const response = await app.inject({ method, url: '/x', headers: ACME })
    t.strictSame([response.statusCode, response.json()], [404, { message: `Route ${method}:/x not found`, error: 'Not Found', statusCode: 404 }], method)
  }
})

t.test('a route that is not there runs the app\'s own handler for what is not found', async t => {
  const { app } = await setUp(t, {}, app => {
    app.setNotFoundHandler((_request, reply) => { reply.code(404).send({ own: true }) })
    app.post('/off', { proxy: 'up', tenancy: { enabled: false } }, app.reverseproxy.handler)
  })
  const response = await app.inject({ method: 'POST', url: '/off', payload: { a: 1 } })
  t.strictSame([response.statusCode, response.json()], [404, { own: true }])
})

t.test('options of a route that mean nothing are refused', async t => {
  const upstream = { backends: { up: 'http://127.0.0.1:1' } }
  for (const tenancy of ['acme', { require: true }, { enabled: 'no' }, null, { onTenant: 'x' }, { headers: {} }]) {
    await t.rejects(buildGateway({ ...upstream, tenancy: {} }, app => { app.get('/x', { proxy: 'up', tenancy: tenancy as never }, app.reverseproxy.handler) }), { code: 'RP_ERR_OPTIONS', message: /route \/x: tenancy/ }, JSON.stringify(tenancy))
  }
  for (const tenancy of [true, false, {}]) {
    await t.rejects(buildGateway(upstream, app => { app.get('/x', { proxy: 'up', tenancy }, app.reverseproxy.handler) }), { code: 'RP_ERR_OPTIONS' }, 'without tenancy')
  }
  await t.rejects(buildGateway(upstream, app => { app.addTenantHook('onTenant', () => {}) }), /tenancy/)
})

// ---------------------------------------------------------------- when

/** Logs the tenant as each hook sees it. */
function stages (app: FastifyInstance, log: string[], place: string): void {
  for (const name of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    app.addHook(name as 'onRequest', async request => { log.push(`${place} ${name} ${request.reverseproxy?.tenant ?? '-'}`) })
  }
}

t.test('it is found out after all hooks of its kind: the app\'s, a plugin\'s and the route\'s', async t => {
  const KINDS = ['onRequest', 'preParsing', 'preValidation', 'preHandler']
  for (const hook of [undefined, 'onRequest', 'preValidation', 'preHandler'] as const) {
    const log: string[] = []
    const { ask } = await setUp(t, { ...hook === undefined ? undefined : { hook }, onTenant: ({ reverseproxy }) => { log.push(`found ${reverseproxy?.tenant}`) } }, async app => {
      stages(app, log, 'app')
      await app.register(async plugin => {
        stages(plugin, log, 'plugin')
        const own = (name: string) => async (request: FastifyRequest): Promise<void> => { log.push(`route ${name} ${request.reverseproxy?.tenant ?? '-'}`) }
        plugin.get('/x', { proxy: 'up', onRequest: [own('onRequest')], preParsing: own('preParsing') as never, preValidation: own('preValidation'), preHandler: [own('preHandler')] }, plugin.reverseproxy.handler)
        // hooks that are added later are the app's as well
        plugin.addHook('onRequest', async ({ reverseproxy }) => { log.push(`late onRequest ${reverseproxy?.tenant ?? '-'}`) })
      })
    })
    t.equal(await ask({ url: '/x', headers: ACME }), '200 acme')
    const at = log.indexOf('found acme')
    const stage = hook ?? 'onRequest'
    t.ok(log.slice(0, at).every(line => line.endsWith(' -')), `${stage}: nobody knew before`, { log })
    t.ok(log.slice(at + 1).every(line => line.endsWith(' acme')), `${stage}: all know after`, { log })
    t.strictSame([...new Set(log.slice(0, at).map(line => line.split(' ')[1]))], KINDS.slice(0, KINDS.indexOf(stage) + 1), `${stage}: after all hooks of its kind`)
    t.strictSame([...new Set(log.slice(at + 1).map(line => line.split(' ')[1]))], KINDS.slice(KINDS.indexOf(stage) + 1), `${stage}: and before the next kind`)
  }
})

t.test('who is refused by the app\'s own hook is not asked for a tenant', async t => {
  const { ask } = await setUp(t, { required: true, onTenant () { throw new Error('asked') } }, async app => {
    await app.register(async plugin => {
      plugin.addHook('onRequest', async () => { throw Object.assign(new Error('who are you?'), { statusCode: 401 }) })
      plugin.get('/x', { proxy: 'up' }, plugin.reverseproxy.handler)
    })
  })
  for (const headers of [{}, ACME, { 'x-tenant-id': 'evil evil' }]) t.equal(await ask({ url: '/x', headers }), '401')
})

t.test('claims: the user may be known as late as in the route\'s own preHandler', async t => {
  const verify = async (request: FastifyRequest): Promise<void> => {
    const { authorization } = request.headers
    if (authorization === undefined) throw Object.assign(new Error('who are you?'), { statusCode: 401 })
    ;(request as { user?: unknown }).user = { org: authorization }
  }
  for (const kind of ['onRequest', 'preValidation', 'preHandler'] as const) {
    const { ask } = await setUp(t, { sources: [{ claim: 'org' }, { header: 'x-tenant-id' }], required: true }, async app => {
      app.decorateRequest('user', null as never)
      app.route({ method: ['GET', 'POST'], url: '/x', proxy: 'up', [kind]: verify, handler: app.reverseproxy.handler })
      await app.register(async plugin => {
        plugin.addHook(kind as 'onRequest', verify)
        plugin.get('/y', { proxy: 'up' }, plugin.reverseproxy.handler)
        plugin.get('/parts', { composite: { backends: ['up'] } }, plugin.reverseproxy.handler)
        plugin.get('/own', async (_request, reply) => await reply.proxy('up'))
      })
    })
    for (const url of ['/x', '/y', '/parts', '/own']) {
      t.equal(await ask({ url, headers: { authorization: 'acme' } }), '200 acme', `${kind}: ${url}`)
      t.equal(await ask({ url, headers: { authorization: 'acme', 'x-tenant-id': 'evil' } }), INVALID, `${kind}: ${url}: what the client writes must not differ from its claim`)
      t.equal(await ask({ url, headers: { 'x-tenant-id': 'acme' } }), '401', `${kind}: ${url}`)
    }
    t.equal(await ask({ method: 'POST', url: '/x', headers: { authorization: 'acme' }, payload: { a: 1 } }), '200 acme', `${kind}: with a body`)
  }
})

t.test('hooks that another plugin gives to routes as they are declared count as the app\'s, when it was registered before', async t => {
  const { url } = await httpUpstream(t, (request, response) => { response.end(String(request.headers['x-tenant-id'])) })
  const app = Fastify(serverOptions)
  t.teardown(() => app.close())
  app.decorateRequest('user', null as never)
  app.addHook('onRoute', route => {
    route.preHandler = [route.preHandler ?? [], async (request: FastifyRequest) => { (request as { user?: unknown }).user = { org: 'acme' } }].flat() as never
  })
  await app.register(reverseproxy, { backends: { up: url }, tenancy: { sources: { claim: 'org' }, required: true }, routes: [{ path: '/declared', proxy: { backend: 'up' } }] })
  app.get('/plain', { proxy: 'up' }, app.reverseproxy.handler)
  for (const url of ['/plain', '/declared']) t.equal((await app.inject(url)).body, 'acme', url)
})

t.test('two gateways of one app know nothing of each other\'s tenants and hooks', async t => {
  const log: string[] = []
  const told: string[] = []
  const { url } = await httpUpstream(t, (request, response) => { told.push(`${request.url} ${request.headers['x-tenant-id'] ?? '-'} ${request.headers['x-org'] ?? '-'}`); response.end() })
  const app = Fastify(serverOptions)
  t.teardown(() => app.close())
  const gateway = (name: string, tenancy: TenancyOptions) => app.register(async plugin => {
    await plugin.register(reverseproxy, { backends: { up: url }, tenancy: { unknown: 'reject', ...tenancy } })
    plugin.addTenantHook('onTenant', (_request, tenant) => { log.push(`${name} ${tenant.id}`) })
    plugin.get(`/${name}`, { proxy: 'up' }, plugin.reverseproxy.handler)
  })
  await gateway('a', { tenants: { acme: {} } })
  await gateway('b', { header: 'x-org', tenants: { globex: {} } })
  const ask = async (url: string, headers: Record<string, string>) => (await app.inject({ url, headers })).statusCode
  t.equal(await ask('/a', { 'x-tenant-id': 'acme', 'x-org': 'globex' }), 200)
  t.equal(await ask('/b', { 'x-tenant-id': 'acme', 'x-org': 'globex' }), 200)
  t.equal(await ask('/a', { 'x-tenant-id': 'globex' }), 403)
  t.equal(await ask('/b', { 'x-org': 'acme' }), 403)
  t.strictSame(log, ['a acme', 'b globex'])
  t.strictSame(told, ['/a acme globex', '/b acme globex'], 'each keeps back what it reads itself, and only that')
})

t.test('lists of hooks stay what their owner made them', async t => {
  const shared = Object.freeze([async () => {}])
  const { ask } = await setUp(t, {}, app => {
    const hooks = { onRequest: shared as never, preHandler: shared as never }
    app.get('/a', { proxy: 'up', ...hooks }, app.reverseproxy.handler)
    app.get('/b', { proxy: 'up', ...hooks }, app.reverseproxy.handler)
    app.get('/c', { tenancy: true, ...hooks }, async (_request, reply) => await reply.proxy('up'))
  })
  for (const url of ['/a', '/b', '/c']) t.equal(await ask({ url, headers: ACME }), '200 acme')
  t.equal(shared.length, 1)
})

// ---------------------------------------------------------------- handlers of the app's own

t.test('reply.proxy() and reply.composite() find it out when they are first called, and once', async t => {
  const asked: string[] = []
  const { ask, app } = await setUp(t, {
    required: true,
    tenants: { off: false },
    sources: async request => { asked.push(request.url); return request.headers['x-tenant-id'] as string | undefined }
  }, app => {
    app.get('/proxy', async (request, reply) => {
      if (request.reverseproxy?.tenant !== undefined) throw new Error('too early')
      return await reply.proxy('up')
    })
    app.get('/parts', async (_request, reply) => await reply.composite({ backends: ['up'] }))
    app.get('/planned', { proxy: 'up' }, async (request, reply) => await reply.header('x-known', request.reverseproxy?.tenant ?? '-').proxy())
    app.get('/true', { tenancy: true }, async (_request, reply) => await reply.proxy('up'))
    app.get('/no', async () => ({}))
    app.setNotFoundHandler(async (_request, reply) => await reply.proxy('up'))
  })
  for (const url of ['/proxy', '/parts', '/planned', '/true', '/nowhere']) {
    asked.length = 0
    t.equal(await ask({ url, headers: ACME }), '200 acme', url)
    t.strictSame(asked, [url], `${url}: asked once`)
    t.equal(await ask(url), MISSING, url)
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'off' } }), REFUSED, url)
    t.equal(await ask({ url, headers: { 'x-tenant-id': 'evil evil' } }), INVALID, url)
  }
  asked.length = 0
  t.equal((await app.inject('/no')).statusCode, 200)
  t.strictSame(asked, [])
  t.equal((await app.inject({ url: '/planned', headers: ACME })).headers['x-known'], 'acme', 'a route that says what it forwards to knows before its handler runs')
})

t.test('a call that failed may be followed by another: whose it is stands', async t => {
  let asked = 0
  const { ask } = await setUp(t, { sources: request => { asked++; return request.headers['x-tenant-id'] as string | undefined } }, app => {
    app.reverseproxy.backends.add('down', 'http://127.0.0.1:1')
    app.setErrorHandler(async (_error, _request, reply) => await reply.code(200).proxy('up'))
    app.get('/x', async (_request, reply) => await reply.proxy('down'))
  })
  t.equal(await ask({ url: '/x', headers: ACME }), '200 acme')
  t.equal(asked, 1)
})

t.test('a route with a plugin\'s prefix may have the tenant in it', async t => {
  const { ask } = await setUp(t, { sources: { param: 'tenant' }, required: true }, async app => {
    await app.register(async plugin => {
      plugin.get('/x', { proxy: 'up' }, plugin.reverseproxy.handler)
      plugin.get('/parts', { composite: { backends: ['up'] } }, plugin.reverseproxy.handler)
      plugin.get('/own', async (_request, reply) => await reply.proxy('up'))
      await plugin.register(async inner => { inner.get('/*', { proxy: 'up' }, inner.reverseproxy.handler) }, { prefix: '/deep' })
    }, { prefix: '/of/:tenant' })
    app.get('/flat', { proxy: 'up' }, app.reverseproxy.handler)
  })
  for (const path of ['/x', '/parts', '/own', '/deep/a/b']) {
    t.equal(await ask(`/of/acme${path}`), '200 acme', path)
    t.equal(await ask(`/of/evil,evil${path}`), INVALID, path)
  }
  t.equal(await ask('/flat'), MISSING)
})

t.test('a HEAD that Fastify adds to a GET asks once, as the GET does', async t => {
  let found = 0
  const { app, seen } = await setUp(t, { onTenant: () => { found++ }, tenants: { off: false }, required: true }, WAYS)
  for (const url of ['/plain', '/own', '/own-early']) {
    found = seen.length = 0
    const { statusCode } = await app.inject({ method: 'HEAD', url, headers: ACME })
    t.strictSame([statusCode, found, seen.map(({ method, headers }) => [method, headers['x-tenant-id']])], [200, 1, [['HEAD', 'acme']]], url)
    t.equal((await app.inject({ method: 'HEAD', url })).statusCode, 400, url)
    t.equal((await app.inject({ method: 'HEAD', url, headers: { 'x-tenant-id': 'off' } })).statusCode, 403, url)
  }
})

// ---------------------------------------------------------------- routes of the options

t.test('routes that share a path are each their own, with a name and a tenancy each', async t => {
  const found: string[] = []
  const { ask } = await setUp(t, {
    tenants: { acme: { routes: { beta: true, v2: false } } },
    onTenant: ({ reverseproxy }) => { found.push(reverseproxy!.route) }
  }, () => {}, {
    routes: [
      { name: 'v1', path: '/x', methods: ['GET'], headers: { 'x-api': 'v1' }, proxy: { backend: 'up' }, tenancy: { required: true } },
      { name: 'v2', path: '/x', methods: ['GET'], headers: { 'x-api': 'v2' }, proxy: { backend: 'up' } },
      { name: 'beta', path: '/x', methods: ['GET'], headers: { 'x-api': 'beta' }, proxy: { backend: 'up' }, tenancy: { enabled: false } },
      { name: 'parts', path: '/x', methods: ['GET'], query: { parts: '1' }, headers: { 'x-api': 'parts' }, composite: { backends: ['up'] }, tenancy: { required: true } },
      { name: 'open', path: '/x', methods: ['GET'], proxy: { backend: 'up' }, tenancy: false }
    ]
  })
  // in turns, so that nothing of one sticks to the next
  for (let round = 0; round < 2; round++) {
    for (const [api, none, acme, zeta, name] of [
      ['v1', MISSING, '200 acme', '200 zeta', 'v1'],
      ['v2', '200 -', '404', '200 zeta', 'v2'],
      ['beta', '404', '200 acme', '404', 'beta'],
      ['parts', MISSING, '200 acme', '200 zeta', 'parts'],
      ['other', '200 -', '200 -', '200 -', undefined]
    ] as const) {
      const url = api === 'parts' ? '/x?parts=1' : '/x'
      found.length = 0
      t.equal(await ask({ url, headers: { 'x-api': api } }), none, `${api}: nobody`)
      t.equal(await ask({ url, headers: { 'x-api': api, ...ACME } }), acme, `${api}: acme`)
      t.equal(await ask({ url, headers: { 'x-api': api, 'x-tenant-id': 'zeta' } }), zeta, `${api}: zeta`)
      t.strictSame([...new Set(found)], name === undefined ? [] : [name], `${api}: its hooks know its name`)
    }
  }
})

t.test('the catch-all of a default backend has tenants as well', async t => {
  const { ask } = await setUp(t, { required: true, tenants: { off: false } }, () => {}, { defaultBackend: 'up' })
  t.equal(await ask({ url: '/any/where', headers: ACME }), '200 acme')
  t.equal(await ask('/any/where'), MISSING)
  t.equal(await ask({ url: '/any/where', headers: { 'x-tenant-id': 'off' } }), REFUSED)
})

// ---------------------------------------------------------------- errors

t.test('the app\'s error handlers see refusals with their codes', async t => {
  const configure: Configure = async app => {
    app.setErrorHandler((error: Error & { code?: string, statusCode?: number }, _request, reply) => { reply.code(error.statusCode ?? 500).send({ code: `app ${error.code}` }) })
    await WAYS(app)
    await app.register(async plugin => {
      plugin.setErrorHandler((error: Error & { code?: string }, _request, reply) => { reply.code(418).send({ code: `plugin ${error.code}` }) })
      plugin.get('/in/plain', { proxy: 'up' }, plugin.reverseproxy.handler)
      plugin.get('/in/own', async (_request, reply) => await reply.proxy('up'))
      plugin.get('/in/route', { proxy: 'up', errorHandler: (error, _request, reply) => { reply.code(499).send({ code: `route ${error.code}` }) } }, plugin.reverseproxy.handler)
    })
  }
  for (const isAsync of [false, true]) {
    const read = (request: FastifyRequest) => request.headers['x-tenant-id'] as string | undefined
    const { ask } = await setUp(t, { required: true, unknown: 'reject', tenants: { acme: {}, off: false }, sources: isAsync ? async request => read(request) : read }, configure)
    for (const [headers, status, code] of [[{}, 400, 'RP_ERR_TENANT_MISSING'], [{ 'x-tenant-id': 'evil evil' }, 400, 'RP_ERR_TENANT_INVALID'], [{ 'x-tenant-id': 'zeta' }, 403, 'RP_ERR_TENANT_UNKNOWN'], [{ 'x-tenant-id': 'off' }, 403, 'RP_ERR_TENANT_REFUSED']] as const) {
      for (const url of URLS.slice(0, -1)) t.equal(await ask({ url, headers }), `${status} app ${code}`, `${url}, ${isAsync}`)
      t.equal(await ask({ url: '/in/plain', headers }), `418 plugin ${code}`)
      t.equal(await ask({ url: '/in/own', headers }), `418 plugin ${code}`)
      t.equal(await ask({ url: '/in/route', headers }), `499 route ${code}`)
    }
  }
})

t.test('an error handler that forwards is no way around a refusal', async t => {
  const { ask, seen } = await setUp(t, { unknown: 'reject', tenants: { acme: {} } }, app => {
    app.setErrorHandler((_error, _request, reply) => reply.proxy('up'))
    app.get('/x', { proxy: 'up', tenancy: { onTenant () { throw Object.assign(new Error('no'), { statusCode: 402 }) } } }, app.reverseproxy.handler)
  })
  for (const tenant of ['acme', 'stranger']) t.notMatch(await ask({ url: '/x', headers: { 'x-tenant-id': tenant } }), /^200/, tenant)
  t.equal(seen.length, 0)
})
