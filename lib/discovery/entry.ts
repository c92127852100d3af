/** One entry of a list, as a provider gives it. */
import { describeProblem } from '../errors.ts'
import { nearest } from '../options/suggest.ts'
import type { DiscoveredTarget } from './types.ts'

const KNOWN: ReadonlyArray<keyof DiscoveredTarget> = ['url', 'weight', 'maxConnections', 'zone', 'metadata']

/**
 * A copy of it, since it is the provider's to change. What it is to be besides an object shows later. `index`: from 0.
 * @throws TypeError for a name that no target has: it would be without effect, and nobody would know
 */
export function entryOf (entry: unknown, index: number): DiscoveredTarget {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return entry as DiscoveredTarget
  const unknown = Object.keys(entry).find(name => !(KNOWN as readonly string[]).includes(name))
  if (unknown !== undefined) throw new TypeError(`entry ${index + 1} of the list: ${describeUnknown(unknown, (entry as Record<string, unknown>)[unknown])}`)
  const { url, weight, maxConnections, zone, metadata } = entry as DiscoveredTarget
  return { url, weight, maxConnections, zone, metadata } as DiscoveredTarget
}

function describeUnknown (name: string, value: unknown): string {
  const meant = nearest(name, KNOWN)
  return describeProblem({ path: name, rule: `is nothing that a target has; ${meant === undefined ? `known are ${KNOWN.join(', ')}` : `did you mean "${meant}"?`}`, value }).trim()
}
