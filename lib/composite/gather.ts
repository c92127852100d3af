/**
 * Gathering: the parts of one request, from the first call to the last answer. As parallel as the plan allows.
 *
 * What comes out does not depend on who is quick: the first required part *in order of declaration* that failed decides
 * the answer, so when one fails only those are waited for that may still come before it; the others are cancelled.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AbortedError, BadPathError, PartCallsError, PartInputError, PartNeedsError, PartStatusError, PartTooLargeError } from '../errors.ts'
import { outcomeOfError, outcomeOfStatus } from '../outcomes.ts'
import { equalsValue, isTruthy, parseJson } from '../combine/index.ts'
import { fitBody, readBody, shapeBody } from './body.ts'
import { ask, createPartCall } from './call.ts'
import { decode, needsDecoding } from './decode.ts'
import { runForEach } from './for-each.ts'
import { Part } from './part.ts'
import { PartScope } from './scope.ts'
import { MissingValue } from './values.ts'
import type { Json } from '../combine/index.ts'
import type { Answer, CallOwner, RequestRecord, Send } from '../types.ts'
import type { Body } from './body.ts'
import type { CallContext, CallScope, PartCallTools } from './call.ts'
import type { CompositePlan, Condition } from './plan.ts'
import type { Surroundings } from './scope.ts'
import type { Value } from './values.ts'

export interface GatherTools extends PartCallTools {
  readonly send: Send
  /** Every part is over. */
  onGathered (gathering: Gathering): void
}

/** What a call came to: a body, or an error with what is known of the answer. */
export interface Got {
  readonly error: Error | undefined
  readonly answer: Pick<Answer, 'status' | 'headers' | 'plain'> | undefined
  readonly body: Body | undefined
  /** The body of a refusal (4xx), as it came. */
  readonly refusal: Buffer | undefined
}

export class Gathering implements CallContext, Surroundings {
  readonly parts: readonly Part[]
  readonly maxDepth: number
  /** Not of a part but of the whole request: what the client sent, or what the gateway lacks. */
  failure: Error | undefined = undefined
  /** More bytes or calls than a request may have. */
  overflow: Error | undefined = undefined
  /** The part that `select` has chosen. */
  winner: Part | undefined = undefined

  #doomedAt = Infinity
  #unsettled: number
  #calls = 0
  #bytes = 0
  #clientJson: { readonly json: Json | undefined } | undefined = undefined
  readonly #waiting: number[]

  constructor (
    readonly plan: CompositePlan,
    readonly request: FastifyRequest,
    readonly reply: FastifyReply,
    readonly record: RequestRecord,
    readonly deadline: number,
    readonly clientBody: Buffer | undefined,
    readonly tools: GatherTools
  ) {
    this.maxDepth = plan.config.maxDepth
    this.parts = plan.parts.map(part => new Part(part))
    this.#unsettled = this.parts.length
    this.#waiting = plan.parts.map(({ waitsFor }) => waitsFor)
  }

  /** @throws BadPathError for a parameter of the client's that some part cannot use: nothing has gone out then */
  start (): void {
    for (const { checkParams } of this.plan.parts) checkParams?.(this.request)
    for (const part of this.parts) if (part.plan.waitsFor === 0) this.#begin(part)
  }

  /** Ends what can make no difference any more. */
  cancel (): void {
    for (const part of this.parts) if (part.state === undefined) part.cancel(new AbortedError())
  }

  get clientJson (): Json | undefined {
    this.#clientJson ??= { json: this.clientBody === undefined ? undefined : tryParse(this.clientBody, this.maxDepth) }
    return this.#clientJson.json
  }

