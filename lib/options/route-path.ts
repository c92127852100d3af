/**
 * Paths of routes in Fastify's syntax (find-my-way): `/users/:id`, `/files/:name(^\\d+).png`, `/a/:x-:y`, `/api/*`, `::` for a colon.
 */
import { pathShape } from '../matching/path-shape.ts'

/** The rule a path breaks, or undefined for one Fastify accepts. */
export function badRoutePath (path: string): string | undefined {
  if (!path.startsWith('/')) return 'must start with "/"'
  const { bare, expressions, closed } = scan(path)
  if (!closed) return 'must close the "(" of a parameter'
  // A "?" at the very end marks the last parameter as optional.
  if (/[?#\\\s]/.test(bare.replace(/(:[^/]+)\?$/, '$1'))) return 'must be a path only: no query, fragment, backslash or space'
  if (/\*./.test(bare) || /:[^/.-]*\*$/.test(bare)) return 'must have "*" only at its end, and not within a parameter'
  const { names } = pathShape(path)
  if (names.includes('') || /:[^/.(:-]+:/.test(bare.replaceAll('::', ''))) return 'must name every parameter (":id"); write "::" for a colon'
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) return `must not have the parameter ":${twice}" twice`
  return expressions.map(badExpression).find(bad => bad !== undefined)
}

/** The path with `()` for the expressions of its parameters, and those expressions. */
function scan (path: string): { bare: string, expressions: string[], closed: boolean } {
  const expressions: string[] = []
  let bare = ''
  let depth = 0
  for (let index = 0, start = 0; index < path.length; index++) {
    const character = path.charAt(index)
    if (character === '\\' && depth > 0) index++
    else if (character === '(') {
      if (depth++ === 0) start = index
    } else if (character === ')' && depth > 0) {
      if (--depth > 0) continue
      expressions.push(path.slice(start, index + 1))
      bare += '()'
    } else if (depth === 0) bare += character
  }
  return { bare, expressions, closed: depth === 0 }
}

/** The rule a text breaks that should be a regular expression. */
export function badExpression (source: string): string | undefined {
  try {
    RegExp(source)
    return undefined
  } catch (error) {
    return `must be a regular expression: ${(error as Error).message.replace(/^Invalid regular expression: /, '')}`
  }
}
