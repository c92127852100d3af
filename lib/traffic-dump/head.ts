/**
 * Heads as they stand in a line. Most header lines are the same request after request: what each becomes is kept as text, and a head
 * is put together from such texts. By way of objects and `JSON.stringify` a line took half as long again.
 */
import type { OutgoingHttpHeader } from 'node:http'
import { flat, withinString } from './json-text.ts'
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
  /** JSON: the members of an object, an array of values by each name in canonical form. */
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

/** A name in canonical form, and what stands by it in the head that is read. */
class Field {
  /** The last head that it stood in. */
  head = 0
  /** The values after the first one. */
  more = ''
  /** How its member begins: the first one of an object, and any other. */
  readonly first: string
  readonly next: string

  constructor (readonly name: string) {
    this.first = `${JSON.stringify(name)}:[`
    this.next = flat(`,${this.first}`)
  }
}

/** A name as it was written. */
class Name {
  /** By text that may be shown as it is: what came with a secret in it is not kept, what became of it is. */
  readonly known = new Map<string, Shown>()
  /** Dates are the same for a second, and soon there are too many of them to be known. */
  latest: Shown | undefined = undefined

  constructor (readonly name: string, readonly field: Field) {}
}

/** What one line of a head becomes. */
interface Shown {
  readonly text: string
  readonly field: Field
  /** A member of its own: the first one of an object, and any other. */
  readonly first: string
  readonly next: string
  /** As {@link Head.lines} has it. */
  readonly line: string
}

/** One that is kept: texts in one piece each, as whatever is put together from them is copied piece by piece. */
class Known implements Shown {
  readonly text: string
  readonly field: Field
  readonly first: string
  readonly next: string
  readonly line: string

  constructor ({ text, field, first, next, line }: Shown) {
    this.text = text
    this.field = field
    this.first = flat(first)
    this.next = flat(next)
    this.line = flat(line)
  }

  get size (): number {
    return this.text.length + this.first.length + this.next.length + this.line.length
  }
}

/** One that is not: what is not asked for is not made. */
class Stranger implements Shown {
  readonly field: Field

  constructor (readonly name: Name, readonly text: string) {
    this.field = name.field
  }

  get first (): string {
    return `${this.field.first}${JSON.stringify(this.text)}]`
  }

  get next (): string {
    return `${this.field.next}${JSON.stringify(this.text)}]`
  }

  get line (): string {
    return withinString(`${this.name.name}: ${this.text}\r\n`)
  }
}

export function createHeads (redactor: Redactor): Heads {
  const names = new Map<string, Name>()
  const fields = new Map<string, Field>()
  let room = CHARACTERS

  // of the head that is read
  let head = 0
  /** By the first line of each. */
  const order: Shown[] = []
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
    for (const shown of order) {
      const { field } = shown
      if (field.more === '') text += text === '' ? shown.first : shown.next
      else {
        text += `${text === '' ? field.first : field.next}${JSON.stringify(shown.text)}${field.more}]`
        field.more = ''
      }
    }
    return { fields: text, lines, type, encoding }
  }

  function add (written: string, value: string): Shown {
    const name = names.get(written) ?? meet(written)
    const shown = name.known.get(value) ?? (name.latest?.text === value ? name.latest : show(name, value))
    const { field } = name
    if (field.head === head) field.more += `,${JSON.stringify(shown.text)}`
    else {
      field.head = head
      order.push(shown)
      if (field.name === 'Content-Type') type = value
      else if (field.name === 'Content-Encoding') encoding = value
    }
    return shown
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

  function make (name: Name, text: string): Shown {
    const stranger = new Stranger(name, text)
    if (text.length > LONGEST) return stranger
    if (name.known.size < VALUES) {
      const known = new Known(stranger)
      if (known.size <= room) {
        room -= known.size
        name.known.set(text, known)
        return known
      }
    }
    name.latest = stranger
    return stranger
  }

  return {
    ofRequest (raw) {
      begin()
      let lines = ''
      // HTTP/2's own fields are in the start line
      for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]!.charCodeAt(0) !== COLON) lines += add(raw[i]!, raw[i + 1]!).line
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
