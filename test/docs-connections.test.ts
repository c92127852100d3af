/** docs/protocols.md on HTTP/2, TLS, sockets and proxies: every yaml block is a configuration, and what it names exists. */
import t from 'tap'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { explainConnectFailure } from '../lib/connect/failure.ts'
import { parseConfigText } from '../lib/config-file.ts'
import { AUTHORITY, SIGNED, SIGNED_CLIENT } from './helper.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'

const text = await readFile(join(ROOT, 'docs/protocols.md'), 'utf8')
const section = (heading: string) => readMarkdown(`## ${text.split(/^## /m).find(part => part.startsWith(`${heading}\n`)) ?? ''}`)

const folder = mkdtempSync(join(tmpdir(), 'rp-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })
for (const [name, pem] of [['ca', AUTHORITY], ['clients-ca', AUTHORITY], ['server', SIGNED.cert], ['server-key', SIGNED.key], ['client', SIGNED_CLIENT.cert], ['client-key', SIGNED_CLIENT.key]] as const) {
  writeFileSync(join(folder, `${name}.pem`), pem)
}

for (const heading of ['HTTP/2', 'TLS', 'Unix sockets', 'Through an HTTP proxy']) {
  t.test(heading, async t => {
    const { blocks } = section(heading)
    const files = blocks.filter(({ language }) => language === 'yaml')
    t.ok(files.length > 0)
    for (const { text, line } of files) t.doesNotThrow(() => parseConfigText(text, { path: join(folder, 'gateway.yaml'), env: {} }), `line ${line}`)
    t.same(blocks.filter(({ language }) => !['yaml', 'text'].includes(language)), [])
  })
}

t.test('the codes of the log are those that are explained', async t => {
  const { tables } = section('TLS')
  const codes = tables[0]!.rows.slice(1).flatMap(([names = '']) => codeIn(names)).filter(code => !code.includes('…') && code !== 'ERR_TLS_CERT_ALTNAME_INVALID' && code !== 'ERR_HTTP_PROXY')
  t.ok(codes.length > 8)
  for (const code of codes) t.not(explainConnectFailure(Object.assign(new Error('unexplained'), { code })).reason, 'unexplained', code)
})

t.test('the log line is the one that is shown', async t => {
  const line = JSON.parse(section('TLS').blocks.find(({ language }) => language === 'text')!.text) as { code: string, reason: string, msg: string }
  const found = explainConnectFailure(Object.assign(new Error('x'), { code: line.code }))
  t.same(found, { code: line.code, reason: line.reason })
  t.match(await readFile(join(ROOT, 'plugins/forward.ts'), 'utf8'), line.msg.split(': ')[0])
})
