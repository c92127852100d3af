/** The configuration in force, as the admin interface shows it: all of it, in plain JSON, and nothing secret. */
import t from 'tap'
import type { Test } from 'tap'
import { Registry } from 'prom-client'
import fc from 'fast-check'
import { createMask } from '../../lib/admin/mask.ts'
import { buildGateway } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'

interface Shown { [name: string]: Shown }

async function configOf (t: Test, options: GatewayOptions): Promise<{ text: string, config: Shown }> {
  const app = await buildGateway({ admin: { token: SECRET }, ...options } as GatewayOptions, () => {})
  t.teardown(() => app.close())
  await app.ready()
  const response = await app.inject({ url: '/_gateway/config', headers: { authorization: `Bearer ${SECRET}` } })
  if (response.statusCode !== 200) throw new Error(response.body)
  return { text: response.body, config: response.json<Shown>() }
}

/** Stands in every secret: it must be nowhere. */
const SECRET = 's3cr3t-value-4711'
const PEM = `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----\n`

t.test('what is in force, with its defaults', async t => {
  const { config } = await configOf(t, {
    backends: { up: { targets: ['http://127.0.0.1:1'], timeout: '7s', balancer: { type: 'hash', key: { header: 'x-user' } } }, auth: 'http://127.0.0.1:2', token: 'http://127.0.0.1:3' },
    routes: [{ name: 'r', path: '/r/*', proxy: { backend: 'up', rewrite: { regex: { pattern: '^/r', replacement: '' } } } }],
    tenancy: { pattern: '^[a-z]+$' }
  } as GatewayOptions)
  t.match(config, {
    backends: {
      up: { targets: [{ url: 'http://127.0.0.1:1', maxConnections: null }], timeout: { total: 7000 }, balancer: { type: 'hash', key: { header: 'x-user' } } },
      auth: { targets: [{ url: 'http://127.0.0.1:2' }] },
      token: { targets: [{ url: 'http://127.0.0.1:3' }] }
    },
    routes: [{ name: 'r', path: '/r/*', proxy: { rewrite: [{ kind: 'regex', pattern: '/^\\/r/' }] } }],
    admin: { prefix: '/_gateway', token: '[redacted]' },
    shutdown: { timeout: 10_000 },
    limits: { body: null },
    metrics: '(off: counted for the admin interface only)'
  })
  t.notOk('said' in config.backends!.up!)
  t.notOk('random' in config)
})

t.test('backends are as they have become', async t => {
  const app = await buildGateway({ backends: { up: 'http://127.0.0.1:1' }, admin: true }, () => {})
  t.teardown(() => app.close())
  await app.ready()
  app.reverseproxy.backends.add('late', { targets: ['http://127.0.0.1:2'], timeout: '3s' })
  app.reverseproxy.backends.update('up', 'http://127.0.0.1:3')
  t.match((await app.inject('/_gateway/config')).json(), { backends: { up: { targets: [{ url: 'http://127.0.0.1:3' }] }, late: { timeout: { total: 3000 } } } })
})

t.test('no secret of a configuration is shown', async t => {
  const { text, config } = await configOf(t, {
    backends: {
      up: {
        targets: [{ url: 'http://127.0.0.1:1', metadata: { apiKey: SECRET, note: `see http://user:${SECRET}@example.com/`, deep: { list: [{ password: SECRET }] } } }],
        health: { path: `/health?token=${SECRET}`, headers: { authorization: `Bearer ${SECRET}`, 'x-api-key': SECRET }, interval: '1h' },
        headers: { request: { set: { Authorization: `Basic ${SECRET}`, 'X-Auth-Token': SECRET, 'x-upstream-auth': SECRET, 'x-plain': 'shown' }, append: { Cookie: [`a=${SECRET}`, `b=${SECRET}`] } }, response: { set: { 'Set-Cookie': `sid=${SECRET}` } } },
        httpProxy: { url: 'http://127.0.0.1:9', username: SECRET, password: SECRET },
        metadata: { db_password: SECRET }
      },
      consul: { discovery: { consul: { address: 'http://127.0.0.1:9', service: 'x', token: SECRET }, onBootTimeout: 'degrade', bootTimeout: '10ms' } }
    },
    headers: { request: { set: { 'x-gateway-token': SECRET } } },
    routes: [
      { name: 'q', path: '/q', headers: { 'x-api-key': SECRET }, proxy: { backend: 'up', rewrite: { query: { set: { access_token: SECRET, plain: 'shown' } } } } },
      { name: 'c', path: '/c', composite: { parts: { a: { backend: 'up', path: `/p?api_key=${SECRET}`, query: { token: SECRET }, headers: { set: { 'x-client-secret': SECRET } } } } } }
    ],
    tenancy: { hashIds: SECRET, tenants: { acme: { headers: { request: { set: { 'x-secret': SECRET } } }, metadata: { clientSecret: SECRET } }, auth: { metadata: { plan: 'shown' } } } }
  } as unknown as GatewayOptions)
  t.notMatch(text, new RegExp(SECRET))
  const { up } = config.backends as Shown
  t.equal(up!.headers!.request!.set!['x-plain'], 'shown')
  t.match(config.tenancy, { tenants: { auth: { metadata: { plan: 'shown' } } } })
  t.match(up!.targets, [{ metadata: { note: 'see http://[redacted]@example.com/' } }])
})

