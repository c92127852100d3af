/**
 * Pick, omit and rename: dotted paths as a tree that goes along with the value. An array on the way stands for each of its elements.
 */
import { arrayOf } from './compose.ts'
import { entriesOf, isRun, marksOf, membersOf, slice } from './json.ts'
import type { Entry, Json, Member, Slice } from './json.ts'
import { isText, keyOf, keyText } from './keys.ts'
import { elements, isArray, isObject } from './lookup.ts'

type Edit = (json: Json) => Json

/** What is to happen at a key: with the whole entry, and with what is below it. */
interface Branch<Leaf> {
  readonly key: string
  leaf: Leaf | undefined
  readonly below: Array<Branch<Leaf>>
}

/** Leaves by dotted path. */
function treeOf<Leaf> (leaves: ReadonlyArray<readonly [path: string, leaf: Leaf]>): Array<Branch<Leaf>> {
  const root: Array<Branch<Leaf>> = []
  for (const [path, leaf] of leaves) {
    let level = root
    const segments = path.split('.')
    segments.forEach((key, index) => {
      let branch = level.find(branch => branch.key === key)
      if (branch === undefined) level.push(branch = { key, leaf: undefined, below: [] })
      if (index === segments.length - 1) branch.leaf = leaf
      level = branch.below
    })
  }
  return root
}

function branchAt<Leaf> (tree: ReadonlyArray<Branch<Leaf>>, { bytes }: Slice, start: number, end: number): Branch<Leaf> | undefined {
  for (const branch of tree) if (isText(bytes, start, end, branch.key)) return branch
  return undefined
}

/** Objects are changed, arrays element by element, the rest stays. */
function along (json: Json, change: (object: Json) => Json): Json {
  if (isArray(json)) {
    const items = elements(json)
    const changed = items.map(item => along(item, change))
    return changed.some((item, index) => item !== items[index]) ? arrayOf(changed) : json
  }
  return isObject(json) ? change(json) : json
}

/** What becomes of an entry: it stays, goes, or gets another value. */
type Fate = 'stays' | 'goes' | ((value: Json) => Json)

/** Neighbours that stay as they are stay one run. */
function changed<Leaf> (object: Json, tree: ReadonlyArray<Branch<Leaf>>, fateOf: (branch: Branch<Leaf> | undefined) => Fate): Json {
  const members: Member[] = []
  let same = true
  for (const member of membersOf(object)) {
    const source = isRun(member) ? member.source : member.key
    const marks = isRun(member) ? marksOf(source) : [source.start, source.end]
    const to = isRun(member) ? member.to : 1
    let from = isRun(member) ? member.from : 0
    for (let index = from; index < to; index++) {
      const fate = fateOf(branchAt(tree, source, marks[index * 4]!, marks[index * 4 + 1]!))
      if (fate === 'stays') continue
      let now: Json | undefined
      if (fate !== 'goes') {
        const value = isRun(member) ? slice(source, marks[index * 4 + 2]!, marks[index * 4 + 3]!) : member.value
        now = fate(value)
        if (now === value) continue
      }
      same = false
      if (from < index) members.push({ source, from, to: index })
      if (now !== undefined) members.push({ key: isRun(member) ? slice(source, marks[index * 4]!, marks[index * 4 + 1]!) : source, value: now })
      from = index + 1
    }
    if (from < to) members.push(isRun(member) ? { source, from, to } : member)
  }
  return same ? object : { form: 'object', members }
}

export function createPick (paths: readonly string[]): Edit {
  const tree = treeOf(paths.map(path => [path, true]))
  const pick = (json: Json, tree: ReadonlyArray<Branch<boolean>>): Json => along(json, object => {
    const seen: Array<Branch<boolean>> = []
    let twice = false
    const picked = changed(object, tree, branch => {
      if (branch === undefined) return 'goes'
      twice ||= seen.includes(branch)
      seen.push(branch)
      return branch.leaf === true ? 'stays' : value => pick(value, branch.below)
    })
    return twice ? lastOfEach(picked) : picked
  })
  return json => pick(json, tree)
}

/** Of keys that are there twice the last value, where the first was. */
function lastOfEach (object: Json): Json {
  const last = new Map<string, Entry>()
  for (const { key, value } of entriesOf(object)) {
    const text = keyText(key.bytes, key.start, key.end)
    last.set(text, { key: last.get(text)?.key ?? key, value })
  }
  return { form: 'object', members: [...last.values()] }
}

export function createOmit (paths: readonly string[]): Edit {
  const tree = treeOf(paths.map(path => [path, true]))
  const omit = (json: Json, tree: ReadonlyArray<Branch<boolean>>): Json => along(json, object => changed(object, tree, branch => {
    if (branch === undefined) return 'stays'
    return branch.leaf === true ? 'goes' : value => omit(value, branch.below)
  }))
  return json => omit(json, tree)
}

/** All at once, by the names as they were: `{ a: 'b', b: 'a' }` swaps. What is renamed replaces what had the name; of several the last. */
export function createRename (names: Readonly<Record<string, string>>): Edit {
  const tree = treeOf(Object.entries(names).map(([from, to]) => [from, { text: to, key: keyOf(to) }]))
  type Tree = typeof tree
  const rename = (json: Json, tree: Tree): Json => along(json, object => {
    const renamed: Array<Entry & { readonly to?: string }> = []
    const last = new Map<string, number>()
    let same = true
    for (const entry of entriesOf(object)) {
      const branch = branchAt(tree, entry.key, entry.key.start, entry.key.end)
      const value = branch === undefined || branch.below.length === 0 ? entry.value : rename(entry.value, branch.below)
      const leaf = branch?.leaf
      if (leaf !== undefined && leaf.text !== branch!.key) {
        last.set(leaf.text, renamed.length)
        renamed.push({ key: leaf.key, value, to: leaf.text })
        same = false
      } else {
        renamed.push(value === entry.value ? entry : { key: entry.key, value })
        same &&= value === entry.value
      }
    }
    if (same) return object
    const members = last.size === 0
      ? renamed
      : renamed.filter((entry, index) => {
        const place = last.get(entry.to ?? keyText(entry.key.bytes, entry.key.start, entry.key.end))
        return place === undefined || place === index
      })
    return { form: 'object', members }
  })
  return json => rename(json, tree)
}
