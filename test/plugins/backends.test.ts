/** Backends and targets: choice, limits, changes at run time. */
import t from 'tap'
import Fastify from 'fastify'
import reverseproxy from '../../index.ts'
import { httpUpstream, startGateway, waitFor } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { ServerResponse } from 'node:http'
import type { BalancerFactory } from '../../index.ts'
import type { TestLike } from '../helper.ts'

/** An upstream that answers with its own name. */
function named (t: TestLike, name: string) {
  return httpUpstream(t, (_request, response) => { response.end(name) })
}

/** An upstream whose answers wait until they are let go. */
async function held (t: TestLike) {
  const waiting: ServerResponse[] = []
  const upstream = await httpUpstream(t, (_request, response) => { waiting.push(response) })
  return { ...upstream, waiting, letGo: () => { for (const response of waiting.splice(0)) response.end('done') } }
}

async function ask (url: string, times: number): Promise<string[]> {
  const answers: string[] = []
  for (let i = 0; i < times; i++) answers.push(await (await fetch(`${url}/x`)).text())
  return answers
}

function count (answers: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1
  return counts
}

t.test('requests rotate over the targets', async t => {
  const [a, b, c] = await Promise.all([named(t, 'a'), named(t, 'b'), named(t, 'c')])
  const { url } = await startGateway(t, { backends: { up: [a.url, b.url, c.url] } })
  t.same(await ask(url, 6), ['a', 'b', 'c', 'a', 'b', 'c'])
})

t.test('weights are kept exactly, and weight 0 receives nothing', async t => {
  const [a, b, c] = await Promise.all([named(t, 'a'), named(t, 'b'), named(t, 'c')])
  const { url } = await startGateway(t, {
    backends: { up: { targets: [{ url: a.url, weight: 3 }, { url: b.url, weight: 1 }, { url: c.url, weight: 0 }], balancer: 'weighted-round-robin' } }
  })
  t.same(count(await ask(url, 16)), { a: 12, b: 4 })
})

t.test('a target that is not active receives nothing until it is', async t => {
  const [a, b] = await Promise.all([named(t, 'a'), named(t, 'b')])
  const { url, app } = await startGateway(t, { backends: { up: [a.url, { url: b.url, active: false, metadata: { zone: 'z' } }] } })
  t.same(count(await ask(url, 4)), { a: 4 })
  app.reverseproxy.backends.updateTarget('up', b.url, { active: true, weight: 2 })
  t.same(count(await ask(url, 4)), { a: 2, b: 2 })
  t.match(app.reverseproxy.backends.get('up')?.targets[1], { url: b.url, state: 'active', weight: 2, metadata: { zone: 'z' }, started: 2, inflight: 0 })
})

t.test('maxConnections sends to the next target, and answers 503 when all are full', async t => {
  const [a, b] = await Promise.all([held(t), held(t)])
  const { url } = await startGateway(t, { backends: { up: { targets: [{ url: a.url, maxConnections: 1 }, { url: b.url, maxConnections: 1 }] } } })
  const first = fetch(url)
  const second = fetch(url)
  t.ok(await waitFor(() => a.waiting.length === 1 && b.waiting.length === 1))
  const third = await fetch(url)
  t.equal(third.status, 503)
  t.match(await third.json(), { statusCode: 503, code: 'RP_ERR_CONNECTION_LIMIT' })
  a.letGo()
  t.equal(await (await first).text(), 'done')
  const fourth = fetch(url)
  t.ok(await waitFor(() => a.waiting.length === 1), 'the free slot is used')
  a.letGo()
  b.letGo()
  t.same([(await second).status, (await fourth).status], [200, 200])
})

t.test('least-connections prefers the target with fewer requests running', async t => {
  const [a, b] = await Promise.all([held(t), named(t, 'b')])
  const { url } = await startGateway(t, { backends: { up: { targets: [a.url, b.url], balancer: 'least-connections' } } })
  const slow: Array<Promise<Response>> = []
  while (a.waiting.length === 0) {
    slow.push(fetch(url))
    await waitFor(() => a.waiting.length > 0, 100)
  }
  t.same(await ask(url, 5), ['b', 'b', 'b', 'b', 'b'])
  a.letGo()
  await Promise.all(slow)
})

