/**
 * Choosing by load: `least-connections` asks every target, `power-of-two` two drawn by lot.
 * Load is the number of attempts in flight relative to the weight.
 */
import type { Balancer, BalancerTools, Target } from '../types.ts'
import { indexAt, perArray, prefixSums } from './tables.ts'

/**
 * The target with the smallest (in flight + 1) / weight: the load it would have with this request.
 * Among equals the one after the last choice, so that idle targets take turns.
 *
 * An idle light target beside an idle heavy one is chosen only once the heavy one is busy (shortest expected delay,
 * as in Linux' LVS scheduler `sed`).
 */
export function createLeastConnections (): Balancer {
  const lightestOf = perArray(lightestLoad)
  let next = 0
  const bestOf = (targets: readonly Target[]): number => leastLoaded(targets, next < targets.length ? next : 0, lightestOf(targets))
  return {
    pick (targets) {
      const best = bestOf(targets)
      next = best + 1
      return targets[best]
    },
    peek: targets => targets[bestOf(targets)]
  }
}

/** The least load there can be: that of the heaviest target when it is idle. */
function lightestLoad (targets: readonly Target[]): number {
  let heaviest = 0
  for (const target of targets) {
    if (target.weight > heaviest) heaviest = target.weight
  }
  return 1 / heaviest
}

function leastLoaded (targets: readonly Target[], start: number, lightest: number): number {
  const count = targets.length
  let best = start
  let least = Infinity
  for (let i = 0, at = start; i < count; i++) {
    const target = targets[at]!
    const load = (target.inflight + 1) / target.weight
    if (load < least) {
      // Nothing can be lighter: no need to look further.
      if (load <= lightest) return at
      least = load
      best = at
    }
    if (++at === count) at = 0
  }
  return best
}

/**
 * Draws two different targets in proportion to their weights and takes the less loaded one.
 *
 * Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001.
 */
export function createPowerOfTwo ({ random }: BalancerTools): Balancer {
  const sumsOf = perArray(prefixSums)
  return {
    pick (targets) {
      const count = targets.length
      if (count === 1) return targets[0]
      const sums = sumsOf(targets)
      const total = sums[count - 1]!
      const one = indexAt(sums, random() * total)
      const before = one === 0 ? 0 : sums[one - 1]!
      const width = sums[one]! - before
      // The second draw is from the line of weights with the first one's stretch cut out.
      const point = random() * (total - width)
      let two = indexAt(sums, point < before ? point : point + width)
      // Rounding may still land in the cut.
      if (two === one) two = one + 1 < count ? one + 1 : one - 1
      const first = targets[one]!
      const second = targets[two]!
      return second.inflight * first.weight < first.inflight * second.weight ? second : first
    }
  }
}
