/**
 * Retries: whether to try again, after how long, and how often in all.
 */
export { backoffOf } from './backoff.ts'
export { createBudget, type Budget, type BudgetStats } from './budget.ts'
export {
  DEFAULT_RETRY_METHODS, DEFAULT_RETRY_OUTCOMES, DEFAULT_RETRY_STATUSES, isRepeatable, verdict, waitOf, type Tried
} from './policy.ts'
export { parseRetryAfter } from './retry-after.ts'
