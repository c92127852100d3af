/** What right options of tenancy become. */
import t from 'tap'
import { Ajv } from 'ajv'
import { parse as parseYaml } from 'yaml'
import { parseConfigText } from '../../../lib/config-file.ts'
import { configFileSchema } from '../../../lib/json-schema.ts'
import { parseBackend, parseOptions, parseRouteTenancy, resolveTenant } from '../../../lib/options/index.ts'
import type { GatewayOptions, TenancyOptions, TenantOptions } from '../../../lib/options/index.ts'
import type { TenancyConfig, TenantConfig } from '../../../lib/tenancy/types.ts'
import type { BackendConfig } from '../../../lib/types.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }

function tenancy (options: TenancyOptions, rest: GatewayOptions = {}): TenancyConfig {
  return parseOptions({ backends, ...rest, tenancy: options }).tenancy!
}

/** What holds for the tenant `acme` with these options, and for everybody. */
function acme (options: TenantOptions, rest: GatewayOptions = {}): { tenant: TenantConfig, everybody: ReturnType<typeof parseOptions>, backend: (name: string) => BackendConfig } {
  const everybody = parseOptions({ backends, ...rest, tenancy: { tenants: { acme: options } } })
  const tenant = resolveTenant('acme', everybody.tenancy!.tenants['acme'] as TenantOptions, everybody)
  return { tenant, everybody, backend: name => tenant.backend(name, everybody.backends[name])!.config }
}

// ---- who it is

t.test('a gateway that does not speak of tenancy has none', async t => {
  t.equal(parseOptions({ backends }).tenancy, undefined)
})

t.test('tenancy without options has every default', async t => {
  t.strictSame(tenancy({}), {
    sources: [{ kind: 'header', name: 'x-tenant-id' }],
    hook: 'onRequest',
    required: false,
    unknown: 'default',
    forwardAs: 'x-tenant-id',
    maxLength: 64,
    pattern: /^(?:[A-Za-z0-9][A-Za-z0-9._-]*)$/,
    tenants: Object.create(null),
    load: undefined,
    cache: { ttl: 60_000, negativeTtl: 10_000, staleIfError: 3_600_000, timeout: 5_000, max: 10_000 },
    scopes: { max: 10_000, idle: 600_000 },
    isolation: 'state',
    labels: 100,
    hashIds: false,
    onTenant: [],
    headers: []
  })
})

t.test('tenancy in full is taken as it is said', async t => {
  const [load, onTenant, other, headers] = [() => undefined, () => {}, () => {}, () => ({})]
  const options: TenancyOptions = {
    header: 'X-Org',
    required: true,
    unknown: 'reject',
    forwardAs: 'X-Tenant',
    maxLength: 8,
    pattern: '[a-z]+',
    hook: 'preValidation',
    isolation: 'pool',
    cache: { ttl: 1, negativeTtl: 2, staleIfError: 3, timeout: 4, max: 5 },
    scopes: { max: 6, idle: 7 },
    labels: 0,
    hashIds: 'salt',
    tenants: { acme: { metadata: { plan: 'gold' } }, old: false },
    load,
    onTenant: [onTenant, other],
    headers
  }
  const { header, ...rest } = options
  t.strictSame(tenancy(options), {
    ...rest,
    sources: [{ kind: 'header', name: 'x-org' }],
    forwardAs: 'x-tenant',
    pattern: /^(?:[a-z]+)$/,
    tenants: Object.assign(Object.create(null) as object, { acme: { metadata: { plan: 'gold' } }, old: false }),
    headers: [headers]
  } as unknown as TenancyConfig)
})

