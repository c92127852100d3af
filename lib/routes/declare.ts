/** The routes of the options, as Fastify routes: one for each group of those that share path and method. */
import { CONSTRAINT, groupRoutes } from '../matching/index.ts'
import { OptionsError } from '../errors.ts'
import { createPlan } from './plan.ts'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import type { Plan } from './plan.ts'
import type { GatewayConfig } from '../types.ts'

/** What a route without `methods` forwards: everything but CONNECT and TRACE (RFC 9110 section 9.3). */
export const FORWARDED_METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

export interface DeclareTools {
  /** Makes a route forward: called with the plan of each request. */
  forwarding (planOf: (request: FastifyRequest) => Plan | undefined): Pick<RouteOptions, 'handler' | 'preParsing'>
}

/** @throws OptionsError when two routes cannot be told apart */
export function declareRoutes (fastify: FastifyInstance, config: GatewayConfig, { forwarding }: DeclareTools): void {
  const { groups, problems } = groupRoutes(config.routes, FORWARDED_METHODS)
  if (problems.length > 0) throw new OptionsError(problems)
  for (const method of new Set(groups.flatMap(({ methods }) => methods))) allowMethod(fastify, method)
  for (const group of groups) {
    const plans = new Map(group.entries.map(({ route }) => [route, createPlan(route.proxy, route.name)]))
    const only = plans.size === 1 && group.total ? [...plans.values()][0] : undefined
    fastify.route({
      method: group.methods,
      url: group.path,
      exposeHeadRoute: false,
      ...(group.total ? undefined : { constraints: { [CONSTRAINT]: { test: (raw: FastifyRequest['raw']) => group.select(raw) !== undefined } } }),
      ...forwarding(only === undefined ? request => plans.get(group.select(request.raw)!) : () => only)
    })
  }
}

/** A catch-all for the default backend; a `/*` of the user's own would be a second one and is refused by Fastify. */
export function declareDefault (fastify: FastifyInstance, plan: Plan, { forwarding }: DeclareTools): void {
  fastify.route({ method: [...FORWARDED_METHODS], url: '/*', exposeHeadRoute: false, ...forwarding(() => plan) })
}

/** Fastify knows few methods by itself; Node's parser knows the rest (PROPFIND, SEARCH …). */
function allowMethod (fastify: FastifyInstance, method: string): void {
  if (!fastify.supportedMethods.includes(method)) fastify.addHttpMethod(method, { hasBody: true })
}
