/** The client's body for parts, bodies made of templates and functions, and the limits of the client's body. */
import t from 'tap'
import { gzipSync } from 'node:zlib'
import { ask, rawRequest, requestBytes, startBackends, startComposite, startGateway } from '../helper.ts'
import type { PartOptions } from '../../lib/options/index.ts'
import type { CompositeOptions } from '../../lib/options/index.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const states = (value: unknown): Record<string, [string, string | undefined]> =>
  Object.fromEntries((value as { _meta: { parts: Array<{ name: string, state: string, code?: string }> } })._meta.parts.map(({ name, state, code }) => [name, [state, code]]))

const ODD = '{ "n" : 12345678901234567890.10,\n\t"n":1e400, "k":"\\u00e9" }'

t.test('the client\'s body goes to every part of the short form, byte for byte, with its type', async t => {
  const { ask, asked } = await startComposite(t, { backends: ['a', 'b'] }, { method: 'POST' })
  const { status } = await ask('/c/7', { method: 'POST', body: ODD, headers: { 'content-type': 'application/json; charset=utf-8' } })
  t.equal(status, 200)
  for (const { body, headers } of asked) {
    t.equal(body.toString(), ODD)
    t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'content-length': String(Buffer.byteLength(ODD)) })
  }
})

const BODIES: Array<[what: string, type: string, body: Buffer]> = [
  ['a form', 'application/x-www-form-urlencoded', Buffer.from('a=1&b=%20')],
  ['bytes', 'application/octet-stream', Buffer.from([0, 255, 128, 10])],
  ['a text that Fastify has a parser for', 'text/plain', Buffer.from('hällo')],
  ['XML', 'application/xml', Buffer.from('<a/>')],
  ['JSON of a vendor', 'application/vnd.api+json', Buffer.from('{"a": 1}')]
]
for (const [what, type, body] of BODIES) {
  t.test(`body: client sends ${what} as it came`, async t => {
    const { ask, asked } = await startComposite(t, { parts: { x: { backend: 'a', body: 'client' }, y: { backend: 'b', body: 'client', method: 'PUT' }, z: { backend: 'c' } } }, { method: 'POST' })
    const { status } = await ask('/c/7', { method: 'POST', body, headers: { 'content-type': type } })
    t.equal(status, 200)
    const byName = Object.fromEntries(asked.map(one => [one.backend, one]))
    for (const name of ['a', 'b']) t.same([byName[name]?.body, byName[name]?.headers['content-type']], [body, type])
    t.same([byName['c']?.body.length, byName['c']?.headers['content-type'], byName['c']?.headers['content-length'], byName['c']?.method], [0, undefined, undefined, 'GET'], 'a part that does not get it hears nothing of it')
  })
}

t.test('a chunked body arrives whole', async t => {
  const { port, to } = await startComposite(t, { backends: ['a', 'b'] }, { method: 'POST' })
  const { response } = await rawRequest(port, requestBytes('POST', '/c/7', { headers: JSON_TYPE, body: ['{"a"', ':', '1}'] }))
  t.equal(response.status, 200)
  t.equal(to('b').body.toString(), '{"a":1}')
  t.same([to('b').headers['content-length'], to('b').headers['transfer-encoding']], ['7', undefined])
})

t.test('a compressed body is passed on as it came', async t => {
  const { backends, to } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, app => {
    app.post('/c', { composite: { backends: ['a'] } }, app.reverseproxy.handler)
  })
  const body = gzipSync('{"a":1}')
  t.equal((await ask(`${url}/c`, { method: 'POST', body, headers: { 'content-type': 'application/x-mine', 'content-encoding': 'gzip' } })).status, 200)
  t.same([to('a').body, to('a').headers['content-encoding']], [body, 'gzip'])
})

t.test('a POST without a body asks with none', async t => {
  const { ask, to } = await startComposite(t, { backends: ['a'] }, { method: 'POST' })
  t.equal((await ask('/c/7', { method: 'POST' })).status, 200)
  t.same([to('a').method, to('a').body.length], ['POST', 0])
})

t.test('a GET sends no body of the client\'s', async t => {
  const { port, to } = await startComposite(t, { parts: { x: { backend: 'a', body: 'client', method: 'GET' } } }, { method: 'POST' })
  t.equal((await rawRequest(port, requestBytes('POST', '/c/7', { headers: JSON_TYPE, body: '{}' }))).status, 200)
  t.same([to('a').method, to('a').body.length, to('a').headers['content-length']], ['GET', 0, undefined])
})

t.test('a route\'s own schema.body and preValidation hooks see the parsed body', async t => {
  const { backends, to, asked } = await startBackends(t)
  let seen: unknown
  const { url } = await startGateway(t, { backends }, app => {
    app.post('/c', {
      composite: { backends: ['a'] },
      schema: { body: { type: 'object', required: ['a'], properties: { a: { type: 'integer' } } } },
      preHandler: async (request: { body: unknown }) => { seen = request.body }
    } as never, app.reverseproxy.handler)
  })
  t.equal((await ask(`${url}/c`, { method: 'POST', body: '{ "a": 1.0 }', headers: JSON_TYPE })).status, 200)
  t.same(seen, { a: 1 })
  t.equal(to('a').body.toString(), '{ "a": 1.0 }')
  t.equal((await ask(`${url}/c`, { method: 'POST', body: '{"b":1}', headers: JSON_TYPE })).status, 400)
  t.equal((await ask(`${url}/c`, { method: 'POST', body: '{"b":', headers: JSON_TYPE })).status, 400)
  t.equal(asked.length, 1, 'and nobody else is asked')
})

