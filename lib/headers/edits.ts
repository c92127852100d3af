/** Header edits of several levels (global, backend, route), folded into one table at boot: later levels win. */
import type { HeaderEdits, HeaderValue } from '../types.ts'

/** What happens to one name in the end. */
export interface Fate {
  /** The message's own values are dropped. */
  drop: boolean
  /** The message's own values go out under this name. */
  renamedTo: string | undefined
  /** Our values, one field line each. */
  readonly values: HeaderValue[]
}

/** Lower-case name → fate. Within a level: remove, rename, set, append. */
export function foldEdits (levels: ReadonlyArray<HeaderEdits>): Map<string, Fate> {
  const fates = new Map<string, Fate>()
  const fateOf = (name: string): Fate => {
    const key = name.toLowerCase()
    let fate = fates.get(key)
    if (fate === undefined) fates.set(key, fate = { drop: false, renamedTo: undefined, values: [] })
    return fate
  }
  for (const level of levels) {
    for (const name of level.remove ?? []) replace(fates, fateOf(name), name, [])
    for (const [from, to] of Object.entries(level.rename ?? {})) {
      const fate = fateOf(from)
      fateOf(to).values.push(...fate.values)
      fate.values.length = 0
      if (!fate.drop) fate.renamedTo = to.toLowerCase()
    }
    for (const [name, value] of Object.entries(level.set ?? {})) replace(fates, fateOf(name), name, [value])
    for (const [name, value] of Object.entries(level.append ?? {})) fateOf(name).values.push(...Array.isArray(value) ? value as HeaderValue[] : [value as HeaderValue])
  }
  return fates
}

/** Nothing that would have gone out under this name does, renamed or not. */
function replace (fates: ReadonlyMap<string, Fate>, fate: Fate, name: string, values: HeaderValue[]): void {
  for (const other of fates.values()) {
    if (other.renamedTo !== name.toLowerCase()) continue
    other.drop = true
    other.renamedTo = undefined
  }
  fate.drop = true
  fate.renamedTo = undefined
  fate.values.splice(0, fate.values.length, ...values)
}
