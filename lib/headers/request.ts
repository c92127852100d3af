/**
 * The client's headers on their way to a backend: one walk over the raw list, which drops what may not cross,
 * refuses what is ambiguous, and builds the one list that undici sends. Order, case, number and bytes of everything
 * else stay. This runs for every request: names are classified once and remembered.
 */
import type { FastifyRequest } from 'fastify'
import { BadRequestError, InvalidHeaderError, LoopError, TooManyHeadersError, TransferCodingError } from '../errors.ts'
import { foldEdits } from './edits.ts'
import type { Fate } from './edits.ts'
import { compileForwarded, FORWARDED_NAMES } from './forwarded.ts'
import { connectionTokens, foldName, isHeaderValue, isHopByHop, isPlainConnection, NEVER_NAMED, SENSITIVE, takesTrailers } from './names.ts'
import type { TenancyConfig } from '../tenancy/types.ts'
import type { ForwardedConfig, HeaderRules, HeaderValue, LimitsConfig, RawHeaders, ViaConfig } from '../types.ts'

export interface RequestPolicyOptions {
  /** Global, backend, route: later wins. */
  readonly levels: ReadonlyArray<HeaderRules['request']>
  readonly forwarded: ForwardedConfig
  /** The prefix the route strips, for `X-Forwarded-Prefix`. */
  readonly prefix: string | undefined
  readonly via: ViaConfig | undefined
  readonly requestIdHeader: string | undefined
  /** Which headers of the client's name a tenant, and which one tells the backend. */
  readonly tenancy: Pick<TenancyConfig, 'sources' | 'forwardAs'> | undefined
  /** `upstream`, `preserve` or a name. */
  readonly host: string
  readonly limits: LimitsConfig
}

/** @throws coded 4xx errors when the request's own headers are ambiguous, 508 for a loop. */
export type RequestPolicy = (request: FastifyRequest) => RawHeaders

// What to do with a field. Small numbers, because the walk switches on them; a text is the name to send it under.
const KEEP = 0
const DROP = 1
const HOST = 2
const CONNECTION = 3
const CONTENT_LENGTH = 4
const TRANSFER_ENCODING = 5
const TE = 6
const VIA = 7
const MAX_FORWARDS = 8
const SINGLE = 9
/** FORWARDED + i: the field FORWARDED_NAMES[i]. */
const FORWARDED = 16

type Action = number | string

const BY_NAME: Readonly<Record<string, number>> = {
  host: HOST,
  connection: CONNECTION,
  'content-length': CONTENT_LENGTH,
  'transfer-encoding': TRANSFER_ENCODING,
  te: TE,
  expect: DROP,
  'max-forwards': MAX_FORWARDS,
  authorization: SINGLE,
  'content-type': SINGLE,
  // CGI makes HTTP_PROXY of it (CVE-2016-5385)
  proxy: DROP
}

/** Fields that say what the body is cross an allow list: without them the body would mean something else. */
const ABOUT_THE_BODY = new Set(['content-type', 'content-encoding'])

interface Classifier {
  (rawName: string): Action
}

function createClassifier (options: RequestPolicyOptions, fates: ReturnType<typeof foldEdits>): Classifier {
  const forward = options.levels.reduce<'*' | readonly string[]>((before, level) => level.forward ?? before, '*')
  const allowed = forward === '*' ? undefined : new Set(forward.map(name => name.toLowerCase()))
  const ours = new Set([...SENSITIVE, ...[...fates].filter(([, fate]) => fate.drop).map(([name]) => name)].map(foldName))
  if (options.requestIdHeader !== undefined) ours.add(foldName(options.requestIdHeader))
  const tenant = tenantHeaders(options.tenancy)
  for (const name of tenant) ours.add(foldName(name))

  return function classify (rawName) {
    const name = rawName.toLowerCase()
    const forwarded = FORWARDED_NAMES.indexOf(name)
    if (forwarded >= 0) return FORWARDED + forwarded
    const special = Object.hasOwn(BY_NAME, name) ? BY_NAME[name]! : undefined
    if (special !== undefined && special !== SINGLE && special !== MAX_FORWARDS) return special
    if (name.startsWith(':') || isHopByHop(name) || name === options.requestIdHeader || tenant.has(name)) return DROP
    if (name === 'via' && fates.get('via')?.drop !== true) return options.via === undefined ? KEEP : VIA
    const folded = foldName(name)
    if (folded !== name && ours.has(folded)) return DROP
    const fate = fates.get(name)
    if (fate?.drop === true) return DROP
    if (allowed !== undefined && !allowed.has(name) && !ABOUT_THE_BODY.has(name)) return DROP
    return fate?.renamedTo ?? special ?? KEEP
  }
}

