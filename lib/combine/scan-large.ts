/**
 * The validating scan of what is too long for the fast one: JSON.parse says whether it is valid. Its depth is looked at first,
 * as what JSON.parse needs for a million open brackets is not wanted.
 */
import { BACKSLASH, CLOSE_ARRAY, CLOSE_OBJECT, OPEN_ARRAY, OPEN_OBJECT, QUOTE, isSpace } from './bytes.ts'
import { JsonProblem } from './problem.ts'
import type { Places } from './scan-bytes.ts'
import { entryMarks } from './walk.ts'

/** The bytes are valid UTF-8. */
export function scanLarge (bytes: Uint8Array, maxDepth: number): Places {
  let start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  checkDepth(bytes, start, maxDepth)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, bytes.length - start).toString()
  try {
    JSON.parse(text)
  } catch (error) {
    const offset = offsetIn(text, error)
    throw new JsonProblem('syntax', offset === undefined ? -1 : start + offset)
  }
  let end = bytes.length
  while (isSpace(bytes[start]!)) start++
  while (isSpace(bytes[end - 1]!)) end--
  return { start, end, marks: bytes[start] === OPEN_OBJECT ? entryMarks(bytes, start) : undefined }
}

/** As far as the bytes are valid, brackets outside of strings count. */
function checkDepth (bytes: Uint8Array, i: number, maxDepth: number): void {
  let depth = 0
  let inString = false
  for (; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) inString = !inString
    else if (inString) {
      if (byte === BACKSLASH) i++
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > maxDepth) throw new JsonProblem('depth', i)
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth--
  }
}

/** V8 says it in some of its messages only, as a place in the text. */
function offsetIn (text: string, error: unknown): number | undefined {
  const position = /at position (\d+)/.exec(String(error))?.[1]
  return position === undefined ? undefined : Buffer.byteLength(text.slice(0, Number(position)))
}
