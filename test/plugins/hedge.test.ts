/** Hedging: a second try while the first still runs. The first good answer wins, and nothing of the other is left. */
import t from 'tap'
import type { FastifyRequest } from 'fastify'
import type { Socket } from 'node:net'
import { closedPort, get, HOLD, post, rawClient, rawRequest, rawUpstream, requestBytes, RESET, respond, seededBytes, sleep, startBackends, startGateway, status, wait, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, TestLike } from '../helper.ts'
import type { RequestRecord } from '../../lib/types.ts'

const AFTER = 60
const HEDGE = { hedge: AFTER, budget: false, backoff: { initial: 1, max: 2 } } as const

/** Never answers. */
const silent: Script = () => {}

/** Answers after so many ms. */
function late (ms: number, code = 200, body = 'late'): Script {
  return () => [wait(ms), respond(code, {}, body)]
}

interface SetUp {
  readonly scripts: readonly Script[]
  readonly retry?: Readonly<Record<string, unknown>>
  readonly backend?: Readonly<Record<string, unknown>>
  readonly gateway?: Readonly<Record<string, unknown>>
  readonly configure?: Configure
}

/** The backend `up`: the first call goes to the first target, and the one that hedges it to the second. */
async function setUp (t: TestLike, { scripts, retry, backend, gateway, configure }: SetUp) {
  const ups: RawUpstream[] = []
  for (const script of scripts) ups.push(await rawUpstream(t, script))
  const requests: FastifyRequest[] = []
  const options = { ...gateway, backends: { up: { targets: ups.map(({ url }) => url), circuitBreaker: false, retry: { ...HEDGE, ...retry }, ...backend } } }
  const started = await startGateway(t, options as GatewayOptions, async app => {
    app.addHook('onRequest', async request => { requests.push(request) })
    if (configure !== undefined) await configure(app)
    else app.route({ method: ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  })
  return {
    ...started,
    ups,
    record: (n = 0): RequestRecord => requests[n]!.reverseproxy!,
    hits: () => ups.map(({ requests }) => requests.length),
    sum: () => ups.reduce((sum, { requests }) => sum + requests.length, 0),
    ask: async (bytes: Buffer = get('/x')) => await rawRequest(started.port, bytes),
    idle: async () => await waitFor(() => started.app.reverseproxy.registry.existing('up').targets.every(({ inflight }) => inflight === 0))
  }
}

// ---- when

t.test('a first try that is quick stays alone, also later', async t => {
  const { ask, sum } = await setUp(t, { scripts: [respond(200), respond(200)] })
  let quick = 0
  for (let i = 0; i < 20 && quick < 3; i++) {
    const before = sum()
    const { status, elapsed } = await ask()
    t.equal(status, 200)
    await sleep(AFTER * 2)
    // on a busy machine it may really have been slow
    if (elapsed >= AFTER) continue
    quick++
    t.equal(sum(), before + 1)
  }
})

t.test('a slow one gets a second after the time, at another target, and the quicker answer wins', async t => {
  const { ask, hits, record, ups } = await setUp(t, { scripts: [silent, respond(200, {}, 'second')] })
  const { response, elapsed } = await ask()
  t.same([response.status, response.text, hits()], [200, 'second', [1, 1]])
  t.ok(elapsed >= AFTER - 1 && elapsed < 5000, `${elapsed} ms`)
  t.ok(await waitFor(() => record().attempts.every(({ outcome }) => outcome !== undefined)))
  t.match(record().attempts, [{ target: ups[0]!.url, outcome: 'aborted' }, { target: ups[1]!.url, outcome: 'ok', status: 200 }])
})

t.test('the first one may still win', async t => {
  const { ask, hits, ups } = await setUp(t, { scripts: [late(AFTER * 3), silent] })
  const { response } = await ask()
  t.same([response.status, response.text, hits()], [200, 'late', [1, 1]])
  t.ok(await ups[1]!.dropped(), 'the other connection is closed')
})

t.test('hedge takes { after } as well', async t => {
  const { ask, hits } = await setUp(t, { scripts: [silent, respond(200)], retry: { hedge: { after: AFTER } } })
  t.equal((await ask()).status, 200)
  t.same(hits(), [1, 1])
})

t.test('the only target gets both tries', async t => {
  const { ask, hits } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? undefined : respond(200)] })
  t.equal((await ask()).status, 200)
  t.same(hits(), [2])
})

