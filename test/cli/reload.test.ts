/** A configuration takes the place of another one while the gateway runs: nothing is lost, and what has not changed lives on. */
import t from 'tap'
import type { Test } from 'tap'
import { join } from 'node:path'
import { request as httpsRequest } from 'node:https'
import type { TLSSocket } from 'node:tls'
import { startGateway } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import { AUTHORITY, chunk, httpUpstream, lastChunk, rawClient, rawRequest, rawUpstream, requestBytes, respond, SIGNED, SIGNED_OTHER, waitFor, wsBackend, wsClient } from '../helper.ts'

const SERVER = 'server: { host: 127.0.0.1, port: 0, logger: silent }\n'

/** A gateway of a text, which `become` replaces. */
async function serving (t: Test, first: string) {
  let text = first
  const gateway = await startGateway(async () => parseConfigText(SERVER + text, { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await gateway.close() })
  const { port } = gateway
  return {
    gateway,
    port,
    origin: `http://127.0.0.1:${port}`,
    async become (next: string) {
      text = next
      return await gateway.reload()
    }
  }
}

async function ask (port: number, path = '/', headers: Record<string, string> = {}) {
  return (await rawRequest(port, requestBytes('GET', path, { headers }))).response
}

async function textOf (port: number, path?: string): Promise<string> {
  return (await ask(port, path)).text
}

async function named (t: Test, name: string) {
  return await httpUpstream(t, (_request, response) => { response.end(name) })
}

t.test('routes and backends that come are there, those that go are not, others go on', async t => {
  const [a, b] = [await named(t, 'a'), await named(t, 'b')]
  const { port, become } = await serving(t, `backends: { a: ${a.url} }\nroutes: [{ path: /a, proxy: a }, { path: /old, proxy: a }]\n`)
  t.equal(await textOf(port, '/a'), 'a')
  t.equal((await ask(port, '/b')).status, 404)
  t.same(await become(`backends: { a: ${a.url}, b: ${b.url} }\nroutes: [{ path: /a, proxy: a }, { path: /b, proxy: b }]\n`), { outcome: 'applied', waiting: [] })
  t.equal(await textOf(port, '/a'), 'a')
  t.equal(await textOf(port, '/b'), 'b')
  t.equal((await ask(port, '/old')).status, 404)
})

t.test('a wrong configuration is refused with all that is wrong, and the one before goes on', async t => {
  const a = await named(t, 'a')
  const { port, become, gateway } = await serving(t, `backends: { a: ${a.url} }\nroutes: [{ path: /a, proxy: a }]\n`)
  const { app } = gateway
  for (const [wrong, said] of [
    ['backends: { a: nonsense }\n', /backends\.a: must be/],
    ['{', /valid YAML/],
    [`backends: { a: ${a.url} }\nroutes: [{ path: /a, proxy: b }]\n`, /must be the name of a backend/],
    [`backends: { a: ${a.url} }\nroutes: [{ path: /:x, proxy: a }, { path: /:y, proxy: a }]\n`, /cannot be told apart|same/]
  ] as const) {
    const told = await become(wrong)
    t.equal(told.outcome, 'refused', wrong)
    if (told.outcome === 'refused') t.match(told.error.message, said)
    t.equal(await textOf(port, '/a'), 'a')
  }
  t.equal(gateway.app, app)
  t.equal((await become(`backends: { a: ${a.url} }\nroutes: [{ path: /b, proxy: a }]\n`)).outcome, 'applied', 'a right one after wrong ones')
})

t.test('the same once more is no change', async t => {
  const a = await named(t, 'a')
  const text = `backends: { a: ${a.url} }\ndefaultBackend: a\n`
  const { become, gateway } = await serving(t, text)
  const { app } = gateway
  t.equal((await become(`${text}# but for a comment\n`)).outcome, 'unchanged')
  t.equal(gateway.app, app)
})

t.test('backends keep connections, circuits, counters and what was drained by hand', async t => {
  const a = await rawUpstream(t, respond(200, [], 'a'))
  const b = await rawUpstream(t, respond(200, [], 'b'))
  const base = `backends: { up: { targets: [${a.url}, ${b.url}], circuitBreaker: { resetTimeout: 1h } } }\n`
  const { port, become, gateway } = await serving(t, `${base}routes: [{ path: /x, proxy: up }]\n`)
  await gateway.app.reverseproxy.backends.drain('up', b.url)
  for (let i = 0; i < 3; i++) t.equal(await textOf(port, '/x'), 'a')
  t.equal(a.connections, 1)
  await become(`${base}routes: [{ path: /y, proxy: up }]\n`)
  const { backends, breakers } = gateway.app.reverseproxy
  t.same(backends.get('up')!.targets.map(({ state, started }) => [state, started]), [['active', 3], ['draining', 0]])
  for (let i = 0; i < 3; i++) t.equal(await textOf(port, '/y'), 'a')
  t.equal(a.connections, 1, 'the same connection')
  breakers.open('up')
  await become(`${base}routes: [{ path: /z, proxy: up }]\n`)
  t.equal((await ask(port, '/z')).status, 503)
  t.equal(gateway.app.reverseproxy.breakers.list()[0]!.state, 'open')
})

t.test('of a backend that changes, the targets that stay keep their connections; those that go drain', async t => {
  const [a, b, c] = [await rawUpstream(t, respond(200, [], 'a')), await rawUpstream(t, respond(200, [], 'b')), await rawUpstream(t, respond(200, [], 'c'))]
  const { port, become, gateway } = await serving(t, `backends: { up: [${a.url}, ${b.url}] }\ndefaultBackend: up\n`)
  for (let i = 0; i < 4; i++) await ask(port)
  await become(`backends: { up: { targets: [${a.url}, ${c.url}], timeout: 7s } }\ndefaultBackend: up\n`)
  const seen = new Set<string>()
  for (let i = 0; i < 4; i++) seen.add(await textOf(port))
  t.same([...seen].sort(), ['a', 'c'])
  t.equal(a.connections, 1)
  t.ok(await waitFor(() => b.open === 0), 'its connection is closed')
  t.equal(gateway.earlier, 0)
})

t.test('what runs ends by the configuration that it began with', async t => {
  let release: (() => void) | undefined
  const slow = await httpUpstream(t, (_request, response) => { release = () => { response.end('done') } })
  const next = await named(t, 'next')
  const late = await httpUpstream(t, (_request, response) => { response.end('{"late":true}') })
  const first = await httpUpstream(t, (_request, response) => { release = () => { response.end('{"id":1}') } })
  const { port, become, gateway } = await serving(t, `backends: { slow: ${slow.url}, first: ${first.url}, late: ${late.url} }
headers: { response: { set: { x-from: before } } }
routes:
  - { path: /slow, proxy: slow }
  - { path: /both, composite: { strategy: object, parts: { one: { backend: first, path: / }, two: { backend: late, path: '/{one.body.id}' } } } }
`)
  for (const [path, wanted] of [['/slow', 'done'], ['/both', '{"one":{"id":1},"two":{"late":true}}']] as const) {
    release = undefined
    const answer = ask(port, path)
    await waitFor(() => release !== undefined)
    await become(`backends: { other: ${next.url} }\nroutes: [{ path: '${path}', proxy: other }]\n`)
    t.equal(gateway.earlier, 1)
    t.equal(await textOf(port, path), 'next', 'new requests meet the new one')
    release!()
    const { text, header } = await answer
    t.equal(text, wanted)
    t.equal(header('x-from'), 'before')
    t.ok(await waitFor(() => gateway.earlier === 0), 'then it ends')
    await become(`backends: { slow: ${slow.url}, first: ${first.url}, late: ${late.url} }
headers: { response: { set: { x-from: before } } }
routes:
  - { path: /slow, proxy: slow }
  - { path: /both, composite: { strategy: object, parts: { one: { backend: first, path: / }, two: { backend: late, path: '/{one.body.id}' } } } }
`)
  }
})

t.test('an upload under way goes on, and a connection that is open serves the next request by the new configuration', async t => {
  const up = await rawUpstream(t, respond(200, [], 'up'))
  const { port, become } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /up, proxy: up }]\n`)
  const client = await rawClient(t, port)
  client.send([requestBytes('POST', '/up', { headers: { 'transfer-encoding': 'chunked' } }), chunk('first')], ['POST', 'GET'])
  await waitFor(() => up.requests.length === 1 && up.last.size === 5)
  await become(`backends: { up: ${up.url} }\nheaders: { response: { set: { x-new: yes } } }\nroutes: [{ path: /up, proxy: up }]\n`)
  client.send([chunk('second'), lastChunk()])
  const one = await client.response(0)
  t.equal(one.status, 200)
  t.equal(up.last.body.toString(), 'firstsecond')
  t.equal(one.header('x-new'), undefined)
  client.send(requestBytes('GET', '/up'))
  t.equal((await client.response(1)).header('x-new'), 'yes')
})

t.test('WebSockets of routes that have not changed live on; those of others are told to come back', async t => {
  const up = await wsBackend(t)
  const other = await wsBackend(t)
  const before = (more: string) => `backends: { up: ${up.url}, other: ${other.url}, gone: ${other.url}/x }\nroutes:
  - { path: /stays, proxy: { backend: up, websocket: true } }
  - { path: /moves, proxy: { backend: ${more}, websocket: true } }
`
  const { port, become, gateway } = await serving(t, before('gone'))
  const stays = await wsClient(t, `http://127.0.0.1:${port}/stays`)
  const moves = await wsClient(t, `http://127.0.0.1:${port}/moves`)
  await become(before('other').replace(`, gone: ${other.url}/x`, ''))
  t.same(await moves.closed(), [1001, ''])
  stays.socket.send('hello')
  t.equal(await stays.message(0), 'hello')
  t.equal(gateway.earlier, 1, 'as long as it lives')
  await become(before('up').replace(`, gone: ${other.url}/x`, ''))
  stays.socket.send('again')
  t.equal(await stays.message(1), 'again')
  await become(`backends: { up: ${up.url} }\n`)
  t.same(await stays.closed(), [1001, ''], 'also two configurations later')
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('a target that is taken out says goodbye to WebSockets of a configuration before', async t => {
  const [a, b] = [await wsBackend(t), await wsBackend(t)]
  const { port, become, gateway } = await serving(t, `backends: { up: [${a.url}] }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }, { path: /x, proxy: up }]\n`)
  const client = await wsClient(t, `http://127.0.0.1:${port}/ws`)
  await become(`backends: { up: [${a.url}] }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }]\n`)
  t.equal(client.close, undefined)
  await become(`backends: { up: [${b.url}] }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }]\n`)
  t.same(await client.closed(), [1001, ''])
  t.ok(await waitFor(() => gateway.earlier === 0))
})

t.test('event streams: the same', async t => {
  const send: Array<(text: string) => void> = []
  const up = await httpUpstream(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 0\n\n')
    send.push(text => { response.write(text) })
  })
  const { port, become, gateway } = await serving(t, `backends: { up: ${up.url} }\nroutes: [{ path: /stays, proxy: up }, { path: /goes, proxy: up }]\n`)
  const [stays, goes] = [await rawClient(t, port), await rawClient(t, port)]
  stays.send(requestBytes('GET', '/stays', { headers: { accept: 'text/event-stream' } }))
  await waitFor(() => send.length === 1)
  goes.send(requestBytes('GET', '/goes', { headers: { accept: 'text/event-stream' } }))
  await waitFor(() => send.length === 2 && goes.raw.includes('data: 0'))
  await become(`backends: { up: ${up.url} }\nroutes: [{ path: /stays, proxy: up }]\n`)
  t.ok(await waitFor(() => goes.raw.includes('0\r\n\r\n')), 'a clean end')
  send[0]!('data: 1\n\n')
  t.ok(await waitFor(() => stays.raw.includes('data: 1')))
  t.equal(gateway.earlier, 1)
})

