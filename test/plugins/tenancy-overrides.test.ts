/**
 * What a tenant says over what everybody has, end to end: its backends, its default backend, plain routes, headers, limits,
 * metadata. Composites have tests of their own (tenancy-composites), and so has the order of the levels (tenancy-precedence).
 */
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { run } from '../../cli/run.ts'
import { loadConfigFile } from '../../lib/config-file.ts'
import reverseproxy, { serverOptions } from '../../index.ts'
import { ask, buildGateway, CERTIFICATE, CERTIFICATE_KEY, echoUpstreams, httpUpstream, rawRequest, startGateway } from '../helper.ts'
import type { Configure, Echo, EchoUpstream, GatewayOptions, Told } from '../helper.ts'

/** What a backend was asked, as its answer tells it. */
const echoOf = ({ value }: Told): Echo => value as Echo
const codeOf = ({ value }: Told): string => (value as { code: string }).code

type Ask = (path: string, tenant?: string, init?: RequestInit) => Promise<Told>

const noRoutes: Configure = () => {}

/** Shared backends, backends of tenants, and a gateway. */
async function world<N extends string> (t: Test, names: readonly N[], options: (up: Readonly<Record<N, EchoUpstream>>) => Record<string, unknown>, configure: Configure = noRoutes) {
  const up = await echoUpstreams(t, ...names)
  const { app, url, port } = await startGateway(t, options(up) as GatewayOptions, configure)
  const asked: Ask = (path, tenant, init = {}) => ask(url + path, { redirect: 'manual', ...init, headers: { ...init.headers, ...tenant === undefined ? {} : { 'x-tenant-id': tenant } } })
  return { up, app, url, port, ask: asked }
}

/** Problems of a boot that fails; throws when it does not. */
async function bootProblems (options: unknown, configure: Configure = noRoutes): Promise<Array<{ path: string, rule: string, value?: unknown }>> {
  const app = Fastify({ ...serverOptions }) as FastifyInstance
  try {
    await app.register(reverseproxy, options as GatewayOptions)
    await configure(app)
    await app.ready()
  } catch (error) {
    const { code, problems } = error as { code: string, problems: Array<{ path: string, rule: string, value?: unknown }> }
    if (code !== 'RP_ERR_OPTIONS') throw error
    return problems
  } finally {
    await app.close()
  }
  throw new Error('it has started')
}

const everything = (backend: string) => [{ name: 'all', path: '/*', proxy: { backend } }]

// ---- backends

t.test('the backend of a tenant is its own, however it is written, and everybody else has the common one', async t => {
  const { ask, up } = await world(t, ['users', 'own', 'second'], ({ users, own, second }) => ({
    backends: { users: users.url },
    tenancy: {
      tenants: {
        text: { backends: { users: own.url } },
        list: { backends: { users: [own.url, { url: second.url, weight: 1 }] } },
        url: { backends: { users: { url: `${own.url}/base` } } },
        targets: { backends: { users: { targets: [{ url: second.url }] } } },
        silent: {}
      }
    },
    routes: everything('users')
  }))
  t.equal(echoOf(await ask('/1', 'text')).name, 'own')
  t.same(new Set([echoOf(await ask('/1', 'list')).name, echoOf(await ask('/1', 'list')).name]), new Set(['own', 'second']), 'both targets, in turn')
  t.has(echoOf(await ask('/1', 'url')), { name: 'own', url: '/base/1' })
  t.equal(echoOf(await ask('/1', 'targets')).name, 'second')
  t.equal(up.users.seen.length, 0)
  for (const tenant of [undefined, 'silent', 'nobody-knows']) t.equal(echoOf(await ask('/1', tenant)).name, 'users', String(tenant))
  t.equal(up.own.seen.length + up.second.seen.length, 5)
})

t.test('options of a backend without targets change the options only', async t => {
  const { ask, app } = await world(t, ['one', 'two'], ({ one, two }) => ({
    backends: { users: { targets: [one.url, two.url], host: 'common.example', timeout: { headers: '150ms', total: '10s' } } },
    deadlineHeader: 'x-left',
    tenancy: { tenants: { acme: { backends: { users: { host: 'acme.example', timeout: { total: '30s' } } } } } },
    routes: everything('users')
  }))
  const answers = [await ask('/', 'acme'), await ask('/', 'acme')].map(echoOf)
  t.same(new Set(answers.map(({ name }) => name)), new Set(['one', 'two']), 'the targets of everybody')
  for (const { headers } of answers) {
    t.equal(headers.host, 'acme.example')
    t.ok(Number(headers['x-left']) > 10_000, 'its total time')
  }
  const { headers } = echoOf(await ask('/'))
  t.equal(headers.host, 'common.example')
  t.ok(Number(headers['x-left']) <= 10_000)
  // a target that is taken out of service is so for the tenant as well
  app.reverseproxy.backends.updateTarget('users', app.reverseproxy.backends.get('users')!.targets[0]!.url, { active: false })
  t.same(new Set([echoOf(await ask('/', 'acme')).name, echoOf(await ask('/', 'acme')).name]), new Set(['two']))
})

t.test('what a tenant says of one key leaves the others of that option as they were', async t => {
  const { url: silent } = await httpUpstream(t, () => {})
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url, slow: { url: silent, timeout: { headers: '150ms', total: '10s' } } },
    tenancy: { tenants: { acme: { backends: { slow: { timeout: { total: '30s' } } } }, patient: { backends: { slow: { timeout: { headers: '20s', total: '300ms' } } } } } },
    routes: everything('slow')
  }))
  // far below 10 s: the time for the headers is the backend's
  const begin = performance.now()
  t.equal((await ask('/', 'acme')).status, 504)
  t.equal((await ask('/', 'patient')).status, 504)
  t.ok(performance.now() - begin < 8_000)
})

