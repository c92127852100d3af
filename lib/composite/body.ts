/** From the bytes of a part's answer to a body, by the part's policies. */
import { JsonProblem, jsonOf, kindOf, objectOf, arrayOf, parseJson, toValue } from '../combine/index.ts'
import { PartDepthError, PartEmptyError, PartMismatchError, PartNotJsonError, PartSchemaError } from '../errors.ts'
import type { Json } from '../combine/index.ts'
import type { PartPlan } from './plan.ts'
import type { CompositeConfig } from './types.ts'

/** A body: JSON, other bytes, or neither; `left out` is for policies that say so. */
export interface Body {
  readonly json: Json | undefined
  readonly bytes: Buffer | undefined
  readonly leftOut: boolean
}

const NOTHING: Body = { json: undefined, bytes: undefined, leftOut: false }
const LEFT_OUT: Body = { json: undefined, bytes: undefined, leftOut: true }

/** @throws PartNotJsonError, PartDepthError, PartSchemaError */
export function readBody (bytes: Buffer | null, { config, validate }: PartPlan, maxDepth: number): Body {
  if (bytes === null || isBlank(bytes)) {
    // where an empty body counts as null, null is what the schema must allow
    if (config.onEmpty === 'allow') checkSchema(null, validate)
    return NOTHING
  }
  let json: Json
  try {
    json = parseJson(bytes, maxDepth)
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error
    if (error.reason === 'depth') throw new PartDepthError({ cause: error })
    return otherBody(bytes, config, error)
  }
  if (validate !== undefined) checkSchema(toValue(json), validate)
  return { json, bytes: undefined, leftOut: false }
}

function checkSchema (value: unknown, validate: PartPlan['validate']): void {
  const mismatch = validate?.(value)
  if (mismatch !== undefined) throw new PartSchemaError({ cause: new Error(mismatch) })
}

function otherBody (bytes: Buffer, { nonJson }: PartPlan['config'], cause: Error): Body {
  switch (nonJson) {
    case 'keep': return { json: undefined, bytes, leftOut: false }
    case 'text': return { json: jsonOf(bytes.toString()), bytes: undefined, leftOut: false }
    case 'base64': return { json: jsonOf(bytes.toString('base64')), bytes: undefined, leftOut: false }
    case 'skip': return LEFT_OUT
    case 'fail': throw new PartNotJsonError({ cause })
  }
}

/** Nothing but white space: short, since a backend that has nothing to say says it briefly. */
function isBlank (bytes: Buffer): boolean {
  return bytes.length <= 16 && /^[\t\n\r ]*$/.test(bytes.toString('latin1'))
}

/**
 * The body for the answer; `leftOut` for one that adds nothing and is not to be seen.
 * @throws PartEmptyError, PartMismatchError
 */
export function shapeBody (body: Body, { config, shape, name }: PartPlan, composite: CompositeConfig): Body {
  if (body.leftOut || body.bytes !== undefined) return body
  const json = body.json === undefined || shape === undefined ? body.json : shape(body.json)
  if (json === undefined || kindOf(json) === 'null') {
    if (config.onEmpty === 'fail') throw new PartEmptyError()
    return config.onEmpty === 'skip' ? LEFT_OUT : { json, bytes: undefined, leftOut: false }
  }
  return fitBody(json, name, composite)
}

/** Objects can be merged, lists appended. @throws PartMismatchError */
export function fitBody (json: Json, name: string, { strategy, onMismatch, transform }: CompositeConfig): Body {
  const body: Body = { json, bytes: undefined, leftOut: false }
  const wanted = transform !== undefined ? undefined : strategy === 'merge' ? 'object' : strategy === 'append' ? 'array' : undefined
  const kind = wanted === undefined ? undefined : kindOf(json)
  if (kind === wanted) return body
  switch (onMismatch) {
    case 'wrap': return { ...body, json: wanted === 'object' ? objectOf([[name, json]]) : arrayOf([json]) }
    case 'skip': return LEFT_OUT
    case 'fail': throw new PartMismatchError({ cause: new Error(`strategy ${strategy} needs an ${wanted}, and this is ${kind === 'object' || kind === 'array' ? 'an' : 'a'} ${kind}`) })
  }
}
