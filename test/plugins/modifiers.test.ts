/** A route's own modifiers: modifyRequest, modifyResponse, errorHandler; sync or async. */
import t from 'tap'
import { Readable } from 'node:stream'
import { get, httpUpstream, rawRequest, startGateway, waitFor } from '../helper.ts'
import type { TestLike } from '../helper.ts'
import type { ProxyOptions } from '../../index.ts'

type Changes = Partial<Exclude<ProxyOptions, string>>

async function setUp (t: TestLike, proxy: Changes, dead = false) {
  const upstream = await httpUpstream(t, (request, response) => {
    response.writeHead(201, { 'content-type': 'text/plain', 'x-up': '1', 'content-length': 5 })
    response.end(request.url === '/big' ? 'large' : `${request.method?.slice(0, 1)}${String(request.url).slice(0, 2)}${String(request.headers['x-a'] ?? '--').slice(0, 2)}`)
  })
  const url = dead ? 'http://127.0.0.1:9' : upstream.url
  return await startGateway(t, { backends: { up: url } }, app => {
    app.route({ method: ['GET', 'POST'], url: '/*', proxy: { backend: 'up', ...proxy }, handler: app.reverseproxy.handler })
  })
}

for (const kind of ['sync', 'async']) {
  const maybe = <T> (value: T): T | Promise<T> => kind === 'sync' ? value : new Promise(resolve => { setTimeout(resolve, 5, value) })

  t.test(`modifyRequest (${kind}) changes method, path and headers`, async t => {
    const { url } = await setUp(t, {
      modifyRequest: draft => {
        draft.method = 'PUT'
        draft.path = '/z'
        draft.headers.set('x-a', 'hi')
        draft.headers.delete('accept')
        return maybe(undefined)
      }
    })
    t.equal(await (await fetch(`${url}/x`)).text(), 'P/zhi')
  })

  t.test(`modifyResponse (${kind}) changes status, headers and body`, async t => {
    const { url } = await setUp(t, {
      modifyResponse: draft => {
        draft.status = 202
        draft.headers.set('x-new', draft.headers.get('x-up') ?? '')
        draft.headers.delete('x-up')
        draft.headers.append('set-cookie', 'a=1')
        draft.headers.append('set-cookie', 'b=2')
        draft.body = 'replaced by us'
        return maybe(undefined)
      }
    })
    const answer = await fetch(`${url}/x`)
    t.equal(answer.status, 202)
    t.equal(answer.headers.get('x-new'), '1')
    t.equal(answer.headers.get('x-up'), null)
    t.same(answer.headers.getSetCookie(), ['a=1', 'b=2'])
    t.equal(answer.headers.get('content-type'), 'text/plain')
    t.equal(await answer.text(), 'replaced by us')
  })

  t.test(`errorHandler (${kind}) may answer in its own way`, async t => {
    const { url } = await setUp(t, {
      errorHandler: async (error, _request, reply) => {
        await maybe(undefined)
        reply.code(503).send({ sorry: (error as Error & { code: string }).code })
      }
    }, true)
    const answer = await fetch(`${url}/x`)
    t.equal(answer.status, 503)
    t.same(await answer.json(), { sorry: 'RP_ERR_CONNECT' })
  })
}

t.test('modifyResponse may leave the body alone, or read it', async t => {
  let seen: unknown
  const { url } = await setUp(t, { modifyResponse: draft => { seen = String(draft.body); draft.headers.set('x-seen', 'yes') } })
  const answer = await fetch(`${url}/x`)
  t.equal(answer.headers.get('x-seen'), 'yes')
  t.equal(await answer.text(), 'G/x--')
  t.equal(seen, 'G/x--')
})

t.test('modifyResponse may give a stream or nothing', async t => {
  const stream = await setUp(t, { modifyResponse: draft => { draft.body = Readable.from(['one ', 'two']) } })
  t.equal(await (await fetch(stream.url)).text(), 'one two')
  const none = await setUp(t, { modifyResponse: draft => { draft.body = null } })
  t.equal(await (await fetch(none.url)).text(), '')
})

t.test('an errorHandler that sends nothing lets the error take its way', async t => {
  let told: unknown
  const { url } = await setUp(t, { errorHandler: error => { told = (error as Error & { code: string }).code } }, true)
  const answer = await fetch(url)
  t.equal(answer.status, 502)
  t.match(await answer.json(), { code: 'RP_ERR_CONNECT' })
  t.equal(told, 'RP_ERR_CONNECT')
})

