/** Where a composite route may be declared, what it is called by, and what is refused at boot. */
import t from 'tap'
import Fastify from 'fastify'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import reverseproxy, { loadConfigFile, serverOptions } from '../../index.ts'
import { ask, buildGateway, get, rawRequest, requestBytes, startBackends, startComposite, startGateway, status } from '../helper.ts'
import type { FastifyInstance } from 'fastify'
import type { CompositeOptions } from '../../lib/options/index.ts'
import type { TestLike } from '../helper.ts'

const UNUSED = { a: 'http://127.0.0.1:9', b: 'http://127.0.0.1:9' }

/** What a gateway says at boot; undefined when it starts. */
async function refusal (t: TestLike, configure: (app: FastifyInstance) => void, options: object = {}): Promise<string | undefined> {
  let app: FastifyInstance | undefined
  try {
    app = await buildGateway({ backends: UNUSED, ...options }, configure)
    const ready = app
    t.teardown(() => ready.close())
    await app.ready()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

function declares (composite: unknown, route: object = {}) {
  return (app: FastifyInstance) => {
    app.route({ method: 'GET', url: '/c/:id', composite: composite as CompositeOptions, handler: app.reverseproxy.handler, ...route })
  }
}

t.test('the short form asks every backend for what the client asked, and merges', async t => {
  const { ask, asked } = await startComposite(t, { backends: ['a', 'b'] }, { answers: { a: { x: 1, y: 1 }, b: { y: 2 } } })
  const answer = await ask('/c/7?q=1&q=2')
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
  t.same(answer.value, { x: 1, y: 2 })
  t.same(asked.map(({ method, backend, target }) => [method, backend, target]).sort(), [['GET', 'a', '/c/7?q=1&q=2'], ['GET', 'b', '/c/7?q=1&q=2']])
})

t.test('the full form keys the answer by part', async t => {
  const { ask, calls } = await startComposite(t, { parts: { user: { backend: 'a', path: '/u/:id' }, list: { backend: 'b' } } }, { answers: { a: { n: 1 }, b: [1] } })
  const answer = await ask('/c/7?q=1')
  t.equal(answer.text, '{"user":{"n":1},"list":[1]}')
  t.same(calls.sort(), ['a /u/7', 'b /c/7'], 'the incoming path, and no query')
})

t.test('a part without a backend asks the default one', async t => {
  const { ask, calls } = await startComposite(t, { parts: { one: { path: '/x' } } }, { gateway: { defaultBackend: 'b' } })
  t.same((await ask()).value, { one: { b: 1 } })
  t.same(calls, ['b /x'])
})

t.test('routes of the options may be composites', async t => {
  const { backends, calls } = await startBackends(t)
  const { url } = await startGateway(t, {
    backends,
    routes: [
      { name: 'profile', path: '/p/:id', composite: { backends: ['a', 'b'] } },
      { name: 'write', path: '/w', methods: ['POST'], composite: { parts: { one: { backend: 'c', body: 'client' } } } }
    ]
  }, () => {})
  t.same((await ask(`${url}/p/1`)).value, { a: 1, b: 1 })
  t.same((await ask(`${url}/w`, { method: 'POST', body: '{"k":1}', headers: { 'content-type': 'application/json' } })).value, { one: { c: 1 } })
  t.same(calls.sort(), ['a /p/1', 'b /p/1', 'c /w'])
  t.equal((await fetch(`${url}/p/1`, { method: 'HEAD' })).status, 200, 'GET and HEAD are the default methods')
  t.equal((await ask(`${url}/p/1`, { method: 'POST' })).status, 404, 'and no others')
})

t.test('routes of the options choose by header between a composite and a proxy', async t => {
  const { backends } = await startBackends(t)
  const { url } = await startGateway(t, {
    backends,
    routes: [
      { name: 'new', path: '/p', methods: ['GET'], headers: { 'x-v': '2' }, composite: { backends: ['a', 'b'] } },
      { name: 'old', path: '/p', methods: ['GET'], proxy: { backend: 'c' } }
    ]
  }, () => {})
  t.same((await ask(`${url}/p`, { headers: { 'x-v': '2' } })).value, { a: 1, b: 1 })
  t.same((await ask(`${url}/p`)).value, { c: 1 })
})

t.test('a config file declares composites', async t => {
  const { backends, calls } = await startBackends(t, { a: { id: 7, boss: 12345678901234567890n.toString() } })
  const folder = await mkdtemp(join(tmpdir(), 'composite-'))
  const path = join(folder, 'gateway.yaml')
  await writeFile(path, `
backends: { a: "${backends['a']}", b: "${backends['b']}" }
routes:
  - name: dashboard
    path: /d/:id
    composite:
      strategy: object
      meta: true
      parts:
        user: { backend: a, path: /u/:id, required: true, pick: [id] }
        boss: { backend: b, needs: [user], path: '/u/{user.body.boss}', query: { of: ':id', limit: 5 } }
`)
  const { gateway } = await loadConfigFile(path)
  const { url } = await startGateway(t, gateway, () => {})
  const { value } = await ask(`${url}/d/7`)
  t.match(value, { user: { id: 7 }, boss: { b: 1 }, _meta: { complete: true } })
  t.same(calls, ['a /u/7', 'b /u/12345678901234567890?of=7&limit=5'])
})

t.test('a config file with a wrong composite names line, place and rule', async t => {
  const path = join(await mkdtemp(join(tmpdir(), 'composite-')), 'gateway.yaml')
  await writeFile(path, 'backends: { a: "http://127.0.0.1:9" }\nroutes:\n  - name: d\n    path: /d\n    composite:\n      parts:\n        user: { backend: a, path: "/u/{nobody.body.id}" }\n')
  await t.rejects(loadConfigFile(path), { message: /routes\[0\]\.composite\.parts\.user\.path: must refer to a part, request or item; "nobody" is none of user/ })
})

t.test('composite.add declares a route, and GET answers HEAD as well', async t => {
  const { backends } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, app => {
    app.reverseproxy.composite.add('GET', '/added/:id', { backends: ['a', 'b'] })
    app.reverseproxy.composite.add(['POST', 'PUT'], '/added/:id', { backends: ['c'] })
  })
  t.same((await ask(`${url}/added/1`)).value, { a: 1, b: 1 })
  t.same((await ask(`${url}/added/1`, { method: 'PUT' })).value, { c: 1 })
  const head = await fetch(`${url}/added/1`, { method: 'HEAD' })
  t.same([head.status, head.headers.get('content-length')], [200, String('{"a":1,"b":1}'.length)])
})

t.test('composite.add refuses wrong options where it is called', async t => {
  await buildGateway({ backends: UNUSED }, app => {
    t.teardown(() => app.close())
    t.throws(() => { app.reverseproxy.composite.add('GET', '/x', { backends: ['a'], strategy: 'mrege' }) }, { code: 'RP_ERR_OPTIONS', message: /route \/x: composite\.strategy: .*merge/ })
    t.throws(() => { app.reverseproxy.composite.add('GET', '/x', {} as CompositeOptions) }, { code: 'RP_ERR_OPTIONS' })
  })
})

t.test('reply.composite answers from inside a handler', async t => {
  const { backends, calls } = await startBackends(t)
  const options: CompositeOptions = { parts: { user: { backend: 'a', path: '/u/:id' }, other: { backend: 'b', path: '/{request.query.x}' } } }
  const { url } = await startGateway(t, { backends }, app => {
    app.get('/h/:id', async (request, reply) => {
      reply.header('x-mine', 'yes')
      return reply.composite((request.query as { x?: string }).x === undefined ? { backends: ['c'] } : options)
    })
  })
  const answer = await ask(`${url}/h/7?x=y`)
  t.same([answer.status, answer.headers.get('x-mine'), answer.value], [200, 'yes', { user: { a: 1 }, other: { b: 1 } }])
  t.same(calls.sort(), ['a /u/7', 'b /y'])
  t.same((await ask(`${url}/h/7`)).value, { c: 1 })
})

t.test('a status that the handler sets before reply.composite is the answer\'s', async t => {
  const { backends } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, app => {
    app.get('/h', (_request, reply) => reply.code(201).composite({ backends: ['a'] }))
  })
  t.equal((await ask(`${url}/h`)).status, 201)
})

