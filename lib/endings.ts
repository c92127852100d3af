/**
 * Tells when a client's request has ended, however it ended. Fastify has no word for a client that went away before its answer
 * was complete, so the end of the connection counts as well.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isGone } from './forward/connection.ts'

export interface Endings<State> {
  /** From now on the end of the request is told, once; again for the same request it does nothing. */
  begin (request: FastifyRequest, reply: FastifyReply, state: State): void
  /** For Fastify's `onResponse`. */
  finish (reply: FastifyReply): void
  /** What `begin` was given. */
  of (reply: FastifyReply): State | undefined
}

/** `finished`: whether the answer went out to its last byte. */
export type TellEnd<State> = (state: State, request: FastifyRequest, reply: FastifyReply, finished: boolean) => void

/** A request that has begun. A class, as there is one per request. */
class Pending<State> {
  ended = false

  constructor (readonly request: FastifyRequest, readonly reply: FastifyReply, readonly state: State) {}
}

/** A response of either version. */
interface Response {
  readonly destroyed?: boolean
  readonly writableEnded: boolean
  /** HTTP/1.1 */
  readonly writableFinished?: boolean
  /** HTTP/2 */
  readonly stream?: { readonly rstCode?: number }
}

export function createEndings<State> (tell: TellEnd<State>): Endings<State> {
  const kPending = Symbol('reverseproxy.pending')
  type Marked = Response & { [kPending]?: Pending<State> }

  function end (pending: Pending<State>, finished: boolean): void {
    if (pending.ended) return
    pending.ended = true
    tell(pending.state, pending.request, pending.reply, finished)
  }

  function onClose (this: unknown): void {
    const response = this as Marked
    const pending = response[kPending]!
    // after all others that listen to the same end have said what they know
    if (!pending.ended) setImmediate(() => { end(pending, isFinished(response)) })
  }

  return {
    begin (request, reply, state) {
      const response: Marked = reply.raw
      if (response[kPending] !== undefined) return
      const pending = response[kPending] = new Pending(request, reply, state)
      reply.raw.on('close', onClose)
      // there will be no other sign of its end
      if (isGone(request)) end(pending, false)
    },
    finish (reply) {
      const response: Marked = reply.raw
      const pending = response[kPending]
      // Fastify ends a reply that has broken in the same way
      if (pending !== undefined) end(pending, response.destroyed !== true || isFinished(response))
    },
    of: ({ raw }: { readonly raw: Marked }) => raw[kPending]?.state
  }
}

function isFinished ({ writableFinished, writableEnded, stream }: Response): boolean {
  return writableFinished ?? (writableEnded && (stream?.rstCode ?? 0) === 0)
}
