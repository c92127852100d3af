/** What the options of the request log say about each other. */
import type { OptionProblem } from '../errors.ts'
import { isRecord } from './copy.ts'
import { at } from './paths.ts'

export function crossCheckLog ({ log }: Readonly<Record<string, unknown>>, problems: OptionProblem[]): void {
  if (!isRecord(log)) return
  const lines = isLevel(log['requests'])
  if (log['slow'] !== undefined && !lines) problems.push({ path: at('log', 'slow'), rule: 'has no effect without log.requests', value: log['slow'] })
  if (lines || isLevel(log['failures'])) return
  for (const name of ['query', 'clientAddress']) {
    if (log[name] !== undefined) problems.push({ path: at('log', name), rule: 'has no effect without log.requests or log.failures', value: log[name] })
  }
}

function isLevel (value: unknown): boolean {
  return value !== undefined && value !== false
}
