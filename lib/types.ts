/**
 * The map of the house: the words of the design as types. No behaviour here.
 *
 * Data moves down only. Each field of a record has one writer, named beside it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import type { Breaker, Ticket } from './circuit-breaker/index.ts'
import type { Slot, Slots } from './concurrency.ts'
import type { BackendConfig, Timeouts } from './config-types.ts'
import type { OutlierGroup, TargetHealth } from './health/index.ts'
import type { Budget } from './retry/index.ts'
import type { Settings } from './routes/settings.ts'
import type { Scope } from './tenancy/scopes.ts'
import type { BackendConnection, ClientHandshake } from './websocket/types.ts'

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
  /** Share of the traffic relative to its siblings; 0 receives nothing. Writer: lib/registry/ */
  weight: number
  /** Most requests in flight at once; Infinity for no limit. Writer: lib/registry/ */
  maxConnections: number
  /** Writer: lib/registry/ */
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
  /** Called when the last running attempt of a target that is no longer active has ended. Writer: lib/registry/ */
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
  /** All targets, in order of declaration. Writer: lib/registry/ */
  targets: readonly Target[]
  /** Active targets with weight > 0; replaced, never changed in place. Writer: lib/registry/ */
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

/** What gates may look at of a call, so that they can be asked without one. */
export interface Candidacy {
  readonly backend: Backend
  readonly tried: readonly Target[] | undefined
  readonly settings: Pick<Settings, 'breaks'>
}

/** Says why a target may not be used now, or undefined when it may. Rooms contribute gates; the choice asks them all. */
export type Gate = (target: Target, backend: Backend, call: Candidacy) => Refusal | undefined

/** Told once for each attempt that left, when its outcome is known: at the answer's headers, or at its failure. */
export type Observer = (attempt: Attempt, call: Call, target: Target) => void

// ---------------------------------------------------------------- configuration (parsed, defaulted, frozen)

export type * from './config-types.ts'

// ---------------------------------------------------------------- a request, its calls and their attempts

/** One try of a call against one target. */
export interface Attempt {
  /** Name of the backend. */
  readonly backend: string
  /** URL of the target. */
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
