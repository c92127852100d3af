/** Bodies of Consul's answers, read within bounds. */

/** Bytes of an answer; more is an error. */
const LARGEST = 32 * 1024 * 1024
/** Bytes of an error's text that are read, and characters of it that are passed on. */
const MESSAGE_BYTES = 4096
const MESSAGE_LENGTH = 200

/** `isLate` is asked with every piece: a body may come byte by byte for ever. @throws Error whose message goes on from "the answer" */
export async function readJson (body: AsyncIterable<Buffer>, isLate: () => boolean): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > LARGEST) throw new Error(`it is larger than ${LARGEST} bytes`)
    if (isLate()) throw new Error('it takes too long to arrive')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    // not as a cause: what V8 says of bad JSON quotes the text
    throw new Error('it is no JSON')
  }
}

/** The beginning of an error's text; empty where there is none to be had. */
export async function readMessage (body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      size += chunk.length
      if (size >= MESSAGE_BYTES) break
    }
  } catch {
    // the status says enough
  }
  return Buffer.concat(chunks).subarray(0, MESSAGE_BYTES).toString()
}

/** Printable characters only, and not many. */
export function oneLine (text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim()
  return line.length > MESSAGE_LENGTH ? `${line.slice(0, MESSAGE_LENGTH)}…` : line
}
