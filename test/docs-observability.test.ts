/** docs/observability.md says what is so: every block runs, and its table of metrics, the code and a scrape agree. */
import t, { type Test } from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { CATALOGUE } from '../lib/metrics/index.ts'
import { start } from './cli/command.ts'
import { startGateway, waitFor } from './helper.ts'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/observability.md'), 'utf8'))
const ofMetrics = document.tables.find(({ rows }) => rows[0]?.[0] === 'metric')!

const withPorts = await startPorts(t, [4001, 4002], () => (request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ url: request.url }))
})

for (const block of document.blocks.filter(({ language, heading }) => language === 'yaml' && heading === 'Metrics')) {
  t.test(label(block), async t => {
    const text = withPorts(/^backends:/m.test(block.text) ? block.text : `${block.text}backends: { orders: http://127.0.0.1:4002 }\n`).replace(/port: \d+/, 'port: 0')
    const { gateway } = parseConfigText(text, { path: join(ROOT, 'gateway.yaml'), env: {} })
    const { app, url } = await startGateway(t, gateway, app => { app.get('/x', { proxy: 'orders' }, app.reverseproxy.handler) })
    t.equal((await fetch(`${url}/x`)).status, 200)
    const { port } = app.reverseproxy.metrics
    const scrape = await fetch(port === undefined ? `${url}/metrics` : `http://127.0.0.1:${port}/metrics`)
    t.match(await scrape.text(), /^reverseproxy_requests_total\{route="\/x",method="GET",code="200"\} 1$/m)
  })
}

