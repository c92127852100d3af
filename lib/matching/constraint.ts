/**
 * A Fastify constraint out of any function of the raw request: when it says no, Fastify goes on to the next less
 * specific path, as it does for its own `host` and `version`.
 */
import type { FastifyInstance } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { inspect } from 'node:util'
import type { Matcher } from './matcher.ts'

/** Name of the constraint in a route's `constraints`. */
export const CONSTRAINT = 'reverseproxy'

/** The value of the constraint. */
export interface RequestConstraint {
  readonly test: Matcher
  /** Of several on one path the highest that holds wins; 0 when absent, then the one declared first. */
  readonly specificity?: number
}

/** What `addConstraintStrategy` takes. */
export type ConstraintStrategy = Parameters<FastifyInstance['addConstraintStrategy']>[0]

/** A fresh strategy: find-my-way writes into it, so each Fastify instance needs its own. */
export function createConstraintStrategy (): ConstraintStrategy {
  const strategy = {
    name: CONSTRAINT,
    mustMatchWhenDerived: false,
    storage: createStorage,
    validate,
    deriveConstraint: (request: unknown) => request
  }
  // The declared type has the derived value and the routes' values alike, and handlers for what are bits by now.
  return strategy as unknown as ConstraintStrategy
}

function validate (value: unknown): void {
  if (!isConstraint(value)) throw new TypeError(`constraint ${CONSTRAINT}: must be { test: request => boolean } (got ${inspect(value)})`)
}

function isConstraint (value: unknown): value is RequestConstraint {
  return typeof value === 'object' && value !== null && 'test' in value && typeof value.test === 'function'
}

/**
 * One for each place in the router. While routes are added find-my-way looks up constraints to collect their
 * handlers' bits; later it looks up requests and wants the bits of what they meet.
 */
function createStorage () {
  const bits = new Map<RequestConstraint, number>()
  let ordered: Array<readonly [RequestConstraint, number]> = []
  const order = (): void => {
    ordered = [...bits].sort(([a], [b]) => (b.specificity ?? 0) - (a.specificity ?? 0))
  }
  return {
    get (value: unknown): number {
      if (isConstraint(value)) return bits.get(value) ?? 0
      for (const [constraint, mask] of ordered) {
        if (constraint.test(value as IncomingMessage)) return mask
      }
      return 0
    },
    set (constraint: RequestConstraint, mask: number): void {
      bits.set(constraint, mask)
      order()
    },
    del (constraint: RequestConstraint): void {
      bits.delete(constraint)
      order()
    },
    empty (): void {
      bits.clear()
      order()
    }
  }
}
