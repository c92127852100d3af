/**
 * Configuration files: YAML or JSON in, checked options out. Every problem names its line and column.
 */
import { readFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { isNode, LineCounter, parseDocument, type Document } from 'yaml'
import { substitute, type Environment } from './config-file/environment.ts'
import { positionOf, type Position } from './config-file/positions.ts'
import { syntaxProblems } from './config-file/syntax.ts'
import { describeProblem, OptionsError, type OptionProblem } from './errors.ts'
import { check } from './options/check.ts'
import { copy, isRecord } from './options/copy.ts'
import { tryParseOptions, type GatewayOptions, type ParsedOptions } from './options/index.ts'
import { at, segments } from './options/paths.ts'
import { withPortableDiscovery } from './options/resolve-discovery.ts'
import { withPem as tenantWithPem } from './options/resolve-tenancy.ts'
import { portableTrafficDump } from './options/resolve-traffic-dump.ts'
import { readPem, type Origin } from './options/rules.ts'
import { groupRoutes } from './matching/index.ts'
import { FORWARDED_METHODS } from './routes/declare.ts'
import { fileSchema, type ServerFileOptions } from './options/schema/server.ts'
import { crossCheckServer, resolveServer, type ServerConfig } from './options/server.ts'

/** A problem of a file; line and column are from 1. */
export interface FileProblem extends OptionProblem, Position {
  /** Name of the file as it was given. */
  readonly file: string
}

/** What a file says. */
export interface ConfigFile {
  /** The Fastify instance and where it listens. */
  readonly server: ServerConfig
  /** Options for `register(reverseproxy, …)`: as written, with environment and PEM files put in. */
  readonly gateway: GatewayOptions
  /** The same, parsed. */
  readonly config: ParsedOptions
  /** Absolute paths of the certificates and keys that were read. */
  readonly files: readonly string[]
}

export interface ConfigTextContext {
  /** Path of the file: its name is used in errors, its folder for relative paths. */
  readonly path: string
  /** Default: `process.env`. */
  readonly env?: Environment
}

/** Reads and checks a file. Throws OptionsError with every problem, also when the file cannot be read. */
export async function loadConfigFile (path: string, env: Environment = process.env): Promise<ConfigFile> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(path, (error as NodeJS.ErrnoException).code)
  }
  return parseConfigText(text, { path, env })
}

function unreadable (path: string, code = 'unreadable'): OptionsError {
  const rule = { ENOENT: 'no such file', EISDIR: 'is a folder' }[code] ?? `cannot be read (${code})`
  const error = new OptionsError([{ path: '', rule, value: path }], path)
  error.message = `${path}: ${rule}`
  return error
}

/** The same for a text that has been read already. Throws OptionsError with every problem. */
export function parseConfigText (text: string, { path, env = process.env }: ConfigTextContext): ConfigFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, merge: true, uniqueKeys: true, prettyErrors: false })
  throwOn(syntaxProblems(document, lines, text).map(problem => ({ file: basename(path), ...problem })), path)

  const problems: OptionProblem[] = substitute(document, env).map(({ keys, rule, value }) => ({ path: keys.reduce<string>(at, ''), rule, value }))
  const raw = copy(valueOf(document, problems), '', problems)
  const files = new Set<string>()
  const origin: Origin = { source: 'file', baseDir: dirname(resolve(path)), files }
  const parsed = parseFile(raw, origin, problems)
  throwOn(problems.map(problem => ({ file: basename(path), ...positionOf(document, lines, segments(problem.path)), ...problem })), path)
  if (parsed === undefined) throw new OptionsError([], path)
  return parsed
}

