/** Pieces of JSON as text, where `JSON.stringify` would be asked for the same again and again. */
import { memo } from '../redact/index.ts'

/** A string, as it is to be shown, or null; for those of which there are few. */
export type Quote = (text: string | null | undefined) => string

export function createQuote (shown: (text: string) => string = text => text): Quote {
  const quoted = memo(text => JSON.stringify(shown(text)))
  return text => text === null || text === undefined ? 'null' : quoted(text)
}

/** A text as it stands between the quotes of a string. */
export function withinString (text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

/** `.5` of 500. */
const DECIMALS = Array.from({ length: 1_000 }, (_, thousandths) => String(thousandths / 1_000).slice(1))

/** A number of milliseconds, to the microsecond. */
export function milliseconds (ms: number): string {
  const micros = Math.round(ms * 1_000)
  if (!(micros >= 0 && micros < 1e12)) return JSON.stringify(micros / 1_000)
  const thousandths = micros % 1_000
  return (micros - thousandths) / 1_000 + DECIMALS[thousandths]!
}

/** Times of day as ISO 8601 has them, in UTC. Those that follow one another are mostly of the same second. */
export function createTimestamp (): (at: number) => string {
  let second = NaN
  let text = ''
  return function timestamp (at) {
    const begun = Math.floor(at / 1_000)
    if (begun !== second) {
      second = begun
      text = new Date(1_000 * begun).toISOString().slice(0, -'000Z'.length)
    }
    return `${text}${String(1_000 + Math.floor(at) - 1_000 * begun).slice(1)}Z`
  }
}
