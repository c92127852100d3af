/** Header policy by option: what a backend gets and what a client gets. */
import t from 'tap'
import { httpUpstream, startGateway } from '../helper.ts'
import type { FastifyServerOptions } from 'fastify'
import type { GatewayOptions, TestLike } from '../helper.ts'

type Lines = Array<readonly [string, string]>

interface Seen { lines: Lines, of: (name: string) => string[] }

/** A gateway before an upstream that says which headers it got, and answers with some of its own. */
async function setUp (t: TestLike, options: Partial<GatewayOptions> & { backend?: object, proxy?: object, server?: FastifyServerOptions } = {}) {
  const { backend, proxy, server, ...gateway } = options
  const upstream = await httpUpstream(t, (request, response) => {
    response.setHeader('server', 'secret/1.0')
    response.setHeader('x-powered-by', 'magic')
    response.setHeader('x-old', 'kept')
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.end(JSON.stringify(request.rawHeaders))
  })
  const started = await startGateway(t, { ...gateway, backends: { up: { targets: [upstream.url], ...backend } } } as GatewayOptions, app => {
    app.get('/*', { proxy: { backend: 'up', ...proxy } }, app.reverseproxy.handler)
  }, server)
  async function ask (headers: Record<string, string> = {}): Promise<Seen & { response: Response }> {
    const response = await fetch(`${started.url}/api/x`, { headers })
    const raw = await response.json() as string[]
    const lines: Lines = raw.flatMap((name, i) => i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]!] as const] : [])
    return { lines, of: name => lines.filter(([key]) => key === name).map(([, value]) => value), response }
  }
  return { ask, port: started.port, upstream }
}

t.test('by default everything crosses, with forwarded headers, Via and the request id added', async t => {
  const { ask, port, upstream } = await setUp(t)
  const { of } = await ask({ 'x-a': '1', authorization: 'Bearer x', cookie: 'c=1' })
  t.same(of('x-a'), ['1'])
  t.same(of('authorization'), ['Bearer x'])
  t.same(of('cookie'), ['c=1'])
  t.same(of('host'), [`127.0.0.1:${upstream.port}`])
  t.same(of('x-forwarded-for'), ['127.0.0.1'])
  t.same(of('x-forwarded-proto'), ['http'])
  t.same(of('x-forwarded-host'), [`127.0.0.1:${port}`])
  t.same(of('via'), ['1.1 fastify-reverseproxy'])
  t.equal(of('x-request-id').length, 1)
  for (const name of ['x-forwarded-port', 'x-forwarded-prefix', 'x-real-ip', 'forwarded']) t.same(of(name), [])
})

t.test('set, append, remove and rename act on requests; a later level wins', async t => {
  const { ask } = await setUp(t, {
    headers: { request: { set: { 'x-level': 'global', 'x-global': 'g' }, append: { 'x-list': 'g' }, remove: ['x-debug'], rename: { 'x-from': 'x-to' } } },
    backend: { headers: { request: { set: { 'x-level': 'backend' }, append: { 'x-list': 'b' }, remove: ['x-global'] } } },
    proxy: { headers: { request: { set: { 'x-level': 'route' }, append: { 'x-list': 'r' } } } }
  })
  const { of } = await ask({ 'x-level': 'client', 'x-debug': '1', 'x-list': 'c', 'x-from': 'moved', 'x-global': 'client' })
  t.same(of('x-level'), ['route'])
  t.same(of('x-list'), ['c', 'g', 'b', 'r'])
  t.same(of('x-debug'), [])
  t.same(of('x-global'), [])
  t.same([of('x-from'), of('x-to')], [[], ['moved']])
})

t.test('a value may be a function of the request, and undefined leaves the header out', async t => {
  const { ask } = await setUp(t, { proxy: { headers: { request: { set: { 'x-url': (request: { url: string }) => request.url, 'x-none': () => undefined } } } } })
  const { of } = await ask({ 'x-none': 'client' })
  t.same(of('x-url'), ['/api/x'])
  t.same(of('x-none'), [])
})

t.test('a function that yields a line break fails the request with a coded 500, and the next one works', async t => {
  let value = 'a\r\nx-evil: 1'
  const { ask, upstream } = await setUp(t, { proxy: { headers: { request: { set: { 'x-value': () => value } } } } })
  let asked = 0
  upstream.server.on('request', () => asked++)
  t.match(await (await ask().catch(() => undefined))?.response.status ?? 500, 500)
  t.equal(asked, 0)
  value = 'fine'
  t.same((await ask()).of('x-value'), ['fine'])
})

