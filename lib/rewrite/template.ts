/**
 * Templates of paths: `/api/users/:id`, `/files/*`, `/search?user=:id`.
 */
import { BadPathError } from '../errors.ts'
import { encodeLiteral } from './prefix.ts'

/** Parameters of the route as Fastify decoded them. */
export type Params = Readonly<Record<string, string | undefined>>

/** Fills a template; `rawPath` is the client's path, out of which `*` is taken as it was sent. */
export type Fill = (params: Params, rawPath: string) => string

const PLACEHOLDER = /::|:(\w+)|(\*)/g

/** Names of the parameters a template needs, `*` for the rest of the path. */
export function templateParams (template: string): string[] {
  const names = [...template.matchAll(PLACEHOLDER)].map(([, name, rest]) => name ?? rest)
  return [...new Set(names.filter(name => name !== undefined))]
}

/**
 * Makes the function that fills a path template. A parameter becomes exactly one encoded segment, or part of one:
 * it throws BadPathError for a parameter that is missing, empty, `.` or `..`.
 * `::` stands for a colon.
 */
export function createPathFill (template: string): Fill {
  return compile(template, { text: encodeLiteral, value: segment, rest: rawRest })
}

/** The same for a value in a query, which may be anything. The template is decoded, `*` comes encoded anew. */
export function createValueFill (template: string): Fill {
  return compile(template, { text: encode, value: encode, rest: encode })
}

/** How the pieces of a template are written. */
interface Writing {
  text (literal: string): string
  value (param: string): string
  rest (param: string, rawPath: string): string
}

function compile (template: string, { text, value, rest }: Writing): Fill {
  const parts: Array<string | Fill> = []
  let end = 0
  for (const match of template.matchAll(PLACEHOLDER)) {
    const [placeholder, name] = match
    parts.push(text(template.slice(end, match.index)))
    if (placeholder === '::') parts.push(text(':'))
    else if (name !== undefined) parts.push(params => value(required(params, name)))
    else parts.push((params, rawPath) => rest(required(params, '*'), rawPath))
    end = match.index + placeholder.length
  }
  parts.push(text(template.slice(end)))
  return (params, rawPath) => {
    let filled = ''
    for (const part of parts) filled += typeof part === 'string' ? part : part(params, rawPath)
    return filled
  }
}

function required (params: Params, name: string): string {
  const value = Object.hasOwn(params, name) ? params[name] : undefined
  if (value === undefined) throw new BadPathError()
  return value
}

function segment (value: string): string {
  if (value === '' || value === '.' || value === '..') throw new BadPathError()
  return encode(value)
}

function encode (value: string): string {
  try {
    return encodeURIComponent(value)
  } catch {
    // A lone surrogate has no bytes.
    throw new BadPathError()
  }
}

/**
 * The end of the raw path that Fastify decoded into `rest`. Counted from the end, as every escape is worth a known
 * number of UTF-16 units. Should the path not end so (the router was told to join slashes, or the parameters are not
 * its own), `rest` is encoded anew.
 */
function rawRest (rest: string, rawPath: string): string {
  let start = rawPath.length
  for (let units = rest.length; units > 0 && start > 0;) {
    const isEscape = rawPath[start - 3] === '%'
    units -= isEscape ? unitsOf(parseInt(rawPath.slice(start - 2, start), 16)) : 1
    start -= isEscape ? 3 : 1
  }
  const raw = rawPath.slice(start)
  return raw === rest || decodesTo(raw, rest) ? raw : rest.split('/').map(encode).join('/')
}

/** UTF-16 units that a UTF-8 byte brings along: none for one that continues, two for the first of four bytes. */
function unitsOf (byte: number): number {
  if (byte >= 0x80 && byte < 0xc0) return 0
  return byte >= 0xf0 ? 2 : 1
}

function decodesTo (raw: string, text: string): boolean {
  try {
    return decodeURIComponent(raw) === text
  } catch {
    return false
  }
}
