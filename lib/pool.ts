/** A target's connections: an undici pool made from the backend's options. */
import { Pool } from 'undici'
import type { Dispatcher } from 'undici'
import { splitTargetUrl } from './options/target-url.ts'
import type { TargetAddress } from './options/target-url.ts'
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
  const { pool, tls, timeout } = config
  return new Pool(origin, {
    connections: pool.connections,
    pipelining: 1,
    keepAliveTimeout: pool.keepAliveTimeout,
    keepAliveMaxTimeout: pool.keepAliveMaxTimeout,
    maxHeaderSize: pool.maxHeaderSize,
    allowH2: config.http2,
    connect: {
      timeout: timeout.connect,
      rejectUnauthorized: tls.rejectUnauthorized,
      ...(tls.ca === undefined ? undefined : { ca: tls.ca as string | string[] }),
      ...(tls.cert === undefined ? undefined : { cert: tls.cert }),
      ...(tls.key === undefined ? undefined : { key: tls.key }),
      ...(tls.servername === undefined ? undefined : { servername: tls.servername }),
      ...(socketPath === undefined ? undefined : { socketPath })
    }
  })
}
