/** What tests of metrics share. */
import { createMetering } from '../../../lib/metrics/index.ts'
import type { Metering, MetricsConfig, Sample, Source } from '../../../lib/metrics/index.ts'
import { DEFAULTS } from '../../../lib/options/defaults.ts'
import type { DumpStats } from '../../../lib/traffic-dump/index.ts'

export const CONFIG: MetricsConfig = { ...DEFAULTS.metrics, defaultMetrics: false, port: undefined, registry: undefined }

export function meteringOf (config: Partial<MetricsConfig> = {}, tenantLabels = 100): Metering {
  const metering = createMetering({ ...CONFIG, ...config }, { version: '1.2.3', now: () => 0 })
  metering.requests.expectTenants(tenantLabels)
  metering.register()
  return metering
}

/** A gateway that has nothing, but perhaps a dump. */
export function sourceOf (dump?: Partial<DumpStats>): Source {
  const found = dump === undefined ? undefined : { stats: () => ({ written: 0, dropped: 0, failed: 0, queued: 0, file: undefined, ...dump }) }
  return { registry: { all: () => [], isKnown: () => false }, health: () => [], websockets: () => 0, eventStreams: () => 0, discovery: () => [], dump: () => found }
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
