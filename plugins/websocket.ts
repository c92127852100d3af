/**
 * WebSockets of routes with `websocket`: the one listener for upgrades, the answer that opens one, and what is open.
 *
 * Stage: before Fastify's routing (upgrades), a hook of such routes, and the end of their calls. A handshake is a call like any
 * other, through all layers; what comes back with a 101 is a socket, and from then on bytes pass between two sockets.
 * Reads: `call.upgrade`, the answer. Writes: the reply.
 */
import fp from 'fastify-plugin'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Server } from 'node:http'
import { sayClose } from '../lib/routes/deliver.ts'
import { acceptOf } from '../lib/websocket/handshake.ts'
import { clientSocketOf } from '../lib/websocket/client-socket.ts'
import { listenForUpgrades } from '../lib/websocket/listener.ts'
import { isCloseCode } from '../lib/websocket/frames.ts'
import { Relay } from '../lib/websocket/relay.ts'
import { Tunnel } from '../lib/websocket/tunnel.ts'
import type { Pair } from '../lib/websocket/pair.ts'
import type { WebSocketEnd } from '../lib/websocket/types.ts'
import type { Answer, Call, Target } from '../lib/types.ts'

declare module './core.ts' {
  interface ReverseProxy {
    /** The WebSockets of the gateway. Owner: plugins/websocket.ts */
    websockets: WebSockets
  }
}

export interface WebSockets {
  /** Open now. */
  readonly size: number
  /** The onRequest hook that a route needs to open one. From then on the server listens for upgrades. */
  hook (): (request: FastifyRequest, reply: FastifyReply, done: () => void) => void
  /** The end of a call whose answer has a connection; `fail` is for what goes wrong before the client has its answer. */
  open (call: Call, answer: Answer, fail: (error: Error) => void): void
  /** Says goodbye (1001) to those of such routes that are open now, or that open later by a handshake under way. */
  end (isMeant: (route: string) => boolean): void
}

const NORMAL = 1000
const GOING_AWAY = 1001
const INTERNAL_ERROR = 1011

const websocket: FastifyPluginAsync = async function websocket (fastify) {
  const { reverseproxy } = fastify
  const { clock, config: { shutdown }, deadlines, registry } = reverseproxy
  const pairs = new Map<Pair, { readonly target: Target, readonly route: string }>()
  let used = false
  let ending = false
  let isOver: (route: string) => boolean = () => false

  function prepare (request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const client = clientSocketOf(request.raw)
    if (client !== undefined) {
      client.hold()
      client.answerWith(reply.raw)
      hideFromOthers(request)
    }
    done()
  }

  function open (call: Call, answer: Answer, fail: (error: Error) => void): void {
    const { reply, request } = call
    const client = clientSocketOf(request.raw)!
    if (reply.sent || ending) {
      answer.discard()
      if (!reply.sent) {
        sayClose(reply)
        reply.code(503).send()
      }
      return
    }
    try {
      writeHead(call, answer)
    } catch (error) {
      answer.discard()
      for (const name in answer.headers) reply.removeHeader(name)
      fail(error as Error)
      return
    }
    client.opening = true
    let answered = false
    reply.raw.once('finish', () => {
      answered = true
      // a hook of the user's may have answered something else
      if (reply.raw.statusCode === 101) connect(call, answer)
      else refuse()
    })
    reply.raw.once('close', () => { if (!answered) refuse() })
    reply.send()

    function refuse (): void {
      answer.discard()
      client.part()
    }
  }

  function connect (call: Call, answer: Answer): void {
    const { request, upgrade } = call
    const connection = answer.connection!
    const client = clientSocketOf(request.raw)!
    const { socket } = client
    const early = client.take()
    connection.take()
    // what Node's server has set for requests does not hold any more; a peer that has vanished is noticed
    socket.setTimeout(0).setNoDelay(true).setKeepAlive(true, 60_000)
    const { config: { onOpen, onMessage, onClose, idleTimeout, maxPayload } } = upgrade!
    const options = {
      client: socket,
      backend: connection.socket,
      early,
      deadlines,
      now: clock.now,
      idleTimeout,
      maxPayload,
      closeTime: shutdown.timeout,
      onBackendGone: connection.release,
      onEnd (end: WebSocketEnd) {
        pairs.delete(pair)
        if (onClose !== undefined) settle(() => onClose(end, request), logged)
      }
    }
    const pair = onMessage === undefined
      ? new Tunnel(options)
      : new Relay({ ...options, onMessage: (data, from) => onMessage({ data, from }, request), onError: logged })
    const target = answer.target!
    pairs.set(pair, { target, route: call.record.route })
    if (onOpen !== undefined) settle(() => onOpen({ target: target.id, protocol: protocolOf(answer), close: closer(pair) }, request), failed)
    pair.start()
    if (ending || target.state === 'draining' || isOver(call.record.route)) pair.close(GOING_AWAY, '')

    function logged (error: unknown): void {
      request.log.error({ err: error }, 'a hook of a WebSocket failed')
    }
    function failed (error: unknown): void {
      logged(error)
      pair.close(INTERNAL_ERROR, '')
    }
  }

  if (fastify.hasPlugin('@fastify/websocket')) {
    // its onRoute hook has wrapped the handlers by the time ours looks at them
    fastify.log.warn('fastify-reverseproxy: register it before @fastify/websocket: else Fastify parses the bodies of requests that are to be forwarded as they are')
  }

  reverseproxy.websockets = {
    get size () { return pairs.size },
    hook () {
      used = true
      return prepare
    },
    open,
    end (isMeant) {
      isOver = isMeant
      for (const [pair, { route }] of pairs) if (isMeant(route)) pair.close(GOING_AWAY, '')
    }
  }

  // a target that goes takes its connections with it, politely
  registry.watch(({ targets }, gone) => {
    // a tenant that comes changes nothing for those who are here
    if (gone.length === 0 && targets.every(({ state }) => state === 'active')) return
    for (const [pair, { target }] of pairs) if (target.state === 'draining') pair.close(GOING_AWAY, '')
  }, { lingers: true })
  fastify.addHook('onReady', function listen (ready) {
    if (used) listenForUpgrades(fastify.server as Server, { route: fastify.routing, clock })
    ready()
  })
  fastify.addHook('preClose', function sayGoodbye (closed) {
    ending = true
    for (const pair of pairs.keys()) pair.close(GOING_AWAY, '')
    closed()
  })
}

