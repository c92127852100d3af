/** A target's connections: a pool made from the backend's options. */
import { Pool } from 'undici'
import type { Dispatcher } from 'undici'
import { createConnector } from './connect/connector.ts'
import { Http2Pool } from './http2/pool.ts'
import { splitTargetUrl } from './options/target-url.ts'
import type { Socket } from 'node:net'
import type { TargetAddress } from './options/target-url.ts'
import type { PoolNumbers } from './pools.ts'
import type { BackendConfig } from './types.ts'

/** The parts of a target's URL. @throws RangeError for what the options would have refused */
export function addressOf (url: string): TargetAddress {
  const address = splitTargetUrl(url)
  if (typeof address === 'string') throw new RangeError(`target ${JSON.stringify(url)} ${address}`)
  return address
}

/** Certificates are verified unless the options say otherwise; silence is measured per request, not per pool. */
export function createPool (url: string, config: BackendConfig): Dispatcher {
  const { origin, socketPath } = addressOf(url)
  const { pool, timeout, http2 } = config
  const isTls = origin.startsWith('https:')
  if (http2 !== 'h2c' && !(http2 && isTls)) return createPlainPool(origin, config, socketPath)
  return new Http2Pool({
    origin,
    connect: createConnector(config, socketPath, true),
    priorKnowledge: !isTls,
    connections: pool.connections,
    keepAliveTimeout: pool.keepAliveTimeout,
    connectTimeout: timeout.connect,
    maxHeaderSize: pool.maxHeaderSize,
    plain: spare => createPlainPool(origin, config, socketPath, spare)
  })
}

/** What a pool of `createPool` has and does now. */
export function numbersOf (dispatcher: Dispatcher): PoolNumbers {
  const { connected, free, pending, queued, running, size } = (dispatcher as Pool | Http2Pool).stats
  // undici's `pending` has those that are queued in it
  return { connected, free, pending: pending - queued, queued, running, size }
}

export function sumOf (all: readonly PoolNumbers[]): PoolNumbers {
  const sum = (name: keyof PoolNumbers): number => all.reduce((total, numbers) => total + numbers[name], 0)
  return { connected: sum('connected'), free: sum('free'), pending: sum('pending'), queued: sum('queued'), running: sum('running'), size: sum('size') }
}

/** HTTP/1.1. `spare`: a connection that there is already. */
function createPlainPool (origin: string, config: BackendConfig, socketPath: string | undefined, spare?: Socket): Dispatcher {
  const { pool } = config
  const connect = createConnector(config, socketPath, false)
  let first = spare
  return new OneNamePool(origin, {
    connections: pool.connections,
    pipelining: 1,
    keepAliveTimeout: pool.keepAliveTimeout,
    keepAliveMaxTimeout: pool.keepAliveMaxTimeout,
    maxHeaderSize: pool.maxHeaderSize,
    connect (options, callback) {
      const socket = first
      first = undefined
      if (socket === undefined || socket.destroyed) connect(options, callback)
      // undici does not look at what it is given before it has asked
      else process.nextTick(callback, null, socket)
    }
  })
}

/** undici would close a connection whenever the next request has another `Host`, to ask for that one's certificate. */
class OneNamePool extends Pool {
  readonly #servername: string | undefined

  constructor (origin: string, options: Pool.Options) {
    super(origin, options)
    this.#servername = origin.startsWith('https:') ? new URL(origin).hostname : undefined
  }

  override dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.#servername !== undefined) (options as { servername?: string }).servername = this.#servername
    return super.dispatch(options, handler)
  }
}
