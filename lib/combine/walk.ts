/**
 * Ways through bytes that are known to be valid JSON: where a value ends, where the entries and elements are.
 */

// Of this module, as in the scan: V8 does not build imported constants into a loop.
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

function isSpace (byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

export function skipSpace (bytes: Uint8Array, i: number): number {
  while (isSpace(bytes[i]!)) i++
  return i
}

/** Index after the string whose opening quote is at i. */
export function skipString (bytes: Uint8Array, i: number): number {
  for (i++; ; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) return i + 1
    if (byte === BACKSLASH) i++
  }
}

/** Index after the value that begins at i; within a container, as a number at the end of a body has nothing behind it. */
export function skipValue (bytes: Uint8Array, i: number): number {
  const first = bytes[i]
  if (first === QUOTE) return skipString(bytes, i)
  if (first !== OPEN_OBJECT && first !== OPEN_ARRAY) {
    while (!endsScalar(bytes[i]!)) i++
    return i
  }
  let depth = 0
  for (;;) {
    const byte = bytes[i]
    if (byte === QUOTE) {
      i = skipString(bytes, i)
      continue
    }
    i++
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++
    else if ((byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) && --depth === 0) return i
  }
}

function endsScalar (byte: number): boolean {
  return byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || isSpace(byte)
}

/** Four numbers for each entry of the object that begins at i: key from and to, value from and to. */
export function entryMarks (bytes: Uint8Array, i: number): number[] {
  const marks: number[] = []
  i = skipSpace(bytes, i + 1)
  while (bytes[i] !== CLOSE_OBJECT) {
    const keyEnd = skipString(bytes, i)
    const value = skipSpace(bytes, skipSpace(bytes, keyEnd) + 1)
    const end = skipValue(bytes, value)
    marks.push(i, keyEnd, value, end)
    i = skipSpace(bytes, end)
    if (bytes[i] === COMMA) i = skipSpace(bytes, i + 1)
  }
  return marks
}

export function isEmptyArray (bytes: Uint8Array, i: number): boolean {
  return bytes[skipSpace(bytes, i + 1)] === CLOSE_ARRAY
}

/** Two numbers for each element of the array that begins at i. */
export function elementMarks (bytes: Uint8Array, i: number): number[] {
  const marks: number[] = []
  i = skipSpace(bytes, i + 1)
  while (bytes[i] !== CLOSE_ARRAY) {
    const end = skipValue(bytes, i)
    marks.push(i, end)
    i = skipSpace(bytes, end)
    if (bytes[i] === COMMA) i = skipSpace(bytes, i + 1)
  }
  return marks
}
