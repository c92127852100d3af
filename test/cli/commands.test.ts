/** The commands that do not serve: `check`, `routes`, `schema`, and wrong usage. */
import t from 'tap'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkFile } from '../../cli/check.ts'
import { command, start } from './command.ts'

const folder = t.testdir({
  'good.yaml': [
    'backends: { users: http://127.0.0.1:4001, orders: [http://127.0.0.1:4002] }',
    'defaultBackend: users',
    'routes:',
    '  - { name: orders, path: /api/orders/*, methods: [GET, POST], proxy: { backend: orders, rewrite: { stripPrefix: /api } } }',
    '  - { path: /v2, host: "*.example.com", headers: { x-v: { not: "1" } }, proxy: {} }'
  ].join('\n'),
  'composite.yaml': [
    'backends: { users: http://127.0.0.1:4001, orders: http://127.0.0.1:4002 }',
    'defaultBackend: users',
    'routes:',
    '  - { name: profile, path: "/profile/:id", composite: { backends: [users, orders] } }',
    '  - { name: board, path: "/board/:id", methods: POST, composite: { parts: { users: {}, boss: { needs: [users] }, orders: { backend: orders } } } }'
  ].join('\n'),
  'cycle.yaml': 'backends: { users: http://a }\nroutes:\n  - path: /\n    composite: { parts: { a: { backend: users, path: "/{b.body.x}" }, b: { backend: users, path: "/{c.body.x}" } } }\n',
  'bad.yaml': 'backends:\n  users: http://a\n  orders:\n    targets: [{ url: http://b, weight: -1 }]\ndefaultBackend: user\n'
})
const good = join(folder, 'good.yaml')
const bad = join(folder, 'bad.yaml')

t.test('the command is a program with an exit code', async (t) => {
  t.match(await start(['check', bad]).finished, { code: 1, stdout: '', stderr: /2 wrong options/ })
})

t.test('check says OK and ends with 0', async (t) => {
  t.same(await command(t, 'check', good), { code: 0, stdout: `${good}: OK (2 backends, 2 routes)\n`, stderr: '' })
})

t.test('check lists everything that is wrong with place, path, rule and value, and ends with 1', async (t) => {
  const { code, stdout, stderr } = await command(t, 'check', bad)
  t.equal(code, 1)
  t.equal(stdout, '')
  t.same(stderr.split('\n'), [
    `${bad}: 2 wrong options`,
    'bad.yaml:4:32  backends.orders.targets[0].weight: must be a number of 0 or more (got -1)',
    'bad.yaml:5:1  defaultBackend: must be the name of a backend; known are users, orders; did you mean "users"? (got "user")',
    ''
  ])
})

t.test('check tells what packages are missing: a warning where the gateway would start without, else an error', async (t) => {
  const found = { namespace: 'shop', service: 'orders' }
  const without = async (options: Record<string, unknown>, ...names: string[]) => {
    const file = join(folder, 'packages.json')
    writeFileSync(file, JSON.stringify(options))
    const capture = (stream: NodeJS.WriteStream) => t.capture(stream, 'write', () => true)
    const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)]
    const code = await checkFile(file, name => !names.includes(name)).catch((error: Error) => error.message)
    const [out = '', err = ''] = [stdout, stderr].map(calls => calls().map(({ args: [text] }) => String(text).replaceAll(file, 'FILE')).join(''))
    stdout.restore()
    stderr.restore()
    return { code: typeof code === 'number' ? code : code.replaceAll(file, 'FILE'), out, err }
  }
  const needs = (name: string) => `needs the package "${name}": npm install ${name}`
  const options = { backends: { a: 'http://a', b: { discovery: { kubernetes: found } } }, tenancy: { tenants: { acme: { backends: { a: { discovery: { kubernetes: found } } } }, none: false } } }
  const ok = 'FILE: OK (2 backends, 0 routes)\n'
  t.same(await without(options), { code: 0, out: ok, err: '' })
  t.same(await without(options, '@kubernetes/client-node'), {
    code: 0,
    out: ok,
    err: ['backends.b', 'tenancy.tenants.acme.backends.a'].map(path => `FILE: warning: ${path}.discovery.kubernetes: ${needs('@kubernetes/client-node')}\n`).join('')
  })
  t.same(await without({ backends: { b: { discovery: { kubernetes: found, onBootTimeout: 'refuse' } } } }, '@kubernetes/client-node'), {
    code: `FILE: wrong option\n  backends.b.discovery.kubernetes: ${needs('@kubernetes/client-node')}`, out: '', err: ''
  })
  t.same(await without({ backends: { a: 'http://a' }, tracing: true }, '@opentelemetry/api'), { code: `FILE: wrong option\n  tracing: ${needs('@opentelemetry/api')}`, out: '', err: '' })
  t.same(await without({ backends: { a: 'http://a', c: 'http://c' } }, '@kubernetes/client-node', '@opentelemetry/api'), { code: 0, out: ok, err: '' })
})