t.test('a modifier that throws costs the request a 500, or the status it names, and no more', async t => {
  const plain = await setUp(t, { modifyRequest: () => { throw new Error('mine') } })
  t.equal((await fetch(plain.url)).status, 500)
  const coded = await setUp(t, { modifyRequest: async () => { throw Object.assign(new Error('no'), { statusCode: 403 }) } })
  t.equal((await fetch(coded.url)).status, 403)
  const late = await setUp(t, { modifyResponse: async () => { throw new Error('mine') } })
  for (let i = 0; i < 5; i++) t.equal((await fetch(late.url)).status, 500)
  const bad = await setUp(t, { errorHandler: () => { throw Object.assign(new Error('worse'), { statusCode: 418 }) } }, true)
  t.equal((await fetch(bad.url)).status, 418)
})

t.test('a modifier cannot break the message: line breaks and framing headers are a coded 500', async t => {
  for (const [name, value] of [['x-a', 'a\r\nb: c'], ['x-a', 'a\0'], ['bad name', 'x'], ['transfer-encoding', 'chunked'], ['content-length', '3'], ['connection', 'x']] as const) {
    for (const proxy of [{ modifyRequest: draft => { draft.headers.set(name, value) } }, { modifyResponse: draft => { draft.headers.append(name, value) } }] satisfies Array<Changes>) {
      const { url } = await setUp(t, proxy)
      const answer = await fetch(url)
      t.equal(answer.status, 500)
      t.match(await answer.json(), { code: 'RP_ERR_INVALID_HEADER' })
    }
  }
})

t.test('a large body that nobody takes does not hold its connection', async t => {
  const upstream = await httpUpstream(t, (_request, response) => { response.end(Buffer.alloc(1_000_000)) })
  const hooks: Array<[string, Changes, ((payload: unknown) => unknown) | undefined]> = [
    ['looked at and replaced', { modifyResponse: draft => { if (draft.body !== null) draft.body = 'x' } }, undefined],
    ['replaced in onSend', {}, () => 'x'],
    ['thrown away in onSend', {}, () => { throw new Error('no') }]
  ]
  for (const [name, proxy, onSend] of hooks) {
    const { url, app } = await startGateway(t, { backends: { up: { targets: [upstream.url], pool: { connections: 1 } } } }, app => {
      if (onSend !== undefined) app.addHook('onSend', async (_request, reply, payload) => { if (typeof payload !== 'string') { reply.removeHeader('content-length'); return onSend(payload) } return payload })
      app.get('/*', { proxy: { backend: 'up', ...proxy } }, app.reverseproxy.handler)
    })
    for (let i = 0; i < 3; i++) await (await fetch(url)).text()
    t.ok(await waitFor(() => app.reverseproxy.backends.get('up')?.targets[0]?.inflight === 0), name)
  }
})

t.test('a HEAD that a hook asks for leaves the client a whole message', async t => {
  const { port } = await setUp(t, { modifyRequest: draft => { draft.method = 'HEAD' } })
  const { responses } = await rawRequest(port, [get('/a'), get('/b')], { responses: 2, methods: ['GET', 'GET'] })
  t.same(responses.map(({ status, body, complete }) => [status, body.length, complete]), [[201, 0, true], [201, 0, true]])
})

t.test('an error after the answer\'s headers does not carry them', async t => {
  const { url } = await setUp(t, { modifyResponse: () => { throw new Error('late') } })
  const answer = await fetch(url)
  t.same([answer.status, answer.statusText, answer.headers.get('x-up')], [500, 'Internal Server Error', null])
})

t.test('a modifier cannot send a method that is no request', async t => {
  for (const method of ['CONNECT', 'bad method', '']) {
    const { url } = await setUp(t, { modifyRequest: draft => { draft.method = method } })
    t.match(await (await fetch(url)).json(), { statusCode: 500, code: 'RP_ERR_INVALID_CALL' })
  }
})

t.test('a modifier\'s path is guarded as well', async t => {
  const { url } = await setUp(t, { modifyRequest: draft => { draft.path = '/a/../b' } })
  t.equal((await fetch(url)).status, 400)
})
