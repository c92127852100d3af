/**
 * All that is counted, and its place in a registry of prom-client. It outlives a gateway that another one takes the place of:
 * what ends in the old one still counts, and nothing starts at zero again.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Metric } from 'prom-client'
import { OptionsError } from '../errors.ts'
import { createAttemptMeters } from './attempts.ts'
import { CATALOGUE } from './catalogue.ts'
import { createDumpMeters } from './dumps.ts'
import { createEventMeters } from './events.ts'
import { createGauges } from './gauges.ts'
import { createRequestMeters } from './requests.ts'
import type { AttemptMeters } from './attempts.ts'
import type { MetricInfo, MetricName } from './catalogue.ts'
import type { EventMeters } from './events.ts'
import type { RequestMeters } from './requests.ts'
import type { MetricsConfig, MetricsSnapshot, Reader, Source } from './types.ts'

export interface Metering {
  readonly registry: Registry
  readonly requests: RequestMeters
  readonly attempts: AttemptMeters
  readonly events: EventMeters
  /** Whether a gateway with this configuration can go on with it. */
  fits (config: MetricsConfig): boolean
  /** @throws OptionsError when its names are taken in its registry; those of `instead` will be free */
  check (instead?: Metering): void
  owns (metric: Metric): boolean
  /** Puts it into its registry. `instead`: what leaves. @throws OptionsError as `check` does */
  register (instead?: Metering): void
  unregister (): void
  /** Puts the metrics of the process and of Node into the registry, unless they are there. */
  addProcess (): void
  /** Gateways whose state is shown, oldest first. */
  enter (source: Source): void
  /** Without any it leaves the registry. */
  leave (source: Source): void
  /** Forgets backends and targets that no gateway has any more. */
  prune (): void
  snapshot (): MetricsSnapshot
  reset (): void
}

export interface MeteringTools {
  /** Of the gateway. */
  readonly version: string
  /** Unix time, ms. */
  now (): number
}

export function createMetering (config: MetricsConfig, { version, now }: MeteringTools): Metering {
  const { prefix, buckets } = config
  const registry = config.registry ?? new Registry()
  const sources: Source[] = []
  const requests = createRequestMeters(buckets)
  const attempts = createAttemptMeters(buckets)
  const events = createEventMeters()
  const dumps = createDumpMeters(sources)
  const readers: Readonly<Record<MetricName, Reader>> = { ...requests.readers, ...attempts.readers, ...events.readers, ...dumps.readers, ...createGauges(sources, version) }
  const metrics = (Object.entries(CATALOGUE) as Array<[MetricName, MetricInfo]>).map(([name, info]) => [prefix + name, asMetric(prefix + name, info, readers[name])] as const)
  let since = now()
  let pruning = false

  /** Whether some gateway has such a backend, or such a target of everybody's. */
  function knower (): (backend: string, target?: string) => boolean {
    const targets = new Set(sources.flatMap(({ registry }) => registry.all().flatMap(({ name, scope, targets }) => scope === '' ? targets.map(({ id }) => `${name} ${id}`) : [])))
    return (backend, target) => target === undefined ? sources.some(({ registry }) => registry.isKnown(backend)) : targets.has(`${backend} ${target}`)
  }

  const metering: Metering = {
    registry,
    requests,
    attempts,
    events,
    fits: other => other.prefix === prefix && other.registry === config.registry && String(other.buckets) === String(buckets),
    check (instead) {
      const taken = metrics.find(([name]) => {
        const there = registry.getSingleMetric(name)
        return there !== undefined && instead?.owns(there) !== true
      })
      if (taken !== undefined) throw new OptionsError([{ path: 'metrics.registry', rule: 'has such metrics already: another gateway that uses it needs a prefix of its own', value: taken[0] }])
    },
    owns: found => metrics.some(([, metric]) => metric === found),
    register (instead) {
      metering.check(instead)
      instead?.unregister()
      for (const [, metric] of metrics) registry.registerMetric(metric)
    },
    addProcess () {
      if (registry.getSingleMetric('process_cpu_user_seconds_total') === undefined) collectDefaultMetrics({ register: registry })
    },
    unregister () {
      // another gateway may have put its own in their place
      for (const [name, metric] of metrics) if (registry.getSingleMetric(name) === metric) registry.removeSingleMetric(name)
    },
    enter (source) { sources.push(source) },
    leave (source) {
      const index = sources.indexOf(source)
      if (index === -1) return
      sources.splice(index, 1)
      const dump = source.dump()
      if (dump !== undefined) dumps.left(dump)
      if (sources.length === 0) metering.unregister()
      else metering.prune()
    },
    prune () {
      if (pruning) return
      pruning = true
      // while one gateway takes the place of another, targets are in neither for a moment
      queueMicrotask(() => {
        pruning = false
        const isKnown = knower()
        attempts.prune(isKnown)
        events.prune(isKnown)
      })
    },
    snapshot: () => ({ since: new Date(since), requests: requests.numbers(), backends: attempts.numbers() }),
    reset () {
      since = now()
      requests.reset()
      attempts.reset()
    }
  }
  return metering
}

/** What a registry asks of a metric: its name, and its values when somebody wants them. */
function asMetric (name: string, { type, help, aggregator }: MetricInfo, read: Reader): Metric {
  const metric = {
    // a registry of OpenMetrics takes `_total` off
    name,
    help,
    type,
    aggregator,
    get: () => ({ name: metric.name, help, type, aggregator, values: read(name) }),
    // counters of Prometheus never go down
    reset () {}
  }
  return metric as unknown as Metric
}
