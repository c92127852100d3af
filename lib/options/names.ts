/**
 * Names in the options: those that must exist, and those that must not be there twice.
 */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import { nearest } from './suggest.ts'

export function entriesOf (value: unknown): Array<[string, unknown]> {
  return isRecord(value) ? Object.entries(value) : []
}

export function namesOf (value: unknown): string[] {
  return isRecord(value) ? Object.keys(value) : []
}

/** Reports a name that is not one of the known ones. `what` is what it should be the name of. */
export function requireName (name: string, path: string, what: string, known: readonly string[], problems: OptionProblem[]): void {
  if (known.includes(name)) return
  const meant = nearest(name, known)
  const list = known.length > 20 ? `${known.slice(0, 20).join(', ')}, …` : known.join(', ')
  const advice = meant === undefined ? '' : `; did you mean "${meant}"?`
  problems.push({ path, rule: `must be the name of a ${what}; ${known.length === 0 ? 'there are none' : `known are ${list}`}${advice}`, value: name })
}

/** Reports every value that has been there before. */
export function reportTwins (values: ReadonlyArray<readonly [value: unknown, path: string]>, rule: string, problems: OptionProblem[]): void {
  const seen = new Set<unknown>()
  for (const [value, path] of values) {
    if (value === undefined) continue
    if (seen.has(value)) problems.push({ path, rule, value })
    seen.add(value)
  }
}