t.test('a backend that is false is none for the tenant: 503, and the route goes on for others', async t => {
  const { ask, up } = await world(t, ['users', 'other'], ({ users, other }) => ({
    backends: { users: users.url, other: other.url },
    tenancy: { tenants: { acme: { backends: { users: false } } } },
    routes: everything('users')
  }), app => {
    app.get('/by-hand', (_request, reply) => reply.proxy('users'))
    app.get('/other', (_request, reply) => reply.proxy('other'))
  })
  for (const path of ['/1', '/by-hand']) {
    const answer = await ask(path, 'acme')
    t.equal(answer.status, 503, path)
    t.equal(codeOf(answer), 'RP_ERR_NO_TARGET')
    t.notMatch(answer.text, /users|acme/, 'nothing of the set-up in the answer')
    t.equal((await ask(path, 'globex')).status, 200)
  }
  t.equal((await ask('/other', 'acme')).status, 200)
  t.equal(up.users.seen.length, 2)
})

t.test('a backend that only a tenant has may be the backend of a route in code and of one of the options; for others it is a 503', async t => {
  const { ask } = await world(t, ['users', 'bills'], ({ users, bills }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { backends: { billing: bills.url } }, globex: {} } },
    routes: [{ path: '/file/*', proxy: { backend: 'billing' } }, { path: '/composite', composite: { parts: { bills: { backend: 'billing', path: '/bills', required: true } } } }]
  }), app => {
    app.get('/code/*', { proxy: 'billing' }, app.reverseproxy.handler)
    app.get('/hand', (_request, reply) => reply.proxy('billing'))
  })
  for (const path of ['/file/1', '/code/1', '/hand']) {
    t.equal(echoOf(await ask(path, 'acme')).name, 'bills', path)
    for (const tenant of ['globex', 'stranger', undefined]) {
      const answer = await ask(path, tenant)
      t.equal(answer.status, 503, `${path} for ${tenant}`)
      t.equal(codeOf(answer), 'RP_ERR_NO_TARGET')
    }
  }
  t.equal((await ask('/composite', 'acme')).status, 200)
  for (const tenant of ['globex', undefined]) t.equal((await ask('/composite', tenant)).status, 503, `composite for ${tenant}`)
})

t.test('where tenants are loaded, a backend without targets is a name: 503 for those who have no targets for it', async t => {
  const { ask } = await world(t, ['users', 'bills'], ({ users, bills }) => ({
    backends: { users: users.url, billing: { targets: [] } },
    tenancy: { load: async (id: string) => id === 'acme' ? { backends: { billing: bills.url } } : id === 'globex' ? {} : undefined },
    routes: everything('billing')
  }))
  t.equal(echoOf(await ask('/1', 'acme')).name, 'bills')
  for (const tenant of ['globex', 'stranger', undefined]) t.equal((await ask('/1', tenant)).status, 503, String(tenant))
})

t.test('a backend that nobody has is refused at boot, whoever names it, with its path and what there is', async t => {
  const backends = { users: 'http://127.0.0.1:1' }
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: { backends: { billing: 'http://127.0.0.1:2' } } } }, routes: [{ path: '/x', proxy: { backend: 'bills' } }] }),
    [{ path: 'routes[0].proxy.backend', rule: /users.*billing/, value: 'bills' }])
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: { defaultBackend: 'bills' } } } }), [{ path: 'tenancy.tenants.acme.defaultBackend', rule: /users/, value: 'bills' }])
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: { backends: { billing: 'http://127.0.0.1:2' } }, globex: { routes: { r: { proxy: 'billing' } } } } }, routes: [{ name: 'r', path: '/x', proxy: { backend: 'users' } }] }),
    [{ path: 'tenancy.tenants.globex.routes.r.proxy', value: 'billing' }], 'what another tenant has is not its own')
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: {} } } }, app => { app.get('/x', { proxy: 'bills' }, app.reverseproxy.handler) }), [{ path: 'route /x: proxy.backend', rule: /users/, value: 'bills' }])
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: { backends: { users: { timeout: 'soon' } } } } } }), [{ path: 'tenancy.tenants.acme.backends.users.timeout' }])
  t.match(await bootProblems({ backends, tenancy: { tenants: { acme: { backends: { billing: { timeout: '2s' } } } } } }), [{ path: 'tenancy.tenants.acme.backends.billing' }], 'a backend of its own without a target')
})

t.test('the own backend of a tenant may be another kind of server: https with its own certificate authority', async t => {
  const secure = createSecureServer({ cert: CERTIFICATE, key: CERTIFICATE_KEY }, (_request, response) => { response.end('secure') })
  secure.listen(0, '127.0.0.1')
  await once(secure, 'listening')
  t.teardown(() => { secure.closeAllConnections(); secure.close() })
  const url = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { backends: { users: { url, tls: { ca: CERTIFICATE } } } }, trusting: { backends: { users: url } }, wide: { tls: { ca: CERTIFICATE }, backends: { users: url } } } },
    routes: everything('users')
  }))
  t.equal((await ask('/', 'acme')).text, 'secure')
  t.equal((await ask('/', 'wide')).text, 'secure')
  t.equal((await ask('/', 'trusting')).status, 502, 'trust of another tenant is not shared')
  t.equal((await ask('/', 'acme')).text, 'secure')
})

t.test('a redirect is followed to what the tenant itself has, never to the backends of another tenant', async t => {
  let location = ''
  const { url } = await httpUpstream(t, (_request, response) => { response.writeHead(302, { location }).end() })
  const { ask, up } = await world(t, ['vault'], ({ vault }) => ({
    backends: { users: { url, redirects: 'follow' } },
    tenancy: { tenants: { acme: { backends: { vault: vault.url } }, passing: { backends: { vault: vault.url, users: { redirects: 'pass' } } }, globex: {} } },
    routes: everything('users')
  }))
  location = `${up.vault.url}/open`
  t.has(echoOf(await ask('/', 'acme')), { name: 'vault', url: '/open' })
  for (const tenant of ['globex', 'passing', 'stranger', undefined]) t.equal((await ask('/', tenant)).status, 302, String(tenant))
  t.equal(up.vault.seen.length, 1)
})