t.test('every source becomes one of its kind, in order', async t => {
  const [from, resolve, bare] = [() => ({}), () => 'a', () => undefined]
  const { sources } = tenancy({
    sources: [
      { header: 'X-A' }, { host: '{tenant}.Example.com' }, { host: 'eu-{tenant}-api.example.com' }, { param: 'tenant' }, { query: 't' },
      { claim: 'org' }, { claim: 'app.org' }, { claim: ['https://example.com/org'], from }, { resolve }, bare
    ]
  })
  t.strictSame(sources, [
    { kind: 'header', name: 'x-a' },
    { kind: 'host', before: '', after: '.example.com' },
    { kind: 'host', before: 'eu-', after: '-api.example.com' },
    { kind: 'param', name: 'tenant' },
    { kind: 'query', name: 't' },
    { kind: 'claim', path: ['org'], from: undefined },
    { kind: 'claim', path: ['app', 'org'], from: undefined },
    { kind: 'claim', path: ['https://example.com/org'], from },
    { kind: 'function', resolve },
    { kind: 'function', resolve: bare }
  ])
})

t.test('one source needs no list', async t => {
  const resolve = () => 'a'
  t.strictSame(tenancy({ sources: { query: 't' } }).sources, [{ kind: 'query', name: 't' }])
  t.strictSame(tenancy({ sources: resolve }).sources, [{ kind: 'function', resolve }])
})

t.test('the id is forwarded in the first header among the sources, unless it is said where', async t => {
  t.equal(tenancy({ header: 'X-Org' }).forwardAs, 'x-org')
  t.equal(tenancy({ sources: [{ query: 't' }, { header: 'x-b' }, { header: 'x-c' }] }).forwardAs, 'x-b')
  t.equal(tenancy({ sources: { query: 't' } }).forwardAs, 'x-tenant-id')
  t.equal(tenancy({ forwardAs: false }).forwardAs, undefined)
})

t.test('a claim of request.user is there once the app knows its user', async t => {
  t.equal(tenancy({ sources: [{ header: 'x-a' }, { claim: 'org' }] }).hook, 'preHandler')
  t.equal(tenancy({ sources: [{ claim: 'org', from: () => ({}) }] }).hook, 'onRequest')
  t.equal(tenancy({ sources: [{ claim: 'org' }], hook: 'onRequest' }).hook, 'onRequest')
})

t.test('the pattern holds for the whole id, and remembers nothing', async t => {
  for (const pattern of ['a|b', /a|b/, /a|b/gm, /^a$|^b$/y]) {
    const { pattern: made } = tenancy({ pattern })
    for (const [id, fits] of [['a', true], ['b', true], ['ab', false], ['a\nb', false], ['xa', false], ['b\n', false], ['a', true]] as const) t.equal(made.test(id), fits, `${String(pattern)}: ${JSON.stringify(id)}`)
  }
  t.ok(tenancy({ pattern: /[a-z]+/i }).pattern.test('ABC'), 'other flags stay')
})

t.test('names that every object has are no tenants, unless they are', async t => {
  t.equal(tenancy({}).tenants['constructor'], undefined)
  t.strictSame(tenancy({ tenants: { constructor: { retry: 2 } } as never }).tenants['constructor'], { retry: 2 })
})

t.test('tenants stay as they were written, copied and frozen', async t => {
  const options = { acme: { backends: { users: { timeout: '5s' } }, metadata: { plan: 'gold' } } }
  const { tenants } = tenancy({ tenants: options })
  t.strictSame(tenants['acme'], options.acme)
  t.not(tenants['acme'], options.acme)
  t.ok(Object.isFrozen((tenants['acme'] as TenantOptions).backends!['users']))
  t.notOk(Object.isFrozen(options.acme.backends.users))
})

// ---- routes

t.test('a route says whether it looks for the tenant, and more', async t => {
  const [onTenant, headers] = [() => {}, () => undefined]
  const plain = { resolve: true, required: undefined, enabled: true, onTenant: [], headers: [] }
  t.strictSame(parseRouteTenancy(true, 'p'), plain)
  t.strictSame(parseRouteTenancy({}, 'p'), plain)
  t.strictSame(parseRouteTenancy(false, 'p'), { ...plain, resolve: false })
  t.strictSame(parseRouteTenancy({ required: true, enabled: false, onTenant, headers: [headers] }, 'p'), { ...plain, required: true, enabled: false, onTenant: [onTenant], headers: [headers] })
  t.ok(Object.isFrozen(parseRouteTenancy({ onTenant: [onTenant] }, 'p').onTenant))
})

