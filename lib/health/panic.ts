/**
 * Panic: so few targets are healthy that the rest would only be drowned, or that the checks themselves are doubtful.
 *
 * Source: Envoy, panic threshold (`healthy_panic_threshold`, `fail_traffic_on_panic`).
 */
import type { PanicConfig } from '../resilience/types.ts'

/** Whether fewer than `threshold` percent are healthy. Threshold 0: never. No targets at all: no panic, there is nobody to use. */
export function isPanic (healthy: number, total: number, { threshold }: Pick<PanicConfig, 'threshold'>): boolean {
  return total > 0 && healthy * 100 < threshold * total
}

/** Which targets a call may choose among. `none` ends in a 503. */
export type Candidates = 'healthy' | 'all' | 'none'

/** Decides between the healthy targets, all of them, and none. Without a config (undefined) only healthy ones are used. */
export function candidates (healthy: number, total: number, config: PanicConfig | undefined): Candidates {
  if (config !== undefined && isPanic(healthy, total, config)) return config.mode === 'all' ? 'all' : 'none'
  return healthy > 0 ? 'healthy' : 'none'
}
