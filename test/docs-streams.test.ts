/** docs/protocols.md, event streams and uploads: every yaml block is a configuration, every ts block runs. */
import t from 'tap'
import { readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { startGateway } from './helper.ts'
import { AROUND, label, startPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/protocols.md'), 'utf8'))
const HEADINGS = ['Event streams and long answers', 'Compression and hooks', 'Shutdown and drain', 'Uploads', 'Beside parsers and hooks of yours']
const blocks = document.blocks.filter(({ heading }) => HEADINGS.includes(heading))

const withPorts = await startPorts(t, [4001, 4002], () => (request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': request.url === '/events' ? 'text/event-stream' : 'application/json' }).end('data: internal\n\n')
    return
  }
  let body = ''
  request.on('data', (piece: Buffer) => { body += piece.toString() }).on('end', () => { response.end(JSON.stringify({ url: request.url, type: request.headers['content-type'], body })) })
})

t.test('the blocks are there', async t => {
  t.same(blocks.map(({ language }) => language), ['yaml', 'ts', 'yaml', 'ts'])
})

for (const block of blocks.filter(({ language }) => language === 'yaml')) {
  t.test(label(block), async t => {
    const { gateway } = parseConfigText(withPorts(block.text), { path: join(ROOT, 'gateway.yaml'), env: {} })
    const { app } = await startGateway(t, gateway, () => {})
    if (block.heading === 'Uploads') t.equal((await app.inject({ method: 'POST', url: '/files/x', payload: 'x' })).statusCode, 200)
    else for (const path of ['/events/x', '/logs']) t.equal((await app.inject(path)).statusCode, 200, path)
  })
}

const FORM = '--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--b--\r\n'
const TYPE = 'multipart/form-data; boundary=b'

for (const block of blocks.filter(({ language }) => language === 'ts')) {
  t.test(label(block), async t => {
    const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
    const file = join(folder, 'example.ts')
    const source = `${AROUND}${block.text.includes('app.register(reverseproxy') ? '' : 'await app.register(reverseproxy, { backends: { events: \'http://127.0.0.1:4001\' } })\n'}${block.text}export { app }\n`
    await writeFile(file, withPorts(source).replaceAll("'fastify-reverseproxy'", `'${relative(folder, join(ROOT, 'index.ts'))}'`))
    const { app } = await import(file) as { app: FastifyInstance }
    t.teardown(async () => { app.server.closeAllConnections(); await app.close() })
    await app.listen({ port: 0, host: '127.0.0.1' })
    if (block.heading === 'Compression and hooks') {
      t.equal((await app.inject('/events')).body, 'data: public\n\n')
      t.equal((await app.inject('/lines')).statusCode, 200)
      return
    }
    const post = async (path: string) => await (await fetch(`${app.listeningOrigin}${path}`, { method: 'POST', headers: { 'content-type': TYPE }, body: FORM })).json()
    t.same(await post('/files/a'), { url: '/files/a', type: TYPE, body: FORM })
    t.same(await post('/profile'), { url: '/profiles', type: 'application/json', body: '{"name":"Ada"}' })
  })
}

t.test('every error that the text names is one', async t => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  for (const code of codeIn(document.prose).filter(code => /^RP_ERR_[A-Z_]+$/.test(code))) t.ok(readme.includes(`\`${code}\``), code)
})
