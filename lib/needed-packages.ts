/** Packages that only some configurations need. What is missing shows when the gateway starts; here it can be told before. Pure. */
import { isRecord } from './options/copy.ts'
import type { OptionProblem } from './errors.ts'
import type { GatewayConfig } from './types.ts'

export interface MissingPackage extends OptionProblem {
  /** Whether a gateway without it does not start; else it starts, and the backend has no targets. */
  readonly refuses: boolean
}

const KUBERNETES = '@kubernetes/client-node'
const TRACING = '@opentelemetry/api'

/** `isThere`: whether the package can be loaded. */
export function missingPackages (config: Pick<GatewayConfig, 'backends' | 'tenancy' | 'tracing'>, isThere: (name: string) => boolean): MissingPackage[] {
  const needed = [...ofBackends(config), ...ofTenants(config)].map(({ path, refuses }) => ({ path, name: KUBERNETES, refuses }))
  if (config.tracing !== undefined) needed.push({ path: 'tracing', name: TRACING, refuses: true })
  return needed.filter(({ name }) => !isThere(name)).map(({ path, name, refuses }) => ({ path, rule: `needs the package "${name}": npm install ${name}`, refuses }))
}

type Place = Pick<MissingPackage, 'path' | 'refuses'>

function ofBackends ({ backends }: Pick<GatewayConfig, 'backends'>): Place[] {
  return Object.entries(backends).flatMap(([name, { discovery }]) =>
    discovery?.source.kind === 'kubernetes' ? [{ path: `backends.${name}.discovery.kubernetes`, refuses: discovery.onBootTimeout === 'refuse' }] : [])
}

/** Theirs are as they were written. They are asked for when the first request comes. */
function ofTenants ({ tenancy }: Pick<GatewayConfig, 'tenancy'>): Place[] {
  return Object.entries(tenancy?.tenants ?? {}).flatMap(([id, tenant]) => tenant === false
    ? []
    : Object.entries(tenant.backends ?? {}).flatMap(([name, backend]) => isRecord(backend) && isRecord(backend['discovery']) && backend['discovery']['kubernetes'] !== undefined
      ? [{ path: `tenancy.tenants.${id}.backends.${name}.discovery.kubernetes`, refuses: false }]
      : []))
}
