/** What a right composite becomes. */
import t from 'tap'
import { Type } from '@sinclair/typebox'
import { parseConfigText } from '../../../lib/config-file.ts'
import { parseComposite, parseOptions, type CompositeOptions, type PartOptions } from '../../../lib/options/index.ts'
import type { PartConfig } from '../../../lib/composite/types.ts'

const BACKENDS = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }
const CONTEXT = { routePath: '/api/dashboard/:id', backends: Object.keys(BACKENDS) }
const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range']
const ABOUT_THE_BODY = ['content-type', 'content-encoding', 'content-language', 'content-location', 'content-disposition', 'digest', 'content-digest']
const HEADERS = { request: { remove: [...CONDITIONS, ...ABOUT_THE_BODY], set: { 'accept-encoding': 'identity' } }, response: {} }

const PROXY = {
  backend: 'users',
  rewrite: [],
  headers: HEADERS,
  timeout: {},
  redirects: { follow: 10 },
  host: undefined,
  bodyLimit: undefined,
  circuitBreaker: undefined,
  retry: undefined,
  websocket: undefined,
  modifyRequest: undefined,
  modifyResponse: undefined,
  errorHandler: undefined
}
const SHAPE = { target: undefined, pick: undefined, omit: undefined, rename: undefined, group: undefined }
const PART: PartConfig = {
  name: 'user',
  proxy: PROXY,
  path: undefined,
  method: 'GET',
  query: undefined,
  headers: {},
  body: { kind: 'none' },
  required: false,
  fallback: undefined,
  needs: [],
  onMissing: 'skip',
  when: undefined,
  forEach: undefined,
  schema: undefined,
  shape: SHAPE,
  onEmpty: 'allow',
  nonJson: 'fail',
  maxBytes: 1_048_576
}
const WHOLE = {
  strategy: 'object',
  conflict: 'last',
  race: false,
  onMismatch: 'fail',
  transform: undefined,
  timeout: 30_000,
  meta: false,
  partialStatus: 200,
  maxBytes: 8_388_608,
  maxDepth: 100,
  maxCalls: 50,
  bodyLimit: undefined,
  headers: { from: undefined, setCookie: 'all', cacheControl: 'strictest', vary: 'union', serverTiming: false, response: {} },
  errorHandler: undefined
}

const composite = (options: CompositeOptions) => parseComposite(options, 'composite', CONTEXT)

/** One part called `user`, beside another it may refer to. */
function part (options: PartOptions, rest: Omit<CompositeOptions, 'parts'> = {}): PartConfig {
  return composite({ ...rest, parts: { user: { backend: 'users', ...options }, other: { backend: 'orders' } } }).parts[0]!
}

t.test('a part in full form has every default', async t => {
  t.strictSame(composite({ parts: { user: { backend: 'users' } } }), { ...WHOLE, parts: [PART] })
})

t.test('a part of the short form gets the client\'s request as it came', async t => {
  const { parts, strategy } = composite({ backends: ['users', 'orders'] })
  t.equal(strategy, 'merge')
  t.same(parts.map(({ name, proxy }) => [name, proxy.backend]), [['users', 'users'], ['orders', 'orders']])
  const headers = { ...HEADERS, request: { ...HEADERS.request, remove: CONDITIONS } }
  t.strictSame(parts[0], { ...PART, name: 'users', proxy: { ...PROXY, headers }, method: undefined, query: 'client', body: { kind: 'client' } })
})

t.test('a part without a backend goes to the default one', async t => {
  const { parts } = parseComposite({ parts: { user: {} } }, 'composite', { ...CONTEXT, defaultBackend: 'users' })
  t.equal(parts[0]?.proxy.backend, undefined)
})

t.test('names of the short form are those of backends, whatever they are', async t => {
  const { parts } = parseComposite({ backends: ['user.v2', 'item'] }, 'composite', { backends: ['user.v2', 'item'] })
  t.same(parts.map(({ name }) => name), ['user.v2', 'item'])
})

t.test('the routes of the design are composites', async t => {
  const { config } = parseConfigText(`
backends: { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }
routes:
  - name: profile
    path: /api/user-profile/:id
    composite: { backends: [users, orders], strategy: merge, timeout: 5s, meta: true, partialStatus: 200 }
  - name: dashboard
    path: /api/dashboard/:id
    composite:
      strategy: object
      maxPartBytes: 1mb
      parts:
        user:   { backend: users, path: /api/users/:id, required: true, pick: [id, name] }
        orders: { backend: orders, path: /orders, query: { user: ':id', limit: 5 }, timeout: 800ms, fallback: { items: [] }, target: items }
        boss:   { backend: users, needs: [user], path: '/api/users/{user.body.bossId}' }
`, { path: 'gateway.yaml', env: {} })
  const [profile, dashboard] = config.routes
  t.match(profile, { proxy: undefined, methods: ['GET', 'HEAD'], composite: { strategy: 'merge', timeout: 5_000, meta: true, partialStatus: 200 } })
  t.strictSame(dashboard?.composite?.parts, [
    { ...PART, path: '/api/users/:id', required: true, onMissing: 'fail', shape: { ...SHAPE, pick: ['id', 'name'] } },
    {
      ...PART,
      name: 'orders',
      proxy: { ...PROXY, backend: 'orders', timeout: { total: 800 } },
      path: '/orders',
      query: { user: ':id', limit: 5 },
      fallback: { value: { items: [] } },
      shape: { ...SHAPE, target: 'items' }
    },
    { ...PART, name: 'boss', needs: ['user'], path: '/api/users/{user.body.bossId}' }
  ])
})

