/**
 * HTTP/1 messages as bytes: builders for both sides and one small incremental parser.
 *
 * No HTTP library on purpose: what these tests want to see is exactly what a library would tidy away.
 */
import type { Socket } from 'node:net'

/** One header line as it stood on the wire: name with its case, value without the white space around it. */
export type HeaderLine = readonly [name: string, value: string]

/** Header lines for a builder: a list keeps order and repeats. */
export type HeaderInput = readonly HeaderLine[] | Readonly<Record<string, string>>

/** Start line and header lines of a message. Text is Latin-1, one character a byte. */
export interface Head {
  /** The exact bytes, the empty line at the end excluded. */
  readonly raw: string
  readonly startLine: string
  readonly headers: readonly HeaderLine[]
}

/** How a body's end is known: no body, `Content-Length`, chunked, end of the connection. */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

/** What a parser tells its owner. `head` answers with how the body will be framed, or `again` for a 1xx head. */
export interface ParserEvents {
  head (head: Head): Framing | 'again'
  data (piece: Buffer): void
  end (trailers: readonly HeaderLine[]): void
}

/** An incremental parser of a stream of messages. `push` throws on what is not HTTP. */
export interface MessageParser {
  push (piece: Buffer): void
  /** Call at the end of the connection. True when it came between two messages or ended a `close` body. */
  finish (): boolean
}

/** One step of a scripted peer: bytes to send, or something to do. */
export type Step = string | Buffer | Action
export type Action =
  | { readonly wait: number }
  | { readonly act: 'reset' | 'fin' | 'destroy' }

/** Waits before the next step. */
export function wait (ms: number): Action {
  return { wait: ms }
}

/** Tears the connection down with a TCP reset. */
export const RESET: Action = { act: 'reset' }
/** Sends FIN and keeps reading (half-close). */
export const FIN: Action = { act: 'fin' }
/** Closes both directions at once. */
export const DESTROY: Action = { act: 'destroy' }

/** Plays the steps on a socket, in order; stops when the socket is gone. Strings are sent as Latin-1. */
export async function play (socket: Socket, steps: Step | readonly Step[]): Promise<void> {
  for (const step of isList(steps) ? steps : [steps]) {
    if (socket.destroyed) return
    if (typeof step === 'string') socket.write(step, 'latin1')
    else if (Buffer.isBuffer(step)) socket.write(step)
    else if ('wait' in step) await sleep(step.wait)
    else if (step.act === 'reset') socket.resetAndDestroy()
    else if (step.act === 'fin') socket.end()
    else socket.destroy()
  }
}

/** A pause of at least `ms` milliseconds. */
export function sleep (ms: number): Promise<void> {
  return new Promise(resolve => { setTimeout(resolve, ms) })
}

// ---------------------------------------------------------------- builders

/** A response with `Content-Length`, unless the headers frame it themselves or the body is `null`. */
export function respond (status: number, headers: HeaderInput = [], body: string | Buffer | null = ''): Buffer {
  const lines = toLines(headers)
  const bytes = body === null ? Buffer.alloc(0) : toBuffer(body)
  if (body !== null && !isFramed(lines)) lines.push(['Content-Length', String(bytes.length)])
  return Buffer.concat([toBuffer(`HTTP/1.1 ${status} ${reasonOf(status)}\r\n${formatLines(lines)}\r\n`), bytes])
}

/** A response in chunks, one for each piece, with optional trailers. */
export function chunked (status: number, headers: HeaderInput, pieces: ReadonlyArray<string | Buffer>, trailers: HeaderInput = []): Buffer {
  const lines: HeaderLine[] = [...toLines(headers), ['Transfer-Encoding', 'chunked']]
  return Buffer.concat([
    toBuffer(`HTTP/1.1 ${status} ${reasonOf(status)}\r\n${formatLines(lines)}\r\n`),
    ...pieces.map(chunk),
    lastChunk(trailers)
  ])
}

/** One chunk of a chunked body. An empty piece gives no bytes, since a chunk of size 0 would end the body. */
export function chunk (piece: string | Buffer): Buffer {
  const bytes = toBuffer(piece)
  if (bytes.length === 0) return bytes
  return Buffer.concat([toBuffer(`${bytes.length.toString(16)}\r\n`), bytes, toBuffer('\r\n')])
}

/** The end of a chunked body. */
export function lastChunk (trailers: HeaderInput = []): Buffer {
  return toBuffer(`0\r\n${formatLines(toLines(trailers))}\r\n`)
}