t.test('a fallback backend is the one of the tenant', async t => {
  const { ask, app } = await world(t, ['users', 'spare', 'own'], ({ users, spare, own }) => ({
    backends: { users: { url: users.url, circuitBreaker: { fallback: { backend: 'spare' } } }, spare: spare.url },
    tenancy: { tenants: { acme: { backends: { spare: own.url } }, globex: {} } },
    routes: everything('users')
  }))
  for (const tenant of ['acme', 'globex']) {
    t.equal(echoOf(await ask('/', tenant)).name, 'users')
    app.reverseproxy.breakers.open('users', undefined, tenant)
  }
  t.has(echoOf(await ask('/', 'acme')), { name: 'own', headers: { 'x-tenant-id': 'acme' } })
  t.has(echoOf(await ask('/', 'globex')), { name: 'spare', headers: { 'x-tenant-id': 'globex' } })
  t.equal(echoOf(await ask('/')).name, 'users', 'the circuit of everybody is closed')
})

t.test('false switches options of the resilience off for one tenant', async t => {
  const { ask, up } = await world(t, ['users'], ({ users }) => ({
    backends: { users: { url: users.url, retry: { attempts: 3, budget: false, backoff: { initial: 1, max: 1 } }, circuitBreaker: { failureThreshold: 4 } } },
    tenancy: { tenants: { once: { backends: { users: { retry: false } } }, open: { circuitBreaker: false, backends: { users: { circuitBreaker: false } } }, wide: { circuitBreaker: false } } },
    routes: everything('users')
  }))
  const attempts = async (tenant?: string) => {
    const before = up.users.seen.length
    await ask('/status/503', tenant)
    return up.users.seen.length - before
  }
  t.equal(await attempts('once'), 1)
  t.equal(await attempts('open'), 3)
  for (let n = 0; n < 5; n++) t.equal((await ask('/status/500', 'open', { method: 'POST' })).status, 500, 'no circuit that could open')
  for (let n = 0; n < 4; n++) t.equal((await ask('/status/500', 'wide', { method: 'POST' })).status, 500)
  t.equal((await ask('/status/500', 'wide', { method: 'POST' })).status, 503, 'what the backend says is narrower than what the tenant says of all')
})

// ---- the default backend

t.test('the default backend of a tenant answers what names no backend', async t => {
  const { ask } = await world(t, ['common', 'own'], ({ common, own }) => ({
    backends: { common: common.url, spare: common.url },
    defaultBackend: 'common',
    tenancy: { tenants: { acme: { backends: { own: own.url }, defaultBackend: 'own' } } },
    routes: [{ name: 'r', path: '/route/*', proxy: { rewrite: { stripPrefix: '/route' } } }, { name: 'c', path: '/composite', composite: { parts: { only: { path: '/part' } } } }]
  }), app => {
    app.get('/hand', (_request, reply) => reply.proxy())
    app.get('/bare', app.reverseproxy.handler)
  })
  for (const [path, url] of [['/anything', '/anything'], ['/route/1', '/1'], ['/hand', '/hand'], ['/bare', '/bare']] as const) {
    t.has(echoOf(await ask(path, 'acme')), { name: 'own', url }, path)
    for (const tenant of ['globex', undefined]) t.has(echoOf(await ask(path, tenant)), { name: 'common', url }, path)
  }
  t.has((await ask('/composite', 'acme')).value, { only: { name: 'own', url: '/part' } })
  t.has((await ask('/composite')).value, { only: { name: 'common', url: '/part' } })
})

// ---- routes

t.test('a route that is false is the 404 of the app, for one tenant; one that is off is there for who switches it on', async t => {
  const { ask, up } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: {
      tenants: {
        acme: { routes: { search: false, beta: true, gamma: { enabled: true, proxy: { headers: { request: { set: { 'x-gamma': 'acme' } } } } }, hand: false } },
        globex: { routes: { search: { enabled: false }, beta: false } },
        initech: { routes: { search: true, gamma: { proxy: { headers: { request: { set: { 'x-gamma': 'off' } } } } } } }
      }
    },
    routes: [
      { name: 'search', path: '/search', proxy: { backend: 'users' } },
      { name: 'beta', path: '/beta', proxy: { backend: 'users' }, tenancy: { enabled: false } },
      { name: 'all', path: '/*', proxy: { backend: 'users' } }
    ]
  }), app => {
    app.setNotFoundHandler((_request, reply) => { reply.code(404).send({ mine: true }) })
    app.get('/gamma', { proxy: 'users', config: { name: 'gamma' }, tenancy: { enabled: false } }, app.reverseproxy.handler)
    app.get('/hand', { config: { name: 'hand' }, tenancy: true }, async () => 'hand')
  })
  const statuses = async (path: string, init?: RequestInit) => {
    const found: Record<string, number> = {}
    for (const tenant of ['acme', 'globex', 'initech', 'stranger', undefined]) found[tenant ?? 'nobody'] = (await ask(path, tenant, init)).status
    return found
  }
  t.same(await statuses('/search'), { acme: 404, globex: 404, initech: 200, stranger: 200, nobody: 200 })
  t.same(await statuses('/search', { method: 'HEAD' }), { acme: 404, globex: 404, initech: 200, stranger: 200, nobody: 200 })
  t.same(await statuses('/search', { method: 'POST', body: 'x' }), { acme: 404, globex: 404, initech: 200, stranger: 200, nobody: 200 })
  t.same(await statuses('/beta'), { acme: 200, globex: 404, initech: 404, stranger: 404, nobody: 404 })
  t.same(await statuses('/gamma'), { acme: 200, globex: 404, initech: 404, stranger: 404, nobody: 404 })
  t.same(await statuses('/hand'), { acme: 404, globex: 200, initech: 200, stranger: 200, nobody: 200 })
  t.same((await ask('/search', 'acme')).value, { mine: true })
  t.equal(echoOf(await ask('/gamma', 'acme')).headers['x-gamma'], 'acme')
  t.equal(echoOf(await ask('/other', 'acme')).url, '/other')
  t.notOk(up.users.seen.some(({ url, headers }) => url === '/search' && headers['x-tenant-id'] === 'acme'))
})