function parseFile (raw: unknown, origin: Origin, problems: OptionProblem[]): ConfigFile | undefined {
  // An empty file is an empty configuration; a missing variable would only be reported a second time as a wrong value.
  const file = raw ?? {}
  const missing = new Set(problems.map(({ path }) => path))
  const found: OptionProblem[] = []
  check(fileSchema, file, '', { problems: found, origin })
  if (!isRecord(file)) {
    problems.push(...found)
    return undefined
  }
  const { gateway, server } = parts(file)
  crossCheckServer(server, 'server', { problems: found, origin })
  // The schema of the file has reported what the gateway's own would report once more.
  const rest: OptionProblem[] = []
  const config = tryParseOptions(gateway, origin, rest)
  const seen = new Set(found.map(identity))
  found.push(...rest.filter(problem => !seen.has(identity(problem))))
  problems.push(...found.filter(({ path }) => !missing.has(path)))
  // found at boot otherwise, and told without a line
  if (config !== undefined && problems.length === 0) problems.push(...groupRoutes(config.routes, FORWARDED_METHODS).problems)
  if (config === undefined || problems.length > 0) return undefined
  return { server: resolveServer((server ?? {}) as ServerFileOptions, origin), gateway: withPem(gateway, origin) as GatewayOptions, config, files: [...origin.files ?? []] }
}

function identity ({ path, rule }: OptionProblem): string {
  return `${path}\n${rule}`
}

/** What is the gateway's, and what the server's. */
function parts (file: Record<string, unknown>): { gateway: Record<string, unknown>, server: unknown } {
  const known = Object.entries(file).filter(([key]) => Object.hasOwn(fileSchema.properties, key) && key !== 'server' && key !== '$schema')
  return { gateway: Object.fromEntries(known), server: file['server'] }
}

/** The options with the certificates in place of their paths: what reads them next knows nothing of the file's folder. */
function withPem (gateway: Record<string, unknown>, origin: Origin): Record<string, unknown> {
  const { backends, tenancy } = gateway
  return {
    ...portableTrafficDump(withTlsTexts(gateway, origin), origin),
    ...(isRecord(backends)
      ? { backends: Object.fromEntries(Object.entries(backends).map(([name, backend]) => [name, isRecord(backend) ? withPortableDiscovery(withTlsTexts(backend, origin), origin) : backend])) }
      : undefined),
    ...(isRecord(tenancy) && isRecord(tenancy['tenants'])
      ? { tenancy: { ...tenancy, tenants: Object.fromEntries(Object.entries(tenancy['tenants']).map(([id, tenant]) => [id, isRecord(tenant) ? tenantWithPem(tenant, origin) : tenant])) } }
      : undefined)
  }
}

function withTlsTexts (options: Record<string, unknown>, origin: Origin): Record<string, unknown> {
  const { tls } = options
  if (!isRecord(tls)) return options
  const texts = Object.entries(tls).map(([name, value]) => {
    if (name !== 'ca' && name !== 'cert' && name !== 'key') return [name, value]
    return [name, Array.isArray(value) ? value.map((one: string) => readPem(one, origin)) : readPem(value as string, origin)]
  })
  return { ...options, tls: Object.fromEntries(texts) as unknown }
}

// ---- YAML

/** The document as plain values. An alias without an anchor, or far too many of them, is a problem of the whole file. */
function valueOf (document: Document, problems: OptionProblem[]): unknown {
  try {
    return isNode(document.contents) ? document.toJS({ maxAliasCount: 100 }) as unknown : undefined
  } catch (error) {
    problems.push({ path: '', rule: `must be valid YAML: ${(error as Error).message}` })
    return undefined
  }
}

// ---- errors

function throwOn (problems: readonly FileProblem[], path: string): void {
  if (problems.length === 0) return
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
  const error = new OptionsError(sorted, path)
  const shown = error.problems as readonly FileProblem[]
  error.message = `${path}: ${shown.length === 1 ? 'wrong option' : `${shown.length} wrong options`}\n${shown.map(describeFileProblem).join('\n')}`
  throw error
}

/** `gateway.yaml:12:7  backends.orders.targets[0].weight: must be a number of 0 or more (got -1)` */
export function describeFileProblem (problem: FileProblem): string {
  return `${problem.file}:${problem.line}:${problem.column}${describeProblem(problem)}`
}
