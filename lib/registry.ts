/**
 * All backends of a gateway by (scope, name), and what may be changed about them at run time. Scopes are those of tenants;
 * `''` is everybody's.
 *
 * A backend object lives as long as its name: an update replaces its configuration, its lists and its balancer, while targets
 * whose URL stays keep their pool and their counters.
 *
 * Here the parts of lib/registry/ are put together; each is given only what was made before it.
 */
import { createPools } from './pools.ts'
import { createBackendsApi, createChange, createTargetsApi } from './registry/api.ts'
import { createChanging } from './registry/changing.ts'
import { createStore } from './registry/store.ts'
import { createSuccession } from './registry/succession.ts'
import { createTenants } from './registry/tenants.ts'
import { createWatchers } from './registry/watchers.ts'
import type { Predecessor } from './registry/succession.ts'
import type { Backend, Balancer, BalancerConfig, GatewayConfig, TargetConfig } from './types.ts'

export type { BackendView, TargetView } from './registry/views.ts'

export interface RegistryOptions {
  readonly config: GatewayConfig
  createBalancer (config: BalancerConfig): Balancer
  /** The registry of the gateway whose place this one's may take: they share connections. */
  readonly previous?: Predecessor | undefined
}

export type Registry = ReturnType<typeof createRegistry>

export function createRegistry ({ config, createBalancer, previous }: RegistryOptions) {
  const pools = previous === undefined ? createPools() : previous.pools
  const watchers = createWatchers(previous?.lingering)
  const { tell } = watchers
  const store = createStore({ tell })
  const changing = createChanging({ pools, tell, createBalancer })
  const tenants = createTenants({ config, pools, store, watchers, changing })
  const succession = createSuccession({ config, pools, store, watchers, changing, tenants, previous })
  const apiTools = { config, pools, store, tell, changing }

  for (const [name, backendConfig] of Object.entries(config.backends)) store.insert(changing.create('', name, backendConfig))

  // the parts' own functions: some are called with each request
  return {
    api: { ...createBackendsApi(apiTools), ...createTargetsApi(apiTools) },
    change: createChange(apiTools),
    /** Other targets for a backend: those whose URL stays keep pool, counters and, if nothing about them has changed, their state. */
    replaceTargets (backend: Backend, targets: readonly TargetConfig[]): void {
      changing.reconfigure(backend, { ...backend.config, targets }, true)
    },
    resolve: store.resolve,
    existing: store.existing,
    existingTarget: store.existingTarget,
    findOrigin: store.findOrigin,
    expect: store.expect,
    isKnown: store.isKnown,
    attach: tenants.attach,
    renew: tenants.renew,
    detach: tenants.detach,
    forsake: tenants.forsake,
    version: watchers.version,
    watch: watchers.watch,
    lingering: watchers.lingering,
    pools,
    all: succession.all,
    succeed: succession.succeed,
    handOver: succession.handOver,
    close: succession.close
  }
}
