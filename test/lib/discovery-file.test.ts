/** Targets from a file: what it may hold, and how its changes are noticed. Real files, a virtual clock. */
import t, { type Test } from 'tap'
import { mkdir, readFile, readlink, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { createFile, type FileAccess } from '../../lib/discovery/file.ts'
import { MAX_YAML_SIZE, parseTargets } from '../../lib/discovery/file/parse.ts'
import { listen, providerTools } from '../helper/dns-tools.ts'
import { readMarkdown, ROOT } from '../helper-readme.ts'
import { waitFor } from '../helper.ts'

const INTERVAL = 1000
const parse = (text: string) => parseTargets(Buffer.from(text), 'targets.yaml')

/** A file with this text, and a provider that follows it. */
async function scene (t: Test, text: string) {
  const folder = t.testdir()
  const path = join(folder, 'targets.yaml')
  await writeFile(path, text)
  const double = providerTools()
  const provider = createFile({ path, interval: INTERVAL }, double.tools)
  const abort = new AbortController()
  t.teardown(() => { abort.abort() })
  return { folder, path, double, provider, resolve: () => provider.resolve(abort.signal), pass: () => double.pass(INTERVAL) }
}

const list = (...ports: number[]) => ports.map(port => `- http://10.0.0.1:${port}\n`).join('')
const urls = (...ports: number[]) => ports.map(port => `http://10.0.0.1:${port}`)

// ---- what it may hold

t.test('a list of targets, as YAML and as JSON', async t => {
  const wanted = [
    { url: 'http://10.0.0.1:8080' },
    { url: 'https://orders.test/base', weight: 2, maxConnections: 10, zone: 'a', metadata: { version: 3 } },
    { url: 'unix:///run/orders.sock', weight: 0 }
  ]
  const yaml = `# targets
- http://10.0.0.1:8080
- { url: https://Orders.test:443/base/, weight: 2, maxConnections: 10, zone: a, metadata: { version: 3 } }
- url: unix:///run/orders.sock
  weight: 0
`
  t.same(parse(yaml), wanted)
  t.same(parse(JSON.stringify(wanted)), wanted)
  t.same(parse(JSON.stringify({ $schema: 'x', targets: wanted })), wanted)
  t.same(parse(`targets:\n${yaml}`), wanted)
  t.same(parse(`\uFEFF${yaml}`), wanted, 'with a byte order mark')
  t.same(parse('{ targets: [http://10.0.0.1:8080] }'), wanted.slice(0, 1), 'YAML that only looks like JSON')
})

t.test('the list in the documentation is one', async t => {
  const { blocks } = readMarkdown(await readFile(join(ROOT, 'docs/discovery.md'), 'utf8'))
  const shown = blocks.filter(({ language, heading }) => language === 'json' && heading === 'File')
  t.match(shown.map(({ text }) => parse(text)), [[{ url: 'http://10.0.0.1:8080' }, { url: 'http://10.0.0.2:8080', weight: 2, zone: 'b' }]])
})

t.test('an empty list is one', async t => {
  t.same(parse('[]'), [])
  t.same(parse('targets: []'), [])
})

t.test('lists are frozen', async t => {
  const targets = parse('- { url: http://10.0.0.1, metadata: { a: { b: 1 } } }')
  t.ok(Object.isFrozen(targets) && Object.isFrozen(targets[0]) && Object.isFrozen(targets[0]!.metadata!['a']))
})

t.test('anchors work, and those of a bomb do not', async t => {
  t.same(parse('- { url: http://10.0.0.1, metadata: &m { a: 1 } }\n- { url: http://10.0.0.2, metadata: *m }').map(({ metadata }) => metadata), [{ a: 1 }, { a: 1 }])
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]', ...'bcdefghij'.split('').map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[index]}`).join(', ')}]`)].join('\n')
  t.throws(() => parse(bomb), { message: /^targets\.yaml:1:1:.*must be valid YAML: Excessive alias count/ })
})

