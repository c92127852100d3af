/** Calls of the app's own: what `reverseproxy.request()` takes and gives. */
import type { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { CallOptions } from '../routes/call.ts'
import type { Attempt } from '../types.ts'

export interface OwnRequest {
  /** Default GET. */
  method?: string
  /** Path, perhaps with a query; default `/`. */
  path?: string
  /** Added to the query of the path; undefined is left out, a list is one parameter a value. */
  query?: string | URLSearchParams | Readonly<Record<string, QueryValue | readonly QueryValue[]>>
  /** Set after the rules of the backend; of a list each value is a field line of its own. */
  headers?: OwnHeaders | Iterable<readonly [string, string]>
  /** A text, bytes, a form, a stream (sent once, chunked), or a plain object or list, which is sent as JSON. */
  body?: OwnBody | null
  /** The call is one of this tenant's: its backends, its options, its id. */
  tenant?: string
  /** Milliseconds or texts like `'2s'`; one duration is the total time. */
  timeout?: NonNullable<CallOptions['timeout']>
  /** Ends the call, or what is left of its answer. */
  signal?: AbortSignal
  /** false: not tried again, whatever the backend says. */
  retry?: false
  /** Whether it may be sent twice; default: what the backend says of its method. */
  idempotent?: boolean
  /** What the backend gets under the name of `requestIdHeader`; default: no such header. */
  requestId?: string
  /** Most bytes that `text()`, `json()` and `bytes()` read; default 10 MiB. */
  maxBytes?: number | string
}

export type QueryValue = string | number | boolean | undefined

export type OwnHeaders = Readonly<Record<string, string | number | ReadonlyArray<string | number> | undefined>>

export type OwnBody = string | ArrayBufferView | ArrayBuffer | URLSearchParams | Readable | ReadableStream | { readonly [key: string]: unknown } | readonly unknown[]

/**
 * An answer, whatever its status. Its body is read once, by one of the methods or as a stream; one that nobody reads ends after the
 * backend's `timeout.idle` with a TimeoutError, and gives its connection free.
 */
export interface OwnAnswer {
  readonly status: number
  /** Lower-case names; several values as a list. What is between the gateway and the backend only (hop-by-hop) is left out. */
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: Readable
  /** One entry a try, in order. */
  readonly attempts: readonly Attempt[]
  /** Name of the backend that was asked: that of a fallback where there was one. */
  readonly backend: string
  /** URL of the target that answered; undefined: a fallback did. */
  readonly target: string | undefined
  /** The body as UTF-8. @throws AnswerTooLargeError beyond `maxBytes` */
  text (): Promise<string>
  /** @throws BadResponseError for what is no JSON, AnswerTooLargeError beyond `maxBytes` */
  json (): Promise<unknown>
  /** @throws AnswerTooLargeError beyond `maxBytes` */
  bytes (): Promise<Buffer>
  /** Nobody wants the body: a short one is read to its end, so that its connection can be used again; else the connection is closed. */
  dump (): Promise<void>
}
