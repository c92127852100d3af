/** The routes of the options, as Fastify routes: one for each group of those that share path and method. */
import { CONSTRAINT, groupRoutes } from '../matching/index.ts'
import { OptionsError } from '../errors.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { GatewayConfig, RouteConfig } from '../types.ts'

/** What a route without `methods` forwards: everything but CONNECT and TRACE (RFC 9110 section 9.3). */
export const FORWARDED_METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Key in a route's `config` of what says which of several routes of the options it is that answers a request. */
export const kPlace = Symbol('reverseproxy.place')
export type PlaceOf = (request: FastifyRequest) => Pick<RouteConfig, 'name' | 'tenancy'>

/** Answers a request of a route. */
export type Run = (request: FastifyRequest, reply: FastifyReply) => void

/** One of the routes that share a path. */
export interface Declared {
  readonly route: RouteConfig
  readonly run: Run
}

export interface DeclareTools {
  /** Handler and hooks of a Fastify route; `declaredOf` says which of ours a request is for, undefined: the default backend. */
  forwarding (declaredOf: (request: FastifyRequest) => Declared | undefined): Pick<RouteOptions, 'handler' | 'preParsing' | 'config'>
  /** The hook of Fastify routes that may open a WebSocket. */
  upgrading (): Pick<RouteOptions, 'onRequest'>
  /** Compiles a route. */
  compile (route: RouteConfig): Run
}

/** @throws OptionsError when two routes cannot be told apart */
export function declareRoutes (fastify: FastifyInstance, config: GatewayConfig, { forwarding, upgrading, compile }: DeclareTools): void {
  const { groups, problems } = groupRoutes(config.routes, FORWARDED_METHODS)
  if (problems.length > 0) throw new OptionsError(problems)
  for (const method of new Set(groups.flatMap(({ methods }) => methods))) allowMethod(fastify, method)
  const compiled = new Map(config.routes.map(route => [route, { route, run: compile(route) }]))
  for (const group of groups) {
    const routes = new Set(group.entries.map(({ route }) => route))
    const only = routes.size === 1 && group.total ? compiled.get([...routes][0]!) : undefined
    fastify.route({
      method: group.methods,
      url: group.path,
      exposeHeadRoute: false,
      ...(group.total ? undefined : { constraints: { [CONSTRAINT]: { test: (raw: FastifyRequest['raw']) => group.select(raw) !== undefined } } }),
      ...([...routes].some(({ proxy }) => proxy?.websocket !== undefined) ? upgrading() : undefined),
      ...forwarding(only === undefined ? request => compiled.get(group.select(request.raw)!) : () => only)
    })
  }
}

/** A catch-all for the default backend; a `/*` of the user's own would be a second one and is refused by Fastify. */
export function declareDefault (fastify: FastifyInstance, { forwarding }: Pick<DeclareTools, 'forwarding'>): void {
  fastify.route({ method: [...FORWARDED_METHODS], url: '/*', exposeHeadRoute: false, ...forwarding(() => undefined) })
}

/** Fastify knows few methods by itself; Node's parser knows the rest (PROPFIND, SEARCH …). */
function allowMethod (fastify: FastifyInstance, method: string): void {
  if (!fastify.supportedMethods.includes(method)) fastify.addHttpMethod(method, { hasBody: true })
}
