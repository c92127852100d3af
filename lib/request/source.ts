/**
 * Who stands in the place of the client where there is none: calls have a request and a reply, and what the layers read of
 * them is here. There is no address, no host and no protocol: nobody is forwarded.
 */
import { EventEmitter } from 'node:events'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** The other end: it goes when the app no longer wants the answer. */
class Peer extends EventEmitter {
  destroyed = false
  /** Nothing can be sent before an answer (103), and nothing after it. */
  readonly headersSent = true

  leave (): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
}

export interface SourceOptions {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly id: string | undefined
  readonly server: FastifyInstance
  readonly log: FastifyBaseLogger
}

export interface Source {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** The app does not want the answer any more: everything that runs for it ends. */
  leave (): void
}

export function createSource ({ method, url, headers, id, server, log }: SourceOptions): Source {
  const peer = new Peer()
  const raw = {
    method,
    url,
    headers,
    rawHeaders: [],
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    complete: true,
    aborted: false,
    // what is watched in place of a socket
    stream: peer
  }
  const request: unknown = { id, method, url, originalUrl: url, headers, query: {}, params: {}, body: undefined, raw, server, log, routeOptions: { config: {}, method, url: undefined } }
  // without `from`: there is no reply to send on
  const reply: unknown = { raw: peer, request, sent: false, log, server }
  return { request: request as FastifyRequest, reply: reply as FastifyReply, leave () { peer.leave() } }
}
