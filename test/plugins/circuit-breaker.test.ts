/** Circuit breakers with real backends: what opens them, what they keep away, and how they close again. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import {
  DESTROY, FIN, HOLD, RESET, ask, chunk, closedPort, get, post, proxyAll, rawClient, rawRequest, rawUpstream, respond, sleep, startGateway,
  startPair, status, startComposite, waitFor
} from '../helper.ts'
import type { CompositeOptions } from '../../lib/options/index.ts'
import type { GatewayOptions, PairOptions, RawUpstream, Script, StartedGateway, TestLike, Told } from '../helper.ts'

t.jobs = 4

type Breaker = Readonly<Record<string, unknown>>

const OK = respond(200, [], 'ok')
const BROKEN = respond(500, [], 'broken')

/** One backend `up` with breaker options, and everything goes to it. */
function start (t: TestLike, script: Script, circuitBreaker?: Breaker | boolean, options: PairOptions = {}) {
  return startPair(t, script, { ...options, breakers: true, backend: { ...(circuitBreaker === undefined ? undefined : { circuitBreaker }), ...options.backend } })
}

/** Several upstreams that are the targets of `up`. */
async function startTargets (t: TestLike, scripts: readonly Script[], circuitBreaker: Breaker = {}, more: Partial<GatewayOptions> = {}): Promise<StartedGateway & { targets: RawUpstream[] }> {
  const targets = await Promise.all(scripts.map(script => rawUpstream(t, script)))
  const gateway = await startGateway(t, { backends: { up: { targets: targets.map(({ url }) => url), circuitBreaker } }, ...more } as GatewayOptions)
  return Object.assign(gateway, { targets })
}

/** One after the other. */
async function times (count: number, request: () => Promise<Told>): Promise<number[]> {
  const statuses: number[] = []
  for (let i = 0; i < count; i++) statuses.push((await request()).status)
  return statuses
}

function stateOf ({ app }: Pick<StartedGateway, 'app'>, backend = 'up', target?: string): string | undefined {
  return app.reverseproxy.breakers.get(backend, target)?.state
}

function turns (gateway: Pick<StartedGateway, 'app'>, state: string, backend = 'up', target?: string): Promise<boolean> {
  return waitFor(() => stateOf(gateway, backend, target) === state, 5_000)
}

function code ({ value }: Told): unknown {
  return (value as { code?: unknown } | undefined)?.code
}

/** Resets and the like close the connection at the gateway too, if it has one. */
const FAULTS: ReadonlyArray<readonly [name: string, script: Script, status: number, options?: PairOptions]> = [
  ['answers of 500', BROKEN, 500],
  ['answers of 503', respond(503, [], ''), 503],
  ['answers of 599', respond(599, [], ''), 599],
  ['resets', RESET, 502],
  ['connections closed without a byte', FIN, 502],
  ['connections cut in the middle of the headers', ['HTTP/1.1 200 OK\r\nX-A', DESTROY], 502],
  ['silence beyond the time for headers', [], 504, { backend: { timeout: { headers: 60 } } }],
  ['silence beyond the total time', [], 504, { backend: { timeout: 60 } }],
  ['answers that are no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n', 502],
  ['answers with two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok ', 502]
]

for (const [name, script, expected, options] of FAULTS) {
  t.test(`without any option, five ${name} open the circuit`, async t => {
    const { url, upstream, app } = await start(t, script, undefined, options)
    t.same(await times(5, () => ask(url)), Array(5).fill(expected))
    t.equal(stateOf({ app }), 'open')
    const refused = await ask(url)
    t.equal(refused.status, 503)
    t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
    await times(5, () => ask(url))
    t.equal(upstream.requests.length, 5, 'the backend is left alone')
  })
}

t.test('five refused connections open the circuit', async t => {
  const gateway = await startGateway(t, { backends: { up: `http://127.0.0.1:${await closedPort()}` } })
  t.same(await times(6, () => ask(gateway.url)), [502, 502, 502, 502, 502, 503])
  t.equal(stateOf(gateway), 'open')
})

t.test('failures of different kinds count together', async t => {
  const scripts: Script[] = [BROKEN, RESET, 'SSH-2.0\r\n', [], respond(502, [], '')]
  const { url, upstream, app } = await start(t, ({ nth }) => scripts[nth] as Buffer, undefined, { backend: { timeout: { headers: 700 } } })
  t.same(await times(5, () => ask(url)), [500, 502, 502, 504, 502])
  t.equal(stateOf({ app }), 'open')
  t.equal((await ask(url)).status, 503)
  t.equal(upstream.requests.length, 5)
})

t.test('the refusal has Fastify\'s shape, says when to come again, and names no address', async t => {
  const { url, upstream } = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: '12s' })
  await ask(url)
  const { status, headers, value, text } = await ask(url)
  t.equal(status, 503)
  t.match(headers.get('content-type'), /^application\/json/)
  const { message, ...rest } = value as Record<string, unknown>
  t.same(rest, { statusCode: 503, code: 'RP_ERR_CIRCUIT_OPEN', error: 'Service Unavailable' })
  t.type(message, 'string')
  for (const secret of [String(upstream.port), '127.0.0.1', 'localhost', 'http:', '/work', 'node_modules']) t.notOk(text.includes(secret), secret)
  const retryAfter = headers.get('retry-after') ?? ''
  t.match(retryAfter, /^\d+$/)
  t.ok(Number(retryAfter) >= 1 && Number(retryAfter) <= 12, retryAfter)
})

t.test('by default the circuit stays open for about half a minute', async t => {
  const { url, app } = await start(t, BROKEN)
  await times(5, () => ask(url))
  const retryAfter = Number((await ask(url)).headers.get('retry-after'))
  t.ok(retryAfter >= 25 && retryAfter <= 30, String(retryAfter))
  const view = app.reverseproxy.breakers.get('up')!
  t.ok(view.retryAfter > 24_000 && view.retryAfter <= 30_000, String(view.retryAfter))
})

t.test('an error handler of the user\'s gets the refusal', async t => {
  const { url } = await start(t, BROKEN, { failureThreshold: 1 }, {
    configure: app => {
      app.setErrorHandler((error: Error & { code?: string, statusCode?: number }, _request, reply) => reply.code(error.statusCode ?? 500).send({ mine: error.code }))
      return proxyAll()(app)
    }
  })
  await ask(url)
  const answer = await ask(url)
  t.equal(answer.status, 503)
  t.same(answer.value, { mine: 'RP_ERR_CIRCUIT_OPEN' })
})

t.test('refusing asks nobody', async t => {
  const { url, upstream } = await start(t, BROKEN, { failureThreshold: 1 })
  await ask(url)
  t.same(await times(50, () => ask(url)), Array.from({ length: 50 }, () => 503))
  t.equal(upstream.requests.length, 1)
})

// ---------------------------------------------------------------- what does not count

t.test('answers of 4xx never count, whatever their number', async t => {
  const statuses = [400, 401, 403, 404, 408, 409, 413, 418, 429, 499]
  const { url, upstream, app } = await start(t, ({ nth }) => respond(statuses[nth % statuses.length]!, [], ''), { failureThreshold: 1 })
  t.same(await times(20, () => ask(url)), [...statuses, ...statuses])
  t.equal(stateOf({ app }), 'closed')
  t.equal(upstream.requests.length, 20)
})

