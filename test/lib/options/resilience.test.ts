/** What right options about failing targets become. */
import t from 'tap'
import { Ajv } from 'ajv'
import { parse as parseYaml } from 'yaml'
import { parseConfigText } from '../../../lib/config-file.ts'
import { configFileSchema } from '../../../lib/json-schema.ts'
import { parseBackend, parseComposite, parseOptions, parseProxy, parseTarget, parseTargetPatch, retryOver } from '../../../lib/options/index.ts'
import type { BackendOptions, GatewayOptions } from '../../../lib/options/index.ts'
import type { ResilienceConfig } from '../../../lib/resilience/types.ts'
import { problemsOf } from './problems.ts'

const FAILURES = ['server-error', 'connect-error', 'reset', 'timeout', 'bad-response']
const BREAKER = {
  failureThreshold: 5,
  errorThresholdPercentage: undefined,
  volumeThreshold: 10,
  rollingWindow: 10_000,
  resetTimeout: 30_000,
  halfOpenTrials: 1,
  outcomes: FAILURES,
  onOpen: undefined,
  onClose: undefined,
  onHalfOpen: undefined,
  fallback: undefined
}
const RETRY = {
  attempts: 1,
  methods: ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'],
  statuses: [502, 503, 504],
  outcomes: ['connect-error', 'reset', 'timeout', 'bad-response'],
  perTryTimeout: undefined,
  backoff: { initial: 25, max: 250, factor: 2 },
  maxRetryAfter: 5_000,
  replayLimit: 65_536,
  idempotencyKey: 'idempotency-key',
  budget: { ratio: 0.2, min: 3, window: 10_000 },
  hedge: undefined
}
const HEALTH = {
  path: '/health',
  method: 'GET',
  headers: {},
  interval: 10_000,
  unhealthyInterval: 10_000,
  jitter: 0.1,
  timeout: 2_000,
  expectedStatus: [[200, 299]],
  expectedBody: undefined,
  rise: 2,
  fall: 3,
  initial: 'healthy',
  skipIfRecent: false,
  onChange: undefined
}
const OUTLIER = {
  consecutive: 5,
  failureRate: undefined,
  minVolume: 20,
  window: 30_000,
  baseEjection: 30_000,
  maxEjection: 300_000,
  maxEjectedPercent: 50,
  outcomes: FAILURES
}

type Shared = Omit<GatewayOptions, 'backends'>

/** What backend `a` has when the gateway and the backend say this. */
function resilience (own: object, gateway: Shared = {}): ResilienceConfig {
  return parseOptions({ ...gateway, backends: { a: { url: 'http://a', ...own }, b: 'http://b' } }).backends['a']!.resilience
}

t.test('a backend of which nobody says anything has a breaker, and nothing else', async t => {
  t.strictSame(resilience({}), {
    circuitBreaker: BREAKER,
    retry: RETRY,
    health: undefined,
    outlier: undefined,
    slowStart: undefined,
    panic: undefined,
    concurrency: undefined
  })
  t.strictSame(parseBackend('http://a', {}, 'backends.a').resilience, resilience({}))
})

t.test('short forms are the one option that matters', async t => {
  t.strictSame(resilience({ circuitBreaker: true, retry: 3, health: '/health', outlier: true, slowStart: '30s', panic: {}, concurrency: 200 }), {
    circuitBreaker: BREAKER,
    retry: { ...RETRY, attempts: 3 },
    health: HEALTH,
    outlier: OUTLIER,
    slowStart: { window: 30_000, initial: 0.1 },
    panic: { threshold: 50, mode: 'all' },
    concurrency: { max: 200, queue: 0, queueTimeout: 1_000, fairShare: true }
  })
})

