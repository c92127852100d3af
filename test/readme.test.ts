/**
 * The documentation says what is so: every block of code in README.md runs, every option of the schemas is in docs/options.md
 * with its default and nothing else is, every error is in the table with its status.
 */
import t, { type Test } from 'tap'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { parse as parseYaml } from 'yaml'
import { parseConfigText } from '../lib/config-file.ts'
import * as errors from '../lib/errors.ts'
import type { Rules } from '../lib/options/branches.ts'
import { BUILT_IN_BALANCERS } from '../lib/options/defaults.ts'
import { hashKeySchema } from '../lib/options/schema/backend.ts'
import { gatewaySchema } from '../lib/options/schema/gateway.ts'
import { fileSchema } from '../lib/options/schema/server.ts'
import { startGateway } from './helper.ts'
import { builtPackage } from './helper/package.ts'
import { codeIn, curl, readMarkdown, ROOT, runScript, wordsOf } from './helper-readme.ts'
import { typeErrors } from './helper-types.ts'
import type { CodeBlock } from './helper-readme.ts'

const readme = readMarkdown(await readFile(join(ROOT, 'README.md'), 'utf8'))
const reference = readMarkdown(await readFile(join(ROOT, 'docs/options.md'), 'utf8'))

// ---- backends: what the blocks call 127.0.0.1:4001 to 4003

interface Echo { readonly port: number, readonly method: string, readonly url: string, readonly headers: Record<string, string>, readonly body: string }

/** Number in the README → port that really listens. Each answers with the request it got, as JSON. */
const ports = new Map<string, number>()

/** Answers of `/stalled` wait for ever. */
function echo (port: number) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url!.startsWith('/stalled')) return
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk as string
    response.writeHead(200, { 'content-type': 'application/json', etag: '"1"', server: 'echo' })
    response.end(JSON.stringify({ port, method: request.method, url: request.url, headers: request.headers, body }))
  }
}

t.before(async () => {
  for (const number of [4001, 4002, 4003]) {
    const server = createServer(echo(number))
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    ports.set(String(number), (server.address() as AddressInfo).port)
    t.teardown(() => { server.closeAllConnections(); server.close() })
  }
})

/** The same text with ports that are ours. */
function withPorts (text: string): string {
  return text.replace(/127\.0\.0\.1:(400\d)/g, (_, number: string) => `127.0.0.1:${ports.get(number)}`)
    .replace(/port: (3000|8080)/g, 'port: 0')
}

const label = ({ language, heading, line }: CodeBlock) => `line ${line}, ${language} under "${heading}"`

// ---- ts

/** What stands around the blocks that are parts of a program. */
const AROUND = `import Fastify from 'fastify'
import reverseproxy, { serverOptions } from 'fastify-reverseproxy'
const app = Fastify({ ...serverOptions, logger: { level: 'silent' } })
await app.register(reverseproxy, { backends: { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002', products: 'http://127.0.0.1:4003' } })
app.get('/stalled', { proxy: { backend: 'users', timeout: { total: 50 } } }, app.reverseproxy.handler)
`

interface Program {
  /** Code before the block. */
  readonly before?: string
  /** What must be so once it has run. */
  readonly check: (t: Test, app: FastifyInstance) => Promise<void>
}

