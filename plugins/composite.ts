/**
 * Composite routes: several backends, one answer.
 *
 * Stage: onRoute (plans, at boot), the handler (gather: answers → parts) and onSend (combine: parts → status, headers,
 * payload). Reads: the request, the plan. Writes: the request's record (route, backend), the reply.
 *
 * The handler sends the gathered parts as they are, and the onSend hook makes the payload of them: hooks that come
 * later (compression, etags) see what the client gets.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest, HTTPMethods, RouteOptions } from 'fastify'
import { compileResponsePolicy } from '../lib/headers/response.ts'
import { createAnswerHeaders } from '../lib/composite/answer-headers.ts'
import { combine, isComplete, judge } from '../lib/composite/answer.ts'
import { keepBody, readClientBody } from '../lib/composite/client-body.ts'
import { createCompositePlan } from '../lib/composite/plan.ts'
import { deriveResponseSchema } from '../lib/composite/response-schema.ts'
import { createValidators } from '../lib/composite/validate.ts'
import { CombineError, OptionsError, problemsOf } from '../lib/errors.ts'
import { explainingOf } from '../lib/explain/mark.ts'
import { isGone } from '../lib/forward/connection.ts'
import { mayHaveBody } from '../lib/forward/hide-body.ts'
import { lingerWhileUploading } from '../lib/forward/linger.ts'
import { Gathering } from '../lib/composite/gather.ts'
import { overrideComposite, parseComposite } from '../lib/options/index.ts'
import { createRecord } from '../lib/record.ts'
import { checkRequest } from '../lib/routes/call.ts'
import { createDeliver, sayClose } from '../lib/routes/deliver.ts'
import { createNamedBackends } from '../lib/routes/named.ts'
import type { AnswerHeaders } from '../lib/composite/answer-headers.ts'
import type { Combined } from '../lib/composite/answer.ts'
import type { GatherTools } from '../lib/composite/gather.ts'
import type { Part } from '../lib/composite/part.ts'
import type { CompositePlan } from '../lib/composite/plan.ts'
import type { Combine, CompositeConfig } from '../lib/composite/types.ts'
import type { ResponsePolicy } from '../lib/headers/response.ts'
import type { CompositeContext, CompositeOptions } from '../lib/options/index.ts'
import type { Scope } from '../lib/tenancy/scopes.ts'
import type { HeaderRules, RequestRecord, RouteConfig } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Composite routes. Owner: plugins/composite.ts */
    composite: CompositeApi
    /** Told of every composite request whose parts are all over; rooms push theirs at boot. Owner: plugins/composite.ts */
    gatherings: Array<(gathering: Gathering) => void>
    /** Compiles a composite of the options for the routes of the options. Owner: plugins/composite.ts */
    gatherer: (composite: CompositeConfig, route: RouteConfig) => (request: FastifyRequest, reply: FastifyReply) => void
  }
}

declare module 'fastify' {
  interface RouteShorthandOptions {
    /** Answer this route from several backends. Give `app.reverseproxy.handler` as the handler. */
    composite?: CompositeOptions
  }
  interface FastifyReply {
    /**
     * Answers from several backends from inside a handler: `return reply.composite(options)`. Options are checked and
     * compiled once per object: keep them outside of the handler. @throws OptionsError for wrong options
     */
    composite (options: CompositeOptions): FastifyReply
  }
}

export interface CompositeApi {
  /** Adds a composite route, before the server is ready. A GET answers HEAD as well. @throws OptionsError */
  add (method: HTTPMethods | HTTPMethods[], url: string, options: CompositeOptions): void
  /** Registers a strategy for routes that are declared later. @throws Error when the name is taken */
  strategy (name: string, combine: Combine): void
}

/** What Fastify reads of a body when nobody has said otherwise. */
const FASTIFY_BODY_LIMIT = 1024 * 1024

const OURS = ['merge', 'object', 'append', 'select', 'sequential']

/** A plan with what the onSend hook needs for it. */
interface Compiled {
  readonly plan: CompositePlan
  /** The options as they were written, and what they were checked with: a tenant's are put over them. */
  readonly said: Said | undefined
  readonly answerHeaders: AnswerHeaders
  readonly policy: ResponsePolicy
}

type Option = CompositeOptions

interface Said {
  readonly option: Option
  readonly context: CompositeContext
}

