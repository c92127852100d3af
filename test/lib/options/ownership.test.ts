/** What the user passed stays the user's. */
import t from 'tap'
import { parseBackend, parseOptions, parseProxy } from '../../../lib/options/index.ts'
import { problemsOf } from './problems.ts'

function userOptions () {
  const buffer = Buffer.from('-----BEGIN CERTIFICATE-----\n')
  const pattern = /^\/a/g
  pattern.lastIndex = 3
  return {
    backends: { a: { targets: [{ url: 'http://a', metadata: { labels: ['x'], when: new Date(0), buffer } }], tls: { ca: [buffer] } } },
    headers: { request: { set: { 'x-a': 'b' }, remove: ['x-c'] } },
    routes: [{ path: '/', methods: ['GET'], host: pattern, proxy: { backend: 'a', rewrite: [{ regex: { pattern, replacement: '/b' } }] } }]
  }
}

function isFrozenSomewhere (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof RegExp || value instanceof Uint8Array) return false
  return Object.isFrozen(value) || Object.values(value).some(isFrozenSomewhere)
}

function isFrozenThroughout (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof RegExp || value instanceof Uint8Array || value instanceof Date) return true
  return Object.isFrozen(value) && Object.values(value).every(isFrozenThroughout)
}

t.test('nothing the user passed is changed or frozen', async (t) => {
  const options = userOptions()
  const before = userOptions()
  parseOptions(options)
  t.strictSame(options, before)
  t.notOk(isFrozenSomewhere(options))
  t.equal(options.routes[0]?.host.lastIndex, 3)
})

t.test('frozen options are taken too', async (t) => {
  const options = Object.freeze({ backends: Object.freeze({ a: Object.freeze(['http://a']) }) })
  t.equal(parseOptions(options).backends['a']?.targets[0]?.url, 'http://a')
})

t.test('the configuration is frozen throughout', async (t) => {
  t.ok(isFrozenThroughout(parseOptions(userOptions())))
  t.ok(isFrozenThroughout(parseBackend(['http://a'], {}, 'b')))
  t.ok(isFrozenThroughout(parseProxy({ headers: { request: { set: { a: 'b' } } } }, 'p')))
})

t.test('the configuration does not follow what the user changes later', async (t) => {
  const options = userOptions()
  const config = parseOptions(options)
  options.headers.request.set['x-a'] = 'changed'
  options.backends.a.targets[0]!.metadata.labels.push('y')
  options.routes[0]!.methods.push('PUT')
  t.equal(config.headers.request.set?.['x-a'], 'b')
  t.same(config.backends['a']?.targets[0]?.metadata['labels'], ['x'])
  t.same(config.routes[0]?.methods, ['GET'])
})

t.test('two configurations of the same options share nothing that could change', async (t) => {
  const options = userOptions()
  const [one, other] = [parseOptions(options), parseOptions(options)]
  t.not(one.backends['a'], other.backends['a'])
  t.not(one.routes[0]?.proxy, other.routes[0]?.proxy)
  const [first] = one.routes[0]?.match.hosts ?? []
  const [second] = other.routes[0]?.match.hosts ?? []
  t.not(first?.kind === 'regex' && first.value, second?.kind === 'regex' && second.value)
})

t.test('a key __proto__ is refused and pollutes nothing', async (t) => {
  const options: unknown = JSON.parse('{"backends":{"__proto__":"http://a","b":{"url":"http://b","metadata":{"deep":{"__proto__":{"polluted":1}}}}}}')
  t.match(problemsOf(() => parseOptions(options)), [
    { path: 'backends.__proto__', rule: 'must not be used as a name' },
    { path: 'backends.b.metadata.deep.__proto__', rule: 'must not be used as a name' }
  ])
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('what an object inherits is no option', async (t) => {
  const inherited = Object.create({ backends: { a: 'http://a' } }) as Record<string, unknown>
  t.match(problemsOf(() => parseOptions(inherited)), [{ path: '', rule: 'must be an object' }])
})

t.test('options that contain themselves are refused', async (t) => {
  const metadata: Record<string, unknown> = {}
  metadata['self'] = metadata
  t.throws(() => parseBackend({ url: 'http://a', metadata }, {}, 'b'), { message: /must not be nested this deep/ })
})
