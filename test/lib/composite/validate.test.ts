/** Bodies against schemas: what is said about wrong ones, and what must not happen to any. */
import t from 'tap'
import { Type } from '@sinclair/typebox'
import { createValidators } from '../../../lib/composite/validate.ts'

const list = Type.Object({ items: Type.Array(Type.Object({ id: Type.Number(), email: Type.Optional(Type.String({ format: 'email' })) })) })

t.test('a body that fits is fine', async t => {
  const validate = createValidators()(list)
  t.equal(validate({ items: [{ id: 1, email: 'a@example.com' }], more: true }), undefined)
})

t.test('the message says where and what', async t => {
  const validate = createValidators()(list)
  t.equal(validate({ items: [{ id: '1' }] }), '/items/0/id must be number')
  t.equal(validate({ items: [{ id: 1, email: 'x' }] }), '/items/0/email must match format "email"')
  t.equal(validate({}), "must have required property 'items'")
  t.equal(validate(null), 'must be object')
  t.equal(validate(undefined), 'must be object')
})

t.test('the message names what is too much, and what is allowed', async t => {
  const createValidator = createValidators()
  t.equal(createValidator(Type.Object({}, { additionalProperties: false }))({ a: 1 }), 'must NOT have additional properties: a')
  t.equal(createValidator({ enum: ['a', 'b'] })('c'), 'must be equal to one of the allowed values: ["a","b"]')
})

t.test('the message is short, whatever the backend calls its properties', async t => {
  const validate = createValidators()(Type.Record(Type.String(), Type.Number()))
  t.equal(validate({ ['k'.repeat(10_000)]: 'x' })?.length, 300)
})

t.test('only the first of many errors is looked for', async t => {
  t.equal(createValidators()(Type.Array(Type.Number()))(['a', 'b']), '/0 must be number')
})

t.test('values are neither coerced nor completed nor shortened', async t => {
  const createValidator = createValidators()
  const validate = createValidator(Type.Object({ a: Type.Optional(Type.Number({ default: 1 })) }, { additionalProperties: true }))
  const value = { b: 1 }
  t.equal(validate(value), undefined)
  t.same(value, { b: 1 })
  t.equal(validate({ a: '1' }), '/a must be number')
  const closed = { b: 1 }
  createValidator(Type.Object({}, { additionalProperties: false }))(closed)
  t.same(closed, { b: 1 })
})

t.test('equal schemas are compiled once in a gateway, and apart in two', async t => {
  const createValidator = createValidators()
  const one = createValidator(Type.Object({ id: Type.Number() }))
  t.equal(createValidator(Type.Object({ id: Type.Number() })), one)
  t.not(createValidator(Type.Object({ id: Type.String() })), one)
  t.not(createValidators()(Type.Object({ id: Type.Number() })), one)
})

t.test('a schema is not changed, and changing it later changes nothing', async t => {
  const schema: Record<string, unknown> = { type: 'object', properties: { id: Object.freeze({ type: 'number' }) } }
  const before = structuredClone(schema)
  const validate = createValidators()(schema)
  t.same(schema, before)
  schema['properties'] = {}
  t.equal(validate({ id: 'x' }), '/id must be number')
})

t.test('frozen schemas will do', async t => {
  t.equal(createValidators()(Object.freeze({ type: 'number' }))('x'), 'must be number')
})

t.test('unknown keywords and formats are annotations', async t => {
  const validate = createValidators()({ type: 'string', format: 'isbn', 'x-owner': 'shop', discriminator: { propertyName: 'kind' } })
  t.equal(validate('1'), undefined)
  t.equal(validate(1), 'must be string')
})

t.test('schemas may refer to themselves and share an $id', async t => {
  const createValidator = createValidators()
  const tree = createValidator(Type.Recursive(node => Type.Object({ name: Type.String(), nodes: Type.Array(node) })))
  t.equal(tree({ name: 'a', nodes: [{ name: 'b', nodes: [] }] }), undefined)
  t.equal(tree({ name: 'a', nodes: [{ name: 1, nodes: [] }] }), '/nodes/0/name must be string')
  t.equal(createValidator(Type.Object({ a: Type.Number() }, { $id: 'User' }))({ a: 'x' }), '/a must be number')
  t.equal(createValidator(Type.Object({ a: Type.String() }, { $id: 'User' }))({ a: 'x' }), undefined)
  const nested = (type: string) => ({ type: 'object', properties: { a: { $id: 'Inner', type }, b: { $ref: 'Inner' } } })
  t.equal(createValidator(nested('number'))({ b: 'x' }), '/b must be number')
  t.equal(createValidator(nested('string'))({ b: 'x' }), undefined)
})

t.test('a schema that does not compile says why', async t => {
  const createValidator = createValidators()
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  t.throws(() => createValidator({ type: 'numbr' }), { message: /^the schema does not compile: schema is invalid: data\/type must be equal to one of the allowed values/ })
  t.throws(() => createValidator({ $ref: 'User#' }), { message: /^the schema does not compile: can't resolve reference User# from id #$/ })
  t.throws(() => createValidator({ type: 'string', pattern: '(' }), { message: /^the schema does not compile: / })
  t.throws(() => createValidator({ type: 'string', minLength: -1 }), { message: /^the schema does not compile: / })
  t.throws(() => createValidator({ $async: true, type: 'string' }), { message: /asynchronous/ })
  t.throws(() => createValidator({ $schema: 'https://json-schema.org/draft/2020-12/schema' }), { message: /only draft 7 is known/ })
  t.throws(() => createValidator(circular), { message: /^the schema is not JSON: / })
  t.throws(() => createValidator(Type.Date()), { message: /^the schema does not compile: / })
})

t.test('a schema that did not compile is refused again', async t => {
  const createValidator = createValidators()
  t.throws(() => createValidator({ type: 'numbr' }))
  t.throws(() => createValidator({ type: 'numbr' }))
})