t.test('checks of health go on where they are: what was unhealthy stays so, and nobody is asked twice', async t => {
  let asked = 0
  const sick = await httpUpstream(t, (request, response) => {
    if (request.url === '/health') asked++
    response.writeHead(request.url === '/health' ? 500 : 200).end('sick')
  })
  const well = await httpUpstream(t, (_request, response) => { response.end('well') })
  const base = (more: string) => `backends: { up: { targets: [${sick.url}, ${well.url}], health: { path: /health, interval: 1h, fall: 1 } } }\nroutes: [{ path: ${more}, proxy: up }]\n`
  const { port, become, gateway } = await serving(t, base('/a'))
  await waitFor(() => gateway.app.reverseproxy.health.status('up').some(({ healthy }) => !healthy))
  await become(base('/b'))
  t.same(gateway.app.reverseproxy.health.status('up').map(({ healthy }) => healthy), [false, true])
  for (let i = 0; i < 4; i++) t.equal(await textOf(port, '/b'), 'well')
  t.equal(asked, 1)
  t.equal(await gateway.app.reverseproxy.health.check('up', sick.url), false)
  t.equal(asked, 2, 'it can still be asked')
})

t.test('a new target is checked after the change', async t => {
  let asked = 0
  const up = await httpUpstream(t, (_request, response) => { asked++; response.end() })
  const other = await httpUpstream(t, (_request, response) => { response.end() })
  const base = (url: string) => `backends: { up: { targets: [${url}], health: { path: /health, interval: 1h } } }\n`
  const { become } = await serving(t, base(other.url))
  await become(base(up.url))
  t.ok(await waitFor(() => asked === 1))
})

