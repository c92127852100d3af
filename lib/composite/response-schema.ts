/**
 * The schema of a composite's answer, out of the schemas of its parts: for the route's documentation (OpenAPI), and to find at
 * boot that two parts collide.
 *
 * It must never promise what an answer may lack: a property is required only where its part cannot be left out. What cannot be
 * followed (references, combinations, objects without named properties) gives no schema at all rather than a wrong one.
 */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from '../options/copy.ts'
import { placesOf } from './references.ts'
import type { Place } from './references.ts'
import type { CompositeConfig, Conflict, PartConfig, PartState, ShapeConfig } from './types.ts'

/** Plain JSON Schema of our own; never the user's object. */
type Schema = Readonly<Record<string, unknown>>

/** A schema, and whether its value is there in every answer. */
interface Presence {
  readonly schema: Schema
  readonly certain: boolean
}

interface Contribution extends Presence {
  readonly name: string
  /** Whether null may take its place, because there is nothing at `target`. */
  readonly nullable: boolean
}

export interface ResponseSchema {
  readonly schema: object
  /** Their paths begin at the composite: `parts.orders`. */
  readonly problems: OptionProblem[]
}

/** undefined: not known. */
export function deriveResponseSchema (config: CompositeConfig): ResponseSchema | undefined {
  if (config.transform !== undefined) return undefined
  const problems: OptionProblem[] = []
  const schema = answerOf(config, problems)
  return schema === undefined ? undefined : { schema, problems }
}

function answerOf (config: CompositeConfig, problems: OptionProblem[]): Schema | undefined {
  const { parts, strategy } = config
  if (strategy === 'sequential') return lastOf(parts)
  const contributions = all(parts.map(part => contributionOf(part, parts)))
  if (contributions === undefined) return undefined
  switch (strategy) {
    case 'object': return withMeta(objectOf(contributions.map(part => [part.name, { ...part, schema: valueOf(part) }])), config)
    case 'merge': return withMeta(mergeOf(contributions, config, problems), config)
    case 'append': return appendOf(contributions, config)
    case 'select': return anyOf(contributions.map(valueOf))
    default: return undefined
  }
}

// ---- a part

function contributionOf (part: PartConfig, parts: readonly PartConfig[]): Contribution | undefined {
  const { name, schema: own, forEach, shape, onEmpty, fallback } = part
  // What join gives depends on the list it joins to, and a batch's answers on the batches.
  if (own === undefined || forEach?.join !== undefined || forEach?.batch !== undefined || !isClosed(own)) return undefined
  const found = forEach === undefined ? shapeOf(withFallback(bodyOf(part, own), part), shape) : listOf(part, own)
  if (found === undefined) return undefined
  return {
    name,
    schema: found.schema,
    certain: isCertain(part, parts) && (found.certain || onEmpty === 'allow' || (onEmpty === 'fail' && fallback === undefined)),
    nullable: !found.certain && onEmpty === 'allow'
  }
}

function bodyOf ({ nonJson }: PartConfig, schema: object): Schema {
  const body = copyOf(schema)
  return nonJson === 'text' || nonJson === 'base64' ? { anyOf: [body, { type: 'string' }] } : body
}

/** Each result is shaped by itself, the list is grouped. Where a call gave nothing there is null. */
function listOf (part: PartConfig, schema: object): Presence | undefined {
  const { shape, required, fallback, onEmpty, nonJson } = part
  const found = shapeOf(bodyOf(part, schema), { ...shape, group: undefined })
  // A fallback stands for the list, and is shaped as one.
  if (found === undefined || (fallback !== undefined && shape.target !== undefined)) return undefined
  const isWhole = required && onEmpty !== 'skip' && nonJson !== 'skip' && (found.certain || onEmpty === 'fail')
  const list = withFallback({ type: 'array', items: isWhole ? found.schema : anyOf([found.schema, { type: 'null' }]) }, part)
  return { schema: grouped(list, shape.group), certain: true }
}

/** What stands in the answer for the part's body. */
function valueOf ({ schema, nullable }: Contribution): Schema {
  return nullable ? anyOf([schema, { type: 'null' }]) : schema
}

/** Whether every answer that is sent has something of this part. */
function isCertain (part: PartConfig, parts: readonly PartConfig[]): boolean {
  const { required, fallback, onEmpty, onMissing, needs } = part
  // A fallback of null is held to onEmpty as a body is.
  if (!required && (fallback === undefined || (fallback.value === null && onEmpty === 'fail'))) return false
  // Without a fallback it is skipped when a needed part failed, too.
  return isNeverSkipped(part, parts) && (fallback !== undefined || onMissing === 'fail' || needs.length === 0)
}

