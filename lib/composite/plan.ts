/** A composite's options, compiled at boot: what each part asks for, what it waits for, and what is done with its answer. */
import { createShape, jsonOf } from '../combine/index.ts'
import { createPlan } from '../routes/plan.ts'
import { createBodyFill, createParamCheck, createQueryFill, createReferenceFill, createTargetFill, createTextFill } from './fill.ts'
import { needsOf, placesOf } from './references.ts'
import type { FastifyRequest } from 'fastify'
import type { Json } from '../combine/index.ts'
import type { Plan } from '../routes/plan.ts'
import type { Fill } from './fill.ts'
import type { Value } from './values.ts'
import type { Combine, CompositeConfig, PartConfig, PartFunction, WhenCondition } from './types.ts'

/** What is filled in for each call, from a template or by the user's function. */
export type Source<Result> =
  | { readonly kind: 'fill', readonly fill: Fill<Result> }
  | { readonly kind: 'function', readonly make: PartFunction<unknown> }

export interface Condition {
  readonly value: Fill<Value | undefined>
  readonly test: WhenCondition['test']
}

export interface PartPlan {
  readonly config: PartConfig
  readonly name: string
  readonly index: number
  /** Backend and settings, as for any route. */
  readonly route: Plan
  /** Parts whose results it reads. */
  readonly needs: readonly number[]
  /** Parts that may begin when it is over. */
  readonly followers: readonly number[]
  /** How many parts must be over before it begins. */
  readonly waitsFor: number
  /** Those that its result depends on, at any distance. */
  readonly ancestors: ReadonlySet<number>
  /** undefined: the incoming path. */
  readonly target: Source<string> | undefined
  /** For a part that begins late: whether the client's parameters will do, asked at once. @throws BadPathError */
  readonly checkParams: ((request: FastifyRequest) => void) | undefined
  readonly query: Source<string> | 'client' | undefined
  readonly headers: ReadonlyArray<readonly [name: string, source: Source<string | undefined>]>
  readonly body: Source<Json> | 'client' | undefined
  readonly when: readonly Condition[] | PartFunction<unknown> | undefined
  readonly forEach: Source<Value | undefined> | undefined
  readonly validate: ((value: unknown) => string | undefined) | undefined
  /** With forEach: of each call's body; what is left to do with the list of them is `group`. */
  readonly shape: ((json: Json) => Json | undefined) | undefined
  readonly group: ((json: Json) => Json | undefined) | undefined
  readonly fallback: Json | undefined
}

export interface CompositePlan {
  readonly config: CompositeConfig
  /** The route's name. */
  readonly name: string
  readonly parts: readonly PartPlan[]
  /** A strategy of the user's; undefined: one of ours, or `transform`. */
  readonly custom: Combine | undefined
  /** Whether parts run one after another. */
  readonly inOrder: boolean
  /** Whether the first success ends it. */
  readonly selects: boolean
  /** Whether some part reads the client's body. */
  readonly readsBody: boolean
}

export interface PlanTools {
  readonly strategies: ReadonlyMap<string, Combine>
  /** Compiles a schema. @throws Error when it is none */
  validator (schema: object): (value: unknown) => string | undefined
}

export function createCompositePlan (config: CompositeConfig, name: string, { strategies, validator }: PlanTools): CompositePlan {
  const selects = config.strategy === 'select'
  const inOrder = config.strategy === 'sequential' || (selects && !config.race)
  const indexOf = new Map(config.parts.map((part, index) => [part.name, index]))
  const needs = config.parts.map(part => [...needsOf(part)].map(need => indexOf.get(need)!).sort((a, b) => a - b))
  const before = needs.map((own, index) => new Set(inOrder && index > 0 ? [...own, index - 1] : own))
  return {
    config,
    name,
    custom: strategies.get(config.strategy),
    inOrder,
    selects,
    readsBody: config.parts.some(readsBody),
    parts: config.parts.map((part, index) => ({
      config: part,
      name: part.name,
      index,
      route: createPlan(part.proxy, `${name}#${part.name}`),
      needs: needs[index]!,
      followers: [...before.keys()].filter(other => before[other]!.has(index)),
      waitsFor: before[index]!.size,
      ancestors: ancestorsOf(index, before),
      ...compileCall(part),
      checkParams: before[index]!.size > 0 && part.when === undefined && typeof part.path === 'string' ? createParamCheck(part.path) : undefined,
      validate: part.schema === undefined ? undefined : validator(part.schema),
      shape: createShape(part.forEach === undefined ? part.shape : { ...part.shape, group: undefined }),
      group: part.forEach === undefined ? undefined : createShape({ target: undefined, pick: undefined, omit: undefined, rename: undefined, group: part.shape.group }),
      fallback: part.fallback === undefined ? undefined : jsonOf(part.fallback.value)
    }))
  }
}

function ancestorsOf (index: number, before: ReadonlyArray<ReadonlySet<number>>, found = new Set<number>()): Set<number> {
  for (const earlier of before[index]!) {
    if (found.has(earlier)) continue
    found.add(earlier)
    ancestorsOf(earlier, before, found)
  }
  return found
}

function readsBody (part: PartConfig): boolean {
  return part.body.kind === 'client' || placesOf(part).some(({ text, parse }) => parse(text).some(piece =>
    piece.kind === 'reference' && piece.reference.root === 'request' && piece.reference.field === 'body'))
}

function compileCall (part: PartConfig): Pick<PartPlan, 'target' | 'query' | 'headers' | 'body' | 'when' | 'forEach'> {
  const { path, query, headers, body, when, forEach } = part
  return {
    target: path === undefined ? undefined : source(path, createTargetFill),
    query: query === undefined || query === 'client' ? query : source(query, createQueryFill),
    headers: Object.entries(headers).map(([header, value]) => [header, source(value, createTextFill)] as const),
    body: compileBody(body),
    when: typeof when === 'function' || when === undefined ? when : when.map(({ value, test }) => ({ value: createReferenceFill(value), test })),
    forEach: forEach === undefined ? undefined : source(forEach.in, createReferenceFill)
  }
}

function compileBody (body: PartConfig['body']): PartPlan['body'] {
  switch (body.kind) {
    case 'none': return undefined
    case 'client': return 'client'
    case 'function': return { kind: 'function', make: body.make }
    case 'value': return ArrayBuffer.isView(body.value) ? { kind: 'function', make: () => body.value } : { kind: 'fill', fill: createBodyFill(body.value) }
  }
}

function source<From, Result> (from: From | PartFunction<unknown>, compile: (from: From) => Fill<Result>): Source<Result> {
  return typeof from === 'function' ? { kind: 'function', make: from as PartFunction<unknown> } : { kind: 'fill', fill: compile(from) }
}