t.test('long forms are taken in full', async t => {
  const hook = () => {}
  t.strictSame(resilience({
    circuitBreaker: {
      failureThreshold: 3,
      errorThresholdPercentage: 50,
      volumeThreshold: 20,
      rollingWindow: '1m',
      resetTimeout: '15s',
      halfOpenTrials: 2,
      outcomes: ['timeout'],
      onOpen: hook,
      onClose: hook,
      onHalfOpen: hook
    },
    retry: {
      attempts: 4,
      methods: ['GET', 'PROPFIND'],
      statuses: [429, 503],
      outcomes: ['reset'],
      perTryTimeout: '2s',
      backoff: { initial: 0, max: '1s', factor: 3 },
      maxRetryAfter: 0,
      replayLimit: '1mb',
      idempotencyKey: 'X-Key',
      budget: { ratio: 1, min: 0, window: '1m' },
      hedge: { after: '100ms' }
    },
    health: {
      path: '/ready?full=1',
      method: 'HEAD',
      headers: { 'X-Check': 'yes' },
      interval: '5s',
      unhealthyInterval: '1s',
      jitter: 0,
      timeout: 500,
      expectedStatus: [200, '204-206', '3xx'],
      expectedBody: 'ok',
      rise: 1,
      fall: 2,
      initial: 'unhealthy',
      skipIfRecent: true,
      onChange: hook
    },
    outlier: { consecutive: 3, failureRate: 30, minVolume: 5, window: '1m', baseEjection: '10s', maxEjection: '1m', maxEjectedPercent: 100, outcomes: ['reset', 'timeout'] },
    slowStart: { window: '1m', initial: 0.5 },
    panic: { threshold: 25, mode: '503' },
    concurrency: { max: 10, queue: 100, queueTimeout: '2s', fairShare: false }
  }), {
    circuitBreaker: {
      failureThreshold: 3,
      errorThresholdPercentage: 50,
      volumeThreshold: 20,
      rollingWindow: 60_000,
      resetTimeout: 15_000,
      halfOpenTrials: 2,
      outcomes: ['timeout'],
      onOpen: hook,
      onClose: hook,
      onHalfOpen: hook,
      fallback: undefined
    },
    retry: {
      attempts: 4,
      methods: ['GET', 'PROPFIND'],
      statuses: [429, 503],
      outcomes: ['reset'],
      perTryTimeout: 2_000,
      backoff: { initial: 0, max: 1_000, factor: 3 },
      maxRetryAfter: 0,
      replayLimit: 1_048_576,
      idempotencyKey: 'x-key',
      budget: { ratio: 1, min: 0, window: 60_000 },
      hedge: { after: 100 }
    },
    health: {
      path: '/ready?full=1',
      method: 'HEAD',
      headers: { 'x-check': 'yes' },
      interval: 5_000,
      unhealthyInterval: 1_000,
      jitter: 0,
      timeout: 500,
      expectedStatus: [[200, 200], [204, 206], [300, 399]],
      expectedBody: 'ok',
      rise: 1,
      fall: 2,
      initial: 'unhealthy',
      skipIfRecent: true,
      onChange: hook
    },
    outlier: { consecutive: 3, failureRate: 30, minVolume: 5, window: 60_000, baseEjection: 10_000, maxEjection: 60_000, maxEjectedPercent: 100, outcomes: ['reset', 'timeout'] },
    slowStart: { window: 60_000, initial: 0.5 },
    panic: { threshold: 25, mode: '503' },
    concurrency: { max: 10, queue: 100, queueTimeout: 2_000, fairShare: false }
  })
})

t.test('false switches everything off, the budget and the like of a retry, too', async t => {
  const off = { circuitBreaker: false, retry: false, health: false, outlier: false, slowStart: false, panic: false, concurrency: false } as const
  const nothing = { ...resilience({}), circuitBreaker: undefined }
  t.strictSame(resilience(off), nothing)
  t.strictSame(resilience(off, { circuitBreaker: true, retry: 3, health: '/h', outlier: true, slowStart: 1, panic: {}, concurrency: 1 }), nothing)
  t.strictSame(resilience({}, off), nothing)
  t.match(resilience({ retry: { budget: false, idempotencyKey: false, hedge: false } }, { retry: { hedge: 50 } }).retry, { attempts: 2, budget: undefined, idempotencyKey: undefined, hedge: undefined })
})

t.test('the gateway speaks for every backend, those that come later included', async t => {
  const gateway = { circuitBreaker: { failureThreshold: 2 }, retry: 3, health: '/up', outlier: true, slowStart: '1m', panic: { mode: '503' }, concurrency: 5 } as const
  const config = parseOptions({ ...gateway, backends: { a: 'http://a' } })
  t.strictSame(config.backends['a']?.resilience, config.backendDefaults.resilience)
  t.strictSame(parseBackend('http://b', config, 'backends.b').resilience, config.backendDefaults.resilience)
  t.match(config.backendDefaults.resilience, { circuitBreaker: { failureThreshold: 2 }, retry: { attempts: 3 }, health: { path: '/up' }, concurrency: { max: 5 } })
})

