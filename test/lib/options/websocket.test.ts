/** The option `websocket` of a route: what it becomes, and what is refused. */
import t from 'tap'
import Fastify from 'fastify'
import reverseproxy, { serverOptions } from '../../../index.ts'
import { parseConfigText } from '../../../lib/config-file.ts'
import { parseOptions, parseProxy } from '../../../lib/options/index.ts'
import { problemsOf } from './problems.ts'

const websocketOf = (websocket: unknown) => parseProxy({ backend: 'a', websocket }, 'proxy').websocket

t.test('true is an object without options, false is nothing', async (t) => {
  const initial = { idleTimeout: 0, maxPayload: Infinity, origins: undefined, compression: 'pass', onOpen: undefined, onMessage: undefined, onClose: undefined }
  t.same(websocketOf(true), initial)
  t.same(websocketOf({}), initial)
  t.equal(websocketOf(false), undefined)
  t.equal(websocketOf(undefined), undefined)
  t.equal(parseProxy('a', 'proxy').websocket, undefined)
})

t.test('durations, sizes, origins and hooks', async (t) => {
  const [onOpen, onMessage, onClose] = [() => {}, () => {}, () => {}]
  t.same(websocketOf({ idleTimeout: '5m', maxPayload: '2kb', origins: ['https://*.Example.com:8443', 'a'], onOpen, onClose }), {
    idleTimeout: 300_000,
    maxPayload: 2048,
    origins: [{ scheme: 'https:', host: '.example.com', wildcard: true, port: '8443' }, { scheme: undefined, host: 'a', wildcard: false, port: undefined }],
    compression: 'off',
    onOpen,
    onMessage: undefined,
    onClose
  })
  t.match(websocketOf({ onMessage }), { maxPayload: 1_048_576, compression: 'off', onMessage })
})

t.test('a file may say it, too', async (t) => {
  const { gateway } = parseConfigText('backends: { a: http://a }\nroutes: [{ path: /ws, proxy: { backend: a, websocket: { idleTimeout: 1m, origins: ["*.example.com"] } } }]', { path: 'x.yaml', env: {} })
  t.match(parseOptions(gateway).routes[0]!.proxy!.websocket, { idleTimeout: 60_000, origins: [{ host: '.example.com' }] })
})

const WRONG: ReadonlyArray<readonly [name: string, websocket: unknown, path: string, rule: RegExp, value?: unknown]> = [
  ['a text', 'yes', '', /must be true, false or an object/, 'yes'],
  ['an unknown option', { idle: 1 }, '.idle', /is not an option/, 1],
  ['a negative idleTimeout', { idleTimeout: -1 }, '.idleTimeout', /must be a duration of 0 or more/, -1],
  ['a maxPayload of nothing', { maxPayload: 0 }, '.maxPayload', /must be a size above 0/, 0],
  ['a maxPayload that is none', { maxPayload: 'much' }, '.maxPayload', /must be a size/, 'much'],
  ['origins as a text', { origins: 'https://a' }, '.origins', /must be a list/, 'https://a'],
  ['no origins', { origins: [] }, '.origins', /must not be empty/, []],
  ['an origin with a path', { origins: ['https://a.example/x'] }, '.origins[0]', /must be an origin/, 'https://a.example/x'],
  ['an origin of another scheme', { origins: ['wss://a.example'] }, '.origins[0]', /must be an origin/, 'wss://a.example'],
  ['all origins as a star', { origins: ['*'] }, '.origins[0]', /must be an origin/, '*'],
  ['a star within a name', { origins: ['a.*.example'] }, '.origins[0]', /must be an origin/, 'a.*.example'],
  ['a compression that is none', { compression: 'on' }, '.compression', /must be .*"pass", "off"/, 'on'],
  ['compression beside maxPayload', { compression: 'pass', maxPayload: 1 }, '.compression', /must not be "pass" beside maxPayload/, 'pass'],
  ['compression beside onMessage', { compression: 'pass', onMessage () {} }, '.compression', /must not be "pass" beside onMessage/, 'pass'],
  ['an onOpen that is no function', { onOpen: 1 }, '.onOpen', /must be a function/, 1],
  ['an onMessage that is no function', { onMessage: true }, '.onMessage', /must be a function/, true],
  ['an onClose that is no function', { onClose: 'x' }, '.onClose', /must be a function/, 'x']
]

t.test('wrong values are refused, in options and in routes', async (t) => {
  for (const [name, websocket, path, rule, value] of WRONG) {
    const options = { backends: { a: 'http://a' }, routes: [{ path: '/', proxy: { backend: 'a', websocket } }] }
    for (const [base, problems] of [['routes[0].proxy', problemsOf(() => parseOptions(options))], ['route /: proxy', problemsOf(() => parseProxy({ backend: 'a', websocket }, 'route /: proxy'))]] as const) {
      t.same(problems.map(({ path }) => path), [`${base}.websocket${path}`], name)
      t.match(problems[0]!.rule, rule, name)
      t.same(problems[0]!.value, value, name)
    }
  }
})

t.test('a route that has no GET cannot have WebSockets', async (t) => {
  const routes = [{ path: '/', methods: ['POST'], proxy: { backend: 'a', websocket: true } }]
  t.match(problemsOf(() => parseOptions({ backends: { a: 'http://a' }, routes })), [{ path: 'routes[0].proxy.websocket', rule: /needs the method GET/ }])
  t.doesNotThrow(() => parseOptions({ backends: { a: 'http://a' }, routes: [{ ...routes[0], methods: 'GET' }] }))
  const app = Fastify({ ...serverOptions })
  await app.register(reverseproxy, { backends: { a: 'http://a' } })
  t.throws(() => app.post('/x', { proxy: { backend: 'a', websocket: true } }, app.reverseproxy.handler), { code: 'RP_ERR_OPTIONS', message: /route \/x: proxy\.websocket: needs a route for GET/ })
  t.doesNotThrow(() => app.get('/y', { proxy: { backend: 'a', websocket: true }, exposeHeadRoute: true }, app.reverseproxy.handler))
  await app.close()
})
