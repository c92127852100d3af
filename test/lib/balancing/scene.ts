/**
 * Targets and contexts for the balancers' tests.
 */
import type { BalancerContext, Balancer, Target } from '../../../lib/types.ts'

export function target (id: string, weight = 1): Target {
  return {
    id, weight, origin: `http://${id}`, basePath: '', metadata: {}, maxConnections: Infinity, state: 'active', inflight: 0, started: 0, dispatcher: undefined, breaker: undefined, health: undefined, onIdle: undefined, of: undefined, ownPool: false
  }
}

export function targets (...weights: number[]): Target[] {
  return weights.map((weight, i) => target(String.fromCharCode(97 + i), weight))
}

export const anyCall: BalancerContext = { path: '/', request: undefined }

export function callFrom (ip: string): BalancerContext {
  return callWith({ ip })
}

export function callWith (request: { ip?: string, headers?: Record<string, string | string[]>, url?: string }, path = '/'): BalancerContext {
  return { path, request: { headers: {}, url: path, ...request } as unknown as BalancerContext['request'] }
}

/** Ids of the next picks in one string. */
export function picks (balancer: Balancer, from: readonly Target[], count: number, context = anyCall): string {
  return Array.from({ length: count }, () => balancer.pick(from, context)?.id ?? '-').join('')
}

/** How often each id is in the picks. */
export function counts (balancer: Balancer, from: readonly Target[], count: number, context = anyCall): Record<string, number> {
  const result: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const id = balancer.pick(from, context)?.id ?? '-'
    result[id] = (result[id] ?? 0) + 1
  }
  return result
}

/** mulberry32: the same numbers in every run. */
export function seeded (seed = 42): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = t + Math.imul(t ^ (t >>> 7), 61 | t) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