for (const [what, text, message] of [
  ['nothing', '', 'targets.yaml: is empty; no targets are written []'],
  ['white space', ' \n\n', 'targets.yaml: is empty; no targets are written []'],
  ['only comments', '# soon\n', 'targets.yaml:1:1:  (top level): must be a list of targets, or an object with "targets"'],
  ['a text', 'http://10.0.0.1', 'targets.yaml:1:1:  (top level): must be a list of targets, or an object with "targets" (got "http://10.0.0.1")'],
  ['another object', 'backends: {}', /^targets\.yaml:1:1: {2}backends: is not an option; known are targets, \$schema .*\ntargets\.yaml:1:1: {2}targets: is required$/],
  ['half of a YAML list', '- http://10.0.0.1\n- { url: http://10.', /^targets\.yaml:2:\d+: must be valid YAML or JSON: /],
  ['half of a JSON list', '[\n  "http://10.0.0.1",\n  "http://10.', /^targets\.yaml:3:\d+: must be valid YAML or JSON: /],
  ['two documents', '- http://10.0.0.1\n---\n- http://10.0.0.2\n', /^targets\.yaml:2:1: must be valid YAML or JSON: /],
  ['an alias of nothing', '- *nobody\n', /^targets\.yaml:1:1:.*must be valid YAML: Unresolved alias/],
  ['a key twice', '- url: http://10.0.0.1\n  url: http://10.0.0.2\n', /^targets\.yaml:2:3: must be valid YAML or JSON: Map keys must be unique/],
  ['no URL', '- http://10.0.0.1\n- orders.test\n', 'targets.yaml:2:3:  [1]: must be a URL with http://, https:// or unix:// (got "orders.test")'],
  ['a wrong weight', 'targets:\n  - url: http://10.0.0.1\n    weight: -1\n', /^targets\.yaml:3:5: {2}targets\[0\]\.weight: must be .* \(got -1\)$/],
  ['a wrong weight in JSON', '{ "targets": [\n  { "url": "http://10.0.0.1",\n    "weight": "2" }] }', /^targets\.yaml:3:5: {2}targets\[0\]\.weight: must be a number/],
  ['an option of elsewhere', '- { url: http://10.0.0.1, health: false }', /\[0\]\.health: is not an option; checks are set at the backend/],
  ['a target twice', '- http://10.0.0.1:80\n- http://10.0.0.1/\n', /^targets\.yaml:2:3: {2}\[1\]: must not be there twice/],
  ['a name of danger', '[{ "url": "http://10.0.0.1", "metadata": { "__proto__": {} } }]', /__proto__: must not be used as a name/],
  ['too deep a nest', '['.repeat(5000), /^targets\.yaml\S* must be valid YAML or JSON: /]
] as Array<[string, string, string | RegExp]>) {
  t.test(`${what} is an error that says where`, async t => {
    t.throws(() => parse(text), { message })
  })
}

t.test('of many problems some are shown', async t => {
  const error = t.throws(() => parse(Array.from({ length: 30 }, (_, index) => `- wrong${index}\n`).join(''))) as unknown as Error
  t.equal(error.message.split('\n').length, 11)
  t.match(error.message, /\nand 20 more$/)
})

t.test('what is not UTF-8 is an error', async t => {
  t.throws(() => parseTargets(Buffer.from([0x2D, 0x20, 0xFF, 0xFE]), 'targets.yaml'), { message: 'targets.yaml: must be UTF-8' })
})

t.test('large lists may be JSON, and not YAML', async t => {
  const many = Array.from({ length: 40_000 }, (_, index) => ({ url: `http://10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:8080` }))
  const text = JSON.stringify(many)
  t.ok(text.length > MAX_YAML_SIZE)
  t.equal(parse(text).length, many.length)
  t.throws(() => parse(text.slice(0, -1)), { message: 'targets.yaml: is no JSON, and too large for YAML (1 MB)' })
  t.throws(() => parse(JSON.stringify([...many, { url: 1 }])), { message: /^targets\.yaml: {2}\[40000\]\.url: must be a text/ })
})