t.test('a renamed header cannot bring back what another edit has settled', async t => {
  const cases = [
    [{ request: { rename: { 'x-a': 'x-b' }, set: { 'x-b': 'v' } } }, {}, ['v']],
    [{ request: { rename: { 'x-a': 'x-b' } } }, { request: { remove: ['x-b'] } }, []],
    [{ request: { rename: { 'x-a': 'x-b' } } }, { request: { set: { 'x-b': 'w' } } }, ['w']],
    [{ request: { rename: { 'x-a': 'x-b' } } }, {}, ['evil']]
  ] as const
  for (const [global, backend, expected] of cases) {
    const { ask } = await setUp(t, { headers: global, backend: { headers: backend } } as never)
    t.same((await ask({ 'x-a': 'evil' })).of('x-b'), expected)
  }
})

t.test('edits of the fields the gateway writes take their place', async t => {
  const removed = await setUp(t, { headers: { request: { remove: ['x-forwarded-for', 'x-request-id', 'via'] } } })
  const seen = await removed.ask({ via: '1.1 other' })
  t.same([seen.of('x-forwarded-for'), seen.of('x-request-id'), seen.of('via')], [[], [], []])
  const set = await setUp(t, { headers: { request: { set: { 'x-forwarded-for': 'me', 'x-request-id': 'one', via: '1.1 me' } } } })
  const own = await set.ask({ 'x-forwarded-for': 'evil' })
  t.same([own.of('x-forwarded-for'), own.of('x-request-id'), own.of('via')], [['me'], ['one'], ['1.1 me']])
})

t.test('a request id may be a number', async t => {
  t.same((await (await setUp(t, { server: { genReqId: () => 7 as unknown as string } })).ask()).of('x-request-id'), ['7'])
})

t.test('an allow list lets only its headers through', async t => {
  const { ask } = await setUp(t, { headers: { request: { forward: ['Accept', 'x-a'] } } })
  const { of, lines } = await ask({ 'x-a': '1', 'x-b': '2', cookie: 'c=1', authorization: 'Bearer x' })
  t.same([of('x-a'), of('x-b'), of('cookie'), of('authorization')], [['1'], [], [], []])
  t.same(new Set(lines.map(([name]) => name)), new Set(['host', 'connection', 'accept', 'x-a', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'via', 'x-request-id']))
})

t.test('a route widens or narrows the allow list', async t => {
  const { ask } = await setUp(t, { headers: { request: { forward: ['accept'] } }, proxy: { headers: { request: { forward: '*' } } } })
  t.same((await ask({ 'x-b': '2' })).of('x-b'), ['2'])
})

t.test('set, append, remove and rename act on answers', async t => {
  const { ask } = await setUp(t, {
    headers: { response: { remove: ['server', 'X-Powered-By'], set: { 'x-frame-options': 'DENY' }, append: { 'set-cookie': 'c=3' } } },
    proxy: { headers: { response: { rename: { 'x-old': 'x-new' } } } }
  })
  const { response } = await ask()
  t.equal(response.headers.get('server'), null)
  t.equal(response.headers.get('x-powered-by'), null)
  t.equal(response.headers.get('x-frame-options'), 'DENY')
  t.same(response.headers.getSetCookie(), ['a=1', 'b=2', 'c=3'])
  t.same([response.headers.get('x-old'), response.headers.get('x-new')], [null, 'kept'])
})

t.test('Host is the upstream\'s, the client\'s, or a name', async t => {
  const preserve = await setUp(t, { backend: { host: 'preserve' } })
  t.same((await preserve.ask()).of('host'), [`127.0.0.1:${preserve.port}`])
  const fixed = await setUp(t, { backend: { host: 'orders.internal' } })
  t.same((await fixed.ask()).of('host'), ['orders.internal'])
  const route = await setUp(t, { host: 'preserve', proxy: { host: 'route.internal' } })
  t.same((await route.ask()).of('host'), ['route.internal'])
})