  /** The first required part that failed. */
  get culprit (): Part | undefined {
    return this.parts[this.#doomedAt]
  }

  // ---- one part

  #begin (part: Part): void {
    part.startedAt = this.tools.now()
    if (part.cancelled !== undefined) {
      this.#skip(part)
      return
    }
    const { plan: { needs, when, forEach, fallback, config } } = part
    const unmet = needs.map(index => this.parts[index]!).find(({ state }) => state === 'failed' || state === 'skipped' || state === 'empty')
    if (unmet !== undefined) {
      const error = new PartNeedsError({ cause: unmet.error ?? new Error(`${unmet.name} was ${unmet.state}`) })
      if (config.onMissing === 'fail' || (fallback !== undefined && unmet.state === 'failed')) this.#fail(part, error)
      else this.#skip(part, error)
      return
    }
    try {
      const scope = new PartScope(this, part, undefined)
      if (when !== undefined && !isMet(when, scope)) this.#skip(part)
      else if (forEach !== undefined) runForEach(this, part, forEach.kind === 'fill' ? forEach.fill(scope) : ask(forEach, scope))
      else this.call(part, scope, got => this.#take(part, got))
    } catch (error) {
      this.#refuse(part, error as Error)
    }
  }

  /** What keeps a part from being asked for. */
  #refuse (part: Part, error: Error): void {
    if (error instanceof MissingValue) this.miss(part, error)
    // late, it may no longer stop the others: what they came to would depend on the time
    else if (error instanceof BadPathError && part.plan.waitsFor > 0) this.#fail(part, new PartInputError({ cause: error }))
    else this.#fail(part, error)
  }

  /** A value is missing. */
  miss (part: Part, error: MissingValue): void {
    const wrapped = new PartInputError({ cause: error })
    if (part.plan.config.onMissing === 'fail') this.#fail(part, wrapped)
    else this.#skip(part, wrapped)
  }

  /** One call of a part. `done` is called once, now or later. @throws what createPartCall throws */
  call (part: Part, scope: CallScope, done: (got: Got) => void, owner: CallOwner = part): void {
    const call = createPartCall(part.plan, owner, scope, this, this.tools)
    part.call = call
    if (++this.#calls > this.plan.config.maxCalls) {
      this.#overflow(new PartCallsError({ cause: new Error(`more than ${this.plan.config.maxCalls} calls`) }))
      done(failed(new PartCallsError()))
      return
    }
    this.tools.send(call).then(answer => this.#read(part, answer, done), error => done(failed(error as Error)))
  }

  #read (part: Part, answer: Answer, done: (got: Got) => void): void {
    const { status, headers } = answer
    if (status >= 300 && (status < 400 || status >= 500)) {
      answer.discard()
      done(failed(statusError(status), answer))
      return
    }
    const { maxBytes } = part.plan.config
    answer.collect(maxBytes, (error, bytes) => {
      if (error !== undefined) {
        this.#count(error instanceof PartTooLargeError ? maxBytes : 0)
        done(failed(error, answer))
      } else if (status >= 400) {
        this.#count(bytes?.length ?? 0)
        done({ error: statusError(status), answer, body: undefined, refusal: bytes ?? Buffer.alloc(0) })
      } else if (bytes !== null && needsDecoding(headers)) {
        decode(bytes, headers, maxBytes).then(decoded => this.#parse(part, answer, decoded, done), error => done(failed(error as Error, answer)))
      } else {
        this.#parse(part, answer, bytes, done)
      }
    })
  }

  #parse (part: Part, answer: Answer, bytes: Buffer | null, done: (got: Got) => void): void {
    this.#count(bytes?.length ?? 0)
    let body: Body
    try {
      body = readBody(bytes, part.plan, this.maxDepth)
    } catch (error) {
      done(failed(error as Error, answer))
      return
    }
    done({ error: undefined, answer, body, refusal: undefined })
  }

