/** Composites among users' own hooks and plugins: what they see, what they may change, and what goes wrong in them. */
import t from 'tap'
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import { gunzipSync } from 'node:zlib'
import { get, json, rawRequest, requestBytes, startBackends, startComposite, startGateway, ask as askUrl, BREAK, status } from '../helper.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CompositeOptions } from '../../lib/options/index.ts'
import type { TestLike } from '../helper.ts'

const AB: CompositeOptions = { backends: ['a', 'b'] }
const BIG = 'x'.repeat(5000)

/** A gateway with `/c`, whose route has more options. */
async function withRoute (t: TestLike, route: object, composite: CompositeOptions = AB, configure: (app: FastifyInstance) => unknown = () => {}, answers = {}) {
  const { backends } = await startBackends(t, answers)
  return await startGateway(t, { backends }, async app => {
    await configure(app)
    app.route({ method: 'GET', url: '/c', composite, handler: app.reverseproxy.handler, ...route } as Parameters<FastifyInstance['route']>[0])
  })
}

t.test('onSend hooks of the instance and of the route see the combined text or Buffer, with status and headers', async t => {
  const seen: unknown[] = []
  const look = (place: string) => async (_request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
    seen.push([place, String(payload), typeof payload === 'string' || Buffer.isBuffer(payload), reply.statusCode, reply.getHeader('x-composite-complete'), reply.getHeader('content-type')])
  }
  const { url } = await withRoute(t, { onSend: look('route') }, AB, app => { app.addHook('onSend', look('instance')) })
  t.equal((await askUrl(`${url}/c`)).text, '{"a":1,"b":1}')
  const rest = ['{"a":1,"b":1}', true, 200, 'true', 'application/json; charset=utf-8']
  t.same(seen, [['instance', ...rest], ['route', ...rest]])
})

t.test('an onSend hook may replace the answer', async t => {
  const { url } = await withRoute(t, { onSend: async (_request: FastifyRequest, reply: FastifyReply, payload: unknown) => { reply.code(202); return `${String(payload)}!` } })
  const { status: code, text, headers } = await askUrl(`${url}/c`)
  t.same([code, text, headers.get('content-length')], [202, '{"a":1,"b":1}!', '14'])
})

t.test('an onSend hook that throws is an error like any other', async t => {
  const { url } = await withRoute(t, { onSend: async () => { throw Object.assign(new Error('mine'), { statusCode: 418 }) } })
  const { status: code, value } = await askUrl(`${url}/c`)
  t.equal(code, 418)
  t.match(value, { message: 'mine' })
})

t.test('preSerialization hooks and serializers are not called with internals', async t => {
  const seen: unknown[] = []
  const { url } = await withRoute(t, { preSerialization: async (_request: FastifyRequest, _reply: FastifyReply, payload: unknown) => { seen.push(payload); return payload } }, AB, app => {
    app.setReplySerializer(payload => { seen.push(payload); return JSON.stringify(payload) })
  })
  t.equal((await askUrl(`${url}/c`)).text, '{"a":1,"b":1}')
  t.same(seen, [])
})

t.test('hooks before the handler run, and may answer for it', async t => {
  const order: string[] = []
  const { url } = await withRoute(t, { preHandler: async (request: FastifyRequest, reply: FastifyReply) => { order.push('preHandler'); if (request.url.includes('stop')) return reply.code(401).send({ no: 1 }) } }, AB, app => {
    app.addHook('onRequest', async () => { order.push('onRequest') })
    app.addHook('onResponse', async () => { order.push('onResponse') })
  })
  t.equal((await askUrl(`${url}/c`)).status, 200)
  t.same([(await askUrl(`${url}/c?stop`)).text], ['{"no":1}'])
  t.same(order, ['onRequest', 'preHandler', 'onResponse', 'onRequest', 'preHandler', 'onResponse'])
})

t.test('onError hooks are told of an answer that fails', async t => {
  const told: unknown[] = []
  const { url } = await withRoute(t, { onError: async (_request: FastifyRequest, _reply: FastifyReply, error: { code: string }) => { told.push(error.code) } }, AB, undefined, { a: BREAK, b: BREAK })
  t.equal((await askUrl(`${url}/c`)).status, 502)
  t.same(told, ['RP_ERR_NOTHING_USABLE'])
})

t.test('a schema for the answer does not filter it', async t => {
  const { url } = await withRoute(t, { schema: { response: { 200: { type: 'object', properties: { a: { type: 'integer' } } } } } })
  t.equal((await askUrl(`${url}/c`)).text, '{"a":1,"b":1}')
})

// ---- errors

