/**
 * A gateway with a composite route, and the backends behind it: `a` to `f`, all of one server, which writes down what it
 * is asked and answers by a table, at once or when the test says so.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { CompositeOptions } from '../../lib/options/index.ts'
import { startGateway } from './gateway.ts'
import type { GatewayOptions } from './gateway.ts'
import { waitFor } from './time.ts'
import type { TestLike } from './time.ts'
import { httpUpstream } from './upstream.ts'

/** One request to a backend. */
export interface Asked {
  readonly backend: string
  readonly method: string
  /** Path and query, without the backend's own prefix. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  /** Names and values as they came. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  /** The gateway has given it up. */
  readonly dropped: boolean
  readonly answered: boolean
  answer (answer: Answer): void
}

/** An answer with all that is to it. */
export class Whole {
  constructor (readonly status: number, readonly headers: Readonly<Record<string, string | string[]>>, readonly body: string | Buffer) {}
}

/** Not answered until the test does. */
export const HOLD = Symbol('hold')
/** The connection is torn down. */
export const BREAK = Symbol('break')

/** A value is sent as JSON with status 200. */
export type Answer = unknown

/** A status with a JSON body. */
export function status (code: number, value: unknown = {}, headers: Readonly<Record<string, string | string[]>> = {}): Whole {
  return new Whole(code, { 'content-type': 'application/json', ...headers }, JSON.stringify(value))
}

/** A JSON text, byte for byte. */
export function json (text: string, headers: Readonly<Record<string, string | string[]>> = {}): Whole {
  return new Whole(200, { 'content-type': 'application/json', ...headers }, text)
}

/** What a backend answers: the same each time, or by what it is asked. */
export type Answers = Readonly<Record<string, Answer | ((asked: Asked) => Answer)>>

/** The backends' side. */
export interface Backends {
  /** For the gateway's options. */
  readonly backends: Readonly<Record<string, string>>
  /** Every request, in order of arrival. */
  readonly asked: Asked[]
  /** `a /path?query`, in order of arrival. */
  readonly calls: string[]
  /** The one request to this backend; throws when there is none. */
  to (backend: string): Asked
  /** Waits until so many requests have come; false when they do not. */
  until (count: number): Promise<boolean>
}

/** Starts them; the test's teardown stops them. */
export async function startBackends (t: TestLike, answers: Answers = {}): Promise<Backends> {
  const asked: Asked[] = []
  const calls: string[] = []
  const { url } = await httpUpstream(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const [, backend = '', target = '/'] = /^\/([^/?]*)(.*)$/.exec(request.url ?? '') ?? []
      let done = false
      const one: Asked = {
        backend,
        method: request.method ?? '',
        target,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        body: Buffer.concat(chunks),
        get dropped () { return !done && (response.destroyed || response.closed) },
        get answered () { return done },
        answer (answer) {
          if (answer === HOLD) return
          done = true
          if (answer === BREAK) {
            response.destroy()
            return
          }
          const { status, headers, body } = answer instanceof Whole ? answer : new Whole(200, { 'content-type': 'application/json' }, JSON.stringify(answer))
          response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
          response.end(body)
        }
      }
      asked.push(one)
      calls.push(`${backend} ${target}`)
      const answer: unknown = answers[backend] ?? { [backend]: 1 }
      one.answer(typeof answer === 'function' ? (answer as (asked: Asked) => Answer)(one) : answer)
    })
  })
  return {
    backends: Object.fromEntries([...'abcdef'].map(name => [name, `${url}/${name}`])),
    asked,
    calls,
    to (backend) {
      const found = asked.find(one => one.backend === backend)
      if (found === undefined) throw new Error(`${backend} was not asked`)
      return found
    },
    until: count => waitFor(() => asked.length >= count)
  }
}

/** The client's side of an answer. */
export interface Told {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The text as JSON; undefined when it is none. */
  readonly value: unknown
}

export async function ask (url: string, init: RequestInit = {}): Promise<Told> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // no JSON
  }
  return { status: answer.status, headers: answer.headers, text, value }
}

export interface CompositeGateway extends Backends {
  readonly app: FastifyInstance
  readonly port: number
  readonly url: string
  /** Asks the gateway. Default path: `/c/7`. */
  ask (path?: string, init?: RequestInit): Promise<Told>
}

export interface CompositeSetUp {
  /** Default `/c/:id`. */
  readonly route?: string
  /** Default GET. */
  readonly method?: string | string[]
  readonly answers?: Answers
  /** Gateway options besides `backends`. */
  readonly gateway?: Partial<GatewayOptions>
  /** Before the route is declared. */
  readonly configure?: (app: FastifyInstance) => void | Promise<void>
  readonly server?: FastifyServerOptions
}

/** A gateway with one composite route. */
export async function startComposite (t: TestLike, composite: CompositeOptions, setUp: CompositeSetUp = {}): Promise<CompositeGateway> {
  const { route = '/c/:id', method = 'GET', answers, gateway, configure, server } = setUp
  const backends = await startBackends(t, answers)
  const started = await startGateway(t, { backends: backends.backends, ...gateway } as GatewayOptions, async app => {
    await configure?.(app)
    app.route({ method: method as 'GET', url: route, composite, handler: app.reverseproxy.handler } as Parameters<FastifyInstance['route']>[0])
  }, server)
  return Object.assign(backends, { ...started, ask: (path = '/c/7', init?: RequestInit) => ask(started.url + path, init) })
}
