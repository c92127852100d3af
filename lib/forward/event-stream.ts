/** What is known of Server-Sent Events (HTML Living Standard section 9.2): the type, where an event ends, who reads them. */
import type { Answer, Call } from '../types.ts'

export function isEventStream (type: unknown): boolean {
  return typeof type === 'string' && /^text\/event-stream\s*(?:;|$)/i.test(type)
}

/**
 * Whether the reader of an answer comes back by itself when it ends, as an EventSource does: it has asked for events. What
 * else reads events (the answer to a POST, say) may take an end for the end of what there is to say.
 */
export function comesBack ({ method, owner, request: { raw } }: Call, { status, headers }: Pick<Answer, 'status' | 'headers'>): boolean {
  return status === 200 && method === 'GET' && raw.method === 'GET' && owner === undefined && isEventStream(headers['content-type']) &&
    headers['content-encoding'] === undefined && /\btext\/event-stream\b/i.test(raw.headers.accept ?? '')
}

/** Two ends of lines in a row; a CR is no half of a CRLF. */
const BLANK_LINE = /(?:\r\n|\n|\r(?!\n)){2}/

/** Follows a stream of events and finds where one ends. */
export class EventEdge {
  #tail = ''

  /** Whether all that has passed were whole events. */
  get between (): boolean {
    return this.#tail === '' || /(?:\r\n|\n|\r(?!\n)){2}$/.test(this.#tail)
  }

  pass (chunk: Buffer): void {
    this.#tail = (this.#tail + chunk.toString('latin1', Math.max(0, chunk.length - 4))).slice(-4)
  }

  /** How much of the chunk belongs to the event that has begun; undefined: all, and it goes on. */
  restIn (chunk: Buffer): number | undefined {
    const found = BLANK_LINE.exec(this.#tail + chunk.toString('latin1'))
    return found === null ? undefined : found.index + found[0].length - this.#tail.length
  }
}
