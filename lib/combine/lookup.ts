/**
 * Inner values by path, found in the bytes.
 */
import { OPEN_ARRAY, OPEN_OBJECT } from './bytes.ts'
import { entryAt, isElements, isRun, marksOf, membersOf, slice } from './json.ts'
import type { Json, Slice } from './json.ts'
import { isKey, isText } from './keys.ts'
import { elementMarks } from './walk.ts'

/** Of a key that occurs twice the last value, as JSON.parse has it. Nothing is inherited, arrays have no `length`. */
export function lookup (json: Json, path: ReadonlyArray<string | number>): Json | undefined {
  let at: Json | undefined = json
  for (const segment of path) {
    if (at === undefined) return undefined
    at = isArray(at) ? elementAt(at, segment) : valueOf(at, String(segment))
  }
  return at
}

export function isObject (json: Json): boolean {
  return json.form === 'object' || (json.form === 'slice' && json.bytes[json.start] === OPEN_OBJECT)
}

export function isArray (json: Json): boolean {
  return json.form === 'array' || (json.form === 'slice' && json.bytes[json.start] === OPEN_ARRAY)
}

function valueOf (json: Json, key: string): Json | undefined {
  if (!isObject(json)) return undefined
  const members = membersOf(json)
  for (let m = members.length - 1; m >= 0; m--) {
    const member = members[m]!
    if (!isRun(member)) {
      if (isKey(member.key, key)) return member.value
      continue
    }
    const marks = marksOf(member.source)
    for (let index = member.to - 1; index >= member.from; index--) {
      if (isText(member.source.bytes, marks[index * 4]!, marks[index * 4 + 1]!, key)) return entryAt(member.source, index).value
    }
  }
  return undefined
}

function elementAt (json: Json, segment: string | number): Json | undefined {
  if (typeof segment === 'string' && !/^(?:0|[1-9]\d*)$/.test(segment)) return undefined
  const index = Number(segment)
  if (!Number.isInteger(index) || index < 0) return undefined
  if (json.form === 'array') return elements(json)[index]
  if (json.form === 'object') return undefined
  const marks = elementMarks(json.bytes, json.start)
  const start = marks[index * 2]
  return start === undefined ? undefined : slice(json, start, marks[index * 2 + 1]!)
}

/** Of an array; of anything else none. */
export function elements (json: Json): Json[] {
  if (json.form === 'array') return json.items.flatMap(item => isElements(item) ? sliceElements(item.from) : item)
  if (json.form === 'object' || !isArray(json)) return []
  return sliceElements(json)
}

function sliceElements (json: Slice): Json[] {
  const marks = elementMarks(json.bytes, json.start)
  const items: Json[] = []
  for (let at = 0; at < marks.length; at += 2) items.push(slice(json, marks[at]!, marks[at + 1]!))
  return items
}
