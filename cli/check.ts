/**
 * `reverseproxy check`: whether a file is right, and all that is wrong with it.
 */
import { loadConfigFile } from '../lib/config-file.ts'

/** Prints OK, or throws the OptionsError that lists every problem. Resolves to the exit code. */
export async function checkFile (file: string): Promise<number> {
  const { config } = await loadConfigFile(file)
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`
  process.stdout.write(`${file}: OK (${count(Object.keys(config.backends).length, 'backend')}, ${count(config.routes.length, 'route')})\n`)
  return 0
}
