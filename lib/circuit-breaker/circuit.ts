/**
 * opossum's share of a breaker: the state of a circuit that is not closed, and the events of its changes.
 *
 * Only that, because the rest does not fit a gateway:
 * - `fire()` makes a promise, a closure and several events a call, and counts for good once it is called. Calls are counted by the breaker.
 * - Its rolling statistics turn on an interval per circuit. They are given a source of turns that never turns, and no snapshots.
 * - Its reset timer is the global `setTimeout`; it takes no clock, and there is no public `halfOpen()`. So its own timer is set to
 *   the longest there is, and the change to half-open is made on the breaker's clock through what opossum offers for a circuit
 *   that is handed over: the `state` option (README, "Breaker State Initialization").
 *
 * Source: opossum 9.0.0, lib/circuit.js and lib/status.js.
 */
import { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'

/** Longest delay of a timer (2³¹ - 1 ms, 24.8 days); Node makes 1 ms of anything longer. */
export const LONGEST_DELAY = 2_147_483_647

/** What is used of opossum. */
export type Circuit = Pick<CircuitBreaker, 'opened' | 'halfOpen' | 'open' | 'close' | 'shutdown'>

/** Told of opossum's events. */
export interface CircuitListener {
  opened (): void
  closed (): void
}

/** `@types/opossum` does not know `state`. */
type Options = CircuitBreaker.Options & { readonly state: { readonly closed: boolean, readonly halfOpen: boolean } }

/** A circuit that has yet to be opened, or one that is half-open already (for which opossum has no event). */
export function createCircuit (name: string, begin: 'closed' | 'half-open', listener: CircuitListener): Circuit {
  const options: Options = {
    name,
    resetTimeout: LONGEST_DELAY,
    timeout: false,
    rollingCountBuckets: 1,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    rotateBucketController: new EventEmitter(),
    state: { closed: begin === 'closed', halfOpen: begin === 'half-open' }
  }
  const circuit = new CircuitBreaker(neverFired, options)
  circuit.on('open', () => listener.opened())
  circuit.on('close', () => listener.closed())
  return circuit
}

async function neverFired (): Promise<void> {}
