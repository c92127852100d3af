/** The end of a request, as rooms are told of it. */
import { EventEmitter, once } from 'node:events'
import http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
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

/** What a room is told of the requests that a client sends over one connection. */
async function toldOf (t: Test, speak: (socket: Socket, told: string[]) => void, until: number): Promise<{ told: string[], listeners: number[] }> {
  const told: string[] = []
  const listeners: number[] = []
  const gone = new EventEmitter()
  const room = createEndings<string>((state, request, _, finished) => {
    told.push(`${state} ${request.method} ${finished}`)
    if (told.length === until) gone.emit('all')
  })
  const app = appWith(app => {
    app.addHook('onRequest', async (request, reply) => {
      const before = reply.raw.listenerCount('finish')
      room.begin(request, reply, request.url)
      listeners.push(reply.raw.listenerCount('finish') - before)
    })
    app.get('/endless', (_, reply) => { reply.send(new Readable({ read () { setImmediate(() => this.push('x'.repeat(1_000))) } })) })
    app.post('/early', async () => 'no need of it')
  })
  t.teardown(() => app.close())
  const socket = connect(Number(new URL(await app.listen({ port: 0 })).port))
  t.teardown(() => socket.destroy())
  const all = once(gone, 'all')
  speak(socket, told)
  await all
  // nobody is told twice
  await new Promise(resolve => { setTimeout(resolve, 20) })
  return { told, listeners }
}

const ask = (path: string, method = 'GET', more = ''): string => `${method} ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`

t.test('answers that go out are ended while their connection goes on: one by one, in a pipeline, without a body, before the request was all there', async t => {
  const { told, listeners } = await toldOf(t, (socket, told) => {
    socket.write(ask('/'))
    socket.once('data', () => {
      t.same(told, ['/ GET true'])
      socket.write(ask('/?1') + ask('/?2') + ask('/?3', 'HEAD') + ask('/early', 'POST', 'Content-Length: 1000000\r\nContent-Type: text/plain\r\n'))
    })
  }, 4)
  t.same(told, ['/ GET true', '/?1 GET true', '/?2 GET true', '/?3 HEAD true'])
  t.same(listeners, [0, 0, 0, 0, 0], 'no listener to `finish`, which would cost more than all the rest')
})

t.test('a client that goes away within an answer', async t => {
  const { told } = await toldOf(t, socket => {
    socket.write(ask('/endless'))
    socket.once('data', () => { socket.destroy() })
  }, 1)
  t.same(told, ['/endless GET false'])
})

t.test('a client that goes away without a word', async t => {
  const { told } = await toldOf(t, socket => {
    socket.write(ask('/?1') + ask('/endless'))
    socket.once('data', () => { socket.resetAndDestroy() })
  }, 2)
  t.same(told, ['/?1 GET true', '/endless GET false'])
})

t.test('an answer that waits in a pipeline behind one that its client leaves has not gone out', async t => {
  const { told, listeners } = await toldOf(t, socket => {
    socket.write(ask('/endless') + ask('/?1'))
    socket.once('data', () => { socket.resetAndDestroy() })
  }, 1)
  t.equal(listeners.length, 2)
  // Node 20 never closes it
  t.same(told.filter(line => !line.startsWith('/?1 GET false')), ['/endless GET false'])
})

t.test('HTTP/2: an answer that goes out, while its connection goes on', async t => {
  const told: string[] = []
  const room = createEndings<string>((state, _, __, finished) => { told.push(`${state} ${finished}`) })
  const app = Fastify({ http2: true })
  app.addHook('onRequest', async (request, reply) => { room.begin(request as unknown as FastifyRequest, reply as unknown as FastifyReply, request.url) })
  app.get('/', async () => 'hi')
  t.teardown(() => app.close())
  const session = http2.connect(await app.listen({ port: 0 }))
  t.teardown(() => session.destroy())
  for (const path of ['/', '/?1']) {
    await once(session.request({ ':path': path }).resume(), 'end')
    while (told.length === 0) await new Promise(resolve => { setImmediate(resolve) })
    t.equal(told.pop(), `${path} true`)
  }
})
