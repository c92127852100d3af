/**
 * Who may come in: who knows the token, whom the app's own hooks let in; without either only those on this machine, where nobody
 * can be in between. And nothing that a page of another origin makes a browser send.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import type { IncomingHttpHeaders } from 'node:http'
import { AdminAccessError, AdminOriginError, AdminTokenError } from '../errors.ts'
import type { AdminConfig } from './types.ts'

/** Where a server listens; a text is a unix socket. */
export type Address = string | { readonly address: string }

/** What of a request counts. */
export interface Visitor {
  readonly method: string
  /** As clients are told of it: `https://gateway.example.com`. */
  readonly origin: string
  readonly raw: {
    readonly headers: IncomingHttpHeaders
    readonly rawHeaders: readonly string[]
    readonly httpVersionMajor: number
    readonly httpVersionMinor: number
    readonly socket: { readonly remoteAddress?: string | undefined, readonly localAddress?: string | undefined }
  }
}

export interface AccessOptions {
  readonly token: string | undefined
  /** Whether hooks of the app's own decide as well. */
  readonly guarded: boolean
  /** Of all servers that answer here; none: nobody listens. */
  addresses (): readonly Address[]
}

/** Returns why somebody may not come in; undefined: they may, as far as this goes. */
export type Access = (visitor: Visitor) => Error | undefined

export function createAccess ({ token, guarded, addresses }: AccessOptions): Access {
  const digest = token === undefined ? undefined : digestOf(Buffer.from(token))
  return function mayEnter (visitor) {
    const { method, raw } = visitor
    const isLocal = digest === undefined && !guarded
    if (isLocal) {
      const why = whyNotLocal(raw, addresses())
      if (why !== undefined) return new AdminAccessError(why)
    }
    // what a token or a hook protects may be read by other pages if the app says so (CORS)
    if ((isLocal || (method !== 'GET' && method !== 'HEAD')) && isForeign(visitor)) return new AdminOriginError()
    return digest === undefined ? undefined : checkToken(raw, digest)
  }
}

// ---- the token (RFC 6750)

function checkToken (raw: Visitor['raw'], digest: Buffer): Error | undefined {
  const values = valuesOf(raw, 'authorization')
  const [, shown] = values.length === 1 ? /^bearer +(.*)$/i.exec(values[0]!) ?? [] : []
  // as bytes: a header has come as latin1, whatever it is
  if (shown !== undefined && timingSafeEqual(digestOf(Buffer.from(shown, 'latin1')), digest)) return undefined
  const wrong = values.some(value => /^bearer(?: |$)/i.test(value))
  return Object.assign(new AdminTokenError(), { headers: { 'www-authenticate': `Bearer realm="reverseproxy"${wrong ? ', error="invalid_token"' : ''}` } })
}

function digestOf (bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Node shows one of several. */
function valuesOf ({ rawHeaders }: Pick<Visitor['raw'], 'rawHeaders'>, name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]!.toLowerCase() === name)
}

// ---- this machine only

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** IPv4 within IPv6 as well. */
export function isLoopback (address: string | undefined): boolean {
  const family = isIP(address ?? '')
  return family !== 0 && LOOPBACK.check(address!, family === 6 ? 'ipv6' : 'ipv4')
}

export function isLoopbackOnly (addresses: readonly Address[]): boolean {
  return addresses.every(address => typeof address === 'object' && isLoopback(address.address))
}

/** What is told of an admin interface that lets nobody in, wherever it listens; undefined: some may come in. `isLocal`: only from this machine. */
export function whyNobody ({ token, preHandler }: Pick<AdminConfig, 'token' | 'preHandler'>, isLocal: boolean): string | undefined {
  if (token !== undefined || preHandler.length > 0 || isLocal) return undefined
  return 'the admin interface refuses everybody, since the server listens on more than loopback addresses: set admin.token or admin.preHandler, or give it a port of its own (admin.port)'
}

/** Somebody stands in front, and speaks for others. */
const IN_FRONT = /^(?:forwarded|via|x-forwarded-.*|x-forwarded|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cf-connecting-ip)$/

function whyNotLocal (raw: Visitor['raw'], addresses: readonly Address[]): string | undefined {
  const { headers, httpVersionMajor, httpVersionMinor, socket } = raw
  if (!isLoopbackOnly(addresses)) return 'the server listens on more than loopback addresses'
  if (!isLoopback(socket.remoteAddress)) return 'the request does not come from a loopback address'
  if (socket.localAddress !== undefined && !isLoopback(socket.localAddress)) return 'the request has not come to a loopback address'
  const front = Object.keys(headers).find(name => IN_FRONT.test(name))
  if (front !== undefined) return `the request has come through a proxy (${front})`
  // what proxies speak that say nothing of themselves, and next to nobody else
  if (httpVersionMajor === 1 && httpVersionMinor === 0) return 'the request has come with HTTP/1.0, as from a proxy'
  // else any page could have a name of its own that leads here (DNS rebinding)
  const hosts = [...valuesOf(raw, 'host'), ...valuesOf(raw, ':authority')]
  return hosts.length > 0 && hosts.every(isLoopbackHost) ? undefined : 'the Host of the request is not localhost'
}

/** As `listen` takes it. A name that is not localhost is taken for one of others. */
export function isLoopbackName (host: string): boolean {
  return isLoopbackHost(isIP(host) === 6 ? `[${host}]` : host)
}

/** `host[:port]` */
function isLoopbackHost (host: string): boolean {
  const [, literal, name = ''] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::\d*)?$/.exec(host) ?? []
  if (literal !== undefined) return isIP(literal) === 6 && isLoopback(literal)
  return isLoopback(name) || /^(?:[a-z0-9_-]+\.)*localhost\.?$/i.test(name)
}

// ---- other origins

/** Browsers say of themselves where a request comes from; others say nothing. */
function isForeign ({ method, origin, raw: { headers } }: Visitor): boolean {
  const { origin: from, 'sec-fetch-site': site, 'sec-fetch-mode': mode } = headers
  // a link leads here from anywhere; a picture of another page that is said to be here does not
  const leads = (method === 'GET' || method === 'HEAD') && (mode === undefined || mode === 'navigate')
  if (!leads && site !== undefined && site !== 'same-origin' && site !== 'none') return true
  if (from === undefined) return false
  const [theirs, ours] = [from, origin].map(parsed)
  if (theirs === undefined || ours === undefined) return true
  // where something in front ends TLS, the browser knows better
  return site === 'same-origin' ? theirs.host !== ours.host : theirs.origin !== ours.origin
}

function parsed (url: string): URL | undefined {
  try {
    return new URL(url)
  } catch {
    return undefined
  }
}