t.test('setErrorHandler gets coded errors, with what happened as the cause', async t => {
  const seen: Array<{ code: string, statusCode: number, cause: unknown }> = []
  const cases: Array<[composite: CompositeOptions, answers: object, code: string, status: number]> = [
    [AB, { a: BREAK, b: BREAK }, 'RP_ERR_NOTHING_USABLE', 502], [{ ...AB, conflict: 'error' }, { a: { k: 1 }, b: { k: 2 } }, 'RP_ERR_CONFLICT', 502],
    [{ ...AB, transform: () => { throw new Error('mine') } }, {}, 'RP_ERR_COMBINE', 500], [{ parts: { x: { backend: 'a', required: true } } }, { a: json('<p>') }, 'RP_ERR_PART_NOT_JSON', 502]
  ]
  for (const [composite, answers, code, status] of cases) {
    const { url } = await withRoute(t, {}, composite, app => {
      app.setErrorHandler((error: Error & { code: string, statusCode: number }, _request, reply) => {
        seen.push({ code: error.code, statusCode: error.statusCode, cause: error.cause })
        reply.code(error.statusCode).send({ handled: error.code })
      })
    }, answers)
    const told = await askUrl(`${url}/c`)
    t.same([told.status, told.value], [status, { handled: code }])
    t.match(seen.pop(), { code, statusCode: status })
  }
})

t.test('errorHandler of the composite may answer, sync and async, or leave it', async t => {
  const dead = { a: BREAK, b: BREAK }
  for (const wait of [false, true]) {
    const { url } = await withRoute(t, {}, { ...AB, errorHandler: async (error, request, reply) => { if (wait) await new Promise(resolve => { setTimeout(resolve, 5) }); reply.code(503).send({ sorry: (error as Error & { code: string }).code, url: request.url }) } }, undefined, dead)
    const told = await askUrl(`${url}/c`)
    t.same([told.status, told.value], [503, { sorry: 'RP_ERR_NOTHING_USABLE', url: '/c' }])
  }
  let called = 0
  const leaves = await withRoute(t, {}, { ...AB, errorHandler: () => { called++ } }, undefined, dead)
  t.equal((await askUrl(`${leaves.url}/c`)).status, 502)
  t.equal(called, 1)
  const throws = await withRoute(t, {}, { ...AB, errorHandler: () => { throw Object.assign(new Error('worse'), { statusCode: 418 }) } }, undefined, dead)
  t.equal((await askUrl(`${throws.url}/c`)).status, 418)
})

t.test('errorHandler is also asked when the parts are there and cannot be combined', async t => {
  for (const composite of [{ ...AB, conflict: 'error' as const }, { ...AB, transform: () => { throw new Error('mine') } }]) {
    const { url } = await withRoute(t, {}, { ...composite, errorHandler: (error, _request, reply) => { reply.code(503).send({ sorry: (error as Error & { code: string }).code }) } }, undefined, { a: { k: 1 }, b: { k: 2 } })
    t.equal((await askUrl(`${url}/c`)).status, 503)
  }
})

t.test('errorHandler is not asked for a refusal that passes through', async t => {
  let called = 0
  const { url } = await withRoute(t, {}, { parts: { x: { backend: 'a', required: true } }, errorHandler: () => { called++ } }, undefined, { a: status(404) })
  t.same([(await askUrl(`${url}/c`)).status, called], [404, 0])
})

t.test('parts that failed are in the log, in one line', async t => {
  const lines: Array<Record<string, unknown>> = []
  const { ask } = await startComposite(t, { parts: { x: { backend: 'a' }, y: { backend: 'b' }, z: { backend: 'c' } } }, {
    answers: { b: status(500), c: BREAK }, server: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } } } }
  })
  await ask()
  const found = lines.filter(({ msg }) => msg === 'parts of a composite failed')
  t.equal(found.length, 1)
  t.match(found[0], { composite: '/c/:id', parts: [{ name: 'y', backend: 'b', state: 'failed', status: 500, code: 'RP_ERR_PART_STATUS' }, { name: 'z', backend: 'c', state: 'failed', code: 'RP_ERR_RESET' }] })
})

// ---- compress and etag

t.test('@fastify/compress compresses what was combined', async t => {
  const { backends } = await startBackends(t, { a: { a: BIG } })
  const { port } = await startGateway(t, { backends }, async app => {
    await app.register(compress, { global: true, threshold: 100, encodings: ['gzip'] })
    app.get('/c', { composite: AB }, app.reverseproxy.handler)
    app.get('/stream', { composite: { ...AB, transform: () => ({ statusCode: 200, headers: { 'content-type': 'text/plain' }, body: BIG }) } }, app.reverseproxy.handler)
  })
  const { response } = await rawRequest(port, get('/c', { 'Accept-Encoding': 'gzip' }))
  t.same([response.status, response.header('content-encoding'), response.header('content-type')], [200, 'gzip', 'application/json; charset=utf-8'])
  t.same(JSON.parse(gunzipSync(response.body).toString()), { a: BIG, b: 1 })
  t.ok(response.body.length < 1000)
  t.match(response.header('vary'), /accept-encoding/i)
  const plain = (await rawRequest(port, get('/c'))).response
  t.same([plain.header('content-encoding'), JSON.parse(plain.text)], [undefined, { a: BIG, b: 1 }])
  const text = (await rawRequest(port, get('/stream', { 'Accept-Encoding': 'gzip' }))).response
  t.equal(gunzipSync(text.body).toString(), BIG)
})