function isNeverSkipped (part: PartConfig, parts: readonly PartConfig[], trail: readonly string[] = []): boolean {
  if (part.when !== undefined || part.onEmpty === 'skip' || part.nonJson === 'skip') return false
  if (part.onMissing === 'fail') return true
  if (trail.includes(part.name) || part.forEach !== undefined || placesOf(part).some(mayBeMissing)) return false
  return part.needs.every(need => parts.some(other => other.name === need && isNeverSkipped(other, parts, [...trail, part.name])))
}

/** Parameters of the client's query and headers leave their place empty in a query or a header; everything else skips the part. */
function mayBeMissing ({ option, text, parse }: Place): boolean {
  const isOptional = option.startsWith('query') || option.startsWith('headers')
  return parse(text).some(piece => piece.kind === 'reference' &&
    !(isOptional && piece.reference.root === 'request' && (piece.reference.field === 'query' || piece.reference.field === 'headers')))
}

/** A fallback may be of another kind than the body, or have less in it. */
function withFallback (schema: Schema, { fallback }: PartConfig): Schema {
  const types = [schema['type']].flat()
  if (fallback === undefined || types[0] === undefined) return schema
  const { value } = fallback
  const type = typeOf(value)
  if (!types.includes(type) && !(Number.isInteger(value) && types.includes('integer'))) return { anyOf: [schema, { type }] }
  if (!isRecord(value) || !Array.isArray(schema['required'])) return schema
  return { ...schema, required: schema['required'].filter((key: string) => Object.hasOwn(value, key)) }
}

function typeOf (value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
}

// ---- strategies

function objectOf (entries: ReadonlyArray<readonly [key: string, value: Presence]>): Schema {
  const required = entries.filter(([, { certain }]) => certain).map(([key]) => key)
  return {
    type: 'object',
    properties: Object.fromEntries(entries.map(([key, { schema }]) => [key, schema])),
    ...(required.length > 0 ? { required } : undefined)
  }
}

function mergeOf (contributions: readonly Contribution[], { conflict, onMismatch }: CompositeConfig, problems: OptionProblem[]): Schema | undefined {
  const objects = all(contributions.flatMap((contribution): Array<Contribution | undefined> => {
    const part = contribution.nullable ? { ...contribution, certain: false } : contribution
    if (isObject(part.schema)) return [part]
    if (!isNeverObject(part.schema) || onMismatch === 'fail') return [undefined]
    return onMismatch === 'skip' ? [] : [{ ...part, schema: grouped(part.schema, part.name) }]
  }))
  if (objects === undefined || objects.length === 0) return undefined
  if (conflict === 'error') problems.push(...collisions(objects))
  return join(objects, conflict)
}

/** Two parts with one property, where that is an error: no request could ever succeed. */
function collisions (objects: readonly Contribution[]): OptionProblem[] {
  const owner = new Map<string, string>()
  return objects.flatMap(({ name, schema }) => Object.keys(propertiesOf(schema)).flatMap((key) => {
    const first = owner.get(key)
    if (first === undefined) owner.set(key, name)
    return first === undefined ? [] : [{ path: `parts.${name}`, rule: `must not have the property ${JSON.stringify(key)}, which the part "${first}" has too (conflict is "error"): omit, rename or group one of them` }]
  }))
}

/** Objects with all of their properties become one. */
function join (objects: readonly Presence[], conflict: Conflict): Schema | undefined {
  const candidates = new Map<string, Presence[]>()
  for (const { schema, certain } of objects) {
    for (const [key, property] of Object.entries(propertiesOf(schema))) {
      const found = { schema: property, certain: certain && requiredOf(schema).includes(key) }
      const others = candidates.get(key)
      if (others === undefined) candidates.set(key, [found])
      else others.push(found)
    }
  }
  const entries = all([...candidates].map(([key, found]) => {
    const schema = resolve(found, conflict)
    return schema === undefined ? undefined : [key, { schema, certain: found.some(({ certain }) => certain) }] as const
  }))
  if (entries === undefined) return undefined
  const isOpen = objects.some(({ schema }) => (schema['additionalProperties'] ?? false) !== false)
  return { ...objectOf(entries), ...(isOpen ? { additionalProperties: true } : undefined) }
}

