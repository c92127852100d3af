/** Passive health: targets that fail real requests are ejected for a while. A real gateway with real backends. */
import t from 'tap'
import { closedPort, get, httpUpstream, rawClient, rawUpstream, RESET, seededRandom, sleep, startGateway, waitFor, askTimes } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { RequestListener } from 'node:http'
import type { HealthView } from '../../plugins/health.ts'
import type { Configure, GatewayOptions, StartedGateway, TestLike } from '../helper.ts'

/** A backend that answers with its name, or as the test says. */
interface Backend {
  readonly url: string
  hits: number
  /** Status of its answers. */
  status: number
  answer: RequestListener | undefined
}

async function backend (t: TestLike, name: string, status = 200): Promise<Backend> {
  const self: Backend = { url: '', hits: 0, status, answer: undefined }
  const { url } = await httpUpstream(t, (request, response) => {
    self.hits++
    if (self.answer !== undefined) self.answer(request, response)
    else {
      response.statusCode = self.status
      response.end(name)
    }
  })
  return Object.assign(self, { url })
}

function start (t: TestLike, targets: unknown, outlier: unknown, more: Record<string, unknown> = {}, options: Partial<GatewayOptions> = {}, configure?: Configure): Promise<StartedGateway> {
  return startGateway(t, { ...options, backends: { up: { targets: [targets].flat(), circuitBreaker: false, outlier, ...more } } } as GatewayOptions, configure)
}

function view (app: FastifyInstance, url: string): HealthView {
  const found = app.reverseproxy.health.status('up').find(({ target }) => target === url)
  if (found === undefined) throw new Error(`there is no ${url}`)
  return found
}

function ejected (app: FastifyInstance): number {
  return app.reverseproxy.health.status('up').filter(({ reason }) => reason === 'ejected').length
}

const LONG = { baseEjection: '1h', maxEjection: '10h' }

t.test('without the option nobody is ejected', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url } = await start(t, [a.url, b.url], false)
  t.same(await askTimes(url, 40), { 500: 20, b: 20 })
})

t.test('true is five failures in a row', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], true)
  t.same(await askTimes(url, 40), { 500: 5, b: 35 })
  t.match(view(app, a.url), { healthy: false, reason: 'ejected', check: undefined })
  const { ejectedFor } = view(app, a.url)
  t.ok(ejectedFor! > 20_000 && ejectedFor! <= 30_000, `${ejectedFor} ms`)
  t.match(view(app, b.url), { healthy: true, reason: undefined, ejectedFor: undefined })
})

t.test('consecutive: so many failures in a row, and no fewer', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 503), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 3, ...LONG })
  await askTimes(url, 4)
  t.equal(ejected(app), 0, 'two are not enough')
  a.status = 200
  await askTimes(url, 2)
  a.status = 503
  await askTimes(url, 4)
  t.equal(ejected(app), 0, 'a good answer begins the row anew')
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  t.same(await askTimes(url, 10), { b: 10 })
})

t.test('whatever goes wrong at a backend counts: refused, reset, no HTTP, no answer in time, a wrong certificate', async t => {
  const good = await backend(t, 'good')
  const faults = {
    refused: `http://127.0.0.1:${await closedPort()}`,
    reset: (await rawUpstream(t, RESET)).url,
    garbage: (await rawUpstream(t, 'this is not HTTP\r\n\r\n')).url,
    'too slow': (await rawUpstream(t, () => undefined)).url,
    'no TLS': (await rawUpstream(t, RESET)).url.replace('http:', 'https:')
  }
  for (const [name, url] of Object.entries(faults)) {
    const gateway = await start(t, [url, good.url], { consecutive: 2, ...LONG }, { timeout: { connect: 250, headers: 250 } })
    await askTimes(gateway.url, 4)
    t.match(view(gateway.app, url), { reason: 'ejected' }, name)
    t.same(await askTimes(gateway.url, 4), { good: 4 }, name)
  }
})

