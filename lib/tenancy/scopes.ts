/**
 * Scopes: what each tenant has of its own at run time (backends with their breakers, health, budgets, connections).
 *
 * A scope is made with a tenant's first request and goes when it has had none for a while, so that a hundred thousand known
 * tenants cost no more than their options. What runs then finishes where it is.
 */
import { isDeepStrictEqual } from 'node:util'
import type { TenantOptions } from '../options/index.ts'
import type { Registry } from '../registry.ts'
import type { Bound } from '../routes/lookup.ts'
import type { Plan } from '../routes/plan.ts'
import type { Backend, BackendConfig, Target } from '../types.ts'
import type { Tenant, TenancyConfig, TenantBackend, TenantConfig } from './types.ts'

/** What one tenant has of its own. */
export interface Scope {
  readonly tenant: Tenant
  readonly config: TenantConfig
  /** Name in metrics: the id, or `other` where there are too many. */
  readonly label: string
  /** What the backends of plans mean to this tenant. Writer: lib/routes/lookup.ts */
  readonly bounds: Map<Plan, Bound>
  /** Routes as this tenant has them, by what everybody has. Writers: plugins/routes.ts, plugins/composite.ts */
  readonly routes: Map<object, unknown>
  /** A backend as this tenant has it; undefined: it has none of that name. */
  backend (name: string): Backend | undefined
}

export interface ScopesOptions {
  readonly registry: Pick<Registry, 'resolve' | 'version' | 'attach' | 'renew' | 'detach'>
  readonly config: Pick<TenancyConfig, 'scopes'>
  labelOf (id: string): string
  /** What holds for a tenant. */
  resolve (id: string, options: TenantOptions): TenantConfig
  now (): number
}

export interface Scopes {
  /** The scope of a tenant with these options: the one that is there, if nothing has changed. */
  of (id: string, options: TenantOptions): Scope
  /** The scope that is there. */
  peek (id: string): Scope | undefined
  /** Lets go what a tenant has. Resolves when its own connections are closed. */
  close (id: string): Promise<void>
  /** Lets go those that have been idle for too long. */
  sweep (): void
  readonly size: number
}

/** A backend of a tenant's with what it was made of. */
interface Entry {
  readonly backend: Backend
  readonly base: Backend | undefined
  readonly baseConfig: BackendConfig | undefined
  readonly ownTargets: boolean
  /** Those of everybody that were in use. */
  readonly baseUsable: readonly Target[] | undefined
  /** The registry's version when this was so. */
  version: number
}

class TenantScope implements Scope {
  readonly tenant: Tenant
  readonly routes = new Map<object, unknown>()
  readonly #bounds = new Map<Plan, Bound>()
  readonly #entries = new Map<string, Entry>()
  /** When it was last asked for. Writer: createScopes */
  usedAt = -Infinity
  /** Whether another one has taken its place: a request that still has this one must not make what nobody would close. */
  #over = false
  #closed: Promise<unknown> | undefined = undefined
  readonly #live: (scope: TenantScope) => Scope

  constructor (readonly id: string, public options: TenantOptions, readonly config: TenantConfig, readonly label: string, readonly tools: ScopesOptions, live: (scope: TenantScope) => Scope) {
    this.#live = live
    this.tenant = Object.freeze({ id, known: true, metadata: Object.freeze(config.metadata) })
  }

  /** What is over remembers nothing: nobody would tell it of changes. */
  get bounds (): Map<Plan, Bound> {
    return this.#over ? new Map() : this.#bounds
  }

  backend (name: string): Backend | undefined {
    if (this.#over) return this.#live(this).backend(name)
    const { registry } = this.tools
    const version = registry.version()
    const entry = this.#entries.get(name)
    if (entry?.version === version) return entry.backend
    return this.#renew(name, entry, registry.resolve(name), version)
  }

  /** Something has changed for everybody: perhaps this. */
  #renew (name: string, entry: Entry | undefined, base: Backend | undefined, version: number): Backend | undefined {
    if (entry === undefined || entry.base !== base || entry.baseConfig !== base?.config) return this.#put(name, entry, this.config.backend(name, base?.config), base)
    if (!entry.ownTargets && entry.baseUsable !== base?.usable) return this.#put(name, entry, { config: entry.backend.config, ownTargets: false }, base)
    entry.version = version
    return entry.backend
  }

