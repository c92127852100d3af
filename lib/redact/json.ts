/**
 * Secrets in JSON, taken out of the text itself: numbers and the order of keys stay as they are, and a text that was cut off, or is
 * a sequence of values, is no different.
 */
import { endOfString, skipValue } from './skip.ts'
import { redactText } from './text.ts'
import { REDACTED } from './types.ts'
import type { SecretNames } from './names.ts'

const QUOTED = JSON.stringify(REDACTED)
/** An error's code is no secret: RP_ERR_TIMEOUT. */
const CONSTANT = /^"[A-Z]+(?:_[A-Z0-9]+)+"$/
const SPACE = /\s*/y
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
    const char = text[at]
    if (char === '{' || char === '[') {
      way.push(pending)
      pending = undefined
      at++
    } else if (char === '}' || char === ']') {
      way.pop()
      pending = undefined
      at++
    } else if (char === '"') {
      const end = endOfString(text, at)
      const colon = skipSpace(text, end)
      if (text[colon] !== ':') {
        const shown = redactString(text.slice(at, end), names)
        if (shown !== undefined) replace(at, end, shown)
        pending = undefined
        at = end
        continue
      }
      const name = decode(text.slice(at, end))
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

function skipSpace (text: string, start: number): number {
  SPACE.lastIndex = start
  SPACE.exec(text)
  return SPACE.lastIndex
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
