/**
 * A tenant by itself: parsed when it is named at run time or loaded, and put over the routes that it changes.
 */
import { OptionsError, type OptionProblem } from '../errors.ts'
import type { CompositeConfig } from '../composite/types.ts'
import type { RouteOverride, RouteTenancyConfig } from '../tenancy/types.ts'
import type { BackendConfig, GatewayConfig, ProxyConfig } from '../types.ts'
import type { Walk } from './check.ts'
import { deepFreeze } from './copy.ts'
import { reservedHeaders, tenantIdProblem } from './cross-check-tenancy.ts'
import { checkCompositeOver, checkProxyOver, crossCheckTenant, type Everybody } from './cross-check-tenant.ts'
import { at } from './paths.ts'
import { resolveComposite } from './resolve-composite.ts'
import { resolveProxy } from './resolve-route.ts'
import { resolveRouteTenancy, withPem } from './resolve-tenancy.ts'
import type { CompositeOptions } from './schema/composite.ts'
import type { ProxyOptions } from './schema/proxy.ts'
import { routeTenancySchema, type RouteTenancyOptions } from './schema/route-tenancy.ts'
import { tenantOrOffSchema, type TenantOptions } from './schema/tenancy.ts'
import { knownOf, originOf, parse, prepare, type CompositeContext, type ProxyContext } from './stages.ts'

/** The gateway that a tenant is one of; parsed gateway options have it all. */
export interface TenantContext extends Pick<GatewayConfig, 'backends' | 'backendDefaults' | 'defaultBackend' | 'balancers' | 'strategies' | 'routes' | 'tenancy'> {
  /** The backends that there are now. Default: those of the options. */
  readonly current?: {
    names (): readonly string[]
    get (name: string): BackendConfig | undefined
  }
}

/** The `tenancy` option of a route. `path` is where it stands, for errors. Throws OptionsError with every problem. */
export function parseRouteTenancy (input: unknown, path: string): RouteTenancyConfig {
  return parse<RouteTenancyOptions, RouteTenancyConfig>(routeTenancySchema, input, path, { resolve: resolveRouteTenancy })
}

/**
 * A tenant as `tenants.set()` and `load` give it; false: it is refused. It stays as it was written, checked and frozen.
 * Throws OptionsError with every problem.
 */
export function parseTenant (input: unknown, id: string, gateway: TenantContext, path: string = at('tenancy.tenants', id)): TenantOptions | false {
  const walk: Walk = { problems: [], origin: originOf({}) }
  const tenant = prepare(tenantOrOffSchema, input, path, walk)
  const rule = gateway.tenancy === undefined ? undefined : tenantIdProblem(id, gateway.tenancy)
  if (rule !== undefined) walk.problems.push({ path, rule, value: id })
  crossCheckTenant(tenant, path, everybodyOf(gateway), walk)
  if (walk.problems.length > 0) throw new OptionsError(walk.problems)
  return deepFreeze(tenant === false ? false : withPem(tenant as TenantOptions, walk.origin))
}

/** Everything about a tenant's options that can be known before its first request. */
export function checkTenant (id: string, options: unknown, gateway: TenantContext, path: string = at('tenancy.tenants', id)): OptionProblem[] {
  try {
    parseTenant(options, id, gateway, path)
    return []
  } catch (error) {
    if (error instanceof OptionsError) return [...error.problems]
    throw error
  }
}

/**
 * The `proxy` of a route as a tenant has it: `over` over what the route says, key by key. `said` undefined: a route to the default
 * backend. Throws OptionsError with every problem.
 */
export function overrideProxy (said: ProxyOptions | undefined, over: NonNullable<RouteOverride['proxy']>, path: string, context: ProxyContext = {}): ProxyConfig {
  const walk: Walk = { problems: [], origin: originOf({}) }
  const merged = checkProxyOver(said ?? {}, over, path, context.routePath, knownOf(context), walk)
  if (walk.problems.length > 0) throw new OptionsError(walk.problems)
  return deepFreeze(resolveProxy(merged as ProxyOptions))
}

/** The `composite` of a route as a tenant has it. Throws OptionsError with every problem. */
export function overrideComposite (said: CompositeOptions, over: NonNullable<RouteOverride['composite']>, path: string, context: CompositeContext = {}): CompositeConfig {
  const walk: Walk = { problems: [], origin: originOf({}) }
  const merged = checkCompositeOver(said, over, path, context.routePath, knownOf(context), walk)
  if (walk.problems.length > 0) throw new OptionsError(walk.problems)
  return deepFreeze(resolveComposite(merged))
}

function everybodyOf (gateway: TenantContext): Everybody {
  const { backends, backendDefaults, defaultBackend, balancers, strategies, routes, tenancy, current } = gateway
  return {
    known: {
      balancers: Object.keys(balancers),
      strategies: Object.keys(strategies),
      backends: undefined,
      defaultBackend,
      shared: { ...backendDefaults.said },
      reserved: reservedHeaders(tenancy)
    },
    backend: name => (current === undefined ? backends[name] : current.get(name))?.said,
    get backends () { return current?.names() ?? Object.keys(backends) },
    route: name => routes.find(route => route.name === name)?.said
  }
}
