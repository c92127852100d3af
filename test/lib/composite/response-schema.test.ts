/** The schema of an answer, out of the schemas of its parts; and what must not be promised. */
import t from 'tap'
import { Type } from '@sinclair/typebox'
import { deriveResponseSchema } from '../../../lib/composite/response-schema.ts'
import { createValidators } from '../../../lib/composite/validate.ts'
import { parseComposite } from '../../../lib/options/index.ts'
import type { CompositeOptions, PartOptions } from '../../../lib/options/index.ts'

const user = Type.Object({ id: Type.Number(), name: Type.String({ description: 'In full.' }), boss: Type.Optional(Type.Object({ id: Type.Number() })) }, { description: 'Somebody.' })
const order = Type.Object({ number: Type.Integer(), lines: Type.Array(Type.Object({ sku: Type.String(), price: Type.Number() })) })
const userJson = plain(user)
const orderJson = plain(order)

function plain (schema: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(schema)) as Record<string, unknown>
}

function derive (parts: Record<string, PartOptions>, options: CompositeOptions = {}) {
  return deriveResponseSchema(parseComposite({ parts, ...options }, 'composite', { routePath: '/x/:id' }))
}

function schemaOf (parts: Record<string, PartOptions>, options: CompositeOptions = {}): unknown {
  const derived = derive(parts, options)
  t.same(derived?.problems ?? [], [])
  return derived?.schema
}

/** What the one part of an object answer becomes. */
function shaped (part: PartOptions): unknown {
  const schema = schemaOf({ part: { required: true, path: '/p', ...part } }) as { properties: { part: unknown } } | undefined
  return schema?.properties.part
}

t.test('object: a property for each part, required where the part cannot be left out', async t => {
  t.same(schemaOf({
    user: { path: '/u/:id', required: true, schema: user },
    orders: { path: '/o', query: { user: ':id', page: '{request.query.page}' }, schema: Type.Array(order), fallback: [] },
    boss: { path: '/b', schema: user }
  }), {
    type: 'object',
    properties: { user: userJson, orders: { type: 'array', items: orderJson }, boss: userJson },
    required: ['user', 'orders']
  })
})

t.test('a part that may be skipped is not required, whatever it says of failures', async t => {
  const ifAbsent = { schema: user, fallback: { id: 0, name: '' }, path: '/x' }
  const schema = schemaOf({
    user: { schema: user, required: true, path: '/u' },
    when: { ...ifAbsent, when: '{user.body.id}' },
    empty: { ...ifAbsent, onEmpty: 'skip' },
    text: { ...ifAbsent, nonJson: 'skip' },
    none: { ...ifAbsent, fallback: null, onEmpty: 'fail' },
    template: { ...ifAbsent, path: '/x/{user.body.boss.id}' },
    query: { ...ifAbsent, query: { id: '{user.body.boss.id}' } },
    unsure: { ...ifAbsent, needs: ['when'] },
    sure: { ...ifAbsent, needs: ['user'] },
    fails: { ...ifAbsent, path: '/x/{user.body.boss.id}', onMissing: 'fail' },
    required: { schema: user, required: true, path: '/x/{user.body.boss.id}' },
    lax: { schema: user, required: true, path: '/x', needs: ['user'], onMissing: 'skip' }
  }) as { required: string[] }
  t.same(schema.required, ['user', 'sure', 'fails', 'required'])
})

t.test('a fallback that is less than the body loosens the schema, and one of another kind widens it', async t => {
  t.same(shaped({ schema: user, required: false, fallback: { id: 0 } }), { ...userJson, required: ['id'] })
  t.same(shaped({ schema: user, required: false, fallback: null }), { anyOf: [userJson, { type: 'null' }] })
  t.same(shaped({ schema: Type.Integer(), required: false, fallback: 0 }), { type: 'integer' })
})

t.test('a body that is taken as a text may be one', async t => {
  t.same(shaped({ schema: user, nonJson: 'text' }), { anyOf: [userJson, { type: 'string' }] })
})

t.test('merge: the properties of all parts, required where they must be there', async t => {
  t.same(schemaOf({ user: { path: '/u', required: true, schema: user }, order: { path: '/o', schema: order } }, { strategy: 'merge' }), {
    type: 'object',
    properties: { ...userJson['properties'] as object, ...orderJson['properties'] as object },
    required: ['id', 'name']
  })
})

