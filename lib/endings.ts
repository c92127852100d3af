/**
 * Tells when a client's request has ended, however it ended. Fastify has no word for a client that went away before its answer
 * was complete, so the end of the connection counts as well.
 */
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isGone } from './forward/connection.ts'

export interface Endings<State> {
  /** From now on the end of the request is told, once; again for the same request it does nothing. */
  begin (request: FastifyRequest, reply: FastifyReply, state: State): void
  /** What `begin` was given. */
  of (reply: FastifyReply): State | undefined
}

/** `finished`: whether the answer went out to its last byte. */
export type TellEnd<State> = (state: State, request: FastifyRequest, reply: FastifyReply, finished: boolean) => void

const kPending = Symbol('reverseproxy.pending')

/** A response of either version. */
interface Response {
  readonly writableEnded: boolean
  /** HTTP/1.1 */
  readonly writableFinished?: boolean
  /** null: not yet, or not any more. */
  readonly socket?: unknown
  /** HTTP/2 */
  readonly stream?: { readonly rstCode?: number }
  /** Who is to be told of its end, in the order in which they have begun. All rooms share their listeners: each one costs time. */
  [kPending]?: Pending<unknown>
}

/** A request that somebody follows. A class, as there may be several per request. */
class Pending<State> {
  ended = false
  next: Pending<unknown> | undefined = undefined

  constructor (readonly tell: TellEnd<State>, readonly request: FastifyRequest, readonly reply: FastifyReply, readonly state: State) {}

  end (finished: boolean): void {
    if (this.ended) return
    this.ended = true
    try {
      this.tell(this.state, this.request, this.reply, finished)
    } catch (error) {
      // nobody stands above who could take it, and the other rooms want to be told
      this.request.log.error({ err: error }, 'the end of a request could not be noted')
    }
  }
}

export function createEndings<State> (tell: TellEnd<State>): Endings<State> {
  function find ({ raw }: { readonly raw: Response }): Pending<State> | undefined {
    let pending = raw[kPending]
    while (pending !== undefined && pending.tell !== tell) pending = pending.next
    return pending as Pending<State> | undefined
  }

  return {
    begin (request, reply, state) {
      if (find(reply) !== undefined) return
      const pending = new Pending(tell, request, reply, state)
      add(request.raw, reply.raw, pending as Pending<unknown>)
      // there will be no other sign of its end
      if (isGone(request)) pending.end(false)
    },
    of: reply => find(reply)?.state
  }
}

function add (message: IncomingMessage, response: FastifyReply['raw'] & Response, pending: Pending<unknown>): void {
  let last = response[kPending]
  if (last === undefined) {
    response[kPending] = pending
    if (!closesAtOnce(message)) response.on('finish', onFinish)
    response.on('close', onClose)
    return
  }
  while (last.next !== undefined) last = last.next
  last.next = pending
}

/**
 * Whether its response is closed as soon as it has gone out. Where only some responses have a listener of ours to `finish`, besides
 * Node's own, all of them take longer.
 */
function closesAtOnce ({ httpVersionMajor, upgrade, socket }: IncomingMessage & { upgrade?: boolean }): boolean {
  return httpVersionMajor === 1 && upgrade !== true && socket instanceof Socket
}

function onFinish (this: unknown): void {
  endAll(this as Response, true)
}

function onClose (this: unknown): void {
  const response = this as Response
  // taken off its connection, which goes on
  if (response.socket === null && isFinished(response)) endAll(response, true)
  // after all others that listen to the same end have said what they know
  else if (!isOver(response)) setImmediate(() => { endAll(response, isFinished(response)) })
}

function endAll (response: Response, finished: boolean): void {
  for (let pending = response[kPending]; pending !== undefined; pending = pending.next) pending.end(finished)
}

function isOver (response: Response): boolean {
  for (let pending = response[kPending]; pending !== undefined; pending = pending.next) if (!pending.ended) return false
  return true
}

function isFinished ({ writableFinished, writableEnded, stream }: Response): boolean {
  return writableFinished ?? (writableEnded && (stream?.rstCode ?? 0) === 0)
}
