/**
 * Tables a balancer derives from its targets, built once per array of targets.
 */
import type { Target } from '../types.ts'

interface Built<T> {
  readonly targets: readonly Target[]
  readonly table: T
}

/**
 * Remembers what `build` made of the last two arrays. Two, because a caller that now and then leaves a target out
 * alternates between its lasting array and a short-lived one.
 */
export function perArray<T> (build: (targets: readonly Target[]) => T): (targets: readonly Target[]) => T {
  let latest: Built<T> | undefined
  let earlier: Built<T> | undefined
  return (targets) => {
    if (latest?.targets === targets) return latest.table
    const known = earlier?.targets === targets ? earlier : undefined
    earlier = latest
    latest = known ?? { targets, table: build(targets) }
    return latest.table
  }
}

/** Running sums of the weights: entry i is the weight of the targets 0 to i together. */
export function prefixSums (targets: readonly Target[]): Float64Array {
  const sums = new Float64Array(targets.length)
  let sum = 0
  for (let i = 0; i < sums.length; i++) {
    sum += targets[i]!.weight
    sums[i] = sum
  }
  return sums
}

/** Index of the target whose share of the weights holds `point`: binary search for the first sum above it. */
export function indexAt (sums: Float64Array, point: number): number {
  let low = 0
  let high = sums.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sums[middle]! > point) high = middle
    else low = middle + 1
  }
  return low
}
