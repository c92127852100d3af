/** Options of the admin interface and of probes: what they become, and what is refused. */
import t from 'tap'
import { parseConfigText } from '../../../lib/config-file.ts'
import { configFileSchema } from '../../../lib/json-schema.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import { planChanges } from '../../../lib/plan/index.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }
const TOKEN = 'hunter2-is-no-token'
const ADMIN = { prefix: '/_gateway', token: undefined, port: undefined, host: '127.0.0.1', preHandler: [] }
const PROBES = { live: '/health/live', ready: '/health/ready', required: undefined }
const hook = async () => {}

t.test('both are off unless asked for', async t => {
  for (const options of [{ backends }, { backends, admin: false, probes: false }]) {
    t.has(parseOptions(options), { admin: undefined, probes: undefined, metrics: undefined })
  }
})

t.test('true and an empty object are the defaults', async t => {
  for (const said of [true, {}]) {
    t.strictSame(parseOptions({ backends, admin: said }).admin, ADMIN)
    t.strictSame(parseOptions({ backends, probes: said }).probes, PROBES)
  }
})

t.test('what is said comes over the defaults', async t => {
  const { admin, probes } = parseOptions({ backends, admin: { prefix: '/a/b', token: TOKEN, port: 0, host: '::1', preHandler: hook }, probes: { live: '/alive', ready: false, required: ['users'] } })
  t.strictSame({ ...admin, preHandler: [] }, { prefix: '/a/b', token: TOKEN, port: 0, host: '::1', preHandler: [] })
  t.equal(admin!.preHandler[0], hook)
  t.strictSame(probes, { live: '/alive', ready: undefined, required: ['users'] })
  t.strictSame(parseOptions({ backends, admin: { preHandler: [hook, hook] } }).admin!.preHandler, [hook, hook])
})

t.test('probes come with the admin interface unless they are refused', async t => {
  t.strictSame(parseOptions({ backends, admin: true }).probes, PROBES)
  t.equal(parseOptions({ backends, admin: true, probes: false }).probes, undefined)
  t.equal(parseOptions({ backends, admin: false }).probes, undefined)
})

t.test('the admin interface counts without showing metrics anywhere', async t => {
  for (const metrics of [undefined, false]) t.has(parseOptions({ backends, admin: true, metrics }).metrics, { path: undefined, port: undefined, defaultMetrics: false, tenants: true })
  t.has(parseOptions({ backends, admin: true, metrics: true }).metrics, { path: '/metrics', defaultMetrics: true }, 'what is said of metrics holds')
  t.equal(parseOptions({ backends, probes: true }).metrics, undefined)
})

t.test('a file may say all but the hooks', async t => {
  const file = { path: 'gateway.yaml', env: { ADMIN_TOKEN: TOKEN } }
  // eslint-disable-next-line no-template-curly-in-string
  const { config } = parseConfigText('backends: { users: http://127.0.0.1:4001 }\nadmin: { prefix: /ops, token: "${ADMIN_TOKEN}", port: 9000, host: 0.0.0.0 }\nprobes: { ready: /ready, required: [users] }\n', file)
  t.has(config, { admin: { prefix: '/ops', token: TOKEN, port: 9000, host: '0.0.0.0', preHandler: [] }, probes: { live: '/health/live', ready: '/ready', required: ['users'] } })
  t.match(problemsOf(() => parseConfigText('admin: { preHandler: onlyMe }', file)), [{ path: 'admin.preHandler', rule: /in code only/, line: 1 }])
  t.match(problemsOf(() => parseConfigText('admin: { preHandler: [onlyMe] }', file)), [{ path: 'admin.preHandler[0]', rule: /must be a function/, line: 1 }])
})

const route = (path: string, more: object = {}) => [{ path, proxy: 'users', ...more }]

