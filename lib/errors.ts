/**
 * Every error of the suite: `@fastify/error` codes in one table, sent in Fastify's own error shape.
 *
 * The messages are for clients: never an address, a path of ours or a stack. What went wrong underneath is the
 * error's `cause` and goes to the log only.
 */
import createError from '@fastify/error'
import { createVeil } from './options/veil.ts'

/** In place of a stack: its first line, told when somebody asks. It may be set, like every other. */
const FIRST_LINE: PropertyDescriptor = {
  configurable: true,
  get (this: Error) { return `${this.name}: ${this.message}` },
  set (this: Error, value) { Object.defineProperty(this, 'stack', { value, configurable: true, writable: true }) }
}

/** An error that is an answer, and may be one of thousands a second. Its stack would say nothing of use, and cost more than the decision that it tells. */
function withoutStack<Args extends unknown[] = [{ readonly cause: unknown }?]> (code: string, message: string, statusCode: number) {
  const StacklessError = createError<Args>(code, message, statusCode, Error, false)
  Object.defineProperty(StacklessError.prototype, 'stack', FIRST_LINE)
  return StacklessError
}

/** The `cause` of such an error where nothing has gone wrong underneath: why, for the log. It has no stack either. */
export function because (message: string): Error {
  return Object.create(Error.prototype, { message: { value: message, configurable: true, writable: true }, stack: FIRST_LINE }) as Error
}

// ---- what a client may see

