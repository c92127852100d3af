/**
 * Both handshakes of a WebSocket, as strict as RFC 6455 section 4 has them: what the client asks for, and what the backend
 * makes of it.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BadRequestError, OriginError, websocketVersion } from '../errors.ts'
import { connectionTokens, isToken } from '../headers/names.ts'
import { isAllowed } from './origin.ts'
import type { ClientHandshake, Extension, WebSocketConfig } from './types.ts'
import type { RawHeaders } from '../types.ts'

/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** RFC 7692, and its draft that old browsers speak. */
const COMPRESSION = new Set(['permessage-deflate', 'x-webkit-deflate-frame'])

/** Whether a request asks for a WebSocket, well or badly. */
export function asksForWebSocket ({ headers: { upgrade } }: Pick<IncomingMessage, 'headers'>): boolean {
  return upgrade !== undefined && upgrade.toLowerCase().split(',').some(token => token.trim() === 'websocket')
}

/**
 * What the client asks for (RFC 6455 section 4.2.1).
 * @throws BadRequestError, UpgradeVersionError (426), OriginError (403)
 */
export function readHandshake (raw: IncomingMessage, config: WebSocketConfig): ClientHandshake {
  const { headers } = raw
  if (raw.method !== 'GET') throw malformed('its method must be GET')
  if (raw.httpVersion !== '1.1') throw malformed('it needs HTTP/1.1')
  if (!connectionTokens(headers.connection ?? '').includes('upgrade')) throw malformed('Connection must say Upgrade')
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) throw malformed('it must have no body')
  const version = headers['sec-websocket-version']
  if (version === undefined) throw malformed('Sec-WebSocket-Version is missing')
  if (version !== '13') throw websocketVersion()
  const key = headers['sec-websocket-key']
  // Node joins repeated fields, and then it is no key any more
  if (key === undefined || !KEY.test(key)) throw malformed('Sec-WebSocket-Key must be 16 bytes in base64')
  const protocols = readProtocols(headers['sec-websocket-protocol'])
  const extensions = readExtensions(headers['sec-websocket-extensions'])
  if (protocols === undefined) throw malformed('Sec-WebSocket-Protocol must be a list of different names')
  if (extensions === undefined) throw malformed('Sec-WebSocket-Extensions must be a list of names with parameters')
  if (config.origins !== undefined && !isAllowed(onlyValue(raw, 'origin'), config.origins)) throw new OriginError()
  return { key, protocols, extensions: config.compression === 'off' ? extensions.filter(({ name }) => !COMPRESSION.has(name)) : extensions, config }
}

function malformed (what: string): Error {
  return new BadRequestError(`no WebSocket handshake: ${what}`)
}

/** Of a field that must not be there twice: Node keeps the first of some. */
function onlyValue ({ rawHeaders }: IncomingMessage, name: string): string | undefined {
  const values = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]!.toLowerCase() === name)
  return values.length === 1 ? values[0] : undefined
}

/** The call's headers as the backend gets them: the handshake is the client's, whatever rules and hooks have made of it. */
export function handshakeHeaders (headers: RawHeaders, { key, protocols, extensions }: ClientHandshake): RawHeaders {
  const out: RawHeaders = []
  for (let i = 0; i < headers.length; i += 2) {
    if (!headers[i]!.toLowerCase().startsWith('sec-websocket-')) out.push(headers[i]!, headers[i + 1]!)
  }
  out.push('Sec-WebSocket-Key', key, 'Sec-WebSocket-Version', '13')
  if (protocols.length > 0) out.push('Sec-WebSocket-Protocol', protocols.join(', '))
  if (extensions.length > 0) out.push('Sec-WebSocket-Extensions', extensions.map(({ text }) => text).join(', '))
  return out
}

/** `Sec-WebSocket-Accept` for a key. */
export function acceptOf (key: string): string {
  return createHash('sha1').update(key + GUID).digest('base64')
}

type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

/** What is wrong with a backend's 101 (RFC 6455 section 4.2.2); undefined: nothing. */
export function answerProblem (headers: AnswerHeaders, { key, protocols, extensions }: ClientHandshake): string | undefined {
  if (String(headers['upgrade']).toLowerCase() !== 'websocket') return 'its Upgrade is not websocket'
  if (!connectionTokens(String(headers['connection'])).includes('upgrade')) return 'its Connection does not say Upgrade'
  if (headers['sec-websocket-accept'] !== acceptOf(key)) return 'its Sec-WebSocket-Accept is not that of the key'
  const protocol = headers['sec-websocket-protocol']
  if (protocol !== undefined && !protocols.some(offered => offered === protocol)) return `it chose the subprotocol ${JSON.stringify(protocol)}, which was not offered`
  return extensionsProblem(headers['sec-websocket-extensions'], extensions)
}

function extensionsProblem (value: string | string[] | undefined, offered: readonly Extension[]): string | undefined {
  const chosen = readExtensions(value === undefined ? undefined : String(value))
  if (chosen === undefined) return 'its Sec-WebSocket-Extensions is malformed'
  for (const [index, { name, parameters }] of chosen.entries()) {
    const offers = offered.filter(offer => offer.name === name)
    if (offers.length === 0) return `it chose the extension ${JSON.stringify(name)}, which was not offered`
    if (chosen.findIndex(other => other.name === name) !== index) return `it chose the extension ${JSON.stringify(name)} twice`
    // RFC 7692 section 7.1.2.2: a window that the client has not said it can have
    if (parameters.includes('client_max_window_bits') && !offers.some(offer => offer.parameters.includes('client_max_window_bits'))) {
      return 'it chose client_max_window_bits, which was not offered'
    }
  }
  return undefined
}

// ---- lists

/** Different tokens in order; undefined for anything else. */
function readProtocols (value: string | undefined): string[] | undefined {
  if (value === undefined) return []
  const names = value.split(',').map(name => name.trim())
  return names.every(isToken) && new Set(names).size === names.length ? names : undefined
}

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const PARAMETER = new RegExp(`\\s*;\\s*(${TOKEN})(?:\\s*=\\s*(?:${TOKEN}|"${TOKEN}"))?`, 'g')
/** RFC 6455 section 9.1: a quoted value is a token, too. */
const EXTENSION = new RegExp(`^(${TOKEN})((?:${PARAMETER.source.replace('(', '(?:')})*)$`)

/** undefined: malformed. */
function readExtensions (value: string | undefined): Extension[] | undefined {
  if (value === undefined) return []
  const extensions: Extension[] = []
  for (const entry of value.split(',')) {
    const text = entry.trim()
    const [, name, parameters = ''] = EXTENSION.exec(text) ?? []
    if (name === undefined) return undefined
    extensions.push({ name: name.toLowerCase(), text, parameters: [...parameters.matchAll(PARAMETER)].map(([, parameter]) => parameter!.toLowerCase()) })
  }
  return extensions
}
