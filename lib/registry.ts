/**
 * All backends of a gateway by (scope, name), and what may be changed about them at run time. Scopes are those of tenants;
 * `''` is everybody's.
 *
 * A backend object lives as long as its name: an update replaces its configuration, its lists and its balancer, while targets
 * whose URL stays keep their pool and their counters.
 */
import { isDeepStrictEqual } from 'node:util'
import { backendNameProblem, parseBackend, parseTarget, parseTargetPatch } from './options/index.ts'
import { OptionsError } from './errors.ts'
import { addressOf } from './pool.ts'
import { connectionOptions, createPools } from './pools.ts'
import { TenantTarget } from './tenancy/target.ts'
import type { FullBackendOption } from './options/index.ts'
import type { Pools } from './pools.ts'
import type { Scope } from './tenancy/scopes.ts'
import type { TenantBackend } from './tenancy/types.ts'
import type { Backend, BackendConfig, Balancer, BalancerConfig, GatewayConfig, Metadata, Target, TargetConfig, TargetState } from './types.ts'

/** A backend as `backends.get()` shows it: a snapshot. */
export interface BackendView {
  readonly name: string
  readonly balancer: string
  readonly metadata: Metadata
  readonly targets: readonly TargetView[]
}

export interface TargetView {
  readonly url: string
  readonly state: TargetState
  readonly weight: number
  readonly maxConnections: number
  readonly metadata: Metadata
  /** Requests running now. */
  readonly inflight: number
  /** Requests ever started. */
  readonly started: number
}

export interface RegistryOptions {
  readonly config: GatewayConfig
  createBalancer (config: BalancerConfig): Balancer
  /** The registry of the gateway whose place this one's may take: they share connections. */
  readonly previous?: Registry | undefined
}

/** Told after every change of a backend: the targets that are gone for good. */
type Watcher = (backend: Backend, gone: readonly Target[]) => void

type MutableBackend = { -readonly [K in keyof Backend]: Backend[K] }
type MutableTarget = Target & { metadata: Metadata }

export type Registry = ReturnType<typeof createRegistry>

