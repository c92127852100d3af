/**
 * A part with `forEach`: one call for each distinct value (or for each batch of them), so many at a time, and one list
 * of results in the order of the values, whoever answered first.
 */
import { arrayOf, elements, jsonOf, kindOf, lookup, scalarText, textOf, withEntry } from '../combine/index.ts'
import { AbortedError, PartCallsError, PartInputError } from '../errors.ts'
import { shapeBody } from './body.ts'
import { PartScope } from './scope.ts'
import { MissingValue } from './values.ts'
import type { Json } from '../combine/index.ts'
import type { Body } from './body.ts'
import type { Gathering, Got } from './gather.ts'
import type { CallOwner, Cancelable } from '../types.ts'
import type { Part } from './part.ts'
import type { ForEachConfig } from './types.ts'

const NULL = jsonOf(null)

/** The results of one call, both ways of looking at them. */
interface Result {
  readonly raw: Json
  readonly shaped: Json
}

/** `source`: what the reference or the function gave. @throws MissingValue, PartInputError, PartCallsError */
export function runForEach (gathering: Gathering, part: Part, source: unknown): void {
  const config = part.plan.config.forEach!
  const list = listOf(source, config)
  const values = distinct(config.join === undefined ? list : list.flatMap(element => joinValue(element, config.join!.on) ?? []))
  if (values.length > config.max) throw new PartCallsError({ cause: new Error(`forEach has ${values.length} distinct values, and max is ${config.max}`) })
  const items = config.batch === undefined ? values : batches(values, config.batch)
  runAll(gathering, part, items, config.concurrency, results => finish(gathering, part, { list, values, results }))
}

function listOf (source: unknown, config: ForEachConfig): Json[] {
  if (source === undefined || source === null) throw new MissingValue(typeof config.in === 'string' ? config.in.replace(/[{}]/g, '') : 'forEach')
  let json: Json
  try {
    json = isJson(source) ? source : jsonOf(source)
  } catch (cause) {
    throw new PartInputError({ cause })
  }
  if (kindOf(json) !== 'array') throw new PartInputError({ cause: new Error(`forEach needs a list, and this is ${kindOf(json)}`) })
  return elements(json)
}

/** A reference gives a Json or a text, a function anything of its own. */
function isJson (source: unknown): source is Json {
  return typeof source === 'object' && source !== null && 'form' in source
}

function joinValue (element: Json, on: string): Json | undefined {
  const value = kindOf(element) === 'object' ? lookup(element, on.split('.')) : undefined
  return value === undefined || kindOf(value) === 'null' ? undefined : value
}

/** By their JSON text, in order of first appearance. */
function distinct (values: readonly Json[]): Json[] {
  return [...new Map(values.map(value => [textOf(value), value])).values()]
}

function batches (values: readonly Json[], size: number): Json[] {
  const lists: Json[] = []
  for (let at = 0; at < values.length; at += size) lists.push(arrayOf(values.slice(at, at + size)))
  return lists
}

/** One call of many: it can be ended without the others, and with all of them. */
class ItemOwner implements CallOwner {
  #cancelled: Error | undefined = undefined
  /** More than one where a try is hedged. */
  readonly #running = new Set<Cancelable>()

  constructor (readonly part: Part) {}

  get name (): string {
    return this.part.name
  }

  get cancelled (): Error | undefined {
    return this.#cancelled ?? this.part.cancelled
  }

  started (attempt: Cancelable): void {
    this.#running.add(attempt)
    this.part.started(attempt)
  }

  holds (work: Cancelable): void {
    this.#running.add(work)
    this.part.holds(work)
  }

  ended (work: Cancelable): void {
    this.#running.delete(work)
    this.part.ended(work)
  }

