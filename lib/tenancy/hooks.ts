/**
 * Tenant hooks, encapsulated as Fastify's own are: a plugin's hooks hold for the routes of that plugin and of those it
 * registers, after those of the plugins around it.
 */
import type { FastifyInstance } from 'fastify'
import type { OnTenant, TenantHeaders } from './types.ts'

export interface TenantHooks {
  onTenant: readonly OnTenant[]
  headers: readonly TenantHeaders[]
}

const kHooks = Symbol('reverseproxy.tenantHooks')

interface Hooked { [kHooks]?: TenantHooks }

/** What holds on an instance of Fastify. */
export function hooksOf (instance: FastifyInstance): TenantHooks {
  return (instance as unknown as Hooked)[kHooks] ?? { onTenant: [], headers: [] }
}

/** @throws TypeError for a name or a hook that is none */
export function addHook (instance: FastifyInstance, name: keyof TenantHooks, hook: OnTenant | TenantHeaders): void {
  if (name !== 'onTenant' && name !== 'headers') throw new TypeError(`there is no tenant hook ${JSON.stringify(name)}: there are onTenant and headers`)
  if (typeof hook !== 'function') throw new TypeError(`a tenant hook must be a function (got ${JSON.stringify(hook)})`)
  const hooks = hooksOf(instance)
  // an instance inherits from the one around it: its own list begins with that one's
  ;(instance as unknown as Hooked)[kHooks] = { ...hooks, [name]: [...hooks[name], hook] }
}

/** Called as an instance is made: what the instance around it adds later is not for this one. */
export function inheritHooks (instance: FastifyInstance): void {
  (instance as unknown as Hooked)[kHooks] = hooksOf(instance)
}
