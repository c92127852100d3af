/**
 * Options about targets that fail: circuit breakers, retries, health checks, limits. What the words mean stands in
 * `lib/resilience/types.ts`.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { BreakerName, FallbackFunction, HealthConfig } from '../../resilience/types.ts'
import { FAILURES } from '../../outcomes.ts'
import { DEFAULTS } from '../defaults.ts'
import { bytes, duration, fn, json, object, regexp, size, text, words } from './values.ts'

const { circuitBreaker: breaker, retry, health, outlier, slowStart, panic, concurrency } = DEFAULTS

const off = Type.Literal(false)
const count = (minimum: 0 | 1, initial: number | undefined, description: string) =>
  Type.Optional(Type.Integer({ minimum, ...(initial === undefined ? undefined : { default: initial }), description }))
const percent = (initial: number | undefined, description: string) =>
  Type.Optional(Type.Number({ minimum: 1, maximum: 100, ...(initial === undefined ? undefined : { default: initial }), description }))
const share = (initial: number, description: string) => Type.Optional(Type.Number({ minimum: 0, maximum: 1, default: initial, description }))
const time = (initial: string, description: string) => Type.Optional(duration({ minimum: 1, default: initial, description }))
const failures = (minItems: 0 | 1, initial: readonly string[], description: string) =>
  Type.Optional(Type.Array(words(FAILURES), { ...(minItems === 0 ? undefined : { minItems }), default: [...initial], description }))
const orOff = (type: 'integer' | 'number', initial: number | undefined, description: string) => {
  const rule = `must be ${type === 'integer' ? 'a whole number of 1 or more' : 'a number between 1 and 100'}, or false`
  const value = type === 'integer' ? Type.Integer({ minimum: 1, rule }) : Type.Number({ minimum: 1, maximum: 100, rule })
  return Type.Optional(Type.Union([value, off], { ...(initial === undefined ? undefined : { default: initial }), rule, description }))
}

// ---- circuit breaker

const fallbackHeaders = Type.Record(Type.String(), text('headerValue'), { names: 'editableHeader', description: 'Headers of the answer.' })

const fallbackAnswerSchema = object({
  statusCode: Type.Optional(Type.Integer({ minimum: 200, maximum: 599, default: breaker.fallback.statusCode, description: 'Status of the answer.' })),
  headers: Type.Optional(fallbackHeaders),
  body: Type.Optional(Type.Union([json(), bytes()], {
    rule: 'must be a text or any JSON value, in code also a Buffer',
    description: 'Body of the answer: a text, any JSON value, in code also a Buffer. Default: none.'
  }))
}, { minProperties: 1, hints: { status: 'did you mean "statusCode"?', backend: 'it stands alone: { backend }' } })
export type FallbackAnswerOption = Static<typeof fallbackAnswerSchema>

const fallbackBackendSchema = object({
  backend: text('backendName', { description: 'Name of a backend that gets the request instead.' })
}, {
  hints: Object.fromEntries(['statusCode', 'headers', 'body'].map(name => [name, 'the answer is that of the backend']))
})

export const fallbackSchema = Type.Union([fallbackAnswerSchema, fallbackBackendSchema, off, fn<FallbackFunction>()], {
  rule: 'must be { statusCode, headers, body }, { backend }, false, or in code a function',
  description: 'What answers when the circuits of all targets are open: an answer, another backend, in code also a function of the request and the error. Default: none; the answer is 503.'
})
export type FallbackOption = Static<typeof fallbackSchema>

const breakerHook = (when: string) => Type.Optional(fn<(breaker: BreakerName) => void>({ description: `Code only: called with { scope, backend, target } when a circuit ${when}.` }))

const thresholds = {
  failureThreshold: orOff('integer', breaker.failureThreshold, 'Failures in a row that open the circuit of a target; false: only the percentage decides, as it does when it stands alone.'),
  errorThresholdPercentage: orOff('number', undefined, 'Share of failures in percent within rollingWindow that opens it. Default: off.'),
  volumeThreshold: count(1, breaker.volumeThreshold, 'Fewest answers and failures within rollingWindow for the percentage to count.'),
  rollingWindow: time(breaker.rollingWindow, 'Time that the percentage looks back on.'),
  resetTimeout: time(breaker.resetTimeout, 'From the opening to the first trial.'),
  halfOpenTrials: count(1, breaker.halfOpenTrials, 'Calls let through at once on trial, and successes that close the circuit.'),
  outcomes: failures(1, breaker.outcomes, 'What counts as a failure.'),
  onOpen: breakerHook('opens'),
  onClose: breakerHook('closes'),
  onHalfOpen: breakerHook('lets trials through')
}

export const fullBreakerSchema = object({ ...thresholds, fallback: Type.Optional(fallbackSchema) }, {
  hints: {
    threshold: 'did you mean "failureThreshold"?',
    timeout: 'time limits of calls are set in timeout; did you mean "resetTimeout"?',
    errorFilter: 'did you mean "outcomes"?',
    enabled: 'false in place of the object switches it off'
  }
})
export type BreakerOption = Static<typeof fullBreakerSchema>

export const breakerSchema = Type.Union([Type.Boolean(), fullBreakerSchema], {
  default: true,
  rule: 'must be true, false, or an object such as { failureThreshold: 5 }',
  description: 'Circuit breaker of each target: true, false, or an object.'
})

/** `circuitBreaker` of a route, a composite or a part. */
export const routeBreakerSchema = Type.Union([
  off,
  object({ fallback: Type.Optional(fallbackSchema) }, {
    minProperties: 1,
    hints: Object.fromEntries(Object.keys(thresholds).map(name => [name, 'a circuit belongs to a target, whatever the route: set it on the backend']))
  })
], {
  rule: 'must be false, or { fallback }',
  description: 'false: calls go out whatever the circuits say, and do not count for them; { fallback }: a fallback of its own. Default: what the backend says.'
})
export type RouteBreakerOption = Static<typeof routeBreakerSchema>

