/** What `Retry-After` may say, and everything it may not. */
import t from 'tap'
import fc from 'fast-check'
import { parseRetryAfter } from '../../../lib/retry/retry-after.ts'

/** A Monday. */
const NOW = Date.UTC(2026, 5, 15, 12, 0, 0)
const SECOND = 1000
const DAY = 86_400 * SECOND

function parse (value: string | string[] | undefined, now = NOW): number | undefined {
  return parseRetryAfter(value, now)
}

t.test('delay-seconds are seconds', async t => {
  for (const [value, ms] of [['0', 0], ['1', 1000], ['120', 120_000], ['007', 7000], ['00', 0], ['86400', DAY]] as const) t.equal(parse(value), ms, value)
})

t.test('a huge delay saturates', async t => {
  for (const value of ['9007199254741', '99999999999999999999', '9'.repeat(308), '9'.repeat(400), '9'.repeat(10_000)]) {
    t.equal(parse(value), Number.MAX_SAFE_INTEGER, `${value.length} digits`)
  }
  t.equal(parse('9007199254740'), 9_007_199_254_740_000)
})

t.test('all three forms of a date are understood', async t => {
  t.equal(parse('Mon, 15 Jun 2026 12:00:30 GMT'), 30 * SECOND, 'IMF-fixdate')
  t.equal(parse('Monday, 15-Jun-26 12:00:30 GMT'), 30 * SECOND, 'RFC 850')
  t.equal(parse('Mon Jun 15 12:00:30 2026'), 30 * SECOND, 'asctime')
  t.equal(parse('Mon Jul  6 12:00:00 2026'), 21 * DAY, 'asctime with a day of one digit')
  t.equal(parse('Mon Jul 06 12:00:00 2026'), 21 * DAY, 'asctime with two digits all the same')
})