/** The request was malformed or ambiguous. `%s` says which rule it broke. */
export const BadRequestError = withoutStack<[string]>('RP_ERR_BAD_REQUEST', 'Bad request: %s', 400)
/** The request names no tenant, and its route needs one. `%s` says where one is looked for. */
export const TenantMissingError = withoutStack<[string]>('RP_ERR_TENANT_MISSING', 'The tenant is missing: %s', 400)
/** The id is malformed, stands there twice, or two places name different ones. `%s` says which place and rule, never the id. */
export const TenantInvalidError = withoutStack<[string]>('RP_ERR_TENANT_INVALID', 'The tenant is not acceptable: %s', 400)
/** The path climbs out of where it starts, or holds what no path may hold. */
export const BadPathError = withoutStack('RP_ERR_BAD_PATH', 'The request path is not acceptable', 400)
/** Nobody knows this tenant, and `unknown` is `reject`. */
export const TenantUnknownError = withoutStack('RP_ERR_TENANT_UNKNOWN', 'The tenant is not known', 403)
/** The tenant is set to `false`. */
export const TenantRefusedError = withoutStack('RP_ERR_TENANT_REFUSED', 'The tenant is not served', 403)
/** A WebSocket handshake from an Origin that the route does not allow. */
export const OriginError = withoutStack('RP_ERR_ORIGIN', 'The origin is not allowed', 403)
/** A WebSocket handshake of another version than 13 (RFC 6455 section 4.4). */
export const UpgradeVersionError = withoutStack('RP_ERR_UPGRADE_VERSION', 'The WebSocket version is not supported', 426)
/** The body is larger than the route allows. */
export const BodyTooLargeError = withoutStack('RP_ERR_BODY_TOO_LARGE', 'The request body is too large', 413)
/** The request target is longer than the gateway allows. */
export const TargetTooLongError = withoutStack('RP_ERR_TARGET_TOO_LONG', 'The request target is too long', 414)
/** More header fields than the gateway allows. */
export const TooManyHeadersError = withoutStack('RP_ERR_TOO_MANY_HEADERS', 'The request has too many header fields', 431)
/** A transfer coding other than `chunked` (RFC 9112 section 6.1). */
export const TransferCodingError = withoutStack('RP_ERR_TRANSFER_CODING', 'The transfer coding is not supported', 501)
/** A protocol version that is not spoken here (RFC 9110 section 15.6.6). */
export const VersionError = withoutStack('RP_ERR_HTTP_VERSION', 'The HTTP version is not supported', 505)
/** The backend refused the connection, could not be resolved, or failed its TLS checks. */
export const ConnectError = withoutStack('RP_ERR_CONNECT', 'The backend could not be reached', 502)
/** The connection to the backend broke before its answer began. */
export const ResetError = withoutStack('RP_ERR_RESET', 'The backend closed the connection', 502)
/** The backend's answer was not valid HTTP. */
export const BadResponseError = withoutStack('RP_ERR_BAD_RESPONSE', 'The backend sent an invalid answer', 502)
/** More redirects than the policy follows. */
export const TooManyRedirectsError = withoutStack('RP_ERR_TOO_MANY_REDIRECTS', 'The backend redirected too often', 502)
/** The body of an answer to `reverseproxy.request()` is larger than `maxBytes`. */
export const AnswerTooLargeError = withoutStack('RP_ERR_ANSWER_TOO_LARGE', 'The answer of the backend is too large', 502)
/** The body of a composite's part, or of all its parts together, is larger than allowed. */
export const PartTooLargeError = withoutStack('RP_ERR_PART_TOO_LARGE', 'A part of the answer is too large', 502)
/** A part of a composite answered with a status that is no success. */
export const PartStatusError = withoutStack('RP_ERR_PART_STATUS', 'A part of the answer could not be had', 502)
/** A part's body is not JSON, and its route has no use for anything else. */
export const PartNotJsonError = withoutStack('RP_ERR_PART_NOT_JSON', 'A part of the answer is not valid JSON', 502)
/** A part's body is packed or encoded in a way that cannot be undone. Which one is in the `cause`. */
export const PartEncodingError = withoutStack('RP_ERR_PART_ENCODING', 'A part of the answer could not be decoded', 502)
/** A part's JSON is nested deeper than `maxDepth`. */
export const PartDepthError = withoutStack('RP_ERR_PART_DEPTH', 'A part of the answer is nested too deeply', 502)
/** A part is no object where parts are merged, or no list where they are appended. */
export const PartMismatchError = withoutStack('RP_ERR_PART_MISMATCH', 'A part of the answer does not fit the others', 502)
/** A part is empty or null, and `onEmpty` is `fail`. */
export const PartEmptyError = withoutStack('RP_ERR_PART_EMPTY', 'A part of the answer is empty', 502)
/** A part's body is not what its schema says. What is wrong is in the `cause`. */
export const PartSchemaError = withoutStack('RP_ERR_PART_SCHEMA', 'A part of the answer does not have the expected shape', 502)
/** What a part asks for could not be put together: a missing value, or one that fits nowhere. */
export const PartInputError = withoutStack('RP_ERR_PART_INPUT', 'A part of the answer could not be asked for', 502)
/** A part that another one needs has nothing to give. */
export const PartNeedsError = withoutStack('RP_ERR_PART_NEEDS', 'A part of the answer depends on one that is missing', 502)
/** A request's parts would make more calls than `maxCalls`, or a `forEach` has more values than its `max`. */
export const PartCallsError = withoutStack('RP_ERR_PART_CALLS', 'The answer would need too many calls', 502)
/** Two parts have the same key, and `conflict` is `error`. */
export const ConflictError = withoutStack('RP_ERR_CONFLICT', 'Parts of the answer contradict each other', 502)
/** No part of a composite could be had. */
export const NothingUsableError = withoutStack('RP_ERR_NOTHING_USABLE', 'No part of the answer could be had', 502)
/** No target of the backend may be used now. */
export const NoTargetError = withoutStack('RP_ERR_NO_TARGET', 'No backend target is available', 503)
/** Every target has reached its `maxConnections`. */
export const ConnectionLimitError = withoutStack('RP_ERR_CONNECTION_LIMIT', 'All backend targets are at their limit', 503)
/** The circuit breakers of all targets are open. */
export const CircuitOpenError = withoutStack('RP_ERR_CIRCUIT_OPEN', 'The backend is not asked for the moment', 503)
/** `load` failed or was too slow, and nothing that it gave before may be used. Why is in the `cause`. */
export const TenantLoadError = withoutStack('RP_ERR_TENANT_LOAD', 'The tenant could not be looked up', 503)
/** The backend was too slow: connecting, answering, or in total. */
export const TimeoutError = withoutStack('RP_ERR_TIMEOUT', 'The backend did not answer in time', 504)
/** The request has come through this gateway too often (`Via`). */
export const LoopError = withoutStack('RP_ERR_LOOP', 'A proxy loop was detected', 508)
/** The client went away; nobody reads this answer. */
export const AbortedError = withoutStack('RP_ERR_ABORTED', 'The client closed the request', 499)

/** A circuit that lets a trial through in `ms`, if that is known: `Retry-After` in whole seconds (RFC 9110 section 10.2.3). */
export function circuitOpen (ms: number, cause: Error): Error {
  const error = new CircuitOpenError({ cause })
  return Number.isFinite(ms) ? Object.assign(error, { headers: { 'retry-after': String(Math.max(1, Math.ceil(ms / 1000))) } }) : error
}

