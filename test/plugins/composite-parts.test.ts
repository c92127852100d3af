/** What a part asks for (path, query, headers, method), when it is asked for, and in which order. */
import t from 'tap'
import { ask, BREAK, HOLD, rawRequest, get, json, sleep, startBackends, startComposite, startGateway, status, waitFor } from '../helper.ts'
import type { Answers, Asked, TestLike } from '../helper.ts'
import type { CompositeOptions, PartOptions } from '../../lib/options/index.ts'

type Parts = Readonly<Record<string, PartOptions>>

/** What `x` (at backend b) asks for after `user` (at backend a) has answered with the value; undefined when it is not asked. */
async function asksFor (t: TestLike, x: PartOptions, user: unknown = {}, path = '/c/7'): Promise<Asked | undefined> {
  const { ask, asked } = await startComposite(t, { parts: { user: { backend: 'a', path: '/user' }, x: { backend: 'b', needs: ['user'], ...x } } }, { answers: { a: user } })
  await ask(path)
  return asked.find(({ backend }) => backend === 'b')
}

const states = (value: unknown): Record<string, [string, string | undefined]> =>
  Object.fromEntries((value as { _meta: { parts: Array<{ name: string, state: string, code?: string }> } })._meta.parts.map(({ name, state, code }) => [name, [state, code]]))

// ---- paths

const PATHS: Array<[template: string, user: unknown, target: string]> = [
  ['/u/:id', {}, '/u/7'],
  ['/u-:id.json', {}, '/u-7.json'],
  ['/u/:id/:id', {}, '/u/7/7'],
  ['/u::x/:id', {}, '/u:x/7'],
  ['/u/{request.params.id}', {}, '/u/7'],
  ['/u/{user.body.id}', { id: 12 }, '/u/12'],
  ['/u/{user.body.id}', { id: 'a b/c?d#e%é' }, '/u/a%20b%2Fc%3Fd%23e%25%C3%A9'],
  ['/u/{user.body.ok}', { ok: false }, '/u/false'],
  ['/u/{user.body.list[1].id}', { list: [{ id: 1 }, { id: 2 }] }, '/u/2'],
  ['/u/{user.body["odd key"]}', { 'odd key': 3 }, '/u/3'],
  ['/u/{user.body.ids}', { ids: [1, 2, 'a,b'] }, '/u/1,2,a%2Cb'],
  ['/u/{user.status}', {}, '/u/200'],
  ['/u/{user.headers.Content-Type}', {}, '/u/application%2Fjson'],
  ['/u/{{x}}', {}, '/u/{x}'],
  ['/u?q={user.body.q}&r=:id', { q: 'a&b=c d' }, '/u?q=a%26b%3Dc%20d&r=7'],
  ['/u/{user.body.a}-{user.body.b}', { a: 1, b: 'x' }, '/u/1-x'],
  ['/u/ä', {}, '/u/%C3%A4']
]

for (const [template, user, target] of PATHS) {
  t.test(`the path ${template} with ${JSON.stringify(user)} is ${target}`, async t => {
    t.equal((await asksFor(t, { path: template }, user))?.target, target)
  })
}

t.test('big integers, fractions and exponents come through templates digit for digit', async t => {
  const user = json('{"id":12345678901234567890123,"f":1.10,"e":1E5,"n":-0}')
  const x: PartOptions = { method: 'POST', path: '/{user.body.id}/{user.body.f}/{user.body.e}/{user.body.n}', query: { q: '{user.body.id}' }, headers: { set: { 'x-id': '{user.body.id}' } }, body: { id: '{user.body.id}', f: '{user.body.f}', text: 'no {user.body.id}' } }
  const asked = await asksFor(t, x, user)
  t.equal(asked?.target, '/12345678901234567890123/1.10/1E5/-0?q=12345678901234567890123')
  t.equal(asked?.headers['x-id'], '12345678901234567890123')
  t.equal(asked?.body.toString(), '{"id":12345678901234567890123,"f":1.10,"text":"no 12345678901234567890123"}')
})

t.test('a wildcard stands for the rest of the path, as the client encoded it', async t => {
  const { port, calls } = await startComposite(t, { parts: { one: { backend: 'a', path: '/x/*' } } }, { route: '/w/*' })
  for (const path of ['/w/a/b', '/w/a%2Fb', '/w/', '/w/a%20b?q=1']) t.equal((await rawRequest(port, get(path))).status, 200, path)
  t.same(calls, ['a /x/a/b', 'a /x/a%2Fb', 'a /x/', 'a /x/a%20b'])
})

t.test('an encoded parameter stays one segment', async t => {
  const { port, calls } = await startComposite(t, { parts: { one: { backend: 'a', path: '/x/:id/y' } } })
  for (const id of ['a%2Fb', 'a%3Fb%23', '%C3%A9', 'a;b']) t.equal((await rawRequest(port, get(`/c/${id}`))).status, 200, id)
  t.same(calls, ['a /x/a%2Fb/y', 'a /x/a%3Fb%23/y', 'a /x/%C3%A9/y', 'a /x/a%3Bb/y'])
})

