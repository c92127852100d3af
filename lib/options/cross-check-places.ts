/**
 * What is answered by the gateway itself must not be asked for twice: the paths of metrics, probes and the admin interface beside
 * each other and beside the routes. And what else the options of probes and of the admin interface say about others.
 */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { namesOf, requireName } from './names.ts'
import { at } from './paths.ts'

type Options = Readonly<Record<string, unknown>>

/** A path of the gateway's own. */
interface Place {
  readonly path: string
  /** Whether everything below it is its own, too. */
  readonly below: boolean
  /** undefined: all */
  readonly methods: readonly string[] | undefined
  /** The option that says it, and how it is called. */
  readonly option: string
  readonly what: string
}

const READ = ['GET', 'HEAD']

export function crossCheckAdmin ({ admin, metrics }: Options, problems: OptionProblem[]): void {
  if (!isRecord(admin)) return
  const { port, host } = admin
  if (host !== undefined && port === undefined) problems.push({ path: 'admin.host', rule: 'has no effect without port: the admin interface is part of the app', value: host })
  const isTwice = isRecord(metrics) && typeof port === 'number' && port > 0 && metrics['port'] === port
  if (isTwice && (host ?? DEFAULTS.admin.host) === (metrics['host'] ?? DEFAULTS.metrics.host)) problems.push({ path: 'admin.port', rule: 'must not be the port of the metrics', value: port })
}

export function crossCheckProbes ({ probes, backends }: Options, problems: OptionProblem[]): void {
  const required: unknown = isRecord(probes) ? probes['required'] : undefined
  if (!Array.isArray(required)) return
  required.forEach((name: unknown, index) => {
    // of tenants' own backends nothing is known before they are used
    if (typeof name === 'string' && name.trim() !== '') requireName(name, at('probes.required', index), 'backend', namesOf(backends), problems)
  })
}

/** Metrics and routes are held against each other by `cross-check-metrics.ts`. */
export function crossCheckPlaces (options: Options, problems: OptionProblem[]): void {
  const { routes } = options
  const probes = placesOfProbes(options)
  const admin = placeOfAdmin(options)
  const metrics = placeOfMetrics(options)
  const before = [admin, metrics].filter(place => place !== undefined)
  if (metrics !== undefined && admin !== undefined && holds(admin, metrics.path)) problems.push({ path: metrics.option, rule: 'must not be within the admin interface; admin.prefix may be another', value: metrics.path })
  for (const [index, probe] of probes.entries()) {
    const other = [...before, ...probes.slice(0, index)].find(place => holds(place, probe.path))
    if (other !== undefined) problems.push({ path: probe.option, rule: `must not be the path of ${other.what}`, value: probe.path })
  }
  if (Array.isArray(routes)) checkRoutes(routes, admin === undefined ? probes : [admin, ...probes], problems)
}

/** A route with conditions is another one for Fastify. */
function checkRoutes (routes: readonly unknown[], places: readonly Place[], problems: OptionProblem[]): void {
  routes.forEach((route, index) => {
    if (!isRecord(route) || ['host', 'headers', 'query'].some(condition => route[condition] !== undefined)) return
    const { path } = route
    const methods: readonly unknown[] = [route['methods'] ?? 'GET'].flat()
    if (typeof path !== 'string') return
    const place = places.find(place => holds(place, path) && (place.methods?.some(method => methods.includes(method)) ?? true))
    if (place !== undefined) problems.push({ path: at(at('routes', index), 'path'), rule: `must not be the path of ${place.what}; ${place.option} may be another`, value: path })
  })
}

function holds ({ path, below }: Place, other: string): boolean {
  return other === path || (below && other.startsWith(`${path}/`))
}

// ---- where they are; undefined: nowhere in the app, or what is said is wrong

function placeOfAdmin ({ admin }: Options): Place | undefined {
  const options = admin === true ? {} : admin
  if (!isRecord(options) || options['port'] !== undefined) return undefined
  const { prefix = DEFAULTS.admin.prefix } = options
  return typeof prefix !== 'string' ? undefined : { path: prefix, below: true, methods: undefined, option: 'admin.prefix', what: 'the admin interface' }
}

function placeOfMetrics ({ metrics }: Options): Place | undefined {
  const options = metrics === true ? {} : metrics
  if (!isRecord(options) || options['port'] !== undefined) return undefined
  const { path = DEFAULTS.metrics.path } = options
  return typeof path !== 'string' ? undefined : { path, below: false, methods: READ, option: 'metrics.path', what: 'the metrics' }
}

function placesOfProbes ({ probes, admin }: Options): Place[] {
  const isAdmin = admin === true || isRecord(admin)
  const options = probes === true || (probes === undefined && isAdmin) ? {} : probes
  if (!isRecord(options)) return []
  return (['live', 'ready'] as const).flatMap((name) => {
    const { [name]: path = DEFAULTS.probes[name] } = options
    return typeof path !== 'string' ? [] : [{ path, below: false, methods: READ, option: `probes.${name}`, what: `the probe "${name}"` }]
  })
}
