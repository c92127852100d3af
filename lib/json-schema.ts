/**
 * The JSON Schema (draft-07) of a configuration file, for editors: made from the schemas of the options.
 *
 * What only code can say is left out; the keywords of ours become standard ones as far as those reach. What a schema cannot say
 * (names that must exist, regular expressions that must compile) is found by `reverseproxy check`.
 */
import type { Rules } from './options/branches.ts'
import type { CheckName } from './options/rules.ts'
import { fileSchema } from './options/schema/server.ts'

type Json = Record<string, unknown>

export const SCHEMA_ID = 'urn:fastify-reverseproxy:config'

/** As much of a rule of `options/rules.ts` as a pattern can say. */
const PATTERNS: Partial<Record<CheckName, string>> = {
  targetUrl: '^(https?|unix)://',
  httpProxyUrl: '^http://',
  routePath: '^/',
  prefix: '^/',
  template: '^/',
  partPath: '^/',
  partName: '^(?!(?:request|items?|constructor|prototype)$)[A-Za-z_$][\\w$-]*$',
  method: '^[A-Z-]+$',
  retryMethod: '^[^\\sa-z]+$',
  healthPath: '^/',
  statusRange: '^[1-5](\\d\\d-[1-5]\\d\\d|xx)$',
  tenantHost: '\\{tenant\\}',
  fixedPath: '^/[^:*?]*$',
  adminPrefix: '^/[^:*?]*[^:*?/]$',
  bearerToken: '^[!-~]+$',
  metricPrefix: '^([a-zA-Z_:][a-zA-Z0-9_:]*)?$',
  dnsName: '^[A-Za-z0-9_.-]+$',
  consulAddress: '^(https?|unix)://',
  portText: '^\\d{1,5}$',
  filled: '\\S'
}

/** A value that the environment fills in may stand for everything. */
const ENVIRONMENT = { $ref: '#/definitions/environment' }

/** The schema as a plain object of its own. */
export function configFileSchema (): Json {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: SCHEMA_ID,
    definitions: {
      // eslint-disable-next-line no-template-curly-in-string
      environment: { type: 'string', pattern: '\\$\\{[A-Za-z_]\\w*(:-[^}]*)?\\}', description: 'A value out of the environment: ${NAME}, or ${NAME:-default}.' }
    },
    ...convert(fileSchema)
  }
}

function convert (schema: Rules): Json {
  if (schema.anyOf !== undefined) return convertUnion(schema, schema.anyOf)
  if (schema.type === 'object') return convertObject(schema)
  if (schema.type === 'array') return { ...plain(schema), type: 'array', ...(schema.items === undefined ? undefined : { items: convert(schema.items) }) }
  const leaf = convertLeaf(schema)
  const { description, default: initial, examples, ...rest } = leaf
  if (!isNarrow(leaf)) return leaf
  return { ...defined({ description, default: initial, examples }), anyOf: [rest, ENVIRONMENT] }
}

function convertUnion (schema: Rules, branches: readonly Rules[]): Json {
  const flat = branches.flatMap(branch => branch.anyOf ?? [branch]).filter(branch => branch.code === undefined)
  const converted = flat.map(branch => branch.type === 'object' || branch.type === 'array' ? convert(branch) : convertLeaf(branch))
  const environment = flat.some((branch, index) => branch.type !== 'object' && branch.type !== 'array' && isNarrow(converted[index] ?? {}))
  const [only] = converted
  if (converted.length === 1 && only !== undefined && !environment) return { ...only, ...plain(schema) }
  return { ...plain(schema), anyOf: environment ? [...converted, ENVIRONMENT] : converted }
}

function convertObject (schema: Rules): Json {
  const { properties, patternProperties, required, additionalProperties, exactlyOne, together, names } = schema
  const pattern = names === undefined ? undefined : PATTERNS[names]
  return {
    ...plain(schema),
    type: 'object',
    ...(properties === undefined ? undefined : { properties: convertAll(properties) }),
    ...(patternProperties === undefined ? undefined : { patternProperties: convertAll(patternProperties) }),
    ...(pattern === undefined ? undefined : { propertyNames: { pattern } }),
    ...defined({ required, additionalProperties }),
    ...(exactlyOne === undefined ? undefined : { oneOf: exactlyOne.map(name => ({ required: [name] })) }),
    ...(together === undefined ? undefined : { dependencies: Object.fromEntries(together.map(name => [name, together.filter(other => other !== name)])) })
  }
}

/** Without the properties that only code can have. */
function convertAll (schemas: Readonly<Record<string, Rules>>): Json {
  const declarative = Object.entries(schemas).filter(([, schema]) => schema.code === undefined)
  return Object.fromEntries(declarative.map(([name, schema]) => [name, convert(schema)]))
}

function convertLeaf (schema: Rules): Json {
  const pattern = schema.check === undefined ? undefined : PATTERNS[schema.check]
  return { ...defined({ pattern }), ...plain(schema) }
}

/** Whether a text of the environment would be refused by the schema as it is. */
function isNarrow (leaf: Json): boolean {
  if (leaf['type'] === undefined && leaf['const'] === undefined) return false
  return leaf['type'] !== 'string' || 'pattern' in leaf || 'enum' in leaf
}

const OURS = new Set(['check', 'names', 'rule', 'code', 'exactlyOne', 'together', 'hints', 'secret', 'json'])
const CONVERTED = new Set(['anyOf', 'items', 'properties', 'patternProperties', 'required', 'additionalProperties'])

/** The keywords that stay as they are. TypeBox's own are symbols, which `Object.entries` does not see. */
function plain (schema: Rules): Json {
  return structuredClone(Object.fromEntries(Object.entries(schema).filter(([keyword]) => !OURS.has(keyword) && !CONVERTED.has(keyword))))
}

function defined (entries: Json): Json {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined))
}
