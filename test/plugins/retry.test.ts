/** Retries on the wire: what is tried again, where, after how long, how often, and what never is. */
import t from 'tap'
import { closedPort, get, HOLD, json, post, rawClient, rawRequest, rawUpstream, requestBytes, RESET, respond, sleep, startBackends, startGateway, status, wait, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, TestLike } from '../helper.ts'
import type { FastifyRequest } from 'fastify'
import type { Attempt, RequestRecord } from '../../lib/types.ts'

/** Longest waits of 1 or 2 ms between the tries, and no bound to their number besides `attempts`. */
const QUICK = { backoff: { initial: 1, max: 2 }, budget: false } as const

interface SetUp {
  /** One for each target. */
  readonly scripts: readonly Script[]
  /** What the retries are; undefined: nothing is said. */
  readonly retry?: unknown
  /** Further options of the backend. */
  readonly backend?: Readonly<Record<string, unknown>>
  /** Further options of the gateway. */
  readonly gateway?: Readonly<Record<string, unknown>>
  /** Default: everything goes to `up`. */
  readonly configure?: Configure
}

/** A gateway in front of the backend `up`. */
async function setUp (t: TestLike, { scripts, retry, backend, gateway, configure }: SetUp) {
  const ups: RawUpstream[] = []
  for (const script of scripts) ups.push(await rawUpstream(t, script))
  const requests: FastifyRequest[] = []
  const up = { targets: ups.map(({ url }) => url), circuitBreaker: false, ...(retry === undefined ? undefined : { retry }), ...backend }
  const started = await startGateway(t, { ...gateway, backends: { up, ...(gateway?.['backends'] as object | undefined) } } as GatewayOptions, async app => {
    app.addHook('onRequest', async request => { requests.push(request) })
    if (configure !== undefined) await configure(app)
    else app.route({ method: ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  })
  return {
    ...started,
    ups,
    /** What is known about request n. */
    record: (n = 0): RequestRecord => requests[n]!.reverseproxy!,
    hits: () => ups.map(({ requests }) => requests.length),
    ask: async (bytes: Buffer = get('/x')) => await rawRequest(started.port, bytes)
  }
}

/** Each request gets the next of these statuses, the last one again and again. */
function statuses (...codes: number[]): Script {
  return ({ nth }) => respond(codes[Math.min(nth, codes.length - 1)]!, {}, `answer ${nth}`)
}

/** The first so many requests are met with a reset, the others with a 200. */
function resets (count: number): Script {
  return ({ nth }) => nth < count ? RESET : respond(200, {}, `answer ${nth}`)
}

const silent: Script = () => {}

// ---- off, on, how often

for (const [what, script, code] of [['503', statuses(503, 200), 503], ['reset', resets(1), 502], ['bad answer', ({ nth }) => nth === 0 ? 'SMTP\r\n\r\n' : respond(200), 502]] as Array<[string, Script, number]>) {
  t.test(`off by default: a ${what} is the client's, after one try`, async t => {
    const { ask, hits } = await setUp(t, { scripts: [script, script] })
    t.equal((await ask()).status, code)
    t.same(hits().reduce((sum, count) => sum + count), 1)
  })
}

t.test('attempts count the first try', async t => {
  for (const attempts of [1, 2, 3, 5]) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(503)], retry: { ...QUICK, attempts } })
    t.equal((await ask()).status, 503)
    t.same(hits(), [attempts])
  }
})

t.test('a number is the number of tries, and an object without attempts means two', async t => {
  const number = await setUp(t, { scripts: [statuses(503)], retry: 3 })
  await number.ask()
  t.same(number.hits(), [3])
  const object = await setUp(t, { scripts: [statuses(503)], retry: { budget: false } })
  await object.ask()
  t.same(object.hits(), [2])
})

t.test('the first good answer is the client\'s, whole and once', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503, 502, 200)], retry: { ...QUICK, attempts: 5 } })
  const { response, responses } = await ask()
  t.same([response.status, response.text, responses.length, hits()], [200, 'answer 2', 1, [3]])
})

t.test('the last answer is passed on as it is when none was good', async t => {
  const { ask } = await setUp(t, { scripts: [({ nth }) => respond(503, { 'X-Nth': String(nth), 'Content-Type': 'text/x' }, `sorry ${nth}`)], retry: { ...QUICK, attempts: 3 } })
  const { response } = await ask()
  t.same([response.status, response.header('x-nth'), response.header('content-type'), response.text], [503, '2', 'text/x', 'sorry 2'])
})

t.test('a route says less, more, or nothing of it', async t => {
  const { port, hits } = await setUp(t, {
    scripts: [statuses(503)],
    retry: { ...QUICK, attempts: 3 },
    configure (app) {
      for (const [url, retry] of [['/off', false], ['/one', 1], ['/four', 4], ['/only500', { statuses: [500] }]] as const) app.get(url, { proxy: { backend: 'up', retry: retry as number }, handler: app.reverseproxy.handler })
      app.get('/same', { proxy: 'up', handler: app.reverseproxy.handler })
    }
  })
  const counts: Record<string, number> = {}
  for (const path of ['/off', '/one', '/four', '/only500', '/same']) {
    const [before] = hits()
    await rawRequest(port, get(path))
    counts[path] = hits()[0]! - before!
  }
  t.same(counts, { '/off': 1, '/one': 1, '/four': 4, '/only500': 1, '/same': 3 })
})