t.test('outcomes: only what is listed counts', async t => {
  const [a, b, c] = await Promise.all([backend(t, 'a', 500), backend(t, 'b'), backend(t, 'c')])
  c.answer = (_request, response) => { response.destroy() }
  const { url, app } = await start(t, [a.url, b.url, c.url], { consecutive: 2, outcomes: ['reset'], ...LONG })
  await askTimes(url, 24)
  t.same([view(app, a.url).reason, view(app, b.url).reason, view(app, c.url).reason], [undefined, undefined, 'ejected'])
})

t.test('4xx never count', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 404), backend(t, 'b', 429)])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, failureRate: 1, minVolume: 1, ...LONG })
  t.same(await askTimes(url, 20), { 404: 10, 429: 10 })
  t.equal(ejected(app), 0)
})

t.test('clients that go away never count: before the answer, and in its body', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  for (const begin of [false, true]) {
    for (const one of [a, b]) one.answer = (_request, response) => { if (begin) response.write('begin') }
    const { app, port } = await start(t, [a.url, b.url], { consecutive: 1, failureRate: 1, minVolume: 1, ...LONG })
    for (let n = 0; n < 8; n++) {
      const before = a.hits + b.hits
      const client = await rawClient(t, port)
      client.send(get('/'))
      t.ok(await waitFor(() => a.hits + b.hits > before && (!begin || client.responses.length > 0)))
      client.resetAndDestroy()
    }
    t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets.every(({ inflight }) => inflight === 0)))
    t.equal(ejected(app), 0)
  }
})

t.test('what never left does not count: full targets, open circuits', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url].map(url => ({ url, maxConnections: 1 })), { consecutive: 1, failureRate: 1, minVolume: 1, ...LONG }, { circuitBreaker: true })
  app.reverseproxy.breakers.open('up')
  t.same(await askTimes(url, 6), { 503: 6 })
  app.reverseproxy.breakers.close('up')
  t.equal(ejected(app), 0)
  t.same(await askTimes(url, 4), { a: 2, b: 2 })
})

t.test('failureRate: a share of failures, once there are minVolume outcomes', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  a.answer = (_request, response) => { response.writeHead(a.hits % 2 === 1 ? 500 : 200).end('a') }
  const { url, app } = await start(t, [a.url, b.url], { consecutive: false, failureRate: 50, minVolume: 10, window: '1h', ...LONG })
  await askTimes(url, 18)
  t.equal(a.hits, 9)
  t.equal(ejected(app), 0, 'five of nine are more than half, but nine are too few')
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
})

t.test('failureRate: a smaller share ejects nobody', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  a.answer = (_request, response) => { response.writeHead(a.hits % 3 === 0 ? 500 : 200).end('a') }
  const { url, app } = await start(t, [a.url, b.url], { consecutive: false, failureRate: 50, minVolume: 5, window: '1h', ...LONG })
  await askTimes(url, 60)
  t.equal(ejected(app), 0)
})

t.test('an ejection ends by itself, without checks and without traffic to the target', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, baseEjection: 300, maxEjection: 1000 })
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  a.status = 200
  t.same(await askTimes(url, 4), { b: 4 })
  t.ok(await waitFor(() => ejected(app) === 0))
  t.same(await askTimes(url, 10), { a: 5, b: 5 })
})

t.test('each ejection in a row is longer, up to maxEjection', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, baseEjection: 400, maxEjection: 1000 })
  const longest: number[] = []
  for (let n = 0; n < 4; n++) {
    await askTimes(url, 2)
    const { reason, ejectedFor } = view(app, a.url)
    t.equal(reason, 'ejected')
    longest.push(ejectedFor!)
    t.ok(await waitFor(() => ejected(app) === 0))
  }
  t.ok(longest[0]! <= 400, longest.join(' '))
  t.ok(longest[1]! > 400 && longest[1]! <= 800, longest.join(' '))
  t.ok(longest[2]! > 800 && longest[2]! <= 1000, longest.join(' '))
  t.ok(longest[3]! <= 1000, longest.join(' '))
})

t.test('maxEjectedPercent: no more of the targets are out at once', async t => {
  const targets = await Promise.all([...'abcd'].map(name => backend(t, name, 500)))
  const { url, app } = await start(t, targets.map(({ url }) => url), { consecutive: 1, maxEjectedPercent: 50, ...LONG })
  t.same(await askTimes(url, 20), { 500: 20 }, 'the others are asked')
  t.equal(ejected(app), 2)
})

