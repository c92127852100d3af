/** The line of a request: what is known about it when it has ended. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { decidingAttempt, isCut, outcomeOfRequest, statusOfRequest } from '../request-outcome.ts'
import { shownPath, shownQuery } from '../shown-url.ts'
import type { Part } from '../composite/part.ts'
import type { Ended } from '../request-outcome.ts'
import type { TraceIds } from '../tracing/types.ts'
import type { Attempt, Backend, RequestRecord, Target } from '../types.ts'
import type { LogConfig, Logged } from './types.ts'

/** Most tries and parts that a line lists. */
const MOST = 50

export interface LineTools {
  readonly config: LogConfig
  tenantOf (record: RequestRecord): string | undefined
  /** Why calls may not go to the target now; undefined: they may. */
  fitnessOf (target: Target, backend: Backend): string | undefined
  traceOf (request: FastifyRequest): TraceIds | undefined
}

/** 5xx, and answers that the backend broke off. */
export function isFailure (record: RequestRecord | undefined, ended: Ended): boolean {
  return ended.finished ? ended.status >= 500 : isCut(record, ended)
}

/** What is undefined does not appear. `total`: ms. */
export function lineOf (logged: Logged, request: FastifyRequest, reply: FastifyReply, ended: Ended, total: number, tools: LineTools): Record<string, unknown> {
  const { reverseproxy: record } = request
  const { config: { query, clientAddress } } = tools
  const { target, backend, parts } = logged
  const attempt = decidingAttempt(record)
  const url = request.raw.url!
  return {
    route: record?.route ?? logged.nameOf(request),
    tenant: record === undefined ? undefined : tools.tenantOf(record),
    // parts have theirs each
    ...parts === undefined ? ofTarget(record, attempt, target, backend, tools) : undefined,
    method: request.raw.method,
    path: shownPath(url),
    query: shownQuery(url, query),
    client: clientAddress ? request.ip : undefined,
    status: statusOfRequest(record, ended),
    outcome: outcomeOfRequest(record, ended),
    ms: {
      total: round(total),
      queue: record === undefined || record.queued === 0 ? undefined : round(record.queued),
      connect: parts === undefined ? round(attempt?.connect) : undefined,
      firstByte: parts === undefined && attempt?.status !== undefined ? round(attempt.startedAt + attempt.duration! - logged.startedAt) : undefined
    },
    attempts: record?.attempts.length ?? 0,
    retries: record?.retries ?? 0,
    tries: record !== undefined && parts === undefined && record.attempts.length > 1 ? record.attempts.slice(0, MOST).map(tryOf) : undefined,
    parts: parts?.slice(0, MOST).map(partOf),
    bytes: lengthOf(reply),
    ...idsOf(tools.traceOf(request))
  }
}

function ofTarget (record: RequestRecord | undefined, attempt: Attempt | undefined, target: Target | undefined, backend: Backend | undefined, { fitnessOf }: LineTools): Record<string, unknown> {
  const known = target !== undefined && backend !== undefined
  return {
    backend: record?.backend,
    target: attempt?.target,
    balancer: known ? balancerOf(backend) : undefined,
    breaker: target?.breaker?.state,
    health: known ? fitnessOf(target, backend) ?? 'healthy' : undefined
  }
}

function balancerOf ({ config: { balancer } }: Backend): string {
  return typeof balancer === 'string' ? balancer : balancer.type
}

function tryOf ({ target, outcome, status, duration }: Attempt): Record<string, unknown> {
  return { target, outcome, status, ms: round(duration) }
}

function partOf ({ name, state, status, outcome, call, attempts, duration }: Part): Record<string, unknown> {
  return { name, state, backend: call?.backend.name, target: call?.attempt?.target, status, outcome, attempts, ms: round(duration) }
}

/** Of the answer's body, where it has said so. */
function lengthOf (reply: FastifyReply): number | undefined {
  const length = Number(reply.getHeader('content-length') ?? NaN)
  return Number.isSafeInteger(length) ? length : undefined
}

function idsOf (ids: TraceIds | undefined): TraceIds | undefined {
  return ids === undefined ? undefined : { traceId: ids.traceId, spanId: ids.spanId }
}

function round (ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 10) / 10
}
