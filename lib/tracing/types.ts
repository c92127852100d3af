/** The words of tracing as types. No behaviour here. */
import type { ShownQuery } from '../shown-url.ts'

/** Parsed, defaulted, frozen. */
export interface TracingConfig {
  /** Whether backends are told of the trace: `traceparent` and what else the app's propagator writes. */
  readonly propagate: boolean
  /** Clients are strangers: their traces are linked to, not gone on with. */
  readonly publicEndpoint: boolean
  /** Whether health checks have spans. */
  readonly probes: boolean
  readonly query: ShownQuery
  /** Whether spans have the client's address. */
  readonly clientAddress: boolean
}

/** Ids of a trace as logs show them. */
export interface TraceIds {
  readonly traceId: string
  readonly spanId: string
}
