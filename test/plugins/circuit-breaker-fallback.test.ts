/** What answers in place of a backend whose circuits are all open: an answer, another backend, a function. */
import t from 'tap'
import { ask, get, post, rawClient, rawRequest, rawUpstream, requestBytes, respond, sleep, startComposite, startGateway, waitFor } from '../helper.ts'
import type { FastifyRequest } from 'fastify'
import type { CompositeOptions } from '../../lib/options/index.ts'
import type { Configure, GatewayOptions, RawUpstream, Script, StartedGateway, TestLike, Told } from '../helper.ts'

t.jobs = 4

type Fallback = unknown

interface Scene extends StartedGateway {
  readonly up: RawUpstream
  readonly backup: RawUpstream
}

interface SetUp {
  readonly script?: Script
  /** What the other backend answers. */
  readonly backup?: Script
  /** Options of the other backend. */
  readonly other?: Readonly<Record<string, unknown>>
  readonly backend?: Readonly<Record<string, unknown>>
  readonly breaker?: Readonly<Record<string, unknown>>
  readonly gateway?: Partial<GatewayOptions>
  readonly configure?: Configure
  /** Default true: the circuit of `up` is open from the beginning. */
  readonly open?: boolean
}

const OK = respond(200, [], 'real')

/** `up` with an open circuit and a fallback, and `other`. */
async function start (t: TestLike, fallback: Fallback, { script = OK, backup = respond(200, [['Content-Type', 'text/plain']], 'backup'), other, backend, breaker, gateway, configure, open = true }: SetUp = {}): Promise<Scene> {
  const [up, second] = [await rawUpstream(t, script), await rawUpstream(t, backup)]
  const backends = {
    up: { targets: [up.url], circuitBreaker: { ...(fallback === undefined ? undefined : { fallback }), ...breaker }, ...backend },
    other: { targets: [second.url], ...other }
  }
  const started = await startGateway(t, { backends, ...gateway } as unknown as GatewayOptions, configure)
  if (open) started.app.reverseproxy.breakers.open('up')
  return Object.assign(started, { up, backup: second })
}

function code ({ value }: Told): unknown {
  return (value as { code?: unknown } | undefined)?.code
}

function stateOf ({ app }: StartedGateway, backend: string): string | undefined {
  return app.reverseproxy.breakers.get(backend)?.state
}

// ---------------------------------------------------------------- an answer

const ANSWERS: ReadonlyArray<readonly [name: string, fallback: Record<string, unknown>, status: number, type: string | undefined, body: string]> = [
  ['a text', { body: 'closed for today' }, 200, 'text/plain; charset=utf-8', 'closed for today'],
  ['a text beyond ASCII', { body: 'später – 今' }, 200, 'text/plain; charset=utf-8', 'später – 今'],
  ['an empty text', { body: '' }, 200, 'text/plain; charset=utf-8', ''],
  ['an object', { body: { items: [], total: 0 } }, 200, 'application/json', '{"items":[],"total":0}'],
  ['a list', { body: [1, 'zwei', null] }, 200, 'application/json', '[1,"zwei",null]'],
  ['a number', { body: 0 }, 200, 'application/json', '0'],
  ['false', { body: false }, 200, 'application/json', 'false'],
  ['null', { body: null }, 200, 'application/json', 'null'],
  ['a Buffer', { body: Buffer.from('bytes') }, 200, undefined, 'bytes'],
  ['a Buffer with a type', { body: Buffer.from('GIF89a'), headers: { 'Content-Type': 'image/gif' } }, 200, 'image/gif', 'GIF89a'],
  ['a text with a type', { body: '<p>', headers: { 'content-type': 'text/html' } }, 200, 'text/html', '<p>'],
  ['JSON with a type', { body: { a: 1 }, headers: { 'content-type': 'application/problem+json' } }, 200, 'application/problem+json', '{"a":1}'],
  ['an odd type', { body: 'x', headers: { 'content-type': 'text/x; a="b c"; d' } }, 200, 'text/x; a="b c"; d', 'x'],
  ['a status alone', { statusCode: 204 }, 204, undefined, ''],
  ['a 304', { statusCode: 304, headers: { etag: '"1"' } }, 304, undefined, ''],
  ['an error of one\'s own', { statusCode: 503, body: { error: 'maintenance' }, headers: { 'Retry-After': '120' } }, 503, 'application/json', '{"error":"maintenance"}'],
  ['a redirect', { statusCode: 302, headers: { Location: 'https://status.example/' } }, 302, undefined, ''],
  ['a long text', { body: 'x'.repeat(100_000) }, 200, 'text/plain; charset=utf-8', 'x'.repeat(100_000)]
]

