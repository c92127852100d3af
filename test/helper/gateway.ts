/**
 * Starting gateways: in this process for most tests, in one of their own where memory is measured.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import reverseproxy, { serverOptions } from '../../index.ts'
import type { TestLike } from './time.ts'
import { rawUpstream } from './upstream.ts'
import type { RawUpstream, RawUpstreamOptions, Script } from './upstream.ts'

/** The gateway's options. */
export type GatewayOptions = NonNullable<Parameters<typeof reverseproxy>[1]>

/** Adds routes and hooks once the gateway is registered. */
export type Configure = (app: FastifyInstance) => void | Promise<void>

/** The methods a catch-all route forwards here. */
export const METHODS = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT']

/** A gateway that listens on a free port of 127.0.0.1. */
export interface StartedGateway {
  readonly app: FastifyInstance
  readonly port: number
  readonly url: string
}

/** Sends everything to one backend. */
export function proxyAll (backend = 'up'): Configure {
  return app => {
    app.route({ method: METHODS, url: '/*', proxy: { backend }, handler: app.reverseproxy.handler })
  }
}

/** Makes and registers a gateway without listening. The caller closes it. */
export async function buildGateway (options: GatewayOptions, configure: Configure = proxyAll(), server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({ ...serverOptions, ...server }) as FastifyInstance
  await app.register(reverseproxy, options)
  await configure(app)
  return app
}

/** Starts a gateway; the test's teardown closes it and fails when that takes more than 5 s. */
export async function startGateway (t: TestLike, options: GatewayOptions, configure?: Configure, server?: FastifyServerOptions): Promise<StartedGateway> {
  const app = await buildGateway(options, configure, server)
  t.teardown(async () => {
    // the peers of a test are gone by now; what is still open is a fault's leftover and must not hold up the rest
    // an HTTP/2 server has no such method
    ;(app.server as Partial<typeof app.server>).closeAllConnections?.()
    const late = setTimeout(() => { throw new Error('the gateway did not close within 5 s') }, 5000)
    await app.close()
    clearTimeout(late)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { app, port, url: `http://127.0.0.1:${port}` }
}

/** One upstream and a gateway that sends everything to it. */
export interface Pair extends StartedGateway {
  readonly upstream: RawUpstream
}

export interface PairOptions extends RawUpstreamOptions {
  /** Gateway options besides `backends`. */
  readonly gateway?: Omit<GatewayOptions, 'backends'>
  /** Leaves circuit breakers as they are by default: on. */
  readonly breakers?: true
  /** Options of the backend `up` besides its target. */
  readonly backend?: Readonly<Record<string, unknown>>
  /** Default: everything goes to `up`. */
  readonly configure?: Configure
  readonly server?: FastifyServerOptions
}

/** Starts a {@link Pair}. */
export async function startPair (t: TestLike, script: Script, options: PairOptions = {}): Promise<Pair> {
  const upstream = await rawUpstream(t, script, options)
  const backends = { up: { targets: [upstream.url], ...options.backend } }
  // what a fault looks like is asked again and again: a circuit that opens has tests of its own
  const gateway = await startGateway(t, { ...(options.breakers === true ? undefined : { circuitBreaker: false }), ...options.gateway, backends } as GatewayOptions, options.configure, options.server)
  return { ...gateway, upstream }
}

/** A gateway in a process of its own. */
export interface ForkedGateway {
  readonly port: number
  /** Its resident set in bytes, after a garbage collection when `collect` is true. */
  rss (collect?: boolean): Promise<number>
}

/** Starts a gateway in a child process that sends everything to the backend `up`; killed by the teardown. */
export async function forkGateway (t: TestLike, options: GatewayOptions): Promise<ForkedGateway> {
  const child = fork(fileURLToPath(new URL('gateway-child.ts', import.meta.url)), {
    execArgv: ['--import=tsx', '--expose-gc'],
    env: { ...process.env, GATEWAY_OPTIONS: JSON.stringify(options) }
  })
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const [{ port }] = await once(child, 'message') as [{ port: number }]
  return {
    port,
    async rss (collect = false) {
      child.send({ collect })
      const [{ rss }] = await once(child, 'message') as [{ rss: number }]
      return rss
    }
  }
}
