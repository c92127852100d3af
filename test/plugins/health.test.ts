/** Active health checks, slow start and panic: a real gateway with real backends. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { CERTIFICATE, CERTIFICATE_KEY, httpUpstream, rawUpstream, seededRandom, sleep, startGateway, waitFor, askTimes } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Configure, GatewayOptions, StartedGateway, TestLike } from '../helper.ts'

/** A backend with a health page, which answers everything else with its name. */
interface Patient {
  readonly name: string
  readonly url: string
  readonly port: number
  /** Whether its health page says 200 or 503. */
  well: boolean
  /** In place of that. */
  page: RequestListener | undefined
  readonly probes: IncomingMessage[]
  /** Requests that were no checks. */
  hits: number
  /** In place of its name. */
  answer: RequestListener | undefined
  /** Waits for so many checks more than there were. */
  checked (times?: number): Promise<boolean>
}

async function patient (t: TestLike, name = 'up', options: { well?: boolean, page?: RequestListener } = {}): Promise<Patient> {
  const self: Patient = {
    name,
    url: '',
    port: 0,
    well: options.well ?? true,
    page: options.page,
    probes: [],
    hits: 0,
    answer: undefined,
    checked (times = 1) {
      const until = self.probes.length + times
      return waitFor(() => self.probes.length >= until)
    }
  }
  const { url, port } = await httpUpstream(t, (request: IncomingMessage, response: ServerResponse) => {
    // a patient is asked below a path, so that several may share a server
    if (!request.url!.includes('/health')) {
      self.hits++
      if (self.answer !== undefined) self.answer(request, response)
      else response.end(name)
      return
    }
    self.probes.push(request)
    if (self.page !== undefined) {
      self.page(request, response)
      return
    }
    response.statusCode = self.well ? 200 : 503
    response.end(self.well ? 'well' : 'ill')
  })
  return Object.assign(self, { url, port })
}

/** Quick checks whose first bad result in a row counts. */
const QUICK = { path: '/health', interval: 15, jitter: 0, timeout: 2000, rise: 1, fall: 1 }

function start (t: TestLike, targets: unknown, backend: Record<string, unknown> = {}, options: Partial<GatewayOptions> = {}, configure?: Configure): Promise<StartedGateway> {
  return startGateway(t, { ...options, backends: { up: { targets: [targets].flat(), circuitBreaker: false, ...backend } } } as GatewayOptions, configure)
}

function isHealthy (app: FastifyInstance, url?: string, backend = 'up'): boolean {
  const views = app.reverseproxy.health.status(backend)
  return (url === undefined ? views : views.filter(({ target }) => target === url)).every(({ healthy }) => healthy)
}

/** Waits until every check has had a result: what asks next begins a new one. */
async function judged (app: FastifyInstance): Promise<void> {
  if (!await waitFor(() => app.reverseproxy.health.status().every(({ check }) => check !== undefined && check.checks > 0))) throw new Error('not every check has a result')
}

function becomes (app: FastifyInstance, healthy: boolean, url?: string): Promise<boolean> {
  return waitFor(() => isHealthy(app, url) === healthy)
}

// ---------------------------------------------------------------- what is asked

t.test('the first check is made at once, not after an interval', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: { path: '/health', interval: '1h' } })
  t.ok(await waitFor(() => up.probes.length === 1))
  t.ok(await waitFor(() => app.reverseproxy.health.status('up')[0]!.check?.checks === 1))
  t.match(app.reverseproxy.health.status('up')[0], { scope: '', backend: 'up', target: up.url, healthy: true, reason: undefined, check: { last: { ok: true, status: 200 } } })
})

t.test('nothing is asked before the server is ready', async t => {
  const up = await patient(t)
  await start(t, up.url, { health: QUICK }, {}, async () => {
    await sleep(50)
    t.equal(up.probes.length, 0)
  })
  t.ok(await up.checked())
})

t.test('a gateway that does not listen is ready all the same', async t => {
  const up = await patient(t)
  const { buildGateway } = await import('../helper.ts')
  const app = await buildGateway({ backends: { up: { url: up.url, health: QUICK } } })
  await app.ready()
  t.ok(await up.checked(2))
  await app.close()
  const { length } = up.probes
  await sleep(60)
  t.equal(up.probes.length, length)
})

t.test('it asks for the path, with method, headers, the target\'s Host and a name of its own', async t => {
  const up = await patient(t)
  await start(t, up.url, { health: { ...QUICK, path: '/health?deep=1', method: 'POST', headers: { 'X-Check': 'yes', authorization: 'Bearer x' } } })
  t.ok(await up.checked())
  const { method, url, headers } = up.probes[0]!
  t.equal(method, 'POST')
  t.equal(url, '/health?deep=1')
  t.match(headers, { host: `127.0.0.1:${up.port}`, 'x-check': 'yes', authorization: 'Bearer x', 'user-agent': /fastify-reverseproxy/ })
})

t.test('a header of the options wins over those of the check', async t => {
  const up = await patient(t)
  await start(t, up.url, { health: { ...QUICK, headers: { 'User-Agent': 'probe/1' } } })
  t.ok(await up.checked())
  t.equal(up.probes[0]!.headers['user-agent'], 'probe/1')
  t.equal(up.probes[0]!.rawHeaders.filter(name => /^user-agent$/i.test(name)).length, 1)
})

t.test('the path is joined to that of the target\'s URL', async t => {
  const up = await patient(t)
  await start(t, `${up.url}/base`, { health: QUICK })
  t.ok(await up.checked())
  t.equal(up.probes[0]!.url, '/base/health')
})