export function createRegistry (options: RegistryOptions) {
  const { config, createBalancer } = options
  // only until it has been succeeded: else each gateway would hold all that were before it
  let { previous } = options
  const shared = new Map<string, MutableBackend>()
  const scopes = new Map([['', shared]])
  const pools: Pools = previous === undefined ? createPools() : previous.pools
  const watchers: Watcher[] = []
  /** Of all registries that share the connections: those whose calls have not ended want to know. */
  const lingering: Set<Watcher> = previous === undefined ? new Set() : previous.lingering as Set<Watcher>
  const mine: Watcher[] = []
  /** Whether the backends are this registry's to close: not before it has taken over, and not after another one has. */
  let stage: 'waiting' | 'current' | 'succeeded' = previous === undefined ? 'current' : 'waiting'
  /** Tenants' backends of the registry before that have not been asked for since. */
  let inherited: typeof scopes = new Map()
  /** Backends that the registry which has taken this one's place knows nothing of. */
  let left: readonly Backend[] = []
  /** Counts changes of what everybody has. */
  let changes = 0
  /** Backends that some tenant has, whether or not everybody has them. */
  const ofTenants = new Set<string>()

  /** `shares`: the backend whose targets it uses, each through a view of its own. */
  function create (scope: string, name: string, backendConfig: BackendConfig, shares?: Backend, ownPools = false): MutableBackend {
    const backend: MutableBackend = {
      name,
      scope,
      config: backendConfig,
      targets: [],
      usable: [],
      balancer: createBalancer(backendConfig.balancer),
      budget: undefined,
      slots: undefined,
      outliers: undefined,
      shares
    }
    setTargets(backend, shares === undefined ? backendConfig.targets.map(createTarget) : shares.targets.map(target => new TenantTarget(target, ownPools)))
    return backend
  }

  function insert (scope: string, name: string, backend: MutableBackend): void {
    let backends = scopes.get(scope)
    if (backends === undefined) scopes.set(scope, backends = new Map())
    backends.set(name, backend)
    tell(backend)
  }

  /** The backend of this name as the tenant has it; without a tenant, as everybody has. */
  function resolve (name: string, scope?: Scope): Backend | undefined {
    return scope === undefined ? shared.get(name) : scope.backend(name)
  }

  /** `scope`: a tenant's; of a tenant it has only what that tenant has used. */
  function existing (name: string, scope = ''): MutableBackend {
    const backend = scopes.get(scope)?.get(name)
    if (backend === undefined) {
      const whose = scope === '' ? '' : ` of the tenant ${JSON.stringify(scope)}`
      throw new RangeError(`there is no backend ${JSON.stringify(name)}${whose}; there are: ${[...scopes.get(scope)?.keys() ?? []].join(', ') || 'none'}`)
    }
    return backend
  }

  function existingTarget (backend: Backend, url: string): MutableTarget {
    const wanted = addressOf(url).url
    const target = backend.targets.find(({ id }) => id === wanted)
    if (target === undefined) throw new RangeError(`backend ${backend.name} has no target ${JSON.stringify(url)}; it has: ${backend.targets.map(({ id }) => id).join(', ') || 'none'}`)
    return target
  }

  /** Every backend of every scope; those that another registry has taken over are its own. */
  function all (): Backend[] {
    const backends = [...scopes.values()].flatMap(backends => [...backends.values()])
    return stage === 'succeeded' ? [...left, ...backends.filter(({ scope }) => scope !== '')] : backends
  }

  for (const [name, backendConfig] of Object.entries(config.backends)) insert('', name, create('', name, backendConfig))

  function tell (backend: Backend, gone: readonly Target[] = []): void {
    if (backend.scope === '') {
      changes++
      passOn(backend)
    }
    for (const watcher of watchers) watcher(backend, gone)
    for (const watcher of lingering) watcher(backend, gone)
  }

  const api = {
    add (name: string, input: unknown): void {
      if (resolve(name) !== undefined) throw new RangeError(`there is a backend ${JSON.stringify(name)} already`)
      const problem = backendNameProblem(name)
      if (problem !== undefined) throw new OptionsError([{ path: 'backends', rule: problem, value: name }])
      insert('', name, create('', name, parseBackend(input, { ...config, name }, `backends.${name}`)))
    },

    async remove (name: string): Promise<void> {
      const backend = existing(name)
      shared.delete(name)
      const closed = Promise.all(retire(backend, backend.targets))
      tell(backend, backend.targets)
      await closed
    },

    update (name: string, input: unknown): void {
      const backend = existing(name)
      update(backend, parseBackend(input, { ...config, name }, `backends.${name}`))
    },

    get (name: string): BackendView | undefined {
      const backend = resolve(name)
      return backend && viewOf(backend)
    },

    list (): BackendView[] {
      return [...shared.values()].map(viewOf)
    },

    async drain (name: string, url?: string): Promise<void> {
      const backend = existing(name)
      const targets = url === undefined ? backend.targets : [existingTarget(backend, url)]
      const closed = Promise.all(retire(backend, targets))
      tell(backend)
      await closed
    },

    addTarget (name: string, input: unknown): void {
      const backend = existing(name)
      const target = parseTarget(input, `backends.${name}.targets[${backend.targets.length}]`, { health: backend.config.resilience.health })
      if (backend.targets.some(({ id }) => id === target.url)) {
        throw new OptionsError([{ path: `backends.${name}.targets`, rule: 'must not contain a URL twice', value: target.url }])
      }
      setTargets(backend, [...backend.targets, createTarget(target)])
      backend.config = { ...backend.config, targets: [...backend.config.targets, target] }
      tell(backend)
    },

    async removeTarget (name: string, url: string): Promise<void> {
      const backend = existing(name)
      const target = existingTarget(backend, url)
      setTargets(backend, backend.targets.filter(other => other !== target))
      backend.config = { ...backend.config, targets: backend.config.targets.filter(({ url }) => url !== target.id) }
      const closed = Promise.all(retire(backend, [target]))
      tell(backend, [target])
      await closed
    },

    updateTarget (name: string, url: string, changes: unknown): void {
      const backend = existing(name)
      const target = existingTarget(backend, url)
      const { active = target.state === 'active', ...changed } = parseTargetPatch(changes, `backends.${name}.targets[${backend.targets.indexOf(target)}]`)
      Object.assign(target, changed)
      if (active || target.state !== 'draining') target.state = active ? 'active' : 'inactive'
      setTargets(backend, [...backend.targets])
      tell(backend)
    }
  }

  /** Some other options for a backend; its targets stay what they have become. @throws OptionsError */
  function change (name: string, changes: Partial<FullBackendOption>): void {
    const backend = existing(name)
    const next = parseBackend({ ...backend.config.said, ...changes }, { ...config, name }, `backends.${name}`)
    reconfigure(backend, { ...next, targets: backend.config.targets }, true)
  }

  /** Other targets for a backend: those whose URL stays keep pool, counters and, if nothing about them has changed, their state. */
  function replaceTargets (backend: Backend, targets: readonly TargetConfig[]): void {
    reconfigure(backend, { ...backend.config, targets }, true)
  }

  /** New options; discovered targets stay as they are until their source, which may be another one now, tells of others. */
  function update (backend: Backend, next: BackendConfig): void {
    const stay = isToldLater(next)
    reconfigure(backend, stay ? { ...next, targets: backend.config.targets } : next, stay)
  }

  /**
   * New options: targets whose URL stays keep pool and counters, others are added or drained. `keepsState`: what was made of a
   * target at run time (drained, another weight) stays as well until something else is said of it.
   */
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
    retire(backend, [...before.values()])
    tell(backend, [...before.values()])
  }

  function configure (backend: MutableBackend, next: BackendConfig): void {
    if (!isDeepStrictEqual(next.balancer, backend.config.balancer)) backend.balancer = createBalancer(next.balancer)
    backend.config = next
  }

  /** Stops new requests for the targets; the promises settle when their pools are closed. */
  function retire (backend: Backend, targets: readonly Target[]): Array<Promise<void>> {
    const gone = targets.map(target => {
      target.state = 'draining'
      return drained(target, backend, pools)
    })
    setTargets(backend, backend.targets)
    return gone
  }

  /** Lets what runs finish for a while, then closes every connection; of those that another gateway uses too, only what is this one's alone. */
  async function close (): Promise<void> {
    forsake()
    for (const watcher of mine) lingering.delete(watcher)
    if (stage === 'current') await pools.close(config.shutdown.timeout)
    else await Promise.all(all().flatMap(({ targets }) => targets.map(letGo)))
  }

  // ---- one configuration after the other

  /**
   * Takes the place of the registry before: backends of the same name go on here, with as much of their state as can stay. Those
   * that are left there have no new calls; they end with the calls that run.
   */
  function succeed (): void {
    if (previous === undefined || stage !== 'waiting') return
    const before = previous.handOver(shared)
    previous = undefined
    stage = 'current'
    inherited = before.tenants
    // nobody will ask for them
    if (config.tenancy === undefined) forsake()
    for (const [name, fresh] of shared) {
      const backend = before.backends.get(name)
      if (backend === undefined) continue
      shared.set(name, backend)
      tell({ ...fresh, targets: [], usable: [] }, fresh.targets)
      takeUp(backend, fresh.config)
    }
  }

  function takeUp (backend: MutableBackend, next: BackendConfig): void {
    const wanted = isToldLater(next) ? { ...next, targets: backend.config.targets } : next
    if (!isDeepStrictEqual(wanted, backend.config)) reconfigure(backend, wanted, true)
    else tell(backend)
  }

  /** Everything there is, for the registry that takes this one's place; calls that run here still find it. `wanted`: what goes on there, by name. */
  function handOver (wanted: ReadonlyMap<string, unknown>): { readonly backends: ReadonlyMap<string, MutableBackend>, readonly tenants: typeof scopes } {
    stage = 'succeeded'
    const tenants = new Map([...inherited, ...[...scopes].filter(([scope]) => scope !== '')])
    inherited = new Map()
    for (const scope of tenants.keys()) scopes.delete(scope)
    left = [...shared.values()].filter(({ name }) => !wanted.has(name))
    for (const backend of left) {
      // its last calls still find them; what would never end by itself is told to
      for (const target of backend.targets) {
        target.state = 'draining'
        drained(target, backend, pools)
      }
      for (const watcher of lingering) watcher(backend, [])
    }
    return { backends: new Map(shared), tenants }
  }

  /** Tenants' backends that nobody has asked for since the registry before. */
  function forsake (): void {
    if (inherited.size === 0) return
    const backends = [...inherited.values()].flatMap(backends => [...backends.values()])
    inherited = new Map()
    for (const backend of backends) detach(backend)
  }

  // ---- what tenants have of their own

  /** A tenant's backend: with targets of its own, or a view of those of `base`. */
  function attach (scope: string, name: string, { config: backendConfig, ownTargets }: TenantBackend, base: Backend | undefined): Backend {
    const before = inherited.get(scope)?.get(name)
    if (before !== undefined) {
      inherited.get(scope)!.delete(name)
      if (renew(before, { config: backendConfig, ownTargets }, base)) {
        insert(scope, name, before)
        return before
      }
      detach(before)
    }
    const shares = ownTargets ? undefined : base
    const backend = create(scope, name, backendConfig, shares, shares !== undefined && hasOwnPools(backendConfig, shares))
    insert(scope, name, backend)
    return backend
  }

  /** Brings a tenant's backend up to what holds now; what has not changed keeps its state. False: it is another one now, to be attached anew. */
  function renew (backend: Backend, { config: wanted, ownTargets }: TenantBackend, base: Backend | undefined): boolean {
    if (backend.shares !== (ownTargets ? undefined : base)) return false
    const next = isDeepStrictEqual(wanted, backend.config) ? backend.config : wanted
    if (backend.shares !== undefined) follow(backend, next, backend.shares)
    else if (next !== backend.config) update(backend, next)
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
    configure(backend, next)
    setTargets(backend, targets)
    for (const view of before.values()) letGo(view)
    tell(backend, [...before.values()])
  }

  /** Whether a tenant's calls to the targets that all share go over connections of its own. */
  function hasOwnPools (backendConfig: BackendConfig, shares: Backend): boolean {
    return config.tenancy?.isolation === 'pool' || !haveSamePools(backendConfig, shares.config)
  }

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

  /**
   * Nobody finds it any more, and what was the tenant's own is closed as soon as it is idle. Calls that have it go on, and may
   * even be tried again. Resolves when the connections are closed.
   */
  async function detach (backend: Backend): Promise<void> {
    const backends = scopes.get(backend.scope)
    if (backends?.get(backend.name) === backend) backends.delete(backend.name)
    // another gateway has it now
    else if (stage === 'succeeded') return
    if (backends?.size === 0) scopes.delete(backend.scope)
    const closed = backend.targets.map(letGo)
    tell({ ...backend, targets: [], usable: [] }, backend.targets)
    await Promise.all(closed)
  }

  /** Closes the connections that are this target's alone, and those again that late calls may open. */
  function letGo (target: Target): Promise<void> {
    if (target instanceof TenantTarget) {
      if (!target.ownPool) return Promise.resolve()
      target.onLeft = () => { pools.leave(target) }
      return pools.leave(target)
    }
    return new Promise(resolve => {
      function leave (): void {
        target.onIdle = leave
        pools.leave(target).then(resolve)
      }
      if (target.inflight > 0) target.onIdle = leave
      else leave()
    })
  }

  /** Active targets at an origin, as the tenant has them. */
  function findOrigin (origin: string, scope: Scope | undefined): Array<{ backend: Backend, target: Target }> {
    const backends = scope === undefined ? shared.values() : [...new Set([...shared.keys(), ...ofTenants])].flatMap(name => scope.backend(name) ?? [])
    return [...backends].flatMap(backend => backend.usable.filter(target => target.origin === origin).map(target => ({ backend, target })))
  }

  return {
    api,
    resolve,
    existing,
    existingTarget,
    change,
    replaceTargets,
    findOrigin,
    attach,
    renew,
    detach,
    /** Names that only tenants may have. */
    expect (names: Iterable<string>): void { for (const name of names) ofTenants.add(name) },
    /** Whether anybody has such a backend. */
    isKnown: (name: string): boolean => shared.has(name) || ofTenants.has(name),
    all,
    /**
     * Tells of every change to a backend from now on, and which of its targets are gone for good. `lingers`: also when another
     * registry has taken this one's place, until this one is closed.
     */
    watch (watcher: Watcher, { lingers = false } = {}): void {
      if (!lingers) {
        watchers.push(watcher)
        return
      }
      lingering.add(watcher)
      mine.push(watcher)
    },
    pools,
    lingering: lingering as ReadonlySet<Watcher>,
    succeed,
    handOver,
    forsake,
    close,
    version: () => changes
  }
}