t.test('merge: a key of two parts is the winner\'s, and what comes after it where the winner may be absent', async t => {
  const parts = (required: boolean) => ({
    one: { path: '/1', required: true, schema: Type.Object({ a: Type.String() }) },
    two: { path: '/2', required, schema: Type.Object({ a: Type.Number() }) }
  })
  const merged = (a: object) => ({ type: 'object', properties: { a }, required: ['a'] })
  t.same(schemaOf(parts(true), { strategy: 'merge' }), merged({ type: 'number' }))
  t.same(schemaOf(parts(true), { strategy: 'merge', conflict: 'first' }), merged({ type: 'string' }))
  t.same(schemaOf(parts(false), { strategy: 'merge' }), merged({ anyOf: [{ type: 'number' }, { type: 'string' }] }))
  t.same(schemaOf(parts(false), { strategy: 'merge', conflict: 'first' }), merged({ type: 'string' }))
})

t.test('merge, deep: objects become one, other values are the last one\'s', async t => {
  const schema = (properties: object, required: string[]) => ({ type: 'object', properties, required })
  const text = { type: 'string' }
  const number = { type: 'number' }
  t.same(schemaOf({
    one: { path: '/1', required: true, schema: schema({ a: schema({ b: text, c: text }, ['b', 'c']), d: text }, ['a', 'd']) },
    two: { path: '/2', required: true, schema: schema({ a: schema({ c: number, e: number }, ['c', 'e']), d: number }, ['a', 'd']) }
  }, { strategy: 'merge', conflict: 'deep' }), schema({ a: schema({ b: text, c: number, e: number }, ['b', 'c', 'e']), d: number }, ['a', 'd']))
})

t.test('merge, deep: an object and something else is followed where the last value is certain', async t => {
  const parts = (required: boolean) => ({
    one: { path: '/1', required: true, schema: Type.Object({ a: Type.Object({}) }) },
    two: { path: '/2', required, schema: Type.Object({ a: Type.Number() }) }
  })
  t.same(schemaOf(parts(true), { strategy: 'merge', conflict: 'deep' }), { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] })
  t.equal(schemaOf(parts(false), { strategy: 'merge', conflict: 'deep' }), undefined)
})

t.test('merge: a collision that is an error is found at boot', async t => {
  const parts: Record<string, PartOptions> = { one: { path: '/1', schema: user }, two: { path: '/2', schema: user, pick: ['id'] } }
  t.same(derive(parts, { strategy: 'merge', conflict: 'error' })?.problems, [
    { path: 'parts.two', rule: 'must not have the property "id", which the part "one" has too (conflict is "error"): omit, rename or group one of them' }
  ])
  parts['two'] = { path: '/2', schema: user, pick: ['id'], rename: { id: 'key' } }
  t.same(derive(parts, { strategy: 'merge', conflict: 'error' })?.problems, [])
})

t.test('merge: what is no object follows onMismatch', async t => {
  const parts = { user: { path: '/u', required: true, schema: Type.Object({ id: Type.Number() }) }, tags: { path: '/t', required: true, schema: Type.Array(Type.String()) } }
  t.same(schemaOf(parts, { strategy: 'merge', onMismatch: 'wrap' }), {
    type: 'object', properties: { id: { type: 'number' }, tags: { type: 'array', items: { type: 'string' } } }, required: ['id', 'tags']
  })
  t.same(schemaOf(parts, { strategy: 'merge', onMismatch: 'skip' }), { type: 'object', properties: { id: { type: 'number' } }, required: ['id'] })
  t.equal(schemaOf(parts, { strategy: 'merge' }), undefined)
})

t.test('merge: an open part makes an open answer', async t => {
  const open = Type.Object({ id: Type.Number() }, { additionalProperties: true })
  t.same(schemaOf({ a: { path: '/a', schema: open }, b: { path: '/b', schema: Type.Object({ c: Type.String() }, { additionalProperties: false }) } }, { strategy: 'merge' }), {
    type: 'object', properties: { id: { type: 'number' }, c: { type: 'string' } }, additionalProperties: true
  })
})

t.test('append: a list of what any part has', async t => {
  const parts = { users: { path: '/u', schema: Type.Array(user) }, orders: { path: '/o', schema: Type.Array(order) }, more: { path: '/m', schema: Type.Array(user) } }
  t.same(schemaOf(parts, { strategy: 'append' }), { type: 'array', items: { anyOf: [userJson, orderJson] } })
  t.same(schemaOf({ users: parts.users }, { strategy: 'append' }), { type: 'array', items: userJson })
  t.same(schemaOf({ users: parts.users, one: { path: '/1', schema: order } }, { strategy: 'append', onMismatch: 'wrap' }), { type: 'array', items: { anyOf: [userJson, orderJson] } })
  t.equal(schemaOf({ users: parts.users, one: { path: '/1', schema: order } }, { strategy: 'append' }), undefined)
})

