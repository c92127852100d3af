/**
 * Circuit breakers: one for each target, which stops being asked while it only fails.
 *
 * Stage: a gate on targets, a layer around each attempt, an observer of outcomes, and a layer around each call for what
 * is answered instead. Reads: the outcomes of attempts. Writes: `call.ticket`, `target.breaker`.
 */
import { isDeepStrictEqual } from 'node:util'
import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { createBreaker } from '../lib/circuit-breaker/index.ts'
import { answerOf, madeAnswer } from '../lib/fallback.ts'
import { CircuitOpenError, circuitOpen, InvalidCallError, TimeoutError } from '../lib/errors.ts'
import { UNTRIED } from '../lib/routes/call.ts'
import { unknownBackend } from '../lib/routes/lookup.ts'
import { Wait } from '../lib/wait.ts'
import type { Breaker, BreakerState, BreakerStats, Ticket } from '../lib/circuit-breaker/index.ts'
import type { BreakerConfig, BreakerName, Fallback, FallbackFunction } from '../lib/resilience/types.ts'
import type { Answer, Backend, Call, Layer, Send, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** The circuit breakers of all targets. Owner: plugins/circuit-breaker.ts */
    breakers: BreakersApi
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
}

const circuitBreaker: FastifyPluginAsync = async function circuitBreaker (fastify) {
  const { reverseproxy } = fastify
  const { clock, deadlines, registry } = reverseproxy
  const tools = {
    clock,
    onHookError: (error: unknown) => { fastify.log.error({ err: error }, 'a hook of a circuit breaker failed') }
  }

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
    if (ticket === undefined) return Promise.reject(circuitOpen(breaker.retryAfter, new Error(`backend ${call.backend.name}: the circuit has just opened`)))
    call.ticket = ticket
    return ticket.trial ? tryOut(next, call, ticket) : next(call)
  }

  const instead: Layer = next => function fallBack (call) {
    const { fallback } = call.settings
    if (fallback === undefined) return next(call)
    // a modifyRequest hook changes them, and is asked anew for another backend
    const { method, path } = call
    return next(call).catch((error: Error) => {
      // a redirect that leads to an open circuit: the backend has done what it was asked for
      if (!(error instanceof CircuitOpenError) || call.attempt?.outcome === 'ok') throw error
      return answerInstead(next, call, { method, path }, fallback, error)
    })
  }

  async function answerInstead (next: Send, call: Call, asked: Pick<Call, 'method' | 'path'>, fallback: Fallback, error: Error): Promise<Answer> {
    switch (fallback.kind) {
      case 'answer': return answerOf(fallback)
      case 'backend': {
        const other = towards({ ...call, ...asked }, fallback.backend)
        // the answer is that backend's, and goes to the client by what holds there
        Object.assign(call, { settings: other.settings })
        return await next(other)
      }
      case 'function': {
        const made = await make(call, fallback.make, error)
        if (made === undefined) throw error
        return madeAnswer(made)
      }
    }
  }

  /** What the function gives, as long as somebody waits for it. */
  function make (call: Call, fallback: FallbackFunction, error: Error): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const wait = new Wait(call, deadlines, reason => { reject(reason === 'expired' ? new TimeoutError() : reason) })
      wait.begin(call.deadline - clock.now())
      new Promise(resolve => { resolve(fallback(call.request, error)) }).then(
        made => { wait.wake(); resolve(made) },
        (thrown: unknown) => { wait.wake(); reject(thrown instanceof Error ? thrown : new InvalidCallError({ cause: thrown })) }
      )
    })
  }

  /** The same call to another backend, with what holds there. */
  function towards (call: Call, name: string): Call {
    const backend = registry.resolve(name, call.record.scope)
    if (backend === undefined) throw unknownBackend(name)
    const settings = reverseproxy.findSettings(call.settings.proxy, backend.config, call.record.scope?.config.limits)
    // what reply.proxy() was told of the time holds there, too
    const timeouts = call.timeouts === call.settings.timeouts ? settings.timeouts : call.timeouts
    const deadline = timeouts.total > 0 ? Math.min(call.deadline, clock.now() + timeouts.total) : call.deadline
    call.record.backend = name
    return { ...call, ...UNTRIED, backend, settings, timeouts, deadline }
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
    close (name, url, tenant) { every(name, url, tenant, breaker => { breaker.close() }) }
  }

  // other options, or a target that is gone: what was counted is of no use
  registry.watch((backend, gone) => {
    for (const target of gone) shutDown(target)
    for (const target of backend.targets) if (target.breaker !== undefined && !isSame(target.breaker.config, backend.config.resilience.circuitBreaker)) shutDown(target)
  })
  fastify.addHook('onClose', function closeBreakers (_fastify, closed) {
    for (const { targets } of registry.all()) targets.forEach(shutDown)
    closed()
  })
  reverseproxy.layer('fallback', instead)
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

export default fp(circuitBreaker, { name: 'reverseproxy-circuit-breaker', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward'] })
