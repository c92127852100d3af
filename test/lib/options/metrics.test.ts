/** Options of metrics: what they become, and what is refused. */
import t from 'tap'
import { Registry } from 'prom-client'
import { parseConfigText } from '../../../lib/config-file.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001' }
const DEFAULT = {
  path: '/metrics',
  port: undefined,
  host: '127.0.0.1',
  registry: undefined,
  prefix: 'reverseproxy_',
  defaultMetrics: true,
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  tenants: true,
  allRoutes: false
}

t.test('they are off unless asked for', async t => {
  t.equal(parseOptions({ backends }).metrics, undefined)
  t.equal(parseOptions({ backends, metrics: false }).metrics, undefined)
})

t.test('true and an empty object are the defaults', async t => {
  t.strictSame(parseOptions({ backends, metrics: true }).metrics, DEFAULT)
  t.strictSame(parseOptions({ backends, metrics: {} }).metrics, DEFAULT)
})

t.test('what is said comes over the defaults', async t => {
  const registry = new Registry()
  const said = { port: 9100, host: '::1', registry, prefix: '', defaultMetrics: false, buckets: [0, 1], tenants: false, allRoutes: true }
  const { metrics } = parseOptions({ backends, metrics: { path: false, ...said, port: undefined, host: undefined } })
  t.strictSame({ ...metrics, registry: 0 }, { ...DEFAULT, ...said, port: undefined, host: '127.0.0.1', path: undefined, registry: 0 })
  t.equal(metrics!.registry, registry, 'the registry is the user\'s own')
  t.notOk(Object.isFrozen(registry))
  t.has(parseOptions({ backends, metrics: said }).metrics, { port: 9100, host: '::1', path: '/metrics' })
})

t.test('a file may say all but the registry', async t => {
  const text = 'backends: { users: http://127.0.0.1:4001 }\nmetrics: { path: /m, port: 9100, host: 0.0.0.0, prefix: gw_, defaultMetrics: false, buckets: [0.1, 1], tenants: false, allRoutes: true }\n'
  const { config } = parseConfigText(text, { path: 'gateway.yaml', env: {} })
  t.has(config.metrics, { path: '/m', port: 9100, host: '0.0.0.0', prefix: 'gw_', defaultMetrics: false, buckets: [0.1, 1], tenants: false, allRoutes: true })
  t.match(problemsOf(() => parseConfigText('metrics: { registry: default }', { path: 'gateway.yaml', env: {} })), [{ path: 'metrics.registry', rule: /Registry of prom-client/, line: 1 }])
})

class Other {}
const other = new Other()

const WRONG: readonly Wrong[] = [
  ['a path in place of an object', { metrics: '/metrics' }, 'metrics', /must be true, false, or an object such as/, '/metrics'],
  ['an unknown option', { metrics: { pth: '/m' } }, 'metrics.pth', /did you mean "path"\?/, '/m'],
  ['an endpoint', { metrics: { endpoint: '/m' } }, 'metrics.endpoint', /did you mean "path"\?/, '/m'],
  ['enabled', { metrics: { enabled: true } }, 'metrics.enabled', /use metrics: true or false/, true],
  ['labels of tenants', { metrics: { labels: 5 } }, 'metrics.labels', /tenancy\.labels/, 5],
  ['a path without a slash', { metrics: { path: 'metrics' } }, 'metrics.path', /must start with "\/"/, 'metrics'],
  ['a path with a parameter', { metrics: { path: '/:a' } }, 'metrics.path', /must be one path: without parameters/, '/:a'],
  ['a path with a query', { metrics: { path: '/m?a=b' } }, 'metrics.path', /must be a plain path; this one holds a query/, '/m?a=b'],
  ['true for a path', { metrics: { path: true } }, 'metrics.path', /must be a path that begins with "\/", or false/, true],
  ['a port beyond all', { metrics: { port: 65536 } }, 'metrics.port', /a whole number between 0 and 65535/, 65536],
  ['a port that nobody asks', { metrics: { path: false, port: 9100 } }, 'metrics.port', /has no effect beside path: false/, 9100],
  ['a host with a space', { metrics: { port: 1, host: 'a b' } }, 'metrics.host', /must be an address or a host name/, 'a b'],
  ['a host without a port', { metrics: { host: '0.0.0.0' } }, 'metrics.host', /has no effect without port/, '0.0.0.0'],
  ['a registry by name', { metrics: { registry: 'default' } }, 'metrics.registry', /must be a Registry of prom-client/, 'default'],
  ['a registry that is another thing', { metrics: { registry: other } }, 'metrics.registry', /must be a Registry of prom-client/],
  ['a plain object as a registry', { metrics: { registry: {} } }, 'metrics.registry', /must be a Registry of prom-client/, {}],
  ['a prefix with a dash', { metrics: { prefix: 'my-' } }, 'metrics.prefix', /must be letters, digits/, 'my-'],
  ['a prefix that begins with a digit', { metrics: { prefix: '1_' } }, 'metrics.prefix', /not begin with a digit/, '1_'],
  ['a text for a switch', { metrics: { defaultMetrics: 'no' } }, 'metrics.defaultMetrics', /must be true or false/, 'no'],
  ['a number of tenants', { metrics: { tenants: 20 } }, 'metrics.tenants', /must be true or false/, 20],
  ['a text for all routes', { metrics: { allRoutes: 'yes' } }, 'metrics.allRoutes', /must be true or false/, 'yes'],
  ['no buckets', { metrics: { buckets: [] } }, 'metrics.buckets', /must not be empty/, []],
  ['a bucket below zero', { metrics: { buckets: [-1] } }, 'metrics.buckets[0]', /must be a number of 0 or more/, -1],
  ['buckets that do not grow', { metrics: { buckets: [1, 5, 5] } }, 'metrics.buckets[2]', /must be more than the one before/, 5],
  ['a route at the path of the metrics', { backends, metrics: true, routes: [{ path: '/metrics', proxy: 'users' }] }, 'routes[0].path', /must not be the path of the metrics/, '/metrics'],
  ['the same with methods', { backends, metrics: { path: '/m' }, routes: [{ path: '/m', methods: ['POST', 'HEAD'], proxy: 'users' }] }, 'routes[0].path', /must not be the path of the metrics/, '/m']
]

t.test('every wrong option is refused with the path, the rule and the value', async t => {
  for (const wrong of WRONG) checkWrong(t, wrong)
})

t.test('a route at the path of the metrics is right where it is another one, or they are elsewhere', async t => {
  const route = (more: object) => [{ path: '/metrics', proxy: 'users', ...more }]
  t.doesNotThrow(() => parseOptions({ backends, metrics: true, routes: route({ methods: 'POST' }) }))
  t.doesNotThrow(() => parseOptions({ backends, metrics: true, routes: route({ host: 'a.example' }) }))
  t.doesNotThrow(() => parseOptions({ backends, metrics: { port: 9100 }, routes: route({}) }))
  t.doesNotThrow(() => parseOptions({ backends, metrics: { path: false }, routes: route({}) }))
  t.doesNotThrow(() => parseOptions({ backends, routes: route({}) }))
})