t.test('a parameter that climbs is the client\'s fault: 400, and nobody is asked', async t => {
  const { port, calls } = await startComposite(t, { parts: { one: { backend: 'a', path: '/x/:id' } } })
  for (const id of ['..', '%2e%2e', '%2E.', '.']) {
    const { response } = await rawRequest(port, get(`/c/${id}`))
    t.equal(response.status, 400, id)
    t.match(JSON.parse(response.text), { code: 'RP_ERR_BAD_PATH' })
  }
  t.same(calls, [])
})

t.test('a path of the short form that climbs is refused as on any route', async t => {
  const { port, calls } = await startComposite(t, { backends: ['a'] }, { route: '/w/*' })
  t.equal((await rawRequest(port, get('/w/x/../y'))).status, 400)
  t.equal((await rawRequest(port, get('/w/x/%2e%2e/y'))).status, 400)
  t.same(calls, [])
})

for (const id of ['..', '.', '']) {
  t.test(`a backend's value ${JSON.stringify(id)} as a segment fails the part, not the request`, async t => {
    const { ask, calls } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, x: { backend: 'b', path: '/u/{user.body.id}' } } }, { answers: { a: { id } } })
    const { status, value } = await ask()
    t.equal(status, 200)
    t.same(states(value), { user: ['ok', undefined], x: ['failed', 'RP_ERR_PART_INPUT'] })
    t.equal(calls.length, 1)
  })
}

t.test('dots that add up to a climb within one segment fail the part', async t => {
  const { ask, calls } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, x: { backend: 'b', path: '/u/{user.body.a}.' }, y: { backend: 'b', path: '/u/.{user.body.a}/z' } } }, { answers: { a: { a: '.' } } })
  t.match(states((await ask()).value), { x: ['failed', 'RP_ERR_PART_INPUT'], y: ['failed', 'RP_ERR_PART_INPUT'] })
  t.equal(calls.length, 1)
})

t.test('an object where a path wants a text fails the part', async t => {
  const { ask } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, x: { backend: 'b', path: '/u/{user.body.o}' }, y: { backend: 'b', query: { q: '{user.body.o}' } }, z: { backend: 'b', headers: { set: { h: 'x{user.body.o}' } } } } }, { answers: { a: { o: { k: 1 } } } })
  t.match(states((await ask()).value), { x: ['failed', 'RP_ERR_PART_INPUT'], y: ['failed', 'RP_ERR_PART_INPUT'], z: ['failed', 'RP_ERR_PART_INPUT'] })
})

t.test('a path may be a function of needed parts and the request', async t => {
  const asked = await asksFor(t, { path: (parts, request) => `/${Object.keys(parts)}/${parts.user.body.id}/${(request.params as { id: string }).id}?q=1`, query: { r: 2 } }, { id: 3 })
  t.equal(asked?.target, '/user/3/7?q=1&r=2')
})

t.test('functions see no part that they do not need', async t => {
  let seen: unknown
  await (await startComposite(t, { parts: { a: { backend: 'a' }, b: { backend: 'b' }, c: { backend: 'c', needs: ['a'], path: parts => { seen = Object.keys(parts); return '/' } } } })).ask()
  t.same(seen, ['a'])
})

const BAD_PATHS: Array<[what: string, path: () => unknown]> = [
  ['throws', () => { throw new Error('mine') }],
  ['returns nothing', () => undefined],
  ['returns no path', () => 'http://evil.example/'],
  ['climbs', () => '/a/../b'],
  ['has a space', () => '/a b'],
  ['has a line break', () => '/a\r\nx: y'],
  ['is async', async () => '/a']
]
for (const [what, path] of BAD_PATHS) {
  t.test(`a path function that ${what} fails the part with RP_ERR_PART_INPUT`, async t => {
    const { ask, calls } = await startComposite(t, { meta: true, parts: { a: { backend: 'a' }, x: { backend: 'b', path: path as () => string } } })
    const { status, value } = await ask()
    t.equal(status, 200)
    t.same(states(value)['x'], ['failed', 'RP_ERR_PART_INPUT'])
    t.same(calls, ['a /c/7'])
  })
}

// ---- query

t.test('a query has fixed values, parameters, references, and lists that repeat', async t => {
  const query = { user: ':id', limit: 5, flag: true, 'a key&': 'v=é', q: '{request.query.x}', n: '{user.body.n}', ids: '{user.body.ids}', tags: ['a', 2, '{user.body.n}'], mixed: 'n-{user.body.n}', braces: '{{x}}' }
  const asked = await asksFor(t, { path: '/o', query }, { n: 9, ids: [1, 'b'] }, '/c/7?x=1%202')
  t.equal(asked?.target, '/o?user=7&limit=5&flag=true&a%20key%26=v%3D%C3%A9&q=1%202&n=9&ids=1&ids=b&tags=a&tags=2&tags=9&mixed=n-9&braces=%7Bx%7D')
})

