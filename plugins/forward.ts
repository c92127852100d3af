/**
 * The only file that calls reply-from. Stage: the innermost one, once per attempt. Reads: the call. Writes: the
 * record's attempts, the target's counters.
 *
 * reply-from gets a dispatcher of ours instead of an undici agent: it hands the exchange over through its header
 * object and calls back with the answer's headers. Failures do not go back through it, since it would log each one
 * with a stack and turn it into a 500 that names the backend's address. And it gets a stand-in for the reply: several
 * calls may run for one client request, and none of them may touch its status or headers.
 */
import fp from 'fastify-plugin'
import replyFrom from '@fastify/reply-from'
import type { FastifyReplyFromHooks } from '@fastify/reply-from'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify'
import type { Server } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Duplex } from 'node:stream'
import { createConnectFailures } from '../lib/connect/failure.ts'
import { AbortedError, TimeoutError } from '../lib/errors.ts'
import { watch } from '../lib/forward/connection.ts'
import { Exchange } from '../lib/forward/exchange.ts'
import { answerContinueLazily } from '../lib/forward/expect.ts'
import { openBody, worthWaiting } from '../lib/forward/request-body.ts'
import { dispatchUpgrade } from '../lib/forward/upgrade.ts'
import { joinPath } from '../lib/rewrite/index.ts'
import type { Pools } from '../lib/pools.ts'
import type { Answer, Attempt, Call, RawHeaders, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** Event streams whose readers come back when they end. Owner: plugins/forward.ts */
    eventStreams: EventStreams
  }
}

export interface EventStreams {
  /** Open now. */
  readonly size: number
  /** From now on each ends with the event that is under way; or only those of such routes, until it is called again. */
  end (isMeant?: (route: string) => boolean): void
}

const kExchange = Symbol('reverseproxy.exchange')

/** What reply-from builds a URL of; the cached one is never looked at. */
const PLACEHOLDER = 'http://backend'

/** What reply-from sees of client and reply: a bodiless request without headers, and nothing to write on. */
const standIn: unknown = Object.freeze({
  request: Object.freeze({
    raw: Object.freeze({ method: 'GET', url: '/', headers: Object.freeze({}), httpVersionMajor: 1, complete: true, aborted: false }),
    body: undefined
  }),
  sent: false,
  header () { return this },
  code () { return this }
})

interface Handed { [kExchange]?: Exchange }

const forward: FastifyPluginAsync = async function forward (fastify) {
  const { reverseproxy } = fastify
  const { clock, config, deadlines, observers, registry: { pools } } = reverseproxy
  /** The exchange that the running call of reply.from() is about; it reads this before it returns. */
  let handing: Exchange | undefined

  const tools = { deadlines, now: () => clock.now(), timed: config.log !== undefined, onOutcome: tell, onDone: settle, onEvents: follow, onPoisoned: ({ target }: Exchange) => pools.replace(target) }

  const streams = new Set<Exchange>()
  let ending = false
  let isOver: (route: string) => boolean = () => false

  function follow (exchange: Exchange): void {
    streams.add(exchange)
    if (ending || exchange.target.state === 'draining' || isOver(exchange.call.record.route)) exchange.endEvents()
  }

  reverseproxy.eventStreams = {
    get size () { return streams.size },
    end (isMeant) {
      ending ||= isMeant === undefined
      isOver = isMeant ?? isOver
      for (const exchange of [...streams]) if (isMeant?.(exchange.call.record.route) !== false) exchange.endEvents()
    }
  }

  // a target that goes is not kept by streams that would never end
  reverseproxy.registry.watch(({ targets }, gone) => {
    // a tenant that comes changes nothing for those who are here
    if (gone.length === 0 && targets.every(({ state }) => state === 'active')) return
    for (const exchange of [...streams]) if (exchange.target.state === 'draining') exchange.endEvents()
  }, { lingers: true })

  const failures = createConnectFailures(clock, line => {
    fastify.log.warn(line, `a target could not be reached: ${line.reason}`)
  })

  function tell ({ attempt, call, failure, target }: Exchange): void {
    if (attempt.outcome === 'connect-error' && failure !== undefined) failures.tell(call.backend.name, target.id, failure)
    for (const observer of observers) observer(attempt, call, target)
  }

  function settle (exchange: Exchange): void {
    streams.delete(exchange)
    exchange.call.owner?.ended(exchange)
    exchange.call.slot?.free()
    release(exchange.target)
  }

  const hooks: FastifyReplyFromHooks = {
    getUpstream: () => PLACEHOLDER,
    queryString: () => '',
    retryDelay: () => null,
    rewriteRequestHeaders: () => ({ [kExchange]: handing } as Record<string, never>),
    rewriteHeaders: headers => headers,
    onResponse (_request, _reply, response) {
      const exchange = response.stream as unknown as Exchange
      exchange.resolve(exchange)
    }
  }

  function request (options: { headers: Handed }, callback: (error: Error) => void): void {
    const exchange = options.headers[kExchange]
    if (exchange === undefined) {
      callback(new Error('reply.from() belongs to the gateway: use reply.proxy()'))
      return
    }
    exchange.onAnswer = callback as unknown as NonNullable<Exchange['onAnswer']>
    dispatch(exchange, pools, config.deadlineHeader)
  }

  function start (call: Call, target: Target, resolve: (answer: Answer) => void, reject: (error: Error) => void): void {
    const startedAt = clock.now()
    const remaining = call.deadline - startedAt
    const { owner } = call
    if (owner?.cancelled !== undefined) {
      reject(owner.cancelled)
      return
    }
    if (remaining <= 0) {
      reject(new TimeoutError())
      return
    }
    const attempt: Attempt = { backend: call.backend.name, target: target.id, part: call.owner?.name, startedAt, sent: false, outcome: undefined, status: undefined, duration: undefined, connect: undefined }
    const streams = call.body.kind === 'sized' || call.body.kind === 'chunked'
    const exchange = new Exchange(call, target, attempt, remaining, streams, tools)
    exchange.resolve = resolve
    exchange.reject = reject
    if (!watch(call.request, exchange)) {
      (call.record as { aborted: boolean }).aborted = true
      reject(new AbortedError())
      return
    }
    call.running = exchange
    call.attempt = attempt
    call.record.attempts.push(attempt)
    owner?.started(exchange)
    target.inflight++
    target.started++
    exchange.begin()
    try {
      if (call.upgrade !== undefined) {
        dispatchUpgrade(exchange, pools, headersOf(exchange, config.deadlineHeader))
        return
      }
      // a call of the app's own: it has no reply that could send
      if (call.reply.from === undefined) {
        exchange.onAnswer = () => { exchange.resolve(exchange) }
        dispatch(exchange, pools, config.deadlineHeader)
        return
      }
      handing = exchange
      call.reply.from.call(standIn as FastifyReply, '/', hooks)
    } catch (error) {
      exchange.cancel(error as Error)
    } finally {
      handing = undefined
    }
  }

  reverseproxy.forward = function send (call) {
    const { target } = call
    if (target === undefined) return Promise.reject(new Error('no layer has chosen a target'))
    return new Promise((resolve, reject) => {
      // A small body that is still in Node's parser arrives before the next tick, and then needs no stream.
      if (worthWaiting(call.body, call.request.raw)) process.nextTick(start, call, target, resolve, reject)
      else start(call, target, resolve, reject)
    })
  }

  await fastify.register(replyFrom, {
    undici: { request } as unknown as { request: never },
    disableRequestLogging: true
  })
  prepareServer(fastify)
}

