/**
 * Which command was meant, and with which flags. Exit codes: 0 done, 1 the configuration is wrong or serving failed, 2 wrong usage
 * (and, when it is asked for, that a plan is not empty), 3 nothing was replayed.
 */
import { readFile } from 'node:fs/promises'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { OptionsError } from '../lib/errors.ts'
import { nearest } from '../lib/options/suggest.ts'
import { UsageError } from './usage.ts'

const HELP = `Usage: reverseproxy <command> [options]

Commands:
  serve <file>    run the gateway that a YAML or JSON file describes ("reverseproxy <file>" does the same)
  check <file>    say whether the file is right; list everything that is wrong
  routes <file>   list the routes
  plan <old> <new>
                  say what would change if the new file took the place of the old one
  explain <file> [method] <path>
                  say what would become of a request: route, tenant, backend, target
  replay <dump…>  send the requests of a traffic dump to a gateway again, and compare the answers;
                  - is standard input
  schema          print the JSON Schema of the file, for editors

Options of serve:
  --port <n>            listen on this port instead of the file's
  --host <address>      listen on this address instead of the file's
  --log-level <level>   fatal, error, warn, info, debug, trace or silent
  --workers <n|auto>    serve with so many processes, auto: one for each core (default: 1)
  --watch               read the file again whenever it changes (SIGHUP always does it)

Options of plan:
  --json          print the plan as JSON
  --exit-code     end with 2 when something would change

Options of explain:
  -H, --header <name: value>  a header of the request; may be given more than once
  --tenant <id>               the tenant, where a header names it
  --json                      print it as JSON

Options of replay:
  --to <url>              the gateway they are sent to
  --rate <n>              so many requests a second (default: as fast as they are answered)
  --concurrency <n>       so many at once (default: 10)
  --filter <conditions>   only those: route=, backend=, method=, status= (also 5xx, and >=), joined by commas
  --all-methods           also others than GET and HEAD
  --redacted              also those with "[redacted]" in path or body
  --set-header <name: value>
                          send this header in place of the dumped one; may be given more than once
  --headers-file <file>   send these headers, one a line; - is standard input
  --compare-header <name>
                          compare this header; may be given more than once (default: content-type)
  --ignore <json.path>    leave this value of JSON bodies out; may be given more than once
  --unordered             lists of JSON are the same in any order
  --shown <n>             tell of so many that differ (default: 10)
  --dry-run               send nothing, say what would be sent
  --json                  print the report as JSON

Options:
  -h, --help      print this
  -v, --version   print the version
`

type Flags = Readonly<Record<string, string | boolean | undefined>>

interface Command {
  /** What it needs besides flags, by the names that messages have for it. */
  readonly positionals: readonly string[]
  /** How many there may be, where that is more. */
  readonly most?: number
  readonly flags: NonNullable<ParseArgsConfig['options']>
  /** Resolves to the exit code; undefined while something goes on that will end the process. */
  readonly run: (given: readonly string[], flags: Flags) => Promise<number | undefined>
}

// Commands are loaded when they are called: `schema` needs no Fastify.
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    positionals: ['file'],
    flags: { port: { type: 'string' }, host: { type: 'string' }, 'log-level': { type: 'string' }, workers: { type: 'string' }, watch: { type: 'boolean' } },
    run: async ([file = ''], flags) => (await import('./serve.ts')).serve(file, flags)
  },
  check: { positionals: ['file'], flags: {}, run: async ([file = '']) => (await import('./check.ts')).checkFile(file) },
  routes: { positionals: ['file'], flags: {}, run: async ([file = '']) => (await import('./routes.ts')).printRoutes(file) },
  plan: {
    positionals: ['old file', 'new file'],
    flags: { json: { type: 'boolean' }, 'exit-code': { type: 'boolean' } },
    run: async (files, flags) => (await import('./plan.ts')).printPlan(files, flags)
  },
  explain: {
    positionals: ['file', 'path'],
    most: 3,
    flags: { header: { type: 'string', short: 'H', multiple: true }, tenant: { type: 'string' }, json: { type: 'boolean' } },
    run: async (given, flags) => (await import('./explain.ts')).printExplanation(given, flags)
  },
  replay: {
    positionals: ['file'],
    most: Infinity,
    flags: {
      to: { type: 'string' },
      rate: { type: 'string' },
      concurrency: { type: 'string' },
      filter: { type: 'string' },
      redacted: { type: 'boolean' },
      'set-header': { type: 'string', multiple: true },
      'headers-file': { type: 'string' },
      'compare-header': { type: 'string', multiple: true },
      ignore: { type: 'string', multiple: true },
      unordered: { type: 'boolean' },
      'all-methods': { type: 'boolean' },
      shown: { type: 'string' },
      json: { type: 'boolean' },
      'dry-run': { type: 'boolean' }
    },
    run: async (files, flags) => (await import('./replay.ts')).replayDumps(files, flags)
  },
  schema: { positionals: [], flags: {}, run: async () => (await import('./schema.ts')).printSchema() }
}

/** Runs a command line (without node and script). Resolves to the exit code. */
export async function run (args: readonly string[]): Promise<number | undefined> {
  try {
    return await dispatch(args)
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`reverseproxy: ${error.message}\nTry "reverseproxy --help".\n`)
      return 2
    }
    process.stderr.write(error instanceof OptionsError ? `${error.message}\n` : `reverseproxy: ${(error as Error).message}\n`)
    return 1
  }
}

async function dispatch (args: readonly string[]): Promise<number | undefined> {
  const [first = '--help'] = args
  if (first === '--help' || first === '-h') return print(HELP)
  if (first === '--version' || first === '-v') return print(`${await version()}\n`)
  const [name, rest] = commandOf(first, args)
  const command = COMMANDS[name]
  if (command === undefined) throw unknownCommand(first)
  const { values, positionals } = parseFlags(command, rest)
  if (values['help'] === true) return print(HELP)
  const { positionals: needed } = command
  if (positionals.length < needed.length) throw new UsageError(`${name} needs ${needed.length === 1 ? `a ${needed[0]}` : needed.map(what => `<${what}>`).join(' ')}`)
  const extra = positionals[command.most ?? needed.length]
  if (extra !== undefined) throw new UsageError(`${name} does not know what to do with "${extra}"`)
  return command.run(positionals, values)
}

/** `reverseproxy gateway.yaml` serves. */
function commandOf (first: string, args: readonly string[]): [name: string, rest: readonly string[]] {
  if (Object.hasOwn(COMMANDS, first)) return [first, args.slice(1)]
  return first.startsWith('-') || /[./\\]/.test(first) ? ['serve', args] : ['', args]
}

function unknownCommand (name: string): UsageError {
  const meant = nearest(name, Object.keys(COMMANDS))
  return new UsageError(`there is no command "${name}"${meant === undefined ? '' : `; did you mean "${meant}"?`}`)
}

function parseFlags (command: Command, args: readonly string[]): { values: Flags, positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { ...command.flags, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true
    })
    return { values: values as Flags, positionals }
  } catch (error) {
    // The first sentence names the flag; the rest is advice about positionals that does not fit here.
    throw new UsageError((error as Error).message.split('. ')[0] ?? 'wrong flag')
  }
}

function print (text: string): number {
  process.stdout.write(text)
  return 0
}

/** The package's version; its file is one folder up in the sources and two in `dist`. */
async function version (): Promise<string> {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { version } = JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as { version: string }
      return version
    } catch {
      // not there: the other one
    }
  }
  return 'unknown'
}