t.test('a route switches on what the backend has switched off', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503, 200)], configure: app => { app.get('/x', { proxy: { backend: 'up', retry: {} }, handler: app.reverseproxy.handler }) } })
  t.same([(await ask()).status, hits()], [200, [2]])
})

// ---- what is tried again

t.test('500, 501, 404, 429 and redirects are answers; 502, 503 and 504 are tried again', async t => {
  for (const [code, tries] of [[500, 1], [501, 1], [404, 1], [429, 1], [301, 1], [502, 2], [503, 2], [504, 2]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(code, 200)], retry: QUICK })
    t.equal((await ask()).status, tries === 1 ? code : 200, String(code))
    t.same(hits(), [tries], String(code))
  }
})

t.test('statuses of one\'s own', async t => {
  for (const [code, tries] of [[429, 2], [503, 1]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(code, 200)], retry: { ...QUICK, statuses: [429] } })
    await ask()
    t.same(hits(), [tries], String(code))
  }
})

t.test('the outcome server-error is every 5xx', async t => {
  for (const [code, tries] of [[500, 2], [503, 2], [599, 2], [404, 1]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(code, 200)], retry: { ...QUICK, statuses: [], outcomes: ['server-error'] } })
    await ask()
    t.same(hits(), [tries], String(code))
  }
})

const FAULTS: Array<[outcome: string, script: Script]> = [
  ['reset', resets(1)],
  ['bad-response', ({ nth }) => nth === 0 ? 'SMTP\r\n\r\n' : respond(200)],
  ['timeout', ({ nth }) => nth === 0 ? undefined : respond(200)]
]
for (const [outcome, script] of FAULTS) {
  t.test(`${outcome} is tried again, unless the outcomes leave it out`, async t => {
    const on = await setUp(t, { scripts: [script], retry: QUICK, backend: { timeout: { headers: 400 } } })
    t.equal((await on.ask()).status, 200)
    t.same([on.hits(), on.record().attempts.map(({ outcome }) => outcome)], [[2], [outcome, 'ok']])
    const off = await setUp(t, { scripts: [script], retry: { ...QUICK, outcomes: ['connect-error'] }, backend: { timeout: { headers: 400 } } })
    t.not((await off.ask()).status, 200)
    t.same(off.hits(), [1])
  })
}

t.test('a refused connection is tried again at the next target', async t => {
  const dead = `http://127.0.0.1:${await closedPort()}`
  const alive = await rawUpstream(t, respond(200))
  const { port } = await startGateway(t, { backends: { up: { targets: [dead, alive.url], retry: QUICK, circuitBreaker: false } } })
  for (let i = 0; i < 6; i++) t.equal((await rawRequest(port, get('/x'))).status, 200)
  t.equal(alive.requests.length, 6)
})

t.test('every idempotent method is tried again, POST and PATCH are not', async t => {
  for (const [method, tries] of [['GET', 2], ['HEAD', 2], ['OPTIONS', 2], ['PUT', 2], ['DELETE', 2], ['POST', 1], ['PATCH', 1]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [({ nth }) => respond(nth === 0 ? 503 : 200, {}, method === 'HEAD' ? null : '')], retry: QUICK })
    t.equal((await ask(requestBytes(method, '/x', method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || method === 'DELETE' ? {} : { body: 'b' }))).status, tries === 2 ? 200 : 503, method)
    t.same(hits(), [tries], method)
  }
})

t.test('methods of one\'s own: only these', async t => {
  for (const [method, tries] of [['GET', 1], ['POST', 2]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(503, 200)], retry: { ...QUICK, methods: ['POST'] } })
    await ask(requestBytes(method, '/x', method === 'POST' ? { body: 'b' } : {}))
    t.same(hits(), [tries], method)
  }
})

// ---- what may have arrived already

t.test('a POST that was answered or reset after it had arrived is never sent again', async t => {
  for (const [what, script, at] of [
    ['503', statuses(503, 200), 'complete'], ['reset after the request', resets(1), 'complete'], ['reset after the head', resets(1), 'head'], ['silence', ({ nth }) => nth === 0 ? undefined : respond(200), 'complete']
  ] as Array<[string, Script, 'complete' | 'head']>) {
    const { ask, hits, ups } = await setUp(t, { scripts: [silent, silent], retry: { ...QUICK, attempts: 4 }, backend: { timeout: { headers: 150 } } })
    for (const up of ups) up.answer(script, at)
    t.ok((await ask(post('/x', 'order'))).status >= 502, what)
    await sleep(20)
    t.equal(hits().reduce((sum, count) => sum + count), 1, what)
  }
})

t.test('a POST without a body is never sent again either', async t => {
  const { ask, hits } = await setUp(t, { scripts: [resets(1)], retry: QUICK })
  t.equal((await ask(requestBytes('POST', '/x', { headers: { 'Content-Length': '0' } }))).status, 502)
  t.same(hits(), [1])
})

