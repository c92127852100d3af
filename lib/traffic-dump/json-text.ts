/** Pieces of JSON as text, where `JSON.stringify` would be asked for the same again and again. */
import { memo } from '../redact/index.ts'

/** A member whose value is a string, as it is to be shown, or null, and the comma behind it; for those of which there are few. */
export function createMember (name: string, shown: (text: string) => string = text => text): (text: string | null | undefined) => string {
  const memberOf = (json: string): string => flat(`"${name}":${json},`)
  const absent = memberOf('null')
  const member = memo(text => memberOf(JSON.stringify(shown(text))))
  return text => text === null || text === undefined ? absent : member(text)
}

/** A text as it stands between the quotes of a string. */
export function withinString (text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

/** The same in one piece of memory: V8 keeps what was put together as a tree of its parts until somebody reads it. */
export function flat (json: string): string {
  return Buffer.from(json).toString()
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

/** `007Z",` */
const ENDS_OF_SECONDS = Array.from({ length: 1_000 }, (_, ms) => `${String(ms).padStart(3, '0')}Z",`)

/** How a line begins: with its time of day as ISO 8601 has it, in UTC. Those that follow one another are mostly of the same second. */
export function createBeginning (): (at: number) => string {
  let second = NaN
  let text = ''
  return function beginning (at) {
    const begun = Math.floor(at / 1_000)
    if (begun !== second) {
      second = begun
      text = flat(`{"timestamp":"${new Date(1_000 * begun).toISOString().slice(0, -'000Z'.length)}`)
    }
    return text + ENDS_OF_SECONDS[Math.floor(at) - 1_000 * begun]!
  }
}
