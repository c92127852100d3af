/** Templates as functions: what a part asks for, filled in for one call. All of the work that can be done at boot is done there. */
import { BadPathError, PartInputError } from '../errors.ts'
import { arrayOf, jsonOf, objectOf, textOf } from '../combine/index.ts'
import { isSafePath } from '../rewrite/index.ts'
import { createPathFill } from '../rewrite/template.ts'
import { isStatic, parsePath, parseText, staticText } from './template.ts'
import { evaluate, MissingValue, textOfValue, textsOfValue } from './values.ts'
import type { Json } from '../combine/index.ts'
import type { Piece } from './template.ts'
import type { Scope, Value } from './values.ts'

/** @throws MissingValue, PartInputError, and BadPathError where the client's own parameter fits nowhere */
export type Fill<Result> = (scope: Scope) => Result

/** A request target of a template, perhaps with a query. */
export function createTargetFill (template: string): Fill<string> {
  const pieces = parsePath(template)
  if (isStatic(pieces)) {
    const target = staticText(pieces)
    return () => target
  }
  const fromParts = pieces.some(({ kind }) => kind === 'reference')
  let inQuery = false
  const fills = pieces.map((piece): string | Fill<string> => {
    if (piece.kind === 'text') {
      inQuery ||= piece.text.includes('?')
      return piece.text
    }
    const encode = inQuery ? encodeURIComponent : segment
    // a list within a path is written with commas, which are no part of its values
    if (piece.kind === 'reference') return scope => textsOfValue(valueOf(piece, scope), `{${piece.reference.text}}`).map(text => encodeText(encode, text)).join(',')
    const fill = createPathFill(piece.name === '*' ? '*' : `:${piece.name}`)
    return ({ request }) => fill(request.params as Record<string, string>, pathOf(request.raw.url!))
  })
  return (scope) => {
    let target = ''
    for (const fill of fills) target += typeof fill === 'string' ? fill : fill(scope)
    if (!isSafePath(pathOf(target))) throw fromParts ? new PartInputError({ cause: new Error('the path climbs') }) : new BadPathError()
    return target
  }
}

/** Whether the client's own parameters fit into the path, whatever the parts have to say. @throws BadPathError */
export function createParamCheck (template: string): ((request: Scope['request']) => void) | undefined {
  const fills = parsePath(template).flatMap(piece => piece.kind === 'param' ? [createPathFill(piece.name === '*' ? '*' : `:${piece.name}`)] : [])
  if (fills.length === 0) return undefined
  return ({ params, raw }) => { for (const fill of fills) fill(params as Record<string, string>, pathOf(raw.url!)) }
}

/** One whole segment or a piece of one, never a path of its own. */
function segment (text: string): string {
  if (text === '' || text === '.' || text === '..') throw new PartInputError({ cause: new Error(`${JSON.stringify(text)} is no segment of a path`) })
  return encodeURIComponent(text)
}

function encodeText (encode: (text: string) => string, text: string): string {
  try {
    return encode(text)
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw new PartInputError({ cause: new Error('a lone surrogate has no bytes') })
  }
}

/** Without its query. */
export function pathOf (target: string): string {
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}

/** A query, with its values by name; what is missing of the client's is left out. The result has no question mark. */
export function createQueryFill (query: Readonly<Record<string, unknown>>): Fill<string> {
  const fixed: string[] = []
  const fills: Array<{ readonly index: number, readonly fill: Fill<string[]> }> = []
  for (const [name, value] of Object.entries(query)) {
    const key = encodeURIComponent(name)
    const pieces = [value].flat().map(one => typeof one === 'string' ? parseText(one) : [{ kind: 'text', text: String(one) } as const])
    if (pieces.every(isStatic)) {
      fixed.push(pieces.map(one => parameter(key, staticText(one))).join('&'))
    } else {
      fills.push({ index: fixed.length, fill: scope => pieces.flatMap(one => queryTexts(one, scope)).map(text => parameter(key, text)) })
      fixed.push('')
    }
  }
  if (fills.length === 0) {
    const whole = fixed.join('&')
    return () => whole
  }
  return (scope) => {
    const parameters = [...fixed]
    for (const { index, fill } of fills) parameters[index] = fill(scope).join('&')
    return parameters.filter(text => text !== '').join('&')
  }
}