t.test('the code example of the design is a composite', async t => {
  const options: CompositeOptions = {
    parts: {
      user: { backend: 'users', path: '/api/users/:id', required: true },
      orders: { backend: 'orders', path: '/orders', query: { user: ':id', limit: 5 }, pick: ['items'], fallback: { items: [] } },
      boss: { backend: 'users', needs: ['user'], when: ({ user }) => user.body.bossId != null, path: ({ user }) => `/api/users/${user.body.bossId}` }
    },
    strategy: 'object',
    transform: (parts, request) => ({ ...parts.user.body, orders: parts.orders.body.items, url: request.url })
  }
  const { parts, transform } = composite(options)
  t.equal(transform, options.transform)
  t.equal(parts[2]?.when, options.parts?.['boss']?.when)
  t.equal(parts[2]?.path, options.parts?.['boss']?.path)
})

t.test('a route says its methods, or has GET and HEAD', async t => {
  const route = { path: '/', composite: { backends: ['users'] } }
  const { routes } = parseOptions({ backends: BACKENDS, routes: [route, { ...route, methods: ['POST'] }, { path: '/p', proxy: 'users' }] })
  t.same(routes.map(({ methods }) => methods), [['GET', 'HEAD'], ['POST'], undefined])
  t.equal(routes[2]?.composite, undefined)
})

t.test('options of the whole come as they were said', async t => {
  const response = { set: { 'x-a': 'b' } }
  const errorHandler = () => {}
  t.match(composite({
    backends: ['users', 'orders'],
    conflict: 'deep',
    onMismatch: 'wrap',
    timeout: 0,
    partialStatus: 206,
    maxBytes: '16mb',
    maxDepth: 5,
    maxCalls: 7,
    bodyLimit: '2kb',
    headers: { from: 'users', setCookie: 'orders', cacheControl: 'none', vary: 'none', serverTiming: true, response },
    errorHandler
  }), {
    conflict: 'deep',
    onMismatch: 'wrap',
    timeout: 0,
    partialStatus: 206,
    maxBytes: 16_777_216,
    maxDepth: 5,
    maxCalls: 7,
    bodyLimit: 2_048,
    headers: { from: 'users', setCookie: 'orders', cacheControl: 'none', vary: 'none', serverTiming: true, response },
    errorHandler
  })
  t.equal(composite({ backends: ['users'], strategy: 'select', race: true }).race, true)
})

t.test('what the whole says holds for parts that do not say otherwise', async t => {
  const common = { onEmpty: 'skip', nonJson: 'text', onMissing: 'fail', redirects: 'pass', maxPartBytes: '2kb' } as const
  t.match(part({}, common), { onEmpty: 'skip', nonJson: 'text', onMissing: 'fail', proxy: { redirects: 'pass' }, maxBytes: 2_048 })
  t.match(part({ onEmpty: 'fail', nonJson: 'base64', onMissing: 'skip', redirects: { follow: 2 }, maxBytes: 10 }, common),
    { onEmpty: 'fail', nonJson: 'base64', onMissing: 'skip', proxy: { redirects: { follow: 2 } }, maxBytes: 10 })
  t.equal(part({ redirects: 'follow' }, common).proxy.redirects === 'pass', false)
})

t.test('a part with a body has the incoming method, others GET, unless they say theirs', async t => {
  t.equal(part({ body: {} }).method, undefined)
  t.equal(part({ body: 'client' }).method, undefined)
  t.equal(part({ needs: ['other'], body: ({ other }) => other.body }).method, undefined)
  t.equal(part({}).method, 'GET')
  t.equal(part({ method: 'DELETE' }).method, 'DELETE')
  t.equal(part({ body: null, method: 'PUT' }).method, 'PUT')
})

