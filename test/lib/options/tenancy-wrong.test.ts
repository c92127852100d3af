/** Wrong options of tenancy: each is refused with the path, the rule and the value. */
import t from 'tap'
import { parseConfigText } from '../../../lib/config-file.ts'
import { checkTenant, overrideComposite, overrideProxy, parseBackend, parseComposite, parseOptions, parseProxy, parseRouteTenancy, parseTenant } from '../../../lib/options/index.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: { url: 'http://127.0.0.1:4002', timeout: { total: '5s' } } }

const tenancy = (options: unknown, rest: object = {}) => ({ backends, ...rest, tenancy: options })
const source = (...sources: unknown[]) => tenancy({ sources })
const tenant = (options: unknown, rest: object = {}) => tenancy({ tenants: { acme: options } }, rest)
const backend = (options: unknown) => tenant({ backends: { users: options } })
const routes = [
  { name: 'plain', path: '/p/:id', proxy: { backend: 'users', timeout: '2s' } },
  { name: 'all', path: '/c/:id', composite: { parts: { user: { backend: 'users', headers: { set: { 'x-a': 'b' } } }, order: { backend: 'orders', needs: ['user'] } }, timeout: '2s' } },
  { name: 'short', path: '/s', composite: { backends: ['users', 'orders'] } }
]
const route = (name: string, options: unknown) => tenant({ routes: { [name]: options } }, { routes })
const wholeRoute = (options: unknown) => tenancy({}, { routes: [{ path: '/', proxy: 'users', tenancy: options }] })
const T = 'tenancy.tenants.acme'
const fn = () => {}
const SENT = /must be another header: this one is what tenancy sends/

