/** Who may come in to the admin interface, over the wire: tokens, hooks, this machine only, and pages of other origins. */
import t from 'tap'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { createAccess, isLoopback } from '../../lib/admin/access.ts'
import { httpUpstream, rawRequest, requestBytes, startGateway } from '../helper.ts'
import type { GatewayOptions, HeaderInput, RawResponse } from '../helper.ts'

const BACKENDS = { up: 'http://127.0.0.1:1' }
const TOKEN = 'correct-horse'

async function start (t: Test, admin: GatewayOptions['admin'], more: Partial<GatewayOptions> = {}, configure: (app: FastifyInstance) => void = () => {}): Promise<number> {
  const { port } = await startGateway(t, { backends: BACKENDS, admin: admin!, ...more } as GatewayOptions, configure)
  return port
}

/** Without the helper's own Host where the headers have one. */
function bytesOf (method: string, path: string, headers: HeaderInput, body?: string): Buffer {
  const names = (Array.isArray(headers) ? (headers as ReadonlyArray<readonly [string, string]>).map(([name]) => name) : Object.keys(headers)).map(name => name.toLowerCase())
  return requestBytes(method, path, { headers, ...(body === undefined ? undefined : { body }), ...(names.includes('host') ? { host: null } : undefined) })
}

const get = (path: string, headers: HeaderInput = {}): Buffer => bytesOf('GET', path, headers)
const post = (path: string, body: string | undefined, headers: HeaderInput): Buffer => bytesOf('POST', path, headers, body)

async function ask (port: number, bytes: string | Buffer): Promise<RawResponse> {
  return (await rawRequest(port, bytes)).response!
}

const status = async (port: number, headers: HeaderInput = {}): Promise<number> => (await ask(port, get('/_gateway/status', headers))).status

t.test('who has the token comes in, whatever the case of the scheme', async t => {
  const port = await start(t, { token: TOKEN })
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) t.equal(await status(port, { authorization: `${scheme} ${TOKEN}` }), 200, scheme)
  t.equal(await status(port, { authorization: `Bearer   ${TOKEN}` }), 200, 'more than one space (RFC 9110 section 11.4)')
})

t.test('who has not is told how to ask, and nothing else', async t => {
  const port = await start(t, { token: TOKEN })
  const none = await ask(port, get('/_gateway/status'))
  t.equal(none.status, 401)
  t.equal(none.header('www-authenticate'), 'Bearer realm="reverseproxy"')
  t.match(JSON.parse(none.text), { statusCode: 401, code: 'RP_ERR_ADMIN_TOKEN', error: 'Unauthorized' })
  t.equal((await ask(port, get('/_gateway/status', { authorization: 'Basic abc' }))).header('www-authenticate'), 'Bearer realm="reverseproxy"')
  for (const wrong of [`Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(0, -1)}`, `Bearer ${TOKEN.toUpperCase()}`, 'Bearer', 'Bearer ', `Bearer  x ${TOKEN}`, `Bearer ${TOKEN}, Bearer ${TOKEN}`, 'Bearer corréct-horse']) {
    const answer = await ask(port, get('/_gateway/status', { authorization: wrong }))
    t.equal(answer.status, 401, wrong)
    t.equal(answer.header('www-authenticate'), 'Bearer realm="reverseproxy", error="invalid_token"', wrong)
    t.notMatch(answer.text, /horse/, 'no token comes back')
  }
})

