/** What a change of configuration meets at a bad moment: half-open requests, clients that leave, things that are switched on and off. */
import t from 'tap'
import type { Test } from 'tap'
import { connect } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { startGateway } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import { askHttp2, AUTHORITY, chunk, closedPort, httpUpstream, rawClient, rawRequest, rawUpstream, requestBytes, respond, SIGNED, waitFor, wsBackend, wsClient } from '../helper.ts'

const SERVER = 'server: { host: 127.0.0.1, port: 0, logger: silent }\n'

/** A gateway of a text, which `become` replaces. */
async function serving (t: Test, first: string, server = SERVER) {
  let text = first
  const gateway = await startGateway(async () => parseConfigText(server + text, { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await gateway.close() })
  return {
    gateway,
    port: gateway.port,
    async become (next: string) {
      text = next
      const told = await gateway.reload()
      if (told.outcome === 'refused') throw told.error
      return told
    }
  }
}

async function ask (port: number, path = '/', headers: Record<string, string> = {}) {
  return (await rawRequest(port, requestBytes('GET', path, { headers }))).response
}

/** Answers on `/`, and counts what asks for its health. */
async function checked (t: Test, name: string) {
  const upstream = await httpUpstream(t, (request, response) => {
    if (request.url === '/health') counted.asked++
    response.end(name)
  })
  const counted = { url: upstream.url, asked: 0 }
  return counted
}

/** Answers when it is told to. */
async function held (t: Test, text = 'done') {
  const answers: Array<() => void> = []
  const upstream = await httpUpstream(t, (_request, response) => { answers.push(() => { response.end(text) }) })
  return { url: upstream.url, answers }
}

// ---- the end of what was before

t.test('a client that leaves with pipelined requests does not keep the configuration that took them', async t => {
  const up = await held(t)
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\ndefaultBackend: up\n`)
  const client = await rawClient(t, port)
  client.send(Buffer.concat([0, 1, 2].map(n => Buffer.from(requestBytes('GET', `/${n}`)))), ['GET', 'GET', 'GET'])
  t.ok(await waitFor(() => up.answers.length === 3))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /new, proxy: up }]\n`)
  t.equal(gateway.earlier, 1)
  client.resetAndDestroy()
  t.ok(await waitFor(() => gateway.earlier === 0), 'it ends')
})

t.test('pipelined requests that are answered end as any others', async t => {
  const up = await held(t)
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\ndefaultBackend: up\n`)
  const client = await rawClient(t, port)
  client.send(Buffer.concat([0, 1, 2].map(n => Buffer.from(requestBytes('GET', `/${n}`)))), ['GET', 'GET', 'GET'])
  t.ok(await waitFor(() => up.answers.length === 3))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /new, proxy: up }]\n`)
  for (const answer of up.answers) answer()
  t.equal((await client.response(2)).text, 'done')
  t.ok(await waitFor(() => gateway.earlier === 0), 'it ends, and the connection is open')
  client.send(requestBytes('GET', '/new'), ['GET'])
  t.ok(await waitFor(() => up.answers.length === 4))
  up.answers[3]!()
  t.equal((await client.response(3)).text, 'done')
})

t.test('a connection that once asked for a protocol nobody speaks does not keep the configuration', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const base = (path: string) => `backends: { up: ${up.url} }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }, { path: ${path}, proxy: up }]\n`
  const { port, become, gateway } = await serving(t, base('/a'))
  const client = await rawClient(t, port)
  client.send(requestBytes('GET', '/a', { headers: { connection: 'upgrade, http2-settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' } }), ['GET'])
  t.equal((await client.response(0)).text, 'up')
  await become(base('/b'))
  t.ok(await waitFor(() => gateway.earlier === 0), 'it ends, and the connection is open')
  client.send(requestBytes('GET', '/b', { headers: { connection: 'upgrade', upgrade: 'h2c' } }), ['GET'])
  t.equal((await client.response(1)).text, 'up')
  await become(base('/c'))
  t.ok(await waitFor(() => gateway.earlier === 0))
  client.send(requestBytes('GET', '/c'), ['GET'])
  t.equal((await client.response(2)).text, 'up')
})