t.test('select: any of the parts', async t => {
  t.same(schemaOf({ a: { path: '/a', schema: user }, b: { path: '/b', schema: order } }, { strategy: 'select' }), { anyOf: [userJson, orderJson] })
  t.same(schemaOf({ a: { path: '/a', schema: user }, b: { path: '/b', schema: user } }, { strategy: 'select' }), userJson)
})

t.test('sequential: the last part, and those before it that may have the last word', async t => {
  const first: PartOptions = { path: '/1', required: true }
  t.same(schemaOf({ first, last: { path: '/2', required: true, schema: user } }, { strategy: 'sequential' }), userJson)
  t.same(schemaOf({ first: { ...first, schema: order }, last: { path: '/2', schema: user } }, { strategy: 'sequential' }), { anyOf: [userJson, orderJson] })
  t.equal(schemaOf({ first, last: { path: '/2', schema: user } }, { strategy: 'sequential' }), undefined)
})

t.test('target walks to an inner value, which is null where it is missing', async t => {
  t.same(shaped({ schema: order, target: 'lines' }), { type: 'array', items: { type: 'object', properties: { sku: { type: 'string' }, price: { type: 'number' } }, required: ['sku', 'price'] } })
  t.same(shaped({ schema: user, target: 'boss.id' }), { anyOf: [{ type: 'number' }, { type: 'null' }] })
  t.same(shaped({ schema: order, target: 'lines.0.sku' }), { anyOf: [{ type: 'string' }, { type: 'null' }] })
  t.same(schemaOf({ part: { path: '/p', required: true, schema: user, target: 'boss', onEmpty: 'skip' } }), { type: 'object', properties: { part: { type: 'object', properties: { id: { type: 'number' } }, required: ['id'] } } })
  t.equal(shaped({ schema: user, target: 'wife' }), undefined)
})

t.test('pick and omit go through objects and lists', async t => {
  const line = (properties: object, required: string[]) => ({ type: 'array', items: { type: 'object', properties, required } })
  t.same(shaped({ schema: order, pick: ['lines.sku'] }), { type: 'object', properties: { lines: line({ sku: { type: 'string' } }, ['sku']) }, required: ['lines'] })
  t.same(shaped({ schema: order, omit: ['number', 'lines.sku', 'other'] }), { type: 'object', properties: { lines: line({ price: { type: 'number' } }, ['price']) }, required: ['lines'] })
  t.same(shaped({ schema: Type.Array(user), pick: ['boss'] }), { type: 'array', items: { type: 'object', properties: { boss: { type: 'object', properties: { id: { type: 'number' } }, required: ['id'] } }, description: 'Somebody.' } })
  t.same(shaped({ schema: user, pick: ['name.first'] }), { type: 'object', properties: { name: { type: 'string', description: 'In full.' } }, required: ['name'], description: 'Somebody.' })
  t.equal(shaped({ schema: user, pick: ['wife'] }), undefined)
})

t.test('rename keeps what is required, and what is renamed replaces what had the name', async t => {
  t.same(shaped({ schema: order, pick: ['lines'], rename: { lines: 'entries', 'lines.sku': 'article' } }), {
    type: 'object',
    properties: { entries: { type: 'array', items: { type: 'object', properties: { article: { type: 'string' }, price: { type: 'number' } }, required: ['article', 'price'] } } },
    required: ['entries']
  })
  const three = Type.Object({ a: Type.String(), b: Type.Number(), c: Type.Optional(Type.Boolean()) })
  t.same(shaped({ schema: three, rename: { a: 'b', b: 'a' } }), { type: 'object', properties: { b: { type: 'string' }, a: { type: 'number' }, c: { type: 'boolean' } }, required: ['b', 'a'] })
  t.same(shaped({ schema: three, rename: { a: 'b' } }), { type: 'object', properties: { b: { type: 'string' }, c: { type: 'boolean' } }, required: ['b'] })
  t.same(shaped({ schema: three, rename: { c: 'b' } }), { type: 'object', properties: { a: { type: 'string' }, b: { anyOf: [{ type: 'boolean' }, { type: 'number' }] } }, required: ['a', 'b'] })
})

t.test('group wraps, after all else', async t => {
  t.same(shaped({ schema: user, target: 'boss', group: 'chief', onEmpty: 'fail' }), {
    type: 'object', properties: { chief: { type: 'object', properties: { id: { type: 'number' } }, required: ['id'] } }, required: ['chief']
  })
})