const composite: FastifyPluginAsync = async function composite (fastify) {
  const { reverseproxy } = fastify
  const { config, clock, deadlines } = reverseproxy
  const { fail } = createDeliver({ deadlines, isClosing: () => reverseproxy.closing })
  const gatherings: Array<(gathering: Gathering) => void> = reverseproxy.gatherings = []
  const strategies = new Map(Object.entries(config.strategies))
  const validators = createValidators()
  const compiledPlans = new WeakMap<CompositePlan, Compiled>()

  const tools: GatherTools = {
    lookup: (plan, scope) => reverseproxy.lookup(plan, scope),
    now: () => clock.now(),
    send: call => reverseproxy.send(call),
    onGathered (gathering) {
      for (const told of gatherings) told(gathering)
      const { request, reply, plan } = gathering
      if (isGone(request) || reply.sent) return
      report(gathering, reverseproxy.tenantInLogs(gathering.record))
      const verdict = judge(gathering)
      if (verdict.kind === 'error') fail(plan.config, request, reply, verdict.error)
      else if (verdict.kind === 'refusal') passRefusal(verdict.part, request, reply, reverseproxy.closing)
      else send(reply, gathering)
    }
  }

  function compile (composite: CompositeConfig, name: string, said?: Said, common: HeaderRules = config.headers): Compiled {
    const plan = createCompositePlan(composite, name, { strategies, validator: validators })
    const compiled = {
      plan,
      said,
      answerHeaders: createAnswerHeaders(composite.headers),
      policy: compileResponsePolicy([common.response, composite.headers.response])
    }
    compiledPlans.set(plan, compiled)
    return compiled
  }

  function run (request: FastifyRequest, reply: FastifyReply, compiled: Compiled): void {
    const record = request.reverseproxy ??= createRecord(compiled.plan.name, clock.now(), request, reply.raw)
    const refuse = (error: Error): void => { fail(compiled.plan.config, request, reply, error) }
    try {
      const pending = record.identified ? undefined : reverseproxy.identify?.(request, record)
      if (pending === undefined) proceed(request, reply, record, compiled)
      else pending.then(() => { proceed(request, reply, record, compiled) }).catch(refuse)
    } catch (error) {
      refuse(error as Error)
    }
  }

  /** The request's tenant is known. */
  function proceed (request: FastifyRequest, reply: FastifyReply, record: RequestRecord, common: Compiled): void {
    const { scope } = record
    const { plan } = scope === undefined ? common : ownComposite(common, scope)
    try {
      checkRequest(request, scope?.config ?? config)
      const { timeout, bodyLimit } = plan.config
      const deadline = timeout > 0 ? clock.now() + timeout : Infinity
      const explaining = explainingOf(request.raw)
      if (explaining !== undefined) {
        reply.hijack()
        explaining.composite(request, new Gathering(plan, request, reply, record, deadline, undefined, tools))
        return
      }
      const body = plan.readsBody ? readClientBody(request, bodyLimit ?? Math.min((scope?.config ?? config).limits.body, request.routeOptions.bodyLimit ?? Infinity)) : undefined
      const start = (clientBody: Buffer | undefined): void => { new Gathering(plan, request, reply, record, deadline, clientBody, tools).start() }
      if (body instanceof Promise) body.then(start).catch((error: Error) => { if (!isGone(request)) fail(plan.config, request, reply, error) })
      else start(body)
    } catch (error) {
      fail(plan.config, request, reply, error as Error)
    }
  }

  // ---- composites as a tenant has them

  function ownComposite (common: Compiled, scope: Scope): Compiled {
    const { routes, headers } = scope.config
    if (routes === undefined && headers === config.headers) return common
    let own = scope.routes.get(common) as Compiled | undefined
    if (own === undefined) {
      const { plan: { config: composite, name }, said } = common
      const change = routes?.[name]
      const over = typeof change === 'object' ? change.composite : undefined
      const changed = over === undefined || said === undefined ? composite : overrideComposite(said.option, over, `tenancy.tenants.${scope.tenant.id}.routes.${name}.composite`, said.context)
      own = changed === composite && headers === config.headers ? common : compile(changed, name, said, headers)
      scope.routes.set(common, own)
    }
    return own
  }

  /** Lets tenants change the composite. */
  function mayChange ({ plan: { name }, said }: Compiled): void {
    const checks = reverseproxy.changeable.get(name) ?? []
    reverseproxy.changeable.set(name, checks)
    checks.push(function checkChange ({ proxy, composite }, path) {
      if (proxy !== undefined) return [{ path: `${path}.proxy`, rule: 'does not fit a route with composite', value: proxy }]
      return composite === undefined ? [] : problemsOf(() => { overrideComposite(said!.option, composite, `${path}.composite`, said!.context) })
    })
  }

  function send (reply: FastifyReply, gathering: Gathering): void {
    if (reverseproxy.closing) sayClose(reply)
    if (!gathering.request.raw.complete) lingerWhileUploading(gathering.request, reply, deadlines)
    reply.send(new Uncombined(gathering))
  }

  fastify.addHook('onSend', function combineParts (_request, reply, payload: unknown, done: (error: Error | null, payload?: unknown) => void) {
    if (!(payload instanceof Uncombined)) {
      done(null, payload)
      return
    }
    const { gathering } = payload
    try {
      const combined = combine(gathering)
      if (combined instanceof Promise) combined.then(made => done(null, write(made, gathering, reply))).catch(refuse)
      else done(null, write(combined, gathering, reply))
    } catch (error) {
      refuse(error as Error)
    }

    function refuse (error: Error): void {
      // answered by the route's own handler, the reply runs through these hooks anew
      if (gathering.plan.config.errorHandler === undefined) done(error)
      else fail(gathering.plan.config, gathering.request, reply, error)
    }
  })

  /** Puts status and headers on the reply. @throws CombineError for headers that must not be sent */
  function write (combined: Combined, gathering: Gathering, reply: FastifyReply): unknown {
    const { answerHeaders, policy, plan } = compiledPlans.get(gathering.plan)!
    const complete = isComplete(gathering)
    const plain = policy(answerHeaders(gathering.parts.map(sourceOf), gathering.request.raw.headers.authorization !== undefined), reply, gathering.request)
    reply.code(combined.status ?? (complete ? reply.statusCode : plan.config.partialStatus))
    if (combined.type !== undefined) reply.header('content-type', combined.type)
    reply.header('x-composite-complete', complete ? 'true' : 'false')
    if (!complete) reply.header('cache-control', 'no-store')
    try {
      for (const [name, value] of Object.entries(combined.headers ?? {})) reply.header(name, value)
    } catch (cause) {
      throw new CombineError({ cause })
    }
    const { payload } = combined
    // Node joins headers and a text in one encoding, which is not that of Latin-1 headers
    return typeof payload === 'string' && !(plain && combined.headers === undefined && gathering.parts.every(part => part.plain)) ? Buffer.from(payload) : payload
  }

  // ---- declaring

  const parsed = new WeakMap<object, Map<string, Compiled>>()

  /** An option object that several routes share is compiled once for each name (the automatic HEAD route shares its GET's). */
  function compileOption (option: Option, name: string, url: string | undefined): Compiled {
    let plans = parsed.get(option)
    if (plans === undefined) parsed.set(option, plans = new Map())
    let compiled = plans.get(name)
    if (compiled === undefined) {
      const context = { ...(url === undefined ? undefined : { routePath: url }), strategies: [...strategies.keys()], defaultBackend: config.defaultBackend, tenancy: config.tenancy }
      plans.set(name, compiled = compile(parseComposite(option, url === undefined ? 'composite' : `route ${url}: composite`, context), name, { option, context }))
    }
    return compiled
  }

  const named = createNamedBackends()

  fastify.addHook('onRoute', function planComposite (route: RouteOptions & { composite?: Option, proxy?: unknown }) {
    if (route.composite === undefined) return
    const path = `route ${route.url}: composite`
    if (route.proxy !== undefined) throw new OptionsError([{ path, rule: 'must not stand beside proxy' }])
    if (route.handler !== (reverseproxy.handler as unknown)) throw new OptionsError([{ path, rule: 'needs app.reverseproxy.handler as the handler of the route; inside a handler of your own use reply.composite()' }])
    const compiled = compileOption(route.composite, (route.config as { name?: string } | undefined)?.name ?? route.url, route.url)
    for (const { name, config: { proxy: { backend } } } of compiled.plan.parts) named.add(`${path}.${placeOf(route.composite, name)}`, backend)
    mayChange(compiled)
    route.handler = (request, reply) => { run(request, reply, compiled) }
    const { plan: { readsBody, config: { bodyLimit } } } = compiled
    // what a tenant may send in place of it is found out when the tenant is known
    const most = bodyLimit !== undefined && config.tenancy !== undefined ? Math.max(bodyLimit, FASTIFY_BODY_LIMIT) : bodyLimit
    if (most !== undefined && readsBody) route.bodyLimit ??= most
    // copied, not extended: the user's array may serve other routes too
    if (readsBody || (config.tenancy !== undefined && mayHaveBody(route))) route.preParsing = [route.preParsing ?? [], keepBody].flat() as NonNullable<RouteOptions['preParsing']>
    describe(route, compiled.plan.config, path)
  })

  fastify.decorateReply('composite', function composite (this: FastifyReply, options: Option): FastifyReply {
    run(this.request, this, compileOption(options, this.request.routeOptions.url ?? '*', undefined))
    return this
  })

  fastify.addHook('onReady', function checkBackends (ready) {
    const { registry, backends } = reverseproxy
    const problems = named.problems({ defaultBackend: config.defaultBackend, isKnown: name => registry.isKnown(name), names: () => backends.list().map(({ name }) => name) })
    ready(problems.length > 0 ? new OptionsError(problems) : undefined)
  })

  reverseproxy.gatherer = function gatherer (composite, { name, path, said }) {
    const compiled = compile(composite, name, { option: said.composite!, context: { routePath: path, strategies: [...strategies.keys()], defaultBackend: config.defaultBackend, tenancy: config.tenancy } })
    mayChange(compiled)
    return (request, reply) => { run(request, reply, compiled) }
  }

  reverseproxy.composite = {
    add (method, url, options) {
      fastify.route({ method, url, composite: options, handler: reverseproxy.handler } as RouteOptions)
    },
    strategy (name, combine) {
      if (strategies.has(name) || OURS.includes(name)) throw new Error(`there is a strategy "${name}" already`)
      strategies.set(name, combine)
    }
  }
}

