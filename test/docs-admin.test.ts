/** docs/admin.md says what is so: its blocks run, and its tables show the paths and bodies that there are. */
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseConfigText } from '../lib/config-file.ts'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { startGateway } from './helper.ts'
import { codeIn, curl, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/admin.md'), 'utf8'))
const blocksOf = (language: string) => document.blocks.filter(block => block.language === language)

const withPorts = await startPorts(t, [4002], () => (_request, response) => { response.end('{}') })

t.test('every ts block runs and has the right types', async t => {
  await runPrograms(t, {
    blocks: blocksOf('ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text}export { app }\n`,
    async check (t, app) {
      t.equal((await app.inject('/_gateway/status')).statusCode, 403)
      t.equal((await app.inject({ url: '/_gateway/status', headers: { 'x-user': 'operator' } })).statusCode, 200)
    }
  })
})

t.test('every yaml block is a configuration', t => {
  for (const block of blocksOf('yaml')) t.doesNotThrow(() => parseConfigText(block.text, { path: 'admin.md', env: {} }), label(block))
  t.end()
})

t.test('every line of sh works with the first configuration', async t => {
  const { gateway } = parseConfigText(blocksOf('yaml')[0]!.text, { path: 'admin.md', env: {} })
  const { port } = await startGateway(t, { ...gateway, backends: { orders: withPorts('http://127.0.0.1:4002') } }, app => {
    app.get('/api/orders/*', { proxy: 'orders' }, app.reverseproxy.handler)
  })
  const lines = blocksOf('sh').flatMap(({ text }) => text.trim().split('\n'))
  t.equal(lines.length, 5)
  const answers = []
  for (const line of lines) {
    const answer = await curl(withPorts(line).replace(':3000', `:${port}`))
    t.equal(answer.status, 200, line)
    answers.push(JSON.parse(answer.body) as object)
  }
  t.match(answers, [{ ready: true }, { name: 'orders' }, { route: { path: '/api/orders/*' } }, { backend: { targets: [{ state: 'draining' }] } }, { backend: { targets: [{ state: 'active' }] } }])
})

t.test('its tables show the paths that there are, and what they take', async t => {
  const { app } = await startGateway(t, { backends: { up: 'http://127.0.0.1:1' }, admin: true }, () => {})
  interface Operation { requestBody?: { content: Record<string, { schema: { properties?: object, required?: string[] } }> } }
  const { paths } = (await app.inject('/_gateway/openapi.json')).json<{ paths: Record<string, Record<string, Operation>> }>()
  const rows = document.tables.filter(({ rows }) => rows[0]?.[0] === 'path').flatMap(({ rows }) => rows.slice(1))
  const real = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`))
  t.same(rows.map(([path = '']) => codeIn(path)[0]).sort(), real.sort())
  for (const [path = '', body = ''] of rows.filter(row => row.length === 3)) {
    const { properties = {}, required = [] } = paths[codeIn(path)[0]!.split(' ')[1]!]!['post']!.requestBody!.content['application/json']!.schema
    t.equal(codeIn(body)[0], `{ ${Object.keys(properties).map(name => required.includes(name) ? name : `${name}?`).join(', ')} }`, path)
  }
})