// ---- retry

export const fullRetrySchema = object({
  attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: retry.attempts, description: 'Tries in all, the first included.' })),
  methods: Type.Optional(Type.Array(text('retryMethod'), { default: [...retry.methods], description: 'Methods that may be tried again whatever happened. Others only when nothing was sent, or with an idempotency key.' })),
  statuses: Type.Optional(Type.Array(Type.Integer({ minimum: 400, maximum: 599 }), { default: [...retry.statuses], description: 'Statuses that are tried again.' })),
  outcomes: failures(0, retry.outcomes, 'Failures that are tried again; with server-error every status of 500 and more is.'),
  perTryTimeout: Type.Optional(duration({ minimum: 1, description: 'Longest wait of one try for the headers of its answer. Default: only the limits of the call.' })),
  backoff: Type.Optional(object({
    initial: Type.Optional(duration({ default: retry.backoff.initial, description: 'Longest wait before the second try. The wait is drawn between 0 and this.' })),
    max: Type.Optional(duration({ default: retry.backoff.max, description: 'Upper bound of every wait.' })),
    factor: Type.Optional(Type.Number({ minimum: 1, default: retry.backoff.factor, description: 'What the wait grows by from try to try.' }))
  }, { description: 'Waits between the tries.' })),
  maxRetryAfter: Type.Optional(duration({ default: retry.maxRetryAfter, description: 'Longest Retry-After of a backend that is waited for; an answer with a longer one is passed on.' })),
  replayLimit: Type.Optional(size({ default: retry.replayLimit, description: 'Largest request body that is kept for another try.' })),
  idempotencyKey: Type.Optional(Type.Union([text('headerName'), off], {
    default: retry.idempotencyKey,
    rule: 'must be a header name or false',
    description: 'Header of the client that makes a request safe to repeat whatever its method; false for none.'
  })),
  budget: Type.Optional(Type.Union([off, object({
    ratio: share(retry.budget.ratio, 'Most further tries, as a share of the calls within the window.'),
    min: count(0, retry.budget.min, 'Further tries within the window that are allowed whatever the number of calls.'),
    window: time(retry.budget.window, 'Time that the budget looks back on.')
  })], { rule: 'must be { ratio, min, window } or false', description: 'Bounds the further tries of all calls to a backend; false for no bound.' })),
  hedge: Type.Optional(Type.Union([
    duration({ minimum: 1 }),
    off,
    object({ after: duration({ minimum: 1, description: 'Time without an answer after which the other try starts.' }) })
  ], {
    default: retry.hedge,
    rule: 'must be a duration above 0, { after }, or false',
    description: 'Starts another try while the first still runs, once it has taken this long; the first answer wins. Only where the method may be repeated.'
  }))
}, { hints: { retries: 'did you mean "attempts" (the first try included)?', statusCodes: 'did you mean "statuses"?', on: 'did you mean "statuses" or "outcomes"?' } })
export type RetryOption = Static<typeof fullRetrySchema>