t.test('forEach: a list of shaped bodies, with null for calls that failed', async t => {
  const each: PartOptions = { path: '/p/{item}', forEach: '{request.body.ids}', schema: order, pick: ['number'], group: 'orders' }
  const picked = { type: 'object', properties: { number: { type: 'integer' } }, required: ['number'] }
  const grouped = (items: object) => ({ type: 'object', properties: { orders: { type: 'array', items } }, required: ['orders'] })
  t.same(schemaOf({ each: { ...each, required: true } }), { type: 'object', properties: { each: grouped(picked) }, required: ['each'] })
  t.same(schemaOf({ each }), { type: 'object', properties: { each: grouped({ anyOf: [picked, { type: 'null' }] }) } })
})

t.test('_meta comes on top of the parts', async t => {
  const parts = { user: { path: '/u', schema: Type.Array(user) } }
  const { properties, required } = schemaOf(parts, { meta: true }) as { properties: { _meta: Record<string, unknown> }, required: string[] }
  t.equal(properties._meta['type'], 'object')
  t.same(required, ['_meta'])
})

t.test('what cannot be followed gives no schema', async t => {
  const part = { path: '/p', schema: user }
  const none = (other: PartOptions, options: CompositeOptions = {}, name = 'none'): void => {
    t.equal(schemaOf({ part, other: { path: '/o', ...other } }, options), undefined, name)
  }
  none({}, {}, 'a part without a schema')
  none(part, { transform: () => 1 }, 'transform')
  none({ schema: Type.Recursive(node => Type.Object({ nodes: Type.Array(node) })) }, {}, 'a reference')
  none({ schema: { type: 'object', properties: { a: { $ref: 'User#' } } } }, {}, 'a reference within')
  none({ schema: Type.Record(Type.String(), Type.Number()) }, { strategy: 'merge' }, 'merge without named properties')
  none({ schema: Type.Intersect([user, order]) }, { strategy: 'merge' }, 'merge of a combination')
  none({ schema: Type.Record(Type.String(), Type.Number()), pick: ['a'] }, {}, 'pick without named properties')
  none({ schema: Type.Array(Type.Any()), target: 'a' }, {}, 'a target in a list')
  none({ schema: Type.Tuple([Type.Number()]) }, { strategy: 'append' }, 'a tuple')
  none({ schema: user, path: '/o/{item.x}', forEach: { in: '{part.body.list}', join: { on: 'x', as: 'y' } } }, {}, 'join')
  none({ schema: user, query: { ids: '{items}' }, forEach: { in: '{part.body.list}', batch: true } }, {}, 'batch')
})

t.test('schemas that are not followed inside stay as they are', async t => {
  const any = Type.Object({ map: Type.Record(Type.String(), user), either: Type.Union([user, order]), both: Type.Intersect([user, order]), properties: Type.Any() })
  t.same(shaped({ schema: any, omit: ['properties'] }), { type: 'object', properties: { map: plain(Type.Record(Type.String(), user)), either: { anyOf: [userJson, orderJson] }, both: { type: 'object', allOf: [userJson, orderJson] } }, required: ['map', 'either', 'both'] })
})

t.test('the users\' schemas are copied, without symbols and without names', async t => {
  const named = Object.freeze(Type.Object({ $id: Type.String(), inner: Type.Object({}, { $id: 'Inner' }), x: Type.Any({ default: { $ref: 1, $id: 2 } }) }, { $id: 'Outer', $schema: 'http://json-schema.org/draft-07/schema#' }))
  const before = plain(named)
  const config = parseComposite({ parts: { part: { path: '/p', required: true } } }, 'composite', {})
  const { schema } = deriveResponseSchema({ ...config, parts: config.parts.map(part => ({ ...part, schema: named })) }) as { schema: { properties: { part: typeof named } } }
  const copy = schema.properties.part
  t.same(plain(named), before)
  t.same(copy, { type: 'object', properties: { $id: { type: 'string' }, inner: { type: 'object', properties: {} }, x: { default: { $ref: 1, $id: 2 } } }, required: ['$id', 'inner', 'x'] })
  t.same(Object.getOwnPropertySymbols(copy), [])
  t.not(copy.properties.inner, named.properties.inner)
})

t.test('what it gives compiles', async t => {
  const schema = schemaOf({ user: { path: '/u', required: true, schema: user }, orders: { path: '/o', schema: Type.Array(order) } }, { meta: true })
  const validate = createValidators()(schema as object)
  t.equal(validate({ user: { id: 1, name: 'a' }, _meta: { complete: false, parts: [{ name: 'user', state: 'ok', status: 200, ms: 1.5 }, { name: 'orders', state: 'failed', code: 'RP_ERR_CONNECT', ms: 3 }] } }), undefined)
  t.equal(validate({ user: { id: 1 }, _meta: { complete: true, parts: [] } }), "/user must have required property 'name'")
})
