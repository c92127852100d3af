/**
 * What changes of the routes.
 *
 * A route is known by its name; without one by its path, which several may share: those are told apart by what they say.
 */
import { isDeepStrictEqual } from 'node:util'
import { mergeProxy } from '../options/merge.ts'
import { routeSchema } from '../options/schema/proxy.ts'
import type { GatewayConfig, RouteConfig } from '../types.ts'
import { diffOptions } from './diff.ts'
import { ROUTE } from './forms.ts'
import type { Change, Changes, RouteChange, RouteName } from './types.ts'

/** Name of what a default backend answers. */
const DEFAULT_ROUTE = 'default'

type Routes = Pick<GatewayConfig, 'routes' | 'defaultBackend'>
type Options = Readonly<Record<string, unknown>>

/** The routes of one name that differ. */
interface Group {
  readonly name: string
  readonly changed: readonly RouteChange[]
  readonly added: readonly RouteConfig[]
  readonly removed: readonly RouteConfig[]
  readonly unchanged: number
}

export function planRoutes (before: Routes, after: Routes): Changes<RouteName, RouteChange> {
  const groups = groupsOf(before, after)
  const nameOf = ({ name, path }: RouteConfig): RouteName => ({ name, path })
  return {
    added: groups.flatMap(({ added }) => added.map(nameOf)),
    removed: groups.flatMap(({ removed }) => removed.map(nameOf)),
    changed: groups.flatMap(({ changed }) => changed),
    unchanged: groups.reduce((sum, { unchanged }) => sum + unchanged, 0)
  }
}

/**
 * Names of the routes that are gone, or differ in what they say themselves; a route that names no backend says the default one.
 * Where several share a name it is enough that one of them does. `default` is what the default backend answers.
 */
export function changedRoutes (before: Routes, after: Routes): Set<string> {
  const names = groupsOf(before, after).filter(({ changed, removed }) => changed.length + removed.length > 0).map(({ name }) => name)
  if (before.defaultBackend !== undefined && before.defaultBackend !== after.defaultBackend) names.push(DEFAULT_ROUTE)
  return new Set(names)
}

function groupsOf (before: Routes, after: Routes): Group[] {
  const [one, other] = [byName(before.routes), byName(after.routes)]
  return [...new Set([...one.keys(), ...other.keys()])].map(name => compareGroup(name, one.get(name) ?? [], other.get(name) ?? [], [before.defaultBackend, after.defaultBackend]))
}

function byName (routes: readonly RouteConfig[]): Map<string, RouteConfig[]> {
  const groups = new Map<string, RouteConfig[]>()
  for (const route of routes) {
    const group = groups.get(route.name)
    if (group === undefined) groups.set(route.name, [route])
    else group.push(route)
  }
  return groups
}

type Defaults = readonly [before: string | undefined, after: string | undefined]

/** What stays as it is first, then those for the same requests, then in order. */
function compareGroup (name: string, before: readonly RouteConfig[], after: readonly RouteConfig[], defaults: Defaults): Group {
  const removed = [...before]
  const added = [...after]
  const pairs: Array<readonly [RouteConfig, RouteConfig]> = []
  const pair = (fits: (one: RouteConfig, other: RouteConfig) => boolean) => {
    for (const one of [...removed]) {
      const index = added.findIndex(other => fits(one, other))
      if (index === -1) continue
      removed.splice(removed.indexOf(one), 1)
      pairs.push([one, added.splice(index, 1)[0]!])
    }
  }
  pair((one, other) => differences(one, other, defaults).length === 0)
  const unchanged = pairs.length
  pair((one, other) => isDeepStrictEqual([one.methods, one.match], [other.methods, other.match]))
  pair(() => true)
  const changed = pairs.slice(unchanged).map(([one, other]) => ({ name, path: other.path, options: differences(one, other, defaults) }))
  return { name, changed, added, removed, unchanged }
}

/** The same may be written in two ways. */
function differences (before: RouteConfig, after: RouteConfig, [one, other]: Defaults): Change[] {
  const isSameDefault = one === other || (before.proxy?.backend !== undefined && after.proxy?.backend !== undefined)
  if (isSameDefault && isDeepStrictEqual({ ...before, said: undefined }, { ...after, said: undefined })) return []
  const [said, next] = [saidOf(before, one), saidOf(after, other)]
  return [...diffOptions({ schema: routeSchema, form: ROUTE }, said, next), ...orderOfParts(said, next)]
}

/** As it was written, with the default backend where none is named. The name is what it is known by. */
function saidOf ({ said: { name, proxy, composite, ...said } }: RouteConfig, defaultBackend: string | undefined): Options {
  const backend = defaultBackend === undefined ? {} : { backend: defaultBackend }
  const parts = composite?.parts
  return {
    ...said,
    ...(proxy === undefined ? undefined : { proxy: mergeProxy(backend, proxy) }),
    ...(composite === undefined ? undefined : { composite: parts === undefined ? composite : { ...composite, parts: Object.fromEntries(Object.entries(parts).map(([part, option]) => [part, { ...backend, ...option }])) } })
  }
}

/** Of two parts with the same property the later one wins. */
function orderOfParts (before: Options, after: Options): Change[] {
  const [from, to] = [before, after].map(({ composite }) => Object.keys((composite as { readonly parts?: object } | undefined)?.parts ?? {})) as [string[], string[]]
  const isSameSet = from.length === to.length && from.every(name => to.includes(name))
  return isSameSet && !isDeepStrictEqual(from, to) ? [{ path: 'composite.parts', from, to }] : []
}
