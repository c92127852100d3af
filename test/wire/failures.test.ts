/**
 * WIRE-CONTRACT, Failures: what the client sees when a backend fails, and that nothing of it lasts.
 */
import { createServer as createTlsServer } from 'node:tls'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { CERTIFICATE, CERTIFICATE_KEY, DESTROY, FIN, RESET, chunk, closedPort, get, post, rawClient, rawRequest, rawUpstream, requestBytes, respond, seededBytes, sleep, startGateway, startPair, wait } from '../helper.ts'
import type { GatewayOptions, HeaderLine, Script, Step } from '../helper.ts'
import { OK, checkAlive, checkCut, checkErrorBody, checkHealthy } from './checks.ts'

const TIMEOUT = { connect: 1000, headers: 250, idle: 250, total: 0 }
const REQUESTS: Array<[string, Buffer]> = [['GET', get('/')], ['POST', post('/', 'hello')], ['POST in chunks', post('/', ['hel', 'lo'])], ['POST of 200 KB', post('/', seededBytes(200_000))], ['DELETE', requestBytes('DELETE', '/')]]

t.test('a refused connection is a 502 at once', async t => {
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: `http://127.0.0.1:${await closedPort()}` } })
  const client = await rawClient(t, gateway.port)
  for (const [name, bytes] of REQUESTS) {
    const started = performance.now()
    checkErrorBody(t, await client.exchange(bytes), 502, name)
    t.ok(performance.now() - started < 1500, `${name}: at once`)
  }
  const head = await client.exchange(requestBytes('HEAD', '/'))
  t.strictSame([head.status, head.body.length], [502, 0], 'HEAD: without a body')
  t.equal((await client.exchange(get('/'))).status, 502, 'the client connection survives')
})

t.test('a name that does not resolve is a 502', async t => {
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: 'http://backend.invalid:8080' } })
  for (const [name, bytes] of REQUESTS.slice(0, 2)) {
    const { response } = await rawRequest(gateway.port, bytes, { ms: 8000 })
    checkErrorBody(t, response, 502, name)
    t.notMatch(response.text, /backend\.invalid|8080|ENOTFOUND|EAI/, `${name}: the name is not told`)
  }
})

t.test('a backend whose TLS fails is a 502', async t => {
  const plain = await rawUpstream(t, OK, { onConnection: socket => { socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') } })
  const secure = await tlsUpstream(t)
  for (const [name, url, tls, status] of [
    ['no TLS there', `https://127.0.0.1:${plain.port}`, undefined, 502],
    ['a certificate nobody signed', `https://127.0.0.1:${secure}`, undefined, 502],
    ['another name', `https://127.0.0.1:${secure}`, { ca: CERTIFICATE, servername: 'other.test' }, 502],
    ['plain to a TLS port', `http://127.0.0.1:${secure}`, undefined, 502],
    ['a certificate we trust', `https://127.0.0.1:${secure}`, { ca: CERTIFICATE }, 200],
    ['a name it is for', `https://127.0.0.1:${secure}`, { ca: CERTIFICATE, servername: 'backend.test' }, 200],
    ['no checks', `https://127.0.0.1:${secure}`, { rejectUnauthorized: false }, 200]
  ] as const) {
    const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: { targets: [url], ...(tls === undefined ? {} : { tls }) } } } as GatewayOptions)
    const { response } = await rawRequest(gateway.port, get('/'))
    if (status === 200) t.strictSame([response.status, response.text], [200, 'ok'], `${name}: served`)
    else checkErrorBody(t, response, status, name)
  }
})

t.test('accepted and silent is a 504 at the timeout', async t => {
  const pair = await startPair(t, [], { gateway: { timeout: TIMEOUT } })
  const silent: Array<[string, Script]> = [['nothing at all', []], ['half a status line', ['HTTP/1.1 2']], ['half the headers', ['HTTP/1.1 200 OK\r\nX-A: b\r\n']]]
  for (const [kind, script] of silent) {
    pair.upstream.answer(script)
    const before = pair.upstream.requests.length
    await Promise.all(REQUESTS.map(async ([name, bytes]) => {
      const result = await rawRequest(pair.port, bytes)
      checkErrorBody(t, result.response, 504, `${kind}, ${name}`)
      t.ok(result.elapsed >= 200 && result.elapsed < 2500, `${kind}, ${name}: at the timeout`, { elapsed: result.elapsed })
    }))
    const asked = pair.upstream.requests.slice(before)
    t.equal(asked.length, REQUESTS.length, `${kind}: each is asked once`)
    t.ok(await pair.upstream.dropped(asked, 2000), `${kind}: the upstream's connections are closed`)
  }
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})

