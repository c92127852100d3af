/**
 * Where a hash balancer takes its key from.
 */
import { inspect } from 'node:util'
import { queryValues } from '../matching/query.ts'
import type { BalancerContext, HashKey } from '../types.ts'

/** The key of a call; undefined when the call has none. An empty key counts as none. */
export type KeyOf = (context: BalancerContext) => string | undefined

/**
 * Makes the function that reads a key. Besides the forms of `HashKey` it takes `{ ip: true }` and `{ path: true }`,
 * as files write them.
 *
 * - `ip`: Fastify's `request.ip`, which believes `X-Forwarded-For` only from trusted proxies
 * - `path`: what is sent to the backend, without the query
 * - `header`, `cookie`: of the client's request
 * - `query`: of what is sent, else of the client's request
 *
 * Throws TypeError for what is not a key at all, RangeError for a key of an unknown source.
 */
export function createKeyOf (key: unknown): KeyOf {
  if (key === 'ip') return ({ request }) => request?.ip
  if (key === 'path') return ({ path }) => withoutQuery(path)
  if (typeof key === 'function') return callKey(key as Extract<HashKey, KeyOf>)
  if (typeof key === 'string') throw badKey(RangeError, key)
  if (typeof key !== 'object' || key === null) throw badKey(TypeError, key)
  const entries = Object.entries(key)
  const [source, name] = entries[0] ?? []
  if (entries.length !== 1) throw badKey(RangeError, key)
  if ((source === 'ip' || source === 'path') && name === true) return createKeyOf(source)
  if (typeof name !== 'string' || name === '') throw badKey(TypeError, key)
  if (source === 'header') return headerKey(name.toLowerCase())
  if (source === 'cookie') return ({ request }) => cookieValue(request?.headers.cookie, name)
  if (source === 'query') return queryKey(name)
  throw badKey(RangeError, key)
}

function badKey (ErrorType: RangeErrorConstructor | TypeErrorConstructor, key: unknown): Error {
  return new ErrorType(
    `balancer "hash": key must be "ip", "path", { header }, { cookie }, { query } or a function (got ${inspect(key)})`
  )
}

function callKey (read: KeyOf): KeyOf {
  return (context) => {
    const key: unknown = read(context)
    return typeof key === 'string' ? key : undefined
  }
}

function headerKey (name: string): KeyOf {
  return ({ request }) => {
    const value = request?.headers[name]
    return typeof value === 'object' ? value.join() : value
  }
}

function queryKey (name: string): KeyOf {
  return ({ path, request }) =>
    queryValues(path, name)[0] ?? (request === undefined ? undefined : queryValues(request.url, name)[0])
}

function withoutQuery (target: string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? target : target.slice(0, mark)
}

/** Value of the first cookie of that name, as it stands in the header (RFC 6265 section 4.2). */
export function cookieValue (header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  for (let from = 0; from < header.length;) {
    let to = header.indexOf(';', from)
    if (to === -1) to = header.length
    const equals = header.indexOf('=', from)
    if (equals !== -1 && equals < to && header.slice(from, equals).trim() === name) {
      return header.slice(equals + 1, to).trim()
    }
    from = to + 1
  }
  return undefined
}
