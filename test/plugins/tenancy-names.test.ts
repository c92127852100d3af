/** What a tenant is called in metrics and logs. */
import t from 'tap'
import type { Test } from 'tap'
import { PassThrough } from 'node:stream'
import { buildGateway, closedPort } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'

type TenancyOptions = NonNullable<GatewayOptions['tenancy']>

/** Asks a composite whose only part cannot be had, as each of these; the tenants of the log lines about it. */
async function namesInLogs (t: Test, tenancy: TenancyOptions, ids: readonly string[]): Promise<Array<string | undefined>> {
  const stream = new PassThrough()
  const lines: string[] = []
  stream.on('data', (line: Buffer) => lines.push(String(line)))
  const app = await buildGateway({ backends: { up: `http://127.0.0.1:${await closedPort()}` }, circuitBreaker: false, tenancy }, app => {
    app.get('/page', { composite: { parts: { one: { backend: 'up', path: '/' } } } }, app.reverseproxy.handler)
  }, { logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  for (const id of ids) t.equal((await app.inject({ url: '/page', headers: { 'x-tenant-id': id } })).statusCode, 502)
  return lines.map(line => JSON.parse(line) as { msg: string, tenant?: string }).filter(({ msg }) => msg === 'parts of a composite failed').map(({ tenant }) => tenant)
}

t.test('logs show the id', async t => {
  t.same(await namesInLogs(t, { tenants: { acme: {} } }, ['acme', 'stranger']), ['acme', 'stranger'])
})

t.test('hashIds: logs show a hash in its place, the same for the same id', async t => {
  const [one, again, other] = await namesInLogs(t, { hashIds: true, tenants: { acme: {} } }, ['acme', 'acme', 'globex'])
  t.match(one, /^[\da-f]{16}$/)
  t.equal(again, one)
  t.not(other, one)
})

t.test('hashIds with a text: another text, another hash', async t => {
  const [one] = await namesInLogs(t, { hashIds: 'salt', tenants: { acme: {} } }, ['acme'])
  const [other] = await namesInLogs(t, { hashIds: 'pepper', tenants: { acme: {} } }, ['acme'])
  const [bare] = await namesInLogs(t, { hashIds: true, tenants: { acme: {} } }, ['acme'])
  t.equal(new Set([one, other, bare]).size, 3)
})

t.test('labels: so many tenants have a name of their own in metrics, the rest one together', async t => {
  const app = await buildGateway({ backends: { up: 'http://127.0.0.1:1' }, tenancy: { labels: 2, tenants: { a: {}, b: {}, c: {}, d: {} } } }, app => {
    app.get('/label', { tenancy: true }, async request => ({ label: request.reverseproxy?.scope?.label }))
  })
  t.teardown(() => app.close())
  const labels: unknown[] = []
  for (const id of ['c', 'a', 'b', 'd', 'c', 'a']) labels.push((await app.inject({ url: '/label', headers: { 'x-tenant-id': id } })).json<{ label: string }>().label)
  t.same(labels, ['c', 'a', 'other', 'other', 'c', 'a'])
})
