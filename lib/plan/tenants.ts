/**
 * What changes of the tenants that the options name. Options are what a tenant says itself.
 */
import { isRecord } from '../options/copy.ts'
import { fullBackend } from '../options/merge.ts'
import { tenantOrOffSchema } from '../options/schema/tenancy.ts'
import type { TenantOptions } from '../options/index.ts'
import type { GatewayConfig } from '../types.ts'
import { diffOptions } from './diff.ts'
import { TENANT } from './forms.ts'
import { changesOf } from './named.ts'
import type { Changes, NamedChange } from './types.ts'

type Tenancy = Pick<GatewayConfig, 'tenancy'>

export function planTenants (before: Tenancy, after: Tenancy): Changes<string, NamedChange> {
  return changesOf(before.tenancy?.tenants ?? {}, after.tenancy?.tenants ?? {}, (name, one, other) => {
    const options = diffOptions({ schema: tenantOrOffSchema, form: TENANT }, inFull(one), inFull(other))
    return options.length === 0 ? undefined : { name, options }
  })
}

/** A URL or a list of targets is a backend, too. */
function inFull (tenant: TenantOptions | false): unknown {
  if (tenant === false || tenant.backends === undefined) return tenant
  const backends = Object.entries(tenant.backends).map(([name, backend]) => [name, backend === false ? false : withTargets(fullBackend(backend as Parameters<typeof fullBackend>[0]))])
  return { ...tenant, backends: Object.fromEntries(backends) as unknown }
}

/** `url` is short for one target, and a target's URL for a target. */
function withTargets ({ url, targets, ...options }: ReturnType<typeof fullBackend>): unknown {
  const list = targets ?? (url === undefined ? undefined : [url])
  return list === undefined ? options : { ...options, targets: list.map(target => isRecord(target) && Object.keys(target).length === 1 ? target['url'] : target) }
}
