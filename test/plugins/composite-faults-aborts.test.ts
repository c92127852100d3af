/** Calls that nobody needs any more: the client has gone, a required part has failed, another part has won the race. */
import { connect, constants } from 'node:http2'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import reverseproxy, { serverOptions } from '../../index.ts'
import { RESET, chunk, get, rawClient, rawUpstream, requestBytes, respond, sleep, startGateway, wait, waitFor } from '../helper.ts'
import { ask, collectLog, jsonAnswer, startComposites } from '../helper-composite-faults.ts'
import type { RawUpstream, Script, Step, TestLike } from '../helper.ts'
import type { CompositeOptions, Logged, PartOptions } from '../helper-composite-faults.ts'

t.jobs = 2

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
const HALF = `${HEAD}Content-Length: 100\r\n\r\n{"half":`

interface Scene extends Logged {
  readonly upstreams: Readonly<Record<string, RawUpstream>>
  readonly requests: FastifyRequest[]
}

/** Backends by name, a part for each, one route; requests are kept for their records. */
async function scene (t: TestLike, scripts: Readonly<Record<string, Script>>, options: Omit<CompositeOptions, 'parts'> = {}, parts: Readonly<Record<string, PartOptions>> = {}): Promise<Scene> {
  const upstreams: Record<string, RawUpstream> = {}
  for (const [name, script] of Object.entries(scripts)) upstreams[name] = await rawUpstream(t, script, { at: 'head' })
  const backends = Object.fromEntries(Object.entries(upstreams).map(([name, { url }]) => [name, url]))
  const all = Object.fromEntries(Object.keys(scripts).map(name => [name, { backend: name, path: `/${name}`, ...parts[name] }]))
  const log = collectLog()
  const requests: FastifyRequest[] = []
  const gateway = await startGateway(t, { backends }, app => {
    app.addHook('onRequest', async request => { requests.push(request) })
    app.reverseproxy.composite.add(['GET', 'POST'], '/', { ...options, parts: all })
  }, { logger: { level: 'warn', stream: log.stream } })
  const inflight = (): number => gateway.app.reverseproxy.backends.list().flatMap(({ targets }) => targets).reduce((sum, { inflight }) => sum + inflight, 0)
  return { ...gateway, log, requests, upstreams, inflight }
}

const attemptsOf = ({ requests }: Scene) => requests[0]!.reverseproxy!.attempts
const isQuiet = ({ log }: Scene): boolean => log.errors().length === 0

/** Promises that nobody handled, and exceptions that nobody caught, would end the process: tap fails the test then. */
async function clientLeaves (t: Test, made: Scene, { until, leave = 'destroy', request = get('/') }: { until: () => boolean, leave?: 'destroy' | 'resetAndDestroy', request?: Buffer }): Promise<void> {
  const client = await rawClient(t, made.port)
  client.send(request)
  t.ok(await waitFor(until), 'the parts are where they should be')
  const leftAt = performance.now()
  client[leave]()
  for (const [name, upstream] of Object.entries(made.upstreams)) {
    t.ok(await upstream.dropped(undefined, 1_000), `${name} sees the connection closed within a second (${Math.round(performance.now() - leftAt)})`)
  }
  t.ok(await waitFor(() => made.inflight() === 0, 1_000), 'nothing is under way')
  t.ok(isQuiet(made), 'nothing is logged as an error')
}

