/** Where a request's body is read from: the client's message, or the stream that a preParsing hook has put in its place. */
import type { FastifyRequest } from 'fastify'
import type { Readable } from 'node:stream'
import { AbortedError, BadRequestError } from '../errors.ts'

const kReplaced = Symbol('reverseproxy.payload')

interface Replaced { [kReplaced]?: Readable }

/** What a hook has made of the body. Fastify's own note of it cannot be read from outside. */
export function replacePayload (request: FastifyRequest, payload: Readable): void {
  (request as Replaced)[kReplaced] = payload
  // it may break before anybody has begun to read it; `broken` tells
  payload.on('error', () => {})
}

export function payloadOf (request: FastifyRequest): Readable {
  return (request as Replaced)[kReplaced] ?? request.raw
}

/** Why a body ends before its end: the client has gone, or a hook's stream cannot read it, which is the client's fault, as in Fastify. */
export function broken (payload: Readable, error: Error | null | undefined = payload.errored): Error {
  return 'aborted' in payload ? new AbortedError() : Object.assign(new BadRequestError('its body cannot be read'), { cause: error })
}

/**
 * Whether the end that was just read is no end: Node ends the body of an HTTP/2 stream that is reset as it ends one that is whole,
 * and says that it was aborted only later. A stream that the client has ended is still open then.
 */
export function isTorn (payload: unknown): boolean {
  const { aborted, stream } = payload as { aborted?: boolean, stream?: { closed?: boolean } }
  return aborted === true || stream?.closed === true
}