t.test('reply.composite with wrong options is an error of the handler', async t => {
  const { url } = await startGateway(t, { backends: UNUSED }, app => {
    app.get('/h', async (_request, reply) => reply.composite({ backends: ['a'], strategy: 'nothing' }))
    app.get('/b', async (_request, reply) => reply.composite({ backends: ['nobody'] }))
  })
  const wrong = await ask(`${url}/h`)
  t.equal(wrong.status, 500)
  t.match(wrong.value, { code: 'RP_ERR_OPTIONS' })
  const unknown = await ask(`${url}/b`)
  t.equal(unknown.status, 500)
  t.match(unknown.value, { code: 'RP_ERR_UNKNOWN_BACKEND' })
})

t.test('a handler that has sent an answer already is not answered for again', async t => {
  const { backends, until } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, app => {
    app.get('/h', (_request, reply) => {
      reply.composite({ backends: ['a'] })
      reply.send('first')
    })
  })
  t.equal((await ask(`${url}/h`)).text, 'first')
  await until(1)
  t.equal((await ask(`${url}/h`)).text, 'first', 'and the server lives')
})

t.test('composites of POST, PUT, PATCH and DELETE use the incoming method', async t => {
  const { ask, asked } = await startComposite(t, { backends: ['a'] }, { method: ['POST', 'PUT', 'PATCH', 'DELETE'] })
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) t.equal((await ask('/c/1', { method })).status, 200)
  t.same(asked.map(({ method }) => method), ['POST', 'PUT', 'PATCH', 'DELETE'])
})

