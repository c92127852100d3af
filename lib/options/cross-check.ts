/**
 * What one option says about another: names that must exist, things that must not be there twice.
 *
 * Runs on options that may still be wrong in themselves (all problems are reported at once), so it looks only at what has
 * the shape it knows; everything else has been reported by `check.ts`.
 */
import { milliseconds } from './units.ts'
import type { OptionProblem } from '../errors.ts'
import { templateParams } from '../rewrite/template.ts'
import { pathShape } from '../matching/path-shape.ts'
import { check, type Walk } from './check.ts'
import { isRecord } from './copy.ts'
import { crossCheckComposite, crossCheckStrategies } from './cross-check-composite.ts'
import { crossCheckLog } from './cross-check-log.ts'
import { crossCheckMetrics } from './cross-check-metrics.ts'
import { crossCheckAdmin, crossCheckPlaces, crossCheckProbes } from './cross-check-places.ts'
import { crossCheckResilience, crossCheckRouteResilience, crossCheckTargetHealth } from './cross-check-resilience.ts'
import { crossCheckDiscovery } from './cross-check-discovery.ts'
import { checkReserved, crossCheckTenancy, reservedPlaces } from './cross-check-tenancy.ts'
import { crossCheckTrafficDump } from './cross-check-traffic-dump.ts'
import { BUILT_IN_BALANCERS, DEFAULTS } from './defaults.ts'
import { entriesOf, namesOf, requireName, reportTwins } from './names.ts'
import { at } from './paths.ts'
import { hashKeySchema } from './schema/backend.ts'
import { splitTargetUrl } from './target-url.ts'

/** What a backend or route may refer to. */
export interface Known {
  /** Names of the user's own balancers. */
  readonly balancers: readonly string[]
  /** Names of the user's own strategies. */
  readonly strategies: readonly string[]
  /** Names of backends; undefined: they cannot be told yet. */
  readonly backends: readonly string[] | undefined
  /** Name of the default backend; undefined: there is none. */
  readonly defaultBackend: unknown
  /** What the gateway says for all backends. */
  readonly shared: Readonly<Record<string, unknown>>
  /** Headers that tenancy reads or sends, lower case. */
  readonly reserved: readonly string[]
}

/** What is known once the whole gateway is. */
export function knownOfGateway (options: Readonly<Record<string, unknown>>): Known {
  return {
    balancers: namesOf(options['balancers']),
    strategies: namesOf(options['strategies']),
    backends: backendsOf(options),
    defaultBackend: options['defaultBackend'],
    shared: options,
    reserved: [...new Set(reservedPlaces(options['tenancy'], 'tenancy').map(([name]) => name))]
  }
}

/** Names of the backends, of those that only some tenants have as well. */
export function backendsOf ({ backends, tenancy }: { readonly backends?: unknown, readonly tenancy?: unknown }): string[] {
  const names = new Set(namesOf(backends))
  for (const [, tenant] of entriesOf(isRecord(tenancy) ? tenancy['tenants'] : undefined)) {
    for (const [name, backend] of entriesOf(isRecord(tenant) ? tenant['backends'] : undefined)) {
      if (backend !== false) names.add(name)
    }
  }
  return [...names]
}

/** The options of the whole gateway. */
export function crossCheckGateway (options: Record<string, unknown>, walk: Walk): void {
  const known = knownOfGateway(options)
  crossCheckShared(options, '', known, walk)
  checkReserved(options['headers'], 'headers', known.reserved, walk.problems)
  crossCheckResilience(options, '', { above: {}, isBackend: false }, known, walk)
  for (const [name, backend] of entriesOf(options['backends'])) crossCheckBackend(backend, at('backends', name), known, walk, name)
  if (typeof options['defaultBackend'] === 'string') requireName(options['defaultBackend'], 'defaultBackend', 'backend', known.backends ?? [], walk.problems)
  crossCheckStrategies(options['strategies'], 'strategies', walk.problems)
  checkDeadlineHeader(options, walk.problems)
  crossCheckTenancy(options, walk.problems)
  crossCheckMetrics(options, walk.problems)
  crossCheckAdmin(options, walk.problems)
  crossCheckProbes(options, walk.problems)
  crossCheckPlaces(options, walk.problems)
  crossCheckLog(options, walk.problems)
  crossCheckTrafficDump(options, walk.problems)
  const { routes } = options
  if (!Array.isArray(routes)) return
  routes.forEach((route: unknown, index) => {
    if (!isRecord(route)) return
    const path = at('routes', index)
    crossCheckRoute(route, path, known, walk)
    if (route['tenancy'] !== undefined && options['tenancy'] === undefined) {
      walk.problems.push({ path: at(path, 'tenancy'), rule: 'has no effect without the option "tenancy" of the gateway', value: route['tenancy'] })
    }
  })
  reportTwins(routes.map((route: unknown, index) => [isRecord(route) ? route['name'] : undefined, at(at('routes', index), 'name')]), 'must not be the name of two routes', walk.problems)
}