t.test('a refused WebSocket does not keep the configuration', async t => {
  const up = await rawUpstream(t, respond(403, [], 'no'))
  const base = (path: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: { backend: up, websocket: true } }]\n`
  const { port, become, gateway } = await serving(t, base('/a'))
  await t.rejects(wsClient(t, `http://127.0.0.1:${port}/a`), { message: 'refused with 403' })
  await become(base('/b'))
  await t.rejects(wsClient(t, `http://127.0.0.1:${port}/a`), { message: 'refused with 404' })
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('a client that leaves in the middle of an upload ends the configuration that took it', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\ndefaultBackend: up\n`)
  const client = await rawClient(t, port)
  client.send([requestBytes('POST', '/x', { headers: { 'transfer-encoding': 'chunked' } }), chunk('first')], ['POST'])
  t.ok(await waitFor(() => up.requests.length === 1))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /new, proxy: up }]\n`)
  t.equal(gateway.earlier, 1)
  client.resetAndDestroy()
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('an upload that waits for 100 Continue goes on where it began', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /up, proxy: up }]\n`)
  const client = await rawClient(t, port)
  client.send(requestBytes('POST', '/up', { headers: { expect: '100-continue', 'content-length': '4' } }), ['POST'])
  t.ok(await waitFor(() => client.informational.length === 1))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /other, proxy: up }]\n`)
  client.send(Buffer.from('body'), [])
  t.equal((await client.response(0)).status, 200)
  t.equal(up.last.body.toString(), 'body')
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('a backend that is gone closes its connections, whatever a configuration before still has open', async t => {
  const [goes, live] = [await rawUpstream(t, respond(200, [], 'goes')), await wsBackend(t)]
  const base = (more: string) => `backends: { live: ${live.url}${more} }\nroutes: [{ path: /ws, proxy: { backend: live, websocket: true } }${more === '' ? '' : ', { path: /goes, proxy: goes }'}]\n`
  const { port, become, gateway } = await serving(t, base(`, goes: ${goes.url}`))
  await wsClient(t, `http://127.0.0.1:${port}/ws`)
  t.equal((await ask(port, '/goes')).text, 'goes')
  t.equal(goes.open, 1)
  await become(base(''))
  t.equal(gateway.earlier, 1, 'that of the WebSocket')
  t.ok(await waitFor(() => goes.open === 0), 'they are closed')
})

// ---- long connections that are just being opened

t.test('a WebSocket that opens after its route has gone is told to come back', async t => {
  let accept: (() => void) | undefined
  const up = await wsBackend(t, undefined, { verifyClient: (_info: unknown, done: (ok: boolean) => void) => { accept = () => { done(true) } } })
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }]\n`)
  const opening = wsClient(t, `http://127.0.0.1:${port}/ws`)
  t.ok(await waitFor(() => accept !== undefined))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /other, proxy: { backend: up, websocket: true } }]\n`)
  accept!()
  t.same(await (await opening).closed(), [1001, ''])
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('an event stream that begins after its route has gone ends between two events', async t => {
  const begin: Array<() => void> = []
  const up = await httpUpstream(t, (_request, response) => {
    begin.push(() => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 0\n\n') })
  })
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /goes, proxy: up }, { path: /stays, proxy: up }]\n`)
  const [goes, stays] = [await rawClient(t, port), await rawClient(t, port)]
  goes.send(requestBytes('GET', '/goes', { headers: { accept: 'text/event-stream' } }), ['GET'])
  t.ok(await waitFor(() => begin.length === 1))
  stays.send(requestBytes('GET', '/stays', { headers: { accept: 'text/event-stream' } }), ['GET'])
  t.ok(await waitFor(() => begin.length === 2))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /stays, proxy: up }]\n`)
  for (const one of begin) one()
  t.ok(await waitFor(() => goes.raw.includes('0\r\n\r\n')), 'a clean end')
  t.ok(await waitFor(() => stays.raw.includes('data: 0')))
  t.equal(gateway.earlier, 1, 'the other one stays')
})

// ---- checks of health

const CHECKS = 'health: { path: /health, interval: 20ms }'

t.test('a backend that is gone is not asked any more, whatever a configuration before still has open', async t => {
  const [stays, goes, live] = [await checked(t, 'stays'), await checked(t, 'goes'), await wsBackend(t)]
  const base = (more: string) => `backends: { live: ${live.url}, stays: { url: ${stays.url}, ${CHECKS} }${more} }\nroutes: [{ path: /ws, proxy: { backend: live, websocket: true } }]\n`
  const { port, become, gateway } = await serving(t, base(`, goes: { url: ${goes.url}, ${CHECKS} }`))
  await wsClient(t, `http://127.0.0.1:${port}/ws`)
  t.ok(await waitFor(() => goes.asked > 1))
  await become(base(''))
  t.equal(gateway.earlier, 1, 'that of the WebSocket')
  const before = goes.asked
  const reference = stays.asked
  t.ok(await waitFor(() => stays.asked > reference + 8))
  t.ok(goes.asked <= before + 2, 'it is left alone', { asked: goes.asked - before })
})

