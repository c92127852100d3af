/**
 * The small schemas everything else is made of, and the keywords of ours that the checker (`../check.ts`) reads:
 *
 * | keyword | meaning |
 * |---|---|
 * | `check` | name of a rule in `../rules.ts` for a text |
 * | `names` | the same, for the property names of a record |
 * | `rule` | the sentence reported instead of one derived from the schema |
 * | `code` | a value only code can have (a function, a RegExp, bytes, another instance of a class, a provider of discovery); left out of the JSON Schema |
 * | `exactlyOne` | names of properties of which one must be there |
 * | `together` | names of properties that need each other |
 * | `hints` | what to say when a certain unknown property is met |
 * | `secret` | never show the value |
 * | `json` | JSON data: no functions, no instances of classes, no NaN |
 */
import { Type, type ObjectOptions, type SchemaOptions, type TProperties, type TUnsafe } from '@sinclair/typebox'
import type { CheckName } from '../rules.ts'

declare module '@sinclair/typebox' {
  interface SchemaOptions {
    check?: CheckName
    names?: CheckName
    rule?: string
    code?: 'function' | 'regexp' | 'bytes' | 'other' | 'provider'
    exactlyOne?: readonly string[]
    together?: readonly string[]
    hints?: Readonly<Record<string, string>>
    secret?: boolean
    json?: boolean
  }
}

/** Longest time a timer of Node can wait; longer ones would fire at once. */
export const MAX_DURATION = 2_147_483_647

/** Texts `ms` understands, without signs. */
export const DURATION_PATTERN = '^(\\d+|\\d*\\.\\d+) *(ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)?$'

/** Texts `bytes` understands, without signs. */
export const SIZE_PATTERN = '^\\d+(\\.\\d+)? *([kKmMgGtT]?[bB])?$'

/** An object without properties beyond the named ones. */
export function object<P extends TProperties> (properties: P, options: ObjectOptions = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options })
}

/** One of a few words. */
export function words<const W extends readonly string[]> (values: W, options: SchemaOptions = {}): TUnsafe<W[number]> {
  return Type.Unsafe<W[number]>({ type: 'string', enum: [...values], ...options })
}

/** Milliseconds or `'10s'`; 0 is allowed unless `minimum` says otherwise. */
export function duration (options: SchemaOptions & { minimum?: 0 | 1 } = {}) {
  const { minimum = 0, ...rest } = options
  const rule = `must be a duration ${minimum === 0 ? 'of 0 or more' : 'above 0'} and below 25 days: milliseconds, or a text such as "10s"`
  return Type.Union([
    Type.Number({ minimum, maximum: MAX_DURATION, rule }),
    Type.String({ pattern: DURATION_PATTERN, check: minimum === 0 ? 'duration' : 'positiveDuration', rule })
  ], { rule, ...rest })
}

/** Bytes or `'16kb'`; 0 is allowed unless `minimum` says otherwise. */
export function size (options: SchemaOptions & { minimum?: 0 | 1 } = {}) {
  const { minimum = 0, ...rest } = options
  const rule = `must be a size ${minimum === 0 ? 'of 0 or more' : 'above 0'}: bytes as a whole number, or a text such as "16kb"`
  return Type.Union([
    Type.Integer({ minimum, rule }),
    Type.String({ pattern: SIZE_PATTERN, check: minimum === 0 ? 'size' : 'positiveSize', rule })
  ], { rule, ...rest })
}

/** A text held against a rule of `../rules.ts`. */
export function text (check: CheckName, options: SchemaOptions = {}) {
  return Type.String({ check, ...options })
}

/** A function, with the type it has in code. */
export function fn<T> (options: SchemaOptions = {}): TUnsafe<T> {
  return Type.Unsafe<T>({ code: 'function', ...options })
}

/** What JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

/** Any JSON value. */
export function json (options: SchemaOptions = {}): TUnsafe<Json> {
  return Type.Unsafe<Json>({ json: true, ...options })
}

/** A RegExp of code. */
export function regexp (options: SchemaOptions = {}): TUnsafe<RegExp> {
  return Type.Unsafe<RegExp>({ code: 'regexp', rule: 'must be a regular expression', ...options })
}

/** A provider of discovery: with methods, whatever else it is. */
export function provider<T> (options: SchemaOptions = {}): TUnsafe<T> {
  return Type.Unsafe<T>({ code: 'provider', ...options })
}

/** An instance of a class that is none of these. */
export function instance<T> (options: SchemaOptions = {}): TUnsafe<T> {
  return Type.Unsafe<T>({ code: 'other', ...options })
}

/** A Buffer or Uint8Array of code. */
export function bytes (options: SchemaOptions = {}): TUnsafe<Uint8Array> {
  return Type.Unsafe<Uint8Array>({ code: 'bytes', ...options })
}
