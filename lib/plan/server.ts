/**
 * What changes of the server: what it listens on and what Node has made it of stays until the process ends.
 */
import type { ServerConfig } from '../options/server.ts'
import { diffOptions } from './diff.ts'
import type { Change, ServerChange } from './types.ts'

type Options = Readonly<Record<string, unknown>>

const TLS = { schema: { type: 'object', properties: { key: { secret: true } } } } as const

/** Paths are those of a file: `server.port`. */
export function planServer (before: ServerConfig, after: ServerConfig): ServerChange[] {
  const [one, other] = [partsOf(before), partsOf(after)]
  return [
    ...needing('restart', diffOptions({}, one.made, other.made, 'server')),
    // all of it comes and goes with TLS
    ...(one.tls === undefined || other.tls === undefined ? [] : planTls(one.tls, other.tls)),
    ...needing('live', diffOptions({}, one.live, other.live, 'server'))
  ]
}

function planTls (before: Options, after: Options): ServerChange[] {
  const asks = ({ ca }: Options) => ({ requestCert: ca !== undefined })
  return [
    ...needing('live', diffOptions(TLS, before, after, 'server.https')),
    // a certificate can be exchanged; whether clients must show one is up to the server as it was made
    ...needing('restart', diffOptions({}, asks(before), asks(after), 'server.https'))
  ]
}

interface Parts {
  /** Where it listens, and what Node makes a server of. */
  readonly made: Options
  /** What TLS takes for every new connection; undefined: it is off. */
  readonly tls: Options | undefined
  readonly live: Options
}

function partsOf ({ host, port, fastify }: ServerConfig): Parts {
  const { http, https, http2 = false, requestTimeout, connectionTimeout, keepAliveTimeout, ...live } = fastify as Options
  const { cert, key, ca, minVersion, requestCert, rejectUnauthorized, allowHTTP1, ...node } = { ...(https ?? http) as Options }
  return {
    made: { host, port, https: https !== undefined, http2, ...inWords({ requestTimeout, connectionTimeout, keepAliveTimeout }), ...node },
    tls: https === undefined ? undefined : { cert, key, ca, minVersion },
    live
  }
}

function needing (how: ServerChange['how'], changes: readonly Change[]): ServerChange[] {
  return changes.map(change => ({ ...change, how }))
}

/** Times as somebody would write them. */
function inWords (times: Options): Options {
  return Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, typeof ms !== 'number' || ms === 0 ? ms : ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`]))
}
