/** The words of metrics as types. No behaviour here. */
import type { Registry as PromRegistry } from 'prom-client'
import type { Registry } from '../registry.ts'
import type { DumpStats } from '../traffic-dump/types.ts'

/** Parsed, defaulted, frozen. */
export interface MetricsConfig {
  /** Where they are served; undefined: nowhere. */
  readonly path: string | undefined
  /** Port of a server of its own; undefined: a route of the app. */
  readonly port: number | undefined
  /** Address of that server. */
  readonly host: string
  /** The user's own; undefined: one for this gateway. */
  readonly registry: PromRegistry | undefined
  /** Stands before every name of ours. */
  readonly prefix: string
  /** Whether those of the process and of Node are there as well. */
  readonly defaultMetrics: boolean
  /** Upper bounds of the histograms, seconds, ascending. */
  readonly buckets: readonly number[]
  /** Whether requests are counted by tenant, too. */
  readonly tenants: boolean
  /** Whether routes of the app that do not forward are counted, too. */
  readonly allRoutes: boolean
}

/** One value as prom-client takes it. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  /** Where it is not that of the metric: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string
}

/** The values of a metric now. `name`: its full name. */
export type Reader = (name: string) => Sample[]

/** What one gateway shows when it is asked. */
export interface Source {
  readonly registry: Pick<Registry, 'all' | 'isKnown'>
  /** Targets of a backend of everybody's. */
  health (backend: string): ReadonlyArray<{ readonly target: string, readonly healthy: boolean }>
  websockets (): number
  eventStreams (): number
  discovery (): readonly DiscoverySample[]
  /** undefined: there is none. */
  dump (): Dump | undefined
}

/** What writes a traffic dump; the same object for gateways that have it together. */
export interface Dump {
  stats (): DumpStats
}

/** What is known of a backend whose targets are discovered. */
export interface DiscoverySample {
  readonly backend: string
  readonly targets: number
  /** Whether its engine could not be asked the last time. */
  readonly fault: boolean
}

/** Milliseconds of what was counted; 0 where there is nothing. Percentiles are off by 3.2 % or 1 µs at most, whichever is more. */
export interface LatencyNumbers {
  readonly averageMs: number
  readonly p50: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
}

/** `success` are answers below 500, `aborted` requests whose client went away, `failures` the rest; these three make `total`. */
export interface RequestNumbers extends LatencyNumbers {
  readonly total: number
  readonly success: number
  readonly failures: number
  readonly aborted: number
  /** Now. */
  readonly inFlight: number
}

/** `success` is what does not count against a target: `ok` and `client-error`; `aborted` is neither that nor a failure. */
export interface AttemptNumbers extends LatencyNumbers {
  readonly attempts: number
  readonly success: number
  readonly failures: number
  readonly byOutcome: Readonly<Record<string, number>>
}

export interface BackendNumbers extends AttemptNumbers {
  readonly retries: number
  /** Tries that never left: no target, a limit, an open circuit. */
  readonly rejected: number
  /** By URL. */
  readonly targets: Readonly<Record<string, AttemptNumbers>>
}

/** What was counted since `since` (a Date). */
export interface MetricsSnapshot {
  readonly since: Date
  readonly requests: RequestNumbers
  readonly backends: Readonly<Record<string, BackendNumbers>>
}