t.test('a tenant changes the proxy of a route key by key', async t => {
  const { ask } = await world(t, ['users', 'other', 'bills'], ({ users, other, bills }) => ({
    backends: { users: { url: users.url, host: 'users.example' }, other: other.url },
    deadlineHeader: 'x-left',
    tenancy: {
      tenants: {
        path: { routes: { r: { proxy: { rewrite: { replacePrefix: { from: '/api/users', to: '/v2' } } } } } },
        none: { routes: { r: { proxy: { rewrite: [] } } } },
        headers: { routes: { r: { proxy: { headers: { request: { set: { 'x-own': 'yes' }, remove: ['X-Route', 'x-client'] }, response: { set: { 'x-answer': 'own' } } } } } } },
        time: { routes: { r: { proxy: { timeout: { headers: '9s' } } } } },
        text: { routes: { r: { proxy: 'other' } } },
        object: { backends: { billing: bills.url }, routes: { r: { proxy: { backend: 'billing' } } } },
        host: { routes: { r: { proxy: { host: 'preserve' } } } },
        body: { routes: { r: { proxy: { bodyLimit: '10b' } } } },
        redirect: { routes: { r: { proxy: { redirects: { follow: 1 } } } } }
      }
    },
    routes: [{
      name: 'r',
      path: '/api/users/*',
      proxy: { backend: 'users', rewrite: { stripPrefix: '/api' }, timeout: { total: '40s' }, headers: { request: { set: { 'x-route': 'r' } }, response: { set: { 'x-answer': 'r', 'x-kept': 'r' } } } }
    }]
  }))
  const get = (tenant: string) => ask('/api/users/7?a=b', tenant, { headers: { 'x-client': 'c' } })
  t.has(echoOf(await get('silent')), { name: 'users', url: '/users/7?a=b', headers: { 'x-route': 'r', 'x-client': 'c', host: 'users.example' } })
  t.has(echoOf(await get('path')), { name: 'users', url: '/v2/7?a=b', headers: { 'x-route': 'r' } })
  t.has(echoOf(await get('none')), { url: '/api/users/7?a=b' })
  const changed = await get('headers')
  t.has(echoOf(changed), { url: '/users/7?a=b', headers: { 'x-own': 'yes' } })
  t.notOk('x-route' in echoOf(changed).headers || 'x-client' in echoOf(changed).headers)
  t.equal(changed.headers.get('x-answer'), 'own')
  t.equal(changed.headers.get('x-kept'), 'r')
  t.ok(Number(echoOf(await get('time')).headers['x-left']) > 9_000, 'the total time of the route stays')
  t.has(echoOf(await get('text')), { name: 'other', url: '/users/7?a=b', headers: { 'x-route': 'r' } })
  t.has(echoOf(await get('object')), { name: 'bills', url: '/users/7?a=b', headers: { 'x-route': 'r' } })
  t.match(echoOf(await get('host')).headers.host, /^127\.0\.0\.1:/)
  t.equal((await ask('/api/users/7', 'body', { method: 'POST', body: 'x'.repeat(11) })).status, 413)
  t.equal((await ask('/api/users/7', 'body', { method: 'POST', body: 'x'.repeat(10) })).status, 200)
  t.equal((await get('redirect')).status, 200)
})

t.test('in code a tenant has functions of its own for a route', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url, dead: 'http://127.0.0.1:1' },
    tenancy: {
      tenants: {
        acme: {
          routes: {
            '/x': {
              proxy: {
                modifyRequest: (draft: { path: string, headers: { set (name: string, value: string): void } }) => { draft.path = '/modified'; draft.headers.set('x-by', 'acme') },
                modifyResponse: (draft: { status: number }) => { draft.status = 202 }
              }
            }
          }
        },
        broken: { routes: { '/x': { proxy: { backend: 'dead', errorHandler: (_error: Error, _request: unknown, reply: { code (status: number): { send (body: unknown): unknown } }) => reply.code(418).send({ own: true }) } } } }
      }
    }
  }), app => {
    app.get('/x', { proxy: { backend: 'users', modifyRequest: draft => { draft.headers.set('x-by', 'route') } } }, app.reverseproxy.handler)
  })
  const own = await ask('/x', 'acme')
  t.equal(own.status, 202)
  t.has(echoOf(own), { url: '/modified', headers: { 'x-by': 'acme' } })
  t.same((await ask('/x', 'broken')).value, { own: true })
  const common = await ask('/x', 'other')
  t.equal(common.status, 200)
  t.has(echoOf(common), { url: '/x', headers: { 'x-by': 'route' } })
})

t.test('a route that proxies from its own handler is changed, too', async t => {
  const { ask } = await world(t, ['users', 'own'], ({ users, own }) => ({
    backends: { users: users.url, own: own.url },
    tenancy: { tenants: { acme: { routes: { '/x/*': { proxy: { backend: 'own', headers: { request: { set: { 'x-own': '1' } } } } } } } } }
  }), app => {
    app.get('/x/*', { proxy: { backend: 'users', rewrite: { stripPrefix: '/x' } } }, (_request, reply) => reply.proxy())
    app.get('/y', { proxy: 'users' }, (_request, reply) => reply.proxy('own'))
  })
  t.has(echoOf(await ask('/x/1', 'acme')), { name: 'own', url: '/1', headers: { 'x-own': '1' } })
  t.has(echoOf(await ask('/x/1')), { name: 'users', url: '/1' })
  t.has(echoOf(await ask('/y', 'acme')), { name: 'own', url: '/y' })
})

