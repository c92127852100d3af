/**
 * From gathered parts to an answer: first the verdict (is there an answer at all?), then, in the onSend hook, the
 * combining. No I/O; only a `transform` of the user's may take its time.
 */
import { ConflictProblem, append, jsonOf, kindOf, merge, object, toPayload, withEntry } from '../combine/index.ts'
import { CombineError, ConflictError, NothingUsableError, TimeoutError } from '../errors.ts'
import { connectionTokens, isHeaderValue, isHopByHop, isToken } from '../headers/names.ts'
import { shapedViewOf } from './part.ts'
import type { Json } from '../combine/index.ts'
import type { Gathering } from './gather.ts'
import type { Part } from './part.ts'
import type { CompositePlan } from './plan.ts'

/** `refusal`: a part's own 4xx is the answer. */
export type Verdict =
  | { readonly kind: 'combine' }
  | { readonly kind: 'error', readonly error: Error }
  | { readonly kind: 'refusal', readonly part: Part }

const COMBINE: Verdict = { kind: 'combine' }

/** DESIGN section 5: what the client sees when parts fail. */
export function judge (gathering: Gathering): Verdict {
  const { failure, culprit, overflow, parts } = gathering
  if (failure !== undefined) return { kind: 'error', error: failure }
  if (culprit !== undefined) return isRefusal(culprit) ? { kind: 'refusal', part: culprit } : { kind: 'error', error: culprit.error! }
  if (gathering.winner !== undefined) return COMBINE
  if (overflow !== undefined) return { kind: 'error', error: overflow }
  let failed = 0
  for (const part of parts) {
    if (part.usable) return COMBINE
    if (part.state === 'failed') failed++
  }
  return failed === 0 ? COMBINE : judgeNothing(parts.filter(({ state }) => state === 'failed'))
}

function judgeNothing (failed: readonly Part[]): Verdict {
  if (failed.every(isRefusal)) return { kind: 'refusal', part: failed[0]! }
  const cause = new AggregateError(failed.map(({ error }) => error), 'every part failed')
  return { kind: 'error', error: failed.some(({ error }) => error instanceof TimeoutError) ? new TimeoutError({ cause }) : new NothingUsableError({ cause }) }
}

/** The backend answered 4xx, and its body is here. */
function isRefusal ({ status = 0, bytes }: Part): boolean {
  return status >= 400 && status < 500 && bytes !== undefined
}

export type Payload = Buffer | string | NodeJS.ReadableStream | null

export interface Combined {
  readonly payload: Payload
  /** undefined: 200, or `partialStatus`. */
  readonly status: number | undefined
  /** undefined: what the user's `headers` say, or nothing. */
  readonly type: string | undefined
  readonly headers: Readonly<Record<string, string | string[]>> | undefined
}

const JSON_TYPE = 'application/json; charset=utf-8'

export function isComplete (gathering: Gathering): boolean {
  for (const part of gathering.parts) if (part.incomplete) return false
  return true
}

/** @throws ConflictError (502), and CombineError (500) for what the user's function did */
export function combine (gathering: Gathering): Combined | Promise<Combined> {
  const { plan } = gathering
  const make = plan.config.transform ?? plan.custom
  if (make !== undefined) return combineBy(make, gathering)
  switch (plan.config.strategy) {
    case 'merge': return ofJson(withMeta(mergeParts(gathering), gathering))
    case 'append': return ofJson(append(listed(gathering).flatMap(({ json }) => kindOf(json) === 'null' ? [] : [json])))
    case 'select': return ofPart(gathering.winner)
    case 'sequential': return ofPart(gathering.parts.findLast(part => part.usable && part.state !== 'empty'))
    default: return ofJson(withMeta(object(keyed(gathering)), gathering))
  }
}

/** The parts that add something to the answer. */
function listed ({ parts }: Gathering): Array<{ name: string, json: Json }> {
  const inputs: Array<{ name: string, json: Json }> = []
  for (const part of parts) if (part.usable && part.state !== 'empty' && part.shaped !== undefined) inputs.push({ name: part.name, json: part.shaped })
  return inputs
}

const NULL = jsonOf(null)

/** The same where a part without a body is told as null. */
function keyed ({ parts }: Gathering): Array<{ name: string, json: Json }> {
  const inputs: Array<{ name: string, json: Json }> = []
  for (const part of parts) if (part.usable && part.state !== 'empty') inputs.push({ name: part.name, json: part.shaped ?? NULL })
  return inputs
}

