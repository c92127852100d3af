/**
 * Tenancy: whose request is it, and what that tenant has of its own.
 *
 * Stage: a hook of every route that forwards (onRequest unless the options say otherwise), or the first `reply.proxy()`
 * of a handler. Reads: the request. Writes: the record's `tenant`, `scope`, `tenantHeaders`.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { InvalidCallError, OptionsError, TenantMissingError, TenantRefusedError, TenantUnknownError } from '../lib/errors.ts'
import { parseRouteTenancy, resolveTenant } from '../lib/options/index.ts'
import { createRecord } from '../lib/record.ts'
import { kPlace } from '../lib/routes/declare.ts'
import { createDeliver } from '../lib/routes/deliver.ts'
import { createHookStore, runHooks } from '../lib/tenancy/hooks.ts'
import { createLabels, createLogId, createWho, describeSources } from '../lib/tenancy/index.ts'
import { createScopes } from '../lib/tenancy/scopes.ts'
import { createTenants } from '../lib/tenancy/tenants.ts'
import type { OptionProblem } from '../lib/errors.ts'
import type { PlaceOf } from '../lib/routes/declare.ts'
import type { RouteTenancyOptions, TenantOptions } from '../lib/options/index.ts'
import type { TenantHooks } from '../lib/tenancy/hooks.ts'
import type { OnTenant, RouteOverride, RouteTenancyConfig, TenantHeaders } from '../lib/tenancy/types.ts'
import type { Scope } from '../lib/tenancy/scopes.ts'
import type { TenantsApi } from '../lib/tenancy/tenants.ts'
import type { RequestRecord } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Tenants at run time. Owner: plugins/tenancy.ts */
    tenants: TenantsApi
    /** Finds out whose request it is, unless that has been done; undefined: there is no tenancy. Owner: plugins/tenancy.ts */
    identify: ((request: FastifyRequest, record: RequestRecord) => void | Promise<void>) | undefined
    /** Makes a request of the app's own one of this tenant's; `onTenant` hooks, which let clients in, are not asked. Owner: plugins/tenancy.ts */
    become: (id: string, request: FastifyRequest, record: RequestRecord) => void | Promise<void>
    /** The tenant's id as logs show it. Owner: plugins/tenancy.ts */
    tenantInLogs: (record: RequestRecord) => string | undefined
    /** Routes that tenants may change, by name; each says what is wrong with a change. Writers: plugins/routes.ts, plugins/composite.ts */
    changeable: Map<string, Array<(change: RouteOverride, path: string) => readonly OptionProblem[]>>
  }
}

declare module 'fastify' {
  interface RouteShorthandOptions {
    /** Whose requests this route is for: `false` for nobody's in particular, `true` also on routes that do not forward by themselves, or more. */
    tenancy?: boolean | RouteTenancyOptions
  }
  interface FastifyInstance {
    /** For the routes of this plugin and those inside of it: `onTenant(request, tenant)` may refuse by throwing, `headers(tenant, request)` gives headers of all calls. */
    addTenantHook: {
      (name: 'onTenant', hook: OnTenant): void
      (name: 'headers', hook: TenantHeaders): void
    }
  }
}

/** What a hook knows of its route. */
interface Place {
  readonly name: string
  readonly tenancy: RouteTenancyConfig
  readonly instance: FastifyInstance
}

/** Routes that say nothing of tenancy. */
const PLAIN: RouteTenancyConfig = Object.freeze({ resolve: true, required: undefined, enabled: true, onTenant: [], headers: [] })

const NOT_HERE = Symbol('not for this tenant')