/** What a property of several objects is. An optional winner leaves its place to the next one. */
function resolve (candidates: readonly Presence[], conflict: Conflict): Schema | undefined {
  if (candidates.length === 1) return candidates[0]?.schema
  switch (conflict) {
    case 'first': return winnerOf(candidates)
    case 'last': return winnerOf(candidates.toReversed())
    case 'error': return anyOf(candidates.map(({ schema }) => schema))
    case 'deep': {
      if (candidates.every(({ schema }) => isObject(schema))) return join(candidates, 'deep')
      // Only objects become one: a last value that is none wins.
      const last = candidates.at(-1)
      if (last !== undefined && last.certain && isNeverObject(last.schema)) return last.schema
      return candidates.every(({ schema }) => isNeverObject(schema)) ? winnerOf(candidates.toReversed()) : undefined
    }
  }
}

/** The first that is there. */
function winnerOf (candidates: readonly Presence[]): Schema {
  const end = candidates.findIndex(({ certain }) => certain)
  return anyOf(candidates.slice(0, end < 0 ? undefined : end + 1).map(({ schema }) => schema))
}

function appendOf (contributions: readonly Contribution[], { onMismatch }: CompositeConfig): Schema | undefined {
  const items = all(contributions.flatMap(({ schema }): Array<Schema | undefined> => {
    if (isList(schema)) return [itemsOf(schema)]
    if (!isNeverList(schema) || onMismatch === 'fail') return [undefined]
    return onMismatch === 'skip' ? [] : [schema]
  }))
  return items === undefined || items.length === 0 ? undefined : { type: 'array', items: anyOf(items) }
}

/** The last answer: an earlier one where later parts may have none. */
function lastOf (parts: readonly PartConfig[]): Schema | undefined {
  const found: Schema[] = []
  for (const part of parts.toReversed()) {
    const contribution = contributionOf(part, parts)
    if (contribution === undefined) return undefined
    found.push(valueOf(contribution))
    if (contribution.certain) break
  }
  return found.length === 0 ? undefined : anyOf(found)
}

function anyOf (schemas: readonly Schema[]): Schema {
  const different = [...new Map(schemas.map(schema => [JSON.stringify(schema), schema])).values()]
  return different.length === 1 && different[0] !== undefined ? different[0] : { anyOf: different }
}

// ---- _meta

const STATES: readonly PartState[] = ['ok', 'failed', 'fallback', 'partial', 'skipped', 'empty']

function withMeta (schema: Schema | undefined, { meta }: CompositeConfig): Schema | undefined {
  if (schema === undefined || !meta) return schema
  return {
    ...schema,
    properties: { ...propertiesOf(schema), _meta: metaSchema() },
    required: [...requiredOf(schema).filter(key => key !== '_meta'), '_meta']
  }
}

function metaSchema (): Schema {
  return {
    type: 'object',
    description: 'How complete the answer is.',
    properties: {
      complete: { type: 'boolean', description: 'Whether every part is as its backend sent it.' },
      parts: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            name: { type: 'string' },
            state: { type: 'string', enum: [...STATES] },
            status: { type: 'integer', description: 'What the backend answered.' },
            code: { type: 'string', description: 'What went wrong.' },
            ms: { type: 'number', description: 'From the part\'s start to its end.' }
          },
          required: ['name', 'state']
        }
      }
    },
    required: ['complete', 'parts']
  }
}

// ---- shaping, as lib/combine/shape.ts does it to values

/** Not certain: there may be nothing at the target. */
function shapeOf (body: Schema, { target, pick, omit, rename, group }: ShapeConfig): Presence | undefined {
  const found = target === undefined ? { schema: body, certain: true } : targetOf(body, target.split('.'))
  if (found === undefined) return undefined
  let schema: Schema | undefined = found.schema
  if (pick !== undefined) schema = picked(schema, pick)
  if (schema !== undefined && omit !== undefined) schema = omitted(schema, omit)
  if (schema !== undefined && rename !== undefined) schema = renamed(schema, Object.entries(rename))
  if (schema === undefined) return undefined
  return { schema: grouped(schema, group), certain: found.certain }
}

function grouped (schema: Schema, group: string | undefined): Schema {
  return group === undefined ? schema : objectOf([[group, { schema, certain: true }]])
}