t.test('a 4xx is a success: failures are counted in a row', async t => {
  const { url, app } = await start(t, ({ nth }) => nth % 3 === 2 ? respond(404, [], '') : BROKEN, { failureThreshold: 3 })
  await times(12, () => ask(url))
  t.equal(stateOf({ app }), 'closed')
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 0)
})

t.test('one good answer starts the count anew', async t => {
  const { url, upstream, app } = await start(t, ({ nth }) => nth === 4 ? OK : BROKEN)
  await times(9, () => ask(url))
  t.equal(stateOf({ app }), 'closed', 'four, a good one, four')
  await ask(url)
  t.equal(stateOf({ app }), 'open')
  t.equal(upstream.requests.length, 10)
})

t.test('clients that go away before the answer never count', async t => {
  const { port, upstream, app, url } = await start(t, [], { failureThreshold: 1 })
  for (let i = 0; i < 8; i++) {
    const client = await rawClient(t, port)
    await client.send(get('/'))
    t.ok(await waitFor(() => upstream.requests.length === i + 1))
    if (i % 2 === 0) client.destroy()
    else client.resetAndDestroy()
  }
  t.ok(await upstream.dropped())
  t.equal(stateOf({ app }), 'closed')
  upstream.answer(OK)
  t.equal((await ask(url)).status, 200)
})

t.test('clients that go away in mid-upload or in mid-answer never count', async t => {
  const { port, upstream, app } = await start(t, ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'], { failureThreshold: 1 })
  for (let i = 0; i < 3; i++) {
    const client = await rawClient(t, port)
    await client.send(get('/'))
    t.ok(await waitFor(() => client.responses[0]?.text === 'abc'))
    client.resetAndDestroy()
  }
  upstream.answer([])
  for (let i = 0; i < 3; i++) {
    const client = await rawClient(t, port)
    await client.send(['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc'])
    t.ok(await waitFor(() => upstream.requests.length === 4 + i))
    client.resetAndDestroy()
  }
  t.ok(await upstream.dropped())
  t.equal(stateOf({ app }), 'closed')
})

t.test('an upload that is too large says nothing about the backend', async t => {
  const { port, upstream, app } = await start(t, [], { failureThreshold: 1 }, { gateway: { limits: { body: 10 } }, at: 'head' })
  for (let i = 0; i < 3; i++) t.equal((await rawRequest(port, post('/', ['0123456789', 'a', 'b']))).status, 413)
  t.not(stateOf({ app }), 'open')
  upstream.answer(OK)
  t.equal((await rawRequest(port, get('/'))).status, 200)
})

t.test('only the outcomes that are listed count', async t => {
  const { url, app, upstream } = await start(t, BROKEN, { failureThreshold: 2, outcomes: ['reset'] })
  await times(5, () => ask(url))
  t.equal(stateOf({ app }), 'closed')
  upstream.answer(RESET)
  t.same(await times(3, () => ask(url)), [502, 502, 503])
  t.equal(stateOf({ app }), 'open')
})

// ---------------------------------------------------------------- at the headers

t.test('an answer counts with its headers, also while its body is still coming', async t => {
  const { port, url, upstream, app } = await start(t, ['HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nabc'])
  const clients = []
  for (let i = 0; i < 5; i++) {
    const client = await rawClient(t, port)
    await client.send(get('/'))
    t.ok(await waitFor(() => client.responses.length === 1))
    clients.push(client)
  }
  t.equal(stateOf({ app }), 'open')
  t.equal((await ask(url)).status, 503)
  t.equal(upstream.requests.length, 5)
  t.notOk(clients.some(({ responses }) => responses[0]!.complete), 'the bodies are still under way')
  for (const socket of upstream.sockets) socket.write('x'.repeat(97))
  for (const { responses } of clients) t.ok(await waitFor(() => responses[0]!.complete), 'and end as if nothing were')
})

t.test('a body that breaks after good headers is no failure', async t => {
  const { port, app } = await start(t, ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc', RESET], { failureThreshold: 1 })
  for (let i = 0; i < 3; i++) t.notOk((await rawRequest(port, get('/'), { untilClose: true })).response.complete)
  t.equal(stateOf({ app }), 'closed')
})

t.test('calls that are under way when the circuit opens get their answers', async t => {
  const held: Array<() => void> = []
  const { url, upstream, app } = await start(t, ({ request, play }) => {
    if (request.target !== '/slow') return BROKEN
    held.push(() => { play(OK) })
    return undefined
  }, { failureThreshold: 2 })
  const slow = Promise.all([1, 2, 3].map(() => ask(`${url}/slow`)))
  t.ok(await waitFor(() => held.length === 3))
  await times(2, () => ask(url))
  t.equal(stateOf({ app }), 'open')
  for (const answer of held) answer()
  t.same((await slow).map(({ status }) => status), [200, 200, 200])
  t.equal(stateOf({ app }), 'open', 'late answers of the round before change nothing')
  t.equal((await ask(url)).status, 503)
  t.equal(upstream.requests.length, 5)
})

t.test('late failures neither open the next round nor lengthen the running one', async t => {
  const held: Array<() => void> = []
  const opened: unknown[] = []
  const gateway = await start(t, ({ request, play }) => {
    if (request.target !== '/slow') return request.target === '/bad' ? BROKEN : OK
    held.push(() => { play(BROKEN) })
    return undefined
  }, { failureThreshold: 2, resetTimeout: 60, onOpen: (name: unknown) => { opened.push(name) } })
  const { url } = gateway
  const slow = Promise.all(Array.from({ length: 6 }, () => ask(`${url}/slow`)))
  t.ok(await waitFor(() => held.length === 6))
  await times(2, () => ask(`${url}/bad`))
  held[0]!()
  held[1]!()
  t.ok(await turns(gateway, 'half-open'))
  held[2]!()
  held[3]!()
  await sleep(30)
  t.equal(stateOf(gateway), 'half-open', 'what is no trial decides nothing')
  t.equal((await ask(url)).status, 200)
  t.equal(stateOf(gateway), 'closed')
  held[4]!()
  held[5]!()
  t.same((await slow).map(({ status }) => status), Array(6).fill(500))
  t.equal(stateOf(gateway), 'closed')
  t.equal(opened.length, 1)
})

t.test('many failures at once open it once', async t => {
  const opened: unknown[] = []
  const { url, upstream, app } = await start(t, ({ nth }) => nth < 30 ? [] : BROKEN, { onOpen: (name: unknown) => { opened.push(name) } })
  const answers = Promise.all(Array.from({ length: 30 }, () => ask(url)))
  t.ok(await waitFor(() => upstream.requests.length === 30))
  for (const socket of upstream.sockets) socket.write(BROKEN)
  t.same((await answers).map(({ status }) => status), Array(30).fill(500))
  t.equal(opened.length, 1)
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 1)
})

// ---------------------------------------------------------------- several targets

t.test('one per target: the other one takes over', async t => {
  const gateway = await startTargets(t, [BROKEN, OK], { failureThreshold: 3 })
  const { url, targets: [bad, good] } = gateway
  const statuses = await times(30, () => ask(url))
  t.equal(statuses.filter(status => status === 500).length, 3)
  t.equal(statuses.filter(status => status === 200).length, 27)
  t.equal(bad!.requests.length, 3)
  t.equal(good!.requests.length, 27)
  t.equal(stateOf(gateway, 'up', bad!.url), 'open')
  t.equal(stateOf(gateway, 'up', good!.url), 'closed')
})

for (const balancer of ['round-robin', 'random', 'least-connections', 'power-of-two', 'ip-hash', { type: 'hash', key: 'path' }]) {
  t.test(`no balancer sends anything to an open circuit: ${JSON.stringify(balancer)}`, async t => {
    const targets = await Promise.all([OK, OK, OK].map(script => rawUpstream(t, script)))
    const { url, app } = await startGateway(t, { backends: { up: { targets: targets.map(({ url }) => url), balancer } } } as GatewayOptions)
    app.reverseproxy.breakers.open('up', targets[0]!.url)
    app.reverseproxy.breakers.open('up', targets[1]!.url)
    t.same(await times(12, () => ask(url)), Array(12).fill(200))
    t.same(targets.map(({ requests }) => requests.length), [0, 0, 12])
  })
}

t.test('503 only when all are open, with the time until the first one', async t => {
  const gateway = await startTargets(t, [BROKEN, BROKEN, BROKEN], { failureThreshold: 2, resetTimeout: '20s' })
  const { url, targets } = gateway
  t.same(await times(6, () => ask(url)), Array(6).fill(500))
  const refused = await ask(url)
  t.equal(refused.status, 503)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(Number(refused.headers.get('retry-after')) <= 20)
  t.same(targets.map(({ requests }) => requests.length), [2, 2, 2])
  t.same(gateway.app.reverseproxy.breakers.list().map(({ state }) => state), ['open', 'open', 'open'])
})

t.test('a target that takes trials is asked beside one that is closed, and no more than it may', async t => {
  const held: Array<() => void> = []
  const gateway = await startTargets(t, [({ play }) => { held.push(() => { play(OK) }) }, OK], { resetTimeout: 500 })
  const { url, targets: [slow, good] } = gateway
  gateway.app.reverseproxy.breakers.open('up', slow!.url)
  t.ok(await turns(gateway, 'half-open', 'up', slow!.url))
  const begun = performance.now()
  const answers = Promise.all(Array.from({ length: 10 }, () => ask(url)))
  t.ok(await waitFor(() => held.length + good!.requests.length === 10))
  // after resetTimeout another call may have the place
  const most = 1 + Math.floor((performance.now() - begun) / 500)
  t.ok(held.length >= 1 && held.length <= most, `${held.length} trials, ${most} allowed`)
  for (const answer of held) answer()
  t.same((await answers).map(({ status }) => status), Array(10).fill(200))
  t.ok(await turns(gateway, 'closed', 'up', slow!.url))
})

t.test('two backends at the same address have circuits of their own', async t => {
  const upstream = await rawUpstream(t, ({ request }) => request.target.startsWith('/bad') ? BROKEN : OK)
  const gateway = await startGateway(t, { backends: { one: upstream.url, two: upstream.url } }, app => {
    for (const backend of ['one', 'two']) app.get(`/${backend}/*`, { proxy: { backend, rewrite: { stripPrefix: `/${backend}` } } }, app.reverseproxy.handler)
  })
  await times(5, () => ask(`${gateway.url}/one/bad`))
  t.equal((await ask(`${gateway.url}/one/fine`)).status, 503)
  t.equal((await ask(`${gateway.url}/two/fine`)).status, 200)
  t.same(gateway.app.reverseproxy.breakers.list().map(({ backend, state }) => [backend, state]), [['one', 'open'], ['two', 'closed']])
})

t.test('two gateways in one process share nothing', async t => {
  const one = await start(t, BROKEN, { failureThreshold: 1 })
  const two = await startGateway(t, { backends: { up: one.upstream.url } })
  await ask(one.url)
  t.equal((await ask(one.url)).status, 503)
  t.equal((await ask(two.url)).status, 500)
})

t.test('a target at its limit while the others are open is no open circuit', async t => {
  const held: Array<() => void> = []
  const busy = await rawUpstream(t, ({ play }) => { held.push(() => { play(OK) }) })
  const bad = await rawUpstream(t, BROKEN)
  const gateway = await startGateway(t, { backends: { up: { targets: [{ url: busy.url, maxConnections: 1 }, bad.url] } } } as GatewayOptions)
  gateway.app.reverseproxy.breakers.open('up', bad.url)
  const first = ask(gateway.url)
  t.ok(await waitFor(() => held.length === 1))
  const refused = await ask(gateway.url)
  t.equal(refused.status, 503)
  t.not(code(refused), 'RP_ERR_CIRCUIT_OPEN', 'not all circuits are open')
  t.equal(bad.requests.length, 0)
  held[0]!()
  t.equal((await first).status, 200)
})

t.test('an open circuit is an open circuit also where the target is at its limit', async t => {
  const { port, url, upstream, app } = await start(t, ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'], undefined, { backend: {} })
  app.reverseproxy.backends.updateTarget('up', upstream.url, { maxConnections: 1 })
  const client = await rawClient(t, port)
  await client.send(get('/'))
  t.ok(await waitFor(() => client.responses.length === 1))
  app.reverseproxy.breakers.open('up')
  const refused = await ask(url)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(refused.headers.has('retry-after'))
})

// ---------------------------------------------------------------- half-open

t.test('after the reset timeout one trial decides: a good one closes', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: 80 })
  const { url, upstream } = gateway
  await ask(url)
  t.ok(await turns(gateway, 'half-open'))
  t.equal(upstream.requests.length, 1, 'nothing goes out by itself')
  upstream.answer(OK)
  t.same(await times(4, () => ask(url)), [200, 200, 200, 200])
  t.equal(stateOf(gateway), 'closed')
  upstream.answer(BROKEN)
  t.equal((await ask(url)).status, 500)
  t.equal(stateOf(gateway), 'open', 'and it opens again as before')
})

