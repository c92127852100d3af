/**
 * Reads a file whole, so that what was read is one state of it, and within bounds.
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { BigIntStats } from 'node:fs'

/** Bytes. */
export const MAX_FILE_SIZE = 10 * 1024 * 1024

/** Tries to read a file between two writes. */
const TRIES = 3

export interface FileState {
  /** What tells this state from others without reading: device, inode, size, times of change. */
  readonly mark: string
  readonly bytes: Buffer
}

/** Follows symbolic links. Throws with the path and what is wrong. */
export async function markOf (path: string): Promise<string> {
  return describe(await statOf(path))
}

/** Throws with the path and what is wrong: missing, not readable, no file, too large, written all the time. */
export async function readState (path: string, signal: AbortSignal): Promise<FileState> {
  for (let tries = 0; tries < TRIES; tries++) {
    const before = await statOf(path)
    // A pipe would be opened, and wait for a writer, for good.
    if (!before.isFile()) throw new Error(`${path}: must be a file`)
    if (before.size > MAX_FILE_SIZE) throw tooLarge(path)
    const bytes = await readBytes(path, signal)
    const mark = await markOf(path)
    if (mark === describe(before) && BigInt(bytes.length) === before.size) return { mark, bytes }
  }
  throw new Error(`${path}: is being written`)
}

async function statOf (path: string): Promise<BigIntStats> {
  try {
    return await stat(path, { bigint: true })
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** The time of the last change of the inode as well: copies that keep times change it all the same. */
function describe ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
}

async function readBytes (path: string, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    // The file may have grown since it was looked at.
    for await (const chunk of createReadStream(path, { end: MAX_FILE_SIZE, signal }) as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
    }
  } catch (error) {
    signal.throwIfAborted()
    throw unreadable(path, error)
  }
  if (size > MAX_FILE_SIZE) throw tooLarge(path)
  return Buffer.concat(chunks, size)
}

function tooLarge (path: string): Error {
  return new Error(`${path}: is larger than ${MAX_FILE_SIZE / 1024 / 1024} MB`)
}

function unreadable (path: string, cause: unknown): Error {
  const { code = 'unreadable' } = cause as NodeJS.ErrnoException
  return new Error(`${path}: ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`, { cause })
}