for (const leave of ['destroy', 'resetAndDestroy'] as const) {
  t.test(`the client leaves before any part has answered (${leave})`, async t => {
    const made = await scene(t, { a: [], b: [], c: [] }, {}, { b: { required: true }, c: { fallback: 1 } })
    await clientLeaves(t, made, { leave, until: () => ['a', 'b', 'c'].every(name => made.upstreams[name]!.requests.length === 1) })
    t.same(attemptsOf(made).map(({ outcome }) => outcome), ['aborted', 'aborted', 'aborted'])
    t.equal(made.requests[0]!.reverseproxy!.aborted, true)
    t.same(made.log.lines, [], 'nor anything at all')
  })

  t.test(`the client leaves while one part is here and others are not (${leave})`, async t => {
    const made = await scene(t, { a: jsonAnswer('{"a":1}'), b: [], c: HALF }, {}, { b: { required: true } })
    const client = await rawClient(t, made.port)
    client.send(get('/'))
    t.ok(await waitFor(() => made.requests[0]?.reverseproxy?.attempts.filter(({ status }) => status === 200).length === 2))
    client[leave]()
    t.ok(await made.upstreams.b!.dropped(undefined, 1_000))
    t.ok(await made.upstreams.c!.dropped(undefined, 1_000))
    t.ok(await waitFor(() => made.inflight() === 0, 1_000))
    t.same(attemptsOf(made).map(({ outcome }) => outcome), ['ok', 'aborted', 'aborted'])
    t.same(made.log.lines, [])
    t.equal(made.upstreams.a!.open, 1, 'the connection of the part that was through stays in the pool')
  })
}

t.test('the client leaves in mid-body of every part', async t => {
  const made = await scene(t, { a: HALF, b: `${HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n`, c: `${HEAD}\r\n{"c":` })
  await clientLeaves(t, made, { until: () => made.requests[0]?.reverseproxy?.attempts.filter(({ status }) => status === 200).length === 3 })
  t.same(attemptsOf(made).map(({ outcome }) => outcome), ['aborted', 'aborted', 'aborted'])
})

