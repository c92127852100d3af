/** A body as it may be shown: as far as possible as text, without its secrets. */
import { isUtf8 } from 'node:buffer'
import { constants, brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { redactMultipart, redactPairs } from './form.ts'
import { redactJson } from './json.ts'
import { memo } from './memo.ts'
import { redactText } from './text.ts'
import { REDACTED } from './types.ts'
import type { SecretNames } from './names.ts'
import type { BodyToRedact, RedactedBody } from './types.ts'

/** So much more than is kept may come out of a compressed body before it is given up. */
const EXPANSION = 4

/** Of a URL that was cut off before its path, in any encoding: whether it begins with a user and a password cannot be told any more. */
const OPEN_AUTHORITY = /((?::|%(?:25)*3a)(?:\\?\/|%(?:25)*2f){2})[^\s/?#@"'<>\\&]{1,512}$/i

/** What a Content-Type says of a body. */
interface Kind {
  /** For people: bytes that are none are of another charset than UTF-8. */
  readonly text: boolean
  /** Of a charset in which names of secrets are no ASCII. */
  readonly wide: boolean
  readonly opaque: boolean
  readonly form: boolean
  readonly multipart: boolean
  readonly boundary: string | undefined
  readonly json: boolean
}

const kindOf = memo((type: string): Kind => {
  const media = /^[^;\s]*/.exec(type.trim().toLowerCase())![0]
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type)
  return {
    text: /^\s*text\/|[/+](?:json|xml)\b|x-www-form-urlencoded/i.test(type),
    wide: /charset="?utf-?(?:16|32)/i.test(type),
    opaque: /^(?:image|audio|video|font)\//.test(media) && !media.endsWith('+xml'),
    form: media === 'application/x-www-form-urlencoded',
    multipart: media.startsWith('multipart/'),
    boundary: boundary?.[1] ?? boundary?.[2],
    json: /[/+]json\b/.test(media)
  }
})

const NOTHING: RedactedBody = Object.freeze({ text: null, base64: false, truncated: false, decoded: undefined, omitted: undefined })

export function redactBody ({ bytes, truncated, type, encoding, limit }: BodyToRedact, names: SecretNames): RedactedBody {
  if (bytes.length === 0) return truncated ? { ...NOTHING, truncated } : NOTHING
  const coding = encoding?.trim().toLowerCase() ?? ''
  if (coding === '' || coding === 'identity') return redactPlain(bytes, truncated, type, undefined, names)
  const plain = decompress(bytes, coding, limit)
  if (plain === undefined) return { ...NOTHING, truncated, omitted: 'compressed' }
  const cut = plain.length > limit
  return redactPlain(cut ? plain.subarray(0, limit) : plain, truncated || cut, type, coding, names)
}

function redactPlain (bytes: Buffer, truncated: boolean, type: string | undefined, decoded: string | undefined, names: SecretNames): RedactedBody {
  const whole = truncated ? withoutBrokenEnd(bytes) : bytes
  const utf8 = isUtf8(whole)
  const kind = kindOf(type ?? '')
  if (kind.text && (kind.wide || whole.includes(0))) return { ...NOTHING, truncated, decoded, omitted: 'charset' }
  // names of secrets are ASCII: they are found in any bytes that are not UTF-16 or the like
  const plain = utf8 ? whole.toString() : bytes.toString('latin1')
  const text = redactTyped(truncated && !kind.opaque ? plain.replace(OPEN_AUTHORITY, `$1${REDACTED}`) : plain, kind, names, 0)
  if (text === undefined) return { ...NOTHING, truncated, decoded, omitted: 'form' }
  return { text: utf8 ? text : Buffer.from(text, 'latin1').toString('base64'), base64: !utf8, truncated, decoded, omitted: undefined }
}

function redactTyped (text: string, { opaque, form, multipart, boundary, json }: Kind, names: SecretNames, depth: number): string | undefined {
  if (opaque) return text
  if (form) return redactPairs(text, names)
  if (multipart && depth < 3) {
    return redactMultipart(text, boundary, names, (part, type) => redactTyped(part, kindOf(type ?? ''), names, depth + 1) ?? '')
  }
  if (!json && !/^\s*[[{]/.test(text)) return redactText(text, names)
  return redactJson(text, names)
}

/** A character that was cut in two is no reason to take the rest for bytes. */
function withoutBrokenEnd (bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) return bytes
    if (byte < 0xc0) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    return length > back ? bytes.subarray(0, bytes.length - back) : bytes
  }
  return bytes
}

/** undefined: it cannot be read, or becomes too much. One that was cut off is read as far as it goes. */
function decompress (bytes: Buffer, coding: string, limit: number): Buffer | undefined {
  const maxOutputLength = Math.max(1, limit) * EXPANSION
  const zlib = { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH }
  try {
    if (coding === 'gzip' || coding === 'x-gzip') return gunzipSync(bytes, zlib)
    if (coding === 'deflate') return inflateSync(bytes, zlib)
    if (coding === 'br') return brotliDecompressSync(bytes, { maxOutputLength, finishFlush: constants.BROTLI_OPERATION_FLUSH })
  } catch {
    // not what it says it is, or too large
  }
  return undefined
}
