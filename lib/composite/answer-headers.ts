/**
 * The headers of a combined answer, made from those of its parts: one policy for each family of headers, and the rest
 * from one part or none. This runs for every request; with no such headers and nothing configured it is a few look-ups.
 */
import { connectionTokens, isHopByHop, isPlainConnection, isToken } from '../headers/names.ts'
import type { CompositeHeadersConfig, PartState } from './types.ts'

export interface HeaderSource {
  readonly name: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[]>>
  /** Milliseconds. */
  readonly duration: number
  readonly state: PartState
  /** It has a backend's answer that is used. */
  readonly used: boolean
}

/**
 * All parts in order of declaration → the answer's headers, lower case. `authorized`: the client sent `Authorization`,
 * so that shared caches may keep the answer only if each part's backend allows it (RFC 9111 section 3.5).
 */
export type AnswerHeaders = (parts: readonly HeaderSource[], authorized?: boolean) => Record<string, string | string[]>

type Policy = (parts: readonly HeaderSource[], authorized: boolean) => string | string[] | undefined

export function createAnswerHeaders (config: CompositeHeadersConfig): AnswerHeaders {
  const { from, cacheControl } = config
  const strictest = cacheControl === 'strictest'
  const cachingFrom = strictest || cacheControl === 'none' ? undefined : cacheControl
  const policies = Object.entries<Policy | undefined>({
    'set-cookie': config.setCookie === 'all' ? allCookies : valueOf('set-cookie', config.setCookie),
    'cache-control': strictest ? strictestCacheControl : undefined,
    vary: config.vary === 'union' ? unionOfVary : valueOf('vary', config.vary),
    'server-timing': config.serverTiming ? createServerTiming() : undefined
  }).filter((entry): entry is [string, Policy] => entry[1] !== undefined)

  // Without knowing who asked, the answer is treated as somebody's own.
  return function answerHeaders (parts, authorized = true) {
    // no prototype: a backend may name a header `__proto__`
    const answer = Object.create(null) as Record<string, string | string[]>
    if (from !== undefined || cachingFrom !== undefined) {
      for (const part of parts) {
        if (part.used && (part.name === from || part.name === cachingFrom)) copyOthers(part, part.name === from, part.name === cachingFrom, answer)
      }
    }
    for (const [name, policy] of policies) {
      const value = policy(parts, authorized)
      if (value !== undefined) answer[name] = value
    }
    return answer
  }
}

/** A header as one part has it. */
function valueOf (header: string, name: string): Policy | undefined {
  if (name === 'none') return undefined
  return parts => parts.find(part => part.used && part.name === name)?.headers[header]
}

// ---- headers of one part

type Family = 'other' | 'caching' | 'never'

/** They have a policy of their own, here or in the composite itself. */
const OWN_POLICY = new Set(['set-cookie', 'vary', 'server-timing', 'x-composite-complete'])

/**
 * What caches go by. A date or a field for CDNs only (RFC 9213) taken from one part would overrule the Cache-Control
 * that was made of all; so these come with a part's Cache-Control or not at all.
 */
const CACHING = new Set(['cache-control', 'age', 'expires', 'pragma', 'warning', 'surrogate-control', 'x-accel-expires'])

const ABOUT_THE_MESSAGE = new Set([
  // validators and ranges of the part's own representation (RFC 9110 sections 8.8 and 14); those of the answer are not known
  'etag', 'last-modified', 'accept-ranges', 'delta-base', 'im',
  // checksums and signatures of bytes that the client does not get (RFC 9530, RFC 3230, RFC 9421)
  'digest', 'repr-digest', 'signature', 'signature-input',
  // what the part's resource can do, not what the composite can
  'allow', 'accept-patch', 'accept-post',
  // when the part's message was made; the server dates the answer itself
  'date'
])

/**
 * `Location` is not among them: nobody follows it in an answer without a redirect, and whoever takes the headers of
 * the part that creates something wants to hear where it is.
 */
function familyOf (name: string): Family {
  if (CACHING.has(name) || name.endsWith('-cache-control')) return 'caching'
  if (OWN_POLICY.has(name) || ABOUT_THE_MESSAGE.has(name) || isHopByHop(name)) return 'never'
  // type, length, coding, language, place, range, disposition, digest: of the part's body. A security policy is not.
  if (name.startsWith('content-') && !name.startsWith('content-security-policy')) return 'never'
  // digests that the backend would like in requests to it (RFC 9530 section 4)
  if (name.startsWith('want-')) return 'never'
  return 'other'
}