t.test('a client error is good enough for a trial', async t => {
  const gateway = await start(t, respond(404, [], ''), { resetTimeout: 40 })
  gateway.app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  t.equal((await ask(gateway.url)).status, 404)
  t.equal(stateOf(gateway), 'closed')
})

for (const [name, script, expected] of [['a 500', BROKEN, 500], ['a reset', RESET, 502], ['no HTTP', 'nonsense\r\n\r\n', 502], ['silence', [], 504]] as const) {
  t.test(`a trial that fails opens it again, each time: ${name}`, async t => {
    const gateway = await start(t, script, { resetTimeout: 150 }, expected === 504 ? { backend: { timeout: { headers: 60 } } } : {})
    const { url, upstream, app } = gateway
    app.reverseproxy.breakers.open('up')
    for (let round = 1; round <= 3; round++) {
      t.ok(await turns(gateway, 'half-open'), `round ${round}`)
      t.equal((await ask(url)).status, expected)
      t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, round + 1)
      t.ok(await waitFor(() => upstream.requests.length === round))
    }
    t.ok(await turns(gateway, 'half-open'))
    upstream.answer(OK)
    t.same(await times(2, () => ask(url)), [200, 200], 'and it is never stuck')
    t.equal(stateOf(gateway), 'closed')
  })
}

