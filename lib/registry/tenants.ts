/**
 * What tenants have of their own: backends with targets of their own, or with views of the targets that all share. Tenants'
 * scopes ask for them with each first use; those of the registry before wait here until their tenant does.
 */
import { isDeepStrictEqual } from 'node:util'
import { TenantTarget } from '../tenancy/target.ts'
import { haveSamePools } from './changing.ts'
import { letGo } from './leaving.ts'
import { setTargets } from './targets.ts'
import type { Changing } from './changing.ts'
import type { BackendsByScope, MutableBackend, Store } from './store.ts'
import type { Watchers } from './watchers.ts'
import type { Pools } from '../pools.ts'
import type { TenantBackend } from '../tenancy/types.ts'
import type { Backend, BackendConfig, GatewayConfig } from '../types.ts'

export interface TenantsTools {
  readonly config: Pick<GatewayConfig, 'tenancy'>
  readonly pools: Pools
  readonly store: Pick<Store, 'scopes' | 'insert'>
  readonly watchers: Pick<Watchers, 'watch' | 'tell'>
  readonly changing: Pick<Changing, 'create' | 'configure' | 'update'>
}

export interface Tenants {
  /** A tenant's backend: with targets of its own, or a view of those of `base`. */
  attach (scope: string, name: string, made: TenantBackend, base: Backend | undefined): Backend
  /** Brings a tenant's backend up to what holds now; what has not changed keeps its state. False: it is another one now, to be attached anew. */
  renew (backend: Backend, made: TenantBackend, base: Backend | undefined): boolean
  /**
   * Nobody finds it any more, and what was the tenant's own is closed as soon as it is idle. Calls that have it go on, and may
   * even be tried again. Resolves when the connections are closed.
   */
  detach (backend: Backend): Promise<void>
  /** Those of the registry before: each goes on here when it is attached. */
  inherit (before: BackendsByScope): void
  /** Lets go what was inherited and nobody has asked for since. */
  forsake (): void
  /** All of them, for the registry that takes this one's place. What is attached later belongs to calls that still run here. */
  handOver (): BackendsByScope
}

export function createTenants ({ config, pools, store, watchers, changing }: TenantsTools): Tenants {
  const { scopes } = store
  let inherited: BackendsByScope = new Map()
  let isHandedOver = false

  // the first of all watchers: the others find tenants' backends as they are after the change
  watchers.watch(base => { if (base.scope === '') passOn(base) })

  /**
   * What has changed for everybody holds at once for calls of tenants that wait or are tried again, and for checks that
   * tenants make by themselves; the rest of it a tenant's backend learns with the next request.
   */
  function passOn (base: Backend): void {
    for (const backends of [...scopes.values(), ...inherited.values()]) {
      const backend = backends.get(base.name)
      if (backend?.shares !== base) continue
      setTargets(backend, backend.targets)
      const isLost = backend.usable.length === 0 && base.usable.length > 0
      if (isLost || backend.targets.some(({ health }) => health?.check !== undefined)) follow(backend, backend.config, base)
    }
  }

  function attach (scope: string, name: string, made: TenantBackend, base: Backend | undefined): Backend {
    const before = inherited.get(scope)?.get(name)
    if (before !== undefined) {
      inherited.get(scope)!.delete(name)
      if (renew(before, made, base)) {
        store.insert(before)
        return before
      }
      detach(before)
    }
    const backend = made.ownTargets || base === undefined ? changing.create(scope, name, made.config) : createView(scope, name, made.config, base)
    store.insert(backend)
    return backend
  }

  function createView (scope: string, name: string, backendConfig: BackendConfig, shares: Backend): MutableBackend {
    const ownPools = hasOwnPools(backendConfig, shares)
    return changing.create(scope, name, backendConfig, shares, shares.targets.map(target => new TenantTarget(target, ownPools)))
  }

  function renew (backend: Backend, { config: wanted, ownTargets }: TenantBackend, base: Backend | undefined): boolean {
    if (backend.shares !== (ownTargets ? undefined : base)) return false
    const next = isDeepStrictEqual(wanted, backend.config) ? backend.config : wanted
    if (backend.shares !== undefined) follow(backend, next, backend.shares)
    else if (next !== backend.config) changing.update(backend, next)
    return true
  }

  /** Brings a tenant's view up to the targets that all share now. */
  function follow (backend: MutableBackend, next: BackendConfig, shares: Backend): void {
    const ownPools = hasOwnPools(next, shares)
    const stay = !ownPools || haveSamePools(next, backend.config)
    const before = new Map((backend.targets as readonly TenantTarget[]).map(view => [view.of, view]))
    const targets = shares.targets.map(target => {
      const view = before.get(target)
      if (view === undefined || view.ownPool !== ownPools || !stay) return new TenantTarget(target, ownPools)
      before.delete(target)
      return view
    })
    changing.configure(backend, next)
    setTargets(backend, targets)
    for (const view of before.values()) letGo(view, pools)
    watchers.tell(backend, [...before.values()])
  }

  /** Whether a tenant's calls to the targets that all share go over connections of its own. */
  function hasOwnPools (backendConfig: BackendConfig, shares: Backend): boolean {
    return config.tenancy?.isolation === 'pool' || !haveSamePools(backendConfig, shares.config)
  }

  async function detach (backend: Backend): Promise<void> {
    const backends = scopes.get(backend.scope)
    if (backends?.get(backend.name) === backend) backends.delete(backend.name)
    // another gateway has it now
    else if (isHandedOver) return
    if (backends?.size === 0) scopes.delete(backend.scope)
    const closed = backend.targets.map(target => letGo(target, pools))
    watchers.tell({ ...backend, targets: [], usable: [] }, backend.targets)
    await Promise.all(closed)
  }

  function forsake (): void {
    if (inherited.size === 0) return
    const backends = [...inherited.values()].flatMap(backends => [...backends.values()])
    inherited = new Map()
    for (const backend of backends) detach(backend)
  }

  function handOver (): BackendsByScope {
    isHandedOver = true
    const tenants = new Map([...inherited, ...[...scopes].filter(([scope]) => scope !== '')])
    inherited = new Map()
    for (const scope of tenants.keys()) scopes.delete(scope)
    return tenants
  }

  return { attach, renew, detach, inherit (before) { inherited = before }, forsake, handOver }
}
