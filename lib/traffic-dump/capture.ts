/** What is kept of a request from its beginning to its end. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isCut, statusOfRequest, type Ended } from '../request-outcome.ts'
import { Tee, watchRequest, watchResponse } from './tee.ts'
import type { RequestRecord } from '../types.ts'
import type { Dumped } from './line.ts'
import type { Entry } from './types.ts'

/** What an entry costs besides bodies and headers. */
const OVERHEAD = 1_024

/** A class, as there is one per sampled request. */
export class Capture {
  readonly request: Tee
  readonly response: Tee

  constructor (
    /** Dumped only if it fails. */
    readonly ifFailed: boolean,
    /** Milliseconds since 1970. */
    readonly at: number,
    readonly startedAt: number,
    maxBodySize: number
  ) {
    this.request = new Tee(maxBodySize)
    this.response = new Tee(maxBodySize)
  }

  watch ({ raw: message }: FastifyRequest, { raw: response }: FastifyReply): void {
    if (mayHaveBody(message)) watchRequest(message, this.request)
    // whatever is given to be written, there is no body
    if (message.method !== 'HEAD') watchResponse(response, this.response)
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

export function dumpedOf (capture: Capture, record: RequestRecord, request: FastifyRequest, reply: FastifyReply, end: CapturedEnd): Dumped {
  const { raw } = request
  const { finished } = end
  const cut = isCut(record, end)
  return {
    at: capture.at,
    route: record.route,
    backend: record.backend,
    tenant: end.tenant,
    requestId: request.id,
    clientAddress: end.clientAddress ? request.ip : undefined,
    method: request.method,
    url: raw.url ?? request.url,
    httpVersion: raw.httpVersion,
    rawHeaders: raw.rawHeaders,
    requestBody: { bytes: capture.request.bytes(), truncated: capture.request.truncated },
    status: statusOfRequest(record, end),
    responseHeaders: reply.getHeaders(),
    responseBody: { bytes: capture.response.bytes(), truncated: capture.response.truncated },
    duration: end.now - capture.startedAt,
    aborted: !finished && !cut,
    cut,
    attempts: record.attempts
  }
}

/** What waits to be a line. A class, as there is one per sampled request. */
export class CapturedEntry implements Entry {
  readonly size: number

  constructor (readonly dumped: Dumped, readonly lineOf: (dumped: Dumped) => string) {
    this.size = sizeOf(dumped)
  }

  line (): string {
    return this.lineOf(this.dumped)
  }
}

function sizeOf ({ rawHeaders, requestBody, responseBody, responseHeaders, url }: Dumped): number {
  let size = OVERHEAD + requestBody.bytes.length + responseBody.bytes.length + url.length
  for (const text of rawHeaders) size += text.length
  for (const name in responseHeaders) size += name.length + String(responseHeaders[name]).length
  return size
}
