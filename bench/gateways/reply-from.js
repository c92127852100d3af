/** Bare @fastify/reply-from: one route, defaults, logger off. The reference of every ratio. */
import replyFrom from '@fastify/reply-from'
import Fastify from 'fastify'
import { options } from '../processes.js'
import { pool, serve } from './serve.js'

const app = Fastify()
app.register(replyFrom, { base: options.targets[0], undici: pool })
// By default Fastify parses a JSON body and reply-from serialises it again; this spares it both.
if (options.rawBody) {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
}
app.route({
  method: ['GET', 'POST'],
  url: '/*',
  handler (_request, reply) { reply.from() }
})
await serve(app)