t.test('maxEjectedPercent: one may always be out', async t => {
  const targets = await Promise.all([...'abc'].map(name => backend(t, name, 500)))
  const { url, app } = await start(t, targets.map(({ url }) => url), { consecutive: 1, maxEjectedPercent: 10, ...LONG })
  await askTimes(url, 12)
  t.equal(ejected(app), 1)
})

t.test('maxEjectedPercent: 100 may leave nobody', async t => {
  const targets = await Promise.all([...'ab'].map(name => backend(t, name, 500)))
  const { url, app } = await start(t, targets.map(({ url }) => url), { consecutive: 1, maxEjectedPercent: 100, ...LONG })
  t.same(await askTimes(url, 2), { 500: 2 })
  t.equal(ejected(app), 2)
  const answer = await fetch(url)
  t.equal(answer.status, 503)
  t.match(await answer.json(), { code: 'RP_ERR_NO_TARGET' })
  t.same(targets.map(({ hits }) => hits), [1, 1])
})

t.test('the only target is not ejected', async t => {
  const a = await backend(t, 'a', 500)
  const { url, app } = await start(t, a.url, { consecutive: 1, ...LONG })
  t.same(await askTimes(url, 10), { 500: 10 })
  t.equal(ejected(app), 0)
})

t.test('the only target that is left in service is not ejected: others were drained, switched off, have no weight', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const off = {
    drained: [b.url, (app: FastifyInstance) => app.reverseproxy.backends.drain('up', b.url)],
    'switched off': [b.url, (app: FastifyInstance) => { app.reverseproxy.backends.updateTarget('up', b.url, { active: false }) }],
    'switched off from the beginning': [{ url: b.url, active: false }, () => {}],
    'without weight': [{ url: b.url, weight: 0 }, () => {}],
    'without weight now': [b.url, (app: FastifyInstance) => { app.reverseproxy.backends.updateTarget('up', b.url, { weight: 0 }) }]
  } as const
  for (const [name, [target, act]] of Object.entries(off)) {
    const { url, app } = await start(t, [a.url, target], { consecutive: 1, ...LONG })
    await act(app)
    t.same(await askTimes(url, 5), { 500: 5 }, name)
    t.equal(ejected(app), 0, name)
  }
})

t.test('a target that has weight again counts again', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, { url: b.url, weight: 0 }], { consecutive: 1, ...LONG })
  t.same(await askTimes(url, 3), { 500: 3 })
  app.reverseproxy.backends.updateTarget('up', b.url, { weight: 1 })
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  t.same(await askTimes(url, 4), { b: 4 })
})

t.test('a target that is added or removed changes how many may be out', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, a.url, { consecutive: 1, ...LONG })
  await askTimes(url, 3)
  t.equal(ejected(app), 0)
  app.reverseproxy.backends.addTarget('up', b.url)
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  t.same(await askTimes(url, 3), { b: 3 })
  await app.reverseproxy.backends.removeTarget('up', b.url)
  t.equal(ejected(app), 0, 'the last one is back')
  t.same(await askTimes(url, 3), { 500: 3 })
})

t.test('an update that says the same ends no ejection', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const outlier = { consecutive: 2, ...LONG }
  const { url, app } = await start(t, [a.url, b.url], outlier)
  await askTimes(url, 4)
  t.equal(ejected(app), 1)
  app.reverseproxy.backends.update('up', { targets: [a.url, { url: b.url, weight: 5 }], circuitBreaker: false, outlier })
  t.equal(ejected(app), 1)
  t.same(await askTimes(url, 5), { b: 5 })
})

t.test('an update that exchanges the other targets ends no ejection', async t => {
  const [a, b, c, d] = await Promise.all([backend(t, 'a', 500), backend(t, 'b'), backend(t, 'c'), backend(t, 'd')])
  const outlier = { consecutive: 1, ...LONG }
  const { url, app } = await start(t, [a.url, b.url], outlier)
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  app.reverseproxy.backends.update('up', { targets: [a.url, c.url, d.url], circuitBreaker: false, outlier })
  t.equal(ejected(app), 1)
  t.same(await askTimes(url, 4), { c: 2, d: 2 })
})