t.test('a dripping head does not put off the timeout for ever', async t => {
  const pair = await startPair(t, async ({ socket, play }) => {
    await play('HTTP/1.1 200 OK\r\n')
    for (let n = 0; n < 60 && !socket.destroyed; n++) await play([`X-${n}: a\r\n`, wait(50)])
  }, { gateway: { timeout: TIMEOUT } })
  const result = await rawRequest(pair.port, get('/'), { ms: 4000 })
  t.equal(result.status, 504, 'a 504')
  t.ok(result.elapsed < 2000, 'in good time', { elapsed: result.elapsed })
})

t.test('a client that uploads slowly is not the backend\'s fault', async t => {
  const pair = await startPair(t, OK, { gateway: { timeout: TIMEOUT } })
  const result = await rawRequest(pair.port, [requestBytes('POST', '/', { headers: { 'Content-Length': '30' } }), ...Array.from({ length: 6 }, (): Step[] => [wait(90), 'data\n']).flat()])
  t.equal(result.status, 200, 'the time for the answer starts when the request has been sent')
})

t.test('the total time of a call is an end too', async t => {
  const pair = await startPair(t, [wait(5000), OK], { gateway: { timeout: { ...TIMEOUT, headers: 10_000, total: 300 } } })
  const result = await rawRequest(pair.port, get('/'))
  checkErrorBody(t, result.response, 504, 'silent')
  t.ok(result.elapsed < 2000, 'in good time', { elapsed: result.elapsed })
})

t.test('a body that stalls is cut at the idle timeout', async t => {
  const pair = await startPair(t, OK, { gateway: { timeout: TIMEOUT } })
  const stalls: Array<[string, Step[]]> = [
    ['before its first byte', [respond(200, { 'Content-Length': '100' }, null)]],
    ['with a length', [respond(200, { 'Content-Length': '100' }, null), 'half']],
    ['in chunks', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk('half')]],
    ['within a chunk', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '10\r\nhalf']],
    ['before the last chunk', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk('all'), wait(10), '0\r\n']],
    ['until the end', [respond(200, {}, null), 'half']],
    ['after much', [respond(200, { 'Content-Length': '9000000' }, null), Buffer.alloc(500_000)]]
  ]
  pair.upstream.answer(({ request }) => stalls[Number(request.target.slice(1))]?.[1])
  await Promise.all(stalls.map(async ([name], n) => {
    const client = await rawClient(t, pair.port)
    const started = performance.now()
    const response = await client.exchange(get(`/${n}`)).catch((error: Error) => { t.fail(`${name}: ${error.message}`) })
    if (response === undefined) return
    if (response.status === 504) {
      // nothing had been sent yet: an error is as honest as a cut
      t.equal(name, 'before its first byte', `${name}: the headers had gone`)
    } else {
      t.equal(response.status, 200, `${name}: the headers had gone`)
      await checkCut(t, client, response, name)
    }
    const elapsed = performance.now() - started
    t.ok(elapsed >= 200 && elapsed < 3000, `${name}: at the timeout`, { elapsed })
  }))
  t.ok(await pair.upstream.dropped(undefined, 2000), 'the upstream\'s connections are closed')
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})

t.test('a body that keeps dripping outlives the idle timeout', async t => {
  const pair = await startPair(t, async ({ play }) => {
    await play(respond(200, { 'Content-Length': '10' }, null))
    for (let n = 0; n < 10; n++) await play(['x', wait(80)])
  }, { gateway: { timeout: TIMEOUT } })
  const { response } = await rawRequest(pair.port, get('/'))
  t.strictSame([response.text.length, response.complete], [10, true], 'whole, after three times the timeout')
})

t.test('a reader that is slow is not a body that stalls', async t => {
  const pair = await startPair(t, respond(200, {}, Buffer.alloc(20_000_000)), { gateway: { timeout: TIMEOUT } })
  const client = await rawClient(t, pair.port)
  client.socket.pause()
  await client.send(get('/'))
  await sleep(700)
  client.socket.resume()
  const response = await client.response(0, { ms: 8000 })
  t.strictSame([response.body.length, response.complete], [20_000_000, true], 'it gets everything')
})

