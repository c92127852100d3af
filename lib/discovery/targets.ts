/**
 * What a provider tells of, as targets of a backend: wrong entries are left out, duplicates count once, and the order says nothing.
 */
import { isDeepStrictEqual } from 'node:util'
import { describeProblem, OptionsError } from '../errors.ts'
import { parseTarget } from '../options/index.ts'
import type { TargetConfig } from '../types.ts'
import { MAX_ENTRIES } from './follow.ts'

/** Texts that are remembered as said. */
const MAX_TEXTS = 1_000

/** The targets of a list. @throws Error when none of its entries can be used, or when there are too many */
export type ReadTargets = (list: readonly unknown[]) => readonly TargetConfig[]

/** `warn` is told once of each distinct text. Of two lists after each other what has not changed is the same object. */
export function createTargetReader (warn: (message: string) => void): ReadTargets {
  const warnOnce = once(warn)
  /** The list before, in its order, by URL in normal form. */
  let before = new Map<string, TargetConfig>()
  /** The same by URL as it was written: most entries are as they were, and to parse them again takes time. */
  let written = new Map<unknown, TargetConfig>()

  function read (entry: unknown): TargetConfig | undefined {
    try {
      const option = optionOf(entry)
      const known = written.get(urlOf(entry))
      if (known !== undefined && says(option, known)) return known
      const target = parseTarget(option, 'target')
      const same = before.get(target.url)
      return same !== undefined && isDeepStrictEqual(same, target) ? same : target
    } catch (error) {
      warnOnce(`an entry is left out: ${reasonOf(error)}`)
      return undefined
    }
  }

  return list => {
    if (list.length > MAX_ENTRIES) throw new RangeError(`the list has ${list.length} entries: more than ${MAX_ENTRIES}`)
    const found = new Map<string, TargetConfig>()
    const spellings = new Map<unknown, TargetConfig>()
    for (const entry of list) {
      const target = read(entry)
      if (target === undefined) continue
      if (found.has(target.url)) {
        warnOnce(`the list has ${target.url} more than once: the first entry counts`)
        continue
      }
      found.set(target.url, target)
      spellings.set(urlOf(entry), target)
    }
    if (found.size === 0 && list.length > 0) throw new Error(`none of the ${list.length} entries of the list can be used`)
    const kept = [...before.keys()].filter(url => found.has(url)).map((url): [string, TargetConfig] => [url, found.get(url)!])
    before = new Map([...kept, ...found])
    written = spellings
    return [...before.values()]
  }
}

/** Says each text once. */
export function once (say: (text: string) => void): (text: string) => void {
  const said = new Set<string>()
  return text => {
    if (said.has(text)) return
    // an engine that makes up new ones all the time must not fill the memory
    if (said.size >= MAX_TEXTS) said.clear()
    said.add(text)
    say(text)
  }
}

interface Option { readonly url: unknown, readonly weight?: unknown, readonly maxConnections?: unknown, readonly metadata?: unknown }

/** What `targets` of a backend may hold: a URL, or an object with what a provider can say. */
function optionOf (entry: unknown): Option | string {
  if (typeof entry === 'string') return entry
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw new TypeError('target: must be an object with url')
  const { url, weight, maxConnections, zone, metadata } = entry as Record<string, unknown>
  if (zone === undefined || (metadata !== undefined && (typeof metadata !== 'object' || metadata === null))) return { url, weight, maxConnections, metadata }
  if (typeof zone !== 'string') throw new TypeError('target.zone: must be a text')
  return { url, weight, maxConnections, metadata: { ...metadata, zone } }
}

/** Whether an option with the same URL says what the target is already. */
function says (option: Option | string, { weight, maxConnections, metadata }: TargetConfig): boolean {
  const said: Partial<Option> = typeof option === 'string' ? {} : option
  const { weight: share = 1, maxConnections: most = Infinity, metadata: facts = {} } = said
  return share === weight && most === maxConnections && isDeepStrictEqual(facts, metadata)
}

function urlOf (entry: unknown): unknown {
  return typeof entry === 'object' && entry !== null ? (entry as { url?: unknown }).url : entry
}

function reasonOf (error: unknown): string {
  if (error instanceof OptionsError) return error.problems.map(problem => describeProblem(problem).trim()).join('; ')
  return error instanceof Error ? error.message : String(error)
}