/** `key` is encoded already. @throws PartInputError */
export function parameter (key: string, text: string): string {
  return `${key}=${encodeText(encodeURIComponent, text)}`
}

/** A lone reference may be a list. */
function queryTexts (pieces: readonly Piece[], scope: Scope): string[] {
  const [only] = pieces
  if (pieces.length !== 1 || only?.kind !== 'reference') {
    const text = optionalText(pieces, scope)
    return text === undefined ? [] : [text]
  }
  const value = optionalValue(only, scope)
  return value === undefined ? [] : textsOfValue(value, `{${only.reference.text}}`)
}

/** A header's value; undefined where the client has not sent what it is made of. */
export function createTextFill (template: string): Fill<string | undefined> {
  const pieces = parseText(template)
  return scope => optionalText(pieces, scope)
}

function optionalText (pieces: readonly Piece[], scope: Scope): string | undefined {
  let text = ''
  for (const piece of pieces) {
    const value = piece.kind === 'text' ? piece.text : optionalValue(piece, scope)
    if (value === undefined) return undefined
    text += typeof value === 'string' ? value : textOfValue(value, piece.kind === 'reference' ? `{${piece.reference.text}}` : template(piece))
  }
  return text
}

function template (piece: Exclude<Piece, { kind: 'reference' }>): string {
  return piece.kind === 'param' ? `:${piece.name}` : piece.text
}

/** What the client may or may not send is optional; what an earlier part should have said is not. */
function optionalValue (piece: Exclude<Piece, { kind: 'text' }>, scope: Scope): Value | undefined {
  if (piece.kind === 'reference' && piece.reference.root === 'request' && (piece.reference.field === 'query' || piece.reference.field === 'headers')) return evaluate(piece.reference, scope)
  return valueOf(piece, scope)
}

function valueOf (piece: Exclude<Piece, { kind: 'text' }>, scope: Scope): Value {
  if (piece.kind === 'param') {
    const params = scope.request.params as Record<string, string | undefined>
    const value = Object.hasOwn(params, piece.name) ? params[piece.name] : undefined
    if (value === undefined) throw new BadPathError()
    return value
  }
  const value = evaluate(piece.reference, scope)
  if (value === undefined) throw new MissingValue(piece.reference.text)
  return value
}

/** A JSON body: texts that are one reference as a whole keep the reference's type. */
export function createBodyFill (value: unknown): Fill<Json> {
  if (typeof value === 'string') return createJsonTextFill(value)
  if (Array.isArray(value)) {
    const items = value.map(createBodyFill)
    return scope => arrayOf(items.map(fill => fill(scope)))
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => [key, createBodyFill(item)] as const)
    return scope => objectOf(entries.map(([key, fill]) => [key, fill(scope)]))
  }
  const json = jsonOf(value)
  return () => json
}

function createJsonTextFill (text: string): Fill<Json> {
  const pieces = parseText(text)
  if (isStatic(pieces)) {
    const json = jsonOf(staticText(pieces))
    return () => json
  }
  const [only] = pieces
  if (pieces.length === 1 && only !== undefined && only.kind !== 'text') {
    return (scope) => {
      const found = valueOf(only, scope)
      return typeof found === 'string' ? jsonOf(found) : found
    }
  }
  return scope => jsonOf(pieces.map(piece => piece.kind === 'text' ? piece.text : textOfValue(valueOf(piece, scope), text)).join(''))
}

/** The reference of a template that is nothing else. */
export function createReferenceFill (text: string): Fill<Value | undefined> {
  const [piece] = parseText(text)
  if (piece?.kind !== 'reference') throw new TypeError(`not a reference: ${text}`)
  return scope => evaluate(piece.reference, scope)
}

/** A filled body as bytes. */
export function bytesOf (json: Json): Buffer {
  return Buffer.from(textOf(json))
}