t.test('a reset or close before the headers is a 502', async t => {
  const pair = await startPair(t, OK)
  const faults: Array<[string, Script, 'head' | 'complete']> = [
    ['reset', RESET, 'complete'], ['close', FIN, 'complete'], ['hang-up', DESTROY, 'complete'], ['reset at the head', RESET, 'head'], ['close at the head', [FIN, wait(20), DESTROY], 'head'], ['reset after a while', [wait(60), RESET], 'complete'], ['reset within the head', ['HTTP/1.1 200 OK\r\nX', wait(10), RESET], 'complete'], ['close within the head', ['HTTP/1.1 200 OK\r\nX', FIN], 'complete'], ['reset after 103', ['HTTP/1.1 103 Early Hints\r\n\r\n', wait(10), RESET], 'complete']
  ]
  for (const [fault, script, at] of faults) {
    for (const [name, bytes] of REQUESTS) {
      pair.upstream.answer(script, at)
      const before = pair.upstream.requests.length
      const client = await rawClient(t, pair.port)
      const response = await client.exchange(bytes, { ms: 4000 }).catch((error: Error) => { t.fail(`${fault}, ${name}: ${error.message}`) })
      if (response === undefined) continue
      checkErrorBody(t, response, 502, `${fault}, ${name}`)
      t.equal(pair.upstream.requests.length, before + 1, `${fault}, ${name}: nothing is retried`)
      pair.upstream.answer(OK)
      await checkHealthy(t, pair)
      if (name === 'GET') await checkAlive(t, client, `${fault}, ${name}`)
    }
  }
})

t.test('a pooled connection that died while idle costs nobody an answer', async t => {
  const pair = await startPair(t, OK)
  for (let n = 0; n < 5; n++) {
    await checkHealthy(t, pair)
    // closed while idle, before the next request is sent
    for (const socket of pair.upstream.sockets) if (!socket.destroyed) socket.end()
    await sleep(20)
    await checkHealthy(t, pair, 'after a close')
    for (const socket of pair.upstream.sockets) if (!socket.destroyed) socket.resetAndDestroy()
    await sleep(20)
    await checkHealthy(t, pair, 'after a reset')
  }
})

t.test('an upstream that fails within the body: the client is cut off, never a clean end', async t => {
  const pair = await startPair(t, OK)
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
  for (const [ending, end] of [['reset', RESET], ['close', FIN], ['hang-up', DESTROY]] as const) {
    const bodies: Array<[string, Step[]]> = [
      ['with a length', [respond(200, { 'Content-Length': '100' }, null), 'half', wait(30), end]],
      ['with a length, at once', [Buffer.concat([respond(200, { 'Content-Length': '100' }, null), Buffer.from('half')]), end]],
      ['with a length, before its first byte', [respond(200, { 'Content-Length': '100' }, null), wait(30), end]],
      ['one byte short', [respond(200, { 'Content-Length': '100' }, null), 'x'.repeat(99), wait(30), end]],
      ['in chunks', [head, chunk('half'), wait(30), end]],
      ['in chunks, at once', [head + chunk('half').toString(), end]],
      ['within a chunk', [head, '10\r\nhalf', wait(30), end]],
      ['before the last chunk', [head, chunk('all of it'), wait(30), end]],
      ['within the last chunk', [head, chunk('all of it'), '0\r\n', wait(30), end]],
      ['after much', [respond(200, { 'Content-Length': '9000000' }, null), Buffer.alloc(2_000_000), wait(30), end]],
      ['an error answer', [respond(500, { 'Content-Length': '100' }, null), 'half', wait(30), end]]
    ]
    if (ending === 'reset') bodies.push(['until the end', [respond(200, {}, null), 'half', wait(30), end]])
    for (const [name, steps] of bodies) {
      for (const [version, bytes] of [['1.1', get('/')], ['1.0', requestBytes('GET', '/', { version: '1.0' })]] as const) {
        const label = `${name}, ${ending}, HTTP/${version}`
        pair.upstream.answer(steps)
        const client = await rawClient(t, pair.port)
        const response = await client.exchange(bytes, { ms: 4000 }).catch(() => undefined)
        if (response === undefined) {
          // the cut may take the headers with it, but it must be a cut
          t.ok(client.closed, `${label}: cut off`)
        } else if (response.status === 502) {
          t.ok(response.complete, `${label}: failed before anything was sent`)
        } else {
          await checkCut(t, client, response, label)
        }
        pair.upstream.answer(OK)
        await checkHealthy(t, pair)
      }
    }
  }
})

