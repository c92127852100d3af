/** Wrong configurations: each is refused with the path, the rule and the value. */
import t from 'tap'
import { parseBackend, parseOptions, parseProxy, parseTarget } from '../../../lib/options/index.ts'
import { checkWrong, problemsOf, type Wrong } from './problems.ts'

const backends = { users: 'http://127.0.0.1:4001', orders: 'http://127.0.0.1:4002' }
const a = (options: object) => ({ backends: { a: { url: 'http://a', ...options } } })
const proxy = (options: object) => ({ backends, routes: [{ path: '/u/:id', proxy: { backend: 'users', ...options } }] })
const route = (options: object) => ({ backends, routes: [{ path: '/', proxy: 'users', ...options }] })
const set = (name: string, value: unknown = 'x') => ({ headers: { request: { set: { [name]: value } } } })
const KEY = '-----BEGIN PRIVATE KEY-----\nsecret'

const WRONG: readonly Wrong[] = [
  // the shape
  ['options that are no object', 'x', '', /must be an object/, 'x'],
  ['an unknown option', { backend: {} }, 'backend', /is not an option; did you mean "backends"\?/, {}],
  ['an option of the file only', { server: {} }, 'server', /is not an option/, {}],
  ['an option that is not there yet', a({ mirror: false }), 'backends.a.mirror', /is not an option; known are url, targets/, false],
  ['via at the wrong level', { via: 'x' }, 'via', /did you mean "headers\.via"/, 'x'],
  ['backends as a list', { backends: ['http://a'] }, 'backends', /must be an object/, ['http://a']],
  // backends and targets
  ['a backend without targets', { backends: { a: {} } }, 'backends.a', /exactly one of url, targets/, {}],
  ['a backend with a URL and targets', { backends: { a: { url: 'http://a', targets: ['http://b'] } } }, 'backends.a', /exactly one of url, targets/, { url: 'http://a', targets: ['http://b'] }],
  ['an empty list of targets', { backends: { a: [] } }, 'backends.a', /must not be empty/, []],
  ['a backend of the wrong type', { backends: { a: 5 } }, 'backends.a', /must be a URL, a list of targets, or an object/, 5],
  ['a backend name with a space', { backends: { 'a b': 'http://a' } }, 'backends["a b"]', /must be a name without spaces/, 'a b'],
  ['another scheme', { backends: { a: 'ftp://a' } }, 'backends.a', /must be a URL with http:\/\//, 'ftp://a'],
  ['a URL with a password', { backends: { a: 'http://u:secret@a' } }, 'backends.a', /user name or password/, 'http://[redacted]@a'],
  ['a URL with a query', { backends: { a: 'http://a/?x=1' } }, 'backends.a', /must not have a query/, 'http://a/?x=1'],
  ['a URL with a fragment', { backends: { a: 'http://a/#x' } }, 'backends.a', /must not have a fragment/, 'http://a/#x'],
  ['a URL that climbs', { backends: { a: 'http://a/b/../c' } }, 'backends.a', /dot segments/, 'http://a/b/../c'],
  ['a URL that is none', { backends: { a: 'http://a:99999' } }, 'backends.a', /must be a valid URL/, 'http://a:99999'],
  ['a relative socket', { backends: { a: 'unix://run/app.sock' } }, 'backends.a', /must be unix:\/\/\/path/, 'unix://run/app.sock'],
  ['a socket with too long a path', { backends: { a: `unix:///${'r'.repeat(100)}/up.sock:/base` } }, 'backends.a', /must have a path of at most 107 bytes/, `unix:///${'r'.repeat(100)}/up.sock:/base`],
  ['the same target twice', { backends: { a: ['http://a', 'http://a:80/'] } }, 'backends.a[1]', /must not be a target twice/, 'http://a'],
  ['a negative weight', { backends: { a: [{ url: 'http://a', weight: -1 }] } }, 'backends.a[0].weight', /must be a number of 0 or more/, -1],
  ['an infinite weight', { backends: { a: [{ url: 'http://a', weight: Infinity }] } }, 'backends.a[0].weight', /must be a number of 0 or more/, Infinity],
  ['half a connection', { backends: { a: [{ url: 'http://a', maxConnections: 0.5 }] } }, 'backends.a[0].maxConnections', /must be a whole number of 1 or more/, 0.5],
  ['active as a text', { backends: { a: [{ url: 'http://a', active: 'yes' }] } }, 'backends.a[0].active', /must be true or false/, 'yes'],
  ['a target without a URL', { backends: { a: [{ weight: 1 }] } }, 'backends.a[0].url', /is required/],
  ['an unknown balancer', a({ balancer: 'round-robbin' }), 'backends.a.balancer', /must be the name of a balancer.*did you mean "round-robin"/, 'round-robbin'],
  ['hash without a key', a({ balancer: 'hash' }), 'backends.a.balancer.key', /is required for "hash"/],
  ['hash with two keys', a({ balancer: { type: 'hash', key: { header: 'a', cookie: 'b' } } }), 'backends.a.balancer.key', /exactly one of header, cookie, query/, { header: 'a', cookie: 'b' }],
  ['an option the balancer does not have', a({ balancer: { type: 'random', key: 'ip' } }), 'backends.a.balancer.key', /is not an option of the balancer "random"/, 'ip'],
  ['no connections', a({ pool: { connections: 0 } }), 'backends.a.pool.connections', /must be a whole number of 1 or more/, 0],
  ['two connect timeouts', a({ pool: { connectTimeout: 1 }, timeout: { connect: 2 } }), 'backends.a.pool.connectTimeout', /must be what timeout\.connect says/, 1],
  ['a certificate without its key', a({ tls: { cert: '-----BEGIN CERTIFICATE-----' } }), 'backends.a.tls.key', /is required beside cert/],
  ['a path in place of PEM', a({ tls: { ca: './ca.pem' } }), 'backends.a.tls.ca', /must be PEM text or a Buffer/, './ca.pem'],
  ['a key that is never shown', a({ tls: { key: 5, cert: KEY } }), 'backends.a.tls.key', /must be PEM text/, '(not shown)'],
  ['a key under a wrong name', a({ tls: { privateKey: KEY } }), 'backends.a.tls.privateKey', /is not an option/, '(not shown)'],
  ['a version of TLS that nobody speaks', a({ tls: { minVersion: 'TLSv1.1' } }), 'backends.a.tls.minVersion', /TLSv1\.2.*TLSv1\.3/, 'TLSv1.1'],
  ['another word for HTTP/2', a({ http2: 'h2' }), 'backends.a.http2', /must be true, false or "h2c"/, 'h2'],
  ['an HTTP proxy that is none', a({ httpProxy: 'proxy:3128' }), 'backends.a.httpProxy', /must be http:\/\/host:port/, '(not shown)'],
  ['an HTTP proxy over TLS', a({ httpProxy: 'https://proxy:3128' }), 'backends.a.httpProxy', /must be http:\/\/host:port/, '(not shown)'],
  ['an HTTP proxy with a path', a({ httpProxy: { url: 'http://proxy:3128/x' } }), 'backends.a.httpProxy.url', /must be http:\/\/host:port/, '(not shown)'],
  ['credentials in the URL of an HTTP proxy', a({ httpProxy: 'http://me:secret@proxy:3128' }), 'backends.a.httpProxy', /set username and password/, '(not shown)'],
  ['a password without a name', a({ httpProxy: { url: 'http://proxy:3128', password: 'secret' } }), 'backends.a.httpProxy.username', /is required beside password/],
  ['a password that is no text', a({ httpProxy: { url: 'http://proxy:3128', username: 'me', password: 5 } }), 'backends.a.httpProxy.password', /must be a text/, '(not shown)'],
  ['a host with a path', a({ host: 'a/b' }), 'backends.a.host', /"upstream", "preserve" or a host name/, 'a/b'],
  ['follow with no number', a({ redirects: { follow: 0 } }), 'backends.a.redirects.follow', /must be a whole number between 1 and 100/, 0],
  ['an unknown word for redirects', a({ redirects: 'fallow' }), 'backends.a.redirects', /must be "pass", "follow"/, 'fallow'],
  // times and sizes
  ['a negative duration', { timeout: -5 }, 'timeout', /must be a duration of 0 or more/, -5],
  ['a duration that is none', { timeout: 'soon' }, 'timeout', /must be a duration of 0 or more/, 'soon'],
  ['not a number', { timeout: { idle: NaN } }, 'timeout.idle', /must be a duration/, NaN],
  ['a duration longer than timers can be', { timeout: { total: '30 days' } }, 'timeout.total', /below 25 days/, '30 days'],
  ['an unknown timeout', { timeout: { header: '1s' } }, 'timeout.header', /did you mean "headers"/, '1s'],
  ['a size that is none', { limits: { body: '1 elephant' } }, 'limits.body', /must be a size/, '1 elephant'],
  ['no headers at all', { limits: { headerCount: 0 } }, 'limits.headerCount', /must be a whole number of 1 or more/, 0],
  // headers
  ['a header name with a space', set('x a'), 'headers.request.set["x a"]', /must be a header name/, 'x a'],
  ['a hop-by-hop header', set('Connection'), 'headers.request.set.Connection', /hop-by-hop/, 'Connection'],
  ['a Proxy- header', set('proxy-authorization'), 'headers.request.set.proxy-authorization', /hop-by-hop/, 'proxy-authorization'],
  ['framing', { headers: { response: { append: { 'content-length': '1' } } } }, 'headers.response.append.content-length', /frames its messages itself/, 'content-length'],
  ['Host among the headers', set('host'), 'headers.request.set.host', /use the option "host"/, 'host'],
  ['a line break in a value', set('x-a', 'a\r\nb: c'), 'headers.request.set.x-a', /no line breaks/, 'a\r\nb: c'],
  ['a number as a header value', set('x-a', 5), 'headers.request.set.x-a', /must be a text \(numbers need quotes\)/, 5],
  ['the same header in two cases', { headers: { request: { set: { 'x-a': '1', 'X-A': '2' } } } }, 'headers.request.set.X-A', /must not be there twice/, 'X-A'],
  ['a new name that is hop-by-hop', { headers: { request: { rename: { 'x-a': 'te' } } } }, 'headers.request.rename.x-a', /hop-by-hop/, 'te'],
  ['forward as a name', { headers: { request: { forward: 'accept' } } }, 'headers.request.forward', /must be "\*" or a list/, 'accept'],
  ['an unknown mode', { headers: { forwarded: { for: 'appendd' } } }, 'headers.forwarded.for', /one of "set", "append", "remove", "off"; did you mean "append"/, 'appendd'],
  ['a Via name with spaces', { headers: { via: 'a b' } }, 'headers.via', /without spaces/, 'a b'],
  ['Via of a backend', a({ headers: { via: 'x' } }), 'backends.a.headers.via', /Via is set globally/, 'x'],
  // routes
  ['an unknown default backend', { backends, defaultBackend: 'user' }, 'defaultBackend', /known are users, orders; did you mean "users"/, 'user'],
  ['a route to an unknown backend', route({ proxy: 'nobody' }), 'routes[0].proxy', /must be the name of a backend; known are users, orders/, 'nobody'],
  ['a route without a backend', route({ proxy: {} }), 'routes[0].proxy.backend', /is required, as there is no defaultBackend/],
  ['a route that goes nowhere', { backends, routes: [{ path: '/' }] }, 'routes[0]', /exactly one of proxy, composite/, { path: '/' }],
  ['a path without a slash', route({ path: 'api' }), 'routes[0].path', /must start with "\/"/, 'api'],
  ['a wildcard in the middle', route({ path: '/a/*/b' }), 'routes[0].path', /"\*" only at its end/, '/a/*/b'],
  ['a path with a query', route({ path: '/a?b=c' }), 'routes[0].path', /no query/, '/a?b=c'],
  ['a parameter without a name', route({ path: '/a/:' }), 'routes[0].path', /must name every parameter/, '/a/:'],
  ['a parameter twice', route({ path: '/:a/:a' }), 'routes[0].path', /parameter ":a" twice/, '/:a/:a'],
  ['an open parenthesis', route({ path: '/:a(' }), 'routes[0].path', /must close/, '/:a('],
  ['a wrong expression in a path', route({ path: '/:a(+)' }), 'routes[0].path', /regular expression/, '/:a(+)'],
  ['two routes of one name', { backends, routes: [{ name: 'r', path: '/a', proxy: 'users' }, { name: 'r', path: '/b', proxy: 'users' }] }, 'routes[1].name', /must not be the name of two routes/, 'r'],
  ['a method in lower case', route({ methods: ['get'] }), 'routes[0].methods[0]', /upper case/, 'get'],
  ['CONNECT', route({ methods: 'CONNECT' }), 'routes[0].methods', /must not be CONNECT or TRACE/, 'CONNECT'],
  ['TRACE', route({ methods: ['GET', 'TRACE'] }), 'routes[0].methods[1]', /must not be CONNECT or TRACE/, 'TRACE'],
  ['an unknown method', route({ methods: ['FETCH'] }), 'routes[0].methods[0]', /HTTP method that Node knows/, 'FETCH'],
  ['a method twice', route({ methods: ['GET', 'GET'] }), 'routes[0].methods[1]', /must not be listed twice/, 'GET'],
  ['method in place of methods', route({ method: 'GET' }), 'routes[0].method', /did you mean "methods"/, 'GET'],
  ['a host with a port', route({ host: 'a.example:8080' }), 'routes[0].host', /must not have a port/, 'a.example:8080'],
  ['a wildcard within a host', route({ host: 'a.*.example' }), 'routes[0].host', /must be a host name/, 'a.*.example'],
  ['a wrong host expression', route({ host: ['/(/'] }), 'routes[0].host[0]', /must be a regular expression/, '/(/'],
  ['a condition of two kinds', route({ headers: { a: { exact: 'a', prefix: 'b' } } }), 'routes[0].headers.a', /exactly one of exact, prefix, regex, exists, not/, { exact: 'a', prefix: 'b' }],
  ['a wrong expression in a condition', route({ query: { q: { not: { regex: '[' } } } }), 'routes[0].query.q.not.regex', /must be a regular expression/, '['],
  ['a condition with a number', route({ query: { q: 1 } }), 'routes[0].query.q', /must be a text \(numbers need quotes\)/, 1],
  // rewriting
  ['a prefix without a slash', proxy({ rewrite: { stripPrefix: 'api' } }), 'routes[0].proxy.rewrite.stripPrefix', /must start with "\/"/, 'api'],
  ['a prefix that climbs', proxy({ rewrite: { addPrefix: '/a/../b' } }), 'routes[0].proxy.rewrite.addPrefix', /climbs/, '/a/../b'],
  ['half a replacement', proxy({ rewrite: { replacePrefix: { from: '/a' } } }), 'routes[0].proxy.rewrite.replacePrefix.to', /is required/],
  ['a wrong expression', proxy({ rewrite: [{ regex: { pattern: '(', replacement: '/' } }] }), 'routes[0].proxy.rewrite[0].regex.pattern', /must be a regular expression: .*Unterminated group/, '('],
  ['a query in a replacement', proxy({ rewrite: { regex: { pattern: '^', replacement: '/?a' } } }), 'routes[0].proxy.rewrite.regex.replacement', /no query/, '/?a'],
  ['a template with a foreign parameter', proxy({ rewrite: { template: '/x/:name' } }), 'routes[0].proxy.rewrite.template', /":name" is not in \/u\/:id/, '/x/:name'],
  ['a template beside a prefix', proxy({ rewrite: { template: '/x', stripPrefix: '/u' } }), 'routes[0].proxy.rewrite.stripPrefix', /does nothing beside template/, '/u'],
  ['an unknown step', proxy({ rewrite: { stripprefix: '/u' } }), 'routes[0].proxy.rewrite.stripprefix', /did you mean "stripPrefix"/, '/u'],
  ['connect of a route', proxy({ timeout: { connect: 1 } }), 'routes[0].proxy.timeout.connect', /set timeout\.connect on the backend/, 1],
  ['a hook that is no function', proxy({ modifyRequest: 'x' }), 'routes[0].proxy.modifyRequest', /must be a function/, 'x'],
  ['a balancer that is no function', { balancers: { mine: {} } }, 'balancers.mine', /must be a function/, {}]
]

t.test('every wrong configuration is refused with the path, the rule and the value', async (t) => {
  for (const wrong of WRONG) checkWrong(t, wrong)
})

t.test('all problems come at once, and the message lists them', async (t) => {
  const problems = problemsOf(() => parseOptions({ backends: { a: { url: 'x', weight: 2 }, b: [{ url: 'http://b', weight: -1 }] }, defaultBackend: 'c', timeout: 'soon' }))
  t.same(problems.map(({ path }) => path), ['backends.a.url', 'backends.a.weight', 'backends.b[0].weight', 'timeout', 'defaultBackend'])
  t.throws(() => parseOptions({ backends: { b: [{ url: 'http://b', weight: -1 }] } }), { code: 'RP_ERR_OPTIONS', message: /backends\.b\[0\]\.weight: must be a number of 0 or more \(got -1\)/ })
})

t.test('a route\'s own option names the place it was given', async (t) => {
  const [problem] = problemsOf(() => parseProxy({ backend: 'a', rewrit: {} }, 'route /a: proxy'))
  t.match(problem, { path: 'route /a: proxy.rewrit', rule: /did you mean "rewrite"/ })
  const context = { routePath: '/a/:id', backends: ['users'] }
  t.same(problemsOf(() => parseProxy('nobody', 'proxy', context)).map(({ path }) => path), ['proxy'])
  t.same(problemsOf(() => parseProxy({ rewrite: { template: '/:x' } }, 'proxy', context)).map(({ path }) => path), ['proxy.backend', 'proxy.rewrite.template'])
  t.same(parseProxy({}, 'proxy', { ...context, defaultBackend: 'users' }).backend, undefined)
})

t.test('backends and targets of run time are held to the same rules', async (t) => {
  t.match(problemsOf(() => parseBackend(['http://a', 'http://a/'], {}, 'backends.x')), [{ path: 'backends.x[1]', rule: /twice/ }])
  t.match(problemsOf(() => parseBackend({ url: 'http://a', balancer: 'nope' }, {}, 'backends.x')), [{ path: 'backends.x.balancer', value: 'nope' }])
  t.match(problemsOf(() => parseTarget({ url: 'http://a', weight: 'x' }, 'target')), [{ path: 'target.weight', value: 'x' }])
})

t.test('equal connect timeouts in both places are one and the same', async t => {
  t.equal(parseOptions(a({ pool: { connectTimeout: '5s' }, timeout: { connect: 5000 } })).backends['a']?.timeout.connect, 5000)
})
