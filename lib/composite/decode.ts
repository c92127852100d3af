/**
 * A part's bytes as the backend sent them → text in UTF-8: content codings undone within a limit, off the event loop,
 * then the charset. Most answers need neither; `needsDecoding` says so from the headers alone.
 */
import { constants } from 'node:buffer'
import zlib from 'node:zlib'
import { PartEncodingError, PartTooLargeError } from '../errors.ts'

type Headers = Readonly<Record<string, string | string[] | undefined>>

/** More in a row are no server's doing. */
const MAX_CODINGS = 3

/** A content coding other than identity, or a charset other than UTF-8 and its subset ASCII. */
export function needsDecoding (headers: Headers): boolean {
  const coding = headers['content-encoding']
  if (coding !== undefined && codingsOf(coding).length > 0) return true
  const type = headers['content-type']
  return type !== undefined && charsetOf(type) !== undefined
}

/**
 * The body as UTF-8; the same buffer when there is nothing to decode.
 * @throws PartTooLargeError when more than `maxBytes` come out, as soon as they do
 * @throws PartEncodingError for unknown codings and charsets and for corrupt data; its cause says which
 */
export async function decode (body: Buffer, headers: Headers, maxBytes: number): Promise<Buffer> {
  // the answer to HEAD has a coding too, and a body of nothing is nothing in each of them
  if (body.length === 0) return body
  const codings = codingsOf(headers['content-encoding'])
  if (codings.length > MAX_CODINGS) throw broken(`more than ${MAX_CODINGS} content codings`)
  const steps = codings.map(coding => [coding, decompressorOf(coding)] as const).reverse()
  const charset = charsetOf(headers['content-type'])

  let bytes = body
  for (const [index, [coding, decompress]] of steps.entries()) {
    const last = index === steps.length - 1
    bytes = await run(coding, decompress, bytes, last ? maxBytes : packedLimit(maxBytes))
  }
  if (bytes.length > maxBytes) throw tooLarge(maxBytes)
  if (charset !== undefined) bytes = toUtf8(bytes, charset)
  if (bytes.length > maxBytes) throw tooLarge(maxBytes)
  return bytes
}

/** Between two codings the data is still packed, and packing makes short or random data a little longer. */
function packedLimit (maxBytes: number): number {
  return maxBytes + Math.ceil(maxBytes / 256) + 1_024
}

function tooLarge (maxBytes: number): Error {
  return new PartTooLargeError({ cause: new Error(`more than ${maxBytes} bytes when decoded`) })
}

function broken (what: string, cause?: unknown): Error {
  return new PartEncodingError({ cause: new Error(what, { cause }) })
}

/** A name from a header, for the log. */
function show (name: string): string {
  return JSON.stringify(name.slice(0, 80))
}

// ---- content codings

const NONE: readonly string[] = []

/** In the order they were applied, lower case. */
function codingsOf (value: string | string[] | undefined): readonly string[] {
  if (value === undefined || value === '' || value === 'identity') return NONE
  return String(value).split(',').map(coding => coding.trim().toLowerCase()).filter(coding => coding !== '' && coding !== 'identity')
}

type Decompress = (data: Buffer, options: { maxOutputLength: number }, done: (error: Error | null, result: Buffer) => void) => void

/** Node has zstd from 22.15 on; the types we build with are older. */
interface Zstd {
  readonly zstdDecompress?: (data: Buffer, options: { maxOutputLength: number, params: Record<number, number> }, done: (error: Error | null, result: Buffer) => void) => void
  readonly constants: { readonly ZSTD_d_windowLogMax?: number }
}

function createDecompressors (): ReadonlyMap<string, Decompress> {
  const decompressors = new Map<string, Decompress>([
    ['gzip', zlib.gunzip],
    ['x-gzip', zlib.gunzip],
    ['deflate', inflateEither],
    ['br', zlib.brotliDecompress]
  ])
  const { zstdDecompress, constants: { ZSTD_d_windowLogMax: windowLogMax } } = zlib as Zstd
  if (zstdDecompress !== undefined && windowLogMax !== undefined) {
    // a frame may ask for a window of 128 MB; in HTTP 8 MB are the most (RFC 9659 section 3)
    const params = { [windowLogMax]: 23 }
    decompressors.set('zstd', (data, options, done) => zstdDecompress(data, { ...options, params }, done))
  }
  return decompressors
}

