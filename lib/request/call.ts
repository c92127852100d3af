/** From what the app asks for to a call: checked, with the body and the headers as the layers take them. */
import { InvalidCallError } from '../errors.ts'
import { checkMethod, checkPath, ownTimeouts, UNTRIED } from '../routes/call.ts'
import { byteCount } from '../options/units.ts'
import { isHeaderValue, isHopByHop, isToken } from '../headers/names.ts'
import { createPlan, NOTHING } from '../routes/plan.ts'
import { planOwnBody } from './body.ts'
import type { OwnBodyPlan } from './body.ts'
import type { Plan } from '../routes/plan.ts'
import type { Bound } from '../routes/lookup.ts'
import type { Call, RequestRecord, RetryOverrides } from '../types.ts'
import type { Source } from './source.ts'
import type { OwnRequest } from './types.ts'

/** Name of the route in records, logs and metrics. */
export const ROUTE = '(request)'

const DEFAULT_MAX_BYTES = 10 * 1024 * 1024

const OPTIONS: ReadonlySet<string> = new Set(['method', 'path', 'query', 'headers', 'body', 'tenant', 'timeout', 'signal', 'retry', 'idempotent', 'requestId', 'maxBytes'])

/** What is asked for, checked. */
export interface Asked {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly edits: Readonly<Record<string, string | readonly string[]>>
  readonly body: OwnBodyPlan
  readonly timeouts: ReturnType<typeof ownTimeouts>
  readonly retry: RetryOverrides | false | undefined
  readonly maxBytes: number
}

/** @throws InvalidCallError, BadPathError */
export function readAsked (init: OwnRequest): Asked {
  for (const name in init) if (!OPTIONS.has(name)) throw invalid(`unknown option ${JSON.stringify(name)}`)
  const { path = '/', query, tenant, signal } = init
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === '')) throw invalid('tenant must be an id')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal must be an AbortSignal')
  if (init.retry !== undefined && init.retry !== false) throw invalid('retry can only be switched off here: false')
  const method = checkMethod(init.method ?? 'GET')
  const text = query === undefined ? '' : queryText(query)
  return {
    method,
    path: checkPath(text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`),
    edits: readHeaders(init.headers ?? {}),
    body: planOwnBody(init.body),
    timeouts: init.timeout === undefined ? {} : ownTimeouts(init.timeout),
    retry: init.retry ?? (init.idempotent === undefined ? undefined : { methods: init.idempotent ? [method] : [] }),
    maxBytes: init.maxBytes === undefined ? DEFAULT_MAX_BYTES : sizeOf(init.maxBytes)
  }
}

function queryText (query: NonNullable<OwnRequest['query']>): string {
  if (typeof query === 'string') return query.replace(/^\?/, '')
  if (query instanceof URLSearchParams) return query.toString()
  const parameters = new URLSearchParams()
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) {
      if (value === undefined) continue
      if (typeof value === 'object') throw invalid(`query.${name} is an object, not a text or a number`)
      parameters.append(name, String(value))
    }
  }
  return parameters.toString()
}

/** @throws InvalidCallError for what frames the message, or must not be sent */
function readHeaders (headers: NonNullable<OwnRequest['headers']>): Record<string, string | readonly string[]> {
  const entries = Symbol.iterator in headers ? [...headers] : Object.entries(headers)
  const read: Array<[string, string[]]> = []
  for (const [name, values] of entries) {
    if (values === undefined) continue
    const texts = [values].flat().map(String)
    const lower = String(name).toLowerCase()
    if (!isToken(lower) || isHopByHop(lower) || lower === 'content-length' || lower === 'expect' || lower === '__proto__') throw invalid(`the header ${JSON.stringify(name)} is not yours to set`)
    if (!texts.every(isHeaderValue)) throw invalid(`the value of the header ${name} must not be sent`)
    const known = read.find(([other]) => other === lower)
    if (known === undefined) read.push([lower, texts])
    else known[1].push(...texts)
  }
  return Object.fromEntries(read.map(([name, texts]) => [name, texts.length === 1 ? texts[0]! : texts]))
}

function sizeOf (size: number | string): number {
  const bytes = byteCount(size)
  if (!(bytes >= 0)) throw invalid(`maxBytes must be a size (got ${JSON.stringify(size)})`)
  return bytes
}

/** One for each backend and each way of trying again: its settings are looked up once. */
export function createOwnPlans (isKnown: (backend: string) => boolean): (backend: string, retry: Asked['retry']) => Plan {
  const plans = new Map<string, Plan>()
  return function planFor (backend, retry) {
    const key = JSON.stringify([backend, retry])
    let plan = plans.get(key)
    if (plan === undefined) {
      plan = createPlan({ ...NOTHING, backend, retry }, ROUTE)
      // a name that does not exist may come from anywhere; it is not remembered
      if (isKnown(backend)) plans.set(key, plan)
    }
    return plan
  }
}

export function createOwnCall (asked: Asked, { request, reply }: Source, record: RequestRecord, { backend, settings }: Bound, now: number): Call {
  const timeouts = { ...settings.timeouts, ...asked.timeouts }
  // there is no client's host to preserve
  const noHost = backend.config.host === 'preserve' && asked.edits['host'] === undefined
  return {
    request,
    reply,
    record,
    backend,
    settings,
    method: asked.method,
    path: asked.path,
    headers: [],
    edits: noHost ? { host: undefined, ...asked.edits } : asked.edits,
    body: asked.body.plan,
    timeouts,
    deadline: timeouts.total > 0 ? now + timeouts.total : Infinity,
    owner: undefined,
    upgrade: undefined,
    ...UNTRIED
  }
}

function invalid (what: string): Error {
  return new InvalidCallError({ cause: new Error(what) })
}
