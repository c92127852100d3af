/**
 * `reverseproxy replay`: sends the requests of a traffic dump somewhere else, and says where the answers differ.
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Agent } from 'undici'
import { checkDump, NoDumpError, nothingText, parseFilter, progressText, readDumps, replay, reportText, STDIN } from '../lib/replay/index.ts'
import type { ReplayAnswer, ReplayOptions, ReplayReport, ReplayRequest } from '../lib/replay/index.ts'
import { setHeaders } from './replay-headers.ts'
import { UsageError } from './usage.ts'

type Flags = Readonly<Record<string, string | boolean | ReadonlyArray<string | boolean> | undefined>>

/** The progress is drawn anew at most so often, ms. */
const DRAW = 100

/** The exit code where nothing was sent. */
const NOTHING = 3

/** Resolves to the exit code: 0 when all answers were the same, 1 when some differed, 3 when nothing was sent. @throws UsageError */
export async function replayDumps (paths: readonly string[], flags: Flags): Promise<number> {
  const dryRun = flags['dry-run'] === true
  const to = dryRun && flags['to'] === undefined ? undefined : targetOf(flags['to'])
  const headersFile = flags['headers-file'] as string | undefined
  if ([...paths, headersFile].filter(path => path === STDIN).length > 1) throw new UsageError('standard input (-) can be read only once')
  const options = { ...optionsOf(flags, dryRun), set: await setHeaders(listOf(flags['set-header'], []), headersFile) }
  const total = (await Promise.all(paths.map(sizeOf))).reduce((sum, size) => sum + size, 0)
  const agent = new Agent({ connections: options.concurrency })
  const progress = process.stderr.isTTY === true && flags['json'] !== true ? createProgress(paths.includes(STDIN) ? undefined : total) : undefined
  try {
    const report = await replay(readDumps(paths, { onBytes (bytes) { progress?.read(bytes) }, open: path => path === STDIN ? process.stdin : createReadStream(path) }), options, {
      send: request => sendTo(agent, to!, request),
      now: () => performance.now(),
      sleep: async ms => { await new Promise(resolve => { setTimeout(resolve, ms) }) },
      onLine (report) { progress?.draw(report) }
    })
    progress?.end(report)
    process.stdout.write(flags['json'] === true ? `${JSON.stringify(report, null, 2)}\n` : reportText(report, dryRun))
    const nothing = nothingText(report, { paths, filter: flags['filter'] as string | undefined, dryRun })
    if (nothing !== undefined) process.stderr.write(`reverseproxy: ${nothing}\n`)
    return nothing !== undefined ? NOTHING : report.differing === 0 ? 0 : 1
  } catch (error) {
    throw error instanceof NoDumpError ? new UsageError(error.message) : error
  } finally {
    await agent.close()
  }
}

/** @throws UsageError for a file that cannot be read or is no dump; what is no file shows when it is read */
async function sizeOf (path: string): Promise<number> {
  if (path === STDIN) return 0
  try {
    const found = await stat(path)
    if (found.isFile() || found.isDirectory()) await checkDump(path)
    return found.size
  } catch (error) {
    if (error instanceof NoDumpError) throw new UsageError(error.message)
    throw new UsageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`)
  }
}

function optionsOf (flags: Flags, dryRun: boolean): Omit<ReplayOptions, 'set'> {
  const filter = flags['filter'] === undefined ? undefined : parseFilter(String(flags['filter']))
  if (typeof filter === 'string') throw new UsageError(`--filter: ${filter}`)
  return {
    filter,
    allMethods: flags['all-methods'] === true,
    redacted: flags['redacted'] === true,
    concurrency: numberOf(flags, 'concurrency', 10),
    rate: flags['rate'] === undefined ? Infinity : rateOf(String(flags['rate'])),
    dryRun,
    headers: listOf(flags['compare-header'], ['content-type']).map(name => name.toLowerCase()),
    ignore: listOf(flags['ignore'], []),
    unordered: flags['unordered'] === true,
    shown: numberOf(flags, 'shown', 10)
  }
}

function listOf (given: Flags[string], initial: readonly string[]): readonly string[] {
  return given === undefined ? initial : [given].flat().map(String)
}

function numberOf (flags: Flags, name: string, initial: number): number {
  const { [name]: given = String(initial) } = flags
  if (!/^[1-9]\d{0,4}$/.test(String(given))) throw new UsageError(`--${name} must be a whole number above 0, not "${String(given)}"`)
  return Number(given)
}

/** `50` or `50/s`. */
function rateOf (given: string): number {
  const [, rate = ''] = /^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(given) ?? []
  if (!(Number(rate) > 0)) throw new UsageError(`--rate must be a number of requests a second, such as 50 or 50/s, not "${given}"`)
  return Number(rate)
}

function targetOf (given: Flags[string]): URL {
  if (given === undefined) throw new UsageError('replay needs --to <url>')
  const url = URL.canParse(String(given)) ? new URL(String(given)) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.search !== '' || url.hash !== '') throw new UsageError(`--to must be a URL such as http://127.0.0.1:8080, not "${String(given)}"`)
  return url
}

async function sendTo (agent: Agent, to: URL, { method, path, headers, body }: ReplayRequest): Promise<ReplayAnswer> {
  const lines: string[] = []
  for (const [name, value] of headers) lines.push(name, value)
  // a URL would put the path right, and it is to be sent as it was
  const answer = await agent.request({
    origin: to.origin,
    path: to.pathname.replace(/\/$/, '') + path,
    method: method as 'GET',
    headers: lines,
    ...(body === undefined ? undefined : { body })
  })
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) }
}

/** A line that is written over. `total`: bytes there are; undefined: nobody knows. */
function createProgress (total: number | undefined) {
  let bytes = 0
  let drawn = -Infinity
  const show = (report: ReplayReport): void => { process.stderr.write(`\r${progressText(total === undefined ? undefined : total === 0 ? 1 : bytes / total, report)}`) }
  return {
    read (more: number) { bytes += more },
    draw (report: ReplayReport) {
      if (performance.now() - drawn < DRAW) return
      drawn = performance.now()
      show(report)
    },
    end (report: ReplayReport) {
      bytes = total ?? bytes
      show(report)
      process.stderr.write('\n')
    }
  }
}