t.test('what the client has not sent is left out of the query, the rest stays', async t => {
  t.equal((await asksFor(t, { path: '/o', query: { x: '{request.query.x}', h: '{request.headers.x-none}', mixed: 'n-{request.query.x}', a: 1 } }))?.target, '/o?a=1')
  t.equal((await asksFor(t, { path: '/o', query: { x: '{request.query.x}' } }))?.target, '/o', 'and no lone question mark')
})

t.test('a parameter that the client repeats goes on as a list', async t => {
  t.equal((await asksFor(t, { path: '/o', query: { x: '{request.query.x}' } }, {}, '/c/7?x=1&x=2'))?.target, '/o?x=1&x=2')
})

t.test('an empty list adds no parameter', async t => {
  t.equal((await asksFor(t, { path: '/o', query: { ids: '{user.body.ids}', a: 1 } }, { ids: [] }))?.target, '/o?a=1')
})

t.test('query: client takes the client\'s as it is, behind one of the path', async t => {
  t.equal((await asksFor(t, { query: 'client' }, {}, '/c/7?b=%20&a&a=+'))?.target, '/c/7?b=%20&a&a=+')
  t.equal((await asksFor(t, { path: '/x?y=1', query: 'client' }, {}, '/c/7?b=2'))?.target, '/x?y=1&b=2')
  t.equal((await asksFor(t, { path: '/x', query: 'client' }))?.target, '/x')
})

t.test('a query may be a function', async t => {
  const query = (parts: { user: { body: { n: number } } }) => ({ n: parts.user.body.n, list: [1, 'ü'], none: undefined, nil: null, flag: false })
  t.equal((await asksFor(t, { path: '/o', query }, { n: 3 }))?.target, '/o?n=3&list=1&list=%C3%BC&flag=false')
})

for (const [what, query] of [['throws', () => { throw new Error('mine') }], ['returns a text', () => 'a=1'], ['returns objects', () => ({ a: {} })], ['returns nothing', () => undefined]] as Array<[string, () => Record<string, unknown>]>) {
  t.test(`a query function that ${what} fails the part`, async t => {
    const { ask } = await startComposite(t, { meta: true, parts: { a: { backend: 'a' }, x: { backend: 'b', query } } })
    t.same(states((await ask()).value)['x'], ['failed', 'RP_ERR_PART_INPUT'])
  })
}

// ---- headers

t.test('headers of the client go to each part, and headers.set and remove change them', async t => {
  const headers = { set: { 'x-fixed': 'f', 'x-id': ':id', 'x-user': '{user.body.n}', 'x-mixed': 'n {user.body.n}!', 'x-fn': (parts: { user: { body: { n: number } } }) => `fn${parts.user.body.n}`, 'x-no': () => undefined, 'x-client': '{request.headers.x-none}' }, remove: ['cookie', 'X-Gone'] }
  const { url, to } = await startComposite(t, { parts: { user: { backend: 'a' }, x: { backend: 'b', needs: ['user'], headers } } }, { answers: { a: { n: 4 } } })
  await ask(`${url}/c/7`, { headers: { cookie: 'a=1', 'x-gone': '1', 'x-kept': 'k', authorization: 'Bearer x' } })
  t.match(to('a').headers, { cookie: 'a=1', 'x-gone': '1', 'x-kept': 'k', authorization: 'Bearer x' })
  const seen = to('b').headers
  t.match(seen, { 'x-fixed': 'f', 'x-id': '7', 'x-user': '4', 'x-mixed': 'n 4!', 'x-fn': 'fn4', 'x-kept': 'k', authorization: 'Bearer x' })
  for (const name of ['cookie', 'x-gone', 'x-no', 'x-client']) t.notOk(name in seen, name)
})

t.test('a client cannot fill a header that a template or function leaves out', async t => {
  const { url, to } = await startComposite(t, { parts: { x: { backend: 'b', headers: { set: { 'x-user': () => undefined, 'x-plan': '{request.query.plan}' } } } } })
  await ask(`${url}/c/7`, { headers: { 'x-user': 'admin', 'x-plan': 'gold' } })
  t.notOk('x-user' in to('b').headers)
  t.notOk('x-plan' in to('b').headers)
})

t.test('the client\'s conditions and ranges are about the whole answer and do not go to parts', async t => {
  const { port, to } = await startComposite(t, { backends: ['a'] })
  const names = { 'If-None-Match': '"x"', 'If-Modified-Since': 'Sat, 21 Nov 2026 12:00:00 GMT', 'If-Match': '"x"', 'If-Unmodified-Since': 'Sat, 21 Nov 2026 12:00:00 GMT', 'If-Range': '"x"', Range: 'bytes=0-1', 'Accept-Encoding': 'gzip, br' }
  const { response } = await rawRequest(port, get('/c/7', names))
  t.equal(response.status, 200)
  for (const name of Object.keys(names)) t.equal(to('a').headers[name.toLowerCase()], name === 'Accept-Encoding' ? 'identity' : undefined, name)
})

