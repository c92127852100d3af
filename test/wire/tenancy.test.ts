/**
 * WIRE-CONTRACT, tenants: what a client may say of its tenant, byte by byte, and what of it a backend gets to see: the id
 * that came of it, once, in the gateway's own line, and nothing else.
 */
import t from 'tap'
import type { Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { connect } from 'node:http2'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import reverseproxy, { serverOptions } from '../../index.ts'
import { chunk, get, lastChunk, post, rawClient, rawRequest, rawUpstream, requestBytes, startPair, waitFor } from '../helper.ts'
import type { Configure, GatewayOptions, Pair, RawResponse, RecordedRequest, Step } from '../helper.ts'
import { OK, checkErrorBody, checkHealthy } from './checks.ts'

type TenancyOptions = NonNullable<GatewayOptions['tenancy']>

/** Whatever a client makes up holds one of these; neither may come out on the other side. */
const MARKS = /evil|\bgh0st\b/i

async function pairOf (t: Test, tenancy: TenancyOptions, options: { configure?: Configure, server?: FastifyServerOptions, gateway?: Partial<GatewayOptions> } = {}): Promise<Pair> {
  const { gateway, ...rest } = options
  return await startPair(t, OK, { ...rest, gateway: { tenancy, ...gateway } })
}

/** All that the upstream got of a request that could carry a client's word. */
function bytesOf (request: RecordedRequest): string {
  return [request.head, ...request.trailers.map(([name, value]) => `${name}: ${value}`)].join('\r\n')
}

/** Header lines whose name is the tenant header's, or one that a backend may take for it. */
function tenantLines (request: RecordedRequest, name = 'x-tenant-id'): string[] {
  return [...request.headers, ...request.trailers].filter(([found]) => found.toLowerCase().replace(/[^a-z0-9]/g, '-') === name).map(([found, value]) => `${found.toLowerCase()}: ${value}`)
}

/** Sends one request: the status, what the upstream got, and the answer. */
async function send (pair: Pair, bytes: Step | readonly Step[]): Promise<{ status: number, seen: RecordedRequest | undefined, response: RawResponse }> {
  const before = pair.upstream.requests.length
  const { status, response } = await rawRequest(pair.port, bytes)
  return { status, seen: pair.upstream.requests[before], response }
}

/** Nobody has added anything to what all objects have. */
function checkPrototypes (t: Test): void {
  t.equal(({} as Record<string, unknown>)['acme'], undefined, 'no prototype has an acme')
  t.equal(({} as Record<string, unknown>)['evil'], undefined, 'no prototype has an evil')
  t.strictSame(Object.keys(Object.prototype), [], 'Object.prototype has nothing of its own to list')
}

/** Refused with a coded answer that does not repeat what was sent, before a byte went to the upstream. */
async function checkRefusedId (t: Test, pair: Pair, label: string, bytes: Step | readonly Step[], status: number, code: RegExp): Promise<void> {
  const before = pair.upstream.bytes
  const { response } = await rawRequest(pair.port, bytes)
  checkErrorBody(t, response, status, label)
  t.match(response.text, code, `${label}: the code`)
  t.notMatch(response.head + response.text, MARKS, `${label}: nothing of the id comes back`)
  t.equal(pair.upstream.bytes, before, `${label}: the upstream sees nothing`)
}

// ---------------------------------------------------------------- the sources

t.test('each kind of source gives the id that the backend is told', async t => {
  const sources: Array<[string, TenancyOptions, Buffer]> = [
    ['the default header', {}, get('/x', { 'X-Tenant-Id': 'acme' })],
    ['a header of another name', { header: 'X-Org', forwardAs: 'x-tenant-id' }, get('/x', { 'x-org': 'acme' })],
    ['a header whose doubles Node drops', { sources: { header: 'from' }, forwardAs: 'x-tenant-id' }, get('/x', { From: 'acme' })],
    ['a host', { sources: { host: '{tenant}.example.com' } }, requestBytes('GET', '/x', { host: 'acme.example.com' })],
    ['a host around it', { sources: { host: 'api-{tenant}.eu.example.com' } }, requestBytes('GET', '/x', { host: 'api-acme.eu.example.com' })],
    ['a query parameter', { sources: { query: 'tenant' } }, get('/x?a=1&tenant=acme')],
    ['a path parameter', { sources: { param: 'tenant' } }, get('/of/acme/x')],
    ['a claim of a function', { sources: { claim: 'app.org', from: request => ({ app: { org: request.headers['x-who'] } }) } }, get('/x', { 'X-Who': 'acme' })],
    ['a function', { sources: request => request.headers['x-key'] === '1' ? 'acme' : undefined }, get('/x', { 'X-Key': '1' })],
    ['an async function', { sources: { resolve: async request => request.headers['x-key'] === '1' ? 'acme' : null } }, get('/x', { 'X-Key': '1' })]
  ]
  for (const [label, tenancy, bytes] of sources) {
    const pair = await pairOf(t, tenancy, {
      configure: app => {
        app.get('/x', { proxy: 'up' }, app.reverseproxy.handler)
        app.get('/of/:tenant/x', { proxy: 'up' }, app.reverseproxy.handler)
      }
    })
    const { status, seen } = await send(pair, bytes)
    t.equal(status, 200, label)
    t.strictSame(tenantLines(seen!), ['x-tenant-id: acme'], label)
    const without = await send(pair, get('/x'))
    t.strictSame([without.status, tenantLines(without.seen!)], [200, []], `${label}: not there`)
  }
})

t.test('a claim of request.user gives the id, once the app knows its user', async t => {
  const pair = await pairOf(t, { sources: { claim: 'org' } }, {
    configure: app => {
      app.decorateRequest('user', null as never)
      app.addHook('preHandler', async request => { (request as { user?: unknown }).user = JSON.parse(String(request.headers['x-user'] ?? 'null')) })
      app.get('/x', { proxy: 'up' }, app.reverseproxy.handler)
    }
  })
  for (const [user, status, lines] of [
    ['{"org":"acme"}', 200, ['x-tenant-id: acme']],
    ['{"org":42}', 200, ['x-tenant-id: 42']],
    ['{}', 200, []],
    ['null', 200, []],
    ['{"org":null}', 200, []],
    ['{"org":["evil"]}', 400, undefined],
    ['{"org":{"evil":1}}', 400, undefined],
    ['{"org":true}', 400, undefined],
    ['{"org":"evil\\r\\nX-Evil: 1"}', 400, undefined],
    ['{"__proto__":{"org":"evil"}}', 200, []]
  ] as const) {
    const { status: found, seen, response } = await send(pair, get('/x', { 'X-User': user, 'X-Tenant-Id': 'gh0st' }))
    t.equal(found, status, user)
    t.strictSame(seen === undefined ? undefined : tenantLines(seen), lines, user)
    t.notMatch(response.text, MARKS, user)
  }
  checkPrototypes(t)
})

// ---------------------------------------------------------------- the header

t.test('a header that is no id is a 400, and no byte of it goes anywhere', async t => {
  const pair = await pairOf(t, { tenants: { acme: {}, evil: {} } })
  const long = `evil${'a'.repeat(61)}`
  const values: Array<[string, string]> = [
    ['joined by a comma', 'acme,evil'], ['joined by a comma and a space', 'acme, evil'], ['joined with itself', 'evil, evil'], ['a comma first', ',evil'], ['a semicolon', 'acme;evil'],
    ['percent-encoded', 'ev%69l-evil'], ['percent-encoded CRLF', 'evil%0d%0aX-Evil: 1'], ['over-long', long], ['far over-long', 'evil'.repeat(2000)], ['Latin-1', 'evil\xe9'], ['UTF-8', Buffer.from('evilé').toString('latin1')],
    ['full-width', Buffer.from('ｅvil-evil').toString('latin1')], ['a soft hyphen', 'ev\xadil-evil'], ['a no-break space', 'evil\xa0'], ['a space inside', 'evil acme'], ['a tab inside', 'evil\tacme'], ['quoted', '"evil"'], ['a slash', 'evil/../acme'], ['a dot first', '.evil'], ['dots', '../evil'],
    ['__proto__', '__proto__'], ['__proto__ in parts', '__proto__.evil'], ['a NUL written out', 'evil\\0'], ['a template', '{{evil}}'], ['brackets', 'evil[]'], ['a colon', 'evil:acme'], ['empty', ''], ['spaces', '   '], ['a tab', '\t']
  ]
  for (const [label, value] of values) await checkRefusedId(t, pair, label, get('/', { 'X-Tenant-Id': value }), 400, /RP_ERR_TENANT_INVALID/)
  await checkHealthy(t, pair)
  checkPrototypes(t)
})

t.test('what is no HTTP is refused, however it hides in the header', async t => {
  const pair = await pairOf(t, {})
  for (const [label, line] of [
    ['CR', 'X-Tenant-Id: acme\rX-Evil: 1'], ['a NUL', 'X-Tenant-Id: ac\0me'], ['a folded line', 'X-Tenant-Id: acme\r\n evil'], ['a folded line with a tab', 'X-Tenant-Id:\r\n\tevil'], ['a space before the colon', 'X-Tenant-Id : evil'],
    ['no colon', 'X-Tenant-Id'], ['DEL', 'X-Tenant-Id: evil\x7f'], ['a bell', 'X-Tenant-Id: evil\x07'], ['a bare LF', 'X-Tenant-Id: acme\nX-Evil: 1']
  ] as const) {
    const before = pair.upstream.bytes
    const { response } = await rawRequest(pair.port, `GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`)
    t.equal(response.status, 400, label)
    t.notMatch(response.text, MARKS, label)
    t.equal(pair.upstream.bytes, before, `${label}: the upstream sees nothing`)
  }
  await checkHealthy(t, pair)
})

t.test('a header that stands there twice is a 400, whatever its case and place', async t => {
  for (const header of ['x-tenant-id', 'from', 'user-agent', 'referer']) {
    const pair = await pairOf(t, { sources: { header } })
    for (const [one, other] of [['evil', 'evil'], ['acme', 'evil'], ['evil', 'acme'], ['evil', ''], ['', 'evil']] as const) {
      await checkRefusedId(t, pair, `${header}: ${one} and ${other}`, get('/', [[header, one], ['Accept', '*/*'], [header.toUpperCase(), other]]), 400, /RP_ERR_TENANT_INVALID/)
    }
    await checkRefusedId(t, pair, `${header}: three`, get('/', [[header, 'evil'], [header, 'evil'], [header, 'evil']]), 400, /RP_ERR_TENANT_INVALID/)
  }
})

t.test('names of Object.prototype are ids like others: nobody knows them, and nothing is found under them', async t => {
  const pair = await pairOf(t, { tenants: { acme: {} }, unknown: 'reject' })
  for (const id of ['constructor', 'toString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf']) {
    await checkRefusedId(t, pair, id, get('/', { 'X-Tenant-Id': id }), 403, /RP_ERR_TENANT_UNKNOWN/)
  }
  const open = await pairOf(t, { tenants: { acme: {} } })
  for (const id of ['constructor', 'toString', 'hasOwnProperty']) {
    const { status, seen } = await send(open, get('/', { 'X-Tenant-Id': id }))
    t.strictSame([status, tenantLines(seen!)], [200, [`x-tenant-id: ${id}`]], id)
  }
  checkPrototypes(t)
})

t.test('__proto__ is the name of no tenant, and where the pattern has it one that nobody knows', async t => {
  const tenancy = { pattern: '[a-z_]+', tenants: { acme: {} } }
  await t.rejects(startPair(t, OK, { gateway: { tenancy: { ...tenancy, tenants: JSON.parse('{ "__proto__": { "metadata": { "evil": 1 } } }') as NonNullable<TenancyOptions['tenants']> } } }), /__proto__/)
  const pair = await pairOf(t, tenancy, { configure: app => { app.get('/*', { proxy: 'up' }, app.reverseproxy.handler) } })
  try {
    pair.app.reverseproxy.tenants.set('__proto__', { metadata: { evil: 1 }, headers: { request: { set: { 'x-evil': '1' } } } })
  } catch {}
  for (const id of ['acme', 'zeta', 'constructor', '__proto__']) {
    const { status, seen } = await send(pair, get('/', { 'X-Tenant-Id': id }))
    t.strictSame([status, tenantLines(seen!)], [200, [`x-tenant-id: ${id}`]], id)
    if (id !== '__proto__') t.notMatch(bytesOf(seen!), MARKS, id)
  }
  checkPrototypes(t)
})

t.test('an id keeps its case, and white space around it is not part of it', async t => {
  const pair = await pairOf(t, { tenants: { acme: { headers: { request: { set: { 'x-plan': 'gold' } } } } } })
  for (const [line, id, plan] of [['X-TENANT-ID: acme', 'acme', ['gold']], ['x-tenant-id:\t acme \t', 'acme', ['gold']], ['X-Tenant-Id:acme', 'acme', ['gold']], ['X-Tenant-Id: Acme', 'Acme', []], ['X-Tenant-Id: ACME', 'ACME', []]] as const) {
    const { status, seen } = await send(pair, `GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`)
    t.equal(status, 200, line)
    t.strictSame([tenantLines(seen!), seen!.all('x-plan')], [[`x-tenant-id: ${id}`], plan], line)
  }
})

t.test('names that could be mistaken for the tenant header do not reach a backend', async t => {
  const twins = ['X_Tenant_Id', 'X_TENANT_ID', 'x-tenant_id', 'X_Tenant-Id', 'X.Tenant.Id', 'X-Tenant.Id', 'x~tenant~id', 'X-Tenant^Id', 'X!Tenant#Id', 'x\'tenant\'id', 'X|Tenant*Id', 'x+tenant`id']
  const pair = await pairOf(t, {})
  for (const twin of twins) {
    for (const headers of [[[twin, 'evil']], [[twin, 'evil'], ['X-Tenant-Id', 'acme']], [['X-Tenant-Id', 'acme'], [twin, 'evil']], [[twin, 'evil'], [twin, 'evil']]] as Array<Array<[string, string]>>) {
      const { status, seen } = await send(pair, get('/', headers))
      const expected = headers.some(([name]) => name === 'X-Tenant-Id') ? ['x-tenant-id: acme'] : []
      t.equal(status, 200, twin)
      t.strictSame(tenantLines(seen!), expected, twin)
      t.notMatch(bytesOf(seen!), MARKS, `${twin}: not a byte of it`)
    }
  }
})

t.test('headers that name the tenant do not go on by themselves: not the one it is read from, not the one it is told in', async t => {
  for (const [tenancy, told] of [
    [{ header: 'x-org' }, 'x-org'],
    [{ header: 'x-org', forwardAs: 'X-Customer' }, 'x-customer'],
    [{ header: 'x-org', forwardAs: false }, undefined],
    [{ sources: [{ header: 'x-org' }, { header: 'x-old-org' }], forwardAs: 'x-customer' }, 'x-customer'],
    [{ sources: { query: 'org' }, forwardAs: 'x-customer' }, 'x-customer'],
    [{ sources: () => undefined }, 'x-tenant-id']
  ] as Array<[TenancyOptions, string | undefined]>) {
    const pair = await pairOf(t, tenancy)
    const label = JSON.stringify(tenancy)
    const names = ['x-org', 'x-old-org', ...told === undefined ? [] : [told]].filter(name => told === name || JSON.stringify(tenancy).includes(`"${name}"`))
    for (const name of names) {
      const { status, seen } = await send(pair, get('/', { [name]: 'gh0st' }))
      t.equal(status, 200, label)
      const isRead = JSON.stringify(tenancy).includes(`"header":"${name}"`)
      t.strictSame(seen!.headers.filter(([, value]) => value === 'gh0st').map(([found]) => found), isRead && told !== undefined ? [told] : [], `${label}: ${name}`)
      // a twin of any of them is as bad
      const twin = await send(pair, get('/', { [name.replaceAll('-', '_')]: 'evil' }))
      t.notMatch(bytesOf(twin.seen!), MARKS, `${label}: twin of ${name}`)
    }
  }
})

t.test('an allow list does not let the client\'s own word through', async t => {
  const pair = await pairOf(t, { sources: { query: 'tenant' } }, { gateway: { headers: { request: { forward: ['x-tenant-id', 'x-kept', 'x_tenant_id'] } } } })
  const { seen } = await send(pair, get('/?tenant=acme', [['X-Tenant-Id', 'evil'], ['X_Tenant_Id', 'evil'], ['X-Kept', '1']]))
  t.strictSame([tenantLines(seen!), seen!.all('x-kept')], [['x-tenant-id: acme'], ['1']])
  t.notMatch(bytesOf(seen!), MARKS)
})

t.test('naming the tenant header in Connection changes nothing', async t => {
  const pair = await pairOf(t, { tenants: { acme: { headers: { request: { set: { 'x-plan': 'gold' } } } } } })
  for (const named of ['X-Tenant-Id', 'x-tenant-id', 'close, X-Tenant-Id', 'keep-alive, x-tenant-id, x-plan', 'X_Tenant_Id', 'x-tenant-id, x-tenant-id']) {
    const { status, seen } = await send(pair, get('/', [['Connection', named], ['X-Tenant-Id', 'acme']]))
    t.equal(status, 200, named)
    t.strictSame([tenantLines(seen!), seen!.all('x-plan')], [['x-tenant-id: acme'], ['gold']], named)
    t.notMatch(seen!.all('connection').join(), /tenant/i, named)
  }
})

t.test('a tenant in the trailers is no tenant, and stays behind', async t => {
  const pair = await pairOf(t, { required: true })
  const trailing = (headers: Array<[string, string]>): Buffer[] => [requestBytes('POST', '/', { headers: [...headers, ['Transfer-Encoding', 'chunked'], ['Trailer', 'X-Tenant-Id']] }), chunk('hello'), lastChunk({ 'X-Tenant-Id': 'evil', X_Tenant_Id: 'evil' })]
  const told = await send(pair, trailing([['X-Tenant-Id', 'acme']]))
  t.equal(told.status, 200)
  t.strictSame(tenantLines(told.seen!), ['x-tenant-id: acme'])
  t.notMatch(bytesOf(told.seen!), MARKS)
  t.equal(told.seen!.body.toString(), 'hello')
  t.equal((await send(pair, trailing([]))).status, 400)
})

t.test('on a route without tenancy the client\'s word stays behind as well', async t => {
  const pair = await pairOf(t, { required: true }, {
    configure: app => {
      app.get('/off', { proxy: 'up', tenancy: false }, app.reverseproxy.handler)
      app.get('/own', { tenancy: false }, async (_request, reply) => await reply.proxy('up'))
    }
  })
  for (const url of ['/off', '/own']) {
    for (const headers of [{ 'X-Tenant-Id': 'evil' }, { X_Tenant_Id: 'evil' }, { 'X-Tenant-Id': 'not, an id evil' }]) {
      const { status, seen } = await send(pair, get(url, headers))
      t.equal(status, 200, url)
      t.strictSame(tenantLines(seen!), [], url)
      t.notMatch(bytesOf(seen!), MARKS, url)
    }
  }
})

t.test('every method, with a body or without, is told the same', async t => {
  const pair = await pairOf(t, {})
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const { status, seen } = await send(pair, requestBytes(method, '/', { headers: [['X-Tenant-Id', 'acme'], ['X_Tenant_Id', 'evil']], ...method === 'POST' ? { body: 'hello' } : undefined }))
    t.equal(status, 200, method)
    t.strictSame([seen!.method, tenantLines(seen!)], [method, ['x-tenant-id: acme']], method)
    const refused = await send(pair, requestBytes(method, '/', { headers: { 'X-Tenant-Id': 'evil,evil' } }))
    t.strictSame([refused.status, refused.seen], [400, undefined], method)
  }
})

