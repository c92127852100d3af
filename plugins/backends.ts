/**
 * Backends and their targets: the registry, the choice of a target, pools, and changes at run time.
 *
 * Stage: a layer around every attempt. Reads: configuration, gates, the targets' counters. Writes: `call.target`,
 * the targets' weight, state and pool.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createBalancer } from '../lib/balancing/index.ts'
import { BalancerError, ConnectionLimitError, NoTargetError } from '../lib/errors.ts'
import { createRegistry } from '../lib/registry.ts'
import { createLookup } from '../lib/routes/lookup.ts'
import { createSettings } from '../lib/routes/settings.ts'
import type { BackendView, Registry } from '../lib/registry.ts'
import type { Lookup } from '../lib/routes/lookup.ts'
import type { Backend, Balancer, Call, Gate, Layer, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Backends and targets at run time. Owner: plugins/backends.ts */
    backends: BackendsApi
    /** What the rooms look backends up in, by scope and name. Owner: plugins/backends.ts */
    registry: Registry
    /** Sees to it that a plan's backend and settings are those of now. Owner: plugins/backends.ts */
    lookup: Lookup
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

const backends: FastifyPluginAsync = async function backends (fastify) {
  const { reverseproxy } = fastify
  const { config, gates } = reverseproxy
  const registry = createRegistry({
    config,
    createBalancer (balancer) {
      const made = createBalancer(balancer, config.balancers, { random: config.random })
      const type = typeof balancer === 'string' ? balancer : balancer.type
      return Object.hasOwn(config.balancers, type) ? checked(made, type) : made
    }
  })

  const layer: Layer = next => function chooseTarget (call) {
    try {
      if (call.target === undefined) call.target = choose(call.backend, call, gates)
      // a redirect has named it; its limits hold all the same
      else if (refusal(call.target, call.backend, gates) !== undefined) throw refuse(call.backend, gates)
    } catch (error) {
      return Promise.reject(error)
    }
    return next(call)
  }

  reverseproxy.registry = registry
  reverseproxy.backends = registry.api
  // policies are another room's, and first asked for with the first request
  reverseproxy.lookup = createLookup({ config, registry, findSettings: createSettings(config, (proxy, backend) => reverseproxy.policies(proxy, backend)) })
  reverseproxy.layer('choose', layer)
  fastify.addHook('onClose', function closePools () {
    return registry.close()
  })
}

/** @throws NoTargetError, ConnectionLimitError (503), BalancerError (500) */
function choose (backend: Backend, call: Call, gates: readonly Gate[]): Target {
  const { usable } = backend
  if (usable.length === 0) throw new NoTargetError({ cause: new Error(`backend ${backend.name} has no active target`) })
  const first = usable.length === 1 ? usable[0]! : pick(backend, usable, call)
  if (refusal(first, backend, gates) === undefined) return first
  const admitted = usable.filter(target => refusal(target, backend, gates) === undefined)
  if (admitted.length > 0) return admitted.length === 1 ? admitted[0]! : pick(backend, admitted, call)
  throw refuse(backend, gates)
}

function refusal (target: Target, backend: Backend, gates: readonly Gate[]): string | undefined {
  if (target.inflight >= target.maxConnections) return 'limit'
  for (const gate of gates) {
    const reason = gate(target, backend)
    if (reason !== undefined) return reason
  }
  return undefined
}

function refuse (backend: Backend, gates: readonly Gate[]): Error {
  const reasons = backend.usable.map(target => `${target.id}: ${refusal(target, backend, gates) ?? 'free again'}`)
  const cause = new Error(`backend ${backend.name}: ${reasons.join(', ')}`)
  return reasons.every(reason => reason.endsWith(': limit')) ? new ConnectionLimitError({ cause }) : new NoTargetError({ cause })
}

function pick (backend: Backend, targets: readonly Target[], call: Call): Target {
  let chosen: Target | undefined
  try {
    chosen = backend.balancer.pick(targets, call)
  } catch (cause) {
    throw new BalancerError({ cause })
  }
  if (chosen === undefined) throw new NoTargetError({ cause: new Error(`the balancer of ${backend.name} chose none`) })
  return chosen
}

/** A balancer of the user's own may be wrong; ours are not asked twice. */
function checked (balancer: Balancer, name: string): Balancer {
  return {
    pick (targets, context) {
      const chosen = balancer.pick(targets, context)
      if (chosen !== undefined && !targets.includes(chosen)) throw new TypeError(`balancer ${name} chose something that is none of its targets`)
      return chosen
    }
  }
}

export default fp(backends, { name: 'reverseproxy-backends', fastify: '5.x', dependencies: ['reverseproxy-core'] })
