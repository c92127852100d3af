/** From a line of a dump to a request that can be sent. Pure. */
import { isHopByHop } from '../headers/names.ts'
import { REDACTED } from '../redact/types.ts'
import type { DumpLine, ReplayRequest, RequestOptions, Skip } from './types.ts'

const SAFE = new Set(['GET', 'HEAD'])
/** They speak of the connection, of the message as it was framed, or of where it went. */
const NOT_SENT = new Set(['host', 'content-length', 'expect', 'accept-encoding'])
/** As it stands in forms and URLs. */
const ENCODED = encodeURIComponent(REDACTED)

/** Why it is not to be sent; undefined: it is. */
export function skipOf (line: DumpLine, { allMethods, redacted }: Pick<RequestOptions, 'allMethods' | 'redacted'>): Skip | undefined {
  if (!allMethods && !SAFE.has(line.method)) return 'method'
  if (line.aborted === true || line.cut === true) return 'aborted'
  if (line.request_body_truncated === true) return 'truncated-body'
  if (line.request_body_omitted !== undefined || ((line.request_body ?? '') === '' && hadBody(line))) return 'missing-body'
  if (redacted) return undefined
  if (isRedacted(partsOf(line.url).path)) return 'redacted-path'
  return hasRedactedBody(line) ? 'redacted-body' : undefined
}

export function requestOf (line: DumpLine, set: RequestOptions['set'] = []): ReplayRequest {
  const { method, url, request_headers: given = {}, request_body: body = null, request_body_encoding: encoding, request_body_decoded: decoded } = line
  const named = new Set((given['Connection'] ?? []).flatMap(value => value.split(',').map(name => name.trim().toLowerCase())))
  const replaced = new Set(set.map(([name]) => name.toLowerCase()))
  const headers: Array<readonly [string, string]> = []
  const path = pathOf(url)
  let withoutRedacted = path.withoutRedacted
  for (const [name, values] of Object.entries(given)) {
    const lower = name.toLowerCase()
    if (isHopByHop(lower) || NOT_SENT.has(lower) || named.has(lower) || replaced.has(lower) || (decoded !== undefined && lower === 'content-encoding')) continue
    for (const value of values) {
      if (value.includes(REDACTED)) withoutRedacted = true
      else headers.push([name, value])
    }
  }
  headers.push(...set)
  return {
    method,
    path: path.text,
    headers,
    body: body === null || body === '' ? undefined : Buffer.from(body, encoding === 'base64' ? 'base64' : 'utf8'),
    withoutRedacted,
    withRedacted: path.withRedacted || hasRedactedBody(line)
  }
}

/** Whether a replay may say what this header is: it speaks neither of the connection nor of how the message is framed. */
export function canBeSet (lowerName: string): boolean {
  return !isHopByHop(lowerName) && lowerName !== 'content-length' && lowerName !== 'expect'
}

function hadBody ({ request_headers: headers = {} }: DumpLine): boolean {
  return Number(headers['Content-Length']?.[0] ?? 0) > 0 || headers['Transfer-Encoding'] !== undefined
}

function hasRedactedBody ({ request_body: body, request_body_encoding: encoding }: DumpLine): boolean {
  return encoding !== 'base64' && isRedacted(body ?? '')
}

function isRedacted (text: string): boolean {
  return text.includes(REDACTED) || text.includes(ENCODED)
}

/** Without what comes before the path, and without a fragment. */
function partsOf (url: string): { readonly path: string, readonly query: string | undefined } {
  const local = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/, '')
  const [path = '', ...query] = local.split('?')
  return { path, query: query.length === 0 ? undefined : query.join('?') }
}

/** Without parameters that are not in the dump. */
function pathOf (url: string): { readonly text: string } & Pick<ReplayRequest, 'withRedacted' | 'withoutRedacted'> {
  const { path, query } = partsOf(url)
  const all = query?.split('&') ?? []
  const kept = all.filter(pair => !isRedacted(pair))
  const text = `${path.startsWith('/') ? path : `/${path}`}${kept.length === 0 ? '' : `?${kept.join('&')}`}`
  return { text: text.replaceAll('[', '%5B').replaceAll(']', '%5D'), withoutRedacted: kept.length < all.length, withRedacted: isRedacted(path) }
}
