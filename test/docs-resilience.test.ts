/**
 * docs/resilience.md says what is so: every yaml block is a configuration, every ts block runs and has the right types, every option
 * and every error is one.
 */
import t from 'tap'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { gatewaySchema } from '../lib/options/schema/gateway.ts'
import { startGateway } from './helper.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'
import type { CodeBlock } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/resilience.md'), 'utf8'))

const AROUND = `import Fastify from 'fastify'
import reverseproxy, { serverOptions } from 'fastify-reverseproxy'
const app = Fastify({ ...serverOptions, logger: { level: 'silent' } })
`
const REGISTER = 'await app.register(reverseproxy, { backends: { users: \'http://127.0.0.1:4001\', orders: [\'http://127.0.0.1:4002\', \'http://127.0.0.1:4003\'] } })\n'

const ports = new Map<string, number>()
const label = ({ language, heading, line }: CodeBlock) => `line ${line}, ${language} under "${heading}"`

function withPorts (text: string): string {
  return text.replace(/127\.0\.0\.1:(400\d)/g, (_, number: string) => `127.0.0.1:${ports.get(number)}`)
}

t.before(async () => {
  for (const number of ['4001', '4002', '4003']) {
    const server = createServer((request, response) => { response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ number, url: request.url })) })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    ports.set(number, (server.address() as AddressInfo).port)
    t.teardown(() => { server.closeAllConnections(); server.close() })
  }
})

for (const block of document.blocks.filter(({ language }) => language === 'yaml')) {
  t.test(label(block), async (t) => {
    const text = withPorts(/^backends:/m.test(block.text) ? block.text : `${block.text}backends: { orders: [http://127.0.0.1:4002, http://127.0.0.1:4003] }\n`)
    const { gateway } = parseConfigText(text, { path: join(ROOT, 'gateway.yaml'), env: {} })
    // the longest wait of a shutdown that nobody needs here
    const { app } = await startGateway(t, { ...gateway, shutdown: { delay: 0 } }, app => { app.get('/x', { proxy: { backend: 'orders' } }, app.reverseproxy.handler) })
    t.equal((await app.inject('/x')).statusCode, 200)
  })
}

t.test('every ts block runs and has the right types', async (t) => {
  const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
  const index = relative(folder, join(ROOT, 'index.ts'))
  for (const block of document.blocks.filter(({ language }) => language === 'ts')) {
    const file = join(folder, `line-${block.line}.ts`)
    const source = `${AROUND}${block.text.includes('app.register') ? '' : REGISTER}${block.text}export { app, reverseproxy }\n`
    await writeFile(file, withPorts(source).replaceAll("'fastify-reverseproxy'", `'${index}'`))
    await t.test(label(block), async (t) => {
      const { app } = await import(file) as { app: FastifyInstance }
      t.teardown(() => app.close())
      await app.ready()
      if (block.heading === 'Instead of the 503') await checkFallbacks(t, app)
      if (block.heading === 'By hand') {
        t.match((await app.inject('/breakers')).json(), [{ backend: 'orders', state: 'closed' }, { backend: 'orders', state: 'open' }])
      }
      if (block.heading === 'Drain and shutdown') t.equal((await app.inject('/ready')).statusCode, 200)
    })
  }
  await t.test('the types', { timeout: 120_000 }, async (t) => {
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'] }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', folder], { cwd: folder }).catch(error => error as { stdout: string })
    t.equal(stdout, '')
  })
})

async function checkFallbacks (t: { same (found: unknown, wanted: unknown): void, has (found: unknown, wanted: unknown): void }, app: FastifyInstance): Promise<void> {
  t.has((await app.inject('/users')).json(), { number: '4001' })
  app.reverseproxy.breakers.open('users')
  app.reverseproxy.breakers.open('orders')
  t.has((await app.inject('/users')).json(), { users: [], asked: '/users' })
  t.same((await app.inject('/orders')).json(), { items: [] })
}

t.test('the options that it is about are named', async (t) => {
  const text = document.prose + document.blocks.map(({ text }) => text).join('')
  for (const name of ['circuitBreaker', 'retry', 'health', 'outlier', 'slowStart', 'panic', 'concurrency', 'deadlineHeader', 'shutdown']) {
    t.ok(name in (gatewaySchema as unknown as { properties: object }).properties, `${name} is an option`)
    t.match(text, new RegExp(`\\b${name}\\b`))
  }
})

t.test('every error that the text names is one', async (t) => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  for (const code of codeIn(document.prose).filter(code => code.startsWith('RP_ERR_'))) t.ok(readme.includes(`\`${code}\``), code)
})
