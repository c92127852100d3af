/**
 * Limits of requests: from what a user may write to what the house works with. Everything here has been checked.
 */
import type { LimitsConfig } from '../types.ts'
import { DEFAULTS } from './defaults.ts'
import type { GatewayOptions } from './schema/gateway.ts'
import { byteCount } from './units.ts'

const BUILT_IN_LIMITS: LimitsConfig = {
  headerCount: DEFAULTS.limits.headerCount,
  target: byteCount(DEFAULTS.limits.target),
  body: Infinity
}

/** A level's limits over those of the level above. */
export function resolveLimits (limits: GatewayOptions['limits'] = {}, above: LimitsConfig = BUILT_IN_LIMITS): LimitsConfig {
  return {
    headerCount: limits.headerCount ?? above.headerCount,
    target: limits.target === undefined ? above.target : byteCount(limits.target),
    body: limits.body === undefined ? above.body : byteCount(limits.body)
  }
}
