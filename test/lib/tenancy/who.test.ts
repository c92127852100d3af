/** Where a tenant's id is found, and what is refused. Fake requests; what Fastify and Node decode is in who-wire.test.ts. */
import t, { type Test } from 'tap'
import fc from 'fast-check'
import type { FastifyRequest } from 'fastify'
import { createWho, describeSources } from '../../../lib/tenancy/index.ts'
import type { TenancyConfig, TenantSource } from '../../../lib/tenancy/index.ts'

const PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

interface Parts {
  /** Name, value, name, value, as on the wire. */
  readonly raw?: readonly string[]
  /** What a hook has made of the headers. */
  readonly headers?: Record<string, unknown>
  readonly host?: string
  readonly params?: unknown
  readonly query?: unknown
  readonly user?: unknown
}

/** A request as Fastify shows it; unknown fields that are repeated are joined as Node joins them. */
function request ({ raw = [], headers, host = '', params = {}, query = {}, user }: Parts): FastifyRequest {
  const joined: Record<string, string> = {}
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase()
    joined[name] = Object.hasOwn(joined, name) ? `${joined[name]}, ${raw[at + 1]}` : raw[at + 1]!
  }
  return { raw: { rawHeaders: raw, headers: joined }, headers: headers ?? joined, host, params, query, user } as unknown as FastifyRequest
}

const header = (name = 'x-tenant-id'): TenantSource => ({ kind: 'header', name })
const host = (before = '', after = '.example.com'): TenantSource => ({ kind: 'host', before, after })
const param = (name = 'tenant'): TenantSource => ({ kind: 'param', name })
const query = (name = 'tenant'): TenantSource => ({ kind: 'query', name })
const claim = (path = ['org'], from?: (request: FastifyRequest) => unknown): TenantSource => ({ kind: 'claim', path, from })
const asks = (resolve: (request: FastifyRequest) => unknown): TenantSource => ({ kind: 'function', resolve: resolve as () => string })

function whoOf (sources: TenantSource[], options: Partial<Pick<TenancyConfig, 'maxLength' | 'pattern'>> = {}) {
  const who = createWho({ sources, maxLength: 64, pattern: PATTERN, ...options })
  return (parts: Parts) => who(request(parts))
}

/** Refused with a 400 that says `rule`. */
function refuses (t: Test, run: () => unknown, rule: string, name = rule): void {
  t.throws(run, { code: 'RP_ERR_TENANT_INVALID', statusCode: 400, message: `The tenant is not acceptable: ${rule}` }, name)
}

// ---- one source

t.test('no source has an id: there is none', async t => {
  t.equal(whoOf([header(), host(), param(), query(), claim(), asks(() => undefined), asks(() => null)])({}), undefined)
  t.equal(whoOf([])({ raw: ['x-tenant-id', 'acme'] }), undefined)
})

t.test('each source gives its id', async t => {
  t.equal(whoOf([header()])({ raw: ['X-Tenant-ID', 'acme'] }), 'acme')
  t.equal(whoOf([host()])({ host: 'acme.example.com' }), 'acme')
  t.equal(whoOf([param()])({ params: { tenant: 'acme' } }), 'acme')
  t.equal(whoOf([query()])({ query: { tenant: 'acme' } }), 'acme')
  t.equal(whoOf([claim()])({ user: { org: 'acme' } }), 'acme')
  t.equal(whoOf([claim(['org'], () => ({ org: 'acme' }))])({ user: { org: 'other' } }), 'acme', 'from comes in place of request.user')
  t.equal(whoOf([asks(() => 'acme')])({}), 'acme')
})

t.test('the case of an id is kept', async t => {
  t.equal(whoOf([header()])({ raw: ['x-tenant-id', 'AcMe'] }), 'AcMe')
})

// ---- headers

