/**
 * From a request's beginning to its end, however it ends: Fastify has no word for a client that went away before its answer was
 * complete, so the end of the connection counts as well.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { explainingOf } from '../explain/mark.ts'
import { isGone } from '../forward/connection.ts'
import { CLIENT_GONE } from './requests.ts'
import type { RequestRecord } from '../types.ts'
import type { RequestMeters } from './requests.ts'

/** What a request's route is called. */
export type LabelOf = (request: FastifyRequest) => string

export interface TrackingTools {
  readonly requests: RequestMeters
  now (): number
  /** Whether requests are counted by tenant. */
  readonly tenants: boolean
}

const kTracked = Symbol('reverseproxy.metrics')

/** A request that has begun. A class, as there is one per request. */
class Tracked {
  ended = false

  constructor (readonly request: FastifyRequest, readonly labelOf: LabelOf, readonly startedAt: number, readonly end: (tracked: Tracked, response: TrackedResponse) => void) {}
}

/** A response of either version. */
interface TrackedResponse {
  readonly statusCode: number
  readonly headersSent: boolean
  readonly destroyed?: boolean
  readonly writableEnded: boolean
  /** HTTP/1.1 */
  readonly writableFinished?: boolean
  /** HTTP/2 */
  readonly stream?: { readonly rstCode?: number }
  [kTracked]?: Tracked
}

export function createRequests ({ requests, now, tenants }: TrackingTools) {
  function begin (request: FastifyRequest, reply: FastifyReply, labelOf: LabelOf): void {
    const response = reply.raw as unknown as TrackedResponse
    // what is only explained never ends
    if (response[kTracked] !== undefined || explainingOf(request.raw) !== undefined) return
    track(request, reply, labelOf, now())
  }

  function track (request: FastifyRequest, { raw }: FastifyReply, labelOf: LabelOf, startedAt: number): Tracked {
    const tracked = (raw as unknown as TrackedResponse)[kTracked] = new Tracked(request, labelOf, startedAt, finish)
    requests.begin()
    raw.on('close', onClose)
    return tracked
  }

  function end (reply: FastifyReply): void {
    const response = reply.raw as unknown as TrackedResponse
    const tracked = response[kTracked]
    // Fastify ends a reply that has broken in the same way
    if (tracked !== undefined) finish(tracked, response, response.destroyed !== true || isFinished(response))
  }

  /** A request of a route that does not forward by itself, from its first attempt on. */
  function adopt (request: FastifyRequest, reply: FastifyReply): void {
    const record = request.reverseproxy
    const response = reply.raw as unknown as Partial<TrackedResponse>
    // calls that no client has asked for have nothing to write on
    if (record === undefined || response.statusCode === undefined || response[kTracked] !== undefined) return
    const tracked = track(request, reply, nameOf, record.startedAt)
    // there will be no other sign of its end
    if (isGone(request)) finish(tracked, response as TrackedResponse)
  }

  function finish (tracked: Tracked, response: TrackedResponse, finished = isFinished(response)): void {
    if (tracked.ended) return
    tracked.ended = true
    const { request, labelOf, startedAt } = tracked
    const record = request.reverseproxy
    const cut = !finished && response.headersSent && isCut(record)
    requests.end({
      route: record?.route ?? labelOf(request),
      method: request.method,
      code: finished || cut ? response.statusCode : CLIENT_GONE,
      tenant: tenants ? labelOfTenant(record) : undefined,
      ms: now() - startedAt,
      cut
    })
  }

  return { begin, end, adopt }
}

/** After all others that listen to the same end have said what they know. */
function onClose (this: unknown): void {
  const response = this as TrackedResponse
  const tracked = response[kTracked]!
  if (!tracked.ended) setImmediate(() => { tracked.end(tracked, response) })
}

function isFinished ({ writableFinished, writableEnded, stream }: TrackedResponse): boolean {
  return writableFinished ?? (writableEnded && (stream?.rstCode ?? 0) === 0)
}

function nameOf ({ reverseproxy, routeOptions }: FastifyRequest): string {
  return reverseproxy?.route ?? routeOptions.url ?? 'none'
}

/** The backend broke off within its answer: the outcome of its attempt is no longer that of its headers. */
function isCut (record: RequestRecord | undefined): boolean {
  return record?.attempts.some(({ outcome, status }) => status !== undefined && (outcome === 'reset' || outcome === 'timeout' || outcome === 'bad-response')) === true
}

/** Ids that nobody knows have no label: whoever makes them up would take those of others. */
function labelOfTenant (record: RequestRecord | undefined): string {
  if (record?.tenant === undefined) return ''
  return record.scope?.label ?? 'other'
}
