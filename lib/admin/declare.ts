/** The routes of the admin interface. */
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, HTTPMethods, preHandlerHookHandler, RouteShorthandOptions } from 'fastify'
import { AdminBusyError, AdminTokenError, AdminUnknownError } from '../errors.ts'
import { unknownBackend } from './actions.ts'
import { shownStats } from './breakers.ts'
import { configOf } from './config.ts'
import { BODY_LIMIT, isolate } from './scope.ts'
import { pageOf } from './tenants.ts'
import * as schemas from './schemas.ts'
import type { RequestLike } from '../explain/types.ts'
import type { Access } from './access.ts'
import type { Admin } from './index.ts'
import type { AdminConfig } from './types.ts'

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

export interface DeclareAdmin {
  readonly admin: Admin
  readonly config: AdminConfig
  readonly access: Access
  /** The OpenAPI document; it exists when the server is ready. */
  document (): unknown
}

export function declareAdmin (context: FastifyInstance, { admin, config, access, document }: DeclareAdmin): void {
  const { prefix } = config
  const preHandler = [...config.preHandler] as preHandlerHookHandler[]
  isolate(context)
  context.addHook('onRequest', function admit (request, reply, done) {
    reply.headers(HEADERS)
    const refusal = access({ method: request.method, origin: `${request.protocol}://${request.host}`, raw: request.raw })
    if (refusal instanceof AdminTokenError && request.routeOptions.config.adminPage === true) {
      // it asks for the token
      reply.code(401).headers((refusal as { headers?: Record<string, string> }).headers ?? {})
      sendPage(reply, admin)
      return
    }
    done(refusal)
  })

  function get (path: string, summary: string, options: { readonly response: object, readonly querystring?: object, readonly params?: object }, handler: (request: FastifyRequest) => unknown): void {
    const schema = { hide: true, summary, ...options, response: { 200: options.response, '4xx': schemas.errorSchema } }
    context.get(prefix + path, { logLevel: 'warn', preHandler, exposeHeadRoute: true, schema: schema as FastifySchema }, async (request, reply) => {
      reply.type('application/json; charset=utf-8')
      return await handler(request)
    })
  }

  function post (path: string, summary: string, options: { readonly response: object, readonly body: object, readonly params?: object }, handler: (request: FastifyRequest) => unknown): void {
    const schema = { hide: true, summary, ...options, response: { 200: options.response, '4xx': schemas.errorSchema } }
    context.post(prefix + path, { logLevel: 'warn', preHandler, bodyLimit: BODY_LIMIT, schema: schema as FastifySchema }, async (request, reply) => {
      reply.type('application/json; charset=utf-8')
      return await handler(request)
    })
  }

  declareViews(get, admin, document)
  declareExplain(get, post, admin)
  declareActions(post, admin)
  declareStreams(context, { admin, prefix, preHandler })
  declareUnknown(context, prefix, preHandler)
}

/** What is not there must not end at a backend, which would be shown the token. */
function declareUnknown (context: FastifyInstance, prefix: string, preHandler: preHandlerHookHandler[]): void {
  const options = { logLevel: 'warn', preHandler, schema: { hide: true } as object } as const
  async function unknown (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (request.method === 'GET' && (request.params as { '*'?: string })['*'] === '') return reply.redirect(request.routeOptions.url!.slice(0, -2), 308)
    throw new AdminUnknownError(`Route ${request.method}:${request.url.split('?')[0]!} not found`)
  }
  context.all(`${prefix}/*`, options, unknown)
  context.route({ ...options, method: context.supportedMethods.filter(method => method !== 'GET' && method !== 'HEAD') as HTTPMethods[], url: prefix, handler: unknown })
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The status page: who has no token gets it all the same. */
    adminPage?: boolean
  }
}

type Declare<Options> = (path: string, summary: string, options: Options & { readonly response: object }, handler: (request: FastifyRequest) => unknown) => void
type Get = Declare<{ readonly querystring?: object, readonly params?: object }>
type Post = Declare<{ readonly body: object, readonly params?: object }>

// ---- what is shown

