/**
 * Who wins: defaults < gateway < tenant < backend < the tenant's backend < route < the tenant's route.
 *
 * Each level says the same option in words of its own, and each pair of neighbours is tried with nothing above them.
 */
import t from 'tap'
import fc from 'fast-check'
import { foldEdits } from '../../../lib/headers/edits.ts'
import { mergeBackend } from '../../../lib/options/merge.ts'
import { overrideComposite, overrideProxy, parseBackend, parseOptions, resolveTenant, retryOver } from '../../../lib/options/index.ts'
import type { CompositeOptions, GatewayOptions, TenantOptions } from '../../../lib/options/index.ts'
import type { RouteOverride } from '../../../lib/tenancy/types.ts'
import type { BackendConfig, ProxyConfig } from '../../../lib/types.ts'

const LEVELS = ['defaults', 'gateway', 'tenant', 'backend', 'tenantBackend', 'route', 'tenantRoute'] as const
type Level = typeof LEVELS[number]

/** The options of a gateway with one backend, one route and one tenant, where `said` is what each level says. */
function scene (said: Partial<Record<Level, object>>): { backend: BackendConfig, proxy: ProxyConfig, config: ReturnType<typeof parseOptions> } {
  const tenant: TenantOptions = {
    ...said.tenant,
    backends: { users: { ...said.tenantBackend } },
    routes: { r: { proxy: { ...said.tenantRoute } } }
  }
  const options: GatewayOptions = {
    ...said.gateway,
    backends: { users: { url: 'http://a', ...said.backend } },
    tenancy: { tenants: { acme: tenant } },
    routes: [{ name: 'r', path: '/', proxy: { backend: 'users', ...said.route } }]
  }
  const config = parseOptions(options)
  const known = config.tenancy!.tenants['acme'] as TenantOptions
  const resolved = resolveTenant('acme', known, config)
  const backend = resolved.backend('users', config.backends['users'])!.config
  const { proxy: over } = resolved.routes!['r'] as RouteOverride
  return { backend, config, proxy: overrideProxy(config.routes[0]!.said.proxy, over!, 'here') }
}

interface Option {
  readonly name: string
  readonly default: unknown
  /** The option with a value that is this level's. */
  say (index: number): object
  /** What holds in the end, for the value of a level. */
  value (index: number): unknown
  read (found: ReturnType<typeof scene>): unknown
}

/** What goes out under `x-level`, from the levels that the header policies read. */
const sent = ({ proxy, backend }: ReturnType<typeof scene>) =>
  foldEdits([backend.common, backend.headers, proxy.headers].map(({ request }) => request)).get('x-level')?.values ?? []

const OPTIONS: readonly Option[] = [
  {
    name: 'timeout.total',
    default: 0,
    say: index => ({ timeout: { total: (index + 1) * 1_000 } }),
    value: index => (index + 1) * 1_000,
    read: ({ backend, proxy }) => ({ ...backend.timeout, ...proxy.timeout }).total
  },
  {
    name: 'timeout in its short form',
    default: 0,
    say: index => ({ timeout: `${index + 1}s` }),
    value: index => (index + 1) * 1_000,
    read: ({ backend, proxy }) => ({ ...backend.timeout, ...proxy.timeout }).total
  },
  {
    name: 'retry.attempts',
    default: 1,
    say: index => ({ retry: { attempts: index + 2 } }),
    value: index => index + 2,
    read: ({ backend, proxy }) => retryOver(proxy.retry, backend.resilience.retry).attempts
  },
  {
    name: 'retry.backoff.max',
    default: 250,
    say: index => ({ retry: { backoff: { max: 100 + index } } }),
    value: index => 100 + index,
    read: ({ backend, proxy }) => retryOver(proxy.retry, backend.resilience.retry).backoff.max
  },
  {
    name: 'a header',
    default: [],
    say: index => ({ headers: { request: { set: { 'x-level': `l${index}` } } } }),
    value: index => [`l${index}`],
    read: sent
  },
  {
    name: 'a header in other case',
    default: [],
    say: index => ({ headers: { request: { set: { [index % 2 === 0 ? 'X-Level' : 'x-level']: `l${index}` } } } }),
    value: index => [`l${index}`],
    read: sent
  }
]

