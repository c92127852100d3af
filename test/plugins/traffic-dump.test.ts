/** The traffic dump on the wire: what a line has, which requests have one, and the files they are in. */
import t from 'tap'
import type { Test } from 'tap'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import Fastify from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { successorOf } from '../../plugins/reverseproxy.ts'
import { dumpedLines, dumpFiles, dumpText } from '../helper/dump.ts'
import { askHttp2, buildGateway, httpUpstream, proxyAll, rawClient, startGateway, startHttp2Gateway, waitFor, wsBackend, wsClient } from '../helper.ts'
import type { Configure, GatewayOptions } from '../helper.ts'

const json = (value: unknown) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) })

async function scene (t: Test, dump: Record<string, unknown> = {}, more: Record<string, unknown> = {}, configure?: Configure) {
  const up = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => { chunks.push(chunk) }).on('end', () => {
      const status = Number(/status=(\d+)/.exec(request.url!)?.[1] ?? 200)
      response.writeHead(status, { 'content-type': 'application/json', 'x-up': 'yes' }).end(JSON.stringify({ url: request.url, got: Buffer.concat(chunks).toString() }))
    })
  })
  const directory = join(t.testdir(), 'dumps')
  const gateway = await startGateway(t, { backends: { up: up.url, other: up.url }, circuitBreaker: false, trafficDump: { directory, sampleRate: 1, ...dump }, ...more } as GatewayOptions, configure)
  return { ...gateway, up, directory, lines: (count: number) => dumpedLines(gateway.app, directory, count) }
}

t.test('a line tells of the request, its answer and its attempts', async t => {
  const { url, up, lines } = await scene(t, {}, {}, app => {
    app.route({ method: ['GET', 'POST'], url: '/users/:id', proxy: { backend: 'up' }, config: { name: 'users' }, handler: app.reverseproxy.handler })
  })
  await (await fetch(`${url}/users/7?a=b`, { ...json({ name: 'Ann' }), headers: { 'content-type': 'application/json', 'user-agent': 'tester/1', 'x-more': 'one' } })).text()
  const [line] = await lines(1)
  t.match(line, {
    timestamp: /^\d{4}-\d\d-\d\dT.*Z$/,
    rule: 'users',
    backend: 'up',
    target: up.url,
    tenant: null,
    client_ip: '127.0.0.1',
    request_id: /./,
    method: 'POST',
    url: '/users/7?a=b',
    raw_request: /^POST \/users\/7\?a=b HTTP\/1\.1\r\n(?:[^\r\n]+: [^\r\n]*\r\n)+\r\n$/,
    request_headers: { 'User-Agent': ['tester/1'], 'Content-Type': ['application/json'], 'X-More': ['one'] },
    request_body: '{"name":"Ann"}',
    status_code: 200,
    response_headers: { 'Content-Type': ['application/json'], 'X-Up': ['yes'] },
    response_body: '{"url":"/users/7?a=b","got":"{\\"name\\":\\"Ann\\"}"}',
    attempts: [{ backend: 'up', target: up.url, outcome: 'ok', status: 200 }]
  })
  t.type(line!.duration, 'number')
  t.type(line!.attempts[0]!['duration'], 'number')
})

t.test('jq does what one would ask it', async t => {
  const { url, app, directory } = await scene(t, {}, { routes: [{ path: '/a', proxy: 'up' }, { path: '/b', proxy: 'other' }] })
  for (const path of ['/a', '/a?status=404', '/b']) await (await fetch(url + path, { headers: { 'user-agent': 'jq-test' } })).text()
  await dumpedLines(app, directory, 3)
  const file = join(directory, dumpFiles(directory)[0]!)
  const lines = readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
  t.same(lines.map(({ backend }) => backend), ['up', 'up', 'other'])
  t.same(lines.filter(line => (line['status_code'] as number) >= 400).map(line => line['url']), ['/a?status=404'])
  t.same(lines.map(line => (line['request_headers'] as Record<string, string[]>)['User-Agent']![0]), ['jq-test', 'jq-test', 'jq-test'])
  if (!existsSync('/usr/bin/jq')) return
  const jq = (...args: string[]) => execFileSync('jq', [...args, file], { encoding: 'utf8' })
  t.equal(jq('-r', '.backend'), 'up\nup\nother\n')
  t.equal(jq('-r', 'select(.status_code >= 400) | .url'), '/a?status=404\n')
  t.equal(jq('-r', '.request_headers["User-Agent"][0]'), 'jq-test\njq-test\njq-test\n')
})