const tenancy: FastifyPluginAsync = async function tenancy (fastify) {
  const { reverseproxy } = fastify
  const { config } = reverseproxy
  reverseproxy.changeable = new Map()
  if (config.tenancy === undefined) {
    refuseEverything(fastify)
    return
  }
  const { fail } = createDeliver({ deadlines: reverseproxy.deadlines, isClosing: () => reverseproxy.closing })
  const gatewayHooks = config.tenancy
  const { required, unknown, hook: stage, sources } = config.tenancy
  const who = createWho(config.tenancy)
  const addedHooks = createHookStore()
  const logId = createLogId(config.tenancy.hashIds)
  const labelOf = createLabels(config.tenancy.labels)
  const scopes = createScopes({
    registry: reverseproxy.registry,
    config: config.tenancy,
    labelOf: id => labelOf(logId(id)),
    resolve: (id, options) => resolveTenant(id, options, config),
    now: () => reverseproxy.clock.now()
  })
  const tenants = createTenants(config.tenancy, {
    // the options, with the backends that there are now
    context: {
      ...config,
      current: { names: () => reverseproxy.backends.list().map(({ name }) => name), get: name => reverseproxy.registry.resolve(name)?.config }
    },
    scopes,
    deadlines: reverseproxy.deadlines,
    now: () => reverseproxy.clock.now(),
    // before the server is ready not all routes are there
    problemsOf: (id, options) => ready ? routeProblems(id, options) : [],
    expect: names => { reverseproxy.registry.expect(names) },
    onError (id, error) {
      if (error === undefined) fastify.log.info({ tenant: logId(id) }, 'a tenant can be looked up again')
      else fastify.log.error({ err: error, tenant: logId(id) }, 'a tenant could not be looked up')
    }
  })
  /** Requests that were not let in. */
  const refusals = new WeakMap<RequestRecord, Error>()
  let ready = false

  // ---- who is it

  function identify (request: FastifyRequest, record: RequestRecord, place: Place): void | Promise<void> {
    record.identified = true
    if (!place.tenancy.resolve) return
    const id = who(request)
    return id instanceof Promise ? id.then(found => lookUp(request, record, place, found)) : lookUp(request, record, place, id)
  }

  function lookUp (request: FastifyRequest, record: RequestRecord, place: Place, id: string | undefined): void | Promise<void> {
    if (id === undefined) {
      if (place.tenancy.required ?? required) throw new TenantMissingError(describeSources(sources))
      checkRoute(undefined, place)
      return
    }
    const options = tenants.find(id)
    return options instanceof Promise ? options.then(found => enter(request, record, place, id, found)) : enter(request, record, place, id, options)
  }

  function enter (request: FastifyRequest, record: RequestRecord, place: Place, id: string, options: TenantOptions | false | undefined): void | Promise<void> {
    if (options === false) throw new TenantRefusedError()
    if (options === undefined && unknown === 'reject') throw new TenantUnknownError()
    const scope = options === undefined ? undefined : scopes.of(id, options)
    record.tenant = id
    record.scope = scope
    checkRoute(scope, place)
    const hooks = hooksFor(place)
    if (hooks === undefined) return
    return runHooks(hooks, request, record, scope?.tenant ?? { id, known: false, metadata: {} })
  }

  /** @throws NOT_HERE */
  function checkRoute (scope: Scope | undefined, { name, tenancy }: Place): void {
    const change = scope?.config.routes?.[name]
    const enabled = typeof change === 'object' ? change.enabled ?? tenancy.enabled : change ?? tenancy.enabled
    if (!enabled) throw NOT_HERE
  }

  // ---- the hooks of a place, put together when they are first needed: all are known by then

  const hooksOfPlaces = new WeakMap<Place, TenantHooks | null>()

  function hooksFor (place: Place) {
    let hooks = hooksOfPlaces.get(place)
    if (hooks === undefined) {
      const levels = [gatewayHooks, addedHooks.of(place.instance), place.tenancy]
      const found = { onTenant: levels.flatMap(({ onTenant }) => onTenant), headers: levels.flatMap(({ headers }) => headers) }
      hooksOfPlaces.set(place, hooks = found.onTenant.length + found.headers.length === 0 ? null : found)
    }
    return hooks ?? undefined
  }

  // ---- routes

  /** Where handlers call `reply.proxy()` on routes that do not forward by themselves. */
  const bare = new WeakMap<FastifyInstance, Map<string, Place>>()

  reverseproxy.identify = function identifyLate (request, record) {
    if (record.identified) return undefined
    // an error handler that forwards must not be a way around a refusal
    const refusal = refusals.get(record)
    if (refusal !== undefined) throw refusal
    const instance = request.server
    let places = bare.get(instance)
    if (places === undefined) bare.set(instance, places = new Map())
    let place = places.get(record.route)
    if (place === undefined) places.set(record.route, place = { name: record.route, tenancy: PLAIN, instance })
    try {
      return identify(request, record, place)?.catch((error: unknown) => { throw remember(error, request, record) })
    } catch (error) {
      throw remember(error, request, record)
    }
  }

  /** Where requests of the app's own are. */
  const own: Place = { name: '(request)', tenancy: PLAIN, instance: fastify }

  reverseproxy.become = function become (id, request, record) {
    if (!hooksOfPlaces.has(own)) {
      const headers = [gatewayHooks, addedHooks.of(fastify)].flatMap(({ headers }) => headers)
      hooksOfPlaces.set(own, headers.length === 0 ? null : { onTenant: [], headers })
    }
    const options = tenants.find(id)
    return options instanceof Promise ? options.then(found => enter(request, record, own, id, found)) : enter(request, record, own, id, options)
  }

  function remember (thrown: unknown, request: FastifyRequest, record: RequestRecord): Error {
    const error = errorOf(thrown, request)
    record.identified = false
    refusals.set(record, error)
    return error
  }

  fastify.addHook('onRoute', function identifyRequests (this: FastifyInstance, route: RouteOptions & { proxy?: unknown, composite?: unknown, tenancy?: boolean | RouteTenancyOptions }) {
    const { [kPlace]: placeOf } = (route.config ?? {}) as { [kPlace]?: PlaceOf }
    const forwards = placeOf !== undefined || route.proxy !== undefined || route.composite !== undefined || route.handler === (reverseproxy.handler as unknown)
    if (route.tenancy === undefined && !forwards) return

    const instance = this
    const own = route.tenancy === undefined ? PLAIN : parseRouteTenancy(route.tenancy, `route ${route.url}: tenancy`)
    const fixed: Place = { name: (route.config as { name?: string } | undefined)?.name ?? route.url, tenancy: own, instance }
    if (!forwards) changeable(fixed.name)
    // one for each route of the options that shares this one's path
    const places = new Map<string, Place>()

    function placeFor (request: FastifyRequest): Place {
      if (placeOf === undefined) return fixed
      const { name, tenancy = PLAIN } = placeOf(request)
      let place = places.get(name)
      if (place === undefined) places.set(name, place = { name, tenancy, instance })
      return place
    }

    function identifyTenant (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
      const place = placeFor(request)
      const record = request.reverseproxy ??= createRecord(place.name, reverseproxy.clock.now(), request, reply.raw)
      if (record.identified) {
        done()
        return
      }
      try {
        const pending = identify(request, record, place)
        if (pending === undefined) done()
        else pending.then(() => { done() }, error => { refuse(error, request, reply) })
      } catch (error) {
        refuse(error, request, reply)
      }
    }

    // the last one, so that what the app does to know its user has been done; copied, not extended: the user's array may serve other routes too
    route[stage] = [route[stage] ?? [], identifyTenant].flat() as never
  })

  /** A route with a handler of the app's own can be there or not. */
  function changeable (name: string): void {
    reverseproxy.changeable.set(name, [(change, path) => (['proxy', 'composite'] as const).filter(key => change[key] !== undefined)
      .map(key => ({ path: `${path}.${key}`, rule: 'does not fit a route that does not forward by itself', value: change[key] }))])
  }

  function refuse (error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const refusal = remember(error, request, request.reverseproxy!)
    if (error === NOT_HERE) reply.callNotFound()
    else fail({ errorHandler: undefined }, request, reply, refusal)
  }

  // ---- tenants at run time

  reverseproxy.tenants = tenants.api
  reverseproxy.tenantInLogs = ({ tenant }) => tenant === undefined ? undefined : logId(tenant)

  /** What a tenant changes about routes, against the routes that there are. */
  function routeProblems (id: string, options: TenantOptions | false): OptionProblem[] {
    const { routes = {} } = options === false ? {} : options
    return Object.entries(routes).flatMap(([name, change]): readonly OptionProblem[] => {
      const path = `tenancy.tenants.${id}.routes.${name}`
      const checks = reverseproxy.changeable.get(name)
      if (checks === undefined) return [{ path, rule: `must be the name of a route: ${[...reverseproxy.changeable.keys()].slice(0, 20).join(', ') || 'there are none'}` }]
      return typeof change === 'object' ? checks.flatMap(check => check(change as RouteOverride, path)) : []
    })
  }

  fastify.addHook('onReady', function checkRoutes (done) {
    ready = true
    const problems = tenants.problems()
    done(problems.length > 0 ? new OptionsError(problems) : undefined)
  })

  fastify.decorate('addTenantHook', function addTenantHook (this: FastifyInstance, name: 'onTenant' | 'headers', hook: OnTenant | TenantHeaders) {
    if (ready) throw new Error('tenant hooks must be added before the server is ready')
    addedHooks.add(this, name, hook)
  })
  fastify.addHook('onRegister', addedHooks.inherit)

  // ---- scopes come and go

  const pause = Math.min(Math.max(config.tenancy.scopes.idle / 2, 1_000), 60_000)
  /** Since when tenants' backends have been waiting here for their first request. */
  let tookOver = Infinity
  reverseproxy.successions.push(() => { tookOver = reverseproxy.clock.now() })
  let timer = reverseproxy.clock.setTimeout(sweep, pause)
  function sweep (): void {
    scopes.sweep()
    if (reverseproxy.clock.now() - tookOver >= config.tenancy!.scopes.idle) reverseproxy.registry.forsake()
    timer = reverseproxy.clock.setTimeout(sweep, pause)
  }
  fastify.addHook('onClose', function stopSweeping (_fastify, stopped) {
    reverseproxy.clock.clearTimeout(timer)
    stopped()
  })
}

