/** Most calls of a backend at once, and the queue for them: a real gateway with real backends. */
import t from 'tap'
import { chunk, closedPort, get, httpUpstream, rawClient, rawRequest, rawUpstream, RESET, respond, sleep, startGateway, waitFor } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayOptions, StartedGateway, TestLike } from '../helper.ts'

/** A request that has arrived at a backend. */
interface Arrival {
  readonly url: string
  readonly response: ServerResponse
}

/** A backend that answers nothing until the test does, and knows how many it had at once. */
async function heldUpstream (t: TestLike) {
  const arrivals: Arrival[] = []
  let open = 0
  let most = 0
  const upstream = await httpUpstream(t, (request: IncomingMessage, response: ServerResponse) => {
    open++
    most = Math.max(most, open)
    response.once('close', () => { open-- })
    arrivals.push({ url: request.url!, response })
  })
  return {
    ...upstream,
    arrivals,
    get most () { return most },
    /** Waits for request n. */
    async nth (n: number): Promise<Arrival> {
      if (!await waitFor(() => arrivals.length > n)) throw new Error(`request ${n} did not arrive`)
      return arrivals[n]!
    }
  }
}

/** A backend that answers after a while, and knows how many it had at once. */
async function busyUpstream (t: TestLike, ms = 5) {
  let open = 0
  let most = 0
  let total = 0
  const upstream = await httpUpstream(t, (_request, response) => {
    total++
    most = Math.max(most, ++open)
    setTimeout(() => {
      open--
      response.end('done')
    }, ms)
  })
  return { ...upstream, get most () { return most }, get total () { return total } }
}

function slotsOf (app: FastifyInstance, name = 'up'): { taken: number, waiting: number } {
  const { taken = 0, waiting = 0 } = app.reverseproxy.registry.existing(name).slots ?? {}
  return { taken, waiting }
}

function start (t: TestLike, target: unknown, backend: Record<string, unknown>, options: Partial<GatewayOptions> = {}): Promise<StartedGateway> {
  return startGateway(t, { ...options, backends: { up: { targets: [target].flat(), circuitBreaker: false, ...backend } } } as GatewayOptions)
}

/** Sends the requests one after the other, each when the one before is known to wait. */
async function queueUp (gateway: StartedGateway, paths: readonly string[]): Promise<Array<Promise<Response>>> {
  const before = slotsOf(gateway.app).waiting
  const sent: Array<Promise<Response>> = []
  for (const [index, path] of paths.entries()) {
    sent.push(fetch(gateway.url + path))
    if (!await waitFor(() => slotsOf(gateway.app).waiting === before + index + 1)) throw new Error(`${path} does not wait`)
  }
  return sent
}

/** Whether a request gets through: there is a place. */
async function isFree ({ url, app }: StartedGateway, nth: () => Promise<Arrival>): Promise<boolean> {
  if (!await waitFor(() => slotsOf(app).taken === 0)) return false
  const asked = fetch(`${url}/free`)
  const { response } = await nth()
  response.end('free')
  return await (await asked).text() === 'free'
}

t.test('no more than max calls reach the backend at once, and one more is answered 503 when there is no queue', async t => {
  const up = await heldUpstream(t)
  const { url } = await start(t, up.url, { concurrency: 2 })
  const first = [fetch(url), fetch(url)]
  await up.nth(1)
  const refused = await fetch(url)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { statusCode: 503, code: 'RP_ERR_CONNECTION_LIMIT' })
  t.equal(up.arrivals.length, 2, 'it was not sent')
  for (const { response } of up.arrivals) response.end('ok')
  t.same((await Promise.all(first)).map(({ status }) => status), [200, 200])
})

t.test('the limit is that of all targets together', async t => {
  const [a, b] = await Promise.all([heldUpstream(t), heldUpstream(t)])
  const { url } = await start(t, [a.url, b.url], { concurrency: 2 })
  const sent = [fetch(url), fetch(url)]
  await Promise.all([a.nth(0), b.nth(0)])
  t.equal((await fetch(url)).status, 503)
  for (const { response } of [...a.arrivals, ...b.arrivals]) response.end()
  await Promise.all(sent)
})

