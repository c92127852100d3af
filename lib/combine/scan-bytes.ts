/**
 * The validating scan in plain JavaScript: one loop over the bytes. It knows at which byte something is wrong, takes what is
 * no object or array, and all bodies where there is no WebAssembly SIMD.
 *
 * It runs over a copy with a zero byte at its end: no loop needs to ask whether the bytes are over, as zero is legal nowhere.
 */
import { JsonProblem } from './problem.ts'

// Constants and the scratch are of this module, and never assigned again: V8 then builds their values into the loop, which
// makes it faster by half.
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const MINUS = 0x2d
const PLUS = 0x2b
const DOT = 0x2e
const ZERO = 0x30
const LETTER_E = 0x65
const LETTER_F = 0x66
const LETTER_N = 0x6e
const LETTER_T = 0x74
const LETTER_U = 0x75

/** White space between tokens. */
const SPACE = tableOf(byte => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d)
/** Stands for itself in a string: no quote, no backslash, no control character. */
const PLAIN = tableOf(byte => byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH)
const DIGIT = tableOf(byte => byte >= 0x30 && byte <= 0x39)
const HEX = tableOf(byte => /[\da-f]/i.test(String.fromCharCode(byte)))
/** May follow a backslash on its own. */
const ESCAPED = tableOf(byte => '"\\/bfnrt'.includes(String.fromCharCode(byte)))

/** Where things are in a body that is valid. */
export interface Places {
  /** The value without the white space around it. */
  readonly start: number
  readonly end: number
  /** Four numbers for each entry of an outermost object: key from (its quote) and to, value from and to. */
  readonly marks: number[] | undefined
}

/** No `maxDepth` goes beyond: what works on values is recursive. */
export const deepest = 1000

/** What is longer takes another way: the default limit of a part's body fits. */
export const longest = 1024 * 1024

const text = new Uint8Array(longest + 1)

/** For every open container whether the one around it is an object. */
const around = new Uint8Array(deepest + 2)

/** At most `longest` bytes that are valid UTF-8, `deepest` levels. */
export function scanBytes (bytes: Uint8Array, maxDepth: number): Places {
  const length = bytes.length
  text.set(bytes)
  text[length] = 0
  let i = text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf ? 3 : 0
  while (SPACE[text[i]!] === 1) i++
  const start = i
  const marks: number[] | undefined = text[i] === OPEN_OBJECT ? [] : undefined
  const marked = marks === undefined ? -1 : 1
  let depth = 0
  let inObject = false
  for (;;) {
    if (inObject) {
      if (text[i] !== QUOTE) throw new JsonProblem('syntax', i)
      const from = i
      i = stringEnd(i + 1)
      if (depth === marked) marks!.push(from, i)
      if (text[i] !== COLON) {
        while (SPACE[text[i]!] === 1) i++
        if (text[i] !== COLON) throw new JsonProblem('syntax', i)
      }
      i++
      if (text[i]! <= 0x20) while (SPACE[text[i]!] === 1) i++
      if (depth === marked) marks!.push(i)
    }
    const byte = text[i]!
    if (byte === QUOTE) {
      i = stringEnd(i + 1)
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (depth === maxDepth) throw new JsonProblem('depth', i)
      i++
      if (text[i]! <= 0x20) while (SPACE[text[i]!] === 1) i++
      // The codes of the closing brackets are those of the opening ones and two.
      if (text[i] !== byte + 2) {
        around[depth++] = inObject ? 1 : 0
        inObject = byte === OPEN_OBJECT
        continue
      }
      i++
    } else if (byte === MINUS || DIGIT[byte] === 1) {
      i = numberEnd(i)
    } else {
      i = literalEnd(i)
    }
    // A value has ended before i.
    for (;;) {
      if (depth === 0) {
        const end = i
        while (SPACE[text[i]!] === 1) i++
        if (i !== length) throw new JsonProblem('syntax', i)
        return { start, end, marks }
      }
      if (depth === marked) marks!.push(i)
      if (text[i]! <= 0x20) while (SPACE[text[i]!] === 1) i++
      const next = text[i]
      i++
      if (next === COMMA) break
      if (next !== (inObject ? CLOSE_OBJECT : CLOSE_ARRAY)) throw new JsonProblem('syntax', i - 1)
      inObject = around[--depth] === 1
    }
    if (text[i]! <= 0x20) while (SPACE[text[i]!] === 1) i++
  }
}

/** Index after the closing quote of the string whose first character is at i. */
function stringEnd (i: number): number {
  for (;;) {
    while (PLAIN[text[i]!] === 1) i++
    const byte = text[i]
    if (byte === QUOTE) return i + 1
    if (byte !== BACKSLASH) throw new JsonProblem('syntax', i)
    i = escapeEnd(i)
  }
}

function escapeEnd (i: number): number {
  if (ESCAPED[text[i + 1]!] === 1) return i + 2
  if (text[i + 1] !== LETTER_U) throw new JsonProblem('syntax', i)
  for (let digit = i + 2; digit < i + 6; digit++) if (HEX[text[digit]!] !== 1) throw new JsonProblem('syntax', digit)
  return i + 6
}

function numberEnd (i: number): number {
  if (text[i] === MINUS) i++
  if (text[i] === ZERO) i++
  else i = digitsEnd(i)
  if (text[i] === DOT) i = digitsEnd(i + 1)
  if ((text[i]! | 0x20) === LETTER_E) {
    i++
    if (text[i] === PLUS || text[i] === MINUS) i++
    i = digitsEnd(i)
  }
  return i
}

/** At least one digit. */
function digitsEnd (i: number): number {
  if (DIGIT[text[i]!] !== 1) throw new JsonProblem('syntax', i)
  i++
  while (DIGIT[text[i]!] === 1) i++
  return i
}

function literalEnd (i: number): number {
  const byte = text[i]
  // rue, ull, alse
  if (byte === LETTER_T && text[i + 1] === 0x72 && text[i + 2] === 0x75 && text[i + 3] === 0x65) return i + 4
  if (byte === LETTER_N && text[i + 1] === 0x75 && text[i + 2] === 0x6c && text[i + 3] === 0x6c) return i + 4
  if (byte === LETTER_F && text[i + 1] === 0x61 && text[i + 2] === 0x6c && text[i + 3] === 0x73 && text[i + 4] === 0x65) return i + 5
  throw new JsonProblem('syntax', i)
}

function tableOf (is: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => is(byte) ? 1 : 0)
}
