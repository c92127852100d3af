/**
 * Which command was meant, and with which flags. Exit codes: 0 done, 1 the configuration is wrong or serving failed, 2 wrong usage.
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
  schema          print the JSON Schema of the file, for editors

Options of serve:
  --port <n>            listen on this port instead of the file's
  --host <address>      listen on this address instead of the file's
  --log-level <level>   fatal, error, warn, info, debug, trace or silent

Options:
  -h, --help      print this
  -v, --version   print the version
`

type Flags = Readonly<Record<string, string | boolean | undefined>>

interface Command {
  /** Whether it needs the name of a file. */
  readonly file: boolean
  readonly flags: NonNullable<ParseArgsConfig['options']>
  /** Resolves to the exit code; undefined while something goes on that will end the process. */
  readonly run: (file: string, flags: Flags) => Promise<number | undefined>
}

// Commands are loaded when they are called: `schema` needs no Fastify.
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    file: true,
    flags: { port: { type: 'string' }, host: { type: 'string' }, 'log-level': { type: 'string' } },
    run: async (file, flags) => (await import('./serve.ts')).serve(file, flags)
  },
  check: { file: true, flags: {}, run: async file => (await import('./check.ts')).checkFile(file) },
  routes: { file: true, flags: {}, run: async file => (await import('./routes.ts')).printRoutes(file) },
  schema: { file: false, flags: {}, run: async () => (await import('./schema.ts')).printSchema() }
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
  const [file, ...more] = positionals
  if (command.file && file === undefined) throw new UsageError(`${name} needs a file`)
  const extra = command.file ? more[0] : file
  if (extra !== undefined) throw new UsageError(`${name} does not know what to do with "${extra}"`)
  return command.run(file ?? '', values)
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
