/** Where a request's body is read from: the client's message, or the stream that a preParsing hook has put in its place. */
import type { FastifyRequest } from 'fastify'
import type { Readable } from 'node:stream'

const kReplaced = Symbol('reverseproxy.payload')

interface Replaced { [kReplaced]?: Readable }

/** What a hook has made of the body. Fastify's own note of it cannot be read from outside. */
export function replacePayload (request: FastifyRequest, payload: Readable): void {
  (request as Replaced)[kReplaced] = payload
}

export function payloadOf (request: FastifyRequest): Readable {
  return (request as Replaced)[kReplaced] ?? request.raw
}
