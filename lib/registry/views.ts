/** Backends as users see them. */
import type { Backend, Metadata, TargetState } from '../types.ts'

/** A backend as `backends.get()` shows it: a snapshot. */
export interface BackendView {
  readonly name: string
  readonly balancer: string
  readonly metadata: Metadata
  readonly targets: readonly TargetView[]
}

export interface TargetView {
  readonly url: string
  readonly state: TargetState
  readonly weight: number
  readonly maxConnections: number
  readonly metadata: Metadata
  /** Requests running now. */
  readonly inflight: number
  /** Requests ever started. */
  readonly started: number
}

export function viewOf (backend: Backend): BackendView {
  const { balancer, metadata } = backend.config
  return {
    name: backend.name,
    balancer: typeof balancer === 'string' ? balancer : balancer.type,
    metadata,
    targets: backend.targets.map(({ id, state, weight, maxConnections, metadata, inflight, started }) =>
      ({ url: id, state, weight, maxConnections, metadata, inflight, started }))
  }
}