t.test('a backend with a host of its own is asked under it', async t => {
  const up = await patient(t)
  await start(t, up.url, { host: 'inner.example', health: QUICK })
  t.ok(await up.checked())
  t.equal(up.probes[0]!.headers.host, 'inner.example')
})

t.test('a backend that sees the client\'s host is asked under that of the target', async t => {
  const up = await patient(t)
  await start(t, up.url, { host: 'preserve', health: QUICK })
  t.ok(await up.checked())
  t.equal(up.probes[0]!.headers.host, `127.0.0.1:${up.port}`)
})

t.test('what calls get is not for checks: no Via, no forwarded headers, no request id', async t => {
  const up = await patient(t)
  await start(t, up.url, { health: QUICK, headers: { request: { set: { 'x-call': '1' } } } })
  t.ok(await up.checked())
  t.strictSame(Object.keys(up.probes[0]!.headers).filter(name => /^(?:via|forwarded|x-)/.test(name)), [])
})

t.test('HEAD is enough', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: { ...QUICK, method: 'HEAD' } })
  t.ok(await up.checked(3))
  t.equal(up.probes[0]!.method, 'HEAD')
  t.ok(isHealthy(app))
})

// ---------------------------------------------------------------- what is a good answer

for (const [expectedStatus, good, bad] of [
  [undefined, [200, 204, 299], [300, 404, 500]],
  [404, [404], [200, 403]],
  [[200, 404], [200, 404], [201, 500]],
  ['200-399', [200, 304, 399], [400]],
  ['4xx', [400, 499], [200, 500]],
  [['2xx', 301, '500-503'], [200, 301, 502], [302, 504]]
] as const) {
  t.test(`expectedStatus ${JSON.stringify(expectedStatus)}`, async t => {
    let status = 200
    const up = await patient(t, 'up', { page (_request, response) { response.writeHead(status).end() } })
    const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h', ...(expectedStatus === undefined ? undefined : { expectedStatus }) } })
    await judged(app)
    for (const one of good) {
      status = one
      t.equal(await app.reverseproxy.health.check('up'), true, `${one} is good`)
    }
    for (const one of bad) {
      status = one
      t.equal(await app.reverseproxy.health.check('up'), false, `${one} is bad`)
    }
  })
}

for (const [name, expectedBody, good, bad] of [
  ['a text', 'all well', ['all well', 'x all well x'], ['', 'ill', 'all  well']],
  ['a RegExp', /^(?:up|ok)$/gi, ['UP', 'ok', 'up'], ['down', 'up\nx']],
  ['a regex of a file', { regex: '"status":\\s*"(up|ok)"' }, ['{"status": "up"}'], ['{"status": "down"}', '']]
] as const) {
  t.test(`expectedBody: ${name}`, async t => {
    let body = ''
    const up = await patient(t, 'up', { page (_request, response) { response.end(body) } })
    const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h', expectedBody } })
    await judged(app)
    // twice: an expression with the flag g remembers where it was
    for (const one of [...good, ...good]) {
      body = one
      t.equal(await app.reverseproxy.health.check('up'), true, `${JSON.stringify(one)} is good`)
    }
    for (const one of bad) {
      body = one
      t.equal(await app.reverseproxy.health.check('up'), false, `${JSON.stringify(one)} is bad`)
    }
  })
}

t.test('a good body with a bad status is bad', async t => {
  const up = await patient(t, 'up', { page (_request, response) { response.writeHead(500).end('all well') } })
  const { app } = await start(t, up.url, { health: { ...QUICK, expectedBody: 'all well' } })
  t.ok(await becomes(app, false))
})

t.test('an expected text may come in pieces', async t => {
  const up = await patient(t, 'up', {
    page (_request, response) {
      response.write('all ')
      setTimeout(() => { response.end('well') }, 20)
    }
  })
  const { app } = await start(t, up.url, { health: { ...QUICK, initial: 'unhealthy', expectedBody: 'all well' } })
  t.ok(await becomes(app, true))
})

t.test('a health page without an end is not read without an end', async t => {
  let sent = 0
  const flood: RequestListener = (_request, response) => {
    response.write('all well')
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536
    }
    response.on('drain', more)
    more()
  }
  const up = await patient(t, 'up', { page: flood })
  for (const expectedBody of [undefined, 'all well', 'something else'] as const) {
    const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h', timeout: '20s', ...(expectedBody === undefined ? undefined : { expectedBody }) } })
    t.equal(await app.reverseproxy.health.check('up'), expectedBody !== 'something else', `expectedBody: ${expectedBody}`)
    await app.close()
  }
  const before = sent
  await sleep(50)
  t.equal(sent, before, 'nobody reads any more')
  t.ok(sent < 100e6)
})

t.test('a health page that hangs is a failure after timeout, before its head and in its body', async t => {
  for (const begin of [false, true]) {
    const up = await patient(t, 'up', { page (_request, response) { if (begin) response.write('all') } })
    const { app } = await start(t, up.url, { health: { ...QUICK, timeout: 60, expectedBody: 'all well' } })
    t.ok(await becomes(app, false), `the head ${begin ? 'came' : 'did not come'}`)
    t.match(app.reverseproxy.health.status('up')[0]!.check?.last, { ok: false, error: 'timeout' })
    up.page = (_request, response) => { response.end('all well') }
    t.ok(await becomes(app, true), 'and it comes back')
  }
})