/** What a client says of its tenant goes no further: the backend gets what came of it. */
function tenantHeaders ({ sources, forwardAs }: NonNullable<RequestPolicyOptions['tenancy']> = { sources: [], forwardAs: undefined }): ReadonlySet<string> {
  return new Set([...sources.flatMap(source => source.kind === 'header' ? [source.name] : []), ...forwardAs === undefined ? [] : [forwardAs]])
}

export function compileRequestPolicy (options: RequestPolicyOptions): RequestPolicy {
  const fates = foldEdits(options.levels)
  const additions: Array<readonly [string, HeaderValue]> = [...fates].flatMap(([name, fate]) => fate.values.map(value => [name, value] as const))
  const classify = createClassifier(options, fates)
  const known = new Map<string, Action>()
  const writeForwarded = compileForwarded(withoutEdited(options.forwarded, fates), options.prefix)
  const { host: hostRule, limits } = options
  const forwardAs = options.tenancy?.forwardAs === undefined || fates.get(options.tenancy.forwardAs)?.drop === true ? undefined : options.tenancy.forwardAs
  // an edit of one of our own fields takes its place
  const via = fates.get('via')?.drop === true ? undefined : options.via
  const requestIdHeader = options.requestIdHeader !== undefined && fates.get(options.requestIdHeader)?.drop === true ? undefined : options.requestIdHeader

  function remember (rawName: string): Action {
    const action = classify(rawName)
    // clients choose these names, so the memory is bounded
    if (known.size < 1_000) known.set(rawName, action)
    return action
  }

  return function applyRequestPolicy (request) {
    const raw = request.raw.rawHeaders
    if (raw.length > limits.headerCount * 2) throw new TooManyHeadersError()
    const out: RawHeaders = []
    let host: string | undefined
    let connection: string | undefined
    let claimed: Array<string | undefined> | undefined
    let received: string | undefined
    let seen = 0

    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!
      const value = raw[i + 1]!
      const action = known.get(name) ?? remember(name)
      if (action === KEEP) {
        out.push(name, value)
        continue
      }
      if (typeof action === 'string') {
        out.push(action, value)
        continue
      }
      switch (action) {
        case DROP: break
        case HOST:
          if (host !== undefined) throw new BadRequestError('repeated Host')
          host = value
          break
        case CONNECTION: connection = connection === undefined ? value : `${connection},${value}`; break
        case CONTENT_LENGTH: seen = once(seen, 1, 'Content-Length'); break
        case TRANSFER_ENCODING:
          seen = once(seen, 2, 'Transfer-Encoding')
          checkCoding(request, value)
          break
        case TE:
          if (takesTrailers(value)) out.push('te', 'trailers')
          break
        case VIA: received = received === undefined ? value : `${received}, ${value}`; break
        case MAX_FORWARDS: out.push(name, request.method === 'OPTIONS' ? oneLess(value) : value); break
        case SINGLE:
          seen = once(seen, name.length === 13 ? 4 : 8, name)
          out.push(name, value)
          break
        default: {
          claimed ??= new Array<string | undefined>(FORWARDED_NAMES.length).fill(undefined)
          const before = claimed[action - FORWARDED]
          claimed[action - FORWARDED] = before === undefined ? value : `${before}, ${value}`
        }
      }
    }

    // an HTTP/2 client names the host in a pseudo header
    if (host === undefined && request.raw.httpVersionMajor === 2) host = request.host
    if (host !== undefined) checkHost(host)
    if (request.raw.httpVersionMajor === 2) joinCookies(out)
    if (connection !== undefined && !isPlainConnection(connection)) dropNamed(out, connection)
    if (hostRule !== 'upstream') out.push('host', hostRule === 'preserve' ? host ?? 'localhost' : hostRule)
    writeForwarded(request, claimed, host ?? '', out)
    if (via !== undefined) out.push('via', extendVia(via, received, request.raw.httpVersion))
    // a call of the app's own may have none
    if (requestIdHeader !== undefined && request.id !== undefined) addValue(out, requestIdHeader, String(request.id))
    if (forwardAs !== undefined) {
      const { tenant } = request.reverseproxy ?? {}
      if (tenant !== undefined) addValue(out, forwardAs, tenant)
    }
    for (const [name, value] of additions) {
      const text = typeof value === 'string' ? value : value(request)
      if (text !== undefined) addValue(out, name, text)
    }
    return out
  }
}

