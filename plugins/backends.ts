/**
 * Backends and their targets: the registry, the choice of a target, pools, and changes at run time.
 *
 * Stage: a layer around every attempt. Reads: configuration, gates, the targets' counters. Writes: `call.target`,
 * the targets' weight, state and pool.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createBalancer } from '../lib/balancing/index.ts'
import { choose, isRefused, refuse } from '../lib/choose.ts'
import { createRegistry } from '../lib/registry.ts'
import { createLookup } from '../lib/routes/lookup.ts'
import { createSettings } from '../lib/routes/settings.ts'
import type { BackendView, Registry } from '../lib/registry.ts'
import type { Lookup } from '../lib/routes/lookup.ts'
import type { FindSettings } from '../lib/routes/settings.ts'
import type { PoolView } from '../lib/pools.ts'
import type { FullBackendOption } from '../lib/options/index.ts'
import type { Backend, Balancer, BalancerConfig, Layer, PoolConfig, Target } from '../lib/types.ts'

type PoolOption = NonNullable<FullBackendOption['pool']>

declare module './core.ts' {
  interface ReverseProxy {
    /** Backends and targets at run time. Owner: plugins/backends.ts */
    backends: BackendsApi
    /** How each backend's targets are chosen. Owner: plugins/backends.ts */
    balancer: BalancerApi
    /** Connections to targets. Owner: plugins/backends.ts */
    pools: PoolsApi
    /** What the rooms look backends up in, by scope and name. Owner: plugins/backends.ts */
    registry: Registry
    /** Sees to it that a plan's backend and settings are those of now. Owner: plugins/backends.ts */
    lookup: Lookup
    /** What holds for calls of a route towards a backend. Owner: plugins/backends.ts */
    findSettings: FindSettings
  }
}

/** Changes at run time take effect with the next request; requests under way finish where they are. */
export interface BackendsApi {
  /** A new backend. @throws OptionsError for wrong options, Error when the name is taken */
  add (name: string, options: unknown): void
  /** Drains and forgets a backend; resolves when its last request has finished and its pools are closed. */
  remove (name: string): Promise<void>
  /** New options: targets of the same URL keep pool and counters, others are added or drained. */
  update (name: string, options: unknown): void
  get (name: string): BackendView | undefined
  list (): BackendView[]
  /** No new requests for one target, or for all; resolves when the running ones have finished and the pools are closed. `updateTarget(…, { active: true })` brings it back. */
  drain (name: string, url?: string): Promise<void>
  addTarget (name: string, target: unknown): void
  /** Drains a target and forgets it. */
  removeTarget (name: string, url: string): Promise<void>
  /** Changes `weight`, `maxConnections`, `metadata` or `active`. */
  updateTarget (name: string, url: string, changes: unknown): void
}

/** Of everybody's backends; what tenants have of them follows with their next request. @throws RangeError for a name that is not there */
export interface BalancerApi {
  get (backend: string): BalancerConfig
  /** As the option `balancer` of a backend; holds from the next choice on. The same one once more keeps its position. @throws OptionsError */
  set (backend: string, balancer: BalancerConfig): void
}

/** @throws RangeError for a name that is not there */
export interface PoolsApi {
  /** What holds for the connections of a backend. */
  options (backend: string): PoolConfig
  /** As the option `pool` of a backend. Where it changes, calls under way finish on the old connections. @throws OptionsError */
  configure (backend: string, pool: unknown): void
  /** The pools that there are now, of one backend or of all; tenants' own as well. A pool is made with the first call. */
  stats (backend?: string): PoolView[]
}

const backends: FastifyPluginAsync = async function backends (fastify) {
  const { reverseproxy } = fastify
  const { config, gates } = reverseproxy
  const registry = createRegistry({
    config,
    previous: reverseproxy.previous?.registry,
    createBalancer (balancer) {
      const made = createBalancer(balancer, config.balancers, { random: config.random })
      const type = typeof balancer === 'string' ? balancer : balancer.type
      return Object.hasOwn(config.balancers, type) ? checked(made, type) : made
    }
  })

  /** As everybody and as each tenant has it. */
  function allNamed (name: string): Backend[] {
    const named = registry.all().filter(backend => backend.name === name)
    return named.length > 0 ? named : [registry.existing(name)]
  }

  const layer: Layer = next => function chooseTarget (call) {
    try {
      if (call.target === undefined) call.target = choose(call, gates)
      // a redirect has named it; its limits hold all the same
      else if (isRefused(call.target, call, gates)) throw refuse(call, gates, [call.target])
    } catch (error) {
      return Promise.reject(error)
    }
    return next(call)
  }

  reverseproxy.registry = registry
  reverseproxy.backends = registry.api
  reverseproxy.balancer = {
    get: name => registry.existing(name).config.balancer,
    set (name, balancer) { registry.change(name, { balancer }) }
  }
  reverseproxy.pools = {
    options: name => registry.existing(name).config.pool,
    configure (name, pool) { registry.change(name, { pool: pool as PoolOption }) },
    stats: name => registry.pools.stats(name === undefined ? registry.all() : allNamed(name))
  }
  // policies are another room's, and first asked for with the first request
  reverseproxy.findSettings = createSettings(config, (proxy, backend, limits) => reverseproxy.policies(proxy, backend, limits))
  reverseproxy.lookup = createLookup({ config, registry, findSettings: reverseproxy.findSettings })
  reverseproxy.layer('choose', layer)
  reverseproxy.successions.push(function takeBackends () { registry.succeed() })
  fastify.addHook('onClose', function closePools () {
    return registry.close()
  })
}

/** A balancer of the user's own may be wrong; ours are not asked twice. */
function checked (balancer: Balancer, name: string): Balancer {
  return {
    pick: (targets, context) => among(balancer.pick(targets, context), targets, name),
    ...(balancer.peek === undefined ? undefined : { peek: (targets, context) => among(balancer.peek!(targets, context), targets, name) })
  }
}

function among (chosen: Target | undefined, targets: readonly Target[], name: string): Target | undefined {
  if (chosen !== undefined && !targets.includes(chosen)) throw new TypeError(`balancer ${name} chose something that is none of its targets`)
  return chosen
}

export default fp(backends, { name: 'reverseproxy-backends', fastify: '5.x', dependencies: ['reverseproxy-core'] })