function mergeParts (gathering: Gathering): Json {
  const inputs = listed(gathering).filter(({ json }) => kindOf(json) !== 'null')
  try {
    return merge(inputs, gathering.plan.config.conflict)
  } catch (error) {
    throw error instanceof ConflictProblem ? new ConflictError({ cause: error }) : error
  }
}

/** What became of each part, for a client that asked to know. */
function withMeta (json: Json, gathering: Gathering): Json {
  if (!gathering.plan.config.meta) return json
  const parts = gathering.parts.map(({ name, state, status, error, duration }) =>
    ({ name, state, status, code: (error as { code?: string } | undefined)?.code, ms: Math.round(duration * 10) / 10 }))
  return withEntry(json, '_meta', jsonOf({ complete: isComplete(gathering), parts }))
}

function ofJson (json: Json): Combined {
  return { payload: toPayload(json), status: undefined, type: JSON_TYPE, headers: undefined }
}

/** The answer of one part: its status, its type where the body is still its own. */
function ofPart (part: Part | undefined): Combined {
  if (part === undefined) return { payload: null, status: 204, type: undefined, headers: undefined }
  const status = part.state === 'fallback' ? undefined : part.status
  const { 'content-type': type } = part.headers
  if (part.bytes !== undefined) return { payload: part.bytes, status, type: typeof type === 'string' ? type : 'application/octet-stream', headers: undefined }
  if (part.shaped === undefined) return { payload: null, status: status === undefined || status === 200 ? 204 : status, type: undefined, headers: undefined }
  const own = part.shaped === part.json && part.state === 'ok' && typeof type === 'string' && /^[^;]*[/+]json\b/i.test(type)
  return { payload: toPayload(part.shaped), status, type: own ? type.replace(/;.*$/, '') + '; charset=utf-8' : JSON_TYPE, headers: undefined }
}

async function combineBy (make: NonNullable<CompositePlan['custom']>, gathering: Gathering): Promise<Combined> {
  const views = Object.fromEntries(gathering.parts.map(part => [part.name, shapedViewOf(part)]))
  let made: unknown
  try {
    made = await make(views, gathering.request)
  } catch (error) {
    // an error with a status of its own is meant for the client
    throw typeof (error as { statusCode?: unknown } | null)?.statusCode === 'number' ? error : new CombineError({ cause: error })
  }
  const { statusCode, headers, body } = isReply(made) ? made : { statusCode: undefined, headers: undefined, body: made }
  if (body === undefined && statusCode === undefined) throw new CombineError({ cause: new Error('transform returned nothing; return null for an empty answer') })
  const lower = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const)
  const named = connectionTokens(String(lower.find(([name]) => name === 'connection')?.[1] ?? ''))
  const own = lower.filter(([name]) => !isOfTheMessage(name) && !named.includes(name))
  const bad = own.find(([name, value]) => !isToken(name) || ![value].flat().every(one => isHeaderValue(String(one))))
  if (bad !== undefined) throw new CombineError({ cause: new Error(`the header ${JSON.stringify(bad[0])} must not be sent`) })
  return { ...payloadOf(body, gathering), status: statusCode, headers: Object.fromEntries(own) }
}

/** Framing and coding are those of the message we make, whatever a part had that the user hands on. */
function isOfTheMessage (name: string): boolean {
  return name === 'content-length' || name === 'content-encoding' || isHopByHop(name)
}

interface OwnReply {
  readonly statusCode: number
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly body?: unknown
}

const REPLY_KEYS = new Set(['statusCode', 'headers', 'body'])

/** An object with a statusCode, and nothing that is not part of a reply. */
function isReply (made: unknown): made is OwnReply {
  if (typeof made !== 'object' || made === null || !('statusCode' in made)) return false
  const { statusCode } = made
  return typeof statusCode === 'number' && Number.isInteger(statusCode) && statusCode >= 200 && statusCode <= 599 && Object.keys(made).every(key => REPLY_KEYS.has(key))
}

function payloadOf (body: unknown, gathering: Gathering): Pick<Combined, 'payload' | 'type'> {
  if (body === undefined || body === null) return { payload: null, type: undefined }
  if (typeof body === 'string') return { payload: body, type: 'text/plain; charset=utf-8' }
  if (ArrayBuffer.isView(body)) return { payload: Buffer.from(body.buffer, body.byteOffset, body.byteLength), type: 'application/octet-stream' }
  if (typeof (body as { pipe?: unknown }).pipe === 'function') return { payload: body as NodeJS.ReadableStream, type: 'application/octet-stream' }
  try {
    const json = jsonOf(body)
    return { payload: toPayload(kindOf(json) === 'object' ? withMeta(json, gathering) : json), type: JSON_TYPE }
  } catch (cause) {
    throw new CombineError({ cause })
  }
}
