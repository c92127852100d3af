/**
 * A composite of three parts on three backends, beside hand-written.js: defaults and a deadline. `routes: n` gives n routes
 * and n backends of one target each (three at least); every route has three of the backends for itself and its neighbours.
 */
import Fastify from 'fastify'
import reverseproxy, { serverOptions } from '../../dist/index.js'
import { options } from '../processes.js'
import { pool, serve } from './serve.js'

const common = { pool: { connections: pool.connections, keepAliveTimeout: pool.keepAliveTimeout }, timeout: '30s' }
const names = options.routes === undefined
  ? ['a', 'b', 'c']
  : Array.from({ length: Math.max(3, options.routes) }, (_, index) => `service-${index}`)

const app = Fastify({ ...serverOptions, logger: false })
await app.register(reverseproxy, {
  backends: Object.fromEntries(names.map((name, index) => [name, { ...common, targets: [options.targets[index % options.targets.length]] }]))
})
if (options.routes === undefined) {
  addRoute('/profiles/:id', 0)
} else if (options.routes === 1) {
  addRoute('/:service/items/:id', 0)
} else {
  for (const [index, name] of names.entries()) addRoute(`/${name}/items/:id`, index)
}
await serve(app)

function addRoute (url, index) {
  const backend = offset => names[(index + offset) % names.length]
  const parts = {
    a: { backend: backend(0), path: '/a' },
    b: { backend: backend(1), path: '/b' },
    c: { backend: backend(2), path: '/c' }
  }
  app.route({ method: ['GET'], url, composite: { parts, strategy: options.strategy }, handler: app.reverseproxy.handler })
}
