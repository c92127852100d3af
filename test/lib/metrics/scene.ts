/** What tests of metrics share. */
import { createMetering } from '../../../lib/metrics/index.ts'
import type { Metering, MetricsConfig, Sample } from '../../../lib/metrics/index.ts'
import { DEFAULTS } from '../../../lib/options/defaults.ts'

export const CONFIG: MetricsConfig = { ...DEFAULTS.metrics, defaultMetrics: false, port: undefined, registry: undefined }

export function meteringOf (config: Partial<MetricsConfig> = {}, tenantLabels = 100): Metering {
  const metering = createMetering({ ...CONFIG, ...config }, { version: '1.2.3', now: () => 0 })
  metering.requests.expectTenants(tenantLabels)
  metering.register()
  return metering
}

/** Values of a metric as `label=value,…` → value. Buckets, sums and counts are metrics of their own. */
export function valuesOf (text: string, name: string): Record<string, number> {
  const values: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const [, labels = '', value] = new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`).exec(line) ?? []
    if (value !== undefined) values[labels.replaceAll('"', '')] = Number(value)
  }
  return values
}

export type { Sample }
