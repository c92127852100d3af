/**
 * Where frames begin and end in a stream of WebSocket bytes (RFC 6455 section 5.2): lengths only, no payload is looked at
 * or copied but that of a close frame. So a tunnel knows where a close frame of its own may stand.
 */
import { randomFillSync } from 'node:crypto'

const CLOSE = 8
/** Control frames have at most this much payload. */
const MOST_CONTROL = 125
/** The longest reason of a close frame, bytes: two are the code. */
const MOST_REASON = MOST_CONTROL - 2

/** What a close frame says. */
export interface Close {
  /** 1005: the frame has none. */
  readonly code: number
  readonly reason: string
}

/** Follows the frames of one direction. */
export class FrameScanner {
  /** What is still to come of the frame that has begun. */
  left = 0
  /** The close frame that has come; nothing after it means anything. */
  closed: Close | undefined = undefined
  /** A message was larger than the limit. What `scan` has returned ends before the frame that made it so. */
  tooLarge = false
  /** Bytes of the message that is under way, earlier frames included. */
  #message = 0
  /** The beginning of a frame whose head is not complete. */
  #held: Buffer | undefined = undefined

  constructor (readonly limit: number) {}

  /** Whether what has been passed on ends with a frame. */
  get between (): boolean {
    return this.left === 0
  }

  /** What of the stream may be passed on now: `chunk`, and what was held before it, without the head that is not complete. */
  scan (chunk: Buffer): Buffer {
    const bytes = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = undefined
    const { length } = bytes
    let at = this.left < length ? this.left : length
    this.left -= at
    while (at < length) {
      const next = this.#frame(bytes, at)
      if (next < 0) return at === length ? bytes : bytes.subarray(0, at)
      if (next > length) {
        this.left = next - length
        return bytes
      }
      at = next
      if (this.closed !== undefined) return bytes.subarray(0, at)
    }
    return bytes
  }

  /** Where the frame at `at` ends; -1: it must not be passed on (yet). */
  #frame (bytes: Buffer, at: number): number {
    const available = bytes.length - at
    if (available < 2) return this.#hold(bytes, at)
    const first = bytes[at]!
    const second = bytes[at + 1]!
    const opcode = first & 15
    let size = second & 127
    let head = 2
    if (size === 126) {
      head = 4
      if (available < head) return this.#hold(bytes, at)
      size = bytes.readUInt16BE(at + 2)
    } else if (size === 127) {
      head = 10
      if (available < head) return this.#hold(bytes, at)
      size = bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6)
    }
    if (second > 127) head += 4
    if (opcode < CLOSE) {
      this.#message = opcode === 0 ? this.#message + size : size
      if (this.#message > this.limit) {
        this.tooLarge = true
        return -1
      }
    } else if (opcode === CLOSE && size <= MOST_CONTROL) {
      if (available < head + size) return this.#hold(bytes, at)
      this.closed = readClose(bytes.subarray(at + head, at + head + size), second > 127 ? bytes.subarray(at + head - 4, at + head) : undefined)
    }
    return at + head + size
  }

  #hold (bytes: Buffer, at: number): -1 {
    // a copy: the rest of a large chunk must not stay in memory for it
    this.#held = Buffer.from(bytes.subarray(at))
    return -1
  }
}

function readClose (payload: Buffer, mask: Buffer | undefined): Close {
  if (payload.length < 2) return { code: 1005, reason: '' }
  const plain = mask === undefined ? payload : Buffer.from(payload).map((byte, index) => byte ^ mask[index & 3]!)
  return { code: plain[0]! * 256 + plain[1]!, reason: Buffer.from(plain.subarray(2)).toString('utf8') }
}

/** A close frame; `masked` for one that goes to a backend (RFC 6455 section 5.1). */
export function closeFrame (code: number, reason: string, masked: boolean): Buffer {
  const text = Buffer.from(reason).subarray(0, MOST_REASON)
  const payload = Buffer.alloc(2 + text.length)
  payload.writeUInt16BE(code)
  text.copy(payload, 2)
  if (!masked) return Buffer.concat([Buffer.of(0x80 | CLOSE, payload.length), payload])
  const mask = randomFillSync(Buffer.alloc(4))
  return Buffer.concat([Buffer.of(0x80 | CLOSE, 0x80 | payload.length), mask, payload.map((byte, index) => byte ^ mask[index & 3]!)])
}

/** Whether an endpoint may send this code (RFC 6455 section 7.4, and the registry it has made). */
export function isCloseCode (code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)
}
