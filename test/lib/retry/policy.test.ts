/** Whether to try again and after how long, as tables. */
import t from 'tap'
import fc from 'fast-check'
import {
  DEFAULT_RETRY_METHODS, DEFAULT_RETRY_OUTCOMES, DEFAULT_RETRY_STATUSES, isRepeatable, verdict, waitOf
} from '../../../lib/retry/index.ts'
import type { Tried } from '../../../lib/retry/index.ts'
import type { RetryConfig } from '../../../lib/resilience/types.ts'
import type { Outcome } from '../../../lib/types.ts'

const OUTCOMES: readonly Outcome[] = ['ok', 'client-error', 'server-error', 'connect-error', 'reset', 'timeout', 'bad-response', 'aborted', 'rejected']

function retry (config: Partial<RetryConfig> = {}): RetryConfig {
  return {
    attempts: 3,
    methods: DEFAULT_RETRY_METHODS,
    statuses: DEFAULT_RETRY_STATUSES,
    outcomes: DEFAULT_RETRY_OUTCOMES,
    perTryTimeout: undefined,
    backoff: { initial: 100, max: 1000, factor: 2 },
    maxRetryAfter: 5000,
    replayLimit: 65_536,
    idempotencyKey: 'idempotency-key',
    budget: undefined,
    hedge: undefined,
    ...config
  }
}

function tried (what: Partial<Tried>): Tried {
  return { repeatable: true, outcome: 'ok', status: undefined, sent: true, ...what }
}

t.test('the default methods are the idempotent ones', async t => {
  t.strictSame([...DEFAULT_RETRY_METHODS], ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])
  t.strictSame([...DEFAULT_RETRY_STATUSES], [502, 503, 504])
  t.strictSame([...DEFAULT_RETRY_OUTCOMES], ['connect-error', 'reset', 'timeout', 'bad-response'])
})

t.test('nobody changes the defaults', async t => {
  for (const list of [DEFAULT_RETRY_METHODS, DEFAULT_RETRY_STATUSES, DEFAULT_RETRY_OUTCOMES]) t.ok(Object.isFrozen(list))
})

t.test('a configured method is repeatable, any other is not', async t => {
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']) t.ok(isRepeatable(method, {}, retry()), method)
  for (const method of ['POST', 'PATCH', 'CONNECT', 'LOCK', 'get', 'Get', '']) t.notOk(isRepeatable(method, {}, retry()), method)
  t.ok(isRepeatable('POST', {}, retry({ methods: ['POST'] })))
  t.notOk(isRepeatable('GET', {}, retry({ methods: ['POST'] })))
  t.notOk(isRepeatable('GET', {}, retry({ methods: [] })))
})

