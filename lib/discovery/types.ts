/**
 * Discovery: who tells what targets a backend has, and the words that room and providers share. No behaviour here.
 */
import type { Metadata } from '../types.ts'

/** One target as a provider tells of it. */
export interface DiscoveredTarget {
  /** `http://host:port`, `https://…` or `unix:///path`; what `targets` of a backend may hold. */
  readonly url: string
  /** Share of the traffic relative to the others; 0 receives nothing. Default 1. */
  readonly weight?: number
  /** Most requests in flight at once. Default: no limit. */
  readonly maxConnections?: number
  /** Where it runs; goes into its metadata as `zone`. */
  readonly zone?: string
  readonly metadata?: Metadata
}

/**
 * Follows an engine that knows where a service runs. What it throws is an engine that cannot be asked now: the backend keeps
 * its last good targets, and it is asked again after a while.
 */
export interface DiscoveryProvider {
  /** The whole list as it is now. */
  resolve (signal: AbortSignal): Promise<readonly DiscoveredTarget[]>
  /**
   * The whole list each time it may have changed since the last `resolve` or the last list, until the signal aborts. Without
   * it `resolve` is asked every `interval`. A watch that ends or throws is begun again, with a `resolve` before it.
   */
  watch? (signal: AbortSignal): AsyncIterable<readonly DiscoveredTarget[]>
}

/** What built-in providers are given. Time and chance come from here, so that tests need no sleeps. */
export interface ProviderTools {
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** ms, of a clock that only goes forward. */
  readonly now: () => number
  /** Something that is worth a line in the log, but no failure: entries that cannot be used. Said once per text by whoever takes it. */
  readonly warn: (message: string, details?: Readonly<Record<string, unknown>>) => void
}

// ---------------------------------------------------------------- configuration (parsed, defaulted, frozen)

/** Where a backend's targets come from in place of `targets`. */
export type DiscoverySource =
  | { readonly kind: 'static', readonly targets: readonly DiscoveredTarget[] }
  | { readonly kind: 'file', readonly file: FileDiscoveryConfig }
  | { readonly kind: 'dns', readonly dns: DnsDiscoveryConfig }
  | { readonly kind: 'consul', readonly consul: ConsulDiscoveryConfig }
  | { readonly kind: 'kubernetes', readonly kubernetes: KubernetesDiscoveryConfig }
  | { readonly kind: 'provider', readonly provider: DiscoveryProvider }

export interface DiscoveryConfig {
  readonly source: DiscoverySource
  /** How long the start waits for the first list, ms. Default 10 s. */
  readonly bootTimeout: number
  /** Without a first list by then: start all the same, with 503 until one comes, or refuse to start. Default `degrade`. */
  readonly onBootTimeout: 'degrade' | 'refuse'
  /** What an empty list does: nothing (the last good one stays), or it leaves the backend without targets. Default `keep`. */
  readonly onEmpty: 'keep' | 'clear'
  /** How often a provider without `watch` is asked, ms. Default 30 s. */
  readonly interval: number
  /** Waits after failures, ms: doubled from `initial` up to `max`, with full jitter. Default 500 ms and 30 s. */
  readonly backoff: { readonly initial: number, readonly max: number }
}

export interface FileDiscoveryConfig {
  /** Absolute path of a YAML or JSON file: a list of targets, or an object with `targets`. */
  readonly path: string
  /** How often it is looked at, ms. Default 1 s. */
  readonly interval: number
}

export interface DnsDiscoveryConfig {
  readonly name: string
  /** `A` asks for IPv4 and `AAAA` for IPv6 addresses, `A+AAAA` for both; `SRV` gives ports, weights and priorities. */
  readonly type: 'A' | 'AAAA' | 'A+AAAA' | 'SRV'
  /** Port of address records; undefined: the scheme's own. Not used with SRV. */
  readonly port: number | undefined
  readonly scheme: 'http' | 'https'
  /** `host:port` or `[v6]:port` or bare addresses (port 53). Empty: those of the machine. */
  readonly servers: readonly string[]
  /** One question to one server, ms. Default 2 s. */
  readonly timeout: number
  /** Bounds of how soon it is asked again, whatever the TTL says, ms. Default 1 s and 5 min. */
  readonly minInterval: number
  readonly maxInterval: number
}

export interface TlsFiles {
  /** PEM texts. */
  readonly ca?: string | readonly string[]
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
  readonly rejectUnauthorized?: boolean
}

export interface ConsulDiscoveryConfig {
  /** `http://127.0.0.1:8500`, `https://…` or `unix:///path`. */
  readonly address: string
  readonly service: string
  readonly datacenter: string | undefined
  /** All of them must be there. */
  readonly tags: readonly string[]
  readonly namespace: string | undefined
  /** Enterprise admin partition. */
  readonly partition: string | undefined
  readonly token: string | undefined
  /** Only instances all of whose checks pass. Default true; else those in `warning` are used as well. */
  readonly passing: boolean
  /** Scheme of the targets; `meta.scheme` of an instance wins. Default http. */
  readonly scheme: 'http' | 'https'
  /** Longest time that Consul may hold a question open, ms. Default 5 min. */
  readonly wait: number
  /** One question that is not held open, ms. Default 10 s. */
  readonly timeout: number
  /** How up to date the answers must be. Default `default`. */
  readonly consistency: 'default' | 'stale' | 'consistent'
  readonly tls: TlsFiles
}

export interface KubernetesDiscoveryConfig {
  readonly namespace: string | undefined
  readonly service: string
  /** Name or number of the port; undefined: the only one there is. */
  readonly port: string | number | undefined
  /** Scheme of the targets. undefined: https where the port's `appProtocol` is https or it is called https, else http. */
  readonly scheme: 'http' | 'https' | undefined
  /** Path of a kubeconfig; undefined: in-cluster, else what `KUBECONFIG` or the home folder says. */
  readonly kubeconfig: string | undefined
  /** Context of the kubeconfig; undefined: its current one. */
  readonly context: string | undefined
}
