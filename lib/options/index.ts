/**
 * Options: parse → copy → default → deep-freeze. All problems at once, and never a change to what the user passed.
 *
 * A value is copied (`copy.ts`), held against its schema (`check.ts`) and against the other options (`cross-check.ts`), and only
 * when nothing is wrong turned into what `lib/types.ts` calls a config (`resolve-*.ts`).
 */
import { OptionsError, type OptionProblem } from '../errors.ts'
import type { CompositeConfig } from '../composite/types.ts'
import type { HealthConfig } from '../resilience/types.ts'
import type { BackendConfig, BalancerFactory, ProxyConfig, TargetConfig } from '../types.ts'
import type { Rules } from './branches.ts'
import { check, type Walk } from './check.ts'
import { copy, deepFreeze, isRecord } from './copy.ts'
import { crossCheckBackend, crossCheckGateway, crossCheckProxy, type Known } from './cross-check.ts'
import { crossCheckTargetHealth } from './cross-check-resilience.ts'
import { crossCheckComposite } from './cross-check-composite.ts'
import { at } from './paths.ts'
import { BUILT_IN_DEFAULTS, resolveBackend, resolveTarget, resolveTargetPatch, type BackendDefaults } from './resolve-backend.ts'
import { resolveComposite } from './resolve-composite.ts'
import { resolveGateway, type ParsedOptions } from './resolve-gateway.ts'
import { resolveTargetHealth, retryOver } from './resolve-resilience.ts'
import { resolveProxy } from './resolve-route.ts'
import { RULES, type Origin } from './rules.ts'
import { milliseconds } from './units.ts'
import {
  backendSchema, targetPatchSchema, targetSchema,
  type BackendOptions, type TargetOption, type TargetPatchOption
} from './schema/backend.ts'
import { compositeSchema, type CompositeOptions, type PartOptions } from './schema/composite.ts'
import { gatewaySchema, type GatewayOptions } from './schema/gateway.ts'
import { proxySchema, type ProxyOptions } from './schema/proxy.ts'

export type { BackendDefaults, BackendOptions, CompositeOptions, GatewayOptions, ParsedOptions, PartOptions, ProxyOptions, TargetOption, TargetPatchOption }
export { retryOver }
export { splitTargetUrl, type TargetAddress } from './target-url.ts'

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
}

/** What is known around a `composite` that is parsed by itself. */
export interface CompositeContext extends ProxyContext {
  /** Names of the user's own strategies. Default: none. */
  readonly strategies?: readonly string[]
}

/** Options of the whole gateway. Throws OptionsError with every problem. */
export function parseOptions (input: unknown, context: ParseContext = {}): ParsedOptions {
  const problems: OptionProblem[] = []
  const parsed = tryParseOptions(input, context, problems)
  if (parsed === undefined) throw new OptionsError(problems)
  return parsed
}

/** The same for callers with problems of their own: adds to `problems`, and returns undefined when it did. */
export function tryParseOptions (input: unknown, context: ParseContext, problems: OptionProblem[]): ParsedOptions | undefined {
  const origin = originOf(context)
  const found: OptionProblem[] = []
  const options = prepare(gatewaySchema, input ?? {}, '', { problems: found, origin })
  if (isRecord(options)) crossCheckGateway(options, { problems: found, origin })
  if (found.length > 0) {
    problems.push(...found)
    return undefined
  }
  return deepFreeze(resolveGateway(options as GatewayOptions, origin))
}

/**
 * The `proxy` option of a route. `path` is where it stands, for errors. Throws OptionsError with every problem.
 */
export function parseProxy (input: unknown, path: string, context: ProxyContext = {}): ProxyConfig {
  return parse<ProxyOptions, ProxyConfig>(proxySchema, input, path, {
    crossCheck: (proxy, walk) => { crossCheckProxy(proxy, path, context.routePath, knownOf(context), walk) },
    resolve: resolveProxy
  })
}

