import t from 'tap'
import { hostOf, normalizeHost } from '../../../lib/matching/host.ts'
import { createMatcher } from '../../../lib/matching/matcher.ts'
import { queryValues } from '../../../lib/matching/query.ts'
import type { RouteMatch, ValueMatch } from '../../../lib/types.ts'
import { absent, exact, match, not, prefix, present, regex, requestFor, requestTo } from './scene.ts'

function holds (conditions: RouteMatch, request: Parameters<typeof hostOf>[0]): boolean {
  return createMatcher(conditions)!(request)
}

t.test('no conditions are no matcher', async t => {
  t.equal(createMatcher(match()), undefined)
})

t.test('a host is compared without case, port and trailing dot', async t => {
  const cases: Record<string, string> = {
    'Example.COM': 'example.com',
    'example.com:8080': 'example.com',
    'example.com.': 'example.com',
    'example.com.:80': 'example.com',
    '[::1]': '[::1]',
    '[2001:DB8::1]:443': '[2001:db8::1]',
    '127.0.0.1:1': '127.0.0.1',
    '': ''
  }
  for (const [authority, expected] of Object.entries(cases)) t.equal(normalizeHost(authority), expected)
})

t.test('an exact host holds however either side writes it', async t => {
  t.ok(holds(match({ hosts: ['Shop.Example.'] }), requestFor('shop.example:8443')))
  t.ok(holds(match({ hosts: ['[::1]'] }), requestFor('[::1]:80')))
  t.notOk(holds(match({ hosts: ['shop.example'] }), requestFor('a.shop.example')))
  t.notOk(holds(match({ hosts: ['shop.example'] }), requestTo('/')))
})

t.test('the host of HTTP/2 is its authority', async t => {
  t.equal(hostOf(requestTo('/', { ':authority': 'A.example:1', host: 'b.example' })), 'a.example')
})

t.test('a wildcard holds at any depth but not at the apex', async t => {
  const conditions = match({ hosts: ['*.Example.com'] })
  for (const name of ['a.example.com', 'a.b.example.com:80', 'A.EXAMPLE.COM.']) t.ok(holds(conditions, requestFor(name)), name)
  for (const name of ['example.com', '.example.com', 'aexample.com', 'a.example.com.evil', '']) t.notOk(holds(conditions, requestFor(name)), name)
})

t.test('a wildcard may be given with or without its star and dot', async t => {
  for (const suffix of ['*.example.com', '.example.com', 'example.com']) {
    t.ok(holds({ ...match(), hosts: [{ kind: 'wildcard', suffix }] }, requestFor('a.example.com')), suffix)
  }
})

t.test('an expression sees the host without its port', async t => {
  t.ok(holds(match({ hosts: [/^api-\d+\.example$/] }), requestFor('API-7.example:99')))
})

t.test('any of several hosts will do', async t => {
  const conditions = match({ hosts: ['a.example', '*.b.example'] })
  t.strictSame(['a.example', 'x.b.example', 'c.example'].map(name => holds(conditions, requestFor(name))), [true, true, false])
})

const values: Array<[ValueMatch, holding: Array<string | undefined>, failing: Array<string | undefined>]> = [
  [exact('v2'), ['v2'], ['v2x', 'V2', '', undefined]],
  [prefix('v2'), ['v2', 'v2x'], ['xv2', '', undefined]],
  [regex(/^v\d$/), ['v1', 'v2'], ['v12', '', undefined]],
  [present, ['v', ''], [undefined]],
  [absent, [undefined], ['v', '']],
  [not(exact('v2')), ['v1', '', undefined], ['v2']],
  [not(not(exact('v2'))), ['v2'], ['v1', undefined]],
  [not(present), [undefined], ['']]
]

t.test('a header is compared by each kind of condition', async t => {
  for (const [condition, holding, failing] of values) {
    const check = (value: string | undefined): boolean =>
      holds(match({ headers: { 'X-Version': condition } }), requestTo('/', value === undefined ? {} : { 'x-version': value }))
    for (const value of holding) t.ok(check(value), `${condition.kind} holds for ${value}`)
    for (const value of failing) t.notOk(check(value), `${condition.kind} fails for ${value}`)
  }
})

t.test('a query parameter is compared by each kind of condition', async t => {
  for (const [condition, holding, failing] of values) {
    const check = (value: string | undefined): boolean =>
      holds(match({ query: { v: condition } }), requestTo(value === undefined ? '/?w=v2' : `/?w=1&v=${value}`))
    for (const value of holding) t.ok(check(value), `${condition.kind} holds for ${value}`)
    for (const value of failing) t.notOk(check(value), `${condition.kind} fails for ${value}`)
  }
})

t.test('a repeated header meets a condition with any of its values', async t => {
  const conditions = match({ headers: { 'x-role': exact('admin') } })
  for (const value of ['user, admin', 'admin,user', ['user', 'admin']]) t.ok(holds(conditions, requestTo('/', { 'x-role': value })))
  t.notOk(holds(conditions, requestTo('/', { 'x-role': 'user, administrator' })))
})

t.test('a header value with a comma is compared as a whole too', async t => {
  const date = 'Wed, 21 Oct 2015 07:28:00 GMT'
  t.ok(holds(match({ headers: { 'x-date': exact(date) } }), requestTo('/', { 'x-date': date })))
})

t.test('not holds only when none of the values meets the condition', async t => {
  t.notOk(holds(match({ headers: { 'x-role': not(exact('admin')) } }), requestTo('/', { 'x-role': 'user, admin' })))
  t.notOk(holds(match({ query: { r: not(exact('a')) } }), requestTo('/?r=b&r=a')))
})

t.test('a query parameter is read as URLSearchParams reads it', async t => {
  const queries = ['', '?', '?a', '?a=', '?a=1', '?a=1&a=2', '?b=1&%61=x%20y', '?a=x+y', '?a=%zz', '?a=b=c', '?&&a=1', '?A=1', '?a=1?b', '?=1', '??a=1', '?a%3D=1', '?a=%C3%A9', '?aa=1', '?a=%ff']
  for (const query of queries) {
    // A second question mark belongs to the name, which URLSearchParams sees only behind a pair.
    t.strictSame([...queryValues(`/x${query}`, 'a')], new URLSearchParams(`_&${query.slice(1)}`).getAll('a'), query)
  }
})

t.test('any of several values of a query parameter will do', async t => {
  t.ok(holds(match({ query: { v: exact('2') } }), requestTo('/?v=1&v=2')))
})

t.test('an expression with g or y has no memory', async t => {
  const matches = createMatcher(match({ headers: { v: regex(/1/gy) }, hosts: [/a/g] }))!
  const request = requestTo('/', { host: 'a', v: '1' })
  t.strictSame([matches(request), matches(request), matches(request)], [true, true, true])
})

t.test('all conditions must hold', async t => {
  const conditions = match({ hosts: ['a.example'], headers: { v: exact('1') }, query: { q: present } })
  t.ok(holds(conditions, requestTo('/?q', { host: 'a.example', v: '1' })))
  t.notOk(holds(conditions, requestTo('/', { host: 'a.example', v: '1' })))
  t.notOk(holds(conditions, requestTo('/?q', { host: 'b.example', v: '1' })))
  t.notOk(holds(conditions, requestTo('/?q', { host: 'a.example' })))
})