/** `name` undefined: it cannot be told. */
export function crossCheckBackend (backend: unknown, path: string, known: Known, walk: Walk, name?: string): void {
  const targets: unknown = isRecord(backend) ? backend['targets'] : backend
  const base = isRecord(backend) ? at(path, 'targets') : path
  if (Array.isArray(targets)) {
    const urls = targets.map((target: unknown, index): [unknown, string] => isRecord(target) ? [normalUrl(target['url']), at(at(base, index), 'url')] : [normalUrl(target), at(base, index)])
    reportTwins(urls, 'must not be a target twice', walk.problems)
  }
  const own = isRecord(backend) ? backend : {}
  crossCheckDiscovery(own['discovery'], at(path, 'discovery'), walk.problems)
  crossCheckShared(own, path, known, walk)
  checkReserved(own['headers'], at(path, 'headers'), known.reserved, walk.problems)
  crossCheckResilience(own, path, { above: known.shared, isBackend: true, name }, known, walk)
  if (!Array.isArray(targets)) return
  targets.forEach((target: unknown, index) => {
    if (isRecord(target)) crossCheckTargetHealth(target['health'], at(at(base, index), 'health'), own['health'], known.shared['health'], walk)
  })
}

/** `proxy` of a route; `routePath` undefined: its parameters cannot be told. */
export function crossCheckProxy (proxy: unknown, path: string, routePath: string | undefined, known: Known, walk: Walk): void {
  const backend: unknown = isRecord(proxy) ? proxy['backend'] : proxy
  if (known.backends !== undefined) {
    if (typeof backend === 'string') requireName(backend, isRecord(proxy) ? at(path, 'backend') : path, 'backend', known.backends, walk.problems)
    else if (backend === undefined && known.defaultBackend === undefined) walk.problems.push({ path: at(path, 'backend'), rule: 'is required, as there is no defaultBackend' })
  }
  if (!isRecord(proxy)) return
  crossCheckRouteResilience(proxy, path, backend ?? known.defaultBackend, known, walk)
  checkReserved(proxy['headers'], at(path, 'headers'), known.reserved, walk.problems)
  crossCheckWebSocket(proxy['websocket'], at(path, 'websocket'), walk.problems)
  const { rewrite } = proxy
  const base = at(path, 'rewrite')
  if (Array.isArray(rewrite)) rewrite.forEach((step: unknown, index) => { crossCheckRewrite(step, at(base, index), routePath, walk.problems) })
  else crossCheckRewrite(rewrite, base, routePath, walk.problems)
}

function crossCheckRoute (route: Record<string, unknown>, path: string, known: Known, walk: Walk): void {
  const routePath = typeof route['path'] === 'string' ? route['path'] : undefined
  if (route['proxy'] !== undefined) crossCheckProxy(route['proxy'], at(path, 'proxy'), routePath, known, walk)
  if (route['composite'] !== undefined) crossCheckComposite(route['composite'], at(path, 'composite'), routePath, known, walk)
  const { methods } = route
  crossCheckUpgrade(route['proxy'], at(path, 'proxy'), methods, walk.problems)
  if (Array.isArray(methods)) reportTwins(methods.map((method: unknown, index) => [method, at(at(path, 'methods'), index)]), 'must not be listed twice', walk.problems)
}

