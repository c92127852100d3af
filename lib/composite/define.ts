/**
 * `defineComposite`: at run time it hands back what it is given; for the compiler it ties the functions of a composite to its
 * parts, their names and, where a part has a TypeBox `schema`, its body.
 *
 * How: `P` is inferred from `parts` as the literal type of every option. What is compared with the options (and gives the
 * functions their parameters) is made from `P` and kept out of the inference with NoInfer.
 */
import type { FastifyRequest } from 'fastify'
import type { Static, TSchema } from '@sinclair/typebox'
import type { CompositeOptions, PartOptions } from '../options/index.ts'
import type { Json } from '../options/schema/values.ts'
import type { PartResult, Unchecked } from './types.ts'

/** Types the functions of a composite by its parts. The result goes wherever composite options go. */
export function defineComposite<const P = {}, const B extends readonly string[] = []> (options: TypedComposite<P, B>): CompositeOptions
export function defineComposite (options: object): CompositeOptions {
  return options
}

type TypedComposite<P, B extends readonly string[]> = ReadonlyDeep<Omit<CompositeOptions, 'backends' | 'parts' | 'transform' | 'headers'>> & {
  readonly backends?: B
  readonly parts?: { readonly [K in keyof P]: Literal<P[K]> } & NoInfer<TypedParts<P>>
  /** Makes the answer. Every part is there; the body of one that failed or was skipped is undefined. */
  readonly transform?: TypedFunction<NoInfer<Results<P> & { readonly [K in B[number]]: PartResult }>, unknown>
  readonly headers?: NoInfer<TypedHeaders<Name<P> | B[number]>>
}

/** What `P` is inferred from: property by property, so that functions that wait for `P` are no hindrance. */
type Literal<T> = { readonly [Q in keyof T]: T[Q] }

/** The named options again, with the parts they can speak of. Anything else is none. */
type TypedParts<P> = { readonly [K in keyof P]: TypedPart<P, K> & { readonly [Q in Exclude<keyof P[K], keyof PartOptions>]: never } }

interface TypedPart<P, K extends keyof P> extends ReadonlyDeep<Omit<PartOptions, 'needs' | FunctionOption>> {
  readonly needs?: ReadonlyArray<Exclude<Name<P>, K>>
  readonly path?: Declared<'path'> | TypedFunction<Called<P, K>, string>
  readonly query?: Declared<'query'> | TypedFunction<Called<P, K>, Readonly<Record<string, unknown>>>
  readonly body?: Declared<'body'> | TypedFunction<Called<P, K>, unknown>
  readonly when?: Declared<'when'> | TypedFunction<Needed<P, K>, unknown>
  readonly headers?: ReadonlyDeep<Omit<NonNullable<PartOptions['headers']>, 'set'>> & {
    readonly set?: Readonly<Record<string, string | TypedFunction<Called<P, K>, string | undefined>>>
  }
  readonly forEach?: string | TypedFunction<Needed<P, K>, unknown> | (ReadonlyDeep<Omit<ForEachObject, 'in'>> & {
    readonly in: string | TypedFunction<Needed<P, K>, unknown>
  })
}

type FunctionOption = 'path' | 'query' | 'body' | 'when' | 'headers' | 'forEach'
type ForEachObject = Extract<PartOptions['forEach'], { in: unknown }>

/** An option as it is without functions. */
type Declared<Option extends FunctionOption> = ReadonlyDeep<Exclude<NonNullable<PartOptions[Option]>, AnyFunction>>

type TypedHeaders<Names> = ReadonlyDeep<Omit<NonNullable<CompositeOptions['headers']>, HeaderOfParts>> & {
  readonly from?: Names
  readonly setCookie?: Names | 'all' | 'none'
  readonly cacheControl?: Names | 'strictest' | 'none'
  readonly vary?: Names | 'union' | 'none'
}
type HeaderOfParts = 'from' | 'setCookie' | 'cacheControl' | 'vary'

type TypedFunction<Parts, Value> = (parts: Parts, request: FastifyRequest) => Value
type AnyFunction = (...args: never) => unknown
type Name<P> = keyof P & string

// ---- what functions of a part see

/** The parts it names as needed, with the bodies their backends sent. */
type Needed<P, K extends keyof P> = { readonly [N in NeedsOf<P, P[K]>]: PartResult<Sent<P[N]>> }

/** The same for one call; `item`, with batch `items`, is the value at hand. */
type Called<P, K extends keyof P> = Needed<P, K> & (P[K] extends { readonly forEach: unknown } ? { readonly item: Unchecked, readonly items: Unchecked } : unknown)

type NeedsOf<P, T> = keyof P & (T extends { readonly needs: ReadonlyArray<infer N> } ? N : never)

/** The body before it is shaped. Without one, the part that needs it is not asked for. */
type Sent<T> = T extends Loose ? Unchecked : SchemaBody<T>

// ---- what transform sees

type Results<P> = { readonly [K in keyof P]: PartResult<Shaped<P, K>> }

type Shaped<P, K extends keyof P> = P[K] extends Loose | Reshaped
  ? Unchecked
  : SchemaBody<P[K]> | (P[K] extends Required | { readonly fallback: unknown } ? true extends MaySkip<P, K> ? undefined : never : undefined)

/** Shaped in a way that types do not follow. */
type Reshaped = { readonly [Option in 'target' | 'pick' | 'omit' | 'rename' | 'group']: { readonly [O in Option]: unknown } }['target' | 'pick' | 'omit' | 'rename' | 'group']

/** What the body is, is not what the schema says. */
type Loose = { readonly forEach: unknown } | { readonly nonJson: 'text' | 'base64' }

type SchemaBody<T> = T extends { readonly schema: infer S extends TSchema } ? Static<S> | OtherFallback<T, Static<S>> : Unchecked

/** A fallback that is no such body is one more thing the body can be. */
type OtherFallback<T, Body> = T extends { readonly fallback: infer F } ? Mutable<F> extends Body ? never : Mutable<F> : never

type Required = { readonly required: true }

/** Whether a part that does not fail may be left out all the same. */
type MaySkip<P, K extends keyof P> = K extends keyof P
  ? P[K] extends { readonly when: unknown } | { readonly onEmpty: 'skip' } | { readonly nonJson: 'skip' }
    ? true
    : P[K] extends Required | { readonly onMissing: 'fail' }
      ? P[K] extends { readonly onMissing: 'skip' } ? true : false
      : P[K] extends { readonly path: `${string}{${string}` } ? true : MaySkip<P, NeedsOf<P, P[K]>>
  : never

// ---- what TypeScript has no words for

/** Literals are inferred as constants; what they are compared with must not ask for more. JSON is as it should be. */
type ReadonlyDeep<T> = [Json] extends [T] ? T : T extends AnyFunction | Uint8Array ? T : T extends object ? { readonly [K in keyof T]: ReadonlyDeep<T[K]> } : T

type Mutable<T> = { -readonly [K in keyof T]: Mutable<T[K]> }