t.test('a part may ask for an encoding or send a condition when it says so itself', async t => {
  const asked = await asksFor(t, { headers: { set: { 'accept-encoding': 'gzip', 'if-none-match': '"mine"', range: 'items=0-5' } } })
  t.match(asked?.headers, { 'accept-encoding': 'gzip', 'if-none-match': '"mine"', range: 'items=0-5' })
})

t.test('headers.request of the composite are edits of every part\'s request', async t => {
  const composite: CompositeOptions = {
    parts: { one: { backend: 'a' }, two: { backend: 'b', headers: { set: { 'x-source': 'two' } } } },
    headers: { request: { set: { 'x-source': 'all' }, append: { 'x-list': 'more' }, remove: ['x-gone'], rename: { 'x-old': 'x-new' } } }
  }
  const { url, to } = await startComposite(t, composite)
  await ask(`${url}/c/7`, { headers: { 'x-list': 'first', 'x-gone': '1', 'x-old': 'o' } })
  t.match(to('a').headers, { 'x-source': 'all', 'x-list': 'first, more', 'x-new': 'o' })
  t.notOk('x-gone' in to('a').headers || 'x-old' in to('a').headers)
  t.equal(to('b').headers['x-source'], 'two', 'a part has the last word')
})

t.test('headers.request.forward lets only some of the client\'s headers through', async t => {
  const { url, to } = await startComposite(t, { backends: ['a'], headers: { request: { forward: ['x-yes'] } } })
  await ask(`${url}/c/7`, { headers: { 'x-yes': '1', 'x-no': '1' } })
  t.equal(to('a').headers['x-yes'], '1')
  t.notOk('x-no' in to('a').headers)
})

t.test('a backend\'s value that breaks a header fails the part', async t => {
  const { ask } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, x: { backend: 'b', headers: { set: { h: '{user.body.h}' } } }, y: { backend: 'b', headers: { set: { h: () => 'a\r\nb: c' } } } } }, { answers: { a: { h: 'a\r\nevil: 1' } } })
  t.match(states((await ask()).value), { x: ['failed', 'RP_ERR_PART_INPUT'], y: ['failed', 'RP_ERR_PART_INPUT'] })
})

// ---- method

t.test('methods: GET by default in the full form, its own where it says so, the incoming one with a body', async t => {
  const parts: Parts = { one: { backend: 'a' }, two: { backend: 'b', method: 'DELETE' }, three: { backend: 'c', body: 'client' }, four: { backend: 'd', body: { x: 1 }, method: 'PATCH' }, five: { backend: 'e', body: { x: 1 } } }
  const { ask, to } = await startComposite(t, { parts }, { method: 'POST' })
  t.equal((await ask('/c/7', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).status, 200)
  t.same([...'abcde'].map(name => to(name).method), ['GET', 'DELETE', 'POST', 'PATCH', 'POST'])
})

t.test('a short-form part of a HEAD request is asked with GET', async t => {
  const { url, to } = await startComposite(t, { backends: ['a'] })
  await fetch(`${url}/c/7`, { method: 'HEAD' })
  t.equal(to('a').method, 'GET')
})

// ---- needs, missing values

interface Missing { readonly what: string, readonly user: unknown, readonly x: PartOptions, readonly state: string, readonly code?: string | undefined }
const ref: PartOptions = { path: '/{user.body.id}' }
const MISSING: Missing[] = [
  { what: 'a missing value', user: {}, x: ref, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'null', user: { id: null }, x: ref, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing value and onMissing: fail', user: {}, x: { ...ref, onMissing: 'fail' }, state: 'failed', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing value in the query', user: {}, x: { query: { q: '{user.body.id}' } }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing value in a header', user: {}, x: { headers: { set: { h: '{user.body.id}' } } }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing value in the body', user: {}, x: { method: 'POST', body: { id: '{user.body.id}' } }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing header of the part', user: {}, x: { path: '/{user.headers.x-none}' }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a missing value of the client in a path', user: {}, x: { path: '/{request.query.none}' }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a property of a text', user: { id: 'abc' }, x: { path: '/{user.body.id.length}' }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'an inherited property', user: {}, x: { path: '/{user.body.toString}' }, state: 'skipped', code: 'RP_ERR_PART_INPUT' },
  { what: 'a need that failed', user: status(500), x: ref, state: 'skipped', code: 'RP_ERR_PART_NEEDS' },
  { what: 'a need that failed, and onMissing: fail', user: status(500), x: { ...ref, onMissing: 'fail' }, state: 'failed', code: 'RP_ERR_PART_NEEDS' },
  { what: 'a need that failed, for a part with needs only', user: status(500), x: { needs: ['user'] }, state: 'skipped', code: 'RP_ERR_PART_NEEDS' },
  { what: 'a false value, which is one', user: { id: false }, x: ref, state: 'ok' },
  { what: 'zero, which is a value', user: { id: 0 }, x: ref, state: 'ok' }
]
for (const { what, user, x, state, code } of MISSING) {
  t.test(`onMissing: ${what} → ${state}`, async t => {
    const { ask } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, other: { backend: 'c' }, x: { backend: 'b', ...x } } }, { answers: { a: user } })
    const { status, value } = await ask()
    t.equal(status, 200)
    t.same(states(value)['x'], [state, code])
    t.equal(Object.hasOwn(value as object, 'x'), state === 'ok', 'a part that is not there has no key')
  })
}

