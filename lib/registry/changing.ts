/**
 * How a backend is made, and how it gets other options: an update replaces its configuration, its lists and, if another one
 * is asked for, its balancer, while targets whose URL stays keep their pool and their counters.
 */
import { isDeepStrictEqual } from 'node:util'
import { connectionOptions } from '../pools.ts'
import { retire } from './leaving.ts'
import { applyTarget, createTarget, setTargets } from './targets.ts'
import type { MutableBackend } from './store.ts'
import type { Watchers } from './watchers.ts'
import type { Pools } from '../pools.ts'
import type { Backend, BackendConfig, Balancer, BalancerConfig, Target } from '../types.ts'

export interface ChangingTools {
  readonly pools: Pools
  readonly tell: Watchers['tell']
  createBalancer (config: BalancerConfig): Balancer
}

export interface Changing {
  /** `shares`: the backend whose targets it uses, each through a view of its own: `targets`. */
  create (scope: string, name: string, config: BackendConfig, shares?: Backend, targets?: readonly Target[]): MutableBackend
  /** Configuration and balancer only. */
  configure (backend: MutableBackend, next: BackendConfig): void
  /**
   * New options: targets whose URL stays keep pool and counters, others are added or drained. `keepsState`: what was made of a
   * target at run time (drained, another weight) stays as well until something else is said of it.
   */
  reconfigure (backend: MutableBackend, next: BackendConfig, keepsState?: boolean): void
  /** New options; discovered targets stay as they are until their source, which may be another one now, tells of others. */
  update (backend: MutableBackend, next: BackendConfig): void
  /** The options of the registry that it goes on in: as much of its state as can stay does. */
  takeUp (backend: MutableBackend, next: BackendConfig): void
}

export function createChanging ({ pools, tell, createBalancer }: ChangingTools): Changing {
  function create (scope: string, name: string, config: BackendConfig, shares?: Backend, targets: readonly Target[] = config.targets.map(createTarget)): MutableBackend {
    const backend: MutableBackend = {
      name,
      scope,
      config,
      targets: [],
      usable: [],
      balancer: createBalancer(config.balancer),
      budget: undefined,
      slots: undefined,
      outliers: undefined,
      shares
    }
    setTargets(backend, targets)
    return backend
  }

  function configure (backend: MutableBackend, next: BackendConfig): void {
    if (!isDeepStrictEqual(next.balancer, backend.config.balancer)) backend.balancer = createBalancer(next.balancer)
    backend.config = next
  }

  function reconfigure (backend: MutableBackend, next: BackendConfig, keepsState = false): void {
    const poolsStay = haveSamePools(next, backend.config)
    const before = new Map(backend.targets.map(target => [target.id, target]))
    const said = new Map(backend.config.targets.map(targetConfig => [targetConfig.url, targetConfig]))
    const targets = next.targets.map(targetConfig => {
      const kept = before.get(targetConfig.url)
      if (kept === undefined || !poolsStay) return createTarget(targetConfig)
      before.delete(targetConfig.url)
      return keepsState && isDeepStrictEqual(targetConfig, said.get(targetConfig.url)) ? kept : applyTarget(kept, targetConfig)
    })
    configure(backend, next)
    setTargets(backend, targets)
    retire(backend, [...before.values()], pools)
    tell(backend, [...before.values()])
  }

  function update (backend: MutableBackend, next: BackendConfig): void {
    reconfigure(backend, withTargets(next, backend), isToldLater(next))
  }

  function takeUp (backend: MutableBackend, next: BackendConfig): void {
    const wanted = withTargets(next, backend)
    if (!isDeepStrictEqual(wanted, backend.config)) reconfigure(backend, wanted, true)
    else tell(backend)
  }

  return { create, configure, reconfigure, update, takeUp }
}

/** With the targets that there are, where nobody has said yet which ones there will be. */
function withTargets (next: BackendConfig, { config: { targets } }: Backend): BackendConfig {
  return isToldLater(next) ? { ...next, targets } : next
}

function isToldLater ({ discovery, targets }: BackendConfig): boolean {
  return discovery !== undefined && targets.length === 0
}

/** TLS and pool options live in the pools: where they differ, no pool can be kept or shared. */
export function haveSamePools (one: BackendConfig, other: BackendConfig): boolean {
  return isDeepStrictEqual(connectionOptions(one), connectionOptions(other))
}