t.test('routes of the options have it, and what they said', async t => {
  const route = { path: '/a', proxy: 'users', tenancy: { required: true } }
  const { routes } = parseOptions({ backends, tenancy: {}, routes: [route, { path: '/b', proxy: 'users' }] })
  t.equal(routes[0]?.tenancy?.required, true)
  t.equal(routes[1]?.tenancy, undefined)
  t.strictSame(routes[0]?.said, route)
  t.not(routes[0]?.said, route)
  t.ok(Object.isFrozen(routes[0]?.said.tenancy))
})

// ---- what a backend says itself

t.test('a backend knows what it said, in full form, and the headers of the level above', async t => {
  const headers = { request: { set: { 'x-a': 'b' } } }
  const config = parseOptions({ headers, timeout: '9s', backends: { one: 'http://a', list: ['http://a', { url: 'http://b' }], full: { url: 'http://a', timeout: '5s' } } })
  t.strictSame(config.backends['one']!.said, { targets: ['http://a'] })
  t.strictSame(config.backends['list']!.said, { targets: ['http://a', { url: 'http://b' }] })
  t.strictSame(config.backends['full']!.said, { url: 'http://a', timeout: '5s' })
  t.ok(Object.isFrozen(config.backends['list']!.said.targets))
  t.strictSame(config.backends['one']!.common, { request: { forward: '*', set: { 'x-a': 'b' } }, response: {} })
  t.equal(config.backends['one']!.common, config.headers)
})

t.test('so does one that is added at run time', async t => {
  const config = parseOptions({ headers: { request: { remove: ['x-a'] } }, backends })
  const added = parseBackend({ url: 'http://a', retry: 2 }, { ...config, name: 'more' }, 'backends.more')
  t.equal(added.common, config.headers)
  t.strictSame(added.said, { url: 'http://a', retry: 2 })
  t.strictSame(parseBackend('http://a', {}, 'b').common, { request: { forward: '*' }, response: {} })
})

// ---- one tenant

t.test('a tenant that says nothing has what everybody has, the very same', async t => {
  const { tenant, everybody } = acme({}, { defaultBackend: 'users', limits: { body: 5 } })
  const base = everybody.backends['users']!
  t.equal(tenant.defaultBackend, 'users')
  t.equal(tenant.headers, everybody.headers)
  t.equal(tenant.limits, everybody.limits)
  t.strictSame(tenant.metadata, {})
  t.equal(tenant.routes, undefined)
  t.strictSame(tenant.backend('users', base), { config: base, ownTargets: false })
  t.equal(tenant.backend('users', base)!.config, base)
  t.equal(tenant.backend('nobody', undefined), undefined)
  t.equal(tenant.backend('constructor', undefined), undefined)
})

t.test('a tenant that changes one backend has the very same others', async t => {
  const { tenant, everybody } = acme({ backends: { users: 'http://own' } })
  t.equal(tenant.backend('orders', everybody.backends['orders'])!.config, everybody.backends['orders'])
})

t.test('a URL of its own is new targets and nothing else', async t => {
  const { tenant, everybody } = acme({ backends: { users: 'http://own' } }, { backends: { users: { url: 'http://a', timeout: '5s', retry: 3 } } })
  const { config, ownTargets } = tenant.backend('users', everybody.backends['users'])!
  const base = everybody.backends['users']!
  t.ok(ownTargets)
  t.same(config.targets.map(({ url }) => url), ['http://own'])
  t.strictSame({ ...config, targets: base.targets, said: base.said }, { ...base })
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.targets))
})

t.test('a change without targets uses those that everybody has, also those of run time', async t => {
  const { tenant, everybody } = acme({ backends: { users: { timeout: '1s' } } })
  const base = { ...everybody.backends['users']!, targets: parseBackend(['http://later'], {}, 'b').targets }
  const { config, ownTargets } = tenant.backend('users', base)!
  t.notOk(ownTargets)
  t.same(config.targets.map(({ url }) => url), ['http://later'])
  t.equal(config.timeout.total, 1_000)
})