for (const [name, fallback, status, type, body] of ANSWERS) {
  t.test(`an answer: ${name}`, async t => {
    const { port, up } = await start(t, fallback)
    const client = await rawClient(t, port)
    for (let i = 0; i < 2; i++) {
      const answer = await client.exchange(get('/x'))
      t.equal(answer.status, status)
      t.equal(answer.header('content-type'), type)
      t.equal(answer.body.toString(), body)
      t.ok(answer.complete)
      t.equal(client.malformed, undefined)
      if (status === 200) t.equal(answer.header('content-length'), String(Buffer.byteLength(body)))
    }
    // a HEAD tells the same without the body, and the connection stays in step
    const head = await client.exchange(requestBytes('HEAD', '/x'))
    t.equal(head.status, status)
    t.equal(head.header('content-type'), type)
    t.equal(head.body.length, 0)
    if (head.header('content-length') !== undefined) t.equal(head.header('content-length'), String(Buffer.byteLength(body)))
    t.equal((await client.exchange(get('/x'))).body.toString(), body)
    t.equal(client.malformed, undefined)
    t.equal(up.requests.length, 0)
  })
}

t.test('headers of an answer, as they were written', async t => {
  const { port } = await start(t, { headers: { 'X-One': '1', 'x-name': 'Zoë', 'Cache-Control': 'no-store' }, body: 'x' })
  const { response } = await rawRequest(port, get('/'))
  t.equal(response.header('x-one'), '1')
  t.equal(response.header('x-name'), 'Zoë')
  t.equal(response.header('cache-control'), 'no-store')
  t.notOk(response.headers.some(([name]) => name.toLowerCase() === 'retry-after'))
})

t.test('what the user passed may change without changing the answer', async t => {
  const body = Buffer.from('before')
  const fallback = { body, headers: { 'x-a': 'before' } }
  const { url } = await start(t, fallback)
  body.write('AFTER!')
  fallback.headers['x-a'] = 'after'
  for (let i = 0; i < 2; i++) {
    const answer = await ask(url)
    t.equal(answer.text, 'before')
    t.equal(answer.headers.get('x-a'), 'before')
  }
})

t.test('what can be no answer is refused at boot', async t => {
  const upstream = await rawUpstream(t, OK)
  const wrong: unknown[] = [{}, { statusCode: 99 }, { statusCode: 600 }, { statusCode: 100 }, { status: 200 }, { statusCode: 204, body: 'x' }, { headers: { 'content-length': '3' } },
    { headers: { 'transfer-encoding': 'chunked' } }, { headers: { 'x y': '1' } }, { headers: { x: 'a\r\nb: c' } }, { backend: 'nobody' }, { backend: 'up' }, { backend: 'other', statusCode: 200 }, 'other', 5, []]
  for (const fallback of wrong) {
    await t.rejects(startGateway(t, { backends: { up: { targets: [upstream.url], circuitBreaker: { fallback } }, other: upstream.url } } as unknown as GatewayOptions), { code: 'RP_ERR_OPTIONS' }, JSON.stringify(fallback))
  }
})

t.test('it answers only while the circuit is open', async t => {
  const { app, url, up } = await start(t, { body: 'instead' }, { script: respond(500, [], 'broken'), breaker: { failureThreshold: 2 }, open: false })
  t.same([(await ask(url)).text, (await ask(url)).text], ['broken', 'broken'])
  t.same([(await ask(url)).text, (await ask(url)).text], ['instead', 'instead'])
  t.equal(up.requests.length, 2)
  app.reverseproxy.breakers.close('up')
  up.answer(OK)
  t.equal((await ask(url)).text, 'real')
})

t.test('it does not answer while one circuit is closed', async t => {
  const second = await rawUpstream(t, OK)
  const { app, url, up } = await start(t, { body: 'instead' })
  app.reverseproxy.backends.addTarget('up', second.url)
  for (let i = 0; i < 4; i++) t.equal((await ask(url)).text, 'real')
  t.equal(up.requests.length, 0)
  app.reverseproxy.breakers.open('up')
  t.equal((await ask(url)).text, 'instead')
})

t.test('while a trial runs it answers for the others', async t => {
  const { app, url, up } = await start(t, { body: 'instead' }, { script: [], breaker: { resetTimeout: 800 } })
  t.ok(await waitFor(() => app.reverseproxy.breakers.get('up')?.state === 'half-open'))
  const trial = ask(url)
  t.ok(await waitFor(() => up.requests.length === 1))
  t.equal((await ask(url)).text, 'instead')
  up.sockets[0]!.write(OK)
  t.equal((await trial).text, 'real')
})