t.test('no more tries than attempts, hedged ones included', async t => {
  for (const [attempts, expected] of [[2, 2], [3, 3]] as const) {
    const { ask, sum } = await setUp(t, { scripts: [late(AFTER * 3, 503), late(10, 503), late(10, 503), late(10, 503)], retry: { attempts } })
    t.equal((await ask()).status, 503)
    t.equal(sum(), expected)
  }
})

t.test('a route with one attempt does not hedge, and one without retries neither', async t => {
  for (const retry of [1, false, { hedge: false }] as const) {
    const { ask, sum } = await setUp(t, {
      scripts: [late(AFTER * 3), respond(200, {}, 'second')],
      configure (app) { app.get('/x', { proxy: { backend: 'up', retry }, handler: app.reverseproxy.handler }) }
    })
    t.equal((await ask()).response.text, 'late', JSON.stringify(retry))
    t.equal(sum(), 1, JSON.stringify(retry))
  }
})

t.test('a route hedges where its backend does not', async t => {
  const { ask, hits } = await setUp(t, {
    scripts: [silent, respond(200)],
    backend: { retry: false },
    configure (app) { app.get('/x', { proxy: { backend: 'up', retry: { hedge: AFTER } }, handler: app.reverseproxy.handler }) }
  })
  t.equal((await ask()).status, 200)
  t.same(hits(), [1, 1])
})

t.test('an answer whose head is there is not hedged, however slow its body', async t => {
  const { ask, hits } = await setUp(t, { scripts: [() => ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nso', wait(AFTER * 3), 'me'], respond(200)] })
  const { response } = await ask()
  t.same([response.text, response.complete, hits()], ['some', true, [1, 0]])
})

// ---- which calls

t.test('only what may be repeated is hedged', async t => {
  for (const [method, tries] of [['GET', 2], ['HEAD', 2], ['DELETE', 2], ['POST', 1], ['PATCH', 1]] as const) {
    const { ask, sum } = await setUp(t, { scripts: [() => [wait(AFTER * 3), respond(200, {}, method === 'HEAD' ? null : '')], silent] })
    t.equal((await ask(requestBytes(method, '/x', method === 'POST' || method === 'PATCH' ? { body: 'b' } : {}))).status, 200, method)
    t.equal(sum(), tries, method)
  }
})

t.test('an idempotency key lets a POST be hedged, with its body', async t => {
  const { ask, ups, hits } = await setUp(t, { scripts: [silent, respond(200)] })
  t.equal((await ask(post('/x', ['or', 'der'], { 'Idempotency-Key': 'abc' }))).status, 200)
  t.same(hits(), [1, 1])
  t.same(ups.map(({ last }) => last.body.toString()), ['order', 'order'])
})

t.test('a PUT is hedged with its body where that was kept, and not where it was too long', async t => {
  for (const [size, tries] of [[1000, 2], [1001, 1]] as const) {
    const body = seededBytes(size)
    const { ask, ups, sum } = await setUp(t, { scripts: [late(AFTER * 3), silent], retry: { replayLimit: 1000 } })
    t.equal((await ask(requestBytes('PUT', '/x', { body }))).status, 200)
    t.equal(sum(), tries, String(size))
    for (const { requests } of ups) for (const request of requests) t.ok(request.body.equals(body))
  }
})

// ---- who wins

t.test('a second one that fails does not harm: the first is waited for', async t => {
  for (const [what, script] of [['503', respond(503)], ['reset', RESET], ['bad answer', 'SMTP\r\n\r\n'], ['large 503', respond(503, {}, Buffer.alloc(1_000_000))]] as Array<[string, Script]>) {
    const { ask, hits, idle } = await setUp(t, { scripts: [late(AFTER * 4, 200, 'first'), script] })
    const { response } = await ask()
    t.same([response.status, response.text, hits()], [200, 'first', [1, 1]], what)
    t.ok(await idle())
  }
})

t.test('a second one that is refused does not harm either', async t => {
  const up = await rawUpstream(t, late(AFTER * 3))
  const { port } = await startGateway(t, { backends: { up: { targets: [up.url, `http://127.0.0.1:${await closedPort()}`], circuitBreaker: false, retry: HEDGE } } })
  t.equal((await rawRequest(port, get('/x'))).status, 200)
  t.equal(up.requests.length, 1)
})

t.test('a first one that fails after the second has begun: the second is waited for', async t => {
  for (const [what, script] of [['503', late(AFTER * 2, 503)], ['reset', () => [wait(AFTER * 2), RESET]]] as Array<[string, Script]>) {
    const { ask, hits } = await setUp(t, { scripts: [script, late(AFTER * 3, 200, 'second')] })
    const { response } = await ask()
    t.same([response.status, response.text, hits()], [200, 'second', [1, 1]], what)
  }
})

t.test('a first one that fails before the time is tried again at once, not hedged', async t => {
  const { ask, hits } = await setUp(t, { scripts: [respond(503), respond(200, {}, 'second'), silent], retry: { attempts: 3 } })
  t.equal((await ask()).response.text, 'second')
  await sleep(AFTER * 3)
  t.same(hits(), [1, 1, 0])
})

t.test('a slow bad answer after a good one changes nothing', async t => {
  const { ask, port, hits, idle } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? [wait(AFTER * 3), respond(503)] : respond(200), respond(200, {}, 'good')] })
  const client = await rawClient(t, port)
  t.equal((await client.exchange(get('/x'))).text, 'good')
  await sleep(AFTER * 4)
  t.equal(client.responses.length, 1)
  t.equal((await ask()).status, 200)
  t.ok(await idle())
  t.equal(hits().reduce((sum, count) => sum + count), 3)
})

