/**
 * From bytes to JavaScript: values for users' functions, texts for templates, answers for conditions.
 */
import secureJson from 'secure-json-parse'
import { kindOf } from './json.ts'
import type { Json } from './json.ts'
import { isText, keyText } from './keys.ts'
import { textOf } from './write.ts'

const safe = { protoAction: 'remove', constructorAction: 'remove' } as const

/** Without `__proto__`, and without `constructor` that holds a `prototype`, at every depth: what users merge is harmless. */
export function toValue (json: Json): unknown {
  return secureJson.parse(textOf(json), safe)
}

/** The text a scalar stands for, a number as it was sent; undefined of null, objects and arrays. */
export function scalarText (json: Json): string | undefined {
  if (json.form !== 'slice') return undefined
  switch (kindOf(json)) {
    case 'string': return keyText(json.bytes, json.start, json.end)
    case 'number':
    case 'boolean': return json.bytes.toString('latin1', json.start, json.end)
    default: return undefined
  }
}

/** False of null, false, any zero and "". */
export function isTruthy (json: Json): boolean {
  switch (kindOf(json)) {
    case 'null': return false
    case 'boolean': return textOf(json) === 'true'
    case 'number': return Number(textOf(json)) !== 0
    case 'string': return textOf(json).length > 2
    default: return true
  }
}

/** Deep equality; the order of keys is none. */
export function equalsValue (json: Json, value: unknown): boolean {
  if (json.form === 'slice' && typeof value === 'string') return kindOf(json) === 'string' && isText(json.bytes, json.start, json.end, value)
  return equal(JSON.parse(textOf(json)), value)
}

function equal (a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const left = new Map(Object.entries(a))
  const right = Object.entries(b)
  return left.size === right.length && right.every(([key, inner]) => left.has(key) && equal(left.get(key), inner))
}
