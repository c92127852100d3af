/** The configuration that is in force. */
import type { GatewayConfig, RouteConfig } from '../types.ts'
import type { Gateway } from './gateway.ts'
import type { Mask } from './mask.ts'

/** More tenants are only counted. */
const MOST_TENANTS = 100

/** Everything with its defaults; backends as they have become at run time. */
export function configOf ({ config, registry }: Gateway, mask: Mask): unknown {
  const backends = registry.all().filter(({ scope }) => scope === '').map(({ name, config: { said: _said, common: _common, ...shown } }) => [name, shown] as const)
  return mask.json({ ...config, backends: Object.fromEntries(backends), routes: config.routes.map(routeOf), tenancy: tenancyOf(config) })
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
