/**
 * Conditions on the host a request names.
 */
import type { IncomingMessage } from 'node:http'
import type { HostMatch } from '../types.ts'
import { regexStart, stateless } from './value.ts'

/**
 * Host of a request from `:authority` or `Host`: lower case, without port and trailing dot; an IPv6 literal keeps its
 * brackets. `''` when the request names none.
 */
export function hostOf (request: IncomingMessage): string {
  const named = request.headers[':authority'] ?? request.headers.host
  return typeof named === 'string' ? normalizeHost(named) : ''
}

/** `Example.COM.:8080` → `example.com`, `[::1]:80` → `[::1]` */
export function normalizeHost (authority: string): string {
  let end = authority.indexOf(':', authority.lastIndexOf(']') + 1)
  if (end === -1) end = authority.length
  if (authority.charCodeAt(end - 1) === 46) end--
  return authority.slice(0, end).toLowerCase()
}

/** `*.Example.com`, `.example.com` and `example.com` → `.example.com`: what the names below end with. */
export function wildcardEnding (suffix: string): string {
  return '.' + normalizeHost(suffix.replace(/^\*?\.?/, ''))
}

/** The name of a condition, as a request's host is written: `example.com`, `.example.com` for a wildcard, else `''`. */
export function hostName (match: HostMatch): string {
  switch (match.kind) {
    case 'exact': return normalizeHost(match.value)
    case 'wildcard': return wildcardEnding(match.suffix)
    case 'regex': return ''
  }
}

/** `host` is what `hostOf` returned. A wildcard holds at any depth below its apex, not at the apex. */
export function createHostTest (match: HostMatch): (host: string) => boolean {
  if (match.kind === 'exact') {
    const name = normalizeHost(match.value)
    return host => host === name
  }
  if (match.kind === 'wildcard') {
    const ending = wildcardEnding(match.suffix)
    return host => host.length > ending.length && host.endsWith(ending)
  }
  const pattern = stateless(match.value)
  return host => pattern.test(host)
}

/** How narrow a condition is: exact, then wildcards by length, then expressions (1), then none (0). */
export function hostStrength (match: HostMatch | undefined): number {
  if (match === undefined) return 0
  switch (match.kind) {
    case 'exact': return Infinity
    case 'wildcard': return 1 + wildcardEnding(match.suffix).length
    case 'regex': return 1
  }
}

/** Whether no host can meet both conditions; false also when that cannot be told. */
export function areHostsDisjoint (a: HostMatch, b: HostMatch): boolean {
  if (a.kind === 'exact') return !createHostTest(b)(normalizeHost(a.value))
  if (b.kind === 'exact') return areHostsDisjoint(b, a)
  if (a.kind === 'wildcard' && b.kind === 'wildcard') {
    const [one, other] = [wildcardEnding(a.suffix), wildcardEnding(b.suffix)]
    return !one.endsWith(other) && !other.endsWith(one)
  }
  if (a.kind === 'regex' && b.kind === 'regex') {
    const [one, other] = [regexStart(a.value), regexStart(b.value)]
    return !one.startsWith(other) && !other.startsWith(one)
  }
  return false
}
