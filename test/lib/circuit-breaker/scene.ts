/** A breaker on a virtual clock, and what it told of itself. */
import { createBreaker } from '../../../lib/circuit-breaker/index.ts'
import type { Breaker, BreakerState, BreakerTools, Ticket } from '../../../lib/circuit-breaker/index.ts'
import type { Clock } from '../../../lib/deadlines.ts'
import type { BreakerConfig, BreakerName } from '../../../lib/resilience/types.ts'
import type { Outcome } from '../../../lib/types.ts'
import { virtualClock } from '../../helper/time.ts'

export const name: BreakerName = Object.freeze({ scope: 'acme', backend: 'users', target: 'http://127.0.0.1:4001' })

/** Three failures in a row open it, for a second. */
export function breakerConfig (changes: Partial<BreakerConfig> = {}): BreakerConfig {
  return {
    failureThreshold: 3,
    errorThresholdPercentage: undefined,
    volumeThreshold: 10,
    rollingWindow: 10_000,
    resetTimeout: 1000,
    halfOpenTrials: 1,
    outcomes: ['server-error', 'connect-error', 'reset', 'timeout', 'bad-response'],
    onOpen: undefined,
    onClose: undefined,
    onHalfOpen: undefined,
    fallback: undefined,
    ...changes
  }
}

/** What a config counts when only the share decides. */
export const byShare = { failureThreshold: undefined, errorThresholdPercentage: 50, volumeThreshold: 4 }

export interface Scene {
  readonly breaker: Breaker
  readonly clock: ReturnType<typeof virtualClock>
  /** Changes of the state, each with its time. */
  readonly changes: Array<readonly [state: BreakerState, at: number]>
  /** One call after another, each with its outcome. Throws when one is not let in. */
  calls (...outcomes: Outcome[]): void
  /** Goes in; throws when it is not let in. */
  enter (): Ticket
}

export function scene (changes: Partial<BreakerConfig> = {}, tools: Partial<BreakerTools> = {}): Scene {
  const clock = virtualClock()
  const told: Scene['changes'] = []
  const breaker = createBreaker(name, breakerConfig(changes), {
    clock: asClock(clock),
    onChange: (_breaker, state) => { told.push([state, clock.now()]) },
    ...tools
  })
  function enter (): Ticket {
    const ticket = breaker.enter()
    if (ticket === undefined) throw new Error(`the breaker is ${breaker.state} and does not admit`)
    return ticket
  }
  function calls (...outcomes: Outcome[]): void {
    for (const outcome of outcomes) {
      const ticket = enter()
      breaker.record(ticket, outcome)
      breaker.release(ticket)
    }
  }
  return { breaker, clock, changes: told, calls, enter }
}

export function asClock (clock: ReturnType<typeof virtualClock>): Clock {
  return clock as unknown as Clock
}

/** `count` times the same. */
export function times (count: number, outcome: Outcome): Outcome[] {
  return new Array<Outcome>(count).fill(outcome)
}
