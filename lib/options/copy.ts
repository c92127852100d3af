/**
 * Copies what a user passed, so that nothing later touches it, and freezes what the house made of it.
 * Functions, RegExps, bytes, TypeBox schemas, providers of discovery and instances of classes other than Object are handed on
 * as they are.
 */
import { Kind } from '@sinclair/typebox'
import type { OptionProblem } from '../errors.ts'
import { at } from './paths.ts'

/** Options are shallow; what is deeper is a cycle or a mistake. */
const MAX_DEPTH = 32

export function isRecord (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // An object of another realm has another Object.prototype, which again has no prototype.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

/** What TypeBox knows of a schema stands under symbols, and Fastify knows a schema by its identity: a copy would lose both. */
export function isTypeBox (value: object): boolean {
  return Object.hasOwn(value, Kind)
}

/** A provider of discovery has state of its own: it must stay the object that it is, and may change. */
export function isProvider (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { resolve, watch } = value as { resolve?: unknown, watch?: unknown }
  return typeof resolve === 'function' && (watch === undefined || typeof watch === 'function')
}

/** Whether something under this name is none of ours to copy or freeze. */
function isForeign (key: string, value: unknown): boolean {
  return key === 'provider' && isProvider(value)
}

/** Deep copy of own enumerable string properties; `undefined` counts as absent. Refuses `__proto__` and cycles. */
export function copy (value: unknown, path: string, problems: OptionProblem[], depth = 0): unknown {
  if (depth > MAX_DEPTH) {
    problems.push({ path, rule: 'must not be nested this deep (or contain itself)' })
    return undefined
  }
  if (Array.isArray(value)) return Array.from(value, (item: unknown, index) => copy(item, at(path, index), problems, depth + 1))
  if (!isRecord(value) || isTypeBox(value)) return value
  const result: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') problems.push({ path: at(path, key), rule: 'must not be used as a name' })
    else if (item !== undefined) result[key] = isForeign(key, item) ? item : copy(item, at(path, key), problems, depth + 1)
  }
  return result
}

/** Freezes objects and arrays all the way down. */
export function deepFreeze<T> (value: T): T {
  if ((Array.isArray(value) || (isRecord(value) && !isTypeBox(value))) && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const [key, item] of Object.entries(value)) if (!isForeign(key, item)) deepFreeze(item)
  }
  return value
}