t.test('each backend has a limit of its own', async t => {
  const [a, b] = await Promise.all([heldUpstream(t), busyUpstream(t)])
  const { url } = await startGateway(t, { concurrency: 1, backends: { a: a.url, b: b.url } } as GatewayOptions, app => {
    for (const backend of ['a', 'b']) app.get(`/${backend}`, { proxy: { backend } }, app.reverseproxy.handler)
  })
  const sent = fetch(`${url}/a`)
  const { response } = await a.nth(0)
  t.equal((await fetch(`${url}/b`)).status, 200)
  t.equal((await fetch(`${url}/a`)).status, 503)
  response.end()
  await sent
})

t.test('those that wait are served in the order they came', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 20, queueTimeout: '20s' } })
  const first = fetch(`${gateway.url}/first`)
  await up.nth(0)
  const paths = Array.from({ length: 12 }, (_, n) => `/${n}`)
  const sent = await queueUp(gateway, paths)
  for (let n = 0; n <= paths.length; n++) {
    const { response } = await up.nth(n)
    response.end('ok')
  }
  t.same((await Promise.all([first, ...sent])).map(({ status }) => status), Array(13).fill(200))
  t.same(up.arrivals.map(({ url }) => url), ['/first', ...paths])
  t.equal(up.most, 1, 'one at a time')
})

t.test('who waits longer than queueTimeout is answered 503, and is never sent', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: 150 } })
  const first = fetch(gateway.url)
  const { response } = await up.nth(0)
  const since = performance.now()
  const late = await fetch(gateway.url)
  t.equal(late.status, 503)
  t.match(await late.json(), { code: 'RP_ERR_CONNECTION_LIMIT' })
  t.ok(performance.now() - since > 120, 'it did wait')
  t.same(slotsOf(gateway.app), { taken: 1, waiting: 0 })
  response.end()
  t.equal((await first).status, 200)
  await sleep(50)
  t.equal(up.arrivals.length, 1)
})

t.test('a full queue is answered 503 at once', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 2, queueTimeout: '30s' } })
  const sent = [fetch(gateway.url)]
  await up.nth(0)
  sent.push(...await queueUp(gateway, ['/1', '/2']))
  const since = performance.now()
  const refused = await fetch(gateway.url)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'RP_ERR_CONNECTION_LIMIT' })
  t.ok(performance.now() - since < 5000, 'nobody waited for it')
  for (let n = 0; n < 3; n++) (await up.nth(n)).response.end()
  t.same((await Promise.all(sent)).map(({ status }) => status), [200, 200, 200])
})

t.test('without tenants fair shares change nothing: the same are served, in the same order, and the same are refused', async t => {
  const runs = await Promise.all([true, false].map(async fairShare => {
    const up = await heldUpstream(t)
    const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 3, queueTimeout: '20s', fairShare } })
    const sent = [fetch(`${gateway.url}/first`)]
    await up.nth(0)
    sent.push(...await queueUp(gateway, ['/1', '/2', '/3']))
    const refused = await fetch(`${gateway.url}/4`)
    for (let n = 0; n < 4; n++) (await up.nth(n)).response.end()
    return { refused: refused.status, served: (await Promise.all(sent)).map(({ status }) => status), order: up.arrivals.map(({ url }) => url) }
  }))
  t.same(runs, Array(2).fill({ refused: 503, served: [200, 200, 200, 200], order: ['/first', '/1', '/2', '/3'] }))
})

t.test('the refusals say nothing about backends or addresses', async t => {
  const up = await heldUpstream(t)
  const { url } = await start(t, up.url, { concurrency: 1 })
  const sent = fetch(url)
  const { response } = await up.nth(0)
  const text = await (await fetch(url)).text()
  t.notMatch(text, /127\.0\.0\.1|\bup\b|waiting/)
  response.end()
  await sent
})

