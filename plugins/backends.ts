/**
 * Backends and their targets: the registry, the choice of a target, pools, and changes at run time.
 *
 * Stage: a layer around every attempt. Reads: configuration, gates, the targets' counters. Writes: `call.target`,
 * the targets' weight, state and pool.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createBalancer } from '../lib/balancing/index.ts'
import { BalancerError, ConnectionLimitError, NoTargetError, circuitOpen } from '../lib/errors.ts'
import { candidates } from '../lib/health/index.ts'
import { createRegistry } from '../lib/registry.ts'
import { createLookup } from '../lib/routes/lookup.ts'
import { createSettings } from '../lib/routes/settings.ts'
import type { BackendView, Registry } from '../lib/registry.ts'
import type { Lookup } from '../lib/routes/lookup.ts'
import type { FindSettings } from '../lib/routes/settings.ts'
import type { PanicConfig } from '../lib/resilience/types.ts'
import type { Backend, Balancer, Call, Gate, Layer, Refusal, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Backends and targets at run time. Owner: plugins/backends.ts */
    backends: BackendsApi
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
  // policies are another room's, and first asked for with the first request
  reverseproxy.findSettings = createSettings(config, (proxy, backend, limits) => reverseproxy.policies(proxy, backend, limits))
  reverseproxy.lookup = createLookup({ config, registry, findSettings: reverseproxy.findSettings })
  reverseproxy.layer('choose', layer)
  fastify.addHook('onClose', function closePools () {
    return registry.close()
  })
}

/** @throws NoTargetError, ConnectionLimitError, CircuitOpenError (503), BalancerError (500) */
function choose (call: Call, gates: readonly Gate[]): Target {
  const { backend } = call
  const { usable, config: { resilience: { panic } } } = backend
  if (usable.length === 0) throw new NoTargetError({ cause: new Error(`backend ${backend.name} has no active target`) })
  const first = usable.length === 1 ? usable[0]! : pick(backend, usable, call)
  const fits = refusal(first, call, gates) === undefined
  if (fits && panic?.mode !== '503') return first
  const found = findCandidates(usable, call, gates, panic)
  if (found.length === 0) throw refuse(call, gates, usable)
  if (fits || found.length === usable.length) return first
  return found.length === 1 ? found[0]! : pick(backend, found, call)
}

/** Those that may be used; where there are none, those that only a wish speaks against; in a panic the sick as well. */
function findCandidates (usable: readonly Target[], call: Call, gates: readonly Gate[], panic: PanicConfig | undefined): Target[] {
  const reasons = usable.map(target => refusal(target, call, gates))
  // an open circuit does not make a sick target less sick
  const sick = panic === undefined ? 0 : usable.filter(target => gates.some(gate => isSick(gate(target, call.backend, call)))).length
  const use = candidates(usable.length - sick, usable.length, panic)
  if (use === 'none') return []
  // in a panic health is overlooked, not circuits, limits and wishes
  if (use === 'all') reasons.forEach((reason, index) => { if (reason !== undefined) reasons[index] = refusal(usable[index]!, call, gates, true) })
  const admitted = usable.filter((_, index) => reasons[index] === undefined)
  return admitted.length > 0 ? admitted : usable.filter((_, index) => reasons[index] === 'warming' || reasons[index] === 'tried')
}

function isSick (reason: Refusal | undefined): boolean {
  return reason === 'unhealthy' || reason === 'ejected'
}

/** Wishes come last: what may not be used at all is not wished for either. */
function refusal (target: Target, call: Call, gates: readonly Gate[], sickToo = false): Refusal | undefined {
  let wish: Refusal | undefined = call.tried?.includes(target) === true ? 'tried' : undefined
  for (const gate of gates) {
    const reason = gate(target, call.backend, call)
    if (reason === 'warming') wish = reason
    else if (reason !== undefined && !(sickToo && isSick(reason))) return reason
  }
  return target.inflight >= target.maxConnections ? 'limit' : wish
}

/** A target that was named is used whatever may be wished. */
function isRefused (target: Target, call: Call, gates: readonly Gate[]): boolean {
  const reason = refusal(target, call, gates)
  return reason !== undefined && reason !== 'warming' && reason !== 'tried'
}

/** Why none of these targets may be used. */
function refuse (call: Call, gates: readonly Gate[], targets: readonly Target[]): Error {
  const reasons = targets.map(target => refusal(target, call, gates))
  const cause = new Error(`backend ${call.backend.name}: ${targets.map(({ id }, index) => `${id}: ${reasons[index] ?? 'free again'}`).join(', ')}`)
  if (reasons.includes('circuit-open') && reasons.every(reason => reason === 'circuit-open' || isSick(reason))) {
    return circuitOpen(Math.min(...targets.flatMap(({ breaker }) => breaker === undefined || breaker.admits ? [] : [breaker.retryAfter])), cause)
  }
  return reasons.every(reason => reason === 'limit') ? new ConnectionLimitError({ cause }) : new NoTargetError({ cause })
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
