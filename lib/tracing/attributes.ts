/**
 * What spans say. Names and values: OpenTelemetry, semantic conventions for HTTP spans (stable), and our own under `reverseproxy.`.
 * Never a header but User-Agent, never a body, and of a query what may be shown.
 */
import type { FastifyRequest } from 'fastify'
import { joinPath } from '../rewrite/index.ts'
import { shownPath, shownQuery } from '../shown-url.ts'
import type { Attributes } from '@opentelemetry/api'
import type { Part } from '../composite/part.ts'
import type { Ended } from '../request-outcome.ts'
import type { HealthConfig } from '../resilience/types.ts'
import type { Backend, Call, Outcome, RequestRecord, Target } from '../types.ts'
import type { TracingConfig } from './types.ts'

const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE'])
const OTHER = '_OTHER'

/** Longest User-Agent that is shown. */
const LONGEST_AGENT = 256

/** `GET /users/:id`; without a route the method alone. Clients may invent methods; names of spans are few. */
export function spanName ({ 'http.request.method': method, 'http.route': route }: Attributes): string {
  const verb = method === OTHER ? 'HTTP' : String(method)
  return route === undefined ? verb : `${verb} ${String(route)}`
}

export function requestAttributes (request: FastifyRequest, { query, clientAddress }: TracingConfig): Attributes {
  const { url: route } = request.routeOptions
  const target = request.raw.url ?? '/'
  const attributes: Attributes = { 'url.path': shownPath(target), 'url.scheme': request.protocol, 'network.protocol.version': versionOf(request.raw.httpVersion) }
  setMethod(attributes, request.raw.method!)
  if (route !== undefined) attributes['http.route'] = route
  const shown = shownQuery(target, query)
  if (shown !== undefined) attributes['url.query'] = shown
  if (request.host !== undefined && request.host !== '') {
    attributes['server.address'] = request.hostname
    if (request.port !== null) attributes['server.port'] = request.port
  }
  const agent = request.headers['user-agent']
  if (agent !== undefined) attributes['user_agent.original'] = agent.slice(0, LONGEST_AGENT)
  if (clientAddress) attributes['client.address'] = request.ip
  return attributes
}

/** `resent`: how often it was sent before. */
export function attemptAttributes (call: Call, target: Target, address: Address, resent: number, { query }: TracingConfig): Attributes {
  const path = joinPath(target.basePath, call.path)
  const shown = shownQuery(path, query)
  const attributes: Attributes = {
    'url.full': `${target.origin}${shownPath(path)}${shown === undefined ? '' : `?${shown}`}`,
    ...placeAttributes(target, address),
    'reverseproxy.backend': call.backend.name,
    'reverseproxy.target': target.id,
    'reverseproxy.route': call.record.route
  }
  setMethod(attributes, call.method)
  if (resent > 0) attributes['http.request.resend_count'] = resent
  if (call.owner !== undefined) attributes['reverseproxy.part'] = call.owner.name
  return attributes
}

export function partAttributes ({ name, state, status, outcome, attempts }: Part): Attributes {
  const attributes: Attributes = { 'reverseproxy.part': name, 'reverseproxy.part.state': state ?? 'failed', 'reverseproxy.attempts': attempts }
  if (status !== undefined) attributes['http.response.status_code'] = status
  if (outcome !== undefined) attributes['reverseproxy.outcome'] = outcome
  return attributes
}

export function endAttributes (record: RequestRecord | undefined, { status, headersSent, finished }: Ended, outcome: Outcome, tenant: string | undefined): Attributes {
  const attributes: Attributes = { 'reverseproxy.outcome': outcome }
  if (finished || headersSent) attributes['http.response.status_code'] = status
  if (record === undefined) return attributes
  attributes['reverseproxy.route'] = record.route
  attributes['reverseproxy.attempts'] = record.attempts.length
  if (record.backend !== undefined) attributes['reverseproxy.backend'] = record.backend
  if (tenant !== undefined) attributes['reverseproxy.tenant'] = tenant
  return attributes
}

export function probeAttributes ({ method, path }: HealthConfig, target: Target, backend: Backend, address: Address): Attributes {
  return {
    'http.request.method': method,
    'url.full': target.origin + shownPath(joinPath(target.basePath, path)),
    ...placeAttributes(target, address),
    'reverseproxy.backend': backend.name,
    'reverseproxy.target': target.id,
    'reverseproxy.probe': true
  }
}

function placeAttributes ({ origin }: Target, { host, port }: Address): Attributes {
  return {
    'url.scheme': origin.startsWith('https:') ? 'https' : 'http',
    'server.address': host,
    ...port === undefined ? { 'network.transport': 'unix' } : { 'server.port': port }
  }
}

/** Where a target is; without a port it is a socket of this machine. */
export interface Address {
  readonly host: string
  readonly port: number | undefined
}

const UNIX = /^unix:\/\/([^:]+)/

export function addressOf ({ id, origin }: Pick<Target, 'id' | 'origin'>): Address {
  const socket = UNIX.exec(id)?.[1]
  if (socket !== undefined) return { host: socket, port: undefined }
  const { hostname, port, protocol } = new URL(origin)
  return { host: hostname, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) }
}

function setMethod (attributes: Attributes, method: string): void {
  attributes['http.request.method'] = METHODS.has(method) ? method : OTHER
  if (!METHODS.has(method)) attributes['http.request.method_original'] = method
}

/** `2` and `3` have no minor version. */
function versionOf (version: string): string {
  return version.endsWith('.0') && version !== '1.0' ? version.slice(0, -2) : version
}
