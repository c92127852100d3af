/** What the gateway knows about header names: framing, hop-by-hop (RFC 9110 section 7.6.1), and look-alikes. */

/** Never cross, in either direction. `te` and `trailer` are added where they are handled by value. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings', 'trailer', 'te'
])

export function isHopByHop (lowerName: string): boolean {
  return HOP_BY_HOP.has(lowerName) || lowerName.startsWith('proxy-')
}

/** Naming one of these in `Connection` removes nothing: they are the framing and the address of the message. */
export const NEVER_NAMED: ReadonlySet<string> = new Set(['host', 'content-length', 'content-type', 'close', 'keep-alive', 'te'])

/**
 * What servers fold names to before they look at them: CGI and WSGI make `X_Forwarded_For`, `x.forwarded.for`
 * and `x-forwarded-for` one variable.
 */
export function foldName (lowerName: string): string {
  return lowerName.replace(/[^a-z0-9]/g, '-')
}

/** Whether a `TE` value asks for trailers (RFC 9110 section 10.1.4). */
export function takesTrailers (te: string): boolean {
  return TRAILERS.test(te)
}

const TRAILERS = /(?:^|[\s,])trailers(?:$|[\s,;])/i

/** Header names that decide about trust in most backends, whoever sets them. */
export const SENSITIVE: readonly string[] = [
  'authorization', 'cookie', 'host', 'content-length', 'content-type', 'transfer-encoding', 'connection', 'x-request-id',
  'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-prefix', 'x-forwarded-scheme',
  'x-forwarded-server', 'x-real-ip', 'forwarded', 'via', 'proxy'
]

/** Whether a `Connection` value says nothing beyond how long the connection lives. */
export function isPlainConnection (value: string): boolean {
  return PLAIN_CONNECTION.test(value)
}

const PLAIN_CONNECTION = /^\s*(?:keep-alive|close)?\s*$/i

/** The tokens of a `Connection` value, lower case. */
export function connectionTokens (value: string): string[] {
  return value.toLowerCase().split(',').map(token => token.trim()).filter(token => token !== '')
}

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

export function isToken (name: string): boolean {
  return TOKEN.test(name)
}

/** Visible characters, space, tab and obs-text (RFC 9110 section 5.5): no CR, LF, NUL or other control. */

const FORBIDDEN_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/

export function isHeaderValue (value: string): boolean {
  return !FORBIDDEN_IN_VALUE.test(value)
}

/** Header values with other characters are Latin-1 on the wire, and cannot be joined with a text that is UTF-8. */
// eslint-disable-next-line no-control-regex
export const BEYOND_ASCII = /[^\x00-\x7f]/
