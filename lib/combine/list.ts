/**
 * Answers side by side: an object with the parts by name, arrays behind each other.
 */
import { objectOf } from './compose.ts'
import type { Item, Json } from './json.ts'
import type { MergeInput } from './merge.ts'
import { isEmptyArray } from './walk.ts'

/** `{ "<name>": <value>, … }` */
export function object (parts: readonly MergeInput[]): Json {
  return objectOf(parts.map(({ name, json }) => [name, json]))
}

/** All parts are arrays. */
export function append (parts: readonly Json[]): Json {
  const items: Item[] = []
  for (const part of parts) {
    if (part.form === 'array') for (const item of part.items) items.push(item)
    else if (part.form === 'slice' && !isEmptyArray(part.bytes, part.start)) items.push({ from: part })
  }
  return { form: 'array', items }
}
