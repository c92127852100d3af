/** What is wrong with a file before anything in it has a meaning. */
import { isCollection, isScalar, visit, type Document, type LineCounter, type YAMLError } from 'yaml'
import type { OptionProblem } from '../errors.ts'
import type { Position } from './positions.ts'

/**
 * One mistake makes the parser stumble again and again: the first error is told, and on how many other lines there are more. All
 * of what can be read but is not right, as a key that stands there twice, where there is no such error.
 */
export function syntaxProblems (document: Document.Parsed, lines: LineCounter, text: string): Array<OptionProblem & Position> {
  const isReadable = ({ code }: YAMLError): boolean => code === 'DUPLICATE_KEY'
  const [first, ...rest] = document.errors.filter(error => !isReadable(error)).sort((a, b) => a.pos[0] - b.pos[0])
  // what stands there may be a secret: no values
  if (first === undefined) {
    return [...document.errors, ...document.warnings].map(error => ({ ...at(error), path: '', rule: isReadable(error) ? 'must not have the same key twice' : ruleOf(error) }))
  }
  const place = at(first)
  const others = new Set(rest.map(error => at(error).line)).size - (rest.some(error => at(error).line === place.line) ? 1 : 0)
  const more = others === 0 ? '' : `; ${others} more ${others === 1 ? 'line has errors' : 'lines have errors'} that may follow from it`
  return [{ ...place, path: '', rule: `${ruleOf(first)}${beginning(first, place.line)}${hint(place.line)}${more}` }]

  function at ({ pos: [offset] }: YAMLError): Position {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }

  /** What has no end is only missed much later, often at the end of the file. */
  function beginning ({ pos: [offset] }: YAMLError, missed: number): string {
    let begins: number | undefined
    visit(document, {
      Node (_key, node) {
        const { range } = node
        const isClosed = !(isCollection(node) && node.flow === true) && !(isScalar(node) && /^QUOTE/.test(node.type ?? ''))
        if (!isClosed && range != null && range[0] < offset && range[1] >= offset) begins = range[0]
      }
    })
    if (begins === undefined) return ''
    const { line } = lines.linePos(begins)
    return line === missed ? '' : ` (it begins at line ${line})`
  }

  function hint (line: number): string {
    const written = text.split('\n')[line - 1] ?? ''
    // eslint-disable-next-line no-template-curly-in-string
    return /[{[,:]\s*\$\{/.test(written) ? ' (within { } and [ ] a ${…} needs quotes)' : ''
  }
}

/** What stands there is named only where it is punctuation. */
function ruleOf ({ message }: YAMLError): string {
  return `must be valid YAML: ${message.split('\n')[0]!.replace(/( token in YAML stream|extra characters): (?!"[^\w\s]+"$).*$/, '$1')}`
}
