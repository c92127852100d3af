/** What a client's request came to, in the words of attempts. Pure. */
import { outcomeOfStatus } from './outcomes.ts'
import type { Attempt, Outcome, RequestRecord } from './types.ts'

/** What stands for the status of an answer that its client has not waited for: there is none (nginx has it so). */
export const CLIENT_GONE = 499

/** How the answer to the client ended. */
export interface Ended {
  readonly status: number
  readonly headersSent: boolean
  /** It went out to its last byte. */
  readonly finished: boolean
}

/**
 * That of the attempt that counts. `aborted`: the client went away before its answer was complete. `rejected`: nothing left, and the
 * answer is an error of the gateway or the app. Of a composite: that of the answer's status.
 */
export function outcomeOfRequest (record: RequestRecord | undefined, ended: Ended): Outcome {
  if (!ended.finished) return isCut(record, ended) ? decidingAttempt(record)!.outcome! : 'aborted'
  const attempt = decidingAttempt(record)
  if (attempt === undefined) return ended.status < 400 ? 'ok' : 'rejected'
  return attempt.part === undefined ? attempt.outcome ?? 'aborted' : outcomeOfStatus(ended.status)
}

/** Status of the answer, or {@link CLIENT_GONE}. */
export function statusOfRequest (record: RequestRecord | undefined, ended: Ended): number {
  return ended.finished || isCut(record, ended) ? ended.status : CLIENT_GONE
}

/** The backend broke off within its answer, of which the client has a part. */
export function isCut (record: RequestRecord | undefined, { finished, headersSent }: Ended): boolean {
  if (finished || !headersSent) return false
  const { outcome, status } = decidingAttempt(record) ?? {}
  return status !== undefined && (outcome === 'reset' || outcome === 'timeout' || outcome === 'bad-response')
}

/** The latest that we have not ended ourselves: a hedged try that came too late decides nothing. */
export function decidingAttempt (record: RequestRecord | undefined): Attempt | undefined {
  return record?.attempts.findLast(({ outcome }) => outcome !== 'aborted') ?? record?.attempts.at(-1)
}
