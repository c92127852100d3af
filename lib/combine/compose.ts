/**
 * Objects and arrays put together of values.
 */
import { entriesOf, membersOf } from './json.ts'
import type { Json, Member } from './json.ts'
import { isKey, keyOf } from './keys.ts'
import { lookup } from './lookup.ts'

export function objectOf (entries: ReadonlyArray<readonly [key: string, value: Json]>): Json {
  return { form: 'object', members: entries.map(([key, value]) => ({ key: keyOf(key), value })) }
}

export function arrayOf (items: readonly Json[]): Json {
  return { form: 'array', items: [...items] }
}

/** Replaces the entry where it stands, or comes last. */
export function withEntry (object: Json, key: string, value: Json): Json {
  if (lookup(object, [key]) === undefined) return { form: 'object', members: [...membersOf(object), { key: keyOf(key), value }] }
  const members: Member[] = []
  let known = false
  for (const entry of entriesOf(object)) {
    if (!isKey(entry.key, key)) members.push(entry)
    else if (!known) members.push({ key: entry.key, value })
    known ||= isKey(entry.key, key)
  }
  return { form: 'object', members }
}
