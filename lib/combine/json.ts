/**
 * A JSON value as bytes: a slice of a validated body, or an object or array put together of such slices. Nothing is copied
 * until the answer is written, and what nobody changed keeps its bytes: digits, escapes, white space, keys that occur twice.
 *
 * The buffers belong to their values from then on: nobody may write to them.
 */
import { OPEN_ARRAY, OPEN_OBJECT, LETTER_F, LETTER_N, LETTER_T, QUOTE } from './bytes.ts'
import { deepest, scan } from './scan.ts'
import { entryMarks } from './walk.ts'

export interface Slice {
  readonly form: 'slice'
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** True: all of it is ASCII. False: nobody knows. */
  readonly ascii: boolean
  /** Of an object: where its entries are (see Places), once somebody has looked. */
  marks: readonly number[] | undefined
}

/** One entry of an object. The key is a JSON text, with its quotes. */
export interface Entry {
  readonly key: Slice
  readonly value: Json
}

/** Neighbours in one object, entries `from` to before `to`: they are copied as a whole. */
export interface Run {
  readonly source: Slice
  readonly from: number
  readonly to: number
}

export type Member = Entry | Run

export interface ComposedObject {
  readonly form: 'object'
  readonly members: readonly Member[]
}

/** All elements of an array that has some, copied as a whole. */
export interface Elements {
  readonly from: Slice
}

export type Item = Json | Elements

export interface ComposedArray {
  readonly form: 'array'
  readonly items: readonly Item[]
}

export type Json = Slice | ComposedObject | ComposedArray
export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null'

/** Refuses what is no JSON (RFC 8259), no UTF-8, or nested deeper than `maxDepth` (at most 1000). A byte order mark is skipped. */
export function parseJson (bytes: Buffer, maxDepth: number): Json {
  const { start, end, marks, ascii } = scan(bytes, maxDepth)
  return { form: 'slice', bytes, start, end, ascii, marks }
}

/** Of a value in JavaScript, as JSON.stringify sees it. */
export function jsonOf (value: unknown, maxDepth: number = deepest): Json {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError(`No JSON can be made of ${typeof value}`)
  return parseJson(Buffer.from(text), maxDepth)
}

export function kindOf (json: Json): JsonKind {
  if (json.form !== 'slice') return json.form
  switch (json.bytes[json.start]) {
    case OPEN_OBJECT: return 'object'
    case OPEN_ARRAY: return 'array'
    case QUOTE: return 'string'
    case LETTER_T:
    case LETTER_F: return 'boolean'
    case LETTER_N: return 'null'
    default: return 'number'
  }
}

export function slice (source: Slice, start: number, end: number): Slice {
  return { form: 'slice', bytes: source.bytes, start, end, ascii: source.ascii, marks: undefined }
}

/** Where the entries of an object's slice are. */
export function marksOf (object: Slice): readonly number[] {
  object.marks ??= entryMarks(object.bytes, object.start)
  return object.marks
}

export function isElements (item: Item): item is Elements {
  return 'from' in item
}

export function isRun (member: Member): member is Run {
  return 'source' in member
}

/** A whole object as one run; undefined when it is empty. */
export function wholeRun (source: Slice): Run | undefined {
  const to = marksOf(source).length / 4
  return to === 0 ? undefined : { source, from: 0, to }
}

export function membersOf (object: Json): readonly Member[] {
  if (object.form === 'object') return object.members
  if (object.form === 'array' || object.bytes[object.start] !== OPEN_OBJECT) return []
  const run = wholeRun(object)
  return run === undefined ? [] : [run]
}

/** Every entry on its own, in order. */
export function entriesOf (object: Json): Entry[] {
  const entries: Entry[] = []
  for (const member of membersOf(object)) {
    if (isRun(member)) for (let index = member.from; index < member.to; index++) entries.push(entryAt(member.source, index))
    else entries.push(member)
  }
  return entries
}

export function entryAt (source: Slice, index: number): Entry {
  const marks = marksOf(source)
  const at = index * 4
  return { key: slice(source, marks[at]!, marks[at + 1]!), value: slice(source, marks[at + 2]!, marks[at + 3]!) }
}