t.test('reply.composite sends the body that the handler\'s route has parsed', async t => {
  const { backends, to } = await startBackends(t)
  const options: CompositeOptions = { parts: { x: { backend: 'a', body: 'client' }, y: { backend: 'b', path: '/{request.body.id}' } } }
  const { url } = await startGateway(t, { backends }, app => {
    app.post('/h', async (_request, reply) => reply.composite(options))
  })
  t.equal((await ask(`${url}/h`, { method: 'POST', body: '{ "id": 5 }', headers: JSON_TYPE })).status, 200)
  t.same(JSON.parse(to('a').body.toString()), { id: 5 })
  t.match(to('a').headers, { 'content-type': 'application/json' })
  t.equal(to('b').target, '/5')
})

// ---- limits

t.test('bodyLimit bounds the client\'s body, announced or not, and a later request still works', async t => {
  const { port, asked } = await startComposite(t, { backends: ['a'], bodyLimit: 10 }, { method: 'POST' })
  for (const type of ['application/json', 'application/x-mine']) {
    for (const body of ['"12345678901"', ['"123', '45678901', '"']]) {
      const { response } = await rawRequest(port, requestBytes('POST', '/c/7', { headers: { 'content-type': type }, body }))
      t.equal(response.status, 413, `${type} ${typeof body}`)
    }
    t.equal((await rawRequest(port, requestBytes('POST', '/c/7', { headers: { 'content-type': type }, body: '"12345678"' }))).status, 200)
  }
  t.equal(asked.length, 2)
})

t.test('bodyLimit may be more than Fastify\'s own', async t => {
  const { ask } = await startComposite(t, { backends: ['a'], bodyLimit: '3mb' }, { method: 'POST' })
  for (const type of ['application/json', 'application/x-mine']) {
    t.equal((await ask('/c/7', { method: 'POST', body: `"${'x'.repeat(2_000_000)}"`, headers: { 'content-type': type } })).status, 200, type)
  }
})

t.test('a composite that uses no body does not care for its size', async t => {
  const { ask } = await startComposite(t, { parts: { x: { backend: 'a' } }, bodyLimit: 10 }, { method: 'POST' })
  t.equal((await ask('/c/7', { method: 'POST', body: '"12345678901234567890"', headers: JSON_TYPE })).status, 200)
})

// ---- bodies of templates

async function bodyOf (t: Parameters<typeof startComposite>[0], x: PartOptions, client: string | undefined = '{"id":12345678901234567890,"list":[1.0,"b"],"o":{"k": null},"t":"x\\ny","yes":true,"no":null}') {
  const { ask, asked } = await startComposite(t, { parts: { user: { backend: 'a' }, x: { backend: 'b', needs: ['user'], ...x } }, meta: true }, { method: 'POST', answers: { a: { n: 1 } } })
  const told = await ask('/c/7?q=1', { method: 'POST', ...(client === undefined ? undefined : { body: client, headers: JSON_TYPE }) })
  const sent = asked.find(({ backend }) => backend === 'b')
  return { text: sent?.body.toString(), headers: sent?.headers, state: states(told.value)['x'], told }
}

t.test('a JSON body keeps the type and the digits of what its templates stand for', async t => {
  const body = { id: '{request.body.id}', all: ['{request.body.list}', '{request.body.list[0]}', '{request.body.list[1]}'], o: '{request.body.o}', t: '{request.body.t}', yes: '{request.body.yes}', mixed: '#{request.body.id}', param: ':id', no: 'a:id', query: '{request.query.q}', user: '{user.body.n}', braces: '{{}}', fixed: [1, null, false, 'x'] }
  const { text, headers } = await bodyOf(t, { body })
  t.equal(text, '{"id":12345678901234567890,"all":[[1.0,"b"],1.0,"b"],"o":{"k": null},"t":"x\\ny","yes":true,"mixed":"#12345678901234567890","param":"7","no":"a:id","query":"1","user":1,"braces":"{}","fixed":[1,null,false,"x"]}')
  t.match(headers, { 'content-type': 'application/json', 'content-length': String(text?.length) })
})

t.test('a body may be one template, a text, a number, a list, or null', async t => {
  const cases: Array<[body: unknown, text: string]> = [['{request.body}', '{"id":1}'], ['{request.body.id}', '1'], ['plain', '"plain"'], [5, '5'], [[1, '{request.body.id}'], '[1,1]'], [null, 'null'], [false, 'false']]
  for (const [body, text] of cases) t.equal((await bodyOf(t, { body: body as never }, '{"id":1}')).text, text)
})

