/**
 * Beside plugins and parsers of the application that read bodies: what is proxied keeps its bytes, and what cannot keep them is
 * refused, never changed in silence.
 */
import compress from '@fastify/compress'
import formbody from '@fastify/formbody'
import multipart from '@fastify/multipart'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { gzipSync } from 'node:zlib'
import reverseproxy, { serverOptions } from '../../index.ts'
import { rawRequest, rawUpstream, requestBytes, respond, seededBytes } from '../helper.ts'
import type { GatewayOptions, RawUpstream, TestLike } from '../helper.ts'

type Register = (app: FastifyInstance) => unknown

const OK = respond(200, {}, 'ok')

/** Paths that forward in each of the ways there are; `/handler/` is `reply.proxy()` behind Fastify's parsers. */
const PATHS = ['/route/x', '/options/x', '/default/x'] as const

interface Place {
  readonly app: FastifyInstance
  readonly up: RawUpstream
  readonly logged: string[]
  send (path: string, body: Buffer | string | readonly string[], headers?: Readonly<Record<string, string>>): Promise<{ status: number, text: string }>
}

async function place (t: TestLike, { before, after }: { before?: Register, after?: Register }): Promise<Place> {
  const up = await rawUpstream(t, OK)
  const logged: string[] = []
  const app = Fastify({ ...serverOptions, logger: { level: 'error', stream: { write: (line: string) => { logged.push(line) } } } }) as unknown as FastifyInstance
  await before?.(app)
  const options: GatewayOptions = { backends: { up: up.url }, defaultBackend: 'up', routes: [{ name: 'options', path: '/options/*', proxy: { backend: 'up' } }] }
  await app.register(reverseproxy, options)
  await after?.(app)
  app.post('/route/*', { proxy: 'up' }, app.reverseproxy.handler)
  app.post('/handler/*', async (_request, reply) => reply.proxy('up'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => { app.server.closeAllConnections(); await app.close() })
  return {
    app,
    up,
    logged,
    async send (path, body, headers = {}) {
      const { response } = await rawRequest((app.server.address() as AddressInfo).port, requestBytes('POST', path, { headers, body }))
      return { status: response.status, text: response.text }
    }
  }
}

const TYPE = { 'Content-Type': 'multipart/form-data; boundary=b' }
const FORM = Buffer.concat([
  Buffer.from('--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\nContent-Type: application/octet-stream\r\n\r\n'),
  // more than the limits of the parsers
  seededBytes(1_500_000),
  Buffer.from('\r\n--b--\r\n')
])
const SMALL = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\ntext\r\n--b--\r\n'

const MULTIPART: Array<[string, object]> = [
  ['@fastify/multipart', {}],
  ['attachFieldsToBody', { attachFieldsToBody: true }],
  ['attachFieldsToBody: keyValues', { attachFieldsToBody: 'keyValues' }],
  ['limits', { attachFieldsToBody: true, limits: { fileSize: 10, files: 0, parts: 1 } }]
]

t.test('forms are forwarded byte by byte beside @fastify/multipart, however it is registered', async t => {
  for (const [name, options] of MULTIPART) {
    const register: Register = app => app.register(multipart, options)
    for (const [order, registers] of [['before', { before: register }], ['after', { after: register }]] as const) {
      const { send, up } = await place(t, registers)
      for (const path of PATHS) {
        for (const body of [FORM, [FORM.toString('latin1', 0, 200_000), FORM.toString('latin1', 200_000)]] as const) {
          const { status } = await send(path, Buffer.isBuffer(body) ? body : body.map(String), TYPE)
          t.equal(status, 200, `${name}, ${order}, ${path}`)
          t.ok(up.last.body.equals(FORM))
          t.equal(up.last.header('content-type'), TYPE['Content-Type'])
        }
      }
    }
  }
})

t.test('reply.proxy(): the form is untouched where it was not parsed, and refused where it was', async t => {
  for (const [name, options] of MULTIPART.slice(0, 3)) {
    const { logged, send, up } = await place(t, { before: app => app.register(multipart, options) })
    const { status, text } = await send('/handler/x', SMALL, TYPE)
    if (!('attachFieldsToBody' in options)) {
      t.equal(status, 200, name)
      t.equal(up.last.body.toString(), SMALL)
      continue
    }
    t.equal(status, 500, name)
    t.match(JSON.parse(text), { code: 'RP_ERR_INVALID_CALL', message: 'The gateway is not set up for this request' })
    t.match(logged.join(''), /multipart body was parsed/, 'the log says what to do')
    t.equal(up.bytes, 0)
  }
})

t.test('reply.proxy() with a body of its own is free to make what it wants of the fields', async t => {
  const { app, up } = await place(t, {
    before: app => app.register(multipart, { attachFieldsToBody: 'keyValues' }),
    after: app => { app.post('/own', async (request, reply) => reply.proxy('up', { body: { a: (request.body as { a: string }).a } })) }
  })
  const { status } = await rawRequest((app.server.address() as AddressInfo).port, requestBytes('POST', '/own', { headers: TYPE, body: SMALL }))
  t.equal(status, 200)
  t.same([up.last.body.toString(), up.last.header('content-type')], ['{"a":"1"}', 'application/json'])
})

t.test('multipart of other kinds, and none that could be one', async t => {
  const { send, up } = await place(t, { before: app => app.register(multipart, { attachFieldsToBody: true }) })
  for (const type of ['multipart/mixed; boundary=b', 'multipart/form-data', 'multipart/form-data; boundary=', 'Multipart/Form-Data; boundary="b"']) {
    t.equal((await send('/route/x', SMALL, { 'Content-Type': type })).status, 200, type)
    t.same([up.last.body.toString(), up.last.header('content-type')], [SMALL, type])
  }
})

// ---------------------------------------------------------------- forms of the other kind

const URLENCODED = { 'Content-Type': 'application/x-www-form-urlencoded' }

t.test('@fastify/formbody: proxied forms keep their bytes', async t => {
  const register: Register = app => app.register(formbody)
  for (const registers of [{ before: register }, { after: register }]) {
    const { send, up } = await place(t, registers)
    for (const path of PATHS) {
      t.equal((await send(path, 'a=1&&b=%zz&a=3%20+x', URLENCODED)).status, 200)
      t.same([up.last.body.toString(), up.last.header('content-type')], ['a=1&&b=%zz&a=3%20+x', URLENCODED['Content-Type']], path)
    }
  }
})

t.test('@fastify/formbody: reply.proxy() makes a form of what was parsed, the same fields as the client\'s', async t => {
  const { send, up } = await place(t, { before: app => app.register(formbody) })
  t.equal((await send('/handler/x', 'a=1&b=%C3%A9&a=3%20+x&c=', URLENCODED)).status, 200)
  const fields = new URLSearchParams(up.last.body.toString())
  t.same([fields.getAll('a'), fields.getAll('b'), fields.getAll('c'), [...fields].length], [['1', '3  x'], ['\u00e9'], [''], 4])
  t.equal(up.last.header('content-type'), URLENCODED['Content-Type'])
})

t.test('@fastify/formbody with a parser that nests: refused where it cannot be undone', async t => {
  const { logged, send, up } = await place(t, { before: app => app.register(formbody, { parser: text => ({ a: { b: text } }) }) })
  t.match(await send('/handler/x', 'a[b]=1', URLENCODED), { status: 500 })
  t.match(logged.join(''), /more than texts/)
  t.equal(up.bytes, 0)
})

t.test('an object in which something goes round in circles is refused without a word about it', async t => {
  const { send, up } = await place(t, {
    before: app => {
      app.addContentTypeParser('application/round', { parseAs: 'string' }, (_request, _body, done) => {
        const round: Record<string, unknown> = {}
        round['itself'] = round
        done(null, round)
      })
    }
  })
  const { status, text } = await send('/handler/x', 'x', { 'Content-Type': 'application/round' })
  t.same([status, (JSON.parse(text) as { code: string }).code], [500, 'RP_ERR_INVALID_CALL'])
  t.equal(up.bytes, 0)
})

// ---------------------------------------------------------------- a parser for everything

t.test('a parser for * has no part in what is proxied, and reply.proxy() takes what it leaves', async t => {
  const parsers: Array<[string, Register]> = [
    ['nothing', app => { app.addContentTypeParser('*', (_request, _payload, done) => { done(null) }) }],
    ['the stream', app => { app.addContentTypeParser('*', (_request, payload, done) => { done(null, payload) }) }],
    ['bytes', app => { app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: 5_000_000 }, (_request, body, done) => { done(null, body) }) }]
  ]
  for (const [name, register] of parsers) {
    for (const registers of [{ before: register }, { after: register }]) {
      const { send, up } = await place(t, registers)
      for (const path of [...PATHS, '/handler/x']) {
        for (const headers of [{ 'Content-Type': 'a/b' }, TYPE, {}]) {
          t.equal((await send(path, FORM, headers)).status, 200, `${name}, ${path}`)
          t.ok(up.last.body.equals(FORM))
        }
      }
    }
  }
})

