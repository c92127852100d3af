/** Whether the peer on the other end of a client's connection is a proxy that Fastify's `trustProxy` trusts. */
import type { FastifyRequest } from 'fastify'

const kTrusted = Symbol('reverseproxy.trustedPeer')

/**
 * Fastify keeps its trust function to itself, but `request.ips` shows its verdict: the list goes beyond the peer
 * just when the peer is trusted. So it is asked once per connection, about a request that has such a list.
 */
export function isPeerTrusted (request: FastifyRequest): boolean {
  if (request.ips === undefined) return false
  const socket = request.raw.socket as typeof request.raw.socket & { [kTrusted]?: boolean }
  if (socket == null) return false
  socket[kTrusted] ??= askFastify(request)
  return socket[kTrusted]
}

function askFastify (request: FastifyRequest): boolean {
  const { socket } = request.raw
  const probe = Object.create(request, {
    raw: { value: { socket, connection: socket, headers: { 'x-forwarded-for': '192.0.2.1' } } }
  }) as FastifyRequest
  return (probe.ips?.length ?? 0) > 1
}
