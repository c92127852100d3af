/**
 * Which targets the EndpointSlices of a service come to.
 */
import { isIP } from 'node:net'
import type { DiscoveredTarget, KubernetesDiscoveryConfig, ProviderTools } from '../types.ts'
import type { Endpoint, EndpointPort, EndpointSlice } from './slice.ts'

/** What of the options is asked. */
export type Wanted = Pick<KubernetesDiscoveryConfig, 'service' | 'port' | 'scheme'>

/** A slice whose endpoints can be called. */
interface Usable {
  readonly scheme: string
  readonly port: number
  readonly family: 4 | 6
  readonly endpoints: readonly Endpoint[]
}

/**
 * Every endpoint that is ready (`conditions.ready`, true where it is not said) and not terminating. Is there none, those that
 * terminate and still serve: better a pod that is on its way out than an error (KEP-1669, and what kube-proxy does).
 *
 * An endpoint that two slices have, as while it moves from one to the other, is one target; ready in either is ready.
 *
 * Of a service with both families the IPv4 endpoints are taken, ready or not; the IPv6 ones only where no IPv4 slice has any.
 * Both would be the same pods twice, and going by readiness would change every target whenever one slice is written before the other.
 */
export function targetsOf (slices: Iterable<EndpointSlice>, wanted: Wanted, warn: ProviderTools['warn']): DiscoveredTarget[] {
  // by name: a list and the events after it come to the same order
  const sorted = [...slices].sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1)
  const usable = sorted.map(slice => usableOf(slice, wanted, warn)).filter(slice => slice !== undefined)
  const v4 = usable.filter(({ family }) => family === 4)
  const chosen = v4.length > 0 ? v4 : usable
  const ready = collect(chosen, wanted, warn, ({ conditions }) => conditions?.ready !== false && conditions?.terminating !== true)
  return ready.length > 0 ? ready : collect(chosen, wanted, warn, ({ conditions }) => conditions?.terminating === true && conditions.serving !== false)
}

function collect (slices: readonly Usable[], { service }: Wanted, warn: ProviderTools['warn'], which: (endpoint: Endpoint) => boolean): DiscoveredTarget[] {
  const targets = new Map<string, DiscoveredTarget>()
  for (const { scheme, port, family, endpoints } of slices) {
    for (const endpoint of endpoints) {
      if (!which(endpoint)) continue
      // all of them are the same endpoint, and no more than the first is ever written
      const address = endpoint.addresses?.[0]
      if (typeof address !== 'string' || isIP(address) !== family) {
        warn(`an endpoint of the Kubernetes service "${service}" is left out: its address is not one of IPv${family}`, { address })
        continue
      }
      const url = `${scheme}://${family === 6 ? `[${address}]` : address}:${port}`
      if (!targets.has(url)) targets.set(url, targetOf(url, endpoint))
    }
  }
  return [...targets.values()]
}

function targetOf (url: string, { zone, nodeName, targetRef }: Endpoint): DiscoveredTarget {
  const pod = targetRef?.name
  const metadata = { ...(pod ? { pod } : undefined), ...(nodeName ? { node: nodeName } : undefined), ...(zone ? { zone } : undefined) }
  return { url, weight: 1, ...(zone ? { zone } : undefined), metadata }
}

/** undefined for a slice that has no endpoints, or cannot be used; the second is said. */
function usableOf (slice: EndpointSlice, wanted: Wanted, warn: ProviderTools['warn']): Usable | undefined {
  const { addressType, endpoints, metadata: { name } } = slice
  if (!endpoints?.length) return undefined
  const leaveOut = (why: string): undefined => {
    warn(`an EndpointSlice of the Kubernetes service "${wanted.service}" is left out: ${why}`, { slice: name })
  }
  if (addressType !== 'IPv4' && addressType !== 'IPv6') return leaveOut(`its addresses are of the type "${addressType ?? ''}", and only IPv4 and IPv6 are used`)
  const port = portOf(slice.ports ?? [], wanted.port)
  if (typeof port === 'string') return leaveOut(port)
  return { scheme: wanted.scheme ?? schemeOf(port), port: port.port, family: addressType === 'IPv4' ? 4 : 6, endpoints }
}

/** The port that is meant, or why there is none. */
function portOf (all: readonly EndpointPort[], wanted: Wanted['port']): EndpointPort & { port: number } | string {
  const ports = all.filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP')
  const found = matching(ports, wanted)
  if (found.length > 1) return `it has several TCP ports (${ports.map(nameOf).join(', ')}); say which one with "port"`
  const [port] = found
  if (port === undefined) {
    if (wanted !== undefined && ports.some(({ port }) => typeof port !== 'number')) return ALL_PORTS
    return wanted === undefined ? 'it has no TCP port' : `it has no TCP port ${typeof wanted === 'number' ? wanted : `"${wanted}"`}`
  }
  if (typeof port.port !== 'number') return ALL_PORTS
  return port.port >= 1 && port.port <= 65535 ? port as EndpointPort & { port: number } : 'its port is not one'
}

const ALL_PORTS = 'it stands for all ports, and a target needs one'

/** A text of digits is a number: names of ports have at least one letter. */
function matching (ports: readonly EndpointPort[], wanted: Wanted['port']): readonly EndpointPort[] {
  if (wanted === undefined) return ports
  const number = typeof wanted === 'number' ? wanted : /^\d+$/.test(wanted) ? Number(wanted) : undefined
  return ports.filter(({ name, port }) => number === undefined ? name === wanted : port === number).slice(0, 1)
}

function nameOf ({ name, port }: EndpointPort): string {
  return name || String(port ?? 'all')
}

/** Standard values of `appProtocol` (KEP-3726) are asked before the name; h2c and WebSocket begin as http. */
function schemeOf ({ appProtocol, name }: EndpointPort): 'http' | 'https' {
  const protocol = appProtocol?.toLowerCase().replace(/^kubernetes\.io\//, '')
  if (protocol === 'https' || protocol === 'wss') return 'https'
  if (protocol === 'http' || protocol === 'h2c' || protocol === 'ws') return 'http'
  return name?.startsWith('https') === true ? 'https' : 'http'
}
