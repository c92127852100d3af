/**
 * A target as one tenant sees it. URL, weight, state, load and (unless it has connections of its own) the pool are those of
 * the target that all tenants share; breaker and passive health are the tenant's.
 */
import type { Dispatcher } from 'undici'
import type { Breaker } from '../circuit-breaker/index.ts'
import type { TargetHealth } from '../health/index.ts'
import type { Metadata, Target, TargetState } from '../types.ts'

export class TenantTarget implements Target {
  readonly id: string
  readonly origin: string
  readonly basePath: string
  breaker: Breaker | undefined = undefined
  health: TargetHealth | undefined = undefined
  /** Called whenever the last of this tenant's calls has ended. Writer: lib/registry/leaving.ts */
  onLeft: (() => void) | undefined = undefined
  #running = 0
  #dispatcher: Dispatcher | undefined = undefined

  constructor (readonly of: Target, readonly ownPool: boolean) {
    this.id = of.id
    this.origin = of.origin
    this.basePath = of.basePath
  }

  get metadata (): Metadata { return this.of.metadata }
  get weight (): number { return this.of.weight }
  get maxConnections (): number { return this.of.maxConnections }
  get state (): TargetState { return this.of.state }

  // what runs there is the same for all: a target is not less busy because others keep it so
  get inflight (): number { return this.of.inflight }
  set inflight (inflight) {
    this.#running += inflight - this.of.inflight
    this.of.inflight = inflight
    if (this.#running === 0) this.onLeft?.()
  }

  get started (): number { return this.of.started }
  set started (started) { this.of.started = started }
  get onIdle (): (() => void) | undefined { return this.of.onIdle }
  set onIdle (onIdle) { this.of.onIdle = onIdle }

  get dispatcher (): Dispatcher | undefined { return this.ownPool ? this.#dispatcher : this.of.dispatcher }
  set dispatcher (dispatcher) {
    if (this.ownPool) this.#dispatcher = dispatcher
    else this.of.dispatcher = dispatcher
  }
}