t.test('a body is the client\'s, a value, a function or bytes', async t => {
  const make = () => 'x'
  const buffer = Buffer.from('x')
  t.strictSame(part({ body: 'client' }).body, { kind: 'client' })
  t.strictSame(part({ body: null }).body, { kind: 'value', value: null })
  t.strictSame(part({ body: 'clients' }).body, { kind: 'value', value: 'clients' })
  t.strictSame(part({ body: { id: '{other.body.id}', list: [1, true, null] } }).body, { kind: 'value', value: { id: '{other.body.id}', list: [1, true, null] } })
  t.strictSame(part({ body: make }).body, { kind: 'function', make })
  t.same(part({ body: buffer }).body, { kind: 'value', value: buffer })
})

t.test('a fallback may be any JSON value, null and false included', async t => {
  for (const value of [null, false, 0, '', [], {}, { a: [{ b: null }] }]) t.strictSame(part({ fallback: value }).fallback, { value })
})

t.test('conditions are tests, one or several', async t => {
  const value = '{other.body.plan}'
  t.strictSame(part({ when: value }).when, [{ value, test: { kind: 'truthy' } }])
  t.strictSame(part({ when: { value, equals: null } }).when, [{ value, test: { kind: 'equals', value: null } }])
  t.strictSame(part({ when: [value, { value, not: 'free' }, { value, in: ['a', 1] }, { value, exists: false }] }).when, [
    { value, test: { kind: 'truthy' } },
    { value, test: { kind: 'not', value: 'free' } },
    { value, test: { kind: 'in', values: ['a', 1] } },
    { value, test: { kind: 'exists', value: false } }
  ])
})

t.test('forEach has its defaults in every form', async t => {
  const list = '{other.body.ids}'
  const make = () => []
  const initial = { concurrency: 8, max: 100, batch: undefined, join: undefined }
  t.strictSame(part({ forEach: list }).forEach, { in: list, ...initial })
  t.strictSame(part({ forEach: make }).forEach, { in: make, ...initial })
  t.strictSame(part({ forEach: { in: list, batch: false, join: { on: 'authorId', as: 'author' } } }).forEach, { in: list, ...initial, join: { on: 'authorId', as: 'author', key: 'id' } })
  t.strictSame(part({ forEach: { in: make, concurrency: 2, max: 3, batch: 4, join: { on: 'a.b', as: 'c', key: 'd' } } }).forEach, { in: make, concurrency: 2, max: 3, batch: 4, join: { on: 'a.b', as: 'c', key: 'd' } })
  t.equal(part({ forEach: { in: list, batch: true } }).forEach?.batch, Infinity)
})

t.test('timeouts of a part are milliseconds', async t => {
  t.strictSame(part({ timeout: '800ms' }).proxy.timeout, { total: 800 })
  t.strictSame(part({ timeout: { headers: 100, idle: '1s', total: 0 } }).proxy.timeout, { headers: 100, idle: 1_000, total: 0 })
  t.strictSame(part({ timeout: '1m' }, { timeout: 0 }).proxy.timeout, { total: 60_000 })
})

t.test('a query is the client\'s, parameters or a function', async t => {
  const make = () => ({})
  const query = { a: 'x', b: 1, c: true, d: ['{other.body.id}', 2] }
  t.equal(part({ query: 'client' }).query, 'client')
  t.strictSame(part({ query }).query, query)
  t.equal(part({ query: make }).query, make)
})

// ---- headers of parts

const requestOf = (options: PartOptions, rest: Omit<CompositeOptions, 'parts'> = {}) => part(options, rest).proxy.headers.request

t.test('header values that depend on the request are apart from those that do not', async t => {
  const make = () => 'x'
  const { headers, proxy } = part({ headers: { set: { 'X-Static': 'a:b', 'x-id': ':id', 'x-user': '{other.body.id}', 'x-brace': '{{}}', 'x-made': make } } })
  t.strictSame(headers, { 'x-id': ':id', 'x-user': '{other.body.id}', 'x-brace': '{{}}', 'x-made': make })
  t.strictSame(proxy.headers.request.set, { 'accept-encoding': 'identity', 'X-Static': 'a:b' })
  t.strictSame(proxy.headers.request.remove, [...HEADERS.request.remove, 'x-id', 'x-user', 'x-brace', 'x-made'])
})

t.test('the client\'s conditions and the description of its body do not go to a part', async t => {
  t.strictSame(requestOf({}).remove, [...CONDITIONS, ...ABOUT_THE_BODY])
  t.strictSame(requestOf({ body: {} }).remove, [...CONDITIONS, ...ABOUT_THE_BODY])
  t.strictSame(requestOf({ body: 'client' }).remove, CONDITIONS)
})