t.test('when both fail the client gets what it would get without hedging', async t => {
  const answers = await setUp(t, { scripts: [late(AFTER * 3, 503, 'first'), late(10, 502, 'second')] })
  const { response } = await answers.ask()
  t.ok((response.status === 503 && response.text === 'first') || (response.status === 502 && response.text === 'second'), `${response.status} ${response.text}`)
  t.ok(await answers.idle())
  const breaks = await setUp(t, { scripts: [() => [wait(AFTER * 2), RESET], RESET] })
  t.equal((await breaks.ask()).status, 502)
  t.same(breaks.hits(), [1, 1])
  const timeouts = await setUp(t, { scripts: [silent, silent], backend: { timeout: { total: AFTER * 10 } } })
  const { status, elapsed } = await timeouts.ask()
  t.equal(status, 504)
  t.ok(elapsed < 5000)
  t.same(timeouts.hits(), [1, 1])
  t.ok(await timeouts.idle())
})

t.test('an answer that was not good is better than a second one that broke', async t => {
  const { ask } = await setUp(t, { scripts: [late(AFTER * 3, 503, 'busy'), RESET] })
  const { response } = await ask()
  t.same([response.status, response.text], [503, 'busy'])
})

t.test('a bad answer is no bar to further tries', async t => {
  const { ask, hits } = await setUp(t, { scripts: [late(AFTER * 2, 503), late(10, 503), respond(200, {}, 'third')], retry: { attempts: 3 } })
  t.equal((await ask()).response.text, 'third')
  t.same(hits(), [1, 1, 1])
})

t.test('404 is an answer, and wins', async t => {
  const { ask, ups } = await setUp(t, { scripts: [silent, respond(404, {}, 'none')] })
  const { response } = await ask()
  t.same([response.status, response.text], [404, 'none'])
  t.ok(await ups[0]!.dropped())
})

t.test('perTryTimeout and hedge together: each try has its own time', async t => {
  const { ask, hits } = await setUp(t, { scripts: [silent, silent, respond(200)], retry: { attempts: 3, perTryTimeout: AFTER * 2 } })
  const { status, elapsed } = await ask()
  t.same([status, hits()], [200, [1, 1, 1]])
  t.ok(elapsed >= AFTER * 3 - 30 && elapsed < 5000, `${elapsed} ms`)
})

// ---- the loser

t.test('the loser\'s backend sees its connection close, and the winner\'s keeps its own', async t => {
  const { ask, ups } = await setUp(t, { scripts: [silent, respond(200)] })
  await ask()
  t.ok(await ups[0]!.dropped())
  t.equal(ups[1]!.open, 1)
})

t.test('a loser is no fault of its target', async t => {
  const { ask, app, ups } = await setUp(t, { scripts: [silent, respond(200)], backend: { circuitBreaker: { failureThreshold: 1 }, outlier: { consecutive: 1 }, balancer: { type: 'hash', key: 'path' } } })
  for (let i = 0; i < 4; i++) t.equal((await ask(get(`/${i}`))).status, 200)
  t.ok(await ups[0]!.dropped())
  t.ok(app.reverseproxy.breakers.list().every(({ state }) => state === 'closed'))
  t.ok(app.reverseproxy.health.status('up').every(({ healthy }) => healthy))
})