// ---------------------------------------------------------------- query and path

t.test('query: one value that is an id, or a 400', async t => {
  const pair = await pairOf(t, { sources: { query: 'tenant' } })
  for (const [target, id] of [
    ['/?tenant=acme', 'acme'], ['/?tenant=ac%6de', 'acme'], ['/?t%65nant=acme', 'acme'], ['/?a=1&tenant=acme&b=2', 'acme'],
    ['/?Tenant=evil', undefined], ['/?tenant[]=evil', undefined], ['/?tenant%5B%5D=evil', undefined], ['/?tenant[0]=evil', undefined], ['/?tenant[id]=evil', undefined], ['/?__proto__[tenant]=evil', undefined], ['/?__proto__.tenant=evil', undefined], ['/?constructor[prototype][tenant]=evil', undefined], ['/x?y?tenant=evil', undefined], ['/;tenant=evil', undefined], ['/?tenant%00=evil', undefined], ['/?%20tenant=evil', undefined]
  ] as const) {
    const { status, seen } = await send(pair, get(target))
    t.equal(status, 200, target)
    t.strictSame(tenantLines(seen!), id === undefined ? [] : [`x-tenant-id: ${id}`], target)
  }
  for (const target of ['/?tenant=evil&tenant=evil', '/?tenant=evil&t%65nant=acme', '/?tenant=&tenant=evil', '/?tenant=', '/?tenant', '/?tenant=evil,acme', '/?tenant=evil%2Cacme', '/?tenant=evil%0d%0aX-Evil:%201', '/?tenant=evil%0a', '/?tenant=%0aevil', '/?tenant=evil%00', '/?tenant=%20evil', '/?tenant=evil+', '/?tenant=ev%2569l-evil', '/?tenant=evil%zz', '/?tenant=__proto__', '/?tenant=%C3%A9vil-evil', '/?tenant=%E2%80%AEevil', `/?tenant=evil${'a'.repeat(61)}`]) {
    await checkRefusedId(t, pair, target.slice(0, 40), get(target), 400, /RP_ERR_TENANT_INVALID/)
  }
  checkPrototypes(t)
})

