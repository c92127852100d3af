/**
 * What a tenant's options say about those that everybody has: each of its backends and routes as it would be for the tenant.
 *
 * Like `cross-check.ts` it looks only at what has the shape it knows; everything else has been reported.
 */
import type { CompositeOptions } from './schema/composite.ts'
import { check, veiled, type Walk } from './check.ts'
import { isRecord } from './copy.ts'
import { crossCheckBackend, crossCheckProxy, crossCheckShared, knownOfGateway, type Known } from './cross-check.ts'
import { crossCheckComposite } from './cross-check-composite.ts'
import { crossCheckResilience } from './cross-check-resilience.ts'
import { checkReserved } from './cross-check-tenancy.ts'
import { fullBackend, mergeComposite, mergeProxy, partNames } from './merge.ts'
import { entriesOf, namesOf, requireName } from './names.ts'
import { at, isWithin, segments } from './paths.ts'
import { mergeSaid } from './resolve-resilience.ts'
import { fullBackendSchema, type BackendOptions, type FullBackendOption } from './schema/backend.ts'
import { compositeSchema } from './schema/composite.ts'
import { proxySchema } from './schema/proxy.ts'

type Options = Readonly<Record<string, unknown>>

/** What everybody has. */
export interface Everybody {
  readonly known: Known
  /** What a backend says, in full form; undefined: there is none, or it is wrong in itself. */
  backend (name: string): FullBackendOption | undefined
  /** Names of the backends. */
  readonly backends: readonly string[]
  /** A route of the options by its name; undefined: there is none, it may be one in code. */
  route (name: string): Options | undefined
}

/** All tenants of the gateway's options. */
export function crossCheckTenants (options: Options, walk: Walk): void {
  const { tenancy } = options
  if (!isRecord(tenancy) || !isRecord(tenancy['tenants'])) return
  const everybody = everybodyOf(options, walk)
  const path = at('tenancy', 'tenants')
  const wrong = new Set(walk.problems.filter(problem => isWithin(problem.path, path)).map(problem => segments(problem.path)[2]))
  for (const [id, tenant] of Object.entries(tenancy['tenants'])) {
    if (wrong.has(id)) continue
    // a list of its own: many may be wrong, and what is said of one is looked through for what has been said
    const own: Walk = { problems: [], origin: walk.origin }
    crossCheckTenant(tenant, at(path, id), everybody, own)
    walk.problems.push(...own.problems)
  }
}

function everybodyOf (options: Options, { problems }: Walk): Everybody {
  const before = problems.length
  const isWrong = (path: string) => before > 0 && problems.slice(0, before).some(problem => isWithin(problem.path, path))
  const full = new Map(entriesOf(options['backends']).filter(([name]) => !isWrong(at('backends', name))).map(([name, backend]) => [name, fullBackend(backend as BackendOptions)]))
  const listed: readonly unknown[] = Array.isArray(options['routes']) ? options['routes'] : []
  const routes = new Map(listed.filter((route, index) => isRecord(route) && !isWrong(at('routes', index))).map(route => [(route as Options)['name'] ?? (route as Options)['path'], route as Options]))
  return { known: knownOfGateway(options), backend: name => full.get(name), backends: namesOf(options['backends']), route: name => routes.get(name) }
}

/** One tenant at `path`; nothing is said of it where it is wrong in itself. */
export function crossCheckTenant (tenant: unknown, path: string, everybody: Everybody, walk: Walk): void {
  if (!isRecord(tenant) || walk.problems.some(problem => isWithin(problem.path, path))) return
  const { known, route } = everybody
  const own: Known = knownOfTenant(tenant, everybody)
  crossCheckShared(tenant, path, known, walk)
  crossCheckResilience(tenant, path, { above: known.shared, isBackend: false }, own, walk)
  checkReserved(tenant['headers'], at(path, 'headers'), known.reserved, walk.problems)
  for (const [name, over] of entriesOf(tenant['backends'])) checkBackend(name, over, at(at(path, 'backends'), name), everybody, own, walk)
  if (typeof tenant['defaultBackend'] === 'string') requireName(tenant['defaultBackend'], at(path, 'defaultBackend'), 'backend', own.backends ?? [], walk.problems)
  for (const [name, over] of entriesOf(tenant['routes'])) {
    if (isRecord(over)) checkRoute(over, at(at(path, 'routes'), name), route(name), own, walk)
  }
}

