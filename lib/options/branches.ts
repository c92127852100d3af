/**
 * Which form of an option a value was meant to be, and what to say when it is none of them.
 */
import { isRecord } from './copy.ts'
import type { CheckName } from './rules.ts'

/** The keywords of a schema that the checker knows. */
export interface Rules {
  readonly type?: string | undefined
  readonly anyOf?: readonly Rules[] | undefined
  readonly const?: unknown
  readonly enum?: readonly unknown[] | undefined
  readonly properties?: Readonly<Record<string, Rules>> | undefined
  readonly patternProperties?: Readonly<Record<string, Rules>> | undefined
  readonly additionalProperties?: unknown
  readonly required?: readonly string[] | undefined
  readonly items?: Rules | undefined
  readonly minItems?: number | undefined
  readonly minProperties?: number | undefined
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly check?: CheckName | undefined
  readonly names?: CheckName | undefined
  readonly rule?: string | undefined
  readonly code?: 'function' | 'regexp' | 'bytes' | 'other' | 'provider' | undefined
  readonly exactlyOne?: readonly string[] | undefined
  readonly together?: readonly string[] | undefined
  readonly hints?: Readonly<Record<string, string>> | undefined
  readonly secret?: boolean | undefined
  readonly json?: boolean | undefined
}

export type Kind = 'string' | 'number' | 'boolean' | 'null' | 'array' | 'object' | 'function' | 'regexp' | 'bytes' | 'other'

const NOT_JSON: ReadonlySet<Kind> = new Set(['function', 'regexp', 'bytes', 'other'])

export function kindOf (value: unknown): Kind {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (value instanceof RegExp) return 'regexp'
  if (value instanceof Uint8Array) return 'bytes'
  if (isRecord(value)) return 'object'
  const type = typeof value
  return type === 'string' || type === 'number' || type === 'boolean' || type === 'function' ? type : 'other'
}

/** The form `value` was meant to be: an exact word first, then the only form of its type, then the object with the most of its keys. */
export function pickBranch (branches: readonly Rules[], value: unknown): Rules | undefined {
  const kind = kindOf(value)
  const fitting: Rules[] = []
  for (const branch of branches) {
    if (branch.anyOf === undefined) {
      if (accepts(branch, kind)) fitting.push(branch)
    } else fitting.push(...branch.anyOf.filter(inner => accepts(inner, kind)))
  }
  const word = fitting.find(branch => branch.const === value || branch.enum?.includes(value))
  if (word !== undefined) return word
  const open = fitting.filter(branch => branch.const === undefined && branch.enum === undefined)
  if (kind !== 'object' || open.length < 2) return open[0]
  const keys = Object.keys(value as object)
  const score = (branch: Rules) => keys.filter(key => Object.hasOwn(branch.properties ?? {}, key)).length
  return open.reduce((best, branch) => score(branch) > score(best) ? branch : best)
}

function accepts (branch: Rules, kind: Kind): boolean {
  if (branch.code !== undefined) return branch.code === kind
  if (branch.json === true) return !NOT_JSON.has(kind)
  if (branch.type === undefined && branch.const === undefined) return true
  const type = branch.type ?? typeof branch.const
  return (type === 'integer' ? 'number' : type) === kind
}

/** `must be …`, from the schema's own `rule` or from what it says. */
export function ruleOf (schema: Rules): string {
  return schema.rule ?? `must be ${expected(schema)}`
}

function expected (schema: Rules): string {
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(branch => ruleOf(branch).replace(/^must be /, '')))].join(', or ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return `one of ${schema.enum.map(word => JSON.stringify(word)).join(', ')}`
  switch (schema.code ?? schema.type) {
    case 'string': return 'a text (numbers need quotes)'
    case 'boolean': return 'true or false'
    case 'integer': return `a whole number${range(schema)}`
    case 'number': return `a number${range(schema)}`
    case 'array': return 'a list'
    case 'object': return 'an object'
    case 'function': return 'a function'
    case 'regexp': return 'a regular expression'
    case 'bytes': return 'a Buffer'
    default: return 'something else'
  }
}

function range ({ minimum, maximum }: Rules): string {
  if (minimum === undefined) return ''
  return maximum === undefined ? ` of ${minimum} or more` : ` between ${minimum} and ${maximum}`
}