t.test('without the option there is no hook and no file', async t => {
  const app = await buildGateway({ backends: { up: 'http://127.0.0.1:1' } })
  t.teardown(() => app.close())
  await app.ready()
  t.same(app.reverseproxy.trafficDump.stats(), { written: 0, dropped: 0, failed: 0, queued: 0, file: undefined })
  t.equal(app.reverseproxy.dumping, undefined)
})

t.test('sampleRate 0 is none, routes say otherwise, and a route with 0 never is', async t => {
  const { url, lines, app } = await scene(t, { sampleRate: 0, routes: { often: 1, never: 0 }, errorSampleRate: 1 }, {
    routes: [{ name: 'often', path: '/often', proxy: 'up' }, { name: 'never', path: '/never', proxy: 'up' }, { name: 'plain', path: '/plain', proxy: 'up' }]
  })
  for (const path of ['/never?status=500', '/plain', '/plain?status=404', '/plain?status=500', '/often']) await (await fetch(url + path)).text()
  const found = await lines(2)
  t.same(found.map(line => line.url), ['/plain?status=500', '/often'])
  t.match(found[0]!.response_body, /status=500/, 'bodies are kept in case it fails')
  t.equal(app.reverseproxy.trafficDump.stats().written, 2)
})

t.test('sampling asks for a number for each request', async t => {
  const numbers = [0.05, 0.5, 0.09, 0.1]
  const { url, lines } = await scene(t, { sampleRate: 0.1 }, { random: () => numbers.shift() ?? 0.9, balancer: 'round-robin' }, proxyAll())
  for (const path of ['/1', '/2', '/3', '/4']) await (await fetch(url + path)).text()
  t.same((await lines(2)).map(line => line.url), ['/1', '/3'])
})

t.test('a client that goes away and a backend that cannot be reached have lines, too', async t => {
  const up = await httpUpstream(t, () => {})
  const directory = join(t.testdir(), 'dumps')
  const { app, url, port } = await startGateway(t, { backends: { up: up.url, down: 'http://127.0.0.1:1' }, trafficDump: { directory, sampleRate: 1 }, routes: [{ path: '/down', proxy: 'down' }, { path: '/slow', proxy: 'up' }] })
  await (await fetch(`${url}/down`)).text()
  const [failed] = await dumpedLines(app, directory, 1)
  t.match(failed, { status_code: 502, backend: 'down', attempts: [{ outcome: 'connect-error', status: null, backend: 'down' }], response_body: /RP_ERR/ })
  const client = await rawClient(t, port)
  await client.send('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await waitFor(() => app.reverseproxy.backends.list().some(({ targets }) => targets.some(({ inflight }) => inflight > 0)))
  client.destroy()
  t.match((await dumpedLines(app, directory, 2))[1], { status_code: 499, aborted: true, attempts: [{ outcome: 'aborted' }] })
})

t.test('an answer that the backend breaks off is a failure', async t => {
  const up = await httpUpstream(t, (request, response) => {
    response.writeHead(200, { 'content-length': '10' }).write('12345')
    request.socket.once('drain', () => {})
    setImmediate(() => { request.socket.destroy() })
  })
  const directory = join(t.testdir(), 'dumps')
  const { app, url } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 0, errorSampleRate: 1 } }, proxyAll())
  await fetch(url).then(async response => response.text()).catch(() => {})
  t.match(await dumpedLines(app, directory, 1), [{ cut: true, status_code: 200, response_body: '12345', attempts: [{ outcome: 'reset', status: 200 }] }])
})

t.test('the handshake of a WebSocket is a line, what it carries is not', async t => {
  const up = await wsBackend(t)
  const directory = join(t.testdir(), 'dumps')
  const { app, url } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 }, routes: [{ path: '/ws', proxy: { backend: 'up', websocket: true } }] })
  const client = await wsClient(t, `${url}/ws?token=hush`)
  client.socket.send('carried')
  t.equal(await client.message(0), 'carried')
  t.match(await dumpedLines(app, directory, 1), [{ rule: '/ws', url: '/ws?token=[redacted]', status_code: 101, request_body: null, response_body: null, attempts: [{ status: 101 }] }])
})