t.test('a POST whose connection was refused is sent elsewhere, with its body', async t => {
  const dead = `http://127.0.0.1:${await closedPort()}`
  const alive = await rawUpstream(t, respond(201))
  const { port } = await startGateway(t, { backends: { up: { targets: [dead, alive.url], retry: QUICK, circuitBreaker: false } } })
  for (const body of ['order', ['or', 'der']]) {
    for (let i = 0; i < 4; i++) t.equal((await rawRequest(port, post('/x', body))).status, 201)
  }
  t.equal(alive.requests.length, 8)
  for (const request of alive.requests) t.equal(request.body.toString(), 'order')
})

t.test('an idempotency key makes a POST repeatable', async t => {
  for (const [headers, retry, tries] of [
    [{ 'Idempotency-Key': '"8e03978e"' }, {}, 2],
    [{ 'IDEMPOTENCY-KEY': 'abc' }, {}, 2],
    [{ 'Idempotency-Key': '' }, {}, 1],
    [{ 'Idempotency-Key': '""' }, {}, 1],
    [[['Idempotency-Key', 'a'], ['Idempotency-Key', 'b']], {}, 1],
    [{ 'X-Once': 'abc' }, {}, 1],
    [{ 'X-Once': 'abc' }, { idempotencyKey: 'X-Once' }, 2],
    [{ 'Idempotency-Key': 'abc' }, { idempotencyKey: 'X-Once' }, 1],
    [{ 'Idempotency-Key': 'abc' }, { idempotencyKey: false }, 1]
  ] as Array<[Record<string, string>, object, number]>) {
    const { ask, ups } = await setUp(t, { scripts: [resets(1)], retry: { ...QUICK, ...retry } })
    await ask(post('/x', 'order', headers))
    t.equal(ups[0]!.requests.length, tries, JSON.stringify([headers, retry]))
    t.same(ups[0]!.requests.map(({ body }) => body.toString()), new Array(tries).fill('order'))
  }
})

t.test('a key that the backend does not get to see is none', async t => {
  for (const headers of [{ request: { remove: ['idempotency-key'] } }, { request: { forward: ['accept'] } }, { request: { rename: { 'idempotency-key': 'x-key' } } }]) {
    const { ask, hits } = await setUp(t, { scripts: [resets(1)], retry: QUICK, backend: { headers } })
    t.equal((await ask(post('/x', 'order', { 'Idempotency-Key': 'abc' }))).status, 502)
    t.same(hits(), [1], JSON.stringify(headers))
  }
})

t.test('a key that the gateway itself puts there counts', async t => {
  const { ask, hits } = await setUp(t, { scripts: [resets(1)], retry: QUICK, backend: { headers: { request: { set: { 'idempotency-key': 'abc' } } } } })
  t.equal((await ask(post('/x', 'order'))).status, 200)
  t.same(hits(), [2])
})

t.test('never once a byte has gone to the client: an answer that breaks in its body is a broken answer', async t => {
  for (const head of ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n']) {
    const { port, hits } = await setUp(t, { scripts: [() => [head, wait(50), RESET]], retry: { ...QUICK, attempts: 4 } })
    const { response, closed } = await rawRequest(port, get('/x'), { untilClose: true })
    t.same([response.status, response.complete, closed], [200, false, true])
    await sleep(30)
    t.same(hits(), [1])
  }
})

t.test('an answer that breaks in its body before anybody got a byte of it, and is tried again by its status, leaves no trace', async t => {
  const { ask, hits } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? ['HTTP/1.1 503 Busy\r\nX-First: 1\r\nSet-Cookie: a=1\r\nContent-Length: 100\r\n\r\nsome', RESET] : respond(200, {}, 'good')], retry: QUICK })
  const { response } = await ask()
  t.same([response.status, response.text, response.header('x-first'), response.header('set-cookie'), hits()], [200, 'good', undefined, undefined, [2]])
})

// ---- where

t.test('each try has a target of its own while there is one', async t => {
  for (const balancer of ['round-robin', 'random', 'least-connections', 'power-of-two', 'ip-hash', { type: 'hash', key: 'path' }]) {
    const { ask, hits } = await setUp(t, { scripts: [statuses(503), statuses(503), statuses(503)], retry: { ...QUICK, attempts: 3 }, backend: { balancer } })
    for (let i = 1; i <= 5; i++) {
      await ask()
      t.same(hits(), [i, i, i], JSON.stringify(balancer))
    }
  }
})

t.test('the only target is asked again', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503, 503, 200)], retry: { ...QUICK, attempts: 3 } })
  t.same([(await ask()).status, hits()], [200, [3]])
})

t.test('with more tries than targets all of them are asked before one is asked twice', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503), statuses(503)], retry: { ...QUICK, attempts: 5 }, backend: { balancer: { type: 'hash', key: 'path' } } })
  await ask()
  t.equal(hits()[0]! + hits()[1]!, 5)
  t.ok(hits().every(count => count >= 1))
})

t.test('a target that is full is no reason to fail: the tried one is asked again', async t => {
  const [a, b] = [await rawUpstream(t, silent), await rawUpstream(t, ({ nth }) => respond(nth === 0 ? 503 : 200))]
  const { port } = await startGateway(t, { backends: { up: { targets: [{ url: a.url, maxConnections: 1 }, b.url], retry: QUICK, circuitBreaker: false } } })
  const busy = await rawClient(t, port)
  busy.send(get('/busy'))
  await waitFor(() => a.requests.length === 1)
  t.equal((await rawRequest(port, get('/x'))).status, 200)
  t.same([a.requests.length, b.requests.length], [1, 2])
})

