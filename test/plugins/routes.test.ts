/** Routes: the option, the handler, matching, rewriting, the default backend, reply.proxy(), and what is refused at boot. */
import t from 'tap'
import Fastify from 'fastify'
import reverseproxy from '../../index.ts'
import { get, httpUpstream, rawRequest, startGateway } from '../helper.ts'
import type { GatewayOptions } from '../helper.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** An upstream that answers with its name and what it was asked. */
function echo (name: string) {
  return httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ name, method: request.method, url: request.url, type: request.headers['content-type'], source: request.headers['x-source'], body: Buffer.concat(chunks).toString() }))
    })
  })
}

const a = await echo('a')
const b = await echo('b')
const backends = { a: a.url, b: b.url }

/** Boots without listening. */
async function boot (options: GatewayOptions, configure: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(reverseproxy, options)
  configure(app)
  await app.ready()
  return app
}

t.test('a route option forwards, in short and in full', async t => {
  const app = await boot({ backends }, app => {
    app.get('/short', { proxy: 'a' }, app.reverseproxy.handler)
    app.get('/full', { proxy: { backend: 'b' } }, app.reverseproxy.handler)
  })
  t.match((await app.inject('/short?x=1')).json(), { name: 'a', url: '/short?x=1' })
  t.match((await app.inject('/full')).json(), { name: 'b' })
})

t.test('without a default backend nothing is caught: Fastify answers 404', async t => {
  const app = await boot({ backends })
  t.equal((await app.inject('/nowhere')).statusCode, 404)
})

t.test('a default backend takes every other request, and routes that name no backend', async t => {
  const app = await boot({ backends, defaultBackend: 'b' }, app => {
    app.get('/own', async () => ({ own: true }))
    app.get('/plain', app.reverseproxy.handler)
  })
  t.match((await app.inject('/anything')).json(), { name: 'b', url: '/anything' })
  t.match((await app.inject({ method: 'DELETE', url: '/x/y' })).json(), { name: 'b', method: 'DELETE' })
  t.match((await app.inject('/plain')).json(), { name: 'b' })
  t.same((await app.inject('/own')).json(), { own: true })
})

t.test('the automatic HEAD route forwards as HEAD', async t => {
  const app = await boot({ backends }, app => { app.get('/x', { proxy: 'a' }, app.reverseproxy.handler) })
  const answer = await app.inject({ method: 'HEAD', url: '/x' })
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, '')
  t.equal(answer.headers['content-type'], 'application/json')
})

t.test('hooks of the user run around a forwarded route, and see its real headers', async t => {
  const order: string[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends })
  app.addHook('preValidation', async request => { order.push(`preValidation ${String(request.headers['content-type'])} ${String(request.headers['content-length'])}`) })
  app.addHook('onSend', async (_request, _reply, payload) => { order.push(`onSend ${typeof payload}`); return payload })
  app.post('/x', { proxy: 'a', preHandler: async request => { order.push(`preHandler ${String(request.body)}`) } }, app.reverseproxy.handler)
  const answer = await app.inject({ method: 'POST', url: '/x', payload: { n: 1 } })
  t.match(answer.json(), { body: '{"n":1}', type: 'application/json' })
  t.same(order, ['preValidation application/json 7', 'preHandler undefined', 'onSend string'])
})

t.test('a hook that refuses keeps the request from the backend', async t => {
  const app = await boot({ backends }, app => {
    app.get('/x', { proxy: 'a', preHandler: async (_request, reply) => reply.code(401).send({ no: true }) }, app.reverseproxy.handler)
  })
  t.equal((await app.inject('/x')).statusCode, 401)
})

t.test('bodies that Fastify would refuse to parse are forwarded as they are', async t => {
  const app = await boot({ backends }, app => { app.post('/x', { proxy: 'a' }, app.reverseproxy.handler) })
  for (const [type, payload] of [['application/json', '{ "broken": '], ['application/json', ''], ['nonsense', 'x'], ['application/xml', '<a/>'], ['application/json; charset=utf-8', ' {"a" : 1.0} ']]) {
    const answer = await app.inject({ method: 'POST', url: '/x', payload: payload!, headers: { 'content-type': type! } })
    t.match(answer.json(), { body: payload, type })
  }
})

