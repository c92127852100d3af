/**
 * Scripted upstreams: `rawUpstream` for every byte and every fault, `httpUpstream` where a normal server will do.
 */
import { createServer as createHttpServer } from 'node:http'
import type { RequestListener, Server as HttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createParser, play, requestFraming, valueOf, valuesOf } from './messages.ts'
import type { HeaderLine, Step } from './messages.ts'
import { waitFor } from './time.ts'
import type { TestLike } from './time.ts'

/** A request as the upstream saw it. Grows until `complete`. */
export interface RecordedRequest {
  /** Start line and header lines, byte for byte (Latin-1), without the empty line. */
  readonly head: string
  readonly method: string
  readonly target: string
  readonly version: string
  /** Header lines in order, names with their case. */
  readonly headers: readonly HeaderLine[]
  /** First value of a field. */
  header (name: string): string | undefined
  /** All values of a field, in order. */
  all (name: string): string[]
  /** The body, framing taken off. Empty with the option `keepBodies: false`. */
  readonly body: Buffer
  /** Bytes of the body so far. */
  readonly size: number
  readonly trailers: readonly HeaderLine[]
  /** The end of the message has arrived. */
  readonly complete: boolean
  /** Number of the connection it came on, from 0. */
  readonly connection: number
}

/** One request to answer. */
export interface Exchange {
  readonly request: RecordedRequest
  readonly socket: Socket
  /** Number of the request on this upstream, from 0. */
  readonly nth: number
  /** Plays further steps on the connection. */
  play (steps: Step | readonly Step[]): Promise<void>
}

type Reply = Step | readonly Step[] | undefined
/** What to answer with: fixed steps, or a function that returns them or plays them itself. */
export type Script = Step | readonly Step[] | ((exchange: Exchange) => Reply | void | Promise<Reply | void>)
/** When the script runs: once the whole request is there (default), or once its head is. */
export type ScriptMoment = 'complete' | 'head'

export interface RawUpstreamOptions {
  /** Default `complete`. */
  readonly at?: ScriptMoment
  /** Called with each new connection, before any byte. */
  readonly onConnection?: (socket: Socket, connection: number) => void
  /** Keep bodies in memory. Default true. */
  readonly keepBodies?: boolean
  /** Stop reading as soon as a connection is there, until the test resumes it. Default false. */
  readonly paused?: boolean
}

/** A `net` server that reads requests by itself and writes exactly what the script says. */
export interface RawUpstream {
  readonly port: number
  readonly url: string
  /** Every request whose head has arrived, in order. */
  readonly requests: RecordedRequest[]
  /** The last of them; throws when there is none. */
  readonly last: RecordedRequest
  /** Every connection's socket, in order. */
  readonly sockets: Socket[]
  /** Connections ever accepted. */
  readonly connections: number
  /** Connections open now. */
  readonly open: number
  /** `performance.now()` at which connection n was seen closed or ended by the peer, sparse until then. */
  readonly closedAt: Array<number | undefined>
  /** Bytes ever received. */
  readonly bytes: number
  /** What made the parser give up, if anything did: the gateway sent something that is not HTTP. */
  readonly malformed: string[]
  /** Changes the script for the requests to come. */
  answer (script: Script, at?: ScriptMoment): void
  /** Waits until every connection is closed that carried one of the requests (default: all requests so far). */
  dropped (requests?: readonly RecordedRequest[], ms?: number): Promise<boolean>
  /** Stops listening and resets what is open, before the teardown does; with `listen` it can come back. */
  stop (): Promise<void>
  /** Listens again on the same port. */
  listen (): Promise<void>
}