t.test('what the composite or the part says about a header takes the rule for all parts away', async t => {
  t.strictSame(requestOf({ headers: { set: { 'Accept-Encoding': 'br' } } }).set, { 'Accept-Encoding': 'br' })
  t.strictSame(requestOf({ headers: { remove: ['Accept-Encoding'] } }).set, {})
  t.strictSame(requestOf({}, { headers: { request: { set: { 'accept-encoding': 'gzip' } } } }).set, { 'accept-encoding': 'gzip' })
  t.notOk(requestOf({ headers: { set: { Range: 'bytes=0-9' } } }).remove?.includes('range'))
  t.strictSame(requestOf({}, { headers: { request: { rename: { 'if-none-match': 'x-inm' } } } }).rename, { 'if-none-match': 'x-inm' })
  t.notOk(requestOf({}, { headers: { request: { rename: { 'if-none-match': 'x-inm' } } } }).remove?.includes('if-none-match'))
})

t.test('a part\'s headers come over the composite\'s', async t => {
  const request = { forward: ['Accept', 'X-D'], set: { 'x-a': '1', 'x-b': '1' }, append: { 'X-C': '1' }, remove: ['x-e'], rename: { 'x-d': 'x-f', 'x-g': 'x-h' } }
  const { forward, set, append, remove, rename } = requestOf({ headers: { set: { 'X-A': '2', 'x-f': '2', 'x-c': ':id' }, remove: ['X-B', 'x-g'] } }, { headers: { request } })
  t.strictSame(forward, ['accept', 'x-d'])
  t.strictSame(set, { 'accept-encoding': 'identity', 'X-A': '2', 'x-f': '2' })
  t.equal(append, undefined)
  t.strictSame(remove, [...HEADERS.request.remove, 'x-e', 'x-b', 'x-g', 'x-c', 'x-d'])
  t.equal(rename, undefined)
})

t.test('the composite\'s headers hold where the part says nothing', async t => {
  const request = { set: { 'x-a': '1' }, append: { 'x-b': '1' }, rename: { 'x-c': 'x-d' } }
  t.match(requestOf({}, { headers: { request } }), { append: request.append, rename: request.rename, set: { 'accept-encoding': 'identity', 'x-a': '1' } })
})

// ---- whose things these are

t.test('a TypeBox schema is handed on as it is, and not frozen', async t => {
  const schema = Type.Object({ id: Type.Number(), tags: Type.Array(Type.String()) })
  const user = part({ schema })
  t.equal(user.schema, schema)
  t.notOk(Object.isFrozen(schema) || Object.isFrozen(schema.properties))
  const plain = { type: 'object', properties: { inner: schema } }
  const copied = part({ schema: plain }).schema as typeof plain
  t.not(copied, plain)
  t.equal(copied.properties.inner, schema)
  t.notOk(Object.isFrozen(schema))
})

t.test('nothing the user passed is changed, frozen or followed', async t => {
  const make = () => ({
    parts: { user: { backend: 'users', query: { ids: ['1'] }, body: { list: [{ a: 1 }] }, fallback: { items: [1] }, headers: { set: { a: 'b' }, remove: ['c'] }, pick: ['a'], schema: { type: 'object', properties: {} } } },
    headers: { request: { set: { x: 'y' } } }
  })
  const options = make()
  const config = composite(options)
  t.strictSame(options, make())
  t.notOk(isFrozenSomewhere(options))
  options.parts.user.body.list.push({ a: 2 })
  options.parts.user.fallback.items.push(2)
  options.parts.user.pick.push('b')
  t.match(config.parts[0], { body: { value: { list: [{ a: 1 }] } }, fallback: { value: { items: [1] } }, shape: { pick: ['a'] } })
  t.equal((config.parts[0]?.fallback?.value as { items: number[] }).items.length, 1)
})

t.test('the configuration is frozen throughout', async t => {
  t.ok(isFrozenThroughout(composite({ backends: ['users', 'orders'] })))
  t.ok(isFrozenThroughout(composite({ parts: { user: { backend: 'users', query: { a: ['b'] }, body: { a: [1] }, fallback: [{}], when: [{ value: '{request.query.a}', in: [1] }], headers: { set: { a: 'b', c: ':id' } } } } })))
})

t.test('strategies of one\'s own are kept by name', async t => {
  const mine = () => ({})
  const config = parseOptions({ backends: BACKENDS, strategies: { mine }, routes: [{ path: '/', composite: { backends: ['users'], strategy: 'mine', meta: true } }] })
  t.equal(config.strategies['mine'], mine)
  t.equal(config.strategies['toString'], undefined)
  t.equal(config.routes[0]?.composite?.strategy, 'mine')
  t.equal(parseComposite({ backends: ['users'], strategy: 'mine' }, 'composite', { strategies: ['mine'] }).strategy, 'mine')
})

function isFrozenSomewhere (value: unknown): boolean {
  return typeof value === 'object' && value !== null && (Object.isFrozen(value) || Object.values(value).some(isFrozenSomewhere))
}

function isFrozenThroughout (value: unknown): boolean {
  return typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(isFrozenThroughout))
}
