/**
 * The map of the house: the words of the design as types. No behaviour here.
 *
 * Data moves down only. Each field of a record has one writer, named beside it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import type { AdminConfig } from './admin/types.ts'
import type { Combine, CompositeConfig } from './composite/types.ts'
import type { DiscoveryConfig } from './discovery/types.ts'
import type { BackendDefaults, FullBackendOption, RouteOption } from './options/index.ts'
import type { Fallback, HealthConfig, ResilienceConfig, RetryBudgetConfig, RetryConfig } from './resilience/types.ts'
import type { Breaker, Ticket } from './circuit-breaker/index.ts'
import type { Slot, Slots } from './concurrency.ts'
import type { OutlierGroup, TargetHealth } from './health/index.ts'
import type { MetricsConfig } from './metrics/types.ts'
import type { ProbesConfig } from './probes/types.ts'
import type { LogConfig } from './request-log/types.ts'
import type { Budget } from './retry/index.ts'
import type { Settings } from './routes/settings.ts'
import type { RouteTenancyConfig, TenancyConfig } from './tenancy/types.ts'
import type { Scope } from './tenancy/scopes.ts'
import type { TracingConfig } from './tracing/types.ts'
import type { TrafficDumpConfig } from './traffic-dump/types.ts'
import type { BackendConnection, ClientHandshake, WebSocketConfig } from './websocket/types.ts'

// ---------------------------------------------------------------- outcomes

/** What an attempt came to. Breaker, health, retry, metrics and logs all read this one value. */
export type Outcome =
  | 'ok'              // status below 400
  | 'client-error'    // 4xx
  | 'server-error'    // 5xx
  | 'connect-error'   // refused, DNS, TLS: nothing was sent
  | 'reset'           // the connection broke after something was sent
  | 'timeout'         // connect, headers, idle or total
  | 'bad-response'    // not HTTP, or HTTP that lies about its framing
  | 'aborted'         // the client went away
  | 'rejected'        // never left: no target, limit, breaker

// ---------------------------------------------------------------- backends

/** Free-form facts about a target: zone, version, labels. */
export type Metadata = Readonly<Record<string, unknown>>

export type TargetState = 'active' | 'inactive' | 'draining'

/** One URL of a backend, with its weight, state and counters. */
export interface Target {
  /** The URL as configured; unique within its backend. */
  readonly id: string
  /** `http://host:port`, `https://…`; what undici connects to. */
  readonly origin: string
  /** Path of the target's URL, put before every request path; `''` for none. */
  readonly basePath: string
  readonly metadata: Metadata
  /** Share of the traffic relative to its siblings; 0 receives nothing. Writer: lib/registry.ts */
  weight: number
  /** Most requests in flight at once; Infinity for no limit. Writer: lib/registry.ts */
  maxConnections: number
  /** Writer: lib/registry.ts */
  state: TargetState
  /** Attempts running now. Writer: plugins/forward.ts */
  inflight: number
  /** Attempts ever started. Writer: plugins/forward.ts */
  started: number
  /** The pool; made on first use, closed when its last target has drained. Writer: lib/pools.ts */
  dispatcher: Dispatcher | undefined
  /** Made with the first call. Writer: plugins/circuit-breaker.ts */
  breaker: Breaker | undefined
  /** What checks and traffic say of it; undefined where neither is on. Writer: plugins/health.ts */
  health: TargetHealth | undefined
  /** Called when the last running attempt of a target that is no longer active has ended. Writer: lib/registry.ts */
  onIdle: (() => void) | undefined
  /** The target that all tenants share, where this is one tenant's view of it. */
  readonly of: Target | undefined
  /** Whether such a view has connections of its own. */
  readonly ownPool: boolean
}

/** What a balancer may look at. `request` of a call that nobody but the app has made (`reverseproxy.request`) has method, URL, headers and id only. */
export interface BalancerContext {
  /** The path and query that will be sent, without the target's base path. */
  readonly path: string
  readonly request: FastifyRequest | undefined
}

/**
 * Chooses one target. `targets` is never empty; every entry has weight > 0. The array is the same object until
 * membership, weights or states change, so that tables can be built once per array.
 * Returning undefined means "none" and ends in a 503.
 */
export interface Balancer {
  pick (targets: readonly Target[], context: BalancerContext): Target | undefined
  /** What `pick` would choose now, without a change of anything; undefined, or no such method: it cannot be told. For `explain`. */
  peek? (targets: readonly Target[], context: BalancerContext): Target | undefined
}

export interface BalancerTools {
  /** Uniform in [0, 1); `Math.random` unless a test passes a seeded one. */
  random: () => number
}

/** `options` is the backend's `balancer` value when it was an object, else undefined. */
export type BalancerFactory = (tools: BalancerTools, options: unknown) => Balancer