const WRONG: readonly Wrong[] = [
  // the whole
  ['tenancy as true', tenancy(true), 'tenancy', /must be an object/, true],
  ['an unknown option', tenancy({ tenant: {} }), 'tenancy.tenant', /did you mean "tenants"\?/, {}],
  ['a source a level too high', tenancy({ host: '{tenant}.a' }), 'tenancy.host', /it is one of the sources/, '{tenant}.a'],
  ['tenants a level too high', { tenants: {} }, 'tenants', /did you mean "tenancy\.tenants"\?/, {}],
  ['required as a text', tenancy({ required: 'yes' }), 'tenancy.required', /must be true or false/, 'yes'],
  ['another way with unknown ones', tenancy({ unknown: 'rejct' }), 'tenancy.unknown', /one of "default", "reject"; did you mean "reject"\?/, 'rejct'],
  ['a hook that is too late', tenancy({ hook: 'onSend' }), 'tenancy.hook', /one of "onRequest", "preValidation", "preHandler"/, 'onSend'],
  ['another isolation', tenancy({ isolation: 'process' }), 'tenancy.isolation', /one of "state", "pool"/, 'process'],
  ['no length', tenancy({ maxLength: 0 }), 'tenancy.maxLength', /a whole number of 1 or more/, 0],
  ['a wrong expression', tenancy({ pattern: '(' }), 'tenancy.pattern', /must be a regular expression/, '('],
  ['a pattern that is none', tenancy({ pattern: 5 }), 'tenancy.pattern', /must be a regular expression as a text, in code also a RegExp/, 5],
  ['a wrong time', tenancy({ cache: { ttl: 'soon' } }), 'tenancy.cache.ttl', /must be a duration of 0 or more/, 'soon'],
  ['a negative time of nobody', tenancy({ cache: { negativeTtl: -1 } }), 'tenancy.cache.negativeTtl', /must be a duration of 0 or more/, -1],
  ['a stale time that is none', tenancy({ cache: { staleIfError: true } }), 'tenancy.cache.staleIfError', /must be a duration of 0 or more/, true],
  ['no time to load', tenancy({ cache: { timeout: 0 } }), 'tenancy.cache.timeout', /must be a duration above 0/, 0],
  ['no room for any', tenancy({ cache: { max: 0 } }), 'tenancy.cache.max', /a whole number of 1 or more/, 0],
  ['a cache as a time', tenancy({ cache: '1m' }), 'tenancy.cache', /must be an object/, '1m'],
  ['no scopes', tenancy({ scopes: { max: 0 } }), 'tenancy.scopes.max', /a whole number of 1 or more/, 0],
  ['scopes that go at once', tenancy({ scopes: { idle: 0 } }), 'tenancy.scopes.idle', /must be a duration above 0/, 0],
  ['negative labels', tenancy({ labels: -1 }), 'tenancy.labels', /a whole number of 0 or more/, -1],
  ['a salt that is empty', tenancy({ hashIds: '' }), 'tenancy.hashIds', /must not be empty/, '(not shown)'],
  ['a salt that is a number', tenancy({ hashIds: 5 }), 'tenancy.hashIds', /must be true, false, or a text/, '(not shown)'],
  ['a load that is no function', tenancy({ load: 'db' }), 'tenancy.load', /must be a function/, 'db'],
  ['a hook that is no function', tenancy({ onTenant: 'log' }), 'tenancy.onTenant', /must be a function or a list of functions/, 'log'],
  ['one of several hooks that is none', tenancy({ onTenant: [fn, 1] }), 'tenancy.onTenant[1]', /must be a function/, 1],
  ['headers as an object', tenancy({ headers: { a: 'b' } }), 'tenancy.headers', /must be a function or a list of functions/, { a: 'b' }],
  // who it is
  ['header beside sources', tenancy({ header: 'x-a', sources: [{ query: 't' }] }), 'tenancy.header', /must not stand beside sources/, 'x-a'],
  ['no sources', tenancy({ sources: [] }), 'tenancy.sources', /must not be empty/, []],
  ['a source as a text', source('x-tenant-id'), 'tenancy.sources[0]', /must be \{ header \}, \{ host \}, \{ param \}, \{ query \} or \{ claim \}, in code also/, 'x-tenant-id'],
  ['two sources in one', source({ header: 'x-a', query: 't' }), 'tenancy.sources[0]', /must have exactly one of header, host/, { header: 'x-a', query: 't' }],
  ['a source of nothing', source({}), 'tenancy.sources[0]', /must have exactly one of/, {}],
  ['an unknown source', source({ query: 't' }, { param: 'p', cookie: 'a' }), 'tenancy.sources[1].cookie', /read it in resolve/, 'a'],
  ['from beside a header', source({ header: 'x-a', from: fn }), 'tenancy.sources[0].from', /is for claim only/, fn],
  ['a source twice', source({ header: 'x-a' }, { header: 'X-A' }), 'tenancy.sources[1]', /must not be listed twice/, '["header","x-a"]'],
  ['a claim twice', source({ claim: 'a.b' }, { claim: ['a', 'b'] }), 'tenancy.sources[1]', /must not be listed twice/, '["claim",["a","b"]]'],
  ['a header with a space', tenancy({ header: 'x tenant' }), 'tenancy.header', /must be a header name/, 'x tenant'],
  ['the header of credentials', tenancy({ header: 'Authorization' }), 'tenancy.header', /must be a header of its own: this one means something else/, 'Authorization'],
  ['a cookie header', source({ header: 'cookie' }), 'tenancy.sources[0].header', /must be a header of its own/, 'cookie'],
  ['Host as a header', source({ header: 'host' }), 'tenancy.sources[0].header', /must not name Host/, 'host'],
  ['a header that says who asked', source({ header: 'X-Forwarded-Host' }), 'tenancy.sources[0].header', /must be a header of its own/, 'X-Forwarded-Host'],
  ['a header of the connection', source({ header: 'connection' }), 'tenancy.sources[0].header', /hop-by-hop/, 'connection'],
  ['a host without the place of the id', source({ host: 'a.example.com' }), 'tenancy.sources[0].host', /must have exactly one \{tenant\}/, 'a.example.com'],
  ['a host with two', source({ host: '{tenant}.{tenant}.com' }), 'tenancy.sources[0].host', /must have exactly one \{tenant\}/, '{tenant}.{tenant}.com'],
  ['a host with a port', source({ host: '{tenant}.example.com:80' }), 'tenancy.sources[0].host', /must not have a port/, '{tenant}.example.com:80'],
  ['a host that is none', source({ host: '{tenant}.exa mple' }), 'tenancy.sources[0].host', /must be a host name around \{tenant\}/, '{tenant}.exa mple'],
  ['a host with a wildcard', source({ host: '*.{tenant}.com' }), 'tenancy.sources[0].host', /must be a host name around/, '*.{tenant}.com'],
  ['a host with dots in a row', source({ host: '{tenant}..com' }), 'tenancy.sources[0].host', /must be a host name around/, '{tenant}..com'],
  ['a parameter without a name', source({ param: '' }), 'tenancy.sources[0].param', /must be the name of a property/, ''],
  ['a parameter of all objects', source({ query: '__proto__' }), 'tenancy.sources[0].query', /must be the name of a property/, '__proto__'],
  ['a claim of all objects', source({ claim: 'a.constructor' }), 'tenancy.sources[0].claim', /must not lead through/, 'a.constructor'],
  ['a claim with an empty name', source({ claim: 'a..b' }), 'tenancy.sources[0].claim', /must be the name of a property/, 'a..b'],
  ['a claim of no names', source({ claim: [] }), 'tenancy.sources[0].claim', /must not be empty/, []],
  ['a claim as a number', source({ claim: 1 }), 'tenancy.sources[0].claim', /must be the name of a claim/, 1],
  ['claims that come from no function', source({ claim: 'a', from: 'user' }), 'tenancy.sources[0].from', /must be a function/, 'user'],
  ['a resolve that is no function', source({ resolve: 'x' }), 'tenancy.sources[0].resolve', /must be a function/, 'x'],
  ['true for forwardAs', tenancy({ forwardAs: true }), 'tenancy.forwardAs', /must be a header name or false/, true],
  ['the id where the credentials are', tenancy({ forwardAs: 'authorization' }), 'tenancy.forwardAs', /must be a header of its own/, 'authorization'],
  // headers of others
  ['the id where the request id is', tenancy({ forwardAs: 'X-Trace' }, { headers: { requestId: 'x-trace' } }), 'tenancy.forwardAs', /must not be the header of headers\.requestId/, 'x-trace'],
  ['the id where the request id is by default', tenancy({ header: 'x-request-id' }), 'tenancy.header', /must be a header of its own/, 'x-request-id'],
  ['the default where the request id is', tenancy({}, { headers: { requestId: 'x-tenant-id' } }), 'tenancy.header', /must not be the header of headers\.requestId/, 'x-tenant-id'],
  ['a source where the deadline is', tenancy({ sources: [{ header: 'x-d' }], forwardAs: false }, { deadlineHeader: 'X-D' }), 'tenancy.sources[0].header', /must not be the header of deadlineHeader/, 'x-d'],
  ['the gateway sets it', tenancy({}, { headers: { request: { set: { 'X-Tenant-Id': 'me' } } } }), 'headers.request.set.X-Tenant-Id', SENT, 'X-Tenant-Id'],
  ['the gateway appends it', tenancy({ forwardAs: 'x-t' }, { headers: { request: { append: { 'x-t': 'me' } } } }), 'headers.request.append.x-t', SENT, 'x-t'],
  ['a source that is not forwarded', tenancy({ header: 'x-t', forwardAs: false }, { headers: { request: { set: { 'x-t': 'me' } } } }), 'headers.request.set.x-t', SENT, 'x-t'],
  ['something is renamed to it', tenancy({}, { headers: { request: { rename: { 'x-a': 'X-Tenant-ID' } } } }), 'headers.request.rename.x-a', SENT, 'X-Tenant-ID'],
  ['it is renamed to something', tenancy({}, { headers: { request: { rename: { 'x-tenant-id': 'x-a' } } } }), 'headers.request.rename.x-tenant-id', /must not be renamed: what a client says of its tenant does not go on/, 'x-a'],
  ['a backend sets it', { backends: { a: { url: 'http://a', headers: { request: { set: { 'x-tenant-id': 'b' } } } } }, tenancy: {} }, 'backends.a.headers.request.set.x-tenant-id', SENT, 'x-tenant-id'],
  ['a route sets it', tenancy({}, { routes: [{ path: '/', proxy: { backend: 'users', headers: { request: { set: { 'x-tenant-id': 'b' } } } } }] }), 'routes[0].proxy.headers.request.set.x-tenant-id', SENT, 'x-tenant-id'],
  ['a composite sets it', tenancy({}, { routes: [{ path: '/', composite: { backends: ['users'], headers: { request: { set: { 'x-tenant-id': 'b' } } } } }] }), 'routes[0].composite.headers.request.set.x-tenant-id', SENT, 'x-tenant-id'],
  ['a part sets it', tenancy({}, { routes: [{ path: '/', composite: { parts: { a: { backend: 'users', headers: { set: { 'x-tenant-id': 'b' } } } } } }] }), 'routes[0].composite.parts.a.headers.set.x-tenant-id', SENT, 'x-tenant-id'],
  ['a tenant sets it', tenant({ headers: { request: { set: { 'x-tenant-id': 'b' } } } }), `${T}.headers.request.set.x-tenant-id`, SENT, 'x-tenant-id'],
  ['a backend of a tenant sets it', backend({ headers: { request: { set: { 'x-tenant-id': 'b' } } } }), `${T}.backends.users.headers.request.set.x-tenant-id`, SENT, 'x-tenant-id'],
  ['a route of a tenant sets it', route('plain', { proxy: { headers: { request: { set: { 'x-tenant-id': 'b' } } } } }), `${T}.routes.plain.proxy.headers.request.set.x-tenant-id`, SENT, 'x-tenant-id'],
  // ids
  ['an id that is too long', tenancy({ maxLength: 3, tenants: { acme: {} } }), T, /must not be longer than 3 characters \(maxLength\)/, 'acme'],
  ['an id that no request can have', tenancy({ tenants: { 'a b': {} } }), 'tenancy.tenants["a b"]', /must be an id as pattern describes it/, 'a b'],
  ['an id that the pattern fits in part', tenancy({ pattern: 'a|b', tenants: { ab: {} } }), 'tenancy.tenants.ab', /must be an id as pattern describes it/, 'ab'],
  ['an id without characters', tenancy({ pattern: '.*', tenants: { '': {} } }), 'tenancy.tenants[""]', /must not be empty/, ''],
  ['an id that no header can hold', tenancy({ pattern: '[^]*', tenants: { 'a\nb': {} } }), 'tenancy.tenants["a\\nb"]', /must be a text that a header can hold/, 'a\nb'],
  // one tenant
  ['a tenant as true', tenant(true), T, /must be an object, or false/, true],
  ['a tenant as a URL', tenant('http://a'), T, /must be an object, or false/, 'http://a'],
  ['an unknown option of a tenant', tenant({ backnds: {} }), `${T}.backnds`, /did you mean "backends"\?/, {}],
  ['a URL of a tenant', tenant({ url: 'http://a' }), `${T}.url`, /a URL belongs to a backend/, 'http://a'],
  ['Via of a tenant', tenant({ headers: { via: false } }), `${T}.headers.via`, /Via is set globally/, false],
  ['a wrong limit', tenant({ limits: { body: 'big' } }), `${T}.limits.body`, /must be a size/, 'big'],
  ['metadata that is a text', tenant({ metadata: 'gold' }), `${T}.metadata`, /must be an object/, 'gold'],
  ['a wrong time of a tenant', tenant({ timeout: { total: 'x' } }), `${T}.timeout.total`, /must be a duration/, 'x'],
  ['a balancer that nobody knows', tenant({ balancer: 'best' }), `${T}.balancer`, /must be the name of a balancer/, 'best'],
  ['tries of a tenant', tenant({ retry: 0 }), `${T}.retry`, /must be a whole number between 1 and 100/, 0],
  ['waits that cross those of the gateway', tenant({ retry: { backoff: { max: 5 } } }, { retry: { backoff: { initial: 10 } } }), `${T}.retry.backoff.max`, /must not be shorter than initial \(10\)/, 5],
  ['a default backend that nobody has', tenant({ defaultBackend: 'user' }), `${T}.defaultBackend`, /must be the name of a backend; known are users, orders; did you mean "users"\?/, 'user'],
  ['a default backend that the tenant has not', tenant({ defaultBackend: 'users', backends: { users: false } }), `${T}.defaultBackend`, /must be the name of a backend; known are orders/, 'users'],
  ['a default backend that only another tenant has', tenancy({ tenants: { acme: { defaultBackend: 'own' }, globex: { backends: { own: 'http://a' } } } }), `${T}.defaultBackend`, /must be the name of a backend/, 'own'],
  ['a fallback that the tenant has not', tenant({ circuitBreaker: { fallback: { backend: 'nobody' } } }), `${T}.circuitBreaker.fallback.backend`, /must be the name of a backend/, 'nobody'],
  // its backends
  ['a backend with a wrong name', tenant({ backends: { 'a b': 'http://a' } }), `${T}.backends["a b"]`, /must be a name without spaces/, 'a b'],
  ['a backend as true', backend(true), `${T}.backends.users`, /must be a URL, a list of targets, an object, or false/, true],
  ['a URL that is none', backend('ftp://a'), `${T}.backends.users`, /must be an http:, https: or unix: URL|must be/, 'ftp://a'],
  ['no targets', backend([]), `${T}.backends.users`, /must not be empty/, []],
  ['no targets in an object', backend({ targets: [] }), `${T}.backends.users.targets`, /must not be empty/, []],
  ['a URL beside targets', backend({ url: 'http://a', targets: ['http://b'] }), `${T}.backends.users`, /must have one of url, targets/, { url: 'http://a', targets: ['http://b'] }],
  ['a target twice', backend(['http://a', 'http://a/']), `${T}.backends.users[1]`, /must not be a target twice/, 'http://a'],
  ['a backend that nobody has, without targets', tenant({ backends: { own: { retry: 2 } } }), `${T}.backends.own`, /must have one of url, targets, discovery: nobody else has a backend of this name/, { retry: 2 }],
  ['an unknown option of its backend', backend({ timout: 1 }), `${T}.backends.users.timout`, /did you mean "timeout"/, 1],
  ['a wrong time of its backend', backend({ timeout: { total: -1 } }), `${T}.backends.users.timeout.total`, /must be a duration/, -1],
  ['a certificate without its key', backend({ tls: { cert: '-----BEGIN CERTIFICATE-----' } }), `${T}.backends.users.tls.key`, /is required beside cert/],
  ['checks without a path', backend({ health: { rise: 1 } }), `${T}.backends.users.health.path`, /is required: it has no health with one to start from/],
  ['a queue without a limit', backend({ concurrency: { queue: 5 } }), `${T}.backends.users.concurrency.max`, /is required/],
  ['a backend that is its own fallback', backend({ circuitBreaker: { fallback: { backend: 'users' } } }), `${T}.backends.users.circuitBreaker.fallback.backend`, /must be another backend/, 'users'],
  ['a fallback that its backend has not', backend({ circuitBreaker: { fallback: { backend: 'nobody' } } }), `${T}.backends.users.circuitBreaker.fallback.backend`, /must be the name of a backend/, 'nobody'],
  ['waits that cross those of the backend', { backends: { users: { url: 'http://a', retry: { backoff: { initial: 20 } } } }, tenancy: { tenants: { acme: { backends: { users: { retry: { backoff: { max: 10 } } } } } } } }, `${T}.backends.users.retry.backoff.max`, /must not be shorter than initial \(20\)/, 10],
  // its routes
  ['a route as a text', route('plain', 'off'), `${T}.routes.plain`, /must be true, false, or \{ enabled, proxy, composite \}/, 'off'],
  ['a route that moves', route('plain', { path: '/x' }), `${T}.routes.plain.path`, /a tenant cannot move a route/, '/x'],
  ['a proxy beside a composite', route('plain', { proxy: 'orders', composite: {} }), `${T}.routes.plain.composite`, /must not stand beside proxy/, {}],
  ['a composite of a plain route', route('plain', { composite: { timeout: 1 } }), `${T}.routes.plain.composite`, /must be proxy: that is what the route has/, { timeout: 1 }],
  ['a proxy of a composite', route('all', { proxy: 'users' }), `${T}.routes.all.proxy`, /must be composite: that is what the route has/, 'users'],
  ['a route to a backend that nobody has', route('plain', { proxy: 'user' }), `${T}.routes.plain.proxy`, /must be the name of a backend; known are users, orders/, 'user'],
  ['the same in an object', route('plain', { proxy: { backend: 'user' } }), `${T}.routes.plain.proxy.backend`, /must be the name of a backend/, 'user'],
  ['the same of a part', route('all', { composite: { parts: { user: { backend: 'user' } } } }), `${T}.routes.all.composite.parts.user.backend`, /must be the name of a backend/, 'user'],
  ['the same in the short form', route('short', { composite: { backends: ['users', 'order'] } }), `${T}.routes.short.composite.backends[1]`, /must be the name of a backend/, 'order'],
  ['a wrong option of a route', route('plain', { proxy: { timeout: { connect: 1 } } }), `${T}.routes.plain.proxy.timeout.connect`, /connections are shared by routes/, 1],
  ['a template of another route', route('plain', { proxy: { rewrite: { template: '/x/:name' } } }), `${T}.routes.plain.proxy.rewrite.template`, /":name" is not in \/p\/:id/, '/x/:name'],
  ['a wrong option of a route in code', route('elsewhere', { proxy: { retry: 0 } }), `${T}.routes.elsewhere.proxy.retry`, /must be a whole number/, 0],
  ['a part that is not there to be taken away', route('all', { composite: { parts: { usr: false } } }), `${T}.routes.all.composite.parts.usr`, /must be the name of a part; known are user, order; did you mean "user"\?/, 'usr'],
  ['a part that others need', route('all', { composite: { parts: { user: false } } }), `${T}.routes.all.composite.parts.order.needs[0]`, /must be the name of a part/, 'user'],
  ['a part as true', route('all', { composite: { parts: { user: true } } }), `${T}.routes.all.composite.parts.user`, /must be an object, or false/, true],
  ['a part that takes longer than the whole', route('all', { composite: { parts: { user: { timeout: '3s' } } } }), `${T}.routes.all.composite.parts.user.timeout.total`, /must not be longer than the composite's timeout \(2s\)/, '3s'],
  ['no backends in the short form', route('short', { composite: { parts: { users: false, orders: false } } }), `${T}.routes.short.composite.backends`, /must not be empty/, []],
  ['a wrong value of enabled', route('plain', { enabled: 'no' }), `${T}.routes.plain.enabled`, /must be true or false/, 'no'],
  // routes of everybody
  ['tenancy of a route as a text', wholeRoute('x-id'), 'routes[0].tenancy', /must be true, false, or \{ required, enabled \}/, 'x-id'],
  ['an unknown option of a route\'s tenancy', wholeRoute({ header: 'x' }), 'routes[0].tenancy.header', /is not an option/, 'x'],
  ['a hook of a route that is none', wholeRoute({ onTenant: {} }), 'routes[0].tenancy.onTenant', /must be a function or a list of functions/, {}],
  ['tenancy of a route where there is none', { backends, routes: [{ path: '/', proxy: 'users', tenancy: true }] }, 'routes[0].tenancy', /has no effect without the option "tenancy"/, true]
]

t.test('every wrong option of tenancy is refused with the path, the rule and the value', async t => {
  for (const wrong of WRONG) checkWrong(t, wrong)
})

t.test('what tenancy sends may be removed, and be an answer\'s', async t => {
  const headers = { request: { remove: ['x-tenant-id'] }, response: { set: { 'x-tenant-id': 'a' } } }
  t.same(problemsOf(() => parseOptions(tenancy({}, { headers }))), [])
})

t.test('problems of all tenants are reported at once, and beside those of everybody', async t => {
  const found = problemsOf(() => parseOptions({
    backends: { users: { url: 'http://a', retry: 0 }, orders: 'http://b' },
    timeout: 'x',
    tenancy: { tenants: { one: { retry: 0 }, two: { defaultBackend: 'nobody' }, three: { backends: { users: { health: {} } } }, four: { backends: { orders: { health: {} } } } } }
  }))
  t.same(found.map(({ path }) => path), ['backends.users.retry', 'timeout', 'tenancy.tenants.one.retry', 'tenancy.tenants.two.defaultBackend', 'tenancy.tenants.four.backends.orders.health.path'])
})

t.test('a wrong backend is reported where it is, not once more for each tenant that changes it', async t => {
  const found = problemsOf(() => parseOptions({ backends: { users: { url: 'http://a', health: {} } }, tenancy: { tenants: { a: { backends: { users: { retry: 2 } } } } } }))
  t.same(found.map(({ path }) => path), ['backends.users.health.path'])
})

t.test('many wrong tenants are reported in a time that grows with their number only', { timeout: 30_000 }, async t => {
  const tenants = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`t ${i}`, { backends: { users: 'http://a' } }]))
  t.equal(problemsOf(() => parseOptions(tenancy({ tenants }))).length, 20_000)
})