t.test('an update that makes a target anew watches it like any other', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  const outlier = { consecutive: 2, ...LONG }
  const { url, app } = await start(t, [a.url, b.url], outlier)
  await askTimes(url, 4)
  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], circuitBreaker: false, outlier, pool: { connections: 7 } })
  a.status = 500
  await askTimes(url, 4)
  t.equal(ejected(app), 1)
})

t.test('other options begin anew, and false ends it', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, ...LONG })
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], circuitBreaker: false, outlier: { consecutive: 3, ...LONG } })
  t.equal(ejected(app), 0)
  await askTimes(url, 4)
  t.equal(ejected(app), 0)
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], circuitBreaker: false })
  t.same(await askTimes(url, 10), { 500: 5, b: 5 })
})

t.test('requests under way at an ejected target are finished', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, ...LONG })
  let finish: (() => void) | undefined
  a.answer = (_request, response) => {
    if (finish === undefined) finish = () => { response.end('finished') }
    else response.writeHead(500).end()
  }
  const first = fetch(url)
  t.ok(await waitFor(() => finish !== undefined))
  await askTimes(url, 3)
  t.equal(ejected(app), 1)
  finish!()
  t.equal(await (await first).text(), 'finished')
  t.equal(ejected(app), 1, 'a late good answer brings nobody back')
})

t.test('two backends with the same target judge it each by its own requests', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  a.answer = ({ url }, response) => { response.writeHead(url === '/one' ? 500 : 200).end('a') }
  const { url, app } = await startGateway(t, { circuitBreaker: false, outlier: { consecutive: 1, ...LONG }, backends: { one: [a.url, b.url], up: [a.url, b.url] } } as GatewayOptions, app => {
    for (const name of ['one', 'up']) app.get(`/${name}`, { proxy: { backend: name } }, app.reverseproxy.handler)
  })
  for (let n = 0; n < 4; n++) await (await fetch(`${url}/one`)).text()
  t.same(app.reverseproxy.health.status('one').map(({ reason }) => reason), ['ejected', undefined])
  for (let n = 0; n < 4; n++) t.equal((await fetch(`${url}/up`)).status, 200)
  t.equal(ejected(app), 0)
})

t.test('the calls of composite parts count, and those that lose a race do not', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 500), backend(t, 'b')])
  b.answer = (_request, response) => { response.setHeader('content-type', 'application/json').end('{"b":1}') }
  const outlier = { consecutive: 2, ...LONG }
  const { url, app } = await start(t, [a.url, b.url], outlier, {}, {}, app => {
    app.get('/all', { composite: { strategy: 'merge', parts: { one: { backend: 'up', path: '/1' }, two: { backend: 'up', path: '/2' } } } }, app.reverseproxy.handler)
    app.get('/race', { composite: { strategy: 'select', race: true, parts: { one: { backend: 'up', path: '/1' }, two: { backend: 'up', path: '/2' } } } } as never, app.reverseproxy.handler)
  })
  await (await fetch(`${url}/all`)).text()
  t.equal(ejected(app), 0)
  await (await fetch(`${url}/all`)).text()
  t.match(view(app, a.url), { reason: 'ejected' })
  t.match((await fetch(`${url}/all`)).headers.get('x-composite-complete'), 'true')

  app.reverseproxy.backends.update('up', { targets: [a.url, b.url], circuitBreaker: false, outlier: { consecutive: 1, ...LONG } })
  // never answers: it loses every race
  a.answer = () => {}
  for (let n = 0; n < 6; n++) t.equal((await fetch(`${url}/race`)).status, 200)
  t.ok(await waitFor(() => app.reverseproxy.backends.get('up')!.targets.every(({ inflight }) => inflight === 0)))
  t.equal(ejected(app), 0)
})