  /** In the place of `entry`, with as much of its state as can stay. */
  #put (name: string, entry: Entry | undefined, made: TenantBackend | undefined, base: Backend | undefined): Backend | undefined {
    const { registry } = this.tools
    const stays = entry !== undefined && made !== undefined && registry.renew(entry.backend, made, base)
    if (entry !== undefined && !stays) {
      this.#entries.delete(name)
      registry.detach(entry.backend)
    }
    if (made === undefined) return undefined
    const backend = stays ? entry.backend : registry.attach(this.id, name, made, base)
    this.#entries.set(name, { backend, base, baseConfig: base?.config, baseUsable: base?.usable, ownTargets: made.ownTargets, version: registry.version() })
    return backend
  }

  /** Takes over the backends of the one before: what means the same with these options keeps its state. */
  inherit (from: TenantScope): void {
    const { registry } = this.tools
    from.#over = true
    for (const [name, entry] of from.#entries) {
      const base = registry.resolve(name)
      this.#put(name, entry, this.config.backend(name, base?.config), base)
    }
  }

  /** Resolves when its own connections are closed. */
  async close (): Promise<void> {
    this.#over = true
    this.#closed ??= Promise.all([...this.#entries.values()].map(({ backend }) => this.tools.registry.detach(backend)))
    await this.#closed
  }
}

export function createScopes (tools: ScopesOptions): Scopes {
  const { max, idle } = tools.config.scopes
  // a map and a time in each: a list in order of use would touch the memory of other tenants with each request
  const scopes = new Map<string, TenantScope>()

  /** The scope that is there and has not been idle for too long. */
  function fresh (id: string): TenantScope | undefined {
    const scope = scopes.get(id)
    return scope === undefined || tools.now() - scope.usedAt < idle ? scope : undefined
  }

  function drop (scope: TenantScope): void {
    scopes.delete(scope.id)
    scope.close()
  }

  function sweep (): void {
    const before = tools.now() - idle
    for (const scope of scopes.values()) if (scope.usedAt <= before) drop(scope)
  }

  /** Whoever has not been asked for the longest goes; a hundredth of all at once, since finding them takes a look at all. */
  function makeRoom (): void {
    const oldest = [...scopes.values()].sort((one, other) => one.usedAt - other.usedAt)
    for (const scope of oldest.slice(0, Math.max(1, Math.floor(max / 100)))) drop(scope)
  }

  // that a request of before goes on brings nothing back that has changed since
  const live = ({ id, options }: TenantScope): Scope => fresh(id) ?? of(id, options)

  function of (id: string, options: TenantOptions): Scope {
    const before = scopes.get(id)
    const now = tools.now()
    if (before !== undefined && now - before.usedAt < idle) {
      before.usedAt = now
      if (before.options === options) return before
      if (isDeepStrictEqual(before.options, options)) {
        before.options = options
        return before
      }
      return put(id, options, now, before)
    }
    if (before !== undefined) drop(before)
    else if (scopes.size >= max) makeRoom()
    return put(id, options, now)
  }

  function put (id: string, options: TenantOptions, now: number, before?: TenantScope): Scope {
    const scope = new TenantScope(id, options, tools.resolve(id, options), tools.labelOf(id), tools, live)
    scope.usedAt = now
    if (before !== undefined) scope.inherit(before)
    scopes.set(id, scope)
    return scope
  }

  return {
    of,
    peek: fresh,
    async close (id) {
      const scope = scopes.get(id)
      scopes.delete(id)
      await scope?.close()
    },
    sweep,
    get size () { return scopes.size }
  }
}