t.test('a header that stands there twice is refused, in whatever case, even with equal values', async t => {
  for (const name of ['x-tenant-id', 'tenant', 'user-agent', 'constructor', '__proto__']) {
    const who = whoOf([header(name)], { pattern: /.*/ })
    refuses(t, () => who({ raw: [name, 'acme', 'accept', '*/*', name.toUpperCase(), 'acme'] }), `header ${name} stands there more than once`)
  }
})

t.test('a header of which Node keeps only the first is refused when there are two', async t => {
  const who = whoOf([header('from')])
  refuses(t, () => who({ raw: ['from', 'acme', 'From', 'evil'], headers: { from: 'acme' } }), 'header from stands there more than once')
})

t.test('a comma in one header is an id where the pattern allows it, and no sign of a second one', async t => {
  const who = whoOf([header()], { pattern: /[a-z, ]+/ })
  t.equal(who({ raw: ['x-tenant-id', 'acme, evil'] }), 'acme, evil')
  refuses(t, () => who({ raw: ['x-tenant-id', 'acme', 'x-tenant-id', 'evil'] }), 'header x-tenant-id stands there more than once')
  refuses(t, () => whoOf([header()])({ raw: ['x-tenant-id', 'acme,evil'] }), 'header x-tenant-id does not match the pattern')
})

t.test('names of Object.prototype are headers only when they were sent', async t => {
  for (const name of ['constructor', '__proto__', 'tostring', 'valueof']) {
    t.equal(whoOf([header(name)])({}), undefined, name)
    t.equal(whoOf([header(name)])({ raw: ['accept', '*/*', name, 'acme'] }), 'acme', name)
  }
})

t.test('a value is not taken for a name', async t => {
  t.equal(whoOf([header('__proto__')])({ raw: ['accept', '__proto__', 'x', 'y'] }), undefined)
  refuses(t, () => whoOf([header('tenant')])({ raw: ['accept', 'tenant', 'tenant', ''] }), 'header tenant is empty')
})

t.test('what a hook has set is the header, what it has removed is none', async t => {
  for (const name of ['x-tenant-id', 'tenant']) {
    t.equal(whoOf([header(name)])({ headers: { [name]: 'acme' } }), 'acme')
    t.equal(whoOf([header(name)])({ raw: [name, 'evil'], headers: {} }), undefined)
    refuses(t, () => whoOf([header(name)])({ headers: { [name]: ['acme', 'evil'] } }), `header ${name} is neither a text nor a whole number`)
  }
})

// ---- hosts

t.test('a host gives the one label between, in lower case, whatever its port', async t => {
  const who = whoOf([host('api-', '.example.com')])
  for (const name of ['api-acme.example.com', 'API-ACME.Example.COM', 'api-acme.example.com:8080', 'api-acme.example.com.', 'api-acme.example.com.:80']) t.equal(who({ host: name }), 'acme', name)
})

t.test('the bare domain and other hosts give no id', async t => {
  const who = whoOf([host()])
  for (const name of ['', 'example.com', 'example.com:80', 'a.b.example.com', 'acme.example.org', 'acme.example.com.evil.org', 'acmeexample.com', '127.0.0.1', '[::1]:80', 'com']) {
    t.equal(who({ host: name }), undefined, name)
  }
})

t.test('what stands before and after may not be the same letters of the host', async t => {
  t.equal(whoOf([host('a.', '.a.b')])({ host: 'a.a.b' }), undefined)
})

t.test('an empty label is refused', async t => {
  refuses(t, () => whoOf([host()])({ host: '.example.com' }), 'host {tenant}.example.com is empty')
})

t.test('a doubled Host is refused', async t => {
  const who = whoOf([host()])
  refuses(t, () => who({ raw: ['Host', 'acme.example.com', 'hOST', 'acme.example.com'], host: 'acme.example.com' }), 'host {tenant}.example.com stands there more than once')
})