function targetOf (from: Schema, path: readonly string[]): Presence | undefined {
  let schema = from
  let certain = true
  for (const step of path) {
    const inner = isObject(schema) ? propertyOf(schema, step) : isList(schema) && /^\d+$/.test(step) ? itemsOf(schema) : undefined
    if (inner === undefined) return undefined
    certain &&= isObject(schema) && requiredOf(schema).includes(step)
    schema = inner
  }
  return { schema, certain }
}

/** What is to happen at a property: to it, and to what is below it. */
interface Branch<Leaf> {
  leaf: Leaf | undefined
  readonly below: Array<readonly [path: string, leaf: Leaf]>
}

function branchesOf<Leaf> (leaves: ReadonlyArray<readonly [path: string, leaf: Leaf]>): Map<string, Branch<Leaf>> {
  const branches = new Map<string, Branch<Leaf>>()
  for (const [path, leaf] of leaves) {
    const dot = path.indexOf('.')
    const key = dot < 0 ? path : path.slice(0, dot)
    const branch = branches.get(key) ?? { leaf: undefined, below: [] }
    if (dot < 0) branch.leaf = leaf
    else branch.below.push([path.slice(dot + 1), leaf])
    branches.set(key, branch)
  }
  return branches
}

/** Objects are changed, lists item by item, the rest stays. */
function along (schema: Schema, change: (object: Schema) => Schema | undefined): Schema | undefined {
  if (isObject(schema)) return change(schema)
  if (!isList(schema)) return isNeverObject(schema) && isNeverList(schema) ? schema : undefined
  const items = along(itemsOf(schema), change)
  // Items that were different may now be the same.
  const { uniqueItems, ...rest } = schema
  return items === undefined ? undefined : { ...rest, items }
}

function picked (schema: Schema, paths: readonly string[]): Schema | undefined {
  const branches = branchesOf(paths.map(path => [path, true]))
  return along(schema, (object) => {
    // A property that the schema does not name may be there all the same, and be anything.
    if ([...branches.keys()].some(key => propertyOf(object, key) === undefined)) return undefined
    const entries = entriesOf(object).flatMap(([key, { schema, certain }]): Array<Entry | undefined> => {
      const branch = branches.get(key)
      if (branch === undefined) return []
      return [entry(key, branch.leaf === true ? schema : picked(schema, branch.below.map(([path]) => path)), certain)]
    })
    const { additionalProperties, ...about } = aboutOf(object)
    return changed(additionalProperties === false ? { ...about, additionalProperties } : about, entries)
  })
}

function omitted (schema: Schema, paths: readonly string[]): Schema | undefined {
  const branches = branchesOf(paths.map(path => [path, true]))
  return along(schema, object => changed(aboutOf(object), entriesOf(object).flatMap(([key, { schema, certain }]): Array<Entry | undefined> => {
    const branch = branches.get(key)
    if (branch?.leaf === true) return []
    return [entry(key, branch === undefined ? schema : omitted(schema, branch.below.map(([path]) => path)), certain)]
  })))
}

/** All at once, by the names as they were. What is renamed replaces what had the name, if it is there. */
function renamed (schema: Schema, names: ReadonlyArray<readonly [path: string, to: string]>): Schema | undefined {
  const branches = branchesOf(names)
  return along(schema, (object) => {
    const found = new Map<string, { readonly moved: Presence[], readonly stayed: Presence[] }>()
    for (const [key, { schema, certain }] of entriesOf(object)) {
      const branch = branches.get(key)
      const inner = branch === undefined || branch.below.length === 0 ? schema : renamed(schema, branch.below)
      if (inner === undefined) return undefined
      const name = branch?.leaf ?? key
      const place = found.get(name) ?? { moved: [], stayed: [] }
      place[name === key ? 'stayed' : 'moved'].push({ schema: inner, certain })
      found.set(name, place)
    }
    return changed(aboutOf(object), [...found].map(([name, { moved, stayed }]) => {
      const isMoved = moved.some(({ certain }) => certain)
      const candidates = isMoved ? moved : [...moved, ...stayed]
      return entry(name, anyOf(candidates.map(({ schema }) => schema)), candidates.some(({ certain }) => certain))
    }))
  })
}

// ---- reading schemas

type Entry = readonly [key: string, value: Presence]

function entry (key: string, schema: Schema | undefined, certain: boolean): Entry | undefined {
  return schema === undefined ? undefined : [key, { schema, certain }]
}

