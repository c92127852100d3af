/**
 * `reverseproxy routes`: the routes of a file as a table.
 */
import { loadConfigFile } from '../lib/config-file.ts'
import type { CompositeConfig } from '../lib/composite/types.ts'
import type { HostMatch, RewriteStep, RouteConfig, ValueMatch } from '../lib/types.ts'

const HEADINGS = ['NAME', 'METHODS', 'PATH', 'CONDITIONS', 'BACKEND', 'REWRITE']

/** Prints the table. Throws OptionsError when the file is wrong. Resolves to the exit code. */
export async function printRoutes (file: string): Promise<number> {
  const { config } = await loadConfigFile(file)
  const { defaultBackend = '' } = config
  const rows = config.routes.map(route => row(route, defaultBackend))
  if (defaultBackend !== '') rows.push(['(default)', 'any', '/*', '', defaultBackend, ''])
  process.stdout.write(table([HEADINGS, ...rows]))
  return 0
}

function row ({ name, methods, path, match, proxy, composite }: RouteConfig, defaultBackend: string): string[] {
  const conditions = [
    ...(match.hosts.length === 0 ? [] : [`host ${match.hosts.map(showHost).join(' | ')}`]),
    ...match.headers.map(([header, value]) => `header ${header} ${showValue(value)}`),
    ...match.query.map(([parameter, value]) => `query ${parameter} ${showValue(value)}`)
  ]
  return [name, methods?.join(',') ?? 'any', path, conditions.join(' and '), composite === undefined ? proxy?.backend ?? defaultBackend : showComposite(composite, defaultBackend), (proxy?.rewrite ?? []).map(showStep).join(', ')]
}

function showHost (host: HostMatch): string {
  switch (host.kind) {
    case 'exact': return host.value
    case 'wildcard': return `*${host.suffix}`
    case 'regex': return String(host.value)
  }
}

function showValue (match: ValueMatch): string {
  switch (match.kind) {
    case 'exact': return `= ${match.value}`
    case 'prefix': return `= ${match.value}*`
    case 'regex': return `~ ${String(match.value)}`
    case 'exists': return match.value ? 'exists' : 'is absent'
    case 'not': return `not ${showValue(match.value)}`
  }
}

/** `merge(users, orders)`; a part with a name of its own as `boss: users`. */
function showComposite ({ strategy, parts }: CompositeConfig, defaultBackend: string): string {
  const shown = parts.map(({ name, proxy: { backend = defaultBackend } }) => name === backend ? name : `${name}: ${backend}`)
  return `${strategy}(${shown.join(', ')})`
}

function showStep (step: RewriteStep): string {
  switch (step.kind) {
    case 'stripPrefix': return `strip ${step.prefix}`
    case 'addPrefix': return `add ${step.prefix}`
    case 'replacePrefix': return `${step.from} -> ${step.to}`
    case 'regex': return `${String(step.pattern)} -> ${step.replacement}`
    case 'template': return `-> ${step.template}`
    case 'query': return ['query', ...Object.entries(step.set).map(([name, value]) => `${name}=${value}`), ...step.remove.map(name => `-${name}`)].join(' ')
  }
}

/** Columns two spaces apart, empty ones left out. */
function table (rows: ReadonlyArray<readonly string[]>): string {
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map(cells => (cells[column] ?? '').length)))
  const used = (column: number) => rows.slice(1).some(cells => cells[column] !== '')
  const line = (cells: readonly string[]) => cells.map((cell, column) => used(column) ? cell.padEnd((widths[column] ?? 0) + 2) : '').join('').trimEnd()
  return rows.map(cells => `${line(cells)}\n`).join('')
}