t.test('what is no HTTP, a reset, a refused connection: unhealthy', async t => {
  const garbage = await rawUpstream(t, 'SSH-2.0-OpenSSH_9.6\r\n')
  const reset = await rawUpstream(t, { act: 'reset' })
  const refused = await rawUpstream(t, [])
  await refused.stop()
  for (const up of [garbage, reset, refused]) {
    const { app } = await start(t, up.url, { health: QUICK })
    t.ok(await becomes(app, false))
    const { last } = app.reverseproxy.health.status('up')[0]!.check!
    t.equal(last!.ok, false)
    t.type(last!.error, 'string')
  }
})

t.test('early hints before the answer are no answer', async t => {
  const up = await rawUpstream(t, 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h' } })
  t.equal(await app.reverseproxy.health.check('up'), true)
})

// ---------------------------------------------------------------- rise, fall and traffic

t.test('it takes `fall` bad results in a row to be unhealthy, and `rise` good ones to be healthy again', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: { path: '/health', interval: '1h', rise: 3, fall: 2 } })
  const check = (): Promise<boolean> => app.reverseproxy.health.check('up')
  await judged(app)
  t.equal(await check(), true)
  up.well = false
  t.equal(await check(), true, 'one is not enough')
  up.well = true
  t.equal(await check(), true)
  up.well = false
  t.equal(await check(), true, 'they must be in a row')
  t.equal(await check(), false)
  up.well = true
  t.same([await check(), await check()], [false, false])
  t.equal(await check(), true)
})

t.test('an unhealthy target gets no traffic, and gets it again when it is well', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a'), patient(t, 'b'), patient(t, 'c')])
  const { url, app } = await start(t, [a.url, b.url, c.url], { health: QUICK })
  t.same(await askTimes(url, 6), { a: 2, b: 2, c: 2 })
  b.well = false
  t.ok(await becomes(app, false, b.url))
  t.same(await askTimes(url, 20), { a: 10, c: 10 }, 'the others share it evenly')
  b.well = true
  t.ok(await becomes(app, true, b.url))
  t.same(await askTimes(url, 9), { a: 3, b: 3, c: 3 })
})

t.test('weights hold among those that are left', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false }), patient(t, 'c')])
  const { url, app } = await start(t, [{ url: a.url, weight: 3 }, { url: b.url, weight: 2 }, c.url], { balancer: 'weighted-round-robin', health: QUICK })
  t.ok(await becomes(app, false, b.url))
  const counts = await askTimes(url, 80)
  t.equal(counts['a']! + counts['c']!, 80)
  t.ok(Math.abs(counts['a']! - 60) <= 4, JSON.stringify(counts))
})

t.test('requests to a target that becomes unhealthy meanwhile are finished', async t => {
  const up = await patient(t)
  const { url, app } = await start(t, up.url, { health: QUICK })
  let finish: (() => void) | undefined
  up.answer = (_request, response) => { finish = () => { response.end('finished') } }
  const running = fetch(url)
  t.ok(await waitFor(() => finish !== undefined))
  up.well = false
  t.ok(await becomes(app, false))
  finish!()
  t.equal(await (await running).text(), 'finished')
})

t.test('when all are unhealthy the answer is 503, and nobody is asked', async t => {
  const [a, b] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b', { well: false })])
  const { url, app } = await start(t, [a.url, b.url], { health: QUICK })
  t.ok(await waitFor(() => app.reverseproxy.health.status('up').every(({ healthy }) => !healthy)))
  const answer = await fetch(url)
  t.equal(answer.status, 503)
  const body = await answer.json() as { message: string }
  t.match(body, { statusCode: 503, code: 'RP_ERR_NO_TARGET' })
  t.notMatch(body.message, /127\.0\.0\.1/)
  t.same([a.hits, b.hits], [0, 0])
})

t.test('initial: unhealthy targets get traffic only after their first good check', async t => {
  let letGo: (() => void) | undefined
  const up = await patient(t, 'up', { page (_request, response) { letGo = () => { response.end('well') } } })
  const { url, app } = await start(t, up.url, { health: { ...QUICK, interval: '1h', rise: 5, timeout: '20s', initial: 'unhealthy' } })
  t.ok(await waitFor(() => letGo !== undefined))
  t.same(await askTimes(url, 2), { 503: 2 })
  letGo!()
  t.ok(await becomes(app, true), 'the first result decides, whatever `rise` is')
  t.same(await askTimes(url, 2), { up: 2 })
})

t.test('initial: healthy by default, so that the first requests need not wait for checks', async t => {
  const up = await patient(t, 'up', { page () {} })
  const { url } = await start(t, up.url, { health: { ...QUICK, timeout: '20s' } })
  t.same(await askTimes(url, 2), { up: 2 })
})

t.test('unhealthyInterval holds while a target is unhealthy', async t => {
  const up = await patient(t, 'up', { well: false })
  const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h', unhealthyInterval: 15 } })
  t.ok(await up.checked(3), 'it is asked often')
  up.well = true
  t.ok(await becomes(app, true))
  const { length } = up.probes
  await sleep(100)
  t.equal(up.probes.length, length, 'and now seldom')
})

t.test('interval holds between checks', async t => {
  const up = await patient(t)
  await start(t, up.url, { health: { ...QUICK, interval: 100 } })
  t.ok(await up.checked())
  await sleep(350)
  t.ok(up.probes.length >= 2 && up.probes.length <= 5, `${up.probes.length} checks in 350 ms`)
})

t.test('checks of a target never overlap, however slow it is and whoever asks', async t => {
  let open = 0
  let most = 0
  const up = await patient(t, 'up', {
    page (_request, response) {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        response.end()
      }, 30)
    }
  })
  const { app } = await start(t, up.url, { health: { ...QUICK, interval: 1 } })
  for (let n = 0; n < 20; n++) {
    app.reverseproxy.health.check('up')
    await sleep(10)
  }
  t.ok(up.probes.length >= 3)
  t.equal(most, 1)
})

