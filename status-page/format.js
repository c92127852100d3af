// Numbers, durations and times as people read them, always with their unit.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const fullTime = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' })

/** As many digits as say something: 0.42, 4.2, 42. */
function short (value) {
  if (value === 0) return '0'
  if (value < 0.995) return value.toFixed(2)
  return value < 9.95 ? value.toFixed(1) : whole.format(value)
}

export const count = value => whole.format(value)
export const rate = value => value === 0 ? '0' : value < 9.95 ? value.toFixed(1) : whole.format(value)
export const percent = (part, of) => of === 0 ? '0 %' : `${short(100 * part / of)} %`
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`

/** A latency: 0.42 ms, 42 ms, 4.2 s. */
export function latency (ms) {
  if (ms < 999.5) return `${short(ms)} ms`
  return ms < 99_950 ? `${(ms / 1000).toFixed(ms < 9_950 ? 2 : 1)} s` : span(ms)
}

/** A long time in its two largest units. */
export function span (ms) {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`
}

export function ago (at, now) {
  const ms = now - at
  if (ms < 1500) return 'now'
  return ms < 60_000 ? `${Math.round(ms / 1000)} s ago` : ms < 3_600_000 ? `${Math.round(ms / 60_000)} min ago` : `${span(ms)} ago`
}

export const clock = at => clockTime.format(at)
export const absolute = at => fullTime.format(at)
export const upper = text => text.charAt(0).toUpperCase() + text.slice(1)

/** A target without what every target has. */
export const host = url => url.replace(/^http:\/\//, '')