t.test('an idempotency key makes any method repeatable', async t => {
  for (const key of ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', 'abc', '0', ' a ']) t.ok(isRepeatable('POST', { 'idempotency-key': key }, retry()), key)
})

t.test('an empty idempotency key is none', async t => {
  for (const key of ['', ' ', '\t ', '""', ' "" ']) t.notOk(isRepeatable('POST', { 'idempotency-key': key }, retry()), JSON.stringify(key))
})

t.test('what is not one text is no idempotency key', async t => {
  for (const key of [undefined, null, 0, 1, true, {}, [], ['a'], ['a', 'b']]) t.notOk(isRepeatable('POST', { 'idempotency-key': key }, retry()), JSON.stringify(key))
})

t.test('the header of the idempotency key is the configured one', async t => {
  t.ok(isRepeatable('POST', { 'x-key': 'a' }, retry({ idempotencyKey: 'x-key' })))
  t.notOk(isRepeatable('POST', { 'idempotency-key': 'a' }, retry({ idempotencyKey: 'x-key' })))
  t.notOk(isRepeatable('POST', { 'idempotency-key': 'a', undefined: 'a' }, retry({ idempotencyKey: undefined })))
  t.notOk(isRepeatable('POST', {}, retry({ idempotencyKey: 'constructor' })), 'nothing is inherited')
})

t.test('an aborted or a rejected try is the last, whatever is listed', async t => {
  const all = retry({ outcomes: OUTCOMES, statuses: [503] })
  for (const outcome of ['aborted', 'rejected'] as const) {
    for (const repeatable of [true, false]) {
      for (const sent of [true, false]) {
        for (const status of [undefined, 503]) t.equal(verdict({ outcome, repeatable, sent, status }, all), 'give-up', `${outcome} ${repeatable} ${sent} ${status}`)
      }
    }
  }
})

t.test('an answer is tried again when its status is listed and the request may be repeated', async t => {
  for (const status of [200, 204, 301, 400, 404, 408, 425, 429, 500, 501, 502, 503, 504, 505]) {
    const outcome = status < 400 ? 'ok' : status < 500 ? 'client-error' : 'server-error'
    t.equal(verdict(tried({ status, outcome }), retry()), [502, 503, 504].includes(status) ? 'again' : 'give-up', `${status}`)
    t.equal(verdict(tried({ status, outcome }), retry({ statuses: [429, 500] })), [429, 500].includes(status) ? 'again' : 'give-up', `${status} of 429, 500`)
    t.equal(verdict(tried({ status, outcome }), retry({ statuses: [] })), 'give-up', `${status} of none`)
  }
})

t.test('an answer to what may not be repeated stands', async t => {
  for (const status of [429, 500, 502, 503, 504]) {
    for (const sent of [true, false]) {
      t.equal(verdict({ repeatable: false, outcome: 'server-error', status, sent }, retry({ statuses: [429, 500, 502, 503, 504], outcomes: OUTCOMES })), 'give-up', `${status}`)
    }
  }
})

t.test('a listed outcome counts whatever the status', async t => {
  const errors = retry({ outcomes: ['server-error'], statuses: [] })
  t.equal(verdict(tried({ outcome: 'server-error', status: 500 }), errors), 'again')
  t.equal(verdict(tried({ outcome: 'client-error', status: 404 }), errors), 'give-up')
  t.equal(verdict(tried({ outcome: 'reset', status: 200 }), retry()), 'again', 'an answer that broke off')
  t.equal(verdict(tried({ outcome: 'reset', status: 200, repeatable: false }), retry()), 'give-up')
})

t.test('a failure without an answer is tried again when it is listed and nothing can be done twice', async t => {
  const table: ReadonlyArray<readonly [outcome: Outcome, repeatable: boolean, sent: boolean, expected: 'again' | 'give-up']> = [
    ['connect-error', true, false, 'again'],
    ['connect-error', false, false, 'again'],
    ['connect-error', true, true, 'again'],
    ['connect-error', false, true, 'again'],
    ['reset', true, false, 'again'],
    ['reset', true, true, 'again'],
    ['reset', false, false, 'again'],
    ['reset', false, true, 'give-up'],
    ['timeout', true, false, 'again'],
    ['timeout', true, true, 'again'],
    ['timeout', false, false, 'again'],
    ['timeout', false, true, 'give-up'],
    ['bad-response', true, true, 'again'],
    ['bad-response', false, true, 'give-up'],
    ['ok', true, false, 'give-up'],
    ['client-error', true, false, 'give-up'],
    ['server-error', true, false, 'give-up']
  ]
  for (const [outcome, repeatable, sent, expected] of table) {
    t.equal(verdict({ outcome, repeatable, sent, status: undefined }, retry()), expected, `${outcome} repeatable ${repeatable} sent ${sent}`)
  }
})

t.test('an outcome that is not listed is final, even when nothing was sent', async t => {
  for (const outcome of OUTCOMES) t.equal(verdict(tried({ outcome, sent: false }), retry({ outcomes: [] })), 'give-up', outcome)
  t.equal(verdict(tried({ outcome: 'timeout' }), retry({ outcomes: ['reset'] })), 'give-up')
  t.equal(verdict(tried({ outcome: 'reset' }), retry({ outcomes: ['reset'] })), 'again')
})

t.test('what may have been done is never done twice unless it is repeatable', async t => {
  const some = fc.record({
    outcome: fc.constantFrom(...OUTCOMES), status: fc.option(fc.constantFrom(200, 404, 500, 502, 503, 504), { nil: undefined }), sent: fc.boolean(), repeatable: fc.constant(false)
  })
  const config = fc.record({ outcomes: fc.subarray([...OUTCOMES]), statuses: fc.subarray([200, 404, 500, 502, 503, 504]) })
  t.doesNotThrow(() => fc.assert(fc.property(some, config, (tried, config) => {
    if (verdict(tried, retry(config)) === 'give-up') return true
    return tried.status === undefined && (!tried.sent || tried.outcome === 'connect-error')
  }), { seed: 9, numRuns: 2000 }))
})

t.test('without a Retry-After the wait is the backoff', async t => {
  t.strictSame([1, 2, 3, 4, 5, 6].map(number => waitOf(number, undefined, Infinity, retry(), () => 0.5)), [50, 100, 200, 400, 500, 500])
})

t.test('a Retry-After stands in place of the backoff, shorter or longer', async t => {
  for (const retryAfter of [0, 1, 3000, 5000]) t.equal(waitOf(1, retryAfter, Infinity, retry(), () => 0.5), retryAfter)
})

t.test('a Retry-After beyond the configured patience ends the tries', async t => {
  t.equal(waitOf(1, 5001, Infinity, retry(), () => 0), undefined)
  t.equal(waitOf(1, Number.MAX_SAFE_INTEGER, Infinity, retry(), () => 0), undefined)
  t.equal(waitOf(1, 1, Infinity, retry({ maxRetryAfter: 0 }), () => 0), undefined)
  t.equal(waitOf(1, 0, Infinity, retry({ maxRetryAfter: 0 }), () => 0), 0)
})

t.test('a wait that leaves no time for the try ends the tries', async t => {
  for (const [retryAfter, left, expected] of [
    [undefined, 51, 50], [undefined, 50, undefined], [undefined, 49, undefined], [undefined, 0, undefined], [undefined, -5, undefined],
    [3000, 3001, 3000], [3000, 3000, undefined], [3000, 10, undefined], [0, 1, 0], [0, 0, undefined], [0, -1, undefined]
  ] as const) t.equal(waitOf(1, retryAfter, left, retry(), () => 0.5), expected, `${retryAfter} of ${left}`)
})

t.test('a wait is within patience, time and backoff, or none', async t => {
  const after = fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: undefined })
  const left = fc.oneof(fc.integer({ min: -10, max: 20_000 }), fc.constant(Infinity))
  const lot = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  t.doesNotThrow(() => fc.assert(fc.property(fc.integer({ min: 1, max: 5000 }), after, left, lot, (number, after, left, lot) => {
    const wait = waitOf(number, after, left, retry(), () => lot)
    if (wait === undefined) return left <= 1000 || (after !== undefined && (after > 5000 || after >= left))
    return wait >= 0 && wait < left && (after === undefined ? wait <= 1000 : wait === after && after <= 5000)
  }), { seed: 10, numRuns: 2000 }))
})