function entriesOf (object: Schema): Entry[] {
  const required = requiredOf(object)
  return Object.entries(propertiesOf(object)).map(([key, schema]) => [key, { schema, certain: required.includes(key) }])
}

function changed (about: Schema, entries: ReadonlyArray<Entry | undefined>): Schema | undefined {
  const known = all(entries)
  return known === undefined ? undefined : { ...objectOf(known), ...about }
}

/** What holds of an object whatever its properties are: not its examples, nor how many it has. */
function aboutOf (object: Schema): Schema {
  const kept = ['title', 'description', 'deprecated', 'additionalProperties']
  return Object.fromEntries(Object.entries(object).filter(([key]) => kept.includes(key)))
}

/** Keywords that may say more about the properties than `properties` does. */
const COMBINING = ['allOf', 'anyOf', 'oneOf', 'not', 'if', 'patternProperties', 'dependentSchemas', 'dependencies', 'const', 'enum']

/** An object whose properties are all that is to be known of it. */
function isObject (schema: Schema): boolean {
  return isRecord(schema['properties']) && Object.values(schema['properties']).every(isRecord) &&
    (schema['type'] ?? 'object') === 'object' && !COMBINING.some(key => key in schema)
}

function propertiesOf (object: Schema): Readonly<Record<string, Schema>> {
  return object['properties'] as Record<string, Schema>
}

function propertyOf (object: Schema, key: string): Schema | undefined {
  const properties = propertiesOf(object)
  return Object.hasOwn(properties, key) ? properties[key] : undefined
}

function requiredOf (object: Schema): readonly string[] {
  return Array.isArray(object['required']) ? object['required'] : []
}

/** A list whose items are all of one schema. */
function isList (schema: Schema): boolean {
  return schema['type'] === 'array' && isRecord(schema['items']) && !['prefixItems', 'contains', ...COMBINING].some(key => key in schema)
}

function itemsOf (list: Schema): Schema {
  return list['items'] as Schema
}

function isNeverObject (schema: Schema): boolean {
  return isNever(schema, 'object')
}

function isNeverList (schema: Schema): boolean {
  return isNever(schema, 'array')
}

function isNever (schema: Schema, type: string): boolean {
  return schema['type'] !== undefined && ![schema['type']].flat().includes(type)
}

// ---- copying schemas

const SCHEMAS = ['items', 'prefixItems', 'additionalItems', 'additionalProperties', 'contains', 'propertyNames', 'allOf', 'anyOf', 'oneOf', 'not', 'if', 'then', 'else', 'unevaluatedItems', 'unevaluatedProperties']
const SCHEMAS_BY_NAME = ['properties', 'patternProperties', 'dependentSchemas', 'dependencies', '$defs', 'definitions']
const REFERENCES = ['$ref', '$dynamicRef', '$recursiveRef']
/** They name a schema within its document, which the answer's schema is not. */
const NAMES = ['$id', '$schema', '$anchor', '$dynamicAnchor', '$recursiveAnchor']

/** Whether it says by itself what it means. */
function isClosed (schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.every(isClosed)
  if (!isRecord(schema)) return true
  return !REFERENCES.some(key => key in schema) && Object.entries(schema).every(([key, value]) =>
    SCHEMAS.includes(key) ? isClosed(value) : !SCHEMAS_BY_NAME.includes(key) || !isRecord(value) || Object.values(value).every(isClosed))
}

/** Without symbols (TypeBox) and without names: two routes may use the same schema. */
function copyOf (schema: object): Schema {
  const copied: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(schema)) {
    if (NAMES.includes(key)) continue
    const copy = SCHEMAS.includes(key) ? copyOfAny(value) : SCHEMAS_BY_NAME.includes(key) && isRecord(value) ? copiesOf(value) : copyOfData(value)
    if (copy !== undefined) copied[key] = copy
  }
  return copied
}

function copyOfAny (value: unknown): unknown {
  return Array.isArray(value) ? value.map(copyOfAny) : isRecord(value) ? copyOf(value) : copyOfData(value)
}

function copiesOf (schemas: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, copyOfAny(schema)]))
}

function copyOfData (value: unknown): unknown {
  const text = JSON.stringify(value)
  return text === undefined ? undefined : JSON.parse(text) as unknown
}

/** All of them, or undefined where one is not known. */
function all<Value> (values: ReadonlyArray<Value | undefined>): Value[] | undefined {
  return values.includes(undefined) ? undefined : values as Value[]
}
