/**
 * What the schemas say of a value within another: its own schema, whether it is a secret, and how it compares.
 */
import { pickBranch, type Rules } from '../options/branches.ts'
import { isRecord, isTypeBox } from '../options/copy.ts'
import { DURATION_PATTERN, SIZE_PATTERN } from '../options/schema/values.ts'
import { byteCount, milliseconds } from '../options/units.ts'

/** A schema, and whether what it is of must not be shown; undefined: nothing is known. */
export interface Known {
  readonly schema: Rules | undefined
  readonly isSecret: boolean
}

/** Maps whose keys are names that users choose. */
const OF_NAMES: ReadonlySet<string> = new Set(['backends', 'tenants', 'routes', 'parts', 'rename'])
/** Names of headers, parameters and facts whose values are nobody's business. Hiding one too many does no harm. */
const SECRET_NAME = /auth|cookie|token|secret|passw|passphrase|credential|key|signature|session|jwt/i
/** The same where a schema knows the name. */
const SECRET_OPTION = /^(?:token|password|passphrase|secret|apiKey|accessToken)$/

/** Whether keys of it are options or names. */
export function isMap (value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && !isTypeBox(value)
}

/** The form of `schema` that the value has. */
export function formOf (schema: Rules | undefined, value: unknown): Rules | undefined {
  return schema?.anyOf === undefined ? schema : pickBranch(schema.anyOf, value)
}

/** What stands under `key` of a map; `name` is what the map itself stands under. */
export function within ({ schema, isSecret }: Known, map: unknown, key: string, name: string): Known {
  const form = formOf(schema, map)
  const declared = form?.properties !== undefined && Object.hasOwn(form.properties, key) ? form.properties[key] : undefined
  const found = declared ?? Object.entries(form?.patternProperties ?? {}).find(([pattern]) => new RegExp(pattern).test(key))?.[1]
  const isSecretName = declared === undefined ? !OF_NAMES.has(name) && SECRET_NAME.test(key) : SECRET_OPTION.test(key)
  return { schema: found, isSecret: isSecret || isSecretName || found?.secret === true }
}

/** What stands in a list. */
export function itemOf ({ schema, isSecret }: Known, list: unknown): Known {
  const items = formOf(schema, list)?.items
  return { schema: items, isSecret: isSecret || items?.secret === true }
}

/** `'5s'` and 5000 are the same time, and `'1kb'` and 1024 the same size. */
export function inUnits (schema: Rules | undefined, value: unknown): unknown {
  if (typeof value !== 'string') return value
  switch ((formOf(schema, value) as { readonly pattern?: string } | undefined)?.pattern) {
    case DURATION_PATTERN: return milliseconds(value)
    case SIZE_PATTERN: return byteCount(value)
    default: return value
  }
}
