/**
 * Tenancy: whose request it is, and what holds for that tenant. Options parsed, defaulted, frozen. Durations in ms.
 */
import type { FastifyRequest } from 'fastify'
import type { BackendConfig, HeaderRules, LimitsConfig, Metadata } from '../types.ts'
import type { ProxyOptions, CompositeOptions, TenantOptions } from '../options/index.ts'

/** Where a tenant's id is looked for. */
export type TenantSource =
  /** A request header; lower case. */
  | { readonly kind: 'header', readonly name: string }
  /** The host without its port, lower case: what stands between `before` and `after`, as one label (no dots). */
  | { readonly kind: 'host', readonly before: string, readonly after: string }
  /** A parameter of the route's path. */
  | { readonly kind: 'param', readonly name: string }
  /** A query parameter. */
  | { readonly kind: 'query', readonly name: string }
  /** A claim of `request.user`, or of what `from` gives; the path of names that leads to it. */
  | { readonly kind: 'claim', readonly path: readonly string[], readonly from: ((request: FastifyRequest) => unknown) | undefined }
  | { readonly kind: 'function', readonly resolve: ResolveTenant }

/** undefined or null: it does not know. What it throws is the answer, with its `statusCode`. */
export type ResolveTenant = (request: FastifyRequest) => string | undefined | null | Promise<string | undefined | null>

/** A tenant's options, from a database or elsewhere; undefined or null: there is no such tenant; false: it is refused. */
export type LoadTenant = (id: string) => TenantOptions | false | undefined | null | Promise<TenantOptions | false | undefined | null>

/** A tenant as hooks and handlers see it. */
export interface Tenant {
  readonly id: string
  /** Whether it is one of the options, of `tenants.set()` or of `load`. */
  readonly known: boolean
  readonly metadata: Metadata
}

/** Validates, or refuses by throwing an error with a `statusCode`. `request.reverseproxy.tenant` is set by then. */
export type OnTenant = (request: FastifyRequest, tenant: Tenant) => void | Promise<void>

/** Headers of all calls of this request: a text sets, undefined removes. */
export type TenantHeaders = (tenant: Tenant, request: FastifyRequest) => Readonly<Record<string, string | undefined>> | undefined | void | Promise<Readonly<Record<string, string | undefined>> | undefined | void>

/** `tenancy` of the gateway. */
export interface TenancyConfig {
  /** In order. Default: the header `x-tenant-id`. */
  readonly sources: readonly TenantSource[]
  /** When it is resolved. Default `onRequest`; `preHandler` where a claim of `request.user` is a source. */
  readonly hook: 'onRequest' | 'preValidation' | 'preHandler'
  /** A request without a tenant is a 400. Default false. */
  readonly required: boolean
  /** `default`: treated as everybody is; `reject`: 403. Default `default`. */
  readonly unknown: 'default' | 'reject'
  /** Header that tells the backend the resolved id, lower case; undefined: none. Default: the first header source, else `x-tenant-id`. */
  readonly forwardAs: string | undefined
  /** Longest id, characters. Default 64. */
  readonly maxLength: number
  /** What an id looks like. Default: letters, digits, `.`, `_` and `-`, beginning with a letter or digit. */
  readonly pattern: RegExp
  /** By id; false: refused. As a user writes them, checked and frozen. Without a prototype. */
  readonly tenants: Readonly<Record<string, TenantOptions | false>>
  readonly load: LoadTenant | undefined
  readonly cache: TenantCacheConfig
  readonly scopes: {
    /** Most tenants that have breakers, pools and counters of their own at once; the least recently used goes first. Default 10,000. */
    readonly max: number
    /** How long those of a tenant without requests are kept. Default 10 min. */
    readonly idle: number
  }
  /** `state`: breakers, passive health, budgets of its own; `pool`: connections as well. Default `state`. */
  readonly isolation: 'state' | 'pool'
  /** Most tenants that get a label of their own in metrics; the others are `other`. Default 100. */
  readonly labels: number
  /** Whether logs, metrics, traces and dumps show a hash in place of the id; a text is mixed in (HMAC). Default false. */
  readonly hashIds: boolean | string
  readonly onTenant: readonly OnTenant[]
  readonly headers: readonly TenantHeaders[]
}

/** What `load` gave is kept. */
export interface TenantCacheConfig {
  /** How long it counts as fresh. Default 1 min. */
  readonly ttl: number
  /** How long "there is no such tenant" counts. Default 10 s. */
  readonly negativeTtl: number
  /** How long past `ttl` it is used when `load` fails. Default 1 h. */
  readonly staleIfError: number
  /** How long `load` may take. Default 5 s. */
  readonly timeout: number
  /** Most tenants that are remembered; the least recently used goes first. Default 10,000. */
  readonly max: number
}

/** `tenancy` of a route. */
export interface RouteTenancyConfig {
  /** false: the tenant is not looked for. */
  readonly resolve: boolean
  /** undefined: what the gateway says. */
  readonly required: boolean | undefined
  /** false: only for tenants that switch it on. */
  readonly enabled: boolean
  /** After those of the gateway. */
  readonly onTenant: readonly OnTenant[]
  readonly headers: readonly TenantHeaders[]
}

/** What holds for one tenant: its options over those for everybody. */
export interface TenantConfig {
  readonly defaultBackend: string | undefined
  /** The gateway's header changes, then the tenant's. */
  readonly headers: HeaderRules
  readonly limits: LimitsConfig
  readonly metadata: Metadata
  /** By the route's name; false: a 404 for this tenant; true: switched on. */
  readonly routes: Readonly<Record<string, RouteOverride | boolean>> | undefined
  /**
   * A backend as this tenant has it. `base`: what everybody has under this name. Returns `config === base` where nothing
   * is different; undefined where there is none, or the tenant's is switched off.
   */
  backend (name: string, base: BackendConfig | undefined): TenantBackend | undefined
}

export interface TenantBackend {
  readonly config: BackendConfig
  /** Whether the tenant names targets of its own; else it uses those of everybody. */
  readonly ownTargets: boolean
}

/** Over what the route says, key by key. */
export interface RouteOverride {
  readonly enabled?: boolean
  readonly proxy?: Partial<Exclude<ProxyOptions, string>> | string
  /** `parts` by name; false takes a part away. */
  readonly composite?: Omit<Partial<CompositeOptions>, 'parts'> & { readonly parts?: Readonly<Record<string, unknown>> }
}
