/**
 * `server` of a configuration file: from what a user may write to what `Fastify()` and `listen()` take.
 */
import type { FastifyServerOptions } from 'fastify'
import type { OptionProblem } from '../errors.ts'
import { serverOptions } from '../server-options.ts'
import type { Walk } from './check.ts'
import { isRecord } from './copy.ts'
import { DEFAULTS } from './defaults.ts'
import { at } from './paths.ts'
import { readPem, type Origin } from './rules.ts'
import type { ServerFileOptions } from './schema/server.ts'
import { byteCount, milliseconds } from './units.ts'

/** Where to listen, and what to hand to `Fastify()`. */
export interface ServerConfig {
  readonly host: string
  readonly port: number
  /** `serverOptions` with what the file says put over them. */
  readonly fastify: FastifyServerOptions & Record<string, unknown>
}

/** What one option of the server says about another. */
export function crossCheckServer (server: unknown, path: string, walk: Walk): void {
  if (!isRecord(server) || server['http2'] !== true || server['https'] !== undefined) return
  const problem: OptionProblem = { path: at(path, 'http2'), rule: 'needs https: browsers and most clients speak HTTP/2 over TLS only', value: true }
  walk.problems.push(problem)
}

export function resolveServer (options: ServerFileOptions, origin: Origin): ServerConfig {
  const { host = DEFAULTS.server.host, port = DEFAULTS.server.port, trustProxy = DEFAULTS.server.trustProxy, maxHeaderSize } = options
  const node = { ...serverOptions.http, ...(maxHeaderSize === undefined ? undefined : { maxHeaderSize: byteCount(maxHeaderSize) }) }
  const { http: _http, ...base } = serverOptions
  return {
    host,
    port: Number(port),
    fastify: {
      ...base,
      trustProxy,
      ...resolveTimes(options),
      logger: resolveLogger(options.logger),
      ...(options.https === undefined ? { http: node } : resolveHttps(options.https, options.http2 ?? DEFAULTS.server.http2, node, origin))
    }
  }
}

function resolveTimes (options: ServerFileOptions): Record<string, number> {
  const times: Record<string, number> = {}
  for (const name of ['requestTimeout', 'connectionTimeout', 'keepAliveTimeout'] as const) {
    if (options[name] !== undefined) times[name] = milliseconds(options[name])
  }
  return times
}

/** With a `ca` of ours a client must show a certificate: asking without insisting would protect nothing. */
function resolveHttps (https: NonNullable<ServerFileOptions['https']>, http2: boolean, node: object, origin: Origin): Record<string, unknown> {
  const { cert, key, ca, minVersion } = https
  const tls = {
    ...node,
    cert: readPem(cert, origin),
    key: readPem(key, origin),
    ...(minVersion === undefined ? undefined : { minVersion }),
    ...(ca === undefined ? undefined : { ca: [ca].flat().map(one => readPem(one, origin)), requestCert: true, rejectUnauthorized: true })
  }
  return http2 ? { http2: true, https: { ...tls, allowHTTP1: true } } : { https: tls }
}

function resolveLogger (logger: ServerFileOptions['logger'] = DEFAULTS.server.logLevel): NonNullable<FastifyServerOptions['logger']> {
  if (logger === false) return false
  if (logger === true) return { level: DEFAULTS.server.logLevel }
  return typeof logger === 'string' ? { level: logger } : logger
}
