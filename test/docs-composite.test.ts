/**
 * docs/composite.md says what is so: every yaml block is a configuration, every ts block runs and has the right types, and what
 * the text blocks behind them show is asked for and compared, calls to backends included.
 */
import t, { type Test } from 'tap'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import * as errors from '../lib/errors.ts'
import { compositeSchema } from '../lib/options/schema/composite.ts'
import { startGateway } from './helper.ts'
import { label, runPrograms, startPorts } from './helper-docs.ts'
import type { WithPorts } from './helper-docs.ts'
import { codeIn, readMarkdown, ROOT } from './helper-readme.ts'
import type { CodeBlock } from './helper-readme.ts'

const path = join(ROOT, 'docs/composite.md')
const document = readMarkdown(await readFile(path, 'utf8'))

/** What stands around the ts blocks. */
const AROUND = `import Fastify from 'fastify'
import reverseproxy, { defineComposite, serverOptions } from 'fastify-reverseproxy'
const app = Fastify({ ...serverOptions, logger: { level: 'silent' } })
await app.register(reverseproxy, { backends: { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002', reviews: 'http://127.0.0.1:4003', ads: 'http://127.0.0.1:4004' } })
`
const BACKENDS = 'backends: { users: http://127.0.0.1:4001, orders: http://127.0.0.1:4002, reviews: http://127.0.0.1:4003, ads: http://127.0.0.1:4004 }\n'

// ---- text blocks: what is asked, and what comes

/**
 * `GET /a`, then `200 {"b":1}`. Lines after the first that are indented are the calls to backends (`users GET /b`), lines after the
 * second are headers. A dots character stands for anything.
 */
interface Exchange {
  readonly request: string
  readonly details: string[]
  answer: string | undefined
  readonly headers: string[]
}

function readExchanges (text: string): Exchange[] {
  const exchanges: Exchange[] = []
  for (const line of text.split('\n').filter(line => line !== '')) {
    const current = exchanges.at(-1)
    if (/^[A-Z]/.test(line)) exchanges.push({ request: line, details: [], answer: undefined, headers: [] })
    else if (/^\d/.test(line) && current !== undefined) current.answer = line
    else if (line.startsWith('  ') && current !== undefined) (current.answer === undefined ? current.details : current.headers).push(line.trim())
    else throw new Error(`no line of an exchange: ${line}`)
  }
  return exchanges
}

/** `GET /a {"b":1}` or `200 {"b":1}`, in pieces. */
function words (line: string, count: number): string[] {
  const pieces = line.split(' ')
  return [...pieces.slice(0, count), pieces.slice(count).join(' ')]
}

function toPattern (text: string): RegExp {
  return new RegExp(`^${text.split('…').map(piece => piece.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')}$`, 's')
}

// ---- backends: the first text block

interface Scripted { readonly backend: string, readonly target: RegExp, readonly method: string, readonly status: number, readonly headers: Record<string, string>, readonly body: string }

const NAMES = ['users', 'orders', 'reviews', 'ads']
const [world] = document.blocks.filter(({ language }) => language === 'text')
const scripts: Scripted[] = []
/** What the backends were asked: `users GET /users/7`. */
let calls: string[] = []
let withPorts: WithPorts

function readWorld (): void {
  for (const line of world!.text.split('\n').filter(line => line !== '')) {
    if (line.startsWith('  ')) {
      const [, name, value] = /^ *([^:]+): (.*)$/.exec(line)!
      scripts.at(-1)!.headers[name!] = value!
      continue
    }
    const [backend, method, target, status, body] = words(line.replace(/ +/g, (spaces, at) => at < 40 ? ' ' : spaces), 4)
    scripts.push({ backend: backend!, method: method!, target: toPattern(target!), status: Number(status), body: body!, headers: {} })
  }
}

t.before(async () => {
  readWorld()
  withPorts = await startPorts(t, NAMES.map((_, index) => 4001 + index), number => async (request, response) => {
    const backend = NAMES[number - 4001]!
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk as string
    calls.push(`${backend} ${request.method} ${request.url}${body === '' ? '' : ` ${body}`}`)
    const script = scripts.find(one => one.backend === backend && one.method === request.method && one.target.test(request.url!))
    if (script === undefined) response.writeHead(404, { 'content-type': 'application/json' }).end('{"message":"nothing here"}')
    else if (script.status !== 0) response.writeHead(script.status, { 'content-type': script.body.startsWith('<') ? 'text/html' : 'application/json', ...script.headers }).end(script.body)
  })
})

