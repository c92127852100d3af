/** The answer's headers on their way to the client. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BEYOND_ASCII, connectionTokens, isHeaderValue, isHopByHop, isPlainConnection, NEVER_NAMED } from './names.ts'
import { InvalidHeaderError } from '../errors.ts'
import { foldEdits } from './edits.ts'
import type { HeaderEdits, HeaderValue } from '../types.ts'

export type AnswerHeaders = Record<string, string | string[]>

/** Puts an answer's headers on a reply; false when it added a value that is not plain ASCII. */
export type ResponsePolicy = (headers: AnswerHeaders, reply: FastifyReply, request: FastifyRequest) => boolean

/** One table for hop-by-hop names and the user's edits of all levels. Names it does not hold cross unchanged. */
export function compileResponsePolicy (levels: readonly HeaderEdits[]): ResponsePolicy {
  const drop = new Set<string>()
  const renames = new Map<string, string>()
  const additions: Array<readonly [name: string, values: readonly HeaderValue[], own: boolean]> = []
  for (const [name, fate] of foldEdits(levels)) {
    if (fate.drop) drop.add(name)
    if (fate.renamedTo !== undefined) renames.set(name, fate.renamedTo)
    if (fate.values.length > 0) additions.push([name, [...fate.values], fate.drop])
  }
  // names seen so far → what to do; answers of a backend have few distinct names
  const known = new Map<string, string | false>()

  function verdict (name: string): string | false {
    const to = drop.has(name) || isHopByHop(name) ? false : renames.get(name) ?? name
    if (known.size < 1_000) known.set(name, to)
    return to
  }

  return function applyResponsePolicy (headers, reply, request) {
    const connection = headers.connection === undefined ? '' : String(headers.connection)
    const named = isPlainConnection(connection) ? undefined : new Set(connectionTokens(connection))
    for (const name in headers) {
      const to = known.get(name) ?? verdict(name)
      if (to === false) continue
      if (named !== undefined && named.has(name) && !NEVER_NAMED.has(name)) continue
      if (to === '__proto__') reply.raw.setHeader(to, headers[name]!)
      else if (to !== name && to !== 'set-cookie' && headers[to] !== undefined) reply.header(to, [headers[to], headers[name]!].flat())
      else reply.header(to, headers[name])
    }
    let plain = true
    for (const [name, values, own] of additions) plain = addValues(name, values, own, reply, request) && plain
    return plain
  }
}

function addValues (name: string, values: readonly HeaderValue[], own: boolean, reply: FastifyReply, request: FastifyRequest): boolean {
  let first = own
  let plain = true
  for (const value of values) {
    const text = typeof value === 'string' ? value : value(request)
    if (text === undefined) continue
    if (!isHeaderValue(text)) throw new InvalidHeaderError({ cause: new Error(`response header ${name}`) })
    const present = first || name === 'set-cookie' ? undefined : reply.getHeader(name)
    // Fastify adds to Set-Cookie by itself, and replaces everything else
    reply.header(name, present === undefined ? text : [present, text].flat().map(String))
    if (BEYOND_ASCII.test(text)) plain = false
    first = false
  }
  return plain
}

/**
 * undici decodes header values as UTF-8, which loses Latin-1 bytes. Where one is not plain ASCII, the raw bytes
 * are read again as Latin-1, which is also how Node writes them. The same object comes back when all is well.
 */
export function fixEncoding (headers: AnswerHeaders, rawHeaders: unknown): AnswerHeaders {
  if (Array.isArray(rawHeaders) && hasInheritedName(rawHeaders)) return decodeLatin1(rawHeaders)
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === 'string' ? BEYOND_ASCII.test(value) : value?.some(one => BEYOND_ASCII.test(one)) === true) {
      return decodeLatin1(rawHeaders)
    }
  }
  return headers
}

/** undici collects headers in a plain object, where these two names mean something else. */
function hasInheritedName (raw: readonly unknown[]): boolean {
  for (let i = 0; i < raw.length; i += 2) {
    const { length } = raw[i] as Buffer
    if ((length === 9 || length === 11) && /^(?:__proto__|constructor)$/i.test(latin1(raw[i]))) return true
  }
  return false
}

function decodeLatin1 (raw: unknown): AnswerHeaders {
  const headers = Object.create(null) as AnswerHeaders
  if (!Array.isArray(raw)) return headers
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i]).toLowerCase()
    const value = latin1(raw[i + 1])
    const before = headers[name]
    headers[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
  }
  return headers
}

function latin1 (part: unknown): string {
  return Buffer.isBuffer(part) ? part.toString('latin1') : String(part)
}
