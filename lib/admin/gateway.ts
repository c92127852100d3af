/** What the admin interface asks of a gateway. Types only. */
import type { BreakerState, BreakerStats } from '../circuit-breaker/index.ts'
import type { CheckStatus } from '../health/index.ts'
import type { Explanation, RequestLike } from '../explain/types.ts'
import type { MetricsSnapshot } from '../metrics/types.ts'
import type { BackendView, Registry } from '../registry.ts'
import type { TenantView } from '../tenancy/tenants.ts'
import type { Gate, GatewayConfig, RequestRecord } from '../types.ts'

/** A part of `app.reverseproxy`. */
export interface Gateway {
  readonly config: GatewayConfig
  readonly clock: { now (): number }
  readonly closing: boolean
  readonly gates: readonly Gate[]
  readonly registry: Pick<Registry, 'all' | 'resolve' | 'existing' | 'existingTarget' | 'pools'>
  readonly backends: {
    get (name: string): BackendView | undefined
    drain (name: string, url?: string): Promise<void>
    updateTarget (name: string, url: string, changes: unknown): void
  }
  readonly health: {
    status (backend: string): ReadonlyArray<{ readonly target: string, readonly healthy: boolean, readonly reason: string | undefined, readonly check: CheckStatus | undefined, readonly ejectedFor: number | undefined }>
    check (backend: string, target?: string): Promise<boolean>
  }
  readonly breakers: {
    list (): ReadonlyArray<{ readonly scope: string, readonly backend: string, readonly target: string, readonly state: BreakerState, readonly retryAfter: number, readonly stats: BreakerStats }>
    open (backend: string, target?: string, tenant?: string): void
    close (backend: string, target?: string, tenant?: string): void
  }
  readonly discovery: {
    status (): ReadonlyArray<{ readonly scope: string, readonly backend: string, readonly source: string, readonly lists: number, readonly lastSuccess: number | undefined, readonly fault: string | undefined }>
  }
  readonly metrics: { snapshot (): MetricsSnapshot }
  readonly websockets: { readonly size: number }
  readonly eventStreams: { readonly size: number }
  readonly trafficDump: { stats (): { readonly written: number, readonly dropped: number, readonly failed: number, readonly queued: number } }
  readonly tenants: { list (): readonly TenantView[] }
  readonly tenantInLogs: (record: RequestRecord) => string | undefined
  readonly explain: (request: RequestLike) => Promise<Explanation>
  readonly readiness: () => { readonly ready: boolean, readonly reasons: readonly string[] }
}
