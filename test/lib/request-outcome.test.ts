/** What a client's request came to. */
import t from 'tap'
import { decidingAttempt, isCut, outcomeOfRequest } from '../../lib/request-outcome.ts'
import type { Attempt, Outcome, RequestRecord } from '../../lib/types.ts'

const FINISHED = { status: 200, headersSent: true, finished: true }
const BROKEN = { status: 200, headersSent: true, finished: false }

function attempt (outcome: Outcome | undefined, status?: number, part?: string): Attempt {
  return { backend: 'a', target: 'http://a', part, startedAt: 0, sent: true, outcome, status, duration: 1, connect: undefined }
}

const record = (...attempts: Attempt[]) => ({ attempts } as unknown as RequestRecord)

t.test('it is that of the last attempt that was not ended by the gateway', async t => {
  t.equal(outcomeOfRequest(record(attempt('reset'), attempt('ok', 200)), FINISHED), 'ok')
  t.equal(outcomeOfRequest(record(attempt('ok', 200), attempt('aborted')), FINISHED), 'ok')
  t.equal(outcomeOfRequest(record(attempt('connect-error')), { ...FINISHED, status: 502 }), 'connect-error')
  t.equal(decidingAttempt(record(attempt('aborted')))?.outcome, 'aborted', 'if there is one')
  t.equal(decidingAttempt(undefined), undefined)
})

t.test('what never left is rejected, unless the answer is a good one', async t => {
  t.equal(outcomeOfRequest(undefined, { ...FINISHED, status: 401 }), 'rejected')
  t.equal(outcomeOfRequest(record(), { ...FINISHED, status: 503 }), 'rejected')
  t.equal(outcomeOfRequest(record(), { ...FINISHED, status: 204 }), 'ok')
})

t.test('of a composite it is what its status says', async t => {
  const parts = record(attempt('ok', 200, 'a'), attempt('timeout', undefined, 'b'))
  t.equal(outcomeOfRequest(parts, FINISHED), 'ok')
  t.equal(outcomeOfRequest(parts, { ...FINISHED, status: 504 }), 'server-error')
})

t.test('a client that went away is told from a backend that did', async t => {
  t.equal(outcomeOfRequest(record(attempt('ok', 200)), BROKEN), 'aborted')
  t.equal(outcomeOfRequest(record(attempt('aborted', 200)), BROKEN), 'aborted')
  t.equal(outcomeOfRequest(record(attempt(undefined)), { ...BROKEN, headersSent: false }), 'aborted')
  for (const outcome of ['reset', 'timeout', 'bad-response'] as const) {
    t.equal(outcomeOfRequest(record(attempt(outcome, 200)), BROKEN), outcome)
    t.equal(isCut(record(attempt(outcome, 200)), BROKEN), true)
    t.equal(isCut(record(attempt(outcome, 200)), FINISHED), false)
    t.equal(isCut(record(attempt(outcome)), BROKEN), false, 'it had not answered')
  }
})
