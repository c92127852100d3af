/** What the backend's name of a plan means now; looked up again only when some backend has changed. */
import { UnknownBackendError } from '../errors.ts'
import type { Plan } from './plan.ts'
import type { Registry } from '../registry.ts'
import type { FindSettings } from './settings.ts'
import type { GatewayConfig } from '../types.ts'

export interface LookupTools {
  readonly config: Pick<GatewayConfig, 'defaultBackend'>
  readonly registry: Pick<Registry, 'resolve' | 'version'>
  readonly findSettings: FindSettings
}

/** Sees to it that the plan's backend and settings are those of now, for this scope. @throws UnknownBackendError */
export type Lookup = (plan: Plan, scope: string | undefined) => void

export function createLookup ({ config, registry, findSettings }: LookupTools): Lookup {
  function refresh (plan: Plan, scope: string | undefined): void {
    const name = plan.config.backend ?? config.defaultBackend
    const backend = name === undefined ? undefined : registry.resolve(name, scope)
    if (backend === undefined) throw unknownBackend(name)
    plan.backend = backend
    plan.settings = findSettings(plan.config, backend.config)
    // what one tenant's name means is not what the next one's means
    plan.version = scope === undefined ? registry.version() : -1
  }

  return function lookup (plan, scope) {
    if (plan.version !== registry.version() || scope !== undefined) refresh(plan, scope)
  }
}

export function unknownBackend (name: string | undefined): Error {
  return new UnknownBackendError({ cause: new Error(name === undefined ? 'no backend was named and there is no defaultBackend' : `there is no backend ${JSON.stringify(name)}`) })
}