t.test('a required part whose value is missing fails the answer, unless it says skip', async t => {
  const fails = await startComposite(t, { parts: { user: { backend: 'a' }, x: { backend: 'b', ...ref, required: true } } }, { answers: { a: {} } })
  const { status: code, value } = await fails.ask()
  t.equal(code, 502)
  t.match(value, { code: 'RP_ERR_PART_INPUT' })
  const skips = await startComposite(t, { parts: { user: { backend: 'a' }, x: { backend: 'b', ...ref, required: true, onMissing: 'skip' } } }, { answers: { a: {} } })
  t.same((await skips.ask()).value, { user: {} })
})

t.test('onMissing of the composite holds for parts that do not say', async t => {
  const { ask } = await startComposite(t, { meta: true, onMissing: 'fail', parts: { user: { backend: 'a' }, x: { backend: 'b', ...ref }, y: { backend: 'b', ...ref, onMissing: 'skip' } } }, { answers: { a: {} } })
  t.match(states((await ask()).value), { x: ['failed'], y: ['skipped'] })
})

t.test('a skipped need skips its followers, however many', async t => {
  const { ask, calls } = await startComposite(t, { meta: true, parts: { a: { backend: 'a', when: '{request.query.go}' }, b: { backend: 'b', needs: ['a'] }, c: { backend: 'c', path: '/{b.body.x}' }, d: { backend: 'd' } } })
  const { value, headers } = await ask()
  t.match(states(value), { a: ['skipped'], b: ['skipped'], c: ['skipped'], d: ['ok'] })
  t.same(calls, ['d /c/7'])
  t.equal(headers.get('x-composite-complete'), 'true', 'what was not wanted is not lacking')
})

t.test('a need that has a fallback gives that to its followers', async t => {
  const { ask, to } = await startComposite(t, { parts: { user: { backend: 'a', fallback: { id: 'nobody' }, pick: ['other'] }, x: { backend: 'b', path: '/{user.body.id}' } } }, { answers: { a: status(500) } })
  await ask()
  t.equal(to('b').target, '/nobody', 'as it is written, not as it is shaped')
})

t.test('templates and functions see the body as the backend sent it, whatever its shape in the answer', async t => {
  const { ask, calls } = await startComposite(t, { parts: { user: { backend: 'a', pick: ['name'] }, x: { backend: 'b', path: '/{user.body.id}' }, y: { backend: 'c', needs: ['user'], path: parts => `/${parts.user.body.id}` } } }, { answers: { a: { id: 5, name: 'n' } } })
  t.same((await ask()).value, { user: { name: 'n' }, x: { b: 1 }, y: { c: 1 } })
  t.same(calls.sort(), ['a /c/7', 'b /5', 'c /5'])
})

t.test('a need with an empty body has no values', async t => {
  const { ask } = await startComposite(t, { meta: true, parts: { user: { backend: 'a' }, x: { backend: 'b', ...ref } } }, { answers: { a: json('') } })
  t.match(states((await ask()).value), { user: ['ok'], x: ['skipped'] })
})

// ---- when