/** Names seen so far; backends have few distinct ones, and the memory is bounded. */
const families = new Map<string, Family>()

function rememberFamily (name: string): Family {
  const family = familyOf(name)
  if (families.size < 1_000) families.set(name, family)
  return family
}

function copyOthers (part: HeaderSource, others: boolean, caching: boolean, answer: Record<string, string | string[]>): void {
  const { headers } = part
  const connection = headers.connection === undefined ? '' : String(headers.connection)
  const named = isPlainConnection(connection) ? undefined : new Set(connectionTokens(connection))
  for (const name in headers) {
    const family = families.get(name) ?? rememberFamily(name)
    if (family === 'never' || !(family === 'other' ? others : caching)) continue
    if (named?.has(name) === true) continue
    answer[name] = headers[name]!
  }
}

// ---- headers of all parts

/**
 * Every cookie, in order. Of identical lines the last one stays: for browsers the last of several cookies of a name
 * wins, and it should be the same one as without the others.
 */
function allCookies (parts: readonly HeaderSource[]): string[] | undefined {
  let cookies: string[] | undefined
  for (const { used, headers } of parts) {
    const value = used ? headers['set-cookie'] : undefined
    if (value === undefined) continue
    cookies ??= []
    if (typeof value === 'string') cookies.push(value)
    else cookies.push(...value)
  }
  if (cookies === undefined || cookies.length === 0) return undefined
  return new Set(cookies).size === cookies.length ? cookies : [...new Set(cookies.reverse())].reverse()
}

/** Each name once, as it was first written; `*` says it all (RFC 9110 section 12.5.5). */
function unionOfVary (parts: readonly HeaderSource[]): string | undefined {
  let lines: string | undefined
  for (const { used, headers: { vary } } of parts) {
    if (used && vary !== undefined) lines = lines === undefined ? String(vary) : `${lines},${String(vary)}`
  }
  if (lines === undefined) return undefined
  const known = unions.get(lines)
  if (known !== undefined) return known === '' ? undefined : known
  const union = namesOnce(lines)
  if (unions.size < 1_000 && lines.length < 500) unions.set(lines, union)
  return union === '' ? undefined : union
}

/** Lists seen so far; backends have few distinct ones, and the memory is bounded. */
const unions = new Map<string, string>()

function namesOnce (list: string): string {
  const names = new Map<string, string>()
  for (const part of list.split(',')) {
    const name = part.trim()
    const key = name.toLowerCase()
    if (name !== '' && !names.has(key)) names.set(key, name)
  }
  return names.has('*') ? '*' : [...names.values()].join(', ')
}

/** One metric for each part, used or not: how long it took, and what became of it. */
function createServerTiming (): Policy {
  const tokens = new Map<string, string>()
  function tokenOf (name: string): string {
    let token = tokens.get(name)
    if (token === undefined) tokens.set(name, token = toToken(name))
    return token
  }
  return parts => parts.length === 0
    ? undefined
    : parts.map(({ name, duration, state }) => {
      const tenths = Math.max(0, Math.round(duration * 10)) || 0
      return `${tokenOf(name)};dur=${tenths / 10}${state === 'ok' ? '' : `;desc="${state}"`}`
    }).join(', ')
}

