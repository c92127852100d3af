/** Options of tracing and of the request log: what they become, and what is refused. */
import t from 'tap'
import { parseConfigText } from '../../../lib/config-file.ts'
import { parseOptions } from '../../../lib/options/index.ts'
import { checkWrong, type Wrong } from './problems.ts'

const TRACING = { propagate: true, publicEndpoint: false, probes: false, query: false, clientAddress: false }
const LOG = { query: false, clientAddress: false, requests: 'info', failures: 'info', slow: 0 }

t.test('there are no spans unless asked for', async t => {
  t.equal(parseOptions({}).tracing, undefined)
  t.equal(parseOptions({ tracing: false }).tracing, undefined)
})

t.test('true and an empty object are the defaults of tracing', async t => {
  t.strictSame(parseOptions({ tracing: true }).tracing, TRACING)
  t.strictSame(parseOptions({ tracing: {} }).tracing, TRACING)
})

t.test('what is said of tracing comes over the defaults', async t => {
  const said = { propagate: false, publicEndpoint: true, probes: true, query: ['page'], clientAddress: true }
  t.strictSame(parseOptions({ tracing: said }).tracing, said)
  t.strictSame(parseOptions({ tracing: { query: true } }).tracing, { ...TRACING, query: true })
})

t.test('requests have no line unless asked for', async t => {
  t.equal(parseOptions({}).log, undefined)
  t.equal(parseOptions({ log: {} }).log, undefined)
  t.equal(parseOptions({ log: { requests: false } }).log, undefined)
  t.equal(parseOptions({ log: { requests: false, failures: false } }).log, undefined)
})

t.test('failures have the level of all requests, or their own', async t => {
  t.strictSame(parseOptions({ log: { requests: 'info' } }).log, LOG)
  t.strictSame(parseOptions({ log: { requests: 'debug', failures: 'warn' } }).log, { ...LOG, requests: 'debug', failures: 'warn' })
  t.strictSame(parseOptions({ log: { failures: 'error' } }).log, { ...LOG, requests: undefined, failures: 'error' })
  t.strictSame(parseOptions({ log: { requests: 'info', failures: false } }).log, { ...LOG, failures: undefined })
})

t.test('what is said of the log comes over the defaults', async t => {
  const said = { requests: 'trace', slow: '1.5s', query: ['page', 'sort'], clientAddress: true } as const
  t.strictSame(parseOptions({ log: said }).log, { ...said, failures: 'trace', slow: 1500 })
})

t.test('a file may say all of it', async t => {
  const { config } = parseConfigText('tracing: { probes: true, query: [page] }\nlog: { requests: info, failures: warn, slow: 200ms, query: true }\n', { path: 'gateway.yaml', env: {} })
  t.strictSame(config.tracing, { ...TRACING, probes: true, query: ['page'] })
  t.strictSame(config.log, { ...LOG, failures: 'warn', slow: 200, query: true })
})

const WRONG: readonly Wrong[] = [
  ['a text for tracing', { tracing: 'on' }, 'tracing', /must be true, false, or an object such as/, 'on'],
  ['an unknown option of tracing', { tracing: { probe: true } }, 'tracing.probe', /did you mean "probes"\?/, true],
  ['enabled', { tracing: { enabled: true } }, 'tracing.enabled', /use tracing: true or false/, true],
  ['a sampler', { tracing: { sampleRate: 0.1 } }, 'tracing.sampleRate', /an option of the SDK/, 0.1],
  ['a text for a switch', { tracing: { propagate: 'yes' } }, 'tracing.propagate', /must be true or false/, 'yes'],
  ['a stranger\'s switch as a text', { tracing: { publicEndpoint: 'yes' } }, 'tracing.publicEndpoint', /must be true or false/, 'yes'],
  ['a number of probes', { tracing: { probes: 1 } }, 'tracing.probes', /must be true or false/, 1],
  ['an address as a text', { tracing: { clientAddress: 'ip' } }, 'tracing.clientAddress', /must be true or false/, 'ip'],
  ['one parameter of the query', { tracing: { query: 'page' } }, 'tracing.query', /a list of parameters whose values may be shown/, 'page'],
  ['no parameters', { tracing: { query: [] } }, 'tracing.query', /must not be empty/, []],
  ['a parameter without a name', { tracing: { query: [' '] } }, 'tracing.query[0]', /must not be empty/, ' '],
  ['opentelemetry', { opentelemetry: true }, 'opentelemetry', /did you mean "tracing"\?/, true],
  ['a level in place of the log', { log: 'info' }, 'log', /must be an object/, 'info'],
  ['an unknown option of the log', { log: { failure: 'warn' } }, 'log.failure', /did you mean "failures"\?/, 'warn'],
  ['a level of the log', { log: { level: 'info' } }, 'log.level', /did you mean "requests"\?/, 'info'],
  ['headers of the log', { log: { redact: ['a'] } }, 'log.redact', /lines have no headers/, ['a']],
  ['true for a level', { log: { requests: true } }, 'log.requests', /must be false, or one of fatal, error/, true],
  ['an unknown level', { log: { requests: 'verbose' } }, 'log.requests', /must be false, or one of fatal, error/, 'verbose'],
  ['an unknown level of failures', { log: { failures: 'bad' } }, 'log.failures', /must be false, or one of fatal, error/, 'bad'],
  ['a text that is no time', { log: { requests: 'info', slow: 'long' } }, 'log.slow', /must be a duration/, 'long'],
  ['slow without lines', { log: { failures: 'warn', slow: '1s' } }, 'log.slow', /has no effect without log\.requests/, '1s'],
  ['a query without lines', { log: { query: true } }, 'log.query', /has no effect without log\.requests or log\.failures/, true],
  ['an address without lines', { log: { requests: false, clientAddress: true } }, 'log.clientAddress', /has no effect without/, true],
  ['a text for the query of lines', { log: { requests: 'info', query: 'all' } }, 'log.query', /a list of parameters/, 'all']
]

t.test('every wrong option is refused with the path, the rule and the value', async t => {
  for (const wrong of WRONG) checkWrong(t, wrong)
})
