/**
 * Holds a part's body against its schema. Compiled once, at boot; a value is looked at and never changed.
 *
 * Schemas are users' own: TypeBox or any JSON Schema of draft 7, perhaps with keywords and formats that are nobody's here. Those are
 * annotations, as the drafts say.
 */
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import type { ErrorObject, ValidateFunction } from 'ajv'

/** What is wrong with a value, `/items/0/id must be number`, or undefined. */
export type Validator = (value: unknown) => string | undefined

/** @throws Error for a schema that does not compile */
export type CreateValidator = (schema: object) => Validator

/** Names in it are the backend's, and may be long. */
const LONGEST = 300

/** For one gateway: equal schemas are compiled once. */
export function createValidators (): CreateValidator {
  const shared = createAjv()
  const byText = new Map<string, Validator>()

  return function createValidator (schema) {
    const text = textOf(schema)
    let validator = byText.get(text)
    if (validator === undefined) {
      // Two parts may have different schemas of one $id, which one instance would refuse.
      const ajv = text.includes('"$id"') ? createAjv() : shared
      // What was written as text has no symbols of TypeBox's, and nobody changes it later.
      const validate = compile(ajv, JSON.parse(text) as object)
      validator = value => validate(value) ? undefined : describe(validate.errors?.[0])
      byText.set(text, validator)
    }
    return validator
  }
}

function createAjv (): Ajv {
  const ajv = new Ajv({ strict: false, logger: false, allErrors: false, coerceTypes: false, useDefaults: false, removeAdditional: false })
  addFormats.default(ajv)
  return ajv
}

function textOf (schema: object): string {
  try {
    return JSON.stringify(schema)
  } catch (cause) {
    throw new Error(`the schema is not JSON: ${messageOf(cause)}`, { cause })
  }
}

function compile (ajv: Ajv, schema: object): ValidateFunction {
  if ('$async' in schema) throw new Error('the schema does not compile: it must not be asynchronous')
  try {
    return ajv.compile(schema)
  } catch (cause) {
    const dialect = '$schema' in schema && ajv.getSchema(String(schema.$schema)) === undefined ? ' (only draft 7 is known as "$schema"; it may be left out)' : ''
    throw new Error(`the schema does not compile: ${messageOf(cause)}${dialect}`, { cause })
  }
}

function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function describe (error: ErrorObject | undefined): string {
  if (error === undefined) return 'is not valid'
  const { instancePath, message = 'is not valid' } = error
  const text = `${instancePath} ${message}${detail(error)}`.trim()
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text
}

/** What ajv's sentence leaves out. */
function detail ({ params }: ErrorObject): string {
  const { additionalProperty, allowedValues } = params as { additionalProperty?: string, allowedValues?: unknown[] }
  if (additionalProperty !== undefined) return `: ${additionalProperty}`
  return allowedValues === undefined ? '' : `: ${JSON.stringify(allowedValues)}`
}