const WHEN: Array<[when: PartOptions['when'], user: unknown, holds: boolean]> = [
  ['{user.body.v}', { v: true }, true], ['{user.body.v}', { v: false }, false], ['{user.body.v}', { v: 0 }, false], ['{user.body.v}', { v: -0.0 }, false],
  ['{user.body.v}', { v: '' }, false], ['{user.body.v}', { v: 'false' }, true], ['{user.body.v}', { v: null }, false], ['{user.body.v}', {}, false],
  ['{user.body.v}', { v: [] }, true], ['{user.body.v}', { v: {} }, true], ['{user.body.v}', { v: 3 }, true],
  [{ value: '{user.body.v}', equals: 'gold' }, { v: 'gold' }, true], [{ value: '{user.body.v}', equals: 'gold' }, { v: 'tin' }, false], [{ value: '{user.body.v}', equals: 'gold' }, {}, false],
  [{ value: '{user.body.v}', equals: 5 }, { v: 5 }, true], [{ value: '{user.body.v}', equals: 5 }, { v: '5' }, false], [{ value: '{user.body.v}', equals: null }, {}, true], [{ value: '{user.body.v}', equals: null }, { v: null }, true],
  [{ value: '{user.body.v}', equals: { a: [1] } }, { v: { a: [1] } }, true], [{ value: '{user.body.v}', equals: false }, { v: false }, true],
  [{ value: '{user.body.v}', not: 'tin' }, { v: 'gold' }, true], [{ value: '{user.body.v}', not: 'tin' }, { v: 'tin' }, false], [{ value: '{user.body.v}', not: 'tin' }, {}, true], [{ value: '{user.body.v}', not: null }, {}, false],
  [{ value: '{user.body.v}', in: ['a', 2] }, { v: 2 }, true], [{ value: '{user.body.v}', in: ['a', 2] }, { v: 3 }, false],
  [{ value: '{user.body.v}', exists: true }, { v: false }, true], [{ value: '{user.body.v}', exists: true }, { v: null }, false], [{ value: '{user.body.v}', exists: false }, {}, true], [{ value: '{user.body.v}', exists: false }, { v: 1 }, false],
  [{ value: '{request.params.id}', equals: 7 }, {}, true], [{ value: '{request.params.id}', equals: '7' }, {}, true], [{ value: '{request.query.q}', equals: 'x' }, {}, false],
  [{ value: '{user.status}', equals: 200 }, {}, true], [{ value: '{user.headers.content-type}', not: 'application/json' }, {}, false],
  [['{user.body.a}', { value: '{user.body.b}', equals: 1 }], { a: 1, b: 1 }, true], [['{user.body.a}', { value: '{user.body.b}', equals: 1 }], { a: 1, b: 2 }, false], [['{user.body.a}', { value: '{user.body.b}', equals: 1 }], { b: 1 }, false],
  [parts => parts.user.body.v > 2, { v: 3 }, true], [parts => parts.user.body.v > 2, { v: 2 }, false], [() => '', {}, false], [(_parts, request) => (request.params as { id: string }).id === '7', {}, true]
]
for (const [when, user, holds] of WHEN) {
  t.test(`when ${typeof when === 'function' ? String(when) : JSON.stringify(when)} with ${JSON.stringify(user)} ${holds ? 'holds' : 'does not hold'}`, async t => {
    t.equal(await asksFor(t, { when: when! }, user) !== undefined, holds)
  })
}

t.test('a part that is not wanted is skipped without an error, and the answer is complete', async t => {
  const { ask } = await startComposite(t, { meta: true, parts: { a: { backend: 'a' }, x: { backend: 'b', when: '{request.query.go}', required: true, fallback: 1 } } })
  const { value, headers } = await ask()
  t.same(states(value), { a: ['ok', undefined], x: ['skipped', undefined] })
  t.equal(headers.get('x-composite-complete'), 'true')
  t.match((await ask('/c/7?go=1')).value, { a: { a: 1 }, x: { b: 1 } })
})

t.test('a when function that throws fails the part', async t => {
  const { ask } = await startComposite(t, { meta: true, parts: { a: { backend: 'a' }, x: { backend: 'b', when: () => { throw new Error('mine') } } } })
  t.same(states((await ask()).value)['x'], ['failed', 'RP_ERR_PART_INPUT'])
})

// ---- required, fallback

t.test('a required part that fails is the answer: its 4xx as it came, else a status by its outcome', async t => {
  const cases: Array<[answer: unknown, status: number, code: string | undefined]> = [
    [status(404, { gone: true }, { 'x-why': 'y' }), 404, undefined], [status(500), 502, 'RP_ERR_PART_STATUS'], [status(503), 502, 'RP_ERR_PART_STATUS'],
    [json('<html>'), 502, 'RP_ERR_PART_NOT_JSON'], [BREAK, 502, 'RP_ERR_RESET']
  ]
  for (const [answer, code, error] of cases) {
    const { ask } = await startComposite(t, { parts: { a: { backend: 'a' }, x: { backend: 'b', required: true } } }, { answers: { b: answer } })
    const told = await ask()
    t.equal(told.status, code)
    t.same((told.value as { code?: string }).code, error)
    if (error === undefined) t.same([told.text, told.headers.get('x-why'), told.headers.get('x-composite-complete')], ['{"gone":true}', 'y', 'false'])
  }
})

t.test('a required part with a fallback does not fail', async t => {
  const { ask } = await startComposite(t, { parts: { x: { backend: 'b', required: true, fallback: { n: 0 } } } }, { answers: { b: status(404) } })
  const { status: code, value, headers } = await ask()
  t.same([code, value, headers.get('x-composite-complete')], [200, { x: { n: 0 } }, 'false'])
})

