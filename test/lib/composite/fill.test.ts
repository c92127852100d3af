/** Templates filled in: targets, queries, texts and bodies, from a scope without a server. */
import t from 'tap'
import fc from 'fast-check'
import { jsonOf, parseJson, textOf } from '../../../lib/combine/index.ts'
import { createBodyFill, createQueryFill, createReferenceFill, createTargetFill, createTextFill, parameter, pathOf } from '../../../lib/composite/fill.ts'
import { MissingValue } from '../../../lib/composite/values.ts'
import type { Scope } from '../../../lib/composite/values.ts'

const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

interface Told { params?: object, query?: object, headers?: object, url?: string, client?: string, user?: string, status?: number, partHeaders?: Record<string, string | string[]>, item?: unknown }

function scopeOf ({ params = {}, query = {}, headers = {}, url = '/c/7', client, user = '{}', status = 200, partHeaders = {}, item }: Told = {}): Scope {
  const json = user === '' ? undefined : parseJson(Buffer.from(user), 100)
  return {
    request: { params, query, headers, raw: { url } } as unknown as Scope['request'],
    part: () => ({ status, headers: partHeaders, json }),
    requestBody: () => client === undefined ? undefined : parseJson(Buffer.from(client), 100),
    item: item === undefined ? undefined : jsonOf(item)
  }
}

t.test('a target without templates is made once', async t => {
  t.equal(createTargetFill('/a?b=c')(scopeOf()), '/a?b=c')
})

t.test('a value is one segment, whatever is in it', async () => {
  const fill = createTargetFill('/u/{user.body.v}')
  fc.assert(fc.property(fc.string({ unit: 'grapheme', minLength: 1 }).filter(text => text !== '.' && text !== '..' && isWellFormed(text)), text => {
    const target = fill(scopeOf({ user: JSON.stringify({ v: text }) }))
    const segments = target.split('/')
    return segments.length === 3 && /^[\x21-\x7e]+$/.test(target) && !/[?#]/.test(target) && decodeURIComponent(segments[2]!) === text
  }))
})

t.test('a value is one parameter of a query, whatever is in it', async () => {
  const fill = createQueryFill({ v: '{user.body.v}', w: 1 })
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }).filter(isWellFormed), text => {
    const query = new URLSearchParams(fill(scopeOf({ user: JSON.stringify({ v: text }) })))
    return query.get('v') === text && query.get('w') === '1' && [...query].length === 2
  }))
})

for (const value of ['', '.', '..']) {
  t.test(`${JSON.stringify(value)} is no segment`, async t => {
    t.throws(() => createTargetFill('/u/{user.body.v}')(scopeOf({ user: JSON.stringify({ v: value }) })), { code: 'RP_ERR_PART_INPUT' })
    t.equal(createTargetFill('/u?q={user.body.v}')(scopeOf({ user: JSON.stringify({ v: value }) })), `/u?q=${value}`, 'but a value of a query')
  })
}

t.test('two values that make a climb together are refused', async t => {
  t.throws(() => createTargetFill('/u/.{user.body.v}')(scopeOf({ user: '{"v":"."}' })), { code: 'RP_ERR_PART_INPUT' })
  t.throws(() => createTargetFill('/u/:id')(scopeOf({ params: { id: '..' }, url: '/c/..' })), { code: 'RP_ERR_BAD_PATH' })
})

t.test('a lone surrogate has no bytes', async t => {
  t.throws(() => createTargetFill('/{user.body.v}')(scopeOf({ user: '{"v":"\\ud800"}' })), { code: 'RP_ERR_PART_INPUT' })
  t.throws(() => createQueryFill({ v: '{user.body.v}' })(scopeOf({ user: '{"v":"\\ud800"}' })), { code: 'RP_ERR_PART_INPUT' })
})

t.test('missing and null values are missing, and say which', async t => {
  for (const user of ['{}', '{"v":null}', '']) t.throws(() => createTargetFill('/{user.body.v}')(scopeOf({ user })), new MissingValue('user.body.v'), user)
  t.throws(() => createTextFill('a {user.headers.x}')(scopeOf()), new MissingValue('user.headers.x'))
  t.throws(() => createBodyFill({ a: ['{item.x}'] })(scopeOf({ item: {} })), new MissingValue('item.x'))
})