t.test('a backend comes over the gateway key by key, within objects, too', async t => {
  const gateway: Shared = {
    circuitBreaker: { resetTimeout: '5s', halfOpenTrials: 3 },
    retry: { attempts: 4, backoff: { initial: 10, max: '1s' }, budget: { min: 7 } },
    health: { path: '/up', interval: '5s', headers: { 'X-A': '1', 'x-b': '2' } },
    outlier: { window: '5s' },
    slowStart: { window: '1m', initial: 0.3 },
    concurrency: { max: 50, queue: 9, fairShare: false }
  }
  const own = {
    circuitBreaker: { halfOpenTrials: 2 },
    retry: { backoff: { factor: 1.5 }, budget: { ratio: 0.5 } },
    health: { headers: { 'x-a': '3' } },
    outlier: { consecutive: 2 },
    slowStart: 10,
    concurrency: 20
  }
  t.strictSame(resilience(own, gateway), {
    circuitBreaker: { ...BREAKER, resetTimeout: 5_000, halfOpenTrials: 2 },
    retry: { ...RETRY, attempts: 4, backoff: { initial: 10, max: 1_000, factor: 1.5 }, budget: { ratio: 0.5, min: 7, window: 10_000 } },
    health: { ...HEALTH, path: '/up', interval: 5_000, unhealthyInterval: 5_000, headers: { 'x-a': '3', 'x-b': '2' } },
    outlier: { ...OUTLIER, window: 5_000, consecutive: 2 },
    slowStart: { window: 10, initial: 0.3 },
    panic: undefined,
    concurrency: { max: 20, queue: 9, queueTimeout: 1_000, fairShare: false }
  })
})

t.test('true switches on what the level above says, or the defaults where it says false', async t => {
  t.equal(resilience({ circuitBreaker: true }, { circuitBreaker: { failureThreshold: 9 } }).circuitBreaker?.failureThreshold, 9)
  t.strictSame(resilience({ circuitBreaker: true }, { circuitBreaker: false }).circuitBreaker, BREAKER)
  t.equal(resilience({ outlier: true }, { outlier: { consecutive: 9 } }).outlier?.consecutive, 9)
  t.strictSame(resilience({ outlier: {} }, { outlier: false }).outlier, OUTLIER)
})

t.test('a percentage decides alone unless some level names a threshold', async t => {
  const percent = { circuitBreaker: { errorThresholdPercentage: 50 } }
  t.match(resilience(percent).circuitBreaker, { failureThreshold: undefined, errorThresholdPercentage: 50 })
  t.match(resilience({}, percent).circuitBreaker, { failureThreshold: undefined, errorThresholdPercentage: 50 })
  t.match(resilience(percent, { circuitBreaker: { failureThreshold: 7 } }).circuitBreaker, { failureThreshold: 7, errorThresholdPercentage: 50 })
  t.match(resilience({ circuitBreaker: { failureThreshold: 7 } }, percent).circuitBreaker, { failureThreshold: 7, errorThresholdPercentage: 50 })
  t.match(resilience({ circuitBreaker: { errorThresholdPercentage: false } }, percent).circuitBreaker, { failureThreshold: 5, errorThresholdPercentage: undefined })
  t.match(resilience({ outlier: { consecutive: false, failureRate: 10 } }).outlier, { consecutive: undefined, failureRate: 10 })
})

t.test('retries are off at one try, and an object without attempts makes two', async t => {
  t.equal(resilience({ retry: {} }).retry.attempts, 2)
  t.equal(resilience({ retry: 1 }).retry.attempts, 1)
  t.equal(resilience({ retry: { statuses: [] } }, { retry: false }).retry.attempts, 2)
  t.equal(resilience({ retry: { statuses: [] } }, { retry: 5 }).retry.attempts, 5)
  t.same(resilience({ retry: { hedge: '50ms' } }).retry.hedge, { after: 50 })
})

t.test('a bound below a time that nobody gave is a bound', async t => {
  t.match(resilience({ retry: { backoff: { max: 5 } }, outlier: { maxEjection: '1s' } }), { retry: { backoff: { max: 5 } }, outlier: { maxEjection: 1_000 } })
})

// ---- routes and parts

