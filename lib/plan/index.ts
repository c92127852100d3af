/**
 * What would change if one configuration took the place of another.
 */
import { planBackends } from './backends.ts'
import { effectsOf } from './effects.ts'
import { planGlobal } from './global.ts'
import { isStill } from './named.ts'
import { planRoutes } from './routes.ts'
import { planServer } from './server.ts'
import { planTenants } from './tenants.ts'
import type { Configuration, Plan } from './types.ts'

export type { BackendChange, Change, Changes, Configuration, NamedChange, Plan, RouteChange, RouteName, ServerChange, TargetChange, TargetChanges } from './types.ts'
export { changedRoutes } from './routes.ts'

/** All that differs. What is only written in another way does not; functions, which only code has, are compared by identity. */
export function planChanges (before: Configuration, after: Configuration): Plan {
  const plan = {
    server: planServer(before.server, after.server),
    global: planGlobal(before, after),
    backends: planBackends(before, after),
    routes: planRoutes(before.config, after.config),
    tenants: planTenants(before.config, after.config)
  }
  const longLived = new Set(before.config.routes.filter(({ composite }) => composite === undefined).map(({ name }) => name))
  return { ...plan, effects: effectsOf(plan, longLived) }
}

/** Whether nothing would change. */
export function isEmptyPlan ({ server, global, backends, routes, tenants }: Plan): boolean {
  return server.length + global.length === 0 && [backends, routes, tenants].every(isStill)
}
