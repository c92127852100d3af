/**
 * docs/resilience.md says what is so: every yaml block is a configuration, every ts block runs and has the right types, every option
 * and every error is one.
 */
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { gatewaySchema } from '../lib/options/schema/gateway.ts'
import { startGateway } from './helper.ts'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/resilience.md'), 'utf8'))

const REGISTER = 'await app.register(reverseproxy, { backends: { users: \'http://127.0.0.1:4001\', orders: [\'http://127.0.0.1:4002\', \'http://127.0.0.1:4003\'] } })\n'

const withPorts = await startPorts(t, [4001, 4002, 4003], number => (request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ number: String(number), url: request.url }))
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
  await runPrograms(t, {
    blocks: document.blocks.filter(({ language }) => language === 'ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text.includes('app.register') ? '' : REGISTER}${text}export { app, reverseproxy }\n`,
    async check (t, app, { heading }) {
      if (heading === 'Instead of the 503') await checkFallbacks(t, app)
      if (heading === 'By hand') {
        t.match((await app.inject('/breakers')).json(), [{ backend: 'orders', state: 'closed' }, { backend: 'orders', state: 'open' }])
      }
      if (heading === 'Drain and shutdown') t.equal((await app.inject('/ready')).statusCode, 200)
    }
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