t.test('a file names line and column', async t => {
  const text = 'backends: { users: http://a }\ntenancy:\n  tenants:\n    acme:\n      backends:\n        users:\n          timeout: { total: soon }\n'
  t.match(problemsOf(() => parseConfigText(text, { path: 'gateway.yaml', env: {} })), [{ path: `${T}.backends.users.timeout.total`, line: 7, column: 22, value: 'soon' }])
})

t.test('names that lead elsewhere are refused', async t => {
  const options = JSON.parse('{"tenancy":{"tenants":{"__proto__":{},"acme":{"backends":{"__proto__":"http://a"}}}}}') as object
  t.match(problemsOf(() => parseOptions(options)), [{ path: 'tenancy.tenants.__proto__', rule: 'must not be used as a name' }, { path: `${T}.backends.__proto__`, rule: 'must not be used as a name' }])
})

// ---- at run time

const gateway = parseOptions({ backends, routes, retry: { backoff: { initial: 10 } }, tenancy: { maxLength: 8 } })

t.test('a tenant of run time is held to the same rules', async t => {
  t.same(problemsOf(() => parseTenant({ backends: { users: 'http://a', own: ['http://b'] }, defaultBackend: 'own', routes: { plain: { proxy: 'own' } } }, 'acme', gateway)), [])
  t.equal(parseTenant(false, 'acme', gateway), false)
  t.ok(Object.isFrozen(parseTenant({}, 'acme', gateway)))
  const wrong: ReadonlyArray<readonly [unknown, string, RegExp]> = [
    [null, T, /must be an object, or false/],
    [{ retry: { backoff: { max: 5 } } }, `${T}.retry.backoff.max`, /must not be shorter than initial \(10\)/],
    [{ backends: { own: { retry: 2 } } }, `${T}.backends.own`, /must have one of url, targets/],
    [{ defaultBackend: 'own' }, `${T}.defaultBackend`, /must be the name of a backend/],
    [{ routes: { plain: { composite: {} } } }, `${T}.routes.plain.composite`, /must be proxy/],
    [{ headers: { request: { set: { 'x-tenant-id': 'a' } } } }, `${T}.headers.request.set.x-tenant-id`, SENT]
  ]
  for (const [options, path, rule] of wrong) t.match(problemsOf(() => parseTenant(options, 'acme', gateway)), [{ path, rule }])
})