/** A handshake is a GET. */
function crossCheckUpgrade (proxy: unknown, path: string, methods: unknown, problems: OptionProblem[]): void {
  const websocket: unknown = isRecord(proxy) ? proxy['websocket'] : undefined
  if (websocket === undefined || websocket === false || methods === undefined || [methods].flat().includes('GET')) return
  problems.push({ path: at(path, 'websocket'), rule: 'needs the method GET among methods', value: websocket })
}

/** What is compressed can be neither measured nor read. */
function crossCheckWebSocket (websocket: unknown, path: string, problems: OptionProblem[]): void {
  if (!isRecord(websocket) || websocket['compression'] !== 'pass') return
  const reason = ['maxPayload', 'onMessage'].find(name => websocket[name] !== undefined)
  if (reason !== undefined) problems.push({ path: at(path, 'compression'), rule: `must not be "pass" beside ${reason}: compressed messages cannot be looked into`, value: 'pass' })
}

function crossCheckRewrite (step: unknown, path: string, routePath: string | undefined, problems: OptionProblem[]): void {
  if (!isRecord(step) || typeof step['template'] !== 'string') return
  const { template } = step
  for (const key of ['stripPrefix', 'replacePrefix', 'regex']) {
    if (key in step) problems.push({ path: at(path, key), rule: 'does nothing beside template, which makes the whole path', value: step[key] })
  }
  if (routePath === undefined) return
  const { names } = pathShape(routePath)
  for (const name of templateParams(template).filter(name => !names.includes(name))) {
    problems.push({ path: at(path, 'template'), rule: `must use parameters of the route's path only; "${name === '*' ? '*' : `:${name}`}" is not in ${routePath}`, value: template })
  }
}

/** What the gateway and a backend have in common. */
export function crossCheckShared (options: Record<string, unknown>, path: string, known: Known, walk: Walk): void {
  if (options['balancer'] !== undefined) crossCheckBalancer(options['balancer'], at(path, 'balancer'), known, walk)
  const { pool, timeout } = options
  if (isRecord(pool) && pool['connectTimeout'] !== undefined && isRecord(timeout) && timeout['connect'] !== undefined && !sameDuration(pool['connectTimeout'], timeout['connect'])) {
    walk.problems.push({ path: at(at(path, 'pool'), 'connectTimeout'), rule: 'must be what timeout.connect says: they are the same', value: pool['connectTimeout'] })
  }
}

function crossCheckBalancer (balancer: unknown, path: string, known: Known, walk: Walk): void {
  const type: unknown = isRecord(balancer) ? balancer['type'] : balancer
  const typePath = isRecord(balancer) ? at(path, 'type') : path
  if (typeof type !== 'string') return
  requireName(type, typePath, 'balancer', [...new Set([...BUILT_IN_BALANCERS, ...known.balancers])], walk.problems)
  if (known.balancers.includes(type) || !BUILT_IN_BALANCERS.some(name => name === type)) return
  const key: unknown = isRecord(balancer) ? balancer['key'] : undefined
  if (type === 'hash') {
    if (key === undefined) walk.problems.push({ path: at(path, 'key'), rule: 'is required for "hash": { type: hash, key: { header: x-user } }' })
    else check(hashKeySchema, key, at(path, 'key'), walk)
  }
  for (const [option, value] of entriesOf(balancer)) {
    if (option === 'type' || (option === 'key' && type === 'hash')) continue
    walk.problems.push({ path: at(path, option), rule: `is not an option of the balancer "${type}"`, value })
  }
}

/** Two values under one name would be one too many. */
function checkDeadlineHeader ({ deadlineHeader, headers }: Record<string, unknown>, problems: OptionProblem[]): void {
  const { requestId = DEFAULTS.requestId } = isRecord(headers) ? headers : {}
  if (typeof deadlineHeader === 'string' && typeof requestId === 'string' && deadlineHeader.toLowerCase() === requestId.toLowerCase()) {
    problems.push({ path: 'deadlineHeader', rule: 'must not be the header of headers.requestId', value: deadlineHeader })
  }
}

// ---- helpers

function normalUrl (url: unknown): string | undefined {
  if (typeof url !== 'string') return undefined
  const split = splitTargetUrl(url)
  return typeof split === 'string' ? undefined : split.url
}

function sameDuration (a: unknown, b: unknown): boolean {
  const isDuration = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number'
  return isDuration(a) && isDuration(b) && milliseconds(a) === milliseconds(b)
}