for (const option of OPTIONS) {
  t.test(`${option.name}: nobody says it, and the default holds`, async t => {
    t.strictSame(option.read(scene({})), option.default)
  })

  for (const [index, level] of LEVELS.entries()) {
    if (level === 'defaults') continue
    const before = LEVELS[index - 1]!
    t.test(`${option.name}: ${level} wins over ${before}`, async t => {
      t.strictSame(option.read(scene({ [before]: option.say(index - 1), [level]: option.say(index) })), option.value(index))
      t.strictSame(option.read(scene({ [level]: option.say(index) })), option.value(index), 'alone')
      const all = Object.fromEntries(LEVELS.slice(1, index + 1).map((name, i) => [name, option.say(i + 1)]))
      t.strictSame(option.read(scene(all)), option.value(index), 'and over all before')
    })
  }
}

t.test('levels add up key by key: each says one time limit', async t => {
  const { backend, proxy } = scene({
    gateway: { timeout: { connect: 1 } }, tenant: { timeout: { headers: 2 } }, backend: { timeout: { idle: 3 } }, tenantBackend: { timeout: '4ms' }
  })
  t.strictSame({ ...backend.timeout, ...proxy.timeout }, { connect: 1, headers: 2, idle: 3, total: 4 })
})

t.test('appended headers of all levels go out, in the order of the levels', async t => {
  const append = (value: string) => ({ headers: { request: { append: { 'x-level': value } } } })
  const found = scene({ gateway: append('1'), tenant: append('2'), backend: append('3'), tenantBackend: append('4'), route: append('5'), tenantRoute: append('6') })
  t.strictSame(sent(found), ['1', '2', '3', '4', '5', '6'])
})

t.test('a header can be taken back on every level', async t => {
  const say = { headers: { request: { set: { 'x-level': '1' } } } }
  const drop = { headers: { request: { remove: ['X-Level'] } } }
  for (const [before, level] of [['gateway', 'tenant'], ['tenant', 'backend'], ['backend', 'tenantBackend'], ['tenantBackend', 'route'], ['route', 'tenantRoute']] as const) {
    t.strictSame(sent(scene({ [before]: say, [level]: drop })), [], `${level} over ${before}`)
  }
})

t.test('false switches off what the level above says, and is switched on again below', async t => {
  const breaker = (said: Partial<Record<Level, object>>) => scene(said).backend.resilience.circuitBreaker?.failureThreshold
  const [on, off] = [{ circuitBreaker: { failureThreshold: 7 } }, { circuitBreaker: false }]
  t.equal(breaker({ gateway: on, tenant: off }), undefined)
  t.equal(breaker({ tenant: off, backend: on }), 7)
  t.equal(breaker({ backend: on, tenantBackend: off }), undefined)
  t.equal(breaker({ backend: off, tenantBackend: on }), 7)
  t.equal(breaker({ tenant: off, tenantBackend: { circuitBreaker: true } }), 5)
  t.equal(breaker({ tenant: on, backend: off, tenantBackend: { circuitBreaker: true } }), 7, 'with what the level above says')
})

t.test('every option of a backend may be a tenant\'s, for all backends and for one', async t => {
  const says: ReadonlyArray<readonly [object, (backend: BackendConfig) => unknown, unknown]> = [
    [{ balancer: 'random' }, ({ balancer }) => balancer, 'random'],
    [{ pool: { connections: 3 } }, ({ pool }) => pool.connections, 3],
    [{ pool: { connectTimeout: 9 } }, ({ timeout }) => timeout.connect, 9],
    [{ tls: { servername: 'x' } }, ({ tls }) => tls, { rejectUnauthorized: true, servername: 'x' }],
    [{ host: 'preserve' }, ({ host }) => host, 'preserve'],
    [{ redirects: 'follow' }, ({ redirects }) => redirects, { follow: 10 }],
    [{ circuitBreaker: { resetTimeout: 5 } }, ({ resilience }) => resilience.circuitBreaker?.resetTimeout, 5],
    [{ retry: 4 }, ({ resilience }) => resilience.retry.attempts, 4],
    [{ health: '/up' }, ({ resilience }) => resilience.health?.path, '/up'],
    [{ outlier: true }, ({ resilience }) => resilience.outlier?.consecutive, 5],
    [{ slowStart: '1s' }, ({ resilience }) => resilience.slowStart?.window, 1_000],
    [{ panic: {} }, ({ resilience }) => resilience.panic?.threshold, 50],
    [{ concurrency: 5 }, ({ resilience }) => resilience.concurrency?.max, 5]
  ]
  for (const [option, read, expected] of says) {
    t.strictSame(read(scene({ tenant: option }).backend), expected, `tenant: ${JSON.stringify(option)}`)
    t.strictSame(read(scene({ tenantBackend: option }).backend), expected, `tenant's backend: ${JSON.stringify(option)}`)
  }
  t.equal(scene({ tenantBackend: { http2: true } }).backend.http2, true)
  t.strictSame(scene({ backend: { metadata: { a: 1, b: { c: 2 } } }, tenantBackend: { metadata: { b: { d: 3 } } } }).backend.metadata, { a: 1, b: { c: 2, d: 3 } })
})

