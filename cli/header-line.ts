/**
 * `name: value`, as flags and files give headers.
 */

/** undefined: there is no name. */
export function headerOf (line: string): [name: string, value: string] | undefined {
  const colon = line.indexOf(':')
  const name = line.slice(0, Math.max(0, colon)).trim()
  return name === '' ? undefined : [name, line.slice(colon + 1).trim()]
}