t.test('the examples of RFC 9110 are one moment', async t => {
  const moment = 784_111_777_000
  for (const value of ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994']) t.equal(parse(value, moment - 5000), 5000, value)
})

t.test('every month and every weekday has its name', async t => {
  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
  months.forEach((month, at) => t.equal(parse(`Mon, 28 ${month} 2027 00:00:00 GMT`), Date.UTC(2027, at, 28) - NOW, month))
  for (const day of ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']) {
    t.equal(parse(`${day}, 15 Jun 2026 12:00:01 GMT`), SECOND, `${day}, right or not`)
    t.equal(parse(`${day} Jun 15 12:00:01 2026`), SECOND, `${day} in asctime`)
  }
  for (const day of ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']) t.equal(parse(`${day}, 15-Jun-26 12:00:01 GMT`), SECOND, day)
})

t.test('a date in the past is no wait', async t => {
  for (const value of [
    'Mon, 15 Jun 2026 12:00:00 GMT', 'Mon, 15 Jun 2026 11:59:59 GMT', 'Thu, 01 Jan 1970 00:00:00 GMT', 'Wed, 31 Dec 1969 23:59:59 GMT',
    'Sat, 01 Jan 0000 00:00:00 GMT', 'Sun Nov  6 08:49:37 1994', 'Sunday, 06-Nov-94 08:49:37 GMT'
  ]) t.equal(parse(value), 0, value)
})

t.test('the years 0 to 99 are not those of the last century', async t => {
  t.equal(parse('Mon, 01 Jan 0099 00:00:00 GMT', Date.UTC(1990, 0, 1)), 0)
})

t.test('the last moment of HTTP-date is a number of milliseconds', async t => {
  t.equal(parse('Fri, 31 Dec 9999 23:59:59 GMT'), Date.UTC(9999, 11, 31, 23, 59, 59) - NOW)
})

t.test('a leap second is the next one, and stands at the end of a day only', async t => {
  t.equal(parse('Tue, 30 Jun 2026 23:59:60 GMT'), Date.UTC(2026, 6, 1) - NOW)
  for (const time of ['12:00:60', '23:58:60', '22:59:60', '23:59:61']) t.equal(parse(`Tue, 30 Jun 2026 ${time} GMT`), undefined, time)
})

t.test('29 February exists in leap years only', async t => {
  t.equal(parse('Tue, 29 Feb 2028 00:00:00 GMT'), Date.UTC(2028, 1, 29) - NOW)
  t.equal(parse('Mon, 29 Feb 2027 00:00:00 GMT'), undefined)
  t.equal(parse('Mon, 29 Feb 2100 00:00:00 GMT'), undefined)
  t.equal(parse('Tue, 29 Feb 2400 00:00:00 GMT'), Date.UTC(2400, 1, 29) - NOW)
})

t.test('a year of two digits is at most 50 years ahead', async t => {
  t.equal(parse('Monday, 15-Jun-75 12:00:00 GMT'), Date.UTC(2075, 5, 15, 12) - NOW, '49 years')
  t.equal(parse('Monday, 15-Jun-76 12:00:00 GMT'), Date.UTC(2076, 5, 15, 12) - NOW, '50 years to the second')
  t.equal(parse('Monday, 15-Jun-76 12:00:01 GMT'), 0, 'a second more is 1976')
  t.equal(parse('Monday, 01-Jan-77 00:00:00 GMT'), 0, '1977')
  t.equal(parse('Monday, 15-Jun-99 12:00:01 GMT'), 0, '1999')
  t.equal(parse('Monday, 15-Jun-25 12:00:01 GMT'), 0, '2025')
})

t.test('a year of two digits may lie beyond the turn of a century', async t => {
  const newYearsEve = Date.UTC(2099, 11, 31, 23, 59, 55)
  t.equal(parse('Friday, 01-Jan-00 00:00:00 GMT', newYearsEve), 5000)
  t.equal(parse('Thursday, 31-Dec-99 23:59:59 GMT', newYearsEve), 4000)
  t.equal(parse('Thursday, 31-Dec-99 23:59:59 GMT', Date.UTC(2100, 0, 1)), 0)
})

t.test('anything else is no Retry-After', async t => {
  for (const value of [
    '', ' ', '+1', '-1', '-0', '1.5', '1.', '.5', '1e3', '0x10', '0b1', '1_000', '1,000', '1n', ' 1', '1 ', '\t1', '1\n', '1\r\n', '1\0', '\u00a01', '1 2', '1, 2', '1;2', '"1"',
    '1s', '10 seconds', 'soon', 'null', 'undefined', 'NaN', 'Infinity', '-Infinity', 'true', '٣', '１２', '१', '1²', '𝟏', 'PT5S', '1781524830000x'
  ]) t.equal(parse(value), undefined, JSON.stringify(value))
})

t.test('almost a date is no date', async t => {
  for (const value of [
    // case, spaces, separators
    'mon, 15 Jun 2026 12:00:30 GMT', 'MON, 15 Jun 2026 12:00:30 GMT', 'Mon, 15 jun 2026 12:00:30 GMT', 'Mon, 15 JUN 2026 12:00:30 GMT', 'Mon, 15 Jun 2026 12:00:30 gmt',
    'Mon,15 Jun 2026 12:00:30 GMT', 'Mon,  15 Jun 2026 12:00:30 GMT', 'Mon 15 Jun 2026 12:00:30 GMT', 'Mon, 15 Jun 2026  12:00:30 GMT', 'Mon, 15 Jun 2026 12:00:30  GMT',
    ' Mon, 15 Jun 2026 12:00:30 GMT', 'Mon, 15 Jun 2026 12:00:30 GMT ', 'Mon, 15 Jun 2026 12:00:30 GMT\n', 'Mon, 15\tJun 2026 12:00:30 GMT', 'Mon, 15-Jun-2026 12:00:30 GMT',
    'Monday, 15 Jun 26 12:00:30 GMT', 'Mon, 15-Jun-26 12:00:30 GMT', 'Monday, 15-Jun-2026 12:00:30 GMT', 'Monday, 15 Jun 2026 12:00:30 GMT', 'Mon, 15 Jun 2026 12.00.30 GMT',
    // zones
    'Mon, 15 Jun 2026 12:00:30', 'Mon, 15 Jun 2026 12:00:30 UTC', 'Mon, 15 Jun 2026 12:00:30 Z', 'Mon, 15 Jun 2026 12:00:30 +0000', 'Mon, 15 Jun 2026 12:00:30 CEST',
    'Mon, 15 Jun 2026 12:00:30 GMT+1', 'Mon Jun 15 12:00:30 2026 GMT', 'Mon Jun 15 12:00:30 GMT 2026',
    // numbers of the wrong size
    'Mon, 5 Jun 2026 12:00:30 GMT', 'Mon,  5 Jun 2026 12:00:30 GMT', 'Mon, 015 Jun 2026 12:00:30 GMT', 'Mon, 15 Jun 26 12:00:30 GMT', 'Mon, 15 Jun 12026 12:00:30 GMT',
    'Mon, 15 Jun 2026 1:00:30 GMT', 'Mon, 15 Jun 2026 12:00 GMT', 'Mon, 15 Jun 2026 12:00:30.5 GMT', 'Mon Jul 6 12:00:00 2026', 'Mon Jul   6 12:00:00 2026', 'Mon Jul  6 12:00:00 26',
    'Mon, -5 Jun 2026 12:00:30 GMT', 'Mon, +5 Jun 2026 12:00:30 GMT', 'Mon, １５ Jun 2026 12:00:30 GMT', 'Mon, 15 Jun ٢٠٢٦ 12:00:30 GMT',
    // days and times that do not exist
    'Mon, 00 Jun 2026 12:00:30 GMT', 'Mon, 31 Jun 2026 12:00:30 GMT', 'Mon, 32 Jan 2027 12:00:30 GMT', 'Mon, 99 Dec 2026 12:00:30 GMT', 'Mon Jul  0 12:00:00 2026',
    'Mon, 15 Jun 2026 24:00:00 GMT', 'Mon, 15 Jun 2026 12:60:00 GMT', 'Mon, 15 Jun 2026 99:99:99 GMT', 'Monday, 31-Jun-26 12:00:30 GMT', 'Monday, 15-Jun-26 25:00:00 GMT',
    // names that are none
    'Foo, 15 Jun 2026 12:00:30 GMT', 'Mon, 15 Foo 2026 12:00:30 GMT', 'Mon, 15 06 2026 12:00:30 GMT', 'Mon, 15 June 2026 12:00:30 GMT', 'Mo, 15 Jun 2026 12:00:30 GMT', '15 Jun 2026 12:00:30 GMT',
    'Montag, 15-Jun-26 12:00:30 GMT', 'Mon, 15 constructor 2026 12:00:30 GMT',
    // other formats, several at once
    '2026-06-15T12:00:30Z', '2026-06-15', '06/15/2026', '2026', '12:00:30', '@1781524830', 'Mon, 15 Jun 2026 12:00:30 GMT, 5', '5, Mon, 15 Jun 2026 12:00:30 GMT',
    'Mon, 15 Jun 2026 12:00:30 GMT;', 'Mon, 15 Jun 2026 12:00:30 GMT (soon)'
  ]) {
    // a lone year is a delay like any other
    t.equal(parse(value), value === '2026' ? 2_026_000 : undefined, JSON.stringify(value))
  }
})

t.test('no header is none, several are none, a list of one is that one', async t => {
  t.equal(parse(undefined), undefined)
  t.equal(parse([]), undefined)
  t.equal(parse(['1', '2']), undefined)
  t.equal(parse(['1', '1']), undefined)
  t.equal(parse(['1']), 1000)
  t.equal(parse(['x']), undefined)
  t.equal(parse(['Mon, 15 Jun 2026 12:00:30 GMT']), 30 * SECOND)
})

t.test('every date that JavaScript prints as UTC is read as that moment', async t => {
  const seconds = fc.integer({ min: Math.ceil(NOW / 1000), max: Date.UTC(9999, 11, 31, 23, 59, 59) / 1000 })
  t.doesNotThrow(() => fc.assert(fc.property(seconds, at => {
    t.equal(parse(new Date(at * 1000).toUTCString()), at * 1000 - NOW)
  }), { seed: 5, numRuns: 500 }))
})

t.test('whatever stands in the header, the wait is undefined or a number from 0 on', async t => {
  const piece = fc.constantFrom('Mon', 'Monday', ', ', ',', ' ', '-', ':', 'Jun', 'Feb', 'GMT', '15', '29', '2026', '26', '00', '60', '99', '9'.repeat(320), '٣')
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.array(piece, { maxLength: 14 }).map(pieces => pieces.join('')))
  t.doesNotThrow(() => fc.assert(fc.property(text, value => {
    const wait = parse(value)
    return wait === undefined || (Number.isFinite(wait) && wait >= 0)
  }), { seed: 6, numRuns: 3000 }))
})

t.test('dates of near misses are numbers from 0 on, or nothing', async t => {
  const digits = (length: number) => fc.integer({ min: 0, max: 10 ** length - 1 }).map(number => String(number).padStart(length, '0'))
  const month = fc.constantFrom('Jan', 'Feb', 'Apr', 'Dec')
  t.doesNotThrow(() => fc.assert(fc.property(digits(2), month, digits(2), digits(2), digits(2), digits(2), (day, month, year, hour, minute, second) => {
    const time = `${hour}:${minute}:${second}`
    const exists = Number(hour) < 24 && Number(minute) < 60 && Number(second) < (hour === '23' && minute === '59' ? 61 : 60) &&
      Number(day) > 0 && Number(day) <= { Jan: 31, Feb: 28, Apr: 30, Dec: 31 }[month]!
    fc.pre(!(day === '29' && month === 'Feb'))
    for (const value of [`Mon, ${day} ${month} 20${year} ${time} GMT`, `Monday, ${day}-${month}-${year} ${time} GMT`, `Mon ${month} ${day} ${time} 20${year}`]) {
      const wait = parse(value)
      if (exists ? wait === undefined || wait < 0 || Number.isNaN(wait) : wait !== undefined) return false
    }
    return true
  }), { seed: 8, numRuns: 2000 }))
})
