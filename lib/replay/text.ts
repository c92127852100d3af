/** A report of a replay for people. Pure. */
import type { ReplayReport } from './run.ts'

const WIDTH = 24
const LONGEST = 120

export function reportText (report: ReplayReport, dryRun: boolean): string {
  const { lines, sent, matched, differing, kinds, skipped, redacted, first } = report
  const rows = [
    `${lines} lines, ${sent} ${dryRun ? 'would be sent' : 'sent'}${dryRun ? '' : `: ${matched} matched, ${differing} differ`}`,
    ...counted('differences', kinds),
    ...counted('skipped', skipped),
    ...(redacted === 0 ? [] : [`${redacted} ${dryRun ? 'would be' : 'were'} sent without something that was redacted`])
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

/** `[#####-----]  50 %  120 sent, 3 differ` */
export function progressText (done: number, { sent, differing }: Pick<ReplayReport, 'sent' | 'differing'>): string {
  const part = Math.max(0, Math.min(1, done))
  const full = Math.round(part * WIDTH)
  return `[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}] ${String(Math.round(part * 100)).padStart(3)} %  ${sent} sent, ${differing} differ`
}
