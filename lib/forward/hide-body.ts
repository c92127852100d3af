/**
 * Keeps Fastify's body parsers away from a request that is forwarded as it is. They are chosen by the instance a
 * route was declared on, which is the user's; a parsed and re-serialised body would have other bytes.
 */
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'

type Done = (error: null, payload: never) => void

/**
 * A preParsing hook, the last one of its route. What Fastify reads next is the request's headers, once, to find a
 * parser: for that one look they speak of no body.
 */
export function hideBody (request: FastifyRequest, _reply: FastifyReply, payload: unknown, done: Done): void {
  const { method } = request.raw
  if (method === 'GET' || method === 'HEAD') {
    done(null, payload as never)
    return
  }
  const own = request.headers === request.raw.headers ? undefined : request.headers
  request.headers = {
    get 'content-type' (): undefined {
      request.headers = own as FastifyRequest['headers']
      return undefined
    },
    'content-length': undefined,
    'transfer-encoding': undefined
  } as unknown as FastifyRequest['headers']
  done(null, payload as never)
}

/** Fastify parses no body of a GET or HEAD. */
export function mayHaveBody ({ method }: Pick<RouteOptions, 'method'>): boolean {
  return [method].flat().some(name => name !== 'GET' && name !== 'HEAD')
}
