/** Options of discovery: what they become, and what is refused. */
import t from 'tap'
import { join } from 'node:path'
import { parseConfigText } from '../../../lib/config-file.ts'
import { configFileSchema } from '../../../lib/json-schema.ts'
import { parseOptions, parseTenant, resolveTenant } from '../../../lib/options/index.ts'
import { problemsOf } from './problems.ts'

const discovery = (option: unknown) => ({ backends: { a: { discovery: option } } }) as never
const parsed = (option: unknown) => parseOptions(discovery(option)).backends['a']!.discovery!
const provider = { resolve: async () => [] }
const CERT = '-----BEGIN CERTIFICATE-----\nx'
const KEY = '-----BEGIN PRIVATE KEY-----\nsecret'

t.test('defaults', t => {
  t.same(parsed({ file: '/x.yaml' }), {
    source: { kind: 'file', file: { path: '/x.yaml', interval: 1000 } },
    bootTimeout: 10_000,
    onBootTimeout: 'degrade',
    onEmpty: 'keep',
    interval: 30_000,
    backoff: { initial: 500, max: 30_000 }
  })
  t.same(parsed({ dns: { name: 'orders.svc' } }).source, {
    kind: 'dns',
    dns: { name: 'orders.svc', type: 'A', port: undefined, scheme: 'http', servers: [], timeout: 2000, minInterval: 1000, maxInterval: 300_000 }
  })
  t.same(parsed({ consul: { service: 'orders' } }).source, {
    kind: 'consul',
    consul: {
      address: 'http://127.0.0.1:8500',
      service: 'orders',
      tags: [],
      datacenter: undefined,
      namespace: undefined,
      partition: undefined,
      token: undefined,
      passing: true,
      scheme: 'http',
      wait: 300_000,
      timeout: 10_000,
      consistency: 'default',
      tls: { rejectUnauthorized: true }
    }
  })
  t.same(parsed({ kubernetes: { service: 'orders' } }).source, {
    kind: 'kubernetes',
    kubernetes: { namespace: undefined, service: 'orders', port: undefined, scheme: undefined, kubeconfig: undefined, context: undefined }
  })
  t.same(parseOptions(discovery({ file: '/x' })).backends['a']!.targets, [])
  t.end()
})

t.test('everything said', t => {
  t.same(parsed({ static: ['http://a', { url: 'http://b', weight: 2, zone: 'x' }], bootTimeout: 0, onBootTimeout: 'refuse', onEmpty: 'clear', interval: '5s', backoff: { initial: '1s', max: '2s' } }), {
    source: { kind: 'static', targets: [{ url: 'http://a' }, { url: 'http://b', weight: 2, zone: 'x' }] },
    bootTimeout: 0,
    onBootTimeout: 'refuse',
    onEmpty: 'clear',
    interval: 5000,
    backoff: { initial: 1000, max: 2000 }
  })
  t.match(parsed({ dns: { name: '_http._tcp.orders.consul.', type: 'SRV', server: '127.0.0.1:8600' } }).source, { dns: { servers: ['127.0.0.1:8600'] } })
  for (const server of ['10.0.0.1', 'fd00::2', '[fd00::2]:53', '[fd00::2]', 'ns.example.com:53']) t.match(parsed({ dns: { name: 'x', servers: [server] } }).source, { dns: { servers: [server] } })
  t.match(parsed({ consul: { service: 'x', tag: 'v2', address: 'unix:///run/consul.sock' } }).source, { consul: { tags: ['v2'], address: 'unix:///run/consul.sock' } })
  t.match(parsed({ kubernetes: { service: 'x', port: 8080 } }).source, { kubernetes: { port: 8080 } })
  t.end()
})

t.test('a provider is the object that was given, and is not frozen', t => {
  class Mine { asked = 0; async resolve () { this.asked++; return [] } }
  for (const given of [provider, new Mine()]) {
    const { source } = parsed({ provider: given })
    t.equal(source.kind === 'provider' && source.provider, given)
    t.notOk(Object.isFrozen(given))
  }
  t.end()
})

