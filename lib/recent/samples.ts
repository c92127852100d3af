/** A request that has ended, as a sample: all that is wanted of it is copied. */
import { outcomeOfRequest, statusOfRequest } from '../request-outcome.ts'
import type { FastifyRequest } from 'fastify'
import type { Part } from '../composite/part.ts'
import type { Redactor } from '../redact/index.ts'
import type { Ended } from '../request-outcome.ts'
import type { Attempt, RequestRecord } from '../types.ts'
import type { Tracked } from './tracked.ts'
import type { Sample, SampleAttempt, SamplePart } from './types.ts'

const LONGEST_URL = 200
const LONGEST_ID = 100
/** Attempts and parts, each. */
const MOST = 100

export interface SampleTools {
  readonly redactor: Pick<Redactor, 'url'>
  tenantOf (record: RequestRecord): string | undefined
}

/** `at`: when it began, ms since 1970. `duration`: ms. */
export function sampleOf (tracked: Tracked, request: FastifyRequest, ended: Ended, { at, duration }: Pick<Sample, 'at' | 'duration'>, tools: SampleTools): Omit<Sample, 'id'> {
  const { reverseproxy: record } = request
  const { startedAt, parts = [] } = tracked
  return {
    at: Math.round(at),
    requestId: String(request.id).slice(0, LONGEST_ID),
    method: request.method,
    url: tools.redactor.url(request.raw.url!).slice(0, LONGEST_URL),
    route: record?.route ?? tracked.nameOf(request),
    tenant: record === undefined ? null : tools.tenantOf(record) ?? null,
    status: statusOfRequest(record, ended),
    outcome: outcomeOfRequest(record, ended),
    duration: rounded(duration),
    queued: rounded(record?.queued ?? 0),
    parts: parts.slice(0, MOST).map(part => partOf(part, startedAt)),
    attempts: (record?.attempts ?? []).slice(0, MOST).map(attempt => attemptOf(attempt, startedAt))
  }
}

function partOf ({ name, state, status, startedAt, duration, call }: Part, begin: number): SamplePart {
  // it is decided at the same moment whether it begins
  const began = call !== undefined || (state !== 'skipped' && startedAt > 0)
  return { name, state: state ?? 'skipped', status: status ?? null, start: began ? since(begin, startedAt) : null, duration: began ? rounded(duration) : 0 }
}

function attemptOf ({ backend, target, part, startedAt, duration, outcome, status }: Attempt, begin: number): SampleAttempt {
  return {
    backend,
    target,
    part: part ?? null,
    start: since(begin, startedAt),
    duration: duration === undefined ? null : rounded(duration),
    outcome: outcome ?? null,
    status: status ?? null
  }
}

function since (begin: number, at: number): number {
  return rounded(Math.max(0, at - begin))
}

function rounded (ms: number): number {
  return Math.round(ms * 10) / 10
}