/** Where a hash balancer takes its key from. */
export type HashKey =
  | 'ip'
  | 'path'
  | { readonly header: string }
  | { readonly cookie: string }
  | { readonly query: string }
  | ((context: BalancerContext) => string | undefined)

/** A named logical service within a scope: a tenant, or `''` for everybody. */
export interface Backend {
  readonly name: string
  readonly scope: string
  readonly config: BackendConfig
  /** All targets, in order of declaration. Writer: plugins/backends.ts */
  targets: readonly Target[]
  /** Active targets with weight > 0; replaced, never changed in place. Writer: plugins/backends.ts */
  usable: readonly Target[]
  readonly balancer: Balancer
  /** How much may be tried again. Writer: plugins/retry.ts */
  budget: Budget | undefined
  /** The places of its calls where `concurrency` limits them. Writer: plugins/concurrency.ts */
  slots: Slots | undefined
  /** What traffic shows of its targets, together. Writer: plugins/health.ts */
  outliers: { readonly config: object, readonly group: OutlierGroup } | undefined
  /** The backend of everybody whose targets a tenant's backend uses; undefined: it has targets of its own. */
  readonly shares: Backend | undefined
}

/**
 * Why a target is not used now. `warming` and `tried` are wishes: where nothing else is left they do not hold.
 * `unhealthy` and `ejected` do not hold in a panic.
 */
export type Refusal = 'limit' | 'circuit-open' | 'unhealthy' | 'ejected' | 'warming' | 'tried'

/** Says why a target may not be used now, or undefined when it may. Rooms contribute gates; the choice asks them all. */
export type Gate = (target: Target, backend: Backend, call: Call) => Refusal | undefined

/** Told once for each attempt that left, when its outcome is known: at the answer's headers, or at its failure. */
export type Observer = (attempt: Attempt, call: Call, target: Target) => void

// ---------------------------------------------------------------- configuration (parsed, defaulted, frozen)

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

// ---------------------------------------------------------------- a request, its calls and their attempts

/** One try of a call against one target. */
export interface Attempt {
  readonly target: string
  /** The part of a composite that it was made for. */
  readonly part: string | undefined
  readonly startedAt: number
  /** Whether the request had begun to leave. */
  sent: boolean
  outcome: Outcome | undefined
  status: number | undefined
  /** Milliseconds to the answer's headers, or to the failure. */
  duration: number | undefined
  /** Milliseconds until a connection took it; noted only where requests are logged. */
  connect: number | undefined
}

/**
 * What is known about a client's request: `request.reverseproxy`. Logs, metrics and dumps read it.
 * Times are `performance.now()` milliseconds.
 */
export interface RequestRecord {
  /** Name of the route (its path when it has none). Writer: plugins/routes.ts */
  readonly route: string
  /** The tenant's id; undefined: nobody in particular. Writer: plugins/tenancy.ts */
  tenant: string | undefined
  /** What a known tenant has of its own. Writer: plugins/tenancy.ts */
  scope: Scope | undefined
  /** Whether it has been asked whose request this is. Writer: plugins/tenancy.ts */
  identified: boolean
  /** Headers of all calls, from the tenant's hooks: undefined removes. Writer: plugins/tenancy.ts */
  tenantHeaders: Readonly<Record<string, string | undefined>> | undefined
  readonly startedAt: number
  /** Name of the backend of the last call. Writer: plugins/routes.ts */
  backend: string | undefined
  /** Calls that may be tried again, and how often some were. Writer: plugins/retry.ts */
  calls: number
  retries: number
  /** Milliseconds that its calls have waited for a place, together. Writer: plugins/concurrency.ts */
  queued: number
  /** One entry a try, in order. Writer: plugins/forward.ts */
  readonly attempts: Attempt[]
  /** True once the client has gone away before its answer was complete. Writer: lib/forward/exchange.ts and lib/record.ts */
  readonly aborted: boolean
  /** Aborts when the client goes away. Made when first asked for. */
  readonly signal: AbortSignal
}

/** What is known about a request's body from its framing, or a body of the gateway's own. */
export type BodyPlan =
  | { readonly kind: 'none' }
  /** `verbatim`: the client's own bytes, so that what its headers say of them holds. */
  | { readonly kind: 'value', readonly value: Buffer, readonly contentType: string | undefined, readonly verbatim?: true }
  | { readonly kind: 'sized', readonly length: number }
  /** `decoded`: a hook has undone its Content-Encoding. */
  | { readonly kind: 'chunked', readonly decoded?: true }

/** Headers on their way out: name, value, name, value … as undici takes them. */
export type RawHeaders = string[]

