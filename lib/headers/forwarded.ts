/**
 * `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239). What an untrusted peer says of them is dropped; what a
 * trusted one says is kept (`off`), extended (`append`) or replaced by what Fastify made of it (`set`).
 */
import type { FastifyRequest } from 'fastify'
import { isPeerTrusted } from './trusted-peer.ts'
import type { ForwardedConfig, ForwardedMode, RawHeaders } from '../types.ts'

/** The fields in the order of {@link ForwardedConfig}; a client's values are collected under these indices. */
const FIELDS = [
  ['for', 'x-forwarded-for'],
  ['proto', 'x-forwarded-proto'],
  ['host', 'x-forwarded-host'],
  ['port', 'x-forwarded-port'],
  ['prefix', 'x-forwarded-prefix'],
  ['realIp', 'x-real-ip'],
  ['rfc7239', 'forwarded']
] as const

type Field = typeof FIELDS[number][0]

export const FORWARDED_NAMES: readonly string[] = FIELDS.map(([, name]) => name)

/** Adds the fields to `out`; `claimed[i]` is what the client sent under FORWARDED_NAMES[i]. */
export type WriteForwarded = (request: FastifyRequest, claimed: ReadonlyArray<string | undefined> | undefined, host: string, out: RawHeaders) => void

/** `prefix` is the path prefix that the route strips: what `X-Forwarded-Prefix` tells the backend. */
export function compileForwarded (config: ForwardedConfig, prefix: string | undefined): WriteForwarded {
  const active = FIELDS.map(([field, name], index) => ({ field, name, index, mode: config[field] }))
    .filter(({ mode }) => mode !== 'remove')
  const always = active.filter(({ mode }) => mode !== 'off')

  return function writeForwarded (request, claimed, host, out) {
    // a call of the app's own: nobody is forwarded
    if (request.raw.socket === undefined) return
    const trusted = request.ips !== undefined && isPeerTrusted(request)
    // Without a trusted peer nothing claimed survives, and `off` has nothing to pass on.
    for (const { field, name, index, mode } of trusted ? active : always) {
      const before = trusted ? claimed?.[index] : undefined
      const value = mode === 'off' ? before : valueOf(field, mode, before, request, trusted ? request.host : host, prefix)
      if (value !== undefined && value !== '') out.push(name, value)
    }
  }
}

function valueOf (field: Field, mode: ForwardedMode, before: string | undefined, request: FastifyRequest, host: string, prefix: string | undefined): string | undefined {
  if (field === 'for' || field === 'rfc7239') {
    // `append` tells of the peer; `set` of the client Fastify has found behind trusted peers
    const address = mode === 'append' ? request.raw.socket?.remoteAddress : request.ip
    const own = field === 'for' ? address : forwardedElement(address, request, host)
    return mode === 'append' && before !== undefined ? `${before}, ${own}` : own
  }
  const own = field === 'realIp'
    ? request.ip
    : field === 'proto'
      ? request.protocol
      : field === 'host' ? host : field === 'port' ? portOf(request, host) : prefix
  if (field === 'prefix' && own === undefined) return before
  return mode === 'append' && before !== undefined ? `${before}, ${own}` : own
}

function portOf (request: FastifyRequest, host: string): string {
  const port = /:(\d+)$/.exec(host)?.[1]
  return port ?? (request.protocol === 'https' ? '443' : '80')
}

function forwardedElement (address: string | undefined, request: FastifyRequest, host: string): string {
  const node = address === undefined ? 'unknown' : address.includes(':') ? `"[${address}]"` : address
  const quoted = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(host) ? host : `"${host.replace(/["\\]/g, '\\$&')}"`
  return `for=${node};host=${quoted};proto=${request.protocol}`
}
