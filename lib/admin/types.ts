/** What the admin interface answers, as types. Data only: it can be sent as JSON. No behaviour here. */
import type { BreakerState } from '../circuit-breaker/index.ts'
import type { LatencyNumbers, RequestNumbers } from '../metrics/types.ts'
import type { TargetState } from '../types.ts'
import type { ShownBreakerStats } from './breakers.ts'

/** Parsed, defaulted, frozen. */
export interface AdminConfig {
  /** Where it stands; never ends with a slash. */
  readonly prefix: string
  /** Who shows it may come in. undefined: there is none. */
  readonly token: string | undefined
  /** Port of a server of its own; undefined: routes of the app. */
  readonly port: number | undefined
  /** Address of that server. */
  readonly host: string
  /** Hooks of the app's own that let requests in, or answer them. */
  readonly preHandler: readonly Function[]
}

/** `GET /status` */
export interface AdminStatus {
  readonly version: string
  readonly node: string
  readonly pid: number
  /** Of a process that has siblings: its number; else null. */
  readonly worker: number | null
  /** When the process began, ISO 8601. */
  readonly startedAt: string
  /** `draining`: it is closing. */
  readonly state: 'serving' | 'draining'
  readonly ready: boolean
  /** Why it is not ready; else empty. */
  readonly notReady: readonly string[]
  /** What was counted since `since`, ISO 8601. */
  readonly since: string
  readonly requests: RequestNumbers
  readonly websockets: number
  readonly eventStreams: number
  readonly backends: { readonly total: number, readonly usable: number }
  readonly targets: { readonly total: number, readonly usable: number }
  /** null: nothing is dumped. */
  readonly trafficDump: { readonly written: number, readonly dropped: number, readonly failed: number, readonly queued: number } | null
}

/** `GET /backends` answers `{ backends: BackendStatus[] }`, `GET /backends/:backend` one of them. */
export interface BackendStatus {
  readonly name: string
  /** `ok`: every target that should take requests may; `degraded`: some; `down`: none. */
  readonly state: 'ok' | 'degraded' | 'down'
  /** Whether it is the default backend. */
  readonly isDefault: boolean
  readonly balancer: string
  readonly attempts: number
  readonly failures: number
  readonly retries: number
  /** Tries that never left: no target, a limit, an open circuit. */
  readonly rejected: number
  readonly latency: LatencyNumbers
  /** null: there is no limit. */
  readonly concurrency: { readonly max: number, readonly taken: number, readonly waiting: number } | null
  /** null: its targets are those of the options. `lastSuccess`: ISO 8601. */
  readonly discovery: { readonly source: string, readonly lists: number, readonly lastSuccess: string | null, readonly fault: string | null } | null
  readonly targets: readonly TargetStatus[]
}

export interface TargetStatus {
  readonly url: string
  readonly state: TargetState
  readonly weight: number
  /** null: no limit. */
  readonly maxConnections: number | null
  readonly metadata: Readonly<Record<string, unknown>>
  /** Attempts running now. */
  readonly inflight: number
  /** Attempts ever started. */
  readonly started: number
  /** Why it gets no requests now, in the words of `explain`; null: it does. */
  readonly excluded: string | null
  readonly health: {
    readonly healthy: boolean
    readonly reason: string | null
    /** ms until an ejection ends. */
    readonly ejectedFor: number | null
    /** null: no check is configured, or the target is not in service. */
    readonly check: { readonly ok: boolean | null, readonly detail: string | null, readonly agoMs: number | null, readonly checks: number, readonly failures: number } | null
  }
  /** null: there is none, or it has seen no call yet. */
  readonly breaker: { readonly state: BreakerState, readonly retryAfter: number, readonly stats: ShownBreakerStats } | null
  /** null: none has been made yet. */
  readonly pool: { readonly connected: number, readonly free: number, readonly pending: number, readonly queued: number, readonly running: number } | null
  readonly attempts: number
  readonly failures: number
  readonly latency: LatencyNumbers
}

/** `GET /routes` answers `{ routes: RouteStatus[] }`. */
export interface RouteStatus {
  readonly name: string
  readonly path: string
  readonly methods: readonly string[]
  readonly kind: 'proxy' | 'composite' | 'handler'
  /** null: the default backend, or several. */
  readonly backend: string | null
  /** Of a composite: its parts. */
  readonly parts: ReadonlyArray<{ readonly name: string, readonly backend: string | null, readonly required: boolean }>
  readonly hosts: readonly string[]
  readonly websocket: boolean
}

/**
 * `GET /events`: server-sent events. First `status`, `backends` and `history`; then `status` and `backends` every second, and
 * `point`, `transition` and `sample` as they come. Data: JSON of AdminStatus, BackendStatus[], RecentHistory, Point, Transition, Sample.
 */
export type AdminEventName = 'status' | 'backends' | 'history' | 'point' | 'transition' | 'sample'

/** An action's answer, besides the errors. */
export interface ActionResult {
  readonly done: true
  /** What was touched, as it is now. */
  readonly backend: BackendStatus
  /** Of a health check: whether no check says otherwise now; null: there is none to ask. */
  readonly healthy?: boolean | null
}
