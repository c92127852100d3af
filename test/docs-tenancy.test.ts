/**
 * docs/tenancy.md says what is so: every yaml block is a configuration, every ts block runs and has the right types, and what the
 * text beside them promises comes true.
 */
import t, { type Test } from 'tap'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parseConfigText } from '../lib/config-file.ts'
import { tenancySchema } from '../lib/options/schema/tenancy.ts'
import { startGateway } from './helper.ts'
import { AROUND, label, runPrograms, startPorts } from './helper-docs.ts'
import { readMarkdown, ROOT } from './helper-readme.ts'
import type { CodeBlock } from './helper-readme.ts'

const document = readMarkdown(await readFile(join(ROOT, 'docs/tenancy.md'), 'utf8'))

interface Echo { readonly port: number, readonly url: string, readonly headers: Readonly<Record<string, string | undefined>> }

const withPorts = await startPorts(t, [4001, 4002, 4003], port => ({ url, headers }, response) => {
  response.writeHead(200, { 'content-type': 'application/json', server: 'backend' }).end(JSON.stringify({ port, url, headers }))
})

interface Asked {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  /** What the backend was asked, or whatever else came. */
  readonly body: Echo & Readonly<Record<string, unknown>>
}

async function ask (app: FastifyInstance, url: string, tenant?: string, headers: Record<string, string> = {}): Promise<Asked> {
  const answer = await app.inject({ url, headers: { ...headers, ...tenant === undefined ? {} : { 'x-tenant-id': tenant } } })
  return { status: answer.statusCode, headers: answer.headers, body: answer.json() }
}

type Check = (t: Test, app: FastifyInstance) => Promise<void>

/** By language, heading and number of the block under it. */
const CHECKS: Record<string, Check> = {
  async 'yaml Tenants 0' (t, app) {
    t.match((await ask(app, '/users/1', 'acme')).body, { port: 4003, headers: { 'x-plan': 'gold', 'x-tenant-id': 'acme' } })
    t.match((await ask(app, '/orders/1', 'acme')).body, { port: 4002, headers: { 'x-plan': 'gold' } })
    for (const tenant of ['globex', undefined]) t.match((await ask(app, '/users/1', tenant)).body, { port: 4001, headers: { 'x-plan': undefined, 'x-tenant-id': tenant } })
  },
  async 'ts Who 0' (t, app) {
    const id = async (tenant?: string, headers = {}) => {
      const { status, body } = await ask(app, '/any/1', tenant, headers)
      return status === 200 ? body.headers['x-tenant-id'] : status
    }
    t.equal(await id('acme'), 'acme')
    t.equal(await id(undefined, { host: 'acme.example.com' }), 'acme')
    t.equal(await id(undefined, { 'x-api-key': 'secret' }), 'acme')
    t.equal(await id('globex'), 'globex', 'nobody knows it')
    t.equal(await id('globex', { host: 'acme.example.com' }), 400)
    t.equal(await id(undefined, { 'x-api-key': 'wrong' }), 400)
    t.equal(await id('-'), 400)
    t.match((await ask(app, '/any/1')).body, { message: /x-tenant-id/ }, 'says where it was looked for')
  },
  async 'ts Who 1' (t, app) {
    t.same((await ask(app, '/whoami', 'acme')).body, { tenant: 'acme', plan: 'gold' })
    t.same((await ask(app, '/whoami')).body, {})
    t.match((await ask(app, '/public/1', 'acme')).body, { headers: { 'x-tenant-id': undefined } })
    t.equal((await ask(app, '/users/1', 'acme')).status, 200)
    t.equal((await ask(app, '/users/1')).status, 400)
  },
  async 'ts Tenants 0' (t, app) {
    const { tenants } = app.reverseproxy
    t.same(tenants.list().map(({ id, served, source }) => ({ id, served, source })), [{ id: 'hooli', served: false, source: 'set' }])
    const statuses = await Promise.all(['acme', 'hooli', 'globex', 'other', undefined].map(async tenant => (await ask(app, '/any/1', tenant)).status))
    t.same(statuses, [403, 403, 200, 403, 200])
    t.match(tenants.get('globex'), { source: 'load', active: true, metadata: { plan: 'silver' } })
    tenants.set('acme', { backends: { users: withPorts('http://127.0.0.1:4003') } })
    t.match((await ask(app, '/any/1', 'acme')).body, { port: 4003 }, 'from the next request on')
  },
  async 'yaml Overrides 0' (t, app) {
    const acme = await ask(app, '/users/1', 'acme')
    t.match(acme, { status: 200, body: { port: 4001, headers: { 'x-plan': 'gold' } } })
    t.equal(acme.headers['server'], undefined)
    t.equal((await ask(app, '/users/1')).headers['server'], 'backend')
    t.same((await statusesOf(app, 'acme')), { '/search': 404, '/beta/1': 200, '/profile/7': 200 })
    for (const tenant of ['globex', undefined]) t.same((await statusesOf(app, tenant)), { '/search': 200, '/beta/1': 404, '/profile/7': 200 })
    t.match((await ask(app, '/profile/7', 'acme')).body, { user: { port: 4001 }, bills: { port: 4003, url: '/bills/7' }, orders: undefined })
    t.match((await ask(app, '/profile/7')).body, { user: { port: 4001 }, orders: { port: 4002, url: '/orders/7' }, bills: undefined })
  },
  async 'ts Hooks 0' (t, app) {
    const { body: { headers } } = await ask(app, '/any/1', 'acme', { cookie: 'a=1' })
    t.equal(headers['x-plan'], 'gold')
    t.equal(headers['cookie'], undefined)
    t.match((await ask(app, '/any/1', 'stranger')).body, { headers: { 'x-plan': 'free' } })
    t.match((await ask(app, '/paid/1', 'acme')).body, { headers: { 'x-plan': 'gold', 'x-request-of': /^acme:./ } })
    t.match(await ask(app, '/paid/1', 'stranger'), { status: 402, body: { message: 'not for guests' } })
  },
  async 'yaml Apart from each other 0' (t, app) {
    const { breakers } = app.reverseproxy
    for (const tenant of ['globex', 'stranger']) t.equal((await ask(app, '/x', tenant)).status, 200)
    t.same(breakers.list().map(({ scope, backend }) => ({ scope, backend })), [{ scope: '', backend: 'users' }, { scope: 'globex', backend: 'users' }])
    breakers.open('users', undefined, 'globex')
    t.equal((await ask(app, '/x', 'globex')).status, 503)
    t.equal((await ask(app, '/x')).status, 200)
    t.ok(app.reverseproxy.health.status())
  }
}

