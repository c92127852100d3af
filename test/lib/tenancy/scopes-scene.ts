/** Scopes over a real registry, on a virtual clock: no server, no traffic. */
import { createRegistry } from '../../../lib/registry.ts'
import { parseOptions, parseTenant, resolveTenant } from '../../../lib/options/index.ts'
import { createScopes } from '../../../lib/tenancy/scopes.ts'
import type { TenantOptions } from '../../../lib/options/index.ts'
import type { Scope } from '../../../lib/tenancy/scopes.ts'
import type { Backend, Target } from '../../../lib/types.ts'
import { virtualClock } from '../../helper/time.ts'

export function url (port: number): string {
  return `http://127.0.0.1:${port}`
}

export interface SceneOptions {
  readonly max?: number
  readonly idle?: number
  readonly isolation?: 'state' | 'pool'
}

export function scene (backends: Record<string, unknown>, { max = 100, idle = 1_000, isolation = 'state' }: SceneOptions = {}) {
  const config = parseOptions({ backends, tenancy: { isolation, scopes: { max, idle } } })
  const clock = virtualClock(1_000)
  const registry = createRegistry({ config, createBalancer: () => ({ pick: targets => targets[0] }) })
  const gone: Array<{ readonly scope: string, readonly target: Target }> = []
  registry.watch(({ scope }, targets) => { gone.push(...targets.map(target => ({ scope, target }))) })
  const scopes = createScopes({
    registry,
    config: config.tenancy!,
    labelOf: id => id,
    resolve: (id, options) => resolveTenant(id, options, config),
    now: () => clock.now()
  })

  return {
    config,
    clock,
    registry,
    scopes,
    gone,
    /** Options as the gateway keeps them: checked and frozen. */
    tenant: (options: unknown, id = 'acme') => parseTenant(options, id, config) as TenantOptions,
    /** The scope of a tenant with these options. */
    of (options: unknown, id = 'acme'): Scope {
      return scopes.of(id, parseTenant(options, id, config) as TenantOptions)
    },
    /** Backends of tenants that somebody could find. */
    owned: () => registry.all().filter(({ scope }) => scope !== ''),
    /** Makes a pool as the first call would. */
    open: (backend: Backend, target: Target = backend.targets[0]!) => registry.pools.open(target, backend)
  }
}

/** Lets all promises that can settle do so. */
export async function settled (): Promise<void> {
  await new Promise<void>(resolve => { setImmediate(resolve) })
}
