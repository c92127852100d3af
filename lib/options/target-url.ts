/**
 * URLs of targets: `http://`, `https://` and `unix:///path/to.sock[:/base]`.
 */

/** The parts of a target's URL. */
export interface TargetAddress {
  /** The URL in its normal form: lower-case host, no default port, no slash at the end. Two equal targets have the same. */
  readonly url: string
  /** Scheme and authority; `http://localhost` for a unix socket. */
  readonly origin: string
  /** Path put before every request path, without a slash at the end; `''` for none. */
  readonly basePath: string
  /** File of a unix socket, else undefined. */
  readonly socketPath: string | undefined
}

/** `sun_path` of unix(7), its last byte being zero. Some systems have 103. */
const LONGEST_SOCKET = 107
const UNIX = /^unix:\/\/(\/[^:?#\s]+)(?::(\/[^?#\s]*)?)?$/
const SCHEME = /^https?:\/\/[^/]/i

/** Takes a URL apart; a text that is no acceptable target comes back as the rule it breaks. */
export function splitTargetUrl (url: string): TargetAddress | string {
  if (url.startsWith('unix:')) return splitUnix(url)
  if (!SCHEME.test(url)) return 'must be a URL with http://, https:// or unix://'
  if (/[\s\\]/.test(url)) return 'must be a URL without spaces or backslashes'
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    return 'must be a valid URL'
  }
  const refused = refusedPart(parsed, url)
  if (refused !== undefined) return refused
  const basePath = trimSlashes(parsed.pathname)
  return { url: parsed.origin + basePath, origin: parsed.origin, basePath, socketPath: undefined }
}

function refusedPart (parsed: URL, url: string): string | undefined {
  const [, authority = '', path = ''] = /^[^:]*:\/\/([^/?#]*)([^?#]*)/.exec(url) ?? []
  if (authority.includes('@')) return 'must not have a user name or password'
  if (url.includes('?')) return 'must not have a query'
  if (url.includes('#')) return 'must not have a fragment'
  if (parsed.port === '0') return 'must have a port between 1 and 65535'
  return badPath(path, parsed.pathname)
}

function splitUnix (url: string): TargetAddress | string {
  const match = UNIX.exec(url)
  if (match === null) return 'must be unix:///path/to.sock, or unix:///path/to.sock:/base'
  const [, socketPath = '', path = ''] = match
  const refused = path === '' ? undefined : badPath(path, new URL(path, 'http://localhost').pathname)
  if (refused !== undefined) return refused
  if (Buffer.byteLength(socketPath) > LONGEST_SOCKET) return `must have a path of at most ${LONGEST_SOCKET} bytes, as no system takes a longer one for a socket`
  const basePath = trimSlashes(path)
  return { url: `unix://${socketPath}${basePath === '' ? '' : `:${basePath}`}`, origin: 'http://localhost', basePath, socketPath }
}

/** The base path is sent as it stands, so it must be what a URL parser would make of it: no dots, everything encoded. */
function badPath (path: string, normal: string): string | undefined {
  if (path !== '' && path !== normal) return 'must have a base path without dot segments and with everything else percent-encoded'
  return path.includes('//') ? 'must not have empty segments in its base path' : undefined
}

function trimSlashes (path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}
