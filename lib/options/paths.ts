/**
 * Where in the options something stands, as a text: `backends.orders.targets[0]`, `backends["my backend"].url`.
 */

const PLAIN = /^[A-Za-z_$][\w$-]*$/
const SEGMENT = /\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([A-Za-z_$][\w$-]*)/g

/** `base` plus one property or index. */
export function at (base: string, key: string | number): string {
  if (typeof key === 'number') return `${base}[${key}]`
  if (!PLAIN.test(key)) return `${base}[${JSON.stringify(key)}]`
  return base === '' ? key : `${base}.${key}`
}

/** Whether a path is another one, or leads to something in it. */
export function isWithin (inner: string, path: string): boolean {
  return inner === path || inner.startsWith(`${path}.`) || inner.startsWith(`${path}[`)
}

/** The way back: the properties and indexes of a path. */
export function segments (path: string): Array<string | number> {
  const found: Array<string | number> = []
  for (const [, index, quoted, plain] of path.matchAll(SEGMENT)) {
    if (index !== undefined) found.push(Number(index))
    else if (quoted !== undefined) found.push(JSON.parse(`"${quoted}"`) as string)
    else if (plain !== undefined) found.push(plain)
  }
  return found
}