t.test('after many changes a target is asked by one gateway only', async t => {
  const up = await checked(t, 'up')
  const base = (path: string) => `backends: { up: { url: ${up.url}, health: { path: /health, interval: 1h } } }\nroutes: [{ path: ${path}, proxy: up }]\n`
  const { become, gateway } = await serving(t, base('/first'))
  t.ok(await waitFor(() => gateway.app.reverseproxy.health.status('up')[0]!.check?.last !== undefined))
  for (let i = 0; i < 20; i++) await become(base(`/n${i}`))
  await gateway.app.reverseproxy.health.check('up')
  t.equal(up.asked, 2)
})

t.test('checks that go on tell the gateway that runs: its log, its spans', async t => {
  let status = 200
  const up = await httpUpstream(t, (_request, response) => { response.writeHead(status).end() })
  const base = (path: string) => `backends: { up: { url: ${up.url}, health: { path: /health, interval: 1h, fall: 1 } } }\nroutes: [{ path: ${path}, proxy: up }]\n`
  const { become, gateway } = await serving(t, base('/a'))
  t.ok(await waitFor(() => gateway.app.reverseproxy.health.status('up')[0]!.check?.last !== undefined))
  await become(base('/b'))
  const { reverseproxy, log } = gateway.app
  const lines: string[] = []
  let traced = 0
  log.warn = ((_details: unknown, text: string) => { lines.push(text) }) as typeof log.warn
  reverseproxy.traceProbe = (probe, done) => {
    traced++
    return probe(done)
  }
  status = 500
  t.equal(await reverseproxy.health.check('up'), false)
  t.equal(traced, 1)
  t.same(lines, ['a target is unhealthy'])
})

// ---- tenants

const OWN = (url: string, more = '') => `acme: { backends: { up: { url: ${url}, ${CHECKS} } }${more} }`