t.test('a backend that only a tenant has is legal', async t => {
  const { tenant } = acme({ backends: { own: { url: 'http://own', retry: 2 } }, defaultBackend: 'own' }, { retry: { statuses: [500] } })
  const { config, ownTargets } = tenant.backend('own', undefined)!
  t.ok(ownTargets)
  t.match(config, { targets: [{ url: 'http://own' }], resilience: { retry: { attempts: 2, statuses: [500] } } })
  t.equal(tenant.defaultBackend, 'own')
})

t.test('routes and parts may name a backend that only tenants have', async t => {
  const routes: GatewayOptions['routes'] = [
    { path: '/a', proxy: 'own' }, { path: '/b', composite: { backends: ['users', 'own'] } },
    { path: '/c', composite: { parts: { x: { backend: 'own', circuitBreaker: { fallback: { backend: 'own-too' } } } } } }
  ]
  t.doesNotThrow(() => parseOptions({ backends, routes, defaultBackend: 'own', tenancy: { tenants: { acme: { backends: { own: 'http://a' } }, globex: { backends: { 'own-too': 'http://b' } } } } }))
})

t.test('a backend without targets is one that tenants of load bring theirs for', async t => {
  t.strictSame(parseOptions({ backends: { own: { targets: [], retry: 2 } } }).backends['own']!.targets, [])
})

t.test('false takes a backend away', async t => {
  const { tenant, everybody } = acme({ backends: { users: false } })
  t.equal(tenant.backend('users', everybody.backends['users']), undefined)
})

t.test('changes of a backend that has been taken away are no backend', async t => {
  t.equal(acme({ backends: { users: { timeout: '1s' } } }).tenant.backend('users', undefined), undefined)
})

t.test('limits of a tenant come over those of the gateway, one by one', async t => {
  t.strictSame(acme({ limits: { body: '1kb' } }, { limits: { headerCount: 5 } }).tenant.limits, { headerCount: 5, target: 16_384, body: 1_024 })
})

t.test('headers of a tenant come after those of the gateway, for every backend', async t => {
  const { tenant, everybody, backend } = acme(
    { headers: { request: { forward: ['X-Only'], set: { 'x-plan': 'gold' }, append: { 'x-a': '2' } }, response: { remove: ['server'] } } },
    { headers: { request: { set: { 'X-Plan': 'none', 'x-b': 'b' }, append: { 'x-a': '1' } } }, backends: { users: { url: 'http://a', headers: { request: { set: { 'x-c': 'c' } } } } } }
  )
  t.strictSame(tenant.headers, { request: { forward: ['x-only'], set: { 'x-plan': 'gold', 'x-b': 'b' }, append: { 'x-a': ['1', '2'] } }, response: { remove: ['server'] } })
  t.not(backend('users'), everybody.backends['users'])
  t.equal(backend('users').common, tenant.headers)
  t.strictSame(backend('users').headers, { request: { set: { 'x-c': 'c' } }, response: {} })
})

t.test('routes of a tenant have no prototype', async t => {
  const { tenant } = acme({ routes: { a: false, b: true, c: { enabled: false, proxy: 'users' } } })
  t.equal(Object.getPrototypeOf(tenant.routes), null)
  t.strictSame({ ...tenant.routes }, { a: false, b: true, c: { enabled: false, proxy: 'users' } })
})

// ---- files

