/**
 * One configuration after the other: a registry takes the place of the one before, hands over to the next one, and closes
 * what nobody else has by then.
 */
import { drain, letGo } from './leaving.ts'
import type { Changing } from './changing.ts'
import type { BackendsByScope, MutableBackend, Store } from './store.ts'
import type { Tenants } from './tenants.ts'
import type { Watchers } from './watchers.ts'
import type { Pools } from '../pools.ts'
import type { Backend, GatewayConfig } from '../types.ts'

/** Everything there is in a registry. */
export interface Inheritance {
  readonly backends: ReadonlyMap<string, MutableBackend>
  readonly tenants: BackendsByScope
}

/** What a registry needs of the one before. */
export interface Predecessor extends Pick<Succession, 'handOver'>, Pick<Watchers, 'lingering'> {
  readonly pools: Pools
}

export interface SuccessionTools {
  readonly config: Pick<GatewayConfig, 'shutdown' | 'tenancy'>
  readonly pools: Pools
  readonly store: Pick<Store, 'shared' | 'scopes'>
  readonly watchers: Pick<Watchers, 'tell' | 'tellLingering' | 'close'>
  readonly changing: Pick<Changing, 'takeUp'>
  readonly tenants: Pick<Tenants, 'inherit' | 'forsake' | 'handOver'>
  readonly previous: Pick<Predecessor, 'handOver'> | undefined
}

export interface Succession {
  /**
   * Takes the place of the registry before: backends of the same name go on here, with as much of their state as can stay. Those
   * that are left there have no new calls; they end with the calls that run.
   */
  succeed (): void
  /** Everything there is, for the registry that takes this one's place; calls that run here still find it. `wanted`: what goes on there, by name. */
  handOver (wanted: ReadonlyMap<string, unknown>): Inheritance
  /** Every backend of every scope; those that another registry has taken over are its own. */
  all (): Backend[]
  /** Lets what runs finish for a while, then closes every connection; of those that another gateway uses too, only what is this one's alone. */
  close (): Promise<void>
}

export function createSuccession (tools: SuccessionTools): Succession {
  const { config, pools, store, watchers, changing, tenants } = tools
  const { shared, scopes } = store
  // only until it has been succeeded: else each gateway would hold all that were before it
  let { previous } = tools
  /** Whether the backends are this registry's to close: not before it has taken over, and not after another one has. */
  let stage: 'waiting' | 'current' | 'succeeded' = previous === undefined ? 'current' : 'waiting'
  /** Backends that the registry which has taken this one's place knows nothing of. */
  let left: readonly Backend[] = []

  function succeed (): void {
    if (previous === undefined || stage !== 'waiting') return
    const before = previous.handOver(shared)
    previous = undefined
    stage = 'current'
    tenants.inherit(before.tenants)
    // nobody will ask for them
    if (config.tenancy === undefined) tenants.forsake()
    for (const [name, fresh] of shared) {
      const backend = before.backends.get(name)
      if (backend === undefined) continue
      shared.set(name, backend)
      watchers.tell({ ...fresh, targets: [], usable: [] }, fresh.targets)
      changing.takeUp(backend, fresh.config)
    }
  }

  function handOver (wanted: ReadonlyMap<string, unknown>): Inheritance {
    stage = 'succeeded'
    const ofTenants = tenants.handOver()
    left = [...shared.values()].filter(({ name }) => !wanted.has(name))
    for (const backend of left) {
      // its last calls still find them; what would never end by itself is told to
      for (const target of backend.targets) drain(target, backend, pools)
      watchers.tellLingering(backend)
    }
    return { backends: new Map(shared), tenants: ofTenants }
  }

  function all (): Backend[] {
    const backends = [...scopes.values()].flatMap(backends => [...backends.values()])
    return stage === 'succeeded' ? [...left, ...backends.filter(({ scope }) => scope !== '')] : backends
  }

  async function close (): Promise<void> {
    tenants.forsake()
    watchers.close()
    if (stage === 'current') await pools.close(config.shutdown.timeout)
    else await Promise.all(all().flatMap(({ targets }) => targets.map(target => letGo(target, pools))))
  }

  return { succeed, handOver, all, close }
}
