/** The words of the request log as types. No behaviour here. */
import type { Backend, Target } from '../types.ts'
import type { Part } from '../composite/part.ts'
import type { RouteNameOf } from '../routes/forwarding.ts'
import type { ShownQuery } from '../shown-url.ts'

/** Levels of pino. */
export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Parsed, defaulted, frozen. One of `requests` and `failures` is there. */
export interface LogConfig {
  /** Level of the line of a request; undefined: there is none. */
  readonly requests: LogLevel | undefined
  /** Level of the line of a request that has failed; undefined: there is none. */
  readonly failures: LogLevel | undefined
  /** Requests that took less have no line, unless they have failed. ms; 0: all have one. */
  readonly slow: number
  readonly query: ShownQuery
  /** Whether the line has the client's address. */
  readonly clientAddress: boolean
}

/** What the line needs beyond the request's record. Writer: plugins/request-log.ts */
export interface Logged {
  /** Clock time. */
  readonly startedAt: number
  readonly nameOf: RouteNameOf
  /** Of the attempt that counts: the latest that nobody has ended from outside. */
  target: Target | undefined
  backend: Backend | undefined
  /** Those of a composite. */
  parts: readonly Part[] | undefined
}