t.test('property: bytes of any kind are a list or an error', async () => {
  const real = Buffer.from('targets:\n  - { url: http://10.0.0.1, weight: 2 }\n  - http://10.0.0.2\n')
  const changed = fc.array(fc.tuple(fc.nat(real.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 5 }).map(changes => {
    const copy = Buffer.from(real)
    for (const [index, value] of changes) copy[index] = value
    return copy
  })
  fc.assert(fc.property(fc.oneof(changed, fc.nat(real.length).map(end => real.subarray(0, end)), fc.string().map(text => Buffer.from(text))), bytes => {
    try {
      return parseTargets(bytes, 'targets.yaml').every(({ url }) => /^(?:https?|unix):\/\//.test(url))
    } catch (error) {
      return (error as Error).message.startsWith('targets.yaml:')
    }
  }), { numRuns: 500 })
})

// ---- files that are none

t.test('a file that is missing, a folder, a pipe, or too large is an error', async t => {
  const folder = t.testdir()
  const { tools } = providerTools()
  const read = (path: string) => createFile({ path, interval: INTERVAL }, tools).resolve(new AbortController().signal)
  const missing = join(folder, 'missing.yaml')
  await t.rejects(read(missing), { message: `${missing}: no such file` })
  await t.rejects(read(folder), { message: `${folder}: must be a file` })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  await t.rejects(read(pipe), { message: `${pipe}: must be a file` })
  const large = join(folder, 'large.json')
  await writeFile(large, `[${' '.repeat(10 * 1024 * 1024)}]`)
  await t.rejects(read(large), { message: `${large}: is larger than 10 MB` })
  const circle = join(folder, 'circle')
  await symlink('circle', circle)
  await t.rejects(read(circle), { message: `${circle}: cannot be read (ELOOP)` })
})

t.test('a wrong file is an error with its whole path', async t => {
  const { path, resolve } = await scene(t, '- wrong\n')
  await t.rejects(resolve(), { message: new RegExp(`^${path}:1:3: {2}\\[0\\]: must be a URL`) })
})

// ---- changes

t.test('a change is told at the next look', async t => {
  const { path, provider, pass } = await scene(t, list(1))
  const listener = await listen(t, provider)
  t.same(listener.urls, urls(1))
  await writeFile(path, list(1, 2))
  await pass()
  await listener.has(2)
  t.same(listener.urls, urls(1, 2))
})

t.test('what changes the text or the times and not the targets is not told', async t => {
  const { path, provider, double, pass } = await scene(t, list(1))
  const listener = await listen(t, provider)
  for (const text of [list(1), `# a comment\n${list(1)}`, '{ "targets": [{ "url": "http://10.0.0.1:1" }] }']) {
    await writeFile(path, text)
    await pass()
    // what is written while it is looked at may be seen half written
    await waitFor(() => double.waits.length === 1)
  }
  await writeFile(path, list(2))
  await pass()
  await listener.has(2)
  t.equal(listener.lists.length, 2)
})

t.test('a write that keeps size and time of the text is noticed', async t => {
  const { path, provider, pass } = await scene(t, list(1))
  const before = await stat(path)
  const listener = await listen(t, provider)
  await writeFile(path, list(2))
  await utimes(path, before.atime, before.mtime)
  await pass()
  await listener.has(2)
  t.same(listener.urls, urls(2))
})

/** A file on a file system whose clock stands still unless it is told otherwise. */
function coarse () {
  const file = { text: list(1), mark: '1', reads: 0 }
  const access: FileAccess = {
    markOf: async () => file.mark,
    readState: async () => { file.reads++; return { mark: file.mark, bytes: Buffer.from(file.text) } }
  }
  return { file, access }
}

t.test('a second write within one tick of the clock of the file system is noticed', async t => {
  const { file, access } = coarse()
  const double = providerTools()
  const listener = await listen(t, createFile({ path: '/targets.yaml', interval: INTERVAL }, double.tools, access))
  for (const port of [2, 3]) {
    file.text = list(port)
    await double.pass(INTERVAL)
    await listener.has(port)
    t.same(listener.urls, urls(port))
  }
})

t.test('a file that has not changed for a while is only looked at, and still followed', async t => {
  const { file, access } = coarse()
  const double = providerTools()
  const listener = await listen(t, createFile({ path: '/targets.yaml', interval: INTERVAL }, double.tools, access))
  for (let looks = 0; looks < 10; looks++) await double.pass(INTERVAL)
  await waitFor(() => double.waits.length === 1)
  t.equal(file.reads, 3, 'at the start, and for less than three seconds')
  file.text = list(2)
  file.mark = '2'
  await double.pass(INTERVAL)
  await listener.has(2)
  file.text = list(3)
  await double.pass(INTERVAL)
  await listener.has(3)
  t.same(listener.urls, urls(3), 'and in the tick after a change it is read again')
})

t.test('a file that is renamed into place is followed', async t => {
  const { folder, path, provider, pass } = await scene(t, list(1))
  const listener = await listen(t, provider)
  for (const port of [2, 3]) {
    await writeFile(join(folder, 'new'), list(port))
    await rename(join(folder, 'new'), path)
    await pass()
    await listener.has(port)
    t.same(listener.urls, urls(port))
  }
})

t.test('a ConfigMap whose ..data link is swapped is followed', async t => {
  const folder = t.testdir()
  const put = async (name: string, text: string) => {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'targets.yaml'), text)
    await symlink(name, join(folder, '..data_tmp'))
    await rename(join(folder, '..data_tmp'), join(folder, '..data'))
  }
  await put('..1', list(1))
  const path = join(folder, 'targets.yaml')
  await symlink('..data/targets.yaml', path)
  const { tools, pass } = providerTools()
  const listener = await listen(t, createFile({ path, interval: INTERVAL }, tools))
  t.same(listener.urls, urls(1))
  await put('..2', list(2))
  await rm(join(folder, '..1'), { recursive: true })
  t.equal(await readlink(path), '..data/targets.yaml')
  await pass(INTERVAL)
  await listener.has(2)
  t.same(listener.urls, urls(2))
})