t.test('a place is taken until the body has ended', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const streaming = await (async () => {
    const sent = fetch(gateway.url)
    const { response } = await up.nth(0)
    response.write('begin')
    return await sent
  })()
  t.equal(streaming.status, 200, 'its headers are here')
  const [waiting] = await queueUp(gateway, ['/2'])
  await sleep(50)
  t.equal(up.arrivals.length, 1, 'the other one still waits')
  up.arrivals[0]!.response.end('end')
  t.equal(await streaming.text(), 'beginend')
  const second = await up.nth(1)
  second.response.end()
  t.equal((await waiting!).status, 200)
})

t.test('answers without a body give the place back: HEAD, 204, 304, an empty 200', async t => {
  const up = await httpUpstream(t, ({ url }, response) => {
    response.writeHead(Number(url!.slice(1)))
    response.end()
  })
  const { url } = await start(t, up.url, { concurrency: 1 })
  for (const [method, status] of [['HEAD', 200], ['GET', 204], ['GET', 304], ['GET', 200], ['GET', 500], ['GET', 404], ['DELETE', 204]] as const) {
    const { status: found } = await fetch(`${url}/${status}`, { method })
    t.equal(found, status, `${method} ${status}`)
  }
})

t.test('a client that goes away while it waits leaves the queue, and is not sent', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const first = fetch(`${gateway.url}/first`)
  const { response } = await up.nth(0)
  const client = await rawClient(t, gateway.port)
  client.send(get('/gone'))
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 1))
  const [after] = await queueUp(gateway, ['/after'])
  client.resetAndDestroy()
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 1), 'it is out of the queue')
  response.end()
  ;(await up.nth(1)).response.end()
  t.same((await Promise.all([first, after!])).map(({ status }) => status), [200, 200])
  t.same(up.arrivals.map(({ url }) => url), ['/first', '/after'])
})

t.test('a client that goes away while its call runs gives the place to the next', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const client = await rawClient(t, gateway.port)
  client.send(get('/gone'))
  await up.nth(0)
  const [after] = await queueUp(gateway, ['/after'])
  client.resetAndDestroy()
  ;(await up.nth(1)).response.end('next')
  t.equal(await (await after!).text(), 'next')
  t.same(slotsOf(gateway.app), { taken: 0, waiting: 0 })
})

t.test('a client that goes away in the middle of a body gives the place to the next', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const client = await rawClient(t, gateway.port)
  client.send(get('/gone'))
  const { response } = await up.nth(0)
  response.write('begin')
  t.ok(await waitFor(() => client.responses.length === 1))
  const [after] = await queueUp(gateway, ['/after'])
  client.resetAndDestroy()
  ;(await up.nth(1)).response.end('next')
  t.equal(await (await after!).text(), 'next')
})

t.test('a client that goes away while its upload waits gives back what it had', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const first = fetch(gateway.url)
  const { response } = await up.nth(0)
  const client = await rawClient(t, gateway.port)
  client.send(['POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', chunk('part')])
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 1))
  client.resetAndDestroy()
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 0))
  response.end()
  t.equal((await first).status, 200)
  t.ok(await waitFor(() => slotsOf(gateway.app).taken === 0))
})

t.test('an upload that waits is sent whole', async t => {
  const bodies: string[] = []
  const up = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (data: Buffer) => chunks.push(data))
    request.on('end', () => {
      bodies.push(Buffer.concat(chunks).toString())
      setTimeout(() => { response.end() }, 30)
    })
  })
  const { url } = await start(t, up.url, { concurrency: { max: 1, queue: 10, queueTimeout: '20s' } })
  const sent = ['a', 'b', 'c'].map(letter => fetch(url, { method: 'POST', body: letter.repeat(100_000) }))
  t.same((await Promise.all(sent)).map(({ status }) => status), [200, 200, 200])
  t.same(bodies.map(body => `${body[0]} ${body.length}`).sort(), ['a 100000', 'b 100000', 'c 100000'])
})

