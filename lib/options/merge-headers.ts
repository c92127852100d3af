/**
 * Header changes of two levels as those of one: what comes out is what the two would do one after the other.
 */
import { foldEdits } from '../headers/edits.ts'
import type { HeaderEdits, HeaderValue } from '../types.ts'

type Options = Readonly<Record<string, unknown>>

/** `headers.request` or `headers.response` of a level, and the one that comes after it. Names come out in lower case. */
export function foldLevels (said: Options, over: Options): Record<string, unknown> {
  const fates = [...foldEdits([said as HeaderEdits, over as HeaderEdits])]
  const arrivals = new Set(fates.map(([, { renamedTo }]) => renamedTo))
  const remove: string[] = []
  const rename: Array<[string, string]> = []
  const set: Array<[string, HeaderValue]> = []
  const append: Array<[string, HeaderValue | HeaderValue[]]> = []
  for (const [name, { drop, renamedTo, values }] of fates) {
    if (renamedTo !== undefined) rename.push([name, renamedTo])
    const [value] = values
    // a `set` would drop what is renamed to this name, too
    if (drop && value !== undefined && values.length === 1 && !arrivals.has(name)) set.push([name, value])
    else {
      if (drop) remove.push(name)
      if (value !== undefined) append.push([name, values.length === 1 ? value : [...values]])
    }
  }
  const forward = over['forward'] ?? said['forward']
  return {
    ...(forward === undefined ? undefined : { forward }),
    ...(remove.length === 0 ? undefined : { remove }),
    ...(rename.length === 0 ? undefined : { rename: Object.fromEntries(rename) }),
    ...(set.length === 0 ? undefined : { set: Object.fromEntries(set) }),
    ...(append.length === 0 ? undefined : { append: Object.fromEntries(append) })
  }
}

/** The same for `headers` of a part, which knows `set` and `remove` only. */
export function foldPartLevels (said: Options, over: Options): Record<string, unknown> {
  const [before, after] = [said, over] as ReadonlyArray<{ readonly set?: Options, readonly remove?: readonly string[] }>
  const namesOf = (level: typeof before) => new Set([...Object.keys(level?.set ?? {}), ...level?.remove ?? []].map(name => name.toLowerCase()))
  const later = namesOf(after)
  const isFree = (name: string) => !later.has(name.toLowerCase())
  return {
    set: { ...Object.fromEntries(Object.entries(before?.set ?? {}).filter(([name]) => isFree(name))), ...after?.set },
    remove: [...(before?.remove ?? []).filter(isFree), ...after?.remove ?? []]
  }
}