t.test('a tenant keeps its circuits, and has what the new configuration says of it', async t => {
  const up = await rawUpstream(t, respond(200, [], 'ok'))
  const base = (plan: string) => `backends: { up: ${up.url} }\ndefaultBackend: up\ntenancy: { tenants: { acme: { headers: { request: { set: { x-plan: ${plan} } } } }, globex: {} } }\n`
  const { port, become, gateway } = await serving(t, base('silver'))
  for (const tenant of ['acme', 'globex']) await ask(port, '/', { 'x-tenant-id': tenant })
  gateway.app.reverseproxy.breakers.open('up', undefined, 'globex')
  await become(base('gold'))
  t.equal((await ask(port, '/', { 'x-tenant-id': 'acme' })).status, 200)
  t.equal(up.last.header('x-plan'), 'gold')
  t.equal((await ask(port, '/', { 'x-tenant-id': 'globex' })).status, 503, 'its circuit is open still')
  t.equal((await ask(port)).status, 200)
})

t.test('what the server needs a restart for is told, the rest is applied', async t => {
  const a = await named(t, 'a')
  const { gateway, port } = await serving(t, `backends: { a: ${a.url} }\ndefaultBackend: a\n`)
  t.ok(port)
  let server = SERVER
  const own = await startGateway(async () => parseConfigText(`${server}backends: { a: ${a.url} }\ndefaultBackend: a\n`, { path: 'gateway.yaml' }))
  t.teardown(async () => { await own.close() })
  server = 'server: { host: 127.0.0.1, port: 1, trustProxy: true, logger: silent }\n'
  t.same(await own.reload(), { outcome: 'applied', waiting: ['server.port'] })
  t.equal(await textOf(own.port), 'a')
  t.equal(gateway.earlier, 0)
})