t.test('a refused trial opens it again, and a backend that is back is found', async t => {
  const gateway = await start(t, OK, { failureThreshold: 1, resetTimeout: 60 })
  const { url, upstream, app } = gateway
  await upstream.stop()
  t.equal((await ask(url)).status, 502)
  t.ok(await turns(gateway, 'half-open'))
  t.equal((await ask(url)).status, 502)
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 2)
  await upstream.listen()
  t.ok(await turns(gateway, 'half-open'))
  t.equal((await ask(url)).status, 200)
})

t.test('while the trial runs nobody else gets in', async t => {
  const held: Array<() => void> = []
  const gateway = await start(t, ({ play }) => { held.push(() => { play(OK) }) }, { resetTimeout: 1_000 })
  const { url, upstream, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const trial = ask(url)
  t.ok(await waitFor(() => held.length === 1))
  const refused = await Promise.all([ask(url), ask(url), ask(url)])
  t.same(refused.map(({ status }) => status), [503, 503, 503])
  t.same(refused.map(code), Array(3).fill('RP_ERR_CIRCUIT_OPEN'))
  t.ok(refused.every(({ headers }) => Number(headers.get('retry-after')) >= 1), 'they are told when to come again')
  held[0]!()
  t.equal((await trial).status, 200)
  t.equal(upstream.requests.length, 1)
  t.equal(stateOf(gateway), 'closed')
})

t.test('halfOpenTrials go in at once, and as many successes close it', async t => {
  const held: Array<() => void> = []
  const gateway = await start(t, ({ play }) => { held.push(() => { play(OK) }) }, { resetTimeout: 1_000, halfOpenTrials: 3 })
  const { url, upstream, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const trials = [ask(url), ask(url), ask(url)]
  t.ok(await waitFor(() => held.length === 3))
  t.equal((await ask(url)).status, 503)
  held[0]!()
  held[1]!()
  await Promise.race(trials)
  await waitFor(() => false, 30)
  t.equal(stateOf(gateway), 'half-open')
  held[2]!()
  t.same((await Promise.all(trials)).map(({ status }) => status), [200, 200, 200])
  t.equal(stateOf(gateway), 'closed')
  t.equal(upstream.requests.length, 3)
})

t.test('one failing trial of several opens it, whatever the others come to', async t => {
  const held: Array<(script: Buffer) => void> = []
  const gateway = await start(t, ({ play }) => { held.push(script => { play(script) }) }, { resetTimeout: 700, halfOpenTrials: 3 })
  const { url, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const trials = Promise.all([ask(url), ask(url), ask(url)])
  t.ok(await waitFor(() => held.length === 3))
  held[0]!(OK)
  held[1]!(BROKEN)
  t.ok(await turns(gateway, 'open'))
  held[2]!(OK)
  t.same((await trials).map(({ status }) => status).sort(), [200, 200, 500])
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 2)
  t.not(stateOf(gateway), 'closed')
})

t.test('a client that goes away during the trial decides nothing and leaves its place', async t => {
  // a place that leaks would only be given up after resetTimeout
  const gateway = await start(t, [], { resetTimeout: 1_500 })
  const { port, url, upstream, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  for (let i = 0; i < 4; i++) {
    const client = await rawClient(t, port)
    await client.send(get('/'))
    t.ok(await waitFor(() => upstream.requests.length === i + 1), `trial ${i}`)
    if (i % 2 === 0) client.destroy()
    else client.resetAndDestroy()
    t.ok(await upstream.dropped())
    t.equal(stateOf(gateway), 'half-open')
  }
  upstream.answer(OK)
  t.equal((await ask(url)).status, 200)
  t.equal(stateOf(gateway), 'closed')
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 1)
})

t.test('a trial whose upload is cut or too large leaves its place, too', async t => {
  const gateway = await start(t, [], { resetTimeout: 1_500 }, { gateway: { limits: { body: 1_000 } }, at: 'head' })
  const { port, url, upstream, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const client = await rawClient(t, port)
  await client.send(['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nabc'])
  t.ok(await waitFor(() => upstream.requests.length === 1))
  client.resetAndDestroy()
  t.ok(await upstream.dropped())
  t.equal((await rawRequest(port, ['POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', chunk('x'.repeat(600)), chunk('x'.repeat(600)), chunk('x')])).status, 413)
  t.equal(stateOf(gateway), 'half-open')
  upstream.answer(OK)
  t.equal((await ask(url)).status, 200)
  t.equal(stateOf(gateway), 'closed')
})

t.test('a trial that never leaves the gateway leaves its place', async t => {
  // its time is over when the hook is through
  const gateway = await start(t, OK, { resetTimeout: 1_500 }, {
    configure: app => {
      app.get('/late', { proxy: { backend: 'up', timeout: 20, modifyRequest: async () => { await sleep(80) } } }, app.reverseproxy.handler)
      app.get('/*', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  const { url, upstream, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  t.equal((await ask(`${url}/late`)).status, 504)
  t.equal(stateOf(gateway), 'half-open')
  t.equal(upstream.requests.length, 0)
  t.equal((await ask(url)).status, 200)
  t.equal(stateOf(gateway), 'closed')
})

t.test('a trial whose body still streams has decided', async t => {
  const gateway = await start(t, ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'], { resetTimeout: 1_000 })
  const { port, app } = gateway
  app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const client = await rawClient(t, port)
  await client.send(get('/'))
  t.ok(await waitFor(() => client.responses.length === 1))
  t.equal(stateOf(gateway), 'closed')
  client.resetAndDestroy()
  await sleep(20)
  t.equal(stateOf(gateway), 'closed')
})

t.test('trials of a backend that is slower than the reset timeout close it all the same', async t => {
  const held: Array<() => void> = []
  const gateway = await start(t, ({ play }) => { held.push(() => { play(OK) }) }, { resetTimeout: 50 })
  gateway.app.reverseproxy.breakers.open('up')
  t.ok(await turns(gateway, 'half-open'))
  const trial = ask(gateway.url)
  t.ok(await waitFor(() => held.length === 1))
  await sleep(120)
  held[0]!()
  t.equal((await trial).status, 200)
  t.equal(stateOf(gateway), 'closed')
})

t.test('with retries each attempt counts, and the trial of one is no trial of the next', async t => {
  const gateway = await startTargets(t, [BROKEN, OK], { failureThreshold: 2, resetTimeout: '10s' }, { retry: { attempts: 2, statuses: [500], backoff: { initial: 1, max: 1 }, budget: false } })
  const { url, targets: [bad, good] } = gateway
  t.same(await times(12, () => ask(url)), Array(12).fill(200))
  t.equal(bad!.requests.length, 2)
  t.equal(good!.requests.length, 12)
  t.equal(stateOf(gateway, 'up', bad!.url), 'open')
})

t.test('a retry does not knock at a circuit that the first try has opened', async t => {
  const { url, upstream } = await start(t, BROKEN, { failureThreshold: 1 }, { backend: { retry: { attempts: 5, statuses: [500], backoff: { initial: 1, max: 1 }, budget: false } } })
  const { status } = await ask(url)
  t.equal(upstream.requests.length, 1)
  t.ok([500, 503].includes(status), String(status))
})

// ---------------------------------------------------------------- percentage

t.test('a share of failures within the window opens it, from a certain number on', async t => {
  const gateway = await start(t, ({ nth }) => nth % 2 === 0 ? BROKEN : OK, { errorThresholdPercentage: 50, volumeThreshold: 10, rollingWindow: '1m' })
  const { url, upstream } = gateway
  await times(9, () => ask(url))
  t.equal(stateOf(gateway), 'closed', '5 of 9, and 9 are too few')
  await ask(url)
  // 5 of 10, the tenth being a success: what opens it is a failure
  await ask(url)
  t.equal(stateOf(gateway), 'open')
  t.equal((await ask(url)).status, 503)
  t.equal(upstream.requests.length, 11)
})

t.test('with a percentage alone failures in a row do not matter', async t => {
  const gateway = await start(t, ({ nth }) => nth < 40 ? OK : BROKEN, { errorThresholdPercentage: 50, rollingWindow: '1m' })
  await times(60, () => ask(gateway.url))
  t.equal(stateOf(gateway), 'closed', '20 of 60')
  await times(20, () => ask(gateway.url))
  t.equal(stateOf(gateway), 'open', '40 of 80')
})

t.test('with both whichever comes first opens it', async t => {
  const gateway = await start(t, ({ nth }) => nth < 20 ? OK : BROKEN, { errorThresholdPercentage: 90, failureThreshold: 3 })
  t.same((await times(24, () => ask(gateway.url))).slice(19), [200, 500, 500, 500, 503])
})

t.test('what is older than the window is forgotten', async t => {
  const gateway = await start(t, BROKEN, { errorThresholdPercentage: 1, volumeThreshold: 4, rollingWindow: 100 })
  for (let i = 0; i < 3; i++) {
    await times(2, () => ask(gateway.url))
    await sleep(150)
  }
  t.equal(stateOf(gateway), 'closed')
  t.equal(gateway.app.reverseproxy.breakers.get('up')!.stats.window!.total, 0)
})

// ---------------------------------------------------------------- off

t.test('false for the gateway switches all of them off', async t => {
  const { url, upstream, app } = await start(t, BROKEN, undefined, { gateway: { circuitBreaker: false } })
  t.same(await times(12, () => ask(url)), Array(12).fill(500))
  t.equal(upstream.requests.length, 12)
  t.same(app.reverseproxy.breakers.list(), [])
  t.equal(app.reverseproxy.breakers.get('up'), undefined)
})

t.test('false for a backend switches its own off, and true brings one back', async t => {
  const upstream = await rawUpstream(t, BROKEN)
  const gateway = await startGateway(t, { circuitBreaker: { failureThreshold: 2 }, backends: { on: upstream.url, off: { targets: [upstream.url], circuitBreaker: false } } } as GatewayOptions, app => {
    for (const backend of ['on', 'off']) app.get(`/${backend}`, { proxy: backend }, app.reverseproxy.handler)
  })
  t.same(await times(4, () => ask(`${gateway.url}/off`)), [500, 500, 500, 500])
  t.same(await times(4, () => ask(`${gateway.url}/on`)), [500, 500, 503, 503])
  const other = await startGateway(t, { circuitBreaker: false, backends: { up: { targets: [upstream.url], circuitBreaker: true } } } as GatewayOptions)
  t.same(await times(6, () => ask(other.url)), [500, 500, 500, 500, 500, 503])
})

t.test('options of the gateway hold for backends that say nothing else', async t => {
  const { url } = await start(t, BROKEN, { resetTimeout: '7s' }, { gateway: { circuitBreaker: { failureThreshold: 2 } } })
  t.same(await times(3, () => ask(url)), [500, 500, 503])
  t.ok(Number((await ask(url)).headers.get('retry-after')) <= 7)
})

t.test('a route with false is neither refused nor does it count', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 2 }, {
    configure: app => {
      app.get('/free', { proxy: { backend: 'up', circuitBreaker: false } }, app.reverseproxy.handler)
      app.get('/*', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  const { url, upstream } = gateway
  t.same(await times(6, () => ask(`${url}/free`)), Array(6).fill(500))
  t.not(stateOf(gateway), 'open')
  t.same(await times(3, () => ask(`${url}/x`)), [500, 500, 503])
  const hits = upstream.requests.length
  t.same(await times(3, () => ask(`${url}/free`)), [500, 500, 500])
  t.equal(upstream.requests.length, hits + 3)
  upstream.answer(OK)
  await times(3, () => ask(`${url}/free`))
  t.equal(stateOf(gateway), 'open', 'its successes do not count either')
})

t.test('a route with false does not take the place of a trial', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: 50 }, {
    configure: app => {
      app.get('/free', { proxy: { backend: 'up', circuitBreaker: false } }, app.reverseproxy.handler)
      app.get('/*', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  const { url, app } = gateway
  await ask(`${url}/x`)
  t.ok(await turns(gateway, 'half-open'))
  await times(3, () => ask(`${url}/free`))
  t.equal(stateOf(gateway), 'half-open')
  t.equal(app.reverseproxy.breakers.get('up')!.stats.opened, 1)
})

// ---------------------------------------------------------------- hooks

t.test('hooks are told of every change, by name', async t => {
  const events: Array<readonly [string, unknown]> = []
  const hook = (event: string) => (name: unknown): void => { events.push([event, name]) }
  const gateway = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: 40, onOpen: hook('open'), onClose: hook('close'), onHalfOpen: hook('half-open') })
  const { url, upstream } = gateway
  await ask(url)
  t.ok(await turns(gateway, 'half-open'))
  await ask(url)
  t.ok(await turns(gateway, 'half-open'))
  upstream.answer(OK)
  await ask(url)
  await times(3, () => ask(url))
  t.same(events.map(([event]) => event), ['open', 'half-open', 'open', 'half-open', 'close'])
  for (const [, name] of events) t.same(name, { scope: '', backend: 'up', target: upstream.url })
})

for (const [how, hook] of [['throw', () => { throw new Error('hook') }], ['reject', async () => { throw new Error('hook') }], ['throw nothing', () => { throw undefined }]] as const) { // eslint-disable-line no-throw-literal
  t.test(`hooks that ${how} change nothing, and are logged`, async t => {
    const lines: string[] = []
    const gateway = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: 40, onOpen: hook, onClose: hook, onHalfOpen: hook }, {
      server: { logger: { level: 'error', stream: { write (line: string) { lines.push(line) } } } }
    })
    const { url, upstream } = gateway
    t.equal((await ask(url)).status, 500)
    t.ok(await turns(gateway, 'half-open'))
    upstream.answer(OK)
    t.same(await times(2, () => ask(url)), [200, 200])
    t.equal(stateOf(gateway), 'closed')
    t.ok(await waitFor(() => lines.filter(line => line.includes('circuit breaker')).length === 3))
  })
}

t.test('a hook may open and close circuits itself', async t => {
  const gateway: StartedGateway = await start(t, BROKEN, { failureThreshold: 1, onOpen: () => { gateway.app.reverseproxy.breakers.close('up') } })
  t.same(await times(3, () => ask(gateway.url)), [500, 500, 500])
  t.equal(stateOf(gateway), 'closed')
})

// ---------------------------------------------------------------- by hand

t.test('get and list show those that have seen a call', async t => {
  const gateway = await startTargets(t, [BROKEN, OK], { failureThreshold: 9 })
  const { app, url, targets: [bad, good] } = gateway
  const { breakers } = app.reverseproxy
  t.same(breakers.list(), [])
  t.equal(breakers.get('up'), undefined)
  t.equal(breakers.get('up', bad!.url), undefined)
  await times(4, () => ask(url))
  t.match(breakers.get('up', bad!.url), { scope: '', backend: 'up', target: bad!.url, state: 'closed', retryAfter: 0, stats: { consecutive: 2, opened: 0 } })
  t.match(breakers.get('up', `${good!.url}/`), { target: good!.url, stats: { consecutive: 0 } }, 'however the URL is written')
  t.same(breakers.list().map(({ target }) => target), [bad!.url, good!.url])
  t.doesNotThrow(() => JSON.stringify(breakers.list()))
})

t.test('open and close by hand, one target or all', async t => {
  const gateway = await startTargets(t, [OK, OK])
  const { app, url, targets: [one, two] } = gateway
  const { breakers } = app.reverseproxy
  breakers.open('up', one!.url)
  t.same(await times(4, () => ask(url)), Array(4).fill(200))
  t.same([one!.requests.length, two!.requests.length], [0, 4])
  breakers.open('up')
  breakers.open('up')
  t.equal((await ask(url)).status, 503)
  t.same(breakers.list().map(({ state, stats }) => [state, stats.opened]), [['open', 1], ['open', 1]])
  breakers.close('up', two!.url)
  t.same(await times(2, () => ask(url)), [200, 200])
  t.equal(two!.requests.length, 6)
  breakers.close('up')
  breakers.close('up')
  await times(4, () => ask(url))
  t.ok(one!.requests.length > 0)
})

t.test('closing by hand forgets what was counted', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 3 })
  await times(3, () => ask(gateway.url))
  gateway.app.reverseproxy.breakers.close('up')
  t.equal(stateOf(gateway), 'closed')
  t.same(await times(4, () => ask(gateway.url)), [500, 500, 500, 503])
})

t.test('a circuit that was opened by hand takes trials as any other', async t => {
  const gateway = await start(t, OK, { resetTimeout: 50 })
  gateway.app.reverseproxy.breakers.open('up')
  t.equal(stateOf(gateway), 'open')
  t.ok(await turns(gateway, 'half-open'))
  t.equal((await ask(gateway.url)).status, 200)
  t.equal(stateOf(gateway), 'closed')
})

t.test('names that are not there are a RangeError', async t => {
  const { app, upstream } = await start(t, OK)
  const { breakers } = app.reverseproxy
  for (const call of [breakers.get, breakers.open, breakers.close]) {
    t.throws(() => call('nobody'), RangeError)
    t.throws(() => call('nobody', upstream.url), RangeError)
    for (const url of ['http://127.0.0.1:1', 'nonsense', '', `${upstream.url}/other`]) t.throws(() => call('up', url), RangeError, `${call.name} ${url}`)
    t.throws(() => call('constructor'), RangeError)
    t.throws(() => call('__proto__'), RangeError)
  }
})

t.test('a backend without a breaker has none to open', async t => {
  const { app, url } = await start(t, OK, false)
  t.throws(() => app.reverseproxy.breakers.open('up'), RangeError)
  t.throws(() => app.reverseproxy.breakers.close('up'), RangeError)
  t.equal(app.reverseproxy.breakers.get('up'), undefined)
  t.equal((await ask(url)).status, 200)
})

// ---------------------------------------------------------------- changes at run time

t.test('other thresholds hold from the update on', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 10 })
  const { app, url, upstream } = gateway
  await times(4, () => ask(url))
  app.reverseproxy.backends.update('up', { targets: [upstream.url], circuitBreaker: { failureThreshold: 2 } })
  t.same(await times(3, () => ask(url)), [500, 500, 503])
  app.reverseproxy.backends.update('up', { targets: [upstream.url], circuitBreaker: { failureThreshold: 3 } })
  t.same(await times(4, () => ask(url)), [500, 500, 500, 503], 'what the old one knew is forgotten')
})

t.test('an update that leaves the breaker as it is leaves its state', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 2, resetTimeout: '10s' })
  const { app, url, upstream } = gateway
  await times(2, () => ask(url))
  app.reverseproxy.backends.update('up', { targets: [{ url: upstream.url, weight: 3 }], circuitBreaker: { failureThreshold: 2, resetTimeout: '10s' } })
  t.equal(stateOf(gateway), 'open')
  t.equal((await ask(url)).status, 503)
  t.equal(upstream.requests.length, 2)
})