t.test('other 503s have no fallback', async t => {
  const fallback = { body: 'instead' }
  const passed = await start(t, fallback, { script: respond(503, [], 'mine'), open: false })
  t.equal((await ask(passed.url)).text, 'mine', 'the backend\'s own')

  const empty = await start(t, fallback, { open: false })
  empty.app.reverseproxy.backends.updateTarget('up', empty.up.url, { active: false })
  t.equal(code(await ask(empty.url)), 'RP_ERR_NO_TARGET')

  const full = await start(t, fallback, { script: [], backend: { concurrency: { max: 1, queue: 0 } }, open: false })
  const client = await rawClient(t, full.port)
  await client.send(get('/'))
  t.ok(await waitFor(() => full.up.requests.length === 1))
  t.equal(code(await ask(full.url)), 'RP_ERR_CONNECTION_LIMIT')
  full.app.reverseproxy.backends.update('up', { targets: [{ url: full.up.url, maxConnections: 1 }], circuitBreaker: { fallback } })
  t.equal(code(await ask(full.url)), 'RP_ERR_CONNECTION_LIMIT')
})

t.test('failures have no fallback', async t => {
  const { url, up } = await start(t, { body: 'instead' }, { script: respond(404, [], 'no'), open: false })
  t.equal((await ask(url)).status, 404)
  await up.stop()
  t.equal(code(await ask(url)), 'RP_ERR_CONNECT')
})

t.test('requests with bodies are answered, and the connection can go on', async t => {
  const { port } = await start(t, { body: 'instead' })
  const client = await rawClient(t, port)
  for (const body of ['', 'x'.repeat(10), 'x'.repeat(200_000), ['abc', 'def']]) {
    t.equal((await client.exchange(post('/', body))).text, 'instead')
  }
  t.equal((await client.exchange(get('/'))).text, 'instead')
})

t.test('header rules and modifyResponse apply to it', async t => {
  const { url } = await start(t, { body: 'instead', headers: { 'x-secret': '1', 'x-kept': '1' } }, {
    gateway: { headers: { response: { set: { 'x-gateway': 'yes' }, remove: ['x-secret'] } } },
    configure: app => {
      app.get('/*', { proxy: { backend: 'up', modifyResponse: draft => { draft.headers.set('x-modified', String(draft.status)) } } }, app.reverseproxy.handler)
    }
  })
  const { headers, text } = await ask(url)
  t.equal(text, 'instead')
  t.same([headers.get('x-gateway'), headers.get('x-secret'), headers.get('x-kept'), headers.get('x-modified')], ['yes', null, '1', '200'])
})

t.test('false in a backend takes away that of the gateway', async t => {
  const { url } = await start(t, false, { gateway: { circuitBreaker: { fallback: { body: 'of the gateway' } } } })
  t.equal(code(await ask(url)), 'RP_ERR_CIRCUIT_OPEN')
})

// ---------------------------------------------------------------- of a route

