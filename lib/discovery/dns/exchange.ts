/**
 * One question to one server: over UDP, and over TCP when the answer does not fit (RFC 7766).
 */
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { connect, isIP } from 'node:net'
import { decodeReply, encodeQuestion, type Question, type QuestionType, type Reply } from './message.ts'
import type { Server } from './servers.ts'
import type { ProviderTools } from '../types.ts'

export interface ExchangeOptions {
  readonly name: string
  readonly type: QuestionType
  readonly edns: boolean
  /** For both ways together, ms. */
  readonly timeout: number
  readonly sleep: ProviderTools['sleep']
}

/** Where a server is, its name looked up. */
interface Place { readonly host: string, readonly port: number }

/**
 * The server's answer, whatever its code. Throws when there is none: `no answer within 2000 ms`, a refused connection, an answer that
 * does not fit TCP either; and the signal's reason when it aborts. No socket is left open.
 */
export async function exchange (server: Server, { name, type, edns, timeout, sleep }: ExchangeOptions, signal: AbortSignal): Promise<Reply> {
  signal.throwIfAborted()
  const over = new AbortController()
  const stop = (): void => { over.abort(signal.reason) }
  signal.addEventListener('abort', stop, { once: true })
  // From the system's source and not the one passed in: whoever can guess it can answer in the server's place (RFC 5452).
  const question = (): Question => ({ id: randomInt(65536), name, type, edns })
  const ask = async (): Promise<Reply> => {
    const place = { host: isIP(server.host) === 0 ? (await lookup(server.host)).address : server.host, port: server.port }
    const reply = await overUdp(place, question(), over.signal)
    return reply.truncated ? await overTcp(place, question(), over.signal) : reply
  }
  const late = async (): Promise<never> => {
    await sleep(timeout, over.signal)
    throw new Error(`no answer within ${timeout} ms`)
  }
  try {
    return await Promise.race([ask(), late()])
  } finally {
    signal.removeEventListener('abort', stop)
    over.abort()
  }
}

/** A socket of its own, and so a port of its own; connected, so that nobody else is heard. What is no answer is waited on. */
function overUdp ({ host, port }: Place, question: Question, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4')
    const end = (): void => {
      signal.removeEventListener('abort', abort)
      socket.close()
    }
    const fail = (error: Error): void => {
      end()
      reject(error)
    }
    const abort = (): void => fail(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    socket.once('error', fail)
    socket.on('message', bytes => {
      const reply = decodeReply(bytes, question)
      if (reply === undefined) return
      end()
      resolve(reply)
    })
    socket.once('connect', () => socket.send(encodeQuestion(question)))
    socket.connect(port, host)
  })
}

function overTcp ({ host, port }: Place, question: Question, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const socket = connect({ host, port })
    const end = (): void => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
    }
    const fail = (error: Error): void => {
      end()
      reject(error)
    }
    const abort = (): void => fail(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    const read = createFraming(bytes => {
      const reply = decodeReply(bytes, question)
      if (reply === undefined) return
      if (reply.truncated) return fail(new Error('the answer is truncated even over TCP'))
      end()
      resolve(reply)
    })
    socket.on('error', fail)
    socket.on('data', read)
    socket.on('close', () => fail(new Error('the connection was closed without an answer')))
    const bytes = encodeQuestion(question)
    const length = Buffer.alloc(2)
    length.writeUInt16BE(bytes.length)
    socket.write(Buffer.concat([length, bytes]))
  })
}

/** Cuts a stream into messages: each has its length, two bytes, before it. */
function createFraming (take: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return chunk => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 2) {
      const end = 2 + rest.readUInt16BE(0)
      if (rest.length < end) return
      take(rest.subarray(2, end))
      rest = rest.subarray(end)
    }
  }
}
