/**
 * The process behind `startChild`: a gateway that ends as an application of a user's would, with nothing but
 * `app.close()`. No process.exit: what keeps the process alive after that is a leak, and a test sees it.
 */
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import { METHODS } from '../helper/gateway.ts'
import type { ChildOptions, Order, Report } from './children.ts'

const { gateway, server } = JSON.parse(process.env['CHILD_OPTIONS'] ?? '{}') as ChildOptions
const { http: _http, clientErrorHandler: _handler, ...forHttp2 } = serverOptions
const app = Fastify((server === 'bare' ? {} : server === 'http2' ? { ...forHttp2, http2: true } : serverOptions) as never) as unknown as FastifyInstance
await app.register(reverseproxy, gateway)
app.get('/_ready', (_request, reply) => { reply.code(app.reverseproxy.closing ? 503 : 200).send({ ready: !app.reverseproxy.closing }) })
app.route({ method: METHODS, url: '/:backend/*', handler: (request, reply) => reply.proxy((request.params as { backend: string }).backend) })
await app.listen({ port: 0, host: '127.0.0.1' })

const tell = (report: Report) => { process.send?.(report) }
let over = false

process.on('message', async (order: Order) => {
  if (order === 'state') {
    tell({ closing: app.reverseproxy.closing, inflight: app.reverseproxy.backends.list().flatMap(({ targets }) => targets).reduce((sum, { inflight }) => sum + inflight, 0) })
    return
  }
  const since = performance.now()
  if (order === 'shutdown') await app.reverseproxy.shutdown()
  else await Promise.all(order === 'close twice' ? [app.close(), app.close()] : [app.close()])
  over = true
  tell({ closed: Math.round(performance.now() - since) })
  process.disconnect()
})
// a parent that died must not leave a gateway behind
process.on('disconnect', () => { if (!over) process.exit() })
tell({ port: (app.server.address() as AddressInfo).port })