t.test('a discarded answer no longer takes the place that the next try needs', async t => {
  const big = Buffer.alloc(1_000_000, 'x')
  for (const [what, target, backend] of [['maxConnections', { maxConnections: 1 }, {}], ['concurrency', {}, { concurrency: { max: 1, queue: 0 } }]] as const) {
    const up = await rawUpstream(t, ({ nth }) => nth === 0 ? respond(503, {}, big) : respond(200))
    const { port } = await startGateway(t, { backends: { up: { targets: [{ url: up.url, ...target }], retry: { budget: false, backoff: { initial: 0, max: 0 } }, circuitBreaker: false, ...backend } } } as GatewayOptions)
    t.equal((await rawRequest(port, get('/x'))).status, 200, what)
  }
})

t.test('breakers that all open in between end the tries', async t => {
  const { ask, hits, record } = await setUp(t, { scripts: [statuses(503), statuses(503)], retry: { ...QUICK, attempts: 6 }, backend: { circuitBreaker: { failureThreshold: 1, resetTimeout: 60_000 } } })
  const { response, elapsed } = await ask()
  t.same([response.status, hits()], [503, [1, 1]])
  t.ok(elapsed < 5000)
  t.equal(record().attempts.length, 2)
  t.equal((await ask()).status, 503)
  t.same(hits(), [1, 1])
})

t.test('breakers that open in between lead to the fallback', async t => {
  const { ask } = await setUp(t, { scripts: [statuses(503)], retry: { ...QUICK, attempts: 4 }, backend: { circuitBreaker: { failureThreshold: 2, resetTimeout: 60_000, fallback: { statusCode: 203, body: 'instead' } } } })
  const { response } = await ask()
  t.same([response.status, response.text], [203, 'instead'])
})

t.test('a followed redirect is tried again on its own, at the place it names', async t => {
  const other = await rawUpstream(t, statuses(503, 503, 200))
  const { ask, hits } = await setUp(t, {
    scripts: [() => respond(302, { Location: `${other.url}/there` })],
    retry: { ...QUICK, attempts: 3 },
    backend: { redirects: 'follow' },
    gateway: { backends: { other: { targets: [other.url], circuitBreaker: false } } }
  })
  t.equal((await ask()).status, 200)
  t.same([hits(), other.requests.map(({ target }) => target)], [[1], ['/there', '/there', '/there']])
})

t.test('a try that ends in a redirect is followed', async t => {
  const { ask, ups } = await setUp(t, {
    scripts: [({ nth, request }) => nth === 0 ? respond(503) : request.target === '/x' ? respond(307, { Location: '/there' }) : respond(200, {}, request.body)],
    retry: QUICK,
    backend: { redirects: 'follow' }
  })
  const { response } = await ask(requestBytes('PUT', '/x', { body: 'kept' }))
  t.same([response.status, response.text], [200, 'kept'])
  t.same(ups[0]!.requests.map(({ method, target }) => `${method} ${target}`), ['PUT /x', 'PUT /x', 'PUT /there'])
})

// ---- what runs once, what is written down

t.test('modifyRequest runs once for the call and holds for every try, modifyResponse for the answer that is sent', async t => {
  let [requests, responses] = [0, 0]
  const { ask, ups } = await setUp(t, {
    scripts: [statuses(503, 503, 200)],
    retry: { ...QUICK, attempts: 3 },
    configure (app) {
      app.get('/x', { proxy: { backend: 'up', modifyRequest (draft) { draft.headers.set('x-count', String(++requests)) }, modifyResponse (draft) { responses++; draft.headers.set('x-seen', String(draft.status)) } }, handler: app.reverseproxy.handler })
    }
  })
  const { response } = await ask()
  t.same([requests, responses, response.header('x-seen')], [1, 1, '200'])
  t.same(ups[0]!.requests.map(request => request.header('x-count')), ['1', '1', '1'])
})

t.test('every try is the same request', async t => {
  const { ask, ups } = await setUp(t, { scripts: [statuses(503, 503, 200)], retry: { ...QUICK, attempts: 3 } })
  await ask(requestBytes('PUT', '/a/%2F?q=1&q=2', { headers: [['X-A', '1'], ['x-a', '2'], ['Cookie', 'c=1']], body: 'body' }))
  const [first, ...others] = ups[0]!.requests.map(({ head, body }) => head + body.toString())
  t.same(others, [first, first])
})

t.test('the record lists every try', async t => {
  const { ask, record, ups } = await setUp(t, { scripts: [resets(1), statuses(503), statuses(200)], retry: { ...QUICK, attempts: 3 } })
  t.equal((await ask()).status, 200)
  const { attempts, retries, aborted, backend } = record()
  t.match(attempts, [
    { target: ups[0]!.url, outcome: 'reset', status: undefined, sent: true },
    { target: ups[1]!.url, outcome: 'server-error', status: 503, sent: true },
    { target: ups[2]!.url, outcome: 'ok', status: 200, sent: true }
  ])
  t.ok(attempts.every(({ duration }: Attempt) => duration !== undefined && duration >= 0))
  t.same([retries, aborted, backend], [2, false, 'up'])
})