/** What the client gets to see of the backend's 101. */
function writeHead ({ reply, request, settings, upgrade }: Call, { headers }: Answer): void {
  settings.policies.response(headers, reply, request)
  reply.removeHeader('content-length').removeHeader('content-type')
  reply.code(101).header('connection', 'Upgrade').header('upgrade', 'websocket').header('sec-websocket-accept', acceptOf(upgrade!.key))
  for (const name of ['sec-websocket-protocol', 'sec-websocket-extensions']) {
    if (headers[name] === undefined) reply.removeHeader(name)
    else reply.header(name, headers[name])
  }
}

function protocolOf ({ headers }: Answer): string | undefined {
  return headers['sec-websocket-protocol'] as string | undefined
}

/** `close` of a connection, as a hook has it. */
function closer (pair: Pair): (code?: number, reason?: string) => void {
  return (code = NORMAL, reason = '') => {
    if (!isCloseCode(code)) throw new RangeError(`a close code must be 1000 to 1014 (not 1004, 1005, 1006) or 3000 to 4999 (got ${code})`)
    if (Buffer.byteLength(reason) > 123) throw new RangeError('the reason of a close must have at most 123 bytes')
    pair.close(code, reason)
  }
}

/** Calls a hook, which may throw or give a promise that rejects. */
function settle (hook: () => void | Promise<void>, failed: (error: unknown) => void): void {
  new Promise<void>(resolve => { resolve(hook()) }).catch(failed)
}

/**
 * @fastify/websocket takes every upgrade of an application for its own, and opens a WebSocket where a route has no handler
 * for one. It knows them by what it has put on the request.
 */
function hideFromOthers (request: FastifyRequest): void {
  for (const symbol of Object.getOwnPropertySymbols(request.raw)) if (symbol.description === 'ws-socket') Reflect.deleteProperty(request.raw, symbol)
  if ('ws' in request) Reflect.set(request, 'ws', false)
}

export default fp(websocket, { name: 'reverseproxy-websocket', fastify: '5.x', dependencies: ['reverseproxy-core', 'reverseproxy-backends', 'reverseproxy-forward'] })