t.test('private keys, whatever they are called', t => {
  const { json } = createMask([])
  t.same(json({ tls: { key: PEM, cert: '-----BEGIN CERTIFICATE-----\nabc' }, other: PEM, list: [PEM, 'x'], bundle: `-----BEGIN CERTIFICATE-----\nabc\n-----BEGIN RSA PRIVATE KEY-----\n${SECRET}` }), {
    tls: { key: '[redacted]', cert: '-----BEGIN CERTIFICATE-----\nabc' }, other: '[redacted]\n', list: ['[redacted]\n', 'x'], bundle: '-----BEGIN CERTIFICATE-----\nabc\n[redacted]'
  })
  t.end()
})

t.test('what the dump is told to keep to itself is secret here, too', async t => {
  const { text, config } = await configOf(t, {
    backends: { up: { targets: [{ url: 'http://127.0.0.1:1', metadata: { iban: SECRET, card: { number: SECRET } } }], headers: { request: { set: { 'x-internal': SECRET } } } } },
    trafficDump: { directory: t.testdir({}), redact: { headers: ['x-internal'], json: ['iban', 'card.number'] } }
  } as GatewayOptions)
  t.notMatch(text, new RegExp(SECRET))
  t.match(config, { trafficDump: { redact: { headers: ['x-internal'] } } })
})

t.test('what only a program can use is left out or named', async t => {
  const registry = new Registry()
  const { config } = await configOf(t, { backends: { up: 'http://127.0.0.1:1' }, metrics: { registry, path: '/m' }, balancers: { mine: () => ({ pick: targets => targets[0] }) } } as GatewayOptions)
  t.notOk('registry' in config.metrics!)
  t.match(config, { metrics: { path: '/m' }, balancers: { mine: '(a function)' } })
  const circular: Record<string, unknown> = { a: 1n, b: Infinity, c: new Date(0), d: Symbol('x'), e: Buffer.from('abc'), f: [() => 1, undefined, NaN] }
  circular['self'] = circular
  t.same(createMask([]).json(circular), { a: 1n, b: null, c: '1970-01-01T00:00:00.000Z', e: '(3 bytes)', f: ['(a function)', null, null], self: '(circular)', d: undefined })
})

t.test('metrics are shown as they are in force', async t => {
  const shown = async (metrics: unknown): Promise<unknown> => (await configOf(t, { backends: { up: 'http://127.0.0.1:1' }, metrics } as GatewayOptions)).config.metrics
  t.equal(await shown(false), '(off: counted for the admin interface only)')
  t.match(await shown(true), { path: '/metrics', defaultMetrics: true })
  t.match(await shown({ path: false }), { path: false, defaultMetrics: true }, 'for a registry that is shown elsewhere')
})

t.test('very many tenants are only counted', async t => {
  const tenants = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`t${index}`, {}]))
  t.match((await configOf(t, { backends: { up: 'http://127.0.0.1:1' }, tenancy: { tenants } } as GatewayOptions)).config, { tenancy: { tenants: '(101 tenants)' } })
})

t.test('property: whatever stands under the name of a secret is not shown, at any depth', t => {
  const { json } = createMask([])
  const names = ['token', 'password', 'accessToken', 'api_key', 'x-api-key', 'authorization', 'Cookie', 'set-cookie', 'clientSecret', 'private_key', 'passphrase']
  const secret = fc.constantFrom<unknown>(SECRET, [SECRET], { a: SECRET }, [[{ b: [SECRET] }]])
  fc.assert(fc.property(fc.array(fc.constantFrom('a', 'b', 'list', 'headers', 'set'), { maxLength: 5 }), fc.constantFrom(...names), secret, (way, name, value) => {
    const config = way.reduceRight<unknown>((inner, step) => step === 'list' ? [inner, 'x', 'y'] : { [step]: inner }, { [name]: value })
    return !JSON.stringify(json(config)).includes(SECRET)
  }))
  t.end()
})