/** One request we want answered by a backend. */
export interface Call {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly record: RequestRecord
  readonly backend: Backend
  /** What the route, the backend and the gateway say about such calls. */
  readonly settings: Settings
  method: string
  /** Path and query, without the target's base path. */
  path: string
  /** Writer: plugins/headers.ts */
  headers: RawHeaders
  /** Headers that `reply.proxy()` was given; undefined removes, of a list each value is a field line of its own. */
  readonly edits: Readonly<Record<string, string | readonly string[] | undefined>> | undefined
  /** What is sent as the body, and how it is framed. */
  body: BodyPlan
  /** The settings' timeouts, or what `reply.proxy()` made of them. */
  readonly timeouts: Timeouts
  /** When the whole call must be over, `performance.now()` milliseconds; Infinity: never. */
  readonly deadline: number
  /** Target to use, set by the choosing layer or by a redirect that names a host. Writer: plugins/backends.ts, plugins/redirects.ts */
  target: Target | undefined
  /** Targets that have been tried for this call already. Writer: plugins/retry.ts */
  tried: readonly Target[] | undefined
  /** Longest time to the head of the answer of this one try, ms; 0: only the timeouts hold. Writer: plugins/retry.ts */
  patience: number
  /** Its place among the calls of the backend. Writer: plugins/concurrency.ts */
  slot: Slot | undefined
  /** What the target's breaker let it in by. Writer: plugins/circuit-breaker.ts */
  ticket: Ticket | undefined
  /** The attempt that runs for it. Writer: plugins/forward.ts */
  running: Cancelable | undefined
  /** What became of it. Writer: plugins/forward.ts */
  attempt: Attempt | undefined
  /** Whose call it is when it is not the client's answer by itself: a part of a composite. */
  readonly owner: CallOwner | undefined
  /** The WebSocket that the client asks for. */
  readonly upgrade: ClientHandshake | undefined
}

/** Something under way that can be ended from outside. */
export interface Cancelable {
  cancel (reason: Error): void
}

/** A part of a composite, as its calls know it. Early hints and trailers of such calls have nowhere to go. */
export interface CallOwner {
  readonly name: string
  /** When the part began; left out where one of many calls begins. */
  readonly startedAt?: number
  /** Why the calls are no longer wanted; undefined while they are. */
  readonly cancelled: Error | undefined
  /** An attempt has begun. */
  started (attempt: Cancelable): void
  /** Something that is no attempt goes on for it: a wait. */
  holds (work: Cancelable): void
  ended (work: Cancelable): void
}

/** What a call came back with. */
export interface Answer {
  readonly status: number
  readonly statusMessage: string
  /** Lower-case names; several values as an array. As the backend sent them: the response policy takes out hop-by-hop ones. */
  headers: Record<string, string | string[]>
  /** Whether every header value is plain ASCII. */
  readonly plain: boolean
  /** Whole body when it arrived with the headers, a stream when it is still coming, null when there is none. */
  body: Buffer | NodeJS.ReadableStream | null
  /** undefined: no backend gave it. */
  readonly target: Target | undefined
  /** The backend's end of a WebSocket: the status is 101, and there is no body. */
  readonly connection?: BackendConnection | undefined
  /** The body as a stream, whether or not it is complete. */
  stream (): NodeJS.ReadableStream
  /** The whole body, of at most `limit` bytes; more is a PartTooLargeError and closes the connection. `done` is called once. */
  collect (limit: number, done: (error: Error | undefined, body: Buffer | null) => void): void
  /** Nobody will read it: it is drained if it is short, else its connection is closed. */
  discard (): void
}

export type Send = (call: Call) => Promise<Answer>
export type Layer = (next: Send) => Send

// ---------------------------------------------------------------- modifiers of a route

/** Headers of a draft; names are matched without case. */
export interface HeaderBag {
  get (name: string): string | undefined
  getAll (name: string): string[]
  has (name: string): boolean
  set (name: string, value: string): void
  append (name: string, value: string): void
  delete (name: string): void
  names (): string[]
}

/** What a `modifyRequest` hook may change before the request leaves. */
export interface RequestDraft {
  method: string
  path: string
  readonly headers: HeaderBag
}

/** What a `modifyResponse` hook may change before the answer goes to the client. */
export interface ResponseDraft {
  status: number
  readonly headers: HeaderBag
  /** Replacing it drops the backend's body. */
  body: Buffer | NodeJS.ReadableStream | string | null
}

export type ModifyRequest = (draft: RequestDraft, request: FastifyRequest) => void | Promise<void>
export type ModifyResponse = (draft: ResponseDraft, request: FastifyRequest, reply: FastifyReply) => void | Promise<void>
/** Sends an answer of its own through `reply`, or returns without sending to let the error take its way. */
export type ProxyErrorHandler = (error: Error, request: FastifyRequest, reply: FastifyReply) => unknown