t.test('a target that is added beside an open one is used, and changes nothing about it', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1 })
  const { app, url, upstream } = gateway
  const other = await rawUpstream(t, OK)
  await ask(url)
  app.reverseproxy.backends.addTarget('up', other.url)
  t.same(await times(4, () => ask(url)), Array(4).fill(200))
  app.reverseproxy.backends.updateTarget('up', upstream.url, { weight: 7 })
  t.equal(stateOf(gateway, 'up', upstream.url), 'open')
  t.same(await times(4, () => ask(url)), Array(4).fill(200))
  t.equal(upstream.requests.length, 1)
})

t.test('switched off and on at run time', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1 })
  const { app, url, upstream } = gateway
  t.same(await times(2, () => ask(url)), [500, 503])
  app.reverseproxy.backends.update('up', { targets: [upstream.url], circuitBreaker: false })
  t.same(await times(7, () => ask(url)), Array(7).fill(500))
  app.reverseproxy.backends.update('up', { targets: [upstream.url], circuitBreaker: { failureThreshold: 1 } })
  t.same(await times(2, () => ask(url)), [500, 503])
})

t.test('switched off while a call waits for its turn', async t => {
  const held: Array<() => void> = []
  const gateway = await start(t, ({ play }) => { held.push(() => { play(OK) }) }, undefined, { backend: { concurrency: { max: 1, queue: 5, queueTimeout: '5s' } } })
  const { app, url, upstream } = gateway
  const answers = Promise.all([ask(url), ask(url)])
  t.ok(await waitFor(() => held.length === 1))
  await sleep(30)
  app.reverseproxy.backends.update('up', { targets: [upstream.url], circuitBreaker: false, concurrency: { max: 1, queue: 5, queueTimeout: '5s' } })
  held[0]!()
  t.ok(await waitFor(() => held.length === 2), 'the one that waited goes out')
  held[1]?.()
  t.same((await answers).map(({ status }) => status), [200, 200])
})

