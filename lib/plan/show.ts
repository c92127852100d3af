/**
 * Values as a plan shows them: JSON data without secrets.
 */
import { createRedactor } from '../redact/index.ts'
import { formOf, isMap, itemOf, within, type Known } from './schema.ts'

/** In the place of a secret. */
export const HIDDEN = '(changed)'

const redactor = createRedactor()

/** The value as JSON data; undefined stays undefined. `name` is what it stands under. */
export function shown (known: Known, value: unknown, name: string): unknown {
  if (value === undefined) return undefined
  if (known.isSecret || formOf(known.schema, value)?.secret === true) return typeof value === 'boolean' ? value : HIDDEN
  if (typeof value === 'string') return shownText(value)
  if (typeof value === 'function') return '(function)'
  if (value instanceof RegExp) return String(value)
  if (Array.isArray(value)) {
    const item = itemOf(known, value)
    return value.map(one => shown(item, one, name))
  }
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(within(known, value, key, name), inner, key)]))
  if (typeof value === 'number') return Number.isFinite(value) ? value : 'no limit'
  return typeof value === 'object' && value !== null ? '(object)' : value
}

/** Certificates say nothing to a reader, and one that begins like another looks the same. */
function shownText (text: string): string {
  return text.includes('-----BEGIN ') ? HIDDEN : redactor.urlOrText(text)
}
