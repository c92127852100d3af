/** A request and its answer as a line. */
import type { OutgoingHttpHeader } from 'node:http'
import { memo } from '../redact/index.ts'
import type { RedactedBody, Redactor } from '../redact/types.ts'
import type { Attempt } from '../types.ts'

const COLON = 0x3a

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
  readonly attempts: readonly Attempt[]
}

/** Values by their names in canonical form. Nothing is inherited, so that any name may be one; a plain object without a prototype takes longer to write. */
class Fields {
  [name: string]: string[] | undefined
}
Object.setPrototypeOf(Fields.prototype, null)

/** A head as it may be shown. */
class Head {
  /** As it stood on the wire. */
  text = ''
  readonly fields = new Fields()
  /** Content-Type and Content-Encoding as they were sent. */
  type: string | undefined = undefined
  encoding: string | undefined = undefined
}

/** Makes lines: JSON without a line's end. `limit`: most bytes of a body that is unpacked. */
export function createLines (redactor: Redactor, limit: number): (dumped: Dumped) => string {
  const nameOf = memo(canonical)
  const shownTarget = memo(target => redactor.url(target))

  function add (head: Head, name: string, value: string): void {
    const shown = redactor.header(name, value)
    const field = nameOf(name)
    head.text += `${name}: ${shown}\r\n`
    const values = head.fields[field]
    if (values === undefined) head.fields[field] = [shown]
    else values.push(shown)
    if (field === 'Content-Type') head.type ??= value
    else if (field === 'Content-Encoding') head.encoding ??= value
  }

  function requestHead (raw: readonly string[]): Head {
    const head = new Head()
    // HTTP/2's own fields are in the start line
    for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]!.charCodeAt(0) !== COLON) add(head, raw[i]!, raw[i + 1]!)
    return head
  }

  function responseHead (headers: Dumped['responseHeaders']): Head {
    const head = new Head()
    for (const name in headers) {
      const values = headers[name]
      if (Array.isArray(values)) for (const value of values) add(head, name, value)
      else if (values !== undefined) add(head, name, String(values))
    }
    return head
  }

  function bodyOf ({ bytes, truncated }: DumpedBody, { type, encoding }: Head): RedactedBody {
    return redactor.body({ bytes, truncated, type, encoding, limit })
  }

  return function lineOf (dumped) {
    const url = redactor.url(dumped.url)
    const request = requestHead(dumped.rawHeaders)
    const requestBody = bodyOf(dumped.requestBody, request)
    const response = responseHead(dumped.responseHeaders)
    const responseBody = bodyOf(dumped.responseBody, response)
    const attempts = dumped.attempts.map(({ part, backend, target, outcome, status, duration }) =>
      ({ part, backend, target: shownTarget(target), outcome: outcome ?? null, status: status ?? null, duration: duration === undefined ? null : rounded(duration) }))
    return JSON.stringify({
      timestamp: new Date(dumped.at).toISOString(),
      rule: dumped.route,
      backend: dumped.backend ?? null,
      target: attempts.at(-1)?.target ?? null,
      tenant: dumped.tenant ?? null,
      client_ip: dumped.clientAddress,
      request_id: redactor.text(dumped.requestId),
      method: dumped.method,
      url,
      raw_request: `${dumped.method} ${url} HTTP/${dumped.httpVersion}\r\n${request.text}\r\n`,
      request_headers: request.fields,
      request_body: requestBody.text,
      request_body_encoding: requestBody.base64 ? 'base64' : undefined,
      request_body_truncated: requestBody.truncated || undefined,
      request_body_decoded: requestBody.decoded,
      request_body_omitted: requestBody.omitted,
      status_code: dumped.status,
      response_headers: response.fields,
      response_body: responseBody.text,
      response_body_encoding: responseBody.base64 ? 'base64' : undefined,
      response_body_truncated: responseBody.truncated || undefined,
      response_body_decoded: responseBody.decoded,
      response_body_omitted: responseBody.omitted,
      duration: rounded(dumped.duration),
      aborted: dumped.aborted || undefined,
      cut: dumped.cut || undefined,
      attempts
    })
  }
}

/** `user-agent` → `User-Agent`. */
export function canonical (name: string): string {
  return name.toLowerCase().replace(/(?:^|-)[a-z]/g, start => start.toUpperCase())
}

function rounded (ms: number): number {
  return Math.round(ms * 1000) / 1000
}
