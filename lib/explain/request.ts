/** A request that came over no wire, and a response that goes nowhere, as Node makes them. */
import { IncomingMessage, METHODS, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { AnsweredWith, RequestLike } from './types.ts'

export function makeRequest ({ method = 'GET', url = '/', headers = {}, remoteAddress = '127.0.0.1' }: RequestLike): IncomingMessage {
  const socket = new Socket()
  Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress })
  const raw = new IncomingMessage(socket)
  raw.method = method.toUpperCase()
  raw.url = url
  raw.httpVersion = '1.1'
  raw.httpVersionMajor = raw.httpVersionMinor = 1
  const fields = Object.entries({ host: 'localhost', ...lowerCase(headers) }).flatMap(([name, values]) => [values].flat().map(value => [name, String(value)] as const))
  raw.rawHeaders = fields.flat()
  raw.headers = {}
  for (const [name, value] of fields) raw.headers[name] = raw.headers[name] === undefined ? value : `${String(raw.headers[name])}, ${value}`
  raw.complete = true
  raw.push(null)
  return raw
}

/** What is wrong with a method that no client can send; undefined: nothing. `supported`: what routes may have. */
export function methodProblem (method: string, supported: readonly string[]): string | undefined {
  if (METHODS.includes(method.toUpperCase())) return undefined
  return `the method must be one of ${supported.join(', ')} (got ${JSON.stringify(method)})`
}

/** What is told of a path that looks like that of a route; undefined: it does not. */
export function pathNote (url: string): string | undefined {
  const [path = ''] = url.split('?')
  const [, written] = /\/(:[a-z_][^/]*|\*)(?=\/|$)/i.exec(path) ?? []
  if (written === undefined) return undefined
  const concrete = path.replace(/\/(?::[a-z_][^/]*|\*)(?=\/|$)/gi, '/7')
  return `"${written}" is taken as it stands: this wants the path of a request, such as ${concrete}, not that of a route`
}

function lowerCase (headers: NonNullable<RequestLike['headers']>): Record<string, string | readonly string[]> {
  return Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => value === undefined ? [] : [[name.toLowerCase(), value]]))
}

/** Without a socket nothing is ever sent, and `finish` never comes: hooks that count answers do not count this one. */
export class Unsent extends ServerResponse {
  constructor (raw: IncomingMessage, readonly onAnswer: (answer: AnsweredWith) => void) {
    super(raw)
  }

  override write (): boolean {
    return true
  }

  override end (chunk?: unknown): this {
    super.end()
    this.onAnswer({ statusCode: this.statusCode, ...told(chunk) })
    return this
  }
}

/** What Fastify's own error shape says. */
function told (payload: unknown): { code?: string, message?: string } {
  if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return {}
  try {
    const { code, message } = JSON.parse(payload.toString()) as { code?: unknown, message?: unknown }
    return { ...(typeof code === 'string' ? { code } : undefined), ...(typeof message === 'string' ? { message } : undefined) }
  } catch {
    return {}
  }
}
