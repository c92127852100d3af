/** Options of the traffic dump: what they become, and what is refused. */
import t from 'tap'
import { resolve } from 'node:path'
import { parseConfigText } from '../../../lib/config-file.ts'
import { configFileSchema } from '../../../lib/json-schema.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import { checkWrong, problemsOf } from './problems.ts'

const DEFAULT = {
  directory: '/var/dumps',
  sampleRate: 0.1,
  routes: {},
  errorSampleRate: 0,
  maxBodySize: 65_536,
  maxFileSize: 104_857_600,
  maxFiles: 10,
  interval: undefined,
  queue: 8_388_608,
  clientAddress: true,
  redact: { headers: [], query: [], json: [], replaceDefaults: false }
}

t.test('there is none unless asked for, and only the folder must be said', async t => {
  t.equal(parseOptions({}).trafficDump, undefined)
  t.strictSame(parseOptions({ trafficDump: { directory: '/var/dumps' } }).trafficDump, DEFAULT)
})

t.test('what is said comes over the defaults', async t => {
  const { trafficDump } = parseOptions({
    trafficDump: { directory: 'd', sampleRate: 0, routes: { a: 1 }, errorSampleRate: 0.5, maxBodySize: 0, maxFileSize: '1mb', maxFiles: 3, interval: '1h', queue: '1mb', clientAddress: false, redact: { headers: ['X-Mine'], query: ['who'], json: ['$.a.b[*].c', 'ssn'], replaceDefaults: true } }
  })
  t.strictSame(trafficDump, {
    directory: resolve('d'), sampleRate: 0, routes: { a: 1 }, errorSampleRate: 0.5, maxBodySize: 0, maxFileSize: 1_048_576, maxFiles: 3, interval: 3_600_000, queue: 1_048_576, clientAddress: false, redact: { headers: ['x-mine'], query: ['who'], json: ['a.b.c', 'ssn'], replaceDefaults: true }
  })
})

t.test('a folder in a file starts from the folder of the file, also for a process that knows nothing of it', async t => {
  const { config, gateway } = parseConfigText('trafficDump: { directory: ./dumps, interval: 1d }', { path: '/etc/gw/gateway.yaml', env: {} })
  t.equal(config.trafficDump!.directory, '/etc/gw/dumps')
  t.equal(parseOptions(gateway).trafficDump!.directory, '/etc/gw/dumps')
})

t.test('intervals that fit', async t => {
  for (const interval of ['1s', '30s', '1m', '15m', '1h', '6h', '1d', '7d', 90_000 * 40]) t.same(problemsOf(() => parseOptions({ trafficDump: { directory: 'd', interval } })), [], String(interval))
})

const WRONG: ReadonlyArray<readonly [name: string, option: unknown, path: string, rule: RegExp, value?: unknown]> = [
  ['true', true, 'trafficDump', /must be an object/, true],
  ['no folder', {}, 'trafficDump.directory', /required/],
  ['an empty folder', { directory: ' ' }, 'trafficDump.directory', /must not be empty/, ' '],
  ['a path', { directory: 'd', path: 'x' }, 'trafficDump.path', /did you mean "directory"\?/, 'x'],
  ['a rate', { directory: 'd', rate: 1 }, 'trafficDump.rate', /did you mean "sampleRate"\?/, 1],
  ['enabled', { directory: 'd', enabled: true }, 'trafficDump.enabled', /leave the option out/, true],
  ['a rate beyond all', { directory: 'd', sampleRate: 10 }, 'trafficDump.sampleRate', /between 0 and 1/, 10],
  ['a rate of a route', { directory: 'd', routes: { a: -1 } }, 'trafficDump.routes.a', /between 0 and 1/, -1],
  ['a rate of errors', { directory: 'd', errorSampleRate: '1' }, 'trafficDump.errorSampleRate', /number/, '1'],
  ['routes without effect', { directory: 'd', sampleRate: 0, routes: { a: 0 } }, 'trafficDump.routes', /nothing is sampled anyway/, { a: 0 }],
  ['a size that is none', { directory: 'd', maxBodySize: 'big' }, 'trafficDump.maxBodySize', /must be a size/, 'big'],
  ['files of nothing', { directory: 'd', maxFileSize: 0 }, 'trafficDump.maxFileSize', /above 0/, 0],
  ['no files', { directory: 'd', maxFiles: 0 }, 'trafficDump.maxFiles', /1 or more/, 0],
  ['an interval that has no end', { directory: 'd', interval: '7m' }, 'trafficDump.interval', /a part of a minute, an hour or a day/, '7m'],
  ['an interval below a second', { directory: 'd', interval: '5ms' }, 'trafficDump.interval', /a part of a minute/, '5ms'],
  ['an interval of nothing', { directory: 'd', interval: 0 }, 'trafficDump.interval', /above 0/, 0],
  ['a queue of nothing', { directory: 'd', queue: 0 }, 'trafficDump.queue', /above 0/, 0],
  ['a text for a switch', { directory: 'd', clientAddress: 'no' }, 'trafficDump.clientAddress', /true or false/, 'no'],
  ['a header that is none', { directory: 'd', redact: { headers: ['a b'] } }, 'trafficDump.redact.headers[0]', /header name/, 'a b'],
  ['an empty parameter', { directory: 'd', redact: { query: [''] } }, 'trafficDump.redact.query[0]', /must not be empty/, ''],
  ['a way that leads nowhere', { directory: 'd', redact: { json: ['a..b'] } }, 'trafficDump.redact.json[0]', /a name, or a way/, 'a..b'],
  ['an entry of a list', { directory: 'd', redact: { json: ['a[0].b'] } }, 'trafficDump.redact.json[0]', /arrays do not count/, 'a[0].b'],
  ['a body', { directory: 'd', redact: { body: ['a'] } }, 'trafficDump.redact.body', /did you mean "json"\?/, ['a']],
  ['nothing in place of the defaults', { directory: 'd', redact: { replaceDefaults: true } }, 'trafficDump.redact.replaceDefaults', /needs something/, true]
]

t.test('every wrong option is refused with the path, the rule and the value', async t => {
  for (const [name, trafficDump, ...wrong] of WRONG) checkWrong(t, [name, { trafficDump }, ...wrong])
  t.match(problemsOf(() => parseOptions({ dump: {} })), [{ path: 'dump', rule: /did you mean "trafficDump"\?/ }])
})

t.test('editors know of it', async t => {
  const { properties } = configFileSchema() as { properties: Record<string, { properties?: object }> }
  t.same(Object.keys(properties['trafficDump']?.properties ?? {}), ['directory', 'sampleRate', 'routes', 'errorSampleRate', 'maxBodySize', 'maxFileSize', 'maxFiles', 'interval', 'queue', 'clientAddress', 'redact'])
})