t.test('what an untrusted peer says about itself is replaced', async t => {
  const all = { for: 'append', proto: 'append', host: 'append', port: 'append', prefix: 'append', realIp: 'append', rfc7239: 'append' } as const
  const { ask, port } = await setUp(t, { headers: { forwarded: all }, proxy: { rewrite: { stripPrefix: '/api' } } })
  const { of } = await ask({
    'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil', 'x-forwarded-port': '1', 'x-forwarded-prefix': '/evil', 'x-real-ip': '6.6.6.6', forwarded: 'for=6.6.6.6'
  })
  t.same(of('x-forwarded-for'), ['127.0.0.1'])
  t.same(of('x-forwarded-proto'), ['http'])
  t.same(of('x-forwarded-host'), [`127.0.0.1:${port}`])
  t.same(of('x-forwarded-port'), [String(port)])
  t.same(of('x-forwarded-prefix'), ['/api'])
  t.same(of('x-real-ip'), ['127.0.0.1'])
  t.same(of('forwarded'), [`for=127.0.0.1;host="127.0.0.1:${port}";proto=http`])
})

t.test('what a trusted peer says is extended', async t => {
  const { ask, port } = await setUp(t, { headers: { forwarded: { for: 'append', proto: 'set', host: 'set', port: 'set', realIp: 'set', rfc7239: 'append' } }, server: { trustProxy: true } })
  const { of } = await ask({ 'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example', forwarded: 'for=6.6.6.6' })
  t.same(of('x-forwarded-for'), ['6.6.6.6, 127.0.0.1'])
  t.same(of('x-forwarded-proto'), ['https'])
  t.same(of('x-forwarded-host'), ['shop.example'])
  t.same(of('x-forwarded-port'), ['443'])
  t.same(of('x-real-ip'), ['6.6.6.6'])
  t.same(of('forwarded'), ['for=6.6.6.6, for=127.0.0.1;host=shop.example;proto=https'])
  t.type(port, 'number')
})

t.test('off passes on a trusted peer\'s word, drops another\'s, and adds nothing; remove drops both', async t => {
  const forwarded = { for: 'off', proto: 'remove', host: 'off', realIp: 'off' } as const
  const claims = { 'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'https', 'x-real-ip': '6.6.6.6' }
  const trusted = await setUp(t, { headers: { forwarded }, server: { trustProxy: '127.0.0.1' } })
  const seen = await trusted.ask(claims)
  t.same([seen.of('x-forwarded-for'), seen.of('x-forwarded-proto'), seen.of('x-forwarded-host'), seen.of('x-real-ip')], [['6.6.6.6'], [], [], ['6.6.6.6']])
  const stranger = await setUp(t, { headers: { forwarded }, server: { trustProxy: '10.0.0.1' } })
  const unseen = await stranger.ask(claims)
  t.same([unseen.of('x-forwarded-for'), unseen.of('x-forwarded-proto'), unseen.of('x-real-ip')], [[], [], []])
})

t.test('the request id is Fastify\'s, under a name of one\'s own, or not sent', async t => {
  const server = { genReqId: () => 'id-7' }
  t.same((await (await setUp(t, { server })).ask({ 'x-request-id': 'forged' })).of('x-request-id'), ['id-7'])
  t.same((await (await setUp(t, { server, headers: { requestId: 'x-trace' } })).ask()).of('x-trace'), ['id-7'])
  t.same((await (await setUp(t, { server, headers: { requestId: false } })).ask()).of('x-request-id'), [])
})

t.test('Via names the gateway, extends what is there, and can be left out', async t => {
  t.same((await (await setUp(t, { headers: { via: 'edge' } })).ask({ via: '1.0 other' })).of('via'), ['1.0 other, 1.1 edge'])
  t.same((await (await setUp(t, { headers: { via: false } })).ask({ via: '1.0 other' })).of('via'), ['1.0 other'])
})

t.test('our own name beyond maxHops is a loop', async t => {
  const { ask, port } = await setUp(t, { headers: { via: { name: 'edge', maxHops: 1 } } })
  t.same((await ask({ via: '1.1 edge' })).of('via'), ['1.1 edge, 1.1 edge'])
  const response = await fetch(`http://127.0.0.1:${port}/x`, { headers: { via: '1.1 edge, 1.1 Edge' } })
  t.equal(response.status, 508)
  t.match(await response.json(), { code: 'RP_ERR_LOOP' })
})

t.test('a gateway that points at itself stops', async t => {
  const { app, url, port } = await startGateway(t, { backends: { self: { targets: [{ url: 'http://127.0.0.1:9', active: false }] } } }, app => {
    app.get('/*', { proxy: 'self' }, app.reverseproxy.handler)
  })
  let requests = 0
  app.server.on('request', () => requests++)
  app.reverseproxy.backends.update('self', `http://127.0.0.1:${port}`)
  t.equal((await fetch(url)).status, 508)
  t.ok(requests <= 6, `${requests} requests`)
})