t.test('a hook may put another body in the place of the client\'s', async t => {
  const app = await boot({ backends }, app => {
    app.post('/x', { proxy: 'a', preHandler: async request => { request.body = { replaced: true } } }, app.reverseproxy.handler)
  })
  t.match((await app.inject({ method: 'POST', url: '/x', payload: 'text', headers: { 'content-type': 'text/plain' } })).json(), { body: '{"replaced":true}', type: 'application/json' })
})

t.test('a route\'s bodyLimit is kept: 413 before the backend sees anything', async t => {
  const app = await boot({ backends }, app => {
    app.post('/own', { proxy: 'a', bodyLimit: 10 }, app.reverseproxy.handler)
    app.post('/proxy', { proxy: { backend: 'a', bodyLimit: '10b' } }, app.reverseproxy.handler)
  })
  for (const url of ['/own', '/proxy']) {
    t.equal((await app.inject({ method: 'POST', url, payload: '12345678901' })).statusCode, 413)
    t.equal((await app.inject({ method: 'POST', url, payload: '1234567890' })).statusCode, 200)
  }
})

t.test('routes of the options match by method, host, headers and query, the most specific first', async t => {
  const app = await boot({
    backends,
    routes: [
      { name: 'rest', path: '/m/*', proxy: { backend: 'a' } },
      { name: 'deep', path: '/m/deep/*', methods: ['GET'], proxy: { backend: 'a', headers: { request: { set: { 'x-source': 'deep' } } } } },
      { name: 'host', path: '/m/*', host: 'users.example.com', proxy: { backend: 'b', headers: { request: { set: { 'x-source': 'host' } } } } },
      { name: 'wild', path: '/m/*', host: '*.example.com', proxy: { backend: 'b', headers: { request: { set: { 'x-source': 'wild' } } } } },
      { name: 'header', path: '/m/*', headers: { 'x-version': { prefix: 'v2' } }, proxy: { backend: 'b', headers: { request: { set: { 'x-source': 'header' } } } } },
      { name: 'query', path: '/m/*', query: { debug: { exists: true } }, methods: ['GET'], proxy: { backend: 'b', headers: { request: { set: { 'x-source': 'query' } } } } },
      { name: 'only', path: '/only', headers: { 'x-a': '1' }, proxy: { backend: 'a' } }
    ]
  } as GatewayOptions)
  const source = async (url: string, headers: Record<string, string> = {}): Promise<unknown> => (await app.inject({ url, headers })).json().source
  t.equal(await source('/m/x'), undefined)
  t.equal(await source('/m/deep/x'), 'deep')
  t.equal(await source('/m/x', { host: 'users.example.com:8080' }), 'host')
  t.equal(await source('/m/x', { host: 'other.example.com' }), 'wild')
  t.equal(await source('/m/x', { 'x-version': 'v2.1' }), 'header')
  t.equal(await source('/m/x?debug'), 'query')
  t.equal((await app.inject('/only')).statusCode, 404)
  t.equal((await app.inject({ url: '/only', headers: { 'x-a': '1' } })).statusCode, 200)
})

t.test('hand-written routes may use the same conditions as a constraint', async t => {
  const app = await boot({ backends }, app => {
    app.get('/c', { proxy: 'a' }, app.reverseproxy.handler)
    app.get('/c', { proxy: 'b', constraints: { reverseproxy: { test: (request: { headers: Record<string, unknown> }) => request.headers['x-beta'] === '1' } } }, app.reverseproxy.handler)
  })
  t.match((await app.inject('/c')).json(), { name: 'a' })
  t.match((await app.inject({ url: '/c', headers: { 'x-beta': '1' } })).json(), { name: 'b' })
})