t.test('checks of a target that hangs do not pile up', async t => {
  const up = await patient(t, 'up', { page () {} })
  const open = new Set<unknown>()
  up.page = ({ socket }) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  const { app } = await start(t, up.url, { health: { ...QUICK, interval: 1, timeout: 25 } })
  t.ok(await up.checked(6))
  t.ok(open.size <= 2, `${open.size} connections`)
  t.equal(isHealthy(app), false)
})

// ---------------------------------------------------------------- connections

t.test('checks have a connection of their own: a busy pool is no illness', async t => {
  const up = await patient(t)
  const { url, app } = await start(t, up.url, { pool: { connections: 1 }, health: { ...QUICK, timeout: 500 } })
  const held: ServerResponse[] = []
  up.answer = (_request, response) => { held.push(response) }
  const running = [fetch(url), fetch(url)]
  t.ok(await waitFor(() => held.length === 1))
  t.ok(await up.checked(5), 'checks go on')
  t.ok(isHealthy(app))
  held[0]!.end()
  t.ok(await waitFor(() => held.length === 2))
  held[1]!.end()
  t.same((await Promise.all(running)).map(({ status }) => status), [200, 200])
})

t.test('checks take no place of the backend\'s limits', async t => {
  const up = await patient(t)
  const { url, app } = await start(t, { url: up.url, maxConnections: 1 }, { concurrency: 1, health: QUICK })
  let finish: (() => void) | undefined
  up.answer = (_request, response) => { finish = () => { response.end() } }
  const running = fetch(url)
  t.ok(await waitFor(() => finish !== undefined))
  t.ok(await up.checked(5))
  t.ok(isHealthy(app))
  finish!()
  t.equal((await running).status, 200)
  t.equal(app.reverseproxy.backends.get('up')!.targets[0]!.started, 1, 'checks are not counted as requests')
})

t.test('checks go over one connection as long as it lasts', async t => {
  const sockets = new Set<unknown>()
  const up = await patient(t)
  await start(t, up.url, { health: QUICK })
  t.ok(await up.checked(8))
  for (const { socket } of up.probes) sockets.add(socket)
  t.ok(sockets.size <= 2, `${sockets.size} connections for ${up.probes.length} checks`)
})

t.test('failed checks do not open the circuit, and good ones do not close it', async t => {
  const up = await patient(t, 'up', { well: false })
  const { app } = await start(t, up.url, { circuitBreaker: { failureThreshold: 1, resetTimeout: '1h' }, health: QUICK })
  t.ok(await up.checked(4))
  t.not(app.reverseproxy.breakers.get('up')?.state, 'open')
  app.reverseproxy.breakers.open('up')
  up.well = true
  t.ok(await becomes(app, true))
  t.equal(app.reverseproxy.breakers.get('up')?.state, 'open')
})

t.test('certificates are verified: a self-signed one is unhealthy unless it is trusted', async t => {
  const server = createHttps({ cert: CERTIFICATE, key: CERTIFICATE_KEY }, (_request, response) => { response.end('well') })
  server.on('tlsClientError', () => {})
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const target = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const strict = await start(t, target, { health: QUICK })
  t.ok(await becomes(strict.app, false))
  t.match(strict.app.reverseproxy.health.status('up')[0]!.check?.last?.error, /certificate/i)
  const trusting = await start(t, target, { health: { ...QUICK, initial: 'unhealthy' }, tls: { ca: CERTIFICATE } })
  t.ok(await becomes(trusting.app, true))
  t.equal((await fetch(trusting.url)).status, 200)
})

// ---------------------------------------------------------------- levels

t.test('the gateway says it for all backends, a backend over that, and a target over that', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a'), patient(t, 'b'), patient(t, 'c')])
  await startGateway(t, {
    health: { ...QUICK, headers: { 'x-level': 'gateway' } },
    backends: {
      one: a.url,
      two: { health: { path: '/health/two' }, targets: [b.url, { url: c.url, health: { path: '/health/target', headers: { 'x-target': '1' } } }] }
    }
  } as GatewayOptions, () => {})
  await Promise.all([a, b, c].map(one => waitFor(() => one.probes.length > 0)))
  t.equal(a.probes[0]!.url, '/health')
  t.equal(b.probes[0]!.url, '/health/two')
  t.equal(c.probes[0]!.url, '/health/target')
  t.match(c.probes[0]!.headers, { 'x-level': 'gateway', 'x-target': '1' })
})

t.test('false switches it off: for a backend, for a target', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a'), patient(t, 'b'), patient(t, 'c')])
  const { app } = await startGateway(t, {
    health: QUICK,
    backends: { off: { url: a.url, health: false }, up: [{ url: b.url, health: false }, c.url] }
  } as GatewayOptions, () => {})
  t.ok(await c.checked(3))
  t.same([a.probes.length, b.probes.length], [0, 0])
  t.same(app.reverseproxy.health.status().map(({ healthy, check }) => [healthy, check === undefined]), [[true, true], [true, true], [true, false]])
})

t.test('only one target may have checks', async t => {
  const [a, b] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b', { well: false })])
  const { url, app } = await start(t, [{ url: a.url, health: QUICK }, b.url])
  t.ok(await becomes(app, false, a.url))
  t.same(await askTimes(url, 4), { b: 4 })
  t.equal(b.probes.length, 0)
})

