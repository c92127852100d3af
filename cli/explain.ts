/**
 * `reverseproxy explain`: what would become of a request, with the targets as a file says they are. Nothing is asked: neither
 * targets, nor their health, nor whoever discovers them.
 */
import Fastify from 'fastify'
import reverseproxy from '../index.ts'
import { loadConfigFile } from '../lib/config-file.ts'
import { methodProblem } from '../lib/explain/request.ts'
import { headerOf } from './header-line.ts'
import { UsageError } from './usage.ts'
import type { GatewayOptions } from '../index.ts'
import type { CallExplanation, Explanation, RequestLike } from '../lib/explain/types.ts'

type Flags = Readonly<Record<string, unknown>>

/** `given`: file, path; or file, method, path. Resolves to the exit code: 0, or 1 when no route is reached. Throws OptionsError for a wrong file, UsageError for wrong flags. */
export async function printExplanation (given: readonly string[], flags: Flags): Promise<number> {
  const [file = '', ...rest] = given
  const [url = '/', method = 'GET'] = [...rest].reverse()
  if (!url.startsWith('/')) throw new UsageError(`the path must start with / (got "${url}")`)
  const { gateway, server, config } = await loadConfigFile(file)
  const app = Fastify({ ...server.fastify, logger: false })
  try {
    await app.register(reverseproxy, atRest(gateway))
    await app.ready()
    const problem = methodProblem(method, app.supportedMethods)
    if (problem !== undefined) throw new UsageError(problem)
    const headers = headersOf(flags['header'] as readonly string[] | undefined ?? [])
    const like = { method, url, headers: { ...headers, ...tenantHeader(flags['tenant'], config.tenancy?.sources) } }
    const explanation = await app.reverseproxy.explain(like)
    process.stdout.write(flags['json'] === true ? `${JSON.stringify(explanation, null, 2)}\n` : textOf(explanation, like, name => (config.backends[name]?.discovery?.source.kind ?? 'static') !== 'static'))
    return explanation.route.kind === 'none' ? 1 : 0
  } finally {
    await app.close()
  }
}

function headersOf (lines: readonly string[]): Record<string, string[]> {
  const headers: Record<string, string[]> = {}
  for (const line of lines) {
    const header = headerOf(line)
    if (header === undefined) throw new UsageError(`--header must be "name: value" (got "${line}")`)
    const name = header[0].toLowerCase()
    headers[name] = [...headers[name] ?? [], header[1]]
  }
  return headers
}

function tenantHeader (id: unknown, sources: ReadonlyArray<{ readonly kind: string, readonly name?: string }> = []): Record<string, string> {
  if (typeof id !== 'string') return {}
  const name = sources.find(({ kind }) => kind === 'header')?.name
  if (name === undefined) throw new UsageError('--tenant needs a header that names tenants in the file; say it as a request would')
  return { [name]: id }
}

// ---- without what asks somebody

function atRest (gateway: GatewayOptions): GatewayOptions {
  const { backends, health: _, trafficDump: __, tenancy, ...rest } = gateway as Record<string, unknown>
  return { ...rest, backends: backendsAtRest(backends), ...(isRecord(tenancy) ? { tenancy: { ...tenancy, ...tenantsAtRest(tenancy['tenants']) } } : undefined) } as unknown as GatewayOptions
}

function tenantsAtRest (tenants: unknown): { tenants?: unknown } {
  if (!isRecord(tenants)) return {}
  return { tenants: mapValues(tenants, tenant => isRecord(tenant) && 'backends' in tenant ? { ...tenant, backends: backendsAtRest(tenant['backends']) } : tenant) }
}

function backendsAtRest (backends: unknown): unknown {
  return isRecord(backends) ? mapValues(backends, backendAtRest) : backends
}

/** What is discovered is not known here; a list that stands in the file is. */
function backendAtRest (backend: unknown): unknown {
  if (Array.isArray(backend)) return backend.map(targetAtRest)
  if (!isRecord(backend)) return backend
  const { health: _, discovery, targets, ...rest } = backend
  if (isRecord(discovery)) return { ...rest, targets: Array.isArray(discovery['static']) ? discovery['static'].map(discovered) : [] }
  return Array.isArray(targets) ? { ...rest, targets: targets.map(targetAtRest) } : rest
}

function targetAtRest (target: unknown): unknown {
  if (!isRecord(target)) return target
  const { health: _, ...rest } = target
  return rest
}

function discovered (target: unknown): unknown {
  if (!isRecord(target)) return target
  const { url, weight } = target
  return weight === undefined ? { url } : { url, weight }
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function mapValues (record: Record<string, unknown>, change: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}

// ---- for people

/** `isFound`: whether the targets of a backend are discovered. */
function textOf ({ route, tenant, calls, answered, note }: Explanation, { method, url }: RequestLike, isFound: (backend: string) => boolean): string {
  const lines = [
    `${method} ${url}`,
    `route   ${route.kind === 'none' ? 'none' : `${route.name ?? ''} (${route.path ?? ''})${route.kind === 'proxy' ? '' : `, ${route.kind}`}`}`
  ]
  if (tenant !== null) lines.push(`tenant  ${tenant.id}${tenant.known ? '' : ' (not known)'}`)
  if (answered !== undefined) lines.push(`answer  ${answerText(answered)}`)
  if (note !== undefined) lines.push(`note    ${note}`)
  return [...lines, ...calls.flatMap(call => callLines(call, isFound))].map(line => `${line}\n`).join('')
}

function callLines ({ part, needs, backend, method, path, settings, balancer, targets, error }: CallExplanation, isFound: (backend: string) => boolean): string[] {
  const lines = ['', `${part === undefined ? '' : `${part}: `}${method} ${backend ?? 'no backend'} ${path}${needs === undefined ? '' : ` (needs ${needs.join(', ')})`}`]
  if (settings !== undefined) {
    const { timeouts, attempts, circuitBreaker } = settings
    const limits = Object.entries(timeouts).map(([name, ms]) => `${name} ${ms === 0 ? 'off' : `${Number(ms) / 1000} s`}`)
    lines.push(`  timeouts ${limits.join(', ')}; ${attempts === 1 ? 'no retries' : `${attempts} attempts`}; circuit breaker ${circuitBreaker ? 'on' : 'off'}; ${balancer ?? ''}`)
  }
  for (const { url, weight, chosen, excluded } of targets) lines.push(`  ${chosen ? '->' : '  '} ${url}${weight === 1 ? '' : `, weight ${weight}`}${excluded === undefined ? '' : `  (${excluded})`}`)
  if (error !== undefined) lines.push(`  ${answerText(error)}${isFound(backend ?? '') ? ' (targets are discovered, and not known here)' : ''}`)
  return lines
}

function answerText ({ statusCode, code, message }: NonNullable<Explanation['answered']>): string {
  return [String(statusCode), code, message].filter(text => text !== undefined).join(' ')
}