t.test('a target that is removed takes its open circuit with it', async t => {
  const events: string[] = []
  const hook = (event: string) => (): void => { events.push(event) }
  const gateway = await startTargets(t, [OK, OK], { resetTimeout: 60, onOpen: hook('open'), onHalfOpen: hook('half-open'), onClose: hook('close') })
  const { app, url, targets: [bad, good] } = gateway
  await times(2, () => ask(url))
  app.reverseproxy.breakers.open('up', bad!.url)
  await app.reverseproxy.backends.removeTarget('up', bad!.url)
  await sleep(150)
  t.same(events, ['open'], 'nobody hears of it any more')
  t.same(app.reverseproxy.breakers.list().map(({ target }) => target), [good!.url])
  t.throws(() => app.reverseproxy.breakers.get('up', bad!.url), RangeError)
  app.reverseproxy.backends.addTarget('up', bad!.url)
  t.same(await times(4, () => ask(url)), Array(4).fill(200))
  t.equal(stateOf(gateway, 'up', bad!.url), 'closed', 'and it begins anew when it is back')
})

t.test('answers to calls of a target that was removed open nothing', async t => {
  const held: Array<() => void> = []
  const opened: unknown[] = []
  const gateway = await startTargets(t, [({ play }) => { held.push(() => { play(BROKEN) }) }, OK], { failureThreshold: 1, onOpen: (name: unknown) => { opened.push(name) } })
  const { app, url, targets: [slow] } = gateway
  const answers = Promise.all([ask(url), ask(url)])
  t.ok(await waitFor(() => held.length === 1))
  const removed = app.reverseproxy.backends.removeTarget('up', slow!.url)
  held[0]!()
  await removed
  t.same((await answers).map(({ status }) => status).sort(), [200, 500])
  t.same(opened, [])
})