t.test('paths are rewritten in the order of the chain, and the query stays', async t => {
  const rewrites: Array<[object | object[], string, string]> = [
    [{ stripPrefix: '/api' }, '/api/x?a=%zz&a=2', '/x?a=%zz&a=2'],
    [{ stripPrefix: '/api' }, '/apiary/x', '/apiary/x'],
    [{ stripPrefix: '/api', addPrefix: '/v1' }, '/api/x', '/v1/x'],
    [{ replacePrefix: { from: '/api/v1', to: '/api/v2' } }, '/api/v1/x', '/api/v2/x'],
    [{ regex: { pattern: '^/u/(\\d+)$', replacement: '/users/$1' } }, '/u/42', '/users/42'],
    [[{ stripPrefix: '/api' }, { addPrefix: '/a' }, { addPrefix: '/b' }], '/api/x', '/b/a/x'],
    [{ query: { set: { k: 'v' }, remove: ['a'] } }, '/x?a=1&b=%20', '/x?b=%20&k=v']
  ]
  const app = await boot({ backends }, app => {
    rewrites.forEach(([rewrite], i) => { app.get(`/r${i}/*`, { proxy: { backend: 'a', rewrite: [{ stripPrefix: `/r${i}` }, rewrite].flat() } }, app.reverseproxy.handler) })
    app.get('/u/:id', { proxy: { backend: 'a', rewrite: { template: '/api/users/:id' } } }, app.reverseproxy.handler)
  })
  for (const [i, [, from, to]] of rewrites.entries()) t.equal((await app.inject(`/r${i}${from}`)).json().url, to)
  t.equal((await app.inject('/u/a%2Fb')).json().url, '/api/users/a%2Fb')
})

t.test('a path that climbs is a 400 and reaches nobody', async t => {
  const { port } = await startGateway(t, { backends }, app => {
    app.get('/api/*', { proxy: { backend: 'a', rewrite: { stripPrefix: '/api' } } }, app.reverseproxy.handler)
  })
  for (const path of ['/api/../x', '/api/%2e%2e/x', '/api/..%2fx', '/api/%252e%252e/x', '/api/..%5cx', '/api/x/..', '/api/x\\y']) {
    const { responses } = await rawRequest(port, get(path))
    t.equal(responses[0]?.status, 400, path)
  }
})

t.test('reply.proxy() forwards from a handler, with changes', async t => {
  const app = await boot({ backends, defaultBackend: 'b' }, app => {
    app.post('/checkout', async (_request, reply) => reply.proxy('a', { path: '/v2/checkout?x=1', headers: { 'x-source': 'gateway', 'content-type': 'text/x-own' } }))
    app.post('/json', async (_request, reply) => reply.proxy('a', { body: { n: 2 }, method: 'PUT' }))
    app.post('/none', async (_request, reply) => reply.proxy('a', { body: null, method: 'GET' }))
    app.get('/default', async (_request, reply) => reply.proxy())
    app.get('/planned', { proxy: { backend: 'a', rewrite: { addPrefix: '/p' } } }, async (_request, reply) => reply.proxy())
    app.get('/callback', (_request, reply) => { reply.proxy('a') })
  })
  t.match((await app.inject({ method: 'POST', url: '/checkout', payload: { cart: 1 } })).json(), { name: 'a', url: '/v2/checkout?x=1', source: 'gateway', type: 'text/x-own', body: '{"cart":1}' })
  t.match((await app.inject({ method: 'POST', url: '/json', payload: { cart: 1 } })).json(), { method: 'PUT', body: '{"n":2}', type: 'application/json' })
  t.match((await app.inject({ method: 'POST', url: '/none', payload: { cart: 1 } })).json(), { method: 'GET', body: '' })
  t.match((await app.inject('/default')).json(), { name: 'b' })
  t.match((await app.inject('/planned')).json(), { name: 'a', url: '/p/planned' })
  t.match((await app.inject('/callback')).json(), { name: 'a' })
})

t.test('reply.proxy() refuses what it cannot do, and says so in the log', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends })
  let options: object = {}
  app.get('/x', async (_request, reply) => reply.proxy('a', options))
  for (const [wrong, said] of [[{ pathh: '/y' }, 'pathh'], [{ timeout: { total: 'soon' } }, 'soon'], [{ timeout: { connect: 1 } }, 'connect'], [{ method: 'CONNECT' }, 'CONNECT'], [{ path: 'y' }, 'must start with /']] as const) {
    options = wrong
    t.match((await app.inject('/x')).json(), { statusCode: 500, code: 'RP_ERR_INVALID_CALL' })
    t.match(lines.pop(), said)
  }
  options = { path: '/y?x=1#f' }
  t.equal((await app.inject('/x')).statusCode, 400)
  options = { timeout: '5s', headers: { 'X-Source': 'here' } }
  t.match((await app.inject('/x')).json(), { source: 'here' })
})