/** Where the backend of a part is named. */
function placeOf ({ backends }: { readonly backends?: readonly string[] }, part: string): string {
  const index = backends?.indexOf(part) ?? -1
  return index < 0 ? `parts.${part}.backend` : `backends[${index}]`
}

/** What the handler sends and the onSend hook replaces. Fastify takes it for a stream, so that it reaches the hook as it is. */
class Uncombined {
  constructor (readonly gathering: Gathering) {}

  pipe (): never {
    throw new Error('the parts of a composite were not combined: an onSend hook has passed on something else')
  }
}

/** A part's own refusal is the answer, body and headers. */
function passRefusal ({ status, headers, bytes, call }: Part, request: FastifyRequest, reply: FastifyReply, closing: boolean): void {
  reply.code(status!)
  if (closing) sayClose(reply)
  call!.settings.policies.response({ ...headers }, reply, request)
  reply.header('x-composite-complete', 'false')
  reply.send(bytes)
}

function sourceOf ({ name, headers, duration, state, used }: Part) {
  return { name, headers, duration, state: state!, used }
}

/** One line for all parts of a request that failed. */
function report ({ parts, request, plan }: Gathering, tenant: string | undefined): void {
  const failed = parts.filter(part => part.incomplete)
  if (failed.length === 0) return
  request.log.warn({
    composite: plan.name,
    tenant,
    parts: failed.map(({ name, state, status, error, duration, call, plan: { route } }) =>
      ({ name, backend: call?.backend.name ?? route.config.backend, state, status, code: (error as { code?: string }).code, ms: Math.round(duration), cause: causeOf(error) }))
  }, 'parts of a composite failed')
}

