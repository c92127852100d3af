/** What would become of a call now, by the code that decides it. */
import { foresee, refusal } from '../choose.ts'
import type { Call, Gate, Target } from '../types.ts'
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
      const excluded = found.includes(one) ? undefined : reasonOf(one, call, gates)
      return { url: id, state, weight, inflight, chosen: one === target, ...(excluded === undefined ? undefined : { excluded }) }
    }),
    chosen: target?.id ?? null,
    ...(error === undefined ? undefined : { error: answerTo(error) })
  }
}

function reasonOf (target: Target, call: Call, gates: readonly Gate[]): string {
  const { breaker, inflight, maxConnections, state, weight } = target
  if (state !== 'active') return state
  if (weight === 0) return 'weight 0'
  const reason = refusal(target, call, gates)
  switch (reason) {
    case 'circuit-open': return breaker === undefined ? reason : `circuit-open: a trial in ${Math.ceil(breaker.retryAfter / 1000)} s`
    case 'limit': return `limit: ${inflight} of ${maxConnections}`
    // a lot is drawn for each call
    case undefined: return 'warming'
    default: return reason
  }
}

/** As a client would see it. */
export function answerTo (error: Error): AnsweredWith {
  const { statusCode = 500, code } = error as { statusCode?: number, code?: string }
  return { statusCode, ...(code === undefined ? undefined : { code }), message: error.message }
}