t.test('two backends with the same target ask it each in its own way, and do not disturb each other', async t => {
  const up = await patient(t, 'up', { page ({ url }, response) { response.writeHead(url === '/health/one' ? 200 : 500).end() } })
  const { url, app } = await startGateway(t, {
    backends: {
      one: { url: up.url, health: { ...QUICK, path: '/health/one' } },
      two: { url: up.url, health: { ...QUICK, path: '/health/two' } },
      three: { url: up.url }
    }
  } as GatewayOptions, app => {
    for (const backend of ['one', 'two', 'three']) app.get(`/${backend}`, { proxy: { backend } }, app.reverseproxy.handler)
  })
  t.ok(await waitFor(() => !isHealthy(app, undefined, 'two')))
  t.same([isHealthy(app, undefined, 'one'), isHealthy(app, undefined, 'two'), isHealthy(app, undefined, 'three')], [true, false, true])
  t.same([(await fetch(`${url}/one`)).status, (await fetch(`${url}/two`)).status, (await fetch(`${url}/three`)).status], [200, 503, 200])
  await app.reverseproxy.backends.remove('two')
  const { length } = up.probes
  t.ok(await waitFor(() => up.probes.length > length + 3))
  t.ok(up.probes.slice(length + 1).every(({ url }) => url === '/health/one'), 'the other one goes on')
})

// ---------------------------------------------------------------- skipIfRecent, onChange

t.test('skipIfRecent: while traffic succeeds there are no checks', async t => {
  const up = await patient(t)
  const { url, app } = await start(t, up.url, { health: { ...QUICK, interval: 200, skipIfRecent: true } })
  t.ok(await waitFor(() => up.probes.length === 1), 'the first one is made')
  const end = performance.now() + 700
  while (performance.now() < end) {
    await askTimes(url, 1)
    await sleep(10)
  }
  t.equal(up.probes.length, 1)
  t.ok(app.reverseproxy.health.status('up')[0]!.check!.skipped >= 2)
  t.ok(await up.checked(2), 'without traffic they are made again')
})

t.test('skipIfRecent: traffic that fails proves nothing', async t => {
  const up = await patient(t)
  up.answer = (_request, response) => { response.writeHead(500).end() }
  const { url } = await start(t, up.url, { health: { ...QUICK, interval: 50, skipIfRecent: true } })
  const before = up.probes.length
  const end = performance.now() + 400
  while (performance.now() < end) {
    await fetch(url)
    await sleep(5)
  }
  t.ok(up.probes.length > before + 1)
})

t.test('without skipIfRecent traffic spares no check', async t => {
  const up = await patient(t)
  const { url } = await start(t, up.url, { health: QUICK })
  const before = up.probes.length
  for (let n = 0; n < 20; n++) {
    await fetch(url)
    await sleep(5)
  }
  t.ok(up.probes.length > before + 1)
})

t.test('onChange is told of each change once', async t => {
  const up = await patient(t)
  const changes: unknown[] = []
  const { app } = await start(t, up.url, { health: { ...QUICK, onChange: (target: object, healthy: boolean) => { changes.push([target, healthy]) } } })
  t.ok(await up.checked(3))
  t.same(changes, [], 'what it was is no change')
  up.well = false
  t.ok(await becomes(app, false))
  t.ok(await up.checked(2))
  up.well = true
  t.ok(await becomes(app, true))
  t.ok(await up.checked(2))
  const target = { backend: 'up', target: up.url }
  t.same(changes, [[target, false], [target, true]])
})

t.test('an onChange that throws, or rejects, changes nothing', async t => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  for (const onChange of [() => { throw new Error('sync') }, async () => { throw new Error('async') }]) {
    const up = await patient(t)
    const { url, app } = await start(t, up.url, { health: { ...QUICK, onChange } })
    up.well = false
    t.ok(await becomes(app, false))
    t.ok(await up.checked(2), 'checks go on')
    t.same(await askTimes(url, 1), { 503: 1 })
    up.well = true
    t.ok(await becomes(app, true))
    t.same(await askTimes(url, 1), { up: 1 })
  }
  await sleep(20)
  t.same(unhandled, [])
})

t.test('onChange may change the backend it is told of', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const onChange = ({ target }: { target: string }, healthy: boolean): void => {
    if (!healthy) gateway.app.reverseproxy.backends.removeTarget('up', target).catch(() => {})
  }
  const gateway = await start(t, [a.url, b.url], { health: { ...QUICK, onChange } })
  a.well = false
  t.ok(await waitFor(() => gateway.app.reverseproxy.backends.get('up')!.targets.length === 1))
  const { length } = a.probes
  t.ok(await b.checked(3))
  t.ok(a.probes.length <= length + 1, 'it is not asked any more')
  t.same(await askTimes(gateway.url, 3), { b: 3 })
})

// ---------------------------------------------------------------- at run time

t.test('a target that is added is checked from now on', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
  const { url, app } = await start(t, a.url, { health: QUICK })
  t.ok(await a.checked())
  app.reverseproxy.backends.addTarget('up', b.url)
  t.ok(await becomes(app, false, b.url))
  t.same(await askTimes(url, 4), { a: 4 })
})

t.test('a target that is added may have checks of its own, or none', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a'), patient(t, 'b'), patient(t, 'c')])
  const { app } = await start(t, a.url, { health: QUICK })
  app.reverseproxy.backends.addTarget('up', { url: b.url, health: '/health/own' })
  app.reverseproxy.backends.addTarget('up', { url: c.url, health: false })
  t.ok(await b.checked(2))
  t.ok(await a.checked(2))
  t.equal(b.probes[0]!.url, '/health/own')
  t.equal(c.probes.length, 0)
})