t.test('checks of a target come over those of the tenant\'s backend', async t => {
  const config = parseOptions({
    health: { interval: '1s' },
    backends: { users: { targets: [{ url: 'http://a', health: { rise: 9 } }, 'http://b'], health: '/base' } },
    tenancy: { tenants: { acme: { health: { timeout: 7 }, backends: { users: { health: { fall: 8 } } } } } }
  })
  const { targets, resilience } = resolveTenant('acme', config.tenancy!.tenants['acme'] as TenantOptions, config).backend('users', config.backends['users'])!.config
  t.match(targets[0]!.health, { path: '/base', interval: 1_000, timeout: 7, fall: 8, rise: 9 })
  t.equal(targets[1]!.health, undefined)
  t.match(resilience.health, { path: '/base', interval: 1_000, timeout: 7, fall: 8, rise: 2 })
})

t.test('what everybody has is not changed by what a tenant says', async t => {
  const { config } = scene({ tenant: { timeout: 1, headers: { request: { set: { a: 'b' } } } }, tenantBackend: { retry: 5 }, tenantRoute: { timeout: 2 } })
  const plain = scene({}).config
  t.strictSame({ ...config.backends['users'], common: undefined }, { ...plain.backends['users'], common: undefined })
  t.strictSame(config.headers, plain.headers)
  t.strictSame(config.routes[0]!.proxy, plain.routes[0]!.proxy)
})

/** Right values of every option of a backend, in all forms. */
const FORMS = {
  balancer: ['random', { type: 'hash', key: { header: 'a' } }, { type: 'hash', key: { cookie: 'b' } }, { type: 'hash', key: 'ip' }],
  pool: [{ connections: 3 }, { connectTimeout: '2s' }],
  tls: [{ servername: 'x' }, { cert: '-----BEGIN CERTIFICATE-----', key: '-----BEGIN PRIVATE KEY-----' }],
  host: ['preserve', 'a.example'],
  timeout: ['5s', 0, { headers: 1 }, { connect: '1s', total: 3 }],
  redirects: ['pass', 'follow', { follow: 3 }],
  circuitBreaker: [true, false, { failureThreshold: 3, fallback: { statusCode: 204 } }, { fallback: { backend: 'other' } }, { fallback: false }],
  retry: [3, false, { attempts: 2, backoff: { initial: 1 }, hedge: '1s' }, { hedge: { after: 5 }, budget: false }, { budget: { min: 1 } }],
  health: ['/up', false, { path: '/a', headers: { 'X-A': 'b' }, expectedBody: { regex: 'a' } }, { path: '/b', headers: { 'x-a': 'c' }, expectedBody: 'a' }],
  outlier: [true, false, { consecutive: 2 }],
  slowStart: ['1s', false, { window: 1, initial: 0.5 }],
  panic: [false, {}, { mode: '503' }],
  concurrency: [5, false, { max: 2, queue: 1 }],
  http2: [true, false, 'h2c'],
  httpProxy: ['http://proxy:3128', false, { url: 'http://proxy', username: 'a', password: 'b' }],
  headers: [{ request: { set: { 'X-A': '1' }, append: { 'x-b': ['1', '2'] } } }, { request: { remove: ['x-a'], rename: { 'x-c': 'x-a' }, append: { 'X-B': '3' } }, response: { set: { a: 'b' } } }],
  active: [true, false],
  metadata: [{ a: 1, b: { c: 2 } }, { b: 3 }]
}
const backendOptions = fc.record(Object.fromEntries(Object.entries(FORMS).map(([name, values]) => [name, fc.constantFrom<unknown>(...values)])), { requiredKeys: [] })
  // one level must not say one option twice
  .filter(({ pool, timeout }) => !(pool === FORMS.pool[1] && timeout === FORMS.timeout[3]))
