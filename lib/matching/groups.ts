/**
 * Routes that share a path and a method, brought together: Fastify gets one route for each group, and the conditions
 * decide within it. So their number on one path is not limited, and two that cannot be told apart are found at boot.
 */
import type { OptionProblem } from '../errors.ts'
import type { HostMatch, RouteConfig, RouteMatch } from '../types.ts'
import { hostName } from './host.ts'
import { createMatcher, type Matcher } from './matcher.ts'
import { pathShape } from './path-shape.ts'
import { createSelect, type Select } from './selector.ts'
import { canOverlap, compareSpecificity } from './specificity.ts'

/** A route within a group. A route with several hosts has one entry for each of them. */
export interface RouteEntry {
  readonly route: RouteConfig
  /** The host of this entry; undefined: every host. */
  readonly host: HostMatch | undefined
  /** undefined: every request. */
  readonly matches: Matcher | undefined
}

/** What becomes one Fastify route. */
export interface RouteGroup {
  readonly path: string
  readonly methods: string[]
  /** Most specific first; of equals the one declared first. */
  readonly entries: readonly RouteEntry[]
  /** The route for a request: that of the first entry that matches, found without asking every one. */
  readonly select: Select
  /** Whether some entry takes every request. If not, the group needs a constraint, so that Fastify looks further. */
  readonly total: boolean
}

/** A route with its place in the options. */
interface Numbered {
  readonly route: RouteConfig
  readonly index: number
  /** Its path's parameters as written. */
  readonly params: string
}

/** An entry on its way: the route's conditions with this one host. */
interface Draft extends Numbered {
  readonly match: RouteMatch
}

/**
 * Groups routes so that each (path, method) is in one group only. `allMethods` stands in for routes without methods.
 * Parameters' names make no difference to a path. Problems are at `routes[i]`.
 */
export function groupRoutes (
  routes: readonly RouteConfig[],
  allMethods: readonly string[]
): { groups: RouteGroup[], problems: OptionProblem[] } {
  const problems: OptionProblem[] = []
  const groups: RouteGroup[] = []
  for (const samePath of byPath(routes).values()) {
    problems.push(...nameProblems(samePath, allMethods), ...ambiguities(samePath, allMethods))
    for (const { methods, members } of byMethods(samePath, allMethods)) groups.push(createGroup(methods, members))
  }
  return { groups, problems }
}

function byPath (routes: readonly RouteConfig[]): Map<string, Numbered[]> {
  const paths = new Map<string, Numbered[]>()
  for (const [index, route] of routes.entries()) {
    const { shape, names } = pathShape(route.path)
    const params = names.join('/')
    const samePath = paths.get(shape) ?? []
    paths.set(shape, samePath)
    samePath.push({ route, index, params })
  }
  return paths
}

/** Methods with the same routes are one group; a method that only some of the routes take has its own. */
function byMethods (routes: readonly Numbered[], allMethods: readonly string[]): Array<{ methods: string[], members: Numbered[] }> {
  const methods = new Set(routes.flatMap(({ route }) => route.methods ?? allMethods))
  const partition = new Map<string, { methods: string[], members: Numbered[] }>()
  for (const method of methods) {
    const members = routes.filter(({ route }) => (route.methods ?? allMethods).includes(method))
    const key = members.map(({ index }) => index).join()
    const same = partition.get(key)
    if (same === undefined) partition.set(key, { methods: [method], members })
    else same.methods.push(method)
  }
  return [...partition.values()]
}

function createGroup (methods: string[], members: readonly Numbered[]): RouteGroup {
  const entries = members.flatMap(draftsOf)
    .sort((a, b) => compareSpecificity(a.match, b.match))
    .map(({ route, match }): RouteEntry => ({ route, host: match.hosts[0], matches: createMatcher(match) }))
  return {
    path: members[0]!.route.path,
    methods,
    entries,
    select: createSelect(entries),
    total: entries.some(({ matches }) => matches === undefined)
  }
}

function draftsOf (numbered: Numbered): Draft[] {
  const { match } = numbered.route
  if (match.hosts.length < 2) return [{ ...numbered, match }]
  return match.hosts.map(host => ({ ...numbered, match: { ...match, hosts: [host] } }))
}

/** Routes of one Fastify route share its parameters. */
function nameProblems (routes: readonly Numbered[], allMethods: readonly string[]): OptionProblem[] {
  const problems: OptionProblem[] = []
  for (const { route, index, params } of routes) {
    const other = routes.find(before =>
      before.index < index && before.params !== params && shareMethod(before.route, route, allMethods))
    if (other === undefined) continue
    problems.push({
      path: `routes[${index}].path`,
      rule: `must write its parameters as ${label(other)} does, which is the same path ${other.route.path}`,
      value: route.path
    })
  }
  return problems
}

function ambiguities (routes: readonly Numbered[], allMethods: readonly string[]): OptionProblem[] {
  const found = new Map<string, OptionProblem>()
  const isAmbiguous = (a: Draft, b: Draft): boolean => a.index < b.index &&
    compareSpecificity(a.match, b.match) === 0 &&
    shareMethod(a.route, b.route, allMethods) &&
    canOverlap(a.match, b.match)
  for (const sameHost of byHost(routes).values()) {
    for (const a of sameHost) {
      for (const b of sameHost) {
        if (isAmbiguous(a, b)) found.set(`${a.index} ${b.index}`, ambiguity(a, b))
      }
    }
  }
  return [...found.values()]
}

/**
 * Two exact hosts, or two wildcards that are equally specific, are the same or have nothing in common. So only those
 * of one name need to be compared, and a thousand hosts are not a million pairs.
 */
function byHost (routes: readonly Numbered[]): Map<string, Draft[]> {
  const hosts = new Map<string, Draft[]>()
  for (const draft of routes.flatMap(draftsOf)) {
    const host = draft.match.hosts[0]
    const name = host === undefined ? '' : hostName(host)
    const sameHost = hosts.get(name) ?? []
    hosts.set(name, sameHost)
    sameHost.push(draft)
  }
  return hosts
}

function shareMethod (a: RouteConfig, b: RouteConfig, allMethods: readonly string[]): boolean {
  const methods = b.methods ?? allMethods
  return (a.methods ?? allMethods).some(method => methods.includes(method))
}

function ambiguity (first: Numbered, second: Numbered): OptionProblem {
  return {
    path: `routes[${second.index}]`,
    rule: `${label(second)} must differ from ${label(first)} in path, methods, host, headers or query: a request could be for either`,
    value: second.route.path
  }
}

function label ({ route, index }: Numbered): string {
  return `"${route.name}" (routes[${index}])`
}