t.test('a reference to the client\'s body without one, or to one that is not JSON, is a missing value', async t => {
  for (const client of [undefined, '', 'no json']) {
    const { ask, asked } = await startComposite(t, { meta: true, parts: { x: { backend: 'a', path: '/{request.body.id}' }, y: { backend: 'b' } } }, { method: 'POST' })
    const told = await ask('/c/7', { method: 'POST', ...(client === undefined ? undefined : { body: client, headers: { 'content-type': 'application/x-mine' } }) })
    t.same(states(told.value)['x'], ['skipped', 'RP_ERR_PART_INPUT'], String(client))
    t.equal(asked.length, 1)
  }
})

t.test('a JSON body\'s type gives way to one that the part sets', async t => {
  t.equal((await bodyOf(t, { body: { a: 1 }, headers: { set: { 'content-type': 'application/vnd.x+json' } } })).headers?.['content-type'], 'application/vnd.x+json')
})

t.test('the client\'s type and coding do not describe a body of the part\'s own', async t => {
  const { backends, to } = await startBackends(t)
  const { url } = await startGateway(t, { backends }, app => {
    app.post('/c', { composite: { parts: { x: { backend: 'a', body: { k: 1 } }, y: { backend: 'b', body: () => Buffer.from('bytes') }, z: { backend: 'c', body: 'client' } } } }, app.reverseproxy.handler)
  })
  await ask(`${url}/c`, { method: 'POST', body: 'x', headers: { 'content-type': 'text/x-mine', 'content-encoding': 'x-mine', 'content-language': 'de' } })
  t.match(to('a').headers, { 'content-type': 'application/json' })
  for (const name of ['a', 'b']) for (const header of ['content-encoding', 'content-language']) t.notOk(header in to(name).headers, `${name} ${header}`)
  t.notOk('content-type' in to('b').headers, 'nobody knows what the bytes are')
  t.match(to('c').headers, { 'content-type': 'text/x-mine', 'content-encoding': 'x-mine', 'content-language': 'de' })
})

t.test('a body function may give a value, a text, bytes, a form, or nothing', async t => {
  const cases: Array<[body: () => unknown, text: string, type: string | undefined]> = [
    [() => ({ a: 1 }), '{"a":1}', 'application/json'], [() => [1], '[1]', 'application/json'], [() => 5, '5', 'application/json'], [() => null, 'null', 'application/json'],
    [() => 'text', 'text', undefined], [() => Buffer.from('bytes'), 'bytes', undefined], [() => new Uint8Array([97, 98]), 'ab', undefined],
    [() => new URLSearchParams({ a: 'b c' }), 'a=b+c', 'application/x-www-form-urlencoded'], [() => undefined, '', undefined]
  ]
  for (const [body, text, type] of cases) {
    const sent = await bodyOf(t, { body })
    t.same([sent.text, sent.headers?.['content-type']], [text, type], String(body))
  }
})

t.test('a body function sees needed parts and the request', async t => {
  const { text } = await bodyOf(t, { body: (parts, request) => ({ n: parts.user.body.n, names: Object.keys(parts), q: (request.query as { q: string }).q }) })
  t.equal(text, '{"n":1,"names":["user"],"q":"1"}')
})

t.test('a Buffer is a body in code', async t => {
  t.equal((await bodyOf(t, { body: Buffer.from([104, 105]) })).text, 'hi')
  t.equal((await bodyOf(t, { body: new Uint8Array([104, 105]) })).text, 'hi')
})

const circular: { self?: unknown } = {}
circular.self = circular
const BAD: Array<[what: string, body: () => unknown]> = [
  ['throws', () => { throw new Error('mine') }], ['is async', async () => ({})], ['gives a BigInt', () => 1n], ['gives a circle', () => circular],
  ['gives a function', () => () => 1], ['gives a symbol', () => Symbol('x')], ['gives a stream', () => ({ pipe () {} })]
]
for (const [what, body] of BAD) {
  t.test(`a body function that ${what} fails its part, with RP_ERR_PART_INPUT`, async t => {
    const { told, state } = await bodyOf(t, { body })
    t.equal(told.status, 200)
    t.same(state, ['failed', 'RP_ERR_PART_INPUT'])
  })
}

t.test('a GET composite may write to its parts', async t => {
  const { ask, to } = await startComposite(t, { parts: { x: { backend: 'a', method: 'POST', body: { id: ':id' } } } })
  t.equal((await ask()).status, 200)
  t.same([to('a').method, to('a').body.toString()], ['POST', '{"id":"7"}'])
})

t.test('several writes, one after the other', async t => {
  const { ask, calls, to } = await startComposite(t, {
    strategy: 'sequential',
    parts: { order: { backend: 'a', path: '/orders', body: 'client', required: true }, pay: { backend: 'b', path: '/pay', body: { order: '{order.body.id}', by: '{request.body.by}' } } }
  }, { method: 'POST', answers: { a: { id: 99 } } })
  t.same((await ask('/c/7', { method: 'POST', body: '{"by":"card"}', headers: JSON_TYPE })).value, { b: 1 })
  t.same(calls, ['a /orders', 'b /pay'])
  t.equal(to('b').body.toString(), '{"order":99,"by":"card"}')
})