t.test('an authority of HTTP/2 and a Host that differ are refused', async t => {
  const who = whoOf([host()])
  refuses(t, () => who({ raw: [':authority', 'acme.example.com', 'host', 'evil.example.com'], host: 'evil.example.com' }), ':authority and Host differ')
  t.equal(who({ raw: [':authority', 'acme.example.com', 'host', 'ACME.example.com:443'], host: 'acme.example.com' }), 'acme')
})

t.test('a source written in upper case is the same host', async t => {
  t.equal(whoOf([host('API-', '.Example.com')])({ host: 'api-acme.example.com' }), 'acme')
})

// ---- parameters and queries

t.test('a query that appears twice is refused', async t => {
  refuses(t, () => whoOf([query()])({ query: { tenant: ['acme', 'acme'] } }), 'query tenant stands there more than once')
  refuses(t, () => whoOf([query()])({ query: { tenant: ['acme'] } }), 'query tenant stands there more than once', 'a list of one, as some parsers make it')
})

t.test('what is neither text nor whole number is refused', async t => {
  for (const value of [{ a: 1 }, true, 1.5, NaN, Infinity, 2 ** 53, 1n, Symbol('x'), () => 'acme']) {
    refuses(t, () => whoOf([query()])({ query: { tenant: value } }), 'query tenant is neither a text nor a whole number', String(value))
    refuses(t, () => whoOf([param()])({ params: { tenant: value } }), 'param tenant is neither a text nor a whole number')
    refuses(t, () => whoOf([claim()])({ user: { org: value } }), 'claim org is neither a text nor a whole number')
  }
  refuses(t, () => whoOf([claim()])({ user: { org: ['acme'] } }), 'claim org is neither a text nor a whole number', 'a list')
})

t.test('nothing is inherited', async t => {
  for (const name of ['constructor', '__proto__', 'toString', 'tenant']) {
    const holder = Object.create({ tenant: 'evil' }) as object
    t.equal(whoOf([query(name)])({ query: holder }), undefined, `query ${name}`)
    t.equal(whoOf([param(name)])({ params: holder }), undefined, `param ${name}`)
    t.equal(whoOf([claim([name])])({ user: holder }), undefined, `claim ${name}`)
  }
  t.equal(whoOf([claim(['constructor', 'name'])])({ user: {} }), undefined)
})

t.test('own properties of any name count', async t => {
  for (const name of ['constructor', '__proto__']) {
    const holder = JSON.parse(`{ "${name}": "acme" }`) as object
    t.equal(whoOf([query(name)])({ query: holder }), 'acme')
    t.equal(whoOf([param(name)])({ params: holder }), 'acme')
    t.equal(whoOf([claim([name])])({ user: holder }), 'acme')
  }
})

t.test('a request without params, query or user has no id', async t => {
  for (const nothing of [undefined, null, 'text', 7]) {
    t.equal(createWho({ sources: [param(), query(), claim()], maxLength: 64, pattern: PATTERN })({ params: nothing, query: nothing, user: nothing } as unknown as FastifyRequest), undefined)
  }
})

// ---- claims

t.test('claims are found at the end of their path', async t => {
  const who = whoOf([claim(['a', 'b', 'c'])])
  t.equal(who({ user: { a: { b: { c: 'acme' } } } }), 'acme')
  for (const user of [undefined, null, 'a', {}, { a: 'b' }, { a: null }, { a: { b: {} } }, { a: { b: { c: null } } }]) t.equal(who({ user }), undefined, JSON.stringify(user))
})

t.test('a claim may be a whole number', async t => {
  for (const [number, id] of [[7, '7'], [0, '0'], [-0, '0'], [Number.MAX_SAFE_INTEGER, '9007199254740991']] as const) t.equal(whoOf([claim()])({ user: { org: number } }), id)
})

t.test('a number is held against the pattern as text', async t => {
  refuses(t, () => whoOf([claim()])({ user: { org: -7 } }), 'claim org does not match the pattern')
})

