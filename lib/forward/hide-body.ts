/**
 * Keeps Fastify's body parsers away from a request that is forwarded as it is. They are chosen by the instance a
 * route was declared on, which is the user's; a parsed and re-serialised body would have other bytes.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Readable } from 'node:stream'
import { replacePayload } from './payload.ts'

type Done = (error: null, payload: never) => void

/** What request.headers was before `hideEncoding`. */
const kBefore = Symbol('reverseproxy.headers')

/**
 * A preParsing hook, the last one of its route. What Fastify reads next is the request's headers, once, to find a
 * parser: for that one look they speak of no body.
 */
export function hideBody (request: FastifyRequest, _reply: FastifyReply, payload: unknown, done: Done): void {
  const { raw } = request
  showEncoding(request)
  if (payload !== raw) replacePayload(request, payload as Readable)
  // a hook that watches the body has set it going: what passes before there is a backend to take it would be lost
  else if (raw.readableFlowing === true) raw.pause()
  if (raw.method === 'GET' || raw.method === 'HEAD') {
    done(null, payload as never)
    return
  }
  const own = request.headers === raw.headers ? undefined : request.headers
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

/** What keeps @fastify/compress from unpacking the bodies of a route. */
export const AS_IT_CAME = Object.freeze({ decompress: false })

/**
 * Puts `hideBody` after the preParsing hooks that a route has, and lets @fastify/compress unpack nothing on it, unless the route asks
 * for that. Copied, not extended: the user's array may serve other routes too.
 */
export function hideBodies (route: RouteOptions & { decompress?: unknown }, fastify: FastifyInstance): void {
  const hooks = [route.preParsing ?? []].flat()
  if (route.decompress === undefined) {
    Object.assign(route, AS_IT_CAME)
    // registered before the gateway it has its hook on the route already
    if (fastify.hasPlugin('@fastify/compress')) hooks.unshift(hideEncoding as never)
  }
  route.preParsing = [...hooks, hideBody as never]
}

/** A preParsing hook, the first one of its route; `hideBody` undoes it. */
function hideEncoding (request: FastifyRequest, _reply: FastifyReply, payload: unknown, done: Done): void {
  const { headers } = request
  if (headers['content-encoding'] !== undefined) {
    request.headers = { ...headers, 'content-encoding': undefined, [kBefore]: headers === request.raw.headers ? undefined : headers } as unknown as FastifyRequest['headers']
  }
  done(null, payload as never)
}

function showEncoding (request: FastifyRequest): void {
  const { headers } = request as { headers: { [kBefore]?: FastifyRequest['headers'] } }
  if (kBefore in headers) request.headers = headers[kBefore] as FastifyRequest['headers']
}
