/**
 * One option by itself through all stages: copy → check → cross-check → default → freeze.
 */
import { OptionsError } from '../errors.ts'
import type { HealthConfig } from '../resilience/types.ts'
import type { TenancyConfig } from '../tenancy/types.ts'
import type { BalancerFactory, HeaderRules } from '../types.ts'
import type { Rules } from './branches.ts'
import { check, type Walk } from './check.ts'
import { copy, deepFreeze } from './copy.ts'
import type { Known } from './cross-check.ts'
import { reservedHeaders } from './cross-check-tenancy.ts'
import type { BackendDefaults } from './resolve-backend.ts'
import type { Origin } from './rules.ts'

/** Where options come from. Default: code, and the working directory. */
export interface ParseContext {
  readonly source?: 'code' | 'file'
  /** Folder that relative paths of a file start from. */
  readonly baseDir?: string
}

/** What is known around a backend that is parsed by itself; parsed gateway options have it all. */
export interface BackendContext {
  readonly backendDefaults?: BackendDefaults
  readonly balancers?: Readonly<Record<string, BalancerFactory>>
  /** Header changes of the level above. */
  readonly headers?: HeaderRules
  readonly tenancy?: TenancyConfig | undefined
  /** Name of the backend: it must not be its own fallback. */
  readonly name?: string
}

/** What is known around a target that is parsed by itself. */
export interface TargetContext {
  /** What the backend has, for checks that say only what differs. */
  readonly health?: HealthConfig | undefined
}

/** What is known around a `proxy` that is parsed by itself. */
export interface ProxyContext {
  /** Path of the route, for the parameters of templates. */
  readonly routePath?: string
  /** Names of the backends; left out: names are not looked at. */
  readonly backends?: readonly string[]
  readonly defaultBackend?: string | undefined
  /** Of the gateway: its headers are not for routes to set. */
  readonly tenancy?: TenancyConfig | undefined
}

/** What is known around a `composite` that is parsed by itself. */
export interface CompositeContext extends ProxyContext {
  /** Names of the user's own strategies. Default: none. */
  readonly strategies?: readonly string[]
}

export interface Stages<From, To> {
  crossCheck?: (value: unknown, walk: Walk) => void
  resolve: (value: From, origin: Origin) => To
}

/** Throws OptionsError with every problem. */
export function parse<From, To> (schema: Rules, input: unknown, path: string, stages: Stages<From, To>): To {
  const walk: Walk = { problems: [], origin: originOf({}) }
  const value = prepare(schema, input, path, walk)
  stages.crossCheck?.(value, walk)
  if (walk.problems.length > 0) throw new OptionsError(walk.problems)
  return deepFreeze(stages.resolve(value as From, walk.origin))
}

/** A copy of the input, held against its schema. */
export function prepare (schema: Rules, input: unknown, path: string, walk: Walk): unknown {
  const value = copy(input, path, walk.problems)
  check(schema, value, path, walk)
  return value
}

export function originOf ({ source = 'code', baseDir = process.cwd() }: ParseContext): Origin {
  return { source, baseDir }
}

/** Where nothing is known but what is parsed. */
export const UNKNOWN: Known = { balancers: [], strategies: [], backends: undefined, defaultBackend: undefined, shared: {}, reserved: [] }

export function knownOf ({ backends, defaultBackend, strategies = [], tenancy }: CompositeContext): Known {
  return { ...UNKNOWN, strategies, backends, defaultBackend, reserved: reservedHeaders(tenancy) }
}
