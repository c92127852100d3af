/**
 * WebSockets: what a route says of them, and what its hooks see. Durations in ms, sizes in bytes.
 */
import type { FastifyRequest } from 'fastify'
import type { Duplex } from 'node:stream'

export type Side = 'client' | 'backend'

/** A message as an `onMessage` hook sees it. */
export interface WebSocketMessage {
  /** Text messages as a string, binary ones as bytes. */
  readonly data: string | Buffer
  readonly from: Side
}

/** A connection as `onOpen` sees it. */
export interface WebSocketConnection {
  /** URL of the target. */
  readonly target: string
  /** What client and backend have agreed on. */
  readonly protocol: string | undefined
  /** Says goodbye to both ends. Default: 1000, without a reason. @throws RangeError for codes that may not be sent */
  close (code?: number, reason?: string): void
}

/** How a connection ended. */
export interface WebSocketEnd {
  /** Of the first close frame; 1005 when that had none, 1006 when there was no close frame. */
  readonly code: number
  readonly reason: string
  /** Who began to close it. */
  readonly by: Side | 'gateway'
  /** How long it was open. */
  readonly duration: number
  /** Bytes after the handshake, frames and all. */
  readonly fromClient: number
  readonly fromBackend: number
}

export type OnWebSocketOpen = (connection: WebSocketConnection, request: FastifyRequest) => void | Promise<void>
/** undefined: as it is; false: not at all; a text or bytes: these in its place, as a text or binary message. */
export type OnWebSocketMessage = (message: WebSocketMessage, request: FastifyRequest) => Replaced | Promise<Replaced>
export type OnWebSocketClose = (end: WebSocketEnd, request: FastifyRequest) => void | Promise<void>

/** What comes in the place of a message. */
export type Replaced = void | undefined | false | string | Uint8Array

/** `websocket` of a route. */
export interface WebSocketConfig {
  /** Longest silence of both ends; 0: no limit. Default 0. */
  readonly idleTimeout: number
  /** Largest message; Infinity: no limit. */
  readonly maxPayload: number
  /** undefined: all. */
  readonly origins: readonly OriginMatch[] | undefined
  /** Whether permessage-deflate is offered to the backend. Default `pass`; `off` where messages are measured or read. */
  readonly compression: 'pass' | 'off'
  readonly onOpen: OnWebSocketOpen | undefined
  readonly onMessage: OnWebSocketMessage | undefined
  readonly onClose: OnWebSocketClose | undefined
}

/** What an Origin must be, lower case. */
export interface OriginMatch {
  /** `https:`; undefined: both. */
  readonly scheme: string | undefined
  /** The name; with `wildcard` it begins with a dot, and any name below it fits. */
  readonly host: string
  readonly wildcard: boolean
  /** undefined: that of the scheme. */
  readonly port: string | undefined
}

/** What a client has asked for: a handshake that was found right. */
export interface ClientHandshake {
  readonly key: string
  /** As the client has sent them, in order. */
  readonly protocols: readonly string[]
  /** Those that the backend gets to see. */
  readonly extensions: readonly Extension[]
  readonly config: WebSocketConfig
}

/** One entry of `Sec-WebSocket-Extensions`. */
export interface Extension {
  readonly name: string
  /** As it stood there, parameters and all. */
  readonly text: string
  /** Names of its parameters. */
  readonly parameters: readonly string[]
}

/** The backend's end of a connection that has changed its protocol. */
export interface BackendConnection {
  readonly socket: Duplex
  /** Whoever takes it ends it, and says so with `release`. */
  take (): void
  /** Nothing of it is left: its place at the target is free. */
  release (): void
}