t.test('claims that come as a promise are a fault of the set-up, and its rejection ends nothing', async t => {
  const who = whoOf([claim(['org'], () => Promise.reject(new Error('nobody waits')))])
  t.throws(() => who({}), { code: 'RP_ERR_INVALID_CALL', statusCode: 500, cause: { message: /claim org is of a promise/ } })
})

t.test('what from throws passes through', async t => {
  const error = Object.assign(new Error('no'), { statusCode: 401 })
  t.throws(() => whoOf([claim(['org'], () => { throw error })])({}), error)
})

// ---- rules

t.test('empty ids are refused', async t => {
  refuses(t, () => whoOf([header()])({ raw: ['x-tenant-id', ''] }), 'header x-tenant-id is empty')
  refuses(t, () => whoOf([param()])({ params: { tenant: '' } }), 'param tenant is empty')
  refuses(t, () => whoOf([query()])({ query: { tenant: '' } }), 'query tenant is empty')
  refuses(t, () => whoOf([claim()])({ user: { org: '' } }), 'claim org is empty')
  refuses(t, () => whoOf([asks(() => '')])({}), 'the answer of a function is empty')
})

t.test('an id may be as long as maxLength and no longer', async t => {
  t.equal(whoOf([header()], { maxLength: 4 })({ raw: ['x-tenant-id', 'acme'] }), 'acme')
  refuses(t, () => whoOf([header()], { maxLength: 3 })({ raw: ['x-tenant-id', 'acme'] }), 'header x-tenant-id is longer than 3 characters')
  refuses(t, () => whoOf([header()])({ raw: ['x-tenant-id', 'a'.repeat(1e6)] }), 'header x-tenant-id is longer than 64 characters')
})

t.test('what does not look like an id is refused by every source', async t => {
  for (const id of [' ', ' acme', 'acme ', '\tacme', 'ac me', 'acme\r\nx-evil: 1', 'acme\n', 'acme\0', '../acme', 'ac/me', 'ac%6De', '%61cme', '__proto__', '.', '-acme', 'ac;me', 'ac,me',
    'аcme', 'acme\u200B', 'é', '＂', '💥', '\uFEFFacme', '{acme}', '*', '<script>', '\'or 1=1']) {
    const name = JSON.stringify(id)
    refuses(t, () => whoOf([header()])({ raw: ['x-tenant-id', id] }), 'header x-tenant-id does not match the pattern', name)
    refuses(t, () => whoOf([param()])({ params: { tenant: id } }), 'param tenant does not match the pattern', name)
    refuses(t, () => whoOf([query()])({ query: { tenant: id } }), 'query tenant does not match the pattern', name)
    refuses(t, () => whoOf([claim()])({ user: { org: id } }), 'claim org does not match the pattern', name)
    refuses(t, () => whoOf([asks(() => id)])({}), 'the answer of a function does not match the pattern', name)
  }
})

t.test('constructor is an id like others', async t => {
  t.equal(whoOf([header()])({ raw: ['x-tenant-id', 'constructor'] }), 'constructor')
})

t.test('a pattern holds for the whole id, without memory of the one before', async t => {
  for (const pattern of [/[a-z]+/, /[a-z]+/g, /[a-z]+/y, /a|acme/, /^[a-z]+$/m, /^[a-z]+$/gm, /[A-Z]+/i, /\p{Ll}+/u]) {
    const who = whoOf([query()], { pattern })
    for (let time = 0; time < 3; time++) t.equal(who({ query: { tenant: 'acme' } }), 'acme', `${pattern}`)
    for (const tenant of ['acme1', '1acme', 'acme\nacme', 'acme\n', '\nacme']) refuses(t, () => who({ query: { tenant } }), 'query tenant does not match the pattern', `${pattern} ${JSON.stringify(tenant)}`)
  }
})

