/** Wrong composites: each is refused with the path, the rule and the value. */
import t from 'tap'
import { parseComposite, parseOptions } from '../../../lib/options/index.ts'
import { parseConfigText } from '../../../lib/config-file.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }

/** A route with this composite; paths of problems are below it. */
const whole = (composite: unknown) => ({ backends, routes: [{ path: '/x/:id', composite }] })
const short = (options: object) => whole({ backends: ['users', 'orders'], ...options })
const parts = (options: object, rest: object = {}) => whole({ parts: { user: { backend: 'users' }, orders: { backend: 'orders', ...options } }, ...rest })
const fn = () => ({})
const date = new Date(0)

const WRONG: readonly Wrong[] = [
  // the shape
  ['a composite that is no object', whole('users'), '', /must be an object/, 'users'],
  ['neither backends nor parts', whole({}), '', /exactly one of backends, parts/, {}],
  ['backends and parts', whole({ backends: ['users'], parts: { user: { backend: 'users' } } }), '', /exactly one of backends, parts/, { backends: ['users'], parts: { user: { backend: 'users' } } }],
  ['an unknown option', short({ strateggy: 'merge' }), 'strateggy', /is not an option; did you mean "strategy"\?/, 'merge'],
  ['an option of a part', short({ fallback: {} }), 'fallback', /it is an option of a part/, {}],
  ['an unknown option of a part', parts({ pth: '/' }), 'parts.orders.pth', /is not an option; did you mean "path"\?/, '/'],
  ['url in place of path', parts({ url: '/' }), 'parts.orders.url', /did you mean "path"/, '/'],
  // backends and parts
  ['no backends', whole({ backends: [] }), 'backends', /must not be empty/, []],
  ['a backend as a text', whole({ backends: 'users' }), 'backends', /must be a list/, 'users'],
  ['an unknown backend', whole({ backends: ['users', 'order'] }), 'backends[1]', /must be the name of a backend; known are users, orders; did you mean "orders"\?/, 'order'],
  ['a backend twice', whole({ backends: ['users', 'users'] }), 'backends[1]', /must not be listed twice/, 'users'],
  ['no parts', whole({ parts: {} }), 'parts', /must not be empty/, {}],
  ['parts as a list', whole({ parts: [{ backend: 'users' }] }), 'parts', /must be an object/, [{ backend: 'users' }]],
  ['a part that is no object', whole({ parts: { user: 'users' } }), 'parts.user', /must be an object/, 'users'],
  ['a part to an unknown backend', parts({ backend: 'nobody' }), 'parts.orders.backend', /must be the name of a backend; known are users, orders/, 'nobody'],
  ['a part without a backend', whole({ parts: { user: {} } }), 'parts.user.backend', /is required, as there is no defaultBackend/],
  ['a part called request', whole({ parts: { request: { backend: 'users' } } }), 'parts.request', /templates mean something else/, 'request'],
  ['a part called items', whole({ parts: { items: { backend: 'users' } } }), 'parts.items', /templates mean something else/, 'items'],
  ['a part called constructor', whole({ parts: { constructor: { backend: 'users' } } }), 'parts.constructor', /must not be used as a name/, 'constructor'],
  ['a part with a dot in its name', whole({ parts: { 'a.b': { backend: 'users' } } }), 'parts["a.b"]', /must be a name of letters/, 'a.b'],
  ['a part that begins with a digit', whole({ parts: { '1a': { backend: 'users' } } }), 'parts["1a"]', /must be a name of letters/, '1a'],
  // strategies
  ['an unknown strategy', short({ strategy: 'merg' }), 'strategy', /must be the name of a strategy; known are merge, object, append, select, sequential; did you mean "merge"\?/, 'merg'],
  ['conflict of another strategy', short({ strategy: 'append', conflict: 'first' }), 'conflict', /is for the strategy merge; here it is "append"/, 'first'],
  ['conflict with parts', parts({}, { conflict: 'last' }), 'conflict', /is for the strategy merge; here it is "object"/, 'last'],
  ['an unknown conflict policy', short({ conflict: 'deeep' }), 'conflict', /one of "last", "first", "deep", "error"; did you mean "deep"\?/, 'deeep'],
  ['race of another strategy', short({ race: true }), 'race', /is for the strategy select; here it is "merge"/, true],
  ['onMismatch of another strategy', short({ strategy: 'select', onMismatch: 'skip' }), 'onMismatch', /is for the strategy merge or append; here it is "select"/, 'skip'],
  ['meta in a list', short({ strategy: 'append', meta: true }), 'meta', /needs an object/, true],
  ['meta in what one part answered', short({ strategy: 'sequential', meta: true }), 'meta', /needs an object/, true],
  ['conflict beside transform', short({ transform: fn, conflict: 'deep' }), 'conflict', /does nothing beside transform/, 'deep'],
  ['a transform that is no function', short({ transform: 'x' }), 'transform', /must be a function/, 'x'],
  ['onMissing in the short form', short({ onMissing: 'skip' }), 'onMissing', /does nothing in the short form/, 'skip'],
  // limits
  ['a timeout that is none', short({ timeout: 'soon' }), 'timeout', /must be a duration/, 'soon'],
  ['a timeout in parts', short({ timeout: { total: '1s' } }), 'timeout', /must be a duration/, { total: '1s' }],
  ['another status', short({ partialStatus: 207 }), 'partialStatus', /must be 200 or 206/, 207],
  ['no bytes', short({ maxPartBytes: 0 }), 'maxPartBytes', /must be a size above 0/, 0],
  ['parts larger than the whole', short({ maxPartBytes: '9mb' }), 'maxPartBytes', /must not be more than the composite's maxBytes \(8mb\)/, '9mb'],
  ['a part larger than the whole', parts({ maxBytes: '2kb' }, { maxBytes: '1kb' }), 'parts.orders.maxBytes', /must not be more than the composite's maxBytes \(1kb\)/, '2kb'],
  ['no depth', short({ maxDepth: 0 }), 'maxDepth', /must be a whole number between 1 and 1000/, 0],
  ['half a call', short({ maxCalls: 0.5 }), 'maxCalls', /must be a whole number of 1 or more/, 0.5],
  ['a body limit that is none', short({ bodyLimit: 'much' }), 'bodyLimit', /must be a size/, 'much'],
  // headers of the whole
  ['headers of a part that is not there', short({ headers: { from: 'user' } }), 'headers.from', /must be the name of a part; known are users, orders; did you mean "users"\?/, 'user'],
  ['cookies by an unknown word', short({ headers: { setCookie: 'every' } }), 'headers.setCookie', /must be the name of a part, "all" or "none"; known are all, none, users, orders/, 'every'],
  ['the wrong word for caching', short({ headers: { cacheControl: 'all' } }), 'headers.cacheControl', /must be the name of a part, "strictest" or "none"/, 'all'],
  ['a wrong word for Vary', short({ headers: { vary: 'unoin' } }), 'headers.vary', /did you mean "union"\?/, 'unoin'],
  ['server timing as a text', short({ headers: { serverTiming: 'yes' } }), 'headers.serverTiming', /must be true or false/, 'yes'],
  ['framing in the answer', short({ headers: { response: { set: { 'content-length': '1' } } } }), 'headers.response.set.content-length', /frames its messages itself/, 'content-length'],
  ['a header of the requests with a space', short({ headers: { request: { remove: ['x a'] } } }), 'headers.request.remove[0]', /must be a header name/, 'x a'],
  ['forward in the answer', short({ headers: { response: { forward: '*' } } }), 'headers.response.forward', /is not an option/, '*'],
  ['an error handler that is none', short({ errorHandler: {} }), 'errorHandler', /must be a function/, {}],
  // what a part asks for
  ['a path without a slash', parts({ path: 'orders' }), 'parts.orders.path', /must start with "\/"/, 'orders'],
  ['a path that climbs', parts({ path: '/a/../b' }), 'parts.orders.path', /climbs/, '/a/../b'],
  ['a path with a fragment', parts({ path: '/a#b' }), 'parts.orders.path', /must not have a fragment/, '/a#b'],
  ['a path with a foreign parameter', parts({ path: '/a/:name' }), 'parts.orders.path', /":name" is not in \/x\/:id/, '/a/:name'],
  ['a method in lower case', parts({ method: 'get' }), 'parts.orders.method', /upper case/, 'get'],
  ['CONNECT', parts({ method: 'CONNECT' }), 'parts.orders.method', /must not be CONNECT or TRACE/, 'CONNECT'],
  ['another word for the query', parts({ query: 'clients' }), 'parts.orders.query', /must be "client".*did you mean "client"|must be "client"/, 'clients'],
  ['an object in the query', parts({ query: { a: { b: 1 } } }), 'parts.orders.query.a', /must be a text, a number, true or false, or a list of those/, { b: 1 }],
  ['null in the query', parts({ query: { a: [null] } }), 'parts.orders.query.a[0]', /must be a text, a number, true or false/, null],
  ['a number as a header', parts({ headers: { set: { 'x-a': 1 } } }), 'parts.orders.headers.set.x-a', /must be a text \(numbers need quotes\)/, 1],
  ['Host of a part', parts({ headers: { set: { host: 'x' } } }), 'parts.orders.headers.set.host', /must not name Host/, 'host'],
  ['a header set and removed', parts({ headers: { set: { 'x-a': 'b' }, remove: ['X-A'] } }), 'parts.orders.headers.remove[0]', /does nothing beside set/, 'X-A'],
  ['rename of a part', parts({ headers: { rename: { a: 'b' } } }), 'parts.orders.headers.rename', /is not an option; (?:did you mean|known are set, remove)/, { a: 'b' }],
  ['request headers a level too deep', parts({ headers: { request: {} } }), 'parts.orders.headers.request', /a part says "set" and "remove" here/, {}],
  ['a function within a body', parts({ body: { a: [fn] } }), 'parts.orders.body.a[0]', /must be JSON data/, fn],
  ['a date within a body', parts({ body: { at: date } }), 'parts.orders.body.at', /must be JSON data/, date],
  ['not a number in a body', parts({ body: [NaN] }), 'parts.orders.body[0]', /must be JSON data/, NaN],
  ['a date as a body', parts({ body: date }), 'parts.orders.body', /must be "client" or JSON data/, date],
  ['a function as a fallback', parts({ fallback: fn }), 'parts.orders.fallback', /must be JSON data/, fn],
  ['a function within a fallback', parts({ fallback: { items: fn } }), 'parts.orders.fallback.items', /must be JSON data/, fn],
  // when and how a part runs
  ['a connect timeout of a part', parts({ timeout: { connect: 1 } }), 'parts.orders.timeout.connect', /set timeout\.connect on the backend/, 1],
  ['a part with more time than the whole', parts({ timeout: '31s' }), 'parts.orders.timeout', /must not be longer than the composite's timeout \(30s\)/, '31s'],
  ['a part with more silence than the whole', parts({ timeout: { idle: 6_000 } }, { timeout: '5s' }), 'parts.orders.timeout.idle', /must not be longer than the composite's timeout \(5s\)/, 6_000],
  ['required as a text', parts({ required: 'yes' }), 'parts.orders.required', /must be true or false/, 'yes'],
  ['a need that is no part', parts({ needs: ['usr'] }), 'parts.orders.needs[0]', /must be the name of a part; known are user; did you mean "user"\?/, 'usr'],
  ['a part that needs itself', parts({ needs: ['orders'] }), 'parts.orders.needs[0]', /must not be the part itself/, 'orders'],
  ['a need twice', parts({ needs: ['user', 'user'] }), 'parts.orders.needs[1]', /must not be listed twice/, 'user'],
  ['a need as a text', parts({ needs: 'user' }), 'parts.orders.needs', /must be a list/, 'user'],
  ['a condition of two kinds', parts({ when: { value: '{user.body.a}', equals: 1, not: 2 } }), 'parts.orders.when', /exactly one of equals, not, in, exists/, { value: '{user.body.a}', equals: 1, not: 2 }],
  ['a condition without a value', parts({ when: { equals: 1 } }), 'parts.orders.when.value', /is required/],
  ['no conditions', parts({ when: [] }), 'parts.orders.when', /must not be empty/, []],
  ['a function among conditions', parts({ when: [fn] }), 'parts.orders.when[0]', /must be a text such as/, fn],
  ['one of nothing', parts({ when: { value: '{user.body.a}', in: [] } }), 'parts.orders.when.in', /must not be empty/, []],
  ['forEach of a list itself', parts({ forEach: [1, 2] }), 'parts.orders.forEach', /must be a text such as/, [1, 2]],
  ['forEach without a list', parts({ forEach: { max: 5 } }), 'parts.orders.forEach.in', /is required/],
  ['forEach without calls', parts({ forEach: { in: '{user.body.a}', concurrency: 0 } }), 'parts.orders.forEach.concurrency', /must be a whole number of 1 or more/, 0],
  ['batches of nothing', parts({ forEach: { in: '{user.body.a}', batch: 0 } }), 'parts.orders.forEach.batch', /must be a whole number of 1 or more/, 0],
  ['several at once of one call', parts({ forEach: { in: '{user.body.a}', batch: true, concurrency: 2 } }), 'parts.orders.forEach.concurrency', /does nothing beside batch: true/, 2],
  ['a join without a place', parts({ forEach: { in: '{user.body.a}', join: { on: 'id' } } }), 'parts.orders.forEach.join.as', /is required/],
  ['a key of single calls', parts({ forEach: { in: '{user.body.a}', join: { on: 'id', as: 'x', key: 'id' } } }), 'parts.orders.forEach.join.key', /is for batch only/, 'id'],
  ['an unknown word for onMissing', parts({ onMissing: 'ignore' }), 'parts.orders.onMissing', /one of "skip", "fail"/, 'ignore'],
  ['no redirects to follow', parts({ redirects: { follow: 0 } }), 'parts.orders.redirects.follow', /must be a whole number between 1 and 100/, 0],
  // what is made of its body
  ['a schema that is none', parts({ schema: 'object' }), 'parts.orders.schema', /must be an object/, 'object'],
  ['a target with a hole', parts({ target: 'data..items' }), 'parts.orders.target', /must be the name of a property, or a path/, 'data..items'],
  ['nothing to pick', parts({ pick: [] }), 'parts.orders.pick', /must not be empty/, []],
  ['a pick as a text', parts({ pick: 'id' }), 'parts.orders.pick', /must be a list/, 'id'],
  ['a pick twice', parts({ pick: ['id', 'id'] }), 'parts.orders.pick[1]', /must not be listed twice/, 'id'],
  ['an omit through a prototype', parts({ omit: ['a.__proto__.b'] }), 'parts.orders.omit[0]', /must not lead through __proto__/, 'a.__proto__.b'],
  ['a rename to nothing', parts({ rename: { a: '' } }), 'parts.orders.rename.a', /must be the name of a property/, ''],
  ['a group that is a prototype', parts({ group: '__proto__' }), 'parts.orders.group', /must be the name of a property/, '__proto__'],
  ['an unknown word for onEmpty', parts({ onEmpty: 'null' }), 'parts.orders.onEmpty', /one of "allow", "skip", "fail"/, 'null'],
  ['an unknown word for nonJson', parts({ nonJson: 'html' }), 'parts.orders.nonJson', /one of "fail", "text", "base64", "skip"/, 'html'],
  ['a size of a part that is none', parts({ maxBytes: -1 }), 'parts.orders.maxBytes', /must be a size above 0/, -1]
]

t.test('every wrong composite is refused with the path, the rule and the value', async t => {
  for (const [name, options, path, rule, value] of WRONG) {
    checkWrong(t, [name, options, path === '' ? 'routes[0].composite' : `routes[0].composite.${path}`, rule, value])
  }
})

t.test('a route has a proxy or a composite', async t => {
  const both = { path: '/', proxy: 'users', composite: { backends: ['users'] } }
  t.match(problemsOf(() => parseOptions({ backends, routes: [both] })), [{ path: 'routes[0]', rule: /exactly one of proxy, composite/, value: both }])
})

t.test('a composite by itself names the place it was given', async t => {
  const context = { routePath: '/x/:id', backends: ['users'], strategies: ['mine'] }
  t.match(problemsOf(() => parseComposite({ backends: ['nobody'], strategy: 'mina' }, 'route /x: composite', context)), [
    { path: 'route /x: composite.backends[0]', value: 'nobody' },
    { path: 'route /x: composite.strategy', rule: /sequential, mine; did you mean "mine"\?/, value: 'mina' }
  ])
  t.match(problemsOf(() => parseComposite({ parts: { user: { path: '/:x' } } }, 'composite', { ...context, defaultBackend: 'users' })), [{ path: 'composite.parts.user.path', value: '/:x' }])
  t.same(problemsOf(() => parseComposite({ backends: ['anybody'] }, 'composite')), [], 'backends that are not known are not looked at')
})

t.test('templates are looked at beside whatever else is wrong elsewhere', async t => {
  const wrong = [{ path: '/a', composite: { parts: { user: { backend: 'users', path: '/{nobody.body.id}' } } } }, { path: '/b', proxy: 'nobody' }]
  t.same(problemsOf(() => parseOptions({ backends, routes: wrong })).map(({ path }) => path), ['routes[0].composite.parts.user.path', 'routes[1].proxy'])
})

t.test('strategies are functions with names of their own', async t => {
  t.match(problemsOf(() => parseOptions({ strategies: { mine: {} } })), [{ path: 'strategies.mine', rule: /must be a function/, value: {} }])
  t.match(problemsOf(() => parseOptions({ strategies: { merge: fn } })), [{ path: 'strategies.merge', rule: /must have a name of its own/, value: 'merge' }])
  t.match(problemsOf(() => parseOptions({ backends, strategies: { mine: fn }, routes: [{ path: '/', composite: { backends: ['users'], strategy: 'mine', transform: fn } }] })), [
    { path: 'routes[0].composite.transform', rule: /must not stand beside the strategy "mine"/, value: fn }
  ])
})

t.test('a backend called __proto__ is no part', async t => {
  t.match(problemsOf(() => parseComposite({ backends: ['__proto__'] }, 'composite')), [{ path: 'composite.backends[0]', rule: 'must not be used as a name', value: '__proto__' }])
})

t.test('a name __proto__ in a body pollutes nothing', async t => {
  const options: unknown = JSON.parse('{"parts":{"user":{"body":{"__proto__":{"polluted":1}}}}}')
  t.match(problemsOf(() => parseComposite(options, 'composite')), [{ path: 'composite.parts.user.body.__proto__', rule: 'must not be used as a name' }])
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('a wrong composite of a file has a line and a column', async t => {
  const text = 'backends: { users: http://a }\nroutes:\n  - path: /\n    composite:\n      parts:\n        user: { backend: users, needs: [boss] }\n'
  t.throws(() => parseConfigText(text, { path: 'gateway.yaml', env: {} }), { message: /gateway\.yaml:6:\d+ +routes\[0\]\.composite\.parts\.user\.needs\[0\]: must be the name of a part; there are none \(got "boss"\)/ })
  t.throws(() => parseConfigText('strategies: {}', { path: 'gateway.yaml', env: {} }), { message: /strategies of your own are functions/ })
})
