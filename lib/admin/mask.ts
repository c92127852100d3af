/** A configuration as it may be shown: plain JSON, without its secrets and without what only a program can use. */
import { createRedactor, REDACTED } from '../redact/index.ts'
import { createSecretNames } from '../redact/names.ts'
import type { RedactConfig } from '../redact/index.ts'

export interface Mask {
  /** Functions are `(a function)`, expressions their text, numbers without end null; what is none of these and no data is left out. */
  json (value: unknown): unknown
  /** Of metadata, which often is the same object as before. */
  metadata (metadata: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>
  /** A URL, or any other text. */
  text (text: string): string
}

/** Their keys are names that somebody has chosen: a backend may well be called `auth`. */
const NAMED = new Set(['backends', 'tenants', 'routes', 'parts', 'balancers', 'strategies'])

/** Secret by what they are, though nothing in their names says so: salts, and tokens that stand in place of a user. */
const ALSO_SECRET = new Set(['hashIds', 'username'])

/** `own`: what the gateway was told to keep out of logs and dumps. */
export function createMask (own: readonly RedactConfig[]): Mask {
  const config: RedactConfig = {
    headers: own.flatMap(({ headers }) => headers),
    query: own.flatMap(({ query }) => query),
    json: own.flatMap(({ json }) => json),
    replaceDefaults: false
  }
  const names = createSecretNames(config)
  const redactor = createRedactor(config)
  const known = new WeakMap<object, Readonly<Record<string, unknown>>>()

  function isSecret (name: string): boolean {
    return ALSO_SECRET.has(name) || names.has(name, 'json') || names.has(name, 'header') || names.has(name, 'query')
  }

  /** `way`: the names from the top down to the value. */
  function show (value: unknown, way: readonly string[], within: readonly object[]): unknown {
    const secret = way.length > 0 && isNamedSecret(way)
    switch (typeof value) {
      case 'string': return secret && value !== '' ? REDACTED : redactor.urlOrText(value)
      case 'bigint':
      case 'number': return secret ? REDACTED : Number.isFinite(Number(value)) ? value : null
      case 'boolean': return value
      case 'function': return '(a function)'
      case 'object': return value === null ? null : showObject(value, way, within, secret)
      default: return undefined
    }
  }

  function isNamedSecret (way: readonly string[]): boolean {
    const name = way.at(-1)!
    const parent = way.at(-2)
    if (parent !== undefined && NAMED.has(parent) && !way.includes('metadata')) return false
    // what a hash is made of: the name of a header, say
    if (way.includes('balancer') && name === 'key') return false
    return isSecret(name) || isOnPath(way)
  }

  function isOnPath (way: readonly string[]): boolean {
    const at = way.indexOf('metadata')
    const inner = way.slice(at + 1)
    return names.paths.some(path => path.length === inner.length && path.every((step, index) => step === '*' || step === inner[index]))
  }

  function showObject (value: object, way: readonly string[], within: readonly object[], secret: boolean): unknown {
    if (within.includes(value)) return '(circular)'
    const inside = [...within, value]
    if (Array.isArray(value)) return showList(value, way, inside)
    if (value instanceof RegExp) return secret ? REDACTED : redactor.urlOrText(String(value))
    if (value instanceof Date) return secret ? REDACTED : value.toJSON()
    if (ArrayBuffer.isView(value)) return secret ? REDACTED : `(${value.byteLength} bytes)`
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) return undefined
    if (secret) return REDACTED
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, show(inner, [...way, name], inside)]))
  }

  function showList (list: readonly unknown[], way: readonly string[], within: readonly object[]): unknown[] {
    const [first, second] = list
    // the condition of a route: a header's name, and what its value must be
    if (list.length === 2 && typeof first === 'string' && typeof second === 'object' && isSecret(first)) return [first, REDACTED]
    return list.map(value => show(value, way, within) ?? null)
  }

  return {
    json: value => show(value, [], []),
    metadata (metadata) {
      let shown = known.get(metadata)
      if (shown === undefined) known.set(metadata, shown = show(metadata, ['metadata'], []) as Readonly<Record<string, unknown>>)
      return shown
    },
    text: redactor.urlOrText
  }
}
