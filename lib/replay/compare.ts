/** What differs between an answer of a dump and the one that came now. Pure. */
import { isDeepStrictEqual } from 'node:util'
import { createRedactor } from '../redact/index.ts'
import { REDACTED } from '../redact/types.ts'
import { canonical } from '../traffic-dump/head.ts'
import type { CompareOptions, Difference, DumpLine, ReplayAnswer } from './types.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

const redactor = createRedactor()
/** Most differences of one body. */
const MOST = 100

export function compare (line: DumpLine, answer: ReplayAnswer, options: CompareOptions): Difference[] {
  const differences: Difference[] = []
  if (line.status_code !== answer.status) differences.push({ kind: 'status', at: 'status', expected: line.status_code, actual: answer.status })
  for (const name of options.headers) {
    const expected = line.response_headers?.[canonical(name)]?.join(', ')
    const given = [answer.headers[name] ?? []].flat().join(', ')
    const actual = given === '' ? undefined : redactor.header(name, given)
    if (expected !== actual && expected !== REDACTED) differences.push({ kind: 'header', at: name, expected, actual })
  }
  if (line.response_body_truncated !== true && line.response_body_omitted === undefined && line.method !== 'HEAD') differences.push(...compareBodies(line, answer, options))
  return differences
}

function compareBodies (line: DumpLine, answer: ReplayAnswer, options: CompareOptions): Difference[] {
  const expected = line.response_body ?? ''
  const [type, encoding] = ['content-type', 'content-encoding'].map(name => [answer.headers[name] ?? []].flat()[0])
  // secrets of this answer are taken out as those of the other were
  const { text, base64 } = redactor.body({ bytes: answer.body, truncated: false, type, encoding, limit: 8 * answer.body.length })
  const actual = text ?? ''
  if (expected === actual) return []
  if (!base64 && line.response_body_encoding === undefined) {
    const [one, other] = [parse(expected), parse(actual)]
    if (one !== undefined && other !== undefined) return compareJson(one.value, other.value, options)
  }
  if (matchesRedacted(expected, actual)) return []
  return [{ kind: 'body', at: 'body', expected, actual }]
}

/** What was taken out may be anything. */
function matchesRedacted (expected: string, actual: string): boolean {
  if (!expected.includes(REDACTED)) return false
  const pieces = expected.split(REDACTED)
  if (!actual.startsWith(pieces[0]!) || !actual.endsWith(pieces.at(-1)!)) return false
  let from = 0
  for (const piece of pieces) {
    const found = actual.indexOf(piece, from)
    if (found === -1) return false
    from = found + piece.length
  }
  return true
}

function parse (text: string): { readonly value: Json } | undefined {
  try {
    return { value: JSON.parse(text) as Json }
  } catch {
    return undefined
  }
}

export function compareJson (expected: Json, actual: Json, { ignore, unordered }: Pick<CompareOptions, 'ignore' | 'unordered'>): Difference[] {
  const ignored = ignore.map(path => path.replace(/^\$\.?/, '').replaceAll('[*]', '').split('.'))
  const differences: Difference[] = []
  walk(expected, actual, [], '')
  return differences

  function walk (one: Json | undefined, other: Json | undefined, names: readonly string[], at: string): void {
    if (one === REDACTED || other === REDACTED || differences.length >= MOST) return
    if (ignored.some(path => path.length === names.length && path.every((step, index) => step === '*' || step === names[index]))) return
    if (Array.isArray(one) && Array.isArray(other)) walkLists(one, other, names, at)
    else if (isObject(one) && isObject(other)) {
      for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) walk(own(one, name), own(other, name), [...names, name], at === '' ? name : `${at}.${name}`)
    } else if (!isDeepStrictEqual(one, other)) differences.push({ kind: 'body', at: at === '' ? 'body' : at, expected: one, actual: other })
  }

  function walkLists (one: readonly Json[], other: readonly Json[], names: readonly string[], at: string): void {
    const [a, b] = unordered ? unmatched(one, other, names) : [one, other]
    const shift = unordered ? undefined : 0
    for (let i = 0; i < Math.max(a.length, b.length); i++) walk(a[i], b[i], names, `${at}[${shift === undefined ? '*' : i}]`)
  }

  /** What is left of two lists when each entry has been put beside one that is the same. */
  function unmatched (one: readonly Json[], other: readonly Json[], names: readonly string[]): [Json[], Json[]] {
    const left = [...other]
    const alone = one.filter(entry => {
      const index = left.findIndex(candidate => same(entry, candidate, names))
      if (index !== -1) left.splice(index, 1)
      return index === -1
    })
    return [alone, left]
  }

  function same (one: Json, other: Json, names: readonly string[]): boolean {
    if (isDeepStrictEqual(one, other)) return true
    if (typeof one !== 'object' || typeof other !== 'object') return one === REDACTED
    const before = differences.length
    walk(one, other, names, '')
    const found = differences.length > before
    differences.length = before
    return !found
  }
}

function own (object: { [name: string]: Json }, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function isObject (value: Json | undefined): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