t.test('@fastify/compress leaves errors and HEAD in order', async t => {
  const { backends } = await startBackends(t, { a: { a: BIG }, c: BREAK })
  const { port } = await startGateway(t, { backends }, async app => {
    await app.register(compress, { global: true, threshold: 100, encodings: ['gzip'] })
    app.get('/c', { composite: AB }, app.reverseproxy.handler)
    app.get('/bad', { composite: { backends: ['c'] } }, app.reverseproxy.handler)
  })
  const gzip = [['Accept-Encoding', 'gzip']] as const
  const head = (await rawRequest(port, requestBytes('HEAD', '/c', { headers: gzip }))).response
  t.same([head.status, head.body.length, head.complete], [200, 0, true])
  t.equal((await rawRequest(port, get('/bad', gzip))).status, 502)
})

t.test('@fastify/etag marks what was combined, and answers 304', async t => {
  const { backends, asked } = await startBackends(t, { a: { n: 1 } })
  const { port } = await startGateway(t, { backends }, async app => {
    await app.register(etag)
    app.get('/c', { composite: AB }, app.reverseproxy.handler)
  })
  const first = (await rawRequest(port, get('/c'))).response
  const tag = first.header('etag') ?? ''
  t.match(tag, /^"/)
  t.equal((await rawRequest(port, get('/c'))).response.header('etag'), tag, 'the same answer has the same')
  const second = (await rawRequest(port, get('/c', { 'If-None-Match': tag }))).response
  t.same([second.status, second.body.length], [304, 0])
  t.ok(asked.every(({ headers }) => headers['if-none-match'] === undefined), 'parts are asked for whole answers')
})

t.test('@fastify/compress and @fastify/etag together', async t => {
  const { backends } = await startBackends(t, { a: { a: BIG } })
  const { port } = await startGateway(t, { backends }, async app => {
    await app.register(etag)
    await app.register(compress, { global: true, threshold: 100, encodings: ['gzip'] })
    app.get('/c', { composite: AB }, app.reverseproxy.handler)
  })
  const { response } = await rawRequest(port, get('/c', { 'Accept-Encoding': 'gzip' }))
  t.ok(response.header('etag'))
  t.same(JSON.parse(gunzipSync(response.body).toString()), { a: BIG, b: 1 })
  t.equal((await rawRequest(port, get('/c', { 'Accept-Encoding': 'gzip', 'If-None-Match': response.header('etag') ?? '' }))).status, 304)
})

t.test('hooks of one scope leave the composites of another alone', async t => {
  const { backends } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, async app => {
    await app.register(async scope => {
      scope.addHook('onSend', async (_request, _reply, payload) => `[${String(payload)}]`)
      scope.setErrorHandler((_error, _request, reply) => { reply.code(500).send('mine') })
      scope.get('/one', { composite: AB }, scope.reverseproxy.handler)
      scope.get('/bad', { composite: { ...AB, transform: () => { throw new Error('x') } } }, scope.reverseproxy.handler)
    })
    await app.register(async scope => {
      scope.get('/two', { composite: AB }, scope.reverseproxy.handler)
      scope.get('/bad2', { composite: { ...AB, transform: () => { throw new Error('x') } } }, scope.reverseproxy.handler)
    })
  })
  t.equal((await askUrl(`${url}/one`)).text, '[{"a":1,"b":1}]')
  t.equal((await askUrl(`${url}/two`)).text, '{"a":1,"b":1}')
  t.equal((await askUrl(`${url}/bad`)).text, '[mine]')
  t.match((await askUrl(`${url}/bad2`)).value, { code: 'RP_ERR_COMBINE' })
})

t.test('many composites on one connection, one after the other and pipelined', async t => {
  const { port } = await startComposite(t, AB)
  const { responses } = await rawRequest(port, Buffer.concat([get('/c/1'), get('/c/2'), get('/c/3')]), { responses: 3, methods: ['GET', 'GET', 'GET'] })
  t.same(responses.map(({ status, text }) => [status, text]), Array(3).fill([200, '{"a":1,"b":1}']))
})