t.test('query: a parser that makes lists and objects gets no one in', async t => {
  // what qs makes of brackets
  const querystringParser = (text: string): Record<string, unknown> => {
    const made: Record<string, unknown> = {}
    for (const [name, value] of new URLSearchParams(text)) {
      const base = name.replace(/\[.*$/, '')
      made[base] = name === base ? value : name.endsWith('[]') ? [value] : { [name.slice(base.length + 1, -1)]: value }
    }
    return made
  }
  const pair = await pairOf(t, { sources: { query: 'tenant' } }, { server: { routerOptions: { ...serverOptions.routerOptions, querystringParser } } as FastifyServerOptions })
  for (const target of ['/?tenant[]=evil', '/?tenant[]=', '/?tenant[toString]=evil', '/?tenant[length]=4']) await checkRefusedId(t, pair, target, get(target), 400, /RP_ERR_TENANT_INVALID/)
  t.strictSame(tenantLines((await send(pair, get('/?tenant=acme'))).seen!), ['x-tenant-id: acme'])
})

t.test('path: one segment that is an id, or a 400', async t => {
  const pair = await pairOf(t, { sources: { param: 'tenant' } }, { configure: app => { app.get('/of/:tenant/x', { proxy: 'up' }, app.reverseproxy.handler) } })
  for (const [target, id] of [['/of/acme/x', 'acme'], ['/of/ac%6de/x', 'acme'], ['/of/constructor/x', 'constructor'], ['/of/acme/x?tenant=evil', 'acme']] as const) {
    const { status, seen } = await send(pair, get(target))
    t.equal(status, 200, target)
    t.strictSame([tenantLines(seen!), seen!.target], [[`x-tenant-id: ${id}`], target], target)
  }
  for (const target of ['/of/ev%2569l-evil/x', '/of/evil%2Facme/x', '/of/evil%0d%0ax/x', '/of/evil%00/x', '/of/%20evil/x', '/of/evil%2Cacme/x', '/of/evil,acme/x', '/of/__proto__/x', '/of/%5F_proto__/x', '/of//x', '/of/evil;a/x', '/of/%C3%A9vil-evil/x', `/of/evil${'a'.repeat(61)}/x`]) {
    await checkRefusedId(t, pair, target.slice(0, 40), get(target), 400, /RP_ERR_(?:TENANT_INVALID|BAD_PATH)/)
  }
  for (const target of ['/of/%zz/x', '/of/../evil/x', '/of/./x', '/of/%2e%2e/x', '/of/evil/../../x', '/of/..%2fevil/x']) {
    const before = pair.upstream.bytes
    const { status } = await send(pair, get(target))
    t.ok(status === 400 || status === 404, target, { status })
    t.equal(pair.upstream.bytes, before, `${target}: the upstream sees nothing`)
  }
  checkPrototypes(t)
})

t.test('a pattern that allows nearly everything lets nothing in that no header can hold, and nothing that a backend reads as another id', async t => {
  const pair = await pairOf(t, { sources: [{ query: 'tenant' }], pattern: '[^]+', tenants: { acme: {} } })
  for (const target of ['/?tenant=evil%0d%0aX-Evil:%201', '/?tenant=evil%0a', '/?tenant=evil%00', '/?tenant=%E2%82%ACevil', '/?tenant=%20evil', '/?tenant=evil%20', '/?tenant=evil%09', '/?tenant=%20']) {
    await checkRefusedId(t, pair, target, get(target), 400, /RP_ERR_TENANT_INVALID/)
  }
  t.strictSame(tenantLines((await send(pair, get('/?tenant=two%20words,%20and%20a%20comma'))).seen!), ['x-tenant-id: two words, and a comma'])
})

// ---------------------------------------------------------------- the host

const BY_HOST: TenancyOptions = { sources: { host: '{tenant}.example.com' } }

t.test('host: one label before the domain, in lower case, whatever port and final dot', async t => {
  const pair = await pairOf(t, BY_HOST)
  for (const [host, id] of [
    ['acme.example.com', 'acme'], ['ACME.Example.COM', 'acme'], ['acme.example.com:8080', 'acme'], ['acme.example.com.', 'acme'], ['Acme.Example.Com.:443', 'acme'], ['acme.example.com:0', 'acme'],
    ['example.com', undefined], ['example.com:80', undefined], ['a.evil.example.com', undefined], ['evil-example.com', undefined], ['acme.example.com.evil.org', undefined], ['evilexample.com', undefined], ['127.0.0.1', undefined], ['[::1]:80', undefined]
  ] as const) {
    const { status, seen } = await send(pair, requestBytes('GET', '/', { host, headers: { 'X-Tenant-Id': 'gh0st' } }))
    t.equal(status, 200, host)
    t.strictSame(tenantLines(seen!), id === undefined ? [] : [`x-tenant-id: ${id}`], host)
  }
})

t.test('host: what is malformed is a 400 before the upstream sees it', async t => {
  const pair = await pairOf(t, BY_HOST)
  for (const host of ['.example.com', 'ev%69l.example.com', 'evil, acme.example.com', 'evil@acme.example.com', 'evil/acme.example.com', 'evil .example.com', '__proto__.example.com', `evil${'a'.repeat(61)}.example.com`, 'evil\xe9.example.com', '-evil.example.com', 'evil?.example.com', 'evil#.example.com', 'evil:80.example.com', 'acme.example.com:evil', 'acme.example.com:99999']) {
    const before = pair.upstream.bytes
    const { status, response } = await send(pair, requestBytes('GET', '/', { host }))
    t.equal(status, 400, host.slice(0, 40))
    t.notMatch(response.text, MARKS, host.slice(0, 40))
    t.equal(pair.upstream.bytes, before, `${host.slice(0, 40)}: the upstream sees nothing`)
  }
  for (const [label, lines] of [['two', 'Host: acme.example.com\r\nHost: evil.example.com'], ['two that are equal', 'Host: evil.example.com\r\nhost: evil.example.com'], ['none', 'Accept: */*']] as const) {
    const before = pair.upstream.bytes
    const { status } = await send(pair, `GET / HTTP/1.1\r\n${lines}\r\n\r\n`)
    t.strictSame([status, pair.upstream.bytes], [400, before], label)
  }
  const old = await send(pair, 'GET / HTTP/1.0\r\n\r\n')
  t.strictSame([old.status, tenantLines(old.seen!)], [200, []], 'HTTP/1.0 without a host is nobody in particular')
})

t.test('host: the authority of an absolute target is the host', async t => {
  const pair = await pairOf(t, BY_HOST)
  for (const [target, host, id] of [
    ['http://acme.example.com/', 'evil.example.com', 'acme'], ['http://ACME.example.com:81/x', 'example.com', 'acme'], ['HTTPS://acme.example.com', 'evil.example.com', 'acme'], ['http://other.org/', 'evil.example.com', undefined], ['http://acme.example.com?tenant=1', 'evil.example.com', 'acme']
  ] as const) {
    const { status, seen } = await send(pair, requestBytes('GET', target, { host }))
    t.equal(status, 200, target)
    t.strictSame(tenantLines(seen!), id === undefined ? [] : [`x-tenant-id: ${id}`], target)
    t.notMatch(bytesOf(seen!), MARKS, target)
  }
  for (const target of ['http://evil@acme.example.com/', 'http://evil:80@acme.example.com/', 'http://ev%69l.example.com/']) {
    const before = pair.upstream.bytes
    t.equal((await send(pair, requestBytes('GET', target, { host: 'acme.example.com' }))).status, 400, target)
    t.equal(pair.upstream.bytes, before, `${target}: the upstream sees nothing`)
  }
})

t.test('host: X-Forwarded-Host counts from a trusted peer only', async t => {
  for (const [trustProxy, id] of [[false, 'acme'], ['10.0.0.0/8', 'acme'], [true, 'globex'], ['127.0.0.1', 'globex']] as const) {
    const pair = await pairOf(t, BY_HOST, { server: { trustProxy } })
    for (const forwarded of ['globex.example.com', 'GLOBEX.example.com.:80']) {
      const { status, seen } = await send(pair, requestBytes('GET', '/', { host: 'acme.example.com', headers: { 'X-Forwarded-Host': forwarded } }))
      t.equal(status, 200, `${trustProxy}: ${forwarded}`)
      t.strictSame(tenantLines(seen!), [`x-tenant-id: ${id}`], `${trustProxy}: ${forwarded}`)
    }
    const plain = await send(pair, requestBytes('GET', '/', { host: 'acme.example.com' }))
    t.strictSame(tenantLines(plain.seen!), ['x-tenant-id: acme'], `${trustProxy}: without it`)
    // the twin of a trusted header is nobody's
    const twin = await send(pair, requestBytes('GET', '/', { host: 'acme.example.com', headers: { X_Forwarded_Host: 'evil.example.com' } }))
    t.strictSame(tenantLines(twin.seen!), ['x-tenant-id: acme'], `${trustProxy}: twin`)
  }
})

// ---------------------------------------------------------------- HTTP/2

async function startHttp2 (t: Test, tenancy: TenancyOptions) {
  const upstream = await rawUpstream(t, OK)
  const { http: _http, clientErrorHandler: _handler, ...options } = serverOptions
  const app = Fastify({ ...options, http2: true } as never) as unknown as FastifyInstance
  await app.register(reverseproxy, { backends: { up: upstream.url }, tenancy })
  app.route({ method: ['GET', 'POST'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { session.destroy(); await app.close() })

  async function ask (headers: OutgoingHttpHeaders, trailers?: OutgoingHttpHeaders) {
    const before = upstream.requests.length
    const answer = await new Promise<{ status: unknown, text: string }>((resolve, reject) => {
      const stream = session.request({ ':path': '/x', ...headers }, { endStream: trailers === undefined, waitForTrailers: trailers !== undefined })
      stream.setTimeout(5000, () => { reject(new Error('no answer')) })
      stream.on('wantTrailers', () => { stream.sendTrailers(trailers!) })
      if (trailers !== undefined) stream.end('hello')
      let status: unknown
      let text = ''
      stream.on('response', (answer: IncomingHttpHeaders) => { status = answer[':status'] })
      stream.on('data', (piece: Buffer) => { text += piece.toString() })
      stream.on('error', () => {})
      stream.on('close', () => { resolve({ status, text }) })
    })
    return { ...answer, seen: upstream.requests[before] }
  }
  return { ask, upstream }
}

t.test('HTTP/2: the same headers, the same refusals', async t => {
  const { ask, upstream } = await startHttp2(t, {})
  const told = await ask({ 'x-tenant-id': 'acme', x_tenant_id: 'evil', 'x.tenant.id': 'evil' })
  t.strictSame([told.status, tenantLines(told.seen!)], [200, ['x-tenant-id: acme']])
  t.notMatch(bytesOf(told.seen!), MARKS)
  const trailing = await ask({ ':method': 'POST', 'x-tenant-id': 'acme' }, { 'x-tenant-id': 'evil' })
  t.strictSame([trailing.status, tenantLines(trailing.seen!)], [200, ['x-tenant-id: acme']])
  t.notMatch(bytesOf(trailing.seen!), MARKS)
  const before = upstream.bytes
  for (const value of ['evil,acme', 'evil acme', '', '__proto__', 'a'.repeat(65)]) {
    const refused = await ask({ 'x-tenant-id': value })
    t.equal(refused.status, 400, value)
    t.notMatch(refused.text, MARKS)
  }
  t.equal((await ask({ 'x-tenant-id': ['evil', 'evil'] })).status, 400)
  t.equal(upstream.bytes, before)
})

t.test('HTTP/2: the authority is the host, and a Host beside it may not say otherwise', async t => {
  const { ask, upstream } = await startHttp2(t, BY_HOST)
  t.strictSame(tenantLines((await ask({ ':authority': 'ACME.example.com:81' })).seen!), ['x-tenant-id: acme'])
  t.strictSame(tenantLines((await ask({ ':authority': 'example.com' })).seen!), [])
  t.strictSame(tenantLines((await ask({ ':authority': 'acme.example.com', host: 'acme.example.com' })).seen!), ['x-tenant-id: acme'])
  const before = upstream.bytes
  for (const headers of [{ ':authority': 'acme.example.com', host: 'evil.example.com' }, { ':authority': 'evil.example.com', host: 'acme.example.com' }, { ':authority': 'evil.example.com', host: 'example.com' }, { ':authority': 'example.com', host: 'evil.example.com' }]) {
    const { status, text } = await ask(headers)
    t.equal(status, 400, JSON.stringify(headers))
    t.notMatch(text, MARKS)
  }
  t.equal(upstream.bytes, before)
})

// ---------------------------------------------------------------- connections

t.test('requests of one connection are each their own tenant\'s, pipelined or not', async t => {
  const pair = await pairOf(t, { tenants: { acme: {}, off: false } })
  const ids = ['acme', undefined, 'globex', 'evil,evil', 'acme', 'off', undefined, 'zeta', 'evil evil', 'acme']
  const bytes = ids.map((id, n) => get(`/${n}`, id === undefined ? [] : { 'X-Tenant-Id': id }))
  const expected = ids.map(id => id === 'off' ? 403 : id?.startsWith('evil') === true ? 400 : 200)
  const check = (label: string) => {
    t.strictSame(pair.upstream.requests.map(request => [request.target, tenantLines(request)]), ids.flatMap((id, n) => expected[n] === 200 ? [[`/${n}`, id === undefined ? [] : [`x-tenant-id: ${id}`]]] : []), label)
    pair.upstream.requests.length = 0
  }
  const client = await rawClient(t, pair.port)
  for (const [n, one] of bytes.entries()) t.equal((await client.exchange(one)).status, expected[n], `request ${n}`)
  check('one after the other')
  const piped = await rawRequest(pair.port, Buffer.concat(bytes), { responses: ids.length, methods: ids.map(() => 'GET') })
  t.strictSame(piped.responses.map(({ status }) => status), expected, 'pipelined')
  check('pipelined')
})

t.test('an upload that is refused gets its answer, without a reset, and leaves the gateway as it was', async t => {
  const pair = await pairOf(t, { tenants: { acme: { routes: { up: false } }, off: false }, required: true }, {
    configure: app => {
      app.post('/up', { proxy: 'up', config: { name: 'up' } }, app.reverseproxy.handler)
      app.get('/healthy', { proxy: 'up', tenancy: false }, app.reverseproxy.handler)
    }
  })
  const piece = Buffer.alloc(65_536, 'a')
  for (const [headers, status] of [[{}, 400], [{ 'X-Tenant-Id': 'evil,evil' }, 400], [{ 'X-Tenant-Id': 'off' }, 403], [{ 'X-Tenant-Id': 'acme' }, 404]] as const) {
    for (const kind of ['sized', 'chunked'] as const) {
      const label = `${status}, ${kind}`
      const client = await rawClient(t, pair.port)
      const lines = [...Object.entries(headers), kind === 'sized' ? ['Content-Length', String(16 * piece.length)] as const : ['Transfer-Encoding', 'chunked'] as const]
      const body = kind === 'sized' ? piece : chunk(piece)
      client.send([requestBytes('POST', '/up', { headers: lines as Array<[string, string]> }), body, body])
      const response = await client.response(0)
      t.equal(response.status, status, label)
      t.ok(response.complete, `${label}: the whole answer`)
      t.notOk(client.reset, `${label}: no reset`)
      // a client that does not look at answers before it has sent all
      for (let n = 2; n < 16 && !client.closed; n++) await client.send(body, [])
      if (kind === 'chunked' && !client.closed) await client.send(lastChunk(), [])
      t.notOk(client.reset, `${label}: no reset while it goes on sending`)
      if (!client.closed && !/close/i.test(response.header('connection') ?? '')) t.equal((await client.exchange(get('/healthy'))).status, 200, `${label}: the connection goes on`)
      client.destroy()
    }
  }
  t.strictSame(pair.upstream.requests.filter(({ method }) => method === 'POST'), [], 'nothing of it reaches the upstream')
  await checkHealthy(t, pair)
})

t.test('a client that waits for 100 is refused without one', async t => {
  const pair = await pairOf(t, { required: true, tenants: { off: false } })
  for (const [headers, status] of [[[], 400], [[['X-Tenant-Id', 'evil evil']], 400], [[['X-Tenant-Id', 'off']], 403]] as Array<[Array<[string, string]>, number]>) {
    const { response, informational } = await rawRequest(pair.port, requestBytes('POST', '/', { headers: [...headers, ['Expect', '100-continue'], ['Content-Length', '5']] }))
    t.strictSame([response.status, informational.length], [status, 0])
  }
  const client = await rawClient(t, pair.port)
  client.send(requestBytes('POST', '/', { headers: { 'X-Tenant-Id': 'acme', Expect: '100-continue', 'Content-Length': '5' } }))
  t.ok(await waitFor(() => client.informational.length === 1), 'one that is served gets it')
  client.send('hello', [])
  t.equal((await client.response(0)).status, 200)
})

t.test('a client that goes away while its tenant is looked for costs the backend nothing', async t => {
  const asked: Array<(id: string | undefined) => void> = []
  const pair = await pairOf(t, { sources: { resolve: request => request.url === '/healthy' ? undefined : new Promise(resolve => { asked.push(resolve) }) } }, {
    configure: app => {
      app.route({ method: ['GET', 'POST'], url: '/*', proxy: 'up', handler: app.reverseproxy.handler })
      app.get('/own', async (_request, reply) => await reply.proxy('up'))
      app.get('/parts', { composite: { backends: ['up'], strategy: 'object' } }, app.reverseproxy.handler)
    }
  })
  let open = 0
  pair.app.server.on('connection', socket => {
    open++
    socket.on('close', () => { open-- })
  })
  for (const bytes of [get('/x'), post('/x', 'hello'), [requestBytes('POST', '/x', { headers: { 'Content-Length': '100000' } }), 'abc'], get('/own'), get('/parts')]) {
    for (const way of ['destroy', 'resetAndDestroy'] as const) {
      const n = asked.length
      const client = await rawClient(t, pair.port)
      client.send(bytes)
      t.ok(await waitFor(() => asked.length === n + 1))
      client[way]()
    }
  }
  t.ok(await waitFor(() => open === 0), 'the gateway has seen them go')
  for (const resolve of asked) resolve('acme')
  await checkHealthy(t, pair)
  t.strictSame(pair.upstream.requests.map(({ target }) => target), ['/healthy'], 'nothing of them reaches the upstream')
})

t.test('a WebSocket handshake is told the tenant, or refused before the backend hears of it', async t => {
  const upstream = await rawUpstream(t, 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n')
  const pair = { ...await startPair(t, OK, { gateway: { tenancy: { required: true, tenants: { off: false } } }, configure: app => { app.reverseproxy.backends.add('ws', upstream.url); app.get('/ws', { proxy: { backend: 'ws', websocket: true } }, app.reverseproxy.handler) } }), upstream }
  const handshake = (headers: Array<[string, string]>): Buffer => get('/ws', [['Connection', 'Upgrade, X-Tenant-Id'], ['Upgrade', 'websocket'], ['Sec-WebSocket-Version', '13'], ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='], ...headers])
  for (const [headers, status] of [[[], 400], [[['X-Tenant-Id', 'evil,evil']], 400], [[['X-Tenant-Id', 'evil'], ['x-tenant-id', 'evil']], 400], [[['X-Tenant-Id', 'off']], 403], [[['X_Tenant_Id', 'acme']], 400]] as Array<[Array<[string, string]>, number]>) {
    const { response } = await rawRequest(pair.port, handshake(headers))
    t.equal(response.status, status)
    t.notMatch(response.text, MARKS)
  }
  t.equal(upstream.requests.length, 0)
  const { response } = await rawRequest(pair.port, handshake([['X-Tenant-Id', 'acme'], ['X_Tenant_Id', 'evil']]), { ms: 1000 })
  t.equal(response.status, 101)
  t.strictSame(tenantLines(upstream.last), ['x-tenant-id: acme'])
  t.notMatch(bytesOf(upstream.last), MARKS)
})
