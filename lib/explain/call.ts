/** What would become of a call now, by the code that decides it. */
import { admitted, foresee, refusal } from '../choose.ts'
import type { Backend, Call, Candidacy, Gate, Target } from '../types.ts'
import type { AnsweredWith, CallExplanation, TargetExplanation } from './types.ts'

export function explainCall (call: Call, gates: readonly Gate[]): CallExplanation {
  const { backend, method, path, settings, timeouts } = call
  const { found, target, error } = foresee(call, gates)
  const { balancer, resilience: { circuitBreaker } } = backend.config
  const { concurrency } = backend.config.resilience
  // a tenant's calls take the places of the backend that it shares
  const slots = backend.slots ?? backend.shares?.slots
  return {
    backend: backend.name,
    method,
    path,
    settings: {
      timeouts,
      attempts: settings.retry.attempts,
      circuitBreaker: settings.breaks && circuitBreaker !== undefined,
      ...(concurrency === undefined ? undefined : { concurrency: { max: concurrency.max, taken: slots?.taken ?? 0, waiting: slots?.waiting ?? 0 } })
    },
    balancer: typeof balancer === 'string' ? balancer : balancer.type,
    targets: backend.targets.map((one): TargetExplanation => {
      const { id, state, weight, inflight } = one
      const excluded = found.includes(one) ? undefined : reasonOf(one, call, gates, found)
      return { url: id, state, weight, inflight, chosen: one === target, ...(excluded === undefined ? undefined : { excluded }) }
    }),
    chosen: target?.id ?? null,
    ...(error === undefined ? undefined : { error: answerTo(error) })
  }
}

/**
 * Why targets of a backend get no calls now, in the words of an explanation; those that get some are left out. What is warming up
 * gets some.
 */
export function exclusions (backend: Backend, gates: readonly Gate[]): Map<Target, string> {
  // a call that says nothing of its own
  const call: Candidacy = { backend, settings: { breaks: true }, tried: undefined }
  const found = admitted(call, gates)
  const fit = new Set(found)
  return new Map(backend.targets.flatMap(target => {
    const reason = fit.has(target) ? 'warming' : reasonOf(target, call, gates, found)
    return reason === 'warming' ? [] : [[target, reason] as const]
  }))
}

function reasonOf (target: Target, call: Candidacy, gates: readonly Gate[], found: readonly Target[]): string {
  const { breaker, inflight, maxConnections, state, weight } = target
  if (state !== 'active') return state
  if (weight === 0) return 'weight 0'
  const reason = refusal(target, call, gates)
  switch (reason) {
    case 'circuit-open': return breaker === undefined ? reason : `circuit-open: a trial in ${Math.ceil(breaker.retryAfter / 1000)} s`
    case 'limit': return `limit: ${inflight} of ${maxConnections}`
    // where nobody is chosen from, it is not for the target's own sake; else a lot is drawn for each call
    case 'warming':
    case undefined: return found.length === 0 ? 'panic' : 'warming'
    default: return reason
  }
}

/** As a client would see it. */
export function answerTo (error: Error): AnsweredWith {
  const { statusCode = 500, code } = error as { statusCode?: number, code?: string }
  return { statusCode, ...(code === undefined ? undefined : { code }), message: error.message }
}
