/** `reverseproxy explain`. */
import t from 'tap'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { command } from './command.ts'

const asked: string[] = []
const server = createServer((request, response) => { asked.push(request.url!); response.end() })
await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
t.teardown(() => { server.close() })
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const folder = t.testdir({
  'gateway.yaml': [
    'health: { path: /health, interval: 10ms }',
    'backends:',
    `  users: { targets: [${url}, { url: "${url}/light", weight: 0 }], health: { path: /health } }`,
    `  orders: { targets: [{ url: ${url}, health: { path: /health } }], timeout: 5s, retry: { attempts: 3 }, circuitBreaker: false }`,
    `  found: { discovery: { consul: { address: ${url}, service: x } } }`,
    'trafficDump: { directory: ./dumps }',
    'tenancy:',
    '  header: x-tenant-id',
    `  tenants: { acme: { backends: { users: "${url}/acme" } } }`,
    'routes:',
    '  - { name: users, path: /users/*, proxy: { backend: users, rewrite: { stripPrefix: /users } } }',
    '  - { name: save, path: /orders, methods: [POST], headers: { x-version: "2" }, proxy: { backend: orders } }',
    '  - { name: found, path: /found, proxy: { backend: found } }',
    '  - { name: both, path: "/both/:id", composite: { parts: { user: { backend: users, path: "/u/:id" }, order: { backend: orders, path: "/o/{user.body.order}" } } } }'
  ].join('\n')
})
const file = join(folder, 'gateway.yaml')

t.test('it says which route, backend and target, and why not another', async (t) => {
  const { code, stdout, stderr } = await command(t, 'explain', file, '/users/7?a=b')
  t.equal(code, 0)
  t.equal(stderr, '')
  t.same(stdout.split('\n'), [
    'GET /users/7?a=b',
    'route   users (/users/*)',
    '',
    'GET users /7?a=b',
    '  timeouts connect 5 s, headers 30 s, idle 30 s, total off; no retries; circuit breaker on; round-robin',
    `  -> ${url}`,
    `     ${url}/light, weight 0  (weight 0)`,
    ''
  ])
})

t.test('method and headers', async (t) => {
  t.match(await command(t, 'explain', file, 'POST', '/orders', '-H', 'X-Version: 2', '--header', 'x-a: b:c'), { code: 0, stdout: /route {3}save \(\/orders\)[^]*POST orders \/orders[^]*3 attempts; circuit breaker off/ })
  t.match(await command(t, 'explain', file, 'POST', '/orders'), { code: 1, stdout: /route {3}none\nanswer {2}404/ })
})

t.test('a method that there is not, and the path of a route', async (t) => {
  t.match(await command(t, 'explain', file, 'FOO', '/orders'), { code: 2, stdout: '', stderr: /^reverseproxy: the method must be one of GET, HEAD, .*POST.* \(got "FOO"\)\n/ })
  t.match(await command(t, 'explain', file, '/both/:id'), { code: 0, stdout: /^GET \/both\/:id\nroute {3}both \(\/both\/:id\), composite\nnote {4}":id" is taken as it stands: this wants the path of a request, such as \/both\/7, not that of a route\n/ })
  t.match(JSON.parse((await command(t, 'explain', file, '/both/:id', '--json')).stdout), { note: /such as \/both\/7/ })
})

t.test('a tenant', async (t) => {
  t.match(await command(t, 'explain', file, '/users/7', '--tenant', 'acme'), { code: 0, stdout: new RegExp(`tenant  acme\n[^]*-> ${url}/acme`) })
  t.match(await command(t, 'explain', file, '/users/7', '-H', 'x-tenant-id: who'), { code: 0, stdout: /tenant {2}who \(not known\)/ })
})

t.test('the parts of a composite', async (t) => {
  t.match((await command(t, 'explain', file, '/both/7')).stdout, /route {3}both \(\/both\/:id\), composite[^]*user: GET users \/u\/7[^]*order: GET orders \/o\/\{user\.body\.order\} \(needs user\)/)
})

t.test('targets that are discovered are not known here', async (t) => {
  t.match(await command(t, 'explain', file, '/found'), { code: 0, stdout: /503 RP_ERR_NO_TARGET .*\(targets are discovered, and not known here\)/ })
})

t.test('as JSON', async (t) => {
  const { code, stdout } = await command(t, 'explain', file, '/users/7', '--json')
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { route: { name: 'users', kind: 'proxy' }, tenant: null, calls: [{ backend: 'users', chosen: url }] })
})

t.test('wrong usage ends with 2, a wrong file with 1', async (t) => {
  const usages: ReadonlyArray<readonly [args: string[], message: RegExp]> = [
    [['explain', file], /explain needs <file> <path>/],
    [['explain', file, 'users'], /the path must start with \//],
    [['explain', file, 'GET', '/a', '/b'], /does not know what to do with "\/b"/],
    [['explain', file, '/a', '-H', 'nothing'], /--header must be "name: value"/]
  ]
  for (const [args, message] of usages) t.match(await command(t, ...args), { code: 2, stdout: '', stderr: message }, args.join(' '))
  t.match(await command(t, 'explain', join(folder, 'none.yaml'), '/'), { code: 1, stderr: /no such file/ })
})

t.test('nobody was asked for any of it', async (t) => {
  t.same(asked, [])
  t.notOk(existsSync(join(folder, 'dumps')), 'nor is a folder made')
})
