/** Which routes of the app forward requests, and what they are called. */
import type { FastifyRequest, RouteOptions } from 'fastify'
import { kPlace } from './declare.ts'
import type { PlaceOf } from './declare.ts'

/** What a request's route is called. */
export type RouteNameOf = (request: FastifyRequest) => string

const kForwards = Symbol('reverseproxy.forwards')

interface Config { name?: string, [kPlace]?: PlaceOf, [kForwards]?: RouteNameOf }

/** For `onRoute`: marks the routes that forward, and says what they are called; undefined: this one does not. `handler`: the gateway's own. */
export function markForwarding (route: RouteOptions & { proxy?: unknown, composite?: unknown }, handler: unknown): RouteNameOf | undefined {
  const config = (route.config ?? {}) as Config
  const { name = route.url, [kPlace]: placeOf } = config
  if (placeOf === undefined && route.proxy === undefined && route.composite === undefined && route.handler !== handler) return undefined
  const nameOf: RouteNameOf = placeOf === undefined ? () => name : request => placeOf(request).name
  route.config = { ...config, [kForwards]: nameOf } as NonNullable<RouteOptions['config']>
  return nameOf
}

/** undefined: its route does not forward by itself. */
export function forwardingName ({ routeOptions }: FastifyRequest): RouteNameOf | undefined {
  return (routeOptions.config as Config | undefined)?.[kForwards]
}
