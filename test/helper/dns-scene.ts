/** A provider of targets from the DNS beside scripted servers, and records for what they say. */
import { createDns } from '../../lib/discovery/dns.ts'
import { dnsServer } from './dns.ts'
import { providerTools } from './dns-tools.ts'
import type { Test } from 'tap'
import type { Answer } from 'dns-packet'
import type { DnsDiscoveryConfig } from '../../lib/discovery/types.ts'
import type { Asked, Said } from './dns.ts'

export type Options = Partial<DnsDiscoveryConfig>

export const NAME = 'orders.test'
export const TIMEOUT = 2000

/** A clock stands still, so that a timeout comes when it is let pass. */
export function setting (servers: readonly string[], options: Options = {}): DnsDiscoveryConfig {
  return { name: NAME, type: 'A', port: undefined, scheme: 'http', servers, timeout: TIMEOUT, minInterval: 1000, maxInterval: 300_000, ...options }
}

export const a = (data: string, { name = NAME, ttl = 60 } = {}): Answer => ({ type: 'A', name, data, ttl })
export const aaaa = (data: string, { name = NAME, ttl = 60 } = {}): Answer => ({ type: 'AAAA', name, data, ttl })
export const cname = (name: string, data: string, ttl = 60): Answer => ({ type: 'CNAME', name, data, ttl })
export const srv = (target: string, { port = 80, weight = 1, priority = 1, ttl = 60 } = {}): Answer => ({ type: 'SRV', name: NAME, ttl, data: { target, port, weight, priority } })
export const soa = (minimum: number, ttl = 3600): Answer => ({ type: 'SOA', name: 'test', ttl, data: { mname: 'ns.test', rname: 'root.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum } })

/** A provider that asks servers with these scripts. */
export async function dnsScene (t: Test, says: ReadonlyArray<(asked: Asked) => Said>, options: Options = {}) {
  const servers = await Promise.all(says.map(say => dnsServer(t, say)))
  const double = providerTools()
  const provider = createDns(setting(servers.map(({ address }) => address), options), double.tools)
  const abort = new AbortController()
  t.teardown(() => { abort.abort() })
  return { servers, server: servers[0]!, ...double, waits: () => double.waits, double, provider, abort, resolve: () => provider.resolve(abort.signal), urls: async () => (await provider.resolve(abort.signal)).map(({ url }) => url) }
}
