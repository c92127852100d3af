/**
 * What a text must be, rule by rule. A schema names its rule with the keyword `check`.
 *
 * A rule returns the sentence that was broken, or undefined when all is well.
 */
import { readFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { resolve } from 'node:path'
import { isHeaderValue, isHopByHop, isToken, SENSITIVE } from '../headers/names.ts'
import { pathProblem } from '../rewrite/guard.ts'
import { encodeLiteral } from '../rewrite/prefix.ts'
import { badExpression, badRoutePath } from './route-path.ts'
import { DURATION_PATTERN, MAX_DURATION, SIZE_PATTERN } from './schema/values.ts'
import { splitTargetUrl } from './target-url.ts'
import { byteCount, milliseconds } from './units.ts'

/** Where the options come from: some texts mean a file's path only in a file. */
export interface Origin {
  readonly source: 'code' | 'file'
  /** Folder that relative paths start from. */
  readonly baseDir: string
  /** Takes the absolute paths of the files that are read. */
  readonly files?: Set<string>
}

type Rule = (value: string, origin: Origin) => string | undefined

const HOST = /^(?:[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])$/i
const DNS_NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i
const PEM = /-----BEGIN [^-]+-----/
const DURATION = new RegExp(DURATION_PATTERN)
const SIZE = new RegExp(SIZE_PATTERN)

export const RULES = {
  filled: value => value.trim() === '' ? 'must not be empty' : undefined,
  duration: value => isDurationText(value, 0) ? undefined : 'must be a duration',
  positiveDuration: value => isDurationText(value, 1) ? undefined : 'must be a duration above 0',
  size: value => SIZE.test(value) && Number.isSafeInteger(byteCount(value)) ? undefined : 'must be a size',
  positiveSize: value => SIZE.test(value) && byteCount(value) > 0 ? undefined : 'must be a size above 0',
  backendName: value => /^[^\s\p{Cc}]+$/u.test(value) ? undefined : 'must be a name without spaces or control characters',
  headerName: value => isToken(value) ? undefined : 'must be a header name (RFC 9110 token)',
  editableHeader,
  headerValue: value => isHeaderValue(value) ? undefined : 'must be a header value: no line breaks, control characters or anything beyond Latin-1',
  httpProxyUrl: badHttpProxyUrl,
  targetUrl: value => { const split = splitTargetUrl(value); return typeof split === 'string' ? split : undefined },
  regex: badExpression,
  routePath: badRoutePath,
  prefix: badLiteralPath,
  template: badTemplate,
  partPath: badPartPath,
  partName: badPartName,
  fieldPath: badFieldPath,
  fieldName: value => value === '' || isUnsafeKey(value) ? 'must be the name of a property' : undefined,
  replacement: value => /[?#]/.test(value) ? 'must be a path only: no query or fragment' : undefined,
  hostOption: value => HOST.test(value.replace(/:\d{1,5}$/, '')) ? undefined : 'must be "upstream", "preserve" or a host name, with a port if wanted',
  hostMatch,
  method: badMethod,
  retryMethod: value => !isToken(value) ? 'must be a method (RFC 9110 token)' : value === value.toUpperCase() ? undefined : 'must be in upper case',
  healthPath: badHealthPath,
  statusRange: badStatusRange,
  pem: badPem,
  viaName: value => isToken(value.replace(/:\d{1,5}$/, '')) ? undefined : 'must be a name without spaces, or a host with a port (RFC 9110 section 7.6.3)',
  proxyAddress,
  tenantHeader,
  tenantHost,
  origin: badOrigin,
  dnsName: value => value.length <= 253 && DNS_NAME.test(value) ? undefined : 'must be a DNS name',
  dnsServer: badDnsServer,
  consulAddress: badConsulAddress,
  listenHost: value => HOST.test(value) || isIP(value) !== 0 ? undefined : 'must be an address or a host name',
  fixedPath: value => /[:*]/.test(value) ? 'must be one path: without parameters' : badLiteralPath(value),
  adminPrefix: badAdminPrefix,
  bearerToken: value => value === '' ? 'must not be empty' : /^[!-~]+$/.test(value) ? undefined : 'must be visible ASCII without spaces, as it is sent in a header',
  jsonPath: value => /^(?:\$\.)?[^\s.[\]$]+(?:\[\*\])?(?:\.[^\s.[\]]+(?:\[\*\])?)*$/.test(value) ? undefined : 'must be a name, or a way such as customer.cards.number, with * for any name; arrays do not count',
  metricPrefix: value => /^(?:[a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(value) ? undefined : 'must be letters, digits, "_" and ":", and not begin with a digit',
  portText: value => /^\d{1,5}$/.test(value) && Number(value) <= 65535 ? undefined : 'must be a port between 0 and 65535'
} satisfies Record<string, Rule>

export type CheckName = keyof typeof RULES

/** Whether a value is a duration that `milliseconds` understands. */
export function isDuration (value: unknown): value is string | number {
  return typeof value === 'number' || (typeof value === 'string' && isDurationText(value, 0))
}

function isDurationText (value: string, minimum: number): boolean {
  if (!DURATION.test(value)) return false
  const time = milliseconds(value)
  return time >= minimum && time <= MAX_DURATION
}

/** A header that options may name. Framing belongs to the message, hop-by-hop to the connection. */
function editableHeader (name: string): string | undefined {
  if (!isToken(name)) return RULES.headerName(name)
  const lower = name.toLowerCase()
  if (lower === 'host') return 'must not name Host: use the option "host"'
  if (lower === 'content-length') return 'must not name Content-Length: the gateway frames its messages itself'
  if (lower === 'expect' || isHopByHop(lower)) return 'must not name a hop-by-hop header: those never cross the gateway'
  return undefined
}

/** A header that the tenant is in: it is taken from the client and made anew, so it must not mean anything else. */
function tenantHeader (name: string): string | undefined {
  return editableHeader(name) ?? (SENSITIVE.includes(name.toLowerCase()) ? 'must be a header of its own: this one means something else' : undefined)
}

/** `{tenant}.example.com`: what stands around the id is the rest of a name. */
function tenantHost (value: string): string | undefined {
  if (value.split('{tenant}').length !== 2) return 'must have exactly one {tenant}, as in {tenant}.example.com'
  if (/:\d+$/.test(value)) return 'must not have a port: the port of a request is not looked at'
  return HOST.test(value.replace('{tenant}', 'x')) ? undefined : 'must be a host name around {tenant}, as in {tenant}.example.com'
}

/** A path that is put in as it stands; what cannot stand on the wire is encoded later (`lib/rewrite`). */
function badLiteralPath (value: string): string | undefined {
  if (!value.startsWith('/')) return 'must start with "/"'
  if (value.startsWith('//')) return 'must start with one "/" only'
  const problem = pathProblem(encodeLiteral(value))
  return problem === undefined ? undefined : `must be a plain path; this one ${problem}`
}

/** A path that others are below. */
function badAdminPrefix (value: string): string | undefined {
  if (value === '/') return 'must be a path of its own, such as "/_gateway": all others would be below "/"'
  return RULES.fixedPath(value) ?? (value.endsWith('/') ? 'must not end with "/"' : undefined)
}

/** A path with `:name` and `*` in it, perhaps with a query. */
function badTemplate (value: string): string | undefined {
  if (value.includes('#')) return 'must not have a fragment'
  if (/:(?![\w:])/.test(value.replaceAll('::', ''))) return 'must name every parameter (":id"); write "::" for a colon'
  return badLiteralPath(value.replace(/\?.*$/s, ''))
}

/** A path of a part; what stands in braces is looked at by `lib/composite`. */
function badPartPath (value: string): string | undefined {
  if (value.includes('#')) return 'must not have a fragment'
  return badLiteralPath(value.replace(/\?.*$/s, '').replace(/\{[^{}]*\}/g, 'x'))
}

/** A path that is sent as it stands, perhaps with a query. */
function badHealthPath (value: string): string | undefined {
  if (!value.startsWith('/')) return 'must start with "/"'
  if (value.includes('#')) return 'must not have a fragment'
  return /[^!-~]/.test(value) ? 'must be as it is sent: everything but visible ASCII percent-encoded' : undefined
}

function badStatusRange (value: string): string | undefined {
  if (/^[1-5]xx$/.test(value)) return undefined
  const [, from = '', to = ''] = /^([1-5]\d\d)-([1-5]\d\d)$/.exec(value) ?? []
  if (from === '') return 'must be a status between 100 and 599, a range such as "200-299", or a class such as "2xx"'
  return from > to ? 'must be a range from the lower to the higher status' : undefined
}

/** Words that mean something else where a part's name stands. */
const RESERVED_PARTS = new Set(['request', 'item', 'items'])

function badPartName (name: string): string | undefined {
  if (RESERVED_PARTS.has(name)) return `must not be "${name}": templates mean something else by it`
  if (isUnsafeKey(name)) return 'must not be used as a name'
  return /^[A-Za-z_$][\w$-]*$/.test(name) ? undefined : 'must be a name of letters, digits, "_", "$" and "-" that does not begin with a digit or "-"'
}

function badFieldPath (value: string): string | undefined {
  const keys = value.split('.')
  if (keys.includes('')) return 'must be the name of a property, or a path such as "address.city"'
  return keys.some(isUnsafeKey) ? 'must not lead through __proto__, constructor or prototype' : undefined
}

/** Keys that lead from data to what all objects share. */
function isUnsafeKey (key: string): boolean {
  return key === '__proto__' || key === 'constructor' || key === 'prototype'
}

function hostMatch (value: string): string | undefined {
  const expression = expressionOf(value)
  if (expression !== undefined) return badExpression(expression)
  if (/:\d+$/.test(value)) return 'must not have a port: the port of a request is not looked at'
  const name = value.startsWith('*.') ? value.slice(2) : value
  return HOST.test(name) ? undefined : 'must be a host name, "*." and a host name, or an expression between slashes'
}

/** The source between the slashes of `/…/`, or undefined for a plain name. */
export function expressionOf (value: string): string | undefined {
  return value.length > 2 && value.startsWith('/') && value.endsWith('/') ? value.slice(1, -1) : undefined
}

/** `https://app.example.com`, `app.example.com:8443` or `*.example.com`; never a path. */
function badOrigin (value: string): string | undefined {
  const [, host] = /^(?:https?:\/\/)?(.*?)(?::\d{1,5})?$/i.exec(value) ?? []
  if (host !== undefined && HOST.test(host.startsWith('*.') ? host.slice(2) : host)) return undefined
  return 'must be an origin ("https://app.example.com"), a host name, or "*." and a host name, with a port if wanted'
}

/** `10.0.0.2`, `10.0.0.2:5353`, `fd00::2`, `[fd00::2]:5353`, `ns.example.com:53`. */
function badDnsServer (value: string): string | undefined {
  if (isIP(value) !== 0) return undefined
  const [, v6, host = '', port] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/i.exec(value) ?? []
  const isAddress = v6 === undefined ? HOST.test(host) : isIP(v6) === 6
  return isAddress && (port === undefined || (Number(port) > 0 && Number(port) <= 65535)) ? undefined : 'must be an address such as "10.0.0.2", with a port if wanted ("10.0.0.2:5353", "[fd00::2]:5353")'
}

/** An agent's address. What it is told in private has options of its own. */
function badConsulAddress (value: string): string | undefined {
  const split = splitTargetUrl(value)
  if (typeof split !== 'string') return undefined
  return value.includes('@') ? 'must not have a user name or password: set token' : split
}

function badMethod (value: string): string | undefined {
  if (value === 'CONNECT' || value === 'TRACE') return 'must not be CONNECT or TRACE: a gateway does not forward them'
  if (METHODS.includes(value)) return undefined
  return METHODS.includes(value.toUpperCase()) ? 'must be in upper case' : 'must be an HTTP method that Node knows'
}

/** A proxy is asked over plain HTTP; what is told to it in private has options of its own. */
function badHttpProxyUrl (value: string): string | undefined {
  const split = splitTargetUrl(value)
  if (typeof split === 'string') return value.includes('@') ? 'must not have a user name or password: set username and password' : 'must be http://host:port'
  return value.toLowerCase().startsWith('http:') && split.basePath === '' ? undefined : 'must be http://host:port'
}

/** PEM text; in a file also the path of one. */
function badPem (value: string, origin: Origin): string | undefined {
  if (PEM.test(value)) return undefined
  if (origin.source === 'code') return 'must be PEM text or a Buffer with it'
  try {
    return PEM.test(readPem(value, origin)) ? undefined : 'must be the path of a PEM file'
  } catch (error) {
    return `must be PEM text or the path of a file that can be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`
  }
}

/** PEM text out of what the user gave: the text itself, bytes, or (in a file) a path. */
export function readPem (value: string | Uint8Array, origin: Origin): string {
  if (typeof value !== 'string') return Buffer.from(value).toString('latin1')
  if (origin.source === 'code' || PEM.test(value)) return value
  const path = resolve(origin.baseDir, value)
  origin.files?.add(path)
  return readFileSync(path, 'utf8')
}

/** One entry of Fastify's `trustProxy` list. */
function proxyAddress (value: string): string | undefined {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(value)) return undefined
  const [address = '', prefix] = value.split('/')
  const family = isIP(address)
  const rule = 'must be an IP address, a network such as "10.0.0.0/8", or loopback, linklocal or uniquelocal'
  if (family === 0 || (prefix !== undefined && !/^\d+$/.test(prefix))) return rule
  try {
    new BlockList().addSubnet(address, Number(prefix ?? 32), family === 4 ? 'ipv4' : 'ipv6')
    return undefined
  } catch {
    return rule
  }
}
