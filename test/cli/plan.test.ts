/** `reverseproxy plan`, and what docs/reload.md says of it. */
import t, { type Test } from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readMarkdown, ROOT } from '../helper-readme.ts'
import { command } from './command.ts'

const folder = t.testdir({
  'old.yaml': 'backends: { users: http://127.0.0.1:4001 }\n',
  'same.json': '{ "backends": { "users": ["http://127.0.0.1:4001"] } }',
  'new.yaml': 'backends: { users: http://127.0.0.1:4002 }\n',
  'bad.yaml': 'backends: { users: 5 }\n',
  'worse.yaml': 'backend: {}\n'
})
const at = (name: string) => join(folder, name)

const plan = (t: Test, ...args: readonly string[]) => command(t, 'plan', ...args)

t.test('plan prints what would change and ends with 0', async t => {
  const { code, stdout, stderr } = await plan(t, at('old.yaml'), at('new.yaml'))
  t.equal(code, 0)
  t.equal(stderr, '')
  t.match(stdout, /^backends:\n {2}~ users\n {4}\+ http:\/\/127\.0\.0\.1:4002\n {4}- http:\/\/127\.0\.0\.1:4001 {2}\(drains\)\n/)
})

t.test('plan of what is the same says so', async t => {
  t.same(await plan(t, at('old.yaml'), at('same.json')), { code: 0, stdout: 'Nothing would change.\n', stderr: '' })
})

t.test('--exit-code gives 2 when something would change, else 0', async t => {
  t.match(await plan(t, at('old.yaml'), at('new.yaml'), '--exit-code'), { code: 2, stdout: /~ users/, stderr: '' })
  t.match(await plan(t, at('old.yaml'), at('same.json'), '--exit-code'), { code: 0, stdout: /Nothing/ })
})

t.test('--json prints the plan as data', async t => {
  const { code, stdout } = await plan(t, '--json', at('old.yaml'), at('new.yaml'))
  t.equal(code, 0)
  t.match(JSON.parse(stdout), {
    server: [],
    global: [],
    backends: { added: [], changed: [{ name: 'users', targets: { added: ['http://127.0.0.1:4002'], removed: ['http://127.0.0.1:4001'], kept: 0 }, poolsKept: true }] },
    effects: [/target http:\/\/127\.0\.0\.1:4001/, /Requests under way finish/]
  })
})

t.test('a wrong file ends with 1 and everything that is wrong, also in both', async t => {
  t.match(await plan(t, at('old.yaml'), at('bad.yaml'), '--exit-code'), { code: 1, stdout: '', stderr: /bad\.yaml:1:\d+ +backends\.users/ })
  t.match(await plan(t, at('none.yaml'), at('new.yaml')), { code: 1, stdout: '', stderr: /none\.yaml.*[^]*no such file/ })
  const { code, stderr } = await plan(t, at('bad.yaml'), at('worse.yaml'))
  t.equal(code, 1)
  t.match(stderr, /bad\.yaml:1:\d+ +backends\.users[^]*worse\.yaml:1:1 +backend: is not an option/)
})

t.test('plan needs two files', async t => {
  t.match(await plan(t), { code: 2, stderr: /plan needs <old file> <new file>/ })
  t.match(await plan(t, at('old.yaml')), { code: 2, stderr: /plan needs <old file> <new file>/ })
  t.match(await plan(t, at('old.yaml'), at('new.yaml'), at('bad.yaml')), { code: 2, stderr: /plan does not know what to do with ".*bad\.yaml"/ })
})

t.test('the plan in docs/reload.md is what the command prints', async t => {
  const { blocks } = readMarkdown(await readFile(join(ROOT, 'docs/reload.md'), 'utf8'))
  const of = (language: string) => blocks.filter(block => block.heading === 'Changing the configuration' && block.language === language).map(({ text }) => text)
  const [before, after] = of('yaml')
  const docs = t.testdir({ 'gateway.yaml': before!, 'next.yaml': after! })
  const lines = of('sh').flatMap(text => text.trim().split('\n'))
  t.equal(lines.length, 2)
  for (const line of lines) {
    const [, ...args] = /^npx reverseproxy plan (\S+) (\S+)(?: (\S+))?$/.exec(line)!
    const { code, stdout } = await plan(t, ...args.flatMap(arg => arg === undefined ? [] : arg.startsWith('--') ? [arg] : [join(docs, arg)]))
    t.equal(code, line.endsWith('--exit-code') ? 2 : 0)
    t.equal(stdout, of('text')[0])
  }
})
