import fc from 'fast-check'
import t from 'tap'
import { groupRoutes } from '../../../lib/matching/groups.ts'
import { pathShape } from '../../../lib/matching/path-shape.ts'
import type { RouteConfig } from '../../../lib/types.ts'
import { exact, prefix, present, requestFor, requestTo, route } from './scene.ts'

const ALL = ['GET', 'HEAD', 'POST']

function outline (routes: RouteConfig[]): string[] {
  return groupRoutes(routes, ALL).groups.map(({ path, methods, entries }) =>
    `${methods.join(',')} ${path}: ${entries.map(entry => entry.route.name).join(' ')}`)
}

function problemsOf (routes: RouteConfig[]): string[] {
  return groupRoutes(routes, ALL).problems.map(({ path, rule }) => `${path}: ${rule}`)
}

t.test('a route by itself is a group with all methods', async t => {
  t.strictSame(outline([route('a', '/a')]), ['GET,HEAD,POST /a: a'])
})

t.test('routes of different paths stay apart', async t => {
  t.strictSame(outline([route('a', '/a'), route('b', '/b', {}, ['GET'])]), ['GET,HEAD,POST /a: a', 'GET /b: b'])
})

t.test('routes of one path are one group, most specific first', async t => {
  const routes = [route('any', '/*'), route('host', '/*', { hosts: ['a.example'] }), route('header', '/*', { headers: { v: exact('1') } })]
  t.strictSame(outline(routes), ['GET,HEAD,POST /*: host header any'])
})

t.test('each method of a path belongs to one group with the routes that take it', async t => {
  const routes = [
    route('get', '/a', { headers: { v: exact('1') } }, ['GET']), route('all', '/a'), route('post', '/a', { headers: { w: exact('1') } }, ['POST'])
  ]
  t.strictSame(outline(routes), ['GET /a: get all', 'HEAD /a: all', 'POST /a: post all'])
})

t.test('routes of one path with different methods and no conditions are no problem', async t => {
  const routes = [route('read', '/a', {}, ['GET', 'HEAD']), route('write', '/a', {}, ['POST'])]
  t.strictSame(outline(routes), ['GET,HEAD /a: read', 'POST /a: write'])
  t.strictSame(problemsOf(routes), [])
})

t.test('names of parameters make no other path, and must be the same', async t => {
  const routes = [route('a', '/u/:id', { hosts: ['a.example'] }), route('b', '/u/:name', { hosts: ['b.example'] })]
  t.equal(outline(routes).length, 1)
  t.strictSame(problemsOf(routes), ['routes[1].path: must write its parameters as "a" (routes[0]) does, which is the same path /u/:id'])
})

t.test('names of parameters may differ between methods', async t => {
  t.strictSame(problemsOf([route('a', '/u/:id', {}, ['GET']), route('b', '/u/:name', {}, ['POST'])]), [])
})

t.test('expressions of parameters make no other path either', async t => {
  t.match(problemsOf([route('a', '/u/:id(^\\d+$)', { hosts: ['a'] }), route('b', '/u/:id(^[a-z]+$)', { hosts: ['b'] })]), [/^routes\[1\]\.path: must write/])
})

t.test('two routes that cannot be told apart are a problem', async t => {
  t.strictSame(problemsOf([route('a', '/a'), route('x', '/x'), route('b', '/a')]), [
    'routes[2]: "b" (routes[2]) must differ from "a" (routes[0]) in path, methods, host, headers or query: a request could be for either'
  ])
})

t.test('a pair of routes is one problem, however many methods and hosts they share', async t => {
  const hosts = ['a.example', 'b.example']
  t.equal(problemsOf([route('a', '/a', { hosts }), route('b', '/a', { hosts })]).length, 1)
})

t.test('equally specific routes are a problem when one request can meet both', async t => {
  t.equal(problemsOf([route('a', '/a', { headers: { v: exact('1') } }), route('b', '/a', { headers: { w: exact('1') } })]).length, 1)
  t.equal(problemsOf([route('a', '/a', { hosts: [/a/] }), route('b', '/a', { hosts: [/b/] })]).length, 1)
  t.equal(problemsOf([route('a', '/a', { hosts: ['*.x'] }), route('b', '/a', { hosts: ['*.X.'] })]).length, 1)
})

