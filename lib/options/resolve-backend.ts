/**
 * Backends: from what a user may write to what the house works with. Everything here has been checked.
 */
import type { BackendConfig, HeaderRules, PoolConfig, RedirectPolicy, TargetConfig, Timeouts, TlsConfig } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import { fullBackend } from './merge.ts'
import { portableDiscovery, resolveDiscovery } from './resolve-discovery.ts'
import { mergeSaid, resolveResilience, resolveTargetHealth, type SaidResilience } from './resolve-resilience.ts'
import { readPem, type Origin } from './rules.ts'
import type { BackendOptions, FullBackendOption, TargetOption, TargetPatchOption } from './schema/backend.ts'
import type { HeaderRulesOption } from './schema/headers.ts'
import type { TargetHealthOption } from './schema/resilience.ts'
import { splitTargetUrl } from './target-url.ts'
import { byteCount, milliseconds } from './units.ts'

/** What a backend has when it does not say otherwise. */
export interface BackendDefaults extends Pick<BackendConfig, 'balancer' | 'pool' | 'tls' | 'host' | 'timeout' | 'redirects' | 'resilience'> {
  /** What `resilience` was made of: some defaults depend on what a backend does not say either. */
  readonly said: SaidResilience
}

/** What the gateway and a backend have in common. */
export type SharedOptions = Pick<FullBackendOption, 'balancer' | 'pool' | 'tls' | 'host' | 'timeout' | 'redirects' | keyof SaidResilience>

/** What the gateway says of headers when it says nothing. */
export const BUILT_IN_HEADERS: HeaderRules = { request: { forward: DEFAULTS.forward }, response: {} }

export const BUILT_IN_DEFAULTS: BackendDefaults = {
  balancer: DEFAULTS.balancer,
  host: DEFAULTS.host,
  redirects: DEFAULTS.redirects,
  timeout: {
    connect: milliseconds(DEFAULTS.timeout.connect),
    headers: milliseconds(DEFAULTS.timeout.headers),
    idle: milliseconds(DEFAULTS.timeout.idle),
    total: DEFAULTS.timeout.total
  },
  pool: {
    connections: DEFAULTS.pool.connections,
    keepAliveTimeout: milliseconds(DEFAULTS.pool.keepAliveTimeout),
    keepAliveMaxTimeout: milliseconds(DEFAULTS.pool.keepAliveMaxTimeout),
    maxHeaderSize: byteCount(DEFAULTS.pool.maxHeaderSize)
  },
  tls: DEFAULTS.tls,
  resilience: resolveResilience({}),
  said: {}
}

/** What a backend comes after. */
export interface BackendLevel {
  readonly defaults: BackendDefaults
  readonly headers: HeaderRules
}

/** `name` undefined: it cannot be told. */
export function resolveBackend (input: BackendOptions, { defaults, headers }: BackendLevel, origin: Origin, name?: string): BackendConfig {
  const full = fullBackend(input)
  const targets = full.targets ?? (full.url === undefined ? [] : [full.url])
  const { said, ...shared } = resolveShared(full, defaults, origin, name)
  // a target that is checked although its backend is not starts from what the gateway says
  const health = said.health === false ? defaults.said.health : said.health
  return {
    ...shared,
    targets: targets.map(target => resolveTarget(target, full.active, option => resolveTargetHealth(option, health))),
    ...(full.discovery === undefined ? undefined : { discovery: resolveDiscovery(full.discovery, origin) }),
    http2: full.http2 ?? DEFAULTS.http2,
    ...resolveHttpProxy(full.httpProxy),
    common: headers,
    headers: resolveHeaderRules(full.headers),
    metadata: full.metadata ?? {},
    // files are named from where the options are: what is put over this later may come from elsewhere
    said: saidOf(full, origin)
  }
}

function saidOf (full: FullBackendOption, origin: Origin): FullBackendOption {
  const { tls, discovery } = full
  if (tls === undefined && discovery === undefined) return full
  return {
    ...full,
    ...(tls === undefined ? undefined : { tls: resolveTls(tls, origin) as NonNullable<FullBackendOption['tls']> }),
    ...(discovery === undefined ? undefined : { discovery: portableDiscovery(discovery, origin) })
  }
}

