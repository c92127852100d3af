/** Tries of calls in numbers of our own, by backend and target. */
import { TENANTS } from './catalogue.ts'
import { Durations } from './durations.ts'
import { Latencies } from './latencies.ts'
import { numbersOf } from './numbers.ts'
import type { Attempt, Backend, Call, Outcome, Target } from '../types.ts'
import type { AttemptNumbers, BackendNumbers, Reader, Sample } from './types.ts'

/** All but `rejected`, which never left. */
const OUTCOMES = ['ok', 'client-error', 'server-error', 'connect-error', 'reset', 'timeout', 'bad-response', 'aborted'] as const satisfies readonly Outcome[]
const INDEX: Readonly<Record<string, number>> = Object.fromEntries(OUTCOMES.map((outcome, index) => [outcome, index]))

/** Reasons of tries that never left, by the code of their error. */
const REASONS: Readonly<Record<string, string>> = {
  RP_ERR_NO_TARGET: 'no-target',
  RP_ERR_CONNECTION_LIMIT: 'limit',
  RP_ERR_CIRCUIT_OPEN: 'circuit-open',
  RP_ERR_TIMEOUT: 'timeout',
  RP_ERR_ABORTED: 'aborted'
}

export interface AttemptMeters {
  /** A try that left has its outcome. */
  left (attempt: Attempt, call: Call, target: Target): void
  /** A try never left. */
  rejected (backend: string, error: unknown): void
  /** Forgets backends and targets that are nowhere any more. */
  prune (isKnown: (backend: string, target?: string) => boolean): void
  numbers (): Record<string, BackendNumbers>
  reset (): void
  readonly readers: Readonly<Record<'upstream_attempts_total' | 'upstream_attempt_duration_seconds' | 'retries_total' | 'rejected_total', Reader>>
}

/** Classes for their memory: there may be thousands. */
class TargetMeter {
  readonly outcomes = new Float64Array(OUTCOMES.length)
  /** What they were at the last reset. */
  base: Float64Array | undefined = undefined
  readonly latencies = new Latencies()

  constructor (readonly backend: BackendMeter) {}

  since (index: number): number {
    return this.outcomes[index]! - (this.base?.[index] ?? 0)
  }
}

class BackendMeter {
  readonly durations: Durations
  readonly rejected = new Map<string, number>()
  readonly targets = new Map<string, TargetMeter>()
  retries = 0
  base = { retries: 0, rejected: 0 }

  constructor (bounds: readonly number[]) {
    this.durations = new Durations(bounds)
  }

  get allRejected (): number {
    return sum([...this.rejected.values()])
  }
}

export function createAttemptMeters (bounds: readonly number[]): AttemptMeters {
  const backends = new Map<string, BackendMeter>()
  let known = new WeakMap<Target, TargetMeter>()

  function backendOf (name: string): BackendMeter {
    let meter = backends.get(name)
    if (meter === undefined) backends.set(name, meter = new BackendMeter(bounds))
    return meter
  }

  /** Targets of a tenant's own share a label: there may be as many as there are tenants. */
  function find (backend: Backend, target: Target): TargetMeter {
    const meter = backendOf(backend.name)
    const label = target.of === undefined && backend.scope !== '' ? TENANTS : target.id
    let found = meter.targets.get(label)
    if (found === undefined) meter.targets.set(label, found = new TargetMeter(meter))
    known.set(target, found)
    return found
  }

  return {
    left ({ outcome, duration }, call, target) {
      const meter = known.get(target) ?? find(call.backend, target)
      meter.outcomes[INDEX[outcome!] ?? 0]!++
      if (call.tried !== undefined) meter.backend.retries++
      // how long somebody waited before he went says nothing of the target
      if (outcome === 'aborted' || duration === undefined) return
      meter.backend.durations.observe(duration / 1000)
      meter.latencies.record(duration)
    },
    rejected (backend, error) {
      const { rejected } = backendOf(backend)
      const reason = REASONS[String((error as { code?: unknown } | null)?.code)] ?? 'other'
      rejected.set(reason, (rejected.get(reason) ?? 0) + 1)
    },
    prune (isKnown) {
      for (const [name, { targets }] of backends) {
        for (const target of targets.keys()) if (target !== TENANTS && !isKnown(name, target)) targets.delete(target)
        if (!isKnown(name)) backends.delete(name)
      }
      // a target that comes back under the same URL is a new series
      known = new WeakMap()
    },
    numbers: () => Object.fromEntries([...backends].map(([name, meter]) => [name, numbersOfBackend(meter)])),
    reset () {
      for (const meter of backends.values()) {
        meter.base = { retries: meter.retries, rejected: meter.allRejected }
        for (const target of meter.targets.values()) {
          target.base = target.outcomes.slice()
          target.latencies.reset()
        }
      }
    },
    readers: {
      upstream_attempts_total: () => [...backends].flatMap(([backend, { targets }]) => [...targets].flatMap(([target, { outcomes }]) =>
        OUTCOMES.flatMap((outcome, index): Sample[] => outcomes[index] === 0 ? [] : [{ labels: { backend, target, outcome }, value: outcomes[index]! }]))),
      upstream_attempt_duration_seconds: name => [...backends].flatMap(([backend, { durations }]) => durations.samples(name, { backend })),
      retries_total: () => [...backends].map(([backend, { retries }]) => ({ labels: { backend }, value: retries })),
      rejected_total: () => [...backends].flatMap(([backend, { rejected }]) => [...rejected].map(([reason, value]) => ({ labels: { backend, reason }, value })))
    }
  }
}

function numbersOfBackend (meter: BackendMeter): BackendNumbers {
  const targets = [...meter.targets]
  return {
    ...numbersOfTargets(targets.map(([, target]) => target)),
    retries: meter.retries - meter.base.retries,
    rejected: meter.allRejected - meter.base.rejected,
    targets: Object.fromEntries(targets.map(([url, target]) => [url, numbersOfTargets([target])]))
  }
}

function numbersOfTargets (targets: readonly TargetMeter[]): AttemptNumbers {
  const latencies = new Latencies()
  for (const target of targets) latencies.add(target.latencies)
  const byOutcome = Object.fromEntries(OUTCOMES.map((outcome, index) => [outcome, sum(targets.map(target => target.since(index)))])) as Record<typeof OUTCOMES[number], number>
  const attempts = sum(Object.values(byOutcome))
  const success = byOutcome.ok + byOutcome['client-error']
  return { attempts, success, failures: attempts - success - byOutcome.aborted, byOutcome, ...numbersOf(latencies) }
}

function sum (numbers: readonly number[]): number {
  return numbers.reduce((one, other) => one + other, 0)
}
