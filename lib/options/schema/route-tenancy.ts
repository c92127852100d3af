/**
 * Options of tenancy that a route has: whether it looks for the tenant, and hooks of its own.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { OnTenant, TenantHeaders } from '../../tenancy/types.ts'
import { DEFAULTS } from '../defaults.ts'
import { fn, object } from './values.ts'

/** One function, or several that run in order. */
const hooks = <F>(description: string) => Type.Optional(Type.Union([fn<F>(), Type.Array(fn<F>())], {
  rule: 'must be a function or a list of functions',
  description: `Code only: ${description} A list runs in order.`
}))

/** What the gateway and a route have in common. */
export const tenantHooks = {
  onTenant: hooks<OnTenant>('called with the request and the tenant; throws to refuse.'),
  headers: hooks<TenantHeaders>('called with the tenant and the request; gives headers of all calls, undefined for one takes it away.')
}

/** `tenancy` of a route. */
export const routeTenancySchema = Type.Union([Type.Boolean(), object({
  required: Type.Optional(Type.Boolean({ description: 'Whether a request without a tenant is refused (400). Default: what the gateway says.' })),
  enabled: Type.Optional(Type.Boolean({ default: DEFAULTS.routeTenancy.enabled, description: 'false: only for tenants that switch the route on; a 404 for everybody else.' })),
  ...tenantHooks
})], {
  default: DEFAULTS.routeTenancy.resolve,
  rule: 'must be true, false, or { required, enabled }',
  description: 'Tenancy of this route: true, false (the tenant is not looked for), or an object.'
})
export type RouteTenancyOptions = Static<typeof routeTenancySchema>
