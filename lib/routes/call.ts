/** From a client's request and a route's plan to a call: which backend, path, body and limits. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { planBody, valueBody } from '../forward/request-body.ts'
import { BadPathError, InvalidCallError, TargetTooLongError, VersionError } from '../errors.ts'
import { isToken } from '../headers/names.ts'
import { clientSocketOf } from '../websocket/client-socket.ts'
import { asksForWebSocket, readHandshake } from '../websocket/handshake.ts'
import { parseDuration } from '../options/index.ts'
import { guarded } from './plan.ts'
import type { Plan } from './plan.ts'
import type { Lookup } from './lookup.ts'
import type { Settings } from './settings.ts'
import type { ClientHandshake, WebSocketConfig } from '../websocket/types.ts'
import type { Call, GatewayConfig, RequestRecord, Timeouts } from '../types.ts'

/** What `reply.proxy(backend, options)` may say. */
export interface CallOptions {
  /** Path and query to ask for, instead of the client's. */
  path?: string
  /** Default: the client's. */
  method?: string
  /** Set on the request after every other rule; undefined removes. */
  headers?: Readonly<Record<string, string | undefined>>
  /** Instead of the client's: a text, bytes, or a value that is sent as JSON; null sends none. */
  body?: unknown
  /** Milliseconds or texts like `'2s'`; one duration is the total time. */
  timeout?: number | string | { headers?: number | string, idle?: number | string, total?: number | string }
}

export interface CallTools {
  readonly config: GatewayConfig
  readonly lookup: Lookup
  now (): number
}

/** What the attempts of a call have left on it; a call made of another one begins without. */
export const UNTRIED = Object.freeze({ target: undefined, tried: undefined, patience: 0, slot: undefined, ticket: undefined, running: undefined, attempt: undefined }) satisfies Partial<Call>

export type CreateCall = (request: FastifyRequest, reply: FastifyReply, record: RequestRecord, plan: Plan, options: CallOptions | undefined) => Call

/** @throws coded 4xx errors for what the client sent, UnknownBackendError (500) for what the set-up lacks */
export function createCalls ({ config, lookup, now }: CallTools): CreateCall {
  return function createCall (request, reply, record, plan, options) {
    if (options !== undefined) checkOptions(options)
    checkRequest(request, record.scope?.config ?? config)
    const { backend, settings } = lookup(plan, record.scope)
    const { websocket } = plan.config
    const upgrade = websocket === undefined ? undefined : upgradeOf(request, websocket, options)
    const timeouts = options?.timeout === undefined ? settings.timeouts : { ...settings.timeouts, ...ownTimeouts(options.timeout) }
    return {
      request,
      reply,
      record,
      backend,
      settings: upgrade === undefined ? settings : unhedged(settings),
      method: options?.method === undefined ? request.raw.method! : checkMethod(options.method),
      path: options?.path === undefined ? plan.rewrite(request.raw.url!, request.params as Record<string, string>) : checkPath(options.path),
      headers: [],
      edits: options?.headers,
      body: options === undefined || !('body' in options) ? planBody(request, settings.bodyLimit) : options.body === null ? { kind: 'none' } : valueBody(options.body),
      timeouts,
      deadline: timeouts.total > 0 ? now() + timeouts.total : Infinity,
      target: undefined,
      tried: undefined,
      patience: 0,
      slot: undefined,
      ticket: undefined,
      running: undefined,
      attempt: undefined,
      owner: undefined,
      upgrade
    }
  }
}

/** The WebSocket that the client asks for, if it does. What no server has upgraded (`inject`) is a request like any other. */
function upgradeOf ({ raw }: FastifyRequest, config: WebSocketConfig, options: CallOptions | undefined): ClientHandshake | undefined {
  if (!asksForWebSocket(raw)) return undefined
  const handshake = readHandshake(raw, config)
  if (clientSocketOf(raw) === undefined) return undefined
  if (options?.method !== undefined || (options?.body ?? undefined) !== undefined) throw invalid('a WebSocket handshake has no method or body of its own')
  return handshake
}

/** A slow handshake is no reason for a second socket. */
function unhedged (settings: Settings): Settings {
  return settings.retry.hedge === undefined ? settings : { ...settings, retry: { ...settings.retry, hedge: undefined } }
}

/** What every request must be before anything is made of it. @throws VersionError, TargetTooLongError, BadPathError */
export function checkRequest (request: FastifyRequest, { limits }: Pick<GatewayConfig, 'limits'>): void {
  const { httpVersionMajor, httpVersionMinor } = request.raw
  const target = request.raw.url!
  // HTTP/2 has streams; a message that only says so has none
  if (httpVersionMajor !== 1 ? !('stream' in request.raw) : httpVersionMinor > 1) throw new VersionError()
  if (target.length > limits.target) throw new TargetTooLongError()
  if (target.includes('#')) throw new BadPathError()
}

const OPTIONS = new Set(['path', 'method', 'headers', 'body', 'timeout'])
const TIMEOUTS = new Set(['headers', 'idle', 'total'])

function checkOptions (options: CallOptions): void {
  for (const name in options) if (!OPTIONS.has(name)) throw invalid(`unknown option ${JSON.stringify(name)}`)
}

/** One duration is the total time. @throws InvalidCallError */
export function ownTimeouts (timeout: NonNullable<CallOptions['timeout']>): Partial<Timeouts> {
  const parsed: Record<string, number> = {}
  for (const [name, value] of Object.entries(typeof timeout === 'object' ? timeout : { total: timeout })) {
    if (!TIMEOUTS.has(name)) throw invalid(`unknown option timeout.${name}`)
    const duration = parseDuration(value)
    if (duration === undefined) throw invalid(`timeout.${name} must be a duration (got ${JSON.stringify(value)})`)
    parsed[name] = duration
  }
  return parsed
}

/** A method that a hook or handler chose. @throws InvalidCallError */
export function checkMethod (method: unknown): string {
  const upper = String(method).toUpperCase()
  if (!isToken(upper) || upper === 'CONNECT' || upper === 'TRACE') throw invalid(`the method ${JSON.stringify(method)} cannot be forwarded`)
  return upper
}

/** A path that a hook or handler chose. @throws InvalidCallError, and BadPathError where it climbs */
export function checkPath (path: unknown): string {
  if (typeof path !== 'string' || !path.startsWith('/')) throw invalid(`the path ${JSON.stringify(path)} must start with /`)
  if (/[^\x21-\x7e]/.test(path)) throw invalid(`the path ${JSON.stringify(path)} must be percent-encoded`)
  return guarded(path, {})
}

function invalid (what: string): Error {
  return new InvalidCallError({ cause: new Error(what) })
}