t.test('a backend that fails gives the place back, however it fails', async t => {
  const port = await closedPort()
  const faults = {
    refused: `http://127.0.0.1:${port}`,
    reset: (await rawUpstream(t, RESET)).url,
    garbage: (await rawUpstream(t, 'this is not HTTP\r\n\r\n')).url,
    'too short': (await rawUpstream(t, ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', RESET])).url,
    'too slow': (await rawUpstream(t, () => undefined)).url,
    'silent in its body': (await rawUpstream(t, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')).url
  }
  for (const [name, target] of Object.entries(faults)) {
    const gateway = await start(t, target, { concurrency: 1, timeout: { headers: 60, idle: 60 } })
    for (let n = 0; n < 3; n++) {
      const { response: { status } } = await rawRequest(gateway.port, get('/'))
      t.not(status, 503, `${name}: call ${n} has a place (${status})`)
      t.ok(await waitFor(() => slotsOf(gateway.app).taken === 0), `${name}: place ${n} is free again`)
    }
  }
})

t.test('a hook that throws over an answer gives the place back', async t => {
  const up = await heldUpstream(t)
  const { url, app, port } = await startGateway(t, { backends: { up: { url: up.url, concurrency: 1 } } } as GatewayOptions, app => {
    app.get('/throws', { proxy: { backend: 'up', modifyResponse () { throw new Error('no') } } }, app.reverseproxy.handler)
    app.get('/replaces', { proxy: { backend: 'up', modifyResponse (draft) { draft.body = 'mine' } } }, app.reverseproxy.handler)
    app.get('/free', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
  })
  let n = 0
  for (const path of ['/throws', '/replaces']) {
    const sent = fetch(url + path)
    const { response } = await up.nth(n++)
    response.write('begin')
    await (await sent).text()
    const at = n++
    t.ok(await isFree({ url, app, port }, () => up.nth(at)), path)
  }
})

t.test('a backend without an active target gives the place back', async t => {
  const up = await busyUpstream(t)
  const { url, app } = await start(t, { url: up.url, active: false }, { concurrency: { max: 1, queue: 1 } })
  for (let n = 0; n < 3; n++) t.match(await (await fetch(url)).json(), { code: 'RP_ERR_NO_TARGET' })
  app.reverseproxy.backends.updateTarget('up', up.url, { active: true })
  t.equal((await fetch(url)).status, 200)
})

t.test('an open circuit gives the place back', async t => {
  const up = await busyUpstream(t)
  const { url, app } = await start(t, up.url, { concurrency: 1, circuitBreaker: true })
  app.reverseproxy.breakers.open('up')
  for (let n = 0; n < 3; n++) t.match(await (await fetch(url)).json(), { code: 'RP_ERR_CIRCUIT_OPEN' })
  app.reverseproxy.breakers.close('up')
  t.equal((await fetch(url)).status, 200)
})

t.test('a call that is tried again has one place at a time', async t => {
  let asked = 0
  const up = await httpUpstream(t, (_request, response) => {
    response.statusCode = ++asked % 2 === 1 ? 503 : 200
    response.end('x')
  })
  const { url, app } = await start(t, up.url, { concurrency: 1, retry: { attempts: 2, backoff: { initial: 1, max: 1 }, budget: false } })
  for (let n = 0; n < 5; n++) t.equal((await fetch(url)).status, 200)
  t.equal(asked, 10)
  t.ok(await waitFor(() => slotsOf(app).taken === 0))
})

t.test('an answer that is not wanted, and does not end, takes no place from the next try', async t => {
  let asked = 0
  const up = await httpUpstream(t, (_request, response) => {
    if (++asked > 1) {
      response.end('good')
      return
    }
    response.writeHead(503)
    response.write('sorry')
  })
  const { url, app } = await start(t, up.url, { concurrency: 1, retry: { attempts: 2, backoff: { initial: 1, max: 1 }, budget: false } })
  const answer = await fetch(url)
  t.equal(answer.status, 200)
  t.equal(await answer.text(), 'good')
  t.ok(await waitFor(() => slotsOf(app).taken === 0))
})

t.test('the pause before another try has no place', async t => {
  let asked = 0
  const up = await httpUpstream(t, ({ url }, response) => {
    asked++
    response.statusCode = url === '/tried' && asked === 1 ? 503 : 200
    response.setHeader('retry-after', '1')
    response.end()
  })
  const { url } = await start(t, up.url, { concurrency: 1, retry: { attempts: 2, budget: false } })
  const tried = fetch(`${url}/tried`)
  t.ok(await waitFor(() => asked === 1))
  await sleep(30)
  t.equal((await fetch(`${url}/other`)).status, 200, 'meanwhile another one is served')
  t.equal((await tried).status, 200)
})

t.test('a followed redirect gives its place back before it takes the next', async t => {
  const up = await httpUpstream(t, ({ url, headers }, response) => {
    if (url === '/there') {
      response.end('there')
      return
    }
    response.writeHead(302, { location: `http://${headers.host}/there` })
    if (url === '/long') response.write('moved, and no end')
    else response.end('moved')
  })
  const { url, app } = await start(t, up.url, { concurrency: 1, redirects: 'follow' })
  for (const path of ['/short', '/long']) {
    t.equal(await (await fetch(url + path)).text(), 'there', path)
    t.ok(await waitFor(() => slotsOf(app).taken === 0), `${path}: the place is free`)
  }
})

t.test('a hedge takes a place of its own, and both come back', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 2 }, retry: { attempts: 2, hedge: 20, budget: false } })
  const sent = fetch(gateway.url)
  await up.nth(1)
  t.equal(slotsOf(gateway.app).taken, 2)
  up.arrivals[1]!.response.end('second')
  t.equal(await (await sent).text(), 'second')
  t.ok(await waitFor(() => slotsOf(gateway.app).taken === 0))
})

t.test('a hedge that waits for a place leaves the queue when the first try has won', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' }, retry: { attempts: 2, hedge: 20, budget: false } })
  const sent = fetch(gateway.url)
  const { response } = await up.nth(0)
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 1), 'the hedge waits')
  // the headers decide; the body, and with it the place, is still under way
  response.write('first')
  const answer = await sent
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 0))
  response.end()
  t.equal(await answer.text(), 'first')
  t.ok(await waitFor(() => slotsOf(gateway.app).taken === 0))
  t.equal(up.arrivals.length, 1)
})