t.test('each try of a call counts', async t => {
  const [a, b] = await Promise.all([backend(t, 'a', 503), backend(t, 'b')])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 3, ...LONG }, { retry: { attempts: 2, backoff: { initial: 1, max: 1 }, budget: false } })
  t.same(await askTimes(url, 12), { b: 12 })
  t.equal(a.hits, 3)
  t.equal(ejected(app), 1)
})

t.test('checks that succeed do not bring an ejected target back, nor do checks that fail keep it out', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  let well = true
  a.answer = ({ url }, response) => { response.writeHead(url === '/health' ? (well ? 200 : 500) : 500).end() }
  const { url, app } = await start(t, [{ url: a.url, health: { path: '/health', interval: 10, jitter: 0, rise: 1, fall: 1 } }, b.url], { consecutive: 1, baseEjection: 500, maxEjection: 1000 })
  await askTimes(url, 2)
  t.equal(view(app, a.url).reason, 'ejected')
  await sleep(60)
  t.equal(view(app, a.url).reason, 'ejected')
  well = false
  t.ok(await waitFor(() => view(app, a.url).reason === 'unhealthy'))
  well = true
  t.ok(await waitFor(() => view(app, a.url).healthy))
})

t.test('slow start: a target that comes back from an ejection gets few requests first', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b', 500)])
  const { url, app } = await start(t, [a.url, b.url], { consecutive: 1, baseEjection: 50, maxEjection: 100 }, { slowStart: { window: '1h', initial: 0.1 } }, { random: seededRandom(5) })
  await askTimes(url, 2)
  t.equal(ejected(app), 1)
  b.status = 200
  t.ok(await waitFor(() => ejected(app) === 0))
  t.match(view(app, b.url), { healthy: true, reason: 'warming' })
  const before = b.hits
  await askTimes(url, 300)
  t.ok(b.hits - before >= 3 && b.hits - before <= 60, `${b.hits - before} of 300`)
})

t.test('slow start: a target that was never out has its full share', async t => {
  const [a, b] = await Promise.all([backend(t, 'a'), backend(t, 'b')])
  const { url } = await start(t, [a.url, b.url], true, { slowStart: '1h' })
  t.same(await askTimes(url, 20), { a: 10, b: 10 })
})

t.test('panic counts ejected targets as sick: all of them are used, or the answer is 503', async t => {
  for (const mode of ['all', '503']) {
    const targets = await Promise.all([...'abcd'].map(name => backend(t, name, name === 'd' ? 200 : 500)))
    const { url, app } = await start(t, targets.map(({ url }) => url), { consecutive: 1, maxEjectedPercent: 100, ...LONG }, { panic: { threshold: 50, mode } })
    await askTimes(url, 8)
    if (mode === 'all') t.equal(ejected(app), 3)
    for (const target of targets) target.status = 200
    t.same(await askTimes(url, 8), mode === 'all' ? { a: 2, b: 2, c: 2, d: 2 } : { 503: 8 }, mode)
  }
})

t.test('a third of the answers fail at random: what is ejected comes back, and the rest is served', async t => {
  const random = seededRandom(99)
  const targets = await Promise.all([...'abcdef'].map(name => backend(t, name)))
  for (const one of targets.slice(0, 2)) one.answer = (_request, response) => { response.writeHead(random() < 0.9 ? 500 : 200).end('bad') }
  const { url, app } = await start(t, targets.map(({ url }) => url), { consecutive: 2, baseEjection: 100, maxEjection: 300 }, { retry: { attempts: 3, statuses: [500], budget: { ratio: 0.5, min: 10 }, backoff: { initial: 1, max: 2 } } })
  const counts = await askTimes(url, 400)
  t.equal(counts['500'] ?? 0, 0, JSON.stringify(counts))
  const sum = targets.reduce((total, { hits }) => total + hits, 0)
  t.ok(sum <= 400 * 1.3, `${sum} requests for 400`)
  t.ok(ejected(app) <= 3)
  for (const one of targets) one.answer = undefined
  t.ok(await waitFor(() => ejected(app) === 0))
  const again = await askTimes(url, 60)
  t.same(Object.keys(again).sort(), [...'abcdef'])
})
