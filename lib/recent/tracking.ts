/** From a request's beginning to its end, however it ends: what the history has of it. */
import { createEndings } from '../endings.ts'
import { isFailed } from '../outcomes.ts'
import { isFailure } from '../request-log/line.ts'
import { CLIENT_GONE, statusOfRequest } from '../request-outcome.ts'
import { sampleOf } from './samples.ts'
import { Tracked } from './tracked.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Part } from '../composite/part.ts'
import type { RouteNameOf } from '../routes/forwarding.ts'
import type { Attempt, Call } from '../types.ts'
import type { History, HistoryTools } from './history.ts'
import type { SampleTools } from './samples.ts'

export interface TrackingTools extends HistoryTools, SampleTools {
  readonly history: Pick<History, 'begin' | 'end' | 'attempt' | 'sample' | 'places'>
}

export function createTracking (tools: TrackingTools) {
  const { history, now, wall } = tools

  const endings = createEndings<Tracked>(function record (tracked, request, reply, finished) {
    const { statusCode: status, headersSent } = reply.raw
    const ended = { status, headersSent, finished }
    const failed = isFailure(request.reverseproxy, ended)
    const duration = now() - tracked.startedAt
    history.end(statusOfRequest(request.reverseproxy, ended) === CLIENT_GONE ? undefined : duration, failed)
    if (history.places.take(tracked.parts !== undefined, failed)) history.sample(sampleOf(tracked, request, ended, { at: wall() - duration, duration }, tools))
  })

  function track (request: FastifyRequest, reply: FastifyReply, startedAt: number, nameOf: RouteNameOf): void {
    history.begin()
    endings.begin(request, reply, new Tracked(startedAt, nameOf))
  }

  return {
    begin (request: FastifyRequest, reply: FastifyReply, nameOf: RouteNameOf): void {
      track(request, reply, now(), nameOf)
    },
    /** An attempt has its outcome. */
    attempt ({ backend, outcome, duration }: Attempt, { request, reply, record }: Call): void {
      history.attempt(backend, outcome === 'aborted' ? undefined : duration, isFailed(outcome))
      // a call that no client has asked for has nothing to write on
      if ((reply.raw as Partial<FastifyReply['raw']>).statusCode === undefined) return
      // a handler of the app's own has forwarded it
      if (endings.of(reply) === undefined) track(request, reply, record.startedAt, () => record.route)
    },
    /** The parts of a composite are over. */
    gathered (reply: FastifyReply, parts: readonly Part[]): void {
      const tracked = endings.of(reply)
      if (tracked !== undefined) tracked.parts = parts
    }
  }
}
