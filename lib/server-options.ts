/**
 * What only the Fastify instance can set: `Fastify({ ...serverOptions, logger: true })`.
 */
import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * RFC 9112 section 3.2.2: the authority of an absolute-form target replaces the Host field. What is no http URL
 * stays as it is and finds no route.
 */
function rewriteUrl (this: unknown, request: { url?: string | undefined }): string {
  const url = request.url ?? '/'
  if (url.charCodeAt(0) === 47) return url
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  if (match === null) return url
  const message = request as IncomingMessage
  const authority = match[1]!
  message.headers.host = authority
  let replaced = false
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    if (message.rawHeaders[i]!.toLowerCase() !== 'host') continue
    message.rawHeaders[i + 1] = authority
    replaced = true
  }
  if (!replaced) message.rawHeaders.push('Host', authority)
  const rest = match[2]!
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** Statuses for what Node's parser refuses; anything else is a 400. */
const PARSER_STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_INVALID_VERSION: 505,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408
}

/** Answers a request that is no HTTP, and closes: nothing after it can be trusted to be a request. */
function clientErrorHandler (this: unknown, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) {
    socket.destroy()
    return
  }
  const status = PARSER_STATUS[error.code ?? ''] ?? 400
  const body = JSON.stringify({ statusCode: status, code: 'RP_ERR_BAD_REQUEST', error: STATUS_CODES[status], message: 'The request is not valid HTTP' })
  if (socket.writable) {
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
  }
  // the peer has a moment to read the answer; what it still sends is not looked at
  socket.setTimeout(1_000, () => socket.destroy())
}

const prefix = randomBytes(6).toString('base64url')
let counter = 0

/** Unique among processes, ordered within one, without a system call each. */
function genReqId (): string {
  counter = (counter + 1) % Number.MAX_SAFE_INTEGER
  return `${prefix}-${counter.toString(36)}`
}

/** Spread it into Fastify's options; your own come after it. */
export const serverOptions = {
  rewriteUrl,
  clientErrorHandler,
  genReqId,
  /** Time for a client to send its headers and body, ms: slow uploads are fine, endless ones are not. */
  requestTimeout: 0,
  /** While the gateway closes, requests on connections that are open are still answered, and told to close. */
  return503OnClosing: false,
  routerOptions: { maxParamLength: 16_384 },
  http: {
    /** Headers of a request, in bytes; more is a 431. */
    maxHeaderSize: 16_384,
    /** Time for a client to send its headers, ms (slowloris). */
    headersTimeout: 60_000,
    requireHostHeader: true,
    insecureHTTPParser: false
  }
} as const

/** Says at boot what was not set, once, where a request would be the first to notice. */
export function checkServer (fastify: FastifyInstance): void {
  const { routerOptions, http2 } = fastify.initialConfig as { routerOptions?: { maxParamLength?: number }, http2?: boolean }
  const missing: string[] = []
  if ((routerOptions?.maxParamLength ?? 100) <= 100) missing.push('routerOptions.maxParamLength (path parameters over 100 characters are not found)')
  // Node keeps the limit on the server; `https` and `http` are options of their own, and only one of them counts
  if (http2 !== true && (fastify.server as { maxHeaderSize?: number }).maxHeaderSize === undefined) missing.push('http.maxHeaderSize (with https: https.maxHeaderSize), absolute-form targets, statuses for malformed requests')
  if (missing.length > 0) fastify.log.warn(`fastify-reverseproxy: Fastify was made without all of serverOptions: ${missing.join('; ')}`)
}