/** What `requestBytes` may vary. */
export interface RequestInput {
  readonly version?: '1.0' | '1.1'
  readonly headers?: HeaderInput
  /** A string or bytes are sent with `Content-Length`; a list is sent as chunks. */
  readonly body?: string | Buffer | ReadonlyArray<string | Buffer>
  /** Default `gateway.example`; `null` leaves the header out. */
  readonly host?: string | null
}

/** A request, byte for byte as written: nothing is checked. */
export function requestBytes (method: string, target: string, input: RequestInput = {}): Buffer {
  const { version = '1.1', headers = [], body, host = 'gateway.example' } = input
  const lines: HeaderLine[] = host === null ? [] : [['Host', host]]
  lines.push(...toLines(headers))
  const isChunked = typeof body === 'object' && !Buffer.isBuffer(body)
  if (isChunked) lines.push(['Transfer-Encoding', 'chunked'])
  else if (body !== undefined && !isFramed(lines)) lines.push(['Content-Length', String(toBuffer(body as string | Buffer).length)])
  const head = toBuffer(`${method} ${target} HTTP/${version}\r\n${formatLines(lines)}\r\n`)
  if (body === undefined) return head
  if (isChunked) return Buffer.concat([head, ...(body as ReadonlyArray<string | Buffer>).map(chunk), lastChunk()])
  return Buffer.concat([head, toBuffer(body as string | Buffer)])
}

/** `requestBytes('GET', …)`. */
export function get (target: string, headers: HeaderInput = []): Buffer {
  return requestBytes('GET', target, { headers })
}

/** `requestBytes('POST', …)`. */
export function post (target: string, body: string | Buffer | ReadonlyArray<string | Buffer>, headers: HeaderInput = []): Buffer {
  return requestBytes('POST', target, { headers, body })
}

// ---------------------------------------------------------------- reading header lines

/** All values of a field, in order. */
export function valuesOf (headers: readonly HeaderLine[], name: string): string[] {
  const wanted = name.toLowerCase()
  return headers.filter(([found]) => found.toLowerCase() === wanted).map(([, value]) => value)
}

/** The first value of a field. */
export function valueOf (headers: readonly HeaderLine[], name: string): string | undefined {
  return valuesOf(headers, name)[0]
}

/** The lines that frame a body: exactly one where there is one, none for a message that says it has none. */
export function framingLines (headers: readonly HeaderLine[]): HeaderLine[] {
  return headers.filter(([name]) => /^(?:content-length|transfer-encoding)$/i.test(name))
}

// ---------------------------------------------------------------- parser

const CRLF = '\r\n'
const HEAD_END = '\r\n\r\n'

/** A parser for requests or responses; the owner decides the framing of each message in `head`. */
export function createParser (events: ParserEvents): MessageParser {
  let pending: Buffer = Buffer.alloc(0)
  let state: 'head' | 'length' | 'size' | 'chunk' | 'chunk-end' | 'trailers' | 'close' = 'head'
  let left = 0
  let idle = true

  const end = (trailers: readonly HeaderLine[] = []): void => {
    state = 'head'
    idle = true
    events.end(trailers)
  }

  /** Takes a line ending in CRLF, or undefined when it has not all arrived. */
  const takeLine = (): string | undefined => {
    const at = pending.indexOf(CRLF)
    if (at < 0) return undefined
    const line = pending.toString('latin1', 0, at)
    pending = pending.subarray(at + 2)
    return line
  }

  const takeBody = (next: 'end' | 'chunk-end'): boolean => {
    if (left > 0 && pending.length === 0) return false
    const piece = pending.subarray(0, left)
    pending = pending.subarray(piece.length)
    left -= piece.length
    if (piece.length > 0) events.data(piece)
    if (left > 0) return false
    if (next === 'end') end()
    else state = next
    return true
  }

  const takeHead = (): boolean => {
    const at = pending.indexOf(HEAD_END)
    if (at < 0) {
      idle = idle && pending.length === 0
      return false
    }
    idle = false
    const head = parseHead(pending.toString('latin1', 0, at))
    pending = pending.subarray(at + 4)
    const framing = events.head(head)
    if (framing === 'again') idle = true
    else if (framing === 'none') end()
    else if (framing === 'chunked') state = 'size'
    else if (framing === 'close') state = 'close'
    else {
      state = 'length'
      left = lengthOf(head)
    }
    return true
  }

  const takeSize = (): boolean => {
    const line = takeLine()
    if (line === undefined) return false
    const size = /^([0-9a-f]+)(?:$|[ \t]*;)/i.exec(line)?.[1]
    if (size === undefined) throw new Error(`bad chunk size ${JSON.stringify(line)}`)
    left = parseInt(size, 16)
    state = left === 0 ? 'trailers' : 'chunk'
    return true
  }

  const trailers: HeaderLine[] = []
  const takeTrailer = (): boolean => {
    const line = takeLine()
    if (line === undefined) return false
    if (line === '') end(trailers.splice(0))
    else trailers.push(parseLine(line))
    return true
  }

  const takeChunkEnd = (): boolean => {
    const line = takeLine()
    if (line === undefined) return false
    if (line !== '') throw new Error('chunk longer than its size')
    state = 'size'
    return true
  }

  const step = (): boolean => {
    switch (state) {
      case 'head': return pending.length > 0 && takeHead()
      case 'length': return takeBody('end')
      case 'size': return takeSize()
      case 'chunk': return takeBody('chunk-end')
      case 'chunk-end': return takeChunkEnd()
      case 'trailers': return takeTrailer()
      case 'close':
        left = pending.length
        if (left > 0) events.data(pending)
        pending = Buffer.alloc(0)
        return false
    }
  }

  return {
    push (piece) {
      pending = pending.length === 0 ? piece : Buffer.concat([pending, piece])
      while (step()) { /* until more bytes are needed */ }
    },
    finish () {
      if (state === 'close') {
        end()
        return true
      }
      return idle && state === 'head' && pending.length === 0
    }
  }
}

