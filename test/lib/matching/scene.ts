/**
 * Requests and routes for the tests of conditions.
 */
import type { IncomingMessage } from 'node:http'
import type { HostMatch, RouteConfig, RouteMatch, ValueMatch } from '../../../lib/types.ts'

export function requestTo (url: string, headers: Record<string, string | string[]> = {}): IncomingMessage {
  return { url, headers } as unknown as IncomingMessage
}

export function requestFor (host: string): IncomingMessage {
  return requestTo('/', { host })
}

export function exact (value: string): ValueMatch {
  return { kind: 'exact', value }
}

export function prefix (value: string): ValueMatch {
  return { kind: 'prefix', value }
}

export function regex (value: RegExp): ValueMatch {
  return { kind: 'regex', value }
}

export function not (value: ValueMatch): ValueMatch {
  return { kind: 'not', value }
}

export const present: ValueMatch = { kind: 'exists', value: true }
export const absent: ValueMatch = { kind: 'exists', value: false }

/** `'a.example'`, `'*.example'` or an expression. */
export function host (value: string | RegExp): HostMatch {
  if (typeof value !== 'string') return { kind: 'regex', value }
  return value.startsWith('*') ? { kind: 'wildcard', suffix: value.slice(1) } : { kind: 'exact', value }
}

interface Conditions {
  hosts?: Array<string | RegExp>
  headers?: Record<string, ValueMatch>
  query?: Record<string, ValueMatch>
}

export function match ({ hosts = [], headers = {}, query = {} }: Conditions = {}): RouteMatch {
  return { hosts: hosts.map(host), headers: Object.entries(headers), query: Object.entries(query) }
}

export function route (name: string, path: string, conditions: Conditions = {}, methods?: string[]): RouteConfig {
  // What a route does with its requests is no concern here.
  return { name, path, methods, match: match(conditions), proxy: undefined, composite: undefined, tenancy: undefined, said: { path } }
}
