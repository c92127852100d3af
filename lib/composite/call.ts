/** From a part's plan and what is known so far to a call. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkPath } from '../routes/call.ts'
import { BadPathError, PartInputError } from '../errors.ts'
import { valueBody } from '../forward/request-body.ts'
import { isHeaderValue } from '../headers/names.ts'
import { guarded } from '../routes/plan.ts'
import { bytesOf, parameter, pathOf } from './fill.ts'
import type { Lookup } from '../routes/lookup.ts'
import type { Json } from '../combine/index.ts'
import type { BodyPlan, Call, CallOwner, RequestRecord } from '../types.ts'
import type { PartPlan, Source } from './plan.ts'
import type { Scope } from './values.ts'

/** What one call of a part may read: templates by `scope`, functions by `view`. */
export interface CallScope extends Scope {
  /** The parts it needs, and `item` or `items` within forEach. */
  readonly view: Readonly<Record<string, unknown>>
  /** The client's bytes; undefined: none. */
  readonly clientBody: Buffer | undefined
}

export interface PartCallTools {
  readonly lookup: Lookup
  now (): number
}

export interface CallContext {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly record: RequestRecord
  /** When the whole composite must be over. */
  readonly deadline: number
}

/**
 * @throws MissingValue for a reference without a value, PartInputError for what fits nowhere,
 * BadPathError for the client's own path or parameter, UnknownBackendError
 */
export function createPartCall (plan: PartPlan, owner: CallOwner, scope: CallScope, context: CallContext, { lookup, now }: PartCallTools): Call {
  const { request, reply, record } = context
  const { backend, settings } = lookup(plan.route, record.scope)
  const { timeouts } = settings
  return {
    request,
    reply,
    record,
    backend,
    settings,
    method: plan.config.method ?? methodOf(request),
    path: targetOf(plan, scope),
    headers: [],
    edits: plan.headers.length === 0 ? undefined : editsOf(plan, scope),
    body: bodyOf(plan, scope),
    timeouts,
    deadline: timeouts.total > 0 ? Math.min(context.deadline, now() + timeouts.total) : context.deadline,
    target: undefined,
    tried: undefined,
    patience: 0,
    slot: undefined,
    ticket: undefined,
    running: undefined,
    attempt: undefined,
    owner,
    upgrade: undefined
  }
}

/** A HEAD request asks for the head of what a GET would give, and that has to be put together first. */
function methodOf (request: FastifyRequest): string {
  return request.raw.method === 'HEAD' ? 'GET' : request.raw.method!
}

function targetOf ({ target, query }: PartPlan, scope: CallScope): string {
  const { request } = scope
  const path = target === undefined
    ? guarded(pathOf(request.raw.url!), {})
    : target.kind === 'fill' ? target.fill(scope) : ownPath(target, scope)
  if (query === undefined) return path
  const text = query === 'client' ? clientQuery(request.raw.url!) : query.kind === 'fill' ? query.fill(scope) : ownQuery(query, scope)
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

function ownPath (target: Source<string> & { kind: 'function' }, scope: CallScope): string {
  try {
    return checkPath(ask(target, scope))
  } catch (error) {
    throw error instanceof PartInputError ? error : new PartInputError({ cause: error instanceof BadPathError ? new Error('the path climbs') : error as Error })
  }
}

function clientQuery (url: string): string {
  const mark = url.indexOf('?')
  return mark < 0 ? '' : url.slice(mark + 1)
}

function ownQuery (query: Source<string> & { kind: 'function' }, scope: CallScope): string {
  const values = ask(query, scope)
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw new PartInputError({ cause: new Error('query must return an object') })
  const parameters: string[] = []
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) {
      if (one === undefined || one === null) continue
      if (typeof one === 'object' || typeof one === 'function') throw new PartInputError({ cause: new Error(`query.${name} is an object, not a text or a number`) })
      parameters.push(parameter(encodeURIComponent(name), String(one)))
    }
  }
  return parameters.join('&')
}

function editsOf ({ headers }: PartPlan, scope: CallScope): Record<string, string> {
  const edits: Record<string, string> = {}
  for (const [name, source] of headers) {
    const value = source.kind === 'fill' ? source.fill(scope) : ask(source, scope)
    if (value === undefined || value === null) continue
    if (!isHeaderValue(String(value))) throw new PartInputError({ cause: new Error(`the value of the header ${name} must not be sent`) })
    edits[name] = String(value)
  }
  return edits
}

const NO_BODY: BodyPlan = { kind: 'none' }

function bodyOf ({ body, config }: PartPlan, scope: CallScope): BodyPlan {
  if (body === undefined) return NO_BODY
  if (body === 'client') {
    const { clientBody } = scope
    return clientBody === undefined || config.method === 'GET' ? NO_BODY : { kind: 'value', value: clientBody, contentType: undefined, verbatim: true }
  }
  if (body.kind === 'fill') return jsonBody(body.fill(scope))
  const value = ask(body, scope)
  if (value === undefined) return NO_BODY
  try {
    return valueBody(value)
  } catch (cause) {
    throw new PartInputError({ cause })
  }
}

function jsonBody (json: Json): BodyPlan {
  return { kind: 'value', value: bytesOf(json), contentType: 'application/json' }
}

/** @throws PartInputError when the user's function throws, or hands back a promise: what it reads is here already */
export function ask (source: { readonly make: (parts: never, request: FastifyRequest) => unknown }, scope: CallScope): unknown {
  let value: unknown
  try {
    value = source.make(scope.view as never, scope.request)
  } catch (cause) {
    throw new PartInputError({ cause })
  }
  if (typeof (value as { then?: unknown } | null | undefined)?.then === 'function') throw new PartInputError({ cause: new Error('a function of a part must not be async') })
  return value
}