/** A forwarded field that an edit sets or removes is not written by us as well. */
function withoutEdited (forwarded: ForwardedConfig, fates: ReadonlyMap<string, Fate>): ForwardedConfig {
  const edited = Object.keys(forwarded).filter((_field, index) => fates.get(FORWARDED_NAMES[index]!)?.drop === true)
  return { ...forwarded, ...Object.fromEntries(edited.map(field => [field, 'remove'])) }
}

/** HTTP/2 clients send a cookie in crumbs; HTTP/1.1 has one field (RFC 9113 section 8.2.3). */
function joinCookies (out: RawHeaders): void {
  const crumbs: string[] = []
  for (let i = out.length - 2; i >= 0; i -= 2) {
    if (out[i]!.toLowerCase() === 'cookie') crumbs.unshift(...out.splice(i, 2).slice(1))
  }
  if (crumbs.length > 0) out.push('cookie', crumbs.join('; '))
}

function addValue (out: RawHeaders, name: string, value: string): void {
  if (typeof value !== 'string' || !isHeaderValue(value)) throw new InvalidHeaderError({ cause: new Error(`request header ${name}`) })
  out.push(name, value)
}

function once (seen: number, bit: number, name: string): number {
  if ((seen & bit) !== 0) throw new BadRequestError(`repeated ${name}`)
  return seen | bit
}

function checkCoding (request: FastifyRequest, value: string): void {
  if (request.raw.httpVersion === '1.0') throw new BadRequestError('Transfer-Encoding in an HTTP/1.0 request')
  if (value.trim().toLowerCase() !== 'chunked') throw new TransferCodingError()
}

function oneLess (value: string): string {
  if (!/^\d{1,9}$/.test(value)) throw new BadRequestError('malformed Max-Forwards')
  return String(Math.max(0, Number(value) - 1))
}

/**
 * A name, an IPv4 address or an IPv6 literal, and a port. RFC 3986 section 3.2.2 would also have percent-encoding and
 * delimiters in names; what two readers may read in two ways is refused.
 */
const HOST_VALUE = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~-]+)(?::(\d{1,5}))?$/

function checkHost (host: string): void {
  const match = HOST_VALUE.exec(host)
  if (match === null || Number(match[1] ?? 0) > 65_535) throw new BadRequestError('malformed Host')
}

/** Fields that the client declared to be for us only. Ours are added later, so it cannot remove them. */
function dropNamed (out: RawHeaders, connection: string): void {
  const named = new Set(connectionTokens(connection).filter(token => !NEVER_NAMED.has(token)))
  if (named.size === 0) return
  let kept = 0
  for (let i = 0; i < out.length; i += 2) {
    if (named.has(out[i]!.toLowerCase())) continue
    out[kept] = out[i]!
    out[kept + 1] = out[i + 1]!
    kept += 2
  }
  out.length = kept
}

/** RFC 9110 section 7.6.3. @throws LoopError when our name is there more often than `maxHops`. */
function extendVia (via: ViaConfig, received: string | undefined, httpVersion: string): string {
  const own = `${httpVersion} ${via.name}`
  if (received === undefined) return own
  let hops = 0
  for (const entry of received.split(',')) {
    if (entry.trim().split(/\s+/)[1]?.toLowerCase() === via.name.toLowerCase()) hops++
  }
  if (hops > via.maxHops) throw new LoopError()
  return `${received}, ${own}`
}