const WRONG: readonly Wrong[] = [
  ['a prefix in place of an object', { admin: '/admin' }, 'admin', /must be true, false, or an object such as \{ prefix, token \}/, '(not shown)'],
  ['an unknown option', { admin: { prefx: '/a' } }, 'admin.prefx', /did you mean "prefix"\?/, '/a'],
  ['enabled', { admin: { enabled: true } }, 'admin.enabled', /use admin: true or false/, true],
  ['a prefix without a slash', { admin: { prefix: 'admin' } }, 'admin.prefix', /must start with "\/"/, 'admin'],
  ['a prefix that is all', { admin: { prefix: '/' } }, 'admin.prefix', /must be a path of its own/, '/'],
  ['a prefix with a slash behind', { admin: { prefix: '/a/' } }, 'admin.prefix', /must not end with "\/"/, '/a/'],
  ['a prefix with a parameter', { admin: { prefix: '/:a' } }, 'admin.prefix', /without parameters/, '/:a'],
  ['a prefix with a wildcard', { admin: { prefix: '/a/*' } }, 'admin.prefix', /without parameters/, '/a/*'],
  ['a prefix with a query', { admin: { prefix: '/a?b' } }, 'admin.prefix', /holds a query/, '/a?b'],
  ['an empty token', { admin: { token: '' } }, 'admin.token', /must not be empty/, '(not shown)'],
  ['a token with a space', { admin: { token: `${TOKEN} 2` } }, 'admin.token', /visible ASCII without spaces/, '(not shown)'],
  ['a token beyond ASCII', { admin: { token: `${TOKEN}ä` } }, 'admin.token', /visible ASCII without spaces/, '(not shown)'],
  ['a number for a token', { admin: { token: 123456 } }, 'admin.token', /must be a text/, '(not shown)'],
  ['a misspelled token', { admin: { tokn: TOKEN } }, 'admin.tokn', /did you mean "token"\?/, '(not shown)'],
  ['a password', { admin: { password: TOKEN } }, 'admin.password', /did you mean "token"\?/, '(not shown)'],
  ['a bearer', { admin: { bearer: TOKEN } }, 'admin.bearer', /did you mean "token"\?/, '(not shown)'],
  ['a token at another place', { adminToken: TOKEN }, 'adminToken', /is not an option/, '(not shown)'],
  ['a token in place of an object', { admin: TOKEN }, 'admin', /must be true, false, or an object/, '(not shown)'],
  ['a port beyond all', { admin: { port: 65536 } }, 'admin.port', /a whole number between 0 and 65535/, 65536],
  ['a host without a port', { admin: { host: '0.0.0.0' } }, 'admin.host', /has no effect without port/, '0.0.0.0'],
  ['a host with a space', { admin: { port: 1, host: 'a b' } }, 'admin.host', /must be an address or a host name/, 'a b'],
  ['the port of the metrics', { admin: { port: 9100 }, metrics: { port: 9100 } }, 'admin.port', /must not be the port of the metrics/, 9100],
  ['a hook by name', { admin: { preHandler: 'hook' } }, 'admin.preHandler', /must be a hook \(a function\) or a list of hooks/, 'hook'],
  ['no hooks', { admin: { preHandler: [] } }, 'admin.preHandler', /must not be empty/, []],
  ['a route at the prefix', { backends, admin: true, routes: route('/_gateway') }, 'routes[0].path', /must not be the path of the admin interface; admin\.prefix may be another/, '/_gateway'],
  ['a route below the prefix', { backends, admin: { prefix: '/ops' }, routes: route('/ops/x', { methods: 'POST' }) }, 'routes[0].path', /must not be the path of the admin interface/, '/ops/x'],
  ['a wildcard below the prefix', { backends, admin: true, routes: route('/_gateway/*') }, 'routes[0].path', /must not be the path of the admin interface/, '/_gateway/*'],
  ['metrics within the prefix', { backends, admin: true, metrics: { path: '/_gateway/status' } }, 'metrics.path', /must not be within the admin interface/, '/_gateway/status'],
  ['a path in place of probes', { probes: '/health' }, 'probes', /must be true, false, or an object such as/, '/health'],
  ['an unknown probe', { probes: { redy: '/r' } }, 'probes.redy', /did you mean "ready"\?/, '/r'],
  ['liveness', { probes: { liveness: '/l' } }, 'probes.liveness', /did you mean "live"\?/, '/l'],
  ['a probe without a slash', { probes: { live: 'live' } }, 'probes.live', /must start with "\/"/, 'live'],
  ['a probe with a parameter', { probes: { ready: '/:a' } }, 'probes.ready', /without parameters/, '/:a'],
  ['true for a path', { probes: { ready: true } }, 'probes.ready', /must be a path that begins with "\/", or false/, true],
  ['nothing required', { backends, probes: { required: [] } }, 'probes.required', /must not be empty/, []],
  ['a required one that is none', { backends, probes: { required: ['users', 'order'] } }, 'probes.required[1]', /must be the name of a backend; .* did you mean "orders"\?/, 'order'],
  ['twice the same path', { probes: { live: '/health', ready: '/health' } }, 'probes.ready', /must not be the path of the probe "live"/, '/health'],
  ['the path of the metrics', { metrics: true, probes: { live: '/metrics' } }, 'probes.live', /must not be the path of the metrics/, '/metrics'],
  ['a path of the admin interface', { admin: true, probes: { ready: '/_gateway/ready' } }, 'probes.ready', /must not be the path of the admin interface/, '/_gateway/ready'],
  ['a route at the path of a probe', { backends, probes: true, routes: route('/health/ready') }, 'routes[0].path', /must not be the path of the probe "ready"; probes\.ready may be another/, '/health/ready'],
  ['a route within the admin interface, whatever its method', { backends, admin: true, routes: route('/_gateway', { methods: 'PUT' }) }, 'routes[0].path', /must not be the path of the admin interface/, '/_gateway'],
  ['the same where they come with admin', { backends, admin: true, routes: route('/health/live', { methods: ['HEAD', 'PUT'] }) }, 'routes[0].path', /must not be the path of the probe "live"/, '/health/live']
]

