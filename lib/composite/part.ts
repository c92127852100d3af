/** One part of one request: its state, and how functions see it. */
import { toValue } from '../combine/index.ts'
import type { Json } from '../combine/index.ts'
import type { Call, Cancelable, CallOwner, Outcome } from '../types.ts'
import type { PartPlan } from './plan.ts'
import type { PartResult, PartState } from './types.ts'

const NO_HEADERS: Readonly<Record<string, string | string[]>> = Object.freeze({})

/** Writer of everything here: lib/composite/gather.ts */
export class Part implements CallOwner {
  state: PartState | undefined = undefined
  status: number | undefined = undefined
  headers: Readonly<Record<string, string | string[]>> = NO_HEADERS
  /** Whether every header value is plain ASCII. */
  plain = true
  /** The body as the backend sent it, or the fallback. */
  json: Json | undefined = undefined
  /** The body for the answer. */
  shaped: Json | undefined = undefined
  /** A body that is not JSON, or that of a refusal (4xx) as it came. */
  bytes: Buffer | undefined = undefined
  error: Error | undefined = undefined
  outcome: Outcome | undefined = undefined
  startedAt = 0
  duration = 0
  attempts = 0
  /** The latest one. */
  call: Call | undefined = undefined
  cancelled: Error | undefined = undefined
  readonly #running: Cancelable[] = []

  constructor (readonly plan: PartPlan) {}

  get name (): string {
    return this.plan.name
  }

  started (attempt: Cancelable): void {
    this.attempts++
    this.#running.push(attempt)
  }

  holds (work: Cancelable): void {
    this.#running.push(work)
  }

  ended (work: Cancelable): void {
    const index = this.#running.indexOf(work)
    if (index >= 0) this.#running.splice(index, 1)
  }

  /** Ends what runs of it, and keeps more from starting. */
  cancel (reason: Error): void {
    this.cancelled ??= reason
    for (const attempt of [...this.#running]) attempt.cancel(reason)
  }

  /** Whether there is something to put into the answer, or to say that there is nothing. */
  get usable (): boolean {
    return this.state === 'ok' || this.state === 'fallback' || this.state === 'partial' || this.state === 'empty'
  }

  /** Whether the answer lacks something because of it. */
  get incomplete (): boolean {
    return this.state === 'failed' || this.state === 'fallback' || this.state === 'partial'
  }

  /** Whether the backend's own answer is in use. */
  get used (): boolean {
    return this.state === 'ok' || this.state === 'partial' || this.state === 'empty'
  }
}

/** What functions get to see. The body is parsed when it is first read. */
class View implements PartResult {
  readonly #part: Part
  readonly #shaped: boolean
  #body: { readonly value: unknown } | undefined = undefined

  constructor (part: Part, shaped: boolean) {
    this.#part = part
    this.#shaped = shaped
  }

  get name () { return this.#part.name }
  get state () { return this.#part.state ?? 'skipped' }
  get status () { return this.#part.status }
  get headers () { return this.#part.headers }
  get outcome () { return this.#part.outcome }
  get error () { return this.#part.error }
  get duration () { return this.#part.duration }
  get attempts () { return this.#part.attempts }

  get body () {
    this.#body ??= { value: bodyOf(this.#part, this.#shaped) }
    return this.#body.value
  }
}

function bodyOf (part: Part, shaped: boolean): unknown {
  if (!part.usable) return undefined
  const json = shaped ? part.shaped : part.json
  return json === undefined ? part.bytes : toValue(json)
}

/** As `needs`, `when` and the like see it. */
export function viewOf (part: Part): PartResult {
  return new View(part, false)
}

/** As `transform` and strategies see it. */
export function shapedViewOf (part: Part): PartResult {
  return new View(part, true)
}
