/** A tenant's id as Node and Fastify really hand it over: what they decode, join, drop and refuse. */
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import { createServer, connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { FastifyServerOptions, InjectOptions } from 'fastify'
import { createWho } from '../../../lib/tenancy/index.ts'
import type { TenantSource } from '../../../lib/tenancy/index.ts'
import { rawRequest } from '../../helper/client.ts'

const PATTERN = /[A-Za-z0-9][A-Za-z0-9._-]*/

/** An app that answers with the id of each request, `-` for none. */
function build (t: Test, sources: TenantSource[], options: FastifyServerOptions = {}, pattern = PATTERN) {
  const app = Fastify(options)
  const who = createWho({ sources, maxLength: 64, pattern })
  app.decorateRequest('user', null)
  for (const url of ['/', '/t/:tenant/x', '/o/:tenant?', '/w/*']) app.get(url, async request => await who(request) ?? '-')
  t.teardown(() => app.close())
  return app
}

/** The id, or the status and message of the refusal. */
async function ask (app: ReturnType<typeof build>, options: InjectOptions | string): Promise<string> {
  const response = await app.inject(options)
  return response.statusCode === 200 ? response.body : `${response.statusCode} ${response.json<{ message: string }>().message}`
}

async function listen (app: ReturnType<typeof build>): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** One request from a raw socket: the same as {@link ask}. */
async function send (port: number, lines: string[], url = '/'): Promise<string> {
  const { response } = await rawRequest(port, [`GET ${url} HTTP/1.1`, ...lines, 'Connection: close', '', ''].join('\r\n'))
  const body = response!.text
  return response!.status === 200 ? body : `${response!.status} ${(JSON.parse(body) as { message: string }).message}`
}

const NOT = '400 The tenant is not acceptable:'

t.test('query: Fastify decodes once, and what is refused is what comes out', async t => {
  const app = build(t, [{ kind: 'query', name: 'tenant' }])
  for (const [url, answer] of [
    ['/?tenant=acme', 'acme'],
    ['/?tenant=ac%6De', 'acme'],
    ['/?%74enant=acme', 'acme'],
    ['/?tenant=ac%256De', `${NOT} query tenant does not match the pattern`],
    ['/?tenant=ac+me', `${NOT} query tenant does not match the pattern`],
    ['/?tenant=acme%0d%0ax-evil:1', `${NOT} query tenant does not match the pattern`],
    ['/?tenant=acme%00', `${NOT} query tenant does not match the pattern`],
    ['/?tenant=%zz', `${NOT} query tenant does not match the pattern`],
    ['/?tenant=', `${NOT} query tenant is empty`],
    ['/?tenant', `${NOT} query tenant is empty`],
    ['/?tenant=acme&tenant=acme', `${NOT} query tenant stands there more than once`],
    ['/?tenant=acme&%74enant=evil', `${NOT} query tenant stands there more than once`],
    ['/?Tenant=acme', '-'],
    ['/?tenant[]=acme', '-'],
    ['/?__proto__[tenant]=acme', '-'],
    ['/?__proto__=acme', '-'],
    [`/?tenant=${'a'.repeat(65)}`, `${NOT} query tenant is longer than 64 characters`],
    ['/', '-']
  ] as const) t.equal(await ask(app, url), answer, url)
})

t.test('query: names of Object.prototype are like others', async t => {
  for (const name of ['__proto__', 'constructor']) {
    const app = build(t, [{ kind: 'query', name }])
    t.equal(await ask(app, '/'), '-')
    t.equal(await ask(app, `/?${name}=acme`), 'acme')
    t.equal(await ask(app, `/?${name}=acme&${name}=acme`), `${NOT} query ${name} stands there more than once`)
  }
  t.equal(({} as { acme?: unknown }).acme, undefined)
})

t.test('params: Fastify decodes once, and what is refused is what comes out', async t => {
  const app = build(t, [{ kind: 'param', name: 'tenant' }])
  for (const [url, answer] of [
    ['/t/acme/x', 'acme'],
    ['/t/ac%6De/x', 'acme'],
    ['/t/ac%256De/x', `${NOT} param tenant does not match the pattern`],
    ['/t/ac%2Fme/x', `${NOT} param tenant does not match the pattern`],
    ['/t/%20/x', `${NOT} param tenant does not match the pattern`],
    ['/t/%5f%5fproto__/x', `${NOT} param tenant does not match the pattern`],
    ['/t/constructor/x', 'constructor'],
    ['/t//x', `${NOT} param tenant is empty`],
    ['/o/acme', 'acme'],
    ['/w/acme', '-'],
    ['/', '-']
  ] as const) t.equal(await ask(app, url), answer, url)
})

t.test('params: the rest of a path is one', async t => {
  const app = build(t, [{ kind: 'param', name: '*' }])
  t.equal(await ask(app, '/w/acme'), 'acme')
  t.equal(await ask(app, '/w/acme/x'), `${NOT} param * does not match the pattern`)
})

t.test('headers: doubled ones are refused wherever they stand and however they are written', async t => {
  for (const name of ['x-tenant-id', 'tenant', 'user-agent', 'from', 'authorization', 'constructor', '__proto__', 'cookie', 'set-cookie']) {
    const port = await listen(build(t, [{ kind: 'header', name }], {}, /.*/))
    t.equal(await send(port, ['Host: a', `${name}: acme`]), name === 'set-cookie' ? `${NOT} header set-cookie is neither a text nor a whole number` : 'acme')
    t.equal(await send(port, ['Host: a', `${name}: acme`, 'Accept: */*', `${name.toUpperCase()}: acme`]), `${NOT} header ${name} stands there more than once`)
    t.equal(await send(port, ['Host: a', 'Accept: */*']), '-', name)
  }
})

t.test('headers: what Node and Fastify make of hostile ones', async t => {
  const port = await listen(build(t, [{ kind: 'header', name: 'x-tenant-id' }]))
  for (const [line, answer] of [
    ['X-TENANT-id: AcMe', 'AcMe'],
    ['X-Tenant-Id:acme', 'acme'],
    ['X-Tenant-Id: \t acme \t', 'acme'],
    ['X-Tenant-Id:', `${NOT} header x-tenant-id is empty`],
    ['X-Tenant-Id:   ', `${NOT} header x-tenant-id is empty`],
    ['X-Tenant-Id: acme,evil', `${NOT} header x-tenant-id does not match the pattern`],
    ['X-Tenant-Id: acme, acme', `${NOT} header x-tenant-id does not match the pattern`],
    ['X-Tenant-Id: ac%6De', `${NOT} header x-tenant-id does not match the pattern`],
    ['X-Tenant-Id: é', `${NOT} header x-tenant-id does not match the pattern`],
    ['X-Tenant-Id: __proto__', `${NOT} header x-tenant-id does not match the pattern`],
    ['X-Tenant-Id: constructor', 'constructor'],
    [`X-Tenant-Id: ${'a'.repeat(5000)}`, `${NOT} header x-tenant-id is longer than 64 characters`],
    ['X_Tenant_Id: acme', '-']
  ] as const) t.equal(await send(port, ['Host: a', line]), answer, line.slice(0, 40))
  for (const line of ['X-Tenant-Id : acme', 'X-Tenant-Id: acme\0', 'X-Tenant-Id: acme\rX-Evil: 1', 'X-Tenant-Id: acme\r\n evil']) {
    t.match(await send(port, ['Host: a', line]), /^400 /, JSON.stringify(line))
  }
})

t.test('headers: a pattern that allows commas does not let a second header in', async t => {
  const port = await listen(build(t, [{ kind: 'header', name: 'x-tenant-id' }], {}, /[a-z, ]+/))
  t.equal(await send(port, ['Host: a', 'X-Tenant-Id: acme, evil']), 'acme, evil')
  t.equal(await send(port, ['Host: a', 'X-Tenant-Id: acme', 'X-Tenant-Id: evil']), `${NOT} header x-tenant-id stands there more than once`)
})

t.test('host: without its port, in lower case', async t => {
  const port = await listen(build(t, [{ kind: 'host', before: '', after: '.example.com' }]))
  for (const [name, answer] of [
    ['acme.example.com', 'acme'],
    ['ACME.Example.COM:8080', 'acme'],
    ['acme.example.com.', 'acme'],
    ['example.com', '-'],
    ['a.b.example.com', '-'],
    ['acme.example.com.evil.org', '-'],
    ['acme.example.com@evil.org', '-'],
    ['evil.org#.example.com', '-'],
    ['.example.com', `${NOT} host {tenant}.example.com is empty`],
    ['ac%6De.example.com', `${NOT} host {tenant}.example.com does not match the pattern`],
    ['evil, acme.example.com', `${NOT} host {tenant}.example.com does not match the pattern`]
  ] as const) t.equal(await send(port, [`Host: ${name}`]), answer, name)
})

t.test('host: two are refused', async t => {
  const port = await listen(build(t, [{ kind: 'host', before: '', after: '.example.com' }]))
  t.equal(await send(port, ['Host: acme.example.com', 'Host: evil.example.com']), `${NOT} host {tenant}.example.com stands there more than once`)
})

t.test('host: X-Forwarded-Host counts when the peer is trusted, and only then', async t => {
  const source: TenantSource = { kind: 'host', before: '', after: '.example.com' }
  const headers = { host: 'acme.example.com', 'x-forwarded-host': 'EVIL.example.com:443' }
  t.equal(await ask(build(t, [source]), { url: '/', headers }), 'acme')
  t.equal(await ask(build(t, [source], { trustProxy: '10.0.0.0/8' }), { url: '/', headers }), 'acme')
  t.equal(await ask(build(t, [source], { trustProxy: '127.0.0.1' }), { url: '/', headers }), 'evil')
})

t.test('HTTP/2: headers and authority are the same sources', async t => {
  const who = createWho({ sources: [{ kind: 'header', name: 'x-tenant-id' }, { kind: 'host', before: '', after: '.example.com' }], maxLength: 64, pattern: PATTERN })
  const app = Fastify({ http2: true, serverFactory: handler => createServer(handler as never) })
  app.get('/', async request => await who(request as never) ?? '-')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { client.close(); await app.close() })
  const get = async (headers: Record<string, string | string[]>) => {
    const stream = client.request({ ':path': '/', ...headers }).setEncoding('utf8')
    let body = ''
    for await (const chunk of stream) body += chunk as string
    return body
  }
  t.equal(await get({ ':authority': 'ACME.example.com:80' }), 'acme')
  t.equal(await get({ 'x-tenant-id': 'acme' }), 'acme')
  t.match(await get({ ':authority': 'acme.example.com', 'x-tenant-id': 'evil' }), /header x-tenant-id and host \{tenant\}\.example\.com differ/)
  t.match(await get({ 'x-tenant-id': ['acme', 'acme'] }), /header x-tenant-id stands there more than once/)
})
