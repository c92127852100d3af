/**
 * Secrets in running text: pairs such as `token=…`, users in URLs, bearer tokens, JWTs, private keys, JSON and XML within other text.
 * Each expression walks the text once: what follows a start is bounded, and no start lies within another match.
 */
import { skipValue } from './skip.ts'
import { REDACTED } from './types.ts'
import type { SecretNames } from './names.ts'

const USERINFO = /:(\\?\/){2}[^\s/?#@"'<>\\]{1,512}@/g
const SCHEME = /\b(Bearer|Basic|Negotiate)(\s{1,4}|%20|\+)[\w.~+/%-]{8,}=*/gi
const JWT = /eyJ[\w-]{10,}(?:\.[\w-]*){0,4}/g
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^]*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|[^]*)/g
const NAME = /(?<![\w.%[\]-])([A-Za-z_%][\w.%[\]-]{0,63})(\s{0,4}=\s{0,4}|%3[Dd])/g
const VALUE = /"[^"]*"?|'[^']*'?|[^\s&;,"'<>\\]*/y
const LABEL = /(?<![\w.-])([A-Za-z_][\w.-]{0,63})\s{0,4}:\s{1,4}/g
const REST = /"[^"]*"?|'[^']*'?|[^\r\n&;,"'<>{}[\]\\]*/y
/** `=` or `&` of a query within a query. */
const ENCODED = /%(?:25)*(?:3d|26)/i
/** So often a text may be encoded within another. */
const DEEPEST = 3
const KEY = /(\\{0,7})"((?:[^"\\\r\n]|\\[^"\\]){1,128})\1"\s{0,16}:\s{0,16}/g
const TAG = /<(?:[\w.-]{1,64}:)?([A-Za-z_][\w.-]{0,63})(?:\s[^<>]*)?>/g

/** Worth a closer look: most texts hold nothing of the kind. Of colons those of labels, URLs and keys; times and ports have others. */
const SUSPICIOUS = /[=<%]|:[\s/\\]|"\s{0,16}:|eyJ|bearer|basic|negotiate|private key/i

/** False: there is nothing in it that {@link redactText} would take out. */
export function isSuspicious (text: string): boolean {
  return SUSPICIOUS.test(text)
}

export function redactText (text: string, names: SecretNames, depth = 0): string {
  if (!isSuspicious(text)) return text
  let clean = text.includes('PRIVATE KEY') ? text.replace(PRIVATE_KEY, REDACTED) : text
  if (clean.includes('"')) clean = redactKeys(clean, names)
  if (clean.includes('<')) clean = redactTags(clean, names)
  if (clean.includes('@')) clean = clean.replace(USERINFO, `:$1$1${REDACTED}@`)
  clean = clean.replace(SCHEME, `$1$2${REDACTED}`)
  if (clean.includes('eyJ')) clean = clean.replace(JWT, REDACTED)
  if (clean.includes('=') || clean.includes('%3')) clean = redactAssignments(clean, names, depth)
  if (clean.includes(': ')) clean = redactLines(clean, names)
  return clean
}

/** `name=value`; a value may hold such pairs itself, encoded or not. */
function redactAssignments (text: string, names: SecretNames, depth: number): string {
  let clean = ''
  let copied = 0
  // what has been looked at as part of a value is not decoded again
  let seen = 0
  const pair = new RegExp(NAME)
  for (let found = pair.exec(text); found !== null; found = pair.exec(text)) {
    const start = pair.lastIndex
    let shown: string | undefined
    let end = start
    if (names.has(unescaped(found[1]!), 'query')) {
      shown = REDACTED
      end = endOfValue(text, start)
    } else if (start >= seen && depth < DEEPEST) {
      end = seen = endOfValue(text, start)
      const value = text.slice(start, end)
      if (ENCODED.test(value)) shown = redactEncoded(value, names, depth)
    }
    if (shown === undefined) continue
    clean += text.slice(copied, start) + shown
    copied = pair.lastIndex = end
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

/** `name: the rest of the line`. */
function redactLines (text: string, names: SecretNames): string {
  let clean = ''
  let copied = 0
  const label = new RegExp(LABEL)
  for (let found = label.exec(text); found !== null; found = label.exec(text)) {
    const start = label.lastIndex
    if (!names.has(found[1]!, 'text')) continue
    REST.lastIndex = start
    REST.exec(text)
    clean += text.slice(copied, start) + REDACTED
    copied = label.lastIndex = REST.lastIndex
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

function endOfValue (text: string, start: number): number {
  VALUE.lastIndex = start
  VALUE.exec(text)
  return VALUE.lastIndex
}

function redactEncoded (value: string, names: SecretNames, depth: number): string | undefined {
  const nested = unescaped(value)
  const redacted = redactText(nested, names, depth + 1)
  return redacted === nested ? undefined : encodeURIComponent(redacted)
}

/** JSON within other text, also as a text within JSON, where its quotes are escaped. */
function redactKeys (text: string, names: SecretNames): string {
  let clean = ''
  let copied = 0
  const key = new RegExp(KEY)
  for (let found = key.exec(text); found !== null; found = key.exec(text)) {
    const [whole, slashes = '', name = ''] = found
    if (!names.has(name, 'json')) continue
    const start = found.index + whole.length
    const end = skipEscaped(text, start, slashes)
    clean += `${text.slice(copied, start)}${slashes}"${REDACTED}${slashes}"`
    copied = key.lastIndex = end
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

function skipEscaped (text: string, start: number, slashes: string): number {
  const quote = `${slashes}"`
  if (slashes === '' || !text.startsWith(quote, start)) return skipValue(text, start)
  for (let at = text.indexOf(quote, start + quote.length); at !== -1; at = text.indexOf(quote, at + 1)) {
    if (text[at - 1] !== '\\') return at + quote.length
  }
  return text.length
}

function redactTags (text: string, names: SecretNames): string {
  let clean = ''
  let copied = 0
  const tag = new RegExp(TAG)
  for (let found = tag.exec(text); found !== null; found = tag.exec(text)) {
    const [whole, name = ''] = found
    if (whole.endsWith('/>') || !names.has(name, 'text')) continue
    const start = found.index + whole.length
    const close = text.indexOf('</', start)
    const end = close === -1 ? text.length : close
    clean += text.slice(copied, start) + REDACTED
    copied = tag.lastIndex = end
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

/** `%XX` undone where that can be. */
export function unescaped (text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
