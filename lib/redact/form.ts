/** Secrets in queries and forms. */
import { redactText, unescaped } from './text.ts'
import { REDACTED } from './types.ts'
import type { SecretNames } from './names.ts'

/** A query or a fragment begins. */
const PART = /[?#]/g

/** `a=b&c=d`, as in queries and forms. */
export function redactPairs (text: string, names: SecretNames): string {
  let clean = ''
  let copied = 0
  for (let start = 0; start < text.length;) {
    const ampersand = text.indexOf('&', start)
    const end = ampersand === -1 ? text.length : ampersand
    const pair = text.slice(start, end)
    const shown = redactPair(pair, names)
    if (shown !== pair) {
      clean += text.slice(copied, start) + shown
      copied = end
    }
    start = end + 1
  }
  return copied === 0 ? text : clean + text.slice(copied)
}

function redactPair (pair: string, names: SecretNames): string {
  const equals = pair.indexOf('=')
  if (equals === -1) return redactText(pair, names)
  const name = pair.slice(0, equals)
  if (names.has(nameOf(name), 'query')) return `${name}=${REDACTED}`
  const value = pair.slice(equals + 1)
  const shown = redactNested(value, names)
  return shown === value ? pair : `${name}=${shown}`
}

/** A value may hold a URL with a query of its own. */
function redactNested (value: string, names: SecretNames): string {
  const decoded = unescaped(spaced(value))
  const clean = redactText(decoded, names)
  if (decoded === value) return clean
  return clean === decoded ? redactText(value, names) : encodeURIComponent(clean)
}

function nameOf (name: string): string {
  const once = unescaped(spaced(name))
  return unescaped(once)
}

/** To look first is several times as quick as to replace nothing. */
function spaced (text: string): string {
  return text.includes('+') ? text.replaceAll('+', ' ') : text
}

export function redactUrl (url: string, names: SecretNames): string {
  const query = url.search(/[?#;]/)
  if (query === -1) return redactText(url, names)
  const path = url.slice(0, query)
  let clean = redactText(path, names)
  let isSame = clean === path
  // a fragment has parameters where it has any
  for (let at = query; at < url.length;) {
    const end = nextPart(url, at + 1)
    const part = url.slice(at + 1, end)
    const shown = redactPairs(part, names)
    isSame &&= shown === part
    clean += url[at]! + shown
    at = end
  }
  return isSame ? url : clean
}

function nextPart (url: string, from: number): number {
  PART.lastIndex = from
  return PART.test(url) ? PART.lastIndex - 1 : url.length
}

/** Parts of multipart/form-data, by their names. undefined: the boundary is not in it. */
export function redactMultipart (text: string, boundary: string | undefined, names: SecretNames, redactPart: (text: string, type: string | undefined) => string): string | undefined {
  const delimiter = `--${boundary ?? /^--([^\r\n]{1,70})\r?\n/.exec(text)?.[1] ?? ''}`
  if (delimiter === '--' || !text.includes(delimiter)) return undefined
  return text.split(delimiter).map((part, index) => index === 0 ? '' : redactOne(part, names, redactPart)).join(delimiter)
}

function redactOne (part: string, names: SecretNames, redactPart: (text: string, type: string | undefined) => string): string {
  const [empty = ''] = /\r?\n\r?\n/.exec(part) ?? []
  if (empty === '') return redactText(part, names)
  const start = part.indexOf(empty) + empty.length
  const head = part.slice(0, start)
  const [end = ''] = /\r?\n$/.exec(part) ?? []
  const body = part.slice(start, part.length - end.length)
  const name = /^content-disposition:[^\r\n]*[;\s]name\*?=(?:"((?:[^"\\\r\n]|\\.)*)"|([^;\s]+))/im.exec(head)
  const type = /^content-type:[ \t]*([^\r\n]*)/im.exec(head)?.[1]
  // without a name nothing says that it is none
  const secret = name !== null && names.has(unescaped((name[1] ?? name[2] ?? '').replace(/^[\w-]+'[^']*'/, '')), 'query')
  return head + (secret ? REDACTED : redactPart(body, type)) + end
}
