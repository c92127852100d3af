/** Which target a call goes to: the balancer's word, among those that no gate speaks against. */
import { BalancerError, ConnectionLimitError, NoTargetError, because, circuitOpen } from './errors.ts'
import { candidates } from './health/index.ts'
import type { PanicConfig } from './resilience/types.ts'
import type { Backend, Call, Candidacy, Gate, Refusal, Target } from './types.ts'

/** @throws NoTargetError, ConnectionLimitError, CircuitOpenError (503), BalancerError (500) */
export function choose (call: Call, gates: readonly Gate[]): Target {
  const { backend } = call
  const { usable, config: { resilience: { panic } } } = backend
  if (usable.length === 0) throw noTarget(backend)
  const first = usable.length === 1 ? usable[0]! : pick(backend, usable, call)
  const fits = refusal(first, call, gates) === undefined
  if (fits && panic?.mode !== '503') return first
  const found = findCandidates(usable, call, gates, panic)
  if (found.length === 0) throw refuse(call, gates, usable)
  if (fits || found.length === usable.length) return first
  return found.length === 1 ? found[0]! : pick(backend, found, call)
}

/** What `choose` would come to. */
export interface Foreseen {
  /** Those it chooses among. */
  readonly found: readonly Target[]
  /** undefined: none; or chance decides among several, or a balancer that cannot say it beforehand. */
  readonly target: Target | undefined
  /** What it would throw. */
  readonly error: Error | undefined
}

/** What `choose` would come to now; nothing moves. */
export function foresee (call: Call, gates: readonly Gate[]): Foreseen {
  const { backend } = call
  const { usable } = backend
  const found = admitted(call, gates)
  try {
    if (usable.length === 0) throw noTarget(backend)
    if (found.length === 0) throw refuse(call, gates, usable)
    const first = peek(backend, usable, call)
    const target = first === undefined || found.includes(first) ? first ?? (found.length === 1 ? found[0] : undefined) : peek(backend, found, call)
    return { found, target, error: undefined }
  } catch (error) {
    return { found, target: undefined, error: error as Error }
  }
}

/** Those that `choose` would choose among now; nothing moves. */
export function admitted (call: Candidacy, gates: readonly Gate[]): readonly Target[] {
  const { usable, config: { resilience: { panic } } } = call.backend
  return usable.length === 0 ? [] : findCandidates(usable, call, gates, panic)
}

/** Those that may be used; where there are none, those that only a wish speaks against; in a panic the sick as well. */
function findCandidates (usable: readonly Target[], call: Candidacy, gates: readonly Gate[], panic: PanicConfig | undefined): Target[] {
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

/** What speaks against a target. Wishes come last: what may not be used at all is not wished for either. */
export function refusal (target: Target, call: Candidacy, gates: readonly Gate[], sickToo = false): Refusal | undefined {
  let wish: Refusal | undefined = call.tried?.includes(target) === true ? 'tried' : undefined
  for (const gate of gates) {
    const reason = gate(target, call.backend, call)
    if (reason === 'warming') wish = reason
    else if (reason !== undefined && !(sickToo && isSick(reason))) return reason
  }
  return target.inflight >= target.maxConnections ? 'limit' : wish
}

/** A target that was named is used whatever may be wished. */
export function isRefused (target: Target, call: Candidacy, gates: readonly Gate[]): boolean {
  const reason = refusal(target, call, gates)
  return reason !== undefined && reason !== 'warming' && reason !== 'tried'
}

/** Why none of these targets may be used. */
export function refuse (call: Candidacy, gates: readonly Gate[], targets: readonly Target[]): Error {
  const reasons = targets.map(target => refusal(target, call, gates))
  const cause = because(`backend ${call.backend.name}: ${targets.map(({ id }, index) => `${id}: ${reasons[index] ?? 'free again'}`).join(', ')}`)
  if (reasons.includes('circuit-open') && reasons.every(reason => reason === 'circuit-open' || isSick(reason))) {
    return circuitOpen(Math.min(...targets.flatMap(({ breaker }) => breaker === undefined || breaker.admits ? [] : [breaker.retryAfter])), cause)
  }
  return reasons.every(reason => reason === 'limit') ? new ConnectionLimitError({ cause }) : new NoTargetError({ cause })
}

function noTarget ({ name }: Backend): Error {
  return new NoTargetError({ cause: because(`backend ${name} has no active target`) })
}

function peek ({ balancer }: Backend, targets: readonly Target[], call: Call): Target | undefined {
  if (targets.length === 1) return targets[0]
  try {
    return balancer.peek?.(targets, call)
  } catch (cause) {
    throw new BalancerError({ cause })
  }
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
