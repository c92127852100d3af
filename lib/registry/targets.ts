/** Targets of a backend: made from options, changed by others, put together into the lists that are chosen from. */
import { addressOf } from '../pool.ts'
import type { Backend, Metadata, Target, TargetConfig } from '../types.ts'

export function createTarget (config: TargetConfig): Target {
  const { origin, basePath } = addressOf(config.url)
  return {
    id: config.url,
    origin,
    basePath,
    metadata: config.metadata,
    weight: config.weight,
    maxConnections: config.maxConnections,
    state: config.active ? 'active' : 'inactive',
    inflight: 0,
    started: 0,
    dispatcher: undefined,
    breaker: undefined,
    health: undefined,
    onIdle: undefined,
    of: undefined,
    ownPool: false
  }
}

/** Other options for a target; pool, counters and what is known of it stay. */
export function applyTarget (target: Target, config: TargetConfig): Target {
  target.weight = config.weight
  target.maxConnections = config.maxConnections
  ;(target as { metadata: Metadata }).metadata = config.metadata
  target.state = config.active ? 'active' : 'inactive'
  return target
}

/** `usable` becomes a new array: balancers build their tables when they see one. */
export function setTargets (backend: Pick<Backend, 'targets' | 'usable'>, targets: readonly Target[]): void {
  backend.targets = targets
  backend.usable = targets.filter(target => target.state === 'active' && target.weight > 0)
}
