/** Where values of JSON end, in a text that need not be whole. */

const SCALAR = /[^\s,\]}"]*/y

/** Where the value that begins at `start` ends; the end of the text if it was cut off. */
export function skipValue (text: string, start: number): number {
  const first = text[start]
  if (first === '"') return endOfString(text, start)
  if (first !== '{' && first !== '[') {
    SCALAR.lastIndex = start
    SCALAR.exec(text)
    return SCALAR.lastIndex
  }
  let depth = 0
  for (let at = start; at < text.length;) {
    const char = text[at]
    if (char === '"') {
      at = endOfString(text, at)
      continue
    }
    at++
    if (char === '{' || char === '[') depth++
    else if ((char === '}' || char === ']') && --depth === 0) return at
  }
  return text.length
}

/** Where the string that begins at `start` ends. */
export function endOfString (text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let slashes = 0
    while (text[at - 1 - slashes] === '\\') slashes++
    if (slashes % 2 === 0) return at + 1
  }
  return text.length
}