/**
 * The `composite` option of a route, or of `reply.composite()`. `path` is where it stands, for errors. Throws OptionsError
 * with every problem.
 */
export function parseComposite (input: unknown, path: string, context: CompositeContext = {}): CompositeConfig {
  return parse<CompositeOptions, CompositeConfig>(compositeSchema, input, path, {
    crossCheck: (composite, walk) => { crossCheckComposite(composite, path, context.routePath, knownOf(context), walk) },
    resolve: resolveComposite
  })
}

/**
 * A backend by itself, as `backends.add()` takes it. `context` gives what it does not say (the parsed options of the gateway do);
 * `path` is where it stands, for errors. Throws OptionsError with every problem.
 */
export function parseBackend (input: unknown, context: BackendContext, path: string): BackendConfig {
  const { backendDefaults = BUILT_IN_DEFAULTS, balancers = {}, name } = context
  const known: Known = { ...UNKNOWN, balancers: Object.keys(balancers), shared: { ...backendDefaults.said } }
  return parse<BackendOptions, BackendConfig>(backendSchema, input, path, {
    crossCheck: (backend, walk) => { crossCheckBackend(backend, path, known, walk, name) },
    resolve: (backend, origin) => resolveBackend(backend, backendDefaults, origin, name)
  })
}

/** Milliseconds of a duration, `250` or `'10s'`; undefined for what is none. */
export function parseDuration (value: unknown): number | undefined {
  if (typeof value === 'number') return value >= 0 ? value : undefined
  return typeof value === 'string' && RULES.duration(value) === undefined ? milliseconds(value) : undefined
}

/** What is wrong with a backend's name, or undefined. */
export function backendNameProblem (name: string): string | undefined {
  return RULES.backendName(name)
}

/** A target by itself; its `url` comes back in normal form. Throws OptionsError with every problem. */
export function parseTarget (input: unknown, path: string, { health }: TargetContext = {}): TargetConfig {
  return parse<TargetOption, TargetConfig>(targetSchema, input, path, {
    crossCheck: (target, walk) => { if (isRecord(target)) crossCheckTargetHealth(target['health'], at(path, 'health'), health, undefined, walk) },
    resolve: target => resolveTarget(target, undefined, option => resolveTargetHealth(option, undefined, health))
  })
}

/** Changes of a target that runs: weight, maxConnections, active, metadata. Throws OptionsError with every problem. */
export function parseTargetPatch (input: unknown, path: string): Partial<Omit<TargetConfig, 'url' | 'health'>> {
  return parse<TargetPatchOption, Partial<Omit<TargetConfig, 'url' | 'health'>>>(targetPatchSchema, input, path, { resolve: resolveTargetPatch })
}

interface Stages<From, To> {
  crossCheck?: (value: unknown, walk: Walk) => void
  resolve: (value: From, origin: Origin) => To
}

function parse<From, To> (schema: Rules, input: unknown, path: string, stages: Stages<From, To>): To {
  const walk: Walk = { problems: [], origin: originOf({}) }
  const value = prepare(schema, input, path, walk)
  stages.crossCheck?.(value, walk)
  if (walk.problems.length > 0) throw new OptionsError(walk.problems)
  return deepFreeze(stages.resolve(value as From, walk.origin))
}

function prepare (schema: Rules, input: unknown, path: string, walk: Walk): unknown {
  const value = copy(input, path, walk.problems)
  check(schema, value, path, walk)
  return value
}

function originOf ({ source = 'code', baseDir = process.cwd() }: ParseContext): Origin {
  return { source, baseDir }
}

/** Where nothing is known but what is parsed. */
const UNKNOWN: Known = { balancers: [], strategies: [], backends: undefined, defaultBackend: undefined, shared: {} }

function knownOf ({ backends, defaultBackend, strategies = [] }: CompositeContext): Known {
  return { ...UNKNOWN, strategies, backends, defaultBackend }
}
