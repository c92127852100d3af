/**
 * Conditions on the values of a header or query parameter: do they hold, and what do two of them mean together.
 */
import type { ValueMatch } from '../types.ts'

/** `values` are those the request has; none when the header or parameter is absent. */
export type ValueTest = (values: readonly string[]) => boolean

/** A condition holds when any of the values meets it; `not` when none does. */
export function createValueTest (match: ValueMatch): ValueTest {
  if (match.kind === 'exists') return values => (values.length > 0) === match.value
  if (match.kind === 'not') {
    const test = createValueTest(match.value)
    return values => !test(values)
  }
  const meets = createTextTest(match)
  return values => values.some(meets)
}

type TextMatch = Extract<ValueMatch, { kind: 'exact' | 'prefix' | 'regex' }>

function createTextTest (match: TextMatch): (value: string) => boolean {
  if (match.kind === 'exact') return value => value === match.value
  if (match.kind === 'prefix') return value => value.startsWith(match.value)
  const pattern = stateless(match.value)
  return value => pattern.test(value)
}

/** The same expression without `g` and `y`, which would make each test depend on the one before. */
export function stateless (pattern: RegExp): RegExp {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''))
}

/** How narrow a condition is: exact 4, prefix 3 (and its length as a fraction), regex 2, exists and not 1. */
export function valueStrength (match: ValueMatch): number {
  switch (match.kind) {
    case 'exact': return 4
    case 'prefix': return 3 + match.value.length / (match.value.length + 1)
    case 'regex': return 2
    default: return 1
  }
}

/** Whether no request can meet both conditions; false also when that cannot be told. */
export function areDisjoint (one: ValueMatch, other: ValueMatch): boolean {
  const a = simplify(one)
  const b = simplify(other)
  if (isAbsent(a)) return implies(b, PRESENT)
  if (isAbsent(b)) return implies(a, PRESENT)
  if (a.kind === 'not') return implies(b, a.value)
  if (b.kind === 'not') return implies(a, b.value)
  if (a.kind === 'exact') return isText(b) && !createTextTest(b)(a.value)
  if (b.kind === 'exact') return isText(a) && !createTextTest(a)(b.value)
  const [startA, startB] = [literalStart(a), literalStart(b)]
  return !startA.startsWith(startB) && !startB.startsWith(startA)
}

const PRESENT: ValueMatch = { kind: 'exists', value: true }

/** `not not x` is x, `not exists` is its opposite. */
function simplify (match: ValueMatch): ValueMatch {
  if (match.kind !== 'not') return match
  const inner = simplify(match.value)
  if (inner.kind === 'not') return inner.value
  return inner.kind === 'exists' ? { kind: 'exists', value: !inner.value } : { kind: 'not', value: inner }
}

function isAbsent (match: ValueMatch): boolean {
  return match.kind === 'exists' && !match.value
}

function isText (match: ValueMatch): match is TextMatch {
  return match.kind === 'exact' || match.kind === 'prefix' || match.kind === 'regex'
}

/** Whether every request that meets `a` meets `b` as well; false also when that cannot be told. */
function implies (a: ValueMatch, b: ValueMatch): boolean {
  if (b.kind === 'exists' && b.value) return isText(a) || (a.kind === 'exists' && a.value)
  if (!isText(a) || !isText(b)) return false
  if (a.kind === 'exact') return createTextTest(b)(a.value)
  if (a.kind === 'prefix') return b.kind === 'prefix' && a.value.startsWith(b.value)
  return b.kind === 'regex' && String(a.value) === String(b.value)
}

/** What every text that meets the condition begins with; `''` when nothing is known. */
function literalStart (match: ValueMatch): string {
  if (match.kind === 'prefix') return match.value
  return match.kind === 'regex' ? regexStart(match.value) : ''
}

/** The plain letters after `^`. An alternative or a flag may undo the anchor, a quantifier the last letter. */
export function regexStart ({ source, flags }: RegExp): string {
  if (/[imv]/.test(flags) || source.includes('|')) return ''
  const [, letters = '', next = ''] = /^\^([\w/@ -]*)(.?)/.exec(source) ?? []
  return '*?{'.includes(next) && next !== '' ? letters.slice(0, -1) : letters
}
