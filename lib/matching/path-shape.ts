/**
 * The shape of a route's path in Fastify's syntax: two paths of one shape are the same place in the router.
 */

export interface PathShape {
  /** The path without names and expressions of its parameters: `/u/:id` and `/u/:name` are both `/u/:`. */
  readonly shape: string
  /** The parameters in order as written, with their expressions: `id`, `n(\\d+)`; `*` for the wildcard. */
  readonly names: readonly string[]
}

/** A name ends at `/`, `-`, `.`, `(`, `?` or the next parameter; `::` is a colon; parentheses hold an expression. */
export function pathShape (path: string): PathShape {
  const names: string[] = []
  let shape = ''
  let i = 0
  while (i < path.length) {
    const char = path[i]!
    if (char === ':' && path[i + 1] === ':') {
      shape += '::'
      i += 2
    } else if (char === ':') {
      const name = /^[^/\-.(:?]*/.exec(path.slice(i + 1))![0]
      names.push(name)
      shape += ':'
      i += 1 + name.length
    } else if (char === '(') {
      const end = closingParenthesis(path, i)
      // find-my-way keeps one expression for each place, so it is no difference between paths.
      names.push((names.pop() ?? '') + path.slice(i, end))
      shape += '()'
      i = end
    } else {
      if (char === '*') names.push('*')
      shape += char
      i++
    }
  }
  return { shape, names }
}

/** Index after the parenthesis that closes the one at `open`. */
function closingParenthesis (path: string, open: number): number {
  let depth = 0
  for (let i = open; i < path.length; i++) {
    if (path[i] === '\\') i++
    else if (path[i] === '(') depth++
    else if (path[i] === ')' && --depth === 0) return i + 1
  }
  return path.length
}