// ---- Retry-After and backoff

t.test('Retry-After in seconds is waited for', async t => {
  const { ask, hits } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? respond(503, { 'Retry-After': '1' }) : respond(200)], retry: QUICK })
  const { status, elapsed } = await ask()
  t.same([status, hits()], [200, [2]])
  t.ok(elapsed >= 950, `${elapsed} ms`)
})

t.test('Retry-After as a date is waited for', async t => {
  const { ask, hits } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? respond(503, { 'Retry-After': new Date(Date.now() + 2000).toUTCString() }) : respond(200)], retry: QUICK })
  const { status, elapsed } = await ask()
  t.same([status, hits()], [200, [2]])
  // dates have whole seconds
  t.ok(elapsed >= 900, `${elapsed} ms`)
})

t.test('a date that is past, and 0, mean at once', async t => {
  for (const value of ['0', new Date(Date.now() - 10_000).toUTCString()]) {
    const { ask } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? respond(503, { 'Retry-After': value }) : respond(200)], retry: { budget: false, backoff: { initial: 8000, max: 8000 } }, gateway: { random: () => 0.99 } })
    const { status, elapsed } = await ask()
    t.equal(status, 200)
    t.ok(elapsed < 4500, `${value}: ${elapsed} ms`)
  }
})

t.test('a Retry-After that is too long is passed on with its answer, at once', async t => {
  for (const [value, retry] of [['6', {}], ['1', { maxRetryAfter: 500 }], ['99999999999999999999', {}], [new Date(Date.now() + 60_000).toUTCString(), {}]] as const) {
    const { ask, hits } = await setUp(t, { scripts: [respond(503, { 'Retry-After': value }, 'busy')], retry: { ...QUICK, ...retry } })
    const { response, elapsed } = await ask()
    t.same([response.status, response.header('retry-after'), response.text, hits()], [503, value, 'busy', [1]])
    t.ok(elapsed < 4500, `${elapsed} ms`)
  }
})

t.test('a Retry-After beyond the deadline is not waited for', async t => {
  const { ask, hits } = await setUp(t, { scripts: [respond(503, { 'Retry-After': '10' })], retry: { ...QUICK, maxRetryAfter: '1m' }, backend: { timeout: { total: '8s' } } })
  const { response, elapsed } = await ask()
  t.same([response.status, response.header('retry-after'), hits()], [503, '10', [1]])
  t.ok(elapsed < 4500, `${elapsed} ms`)
})

t.test('a Retry-After that nobody can read leaves the backoff', async t => {
  for (const value of ['soon', '-1', '60.5', '60s']) {
    const { ask, hits } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? respond(503, { 'Retry-After': value }) : respond(200)], retry: QUICK })
    const { status } = await ask()
    t.same([status, hits()], [200, [2]], value)
  }
})

t.test('the backoff grows up to its bound, by the numbers of chance it is given', async t => {
  const times: number[] = []
  const { ask } = await setUp(t, {
    scripts: [() => { times.push(performance.now()); return respond(503) }],
    retry: { attempts: 4, budget: false, backoff: { initial: 100, max: 250, factor: 2 } },
    gateway: { random: () => 0.9 }
  })
  await ask()
  const gaps = times.slice(1).map((time, index) => time - times[index]!)
  t.equal(gaps.length, 3)
  // 90, 180 and 225
  t.ok(gaps[0]! >= 85 && gaps[1]! >= 170 && gaps[2]! >= 215, gaps.join(' '))
  t.ok(gaps[0]! + gaps[1]! + gaps[2]! < 5000, gaps.join(' '))
})

t.test('full jitter: a wait may be next to nothing', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503, 200)], retry: { budget: false, backoff: { initial: 10_000, max: 10_000 } }, gateway: { random: () => 0.001 } })
  const { elapsed } = await ask()
  t.same(hits(), [2])
  t.ok(elapsed < 5000, `${elapsed} ms`)
})

// ---- time

t.test('the total time bounds all tries: 504 within it', async t => {
  const { ask, hits, record } = await setUp(t, { scripts: [silent], retry: { ...QUICK, attempts: 50, perTryTimeout: 200 }, backend: { timeout: { total: 900 } } })
  const { status, elapsed } = await ask()
  t.equal(status, 504)
  t.ok(elapsed >= 800 && elapsed < 5000, `${elapsed} ms`)
  t.ok(hits()[0]! >= 2 && hits()[0]! <= 6, String(hits()))
  t.ok(record().attempts.every(({ outcome }) => outcome === 'timeout'))
  const [before] = hits()
  await sleep(300)
  t.same(hits(), [before])
})

t.test('the total time bounds the waits: no try begins after it', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503)], retry: { attempts: 50, budget: false, backoff: { initial: 100, max: 100 } }, backend: { timeout: { total: 350 } }, gateway: { random: () => 0.9 } })
  const { status, elapsed } = await ask()
  t.ok(status === 503 || status === 504, String(status))
  t.ok(elapsed < 5000, `${elapsed} ms`)
  t.ok(hits()[0]! <= 5, String(hits()))
})