/** `deflate` means zlib's format (RFC 9110 section 8.4.1.2), but some servers send the bare data. */
const inflateEither: Decompress = (data, options, done) => {
  const zlibHeader = data.length > 1 && (data[0]! & 0x0f) === 8 && data.readUInt16BE(0) % 31 === 0
  if (zlibHeader) zlib.inflate(data, options, done)
  else zlib.inflateRaw(data, options, done)
}

const DECOMPRESSORS = createDecompressors()

function decompressorOf (coding: string): Decompress {
  const decompress = DECOMPRESSORS.get(coding)
  if (decompress === undefined) throw broken(`unknown content coding ${show(coding)}`)
  return decompress
}

function run (coding: string, decompress: Decompress, data: Buffer, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // zlib wants 1 at least; decode() looks at the length once more
    const maxOutputLength = Math.min(Math.max(1, maxBytes), constants.MAX_LENGTH)
    decompress(data, { maxOutputLength }, (error, result) => {
      if (error === null) resolve(result)
      else if ('code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') reject(tooLarge(maxBytes))
      else reject(broken(`corrupt or incomplete ${coding} data`, error))
    })
  })
}

// ---- charsets

/** Content types seen so far → what `charsetOf` found; backends have few distinct ones, and the memory is bounded. */
const charsets = new Map<string, string | undefined>()

/** The charset to decode from, or undefined when the bytes are UTF-8 already or no charset is named. */
function charsetOf (contentType: string | string[] | undefined): string | undefined {
  const type = Array.isArray(contentType) ? contentType[0] : contentType
  if (type === undefined) return undefined
  const known = charsets.get(type)
  if (known !== undefined || charsets.has(type)) return known
  const label = labelOf(type)
  const charset = label === undefined || isPlain(label) ? undefined : label
  if (charsets.size < 1_000 && type.length < 200) charsets.set(type, charset)
  return charset
}

const PARAMETER = /;\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))/g

/** The value of the first `charset` parameter, lower case. */
function labelOf (type: string): string | undefined {
  for (const [, name, quoted, bare] of type.matchAll(PARAMETER)) {
    if (name!.toLowerCase() !== 'charset') continue
    return (quoted?.replace(/\\(.)/g, '$1') ?? bare!).trim().toLowerCase() || undefined
  }
  return undefined
}

/**
 * UTF-8 by any of its names, ASCII, which is a part of it, and `binary`, which `file` says of what is no text. The
 * Encoding Standard takes ASCII for windows-1252; what calls itself ASCII and is not, is UTF-8 more often than that.
 */
function isPlain (label: string): boolean {
  if (label === 'binary' || label === 'us-ascii' || label === 'ascii' || label === 'ansi_x3.4-1968') return true
  try {
    return new TextDecoder(label).encoding === 'utf-8'
  } catch {
    return false
  }
}

function createDecoder (label: string) {
  try {
    return new TextDecoder(label, { fatal: true })
  } catch (error) {
    throw broken(`unknown charset ${show(label)}`, error)
  }
}

function toUtf8 (bytes: Buffer, charset: string): Buffer {
  const decoder = createDecoder(markedAs(bytes) ?? charset)
  // Node 20 and 22 read it as ISO-8859-1, and the Encoding Standard reads ISO-8859-1 as this
  if (decoder.encoding === 'windows-1252') return Buffer.from(fromWindows1252(bytes))
  try {
    return Buffer.from(decoder.decode(bytes))
  } catch (error) {
    throw broken(`bytes that are not ${show(charset)}`, error)
  }
}

/** A byte order mark knows better than a header. */
function markedAs (bytes: Buffer): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 'utf-8' : undefined
}

/** What windows-1252 has in place of the controls from 0x80 to 0x9f; five of them stay as they are. */
const WINDOWS_1252 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ'

function fromWindows1252 (bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x80-\x9f]/g, char => WINDOWS_1252[char.charCodeAt(0) - 0x80]!)
}
