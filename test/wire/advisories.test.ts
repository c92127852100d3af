/**
 * Regressions: advisories of @fastify/reply-from and faults of bare reply-from that FIELD-NOTES lists.
 */
import t from 'tap'
import { closedPort, get, post, rawClient, rawRequest, rawUpstream, requestBytes, respond, startGateway, startPair, waitFor } from '../helper.ts'
import type { GatewayOptions, HeaderLine } from '../helper.ts'
import { OK, checkAlive, checkErrorBody, checkHealthy, checkRefused, forwarded, seen } from './checks.ts'

t.test('GHSA-v2v2-hph8-q5xp: an odd content type does not make the body be written anew', async t => {
  const pair = await startPair(t, OK)
  const body = '{ "a" : 1.0, "a": 2, "b":"\\u00e9" , "big": 12345678901234567890 }'
  for (const type of ['application/json ; charset=utf-8', 'application/json ;charset', 'application/json\t; charset=utf-8', 'Application/Json', 'application/json;', 'application/json ; charset=utf-16', ' application/json', 'text/plain ; x', 'application/x-www-form-urlencoded ; charset']) {
    const request = await forwarded(t, pair, [type, post('/', body, { 'Content-Type': type })])
    t.equal(request?.body.toString('latin1'), body, `${type}: the same bytes`)
    t.strictSame(request?.all('content-length'), [String(body.length)], `${type}: the same length`)
    t.strictSame(request?.all('content-type'), [type.trim()], `${type}: the same type`)
  }
})

t.test('GHSA-2q7r-29rg-6m5h: decoded dots do not escape a prefix', async t => {
  const pair = await startPair(t, OK, {
    configure: app => {
      const handler = app.reverseproxy.handler
      app.get('/public/*', { proxy: { backend: 'up', rewrite: { replacePrefix: { from: '/public', to: '/files/public' } } } }, handler)
      app.get('/healthy', { proxy: { backend: 'up' } }, handler)
    }
  })
  for (const path of ['/public/%2e%2e/private', '/public/%2E%2e/private', '/public/.%2e/private', '/public/a/%2e%2e/%2e%2e/private', '/public/..%2fprivate', '/public/%2e%2e%2fprivate', '/public/..%5cprivate', '/public/../private', '/public/..\\private', '/public/a\\..\\..\\private', '/public/%2e%2e', '/public/%2e%2e?x']) {
    await checkRefused(t, pair, [path, get(path)], [400], { closes: false })
  }
  t.equal((await forwarded(t, pair, ['in place', get('/public/a..b/c')]))?.target, '/files/public/a..b/c', 'dots that climb nowhere pass')
})

t.test('GHSA-v574-6498-x57v: no two targets share a cached URL', async t => {
  const one = await rawUpstream(t, async ({ request }) => respond(200, {}, `one ${request.target}`))
  const two = await rawUpstream(t, async ({ request }) => respond(200, {}, `two ${request.target}`))
  const gateway = await startGateway(t, { backends: { one: one.url, two: two.url, onea: `${one.url}/a` } } as GatewayOptions, app => {
    const handler = app.reverseproxy.handler
    app.get('/one/*', { proxy: { backend: 'one', rewrite: { stripPrefix: '/one' } } }, handler)
    app.get('/two/*', { proxy: { backend: 'two', rewrite: { stripPrefix: '/two' } } }, handler)
    app.get('/onea/*', { proxy: { backend: 'onea', rewrite: { stripPrefix: '/onea' } } }, handler)
  })
  const cases: Array<[string, string]> = [['/one/a/b', 'one /a/b'], ['/onea/b', 'one /a/b'], ['/two/a/b', 'two /a/b'], ['/onea/a/b', 'one /a/a/b'], ['/one/b', 'one /b'], ['/two/b', 'two /b'], ['/one/a', 'one /a'], ['/one/A', 'one /A'], ['/one/%61', 'one /%61'], ['/one/a?b', 'one /a?b'], ['/one/a?B', 'one /a?B'], ['/one/a%3fb', 'one /a%3fb'], ['/onea/', 'one /a/'], ['/one/a/', 'one /a/']]
  for (let round = 0; round < 3; round++) {
    for (const [path, expected] of round === 1 ? [...cases].reverse() : cases) {
      t.equal((await rawRequest(gateway.port, get(path))).response.text, expected, `${path}, round ${round}`)
    }
  }
})