t.test('tenants that nobody asks for again: their checks end with the gateway', async t => {
  const [own, up] = [await checked(t, 'own'), await checked(t, 'up')]
  const base = (path: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\ntenancy: { tenants: { ${OWN(own.url)} } }\n`
  const { port, become, gateway } = await serving(t, base('/a'))
  t.equal((await ask(port, '/a', { 'x-tenant-id': 'acme' })).text, 'own')
  t.ok(await waitFor(() => own.asked > 1))
  await become(base('/b'))
  await gateway.close()
  const witness = await serving(t, `backends: { up: { url: ${up.url}, ${CHECKS} } }\n`)
  t.ok(witness)
  const before = own.asked
  t.ok(await waitFor(() => up.asked > 8))
  t.ok(own.asked <= before + 2, 'nobody asks any more', { asked: own.asked - before })
})

t.test('tenancy that is switched off lets go what tenants had', async t => {
  const [own, up] = [await checked(t, 'own'), await checked(t, 'up')]
  const base = `backends: { up: { url: ${up.url}, ${CHECKS} } }\ndefaultBackend: up\n`
  const { port, become } = await serving(t, `${base}tenancy: { tenants: { ${OWN(own.url)} } }\n`)
  t.equal((await ask(port, '/', { 'x-tenant-id': 'acme' })).text, 'own')
  t.ok(await waitFor(() => own.asked > 1))
  await become(base)
  t.equal((await ask(port, '/', { 'x-tenant-id': 'acme' })).text, 'up')
  const [before, reference] = [own.asked, up.asked]
  t.ok(await waitFor(() => up.asked > reference + 8))
  t.ok(own.asked <= before + 2, 'nobody asks any more', { asked: own.asked - before })
  await become(`${base}tenancy: { tenants: { ${OWN(own.url)} } }\n`)
  t.equal((await ask(port, '/', { 'x-tenant-id': 'acme' })).text, 'own', 'and on again')
})

t.test('tenants come, go and keep connections of their own', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const own = await rawUpstream(t, respond(200, [], 'own'))
  const base = (path: string, tenants: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\ntenancy: { isolation: pool, tenants: { ${tenants} } }\n`
  const mine = `acme: { backends: { up: ${own.url} } }, globex: {}`
  const { port, become, gateway } = await serving(t, base('/0', mine))
  for (let i = 1; i <= 5; i++) {
    t.equal((await ask(port, `/${i - 1}`, { 'x-tenant-id': 'acme' })).text, 'own')
    t.equal((await ask(port, `/${i - 1}`, { 'x-tenant-id': 'globex' })).text, 'up')
    t.equal((await ask(port, `/${i - 1}`)).text, 'up')
    await become(base(`/${i}`, mine))
  }
  t.equal(own.connections, 1)
  t.equal(up.connections, 2, 'one of the tenant, one of everybody')
  await become(base('/5', 'globex: {}'))
  t.not((await ask(port, '/5', { 'x-tenant-id': 'acme' })).text, 'own')
  t.equal((await ask(port, '/5', { 'x-tenant-id': 'globex' })).text, 'up')
  await gateway.close()
  t.ok(await waitFor(() => own.open === 0 && up.open === 0), 'all are closed at last')
})

for (const [who, headers] of [['everybody', {}], ['a tenant', { 'x-tenant-id': 'acme' }]] as const) {
  t.test(`a call of ${who} that is tried again goes to the targets that there are then`, async t => {
    let fail: (() => void) | undefined
    let later = 0
    const a = await httpUpstream(t, (_request, response) => {
      later++
      fail = () => { response.writeHead(503).end('a') }
    })
    const b = await rawUpstream(t, respond(200, [], 'b'))
    const base = (url: string) => `backends: { up: ${url} }\nroutes: [{ path: /x, proxy: { backend: up, retry: { attempts: 2, backoff: { initial: 1ms, max: 1ms } } } }]\ntenancy: { tenants: { acme: {} } }\n`
    const { port, become } = await serving(t, base(a.url))
    const answer = ask(port, '/x', headers)
    t.ok(await waitFor(() => fail !== undefined))
    await become(base(b.url))
    fail!()
    t.equal((await answer).text, 'b')
    t.equal(later, 1)
  })
}

// ---- calls that wait

t.test('calls that wait for a place get it when there are more', async t => {
  const up = await held(t)
  const base = (max: number) => `backends: { up: { url: ${up.url}, concurrency: { max: ${max}, queue: 10, queueTimeout: 1h } } }\ndefaultBackend: up\n`
  const { port, become, gateway } = await serving(t, base(1))
  const answers = [ask(port), ask(port), ask(port)]
  t.ok(await waitFor(() => up.answers.length === 1))
  await become(base(3))
  t.ok(await waitFor(() => up.answers.length === 3))
  for (const answer of up.answers) answer()
  t.same((await Promise.all(answers)).map(({ status }) => status), [200, 200, 200])
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('calls that wait for a place of a backend that goes are served all the same', async t => {
  const up = await held(t)
  const { port, become, gateway } = await serving(t, `backends: { up: { url: ${up.url}, concurrency: { max: 1, queue: 10, queueTimeout: 1h } } }\ndefaultBackend: up\n`)
  const answers = [ask(port), ask(port)]
  t.ok(await waitFor(() => up.answers.length === 1))
  await become('backends: {}\n')
  up.answers[0]!()
  t.ok(await waitFor(() => up.answers.length === 2))
  up.answers[1]!()
  t.same((await Promise.all(answers)).map(({ text }) => text), ['done', 'done'])
  t.ok(await waitFor(() => gateway.earlier === 0))
})

// ---- metrics on a port of their own

t.test('the port of metrics is free when a configuration no longer wants it, and can be had again', async t => {
  const live = await wsBackend(t)
  const [one, other] = [await closedPort(), await closedPort()]
  const base = (metrics: string) => `backends: { live: ${live.url} }\nroutes: [{ path: /ws, proxy: { backend: live, websocket: true } }]\n${metrics}`
  const on = (port: number) => base(`metrics: { port: ${port} }\n`)
  const { port, become, gateway } = await serving(t, on(one))
  const client = await wsClient(t, `http://127.0.0.1:${port}/ws`)
  for (const next of [on(other), on(one), base(''), on(one)]) {
    await become(next)
    for (const each of [one, other]) {
      const isOn = gateway.app.reverseproxy.metrics.port === each
      if (isOn) t.equal((await ask(each, '/metrics')).status, 200)
      else t.ok(await refuses(each), 'nobody listens')
    }
  }
  t.equal(client.close, undefined)
})

async function refuses (port: number): Promise<boolean> {
  return await new Promise(resolve => {
    const socket = connectSocket({ port, host: '127.0.0.1' })
    socket.once('connect', () => { socket.destroy(); resolve(false) })
    socket.once('error', () => { resolve(true) })
  })
}

t.test('counters go on, from the change on that switched them on', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const base = (path: string, metrics = 'metrics: true\n') => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\n${metrics}`
  const { port, become } = await serving(t, base('/a', ''))
  await ask(port, '/a')
  await become(base('/b'))
  await ask(port, '/b')
  await become(base('/c'))
  await ask(port, '/c')
  const { text } = await ask(port, '/metrics')
  t.notMatch(text, 'route="/a"')
  for (const route of ['/b', '/c']) t.match(text, `requests_total{route="${route}",method="GET",code="200"} 1\n`)
  t.match(text, 'reloads_total{result="success"} 1\n')
})

// ---- the process

t.test('configurations that are refused leave nothing behind', async t => {
  const up = await checked(t, 'up')
  t.testdir({ 'targets.yaml': `- ${up.url}\n` })
  const port = await closedPort()
  const right = `backends: { up: ${up.url} }\ndefaultBackend: up\n`
  let wrong = false
  // its discovery never comes to anything, after all else was built
  const parts = (broken: boolean) => `backends:
  up: { url: ${up.url}, health: { path: /health, interval: 20ms } }
  found: { discovery: { file: { path: ${join(t.testdirName, 'targets.yaml')}, interval: 20ms }, bootTimeout: 30ms }, health: { path: /health, interval: 20ms } }
  lost: { discovery: { file: { path: ${join(t.testdirName, broken ? 'none.yaml' : 'targets.yaml')}, interval: 20ms }, bootTimeout: 30ms, onBootTimeout: refuse } }
defaultBackend: up
metrics: { port: ${port} }
tenancy: { tenants: { acme: {} } }
trafficDump: { directory: ${join(t.testdirName, 'dump')}, sampleRate: 1 }
`
  const gateway = await startGateway(async () => parseConfigText(SERVER + (wrong ? parts(true) : right), { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await gateway.close() })
  wrong = true
  const before = resources()
  for (let i = 0; i < 10; i++) {
    const told = await gateway.reload()
    t.equal(told.outcome, 'refused')
    if (told.outcome === 'refused') t.match(told.error.message, 'lost')
  }
  t.ok(await waitFor(() => resources() <= before), 'as many as before', { resources: process.getActiveResourcesInfo() })
  t.ok(await refuses(port))
  t.equal(up.asked, 0)
  t.equal((await ask(gateway.port)).text, 'up')
})

/** Our own waiting is a timer as well. */
function resources (): number {
  return process.getActiveResourcesInfo().filter(name => !/Immediate|TickObject|CloseReq/.test(name)).length
}

t.test('50 changes on one connection: no listener is left on it, and nobody is warned', async t => {
  const [up, live] = [await rawUpstream(t, respond(200, [], 'up')), await wsBackend(t)]
  const warnings: Error[] = []
  const warn = (warning: Error) => { warnings.push(warning) }
  process.on('warning', warn)
  t.teardown(() => { process.off('warning', warn) })
  const base = (n: number) => `backends: { up: ${up.url}, live: ${live.url} }\nroutes: [{ path: /n${n}, proxy: up }, { path: /ws, proxy: { backend: live, websocket: true } }]\n`
  const { port, become, gateway } = await serving(t, base(0))
  const client = await rawClient(t, port)
  for (let i = 1; i <= 50; i++) {
    if (i % 5 === 0) await wsClient(t, `http://127.0.0.1:${port}/ws`)
    await become(base(i))
    client.send(requestBytes('GET', `/n${i}`), ['GET'])
    t.equal((await client.response(i - 1)).text, 'up')
  }
  t.equal(gateway.earlier, 10, 'those with a WebSocket')
  t.same(warnings, [])
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /n0, proxy: up }]\n`)
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('the end does not wait for a configuration that is just being built', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('up') })
  let release: (() => void) | undefined
  let loads = 0
  const gateway = await startGateway(async () => {
    if (loads++ > 0) await new Promise<void>(resolve => { release = resolve })
    return parseConfigText(`${SERVER}backends: { up: ${up.url} }\nroutes: [{ path: /n${loads}, proxy: up }]\n`, { path: 'gateway.yaml' })
  })
  const { port } = gateway
  const told = gateway.reload()
  const next = gateway.reload()
  t.ok(await waitFor(() => release !== undefined))
  const closed = gateway.close()
  t.ok(await waitFor(() => !gateway.app.server.listening), 'it no longer listens')
  t.ok(await refuses(port))
  release!()
  t.equal((await told).outcome, 'unchanged')
  await waitFor(() => loads === 3)
  release!()
  t.equal((await next).outcome, 'unchanged')
  await closed
})

t.test('the end right after a change ends both', async t => {
  const up = await held(t)
  const { port, gateway, become } = await serving(t, `backends: { up: ${up.url} }\ndefaultBackend: up\n`)
  const answer = ask(port)
  t.ok(await waitFor(() => up.answers.length === 1))
  const told = become(`backends: { up: ${up.url} }\nroutes: [{ path: /x, proxy: up }]\n`)
  const closed = gateway.close()
  await told
  up.answers[0]!()
  t.equal((await answer).text, 'done')
  await closed
  t.ok(await refuses(port))
})

t.test('what is no HTTP right after a change is answered as before', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const base = (path: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\n`
  const { port, become, gateway } = await serving(t, base('/a'))
  const client = await rawClient(t, port)
  client.send(requestBytes('GET', '/a'), ['GET'])
  await client.response(0)
  await become(base('/b'))
  client.send(Buffer.from('no HTTP at all\r\n\r\n'), ['GET'])
  t.equal((await client.response(1)).status, 400)
  t.ok(await client.closes())
  t.equal(gateway.earlier, 0)
})