const CERT = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'
const DESIGN = `
backends: { users: http://127.0.0.1:4001, orders: http://127.0.0.1:4002 }
tenancy:
  header: x-tenant-id
  required: false
  unknown: default
  forwardAs: x-tenant-id
  tenants:
    acme: { backends: { users: http://10.1.0.7:4001 }, headers: { request: { set: { x-plan: gold } } }, circuitBreaker: { failureThreshold: 10 } }
`
const FULL = `
backends: { users: http://127.0.0.1:4001 }
tenancy:
  sources: [{ header: x-tenant-id }, { host: '{tenant}.example.com' }, { param: tenant }, { query: tenant }, { claim: org }, { claim: [a.b, c] }]
  unknown: reject
  forwardAs: false
  maxLength: 10
  pattern: '[a-z0-9]+'
  hook: preHandler
  isolation: pool
  cache: { ttl: 1m, negativeTtl: 10s, staleIfError: 1h, timeout: 5s, max: 10000 }
  scopes: { max: 10000, idle: 10m }
  labels: 100
  hashIds: '\${SALT:-s}'
  tenants:
    old: false
    acme:
      defaultBackend: own
      backends: { own: [http://a], users: { timeout: 5s, retry: { attempts: 3 } }, gone: false }
      routes: { list: true, item: false, all: { enabled: true, composite: { timeout: 1s, parts: { user: { timeout: 500ms }, orders: false } } }, one: { proxy: { timeout: 1s } }, two: { proxy: own } }
      limits: { body: 1kb }
      metadata: { plan: gold }
      timeout: { headers: 1s }
      retry: 2
routes: [{ name: list, path: /list, proxy: users, tenancy: { enabled: false, required: true } }, { path: /open, proxy: users, tenancy: false }]
`

t.test('the file of the design and one with everything are right, by the schema for editors as well', async t => {
  const validate = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true }).compile(configFileSchema())
  for (const text of [DESIGN, FULL]) {
    t.doesNotThrow(() => parseConfigText(text, { path: 'gateway.yaml', env: {} }))
    t.ok(validate(parseYaml(text)), JSON.stringify(validate.errors))
  }
})

t.test('wrong files are wrong by the schema for editors', async t => {
  const validate = new Ajv({ strict: false }).compile(configFileSchema())
  for (const text of ['tenancy: { load: x }', 'tenancy: { sources: [] }', 'tenancy: { sources: [{ header: a, query: b }] }', 'tenancy: { sources: [{ host: a.example.com }] }', 'tenancy: { tenants: { a: true } }', 'tenancy: { tenants: { a: { timout: 1 } } }', 'tenancy: { hook: onSend }']) {
    t.notOk(validate(parseYaml(text)), text)
  }
})

t.test('certificates of tenants and backends are read from the file\'s folder, once', async t => {
  const folder = t.testdir({ 'a.pem': CERT, 'b.pem': CERT.replace('AA==', 'BB=='), 'c.pem': CERT.replace('AA==', 'CC==') })
  const text = `
backends: { users: { url: https://a, tls: { ca: ./a.pem } } }
tenancy: { tenants: { acme: { tls: { ca: b.pem }, backends: { users: { retry: 2 }, own: { url: https://own, tls: { ca: [c.pem] } } } } } }`
  const { config, gateway } = parseConfigText(text, { path: `${folder}/gateway.yaml`, env: {} })
  t.strictSame(config.backends['users']!.said.tls, { ca: CERT })
  // what the file said is put together again by the plugin, which knows nothing of the folder
  for (const options of [config, parseOptions(gateway)]) {
    const tenant = resolveTenant('acme', options.tenancy!.tenants['acme'] as TenantOptions, options)
    t.equal(tenant.backend('users', options.backends['users'])!.config.tls.ca, CERT, 'the backend says so')
    t.same(tenant.backend('own', undefined)!.config.tls.ca, [CERT.replace('AA==', 'CC==')])
  }
})

t.test('a Buffer of code becomes a text of our own', async t => {
  const ca = Buffer.from(CERT)
  const { everybody, backend } = acme({ backends: { users: { timeout: '1s' } }, tls: { servername: 'x' } }, { backends: { users: { url: 'https://a', tls: { ca } } } })
  ca.fill(0)
  t.equal(everybody.backends['users']!.said.tls!.ca, CERT)
  t.strictSame(backend('users').tls, { rejectUnauthorized: true, servername: 'x', ca: CERT })
})
