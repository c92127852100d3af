/**
 * Holds a value against a schema and reports every problem with its path, the rule and the value.
 *
 * TypeBox's own checker says "expected union value" where a user needs to know which part of which form is wrong. This walker
 * picks the form by the value's type and keys (`branches.ts`) and goes on inside.
 */
import type { OptionProblem } from '../errors.ts'
import { kindOf, pickBranch, ruleOf, type Rules } from './branches.ts'
import { isProvider, isRecord } from './copy.ts'
import { at } from './paths.ts'
import { RULES, type CheckName, type Origin } from './rules.ts'
import { nearest } from './suggest.ts'
import { NOT_SHOWN } from './veil.ts'

export interface Walk {
  readonly problems: OptionProblem[]
  readonly origin: Origin
}

/** Reports everything about `value` that `schema` forbids. `value` is our copy: plain objects without `__proto__`. */
export function check (schema: Rules, value: unknown, path: string, walk: Walk): void {
  if (schema.anyOf !== undefined) {
    const branch = pickBranch(schema.anyOf, value)
    return branch === undefined ? report(mayBeSecret(schema, value) ? { ...schema, secret: true } : schema, value, path, walk) : check(branch, value, path, walk)
  }
  if (schema.json === true) return checkJson(value, path, walk)
  const isRight = schema.code !== undefined
    ? schema.code === 'provider' ? isProvider(value) : kindOf(value) === schema.code
    : schema.const !== undefined || schema.enum !== undefined ? checkWord(schema, value, path, walk) : checkType(schema, value, path, walk)
  if (!isRight) report(schema, value, path, walk)
}

/** false: it is of another type; what is wrong within has been reported. */
function checkType (schema: Rules, value: unknown, path: string, walk: Walk): boolean {
  switch (schema.type) {
    case undefined: return true
    case 'object':
      if (kindOf(value) !== 'object') return false
      checkObject(schema, value as Record<string, unknown>, path, walk)
      return true
    case 'array':
      if (!Array.isArray(value)) return false
      checkList(schema, value, path, walk)
      return true
    case 'string':
      if (typeof value !== 'string') return false
      checkText(schema, value, path, walk)
      return true
    case 'boolean': return typeof value === 'boolean'
    default: return isNumberWithin(schema, value)
  }
}

function report (schema: Rules, value: unknown, path: string, walk: Walk, rule = ruleOf(schema)): void {
  walk.problems.push({ path, rule, value: schema.secret === true ? NOT_SHOWN : value })
}

function checkWord (schema: Rules, value: unknown, path: string, walk: Walk): boolean {
  const words: readonly unknown[] = schema.enum ?? [schema.const]
  if (words.includes(value)) return true
  const meant = typeof value === 'string' ? nearest(value, words.filter(word => typeof word === 'string')) : undefined
  report(schema, value, path, walk, ruleOf(schema) + (meant === undefined ? '' : `; did you mean "${meant}"?`))
  return true
}

function checkText (schema: Rules, value: string, path: string, walk: Walk): void {
  const broken = schema.check === undefined ? undefined : RULES[schema.check](value, walk.origin)
  if (broken !== undefined) report(schema, value, path, walk, schema.rule ?? broken)
}

function isNumberWithin (schema: Rules, value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false
  if (schema.type === 'integer' && !Number.isSafeInteger(value)) return false
  return value >= (schema.minimum ?? -Infinity) && value <= (schema.maximum ?? Infinity)
}

function checkList (schema: Rules, value: readonly unknown[], path: string, walk: Walk): void {
  if (value.length < (schema.minItems ?? 0)) walk.problems.push({ path, rule: 'must not be empty', value })
  const { items } = schema
  if (items === undefined) return
  value.forEach((item, index) => check(items, item, at(path, index), walk))
}

/** JSON data all the way down: what goes out as JSON must not change its meaning on the way. */
function checkJson (value: unknown, path: string, walk: Walk): void {
  switch (kindOf(value)) {
    case 'string':
    case 'boolean':
    case 'null': return
    case 'array': return (value as unknown[]).forEach((item, index) => checkJson(item, at(path, index), walk))
    case 'object': return Object.entries(value as object).forEach(([key, item]) => checkJson(item, at(path, key), walk))
    default: if (!Number.isFinite(value)) walk.problems.push({ path, rule: 'must be JSON data: a text, a number, true, false, null, a list or an object', value })
  }
}

