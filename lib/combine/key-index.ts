/**
 * Which keys of several objects are the same, found by comparing bytes: a small hash table over the keys as they are written.
 * Keys are decoded only where one has escapes.
 */
import { randomInt } from 'node:crypto'
import { entriesOf, isRun, marksOf, membersOf } from './json.ts'
import type { Json } from './json.ts'
import { canonical } from './keys.ts'

export interface KeyIndex {
  /** Of every entry, counted through all objects: the object it is in. */
  readonly owner: ArrayLike<number>
  /** The entry before with the same key, or -1. */
  readonly previous: ArrayLike<number>
}

const BACKSLASH = 0x5c
/** With more entries, or with keys chosen to collide, a Map of texts does it: its hashes cannot be aimed at. */
const most = 2048
const longestProbe = 64
const seed = randomInt(0x7fffffff)

// All of these are used anew by each call. Typed arrays of this module, as in the scan.
/** Entry + 1; 0 is free. */
const table = new Int32Array(most * 2)
const owners = new Int32Array(most)
const starts = new Int32Array(most)
const ends = new Int32Array(most)
const before = new Int32Array(most)

/** undefined: no two objects have a key in common. */
export function indexKeys (objects: readonly Json[]): KeyIndex | undefined {
  const shared = byBytes(objects)
  if (shared === undefined) return byText(objects)
  return shared === -1 ? undefined : { owner: owners.slice(0, shared), previous: before.slice(0, shared) }
}

/** The number of entries when two objects share a key, else -1. undefined: the bytes do not tell, or there are too many. */
function byBytes (objects: readonly Json[]): number | undefined {
  const sources: Buffer[] = []
  let count = 0
  for (let object = 0; object < objects.length; object++) {
    for (const member of membersOf(objects[object]!)) {
      const run = isRun(member)
      const bytes = run ? member.source.bytes : member.key.bytes
      const marks = run ? marksOf(member.source) : [member.key.start, member.key.end]
      const to = run ? member.to * 4 : 4
      for (let at = run ? member.from * 4 : 0; at < to; at += 4) {
        if (count === most) return undefined
        sources.push(bytes)
        owners[count] = object
        starts[count] = marks[at]!
        ends[count] = marks[at + 1]!
        count++
      }
    }
  }
  let size = 16
  while (size < count * 2) size *= 2
  table.fill(0, 0, size)
  let shared = false
  for (let entry = 0; entry < count; entry++) {
    const other = place(entry, sources, size - 1)
    if (other === -2) return undefined
    before[entry] = other
    if (other !== -1 && owners[other] !== owners[entry]) shared = true
  }
  return shared ? count : -1
}

/** Puts the entry in the table. The latest before it with the same key, -1: none, -2: no way to tell. */
function place (entry: number, sources: readonly Buffer[], mask: number): number {
  const bytes = sources[entry]!
  const start = starts[entry]!
  const end = ends[entry]!
  let hash = seed ^ (end - start)
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (byte === BACKSLASH) return -2
    hash = ((hash << 5) - hash) ^ byte
  }
  let at = (hash ^ (hash >>> 11)) & mask
  for (let probes = 0; probes < longestProbe; probes++) {
    const other = table[at]! - 1
    if (other === -1 || (ends[other]! - starts[other]! === end - start && sameBytes(sources[other]!, starts[other]!, bytes, start, end))) {
      table[at] = entry + 1
      return other
    }
    at = (at + 1) & mask
  }
  return -2
}

function sameBytes (a: Buffer, from: number, b: Buffer, start: number, end: number): boolean {
  const shift = from - start
  for (let i = start; i < end; i++) if (a[i + shift] !== b[i]) return false
  return true
}

function byText (objects: readonly Json[]): KeyIndex | undefined {
  const owner: number[] = []
  const previous: number[] = []
  const latest = new Map<string, number>()
  let shared = false
  objects.forEach((json, object) => entriesOf(json).forEach(({ key }) => {
    const { bytes, start, end } = canonical(key)
    const text = bytes.toString('latin1', start, end)
    const other = latest.get(text) ?? -1
    if (other !== -1 && owner[other] !== object) shared = true
    latest.set(text, owner.length)
    owner.push(object)
    previous.push(other)
  }))
  return shared ? { owner, previous } : undefined
}
