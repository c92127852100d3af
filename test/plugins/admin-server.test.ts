/** The admin interface on a server of its own, and what becomes of it and of its streams when one configuration follows another. */
import t from 'tap'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startGateway as startServing } from '../../cli/serving/gateway.ts'
import { parseConfigText } from '../../lib/config-file.ts'
import type { AdminStatus, BackendStatus } from '../../lib/admin/types.ts'
import { buildGateway, closedPort, rawClient, rawRequest, requestBytes, startGateway, waitFor } from '../helper.ts'
import type { GatewayOptions, RawClient } from '../helper.ts'

const A = 'http://127.0.0.1:4001'
const B = 'http://127.0.0.1:4002'

async function read<Value> (port: number, path: string, headers: Record<string, string> = {}): Promise<{ status: number, body: Value }> {
  const { response } = await rawRequest(port, requestBytes('GET', `/_gateway${path}`, { host: 'localhost', headers }))
  return { status: response!.status, body: JSON.parse(response!.text) as Value }
}

async function follow (t: Test, port: number): Promise<RawClient> {
  const client = await rawClient(t, port)
  await client.send(requestBytes('GET', '/_gateway/events', { host: 'localhost' }))
  t.ok(await waitFor(() => client.responses[0]?.text.includes('event: history') === true), 'it follows')
  return client
}

// ---- a port of its own

t.test('it is there, and not in the app', async t => {
  const { app, port } = await startGateway(t, { backends: { up: A }, admin: { port: 0 } } as GatewayOptions, () => {})
  const { address, port: own } = app.reverseproxy.admin.address!
  t.equal(address, '127.0.0.1')
  t.not(own, port)
  t.match((await read<{ backends: BackendStatus[] }>(own, '/backends')).body.backends, [{ name: 'up' }])
  t.equal((await read(own, '/nothing')).status, 404)
  t.equal((await read(port, '/status')).status, 404)
  t.same(Object.keys((await read<{ paths: object }>(own, '/openapi.json')).body.paths).length > 10, true)
  const { response } = await rawRequest(own, requestBytes('POST', '/_gateway/backends/up/drain', { host: 'localhost', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ target: A }) }))
  t.equal(response!.status, 200)
  t.match((await read(own, '/backends/up')).body, { state: 'down' })
})

t.test('a name may be as long there as elsewhere', async t => {
  const name = 'n'.repeat(500)
  const { app } = await startGateway(t, { backends: { [name]: A }, admin: { port: 0 } } as GatewayOptions, () => {})
  t.match(await read(app.reverseproxy.admin.address!.port, `/backends/${name}`), { status: 200, body: { name } })
})

t.test('the app may listen anywhere then, and the port asks for its token if it has one', async t => {
  const app = await buildGateway({ backends: { up: A }, admin: { port: 0, token: 'x' } } as GatewayOptions, () => {})
  t.teardown(() => app.close())
  await app.listen({ host: '0.0.0.0', port: 0 })
  const { port } = app.reverseproxy.admin.address!
  t.equal((await read(port, '/status')).status, 401)
  t.equal((await read(port, '/status', { authorization: 'Bearer x' })).status, 200)
})

