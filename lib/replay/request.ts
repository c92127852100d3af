/** From a line of a dump to a request that can be sent. Pure. */
import { isHopByHop } from '../headers/names.ts'
import { REDACTED } from '../redact/types.ts'
import type { DumpLine, ReplayRequest, Skip } from './types.ts'

const SAFE = new Set(['GET', 'HEAD'])
/** They speak of the connection, of the message as it was framed, or of where it went. */
const NOT_SENT = new Set(['host', 'content-length', 'expect', 'accept-encoding'])

/** Why it is not to be sent; undefined: it is. */
export function skipOf (line: DumpLine, allMethods: boolean): Skip | undefined {
  if (!allMethods && !SAFE.has(line.method)) return 'method'
  if (line.aborted === true || line.cut === true) return 'aborted'
  if (line.request_body_truncated === true) return 'truncated-body'
  if (line.request_body_omitted !== undefined || ((line.request_body ?? '') === '' && hadBody(line))) return 'missing-body'
  return undefined
}

export function requestOf (line: DumpLine): ReplayRequest {
  const { method, url, request_headers: given = {}, request_body: body = null, request_body_encoding: encoding, request_body_decoded: decoded } = line
  const named = new Set((given['Connection'] ?? []).flatMap(value => value.split(',').map(name => name.trim().toLowerCase())))
  const headers: Array<readonly [string, string]> = []
  const path = pathOf(url)
  let redacted = path.redacted || body?.includes(REDACTED) === true
  for (const [name, values] of Object.entries(given)) {
    const lower = name.toLowerCase()
    if (isHopByHop(lower) || NOT_SENT.has(lower) || named.has(lower) || (decoded !== undefined && lower === 'content-encoding')) continue
    for (const value of values) {
      if (value.includes(REDACTED)) redacted = true
      else headers.push([name, value])
    }
  }
  return { method, path: path.text, headers, body: body === null || body === '' ? undefined : Buffer.from(body, encoding === 'base64' ? 'base64' : 'utf8'), redacted }
}

function hadBody ({ request_headers: headers = {} }: DumpLine): boolean {
  return Number(headers['Content-Length']?.[0] ?? 0) > 0 || headers['Transfer-Encoding'] !== undefined
}

/** Without what comes before the path, and without parameters that are not in the dump. */
function pathOf (url: string): { readonly text: string, readonly redacted: boolean } {
  const local = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/, '')
  const [path = '', ...query] = local.split('?')
  const all = query.join('?').split('&')
  const kept = all.filter(pair => !pair.includes(REDACTED) && !pair.includes(encodeURIComponent(REDACTED)))
  const text = `${path.startsWith('/') ? path : `/${path}`}${query.length === 0 || kept.length === 0 ? '' : `?${kept.join('&')}`}`
  return { text: text.replaceAll('[', '%5B').replaceAll(']', '%5D'), redacted: kept.length < all.length || path.includes(REDACTED) }
}
