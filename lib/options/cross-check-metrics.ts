/** What the options of metrics say about each other and about routes. */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { at } from './paths.ts'

const REGISTRY = ['registerMetric', 'getSingleMetric', 'removeSingleMetric', 'metrics', 'getMetricsAsJSON']

export function crossCheckMetrics ({ metrics, routes }: Readonly<Record<string, unknown>>, problems: OptionProblem[]): void {
  const options = metrics === true ? {} : metrics
  if (!isRecord(options)) return
  const { path = DEFAULTS.metrics.path, port, host, registry, buckets } = options
  if (host !== undefined && port === undefined) problems.push({ path: 'metrics.host', rule: 'has no effect without port: the metrics are a route of the app', value: host })
  if (port !== undefined && path === false) problems.push({ path: 'metrics.port', rule: 'has no effect beside path: false', value: port })
  if (typeof registry === 'object' && registry !== null && !isRecord(registry) && REGISTRY.some(name => typeof (registry as Record<string, unknown>)[name] !== 'function')) {
    problems.push({ path: 'metrics.registry', rule: 'must be a Registry of prom-client' })
  }
  if (Array.isArray(buckets)) checkBuckets(buckets, problems)
  if (port === undefined && typeof path === 'string' && Array.isArray(routes)) checkRoutes(path, routes, problems)
}

function checkBuckets (buckets: readonly unknown[], problems: OptionProblem[]): void {
  const wrong = buckets.findIndex((bound, index) => typeof bound === 'number' && index > 0 && bound <= (buckets[index - 1] as number))
  if (wrong !== -1) problems.push({ path: at('metrics.buckets', wrong), rule: 'must be more than the one before', value: buckets[wrong] })
}

/** A route with conditions is another one for Fastify; without any it would be declared twice. */
function checkRoutes (path: string, routes: readonly unknown[], problems: OptionProblem[]): void {
  routes.forEach((route, index) => {
    if (!isRecord(route) || route['path'] !== path || ['host', 'headers', 'query'].some(condition => route[condition] !== undefined)) return
    const methods = [route['methods'] ?? 'GET'].flat()
    if (methods.includes('GET') || methods.includes('HEAD')) problems.push({ path: at(at('routes', index), 'path'), rule: 'must not be the path of the metrics; metrics.path may be another', value: path })
  })
}