t.test('a backend that is added is checked from now on, and no more when it is removed', async t => {
  const up = await patient(t)
  const { app } = await startGateway(t, { backends: {} } as GatewayOptions, () => {})
  app.reverseproxy.backends.add('late', { url: up.url, health: QUICK })
  t.ok(await up.checked(2))
  await app.reverseproxy.backends.remove('late')
  const { length } = up.probes
  await sleep(80)
  t.ok(up.probes.length <= length + 1)
  t.same(app.reverseproxy.health.status(), [])
})

t.test('a target that is removed, drained or switched off is asked no more, and again when it is back', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const { app } = await start(t, [a.url, b.url], { health: QUICK })
  const { backends } = app.reverseproxy
  const rests = async (): Promise<boolean> => {
    // one may be on its way
    await sleep(20)
    const { length } = b.probes
    await a.checked(4)
    return b.probes.length === length
  }
  await backends.drain('up', b.url)
  t.ok(await rests(), 'drained')
  backends.updateTarget('up', b.url, { active: true })
  t.ok(await b.checked(2), 'back')
  backends.updateTarget('up', b.url, { active: false })
  t.ok(await rests(), 'switched off')
  backends.updateTarget('up', b.url, { active: true })
  t.ok(await b.checked(2), 'back again')
  await backends.removeTarget('up', b.url)
  t.ok(await rests(), 'removed')
})

t.test('new options take effect at once', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: { ...QUICK, interval: '1h' } })
  t.ok(await waitFor(() => up.probes.length === 1))
  app.reverseproxy.backends.update('up', { url: up.url, health: { ...QUICK, path: '/health/new' } })
  t.ok(await up.checked(3))
  t.equal(up.probes.at(-1)!.url, '/health/new')
  app.reverseproxy.backends.update('up', { url: up.url, health: false })
  await sleep(20)
  const { length } = up.probes
  await sleep(60)
  t.equal(up.probes.length, length)
  t.equal(app.reverseproxy.health.status('up')[0]!.check, undefined)
})

t.test('a new Host of the backend is that of its checks', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { host: 'old.example', health: QUICK })
  t.ok(await up.checked())
  app.reverseproxy.backends.update('up', { url: up.url, host: 'new.example', health: QUICK })
  t.ok(await waitFor(() => up.probes.at(-1)!.headers.host === 'new.example'))
})

t.test('an update that changes nothing about a sick target does not send traffic to it', async t => {
  const [a, b] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b')])
  const health = { ...QUICK, timeout: '20s' }
  const { url, app } = await start(t, [a.url, b.url], { health })
  t.ok(await becomes(app, false, a.url))
  // its next checks have no result for a while
  a.page = () => {}
  app.reverseproxy.backends.update('up', { targets: [a.url, { url: b.url, weight: 2 }], circuitBreaker: false, health })
  t.equal(isHealthy(app, a.url), false)
  t.same(await askTimes(url, 4), { b: 4 })
  t.match(app.reverseproxy.health.status('up')[0], { reason: 'unhealthy' })
})

t.test('checks in new words about a sick target do not send traffic to it before they have a result', async t => {
  const [a, b] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { health: { ...QUICK, timeout: '20s' } })
  t.ok(await becomes(app, false, a.url))
  a.page = () => {}
  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], circuitBreaker: false, health: { ...QUICK, timeout: '20s', interval: 20 } })
  t.same(await askTimes(url, 4), { b: 4 })
})

// ---------------------------------------------------------------- the end

t.test('app.close() ends the checks at once: also one that hangs, and before the time of shutdown.delay', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  let dropped = false
  b.page = ({ socket }) => { socket.once('close', () => { dropped = true }) }
  const { app } = await start(t, [a.url, b.url], { health: { ...QUICK, timeout: '1h' } })
  t.ok(await waitFor(() => a.probes.length > 0 && b.probes.length > 0))
  await app.close()
  const { length } = a.probes
  await sleep(80)
  t.equal(a.probes.length, length)
  t.ok(await waitFor(() => dropped), 'its connection is closed')
})

t.test('while the gateway says that it is on its way down, and still takes requests, what is unhealthy stays so', async t => {
  const [a, b] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { health: QUICK }, { shutdown: { delay: 300 } } as Partial<GatewayOptions>)
  t.ok(await becomes(app, false, a.url))
  const closed = app.close()
  await sleep(20)
  t.same(await askTimes(url, 4), { b: 4 })
  await closed
})

t.test('health.check after the close answers what was known, and asks nobody', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: QUICK })
  await judged(app)
  await app.close()
  const { length } = up.probes
  t.equal(await app.reverseproxy.health.check('up'), true)
  t.equal(up.probes.length, length)
})

t.test('a process whose gateway is closed ends by itself, whatever its checks were about', async t => {
  const hanging = await patient(t, 'up', { page () {} })
  const index = new URL('../../index.ts', import.meta.url).href
  const code = `
    const { default: Fastify } = await import('fastify')
    const { default: reverseproxy, serverOptions } = await import(${JSON.stringify(index)})
    const app = Fastify(serverOptions)
    const health = { path: '/health', interval: 5, timeout: '1h' }
    await app.register(reverseproxy, { backends: { up: [${JSON.stringify(hanging.url)}, 'http://127.0.0.1:9'] }, health, outlier: true, slowStart: '1h', concurrency: 1 })
    await app.listen({ port: 0, host: '127.0.0.1' })
    setTimeout(async () => {
      await app.close()
      process.stdout.write('closed')
    }, 300)
  `
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', code], { cwd: new URL('../..', import.meta.url), stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  let out = ''
  let closedAt = 0
  child.stdout.on('data', (data: Buffer) => {
    out += data.toString()
    closedAt = performance.now()
  })
  const late = setTimeout(() => { child.kill('SIGKILL') }, 25_000)
  const [exitCode, signal] = await once(child, 'exit') as [number | null, string | null]
  clearTimeout(late)
  t.same([out, exitCode, signal], ['closed', 0, null])
  t.ok(performance.now() - closedAt < 5000)
  t.ok(hanging.probes.length >= 1)
})