t.test('the parts of a composite take places like any call', async t => {
  let open = 0
  let most = 0
  const up = await httpUpstream(t, ({ url }, response) => {
    most = Math.max(most, ++open)
    setTimeout(() => {
      open--
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ [url!.slice(1)]: 1 }))
    }, 10)
  })
  const parts = Object.fromEntries([...'abcdef'].map(name => [name, { backend: 'up', path: `/${name}`, required: true }]))
  const { url, app } = await startGateway(t, { backends: { up: { url: up.url, concurrency: { max: 2, queue: 10, queueTimeout: '20s' } } } } as GatewayOptions, app => {
    app.get('/all', { composite: { strategy: 'merge', parts } }, app.reverseproxy.handler)
  })
  for (let n = 0; n < 5; n++) t.same(await (await fetch(`${url}/all`)).json(), { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 })
  t.equal(most, 2)
  t.same(slotsOf(app), { taken: 0, waiting: 0 })
})

t.test('a part that finds no place fails like one that is refused', async t => {
  const up = await heldUpstream(t)
  const parts = { a: { backend: 'up', path: '/a', required: true }, b: { backend: 'up', path: '/b', required: true } }
  const { url, app } = await startGateway(t, { backends: { up: { url: up.url, concurrency: 1 } } } as GatewayOptions, app => {
    app.get('/both', { composite: { parts } }, app.reverseproxy.handler)
  })
  const asked = fetch(`${url}/both`)
  const { url: path, response } = await up.nth(0)
  t.equal(path, '/a', 'the first one has the place')
  response.setHeader('content-type', 'application/json')
  response.end('{}')
  t.equal((await asked).status, 503)
  t.match(await (await asked).json(), { code: 'RP_ERR_CONNECTION_LIMIT' })
  t.equal(up.arrivals.length, 1)
  t.same(slotsOf(app), { taken: 0, waiting: 0 })
})

