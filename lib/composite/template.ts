/**
 * Templates of a part: texts with `:name` and `{reference}` in them, compiled at boot.
 *
 * A reference reads what the client sent or what an earlier part came back with. Values keep their type and their
 * digits: they are taken from the bytes as they were sent, never turned into JavaScript numbers on the way.
 */
import { encodeLiteral } from '../rewrite/prefix.ts'

/** Where a reference begins. */
export type Root = 'part' | 'request' | 'item' | 'items'

export interface Reference {
  readonly root: Root
  /** Name of the part, where `root` is one. */
  readonly part: string
  /** `body`, `status`, `headers`, `params`, `query`; `body` for an item. */
  readonly field: string
  readonly path: ReadonlyArray<string | number>
  /** As written, for messages. */
  readonly text: string
}

/** A literal text, a reference, or a parameter of the route's path (`*` for the rest of it). */
export type Piece =
  | { readonly kind: 'text', readonly text: string }
  | { readonly kind: 'reference', readonly reference: Reference }
  | { readonly kind: 'param', readonly name: string }

/** What is wrong with a template; `parse` functions throw it, lib/composite/check.ts reports it. */
export class TemplateError extends Error {}

const FIELDS: Readonly<Record<Exclude<Root, 'item' | 'items'>, readonly string[]>> = {
  part: ['body', 'status', 'headers'],
  request: ['params', 'query', 'headers', 'body']
}

/** `user.body.items[0].id`, without the braces. @throws TemplateError */
export function parseReference (text: string): Reference {
  const steps = parseSteps(text.trim())
  const [first, second] = steps
  if (typeof first !== 'string') throw new TemplateError(`"{${text}}" must begin with a name`)
  if (first === 'item' || first === 'items') return { root: first, part: '', field: 'body', path: steps.slice(1), text }
  const root = first === 'request' ? 'request' : 'part'
  const fields = FIELDS[root]
  if (typeof second !== 'string' || !fields.includes(second)) throw new TemplateError(`"{${text}}" must go on with ${fields.map(field => `${first}.${field}`).join(' or ')}`)
  const path = steps.slice(2)
  if (second === 'status' && path.length > 0) throw new TemplateError(`"{${text}}" must end at ${first}.status`)
  if (second !== 'status' && second !== 'body' && path.length !== 1) throw new TemplateError(`"{${text}}" must name one of ${first}.${second}`)
  const named = second === 'headers' ? [String(path[0]).toLowerCase()] : second === 'params' || second === 'query' ? [String(path[0])] : path
  return { root, part: root === 'part' ? first : '', field: second, path: named, text }
}

const STEP = /\.?([^.[\]{}\s]+)|\[(\d+)\]|\["([^"\]]*)"\]/y

function parseSteps (text: string): Array<string | number> {
  const steps: Array<string | number> = []
  let at = 0
  while (at < text.length) {
    STEP.lastIndex = at
    const match = STEP.exec(text)
    const [step, name, index, quoted] = match ?? []
    if (step === undefined || (at > 0 && name !== undefined && !step.startsWith('.')) || (at === 0 && step.startsWith('.'))) throw new TemplateError(`"{${text}}" is not a reference such as {user.body.id}`)
    steps.push(index === undefined ? name ?? quoted ?? '' : Number(index))
    at += step.length
  }
  if (steps.length === 0) throw new TemplateError('"{}" names nothing')
  return steps
}

const TOKEN = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g
const PARAM = /::|:(\w+)|(\*)/g

/** The pieces of a text with references. A text that is a parameter as a whole (`:id`) is that parameter. @throws TemplateError */
export function parseText (text: string): Piece[] {
  const whole = /^:(\w+)$/.exec(text)
  return whole === null ? parsePieces(text, literal => [{ kind: 'text', text: literal }]) : [{ kind: 'param', name: whole[1]! }]
}

/** The pieces of a path, where parameters may stand anywhere. @throws TemplateError */
export function parsePath (text: string): Piece[] {
  return parsePieces(text, parseParams)
}

function parsePieces (text: string, literal: (text: string) => Piece[]): Piece[] {
  const pieces: Piece[] = []
  let plain = ''
  let end = 0
  for (const match of text.matchAll(TOKEN)) {
    plain += text.slice(end, match.index)
    end = match.index + match[0].length
    if (match[0] === '{{' || match[0] === '}}') {
      plain += match[0][0]!
      continue
    }
    if (match[1] === undefined) throw new TemplateError(`"${text}" has a lone "${match[0]}": write "${match[0]}${match[0]}" for the character itself`)
    if (plain !== '') pieces.push(...literal(plain))
    plain = ''
    pieces.push({ kind: 'reference', reference: parseReference(match[1]) })
  }
  plain += text.slice(end)
  return plain === '' ? pieces : [...pieces, ...literal(plain)]
}

function parseParams (text: string): Piece[] {
  const pieces: Piece[] = []
  let plain = ''
  let end = 0
  for (const match of text.matchAll(PARAM)) {
    plain += text.slice(end, match.index)
    end = match.index + match[0].length
    if (match[0] === '::') {
      plain += ':'
      continue
    }
    if (plain !== '') pieces.push({ kind: 'text', text: encodeLiteral(plain) })
    plain = ''
    pieces.push({ kind: 'param', name: match[1] ?? '*' })
  }
  plain += text.slice(end)
  return plain === '' ? pieces : [...pieces, { kind: 'text', text: encodeLiteral(plain) }]
}

/** Whether nothing in it has to be filled in. */
export function isStatic (pieces: readonly Piece[]): boolean {
  return pieces.every(({ kind }) => kind === 'text')
}

/** The text of pieces without references. */
export function staticText (pieces: readonly Piece[]): string {
  return pieces.map(piece => piece.kind === 'text' ? piece.text : '').join('')
}

/** All templates within a JSON value: every text of it, at any depth, with its path. */
export function * textsOf (value: unknown, path: ReadonlyArray<string | number> = []): Generator<readonly [text: string, path: ReadonlyArray<string | number>]> {
  if (typeof value === 'string') yield [value, path]
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) yield * textsOf(item, [...path, index])
  else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) for (const [key, item] of Object.entries(value)) yield * textsOf(item, [...path, key])
}
