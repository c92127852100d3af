/**
 * Where two values of an option differ, down to the options that somebody has written.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Rules } from '../options/branches.ts'
import { PLAIN, type Form } from '../options/forms.ts'
import { longForm } from '../options/merge.ts'
import { at } from '../options/paths.ts'
import { inUnits, isMap, itemOf, within, type Known } from './schema.ts'
import { shown } from './show.ts'
import type { Change } from './types.ts'

/** What an option is by its schema and, for its short forms, by its form; both may be unknown. */
export interface Option {
  readonly schema?: Rules
  readonly form?: Form
}

interface Place extends Known {
  readonly form: Form
  readonly path: string
  /** The last key of the path. */
  readonly name: string
}

/**
 * Every option that differs. Times and sizes are compared by what they mean, functions by identity, lists as one value. `path` is
 * where the values stand.
 */
export function diffOptions ({ schema, form = PLAIN }: Option, before: unknown, after: unknown, path = ''): Change[] {
  const changes: Change[] = []
  walk({ schema, isSecret: schema?.secret === true, form, path, name: path }, before, after, changes)
  return changes
}

function walk (place: Place, before: unknown, after: unknown, changes: Change[]): void {
  const [one, other] = [inFull(before, place.form), inFull(after, place.form)]
  if (areMaps(one, other)) {
    for (const key of keysOf(one, other)) walk(inner(place, key, one, other), valueOf(one, key), valueOf(other, key), changes)
  } else if (!areSame(place, one, other)) {
    changes.push({ path: place.path, from: shown(place, inShort(before, place.form), place.name), to: shown(place, inShort(after, place.form), place.name) })
  }
}

/** Two maps, or one and nothing: each of their options is a difference by itself then. */
function areMaps (one: unknown, other: unknown): boolean {
  const isMapOrNothing = (value: unknown) => value === undefined || isMap(value)
  return isMapOrNothing(one) && isMapOrNothing(other) && keysOf(one, other).length > 0
}

function keysOf (one: unknown, other: unknown): string[] {
  return [...new Set([one, other].flatMap(value => isMap(value) ? Object.keys(value) : []))]
}

function valueOf (map: unknown, key: string): unknown {
  return isMap(map) && Object.hasOwn(map, key) ? map[key] : undefined
}

function inner (place: Place, key: string, one: unknown, other: unknown): Place {
  const { form: { keys = {}, each = PLAIN }, path, name } = place
  const known = within(place, valueOf(other, key) === undefined ? one : other, key, name)
  return { ...known, form: Object.hasOwn(keys, key) ? keys[key]! : each, path: at(path, key), name: key }
}

function inFull (value: unknown, form: Form): unknown {
  return form.on === true && value === true ? {} : longForm(value, form)
}

/** What has been put together has lost its `true`. */
function inShort (value: unknown, form: Form): unknown {
  return form.on === true && isMap(value) && keysOf(value, undefined).length === 0 ? true : value
}

function areSame (known: Known, one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, index) => areSame(itemOf(known, one), item, other[index]))
  }
  if (isMap(one) && isMap(other)) return keysOf(one, other).every(key => areSame(within(known, one, key, ''), valueOf(one, key), valueOf(other, key)))
  return isDeepStrictEqual(inUnits(known.schema, one), inUnits(known.schema, other))
}
