/** A request and its answer as a line. */
import type { OutgoingHttpHeader } from 'node:http'
import { createHeads, type Head } from './head.ts'
import { createQuote, createTimestamp, milliseconds, withinString } from './json-text.ts'
import type { Redactor } from '../redact/types.ts'
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
  readonly attempts: readonly Attempt[]
}

/** Makes lines: JSON without a line's end. `limit`: most bytes of a body that is unpacked. */
export function createLines (redactor: Redactor, limit: number): (dumped: Dumped) => string {
  const heads = createHeads(redactor)
  const timestamp = createTimestamp()
  const quote = createQuote()
  const target = createQuote(target => redactor.url(target))

  /** The members that tell of a body. */
  function body (of: 'request' | 'response', { bytes, truncated }: DumpedBody, { type, encoding }: Head): string {
    const body = redactor.body({ bytes, truncated, type, encoding, limit })
    let text = `"${of}_body":${JSON.stringify(body.text)}`
    if (body.base64) text += `,"${of}_body_encoding":"base64"`
    if (body.truncated) text += `,"${of}_body_truncated":true`
    if (body.decoded !== undefined) text += `,"${of}_body_decoded":${JSON.stringify(body.decoded)}`
    if (body.omitted !== undefined) text += `,"${of}_body_omitted":"${body.omitted}"`
    return text
  }

  function attempt ({ part, backend, target: of, outcome, status, duration }: Attempt): string {
    return `{${part === undefined ? '' : `"part":${quote(part)},`}"backend":${quote(backend)},"target":${target(of)},"outcome":${quote(outcome)},` +
      `"status":${status ?? 'null'},"duration":${duration === undefined ? 'null' : milliseconds(duration)}}`
  }

  return function lineOf (dumped) {
    const { attempts, clientAddress } = dumped
    const url = withinString(redactor.url(dumped.url))
    const method = withinString(dumped.method)
    const request = heads.ofRequest(dumped.rawHeaders)
    const response = heads.ofResponse(dumped.responseHeaders)
    return `{"timestamp":"${timestamp(dumped.at)}","rule":${quote(dumped.route)},"backend":${quote(dumped.backend)},"target":${target(attempts.at(-1)?.target)},"tenant":${JSON.stringify(dumped.tenant ?? null)},` +
      `${clientAddress === undefined ? '' : `"client_ip":${JSON.stringify(clientAddress)},`}"request_id":${JSON.stringify(redactor.text(dumped.requestId))},"method":"${method}","url":"${url}",` +
      `"raw_request":"${method} ${url} HTTP/${dumped.httpVersion}\\r\\n${request.lines}\\r\\n","request_headers":${request.fields},${body('request', dumped.requestBody, request)},` +
      `"status_code":${dumped.status},"response_headers":${response.fields},${body('response', dumped.responseBody, response)},` +
      `"duration":${milliseconds(dumped.duration)},${dumped.aborted ? '"aborted":true,' : ''}${dumped.cut ? '"cut":true,' : ''}"attempts":[${attempts.map(attempt).join(',')}]}`
  }
}