t.test('a loser that waits for a place leaves the queue', async t => {
  const { port, ups, app } = await setUp(t, { scripts: [silent, respond(200)], backend: { concurrency: { max: 1, queue: 10, queueTimeout: 400 } } })
  // the one place is taken by the first try, the second waits behind it
  const { status } = await rawRequest(port, get('/x'), { ms: 1000 })
  t.ok(status === 0 || status === 503, String(status))
  t.ok(await waitFor(() => app.reverseproxy.registry.existing('up').slots?.waiting === 0))
  t.equal(ups[0]!.requests.length + ups[1]!.requests.length, 1)
  t.ok(await ups[0]!.dropped())
  t.ok(await waitFor(() => app.reverseproxy.registry.existing('up').slots?.taken === 0))
})

t.test('places and connections are free again after many', async t => {
  const { port, idle, app, hits } = await setUp(t, { scripts: [silent, respond(200)], backend: { concurrency: { max: 50, queue: 100 }, pool: { connections: 30 } } })
  const results = await Promise.all(Array.from({ length: 40 }, async () => await rawRequest(port, get('/x'))))
  t.ok(results.every(({ status }) => status === 200))
  t.ok(await idle())
  t.equal(app.reverseproxy.registry.existing('up').slots?.taken, 0)
  t.ok(hits()[1]! >= 40)
})

// ---- bounds

t.test('the budget bounds hedging, and without it the first is waited for', async t => {
  const { port, sum } = await setUp(t, { scripts: [late(AFTER * 3), late(AFTER * 3)], retry: { budget: { ratio: 0, min: 2 } } })
  const results = await Promise.all(Array.from({ length: 10 }, async () => await rawRequest(port, get('/x'))))
  t.ok(results.every(({ status }) => status === 200))
  t.equal(sum(), 12)
})

t.test('the parts of a composite hedge within one budget', async t => {
  const answers = Object.fromEntries([...'abcd'].map(name => [name, (asked: { answer (value: unknown): void }) => {
    setTimeout(() => { asked.answer({ ok: 1 }) }, AFTER * 3)
    return HOLD
  }]))
  const { backends, asked } = await startBackends(t, answers)
  const named = Object.fromEntries(Object.entries(backends).map(([name, url]) => [name, { targets: [url], retry: { ...HEDGE, budget: { ratio: 0, min: 2 } } }]))
  const { url } = await startGateway(t, { backends: named } as GatewayOptions, app => {
    app.get('/c', { composite: { strategy: 'object', backends: ['a', 'b', 'c', 'd'] }, handler: app.reverseproxy.handler })
  })
  const answer = await fetch(`${url}/c`)
  t.same([answer.status, answer.headers.get('x-composite-complete')], [200, 'true'])
  t.equal(asked.length, 4 + 2)
})

t.test('the deadline header of the second try is less than that of the first', async t => {
  const { ask, ups } = await setUp(t, { scripts: [silent, respond(200)], backend: { timeout: { total: 5000 } }, gateway: { deadlineHeader: 'x-left' } })
  await ask()
  const [first, second] = ups.map(({ last }) => Number(last.header('x-left'))) as [number, number]
  t.ok(first <= 5000 && second <= first - AFTER + 20 && second > 0, `${first} ${second}`)
})

t.test('modifyRequest runs once for both', async t => {
  let count = 0
  const { ask, ups } = await setUp(t, {
    scripts: [silent, respond(200)],
    configure (app) { app.get('/x', { proxy: { backend: 'up', modifyRequest (draft) { draft.headers.set('x-count', String(++count)) } }, handler: app.reverseproxy.handler }) }
  })
  await ask()
  t.same([count, ...ups.map(({ last }) => last.header('x-count'))], [1, '1', '1'])
})

// ---- clients that leave, parts that are given up

