/**
 * The guard of paths: what may not go to a backend, however it is written.
 *
 * Paths are looked at as raw bytes, before anything decodes them, and once more as what they are after decoding as
 * often as a careless backend might.
 */

/** Finds what needs a closer look: a byte out of the ordinary, `%`, `\`, `#`, `?`, or a segment that starts with a dot. */
const UNUSUAL = /[^!"$&->@-[\]-~]|\/\./

/**
 * Says what is wrong with the raw path (without query) of a request, or undefined when nothing is.
 *
 * Refused: `..` segments, plain, percent-encoded once or several times, between slashes or backslashes, with path
 * parameters (`..;x`); `\`; `#`; NUL, also as `%00`; controls, spaces and what is no byte; malformed
 * percent-encoding, also of text that is not UTF-8 (Fastify's router refuses it likewise). Everything else that is
 * legal passes: `%2F`, `%3f`, `%5c` in a name, `;`, `.`, `...`, `a..b`.
 *
 * Sources: RFC 3986 sections 3.3 and 6.2.2, CWE-22, CWE-174 (double decoding).
 */
export function pathProblem (rawPath: string): string | undefined {
  if (rawPath.charCodeAt(0) !== 47) return 'must begin with a slash'
  return UNUSUAL.test(rawPath) ? closerLook(rawPath) : undefined
}

/** Whether `pathProblem` finds nothing. */
export function isSafePath (rawPath: string): boolean {
  return pathProblem(rawPath) === undefined
}

function closerLook (rawPath: string): string | undefined {
  if (rawPath.includes('\\')) return 'holds a backslash'
  if (rawPath.includes('#')) return 'holds a fragment'
  if (rawPath.includes('?')) return 'holds a query'
  if (/[\0-\x20\x7f\u0100-\uffff]/.test(rawPath)) return 'holds a control character, a space or no byte'
  const encoded = rawPath.includes('%')
  if (encoded && !isDecodable(rawPath)) return 'holds malformed percent-encoding'
  if (encoded && rawPath.includes('%00')) return 'holds a NUL'
  return climbs(encoded ? decodeFully(rawPath) : rawPath) ? 'climbs out of its directory' : undefined
}

function isDecodable (rawPath: string): boolean {
  try {
    decodeURIComponent(rawPath)
    return true
  } catch {
    return false
  }
}

/** A segment `..`, where `\` ends a segment as well, and so does anything at which a backend may cut it. */
function climbs (decoded: string): boolean {
  return /[/\\]\.\.(?:[/\\;?#\0]|$)/.test(decoded)
}

/**
 * Decodes percent signs until none is left to decode, in one pass: a decoded byte may complete an earlier escape, as
 * in `%25%32%65`, so after each byte the end of the output is looked at again. Tabs and line breaks vanish, as they do
 * in URL parsers (WHATWG URL, section 4.4).
 */
function decodeFully (rawPath: string): string {
  const output: number[] = []
  for (let i = 0; i < rawPath.length; i++) {
    output.push(rawPath.charCodeAt(i))
    for (let size = output.length; size >= 3 && output[size - 3] === 37; size = output.length) {
      const byte = hexDigit(output[size - 2]!) * 16 + hexDigit(output[size - 1]!)
      if (Number.isNaN(byte)) break
      output.length = size - 3
      if (byte !== 9 && byte !== 10 && byte !== 13) output.push(byte)
    }
  }
  return Buffer.from(output).toString('latin1')
}

function hexDigit (code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const letter = code | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : NaN
}