t.test('whatever the pattern, an id is what a header can hold', async t => {
  const who = whoOf([query()], { pattern: /.*/s })
  for (const tenant of [' acme', 'acme ', '\tacme', 'acme\t', 'acme\r\nx-evil: 1', 'acme\0', 'acme\x7f', '💥', 'аcme']) {
    refuses(t, () => who({ query: { tenant } }), 'query tenant is no text that a header can hold', JSON.stringify(tenant))
  }
  t.equal(who({ query: { tenant: 'ac me/é' } }), 'ac me/é')
})

t.test('no message repeats a value', async () => {
  const marked = fc.string({ minLength: 1 }).map(text => `§${text}§`)
  fc.assert(fc.property(marked, marked, (one, other) => {
    const tries = [
      () => whoOf([header()])({ raw: ['x-tenant-id', one] }),
      () => whoOf([header()])({ raw: ['x-tenant-id', one, 'x-tenant-id', other] }),
      () => whoOf([query(), param()], { pattern: /.*/s })({ query: { tenant: one }, params: { tenant: `${other}.` } }),
      () => whoOf([claim()])({ user: { org: [one] } }),
      () => whoOf([asks(() => [one])])({})
    ]
    for (const run of tries) {
      try {
        run()
      } catch (error) {
        if (!String((error as Error).message).includes('§')) continue
      }
      return false
    }
    return true
  }))
})

// ---- several sources

const FULL: ReadonlyArray<readonly [source: TenantSource, name: string, parts: (id: string) => Parts]> = [
  [header(), 'header x-tenant-id', id => ({ raw: ['x-tenant-id', id] })],
  [host(), 'host {tenant}.example.com', id => ({ host: `${id}.example.com` })],
  [param(), 'param tenant', id => ({ params: { tenant: id } })],
  [query(), 'query tenant', id => ({ query: { tenant: id } })],
  [claim(), 'claim org', id => ({ user: { org: id } })]
]

t.test('two sources with different ids are refused, in either order', async t => {
  for (const [one, oneName, oneParts] of FULL) {
    for (const [other, otherName, otherParts] of FULL) {
      if (one === other) continue
      const who = whoOf([one, other])
      refuses(t, () => who({ ...oneParts('acme'), ...otherParts('evil') }), `${oneName} and ${otherName} differ`)
      t.equal(who({ ...oneParts('acme'), ...otherParts('acme') }), 'acme', 'the same id is none of their business')
      t.equal(who(oneParts('acme')), 'acme', 'one of two is enough')
      t.equal(who(otherParts('acme')), 'acme')
      t.throws(() => who({ ...oneParts('acme'), ...otherParts('a_/') }), { code: 'RP_ERR_TENANT_INVALID' }, 'a later source is checked, too')
    }
  }
})

t.test('two sources of one kind may not differ either', async t => {
  refuses(t, () => whoOf([header('x-a'), header('x-b')])({ raw: ['x-a', 'acme', 'x-b', 'evil'] }), 'header x-a and header x-b differ')
  refuses(t, () => whoOf([header('x-a'), header('x-b')])({ raw: ['x-a', 'acme', 'x-b', 'ACME'] }), 'header x-a and header x-b differ', 'case counts')
})

t.test('any number of sources: the id they agree on, or a refusal', async () => {
  const ids = fc.array(fc.option(fc.constantFrom('acme', 'evil')), { minLength: FULL.length, maxLength: FULL.length })
  fc.assert(fc.property(ids, fc.shuffledSubarray([...FULL.keys()]), (given, order) => {
    const parts: Parts = Object.assign({}, ...given.map((id, at) => id === null ? {} : FULL[at]![2](id))) as Parts
    const found = new Set(order.map(at => given[at]).filter(id => id !== null))
    const who = whoOf(order.map(at => FULL[at]![0]))
    try {
      return who(parts) === [...found][0] && found.size < 2
    } catch (error) {
      return found.size === 2 && (error as { code?: string }).code === 'RP_ERR_TENANT_INVALID'
    }
  }))
})

// ---- functions

