/** The JSON Schema of files, as an editor would use it. */
import t from 'tap'
import { Ajv } from 'ajv'
import { parse } from 'yaml'
import { configFileSchema } from '../../lib/json-schema.ts'

const EXAMPLE = `
$schema: ./schema.json
x-anything: { goes: here }
server: { host: 0.0.0.0, port: 8080, trustProxy: false }
backends:
  users: http://127.0.0.1:4001
  orders:
    targets: [http://127.0.0.1:4002, { url: http://127.0.0.1:4003/base, weight: 2, maxConnections: 50, metadata: { zone: a } }]
    balancer: weighted-round-robin
    pool: { connections: 128, keepAliveTimeout: 60s, connectTimeout: 5s }
    tls: { ca: ./ca.pem, cert: ./c.pem, key: ./k.pem, servername: orders.internal, rejectUnauthorized: true }
    http2: false
    host: upstream
    timeout: { headers: 10s, idle: 30s, total: 30s }
    headers: { request: { set: { x-source: gateway }, remove: [x-debug] }, response: { remove: [server, x-powered-by] } }
    redirects: { follow: 5 }
  sticky: { url: 'http://\${HOST}:4004', balancer: { type: hash, key: { header: x-user } }, pool: { connections: '\${CONNECTIONS:-8}' } }
defaultBackend: users
headers:
  request: { forward: '*', set: {}, append: {}, remove: [], rename: {} }
  forwarded: { for: append, proto: set, host: set, port: off, prefix: off, realIp: off, rfc7239: off }
  via: gateway
timeout: 30s
limits: { body: 10mb }
routes:
  - { name: orders, path: /api/orders/*, methods: [GET, POST], proxy: { backend: orders, rewrite: { stripPrefix: /api, addPrefix: /v1 } } }
  - { name: by-host, path: /*, host: [users.example.com, { regex: '^u' }], headers: { x-api-version: v2, x-b: { not: { prefix: a } } }, proxy: users }
  - { name: tpl, path: '/u/:id', proxy: { backend: users, rewrite: [{ template: '/api/users/:id' }], timeout: 2s } }
  - name: profile
    path: /api/user-profile/:id
    composite: { backends: [users, orders], strategy: merge, timeout: 5s, meta: true, partialStatus: 200 }
  - name: dashboard
    path: /api/dashboard/:id
    composite:
      strategy: object
      maxPartBytes: 1mb
      headers: { from: user, setCookie: none, request: { remove: [cookie] }, response: { set: { x-a: b } } }
      parts:
        user:   { backend: users, path: /api/users/:id, required: true, pick: [id, name], schema: { type: object } }
        orders: { backend: orders, path: /orders, query: { user: ':id', limit: 5, ids: ['{user.body.id}', 1] }, timeout: 800ms, fallback: { items: [] }, target: items }
        boss:   { backend: users, needs: [user], path: '/api/users/{user.body.bossId}', when: [{ value: '{user.body.bossId}', exists: true }, '{user.body.a}'], body: null }
        all:    { backend: users, forEach: { in: '{user.body.ids}', batch: true, join: { on: id, as: x } }, headers: { set: { x-a: '{item}' } }, body: { ids: ['{items}'] } }
`

const WRONG: Readonly<Record<string, string>> = {
  'an unknown option': 'backend: {}',
  'an option that only code has': 'balancers: {}',
  'a target of another scheme': 'backends: { a: ftp://a }',
  'a negative weight': 'backends: { a: [{ url: http://a, weight: -1 }] }',
  'a backend without targets': 'backends: { a: {} }',
  'a duration that is none': 'timeout: soon',
  'a route without a path': 'routes: [{ proxy: a }]',
  'two conditions in one': 'routes: [{ path: /, proxy: a, query: { q: { exact: a, prefix: b } } }]',
  'a certificate without its key': 'tls: { cert: ./c.pem }',
  'an unknown mode': 'headers: { forwarded: { for: maybe } }',
  'a composite without parts': 'routes: [{ path: /, composite: {} }]',
  'a composite beside a proxy': 'routes: [{ path: /, proxy: a, composite: { backends: [a] } }]',
  'a composite of no backends': 'routes: [{ path: /, composite: { backends: [] } }]',
  'an option a part does not have': 'routes: [{ path: /, composite: { parts: { a: { pth: / } } } }]',
  'a name that is no part\'s': 'routes: [{ path: /, composite: { parts: { "a.b": {} } } }]',
  'a part with two conditions in one': 'routes: [{ path: /, composite: { parts: { a: { when: { value: x, equals: 1, not: 2 } } } } }]',
  'another status of an incomplete answer': 'routes: [{ path: /, composite: { backends: [a], partialStatus: 207 } }]',
  'a transform in a file': 'routes: [{ path: /, composite: { backends: [a], transform: x } }]',
  'a hook in a file': 'routes: [{ path: /, proxy: { backend: a, modifyRequest: x } }]'
}

t.test('the schema is valid in strict mode, and the example is valid by it', async (t) => {
  const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true })
  const validate = ajv.compile(configFileSchema())
  t.ok(validate(parse(EXAMPLE)), JSON.stringify(validate.errors))
})

t.test('wrong files are not', async (t) => {
  const validate = new Ajv().compile(configFileSchema())
  for (const [name, text] of Object.entries(WRONG)) t.notOk(validate(parse(text)), name)
})

t.test('every property says what it is for', async (t) => {
  const missing: string[] = []
  walk(configFileSchema(), '', missing)
  t.same(missing, [])
})

t.test('each call makes a schema of its own', async (t) => {
  t.not(configFileSchema()['properties'], configFileSchema()['properties'])
  t.same(JSON.parse(JSON.stringify(configFileSchema())), configFileSchema())
})

function walk (schema: unknown, path: string, missing: string[]): void {
  if (Array.isArray(schema)) return schema.forEach((item, index) => { walk(item, `${path}[${index}]`, missing) })
  if (typeof schema !== 'object' || schema === null) return
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') {
      for (const [name, property] of Object.entries(value as Record<string, Record<string, unknown>>)) {
        if (typeof property['description'] !== 'string') missing.push(`${path}.${name}`)
        walk(property, `${path}.${name}`, missing)
      }
    } else walk(value, path, missing)
  }
}