/** Says which version would do; a 426 must name the protocol (RFC 9110 section 15.5.22). */
export function websocketVersion (): Error {
  return Object.assign(new UpgradeVersionError(), { headers: { 'sec-websocket-version': '13', upgrade: 'websocket', connection: 'Upgrade, close' } })
}

// ---- the admin interface

/** No token, or a wrong one. */
export const AdminTokenError = withoutStack('RP_ERR_ADMIN_TOKEN', 'The admin interface asks for its token', 401)
/** Neither a token nor a hook protects it, and somebody else could come in as well. `%s` says why. */
export const AdminAccessError = withoutStack<[string]>('RP_ERR_ADMIN_ACCESS', 'The admin interface answers only where nobody else can come: %s. Set admin.token or admin.preHandler, or give it a port of its own (admin.port)', 403)
/** A page of another origin has made a browser send it. */
export const AdminOriginError = withoutStack('RP_ERR_ADMIN_ORIGIN', 'The admin interface takes nothing from pages of another origin', 403)
/** `%s` says what is not there. */
export const AdminUnknownError = withoutStack<[string]>('RP_ERR_ADMIN_UNKNOWN', '%s', 404)
/** What was asked for cannot be done to it. `%s` says why. */
export const AdminConflictError = withoutStack<[string]>('RP_ERR_ADMIN_CONFLICT', '%s', 409)
/** As many event streams as there may be. */
export const AdminBusyError = withoutStack('RP_ERR_ADMIN_BUSY', 'Too many event streams of the admin interface are open', 503)

// ---- faults of the gateway's own set-up or of a hook: 500 for the client, the name only in the log

/** `reply.proxy()` named a backend that does not exist. The name is in the `cause`. */
export const UnknownBackendError = createError('RP_ERR_UNKNOWN_BACKEND', 'The gateway is not set up for this request', 500)
/** A hook or option produced a header that must not be sent. */
export const InvalidHeaderError = createError('RP_ERR_INVALID_HEADER', 'The gateway produced an invalid header', 500)
/** `reply.proxy()` or a hook asked for a call that cannot be made. What and where is in the `cause`. */
export const InvalidCallError = createError('RP_ERR_INVALID_CALL', 'The gateway is not set up for this request', 500)
/** A composite's transform or strategy threw, or returned what cannot be sent. What happened is the `cause`. */
export const CombineError = createError('RP_ERR_COMBINE', 'The gateway could not put the answer together', 500)
/** A balancer returned something that is not one of its targets, or threw. */
export const BalancerError = createError('RP_ERR_BALANCER', 'The gateway could not choose a backend target', 500)

// ---- boot: the process should not start

/** One thing that is wrong with the options. */
export interface OptionProblem {
  /** Where: `backends.orders.targets[0].weight`. */
  readonly path: string
  /** The rule that was broken, as a sentence fragment: `must be 0 or more`. */
  readonly rule: string
  /** What was found there. */
  readonly value?: unknown
}

/** Wrong options: all problems at once. What may be a secret is left out of their values. */
export class OptionsError extends createError<[string]>('RP_ERR_OPTIONS', '%s', 500, TypeError) {
  readonly problems: readonly OptionProblem[]

  constructor (problems: readonly OptionProblem[], subject = 'fastify-reverseproxy') {
    const veil = createVeil()
    const shown = problems.map(problem => 'value' in problem ? { ...problem, value: veil(problem.path, problem.value) } : problem)
    super(`${subject}: ${shown.length === 1 ? 'wrong option' : `${shown.length} wrong options`}\n${shown.map(describeProblem).join('\n')}`)
    this.problems = shown
  }
}

/** A backend has no targets at the end of its `bootTimeout`, and `onBootTimeout` is `refuse`. `%s` says which, and why. */
export const DiscoveryError = createError<[string]>('RP_ERR_DISCOVERY', 'Discovery: %s', 500)

/** What a parse finds wrong. */
export function problemsOf (parse: () => void): readonly OptionProblem[] {
  try {
    parse()
    return []
  } catch (error) {
    if (error instanceof OptionsError) return error.problems
    throw error
  }
}

/** `backends.a.weight: must be 0 or more (got -1)` */
export function describeProblem (problem: OptionProblem): string {
  const where = problem.path === '' ? '(top level)' : problem.path
  return `  ${where}: ${problem.rule}${'value' in problem ? ` (got ${show(problem.value)})` : ''}`
}

function show (value: unknown): string {
  if (typeof value === 'function') return 'a function'
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // circular or a BigInt: its type has to do
  }
  text ??= String(value)
  return text.length > 80 ? text.slice(0, 77) + '...' : text
}