/** A TLS server with a certificate of its own making. */
async function tlsUpstream (t: Test): Promise<number> {
  const server = createTlsServer({ cert: CERTIFICATE, key: CERTIFICATE_KEY }, socket => {
    socket.on('error', () => {})
    socket.on('data', () => { socket.write(OK) })
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  // the gateway's teardown, which comes first, closes its connections
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

// ---------------------------------------------------------------- nothing lasts

t.test('the first request after a fault has passed succeeds within a second', async t => {
  const upstream = await rawUpstream(t, OK)
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: upstream.url }, timeout: TIMEOUT } as GatewayOptions)
  for (let round = 0; round < 3; round++) {
    await checkHealthy(t, gateway)
    await upstream.stop()
    for (let n = 0; n < 4; n++) t.equal((await rawRequest(gateway.port, get('/'))).status, 502, 'while it is down')
    await upstream.listen()
    await checkHealthy(t, gateway, 'after it came back')
    upstream.answer([])
    await Promise.all(Array.from({ length: 4 }, async () => { t.equal((await rawRequest(gateway.port, get('/'))).status, 504, 'while it is silent') }))
    upstream.answer(OK)
    await checkHealthy(t, gateway, 'after it spoke again')
  }
})

t.test('many large 503s do not wedge the pool', async t => {
  const big = respond(503, { 'Retry-After': '1' }, seededBytes(1_000_000))
  const pair = await startPair(t, big)
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all(Array.from({ length: 16 }, async () => await rawRequest(pair.port, get('/'), { ms: 10_000 })))
    t.ok(results.every(result => result.status === 503 && result.response.body.length === 1_000_000), `round ${round}: each passed on whole`)
  }
  t.equal(pair.upstream.requests.length, 48, 'nothing is retried by default')
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})

t.test('large discarded answers do not wedge a small pool', async t => {
  const big = seededBytes(1_000_000)
  // each of these makes the gateway drop the answer's body
  const droppers: Array<[string, Script, Partial<GatewayOptions>, NonNullable<Parameters<typeof startPair>[2]>['configure']]> = [
    ['a replaced body', respond(503, {}, big), {}, app => {
      app.get('/*', { proxy: { backend: 'up', modifyResponse: draft => { if (draft.status === 503) draft.body = 'short' } } }, app.reverseproxy.handler)
    }],
    ['a bad header from a hook', respond(503, {}, big), {}, app => {
      app.get('/*', { proxy: { backend: 'up', modifyResponse: draft => { if (draft.status === 503) draft.headers.set('x-a', 'a\r\nb') } } }, app.reverseproxy.handler)
    }],
    ['a hook that throws', respond(503, {}, big), {}, app => {
      app.get('/*', { proxy: { backend: 'up', modifyResponse: draft => { if (draft.status === 503) throw new Error('no') } } }, app.reverseproxy.handler)
    }]
  ]
  for (const [name, script, options, configure] of droppers) {
    const pair = await startPair(t, script, { backend: { pool: { connections: 2 } }, gateway: options, ...(configure === undefined ? {} : { configure }) })
    const results = await Promise.all(Array.from({ length: 12 }, async () => await rawRequest(pair.port, get('/'), { ms: 6000 })))
    t.ok(results.every(result => result.status >= 500), `${name}: each is answered`, { found: results.map(result => result.status) })
    pair.upstream.answer(OK)
    await checkHealthy(t, pair)
  }
})

t.test('faults of every kind, at once and in any order, leave a healthy gateway', async t => {
  const scripts: Script[] = [OK, [], RESET, FIN, [respond(200, { 'Content-Length': '100' }, null), 'half', RESET], 'garbage\r\n\r\n', respond(503, {}, seededBytes(300_000)), [wait(100), OK], ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk('half'), FIN], [respond(200, { 'Content-Length': '100' }, null)], respond(413, {}, 'early')]
  const pair = await startPair(t, OK, { backend: { pool: { connections: 8 } }, gateway: { timeout: TIMEOUT } })
  pair.upstream.answer(async exchange => {
    const script = scripts[exchange.nth % scripts.length]
    return typeof script === 'function' || script === undefined ? OK : script
  })
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all(Array.from({ length: 33 }, async (_, n) => await rawRequest(pair.port, REQUESTS[n % REQUESTS.length]?.[1] ?? get('/'), { ms: 8000 })))
    t.ok(results.every(result => result.status !== 0 || result.closed), `round ${round}: everybody hears something`)
  }
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
  t.strictSame(pair.upstream.malformed, [], 'the upstream could read everything')
})