async function ask (app: FastifyInstance, options: InjectOptions): Promise<Echo> {
  const response = await app.inject(options)
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${response.body}`)
  return response.json<Echo>()
}

const JSON_TYPE = { 'content-type': 'application/json' }

/** Every ts block by its heading, in order where there are several. */
const PROGRAMS: Record<string, Program[]> = {
  'The program': [{
    async check (t, app) {
      const { port } = app.server.address() as AddressInfo
      const lines = readme.blocks.filter(({ language, heading }) => language === 'sh' && heading === 'The program')
        .flatMap(({ text }) => text.trim().split('\n'))
      const [user, order, ...more] = await Promise.all(lines.map(async line => JSON.parse((await curl(line.replace(':3000', `:${port}`))).body) as Echo))
      t.has(user, { port: 4001, method: 'GET', url: '/api/users/7' })
      t.has(order, { method: 'POST', url: '/orders/new', body: 'any body' })
      t.same(more, [])
    }
  }],
  'Composite routes': [{
    before: AROUND,
    async check (t, app) {
      const response = await app.inject('/api/dashboard/7')
      // the echo has no boss, so that part is skipped; nor has it items
      t.has(response.json(), { url: '/api/users/7', method: 'GET' })
      t.equal(response.headers['x-composite-complete'], 'true')
      t.notOk('boss' in response.json<object>())
    }
  }],
  'Forwarding from a handler': [{
    before: AROUND,
    async check (t, app) {
      t.equal((await app.inject('/me')).statusCode, 401)
      const me = await ask(app, { url: '/me?x=1', headers: { 'x-user': 'a b', cookie: 'a=b' } })
      t.has(me, { port: 4001, url: '/users/a%20b?full=1', headers: { 'x-source': 'gateway', cookie: undefined } })
      const checkout = await ask(app, { method: 'POST', url: '/checkout', payload: { item: 1 } })
      t.has(checkout, { port: 4002, method: 'POST', url: '/v2/checkout', headers: JSON_TYPE, body: '{"item":1,"source":"web"}' })
    }
  }],
  'Changing requests and answers': [{
    before: AROUND,
    async check (t, app) {
      const response = await app.inject({ url: '/products/1?a=b', headers: { 'accept-encoding': 'gzip' } })
      t.has(response.json(), { data: { port: 4003, url: '/products/1?a=b&vat=1', headers: { 'accept-encoding': 'identity' } } })
      t.equal(response.headers['etag'], undefined)
      app.reverseproxy.backends.update('products', { url: `http://127.0.0.1:${ports.get('4003')}/stalled`, timeout: { headers: 20 } })
      t.has((await app.inject('/products/1')).json(), { message: 'busy' }, 'errorHandler answers')
      app.reverseproxy.backends.update('products', 'http://127.0.0.1:1')
      t.has((await app.inject('/products/1')).json(), { code: 'RP_ERR_CONNECT' }, 'errorHandler lets it pass')
    }
  }],
  'What happened': [{
    // the lines it logs
    before: AROUND.replace("level: 'silent'", "level: 'info', stream: { write: (line: string) => { lines.push(line) } }")
      .replace('const app', 'const lines: string[] = []\nObject.assign(globalThis, { readmeLines: lines })\nconst app'),
    async check (t, app) {
      await app.inject('/stalled')
      const { readmeLines } = globalThis as unknown as { readmeLines: string[] }
      const line = readmeLines.map(text => JSON.parse(text) as { route?: string }).find(({ route }) => route !== undefined)
      t.match(line, { route: '/stalled', backend: 'users', aborted: false, attempts: [{ target: /^http/, startedAt: Number, duration: Number, outcome: 'timeout' }] })
    }
  }],
  'Backends at run time': [{
    before: AROUND.replace('await app.register', 'const console = { log: (...views: unknown[]) => { Object.assign(globalThis, { readmeViews: views }) } }\nawait app.register'),
    async check (t, app) {
      const { readmeViews } = globalThis as unknown as { readmeViews: unknown[] }
      t.has(readmeViews, [{ name: 'search', balancer: 'round-robin', targets: [{ url: `http://127.0.0.1:${ports.get('4001')}`, state: 'active' }] }, 4])
      t.equal(app.reverseproxy.backends.get('search'), undefined)
    }
  }],
  'A balancer of your own': [{
    async check (t, app) {
      for (const [zone, port] of [['a', 4001], ['b', 4002]]) {
        for (let i = 0; i < 5; i++) t.equal((await ask(app, { url: '/', headers: { 'x-zone': String(zone) } })).port, port)
      }
      t.has(await ask(app, { url: '/' }), { url: '/' }, 'no zone')
    }
  }],
  Traps: [{
    before: AROUND,
    async check (t, app) {
      const spaced = '{ "a":   1 }'
      t.has(await ask(app, { method: 'POST', url: '/upload', payload: spaced, headers: JSON_TYPE }), { url: '/files', body: spaced })
      t.has(await ask(app, { method: 'POST', url: '/upload', payload: '<a/>', headers: { 'content-type': 'text/xml' } }), { body: '<a/>', headers: { 'content-type': 'text/xml' } })
    }
  }, {
    before: "import Fastify from 'fastify'\nimport { serverOptions } from 'fastify-reverseproxy'\nconst [key, cert] = ['', '']\n",
    async check (t, app) {
      t.match(app.server, { maxHeaderSize: 16_384, setSecureContext: Function })
    }
  }]
}