async function checkExchanges (t: Test, app: FastifyInstance, text: string): Promise<void> {
  if (app.server.address() === null) await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  for (const { request, details, answer, headers } of readExchanges(text)) {
    const [method, url, body] = words(request, 2)
    calls = []
    const response = await fetch(`http://127.0.0.1:${port}${url}`, { method: method!, ...body === '' ? {} : { body: body!, headers: { 'content-type': 'application/json' } } })
    const got = `${response.status} ${await response.text()}`.trim()
    t.match(got, toPattern(answer ?? 'an answer'), request)
    if (details.length > 0) t.same([...calls].sort(), [...details].sort(), `${request}: the calls`)
    for (const header of headers) {
      const [, name, value] = /^([^:]+): ?(.*)$/.exec(header)!
      const all = name === 'set-cookie' ? response.headers.getSetCookie().join(' | ') : response.headers.get(name!) ?? '(none)'
      t.match(all, toPattern(value!), `${request}: ${name}`)
    }
  }
}

/** The text blocks that belong to a block: those between it and the next one that runs. */
function shownAfter (block: CodeBlock): string {
  const later = document.blocks.slice(document.blocks.indexOf(block) + 1)
  const end = later.findIndex(({ language }) => language !== 'text')
  return later.slice(0, end === -1 ? undefined : end).map(({ text }) => text).join('')
}

// ---- yaml

const fileOf = ({ text }: CodeBlock) => /^backends:/m.test(text) ? text : BACKENDS + text

t.test('every yaml block is a configuration, and answers what is shown', async (t) => {
  for (const block of document.blocks.filter(({ language }) => language === 'yaml')) {
    await t.test(label(block), async (t) => {
      const { gateway } = parseConfigText(withPorts(fileOf(block)), { path: 'docs/composite.md', env: {} })
      const { app } = await startGateway(t, gateway, () => {})
      await checkExchanges(t, app, shownAfter(block))
    })
  }
})

// ---- ts

t.test('every ts block runs, has the right types, and answers what is shown', async (t) => {
  await runPrograms(t, { blocks: document.blocks.filter(({ language }) => language === 'ts'), withPorts, sourceOf, check: (t, app, block) => checkExchanges(t, app, shownAfter(block)) })

  function sourceOf ({ text }: CodeBlock): string {
    const own = text.includes('import reverseproxy, ')
    const imports = own ? [] : text.split('\n').filter(line => line.startsWith('import '))
    const rest = own ? text : text.split('\n').filter(line => !line.startsWith('import ')).join('\n')
    return `${imports.join('\n')}\n${own ? '' : AROUND}${rest}export { app, ${own ? 'reverseproxy' : 'defineComposite'} }\n`
  }
})

// ---- the rest

t.test('there are no blocks that nothing runs', async (t) => {
  t.same([...new Set(document.blocks.map(({ language }) => language))].sort(), ['text', 'ts', 'yaml'])
})

t.test('every error that the text names is one', async (t) => {
  const known = Object.values(errors).filter(value => typeof value === 'function' && value.prototype instanceof Error)
    .map(One => new (One as new (problems: unknown[]) => { code: string })([]).code)
  for (const code of codeIn(document.prose).filter(code => code.startsWith('RP_ERR_'))) t.ok(known.includes(code), code)
})

t.test('every option of a composite and of a part is named', async (t) => {
  const text = document.prose + document.blocks.map(({ text }) => text).join('')
  // what they have within is the matter of docs/resilience.md
  for (const name of optionNames(compositeSchema, ['circuitBreaker', 'retry'])) t.match(text, new RegExp(`\\b${name}\\b`), name)
})

interface Branch { readonly properties?: Record<string, Branch>, readonly patternProperties?: Record<string, Branch>, readonly anyOf?: readonly Branch[], readonly items?: Branch }

function optionNames (schema: unknown, closed: readonly string[]): Set<string> {
  const { properties = {}, patternProperties = {}, anyOf = [], items } = schema as Branch
  const open = Object.entries(properties).filter(([name]) => !closed.includes(name)).map(([, branch]) => branch)
  const inner = [...open, ...Object.values(patternProperties), ...anyOf, ...items === undefined ? [] : [items]]
  return new Set([...Object.keys(properties), ...inner.flatMap(branch => [...optionNames(branch, closed)])])
}

t.test('links lead somewhere', async (t) => {
  const slug = (heading: string) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-')
  const anchorsOf = (prose: string) => [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading!))
  for (const [, link = ''] of document.prose.matchAll(/\]\(([^)]+)\)/g)) {
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? path : join(ROOT, 'docs', file)
    if (!existsSync(target)) t.fail(link)
    else if (anchor !== undefined) t.ok(anchorsOf(readMarkdown(await readFile(target, 'utf8')).prose).includes(anchor), link)
  }
})