t.test('bodies are kept up to maxBodySize, whatever their size, and pass whole', async t => {
  const { url, lines } = await scene(t, { maxBodySize: '1kb' }, {}, proxyAll())
  const big = 'x'.repeat(300_000)
  const answer = await (await fetch(`${url}/`, { method: 'POST', body: big })).json() as { got: string }
  t.equal(answer.got.length, big.length)
  const [line] = await lines(1)
  t.equal(line!.request_body, 'x'.repeat(1024))
  t.equal(line!['request_body_truncated'], true)
  t.equal(line!.response_body!.length, 1024)
  t.equal(line!['response_body_truncated'], true)
})

t.test('maxBodySize 0 leaves bodies out', async t => {
  const { url, lines } = await scene(t, { maxBodySize: 0 }, {}, proxyAll())
  await (await fetch(`${url}/`, json({ a: 1 }))).text()
  t.match((await lines(1))[0], { request_body: null, response_body: null, status_code: 200 })
})

t.test('bytes that are no text are base64', async t => {
  const { url, lines } = await scene(t, {}, {}, proxyAll())
  const bytes = Buffer.from([0, 255, 254, 1, 2])
  await (await fetch(`${url}/`, { method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body: bytes })).text()
  t.match((await lines(1))[0], { request_body: bytes.toString('base64'), request_body_encoding: 'base64' })
})

t.test('compressed bodies are read where they can be, and left out where not', async t => {
  const bodies = { gzip: gzipSync('{"a":1,"password":"hush"}'), br: brotliCompressSync('{"a":1,"password":"hush"}'), zstd: Buffer.from('28b52ffd', 'hex') }
  const up = await httpUpstream(t, (request, response) => {
    const coding = request.url!.slice(1) as keyof typeof bodies
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': coding }).end(bodies[coding])
  })
  const directory = join(t.testdir(), 'dumps')
  const { app, port } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } }, proxyAll())
  for (const coding of Object.keys(bodies)) await (await rawClient(t, port)).exchange(`GET /${coding} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br, zstd\r\n\r\n`)
  const found = await dumpedLines(app, directory, 3)
  for (const [index, coding] of ['gzip', 'br'].entries()) t.match(found[index], { response_body: '{"a":1,"password":"[redacted]"}', response_body_decoded: coding, response_headers: { 'Content-Encoding': [coding] } })
  t.match(found[2], { response_body: null, response_body_omitted: 'compressed' })
})

t.test('of a composite there is the client\'s request, the answer, and an attempt for each part', async t => {
  const { url, lines } = await scene(t, {}, { routes: [{ name: 'page', path: '/page', methods: ['GET', 'POST'], composite: { parts: { one: { backend: 'up', path: '/1' }, two: { backend: 'other', path: '/2', body: 'client', method: 'POST' } } } }] })
  await (await fetch(`${url}/page`, json({ q: 1 }))).text()
  const [line] = await lines(1)
  t.match(line, { rule: 'page', backend: null, request_body: '{"q":1}', response_body: /"one":\{"url":"\/1"/ })
  t.same(line!.attempts.map(({ part, backend }) => [part, backend]).sort(), [['one', 'up'], ['two', 'other']])
})

t.test('handlers of the app that forward have lines, and those that do not have none', async t => {
  const { url, lines, app } = await scene(t, {}, {}, app => {
    app.post('/forwards', async (_request, reply) => reply.proxy('up'))
    app.get('/own', async () => 'mine')
  })
  await (await fetch(`${url}/own`)).text()
  await (await fetch(`${url}/none`)).text()
  await (await fetch(`${url}/forwards`, json({ a: 1 }))).text()
  t.match(await lines(1), [{ rule: '/forwards', backend: 'up', request_body: '{"a":1}' }])
  t.equal(app.reverseproxy.trafficDump.stats().written, 1)
})

t.test('a body that was read before hooks of the app were through is there all the same', async t => {
  const directory = join(t.testdir(), 'dumps')
  const up = await httpUpstream(t, (request, response) => { request.resume().on('end', () => { response.end('ok') }) })
  const app = Fastify({ ...serverOptions })
  app.addHook('onRequest', async () => { await new Promise(resolve => { setImmediate(resolve) }) })
  await app.register(reverseproxy, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } })
  app.post('/', { proxy: 'up' }, app.reverseproxy.handler)
  t.teardown(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await (await fetch(url, json({ early: true }))).text()
  t.match(await dumpedLines(app, directory, 1), [{ request_body: '{"early":true}', response_body: 'ok' }])
})

