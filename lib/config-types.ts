/**
 * The options of a gateway as the rooms read them: parsed, copied, defaulted, frozen. Durations in milliseconds, sizes in bytes.
 * A part of the map: lib/types.ts has these too. What a concern alone configures stands in the types of its folder.
 */
import type { FastifyRequest } from 'fastify'
import type { AdminConfig } from './admin/types.ts'
import type { Combine, CompositeConfig } from './composite/types.ts'
import type { DiscoveryConfig } from './discovery/types.ts'
import type { BackendDefaults, FullBackendOption, RouteOption } from './options/index.ts'
import type { Fallback, HealthConfig, ResilienceConfig, RetryBudgetConfig, RetryConfig } from './resilience/types.ts'
import type { MetricsConfig } from './metrics/types.ts'
import type { ProbesConfig } from './probes/types.ts'
import type { LogConfig } from './request-log/types.ts'
import type { RouteTenancyConfig, TenancyConfig } from './tenancy/types.ts'
import type { TracingConfig } from './tracing/types.ts'
import type { TrafficDumpConfig } from './traffic-dump/types.ts'
import type { BalancerFactory, Metadata, ModifyRequest, ModifyResponse, ProxyErrorHandler } from './types.ts'
import type { WebSocketConfig } from './websocket/types.ts'

// ---------------------------------------------------------------- backends

/** Milliseconds; 0 switches a limit off. */
export interface Timeouts {
  /** TCP and TLS handshake. Default 5 s. */
  readonly connect: number
  /** From the sent request to the answer's headers. Default 30 s. */
  readonly headers: number
  /** Longest silence within the answer's body. Default 30 s. */
  readonly idle: number
  /** The whole call, event streams and upgrades excepted. Default 0 for plain routes. */
  readonly total: number
}