function dispatch (exchange: Exchange, pools: Pools, deadlineHeader: string | undefined): void {
  const { call, target } = exchange
  const { request, timeouts } = call
  const body = openBody(call.body, request, call.settings.bodyLimit)
  const sized = call.body.kind === 'sized' && body !== null && !Buffer.isBuffer(body)
  const headers = headersOf(exchange, deadlineHeader)
  pools.open(target, call.backend).dispatch({
    path: joinPath(target.basePath, call.path),
    method: call.method as 'GET',
    // undici writes the length of a Buffer by itself
    headers: sized ? [...headers, 'content-length', String((call.body as { length: number }).length)] : headers,
    // undici and our own client take the stand-in for a stream
    body: body as Buffer | null,
    // undici's own timers are a second coarse; they serve where only undici knows when the request is through
    headersTimeout: exchange.streams ? timeouts.headers : 0,
    bodyTimeout: 0
  }, exchange)
}

function headersOf ({ call, remaining }: Exchange, deadlineHeader: string | undefined): RawHeaders {
  if (deadlineHeader === undefined || remaining === Infinity) return call.headers
  return withHeader(call.headers, deadlineHeader, String(Math.max(1, Math.floor(remaining))))
}

/** In place of what the client may have sent under that name. */
function withHeader (headers: RawHeaders, name: string, value: string): RawHeaders {
  const others: RawHeaders = []
  for (let i = 0; i < headers.length; i += 2) if (headers[i]!.toLowerCase() !== name) others.push(headers[i]!, headers[i + 1]!)
  others.push(name, value)
  return others
}

function release (target: Target): void {
  target.inflight--
  if (target.inflight === 0 && target.onIdle !== undefined) {
    const { onIdle } = target
    target.onIdle = undefined
    onIdle()
  }
}

/** What can be set on a running server; the rest is in `serverOptions`. */
function prepareServer (fastify: FastifyInstance): void {
  const server = fastify.server as Server
  // Node drops header lines beyond a limit without a word; the size of the block is the limit that answers 431.
  server.maxHeadersCount = 0
  answerContinueLazily(server)
  if (server.listenerCount('connect') === 0) {
    server.on('connect', (_request, socket: Duplex | Http2ServerResponse) => {
      // RFC 8441 asks for WebSockets that way; HTTP/2 servers give an answer in place of a socket
      if ('stream' in socket) {
        socket.writeHead(501).end()
        return
      }
      socket.end('HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    })
  }
}

export default fp(forward, { name: 'reverseproxy-forward', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends'] })
