/**
 * How a tenant is called in metrics and logs.
 */
import { createHash, createHmac } from 'node:crypto'

const OTHER = 'other'

/**
 * Labels for metrics: the first `max` ids get one of their own, all later ones share `other`, for as long as the process lives.
 *
 * Only ask for ids that were recognised: whoever sends made-up ones would take the labels of real tenants.
 * An id that reads `other` is labelled `other_` (and `other_` is `other__`), so that no tenant is taken for the rest.
 */
export function createLabels (max: number): (id: string) => string {
  const labels = new Map<string, string>()
  return function labelOf (id) {
    const known = labels.get(id)
    if (known !== undefined) return known
    if (labels.size >= max) return OTHER
    const label = /^other_*$/.test(id) ? `${id}_` : id
    labels.set(id, label)
    return label
  }
}

/**
 * Ids for logs: as they are, or the first 16 hex digits (64 bits) of their SHA-256.
 * @param hashIds a text makes it an HMAC with that key. Without one, whoever can guess an id can find it in the logs.
 */
export function createLogId (hashIds: boolean | string): (id: string) => string {
  if (hashIds === false) return id => id
  if (hashIds === true) return id => createHash('sha256').update(id).digest('hex').slice(0, 16)
  return id => createHmac('sha256', hashIds).update(id).digest('hex').slice(0, 16)
}