/** Many tenants say little: what is rarely asked for is put together when it is. */
function knownOfTenant (tenant: Options, { known, backends }: Everybody): Known {
  const { defaultBackend = known.defaultBackend } = tenant
  return {
    ...known,
    defaultBackend,
    shared: mergeSaid(tenant, known.shared),
    get backends () {
      const own = isRecord(tenant['backends']) ? tenant['backends'] : {}
      return [...new Set([...backends, ...Object.keys(own)])].filter(name => !Object.hasOwn(own, name) || own[name] !== false)
    }
  }
}

/** A spread would put together what nobody may ask for. */
function withShared (known: Known, shared: Options): Known {
  const { balancers, strategies, defaultBackend, reserved } = known
  return { balancers, strategies, defaultBackend, reserved, shared, get backends () { return known.backends } }
}

function checkBackend (name: string, over: unknown, path: string, everybody: Everybody, known: Known, walk: Walk): void {
  if (over === false) return
  const sources = isRecord(over) ? ['url', 'targets', 'discovery'].filter(source => over[source] !== undefined).length : 1
  if (sources > 1) {
    walk.problems.push({ path, rule: 'must have one of url, targets, discovery', value: veiled(fullBackendSchema, over) })
    return
  }
  const base = everybody.backend(name)
  // what everybody has is wrong in itself, which has been reported
  if (base === undefined && everybody.backends.includes(name)) return
  if (base === undefined && sources === 0) {
    walk.problems.push({ path, rule: 'must have one of url, targets, discovery: nobody else has a backend of this name', value: over })
    return
  }
  // what everybody has is a level above: a problem is reported where the tenant has said something
  crossCheckBackend(over, path, base === undefined ? known : withShared(known, mergeSaid(base as Options, known.shared)), walk, name)
}

function checkRoute (over: Options, path: string, route: Options | undefined, own: Known, walk: Walk): void {
  const { proxy, composite } = over
  for (const [name, place] of namedBackends(over, path)) {
    if (typeof name === 'string') requireName(name, place, 'backend', own.backends ?? [], walk.problems)
  }
  // what the route itself names may be a backend that only other tenants have
  const known: Known = { ...own, backends: undefined }
  if (proxy !== undefined && composite !== undefined) {
    walk.problems.push({ path: at(path, 'composite'), rule: 'must not stand beside proxy: a route has one of them', value: composite })
    return
  }
  if (route === undefined) return
  const routePath = typeof route['path'] === 'string' ? route['path'] : undefined
  for (const [name, other] of [['proxy', 'composite'], ['composite', 'proxy']] as const) {
    if (over[name] !== undefined && route[name] === undefined) walk.problems.push({ path: at(path, name), rule: `must be ${other}: that is what the route has`, value: over[name] })
  }
  if (proxy !== undefined && route['proxy'] !== undefined) checkProxyOver(route['proxy'], proxy, at(path, 'proxy'), routePath, known, walk)
  if (isRecord(composite) && isRecord(route['composite'])) checkCompositeOver(route['composite'], composite, at(path, 'composite'), routePath, known, walk)
}

/** The backends that a change of a route names, and where. */
function namedBackends ({ proxy, composite }: Options, path: string): Array<[unknown, string]> {
  const place = at(path, 'proxy')
  const parts = at(path, 'composite')
  const { backends } = isRecord(composite) ? composite : {}
  return [
    isRecord(proxy) ? [proxy['backend'], at(place, 'backend')] : [proxy, place],
    ...(Array.isArray(backends) ? backends.map((name: unknown, index): [unknown, string] => [name, at(at(parts, 'backends'), index)]) : []),
    ...entriesOf(isRecord(composite) ? composite['parts'] : undefined).map(([name, part]): [unknown, string] => [isRecord(part) ? part['backend'] : undefined, at(at(at(parts, 'parts'), name), 'backend')])
  ]
}

/** Returns what the two are together. */
export function checkProxyOver (said: unknown, over: unknown, path: string, routePath: string | undefined, known: Known, walk: Walk): unknown {
  const merged = mergeProxy(said, over)
  check(proxySchema, merged, path, walk)
  crossCheckProxy(merged, path, routePath, known, walk)
  return merged
}

/** Returns what the two are together. */
export function checkCompositeOver (said: Options, over: Options, path: string, routePath: string | undefined, known: Known, walk: Walk): CompositeOptions {
  const names = partNames(said)
  for (const [name, part] of entriesOf(over['parts'])) {
    if (part === false) requireName(name, at(at(path, 'parts'), name), 'part', names, walk.problems)
  }
  const merged = mergeComposite(said, over)
  check(compositeSchema, merged, path, walk)
  crossCheckComposite(merged, path, routePath, known, walk)
  return merged as CompositeOptions
}
