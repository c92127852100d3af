/** What operators do to targets and circuits through the admin interface. */
import t from 'tap'
import type { Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import type { ActionResult } from '../../lib/admin/types.ts'
import { closedPort, httpUpstream, proxyAll, waitFor } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'

interface Line { readonly level: number, readonly msg: string, readonly action?: string, readonly target?: string, readonly remoteAddress?: string, readonly tenant?: string }

async function start (t: Test, options: GatewayOptions): Promise<{ app: FastifyInstance, lines: Line[] }> {
  const lines: Line[] = []
  const app = Fastify({ ...serverOptions, logger: { level: 'info', stream: { write (line: string) { lines.push(JSON.parse(line) as Line) } } } }) as FastifyInstance
  t.teardown(() => app.close())
  await app.register(reverseproxy, { admin: true, ...options })
  await proxyAll()(app)
  await app.ready()
  return { app, lines }
}

async function act (app: FastifyInstance, path: string, body?: object): Promise<{ status: number, answer: ActionResult & { code: string, message: string } }> {
  const response = await app.inject({ method: 'POST', url: `/_gateway/backends/${path}`, ...(body === undefined ? undefined : { payload: body }) })
  return { status: response.statusCode, answer: response.json() }
}

const A = 'http://127.0.0.1:4001'
const B = 'http://127.0.0.1:4002'

t.test('a target is drained at once, though something runs there, and comes back', async t => {
  const held: Array<() => void> = []
  const { url } = await httpUpstream(t, (_request, response) => { held.push(() => { response.end() }) })
  const { app, lines } = await start(t, { backends: { up: [url] } })
  const running = app.inject('/x')
  t.ok(await waitFor(() => held.length === 1))
  const { status, answer } = await act(app, 'up/drain', { target: url })
  t.equal(status, 200)
  t.match(answer, { done: true, backend: { name: 'up', state: 'down', targets: [{ url, state: 'draining', excluded: 'draining', inflight: 1 }] } })
  t.equal((await app.inject('/y')).statusCode, 503)
  held[0]!()
  t.equal((await running).statusCode, 200)
  t.match((await act(app, 'up/undrain', { target: url })).answer, { done: true, backend: { state: 'ok', targets: [{ state: 'active', excluded: null }] } })
  const again = app.inject('/z')
  t.ok(await waitFor(() => held.length === 2))
  held[1]!()
  t.equal((await again).statusCode, 200)
  t.match(lines.filter(({ action }) => action !== undefined), [
    { level: 30, action: 'drain', backend: 'up', target: url, remoteAddress: '127.0.0.1', msg: 'admin: drain' },
    { level: 30, action: 'undrain', target: url }
  ])
})

t.test('a URL may be written as the configuration may write it', async t => {
  const { app } = await start(t, { backends: { up: [A] } })
  t.match((await act(app, 'up/drain', { target: 'HTTP://127.0.0.1:4001/' })).answer, { backend: { targets: [{ state: 'draining' }] } })
})

t.test('a drain that fails later is logged, and ends nothing', async t => {
  const { app, lines } = await start(t, { backends: { up: [A] } })
  const { backends } = app.reverseproxy
  backends.drain = async () => { throw new Error('the pool does not close') }
  t.equal((await act(app, 'up/drain', { target: A })).status, 200)
  t.ok(await waitFor(() => lines.some(({ level, msg }) => level === 50 && msg === 'admin: a target could not be drained')))
})

t.test('a check asks now, one target or all', async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const dead = `http://127.0.0.1:${await closedPort()}`
  const { app } = await start(t, { backends: { up: { targets: [url, dead], health: { path: '/', interval: '1h' } } } })
  t.ok(await waitFor(() => app.reverseproxy.health.status('up').every(({ check }) => check!.checks === 1)))
  t.match((await act(app, 'up/check', { target: url })).answer, { done: true, healthy: true, backend: { targets: [{ health: { check: { checks: 2 } } }, { health: { check: { checks: 1 } } }] } })
  t.match((await act(app, 'up/check')).answer, { done: true, healthy: false, backend: { state: 'degraded', targets: [{ health: { check: { checks: 3 } } }, { health: { healthy: false, check: { checks: 2 } } }] } })
})

