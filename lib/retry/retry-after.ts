/**
 * `Retry-After` (RFC 9110 section 10.2.3): when a backend wants to be asked again. Strict: a value that is almost
 * right says nothing, for a guess would be waited for.
 */

const DELAY_SECONDS = /^[0-9]+$/

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

const DAY_NAME = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
const LONG_DAY_NAME = '(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)'
const MONTH = `(?<month>${MONTHS.join('|')})`
const TIME = '(?<hour>[0-9]{2}):(?<minute>[0-9]{2}):(?<second>[0-9]{2})'

/** The three forms of HTTP-date (RFC 9110 section 5.6.7): case matters, one space is one space. */
const HTTP_DATES: readonly RegExp[] = [
  // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
  new RegExp(`^${DAY_NAME}, (?<day>[0-9]{2}) ${MONTH} (?<year>[0-9]{4}) ${TIME} GMT$`),
  // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
  new RegExp(`^${LONG_DAY_NAME}, (?<day>[0-9]{2})-${MONTH}-(?<year>[0-9]{2}) ${TIME} GMT$`),
  // asctime: Sun Nov  6 08:49:37 1994
  new RegExp(`^${DAY_NAME} ${MONTH} (?<day>[0-9]{2}| [0-9]) ${TIME} (?<year>[0-9]{4})$`)
]

/**
 * How long a `Retry-After` asks to wait, ms; undefined when there is none that can be read.
 *
 * Takes delay-seconds and the three forms of HTTP-date. A date in the past is 0. A delay beyond what a number holds
 * exactly is `Number.MAX_SAFE_INTEGER`. The name of the weekday must be one, but need not be that of the date: it
 * adds nothing, and for a year of two digits it may be right only in another century. A 60th second is taken at
 * 23:59 only, where leap seconds are.
 *
 * @param value the header as it arrived; several values are none
 * @param wallNow the time of day, ms since 1970 (`Date.now()`), not that of a `Clock`
 */
export function parseRetryAfter (value: string | string[] | undefined, wallNow: number): number | undefined {
  const text = typeof value !== 'object' ? value : value.length === 1 ? value[0] : undefined
  if (text === undefined) return undefined
  if (DELAY_SECONDS.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER)
  const at = parseHttpDate(text, wallNow)
  return at === undefined ? undefined : Math.max(0, at - wallNow)
}

/** Milliseconds since 1970; undefined when the text is no HTTP-date. `wallNow` settles the century of RFC 850's years. */
function parseHttpDate (text: string, wallNow: number): number | undefined {
  for (const form of HTTP_DATES) {
    const groups = form.exec(text)?.groups
    if (groups === undefined) continue
    const time = timeOfDay(Number(groups['hour']), Number(groups['minute']), Number(groups['second']))
    if (time === undefined) return undefined
    const year = Number(groups['year'])
    const month = MONTHS.indexOf(groups['month']!)
    const day = Number(groups['day'])
    return groups['year']!.length === 2 ? nearby(year, month, day, time, wallNow) : moment(year, month, day, time)
  }
  return undefined
}

/** Milliseconds since midnight; undefined for a time that no day has. */
function timeOfDay (hour: number, minute: number, second: number): number | undefined {
  const lastSecond = hour === 23 && minute === 59 ? 60 : 59
  return hour > 23 || minute > 59 || second > lastSecond ? undefined : ((hour * 60 + minute) * 60 + second) * 1000
}

/** Milliseconds since 1970; undefined for a day that the month does not have. */
function moment (year: number, month: number, day: number, time: number): number | undefined {
  // not Date.UTC, which takes the years 0 to 99 for 1900 to 1999
  const date = new Date(0)
  date.setUTCFullYear(year, month, day)
  return date.getUTCMonth() === month ? date.getTime() + time : undefined
}

/**
 * A date with a year of two digits, in the last century that does not put it more than 50 years into the future
 * (RFC 9110 section 5.6.7).
 */
function nearby (lastDigits: number, month: number, day: number, time: number, wallNow: number): number | undefined {
  const horizon = new Date(wallNow)
  const lastYear = horizon.getUTCFullYear() + 50
  horizon.setUTCFullYear(lastYear)
  const year = lastYear - (lastYear - lastDigits) % 100
  const at = moment(year, month, day, time)
  return at !== undefined && at > horizon.getTime() ? moment(year - 100, month, day, time) : at
}