t.test('a fallback is shaped like a body, may be any JSON, and null too', async t => {
  const { ask } = await startComposite(t, {
    parts: { x: { backend: 'a', fallback: { data: { id: 1, n: 2 } }, target: 'data', pick: ['n'], group: 'g' }, y: { backend: 'a', fallback: null }, z: { backend: 'a', fallback: [] }, w: { backend: 'a', fallback: false } }
  }, { answers: { a: status(500) } })
  t.equal((await ask()).text, '{"x":{"g":{"n":2}},"y":null,"z":[],"w":false}')
})

t.test('a fallback that does not fit the strategy is none', async t => {
  const { ask } = await startComposite(t, { strategy: 'merge', parts: { a: { backend: 'a' }, x: { backend: 'b', fallback: [1] } } }, { answers: { b: status(500) } })
  t.same((await ask()).value, { a: 1 })
})

t.test('the first required part in order of declaration decides, whichever fails first', async t => {
  for (const order of [['b', 'a'], ['a', 'b']]) {
    const { ask, asked, until } = await startComposite(t, { parts: { x: { backend: 'a', required: true }, y: { backend: 'b', required: true } } }, { answers: { a: HOLD, b: HOLD } })
    const told = ask()
    await until(2)
    for (const name of order) {
      asked.find(({ backend }) => backend === name)?.answer(status(name === 'a' ? 404 : 409, { name }))
      await sleep(20)
    }
    t.equal((await told).text, '{"name":"a"}', order.join())
  }
})

// ---- order and parallelism

/** Backends that hold every answer, and a running request. */
async function begin (t: TestLike, composite: CompositeOptions, answers: Answers = { a: HOLD, b: HOLD, c: HOLD, d: HOLD, e: HOLD }) {
  const gateway = await startComposite(t, composite, { answers })
  const told = gateway.ask()
  const names = () => gateway.asked.map(({ backend }) => backend).sort().join('')
  return { ...gateway, told, names, quiet: async () => { await sleep(30); return names() } }
}

t.test('parts that do not need each other go out at once', async t => {
  const { told, until, asked } = await begin(t, { backends: ['a', 'b', 'c', 'd', 'e'] })
  t.ok(await until(5), 'all were asked before any had answered')
  for (const one of asked) one.answer({ [one.backend]: 1 })
  t.equal((await told).text, '{"a":1,"b":1,"c":1,"d":1,"e":1}')
})

t.test('a part goes out as soon as what it needs is there, not later', async t => {
  const run = await begin(t, { parts: { a: { backend: 'a' }, b: { backend: 'b' }, c: { backend: 'c', needs: ['a'] }, d: { backend: 'd', path: '/{b.body.x}', needs: ['c'] }, e: { backend: 'e', needs: ['b'] } } })
  await run.until(2)
  t.equal(await run.quiet(), 'ab')
  run.to('a').answer({})
  await run.until(3)
  t.equal(await run.quiet(), 'abc', 'b is still out')
  run.to('c').answer({})
  t.equal(await run.quiet(), 'abc', 'd needs b and c')
  run.to('b').answer({ x: 1 })
  await run.until(5)
  t.equal(await run.quiet(), 'abcde')
  run.to('d').answer({})
  run.to('e').answer({})
  t.equal((await run.told).text, '{"a":{},"b":{"x":1},"c":{},"d":{},"e":{}}', 'in order of declaration')
})

t.test('a part may need parts that are declared after it', async t => {
  const { ask, calls } = await startComposite(t, { parts: { x: { backend: 'b', path: '/{y.body.id}' }, y: { backend: 'a', path: '/y' } } }, { answers: { a: { id: 1 } } })
  t.equal((await ask()).text, '{"x":{"b":1},"y":{"id":1}}')
  t.same(calls, ['a /y', 'b /1'])
})

t.test('sequential and select ask one after the other', async t => {
  for (const strategy of ['sequential', 'select']) {
    const run = await begin(t, { strategy, backends: ['a', 'b', 'c'] })
    await run.until(1)
    t.equal(await run.quiet(), 'a')
    run.to('a').answer(status(500))
    await run.until(2)
    t.equal(await run.quiet(), 'ab')
    run.to('b').answer(status(500))
    await run.until(3)
    run.to('c').answer({ c: 1 })
    t.equal((await run.told).text, '{"c":1}')
  }
})

t.test('when a required part fails, the rest is cancelled and the answer does not wait', async t => {
  const run = await begin(t, { parts: { a: { backend: 'a' }, b: { backend: 'b', required: true }, c: { backend: 'c' }, d: { backend: 'd', needs: ['a'] } } })
  await run.until(3)
  run.to('b').answer(status(500))
  t.equal((await run.told).status, 502)
  t.ok(await waitFor(() => run.to('a').dropped && run.to('c').dropped), 'their requests are given up')
  t.equal(await run.quiet(), 'abc', 'and d never goes out')
})