t.test('a hash over a header keeps a user on one target, and a lost target moves only its users', async t => {
  const ups = await Promise.all(['a', 'b', 'c'].map(name => named(t, name)))
  const { url, app } = await startGateway(t, { backends: { up: { targets: ups.map(up => up.url), balancer: { type: 'hash', key: { header: 'x-user' } } } } })
  const users = Array.from({ length: 40 }, (_, i) => `user-${i}`)
  const place = async (): Promise<string[]> => await Promise.all(users.map(async user => await (await fetch(url, { headers: { 'x-user': user } })).text()))
  const before = await place()
  t.equal(new Set(before).size, 3)
  t.same(await place(), before)
  await app.reverseproxy.backends.removeTarget('up', ups[1]!.url)
  const after = await place()
  before.forEach((name, i) => { if (name !== 'b') t.equal(after[i], name) })
  t.notOk(after.includes('b'))
})

t.test('a balancer of the user\'s own is used by name', async t => {
  const [a, b] = await Promise.all([named(t, 'a'), named(t, 'b')])
  const last: BalancerFactory = () => ({ pick: targets => targets[targets.length - 1] })
  const { url } = await startGateway(t, { balancers: { last }, backends: { up: { targets: [a.url, b.url], balancer: 'last' } } })
  t.same(await ask(url, 3), ['b', 'b', 'b'])
})

t.test('a balancer that throws or chooses something else costs the request a coded 500 only', async t => {
  const a = await named(t, 'a')
  let mode = 0
  const odd: BalancerFactory = () => ({
    pick (targets) {
      if (mode === 0) throw new Error('odd')
      return mode === 1 ? { ...targets[0]! } : mode === 2 ? undefined : targets[0]
    }
  })
  const b = await named(t, 'b')
  const { url } = await startGateway(t, { balancers: { odd }, backends: { up: { targets: [a.url, b.url], balancer: 'odd' } } })
  const codes: unknown[] = []
  for (mode = 0; mode < 3; mode++) codes.push((await (await fetch(url)).json() as { code: string }).code)
  t.same(codes, ['RP_ERR_BALANCER', 'RP_ERR_BALANCER', 'RP_ERR_NO_TARGET'])
  t.equal(await (await fetch(url)).text(), 'a')
})

t.test('a backend without targets answers 503, and works once it has one', async t => {
  const a = await named(t, 'a')
  const { url, app } = await startGateway(t, { backends: { up: { targets: [{ url: a.url, active: false }] } } })
  t.match(await (await fetch(url)).json(), { statusCode: 503, code: 'RP_ERR_NO_TARGET' })
  const b = await named(t, 'b')
  app.reverseproxy.backends.addTarget('up', b.url)
  t.equal(await (await fetch(url)).text(), 'b')
  t.throws(() => app.reverseproxy.backends.addTarget('up', { url: `${b.url}/` }), { code: 'RP_ERR_OPTIONS' })
})

t.test('a drained target gets no new requests, finishes the running ones, and then its connections close', async t => {
  const a = await held(t)
  const b = await named(t, 'b')
  const connections = new Set<unknown>()
  a.server.on('connection', socket => { connections.add(socket); socket.on('close', () => connections.delete(socket)) })
  const { url, app } = await startGateway(t, { backends: { up: [a.url, b.url] } })
  const running = fetch(url)
  t.ok(await waitFor(() => a.waiting.length === 1))
  let drained = false
  const done = app.reverseproxy.backends.drain('up', a.url).then(() => { drained = true })
  t.same(count(await ask(url, 4)), { b: 4 })
  t.equal(app.reverseproxy.backends.get('up')?.targets[0]?.state, 'draining')
  t.notOk(drained)
  a.letGo()
  t.equal(await (await running).text(), 'done')
  await done
  t.ok(await waitFor(() => connections.size === 0), 'the pool is closed')
  app.reverseproxy.backends.updateTarget('up', a.url, { active: true })
  const back = [fetch(url), fetch(url)]
  t.ok(await waitFor(() => a.waiting.length === 1), 'and it can come back')
  a.letGo()
  await Promise.all(back)
})

