/** From a call's answer, or its failure, to the client's reply. */
import { isAscii } from 'node:buffer'
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import { AbortedError } from '../errors.ts'
import { isEventStream } from '../forward/event-stream.ts'
import { sendHead } from '../forward/answer-body.ts'
import { isGone } from '../forward/connection.ts'
import { lingerWhileUploading } from '../forward/linger.ts'
import { bagOfReply } from '../headers/bag.ts'
import type { Deadlines } from '../deadlines.ts'
import type { Answer, Call, ProxyConfig, ResponseDraft } from '../types.ts'

/** Texts up to this size are sent as strings. */
const SHORT = 16_384

export interface DeliverTools {
  readonly deadlines: Deadlines
  /** Whether the server is on its way down: connections end with their answers. */
  isClosing (): boolean
}

/** After these nothing else on the connection can be trusted to be a request. */
const LAST_WORDS = new Set(['RP_ERR_BAD_REQUEST', 'RP_ERR_TRANSFER_CODING', 'RP_ERR_HTTP_VERSION'])

/** Makes the two ends of a call: `deliver` for its answer, `fail` for its failure. */
export function createDeliver ({ deadlines, isClosing }: DeliverTools) {
  function deliver (call: Call, answer: Answer): void {
    const { request, reply } = call
    if (reply.sent) {
      // a timeout or hook of the user's has answered already
      answer.discard()
      return
    }
    try {
      reply.code(answer.status)
      if (answer.statusMessage !== '' && answer.statusMessage !== STATUS_CODES[answer.status] && request.raw.httpVersionMajor === 1) setReason(reply, answer.statusMessage)
      const plain = call.settings.policies.response(answer.headers, reply, request) && answer.plain
      if (!request.raw.complete) lingerWhileUploading(request, reply, deadlines)
      if (isClosing()) sayClose(reply)
      if (call.settings.modifyResponse === undefined) send(reply, answer, call.method, plain)
      else modify(call, answer, call.settings.modifyResponse).then(undefined, error => refuse(error))
    } catch (error) {
      refuse(error as Error)
    }

    function refuse (error: Error): void {
      answer.discard()
      // what spoke of the answer does not speak of the error
      for (const name in answer.headers) reply.removeHeader(name)
      resetReason(reply)
      fail(call.settings, request, reply, error)
    }
  }

  function fail (plan: Pick<ProxyConfig, 'errorHandler'>, request: FastifyRequest, reply: FastifyReply, error: Error): void {
    // Nobody is there to read it; the record says so.
    if (error instanceof AbortedError && isGone(request)) return
    if (LAST_WORDS.has((error as { code?: string }).code ?? '')) sayClose(reply)
    else if (!request.raw.complete) lingerWhileUploading(request, reply, deadlines)
    if (plan.errorHandler === undefined) sendError(reply, error)
    else handle(plan.errorHandler, request, reply, error)
  }

  return { deliver, fail }
}

/** The connection ends with this answer. HTTP/2 has its own way (GOAWAY), and no such header (RFC 9113 section 8.2.2). */
export function sayClose (reply: FastifyReply): void {
  if (reply.request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
}

function sendError (reply: FastifyReply, error: Error): void {
  if (reply.sent) return
  // what a hook or the backend's answer has put there speaks of another body
  reply.removeHeader('content-length').removeHeader('content-type').removeHeader('content-encoding')
  reply.send(error)
}

function handle (handler: NonNullable<ProxyConfig['errorHandler']>, request: FastifyRequest, reply: FastifyReply, error: Error): void {
  // a promise around the call catches what it throws before its first await, too
  Promise.resolve().then(() => handler(error, request, reply)).then(
    () => sendError(reply, error),
    thrown => sendError(reply, thrown instanceof Error ? thrown : error)
  )
}

function send (reply: FastifyReply, answer: Answer, method: string, plain: boolean): void {
  const { body } = answer
  // a hook asked for the head only, and the client did not
  if (method === 'HEAD' && reply.request.raw.method !== 'HEAD') reply.removeHeader('content-length')
  if (body !== null && !Buffer.isBuffer(body)) openAtOnce(reply)
  // Fastify would invent a type or a length for anything but a stream.
  if (!Buffer.isBuffer(body)) reply.send(body ?? empty())
  else if (answer.status === 304 || method === 'HEAD' || !hasPlainType(answer.headers['content-type'])) reply.send(answer.stream())
  // Node joins a text with the headers into one string and one plain write; a Buffer takes the slower writev.
  else if (body.length <= SHORT && plain && isAscii(body)) reply.serializer(asItIs).send(body.toString('latin1'))
  else reply.send(body)
}

/** A type that Fastify's parser of types accepts; what it does not it would replace. */
const PLAIN_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:; ?[\w-]+=[\w.-]+)?$/

function hasPlainType (type: string | string[] | undefined): boolean {
  return typeof type === 'string' && PLAIN_TYPE.test(type)
}

/** A serializer, so that Fastify takes the text as it is and leaves its type alone. */
function asItIs (payload: unknown): string {
  return payload as string
}

function empty (): Readable {
  const stream = new Readable({ read () {} })
  stream.push(null)
  return stream
}

/** A reason phrase of the backend's own; control characters cannot get here through the parser, Latin-1 can. */
function setReason (reply: FastifyReply, reason: string): void {
  if (/^[\t\x20-\x7e]+$/.test(reason)) reply.raw.statusMessage = reason
}

function resetReason (reply: FastifyReply): void {
  if (reply.request.raw.httpVersionMajor === 1) reply.raw.statusMessage = ''
}

function isStream (body: NonNullable<ResponseDraft['body']>): boolean {
  return typeof body !== 'string' && !Buffer.isBuffer(body)
}

async function modify (call: Call, answer: Answer, hook: NonNullable<ProxyConfig['modifyResponse']>): Promise<void> {
  const { request, reply } = call
  let replaced: ResponseDraft['body'] | undefined
  let taken: Answer['body'] | undefined
  const draft: ResponseDraft = {
    status: answer.status,
    headers: bagOfReply(reply),
    get body () {
      if (replaced !== undefined) return replaced
      taken = answer.body
      return taken
    },
    set body (body) { replaced = body }
  }
  await hook(draft, request, reply)
  if (reply.sent) {
    answer.discard()
    return
  }
  if (draft.status !== answer.status) resetReason(reply)
  reply.code(draft.status)
  if (replaced === undefined) {
    send(reply, answer, call.method, false)
    return
  }
  // a hook that has taken the backend's body may be reading it into its own stream
  if (taken === undefined || replaced === null || !isStream(replaced)) answer.discard()
  else if (taken instanceof Readable && replaced !== taken) endWith(replaced as Readable, taken)
  reply.removeHeader('content-length').removeHeader('content-encoding')
  // what else a hook sends may be a file that is not there, and that is no answer yet
  if (isEventStream(reply.getHeader('content-type'))) openAtOnce(reply)
  reply.send(replaced ?? empty())
}

/** `pipe()` does not pass on that its source has broken, and the client would wait for ever. */
function endWith (stream: Partial<Readable>, source: Readable): void {
  source.once('error', error => { stream.destroy?.(error) })
}

/**
 * Headers go to the client when the backend has sent its own, also where a hook sends the body through a stream that waits for
 * more: an event stream is open when its headers are there, and a body that breaks before its first byte is cut, too.
 */
function openAtOnce ({ raw }: FastifyReply): void {
  raw.once('pipe', function flushHead (this: typeof raw, body: Readable) {
    if (body.readableLength === 0) sendHead(this)
  })
}