t.test('a route says only what it says, and has the last word about retries', async t => {
  const { retry } = resilience({ retry: { attempts: 3, backoff: { initial: 10, max: 100 }, hedge: 70 } }, { retry: { backoff: { factor: 4 } } })
  const route = (option: object | number | false | undefined) => retryOver(parseProxy({ backend: 'a', ...(option === undefined ? undefined : { retry: option }) }, 'proxy').retry, retry)
  t.equal(route(undefined), retry)
  t.strictSame(route({ backoff: { max: '1s' }, statuses: [500], budget: { min: 0 } }), {
    ...RETRY, attempts: 3, statuses: [500], backoff: { initial: 10, max: 1_000, factor: 4 }, budget: { ratio: 0.2, min: 0, window: 10_000 }, hedge: { after: 70 }
  })
  t.match(route(false), { attempts: 1, hedge: undefined })
  t.match(route(6), { attempts: 6, hedge: { after: 70 } })
  t.match(route({ hedge: false, budget: false, idempotencyKey: false }), { attempts: 3, hedge: undefined, budget: undefined, idempotencyKey: undefined })
  t.match(route({ hedge: '1s', perTryTimeout: '3s', maxRetryAfter: 1, replayLimit: '2kb', idempotencyKey: 'X-K' }), { hedge: { after: 1_000 }, perTryTimeout: 3_000, maxRetryAfter: 1, replayLimit: 2_048, idempotencyKey: 'x-k' })
})

t.test('an object of a route switches on what its backend has off', async t => {
  const { retry } = resilience({ retry: { budget: false } })
  const { retry: bounded } = resilience({ retry: { budget: { min: 8 } } })
  const off = resilience({ retry: false }).retry
  const parsed = parseProxy({ backend: 'a', retry: { statuses: [500], budget: { ratio: 0.5 } } }, 'proxy').retry
  t.equal(retryOver(parsed, off).attempts, 2)
  t.same(retryOver(parsed, retry).budget, { ratio: 0.5, min: 3, window: 10_000 })
  t.same(retryOver(parsed, bounded).budget, { ratio: 0.5, min: 8, window: 10_000 })
})

t.test('what a route says of retries can be written down and told apart', async t => {
  const texts = [undefined, false, {}, { budget: false }, { hedge: false }, { idempotencyKey: false }].map(retry =>
    JSON.stringify([parseProxy({ backend: 'a', ...(retry === undefined ? undefined : { retry }) }, 'proxy').retry]))
  t.equal(new Set(texts).size, texts.length)
})

t.test('a route says false or a fallback to circuit breakers', async t => {
  const route = (options: object) => parseProxy({ backend: 'a', ...options }, 'proxy').circuitBreaker
  t.equal(route({}), undefined)
  t.equal(route({ circuitBreaker: false }), false)
  t.strictSame(route({ circuitBreaker: { fallback: { backend: 'b' } } }), { fallback: { kind: 'backend', backend: 'b' } })
  t.strictSame(route({ circuitBreaker: { fallback: false } }), { fallback: undefined })
})