/** How a request's body is framed, as a lenient backend would read it. */
export function requestFraming (head: Head): Framing {
  if (valuesOf(head.headers, 'transfer-encoding').some(value => /chunked\s*$/i.test(value))) return 'chunked'
  return lengthOf(head) > 0 ? 'length' : 'none'
}

/** How an answer's body is framed, given the method that asked for it. */
export function responseFraming (head: Head, method: string): Framing {
  const status = statusOf(head)
  if (method === 'HEAD' || status === 204 || status === 304) return 'none'
  if (valueOf(head.headers, 'transfer-encoding') !== undefined) return 'chunked'
  if (valueOf(head.headers, 'content-length') === undefined) return 'close'
  return lengthOf(head) > 0 ? 'length' : 'none'
}

/** Status code of a response's head; throws when there is none. */
export function statusOf (head: Head): number {
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(head.startLine)?.[1]
  if (status === undefined) throw new Error(`not a status line: ${JSON.stringify(head.startLine)}`)
  return Number(status)
}

function parseHead (raw: string): Head {
  const [startLine = '', ...lines] = raw.split(CRLF)
  return { raw, startLine, headers: lines.map(parseLine) }
}

function parseLine (line: string): HeaderLine {
  const colon = line.indexOf(':')
  if (colon < 1) throw new Error(`not a header line: ${JSON.stringify(line)}`)
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')]
}

function lengthOf (head: Head): number {
  const value = valueOf(head.headers, 'content-length')
  if (value === undefined) return 0
  if (!/^\d+$/.test(value)) throw new Error(`bad content length ${JSON.stringify(value)}`)
  return Number(value)
}

// ---------------------------------------------------------------- helpers

const REASONS: Readonly<Record<number, string>> = {
  100: 'Continue', 103: 'Early Hints', 200: 'OK', 201: 'Created', 204: 'No Content', 205: 'Reset Content', 206: 'Partial Content', 301: 'Moved Permanently', 302: 'Found', 304: 'Not Modified', 307: 'Temporary Redirect', 404: 'Not Found', 413: 'Content Too Large', 500: 'Internal Server Error', 503: 'Service Unavailable'
}

function reasonOf (status: number): string {
  return REASONS[status] ?? 'Status'
}

function toBuffer (text: string | Buffer): Buffer {
  return typeof text === 'string' ? Buffer.from(text, 'latin1') : text
}

function toLines (headers: HeaderInput): HeaderLine[] {
  return isList(headers) ? [...headers] : Object.entries(headers)
}

function formatLines (lines: readonly HeaderLine[]): string {
  return lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
}

function isFramed (lines: readonly HeaderLine[]): boolean {
  return framingLines(lines).length > 0
}

/** `Array.isArray` that also narrows read-only arrays. */
function isList<T, U> (value: readonly T[] | U): value is readonly T[] {
  return Array.isArray(value)
}