t.test('a backend that is removed is gone from the list', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1 })
  const { app, url } = gateway
  await ask(url)
  await app.reverseproxy.backends.remove('up')
  t.same(app.reverseproxy.breakers.list(), [])
  t.throws(() => app.reverseproxy.breakers.get('up'), RangeError)
})

t.test('closing with open circuits is quick, and tells nobody', async t => {
  const events: string[] = []
  const hook = (event: string) => (): void => { events.push(event) }
  const { app, url } = await start(t, BROKEN, { failureThreshold: 1, resetTimeout: 60, onOpen: hook('open'), onHalfOpen: hook('half-open'), onClose: hook('close') })
  await ask(url)
  const begun = performance.now()
  app.server.closeAllConnections()
  await app.close()
  t.ok(performance.now() - begun < 2_000)
  const heard = events.length
  await sleep(120)
  t.equal(events.length, heard)
})

t.test('a process with open, half-open and removed circuits ends by itself', async t => {
  const program = `
    import Fastify from 'fastify'
    import reverseproxy from './index.ts'
    const app = Fastify()
    const circuitBreaker = { failureThreshold: 1, resetTimeout: '10m' }
    await app.register(reverseproxy, { backends: {
      a: { targets: ['http://127.0.0.1:9', 'http://127.0.0.1:10'], circuitBreaker },
      b: { targets: ['http://127.0.0.1:9'], circuitBreaker: { failureThreshold: 1, resetTimeout: 20 } },
      c: { targets: ['http://127.0.0.1:9'], circuitBreaker }
    } })
    app.get('/:name', (request, reply) => reply.proxy(request.params.name))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const url = 'http://127.0.0.1:' + app.server.address().port
    for (const name of 'aaabc') await (await fetch(url + '/' + name)).text()
    await app.reverseproxy.backends.removeTarget('a', 'http://127.0.0.1:10')
    app.reverseproxy.backends.update('c', { targets: ['http://127.0.0.1:9'], circuitBreaker: { resetTimeout: '20m' } })
    await (await fetch(url + '/c')).text()
    await new Promise(resolve => setTimeout(resolve, 60))
    const states = app.reverseproxy.breakers.list().map(({ backend, state }) => backend + ' ' + state)
    await app.close()
    console.log(JSON.stringify({ states, left: process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length }))
  `
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], { cwd: new URL('../..', import.meta.url), stdio: ['ignore', 'pipe', 'pipe'] })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => output.push(piece))
  child.stderr.on('data', (piece: Buffer) => errors.push(piece))
  const late = setTimeout(() => { child.kill('SIGKILL') }, 30_000)
  const [exitCode, signal] = await once(child, 'close') as [number | null, string | null]
  clearTimeout(late)
  t.same([exitCode, signal], [0, null], Buffer.concat(errors).toString())
  t.same(JSON.parse(Buffer.concat(output).toString() || '{}'), { states: ['a open', 'b half-open', 'c closed'], left: 0 })
})

// ---------------------------------------------------------------- redirects

interface Redirected extends StartedGateway { readonly from: RawUpstream, readonly to: RawUpstream }

/** `up` sends everything on to `other`, where the gateway follows. */
async function startRedirect (t: TestLike, other: Record<string, unknown> = {}, script: Script = OK): Promise<Redirected> {
  const to = await rawUpstream(t, script)
  const from = await rawUpstream(t, respond(302, [['Location', `${to.url}/there`]], ''))
  const gateway = await startGateway(t, { redirects: 'follow', backends: { up: from.url, other: { targets: [to.url], ...other } } } as GatewayOptions)
  return Object.assign(gateway, { from, to })
}

t.test('a redirect to a target with an open circuit is not followed there', async t => {
  const gateway = await startRedirect(t)
  const { app, url, from, to } = gateway
  t.equal((await ask(url)).status, 200)
  app.reverseproxy.breakers.open('other')
  const refused = await ask(url)
  t.equal(refused.status, 503)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(refused.headers.has('retry-after'))
  t.equal(to.requests.length, 1)
  t.equal(from.requests.length, 2)
  t.equal(stateOf(gateway), 'closed', 'the one that redirects has done its part')
})

t.test('what a redirect comes to counts where it leads', async t => {
  const gateway = await startRedirect(t, { circuitBreaker: { failureThreshold: 2 } }, BROKEN)
  const { url, from, to } = gateway
  t.same(await times(3, () => ask(url)), [500, 500, 503])
  t.equal(to.requests.length, 2)
  t.equal(from.requests.length, 3)
  t.equal(stateOf(gateway), 'closed')
  t.equal(stateOf(gateway, 'other'), 'open')
})

t.test('a call that was redirected may be the trial', async t => {
  const gateway = await startRedirect(t, { circuitBreaker: { resetTimeout: 50 } })
  gateway.app.reverseproxy.breakers.open('other')
  t.ok(await turns(gateway, 'half-open', 'other'))
  t.equal((await ask(gateway.url)).status, 200)
  t.equal(stateOf(gateway, 'other'), 'closed')
})

t.test('a redirect from a backend without a breaker meets the circuits of the other one', async t => {
  const to = await rawUpstream(t, BROKEN)
  const from = await rawUpstream(t, respond(302, [['Location', `${to.url}/there`]], ''))
  const gateway = await startGateway(t, { redirects: 'follow', backends: { up: { targets: [from.url], circuitBreaker: false }, other: { targets: [to.url], circuitBreaker: { failureThreshold: 2 } } } } as GatewayOptions)
  t.same(await times(3, () => ask(gateway.url)), [500, 500, 503])
  t.equal(to.requests.length, 2)
})

t.test('a route with false follows redirects whatever the circuits say', async t => {
  const to = await rawUpstream(t, OK)
  const from = await rawUpstream(t, respond(302, [['Location', `${to.url}/there`]], ''))
  const gateway = await startGateway(t, { redirects: 'follow', backends: { up: from.url, other: to.url } }, app => {
    app.get('/*', { proxy: { backend: 'up', circuitBreaker: false } }, app.reverseproxy.handler)
  })
  gateway.app.reverseproxy.breakers.open('other')
  t.equal((await ask(gateway.url)).status, 200)
  t.equal(stateOf(gateway, 'other'), 'open')
})

t.test('a redirect to a backend that has no breaker is followed', async t => {
  const { url, to } = await startRedirect(t, { circuitBreaker: false })
  t.same(await times(3, () => ask(url)), [200, 200, 200])
  t.equal(to.requests.length, 3)
})

t.test('a redirect to the open target of a backend whose other target is closed', async t => {
  const gateway = await startRedirect(t)
  const { app, url, to } = gateway
  const second = await rawUpstream(t, OK)
  app.reverseproxy.backends.addTarget('other', second.url)
  app.reverseproxy.breakers.open('other', to.url)
  const refused = await ask(url)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.equal(to.requests.length + second.requests.length, 0)
})