function createTarget (config: TargetConfig): Target {
  const { origin, basePath } = addressOf(config.url)
  return {
    id: config.url,
    origin,
    basePath,
    metadata: config.metadata,
    weight: config.weight,
    maxConnections: config.maxConnections,
    state: config.active ? 'active' : 'inactive',
    inflight: 0,
    started: 0,
    dispatcher: undefined,
    breaker: undefined,
    health: undefined,
    onIdle: undefined,
    of: undefined,
    ownPool: false
  }
}

function applyTarget (target: Target, config: TargetConfig): Target {
  target.weight = config.weight
  target.maxConnections = config.maxConnections
  ;(target as { metadata: Metadata }).metadata = config.metadata
  target.state = config.active ? 'active' : 'inactive'
  return target
}

/** `usable` becomes a new array: balancers build their tables when they see one. */
function setTargets (backend: Pick<Backend, 'targets' | 'usable'>, targets: readonly Target[]): void {
  backend.targets = targets
  backend.usable = targets.filter(target => target.state === 'active' && target.weight > 0)
}

/** Whether nobody has said yet what targets there are. */
function isToldLater ({ discovery, targets }: BackendConfig): boolean {
  return discovery !== undefined && targets.length === 0
}

/** TLS and pool options live in the pools: where they differ, no pool can be kept or shared. */
function haveSamePools (one: BackendConfig, other: BackendConfig): boolean {
  return isDeepStrictEqual(connectionOptions(one), connectionOptions(other))
}

/** Resolves when the last request of a target has finished and it has left its pool. */
async function drained (target: Target, backend: Backend, pools: Pools): Promise<void> {
  if (target.inflight > 0) {
    await new Promise<void>(resolve => {
      const earlier = target.onIdle
      target.onIdle = () => { earlier?.(); resolve() }
    })
  }
  // it may have been taken back into service while it drained
  if (target.state === 'active' && backend.targets.includes(target)) return
  await pools.leave(target)
}

function viewOf (backend: Backend): BackendView {
  const { balancer, metadata } = backend.config
  return {
    name: backend.name,
    balancer: typeof balancer === 'string' ? balancer : balancer.type,
    metadata,
    targets: backend.targets.map(({ id, state, weight, maxConnections, metadata, inflight, started }) =>
      ({ url: id, state, weight, maxConnections, metadata, inflight, started }))
  }
}
