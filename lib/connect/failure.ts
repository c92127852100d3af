/**
 * Why a target could not be reached, for the log: which check of its certificate failed, or who refused what. Codes are those
 * of Node and OpenSSL; nothing of certificates but names, nothing of keys.
 */
import type { Clock } from '../deadlines.ts'
import { ProxyError } from './tunnel.ts'

export interface ConnectFailure {
  /** `CERT_HAS_EXPIRED` */
  readonly code: string
  /** `its certificate has expired` */
  readonly reason: string
}

const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  CERT_SIGNATURE_FAILURE: 'the signature of its certificate is wrong',
  CERT_UNTRUSTED: 'its certificate is not trusted (tls.ca)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed and not among those that are trusted (tls.ca)',
  SELF_SIGNED_CERT_IN_CHAIN: 'the authority of its certificate is not trusted (tls.ca)',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the authority of its certificate is not known (tls.ca)',
  UNABLE_TO_GET_ISSUER_CERT: 'the authority of its certificate is not known (tls.ca)',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the authority of its certificate is not known (tls.ca)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it offers no version of TLS that is allowed (tls.minVersion)',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it takes no version of TLS that is allowed (tls.minVersion)',
  ERR_SSL_TLSV1_UNRECOGNIZED_NAME: 'it does not know the name that it was asked for (tls.servername)',
  ECONNREFUSED: 'it refused the connection',
  ECONNRESET: 'it closed the connection during the handshake',
  EHOSTUNREACH: 'there is no way to its host',
  ENETUNREACH: 'there is no way to its network',
  ENOENT: 'there is no such socket',
  EACCES: 'the socket may not be used',
  ENOTFOUND: 'its name could not be resolved',
  EAI_AGAIN: 'its name could not be resolved for now',
  ERR_HTTP2_ERROR: 'it does not speak HTTP/2'
}

/** What a server says when it does not like the certificate of a client, or misses one. */
const CERTIFICATE_ALERT = /^ERR_SSL_.*ALERT_(?:CERTIFICATE_\w+|BAD_CERTIFICATE\w*|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|HANDSHAKE_FAILURE|ACCESS_DENIED)$/

/**
 * Whether the server has refused the handshake on account of the client's certificate. In TLS 1.3 that arrives when the client
 * thinks itself connected, and the first request may be on its way; the server does not read it.
 */
export function isCertificateAlert (code: string): boolean {
  return CERTIFICATE_ALERT.test(code)
}

/** `error`: what the suite made of it, or undici, or Node; the innermost cause knows best. */
export function explainConnectFailure (error: Error): ConnectFailure {
  let found = error
  // of several addresses the first says as much as all
  for (let depth = 0; depth < 5; depth++) {
    const inner = found instanceof ProxyError ? undefined : found instanceof AggregateError ? found.errors[0] as unknown : found.cause
    if (!(inner instanceof Error)) break
    found = inner
  }
  const { code = found.name } = found as NodeJS.ErrnoException
  return { code, reason: reasonOf(found, code) }
}

function reasonOf (error: Error, code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `its certificate is for other names (${(error as { reason?: string }).reason ?? error.message})`
  if (isCertificateAlert(code)) return 'it does not accept the certificate of the gateway, or misses one (tls.cert, tls.key)'
  if (error instanceof ProxyError) return error.message
  return REASONS[code] ?? error.message
}

export interface ConnectFailures {
  /** Call it for every failure to connect. */
  tell (backend: string, target: string, error: Error): void
}

/** How often the same is said again, ms. */
const EVERY = 60_000
/** Different failures that are remembered. */
const MANY = 1_000

/**
 * One line a minute for each target and reason, however many requests fail: `log` gets `times`, the failures since its line before.
 */
export function createConnectFailures (clock: Pick<Clock, 'now'>, log: (line: ConnectFailure & { backend: string, target: string, times: number }) => void): ConnectFailures {
  const known = new Map<string, { at: number, times: number }>()

  return {
    tell (backend, target, error) {
      const failure = explainConnectFailure(error)
      const key = `${target} ${failure.code}`
      const now = clock.now()
      const before = known.get(key)
      if (before !== undefined && now - before.at < EVERY) {
        before.times++
        return
      }
      if (known.size >= MANY) known.clear()
      known.set(key, { at: now, times: 0 })
      log({ backend, target, ...failure, times: 1 + (before?.times ?? 0) })
    }
  }
}
