/** What is kept out of logs and dumps. */

/** What stands in place of a secret. */
export const REDACTED = '[redacted]'

export interface RedactConfig {
  /** Headers whose values are secret, lower case. */
  readonly headers: readonly string[]
  /** Parameters of URLs and fields of forms whose values are secret. */
  readonly query: readonly string[]
  /** Values in JSON: a name stands for it at any depth, `card.number` for the way from the top; `*` is any name, arrays do not count. */
  readonly json: readonly string[]
  /** Whether only those hold, and nothing is secret by its common name. Default: no. */
  readonly replaceDefaults: boolean
}

/** A body, or what was kept of one. */
export interface BodyToRedact {
  readonly bytes: Buffer
  /** Whether more of it came than is here. */
  readonly truncated: boolean
  /** Its Content-Type. */
  readonly type: string | undefined
  /** Its Content-Encoding. */
  readonly encoding: string | undefined
  /** Most bytes of what a compressed one becomes. */
  readonly limit: number
}

export interface RedactedBody {
  /** null: there is none, or it was left out. */
  readonly text: string | null
  /** `text` is base64: the body is no UTF-8. */
  readonly base64: boolean
  readonly truncated: boolean
  /** The Content-Encoding that was undone. */
  readonly decoded: string | undefined
  /** Why it was left out: nothing says what is secret in it. */
  readonly omitted: 'compressed' | 'charset' | 'form' | undefined
}

export interface Redactor {
  /** A header's value as it may be shown; names in any case. */
  header (name: string, value: string): string
  /** A URL, or a path with a query. */
  url (url: string): string
  /** Any text: what looks like a secret in it is taken out. */
  text (text: string): string
  /** Whichever of the two it is. */
  urlOrText (value: string): string
  body (body: BodyToRedact): RedactedBody
}
