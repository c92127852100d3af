/**
 * Circuit breakers: one for each target, which stops being asked while it only fails.
 *
 * Stage: a gate on targets, a layer around each attempt, an observer of outcomes, and a layer around each call for what
 * is answered instead. Reads: the outcomes of attempts. Writes: `call.ticket`, `target.breaker`.
 */
import { isDeepStrictEqual } from 'node:util'
import fp from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyPluginAsync } from 'fastify'
import { createBreaker } from '../lib/circuit-breaker/index.ts'
import { createInstead } from '../lib/circuit-breaker/instead.ts'
import { because, circuitOpen } from '../lib/errors.ts'
import type { Clock } from '../lib/deadlines.ts'
import type { Breaker, BreakerState, BreakerStats, Ticket } from '../lib/circuit-breaker/index.ts'
import type { FullBackendOption } from '../lib/options/index.ts'
import type { BreakerConfig, BreakerName } from '../lib/resilience/types.ts'
import type { Answer, Backend, Call, Layer, Send, Target } from '../lib/types.ts'

type BreakerOption = NonNullable<FullBackendOption['circuitBreaker']>

declare module './core.ts' {
  interface ReverseProxy {
    /** The circuit breakers of all targets. Owner: plugins/circuit-breaker.ts */
    breakers: BreakersApi
    /** Told of every change of a breaker's state; rooms push theirs at boot. Owner: plugins/circuit-breaker.ts */
    breakerChanges: BreakerChange[]
    /** Whom the breakers tell. Owner: plugins/circuit-breaker.ts */
    breakersTell: Told
  }
}

/** A breaker as it is now: a snapshot. */
export interface BreakerView extends BreakerName {
  readonly state: BreakerState
  /** ms until it lets a trial through; 0 while it lets calls in. */
  readonly retryAfter: number
  readonly stats: BreakerStats
}

/**
 * Targets by their URL; without one, all of the backend. `tenant`: those of a tenant that has used the backend; without one,
 * those of requests without a tenant. @throws RangeError for names that are not there
 */
export interface BreakersApi {
  /** Of a backend: that of the first target that has one. */
  get (backend: string, target?: string, tenant?: string): BreakerView | undefined
  /** Those that have seen a call. */
  list (): BreakerView[]
  /** Opens as a failure would: trials begin after `resetTimeout`. */
  open (backend: string, target?: string, tenant?: string): void
  /** Closes, and forgets what was counted. */
  close (backend: string, target?: string, tenant?: string): void
  /** What holds for the backend's circuits; undefined: they are switched off. */
  options (backend: string): BreakerConfig | undefined
  /**
   * As the option `circuitBreaker` of a backend, for every target and, from its next request on, every tenant that says nothing else.
   * What was counted stays and is held against the new options; an open circuit stays open until the new `resetTimeout` after it
   * opened. `false` closes them and forgets. @throws OptionsError
   */
  configure (backend: string, circuitBreaker: BreakerOption): void
}

type BreakerChange = (breaker: BreakerName, state: BreakerState) => void

interface Told {
  changes: readonly BreakerChange[]
  log: FastifyBaseLogger
}

