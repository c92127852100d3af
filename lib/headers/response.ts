/** The answer's headers on their way to the client. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { connectionTokens, isHeaderValue, isHopByHop, NEVER_NAMED } from './names.ts'
import { InvalidHeaderError } from '../errors.ts'
import { foldEdits } from './edits.ts'
import type { HeaderEdits, HeaderValue } from '../types.ts'

export type AnswerHeaders = Record<string, string | string[]>

/** Puts an answer's headers on a reply. */
export type ResponsePolicy = (headers: AnswerHeaders, reply: FastifyReply, request: FastifyRequest) => void

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
    const connection = headers.connection
    const named = typeof connection === 'string' && connection.length > 10 ? new Set(connectionTokens(connection)) : undefined
    for (const name in headers) {
      const to = known.get(name) ?? verdict(name)
      if (to === false) continue
      if (named !== undefined && named.has(name) && !NEVER_NAMED.has(name)) continue
      reply.header(to, headers[name])
    }
    for (const [name, values, own] of additions) addValues(name, values, own, reply, request)
  }
}

function addValues (name: string, values: readonly HeaderValue[], own: boolean, reply: FastifyReply, request: FastifyRequest): void {
  let first = own
  for (const value of values) {
    const text = typeof value === 'string' ? value : value(request)
    if (text === undefined) continue
    if (!isHeaderValue(text)) throw new InvalidHeaderError({ cause: new Error(`response header ${name}`) })
    const present = first || name === 'set-cookie' ? undefined : reply.getHeader(name)
    // Fastify adds to Set-Cookie by itself, and replaces everything else
    reply.header(name, present === undefined ? text : [present, text].flat().map(String))
    first = false
  }
}

// eslint-disable-next-line no-control-regex
const BEYOND_ASCII = /[^\x00-\x7f]/

/**
 * undici decodes header values as UTF-8, which loses Latin-1 bytes. Where one is not plain ASCII, the raw bytes
 * are read again as Latin-1, which is also how Node writes them.
 */
export function fixEncoding (headers: AnswerHeaders, controller: { rawHeaders?: unknown }): AnswerHeaders {
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === 'string' ? BEYOND_ASCII.test(value) : value?.some(one => BEYOND_ASCII.test(one)) === true) {
      return decodeLatin1(controller.rawHeaders)
    }
  }
  return headers
}

function decodeLatin1 (raw: unknown): AnswerHeaders {
  const headers: AnswerHeaders = {}
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
