/**
 * `reverseproxy plan`: what would change if one file took the place of another.
 */
import { loadConfigFile, type ConfigFile } from '../lib/config-file.ts'
import { OptionsError } from '../lib/errors.ts'
import { isEmptyPlan, planChanges } from '../lib/plan/index.ts'
import { planText } from '../lib/plan/text.ts'

type Flags = Readonly<Record<string, string | boolean | undefined>>

/**
 * Prints the plan, as JSON with `--json`. Resolves to the exit code: 0; 1 when a file is wrong, with the errors of both on stderr;
 * with `--exit-code` 2 when something would change.
 */
export async function printPlan ([before = '', after = '']: readonly string[], flags: Flags): Promise<number> {
  const loaded = await Promise.allSettled([loadConfigFile(before), loadConfigFile(after)])
  const failed = loaded.flatMap(result => result.status === 'rejected' ? [result.reason as Error] : [])
  const unexpected = failed.find(error => !(error instanceof OptionsError))
  if (unexpected !== undefined) throw unexpected
  if (failed.length > 0) {
    process.stderr.write(failed.map(({ message }) => `${message}\n`).join(''))
    return 1
  }
  const [one, other] = loaded.map(result => (result as PromiseFulfilledResult<ConfigFile>).value) as [ConfigFile, ConfigFile]
  const plan = planChanges(one, other)
  process.stdout.write(flags['json'] === true ? `${JSON.stringify(plan, null, 2)}\n` : planText(plan))
  return flags['exit-code'] === true && !isEmptyPlan(plan) ? 2 : 0
}
