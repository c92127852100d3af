/**
 * Finding the route of a group for a request, at a cost that does not grow with the number of hosts.
 */
import type { IncomingMessage } from 'node:http'
import type { RouteConfig } from '../types.ts'
import type { RouteEntry } from './groups.ts'
import { hostOf, normalizeHost, wildcardEnding } from './host.ts'
import { createMatcher, type Matcher } from './matcher.ts'

/** The most specific route of a group whose conditions the request meets. */
export type Select = (request: IncomingMessage) => RouteConfig | undefined

interface Candidate {
  readonly route: RouteConfig
  readonly matches: Matcher | undefined
}

/**
 * `entries` are sorted, most specific first, each with one host at most. As the host weighs most, those with the
 * exact host come before those with a wildcard, longest first, and these before all the others.
 */
export function createSelect (entries: readonly RouteEntry[]): Select {
  const only = entries[0]
  if (only !== undefined && only.matches === undefined) return () => only.route
  const exact = new Map<string, Candidate[]>()
  const below = new Map<string, Candidate[]>()
  const others: Candidate[] = []
  for (const entry of entries) {
    const { host, route } = entry
    // The map has already answered for the host.
    const beyondHost = { route, matches: createMatcher({ ...route.match, hosts: [] }) }
    if (host?.kind === 'exact') listOf(exact, normalizeHost(host.value)).push(beyondHost)
    else if (host?.kind === 'wildcard') listOf(below, wildcardEnding(host.suffix)).push(beyondHost)
    else others.push(entry)
  }
  if (exact.size === 0 && below.size === 0) return request => firstOf(others, request)
  return (request) => {
    const host = hostOf(request)
    return firstOf(exact.get(host), request) ?? firstBelow(below, host, request) ?? firstOf(others, request)
  }
}

function listOf (lists: Map<string, Candidate[]>, name: string): Candidate[] {
  const list = lists.get(name) ?? []
  lists.set(name, list)
  return list
}

function firstBelow (below: Map<string, Candidate[]>, host: string, request: IncomingMessage): RouteConfig | undefined {
  if (below.size === 0) return undefined
  for (let dot = host.indexOf('.', 1); dot !== -1; dot = host.indexOf('.', dot + 1)) {
    const route = firstOf(below.get(host.slice(dot)), request)
    if (route !== undefined) return route
  }
  return undefined
}

function firstOf (candidates: readonly Candidate[] | undefined, request: IncomingMessage): RouteConfig | undefined {
  if (candidates === undefined) return undefined
  for (const { route, matches } of candidates) {
    if (matches === undefined || matches(request)) return route
  }
  return undefined
}
