/** Lines of dumps, one file after the other. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { DumpLine } from './types.ts'

/** How our own lines begin. */
const BEGINNING = '{"timestamp":"'

/** A file that holds something else. Its message names file and line, and what is wrong. */
export class NoDumpError extends Error {}

export interface ReadTools {
  /** Told how far it has come. */
  onBytes? (bytes: number): void
  /** Default: the file of that path. */
  open? (path: string): Readable
}

/** The path that means standard input. */
export const STDIN = '-'

/** What messages call it. */
export function dumpName (path: string): string {
  return path === STDIN ? 'standard input' : path
}

/**
 * undefined for a line that is none, such as one that a full disk has cut off.
 * @throws NoDumpError for a file that begins with something else
 */
export async function * readDumps (paths: readonly string[], { onBytes = () => {}, open = createReadStream }: ReadTools = {}): AsyncGenerator<DumpLine | undefined> {
  for (const path of paths) {
    const file = open(path)
    file.on('data', chunk => { onBytes((chunk as Buffer).length) })
    let known = false
    let number = 0
    try {
      for await (const text of createInterface({ input: file, crlfDelay: Infinity })) {
        number++
        if (text.trim() === '') continue
        const line = lineOf(text)
        if (typeof line !== 'string') known = true
        else if (!known && !isTorn(text)) throw new NoDumpError(`${dumpName(path)}, line ${number}: this is no line of a traffic dump: ${line}`)
        yield typeof line === 'string' ? undefined : line
      }
    } finally {
      file.destroy()
    }
  }
}

/** Reads until something is known for sure. @throws NoDumpError as `readDumps` does */
export async function checkDump (path: string): Promise<void> {
  for await (const line of readDumps([path])) if (line !== undefined) break
}

function isTorn (text: string): boolean {
  return text.startsWith(BEGINNING) || BEGINNING.startsWith(text)
}

/** A text says why it is none. */
function lineOf (text: string): DumpLine | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'it is not JSON'
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it is not a JSON object'
  const line = value as Partial<DumpLine>
  for (const name of ['method', 'url'] as const) if (typeof line[name] !== 'string') return `it has no "${name}" that is a string`
  return typeof line.status_code === 'number' ? value as DumpLine : 'it has no "status_code" that is a number'
}
