/**
 * The lively service: a chat with a room for each tenant, an echo, and a clock that tells the time as server-sent events.
 * `live.html` shows them.
 */
import type { FastifyInstance } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'

/** What somebody said: the text, who it was, when (ISO 8601). */
interface Said { readonly name: string, readonly text: string, readonly time: string }

/** What the room says to those in it: all of it to who comes in, then what is new. */
type News =
  | { readonly type: 'room', readonly tenant: string, readonly said: readonly Said[] }
  | { readonly type: 'people', readonly people: number }
  | { readonly type: 'said' } & Said

/** Characters; longer ones are cut. */
const LONGEST = { name: 30, text: 500 }
/** How much of what was said those learn who come later. */
const REMEMBERED = 50
/** Bytes that may wait for a slow reader; one who has more is sent away, and reads it all when it is back. */
const MOST_WAITING = 1_000_000
const INVALID = 1007
const GOING_AWAY = 1001

export function live (app: FastifyInstance): void {
  addClock(app)
  addSockets(app, { '/chat': createChat(), '/echo': echo })
}

// ---- the clock

function addClock (app: FastifyInstance): void {
  const closing = new AbortController()
  app.addHook('preClose', async () => { closing.abort() })
  // no HEAD: Fastify would read the stream to its end, which does not come
  app.get<{ Querystring: { lastEventId?: string } }>('/clock', { exposeHeadRoute: false }, async (request, reply) => {
    // the header is what EventSource sends when it comes back by itself, the parameter what a page can say
    const last = request.headers['last-event-id'] ?? request.query.lastEventId
    reply.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    return reply.send(Readable.from(ticks(/^\d{1,15}$/.test(String(last)) ? Number(last) + 1 : 1, closing.signal)))
  })
}

/** One event a second, until the signal: then it ends between two of them. */
async function * ticks (first: number, signal: AbortSignal): AsyncGenerator<string> {
  yield 'retry: 1000\n\n'
  for (let id = first; !signal.aborted; id++) {
    yield `id: ${id}\ndata: ${new Date().toISOString()}\n\n`
    await sleep(1_000, undefined, { signal }).catch(() => {})
  }
}

// ---- WebSockets

type Talk = (socket: WebSocket, request: IncomingMessage) => void

function addSockets (app: FastifyInstance, talks: Readonly<Record<string, Talk>>): void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 4096 })
  sockets.on('headers', headers => { headers.push('x-served-by: live') })
  app.server.on('upgrade', (request, socket, head) => {
    const [path = ''] = request.url!.split('?')
    const talk = Object.hasOwn(talks, path) ? talks[path] : undefined
    if (talk === undefined) {
      socket.on('error', () => {})
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (socket) => {
      // 'close' follows, and says what there is to say
      socket.on('error', () => {})
      talk(socket, request)
    })
  })
  app.addHook('preClose', async () => {
    for (const socket of sockets.clients) socket.close(GOING_AWAY)
    // who does not answer is not waited for
    setTimeout(() => { for (const socket of sockets.clients) socket.terminate() }, 1_000).unref()
  })
}

function echo (socket: WebSocket): void {
  socket.on('message', (data, binary) => { socket.send(data, { binary }) })
}

/** One says `{ name, text }`, and everybody in the room hears it. The room is the tenant's, as the gateway has written it. */
function createChat (): Talk {
  const rooms = new Map<string, Set<WebSocket>>()
  // outlives the people of the room; with a limit, as anybody can make a tenant's name up
  const memory = new LRUCache<string, readonly Said[]>({ max: 100 })

  return function enter (socket, { headers }) {
    const tenant = String(headers['x-tenant-id'] ?? '')
    const room = rooms.get(tenant) ?? new Set()
    rooms.set(tenant, room.add(socket))
    tell([socket], { type: 'room', tenant, said: memory.get(tenant) ?? [] })
    tell(room, { type: 'people', people: room.size })

    socket.on('message', (data) => {
      const said = read(String(data))
      if (said === undefined) {
        socket.close(INVALID, 'say { "name": "…", "text": "…" }')
        return
      }
      memory.set(tenant, [...memory.get(tenant) ?? [], said].slice(-REMEMBERED))
      tell(room, { type: 'said', ...said })
    })
    socket.on('close', () => {
      room.delete(socket)
      if (room.size === 0) rooms.delete(tenant)
      else tell(room, { type: 'people', people: room.size })
    })
  }
}

function read (message: string): Said | undefined {
  try {
    const { name, text } = JSON.parse(message) as { name: unknown, text: unknown }
    if (typeof name !== 'string' || typeof text !== 'string' || name.trim() === '' || text.trim() === '') return undefined
    return { name: name.trim().slice(0, LONGEST.name), text: text.trim().slice(0, LONGEST.text), time: new Date().toISOString() }
  } catch {
    return undefined
  }
}

function tell (sockets: Iterable<WebSocket>, news: News): void {
  const message = JSON.stringify(news)
  for (const socket of sockets) {
    if (socket.bufferedAmount > MOST_WAITING) socket.terminate()
    else socket.send(message)
  }
}