t.test('12.6.2: Connection does not strip what the gateway adds', async t => {
  const pair = await startPair(t, OK, { gateway: { headers: { request: { set: { 'X-Auth-User': 'gateway' } } } } as Omit<GatewayOptions, 'backends'> })
  for (const named of ['x-auth-user', 'X-Auth-User', 'X-AUTH-USER, close', 'keep-alive, x-auth-user, x-forwarded-for']) {
    for (const extra of [[], [['X-Auth-User', 'admin']]] as HeaderLine[][]) {
      const request = await forwarded(t, pair, [named, get('/', [...extra, ['Connection', named]])])
      t.strictSame(request?.all('x-auth-user'), ['gateway'], `Connection: ${named}: ours arrives, once`)
    }
  }
})

t.test('a 503 is asked for once', async t => {
  const pair = await startPair(t, respond(503, { 'Retry-After': '0' }, 'busy'))
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'PUT']) {
    const before = pair.upstream.requests.length
    const result = await rawRequest(pair.port, requestBytes(method, '/'), { ms: 2000 })
    t.equal(result.status, 503, `${method}: passed on`)
    t.equal(pair.upstream.requests.length, before + 1, `${method}: asked once`)
  }
})

t.test('a failed connection names no address', async t => {
  const gateway = await startGateway(t, { backends: { up: `http://127.0.0.1:${await closedPort()}` } })
  const { response } = await rawRequest(gateway.port, get('/'))
  checkErrorBody(t, response, 502)
  t.notMatch(response.head + response.text, /127\.0\.0\.1|ECONN|connect /, 'nowhere')
})

t.test('Keep-Alive of a client is no error', async t => {
  const pair = await startPair(t, OK)
  for (const value of ['timeout=5', 'timeout=5, max=1000', '', '300']) {
    const client = await rawClient(t, pair.port)
    t.equal((await client.exchange(get('/', { 'Keep-Alive': value, Connection: 'keep-alive' }))).status, 200, `Keep-Alive: ${value}`)
    await checkAlive(t, client, value)
  }
})

t.test('a backslash never becomes a slash', async t => {
  const pair = await startPair(t, OK)
  for (const path of ['/a\\..\\b', '/a\\b', '/a/..\\..\\b', '/%5c..%5cb']) {
    await checkRefused(t, pair, [path, get(path)], [400], { closes: false })
  }
})

t.test('more clients than connections that leave early do not use up the pool', async t => {
  const pair = await startPair(t, [])
  const clients = await Promise.all(Array.from({ length: 140 }, async () => await rawClient(t, pair.port)))
  for (const client of clients) await client.send(get('/'))
  await seen(pair, 128, 2000)
  for (const client of clients) client.destroy()
  const abandoned = [...pair.upstream.requests]
  pair.upstream.answer(OK)
  await checkHealthy(t, pair)
  t.ok(await pair.upstream.dropped(abandoned, 2000), 'what they used is closed')
})

t.test('a client abort before the headers settles the request and its call', async t => {
  let ended = 0
  const pair = await startPair(t, [], {
    configure: app => {
      app.addHook('onRequest', async request => { request.raw.once('close', () => { ended += 1 }) })
      app.get('/*', { proxy: { backend: 'up' } }, app.reverseproxy.handler)
    }
  })
  const client = await rawClient(t, pair.port)
  await client.send(get('/'))
  await seen(pair, 1)
  client.destroy()
  t.ok(await waitFor(() => ended === 1, 2000), 'the request ends')
  t.ok(await pair.upstream.dropped(undefined, 1500), 'and so does its call')
})
