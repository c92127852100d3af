/**
 * Connections through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6) to the target, for https and http alike, so that the
 * proxy sees neither paths nor headers and cannot be taken for the backend.
 *
 * undici's ProxyAgent would do the same, only it keeps one of several header lines of a name.
 */
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { buildConnector } from 'undici'
import type { HttpProxyConfig } from '../types.ts'

/** The proxy could not be reached, or would not connect. The message may be logged: no credentials in it. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'

  constructor (message: string, readonly code: string, options?: ErrorOptions) {
    super(message, options)
  }
}

/** `timeout`: for reaching the proxy and for its answer each, ms; 0 for none. `direct` makes TLS on the tunnel. */
export function throughProxy ({ url, username, password }: HttpProxyConfig, timeout: number, direct: buildConnector.connector): buildConnector.connector {
  const { hostname, port } = new URL(url)
  const credentials = username === undefined ? undefined : `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`

  return function connectThroughProxy (options, callback) {
    const isTls = options.protocol === 'https:'
    const host = options.hostname.includes(':') ? `[${options.hostname}]` : options.hostname
    const authority = `${host}:${options.port === '' ? isTls ? 443 : 80 : options.port}`
    const asking = request({
      method: 'CONNECT',
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 80 : Number(port),
      path: authority,
      agent: false,
      headers: { host: authority, ...(credentials === undefined ? undefined : { 'proxy-authorization': credentials }) }
    })
    if (timeout > 0) {
      asking.setTimeout(timeout, () => {
        asking.destroy(new ProxyError('the HTTP proxy did not answer in time', 'UND_ERR_CONNECT_TIMEOUT'))
      })
    }
    asking.once('error', (error: NodeJS.ErrnoException) => {
      callback(error instanceof ProxyError ? error : new ProxyError(`the HTTP proxy could not be reached (${error.code ?? 'no answer'})`, 'ERR_HTTP_PROXY', { cause: error }), null)
    })
    asking.once('connect', ({ statusCode = 0 }: IncomingMessage, socket: Socket, early: Buffer) => {
      socket.setTimeout(0)
      if (statusCode < 200 || statusCode > 299) {
        socket.on('error', () => {}).destroy()
        callback(new ProxyError(refusal(statusCode), 'ERR_HTTP_PROXY'), null)
        return
      }
      if (early.length > 0) socket.unshift(early)
      if (isTls) direct({ ...options, httpSocket: socket }, callback)
      else callback(null, socket.setNoDelay(true))
    })
    asking.end()
  }
}

function refusal (status: number): string {
  return status === 407 ? 'the HTTP proxy wants other credentials (407)' : `the HTTP proxy refused to connect (${status})`
}