t.test('a route is known by its path, by config.name and by its name in the file', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => {
    const set = (value: string) => ({ proxy: { headers: { request: { set: { 'x-of': value } } } } })
    return {
      backends: { users: users.url },
      tenancy: { tenants: { acme: { routes: { '/path/:id': set('path'), 'by-name': set('name'), 'of the file': set('file'), '/unnamed/*': set('unnamed') } } } },
      routes: [{ name: 'of the file', path: '/file', proxy: { backend: 'users' } }, { path: '/unnamed/*', proxy: { backend: 'users' } }]
    }
  }, async app => {
    app.get('/path/:id', { proxy: 'users' }, app.reverseproxy.handler)
    app.get('/named', { proxy: 'users', config: { name: 'by-name' } }, app.reverseproxy.handler)
    await app.register(async inner => { inner.get('/:id', { proxy: 'users', config: { name: 'by-name' } }, inner.reverseproxy.handler) }, { prefix: '/inner' })
  })
  for (const [path, name] of [['/path/7', 'path'], ['/named', 'name'], ['/inner/7', 'name'], ['/file', 'file'], ['/unnamed/x', 'unnamed']] as const) {
    t.equal(echoOf(await ask(path, 'acme')).headers['x-of'], name, path)
    t.equal(echoOf(await ask(path)).headers['x-of'], undefined, path)
    t.equal((await ask(path, 'acme', { method: 'HEAD' })).status, 200, `HEAD ${path}`)
  }
})

t.test('a route that is not there, or of another kind, is refused at boot with its path and what there is', async t => {
  const backends = { users: 'http://127.0.0.1:1' }
  const routes: Configure = app => {
    app.get('/plain', { proxy: 'users', config: { name: 'plain' } }, app.reverseproxy.handler)
    app.get('/composite', { composite: { backends: ['users'] } }, app.reverseproxy.handler)
    app.get('/own', { tenancy: true }, async () => 'own')
    app.get('/not-ours', async () => 'not ours')
  }
  const wrong = (change: Record<string, unknown>) => bootProblems({ backends, tenancy: { tenants: { acme: { routes: change } } } }, routes)
  for (const name of ['plane', '/plain', '/not-ours', 'constructor', 'toString']) {
    t.match(await wrong({ [name]: false }), [{ path: new RegExp(`^tenancy\\.tenants\\.acme\\.routes.*${name}`), rule: /plain.*\/composite.*\/own/ }], name)
  }
  t.match(await wrong({ plain: { composite: { timeout: '1s' } } }), [{ path: 'tenancy.tenants.acme.routes.plain.composite' }])
  t.match(await wrong({ '/composite': { proxy: { timeout: '1s' } } }), [{ path: /\/composite.*\.proxy$/ }])
  t.match(await wrong({ '/own': { proxy: { timeout: '1s' } } }), [{ path: /\/own.*\.proxy$/ }])
  t.match(await wrong({ plain: { proxy: { timeout: 'soon' } } }), [{ path: 'tenancy.tenants.acme.routes.plain.proxy.timeout', value: 'soon' }])
  t.match(await wrong({ plain: { proxy: { rewrite: { template: '/x/:id' } } } }), [{ path: 'tenancy.tenants.acme.routes.plain.proxy.rewrite.template' }], 'a parameter that the path does not have')
  t.match(await wrong({ plain: { proxy: { backend: 'nobody' } } }), [{ path: 'tenancy.tenants.acme.routes.plain.proxy.backend', value: 'nobody' }])
  t.match(await wrong({ plain: { enable: true } }), [{ path: 'tenancy.tenants.acme.routes.plain.enable' }])
  t.match(await wrong({ plain: false, plane: false, plan: true }), [{ path: /plane/ }, { path: /plan$/ }], 'all at once')
})

t.test('a tenant that is set at run time is checked against the routes in the same way', async t => {
  const { app, ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { headers: { request: { set: { 'x-version': '1' } } } } } },
    routes: everything('users')
  }))
  const { tenants } = app.reverseproxy
  t.throws(() => { tenants.set('acme', { routes: { some: false } }) }, { code: 'RP_ERR_OPTIONS', problems: [{ path: 'tenancy.tenants.acme.routes.some', rule: /all/ }] })
  t.throws(() => { tenants.set('acme', { routes: { all: { composite: {} } } }) }, { code: 'RP_ERR_OPTIONS' })
  t.equal(echoOf(await ask('/', 'acme')).headers['x-version'], '1', 'what was wrong has changed nothing')
  tenants.set('acme', { headers: { request: { set: { 'x-version': '2' } } }, routes: { all: { proxy: { rewrite: { addPrefix: '/two' } } } } })
  t.has(echoOf(await ask('/', 'acme')), { url: '/two/', headers: { 'x-version': '2' } })
  tenants.set('acme', { headers: { request: { set: { 'x-version': '3' } } }, routes: { all: { proxy: { rewrite: { addPrefix: '/three' } } } } })
  t.has(echoOf(await ask('/', 'acme')), { url: '/three/', headers: { 'x-version': '3' } })
  tenants.set('acme', { routes: { all: false } })
  t.equal((await ask('/', 'acme')).status, 404)
  await tenants.remove('acme')
  t.equal(echoOf(await ask('/', 'acme')).headers['x-version'], undefined)
})

t.test('of two routes with one path each has its own changes and its own switch', async t => {
  const { ask } = await world(t, ['one', 'two', 'own'], ({ one, two, own }) => ({
    backends: { one: one.url, two: two.url, own: own.url },
    defaultBackend: 'one',
    tenancy: { tenants: { acme: { routes: { v2: { proxy: 'own' }, plain: { proxy: { rewrite: { addPrefix: '/plain' } } }, off: true } }, globex: { routes: { v2: false } } } },
    routes: [
      { name: 'plain', path: '/api', proxy: { backend: 'one' } },
      { name: 'v2', path: '/api', headers: { 'x-version': '2' }, proxy: { backend: 'two' } },
      { name: 'off', path: '/api', headers: { 'x-version': '3' }, proxy: { backend: 'two' }, tenancy: { enabled: false } }
    ]
  }))
  const get = (tenant: string | undefined, version?: string) => ask('/api', tenant, version === undefined ? {} : { headers: { 'x-version': version } })
  t.has(echoOf(await get('acme', '2')), { name: 'own', url: '/api' })
  t.has(echoOf(await get('acme')), { name: 'one', url: '/plain/api' })
  t.has(echoOf(await get('acme', '3')), { name: 'two' })
  t.equal((await get('globex', '2')).status, 404)
  t.has(echoOf(await get('globex')), { name: 'one', url: '/api' })
  t.equal((await get('globex', '3')).status, 404)
  t.has(echoOf(await get(undefined, '2')), { name: 'two' })
  t.equal((await get(undefined, '3')).status, 404)
})

