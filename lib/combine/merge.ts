/**
 * Several objects become one. Where no key is in two of them, and that is found out without decoding one, the parts are
 * put behind each other as they are.
 */
import type { Conflict } from '../composite/types.ts'
import { entryAt, isRun, membersOf } from './json.ts'
import type { Entry, Json, Member, Slice } from './json.ts'
import { indexKeys } from './key-index.ts'
import type { KeyIndex } from './key-index.ts'
import { keyText } from './keys.ts'
import { isObject } from './lookup.ts'
import { ConflictProblem } from './problem.ts'

export interface MergeInput {
  readonly name: string
  readonly json: Json
}

/** All parts are objects. A key stands where it first appears in order of declaration. */
export function merge (parts: readonly MergeInput[], conflict: Conflict): Json {
  return join(parts.map(({ json }) => json), conflict, parts)
}

function join (objects: readonly Json[], conflict: Conflict, parts: readonly MergeInput[]): Json {
  const index = indexKeys(objects)
  const members: Member[] = []
  for (const object of objects) for (const member of membersOf(object)) members.push(member)
  if (index === undefined) return { form: 'object', members }
  const groups = sharedGroups(index)
  const entryOf = createFinder(members)
  if (conflict === 'error') throw conflictOf(groups[0]!, index, entryOf(groups[0]![0]!).key, parts)
  const instead = new Map<number, Entry | undefined>()
  for (const group of groups) {
    for (const entry of group) instead.set(entry, undefined)
    const entries = group.map(entryOf)
    const value = conflict === 'deep' ? deepValue(entries, group, index) : winner(entries, group, index, conflict)
    instead.set(group[0]!, { key: entries[0]!.key, value })
  }
  return { form: 'object', members: replaced(members, instead) }
}

/** The entries of every key that two objects have, in order. */
function sharedGroups ({ owner, previous }: KeyIndex): number[][] {
  const groups = new Map<number, number[]>()
  const first: number[] = []
  for (let entry = 0; entry < previous.length; entry++) {
    const before = previous[entry]!
    first.push(before === -1 ? entry : first[before]!)
    if (before === -1) continue
    const group = groups.get(first[entry]!)
    if (group === undefined) groups.set(first[entry]!, [before, entry])
    else group.push(entry)
  }
  return [...groups.values()].filter(group => owner[group[0]!] !== owner[group.at(-1)!])
}

/** Of the first or of the last object; of an object's duplicates the last. */
function winner (entries: readonly Entry[], group: readonly number[], { owner }: KeyIndex, conflict: Conflict): Json {
  if (conflict !== 'first') return entries.at(-1)!.value
  const after = group.findIndex(entry => owner[entry] !== owner[group[0]!])
  return entries[after - 1]!.value
}

/** Objects after the last value that is none become one. */
function deepValue (entries: readonly Entry[], group: readonly number[], { owner }: KeyIndex): Json {
  const values = entries.filter((_, at) => owner[group[at]!] !== owner[group[at + 1] ?? -1]).map(({ value }) => value)
  const from = values.findLastIndex(value => !isObject(value)) + 1
  const objects = values.slice(from)
  if (objects.length === 0) return values.at(-1)!
  return objects.length === 1 ? objects[0]! : join(objects, 'deep', [])
}

function conflictOf (group: readonly number[], { owner }: KeyIndex, key: Slice, parts: readonly MergeInput[]): ConflictProblem {
  const first = owner[group[0]!]!
  const second = owner[group.find(entry => owner[entry] !== first)!]!
  return new ConflictProblem(keyText(key.bytes, key.start, key.end), parts[first]!.name, parts[second]!.name)
}

/** Finds an entry by its number among all, without a look at each. */
function createFinder (members: readonly Member[]): (entry: number) => Entry {
  const starts: number[] = []
  let count = 0
  for (const member of members) {
    starts.push(count)
    count += isRun(member) ? member.to - member.from : 1
  }
  return entry => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (starts[middle]! <= entry) low = middle
      else high = middle - 1
    }
    const member = members[low]!
    return isRun(member) ? entryAt(member.source, member.from + entry - starts[low]!) : member
  }
}

/** Runs are cut where an entry goes or gets another value. */
function replaced (members: readonly Member[], instead: ReadonlyMap<number, Entry | undefined>): Member[] {
  const out: Member[] = []
  let entry = 0
  for (const member of members) {
    if (!isRun(member)) {
      const now = instead.has(entry) ? instead.get(entry) : member
      if (now !== undefined) out.push(now)
      entry++
      continue
    }
    const { source, to } = member
    let from = member.from
    for (let at = member.from; at < to; at++, entry++) {
      if (!instead.has(entry)) continue
      if (from < at) out.push({ source, from, to: at })
      const now = instead.get(entry)
      if (now !== undefined) out.push(now)
      from = at + 1
    }
    if (from < to) out.push({ source, from, to })
  }
  return out
}