// ---------------------------------------------------------------- the API

t.test('health.check asks one target or all of a backend, and says whether they are healthy', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
  const { app } = await start(t, [a.url, b.url], { health: { ...QUICK, interval: '1h' } })
  const { health } = app.reverseproxy
  await judged(app)
  t.equal(await health.check('up', a.url), true)
  t.equal(await health.check('up', `${a.url}/`), true, 'however its URL is written')
  t.same([a.probes.length, b.probes.length], [3, 1])
  t.equal(await health.check('up'), false)
  b.well = true
  t.equal(await health.check('up'), true)
  t.ok(isHealthy(app), 'the result counts')
})

t.test('health.check of what has no checks says that nothing is known against it', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url)
  t.equal(await app.reverseproxy.health.check('up'), true)
  t.equal(up.probes.length, 0)
})

t.test('names that are not there are refused, with those that are', async t => {
  const up = await patient(t)
  const { app } = await start(t, up.url, { health: QUICK })
  const { health } = app.reverseproxy
  await t.rejects(health.check('down'), { name: 'RangeError', message: /"down".*up/ })
  await t.rejects(health.check('up', 'http://127.0.0.1:1'), { name: 'RangeError', message: /"http:\/\/127\.0\.0\.1:1"/ })
  await t.rejects(health.check('up', 'no url'), { name: 'RangeError' })
  await t.rejects(health.check('constructor'), { name: 'RangeError' })
  t.throws(() => health.status('down'), { name: 'RangeError', message: /"down".*up/ })
  t.throws(() => health.status('__proto__'), { name: 'RangeError' })
})

t.test('health.status is a snapshot of all backends, or of one', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
  const { app } = await startGateway(t, { health: { ...QUICK, fall: 2 }, backends: { one: a.url, two: b.url } } as GatewayOptions, () => {})
  t.ok(await waitFor(() => !isHealthy(app, undefined, 'two')))
  const all = app.reverseproxy.health.status()
  t.match(all, [
    { scope: '', backend: 'one', target: a.url, healthy: true, reason: undefined, ejectedFor: undefined },
    { scope: '', backend: 'two', target: b.url, healthy: false, reason: 'unhealthy', check: { last: { ok: false, status: 503, error: 'status 503' } } }
  ])
  t.match(app.reverseproxy.health.status('two'), [{ backend: 'two' }])
  const before = all[0]!.check!.checks
  t.ok(await a.checked(2))
  t.equal(all[0]!.check!.checks, before)
})

// ---------------------------------------------------------------- slow start

for (const balancer of ['round-robin', 'least-connections', 'random']) {
  t.test(`slow start: a target that is healthy again gets few requests first (${balancer})`, async t => {
    const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
    const { url, app } = await start(t, [a.url, b.url], { balancer, health: QUICK, slowStart: { window: '1h', initial: 0.1 } }, { random: seededRandom(7) })
    t.ok(await becomes(app, false, b.url))
    b.well = true
    t.ok(await becomes(app, true, b.url))
    t.match(app.reverseproxy.health.status('up')[1], { healthy: true, reason: 'warming' })
    await Promise.all(Array.from({ length: 4 }, () => askTimes(url, 80)))
    t.ok(b.hits >= 5 && b.hits <= 64, `${b.hits} of 320`)
    t.equal(a.hits + b.hits, 320)
  })
}

t.test('slow start: after its window a target has its full share', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
  const { url, app } = await start(t, [a.url, b.url], { health: QUICK, slowStart: 50 })
  t.ok(await becomes(app, false, b.url))
  b.well = true
  t.ok(await waitFor(() => app.reverseproxy.health.status('up')[1]!.reason === undefined))
  t.same(await askTimes(url, 40), { a: 20, b: 20 })
})

t.test('slow start: the share grows', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b', { well: false })])
  const { url, app } = await start(t, [a.url, b.url], { health: QUICK, slowStart: { window: 1500, initial: 0 } }, { random: seededRandom(3) })
  t.ok(await becomes(app, false, b.url))
  b.well = true
  t.ok(await becomes(app, true, b.url))
  const shares: number[] = []
  for (let third = 0; third < 3; third++) {
    const [hitsA, hitsB] = [a.hits, b.hits]
    const end = performance.now() + 500
    while (performance.now() < end) await askTimes(url, 1)
    shares.push((b.hits - hitsB) / Math.max(1, a.hits - hitsA + b.hits - hitsB))
  }
  t.ok(shares[0]! < shares[2]!, shares.join(' '))
  t.ok(shares[0]! < 0.3, shares.join(' '))
})

t.test('slow start: at boot every target has its full share', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const { url } = await start(t, [a.url, b.url], { health: QUICK, slowStart: '1h' })
  t.same(await askTimes(url, 20), { a: 10, b: 10 })
})

t.test('slow start: a new target gets few requests first, with checks and without', async t => {
  for (const health of [QUICK, false] as const) {
    const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
    const { url, app } = await start(t, a.url, { health, slowStart: { window: '1h', initial: 0.1 } }, { random: seededRandom(11) })
    app.reverseproxy.backends.addTarget('up', b.url)
    await askTimes(url, 300)
    t.ok(b.hits >= 3 && b.hits <= 60, `${b.hits} of 300`)
  }
})