t.test('every ts block runs and has the right types', async t => {
  await runPrograms(t, {
    blocks: document.blocks.filter(({ language }) => language === 'ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text}export { app, reverseproxy }\n`,
    async check (t, app, { heading }) {
      if (heading === 'Metrics of your own') await checkOwn(t, app)
      if (heading === 'Probes') t.same((await app.inject('/may-i')).json(), { ready: true, reasons: [] })
      if (heading === 'Numbers for programs') {
        await app.inject('/x')
        t.has((await app.inject('/numbers')).json(), { share: 1, orders: { ok: 1 } })
      }
      // this process is a primary without workers
      if (heading === 'Several processes') t.equal((await app.inject('/metrics')).statusCode, 200)
    }
  })
})

async function checkOwn (t: { match (found: unknown, wanted: unknown): void }, app: FastifyInstance): Promise<void> {
  await app.inject({ method: 'POST', url: '/cart' })
  const { body } = await app.inject('/metrics')
  t.match(body, /^carts_total 1$/m)
  t.match(body, /^reverseproxy_upstream_attempts_total\{backend="orders"/m)
}

t.test('the table has every metric with its type and labels, and no other', async t => {
  const rows = ofMetrics.rows.slice(1).map(([name = '', type, labels = '']) => [codeIn(name)[0], type, codeIn(labels)])
  t.same(rows, Object.entries(CATALOGUE).map(([name, { type, labels }]) => [`reverseproxy_${name}`, type, labels]))
})

t.test('a scrape shows each of these metrics, with this type and these labels', async t => {
  const up = withPorts('http://127.0.0.1:4001')
  const { app, url } = await startGateway(t, {
    backends: { orders: { url: up, concurrency: 5 }, found: { discovery: { static: [up] } } },
    metrics: { defaultMetrics: false },
    tenancy: { tenants: { acme: {} } },
    trafficDump: { directory: t.testdir() },
    routes: [{ path: '/page', composite: { parts: { one: { backend: 'orders' } } } }, { path: '/found', proxy: 'found' }]
  }, app => { app.get('/x', { proxy: 'orders' }, app.reverseproxy.handler) })
  for (const path of ['/x', '/page', '/found']) await fetch(url + path, { headers: { 'x-tenant-id': 'acme' } })
  await fetch(`${url}/x`)
  app.reverseproxy.breakers.open('orders')
  await fetch(`${url}/x`)
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n')
  for (const [name, type = '', labels = ''] of ofMetrics.rows.slice(1)) {
    const [full] = codeIn(name!)
    t.ok(lines.includes(`# TYPE ${full} ${type}`), `${full} is a ${type}`)
    const samples = lines.filter(line => new RegExp(`^${full}(?:_bucket|_sum|_count)?[ {]`).test(line))
    t.ok(samples.length > 0, `${full} has values`)
    for (const line of samples) {
      const found = [...line.matchAll(/(\w+)="/g)].map(([, label]) => label).filter(label => !(type === 'histogram' && label === 'le'))
      t.same(found, codeIn(labels), line)
    }
  }
  const shown = lines.flatMap(line => /^# TYPE (\S+)/.exec(line)?.[1] ?? [])
  t.same(shown, ofMetrics.rows.slice(1).map(([name]) => codeIn(name!)[0]), 'and no other')
})

t.test('metrics that the text names exist', async t => {
  const text = document.prose + document.blocks.map(({ text }) => text).join('')
  for (const [name] of text.matchAll(/\breverseproxy_[a-z_]+/g)) {
    const plain = name.replace(/^reverseproxy_/, '')
    t.ok(plain in CATALOGUE || plain.replace(/_bucket$/, '') in CATALOGUE, name)
  }
})

// ---- logs

/** Lines of the log that are of requests, of a gateway with the options of a block. */
async function lineWith (t: Test, text: string): Promise<Record<string, unknown>> {
  const { gateway } = parseConfigText(withPorts(`${text}backends: { orders: http://127.0.0.1:4002 }\n`), { path: join(ROOT, 'gateway.yaml'), env: {} })
  const lines: Array<Record<string, unknown>> = []
  const stream = { write (line: string) { lines.push(JSON.parse(line) as Record<string, unknown>) } }
  const { url } = await startGateway(t, { ...gateway, circuitBreaker: {} }, app => {
    app.get('/x', { proxy: 'orders' }, app.reverseproxy.handler)
    app.get('/bad', { proxy: 'orders', preHandler: async () => { throw new Error('no') } }, app.reverseproxy.handler)
  }, { logger: { stream }, disableRequestLogging: true })
  const found = () => lines.find(({ msg }) => msg === 'request')
  await fetch(`${url}${text.includes('slow') ? '/bad' : '/x'}`)
  t.ok(await waitFor(() => found() !== undefined), 'there is a line')
  return found()!
}

t.test('the line of a request is what the document shows', async t => {
  const [, shown] = document.blocks.filter(({ heading }) => heading === 'Logs')
  const [first] = document.blocks.filter(({ language, heading }) => language === 'yaml' && heading === 'Logs')
  const expected = JSON.parse(withPorts(shown!.text)) as Record<string, unknown>
  const line = await lineWith(t, first!.text)
  t.same(Object.keys(line), Object.keys(expected))
  t.same(Object.keys(line['ms'] as object), Object.keys(expected['ms'] as object))
  const { time, pid, hostname, reqId, ms, ...rest } = expected
  t.has(line, rest)
})

t.test('failures have the level that the document gives them', async t => {
  const [, second] = document.blocks.filter(({ language, heading }) => language === 'yaml' && heading === 'Logs')
  t.has(await lineWith(t, second!.text), { level: 40, status: 500 })
})

// ---- traces

t.test('the command exports its last spans before it ends, with the set-up that the document shows', async t => {
  const blocks = document.blocks.filter(({ heading }) => heading === 'Traces of the command')
  const textOf = (wanted: string): string => blocks.find(({ language }) => language === wanted)!.text
  const folder = t.testdir({ 'tracing.mjs': textOf('js'), 'gateway.yaml': withPorts(textOf('yaml')) })
  const [install = '', serve = ''] = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  t.same([...textOf('js').matchAll(/from '(.+)'/g)].map(([, name]) => name).filter(name => !install.includes(name!)), [], 'all that it imports is installed')
  const [, option = ''] = /^NODE_OPTIONS='(\S+)' npx reverseproxy gateway\.yaml$/m.exec(serve) ?? []
  for (const workers of ['1', '2']) {
    const running = start([join(folder, 'gateway.yaml'), '--port', '0', '--workers', workers], { NODE_OPTIONS: option.replace('./', `${folder}/`) })
    t.teardown(() => { running.process.kill('SIGKILL') })
    const [, origin = ''] = await running.until(/listens on (http:\/\/[^"]+)/)
    t.equal((await fetch(`${origin}/last`)).status, 200)
    running.process.kill('SIGTERM')
    const { code, stdout } = await running.finished
    t.equal(code, 0)
    t.match(stdout, /'url.path': '\/last'/, `${workers} of them`)
  }
})

// ---- probes

const ofProbes = document.blocks.filter(({ heading }) => heading === 'Probes')

for (const block of ofProbes.filter(({ language }) => language === 'yaml')) {
  t.test(label(block), async t => {
    const { gateway, config } = parseConfigText(withPorts(`${block.text}backends: { orders: http://127.0.0.1:4002 }\n`), { path: join(ROOT, 'gateway.yaml'), env: {} })
    const { app } = await startGateway(t, gateway, () => {})
    const { live, ready } = config.probes!
    t.same((await app.inject(live!)).json(), { status: 'ok' })
    t.same((await app.inject(ready!)).json(), { status: 'ready' })
  })
}

t.test('the answer of a gateway that is not ready is what the document shows', async t => {
  const { text } = ofProbes.find(({ language }) => language === 'json')!
  const { app } = await startGateway(t, { backends: { orders: { targets: [{ url: withPorts('http://127.0.0.1:4002'), active: false }] } }, probes: { required: ['orders'] } }, () => {})
  app.reverseproxy.closing = true
  t.same((await app.inject('/health/ready')).json(), JSON.parse(text))
})

t.test('there are no blocks that nothing looks at', async t => {
  t.same([...new Set(document.blocks.map(({ language }) => language))].sort(), ['js', 'json', 'sh', 'text', 'ts', 'yaml'])
})