const WRONG: ReadonlyArray<readonly [name: string, option: unknown, path: string, rule: RegExp, value?: unknown]> = [
  ['no object', false, '', /must be an object/, false],
  ['no source', { interval: 5 }, '', /exactly one of static, file, dns, consul, kubernetes, provider/, { interval: 5 }],
  ['two sources, and no secret is shown', { file: '/x', consul: { service: 'x', token: 'hush' } }, '', /exactly one of static/, { file: '/x', consul: { service: 'x', token: '(not shown)' } }],
  ['another name for kubernetes', { k8s: {}, file: '/x' }, '.k8s', /did you mean "kubernetes"/, {}],
  ['an empty static list', { static: [] }, '.static', /must not be empty/, []],
  ['a static target that is none', { static: ['ftp://a'] }, '.static[0]', /must be a URL with http/, 'ftp://a'],
  ['a static target twice', { static: ['http://a', { url: 'http://A:80' }] }, '.static[1].url', /must not be a target twice/, 'http://a'],
  ['a file without a path', { file: {} }, '.file.path', /is required/],
  ['a DNS name that is none', { dns: { name: 'a b' } }, '.dns.name', /must be a DNS name/, 'a b'],
  ['a type that DNS has but we do not', { dns: { name: 'a', type: 'MX' } }, '.dns.type', /must be one of "A"/, 'MX'],
  ['a port beside SRV', { dns: { name: 'a', type: 'SRV', port: 80 } }, '.dns.port', /does nothing beside type: SRV/, 80],
  ['a server and servers', { dns: { name: 'a', server: '10.0.0.1', servers: ['10.0.0.2'] } }, '.dns.server', /must not stand beside servers/, '10.0.0.1'],
  ['a server that is none', { dns: { name: 'a', server: 'http://x' } }, '.dns.server', /must be an address/, 'http://x'],
  ['a server with a wrong port', { dns: { name: 'a', server: '10.0.0.1:99999' } }, '.dns.server', /must be an address/, '10.0.0.1:99999'],
  ['bounds the wrong way round', { dns: { name: 'a', minInterval: '10m' } }, '.dns.minInterval', /must not be above maxInterval \(5m\)/, '10m'],
  ['an upper bound below the lower one', { dns: { name: 'a', maxInterval: 5 } }, '.dns.maxInterval', /must not be below minInterval \(1s\)/, 5],
  ['Consul without a service', { consul: {} }, '.consul.service', /is required/],
  ['an address with a password', { consul: { service: 'x', address: 'http://u:hush@c' } }, '.consul.address', /must not have a user name or password: set token/, 'http://[redacted]@c'],
  ['a tag and tags', { consul: { service: 'x', tag: 'a', tags: ['b'] } }, '.consul.tag', /must not stand beside tags/, 'a'],
  ['a token that is no text', { consul: { service: 'x', token: 5 } }, '.consul.token', /must be a text/, '(not shown)'],
  ['TLS to an agent without', { consul: { service: 'x', tls: { ca: CERT } } }, '.consul.tls', /does nothing unless address begins with https/],
  ['a key that is none', { consul: { service: 'x', address: 'https://c', tls: { cert: CERT, key: 'hush' } } }, '.consul.tls.key', /must be PEM/, '(not shown)'],
  ['a certificate alone', { consul: { service: 'x', address: 'https://c', tls: { key: KEY } } }, '.consul.tls.cert', /is required beside key/],
  ['Kubernetes without a service', { kubernetes: { namespace: 'shop' } }, '.kubernetes.service', /is required/],
  ['port 0', { kubernetes: { service: 'x', port: 0 } }, '.kubernetes.port', /must be a whole number between 1 and 65535/, 0],
  ['a port that is a list', { kubernetes: { service: 'x', port: [80] } }, '.kubernetes.port', /must be the name of a port or a number/, [80]],
  ['a provider that is a function', { provider: () => [] }, '.provider', /must be an object with a function resolve/],
  ['a provider without resolve', { provider: { watch () {} } }, '.provider', /must be an object with a function resolve/],
  ['a provider whose watch is none', { provider: { resolve () {}, watch: true } }, '.provider', /must be an object with a function resolve/],
  ['another word for onEmpty', { file: '/x', onEmpty: 'ignore' }, '.onEmpty', /must be one of "keep", "clear"/, 'ignore'],
  ['another word for onBootTimeout', { file: '/x', onBootTimeout: 'fail' }, '.onBootTimeout', /must be one of "degrade", "refuse"/, 'fail'],
  ['no interval', { file: '/x', interval: 0 }, '.interval', /above 0/, 0],
  ['waits the wrong way round', { file: '/x', backoff: { initial: '1m' } }, '.backoff.initial', /must not be above max \(30s\)/, '1m']
]

