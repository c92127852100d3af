/**
 * What happens to connections that are open, in sentences.
 */
import { isStill } from './named.ts'
import type { BackendChange, Plan } from './types.ts'

const CLOSED = 'WebSockets close with 1001, event streams end between two events'

/** `plan` without its effects; `longLived`: names of the routes before that can have WebSockets or event streams. */
export function effectsOf ({ server, global, backends, routes, tenants }: Omit<Plan, 'effects'>, longLived: ReadonlySet<string>): string[] {
  if (server.length + global.length === 0 && [backends, routes, tenants].every(isStill)) return []
  const restarts = server.filter(({ how }) => how === 'restart').map(({ path }) => path)
  const closed = [
    ...new Set([...routes.removed, ...routes.changed].map(({ name }) => name).filter(name => longLived.has(name))),
    ...global.some(({ path, from }) => path === 'defaultBackend' && from !== undefined) ? ['(default)'] : []
  ]
  const parted = [...tenants.removed, ...tenants.changed.filter(({ options }) => options.some(({ path }) => path === '' || path.startsWith('backends'))).map(({ name }) => name)]
  const ends = [
    ...(closed.length === 0 ? [] : [`${counted('Route', closed)}: ${CLOSED}.`]),
    ...(backends.removed.length === 0 ? [] : [`${counted('Backend', backends.removed)}: no new requests; ${CLOSED}.`]),
    ...backends.changed.flatMap(effectsOfBackend),
    ...(parted.length === 0 ? [] : [`${counted('Tenant', parted)}: connections to targets that nobody else has are closed when their last request has ended.`])
  ]
  return [
    ...(restarts.length === 0 ? [] : [`${list(restarts)}: not before a restart.`]),
    ...ends,
    `Requests under way finish; ${ends.length === 0 ? 'all' : 'all other'} WebSockets and event streams stay open.`
  ]
}

function effectsOfBackend ({ name, options, targets: { removed }, poolsKept }: BackendChange): string[] {
  if (!poolsKept) return [`Backend ${name}: all its connections are made anew; on the old ones ${CLOSED}.`]
  const isFound = options.some(({ path }) => path === 'discovery' || path.startsWith('discovery.'))
  return [
    ...(removed.length === 0 ? [] : [`Backend ${name}, ${counted('target', removed)}: no new requests; ${CLOSED}.`]),
    ...(isFound ? [`Backend ${name}, targets that its discovery does not give: no new requests; ${CLOSED}.`] : [])
  ]
}

function counted (what: string, names: readonly string[]): string {
  return `${what}${names.length === 1 ? '' : 's'} ${list(names)}`
}

/** `a, b, c and 4 more` */
function list (names: readonly string[]): string {
  const shown = names.slice(0, 10)
  return shown.join(', ') + (names.length > shown.length ? ` and ${names.length - shown.length} more` : '')
}
