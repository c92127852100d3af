/** Probes: from what a user may write to what the house works with. Everything here has been checked. */
import type { ProbesConfig } from '../probes/types.ts'
import { DEFAULTS } from './defaults.ts'
import type { ProbesOptions } from './schema/probes.ts'

/** `admin`: whether there is an admin interface; its users expect them. */
export function resolveProbes (option: ProbesOptions | undefined, admin: boolean): ProbesConfig | undefined {
  const wanted = option ?? admin
  if (wanted === false) return undefined
  const { live = DEFAULTS.probes.live, ready = DEFAULTS.probes.ready, required } = wanted === true ? {} : wanted
  return { live: live === false ? undefined : live, ready: ready === false ? undefined : ready, required }
}
