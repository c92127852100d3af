/**
 * Durations and sizes as numbers. Callers have checked the texts against the patterns of `schema/values.ts`:
 * `ms` and `bytes` both guess where they do not understand.
 */
import parseSize from 'bytes'
import parseDuration from 'ms'

/** `'10s'` → 10000. Fractions of a millisecond are rounded up, so that a short time never becomes "off". */
export function milliseconds (value: number | string): number {
  return Math.ceil(typeof value === 'number' ? value : parseDuration(value as parseDuration.StringValue))
}

/** `'16kb'` → 16384. */
export function byteCount (value: number | string): number {
  return typeof value === 'number' ? value : parseSize(value) ?? Number.NaN
}
