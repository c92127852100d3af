/**
 * `reverseproxy check`: whether a file is right, and all that is wrong with it.
 */
import { isLoopbackName, whyNobody } from '../lib/admin/access.ts'
import { loadConfigFile, type ConfigFile } from '../lib/config-file.ts'
import { describeProblem, OptionsError } from '../lib/errors.ts'
import { missingPackages } from '../lib/needed-packages.ts'
import { lookAtFolder } from '../lib/traffic-dump/index.ts'

/**
 * Prints OK, or throws the OptionsError that lists every problem. A package that is missing is one where the gateway would not
 * start without it, else a warning. So are an admin interface that lets nobody in and a folder of the traffic dump that cannot be written to. Resolves to the exit code. `isThere`: whether a package can be loaded.
 */
export async function checkFile (file: string, isThere: (name: string) => boolean = canBeLoaded): Promise<number> {
  const { config, server } = await loadConfigFile(file)
  const missing = missingPackages(config, isThere)
  const fatal = missing.filter(({ refuses }) => refuses)
  if (fatal.length > 0) throw new OptionsError(fatal, file)
  for (const warning of [...missing.map(problem => describeProblem(problem).trim()), ...adminWarnings(config, server), ...await dumpWarnings(config)]) process.stderr.write(`${file}: warning: ${warning}\n`)
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`
  process.stdout.write(`${file}: OK (${count(Object.keys(config.backends).length, 'backend')}, ${count(config.routes.length, 'route')})\n`)
  return 0
}

/** What the gateway says as well when it listens. */
function adminWarnings ({ admin }: ConfigFile['config'], { host }: ConfigFile['server']): string[] {
  if (admin === undefined) return []
  const why = whyNobody(admin, isLoopbackName(admin.port === undefined ? host : admin.host))
  return why === undefined ? [] : [why]
}

async function dumpWarnings ({ trafficDump }: ConfigFile['config']): Promise<string[]> {
  const reason = trafficDump === undefined ? undefined : await lookAtFolder(trafficDump.directory)
  return reason === undefined ? [] : [`trafficDump.directory: cannot be written to here: ${reason} (got "${trafficDump!.directory}")`]
}

function canBeLoaded (name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}
