/**
 * Which of two routes goes first, and whether one request can meet both.
 */
import type { HostMatch, RouteMatch, ValueMatch } from '../types.ts'
import { areHostsDisjoint, hostStrength } from './host.ts'
import { areDisjoint, valueStrength } from './value.ts'

type Conditions = RouteMatch['headers']

/**
 * Negative when `a` is the more specific one, 0 when neither is. Compared in this order:
 *
 * 1. host: exact, longer wildcard, shorter wildcard, expression, none (of several hosts the weakest counts)
 * 2. headers: more conditions, then the stronger ones (exact, longer prefix, shorter prefix, expression, exists or not)
 * 3. query: likewise
 */
export function compareSpecificity (a: RouteMatch, b: RouteMatch): number {
  // Not a difference: two infinities have none.
  return descending(weakestHost(a.hosts), weakestHost(b.hosts)) ||
    compareConditions(a.headers, b.headers) ||
    compareConditions(a.query, b.query)
}

function descending (a: number, b: number): number {
  if (a === b) return 0
  return a > b ? -1 : 1
}

function weakestHost (hosts: readonly HostMatch[]): number {
  return hosts.length === 0 ? 0 : Math.min(...hosts.map(hostStrength))
}

function compareConditions (a: Conditions, b: Conditions): number {
  if (a.length !== b.length) return descending(a.length, b.length)
  const [strengthsA, strengthsB] = [strengths(a), strengths(b)]
  for (const [i, strength] of strengthsA.entries()) {
    const order = descending(strength, strengthsB[i] ?? 0)
    if (order !== 0) return order
  }
  return 0
}

function strengths (conditions: Conditions): number[] {
  return conditions.map(([, match]) => valueStrength(match)).sort(descending)
}

/**
 * False when two routes are told apart by a condition: no host, no value of a header or of a query parameter meets
 * both. A request that repeats a header or parameter with two different values may still meet both; then the order
 * in which the routes were declared decides.
 */
export function canOverlap (a: RouteMatch, b: RouteMatch): boolean {
  return !areHostListsDisjoint(a.hosts, b.hosts) &&
    !areConditionsDisjoint(a.headers, b.headers, name => name.toLowerCase()) &&
    !areConditionsDisjoint(a.query, b.query, name => name)
}

function areHostListsDisjoint (a: readonly HostMatch[], b: readonly HostMatch[]): boolean {
  if (a.length === 0 || b.length === 0) return false
  return a.every(one => b.every(other => areHostsDisjoint(one, other)))
}

function areConditionsDisjoint (a: Conditions, b: Conditions, normal: (name: string) => string): boolean {
  const excludes = (nameA: string, one: ValueMatch): boolean =>
    b.some(([nameB, other]) => normal(nameA) === normal(nameB) && areDisjoint(one, other))
  return a.some(([name, match]) => excludes(name, match))
}