t.test('a JSON null that Fastify has parsed is forwarded as null', async t => {
  const app = await boot({ backends }, app => { app.post('/n', async (_request, reply) => reply.proxy('a')) })
  t.match((await app.inject({ method: 'POST', url: '/n', payload: 'null', headers: { 'content-type': 'application/json' } })).json(), { body: 'null', type: 'application/json' })
})

t.test('reply.proxy() keeps a content type of the caller\'s, however it is written', async t => {
  const app = await boot({ backends }, app => { app.post('/n', async (_request, reply) => reply.proxy('a', { body: { a: 1 }, headers: { 'Content-Type': 'application/vnd.api+json' } })) })
  t.match((await app.inject({ method: 'POST', url: '/n', payload: {} })).json(), { body: '{"a":1}', type: 'application/vnd.api+json' })
})

t.test('reply.proxy() to an unknown backend is a coded 500 that names it in the log only', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends })
  app.get('/x', async (_request, reply) => reply.proxy('nonsense'))
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 500)
  t.same(answer.json(), { statusCode: 500, code: 'RP_ERR_UNKNOWN_BACKEND', error: 'Internal Server Error', message: 'The gateway is not set up for this request' })
  t.match(lines.join(), /there is no backend \\"nonsense\\"|there is no backend \\\\\\"nonsense/)
})

t.test('the record of a request tells route, backend and attempts', async t => {
  let record: unknown
  const app = await boot({ backends }, app => {
    app.get('/named', { proxy: 'a', config: { name: 'my-route' }, onResponse: async (request: FastifyRequest) => { record = { ...request.reverseproxy, attempts: request.reverseproxy?.attempts } } } as never, app.reverseproxy.handler)
  })
  await app.inject('/named')
  t.match(record, { route: 'my-route', backend: 'a', aborted: false, tenant: undefined, attempts: [{ target: a.url, outcome: 'ok', status: 200, duration: Number, startedAt: Number }] })
})

t.test('users\' error handlers get the suite\'s errors', async t => {
  const app = await boot({ backends: { gone: 'http://127.0.0.1:9' } }, app => {
    app.setErrorHandler(async (error: Error & { code?: string, statusCode?: number }, _request, reply) => await reply.code(error.statusCode ?? 500).send({ custom: error.code }))
    app.get('/x', { proxy: 'gone' }, app.reverseproxy.handler)
  })
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 502)
  t.same(answer.json(), { custom: 'RP_ERR_CONNECT' })
})

t.test('what is wrong with routes is refused at boot', async t => {
  const refuse = async (message: RegExp, options: GatewayOptions, configure?: (app: FastifyInstance) => void): Promise<void> => {
    await t.rejects(boot(options, configure), { message, code: 'RP_ERR_OPTIONS' })
  }
  await refuse(/: wrong option\n.*route \/x: proxy\.backend: must be the name of a backend; known are a, b; did you mean "a"\? \(got "c"\)$/, { backends }, app => { app.get('/x', { proxy: 'c' }, app.reverseproxy.handler) })
  await refuse(/: wrong option\n.*route \/x: proxy\.backend: is required, as there is no defaultBackend$/, { backends }, app => { app.get('/x', app.reverseproxy.handler) })
  for (const key of ['proxi', 'Proxy', 'composit']) {
    await refuse(new RegExp(`: wrong option\\n.*route /x: ${key}: is not an option; did you mean "${key === 'composit' ? 'composite' : 'proxy'}"\\?`), { backends, defaultBackend: 'a' }, app => {
      app.get('/x', { [key]: 'a' }, app.reverseproxy.handler)
    })
  }
  await refuse(/rewrit/, { backends }, app => { app.get('/x', { proxy: { backend: 'a', rewrit: {} } as never }, app.reverseproxy.handler) })
  await refuse(/routes\[1\].*/, { backends, routes: [{ name: 'one', path: '/x', proxy: 'a' }, { name: 'two', path: '/x', proxy: 'b' }] } as GatewayOptions)
})

t.test('the gateway does not need serverOptions, but says what it misses', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends })
  t.match(lines.join(), /serverOptions/)
})
