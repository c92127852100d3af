/**
 * An answer that overtakes the upload. Closing at once would reset the connection, and the client might lose the
 * answer that tells it to stop (RFC 9112 section 9.6); so the rest of the upload is read and dropped for a while.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Deadlines, Expirable } from '../deadlines.ts'

/** How long a client may go on sending after its answer, ms. */
const LINGER_TIME = 5_000

/** Call it before an answer is sent. */
export function lingerWhileUploading (request: FastifyRequest, reply: FastifyReply, deadlines: Deadlines): void {
  const { raw } = request
  if (raw.complete || raw.httpVersionMajor !== 1 || raw.headers.expect !== undefined) return
  reply.raw.once('finish', function dropTheRest () {
    if (raw.complete || raw.destroyed) return
    const { socket } = raw
    const limit: Expirable = {
      expire () { if (!raw.complete) socket?.destroy() },
      expiresAt: 0,
      before: undefined,
      after: undefined,
      list: undefined
    }
    deadlines.arm(limit, LINGER_TIME)
    raw.once('end', () => deadlines.disarm(limit))
    socket?.once('close', () => deadlines.disarm(limit))
    raw.resume()
  })
}
