/** docs/traffic-dump.md says what is so: every block runs, and the table of fields is that of the lines. */
import t, { type Test } from 'tap'
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { run } from '../cli/run.ts'
import { parseConfigText } from '../lib/config-file.ts'
import { startGateway } from './helper.ts'
import { dumpedLines, dumpFiles } from './helper/dump.ts'
import type { IncomingMessage } from 'node:http'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT, wordsOf } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/traffic-dump.md'), 'utf8'))
const blocks = (language: string) => document.blocks.filter(block => block.language === language)

const asked: IncomingMessage[] = []
const withPorts = await startPorts(t, [4002], () => (request, response) => {
  asked.push(request)
  response.writeHead(/^\/(?:\d|$|\?)/.test(request.url!) ? 200 : 404, { 'content-type': 'application/json' }).end('{"ok":true}')
})

/** A dump of three requests. */
async function dump (t: Test) {
  const folder = t.testdir()
  const directory = join(folder, 'dumps')
  // a rewrite: a backend would not know the dump's paths
  const { app, url } = await startGateway(t, { backends: { orders: withPorts('http://127.0.0.1:4002') }, routes: [{ name: 'orders', path: '/api/*', proxy: { backend: 'orders', rewrite: { stripPrefix: '/api' } } }], trafficDump: { directory, sampleRate: 1 } }, () => {})
  for (const path of ['/api/1', '/api/2', '/api/missing']) await (await fetch(url + path, { headers: { 'user-agent': 'docs', authorization: 'Bearer hush' } })).text()
  return { folder, directory, lines: await dumpedLines(app, directory, 3) }
}

for (const block of blocks('yaml')) {
  t.test(label(block), async t => {
    const directory = join(t.testdir(), 'dumps')
    const text = `backends: { orders: ${withPorts('http://127.0.0.1:4002')} }\ndefaultBackend: orders\n${block.text}`.replace('./dumps', directory)
    const { gateway } = parseConfigText(text, { path: join(ROOT, 'gateway.yaml'), env: {} })
    const { app, url } = await startGateway(t, { ...gateway, random: () => 0 }, () => {})
    await (await fetch(`${url}/?invite=hush`)).text()
    const [line] = await dumpedLines(app, directory, 1)
    t.equal(line!.url, text.includes('invite') ? '/?invite=[redacted]' : '/?invite=hush')
  })
}

t.test('every ts block runs and has the right types', async t => {
  const directory = join(t.testdir(), 'dumps')
  await runPrograms(t, {
    blocks: blocks('ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text.replace('./dumps', directory)}export { app, reverseproxy }\n`,
    async check (t, app) {
      await app.inject('/1')
      await dumpedLines(app, directory, 1)
      t.match((await app.inject('/dump')).json(), { written: 1, lost: 0, queued: 0, file: directory })
    }
  })
})

t.test('what jq is asked', { skip: existsSync('/usr/bin/jq') ? false : 'there is no jq' }, async t => {
  const { directory } = await dump(t)
  const shell = (line: string) => execFileSync('sh', ['-c', line], { encoding: 'utf8', cwd: join(directory, '..') })
  const [counts = '', errors = '', agents = ''] = blocks('sh').find(({ text }) => text.startsWith('jq'))!.text.trim().split('\n').map(shell)
  t.match(counts, /^ *3 orders\n$/)
  t.match(JSON.parse(errors), { url: '/api/missing', status_code: 404 })
  t.equal(agents, 'docs\ndocs\ndocs\n')
})

t.test('what is replayed', async t => {
  const { folder } = await dump(t)
  const { url } = await startGateway(t, {
    backends: { orders: withPorts('http://127.0.0.1:4002') },
    routes: [{ name: 'orders', path: '/api/*', proxy: { backend: 'orders', rewrite: { stripPrefix: '/api' } } }]
  }, () => {})
  writeFileSync(join(folder, 'headers.txt'), 'Authorization: Bearer filed\n')
  const files = dumpFiles(join(folder, 'dumps')).map(name => join(folder, 'dumps', name))
  const headers = join(folder, 'headers.txt')
  const printed: string[] = []
  async function inProcess (words: readonly string[]): Promise<void> {
    const stdout = t.capture(process.stdout, 'write', () => true)
    await run(words.slice(2).flatMap(word => word === 'dumps/*.jsonl' ? files : word === 'headers.txt' ? [headers] : [word]))
    stdout.restore()
    printed.push(stdout().map(({ args: [text] }) => text).join(''))
  }
  const npx = `npx () { shift; '${process.execPath}' --import '${import.meta.resolve('tsx')}' '${join(ROOT, 'cli/reverseproxy.ts')}' "$@"; }`
  const commands = blocks('sh').flatMap(({ text }) => text.trim().split('\n')).filter(line => line.includes('npx'))
  asked.length = 0
  for (const command of commands) {
    const line = command.replace('http://127.0.0.1:8080', url)
    if (!line.includes(' | ')) await inProcess(wordsOf(line))
    else printed.push((await promisify(execFile)('sh', ['-c', `${npx}\n${line}`], { cwd: folder, env: { ...process.env, TOKEN: 'piped' } })).stdout)
  }
  t.match(printed, [/3 lines, 3 sent: 3 matched/, /3 lines, 2 sent: 2 matched/, /3 lines, 3 would be sent/, /1 lines, 1 sent: 1 matched/, /3 lines, 3 sent: 3 matched/, /3 lines, 3 sent: 3 matched/])
  t.same(asked.map(({ headers }) => headers.authorization ?? ''), [...Array<string>(6).fill(''), ...Array<string>(3).fill('Bearer piped'), ...Array<string>(3).fill('Bearer filed')])
  t.same(asked.slice(-3).map(({ headers }) => headers['x-tenant-id']), ['acme', 'acme', 'acme'])
})

t.test('a backend does not know the paths of a route that rewrites', async t => {
  const { directory } = await dump(t)
  const printed = t.capture(process.stdout, 'write', () => true)
  const code = await run(['replay', ...dumpFiles(directory).map(name => join(directory, name)), '--to', withPorts('http://127.0.0.1:4002')])
  printed.restore()
  t.equal(code, 1)
  t.match(printed().map(({ args: [text] }) => text).join(''), '3 lines, 3 sent: 1 matched, 2 differ')
})

t.test('the fields are those of a line, and those that only some have', async t => {
  const { lines: [line] } = await dump(t)
  const documented = document.tables[0]!.rows.slice(1).flatMap(([names = '']) => codeIn(names))
  const always = Object.keys(line!)
  for (const name of always) t.ok(documented.includes(name), name)
  t.same(documented.filter(name => !always.includes(name) && !name.startsWith('…')), ['aborted', 'cut'])
  const text = await readFile(join(ROOT, 'lib/traffic-dump/line.ts'), 'utf8')
  for (const [, ending] of text.matchAll(/\$\{of\}(_body_\w+)/g)) t.ok(documented.includes(`…${ending}`), ending!)
})

t.test('there are no blocks that nothing looks at', async t => {
  t.same([...new Set(document.blocks.map(({ language }) => language))].sort(), ['sh', 'ts', 'yaml'])
})