t.test('a client that leaves ends both', async t => {
  const { port, ups, hits, record, idle, sum } = await setUp(t, { scripts: [silent, silent, silent], retry: { attempts: 3 } })
  const client = await rawClient(t, port)
  client.send(get('/x'))
  t.ok(await waitFor(() => hits()[0] === 1 && hits()[1] === 1))
  client.destroy()
  t.ok(await ups[0]!.dropped() && await ups[1]!.dropped())
  t.ok(await idle())
  t.same([record().aborted, record().attempts.map(({ outcome }) => outcome)], [true, ['aborted', 'aborted']])
  await sleep(AFTER * 2)
  t.equal(sum(), 2)
})

t.test('a client that leaves before the time gets no second try', async t => {
  const { port, ups, hits, sum } = await setUp(t, { scripts: [silent, silent] })
  const client = await rawClient(t, port)
  client.send(get('/x'))
  t.ok(await waitFor(() => hits()[0] === 1))
  client.destroy()
  t.ok(await ups[0]!.dropped())
  await sleep(AFTER * 3)
  t.equal(sum(), 1)
})

t.test('both tries of a part are ended with it', async t => {
  const { backends, asked, until } = await startBackends(t, { a: HOLD, b: HOLD })
  const { url } = await startGateway(t, { backends: { a: backends['a'], b: { targets: [backends['b']], retry: HEDGE } } } as GatewayOptions, app => {
    app.get('/c', { composite: { parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } }, handler: app.reverseproxy.handler })
  })
  const answer = fetch(`${url}/c`)
  t.ok(await until(3))
  asked.find(({ backend }) => backend === 'a')!.answer(status(500))
  t.equal((await answer).status, 502)
  t.ok(await waitFor(() => asked.filter(({ backend }) => backend === 'b').every(({ dropped }) => dropped)))
})

t.test('both tries of a forEach call are ended when an earlier one has failed', async t => {
  const { backends, asked, until } = await startBackends(t, { a: [1, 2], b: HOLD })
  const { url } = await startGateway(t, { backends: { a: backends['a'], b: { targets: [backends['b']], retry: { ...HEDGE, attempts: 2 } } } } as GatewayOptions, app => {
    app.get('/c', { composite: { parts: { list: { backend: 'a' }, each: { backend: 'b', required: true, path: '/{item}', forEach: '{list.body}' } } }, handler: app.reverseproxy.handler })
  })
  const answer = fetch(`${url}/c`)
  t.ok(await until(5))
  for (const one of asked.filter(({ backend, target }) => backend === 'b' && target === '/1')) one.answer(status(500))
  t.equal((await answer).status, 502)
  t.ok(await waitFor(() => asked.filter(({ target }) => target === '/2').every(({ dropped }) => dropped)))
})

// ---- nothing is left

t.test('connections of clients and backends carry nothing away from a hundred hedged calls', async t => {
  const sockets: Socket[] = []
  const { port, app, ups, idle } = await setUp(t, { scripts: [({ nth }) => nth % 2 === 0 ? undefined : respond(200), respond(200)], retry: { hedge: 10 } })
  app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
  const client = await rawClient(t, port)
  let before: number | undefined
  for (let i = 0; i < 100; i++) {
    t.equal((await client.exchange(get('/x'))).status, 200)
    if (i === 10) before = listeners(sockets[0]!)
  }
  t.equal(sockets.length, 1)
  t.ok(listeners(sockets[0]!) <= before! + 1, `${before!} → ${listeners(sockets[0]!)}`)
  t.ok(await waitFor(() => running(sockets[0]!) === 0), 'nobody watches the client\'s connection any more')
  t.ok(await idle())
  t.ok(ups.every(({ open }) => open <= 2))
  client.destroy()
  await app.close()
  t.ok(await waitFor(() => ups.every(({ open }) => open === 0)), 'no connection to a backend is left')
})

t.test('closing the gateway in the middle of it ends both', async t => {
  const { port, app, ups, hits } = await setUp(t, { scripts: [silent, silent], gateway: { shutdown: { timeout: 100 } } })
  const client = await rawClient(t, port)
  client.send(get('/x'))
  t.ok(await waitFor(() => hits()[0] === 1 && hits()[1] === 1))
  await app.close()
  t.ok(await ups[0]!.dropped() && await ups[1]!.dropped())
})

function listeners (socket: Socket): number {
  return socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0)
}

/** What is registered to be told when the client leaves. */
function running (socket: Socket): number {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'reverseproxy.running')
  return key === undefined ? -1 : (socket as unknown as Record<symbol, { readonly size: number }>)[key]!.size
}