const tsBlocks = readme.blocks.filter(({ language }) => language === 'ts')

t.test('every ts block is known here, and no other', async (t) => {
  const counts = (headings: string[]) => Object.fromEntries([...new Set(headings)].map(heading => [heading, headings.filter(other => other === heading).length]))
  t.same(counts(tsBlocks.map(({ heading }) => heading)), counts(Object.entries(PROGRAMS).flatMap(([heading, programs]) => programs.map(() => heading))))
})

t.test('every ts block runs and does what it says', async (t) => {
  const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
  const index = relative(folder, join(ROOT, 'index.ts'))
  const seen = new Map<string, number>()
  for (const block of tsBlocks) {
    const number = seen.get(block.heading) ?? 0
    seen.set(block.heading, number + 1)
    const program = PROGRAMS[block.heading]?.[number]
    if (program === undefined) continue
    const file = join(folder, `line-${block.line}.ts`)
    const source = `${program.before ?? ''}${block.text}export { app }\n`
    await writeFile(file, withPorts(source).replaceAll("'fastify-reverseproxy'", `'${index}'`))
    await t.test(label(block), async (t) => {
      const { app } = await import(file) as { app: FastifyInstance }
      t.teardown(() => { app.server.closeAllConnections(); return app.close() })
      await program.check(t, app)
    })
  }
  await t.test('and has the right types', { timeout: 120_000 }, async (t) => {
    t.equal(await typeErrors(folder, index), '')
  })
})

// ---- yaml

const yamlBlocks = readme.blocks.filter(({ language }) => language === 'yaml')

t.test('every yaml block is a configuration', async (t) => {
  for (const block of yamlBlocks) {
    t.doesNotThrow(() => parseConfigText(block.text, { path: 'README.md', env: {} }), label(block))
  }
})

t.test('the routes of the README go where they should', async (t) => {
  const [block] = yamlBlocks.filter(({ heading }) => heading === 'Routes')
  const { gateway } = parseConfigText(withPorts(block!.text), { path: 'README.md', env: {} })
  const { app } = await startGateway(t, gateway, noMoreRoutes)
  const portOf = async (url: string, headers: Record<string, string> = {}) => (await ask(app, { url, headers })).port
  t.equal(await portOf('/api/orders/1'), 4002)
  t.equal(await portOf('/api/orders/1', { 'x-canary': '1' }), 4001)
  t.equal(await portOf('/api/orders/1?beta'), 4001)
  t.equal(await portOf('/x', { host: 'shop.example.com:81' }), 4002)
  t.equal(await portOf('/x', { host: 'a.b.example.com' }), 4001)
  t.equal(await portOf('/search', { 'user-agent': 'curl', accept: 'text/html' }), 4001)
  t.equal((await app.inject({ url: '/search', headers: { 'user-agent': 'some bot', accept: 'text/html' } })).statusCode, 404)
})

t.test('the rewrites of the README\'s table do what it says', async (t) => {
  const rows = tableUnder('Rewriting').slice(1)
  t.ok(rows.length > 5)
  for (const row of rows) {
    const [rewrite, path, url, sent] = row.map(cell => codeIn(cell)[0]!)
    const options = { backends: { up: withPorts('http://127.0.0.1:4001') }, routes: [{ path, proxy: { backend: 'up', rewrite: parseYaml(rewrite!) as object } }] }
    const { port } = await startGateway(t, options as Parameters<typeof startGateway>[1], noMoreRoutes)
    t.equal((await rawGet(port, url!)).url, sent, `${rewrite} ${url}`)
  }
})

