/**
 * The gateway with what a production set-up turns on: balancing over three targets, header policy both ways, forwarded
 * headers, Via, request id, a deadline, circuit breakers. `routes: n` gives n routes with a backend of one target each.
 * `resilience`: false switches the breakers off, true adds retries, checks and outlier detection. `tenants: n`: n known
 * tenants; one alone is named by the header `x-only-tenant`, several by `x-tenant-id`. `neighbour`: the tenants a and b, of
 * which a has a backend of its own that is `healthy`, `refused` or `silent`; `neighbourBreaker: false` leaves its circuit closed.
 * `websocket: true` forwards those, too. `metrics`, `log`, `tracing`, `dump` (share of the requests), `stalled` and `admin`: see observing.js.
 */
import Fastify from 'fastify'
import reverseproxy, { serverOptions } from '../../dist/index.js'
import { options } from '../processes.js'
import { check, logger, observing } from './observing.js'
import { pool, serve } from './serve.js'

const common = {
  balancer: 'round-robin',
  pool: { connections: pool.connections, keepAliveTimeout: pool.keepAliveTimeout },
  timeout: '30s'
}
const resilience = {
  undefined: {},
  false: { circuitBreaker: false },
  true: { retry: { attempts: 3 }, health: { path: '/small', interval: '1s' }, outlier: { consecutive: 5, failureRate: 50 } }
}[String(options.resilience)]
const names = Array.from({ length: options.routes ?? 1 }, (_, index) => `service-${index}`)
const targetsOf = index => options.routes === undefined ? options.targets : [options.targets[index % options.targets.length]]

const tenancy = options.tenants === undefined
  ? undefined
  : {
      header: options.tenants === 1 ? 'x-only-tenant' : 'x-tenant-id',
      forwardAs: 'x-tenant-id',
      tenants: Object.fromEntries(Array.from({ length: options.tenants }, (_, index) => [`tenant-${index}`, { metadata: { plan: 'gold' } }]))
    }

const neighbourhood = options.neighbour === undefined
  ? undefined
  : {
      tenants: {
        a: {
          ...options.neighbourBreaker === false ? { circuitBreaker: false } : undefined,
          ...options.neighbour === 'silent' ? { timeout: { headers: '250ms' } } : undefined,
          // nothing listens on port 1
          backends: { 'service-0': { healthy: options.targets[0], refused: 'http://127.0.0.1:1', silent: `http://127.0.0.1:${options.silent}` }[options.neighbour] }
        },
        b: {}
      }
    }

const app = Fastify({ ...serverOptions, ...logger })
await app.register(reverseproxy, {
  ...resilience,
  ...observing,
  tenancy: tenancy ?? neighbourhood,
  backends: Object.fromEntries(names.map((name, index) => [name, { ...common, targets: targetsOf(index) }])),
  headers: {
    request: { set: { 'x-source': 'gateway' }, remove: ['x-debug'] },
    response: { remove: ['server', 'x-powered-by'] },
    forwarded: { for: 'append', proto: 'set', host: 'set' },
    via: 'gateway'
  }
})
const handler = app.reverseproxy.handler
if (options.routes === undefined) {
  for (const method of ['GET', 'POST']) app.route({ method: [method], url: '/*', proxy: { backend: names[0], websocket: options.websocket === true && method === 'GET' }, handler })
} else if (options.routes === 1) {
  app.route({ method: ['GET'], url: '/:service/items/:id', proxy: { backend: names[0] }, handler })
} else {
  for (const name of names) app.route({ method: ['GET'], url: `/${name}/items/:id`, proxy: { backend: name }, handler })
}
await serve(app, { check: () => check(app) })
