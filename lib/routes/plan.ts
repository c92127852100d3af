/** What is prepared at boot for each route, so that a request only reads it. */
import { createRewrite, isSafePath } from '../rewrite/index.ts'
import { BadPathError } from '../errors.ts'
import type { Params, Rewrite } from '../rewrite/index.ts'
import type { Bound } from './lookup.ts'
import type { ProxyOptions } from '../options/index.ts'
import type { ProxyConfig } from '../types.ts'

/** A route's options, compiled. */
export interface Plan {
  readonly config: ProxyConfig
  /** The options as they were written: a tenant's are put over them. */
  readonly said: ProxyOptions | undefined
  /** The route's name: its path when it has none of its own. */
  readonly name: string
  /** The request target that the backend gets. @throws BadPathError */
  readonly rewrite: Rewrite
  /** What the name of the backend meant to everybody when it was last looked up. Writer: lib/routes/lookup.ts */
  bound: Bound | undefined
}

/** A plan that changes nothing: `reply.proxy()` on a route without options. */
export const NOTHING: ProxyConfig = Object.freeze({
  backend: undefined,
  rewrite: [],
  headers: { request: {}, response: {} },
  timeout: {},
  redirects: undefined,
  host: undefined,
  bodyLimit: undefined,
  websocket: undefined,
  modifyRequest: undefined,
  modifyResponse: undefined,
  errorHandler: undefined,
  circuitBreaker: undefined,
  retry: undefined
})

export function createPlan (config: ProxyConfig, name: string, said?: ProxyOptions): Plan {
  return { config, said, name, rewrite: createRewrite(config.rewrite) ?? guarded, bound: undefined }
}

/** Without a rewrite the target goes on byte for byte, if its path may go anywhere at all. */
export function guarded (target: string, _params: Params): string {
  const query = target.indexOf('?')
  if (target.includes('#') || !isSafePath(query < 0 ? target : target.slice(0, query))) throw new BadPathError()
  return target
}
