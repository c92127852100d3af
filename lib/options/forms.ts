/**
 * How what is said later goes over what was said before, option by option: for everything that is not simply merged key by key.
 * Read by `merge.ts`.
 */
import { foldLevels, foldPartLevels } from './merge-headers.ts'

export interface Form {
  /** A text or number is short for an object with this option. */
  readonly short?: string
  /** Of each of these lists of options one is said: whoever says one takes the others back. */
  readonly units?: ReadonlyArray<readonly string[]>
  /** `true` is short for an object without options. */
  readonly on?: true
  /** One value, also where it is an object: what is said later takes its place. */
  readonly whole?: true
  /** Names without case: a later `X-A` takes the place of `x-a`. */
  readonly caseless?: true
  /** Makes one object out of two, for those that are more than their keys. */
  readonly fold?: (said: Readonly<Record<string, unknown>>, over: Readonly<Record<string, unknown>>) => Record<string, unknown>
  /** Of options by name. */
  readonly keys?: Readonly<Record<string, Form>>
  /** Of everything under any other name. */
  readonly each?: Form
}

export const PLAIN: Form = {}

const WHOLE: Form = { whole: true }
const TIMES: Form = { short: 'total' }
const BREAKER: Form = { on: true, keys: { fallback: WHOLE } }
const RETRY: Form = { short: 'attempts', keys: { hedge: { short: 'after' } } }

/** What failing targets are about, on every level. */
export const RESILIENCE = {
  circuitBreaker: BREAKER,
  retry: RETRY,
  health: { short: 'path', keys: { headers: { caseless: true }, expectedBody: WHOLE } },
  outlier: { on: true },
  slowStart: { short: 'window' },
  panic: PLAIN,
  concurrency: { short: 'max' }
} satisfies Readonly<Record<string, Form>>

/** `headers` of a level. */
export const HEADERS: Form = { keys: { request: { fold: foldLevels }, response: { fold: foldLevels } } }

/** A backend in full form. */
export const BACKEND: Form = {
  units: [['url', 'targets', 'discovery']],
  keys: { ...RESILIENCE, discovery: WHOLE, balancer: WHOLE, timeout: TIMES, redirects: WHOLE, headers: HEADERS, httpProxy: { short: 'url' } }
}

/** `proxy` of a route. */
export const PROXY: Form = {
  short: 'backend',
  keys: { rewrite: WHOLE, headers: HEADERS, timeout: TIMES, redirects: WHOLE, circuitBreaker: BREAKER, retry: RETRY }
}

const PART: Form = {
  keys: {
    headers: { fold: foldPartLevels },
    body: WHOLE,
    timeout: TIMES,
    redirects: WHOLE,
    circuitBreaker: BREAKER,
    retry: RETRY,
    fallback: WHOLE,
    when: WHOLE,
    forEach: { short: 'in' },
    schema: WHOLE
  }
}

/** `composite` of a route. */
export const COMPOSITE: Form = {
  units: [['backends', 'parts']],
  keys: { headers: HEADERS, redirects: WHOLE, circuitBreaker: BREAKER, retry: RETRY, parts: { each: PART } }
}
