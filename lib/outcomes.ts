/** Classifies what an attempt came to (DESIGN section 5), and names the failures of the transport. */
import {
  AbortedError, BadResponseError, ConnectError, InvalidHeaderError, ResetError, TimeoutError
} from './errors.ts'
import { isCertificateAlert } from './connect/failure.ts'
import type { Outcome } from './types.ts'

/** Outcomes that count against a target. */
export const FAILURES = ['server-error', 'connect-error', 'reset', 'timeout', 'bad-response'] as const satisfies readonly Outcome[]

const FAILED: ReadonlySet<Outcome | undefined> = new Set(FAILURES)

export function isFailed (outcome: Outcome | undefined): boolean {
  return FAILED.has(outcome)
}

/** The outcome of an answer, by its status. */
export function outcomeOfStatus (status: number): Outcome {
  return status < 400 ? 'ok' : status < 500 ? 'client-error' : 'server-error'
}

const OUTCOME_OF_CODE: Readonly<Record<string, Outcome>> = {
  RP_ERR_CONNECT: 'connect-error',
  RP_ERR_RESET: 'reset',
  RP_ERR_TIMEOUT: 'timeout',
  RP_ERR_BAD_RESPONSE: 'bad-response',
  RP_ERR_ABORTED: 'aborted'
}

/** The outcome of one of the suite's errors; what is not a fault of the backend counts as `rejected`. */
export function outcomeOfError (error: Error): Outcome {
  return OUTCOME_OF_CODE[codeOf(error) ?? ''] ?? 'rejected'
}

function codeOf (error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])
const RESETS = new Set(['ECONNRESET', 'ERR_CONNECTION_RESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR'])
const LIES = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'UND_ERR_RES_EXCEEDED_MAX_SIZE'])

/**
 * Turns what undici or the socket reported into an error of the suite, the original as its `cause`.
 * `sent`: whether the request had begun to leave.
 */
export function translateError (error: Error, sent: boolean): Error {
  const code = codeOf(error)
  if (code?.startsWith('RP_ERR_') === true) return error
  const cause = { cause: error }
  // undici's own has a code for some of its reasons only; a status below 100 trips an assertion of its
  if (error.name === 'HTTPParserError' || (sent && code === 'ERR_ASSERTION')) return new BadResponseError(cause)
  if (code !== undefined) {
    if (TIMEOUTS.has(code)) return new TimeoutError(cause)
    if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') return new InvalidHeaderError(cause)
    if (code === 'UND_ERR_ABORTED') return new AbortedError(cause)
    if (code.startsWith('HPE_') || LIES.has(code)) return new BadResponseError(cause)
    if (sent && isCertificateAlert(code)) return new ConnectError(cause)
    if (RESETS.has(code)) return sent ? translateBreak(error, cause) : new ConnectError(cause)
  }
  return sent ? new ResetError(cause) : new ConnectError(cause)
}

/** undici reports an unasked 100 or 101 as a socket error with one of these messages. */
function translateBreak (error: Error, cause: { cause: Error }): Error {
  return error.message === 'bad response' || error.message === 'bad upgrade' ? new BadResponseError(cause) : new ResetError(cause)
}
