/**
 * Whose request it is: the tenant's id, from the places where the options say it is.
 *
 * Every place that can be read at once is read, even when one before it gave an id: who can write to one of them must not win
 * against another by standing first. Two different ids are a 400. Nothing is mended: an id that stands there twice, is empty,
 * too long or not of the pattern is a 400, and no error repeats it.
 */
import type { FastifyRequest } from 'fastify'
import { InvalidCallError, TenantInvalidError } from '../errors.ts'
import { isHeaderValue } from '../headers/names.ts'
import { normalizeHost } from '../matching/index.ts'
import { isPromise } from './is-promise.ts'
import type { TenancyConfig, TenantSource } from './types.ts'

/** A tenant's id; undefined where the request names none. A promise only where a function that was asked gave one. */
export type Who = (request: FastifyRequest) => string | undefined | Promise<string | undefined>

/** White space that whoever reads a header takes off. */
const PADDED = /^[\t ]|[\t ]$/

/** What one source holds; undefined: nothing. */
type Read = (request: FastifyRequest) => string | undefined

/**
 * Functions are asked in their order, and only when nothing before them in the list gave an id; what stands after them is read
 * all the same and must not differ.
 * @returns a function that throws, or rejects with: TenantInvalidError (400); InvalidCallError (500) when a function of the
 * options gave what is no id; what such a function throws, as it is
 */
export function createWho ({ sources, maxLength, pattern }: Pick<TenancyConfig, 'sources' | 'maxLength' | 'pattern'>): Who {
  const names = sources.map(source => source.kind === 'function' ? 'the answer of a function' : describeSource(source))
  const reads = sources.map((source, at) => createRead(source, names[at]!))
  const asks = sources.map(source => source.kind === 'function' ? source.resolve : undefined)
  const firstAsk = asks.findIndex(ask => ask !== undefined)
  const whole = wholePattern(pattern)

  function check (id: string, at: number): string {
    if (id === '') throw new TenantInvalidError(`${names[at]} is empty`)
    if (id.length > maxLength) throw new TenantInvalidError(`${names[at]} is longer than ${maxLength} characters`)
    if (!whole.test(id)) throw new TenantInvalidError(`${names[at]} does not match the pattern`)
    // a pattern of the user's may allow what no header can hold, or what a backend would read as another id
    if (!isHeaderValue(id) || PADDED.test(id)) throw new TenantInvalidError(`${names[at]} is no text that a header can hold`)
    return id
  }

  /** `id` of source `at`; what can be read at once gave `found`, first in source `until`. */
  function agree (id: string, at: number, found: string | undefined, until: number): string {
    if (found !== undefined && found !== id) throw differ(names[at]!, names[until]!)
    return id
  }

  /** The functions from `at` on and before `until`. */
  function ask (request: FastifyRequest, at: number, found: string | undefined, until: number): string | undefined | Promise<string | undefined> {
    for (; at < until; at++) {
      const resolve = asks[at]
      if (resolve === undefined) continue
      const given = resolve(request)
      if (isPromise(given)) return askOn(given, request, at, found, until)
      const id = answerOf(given, names[at]!)
      if (id !== undefined) return agree(check(id, at), at, found, until)
    }
    return found
  }

  async function askOn (given: PromiseLike<unknown>, request: FastifyRequest, at: number, found: string | undefined, until: number): Promise<string | undefined> {
    const id = answerOf(await given, names[at]!)
    return id === undefined ? ask(request, at + 1, found, until) : agree(check(id, at), at, found, until)
  }

  return function who (request) {
    let found: string | undefined
    let foundAt = reads.length
    for (let at = 0; at < reads.length; at++) {
      const id = reads[at]?.(request)
      if (id === undefined) continue
      if (found === undefined) {
        found = check(id, at)
        foundAt = at
      } else if (id !== found) throw differ(names[foundAt]!, names[at]!)
    }
    return firstAsk === -1 ? found : ask(request, firstAsk, found, foundAt)
  }
}

/** For people, in a message: `header x-tenant-id, host {tenant}.example.com or query tenant`. */
export function describeSources (sources: readonly TenantSource[]): string {
  const names = sources.map(describeSource)
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}

function describeSource (source: TenantSource): string {
  switch (source.kind) {
    case 'host': return `host ${source.before}{tenant}${source.after}`
    case 'claim': return `claim ${source.path.join('.')}`
    case 'function': return 'a function'
    default: return `${source.kind} ${source.name}`
  }
}

/** The same expression for the whole text; without `m`, under which that would be one of its lines, and without state. */
function wholePattern ({ source, flags }: RegExp): RegExp {
  return new RegExp(`^(?:${source})$`, flags.replace(/[gym]/g, ''))
}

