/** Sends the requests of a dump again, at a pace, and counts what differs. */
import { compare } from './compare.ts'
import { requestOf, skipOf } from './request.ts'
import type { LineFilter } from './filter.ts'
import type { CompareOptions, Difference, DifferenceKind, DumpLine, ReplayAnswer, ReplayRequest, RequestOptions, Skip } from './types.ts'

export interface ReplayOptions extends CompareOptions, RequestOptions {
  readonly filter: LineFilter | undefined
  readonly concurrency: number
  /** Most requests a second; Infinity: as many as there are. */
  readonly rate: number
  /** Nothing is sent. */
  readonly dryRun: boolean
  /** So many requests that differ are told of in full. */
  readonly shown: number
}

export interface ReplayTools {
  send (request: ReplayRequest): Promise<ReplayAnswer>
  now (): number
  sleep (ms: number): Promise<void>
  /** After each line. */
  onLine (report: ReplayReport): void
}

export interface Differing {
  readonly method: string
  readonly url: string
  readonly requestId: string | undefined
  readonly differences: readonly Difference[]
}

export interface ReplayReport {
  /** Lines that were read. */
  lines: number
  sent: number
  matched: number
  /** Requests that differ. */
  differing: number
  /** Differences by kind. */
  readonly kinds: Record<DifferenceKind, number>
  readonly skipped: Record<Skip | 'unreadable', number>
  /** Requests that were sent without headers or parameters whose values are not in the dump. */
  withoutRedacted: number
  /** Requests that were sent with `[redacted]` in path or body. */
  withRedacted: number
  /** The first that differ. */
  readonly first: Differing[]
}

/** `lines`: undefined for one that cannot be read. */
export async function replay (lines: AsyncIterable<DumpLine | undefined>, options: ReplayOptions, { send, now, sleep, onLine }: ReplayTools): Promise<ReplayReport> {
  const report: ReplayReport = {
    lines: 0,
    sent: 0,
    matched: 0,
    differing: 0,
    kinds: { status: 0, header: 0, body: 0, failed: 0 },
    skipped: { method: 0, 'truncated-body': 0, 'missing-body': 0, 'redacted-path': 0, 'redacted-body': 0, aborted: 0, filter: 0, unreadable: 0 },
    withoutRedacted: 0,
    withRedacted: 0,
    first: []
  }
  const running = new Set<Promise<void>>()
  const startedAt = now()

  async function one (line: DumpLine): Promise<void> {
    const request = requestOf(line, options.set)
    if (request.withoutRedacted) report.withoutRedacted++
    if (request.withRedacted) report.withRedacted++
    let differences: Difference[] = []
    if (!options.dryRun) {
      try {
        differences = compare(line, await send(request), options)
      } catch (error) {
        differences = [{ kind: 'failed', at: 'request', expected: line.status_code, actual: (error as Error).message }]
      }
    }
    tell(line, differences)
    onLine(report)
  }

  function tell (line: DumpLine, differences: readonly Difference[]): void {
    if (differences.length === 0) {
      report.matched++
      return
    }
    report.differing++
    for (const { kind } of differences) report.kinds[kind]++
    if (report.first.length < options.shown) report.first.push({ method: line.method, url: line.url, requestId: line.request_id, differences })
  }

  for await (const line of lines) {
    report.lines++
    const skip = line === undefined ? 'unreadable' : options.filter?.(line) === false ? 'filter' : skipOf(line, options)
    if (line === undefined || skip !== undefined) {
      report.skipped[skip!]++
      onLine(report)
      continue
    }
    const wait = startedAt + report.sent * 1000 / options.rate - now()
    if (!options.dryRun && wait > 0) await sleep(wait)
    report.sent++
    const run = one(line).finally(() => { running.delete(run) })
    running.add(run)
    if (running.size >= options.concurrency) await Promise.race(running)
  }
  await Promise.all(running)
  return report
}