function resolveHttpProxy (option: FullBackendOption['httpProxy']): Pick<BackendConfig, 'httpProxy'> {
  if (option === undefined || option === false) return {}
  return { httpProxy: typeof option === 'string' ? { url: option } : option }
}

/** A level's settings over those of the level above, option by option. */
export function resolveShared (own: SharedOptions, above: BackendDefaults, origin: Origin, name?: string): BackendDefaults {
  const said = mergeSaid({ ...own }, { ...above.said }) as SaidResilience
  return {
    balancer: own.balancer ?? above.balancer,
    pool: resolvePool(own.pool ?? {}, above.pool),
    tls: { ...above.tls, ...resolveTls(own.tls ?? {}, origin) },
    host: own.host ?? above.host,
    timeout: { ...above.timeout, ...connectOf(own), ...resolveTimes(own.timeout) },
    redirects: resolveRedirects(own.redirects) ?? above.redirects,
    resilience: resolveResilience(said, name),
    said
  }
}

/** What `health` of a target becomes. */
type TargetHealth = (option: TargetHealthOption | undefined) => TargetConfig['health']

export function resolveTarget (input: TargetOption, active: boolean = DEFAULTS.target.active, health: TargetHealth = option => resolveTargetHealth(option, undefined)): TargetConfig {
  const full = typeof input === 'string' ? { url: input } : input
  const split = splitTargetUrl(full.url)
  return {
    active,
    weight: DEFAULTS.target.weight,
    maxConnections: Infinity,
    metadata: {},
    ...full,
    health: health(full.health),
    url: typeof split === 'string' ? full.url : split.url
  }
}

export function resolveTargetPatch (input: TargetPatchOption): Partial<Omit<TargetConfig, 'url' | 'health'>> {
  return { ...input }
}

/** `follow` becomes a number. */
export function resolveRedirects (option: 'pass' | 'follow' | { follow: number } | undefined): RedirectPolicy | undefined {
  return option === 'follow' ? { follow: DEFAULTS.follow } : option
}

/** The times a level names; one duration is the total. */
export function resolveTimes (option: FullBackendOption['timeout']): Partial<Timeouts> {
  if (option === undefined) return {}
  if (typeof option !== 'object') return { total: milliseconds(option) }
  return Object.fromEntries(Object.entries(option).map(([name, time]) => [name, milliseconds(time)]))
}

export function resolveHeaderRules ({ request = {}, response = {} }: HeaderRulesOption = {}): HeaderRules {
  const { forward, ...edits } = request
  const lower = Array.isArray(forward) ? forward.map(name => name.toLowerCase()) : forward
  return { request: { ...edits, ...(lower === undefined ? undefined : { forward: lower }) }, response }
}

function connectOf ({ pool }: SharedOptions): Partial<Timeouts> {
  return pool?.connectTimeout === undefined ? {} : { connect: milliseconds(pool.connectTimeout) }
}

function resolvePool (own: NonNullable<SharedOptions['pool']>, above: PoolConfig): PoolConfig {
  const { connections, keepAliveTimeout, keepAliveMaxTimeout, maxHeaderSize } = own
  return {
    connections: connections ?? above.connections,
    keepAliveTimeout: keepAliveTimeout === undefined ? above.keepAliveTimeout : milliseconds(keepAliveTimeout),
    keepAliveMaxTimeout: keepAliveMaxTimeout === undefined ? above.keepAliveMaxTimeout : milliseconds(keepAliveMaxTimeout),
    maxHeaderSize: maxHeaderSize === undefined ? above.maxHeaderSize : byteCount(maxHeaderSize)
  }
}

/** Files are read now: what runs later must not depend on them. */
export function resolveTls (tls: NonNullable<SharedOptions['tls']>, origin: Origin): Partial<TlsConfig> {
  const { ca, cert, key, ...rest } = tls
  return {
    ...rest,
    ...(ca === undefined ? undefined : { ca: Array.isArray(ca) ? ca.map(one => readPem(one, origin)) : readPem(ca, origin) }),
    ...(cert === undefined ? undefined : { cert: readPem(cert, origin) }),
    ...(key === undefined ? undefined : { key: readPem(key, origin) })
  }
}
