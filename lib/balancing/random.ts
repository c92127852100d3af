/**
 * Choosing by lot: `random` without weights, `weighted-random` in proportion to them. No state, so several gateways
 * side by side never fall into step.
 */
import type { Balancer, BalancerTools } from '../types.ts'
import { indexAt, perArray, prefixSums } from './tables.ts'

/** Every target with the same chance, whatever it weighs. */
export function createRandom ({ random }: BalancerTools): Balancer {
  return {
    pick: targets => targets[Math.floor(random() * targets.length)]
  }
}

/** Every target with a chance in proportion to its weight: prefix sums and a binary search, O(log n). */
export function createWeightedRandom ({ random }: BalancerTools): Balancer {
  const sumsOf = perArray(prefixSums)
  return {
    pick (targets) {
      const sums = sumsOf(targets)
      return targets[indexAt(sums, random() * sums[sums.length - 1]!)]
    }
  }
}