  cancel (reason: Error): void {
    this.#cancelled = reason
    for (const work of [...this.#running]) work.cancel(reason)
  }
}

/**
 * So many at a time; `done` gets one result per item, in order. In a required part the first of the list that fails
 * decides: from then on no later ones begin, and those under way are ended.
 */
function runAll (gathering: Gathering, part: Part, items: readonly Json[], concurrency: number, done: (results: readonly Got[]) => void): void {
  const { required } = part.plan.config
  const owners: ItemOwner[] = []
  const results: Array<Got | undefined> = []
  let end = items.length
  let begun = 0
  let settled = 0
  /** Results without a gap. */
  let ready = 0
  let filling = false

  function fill (): void {
    // what fails at once comes back here before the next has begun
    if (filling) return
    filling = true
    while (begun < end && begun - settled < concurrency && part.cancelled === undefined) begin(begun++)
    filling = false
    if (part.cancelled !== undefined) gathering.fail(part, part.cancelled)
    else if (ready >= end) done((results as Got[]).slice(0, end))
  }

  function begin (index: number): void {
    const owner = owners[index] = new ItemOwner(part)
    try {
      gathering.call(part, new PartScope(gathering, part, items[index]), got => settle(index, got), owner)
    } catch (error) {
      settle(index, { error: error as Error, answer: undefined, body: undefined, refusal: undefined })
    }
  }

  function settle (index: number, got: Got): void {
    settled++
    if (index >= end) return
    results[index] = got
    while (results[ready] !== undefined) ready++
    if (required && got.error !== undefined) {
      end = index + 1
      for (const later of owners.slice(end)) later.cancel(new AbortedError())
    }
    fill()
  }

  fill()
}

interface Outcome {
  readonly list: readonly Json[]
  readonly values: readonly Json[]
  readonly results: readonly Got[]
}

function finish (gathering: Gathering, part: Part, { list, values, results }: Outcome): void {
  const { plan } = part
  const { join, batch } = plan.config.forEach!
  const shaped = results.map(got => got.error === undefined ? shapeResult(gathering, part, got.body!) : got.error)
  const error = shaped.find(result => result instanceof Error)
  const answer = error !== undefined && plan.config.required ? results[shaped.indexOf(error)]!.answer : results.find(got => got.answer !== undefined && got.error === undefined)?.answer ?? results.find(got => got.answer !== undefined)?.answer
  part.status = answer?.status
  part.headers = answer?.headers ?? {}
  part.plain = answer?.plain ?? true
  if (error !== undefined && (plan.config.required || shaped.every(result => result instanceof Error))) {
    gathering.fail(part, error)
    return
  }
  part.error = error
  const bodies = (side: keyof Result): Json[] => shaped.map(result => result instanceof Error ? NULL : result[side])
  const whole = (side: keyof Result): Json => join === undefined
    ? batch === undefined ? arrayOf(bodies(side)) : flatten(bodies(side))
    : arrayOf(joined(list, join, batch === undefined ? byValue(values, bodies(side)) : byKey(bodies(side), join.key)))
  const raw: Body = { json: whole('raw'), bytes: undefined, leftOut: false }
  const all = whole('shaped')
  gathering.accept(part, raw, plan.group?.(all) ?? all)
}

function shapeResult (gathering: Gathering, part: Part, body: Body): Result | Error {
  try {
    // the strategy's demands are on the list, not on each of its members
    const shaped = shapeBody(body, part.plan, { ...gathering.plan.config, strategy: 'object' })
    return { raw: body.json ?? NULL, shaped: shaped.json ?? NULL }
  } catch (error) {
    return error as Error
  }
}

/** Lists of several batches are one list. */
function flatten (bodies: readonly Json[]): Json {
  if (bodies.length === 1) return bodies[0]!
  return arrayOf(bodies.flatMap(body => kindOf(body) === 'array' ? elements(body) : kindOf(body) === 'null' ? [] : [body]))
}

function byValue (values: readonly Json[], bodies: readonly Json[]): Map<string, Json> {
  return new Map(values.map((value, index) => [keyOf(value), bodies[index]!]))
}

/** A batched answer is a list whose members say which value they are for, or an object with the values as keys. */
function byKey (bodies: readonly Json[], key: string): { get (value: string): Json | undefined } {
  const members = new Map<string, Json>()
  for (const body of bodies) {
    if (kindOf(body) !== 'array') continue
    for (const member of elements(body)) {
      const own = joinValue(member, key)
      if (own !== undefined) members.set(keyOf(own), member)
    }
  }
  const objects = bodies.filter(body => kindOf(body) === 'object')
  return { get: value => members.get(value) ?? objects.map(body => lookup(body, [value])).find(found => found !== undefined) }
}

/** 7 and "7" name the same thing. */
function keyOf (value: Json): string {
  return scalarText(value) ?? textOf(value)
}

function joined (list: readonly Json[], { on, as }: NonNullable<ForEachConfig['join']>, results: { get (value: string): Json | undefined }): Json[] {
  return list.map((element) => {
    const value = joinValue(element, on)
    if (kindOf(element) !== 'object') return element
    return withEntry(element, as, value === undefined ? NULL : results.get(keyOf(value)) ?? NULL)
  })
}