// ---- servers

t.test('localhost: both addresses meet the new configuration', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const base = (path: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\n`
  const { port, become, gateway } = await serving(t, base('/a'), 'server: { host: localhost, port: 0, logger: silent }\n')
  t.equal((await ask(port, '/a')).status, 200)
  for (let i = 0; i < 3; i++) await become(base(`/b${i}`))
  t.equal((await ask(port, '/b2')).status, 200)
  t.equal((await ask(port, '/a')).status, 404)
  t.equal(gateway.earlier, 0)
})

t.test('HTTP/2: streams under way finish, the session goes on with the new configuration', async t => {
  const up = await held(t)
  const other = await rawUpstream(t, respond(200, [], 'other'))
  const indented = (pem: string) => `|\n${pem.trim().split('\n').map(line => `      ${line}`).join('\n')}`
  const server = `server:\n  host: 127.0.0.1\n  port: 0\n  logger: silent\n  http2: true\n  https:\n    cert: ${indented(SIGNED.cert)}\n    key: ${indented(SIGNED.key)}\n`
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /x, proxy: up }]\n`, server)
  const session = connect(`https://127.0.0.1:${port}`, { ca: AUTHORITY, rejectUnauthorized: false })
  t.teardown(() => { session.destroy() })
  const answer = askHttp2(session)
  t.ok(await waitFor(() => up.answers.length === 1))
  const cut = session.request({ ':path': '/x' })
  cut.on('error', () => {})
  t.ok(await waitFor(() => up.answers.length === 2))
  for (let i = 0; i < 3; i++) session.request({ ':path': '/x' }).on('error', () => {}).close(8)
  await become(`backends: { up: ${up.url}, other: ${other.url} }\nroutes: [{ path: /x, proxy: other }]\n`)
  t.equal(gateway.earlier, 1)
  t.equal((await askHttp2(session)).text, 'other')
  up.answers[0]!()
  t.equal((await answer).text, 'done')
  cut.close(8)
  t.ok(await waitFor(() => gateway.earlier === 0), 'it ends')
  t.equal(session.closed, false)
  for (let i = 0; i < 12; i++) await become(`backends: { other: ${other.url} }\nheaders: { response: { set: { x-n: '${i}' } } }\nroutes: [{ path: /x, proxy: other }]\n`)
  t.equal((await askHttp2(session)).headers['x-n'], '11')
})

