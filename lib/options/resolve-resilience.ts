/**
 * Circuit breakers, retries, health checks and limits: from what the levels say to what the house works with. Everything here
 * has been checked.
 *
 * Levels are merged as they were written and get their defaults afterwards: some defaults depend on what nobody has said.
 */
import type {
  BreakerConfig, ConcurrencyConfig, Fallback, HealthConfig, OutlierConfig, PanicConfig, ResilienceConfig, RetryBudgetConfig,
  RetryConfig, SlowStartConfig
} from '../resilience/types.ts'
import type { ProxyConfig, RetryOverrides } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import { RESILIENCE } from './forms.ts'
import { mergeOptions } from './merge.ts'
import type {
  BreakerOption, ConcurrencyOption, FallbackOption, HealthOption, OutlierOption, PanicOption, RetryOption, RouteBreakerOption,
  RouteRetryOption, SlowStartOption, TargetHealthOption
} from './schema/resilience.ts'
import { byteCount, milliseconds } from './units.ts'

const { circuitBreaker: BREAKER, retry: RETRY, health: HEALTH, outlier: OUTLIER, slowStart: SLOW_START, panic: PANIC, concurrency: CONCURRENCY } = DEFAULTS

type Options = Readonly<Record<string, unknown>>

// ---- levels

/** What the levels down to here have said, in long forms; left out: nothing, false: off. */
export interface SaidResilience {
  readonly circuitBreaker?: BreakerOption | false
  readonly retry?: RetryOption | false
  readonly health?: HealthOption | false
  readonly outlier?: OutlierOption | false
  readonly slowStart?: SlowStartOption | false
  readonly panic?: PanicOption | false
  readonly concurrency?: ConcurrencyOption | false
}

const NAMES = Object.keys(RESILIENCE) as Array<keyof typeof RESILIENCE>

/** A level over those above, option by option. Both may be wrong in themselves: the cross-checks use it, too. */
export function mergeSaid (own: Options, above: Options): Options {
  const merged: Record<string, unknown> = {}
  for (const name of NAMES) {
    const value = mergeOption(name, own[name], above[name])
    if (value !== undefined) merged[name] = value
  }
  return merged
}

/** One option of a level over that of the levels above. */
export function mergeOption (name: keyof typeof RESILIENCE, own: unknown, above: unknown): unknown {
  return mergeOptions(above, own, RESILIENCE[name])
}

/** What a backend has; `name` undefined: it cannot be told. */
export function resolveResilience (said: SaidResilience, name?: string): ResilienceConfig {
  return {
    circuitBreaker: said.circuitBreaker === false ? undefined : resolveBreaker(said.circuitBreaker ?? {}, name),
    retry: resolveRetry(said.retry),
    health: resolveHealth(said.health),
    outlier: resolveOutlier(said.outlier),
    slowStart: resolveSlowStart(said.slowStart),
    panic: resolvePanic(said.panic),
    concurrency: resolveConcurrency(said.concurrency)
  }
}

// ---- circuit breaker

function resolveBreaker (option: BreakerOption, name: string | undefined): BreakerConfig {
  const percentage = numberOrOff(option.errorThresholdPercentage)
  const fallback = resolveFallback(option.fallback)
  return {
    failureThreshold: numberOrOff(option.failureThreshold ?? (percentage === undefined ? BREAKER.failureThreshold : false)),
    errorThresholdPercentage: percentage,
    volumeThreshold: option.volumeThreshold ?? BREAKER.volumeThreshold,
    rollingWindow: milliseconds(option.rollingWindow ?? BREAKER.rollingWindow),
    resetTimeout: milliseconds(option.resetTimeout ?? BREAKER.resetTimeout),
    halfOpenTrials: option.halfOpenTrials ?? BREAKER.halfOpenTrials,
    outcomes: option.outcomes ?? BREAKER.outcomes,
    onOpen: option.onOpen,
    onClose: option.onClose,
    onHalfOpen: option.onHalfOpen,
    // the gateway may name one for all backends, the one it names included
    fallback: fallback?.kind === 'backend' && fallback.backend === name ? undefined : fallback
  }
}

/** `circuitBreaker` of a route or a part. */
export function resolveRouteBreaker (option: RouteBreakerOption | undefined): ProxyConfig['circuitBreaker'] {
  return option === undefined || option === false ? option : { fallback: resolveFallback(option.fallback) }
}

function resolveFallback (option: FallbackOption | undefined): Fallback | undefined {
  if (option === undefined || option === false) return undefined
  if (typeof option === 'function') return { kind: 'function', make: option }
  if ('backend' in option) return { kind: 'backend', backend: option.backend }
  const { statusCode = BREAKER.fallback.statusCode, headers, body } = option
  const named = lowerCaseNames(headers)
  const type = typeOf(body)
  return {
    kind: 'answer',
    status: statusCode,
    headers: type === undefined || 'content-type' in named ? named : { 'content-type': type, ...named },
    body: bytesOf(body)
  }
}