t.test('a file that goes, or goes wrong, ends the watch with an error; it can be begun again', async t => {
  const { path, provider, pass, resolve } = await scene(t, list(1))
  const first = await listen(t, provider)
  await rm(path)
  await pass()
  t.ok(await waitFor(() => first.end !== undefined))
  t.equal(first.end?.error?.message, `${path}: no such file`)
  await t.rejects(resolve(), { message: `${path}: no such file` })

  await writeFile(path, list(2))
  const second = await listen(t, provider)
  t.same(second.urls, urls(2))
  await writeFile(path, '- wrong')
  await pass()
  t.ok(await waitFor(() => second.end !== undefined))
  t.match(second.end?.error?.message, /must be a URL/)

  await writeFile(path, list(2))
  t.same(await resolve(), second.lists[0], 'the list that was there before')
})

t.test('what `resolve` told of is not told again by the watch', async t => {
  const { path, provider, double, pass, resolve } = await scene(t, list(1))
  const listener = await listen(t, provider)
  await writeFile(path, list(2))
  await resolve()
  await pass()
  await waitFor(() => double.waits.length === 1)
  t.equal(listener.lists.length, 1)
})

t.test('a stopped watch ends, and what is aborted before it begins reads nothing', async t => {
  const { provider, double } = await scene(t, list(1))
  const listener = await listen(t, provider)
  listener.stop()
  t.ok(await waitFor(() => listener.end !== undefined))
  t.same(double.waits, [])
  await t.rejects(provider.resolve(AbortSignal.abort(new Error('enough'))), { message: 'enough' })
})