t.test('parts that wait leave the queue when the composite needs them no more', async t => {
  const up = await heldUpstream(t)
  const failing = await rawUpstream(t, [{ wait: 60 }, respond(500)])
  // of several that are required the first one declared decides
  const parts = {
    bad: { backend: 'bad', path: '/bad', required: true },
    a: { backend: 'up', path: '/a', required: true },
    b: { backend: 'up', path: '/b', required: true }
  }
  const { url, app } = await startGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1, queue: 5, queueTimeout: '20s' } }, bad: failing.url } } as GatewayOptions, app => {
    app.get('/all', { composite: { parts } }, app.reverseproxy.handler)
  })
  t.equal((await fetch(`${url}/all`)).status, 502)
  t.ok(await waitFor(() => slotsOf(app).waiting === 0 && slotsOf(app).taken === 0))
  t.ok(up.arrivals.length <= 1, 'what waited was not sent')
})

t.test('a client that leaves a composite takes its parts out of the queue', async t => {
  const up = await heldUpstream(t)
  const parts = { a: { backend: 'up', path: '/a' }, b: { backend: 'up', path: '/b' }, c: { backend: 'up', path: '/c' } }
  const { port, app } = await startGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1, queue: 5, queueTimeout: '20s' } } } } as GatewayOptions, app => {
    app.get('/all', { composite: { parts } }, app.reverseproxy.handler)
  })
  const client = await rawClient(t, port)
  client.send(get('/all'))
  t.ok(await waitFor(() => slotsOf(app).waiting === 2))
  await up.nth(0)
  client.resetAndDestroy()
  t.ok(await waitFor(() => slotsOf(app).waiting === 0 && slotsOf(app).taken === 0))
  t.equal(up.arrivals.length, 1)
})

t.test('a deadline that is over before queueTimeout is a 504', async t => {
  const up = await heldUpstream(t)
  const { url, app } = await startGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1, queue: 5, queueTimeout: '20s' } } } } as GatewayOptions, app => {
    app.get('/slow', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    app.get('/hurried', { proxy: { backend: 'up', timeout: 120 } }, app.reverseproxy.handler)
  })
  const slow = fetch(`${url}/slow`)
  const { response } = await up.nth(0)
  const hurried = await fetch(`${url}/hurried`)
  t.equal(hurried.status, 504)
  t.match(await hurried.json(), { code: 'RP_ERR_TIMEOUT' })
  t.same(slotsOf(app), { taken: 1, waiting: 0 })
  response.end()
  t.equal((await slow).status, 200)
  t.equal(up.arrivals.length, 1)
})

t.test('time in the queue is time of the call', async t => {
  const up = await heldUpstream(t)
  const { url } = await startGateway(t, { backends: { up: { url: up.url, concurrency: { max: 1, queue: 5, queueTimeout: '20s' } } } } as GatewayOptions, app => {
    app.get('/slow', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    app.get('/hurried', { proxy: { backend: 'up', timeout: 600 } }, app.reverseproxy.handler)
  })
  const slow = fetch(`${url}/slow`)
  const { response } = await up.nth(0)
  const since = performance.now()
  const hurried = fetch(`${url}/hurried`)
  await sleep(300)
  response.end()
  await up.nth(1)
  t.equal((await hurried).status, 504, 'sent, and not answered in what was left')
  t.ok(performance.now() - since < 850, 'it had no second deadline')
  t.equal((await slow).status, 200)
})

t.test('under more load than there are places everyone is served, and the limit holds', async t => {
  const up = await busyUpstream(t, 2)
  const { port, app } = await start(t, up.url, { concurrency: { max: 3, queue: 1000, queueTimeout: '30s' } })
  const statuses: Record<number, number> = {}
  await Promise.all(Array.from({ length: 20 }, async () => {
    for (let n = 0; n < 10; n++) {
      const { status } = await rawRequest(port, get('/'))
      statuses[status] = (statuses[status] ?? 0) + 1
    }
  }))
  t.same(statuses, { 200: 200 })
  t.equal(up.most, 3)
  t.same(slotsOf(app), { taken: 0, waiting: 0 })
})

t.test('places are not lost under load with clients that go away and a backend that breaks', async t => {
  let n = 0
  const up = await httpUpstream(t, (_request, response) => {
    n++
    if (n % 7 === 0) response.destroy()
    else if (n % 5 === 0) response.writeHead(503).end('no')
    else if (n % 3 === 0) {
      response.write('a')
      setTimeout(() => { response.end('b') }, 3)
    } else setTimeout(() => { response.end('x') }, 2)
  })
  const { url, app } = await start(t, up.url, { concurrency: { max: 3, queue: 20, queueTimeout: 50 }, retry: { attempts: 2, backoff: { initial: 1, max: 3 }, budget: false } })
  await Promise.all(Array.from({ length: 20 }, async (_, client) => {
    for (let i = 0; i < 10; i++) {
      const signal = (client + i) % 4 === 0 ? AbortSignal.timeout(1 + (client + i) % 9) : AbortSignal.timeout(10_000)
      await fetch(url, { signal }).then(answer => answer.arrayBuffer()).catch(() => {})
    }
  }))
  t.ok(await waitFor(() => slotsOf(app).taken === 0 && slotsOf(app).waiting === 0, 5000), JSON.stringify(slotsOf(app)))
})

t.test('a larger limit at run time lets those in that wait', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const sent = [fetch(gateway.url)]
  await up.nth(0)
  sent.push(...await queueUp(gateway, ['/1', '/2', '/3']))
  gateway.app.reverseproxy.backends.update('up', { url: up.url, concurrency: { max: 3, queue: 5, queueTimeout: '20s' } })
  await up.nth(2)
  t.same(slotsOf(gateway.app), { taken: 3, waiting: 1 })
  for (let n = 0; n < 4; n++) (await up.nth(n)).response.end()
  t.same((await Promise.all(sent)).map(({ status }) => status), [200, 200, 200, 200])
})