t.test('a prefix of the scope belongs to the path', async t => {
  const { backends, calls } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, async app => {
    await app.register(async scope => {
      scope.get('/u/:id', { composite: { parts: { one: { backend: 'a', path: '/:tenant/:id' }, two: { backend: 'b' } } } }, scope.reverseproxy.handler)
    }, { prefix: '/t/:tenant' })
  })
  t.equal((await ask(`${url}/t/x/u/7`)).status, 200)
  t.same(calls.sort(), ['a /x/7', 'b /t/x/u/7'])
})

t.test('several routes may share one options object, and are held against their own parameters', async t => {
  const { backends, calls } = await startBackends(t)
  const shared: CompositeOptions = Object.freeze({ parts: { one: { backend: 'a', path: '/u/:id' } } })
  const { url } = await startGateway(t, { backends }, app => {
    app.get('/one/:id', { composite: shared }, app.reverseproxy.handler)
    app.get('/two/:id/more', { composite: shared }, app.reverseproxy.handler)
  })
  await ask(`${url}/one/1`)
  await ask(`${url}/two/2/more`)
  t.same(calls, ['a /u/1', 'a /u/2'])
  t.match(await refusal(t, app => {
    app.get('/one/:id', { composite: shared }, app.reverseproxy.handler)
    app.get('/three/:other', { composite: shared }, app.reverseproxy.handler)
  }), /must use parameters of the route's path only; ":id" is not in \/three\/:other/)
})

t.test('a route with several methods and constraints of its own works as any route', async t => {
  const { backends } = await startBackends(t)
  const { port } = await startGateway(t, { backends }, app => {
    app.get('/x', { composite: { backends: ['a'] }, constraints: { host: 'one.example' } }, app.reverseproxy.handler)
    app.get('/x', { composite: { backends: ['b'] }, constraints: { host: 'two.example' } }, app.reverseproxy.handler)
  })
  t.equal((await rawRequest(port, requestBytes('GET', '/x', { host: 'one.example' }))).response.text, '{"a":1}')
  t.equal((await rawRequest(port, requestBytes('GET', '/x', { host: 'two.example' }))).response.text, '{"b":1}')
})

t.test('the automatic HEAD route has the head of what GET gives', async t => {
  const { port, asked } = await startComposite(t, { backends: ['a', 'b'] })
  const whole = (await rawRequest(port, get('/c/1'))).response
  const head = (await rawRequest(port, requestBytes('HEAD', '/c/1'))).response
  const family = ({ headers }: typeof whole) => headers.filter(([name]) => !/^(?:date|connection|keep-alive)$/i.test(name)).map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort()
  t.same(family(head), family(whole))
  t.equal(head.body.length, 0)
  t.same(asked.map(({ method }) => method), ['GET', 'GET', 'GET', 'GET'], 'and is made of GETs')
})

t.test('HEAD of an answer that is a refusal or an error has no body either', async t => {
  const { port } = await startComposite(t, { parts: { one: { backend: 'a', required: true } } }, { answers: { a: status(404, { no: 1 }) } })
  const { response, raw } = await rawRequest(port, requestBytes('HEAD', '/c/1'))
  t.same([response.status, response.header('content-length'), response.complete], [404, '8', true])
  t.ok(raw.toString('latin1').endsWith('\r\n\r\n'))
})

t.test('a composite without our handler is refused', async t => {
  t.match(await refusal(t, declares({ backends: ['a'] }, { handler: async () => 'x' })), /route \/c\/:id: composite: needs app\.reverseproxy\.handler/)
})

t.test('a composite beside proxy is refused', async t => {
  t.match(await refusal(t, declares({ backends: ['a'] }, { proxy: 'a' })), /route \/c\/:id: composite: must not stand beside proxy/)
})

t.test('an unknown backend is refused when the server gets ready, one added by then is not', async t => {
  t.match(await refusal(t, declares({ parts: { one: { backend: 'nobody' } } })), /: wrong option\n.*route \/c\/:id: composite\.parts\.one\.backend: must be the name of a backend; known are a, b \(got "nobody"\)$/)
  t.match(await refusal(t, declares({ backends: ['a', 'c'] })), /: wrong option\n.*composite\.backends\[1\]: must be the name of a backend; known are a, b; did you mean "a"\? \(got "c"\)$/)
  t.equal(await refusal(t, app => {
    declares({ backends: ['late'] })(app)
    app.reverseproxy.backends.add('late', 'http://127.0.0.1:9')
  }), undefined)
})

t.test('a part without a backend where there is no default is refused', async t => {
  t.match(await refusal(t, declares({ parts: { one: {} } })), /composite\.parts\.one\.backend: is required, as there is no defaultBackend/)
})

t.test('an unknown backend in the options is refused at registration', async t => {
  t.match(await refusal(t, () => {}, { routes: [{ name: 'x', path: '/x', composite: { backends: ['nobody'] } }] }), /routes\[0\]\.composite\.backends\[0\]/)
})

const wrong: Array<[what: string, composite: unknown, message: RegExp]> = [
  ['neither backends nor parts', { strategy: 'merge' }, /composite: .*backends.*parts/],
  ['both backends and parts', { backends: ['a'], parts: { x: { backend: 'a' } } }, /composite/],
  ['an empty list', { backends: [] }, /composite\.backends/],
  ['no parts', { parts: {} }, /composite\.parts/],
  ['an unknown option', { backends: ['a'], stratgy: 'merge' }, /composite\.stratgy: .*strategy/],
  ['an unknown option of a part', { parts: { x: { backend: 'a', url: '/x' } } }, /parts\.x\.url: .*path/],
  ['an unknown strategy', { backends: ['a'], strategy: 'mine' }, /composite\.strategy: .*\(got "mine"\)/],
  ['an unknown policy for conflicts', { backends: ['a'], conflict: 'newest' }, /composite\.conflict/],
  ['conflict without merge', { parts: { x: { backend: 'a' } }, conflict: 'deep' }, /composite\.conflict: is for the strategy merge/],
  ['race without select', { backends: ['a'], race: true }, /composite\.race/],
  ['meta where there is no object', { backends: ['a'], strategy: 'append', meta: true }, /composite\.meta/],
  ['a status that is none of two', { backends: ['a'], partialStatus: 207 }, /composite\.partialStatus: must be 200 or 206/],
  ['a backend twice', { backends: ['a', 'a'] }, /composite\.backends\[1\]: must not be listed twice/],
  ['a name that is taken', { parts: { request: { backend: 'a' } } }, /composite\.parts\.request/],
  ['a name that pollutes', { parts: JSON.parse('{"__proto__":{"backend":"a"}}') }, /__proto__/],
  ['constructor', { parts: { constructor: { backend: 'a' } } }, /constructor/],
  ['item', { parts: { item: { backend: 'a' } } }, /composite\.parts\.item/],
  ['a name with a space', { parts: { 'a b': { backend: 'a' } } }, /composite\.parts/],
  ['a parameter that the route lacks', { parts: { x: { backend: 'a', path: '/u/:nobody' } } }, /parts\.x\.path: .*":nobody" is not in \/c\/:id/],
  ['a wildcard that the route lacks', { parts: { x: { backend: 'a', path: '/u/*' } } }, /parts\.x\.path: .*\* is not in|parts\.x\.path: .*"\*" is not in/],
  ['a lone brace', { parts: { x: { backend: 'a', path: '/u/{' } } }, /parts\.x\.path: must be a template/],
  ['a path that climbs', { parts: { x: { backend: 'a', path: '/u/../x' } } }, /parts\.x\.path: must be a plain path/],
  ['a part that names itself', { parts: { x: { backend: 'a', path: '/{x.body.id}' } } }, /parts\.x\.path: must not refer to the part itself/],
  ['a part that needs itself', { parts: { x: { backend: 'a', needs: ['x'] } } }, /parts\.x\.needs\[0\]: must not be the part itself/],
  ['an unknown part in needs', { parts: { x: { backend: 'a', needs: ['y'] } } }, /parts\.x\.needs\[0\]/],
  ['an unknown part in a query', { parts: { x: { backend: 'a', query: { q: '{y.body}' } } } }, /parts\.x\.query\.q: .*"y" is none of x/],
  ['an unknown part in a header', { parts: { x: { backend: 'a', headers: { set: { h: '{y.status}' } } } } }, /parts\.x\.headers\.set\.h/],
  ['an unknown part in a body', { parts: { x: { backend: 'a', body: { k: ['{y.body}'] }, method: 'POST' } } }, /parts\.x\.body\.k\[0\]/],
  ['an unknown part in when', { parts: { x: { backend: 'a', when: '{y.body}' } } }, /parts\.x\.when/],
  ['an unknown part in forEach', { parts: { x: { backend: 'a', forEach: '{y.body}' } } }, /parts\.x\.forEach/],
  ['item without forEach', { parts: { x: { backend: 'a', path: '/{item}' } } }, /parts\.x\.path: must not use \{item\} without forEach/],
  ['items without batch', { parts: { x: { backend: 'a', path: '/{items}', forEach: '{request.body}' } } }, /parts\.x\.path: must use \{item\} without batch/],
  ['item with batch', { parts: { x: { backend: 'a', path: '/{item}', forEach: { in: '{request.body}', batch: true } } } }, /parts\.x\.path: must use \{items\} with batch/],
  ['a body beside GET', { parts: { x: { backend: 'a', method: 'GET', body: { a: 1 } } } }, /parts\.x\.body: must not stand beside method GET/],
  ['a circle of two', { parts: { x: { backend: 'a', needs: ['y'] }, y: { backend: 'a', path: '/{x.body.id}' } } }, /must not wait for itself: x → y → x/],
  ['a circle of three', { parts: { w: { backend: 'a' }, x: { backend: 'a', query: { q: '{z.body}' } }, y: { backend: 'a', headers: { set: { h: '{x.body}' } } }, z: { backend: 'a', when: '{y.body}' } } }, /must not wait for itself/],
  ['sequential, and a part that waits for a later one', { strategy: 'sequential', parts: { x: { backend: 'a', needs: ['y'] }, y: { backend: 'b' } } }, /parts\.x\.needs: must name earlier parts only/],
  ['select in order, and a part that waits for a later one', { strategy: 'select', parts: { x: { backend: 'a', needs: ['y'] }, y: { backend: 'b' } } }, /parts\.x\.needs: must name earlier parts only/],
  ['headers from a part that is not there', { backends: ['a'], headers: { from: 'z' } }, /composite\.headers\.from/],
  ['cookies from a part that is not there', { backends: ['a'], headers: { setCookie: 'z' } }, /composite\.headers\.setCookie/],
  ['a part slower than the whole', { timeout: '1s', parts: { x: { backend: 'a', timeout: '2s' } } }, /parts\.x\.timeout: must not be longer/],
  ['a schema that is none', { parts: { x: { backend: 'a', schema: { type: 'strnig' } } } }, /schema/],
  ['two conditions in one', { parts: { x: { backend: 'a', when: { value: '{request.query.q}', equals: 1, not: 2 } } } }, /parts\.x\.when/]
]

for (const [what, composite, message] of wrong) {
  t.test(`refused at boot: ${what}`, async t => {
    t.match(await refusal(t, declares(composite)) ?? 'it starts', message)
  })
}

t.test('all wrong options of a composite are told at once', async t => {
  const message = await refusal(t, declares({ parts: { x: { backend: 'a', path: '/:no', query: { q: '{z.body}' } }, y: { backend: 'b', when: '{' } } })) ?? ''
  t.match(message, /3 wrong options/)
})

t.test('select with race may have parts that wait for later ones', async t => {
  t.equal(await refusal(t, declares({ strategy: 'select', race: true, parts: { x: { backend: 'a', needs: ['y'] }, y: { backend: 'b' } } })), undefined)
})

t.test('strategies have names of their own', async t => {
  t.match(await refusal(t, () => {}, { strategies: { merge: () => 1 } }), /strategies\.merge: must have a name of its own/)
  const app = await buildGateway({ backends: UNUSED, strategies: { mine: () => 1 } }, app => {
    t.throws(() => { app.reverseproxy.composite.strategy('append', () => 1) }, /there is a strategy "append" already/)
    t.throws(() => { app.reverseproxy.composite.strategy('mine', () => 1) }, /there is a strategy "mine" already/)
  })
  await app.close()
})

t.test('two gateways in one process keep their backends and strategies apart', async t => {
  const [one, two] = [await startBackends(t, { a: { from: 1 } }), await startBackends(t, { a: { from: 2 } })]
  const app = Fastify({ ...serverOptions }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  for (const [index, { backends }] of [one, two].entries()) {
    app.register(async scope => {
      await scope.register(reverseproxy, { backends })
      scope.reverseproxy.composite.strategy('mine', (parts: { a: { body: { from: number } } }) => ({ gateway: index + 1, ...parts.a.body }))
      scope.get('/x', { composite: { backends: ['a'], strategy: 'mine' } }, scope.reverseproxy.handler)
      scope.get('/y', { composite: { backends: ['a', 'b'] } }, scope.reverseproxy.handler)
    }, { prefix: `/${index + 1}` })
  }
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.same((await ask(`${url}/1/x`)).value, { gateway: 1, from: 1 })
  t.same((await ask(`${url}/2/x`)).value, { gateway: 2, from: 2 })
  t.same((await ask(`${url}/1/y`)).value, { from: 1, b: 1 })
  t.same([one.calls, two.calls], [['a /1/x', 'a /1/y', 'b /1/y'], ['a /2/x']])
})