t.test('a function is asked only when nothing before it gave an id', async t => {
  let asked = 0
  const who = whoOf([header(), asks(() => { asked++; return 'found' }), asks(() => { throw new Error('asked') })])
  t.equal(who({ raw: ['x-tenant-id', 'acme'] }), 'acme')
  t.equal(asked, 0)
  t.equal(who({}), 'found')
  t.equal(asked, 1)
})

t.test('functions are asked in order until one knows, with the request', async t => {
  const order: number[] = []
  const ask = (n: number, answer: unknown) => asks(({ host }) => { order.push(n); return host === 'here' ? answer : 'wrong' })
  t.equal(await whoOf([ask(1, undefined), ask(2, Promise.resolve(null)), ask(3, null), ask(4, Promise.resolve(undefined)), ask(5, 'acme'), ask(6, 'late')])({ host: 'here' }), 'acme')
  t.same(order, [1, 2, 3, 4, 5])
})

t.test('there is a promise only when a function gives one', async t => {
  t.equal(whoOf([asks(() => undefined), asks(() => 'acme')])({}), 'acme')
  const promise = whoOf([asks(async () => 'acme')])({})
  t.type(promise, Promise)
  t.equal(await promise, 'acme')
  t.equal(whoOf([header(), asks(async () => 'acme')])({ raw: ['x-tenant-id', 'acme'] }), 'acme')
})

t.test('what has a then is waited for, promise or not', async t => {
  t.equal(await whoOf([asks(() => ({ then: (resolve: (id: string) => void) => { resolve('acme') } }))])({}), 'acme')
})

t.test('a malformed source is refused before any function is asked', async t => {
  let asked = 0
  const who = whoOf([asks(() => { asked++; return 'acme' }), header()])
  refuses(t, () => who({ raw: ['x-tenant-id', '/'] }), 'header x-tenant-id does not match the pattern')
  t.equal(asked, 0)
})

t.test('what a function found and what stands after it may not differ', async t => {
  for (const resolve of [() => 'acme', async () => 'acme']) {
    const who = whoOf([asks(() => undefined), asks(resolve), header()])
    await t.rejects(async () => who({ raw: ['x-tenant-id', 'evil'] }), { code: 'RP_ERR_TENANT_INVALID', message: 'The tenant is not acceptable: the answer of a function and header x-tenant-id differ' })
    t.equal(await who({ raw: ['x-tenant-id', 'acme'] }), 'acme')
  }
})

t.test('what stands after functions that do not know is the id', async t => {
  t.equal(await whoOf([asks(() => null), asks(async () => undefined), header()])({ raw: ['x-tenant-id', 'acme'] }), 'acme')
})

t.test('a function that gives no text is a fault of the set-up', async t => {
  for (const value of [7, true, {}, ['acme'], Symbol('x')]) {
    const expected = { code: 'RP_ERR_INVALID_CALL', statusCode: 500, message: 'The gateway is not set up for this request', cause: { message: `tenancy: the answer of a function is of type ${typeof value}, and a tenant's id is a text` } }
    t.throws(() => whoOf([asks(() => value)])({}), expected)
    await t.rejects(async () => whoOf([asks(async () => value)])({}), expected)
  }
})

t.test('what a function throws passes through', async t => {
  const error = Object.assign(new Error('no'), { statusCode: 401 })
  t.throws(() => whoOf([asks(() => { throw error })])({}), error)
  await t.rejects(async () => whoOf([asks(async () => { throw error })])({}), error)
})

// ---- for people

t.test('sources are described for people', async t => {
  t.equal(describeSources([header(), host(), query()]), 'header x-tenant-id, host {tenant}.example.com or query tenant')
  t.equal(describeSources([header()]), 'header x-tenant-id')
  t.equal(describeSources([param('org'), claim(['org', 'id'])]), 'param org or claim org.id')
  t.equal(describeSources([host('api-', '.example.com'), asks(() => '')]), 'host api-{tenant}.example.com or a function')
  t.equal(describeSources([]), '')
})
