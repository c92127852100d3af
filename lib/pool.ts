/** A target's connections: an undici pool made from the backend's options. */
import { buildConnector, Pool } from 'undici'
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
    connect: strict(buildConnector({
      timeout: timeout.connect,
      allowH2: config.http2,
      rejectUnauthorized: tls.rejectUnauthorized,
      ...(tls.ca === undefined ? undefined : { ca: tls.ca as string | string[] }),
      ...(tls.cert === undefined ? undefined : { cert: tls.cert }),
      ...(tls.key === undefined ? undefined : { key: tls.key }),
      ...(tls.servername === undefined ? undefined : { servername: tls.servername }),
      ...(socketPath === undefined ? undefined : { socketPath })
    }))
  })
}

/**
 * undici takes a reset for the end of an answer that is delimited by the connection's close; such an answer is
 * incomplete. It tells a reset by the error's code, so the error gets another one before undici sees it.
 */
function strict (connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) => {
    connect(options, (...result) => {
      const [error, socket] = result
      if (error === null) socket.prependListener('error', renameReset)
      callback(...result)
    })
  }
}

function renameReset (error: Error & { code?: string }): void {
  if (error.code === 'ECONNRESET') error.code = 'ERR_CONNECTION_RESET'
}
