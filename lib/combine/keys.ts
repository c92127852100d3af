/**
 * Keys of objects as bytes: two keys are the same when they are after decoding ("\u0061" is "a").
 */
import type { Slice } from './json.ts'

const BACKSLASH = 0x5c

/** A key made of a text, as JSON. */
export function keyOf (text: string): Slice {
  const bytes = Buffer.from(JSON.stringify(text))
  return { form: 'slice', bytes, start: 0, end: bytes.length, ascii: bytes.length === text.length + 2, marks: undefined }
}

export function keyText (bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start + 1, end - 1)
  return text.includes('\\') ? String(JSON.parse(`"${text}"`)) : text
}

/** Whether the JSON string from start to before end, with its quotes, is this text. */
export function isText (bytes: Buffer, start: number, end: number, text: string): boolean {
  const length = end - start - 2
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + 1 + i]!
    if (byte === BACKSLASH || byte >= 0x80) return keyText(bytes, start, end) === text
    if (byte !== text.charCodeAt(i)) return false
  }
  return length === text.length
}

export function isKey (key: Slice, text: string): boolean {
  return isText(key.bytes, key.start, key.end, text)
}

/** The one way to write a key among several: for comparing bytes with bytes. */
export function canonical (key: Slice): Slice {
  const at = key.bytes.indexOf(BACKSLASH, key.start)
  return at === -1 || at >= key.end ? key : keyOf(keyText(key.bytes, key.start, key.end))
}