export interface TlsConfig {
  readonly ca?: string | readonly string[]
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
  /** undefined: Node's own, TLS 1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  readonly rejectUnauthorized: boolean
}

/** A proxy that connects to targets (CONNECT). */
export interface HttpProxyConfig {
  /** `http://host:port` */
  readonly url: string
  readonly username?: string
  readonly password?: string
}

export interface PoolConfig {
  /** Connections per origin, shared by targets with the same connection options. Default 128. */
  readonly connections: number
  /** How long an idle connection is kept when the backend gives no hint, ms. Default 4 s. */
  readonly keepAliveTimeout: number
  /** Upper bound for the backend's own `Keep-Alive: timeout` hint, ms. Default 10 min. */
  readonly keepAliveMaxTimeout: number
  /** Largest response header block, bytes. Default 16 KiB. */
  readonly maxHeaderSize: number
}

export interface TargetConfig {
  /** `http://`, `https://` or `unix:///path/to.sock[:/base/path]`. */
  readonly url: string
  readonly weight: number
  readonly maxConnections: number
  readonly active: boolean
  readonly metadata: Metadata
  /** Health checks of this target; undefined: those of the backend, null: none. */
  readonly health: HealthConfig | null | undefined
}

export interface BackendConfig {
  /** Of a backend with `discovery`: those that were told of last. */
  readonly targets: readonly TargetConfig[]
  readonly discovery?: DiscoveryConfig
  readonly balancer: BalancerConfig
  readonly pool: PoolConfig
  readonly tls: TlsConfig
  /** `true`: with targets that agree to it (ALPN); `h2c`: with http and unix targets as well, which must speak it. */
  readonly http2: boolean | 'h2c'
  readonly httpProxy?: HttpProxyConfig
  /** `upstream`: the target's host; `preserve`: the client's; anything else is sent as it is. */
  readonly host: string
  /** Only what the backend or the global options say; the rest comes from the defaults. */
  readonly timeout: Timeouts
  readonly headers: HeaderRules
  readonly redirects: RedirectPolicy
  readonly resilience: ResilienceConfig
  readonly metadata: Metadata
  /** Header changes of the level above: the gateway's, with those of the tenant whose backend it is. */
  readonly common: HeaderRules
  /** What the backend itself says, in full form: what a tenant says is put over it, key by key. */
  readonly said: FullBackendOption
}

export type BalancerConfig = string | { readonly type: string, readonly [option: string]: unknown }

export type RedirectPolicy = { readonly follow: number } | 'pass'

// ---------------------------------------------------------------- headers

/** Header changes of one level (global, backend or route). Names as the user wrote them. */
export interface HeaderRules {
  readonly request: {
    /** `'*'` or an allow list (lower case); undefined: what the level above says. */
    readonly forward?: '*' | readonly string[]
  } & HeaderEdits
  readonly response: HeaderEdits
}

/** Applied in this order: remove, rename, set, append. */
export interface HeaderEdits {
  readonly remove?: readonly string[]
  readonly rename?: Readonly<Record<string, string>>
  readonly set?: Readonly<Record<string, HeaderValue>>
  /** Of a list each value is a field line of its own. */
  readonly append?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>
}

/** A text, or (in code only) a function of the request; undefined from it leaves the header out. */
export type HeaderValue = string | ((request: FastifyRequest) => string | undefined)

export type ForwardedMode = 'set' | 'append' | 'remove' | 'off'

export interface ForwardedConfig {
  readonly for: ForwardedMode
  readonly proto: ForwardedMode
  readonly host: ForwardedMode
  readonly port: ForwardedMode
  readonly prefix: ForwardedMode
  readonly realIp: ForwardedMode
  readonly rfc7239: ForwardedMode
}

export interface ViaConfig {
  /** Our pseudonym in `Via` (RFC 9110 section 7.6.3). */
  readonly name: string
  /** How often our own name may already stand in the request's `Via` before it is a loop (508). */
  readonly maxHops: number
}

// ---------------------------------------------------------------- limits

export interface LimitsConfig {
  /** Most header fields of a client request; more is a 431. */
  readonly headerCount: number
  /** Longest request target in bytes; longer is a 414. */
  readonly target: number
  /** Largest request body in bytes; larger is a 413. Infinity: no limit of ours. */
  readonly body: number
}

/** Milliseconds. */
export interface ShutdownConfig {
  /** From the first sign of closing until requests are refused. Default 0. */
  readonly delay: number
  /** Then until everything is cut. Default 10 s. */
  readonly timeout: number
}

// ---------------------------------------------------------------- routes

/** One step of a path rewrite. */
export type RewriteStep =
  | { readonly kind: 'stripPrefix', readonly prefix: string }
  | { readonly kind: 'addPrefix', readonly prefix: string }
  | { readonly kind: 'replacePrefix', readonly from: string, readonly to: string }
  | { readonly kind: 'regex', readonly pattern: RegExp, readonly replacement: string }
  | { readonly kind: 'template', readonly template: string }
  | { readonly kind: 'query', readonly set: Readonly<Record<string, string>>, readonly remove: readonly string[] }

/** `retry` of a route: only what it says, false for off. `retryOver` of lib/options puts it over what the backend says. */
export interface RetryOverrides extends Partial<Omit<RetryConfig, 'backoff' | 'idempotencyKey' | 'budget' | 'hedge'>> {
  readonly backoff?: Partial<RetryConfig['backoff']>
  readonly idempotencyKey?: string | false
  readonly budget?: Partial<RetryBudgetConfig> | false
  readonly hedge?: NonNullable<RetryConfig['hedge']> | false
}

/** `proxy` of a route: where its requests go and what is changed on the way. */
export interface ProxyConfig {
  /** undefined: the default backend. */
  readonly backend: string | undefined
  readonly rewrite: readonly RewriteStep[]
  readonly headers: HeaderRules
  readonly timeout: Partial<Omit<Timeouts, 'connect'>>
  readonly redirects: RedirectPolicy | undefined
  readonly host: string | undefined
  readonly bodyLimit: number | undefined
  /** false: the circuits are neither asked nor told; undefined: what the backend says. A fallback of undefined is none. */
  readonly circuitBreaker: false | { readonly fallback: Fallback | undefined } | undefined
  /** false: off; undefined: what the backend says. */
  readonly retry: RetryOverrides | false | undefined
  /** undefined: upgrades are no business of this route. */
  readonly websocket: WebSocketConfig | undefined
  readonly modifyRequest: ModifyRequest | undefined
  readonly modifyResponse: ModifyResponse | undefined
  readonly errorHandler: ProxyErrorHandler | undefined
}

/** How a header or query value of a request is compared. */
export type ValueMatch =
  | { readonly kind: 'exact', readonly value: string }
  | { readonly kind: 'prefix', readonly value: string }
  | { readonly kind: 'regex', readonly value: RegExp }
  | { readonly kind: 'exists', readonly value: boolean }
  | { readonly kind: 'not', readonly value: ValueMatch }

/** A host condition: a name, `*.example.com` (any depth below it), or an expression over the name without port. */
export type HostMatch =
  | { readonly kind: 'exact', readonly value: string }
  | { readonly kind: 'wildcard', readonly suffix: string }
  | { readonly kind: 'regex', readonly value: RegExp }

/** The conditions of a route beyond path and method. All must hold. */
export interface RouteMatch {
  /** Any of these; empty: every host. */
  readonly hosts: readonly HostMatch[]
  readonly headers: ReadonlyArray<readonly [name: string, match: ValueMatch]>
  readonly query: ReadonlyArray<readonly [name: string, match: ValueMatch]>
}

/** A route of the options or the file. */
export interface RouteConfig {
  readonly name: string
  readonly path: string
  /** undefined: every method the gateway forwards. */
  readonly methods: readonly string[] | undefined
  readonly match: RouteMatch
  /** One of these two. */
  readonly proxy: ProxyConfig | undefined
  readonly composite: CompositeConfig | undefined
  /** undefined: it does not say. */
  readonly tenancy: RouteTenancyConfig | undefined
  /** As it was written: what a tenant says is put over it, key by key. */
  readonly said: RouteOption
}

// ---------------------------------------------------------------- the gateway

/** The whole of the gateway's options: parsed, copied, defaulted, deep-frozen. */
export interface GatewayConfig {
  readonly backends: Readonly<Record<string, BackendConfig>>
  /** What a backend that is added at run time starts from. */
  readonly backendDefaults: BackendDefaults
  readonly defaultBackend: string | undefined
  readonly headers: HeaderRules
  readonly forwarded: ForwardedConfig
  readonly via: ViaConfig | undefined
  /** Header that carries Fastify's `request.id` to the backend; undefined: none. */
  readonly requestIdHeader: string | undefined
  /** Header that carries the milliseconds left of a call to the backend, lower case; undefined: none. */
  readonly deadlineHeader: string | undefined
  readonly shutdown: ShutdownConfig
  readonly limits: LimitsConfig
  /** undefined: there are no tenants. */
  readonly tenancy: TenancyConfig | undefined
  /** undefined: nothing is counted. */
  readonly metrics: MetricsConfig | undefined
  /** undefined: there is no admin interface. */
  readonly admin: AdminConfig | undefined
  /** undefined: nothing is asked by load balancers. */
  readonly probes: ProbesConfig | undefined
  /** undefined: there are no spans. */
  readonly tracing: TracingConfig | undefined
  /** undefined: requests have no line in the log. */
  readonly log: LogConfig | undefined
  /** undefined: requests are not written down. */
  readonly trafficDump: TrafficDumpConfig | undefined
  readonly routes: readonly RouteConfig[]
  /** Balancers the user registered, by name. */
  readonly balancers: Readonly<Record<string, BalancerFactory>>
  /** Composite strategies the user registered, by name. */
  readonly strategies: Readonly<Record<string, Combine>>
  readonly random: () => number
}
