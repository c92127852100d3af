/**
 * The `websocket` option of a route's `proxy`.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { OnWebSocketClose, OnWebSocketMessage, OnWebSocketOpen } from '../../websocket/types.ts'
import { DEFAULTS } from '../defaults.ts'
import { duration, fn, object, size, text, words } from './values.ts'

const fullWebSocketSchema = object({
  idleTimeout: Type.Optional(duration({ description: 'Longest silence of both ends; then they are closed with 1001. 0: none.', default: DEFAULTS.websocket.idleTimeout })),
  maxPayload: Type.Optional(size({ minimum: 1, description: 'Largest message; a larger one closes the connection with 1009. Switches compression off. Default: no limit of ours; 1mb beside onMessage.' })),
  origins: Type.Optional(Type.Array(text('origin'), { minItems: 1, description: 'Origins that may open one: https://app.example.com, app.example.com, *.example.com (any depth below). Others get a 403, and so does a client without an Origin. Default: all.' })),
  compression: Type.Optional(words(['pass', 'off'], { description: 'pass: client and backend may agree on permessage-deflate; off: it is not offered to the backend. off beside maxPayload and onMessage.', default: DEFAULTS.websocket.compression })),
  onOpen: Type.Optional(fn<OnWebSocketOpen>({ description: 'Code only: called when both ends are connected.' })),
  onMessage: Type.Optional(fn<OnWebSocketMessage>({ description: 'Code only: called with every message of both ends; changes it or drops it (false).' })),
  onClose: Type.Optional(fn<OnWebSocketClose>({ description: 'Code only: called when both ends are gone, with code, reason and counts.' }))
})

export const websocketSchema = Type.Union([Type.Boolean(), fullWebSocketSchema], {
  rule: 'must be true, false or an object',
  description: 'Whether WebSockets are forwarded as well: true, or an object.',
  default: false
})
export type WebSocketOption = Static<typeof websocketSchema>
