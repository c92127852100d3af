/** docs/protocols.md says what is so: its configurations are read, its program runs, its statuses and codes are those of the tests beside it. */
import t from 'tap'
import { readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { parseOptions } from '../lib/options/index.ts'
import { wsBackend, wsClient } from './helper.ts'
import { readMarkdown, ROOT } from './helper-readme.ts'

const { blocks } = readMarkdown(await readFile(join(ROOT, 'docs/protocols.md'), 'utf8'))
const about = blocks.filter(({ heading }) => heading === 'WebSockets' || heading === 'What passes between the ends')

t.test('the WebSocket configuration is one', async (t) => {
  const [yaml] = about.filter(({ language }) => language === 'yaml')
  const { routes } = parseOptions(parseConfigText(yaml!.text, { path: 'protocols.md', env: {} }).gateway)
  t.match(routes, [{ proxy: { websocket: { maxPayload: Infinity } } }, { proxy: { websocket: { maxPayload: 65_536, idleTimeout: 300_000 } } }])
})

t.test('the hooks of the example do what it says', async (t) => {
  const backend = await wsBackend(t)
  const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
  const [block] = about.filter(({ language }) => language === 'ts')
  const file = join(folder, 'example.ts')
  await writeFile(file, `import Fastify from 'fastify'
import reverseproxy from '${relative(folder, join(ROOT, 'index.ts'))}'
const app = Fastify()
await app.register(reverseproxy, { backends: { chat: '${backend.url}' } })
${block!.text}
export { app }
`)
  const { app } = await import(file) as { app: FastifyInstance }
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await wsClient(t, `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/chat`)
  client.socket.send('secret')
  client.socket.send('on 4001')
  t.equal(await client.message(0), 'on ****')
})
