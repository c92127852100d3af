/** Reads what a gateway has dumped. */
import { readdirSync, readFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { waitFor } from './time.ts'

export interface DumpedLine extends Record<string, unknown> {
  readonly rule: string
  readonly backend: string | null
  readonly method: string
  readonly url: string
  readonly raw_request: string
  readonly request_headers: Record<string, string[]>
  readonly request_body: string | null
  readonly response_headers: Record<string, string[]>
  readonly response_body: string | null
  readonly status_code: number
  readonly duration: number
  readonly attempts: ReadonlyArray<Record<string, unknown>>
}

export function dumpFiles (directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).filter(name => name.endsWith('.jsonl')).sort() : []
}

export function dumpText (directory: string): string {
  return dumpFiles(directory).map(name => readFileSync(join(directory, name), 'utf8')).join('')
}

/** Waits until so many lines have been written, and reads them. */
export async function dumpedLines (app: FastifyInstance, directory: string, count: number): Promise<DumpedLine[]> {
  await waitFor(() => app.reverseproxy.trafficDump.stats().written >= count)
  return dumpText(directory).split('\n').filter(line => line !== '').map(line => JSON.parse(line) as DumpedLine)
}
