/**
 * Tenant hooks, encapsulated as Fastify's own are: a plugin's hooks hold for the routes of that plugin and of those it
 * registers, after those of the plugins around it.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { InvalidCallError } from '../errors.ts'
import type { RequestRecord } from '../types.ts'
import type { OnTenant, Tenant, TenantHeaders } from './types.ts'

export interface TenantHooks {
  onTenant: readonly OnTenant[]
  headers: readonly TenantHeaders[]
}

export interface TenantHookStore {
  /** What holds on an instance of Fastify. */
  of (instance: FastifyInstance): TenantHooks
  /** @throws TypeError for a name or a hook that is none */
  add (instance: FastifyInstance, name: keyof TenantHooks, hook: OnTenant | TenantHeaders): void
  /** Called as an instance is made: what the instance around it adds later is not for this one. */
  inherit (instance: FastifyInstance): void
}

export function createHookStore (): TenantHookStore {
  const hooks = new WeakMap<object, TenantHooks>()

  function of (instance: object): TenantHooks {
    return hooks.get(instance) ?? { onTenant: [], headers: [] }
  }

  return {
    of,
    add (instance, name, hook) {
      if (name !== 'onTenant' && name !== 'headers') throw new TypeError(`there is no tenant hook ${JSON.stringify(name)}: there are onTenant and headers`)
      if (typeof hook !== 'function') throw new TypeError(`a tenant hook must be a function (got ${JSON.stringify(hook)})`)
      const before = of(instance)
      hooks.set(instance, { ...before, [name]: [...before[name], hook] })
    },
    // Fastify makes an instance with the one around it as its prototype
    inherit (instance) { hooks.set(instance, of(Object.getPrototypeOf(instance) as object)) }
  }
}

/** All of them, one after the other. Writes the record's `tenantHeaders`. Rejects with what a hook threw, or InvalidCallError */
export async function runHooks (hooks: TenantHooks, request: FastifyRequest, record: RequestRecord, tenant: Tenant): Promise<void> {
  for (const onTenant of hooks.onTenant) await onTenant(request, tenant)
  for (const headers of hooks.headers) {
    const made = await headers(tenant, request)
    if (made === undefined || made === null) continue
    // a list, a Map or a Headers would be taken for an object without headers
    if (typeof made !== 'object' || Symbol.iterator in made) throw new InvalidCallError({ cause: new Error(`a headers hook of tenancy must return an object of names and texts (got ${Object.prototype.toString.call(made)})`) })
    record.tenantHeaders = over(record.tenantHeaders, made)
  }
}

/** Lower case, so that a later hook's word goes before an earlier one's however each writes the name. */
function over (before: RequestRecord['tenantHeaders'], made: NonNullable<RequestRecord['tenantHeaders']>): NonNullable<RequestRecord['tenantHeaders']> {
  const headers = Object.assign(Object.create(null) as Record<string, string | undefined>, before)
  for (const [name, value] of Object.entries(made)) headers[name.toLowerCase()] = value
  return headers
}
