/**
 * Routes that forward: the route option `proxy`, the handler, `reply.proxy()`, the routes of the options and the
 * catch-all of a default backend.
 *
 * Stage: onRoute (plans, at boot) and the handler. Reads: the request, the plan. Writes: the request's record
 * (route, backend) and the reply.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { OptionsError, problemsOf } from '../lib/errors.ts'
import { explainingOf } from '../lib/explain/mark.ts'
import { AS_IT_CAME, hideBodies, hideBody, mayHaveBody } from '../lib/forward/hide-body.ts'
import { CONSTRAINT, createConstraintStrategy } from '../lib/matching/index.ts'
import { overrideProxy, parseProxy } from '../lib/options/index.ts'
import { nearest } from '../lib/options/suggest.ts'
import { createRecord } from '../lib/record.ts'
import { createCalls } from '../lib/routes/call.ts'
import { declareDefault, declareRoutes, kPlace } from '../lib/routes/declare.ts'
import { createDeliver } from '../lib/routes/deliver.ts'
import { createNamedBackends } from '../lib/routes/named.ts'
import { createPlan, NOTHING } from '../lib/routes/plan.ts'
import type { ProxyOptions } from '../lib/options/index.ts'
import type { CallOptions } from '../lib/routes/call.ts'
import type { DeclareTools } from '../lib/routes/declare.ts'
import type { Plan } from '../lib/routes/plan.ts'
import type { Scope } from '../lib/tenancy/scopes.ts'
import type { Answer, Call, ProxyConfig, RequestRecord } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** The handler of routes with a `proxy` option. Owner: plugins/routes.ts */
    handler: (this: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply
  }
}

declare module 'fastify' {
  interface RouteShorthandOptions {
    /** Forward this route: a backend's name, or what to do in full. Give `app.reverseproxy.handler` as the handler. */
    proxy?: string | ProxyOptions
  }
  interface FastifyContextConfig {
    /** What a route is called in logs and by tenants that change it. Default: its path. */
    name?: string
  }
  interface FastifyReply {
    /**
     * Forwards the request from inside a handler: `return reply.proxy('orders', { path: '/v2/checkout' })`.
     * Without a name: the route's own backend, else the default one.
     */
    proxy (backend?: string, options?: CallOptions): FastifyReply
  }
}

const kPlan = Symbol('reverseproxy.plan')

interface Planned { [kPlan]?: Plan }