t.test('perTryTimeout ends a try that has no answer, and the connection with it', async t => {
  const { ask, hits, ups } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? undefined : respond(200)], retry: { ...QUICK, perTryTimeout: 400 } })
  const { status, elapsed } = await ask()
  t.same([status, hits()], [200, [2]])
  t.ok(elapsed >= 395 && elapsed < 5000, `${elapsed} ms`)
  t.ok(await ups[0]!.dropped([ups[0]!.requests[0]!]))
})

t.test('perTryTimeout is for the head of the answer: its body may take longer', async t => {
  const { ask, hits } = await setUp(t, { scripts: [() => ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nso', wait(700), 'me']], retry: { ...QUICK, perTryTimeout: 400 } })
  const { response } = await ask()
  t.same([response.status, response.text, response.complete, hits()], [200, 'some', true, [1]])
})

t.test('perTryTimeout holds for the only try as well', async t => {
  const { ask, hits } = await setUp(t, { scripts: [silent], retry: { attempts: 1, perTryTimeout: 100 } })
  const { status, elapsed } = await ask()
  t.same([status, hits()], [504, [1]])
  t.ok(elapsed < 5000, `${elapsed} ms`)
})

t.test('a timeout while no connection was to be had: the POST has not left, and is sent again', async t => {
  const { port, ups } = await setUp(t, {
    scripts: [silent, respond(200)],
    retry: { ...QUICK, perTryTimeout: 400 },
    backend: { pool: { connections: 1 } },
    configure (app) {
      app.get('/busy', { proxy: { backend: 'up', retry: { perTryTimeout: 10_000 } }, handler: app.reverseproxy.handler })
      app.post('/x', { proxy: 'up', handler: app.reverseproxy.handler })
    }
  })
  const busy = await rawClient(t, port)
  busy.send(get('/busy'))
  await waitFor(() => ups[0]!.requests.length === 1)
  // one of them goes to the first target, where the one connection is taken
  for (let i = 0; i < 2; i++) t.equal((await rawRequest(port, post('/x', 'order'))).status, 200)
  t.same(ups.map(({ requests }) => requests.filter(({ method }) => method === 'POST').length), [0, 2])
})

t.test('the deadline header says what is left, less with each try, instead of what the client said', async t => {
  const { ask, ups } = await setUp(t, {
    scripts: [({ nth }) => nth < 2 ? [wait(60), respond(503)] : respond(200)],
    retry: { ...QUICK, attempts: 3 },
    backend: { timeout: { total: 5000 } },
    gateway: { deadlineHeader: 'X-Request-Deadline-Ms' }
  })
  await ask(get('/x', [['x-request-deadline-ms', '999999'], ['X-Request-Deadline-MS', '1']]))
  const values = ups[0]!.requests.map(request => request.all('x-request-deadline-ms'))
  t.ok(values.every(({ length }) => length === 1), JSON.stringify(values))
  const [a, b, c] = values.map(([value]) => Number(value)) as [number, number, number]
  t.ok(a <= 5000 && a > 3000 && b <= a - 50 && c <= b - 50 && c > 0, [a, b, c].join(' '))
})

t.test('without a total time there is no deadline header to invent, and none of the client\'s to trust', async t => {
  const { ask, ups } = await setUp(t, { scripts: [respond(200)], gateway: { deadlineHeader: 'x-request-deadline-ms' } })
  await ask()
  t.equal(ups[0]!.last.header('x-request-deadline-ms'), undefined)
})

// ---- clients that leave

t.test('a client that leaves during a try ends it, and there is no other', async t => {
  const { port, hits, ups, record } = await setUp(t, { scripts: [silent, silent], retry: { ...QUICK, attempts: 4 } })
  const client = await rawClient(t, port)
  client.send(get('/x'))
  await waitFor(() => hits()[0]! + hits()[1]! === 1)
  client.destroy()
  t.ok(await ups[0]!.dropped() && await ups[1]!.dropped())
  await sleep(100)
  t.equal(hits()[0]! + hits()[1]!, 1)
  t.same([record().aborted, record().attempts.map(({ outcome }) => outcome)], [true, ['aborted']])
})

t.test('a client that leaves during the wait ends it, and there is no other try', async t => {
  await Promise.all(([[{}, { backoff: { initial: 1000, max: 1000 } }], [{ 'Retry-After': '1' }, {}]] as const).map(async ([headers, retry]) => {
    const { port, hits, record } = await setUp(t, { scripts: [respond(503, headers)], retry: { attempts: 3, budget: false, ...retry }, gateway: { random: () => 0.99 } })
    const client = await rawClient(t, port)
    client.send(get('/x'))
    await waitFor(() => hits()[0] === 1)
    await sleep(50)
    client.destroy()
    t.ok(await waitFor(() => record().aborted))
    await sleep(1200)
    t.same(hits(), [1])
  }))
})

// ---- discarded answers

for (const connections of [1, 2]) {
  t.test(`50 discarded answers of 1 MB leave a pool of ${connections} usable`, async t => {
    const big = Buffer.alloc(1_000_000, 'x')
    const seen = new Set<string>()
    const { port, hits, app } = await setUp(t, {
      scripts: [({ request: { target } }) => {
        if (target === '/well' || seen.has(target)) return respond(200, {}, target)
        seen.add(target)
        return respond(503, {}, big)
      }],
      retry: QUICK,
      backend: { pool: { connections } }
    })
    const results = await Promise.all(Array.from({ length: 50 }, async (_, index) => await rawRequest(port, get(`/${index}`), { ms: 20_000 })))
    results.forEach(({ response }, index) => { t.same([response.status, response.text], [200, `/${index}`]) })
    t.same(hits(), [100])
    const { response, elapsed } = await rawRequest(port, get('/well'))
    t.same([response.status, response.text], [200, '/well'])
    // a second where nothing else keeps the machine busy; a wedge lasts for ever
    t.ok(elapsed < 2000, `${elapsed} ms`)
    t.ok(await waitFor(() => app.reverseproxy.registry.existing('up').targets.every(({ inflight }) => inflight === 0)))
  })
}

t.test('discarded answers that never end do not hold their connection for long', async t => {
  const { port, ups } = await setUp(t, { scripts: [({ nth }) => nth === 0 ? 'HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nsome' : respond(200)], retry: QUICK, backend: { pool: { connections: 1 } } })
  const { status, elapsed } = await rawRequest(port, get('/x'))
  t.equal(status, 200)
  t.ok(elapsed < 5000, `${elapsed} ms`)
  t.ok(await ups[0]!.dropped([ups[0]!.requests[0]!]))
})

t.test('the connection of a short discarded answer is used again', async t => {
  const { ask, ups } = await setUp(t, { scripts: [statuses(503, 503, 503, 200)], retry: { ...QUICK, attempts: 4 } })
  t.equal((await ask()).status, 200)
  t.equal(ups[0]!.connections, 1)
})

// ---- the budget

t.test('the budget bounds what failing calls send', async t => {
  const { port, hits } = await setUp(t, { scripts: [statuses(503), statuses(503)], retry: { attempts: 3, backoff: { initial: 1, max: 2 }, budget: { ratio: 0.2, min: 3, window: '1m' } } })
  for (let round = 0; round < 10; round++) {
    const results = await Promise.all(Array.from({ length: 10 }, async () => await rawRequest(port, get('/x'))))
    for (const { status } of results) if (status !== 503) t.fail(String(status))
  }
  const sum = hits()[0]! + hits()[1]!
  t.ok(sum <= 100 + 20 && sum >= 100 + 10, String(sum))
})

t.test('the default budget is 20 % and never less than 3', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503)], retry: { backoff: { initial: 1, max: 2 } } })
  for (let i = 0; i < 10; i++) await ask()
  t.same(hits(), [13])
})

