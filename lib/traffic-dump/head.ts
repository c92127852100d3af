/**
 * Heads as they stand in a line. Most header lines are the same request after request: what each becomes is kept as text, and a head
 * is put together from such texts. By way of objects and `JSON.stringify` a line took half as long again.
 */
import type { OutgoingHttpHeader } from 'node:http'
import { withinString } from './json-text.ts'
import type { Redactor } from '../redact/types.ts'

const COLON = 0x3a
/** So many names are kept, the first ones, and of each so many values; of all together so many characters. */
const NAMES = 500
const VALUES = 16
const CHARACTERS = 250_000
/** Names and values that are longer are not kept. */
const LONGEST = 256

/** A head as it may be shown. */
export interface Head {
  /** JSON: an array of values by each name in canonical form. */
  readonly fields: string
  /** Of a request: its lines as they were sent, as they stand within a string of JSON. */
  readonly lines: string
  /** Content-Type and Content-Encoding as they were sent. */
  readonly type: string | undefined
  readonly encoding: string | undefined
}

export interface Heads {
  /** Name, value, name, value … as they came. */
  ofRequest (raw: readonly string[]): Head
  ofResponse (headers: Readonly<Record<string, OutgoingHttpHeader | undefined>>): Head
}

/** A name in canonical form, and its place in the head that is read. */
class Field {
  /** The last head that it stood in. */
  head = 0
  /** The name and the values so far: a member of an object but for the array's end. */
  text = ''

  constructor (readonly name: string) {}
}

/** A name as it was written. */
class Name {
  /** By text that may be shown as it is: what came with a secret in it is not kept, what became of it is. */
  readonly known = new Map<string, Shown>()

  constructor (readonly name: string, readonly field: Field) {}
}

/** What one line of a head becomes. */
interface Shown {
  readonly value: string
  /** The same with its name, as {@link Field.text} begins. */
  readonly member: string
  /** As {@link Head.lines} has it. */
  readonly line: string
}

export function createHeads (redactor: Redactor): Heads {
  const names = new Map<string, Name>()
  const fields = new Map<string, Field>()
  let room = CHARACTERS

  // of the head that is read
  let head = 0
  const order: Field[] = []
  /** Those that are not kept. */
  const strangers = new Map<string, Field>()
  let type: string | undefined
  let encoding: string | undefined

  function begin (): void {
    head++
    order.length = 0
    // an empty map that is cleared gets a new table, too
    if (strangers.size > 0) strangers.clear()
    type = encoding = undefined
  }

  function end (lines: string): Head {
    let text = ''
    for (const field of order) {
      text += text === '' ? `{${field.text}]` : `,${field.text}]`
      field.text = ''
    }
    return { fields: text === '' ? '{}' : `${text}}`, lines, type, encoding }
  }

  /** Returns its line. */
  function add (written: string, value: string): string {
    const name = names.get(written) ?? meet(written)
    const { field } = name
    const shown = name.known.get(value) ?? show(name, value)
    if (field.head === head) field.text += `,${shown.value}`
    else {
      field.head = head
      field.text = shown.member
      order.push(field)
      if (field.name === 'Content-Type') type = value
      else if (field.name === 'Content-Encoding') encoding = value
    }
    return shown.line
  }

  function meet (written: string): Name {
    const canonicalName = canonical(written)
    const known = fields.get(canonicalName) ?? strangers.get(canonicalName)
    const field = known ?? new Field(canonicalName)
    const name = new Name(written, field)
    const keeps = names.size < NAMES && written.length <= LONGEST
    if (keeps) names.set(written, name)
    if (known === undefined) (keeps ? fields : strangers).set(canonicalName, field)
    return name
  }

  function show (name: Name, value: string): Shown {
    const text = redactor.header(name.name, value)
    return (text === value ? undefined : name.known.get(text)) ?? make(name, text)
  }

  function make ({ name, field, known }: Name, text: string): Shown {
    const value = JSON.stringify(text)
    const shown = { value, member: `${JSON.stringify(field.name)}:[${value}`, line: withinString(`${name}: ${text}\r\n`) }
    const size = value.length + shown.member.length + shown.line.length
    if (known.size < VALUES && text.length <= LONGEST && size <= room) {
      known.set(text, shown)
      room -= size
    }
    return shown
  }

  return {
    ofRequest (raw) {
      begin()
      let lines = ''
      // HTTP/2's own fields are in the start line
      for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]!.charCodeAt(0) !== COLON) lines += add(raw[i]!, raw[i + 1]!)
      return end(lines)
    },
    ofResponse (headers) {
      begin()
      for (const name in headers) {
        const values = headers[name]
        if (Array.isArray(values)) for (const value of values) add(name, value)
        else if (values !== undefined) add(name, String(values))
      }
      return end('')
    }
  }
}

/** `user-agent` → `User-Agent`. */
export function canonical (name: string): string {
  return name.toLowerCase().replace(/(?:^|-)[a-z]/g, start => start.toUpperCase())
}