function checkObject (schema: Rules, value: Record<string, unknown>, path: string, walk: Walk): void {
  const properties = schema.properties ?? {}
  // once for all keys: there may be many
  const patterns = schema.patternProperties === undefined ? [] : Object.entries(schema.patternProperties).map(([pattern, item]) => [new RegExp(pattern), item] as const)
  for (const [key, item] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : patterns.find(([pattern]) => pattern.test(key))?.[1]
    if (property === undefined) reportUnknown(schema, key, item, at(path, key), walk)
    else check(property, item, at(path, key), walk)
  }
  if (Object.keys(value).length < (schema.minProperties ?? 0)) walk.problems.push({ path, rule: 'must not be empty', value })
  if (schema.names !== undefined) checkKeys(schema.names, value, path, walk)
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) walk.problems.push({ path: at(path, key), rule: 'is required' })
  }
  checkCompany(schema, value, path, walk)
}

function reportUnknown (schema: Rules, key: string, value: unknown, path: string, walk: Walk): void {
  if (schema.type === 'object' && schema.additionalProperties !== false) return
  const known = Object.keys(schema.properties ?? {})
  const hint = schema.hints !== undefined && Object.hasOwn(schema.hints, key) ? schema.hints[key] : undefined
  const meant = nearest(key, known)
  const advice = hint ?? (meant === undefined ? `known are ${known.join(', ')}` : `did you mean "${meant}"?`)
  const likely = meant ?? /^did you mean "(\w+)"/.exec(hint ?? '')?.[1]
  const isSecret = likely !== undefined && schema.properties?.[likely]?.secret === true
  walk.problems.push({ path, rule: `is not an option; ${advice}`, value: isSecret ? NOT_SHOWN : value })
}

/** Names of a record: each by its rule, and header names not twice in different case. */
function checkKeys (rule: CheckName, value: Record<string, unknown>, path: string, walk: Walk): void {
  const seen = new Set<string>()
  for (const key of Object.keys(value)) {
    const broken = RULES[rule](key, walk.origin)
    if (broken !== undefined) walk.problems.push({ path: at(path, key), rule: broken, value: key })
    const folded = rule === 'editableHeader' || rule === 'headerName' ? key.toLowerCase() : key
    if (seen.has(folded)) walk.problems.push({ path: at(path, key), rule: 'must not be there twice (header names have no case)', value: key })
    seen.add(folded)
  }
}

function checkCompany (schema: Rules, value: Record<string, unknown>, path: string, walk: Walk): void {
  const { exactlyOne, together } = schema
  const has = (key: string) => Object.hasOwn(value, key)
  if (exactlyOne !== undefined && exactlyOne.filter(has).length !== 1) {
    walk.problems.push({ path, rule: `must have exactly one of ${exactlyOne.join(', ')}`, value: veiled(schema, value) })
  }
  if (together !== undefined && together.some(has)) {
    const missing = together.filter(key => !has(key))
    for (const key of missing) walk.problems.push({ path: at(path, key), rule: `is required beside ${together.filter(has).join(', ')}` })
  }
}

/** Where an object with a secret belongs, a text may be that secret. */
function mayBeSecret ({ anyOf = [] }: Rules, value: unknown): boolean {
  return typeof value === 'string' && anyOf.some(({ properties = {} }) => Object.values(properties).some(({ secret }) => secret === true))
}

/** An object as an error may show it: what its schema calls secret is left out; what names and looks say is one, the error leaves out itself. */
export function veiled (schema: Rules, value: unknown): unknown {
  if (schema.secret === true) return NOT_SHOWN
  const branch = schema.anyOf === undefined ? schema : pickBranch(schema.anyOf, value)
  if (Array.isArray(value)) return value.map((item: unknown) => veiled(branch?.items ?? {}, item))
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, veiled(branch?.properties?.[key] ?? {}, item)]))
}
