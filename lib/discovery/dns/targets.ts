/**
 * Targets made of records: which of them, with what URLs and weights. Pure.
 */
import { isIPv6 } from 'node:net'
import { splitTargetUrl } from '../../options/target-url.ts'
import type { DnsRecord } from './message.ts'
import type { DiscoveredTarget, ProviderTools } from '../types.ts'

/** Where a target is; `host` is an address or a name. */
export interface Endpoint {
  readonly host: string
  /** undefined: the scheme's own. */
  readonly port: number | undefined
  readonly weight?: number
  readonly metadata: { readonly host: string, readonly priority?: number }
}

/** An SRV record that takes part. */
export interface Service {
  readonly host: string
  readonly port: number
  readonly weight: number
  readonly priority: number
}

/** Part of the smallest other weight that a record of weight 0 gets: RFC 2782 wants "a very small chance" for it. */
const LEAST = 1 / 100

/** Filters and blockers answer with these; to connect to them is to connect to oneself. */
const UNSPECIFIED = new Set(['0.0.0.0', '::'])

/** The records of the lowest priority number, which is the most wanted; the others are for when none of those works, and left out. */
export function servicesOf (records: readonly DnsRecord[]): Service[] {
  // The target `.` says that there is no such service here.
  const offered = records.flatMap(record => record.type === 'SRV' && record.data.target !== '.' ? [record.data] : [])
  const first = Math.min(...offered.map(({ priority }) => priority))
  const group = offered.filter(({ priority }) => priority === first)
  const positive = group.map(({ weight }) => weight).filter(weight => weight > 0)
  const least = positive.length === 0 ? 1 : Math.min(...positive) * LEAST
  return group.map(({ target, port, weight, priority }) => ({ host: target, port, weight: weight || least, priority }))
}

/** The addresses of a service share its weight. */
export function endpointsOf ({ host, port, weight, priority }: Service, addresses: readonly string[]): Endpoint[] {
  return addresses.map(address => ({ host: address, port, weight: weight / addresses.length, metadata: { host, priority } }))
}

/** In the order of their URLs, as the order of records means nothing and changes with every answer. Equal URLs are one target. */
export function targetsOf (scheme: 'http' | 'https', endpoints: readonly Endpoint[], warn: ProviderTools['warn']): readonly DiscoveredTarget[] {
  const targets = new Map<string, DiscoveredTarget>()
  for (const { host, port, weight, metadata } of endpoints) {
    const written = `${scheme}://${isIPv6(host) ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`
    const address = UNSPECIFIED.has(host) ? 'is no address to connect to' : splitTargetUrl(written)
    if (typeof address === 'string') {
      warn(`DNS: ${metadata.host} has an entry that cannot be used, ${written}: ${address}`)
      continue
    }
    const { url } = address
    const total = weight === undefined ? undefined : weight + (targets.get(url)?.weight ?? 0)
    targets.set(url, Object.freeze({ url, ...(total === undefined ? undefined : { weight: total }), metadata: Object.freeze(metadata) }))
  }
  return Object.freeze([...targets.values()].sort((a, b) => a.url < b.url ? -1 : 1))
}