t.test('every wrong option is refused with the path, the rule and the value, and no token is shown', async t => {
  for (const wrong of WRONG) t.notMatch(JSON.stringify(checkWrong(t, wrong)), TOKEN, `${wrong[0]}: token`)
})

t.test('a route is right where it is another one, or they are elsewhere', async t => {
  const allRight: ReadonlyArray<readonly [string, object]> = [
    ['a catch-all', { admin: true, routes: route('/*') }],
    ['a path that only begins like the prefix', { admin: true, routes: route('/_gateways') }],
    ['another method', { admin: true, routes: route('/health/live', { methods: 'POST' }) }],
    ['conditions', { admin: true, routes: [...route('/_gateway', { host: 'a.example' }), ...route('/health/ready', { headers: { 'x-a': '1' } })] }],
    ['a server of its own', { admin: { port: 9000 }, metrics: { path: '/_gateway' }, routes: route('/_gateway/status') }],
    ['no probe there', { admin: true, probes: { live: false, ready: false }, routes: [...route('/health/live'), ...route('/health/ready')] }],
    ['metrics elsewhere', { metrics: { port: 9100 }, probes: { live: '/metrics' } }],
    ['metrics and admin at ports that may differ', { metrics: { port: 9100, host: '127.0.0.2' }, admin: { port: 9100 } }],
    ['free ports', { metrics: { port: 0 }, admin: { port: 0 } }]
  ]
  for (const [name, options] of allRight) t.same(problemsOf(() => parseOptions({ backends, ...options })), [], name)
})

t.test('a plan shows what changes of them, and no token', async t => {
  const changes = (before: object, after: object) => {
    const [one, other] = [before, after].map(options => parseConfigText(JSON.stringify({ backends, ...options }), { path: 'gateway.yaml', env: {} }))
    return planChanges(one!, other!).global
  }
  t.same(changes({}, { admin: true }), [{ path: 'admin', from: undefined, to: true }])
  t.same(changes({ admin: true }, { admin: {}, probes: true }), [], 'the same in other words')
  t.same(changes({ admin: { token: TOKEN } }, { admin: { token: `${TOKEN}2`, port: 9000 } }), [
    { path: 'admin.token', from: '(changed)', to: '(changed)' },
    { path: 'admin.port', from: undefined, to: 9000 }
  ])
  t.same(changes({ admin: false }, { admin: { prefix: '/ops', token: TOKEN } }), [{ path: 'admin', from: false, to: { prefix: '/ops', token: '(changed)' } }])
  t.same(changes({ probes: true }, { probes: { ready: '/r', required: ['users'] } }), [
    { path: 'probes.ready', from: undefined, to: '/r' },
    { path: 'probes.required', from: undefined, to: ['users'] }
  ])
})

t.test('the schema of files knows them, and nothing that only code can say', async t => {
  const { properties } = configFileSchema() as { properties: Record<string, { anyOf: Array<{ properties?: Record<string, unknown> }> }> }
  const optionsOf = (name: string) => Object.keys(properties[name]!.anyOf.find(({ properties }) => properties !== undefined)!.properties!)
  t.same(optionsOf('admin'), ['prefix', 'token', 'port', 'host'])
  t.same(optionsOf('probes'), ['live', 'ready', 'required'])
})
