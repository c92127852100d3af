/** The end of a request, as rooms are told of it. */
import t from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { createEndings } from '../../lib/endings.ts'

function appWith (begin: (app: FastifyInstance) => void, errors: unknown[] = []): FastifyInstance {
  const stream = { write (line: string) { errors.push(JSON.parse(line)) } }
  const app = Fastify({ logger: { level: 'error', stream } })
  begin(app)
  app.get('/', async () => 'hi')
  return app
}

t.test('each room is told once, in the order in which they have begun, with what it began with', async t => {
  const told: string[] = []
  const rooms = ['one', 'two', 'three'].map(room => createEndings<string>((state, request, reply, finished) => { told.push(`${room} ${state} ${request.method} ${reply.statusCode} ${finished}`) }))
  const app = appWith(app => {
    app.addHook('onRequest', async (request, reply) => {
      for (const room of rooms) {
        t.equal(room.of(reply), undefined)
        room.begin(request, reply, 'first')
        room.begin(request, reply, 'second')
        t.equal(room.of(reply), 'first')
      }
    })
  })
  await app.inject('/')
  await new Promise(resolve => { setImmediate(() => { setImmediate(resolve) }) })
  t.same(told, ['one first GET 200 true', 'two first GET 200 true', 'three first GET 200 true'])
})

t.test('a room that fails is told to the log, and the others are told all the same', async t => {
  const told: string[] = []
  const errors: unknown[] = []
  const failing = createEndings<string>(() => { throw new Error('no room') })
  const other = createEndings<string>(state => { told.push(state) })
  const app = appWith(app => {
    app.addHook('onRequest', async (request, reply) => {
      failing.begin(request, reply, 'a')
      other.begin(request, reply, 'b')
    })
  }, errors)
  t.equal((await app.inject('/')).statusCode, 200)
  t.same(told, ['b'])
  t.match(errors, [{ msg: 'the end of a request could not be noted', err: { message: 'no room' } }])
})
