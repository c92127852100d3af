/** What is known of one target's health. One writer: plugins/health.ts */
import type { BreakerName, HealthConfig, OutlierConfig, SlowStartConfig } from '../resilience/types.ts'
import type { ActiveCheck } from './active.ts'
import type { Tracker } from './outlier.ts'

export interface TargetHealth {
  /** What it was made for; others mean that it has to be made anew. */
  readonly config: { readonly health: HealthConfig | undefined, readonly host: string, readonly outlier: OutlierConfig | undefined, readonly slowStart: SlowStartConfig | undefined }
  /** false: a tenant's view of a target whose checks all share. */
  readonly ownChecks: boolean
  readonly check: ActiveCheck | undefined
  readonly tracker: Tracker | undefined
  /** Ends the check and closes its connection. */
  close (): void
  /** Clock time since when it takes traffic: when it joined or came back. -Infinity: since the beginning. */
  since: number
  /** Clock time of its last answer below 500; -Infinity: none yet. */
  lastSuccess: number
}

/** As a change of it is told. */
export type HealthState = 'healthy' | 'unhealthy' | 'ejected'

/** What has become of an ejected target since; undefined: nobody asks any more. */
export type Fate = () => HealthState | undefined

/** Told of changes of checks, and of ejections, whose end nobody tells: `fate` knows it. */
export type HealthChange = (target: BreakerName, state: HealthState, fate?: Fate) => void