t.test('an update keeps what stays, drains what goes, and starts what comes', async t => {
  const [a, b, c] = await Promise.all([named(t, 'a'), named(t, 'b'), named(t, 'c')])
  const { url, app } = await startGateway(t, { backends: { up: [a.url, b.url] } })
  await ask(url, 4)
  app.reverseproxy.backends.update('up', { targets: [b.url, c.url], balancer: 'round-robin' })
  t.same(count(await ask(url, 4)), { b: 2, c: 2 })
  const view = app.reverseproxy.backends.get('up')
  t.same(view?.targets.map(target => [target.url, target.started]), [[b.url, 4], [c.url, 2]])
})

t.test('backends come and go at run time', async t => {
  const a = await named(t, 'a')
  const { app, url } = await startGateway(t, { backends: { up: a.url } }, app => {
    app.get('/late', async (_request, reply) => reply.proxy('late'))
  })
  t.equal((await fetch(`${url}/late`)).status, 500)
  app.reverseproxy.backends.add('late', { url: a.url })
  t.equal(await (await fetch(`${url}/late`)).text(), 'a')
  t.same(app.reverseproxy.backends.list().map(({ name }) => name), ['up', 'late'])
  await app.reverseproxy.backends.remove('late')
  t.equal((await fetch(`${url}/late`)).status, 500)
  t.equal(app.reverseproxy.backends.get('late'), undefined)
})

t.test('wrong names and options at run time are refused and change nothing', async t => {
  const a = await named(t, 'a')
  const { app } = await startGateway(t, { backends: { up: a.url } })
  const { backends } = app.reverseproxy
  const before = JSON.stringify(backends.list())
  t.throws(() => backends.add('up', a.url), RangeError)
  t.throws(() => backends.add('', a.url), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => backends.add('b c', a.url), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => backends.add('x', { targets: [a.url], balancer: 'nonsense' }), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => backends.update('nope', a.url), /no backend "nope"/)
  t.throws(() => backends.update('up', { targets: ['ftp://x'] }), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => backends.updateTarget('up', a.url, { weight: -1 }), { code: 'RP_ERR_OPTIONS' })
  t.throws(() => backends.updateTarget('up', 'http://127.0.0.1:1', {}), /no target/)
  await t.rejects(backends.remove('nope'), RangeError)
  await t.rejects(backends.drain('up', 'http://127.0.0.1:1'), RangeError)
  t.equal(JSON.stringify(backends.list()), before)
})

t.test('base paths are joined', async t => {
  const up = await httpUpstream(t, (request, response) => { response.end(request.url) })
  const { url } = await startGateway(t, { backends: { up: `${up.url}/base/` } })
  t.equal(await (await fetch(`${url}/x?y=1`)).text(), '/base/x?y=1')
  t.equal(await (await fetch(`${url}/`)).text(), '/base/')
})

t.test('two gateways live side by side in one process and share nothing', async t => {
  const [a, b] = await Promise.all([named(t, 'a'), named(t, 'b')])
  const app = Fastify()
  const scope = (url: string) => async (scoped: FastifyInstance) => {
    await scoped.register(reverseproxy, { backends: { up: url }, headers: { via: 'one' } })
    scoped.get('/x', { proxy: 'up' }, scoped.reverseproxy.handler)
  }
  await app.register(scope(a.url), { prefix: '/a' })
  await app.register(scope(b.url), { prefix: '/b' })
  t.teardown(() => app.close())
  t.equal((await app.inject('/a/x')).body, 'a')
  t.equal((await app.inject('/b/x')).body, 'b')
  t.equal((await app.inject('/a/x')).body, 'a')
})
