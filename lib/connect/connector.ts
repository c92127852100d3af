/** How a connection to a target comes about: TCP or a unix socket, perhaps through an HTTP proxy, then TLS. */
import { isIP } from 'node:net'
import { buildConnector } from 'undici'
import { isCertificateAlert } from './failure.ts'
import { throughProxy } from './tunnel.ts'
import type { Socket } from 'node:net'
import type { BackendConfig } from '../types.ts'

type Connector = buildConnector.connector

/** `offerHttp2`: whether HTTP/2 is among what the TLS handshake proposes (ALPN). */
export function createConnector ({ tls, timeout, httpProxy }: BackendConfig, socketPath: string | undefined, offerHttp2: boolean): Connector {
  const direct = buildConnector({
    timeout: timeout.connect,
    allowH2: offerHttp2,
    rejectUnauthorized: tls.rejectUnauthorized,
    ...(tls.ca === undefined ? undefined : { ca: tls.ca as string | string[] }),
    ...(tls.cert === undefined ? undefined : { cert: tls.cert }),
    ...(tls.key === undefined ? undefined : { key: tls.key }),
    ...(tls.minVersion === undefined ? undefined : { minVersion: tls.minVersion }),
    ...(socketPath === undefined ? undefined : { socketPath })
  })
  const proxied = httpProxy === undefined || socketPath !== undefined ? direct : throughProxy(httpProxy, timeout.connect, direct)
  return strict(named(proxied, tls.servername))
}

/**
 * undici asks for the certificate of the name in `Host`. That may be the client's, and a client must not choose whom the
 * gateway trusts: it is the target's, or the one of the options.
 */
function named (connect: Connector, own: string | undefined): Connector {
  return (options, callback) => {
    // an address is checked as such, and has no place in SNI (RFC 6066 section 3)
    const servername = own ?? (isIP(options.hostname) === 0 ? options.hostname : '')
    connect({ ...options, servername }, callback)
  }
}

/**
 * undici takes a reset for the end of an answer that is delimited by the connection's close; such an answer is
 * incomplete. It tells a reset by the error's code, so the error gets another one before undici sees it.
 */
function strict (connect: Connector): Connector {
  return (options, callback) => {
    connect(options, (...result) => {
      const [error, socket] = result
      if (error === null) socket.prependListener('error', onError)
      callback(...result)
    })
  }
}

function onError (this: Socket, error: Error & { code?: string }): void {
  if (error.code === 'ECONNRESET') error.code = 'ERR_CONNECTION_RESET'
  // the end of the connection comes after it, and would be the only thing that a request hears of
  else if (error.code !== undefined && isCertificateAlert(error.code)) this.destroy()
}