t.test('HEAD is answered by the own backend of the tenant', async t => {
  const { ask, up } = await world(t, ['users', 'own'], ({ users, own }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { backends: { users: own.url }, headers: { response: { set: { 'x-answer': 'acme' } } } } } },
    routes: everything('users')
  }))
  const answer = await ask('/x', 'acme', { method: 'HEAD' })
  t.equal(answer.status, 200)
  t.equal(answer.text, '')
  t.equal(answer.headers.get('x-answer'), 'acme')
  t.match(up.own.seen, [{ method: 'HEAD', headers: { 'x-tenant-id': 'acme' } }])
  t.equal(up.users.seen.length, 0)
})

// ---- limits

t.test('limits of a tenant are larger or smaller than those of everybody', async t => {
  const limits = { body: '1kb', target: '2kb', headerCount: 60 }
  const { ask, port } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    limits,
    tenancy: { tenants: { large: { limits: { body: '3mb', target: '4kb', headerCount: 90 } }, small: { limits: { body: 100, target: 200, headerCount: 20 } }, body: { limits: { body: '2kb' } } } },
    routes: [{ path: '/plain/*', proxy: { backend: 'users' } }, { path: '/composite', methods: ['GET', 'POST'], composite: { parts: { only: { backend: 'users', path: '/x', body: 'client', maxBytes: '8mb', required: true } }, maxBytes: '16mb' } }]
  }))
  const MOST: Record<string, { body: number, target: number, headers: number }> = {
    nobody: { body: 1024, target: 2048, headers: 60 },
    large: { body: 3 * 1024 * 1024, target: 4096, headers: 90 },
    small: { body: 100, target: 200, headers: 20 },
    body: { body: 2048, target: 2048, headers: 60 }
  }
  for (const [tenant, most] of Object.entries(MOST)) {
    const id = tenant === 'nobody' ? undefined : tenant
    const post = async (path: string, size: number, type?: string) => (await ask(path, id, { method: 'POST', body: Buffer.alloc(size, 'x'), ...type === undefined ? {} : { headers: { 'content-type': type } } })).status
    for (const path of ['/plain/1', '/composite']) {
      // what Fastify itself allows a parser is its own limit, and composites read the body
      const largest = path === '/composite' ? Math.min(most.body, 1024 * 1024) : most.body
      t.equal(await post(path, largest), 200, `${tenant}: a body on ${path}`)
      t.equal(await post(path, largest + 1), 413, `${tenant}: a larger body on ${path}`)
      const padded = (length: number) => `${path}?${'q'.repeat(length - path.length - 1)}`
      t.equal((await ask(padded(most.target), id)).status, 200, `${tenant}: a target on ${path}`)
      t.equal((await ask(padded(most.target + 1), id)).status, 414, `${tenant}: a longer target on ${path}`)
      const withHeaders = async (count: number) => {
        const own = [`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: close', ...id === undefined ? [] : [`X-Tenant-Id: ${id}`]]
        const rest = Array.from({ length: count - own.length + 1 }, (_, index) => `X-H-${index}: 1`)
        return (await rawRequest(port, [...own, ...rest, '', ''].join('\r\n'))).status
      }
      t.equal(await withHeaders(most.headers), 200, `${tenant}: headers on ${path}`)
      t.equal(await withHeaders(most.headers + 1), 431, `${tenant}: more headers on ${path}`)
    }
  }
})

t.test('a body limit of a route, or of a tenant for a route, goes before the limits of the tenant', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { limits: { body: 100 }, routes: { named: { proxy: { bodyLimit: 50 } } } }, globex: { limits: { body: 100 } } } },
    routes: [{ name: 'named', path: '/named', proxy: { backend: 'users', bodyLimit: 70 } }]
  }), app => {
    app.post('/fastify', { proxy: 'users', bodyLimit: 60 }, app.reverseproxy.handler)
  })
  for (const [path, tenant, most] of [['/named', 'acme', 50], ['/named', 'globex', 70], ['/named', undefined, 70], ['/fastify', 'acme', 60], ['/fastify', undefined, 60]] as const) {
    const post = async (size: number) => (await ask(path, tenant, { method: 'POST', body: 'x'.repeat(size) })).status
    t.equal(await post(most), 200, `${path} ${tenant} ${most}`)
    t.equal(await post(most + 1), 413, `${path} ${tenant} ${most + 1}`)
  }
})

// ---- headers

t.test('header changes of all levels add up, each after those of the level above', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => {
    const level = (name: string, rest: { remove?: string[], rename?: Record<string, string>, set?: Record<string, string> } = {}) => ({
      request: { ...rest, append: { 'x-trail': name } },
      response: { append: { 'x-trail': name } }
    })
    return {
      headers: level('gateway', { set: { 'x-a': 'gateway', 'x-b': 'gateway' } }),
      backends: { users: { url: users.url, headers: level('backend', { set: { 'x-c': 'backend' }, rename: { 'x-client': 'x-renamed' } }) } },
      tenancy: {
        tenants: {
          acme: {
            headers: level('tenant', { remove: ['x-a'], set: { 'x-d': 'tenant' } }),
            backends: { users: { headers: level('tenant-backend', { set: { 'x-c': 'tenant-backend' } }) } },
            routes: { all: { proxy: { headers: level('tenant-route', { remove: ['X-D'], rename: { 'x-b': 'x-was-b' } }) } } }
          }
        }
      },
      routes: [{ name: 'all', path: '/*', proxy: { backend: 'users', headers: level('route') } }]
    }
  })
  const own = await ask('/', 'acme', { headers: { 'x-client': 'c' } })
  const trail = 'gateway, tenant, backend, tenant-backend, route, tenant-route'
  t.equal(own.headers.get('x-trail'), trail)
  const { headers } = echoOf(own)
  t.has(headers, { 'x-trail': trail, 'x-c': 'tenant-backend', 'x-renamed': 'c', 'x-was-b': 'gateway' })
  for (const name of ['x-a', 'x-b', 'x-d', 'x-client']) t.notOk(name in headers, name)
  const common = await ask('/', undefined, { headers: { 'x-client': 'c' } })
  t.equal(common.headers.get('x-trail'), 'gateway, backend, route')
  t.has(echoOf(common).headers, { 'x-a': 'gateway', 'x-b': 'gateway', 'x-c': 'backend', 'x-renamed': 'c' })
})

t.test('what reaches a backend of a tenant can be narrowed to a list', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: { tenants: { acme: { headers: { request: { forward: ['accept', 'X-Let'] } } } } },
    routes: everything('users')
  }))
  const get = async (tenant?: string) => echoOf(await ask('/', tenant, { headers: { 'x-let': '1', 'x-other': '2' } })).headers
  const own = await get('acme')
  t.has(own, { 'x-let': '1', 'x-tenant-id': 'acme' })
  t.notOk('x-other' in own)
  t.has(await get(), { 'x-let': '1', 'x-other': '2' })
})

t.test('a response header of a tenant is on plain answers, on composites and on a part\'s refusal that passes through', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    headers: { response: { set: { 'x-gateway': '1' } } },
    tenancy: { tenants: { acme: { headers: { response: { set: { 'x-plan': 'gold', 'x-gateway': 'acme' }, remove: ['server'] } } } } },
    routes: [...everything('users'), { path: '/composite/:code', composite: { parts: { only: { backend: 'users', path: '/status/:code', required: true } } } }]
  }))
  for (const path of ['/plain', '/status/404', '/composite/200', '/composite/404']) {
    const [own, common] = [await ask(path, 'acme'), await ask(path)]
    t.equal(own.status, /404/.test(path) ? 404 : 200, path)
    t.equal(own.headers.get('x-plan'), 'gold', path)
    t.equal(own.headers.get('x-gateway'), 'acme', path)
    t.equal(own.headers.get('server'), null, path)
    t.equal(common.headers.get('x-plan'), null, path)
    t.equal(common.headers.get('x-gateway'), '1', path)
  }
})

t.test('headers of hooks come after every level, those of reply.proxy() after them, and modifyRequest has the last word', async t => {
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    headers: { request: { set: { 'x-a': 'gateway', 'x-b': 'gateway', 'x-c': 'gateway', 'x-gone': 'gateway' } } },
    tenancy: {
      tenants: { acme: { routes: { '/hand': { proxy: { headers: { request: { set: { 'x-a': 'tenant-route', 'x-b': 'tenant-route', 'x-c': 'tenant-route' } } } } } } } },
      headers: () => ({ 'x-a': 'hook', 'X-B': 'hook', 'x-c': 'hook', 'x-gone': undefined })
    }
  }), app => {
    const modifyRequest = (draft: { headers: { set (name: string, value: string): void } }): void => { draft.headers.set('x-c', 'modify') }
    app.get('/hand', { proxy: { backend: 'users', modifyRequest } }, (_request, reply) => reply.proxy('users', { headers: { 'x-b': 'reply', 'x-c': 'reply' } }))
  })
  const { headers } = echoOf(await ask('/hand', 'acme'))
  t.has(headers, { 'x-a': 'hook', 'x-b': 'reply', 'x-c': 'modify' })
  t.notOk('x-gone' in headers)
})

// ---- metadata

t.test('handlers, hooks and headers see the metadata of their tenant and of no other', async t => {
  const seen: unknown[] = []
  const { ask } = await world(t, ['users'], ({ users }) => ({
    backends: { users: users.url },
    tenancy: {
      tenants: { acme: { metadata: { plan: 'gold', deep: { seats: [1, 2] } } }, globex: {} },
      onTenant: (request: { reverseproxy?: { tenant?: string } }, tenant: unknown) => { seen.push([request.reverseproxy?.tenant, tenant]) },
      headers: (tenant: { metadata: Record<string, unknown> }) => ({ 'x-plan': tenant.metadata['plan'] as string | undefined })
    },
    routes: everything('users')
  }), app => {
    app.get('/whoami', { tenancy: true }, async ({ reverseproxy }) => ({ tenant: reverseproxy?.tenant, metadata: reverseproxy?.scope?.tenant.metadata, frozen: reverseproxy?.scope === undefined ? undefined : Object.isFrozen(reverseproxy.scope.tenant.metadata) }))
  })
  t.same((await ask('/whoami', 'acme')).value, { tenant: 'acme', metadata: { plan: 'gold', deep: { seats: [1, 2] } }, frozen: true })
  t.same((await ask('/whoami', 'globex')).value, { tenant: 'globex', metadata: {}, frozen: true })
  t.same((await ask('/whoami', 'stranger')).value, { tenant: 'stranger' })
  t.same((await ask('/whoami')).value, {})
  t.same(seen, [
    ['acme', { id: 'acme', known: true, metadata: { plan: 'gold', deep: { seats: [1, 2] } } }],
    ['globex', { id: 'globex', known: true, metadata: {} }],
    ['stranger', { id: 'stranger', known: false, metadata: {} }]
  ])
  t.equal(echoOf(await ask('/', 'acme')).headers['x-plan'], 'gold')
  t.equal(echoOf(await ask('/', 'globex')).headers['x-plan'], undefined)
})

// ---- other servers, other sources of options

t.test('an HTTP/2 server knows tenants as well', async t => {
  const up = await echoUpstreams(t, 'users', 'own')
  const { http: _http, clientErrorHandler: _handler, ...options } = serverOptions
  const app = Fastify({ ...options, http2: true } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, {
    backends: { users: up.users.url },
    tenancy: { sources: [{ host: '{tenant}.example.com' }, { header: 'x-tenant-id' }], tenants: { acme: { backends: { users: up.own.url }, routes: { '/off': false } } } }
  })
  for (const url of ['/*', '/off']) app.get(url, { proxy: 'users' }, app.reverseproxy.handler)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { session.destroy(); await app.close() })
  const send = async (headers: Record<string, string>) => {
    const stream = session.request({ ':path': '/x', ...headers })
    const [head] = await once(stream, 'response') as [{ ':status': number }]
    let text = ''
    for await (const piece of stream.setEncoding('utf8')) text += piece as string
    return { status: head[':status'], echo: JSON.parse(text) as Echo }
  }
  const [byHeader, byAuthority, other, off] = await Promise.all([send({ 'x-tenant-id': 'acme' }), send({ ':authority': 'acme.example.com' }), send({ 'x-tenant-id': 'globex' }), send({ ':path': '/off', 'x-tenant-id': 'acme' })])
  t.match(byHeader, { status: 200, echo: { name: 'own', headers: { 'x-tenant-id': 'acme' } } })
  t.match(byAuthority, { status: 200, echo: { name: 'own', headers: { 'x-tenant-id': 'acme' } } })
  t.match(other, { status: 200, echo: { name: 'users', headers: { 'x-tenant-id': 'globex' } } })
  t.equal(off?.status, 404)
})

const FILE = `
backends:
  users: http://127.0.0.1:4001
  orders: http://127.0.0.1:4002
defaultBackend: users
tenancy:
  header: x-tenant-id
  required: false
  unknown: default
  forwardAs: x-tenant-id
  tenants:
    acme: { backends: { users: http://10.1.0.7:4001 }, headers: { request: { set: { x-plan: gold } } }, circuitBreaker: { failureThreshold: 10 } }
routes:
  - { name: orders, path: /api/orders/*, methods: [GET, POST], proxy: { backend: orders, rewrite: { stripPrefix: /api } } }
  - { name: profile, path: '/api/user-profile/:id', composite: { backends: [users, orders], strategy: merge } }
`

t.test('a file: the command checks it, lists its routes, and says where a tenant is wrong', async t => {
  const folder = t.testdir({
    'gateway.yaml': FILE,
    'wrong.yaml': `${FILE.replace('circuitBreaker: { failureThreshold: 10 }', 'circuitBreaker: { failureThreshold: 0 }, routes: { orders: { proxy: { backend: nobody } } }')}`
  })
  const command = async (...args: string[]) => {
    const [out, err] = [t.capture(process.stdout, 'write', () => true), t.capture(process.stderr, 'write', () => true)]
    const code = await run(args)
    const [stdout, stderr] = [out, err].map(calls => calls().map(({ args: [text] }) => String(text)).join(''))
    out.restore()
    err.restore()
    return { code, stdout: stdout!, stderr: stderr! }
  }
  t.match(await command('check', join(folder, 'gateway.yaml')), { code: 0, stdout: /OK \(2 backends, 2 routes\)/, stderr: '' })
  t.match(await command('routes', join(folder, 'gateway.yaml')), { code: 0, stdout: /orders.*\/api\/orders\/\*[^]*profile.*merge\(users, orders\)/ })
  const { code, stderr } = await command('check', join(folder, 'wrong.yaml'))
  t.equal(code, 1)
  t.match(stderr, /wrong\.yaml:12:\d+ +tenancy\.tenants\.acme\.circuitBreaker\.failureThreshold/)
})

t.test('a file: a route of a tenant that is not in it is found when the command checks it', async t => {
  const folder = t.testdir({
    'route.yaml': FILE.replace('circuitBreaker: { failureThreshold: 10 }', 'routes: { oders: false }'),
    'kind.yaml': FILE.replace('circuitBreaker: { failureThreshold: 10 }', 'routes: { orders: { composite: { timeout: 1s } } }'),
    'backend.yaml': FILE.replace('circuitBreaker: { failureThreshold: 10 }', 'routes: { orders: { proxy: { backend: nobody } } }')
  })
  await t.rejects(loadConfigFile(join(folder, 'kind.yaml')), /tenancy\.tenants\.acme\.routes\.orders\.composite/)
  await t.rejects(loadConfigFile(join(folder, 'backend.yaml')), /tenancy\.tenants\.acme\.routes\.orders\.proxy\.backend/)
  const { gateway } = await loadConfigFile(join(folder, 'route.yaml'))
  const app = await buildGateway(gateway, noRoutes)
  await t.rejects(async () => { await app.ready() }, { code: 'RP_ERR_OPTIONS', problems: [{ path: 'tenancy.tenants.acme.routes.oders', rule: /orders, profile/ }] })
  await app.close()
})

t.test('a file: what it says holds', async t => {
  const up = await echoUpstreams(t, 'users', 'orders', 'own')
  const folder = t.testdir({ 'gateway.yaml': FILE.replace('http://127.0.0.1:4001', up.users.url).replace('http://127.0.0.1:4002', up.orders.url).replace('http://10.1.0.7:4001', up.own.url) })
  const { gateway } = await loadConfigFile(join(folder, 'gateway.yaml'))
  const { url } = await startGateway(t, gateway, noRoutes)
  const get = (path: string, tenant?: string) => ask(url + path, tenant === undefined ? {} : { headers: { 'x-tenant-id': tenant } })
  t.has(echoOf(await get('/me', 'acme')), { name: 'own', headers: { 'x-plan': 'gold', 'x-tenant-id': 'acme' } })
  t.has(echoOf(await get('/api/orders/1', 'acme')), { name: 'orders', url: '/orders/1', headers: { 'x-plan': 'gold' } })
  t.has(echoOf(await get('/me')), { name: 'users' })
  t.equal((await get('/api/user-profile/7', 'acme')).status, 200)
  t.equal(up.own.seen.at(-1)?.url, '/api/user-profile/7')
})
