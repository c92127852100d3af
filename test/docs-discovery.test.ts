/**
 * docs/discovery.md says what is so: every yaml block is a configuration, every ts block runs and has the right types, every option
 * and every error is one.
 */
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { discoverySchema } from '../lib/options/schema/discovery.ts'
import { startGateway, waitFor } from './helper.ts'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/discovery.md'), 'utf8'))

const REGISTER = 'await app.register(reverseproxy, { backends: { orders: { discovery: { static: [\'http://127.0.0.1:4001\'] } } } })\n'

const withPorts = await startPorts(t, [4001, 4002], number => (_request, response) => { response.end(String(number)) })

for (const block of document.blocks.filter(({ language }) => language === 'yaml')) {
  t.test(label(block), async (t) => {
    const { gateway, config } = parseConfigText(withPorts(block.text), { path: join(ROOT, 'gateway.yaml'), env: {} })
    // engines that are not here
    if (Object.values(config.backends).some(({ discovery }) => discovery !== undefined && discovery.source.kind !== 'static')) return
    const { app } = await startGateway(t, gateway, app => { app.get('/x', { proxy: { backend: 'orders' } }, app.reverseproxy.handler) })
    t.match((await app.inject('/x')).body, /^400\d$/)
  })
}

t.test('every ts block runs and has the right types', async (t) => {
  await runPrograms(t, {
    blocks: document.blocks.filter(({ language }) => language === 'ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text.includes('app.register') ? '' : REGISTER}${text}export { app, reverseproxy }\n`,
    async check (t, app: FastifyInstance, { heading }) {
      if (heading === 'Looking and asking') {
        t.match((await app.inject('/discovery')).json(), [{ scope: '', backend: 'orders', source: 'static', targets: 1, lists: 1 }])
        t.same((await app.inject({ method: 'POST', url: '/discovery/refresh' })).json(), { good: true })
      }
      if (heading === 'A provider of your own') {
        t.equal((await app.inject('/x')).body, '4001')
        await app.inject({ method: 'POST', url: '/move' })
        t.ok(await waitFor(() => app.reverseproxy.backends.get('orders')!.targets[0]!.metadata['zone'] === 'b'))
        t.equal((await app.inject('/x')).body, '4002')
      }
    }
  })
})

t.test('the options of discovery are named', async (t) => {
  const text = document.prose + document.blocks.map(({ text }) => text).join('')
  for (const name of Object.keys(discoverySchema.properties)) t.match(text, new RegExp(`\\b${name}\\b`))
})

t.test('every error that the text names is one', async (t) => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  for (const code of codeIn(document.prose).filter(code => code.startsWith('RP_ERR_'))) t.ok(readme.includes(`\`${code}\``), code)
})