t.test('check warns of an admin interface that would refuse everybody, in the words of the log', async (t) => {
  const file = join(folder, 'admin.json')
  const warned = async (server: object, admin: unknown) => {
    writeFileSync(file, JSON.stringify({ backends: { a: 'http://a' }, server, admin }))
    const { code, stderr } = await command(t, 'check', file)
    t.equal(code, 0)
    return stderr.replaceAll(file, 'FILE')
  }
  const warning = 'FILE: warning: the admin interface refuses everybody, since the server listens on more than loopback addresses: set admin.token or admin.preHandler, or give it a port of its own (admin.port)\n'
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'gateway.example.com']) {
    t.equal(await warned({ host }, true), warning, host)
    t.equal(await warned({}, { port: 9000, host }), warning, `${host} of its own`)
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    t.equal(await warned({ host }, true), '', host)
    t.equal(await warned({}, { port: 9000, host }), '', `${host} of its own`)
  }
  t.equal(await warned({}, true), '')
  t.equal(await warned({ host: '0.0.0.0' }, { token: 'a'.repeat(32) }), '')
  t.equal(await warned({ host: '0.0.0.0' }, { port: 9000 }), '')
  t.equal(await warned({ host: '0.0.0.0' }, false), '')
})

t.test('check warns of a folder of the traffic dump that cannot be written to, and makes none', async (t) => {
  const file = join(folder, 'dumping.json')
  const warned = async (directory: string) => {
    writeFileSync(file, JSON.stringify({ backends: { a: 'http://a' }, trafficDump: { directory } }))
    const { code, stderr } = await command(t, 'check', file)
    t.equal(code, 0)
    return stderr
  }
  t.equal(await warned('dumping.json/dumps'), `${file}: warning: trafficDump.directory: cannot be written to here: there is a file where its path has a folder (got "${join(file, 'dumps')}")\n`)
  t.equal(await warned('dumps'), '')
  t.notOk(existsSync(join(folder, 'dumps')))
})

t.test('check of a file that is not there ends with 1', async (t) => {
  const none = join(folder, 'none.yaml')
  for (const name of ['check', 'serve', 'routes']) t.same(await command(t, name, none), { code: 1, stdout: '', stderr: `${none}: no such file\n` })
})

t.test('routes prints an aligned table', async (t) => {
  const { code, stdout } = await command(t, 'routes', good)
  t.equal(code, 0)
  t.same(stdout.split('\n'), [
    'NAME       METHODS   PATH           CONDITIONS                                 BACKEND  REWRITE',
    'orders     GET,POST  /api/orders/*                                             orders   strip /api',
    '/v2        any       /v2            host *.example.com and header x-v not = 1  users',
    '(default)  any       /*                                                        users',
    ''
  ])
})

t.test('routes names the strategy and the parts of a composite', async (t) => {
  t.same((await command(t, 'routes', join(folder, 'composite.yaml'))).stdout.split('\n'), [
    'NAME       METHODS   PATH          BACKEND',
    'profile    GET,HEAD  /profile/:id  merge(users, orders)',
    'board      POST      /board/:id    object(users, boss: users, orders)',
    '(default)  any       /*            users',
    ''
  ])
})

t.test('check looks into the templates of a composite', async (t) => {
  const { code, stderr } = await command(t, 'check', join(folder, 'cycle.yaml'))
  t.equal(code, 1)
  t.match(stderr, /cycle\.yaml:4:\d+ +routes\[0\]\.composite\.parts\.b\.path: must refer to a part/)
})

t.test('schema prints the JSON Schema', async (t) => {
  const { code, stdout } = await command(t, 'schema')
  t.equal(code, 0)
  t.match(JSON.parse(stdout), { $schema: 'http://json-schema.org/draft-07/schema#', type: 'object', properties: { backends: {}, routes: {}, server: {} } })
})

t.test('help and version are printed', async (t) => {
  t.match(await command(t, '--help'), { code: 0, stdout: /^Usage: reverseproxy <command>/ })
  t.match(await command(t), { code: 0, stdout: /^Usage/ })
  t.match(await command(t, 'check', '--help'), { code: 0, stdout: /^Usage/ })
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  t.same(await command(t, '--version'), { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('wrong usage ends with 2 and says what is wrong', async (t) => {
  const usages: ReadonlyArray<readonly [args: string[], message: RegExp]> = [
    [['chek', good], /there is no command "chek"; did you mean "check"\?/],
    [['check'], /check needs a file/],
    [['check', good, bad], /does not know what to do with/],
    [['check', '--port', '1', good], /Unknown option '--port'/],
    [['serve', good, '--prot', '1'], /Unknown option '--prot'/],
    [['serve', good, '--port', '70000'], /--port must be a port/],
    [['serve', good, '--log-level', 'loud'], /--log-level must be one of/]
  ]
  for (const [args, message] of usages) t.match(await command(t, ...args), { code: 2, stdout: '', stderr: message }, args.join(' '))
})