t.test('slow start: a target that is brought back after a drain gets few requests first', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { slowStart: { window: '1h', initial: 0.1 } }, { random: seededRandom(12) })
  await app.reverseproxy.backends.drain('up', b.url)
  app.reverseproxy.backends.updateTarget('up', b.url, { active: true })
  await askTimes(url, 300)
  t.ok(b.hits >= 3 && b.hits <= 60, `${b.hits} of 300`)
})

t.test('slow start: an update that changes nothing does not begin anew, nor end it', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const options = { slowStart: { window: '1h', initial: 0.1 } }
  const { app } = await start(t, a.url, options)
  app.reverseproxy.backends.addTarget('up', b.url)
  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], ...options })
  t.same(app.reverseproxy.health.status('up').map(({ reason }) => reason), [undefined, 'warming'])
})

t.test('slow start: where nobody else is left a warming target takes all', async t => {
  const [a, b] = await Promise.all([patient(t, 'a'), patient(t, 'b')])
  const { url, app } = await start(t, a.url, { health: QUICK, slowStart: { window: '1h', initial: 0 } })
  app.reverseproxy.backends.addTarget('up', b.url)
  t.same(await askTimes(url, 10), { a: 10 }, 'a share of 0 is nothing')
  a.well = false
  t.ok(await becomes(app, false, a.url))
  t.same(await askTimes(url, 10), { b: 10 })
})

// ---------------------------------------------------------------- panic

async function four (t: TestLike, sick: number): Promise<Patient[]> {
  return Promise.all(['a', 'b', 'c', 'd'].map((name, index) => patient(t, name, { well: index >= sick })))
}

async function settled (app: FastifyInstance, sick: number): Promise<void> {
  if (!await waitFor(() => app.reverseproxy.health.status('up').filter(({ healthy }) => !healthy).length === sick)) throw new Error(`${sick} are not sick`)
}

t.test('without panic what is left takes everything', async t => {
  const all = await four(t, 3)
  const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK })
  await settled(app, 3)
  t.same(await askTimes(url, 8), { d: 8 })
})

t.test('panic: all — when fewer than the threshold are healthy, everybody is used', async t => {
  const all = await four(t, 3)
  const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK, panic: { threshold: 50, mode: 'all' } })
  await settled(app, 3)
  t.same(await askTimes(url, 16), { a: 4, b: 4, c: 4, d: 4 })
})

t.test('panic: all — also when none is healthy', async t => {
  const all = await four(t, 4)
  const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK, panic: {} })
  await settled(app, 4)
  t.same(await askTimes(url, 8), { a: 2, b: 2, c: 2, d: 2 })
})

t.test('panic: the threshold itself is no panic', async t => {
  for (const mode of ['all', '503', 503]) {
    const all = await four(t, 2)
    const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK, panic: { threshold: 50, mode } })
    await settled(app, 2)
    t.same(await askTimes(url, 16), { c: 8, d: 8 }, `mode ${mode}: those that are healthy share it evenly`)
  }
})

t.test('panic: 503 — when fewer than the threshold are healthy, all are refused', async t => {
  for (const mode of ['503', 503]) {
    const all = await four(t, 3)
    const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK, panic: { threshold: 50, mode } })
    await settled(app, 3)
    const answer = await fetch(url)
    t.equal(answer.status, 503)
    t.match(await answer.json(), { code: 'RP_ERR_NO_TARGET' })
    t.same(await askTimes(url, 7), { 503: 7 })
    t.same(all.map(({ hits }) => hits), [0, 0, 0, 0])
    all[2]!.well = true
    await settled(app, 2)
    t.same(await askTimes(url, 8), { c: 4, d: 4 }, 'and it ends by itself')
  }
})

t.test('panic: 503 — the healthy ones of three share evenly', async t => {
  const [a, b, c] = await Promise.all([patient(t, 'a', { well: false }), patient(t, 'b'), patient(t, 'c')])
  const { url, app } = await start(t, [a.url, b.url, c.url], { health: QUICK, panic: { threshold: 50, mode: '503' } })
  await settled(app, 1)
  t.same(await askTimes(url, 20), { b: 10, c: 10 })
})

t.test('panic counts a sick target as sick when its circuit is open, too', async t => {
  const all = await four(t, 3)
  const { url, app } = await start(t, all.map(({ url }) => url), { health: QUICK, circuitBreaker: { resetTimeout: '1h' }, panic: { threshold: 50, mode: 'all' } })
  await settled(app, 3)
  // a quarter is healthy: a panic, in which circuits hold all the same
  for (const { url } of all.slice(0, 2)) app.reverseproxy.breakers.open('up', url)
  t.same(await askTimes(url, 8), { c: 4, d: 4 })
})

t.test('panic: a sick target that is full is not used beyond its limit', async t => {
  const up = await patient(t, 'up', { well: false })
  const { url, app } = await start(t, { url: up.url, maxConnections: 1 }, { health: QUICK, panic: { threshold: 50, mode: 'all' } })
  await settled(app, 1)
  let finish: (() => void) | undefined
  up.answer = (_request, response) => { finish = () => { response.end() } }
  const running = fetch(url)
  t.ok(await waitFor(() => finish !== undefined))
  up.answer = undefined
  t.same(await askTimes(url, 2), { 503: 2 })
  t.equal(up.hits, 1)
  finish!()
  t.equal((await running).status, 200)
})
