/**
 * Things with names, before and after.
 */
import type { Changes } from './types.ts'

/** What goes, comes and changes; `compare` gives undefined for what stays as it is. */
export function changesOf<Value, Changed> (
  before: Readonly<Record<string, Value>>,
  after: Readonly<Record<string, Value>>,
  compare: (name: string, before: Value, after: Value) => Changed | undefined
): Changes<string, Changed> {
  const kept = Object.keys(after).filter(name => Object.hasOwn(before, name))
  const changed = kept.flatMap(name => compare(name, before[name]!, after[name]!) ?? [])
  return {
    added: Object.keys(after).filter(name => !Object.hasOwn(before, name)),
    removed: Object.keys(before).filter(name => !Object.hasOwn(after, name)),
    changed,
    unchanged: kept.length - changed.length
  }
}

/** Whether nothing comes, goes or changes. */
export function isStill ({ added, removed, changed }: Changes<unknown, unknown>): boolean {
  return added.length + removed.length + changed.length === 0
}