t.test('a renewed certificate holds for the next connection, and open ones stay', async t => {
  const a = await named(t, 'a')
  let signed = SIGNED
  const indented = (pem: string) => `|\n${pem.trim().split('\n').map(line => `      ${line}`).join('\n')}`
  const gateway = await startGateway(async () => parseConfigText(`server:\n  host: 127.0.0.1\n  port: 0\n  logger: silent\n  https:\n    cert: ${indented(signed.cert)}\n    key: ${indented(signed.key)}\nbackends: { a: ${a.url} }\ndefaultBackend: a\n`, { path: 'gateway.yaml' }))
  t.teardown(async () => { await gateway.close() })
  const serial = () => new Promise<string>((resolve, reject) => {
    httpsRequest({ port: gateway.port, host: '127.0.0.1', ca: AUTHORITY, rejectUnauthorized: false, agent: false }, response => {
      response.resume()
      resolve((response.socket as TLSSocket).getPeerCertificate().serialNumber)
    }).on('error', reject).end()
  })
  const before = await serial()
  signed = SIGNED_OTHER
  t.same(await gateway.reload(), { outcome: 'applied', waiting: [] })
  t.not(await serial(), before)
})

t.test('reloads that come together are done one after the other', async t => {
  const a = await named(t, 'a')
  let loads = 0
  const gateway = await startGateway(async () => parseConfigText(`${SERVER}backends: { a: ${a.url} }\nroutes: [{ path: /n${loads++}, proxy: a }]\n`, { path: 'gateway.yaml' }))
  t.teardown(async () => { await gateway.close() })
  const told = await Promise.all([gateway.reload(), gateway.reload(), gateway.reload()])
  t.same(told.map(({ outcome }) => outcome), ['applied', 'applied', 'applied'])
  t.equal(loads, 3, 'those that wait are one')
  t.equal(await textOf(gateway.port, '/n2'), 'a')
})

t.test('the end ends earlier configurations as well', async t => {
  const up = await wsBackend(t)
  let release: (() => void) | undefined
  const slow = await httpUpstream(t, (_request, response) => { release = () => { response.end('done') } })
  const base = (more: string) => `backends: { up: ${up.url}, slow: ${slow.url} }\nroutes: [{ path: /ws, proxy: { backend: up, websocket: true } }, { path: /slow, proxy: slow }${more}]\n`
  const { port, become, gateway } = await serving(t, base(''))
  const client = await wsClient(t, `http://127.0.0.1:${port}/ws`)
  const answer = ask(port, '/slow')
  await waitFor(() => release !== undefined)
  await become(base(', { path: /more, proxy: slow }'))
  const closed = gateway.close()
  t.same(await client.closed(), [1001, ''])
  release!()
  t.equal((await answer).text, 'done')
  await closed
  await t.rejects(ask(port, '/slow'))
})