t.test('routes that differ in a value or in specificity are no problem', async t => {
  t.strictSame(problemsOf([
    route('1', '/a', { headers: { v: exact('1') } }), route('2', '/a', { headers: { v: exact('2') } }), route('3', '/a', { headers: { v: prefix('3') } }), route('any', '/a')
  ]), [])
})

t.test('one route may name a host twice', async t => {
  t.strictSame(problemsOf([route('a', '/a', { hosts: ['a.example', 'A.example'] })]), [])
})

t.test('a group knows whether it takes every request', async t => {
  const total = (routes: RouteConfig[]): boolean[] => groupRoutes(routes, ALL).groups.map(group => group.total)
  t.strictSame(total([route('a', '/a', { hosts: ['a'] })]), [false])
  t.strictSame(total([route('a', '/a', { hosts: ['a'] }), route('b', '/a')]), [true])
})

t.test('a thousand hosts on one path are one group', async t => {
  const routes = Array.from({ length: 1000 }, (_, i) => route(`r${i}`, '/*', { hosts: [`h${i}.example`] }))
  const { groups: [group, ...others], problems } = groupRoutes(routes, ALL)
  t.strictSame([others, problems], [[], []])
  t.equal(group!.select(requestFor('h777.example:80'))?.name, 'r777')
  t.equal(group!.select(requestFor('none.example')), undefined)
})

t.test('the most specific route that matches is selected', async t => {
  const { groups: [group] } = groupRoutes([
    route('any', '/*'), route('below', '/*', { hosts: ['*.example'] }), route('deep', '/*', { hosts: ['*.a.example'] }), route('exact', '/*', { hosts: ['x.a.example'] }),
    route('exact-v2', '/*', { hosts: ['x.a.example'], headers: { v: exact('2') } }), route('expression', '/*', { hosts: [/^y/] }), route('query', '/*', { query: { q: present } })
  ], ALL)
  const cases: Array<[expected: string, url: string, headers: Record<string, string>]> = [
    ['exact', '/', { host: 'x.a.example' }],
    ['exact-v2', '/', { host: 'X.a.example:1', v: '2' }],
    ['deep', '/', { host: 'z.a.example' }],
    ['deep', '/', { host: 'z.z.a.example' }],
    ['below', '/', { host: 'a.example' }],
    ['below', '/?q', { host: 'y.example' }],
    ['expression', '/?q', { host: 'y' }],
    ['query', '/?q', { host: 'example' }],
    ['any', '/', { host: 'example' }],
    ['any', '/', {}]
  ]
  for (const [expected, url, headers] of cases) t.equal(group!.select(requestTo(url, headers))?.name, expected, `${headers['host']}${url}`)
})

t.test('selecting gives what asking every entry in order gives', async () => {
  const host = fc.constantFrom('a', 'x.a', 'y.x.a', 'b')
  const condition = fc.oneof(host, host.map(suffix => `*.${suffix}`), fc.constantFrom(/^x/, /a$/))
  const conditions = fc.record({
    hosts: fc.array(condition, { maxLength: 3 }),
    headers: fc.constantFrom({}, { v: exact('1') }, { v: present })
  })
  fc.assert(fc.property(fc.array(conditions, { minLength: 1, maxLength: 8 }), host, fc.boolean(), (all, name, withHeader) => {
    const { groups } = groupRoutes(all.map((one, i) => route(`r${i}`, '/*', one)), ['GET'])
    const request = requestTo('/', { host: name, ...withHeader ? { v: '1' } : {} })
    const { entries, select } = groups[0]!
    return select(request) === entries.find(({ matches }) => matches?.(request) ?? true)?.route
  }), { seed: 10, numRuns: 1000 })
})

t.test('a path has its shape and parameters', async t => {
  const cases: Array<[path: string, shape: string, names: string[]]> = [
    ['/', '/', []],
    ['/u/:id', '/u/:', ['id']],
    ['/u/:id/x/:n', '/u/:/x/:', ['id', 'n']],
    ['/u/*', '/u/*', ['*']],
    ['/u/:a-:b.json', '/u/:-:.json', ['a', 'b']],
    ['/u/:n(^\\d{2}(a|\\)b)$)h:m', '/u/:()h:', ['n(^\\d{2}(a|\\)b)$)', 'm']],
    ['/v::x/:a', '/v::x/:', ['a']],
    ['/u/:id?', '/u/:?', ['id']],
    ['/u/:n(open', '/u/:()', ['n(open']]
  ]
  for (const [path, shape, names] of cases) t.strictSame(pathShape(path), { shape, names }, path)
})
