/**
 * One GET to the API server, up to the headers of its answer.
 *
 * Node's own http(s), with the options that the client library fills in. Not the library's `Watch`: it passes over lines that are
 * no JSON, holds lines of any length, keeps of a refusal only its status, and has no limit of time (1.x) or one of silence that a
 * quiet service breaks (2.x). Not undici either: the library gives TLS and proxies as options and agents of Node.
 */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { isObject } from './slice.ts'
import type { Cluster } from './cluster.ts'
import type { Limit } from './limit.ts'

/** An answer that is not 2xx, or an ERROR event. */
export class StatusError extends Error {
  override readonly name = 'StatusError'

  /** `retryAfter`: ms; undefined where the answer does not say. */
  constructor (readonly status: number, message: string, readonly retryAfter?: number) {
    super(message)
  }
}

/** Resolves with an answer of 200, whose body is then the caller's: it ends with the limit's signal. Throws StatusError for any other. */
export async function get (cluster: Cluster, path: string, limit: Limit): Promise<IncomingMessage> {
  const options = await limit.race(cluster.options())
  const url = new URL(cluster.server + path)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    limit.signal.throwIfAborted()
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
      ...options,
      headers: { accept: 'application/json', 'user-agent': 'fastify-reverseproxy', ...options.headers }
    }, resolve)
    const stop = (): void => { request.destroy(limit.signal.reason as Error) }
    limit.signal.addEventListener('abort', stop, { once: true })
    // a peer that is gone is noticed although nothing is sent to it for minutes
    request.once('socket', socket => { socket.setKeepAlive(true, KEEP_ALIVE) })
    request.once('response', response => {
      const cut = (): void => { response.destroy(limit.signal.reason as Error) }
      limit.signal.removeEventListener('abort', stop)
      limit.signal.addEventListener('abort', cut, { once: true })
      response.once('close', () => { limit.signal.removeEventListener('abort', cut) })
    })
    // not once: what cuts the answer later is told to the request as well
    request.on('error', (error: NodeJS.ErrnoException) => {
      // that of a host with several addresses has no message
      reject(limit.signal.aborted ? limit.signal.reason : new Error(`Kubernetes at ${url.host} cannot be asked: ${error.message || String(error.code)}`, { cause: error }))
    })
    request.end()
  })
  if (response.statusCode === 200) return response
  throw await refusal(response, limit, options.headers as Record<string, string>)
}

const KEEP_ALIVE = 30_000

/** The body as it comes. Throws the limit's reason when that has cut it. */
export async function * chunksOf (response: IncomingMessage, { signal }: Limit): AsyncGenerator<Buffer, void> {
  try {
    yield * response as AsyncIterable<Buffer>
  } catch (error) {
    throw signal.aborted ? signal.reason : new Error('the connection to Kubernetes broke within an answer', { cause: error })
  }
}

/** The whole body, which must be JSON of at most `size` bytes. */
export async function readJson (response: IncomingMessage, size: number, limit: Limit): Promise<unknown> {
  const text = await readText(response, size, limit)
  if (text === undefined) throw new Error(`Kubernetes answered more than ${size} bytes`)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new Error(`Kubernetes answered what is no JSON (${text.length} characters)`)
  }
}

/** undefined when there is more. */
async function readText (response: IncomingMessage, size: number, limit: Limit): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let read = 0
  for await (const chunk of chunksOf(response, limit)) {
    read += chunk.length
    if (read > size) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

async function refusal (response: IncomingMessage, limit: Limit, sent: Readonly<Record<string, string>>): Promise<StatusError> {
  const status = response.statusCode ?? 0
  const said = response.headers['retry-after']
  const retryAfter = said !== undefined && /^\d{1,9}$/.test(said) ? Number(said) * 1000 : undefined
  let message: string | undefined
  try {
    const body: unknown = JSON.parse(await readText(response, REFUSAL_SIZE, limit) ?? '')
    message = messageOf(body)
  } catch {
    limit.signal.throwIfAborted()
    // the status is what counts, and anything may stand before an API server
  }
  // some proxies send back what they were sent
  if (Object.values(sent).some(value => value.length > 8 && message?.includes(value.replace(/^\S+ /, '')) === true)) message = undefined
  return new StatusError(status, `Kubernetes answered ${status}${message === undefined ? '' : `: ${message}`}`, retryAfter)
}

const REFUSAL_SIZE = 64 * 1024

/** The message of a `Status` object. */
export function messageOf (body: unknown): string | undefined {
  const message = isObject(body) && body['kind'] === 'Status' ? body['message'] : undefined
  return typeof message === 'string' && message !== '' ? message.slice(0, 500) : undefined
}