t.test('a budget of nothing leaves the first tries', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503)], retry: { attempts: 5, budget: { ratio: 0, min: 0 } } })
  for (let i = 0; i < 3; i++) t.equal((await ask()).status, 503)
  t.same(hits(), [3])
})

t.test('a budget that is used up is not for ever', async t => {
  const { ask, hits } = await setUp(t, { scripts: [statuses(503)], retry: { ...QUICK, budget: { ratio: 0, min: 1, window: 200 } } })
  await ask()
  await ask()
  t.same(hits(), [3])
  await sleep(300)
  await ask()
  t.same(hits(), [5])
})

t.test('backends have budgets of their own', async t => {
  const other = await rawUpstream(t, statuses(503))
  const budget = { ratio: 0, min: 1 }
  const { port, hits } = await setUp(t, {
    scripts: [statuses(503)],
    retry: { ...QUICK, budget },
    gateway: { backends: { other: { targets: [other.url], retry: { ...QUICK, budget }, circuitBreaker: false } } },
    configure (app) { for (const name of ['up', 'other']) app.get(`/${name}`, { proxy: name, handler: app.reverseproxy.handler }) }
  })
  for (const path of ['/up', '/up', '/other', '/other']) await rawRequest(port, get(path))
  t.same([...hits(), other.requests.length], [3, 3])
})

t.test('a route\'s own budget holds', async t => {
  for (const [backend, own, tries] of [[false, { ratio: 0, min: 1 }, 6], [{ ratio: 0, min: 4 }, { min: 1 }, 6], [{ ratio: 0, min: 1 }, false, 10], [{ ratio: 0, min: 0 }, { min: 2 }, 7]] as const) {
    const { ask, hits } = await setUp(t, {
      scripts: [statuses(503)],
      retry: { ...QUICK, budget: backend },
      configure (app) { app.get('/x', { proxy: { backend: 'up', retry: { budget: own } }, handler: app.reverseproxy.handler }) }
    })
    for (let i = 0; i < 5; i++) await ask()
    t.same(hits(), [tries], JSON.stringify([backend, own]))
  }
})

// ---- composites

const PART = { retry: { attempts: 3, backoff: { initial: 1, max: 2 } } } as const

/** Failing so often, then well. */
function failing (times: number) {
  let count = 0
  return () => ++count > times ? { ok: count } : status(503)
}