t.test('two Authorization headers are one too many, though one of them be right', async t => {
  const port = await start(t, { token: TOKEN })
  for (const values of [[`Bearer ${TOKEN}`, 'Bearer x'], ['Bearer x', `Bearer ${TOKEN}`], [`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]]) {
    t.equal(await status(port, values.map(value => ['Authorization', value] as const)), 401)
  }
})

t.test('every path below the prefix asks for the token, and none goes to a backend', async t => {
  const seen: string[] = []
  const { url } = await httpUpstream(t, (request, response) => {
    seen.push(request.url!)
    response.end('backend')
  })
  const port = await start(t, { token: TOKEN }, { backends: { up: url }, defaultBackend: 'up' })
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  for (const path of ['/_gateway/status', '/_gateway/nothing', '/_gateway/', '/_gateway/events', '/_gateway/backends/up']) {
    t.equal((await ask(port, get(path))).status, 401, path)
  }
  for (const [method, path] of [['POST', '/_gateway/status'], ['PUT', '/_gateway/backends/up'], ['DELETE', '/_gateway/tenants'], ['OPTIONS', '/_gateway/status'], ['GET', '/_gateway/a/b/c'], ['POST', '/_gateway'], ['PUT', '/_gateway'], ['OPTIONS', '/_gateway']] as const) {
    const answer = await ask(port, requestBytes(method, path, { headers }))
    t.equal(answer.status, 404, `${method} ${path}`)
    t.match(JSON.parse(answer.text), { code: 'RP_ERR_ADMIN_UNKNOWN', message: `Route ${method}:${path} not found` })
  }
  t.equal((await ask(port, get('/_gateway/', headers))).header('location'), '/_gateway')
  t.same(seen, [])
  t.equal((await ask(port, get('/_gatewayx'))).text, 'backend')
})

t.test('the page comes with the 401, since it asks for the token', async t => {
  const port = await start(t, { token: TOKEN })
  for (const [headers, code] of [[{}, 401], [{ authorization: `Bearer ${TOKEN}` }, 200]] as const) {
    const answer = await ask(port, get('/_gateway', headers))
    t.equal(answer.status, code)
    t.match(answer.header('content-type'), /^text\/html/)
    t.match(answer.text, /<!doctype html>/i)
    t.match(answer.header('content-security-policy'), /default-src 'none'/)
    t.equal(answer.header('referrer-policy'), 'no-referrer')
    t.equal(answer.header('x-frame-options'), 'DENY')
    t.equal(answer.header('cache-control'), 'no-store')
    t.equal(answer.header('x-content-type-options'), 'nosniff')
  }
})

t.test('answers are not kept and not guessed at, errors included', async t => {
  const port = await start(t, true)
  for (const path of ['/_gateway/status', '/_gateway/nothing', '/_gateway/backends/x', '/_gateway/openapi.json']) {
    const answer = await ask(port, get(path, { host: 'localhost' }))
    t.equal(answer.header('cache-control'), 'no-store', path)
    t.equal(answer.header('x-content-type-options'), 'nosniff', path)
  }
})

t.test('hooks of the app decide, on all routes', async t => {
  const asked: string[] = []
  const port = await start(t, {
    preHandler: [(request, _reply, done) => { asked.push(request.url); done() }, async (request, reply) => {
      if (request.headers['x-user'] !== 'admin') await reply.code(403).send({ no: true })
    }]
  })
  for (const path of ['', '/status', '/nothing', '/events', '/openapi.json']) {
    const answer = await ask(port, get(`/_gateway${path}`, { host: 'gateway.example.com', 'x-forwarded-for': '1.2.3.4' }))
    t.equal(answer.status, 403, path)
    t.equal(answer.text, '{"no":true}', path)
  }
  t.equal(asked.length, 5)
  t.equal(await status(port, { host: 'gateway.example.com', 'x-user': 'admin' }), 200, 'they are protection enough')
})

t.test('with a token and hooks both must agree', async t => {
  const port = await start(t, { token: TOKEN, preHandler: async (request, reply) => { if (request.headers['x-user'] === undefined) await reply.code(418).send({}) } })
  t.equal(await status(port, { 'x-user': '1' }), 401)
  t.equal(await status(port, { authorization: `Bearer ${TOKEN}` }), 418)
  t.equal(await status(port, { authorization: `Bearer ${TOKEN}`, 'x-user': '1' }), 200)
})

t.test('what a hook throws keeps its status and message', async t => {
  const port = await start(t, { preHandler: async () => { throw Object.assign(new Error('not on Sundays'), { statusCode: 403, code: 'SUNDAY' }) } })
  t.match(JSON.parse((await ask(port, get('/_gateway/status'))).text), { statusCode: 403, code: 'SUNDAY', error: 'Forbidden', message: 'not on Sundays' })
})

t.test('without either it answers this machine under its own name', async t => {
  const port = await start(t, true)
  for (const host of ['localhost', 'localhost:80', 'LOCALHOST', 'gateway.localhost:3000', '127.0.0.1', `127.0.0.1:${port}`, '127.9.9.9', '[::1]:3000', '[::ffff:127.0.0.1]']) t.equal(await status(port, { host }), 200, host)
})

t.test('without either no other name leads here', async t => {
  const port = await start(t, true)
  for (const host of ['gateway.example.com', 'localhost.example.com', 'xlocalhost', '127.0.0.1.example.com', '127.0.0.1.nip.io:80', '10.0.0.1', '0.0.0.0', '[::]', '[fe80::1]', 'localhost@evil.com', 'localhost:80:80', '2130706433', '0x7f.1']) {
    const answer = await ask(port, get('/_gateway/status', { host }))
    t.equal(answer.status, 403, host)
    t.match(JSON.parse(answer.text), { code: 'RP_ERR_ADMIN_ACCESS', message: /admin\.token.*admin\.preHandler.*admin\.port/ })
  }
  t.not(await status(port, [['Host', 'localhost'], ['Host', 'evil.example.com']]), 200, 'two hosts')
})

t.test('without either nobody may stand in between', async t => {
  const port = await start(t, true)
  for (const name of ['Forwarded', 'Via', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded-Anything', 'X-Real-IP']) {
    t.equal(await status(port, { host: 'localhost', [name]: 'x' }), 403, name)
  }
  t.equal((await ask(port, 'GET /_gateway/status HTTP/1.0\r\nHost: localhost\r\n\r\n')).status, 403, 'HTTP/1.0, as nginx speaks it to backends')
})

t.test('a server that others can reach refuses even this machine, and says so in the log', async t => {
  const lines: Array<{ level: number, msg: string }> = []
  const app = Fastify({ ...serverOptions, logger: { level: 'warn', stream: { write (line: string) { lines.push(JSON.parse(line) as { level: number, msg: string }) } } } })
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends: BACKENDS, admin: true })
  await app.listen({ port: 0, host: '0.0.0.0' })
  const { port } = app.server.address() as AddressInfo
  const answer = await ask(port, get('/_gateway/status', { host: 'localhost' }))
  t.equal(answer.status, 403)
  t.match(JSON.parse(answer.text).message, /the server listens on more than loopback addresses/)
  t.same(lines.filter(({ msg }) => msg.startsWith('the admin interface refuses everybody')).length, 1)
  const [other] = Object.values(networkInterfaces()).flat().filter(found => found?.internal === false && found.family === 'IPv4')
  if (other !== undefined) t.equal((await over(other.address, port, get('/_gateway/status', { host: 'localhost' }))).slice(0, 12), 'HTTP/1.1 403')
})

/** The answer's beginning, from another address than 127.0.0.1. */
function over (host: string, port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port }, () => { socket.write(bytes) })
    socket.once('data', (data: Buffer) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.once('error', reject)
  })
}

t.test('no warning where there is a token, or nobody else can come', async t => {
  for (const [host, admin] of [['0.0.0.0', { token: TOKEN }], ['127.0.0.1', true], ['localhost', true]] as const) {
    const lines: string[] = []
    const app = Fastify({ ...serverOptions, logger: { level: 'warn', stream: { write (line: string) { lines.push(line) } } } })
    t.teardown(() => app.close())
    await app.register(reverseproxy, { backends: BACKENDS, admin })
    await app.listen({ port: 0, host })
    t.same(lines.filter(line => line.includes('admin interface')), [], host)
  }
})

t.test('a unix socket is no loopback address', async t => {
  const app = Fastify({ ...serverOptions })
  t.teardown(() => app.close())
  await app.register(reverseproxy, { backends: BACKENDS, admin: true })
  await app.listen({ path: `${t.testdir({})}/s` })
  t.equal((await app.inject('/_gateway/status')).statusCode, 403)
})

t.test('loopback is all of 127.0.0.0/8 and ::1, and IPv4 within IPv6', t => {
  for (const address of ['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1']) t.ok(isLoopback(address), address)
  for (const address of ['128.0.0.1', '10.0.0.1', '::', '::2', '0.0.0.0', '::ffff:10.0.0.1', '', 'localhost', undefined]) t.notOk(isLoopback(address), String(address))
  t.end()
})

t.test('a mapped address is this machine, another one is not', t => {
  const access = createAccess({ token: undefined, guarded: false, addresses: () => [{ address: '::1' }] })
  const visit = (remoteAddress: string | undefined, localAddress: string | undefined, rawHeaders = ['Host', 'localhost']) => access({
    method: 'GET', origin: 'http://localhost', raw: { headers: { host: rawHeaders[1] }, rawHeaders, httpVersionMajor: 1, httpVersionMinor: 1, socket: { remoteAddress, localAddress } }
  })
  t.equal(visit('::ffff:127.0.0.1', '::ffff:127.0.0.1'), undefined)
  t.match(visit('::ffff:10.0.0.7', '::ffff:127.0.0.1'), { code: 'RP_ERR_ADMIN_ACCESS' })
  t.match(visit('127.0.0.1', '10.0.0.7'), { code: 'RP_ERR_ADMIN_ACCESS' })
  t.match(visit(undefined, undefined), { code: 'RP_ERR_ADMIN_ACCESS' })
  t.match(visit('::1', '::1', []), { code: 'RP_ERR_ADMIN_ACCESS' }, 'no Host at all')
  t.end()
})

t.test('an action that another origin has a browser send is refused', async t => {
  const port = await start(t, { token: TOKEN })
  const send = async (headers: Record<string, string>): Promise<number> =>
    (await ask(port, post('/_gateway/backends/up/drain', '{"target":"http://127.0.0.1:1"}', { host: 'gateway.example.com:3000', authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers }))).status
  for (const origin of ['http://evil.example.com', 'http://gateway.example.com', 'https://gateway.example.com:3000', 'null', 'http://gateway.example.com:3000.evil.com', '']) t.equal(await send({ origin }), 403, origin)
  for (const site of ['cross-site', 'same-site', 'nonsense']) t.equal(await send({ 'sec-fetch-site': site }), 403, site)
  t.equal(await send({ origin: 'http://evil.example.com', 'sec-fetch-site': 'none' }), 403)
  t.equal(await send({}), 200)
  t.equal(await send({ origin: 'http://gateway.example.com:3000', 'sec-fetch-site': 'same-origin' }), 200)
  t.equal(await send({ origin: 'https://gateway.example.com:3000', 'sec-fetch-site': 'same-origin' }), 200, 'TLS ends in front of the gateway')
})

t.test('without protection not even reading is for pages of other origins', async t => {
  const port = await start(t, true)
  t.equal(await status(port, { host: 'localhost', origin: 'http://evil.example.com' }), 403)
  t.equal(await status(port, { host: `localhost:${port}`, origin: `http://localhost:${port}` }), 200)
  for (const site of ['cross-site', 'same-site']) {
    t.equal(await status(port, { host: 'localhost', 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors' }), 403, 'a picture, a script')
    t.equal(await status(port, { host: 'localhost', 'sec-fetch-site': site, 'sec-fetch-mode': 'navigate' }), 200, 'a link')
  }
  t.equal(await status(port, { host: 'localhost', 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }), 200, 'the status page')
})

t.test('bodies are JSON, small and plain', async t => {
  const port = await start(t, true)
  const send = async (body: string, headers: Record<string, string>): Promise<number> => (await ask(port, post('/_gateway/backends/up/breaker/open', body, { host: 'localhost', ...headers }))).status
  t.equal(await send('target=x', { 'content-type': 'application/x-www-form-urlencoded' }), 415)
  t.equal(await send('{}', { 'content-type': 'text/plain' }), 415)
  t.equal(await send('{}', {}), 415)
  t.equal(await send('{', { 'content-type': 'application/json' }), 400)
  t.equal(await send('{"__proto__":{"target":"x"}}', { 'content-type': 'application/json' }), 400)
  t.equal(await send(`{"target":"${'x'.repeat(70_000)}"}`, { 'content-type': 'application/json' }), 413)
  t.equal(await send('{}', { 'content-type': 'application/json; charset=utf-8' }), 200)
  t.equal((await ask(port, post('/_gateway/backends/up/breaker/close', undefined, { host: 'localhost' }))).status, 200, 'no body at all')
})

t.test('what the app has for its own routes does not hold here, but its hooks do', async t => {
  const app = Fastify({ ...serverOptions })
  t.teardown(() => app.close())
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => { done(null, 'the app has read it') })
  app.setErrorHandler((_error, _request, reply) => { reply.code(200).send('the app has handled it') })
  app.setReplySerializer(() => 'the app has written it')
  app.setValidatorCompiler(() => () => false)
  await app.register(reverseproxy, { backends: BACKENDS, admin: true })
  app.addHook('onRequest', async (_request, reply) => { reply.header('x-app', 'yes') })
  const opened = await app.inject({ method: 'POST', url: '/_gateway/backends/up/breaker/open', payload: {} })
  t.has(opened.json(), { done: true })
  t.equal(opened.headers['x-app'], 'yes')
  t.has((await app.inject('/_gateway/backends/none')).json(), { statusCode: 404, code: 'RP_ERR_ADMIN_UNKNOWN' })
})
