/**
 * Connections, shared: one undici pool for each origin and set of connection options within a scope. A thousand
 * backends on one host keep warm connections then instead of a thousand cold ones; another tenant, or other TLS
 * options, never share.
 */
import { addressOf, createPool, numbersOf, sumOf } from './pool.ts'
import type { Dispatcher } from 'undici'
import type { Backend, BackendConfig, Target } from './types.ts'

interface Shared {
  readonly key: string
  readonly dispatcher: Dispatcher
  readonly users: Set<Target>
}

/** The connections to one origin: a snapshot. A stream of HTTP/2 is a request like any other here. */
export interface PoolView {
  readonly origin: string
  /** The tenant whose they are; undefined: everybody's. */
  readonly tenant: string | undefined
  readonly backends: readonly string[]
  /** URLs of the targets that use them now. */
  readonly targets: readonly string[]
  /** Open connections. */
  readonly connected: number
  /** Open connections without a request. */
  readonly free: number
  /** Requests that a connection was found for, and that have not begun to leave. */
  readonly pending: number
  /** Requests that wait for a connection. */
  readonly queued: number
  /** Requests under way. */
  readonly running: number
  /** `running`, `pending` and `queued` together. */
  readonly size: number
}

export type PoolNumbers = Pick<PoolView, 'connected' | 'free' | 'pending' | 'queued' | 'running' | 'size'>

export interface Pools {
  /** The pool of a target, made or joined when it is first needed. */
  open (target: Target, backend: Backend): Dispatcher
  /** The same for connections that may become WebSockets: HTTP/2 has no upgrade (RFC 9113 section 8.6). */
  openForUpgrade (target: Target, backend: Backend): Dispatcher
  /** The target needs it no more; the last one closes it, and waits until it is closed. */
  leave (target: Target): Promise<void>
  /** New requests of everyone on the target's pool get a new one; requests under way finish on the old. */
  replace (target: Target): void
  /** The pools that targets of these backends use now. */
  stats (backends: readonly Backend[]): PoolView[]
  /** Waits `ms` at most for requests under way, then closes every connection. */
  close (ms: number): Promise<void>
}

export function createPools (): Pools {
  const byKey = new Map<string, Shared>()
  const ofTarget = new Map<Target, Shared>()
  /** HTTP/2 pools that have one for HTTP/1.1 besides. */
  const twins = new Map<Dispatcher, Dispatcher>()
  /** Tenants' views of a target that have connections of their own. */
  const viewsOf = new Map<Target, Set<Target>>()

  function open (target: Target, backend: Backend): Dispatcher {
    if (target.dispatcher !== undefined) return target.dispatcher
    if (target.of !== undefined && !target.ownPool) return open(target.of, backend.shares!)
    const key = keyOf(target, backend)
    let shared = byKey.get(key)
    if (shared === undefined) byKey.set(key, shared = { key, dispatcher: createPool(target.id, backend.config), users: new Set() })
    shared.users.add(target)
    ofTarget.set(target, shared)
    target.dispatcher = shared.dispatcher
    if (target.of !== undefined) viewsOf.set(target.of, (viewsOf.get(target.of) ?? new Set()).add(target))
    return shared.dispatcher
  }

  function openForUpgrade (target: Target, backend: Backend): Dispatcher {
    const dispatcher = open(target, backend)
    if (!backend.config.http2) return dispatcher
    let twin = twins.get(dispatcher)
    if (twin === undefined) twins.set(dispatcher, twin = createPool(target.id, { ...backend.config, http2: false }))
    return twin
  }

  async function leave (target: Target): Promise<void> {
    const views = viewsOf.get(target) ?? []
    viewsOf.delete(target)
    await Promise.all([target, ...views].map(leaveOne))
  }

  async function leaveOne (target: Target): Promise<void> {
    const shared = forget(target)
    if (shared === undefined || shared.users.size > 0) return
    if (byKey.get(shared.key) === shared) byKey.delete(shared.key)
    await closed(shared.dispatcher)
  }

  function forget (target: Target): Shared | undefined {
    const shared = ofTarget.get(target)
    target.dispatcher = undefined
    ofTarget.delete(target)
    if (target.of !== undefined) viewsOf.get(target.of)?.delete(target)
    shared?.users.delete(target)
    return shared
  }

  function replace (target: Target): void {
    const shared = ofTarget.get(target.of !== undefined && !target.ownPool ? target.of : target)
    if (shared === undefined) return
    byKey.delete(shared.key)
    for (const user of [...shared.users]) forget(user)
    closed(shared.dispatcher)
  }

  async function close (ms: number): Promise<void> {
    const dispatchers = [...byKey.values()].flatMap(({ dispatcher }) => [dispatcher, ...twins.has(dispatcher) ? [twins.get(dispatcher)!] : []])
    let timer: NodeJS.Timeout | undefined
    await Promise.race([Promise.all(dispatchers.map(closed)), new Promise(resolve => { timer = setTimeout(resolve, ms) })])
    clearTimeout(timer)
    await Promise.all(dispatchers.map(dispatcher => dispatcher.destroy().catch(() => {})))
  }

  function stats (backends: readonly Backend[]): PoolView[] {
    const found = new Map<Dispatcher, { readonly target: Target, readonly scope: string, readonly backends: Set<string>, readonly targets: Set<string> }>()
    for (const { name, scope, shares, targets } of backends) {
      for (const target of targets) {
        const own = target.of === undefined || target.ownPool
        const { dispatcher } = own ? target : target.of
        if (dispatcher === undefined) continue
        let users = found.get(dispatcher)
        if (users === undefined) found.set(dispatcher, users = { target, scope: own ? scope : shares?.scope ?? '', backends: new Set(), targets: new Set() })
        users.backends.add(name)
        users.targets.add(target.id)
      }
    }
    return [...found].map(([dispatcher, { target, scope, backends, targets }]) => ({
      origin: target.origin,
      tenant: scope === '' ? undefined : scope,
      backends: [...backends],
      targets: [...targets],
      ...sumOf([dispatcher, twins.get(dispatcher)].flatMap(one => one === undefined ? [] : [numbersOf(one)]))
    }))
  }

  /** A pool that was destroyed meanwhile is closed as well. */
  async function closed (dispatcher: Dispatcher): Promise<void> {
    const twin = twins.get(dispatcher)
    twins.delete(dispatcher)
    await Promise.all([dispatcher, twin].map(one => one?.close().catch(() => {})))
  }

  return { open, openForUpgrade, leave, replace, stats, close }
}

/** What must be the same for two targets to share connections. */
function keyOf (target: Target, backend: Backend): string {
  const { origin, socketPath } = addressOf(target.id)
  return JSON.stringify([backend.scope, origin, socketPath, connectionOptions(backend.config)])
}

/** The options that live in a pool. */
export function connectionOptions ({ pool, tls, http2, httpProxy, timeout }: BackendConfig): unknown {
  return [pool, tls, http2, timeout.connect, httpProxy]
}
