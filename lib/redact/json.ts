/**
 * Secrets in JSON, taken out of the text itself: numbers and the order of keys stay as they are, and a text that was cut off, or is
 * a sequence of values, is no different.
 */
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
const MEANING = new Uint8Array(128)
MEANING[QUOTE] = ENDS
MEANING[BACKSLASH] = ESCAPES | SUSPECT
for (const char of '=:<%J+ ') MEANING[char.charCodeAt(0)] = SUSPECT
/** Ways that lead deeper are of no interest. */
const DEEPEST = 64

export function redactJson (text: string, names: SecretNames): string {
  const { paths } = names
  let clean = ''
  let copied = 0
  /** The names on the way to where we are; undefined for an array. */
  const way: Array<string | undefined> = []
  let pending: string | undefined
  const replace = (start: number, end: number, by: string): void => {
    clean += text.slice(copied, start) + by
    copied = end
  }
  for (let at = 0; at < text.length;) {
    const code = text.charCodeAt(at)
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
      const { end, meaning } = endOf(text, at)
      const colon = skipSpace(text, end)
      if (text.charCodeAt(colon) !== COLON) {
        const shown = (meaning & SUSPECT) === 0 ? undefined : redactString(text.slice(at, end), names)
        if (shown !== undefined) replace(at, end, shown)
        pending = undefined
        at = end
        continue
      }
      const name = (meaning & (ENDS | ESCAPES)) === ENDS ? text.slice(at + 1, end - 1) : decode(text.slice(at, end))
      const start = skipSpace(text, colon + 1)
      at = start
      if (!names.has(name, 'json') && !(paths.length > 0 && way.length <= DEEPEST && isOnPath(way, name, paths))) {
        pending = name
        continue
      }
      at = skipValue(text, start)
      const value = text.slice(start, at)
      if (at > start && !isPlain(value, at < text.length) && !(name === 'code' && CONSTANT.test(value))) replace(start, at, QUOTED)
    } else at++
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

/** Where the string that begins at `start` ends, and what is in it. Most are short: to look at each character is the quickest way. */
function endOf (text: string, start: number): { readonly end: number, readonly meaning: number } {
  let meaning = 0
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    const means = code < 128 ? MEANING[code]! : SUSPECT
    if (means === 0) continue
    meaning |= means
    if (means === ENDS) return { end: at + 1, meaning }
    if ((means & ESCAPES) !== 0) at++
  }
  return { end: text.length, meaning }
}

/** As `\s` has it. */
function skipSpace (text: string, start: number): number {
  let at = start
  for (;;) {
    const code = text.charCodeAt(at)
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) at++
    else if (code < 128 || Number.isNaN(code) || !/\s/.test(text[at]!)) return at
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

/** A text may be a URL, or JSON of its own. undefined: it may stay. */
function redactString (quoted: string, names: SecretNames): string | undefined {
  const value = decode(quoted)
  const clean = redactText(value, names)
  return clean === value ? undefined : JSON.stringify(clean)
}

/** The text that a string of JSON stands for; one that was cut off, or is none, as far as it goes. */
function decode (quoted: string): string {
  if (!quoted.includes('\\') && quoted.endsWith('"') && quoted.length > 1) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted.replace(/^"|"$/g, '').replace(/\\u([0-9a-fA-F]{4})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16))).replace(/\\([^nrtbf])/g, '$1')
  }
}
