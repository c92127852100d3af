/**
 * What answer to a health check is good: statuses, and optionally what the body holds.
 */
import type { HealthConfig } from '../resilience/types.ts'

/** Most of a body that is looked at, bytes. A health page is small; an endless one must not fill our memory. */
const BODY_LIMIT = 64 * 1024

export interface Expectation {
  status (status: number): boolean
  /** undefined: the body does not matter and need not be read. */
  readonly body: undefined | ((text: string) => boolean)
  /** Bytes of the body to read at most; what comes after is not looked at. 0 when the body does not matter, else 64 KiB. */
  readonly bodyLimit: number
}

/** Makes the two questions of a health check. Keeps nothing between answers, whatever flags an expression has. */
export function createExpectation ({ expectedStatus, expectedBody }: Pick<HealthConfig, 'expectedStatus' | 'expectedBody'>): Expectation {
  return {
    status: status => expectedStatus.some(([from, to]) => status >= from && status <= to),
    body: expectedBody === undefined ? undefined : typeof expectedBody === 'string' ? text => text.includes(expectedBody) : matcher(expectedBody),
    bodyLimit: expectedBody === undefined ? 0 : BODY_LIMIT
  }
}

function matcher (expression: RegExp): (text: string) => boolean {
  // A copy: with `g` or `y` a test moves lastIndex, and the user's expression is theirs (or frozen).
  const own = new RegExp(expression)
  return text => {
    own.lastIndex = 0
    return own.test(text)
  }
}
