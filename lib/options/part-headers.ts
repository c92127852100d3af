/**
 * Header rules of a composite's parts: what the composite says for all of them, what a part says itself, and what holds
 * for every part because its answer is to be combined with others.
 */
import type { HeaderEdits, HeaderRules } from '../types.ts'

/**
 * Never sent to a part. The client's conditions are about the whole answer, not about a part of it: a 304 or 412
 * (RFC 9110 section 13.1) or a 206 (section 14.2) of a part has no body that could be combined.
 */
const CONDITIONS_OF_THE_WHOLE = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range'] as const

/** Not sent to a part that does not get the client's body: they describe that body (RFC 9110 section 8; RFC 9530). */
const ABOUT_THE_CLIENTS_BODY = [
  'content-type', 'content-encoding', 'content-language', 'content-location', 'content-disposition', 'digest', 'content-digest'
] as const

/** A part is read, not passed on: what the client can decode does not matter, and plain bytes cost least (RFC 9110 section 12.5.3). */
const READ_BY_US: Readonly<Record<string, string>> = { 'accept-encoding': 'identity' }

/** What a part says about its request's headers. */
export interface OwnHeaders {
  readonly remove: readonly string[]
  /** Values that are the same for every request. */
  readonly set: Readonly<Record<string, string>>
  /** Names whose values are made anew for every request; nobody else's value goes out under them. */
  readonly dynamic: readonly string[]
}

/**
 * One level of edits out of three: the rules for all parts, over them the composite's, over them the part's own.
 * Whoever speaks of a header takes the rule for all parts about it away.
 */
export function foldPartHeaders (composite: HeaderRules['request'], own: OwnHeaders, withClientBody: boolean): HeaderRules['request'] {
  const claimed = lowerCase([...own.remove, ...Object.keys(own.set), ...own.dynamic])
  const isFree = (name: string) => !claimed.has(name.toLowerCase())
  const renames = Object.entries(composite.rename ?? {})
  const rename = renames.filter(([from, to]) => isFree(from) && isFree(to))
  const set = Object.entries(composite.set ?? {}).filter(([name]) => isFree(name))
  const append = Object.entries(composite.append ?? {}).filter(([name]) => isFree(name))

  const said = new Set([...claimed, ...lowerCase([...composite.remove ?? [], ...rename.flat(), ...[...set, ...append].map(([name]) => name)])])
  const unsaid = (name: string) => !said.has(name)
  const removed = [
    ...[...CONDITIONS_OF_THE_WHOLE, ...(withClientBody ? [] : ABOUT_THE_CLIENTS_BODY)].filter(unsaid),
    ...composite.remove ?? [],
    ...own.remove,
    ...own.dynamic,
    // a header that would have gone out under a name that is the part's now goes nowhere
    ...renames.filter(([from, to]) => !isFree(from) || !isFree(to)).map(([from]) => from)
  ]
  return {
    ...(composite.forward === undefined ? undefined : { forward: composite.forward }),
    remove: [...lowerCase(removed)],
    ...(rename.length === 0 ? undefined : { rename: Object.fromEntries(rename) }),
    set: Object.fromEntries([...Object.entries(READ_BY_US).filter(([name]) => unsaid(name)), ...set, ...Object.entries(own.set)]),
    ...(append.length === 0 ? undefined : { append: Object.fromEntries(append) })
  } satisfies HeaderEdits & { forward?: unknown }
}

function lowerCase (names: readonly string[]): Set<string> {
  return new Set(names.map(name => name.toLowerCase()))
}
