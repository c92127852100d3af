/**
 * What is said later over what was said before: deep, key by key.
 *
 * - Objects are merged; everything else takes the place of what was there: texts, numbers, true and false, lists, functions,
 *   expressions, bytes, instances of classes.
 * - `undefined` says nothing. `false` takes back, and an object over `false` stands for itself.
 * - A short form is the option that it is short for: `'2s'` over `{ headers: '1s' }` is `{ headers: '1s', total: '2s' }`.
 * - What is one value although it is an object, or more than its keys, stands in `forms.ts`.
 *
 * Neither side is changed; the result shares with both what it does not have to make anew.
 */
import { isRecord, isTypeBox } from './copy.ts'
import { BACKEND, COMPOSITE, PLAIN, PROXY, type Form } from './forms.ts'
import type { BackendOptions, FullBackendOption } from './schema/backend.ts'

type Options = Readonly<Record<string, unknown>>

/** `over` over `said`. Without a form every key is an option like any other. */
export function mergeOptions<T> (said: T, over: unknown, form: Form = PLAIN): T {
  return mergeValues(said, over, form) as T
}

function mergeValues (said: unknown, over: unknown, form: Form): unknown {
  const [base, value] = [longForm(said, form), longForm(over, form)]
  if (value === undefined) return base
  if (form.on === true && value === true) return isMergeable(base) ? base : {}
  if (form.whole === true || !isMergeable(base) || !isMergeable(value)) return value
  return form.fold === undefined ? mergeRecords(base, value, form) : form.fold(base, value)
}

function mergeRecords (said: Options, over: Options, form: Form): Record<string, unknown> {
  const { units = [], keys = {}, each = PLAIN, caseless = false } = form
  const merged: Record<string, unknown> = { ...said }
  for (const unit of units) {
    if (unit.some(name => over[name] !== undefined)) {
      for (const name of unit.filter(name => over[name] === undefined)) delete merged[name]
    }
  }
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined || key === '__proto__') continue
    const base = Object.hasOwn(merged, key) ? merged[key] : undefined
    if (caseless) {
      for (const name of Object.keys(merged)) if (name.toLowerCase() === key.toLowerCase()) delete merged[name]
    }
    merged[key] = mergeValues(base, value, Object.hasOwn(keys, key) ? keys[key]! : each)
  }
  return merged
}

/** A short form as the object that it is short for. */
export function longForm (value: unknown, { short }: Form): unknown {
  return short !== undefined && (typeof value === 'string' || typeof value === 'number') ? { [short]: value } : value
}

function isMergeable (value: unknown): value is Record<string, unknown> {
  return isRecord(value) && !isTypeBox(value)
}

// ---- whole options

/** A backend as an object. */
export function fullBackend (option: BackendOptions): FullBackendOption {
  return typeof option === 'string' || Array.isArray(option) ? { targets: [option].flat() } : option
}

/** What a tenant says of a backend over what the backend says. A URL or a list of targets replaces the targets only. */
export function mergeBackend (said: Options | undefined, over: unknown): FullBackendOption {
  const full = fullBackend(over as BackendOptions)
  return mergeOptions(withoutTwin(said ?? {}, full), full, BACKEND)
}

/** `pool.connectTimeout` and `timeout.connect` are one option: whoever says one takes the other back. */
function withoutTwin (said: Options, { pool, timeout }: FullBackendOption): Options {
  const drops = (name: 'pool' | 'timeout', key: string): Options | undefined => {
    const option = said[name]
    if (!isRecord(option) || option[key] === undefined) return undefined
    const { [key]: dropped, ...rest } = option
    return { [name]: rest }
  }
  const isConnect = typeof timeout === 'object' && timeout.connect !== undefined
  return {
    ...said,
    ...(isConnect ? drops('pool', 'connectTimeout') : undefined),
    ...(pool?.connectTimeout === undefined ? undefined : drops('timeout', 'connect'))
  }
}

/** What a tenant says of the `proxy` of a route. A text is the name of another backend. */
export function mergeProxy (said: unknown, over: unknown): unknown {
  return mergeOptions(said, over, PROXY)
}

/**
 * What a tenant says of the `composite` of a route. Parts are merged by name, and false takes one away: by the name of its
 * backend where the route has the short form.
 */
export function mergeComposite (said: Options, over: Options): Record<string, unknown> {
  const { parts } = over
  const { backends } = said
  const gone = isRecord(parts) ? Object.keys(parts).filter(name => parts[name] === false) : []
  if (isRecord(parts) && Array.isArray(backends) && gone.length > 0 && gone.length === Object.keys(parts).length) {
    const { parts: none, ...rest } = over
    return mergeOptions({ ...said, backends: backends.filter(name => !gone.includes(name as string)) }, rest, COMPOSITE)
  }
  const merged = mergeOptions<Record<string, unknown>>(said, over, COMPOSITE)
  if (gone.length === 0 || !isRecord(merged['parts'])) return merged
  return { ...merged, parts: Object.fromEntries(Object.entries(merged['parts']).filter(([, part]) => part !== false)) }
}

/** Names of the parts that an option of a composite has. */
export function partNames ({ backends, parts }: Options): string[] {
  return Array.isArray(backends) ? backends.filter(name => typeof name === 'string') : isRecord(parts) ? Object.keys(parts) : []
}
