/**
 * Instances of a service as Consul's health endpoint lists them, and the targets they are.
 *
 * Source: Consul's HTTP API, `GET /v1/health/service/:service`; `AggregatedStatus` of its client library.
 */
import { isIPv6 } from 'node:net'
import { splitTargetUrl } from '../../options/target-url.ts'
import { isEntry } from './entry.ts'
import type { Entry } from './entry.ts'
import type { ConsulDiscoveryConfig, DiscoveredTarget, ProviderTools } from '../types.ts'

type Warn = ProviderTools['warn']
type Status = 'passing' | 'warning' | 'critical' | 'maintenance'

/**
 * The targets of the instances that may be used now, in order of node and id, so that equal lists look equal whatever Consul's
 * order. Instances that cannot be used are left out with a warning, those that should not (tags, checks, maintenance) without.
 */
export function readInstances (entries: readonly unknown[], config: ConsulDiscoveryConfig, warn: Warn): readonly DiscoveredTarget[] {
  const tags = config.tags.map(tag => tag.toLowerCase())
  const found = new Map<string, DiscoveredTarget>()
  for (const entry of sorted(entries, config, warn)) {
    const status = statusOf(entry)
    if (!hasTags(entry, tags) || !isUsable(status, config.passing)) continue
    const target = targetOf(entry, status, config, warn)
    if (target === undefined) continue
    if (found.has(target.url)) warn(`Consul: an address of the service "${config.service}" is registered twice; one of them is used`, about(entry))
    else found.set(target.url, target)
  }
  return [...found.values()]
}

/** Those of the right shape. The order also settles which of two instances with one address is used. */
function sorted (entries: readonly unknown[], { service }: ConsulDiscoveryConfig, warn: Warn): Entry[] {
  const whole: Entry[] = []
  for (const entry of entries) {
    if (isEntry(entry)) whole.push(entry)
    else warn(`Consul: an instance of the service "${service}" is left out: it has not the shape of one`)
  }
  // what is no list of instances says nothing of who is there
  if (whole.length === 0 && entries.length > 0) throw new Error(`Consul: none of the instances of the service "${service}" has the shape of one`)
  return whole.sort((a, b) => compare(a.Node.Node, b.Node.Node) || compare(a.Service.ID, b.Service.ID))
}

function compare (a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Versions of Consul before 1.3 look at one tag only. Like Consul's own, the comparison does not see case. */
function hasTags ({ Service }: Entry, tags: readonly string[]): boolean {
  if (tags.length === 0) return true
  const own = new Set(Service.Tags?.map(tag => tag.toLowerCase()))
  return tags.every(tag => own.has(tag))
}

/** The worst of its checks, those of its node included. A status that is not known is `critical`. */
function statusOf ({ Checks }: Entry): Status {
  let status: Status = 'passing'
  for (const check of Checks ?? []) {
    if (check.CheckID === '_node_maintenance' || check.CheckID.startsWith('_service_maintenance:')) return 'maintenance'
    if (check.Status === 'passing') continue
    if (check.Status !== 'warning') status = 'critical'
    else if (status === 'passing') status = 'warning'
  }
  return status
}

function isUsable (status: Status, passing: boolean): boolean {
  return status === 'passing' || (status === 'warning' && !passing)
}

function targetOf (entry: Entry, status: Status, config: ConsulDiscoveryConfig, warn: Warn): DiscoveredTarget | undefined {
  const { Node, Service } = entry
  const leftOut = (reason: string): undefined => warn(`Consul: an instance of the service "${config.service}" is left out: ${reason}`, about(entry)) as undefined
  const host = Service.Address === '' ? Node.Address : Service.Address
  if (host === '') return leftOut('neither it nor its node has an address')
  if (Service.Port === 0) return leftOut('it has no port')
  const address = splitTargetUrl(`${schemeOf(entry, config, warn)}://${isIPv6(host) ? `[${host}]` : host}:${Service.Port}`)
  if (typeof address === 'string' || address.basePath !== '') return leftOut('its address is neither an IP address nor a host name')
  const zone = [Service.Meta?.['zone'], Node.Meta?.['zone'], Service.Locality?.Zone, Node.Locality?.Zone].find(name => typeof name === 'string' && name !== '')
  return {
    url: address.url,
    weight: (status === 'warning' ? Service.Weights?.Warning : Service.Weights?.Passing) ?? 1,
    ...(zone ? { zone } : undefined),
    metadata: { ...Service.Meta, id: Service.ID, node: Node.Node, datacenter: Node.Datacenter ?? config.datacenter, tags: Service.Tags ?? [] }
  }
}

function schemeOf (entry: Entry, { scheme, service }: ConsulDiscoveryConfig, warn: Warn): string {
  const { Meta } = entry.Service
  const said = Meta?.['scheme'] ?? Meta?.['protocol']
  if (said === undefined) return scheme
  const name = said.toLowerCase()
  if (name === 'http' || name === 'https') return name
  warn(`Consul: the scheme that an instance of the service "${service}" names is neither http nor https; ${scheme} is used`, { ...about(entry), scheme: said.slice(0, 100) })
  return scheme
}

function about ({ Node, Service }: Entry): Record<string, unknown> {
  return { id: Service.ID, node: Node.Node, address: Service.Address === '' ? Node.Address : Service.Address, port: Service.Port }
}
