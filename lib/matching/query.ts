/**
 * Reading the query of a raw request target the way `URLSearchParams` does, without parsing what is not asked for.
 *
 * Source: WHATWG URL, section 5.1, application/x-www-form-urlencoded parsing.
 */

const NONE: readonly string[] = []

/** Decodes a name or value of a query: `+` is a space, malformed percent signs stand for themselves. */
export function decodeQueryText (text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  return new URLSearchParams('=' + text).get('') ?? ''
}

/** Decoded name of one `name=value` piece of a query. */
export function pieceName (piece: string): string {
  const equals = piece.indexOf('=')
  return decodeQueryText(equals === -1 ? piece : piece.slice(0, equals))
}

/** Every value of a parameter, decoded, in order; `''` for a name without value. */
export function queryValues (target: string, name: string): readonly string[] {
  const mark = target.indexOf('?')
  if (mark === -1) return NONE
  let values: string[] | undefined
  for (const piece of target.slice(mark + 1).split('&')) {
    if (piece === '' || pieceName(piece) !== name) continue
    const equals = piece.indexOf('=')
    values ??= []
    values.push(equals === -1 ? '' : decodeQueryText(piece.slice(equals + 1)))
  }
  return values ?? NONE
}