t.test('clientAddress: false and more redact', async t => {
  const { url, lines } = await scene(t, { clientAddress: false, redact: { headers: ['x-mine'], query: ['who'], json: ['customer.card.number', 'ssn'] } }, {}, proxyAll())
  await (await fetch(`${url}/?who=me&a=1`, { method: 'POST', headers: { 'content-type': 'application/json', 'x-mine': 'hush' }, body: '{"customer":{"card":{"number":12,"kind":"v"}},"number":3,"list":[{"ssn":"x"}]}' })).text()
  const [line] = await lines(1)
  t.notOk('client_ip' in line!)
  t.match(line, { url: '/?who=[redacted]&a=1', request_headers: { 'X-Mine': ['[redacted]'] }, request_body: '{"customer":{"card":{"number":"[redacted]","kind":"v"}},"number":3,"list":[{"ssn":"[redacted]"}]}' })
})

t.test('replaceDefaults leaves only what is said', async t => {
  const { url, lines } = await scene(t, { redact: { headers: ['authorization'], replaceDefaults: true } }, {}, proxyAll())
  await (await fetch(`${url}/?token=shown`, { headers: { authorization: 'Bearer hush', cookie: 'a=b' } })).text()
  t.match((await lines(1))[0], { url: '/?token=shown', request_headers: { Authorization: ['[redacted]'], Cookie: ['a=b'] } })
})

t.test('the tenant stands in the line as it may be shown', async t => {
  const { url, lines } = await scene(t, {}, { tenancy: { header: 'x-tenant-id', tenants: { acme: {} } } }, proxyAll())
  await (await fetch(`${url}/`, { headers: { 'x-tenant-id': 'acme' } })).text()
  t.equal((await lines(1))[0]!['tenant'], 'acme')
})

// ---- files

t.test('files and folder are for their owner only', async t => {
  const { url, directory, lines, app } = await scene(t, {}, {}, proxyAll())
  await (await fetch(`${url}/`)).text()
  await lines(1)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  const [name] = dumpFiles(directory)
  t.match(name, new RegExp(`^dump-${process.pid}-[0-9a-f]{6}\\.jsonl$`))
  t.equal(statSync(join(directory, name!)).mode & 0o777, 0o600)
  t.equal(app.reverseproxy.trafficDump.stats().file, join(directory, name!))
})

t.test('maxFileSize begins another file, and maxFiles bounds how many there are', async t => {
  const { url, directory, app } = await scene(t, { maxFileSize: '2kb', maxFiles: 3 }, {}, proxyAll())
  for (let i = 1; i <= 12; i++) {
    await (await fetch(`${url}/?n=${i}&${'x'.repeat(1500)}`)).text()
    await waitFor(() => app.reverseproxy.trafficDump.stats().written >= i)
  }
  t.ok(await waitFor(() => dumpFiles(directory).length <= 3), dumpFiles(directory).join())
  t.ok(dumpFiles(directory).some(name => /^dump-\d{8}-\d{6}-/.test(name)), 'full ones have their time in the name')
  for (const name of dumpFiles(directory)) t.equal(statSync(join(directory, name)).mode & 0o777, 0o600)
  t.match(dumpText(directory), /n=12&/, 'the newest stay')
  t.notMatch(dumpText(directory), /n=1&/)
})

t.test('interval begins another file', async t => {
  const { url, directory, app } = await scene(t, { interval: '1s' }, {}, proxyAll())
  await (await fetch(`${url}/one`)).text()
  await waitFor(() => app.reverseproxy.trafficDump.stats().written === 1)
  t.ok(await waitFor(() => dumpFiles(directory).some(name => /^dump-\d{8}-/.test(name)), 10_000))
})

