/**
 * The files of a dump: one that is written to, with a name of its own for each process and gateway, and those that were, by their time.
 * They are readable by their owner only.
 */
import { mkdir, readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createStream, type RotatingFileStream } from 'rotating-file-stream'
import { intervalWord } from './interval.ts'
import type { Sink } from './writer.ts'

export interface FilesConfig {
  readonly directory: string
  /** Bytes. */
  readonly maxFileSize: number
  readonly maxFiles: number
  /** Milliseconds; undefined: never for the time. */
  readonly interval: number | undefined
}

export interface FilesTools {
  /** Told apart by it: process and gateway. */
  readonly id: string
  now (): number
}

const OURS = /^dump-.+\.jsonl$/
/** It is looked once in so many milliseconds whether the file is still there. */
const LOOK = 1_000

/** Opens the file with the first line. */
export function openFiles ({ directory, maxFileSize, maxFiles, interval }: FilesConfig, { id, now }: FilesTools): Sink {
  let stream: RotatingFileStream | undefined
  let file: string | undefined
  let looked = now()
  let waiting: ((error?: Error | null) => void) | undefined

  function settle (error?: Error | null): void {
    const done = waiting
    waiting = undefined
    done?.(error)
  }

  async function start (): Promise<RotatingFileStream> {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const made = createStream((time, index) => nameOf(id, time as Date | null, index), {
      path: directory,
      mode: 0o600,
      size: `${maxFileSize}B`,
      ...(interval === undefined ? undefined : { interval: intervalWord(interval)! })
    })
    made.on('open', name => { file = name })
    made.on('rotated', () => { prune(directory, maxFiles, file).catch(nothing) })
    // also where no write is under way: the next one tells
    made.on('error', settle)
    prune(directory, maxFiles, undefined).catch(nothing)
    return made
  }

  /** A file that somebody has removed would take lines that nobody ever sees. */
  async function current (): Promise<RotatingFileStream> {
    if (stream !== undefined && file !== undefined && now() - looked >= LOOK) {
      looked = now()
      const there = await stat(file).then(() => true, () => false)
      if (!there) {
        stream.end()
        stream = undefined
      }
    }
    stream ??= await start()
    return stream
  }

  return {
    get file () { return file },
    write (bytes, done) {
      waiting = done
      current().then(stream => { stream.write(bytes, settle) }).catch(settle)
    },
    close (done) {
      if (stream === undefined || stream.destroyed) done()
      else stream.end(() => { done() })
    },
    destroy () { stream?.destroy() }
  }
}

function nothing (): void {}

function nameOf (id: string, time: Date | null, index = 1): string {
  if (time === null) return `dump-${id}.jsonl`
  const at = new Date(time).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  return `dump-${at}-${id}-${index}.jsonl`
}

/** The newest stay. Files in which nothing was written are of no use. */
async function prune (directory: string, maxFiles: number, current: string | undefined): Promise<void> {
  const names = (await readdir(directory)).filter(name => OURS.test(name) && join(directory, name) !== current)
  const files = await Promise.all(names.map(async name => {
    const path = join(directory, name)
    const { size, mtimeMs } = await stat(path)
    return { path, time: mtimeMs, empty: size === 0 && /^dump-\d{8}-/.test(name) }
  }))
  files.sort((a, b) => b.time - a.time)
  const full = files.filter(({ empty }) => !empty)
  const old = [...files.filter(({ empty }) => empty), ...full.slice(Math.max(0, maxFiles - 1))]
  await Promise.all(old.map(async ({ path }) => { await unlink(path).catch(nothing) }))
}