t.test('what is wrong is refused with path, rule and value', t => {
  for (const [name, option, path, rule, ...value] of WRONG) {
    const problems = problemsOf(() => parseOptions(discovery(option)))
    const found = problems.find(problem => problem.path === `backends.a.discovery${path}`)
    t.match(found?.rule, rule, `${name}: ${JSON.stringify(problems)}`)
    if (value.length > 0) t.same(found?.value, value[0], name)
    t.notMatch(JSON.stringify(problems), /hush/, name)
  }
  t.end()
})

t.test('beside url and targets it is one too many, and its secrets are not shown', t => {
  const consul = { service: 'x', token: 'hush' }
  const [found] = problemsOf(() => parseOptions({ backends: { a: { url: 'http://a', discovery: { consul } } } }))
  t.match(found, { path: 'backends.a', rule: /exactly one of url, targets, discovery/ })
  const [ofTenant] = problemsOf(() => parseOptions({ backends: { a: 'http://a' }, tenancy: { tenants: { t: { backends: { a: { url: 'http://a', discovery: { consul } } } } } } }))
  t.match(ofTenant, { path: 'tenancy.tenants.t.backends.a', rule: /must have one of url, targets, discovery/ })
  t.notMatch(JSON.stringify([found, ofTenant]), /hush/)
  t.end()
})

t.test('paths of a file start from its folder, wherever the options are read again', t => {
  const folder = t.testdir({ 'ca.pem': CERT })
  const text = `
backends:
  a: { discovery: { file: list.yaml } }
  b: { discovery: { kubernetes: { service: x, kubeconfig: ./kube.yaml } } }
  c: { discovery: { consul: { service: x, address: https://c, tls: { ca: ca.pem } } } }
tenancy: { tenants: { acme: { backends: { a: { discovery: { file: { path: ../acme.yaml } } } } } } }
`
  const { config, gateway } = parseConfigText(text, { path: join(folder, 'gateway.yaml'), env: {} })
  for (const options of [config, parseOptions(gateway)]) {
    const sources = Object.values(options.backends).map(({ discovery }) => discovery!.source)
    t.match(sources, [{ file: { path: join(folder, 'list.yaml') } }, { kubernetes: { kubeconfig: join(folder, 'kube.yaml') } }, { consul: { tls: { ca: CERT } } }])
    const acme = resolveTenant('acme', options.tenancy!.tenants['acme'] as object, options)
    t.match(acme.backend('a', options.backends['a']), { ownTargets: true, config: { discovery: { source: { file: { path: join(folder, '..', 'acme.yaml') } } } } })
  }
  t.end()
})

t.test('of a tenant: url, targets and discovery take each other\'s place', t => {
  const gateway = parseOptions({ backends: { a: { discovery: { static: ['http://all'] }, timeout: '3s' }, b: 'http://b' }, tenancy: {} })
  const of = (backends: object, name = 'a') => {
    const options = parseTenant({ backends }, 'acme', gateway)
    return resolveTenant('acme', options as object, gateway).backend(name, gateway.backends[name])!
  }
  t.match(of({ a: 'http://own' }), { ownTargets: true, config: { targets: [{ url: 'http://own' }], timeout: { total: 3000 } } })
  t.equal(of({ a: 'http://own' }).config.discovery, undefined)
  t.match(of({ b: { discovery: { static: ['http://own'] } } }, 'b'), { ownTargets: true, config: { targets: [], discovery: { source: { kind: 'static' } } } })
  t.match(of({ a: { discovery: { provider } } }).config.discovery!.source, { kind: 'provider' }, 'and not both sources')
  t.match(of({ a: { timeout: '1s' } }), { ownTargets: false })
  t.end()
})

t.test('the JSON Schema knows it, without what only code can have', t => {
  const text = JSON.stringify(configFileSchema())
  t.match(text, /"kubernetes"/)
  const { properties } = configFileSchema() as { properties: { backends: { patternProperties: Record<string, { anyOf: Array<{ properties?: { discovery?: { properties: object } } }> }> } } }
  const branch = Object.values(properties.backends.patternProperties)[0]!.anyOf.find(branch => branch.properties?.discovery !== undefined)!
  t.same(Object.keys(branch.properties!.discovery!.properties).slice(0, 6), ['static', 'file', 'dns', 'consul', 'kubernetes', 'bootTimeout'])
  t.end()
})
