/** A report of a replay for people. Pure. */
import { dumpName } from './read.ts'
import type { ReplayReport } from './run.ts'

const WIDTH = 24
const LONGEST = 120

export function reportText (report: ReplayReport, dryRun: boolean): string {
  const { lines, sent, matched, differing, kinds, skipped, withoutRedacted, withRedacted, first } = report
  const rows = [
    `${lines} lines, ${sent} ${dryRun ? 'would be sent' : 'sent'}${dryRun ? '' : `: ${matched} matched, ${differing} differ`}`,
    ...counted('differences', kinds),
    ...counted('skipped', skipped),
    ...(withoutRedacted === 0 ? [] : [`${withoutRedacted} ${dryRun ? 'would be' : 'were'} sent without headers or parameters that are redacted in the dump`]),
    ...(withRedacted === 0 ? [] : [`${withRedacted} ${dryRun ? 'would be' : 'were'} sent with "[redacted]" in path or body`])
  ]
  for (const { method, url, requestId, differences } of first) {
    rows.push('', `${method} ${url}${requestId === undefined ? '' : `  (${requestId})`}`)
    for (const { kind, at, expected, actual } of differences) rows.push(`  ${kind === 'body' || kind === 'header' ? `${kind} ${at}` : kind}: expected ${shown(expected)}, got ${shown(actual)}`)
  }
  return `${rows.join('\n')}\n`
}

function counted (what: string, counts: Readonly<Record<string, number>>): string[] {
  const found = Object.entries(counts).filter(([, count]) => count > 0)
  return found.length === 0 ? [] : [`${what}: ${found.map(([name, count]) => `${count} ${name}`).join(', ')}`]
}

function shown (value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
}

/** Why nothing was sent, as one line; undefined: something was. */
export function nothingText ({ lines, sent, skipped }: ReplayReport, { paths, filter, dryRun }: { readonly paths: readonly string[], readonly filter: string | undefined, readonly dryRun: boolean }): string | undefined {
  if (sent > 0) return undefined
  const nothing = `nothing ${dryRun ? 'would be' : 'was'} replayed`
  if (lines === 0) return `${nothing}: there are no lines in ${paths.length === 1 ? dumpName(paths[0]!) : `${paths.length} files`}`
  const why: Record<keyof typeof skipped, string> = { ...REASONS, filter: `by --filter '${filter ?? ''}'` }
  const reasons = Object.entries(skipped).filter(([, count]) => count > 0).map(([name, count]) => `${count} ${why[name as keyof typeof why]}`)
  return `${nothing}: ${lines === 1 ? 'the only line was' : `all ${lines} lines were`} left out: ${reasons.join(', ')}`
}

/** After a number of lines. */
const REASONS: Readonly<Record<Exclude<keyof ReplayReport['skipped'], 'filter'>, string>> = {
  method: 'by method (without --all-methods only GET and HEAD are sent)',
  'truncated-body': 'whose body is longer than maxBodySize of the dump',
  'missing-body': 'whose body is not in the dump',
  'redacted-path': 'with a redacted path (--redacted sends them as they are)',
  'redacted-body': 'with a redacted body (--redacted sends them as they are)',
  aborted: 'that broke off',
  unreadable: 'that cannot be read'
}

/** `[#####-----]  50 %  120 sent, 3 differ`; `done`: 0 to 1, undefined: nobody knows. */
export function progressText (done: number | undefined, { sent, differing }: Pick<ReplayReport, 'sent' | 'differing'>): string {
  const counts = `${sent} sent, ${differing} differ`
  if (done === undefined) return counts
  const part = Math.max(0, Math.min(1, done))
  const full = Math.round(part * WIDTH)
  return `[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}] ${String(Math.round(part * 100)).padStart(3)} %  ${counts}`
}
