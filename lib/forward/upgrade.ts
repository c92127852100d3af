/** A call that asks a backend for a WebSocket: undici hands its socket over when the backend agrees. */
import { joinPath } from '../rewrite/index.ts'
import { handshakeHeaders } from '../websocket/handshake.ts'
import type { Exchange } from './exchange.ts'
import type { Pools } from '../pools.ts'
import type { RawHeaders } from '../types.ts'

/** A refusal is an answer like every other; `headers` are those of the call. */
export function dispatchUpgrade (exchange: Exchange, pools: Pools, headers: RawHeaders): void {
  const { call, target } = exchange
  exchange.onAnswer = () => { exchange.resolve(exchange) }
  pools.openForUpgrade(target, call.backend).dispatch({
    path: joinPath(target.basePath, call.path),
    method: 'GET',
    headers: handshakeHeaders(headers, call.upgrade!),
    upgrade: 'websocket',
    body: null,
    headersTimeout: 0,
    bodyTimeout: 0
  }, exchange)
}