function causeOf (error: Error | undefined): string | undefined {
  const { cause } = error ?? {}
  return cause instanceof Error ? cause.message : error?.message
}

/** The response schema that the parts' schemas add up to, for those who document their routes. */
function describe (route: RouteOptions, config: CompositeConfig, path: string): void {
  const derived = deriveResponseSchema(config)
  if (derived === undefined) return
  if (derived.problems.length > 0) throw new OptionsError(derived.problems.map(problem => ({ ...problem, path: `${path}.${problem.path}` })))
  const schema = (route.schema ?? {}) as { response?: Record<string, unknown> }
  if (schema.response !== undefined) return
  // one part's answer comes with that part's status
  const own = config.strategy === 'select' || config.strategy === 'sequential'
  const statuses = own ? ['2xx'] : config.partialStatus === 200 ? [200] : [200, config.partialStatus]
  route.schema = { ...schema, response: Object.fromEntries(statuses.map(status => [status, derived.schema])) }
  // the answer is combined from bytes: there is nothing for a compiled serializer to do
  route.serializerCompiler ??= () => JSON.stringify
}

export default fp(composite, {
  name: 'reverseproxy-composite',
  fastify: '5.x',
  dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-headers', 'reverseproxy-forward', 'reverseproxy-tenancy']
})
