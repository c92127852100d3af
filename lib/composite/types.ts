/**
 * The map of composite routes: what their options are turned into, and what functions see of a part. No behaviour here.
 */
import type { FastifyRequest } from 'fastify'
import type { HeaderEdits, Outcome, ProxyConfig, ProxyErrorHandler } from '../types.ts'

export type PartState = 'ok' | 'failed' | 'fallback' | 'partial' | 'skipped' | 'empty'

/**
 * What is known of a part when its turn is over. `needs`, `when` and templates see the body as the backend sent it,
 * `transform` and named strategies see it shaped.
 */
export interface PartResult<Body = Unchecked> {
  readonly name: string
  readonly state: PartState
  /** The backend's status; undefined when there was no answer. */
  readonly status: number | undefined
  /** Lower-case names; several values as an array. Empty when there was no answer. */
  readonly headers: Readonly<Record<string, string | string[]>>
  /** Parsed when it is first read; a Buffer when it is not JSON; undefined when there is none. */
  readonly body: Body
  readonly outcome: Outcome | undefined
  readonly error: Error | undefined
  /** Milliseconds from the part's start to its end; 0 when it was skipped. */
  readonly duration: number
  /** Tries that were made, of all its calls. */
  readonly attempts: number
}

/** A body without a schema: what JSON.parse gives. */
export type Unchecked = ReturnType<JSON['parse']>

/** The parts by name, as functions get them. */
export type PartResults = Readonly<Record<string, PartResult>>

/** A function of a part's options; within forEach `parts.item` (with batch `parts.items`) is the value at hand. */
export type PartFunction<Value> = (parts: Unchecked, request: FastifyRequest) => Value

/** Makes the answer of a composite: a value, a Buffer, a stream, or `{ statusCode, headers, body }`. */
export type Combine = (parts: Unchecked, request: FastifyRequest) => unknown

export type Conflict = 'last' | 'first' | 'deep' | 'error'
export type Mismatch = 'fail' | 'wrap' | 'skip'
export type OnEmpty = 'allow' | 'skip' | 'fail'
export type NonJson = 'fail' | 'text' | 'base64' | 'skip' | 'keep'
export type OnMissing = 'skip' | 'fail'

/** Declarative shaping; applied in this order. Paths are dotted. */
export interface ShapeConfig {
  readonly target: string | undefined
  readonly pick: readonly string[] | undefined
  readonly omit: readonly string[] | undefined
  readonly rename: Readonly<Record<string, string>> | undefined
  readonly group: string | undefined
}

export interface WhenCondition {
  /** A reference in braces. */
  readonly value: string
  /** undefined: there is a value, and it is not null, false, 0 or an empty text. */
  readonly test:
    | { readonly kind: 'truthy' }
    | { readonly kind: 'exists', readonly value: boolean }
    | { readonly kind: 'equals' | 'not', readonly value: unknown }
    | { readonly kind: 'in', readonly values: readonly unknown[] }
}

export interface ForEachConfig {
  /** A reference in braces, or a function that returns an array. */
  readonly in: string | PartFunction<unknown>
  /** Calls at the same time. */
  readonly concurrency: number
  /** Most distinct values; more fail the part. */
  readonly max: number
  /** Values per call; undefined: one call for each value. Infinity: one call for all. */
  readonly batch: number | undefined
  readonly join: { readonly on: string, readonly as: string, readonly key: string } | undefined
}

export interface PartConfig {
  readonly name: string
  /** Backend, static header edits, timeouts, redirects. */
  readonly proxy: ProxyConfig
  /** undefined: the incoming path. */
  readonly path: string | PartFunction<string> | undefined
  /** undefined: the incoming one. */
  readonly method: string | undefined
  /** undefined: none. */
  readonly query: 'client' | Readonly<Record<string, unknown>> | PartFunction<Readonly<Record<string, unknown>>> | undefined
  /** Header values with templates or functions; the static ones are in `proxy.headers`. */
  readonly headers: Readonly<Record<string, string | PartFunction<string | undefined>>>
  readonly body:
    | { readonly kind: 'none' }
    | { readonly kind: 'client' }
    | { readonly kind: 'value', readonly value: unknown }
    | { readonly kind: 'function', readonly make: PartFunction<unknown> }
  readonly required: boolean
  readonly fallback: { readonly value: unknown } | undefined
  /** As written; what templates name comes on top. */
  readonly needs: readonly string[]
  readonly onMissing: OnMissing
  readonly when: readonly WhenCondition[] | PartFunction<unknown> | undefined
  readonly forEach: ForEachConfig | undefined
  readonly schema: object | undefined
  readonly shape: ShapeConfig
  readonly onEmpty: OnEmpty
  readonly nonJson: NonJson
  readonly maxBytes: number
}

/** Which part's value an answer's header takes, or how those of all parts become one. */
export interface CompositeHeadersConfig {
  readonly from: string | undefined
  readonly setCookie: string
  readonly cacheControl: string
  readonly vary: string
  readonly serverTiming: boolean
  readonly response: HeaderEdits
}

/** `composite` of a route: several calls, one answer. */
export interface CompositeConfig {
  /** In order of declaration. */
  readonly parts: readonly PartConfig[]
  readonly strategy: string
  readonly conflict: Conflict
  readonly race: boolean
  readonly onMismatch: Mismatch
  readonly transform: Combine | undefined
  /** Milliseconds; 0: no limit. */
  readonly timeout: number
  readonly meta: boolean
  readonly partialStatus: 200 | 206
  readonly maxBytes: number
  readonly maxDepth: number
  readonly maxCalls: number
  readonly bodyLimit: number | undefined
  readonly headers: CompositeHeadersConfig
  readonly errorHandler: ProxyErrorHandler | undefined
}
