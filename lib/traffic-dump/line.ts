/** A request and its answer as a line. */
import type { OutgoingHttpHeader } from 'node:http'
import { createHeads, type Head } from './head.ts'
import { createBeginning, createMember, flat, milliseconds, withinString } from './json-text.ts'
import { memo } from '../redact/index.ts'
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

/** Makes lines: JSON without a line's end. `limit`: most bytes of a body that is unpacked. Few and long pieces: each one is copied by itself in the end. */
export function createLines (redactor: Redactor, limit: number): (dumped: Dumped) => string {
  const heads = createHeads(redactor)
  const beginning = createBeginning()
  const rule = createMember('rule')
  const backend = createMember('backend')
  const target = createMember('target', target => redactor.url(target))
  const part = createMember('part')
  const outcome = createMember('outcome')
  const method = memo(method => {
    const text = withinString(method)
    return { beforeUrl: flat(`,"method":"${text}","url":"`), beforeRawUrl: flat(`","raw_request":"${text} `) }
  })

  /** The members that tell of a body. */
  function body (of: 'request' | 'response', { bytes, truncated }: DumpedBody, { type, encoding }: Head): string {
    if (bytes.length === 0 && !truncated) return of === 'request' ? '"request_body":null,' : '"response_body":null,'
    const body = redactor.body({ bytes, truncated, type, encoding, limit })
    let text = `${of === 'request' ? '"request_body":' : '"response_body":'}${JSON.stringify(body.text)},`
    if (body.base64) text += `"${of}_body_encoding":"base64",`
    if (body.truncated) text += `"${of}_body_truncated":true,`
    if (body.decoded !== undefined) text += `"${of}_body_decoded":${JSON.stringify(body.decoded)},`
    if (body.omitted !== undefined) text += `"${of}_body_omitted":"${body.omitted}",`
    return text
  }

  function attempt (attempt: Attempt): string {
    const { status, duration } = attempt
    return `{${attempt.part === undefined ? '' : part(attempt.part)}${backend(attempt.backend)}${target(attempt.target)}${outcome(attempt.outcome)}` +
      `"status":${status ?? 'null'},"duration":${duration === undefined ? 'null' : milliseconds(duration)}}`
  }

  return function lineOf (dumped) {
    const { attempts, clientAddress, tenant } = dumped
    const { beforeUrl, beforeRawUrl } = method(dumped.method)
    const url = withinString(redactor.url(dumped.url))
    const request = heads.ofRequest(dumped.rawHeaders)
    const requestBody = body('request', dumped.requestBody, request)
    const response = heads.ofResponse(dumped.responseHeaders)
    return `${beginning(dumped.at)}${rule(dumped.route)}${backend(dumped.backend)}${target(attempts.at(-1)?.target)}` +
      `${tenant === undefined ? '"tenant":null,' : `"tenant":${JSON.stringify(tenant)},`}${clientAddress === undefined ? '' : `"client_ip":${JSON.stringify(clientAddress)},`}` +
      `"request_id":${JSON.stringify(redactor.text(dumped.requestId))}${beforeUrl}${url}${beforeRawUrl}${url} HTTP/${dumped.httpVersion}\\r\\n${request.lines}\\r\\n",` +
      `"request_headers":{${request.fields}},${requestBody}"status_code":${dumped.status},"response_headers":{${response.fields}},${body('response', dumped.responseBody, response)}` +
      `"duration":${milliseconds(dumped.duration)},${dumped.aborted ? '"aborted":true,' : ''}${dumped.cut ? '"cut":true,' : ''}"attempts":[${attempts.map(attempt).join(',')}]}`
  }
}
