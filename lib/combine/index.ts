/**
 * Answers of several backends become one, byte for byte: everything is validated, nothing is parsed that nobody asks for.
 */
export { JsonProblem, ConflictProblem } from './problem.ts'
export { parseJson, jsonOf, kindOf } from './json.ts'
export type { Json, JsonKind } from './json.ts'
export { lookup, elements } from './lookup.ts'
export { objectOf, arrayOf, withEntry } from './compose.ts'
export { toValue, scalarText, isTruthy, equalsValue } from './values.ts'
export { textOf, toPayload, byteLength } from './write.ts'
export { createShape } from './shape.ts'
export { merge } from './merge.ts'
export type { MergeInput } from './merge.ts'
export { append, object } from './list.ts'