t.test('circuits open and close, of one target or of all', async t => {
  const { app } = await start(t, { backends: { up: [A, B] } })
  t.match((await act(app, 'up/breaker/open', { target: A })).answer, { backend: { state: 'degraded', targets: [{ breaker: { state: 'open' }, excluded: /^circuit-open/ }, { breaker: null }] } })
  t.match((await act(app, 'up/breaker/open')).answer, { backend: { state: 'down', targets: [{ breaker: { state: 'open' } }, { breaker: { state: 'open' } }] } })
  t.match((await act(app, 'up/breaker/close', {})).answer, { backend: { state: 'ok', targets: [{ breaker: { state: 'closed' } }, { breaker: { state: 'closed' } }] } })
})

t.test("a tenant's circuits are its own", async t => {
  const { url } = await httpUpstream(t, (_request, response) => { response.end() })
  const { app, lines } = await start(t, { backends: { up: [url] }, tenancy: { hashIds: true, tenants: { acme: {}, other: {} } } })
  await app.inject({ url: '/x', headers: { 'x-tenant-id': 'acme' } })
  t.match((await act(app, 'up/breaker/open', { tenant: 'acme' })).answer, { done: true, backend: { state: 'ok' } })
  t.equal((await app.inject({ url: '/x', headers: { 'x-tenant-id': 'acme' } })).statusCode, 503)
  t.equal((await app.inject('/x')).statusCode, 200)
  const { status, answer } = await act(app, 'up/breaker/open', { tenant: 'other' })
  t.equal(status, 404)
  t.match(answer, { code: 'RP_ERR_ADMIN_UNKNOWN', message: 'The tenant "other" has not used the backend "up"' })
  const [line] = lines.filter(({ action }) => action === 'open breaker')
  t.ok(line!.tenant !== undefined && line!.tenant !== 'acme', 'logs show it as they do elsewhere')
})

t.test('what is not there is a 404 that names it', async t => {
  const { app } = await start(t, { backends: { up: [A] } })
  for (const [path, body, message] of [
    ['none/drain', { target: A }, 'There is no backend "none"'],
    ['up/drain', { target: B }, `The backend "up" has no target "${B}"`],
    ['up/undrain', { target: 'nonsense' }, 'The backend "up" has no target "nonsense"'],
    ['up/check', { target: B }, `The backend "up" has no target "${B}"`],
    ['none/breaker/open', {}, 'There is no backend "none"'],
    ['up/breaker/close', { target: 'http://user:s3cr3t@127.0.0.1:1' }, 'The backend "up" has no target "http://[redacted]@127.0.0.1:1"'],
    ['up/breaker/open', { tenant: 'acme' }, 'The tenant "acme" has not used the backend "up"']
  ] as const) {
    const { status, answer } = await act(app, path, body)
    t.equal(status, 404, path)
    t.match(answer, { statusCode: 404, code: 'RP_ERR_ADMIN_UNKNOWN', error: 'Not Found', message }, path)
  }
})

t.test('a wrong body is a 400 that says where and why', async t => {
  const { app } = await start(t, { backends: { up: [A] } })
  for (const [path, body, message] of [
    ['up/drain', {}, "body must have required property 'target'"],
    ['up/drain', { target: 7 }, 'body/target must be string'],
    ['up/drain', { target: '' }, /body\/target must NOT have fewer than 1 characters/],
    ['up/drain', { target: A, force: true }, 'body must not have "force"'],
    ['up/check', { tenant: 'acme' }, 'body must not have "tenant"'],
    ['up/breaker/open', { tenant: ['acme'] }, 'body/tenant must be string'],
    ['up/breaker/open', [], 'body must be object']
  ] as const) {
    const { status, answer } = await act(app, path, body as object)
    t.equal(status, 400, path)
    t.match(answer, { statusCode: 400, code: 'FST_ERR_VALIDATION', error: 'Bad Request', message }, path)
  }
})

t.test('where circuits are switched off there is none to open', async t => {
  const { app, lines } = await start(t, { backends: { up: { targets: [A], circuitBreaker: false } } })
  t.match(await act(app, 'up/breaker/open'), { status: 409, answer: { code: 'RP_ERR_ADMIN_CONFLICT', message: /switched off/ } })
  t.same(lines.filter(({ action }) => action !== undefined), [])
})