async function compose (t: TestLike, composite: Record<string, unknown>, answers: Record<string, unknown>, options: Record<string, unknown> = {}) {
  const backends = await startBackends(t, answers)
  const records: RequestRecord[] = []
  const named = Object.fromEntries(Object.entries(backends.backends).map(([name, url]) => [name, { targets: [url], circuitBreaker: false, ...options }]))
  const { url, app } = await startGateway(t, { backends: named } as GatewayOptions, app => {
    app.addHook('onResponse', async request => { if (request.reverseproxy !== undefined) records.push(request.reverseproxy) })
    app.get('/c', { composite: composite as never, handler: app.reverseproxy.handler })
  })
  return { ...backends, app, records, ask: async () => await fetch(`${url}/c`), count: (name: string) => backends.asked.filter(({ backend }) => backend === name).length }
}

t.test('parts are tried again, each for itself', async t => {
  const { ask, count, records } = await compose(t, { parts: { x: { backend: 'a', required: true }, y: { backend: 'b' }, z: { backend: 'c' } } }, { a: failing(2), b: failing(1) }, PART)
  const answer = await ask()
  t.same([answer.status, answer.headers.get('x-composite-complete')], [200, 'true'])
  t.same([count('a'), count('b'), count('c')], [3, 2, 1])
  t.same(records[0]!.attempts.map(({ part }) => part).sort(), ['x', 'x', 'x', 'y', 'y', 'z'])
})

t.test('a part says what its retries are, over those of the composite', async t => {
  const { ask, count } = await compose(t, { retry: { attempts: 2, budget: false }, parts: { x: { backend: 'a', retry: { attempts: 4 } }, y: { backend: 'b' }, z: { backend: 'c', retry: false } } }, { a: status(503), b: status(503), c: status(503), d: 1 })
  await ask()
  t.same([count('a'), count('b'), count('c')], [4, 2, 1])
})

t.test('the parts of a composite share one budget', async t => {
  const parts = Object.fromEntries([...'abcdef'].map(name => [name, { backend: name }]))
  const answers = Object.fromEntries([...'abcdef'].map(name => [name, status(503)]))
  const { ask, asked } = await compose(t, { parts }, answers, { retry: { attempts: 3, backoff: { initial: 1, max: 2 }, budget: { ratio: 0, min: 2 } } })
  await ask()
  t.equal(asked.length, 6 + 2)
})

t.test('the share of a composite\'s budget is one of its own calls', async t => {
  const { ask, asked } = await compose(t, {
    parts: { list: { backend: 'a' }, each: { backend: 'b', path: '/{item}', forEach: { in: '{list.body}', concurrency: 2 } } }
  }, { a: Array.from({ length: 20 }, (_, index) => index), b: status(503) }, { retry: { attempts: 5, backoff: { initial: 1, max: 2 }, budget: { ratio: 0.2, min: 0 } } })
  await ask()
  const sum = asked.filter(({ backend }) => backend === 'b').length
  t.ok(sum >= 20 && sum <= 24, String(sum))
})

t.test('the calls of a forEach are tried again', async t => {
  const seen = new Map<string, number>()
  const { ask } = await compose(t, { parts: { list: { backend: 'a' }, each: { backend: 'b', required: true, path: '/{item}', forEach: '{list.body}' } } }, {
    a: [1, 2, 3],
    b: ({ target }: { target: string }) => {
      seen.set(target, (seen.get(target) ?? 0) + 1)
      return seen.get(target)! < 2 ? status(503) : { n: target }
    }
  }, { retry: { ...QUICK, attempts: 2 } })
  const answer = await ask()
  t.equal(answer.status, 200)
  t.same((await answer.json() as { each: unknown }).each, [{ n: '/1' }, { n: '/2' }, { n: '/3' }])
  t.same([...seen.values()], [2, 2, 2])
})

t.test('what is left of a race is not tried again', async t => {
  const { ask, count, asked, until } = await compose(t, { backends: ['a', 'b'], strategy: 'select', race: true }, { a: HOLD, b: HOLD }, { retry: { ...QUICK, attempts: 4 } })
  const answer = ask()
  await until(2)
  asked.find(({ backend }) => backend === 'b')!.answer({ b: 1 })
  t.same(await (await answer).json(), { b: 1 })
  t.ok(await waitFor(() => asked[0]!.dropped || asked[1]!.dropped))
  await sleep(50)
  t.same([count('a'), count('b')], [1, 1])
})

t.test('a part that waits for its next try is given up with the others', async t => {
  const { ask, count, until } = await compose(t, { parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } }, { a: () => status(500), b: () => json('{}', { 'x-none': '1' }), c: 1 }, { retry: { attempts: 3, budget: false, backoff: { initial: 1, max: 1 } } })
  t.equal((await ask()).status, 502)
  await until(2)
  t.same([count('a'), count('b')], [1, 1])
})

t.test('a failed required part ends the wait of another part', async t => {
  let release = (): void => {}
  const { ask, count, asked, until } = await compose(t, { parts: { x: { backend: 'a', required: true }, y: { backend: 'b' } } }, { a: HOLD, b: () => { release(); return status(503, {}, { 'retry-after': '1' }) } }, { retry: { attempts: 3, budget: false, statuses: [503] } })
  const held = new Promise<void>(resolve => { release = resolve })
  const answer = ask()
  await held
  await until(2)
  await sleep(50)
  asked.find(({ backend }) => backend === 'a')!.answer(status(500))
  t.equal((await answer).status, 502)
  await sleep(1200)
  t.same([count('a'), count('b')], [1, 1])
})
