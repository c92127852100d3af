/**
 * Tenancy of the gateway and of routes: from what a user may write to what the house works with. Everything here has been
 * checked. Tenants stay as they were written: they are put over what everybody has when they are first needed.
 */
import type { RouteTenancyConfig, TenancyConfig, TenantSource } from '../tenancy/types.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { resolveTls } from './resolve-backend.ts'
import { withPortableDiscovery } from './resolve-discovery.ts'
import type { Origin } from './rules.ts'
import type { FullBackendOption } from './schema/backend.ts'
import type { RouteTenancyOptions } from './schema/route-tenancy.ts'
import type { TenancyOptions, TenantOptions, TenantSourceOption } from './schema/tenancy.ts'
import { milliseconds } from './units.ts'

const { tenancy: INITIAL, routeTenancy: ROUTE } = DEFAULTS

type SourceOption = TenantSourceOption | Extract<TenantSource, { kind: 'function' }>['resolve']

export function resolveTenancy (options: TenancyOptions, origin: Origin): TenancyConfig {
  const sources = sourcesOf(options).map(resolveSource)
  const { cache = {}, scopes = {} } = options
  return {
    sources,
    hook: options.hook ?? (sources.some(source => source.kind === 'claim' && source.from === undefined) ? 'preHandler' : 'onRequest'),
    required: options.required ?? INITIAL.required,
    unknown: options.unknown ?? INITIAL.unknown,
    forwardAs: forwardedAs(options.forwardAs, sources),
    maxLength: options.maxLength ?? INITIAL.maxLength,
    pattern: wholePattern(options.pattern),
    tenants: resolveTenants(options.tenants ?? {}, origin),
    load: options.load,
    cache: {
      ttl: milliseconds(cache.ttl ?? INITIAL.cache.ttl),
      negativeTtl: milliseconds(cache.negativeTtl ?? INITIAL.cache.negativeTtl),
      staleIfError: milliseconds(cache.staleIfError ?? INITIAL.cache.staleIfError),
      timeout: milliseconds(cache.timeout ?? INITIAL.cache.timeout),
      max: cache.max ?? INITIAL.cache.max
    },
    scopes: { max: scopes.max ?? INITIAL.scopes.max, idle: milliseconds(scopes.idle ?? INITIAL.scopes.idle) },
    isolation: options.isolation ?? INITIAL.isolation,
    labels: options.labels ?? INITIAL.labels,
    hashIds: options.hashIds ?? INITIAL.hashIds,
    onTenant: [options.onTenant ?? []].flat(),
    headers: [options.headers ?? []].flat()
  }
}

/** `tenancy` of a route. */
export function resolveRouteTenancy (option: RouteTenancyOptions): RouteTenancyConfig {
  const { required, enabled = ROUTE.enabled, onTenant = [], headers = [] } = typeof option === 'object' ? option : {}
  return { resolve: option !== false, required, enabled, onTenant: [onTenant].flat(), headers: [headers].flat() }
}

function sourcesOf ({ header, sources }: TenancyOptions): SourceOption[] {
  return sources === undefined ? [{ header: header ?? INITIAL.header }] : [sources].flat()
}

function resolveSource (option: SourceOption): TenantSource {
  if (typeof option === 'function') return { kind: 'function', resolve: option }
  const { header, host, param, query, claim, from, resolve } = option
  if (header !== undefined) return { kind: 'header', name: header.toLowerCase() }
  if (host !== undefined) {
    const [before = '', after = ''] = host.toLowerCase().split('{tenant}')
    return { kind: 'host', before, after }
  }
  if (param !== undefined) return { kind: 'param', name: param }
  if (query !== undefined) return { kind: 'query', name: query }
  if (resolve !== undefined) return { kind: 'function', resolve }
  return { kind: 'claim', path: typeof claim === 'string' ? claim.split('.') : claim ?? [], from }
}

/** `sources` as they are parsed. */
function forwardedAs (option: string | false | undefined, sources: readonly TenantSource[]): string | undefined {
  if (option === false) return undefined
  return option?.toLowerCase() ?? sources.find(source => source.kind === 'header')?.name ?? INITIAL.header
}

/** The whole id must match: lines of it would not do, nor what matched last time. */
export function wholePattern (pattern: string | RegExp = INITIAL.pattern): RegExp {
  const { source, flags } = typeof pattern === 'string' ? { source: pattern, flags: '' } : pattern
  return new RegExp(`^(?:${source})$`, flags.replace(/[gmy]/g, ''))
}

/** Without a prototype, so that a name like `constructor` finds nothing but what was put there. */
function resolveTenants (tenants: NonNullable<TenancyOptions['tenants']>, origin: Origin): TenancyConfig['tenants'] {
  const made = Object.create(null) as Record<string, TenantOptions | false>
  for (const [id, tenant] of Object.entries(tenants)) made[id] = tenant === false ? false : withPem(tenant, origin)
  return made
}

/** The same with certificates as texts, and absolute paths of what is followed: files are read now, and what is put together later knows nothing of their folder. */
export function withPem (tenant: TenantOptions, origin: Origin): TenantOptions {
  const { tls, backends = {} } = tenant
  const changed = Object.entries(backends).filter(([, backend]) => isRecord(backend) && (backend['tls'] !== undefined || backend['discovery'] !== undefined))
    .map(([name, backend]) => [name, withPortableDiscovery(withTlsTexts(backend as FullBackendOption, origin), origin)] as const)
  if (tls === undefined && changed.length === 0) return tenant
  return {
    ...tenant,
    ...(tls === undefined ? undefined : withTlsTexts({ tls }, origin)),
    ...(changed.length === 0 ? undefined : { backends: { ...backends, ...Object.fromEntries(changed) } })
  }
}

/** What resolves to the same again, wherever. */
export function withTlsTexts<O extends { tls?: TenantOptions['tls'] }> (options: O, origin: Origin): O {
  return options.tls === undefined ? options : { ...options, tls: resolveTls(options.tls, origin) }
}