type FallbackBody = Extract<FallbackOption, { body?: unknown }>['body']

function bytesOf (body: FallbackBody): Buffer | undefined {
  if (body === undefined) return undefined
  if (body instanceof Uint8Array) return Buffer.from(body)
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

/** The type that Fastify would give a text; nobody but the user knows what bytes are. */
function typeOf (body: FallbackBody): string | undefined {
  if (body === undefined || body instanceof Uint8Array) return undefined
  return typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json'
}

// ---- retry

/** Off is one try; everything else has its default then, for a route that switches it on. */
function resolveRetry (option: RetryOption | false | undefined): RetryConfig {
  return retryOver(option === undefined || option === false ? undefined : resolveOverrides(option), NO_RETRY)
}

/** `retry` of a route or a part: what it says itself. */
export function resolveRouteRetry (option: RouteRetryOption | undefined): ProxyConfig['retry'] {
  if (option === undefined || option === false) return option
  return resolveOverrides(typeof option === 'number' ? { attempts: option } : option)
}

/**
 * What a route says over what its backend says, option by option. An object without `attempts` switches on what the backend has
 * switched off.
 */
export function retryOver (own: ProxyConfig['retry'], above: RetryConfig): RetryConfig {
  if (own === undefined) return above
  if (own === false) return { ...above, attempts: 1, hedge: undefined }
  const { backoff, budget, hedge, idempotencyKey, attempts = above.attempts > 1 ? above.attempts : RETRY.attempts, ...rest } = own
  return {
    ...above,
    ...rest,
    attempts,
    backoff: { ...above.backoff, ...backoff },
    idempotencyKey: idempotencyKey === undefined ? above.idempotencyKey : idempotencyKey === false ? undefined : idempotencyKey,
    budget: budget === undefined ? above.budget : budget === false ? undefined : { ...above.budget ?? DEFAULT_BUDGET, ...budget },
    hedge: hedge === undefined ? above.hedge : hedge === false ? undefined : hedge
  }
}

function resolveOverrides (option: RetryOption): RetryOverrides {
  const { perTryTimeout, backoff, maxRetryAfter, replayLimit, idempotencyKey, budget, hedge, ...rest } = option
  return {
    ...rest,
    ...(perTryTimeout === undefined ? undefined : { perTryTimeout: milliseconds(perTryTimeout) }),
    ...(backoff === undefined ? undefined : { backoff: inMilliseconds(backoff, ['initial', 'max']) }),
    ...(maxRetryAfter === undefined ? undefined : { maxRetryAfter: milliseconds(maxRetryAfter) }),
    ...(replayLimit === undefined ? undefined : { replayLimit: byteCount(replayLimit) }),
    ...(idempotencyKey === undefined ? undefined : { idempotencyKey: idempotencyKey === false ? false : idempotencyKey.toLowerCase() }),
    ...(budget === undefined ? undefined : { budget: budget === false ? false : inMilliseconds(budget, ['window']) }),
    ...(hedge === undefined ? undefined : { hedge: hedge === false ? false : { after: milliseconds(typeof hedge === 'object' ? hedge.after : hedge) } })
  }
}

/** The same with these durations as numbers. */
function inMilliseconds<O extends object, K extends keyof O & string> (option: O, names: readonly K[]): { [N in keyof O]: N extends K ? number : O[N] } {
  const entries = Object.entries(option).map(([name, value]: [string, unknown]) => [name, names.some(one => one === name) ? milliseconds(value as number | string) : value])
  return Object.fromEntries(entries) as { [N in keyof O]: N extends K ? number : O[N] }
}

const DEFAULT_BUDGET: RetryBudgetConfig = { ratio: RETRY.budget.ratio, min: RETRY.budget.min, window: milliseconds(RETRY.budget.window) }

const NO_RETRY: RetryConfig = {
  attempts: 1,
  methods: RETRY.methods,
  statuses: RETRY.statuses,
  outcomes: RETRY.outcomes,
  perTryTimeout: undefined,
  backoff: { initial: milliseconds(RETRY.backoff.initial), max: milliseconds(RETRY.backoff.max), factor: RETRY.backoff.factor },
  maxRetryAfter: milliseconds(RETRY.maxRetryAfter),
  replayLimit: byteCount(RETRY.replayLimit),
  idempotencyKey: RETRY.idempotencyKey,
  budget: DEFAULT_BUDGET,
  hedge: undefined
}

// ---- health

const DEFAULT_HEALTH: HealthConfig = {
  path: '',
  method: HEALTH.method,
  headers: {},
  interval: milliseconds(HEALTH.interval),
  unhealthyInterval: milliseconds(HEALTH.interval),
  jitter: HEALTH.jitter,
  timeout: milliseconds(HEALTH.timeout),
  expectedStatus: [[200, 299]],
  expectedBody: undefined,
  rise: HEALTH.rise,
  fall: HEALTH.fall,
  initial: HEALTH.initial,
  skipIfRecent: HEALTH.skipIfRecent,
  onChange: undefined
}

/** Without a path, which only a level above could leave out, there is nothing to ask. */
function resolveHealth (option: HealthOption | false | undefined): HealthConfig | undefined {
  return option === undefined || option === false || option.path === undefined ? undefined : healthOver(option, DEFAULT_HEALTH)
}

/** `health` of a target: null for none, undefined for what its backend says. `said` is what the levels above said, or what a backend has. */
export function resolveTargetHealth (option: TargetHealthOption | undefined, said: HealthOption | false | undefined, backend?: HealthConfig): HealthConfig | null | undefined {
  if (option === undefined) return undefined
  if (option === false) return null
  const own = typeof option === 'string' ? { path: option } : option
  const base = backend ?? (said === undefined || said === false ? DEFAULT_HEALTH : healthOver(said, DEFAULT_HEALTH))
  return healthOver(own, base)
}

function healthOver (own: HealthOption, above: HealthConfig): HealthConfig {
  const { headers, interval, unhealthyInterval, timeout, expectedStatus, expectedBody, ...rest } = own
  const every = interval === undefined ? above.interval : milliseconds(interval)
  // an interval of its own that nobody gave is the interval, also where another level changes that
  const follows = above.unhealthyInterval === above.interval
  return {
    ...above,
    ...rest,
    headers: { ...above.headers, ...lowerCaseNames(headers) },
    interval: every,
    unhealthyInterval: unhealthyInterval !== undefined ? milliseconds(unhealthyInterval) : follows ? every : above.unhealthyInterval,
    timeout: timeout === undefined ? above.timeout : milliseconds(timeout),
    expectedStatus: expectedStatus === undefined ? above.expectedStatus : [expectedStatus].flat().map(statusRange),
    expectedBody: expectedBody === undefined ? above.expectedBody : resolveExpectedBody(expectedBody)
  }
}

/** `200`, `'200-299'` or `'2xx'`. */
function statusRange (status: number | string): readonly [number, number] {
  if (typeof status === 'number') return [status, status]
  if (status.endsWith('xx')) return [Number(status[0]) * 100, Number(status[0]) * 100 + 99]
  const [from, to = from] = status.split('-').map(Number)
  return [from!, to!]
}

/** An expression of our own that remembers nothing from one body to the next. */
function resolveExpectedBody (option: NonNullable<HealthOption['expectedBody']>): string | RegExp {
  if (typeof option === 'string') return option
  const pattern = option instanceof RegExp ? option : option.regex
  return typeof pattern === 'string' ? new RegExp(pattern) : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''))
}

