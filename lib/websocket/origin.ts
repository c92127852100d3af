/** Who may open a WebSocket: browsers do not keep one site from connecting to another (RFC 6455 section 10.2). */
import type { OriginMatch } from './types.ts'

const PARTS = /^(?:(https?:)\/\/)?(.*?)(?::(\d{1,5}))?$/

/** What an Origin has: no path, no user. */
const ORIGIN = /^(https?:)\/\/([^/?#@\\\s]+?)(?::(\d{1,5}))?$/

const PORTS: Readonly<Record<string, string>> = { 'https:': '443', 'http:': '80' }

/** What an entry of the allow list means. It has been checked. */
export function resolveOrigin (entry: string): OriginMatch {
  const [, scheme, host = '', port] = PARTS.exec(entry.toLowerCase()) ?? []
  const wildcard = host.startsWith('*.')
  return { scheme, host: wildcard ? host.slice(1) : host, wildcard, port }
}

/** Whether an Origin header is one of these; one that is missing, `null` or malformed is none. */
export function isAllowed (origin: string | undefined, allowed: readonly OriginMatch[]): boolean {
  const [, scheme, host = '', port] = ORIGIN.exec(origin?.toLowerCase() ?? '') ?? []
  if (scheme === undefined) return false
  const realPort = port ?? PORTS[scheme]
  return allowed.some(match => {
    if (match.scheme !== undefined && match.scheme !== scheme) return false
    if (realPort !== (match.port ?? PORTS[scheme])) return false
    return match.wildcard ? host.endsWith(match.host) && host.length > match.host.length : host === match.host
  })
}
