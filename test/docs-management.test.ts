/** docs/management.md says what is so: every ts block runs and has the right types, and what it shows of an explanation comes true. */
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AROUND, runPrograms, startPorts } from './helper-docs.ts'
import { startGateway } from './helper.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/management.md'), 'utf8'))

const REGISTER = `await app.register(reverseproxy, { backends: { orders: ['http://127.0.0.1:4002', 'http://127.0.0.1:4003'] }, shutdown: { delay: 0 } })
app.get('/api/orders/*', { proxy: 'orders' }, app.reverseproxy.handler)
await app.ready()
`

/** Routes must be there before the server is ready. */
const beforeReady = (text: string): string => text.startsWith('app.get(') ? REGISTER.replace('await app.ready()\n', '') : REGISTER

const withPorts = await startPorts(t, [4001, 4002, 4003], number => (request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ number: String(number), url: request.url }))
})

t.test('every ts block runs and has the right types', async (t) => {
  await runPrograms(t, {
    blocks: document.blocks.filter(({ language }) => language === 'ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${beforeReady(text)}${text}export { app, reverseproxy }\n`,
    async check (t, app, { heading }) {
      const { reverseproxy } = app
      if (heading === 'Backends and targets') t.equal(reverseproxy.backends.get('search'), undefined)
      if (heading === 'Balancer') t.equal(reverseproxy.balancer.get('orders'), 'least-connections')
      if (heading === 'Circuits') t.match(reverseproxy.breakers.options('orders'), { failureThreshold: 5 })
      if (heading === 'Connections') t.equal(reverseproxy.pools.options('orders').connections, 32)
      if (heading === 'Why does it go there?') t.match((await app.inject('/why')).json(), { route: { path: '/api/orders/*' }, calls: [{ backend: 'orders' }] })
      if (heading === "A call of the app's own") t.match((await app.inject('/warm')).json(), { status: 200, tries: 1, body: { url: '/search?limit=5&tag=a&tag=b' } })
    }
  })
})

t.test('the explanation that it shows is the one that comes', async (t) => {
  const { app } = await startGateway(t, { backends: { orders: ['http://127.0.0.1:4002', 'http://127.0.0.1:4003'] } }, app => {
    app.get('/api/orders/*', { proxy: 'orders' }, app.reverseproxy.handler)
  })
  app.reverseproxy.breakers.open('orders', 'http://127.0.0.1:4002')
  t.same(await app.reverseproxy.explain({ url: '/api/orders/7', headers: { 'x-user': 'u7' } }), JSON.parse(document.blocks.find(({ language }) => language === 'json')!.text))
})

t.test('the slots and the options that its tables name are there', async (t) => {
  const { app: { reverseproxy } } = await startGateway(t, { backends: { a: 'http://127.0.0.1:4001' } }, () => {})
  const rowsUnder = (first: string): readonly string[][] => document.tables.find(({ rows }) => rows[0]?.[0] === first)!.rows.slice(1)
  for (const name of rowsUnder('slot').flatMap(([cell = '']) => codeIn(cell))) t.ok(name.replace('()', '') in reverseproxy, name)
  for (const name of rowsUnder('option').flatMap(([cell = '']) => codeIn(cell))) {
    // what is no option is refused as unknown, whatever its value
    const error = await reverseproxy.request('a', { [name]: Symbol('wrong') } as never).catch((error: Error) => error)
    t.notMatch(String((error as { cause?: unknown }).cause), /unknown option/, name)
  }
  await reverseproxy.pools.stats()
})

t.test('every error that the text names is one', async (t) => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  for (const code of codeIn(document.prose).filter(code => code.startsWith('RP_ERR_'))) t.ok(readme.includes(`\`${code}\``), code)
})