function declareViews (get: Get, { clocks, gateway, look, mask, routes, views }: Admin, document: () => unknown): void {
  get('/status', 'The gateway as a whole', { response: schemas.statusSchema }, () => look().status)
  get('/routes', 'Routes that forward', { response: schemas.routesSchema }, () => ({ routes: routes.list() }))
  get('/backends', 'Backends and their targets', { response: schemas.backendsSchema }, () => ({ backends: look().backends }))
  get('/backends/:backend', 'One backend', { response: schemas.backendSchema, params: schemas.backendParams }, ({ params }) => {
    const { backend } = params as { backend: string }
    const view = views.one(backend)
    if (view === undefined) throw new AdminUnknownError(unknownBackend(backend))
    return view
  })
  get('/breakers', 'Circuits that have seen a call; those that are not closed first', { response: schemas.breakersSchema, querystring: schemas.breakersQuery }, ({ query }) => {
    const all = gateway.breakers.list()
    const { limit = 1_000 } = query as { limit?: number }
    const first = [...all.filter(({ state }) => state !== 'closed'), ...all.filter(({ state }) => state === 'closed')].slice(0, limit)
    return { breakers: first.map(breaker => ({ ...breaker, stats: shownStats(breaker.stats, clocks) })), total: all.length }
  })
  get('/tenants', 'Known tenants, by id', { response: schemas.tenantsSchema, querystring: schemas.tenantsQuery }, ({ query }) => {
    const { limit = 100, after } = query as { limit?: number, after?: string }
    const page = pageOf(gateway.tenants.list(), limit, after)
    return { ...page, tenants: page.tenants.map(tenant => ({ ...tenant, metadata: mask.metadata(tenant.metadata) })) }
  })
  get('/config', 'The configuration in force', { response: schemas.configSchema }, () => configOf(gateway, mask))
  get('/recent', 'What happened lately', { response: schemas.recentSchema }, () => gateway.recent?.history() ?? { interval: 1_000, points: [], transitions: [], samples: [] })
  get('/openapi.json', 'This document', { response: { type: 'object', additionalProperties: true } }, () => document())
}

function declareExplain (get: Get, post: Post, { gateway }: Admin): void {
  get('/explain', 'What would become of a request', { response: schemas.explanationSchema, querystring: schemas.explainQuery }, ({ query }) => {
    const { method, url, header = [] } = query as schemas.ExplainQuery
    const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>
    for (const line of header) {
      const colon = line.indexOf(':')
      ;(headers[line.slice(0, colon).toLowerCase()] ??= []).push(line.slice(colon + 1).trim())
    }
    return gateway.explain({ headers, ...(method === undefined ? undefined : { method }), ...(url === undefined ? undefined : { url }) })
  })
  post('/explain', 'What would become of a request', { response: schemas.explanationSchema, body: schemas.explainBody }, ({ body }) => gateway.explain(body as RequestLike))
}

// ---- what is done

function declareActions (post: Post, { actions }: Admin): void {
  function act<Body> (path: string, summary: string, body: object, handler: (wish: Body & { backend: string, remoteAddress: string }) => unknown): void {
    post(`/backends/:backend/${path}`, summary, { response: schemas.actionSchema, body, params: schemas.backendParams },
      ({ body, params, ip }) => handler({ ...body as Body, backend: (params as { backend: string }).backend, remoteAddress: ip }))
  }
  act<schemas.DrainBody>('drain', 'No new requests for a target; what runs may finish', schemas.drainBody, actions.drain)
  act<schemas.DrainBody>('undrain', 'Back into service', schemas.drainBody, actions.undrain)
  act<schemas.CheckBody>('check', 'Ask targets how they are', schemas.checkBody, actions.check)
  act<schemas.BreakerBody>('breaker/open', 'Open circuits', schemas.breakerBody, actions.openBreaker)
  act<schemas.BreakerBody>('breaker/close', 'Close circuits', schemas.breakerBody, actions.closeBreaker)
}

// ---- page and events

function declareStreams (context: FastifyInstance, { admin, prefix, preHandler }: { readonly admin: Admin, readonly prefix: string, readonly preHandler: preHandlerHookHandler[] }): void {
  const { events } = admin
  const typed = (summary: string, type: string): RouteShorthandOptions['schema'] => ({
    hide: true, summary, response: { 200: { description: 'OK', content: { [type]: { schema: { type: 'string' } } } }, '4xx': schemas.errorSchema }
  }) as object
  context.get(prefix, { logLevel: 'warn', preHandler, exposeHeadRoute: true, config: { adminPage: true }, schema: typed('The status page', 'text/html')! }, function showPage (_request, reply) {
    sendPage(reply, admin)
  })
  context.get(`${prefix}/events`, { logLevel: 'warn', preHandler, exposeHeadRoute: false, schema: typed('What happens, as it happens', 'text/event-stream')! }, function follow (request, reply) {
    if (events.isFull) throw new AdminBusyError()
    reply.hijack()
    // what the app has set for all of its answers is meant for this one, too
    reply.raw.writeHead(200, { ...reply.getHeaders() as Record<string, string | number | string[]>, 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' })
    leaveWithConnection(request, reply)
    events.open(reply.raw)
  })
}

/** Of an answer whose turn on its connection has not come Node says nothing when that connection ends. */
function leaveWithConnection ({ raw: { httpVersionMajor, socket } }: FastifyRequest, { raw }: FastifyReply): void {
  if (httpVersionMajor > 1) return
  const leave = (): void => {
    // as Node does it for the answer whose turn it is
    if (!raw.destroyed) raw.destroy().emit('close')
  }
  socket.once('close', leave)
  raw.once('close', () => { socket.off('close', leave) })
}

function sendPage (reply: FastifyReply, { page: { csp, html } }: Admin): void {
  reply.headers({ 'content-security-policy': csp, 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' }).type('text/html; charset=utf-8').send(html)
}
