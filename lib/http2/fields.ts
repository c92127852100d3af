/** Header fields as HTTP/2 has them (RFC 9113 section 8). */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'

/** What belongs to an HTTP/1.1 connection (section 8.2.2), and the field that a pseudo header stands for. */
const NOT_HERE = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings', 'host'])

export interface RequestLine {
  readonly method: string
  readonly path: string
  readonly scheme: string
  /** Of the target; the request's own Host comes before it. */
  readonly authority: string
}

/** `fields`: name, value, name, value …, or an object. Of a repeated name the values are joined, as all lists may be. */
export function requestFields ({ method, path, scheme, authority }: RequestLine, fields: readonly string[] | Readonly<Record<string, string>>): OutgoingHttpHeaders {
  const out: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders
  out[':method'] = method
  out[':path'] = path
  out[':scheme'] = scheme
  out[':authority'] = authority
  if (Array.isArray(fields)) for (let i = 0; i + 1 < fields.length; i += 2) put(out, fields[i] as string, fields[i + 1] as string)
  else for (const [name, value] of Object.entries(fields)) put(out, name, value as string)
  return out
}

function put (out: OutgoingHttpHeaders, rawName: string, value: string): void {
  const name = rawName.toLowerCase()
  if (name === 'host') out[':authority'] = value
  if (NOT_HERE.has(name) || (name === 'te' && value !== 'trailers')) return
  const before = out[name]
  out[name] = before === undefined ? value : `${String(before)}${name === 'cookie' ? '; ' : ', '}${value}`
}

/** Without pseudo headers. */
export function answerFields (headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {}
  for (const name in headers) {
    if (!name.startsWith(':') && name !== '__proto__') fields[name] = headers[name] as string | string[]
  }
  return fields
}

/** The same for the list of what was received. */
export function withoutPseudo (raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) if (!raw[i]!.startsWith(':')) fields.push(raw[i]!, raw[i + 1]!)
  return fields
}