t.test('closing writes what waits', async t => {
  const { url, directory, app } = await scene(t, {}, {}, proxyAll())
  await Promise.all(Array.from({ length: 20 }, async (_, i) => (await fetch(`${url}/${i}`)).text()))
  await app.close()
  t.equal(dumpText(directory).trim().split('\n').length, 20)
})

t.test('a request that ends while the gateway closes is in the dump', async t => {
  let answer: (() => void) | undefined
  const up = await httpUpstream(t, (_request, response) => { answer = () => { response.end('late') } })
  const directory = join(t.testdir(), 'dumps')
  const { app, url } = await startGateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } }, proxyAll())
  const asked = fetch(`${url}/late`).then(async response => response.text())
  await waitFor(() => answer !== undefined)
  const closed = app.close()
  await waitFor(() => app.reverseproxy.closing)
  answer!()
  t.equal(await asked, 'late')
  await closed
  t.match(dumpText(directory), /"url":"\/late"/)
})

t.test('a gateway that takes the place of another goes on with its file', async t => {
  const directory = join(t.testdir(), 'dumps')
  const options = { backends: { up: 'http://127.0.0.1:1' }, trafficDump: { directory, sampleRate: 1 }, routes: [{ path: '/', proxy: 'up' }] }
  const one = await buildGateway(options)
  await one.ready()
  await one.inject('/')
  await waitFor(() => one.reverseproxy.trafficDump.stats().written === 1)
  const make = async (change: object) => {
    const app = Fastify({ ...serverOptions })
    await app.register(successorOf(() => one.reverseproxy), { ...options, trafficDump: { ...options.trafficDump, ...change } })
    await app.ready()
    return app
  }
  const never = await make({ maxBodySize: 5 })
  await never.close()
  await one.inject('/')
  t.ok(await waitFor(() => one.reverseproxy.trafficDump.stats().written === 2), 'one that was refused has closed nothing')
  const two = await make({ maxBodySize: 5 })
  two.reverseproxy.succeed()
  await one.close()
  await two.inject('/')
  await two.close()
  t.equal(dumpFiles(directory).length, 1)
  t.equal(dumpText(directory).trim().split('\n').length, 3)
})

t.test('another folder is a dump of its own', async t => {
  const [a, b] = [join(t.testdir(), 'a'), join(t.testdir(), 'b')]
  const options = (directory: string) => ({ backends: { up: 'http://127.0.0.1:1' }, trafficDump: { directory, sampleRate: 1 }, routes: [{ path: '/', proxy: 'up' }] })
  const one = await buildGateway(options(a))
  await one.ready()
  const two = Fastify({ ...serverOptions })
  await two.register(successorOf(() => one.reverseproxy), options(b))
  await two.ready()
  two.reverseproxy.succeed()
  await one.inject('/')
  await two.inject('/')
  await one.close()
  await two.close()
  t.same([dumpFiles(a).length, dumpFiles(b).length], [1, 1])
})

t.test('a folder that is removed is made again', async t => {
  const { url, directory, app } = await scene(t, {}, {}, proxyAll())
  await (await fetch(`${url}/1`)).text()
  await waitFor(() => app.reverseproxy.trafficDump.stats().written === 1)
  rmSync(directory, { recursive: true })
  t.ok(await waitFor(() => {
    fetch(`${url}/2`).then(async response => response.text(), () => {})
    return existsSync(directory) && readdirSync(directory).length > 0
  }, 10_000))
})

t.test('HTTP/2 clients have lines with both bodies once', async t => {
  const up = await httpUpstream(t, (request, response) => { request.resume().on('end', () => { response.end('world') }) })
  const directory = join(t.testdir(), 'dumps')
  const { open, app } = await startHttp2Gateway(t, { backends: { up: up.url }, trafficDump: { directory, sampleRate: 1 } })
  await askHttp2(open(), { ':method': 'POST', ':path': '/h2', cookie: 'a=secret' }, 'hello')
  const [line] = await dumpedLines(app, directory, 1)
  t.match(line, { method: 'POST', url: '/h2', request_body: 'hello', response_body: 'world', request_headers: { Cookie: ['[redacted]'] }, raw_request: /^POST \/h2 HTTP\/2\.0\r\n/ })
  t.notMatch(line!.raw_request, /^:/m)
})
