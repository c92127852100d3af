/** Where backends are kept and found: by scope and name. Scopes are those of tenants; `''` is everybody's. */
import { addressOf } from '../pool.ts'
import type { Watchers } from './watchers.ts'
import type { Scope } from '../tenancy/scopes.ts'
import type { Backend, Metadata, Target } from '../types.ts'

/** As only the registry may have it. */
export type MutableBackend = { -readonly [K in keyof Backend]: Backend[K] }
export type MutableTarget = Target & { metadata: Metadata }
export type BackendsByScope = Map<string, Map<string, MutableBackend>>

export interface Store {
  /** Everybody's, by name. */
  readonly shared: Map<string, MutableBackend>
  /** All of them, everybody's included. */
  readonly scopes: BackendsByScope
  /** Puts it where its scope and name say, and tells of it. */
  insert (backend: MutableBackend): void
  /** The backend of this name as the tenant has it; without a tenant, as everybody has. */
  resolve (name: string, scope?: Scope): Backend | undefined
  /** `scope`: a tenant's; of a tenant it has only what that tenant has used. @throws RangeError */
  existing (name: string, scope?: string): MutableBackend
  /** @throws RangeError */
  existingTarget (backend: Backend, url: string): MutableTarget
  /** Names that only tenants may have. */
  expect (names: Iterable<string>): void
  /** Whether anybody has such a backend. */
  isKnown (name: string): boolean
  /** Active targets at an origin, as the tenant has them. */
  findOrigin (origin: string, scope: Scope | undefined): Array<{ backend: Backend, target: Target }>
}

export function createStore ({ tell }: Pick<Watchers, 'tell'>): Store {
  const shared: Store['shared'] = new Map()
  const scopes: BackendsByScope = new Map([['', shared]])
  /** Backends that some tenant has, whether or not everybody has them. */
  const ofTenants = new Set<string>()

  function insert (backend: MutableBackend): void {
    let backends = scopes.get(backend.scope)
    if (backends === undefined) scopes.set(backend.scope, backends = new Map())
    backends.set(backend.name, backend)
    tell(backend)
  }

  function resolve (name: string, scope?: Scope): Backend | undefined {
    return scope === undefined ? shared.get(name) : scope.backend(name)
  }

  function existing (name: string, scope = ''): MutableBackend {
    const backend = scopes.get(scope)?.get(name)
    if (backend === undefined) {
      const whose = scope === '' ? '' : ` of the tenant ${JSON.stringify(scope)}`
      throw new RangeError(`there is no backend ${JSON.stringify(name)}${whose}; there are: ${[...scopes.get(scope)?.keys() ?? []].join(', ') || 'none'}`)
    }
    return backend
  }

  function findOrigin (origin: string, scope: Scope | undefined): Array<{ backend: Backend, target: Target }> {
    const backends = scope === undefined ? shared.values() : [...new Set([...shared.keys(), ...ofTenants])].flatMap(name => scope.backend(name) ?? [])
    return [...backends].flatMap(backend => backend.usable.filter(target => target.origin === origin).map(target => ({ backend, target })))
  }

  return {
    shared,
    scopes,
    insert,
    resolve,
    existing,
    existingTarget,
    expect (names) { for (const name of names) ofTenants.add(name) },
    isKnown: name => shared.has(name) || ofTenants.has(name),
    findOrigin
  }
}

function existingTarget (backend: Backend, url: string): MutableTarget {
  const wanted = addressOf(url).url
  const target = backend.targets.find(({ id }) => id === wanted)
  if (target === undefined) throw new RangeError(`backend ${backend.name} has no target ${JSON.stringify(url)}; it has: ${backend.targets.map(({ id }) => id).join(', ') || 'none'}`)
  return target
}
