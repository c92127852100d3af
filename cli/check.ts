/**
 * `reverseproxy check`: whether a file is right, and all that is wrong with it.
 */
import { loadConfigFile } from '../lib/config-file.ts'
import { describeProblem, OptionsError } from '../lib/errors.ts'
import { missingPackages } from '../lib/needed-packages.ts'

/**
 * Prints OK, or throws the OptionsError that lists every problem. A package that is missing is one where the gateway would not
 * start without it, else a warning. Resolves to the exit code. `isThere`: whether a package can be loaded.
 */
export async function checkFile (file: string, isThere: (name: string) => boolean = canBeLoaded): Promise<number> {
  const { config } = await loadConfigFile(file)
  const missing = missingPackages(config, isThere)
  const fatal = missing.filter(({ refuses }) => refuses)
  if (fatal.length > 0) throw new OptionsError(fatal, file)
  for (const problem of missing) process.stderr.write(`${file}: warning: ${describeProblem(problem).trim()}\n`)
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`
  process.stdout.write(`${file}: OK (${count(Object.keys(config.backends).length, 'backend')}, ${count(config.routes.length, 'route')})\n`)
  return 0
}

function canBeLoaded (name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}