const retryForms = [Type.Integer({ minimum: 1, maximum: 100 }), off, fullRetrySchema] as const
const retryRule = 'must be the number of tries, an object such as { attempts: 2 }, or false'

export const retrySchema = Type.Union([...retryForms], {
  default: false,
  rule: retryRule,
  description: 'Tries calls again that failed: the number of tries, the first included, or an object; false for one try only.'
})

/** `retry` of a route, a composite or a part: over that of the backend, option by option. */
export const routeRetrySchema = Type.Union([...retryForms], {
  rule: retryRule,
  description: 'Tries calls again that failed, over what the backend says: the number of tries, the first included, an object, or false.'
})
export type RouteRetryOption = Static<typeof routeRetrySchema>

// ---- health

const statusForms = [Type.Integer({ minimum: 100, maximum: 599 }), text('statusRange')] as const
const statusRule = 'must be a status between 100 and 599, a range such as "200-299", or a class such as "2xx"'

export const fullHealthSchema = object({
  path: Type.Optional(text('healthPath', { description: 'Path that is asked, below the path of the target\'s URL. It may have a query.' })),
  method: Type.Optional(text('method', { default: health.method, description: 'Method.' })),
  headers: Type.Optional(Type.Record(Type.String(), text('headerValue'), { names: 'editableHeader', description: 'Headers of the check. A level adds to those of the level above.' })),
  interval: time(health.interval, 'Between two checks of a target.'),
  unhealthyInterval: Type.Optional(duration({ minimum: 1, description: 'The same while it is unhealthy. Default: interval.' })),
  jitter: share(health.jitter, 'Share of the interval that is left to chance.'),
  timeout: time(health.timeout, 'Longest time of a check.'),
  expectedStatus: Type.Optional(Type.Union([...statusForms, Type.Array(Type.Union([...statusForms], { rule: statusRule }), { minItems: 1 })], {
    default: health.expectedStatus,
    rule: `${statusRule}, or a list of those`,
    description: 'Statuses of a healthy target: one, a range such as "200-299", a class such as "2xx", or a list of those.'
  })),
  expectedBody: Type.Optional(Type.Union([
    text('filled'),
    regexp(),
    object({ regex: Type.Union([text('regex'), regexp()], { rule: 'must be a regular expression as a text, in code also a RegExp', description: 'Regular expression that the body must match.' }) })
  ], {
    rule: 'must be a text, { regex }, or in code a RegExp',
    description: 'Text that the body must contain, or an expression it must match. Default: every body will do.'
  })),
  rise: count(1, health.rise, 'Successes in a row that make a target healthy.'),
  fall: count(1, health.fall, 'Failures in a row that make it unhealthy.'),
  initial: Type.Optional(words(['healthy', 'unhealthy'], { default: health.initial, description: 'What a target is before its first check has ended.' })),
  skipIfRecent: Type.Optional(Type.Boolean({ default: health.skipIfRecent, description: 'No check of a target that answered a request within the last interval.' })),
  onChange: Type.Optional(fn<NonNullable<HealthConfig['onChange']>>({ description: 'Code only: called with { backend, target } and whether it is healthy now.' }))
}, {
  hints: {
    url: 'did you mean "path"?',
    unhealthyThreshold: 'did you mean "fall"?',
    healthyThreshold: 'did you mean "rise"?',
    status: 'did you mean "expectedStatus"?',
    body: 'did you mean "expectedBody"?'
  }
})
export type HealthOption = Static<typeof fullHealthSchema>

const healthForms = [text('healthPath'), off, fullHealthSchema] as const
const healthRule = 'must be a path, an object such as { path: "/health" }, or false'

export const healthSchema = Type.Union([...healthForms], {
  default: false,
  rule: healthRule,
  description: 'Active health checks: a path, an object, or false. An object without a path is for the levels below that have one.'
})