/** Without tenancy its options and methods would do nothing, and say so. */
function refuseEverything (fastify: FastifyInstance): void {
  const off = (): never => { throw new Error('there is no tenancy: the option "tenancy" is not set') }
  const { reverseproxy } = fastify
  reverseproxy.identify = undefined
  reverseproxy.become = () => { throw new InvalidCallError({ cause: new Error('there is no tenancy: the option "tenancy" is not set') }) }
  reverseproxy.tenantInLogs = () => undefined
  reverseproxy.tenants = { set: off, remove: off, get: () => undefined, list: () => [] }
  fastify.decorate('addTenantHook', off)
  fastify.addHook('onRoute', function refuseTenancy (route: RouteOptions & { tenancy?: unknown }) {
    if (route.tenancy !== undefined) throw new OptionsError([{ path: `route ${route.url}: tenancy`, rule: 'has no effect without the option "tenancy" of the gateway', value: route.tenancy }])
  })
}

/** What a function or hook of the user's threw may be anything; sent as it is, a text would be a 200. */
function errorOf (thrown: unknown, { method, url }: FastifyRequest): Error {
  if (thrown instanceof Error) return thrown
  // a handler runs already: it is not Fastify that finds nothing
  if (thrown === NOT_HERE) return Object.assign(new Error(`Route ${method}:${url} not found`), { statusCode: 404 })
  return new InvalidCallError({ cause: thrown })
}

export default fp(tenancy, { name: 'reverseproxy-tenancy', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