t.test('its id is checked, too', async t => {
  t.match(problemsOf(() => parseTenant({}, 'acme-corporation', gateway)), [{ path: 'tenancy.tenants.acme-corporation', rule: /not be longer than 8/, value: 'acme-corporation' }])
  t.match(checkTenant('_', {}, gateway, 'here'), [{ path: 'here', rule: /as pattern describes/ }])
})

t.test('checkTenant gives the problems in place of throwing them', async t => {
  t.same(checkTenant('acme', {}, gateway), [])
  t.match(checkTenant('acme', { retry: 0, backends: { users: 5 } }, gateway), [{ path: `${T}.retry` }, { path: `${T}.backends.users` }])
})

t.test('backends that came at run time are known, and those that went are not', async t => {
  const added = parseBackend({ url: 'http://a', health: '/up' }, { ...gateway, name: 'added' }, 'backends.added')
  const current = { names: () => ['added'], get: (name: string) => name === 'added' ? added : undefined }
  t.same(checkTenant('acme', { defaultBackend: 'added', backends: { added: { health: { rise: 1 } } } }, { ...gateway, current }), [])
  t.match(checkTenant('acme', { defaultBackend: 'users', backends: { orders: { retry: 2 } } }, { ...gateway, current }), [{ path: `${T}.backends.orders` }, { path: `${T}.defaultBackend` }])
})