/** Starts a {@link RawUpstream} on a free port; the test's teardown closes it with all its connections. */
export async function rawUpstream (t: TestLike, script: Script, options: RawUpstreamOptions = {}): Promise<RawUpstream> {
  const { onConnection, keepBodies = true } = options
  let current = script
  let moment: ScriptMoment = options.at ?? 'complete'
  let bytes = 0
  let port = 0
  const requests: RecordedRequest[] = []
  const sockets: Socket[] = []
  const closedAt: Array<number | undefined> = []
  const malformed: string[] = []

  const run = async (socket: Socket, request: RecordedRequest): Promise<void> => {
    const nth = requests.indexOf(request)
    const exchange: Exchange = { request, socket, nth, play: async steps => await play(socket, steps) }
    // a script that throws (its peer went away) ends its exchange, not the test
    const steps = typeof current === 'function' ? await Promise.resolve(current(exchange)).catch(() => undefined) : current
    if (steps !== undefined) await play(socket, steps)
  }

  const accept = (socket: Socket): void => {
    const connection = sockets.push(socket) - 1
    const gone = (): void => { closedAt[connection] ??= performance.now() }
    socket.on('error', gone)
    socket.on('end', gone)
    socket.on('close', gone)
    onConnection?.(socket, connection)
    let request: ReturnType<typeof createRecord> | undefined
    const parser = createParser({
      head (head) {
        request = createRecord(head.raw, head.startLine, head.headers, connection)
        requests.push(request.record)
        if (moment === 'head') run(socket, request.record)
        return requestFraming(head)
      },
      data (piece) { request?.add(piece, keepBodies) },
      end (trailers) {
        if (request === undefined) return
        request.finish(trailers)
        if (moment === 'complete') run(socket, request.record)
      }
    })
    socket.on('data', piece => {
      bytes += piece.length
      try {
        parser.push(piece)
      } catch (error) {
        malformed.push(String(error))
        socket.destroy()
      }
    })
    if (options.paused === true) socket.pause()
  }

  let server: Server
  const listen = async (): Promise<void> => {
    server = createServer({ allowHalfOpen: true, noDelay: true }, accept)
    port = await listenOn(server, port)
  }
  const stop = async (): Promise<void> => {
    for (const socket of sockets) if (!socket.destroyed) socket.resetAndDestroy()
    if (server.listening) await new Promise(resolve => { server.close(resolve) })
  }
  await listen()
  t.teardown(stop)

  return {
    requests,
    sockets,
    closedAt,
    malformed,
    get port () { return port },
    get url () { return `http://127.0.0.1:${port}` },
    get last () {
      const last = requests.at(-1)
      if (last === undefined) throw new Error('the upstream has seen no request')
      return last
    },
    get connections () { return sockets.length },
    get open () { return sockets.filter((_socket, index) => closedAt[index] === undefined).length },
    get bytes () { return bytes },
    answer (next, at = 'complete') {
      current = next
      moment = at
    },
    async dropped (which = [...requests], ms) { return await waitFor(() => which.every(({ connection }) => closedAt[connection] !== undefined), ms) },
    stop,
    listen
  }
}

/** A `node:http` server on a free port, closed with its connections by the test's teardown. */
export interface HttpUpstream {
  readonly port: number
  readonly url: string
  readonly server: HttpServer
}

/** Starts an {@link HttpUpstream}. */
export async function httpUpstream (t: TestLike, handler: RequestListener): Promise<HttpUpstream> {
  const server = createHttpServer(handler)
  const port = await listenOn(server, 0)
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise(resolve => { server.close(resolve) })
  })
  return { port, url: `http://127.0.0.1:${port}`, server }
}

/**
 * A port on which nothing listens. It lies below the range from which port 0 is served, so that no server of the test
 * (the gateway itself, say) can be given it a moment later.
 */
export async function closedPort (): Promise<number> {
  for (;;) {
    const server = createServer()
    try {
      const port = await listenOn(server, 20_000 + Math.floor(Math.random() * 10_000))
      await new Promise(resolve => { server.close(resolve) })
      return port
    } catch {
      // taken: try another
    }
  }
}

async function listenOn (server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

interface RecordWriter {
  readonly record: RecordedRequest
  add (piece: Buffer, keep: boolean): void
  finish (trailers: readonly HeaderLine[]): void
}

function createRecord (head: string, startLine: string, headers: readonly HeaderLine[], connection: number): RecordWriter {
  const [method = '', target = '', version = ''] = startLine.split(' ')
  const pieces: Buffer[] = []
  let size = 0
  let complete = false
  let trailers: readonly HeaderLine[] = []
  const record: RecordedRequest = {
    head,
    method,
    target,
    version,
    headers,
    connection,
    header: name => valueOf(headers, name),
    all: name => valuesOf(headers, name),
    get body () { return Buffer.concat(pieces) },
    get size () { return size },
    get trailers () { return trailers },
    get complete () { return complete }
  }
  return {
    record,
    add (piece, keep) {
      size += piece.length
      if (keep) pieces.push(piece)
    },
    finish (found) {
      trailers = found
      complete = true
    }
  }
}
