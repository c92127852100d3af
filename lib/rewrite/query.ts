/**
 * Setting and removing parameters of a raw query; all others stay as they are, byte for byte and in order.
 */
import { pieceName } from '../matching/query.ts'

/**
 * Takes and returns a query with its question mark, or `''`. `set` holds names and values that are encoded already;
 * a parameter that is there is replaced where it first stands, a new one is put at the end.
 */
export function editQuery (query: string, set: ReadonlyMap<string, string>, remove: ReadonlySet<string>): string {
  const missing = new Set(set.keys())
  const pieces: string[] = []
  let changed = false
  for (const piece of query === '' ? [] : query.slice(1).split('&')) {
    const name = pieceName(piece)
    const value = set.get(name)
    if (piece === '' || (value === undefined && !remove.has(name))) {
      pieces.push(piece)
      continue
    }
    changed = true
    if (value !== undefined && missing.delete(name)) pieces.push(parameter(name, value))
  }
  if (!changed && missing.size === 0) return query
  for (const name of missing) {
    // A question mark with nothing behind it is no parameter to keep.
    if (pieces.length === 1 && pieces[0] === '') pieces.pop()
    pieces.push(parameter(name, set.get(name)!))
  }
  return pieces.length === 0 ? '' : '?' + pieces.join('&')
}

function parameter (name: string, value: string): string {
  return `${encodeURIComponent(name)}=${value}`
}