t.test('that of a route comes before that of its backend', async t => {
  const { url } = await start(t, { body: 'of the backend' }, {
    configure: app => {
      app.get('/own', { proxy: { backend: 'up', circuitBreaker: { fallback: { body: 'of the route' } } } }, app.reverseproxy.handler)
      app.get('/none', { proxy: { backend: 'up', circuitBreaker: { fallback: false } } }, app.reverseproxy.handler)
      app.get('/off', { proxy: { backend: 'up', circuitBreaker: false } }, app.reverseproxy.handler)
      app.get('/*', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  t.equal((await ask(`${url}/own`)).text, 'of the route')
  t.equal(code(await ask(`${url}/none`)), 'RP_ERR_CIRCUIT_OPEN')
  t.equal((await ask(`${url}/off`)).text, 'real')
  t.equal((await ask(`${url}/x`)).text, 'of the backend')
})

t.test('routes of the options have it too', async t => {
  const { url } = await start(t, undefined, {
    gateway: { routes: [{ name: 'r', path: '/r', proxy: { backend: 'up', circuitBreaker: { fallback: { statusCode: 418 } } } }] } as Partial<GatewayOptions>,
    configure: () => {}
  })
  t.equal((await ask(`${url}/r`)).status, 418)
})

t.test('reply.proxy() has that of the route and of the backend', async t => {
  const { url } = await start(t, { body: 'of the backend' }, {
    configure: app => {
      app.get('/bare', (_request, reply) => reply.proxy('up'))
      app.get('/route', { proxy: { backend: 'up', circuitBreaker: { fallback: { body: 'of the route' } } } }, (_request, reply) => reply.proxy())
      app.post('/switch', (_request, reply) => reply.proxy('up', { method: 'PUT', path: '/p', body: { a: 1 } }))
    }
  })
  t.equal((await ask(`${url}/bare`)).text, 'of the backend')
  t.equal((await ask(`${url}/route`)).text, 'of the route')
  t.equal((await ask(`${url}/switch`, { method: 'POST' })).text, 'of the backend')
})

// ---------------------------------------------------------------- another backend

t.test('another backend gets the whole request', async t => {
  const { port, up, backup } = await start(t, { backend: 'other' })
  const { response } = await rawRequest(port, post('/a/b?c=d', 'payload', [['X-Mine', '1'], ['Content-Type', 'text/x']]))
  t.equal(response.text, 'backup')
  t.equal(up.requests.length, 0)
  const { last } = backup
  t.same([last.method, last.target, last.body.toString(), last.header('x-mine'), last.header('content-type')], ['POST', '/a/b?c=d', 'payload', '1', 'text/x'])
  t.equal(last.header('host'), `127.0.0.1:${backup.port}`)
})

t.test('a body of any framing goes to the other backend', async t => {
  const { port, backup } = await start(t, { backend: 'other' })
  for (const body of ['', 'x', 'x'.repeat(500_000), ['abc', 'def', 'x'.repeat(70_000)]]) {
    const { status } = await rawRequest(port, post('/', body))
    t.equal(status, 200)
    t.equal(backup.last.body.toString(), [body].flat().join(''))
  }
  t.same(backup.malformed, [])
})

t.test('what is sent to the other backend is by its own header policy, and so is what comes back', async t => {
  const { port, backup } = await start(t, { backend: 'other' }, {
    backup: respond(200, [['X-Backup-Secret', '1'], ['X-Up-Secret', '2']], 'backup'),
    backend: { host: 'up.internal', headers: { request: { set: { 'x-key': 'of-up' }, remove: ['x-a'] }, response: { set: { 'x-by': 'up' }, remove: ['x-up-secret'] } } },
    other: { host: 'other.internal', headers: { request: { set: { 'x-other': 'yes' }, remove: ['x-b'] }, response: { set: { 'x-by': 'other' }, remove: ['x-backup-secret'] } } }
  })
  const { response } = await rawRequest(port, get('/', [['X-A', '1'], ['X-B', '1']]))
  const { last } = backup
  t.equal(last.header('x-key'), undefined, 'a key of the first backend is not shown to the second')
  t.same([last.header('x-other'), last.header('x-a'), last.header('x-b'), last.header('host')], ['yes', '1', undefined, 'other.internal'])
  t.equal(last.all('via').length, 1)
  t.equal(last.all('x-forwarded-for').length, 1)
  t.same([response.header('x-by'), response.header('x-backup-secret'), response.header('x-up-secret')], ['other', undefined, '2'])
})

t.test('modifyRequest of the route works once on what goes out', async t => {
  const { url, backup } = await start(t, { backend: 'other' }, {
    configure: app => {
      app.get('/*', { proxy: { backend: 'up', modifyRequest: draft => { draft.path = `/v1${draft.path}`; draft.headers.append('x-n', '1') } } }, app.reverseproxy.handler)
    }
  })
  t.equal((await ask(`${url}/x`)).text, 'backup')
  t.equal(backup.last.target, '/v1/x')
  t.same(backup.last.all('x-n'), ['1'])
})

t.test('headers that reply.proxy() was given go along', async t => {
  const { url, backup } = await start(t, { backend: 'other' }, {
    configure: app => { app.get('/*', (_request, reply) => reply.proxy('up', { path: '/own?q=1', headers: { 'x-own': '1' }, body: { a: 1 }, method: 'PUT' })) }
  })
  t.equal((await ask(url)).text, 'backup')
  t.same([backup.last.method, backup.last.target, backup.last.header('x-own'), backup.last.body.toString()], ['PUT', '/own?q=1', '1', '{"a":1}'])
})

t.test('the time limits of the other backend hold there', async t => {
  const { url } = await start(t, { backend: 'other' }, { backup: [], other: { timeout: { headers: 100 } } })
  const answer = await Promise.race([ask(url), sleep(4_000)])
  t.equal(answer?.status, 504)
})

t.test('the total time of the other backend holds there, and that of the call as well', async t => {
  const { url, app } = await start(t, { backend: 'other' }, { backup: [], other: { timeout: 100 } })
  t.equal((await Promise.race([ask(url), sleep(4_000)]))?.status, 504)
  app.reverseproxy.breakers.close('other')
  const own = await start(t, { backend: 'other' }, { backup: [], configure: app => { app.get('/*', (_request, reply) => reply.proxy('up', { timeout: 100 })) } })
  t.equal((await Promise.race([ask(own.url), sleep(4_000)]))?.status, 504)
})

t.test('the other backend has a circuit of its own, and may be open as well', async t => {
  const scene = await start(t, { backend: 'other' }, { backup: respond(500, [], 'broken'), other: { circuitBreaker: { failureThreshold: 2, resetTimeout: '5s' } } })
  const { url, up, backup } = scene
  t.same([(await ask(url)).status, (await ask(url)).status], [500, 500])
  t.equal(stateOf(scene, 'other'), 'open')
  const refused = await ask(url)
  t.equal(refused.status, 503)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.ok(Number(refused.headers.get('retry-after')) >= 1)
  t.same([up.requests.length, backup.requests.length], [0, 2])
})

t.test('a client that goes away during a trial of the other backend leaves its place', async t => {
  const scene = await start(t, { backend: 'other' }, { backup: [], other: { circuitBreaker: { resetTimeout: 1_200 } } })
  const { app, port, url, backup } = scene
  app.reverseproxy.breakers.open('other')
  t.ok(await waitFor(() => stateOf(scene, 'other') === 'half-open'))
  for (let i = 1; i <= 2; i++) {
    const client = await rawClient(t, port)
    await client.send(get('/'))
    t.ok(await waitFor(() => backup.requests.length === i))
    client.resetAndDestroy()
    t.ok(await backup.dropped())
  }
  backup.answer(respond(200, [], 'backup'))
  t.equal((await ask(url)).text, 'backup')
  t.equal(stateOf(scene, 'other'), 'closed')
})

t.test('two backends that stand in for each other do not go round in circles', async t => {
  const { app, url, up, backup } = await start(t, { backend: 'other' }, { other: { circuitBreaker: { fallback: { backend: 'up' } } } })
  app.reverseproxy.breakers.open('other')
  const refused = await ask(url)
  t.equal(refused.status, 503)
  t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
  t.same([up.requests.length, backup.requests.length], [0, 0])
})

t.test('another backend without targets, or one that is gone', async t => {
  const { app, url, backup } = await start(t, { backend: 'other' })
  app.reverseproxy.backends.updateTarget('other', backup.url, { active: false })
  t.equal(code(await ask(url)), 'RP_ERR_NO_TARGET')
  await app.reverseproxy.backends.remove('other')
  const gone = await ask(url)
  t.equal(gone.status, 500)
  t.notOk(gone.text.includes('other'))
})

t.test('the other backend without a breaker', async t => {
  const { url } = await start(t, { backend: 'other' }, { other: { circuitBreaker: false }, backup: respond(500, [], 'broken') })
  for (let i = 0; i < 7; i++) t.equal((await ask(url)).text, 'broken')
})

t.test('errors of the other backend name no address', async t => {
  const { url, backup } = await start(t, { backend: 'other' })
  await backup.stop()
  const answer = await ask(url)
  t.equal(answer.status, 502)
  t.equal(code(answer), 'RP_ERR_CONNECT')
  t.notOk(answer.text.includes('127.0.0.1'))
})

t.test('the other backend streams, and a client that goes away is noticed', async t => {
  const { port, backup } = await start(t, { backend: 'other' }, { backup: ['HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc'] })
  const client = await rawClient(t, port)
  await client.send(get('/'))
  t.ok(await waitFor(() => client.responses[0]?.text === 'abc'))
  client.resetAndDestroy()
  t.ok(await backup.dropped())
})

t.test('HEAD by way of the other backend', async t => {
  const { port, backup } = await start(t, { backend: 'other' }, { backup: 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n' })
  const client = await rawClient(t, port)
  const head = await client.exchange(requestBytes('HEAD', '/'))
  t.same([head.status, head.header('content-length'), head.body.length], [200, '6', 0])
  t.equal(backup.last.method, 'HEAD')
})

t.test('the places of concurrency limits are free again', async t => {
  const { app, url, backup } = await start(t, { backend: 'other' }, { backend: { concurrency: { max: 1 } }, other: { concurrency: { max: 1 } } })
  for (let i = 0; i < 5; i++) t.equal((await ask(url)).text, 'backup')
  app.reverseproxy.breakers.close('up')
  for (let i = 0; i < 5; i++) t.equal((await ask(url)).text, 'real')
  t.equal(backup.requests.length, 5)
  t.ok(await waitFor(() => app.reverseproxy.backends.list().every(({ targets }) => targets.every(({ inflight }) => inflight === 0))))
})

t.test('with retries: what the last try opened, the other backend answers', async t => {
  const { url, up, backup } = await start(t, { backend: 'other' }, {
    script: respond(503, [], ''), open: false, breaker: { failureThreshold: 1 }, backend: { retry: { attempts: 3, backoff: { initial: 1, max: 1 }, budget: false } }
  })
  const answer = await ask(url, { method: 'PUT', body: 'payload' })
  t.equal(up.requests.length, 1)
  t.equal(answer.text, 'backup')
  t.equal(backup.last.body.toString(), 'payload')
})

t.test('a redirect into an open circuit is not answered by the fallback of the backend that redirected', async t => {
  const third = await rawUpstream(t, OK)
  const { app, port, up, backup } = await start(t, { backend: 'other' }, {
    script: respond(303, [['Location', `${third.url}/there`]], ''), open: false, gateway: { redirects: 'follow' }
  })
  app.reverseproxy.backends.add('third', third.url)
  app.reverseproxy.breakers.open('third')
  const { response } = await rawRequest(port, post('/order', 'payload'))
  t.equal(response.status, 503)
  t.equal(up.requests.length, 1)
  t.equal(backup.requests.length, 0, 'the order is not placed twice')
  t.equal(third.requests.length, 0)
})

// ---------------------------------------------------------------- a function

t.test('a function gets the request and the error', async t => {
  const seen: Array<{ url: string, code: unknown, status: unknown }> = []
  const { url } = await start(t, (request: FastifyRequest, error: Error & { code?: string, statusCode?: number }) => {
    seen.push({ url: request.url, code: error.code, status: error.statusCode })
    return { statusCode: 202, headers: { 'X-From': 'function' }, body: { path: request.url } }
  })
  const { status, headers, value } = await ask(`${url}/a?b=c`)
  t.equal(status, 202)
  t.equal(headers.get('x-from'), 'function')
  t.match(headers.get('content-type'), /^application\/json/)
  t.same(value, { path: '/a?b=c' })
  t.same(seen, [{ url: '/a?b=c', code: 'RP_ERR_CIRCUIT_OPEN', status: 503 }])
})

t.test('it is not called while the circuit is closed', async t => {
  let calls = 0
  const { url } = await start(t, () => { calls++ }, { open: false })
  t.equal((await ask(url)).text, 'real')
  t.equal(calls, 0)
})

t.test('an async function', async t => {
  const { url } = await start(t, async () => {
    await sleep(20)
    return { body: 'later' }
  })
  t.equal((await ask(url)).text, 'later')
})

for (const [name, fallback] of [['nothing', () => undefined], ['a promise of nothing', async () => undefined]] as const) {
  t.test(`a function that gives ${name}: 503 after all`, async t => {
    const { url } = await start(t, fallback)
    const refused = await ask(url)
    t.equal(refused.status, 503)
    t.equal(code(refused), 'RP_ERR_CIRCUIT_OPEN')
    t.ok(refused.headers.has('retry-after'))
  })
}

for (const [name, fallback] of [
  ['throws', () => { throw new Error('mine') }],
  ['rejects', async () => { throw new Error('mine') }],
  ['throws null', () => { throw null }], // eslint-disable-line no-throw-literal
  ['throws undefined', () => { throw undefined }], // eslint-disable-line no-throw-literal
  ['throws a text', () => { throw 'text' }], // eslint-disable-line no-throw-literal
  ['rejects with nothing', () => Promise.reject()] // eslint-disable-line prefer-promise-reject-errors
] as const) {
  t.test(`a function that ${name}: 500, and the gateway lives`, async t => {
    const { app, url } = await start(t, fallback)
    t.equal((await ask(url)).status, 500)
    t.equal((await ask(url)).status, 500)
    app.reverseproxy.breakers.close('up')
    t.equal((await ask(url)).text, 'real')
  })
}

t.test('an error of the function with a status of its own', async t => {
  const { url } = await start(t, () => { throw Object.assign(new Error('Come back later'), { statusCode: 429 }) })
  t.equal((await ask(url)).status, 429)
})

t.test('the error itself, thrown again', async t => {
  const { url } = await start(t, (_request: FastifyRequest, error: Error) => { throw error })
  t.equal(code(await ask(url)), 'RP_ERR_CIRCUIT_OPEN')
})

const MADE: ReadonlyArray<readonly [name: string, made: unknown, status: number, type: RegExp | null, body: string]> = [
  ['a text', 'plain', 200, /^text\/plain/, 'plain'],
  ['a Buffer', Buffer.from('bytes'), 200, /octet-stream/, 'bytes'],
  ['an object', { items: [] }, 200, /^application\/json/, '{"items":[]}'],
  ['a list', [1, 2], 200, /^application\/json/, '[1,2]'],
  ['a status alone', { statusCode: 204 }, 204, null, ''],
  ['a body of null', { statusCode: 202, body: null }, 202, null, ''],
  ['a type of its own', { headers: { 'Content-Type': 'text/csv' }, body: 'a,b' }, 200, /^text\/csv/, 'a,b'],
  ['a wrong length', { headers: { 'Content-Length': '3' }, body: 'longer than three' }, 200, /^text\/plain/, 'longer than three'],
  ['a length without a body', { headers: { 'content-length': '5' }, statusCode: 200 }, 200, null, ''],
  ['hop-by-hop headers', { headers: { 'transfer-encoding': 'chunked', connection: 'close', 'keep-alive': 'timeout=5' }, body: 'framed' }, 200, /^text\/plain/, 'framed'],
  ['headers that are undefined', { headers: { 'x-a': undefined, 'x-b': 'b' }, body: 'x' }, 200, /^text\/plain/, 'x']
]

for (const [name, made, status, type, body] of MADE) {
  t.test(`a function that gives ${name}`, async t => {
    const { port } = await start(t, () => made)
    const client = await rawClient(t, port)
    for (const method of ['GET', 'HEAD', 'GET']) {
      const answer = await client.exchange(requestBytes(method, '/'))
      t.equal(answer.status, status)
      t.equal(answer.text, method === 'HEAD' ? '' : body)
      if (type === null) t.equal(answer.header('content-type'), undefined)
      else t.match(answer.header('content-type'), type)
      t.equal(answer.header('keep-alive')?.includes('timeout=5') ?? false, false)
      t.equal(answer.header('x-a'), undefined)
      t.ok(answer.complete)
      t.equal(client.malformed, undefined)
    }
  })
}

t.test('several cookies of a function stay several', async t => {
  const { port } = await start(t, () => ({ headers: { 'Set-Cookie': ['a=1', 'b=2'], 'x-n': 5 }, body: 'x' }))
  const { response } = await rawRequest(port, get('/'))
  t.same(response.all('set-cookie'), ['a=1', 'b=2'])
  t.equal(response.header('x-n'), '5')
})

const circular: Record<string, unknown> = {}
circular['self'] = circular
const WRONG: ReadonlyArray<readonly [name: string, make: () => unknown]> = [
  ['a status that is none', () => ({ statusCode: 99, body: 'x' })],
  ['a status beyond 599', () => ({ statusCode: 1_000 })],
  ['a status as a text', () => ({ statusCode: '200', body: 'x' })],
  ['a broken status', () => ({ statusCode: 200.5 })],
  ['a header with a line break', () => ({ headers: { 'x-a': 'a\r\nset-cookie: b' }, body: 'x' })],
  ['a header name with a space', () => ({ headers: { 'x a': '1' }, body: 'x' })],
  ['headers of null', () => ({ headers: null, body: 'x' })],
  ['headers that are a text', () => ({ headers: 'x-a: 1', body: 'x' })],
  ['headers as a list', () => ({ headers: [['x-a', '1']], body: 'x' })],
  ['a circle', () => circular],
  ['a circle as the body', () => ({ body: circular })],
  ['a BigInt', () => ({ body: 1n })],
  ['a function', () => () => {}],
  ['a symbol', () => ({ body: Symbol('x') })],
  ['a stream', () => ({ body: new ReadableStream() })]
]

for (const [name, make] of WRONG) {
  t.test(`a function that gives ${name}: a coded 500, and the gateway lives`, async t => {
    const { app, url } = await start(t, make)
    for (let i = 0; i < 2; i++) {
      const answer = await ask(url)
      t.equal(answer.status, 500)
      t.equal(code(answer), 'RP_ERR_INVALID_CALL')
      t.notOk(/stack|fallback\.ts|\/work|set-cookie/i.test(answer.text))
    }
    app.reverseproxy.breakers.close('up')
    t.equal((await ask(url)).text, 'real')
  })
}

t.test('a client that goes away while the function thinks', async t => {
  let called = 0
  const { app, port, url } = await start(t, async () => {
    called++
    await sleep(100)
    return 'late'
  })
  const client = await rawClient(t, port)
  await client.send(get('/'))
  t.ok(await waitFor(() => called === 1))
  client.resetAndDestroy()
  await sleep(150)
  t.equal((await ask(url)).text, 'late')
  app.reverseproxy.breakers.close('up')
  t.equal((await ask(url)).text, 'real')
})

t.test('the call\'s time bounds the function, too', async t => {
  const { url } = await start(t, () => new Promise(() => {}), { backend: { timeout: 100 } })
  t.equal((await Promise.race([ask(url), sleep(4_000)]))?.status, 504)
})

// ---------------------------------------------------------------- parts of composites

function parts (options: Record<string, Record<string, unknown>>, more: Partial<CompositeOptions> = {}): CompositeOptions {
  return { parts: options, ...more } as unknown as CompositeOptions
}

t.test('an answer in place of a part is as good as the part\'s', async t => {
  const { app, ask, calls } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', required: true, circuitBreaker: { fallback: { body: { list: [] } } } } }))
  app.reverseproxy.breakers.open('b')
  const answer = await ask()
  t.equal(answer.status, 200)
  t.same(answer.value, { one: { a: 1 }, two: { list: [] } })
  t.same(calls.map(call => call.slice(0, 1)), ['a'])
})

t.test('a status in place of a part counts as the part\'s', async t => {
  const { app, ask } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', required: true, circuitBreaker: { fallback: { statusCode: 404, body: { error: 'gone' } } } } }))
  app.reverseproxy.breakers.open('b')
  const answer = await ask()
  t.equal(answer.status, 404)
  t.same(answer.value, { error: 'gone' })
})

t.test('another backend in place of a part\'s', async t => {
  const { app, ask, asked } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', path: '/x?y=1', circuitBreaker: { fallback: { backend: 'c' } } } }))
  app.reverseproxy.breakers.open('b')
  t.same((await ask()).value, { one: { a: 1 }, two: { c: 1 } })
  t.same(asked.map(({ backend, target }) => `${backend} ${target}`).sort(), ['a /c/7', 'c /x?y=1'])
})

t.test('a function in place of a part\'s backend', async t => {
  const { app, ask } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', circuitBreaker: { fallback: async (request: FastifyRequest) => ({ body: { from: request.url } }) } } }))
  app.reverseproxy.breakers.open('b')
  t.same((await ask('/c/9')).value, { one: { a: 1 }, two: { from: '/c/9' } })
})

t.test('a function of a part that gives nothing leaves the part to its own fallback', async t => {
  const { app, ask } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', fallback: { mine: true }, circuitBreaker: { fallback: () => undefined } } }))
  app.reverseproxy.breakers.open('b')
  const answer = await ask()
  t.same(answer.value, { one: { a: 1 }, two: { mine: true } })
  t.equal(answer.headers.get('x-composite-complete'), 'false')
})

t.test('that of a part comes before that of the composite, and that before the backend\'s', async t => {
  const composite = parts({ one: { backend: 'a' }, two: { backend: 'b', circuitBreaker: { fallback: { body: 'part' } } } }, { circuitBreaker: { fallback: { body: 'composite' } } } as Partial<CompositeOptions>)
  const { app, ask } = await startComposite(t, composite, { gateway: { circuitBreaker: { fallback: { body: 'gateway' } } }, configure: app => { app.get('/plain', { proxy: 'a' }, app.reverseproxy.handler) } })
  app.reverseproxy.breakers.open('a')
  app.reverseproxy.breakers.open('b')
  t.equal((await ask('/plain')).text, 'gateway')
  const answer = await ask()
  // texts are no JSON
  t.equal(answer.status, 502)
  t.equal(code(answer), 'RP_ERR_NOTHING_USABLE')
})

t.test('the time of a composite bounds the function of a part', async t => {
  const { app, ask } = await startComposite(t, parts({ one: { backend: 'a' }, two: { backend: 'b', circuitBreaker: { fallback: () => new Promise(() => {}) } } }, { timeout: 600 } as Partial<CompositeOptions>))
  app.reverseproxy.breakers.open('b')
  const answer = await Promise.race([ask(), sleep(4_000)])
  t.equal(answer?.status, 200)
  t.same(answer?.value, { one: { a: 1 } })
})

t.test('a required part that fails does not wait for the function of another', async t => {
  const { app, ask } = await startComposite(t, parts({ one: { backend: 'a', required: true }, two: { backend: 'b', circuitBreaker: { fallback: () => new Promise(() => {}) } } }), { answers: { a: 500 } })
  app.reverseproxy.breakers.open('a')
  app.reverseproxy.breakers.open('b')
  const answer = await Promise.race([ask(), sleep(4_000)])
  t.equal(answer?.status, 503)
})

t.test('many requests at once while the circuit is open', async t => {
  const { url, up, backup } = await start(t, { backend: 'other' })
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(url)))
  t.same(answers.map(({ text }) => text), Array(100).fill('backup'))
  t.same([up.requests.length, backup.requests.length], [0, 100])
})
