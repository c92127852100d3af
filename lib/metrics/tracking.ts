/** From a request's beginning to its end, however it ends: what is counted of it. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createEndings } from '../endings.ts'
import { explainingOf } from '../explain/mark.ts'
import { isCut, statusOfRequest } from '../request-outcome.ts'
import type { RouteNameOf } from '../routes/forwarding.ts'
import type { RequestRecord } from '../types.ts'
import type { RequestMeters } from './requests.ts'

export interface TrackingTools {
  readonly requests: RequestMeters
  now (): number
  /** Whether requests are counted by tenant. */
  readonly tenants: boolean
}

/** A request that has begun. A class, as there is one per request. */
class Tracked {
  constructor (readonly nameOf: RouteNameOf, readonly startedAt: number) {}
}

export function createRequests ({ requests, now, tenants }: TrackingTools) {
  const endings = createEndings<Tracked>(function countRequest ({ nameOf, startedAt }, request, reply, finished) {
    const record = request.reverseproxy
    const ended = { status: reply.raw.statusCode, headersSent: reply.raw.headersSent, finished }
    requests.end({
      route: record?.route ?? nameOf(request),
      method: request.method,
      code: statusOfRequest(record, ended),
      tenant: tenants ? labelOfTenant(record) : undefined,
      ms: now() - startedAt,
      cut: isCut(record, ended)
    })
  })

  function begin (request: FastifyRequest, reply: FastifyReply, nameOf: RouteNameOf): void {
    // what is only explained never ends
    if (endings.of(reply) !== undefined || explainingOf(request.raw) !== undefined) return
    track(request, reply, nameOf, now())
  }

  function track (request: FastifyRequest, reply: FastifyReply, nameOf: RouteNameOf, startedAt: number): void {
    requests.begin()
    endings.begin(request, reply, new Tracked(nameOf, startedAt))
  }

  /** A request of a route that does not forward by itself, from its first attempt on. */
  function adopt (request: FastifyRequest, reply: FastifyReply): void {
    const record = request.reverseproxy
    // calls that no client has asked for have nothing to write on
    if (record === undefined || (reply.raw as Partial<FastifyReply['raw']>).statusCode === undefined || endings.of(reply) !== undefined) return
    track(request, reply, nameOf, record.startedAt)
  }

  return { begin, adopt }
}

function nameOf ({ reverseproxy, routeOptions }: FastifyRequest): string {
  return reverseproxy?.route ?? routeOptions.url ?? 'none'
}

/** Ids that nobody knows have no label: whoever makes them up would take those of others. */
function labelOfTenant (record: RequestRecord | undefined): string {
  if (record?.tenant === undefined) return ''
  return record.scope?.label ?? 'other'
}
