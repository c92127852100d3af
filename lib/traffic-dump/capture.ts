/** What is kept of a request from its beginning to its end. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isCut, statusOfRequest, type Ended } from '../request-outcome.ts'
import { Tee, watchRequest, watchResponse } from './tee.ts'
import type { RequestRecord } from '../types.ts'
import type { Dumped, DumpedBody } from './line.ts'
import type { Entry } from './types.ts'

/** What an entry costs besides bodies and headers. */
const OVERHEAD = 1_024

const NO_BODY: DumpedBody = Object.freeze({ bytes: Buffer.alloc(0), truncated: false })

/** A class, as there is one per sampled request. */
export class Capture {
  request: Tee | undefined = undefined
  response: Tee | undefined = undefined

  constructor (
    /** Dumped only if it fails. */
    readonly ifFailed: boolean,
    /** Milliseconds since 1970. */
    readonly at: number,
    readonly startedAt: number
  ) {}

  /** `limit`: most bytes that are kept of a body. */
  watch ({ raw: message }: FastifyRequest, { raw: response }: FastifyReply, limit: number): void {
    if (mayHaveBody(message)) watchRequest(message, this.request = new Tee(limit))
    // whatever is given to be written, there is no body
    if (message.method !== 'HEAD') watchResponse(response, this.response = new Tee(limit))
  }
}

/** What is watched costs more than what is not, and most requests have none. */
function mayHaveBody ({ httpVersionMajor, headers }: FastifyRequest['raw']): boolean {
  return httpVersionMajor !== 1 || headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** How the request ended. */
export interface CapturedEnd extends Ended {
  readonly now: number
  /** As it may be shown. */
  readonly tenant: string | undefined
  readonly clientAddress: boolean
}

/** What is known of a request that waits to be a line. One object, as there is one per sampled request. */
export interface Captured extends Dumped, Entry {
  readonly lineOf: (dumped: Dumped) => string
}

export function capturedOf (capture: Capture, record: RequestRecord, request: FastifyRequest, reply: FastifyReply, end: CapturedEnd, lineOf: (dumped: Dumped) => string): Captured {
  const { raw } = request
  const { rawHeaders } = raw
  const { finished } = end
  const cut = isCut(record, end)
  const url = raw.url ?? request.url
  const responseHeaders = reply.getHeaders()
  const requestBody = capture.request?.end() ?? NO_BODY
  const responseBody = capture.response?.end() ?? NO_BODY
  return {
    at: capture.at,
    route: record.route,
    backend: record.backend,
    tenant: end.tenant,
    requestId: request.id,
    clientAddress: end.clientAddress ? request.ip : undefined,
    method: request.method,
    url,
    httpVersion: raw.httpVersion,
    rawHeaders,
    requestBody,
    status: statusOfRequest(record, end),
    responseHeaders,
    responseBody,
    duration: end.now - capture.startedAt,
    aborted: !finished && !cut,
    cut,
    attempts: record.attempts,
    size: OVERHEAD + url.length + requestBody.bytes.length + responseBody.bytes.length + sizeOfHeaders(rawHeaders, responseHeaders),
    lineOf,
    line
  }
}

function line (this: Captured): string {
  return this.lineOf(this)
}

function sizeOfHeaders (rawHeaders: readonly string[], responseHeaders: Dumped['responseHeaders']): number {
  let size = 0
  for (const text of rawHeaders) size += text.length
  for (const name in responseHeaders) size += name.length + String(responseHeaders[name]).length
  return size
}