const own = fc.constantFrom<object>({ url: 'http://a' }, { targets: ['http://b', { url: 'http://c', weight: 2 }] })

t.test('property: right options over right options are right options', async t => {
  fc.assert(fc.property(own, backendOptions, fc.option(own), backendOptions, (targets, said, others, over) => {
    t.doesNotThrow(() => parseBackend(mergeBackend({ ...targets, ...said }, { ...others, ...over }), {}, 'b'))
  }), { numRuns: 300 })
})

// ---- composites

const said: CompositeOptions = {
  timeout: '5s',
  retry: 3,
  headers: { setCookie: 'none', request: { set: { 'x-a': '1' } } },
  parts: {
    user: { backend: 'users', path: '/u', timeout: '2s', headers: { set: { 'x-part': '1' } }, pick: ['id', 'name'] },
    orders: { backend: 'orders', query: { limit: 5, page: 1 }, fallback: { items: [] } }
  }
}
const override = (over: NonNullable<RouteOverride['composite']>) => overrideComposite(said, over, 'here')

t.test('a composite of a tenant is that of everybody but for what it says', async t => {
  t.strictSame(override({}), overrideComposite(said, {}, 'here'))
  const { timeout, headers, parts } = override({ timeout: '3s', headers: { vary: 'none', request: { append: { 'x-a': '2' } } } })
  t.equal(timeout, 3_000)
  t.match(headers, { setCookie: 'none', vary: 'none' })
  t.same(parts.map(({ name }) => name), ['user', 'orders'])
  t.match(parts[0]!.proxy.headers.request, { remove: Array, append: { 'x-a': ['1', '2'] } })
})

t.test('a part of a tenant is that of everybody but for what it says', async t => {
  const { parts } = override({ parts: { user: { backend: 'own', timeout: { headers: '1s' }, headers: { set: { 'X-Part': '2' } }, pick: ['id'] }, orders: { query: { limit: 9 }, fallback: { none: true } } } })
  t.match(parts[0], { path: '/u', proxy: { backend: 'own', timeout: { total: 2_000, headers: 1_000 }, headers: { request: { set: { 'X-Part': '2' } } }, retry: { attempts: 3 } }, shape: { pick: ['id'] } })
  t.match(parts[1], { query: { limit: 9, page: 1 }, fallback: { value: { none: true } } })
})

t.test('parts can be taken away and added', async t => {
  t.same(override({ parts: { orders: false, more: { backend: 'own' } } }).parts.map(({ name }) => name), ['user', 'more'])
})

t.test('a route goes elsewhere for a tenant by a text, and keeps the rest', async t => {
  t.match(overrideProxy({ backend: 'users', timeout: '2s', rewrite: { stripPrefix: '/a' } }, 'own', 'here'), { backend: 'own', timeout: { total: 2_000 }, rewrite: [{ kind: 'stripPrefix', prefix: '/a' }] })
  t.match(overrideProxy('users', { timeout: '1s' }, 'here'), { backend: 'users', timeout: { total: 1_000 } })
  t.match(overrideProxy(undefined, { timeout: '1s' }, 'here'), { backend: undefined, timeout: { total: 1_000 } })
})

t.test('functions of code stay, and take the place of one another', async t => {
  const [one, two] = [() => {}, () => {}]
  const proxy = overrideProxy({ backend: 'users', modifyRequest: one, headers: { request: { set: { 'x-a': () => 'a' } } } }, { modifyResponse: two }, 'here')
  t.equal(proxy.modifyRequest, one)
  t.equal(proxy.modifyResponse, two)
  t.type(proxy.headers.request.set?.['x-a'], 'function')
  t.equal(overrideProxy({ modifyRequest: one }, { modifyRequest: two }, 'here').modifyRequest, two)
})