const noMoreRoutes = (): void => {}

/** inject() would tidy up the path. */
function rawGet (port: number, path: string): Promise<Echo> {
  return new Promise((resolve, reject) => {
    httpRequest({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => { resolve(JSON.parse(body) as Echo) })
    }).on('error', reject).end()
  })
}

function tableUnder (heading: string): readonly string[][] {
  const found = readme.tables.filter(table => table.heading === heading)
  if (found.length !== 1) throw new Error(`${found.length} tables under ${heading}`)
  return found[0]!.rows
}

// ---- sh

t.test('every sh line works', { timeout: 120_000 }, async (t) => {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const [file] = yamlBlocks.filter(({ heading }) => heading === 'From a file')
  const cwd = t.testdir(Object.fromEntries(['gateway.yaml', 'old.yaml', 'new.yaml'].map(name => [name, withPorts(file!.text)])))
  for (const block of readme.blocks.filter(({ language }) => language === 'sh')) {
    for (const line of block.text.trim().split('\n')) await t.test(line, t => runLine(t, line, block))
  }

  async function runLine (t: Test, line: string, block: CodeBlock): Promise<void> {
    const words = wordsOf(line)
    if (words[0] === 'curl') {
      t.ok(PROGRAMS[block.heading], 'sent to the program under the same heading')
    } else if (words[0] === 'npm') {
      for (const command of words.join(' ').split(' && ')) {
        const name = command.replace(/^npm (run )?/, '')
        t.ok(name === 'ci' || scripts[name] !== undefined, command)
      }
    } else {
      await runCommand(t, words)
    }
  }

  async function runCommand (t: Test, words: string[]): Promise<void> {
    const env = Object.fromEntries(words.filter(word => /^[A-Z_]+=/.test(word)).map(word => word.split(/=(.*)/s).slice(0, 2))) as Record<string, string>
    const [npx, name, ...args] = words.slice(Object.keys(env).length)
    t.same([npx, name], ['npx', 'reverseproxy'])
    const redirect = args.indexOf('>')
    const command = runScript(t, [join(builtPackage(), 'dist/cli/reverseproxy.js'), ...redirect === -1 ? args : args.slice(0, redirect)], { cwd, env })
    if (args[0]!.endsWith('.yaml')) {
      const [, url = ''] = await command.until(/listens on (http:[^"\s]+)/)
      t.has(JSON.parse((await curl(`curl ${url}/api/users/7`)).body), { port: 4001 })
      t.equal(await command.stop('SIGTERM'), 0)
      return
    }
    const { code, output, errors } = await command.ended
    t.equal(code, 0, errors)
    if (redirect === -1) t.match(output, /gateway\.yaml: OK|\/api\/users\/:id|nothing would change/i)
    else t.ok(JSON.parse(output))
  }
})

t.test('there are no blocks that nothing runs', async (t) => {
  t.same([...new Set(readme.blocks.map(({ language }) => language))].sort(), ['sh', 'text', 'ts', 'yaml'])
  const text = readme.blocks.filter(({ language }) => language === 'text')
  for (const path of text.flatMap(({ text }) => text.match(/\b(?:plugins|lib)\/[\w./-]+\.ts/g) ?? [])) t.ok(existsSync(join(ROOT, path)), path)
})

// ---- options

/** Path of every option in the schemas → its default. `*` is any name, `[]` any entry of a list. */
const options = new Map<string, unknown>()

function collect (schema: Rules & { default?: unknown }, path: string): void {
  for (const branch of schema.anyOf ?? []) collect(branch, path)
  if (schema.items !== undefined) collect(schema.items, `${path}[]`)
  for (const [pattern, item] of Object.entries(schema.patternProperties ?? {})) {
    if (pattern !== '^x-') collect(item, `${path}.*`)
  }
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`
    const { default: initial } = property as { default?: unknown }
    if (options.get(at) === undefined) options.set(at, initial)
    collect(property, at)
  }
}

collect(gatewaySchema, '')
collect(fileSchema, '')
// The checker holds the key of a hash against a schema of its own.
for (const path of ['balancer', 'backends.*.balancer']) {
  options.set(`${path}.key`, undefined)
  collect(hashKeySchema, `${path}.key`)
}

/** Where the options of each table of docs/options.md stand. */
const under = (base: string, name: string) => base === '' ? name : `${base}.${name}`

/** Where breakers and retries may be spoken of. */
const RESILIENT = ['', 'backends.*', 'routes[].proxy', 'routes[].composite', 'routes[].composite.parts.*']

const SECTIONS: Record<string, string[]> = {
  'The gateway': [''],
  'A backend': ['backends.*'],
  'A target': ['backends.*[]', 'backends.*.targets[]'],
  discovery: ['backends.*.discovery'],
  file: ['backends.*.discovery.file'],
  dns: ['backends.*.discovery.dns'],
  consul: ['backends.*.discovery.consul'],
  kubernetes: ['backends.*.discovery.kubernetes'],
  balancer: ['balancer', 'backends.*.balancer'],
  pool: ['pool', 'backends.*.pool'],
  tls: ['tls', 'backends.*.tls'],
  httpProxy: ['backends.*.httpProxy'],
  timeout: ['timeout', 'backends.*.timeout', 'routes[].proxy.timeout', 'routes[].composite.parts.*.timeout'],
  redirects: ['redirects', 'backends.*.redirects', 'routes[].proxy.redirects', 'routes[].composite.redirects', 'routes[].composite.parts.*.redirects'],
  circuitBreaker: RESILIENT.map(base => under(base, 'circuitBreaker')),
  fallback: RESILIENT.map(base => under(base, 'circuitBreaker.fallback')),
  retry: RESILIENT.map(base => under(base, 'retry')),
  health: ['', 'backends.*', 'backends.*[]', 'backends.*.targets[]'].map(base => under(base, 'health')),
  outlier: ['outlier', 'backends.*.outlier'],
  slowStart: ['slowStart', 'backends.*.slowStart'],
  panic: ['panic', 'backends.*.panic'],
  concurrency: ['concurrency', 'backends.*.concurrency'],
  headers: ['headers', 'backends.*.headers', 'routes[].proxy.headers'],
  'Header changes': ['headers', 'backends.*.headers', 'routes[].proxy.headers', 'routes[].composite.headers'].flatMap(path => [`${path}.request`, `${path}.response`]),
  forwarded: ['headers.forwarded'],
  via: ['headers.via'],
  limits: ['limits'],
  shutdown: ['shutdown'],
  metrics: ['metrics'],
  admin: ['admin'],
  probes: ['probes'],
  tracing: ['tracing'],
  log: ['log'],
  trafficDump: ['trafficDump'],
  redact: ['trafficDump.redact'],
  'A route': ['routes[]'],
  Conditions: ['routes[].headers.*', 'routes[].headers.*.not', 'routes[].query.*', 'routes[].query.*.not', 'routes[].host', 'routes[].host[]'],
  proxy: ['routes[].proxy'],
  websocket: ['routes[].proxy.websocket'],
  rewrite: ['routes[].proxy.rewrite', 'routes[].proxy.rewrite[]'],
  composite: ['routes[].composite'],
  'Headers of a composite': ['routes[].composite.headers'],
  'A part': ['routes[].composite.parts.*'],
  when: ['routes[].composite.parts.*.when', 'routes[].composite.parts.*.when[]'],
  forEach: ['routes[].composite.parts.*.forEach'],
  tenancy: ['tenancy'],
  sources: ['tenancy.sources', 'tenancy.sources[]'],
  'A tenant': ['tenancy.tenants.*'],
  'Routes of a tenant': ['tenancy.tenants.*.routes.*'],
  'Tenancy of a route': ['routes[].tenancy'],
  'File only': [''],
  server: ['server']
}

// What a tenant says of backends, routes and everything that the gateway says for all backends is in the same tables.
for (const [heading, bases] of Object.entries(SECTIONS)) {
  if (['The gateway', 'A route', 'File only', 'server'].includes(heading)) continue
  bases.push(...bases.filter(base => base !== '' && !base.startsWith('tenancy') && !base.startsWith('routes[].tenancy'))
    .map(base => `tenancy.tenants.*.${base.replace('routes[]', 'routes.*')}`))
}

const documented = reference.tables.flatMap(({ heading, rows }) =>
  rows.slice(1).flatMap(([names = '', initial = '']) => codeIn(names).map(name => ({ heading, name, initial: codeIn(initial)[0] }))))

t.test('every documented option is one, and has the documented default', async (t) => {
  t.same(reference.tables.map(({ heading }) => heading), Object.keys(SECTIONS), 'each table has its place')
  for (const { heading, name, initial } of documented) {
    const paths = (SECTIONS[heading] ?? []).map(base => under(base, name)).filter(path => options.has(path))
    t.ok(paths.length > 0, `${heading}: ${name} is an option`)
    for (const path of paths) {
      const value = options.get(path)
      t.equal(initial, value === undefined || typeof value === 'object' ? undefined : String(value), `default of ${path}`)
    }
  }
})

t.test('every option is documented', async (t) => {
  const known = new Set(documented.flatMap(({ heading, name }) => (SECTIONS[heading] ?? []).map(base => under(base, name))))
  const bases = new Set(Object.values(SECTIONS).flat())
  for (const path of options.keys()) {
    // an object that is only the place of its own options: https.cert says enough of https
    const isPlace = !bases.has(path) && [...known].some(other => other.startsWith(`${path}.`))
    t.ok(known.has(path) || isPlace, path)
  }
})

t.test('options that the text names exist', async (t) => {
  const heads = new Set([...options.keys()].map(path => path.split(/[.[]/).filter(part => part !== '*' && part !== ']').at(-1)!))
  for (const name of [...codeIn(readme.prose), ...codeIn(reference.prose)].filter(code => /^[a-z]\w*(\.[a-zA-Z]\w*)+$/.test(code))) {
    const [first = ''] = name.split('.')
    // `request` and `schema` are Fastify's words, too
    if (!heads.has(first) || first === 'request' || first === 'schema' || /\.(ts|js|yaml|md)$/.test(name)) continue
    t.ok([...options.keys()].some(path => path === name || path.endsWith(`.${name}`)), name)
  }
})

t.test('the balancers are those there are', async (t) => {
  const rows = readme.tables.filter(({ rows }) => rows[0]?.[0] === 'balancer').flatMap(({ rows }) => rows.slice(1))
  t.same(rows.flatMap(([names = '']) => codeIn(names)).sort(), [...BUILT_IN_BALANCERS].sort())
})

// ---- errors

t.test('the errors are those there are, with their status', async (t) => {
  const table = Object.fromEntries(tableUnder('Errors').slice(1).map(([code = '', status]) => [codeIn(code)[0], status]))
  const classes = Object.values(errors).filter(value => typeof value === 'function' && value.prototype instanceof Error) as unknown as Array<new (problems: unknown[]) => { code: string, statusCode: number }>
  const real = Object.fromEntries(classes.map(One => new One([])).map(({ code, statusCode }) => [code, code === 'RP_ERR_OPTIONS' || code === 'RP_ERR_DISCOVERY' ? 'at boot' : String(statusCode)]))
  t.same(table, real)
})

// ---- links

t.test('links lead somewhere', async (t) => {
  const slug = (heading: string) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-')
  for (const [folder, { prose }] of [['', readme], ['docs', reference]] as const) {
    const anchors = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading!))
    for (const [, link = ''] of prose.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith('#')) t.ok(anchors.includes(link.slice(1)), link)
      else {
        const [file = '', anchor] = link.split('#')
        t.ok(existsSync(join(ROOT, folder, file)), link)
        if (anchor === undefined) continue
        const there = [...(await readFile(join(ROOT, folder, file), 'utf8')).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading!))
        t.ok(there.includes(anchor), link)
      }
    }
  }
})
