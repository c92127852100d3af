/**
 * One tenant: its options over what everybody has. Everything here has been checked.
 *
 * Level by level, at each of which the tenant's word wins: defaults, gateway, tenant, backend, the tenant's backend, route, the
 * tenant's route.
 */
import type { TenantBackend, TenantConfig } from '../tenancy/types.ts'
import type { BackendConfig, GatewayConfig, HeaderRules, LimitsConfig, TargetConfig } from '../types.ts'
import { deepFreeze, isRecord } from './copy.ts'
import { HEADERS } from './forms.ts'
import { fullBackend, mergeBackend, mergeOptions } from './merge.ts'
import { resolveBackend, resolveHeaderRules, resolveShared, type BackendDefaults } from './resolve-backend.ts'
import { resolveLimits } from './resolve-limits.ts'
import type { Origin } from './rules.ts'
import { sharedBackendProperties, type BackendOptions } from './schema/backend.ts'
import type { TenantOptions } from './schema/tenancy.ts'

/** Files have been read when the options were parsed. */
const ORIGIN: Origin = { source: 'code', baseDir: '' }

const SHARED = Object.keys(sharedBackendProperties)

/** What holds for a tenant with these options, which have been checked. Its backends are put together when they are asked for. */
export function resolveTenant (_id: string, options: TenantOptions, gateway: GatewayConfig): TenantConfig {
  const { backends = {}, metadata = {} } = options
  const headers = tenantHeaders(options, gateway.headers)
  const isShared = SHARED.every(name => !Object.hasOwn(options, name))
  let defaults: BackendDefaults | undefined
  return {
    defaultBackend: options.defaultBackend ?? gateway.defaultBackend,
    headers,
    limits: tenantLimits(options, gateway.limits),
    metadata,
    routes: options.routes === undefined ? undefined : withoutPrototype(options.routes) as NonNullable<TenantConfig['routes']>,
    backend (name, base) {
      const over = Object.hasOwn(backends, name) ? backends[name] : undefined
      if (over === false || (over === undefined && base === undefined)) return undefined
      if (over === undefined && isShared && headers === gateway.headers) return { config: base!, ownTargets: false }
      defaults ??= isShared ? gateway.backendDefaults : deepFreeze(resolveShared(options, gateway.backendDefaults, ORIGIN))
      return tenantBackend(name, base, over, { defaults, headers })
    }
  }
}

function tenantBackend (name: string, base: BackendConfig | undefined, over: BackendOptions | object | undefined, level: { readonly defaults: BackendDefaults, readonly headers: HeaderRules }): TenantBackend | undefined {
  const own = over === undefined ? {} : fullBackend(over as BackendOptions)
  const ownTargets = own.url !== undefined || own.targets !== undefined || own.discovery !== undefined
  // it names nothing but changes of a backend that has been taken away since
  if (base === undefined && !ownTargets) return undefined
  const said = mergeBackend(base?.said, own)
  const config = resolveBackend(said, level, ORIGIN, name)
  return { config: deepFreeze(ownTargets ? config : { ...config, targets: currentTargets(config, base!) }), ownTargets }
}

/** Targets may have come and gone since the backend said which it has. */
function currentTargets ({ targets }: BackendConfig, base: BackendConfig): readonly TargetConfig[] {
  return base.targets.map(target => targets.find(({ url }) => url === target.url) ?? target)
}

/** The gateway's header changes, then the tenant's. */
function tenantHeaders ({ headers }: TenantOptions, above: HeaderRules): HeaderRules {
  return headers === undefined ? above : deepFreeze(mergeOptions(above, resolveHeaderRules(headers), HEADERS))
}

function tenantLimits ({ limits }: TenantOptions, above: LimitsConfig): LimitsConfig {
  return limits === undefined ? above : deepFreeze(resolveLimits(limits, above))
}

function withoutPrototype<V> (record: Readonly<Record<string, V>>): Readonly<Record<string, V>> {
  return isRecord(record) ? Object.assign(Object.create(null) as Record<string, V>, record) : record
}