// ---------------------------------------------------------------- packed bodies

const PACKED = gzipSync(FORM)
const GZIP = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }

t.test('@fastify/compress unpacks no proxied body, whenever it is registered', async t => {
  const register: Register = app => app.register(compress)
  for (const [name, registers] of [['before', { before: register }], ['after', { after: register }]] as const) {
    const { send, up } = await place(t, registers)
    for (const path of PATHS) {
      for (const body of [PACKED, gzipSync('small'), Buffer.from('no gzip at all')]) {
        for (const coding of ['gzip', 'aws-chunked']) {
          t.equal((await send(path, body, { ...GZIP, 'Content-Encoding': coding })).status, 200, `${name}, ${path}, ${coding}`)
          t.ok(up.last.body.equals(body))
          t.equal(up.last.header('content-encoding'), coding)
          t.equal(up.last.header('content-length'), String(body.length))
        }
      }
    }
  }
})

t.test('hooks see the request\'s headers as they are, also beside @fastify/compress', async t => {
  const seen: unknown[] = []
  const { send } = await place(t, {
    before: app => app.register(compress),
    after: app => {
      for (const hook of ['preValidation', 'preHandler'] as const) {
        app.addHook(hook, async ({ headers }) => { seen.push([headers['content-encoding'], headers['content-type'], headers['content-length'], Object.getOwnPropertySymbols(headers).length]) })
      }
    }
  })
  await send('/route/x', gzipSync('small'), GZIP)
  const expected = ['gzip', 'application/json', String(gzipSync('small').length), 0]
  t.same(seen, [expected, expected])
})

t.test('a route that asks for it gets its bodies unpacked, and the backend is not told that they are packed', async t => {
  for (const order of ['before', 'after'] as const) {
    const asking: Register = app => { app.post('/unpacked', { proxy: 'up', decompress: {} }, app.reverseproxy.handler) }
    const { app, up } = await place(t, order === 'before'
      ? { before: app => app.register(compress), after: asking }
      : { after: async app => { await app.register(compress); asking(app) } })
    const { port } = app.server.address() as AddressInfo
    t.equal((await rawRequest(port, requestBytes('POST', '/unpacked', { headers: GZIP, body: PACKED }))).status, 200)
    t.ok(up.last.body.equals(FORM), order)
    t.same([up.last.header('content-encoding'), up.last.header('content-length'), up.last.header('content-type')], [undefined, undefined, 'application/json'])
    const { response } = await rawRequest(port, requestBytes('POST', '/unpacked', { headers: GZIP, body: 'no gzip at all' }))
    t.equal(response.status, 400)
  }
})
