/**
 * Scopes: what each tenant has of its own at run time (backends with their breakers, health, budgets, connections).
 *
 * A scope is made with a tenant's first request and goes when it has had none for a while, so that a hundred thousand known
 * tenants cost no more than their options. What runs then finishes where it is.
 */
import { isDeepStrictEqual } from 'node:util'
import { LRUCache } from 'lru-cache'
import type { TenantOptions } from '../options/index.ts'
import type { Registry } from '../registry.ts'
import type { Bound } from '../routes/lookup.ts'
import type { Plan } from '../routes/plan.ts'
import type { Backend, BackendConfig, Target } from '../types.ts'
import type { Tenant, TenancyConfig, TenantConfig } from './types.ts'

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
  readonly registry: Pick<Registry, 'resolve' | 'version' | 'attach' | 'follow' | 'detach'>
  readonly config: Pick<TenancyConfig, 'isolation' | 'scopes'>
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
  /** The shared targets, where it uses those. */
  targets: readonly Target[] | undefined
  /** The registry's version when this was so. */
  version: number
}

class TenantScope implements Scope {
  readonly tenant: Tenant
  readonly bounds = new Map<Plan, Bound>()
  readonly routes = new Map<object, unknown>()
  readonly #entries = new Map<string, Entry>()
  /** Whether another one has taken its place: a request that still has this one must not make what nobody would close. */
  #over = false
  readonly #live: (scope: TenantScope) => Scope

  constructor (readonly id: string, public options: TenantOptions, readonly config: TenantConfig, readonly label: string, readonly tools: ScopesOptions, live: (scope: TenantScope) => Scope) {
    this.#live = live
    this.tenant = Object.freeze({ id, known: true, metadata: config.metadata })
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
    const { registry, config: { isolation } } = this.tools
    if (entry !== undefined && entry.base === base && entry.baseConfig === base?.config) {
      if (entry.targets !== base?.targets && entry.targets !== undefined) registry.follow(entry.backend)
      entry.targets &&= base?.targets
      entry.version = version
      return entry.backend
    }
    const made = this.config.backend(name, base?.config)
    if (entry !== undefined) {
      this.#entries.delete(name)
      registry.detach(entry.backend)
    }
    if (made === undefined) return undefined
    const backend = registry.attach(this.id, name, made, base, isolation === 'pool')
    this.#entries.set(name, { backend, base, baseConfig: base?.config, ownTargets: made.ownTargets, targets: backend.shares?.targets, version })
    return backend
  }

  /** Takes over the backends that mean the same with other options: their breakers and connections stay. */
  inherit (from: TenantScope): void {
    from.#over = true
    for (const [name, entry] of from.#entries) {
      const made = this.config.backend(name, entry.baseConfig)
      const same = made !== undefined && made.ownTargets === entry.ownTargets && (made.config === entry.backend.config || isDeepStrictEqual(made.config, entry.backend.config))
      if (same) this.#entries.set(name, entry)
      else this.tools.registry.detach(entry.backend)
    }
  }

  async close (): Promise<void> {
    this.#over = true
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    await Promise.all(entries.map(({ backend }) => this.tools.registry.detach(backend)))
  }
}

export function createScopes (tools: ScopesOptions): Scopes {
  const { max, idle } = tools.config.scopes
  const scopes = new LRUCache<string, TenantScope>({
    max,
    ttl: Math.max(1, Math.ceil(idle)),
    updateAgeOnGet: true,
    ttlResolution: 0,
    perf: { now: tools.now },
    dispose (scope, _id, reason) {
      // what was set anew has been taken over
      if (reason !== 'set') scope.close()
    }
  })

  const live = ({ id, options }: TenantScope): Scope => of(id, options)

  function of (id: string, options: TenantOptions): Scope {
    const before = scopes.get(id)
    if (before?.options === options) return before
    if (before !== undefined && isDeepStrictEqual(before.options, options)) {
      before.options = options
      return before
    }
    const scope = new TenantScope(id, options, tools.resolve(id, options), tools.labelOf(id), tools, live)
    if (before !== undefined) scope.inherit(before)
    scopes.set(id, scope)
    return scope
  }

  return {
    of,
    peek (id) { return scopes.peek(id) },
    async close (id) {
      const scope = scopes.peek(id)
      scopes.delete(id)
      await scope?.close()
    },
    sweep () { scopes.purgeStale() },
    get size () { return scopes.size }
  }
}
