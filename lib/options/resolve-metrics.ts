/** Metrics: from what a user may write to what the house works with. Everything here has been checked. */
import type { MetricsConfig } from '../metrics/types.ts'
import { DEFAULTS } from './defaults.ts'
import type { MetricsOptions } from './schema/metrics.ts'

/** `admin`: whether there is an admin interface; it needs the numbers, but they are shown nowhere else. */
export function resolveMetrics (option: MetricsOptions | undefined, admin: boolean): MetricsConfig | undefined {
  if (option === undefined || option === false) return admin ? resolveMetrics({ path: false, defaultMetrics: false }, false) : undefined
  const { path, port, registry, ...options } = option === true ? {} : option
  const { path: initial, ...others } = DEFAULTS.metrics
  return { ...others, ...options, path: path === false ? undefined : path ?? initial, port, registry }
}