t.test('in query and headers, what the client did not send is left out', async t => {
  t.equal(createTextFill('a {request.query.x}')(scopeOf()), undefined)
  t.equal(createTextFill('a {request.headers.x}')(scopeOf({ headers: { x: '1' } })), 'a 1')
  t.equal(createQueryFill({ a: '{request.query.x}', b: ['{request.query.y}', 2] })(scopeOf({ query: { y: ['1', '2'] } })), 'b=1&b=2&b=2')
})

t.test('inherited names are no values', async t => {
  for (const name of ['toString', 'constructor', '__proto__', 'hasOwnProperty']) {
    t.equal(createReferenceFill(`{request.query.${name}}`)(scopeOf()), undefined)
    t.equal(createReferenceFill(`{request.headers.${name.toLowerCase()}}`)(scopeOf()), undefined)
    t.equal(createReferenceFill(`{user.headers.${name.toLowerCase()}}`)(scopeOf()), undefined)
    t.equal(createReferenceFill(`{user.body.${name}}`)(scopeOf()), undefined)
  }
})

t.test('header values of several lines are a list', async t => {
  const scope = scopeOf({ partHeaders: { 'set-cookie': ['a=1', 'b=2'] } })
  t.equal(createQueryFill({ c: '{user.headers.Set-Cookie}' })(scope), 'c=a%3D1&c=b%3D2')
})

t.test('a body keeps types and digits of lone references; within a text they are text', async t => {
  const user = '{"big":12345678901234567890,"f":1.10,"o":{"a" : [1.0]},"t":"\\u00e9\\n","b":false}'
  const fill = createBodyFill({ big: '{user.body.big}', f: '{user.body.f}', o: '{user.body.o}', t: '{user.body.t}', b: '{user.body.b}', text: '{user.body.f}-{user.body.b}-{user.body.t}', s: '{user.status}', p: ':id', n: null, x: [1, 'y'] })
  t.equal(textOf(fill(scopeOf({ user, params: { id: '7' } }))), '{"big":12345678901234567890,"f":1.10,"o":{"a" : [1.0]},"t":"\\u00e9\\n","b":false,"text":"1.10-false-é\\n","s":200,"p":"7","n":null,"x":[1,"y"]}')
})

t.test('a body of fixed JSON is itself', async () => {
  fc.assert(fc.property(fc.jsonValue().filter(value => !/[{}:]/.test(JSON.stringify(value).replace(/"(?=[\s:,}\]])|[{}]|":/g, '')) && JSON.stringify(value).match(/"[^"]*[{}:]/) === null), value => textOf(createBodyFill(value)(scopeOf())) === JSON.stringify(value)))
})

t.test('an object or a list has no text', async t => {
  t.throws(() => createTextFill('x{user.body.o}')(scopeOf({ user: '{"o":{}}' })), { code: 'RP_ERR_PART_INPUT' })
  t.throws(() => createBodyFill('x{user.body.o}')(scopeOf({ user: '{"o":[]}' })), { code: 'RP_ERR_PART_INPUT' })
  t.throws(() => createTargetFill('/{user.body.o}')(scopeOf({ user: '{"o":{}}' })), { code: 'RP_ERR_PART_INPUT' })
  t.throws(() => createTargetFill('/{user.body.o}')(scopeOf({ user: '{"o":[[1]]}' })), { code: 'RP_ERR_PART_INPUT' })
})

t.test('paths into the client\'s body, the item and the items', async t => {
  t.equal(createTargetFill('/{request.body.a[1]}')(scopeOf({ client: '{"a":[1,2.50]}' })), '/2.50')
  t.equal(createTargetFill('/{item.id}/{item.tags}')(scopeOf({ item: { id: 1, tags: ['x', 'y/z'] } })), '/1/x,y%2Fz')
  t.equal(createQueryFill({ ids: '{items}', first: '{items[0]}' })(scopeOf({ item: [3, 'b'] })), 'ids=3&ids=b&first=3')
})

t.test('parameter encodes its value, and pathOf is what comes before the question mark', async t => {
  t.equal(parameter('k', 'a&b=c d+é'), 'k=a%26b%3Dc%20d%2B%C3%A9')
  t.same([pathOf('/a?b?c'), pathOf('/a'), pathOf('?')], ['/a', '/a', ''])
})
