/**
 * What the tests of the documentation share: reading Markdown, running the curl lines it shows, processes that are told to stop.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { fileURLToPath } from 'node:url'
import type { TestLike } from './helper/time.ts'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

// ---- Markdown

/** A fenced block of code. */
export interface CodeBlock {
  readonly language: string
  readonly text: string
  /** The heading it stands under, without its number signs. */
  readonly heading: string
  /** Line of the fence, from 1. */
  readonly line: number
}

/** A table: its rows as texts of the cells, the header's row first. */
export interface Table {
  readonly heading: string
  readonly rows: readonly string[][]
}

export interface Markdown {
  readonly blocks: readonly CodeBlock[]
  readonly tables: readonly Table[]
  /** Everything outside of fenced blocks. */
  readonly prose: string
}

export function readMarkdown (source: string): Markdown {
  const blocks: CodeBlock[] = []
  const tables: Array<{ heading: string, rows: string[][] }> = []
  const prose: string[] = []
  let heading = ''
  let block: { language: string, lines: string[], line: number } | undefined
  let table: string[][] | undefined
  for (const [index, line] of source.split('\n').entries()) {
    if (line.startsWith('```')) {
      if (block === undefined) block = { language: line.slice(3).trim(), lines: [], line: index + 1 }
      else {
        blocks.push({ language: block.language, text: block.lines.join('\n') + '\n', heading, line: block.line })
        block = undefined
      }
      continue
    }
    if (block !== undefined) {
      block.lines.push(line)
      continue
    }
    prose.push(line)
    if (line.startsWith('#')) heading = line.replace(/^#+ */, '')
    if (!line.startsWith('|')) {
      table = undefined
      continue
    }
    if (table === undefined) tables.push({ heading, rows: table = [] })
    if (!/^\|[\s:|-]+\|$/.test(line)) table.push(cellsOf(line))
  }
  if (block !== undefined) throw new Error(`the fence in line ${block.line} is not closed`)
  return { blocks, tables, prose: prose.join('\n') }
}

/** `| a | b |` → `['a', 'b']`; `\|` is a bar within a cell. */
function cellsOf (line: string): string[] {
  return line.slice(1, -1).split(/(?<!\\)\|/).map(cell => cell.trim().replaceAll('\\|', '|'))
}

/** The texts between single backticks. */
export function codeIn (text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!)
}

// ---- curl

export interface CurlAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Does what a curl line says. It knows -i, -X, -H, -d and a URL, and refuses anything else. */
export async function curl (line: string): Promise<CurlAnswer> {
  const [command, ...words] = wordsOf(line)
  if (command !== 'curl') throw new Error(`no curl line: ${line}`)
  let method: string | undefined
  let url: string | undefined
  let data: string | undefined
  const headers: Record<string, string> = {}
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '-i') continue
    else if (word === '-X') method = words.shift()
    else if (word === '-d') data = words.shift()
    else if (word === '-H') {
      const [, name = '', value = ''] = /^([^:]+): *(.*)$/.exec(words.shift() ?? '') ?? []
      headers[name] = value
    } else if (word.startsWith('http')) url = word
    else throw new Error(`unknown word ${word} in: ${line}`)
  }
  const sent = request(url!, { method: method ?? (data === undefined ? 'GET' : 'POST'), headers, agent: false })
  sent.end(data)
  const [response] = await once(sent, 'response') as [import('node:http').IncomingMessage]
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) body += chunk as string
  return { status: response.statusCode!, headers: response.headers, body }
}

/** Splits as a shell does, quotes included; a comment ends the line. */
export function wordsOf (line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(#.*)|([^\s'"]+)/g)]
    .filter(([, , , comment]) => comment === undefined)
    .map(([, single, double, , plain]) => single ?? double ?? plain!)
}

// ---- processes

export interface RunningProcess {
  /** What it has written to stdout so far. */
  readonly output: () => string
  /** Resolves when stdout holds the pattern; rejects when the process ends first. */
  until (pattern: RegExp): Promise<RegExpExecArray>
  /** Sends a signal and resolves to the exit code (null: it died of a signal). */
  stop (signal: NodeJS.Signals): Promise<number | null>
  /** Resolves when it ends by itself. */
  readonly ended: Promise<{ code: number | null, output: string, errors: string }>
}

/** Runs one of our files; killed by the teardown if it is still there. */
export function runScript (t: TestLike, args: readonly string[], { env = {}, cwd = ROOT }: { env?: Record<string, string>, cwd?: string } = {}): RunningProcess {
  const loader = args[0]!.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []
  const child = spawn(process.execPath, [...loader, ...args], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output, errors }))
  t.teardown(() => { if (child.exitCode === null) child.kill('SIGKILL') })
  return {
    output: () => output,
    until: pattern => new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(output)
        if (match !== null) resolve(match)
      }
      child.stdout.on('data', look)
      ended.then(({ code }) => { reject(new Error(`ended with ${code} before ${String(pattern)}:\n${output}${errors}`)) }, reject)
      look()
    }),
    async stop (signal) {
      child.kill(signal)
      return (await ended).code
    },
    ended
  }
}