// ---- the rest

function resolveOutlier (option: OutlierOption | false | undefined): OutlierConfig | undefined {
  if (option === undefined || option === false) return undefined
  return {
    consecutive: numberOrOff(option.consecutive ?? OUTLIER.consecutive),
    failureRate: numberOrOff(option.failureRate),
    minVolume: option.minVolume ?? OUTLIER.minVolume,
    window: milliseconds(option.window ?? OUTLIER.window),
    baseEjection: milliseconds(option.baseEjection ?? OUTLIER.baseEjection),
    maxEjection: milliseconds(option.maxEjection ?? OUTLIER.maxEjection),
    maxEjectedPercent: option.maxEjectedPercent ?? OUTLIER.maxEjectedPercent,
    outcomes: option.outcomes ?? OUTLIER.outcomes
  }
}

function resolveSlowStart (option: SlowStartOption | false | undefined): SlowStartConfig | undefined {
  if (option === undefined || option === false || option.window === undefined) return undefined
  return { window: milliseconds(option.window), initial: option.initial ?? SLOW_START.initial }
}

function resolvePanic (option: PanicOption | false | undefined): PanicConfig | undefined {
  if (option === undefined || option === false) return undefined
  const { threshold = PANIC.threshold, mode = PANIC.mode } = option
  return { threshold, mode: mode === 'all' ? 'all' : '503' }
}

function resolveConcurrency (option: ConcurrencyOption | false | undefined): ConcurrencyConfig | undefined {
  if (option === undefined || option === false || option.max === undefined) return undefined
  return {
    max: option.max,
    queue: option.queue ?? CONCURRENCY.queue,
    queueTimeout: milliseconds(option.queueTimeout ?? CONCURRENCY.queueTimeout),
    fairShare: option.fairShare ?? CONCURRENCY.fairShare
  }
}

// ---- helpers

function numberOrOff (value: number | false | undefined): number | undefined {
  return value === false ? undefined : value
}

/** A later name wins over an earlier one in other case. */
function lowerCaseNames (headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
