/**
 * The bytes of a value: one join, at the end.
 */
import { isAscii } from 'node:buffer'
import { CLOSE_ARRAY, CLOSE_OBJECT, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, isSpace } from './bytes.ts'
import { isElements, isRun, marksOf } from './json.ts'
import type { Elements, Json, Member, Run } from './json.ts'
import { skipSpace } from './walk.ts'

/** Up to here a text is better than a buffer: Node sends it with the headers in one write. */
const shortText = 16 * 1024

/** What goes to a client. A text is pure ASCII: its length is its bytes'. */
export function toPayload (json: Json): Buffer | string {
  const length = byteLength(json)
  if (length <= shortText) {
    const pieces = pureRuns(json)
    if (pieces !== undefined) return pieces
  }
  const bytes = bytesOf(json, length)
  return length <= shortText && isAscii(bytes) ? bytes.toString('latin1', 0, length) : bytes
}

export function textOf (json: Json): string {
  if (json.form !== 'slice') return bytesOf(json, byteLength(json)).toString()
  return json.ascii ? json.bytes.toString('latin1', json.start, json.end) : json.bytes.toString('utf8', json.start, json.end)
}

export function byteLength (json: Json): number {
  if (json.form === 'slice') return json.end - json.start
  let length = 2
  if (json.form === 'array') {
    for (const item of json.items) length += (isElements(item) ? elementsEnd(item) - elementsStart(item) : byteLength(item)) + 1
    return json.items.length === 0 ? 2 : length - 1
  }
  for (const member of json.members) {
    length += isRun(member) ? runEnd(member) - runStart(member) + 1 : member.key.end - member.key.start + byteLength(member.value) + 2
  }
  return json.members.length === 0 ? 2 : length - 1
}

/** The text of a slice or of a few runs that are known to be ASCII, without a buffer between. */
function pureRuns (json: Json): string | undefined {
  if (json.form === 'slice') return json.ascii ? json.bytes.toString('latin1', json.start, json.end) : undefined
  if (json.form === 'array' || json.members.length === 0 || json.members.length > 16) return undefined
  let text = '{'
  for (const member of json.members) {
    if (text.length > 1) text += ','
    const piece = memberText(member)
    if (piece === undefined) return undefined
    text += piece
  }
  return text + '}'
}

function memberText (member: Member): string | undefined {
  if (isRun(member)) return member.source.ascii ? member.source.bytes.toString('latin1', runStart(member), runEnd(member)) : undefined
  const { key, value } = member
  if (!key.ascii || value.form !== 'slice' || !value.ascii) return undefined
  return key.bytes.toString('latin1', key.start, key.end) + ':' + value.bytes.toString('latin1', value.start, value.end)
}

function runStart (run: Run): number {
  return marksOf(run.source)[run.from * 4]!
}

function runEnd (run: Run): number {
  return marksOf(run.source)[run.to * 4 - 1]!
}

function elementsStart ({ from }: Elements): number {
  return skipSpace(from.bytes, from.start + 1)
}

function elementsEnd ({ from }: Elements): number {
  let end = from.end - 1
  while (isSpace(from.bytes[end - 1]!)) end--
  return end
}

function bytesOf (json: Json, length: number): Buffer {
  if (json.form === 'slice') return json.bytes.subarray(json.start, json.end)
  const out = Buffer.allocUnsafe(length)
  write(out, 0, json)
  return out
}

/** Index after what was written. */
function write (out: Buffer, at: number, json: Json): number {
  if (json.form === 'slice') return copy(out, at, json.bytes, json.start, json.end)
  if (json.form === 'array') {
    out[at++] = OPEN_ARRAY
    for (let i = 0; i < json.items.length; i++) {
      if (i > 0) out[at++] = COMMA
      const item = json.items[i]!
      at = isElements(item) ? copy(out, at, item.from.bytes, elementsStart(item), elementsEnd(item)) : write(out, at, item)
    }
    out[at++] = CLOSE_ARRAY
    return at
  }
  out[at++] = OPEN_OBJECT
  for (let i = 0; i < json.members.length; i++) {
    if (i > 0) out[at++] = COMMA
    at = writeMember(out, at, json.members[i]!)
  }
  out[at++] = CLOSE_OBJECT
  return at
}

function writeMember (out: Buffer, at: number, member: Member): number {
  if (isRun(member)) return copy(out, at, member.source.bytes, runStart(member), runEnd(member))
  at = copy(out, at, member.key.bytes, member.key.start, member.key.end)
  out[at++] = COLON
  return write(out, at, member.value)
}

/** For a few bytes a loop is faster than a call. */
function copy (out: Buffer, at: number, from: Buffer, start: number, end: number): number {
  if (end - start > 48) return at + from.copy(out, at, start, end)
  for (let i = start; i < end; i++) out[at++] = from[i]!
  return at
}