// ---- the sources that can be read at once

function createRead (source: TenantSource, name: string): Read | undefined {
  switch (source.kind) {
    case 'header': return createHeaderRead(source.name, name)
    case 'host': return createHostRead(source.before.toLowerCase(), source.after.toLowerCase(), name)
    case 'param': return request => textOf(own(request.params, source.name), name)
    case 'query': return request => {
      const value = own(request.query, source.name)
      if (Array.isArray(value)) throw twice(name)
      return textOf(value, name)
    }
    case 'claim': return createClaimRead(source.path, source.from, name)
    case 'function': return undefined
  }
}

function createHeaderRead (header: string, name: string): Read {
  // Node's object of headers has a prototype: `constructor` would always be there, and `__proto__` never
  if (header in Object.prototype) {
    return ({ raw: { rawHeaders } }) => {
      const at = fieldAt(rawHeaders, header, 0)
      if (at === -1) return undefined
      if (fieldAt(rawHeaders, header, at + 2) !== -1) throw twice(name)
      return rawHeaders[at + 1]!
    }
  }
  // Node joins fields it does not know with a comma, so without one there is one; of some it knows it drops all but the first
  const isJoined = header.startsWith('x-')
  return request => {
    const value = request.headers[header]
    if (isJoined && (value === undefined || (typeof value === 'string' && !value.includes(',')))) return value
    if (isTwice(request.raw.rawHeaders, header)) throw twice(name)
    return textOf(value, name)
  }
}

function createHostRead (before: string, after: string, name: string): Read {
  const around = before.length + after.length
  return request => {
    // Node keeps the first of two
    if (isTwice(request.raw.rawHeaders, 'host')) throw twice(name)
    checkAuthority(request)
    const host = normalizeHost(request.host)
    if (host.length < around || !host.startsWith(before) || !host.endsWith(after)) return undefined
    const label = host.slice(before.length, host.length - after.length)
    return label.includes('.') ? undefined : label
  }
}

/** HTTP/2 has a second place for the host: routes look at one and Fastify at the other (RFC 9113 section 8.3.1). */
function checkAuthority ({ raw: { headers } }: FastifyRequest): void {
  const { host, ':authority': authority } = headers
  if (typeof authority === 'string' && host !== undefined && normalizeHost(authority) !== normalizeHost(host)) throw differ(':authority', 'Host')
}

function createClaimRead (path: readonly string[], from: ((request: FastifyRequest) => unknown) | undefined, name: string): Read {
  return request => {
    let value = from === undefined ? (request as { user?: unknown }).user : from(request)
    if (isPromise(value)) {
      // nobody waits for it, and it may reject
      value.then(undefined, () => {})
      throw new InvalidCallError({ cause: new TypeError(`tenancy: ${name} is of a promise; what gives the claims must be synchronous`) })
    }
    for (const key of path) value = own(value, key)
    return textOf(value, name)
  }
}

/** Whole numbers are ids, too; beyond 2^53 two of them may have become one. @throws TenantInvalidError */
function textOf (value: unknown, name: string): string | undefined {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return undefined
  if (Number.isSafeInteger(value)) return String(value)
  throw new TenantInvalidError(`${name} is neither a text nor a whole number`)
}

/** What a function gave. @throws InvalidCallError */
function answerOf (value: unknown, name: string): string | undefined {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return undefined
  throw new InvalidCallError({ cause: new TypeError(`tenancy: ${name} is of type ${typeof value}, and a tenant's id is a text`) })
}

/** Nothing is inherited: `constructor` is no claim, parameter or query of anybody's. */
function own (holder: unknown, key: string): unknown {
  return typeof holder === 'object' && holder !== null && Object.hasOwn(holder, key) ? (holder as Record<string, unknown>)[key] : undefined
}

/** Where the next field of this name stands, from `start` on; -1: none. */
function fieldAt (rawHeaders: readonly string[], name: string, start: number): number {
  for (let at = start; at < rawHeaders.length; at += 2) {
    const other = rawHeaders[at]!
    if (other.length === name.length && other.toLowerCase() === name) return at
  }
  return -1
}

function isTwice (rawHeaders: readonly string[], name: string): boolean {
  const at = fieldAt(rawHeaders, name, 0)
  return at !== -1 && fieldAt(rawHeaders, name, at + 2) !== -1
}

function twice (name: string): Error {
  return new TenantInvalidError(`${name} stands there more than once`)
}

function differ (one: string, other: string): Error {
  return new TenantInvalidError(`${one} and ${other} differ`)
}