const circuitBreaker: FastifyPluginAsync = async function circuitBreaker (fastify) {
  const { reverseproxy } = fastify
  const { clock, deadlines, findSettings, registry } = reverseproxy
  const changes: BreakerChange[] = reverseproxy.breakerChanges = []
  // breakers live on where a gateway takes the place of this one, and tell it from then on
  const told: Told = reverseproxy.breakersTell = reverseproxy.previous?.breakersTell ?? { changes, log: fastify.log }
  reverseproxy.successions.push(() => { Object.assign(told, { changes, log: fastify.log }) })
  const tools = toolsOf(clock, told)

  function breakerOf (target: Target, backend: Backend): Breaker | undefined {
    const config = backend.config.resilience.circuitBreaker
    if (config === undefined) return undefined
    target.breaker ??= createBreaker({ scope: backend.scope, backend: backend.name, target: target.id }, config, tools)
    return target.breaker
  }

  reverseproxy.gates.push(function circuit (target, _backend, call) {
    return target.breaker === undefined || target.breaker.admits || !call.settings.breaks ? undefined : 'circuit-open'
  })

  reverseproxy.observers.push(function countOutcome (attempt, { ticket }) {
    if (ticket !== undefined) ticket.breaker.record(ticket, attempt.outcome!)
  })

  const layer: Layer = next => function passBreaker (call) {
    if (!call.settings.breaks) return next(call)
    const breaker = breakerOf(call.target!, call.backend)
    // a redirect has led to a backend without one, or it was switched off while the call waited
    if (breaker === undefined) return next(call)
    const ticket = breaker.enter()
    // the gate was asked a moment ago, within the same tick
    if (ticket === undefined) return Promise.reject(circuitOpen(breaker.retryAfter, because(`backend ${call.backend.name}: the circuit has just opened`)))
    call.ticket = ticket
    return ticket.trial ? tryOut(next, call, ticket) : next(call)
  }

  function named (name: string, url: string | undefined, tenant: string | undefined): Array<{ backend: Backend, target: Target }> {
    const backend = registry.existing(name, tenant)
    return (url === undefined ? backend.targets : [registry.existingTarget(backend, url)]).map(target => ({ backend, target }))
  }

  function every (name: string, url: string | undefined, tenant: string | undefined, act: (breaker: Breaker) => void): void {
    for (const { backend, target } of named(name, url, tenant)) {
      const breaker = breakerOf(target, backend)
      if (breaker === undefined) throw new RangeError(`backend ${name} has no circuit breaker: it is switched off`)
      act(breaker)
    }
  }

  reverseproxy.breakers = {
    get: (name, url, tenant) => named(name, url, tenant).flatMap(({ target: { breaker } }) => breaker === undefined ? [] : [viewOf(breaker)])[0],
    list: () => registry.all().flatMap(({ targets }) => targets.flatMap(({ breaker }) => breaker === undefined ? [] : [viewOf(breaker)])),
    open (name, url, tenant) { every(name, url, tenant, breaker => { breaker.open() }) },
    close (name, url, tenant) { every(name, url, tenant, breaker => { breaker.close() }) },
    options: name => registry.existing(name).config.resilience.circuitBreaker,
    configure (name, circuitBreaker) {
      changing = name
      try {
        registry.change(name, { circuitBreaker })
        changed.set(registry.existing(name), registry.existing(name).config.resilience.circuitBreaker)
      } finally {
        changing = undefined
      }
    }
  }

  /** Whose options `configure` is about to change. */
  let changing: string | undefined
  /** What `configure` made of them: a tenant's circuits follow later, and keep what they know as well. */
  const changed = new WeakMap<Backend, BreakerConfig | undefined>()

  function isByHand ({ name, scope }: Backend): boolean {
    if (name === changing) return true
    const base = scope === '' ? undefined : registry.resolve(name)
    return base !== undefined && changed.has(base) && changed.get(base) === base.config.resilience.circuitBreaker
  }

  // another configuration, or a target that is gone: what was counted is of no use
  registry.watch((backend, gone) => {
    for (const target of gone) shutDown(target)
    const { circuitBreaker } = backend.config.resilience
    for (const target of backend.targets) {
      if (target.breaker === undefined || isSame(target.breaker.config, circuitBreaker)) continue
      if (circuitBreaker !== undefined && isByHand(backend)) target.breaker.configure(circuitBreaker)
      else shutDown(target)
    }
  })
  fastify.addHook('onClose', function closeBreakers (_fastify, closed) {
    for (const { targets } of registry.all()) targets.forEach(shutDown)
    closed()
  })
  reverseproxy.layer('fallback', createInstead({ clock, deadlines, registry, findSettings }))
  reverseproxy.layer('breaker', layer)
}

/** A trial's place is free again when the call is over, whatever became of it. */
function tryOut (next: Send, call: Call, ticket: Ticket): Promise<Answer> {
  return next(call).finally(() => { ticket.breaker.release(ticket) })
}

function shutDown (target: Target): void {
  target.breaker?.shutdown()
  target.breaker = undefined
}

/** Whether two say the same of the circuit; an update makes all options anew. Functions are the same only if they are the same object. */
function isSame (one: BreakerConfig, other: BreakerConfig | undefined): boolean {
  return one === other || (other !== undefined && isDeepStrictEqual({ ...one, fallback: undefined }, { ...other, fallback: undefined }))
}

function viewOf (breaker: Breaker): BreakerView {
  return { ...breaker.name, state: breaker.state, retryAfter: Math.round(breaker.retryAfter), stats: breaker.stats }
}

/** Made outside of the room: what breakers keep must not hold a gateway that is over. */
function toolsOf (clock: Clock, told: Told) {
  return {
    clock,
    onChange: ({ name }: Breaker, state: BreakerState) => { for (const change of told.changes) change(name, state) },
    onHookError: (error: unknown) => { told.log.error({ err: error }, 'a hook of a circuit breaker failed') }
  }
}

export default fp(circuitBreaker, { name: 'reverseproxy-circuit-breaker', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward'] })