function toToken (name: string): string {
  if (isToken(name)) return name
  return name.replace(/[^!#$%&'*+\-.^_`|~0-9A-Za-z]/g, '_') || '_'
}

// ---- Cache-Control

const NO_STORE = 1
const PRIVATE = 2
const NO_CACHE = 4
const MUST_REVALIDATE = 8
const PROXY_REVALIDATE = 16
const NO_TRANSFORM = 32
const MUST_UNDERSTAND = 64
const PUBLIC = 128
const IMMUTABLE = 256

/** Arguments do not matter: `private="x-user"` becomes `private`, which is stricter. */
const FLAGS: ReadonlyMap<string, number> = new Map([
  ['no-store', NO_STORE],
  ['private', PRIVATE],
  ['no-cache', NO_CACHE],
  ['must-revalidate', MUST_REVALIDATE],
  ['proxy-revalidate', PROXY_REVALIDATE],
  ['no-transform', NO_TRANSFORM],
  ['must-understand', MUST_UNDERSTAND],
  ['public', PUBLIC],
  ['immutable', IMMUTABLE]
])

/** Written behind the lifetimes when any part has them. */
const RESTRICTIONS: ReadonlyArray<readonly [flag: number, text: string]> = [...FLAGS]
  .map(([text, flag]) => [flag, text] as const)
  .filter(([flag]) => (flag & (MUST_REVALIDATE | PROXY_REVALIDATE | NO_TRANSFORM | MUST_UNDERSTAND)) !== 0)

/** Seconds; Infinity where nothing is said. */
interface Directives {
  flags: number
  maxAge: number
  sMaxAge: number
  staleWhileRevalidate: number
  staleIfError: number
}

/**
 * The strictest Cache-Control that no part is looser than: what restricts counts when any part says so, what permits
 * counts when all do, and lifetimes are the shortest that is left (RFC 9111 sections 3.5, 4.2 and 5.2.2).
 */
function strictestCacheControl (parts: readonly HeaderSource[], authorized: boolean): string | undefined {
  let any = 0
  let all = -1
  const least: Directives = { flags: 0, maxAge: Infinity, sMaxAge: Infinity, staleWhileRevalidate: Infinity, staleIfError: Infinity }
  let everyAge = true
  let everySharedAge = true
  let anySharedAge = false
  let everyStaleWhile = true
  let everyStaleIf = true
  let everyShared = true
  let said = false

  for (const { used, headers } of parts) {
    if (!used) continue
    const value = headers['cache-control']
    const { expires } = headers
    if (value !== undefined || expires !== undefined) said = true
    const own = value === undefined ? NOTHING : typeof value === 'string' ? directivesOf(value) : joined(value)
    // RFC 9111 section 5.3: max-age is preferred
    const lifetime = own.maxAge === Infinity && expires !== undefined ? lifetimeUntil(expires, headers.date) : own.maxAge
    const shared = own.sMaxAge === Infinity ? lifetime : own.sMaxAge
    const age = headers.age === undefined ? 0 : ageOf(headers.age)
    any |= own.flags
    all &= own.flags
    least.maxAge = Math.min(least.maxAge, Math.max(0, lifetime - age))
    least.sMaxAge = Math.min(least.sMaxAge, Math.max(0, shared - age))
    least.staleWhileRevalidate = Math.min(least.staleWhileRevalidate, own.staleWhileRevalidate)
    least.staleIfError = Math.min(least.staleIfError, own.staleIfError)
    everyAge &&= lifetime !== Infinity
    everySharedAge &&= shared !== Infinity
    anySharedAge ||= own.sMaxAge !== Infinity
    everyStaleWhile &&= own.staleWhileRevalidate !== Infinity
    everyStaleIf &&= own.staleIfError !== Infinity
    everyShared &&= (own.flags & (PUBLIC | MUST_REVALIDATE)) !== 0 || own.sMaxAge !== Infinity
  }

  if (!said) return undefined
  if ((any & NO_STORE) !== 0) return 'no-store'
  // must-revalidate and s-maxage also let shared caches keep answers to requests with credentials; one part's word
  // may not open up another part's personal data
  const personal = (any & PRIVATE) !== 0 || (authorized && !everyShared && (anySharedAge || (any & MUST_REVALIDATE) !== 0))
  let text = personal ? ', private' : (all & PUBLIC) !== 0 ? ', public' : ''
  if ((any & NO_CACHE) !== 0) text += ', no-cache'
  // one stale part makes the whole stale, whatever the silent ones think
  if (least.maxAge === 0 || everyAge) text += `, max-age=${least.maxAge}`
  if (anySharedAge && !personal && (least.sMaxAge === 0 || everySharedAge)) text += `, s-maxage=${least.sMaxAge}`
  for (const [flag, name] of RESTRICTIONS) if ((any & flag) !== 0) text += `, ${name}`
  if ((all & IMMUTABLE) !== 0) text += ', immutable'
  if (everyStaleWhile) text += `, stale-while-revalidate=${least.staleWhileRevalidate}`
  if (everyStaleIf) text += `, stale-if-error=${least.staleIfError}`
  return text === '' ? undefined : text.slice(2)
}

const NOTHING: Directives = { flags: 0, maxAge: Infinity, sMaxAge: Infinity, staleWhileRevalidate: Infinity, staleIfError: Infinity }

/** Lines seen so far. */
const parsed = new Map<string, Directives>()

function directivesOf (line: string): Directives {
  let directives = parsed.get(line)
  if (directives === undefined) {
    directives = parseDirectives(line)
    if (parsed.size < 1_000 && line.length < 200) parsed.set(line, directives)
  }
  return directives
}

/** Several field lines of one part. */
function joined (values: readonly string[]): Directives {
  return values.map(directivesOf).reduce((before, next) => ({
    flags: before.flags | next.flags,
    maxAge: Math.min(before.maxAge, next.maxAge),
    sMaxAge: Math.min(before.sMaxAge, next.sMaxAge),
    staleWhileRevalidate: Math.min(before.staleWhileRevalidate, next.staleWhileRevalidate),
    staleIfError: Math.min(before.staleIfError, next.staleIfError)
  }), NOTHING)
}

/** Of repeated directives the smallest counts; unknown ones are ignored. */
function parseDirectives (line: string): Directives {
  const found = { ...NOTHING }
  for (let start = 0; start < line.length;) {
    const end = directiveEnd(line, start)
    const piece = line.slice(start, end)
    start = end + 1
    const equals = piece.indexOf('=')
    const name = (equals < 0 ? piece : piece.slice(0, equals)).trim().toLowerCase()
    const seconds = equals < 0 ? undefined : secondsOf(piece.slice(equals + 1).trimEnd())
    found.flags |= FLAGS.get(name) ?? 0
    // a lifetime that cannot be read is over (RFC 9111 section 4.2.1); a permission that cannot be read is none
    if (name === 'max-age') found.maxAge = Math.min(found.maxAge, seconds ?? 0)
    else if (name === 's-maxage') found.sMaxAge = Math.min(found.sMaxAge, seconds ?? 0)
    else if (name === 'stale-while-revalidate') found.staleWhileRevalidate = Math.min(found.staleWhileRevalidate, seconds ?? Infinity)
    else if (name === 'stale-if-error') found.staleIfError = Math.min(found.staleIfError, seconds ?? Infinity)
  }
  return found
}

/**
 * The comma that ends the directive, or the end of the line. Only a quoted string that is an argument and that ends
 * hides commas: a stray quote must not swallow the `no-store` behind it.
 */
function directiveEnd (line: string, start: number): number {
  const comma = line.indexOf(',', start)
  if (comma < 0) return line.length
  const quote = line.slice(start, comma).indexOf('="')
  if (quote < 0) return comma
  for (let i = start + quote + 2; i < line.length; i++) {
    if (line[i] === '\\') i++
    else if (line[i] === '"') {
      const next = line.indexOf(',', i)
      return next < 0 ? line.length : next
    }
  }
  return comma
}

/** As much as RFC 9111 section 1.2.2 asks caches to count to. */
const MOST_SECONDS = 2 ** 31

/** `60` or `"60"`. */
function secondsOf (value: string): number | undefined {
  const digits = /^(?:(\d+)|"(\d+)")$/.exec(value)
  return digits === null ? undefined : Math.min(Number(digits[1] ?? digits[2]), MOST_SECONDS)
}

/** The first of several counts, and one that is malformed does not (RFC 9111 section 5.1). */
function ageOf (value: string | string[]): number {
  const text = typeof value === 'string' ? value : value.join()
  const comma = text.indexOf(',')
  return secondsOf(comma < 0 ? text : text.slice(0, comma).trim()) ?? 0
}

/** Seconds from the answer's making to `Expires`; anything but one date, `0` above all, is in the past (RFC 9111 section 5.3). */
function lifetimeUntil (expires: string | string[], date: string | string[] | undefined): number {
  const end = timeOf(expires)
  const start = timeOf(date)
  if (Number.isNaN(end)) return 0
  const seconds = Math.floor((end - (Number.isNaN(start) ? Date.now() : start)) / 1_000)
  return Math.min(Math.max(0, seconds), MOST_SECONDS)
}

/** Dates begin with the name of a day (RFC 9110 section 5.6.7); JavaScript would also take a number for one. */
function timeOf (value: string | string[] | undefined): number {
  return typeof value === 'string' && /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : NaN
}
