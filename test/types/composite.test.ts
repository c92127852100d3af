/** What the types of composites know of parts and bodies, and what they refuse: checked by tsc, run once so that the file counts. */
import t from 'tap'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { defineComposite } from '../../lib/composite/define.ts'
import type { CompositeOptions, PartOptions } from '../../lib/options/index.ts'
import type { PartState, Unchecked } from '../../lib/composite/types.ts'

const userSchema = Type.Object({ id: Type.Number(), name: Type.String(), bossId: Type.Optional(Type.Number()) })
type User = { id: number, name: string, bossId?: number }

/** Compiles when it is called with two equal types: `same<A, B>(true)`. */
function same<A, B> (equal: (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false): void {
  t.ok(equal)
}

t.test('the example of the documentation compiles, with its bodies typed', async t => {
  const composite: CompositeOptions = defineComposite({
    parts: {
      user: { backend: 'users', path: '/api/users/:id', required: true, schema: Type.Object({ id: Type.Number(), name: Type.String(), bossId: Type.Optional(Type.Number()) }) },
      orders: { backend: 'orders', path: '/orders', query: { user: ':id' }, fallback: { items: [] } },
      boss: { backend: 'users', needs: ['user'], when: ({ user }) => user.body.bossId != null, path: ({ user }) => `/api/users/${user.body.bossId}` }
    },
    strategy: 'object',
    transform: (parts, request) => {
      same<typeof parts.user.body, User>(true)
      same<typeof parts.user.state, PartState>(true)
      same<typeof request.id, string>(true)
      return { ...parts.user.body, orders: parts.orders.body.items, boss: parts.boss.body }
    }
  })
  t.same(Object.keys(composite.parts ?? {}), ['user', 'orders', 'boss'])
})

t.test('it hands back the very object', async t => {
  const options = { parts: { user: { backend: 'users' } } }
  t.equal(defineComposite(options), options)
})

t.test('a body may be missing where the part may be', async t => {
  const composite = defineComposite({
    parts: {
      required: { schema: userSchema, required: true },
      fallback: { schema: userSchema, fallback: { id: 1, name: 'nobody' } },
      other: { schema: userSchema, fallback: null },
      optional: { schema: userSchema },
      unchecked: {},
      conditional: { schema: userSchema, required: true, when: '{optional.body.id}' },
      skipped: { schema: userSchema, fallback: { id: 1, name: 'nobody' }, needs: ['conditional'] },
      certain: { schema: userSchema, fallback: { id: 1, name: 'nobody' }, needs: ['required'] },
      templated: { schema: userSchema, fallback: { id: 1, name: 'nobody' }, path: '/users/{optional.body.bossId}' },
      empty: { schema: userSchema, required: true, onEmpty: 'skip' },
      plain: { schema: { type: 'object' }, required: true }
    },
    transform: parts => {
      same<typeof parts.required.body, User>(true)
      same<typeof parts.fallback.body, User>(true)
      same<typeof parts.other.body, User | null>(true)
      same<typeof parts.optional.body, User | undefined>(true)
      same<typeof parts.unchecked.body, Unchecked>(true)
      same<typeof parts.conditional.body, User | undefined>(true)
      same<typeof parts.skipped.body, User | undefined>(true)
      same<typeof parts.certain.body, User>(true)
      same<typeof parts.templated.body, User | undefined>(true)
      same<typeof parts.empty.body, User | undefined>(true)
      same<typeof parts.plain.body, Unchecked>(true)
    }
  })
  t.ok(composite)
})

t.test('shaped bodies and lists of forEach are not followed', async t => {
  const composite = defineComposite({
    parts: {
      user: { schema: userSchema, required: true, pick: ['id'] },
      renamed: { schema: userSchema, required: true, rename: { id: 'key' }, needs: ['user'], when: ({ user }) => user.body.name },
      target: { schema: userSchema, required: true, target: 'name' },
      omitted: { schema: userSchema, required: true, omit: ['id'] },
      grouped: { schema: userSchema, required: true, group: 'user' },
      each: { schema: userSchema, required: true, needs: ['user'], forEach: ({ user }) => user.body.name.split(','), path: ({ item, user }) => `/${item.x}/${user.body.id}` },
      full: { schema: userSchema, required: true, needs: ['user'], forEach: { in: ({ user }) => [user.body.id], batch: true, max: 5 }, body: ({ items }) => ({ ids: items }) },
      text: { schema: userSchema, required: true, nonJson: 'text' },
      after: { needs: ['each'], path: ({ each }) => `/${each.body[0].id}` }
    },
    transform: parts => {
      same<typeof parts.user.body, Unchecked>(true)
      same<typeof parts.renamed.body, Unchecked>(true)
      same<typeof parts.target.body, Unchecked>(true)
      same<typeof parts.omitted.body, Unchecked>(true)
      same<typeof parts.grouped.body, Unchecked>(true)
      same<typeof parts.each.body, Unchecked>(true)
      same<typeof parts.full.body, Unchecked>(true)
      same<typeof parts.text.body, Unchecked>(true)
    }
  })
  t.ok(composite)
})

t.test('every function of a part sees the parts it needs', async t => {
  const composite = defineComposite({
    parts: {
      // declared after the part that reads it
      boss: {
        needs: ['user', 'plan'],
        path: ({ user }, request) => `${request.url}/${user.body.name.length}`,
        query: ({ user }) => ({ id: user.body.id, plan: [1, 2] }),
        headers: { set: { 'x-user': ({ user }) => user.body.name, 'x-plain': '{user.body.id}' }, remove: ['cookie'] },
        body: ({ plan }) => ({ plan: plan.body.anything }),
        when: ({ user, plan }) => user.status === 200 && plan.state === 'ok'
      },
      user: { schema: userSchema },
      plan: { backend: 'plans', when: [{ value: '{user.body.name}', in: ['a', 'b'] }, '{user.body.id}'], body: { a: [1, { b: 'x' }] } }
    }
  })
  t.ok(composite)
})

t.test('the short form knows its backends', async t => {
  const composite = defineComposite({
    backends: ['users', 'orders'],
    headers: { from: 'users', setCookie: 'orders', vary: 'none', response: { set: { 'x-a': request => request.id }, remove: ['server'] } },
    // @ts-expect-error no such backend
    transform: ({ users, orders, other }) => [users.body, orders.state, other]
  })
  t.ok(composite)
})

t.test('options without functions may be anything their types allow', async t => {
  const names: string[] = ['id']
  const composite: CompositeOptions = defineComposite({
    parts: {
      a: { pick: names, omit: ['x'], rename: { a: 'b' }, timeout: { total: '1s' }, redirects: { follow: 2 }, forEach: '{request.body.ids}', query: 'client', method: 'POST', body: 'client', maxBytes: '1kb' },
      b: { forEach: { in: '{a.body}', concurrency: 2, batch: 10, join: { on: 'id', as: 'b' } }, body: Buffer.from('x'), onMissing: 'fail' }
    },
    strategy: 'merge',
    conflict: 'deep',
    race: false,
    timeout: '5s',
    partialStatus: 206,
    meta: true,
    headers: { request: { forward: ['accept'], remove: ['cookie'] } },
    errorHandler: (error, request, reply) => reply.code(500).send({ error: error.message, id: request.id })
  })
  t.ok(composite)
})

t.test('mistakes are refused by the compiler', async t => {
  const one = defineComposite({
    parts: {
      user: { schema: userSchema, required: true },
      optional: { schema: userSchema },
      // @ts-expect-error a part that is not there
      a: { needs: ['usr'] },
      // @ts-expect-error itself
      b: { needs: ['b'] },
      // @ts-expect-error a property that the schema does not have
      c: { needs: ['user'], when: ({ user }) => user.body.bos },
      // @ts-expect-error a part that is not needed
      d: { needs: ['user'], when: ({ optional }) => optional.body.id },
      // @ts-expect-error a part that is not needed, by a part that needs none
      e: { path: ({ user }) => `/${user.body.id}` },
      // @ts-expect-error no such option
      f: { requird: true, when: () => true },
      // @ts-expect-error a path is a text
      g: { path: () => 1 },
      // @ts-expect-error neither true nor false
      h: { required: 'yes' },
      // @ts-expect-error not within forEach
      i: { path: ({ item }) => `/${item}` },
      // @ts-expect-error not within forEach, but before it
      j: { forEach: ({ item }) => item },
      // @ts-expect-error no such policy
      k: { onEmpty: 'maybe' }
    },
    transform: parts => [
      // @ts-expect-error a part that is not there
      parts.usr,
      // @ts-expect-error a property that the schema does not have
      parts.user.body.nam,
      // @ts-expect-error of another type
      parts.user.body.name * 2,
      // @ts-expect-error it may have failed
      parts.optional.body.name,
      // @ts-expect-error no such fact
      parts.user.code
    ]
  })
  // @ts-expect-error no such strategy option
  const two = defineComposite({ parts: { user: {} }, conflicts: 'last' })
  // @ts-expect-error no such policy
  const three = defineComposite({ parts: { user: {} }, conflict: 'newest' })
  // @ts-expect-error no such part
  const four = defineComposite({ parts: { user: {} }, headers: { from: 'usr' } })
  // @ts-expect-error neither a part nor a policy
  const five = defineComposite({ backends: ['users'], headers: { setCookie: 'usrs' } })
  t.ok([one, two, three, four, five])
})

t.test('the plain form needs no types', async t => {
  const plain: CompositeOptions = {
    parts: {
      user: { backend: 'users', path: '/api/users/:id', required: true },
      orders: { backend: 'orders', path: '/orders', query: { user: ':id', limit: 5 }, pick: ['items'], fallback: { items: [] } },
      boss: { backend: 'users', needs: ['user'], when: ({ user }) => user.body.bossId != null, path: ({ user }) => `/api/users/${user.body.bossId}` }
    },
    strategy: 'object',
    transform: (parts, request) => ({ ...parts.user.body, orders: parts.orders.body.items, boss: parts.boss?.body, id: request.id })
  }
  t.ok(plain)
})

t.test('routes, the API and replies take both forms', async t => {
  const typed = defineComposite({ parts: { user: { schema: userSchema, required: true } }, transform: ({ user }) => user.body.name })
  function declare (app: FastifyInstance): void {
    app.get('/typed', { composite: typed }, app.reverseproxy.handler)
    app.get('/plain', {
      composite: {
        parts: {
          user: { backend: 'users', path: '/api/users/:id', required: true },
          boss: { backend: 'users', needs: ['user'], when: ({ user }) => user.body.bossId != null, path: ({ user }) => `/api/users/${user.body.bossId}` }
        },
        transform: (parts, request) => ({ ...parts.user.body, boss: parts.boss?.body, id: request.id })
      }
    }, app.reverseproxy.handler)
    app.get('/inline', { composite: defineComposite({ parts: { user: { schema: userSchema } }, transform: ({ user }) => user.body?.name }) }, app.reverseproxy.handler)
    app.reverseproxy.composite.add('GET', '/added', typed)
    app.reverseproxy.composite.add('GET', '/plain-added', { parts: { user: { path: '/u' } }, transform: parts => parts.user.body.id })
    app.get<{ Params: { id: string } }>('/reply/:id', async (_request, reply) => reply.composite(typed))
    app.get('/plain-reply', async (_request, reply) => reply.composite({ backends: ['users'], transform: ({ users }) => users.body }))
  }
  t.type(declare, 'function')
})

t.test('a typed part has the options of a part', async () => {
  type Typed = NonNullable<NonNullable<Parameters<typeof defineComposite<{ a: {} }>>[0]['parts']>['a']>
  same<keyof Typed, keyof PartOptions>(true)
})
