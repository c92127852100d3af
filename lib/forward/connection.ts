/**
 * Who is running on a client's connection, so that all of it ends when the connection does.
 *
 * One listener per connection, not per request: a keep-alive connection carries many requests, and pipelined ones
 * get no `close` event of their own. HTTP/2 streams are connections in this sense.
 */
import type { FastifyRequest } from 'fastify'
import type { EventEmitter } from 'node:events'

/** Something that must stop when the client is gone. */
export interface Watcher {
  clientGone (): void
}

/**
 * A set of few. A `Set` makes a new table whenever its last member leaves: once it is among the old objects, each request on a
 * connection made one there, too, which stayed until those were collected.
 */
class Running {
  #works: Array<Watcher | undefined> = []
  #count = 0

  /** For tests. */
  get size (): number {
    return this.#count
  }

  /** One that is not among them: nobody looks. */
  add (work: Watcher): void {
    this.#works[this.#count++] = work
  }

  delete (work: Watcher): void {
    const index = this.#works.indexOf(work)
    if (index < 0) return
    // the list keeps its length: to shorten it and make it longer again takes new memory each time
    this.#works[index] = this.#works[--this.#count]
    this.#works[this.#count] = undefined
  }

  takeAll (): Watcher[] {
    const works = this.#works.slice(0, this.#count) as Watcher[]
    this.#works = []
    this.#count = 0
    return works
  }
}

const kRunning = Symbol('reverseproxy.running')

type Connection = EventEmitter & { [kRunning]?: Running, destroyed?: boolean }

function connectionOf (request: FastifyRequest): Connection {
  const raw = request.raw as unknown as { stream?: Connection, socket: Connection }
  return raw.stream ?? raw.socket
}

/** Whether nobody is there any more to read an answer. */
export function isGone (request: FastifyRequest): boolean {
  const connection = connectionOf(request)
  // `aborted` covers a socket that undici or Node has taken off the message
  return request.raw.aborted || connection == null || connection.destroyed === true
}

/** Registers `work`; false when the client is gone already, and then nothing was registered. */
export function watch (request: FastifyRequest, work: Watcher): boolean {
  if (isGone(request)) return false
  const connection = connectionOf(request)
  let running = connection[kRunning]
  if (running === undefined) {
    connection[kRunning] = running = new Running()
    connection.once('close', onClose)
  }
  running.add(work)
  return true
}

export function unwatch (request: FastifyRequest, work: Watcher): void {
  connectionOf(request)?.[kRunning]?.delete(work)
}

function onClose (this: Connection): void {
  for (const work of this[kRunning]?.takeAll() ?? []) work.clientGone()
}