/** `health` of one target: over that of the backend, option by option. */
export const targetHealthSchema = Type.Union([...healthForms], {
  rule: healthRule,
  description: 'Health checks of this target, over those of the backend: a path, an object, or false.'
})
export type TargetHealthOption = Static<typeof targetHealthSchema>

// ---- the rest

export const fullOutlierSchema = object({
  consecutive: orOff('integer', outlier.consecutive, 'Failures in a row that take a target out; false: only the rate decides.'),
  failureRate: orOff('number', undefined, 'Share of failures in percent within the window that takes it out. Default: off.'),
  minVolume: count(1, outlier.minVolume, 'Fewest answers and failures within the window for the rate to count.'),
  window: time(outlier.window, 'Time that the rate looks back on.'),
  baseEjection: time(outlier.baseEjection, 'How long a target is out the first time; the n-th time in a row n times as long.'),
  maxEjection: time(outlier.maxEjection, 'Longest time out.'),
  maxEjectedPercent: percent(outlier.maxEjectedPercent, 'Most targets of a backend that are out at once; one may always be.'),
  outcomes: failures(1, outlier.outcomes, 'What counts as a failure.')
})
export type OutlierOption = Static<typeof fullOutlierSchema>

export const outlierSchema = Type.Union([Type.Boolean(), fullOutlierSchema], {
  default: false,
  rule: 'must be true, false, or an object such as { consecutive: 5 }',
  description: 'Takes targets out for a while that fail more than others: true, false, or an object.'
})

export const fullSlowStartSchema = object({
  window: Type.Optional(duration({ minimum: 1, description: 'Time after which the target has its full share.' })),
  initial: share(slowStart.initial, 'Share of its weight that it begins with.')
})
export type SlowStartOption = Static<typeof fullSlowStartSchema>

export const slowStartSchema = Type.Union([duration({ minimum: 1 }), off, fullSlowStartSchema], {
  default: false,
  rule: 'must be a duration above 0, { window, initial }, or false',
  description: 'Lets the share of a new or returned target grow over a time: a duration, an object, or false.'
})

export const fullPanicSchema = object({
  threshold: percent(panic.threshold, 'Percentage of healthy targets below which it is panic.'),
  mode: Type.Optional(Type.Union([words(['all', '503']), Type.Literal(503)], { default: panic.mode, rule: 'must be "all" or "503"', description: '"all" uses every target, healthy or not; "503" refuses requests.' }))
})
export type PanicOption = Static<typeof fullPanicSchema>

export const panicSchema = Type.Union([off, fullPanicSchema], {
  default: false,
  rule: 'must be { threshold, mode } or false',
  description: 'What happens when too few targets are healthy: an object, or false.'
})

export const fullConcurrencySchema = object({
  max: count(1, undefined, 'Most calls of the backend at once.'),
  queue: count(0, concurrency.queue, 'Most calls waiting for their turn; more are answered 503.'),
  queueTimeout: time(concurrency.queueTimeout, 'Longest wait; then the answer is 503.'),
  fairShare: Type.Optional(Type.Boolean({ default: concurrency.fairShare, description: 'While calls wait, no tenant has more than its share of the places and of the queue; false: first come, first served.' }))
})
export type ConcurrencyOption = Static<typeof fullConcurrencySchema>

export const concurrencySchema = Type.Union([Type.Integer({ minimum: 1 }), off, fullConcurrencySchema], {
  default: false,
  rule: 'must be the most calls at once, { max, queue, queueTimeout, fairShare }, or false',
  description: 'Bounds the calls of a backend at once: a number, an object, or false.'
})

/** What the gateway may say for all backends, and a backend for itself. */
export const resilienceProperties = {
  circuitBreaker: Type.Optional(breakerSchema),
  retry: Type.Optional(retrySchema),
  health: Type.Optional(healthSchema),
  outlier: Type.Optional(outlierSchema),
  slowStart: Type.Optional(slowStartSchema),
  panic: Type.Optional(panicSchema),
  concurrency: Type.Optional(concurrencySchema)
}

/** What a route, a composite and a part may say of it. */
export const routeResilienceProperties = {
  circuitBreaker: Type.Optional(routeBreakerSchema),
  retry: Type.Optional(routeRetrySchema)
}
