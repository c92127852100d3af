/** Lines of dumps, one file after the other. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { DumpLine } from './types.ts'

/** undefined for a line that is none, such as one that a full disk has cut off. `onBytes` is told how far it has come. */
export async function * readDumps (paths: readonly string[], onBytes: (bytes: number) => void): AsyncGenerator<DumpLine | undefined> {
  for (const path of paths) {
    const file = createReadStream(path)
    file.on('data', chunk => { onBytes(chunk.length) })
    for await (const line of createInterface({ input: file, crlfDelay: Infinity })) {
      if (line.trim() !== '') yield lineOf(line)
    }
  }
}

function lineOf (text: string): DumpLine | undefined {
  try {
    const line = JSON.parse(text) as Partial<DumpLine> | null
    if (typeof line !== 'object' || line === null) return undefined
    const { method, url, status_code: status } = line
    return typeof method === 'string' && typeof url === 'string' && typeof status === 'number' ? line as DumpLine : undefined
  } catch {
    return undefined
  }
}
