/**
 * Prefixes of raw paths, on segment boundaries.
 */
import { pathProblem } from './guard.ts'

/**
 * Finds where the path goes on after a prefix: the index of a slash or the path's end; -1 when it does not have the
 * prefix. Segments are compared decoded once, as the router does, so `/%61pi/x` has the prefix `/api`.
 */
export type PrefixEnd = (path: string) => number

/** `prefix` is what `normalizePrefix` returned; `''` is a prefix of every path. */
export function createPrefixEnd (prefix: string): PrefixEnd {
  const segments = prefix.split('/').slice(1).map(decodeSegment)
  const isEncoded = prefix.includes('%')
  return (path) => {
    if (path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 47)) return prefix.length
    return isEncoded || path.includes('%') ? segmentsEnd(path, segments) : -1
  }
}

function segmentsEnd (path: string, segments: readonly string[]): number {
  let end = 0
  for (const segment of segments) {
    if (path.charCodeAt(end) !== 47) return -1
    const start = end + 1
    end = path.indexOf('/', start)
    if (end === -1) end = path.length
    if (decodeSegment(path.slice(start, end)) !== segment) return -1
  }
  return end
}

function decodeSegment (raw: string): string {
  try {
    return decodeURIComponent(raw)
  } catch {
    return raw
  }
}

/**
 * A prefix of the options as it stands on the wire, without slash at its end: `/api/` → `/api`, `/` → `''`.
 * Throws RangeError when it is no path or holds what no path may hold.
 */
export function normalizePrefix (option: string, prefix: string): string {
  const normal = encodeLiteral(prefix).replace(/\/+$/, '')
  const problem = prefix === '' ? undefined : pathProblem(normal + '/')
  if (problem !== undefined) throw new RangeError(`rewrite ${option}: ${problem} (got ${JSON.stringify(prefix)})`)
  return normal
}

/** Encodes what cannot stand in a path on the wire; escapes that are there already stay. */
export function encodeLiteral (text: string): string {
  return text.replace(/[^\x21-\x7e]+/g, encodeURIComponent)
}
