/** A request and its answer as a line. */
import type { OutgoingHttpHeader } from 'node:http'
import type { HeaderLine, RedactedBody, Redactor } from '../redact/types.ts'
import type { Attempt } from '../types.ts'

export interface DumpedBody {
  readonly bytes: Buffer
  readonly truncated: boolean
}

/** What is known when a request has ended. */
export interface Dumped {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly route: string
  readonly backend: string | undefined
  readonly tenant: string | undefined
  readonly requestId: string
  readonly clientAddress: string | undefined
  readonly method: string
  readonly url: string
  readonly httpVersion: string
  /** Name, value, name, value … as they came. */
  readonly rawHeaders: readonly string[]
  readonly requestBody: DumpedBody
  readonly status: number
  readonly responseHeaders: Readonly<Record<string, OutgoingHttpHeader | undefined>>
  readonly responseBody: DumpedBody
  /** Milliseconds. */
  readonly duration: number
  /** The client went away before its answer was complete. */
  readonly aborted: boolean
  /** The answer broke off after its headers. */
  readonly cut: boolean
  readonly attempts: readonly DumpedAttempt[]
}

export interface DumpedAttempt extends Pick<Attempt, 'target' | 'part' | 'outcome' | 'status' | 'duration'> {
  readonly backend: string | undefined
}

type Arrays = Record<string, string[]>

/** JSON without a line's end. */
export function lineOf (dumped: Dumped, redactor: Redactor, limit: number): string {
  const lines = redactor.headers(linesOf(dumped.rawHeaders))
  const url = redactor.url(dumped.url)
  const requestHeaders = arraysOf(lines)
  const responseLines = redactor.headers(responseLinesOf(dumped.responseHeaders))
  return JSON.stringify({
    timestamp: new Date(dumped.at).toISOString(),
    rule: dumped.route,
    backend: dumped.backend ?? null,
    target: dumped.attempts.length === 0 ? null : redactor.url(dumped.attempts.at(-1)!.target),
    tenant: dumped.tenant ?? null,
    client_ip: dumped.clientAddress,
    request_id: redactor.text(dumped.requestId),
    method: dumped.method,
    url,
    raw_request: `${dumped.method} ${url} HTTP/${dumped.httpVersion}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    request_headers: requestHeaders,
    ...bodyOf('request', dumped.requestBody, linesOf(dumped.rawHeaders), redactor, limit),
    status_code: dumped.status,
    response_headers: arraysOf(responseLines),
    ...bodyOf('response', dumped.responseBody, responseLinesOf(dumped.responseHeaders), redactor, limit),
    duration: rounded(dumped.duration),
    aborted: dumped.aborted || undefined,
    cut: dumped.cut || undefined,
    attempts: dumped.attempts.map(({ part, backend, target, outcome, status, duration }) =>
      ({ part, backend: backend ?? null, target: redactor.url(target), outcome: outcome ?? null, status: status ?? null, duration: duration === undefined ? null : rounded(duration) }))
  })
}

function bodyOf (of: 'request' | 'response', { bytes, truncated }: DumpedBody, headers: readonly HeaderLine[], redactor: Redactor, limit: number): Record<string, unknown> {
  const value = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1]
  const body: RedactedBody = redactor.body({ bytes, truncated, type: value('content-type'), encoding: value('content-encoding'), limit })
  return {
    [`${of}_body`]: body.text,
    [`${of}_body_encoding`]: body.base64 ? 'base64' : undefined,
    [`${of}_body_truncated`]: body.truncated || undefined,
    [`${of}_body_decoded`]: body.decoded,
    [`${of}_body_omitted`]: body.omitted
  }
}

function linesOf (raw: readonly string[]): HeaderLine[] {
  const lines: HeaderLine[] = []
  // HTTP/2's own fields are in the start line
  for (let i = 0; i + 1 < raw.length; i += 2) if (!raw[i]!.startsWith(':')) lines.push([raw[i]!, raw[i + 1]!])
  return lines
}

function responseLinesOf (headers: Dumped['responseHeaders']): HeaderLine[] {
  return Object.entries(headers).flatMap(([name, values]): HeaderLine[] =>
    values === undefined ? [] : [values].flat().map((value): HeaderLine => [name, String(value)]))
}

function arraysOf (lines: readonly HeaderLine[]): Arrays {
  const arrays = Object.create(null) as Arrays
  for (const [name, value] of lines) (arrays[canonical(name)] ??= []).push(value)
  return arrays
}

/** `user-agent` → `User-Agent`. */
export function canonical (name: string): string {
  return name.toLowerCase().replace(/(?:^|-)[a-z]/g, start => start.toUpperCase())
}

function rounded (ms: number): number {
  return Math.round(ms * 1000) / 1000
}
