/**
 * `${ENV}` and `${ENV:-default}` in the values of a configuration file; `$${` stands for `${`.
 */
import { isScalar, visit, type Document, type Node, type Scalar } from 'yaml'

export type Environment = Readonly<Record<string, string | undefined>>

/** Something wrong with a substitution: where, and the rule. */
export interface SubstitutionProblem {
  readonly node: Node
  readonly keys: ReadonlyArray<string | number>
  readonly rule: string
  readonly value: string
}

const SUBSTITUTION = /\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}|\$\{/g
const WHOLE = /^\$\{[A-Za-z_]\w*(?::-[^}]*)?\}$/

/**
 * Fills in the values of `document`, in place. A value is put in as text and not looked at again, so that nothing in the
 * environment can change the structure of the file; only an unquoted value that is one substitution and nothing else
 * becomes a number, true or false when it looks like one.
 */
export function substitute (document: Document, environment: Environment): SubstitutionProblem[] {
  const problems: SubstitutionProblem[] = []
  visit(document, {
    Scalar (key, node, ancestors) {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return
      const report = (rule: string) => { problems.push({ node, keys: keysOf([...ancestors, node]), rule, value: node.value as string }) }
      node.value = fill(node as Scalar<string>, environment, report)
    }
  })
  return problems
}

function fill (node: Scalar<string>, environment: Environment, report: (rule: string) => void): unknown {
  const filled = node.value.replace(SUBSTITUTION, (text, name?: string, fallback?: string) => {
    if (text === '$${') return '${'
    if (name === undefined) {
      // eslint-disable-next-line no-template-curly-in-string
      report('must have substitutions as ${NAME} or ${NAME:-default}; write $${ for a plain ${')
      return text
    }
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    if (value === undefined) report(`needs the environment variable ${name}, which is not set; \${${name}:-…} gives a default`)
    return value ?? text
  })
  return node.type === 'PLAIN' && WHOLE.test(node.value) ? typed(filled) : filled
}

/** `'8080'` → 8080, `'true'` → true; `'007'`, `'1e9'` and numbers too large to be exact stay texts. */
function typed (text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (!/^-?(0|[1-9]\d*)(\.\d+)?$/.test(text)) return text
  const number = Number(text)
  return text.includes('.') || Number.isSafeInteger(number) ? number : text
}

/** The properties and indexes that lead to the last of `nodes`. */
function keysOf (nodes: readonly unknown[]): Array<string | number> {
  const keys: Array<string | number> = []
  nodes.forEach((node, index) => {
    const child = nodes[index + 1]
    if (typeof node !== 'object' || node === null || child === undefined) return
    if ('key' in node && 'value' in node) keys.push(isScalar(node.key) ? String(node.key.value) : String(node.key))
    else if ('items' in node && Array.isArray(node.items) && 'flow' in node && !('key' in (child as object))) keys.push(node.items.indexOf(child))
  })
  return keys
}
