/**
 * Headers that `reverseproxy replay` sends in place of those of the dump. Messages never tell values: they are secrets as a rule.
 */
import { readFile } from 'node:fs/promises'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { text } from 'node:stream/consumers'
import { canBeSet, STDIN } from '../lib/replay/index.ts'
import { headerOf } from './header-line.ts'
import { UsageError } from './usage.ts'

export type SetHeader = readonly [name: string, value: string]

/** Those of the file, one a line (empty lines and lines that begin with # are none), except where a flag has the same name. @throws UsageError */
export async function setHeaders (lines: readonly string[], file: string | undefined): Promise<SetHeader[]> {
  const flags = lines.map(line => checked(line, '--set-header'))
  const given = new Set(flags.map(([name]) => name.toLowerCase()))
  const filed = file === undefined ? [] : await fromFile(file)
  return [...filed.filter(([name]) => !given.has(name.toLowerCase())), ...flags]
}

async function fromFile (file: string): Promise<SetHeader[]> {
  const name = file === STDIN ? 'standard input' : file
  const read = file === STDIN ? text(process.stdin) : readFile(file, 'utf8')
  const content = await read.catch((error: NodeJS.ErrnoException) => { throw new UsageError(`--headers-file: ${name} cannot be read (${error.code ?? 'unreadable'})`) })
  const headers: SetHeader[] = []
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    if (line.trim() !== '' && !line.startsWith('#')) headers.push(checked(line, `--headers-file: ${name}, line ${index + 1}`))
  }
  if (headers.length === 0) throw new UsageError(`--headers-file: there are no headers in ${name}`)
  return headers
}

function checked (line: string, where: string): SetHeader {
  const header = headerOf(line)
  if (header === undefined) throw new UsageError(`${where} must be "name: value"`)
  const [name, value] = header
  try {
    validateHeaderName(name)
  } catch {
    throw new UsageError(`${where}: what stands before the colon is no name of a header`)
  }
  try {
    validateHeaderValue(name, value)
  } catch {
    throw new UsageError(`${where}: the value of ${name} has characters that headers cannot have`)
  }
  if (!canBeSet(name.toLowerCase())) throw new UsageError(`${where}: ${name} cannot be set, it belongs to the connection`)
  return header
}
