/** What the room of the traffic dump works with. */
import type { RedactConfig } from '../redact/types.ts'

export interface TrafficDumpConfig {
  /** Absolute path of the folder. */
  readonly directory: string
  /** Share of the requests, 0 to 1. */
  readonly sampleRate: number
  /** The same by route; a route with 0 is never dumped. */
  readonly routes: Readonly<Record<string, number>>
  /** Share of the requests that failed, besides. */
  readonly errorSampleRate: number
  /** Most bytes that are kept of a body. */
  readonly maxBodySize: number
  /** Bytes after which another file begins. */
  readonly maxFileSize: number
  /** Most files in the folder, older ones are removed. */
  readonly maxFiles: number
  /** Milliseconds after which another file begins; undefined: never for the time. */
  readonly interval: number | undefined
  /** Most bytes that wait to be written. */
  readonly queue: number
  /** Whether the client's address is told. */
  readonly clientAddress: boolean
  readonly redact: RedactConfig
}

/** Something that will be a line. */
export interface Entry {
  /** About how many bytes it keeps. */
  readonly size: number
  /** Without the line's end. */
  line (): string
}

export interface DumpStats {
  /** Lines that are in files. */
  readonly written: number
  /** Lines that found no room among those that wait. */
  readonly dropped: number
  /** Lines that could not be written. */
  readonly failed: number
  /** Lines that are neither of these yet: they wait, or are being written. */
  readonly queued: number
  /** The file that is written to; undefined: none yet, or there is trouble. */
  readonly file: string | undefined
}