  /** The result of a part with one call. */
  #take (part: Part, { error, answer, body, refusal }: Got): void {
    if (answer !== undefined) {
      part.status = answer.status
      part.headers = answer.headers
      part.plain = answer.plain
    }
    if (error === undefined) {
      this.accept(part, body!)
    } else {
      part.bytes = refusal
      this.#fail(part, error)
    }
  }

  /** A body for the part; `shaped` is given where it is more than a shape of the body. */
  accept (part: Part, body: Body, shaped?: Json): void {
    part.json = body.json
    part.bytes = body.bytes
    try {
      const result = shaped === undefined ? shapeBody(body, part.plan, this.plan.config) : fitBody(shaped, part.name, this.plan.config)
      part.shaped = result.json
      part.outcome = part.status === undefined ? 'ok' : outcomeOfStatus(part.status)
      this.#settle(part, result.leftOut ? 'empty' : part.error === undefined ? 'ok' : 'partial')
    } catch (error) {
      this.#fail(part, error as Error)
    }
  }

  fail (part: Part, error: Error): void {
    this.#fail(part, error)
  }

  #fail (part: Part, error: Error): void {
    if (part.state !== undefined) return
    part.error = error
    part.outcome = part.status === undefined || part.status < 400 ? outcomeOfError(error) : outcomeOfStatus(part.status)
    if (part.cancelled === undefined && isOfRequest(error)) this.#abort(error)
    const { fallback } = part.plan
    if (part.cancelled !== undefined) {
      // nobody wanted it any more: that is no failure of its own
      this.#settle(part, 'skipped')
      return
    }
    if (fallback === undefined) {
      this.#settle(part, 'failed')
      return
    }
    part.bytes = undefined
    part.json = fallback
    try {
      const { group } = part.plan
      part.shaped = shapeBody({ json: fallback, bytes: undefined, leftOut: false }, part.plan, this.plan.config).json
      if (group !== undefined && part.shaped !== undefined) part.shaped = fitBody(group(part.shaped)!, part.name, this.plan.config).json
      this.#settle(part, 'fallback')
    } catch {
      // a fallback that does not fit the answer is none
      this.#settle(part, 'failed')
    }
  }

  #skip (part: Part, error?: Error): void {
    part.error = error
    this.#settle(part, 'skipped')
  }

  #settle (part: Part, state: NonNullable<Part['state']>): void {
    if (part.state !== undefined) return
    part.state = state
    part.duration = state === 'skipped' ? 0 : this.tools.now() - part.startedAt
    this.#unsettled--
    if (state === 'failed' && part.plan.config.required && part.cancelled === undefined) this.#doom(part.plan.index)
    if (this.plan.selects && this.winner === undefined && part.usable && part.cancelled === undefined) {
      this.winner = part
      this.cancel()
    }
    for (const follower of part.plan.followers) if (--this.#waiting[follower]! === 0) this.#begin(this.parts[follower]!)
    if (this.#unsettled === 0) {
      this.#unsettled = -1
      this.tools.onGathered(this)
    }
  }

  // ---- all parts

  /** From now on only required parts before this one can change the answer. */
  #doom (index: number): void {
    if (index >= this.#doomedAt) return
    this.#doomedAt = index
    const decisive = new Set<number>()
    for (const { state, plan } of this.parts) {
      if (state !== undefined || !plan.config.required || plan.index >= index) continue
      decisive.add(plan.index)
      for (const ancestor of plan.ancestors) decisive.add(ancestor)
    }
    for (const part of this.parts) if (part.state === undefined && !decisive.has(part.plan.index)) part.cancel(new AbortedError())
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.plan.config.maxBytes) this.#overflow(new PartTooLargeError({ cause: new Error(`more than ${this.plan.config.maxBytes} bytes together`) }))
  }

  #overflow (error: Error): void {
    this.overflow ??= error
    this.#doom(this.parts.length)
  }

  #abort (error: Error): void {
    if (this.failure !== undefined) return
    this.failure = error
    this.cancel()
  }
}

/** A client's body that is not JSON has no values to refer to. */
function tryParse (bytes: Buffer, maxDepth: number): Json | undefined {
  try {
    return parseJson(bytes, maxDepth)
  } catch {
    return undefined
  }
}

function failed (error: Error, answer?: Answer): Got {
  return { error, answer, body: undefined, refusal: undefined }
}

function statusError (status: number): Error {
  return new PartStatusError({ cause: new Error(`status ${status}`) })
}

const OF_A_PART = new Set([499, 502, 503, 504])

/** What is wrong with the client's request, or with the gateway, is the same for every part. */
function isOfRequest (error: Error): boolean {
  return !OF_A_PART.has((error as { statusCode?: number }).statusCode ?? 500)
}

function isMet (when: readonly Condition[] | { (parts: never, request: FastifyRequest): unknown }, scope: CallScope): boolean {
  if (typeof when === 'function') return Boolean(ask({ make: when }, scope))
  return when.every(({ value, test }) => holds(value(scope), test))
}

function holds (value: Value | undefined, test: Condition['test']): boolean {
  switch (test.kind) {
    case 'exists': return (value !== undefined) === test.value
    case 'truthy': return value !== undefined && (typeof value === 'string' ? value !== '' : isTruthy(value))
    case 'equals': return equals(value, test.value)
    case 'not': return !equals(value, test.value)
    case 'in': return test.values.some(one => equals(value, one))
  }
}

/** A text of the client's (a parameter, a header) also equals the number it spells. */
function equals (value: Value | undefined, expected: unknown): boolean {
  if (value === undefined) return expected === null
  return typeof value === 'string' ? value === String(expected) : equalsValue(value, expected)
}
