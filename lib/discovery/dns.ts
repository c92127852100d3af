/**
 * Targets from the DNS: address records, or SRV records with ports, weights and priorities (RFC 2782).
 *
 * A client of our own, as Node's resolver gives no TTL for SRV and follows neither servers per question nor a signal.
 */
import dns from 'node:dns'
import { setMaxListeners } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import { addressesOfHosts, addressesOfName, type Round } from './dns/addresses.ts'
import { createClient } from './dns/client.ts'
import { normalName } from './dns/names.ts'
import { parseServer } from './dns/servers.ts'
import { endpointsOf, servicesOf, targetsOf, type Endpoint } from './dns/targets.ts'
import type { DiscoveredTarget, DiscoveryProvider, DnsDiscoveryConfig, ProviderTools } from './types.ts'

/** Part of the wait that is added by chance, so that copies of the gateway do not ask in step. */
const JITTER = 0.1

interface Known {
  readonly targets: readonly DiscoveredTarget[]
  /** When the next question is due, by `tools.now`. */
  readonly due: number
  readonly found: ReadonlyMap<string, readonly string[]>
}

/**
 * Follows a name of the DNS. The name is complete: neither search domains nor the machine's hosts file are used.
 *
 * - Address records: a target for each address, at `port`. The certificate of an https target is checked for the address, unless the
 *   backend's `tls.servername` says what else it is for.
 * - SRV: a target for each address of each record of the lowest priority number; records of higher numbers are left out. The record's
 *   weight is shared by its addresses; a weight of 0 beside others counts as a hundredth of the smallest. With https a
 *   target for each record with its host name, for the certificate; the address is then looked up with each connection.
 * - Asked again when the smallest TTL has passed (for "there is nothing" by RFC 2308), within `minInterval` and `maxInterval`, plus up to 10 %.
 *
 * A name that does not exist or has no such records is an empty list. `resolve` and `watch` throw an Error with the question and what each
 * server said when none could answer. Lists are frozen, in the order of their URLs.
 *
 * @throws Error for a server that is no address
 */
export function createDns (config: DnsDiscoveryConfig, tools: ProviderTools): DiscoveryProvider {
  const { type, port, scheme, timeout, minInterval, maxInterval } = config
  const { sleep, random, now, warn } = tools
  const name = normalName(config.name)
  const chosen = config.servers.map(parseServer)
  let known: Known | undefined

  async function look (signal: AbortSignal): Promise<Known> {
    signal.throwIfAborted()
    const over = new AbortController()
    // Each question listens to it, and many are asked at once.
    setMaxListeners(0, over.signal)
    const stop = (): void => { over.abort(signal.reason) }
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await ask(over.signal)
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async function ask (signal: AbortSignal): Promise<Known> {
    // Not by name: `setServers` puts another function in its place.
    const servers = chosen.length > 0 ? chosen : dns.getServers().map(parseServer)
    const round: Round = { client: createClient({ servers, timeout, sleep }), signal, warn, before: known?.found ?? new Map(), found: new Map() }
    const { endpoints, ttl } = type === 'SRV' ? await lookForServices(round) : await lookForAddresses(type, round)
    const wait = Math.min(Math.max(Number.isFinite(ttl) ? ttl * 1000 : 0, minInterval), maxInterval)
    return { targets: targetsOf(scheme, endpoints, warn), due: now() + wait * (1 + JITTER * random()), found: round.found }
  }

  async function lookForAddresses (type: 'A' | 'AAAA' | 'A+AAAA', round: Round): Promise<{ endpoints: Endpoint[], ttl: number }> {
    const { addresses, ttl } = await addressesOfName(name, type === 'A+AAAA' ? ['A', 'AAAA'] : [type], round)
    return { endpoints: addresses.map(host => ({ host, port, metadata: { host: name } })), ttl }
  }

  async function lookForServices (round: Round): Promise<{ endpoints: Endpoint[], ttl: number }> {
    const { records, additionals, ttl } = await round.client.ask(name, 'SRV', round.signal)
    const services = servicesOf(records)
    if (scheme === 'https') return { endpoints: services.flatMap(service => endpointsOf(service, [service.host])), ttl }
    const hosts = [...new Set(services.map(({ host }) => host))]
    const addresses = await addressesOfHosts(hosts, additionals, round)
    for (const host of hosts) {
      if (round.found.get(host)?.length === 0) warn(`DNS: ${name} names ${host}, which has no address`)
    }
    return { endpoints: services.flatMap(service => endpointsOf(service, round.found.get(service.host) ?? [])), ttl: Math.min(ttl, addresses.ttl) }
  }

  return {
    async resolve (signal) {
      known = await look(signal)
      return known.targets
    },
    async * watch (signal) {
      while (!signal.aborted) {
        if (known !== undefined) await sleep(Math.max(known.due - now(), 0), signal)
        const before = known?.targets
        known = await look(signal)
        if (!isDeepStrictEqual(known.targets, before)) yield known.targets
      }
    }
  }
}
