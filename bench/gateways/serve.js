/** What every gateway process does around its Fastify instance: listen, and tell what it has used. */
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { answer, ready } from '../processes.js'

/** The same pool for all: undici's options. Connections outlive the other variants' turns. */
export const pool = { connections: 128, pipelining: 1, keepAliveTimeout: 60_000, keepAliveMaxTimeout: 600_000 }

/**
 * @param {import('fastify').FastifyInstance} app
 * @param {Record<string, (argument: any) => any>} [more] What else the parent may call.
 */
export async function serve (app, more) {
  answer({ ...more, openCircuits: () => openCircuits(app), usage, connections: () => countConnections(app.server), watchDelay, delay })
  await app.ready()
  app.server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
  await once(app.server, 'listening')
  ready({ port: app.server.address().port })
}

/** CPU of all threads (garbage collection included) in µs since the start; memory in bytes. */
function usage () {
  const { user, system } = process.cpuUsage()
  return { cpu: user + system, rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }
}

/** The tenants with an open circuit; '' is everybody. Ours only. */
function openCircuits ({ reverseproxy }) {
  return reverseproxy.breakers.list().filter(({ state }) => state !== 'closed').map(({ scope }) => scope)
}

let watch

function watchDelay () {
  watch = monitorEventLoopDelay({ resolution: 1 })
  watch.enable()
}

/** Times between two ticks of the loop since `watchDelay()`, in ms: 1 to 2 where nothing holds it up. */
function delay () {
  watch.disable()
  return { p99: watch.percentile(99) / 1e6, max: watch.max / 1e6 }
}

function countConnections (server) {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => error ? reject(error) : resolve(count))
  })
}