t.test('a port that others can reach refuses everybody without a token', async t => {
  const lines: string[] = []
  const app = await buildGateway({ backends: { up: A }, admin: { port: 0, host: '0.0.0.0' } } as GatewayOptions, () => {}, { logger: { level: 'warn', stream: { write (line: string) { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.ready()
  t.equal((await read(app.reverseproxy.admin.address!.port, '/status')).status, 403)
  t.equal(lines.filter(line => line.includes('the admin interface refuses everybody')).length, 1)
})

t.test('a port that is taken is an error that says so, and leaves nothing behind', async t => {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  const app = await buildGateway({ backends: { up: A }, admin: { port } } as GatewayOptions, () => {})
  await t.rejects(async () => { await app.ready() }, { message: new RegExp(`the admin interface cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE`) })
  await app.close()
})

t.test('it ends with the gateway, its streams as well', async t => {
  const app = await buildGateway({ backends: { up: A }, admin: { port: 0 } } as GatewayOptions, () => {})
  await app.ready()
  const { port } = app.reverseproxy.admin.address!
  const client = await follow(t, port)
  await app.close()
  t.ok(await waitFor(() => client.closed))
  await t.rejects(rawRequest(port, requestBytes('GET', '/_gateway/status')))
})

// ---- one configuration after the other

async function serving (t: Test, first: string) {
  let text = first
  const gateway = await startServing(async () => parseConfigText(`server: { host: 127.0.0.1, port: 0, logger: silent }\n${text}`, { path: join(t.testdirName, 'gateway.yaml') }))
  t.teardown(async () => { await gateway.close() })
  return {
    gateway,
    port: gateway.port,
    async become (next: string) {
      text = next
      const told = await gateway.reload()
      if (told.outcome === 'refused') throw told.error
    }
  }
}

const named = async (port: number): Promise<string[]> => (await read<{ backends: BackendStatus[] }>(port, '/backends')).body.backends.map(({ name }) => name)

t.test('after a reload it shows the new configuration, and streams end so that the old one can', async t => {
  const { gateway, port, become } = await serving(t, `backends: { one: ${A} }\nadmin: true\n`)
  t.same(await named(port), ['one'])
  const client = await follow(t, port)
  await become(`backends: { one: ${A}, two: ${B} }\nadmin: true\n`)
  t.ok(await waitFor(() => client.responses[0]!.complete))
  t.ok(await waitFor(() => gateway.earlier === 0), 'nothing keeps it')
  t.same(await named(port), ['one', 'two'])
  t.equal((await read<AdminStatus>(port, '/status')).body.state, 'serving')
  const again = await follow(t, port)
  await become(`backends: { one: ${A} }\n`)
  t.ok(await waitFor(() => again.responses[0]!.complete && gateway.earlier === 0), 'also where it is switched off')
  t.equal((await rawRequest(port, requestBytes('GET', '/_gateway/status', { host: 'localhost' }))).response!.status, 404)
})

t.test('a stream that nobody reads does not keep the old configuration', async t => {
  const many = Array.from({ length: 400 }, (_, index) => `b${index}: ${A}`).join(', ')
  const { gateway, port, become } = await serving(t, `backends: { ${many} }\nadmin: true\n`)
  const client = await rawClient(t, port)
  client.socket.pause()
  await client.send(requestBytes('GET', '/_gateway/events', { host: 'localhost' }))
  const { app } = gateway
  t.ok(await waitFor(() => app.reverseproxy.adminParts!.events.size === 1))
  await become(`backends: { ${many}, more: ${B} }\nadmin: true\n`)
  t.ok(await waitFor(() => gateway.earlier === 0, 15_000))
})

t.test('a server of its own outlives a reload, and answers for the new configuration', async t => {
  const own = await closedPort()
  const { gateway, become } = await serving(t, `backends: { one: ${A} }\nadmin: { port: ${own} }\n`)
  const client = await follow(t, own)
  const kept = await rawClient(t, own)
  await kept.send(requestBytes('GET', '/_gateway/status', { host: 'localhost' }))
  t.ok(await waitFor(() => kept.responses[0]?.complete === true))
  await become(`backends: { two: ${B} }\nadmin: { port: ${own}, prefix: /_gateway }\n`)
  t.ok(await waitFor(() => client.responses[0]!.complete && gateway.earlier === 0))
  t.same(await named(own), ['two'])
  await kept.send(requestBytes('GET', '/_gateway/backends', { host: 'localhost' }))
  t.ok(await waitFor(() => kept.responses[1]?.complete === true), 'connections stay')
  t.match(kept.responses[1]!.text, /"name":"two"/)
  t.equal(gateway.app.reverseproxy.admin.address!.port, own)
})

t.test('it moves to another port, into the app, and away', async t => {
  const [one, two] = [await closedPort(), await closedPort()]
  const { port, become } = await serving(t, `backends: { a: ${A} }\nadmin: { port: ${one} }\n`)
  await become(`backends: { b: ${A} }\nadmin: { port: ${two} }\n`)
  t.same(await named(two), ['b'])
  await t.rejects(named(one))
  await become(`backends: { c: ${A} }\nadmin: true\n`)
  t.same(await named(port), ['c'])
  await t.rejects(named(two))
  await become(`backends: { d: ${A} }\n`)
  t.equal((await rawRequest(port, requestBytes('GET', '/_gateway/backends', { host: 'localhost' }))).response!.status, 404)
})

t.test('a change that is refused leaves it as it is', async t => {
  const own = await closedPort()
  const { gateway, become } = await serving(t, `backends: { one: ${A} }\nadmin: { port: ${own} }\n`)
  const client = await follow(t, own)
  await t.rejects(become('backends: {}\ndefaultBackend: none\nadmin: { port: 1 }\n'))
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  await t.rejects(become(`backends: { two: ${B} }\nadmin: { port: ${(server.address() as AddressInfo).port} }\n`), { message: /the admin interface cannot listen/ })
  t.same(await named(own), ['one'])
  t.notOk(client.responses[0]!.complete)
  t.equal(gateway.earlier, 0)
})

t.test('drained by hand it stays drained, and comes back by hand, across reloads', async t => {
  const { port, become } = await serving(t, `backends: { one: [${A}, ${B}] }\nadmin: true\n`)
  const act = async (action: string): Promise<number> => (await rawRequest(port, requestBytes('POST', `/_gateway/backends/one/${action}`, { host: 'localhost', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ target: A }) }))).response!.status
  t.equal(await act('drain'), 200)
  await become(`backends: { one: [${A}, ${B}] }\nadmin: true\ntimeout: 7s\n`)
  t.match((await read(port, '/backends/one')).body, { state: 'ok', targets: [{ state: 'draining' }, { state: 'active' }] })
  t.equal(await act('undrain'), 200)
  t.match((await read(port, '/backends/one')).body, { targets: [{ state: 'active' }, { state: 'active' }] })
})
