import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { CONSTRAINT, createConstraintStrategy, type RequestConstraint } from '../../../lib/matching/constraint.ts'
import { groupRoutes } from '../../../lib/matching/groups.ts'
import { createMatcher } from '../../../lib/matching/matcher.ts'
import type { RouteConfig } from '../../../lib/types.ts'
import { exact, match, present, route } from './scene.ts'

function gateway (): FastifyInstance {
  const app = Fastify()
  app.addConstraintStrategy(createConstraintStrategy())
  return app
}

function answer (app: FastifyInstance, name: string, url: string, constraint?: Partial<RequestConstraint>): void {
  app.get(url, constraint === undefined ? {} : { constraints: { [CONSTRAINT]: constraint } }, async () => name)
}

async function ask (app: FastifyInstance, url: string, headers: Record<string, string> = {}): Promise<string> {
  const { statusCode, body } = await app.inject({ url, headers })
  return statusCode === 200 ? body : String(statusCode)
}

const onHeader = (name: string, specificity?: number): RequestConstraint => ({
  test: createMatcher(match({ headers: { [name]: present } }))!,
  ...specificity === undefined ? {} : { specificity }
})

t.test('a route is taken when its constraint holds', async t => {
  const app = gateway()
  answer(app, 'a', '/x', onHeader('a'))
  answer(app, 'b', '/x', onHeader('b'))
  t.equal(await ask(app, '/x', { a: '1' }), 'a')
  t.equal(await ask(app, '/x', { b: '1' }), 'b')
  t.equal(await ask(app, '/x'), '404')
})

t.test('a route without constraint takes the rest', async t => {
  const app = gateway()
  answer(app, 'rest', '/x')
  answer(app, 'a', '/x', onHeader('a'))
  t.equal(await ask(app, '/x', { a: '1' }), 'a')
  t.equal(await ask(app, '/x'), 'rest')
})

t.test('of several constraints that hold the most specific wins, whatever the order', async t => {
  for (const reverse of [false, true]) {
    const app = gateway()
    const add = [() => answer(app, 'low', '/x', onHeader('a', 1)), () => answer(app, 'high', '/x', onHeader('b', 2)), () => answer(app, 'none', '/x', onHeader('c'))]
    for (const one of reverse ? add.reverse() : add) one()
    t.equal(await ask(app, '/x', { a: '1', b: '1', c: '1' }), 'high')
    t.equal(await ask(app, '/x', { a: '1', c: '1' }), 'low')
  }
})

t.test('of equally specific constraints the first wins', async t => {
  const app = gateway()
  answer(app, 'first', '/x', onHeader('a'))
  answer(app, 'second', '/x', onHeader('b'))
  t.equal(await ask(app, '/x', { a: '1', b: '1' }), 'first')
})

t.test('a less specific path is taken when no constraint holds', async t => {
  const app = gateway()
  answer(app, 'static', '/u/me', onHeader('a'))
  answer(app, 'parameter', '/u/:id', onHeader('b'))
  answer(app, 'wildcard', '/u/*', onHeader('c'))
  answer(app, 'rest', '/*')
  t.equal(await ask(app, '/u/me', { a: '1', b: '1', c: '1' }), 'static')
  t.equal(await ask(app, '/u/me', { b: '1', c: '1' }), 'parameter')
  t.equal(await ask(app, '/u/me', { c: '1' }), 'wildcard')
  t.equal(await ask(app, '/u/me'), 'rest')
})

t.test('one constraint may stand at several routes', async t => {
  const app = gateway()
  const constraint = onHeader('a')
  answer(app, 'x', '/x', constraint)
  answer(app, 'y', '/y', constraint)
  app.post('/x', { constraints: { [CONSTRAINT]: constraint } }, async () => 'post')
  t.equal(await ask(app, '/x', { a: '1' }), 'x')
  t.equal(await ask(app, '/y', { a: '1' }), 'y')
  t.equal((await app.inject({ method: 'POST', url: '/x', headers: { a: '1' } })).body, 'post')
})

t.test('HEAD is answered under the same constraint', async t => {
  const app = gateway()
  answer(app, 'a', '/x', onHeader('a'))
  t.equal((await app.inject({ method: 'HEAD', url: '/x', headers: { a: '1' } })).statusCode, 200)
  t.equal((await app.inject({ method: 'HEAD', url: '/x' })).statusCode, 404)
})

t.test('the constraint goes together with those of Fastify', async t => {
  const app = gateway()
  app.get('/x', { constraints: { host: 'h.example', [CONSTRAINT]: onHeader('a') } }, async () => 'both')
  app.get('/x', { constraints: { host: 'h.example' } }, async () => 'host')
  t.equal(await ask(app, '/x', { host: 'h.example', a: '1' }), 'both')
  t.equal(await ask(app, '/x', { host: 'h.example' }), 'host')
  t.equal(await ask(app, '/x', { host: 'other.example', a: '1' }), '404')
})

t.test('what is no constraint is refused', async t => {
  const app = gateway()
  t.throws(() => answer(app, 'a', '/x', {}), { name: 'TypeError', message: /must be \{ test/ })
})

t.test('routes with a constraint can be printed', async t => {
  const app = gateway()
  answer(app, 'a', '/x', onHeader('a'))
  await app.ready()
  t.match(app.printRoutes(), /x/)
})

t.test('groups of routes become Fastify routes that fall through to less specific paths', async t => {
  const app = gateway()
  const { groups, problems } = groupRoutes([
    route('v2', '/api/*', { headers: { v: exact('2') } }), route('v3', '/api/*', { headers: { v: exact('3') } }), route('rest', '/*'),
    ...Array.from({ length: 50 }, (_, i): RouteConfig => route(`h${i}`, '/*', { hosts: [`h${i}.example`] }))
  ], ['GET', 'HEAD'])
  t.strictSame(problems, [])
  for (const { path, methods, select, total } of groups) {
    const constraints = total ? {} : { [CONSTRAINT]: { test: (request: Parameters<typeof select>[0]) => select(request) !== undefined } }
    app.route({ url: path, method: methods, constraints, handler: async request => select(request.raw)?.name })
  }
  t.equal(await ask(app, '/api/x', { v: '2' }), 'v2')
  t.equal(await ask(app, '/api/x', { v: '3' }), 'v3')
  t.equal(await ask(app, '/api/x', { v: '4' }), 'rest')
  t.equal(await ask(app, '/api/x', { host: 'h49.example:80' }), 'h49')
  t.equal(await ask(app, '/y'), 'rest')
})