t.test('what may still decide is not cancelled: a required part that comes before, and what it needs', async t => {
  const run = await begin(t, { parts: { a: { backend: 'a', required: true, needs: ['c'] }, b: { backend: 'b', required: true }, c: { backend: 'c' }, d: { backend: 'd' } } })
  await run.until(3)
  run.to('b').answer(status(500))
  t.ok(await waitFor(() => run.to('d').dropped))
  t.notOk(run.to('c').dropped)
  run.to('c').answer({})
  await run.until(4)
  run.to('a').answer(status(403, { no: 1 }))
  t.same([(await run.told).status, (await run.told).text], [403, '{"no":1}'])
})

t.test('an optional part that fails cancels nobody', async t => {
  const run = await begin(t, { parts: { a: { backend: 'a' }, b: { backend: 'b' } } })
  await run.until(2)
  run.to('a').answer(status(500))
  await sleep(20)
  t.notOk(run.to('b').dropped)
  run.to('b').answer({ n: 1 })
  t.same((await run.told).value, { b: { n: 1 } })
})

t.test('a client that goes away cancels every part', async t => {
  const { url, until, to, asked } = await startComposite(t, { parts: { a: { backend: 'a' }, b: { backend: 'b' }, c: { backend: 'c', needs: ['a'] } } }, { answers: { a: HOLD, b: HOLD } })
  const away = new AbortController()
  const told = fetch(`${url}/c/7`, { signal: away.signal }).catch(() => 'gone')
  await until(2)
  away.abort()
  t.equal(await told, 'gone')
  t.ok(await waitFor(() => to('a').dropped && to('b').dropped))
  t.equal(asked.length, 2)
})

t.test('the timeout of the whole and of a part are kept', async t => {
  const whole = await begin(t, { parts: { a: { backend: 'a' }, b: { backend: 'b' } }, timeout: '80ms' }, { a: HOLD })
  t.match((await whole.told).value, { b: { b: 1 } })
  t.equal((await whole.told).headers.get('x-composite-complete'), 'false')
  const part = await begin(t, { meta: true, parts: { a: { backend: 'a', timeout: '60ms' }, b: { backend: 'b', timeout: { headers: '60ms' } }, c: { backend: 'c' } } }, { a: HOLD, b: HOLD })
  t.match(states((await part.told).value), { a: ['failed', 'RP_ERR_TIMEOUT'], b: ['failed', 'RP_ERR_TIMEOUT'], c: ['ok'] })
  const all = await begin(t, { backends: ['a'], timeout: '60ms' }, { a: HOLD })
  t.equal((await all.told).status, 504)
})

t.test('redirects are followed by default, not with pass', async t => {
  const answers: Answers = { a: (one: Asked) => one.target === '/end' ? { end: 1 } : status(302, {}, { location: '/a/end' }) }
  t.same((await (await startComposite(t, { parts: { x: { backend: 'a' } } }, { answers })).ask()).value, { x: { end: 1 } })
  for (const composite of [{ parts: { x: { backend: 'a', redirects: 'pass' as const }, y: { backend: 'b' } } }, { redirects: 'pass' as const, parts: { x: { backend: 'a' }, y: { backend: 'b' } } }]) {
    t.same(states((await (await startComposite(t, { ...composite, meta: true }, { answers })).ask()).value)['x'], ['failed', 'RP_ERR_PART_STATUS'])
  }
})

t.test('maxCalls bounds the calls of a request', async t => {
  const { ask } = await startComposite(t, { maxCalls: 2, backends: ['a', 'b', 'c'] })
  const { status: code, value } = await ask()
  t.equal(code, 502)
  t.match(value, { code: 'RP_ERR_PART_CALLS' })
})

t.test('a schema holds for the body as the backend sends it', async t => {
  const schema = { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } }
  const { ask } = await startComposite(t, { meta: true, parts: { x: { backend: 'a', schema, omit: ['id'] }, y: { backend: 'b', schema, fallback: 0 } } }, { answers: { a: { id: 1, n: 2 }, b: { id: '1' } } })
  const { value } = await ask()
  t.match(value, { x: { n: 2 }, y: 0 })
  t.same(states(value), { x: ['ok', undefined], y: ['fallback', 'RP_ERR_PART_SCHEMA'] })
})

t.test('a wrong parameter of the client gives the same answer whoever is quick', async t => {
  const answers: string[] = []
  for (const order of [['a', 'b'], ['b', 'a']]) {
    const { backends, until, asked } = await startBackends(t, { a: HOLD, b: HOLD })
    const { port } = await startGateway(t, { backends }, app => {
      app.get('/c/:id', { composite: { parts: { user: { backend: 'a', path: '/user' }, x: { backend: 'c', path: '/x/:id', needs: ['user'] }, y: { backend: 'b', path: '/y', required: true } } } }, app.reverseproxy.handler)
    })
    const told = rawRequest(port, get('/c/%2e%2e'))
    await Promise.race([until(2), told])
    for (const name of order) {
      asked.find(({ backend }) => backend === name)?.answer(name === 'a' ? {} : status(500))
      await sleep(20)
    }
    answers.push(String((await told).status))
  }
  t.equal(answers[0], answers[1])
})
