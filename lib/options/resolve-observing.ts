/** Tracing and the request log: from what a user may write to what the house works with. Everything here has been checked. */
import type { LogConfig } from '../request-log/types.ts'
import type { TracingConfig } from '../tracing/types.ts'
import { DEFAULTS } from './defaults.ts'
import type { LogOptions } from './schema/log.ts'
import type { TracingOptions } from './schema/tracing.ts'
import { milliseconds } from './units.ts'

export function resolveTracing (option: TracingOptions | undefined): TracingConfig | undefined {
  if (option === undefined || option === false) return undefined
  return { ...DEFAULTS.tracing, ...(option === true ? undefined : option) }
}

export function resolveLog (options: LogOptions = {}): LogConfig | undefined {
  const { requests = DEFAULTS.log.requests, failures = requests, slow = DEFAULTS.log.slow, ...others } = options
  if (requests === false && failures === false) return undefined
  return { query: DEFAULTS.log.query, clientAddress: DEFAULTS.log.clientAddress, ...others, requests: requests || undefined, failures: failures || undefined, slow: milliseconds(slow) }
}
