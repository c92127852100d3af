/** A target's connections: an undici pool made from the backend's options. */
import { Pool } from 'undici'
import type { Dispatcher } from 'undici'
import type { BackendConfig } from './types.ts'

/** Where a target's URL points. */
export interface TargetAddress {
  /** What undici connects to. */
  readonly origin: string
  /** `''` or `/base`, without a slash at its end. */
  readonly basePath: string
  readonly socketPath: string | undefined
}

/** `http://host:port/base`, `https://…` or `unix:///path/to.sock:/base`. The URL was checked by the options. */
export function addressOf (url: string): TargetAddress {
  if (url.startsWith('unix:')) {
    const rest = url.slice('unix:'.length).replace(/^\/\/(?=\/)/, '')
    const colon = rest.indexOf(':')
    const socketPath = colon < 0 ? rest : rest.slice(0, colon)
    const basePath = colon < 0 ? '' : rest.slice(colon + 1)
    return { origin: 'http://localhost', basePath: trimSlash(basePath), socketPath }
  }
  const { origin, pathname } = new URL(url)
  return { origin, basePath: trimSlash(pathname), socketPath: undefined }
}

function trimSlash (path: string): string {
  return path.replace(/\/+$/, '')
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
