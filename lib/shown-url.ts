/**
 * How much of a URL logs and spans show: its path, and of its query what may be shown. Pure.
 */

/** What of a query is shown: false nothing, true the names of its parameters, a list also the values of these. */
export type ShownQuery = boolean | readonly string[]

/** Longer paths and queries are cut. */
const MOST = 1_024

/** In place of a value (OpenTelemetry, semantic conventions for HTTP spans). */
const HIDDEN = 'REDACTED'

/** Scheme and authority of a request target in absolute form: a password may be in it. */
const BEFORE_PATH = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i

/** Path of a request target, without its query. */
export function shownPath (target: string): string {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  return cut(path.startsWith('/') ? path : path.replace(BEFORE_PATH, ''))
}

/** Query of a request target without the `?`; undefined: there is none, or it is not to be shown. */
export function shownQuery (target: string, shown: ShownQuery): string | undefined {
  if (shown === false) return undefined
  const at = target.indexOf('?')
  if (at < 0 || at === target.length - 1) return undefined
  // what would be cut away afterwards need not be looked at
  const parameters = target.slice(at + 1, at + 1 + 4 * MOST).split('&')
  return cut(parameters.map(parameter => shownParameter(parameter, shown === true ? [] : shown)).join('&'))
}

function shownParameter (parameter: string, shown: readonly string[]): string {
  const equals = parameter.indexOf('=')
  if (equals >= 0) {
    const name = parameter.slice(0, equals)
    return shown.includes(name) ? parameter : `${name}=${HIDDEN}`
  }
  // what has no name may be anything
  return parameter === '' || shown.includes(parameter) ? parameter : HIDDEN
}

function cut (text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text
}
