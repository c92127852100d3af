/** The admin interface: from what a user may write to what the house works with. Everything here has been checked. */
import type { AdminConfig } from '../admin/types.ts'
import { DEFAULTS } from './defaults.ts'
import type { AdminOptions } from './schema/admin.ts'

export function resolveAdmin (option: AdminOptions | undefined): AdminConfig | undefined {
  if (option === undefined || option === false) return undefined
  const { prefix = DEFAULTS.admin.prefix, host = DEFAULTS.admin.host, token, port, preHandler = [] } = option === true ? {} : option
  return { prefix, token, port, host, preHandler: [preHandler].flat() }
}
