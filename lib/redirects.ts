/** Where a redirect leads, as a call (RFC 9110 section 15.4). Pure. */
import { UNTRIED } from './routes/call.ts'
import { isSafePath } from './rewrite/index.ts'
import type { Answer, Backend, Call, RawHeaders, Target } from './types.ts'

const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** What belongs to one origin only and is not shown to another. */
const OF_THE_ORIGIN = new Set(['authorization', 'cookie', 'host', 'x-tenant-id'])

const NOTHING: ReadonlySet<string> = new Set()

const ABOUT_THE_BODY = /^content-/i

/** The targets of a configured origin: the only places a redirect may lead to. */
export type FindOrigin = (origin: string) => ReadonlyArray<{ readonly backend: Backend, readonly target: Target }>

/** The call that follows the answer, or undefined when the answer is the end: no redirect, or one not to be followed. */
export function resolveRedirect (call: Call, answer: Answer, find: FindOrigin): Call | undefined {
  const { location } = answer.headers
  if (!REDIRECTS.has(answer.status) || typeof location !== 'string') return undefined
  const from = answer.target!
  let url: URL
  try {
    // one text, so that a path that begins with two slashes stays a path
    url = new URL(location, from.origin + from.basePath + call.path)
  } catch {
    return undefined
  }
  const method = methodAfter(answer.status, call.method)
  const dropsBody = method !== call.method
  if (!dropsBody && call.body.kind !== 'none' && call.body.kind !== 'value') return undefined
  const place = findPlace(url, call, from, find)
  if (place === undefined) return undefined
  const sameOrigin = place.target.origin === from.origin && url.origin === from.origin
  return {
    ...call,
    ...UNTRIED,
    ...place,
    method,
    body: dropsBody ? { kind: 'none' } : call.body,
    headers: filterHeaders(call.headers, sameOrigin ? NOTHING : new Set([...OF_THE_ORIGIN, ...call.settings.policies.added, ...Object.keys(call.record.tenantHeaders ?? {}).map(name => name.toLowerCase())]), dropsBody)
  }
}

function findPlace (url: URL, call: Call, from: Target, find: FindOrigin): { backend: Backend, target: Target, path: string } | undefined {
  const here = { backend: call.backend, target: from }
  for (const { backend, target } of url.origin === from.origin ? [here, ...find(url.origin)] : find(url.origin)) {
    const path = withinBase(url.pathname, target.basePath)
    if (path !== undefined && isSafePath(path)) return { backend, target, path: path + url.search }
  }
  return undefined
}

function withinBase (pathname: string, basePath: string): string | undefined {
  if (basePath === '') return pathname
  if (pathname === basePath) return '/'
  return pathname.startsWith(`${basePath}/`) ? pathname.slice(basePath.length) : undefined
}

/** As browsers do: 303 asks for a GET, and so in practice do 301 and 302 after a POST. */
function methodAfter (status: number, method: string): string {
  if (status === 303) return method === 'HEAD' ? 'HEAD' : 'GET'
  return (status === 301 || status === 302) && method === 'POST' ? 'GET' : method
}

function filterHeaders (headers: RawHeaders, unwanted: ReadonlySet<string>, withoutBody: boolean): RawHeaders {
  const kept: RawHeaders = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (unwanted.has(name.toLowerCase())) continue
    if (withoutBody && ABOUT_THE_BODY.test(name)) continue
    kept.push(name, headers[i + 1]!)
  }
  return kept
}