t.test('an unknown backend is a coded 500', async t => {
  const pair = await startPair(t, OK, {
    configure: app => {
      app.get('/nowhere', async (_request, reply) => reply.proxy('secret-name'))
      app.get('/healthy', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    }
  })
  const { response } = await rawRequest(pair.port, get('/nowhere'))
  checkErrorBody(t, response, 500, 'unknown backend')
  t.notMatch(response.text, /secret-name/, 'its name is for the log')
  await checkHealthy(t, pair)
})

// ---------------------------------------------------------------- redirects

const CREDENTIALS: HeaderLine[] = [['Authorization', 'Bearer secret'], ['Cookie', 'session=secret'], ['X-Other', 'kept']]

t.test('redirects pass through unless they are to be followed', async t => {
  const pair = await startPair(t, OK)
  for (const status of [301, 302, 303, 307, 308]) {
    pair.upstream.answer(respond(status, { Location: 'http://other.example/x' }, 'moved'))
    const { response } = await rawRequest(pair.port, get('/'))
    t.strictSame([response.status, response.header('location'), response.text], [status, 'http://other.example/x', 'moved'], `${status} passes`)
  }
})

t.test('a followed redirect stays with configured backends and drops credentials for another origin', async t => {
  const other = await rawUpstream(t, respond(200, {}, 'other'))
  const stranger = await rawUpstream(t, respond(200, {}, 'stranger'))
  const upstream = await rawUpstream(t, OK)
  const gateway = await startGateway(t, { circuitBreaker: false, backends: { up: { targets: [upstream.url], redirects: { follow: 3 } }, other: other.url } } as GatewayOptions)
  const redirect = (location: string, status = 302): Script => async ({ request }) => request.target === '/start' ? respond(status, { Location: location }, 'moved') : respond(200, {}, `own ${request.target}`)
  for (const status of [301, 302, 303, 307, 308]) {
    upstream.answer(redirect('/next?a=%2F', status))
    t.equal((await rawRequest(gateway.port, get('/start', CREDENTIALS))).response.text, 'own /next?a=%2F', `${status}: followed on the same origin`)
    t.strictSame([upstream.last.header('authorization'), upstream.last.header('cookie')], ['Bearer secret', 'session=secret'], `${status}: with its credentials`)
    upstream.answer(redirect(`${other.url}/there`, status))
    t.equal((await rawRequest(gateway.port, get('/start', CREDENTIALS))).response.text, 'other', `${status}: followed to a configured origin`)
    t.strictSame([other.last.target, other.last.header('x-other')], ['/there', 'kept'], `${status}: the rest goes along`)
    t.notMatch(other.last.head, /secret/, `${status}: the credentials do not`)
  }
  for (const location of [`${stranger.url}/there`, `//127.0.0.1:${stranger.port}/there`, `http://user@127.0.0.1:${stranger.port}/`, `HTTP://127.0.0.1:${stranger.port}`, `/\\127.0.0.1:${stranger.port}/`, `http:\\\\127.0.0.1:${stranger.port}/`, `\t//127.0.0.1:${stranger.port}/`]) {
    upstream.answer(redirect(location))
    const { status } = await rawRequest(gateway.port, get('/start', CREDENTIALS))
    t.ok([200, 302, 502].includes(status), `${JSON.stringify(location)}: passed on or refused`, { found: status })
    t.equal(stranger.connections, 0, `${JSON.stringify(location)}: a stranger is never asked`)
  }
  for (const location of ['', 'http://', 'http://[', 'file:///etc/passwd', 'javascript:1', 'http://127.0.0.1:99999/', 'x'.repeat(10_000)]) {
    upstream.answer(redirect(location))
    const { status } = await rawRequest(gateway.port, get('/start'))
    t.ok([200, 302, 502].includes(status), `${JSON.stringify(location).slice(0, 40)}: no crash`, { found: status })
  }
})

t.test('following redirects stops at the limit, and what is discarded does not wedge', async t => {
  const pair = await startPair(t, ({ request }) => respond(302, { Location: `/${Number(request.target.slice(1)) + 1}` }, seededBytes(1_000_000)), { backend: { redirects: { follow: 3 }, pool: { connections: 2 } } })
  const results = await Promise.all(Array.from({ length: 6 }, async () => await rawRequest(pair.port, get('/0'), { ms: 8000 })))
  t.ok(results.every(result => result.status === 502 || result.status === 302), 'it stops', { found: results.map(result => result.status) })
  t.equal(pair.upstream.requests.length, 6 * 4, 'after the limit: one request and three more')
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
})
