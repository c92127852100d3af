/**
 * Options: parse → copy → default → deep-freeze. All problems at once, and never a change to what the user passed.
 *
 * A value is copied (`copy.ts`), held against its schema (`check.ts`) and against the other options (`cross-check.ts`), and only
 * when nothing is wrong turned into what `lib/types.ts` calls a config (`resolve-*.ts`).
 */
import { OptionsError, type OptionProblem } from '../errors.ts'
import type { CompositeConfig } from '../composite/types.ts'
import type { BackendConfig, ProxyConfig, TargetConfig } from '../types.ts'
import { deepFreeze, isRecord } from './copy.ts'
import { crossCheckBackend, crossCheckGateway, crossCheckProxy, type Known } from './cross-check.ts'
import { crossCheckTargetHealth } from './cross-check-resilience.ts'
import { crossCheckComposite } from './cross-check-composite.ts'
import { reservedHeaders } from './cross-check-tenancy.ts'
import { crossCheckTenants } from './cross-check-tenant.ts'
import { at } from './paths.ts'
import { BUILT_IN_DEFAULTS, BUILT_IN_HEADERS, resolveBackend, resolveTarget, resolveTargetPatch, type BackendDefaults } from './resolve-backend.ts'
import { resolveComposite } from './resolve-composite.ts'
import { resolveGateway, type ParsedOptions } from './resolve-gateway.ts'
import { resolveTargetHealth, retryOver } from './resolve-resilience.ts'
import { resolveProxy } from './resolve-route.ts'
import { RULES } from './rules.ts'
import {
  knownOf, originOf, parse, prepare, UNKNOWN,
  type BackendContext, type CompositeContext, type ParseContext, type ProxyContext, type TargetContext
} from './stages.ts'
import { milliseconds } from './units.ts'
import {
  backendSchema, targetPatchSchema, targetSchema,
  type BackendOptions, type FullBackendOption, type TargetOption, type TargetPatchOption
} from './schema/backend.ts'
import { compositeSchema, type CompositeOptions, type PartOptions } from './schema/composite.ts'
import { gatewaySchema, type GatewayOptions } from './schema/gateway.ts'
import { proxySchema, type ProxyOptions, type RouteOption } from './schema/proxy.ts'
import type { RouteTenancyOptions } from './schema/route-tenancy.ts'
import type { TenancyOptions, TenantOptions } from './schema/tenancy.ts'

export type {
  BackendContext, BackendDefaults, BackendOptions, CompositeContext, CompositeOptions, FullBackendOption, GatewayOptions, ParseContext, ParsedOptions,
  PartOptions, ProxyContext, ProxyOptions, RouteOption, RouteTenancyOptions, TargetContext, TargetOption, TargetPatchOption, TenancyOptions, TenantOptions
}
export { retryOver }
export { mergeOptions } from './merge.ts'
export { resolveTenant } from './resolve-tenant.ts'
export { checkTenant, overrideComposite, overrideProxy, parseRouteTenancy, parseTenant, type TenantContext } from './tenant.ts'
export { splitTargetUrl, type TargetAddress } from './target-url.ts'

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
  if (isRecord(options)) {
    crossCheckGateway(options, { problems: found, origin })
    crossCheckTenants(options, { problems: found, origin })
  }
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
  const { backendDefaults = BUILT_IN_DEFAULTS, balancers = {}, headers = BUILT_IN_HEADERS, tenancy, name } = context
  const known: Known = { ...UNKNOWN, balancers: Object.keys(balancers), shared: { ...backendDefaults.said }, reserved: reservedHeaders(tenancy) }
  return parse<BackendOptions, BackendConfig>(backendSchema, input, path, {
    crossCheck: (backend, walk) => { crossCheckBackend(backend, path, known, walk, name) },
    resolve: (backend, origin) => resolveBackend(backend, { defaults: backendDefaults, headers }, origin, name)
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