t.test('a smaller limit at run time lets those that run finish, and nobody in meanwhile', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 3, queue: 5, queueTimeout: '20s' } })
  const sent = [fetch(gateway.url), fetch(gateway.url), fetch(gateway.url)]
  await up.nth(2)
  sent.push(...await queueUp(gateway, ['/late']))
  gateway.app.reverseproxy.backends.update('up', { url: up.url, concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  up.arrivals[0]!.response.end()
  up.arrivals[1]!.response.end()
  t.ok(await waitFor(() => slotsOf(gateway.app).taken === 1))
  await sleep(30)
  t.equal(up.arrivals.length, 3)
  up.arrivals[2]!.response.end()
  ;(await up.nth(3)).response.end()
  t.same((await Promise.all(sent)).map(({ status }) => status), [200, 200, 200, 200])
})

t.test('a limit that is taken away lets everybody in', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const sent = [fetch(gateway.url)]
  await up.nth(0)
  sent.push(...await queueUp(gateway, ['/1', '/2', '/3']))
  gateway.app.reverseproxy.backends.update('up', { url: up.url, concurrency: false })
  await up.nth(3)
  for (const { response } of up.arrivals) response.end()
  t.same((await Promise.all(sent)).map(({ status }) => status), [200, 200, 200, 200])
})

t.test('a limit that is new at run time holds for the next calls', async t => {
  const up = await heldUpstream(t)
  const { url, app } = await start(t, up.url, {})
  const old = fetch(url)
  await up.nth(0)
  app.reverseproxy.backends.update('up', { url: up.url, concurrency: 1 })
  const first = fetch(url)
  await up.nth(1)
  t.equal((await fetch(url)).status, 503)
  for (const { response } of up.arrivals) response.end()
  t.same([(await old).status, (await first).status], [200, 200])
  t.same(slotsOf(app), { taken: 0, waiting: 0 }, 'a call from before the limit gives no place back that it never had')
})

t.test('maxConnections of a target holds beside the limit: whoever is let in finds the target free', async t => {
  const up = await busyUpstream(t, 10)
  const { url } = await start(t, { url: up.url, maxConnections: 1 }, { concurrency: { max: 1, queue: 20, queueTimeout: '20s' } })
  const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(url)))
  t.same(answers.map(({ status }) => status), Array(8).fill(200))
  t.equal(up.most, 1)
})

