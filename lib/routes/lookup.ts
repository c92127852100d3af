/** What the backend's name of a plan means now, to whom; looked up again only when some backend has changed. */
import { NoTargetError, UnknownBackendError } from '../errors.ts'
import type { Plan } from './plan.ts'
import type { Registry } from '../registry.ts'
import type { FindSettings, Settings } from './settings.ts'
import type { Scope } from '../tenancy/scopes.ts'
import type { Backend, BackendConfig, GatewayConfig } from '../types.ts'

/** A plan's backend, and what holds for calls to it. */
export interface Bound {
  readonly backend: Backend
  readonly settings: Settings
  /** What `settings` were made of. */
  readonly config: BackendConfig
  /** The registry's version when this was so. Writer: lib/routes/lookup.ts */
  version: number
}

export interface LookupTools {
  readonly config: Pick<GatewayConfig, 'defaultBackend'>
  readonly registry: Pick<Registry, 'resolve' | 'version' | 'isKnown'>
  readonly findSettings: FindSettings
}

/** The backend and the settings of now, as this tenant has them; undefined: as everybody has. @throws UnknownBackendError, NoTargetError for a backend that others have */
export type Lookup = (plan: Plan, scope: Scope | undefined) => Bound

export function createLookup ({ config, registry, findSettings }: LookupTools): Lookup {
  function refresh (plan: Plan, scope: Scope | undefined, before: Bound | undefined): Bound {
    const name = plan.config.backend ?? (scope === undefined ? config : scope.config).defaultBackend
    const backend = name === undefined ? undefined : registry.resolve(name, scope)
    if (backend === undefined) throw name !== undefined && registry.isKnown(name) ? notForThisTenant(name) : unknownBackend(name)
    const version = registry.version()
    if (before !== undefined && before.backend === backend && before.config === backend.config) {
      before.version = version
      return before
    }
    const bound = { backend, settings: findSettings(plan.config, backend.config, scope?.config.limits), config: backend.config, version }
    if (scope === undefined) plan.bound = bound
    else scope.bounds.set(plan, bound)
    return bound
  }

  return function lookup (plan, scope) {
    const bound = scope === undefined ? plan.bound : scope.bounds.get(plan)
    return bound !== undefined && bound.version === registry.version() ? bound : refresh(plan, scope, bound)
  }
}

export function unknownBackend (name: string | undefined): Error {
  return new UnknownBackendError({ cause: new Error(name === undefined ? 'no backend was named and there is no defaultBackend' : `there is no backend ${JSON.stringify(name)}`) })
}

/** The set-up is right; only this tenant has no such backend. */
function notForThisTenant (name: string): Error {
  return new NoTargetError({ cause: new Error(`this tenant has no backend ${JSON.stringify(name)}`) })
}
