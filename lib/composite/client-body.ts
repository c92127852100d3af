/**
 * The client's body for parts that pass it on or read it: its bytes as they were sent, of at most `bodyLimit`.
 *
 * Where Fastify has a parser for it, the parser runs as on any route (a route's `schema.body` holds), and the bytes
 * are kept on their way to it. Where there is none, Fastify would answer 415; the bytes are read here instead.
 */
import { Transform } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AbortedError, BodyTooLargeError } from '../errors.ts'
import { hideBody } from '../forward/hide-body.ts'
import { isTorn, payloadOf } from '../forward/payload.ts'
import { planBody } from '../forward/request-body.ts'

const kKept = Symbol('reverseproxy.keptBody')

interface Keeping { [kKept]?: Keeper }

/** Passes a body on and keeps what it saw. */
class Keeper extends Transform {
  readonly chunks: Buffer[] = []
  /** For Fastify's check of Content-Length. */
  receivedEncodedLength = 0

  override _transform (chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    this.chunks.push(chunk)
    this.receivedEncodedLength += chunk.length
    done(null, chunk)
  }
}

/** A preParsing hook, the last one of its route. */
export function keepBody (request: FastifyRequest, reply: FastifyReply, payload: NodeJS.ReadableStream, done: (error: null, payload: never) => void): void {
  const type = request.headers['content-type']
  if (type === undefined || !request.server.hasContentTypeParser(mediaTypeOf(type))) {
    hideBody(request, reply, payload, done)
    return
  }
  const keeper = (request as Keeping)[kKept] = new Keeper()
  payload.on('error', (error: Error) => { keeper.destroy(error) })
  done(null, payload.pipe(keeper) as never)
}

function mediaTypeOf (type: string): string {
  const end = type.indexOf(';')
  return (end < 0 ? type : type.slice(0, end)).trim().toLowerCase()
}

/**
 * The body's bytes; undefined when there is none. A promise where it has to be read first.
 * @throws BodyTooLargeError (413), InvalidCallError when a hook has read it and left nothing
 */
export function readClientBody (request: FastifyRequest, limit: number): Buffer | undefined | Promise<Buffer> {
  const kept = (request as Keeping)[kKept]
  if (kept?.readableEnded === true) {
    if (kept.receivedEncodedLength > limit) throw new BodyTooLargeError()
    return Buffer.concat(kept.chunks)
  }
  const plan = planBody(request, limit)
  if (plan.kind === 'none') return undefined
  return plan.kind === 'value' ? plan.value : readAll(request, limit)
}

function readAll (request: FastifyRequest, limit: number): Promise<Buffer> {
  const raw = payloadOf(request)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    raw.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limit) reject(new BodyTooLargeError())
      else chunks.push(chunk)
    })
    raw.on('end', () => {
      if (isTorn(raw)) reject(new AbortedError())
      else resolve(Buffer.concat(chunks))
    })
    raw.on('error', reject)
    // a client that goes away ends everything else of this request as well
    raw.on('close', () => reject(new Error('the client has gone')))
    raw.resume()
  })
}