t.test('maxConnections of every target holds beside the limit: whoever is let in goes to the one that is free', async t => {
  const [a, b] = await Promise.all([busyUpstream(t, 4), busyUpstream(t, 11)])
  const { url } = await start(t, [{ url: a.url, maxConnections: 1 }, { url: b.url, maxConnections: 1 }], { concurrency: { max: 2, queue: 50, queueTimeout: '20s' } })
  const answers = await Promise.all(Array.from({ length: 30 }, () => fetch(url)))
  t.same(answers.map(({ status }) => status), Array(30).fill(200))
  t.same([a.most, b.most], [1, 1])
})

t.test('a target that is full while the backend has places is a 503, and costs no place', async t => {
  const up = await heldUpstream(t)
  const { url, app } = await start(t, { url: up.url, maxConnections: 1 }, { concurrency: { max: 5, queue: 5, queueTimeout: '20s' } })
  const first = fetch(url)
  const { response } = await up.nth(0)
  for (let n = 0; n < 8; n++) t.match(await (await fetch(url)).json(), { code: 'RP_ERR_CONNECTION_LIMIT' })
  t.same(slotsOf(app), { taken: 1, waiting: 0 })
  response.end()
  t.equal((await first).status, 200)
})

t.test('least-connections does not count a call that is over when the next is let in', async t => {
  const [a, b] = await Promise.all([heldUpstream(t), heldUpstream(t)])
  const gateway = await start(t, [a.url, b.url], { balancer: 'least-connections', concurrency: { max: 2, queue: 5, queueTimeout: '20s' } })
  const sent = [fetch(gateway.url), fetch(gateway.url)]
  const [onA] = await Promise.all([a.nth(0), b.nth(0)])
  sent.push(...await queueUp(gateway, ['/next']))
  onA.response.end()
  t.ok(await waitFor(() => a.arrivals.length + b.arrivals.length === 3))
  t.equal(a.arrivals.length, 2, 'it goes where nothing runs')
  for (const { response } of [...a.arrivals, ...b.arrivals]) response.end()
  await Promise.all(sent)
})

t.test('those that wait when their backend is removed are answered', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: 500 } })
  const first = fetch(gateway.url)
  const { response } = await up.nth(0)
  const [waiting] = await queueUp(gateway, ['/waits'])
  const removed = gateway.app.reverseproxy.backends.remove('up')
  response.end('finished')
  t.equal(await (await first).text(), 'finished')
  t.equal((await waiting!).status, 503)
  await removed
  t.equal(up.arrivals.length, 1)
})

t.test('those that wait when the gateway closes are served', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 5, queueTimeout: '20s' } })
  const first = fetch(gateway.url)
  await up.nth(0)
  const [waiting] = await queueUp(gateway, ['/waits'])
  const closed = gateway.app.close()
  await sleep(30)
  up.arrivals[0]!.response.end()
  ;(await up.nth(1)).response.end('served')
  t.equal((await first).status, 200)
  t.equal(await (await waiting!).text(), 'served')
  await closed
})

t.test('pipelined requests of one client wait for each other, in order', async t => {
  const up = await busyUpstream(t, 5)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 10, queueTimeout: '20s' } })
  const client = await rawClient(t, gateway.port)
  client.send([get('/1'), get('/2'), get('/3')], ['GET', 'GET', 'GET'])
  t.same([(await client.response(0)).status, (await client.response(1)).status, (await client.response(2)).status], [200, 200, 200])
  t.equal(up.most, 1)
})

t.test('a client that leaves with pipelined requests in the queue frees all of them', async t => {
  const up = await heldUpstream(t)
  const gateway = await start(t, up.url, { concurrency: { max: 1, queue: 10, queueTimeout: '20s' } })
  const first = fetch(gateway.url)
  const { response } = await up.nth(0)
  const client = await rawClient(t, gateway.port)
  client.send([get('/1'), get('/2'), get('/3')], ['GET', 'GET', 'GET'])
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 3))
  client.resetAndDestroy()
  t.ok(await waitFor(() => slotsOf(gateway.app).waiting === 0))
  response.end()
  await first
  t.ok(await waitFor(() => slotsOf(gateway.app).taken === 0))
})
