/** What references stand for, read from what the client sent and what earlier parts came back with. */
import type { FastifyRequest } from 'fastify'
import { PartInputError } from '../errors.ts'
import { elements, jsonOf, kindOf, lookup, scalarText } from '../combine/index.ts'
import type { Json } from '../combine/index.ts'
import type { Reference } from './template.ts'

/** What is known of an earlier part. */
export interface Known {
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, string | string[]>>
  /** The body as the backend sent it; undefined: none, or not JSON. */
  readonly json: Json | undefined
}

/** What the templates of one call may read. */
export interface Scope {
  readonly request: FastifyRequest
  part (name: string): Known
  /** The client's body; undefined: none, or not JSON. */
  requestBody (): Json | undefined
  /** The value at hand within forEach, all values of the call with batch. */
  readonly item: Json | undefined
}

/** A text is a value that came as one (a parameter, a header). */
export type Value = Json | string

/** A reference without a value: the part is skipped or fails, by `onMissing`. */
export class MissingValue extends Error {
  constructor (readonly reference: string) {
    super(`{${reference}} has no value`)
  }
}

/** undefined for what is missing or null. */
export function evaluate ({ root, part, field, path }: Reference, scope: Scope): Value | undefined {
  switch (root) {
    case 'item':
    case 'items': return found(scope.item, path)
    case 'part': {
      const known = scope.part(part)
      if (field === 'body') return found(known.json, path)
      if (field === 'status') return known.status === undefined ? undefined : jsonOf(known.status)
      return plain(known.headers, path)
    }
    case 'request': {
      const { request } = scope
      if (field === 'body') return found(scope.requestBody(), path)
      return plain(field === 'params' ? request.params : field === 'query' ? request.query : request.headers, path)
    }
  }
}

function found (json: Json | undefined, path: Reference['path']): Json | undefined {
  const value = json === undefined ? undefined : lookup(json, path)
  return value === undefined || kindOf(value) === 'null' ? undefined : value
}

/** One entry of an object of Fastify's or undici's: own ones only. */
function plain (record: unknown, [name = '']: Reference['path']): Value | undefined {
  if (typeof record !== 'object' || record === null || !Object.hasOwn(record, name)) return undefined
  const value = (record as Record<string, unknown>)[name]
  return value === undefined || value === null ? undefined : typeof value === 'string' ? value : jsonOf(value)
}

/** The text of a scalar. @throws PartInputError for an object or a list: there is no right text for those */
export function textOfValue (value: Value, where: string): string {
  const text = typeof value === 'string' ? value : scalarText(value)
  if (text === undefined) throw new PartInputError({ cause: new Error(`${where} is ${kindOf(value as Json) === 'array' ? 'a list' : 'an object'}, not a text or a number`) })
  return text
}

/** The texts of a scalar or of a list of scalars. @throws PartInputError */
export function textsOfValue (value: Value, where: string): string[] {
  if (typeof value !== 'string' && kindOf(value) === 'array') return elements(value).map(item => textOfValue(item, where))
  return [textOfValue(value, where)]
}