// ---- discovery

t.test('discovered, then written down, then discovered again: the target keeps its connection', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const other = await rawUpstream(t, respond(200, [], 'other'))
  const dir = t.testdir({ 'one.yaml': `- ${up.url}\n`, 'two.yaml': `- ${up.url}\n- ${other.url}\n` })
  const from = (file: string, more = '') => `backends: { up: { discovery: { file: { path: ${join(dir, file)}, interval: 20ms }${more} } } }\ndefaultBackend: up\n`
  const { port, become, gateway } = await serving(t, from('one.yaml'))
  t.equal((await ask(port)).text, 'up')
  await become(`backends: { up: ${up.url} }\ndefaultBackend: up\n`)
  t.equal((await ask(port)).text, 'up')
  t.same(gateway.app.reverseproxy.discovery.status(), [])
  await become(from('two.yaml'))
  t.same(gateway.app.reverseproxy.backends.get('up')!.targets.map(({ url }) => url), [up.url, other.url])
  for (let i = 0; i < 4; i++) await ask(port)
  await become(from('two.yaml', ', bootTimeout: 3s'))
  t.equal(gateway.app.reverseproxy.backends.get('up')!.targets.length, 2)
  await become(`${from('two.yaml', ', bootTimeout: 3s')}routes: [{ path: /more, proxy: up }]\n`)
  t.equal(gateway.app.reverseproxy.backends.get('up')!.targets.length, 2)
  t.equal((await ask(port, '/more')).status, 200)
  await become(from('none.yaml', ', bootTimeout: 20ms'))
  await become(from('one.yaml'))
  t.equal((await ask(port)).text, 'up')
  t.ok(up.connections <= 2)
  t.equal(gateway.app.reverseproxy.discovery.status().length, 1)
})

t.test('a path of metrics that changes is served on the same port', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('up') })
  const port = await closedPort()
  const { become } = await serving(t, `backends: { up: ${up.url} }\nmetrics: { port: ${port}, path: /one }\n`)
  t.equal((await ask(port, '/one')).status, 200)
  await become(`backends: { up: ${up.url} }\nmetrics: { port: ${port}, path: /two }\n`)
  t.same([(await ask(port, '/one')).status, (await ask(port, '/two')).status], [404, 200])
})

t.test('circuits that live on are counted by whoever counts now', async t => {
  const up = await httpUpstream(t, (_request, response) => { response.end('up') })
  const base = (path: string, metrics: string) => `backends: { up: ${up.url} }\nroutes: [{ path: ${path}, proxy: up }]\n${metrics}`
  const { port, become, gateway } = await serving(t, base('/one', ''))
  t.equal((await ask(port, '/one')).status, 200)
  await become(base('/two', 'metrics: true\n'))
  await become(base('/three', 'metrics: true\n'))
  gateway.app.reverseproxy.breakers.open('up')
  t.match((await ask(port, '/metrics')).text, /reverseproxy_breaker_transitions_total\{[^}]*\} 1/)
})
