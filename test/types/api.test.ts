/** What the types let users write, and what they refuse: checked by tsc, run once so that the file counts. */
import t from 'tap'
import Fastify from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import type { BackendView, BalancerFactory, GatewayOptions, Outcome } from '../../index.ts'

const options: GatewayOptions = {
  backends: { a: 'http://127.0.0.1:9', b: ['http://127.0.0.1:9', { url: 'http://127.0.0.1:10', weight: 2 }], c: { targets: ['http://127.0.0.1:9'], timeout: '5s', balancer: 'least-connections' } },
  defaultBackend: 'a'
}

t.test('a typed gateway boots', async t => {
  const app = Fastify({ ...serverOptions, logger: false })
  t.teardown(() => app.close())
  await app.register(reverseproxy, options)
  app.get('/x', { proxy: { backend: 'b', rewrite: { stripPrefix: '/x' }, modifyRequest: draft => { draft.headers.set('x-a', draft.path) } } }, app.reverseproxy.handler)
  app.get<{ Params: { id: string } }>('/y/:id', async (request, reply) => reply.proxy('a', { path: `/y/${encodeURIComponent(request.params.id)}` }))
  app.addHook('onResponse', async request => {
    const outcome: Outcome | undefined = request.reverseproxy?.attempts[0]?.outcome
    t.type(outcome, 'string')
  })
  await app.ready()
  const view: BackendView | undefined = app.reverseproxy.backends.get('b')
  t.equal(view?.targets.length, 2)
})

t.test('wrong types are refused by the compiler', async t => {
  // @ts-expect-error a number is no backend
  const one: GatewayOptions = { backends: { a: 1 } }
  // @ts-expect-error an unknown option
  const two: GatewayOptions = { backend: {} }
  // @ts-expect-error pick must return a target or undefined
  const three: BalancerFactory = () => ({ pick: () => 'http://x' })
  t.ok([one, two, three])
})