t.test('the client leaves while floods of bodies are being read', async t => {
  const endless: Script = async ({ socket, play }) => {
    await play(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
    while (!socket.destroyed) await play([chunk(' '.repeat(100)), wait(2)])
  }
  const made = await scene(t, { a: endless, b: endless })
  await clientLeaves(t, made, { until: () => made.requests[0]?.reverseproxy?.attempts.filter(({ status }) => status === 200).length === 2 })
})

t.test('nothing begins any more once the client has left: no follower, no next of a sequence, no next of forEach', async t => {
  const cases: ReadonlyArray<readonly [Omit<CompositeOptions, 'parts'>, Readonly<Record<string, PartOptions>>]> = [
    [{}, { b: { needs: ['a'] } }],
    [{ strategy: 'sequential' }, {}],
    [{ strategy: 'select' }, {}],
    [{}, { a: { forEach: { in: () => [1, 2, 3, 4], concurrency: 1 } }, b: { needs: ['a'] } }]
  ]
  for (const [options, parts] of cases) {
    const made = await scene(t, { a: [], b: jsonAnswer('{}') }, options, parts)
    const client = await rawClient(t, made.port)
    client.send(get('/'))
    t.ok(await waitFor(() => made.upstreams.a!.requests.length === 1))
    client.destroy()
    t.ok(await made.upstreams.a!.dropped(undefined, 1_000))
    await sleep(20)
    t.same([made.upstreams.a!.requests.length, made.upstreams.b!.requests.length], [1, 0])
    t.same(made.log.lines, [])
    t.ok(await waitFor(() => made.inflight() === 0))
  }
})

t.test('the client leaves while a transform is at work', async t => {
  let release = (): void => {}
  const held = new Promise<void>(resolve => { release = resolve })
  let began = false
  const made = await scene(t, { a: jsonAnswer('{}') }, { transform: async () => { began = true; await held; throw new Error('too late') } })
  const client = await rawClient(t, made.port)
  client.send(get('/'))
  t.ok(await waitFor(() => began))
  client.destroy()
  t.ok(await waitFor(() => made.requests[0]!.raw.socket.destroyed))
  release()
  await sleep(20)
  t.equal((await ask(made.url)).status, 500, 'the gateway lives')
})

t.test('the client leaves while it uploads what a part will send on', async t => {
  const made = await scene(t, { a: jsonAnswer('{}'), b: jsonAnswer('{}') }, {}, { a: { method: 'POST', body: 'client' } })
  const client = await rawClient(t, made.port)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"half":')
  t.ok(await waitFor(() => made.requests.length === 1))
  client.destroy()
  await sleep(20)
  t.same([made.upstreams.a!.requests.length, made.upstreams.b!.requests.length, made.inflight()], [0, 0, 0])
  t.ok(isQuiet(made))
})

t.test('a client on a pipelined connection takes all of its requests with it', async t => {
  const made = await scene(t, { a: [], b: [] })
  await clientLeaves(t, made, { request: Buffer.concat([get('/'), get('/')]), until: () => made.upstreams.a!.requests.length >= 1 && made.upstreams.b!.requests.length >= 1 })
})

t.test('the next client is served by the same backends at once', async t => {
  const made = await scene(t, { a: [], b: HALF })
  for (let round = 0; round < 3; round++) {
    const client = await rawClient(t, made.port)
    const before = made.upstreams.a!.requests.length
    client.send(get('/'))
    await waitFor(() => made.upstreams.a!.requests.length > before)
    client.destroy()
  }
  for (const name of ['a', 'b']) made.upstreams[name]!.answer(jsonAnswer('{}'))
  const answer = await ask(made.url)
  t.same([answer.status, answer.text, answer.headers.get('x-composite-complete')], [200, '{"a":{},"b":{}}', 'true'])
  t.ok(answer.ms < 1_000)
})

// ---- cancelled by a sibling

const failures: ReadonlyArray<readonly [name: string, script: Script, status: number]> = [
  ['is refused', respond(404, [], 'no'), 404], ['breaks', RESET, 502], ['answers 500', respond(500), 502], ['is not JSON', respond(200, [], '<html>'), 502]
]

for (const [name, script, status] of failures) {
  t.test(`a required part ${name}: its siblings are cancelled within 200 ms`, async t => {
    let failedAt = 0
    const made = await scene(t, {
      bad: async () => {
        await waitFor(() => ['silent', 'half', 'drips'].every(sibling => made.upstreams[sibling]!.requests.length === 1))
        await sleep(30)
        failedAt = performance.now()
        return script as Step
      },
      silent: [],
      half: HALF,
      drips: async ({ socket, play }) => { await play(`${HEAD}Content-Length: 100000\r\n\r\n`); while (!socket.destroyed) await play([' ', wait(10)]) }
    }, {}, { bad: { required: true }, half: { fallback: {} } })
    const answer = await ask(made.url)
    t.equal(answer.status, status)
    for (const sibling of ['silent', 'half', 'drips']) {
      const upstream = made.upstreams[sibling]!
      t.ok(await upstream.dropped(), `${sibling} is closed`)
      const after = upstream.closedAt[upstream.requests[0]!.connection]! - failedAt
      t.ok(after < 200, `${sibling}: within 200 ms (${Math.round(after)})`)
    }
    t.ok(await waitFor(() => made.inflight() === 0))
    t.same(attemptsOf(made).filter(({ part }) => part !== 'bad').map(({ outcome }) => outcome), ['aborted', 'aborted', 'aborted'])
    t.same(made.log.lines.filter(({ parts }) => parts !== undefined).map(({ parts }) => parts!.map(({ name }) => name)), [['bad']], 'the log names the part that failed, not those that were cancelled for it')
  })
}

t.test('a required part that fails keeps those from starting that would have followed', async t => {
  const made = await scene(t, { bad: [wait(30), respond(500)], slow: [], later: jsonAnswer('{}') }, {}, { bad: { required: true }, later: { needs: ['slow'] } })
  t.equal((await ask(made.url)).status, 502)
  await sleep(20)
  t.equal(made.upstreams.later!.requests.length, 0)
})

t.test('in a race the losers are cancelled, the answer is complete and nothing is in the log', async t => {
  const made = await scene(t, {
    slow: [],
    half: HALF,
    fast: async () => { await waitFor(() => made.upstreams.half!.requests.length === 1 && made.upstreams.slow!.requests.length === 1); return jsonAnswer('{"fast":1}') }
  }, { strategy: 'select', race: true })
  const answer = await ask(made.url)
  t.same([answer.status, answer.text, answer.headers.get('x-composite-complete'), answer.headers.get('cache-control')], [200, '{"fast":1}', 'true', null])
  t.ok(await made.upstreams.slow!.dropped(undefined, 1_000), 'slow is closed')
  t.ok(await made.upstreams.half!.dropped(undefined, 1_000), 'half is closed')
  t.same(made.log.lines, [])
  t.ok(await waitFor(() => made.inflight() === 0))
})

t.test('in a race a failure does not win, and if all fail the answer is an error', async t => {
  const late: Script = [wait(50), jsonAnswer('{"late":1}')]
  const made = await scene(t, { bad: respond(500), worse: RESET, late }, { strategy: 'select', race: true })
  const answer = await ask(made.url)
  t.same([answer.status, answer.text], [200, '{"late":1}'])
  made.upstreams.late!.answer(respond(503))
  t.match(JSON.parse((await ask(made.url)).text), { statusCode: 502, code: 'RP_ERR_NOTHING_USABLE' })
})

t.test('select asks one after the other, and no more once it has an answer', async t => {
  const made = await scene(t, { bad: respond(500), good: jsonAnswer('{"good":1}'), never: jsonAnswer('{}') }, { strategy: 'select' })
  t.equal((await ask(made.url)).text, '{"good":1}')
  t.same([made.upstreams.bad!.requests.length, made.upstreams.good!.requests.length, made.upstreams.never!.requests.length], [1, 1, 0])
})

t.test('a composite over its time cancels what is running', async t => {
  const made = await scene(t, { a: [], b: HALF, c: jsonAnswer('{"c":1}') }, { timeout: 200 }, Object.fromEntries(['a', 'b', 'c'].map(name => [name, { timeout: { headers: 0 } }])))
  const answer = await ask(made.url)
  t.same([answer.status, answer.text, answer.headers.get('x-composite-complete')], [200, '{"c":{"c":1}}', 'false'])
  t.ok(answer.ms < 1_500)
  t.ok(await made.upstreams.a!.dropped(undefined, 1_000))
  t.ok(await made.upstreams.b!.dropped(undefined, 1_000))
})

t.test('HEAD is cancelled like GET', async t => {
  const made = await startComposites(t, { a: (await rawUpstream(t, [])).url }, { '/': { parts: { a: { backend: 'a', path: '/' } } } })
  const client = await rawClient(t, made.port)
  client.send(requestBytes('HEAD', '/'))
  t.ok(await waitFor(() => made.inflight() === 1))
  client.destroy()
  t.ok(await waitFor(() => made.inflight() === 0, 1_000))
})

for (const leave of ['its stream', 'its connection'] as const) {
  t.test(`a client of HTTP/2 that closes ${leave} ends the parts`, async t => {
    const up = await rawUpstream(t, [])
    const app = Fastify({ ...serverOptions, http2: true } as never) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(reverseproxy, { backends: { up: up.url } })
    const requests: FastifyRequest[] = []
    app.addHook('onRequest', async request => { requests.push(request) })
    app.reverseproxy.composite.add('GET', '/', { parts: { a: { backend: 'up', path: '/a', required: true }, b: { backend: 'up', path: '/b' } } })
    const session = connect(await app.listen({ port: 0, host: '127.0.0.1' }))
    t.teardown(() => { session.destroy() })
    const stream = session.request({ ':path': '/' }).on('error', () => {}).resume()
    t.ok(await waitFor(() => up.requests.length === 2))
    if (leave === 'its stream') stream.close(constants.NGHTTP2_CANCEL)
    else session.destroy()
    t.ok(await up.dropped(undefined, 1_000))
    t.same(requests[0]!.reverseproxy!.attempts.map(({ outcome }) => outcome), ['aborted', 'aborted'])
  })
}