t.test('what tenancy sends is not for backends of run time and routes in code to set', async t => {
  const headers = { request: { set: { 'X-Tenant-Id': 'a' } } }
  t.match(problemsOf(() => parseBackend({ url: 'http://a', headers }, gateway, 'b')), [{ path: 'b.headers.request.set.X-Tenant-Id', rule: SENT }])
  t.match(problemsOf(() => parseProxy({ headers }, 'p', { tenancy: gateway.tenancy })), [{ path: 'p.headers.request.set.X-Tenant-Id', rule: SENT }])
  t.match(problemsOf(() => parseComposite({ backends: ['a'], headers }, 'c', { tenancy: gateway.tenancy })), [{ path: 'c.headers.request.set.X-Tenant-Id', rule: SENT }])
  t.same(problemsOf(() => parseProxy({ headers }, 'p')), [])
})

t.test('wrong changes of a route name their place', async t => {
  t.match(problemsOf(() => overrideProxy('users', { timeout: { total: -1 } }, 'here')), [{ path: 'here.timeout.total', value: -1 }])
  t.match(problemsOf(() => overrideProxy(undefined, { backend: 'nobody' }, 'here', { backends: ['users'] })), [{ path: 'here.backend', value: 'nobody' }])
  t.match(problemsOf(() => overrideComposite({ backends: ['a'] }, { parts: { b: false } }, 'here')), [{ path: 'here.parts.b', rule: /must be the name of a part; known are a/ }])
  t.match(problemsOf(() => overrideComposite({ parts: { a: { backend: 'a' } } }, { parts: { b: { path: '/:id' } } }, 'here', { routePath: '/x' })), [{ path: 'here.parts.b.path', rule: /:id|"id"/ }])
  t.match(problemsOf(() => parseRouteTenancy({ enabled: 1 }, 'route /: tenancy')), [{ path: 'route /: tenancy.enabled', value: 1 }])
})
