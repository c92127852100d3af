/**
 * Secrets in JSON, taken out of the text itself: numbers and the order of keys stay as they are, and a text that was cut off, or is
 * a sequence of values, is no different. What is of no JSON is looked through like other text: it may hold what a reader of JSON does
 * not see.
 */
import { codesOf } from './codes.ts'
import { skipValue } from './skip.ts'
import { redactText } from './text.ts'
import { REDACTED } from './types.ts'
import type { SecretNames } from './names.ts'

const QUOTED = JSON.stringify(REDACTED)
/** An error's code is no secret: RP_ERR_TIMEOUT. */
const CONSTANT = /^"[A-Z]+(?:_[A-Z0-9]+)+"$/
const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c

/** What a character of a string means for the rest of it. */
const ENDS = 1
const ESCAPES = 2
/** Without any such character there is nothing in a text that text.ts would look for: pairs, URLs, tags, JWTs, `Bearer x`. */
const SUSPECT = 4
/** It may not stand there. */
const WRONG = 8
const MEANING = new Uint8Array(128).fill(WRONG | SUSPECT, 0, 0x20)
MEANING[QUOTE] = ENDS
MEANING[BACKSLASH] = ESCAPES | SUSPECT
for (const char of '=:<%J+ ') MEANING[char.charCodeAt(0)] = SUSPECT
/** Ways that lead deeper are of no interest. */
const DEEPEST = 64
/** What stands between strings, besides brackets and words. */
const BETWEEN = new Uint8Array(128)
for (const char of ',: \t\r\n0123456789+-.eE') BETWEEN[char.charCodeAt(0)] = 1
/** The last one may have been cut off. */
const WORD = /true|false|null|[a-z]{1,4}$/y

export function redactJson (text: string, names: SecretNames): string {
  const { clean, json } = readJson(text, names)
  return json ? clean : redactText(clean, names)
}

/** `json`: all of it has been understood. */
export function readJson (text: string, names: SecretNames): { readonly clean: string, readonly json: boolean } {
  const { paths } = names
  const codes = codesOf(text)
  let clean = ''
  let copied = 0
  /** The names on the way to where we are; undefined for an array. */
  const way: Array<string | undefined> = []
  let pending: string | undefined
  // brackets may be missing or too many, and the end may have been cut off: nothing hides there
  let json = true
  const replace = (start: number, end: number, by: string): void => {
    clean += text.slice(copied, start) + by
    copied = end
  }
  const read = (start: number, end: number, meaning: number): string => {
    if ((meaning & (ENDS | ESCAPES | WRONG)) === ENDS) return text.slice(start + 1, end - 1)
    const quoted = text.slice(start, end)
    const value = decode((meaning & ENDS) === 0 ? closed(quoted) : quoted)
    json &&= value !== undefined
    return value ?? roughly(quoted)
  }
  for (let at = 0; at < text.length;) {
    const code = codes[at]!
    // `{`, `[`, and their ends two further
    if (code === 0x7b || code === 0x5b) {
      way.push(pending)
      pending = undefined
      at++
    } else if (code === 0x7d || code === 0x5d) {
      way.pop()
      pending = undefined
      at++
    } else if (code === QUOTE) {
      const { end, meaning } = endOf(codes, at, text.length)
      const colon = skipSpace(codes, end)
      const isName = codes[colon] === COLON
      const isSuspect = (meaning & SUSPECT) !== 0
      const content = isName || isSuspect ? read(at, end, meaning) : ''
      if (isSuspect) {
        const shown = redactText(content, names)
        if (shown !== content) replace(at, end, JSON.stringify(shown))
      }
      if (!isName) {
        pending = undefined
        at = end
        continue
      }
      const start = skipSpace(codes, colon + 1)
      at = start
      if (!names.has(content, 'json') && !(paths.length > 0 && way.length <= DEEPEST && isOnPath(way, content, paths))) {
        pending = content
        continue
      }
      at = skipValue(text, start)
      const value = text.slice(start, at)
      if (at > start && !isPlain(value, at < text.length) && !(content === 'code' && CONSTANT.test(value))) replace(start, at, QUOTED)
    } else if (BETWEEN[code] === 1) at++
    else {
      const end = endOfWord(text, at)
      if (end === at) json = false
      at = Math.max(end, at + 1)
    }
  }
  return { clean: copied === 0 ? text : clean + text.slice(copied), json }
}

/** Where true, false or null ends, if it begins at `start`. */
function endOfWord (text: string, start: number): number {
  WORD.lastIndex = start
  return WORD.test(text) ? WORD.lastIndex : start
}

/** Where the string that begins at `start` ends, and what is in it. Most are short: to look at each character is the quickest way. */
function endOf (codes: Uint16Array, start: number, length: number): { readonly end: number, readonly meaning: number } {
  let meaning = 0
  for (let at = start + 1; at < length; at++) {
    const code = codes[at]!
    const means = code < 128 ? MEANING[code]! : SUSPECT
    if (means === 0) continue
    meaning |= means
    if (means === ENDS) return { end: at + 1, meaning }
    if ((means & ESCAPES) !== 0) at++
  }
  return { end: length, meaning }
}

/** As `\s` has it. */
function skipSpace (codes: Uint16Array, start: number): number {
  let at = start
  for (;;) {
    const code = codes[at]!
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) at++
    else if (code < 128 || !/\s/.test(String.fromCharCode(code))) return at
    else at++
  }
}

/** There is nothing to hide in null, true and false. */
function isPlain (value: string, complete: boolean): boolean {
  return complete && (value === 'null' || value === 'true' || value === 'false')
}

function isOnPath (way: ReadonlyArray<string | undefined>, name: string, paths: SecretNames['paths']): boolean {
  const names = [...way.filter(step => step !== undefined), name]
  return paths.some(path => path.length === names.length && path.every((step, index) => step === '*' || step === names[index]))
}

/** The text that a string of JSON stands for; undefined: it is none. */
function decode (quoted: string): string | undefined {
  try {
    return JSON.parse(quoted) as string
  } catch {
    return undefined
  }
}

/** One that was cut off, without half an escape at its end. */
function closed (quoted: string): string {
  return `${quoted.replace(/\\(?:u[0-9a-fA-F]{0,3})?$/, '')}"`
}

/** What is none, as far as it goes. */
function roughly (quoted: string): string {
  return quoted.replace(/^"|"$/g, '').replace(/\\u([0-9a-fA-F]{4})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16))).replace(/\\([^nrtbf])/g, '$1')
}