t.test('a composite speaks for its parts, and a part comes over it', async t => {
  const { parts } = parseComposite({
    circuitBreaker: { fallback: { body: {} } },
    retry: { attempts: 3, backoff: { max: '1s' } },
    parts: {
      a: { backend: 'a' },
      b: { backend: 'b', circuitBreaker: false, retry: { backoff: { initial: 1 } } },
      c: { backend: 'c', circuitBreaker: { fallback: false }, retry: false },
      d: { backend: 'd', retry: 2 }
    }
  }, 'composite')
  const fallback = { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') }
  t.strictSame(parts.map(({ proxy }) => [proxy.circuitBreaker, proxy.retry]), [
    [{ fallback }, { attempts: 3, backoff: { max: 1_000 } }],
    [false, { attempts: 3, backoff: { max: 1_000, initial: 1 } }],
    [{ fallback: undefined }, false],
    [{ fallback }, { attempts: 2, backoff: { max: 1_000 } }]
  ])
})

t.test('the short form of a composite has them, too', async t => {
  const { parts } = parseComposite({ backends: ['a'], circuitBreaker: false, retry: 2 }, 'composite')
  t.strictSame([parts[0]?.proxy.circuitBreaker, parts[0]?.proxy.retry], [false, { attempts: 2 }])
})

// ---- fallbacks

t.test('a fallback is an answer, a backend or a function', async t => {
  const make = () => undefined
  const fallbackOf = (fallback: unknown) => resilience({ circuitBreaker: { fallback } }).circuitBreaker?.fallback
  const answer = (status: number, headers: Record<string, string>, body: string | undefined) => ({ kind: 'answer', status, headers, body: body === undefined ? undefined : Buffer.from(body) })
  t.strictSame(fallbackOf({ body: { items: [] } }), answer(200, { 'content-type': 'application/json' }, '{"items":[]}'))
  t.strictSame(fallbackOf({ body: null }), answer(200, { 'content-type': 'application/json' }, 'null'))
  t.strictSame(fallbackOf({ body: 'later' }), answer(200, { 'content-type': 'text/plain; charset=utf-8' }, 'later'))
  t.strictSame(fallbackOf({ statusCode: 429, headers: { 'Retry-After': '1' } }), answer(429, { 'retry-after': '1' }, undefined))
  t.strictSame(fallbackOf({ headers: { 'Content-Type': 'application/hal+json' }, body: [] }), answer(200, { 'content-type': 'application/hal+json' }, '[]'))
  t.strictSame(fallbackOf({ body: Buffer.from('x') }), answer(200, {}, 'x'))
  t.strictSame(fallbackOf({ backend: 'b' }), { kind: 'backend', backend: 'b' })
  t.strictSame(fallbackOf(make), { kind: 'function', make })
  t.equal(fallbackOf(false), undefined)
})

t.test('the bytes of a fallback are a copy', async t => {
  const body = Buffer.from('a')
  const { fallback } = resilience({ circuitBreaker: { fallback: { body } } }).circuitBreaker!
  body[0] = 0
  t.equal(fallback?.kind === 'answer' && fallback.body?.toString(), 'a')
})

t.test('a backend\'s fallback takes the place of the gateway\'s as a whole', async t => {
  const gateway: Shared = { circuitBreaker: { resetTimeout: 1, fallback: { statusCode: 503, headers: { a: 'b' }, body: { x: 1 } } } }
  t.match(resilience({ circuitBreaker: { fallback: { body: { y: 2 } } } }, gateway).circuitBreaker, { resetTimeout: 1, fallback: { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{"y":2}') } })
  t.match(resilience({ circuitBreaker: { fallback: false } }, gateway).circuitBreaker, { resetTimeout: 1, fallback: undefined })
})

t.test('the fallback backend of all backends has none itself', async t => {
  const { backends } = parseOptions({ circuitBreaker: { fallback: { backend: 'b' } }, backends: { a: 'http://a', b: 'http://b' } })
  t.same(backends['a']?.resilience.circuitBreaker?.fallback, { kind: 'backend', backend: 'b' })
  t.equal(backends['b']?.resilience.circuitBreaker?.fallback, undefined)
  const context = parseOptions({ circuitBreaker: { fallback: { backend: 'b' } }, backends: { b: 'http://b' } })
  t.equal(parseBackend('http://b2', { ...context, name: 'b' }, 'backends.b').resilience.circuitBreaker?.fallback, undefined)
})

// ---- health

t.test('an expected body is a text, or an expression of our own', async t => {
  const bodyOf = (expectedBody: unknown) => resilience({ health: { path: '/', expectedBody } }).health?.expectedBody
  const mine = /up/gi
  t.equal(bodyOf('a.c'), 'a.c')
  t.same(bodyOf({ regex: '^up' }), /^up/)
  t.same(bodyOf({ regex: /^up/ }), /^up/)
  t.same(bodyOf(mine), /up/i)
  t.not(bodyOf(mine), mine)
})

t.test('a status may stand for itself', async t => {
  const of = (expectedStatus: unknown) => resilience({ health: { path: '/', expectedStatus } }).health?.expectedStatus
  t.same(of(204), [[204, 204]])
  t.same(of('200-204'), [[200, 204]])
  t.same(of('5xx'), [[500, 599]])
})

t.test('an interval for unhealthy targets that nobody gave follows the interval', async t => {
  t.match(resilience({ health: { interval: 5 } }, { health: { path: '/', interval: 9 } }).health, { interval: 5, unhealthyInterval: 5 })
  t.match(resilience({ health: { interval: 5 } }, { health: { path: '/', unhealthyInterval: 9 } }).health, { interval: 5, unhealthyInterval: 9 })
})

t.test('what the gateway says of checks without a path is for backends that have one', async t => {
  const { backends } = parseOptions({ health: { interval: '5s' }, backends: { a: 'http://a', b: { url: 'http://b', health: '/up' } } })
  t.equal(backends['a']?.resilience.health, undefined)
  t.strictSame(backends['b']?.resilience.health, { ...HEALTH, path: '/up', interval: 5_000, unhealthyInterval: 5_000 })
})

function targets (options: BackendOptions, gateway: Shared = {}) {
  return parseOptions({ ...gateway, backends: { a: options } }).backends['a']!.targets.map(({ health }) => health)
}

t.test('a target has checks of its own, none, or those of its backend', async t => {
  const [same, path, object, none] = targets({
    health: { path: '/up', interval: '5s', headers: { a: 'b' } },
    targets: ['http://a', { url: 'http://b', health: '/b' }, { url: 'http://c', health: { interval: 1, headers: { c: 'd' } } }, { url: 'http://d', health: false }]
  }, { health: { rise: 9 } })
  const backend = { ...HEALTH, path: '/up', interval: 5_000, unhealthyInterval: 5_000, headers: { a: 'b' }, rise: 9 }
  t.equal(same, undefined)
  t.strictSame(path, { ...backend, path: '/b' })
  t.strictSame(object, { ...backend, interval: 1, unhealthyInterval: 1, headers: { a: 'b', c: 'd' } })
  t.equal(none, null)
})

t.test('a target may be checked where its backend is not', async t => {
  t.strictSame(targets([{ url: 'http://a', health: '/a' }, 'http://b']), [{ ...HEALTH, path: '/a' }, undefined])
  t.match(targets({ health: false, targets: [{ url: 'http://a', health: { rise: 1 } }] }, { health: { path: '/g', fall: 7 } }), [{ path: '/g', rise: 1, fall: 7 }])
})

t.test('a target that comes later starts from what its backend has', async t => {
  const { health } = resilience({ health: { path: '/up', interval: '5s', expectedStatus: 204 } })
  t.strictSame(parseTarget({ url: 'http://b', health: { interval: 7 } }, 'target', { health }).health, { ...health, interval: 7, unhealthyInterval: 7 })
  const slow = resilience({ health: { path: '/', unhealthyInterval: '1m' } }).health
  t.match(parseTarget({ url: 'http://b', health: { interval: 7 } }, 'target', { health: slow }).health, { interval: 7, unhealthyInterval: 60_000 })
  t.equal(parseTarget('http://b', 'target', { health }).health, undefined)
  t.equal(parseTarget({ url: 'http://b', health: false }, 'target').health, null)
  t.match(problemsOf(() => parseTarget({ url: 'http://b', health: { rise: 1 } }, 'target')), [{ path: 'target.health.path', rule: /is required/ }])
  t.match(problemsOf(() => parseTargetPatch({ health: '/x' }, 'target')), [{ path: 'target.health', rule: /update the backend/ }])
})

// ---- the gateway

t.test('a deadline is sent where a name is given', async t => {
  t.equal(parseOptions({}).deadlineHeader, undefined)
  t.equal(parseOptions({ deadlineHeader: false }).deadlineHeader, undefined)
  t.equal(parseOptions({ deadlineHeader: 'X-Request-Deadline-Ms' }).deadlineHeader, 'x-request-deadline-ms')
})

t.test('closing takes no delay and ten seconds unless told otherwise', async t => {
  t.strictSame(parseOptions({}).shutdown, { delay: 0, timeout: 10_000 })
  t.strictSame(parseOptions({ shutdown: { delay: '5s' } }).shutdown, { delay: 5_000, timeout: 10_000 })
  t.strictSame(parseOptions({ shutdown: { timeout: 0 } }).shutdown, { delay: 0, timeout: 0 })
})

t.test('everything is frozen, and nothing of the user\'s is changed', async t => {
  const options: GatewayOptions = {
    retry: { statuses: [500], backoff: { max: 1_000 } },
    circuitBreaker: { outcomes: ['reset'], fallback: { headers: { a: 'b' }, body: { c: [1] } } },
    backends: { a: { targets: [{ url: 'http://a', health: { path: '/', headers: { a: 'b' }, expectedStatus: [200] } }], retry: { methods: ['GET'] } } }
  }
  const before = structuredClone(options)
  const config = parseOptions(options)
  t.same(options, before)
  const backend = config.backends['a']!
  for (const part of [backend.resilience, backend.resilience.retry, backend.resilience.retry.backoff, backend.resilience.retry.statuses, backend.resilience.circuitBreaker, backend.targets[0]?.health?.headers]) {
    t.ok(Object.isFrozen(part))
  }
  t.notOk(Object.isFrozen((options.retry as { statuses: number[] }).statuses))
})

// ---- files

const FILE = `
circuitBreaker: { errorThresholdPercentage: 50, fallback: { backend: spare } }
retry: { budget: false, hedge: 100ms }
health: { interval: 5s }
panic: { mode: 503 }
deadlineHeader: x-request-deadline-ms
shutdown: { delay: 5s, timeout: '\${TIMEOUT:-20s}' }
backends:
  spare: { url: http://127.0.0.1:4009, circuitBreaker: false, retry: false, concurrency: 10, slowStart: 10s }
  orders:
    targets: [http://127.0.0.1:4002, { url: http://127.0.0.1:4003, health: { path: /other } }, { url: http://127.0.0.1:4004, health: false }]
    circuitBreaker: { failureThreshold: 3, resetTimeout: 15s, halfOpenTrials: 1, fallback: { statusCode: 503, headers: { retry-after: '5' }, body: { items: [] } } }
    retry: { attempts: 2, statuses: [502, 503, 504], backoff: { initial: 25ms, max: 250ms }, budget: { ratio: 0.2, min: 3 }, idempotencyKey: false }
    health: { path: /health, interval: 10s, timeout: 2s, rise: 2, fall: 3, expectedStatus: [200, 204, 300-302, 5xx], expectedBody: { regex: '^ok' } }
    outlier: { consecutive: 5, baseEjection: 30s, maxEjectedPercent: 50 }
    concurrency: { max: 200, queue: 100, queueTimeout: 1s }
routes:
  - { path: /a, proxy: { backend: orders, circuitBreaker: { fallback: { body: later } }, retry: 3 } }
  - { path: /b, proxy: { backend: orders, circuitBreaker: false, retry: false } }
  - path: /c
    composite: { retry: { statuses: [500] }, circuitBreaker: false, parts: { a: { backend: orders, retry: 2, circuitBreaker: { fallback: false } } } }
`

t.test('a file says it all, and editors agree', async t => {
  const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true })
  const validate = ajv.compile(configFileSchema())
  t.ok(validate(parseYaml(FILE)), JSON.stringify(validate.errors))
  const { config, gateway } = parseConfigText(FILE, { path: 'gateway.yaml', env: {} })
  t.match(config.shutdown, { delay: 5_000, timeout: 20_000 })
  const { orders, spare } = config.backends
  t.match(orders?.resilience, {
    circuitBreaker: { failureThreshold: 3, errorThresholdPercentage: 50, fallback: { kind: 'answer', status: 503, headers: { 'retry-after': '5' } } },
    retry: { attempts: 2, idempotencyKey: undefined, budget: { ratio: 0.2, min: 3 }, hedge: { after: 100 } },
    health: { expectedStatus: [[200, 200], [204, 204], [300, 302], [500, 599]], expectedBody: /^ok/ },
    panic: { threshold: 50, mode: '503' }
  })
  t.same(orders?.targets.map(({ health }) => health?.path ?? health), [undefined, '/other', null])
  t.match(spare?.resilience, { circuitBreaker: undefined, retry: { attempts: 1 }, health: undefined, slowStart: { window: 10_000 } })
  t.strictSame(parseOptions(gateway).backends['orders']?.resilience, orders?.resilience, 'what the file hands on means the same')
})

const WRONG_FILES: Readonly<Record<string, string>> = {
  'a hook in a file': 'circuitBreaker: { onOpen: x }',
  'too many tries': 'retry: 101',
  'a status that is no failure': 'retry: { statuses: [200] }',
  'a share above one': 'retry: { budget: { ratio: 2 } }',
  'a path without a slash': 'health: up',
  'a class of statuses that is none': 'health: { path: /, expectedStatus: 7xx }',
  'an unknown outcome': 'outlier: { outcomes: [aborted] }',
  'thresholds of a route': 'routes: [{ path: /, proxy: { backend: a, circuitBreaker: { failureThreshold: 1 } } }]',
  'checks without a time between them': 'health: { path: /, interval: never }',
  'true for retries': 'retry: true'
}

t.test('editors see what is wrong in a file', async t => {
  const validate = new Ajv().compile(configFileSchema())
  for (const [name, text] of Object.entries(WRONG_FILES)) t.notOk(validate(parseYaml(text)), name)
})
