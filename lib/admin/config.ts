/** The configuration that is in force. */
import { isDeepStrictEqual } from 'node:util'
import { resolveMetrics } from '../options/resolve-metrics.ts'
import type { GatewayConfig, RouteConfig } from '../types.ts'
import type { Gateway } from './gateway.ts'
import type { Mask } from './mask.ts'

/** More tenants are only counted. */
const MOST_TENANTS = 100

/** Everything with its defaults; backends as they have become at run time. */
export function configOf ({ config, registry }: Gateway, mask: Mask): unknown {
  const backends = registry.all().filter(({ scope }) => scope === '').map(({ name, config: { said: _said, common: _common, ...shown } }) => [name, shown] as const)
  // a function, and not an option of anybody but tests
  const { random: _random, metrics, ...shown } = config
  return mask.json({ ...shown, metrics: metricsOf(metrics), backends: Object.fromEntries(backends), routes: config.routes.map(routeOf), tenancy: tenancyOf(config) })
}

/** Those that nobody has asked for are counted for the admin interface. */
function metricsOf (metrics: GatewayConfig['metrics']): unknown {
  if (metrics === undefined) return false
  if (isDeepStrictEqual(metrics, resolveMetrics(undefined, true))) return '(off: counted for the admin interface only)'
  return metrics.path === undefined ? { ...metrics, path: false } : metrics
}

/** Without what it was made of. */
function routeOf ({ said: _said, ...route }: RouteConfig): object {
  return route
}

function tenancyOf ({ tenancy }: GatewayConfig): object | undefined {
  if (tenancy === undefined) return undefined
  const count = Object.keys(tenancy.tenants).length
  return count <= MOST_TENANTS ? tenancy : { ...tenancy, tenants: `(${count} tenants)` }
}
