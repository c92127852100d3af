/**
 * What one option about failing targets says about another, over all levels that speak of it.
 *
 * Like `cross-check.ts` it looks only at what has the shape it knows; everything else has been reported.
 */
import type { OptionProblem } from '../errors.ts'
import type { Walk } from './check.ts'
import { isRecord } from './copy.ts'
import type { Known } from './cross-check.ts'
import { DEFAULTS } from './defaults.ts'
import { requireName, reportTwins } from './names.ts'
import { at, isWithin } from './paths.ts'
import { mergeOption, mergeSaid } from './resolve-resilience.ts'
import { isDuration } from './rules.ts'
import { milliseconds } from './units.ts'

type Options = Readonly<Record<string, unknown>>

/** Of the gateway, or of a backend: `name` is the backend's, undefined: it cannot be told, or it is the gateway. */
export function crossCheckResilience (own: Options, path: string, level: { readonly above: Options, readonly isBackend: boolean, readonly name?: string | undefined }, known: Known, walk: Walk): void {
  const { problems } = walk
  const said = mergeSaid(own, level.above)
  const { circuitBreaker, retry, outlier } = own
  if (isRecord(circuitBreaker)) {
    const base = at(path, 'circuitBreaker')
    checkOff(said['circuitBreaker'], circuitBreaker, base, ['failureThreshold', 'errorThresholdPercentage'], problems)
    checkLists(circuitBreaker, base, ['outcomes'], problems)
    checkFallback(circuitBreaker['fallback'], at(base, 'fallback'), level.name, known, problems)
  }
  checkRetry(retry, at(path, 'retry'), said['retry'], problems)
  if (isRecord(outlier)) {
    const base = at(path, 'outlier')
    checkOff(said['outlier'], outlier, base, ['consecutive', 'failureRate'], problems)
    checkLists(outlier, base, ['outcomes'], problems)
    checkBound(said['outlier'], outlier, base, ['baseEjection', 'maxEjection'], DEFAULTS.outlier.maxEjection, problems)
  }
  if (!level.isBackend) return
  for (const [name, key] of [['health', 'path'], ['slowStart', 'window'], ['concurrency', 'max']] as const) {
    const place = at(path, name)
    if (isRecord(own[name]) && lacks(said[name], key)) requireKey(at(place, key), place, `it has no ${name} with one to start from`, problems)
  }
}

/** `health` of the targets of a backend, which may leave out what `backend` and then `above` say. */
export function crossCheckTargetHealth (health: unknown, path: string, backend: unknown, above: unknown, walk: Walk): void {
  const said = mergeOption('health', backend, above)
  if (isRecord(health) && lacks(mergeOption('health', health, said === false ? above : said), 'path')) {
    requireKey(at(path, 'path'), path, 'its backend has none', walk.problems)
  }
}

/** `circuitBreaker` and `retry` of a route, a composite or a part that goes to `backend`; undefined: it cannot be told. */
export function crossCheckRouteResilience ({ circuitBreaker, retry }: Options, path: string, backend: unknown, known: Known, walk: Walk): void {
  if (isRecord(circuitBreaker)) checkFallback(circuitBreaker['fallback'], at(at(path, 'circuitBreaker'), 'fallback'), backend, known, walk.problems)
  checkRetry(retry, at(path, 'retry'), undefined, walk.problems)
}

// ---- helpers

function lacks (option: unknown, key: string): boolean {
  return isRecord(option) && option[key] === undefined
}

/** Nothing is said of a key where something else in its place is wrong: it may have been meant. */
function requireKey (path: string, place: string, reason: string, problems: OptionProblem[]): void {
  if (!problems.some(problem => isWithin(problem.path, place))) problems.push({ path, rule: `is required: ${reason}` })
}

/** Of two ways to notice failures one must be left; the second is off unless it is said. */
function checkOff (said: unknown, own: Options, path: string, [first, second]: readonly [string, string], problems: OptionProblem[]): void {
  if (!isRecord(said) || said[first] !== false || (said[second] !== undefined && said[second] !== false)) return
  const place = own[first] === false ? first : second
  problems.push({ path: at(path, place), rule: `must not be false as long as ${place === first ? second : first} is off: nothing would be left to go by`, value: false })
}

function checkLists (options: Options, path: string, names: readonly string[], problems: OptionProblem[]): void {
  for (const name of names) {
    const list = options[name]
    if (Array.isArray(list)) reportTwins(list.map((value: unknown, index) => [value, at(at(path, name), index)]), 'must not be listed twice', problems)
  }
}

/**
 * A time that was said must not be longer than its bound; reported where this level said one of them. `most`: the bound that
 * nobody said, undefined where another level may say it.
 */
function checkBound (said: unknown, own: Options, path: string, [low, high]: readonly [string, string], most: string | undefined, problems: OptionProblem[]): void {
  if (!isRecord(said) || (own[low] === undefined && own[high] === undefined)) return
  const { [low]: time, [high]: bound = most } = said
  if (!isDuration(time) || !isDuration(bound) || milliseconds(time) <= milliseconds(bound)) return
  if (own[low] === undefined) problems.push({ path: at(path, high), rule: `must not be shorter than ${low} (${time})`, value: own[high] })
  else problems.push({ path: at(path, low), rule: `must not be longer than ${high} (${bound})`, value: own[low] })
}

/** `said` undefined: what the backend says is not known here. */
function checkRetry (retry: unknown, path: string, said: unknown, problems: OptionProblem[]): void {
  if (!isRecord(retry)) return
  checkLists(retry, path, ['methods', 'statuses', 'outcomes'], problems)
  const { backoff, attempts, hedge } = retry
  const merged: unknown = isRecord(said) ? said['backoff'] : backoff
  if (isRecord(backoff)) checkBound(merged, backoff, at(path, 'backoff'), ['initial', 'max'], said === undefined ? undefined : DEFAULTS.retry.backoff.max, problems)
  if (attempts === 1 && hedge !== undefined && hedge !== false) problems.push({ path: at(path, 'hedge'), rule: 'does nothing beside attempts: 1, which is the first try alone', value: hedge })
}

const WITHOUT_BODY: readonly unknown[] = [204, 205, 304]

/** `name` of the backend whose circuits are open. */
function checkFallback (fallback: unknown, path: string, name: unknown, known: Known, problems: OptionProblem[]): void {
  if (!isRecord(fallback)) return
  const { backend, statusCode, body } = fallback
  if (typeof backend === 'string') {
    if (known.backends !== undefined) requireName(backend, at(path, 'backend'), 'backend', known.backends, problems)
    if (backend === name) problems.push({ path: at(path, 'backend'), rule: 'must be another backend: the circuits of this one are open then', value: backend })
  }
  if (body !== undefined && WITHOUT_BODY.includes(statusCode)) problems.push({ path: at(path, 'body'), rule: `must not be there: an answer ${String(statusCode)} has none`, value: body })
}