async function statusesOf (app: FastifyInstance, tenant: string | undefined): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (const url of ['/search', '/beta/1', '/profile/7']) found[url] = (await ask(app, url, tenant)).status
  return found
}

function keyOf (block: CodeBlock): string {
  const { language, heading } = block
  const under = document.blocks.filter(other => other.language === language && other.heading === heading)
  return `${language} ${heading} ${under.indexOf(block)}`
}

t.test('every block is known here, and no other', async t => {
  t.same(document.blocks.map(keyOf).sort(), Object.keys(CHECKS).sort())
})

for (const block of document.blocks.filter(({ language }) => language === 'yaml')) {
  t.test(label(block), async t => {
    const { gateway } = parseConfigText(withPorts(block.text), { path: join(ROOT, 'gateway.yaml'), env: {} })
    const { app } = await startGateway(t, gateway, app => {
      if (!block.text.includes('routes:')) app.get('/x', { proxy: 'users' }, app.reverseproxy.handler)
    })
    await CHECKS[keyOf(block)]?.(t, app)
  })
}

t.test('every ts block runs and has the right types', async t => {
  await runPrograms(t, {
    blocks: document.blocks.filter(({ language }) => language === 'ts'),
    withPorts,
    sourceOf: ({ text }) => `${AROUND}${text}app.get('/any/*', { proxy: 'users' }, app.reverseproxy.handler)\nexport { app }\n`,
    check: (t, app, block) => CHECKS[keyOf(block)]?.(t, app)
  })
})

t.test('the levels of the table are those that are tested', async t => {
  const levels = document.tables.find(({ rows }) => rows[1]?.[1] === 'default')
  t.same(levels?.rows.slice(1).map(([number, level]) => `${number} ${level}`), ['1 default', '2 gateway', '3 tenant', '4 backend', '5 tenant\'s backend', '6 route', '7 tenant\'s route', '8 hooks'])
})

t.test('every option of tenancy is named', async t => {
  const text = document.prose + document.blocks.map(({ text }) => text).join('')
  for (const name of Object.keys((tenancySchema as unknown as { properties: object }).properties)) t.match(text, new RegExp(`\\b${name}\\b`), name)
})

t.test('links lead somewhere', async t => {
  for (const [, link = ''] of document.prose.matchAll(/\]\(([^)#]+)[^)]*\)/g)) t.ok(existsSync(join(ROOT, 'docs', link)), link)
})
