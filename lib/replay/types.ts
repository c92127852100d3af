/** What requests of a dump are sent again with, and what comes of it. */

/** A line of a dump, as far as it is needed. */
export interface DumpLine {
  readonly rule?: string | null
  readonly backend?: string | null
  readonly request_id?: string
  readonly method: string
  readonly url: string
  readonly request_headers?: Readonly<Record<string, readonly string[]>>
  readonly request_body?: string | null
  readonly request_body_encoding?: string
  readonly request_body_truncated?: boolean
  readonly request_body_decoded?: string
  readonly request_body_omitted?: string
  readonly status_code: number
  readonly aborted?: boolean
  readonly cut?: boolean
  readonly response_headers?: Readonly<Record<string, readonly string[]>>
  readonly response_body?: string | null
  readonly response_body_encoding?: string
  readonly response_body_truncated?: boolean
  readonly response_body_omitted?: string
}

/** Why a line is not sent. */
export type Skip = 'method' | 'truncated-body' | 'missing-body' | 'redacted-path' | 'redacted-body' | 'aborted' | 'filter'

/** What is sent. */
export interface ReplayRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Buffer | undefined
  /** Whether headers or parameters were left out since their values are not in the dump. */
  readonly withoutRedacted: boolean
  /** Whether path or body have `[redacted]` in them. */
  readonly withRedacted: boolean
}

/** Which lines are sent, and what with. */
export interface RequestOptions {
  /** Also others than GET and HEAD. */
  readonly allMethods: boolean
  /** Also those with `[redacted]` in path or body. */
  readonly redacted: boolean
  /** In place of headers of the dump by the same names. */
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
}

export interface ReplayAnswer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Buffer
}

export type DifferenceKind = 'status' | 'header' | 'body' | 'failed'

export interface Difference {
  readonly kind: DifferenceKind
  /** A header's name, or the way to a value of JSON. */
  readonly at: string
  readonly expected: unknown
  readonly actual: unknown
}

export interface CompareOptions {
  /** Headers that must be the same, lower case. */
  readonly headers: readonly string[]
  /** Ways to values of JSON that may differ: `meta.time`, `*` for any name. */
  readonly ignore: readonly string[]
  /** Whether lists of JSON are the same in any order. */
  readonly unordered: boolean
}
