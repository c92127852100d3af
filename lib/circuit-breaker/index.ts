/** Circuit breakers: one per scope, backend and target. See {@link createBreaker}. */
export { createBreaker } from './breaker.ts'
export type { Breaker, BreakerState, BreakerStats, BreakerTools, Ticket } from './breaker.ts'