// ---------------------------------------------------------------- composites

function parts (options: Record<string, Record<string, unknown>>, more: Partial<CompositeOptions> = {}): CompositeOptions {
  return { parts: options, ...more } as unknown as CompositeOptions
}

t.test('a required part behind an open circuit: 503, and when to come again', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', required: true } }))
  app.reverseproxy.breakers.open('b')
  const refused = await ask()
  t.equal(refused.status, 503)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(Number(refused.headers.get('retry-after')) >= 1)
  t.notOk(calls.some(call => call.startsWith('b ')))
})

t.test('an optional part behind an open circuit is missing', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b' } }, { meta: true }))
  app.reverseproxy.breakers.open('b')
  const answer = await ask()
  t.equal(answer.status, 200)
  t.match(answer.value, { one: { a: 1 }, _meta: { complete: false, parts: [{ name: 'one', state: 'ok' }, { name: 'two', state: 'failed', code: 'RP_ERR_CIRCUIT_OPEN' }] } })
  t.notOk('two' in (answer.value as object))
  t.equal(answer.headers.get('x-composite-complete'), 'false')
  t.notOk(calls.some(call => call.startsWith('b ')))
})

t.test('nothing but open circuits behind optional parts: nothing usable', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b' } }))
  app.reverseproxy.breakers.open('a')
  app.reverseproxy.breakers.open('b')
  t.equal((await ask()).status, 502)
  t.same(calls, [])
})

t.test('parts count for the circuits of their backends', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b' } }), { answers: { b: status(500) } })
  for (let i = 0; i < 8; i++) t.equal((await ask()).status, 200)
  t.equal(calls.filter(call => call.startsWith('b ')).length, 5)
  t.equal(calls.filter(call => call.startsWith('a ')).length, 8)
  t.equal(stateOf({ app }, 'b'), 'open')
  t.equal(stateOf({ app }, 'a'), 'closed')
})

t.test('parts that were given up do not count', async t => {
  const { app, ask, asked } = await startComposite(t, parts({ one: { backend: 'a', required: true }, two: { backend: 'b' } }), {
    answers: { a: HOLD, b: HOLD },
    gateway: { circuitBreaker: { failureThreshold: 1 } }
  })
  for (let i = 1; i <= 3; i++) {
    const answer = ask()
    t.ok(await waitFor(() => asked.length === 2 * i))
    asked.findLast(({ backend }) => backend === 'a')!.answer(status(404))
    t.equal((await answer).status, 404)
  }
  t.ok(await waitFor(() => asked.every(one => one.backend === 'a' || one.dropped)))
  t.not(stateOf({ app }, 'b'), 'open')
})

t.test('the fallback of a part takes the place of what an open circuit keeps away', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a', required: true }, two: { backend: 'b', required: true, fallback: { b: 'cached' } } }))
  app.reverseproxy.breakers.open('b')
  const answer = await ask()
  t.equal(answer.status, 200)
  t.same(answer.value, { one: { a: 1 }, two: { b: 'cached' } })
  t.equal(answer.headers.get('x-composite-complete'), 'false')
  t.notOk(calls.some(call => call.startsWith('b ')))
})

t.test('a part with false asks whatever the circuits say', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', required: true, circuitBreaker: false } }))
  app.reverseproxy.breakers.open('b')
  t.same((await ask()).value, { one: { a: 1 }, two: { b: 1 } })
  t.equal(calls.length, 2)
  t.equal(stateOf({ app }, 'b'), 'open')
})

t.test('a composite with false asks whatever the circuits say, but for parts that want otherwise', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', circuitBreaker: { fallback: { body: { b: 'instead' } } } } }, { circuitBreaker: false } as Partial<CompositeOptions>))
  app.reverseproxy.breakers.open('a')
  app.reverseproxy.breakers.open('b')
  t.same((await ask()).value, { one: { a: 1 }, two: { b: 'instead' } })
  t.same(calls.map(call => call.slice(0, 1)), ['a'])
})

t.test('a circuit that opens in the middle of a forEach keeps the rest away', async t => {
  const { ask, calls } = await startComposite(t, parts({
    list: { backend: 'a' },
    each: { backend: 'b', path: '/{item}', forEach: { in: '{list.body}', concurrency: 1 } }
  }), { answers: { a: [1, 2, 3, 4, 5, 6, 7, 8], b: status(500) }, gateway: { circuitBreaker: { failureThreshold: 2 } } })
  const { status: got } = await ask()
  t.equal(got, 200)
  t.equal(calls.filter(call => call.startsWith('b ')).length, 2)
})

t.test('a part that is given up during its trial leaves its place', async t => {
  const answers = { a: HOLD as unknown, b: HOLD as unknown }
  const composite = await startComposite(t, parts({ one: { backend: 'a', required: true }, two: { backend: 'b' } }), { answers, gateway: { circuitBreaker: { resetTimeout: 1_500 } } })
  const { app, ask, asked, port } = composite
  app.reverseproxy.breakers.open('b')
  t.ok(await turns(composite, 'half-open', 'b'))
  // by another part
  const answer = ask()
  t.ok(await waitFor(() => asked.length === 2))
  asked.find(({ backend }) => backend === 'a')!.answer(status(404))
  t.equal((await answer).status, 404)
  // by the client
  const client = await rawClient(t, port)
  await client.send(get('/c/7'))
  t.ok(await waitFor(() => asked.filter(({ backend }) => backend === 'b').length === 2), 'the place was free')
  client.resetAndDestroy()
  t.ok(await waitFor(() => asked.filter(({ backend }) => backend === 'b').every(({ dropped }) => dropped)))
  t.equal(stateOf(composite, 'b'), 'half-open')
  answers.a = { a: 1 }
  answers.b = { b: 1 }
  t.same((await ask()).value, { one: { a: 1 }, two: { b: 1 } })
  t.equal(stateOf(composite, 'b'), 'closed')
})

// ---------------------------------------------------------------- reply.proxy()

t.test('reply.proxy() is refused as a route is', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 2 }, {
    configure: app => { app.get('/*', (_request, reply) => reply.proxy('up', { path: '/own' })) }
  })
  t.same(await times(3, () => ask(gateway.url)), [500, 500, 503])
  const refused = await ask(gateway.url)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(refused.headers.has('retry-after'))
  t.equal(gateway.upstream.requests.length, 2)
})

t.test('reply.proxy() on a route with false is let through', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1 }, {
    configure: app => { app.get('/*', { proxy: { backend: 'up', circuitBreaker: false } }, (_request, reply) => reply.proxy()) }
  })
  t.same(await times(3, () => ask(gateway.url)), [500, 500, 500])
  t.equal(gateway.upstream.requests.length, 3)
})

t.test('an errorHandler of the route answers for an open circuit', async t => {
  const gateway = await start(t, BROKEN, { failureThreshold: 1 }, {
    configure: app => {
      app.get('/*', { proxy: { backend: 'up', errorHandler: (error: Error & { code?: string }, _request: unknown, reply: { code (status: number): { send (value: unknown): void } }) => { reply.code(200).send({ instead: error.code }) } } } as never, app.reverseproxy.handler)
    }
  })
  await ask(gateway.url)
  t.same((await ask(gateway.url)).value, { instead: 'RP_ERR_CIRCUIT_OPEN' })
})