const routes: FastifyPluginAsync = async function routes (fastify) {
  const { reverseproxy } = fastify
  const { config, clock, deadlines } = reverseproxy
  const createCall = createCalls({ config, lookup: reverseproxy.lookup, now: clock.now })
  const { deliver, fail } = createDeliver({ deadlines, isClosing: () => reverseproxy.closing })
  const named = createNamedBackends()

  function run (request: FastifyRequest, reply: FastifyReply, plan: Plan, options: CallOptions | undefined, backend?: string): FastifyReply {
    const record = request.reverseproxy ??= createRecord(plan.name, clock.now(), request, reply.raw)
    try {
      if (isLastHop(request)) return reply.code(204).header('allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS').send()
      const pending = record.identified ? undefined : reverseproxy.identify?.(request, record)
      if (pending === undefined) proceed(request, reply, record, plan, options, backend)
      else pending.then(() => { proceed(request, reply, record, plan, options, backend) }, (error: Error) => { fail(plan.config, request, reply, error) })
    } catch (error) {
      fail(plan.config, request, reply, error as Error)
    }
    return reply
  }

  /** The request's tenant is known. */
  function proceed (request: FastifyRequest, reply: FastifyReply, record: RequestRecord, common: Plan, options: CallOptions | undefined, backend: string | undefined): void {
    let plan = common
    try {
      if (record.scope?.config.routes !== undefined) plan = ownPlan(common, record.scope)
      if (backend !== undefined) plan = towards(plan, backend, record.scope)
      const call = createCall(request, reply, record, plan, options)
      record.backend = call.backend.name
      const explaining = explainingOf(request.raw)
      if (explaining !== undefined) {
        reply.hijack()
        explaining.proxy(request, call)
        return
      }
      reverseproxy.send(call).then(answer => end(call, answer), error => fail(plan.config, request, reply, error))
    } catch (error) {
      fail(plan.config, request, reply, error as Error)
    }
  }

  function end (call: Call, answer: Answer): void {
    if (answer.connection === undefined) deliver(call, answer)
    else reverseproxy.websockets.open(call, answer, error => fail(call.settings, call.request, call.reply, error))
  }

  reverseproxy.handler = function handler (request, reply) {
    // onRoute puts a handler with its plan in the place of this one, unless another plugin has wrapped it before
    return run(request, reply, (request.routeOptions.config as Planned)[kPlan] ?? fallback, undefined)
  }

  const fallback = createPlan(NOTHING, 'default')

  fastify.decorateReply('proxy', function proxy (this: FastifyReply, backend?: string, options?: CallOptions): FastifyReply {
    const { config: routeConfig, url = '*' } = this.request.routeOptions
    const plan = (routeConfig as Planned)[kPlan] ?? bare(url)
    return run(this.request, this, plan, options, backend)
  })

  // Plans for reply.proxy(), made once for each route and backend that it is called with; both are few.
  const barePlans = new Map<string, Plan>()
  function bare (url: string): Plan {
    let plan = barePlans.get(url)
    if (plan === undefined) barePlans.set(url, plan = createPlan(NOTHING, url))
    return plan
  }

  const plansTowards = new WeakMap<Plan, Map<string, Plan>>()
  function towards (plan: Plan, backend: string, scope: Scope | undefined): Plan {
    if (plan.config.backend === backend) return plan
    let plans = plansTowards.get(plan)
    if (plans === undefined) plansTowards.set(plan, plans = new Map())
    let found = plans.get(backend)
    if (found === undefined) {
      found = createPlan({ ...plan.config, backend }, plan.name, plan.said)
      // a name that does not exist may come from a request; it is not remembered
      if (reverseproxy.registry.resolve(backend, scope) !== undefined) plans.set(backend, found)
    }
    return found
  }

  // ---- routes as a tenant has them

  function ownPlan (plan: Plan, scope: Scope): Plan {
    let own = scope.routes.get(plan) as Plan | undefined
    if (own === undefined) {
      const { [plan.name]: change } = scope.config.routes!
      const proxy = typeof change === 'object' ? change.proxy : undefined
      own = proxy === undefined ? plan : createPlan(overrideProxy(plan.said, proxy, `tenancy.tenants.${scope.tenant.id}.routes.${plan.name}.proxy`, { tenancy: config.tenancy }), plan.name, plan.said)
      scope.routes.set(plan, own)
    }
    return own
  }

  /** Lets tenants change the route. */
  function mayChange ({ name, said }: Plan, routePath: string): void {
    const checks = reverseproxy.changeable.get(name) ?? []
    reverseproxy.changeable.set(name, checks)
    checks.push(function checkChange ({ proxy, composite }, path) {
      if (composite !== undefined) return [{ path: `${path}.composite`, rule: 'does not fit a route with proxy', value: composite }]
      return proxy === undefined ? [] : problemsOf(() => { overrideProxy(said, proxy, `${path}.proxy`, { routePath, tenancy: config.tenancy }) })
    })
  }

  // ---- declaring

  /** An option object that several routes share is parsed once (the automatic HEAD route shares its GET's). */
  const parsed = new WeakMap<object, ProxyConfig>()
  function configOf (option: string | ProxyOptions | undefined, url: string): ProxyConfig {
    if (option === undefined) return NOTHING
    if (typeof option === 'string') return parseProxy(option, `route ${url}: proxy`, { routePath: url, tenancy: config.tenancy })
    let proxy = parsed.get(option)
    if (proxy === undefined) parsed.set(option, proxy = parseProxy(option, `route ${url}: proxy`, { routePath: url, tenancy: config.tenancy }))
    return proxy
  }

  fastify.addHook('onRoute', function planRoute (this: FastifyInstance, route: RouteOptions & { proxy?: string | ProxyOptions }) {
    const ours = route.handler === (reverseproxy.handler as unknown)
    if (route.proxy === undefined && !ours) return
    if (route.proxy === undefined) checkKeys(route)
    const proxy = configOf(route.proxy, route.url)
    const { bodyLimit = route.bodyLimit } = proxy
    const plan = createPlan(bodyLimit === proxy.bodyLimit ? proxy : { ...proxy, bodyLimit }, (route.config as { name?: string } | undefined)?.name ?? route.url, { ...inFull(route.proxy), ...bodyLimit === undefined ? undefined : { bodyLimit } })
    mayChange(plan, route.url)
    route.config = { ...route.config, [kPlan]: plan } as NonNullable<RouteOptions['config']>
    if (proxy.websocket !== undefined) prepareUpgrades(route)
    if (!ours) return
    named.add(`route ${plan.name}: proxy.backend`, proxy.backend)
    route.handler = (request, reply) => { run(request, reply, plan, undefined) }
    if (mayHaveBody(route)) hideBodies(route, this)
  })

  /** Copied, not extended, as all hooks are. */
  function prepareUpgrades (route: RouteOptions): void {
    const methods = [route.method].flat()
    if (methods.every(method => method === 'HEAD')) return
    if (!methods.includes('GET')) throw new OptionsError([{ path: `route ${route.url}: proxy.websocket`, rule: 'needs a route for GET', value: route.method }])
    route.onRequest = [reverseproxy.websockets.hook(), route.onRequest ?? []].flat() as NonNullable<RouteOptions['onRequest']>
  }

  const tools: DeclareTools = {
    upgrading: () => ({ onRequest: reverseproxy.websockets.hook() }),
    forwarding: declaredOf => ({
      handler (request, reply) {
        const declared = declaredOf(request)
        if (declared === undefined) run(request, reply, fallback, undefined)
        else declared.run(request, reply)
      },
      preParsing: hideBody,
      ...AS_IT_CAME,
      config: { [kPlace]: (request: FastifyRequest) => declaredOf(request)?.route ?? DEFAULT_PLACE } as NonNullable<RouteOptions['config']>
    }),
    compile (route) {
      if (route.composite !== undefined) return reverseproxy.gatherer(route.composite, route)
      const plan = createPlan(route.proxy ?? NOTHING, route.name, inFull(route.said.proxy))
      mayChange(plan, route.path)
      return (request, reply) => { run(request, reply, plan, undefined) }
    }
  }

  fastify.addHook('onReady', function checkBackends (ready) {
    const { registry, backends } = reverseproxy
    const problems = named.problems({ defaultBackend: config.defaultBackend, isKnown: name => registry.isKnown(name), names: () => backends.list().map(({ name }) => name) })
    ready(problems.length > 0 ? new OptionsError(problems) : undefined)
  })

  if (!fastify.hasConstraintStrategy(CONSTRAINT)) fastify.addConstraintStrategy(createConstraintStrategy())
  declareRoutes(fastify, config, tools)
  if (config.defaultBackend !== undefined) declareDefault(fastify, tools)
}

/** A route with our handler that says nothing to it may have meant to: Fastify takes any key. */
function checkKeys (route: RouteOptions): void {
  for (const [key, value] of Object.entries(route)) {
    const meant = nearest(key, ['proxy', 'composite'])
    if (meant !== undefined) throw new OptionsError([{ path: `route ${route.url}: ${key}`, rule: `is not an option; did you mean "${meant}"?`, value }])
  }
}

/** In full, so that something can be put over it. */
function inFull (proxy: string | ProxyOptions | undefined): Exclude<ProxyOptions, string> {
  return typeof proxy === 'string' ? { backend: proxy } : { ...proxy as Exclude<ProxyOptions, string> }
}

const DEFAULT_PLACE = Object.freeze({ name: 'default', tenancy: undefined })

/** RFC 9110 section 7.6.2: an OPTIONS that may go no further is answered here. */
function isLastHop (request: FastifyRequest): boolean {
  return request.raw.method === 'OPTIONS' && request.raw.headers['max-forwards'] === '0'
}

export default fp(routes, {
  name: 'reverseproxy-routes',
  fastify: '5.x',
  dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-headers', 'reverseproxy-forward', 'reverseproxy-websocket', 'reverseproxy-tenancy', 'reverseproxy-composite']
})
