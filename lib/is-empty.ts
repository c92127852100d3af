/** Whether an object has no enumerable keys, without making a list of them. */
export function isEmpty (object: object): boolean {
  // eslint-disable-next-line no-unreachable-loop -- the first key answers
  for (const key in object) return key === undefined
  return true
}
