/** Requests that are to be explained, not answered: nobody outside can make one. */
import type { FastifyRequest } from 'fastify'
import type { Gathering } from '../composite/gather.ts'
import type { Call } from '../types.ts'

/** Told where such a request has come to; whoever tells it goes no further, and sends nothing. */
export interface Explaining {
  proxy (request: FastifyRequest, call: Call): void
  composite (request: FastifyRequest, gathering: Gathering): void
  /** A handler of the app's own would run now. */
  other (request: FastifyRequest): void
}

const kExplaining = Symbol('reverseproxy.explaining')

export function mark (raw: object, explaining: Explaining): void {
  (raw as { [kExplaining]?: Explaining })[kExplaining] = explaining
}

/** undefined for all requests of clients. */
export function explainingOf (raw: object): Explaining | undefined {
  return (raw as { [kExplaining]?: Explaining })[kExplaining]
}
